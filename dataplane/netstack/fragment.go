// SPDX-License-Identifier: Apache-2.0

package netstack

import (
	"netcon/dataplane/stat"
	"netcon/dataplane/wire"
)

// deliverFragment takes fragments of UDP and ICMP, and delivers the packet that
// they make whole as one that came whole. TCP has path MTU discovery, and what
// is checked in its segments (ports, sequence numbers, options) would only have
// to be checked later.
func (s *Stack) deliverFragment(in *incoming) stat.Reason {
	switch in.proto {
	case wire.ProtoUDP:
	case wire.ProtoICMP:
		if in.v6 {
			return stat.DropProtocolDisabled
		}
	case wire.ProtoICMPv6:
		if !in.v6 {
			return stat.DropProtocolDisabled
		}
	default:
		return stat.DropProtocolDisabled
	}
	whole, r := s.frags.Take(in.b, s.now())
	if whole == nil {
		return r
	}
	return s.deliver(whole, false)
}
