// SPDX-License-Identifier: Apache-2.0

package tcpsim

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"gvisor.dev/gvisor/pkg/buffer"
	gvlog "gvisor.dev/gvisor/pkg/log"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"

	"netcon/dataplane/stream"
)

// gvHost is a host that is gVisor's netstack. Everything happens between two
// calls of settle, one thing at a time.
type gvHost struct {
	w     *world
	at    int
	s     *stack.Stack
	clock *gvClock
	link  *channel.Endpoint
	proto tcpip.NetworkProtocolNumber
	socks []*sock
	news  bool
}

// gvSock is a socket of gVisor.
type gvSock struct {
	ep     tcpip.Endpoint
	wq     *waiter.Queue
	listen bool
	full   time.Duration // when a write found no room
}

// randomness is a source of random numbers that a seed determines.
type randomness struct {
	mu sync.Mutex
	r  *rand.PCG
}

// Int63, Uint64 and Seed implement rand.Source of math/rand.
func (r *randomness) Int63() int64 { return int64(r.Uint64() >> 1) }

func (r *randomness) Uint64() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.r.Uint64()
}

// Seed implements rand.Source: the seed stays.
func (r *randomness) Seed(int64) {}

// Read implements io.Reader.
func (r *randomness) Read(p []byte) (int, error) {
	var b [8]byte
	for i := range p {
		if i%8 == 0 {
			binary.LittleEndian.PutUint64(b[:], r.Uint64())
		}
		p[i] = b[i%8]
	}
	return len(p), nil
}

var _ io.Reader = (*randomness)(nil)

var silence = sync.OnceFunc(func() { gvlog.SetTarget(&gvlog.MultiEmitter{}) })

func newGVisorHost(w *world, at int) (*gvHost, error) {
	silence()
	rnd := &randomness{r: rand.NewPCG(w.plan.seed, 0x67766973+uint64(at))}
	h := &gvHost{w: w, at: at, clock: &gvClock{}, proto: ipv4.ProtocolNumber}
	h.link = channel.New(4096, uint32(w.plan.mtu), "")
	h.s = stack.New(stack.Options{
		NetworkProtocols: []stack.NetworkProtocolFactory{
			ipv4.NewProtocolWithOptions(ipv4.Options{}), ipv6.NewProtocolWithOptions(ipv6.Options{}),
		},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol},
		Clock:              h.clock,
		RandSource:         rnd,
		SecureRNG:          rnd,
	})
	var (
		sack     = tcpip.TCPSACKEnabled(true)
		recovery = tcpip.TCPRecovery(0)
		nagle    = tcpip.TCPDelayEnabled(true)
	)
	for _, o := range []tcpip.SettableTransportProtocolOption{&sack, &recovery, &nagle} {
		if e := h.s.SetTransportProtocolOption(tcp.ProtocolNumber, o); e != nil {
			return nil, fmt.Errorf("gVisor: set %T: %s", o, e)
		}
	}
	if e := h.s.CreateNIC(1, h.link); e != nil {
		return nil, fmt.Errorf("gVisor: create interface: %s", e)
	}
	bits := 24
	if w.plan.v6 {
		h.proto, bits = ipv6.ProtocolNumber, 64
	}
	pa := tcpip.ProtocolAddress{
		Protocol:          h.proto,
		AddressWithPrefix: tcpip.AddressWithPrefix{Address: tcpip.AddrFromSlice(w.plan.addr(at).AsSlice()), PrefixLen: bits},
	}
	if e := h.s.AddProtocolAddress(1, pa, stack.AddressProperties{}); e != nil {
		return nil, fmt.Errorf("gVisor: add address: %s", e)
	}
	h.s.SetRouteTable([]tcpip.Route{{Destination: pa.AddressWithPrefix.Subnet(), NIC: 1}})
	return h, nil
}

// settle waits until gVisor's goroutines have nothing to do: a processor parks
// only when no endpoint is queued.
func (h *gvHost) settle() {
	h.s.Pause()
	h.s.Resume()
	h.news = true
}

func (h *gvHost) advance(now time.Duration) {
	for {
		f := h.clock.due(now)
		if f == nil {
			return
		}
		f()
		h.settle()
	}
}

func (h *gvHost) next() time.Duration { return h.clock.next() }

func (h *gvHost) deliver(packet []byte, _ bool) {
	pk := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(packet)})
	h.link.InjectInbound(h.proto, pk)
	pk.DecRef()
	h.settle()
}

func (h *gvHost) endBurst() {}

func (h *gvHost) transmit() {
	for {
		pk := h.link.Read()
		if pk == nil {
			return
		}
		v := pk.ToView()
		p := h.w.buffer(v.Size())
		copy(p, v.AsSlice())
		v.Release()
		pk.DecRef()
		h.w.sent(h.at, p)
	}
}

func (h *gvHost) busy() bool { return h.news || h.link.NumQueued() > 0 }

// poll looks at every socket.
func (h *gvHost) poll(func(*user) error) error {
	h.news = false
	for _, s := range h.socks {
		if s.dead {
			continue
		}
		before := *s
		m := s.gv.ep.Readiness(waiter.EventIn | waiter.EventOut | waiter.EventHUp | waiter.EventErr)
		if s.gv.listen {
			s.acceptable = m&waiter.EventIn != 0
		} else {
			h.look(s, m)
		}
		if *s != before {
			s.u.wake = h.w.now
		}
	}
	return nil
}

func (h *gvHost) look(s *sock, m waiter.EventMask) {
	switch st := tcp.EndpointState(s.gv.ep.State()); st {
	case tcp.StateEstablished, tcp.StateFinWait1, tcp.StateFinWait2, tcp.StateCloseWait, tcp.StateClosing, tcp.StateLastAck,
		tcp.StateTimeWait, tcp.StateClose:
		s.established = true
	case tcp.StateError:
		if s.failed == 0 {
			s.failed = errnoOf(s.gv.ep.LastError())
			s.readable = true
		}
		return
	default:
		return
	}
	s.readable = s.readable || m&(waiter.EventIn|waiter.EventHUp) != 0
	s.writable = s.writable || m&waiter.EventOut != 0 && s.gv.full < h.w.now
}

// errnoOf names the errors that end a connection.
func errnoOf(e tcpip.Error) syscall.Errno {
	switch e.(type) {
	case nil:
		return 0
	case *tcpip.ErrConnectionRefused:
		return syscall.ECONNREFUSED
	case *tcpip.ErrConnectionReset, *tcpip.ErrConnectionAborted:
		return syscall.ECONNRESET
	case *tcpip.ErrTimeout:
		return syscall.ETIMEDOUT
	case *tcpip.ErrConnectStarted:
		return syscall.EINPROGRESS
	case *tcpip.ErrWouldBlock:
		return syscall.EAGAIN
	case *tcpip.ErrHostUnreachable:
		return syscall.EHOSTUNREACH
	}
	return syscall.EIO
}

func (h *gvHost) add(u *user, g *gvSock) *sock {
	s := &sock{u: u, gv: g}
	h.socks = append(h.socks, s)
	return s
}

func (h *gvHost) open(u *user) (*sock, syscall.Errno) {
	g := &gvSock{wq: &waiter.Queue{}, full: -1}
	var e tcpip.Error
	if g.ep, e = h.s.NewEndpoint(tcp.ProtocolNumber, h.proto, g.wq); e != nil {
		return nil, errnoOf(e)
	}
	return h.add(u, g), 0
}

func full(a netip.AddrPort) tcpip.FullAddress {
	return tcpip.FullAddress{Addr: tcpip.AddrFromSlice(a.Addr().AsSlice()), Port: a.Port()}
}

func (h *gvHost) bind(s *sock, local netip.AddrPort) syscall.Errno {
	return errnoOf(s.gv.ep.Bind(full(local)))
}

func (h *gvHost) listen(s *sock, backlog int) syscall.Errno {
	s.gv.listen = true
	return errnoOf(s.gv.ep.Listen(backlog))
}

func (h *gvHost) accept(l *sock, u *user) (*sock, syscall.Errno) {
	ep, wq, e := l.gv.ep.Accept(nil)
	h.settle()
	if e != nil {
		return nil, errnoOf(e)
	}
	return h.add(u, &gvSock{ep: ep, wq: wq, full: -1}), 0
}

func (h *gvHost) connect(s *sock, remote netip.AddrPort) syscall.Errno {
	errno := errnoOf(s.gv.ep.Connect(full(remote)))
	h.settle()
	return errno
}

// attach does nothing: gVisor has buffers of its own.
func (h *gvHost) attach(*sock, int, int, bool) {}

func (h *gvHost) write(s *sock, p []byte) int {
	n, _ := s.gv.ep.Write(bytes.NewReader(p), tcpip.WriteOptions{Atomic: true})
	h.settle()
	if int(n) < len(p) {
		// It may say that there is room all the same.
		s.gv.full = h.w.now
	}
	return int(n)
}

// limited is a buffer as an io.Writer.
type limited struct {
	b []byte
	n int
}

// Write implements io.Writer.
func (l *limited) Write(p []byte) (int, error) {
	n := copy(l.b[l.n:], p)
	l.n += n
	if n < len(p) {
		return n, io.ErrShortWrite
	}
	return n, nil
}

func (h *gvHost) read(s *sock, p []byte) (int, bool) {
	l := limited{b: p}
	r, e := s.gv.ep.Read(&l, tcpip.ReadOptions{})
	h.settle()
	if _, ok := e.(*tcpip.ErrClosedForReceive); ok {
		return 0, true
	}
	return r.Count, false
}

func (h *gvHost) shutdown(s *sock, _ bool) {
	s.gv.ep.Shutdown(tcpip.ShutdownWrite)
	h.settle()
}

func (h *gvHost) acked(*sock) bool { return true }

func (h *gvHost) close(s *sock) {
	s.dead = true
	s.gv.ep.Close()
	h.settle()
}

// lie is not for gVisor: plan.extremes.
func (h *gvHost) lie(*sock) {}

func (h *gvHost) abort(s *sock) {
	s.dead = true
	s.gv.ep.Abort()
	h.settle()
}

// setOption sets options that gVisor has. TCP_CORK is not one of them: after it
// was switched a few times gVisor retransmits other bytes than it sent.
func (h *gvHost) setOption(s *sock, o stream.Option, v int) {
	so := s.gv.ep.SocketOptions()
	switch o {
	case stream.OptNoDelay:
		so.SetDelayOption(v == 0)
	case stream.OptLinger:
		so.SetLinger(tcpip.LingerOption{Enabled: v >= 0, Timeout: time.Duration(max(v, 0)) * second})
	}
	h.settle()
}

func (h *gvHost) undeliverable([]byte) {}

func (h *gvHost) ask(*sock, stream.Option) {}

func (h *gvHost) local(s *sock) netip.AddrPort {
	a, e := s.gv.ep.GetLocalAddress()
	if e != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(h.w.plan.addr(h.at), a.Port)
}

func (h *gvHost) remote(s *sock) (netip.AddrPort, syscall.Errno) {
	a, e := s.gv.ep.GetRemoteAddress()
	if e != nil {
		return netip.AddrPort{}, syscall.ENOTCONN
	}
	return netip.AddrPortFrom(h.w.plan.addr(1-h.at), a.Port), 0
}

func (h *gvHost) touch() {}

func (h *gvHost) check() error { return nil }

func (h *gvHost) rest() error { return nil }

func (h *gvHost) stop() {
	h.s.Close()
	h.advance(h.clock.now)
	h.s.Destroy()
}
