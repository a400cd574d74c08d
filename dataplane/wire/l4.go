// SPDX-License-Identifier: Apache-2.0

package wire

import "encoding/binary"

// Header lengths without options.
const (
	TCPLen  = 20
	UDPLen  = 8
	ICMPLen = 8
)

// TCP flags (RFC 9293 section 3.1).
const (
	TCPFin = 1 << iota
	TCPSyn
	TCPRst
	TCPPsh
	TCPAck
	TCPUrg
	TCPEce
	TCPCwr
)

// TCP is a segment that starts with a TCP header (RFC 9293 section 3.1).
type TCP []byte

// ParseTCP returns the view of b, or false if the header with its options is
// not whole.
func ParseTCP(b []byte) (TCP, bool) {
	if len(b) < TCPLen {
		return nil, false
	}
	if hl := int(b[12]>>4) * 4; hl < TCPLen || hl > len(b) {
		return nil, false
	}
	return TCP(b), true
}

// SrcPort returns the source port.
func (t TCP) SrcPort() uint16 { return binary.BigEndian.Uint16(t[0:2]) }

// DstPort returns the destination port.
func (t TCP) DstPort() uint16 { return binary.BigEndian.Uint16(t[2:4]) }

// Seq returns the sequence number.
func (t TCP) Seq() uint32 { return binary.BigEndian.Uint32(t[4:8]) }

// Ack returns the acknowledgment number.
func (t TCP) Ack() uint32 { return binary.BigEndian.Uint32(t[8:12]) }

// HeaderLen returns the header's length with options.
func (t TCP) HeaderLen() int { return int(t[12]>>4) * 4 }

// Flags returns the eight control bits.
func (t TCP) Flags() uint8 { return t[13] }

// Window returns the window field, unscaled.
func (t TCP) Window() uint16 { return binary.BigEndian.Uint16(t[14:16]) }

// Checksum returns the checksum field.
func (t TCP) Checksum() uint16 { return binary.BigEndian.Uint16(t[16:18]) }

// Payload returns what follows the header.
func (t TCP) Payload() []byte { return t[t.HeaderLen():] }

// SetSeq writes the sequence number.
func (t TCP) SetSeq(v uint32) { binary.BigEndian.PutUint32(t[4:8], v) }

// SetFlags writes the eight control bits.
func (t TCP) SetFlags(f uint8) { t[13] = f }

// SetChecksum writes the checksum field.
func (t TCP) SetChecksum(v uint16) { binary.BigEndian.PutUint16(t[16:18], v) }

// UDP is a datagram that starts with a UDP header (RFC 768), cut to its length
// field.
type UDP []byte

// ParseUDP returns the view of b cut to the datagram's length, or false if the
// length field disagrees with b.
func ParseUDP(b []byte) (UDP, bool) {
	if len(b) < UDPLen {
		return nil, false
	}
	n := int(binary.BigEndian.Uint16(b[4:6]))
	if n < UDPLen || n > len(b) {
		return nil, false
	}
	return UDP(b[:n]), true
}

// SrcPort returns the source port.
func (u UDP) SrcPort() uint16 { return binary.BigEndian.Uint16(u[0:2]) }

// DstPort returns the destination port.
func (u UDP) DstPort() uint16 { return binary.BigEndian.Uint16(u[2:4]) }

// Checksum returns the checksum field; 0 means none (IPv4 only).
func (u UDP) Checksum() uint16 { return binary.BigEndian.Uint16(u[6:8]) }

// SetChecksum writes the checksum field.
func (u UDP) SetChecksum(v uint16) { binary.BigEndian.PutUint16(u[6:8], v) }

// Payload returns what follows the header.
func (u UDP) Payload() []byte { return u[UDPLen:] }

// ICMPv4 types and codes (RFC 792).
const (
	ICMPv4EchoReply    = 0
	ICMPv4Unreachable  = 3
	ICMPv4Echo         = 8
	ICMPv4TimeExceeded = 11
	ICMPv4ParamProblem = 12

	ICMPv4HostUnreachable = 1 // code of ICMPv4Unreachable
	ICMPv4FragNeeded      = 4 // code of ICMPv4Unreachable
)

// ICMPv6 types and codes (RFC 4443, RFC 4861).
const (
	ICMPv6Unreachable   = 1
	ICMPv6PacketTooBig  = 2
	ICMPv6TimeExceeded  = 3
	ICMPv6ParamProblem  = 4
	ICMPv6Echo          = 128
	ICMPv6EchoReply     = 129
	ICMPv6RouterSolicit = 133
	ICMPv6RouterAdvert  = 134
	ICMPv6NeighSolicit  = 135
	ICMPv6NeighAdvert   = 136
	ICMPv6Redirect      = 137

	ICMPv6AddrUnreachable = 3 // code of ICMPv6Unreachable
)

// ICMP is a message that starts with the 8 bytes every ICMP and ICMPv6 message
// has.
type ICMP []byte

// ParseICMP returns the view of b, or false if b is too short.
func ParseICMP(b []byte) (ICMP, bool) {
	if len(b) < ICMPLen {
		return nil, false
	}
	return ICMP(b), true
}

// Type returns the message type.
func (m ICMP) Type() uint8 { return m[0] }

// Code returns the message code.
func (m ICMP) Code() uint8 { return m[1] }

// MTU returns the next-hop MTU of a fragmentation-needed message (RFC 1191).
func (m ICMP) MTU() uint16 { return binary.BigEndian.Uint16(m[6:8]) }

// MTU6 returns the MTU of a packet-too-big message (RFC 4443 section 3.2).
func (m ICMP) MTU6() uint32 { return binary.BigEndian.Uint32(m[4:8]) }

// Payload returns what follows the first 8 bytes.
func (m ICMP) Payload() []byte { return m[ICMPLen:] }

// SetChecksum4 computes and writes the checksum of an ICMPv4 message.
func (m ICMP) SetChecksum4() {
	m[2], m[3] = 0, 0
	binary.BigEndian.PutUint16(m[2:4], Sum(0).Add(m).Checksum())
}

// SetChecksum6 computes and writes the checksum of an ICMPv6 message, given
// the sum of its pseudo-header.
func (m ICMP) SetChecksum6(pseudo Sum) {
	m[2], m[3] = 0, 0
	binary.BigEndian.PutUint16(m[2:4], pseudo.Add(m).Checksum())
}
