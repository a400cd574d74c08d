// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"bytes"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestSockaddr(t *testing.T) {
	v4 := []byte{2, 0, 0x1f, 0x90, 10, 42, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0}
	v6 := []byte{
		10, 0, 0x1f, 0x90, 0, 0, 0, 7,
		0xfd, 0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
		3, 0, 0, 0, // scope
	}
	noScope := append(bytes.Clone(v6[:24]), 0, 0, 0, 0)
	for _, c := range []struct {
		name string
		in   []byte
		e    syscall.Errno
		back []byte // nil: nothing to write
	}{
		{"IPv4", v4, 0, v4},
		{"IPv4, longer", append(bytes.Clone(v4), 1, 2, 3), 0, v4},
		{"IPv4, short", v4[:15], unix.EINVAL, nil},
		{"IPv6", v6, 0, v6},
		{"IPv6 of RFC 2133", v6[:24], 0, noScope},
		{"IPv6, short", v6[:23], unix.EINVAL, nil},
		{"no family", v4[:1], unix.EINVAL, nil},
		{"nothing", nil, unix.EINVAL, nil},
		{"AF_UNSPEC alone", []byte{0, 0}, 0, nil},
		{"AF_UNIX", []byte{1, 0, '/', 'x'}, unix.EAFNOSUPPORT, nil},
	} {
		a, e := addrFromSockaddr(c.in)
		if e != c.e {
			t.Errorf("%s: %v, want %v", c.name, e, c.e)
		}
		if c.back != nil && !bytes.Equal(sockaddrFromAddr(&a), c.back) {
			t.Errorf("%s: % x, want % x", c.name, sockaddrFromAddr(&a), c.back)
		}
	}
}
