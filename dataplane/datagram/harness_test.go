// SPDX-License-Identifier: Apache-2.0

package datagram

import (
	"bytes"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"netcon/dataplane/stat"
	"netcon/dataplane/stream"
	"netcon/dataplane/wire"
)

func ip(s string) netip.Addr     { return netip.MustParseAddr(s) }
func at(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }
func net(s string) netip.Prefix  { return netip.MustParsePrefix(s) }

// host is a Stack, what it sends, and what its sockets were told.
type host struct {
	*Stack
	t        testing.TB
	now      time.Duration
	sent     [][]byte
	path     stream.Path
	frame    []byte
	readable map[uint64]int
	writable map[uint64]int
	users    uint64
	frags    Reassembler
	budget   int // bytes of buffers; 0: no bound
}

// newHost returns a host with 10.0.0.N/24 and fd00::N/64.
func newHost(t testing.TB, n byte) *host {
	h := &host{t: t, path: stream.Path{Max: 1450, Checksums: true}, readable: map[uint64]int{}, writable: map[uint64]int{}}
	h.Stack = New(Config{
		MTU: 1450,
		Addrs: []netip.Prefix{
			netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, n}), 24),
			netip.PrefixFrom(netip.AddrFrom16([16]byte{0: 0xfd, 15: n}), 64),
		},
		Stat: new(stat.Block),
		Now:  func() time.Duration { return h.now },
		Room: func(n int) bool { return h.budget == 0 || h.Held()+n <= h.budget },
	})
	h.frags = Reassembler{Limit: 1 << 20, Stat: h.stat}
	return h
}

// out is the host as a stream.Output.
type out struct{ *host }

func (o out) Open(netip.Addr, uint32) stream.Path { return o.path }

func (o out) Frame(n int) []byte {
	o.frame = make([]byte, n)
	return o.frame
}

func (o out) Commit() { o.sent = append(o.sent, o.frame) }

func (o out) Established(uint64)           { o.t.Error("established") }
func (o out) Failed(uint64, syscall.Errno) { o.t.Error("failed") }
func (o out) Acceptable(uint64)            { o.t.Error("acceptable") }
func (o out) Readable(u uint64)            { o.readable[u]++ }
func (o out) Writable(u uint64)            { o.writable[u]++ }

// turn polls and transmits until nothing is left, and returns what was sent.
func (h *host) turn() [][]byte {
	h.sent = nil
	for h.Busy() {
		h.Poll(out{h}, 64)
		h.Transmit(out{h}, 64)
	}
	return h.sent
}

// input does what an engine does with a packet before the sockets get it, and
// counts what became of it.
func (h *host) input(packet []byte) stat.Reason {
	r := h.classify(packet)
	h.stat.Drop(r)
	return r
}

func (h *host) classify(packet []byte) stat.Reason {
	var proto uint8
	var pos int
	var fragment bool
	if packet[0]>>4 == 4 {
		p, ok := wire.ParseIPv4(packet)
		if !ok || !p.ChecksumOK() {
			h.t.Fatalf("malformed packet % x", packet)
		}
		packet, proto, pos, fragment = p, p.Protocol(), p.HeaderLen(), p.IsFragment()
	} else {
		p, ok := wire.ParseIPv6(packet)
		if ok {
			proto, pos, fragment, ok = p.UpperLayer()
		}
		if !ok {
			h.t.Fatalf("malformed packet % x", packet)
		}
		packet = p
	}
	if fragment {
		whole, r := h.frags.Take(packet, h.now)
		if whole == nil {
			return r
		}
		return h.classify(whole)
	}
	v := h.View(packet, pos)
	if v.Reach == None {
		return stat.DropIPNotLocal
	}
	upper := packet[pos:]
	pseudo := wire.PseudoHeader(v.Src, v.Dst, proto, len(upper))
	switch proto {
	case wire.ProtoUDP:
		u, ok := wire.ParseUDP(upper)
		if !ok || pseudo.Add(u).Fold() != 0xffff {
			return stat.DropL4Checksum
		}
		return h.UDP(&v, u)
	case wire.ProtoICMP:
		pseudo = 0
	}
	m, ok := wire.ParseICMP(upper)
	if !ok || pseudo.Add(m).Fold() != 0xffff {
		return stat.DropL4Checksum
	}
	return h.ICMP(&v, m)
}

// socket opens one.
func (h *host) socket(f stream.Family, p stream.Protocol) stream.Handle {
	h.t.Helper()
	h.users++
	k, e := h.Open(f, p, h.users)
	if e != 0 {
		h.t.Fatalf("open: %v", e)
	}
	return k
}

// bound opens a UDP socket at an address.
func (h *host) bound(a string) stream.Handle {
	h.t.Helper()
	f := stream.IPv4
	if at(a).Addr().Is6() {
		f = stream.IPv6
	}
	k := h.socket(f, stream.UDP)
	h.want(0, h.Bind(k, at(a)))
	return k
}

func (h *host) want(want, got syscall.Errno) {
	h.t.Helper()
	if got != want {
		h.t.Fatalf("%v, want %v", got, want)
	}
}

func (h *host) set(k stream.Handle, o stream.Option, v int) {
	h.t.Helper()
	h.want(0, h.SetOption(k, o, v))
}

func (h *host) send(k stream.Handle, to string, payload string) syscall.Errno {
	var m stream.Message
	if to != "" {
		m.Remote = at(to)
	}
	return h.Send(k, &m, []byte(payload))
}

// got returns everything that waits for a socket.
func (h *host) got(k stream.Handle) (all []received) {
	h.t.Helper()
	for {
		var r received
		b := make([]byte, 70000)
		n, e := h.Receive(k, &r.Message, b)
		if e == syscall.EAGAIN {
			return all
		}
		h.want(0, e)
		r.payload = string(b[:n])
		all = append(all, r)
	}
}

type received struct {
	stream.Message
	payload string
}

func (h *host) drops() map[string]uint64 {
	h.stat.Publish()
	return stat.Read(h.stat).Drops
}

// carry moves packets between hosts until nobody sends any: what goes to a
// group arrives everywhere.
func carry(hosts ...*host) {
	for moved := true; moved; {
		moved = false
		for _, from := range hosts {
			for _, p := range from.turn() {
				moved = true
				dst, _ := destinationOf(p)
				for _, to := range hosts {
					if to != from && (to.mine(dst) || to.reach(dst).group()) {
						to.input(bytes.Clone(p))
					}
				}
			}
		}
	}
}
