// SPDX-License-Identifier: Apache-2.0

package packetdrill

import (
	"net/netip"

	"netcon/dataplane/stream"
)

// Host makes the machine under test and knows its knobs.
type Host interface {
	// Sysctl sets a knob by its name in Linux, net.ipv4.tcp_sack, before
	// Start or while the machine runs. known says whether there is such a
	// knob; an error, that the value means nothing or comes too late.
	Sysctl(name, value string) (known bool, err error)

	// Start makes the machine.
	Start(at Setup) (stream.Clocked, error)

	// Inspect returns members of struct tcp_info that stream.Info lacks, by
	// name. It may be nil, or lack some.
	Inspect(m stream.Clocked, h stream.Handle) map[string]int64
}

// Setup says where the machine stands.
type Setup struct {
	MTU     int
	Addr    netip.Prefix
	Gateway netip.Addr
}
