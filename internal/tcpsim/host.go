// SPDX-License-Identifier: Apache-2.0

package tcpsim

import (
	"math"
	"net/netip"
	"syscall"
	"time"

	"netcon/dataplane/stream"
)

// never is a time that does not come.
const never = time.Duration(math.MaxInt64)

// host is a stack and the sockets of its users. Times are the host's own.
type host interface {
	advance(now time.Duration)
	next() time.Duration
	deliver(packet []byte, verified bool)
	endBurst()
	poll(u func(*user) error) error // u is called for users with news
	transmit()
	busy() bool

	open(u *user) (*sock, syscall.Errno)
	bind(s *sock, local netip.AddrPort) syscall.Errno
	listen(s *sock, backlog int) syscall.Errno
	accept(s *sock, u *user) (*sock, syscall.Errno)
	connect(s *sock, remote netip.AddrPort) syscall.Errno
	attach(s *sock, tx, rx int, lazy bool)
	write(s *sock, p []byte) int
	read(s *sock, p []byte) (n int, eof bool)
	shutdown(s *sock, viaEOF bool)
	acked(s *sock) bool // all that was written was acknowledged, as far as the host tells
	close(s *sock)
	abort(s *sock)
	lie(s *sock) // publishes cursors that cannot be true
	setOption(s *sock, o stream.Option, v int)
	undeliverable(packet []byte)
	ask(s *sock, o stream.Option) // reads what may be read of a socket
	local(s *sock) netip.AddrPort
	remote(s *sock) (netip.AddrPort, syscall.Errno)

	touch()       // a user called
	check() error // invariants, if anything was done
	rest() error  // what is left when all is over
	stop()
}
