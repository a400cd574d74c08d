// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// Policy is what becomes of what is not on a container's networks.
type Policy string

// The policies: it is unreachable, or it is reached over the host's stack.
const (
	PolicyIsolated Policy = "isolated"
	PolicyHost     Policy = "host"
)

// maxPublished bounds the published ports of one container.
const maxPublished = 1024

// Publication is a port of a container that is reached at an address of the
// host.
type Publication struct {
	Host  netip.AddrPort // where the host listens
	Port  uint16         // of the container
	Proto string         // TCP or UDP
}

// The protocols of published ports.
const (
	TCP = "tcp"
	UDP = "udp"
)

// MarshalText makes p in JSON what it is in a file.
func (p Publication) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// String returns p as a file names it.
func (p Publication) String() string {
	return fmt.Sprintf("%s:%d/%s", p.Host, p.Port, p.Proto)
}

// publicationForm is what a publication looks like.
const publicationForm = `[ADDRESS:]HOST-PORT:PORT[/tcp|/udp], like "8080:80", "192.0.2.1:8080:80" or "[::]:5353:53/udp"`

// ParsePublication reads one publication. Without an address it is any IPv4
// address of the host.
func ParsePublication(s string) (Publication, error) {
	p := Publication{Proto: TCP}
	ports, proto, ok := strings.Cut(s, "/")
	if ok {
		if proto != TCP && proto != UDP {
			return p, fmt.Errorf("%s: protocol %s: not supported (tcp, udp)", quote(s), quote(proto))
		}
		p.Proto = proto
	}
	form := fmt.Errorf("%s: not a published port (%s)", quote(s), publicationForm)
	i := strings.LastIndexByte(ports, ':')
	if i < 0 {
		return p, form
	}
	host, inner := ports[:i], ports[i+1:]
	addr, outer := "0.0.0.0", host
	if i = strings.LastIndexByte(host, ':'); i >= 0 {
		addr, outer = host[:i], host[i+1:]
	}
	v6 := strings.HasPrefix(addr, "[") && strings.HasSuffix(addr, "]")
	ip, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(addr, "["), "]"))
	if err != nil || ip.Is6() != v6 {
		return p, form
	}
	if ip.Is4In6() || ip.Zone() != "" || ip.IsMulticast() {
		return p, fmt.Errorf("%s: address %s: not an address that the host can listen on", quote(s), quote(addr))
	}
	hostPort, err := publishedPort(s, outer)
	if err == nil {
		p.Port, err = publishedPort(s, inner)
	}
	p.Host = netip.AddrPortFrom(ip, hostPort)
	return p, err
}

func publishedPort(whole, s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if errors.Is(err, strconv.ErrSyntax) {
		return 0, fmt.Errorf("%s: port %s: not a number (%s)", quote(whole), quote(s), publicationForm)
	}
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%s: port %s: out of range (1 to 65535)", quote(whole), quote(s))
	}
	return uint16(n), nil
}

// publications returns the published ports of a container.
func (r *reader) publications(t *table) []Publication {
	var list []Publication
	for _, n := range t.list("publish", "publish", unstable.String, "published ports, "+publicationForm) {
		p, err := ParsePublication(n.text)
		if err != nil {
			t.fail(n.line, "publish %v", err)
			continue
		}
		key := p.Proto + " " + p.Host.String()
		if first, ok := r.published[key]; ok {
			t.fail(n.line, "publish %s: %s is published twice (also on line %d)", n.show(), p.Host, first)
			continue
		}
		r.published[key] = n.line
		if len(list) == maxPublished {
			t.fail(n.line, "publish: more than %d ports", maxPublished)
			break
		}
		list = append(list, p)
	}
	return list
}
