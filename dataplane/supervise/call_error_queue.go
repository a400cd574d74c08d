// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"netcon/shm"
)

// receiveError carries out a receive with MSG_ERRQUEUE: the oldest error that the
// network reported, as struct sock_extended_err and the offender's address
// (ip_recv_error, ipv6_recv_error).
func (v *virtual) receiveError(d *datagram, m *message) {
	reply, e := v.ask(v.request(shm.OpErrorQueue))
	var cause shm.Cause
	switch {
	case e != 0:
		v.end(0, e)
		return
	case reply.Optlen < shm.SizeofCause || reply.Optlen > shm.OptMax:
		v.end(0, unix.EPROTO)
		return
	}
	_ = d.take() // it is told with that
	copy(shm.CauseBytes(&cause), reply.Opt[:])
	quoted := reply.Opt[shm.SizeofCause:reply.Optlen]

	x := binary.NativeEndian.AppendUint32(nil, cause.Error)
	x = append(x, cause.Origin, cause.Type, cause.Code, 0)
	x = binary.NativeEndian.AppendUint32(x, cause.Info)
	x = binary.NativeEndian.AppendUint32(x, 0)
	level, kind, size := unix.IPPROTO_IP, unix.IP_RECVERR, sockaddrIn
	if d.six {
		level, kind, size = unix.IPPROTO_IPV6, unix.IPV6_RECVERR, sockaddrIn6
	}
	offender := make([]byte, size) // AF_UNSPEC: nobody
	if cause.Offender.Family != 0 {
		copy(offender, sockaddrFromAddr(&cause.Offender))
	}
	told := controls{room: m.controlRoom}
	told.put(level, kind, append(x, offender...))

	flags, n := unix.MSG_ERRQUEUE, min(m.size(longestDatagram), len(quoted))
	if n < len(quoted) {
		flags |= unix.MSG_TRUNC
	}
	v.end(int64(n), v.hand(m, quoted[:n], &reply.Addr, &told, flags))
}
