// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// opGetsockname answers with the local address.
func (t *Set) opGetsockname(s *sock) syscall.Errno {
	t.reply.Addr = encodeAddr(t.localOf(s), s.family)
	return 0
}

// opGetpeername answers with the peer's address.
func (t *Set) opGetpeername(s *sock) syscall.Errno {
	ap, e := t.remoteOf(s)
	if e != 0 {
		return e
	}
	t.reply.Addr = encodeAddr(ap, s.family)
	return 0
}

func (t *Set) localOf(s *sock) netip.AddrPort {
	if s.handle == 0 || s.has(fRebind) {
		if s.local.IsValid() {
			return s.local
		}
		return unspecified(s.family)
	}
	return t.of(s).Local(s.handle)
}

func (t *Set) remoteOf(s *sock) (netip.AddrPort, syscall.Errno) {
	if s.dgram != nil {
		if s.dgram.far.IsValid() {
			return s.dgram.far, 0
		}
		remote, e := t.engine.Remote(s.handle)
		if e == 0 && remote.Port() == 0 {
			e = unix.ENOTCONN // as inet_getname
		}
		return remote, e
	}
	if s.state != stConnected && s.state != stClosing || s.handle == 0 {
		return netip.AddrPort{}, unix.ENOTCONN
	}
	return t.of(s).Remote(s.handle)
}
