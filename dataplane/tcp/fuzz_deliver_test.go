// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"netcon/dataplane/stat"
	"netcon/dataplane/stream"
	"netcon/dataplane/wire"
)

// A program is bytes that say what happens to an engine. What it runs out of is
// zeros, which stand for what an honest peer would do.
type program struct{ b []byte }

func (p *program) done() bool { return len(p.b) == 0 }

func (p *program) byte() uint8 {
	if len(p.b) == 0 {
		return 0
	}
	x := p.b[0]
	p.b = p.b[1:]
	return x
}

// below returns a number below n.
func (p *program) below(n int) int {
	if n <= 1 {
		return 0
	}
	if n > 256 {
		return (int(p.byte())<<8 | int(p.byte())) % n
	}
	return int(p.byte()) % n
}

// near returns a number: mostly 0, or a few away, or far.
func (p *program) near() uint32 {
	switch k := p.byte(); {
	case k < 96:
		return 0
	case k < 160:
		return uint32(int32(int8(p.byte())))
	case k < 224:
		return uint32(int32(int16(uint16(p.byte())<<8|uint16(p.byte())))) * 16
	default:
		return uint32(p.byte())<<24 | uint32(p.byte())<<12
	}
}

// text is the byte that has sequence number seq, in either direction: so that
// whatever arrives twice, or in pieces, is the same.
func text(seq uint32) byte { return byte(seq*2654435761>>23) ^ byte(seq) }

// lab is one engine, the owner of its sockets, and all its peers.
type lab struct {
	t     testing.TB
	e     *Engine
	wire  func(packet []byte) // takes what is sent, if not nil
	now   time.Duration
	path  stream.Path
	frame []byte
	st    stat.Block

	socks  map[uint64]*labSock
	order  []uint64
	next   uint64
	sent   [][]byte // packets that were sent lately
	synAck []target // answered by SYN-ACKs lately: connections of which only a cookie may be left
	packet [2048]byte
}

// labSock is a socket's owner.
type labSock struct {
	h        stream.Handle
	pair     stream.Pair
	attached bool
	listener bool
	failed   bool
	closed   bool   // the handle is gone
	at       uint32 // sequence number of the next byte to be read
	started  bool   // at is known
	put      uint32 // sequence number of the next byte to be written
}

const labHost = "10.0.0.1"

// newLab makes an engine with the addresses 10.0.0.host and fd00::host.
func newLab(t testing.TB, host byte, tune func(*Config)) *lab {
	l := &lab{t: t, now: time.Hour, socks: map[uint64]*labSock{}, path: stream.Path{Max: 1500, Checksums: true}}
	tuning := DefaultTuning()
	cfg := Config{
		Name: "lab", MTU: 1500, Stat: &l.st, Seed: [32]byte{7}, Tuning: &tuning,
		Addrs: []netip.Prefix{
			netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, host}), 24),
			netip.PrefixFrom(netip.AddrFrom16([16]byte{0: 0xfd, 15: host}), 64),
		},
		Limits: Limits{Connections: 40, HalfOpen: 8, Orphans: 20, TimeWait: 10, BufferBytes: 1 << 20},
	}
	if tune != nil {
		tune(&cfg)
	}
	e, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	l.e = e
	e.Advance(l.now)
	return l
}

// Open implements stream.Output.
func (l *lab) Open(netip.Addr, uint32) stream.Path { return l.path }

// Frame implements stream.Output.
func (l *lab) Frame(n int) []byte {
	if n > l.path.Max {
		l.t.Fatalf("frame of %d bytes, path of %d", n, l.path.Max)
	}
	l.frame = make([]byte, n)
	for i := range l.frame {
		l.frame[i] = 0xdd
	}
	return l.frame
}

// Commit implements stream.Output: what is sent is right in itself.
func (l *lab) Commit() {
	b := l.frame
	var d datagram
	if r := d.parse(b); r != stat.Accepted || len(d.b) != len(b) {
		l.t.Fatalf("sent %v: % x", r, b)
	}
	if l.sent = append(l.sent, b); len(l.sent) > 16 {
		l.sent = l.sent[1:]
	}
	if l.wire != nil {
		l.wire(b)
	}
	if d.proto != wire.ProtoTCP {
		return
	}
	var s segment
	if r := s.parse(&d, !l.path.Checksums); r != stat.Accepted {
		l.t.Fatalf("sent %v: % x", r, b)
	}
	for i, x := range s.payload {
		if s.flags&wire.TCPSyn == 0 && x != text(s.seq+uint32(i)) {
			l.t.Fatalf("sent byte %d of sequence number %d: %#x, want %#x", i, s.seq, x, text(s.seq+uint32(i)))
		}
	}
	// remote and local are swapped: it is what a peer would parse.
	at, ok := l.e.locals.find(s.remote)
	if !ok {
		l.t.Fatalf("sent from %v, which is not ours", s.remote.netip())
	}
	t := tuple{remote: s.local, lport: s.rport, rport: s.lport, local: at}
	v := l.e.find(&t)
	if v == 0 && s.flags == wire.TCPSyn|wire.TCPAck {
		if l.synAck = append(l.synAck, target{
			t: t, seq: [3]uint32{s.ack, s.ack, s.ack}, ack: [3]uint32{s.seq + 1, s.seq + 1, s.seq + 1},
			ts: s.opts.timestamps, tsVal: s.opts.tsEcr, tsEcr: s.opts.tsVal,
		}); len(l.synAck) > 4 {
			l.synAck = l.synAck[1:]
		}
	}
	if v == 0 || v&kindMask != kindConn || s.flags&wire.TCPRst != 0 {
		return
	}
	c := l.e.conns.at(v &^ kindMask)
	if !c.state.in(synchronized) {
		return
	}
	if s.flags&wire.TCPAck == 0 || s.flags&wire.TCPSyn != 0 {
		return // a reply from before it was synchronized
	}
	if seqGT(s.ack, c.rcvNxt) {
		l.t.Fatalf("acknowledged %d, received up to %d", s.ack, c.rcvNxt)
	}
	if end := s.ack + uint32(s.window)<<c.rcvScale(); s.ack == c.rcvNxt && seqGT(end, c.rcvEdge+1<<c.rcvScale()) {
		l.t.Fatalf("offered up to %d, the edge is %d", end, c.rcvEdge)
	}
	if c.end-c.una < 1<<30 && seqGT(s.seq+uint32(len(s.payload)), c.end) && !c.has(fFin) {
		l.t.Fatalf("sent %d bytes from %d on, there is text up to %d", len(s.payload), s.seq, c.end)
	}
}

func (l *lab) owner(u uint64) *labSock {
	s := l.socks[u]
	if s == nil || s.closed {
		l.t.Fatalf("an event of socket %d, which is closed", u)
	}
	return s
}

// Established, Failed, Acceptable, Readable and Writable implement
// stream.Events.
func (l *lab) Established(u uint64) {
	if s := l.owner(u); s.failed || s.listener {
		l.t.Fatalf("socket %d: established", u)
	}
}

func (l *lab) Failed(u uint64, errno syscall.Errno) {
	s := l.owner(u)
	if s.failed || errno == 0 || s.listener {
		l.t.Fatalf("socket %d: failed with %d, %v", u, errno, s.failed)
	}
	s.failed = true
}

func (l *lab) Acceptable(u uint64) {
	if !l.owner(u).listener {
		l.t.Fatalf("socket %d: acceptable", u)
	}
}
func (l *lab) Readable(u uint64) { l.owner(u) }
func (l *lab) Writable(u uint64) { l.owner(u) }

func (l *lab) add() (*labSock, uint64) {
	l.next++
	s := &labSock{}
	s.pair.Init()
	l.socks[l.next] = s
	l.order = append(l.order, l.next)
	return s, l.next
}

// drop forgets a socket whose handle is gone.
func (l *lab) drop(u uint64) {
	l.socks[u].closed = true
	delete(l.socks, u)
	l.order = slices.Delete(l.order, slices.Index(l.order, u), slices.Index(l.order, u)+1)
}

func (l *lab) listen(port uint16, family stream.Family, backlog int, opts ...stream.Option) {
	s, u := l.add()
	h, errno := l.e.Open(family, u)
	if errno != 0 {
		l.t.Fatal(errno)
	}
	s.h, s.listener = h, true
	for _, o := range opts {
		if errno := l.e.SetOption(h, o, 1); errno != 0 {
			l.t.Fatal(errno)
		}
	}
	at := netip.IPv4Unspecified()
	if family == stream.IPv6 {
		at = netip.IPv6Unspecified()
	}
	if errno := l.e.Bind(h, netip.AddrPortFrom(at, port)); errno != 0 {
		l.t.Fatal(errno)
	}
	if errno := l.e.Listen(h, backlog); errno != 0 {
		l.t.Fatal(errno)
	}
}

func (l *lab) attach(s *labSock, rx, tx int) {
	if s.attached || s.failed {
		return
	}
	s.attached = true
	if rx > 0 {
		s.pair.Rx.Attach(make([]byte, rx))
	}
	s.pair.Tx.Attach(make([]byte, tx))
	l.e.Attach(s.h, &s.pair)
}

// start learns what sequence numbers a connection has, once it has any.
func (l *lab) start(s *labSock) bool {
	if s.started {
		return true
	}
	_, c, errno := l.e.lookup(s.h)
	if errno != 0 || !c.state.in(synchronized) {
		return false
	}
	s.at = c.rcvNxt - uint32(c.rcvd)
	if c.has(fFinIn) {
		s.at--
	}
	s.put = c.una - uint32(c.acked)
	s.started = true
	return true
}

// read takes up to n bytes and looks at each.
func (l *lab) read(s *labSock, n int) {
	if !s.pair.Rx.Attached() || !l.start(s) {
		return
	}
	a, b := s.pair.Rx.Peek()
	for _, span := range [][]byte{a, b} {
		span = span[:min(n, len(span))]
		for _, x := range span {
			if x != text(s.at) {
				l.t.Fatalf("received %#x at sequence number %d, want %#x", x, s.at, text(s.at))
			}
			s.at++
		}
		n -= len(span)
		s.pair.Rx.Release(len(span))
	}
	l.e.RxRoom(s.h)
}

// write adds up to n bytes to be sent.
func (l *lab) write(s *labSock, n int) {
	if !s.pair.Tx.Attached() || s.failed || s.pair.TxEOF.Load() || !l.start(s) {
		return
	}
	a, b := s.pair.Tx.Reserve()
	wrote := 0
	for _, span := range [][]byte{a, b} {
		span = span[:min(n-wrote, len(span))]
		for i := range span {
			span[i] = text(s.put)
			s.put++
		}
		wrote += len(span)
	}
	s.pair.Tx.Publish(wrote)
	l.e.TxReady(s.h)
}

// after does what a worker does when something happened, and verifies.
func (l *lab) after() {
	l.e.EndBurst()
	l.e.Poll(l, 100)
	l.e.Transmit(l, 64)
	l.verify()
}

func (l *lab) verify() {
	if err := l.e.check(); err != nil {
		l.t.Fatalf("at %v: %v", l.now, err)
	}
}

// pass lets d pass, stopping wherever the engine wants to.
func (l *lab) pass(d time.Duration) {
	end := l.now + d
	for n := 0; ; n++ {
		if n > 10000 {
			l.t.Fatalf("the engine does not come to rest: at %v, next %v, busy %v\n%s", l.now, l.e.Next(), l.e.Busy(), l.dump())
		}
		l.e.Advance(l.now)
		l.after()
		if l.e.Busy() {
			continue
		}
		next := l.e.Next()
		if next > end {
			break
		}
		l.now = max(l.now, next)
	}
	l.now = end
	l.e.Advance(l.now)
	l.after()
}

// dump describes what there is.
func (l *lab) dump() string {
	e := l.e
	var b strings.Builder
	for i := e.conns.next(0); i != 0; i = e.conns.next(i) {
		c := e.conns.at(i)
		fmt.Fprintf(&b, "%d: state %d flags %#x timer %d in %d us, ack in %d us, keep in %d ms, una %d nxt %d end %d wnd %d rcv %d edge %d\n", i, c.state, uint32(c.flags), c.timer,
			int32(c.rtxAt-e.us), int32(c.ackAt-e.us), int32(c.keepAt-e.ms), c.una, c.nxt, c.end, c.wnd, c.rcvNxt, c.rcvEdge)
	}
	synAck, any := e.nextSynAck()
	wait, anyWait := e.nextTimeWait()
	fmt.Fprintf(&b, "wheel %v, SYN-ACK %v %v, TIME-WAIT %v %v\n", e.wheel.next(), synAck, any, wait, anyWait)
	return b.String()
}

// target is what a segment is for: a connection of any kind, with the sequence
// numbers that fit it.
type target struct {
	t        tuple
	seq, ack [3]uint32
	ts       bool
	tsVal    uint32
	tsEcr    uint32
}

// targets returns all of them, in a fixed order.
func (l *lab) targets() []target {
	var list []target
	e := l.e
	for i := e.conns.next(0); i != 0; i = e.conns.next(i) {
		c := e.conns.at(i)
		if !c.has(fTable) {
			continue
		}
		list = append(list, target{
			t: c.tuple, seq: [3]uint32{c.rcvNxt, c.rcvEdge, c.rcvAcked}, ack: [3]uint32{c.nxt, c.una, c.end},
			ts: c.has(fTS), tsVal: c.tsRecent, tsEcr: e.ms + c.tsOff,
		})
	}
	for i := e.halfs.next(0); i != 0; i = e.halfs.next(i) {
		h := e.halfs.at(i)
		list = append(list, target{
			t: h.tuple, seq: [3]uint32{h.irs + 1, h.irs, h.irs + 65536}, ack: [3]uint32{h.iss + 1, h.iss, h.iss + 2},
			ts: h.flags&halfOpenTimestamps != 0, tsVal: h.tsRecent, tsEcr: e.ms + e.tsOffset(&h.tuple),
		})
	}
	for i := e.waits.next(0); i != 0; i = e.waits.next(i) {
		w := e.waits.at(i)
		list = append(list, target{
			t: w.tuple, seq: [3]uint32{w.rcvNxt, w.rcvNxt - 1, w.rcvNxt + 1}, ack: [3]uint32{w.sndNxt, w.sndNxt - 1, w.sndNxt + 1},
			ts: w.flags&timeWaitTimestamps != 0, tsVal: w.tsRecent, tsEcr: e.ms + e.tsOffset(&w.tuple),
		})
	}
	return append(list, l.synAck...)
}

// labFlags are the flags of segments, the usual first.
var labFlags = [16]uint8{
	wire.TCPAck, wire.TCPAck, wire.TCPAck | wire.TCPPsh, wire.TCPAck | wire.TCPPsh, wire.TCPAck,
	wire.TCPAck | wire.TCPFin, wire.TCPAck | wire.TCPFin | wire.TCPPsh, wire.TCPRst, wire.TCPRst | wire.TCPAck,
	wire.TCPSyn, wire.TCPSyn | wire.TCPAck, wire.TCPFin, 0, wire.TCPAck | wire.TCPEce, wire.TCPAck | wire.TCPCwr, wire.TCPAck | wire.TCPUrg,
}

// segment sends the engine a segment for one of its connections.
func (l *lab) segment(p *program) {
	list := l.targets()
	if len(list) == 0 {
		return
	}
	g := &list[p.below(len(list))]
	l.send(g, p)
}

// send sends a segment of a target: the program says how it differs from the
// one an honest peer would send next.
func (l *lab) send(g *target, p *program) {
	h := header{
		local: g.t.remote, remote: l.e.locals.addrs[g.t.local], lport: g.t.rport, rport: g.t.lport,
		ttl: 64, v6: !g.t.remote.is4(), opts: options{scale: noScale},
	}
	h.flags = labFlags[p.below(16)]
	h.seq = g.seq[[8]int{0, 0, 0, 0, 0, 0, 1, 2}[p.below(8)]] + p.near()
	h.ack = g.ack[[8]int{0, 0, 0, 1, 1, 2, 0, 0}[p.below(8)]]
	if k := p.near(); k != 0 {
		h.ack += k
	} else if n := g.ack[0] - g.ack[1]; n > 0 && n < 1<<24 && p.byte() >= 128 {
		h.ack = g.ack[1] + uint32(p.byte())*n/255 // part of what is in flight
	}
	h.window = 0xffff
	if p.byte() >= 192 {
		h.window = uint16(p.byte())<<8 | uint16(p.byte())
	}
	kind := p.byte()
	h.tos = kind & 3
	if o := &h.opts; g.ts && kind&12 != 12 {
		o.timestamps, o.tsVal, o.tsEcr = true, g.tsVal+uint32(kind>>6), g.tsEcr
		if kind&16 != 0 {
			o.tsVal, o.tsEcr = o.tsVal+p.near(), o.tsEcr+p.near()
		}
	}
	if h.flags&wire.TCPSyn != 0 {
		l.synOptions(&h.opts, p)
	} else if kind&32 != 0 {
		o := &h.opts
		o.blocks = uint8(p.below(maxBlocks(o.timestamps) + 1))
		flight := uint64(g.ack[0] - g.ack[1])
		for k := range o.blocks {
			// A piece of what is in flight, in units of 1/16 of it.
			from, to := uint64(p.byte()%16), uint64(1+p.byte()%16)
			o.sack[k] = block{g.ack[1] + uint32(from*flight/16) + p.near(), g.ack[1] + uint32((from+to)*flight/16) + p.near()}
		}
	}
	n := 0
	switch k := p.byte(); {
	case k < 64:
	case k < 192:
		n = int(k)
	default:
		n = p.below(1400)
	}
	l.deliver(&h, n, true)
}

func (l *lab) synOptions(o *options, p *program) {
	k := p.byte()
	if k&1 == 0 {
		o.mss = 1460
		if k&2 != 0 {
			o.mss = uint16(p.byte())<<4 + uint16(p.byte())
		}
	}
	if k&4 == 0 {
		o.scale = k >> 4
		o.scale = min(o.scale, maxScale)
	}
	o.sackPermitted = k&8 == 0
	if p.byte() < 192 {
		o.timestamps, o.tsVal = true, 1000+uint32(l.e.ms)
	} else {
		o.timestamps = false
	}
}

// deliver builds a segment of n bytes of text and delivers it.
func (l *lab) deliver(h *header, n int, sums bool) {
	if h.opts.size() > maxOptions {
		h.opts.blocks = 0
	}
	hl := h.size()
	b := l.packet[:hl+n]
	first := h.seq
	if h.flags&wire.TCPSyn != 0 {
		first++
	}
	for i := range n {
		b[hl+i] = text(first + uint32(i))
	}
	var sum wire.Sum
	if sums {
		sum = wire.Sum(0).Add(b[hl:])
	}
	h.put(b, n, sum, sums)
	l.e.Deliver(b, !sums)
}

// syn sends a SYN to a listener, or to nobody.
func (l *lab) syn(p *program) {
	h := header{
		local: addrFrom(netip.AddrFrom4([4]byte{10, 0, 0, 2 + p.byte()%3})), remote: addrFrom(netip.MustParseAddr(labHost)),
		lport: 1000 + uint16(p.below(6)), rport: [4]uint16{80, 80, 81, 82}[p.below(4)],
		seq: uint32(p.byte()) << 24, window: 65535, flags: wire.TCPSyn, ttl: 64, opts: options{scale: noScale},
	}
	k := p.byte()
	if k&1 != 0 {
		h.v6 = true
		h.local, h.remote = addrFrom(netip.MustParseAddr("fd00::2")), addrFrom(netip.MustParseAddr("fd00::1"))
	}
	if k&2 != 0 {
		h.flags |= wire.TCPEce | wire.TCPCwr
	}
	if k&4 != 0 {
		h.seq -= 3
	}
	l.synOptions(&h.opts, p)
	n := 0
	if k >= 224 {
		n = p.below(100)
	}
	l.deliver(&h, n, true)
}

// icmp quotes a packet that was sent.
func (l *lab) icmp(p *program) {
	if len(l.sent) == 0 {
		return
	}
	q := l.sent[p.below(len(l.sent))]
	q = q[:min(len(q), 28+p.below(64))]
	kind := p.byte()
	b := l.packet[:8+len(q)]
	var head []byte
	if q[0]>>4 == 4 {
		b[0] = [4]byte{wire.ICMPv4Unreachable, wire.ICMPv4Unreachable, wire.ICMPv4TimeExceeded, wire.ICMPv4ParamProblem}[kind%4]
		b[1] = [4]byte{wire.ICMPv4FragNeeded, wire.ICMPv4HostUnreachable, 3, 13}[kind>>2%4]
		binary.BigEndian.PutUint32(b[4:], uint32(p.byte())<<3)
		copy(b[8:], q)
		l.bend(b[8:], p)
		wire.ICMP(b).SetChecksum4()
		head = make([]byte, wire.IPv4Len)
		wire.PutIPv4(head, netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr(labHost), wire.ProtoICMP, 64, len(b))
	} else {
		b[0] = [4]byte{wire.ICMPv6PacketTooBig, wire.ICMPv6Unreachable, wire.ICMPv6TimeExceeded, wire.ICMPv6ParamProblem}[kind%4]
		b[1] = kind >> 2 % 8
		binary.BigEndian.PutUint32(b[4:], uint32(p.byte())<<3)
		copy(b[8:], q)
		l.bend(b[8:], p)
		src, dst := netip.MustParseAddr("fd00::2"), netip.MustParseAddr("fd00::1")
		wire.ICMP(b).SetChecksum6(wire.PseudoHeader(src, dst, wire.ProtoICMPv6, len(b)))
		head = make([]byte, wire.IPv6Len)
		wire.PutIPv6(head, src, dst, wire.ProtoICMPv6, 64, len(b))
	}
	l.e.Deliver(append(head, b...), true)
}

// ping sends an echo request.
func (l *lab) ping(p *program) {
	src, dst := netip.MustParseAddr("fd00::2"), netip.MustParseAddr("fd00::1")
	head, kind := wire.IPv6Len, uint8(wire.ICMPv6Echo)
	v6 := p.byte()&1 != 0
	if !v6 {
		src, dst = netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr(labHost)
		head, kind = wire.IPv4Len, wire.ICMPv4Echo
	}
	n := 8 + p.below(1000)
	b := make([]byte, head+n)
	m := wire.ICMP(b[head:])
	m[0] = kind
	if v6 {
		wire.PutIPv6(b, src, dst, wire.ProtoICMPv6, 64, n)
		m.SetChecksum6(wire.PseudoHeader(src, dst, wire.ProtoICMPv6, n))
	} else {
		wire.PutIPv4(b, src, dst, wire.ProtoICMP, 64, n)
		m.SetChecksum4()
	}
	l.bend(b[head:], p)
	l.e.Deliver(b, false)
}

// bend may change a byte.
func (l *lab) bend(b []byte, p *program) {
	if k := p.byte(); k >= 128 && len(b) > 0 {
		b[p.below(len(b))] ^= k
	}
}

// raw delivers bytes as they stand in the program.
func (l *lab) raw(p *program) {
	verified := p.byte()&1 == 0
	n := min(int(p.byte()), len(p.b))
	l.e.Deliver(slices.Clip(slices.Clone(p.b[:n])), verified)
	p.b = p.b[n:]
}

// echoBack returns a packet that was sent to its sender, maybe bent.
func (l *lab) echoBack(p *program) {
	if len(l.sent) == 0 {
		return
	}
	q := slices.Clone(l.sent[p.below(len(l.sent))])
	if p.byte()&1 == 0 && q[0]>>4 == 4 { // as if from the peer
		for i := range 4 {
			q[12+i], q[16+i] = q[16+i], q[12+i]
		}
		wire.IPv4(q).SetChecksum()
		for i := range 2 {
			q[20+i], q[22+i] = q[22+i], q[20+i]
		}
		// Its text is not what the peer would send: without it.
		if t, ok := wire.ParseTCP(q[20:]); ok {
			q = q[:20+t.HeaderLen()]
			wire.IPv4(q).SetTotalLen(len(q))
			wire.IPv4(q).SetChecksum()
		}
	}
	l.bend(q[:min(len(q), 40)], p)
	if q[0]>>4 == 4 && len(q) >= wire.IPv4Len && int(q[0]&15)*4 >= wire.IPv4Len && int(q[0]&15)*4 <= len(q) {
		wire.IPv4(q).SetChecksum()
	}
	if p.byte()&1 == 0 {
		l.e.Undeliverable(q)
	} else if len(q) <= 80 {
		l.e.Deliver(q, true)
	}
}

// user does something with a socket.
func (l *lab) user(p *program) {
	if len(l.order) == 0 {
		return
	}
	u := l.order[p.below(len(l.order))]
	s := l.socks[u]
	op := p.below(16)
	if s.listener && op < 11 {
		op = 11
	}
	switch op {
	case 0, 1, 2, 3:
		l.attach(s, 1024<<p.below(8), 1024<<p.below(8))
		l.write(s, 1+int(p.byte())*[4]int{1, 16, 64, 256}[p.below(4)])
	case 4, 5, 6:
		l.attach(s, 1024<<p.below(8), 4096)
		l.read(s, 1+int(p.byte())*[4]int{1, 16, 64, 1024}[p.below(4)])
	case 7:
		l.attach(s, 0, 4096) // no memory for what arrives
	case 8:
		if s.attached && !s.pair.Rx.Attached() {
			s.pair.Rx.Attach(make([]byte, 1024<<p.below(8)))
			l.e.RxRoom(s.h)
		} else if s.attached && s.pair.Rx.Len() == 0 && p.byte()&1 == 0 {
			s.pair.Rx.Detach()
		}
	case 9:
		if k := p.byte(); k < 128 && s.attached && !s.failed && l.start(s) {
			s.pair.TxEOF.Store(true)
			l.e.TxReady(s.h)
		} else {
			l.e.Shutdown(s.h, stream.How(k&3))
			if k&2 != 0 {
				s.pair.TxEOF.Store(true)
			}
		}
	case 10:
		switch p.byte() & 3 {
		case 0:
			l.e.Abort(s.h)
		case 1:
			l.e.SetOption(s.h, stream.OptLinger, 0)
			l.e.Close(s.h)
		default:
			l.e.Close(s.h)
		}
		l.drop(u)
	case 11, 12, 13:
		n, v := l.add()
		h, errno := l.e.Accept(s.h, v)
		if errno != 0 {
			l.drop(v)
			return
		}
		n.h = h
		l.start(n)
	case 14:
		opt := stream.Option(p.below(int(stream.NumStreamOptions)))
		if opt == stream.OptKeepAlive || opt == stream.OptKeepIdle {
			l.e.SetOption(s.h, stream.OptKeepAlive, 1)
			l.e.SetOption(s.h, stream.OptKeepIdle, 1+int(p.byte()))
			l.e.SetOption(s.h, stream.OptKeepInterval, 1)
			l.e.SetOption(s.h, stream.OptKeepCount, 1+p.below(4))
		}
		value := int(p.byte()) * [4]int{1, 0, 100, -1}[p.below(4)]
		if opt != stream.OptLinger || value != 0 {
			l.e.SetOption(s.h, opt, value)
		}
		l.e.Option(s.h, opt)
	case 15:
		if s.failed && p.byte() < 128 {
			// Once more.
			if l.e.Connect(s.h, netip.MustParseAddrPort("10.0.0.9:1")) == syscall.EINPROGRESS {
				s.failed, s.started, s.attached = false, false, false
				s.pair.Init()
			}
			return
		}
		var info stream.Info
		l.e.Info(s.h, &info)
		l.e.Local(s.h)
		l.e.Remote(s.h)
	}
}

// connect opens a connection to a peer that the program plays.
func (l *lab) connect(p *program) {
	if len(l.order) > 30 {
		return
	}
	k := p.byte()
	s, u := l.add()
	family, to := stream.IPv4, netip.MustParseAddr("10.0.0.9")
	port := 1 + uint16(k>>2&3)
	switch {
	case k >= 224: // to ourselves
		to, port = netip.MustParseAddr([4]string{labHost, "127.0.0.1", "127.0.0.2", labHost}[k&3]), [4]uint16{80, 81, 82, 80}[k>>2&3]
	case k >= 192:
		to, port = netip.MustParseAddr("10.0.0.2"), 1000
	case k&1 != 0:
		family, to = stream.IPv6, netip.MustParseAddr("fd00::9")
	}
	h, errno := l.e.Open(family, u)
	if errno != 0 {
		l.drop(u)
		return
	}
	s.h = h
	switch p.byte() >> 5 {
	case 1:
		l.e.Bind(h, netip.AddrPortFrom(netip.IPv4Unspecified(), 2000))
	case 2:
		l.e.SetOption(h, stream.OptReuseAddr, 1)
		l.e.Bind(h, netip.AddrPortFrom(netip.MustParseAddr(labHost), 2000+uint16(p.byte()&1)))
	case 3:
		l.e.Bind(h, netip.AddrPortFrom(netip.IPv6Unspecified(), 0))
	}
	if k&2 != 0 {
		s.attached = true
		s.pair.Rx.Attach(make([]byte, 4096))
		s.pair.Tx.Attach(make([]byte, 4096))
		l.e.Attach(h, &s.pair)
	}
	if errno := l.e.Connect(h, netip.AddrPortFrom(to, port)); errno != syscall.EINPROGRESS {
		l.e.Close(h)
		l.drop(u)
	}
}

// step does one thing.
func (l *lab) step(p *program) {
	switch k := p.byte() % 32; {
	case k < 12:
		l.segment(p)
	case k < 14:
		l.syn(p)
	case k < 20:
		l.user(p)
	case k < 22:
		l.connect(p)
	case k < 23:
		l.raw(p)
	case k < 24:
		l.icmp(p)
	case k < 25:
		if p.byte() < 64 {
			l.ping(p)
		} else {
			l.echoBack(p)
		}
	case k < 26:
		// Until the end of the burst more may arrive.
		for range p.below(4) {
			l.segment(p)
		}
	case k < 27:
		l.path = [4]stream.Path{
			{Max: 1500, Checksums: true}, {Max: 0}, {Max: 65535}, {Max: 600, Checksums: true},
		}[p.below(4)]
	case k < 29:
		l.pass(time.Duration(p.byte()) * time.Millisecond)
	case k < 31:
		l.pass(time.Duration(p.byte()) * 100 * time.Millisecond)
	default:
		l.pass(time.Duration(p.byte()) * 10 * time.Second)
	}
	l.after()
}

// end closes everything, waits, and looks whether anything is left.
func (l *lab) end() {
	l.path = stream.Path{Max: 1500, Checksums: true}
	for _, u := range slices.Sorted(maps.Keys(l.socks)) {
		if u%2 == 0 {
			l.e.Close(l.socks[u].h)
		} else {
			l.e.Abort(l.socks[u].h)
		}
		l.drop(u)
		l.after()
	}
	// No peer is there any more: every connection times out. That takes its
	// retransmissions, TIME-WAIT, and at most a user timeout.
	l.pass(3 * time.Hour)
	l.nothingLeft()
}

func (l *lab) nothingLeft() {
	e := l.e
	left := fmt.Sprintf("%d conns, %d half open, %d in TIME-WAIT, %d in the table, %d works, %d runs, %d spans, %d buckets of ports, %d stashes, %d sockets, %d orphans",
		e.conns.len(), e.halfs.len(), e.waits.len(), e.table.len(), e.works.len(), e.runs.len(), e.holes.len(), e.ports.buckets.len(), e.stashes.inUse(), e.sockets, e.orphans)
	if e.conns.len()+e.halfs.len()+e.waits.len()+e.table.len()+e.works.len()+e.runs.len()+e.holes.len()+e.ports.buckets.len()+e.stashes.inUse()+e.sockets+e.orphans != 0 {
		l.t.Fatal("left behind: " + left)
	}
	if next := e.Next(); next != never {
		l.t.Fatalf("nothing is left, and next is %v", next)
	}
}

// FuzzDeliver: an engine with listeners and connections meets peers who send
// what they like, while its owner reads, writes and closes. Whatever happens,
// its records are consistent, what it sends is well formed and within what it
// may send, the owner reads the right bytes in the right order, and in the end
// nothing is left.
func FuzzDeliver(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(labProgram(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) { runLab(t, b) })
}

// labOpening is a handshake with an accept.
var labOpening = []byte{
	12, 0, 0, 0, 0, 0, 0, 0, // SYN
	0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // ACK
	14, 0, 11, // accept
}

// labProgram returns a random program. How much of it is what an honest peer
// would do is random too.
func labProgram(seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 77))
	if seed%2 != 0 {
		return labTransfer(r)
	}
	n := 20 + r.IntN(1500)
	honest := r.Float64() * 0.6
	var b []byte
	if r.IntN(4) > 0 {
		b = slices.Clone(labOpening)
	}
	for len(b) < n {
		x := byte(r.Uint32())
		if r.Float64() < honest {
			x = 0
		}
		b = append(b, x)
	}
	return b
}

// labTransfer returns a program that keeps text in flight both ways, and has it
// acknowledged in pieces.
func labTransfer(r *rand.Rand) []byte {
	b := slices.Clone(labOpening)
	x := func(n int) byte { return byte(r.IntN(n)) }
	for range 20 + r.IntN(100) {
		switch r.IntN(8) {
		case 0: // write
			b = append(b, 14, 3, 0, x(8), x(8), x(256), x(4))
		case 1: // read
			b = append(b, 14, 3, 4, x(8), x(256), x(4))
		case 2: // wait
			b = append(b, 27, x(256))
		case 3: // SACK
			b = append(b, 0, x(2), 0, 0, 0, 3, 0, x(256), x(256), 0, 32|x(4), x(5), x(16), x(16), 0, 0, x(16), x(16), 0, 0, x(256))
		case 4: // acknowledge a part
			b = append(b, 0, 0, 0, 0, 0, 3, 0, 200, x(256), 0, 0, 0)
		case 5: // text, not far from where it belongs
			b = append(b, 0, 0, x(7), 0, 100, x(256), 0, 0, 0, 0, 64+x(128))
		case 6: // the same with other numbers
			b = append(b, 0, 0, 2, 0, x(256), x(256), x(256), x(8), x(256), x(256))
		default:
			b = append(b, x(256), x(256), x(256))
		}
	}
	return append(b, x(256))
}

// Random programs get further than those a fuzzer makes.
func TestDeliverPrograms(t *testing.T) {
	n := uint64(500)
	if testing.Short() {
		n = 100
	}
	for seed := range n {
		if !t.Run(fmt.Sprint(seed), func(t *testing.T) { runLab(t, labProgram(seed)) }) {
			return
		}
	}
}

// runLab runs a program. Its first byte says how the engine is tuned.
func runLab(t testing.TB, b []byte) {
	p := &program{b: b}
	if len(p.b) > 4096 {
		p.b = p.b[:4096]
	}
	mode := uint8(0)
	if len(b) > 0 {
		mode = b[len(b)-1]
	}
	l := newLab(t, 1, func(c *Config) {
		c.Tuning.Timestamps = mode&1 == 0
		c.Tuning.SACK = mode&2 == 0
		c.Tuning.ECN = int(mode >> 2 & 1)
		c.Tuning.SynCookies = [4]int{1, 2, 0, 1}[mode>>3&3]
		c.Tuning.RACK = mode&32 == 0
		c.Tuning.MTUProbing = int(mode >> 6 & 1)
		c.Tuning.Cubic = mode&128 == 0
		if mode&0x18 == 0x18 {
			c.Tuning.WindowScaling = false
		}
	})
	defer l.e.Stop(nil)
	l.listen(80, stream.IPv4, 4)
	l.listen(81, stream.IPv6, 0, stream.OptReusePort)
	l.listen(82, stream.IPv4, 2, stream.OptDeferAccept)
	for n := 0; !p.done() && n < 400; n++ {
		l.step(p)
	}
	l.end()
}
