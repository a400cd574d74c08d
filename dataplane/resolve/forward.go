// SPDX-License-Identifier: Apache-2.0

package resolve

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// Bounds of a question to the outside.
const (
	perServer   = 2 * time.Second
	rounds      = 2
	mostServers = 4
	total       = 8 * time.Second
)

// Forward is the host's resolvers. They are asked over the host's stack; those on
// the network of who asks over that.
type Forward struct {
	Servers []netip.AddrPort
	Search  []string // domains that names without a dot are looked for in
}

var errNoAnswer = errors.New("no resolver answered")

// target is a resolver, and how it is reached.
type target struct {
	addr netip.AddrPort
	dial func(ctx context.Context, network string, to netip.AddrPort) (net.Conn, error)
}

func dialHost(ctx context.Context, network string, to netip.AddrPort) (net.Conn, error) {
	d := net.Dialer{Timeout: perServer}
	return d.DialContext(ctx, network, to.String())
}

// targets are the resolvers that may be asked on somebody's behalf, in order.
func (r *Resolver) targets(a Asker) (list []target) {
	f := r.forward.Load()
	if f == nil {
		return nil
	}
	z := r.zone(a)
	for _, server := range f.Servers {
		ip := server.Addr().Unmap()
		switch inside := slices.ContainsFunc(z.subnets, func(p netip.Prefix) bool { return p.Contains(ip) }); {
		case inside && a.Dial != nil:
			list = append(list, target{netip.AddrPortFrom(ip, server.Port()), a.Dial})
		case !inside && a.Host:
			list = append(list, target{server, dialHost})
		}
	}
	return list[:min(len(list), mostServers)]
}

// exchange asks the targets in turn. The answer has the identifier of the query.
func exchange(ctx context.Context, targets []target, query []byte, q dnsmessage.Question, udp bool) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, total)
	defer cancel()
	ask := slices.Clone(query)
	// From here on nobody can know it who does not see the query.
	binary.BigEndian.PutUint16(ask, uint16(rand.Uint32()))
	for range rounds {
		for _, t := range targets {
			answer, err := t.askUDP(ctx, ask, q)
			if err == nil && truncated(answer) && !udp {
				answer, err = t.askTCP(ctx, ask, q)
			}
			if err == nil {
				copy(answer, query[:2])
				return answer, nil
			}
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
		}
	}
	return nil, errNoAnswer
}

func truncated(msg []byte) bool { return len(msg) > 2 && msg[2]&2 != 0 }

// answers reports whether msg answers that query.
func answers(msg, query []byte, q dnsmessage.Question) bool {
	var p dnsmessage.Parser
	h, err := p.Start(msg)
	if err != nil || !h.Response || h.ID != binary.BigEndian.Uint16(query) {
		return false
	}
	got, err := p.Question()
	return err == nil && got.Type == q.Type && got.Class == q.Class && strings.EqualFold(got.Name.String(), q.Name.String())
}

func (t target) askUDP(ctx context.Context, query []byte, q dnsmessage.Question) ([]byte, error) {
	c, err := t.dial(ctx, "udp", t.addr)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	_ = c.SetDeadline(time.Now().Add(perServer))
	if _, err := c.Write(query); err != nil {
		return nil, err
	}
	buf := make([]byte, 1<<16)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return nil, err
		}
		if answers(buf[:n], query, q) {
			return buf[:n:n], nil
		}
	}
}

func (t target) askTCP(ctx context.Context, query []byte, q dnsmessage.Question) ([]byte, error) {
	c, err := t.dial(ctx, "tcp", t.addr)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(perServer))
	if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(query))), query...)); err != nil {
		return nil, err
	}
	var length [2]byte
	if _, err := io.ReadFull(c, length[:]); err != nil {
		return nil, err
	}
	buf := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(c, buf); err != nil {
		return nil, err
	}
	if !answers(buf, query, q) {
		return nil, errNoAnswer
	}
	return buf, nil
}

// dnsPort is where resolvers listen.
const dnsPort = 53

// maxConf bounds how much of a resolv.conf is read.
const maxConf = 64 << 10

// ReadConf returns the nameservers and the search list of a resolv.conf; one that
// cannot be read has none.
func ReadConf(path string) (servers []netip.AddrPort, search []string) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxConf))
	if err != nil {
		return nil, nil
	}
	for line := range strings.Lines(string(text)) {
		if i := strings.IndexAny(line, "#;"); i >= 0 {
			line = line[:i]
		}
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		switch words[0] {
		case "nameserver":
			if ip, err := netip.ParseAddr(words[1]); err == nil {
				servers = append(servers, netip.AddrPortFrom(ip, dnsPort))
			}
		case "search", "domain":
			search = words[1:]
		}
	}
	return servers, search
}
