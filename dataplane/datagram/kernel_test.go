// SPDX-License-Identifier: Apache-2.0

package datagram

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"netcon/dataplane/stream"
	"netcon/dataplane/wire"
	"netcon/internal/testenv"
)

// world is sockets of one kind of stack, in the terms of a program. Results
// are text, so that they can be compared.
type world interface {
	open(f stream.Family, p stream.Protocol) int
	set(k int, o stream.Option, v int) string
	bind(k int, a netip.AddrPort) string
	connect(k int, a netip.AddrPort) string
	disconnect(k int) string
	join(k int, g netip.Addr, leave bool) string
	send(k int, to, from netip.AddrPort, ttl int, payload []byte) string
	name(k int) netip.AddrPort
	peer(k int) string
	drain(k int) []string
	close(k int)
}

// ours is a Stack as a world.
type ours struct {
	h *host
	k []stream.Handle
}

func errText(e syscall.Errno) string {
	if e == 0 {
		return "ok"
	}
	return unix.ErrnoName(e)
}

func (o *ours) open(f stream.Family, p stream.Protocol) int {
	k := o.h.socket(f, p)
	o.k = append(o.k, k)
	return len(o.k) - 1
}

func (o *ours) set(k int, opt stream.Option, v int) string {
	return errText(o.h.SetOption(o.k[k], opt, v))
}
func (o *ours) bind(k int, a netip.AddrPort) string    { return errText(o.h.Bind(o.k[k], a)) }
func (o *ours) connect(k int, a netip.AddrPort) string { return errText(o.h.Connect(o.k[k], a)) }
func (o *ours) disconnect(k int) string                { return errText(o.h.Disconnect(o.k[k])) }
func (o *ours) name(k int) netip.AddrPort              { return o.h.Stack.Local(o.k[k]) }
func (o *ours) close(k int)                            { o.h.Close(o.k[k]) }

func (o *ours) peer(k int) string {
	a, e := o.h.Remote(o.k[k])
	if e != 0 {
		return errText(e)
	}
	return a.String()
}

func (o *ours) join(k int, g netip.Addr, leave bool) string {
	if leave {
		return errText(o.h.Leave(o.k[k], g))
	}
	return errText(o.h.Join(o.k[k], g))
}

func (o *ours) send(k int, to, from netip.AddrPort, ttl int, payload []byte) string {
	m := stream.Message{Remote: to, Local: from.Addr(), TTL: uint8(ttl)}
	e := o.h.Send(o.k[k], &m, payload)
	o.h.turn() // what leaves is lost
	return errText(e)
}

func (o *ours) drain(k int) (all []string) {
	for _, r := range o.h.got(o.k[k]) {
		if r.Err != 0 {
			if !r.Cause.Quiet {
				all = append(all, errText(r.Err))
			}
			continue
		}
		all = append(all, fmt.Sprintf("%s from %v to %v ttl %d tos %d", summary([]byte(r.payload)), r.Remote, r.Local, r.TTL, r.TOS))
	}
	return all
}

// linux is the kernel's sockets as a world.
type linux struct {
	t   *testing.T
	fds []int
	v6  []bool
}

func sockaddr(v6 bool, a netip.AddrPort) unix.Sockaddr {
	if !v6 && a.Addr().Unmap().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().Unmap().As4()}
	}
	s := &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
	return s
}

func text(err error) string {
	if err == nil {
		return "ok"
	}
	return errText(err.(syscall.Errno))
}

func (l *linux) open(f stream.Family, p stream.Protocol) int {
	domain, kind, proto := unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_UDP
	if f == stream.IPv6 {
		domain = unix.AF_INET6
	}
	if p != stream.UDP {
		if proto = unix.IPPROTO_ICMP; f == stream.IPv6 {
			proto = unix.IPPROTO_ICMPV6
		}
	}
	if p == stream.Raw {
		kind = unix.SOCK_RAW
	}
	fd, err := unix.Socket(domain, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, proto)
	if err != nil {
		l.t.Fatalf("socket: %v", err)
	}
	on := func(level, opt int) {
		if err := unix.SetsockoptInt(fd, level, opt, 1); err != nil {
			l.t.Fatalf("setsockopt %d %d: %v", level, opt, err)
		}
	}
	on(unix.IPPROTO_IP, unix.IP_RECVTTL)
	on(unix.IPPROTO_IP, unix.IP_RECVTOS)
	on(unix.IPPROTO_IP, unix.IP_PKTINFO)
	if f == stream.IPv6 {
		on(unix.IPPROTO_IPV6, unix.IPV6_RECVHOPLIMIT)
		on(unix.IPPROTO_IPV6, unix.IPV6_RECVTCLASS)
		on(unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO)
	}
	l.fds = append(l.fds, fd)
	l.v6 = append(l.v6, f == stream.IPv6)
	return len(l.fds) - 1
}

func (l *linux) set(k int, o stream.Option, v int) string {
	type name struct{ level, opt int }
	names := map[stream.Option]name{
		stream.OptReuseAddr: {unix.SOL_SOCKET, unix.SO_REUSEADDR}, stream.OptReusePort: {unix.SOL_SOCKET, unix.SO_REUSEPORT},
		stream.OptBroadcast: {unix.SOL_SOCKET, unix.SO_BROADCAST}, stream.OptV6Only: {unix.IPPROTO_IPV6, unix.IPV6_V6ONLY},
		stream.OptMulticastLoop: {unix.IPPROTO_IP, unix.IP_MULTICAST_LOOP}, stream.OptMulticastAll: {unix.IPPROTO_IP, unix.IP_MULTICAST_ALL},
		stream.OptMTUDiscover: {unix.IPPROTO_IP, unix.IP_MTU_DISCOVER}, stream.OptTTL: {unix.IPPROTO_IP, unix.IP_TTL},
		stream.OptTOS: {unix.IPPROTO_IP, unix.IP_TOS}, stream.OptMulticastTTL: {unix.IPPROTO_IP, unix.IP_MULTICAST_TTL},
		stream.OptRecvErr: {unix.IPPROTO_IP, unix.IP_RECVERR},
	}
	names6 := map[stream.Option]name{
		stream.OptMulticastLoop: {unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_LOOP}, stream.OptMulticastAll: {unix.IPPROTO_IPV6, 29},
		stream.OptMTUDiscover: {unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER}, stream.OptTTL: {unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS},
		stream.OptTOS: {unix.IPPROTO_IPV6, unix.IPV6_TCLASS}, stream.OptMulticastTTL: {unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS},
		stream.OptRecvErr: {unix.IPPROTO_IPV6, unix.IPV6_RECVERR},
	}
	n := names[o]
	e := "ok"
	if o != stream.OptMulticastAll || !l.v6[k] {
		e = text(unix.SetsockoptInt(l.fds[k], n.level, n.opt, v))
	}
	if n6, both := names6[o]; both && l.v6[k] {
		e = text(unix.SetsockoptInt(l.fds[k], n6.level, n6.opt, v))
	}
	return e
}

func (l *linux) bind(k int, a netip.AddrPort) string {
	return text(unix.Bind(l.fds[k], sockaddr(l.v6[k], a)))
}

func (l *linux) connect(k int, a netip.AddrPort) string {
	return text(unix.Connect(l.fds[k], sockaddr(l.v6[k], a)))
}

func (l *linux) disconnect(k int) string {
	raw := make([]byte, 16)
	_, _, e := unix.Syscall(unix.SYS_CONNECT, uintptr(l.fds[k]), bytesAt(raw), 16)
	return errText(e)
}

func fromSockaddr(s unix.Sockaddr) netip.AddrPort {
	switch s := s.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(s.Addr), uint16(s.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(s.Addr), uint16(s.Port))
	}
	return netip.AddrPort{}
}

func (l *linux) name(k int) netip.AddrPort {
	s, err := unix.Getsockname(l.fds[k])
	if err != nil {
		l.t.Fatal(err)
	}
	return fromSockaddr(s)
}

func (l *linux) peer(k int) string {
	s, err := unix.Getpeername(l.fds[k])
	if err != nil {
		return text(err)
	}
	return fromSockaddr(s).String()
}

func (l *linux) join(k int, g netip.Addr, leave bool) string {
	if g.Is4() {
		opt := unix.IP_ADD_MEMBERSHIP
		if leave {
			opt = unix.IP_DROP_MEMBERSHIP
		}
		return text(unix.SetsockoptIPMreq(l.fds[k], unix.IPPROTO_IP, opt, &unix.IPMreq{Multiaddr: g.As4(), Interface: [4]byte{10, 0, 0, 1}}))
	}
	opt := unix.IPV6_JOIN_GROUP
	if leave {
		opt = unix.IPV6_LEAVE_GROUP
	}
	return text(unix.SetsockoptIPv6Mreq(l.fds[k], unix.IPPROTO_IPV6, opt, &unix.IPv6Mreq{Multiaddr: g.As16()}))
}

func (l *linux) send(k int, to, from netip.AddrPort, ttl int, payload []byte) string {
	var oob []byte
	control := func(level, kind int, data []byte) {
		b := make([]byte, unix.CmsgSpace(len(data)))
		binary.NativeEndian.PutUint64(b, uint64(unix.CmsgLen(len(data))))
		binary.NativeEndian.PutUint32(b[8:], uint32(level))
		binary.NativeEndian.PutUint32(b[12:], uint32(kind))
		copy(b[16:], data)
		oob = append(oob, b...)
	}
	if f := from.Addr(); f.IsValid() {
		if !l.v6[k] {
			a := f.As4()
			control(unix.IPPROTO_IP, unix.IP_PKTINFO, append(append(make([]byte, 4), a[:]...), 0, 0, 0, 0))
		} else {
			a := f.As16()
			control(unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, append(a[:], 0, 0, 0, 0))
		}
	}
	if ttl != 0 {
		v := binary.NativeEndian.AppendUint32(nil, uint32(ttl))
		if l.v6[k] && !(to.IsValid() && to.Addr().Is4In6()) {
			control(unix.IPPROTO_IPV6, unix.IPV6_HOPLIMIT, v)
		} else {
			control(unix.IPPROTO_IP, unix.IP_TTL, v)
		}
	}
	var sa unix.Sockaddr
	if to.IsValid() {
		sa = sockaddr(l.v6[k], to)
	}
	_, err := unix.SendmsgN(l.fds[k], payload, oob, sa, 0)
	return text(err)
}

func (l *linux) drain(k int) (all []string) {
	for {
		if e, _ := unix.GetsockoptInt(l.fds[k], unix.SOL_SOCKET, unix.SO_ERROR); e != 0 {
			all = append(all, errText(syscall.Errno(e)))
			continue
		}
		b, oob := make([]byte, 70000), make([]byte, 512)
		n, on, _, from, err := unix.Recvmsg(l.fds[k], b, oob, 0)
		if err != nil {
			if err != unix.EAGAIN {
				all = append(all, text(err))
				continue
			}
			break
		}
		var to netip.Addr
		var ttl, tos int
		msgs, err := unix.ParseSocketControlMessage(oob[:on])
		if err != nil {
			l.t.Fatal(err)
		}
		for _, m := range msgs {
			switch {
			case m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_PKTINFO:
				if a := netip.AddrFrom4([4]byte(m.Data[8:12])); !to.IsValid() {
					if to = a; l.v6[k] {
						to = netip.AddrFrom16(a.As16())
					}
				}
			case m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_PKTINFO:
				to = netip.AddrFrom16([16]byte(m.Data[:16]))
			case m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_TTL,
				m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_HOPLIMIT:
				ttl = int(binary.NativeEndian.Uint32(m.Data))
			case m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_TOS:
				tos = int(m.Data[0])
			case m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_TCLASS:
				tos = int(binary.NativeEndian.Uint32(m.Data))
			}
		}
		all = append(all, fmt.Sprintf("%s from %v to %v ttl %d tos %d", summary(b[:n]), fromSockaddr(from), to, ttl, tos))
	}
	return all
}

func (l *linux) close(k int) { unix.Close(l.fds[k]) }

// summary stands for a payload. Of ICMP messages the identifiers differ, and
// with them the checksums; of IP headers more.
func summary(b []byte) string {
	switch {
	case len(b) == 0:
		return "0 bytes"
	case len(b) >= 28 && b[0] == 0x45:
		return "IP, " + summary(b[20:])
	case len(b) >= 8 && (b[0] == 0 || b[0]&^7 == 8 || b[0]&^3 == 128) && b[1] < 4:
		return fmt.Sprintf("ICMP %d %d, %d bytes of %d", b[0], b[1], len(b), b[len(b)-1])
	}
	return fmt.Sprintf("%d bytes of %d", len(b), b[len(b)-1])
}

// program runs the same random calls in both worlds and returns what was done
// up to the first difference, or "".
type program struct {
	r     *rand.Rand
	a, b  world
	socks []*twin
	log   []string
	bad   bool

	chosen map[string]string // our ports to the kernel's
	icmp   bool              // Ping and Raw sockets, not UDP
}

// twin is a socket in both worlds.
type twin struct {
	k    int
	f    stream.Family
	open bool
	kind int // which addresses it is used with
}

// The kinds of sockets. An IPv6 socket that was bound or connected to addresses
// of both families, in turn, meets accidents of Linux (LOOPBACK4_IPV6).
const (
	kind4      = iota // an IPv4 socket
	kind6             // an IPv6 socket among IPv6 addresses
	kindMapped        // an IPv6 socket among mapped addresses
	kindDual          // an unconnected IPv6 socket that is bound to no address
	kinds
	kindPing4 = iota - 1
	kindPing6
	kindRaw4
	allKinds
)

// protocol returns what sockets of a kind speak.
func protocol(kind int) stream.Protocol {
	switch kind {
	case kindPing4, kindPing6:
		return stream.Ping
	case kindRaw4:
		return stream.Raw
	}
	return stream.UDP
}

// Left out are groups, because what leaves for them is not looped back to Ping
// and Raw, and ::, to which Linux has no route for Ping.
var (
	icmpAddrs4 = []string{"0.0.0.0", "127.0.0.1", "127.0.0.2", "10.0.0.1", "10.0.0.2", "192.0.2.1"}
	icmpAddrs6 = []string{"::1", "fd00::1", "fd00::2", "2001:db8::1"}
)

var (
	testAddrs4  = []string{"0.0.0.0", "127.0.0.1", "127.0.0.2", "10.0.0.1", "10.0.0.2", "10.0.0.255", "255.255.255.255", "239.1.1.1", "239.1.1.2", "192.0.2.1"}
	testAddrs6  = []string{"::", "::1", "fd00::1", "fd00::2", "ff05::4242", "ff05::4343", "2001:db8::1"}
	testGroups4 = []string{"239.1.1.1", "239.1.1.2"}
	testGroups6 = []string{"ff05::4242", "ff05::4343"}
)

func (p *program) pick(list []string) netip.Addr { return ip(list[p.r.IntN(len(list))]) }

// addr returns an address for a socket of the kind.
func (p *program) addr(kind int) netip.Addr {
	switch {
	case kind == kindPing4, kind == kindRaw4:
		return p.pick(icmpAddrs4)
	case kind == kindPing6:
		return p.pick(icmpAddrs6)
	case kind == kind4:
		return p.pick(testAddrs4)
	case kind == kindMapped, kind == kindDual && p.r.IntN(3) == 0:
		return netip.AddrFrom16(p.pick(testAddrs4).As16())
	}
	return p.pick(testAddrs6)
}

// port returns a port as each world has it: a fixed one, that of a socket, or
// none.
func (p *program) port() (x, y uint16) {
	if n := p.r.IntN(8); n == 0 {
		return 0, 0
	} else if n < 4 && len(p.socks) > 0 {
		k := p.socks[p.r.IntN(len(p.socks))]
		if k.open {
			return p.a.name(k.k).Port(), p.b.name(k.k).Port()
		}
	}
	fixed := uint16(5001 + p.r.IntN(3))
	return fixed, fixed
}

// same compares results and logs them.
func (p *program) same(call, x, y string) {
	if x == y {
		p.log = append(p.log, call+" = "+x)
		return
	}
	p.log = append(p.log, fmt.Sprintf("%s = %s, the kernel says %s", call, x, y))
	p.bad = true
}

// canon replaces ports that were chosen for sockets by what the kernel chose.
func (p *program) canon(s string) string {
	return chosenPort.ReplaceAllStringFunc(s, func(m string) string {
		if theirs, ok := p.chosen[m[1:]]; ok {
			return ":" + theirs
		}
		return m
	})
}

var chosenPort = regexp.MustCompile(`:[0-9]{5}\b`)

func (p *program) step() {
	r := p.r
	if len(p.socks) < 2 || len(p.socks) < 8 && r.IntN(6) == 0 {
		f, kind := stream.IPv4, r.IntN(kinds)
		if p.icmp {
			kind = kindPing4 + r.IntN(allKinds-kindPing4)
		}
		if kind != kind4 && kind != kindPing4 && kind != kindRaw4 {
			f = stream.IPv6
		}
		k := &twin{k: p.a.open(f, protocol(kind)), f: f, open: true, kind: kind}
		p.b.open(f, protocol(kind))
		p.socks = append(p.socks, k)
		p.log = append(p.log, fmt.Sprintf("S%d = socket(IPv%d, %d)", k.k, f, protocol(kind)))
		return
	}
	k := p.socks[r.IntN(len(p.socks))]
	if !k.open {
		return
	}
	name := fmt.Sprintf("S%d.", k.k)
	x, y := p.port()
	switch n := r.IntN(20); {
	case n == 0:
		p.log = append(p.log, name+"close")
		p.a.close(k.k)
		p.b.close(k.k)
		k.open = false
		return
	case n < 5:
		opts := []stream.Option{
			stream.OptReuseAddr, stream.OptReusePort, stream.OptBroadcast,
			stream.OptMulticastLoop, stream.OptMulticastAll, stream.OptTTL, stream.OptTOS, stream.OptMulticastTTL,
			stream.OptRecvErr, stream.OptMTUDiscover,
		}
		if k.f == stream.IPv6 {
			opts = append(opts, stream.OptV6Only)
		}
		o, v := opts[r.IntN(len(opts))], r.IntN(2)
		switch o {
		case stream.OptTTL, stream.OptMulticastTTL:
			v += 5
		case stream.OptTOS:
			v *= 0x20
		case stream.OptMTUDiscover:
			v = r.IntN(6)
		}
		p.same(fmt.Sprintf("%sset(%d, %d)", name, o, v), p.a.set(k.k, o, v), p.b.set(k.k, o, v))
	case n < 8:
		a := p.addr(k.kind)
		if group := a.Unmap().IsMulticast() || strings.HasSuffix(a.String(), "255"); k.kind == kindDual || k.kind == kindMapped && group {
			a = any6 // Linux would send from a mapped group address
		}
		p.same(fmt.Sprintf("%sbind(%v, %d/%d)", name, a, x, y), p.a.bind(k.k, netip.AddrPortFrom(a, x)), p.b.bind(k.k, netip.AddrPortFrom(a, y)))
	case n < 10 && k.kind != kindDual:
		a := p.addr(k.kind)
		p.same(fmt.Sprintf("%sconnect(%v, %d)", name, a, x), p.a.connect(k.k, netip.AddrPortFrom(a, x)), p.b.connect(k.k, netip.AddrPortFrom(a, y)))
	case n == 10 && k.f == stream.IPv4 && !p.icmp: // Linux leaves an IPv6 socket its peer (sk_v6_daddr)
		p.same(name+"disconnect", p.a.disconnect(k.k), p.b.disconnect(k.k))
	case n == 11 && !p.icmp:
		g := p.pick(testGroups4)
		if k.f == stream.IPv6 {
			g = p.pick(testGroups6)
		}
		leave := r.IntN(3) == 0
		p.same(fmt.Sprintf("%sjoin(%v, leave %v)", name, g, leave), p.a.join(k.k, g, leave), p.b.join(k.k, g, leave))
	default:
		var to [2]netip.AddrPort
		var from netip.AddrPort
		a := p.addr(k.kind)
		if r.IntN(4) != 0 {
			to[0], to[1] = netip.AddrPortFrom(a, x), netip.AddrPortFrom(a, y)
		}
		if r.IntN(6) == 0 {
			own := []string{"127.0.0.1", "10.0.0.1", "10.0.0.2"}
			if k.f == stream.IPv6 {
				own = []string{"::1", "fd00::1", "fd00::2"}
			}
			from = netip.AddrPortFrom(p.pick(own), 0)
			if k.f == stream.IPv6 && a.Is4In6() || k.kind == kindPing6 { // Linux takes no source for Ping
				from = netip.AddrPort{}
			}
		}
		if a.Unmap().IsMulticast() && (p.a.name(k.k).Addr().Unmap().IsLoopback() || from.Addr().IsLoopback()) {
			return // Linux has a loopback interface with members of its own
		}
		ttl := 0
		if r.IntN(6) == 0 && to[0].IsValid() {
			ttl = 9
		}
		sizes := []int{0, 1, 20, 1422, 1423, 1402, 1403, 3000, 65507, 65509, 65527, 65528, 65536}
		size := sizes[r.IntN(3)]
		if r.IntN(8) == 0 {
			size = sizes[r.IntN(len(sizes))]
		}
		payload := bytes.Repeat([]byte{byte(len(p.log))}, size)
		if p.icmp {
			payload = p.message(k.kind, min(size, 3000))
			size = len(payload)
		}
		p.same(fmt.Sprintf("%ssend(%v, from %v, ttl %d, %d bytes)", name, to[0], from, ttl, size),
			p.a.send(k.k, to[0], from, ttl, payload), p.b.send(k.k, to[1], from, ttl, payload))
	}
	p.compare()
}

// message returns an ICMP message, mostly an echo request, mostly right.
func (p *program) message(kind, size int) []byte {
	m := bytes.Repeat([]byte{byte(len(p.log))}, max(size, 8*min(p.r.IntN(8), 1)))
	if len(m) < 8 {
		if kind == kindRaw4 {
			return make([]byte, 8)
		}
		return m
	}
	m[0], m[1] = 8, 0
	if kind == kindPing6 {
		m[0] = 128
	}
	if p.r.IntN(8) == 0 {
		m[p.r.IntN(2)] += byte(p.r.IntN(4))
	}
	m[4], m[5] = 0, 0 // no Ping socket is given this identifier
	if kind != kindRaw4 || p.r.IntN(8) != 0 {
		wire.ICMP(m).SetChecksum4()
	}
	return m
}

// compare looks at every socket in both worlds.
func (p *program) compare() {
	for _, k := range p.socks {
		if !k.open {
			continue
		}
		x, y := p.a.name(k.k), p.b.name(k.k)
		auto := x.Port() >= ephemeralFirst && y.Port() >= ephemeralFirst || p.icmp && x.Port() != 0 && y.Port() != 0
		if auto {
			p.chosen[fmt.Sprint(x.Port())] = fmt.Sprint(y.Port())
		}
		if x != y && !(auto && x.Addr() == y.Addr()) {
			p.same(fmt.Sprintf("S%d's name", k.k), x.String(), y.String())
		}
	}
	for _, k := range p.socks {
		if !k.open {
			continue
		}
		if x, y := p.canon(p.a.peer(k.k)), p.b.peer(k.k); x != y {
			p.same(fmt.Sprintf("S%d's peer", k.k), x, y)
		}
		x, y := p.a.drain(k.k), p.b.drain(k.k)
		for i := range x {
			x[i] = p.canon(x[i])
		}
		if !slices.Equal(x, y) {
			p.same(fmt.Sprintf("S%d got", k.k), strings.Join(x, "; "), strings.Join(y, "; "))
		} else if len(x) > 0 {
			p.log = append(p.log, fmt.Sprintf("S%d got %s", k.k, strings.Join(x, "; ")))
		}
	}
}

// kernelHost returns a namespace with the addresses of newHost(1), and a
// neighbour that takes everything.
//
//	ns: eth0 10.0.0.1/24 fd00::1/64 ── veth ── far, which answers nothing
func kernelHost(t *testing.T) *testenv.NetNS {
	ns, far := testenv.NewNetNS(t), testenv.NewNetNS(t)
	testenv.Veth(t, ns, "eth0", "10.0.0.1/24,fd00::1/64", far, "eth0", "", 1450)
	for _, a := range []string{"10.0.0.2", "fd00::2"} {
		testenv.Run(t, ns, "ip", "neigh", "add", a, "lladdr", "02:00:00:00:00:99", "nud", "permanent", "dev", "eth0")
	}
	for _, a := range []string{"224.0.0.0/4", "255.255.255.255"} { // one device: all groups are there
		testenv.Run(t, ns, "ip", "route", "add", a, "dev", "eth0")
	}
	testenv.Run(t, ns, "ip", "-6", "route", "add", "multicast", "ff00::/8", "dev", "eth0", "table", "local", "metric", "1")
	return ns
}

// Random programs of calls have the same results here and on the kernel.
func TestAgainstKernel(t *testing.T)     { againstKernel(t, false) }
func TestICMPAgainstKernel(t *testing.T) { againstKernel(t, true) }

func againstKernel(t *testing.T, icmp bool) {
	ns := kernelHost(t)
	programs, deadline := 500, time.Now().Add(20*time.Second)
	if testing.Short() {
		programs = 50
	}
	ns.Do(t, func() {
		for seed := range uint64(programs) {
			if time.Now().After(deadline) && seed > 50 {
				t.Logf("%d programs", seed)
				return
			}
			p := &program{r: rand.New(rand.NewPCG(seed, 1)), chosen: map[string]string{}, icmp: icmp}
			h := newHost(t, 1)
			l := &linux{t: t}
			p.a, p.b = &ours{h: h}, l
			for range 60 {
				if p.step(); p.bad {
					t.Errorf("program %d:\n%s", seed, strings.Join(p.log, "\n"))
					break
				}
			}
			for _, k := range p.socks {
				if k.open {
					p.b.close(k.k)
				}
			}
			if t.Failed() {
				return
			}
		}
	})
}
