// SPDX-License-Identifier: Apache-2.0

package packetdrill

import (
	"encoding/binary"
	"fmt"

	"netcon/dataplane/wire"
)

type icmpKind struct{ typ, code uint8 }

// The names that scripts give to messages, "type code" (RFC 792, RFC 1812, RFC
// 4443).
var icmp4 = map[string]icmpKind{
	"echo_reply": {0, 0}, "echo_request": {8, 0}, "source_quench": {4, 0},
	"unreachable": {3, 0}, "unreachable net_unreachable": {3, 0}, "unreachable host_unreachable": {3, 1},
	"unreachable protocol_unreachable": {3, 2}, "unreachable port_unreachable": {3, 3}, "unreachable frag_needed": {3, 4},
	"unreachable source_route_failed": {3, 5}, "unreachable net_unknown": {3, 6}, "unreachable host_unknown": {3, 7},
	"unreachable source_host_isolated": {3, 8}, "unreachable net_prohibited": {3, 9}, "unreachable host_prohibited": {3, 10},
	"unreachable net_unreachable_for_tos": {3, 11}, "unreachable host_unreachable_for_tos": {3, 12},
	"unreachable comm_prohibited": {3, 13}, "unreachable packet_filtered": {3, 13},
	"unreachable host_precedence_violation": {3, 14}, "unreachable precedence_cutoff": {3, 15},
	"time_exceeded": {11, 0}, "time_exceeded exceeded_ttl": {11, 0}, "time_exceeded exceeded_fragtime": {11, 1},
	"parameter_problem": {12, 0},
}

var icmp6 = map[string]icmpKind{
	"echo_request": {128, 0}, "echo_reply": {129, 0},
	"unreachable": {1, 0}, "unreachable noroute": {1, 0}, "unreachable no_route": {1, 0}, "unreachable adm_prohibited": {1, 1},
	"unreachable beyond_scope": {1, 2}, "unreachable address_unreachable": {1, 3}, "unreachable addr_unreachable": {1, 3},
	"unreachable port_unreachable": {1, 4}, "packet_too_big": {2, 0},
	"time_exceeded": {3, 0}, "time_exceeded exceed_hoplimit": {3, 0}, "time_exceeded exceed_fragtime": {3, 1},
	"parameter_problem": {4, 0},
}

// kind returns type and code on the wire.
func (m *ICMP) kind(ipv6 bool) (icmpKind, error) {
	name := m.Type
	if m.Code != "" {
		name += " " + m.Code
	}
	table := icmp4
	if ipv6 {
		table = icmp6
	}
	k, ok := table[name]
	if !ok {
		return k, fmt.Errorf("icmp %s is not known for this --ip_version", name)
	}
	return k, nil
}

// quoted is how much of a segment an ICMP error carries behind the IP header:
// the least, which everybody sends.
const quoted = 8

// icmp makes an ICMP message for the machine. An error quotes the start of a
// segment that the machine sent.
func (f *flow) icmp(k *Packet) ([]byte, error) {
	m, ipv6 := k.ICMP, f.local.Addr().Is6()
	kind, err := m.kind(ipv6)
	if err != nil {
		return nil, err
	}
	msg := make([]byte, wire.ICMPLen)
	msg[0], msg[1] = kind.typ, kind.code
	echo := m.Type == "echo_request" || m.Type == "echo_reply"
	switch {
	case echo:
		binary.BigEndian.PutUint16(msg[4:], m.ID)
		msg = append(msg, "0123456789abcdef"...)
	case m.MTU >= 0 && ipv6:
		binary.BigEndian.PutUint32(msg[4:], uint32(m.MTU))
	case m.MTU >= 0:
		binary.BigEndian.PutUint16(msg[6:], uint16(m.MTU))
	}
	if !echo {
		s := &segment{src: f.local, dst: f.remote, ttl: 60, seq: f.localISN + m.Seq, flags: wire.TCPAck, payload: make([]byte, m.Len)}
		if !m.Quote {
			s.seq = f.localISN
		}
		whole := s.build()
		msg = append(msg, whole[:len(whole)-wire.TCPLen-m.Len+quoted]...)
	}
	proto := uint8(wire.ProtoICMP)
	if ipv6 {
		proto = wire.ProtoICMPv6
		wire.ICMP(msg).SetChecksum6(wire.PseudoHeader(f.remote.Addr(), f.local.Addr(), proto, len(msg)))
	} else {
		wire.ICMP(msg).SetChecksum4()
	}
	return wrapIP(f.remote.Addr(), f.local.Addr(), proto, 0, 255, 0, msg), nil
}

func (r *runner) compareICMP(k *Packet, s *segment) string {
	switch {
	case k.ICMP == nil:
		return fmt.Sprintf("expected %s, got an ICMP message", r.name(k))
	case s.icmp == nil:
		return "expected an ICMP message, got a TCP segment"
	}
	kind, err := k.ICMP.kind(r.cfg.ipv6)
	if err != nil {
		return err.Error()
	}
	if got := (icmpKind{s.icmp.Type(), s.icmp.Code()}); got != kind {
		return fmt.Sprintf("expected ICMP type %d code %d, got type %d code %d", kind.typ, kind.code, got.typ, got.code)
	}
	return ""
}
