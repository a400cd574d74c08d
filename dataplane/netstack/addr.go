// SPDX-License-Identifier: Apache-2.0

package netstack

import (
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"netcon/dataplane/stream"
)

func protocolOf(a netip.Addr) tcpip.NetworkProtocolNumber {
	if a.Is4() {
		return header.IPv4ProtocolNumber
	}
	return header.IPv6ProtocolNumber
}

func toAddress(a netip.Addr) tcpip.Address {
	if a.Is4() {
		return tcpip.AddrFrom4(a.As4())
	}
	return tcpip.AddrFrom16(a.As16())
}

// toFull converts an address a caller gave for a socket of the family. IPv4
// addresses of IPv6 sockets may come mapped or plain; gVisor wants them mapped.
// False: the address is of the other family.
func toFull(f stream.Family, a netip.AddrPort) (tcpip.FullAddress, bool) {
	addr := a.Addr().WithZone("")
	if !addr.IsValid() {
		return tcpip.FullAddress{}, false
	}
	full := tcpip.FullAddress{Port: a.Port()}
	switch {
	case f == stream.IPv4:
		addr = addr.Unmap()
		if !addr.Is4() {
			return full, false
		}
		full.Addr = tcpip.AddrFrom4(addr.As4())
	default:
		full.Addr = tcpip.AddrFrom16(addr.As16())
	}
	return full, true
}

// fromFull converts an address of gVisor into the form callers see: IPv4
// addresses of IPv6 sockets are mapped.
func fromFull(f stream.Family, a tcpip.FullAddress) netip.AddrPort {
	var addr netip.Addr
	switch a.Addr.Len() {
	case 4:
		addr = netip.AddrFrom4(a.Addr.As4())
	case 16:
		addr = netip.AddrFrom16(a.Addr.As16())
	default:
		addr = netip.IPv4Unspecified()
		if f == stream.IPv6 {
			addr = netip.IPv6Unspecified()
		}
	}
	if f == stream.IPv6 && addr.Is4() {
		addr = netip.AddrFrom16(addr.As16())
	}
	return netip.AddrPortFrom(addr, a.Port)
}
