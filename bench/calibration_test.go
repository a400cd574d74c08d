// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

// measured takes one sample of a workload over a system, and returns it with the
// bed, whose server has not ended.
func measured(t *testing.T, s *Site, sys System, w *Workload, d time.Duration) (*Meter, *Bed) {
	t.Helper()
	pair, err := sys.Up(t.Context(), s, Link{})
	if err != nil {
		t.Fatal(err)
	}
	b := &Bed{Site: s, Pair: pair, Scratch: map[string]float64{}}
	if err := w.Serve(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	r := &runner{site: s, Options: Options{Time: d}}
	m := &Meter{bed: b}
	if err := r.measure(t.Context(), w, m); err != nil {
		t.Fatal(err)
	}
	return m, b
}

// ended ends the bed's server and returns the numbers of a line that it printed.
func ended(t *testing.T, b *Bed, line string) (v []float64) {
	t.Helper()
	b.Serving.Stop()
	for l := range strings.Lines(b.Serving.Text()) {
		if rest, ok := strings.CutPrefix(l, line+" "); ok {
			for f := range strings.FieldsSeq(rest) {
				var x float64
				if _, err := fmt.Sscan(f, &x); err != nil {
					t.Fatal(err)
				}
				v = append(v, x)
			}
			return v
		}
	}
	t.Fatalf("echod did not print %q: %s", line, b.Serving.Text())
	return nil
}

func within(got, want, share float64) bool { return math.Abs(got-want) <= share*want }

// closedLoop is echoload on some connections against an echod with arguments.
func closedLoop(conns string, args ...string) *Workload {
	return &Workload{
		Name: "test", Serve: serveEcho(args...),
		Run: func(ctx context.Context, b *Bed, m *Meter, d time.Duration) error {
			r, err := b.load(ctx, m, d, echoPort, "-conns", conns)
			if err != nil {
				return err
			}
			return m.load(&r, "closed loop")
		},
	}
}

// A server that burns a known time for each request is charged with it: what it
// counted of itself, and what was measured beside what it does anyhow.
func TestKnownBurn(t *testing.T) {
	s := newSite(t)
	veth, err := ParseSystem("kernel-veth")
	if err != nil {
		t.Fatal(err)
	}
	const us = 2000
	// Requests and processor time are counted by different programs: where
	// others take the machine in between, one try in three has to do.
	for try := 1; ; try++ {
		m, b := measured(t, s, veth, closedLoop("4", "-burn", fmt.Sprint(us)), 3*time.Second)
		// All that the server does for a request besides is some microseconds.
		burned := ended(t, b, "burned")[1] / 1e3
		t.Logf("server: %.0f us per request measured, %.0f us burned, machine %.0f us, %q", m.CPU.Server, burned, m.CPU.Machine, m.Marks)
		if burned >= us && within(m.CPU.Server, burned, 0.05) {
			return
		}
		if try == 3 {
			t.Fatal("more than 5% apart")
		}
	}
}

// A server that sleeps a known time before each reply shows in the latency: as
// long as it says that it really slept.
func TestKnownDelay(t *testing.T) {
	s := newSite(t)
	veth, err := ParseSystem("kernel-veth")
	if err != nil {
		t.Fatal(err)
	}
	const us = 50000
	m, b := measured(t, s, veth, closedLoop("1", "-delay", fmt.Sprint(us)), 3*time.Second)
	slept := ended(t, b, "slept")[2] / 1e3 // the median
	if slept < us || !within(m.Latency.P50, slept, 0.05) {
		t.Errorf("latency: %.0f us measured, %.0f us slept", m.Latency.P50, slept)
	}
}

// A client that is late does not hide it: at a rate that the server does not
// reach, requests wait ever longer for their turn.
func TestCoordinatedOmission(t *testing.T) {
	s := newSite(t)
	veth, err := ParseSystem("kernel-veth")
	if err != nil {
		t.Fatal(err)
	}
	w := closedLoop("1", "-delay", "10000") // 100 a second at most
	w.Run = func(ctx context.Context, b *Bed, m *Meter, d time.Duration) error {
		r, err := b.load(ctx, m, d, echoPort, "-conns", "1", "-rate", "200")
		if err != nil {
			return err
		}
		return m.load(&r, "at 200/s")
	}
	m, _ := measured(t, s, veth, w, 2*time.Second)
	if m.Latency.P50 < 300e3 || m.Value > 110 {
		t.Errorf("%.0f/s with a median of %.0f us: half of the requests were due, but not sent, half a second before", m.Value, m.Latency.P50)
	}
}

// bypass is netcon where the programs are not intercepted: they reach each other
// through the kernel.
type bypass struct{ System }

func (x bypass) Up(ctx context.Context, s *Site, l Link) (*Pair, error) {
	p, err := x.System.Up(ctx, s, l)
	if err == nil {
		p.Server.Prefix, p.Server.Bind, p.Server.Addr = nil, serverVTEP, serverVTEP
	}
	return p, err
}

func TestBypassIsInvalid(t *testing.T) {
	s := newSite(t)
	netcon, err := ParseSystem(Default)
	if err != nil {
		t.Fatal(err)
	}
	m, _ := measured(t, s, bypass{netcon}, closedLoop("1"), 200*time.Millisecond)
	if m.Path.Valid || m.OK() {
		t.Fatalf("the path counts as proved: %+v", m.Path)
	}
	for _, want := range []string{"server: the kernel's TCP carried ", "server: container bench moved 0 bytes", "client: device vx0 carried "} {
		if !slices.ContainsFunc(m.Path.Why, func(why string) bool { return strings.HasPrefix(why, want) }) {
			t.Errorf("%q does not say %q", m.Path.Why, want)
		}
	}
	if rows := summarise([]*Sample{&m.Sample}); rows[0].Value.N != 0 || len(rows[0].Invalid) == 0 {
		t.Errorf("the invalid sample counts: %+v", rows[0])
	}
}

// A client that leaves no time of its threads unused is named.
func TestSaturatedClient(t *testing.T) {
	m := &Meter{bed: &Bed{Site: &Site{}, Pair: &Pair{}}}
	for _, c := range []struct {
		used, seconds float64
		threads       int
		want          bool
	}{{0.95, 1, 0, true}, {0.5, 1, 0, false}, {0.95, 1, 2, false}, {1.9, 1, 2, true}, {0.95, 2, 1, false}} {
		m.Marks, m.clientThreads = nil, c.threads
		m.Spent = &Spent{Client: c.used, Machine: c.used, Seconds: c.seconds}
		m.mark()
		if got := len(m.Marks) == 1 && strings.HasPrefix(m.Marks[0], "client saturated"); got != c.want {
			t.Errorf("%+v: marks %q", c, m.Marks)
		}
	}
}

// A client that is slow itself is named, and one that is not in a hurry is not.
func TestSlowClientIsNamed(t *testing.T) {
	s := newSite(t)
	veth, err := ParseSystem("kernel-veth")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		args []string
		want bool
	}{
		{"slow", []string{"-burn", "200"}, true},
		{"slow and seldom asked", []string{"-burn", "200", "-rate", "500"}, false},
	} {
		w := closedLoop("16")
		// What else runs here is no part of this.
		urgent := []string{"chrt", "--fifo", "1"}
		w.Serve = func(ctx context.Context, b *Bed) error {
			b.Server.Prefix, b.Client.Prefix = urgent, urgent
			return serveEcho()(ctx, b)
		}
		w.Run = func(ctx context.Context, b *Bed, m *Meter, d time.Duration) error {
			r, err := b.load(ctx, m, d, echoPort, append([]string{"-conns", "16"}, c.args...)...)
			if err != nil {
				return err
			}
			return m.load(&r, "closed loop")
		}
		m, _ := measured(t, s, veth, w, 2*time.Second)
		if got := slices.ContainsFunc(m.Marks, func(mark string) bool { return strings.HasPrefix(mark, "client saturated") }); got != c.want {
			t.Errorf("a client that is %s used %.2f s of %.2f s: marks %q", c.name, m.Spent.Client, m.Spent.Seconds, m.Marks)
		}
	}
}

// The client's share of the processor time is measured: that of one who burns,
// that beside a server who burns, and half where both do the same.
func TestClientShare(t *testing.T) {
	s := newSite(t)
	for _, c := range []struct {
		name        string
		server      []string
		client      []string
		least, most float64
	}{
		{"both ends do the same", nil, nil, 0.3, 0.7},
		{"the server burns", []string{"-burn", "1000"}, nil, 0, 0.25},
		{"the client burns", nil, []string{"-burn", "1000"}, 0.75, 1},
	} {
		w := closedLoop("16", c.server...)
		w.Calibrated, w.Run = true, func(ctx context.Context, b *Bed, m *Meter, d time.Duration) error {
			r, err := b.load(ctx, m, d, echoPort, append([]string{"-conns", "16"}, c.client...)...)
			if err != nil {
				return err
			}
			return m.load(&r, "closed loop")
		}
		r := &runner{site: s, Options: Options{Time: time.Second}, up: map[string]*Pair{}, progress: &progress{}}
		share, err := r.clientShare(t.Context(), plan{Workload: w})
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: the client's share is %.2f", c.name, share)
		if share < c.least || share > c.most {
			t.Errorf("%s: the client's share is %.2f, want %.2f to %.2f", c.name, share, c.least, c.most)
		}
	}
}

// The client goes from those who have the baseline's, not from others.
func TestCalibrate(t *testing.T) {
	list := samples("w", false, []float64{100}, []float64{50})
	list[1].CPU.Machine = 18
	other := *list[1]
	other.System, other.CPU = "kernel-veth", &CPU{Machine: 8}
	list = append(list, &other)
	bed := func(same bool) *Bed { return &Bed{Pair: &Pair{BaselineClient: same}} }
	turns := []*turn{{name: Baseline, bed: bed(true)}, {name: Default, bed: bed(true)}, {name: "kernel-veth", bed: bed(false)}}
	calibrate(0.4, list, turns)
	for i, want := range []float64{6, 14} {
		if v := list[i].CPU.ServerSide; v == nil || *v != want {
			t.Errorf("%s: server side %v, want %v", list[i].System, v, want)
		}
	}
	if list[2].CPU.ServerSide != nil {
		t.Error("another client was taken away")
	}
}

// What a client used is the part after Begin of what it says itself: a shell that
// spins. And the parts are the whole.
func TestClientTimeIsMeasured(t *testing.T) {
	s := newSite(t)
	p, err := s.Start("client", "", nil, "sh", "-c", "echo go; i=0; while [ $i -lt 400000 ]; do i=$((i+1)); done")
	if err != nil {
		t.Fatal(err)
	}
	m := &Meter{bed: &Bed{Site: s, Pair: &Pair{}}}
	if err := errors.Join(p.Await(t.Context(), "go"), m.Begin(p)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(p.Wait(t.Context()), m.End()); err != nil {
		t.Fatal(err)
	}
	st := p.cmd.ProcessState
	all := (st.UserTime() + st.SystemTime()).Seconds()
	if m.Spent.Client <= 0 || m.Spent.Client > all+0.001 || m.Spent.Client > m.Spent.Seconds*1.1+0.02 {
		t.Errorf("client: %.3f s of %.3f s in %.3f s", m.Spent.Client, all, m.Spent.Seconds)
	}
	sum := m.Spent.Server + m.Spent.Client + m.Spent.Carriers + m.Spent.Kernel + m.Spent.Harness + m.Spent.Foreign
	if sum < m.Spent.Machine-0.001 {
		t.Errorf("the parts are %.3f s, the machine %.3f s", sum, m.Spent.Machine)
	}
}
