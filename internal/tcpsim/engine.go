// SPDX-License-Identifier: Apache-2.0

package tcpsim

import (
	"fmt"
	"math/bits"
	"net/netip"
	"syscall"
	"time"

	"netcon/dataplane/stream"
)

// engineHost is a host that is a stream.Clocked.
type engineHost struct {
	w      *world
	at     int
	e      stream.Clocked
	end    End
	path   stream.Path
	socks  []*sock // by user word
	frame  []byte
	inline bool
	act    func(*user) error
	err    error
	dirty  bool // something was done since the last check
}

func newEngineHost(w *world, at int) (*engineHost, error) {
	p := &w.plan.hosts[at]
	ec := End{
		Name: string(rune('A' + at)), Addr: netip.PrefixFrom(w.plan.addr(at), 24), MTU: w.plan.mtu, Variant: p.variant, Cookies: p.cookies,
		Peer: w.plan.hosts[1-at].gvisor, Connections: 64,
	}
	if w.plan.want[Crowd] {
		ec.Connections += 2 * len(w.plan.conns)
		ec.Crowd = true
	}
	if w.plan.v6 {
		ec.Addr = netip.PrefixFrom(w.plan.addr(at), 64)
	}
	for i := range ec.Seed {
		ec.Seed[i] = byte(w.plan.seed>>(i%8*8)) + byte(i*7+at)
	}
	e, err := w.cfg.New(ec)
	if err != nil {
		return nil, fmt.Errorf("host %s: %w", ec.Name, err)
	}
	return &engineHost{w: w, at: at, e: e, end: ec, path: w.plan.path(), inline: p.inline}, nil
}

func (h *engineHost) advance(now time.Duration) {
	h.dirty = h.dirty || now >= h.e.Next()
	h.e.Advance(now)
}

func (h *engineHost) next() time.Duration { return h.e.Next() }
func (h *engineHost) deliver(packet []byte, verified bool) {
	h.dirty = true
	h.e.Deliver(packet, verified)
}

func (h *engineHost) endBurst() {
	h.dirty = true
	h.e.EndBurst()
}

func (h *engineHost) busy() bool { return h.e.Busy() }

func (h *engineHost) poll(act func(*user) error) error {
	h.act, h.err = act, nil
	for i := 0; h.e.Poll(h, 8); i++ {
		if i == 10_000 {
			return fmt.Errorf("host %d: Poll reports without end", h.at)
		}
	}
	return h.err
}

func (h *engineHost) transmit() {
	for h.e.Transmit(h, 16) == 16 && h.w.err == nil {
	}
}

// Open implements stream.Output.
func (h *engineHost) Open(dst netip.Addr, _ uint32) stream.Path {
	if dst != h.w.plan.addr(1-h.at) {
		h.w.fail(fmt.Errorf("host %d sends to %v", h.at, dst))
		return stream.Path{}
	}
	return h.path
}

// Frame implements stream.Output.
func (h *engineHost) Frame(n int) []byte {
	if n <= 0 || n > h.path.Max {
		h.w.fail(fmt.Errorf("host %d asks for a frame of %d bytes", h.at, n))
		n = min(max(n, 0), 65535)
	}
	h.frame = h.w.buffer(n)
	return h.frame
}

// Commit implements stream.Output.
func (h *engineHost) Commit() {
	h.dirty = true
	h.w.sent(h.at, h.frame)
}

// event finds the socket that an event is for.
func (h *engineHost) event(user uint64, what string) *sock {
	h.dirty = true
	if user >= uint64(len(h.socks)) || h.socks[user].dead {
		h.err = fmt.Errorf("%s for socket %d, which is closed or never was", what, user)
		return nil
	}
	return h.socks[user]
}

func (h *engineHost) told(s *sock) {
	if h.err == nil && h.inline {
		h.err = h.act(s.u)
	} else {
		s.u.wake = min(s.u.wake, h.w.now)
	}
}

// Established implements stream.Events.
func (h *engineHost) Established(user uint64) {
	if s := h.event(user, "Established"); s != nil {
		if s.established {
			h.err = fmt.Errorf("Established twice")
		}
		s.established = true
		h.told(s)
	}
}

// Failed implements stream.Events.
func (h *engineHost) Failed(user uint64, errno syscall.Errno) {
	if s := h.event(user, "Failed"); s != nil {
		if s.failed != 0 || errno == 0 {
			h.err = fmt.Errorf("Failed with %v after %v", errno, s.failed)
		}
		s.failed = errno
		s.readable = true
		h.told(s)
	}
}

// Acceptable implements stream.Events.
func (h *engineHost) Acceptable(user uint64) {
	if s := h.event(user, "Acceptable"); s != nil {
		s.acceptable = true
		h.told(s)
	}
}

// Readable implements stream.Events.
func (h *engineHost) Readable(user uint64) {
	if s := h.event(user, "Readable"); s != nil {
		s.readable = true
		h.told(s)
	}
}

// Writable implements stream.Events.
func (h *engineHost) Writable(user uint64) {
	if s := h.event(user, "Writable"); s != nil {
		s.writable = true
		h.told(s)
	}
}

func (h *engineHost) add(u *user) (*sock, uint64) {
	s := &sock{u: u}
	h.socks = append(h.socks, s)
	return s, uint64(len(h.socks) - 1)
}

func (h *engineHost) open(u *user) (*sock, syscall.Errno) {
	s, id := h.add(u)
	family := stream.IPv4
	if h.w.plan.v6 {
		family = stream.IPv6
	}
	var errno syscall.Errno
	s.h, errno = h.e.Open(family, id)
	return s, errno
}

func (h *engineHost) bind(s *sock, local netip.AddrPort) syscall.Errno { return h.e.Bind(s.h, local) }

func (h *engineHost) listen(s *sock, backlog int) syscall.Errno { return h.e.Listen(s.h, backlog) }

func (h *engineHost) accept(l *sock, u *user) (*sock, syscall.Errno) {
	s, id := h.add(u)
	var errno syscall.Errno
	if s.h, errno = h.e.Accept(l.h, id); errno != 0 {
		h.socks = h.socks[:id]
		return nil, errno
	}
	return s, 0
}

func (h *engineHost) connect(s *sock, remote netip.AddrPort) syscall.Errno {
	return h.e.Connect(s.h, remote)
}

// attach gives the socket rings of the given sizes; lazy ones get memory for Rx
// when something waits for it.
func (h *engineHost) attach(s *sock, tx, rx int, lazy bool) {
	p := &stream.Pair{}
	p.Init()
	if s.u.plan.end == endBreak {
		// An application that shares the words with the engine.
		s.words = new([2]stream.Cursors)
		p.Tx.InitShared(&s.words[0], h.w.ring(tx))
		s.stale = new(stream.Ring)
		s.stale.InitShared(&s.words[0], make([]byte, 1))
		p.Rx.InitShared(&s.words[1], h.w.ring(rx))
	} else {
		p.Tx.Attach(h.w.ring(tx))
		if !lazy {
			p.Rx.Attach(h.w.ring(rx))
		}
	}
	s.pair = p
	h.e.Attach(s.h, p)
}

func (h *engineHost) write(s *sock, b []byte) int {
	first, second := s.pair.Tx.Reserve()
	n := copy(first, b)
	n += copy(second, b[n:])
	if n > 0 {
		s.pair.Tx.Publish(n)
		h.e.TxReady(s.h)
	}
	return n
}

func (h *engineHost) read(s *sock, b []byte) (int, bool) {
	p := s.pair
	if !p.Rx.Attached() {
		p.Rx.Attach(h.w.ring(s.u.plan.rxRing))
		h.e.RxRoom(s.h)
	}
	eof := p.RxEOF.Load() // before the bytes: they come first
	first, second := p.Rx.Peek()
	n := copy(b, first)
	n += copy(b[n:], second)
	if n > 0 {
		p.Rx.Release(n)
		// What lies behind is not the engine's to read again.
		h.e.RxRoom(s.h)
		return n, false
	}
	if s.u.plan.lazy && !eof && s.u.rnd.IntN(2) == 0 {
		if m := p.Rx.Detach(); m != nil {
			h.w.freeRing(m)
			// Bytes that came in between are reported again.
		}
	}
	return 0, eof
}

func (h *engineHost) shutdown(s *sock, viaEOF bool) {
	if viaEOF {
		s.pair.TxEOF.Store(true)
		h.e.TxReady(s.h)
		return
	}
	// ENOTCONN: it has died, and Failed will say so.
	if errno := h.e.Shutdown(s.h, stream.ShutWrite); errno != 0 && errno != syscall.ENOTCONN {
		h.w.fail(fmt.Errorf("%s: shutdown: %v", s.u.name, errno))
	}
}

// acked: bytes stay in the ring until they are acknowledged.
func (h *engineHost) acked(s *sock) bool { return s.pair.Tx.Len() == 0 }

func (h *engineHost) close(s *sock) {
	h.e.Close(s.h)
	h.bury(s)
}

func (h *engineHost) abort(s *sock) {
	h.e.Abort(s.h)
	h.bury(s)
}

// bury takes everything away from a closed socket that the engine must not use
// any more, and spoils it.
func (h *engineHost) bury(s *sock) {
	s.dead = true
	if p := s.pair; p != nil {
		for _, r := range []*stream.Ring{&p.Tx, &p.Rx} {
			if m := r.Discard(); m != nil {
				h.w.freeRing(m)
			}
		}
		s.pair = nil
	}
}

func (h *engineHost) lie(s *sock) {
	p := s.pair
	what := s.u.plan.lie
	if what == lieTxBack && s.u.sent < 2 {
		what = lieTxBeyond
	}
	var r stream.Ring // the same words, with more room than there is
	switch what {
	case lieTxBeyond:
		r.InitShared(&s.words[0], make([]byte, 2*p.Tx.Cap()))
		r.Publish(p.Tx.Cap() - p.Tx.Len() + 1 + s.u.rnd.IntN(p.Tx.Cap()-1))
		h.e.TxReady(s.h)
	case lieTxBack:
		s.stale.Publish(1) // of two at least
		h.e.TxReady(s.h)
	case lieRxBeyond:
		r.InitShared(&s.words[1], make([]byte, 2*p.Rx.Cap()))
		r.Publish(1 + s.u.rnd.IntN(p.Rx.Cap()))
		r.Release(r.Len())
		h.e.RxRoom(s.h)
	}
}

func (h *engineHost) setOption(s *sock, o stream.Option, v int) {
	errno := h.e.SetOption(s.h, o, v)
	if errno != 0 && s.failed == 0 {
		h.w.fail(fmt.Errorf("%s: option %d = %d: %v", s.u.name, o, v, errno))
	}
}

func (h *engineHost) undeliverable(packet []byte) {
	h.dirty = true
	h.e.Undeliverable(packet)
}

// ask wants sane answers and no effect.
func (h *engineHost) ask(s *sock, o stream.Option) {
	if _, errno := h.e.Option(s.h, o); errno != 0 && errno != syscall.ENOPROTOOPT && s.failed == 0 {
		h.w.fail(fmt.Errorf("%s: option %d: %v", s.u.name, o, errno))
	}
	var i stream.Info
	h.e.Info(s.h, &i)
	if i.State == 0 || i.State > 12 {
		h.w.fail(fmt.Errorf("%s: Info says state %d", s.u.name, i.State))
	}
}

func (h *engineHost) local(s *sock) netip.AddrPort { return h.e.Local(s.h) }

func (h *engineHost) remote(s *sock) (netip.AddrPort, syscall.Errno) { return h.e.Remote(s.h) }

func (h *engineHost) touch() { h.dirty = true }

func (h *engineHost) check() error {
	if h.w.cfg.Check == nil || !h.dirty {
		return nil
	}
	h.dirty = false
	return h.w.cfg.Check(h.e)
}

func (h *engineHost) rest() error {
	if next := h.e.Next(); next != never {
		return fmt.Errorf("host %d still waits for a timer at %v", h.at, next)
	}
	if h.w.cfg.Records == nil {
		return nil
	}
	if n := h.w.cfg.Records(h.e); n != 0 {
		return fmt.Errorf("host %d still has %d records", h.at, n)
	}
	return nil
}

func (h *engineHost) stop() { h.e.Stop(nil) }

// junk is what memory is overwritten with that a stack must not use any more.
var junk = func() (b [4096]byte) {
	for i := range b {
		b[i] = byte(0x80 | i*7)
	}
	return b
}()

// ring returns memory of a size, a power of two, and freeRing takes it back and
// overwrites it.
func (w *world) ring(n int) []byte {
	list := &w.mem.rings[bits.TrailingZeros(uint(n))]
	if k := len(*list); k > 0 {
		m := (*list)[k-1]
		*list = (*list)[:k-1]
		return m
	}
	return make([]byte, n)
}

func (w *world) freeRing(m []byte) {
	for b := m; len(b) > 0; {
		b = b[copy(b, junk[:]):]
	}
	list := &w.mem.rings[bits.TrailingZeros(uint(len(m)))]
	*list = append(*list, m)
}
