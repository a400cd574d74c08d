// SPDX-License-Identifier: Apache-2.0

package netstack

import (
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"

	"netcon/dataplane/stat"
	"netcon/dataplane/wire"
)

// fragmentLife is how long gVisor keeps a fragment at most, RFC 8200 section
// 4.5; for IPv4 it is half of that.
const fragmentLife = 60 * time.Second

// fragmentCost is the least a fragment is charged: what a buffer costs.
const fragmentCost = 512

// fragmentBudget bounds the fragments accepted in any fragmentLife. gVisor's
// own bound is a constant and does not say what it holds, so what was
// reassembled counts until its time is over as well.
type fragmentBudget struct {
	start     tcpip.MonotonicTime // of the current half of the window
	cur, prev int                 // bytes accepted in this half and the one before
}

// take charges n bytes, or refuses.
func (b *fragmentBudget) take(now tcpip.MonotonicTime, n, limit int) bool {
	if age := now.Sub(b.start); age >= fragmentLife {
		b.start, b.prev, b.cur = now, b.cur, 0
		if age >= 2*fragmentLife {
			b.prev = 0
		}
	}
	if b.cur+b.prev+n > limit {
		return false
	}
	b.cur += n
	return true
}

// deliverFragment accepts fragments of echo requests and of nothing else. With
// receive checksum offload gVisor does not verify TCP and UDP after reassembly,
// and what is checked in whole TCP segments and ICMP errors (ports, sequence
// numbers, options, MTU) could be hidden by fragmenting them. TCP has path MTU
// discovery; UDP has no sockets here; ICMP is verified by gVisor in any case.
// The ICMP type lies in the first fragment always, and overlapping fragments
// are refused by gVisor.
func (s *Stack) deliverFragment(in *incoming, first bool) stat.Reason {
	echo := uint8(wire.ICMPv4Echo)
	proto := uint8(wire.ProtoICMP)
	if in.v6 {
		echo, proto = wire.ICMPv6Echo, wire.ProtoICMPv6
	}
	if in.proto != proto {
		return stat.DropProtocolDisabled
	}
	if first {
		m, ok := wire.ParseICMP(in.upper())
		if !ok {
			return stat.DropL4Short
		}
		if m.Type() != echo {
			return stat.DropProtocolDisabled
		}
	}
	if !s.frags.take(s.clock.NowMonotonic(), max(len(in.b), fragmentCost), s.cfg.Limits.FragmentBytes) {
		return stat.DropFragmentLimit
	}
	s.enqueue(in, len(in.b), nil)
	return stat.Accepted
}

// firstFragment reports whether the fragment header of ip says offset zero.
func firstFragment(ip wire.IPv6) bool {
	next, at := ip.NextHeader(), wire.IPv6Len
	for next != 44 {
		next, at = ip[at], at+8+int(ip[at+1])*8
	}
	return ip[at+2] == 0 && ip[at+3]&^7 == 0
}
