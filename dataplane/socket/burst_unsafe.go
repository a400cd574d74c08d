// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"syscall"
	"unsafe"

	"netcon/shm"

	"golang.org/x/sys/unix"
)

// burstSize is how many datagrams one system call moves.
const burstSize = 8

// mmsghdr is struct mmsghdr.
type mmsghdr struct {
	hdr    unix.Msghdr
	length uint32
	_      uint32
}

// burst is the records of one recvmmsg or sendmmsg. The kernel sees its
// addresses: it is made once, on the heap, and does not move.
type burst struct {
	header  []shm.Datagram
	payload [][]byte
	iov     [][2]unix.Iovec
	msgs    []mmsghdr
}

// newBurst makes room for n records of up to length bytes of payload.
func newBurst(n, length int) *burst {
	b := &burst{
		header: make([]shm.Datagram, n), payload: make([][]byte, n),
		iov: make([][2]unix.Iovec, n), msgs: make([]mmsghdr, n),
	}
	all := make([]byte, n*length)
	for i := range n {
		b.payload[i] = all[i*length : (i+1)*length : (i+1)*length]
		b.iov[i][0].Base = &shm.DatagramBytes(&b.header[i])[0]
		b.iov[i][0].SetLen(shm.SizeofDatagram)
		if length > 0 {
			b.iov[i][1].Base = &b.payload[i][0]
		}
		b.msgs[i].hdr.Iov = &b.iov[i][0]
		b.msgs[i].hdr.SetIovlen(2)
	}
	return b
}

// receive reads records into the burst. A descriptor that comes along is closed
// by the kernel.
func (b *burst) receive(fd int32) (int, syscall.Errno) {
	for i := range b.iov {
		b.iov[i][1].SetLen(len(b.payload[i]))
	}
	n, _, e := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.msgs[0])), uintptr(len(b.msgs)),
		unix.MSG_DONTWAIT, 0, 0)
	if e != 0 {
		return 0, e
	}
	return int(n), 0
}

// at returns the record at place i of what receive read; whole says that there is
// a header and that nothing was cut off.
func (b *burst) at(i int) (h *shm.Datagram, payload []byte, whole bool) {
	n := int(b.msgs[i].length) - shm.SizeofDatagram
	if n < 0 || n > len(b.payload[i]) || b.msgs[i].hdr.Flags&unix.MSG_TRUNC != 0 {
		return nil, nil, false
	}
	return &b.header[i], b.payload[i][:n], true
}

// plain returns the record at place i of what receive read if it has no header; nil
// if there is one, or nothing, or too much. The header's bytes are the first of it.
func (b *burst) plain(i int) []byte {
	n := int(b.msgs[i].length)
	h := shm.DatagramBytes(&b.header[i])
	switch {
	case n == 0, n > len(b.payload[i]), b.msgs[i].hdr.Flags&unix.MSG_TRUNC != 0,
		n >= int(unsafe.Sizeof(b.header[i].Magic)) && b.header[i].Magic == shm.Magic:
		return nil
	}
	p := b.payload[i][:n]
	if n > len(h) {
		copy(p[len(h):], p)
	}
	copy(p, h)
	return p
}

// set makes the record at place i one with n bytes of payload.
func (b *burst) set(i, n int) { b.iov[i][1].SetLen(n) }

func (b *burst) length(i int) int { return int(b.iov[i][1].Len) }

// setError makes the record at place i one that tells of an error.
func (b *burst) setError(i int, e syscall.Errno, quiet bool) {
	b.header[i] = shm.Datagram{Magic: shm.Magic, Error: int32(e)}
	if quiet {
		b.header[i].Error, b.header[i].Flags = 0, shm.DatagramEvent
	}
	b.set(i, 0)
}

// send writes the records from place first to place end, as many as go.
func (b *burst) send(fd int32, first, end int) (int, syscall.Errno) {
	n, _, e := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.msgs[first])), uintptr(end-first),
		sendFlags, 0, 0)
	if e != 0 {
		return 0, e
	}
	return int(n), 0
}
