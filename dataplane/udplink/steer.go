// SPDX-License-Identifier: Apache-2.0

package udplink

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"

	"netcon/dataplane/wire"
)

// Place says on which worker an inner address is.
type Place struct {
	MAC    wire.MAC
	Worker int
}

// maxPlaces is how many places fit a classic BPF program (BPF_MAXINSNS, two
// instructions each, three around them).
const maxPlaces = (4096 - 3) / 2

// innerMAC is where a datagram holds the last four bytes of the inner
// destination address.
const innerMAC = wire.VXLANLen + 2

// Steer makes the kernel give each datagram to the worker that its inner
// destination is on, instead of one chosen by a hash of the outer addresses:
// that spares a hand-over. Datagrams for other destinations, and those beyond
// the first 2,046 places, go to worker 0. It needs no privilege. A train that
// the kernel merged goes where its first frame goes, so workers hand over what
// is not theirs all the same.
//
// It replaces what an earlier call set, and may be called while the links work.
func Steer(links []*Link, places []Place) error {
	if len(links) < 2 {
		return nil
	}
	prog := steering(places)
	fprog := unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}
	if err := unix.SetsockoptSockFprog(links[0].rx.fd, unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_CBPF, &fprog); err != nil {
		return fmt.Errorf("steer datagrams of %s to %d workers: %w", links[0].local, len(links), err)
	}
	return nil
}

// steering returns the program: it is run on the UDP payload and returns a
// worker's number. A load beyond the payload returns 0.
func steering(places []Place) []unix.SockFilter {
	prog := []unix.SockFilter{{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: innerMAC}}
	for _, p := range places[:min(len(places), maxPlaces)] {
		if p.Worker == 0 {
			continue // where all others go
		}
		prog = append(prog,
			unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: 0, Jf: 1, K: binary.BigEndian.Uint32(p.MAC[2:])},
			unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: uint32(p.Worker)})
	}
	return append(prog, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: 0})
}
