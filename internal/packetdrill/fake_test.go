// SPDX-License-Identifier: Apache-2.0

package packetdrill

import (
	"errors"
	"math"
	"net/netip"
	"syscall"
	"time"

	"netcon/dataplane/stream"
	"netcon/dataplane/wire"
)

// fake is just enough of a TCP to test the runner: one listener or one active
// open, one connection, no losses. It acknowledges at once, sends what is
// written in segments of 1,000 bytes, and 1.5 s after its last segment sends an
// empty one as a timer would.
type fake struct {
	now, timer time.Duration
	user       uint64
	listener   stream.Handle
	accepted   bool
	arrived    bool // somebody waits to be accepted
	pair       *stream.Pair
	local      netip.AddrPort
	remote     netip.AddrPort
	iss, irs   uint32
	nxt, una   uint32
	rcv        uint32
	stamps     bool
	echo       uint32
	out        []*segment
	events     []func(stream.Events)

	// What a broken machine does.
	spoil func(b []byte)
	busy  bool
	stuck bool
}

const fakeISS = 7777

func (f *fake) reply(flags uint16, seq, ack uint32, payload []byte) {
	s := &segment{src: f.local, dst: f.remote, ttl: 64, flags: flags, seq: seq, ack: ack, win: 65535, payload: payload}
	if flags&wire.TCPSyn != 0 {
		s.opts = append(s.opts, TCPOption{optMSS, []byte{5, 180}})
	}
	if f.stamps {
		ms := uint32(f.now.Milliseconds())
		s.opts = append(s.opts, TCPOption{Kind: optNOP}, TCPOption{Kind: optNOP}, TCPOption{optTimestamp, []byte{
			byte(ms >> 24), byte(ms >> 16), byte(ms >> 8), byte(ms),
			byte(f.echo >> 24), byte(f.echo >> 16), byte(f.echo >> 8), byte(f.echo),
		}})
	}
	f.out = append(f.out, s)
	f.timer = f.now + 1500*time.Millisecond
}

func (f *fake) Deliver(packet []byte, _ bool) {
	s, err := parseSegment(packet, true)
	if err != nil || s.icmp != nil {
		return
	}
	for _, o := range s.opts {
		if o.Kind == optTimestamp {
			f.stamps = true
			f.echo = uint32(o.Data[0])<<24 | uint32(o.Data[1])<<16 | uint32(o.Data[2])<<8 | uint32(o.Data[3])
		}
	}
	switch {
	case s.flags&wire.TCPSyn != 0 && s.flags&wire.TCPAck == 0:
		f.local, f.remote, f.irs, f.rcv = s.dst, s.src, s.seq, s.seq+1
		f.iss, f.nxt, f.una = fakeISS, fakeISS+1, fakeISS+1
		f.reply(wire.TCPSyn|wire.TCPAck, f.iss, f.rcv, nil)
	case s.flags&wire.TCPSyn != 0:
		f.irs, f.rcv = s.seq, s.seq+1
		f.reply(wire.TCPAck, f.nxt, f.rcv, nil)
		f.events = append(f.events, func(e stream.Events) { e.Established(f.user) })
	case s.flags&wire.TCPRst != 0:
		f.events = append(f.events, func(e stream.Events) { e.Failed(f.user, syscall.ECONNRESET) })
	default:
		if f.listener != 0 && !f.arrived {
			f.arrived = true
			f.events = append(f.events, func(e stream.Events) { e.Acceptable(0) })
		}
		if f.pair != nil {
			f.release(s.ack)
		}
		f.receive(s)
	}
}

func (f *fake) release(ack uint32) {
	if n := int(int32(ack - f.una)); n > 0 && n <= f.pair.Tx.Len() {
		f.pair.Tx.Release(n)
		f.una = ack
		f.events = append(f.events, func(e stream.Events) { e.Writable(f.user) })
	}
}

func (f *fake) receive(s *segment) {
	if len(s.payload) == 0 && s.flags&wire.TCPFin == 0 || f.pair == nil {
		return
	}
	first, second := f.pair.Rx.Reserve()
	n := copy(first, s.payload)
	n += copy(second, s.payload[n:])
	f.pair.Rx.Publish(n)
	f.rcv += uint32(n)
	if s.flags&wire.TCPFin != 0 {
		f.rcv++
		f.pair.RxEOF.Store(true)
	}
	f.reply(wire.TCPAck, f.nxt, f.rcv, nil)
	f.events = append(f.events, func(e stream.Events) { e.Readable(f.user) })
}

func (f *fake) Transmit(out stream.Output, _ int) int {
	if f.pair != nil {
		first, second := f.pair.Tx.Peek()
		all := append(append([]byte(nil), first...), second...)
		for sent := f.nxt - f.una; int(sent) < len(all); sent = f.nxt - f.una {
			part := all[sent:min(len(all), int(sent)+1000)]
			flags := uint16(wire.TCPAck)
			if int(sent)+len(part) == len(all) {
				flags |= wire.TCPPsh
			}
			f.reply(flags, f.nxt, f.rcv, part)
			f.nxt += uint32(len(part))
		}
	}
	n := len(f.out)
	for _, s := range f.out {
		b := s.build()
		if f.spoil != nil {
			f.spoil(b)
		}
		copy(out.Frame(len(b)), b)
		out.Commit()
	}
	f.out = nil
	return n
}

func (f *fake) Poll(e stream.Events, _ int) bool {
	list := f.events
	f.events = nil
	for _, ev := range list {
		ev(e)
	}
	return len(f.events) > 0
}

func (f *fake) Advance(t time.Duration) {
	if f.now = t; f.timer != 0 && t >= f.timer && !f.stuck {
		f.timer = 0
		f.reply(wire.TCPAck, f.nxt-1, f.rcv, nil)
		f.timer = 0
	}
}

func (f *fake) Next() time.Duration {
	if f.timer == 0 {
		return math.MaxInt64
	}
	return f.timer
}

func (f *fake) EndBurst()            {}
func (f *fake) Undeliverable([]byte) {}
func (f *fake) Busy() bool           { return f.busy || len(f.out)+len(f.events) > 0 }

func (f *fake) Open(stream.Family, uint64) (stream.Handle, syscall.Errno) { return 1, 0 }

func (f *fake) Bind(_ stream.Handle, a netip.AddrPort) syscall.Errno {
	f.local = a
	return 0
}

func (f *fake) Listen(h stream.Handle, _ int) syscall.Errno {
	f.listener = h
	return 0
}

func (f *fake) Accept(_ stream.Handle, user uint64) (stream.Handle, syscall.Errno) {
	if !f.arrived || f.accepted {
		return 0, syscall.EAGAIN
	}
	f.accepted, f.user = true, user
	return 2, 0
}

func (f *fake) Connect(_ stream.Handle, to netip.AddrPort) syscall.Errno {
	f.local, f.remote, f.nxt, f.una = netip.MustParseAddrPort("192.168.0.2:40000"), to, fakeISS+1, fakeISS+1
	f.reply(wire.TCPSyn, fakeISS, 0, nil)
	return syscall.EINPROGRESS
}

func (f *fake) Attach(_ stream.Handle, p *stream.Pair) { f.pair = p }
func (f *fake) TxReady(stream.Handle)                  {}
func (f *fake) RxRoom(stream.Handle)                   {}

func (f *fake) Shutdown(_ stream.Handle, how stream.How) syscall.Errno {
	if how&stream.ShutWrite != 0 {
		f.reply(wire.TCPFin|wire.TCPAck, f.nxt, f.rcv, nil)
		f.nxt++
	}
	return 0
}
func (f *fake) Close(h stream.Handle) { f.Shutdown(h, stream.ShutWrite) }
func (f *fake) Abort(stream.Handle)   {}

func (f *fake) Local(stream.Handle) netip.AddrPort                   { return f.local }
func (f *fake) Remote(stream.Handle) (netip.AddrPort, syscall.Errno) { return f.remote, 0 }

func (f *fake) SetOption(_ stream.Handle, opt stream.Option, _ int) syscall.Errno {
	if opt == stream.OptMaxSeg {
		return syscall.EINVAL
	}
	return 0
}
func (f *fake) Option(stream.Handle, stream.Option) (int, syscall.Errno) { return 5, 0 }
func (f *fake) Info(_ stream.Handle, i *stream.Info) {
	*i = stream.Info{Cwnd: 10, State: 1, RTT: 1500 * time.Microsecond}
}
func (f *fake) Stop(stream.Output) {}

// fakeHost makes fakes and remembers knobs.
type fakeHost struct {
	machine fake
	knobs   map[string]string
}

func (h *fakeHost) Sysctl(name, value string) (bool, error) {
	if name == "net.ipv4.bad" {
		return true, errors.New("no such value")
	}
	if h.knobs == nil {
		h.knobs = map[string]string{}
	}
	h.knobs[name] = value
	return name != "net.ipv4.unknown", nil
}

func (h *fakeHost) Start(Setup) (stream.Clocked, error) { return &h.machine, nil }

func (h *fakeHost) Inspect(stream.Clocked, stream.Handle) map[string]int64 {
	return map[string]int64{"tcpi_sacked": 3}
}
