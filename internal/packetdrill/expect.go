// SPDX-License-Identifier: Apache-2.0

package packetdrill

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"netcon/dataplane/wire"
)

// anyTime is how long "*" waits.
const anyTime = 12 * time.Hour

// expect waits for the packet of an event and compares.
func (r *runner) expect(ev *Event, at, end time.Duration) error {
	slack := r.cfg.tolerance
	if dynamic := time.Duration(float64(at-r.last) * r.cfg.percent / 100); dynamic > slack {
		slack = dynamic
	}
	deadline := end + slack
	if ev.When.Any {
		deadline = r.now + anyTime
	}
	want := ev.Packet
	got, err := r.receive(max(deadline, r.now))
	if err != nil {
		return err
	}
	if got == nil {
		return r.fail("expected %s, got no packet until %s\nscript packet: %s > %s",
			r.name(want), seconds(r.now), seconds(at), want)
	}
	f := r.flowOf(got)
	first := got
	if want.ICMP == nil && got.icmp == nil {
		if got, err = r.train(f, want, got, max(deadline, r.now)); err != nil {
			return err
		}
	}
	if want.SrcPort != 0 && f != nil {
		r.cur = f
	}
	actual := f.toScript(got, want)
	differ := r.compare(f, want, actual)
	if differ == "" && !ev.When.Any && (first.at < at-slack || first.at > deadline) {
		differ = fmt.Sprintf("timing error: expected %s, got it at %s; tolerance %s", when(at, end), seconds(first.at), seconds(slack))
	}
	if differ != "" {
		err := r.fail("%s\nscript packet: %s > %s\nactual packet: %s > %s", differ, seconds(at), want, seconds(first.at), actual)
		if r.cfg.nonFatal {
			r.trace("%v", err)
			return nil
		}
		return err
	}
	r.trace("> %s", actual)
	return nil
}

func when(at, end time.Duration) string {
	if at == end {
		return "the packet at " + seconds(at)
	}
	return fmt.Sprintf("the packet from %s to %s", seconds(at), seconds(end))
}

// name says what a packet is.
func (r *runner) name(k *Packet) string {
	if k.ICMP != nil {
		return "an ICMP message"
	}
	return "a packet " + flagString(k.Flags)
}

// show writes a packet of the machine in the script's numbers.
func (r *runner) show(s *segment) string {
	if f := r.flowOf(s); f != nil {
		return f.toScript(s, nil).String()
	}
	return s.String()
}

// receive takes the next packet of the machine, or returns nil at the deadline.
func (r *runner) receive(deadline time.Duration) (*segment, error) {
	for len(r.queue) == 0 {
		if err := r.settle(); err != nil {
			return nil, err
		}
		if len(r.queue) > 0 {
			break
		}
		at := r.wake()
		if at > deadline {
			if deadline > r.now && deadline-r.now < anyTime {
				r.now = deadline
				r.m.Advance(epoch + r.now)
			}
			return nil, nil
		}
		if err := r.step(at); err != nil {
			return nil, err
		}
	}
	s := r.queue[0]
	r.queue = r.queue[1:]
	return s, nil
}

// train puts together the consecutive segments that stand for one long packet
// of the script: what Linux shows as one packet before its NIC cuts it. Unless
// the rules are strict a long segment may also stand for several of the script.
func (r *runner) train(f *flow, want *Packet, got *segment, deadline time.Duration) (*segment, error) {
	n := len(got.payload)
	if n > want.Len && want.Len > 0 && !r.cfg.Strict && got.flags&wire.TCPSyn == 0 {
		rest := *got
		rest.seq, rest.payload = got.seq+uint32(want.Len), got.payload[want.Len:]
		r.queue = slices.Insert(r.queue, 0, &rest)
		head := *got
		head.payload = got.payload[:want.Len]
		if head.flags &^= wire.TCPFin; want.Flags&wire.TCPPsh == 0 {
			head.flags &^= wire.TCPPsh
		}
		return &head, nil
	}
	if n == 0 || n >= want.Len || f == nil || f.toScript(got, want).seq != want.Seq {
		return got, nil
	}
	whole := *got
	whole.payload = bytes.Clone(got.payload)
	for len(whole.payload) < want.Len {
		next, err := r.receive(deadline)
		if err != nil {
			return nil, err
		}
		if next == nil {
			break
		}
		if r.flowOf(next) != f || next.icmp != nil || next.seq != whole.seq+uint32(len(whole.payload)) || len(next.payload) == 0 ||
			len(whole.payload)+len(next.payload) > want.Len {
			r.queue = slices.Insert(r.queue, 0, next)
			break
		}
		whole.payload = append(whole.payload, next.payload...)
		whole.flags |= next.flags
	}
	return &whole, nil
}

// compare returns the first difference, "" if there is none.
func (r *runner) compare(f *flow, k *Packet, s *segment) string {
	number := func(what string, want, got uint64) string {
		if want == got {
			return ""
		}
		return fmt.Sprintf("expected %s %d, got %d", what, want, got)
	}
	if k.ICMP != nil || s.icmp != nil {
		return r.compareICMP(k, s)
	}
	if k.SrcPort != 0 && (k.SrcPort != s.src.Port() || k.DstPort != s.dst.Port()) {
		return fmt.Sprintf("expected ports %d > %d, got %d > %d", k.SrcPort, k.DstPort, s.src.Port(), s.dst.Port())
	}
	flags := s.flags
	if !r.cfg.Strict && (k.Flags^flags) == wire.TCPPsh {
		flags = k.Flags
	}
	if flags != k.Flags {
		return fmt.Sprintf("expected flags %s, got %s", flagString(k.Flags), flagString(s.flags))
	}
	for _, d := range []string{
		number("sequence number", uint64(k.Seq), uint64(s.seq)),
		number("payload length", uint64(k.Len), uint64(len(s.payload))),
		number("ack", uint64(k.Ack), uint64(s.ack)),
		r.compareIP(k, s),
	} {
		if d != "" {
			return d
		}
	}
	if k.Win >= 0 && k.Win != int(s.win) {
		return number("win", uint64(k.Win), uint64(s.win))
	}
	if k.Flags&wire.TCPUrg != 0 && k.Urg != s.urg {
		return number("urg", uint64(k.Urg), uint64(s.urg))
	}
	if d := r.compareContent(f, s); d != "" {
		return d
	}
	if k.AnyOptions {
		return ""
	}
	return r.compareOptions(k.Opts, s.opts)
}

func (r *runner) compareIP(k *Packet, s *segment) string {
	ecn := s.tos & 3
	switch {
	case k.CheckTOS && k.TOS != s.tos:
		return fmt.Sprintf("expected tos 0x%x, got 0x%x", k.TOS, s.tos)
	case k.ECN == ecnExact && k.TOS != ecn:
		return fmt.Sprintf("expected ECN bits %d, got %d", k.TOS, ecn)
	case k.ECN == ecnECT && ecn != 1 && ecn != 2:
		return fmt.Sprintf("expected ECT(0) or ECT(1), got ECN bits %d", ecn)
	case k.TTL != 0 && k.TTL != s.ttl:
		return fmt.Sprintf("expected ttl %d, got %d", k.TTL, s.ttl)
	case k.HasLabel && k.Label != s.label:
		return fmt.Sprintf("expected flow label 0x%x, got 0x%x", k.Label, s.label)
	}
	return ""
}

// compareContent verifies the bytes that the script's calls wrote.
func (r *runner) compareContent(f *flow, s *segment) string {
	first := s.seq - 1
	if s.flags&wire.TCPSyn != 0 {
		first = 0
	}
	if f.sock == nil || first == ^uint32(0) {
		return "" // not accepted yet, or the byte of garbage in a keep-alive
	}
	if end := uint64(first) + uint64(len(s.payload)); len(s.payload) > 0 && end > f.sock.wrote {
		return fmt.Sprintf("payload up to byte %d of the stream, and %d were written", end, f.sock.wrote)
	}
	for i, c := range s.payload {
		if at := uint64(first) + uint64(i); c != contentOut(at) {
			return fmt.Sprintf("payload differs from what was written at byte %d of the stream: expected %#x, got %#x", at, contentOut(at), c)
		}
	}
	return ""
}

func (r *runner) compareOptions(want, got []TCPOption) string {
	a, b := want, got
	if !r.cfg.Strict {
		a, b = ordered(want), ordered(got)
	}
	same := slices.EqualFunc(a, b, func(w, g TCPOption) bool {
		if w.Kind == optTimestamp && g.Kind == optTimestamp && len(g.Data) == 8 {
			return r.sameStamp(w, g)
		}
		return w.Kind == g.Kind && bytes.Equal(w.Data, g.Data)
	})
	if same {
		return ""
	}
	return fmt.Sprintf("expected options %s, got %s", optionString(want), optionString(got))
}

// sameStamp compares two timestamps. TS val is compared if the length of a tick
// is known (--tcp_ts_tick_usecs).
func (r *runner) sameStamp(w, g TCPOption) bool {
	if !bytes.Equal(w.Data[4:], g.Data[4:]) {
		return false
	}
	if r.cfg.tick == 0 {
		return true
	}
	delta := int32(binary.BigEndian.Uint32(g.Data) - binary.BigEndian.Uint32(w.Data))
	most := int32(r.cfg.tolerance / r.cfg.tick)
	return delta >= -most && delta <= most
}

// ordered returns options by kind, without padding.
func ordered(opts []TCPOption) []TCPOption {
	var list []TCPOption
	for _, o := range opts {
		if o.Kind != optNOP && o.Kind != optEOL {
			list = append(list, o)
		}
	}
	slices.SortStableFunc(list, func(a, b TCPOption) int { return int(a.Kind) - int(b.Kind) })
	return list
}

// String writes a packet the way scripts do, without its direction.
func (k *Packet) String() string {
	var b strings.Builder
	switch {
	case k.CheckTOS:
		fmt.Fprintf(&b, "[tos 0x%x] ", k.TOS)
	case k.ECN == ecnECT:
		b.WriteString("[ect01] ")
	case k.ECN == ecnExact:
		b.WriteString([...]string{"[noecn] ", "[ect1] ", "[ect0] ", "[ce] "}[k.TOS])
	}
	if m := k.ICMP; m != nil {
		fmt.Fprintf(&b, "icmp %s %s", m.Type, m.Code)
		return strings.TrimSpace(b.String())
	}
	if k.SrcPort != 0 {
		fmt.Fprintf(&b, "%d > %d ", k.SrcPort, k.DstPort)
	}
	fmt.Fprintf(&b, "%s %d:%d(%d)", flagString(k.Flags), k.Seq, k.Seq+uint32(k.Len), k.Len)
	if k.Flags&wire.TCPAck != 0 {
		fmt.Fprintf(&b, " ack %d", k.Ack)
	}
	if k.Win >= 0 {
		fmt.Fprintf(&b, " win %d", k.Win)
	}
	if k.Urg != 0 {
		fmt.Fprintf(&b, " urg %d", k.Urg)
	}
	if k.AnyOptions {
		b.WriteString(" <...>")
	} else if len(k.Opts) > 0 {
		b.WriteString(" " + optionString(k.Opts))
	}
	return b.String()
}
