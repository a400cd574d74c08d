// SPDX-License-Identifier: Apache-2.0

package netstack

import (
	"net/netip"
	"syscall"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
)

func TestConfig(t *testing.T) {
	ps := func(s ...string) (p []netip.Prefix) {
		for _, x := range s {
			p = append(p, netip.MustParsePrefix(x))
		}
		return p
	}
	for _, x := range []struct {
		name string
		cfg  Config
		ok   bool
	}{
		{"dual", Config{MTU: 1280, Addrs: ps("10.0.0.1/24", "fd00::1/64")}, true},
		{"small", Config{MTU: 576, Addrs: ps("10.0.0.1/24")}, true},
		{"single address", Config{MTU: 1450, Addrs: ps("10.0.0.1/32", "fd00::1/128"), Gateway4: addr4(254), Gateway6: addr6(9)}, true},
		{"too small", Config{MTU: 575, Addrs: ps("10.0.0.1/24")}, false},
		{"too small for IPv6", Config{MTU: 1279, Addrs: ps("fd00::1/64")}, false},
		{"too large", Config{MTU: 65536, Addrs: ps("10.0.0.1/24")}, false},
		{"no address", Config{MTU: 1450}, false},
		{"loopback", Config{MTU: 1450, Addrs: ps("127.0.0.1/8")}, false},
		{"multicast", Config{MTU: 1450, Addrs: ps("224.0.0.1/8")}, false},
		{"twice", Config{MTU: 1450, Addrs: ps("10.0.0.1/24", "10.0.0.1/16")}, false},
		{"no prefix", Config{MTU: 1450, Addrs: []netip.Prefix{{}}}, false},
		{"gateway 4", Config{MTU: 1450, Addrs: ps("10.0.0.1/24"), Gateway4: addr6(1)}, false},
		{"gateway 6", Config{MTU: 1450, Addrs: ps("10.0.0.1/24"), Gateway6: addr4(1)}, false},
	} {
		s, err := New(x.cfg)
		if (err == nil) != x.ok {
			t.Errorf("%s: %v", x.name, err)
		}
		if err != nil {
			continue
		}
		if l := s.Limits(); l.Connections != 16384 || l.HalfOpen != 4096 || l.BufferBytes != 256<<20 || l.FragmentBytes != 4<<20 {
			t.Errorf("%s: limits %+v", x.name, l)
		}
		if s.cfg.TimeWait != 5*time.Second || s.cfg.SynRetries != 6 || s.stat == nil {
			t.Errorf("%s: %+v", x.name, s.cfg)
		}
		s.Stop(nil)
	}
}

func TestErrno(t *testing.T) {
	for _, x := range []struct {
		err  tcpip.Error
		want syscall.Errno
	}{
		{nil, 0},
		{&tcpip.ErrConnectStarted{}, syscall.EINPROGRESS},
		{&tcpip.ErrConnectionRefused{}, syscall.ECONNREFUSED},
		{&tcpip.ErrConnectionReset{}, syscall.ECONNRESET},
		{&tcpip.ErrTimeout{}, syscall.ETIMEDOUT},
		{&tcpip.ErrPortInUse{}, syscall.EADDRINUSE},
		{&tcpip.ErrBadLocalAddress{}, syscall.EADDRNOTAVAIL},
		{&tcpip.ErrWouldBlock{}, syscall.EAGAIN},
		{&tcpip.ErrMissingRequiredFields{}, syscall.EIO},
	} {
		if got := errnoOf(x.err); got != x.want {
			t.Errorf("%v: %v, want %v", x.err, got, x.want)
		}
	}
}
