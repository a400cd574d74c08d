// SPDX-License-Identifier: Apache-2.0

package container

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"netcon/dataplane/launch"
	"netcon/shm"
)

// resolve returns the addresses that a host:port means, in the families that
// network allows, which is a protocol, or that with 4 or 6. listen makes of an
// empty host the unspecified addresses.
func (c *Container) resolve(ctx context.Context, protocol, network, address string, listen bool) ([]netip.AddrPort, error) {
	version, ok := strings.CutPrefix(network, protocol)
	if !ok || version != "" && version != "4" && version != "6" {
		return nil, net.UnknownNetworkError(network)
	}
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	// A port's name comes from a file, /etc/services.
	port, err := net.DefaultResolver.LookupPort(ctx, network, service)
	if err != nil {
		return nil, err
	}
	var ips []netip.Addr
	switch {
	case host != "":
		ips, err = c.LookupNetIP(ctx, "ip"+version, host)
	case version == "4":
		ips = []netip.Addr{netip.IPv4Unspecified()}
	default: // dual stack; a dial goes to this host
		ips = []netip.Addr{netip.IPv6Unspecified()}
		if !listen {
			ips = []netip.Addr{loopback4}
		}
	}
	list := make([]netip.AddrPort, 0, len(ips))
	for _, ip := range ips {
		list = append(list, netip.AddrPortFrom(ip.Unmap(), uint16(port)))
	}
	return list, err
}

var loopback4 = netip.AddrFrom4([4]byte{127, 0, 0, 1})

// hosts reads /etc/hosts: Go's resolver, with nobody to ask.
var hosts = net.Resolver{
	PreferGo: true,
	Dial:     func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("not asked") },
}

// LookupNetIP returns the addresses of a host; network is ip, ip4 or ip6. As for
// programs in the container, /etc/hosts comes first, then the daemon is asked: it
// knows the containers of the network, and whom policy allows to ask for the rest.
func (c *Container) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	r := launch.NewRequest(shm.OpResolve, 0)
	switch network {
	case "ip":
		r.Family = unix.AF_UNSPEC
	case "ip4":
		r.Family = unix.AF_INET
	case "ip6":
		r.Family = unix.AF_INET6
	default:
		return nil, net.UnknownNetworkError(network)
	}
	_, literal := netip.ParseAddr(host)
	ips, err := hosts.LookupNetIP(ctx, network, host)
	if err == nil || literal == nil {
		return ips, err
	}
	if len(host) > len(r.Opt) {
		return nil, noName(host, unix.ENOENT)
	}
	r.Optlen = uint32(copy(r.Opt[:], host))
	reply, e, err := c.await(ctx, r)
	switch {
	case err != nil:
		return nil, err
	case e != 0:
		return nil, noName(host, e)
	case reply.Value < 1 || int(reply.Value) > len(reply.Opt)/shm.SizeofFound:
		return nil, failure("resolve", unix.EPROTO)
	}
	ips = nil
	for i := range int(reply.Value) {
		var f shm.Found
		copy(shm.FoundBytes(&f), reply.Opt[i*shm.SizeofFound:])
		if f.Family == unix.AF_INET {
			ips = append(ips, netip.AddrFrom4([4]byte(f.Ip[:4])))
		} else {
			ips = append(ips, netip.AddrFrom16(f.Ip))
		}
	}
	return ips, nil
}

// LookupAddr returns the names of an address, in the same way.
func (c *Container) LookupAddr(ctx context.Context, addr netip.Addr) ([]string, error) {
	if names, err := hosts.LookupAddr(ctx, addr.String()); err == nil {
		return names, nil
	}
	r := launch.NewRequest(shm.OpResolve, 0)
	r.Addr, _ = toAddr(netip.AddrPortFrom(addr.Unmap(), 0))
	reply, e, err := c.await(ctx, r)
	switch {
	case err != nil:
		return nil, err
	case e != 0:
		return nil, noName(addr.String(), e)
	case reply.Optlen < 1 || int(reply.Optlen) > len(reply.Opt):
		return nil, failure("resolve", unix.EPROTO)
	}
	return []string{string(reply.Opt[:reply.Optlen]) + "."}, nil
}

// noName is the error of package net for what the daemon says of a name.
func noName(name string, e syscall.Errno) error {
	switch e {
	case launch.Gone:
		return failure("resolve", e)
	case unix.ENOENT, unix.ENODATA:
		return &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	case unix.EAGAIN:
		return &net.DNSError{Err: "no nameserver that may be asked answers", Name: name, IsTemporary: true}
	}
	return &net.DNSError{Err: e.Error(), Name: name}
}
