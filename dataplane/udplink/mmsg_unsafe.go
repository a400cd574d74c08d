// SPDX-License-Identifier: Apache-2.0

package udplink

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// segmentSize is the control message UDP_SEGMENT: the length of a train's
// frames, a __u16.
type segmentSize struct {
	hdr  unix.Cmsghdr
	size uint16
	_    [6]byte
}

// trainLength is room for the control message UDP_GRO: the length of a train's
// frames, an int.
type trainLength struct {
	hdr  unix.Cmsghdr
	size int32
	_    [4]byte
}

// frame returns the length of the frames in the train received with m, 0 if it
// is a single frame.
func (c *trainLength) frame(m *unix.Mmsghdr) int {
	if int(m.Hdr.Controllen) < unix.CmsgLen(4) ||
		c.hdr.Level != unix.IPPROTO_UDP || c.hdr.Type != unix.UDP_GRO {
		return 0
	}
	return int(c.size)
}

// init lays out the buffers. mtu is the largest frame expected without UDP_GRO.
func (r *receiver) init(gro bool, mtu int) {
	batch, size := trainBatch, trainBuffer
	if !gro {
		batch, size = frameBatch, max(mtu, minFrameBuffer)
	}
	r.size = size
	r.msgs = make([]unix.Mmsghdr, batch)
	r.iovs = make([]unix.Iovec, batch)
	r.names = make([]sockaddr, batch)
	r.ctls = make([]trainLength, batch)
	r.buf = make([]byte, batch*size)
	for i := range r.msgs {
		r.iovs[i].Base = &r.buffer(i)[0]
		r.iovs[i].SetLen(size)
		h := &r.msgs[i].Hdr
		h.Name = &r.names[i][0]
		h.Iov = &r.iovs[i]
		h.SetIovlen(1)
		h.Control = (*byte)(unsafe.Pointer(&r.ctls[i]))
	}
	r.got = batch
	r.rearm()
	r.got = 0
}

// rearm restores the fields that the kernel overwrote in the last batch.
func (r *receiver) rearm() {
	for i := range r.got {
		h := &r.msgs[i].Hdr
		h.Namelen = uint32(len(sockaddr{}))
		h.SetControllen(int(unsafe.Sizeof(trainLength{})))
	}
}

func newSendSocket(fd int) sendSocket {
	s := sendSocket{
		fd:     fd,
		buf:    make([]byte, sendBuffer),
		trains: make([]train, sendBatch),
		msgs:   make([]unix.Mmsghdr, sendBatch),
		iovs:   make([]unix.Iovec, sendBatch),
		names:  make([]sockaddr, sendBatch),
		ctls:   make([]segmentSize, sendBatch),
	}
	for i := range s.msgs {
		c := &s.ctls[i]
		c.hdr.SetLen(unix.CmsgLen(2))
		c.hdr.Level = unix.IPPROTO_UDP
		c.hdr.Type = unix.UDP_SEGMENT
		h := &s.msgs[i].Hdr
		h.Name = &s.names[i][0]
		h.Iov = &s.iovs[i]
		h.SetIovlen(1)
	}
	return s
}

// set points message i at n bytes from off on; a size that is not 0 has the
// kernel cut them into frames of that length.
func (s *sendSocket) set(i, off, n, size int) {
	s.iovs[i].Base = &s.buf[off]
	s.iovs[i].SetLen(n)
	h := &s.msgs[i].Hdr
	if size == 0 {
		h.Control = nil
		h.SetControllen(0)
		return
	}
	s.ctls[i].size = uint16(size)
	h.Control = (*byte)(unsafe.Pointer(&s.ctls[i]))
	h.SetControllen(int(unsafe.Sizeof(segmentSize{})))
}

// recvmmsg receives into msgs, which must live on the heap, without waiting.
func recvmmsg(fd int, msgs []unix.Mmsghdr) (int, unix.Errno) {
	n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd),
		uintptr(unsafe.Pointer(&msgs[0])), uintptr(len(msgs)), unix.MSG_DONTWAIT, 0, 0)
	return int(n), errno
}

// sendmmsg sends msgs, which must live on the heap, without waiting. It may
// send fewer than all; the error of the message that stopped it comes with the
// next call.
func sendmmsg(fd int, msgs []unix.Mmsghdr) (int, unix.Errno) {
	n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(fd),
		uintptr(unsafe.Pointer(&msgs[0])), uintptr(len(msgs)), unix.MSG_DONTWAIT, 0, 0)
	return int(n), errno
}
