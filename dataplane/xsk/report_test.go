// SPDX-License-Identifier: Apache-2.0

package xsk

import (
	"bytes"
	"encoding/json"
	"strings"
	"sync"
	"testing"

	"netcon/bpf"
	"netcon/dataplane/stat"
	"netcon/internal/testenv"
)

func TestReport(t *testing.T) {
	a, b := cable(t, 1500, 2)
	d := a.open(t, Config{Frames: 1024})
	l := d.Links()[0]
	peer := b.open(t, Config{}).Links()[0]
	resolved(t, l, b.a4)
	resolved(t, peer, a.a4)
	for i := range 100 {
		put(l, b.a4, uint32(i), payload(i, 100))
		put(peer, a.a4, uint32(i), payload(i, 100))
	}
	flushed(t, l)
	flushed(t, peer)
	receive(t, l, 100)
	l.Flush()
	r := d.Report()
	if r.Interface != "ifa" || r.Local != "10.9.0.1:4789" || r.Mode != "native" || r.Fallback != "" || r.ZeroCopy ||
		r.MultiBuffer || r.FrameSize != 2048 || r.MTU != 1500 || !r.Up || len(r.Queues) != 2 {
		t.Errorf("report %+v", r)
	}
	if r.Verdicts[bpf.Redirect.String()] != 100 {
		t.Errorf("verdicts %v", r.Verdicts)
	}
	found := false
	for _, e := range r.NextHops {
		found = found || e.VTEP == b.a4
	}
	if !found {
		t.Errorf("next hops %+v", r.NextHops)
	}
	var kicks uint64
	for i, q := range r.Queues {
		kicks += q.Kicks
		f := q.Frames
		if q.Queue != i || q.Worker != 0 || !q.Sends || q.Trouble != "" || f.Total != 1024 ||
			f.Free+f.Fill+f.Rx+f.Reserved+f.Held+f.Tx+f.Completion != f.Total || f.Fill != 512 || f.Rx != 0 {
			t.Errorf("queue %+v", q)
		}
		if q.Rings.Size != 512 || q.Rings.Tx != 0 || q.Rings.Fill == 0 {
			t.Errorf("rings %+v", q.Rings)
		}
	}
	if int(kicks) != count(l, stat.TxCalls) || kicks == 0 {
		t.Errorf("%d kicks, %d calls", kicks, count(l, stat.TxCalls))
	}
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{`"zero_copy":false`, `"completion":`, `"rx_ring_full":`, `"redirect":100`, `"next_hops":[{`, `"mode":"native"`, `"wakeups":`} {
		if !bytes.Contains(text, []byte(key)) {
			t.Errorf("no %s in %s", key, text)
		}
	}
}

// A report is read while the worker works: the sum is right at every moment.
func TestReportWhileWorking(t *testing.T) {
	a, b := cable(t, 1500, 1)
	d := a.open(t, Config{Frames: 256})
	l := d.Links()[0]
	peer := b.open(t, Config{Frames: 256}).Links()[0]
	resolved(t, l, b.a4)
	resolved(t, peer, a.a4)
	var wg sync.WaitGroup
	quit := make(chan struct{})
	reports := 0
	wg.Go(func() {
		for {
			for _, q := range d.Report().Queues {
				f := q.Frames
				if sum := f.Free + f.Fill + f.Rx + f.Reserved + f.Held + f.Tx + f.Completion; sum != 256 || f.Total != 256 {
					t.Errorf("%d frames: %+v", sum, f)
				}
			}
			reports++
			select {
			case <-quit:
				return
			default:
			}
		}
	})
	back := &echo{l: l}
	sink := new(tally)
	for range 300 {
		for i := range 50 {
			put(peer, a.a4, uint32(i), payload(i, 100))
		}
		peer.Flush()
		l.Recv(back, 64)
		l.Flush()
		peer.Recv(sink, 64)
	}
	close(quit)
	wg.Wait()
	if reports == 0 || back.count == 0 {
		t.Errorf("%d reports, %d frames", reports, back.count)
	}
}

// tapped keeps what a tap was shown.
type tapped struct {
	frames [][]byte
	out    []bool
}

func (p *tapped) Outer(out bool, frame []byte) {
	p.frames = append(p.frames, bytes.Clone(frame))
	p.out = append(p.out, out)
}

// A tap sees what is on the wire, headers and all, both ways, in one or several
// buffers, and nothing once it is taken off.
func TestTap(t *testing.T) {
	for _, mtu := range []int{1500, 9000} {
		a, b := cable(t, mtu, 1)
		l := a.open(t, Config{}).Links()[0]
		peer := b.open(t, Config{}).Links()[0]
		resolved(t, l, b.a4)
		mine, theirs := new(tapped), new(tapped)
		l.SetTap(mine)
		peer.SetTap(theirs)
		n := mtu - 28
		put(l, b.a4, 1, payload(1, n))
		flushed(t, l)
		receive(t, peer, 1)
		if len(mine.frames) != 1 || len(theirs.frames) != 1 || !mine.out[0] || theirs.out[0] {
			t.Fatalf("MTU %d: %d frames out, %d in", mtu, len(mine.frames), len(theirs.frames))
		}
		if !bytes.Equal(mine.frames[0], theirs.frames[0]) || len(mine.frames[0]) != mtu+14 {
			t.Errorf("MTU %d: %d bytes out, %d in", mtu, len(mine.frames[0]), len(theirs.frames[0]))
		}
		o := outerParser{local: b.a4, port: testPort}
		if _, p, r := o.parse(mine.frames[0], mtu); r != stat.Accepted || !bytes.Equal(p, payload(1, n)) {
			t.Errorf("MTU %d: what was shown is no frame: %v", mtu, r)
		}
		l.SetTap(nil)
		peer.SetTap(nil)
		put(l, b.a4, 1, payload(1, n))
		flushed(t, l)
		receive(t, peer, 1)
		if len(mine.frames) != 1 || len(theirs.frames) != 1 {
			t.Error("a tap that was taken off is shown frames")
		}
	}
}

// Where native mode is refused, Auto takes generic mode and says why; Native does
// not. A veth refuses it while its peer has more transmit queues than it has
// receive queues.
func TestFallback(t *testing.T) {
	testenv.NeedTools(t, "ethtool")
	a, b := cable(t, 1500, 2)
	testenv.Run(t, a.ns, "ethtool", "-L", a.dev, "rx", "1")
	d := a.open(t, Config{Mode: bpf.Auto})
	if r := d.Report(); r.Mode != "generic" || !strings.Contains(r.Fallback, "native mode") {
		t.Errorf("mode %s, fall-back %q", r.Mode, r.Fallback)
	}
	l := d.Links()[0]
	peer := b.open(t, Config{}).Links()[0]
	resolved(t, peer, a.a4)
	put(peer, a.a4, 1, payload(1, 100))
	flushed(t, peer)
	receive(t, l, 1)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := a.try(t, Config{Mode: bpf.Native}); err == nil || !strings.Contains(err.Error(), "native mode") {
		t.Errorf("native mode: %v", err)
	}
	if _, err := a.try(t, Config{ZeroCopy: On}); err == nil || !strings.Contains(err.Error(), "zero copy in generic mode") {
		t.Errorf("zero copy: %v", err)
	}
	testenv.Run(t, a.ns, "ethtool", "-L", a.dev, "rx", "2")
	if r := a.open(t, Config{Mode: bpf.Auto}).Report(); r.Mode != "native" || r.Fallback != "" {
		t.Errorf("mode %s, fall-back %q", r.Mode, r.Fallback)
	}
}
