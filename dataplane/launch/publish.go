// SPDX-License-Identifier: Apache-2.0

package launch

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"

	"netcon/shm"
)

// Publish has the daemon listen at an address of the host, for connections or for
// datagrams (proto "udp"), for a port of the container, for as long as this process, whatever it becomes, or another with
// the attach socket lives.
func (a *Attachment) Publish(host netip.AddrPort, port uint16, proto string) error {
	r := NewRequest(shm.OpPublish, 0)
	r.Value = int32(port)
	if r.Option = unix.IPPROTO_TCP; proto == "udp" {
		r.Option = unix.IPPROTO_UDP
	}
	r.Addr.Family = unix.AF_INET6
	r.Addr.Port = host.Port()>>8 | host.Port()<<8
	if ip := host.Addr(); ip.Is4() {
		r.Addr.Family = unix.AF_INET
		v4 := ip.As4()
		copy(r.Addr.Ip[:], v4[:])
	} else {
		r.Addr.Ip = ip.As16()
	}
	_, e := (&Requests{attach: a}).once(r, -1)
	if e == 0 {
		return nil
	}
	remedy := ""
	switch e {
	case Gone:
		return errors.New("publish: the daemon is gone")
	case unix.EADDRINUSE:
		remedy = fmt.Sprintf(" (another program listens there: ss -l%cnp shows which)", proto[0])
	case unix.EACCES:
		remedy = " (the daemon's user may not take this port; ports below net.ipv4.ip_unprivileged_port_start take root)"
	case unix.EADDRNOTAVAIL:
		remedy = " (this host has no such address: ip address shows which it has)"
	case unix.EPERM:
		remedy = " (the daemon listens only for programs of its own network namespace)"
	case unix.EMFILE:
		remedy = " (too many published ports)"
	}
	return fmt.Errorf("publish %s/%s for port %d of container %q: %w%s", host, proto, port, a.Container, syscall.Errno(e), remedy)
}
