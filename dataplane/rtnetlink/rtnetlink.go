// SPDX-License-Identifier: Apache-2.0

package rtnetlink

import (
	"encoding/binary"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"

	"netcon/dataplane/wire"
)

// Indexes and names of a container's interfaces.
const (
	LoopbackIndex = 1
	DeviceIndex   = 2
	loopbackName  = "lo"
	deviceName    = "eth0"
	loopbackMTU   = 65536
)

const (
	// requestsMax is how many requests of one datagram are answered.
	requestsMax = 16
	// datagramMax bounds a datagram of a dump.
	datagramMax = 3584
)

// Config says what the container is.
type Config struct {
	MAC      wire.MAC
	MTU      int
	Addrs    []netip.Prefix // on eth0, each with its on-link prefix
	Gateway4 netip.Addr     // invalid: none
	Gateway6 netip.Addr
}

// Responder answers for one container.
type Responder struct {
	cfg   Config
	links []link
}

type link struct {
	index int32
	kind  uint16 // ARPHRD_*
	flags uint32
	name  string
	mac   wire.MAC
	all   wire.MAC // its broadcast address
	mtu   int
	state uint8 // RFC 2863
	addrs []netip.Prefix
}

// Operational states, linux/if.h.
const (
	operUnknown = 0
	operUp      = 6
)

// New returns the responder of a container.
func New(cfg Config) *Responder {
	const up = unix.IFF_UP | unix.IFF_RUNNING | unix.IFF_LOWER_UP
	return &Responder{cfg: cfg, links: []link{
		{
			index: LoopbackIndex, kind: unix.ARPHRD_LOOPBACK, flags: up | unix.IFF_LOOPBACK, name: loopbackName,
			mtu: loopbackMTU, state: operUnknown,
			addrs: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/8"), netip.MustParsePrefix("::1/128")},
		},
		{
			index: DeviceIndex, kind: unix.ARPHRD_ETHER, flags: up | unix.IFF_BROADCAST | unix.IFF_MULTICAST, name: deviceName,
			mac: cfg.MAC, all: wire.Broadcast, mtu: cfg.MTU, state: operUp, addrs: cfg.Addrs,
		},
	}}
}

// request is one message of a program's.
type request struct {
	kind, flags uint16
	seq         uint32
	whole       []byte
	body        []byte
}

// next takes the first message off a datagram.
func next(b []byte) (r request, rest []byte, ok bool) {
	if len(b) < unix.NLMSG_HDRLEN {
		return r, nil, false
	}
	n := binary.NativeEndian.Uint32(b)
	if n < unix.NLMSG_HDRLEN || uint64(n) > uint64(len(b)) {
		return r, nil, false
	}
	r = request{
		kind: binary.NativeEndian.Uint16(b[4:]), flags: binary.NativeEndian.Uint16(b[6:]), seq: binary.NativeEndian.Uint32(b[8:]),
		whole: b[:n], body: b[unix.NLMSG_HDRLEN:n],
	}
	return r, b[min(len(b), align(int(n))):], true
}

func align(n int) int { return (n + 3) &^ 3 }

// Answer answers the requests in a datagram to the socket whose port id is port.
// emit is called with each datagram of the answer, which is the callee's until it
// returns.
func (h *Responder) Answer(datagram []byte, port uint32, emit func([]byte)) {
	for range requestsMax {
		r, rest, ok := next(datagram)
		if !ok {
			return
		}
		datagram = rest
		h.one(&r, &answer{seq: r.seq, port: port, emit: emit})
	}
}

// one answers one request.
func (h *Responder) one(r *request, a *answer) {
	var e syscall.Errno
	switch {
	case r.flags&unix.NLM_F_REQUEST == 0, r.kind < unix.NLMSG_MIN_TYPE:
	case r.kind < unix.RTM_BASE || r.kind > unix.RTM_MAX:
		e = unix.EOPNOTSUPP
	case len(r.body) < 1: // no address family
		return
	default:
		var answered bool
		if answered, e = h.get(r, a); answered {
			return
		}
	}
	if e != 0 || r.flags&unix.NLM_F_ACK != 0 {
		a.acknowledge(r, e)
	}
}

// get answers a request for what there is; answered says that no acknowledgment
// is due.
func (h *Responder) get(r *request, a *answer) (answered bool, e syscall.Errno) {
	family := r.body[0]
	if r.flags&unix.NLM_F_DUMP == 0 {
		if r.kind != unix.RTM_GETLINK {
			return false, unix.EOPNOTSUPP
		}
		l, e := h.find(r.body)
		if e == 0 {
			a.link(l, 0)
			a.flush()
		}
		return false, e
	}
	switch r.kind {
	case unix.RTM_GETLINK:
		for i := range h.links {
			a.link(&h.links[i], unix.NLM_F_MULTI)
		}
	case unix.RTM_GETADDR:
		h.addresses(family, a)
	case unix.RTM_GETROUTE:
		h.routes(family, a)
	default:
		return false, unix.EOPNOTSUPP
	}
	a.done()
	return true, 0
}

// find looks for the link that a request names, by number or by name.
func (h *Responder) find(body []byte) (*link, syscall.Errno) {
	if len(body) < unix.SizeofIfInfomsg {
		return nil, unix.EINVAL
	}
	index := int32(binary.NativeEndian.Uint32(body[4:]))
	name := ""
	for b := body[unix.SizeofIfInfomsg:]; len(b) >= unix.SizeofRtAttr; {
		n, kind := int(binary.NativeEndian.Uint16(b)), binary.NativeEndian.Uint16(b[2:])
		if n < unix.SizeofRtAttr || n > len(b) {
			break
		}
		if kind == unix.IFLA_IFNAME || kind == unix.IFLA_ALT_IFNAME {
			name = unix.ByteSliceToString(b[unix.SizeofRtAttr:n])
		}
		b = b[min(len(b), align(n)):]
	}
	switch {
	case index < 0, index == 0 && name == "":
		return nil, unix.EINVAL
	}
	for i := range h.links {
		if l := &h.links[i]; index == l.index || index == 0 && name == l.name {
			return l, 0
		}
	}
	return nil, unix.ENODEV
}

// addresses dumps the addresses, of one family after the other.
func (h *Responder) addresses(family uint8, a *answer) {
	for _, f := range []uint8{unix.AF_INET, unix.AF_INET6} {
		if family != unix.AF_UNSPEC && family != f {
			continue
		}
		for i := range h.links {
			for _, p := range h.links[i].addrs {
				if familyOf(p.Addr()) == f {
					a.address(&h.links[i], p)
				}
			}
		}
	}
}

// routes dumps the main table.
func (h *Responder) routes(family uint8, a *answer) {
	want := func(ip netip.Addr) bool {
		return ip.IsValid() && (family == unix.AF_UNSPEC || family == familyOf(ip))
	}
	for _, gateway := range []netip.Addr{h.cfg.Gateway4, h.cfg.Gateway6} {
		if want(gateway) {
			a.route(netip.PrefixFrom(unspecified(gateway), 0), gateway, netip.Addr{})
		}
	}
	for _, p := range h.cfg.Addrs {
		if want(p.Addr()) {
			a.route(p.Masked(), netip.Addr{}, p.Addr())
		}
	}
}

func unspecified(like netip.Addr) netip.Addr {
	if like.Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

func familyOf(ip netip.Addr) uint8 {
	if ip.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}
