// SPDX-License-Identifier: Apache-2.0

package bpf

import "fmt"

// Verdict is what the program made of a frame. All but Redirect left it to the
// host. The values are those of enum verdict in overlay.c, which says more.
type Verdict uint8

// The verdicts, in the order in which the program looks.
const (
	Redirect      = Verdict(overlayVerdictREDIRECT)       // to the AF_XDP socket of its queue
	PassNoSocket  = Verdict(overlayVerdictPASS_NO_SOCKET) // the overlay's, but no socket has its queue
	PassEtherType = Verdict(overlayVerdictPASS_ETHERTYPE) // not of the VTEP's IP version
	PassVLAN      = Verdict(overlayVerdictPASS_VLAN)      // has a VLAN tag
	PassShort     = Verdict(overlayVerdictPASS_SHORT)     // headers cut short, or not in the first buffer
	PassHeader    = Verdict(overlayVerdictPASS_HEADER)    // IP version or header length is nonsense
	PassAddress   = Verdict(overlayVerdictPASS_ADDRESS)   // to another address
	PassProtocol  = Verdict(overlayVerdictPASS_PROTOCOL)  // to the VTEP, not UDP
	PassFragment  = Verdict(overlayVerdictPASS_FRAGMENT)  // to the VTEP, a fragment
	PassOptions   = Verdict(overlayVerdictPASS_OPTIONS)   // to the VTEP, IPv4 options or IPv6 extension headers
	PassPort      = Verdict(overlayVerdictPASS_PORT)      // to the VTEP, UDP, not an overlay port

	NumVerdicts = int(overlayVerdictNUM_VERDICTS)
)

var verdictNames = [NumVerdicts]string{
	Redirect:      "redirect",
	PassNoSocket:  "no_socket",
	PassEtherType: "ether_type",
	PassVLAN:      "vlan",
	PassShort:     "short",
	PassHeader:    "header",
	PassAddress:   "address",
	PassProtocol:  "protocol",
	PassFragment:  "fragment",
	PassOptions:   "options",
	PassPort:      "port",
}

// String returns the name under which the verdict is counted.
func (v Verdict) String() string {
	if int(v) < NumVerdicts {
		return verdictNames[v]
	}
	return "unknown"
}

// Counters are frames by Verdict, since Load. Their sum is every frame that the
// program saw.
type Counters [NumVerdicts]uint64

// Counters returns the sums over all CPUs. Verdicts are read one after the
// other while the program runs, so a frame may be missing from the one and
// counted in the next.
func (p *Program) Counters() (Counters, error) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	var sums Counters
	if p.closed {
		return sums, fmt.Errorf("read xdp counters: %w", errClosed)
	}
	var perCPU []uint64
	for v := range sums {
		if err := p.objects.Verdicts.Lookup(uint32(v), &perCPU); err != nil {
			return sums, fmt.Errorf("read xdp counter %s: %w", Verdict(v), err)
		}
		for _, n := range perCPU {
			sums[v] += n
		}
	}
	return sums, nil
}
