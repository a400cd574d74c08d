// SPDX-License-Identifier: Apache-2.0

package hostnet

import (
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"

	"netcon/dataplane/stream"
)

// Join implements stream.Host. What is at the other end is in the daemon: options
// and counters of the host's stack have no meaning.
func (e *Engine) Join(fd int, local netip.AddrPort, user uint64) (stream.Handle, syscall.Errno) {
	if kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN); err != nil || kind != unix.AF_UNIX {
		_ = unix.Close(fd)
		return 0, unix.EINVAL
	}
	c := e.alloc(fd, FamilyOf(local.Addr()), user)
	c.joined, c.local = true, local
	return c.handle(), 0
}
