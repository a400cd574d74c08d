// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"fmt"

	"netcon/dataplane/wire"
)

// Layer is a set of what a trace shows.
type Layer uint8

// The layers.
const (
	Inner Layer = 1 << iota // frames of containers, as their stacks see them
	Outer                   // encapsulated frames, as the wire sees them
	Both  = Inner | Outer
)

// ParseLayer returns the layer of that name; the empty one means inner.
func ParseLayer(s string) (Layer, error) {
	switch s {
	case "", "inner":
		return Inner, nil
	case "outer":
		return Outer, nil
	case "both":
		return Both, nil
	}
	return 0, fmt.Errorf("layer %q (want inner, outer or both)", s)
}

// Direction is a set of the ways that frames go.
type Direction uint8

// The directions.
const (
	In    Direction = 1 << iota // to a container, or from the wire
	Out                         // from a container, or to the wire
	InOut = In | Out
)

// ParseDirection returns the direction of that name; the empty one means both.
func ParseDirection(s string) (Direction, error) {
	switch s {
	case "", "inout":
		return InOut, nil
	case "in":
		return In, nil
	case "out":
		return Out, nil
	}
	return 0, fmt.Errorf("direction %q (want in, out or inout)", s)
}

// wants reports whether frames that go that way are in the set.
func (d Direction) wants(out bool) bool {
	if out {
		return d&Out != 0
	}
	return d&In != 0
}

// place is how outer frames of a container are told from others.
type place struct {
	vni uint32
	mac wire.MAC
}

// matches reports whether a UDP payload carries a frame of the container:
// outbound one that it sent, inbound one that it is to get.
func (k *place) matches(out bool, payload []byte) bool {
	v, ok := wire.ParseVXLAN(payload)
	if !ok || !v.Valid() || v.VNI() != k.vni {
		return false
	}
	e, ok := wire.ParseEthernet(v.Payload())
	if !ok {
		return false
	}
	if out {
		return e.Src() == k.mac
	}
	dst := e.Dst()
	return dst == k.mac || dst.IsGroup()
}
