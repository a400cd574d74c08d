// SPDX-License-Identifier: Apache-2.0

package vxlan

import "netcon/dataplane/wire"

// Headroom is the bytes that Put writes before an inner packet.
const Headroom = wire.EncapLen

// The longest inner packets that fit one UDP datagram over IPv4 and IPv6.
const (
	maxInner4 = wire.MaxUDPPayload - Headroom
	maxInner6 = 65535 - wire.UDPLen - Headroom
)

// Put writes the VXLAN and inner Ethernet headers into the first Headroom bytes
// of b. vni is no larger than wire.VNIMax.
func Put(b []byte, vni uint32, dst, src wire.MAC, etherType uint16) {
	_ = b[Headroom-1]
	wire.PutVXLAN(b, vni)
	wire.PutEthernet(b[wire.VXLANLen:], dst, src, etherType)
}

// InnerMTU returns the largest inner IP packet that an underlay with that MTU
// takes in one piece, over IPv6 if outer6; 0 if there is none.
func InnerMTU(underlayMTU int, outer6 bool) int {
	if outer6 {
		return max(0, min(underlayMTU-wire.OverheadIPv6, maxInner6))
	}
	return max(0, min(underlayMTU-wire.OverheadIPv4, maxInner4))
}
