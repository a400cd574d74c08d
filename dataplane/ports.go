// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"netcon/dataplane/config"
	"netcon/dataplane/hostnet"
	"netcon/dataplane/socket"
	"netcon/dataplane/stream"
)

// ports is what the host listens on for the configuration, by host address and
// protocol. The sockets are kept here and containers get duplicates, so that a
// port that changes hands in a reload loses no connection.
type ports map[portKey]*port

type portKey struct {
	host  netip.AddrPort
	proto string
}

type port struct {
	fd    int
	owner string // the container it leads to; empty: none
	inner uint16
	id    socket.Publication
}

func keyOf(p config.Publication) portKey { return portKey{p.Host, p.Proto} }

func (p ports) close() {
	for k, x := range p {
		_ = unix.Close(x.fd)
		delete(p, k)
	}
}

// openPorts listens on what cfg publishes and is not listened on yet, all of it
// or nothing.
func (d *Dataplane) openPorts(cfg *config.Config) (_ ports, err error) {
	opened := ports{}
	defer func() {
		if err != nil {
			opened.close()
		}
	}()
	for i := range cfg.Containers {
		for _, p := range cfg.Containers[i].Publish {
			if d.ports[keyOf(p)] != nil || opened[keyOf(p)] != nil {
				continue
			}
			fd, err := listen(p.Proto == config.UDP, p.Host)
			if err != nil {
				return nil, fmt.Errorf("container %q: publish %s: listen on %s: %w%s", cfg.Containers[i].Name, p, p.Host, err, portRemedy(err, p.Proto))
			}
			opened[keyOf(p)] = &port{fd: fd}
		}
	}
	return opened, nil
}

// listen takes an address of the host.
func listen(datagrams bool, local netip.AddrPort) (int, error) {
	if datagrams {
		return hostnet.ListenDatagrams(local)
	}
	return hostnet.Listen(local)
}

// portRemedy says what can be done about a port that cannot be listened on.
func portRemedy(err error, proto string) string {
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return fmt.Sprintf(" (another program listens there: ss -l%cnp shows which)", proto[0])
	case errors.Is(err, unix.EACCES):
		return fmt.Sprintf(" (ports below %d take root, or CAP_NET_BIND_SERVICE)", unprivilegedPort())
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return " (this host has no such address: ip address shows which it has)"
	}
	return ""
}

// unprivilegedPort returns the first port that everybody may listen on.
func unprivilegedPort() int {
	const otherwise = 1024
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start")
	if err != nil {
		return otherwise
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return otherwise
	}
	return n
}

// publish leads what the host listens on to the containers of cfg, and closes
// what none of them publishes any more. d.mu is held, or Run has not begun.
func (d *Dataplane) publish(cfg *config.Config, opened ports) error {
	if d.ports == nil {
		d.ports = ports{}
	}
	for k, x := range opened {
		d.ports[k] = x
	}
	type target struct {
		container *container
		inner     uint16
	}
	want := map[portKey]target{}
	for _, c := range d.containers {
		for _, p := range c.Publish {
			want[keyOf(p)] = target{c, p.Port}
		}
	}
	var errs []error
	for k, x := range d.ports {
		w, ok := want[k]
		if x.owner != "" && (!ok || x.owner != w.container.Name || x.inner != w.inner) {
			errs = append(errs, d.unpublish(x))
		}
		if !ok {
			_ = unix.Close(x.fd)
			delete(d.ports, k)
			continue
		}
		if x.owner == "" {
			errs = append(errs, d.lead(k, x, w.container, w.inner))
		}
	}
	return errors.Join(errs...)
}

// unpublish takes a port from its container, which may be gone.
func (d *Dataplane) unpublish(x *port) error {
	c := d.find(x.owner)
	x.owner = ""
	if c == nil {
		return nil
	}
	return d.onWorker(c.shard.Worker(), func() { c.shard.Set().Unpublish(x.id) })
}

// lead gives a container a duplicate of a port.
func (d *Dataplane) lead(k portKey, x *port, c *container, inner uint16) error {
	family := stream.IPv4
	if k.host.Addr().Is6() {
		family = stream.IPv6
	}
	fd, err := unix.FcntlInt(uintptr(x.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("container %q: publish %s: %w", c.Name, k.host, err)
	}
	var e syscall.Errno
	publish := func() { x.id, e = c.shard.Set().Publish(fd, family, inner) }
	if k.proto == config.UDP {
		publish = func() { x.id, e = c.shard.Set().PublishDatagrams(fd, family, inner) }
	}
	if err := d.onWorker(c.shard.Worker(), publish); err != nil {
		_ = unix.Close(fd)
		return err
	}
	if e != 0 {
		return fmt.Errorf("container %q: publish %s: %w", c.Name, k.host, e)
	}
	x.owner, x.inner = c.Name, inner
	return nil
}

// listenFor listens for a program that was started in a container. It has to be
// in the host's network itself, as netcon exec is: what was put into an empty
// namespace (-enforce) does not get out by asking. The ports that only root may
// take are root's and the daemon's owner's.
func (d *Dataplane) listenFor(pid int32, uid uint32, datagrams bool, local netip.AddrPort) (int, syscall.Errno) {
	theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return -1, unix.EPERM
	}
	if ours, err := os.Readlink("/proc/thread-self/ns/net"); err != nil || ours != theirs {
		return -1, unix.EPERM
	}
	if uid != 0 && uid != uint32(os.Getuid()) && int(local.Port()) < unprivilegedPort() {
		return -1, unix.EACCES
	}
	fd, err := listen(datagrams, local)
	var e syscall.Errno
	if errors.As(err, &e) {
		return -1, e
	}
	return fd, 0
}

// publishedPorts describes what leads to a container.
func publishedPorts(list []socket.Published) []Published {
	out := []Published{}
	for _, p := range list {
		proto := config.TCP
		if p.UDP {
			proto = config.UDP
		}
		out = append(out, Published{Host: p.Host.String(), Port: p.Port, Proto: proto, PID: p.PID})
	}
	return out
}
