// SPDX-License-Identifier: Apache-2.0

package netstack

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"netcon/dataplane/stream"
	"netcon/dataplane/wire"
	"netcon/internal/testenv/faults"
)

// timeouts returns how often the retransmission timer of a host expired, and
// resent how many segments it retransmitted.
func (h *host) timeouts() int { return int(h.s.gv.Stats().TCP.Timeouts.Value()) }
func (h *host) resent() int   { return int(h.s.gv.Stats().TCP.Retransmits.Value()) }

// A bad network costs time, not much of it.
func TestFaults(t *testing.T) {
	t.Parallel()
	const limit = 10 * time.Second
	size := 8 << 20
	if raceEnabled || testing.Short() {
		size = 2 << 20
	}
	for _, c := range []struct {
		spec string
		f    stream.Family
		both bool // streams in both directions
	}{
		{"drop=3%,seed=1", stream.IPv4, false},
		{"drop=3%,seed=2", stream.IPv6, true},
		{"reorder=3%,seed=3", stream.IPv4, false},
		{"corrupt=1%,seed=4", stream.IPv6, false},
		{"drop=3%,reorder=3%,corrupt=1%,seed=5", stream.IPv4, false},
	} {
		t.Run(c.spec, func(t *testing.T) {
			cfg, err := faults.ParseConfig(c.spec)
			if err != nil {
				t.Fatal(err)
			}
			l := newLAN(t, 2, nil)
			a, b := l.hosts[0], l.hosts[1]
			to := netip.AddrPortFrom(addr4(2), 80)
			if c.f == stream.IPv6 {
				to = netip.AddrPortFrom(addr6(2), 80)
			}
			cl, sv := l.join(a, b, b.listen(c.f, to, 16), c.f, to, 65536)
			for _, h := range l.hosts {
				h.faults = faults.New(cfg)
				cfg.Seed += 100
			}
			bs := []*bulk{newBulk(a, cl, b, sv, size, 1)}
			if c.both {
				bs = append(bs, newBulk(b, sv, a, cl, size, 2))
			}
			start := time.Now()
			l.carry(limit, bs...)
			t.Logf("%d MiB in %v, %d segments retransmitted, %d timeouts",
				size>>20, time.Since(start), a.resent(), a.timeouts())
		})
	}
}

// Loss inside a flight is repaired without waiting for the timer, however many
// segments it takes, also when every ACK has another window.
func TestFastRecovery(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		lose int // consecutive segments, of every 500
		both bool
		wins bool // every duplicate ACK has another window
	}{
		{"one", 1, false, false},
		{"one, both ways", 1, true, false},
		{"one, other windows", 1, false, true},
		{"five", 5, false, false},
		{"twenty", 20, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLAN(t, 2, nil)
			size := 6 << 20
			if raceEnabled || testing.Short() {
				size = 3 << 20
			}
			var n int
			var high uint32
			var more uint16
			l.mangle = func(from *host, p []byte) [][]byte {
				tcp := wire.TCP(p[wire.IPv4Len:])
				if c.wins && from == l.hosts[1] && hasSACK(tcp) {
					more++
					binary.BigEndian.PutUint16(tcp[14:], tcp.Window()+more)
					tcp.SetChecksum(0)
					tcp.SetChecksum(wire.PseudoHeader(addr4(2), addr4(1), wire.ProtoTCP, len(tcp)).Add(tcp).Checksum())
				}
				// What was sent before is not lost again.
				if from != l.hosts[0] || len(p) < 1000 || n > 0 && !after(tcp.Seq(), high) {
					return [][]byte{p}
				}
				high = tcp.Seq()
				if n++; n%500 >= 250 && n%500 < 250+c.lose {
					return nil
				}
				return [][]byte{p}
			}
			a, b, cl, sv := l.pairOf(65536)
			bs := []*bulk{newBulk(a, cl, b, sv, size, 1)}
			if c.both {
				bs = append(bs, newBulk(b, sv, a, cl, size, 2))
			}
			l.carry(5*time.Second, bs...)
			episodes := n / 500
			t.Logf("%d episodes, %d segments retransmitted, %d timeouts", episodes, a.resent(), a.timeouts())
			if a.resent() < episodes*c.lose {
				t.Errorf("%d segments retransmitted, want at least %d", a.resent(), episodes*c.lose)
			}
			// The end of a flight that is lost has nobody to report it.
			// The race detector is too slow for the timer.
			if !raceEnabled && a.timeouts() > episodes/3 {
				t.Errorf("%d timeouts for %d episodes", a.timeouts(), episodes)
			}
		})
	}
}

// A duplicate ACK may come with data.
func TestDuplicateAckWithData(t *testing.T) {
	l := newLAN(t, 2, nil)
	a, b, cl, sv := l.pairOf(65536)
	l.carry(5*time.Second, newBulk(a, cl, b, sv, 1<<20, 1))
	l.quiet()
	a.silent = true // the flight gets lost
	a.put(cl, make([]byte, 10000))
	l.quiet()
	var f *flow
	for _, k := range a.s.flows {
		f = &k.flow
	}
	if f.nxt-f.una < 5000 {
		t.Fatalf("%d bytes in flight", f.nxt-f.una)
	}
	opts := []byte{tcpOptNop, tcpOptNop, tcpOptTimestamp, 10, 0, 0, 0, 1, 0, 0, 0, 0}
	opts = append(opts, tcpOptNop, tcpOptNop, tcpOptBlocks, 10)
	opts = binary.BigEndian.AppendUint32(opts, f.una+1370)
	opts = binary.BigEndian.AppendUint32(opts, f.nxt)
	a.s.Deliver(segmentOf(b.s.Local(sv.h), a.s.Local(cl.h), f.ack, f.una, wire.TCPAck, opts, []byte("data")), false)
	a.s.EndBurst()
	stats := a.s.gv.Stats().TCP
	l.until("fast retransmission", time.Second, func() bool { return stats.FastRetransmit.Value() == 1 })
	l.until("data", time.Second, func() bool { return cl.p.Rx.Len() == 4 })
}

// A hole is reported by an ACK for every segment behind it, and from then on for
// a while an ACK that reports none is sent twice.
func TestAcksAfterLoss(t *testing.T) {
	l := newLAN(t, 2, nil)
	a, b, cl, sv := l.pairOf(65536)
	l.carry(5*time.Second, newBulk(a, cl, b, sv, 1<<20, 1))
	count := func() (reports, pairs int) {
		for i, p := range b.sent {
			tcp := wire.TCP(p[wire.IPv4Len:])
			if hasSACK(tcp) {
				reports++
			} else if i > 0 && bytes.Equal(tcp, b.sent[i-1][wire.IPv4Len:]) {
				pairs++
			}
		}
		return reports, pairs
	}
	b.keep = true
	l.carry(5*time.Second, newBulk(a, cl, b, sv, 1<<20, 2))
	if reports, pairs := count(); reports != 0 || pairs != 0 {
		t.Errorf("no loss: %d reports, %d ACKs twice", reports, pairs)
	}
	lost := false
	l.mangle = func(from *host, p []byte) [][]byte {
		if from == a && len(p) > 1000 && !lost {
			lost = true
			return nil
		}
		return [][]byte{p}
	}
	b.sent = nil
	// The Tx ring fills before the hosts run: one flight.
	l.carry(5*time.Second, newBulk(a, cl, b, sv, 60000, 3))
	if reports, pairs := count(); reports < 10 || pairs == 0 {
		t.Errorf("after a loss: %d reports, %d ACKs twice", reports, pairs)
	}
}

// The loss of ACKs, of which there is one for a whole flight, stops nobody for
// long, and what the timer measured then is not taken for a round trip.
func TestLostAcks(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 2, nil)
	a, b, cl, sv := l.pairOf(65536)
	a.faults = faults.New(faults.Config{Drop: 0.1, Seed: 1})
	b.faults = faults.New(faults.Config{})
	const size = 4 << 20
	l.carry(5*time.Second, newBulk(a, cl, b, sv, size, 1))
	var info stream.Info
	a.s.Info(cl.h, &info)
	t.Logf("%d timeouts, round trip time %v +- %v", a.timeouts(), info.RTT, info.RTTVar)
	if !raceEnabled && (info.RTT > minRTO/4 || info.RTTVar > minRTO/4) {
		t.Errorf("round trip time %v +- %v", info.RTT, info.RTTVar)
	}
}

// tcpHeader returns a TCP header with a timestamp that echoes echo and, if high is
// not zero, one SACK block from low to high.
func tcpHeader(flags uint8, ack uint32, window uint16, echo, low, high uint32, payload int) wire.TCP {
	t := make(wire.TCP, wire.TCPLen, 100)
	t[13] = flags
	binary.BigEndian.PutUint32(t[8:], ack)
	binary.BigEndian.PutUint16(t[14:], window)
	if echo != 0 {
		t = append(t, tcpOptNop, tcpOptNop, tcpOptTimestamp, 10, 0, 0, 0, 1)
		t = binary.BigEndian.AppendUint32(t, echo)
	}
	if high != 0 {
		t = append(t, tcpOptNop, tcpOptNop, tcpOptBlocks, 10)
		t = binary.BigEndian.AppendUint32(t, low)
		t = binary.BigEndian.AppendUint32(t, high)
	}
	t[12] = uint8(len(t)/4) << 4
	return append(t, make([]byte, payload)...)
}

func TestMend(t *testing.T) {
	const ack, rst, syn = wire.TCPAck, wire.TCPAck | wire.TCPRst, wire.TCPAck | wire.TCPSyn
	inFlight := flow{sent: true, una: 1000, nxt: 9000, window: 50}
	idle, closed, resent := inFlight, inFlight, inFlight
	idle.nxt = idle.una
	closed.window = 0
	resent.resent, resent.resentEnd, resent.resentAt = true, 2000, 700
	for _, c := range []struct {
		name   string
		f      flow
		t      wire.TCP
		dup    bool
		stale  bool
		window uint16 // that the flow remembers
	}{
		{"duplicate, window grown", inFlight, tcpHeader(ack, 1000, 60, 0, 2000, 3000, 0), true, false, 50},
		{"duplicate, same window", inFlight, tcpHeader(ack, 1000, 50, 7, 2000, 3000, 0), true, false, 50},
		{"duplicate with data", inFlight, tcpHeader(ack, 1000, 60, 7, 2000, 3000, 10), true, false, 50},
		{"window shrunk", inFlight, tcpHeader(ack, 1000, 40, 7, 2000, 3000, 0), false, false, 40},
		{"window opens", closed, tcpHeader(ack, 1000, 60, 7, 2000, 3000, 0), false, false, 60},
		{"no SACK block", inFlight, tcpHeader(ack, 1000, 60, 7, 0, 0, 0), false, false, 60},
		{"no options", inFlight, tcpHeader(ack, 1000, 60, 0, 0, 0, 0), false, false, 60},
		{"progress", inFlight, tcpHeader(ack, 1500, 60, 7, 2000, 3000, 0), false, false, 60},
		{"nothing in flight", idle, tcpHeader(ack, 1000, 60, 7, 2000, 3000, 0), false, false, 60},
		{"old ACK", inFlight, tcpHeader(ack, 900, 60, 7, 2000, 3000, 0), false, false, 50},
		{"ACK of what was not sent", inFlight, tcpHeader(ack, 9001, 60, 7, 2000, 3000, 0), false, false, 50},
		{"reset", inFlight, tcpHeader(rst, 1000, 60, 7, 2000, 3000, 0), false, false, 50},
		{"SYN", inFlight, tcpHeader(syn, 1000, 60, 7, 2000, 3000, 0), false, false, 50},
		{"echo from before", resent, tcpHeader(ack, 5000, 60, 699, 0, 0, 0), false, true, 60},
		{"echo of the retransmission", resent, tcpHeader(ack, 5000, 60, 700, 0, 0, 0), false, false, 60},
		{"no echo", resent, tcpHeader(ack, 5000, 60, 0, 6000, 7000, 0), false, false, 60},
		{"nothing retransmitted", inFlight, tcpHeader(ack, 5000, 60, 699, 0, 0, 0), false, false, 60},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := c.t.Window()
			m := c.f.mend(c.t)
			if m.duplicate != c.dup || m.stale != c.stale || c.f.window != c.window {
				t.Errorf("%+v, window %d", m, c.f.window)
			}
			m.apply(c.t)
			want := before
			if c.dup {
				want = c.window
			}
			if c.t.Window() != want {
				t.Errorf("window %d, want %d", c.t.Window(), want)
			}
			if c.stale && binary.BigEndian.Uint32(c.t[wire.TCPLen+8:]) != 0 {
				t.Error("the echo is left")
			}
		})
	}
	f := resent
	if f.mend(tcpHeader(ack, 1500, 60, 699, 0, 0, 0)); !f.resent {
		t.Error("the retransmission is forgotten before it is acknowledged")
	}
	f.una = 1500
	if f.mend(tcpHeader(ack, 2000, 60, 700, 0, 0, 0)); f.resent {
		t.Error("the retransmission is remembered for ever")
	}
}

func TestNoteLoss(t *testing.T) {
	f := flow{got: true, ack: 1000, high: 2000}
	bareAck := tcpHeader(wire.TCPAck, 0, 0, 1, 0, 0, 0)
	if f.noteLoss(2000, 3000); f.gap || f.lossy != 0 || f.insures(bareAck) {
		t.Errorf("in order: %+v", f)
	}
	if f.noteLoss(2001, 3000); !f.gap || f.lossy != lossMemory {
		t.Errorf("behind a hole: %+v", f)
	}
	if f.insures(bareAck) {
		t.Error("an ACK twice that reports a hole")
	}
	f.ack = f.high
	if !f.insures(bareAck) {
		t.Error("an ACK for everything is not sent twice")
	}
	for range lossMemory {
		f.noteLoss(2000, 3000)
	}
	if f.lossy != 0 || f.insures(bareAck) {
		t.Errorf("lossy for ever: %+v", f)
	}
	if f.noteLoss(1000, 2000); f.lossy != lossMemory {
		t.Errorf("received twice: %+v", f)
	}
	if f.insures(tcpHeader(wire.TCPAck|wire.TCPFin, 0, 0, 1, 0, 0, 0)) {
		t.Error("a FIN twice")
	}
}

func TestMendAllocs(t *testing.T) {
	f := flow{sent: true, una: 1000, nxt: 9000, window: 50}
	dup := tcpHeader(wire.TCPAck, 1000, 60, 7, 2000, 3000, 0)
	if n := testing.AllocsPerRun(100, func() {
		m := f.mend(dup)
		m.apply(dup)
		f.noteResent(dup, 2000)
		f.noteLoss(1000, 2000)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkMend(b *testing.B) {
	f := flow{sent: true, una: 1000, nxt: 9000, window: 50}
	dup := tcpHeader(wire.TCPAck, 1000, 60, 7, 2000, 3000, 0)
	b.ReportAllocs()
	for b.Loop() {
		m := f.mend(dup)
		m.apply(dup)
	}
}
