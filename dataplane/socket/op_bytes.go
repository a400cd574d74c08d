// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"math"
	"syscall"

	"netcon/dataplane/stream"
	"netcon/shm"

	"golang.org/x/sys/unix"
)

// opTakeError answers a read or write that saw the end of the pair with the
// error it is to fail with, 0 if it is an end: sock_error in tcp_recvmsg and
// sk_stream_error. After the peer's FIN a read only ever sees an end.
func (t *Set) opTakeError(s *sock, r *shm.Request) syscall.Errno {
	if r.Value != 0 || !s.has(fRxEnd) {
		t.reply.Value = int32(s.errno)
		s.errno = 0
	}
	return 0
}

// opOutq answers with the bytes the peer has not acknowledged, or those that
// were not sent yet: SIOCOUTQ and SIOCOUTQNSD of tcp_ioctl. Bytes that TCP holds
// and has not sent count as sent.
func (t *Set) opOutq(s *sock, r *shm.Request) syscall.Errno {
	switch s.state {
	case stListening:
		return unix.EINVAL
	case stConnected:
	default:
		return 0
	}
	n := max(0, queued(s.fd)-s.skip) + s.pair.Tx.Len()
	if r.Value == 0 && s.handle != 0 {
		var i stream.Info
		t.of(s).Info(s.handle, &i)
		n += int(i.SendQueue)
	}
	t.reply.Value = int32(min(n, math.MaxInt32))
	return 0
}
