// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"encoding/binary"
	"syscall"

	"golang.org/x/sys/unix"

	"netcon/shm"
)

// message is what sendto, sendmsg, recvfrom and recvmsg are about. Sendmmsg
// and recvmmsg are about several.
type message struct {
	header        uint64 // address of the msghdr, 0: there is none
	length        uint64 // where its length goes (mmsghdr), 0: nowhere
	name, nameLen uint64 // the name's address, and where its length is
	nameRoom      int
	spans         []span
	control       uint64 // where control messages are, or go
	controlRoom   int
	flags         int
}

type span struct{ base, size uint64 }

// mmsghdrSize is the size of struct mmsghdr: a msghdr, and a length.
const mmsghdrSize = msghdrSize + 8

// messages returns how many messages the call is about, and whether there is a
// list of them.
func (v *virtual) messages() (n int, list bool) {
	if v.call.nr == unix.SYS_SENDMMSG || v.call.nr == unix.SYS_RECVMMSG {
		return int(min(uint32(v.arg(2)), iovecMax)), true
	}
	return 1, false
}

// readMessage finds the arguments of the call, of message i of a list.
func (v *virtual) readMessage(i int) (m message, e syscall.Errno) {
	switch v.call.nr {
	case unix.SYS_SENDTO:
		m = message{name: v.arg(4), nameRoom: v.intArg(5), spans: []span{{v.arg(1), v.arg(2)}}, flags: v.intArg(3)}
		return m, 0
	case unix.SYS_RECVFROM:
		m = message{name: v.arg(4), nameLen: v.arg(5), spans: []span{{v.arg(1), v.arg(2)}}, flags: v.intArg(3)}
		if m.name != 0 {
			m.nameRoom, e = v.readLen(m.nameLen)
		}
		return m, e
	}
	m = message{header: v.arg(1), flags: v.intArg(2)}
	if _, list := v.messages(); list {
		m.header += uint64(i) * mmsghdrSize
		m.flags, m.length = v.intArg(3), m.header+msghdrSize
	}
	h, e := v.read(m.header, msghdrSize)
	if e != 0 {
		return m, e
	}
	m.name, m.nameLen = binary.NativeEndian.Uint64(h), m.header+msgNameLen
	m.nameRoom = int(int32(binary.NativeEndian.Uint32(h[msgNameLen:])))
	m.control = binary.NativeEndian.Uint64(h[msgControl:])
	if room := binary.NativeEndian.Uint64(h[msgControlLen:]); m.control != 0 {
		m.controlRoom = int(min(room, controlMax+1))
	}
	n := binary.NativeEndian.Uint64(h[msgIovLen:])
	if n > iovecMax {
		return m, unix.EMSGSIZE
	}
	b, e := v.read(binary.NativeEndian.Uint64(h[msgIov:]), int(n)*iovecSize)
	for ; len(b) > 0; b = b[iovecSize:] {
		m.spans = append(m.spans, span{binary.NativeEndian.Uint64(b), binary.NativeEndian.Uint64(b[iovecLen:])})
	}
	return m, e
}

// longestDatagram is one byte more than a datagram takes.
const longestDatagram = shm.PayloadMax + 1

// size adds up the spans, to at most most.
func (m *message) size(most int) (n int) {
	for _, s := range m.spans {
		n = min(n+int(min(s.size, uint64(most))), most)
	}
	return n
}
