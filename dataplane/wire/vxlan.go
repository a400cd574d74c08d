// SPDX-License-Identifier: Apache-2.0

package wire

import "encoding/binary"

// VXLAN (RFC 7348 section 5).
const (
	VXLANLen  = 8
	VXLANPort = 4789
	VNIMax    = 1<<24 - 1

	vxlanFlagI = 0x08
)

// Bytes around an inner IP packet: VXLAN and inner Ethernet, and the whole
// encapsulation below which the underlay's MTU counts.
const (
	EncapLen      = VXLANLen + EthernetLen
	OverheadIPv4  = IPv4Len + UDPLen + EncapLen // 50
	OverheadIPv6  = IPv6Len + UDPLen + EncapLen // 70
	MaxUDPPayload = 65535 - IPv4Len - UDPLen
)

// VXLAN is a UDP payload that starts with a VXLAN header.
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	|R|R|R|R|I|R|R|R|                   reserved                    |
//	|              VXLAN network identifier         |   reserved    |
type VXLAN []byte

// ParseVXLAN returns the view of b, or false if b is too short.
func ParseVXLAN(b []byte) (VXLAN, bool) {
	if len(b) < VXLANLen {
		return nil, false
	}
	return VXLAN(b), true
}

// Valid reports whether the I flag is set: without it the VNI means nothing.
// Reserved bits are ignored on receipt.
func (v VXLAN) Valid() bool { return v[0]&vxlanFlagI != 0 }

// VNI returns the network identifier.
func (v VXLAN) VNI() uint32 { return binary.BigEndian.Uint32(v[4:8]) >> 8 }

// Payload returns the inner Ethernet frame.
func (v VXLAN) Payload() []byte { return v[VXLANLen:] }

// PutVXLAN writes a header into the first VXLANLen bytes of b.
func PutVXLAN(b []byte, vni uint32) {
	binary.BigEndian.PutUint32(b[0:4], vxlanFlagI<<24)
	binary.BigEndian.PutUint32(b[4:8], vni<<8)
}
