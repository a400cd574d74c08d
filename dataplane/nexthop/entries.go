// SPDX-License-Identifier: Apache-2.0

package nexthop

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"

	"netcon/dataplane/wire"
)

// Entry is what is known of a VTEP, for status.
type Entry struct {
	VTEP   netip.Addr `json:"vtep"`
	Via    netip.Addr `json:"via,omitzero"` // the next hop: a gateway or the VTEP itself
	MAC    wire.MAC   `json:"mac,omitzero"` // of the next hop
	State  State      `json:"state"`
	Kernel string     `json:"kernel_state,omitempty"` // of the next hop, as ip-neighbour(8) names it
	MTU    int        `json:"mtu,omitempty"`          // largest outer IP packet, in bytes
	Reason string     `json:"reason,omitempty"`       // why it is not resolved, "" if it is
}

// Entries returns all VTEPs by address, none after Close. It waits for the
// table's goroutine, which may be waiting for the kernel.
func (t *Table) Entries() []Entry {
	var list []Entry
	if !t.call(func() { list = t.entries() }) {
		return nil
	}
	slices.SortFunc(list, func(a, b Entry) int { return a.VTEP.Compare(b.VTEP) })
	return list
}

// call runs f on the table's goroutine, or reports false after Close.
func (t *Table) call(f func()) bool {
	ran := make(chan struct{})
	select {
	case t.calls <- func() { f(); close(ran) }:
		<-ran
		return true
	case <-t.done:
		return false
	}
}

func (t *Table) entries() []Entry {
	list := make([]Entry, 0, len(t.vteps))
	for _, v := range t.vteps {
		e := Entry{VTEP: v.addr, State: v.state, MAC: v.hop.Dst, MTU: v.hop.MTU, Reason: v.reason}
		if v.nb != nil {
			e.Via, e.Kernel = v.nb.ip, nudText(v.nb.nud)
		}
		list = append(list, e)
	}
	return list
}

// nudText names the states of a kernel neighbour entry; "" is none.
func nudText(nud uint16) string {
	var names []string
	for _, s := range []struct {
		bit  uint16
		name string
	}{
		{netlink.NUD_INCOMPLETE, "INCOMPLETE"},
		{netlink.NUD_REACHABLE, "REACHABLE"},
		{netlink.NUD_STALE, "STALE"},
		{netlink.NUD_DELAY, "DELAY"},
		{netlink.NUD_PROBE, "PROBE"},
		{netlink.NUD_FAILED, "FAILED"},
		{netlink.NUD_NOARP, "NOARP"},
		{netlink.NUD_PERMANENT, "PERMANENT"},
	} {
		if nud&s.bit != 0 {
			names = append(names, s.name)
		}
	}
	return strings.Join(names, ",")
}
