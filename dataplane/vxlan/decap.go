// SPDX-License-Identifier: Apache-2.0

package vxlan

import (
	"net/netip"

	"netcon/dataplane/fib"
	"netcon/dataplane/stat"
	"netcon/dataplane/wire"
)

// Decap returns the network and the inner frame of one UDP payload from the
// VTEP src, or the reason to drop it. An accepted frame's source is a unicast
// address that is not a container of this host, and its EtherType is IPv4, IPv6
// or ARP.
func Decap(s *fib.Snapshot, src netip.Addr, payload []byte) (*fib.Net, wire.Ethernet, stat.Reason) {
	v, ok := wire.ParseVXLAN(payload)
	if !ok {
		return nil, nil, stat.DropVXLANShort
	}
	if !v.Valid() {
		return nil, nil, stat.DropVXLANFlags
	}
	n := s.Network(v.VNI())
	if n == nil {
		return nil, nil, stat.DropUnknownVNI
	}
	if !n.Accepts(src) {
		return nil, nil, stat.DropUnknownVTEP
	}
	e, ok := wire.ParseEthernet(v.Payload())
	if !ok {
		return nil, nil, stat.DropInnerShort
	}
	// A container's own address from outside is a forgery or a frame that was
	// replicated back to us.
	if from := e.Src(); from.IsGroup() || from.IsZero() || n.IsLocal(from) {
		return nil, nil, stat.DropInnerMAC
	}
	switch e.Type() {
	case wire.EtherTypeIPv4, wire.EtherTypeIPv6, wire.EtherTypeARP:
		return n, e, stat.Accepted
	}
	return nil, nil, stat.DropEtherType
}
