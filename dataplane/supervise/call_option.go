// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"encoding/binary"
	"syscall"

	"golang.org/x/sys/unix"

	"netcon/dataplane/launch"
	"netcon/shm"
)

// getsockopt carries out getsockopt(2). What only the real descriptor can say
// does not come here (nativeOptions).
func (v *virtual) getsockopt() {
	level, option := v.intArg(1), v.intArg(2)
	room, e := v.readLen(v.arg(4))
	if e != 0 {
		v.end(0, e)
		return
	}
	r := v.request(shm.OpGetsockopt)
	r.Level, r.Option, r.Optlen = int32(level), int32(option), uint32(min(room, shm.OptMax))
	reply, e := v.ask(r)
	isError := level == unix.SOL_SOCKET && option == unix.SO_ERROR
	if isError && e == launch.Gone {
		v.pass() // without its daemon the pair still knows that it was reset
		return
	}
	if e != 0 {
		v.end(0, e)
		return
	}
	if isError {
		// The pair has an error beside the daemon's, and both are taken.
		_, _ = unix.GetsockoptInt(v.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	}
	n := int(min(reply.Optlen, r.Optlen))
	if e = v.write(v.arg(3), reply.Opt[:n]); e == 0 {
		e = v.writeLen(v.arg(4), n)
	}
	v.end(0, e)
}

// setsockopt carries out setsockopt(2).
func (v *virtual) setsockopt() syscall.Errno {
	level, option, n := v.intArg(1), v.intArg(2), v.intArg(4)
	if n < 0 || n > shm.OptMax {
		return unix.EINVAL
	}
	r := v.request(shm.OpSetsockopt)
	r.Level, r.Option, r.Optlen = int32(level), int32(option), uint32(n)
	value, e := v.read(v.arg(3), n)
	if e != 0 {
		return e
	}
	copy(r.Opt[:], value)
	_, e = v.ask(r)
	if e == 0 && level == unix.SOL_SOCKET && option == unix.SO_RCVLOWAT {
		// Also what the native read goes by.
		_ = unix.SetsockoptString(v.fd, level, option, string(value))
	}
	return e
}

// probe answers a process that asks whether it is supervised.
func probe(t *target) {
	t.end(0, t.write(t.arg(3), binary.NativeEndian.AppendUint32(nil, shm.ProbeAnswer)))
}
