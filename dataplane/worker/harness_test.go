// SPDX-License-Identifier: Apache-2.0

package worker

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"netcon/dataplane/fib"
	"netcon/dataplane/stat"
	"netcon/dataplane/stream"
	"netcon/dataplane/wire"
	"netcon/shm"
)

const (
	testVNI   = 7
	testMTU   = 1450
	noNetwork = 99 // a VNI that nobody has
)

var (
	ownVTEP = netip.MustParseAddr("192.0.2.1")
	peer1   = netip.MustParseAddr("192.0.2.11") // configured VTEPs
	peer2   = netip.MustParseAddr("192.0.2.12")
	strange = netip.MustParseAddr("192.0.2.66") // nobody's
)

// farMAC is a host behind peer1.
var farMAC = wire.MAC{2, 0, 0, 0, 1, 1}

// frame is what a fake underlay carries.
type frame struct {
	vtep    netip.Addr
	payload []byte
}

// fakeUnderlay is an underlay in memory. push may be called from anywhere.
type fakeUnderlay struct {
	fd  int // eventfd, readable while in has something
	mu  sync.Mutex
	in  []frame
	out []frame

	calls   []int // what each Recv gave
	flushes int
	// unflushed is how many Flush do not get rid of everything
	unflushed int
	room      [wire.EthernetLen + wire.VXLANLen + maxLocal]byte
	dst       netip.Addr
	n         int
	discard   bool // count frames, do not keep them
	sent      int
}

func newFakeUnderlay(t testing.TB) *fakeUnderlay {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	u := &fakeUnderlay{fd: fd}
	t.Cleanup(func() { _ = u.Close() })
	return u
}

func (u *fakeUnderlay) push(src netip.Addr, payload []byte) {
	u.mu.Lock()
	u.in = append(u.in, frame{src, payload})
	u.mu.Unlock()
	_, _ = unix.Write(u.fd, binary.NativeEndian.AppendUint64(nil, 1))
}

func (u *fakeUnderlay) Recv(sink stream.Sink, budget int) int {
	u.mu.Lock()
	n := min(budget, len(u.in))
	batch := u.in[:n:n]
	u.in = u.in[n:]
	if len(u.in) == 0 {
		u.in = nil
		var b [8]byte
		_, _ = unix.Read(u.fd, b[:])
	}
	u.mu.Unlock()
	u.calls = append(u.calls, n)
	for _, f := range batch {
		sink.Frame(f.vtep, f.payload)
	}
	return n
}

func (u *fakeUnderlay) Reserve(dst netip.Addr, _ uint32, n int) []byte {
	u.dst, u.n = dst, n
	return u.room[:n]
}

func (u *fakeUnderlay) Commit() {
	u.sent++
	if !u.discard {
		u.out = append(u.out, frame{u.dst, bytes.Clone(u.room[:u.n])})
	}
}

func (u *fakeUnderlay) Flush() (more bool) {
	u.flushes++
	return u.flushes <= u.unflushed
}

func (u *fakeUnderlay) FD() int { return u.fd }
func (u *fakeUnderlay) Close() error {
	if u.fd < 0 {
		return nil
	}
	err := unix.Close(u.fd)
	u.fd = -1
	return err
}

// taken returns what was sent and forgets it.
func (u *fakeUnderlay) taken() []frame {
	out := u.out
	u.out = nil
	return out
}

// delivery is a packet that an engine was given.
type delivery struct {
	packet   []byte
	verified bool
}

// outgoing is a packet that an engine has to send.
type outgoing struct {
	dst    netip.Addr
	packet []byte
}

// fakeEngine is an engine without TCP: it keeps what it is given and sends what
// it is told to. Its hooks run at the start of the methods of that name.
type fakeEngine struct {
	ring func() // the worker's doorbell

	onDeliver, onEndBurst, onTransmit, onPoll, onUndeliverable, onOpen, onStop func()

	got       []delivery
	keep      bool // keep packets in got
	delivered int
	bursts    int
	turns     int // calls of Poll
	out       []outgoing
	paths     []stream.Path // of what was sent
	always    bool          // Transmit uses its whole budget up
	back      [][]byte      // undeliverable
	stops     atomic.Int32
	dead      bool
	over      bool // it panicked: nobody may call it any more
	late      int  // who did
	handle    stream.Handle
	work      atomic.Int32 // given by other goroutines
	rung      chan struct{}
}

// enter begins every call that a dead engine must not see.
func (e *fakeEngine) enter(hook func()) {
	if e.over {
		e.late++
	}
	if hook != nil {
		hook()
	}
}

func (e *fakeEngine) Deliver(p []byte, verified bool) {
	e.enter(e.onDeliver)
	e.delivered++
	if e.keep {
		e.got = append(e.got, delivery{bytes.Clone(p), verified})
	}
}

func (e *fakeEngine) EndBurst() { e.enter(e.onEndBurst); e.bursts++ }

func (e *fakeEngine) Transmit(out stream.Output, budget int) (n int) {
	e.enter(e.onTransmit)
	if e.always {
		return budget
	}
	for n < budget && len(e.out) > 0 {
		p := e.out[0]
		e.out = e.out[1:]
		path := out.Open(p.dst, 1)
		e.paths = append(e.paths, path)
		if path.Max >= len(p.packet) {
			copy(out.Frame(len(p.packet)), p.packet)
			out.Commit()
		}
		n++
	}
	return n
}

func (e *fakeEngine) Undeliverable(p []byte) {
	e.enter(e.onUndeliverable)
	e.back = append(e.back, bytes.Clone(p))
}

func (e *fakeEngine) Poll(stream.Events, int) bool {
	e.enter(e.onPoll)
	e.turns++
	return false
}

func (e *fakeEngine) Busy() bool {
	e.enter(nil)
	return e.always || len(e.out) > 0
}

func (e *fakeEngine) Open(stream.Family, uint64) (stream.Handle, syscall.Errno) {
	e.enter(e.onOpen)
	e.handle++
	return e.handle, 0
}

func (e *fakeEngine) Stop(stream.Output) {
	if e.onStop != nil {
		e.onStop()
	}
	e.stops.Add(1)
}
func (e *fakeEngine) Dead() (string, bool)             { return "told so", e.dead }
func (e *fakeEngine) send(o outgoing)                  { e.out = append(e.out, o) }
func (e *fakeEngine) Close(stream.Handle)              { e.enter(nil) }
func (e *fakeEngine) Abort(stream.Handle)              { e.enter(nil) }
func (e *fakeEngine) TxReady(stream.Handle)            { e.enter(nil) }
func (e *fakeEngine) RxRoom(stream.Handle)             { e.enter(nil) }
func (e *fakeEngine) notify()                          { e.work.Add(1); e.ring() }
func (e *fakeEngine) lastPath() stream.Path            { return e.paths[len(e.paths)-1] }
func (e *fakeEngine) taken() (d []delivery)            { d, e.got = e.got, nil; return d }
func (e *fakeEngine) Info(stream.Handle, *stream.Info) { e.enter(nil) }

func (e *fakeEngine) Bind(stream.Handle, netip.AddrPort) syscall.Errno { return 0 }
func (e *fakeEngine) Listen(stream.Handle, int) syscall.Errno          { return 0 }
func (e *fakeEngine) Accept(stream.Handle, uint64) (stream.Handle, syscall.Errno) {
	return 0, unix.EAGAIN
}

func (e *fakeEngine) Connect(stream.Handle, netip.AddrPort) syscall.Errno { return unix.EINPROGRESS }
func (e *fakeEngine) Attach(stream.Handle, *stream.Pair)                  {}
func (e *fakeEngine) Shutdown(stream.Handle, stream.How) syscall.Errno    { return 0 }
func (e *fakeEngine) Local(stream.Handle) netip.AddrPort {
	return netip.AddrPortFrom(netip.IPv4Unspecified(), 0)
}

func (e *fakeEngine) Remote(stream.Handle) (netip.AddrPort, syscall.Errno) {
	return netip.AddrPort{}, unix.ENOTCONN
}
func (e *fakeEngine) SetOption(stream.Handle, stream.Option, int) syscall.Errno { return 0 }
func (e *fakeEngine) Option(stream.Handle, stream.Option) (int, syscall.Errno)  { return 0, 0 }

// member is a container of the test's daemon.
type member struct {
	*Shard
	n       byte // the last byte of its addresses
	engines []*fakeEngine
	setup   func(*fakeEngine) // for each engine made
	refuse  func() error      // in the place of making one
}

// eng is the engine in force.
func (m *member) eng() *fakeEngine { return m.engines[len(m.engines)-1] }

func mac(n byte) wire.MAC   { return wire.MAC{2, 0, 0, 0, 0, n} }
func ip4(n byte) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, n}) }
func ip6(n byte) netip.Addr { return netip.AddrFrom16([16]byte{0: 0xfd, 15: n}) }

// world is a group of workers on fake underlays. The test calls turn, or runs
// the group.
type world struct {
	t       testing.TB
	group   *Group
	workers []*Worker
	wires   []*fakeUnderlay
	fib     fib.Table
	members []*member
	vteps   []netip.Addr
	learn   bool
	hosts   []fib.Host
}

func newWorld(t testing.TB, workers int, change ...func(*Config)) *world {
	w := &world{t: t, vteps: []netip.Addr{peer1, peer2}}
	cfg := Config{VTEP: ownVTEP, FIB: &w.fib, RingBytes: 16 << 20, Log: slog.New(slog.DiscardHandler)}
	for range workers {
		u := newFakeUnderlay(t)
		w.wires = append(w.wires, u)
		cfg.Underlays = append(cfg.Underlays, u)
		cfg.Stats = append(cfg.Stats, &stat.Block{})
	}
	w.hosts = []fib.Host{{IP: ip4(200), MAC: farMAC, VTEP: peer1}}
	for _, f := range change {
		f(&cfg)
	}
	var err error
	if w.group, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.group.Close)
	w.workers = w.group.Workers()
	return w
}

// add puts a container with addresses ending in n on a worker.
func (w *world) add(worker int, n byte, setup ...func(*fakeEngine)) *member {
	w.t.Helper()
	m := &member{n: n, setup: func(e *fakeEngine) {
		e.keep = true
		for _, f := range setup {
			f(e)
		}
	}}
	var err error
	if m.Shard, err = w.workers[worker].AddShard(w.shardConfig(m)); err != nil {
		w.t.Fatal(err)
	}
	w.members = append(w.members, m)
	w.store()
	return m
}

func (w *world) shardConfig(m *member) ShardConfig {
	return ShardConfig{
		Name: fmt.Sprintf("c%d", m.n), VNI: testVNI, MAC: mac(m.n), MTU: testMTU,
		Addrs:      []netip.Prefix{netip.PrefixFrom(ip4(m.n), 24), netip.PrefixFrom(ip6(m.n), 64)},
		MaxSockets: 16, RingBytes: 1 << 20,
		NewEngine: func(_ *stat.Block, doorbell func()) (stream.Engine, error) {
			if m.refuse != nil {
				return nil, m.refuse()
			}
			e := &fakeEngine{ring: doorbell}
			m.setup(e)
			m.engines = append(m.engines, e)
			return e, nil
		},
	}
}

// store puts a forwarding snapshot of all members in force.
func (w *world) store() {
	w.t.Helper()
	n := fib.Network{VNI: testVNI, Name: "net", VTEPs: w.vteps, Hosts: w.hosts, Learn: w.learn}
	for _, m := range w.members {
		n.Members = append(n.Members, fib.Member{MAC: m.mac, Port: fib.Port{
			Worker: int32(m.Worker().Index()), Index: m.Index(),
		}})
	}
	s, err := fib.New([]fib.Network{n}, w.fib.Load())
	if err != nil {
		w.t.Fatal(err)
	}
	w.fib.Store(s)
}

// turn turns every worker n times, in order.
func (w *world) turn(n int) {
	for range n {
		for _, x := range w.workers {
			x.turn(0)
		}
	}
}

// later makes d pass.
func (w *world) later(d time.Duration) {
	w.group.epoch = w.group.epoch.Add(-d)
	for _, x := range w.workers {
		x.epoch = w.group.epoch
	}
}

// counts sums every block of the daemon.
func (w *world) counts() stat.Snapshot {
	var all []*stat.Block
	for _, x := range w.workers {
		x.stat.Publish()
		all = append(all, x.stat)
	}
	for _, m := range w.members {
		m.stat.Publish()
		all = append(all, &m.stat)
	}
	return stat.Read(all...)
}

// drops returns how often each reason was counted since the given snapshot.
func (w *world) drops(since stat.Snapshot) map[string]uint64 {
	now := w.counts().Drops
	for name, n := range since.Drops {
		if now[name] -= n; now[name] == 0 {
			delete(now, name)
		}
	}
	return now
}

// encap makes an encapsulated frame.
func encap(vni uint32, dst, src wire.MAC, etherType uint16, packet []byte) []byte {
	b := make([]byte, wire.VXLANLen+wire.EthernetLen+len(packet))
	wire.PutVXLAN(b, vni)
	wire.PutEthernet(b[wire.VXLANLen:], dst, src, etherType)
	copy(b[wire.VXLANLen+wire.EthernetLen:], packet)
	return b
}

// packet4 makes an IPv4 packet of an experimental protocol (RFC 3692).
func packet4(src, dst netip.Addr, payload string) []byte {
	b := make([]byte, wire.IPv4Len+len(payload))
	wire.PutIPv4(b, src, dst, 253, 64, len(payload))
	copy(b[wire.IPv4Len:], payload)
	return b
}

func packet6(src, dst netip.Addr, payload string) []byte {
	b := make([]byte, wire.IPv6Len+len(payload))
	wire.PutIPv6(b, src, dst, 253, 64, len(payload))
	copy(b[wire.IPv6Len:], payload)
	return b
}

// arp makes an ARP packet.
func arp(op uint16, sha wire.MAC, spa netip.Addr, tha wire.MAC, tpa netip.Addr) []byte {
	b := make([]byte, wire.ARPLen)
	wire.PutARP(b, op, sha, spa, tha, tpa)
	return b
}

// app is the application's side of one attach socket.
type app struct {
	t      testing.TB
	attach int
	cookie uint64
}

// attachTo attaches a fake application to a container. It runs before Run, or
// the caller turns the workers.
func attachTo(t testing.TB, m *member) *app {
	p := socketpair(t, unix.SOCK_SEQPACKET)
	m.Set().Adopt(p[1], 1, 0, 0)
	return &app{t: t, attach: p[0], cookie: uint64(p[0]) << 32}
}

// socketpair makes a pair whose first end is closed with the test; the second
// is given away.
func socketpair(t testing.TB, kind int) [2]int {
	p, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(p[0]) })
	return p
}

// ask sends the request for a socket and returns the socket's end and the one
// the answer comes to.
func (a *app) ask() (sock, reply int) {
	s, r := socketpair(a.t, unix.SOCK_STREAM), socketpair(a.t, unix.SOCK_SEQPACKET)
	a.cookie++
	req := shm.Request{Magic: shm.Magic, Op: shm.OpSocket, Family: unix.AF_INET, Cookie: a.cookie}
	if err := unix.Sendmsg(a.attach, shm.RequestBytes(&req), unix.UnixRights(r[1], s[1]), nil, 0); err != nil {
		a.t.Fatal(err)
	}
	_, _ = unix.Close(r[1]), unix.Close(s[1])
	return s[0], r[0]
}

// answer reads the answer to a request; ok says that there is one.
func (a *app) answer(reply int) (e syscall.Errno, ok bool) {
	var r shm.Reply
	n, err := unix.Read(reply, shm.ReplyBytes(&r))
	return syscall.Errno(r.Error), err == nil && n == shm.SizeofReply
}

// gone reports whether the daemon closed its end of a socket.
func (a *app) gone(sock int) bool {
	p := []unix.PollFd{{Fd: int32(sock)}}
	n, err := unix.Poll(p, 0)
	return err == nil && n == 1 && p[0].Revents&unix.POLLHUP != 0
}
