// SPDX-License-Identifier: Apache-2.0

package xsk

import (
	"errors"
	"fmt"
	"reflect"
	"sync/atomic"
	"syscall"
	"unsafe"

	"github.com/asavie/xdp"
	"golang.org/x/sys/unix"
)

// Sizes of ring entries: an address in the UMEM, a descriptor.
const (
	addrLen = int(unsafe.Sizeof(uint64(0)))
	descLen = int(unsafe.Sizeof(unix.XDPDesc{}))
)

// ringKind says which ring of a socket is meant, in the order of the mappings.
type ringKind int

const (
	fillRing ringKind = iota
	completionRing
	rxRing
	txRing

	numRings
)

// rings are the four rings of a socket as the kernel lays them out.
var rings = [numRings]struct {
	name    string
	offset  int64 // of the mapping
	entry   int   // bytes of one entry
	library string
}{
	fillRing:       {"fill", unix.XDP_UMEM_PGOFF_FILL_RING, addrLen, "fillRing"},
	completionRing: {"completion", unix.XDP_UMEM_PGOFF_COMPLETION_RING, addrLen, "completionRing"},
	rxRing:         {"receive", unix.XDP_PGOFF_RX_RING, descLen, "rxRing"},
	txRing:         {"transmit", unix.XDP_PGOFF_TX_RING, descLen, "txRing"},
}

// layout is where the words and entries of each ring lie in its mapping.
type layout [numRings]unix.XDPRingOffset

// bytes returns the length of a ring's mapping.
func (l *layout) bytes(k ringKind, entries int) int {
	return int(l[k].Desc) + entries*rings[k].entry
}

// readLayout asks the kernel how it lays out rings. It is the same for every
// AF_XDP socket.
func readLayout(fd int) (layout, error) {
	var o unix.XDPMmapOffsets
	n := uint32(unsafe.Sizeof(o))
	if _, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_XDP, unix.XDP_MMAP_OFFSETS,
		uintptr(unsafe.Pointer(&o)), uintptr(unsafe.Pointer(&n)), 0); errno != 0 {
		return layout{}, fmt.Errorf("read ring layout: %w", errno)
	}
	if uintptr(n) != unsafe.Sizeof(o) {
		return layout{}, errors.New("read ring layout: no flags words (Linux 5.4 or later)")
	}
	return layout{fillRing: o.Fr, completionRing: o.Cr, rxRing: o.Rx, txRing: o.Tx}, nil
}

// mapRing maps ring k of a socket.
func mapRing(fd int, k ringKind, l *layout, entries int) ([]byte, error) {
	mem, err := unix.Mmap(fd, rings[k].offset, l.bytes(k, entries), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return nil, fmt.Errorf("map %s ring of %d entries: %w", rings[k].name, entries, err)
	}
	return mem, nil
}

// wordsOf returns the cursors of a ring in its mapping.
func wordsOf(mem []byte, o *unix.XDPRingOffset) words {
	at := func(offset uint64) *atomic.Uint32 { return (*atomic.Uint32)(unsafe.Pointer(&mem[offset])) }
	return words{producer: at(o.Producer), consumer: at(o.Consumer), flags: at(o.Flags)}
}

// entriesOf returns the entries of a ring in its mapping.
func entriesOf[T any](mem []byte, o *unix.XDPRingOffset, n int) []T {
	return unsafe.Slice((*T)(unsafe.Pointer(&mem[o.Desc])), n)
}

// libraryRings returns the library's own mappings of the rings. Its Close does
// not unmap them, and while they are mapped the kernel keeps the socket and its
// queue. The slices are what the library got from syscall.Mmap, so that
// syscall.Munmap takes them.
func libraryRings(s *xdp.Socket, l *layout, entries *[numRings]int) ([numRings][]byte, error) {
	var maps [numRings][]byte
	v := reflect.ValueOf(s).Elem()
	for k, r := range rings {
		ring := v.FieldByName(r.library)
		if !ring.IsValid() || ring.Kind() != reflect.Struct {
			return maps, fmt.Errorf("find the library's %s ring: it has no field %s", r.name, r.library)
		}
		word := ring.FieldByName("Producer")
		if !word.IsValid() || word.Kind() != reflect.Pointer || word.IsNil() {
			return maps, fmt.Errorf("find the library's %s ring: it has no word Producer", r.name)
		}
		start := unsafe.Add(word.UnsafePointer(), -int(l[k].Producer))
		maps[k] = unsafe.Slice((*byte)(start), l.bytes(ringKind(k), entries[k]))
	}
	return maps, nil
}

// unmapAt unmaps n bytes that the library mapped at addr.
func unmapAt(addr uintptr, n int) error {
	p := *(*unsafe.Pointer)(unsafe.Pointer(&addr))
	return syscall.Munmap(unsafe.Slice((*byte)(p), n))
}

// readOptions returns the flags that the kernel shows for a bound socket.
func readOptions(fd int) (uint32, error) {
	var flags uint32
	n := uint32(unsafe.Sizeof(flags))
	if _, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_XDP, unix.XDP_OPTIONS,
		uintptr(unsafe.Pointer(&flags)), uintptr(unsafe.Pointer(&n)), 0); errno != 0 {
		return 0, fmt.Errorf("read options of xsk: %w", errno)
	}
	return flags, nil
}

// kick asks the kernel to send what lies in the transmit ring. It goes through
// Syscall, because in copy mode it sends on this thread.
func kick(fd int) unix.Errno {
	_, _, errno := unix.Syscall6(unix.SYS_SENDTO, uintptr(fd), 0, 0, unix.MSG_DONTWAIT, 0, 0)
	return errno
}

// wake asks the kernel to go on receiving.
func wake(fd int) unix.Errno {
	_, _, errno := unix.Syscall6(unix.SYS_RECVFROM, uintptr(fd), 0, 0, unix.MSG_DONTWAIT, 0, 0)
	return errno
}
