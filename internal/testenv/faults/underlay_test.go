// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"netcon/dataplane/stream"
)

// fake is an underlay that delivers what the test puts into it. Its FD is an
// eventfd that is readable while something waits.
type fake struct {
	fd      int
	waiting [][]byte
	room    []byte
	queued  []string
	sent    []string // what Flush passed, as "vtep flow payload"
	to      string
	closed  bool
}

var vtep = netip.MustParseAddr("198.51.100.7")

func newFake(t *testing.T) *fake {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	return &fake{fd: fd}
}

func (f *fake) arrive(payload []byte) {
	f.waiting = append(f.waiting, payload)
	unix.Write(f.fd, []byte{1, 0, 0, 0, 0, 0, 0, 0})
}

func (f *fake) Recv(sink stream.Sink, budget int) int {
	n := min(budget, len(f.waiting))
	for _, p := range f.waiting[:n] {
		sink.Frame(vtep, p)
	}
	if f.waiting = f.waiting[n:]; len(f.waiting) == 0 {
		unix.Read(f.fd, make([]byte, 8))
	}
	return n
}

func (f *fake) Reserve(dst netip.Addr, flow uint32, n int) []byte {
	f.room, f.to = make([]byte, n), fmt.Sprintf("%v %d", dst, flow)
	return f.room
}
func (f *fake) Commit()     { f.queued = append(f.queued, fmt.Sprintf("%s %x", f.to, f.room)) }
func (f *fake) Flush() bool { f.sent, f.queued = append(f.sent, f.queued...), nil; return false }
func (f *fake) FD() int     { return f.fd }
func (f *fake) Close() error {
	f.closed = true
	return unix.Close(f.fd)
}

// collector is a sink that keeps copies.
type collector struct{ got [][]byte }

func (c *collector) Frame(src netip.Addr, payload []byte) {
	if src != vtep {
		panic("wrong VTEP " + src.String())
	}
	c.got = append(c.got, bytes.Clone(payload))
}

// readable waits for the underlay's FD as a sleeping worker does.
func readable(t *testing.T, u stream.Underlay, timeout time.Duration) bool {
	t.Helper()
	fds := []unix.PollFd{{Fd: int32(u.FD()), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, int(timeout.Milliseconds()))
	if err != nil && err != unix.EINTR {
		t.Fatal(err)
	}
	return n > 0
}

func TestWrapPassesThrough(t *testing.T) {
	f := newFake(t)
	w := Wrap(f, Config{}, Config{})
	for k := range 3 {
		copy(w.Reserve(vtep, uint32(k), 2), []byte{byte(k), 0xff})
		w.Commit()
	}
	if len(f.sent) != 0 {
		t.Error("frames left before Flush")
	}
	w.Flush()
	if want := "[198.51.100.7 0 00ff 198.51.100.7 1 01ff 198.51.100.7 2 02ff]"; fmt.Sprint(f.sent) != want {
		t.Errorf("sent %v, want %v", f.sent, want)
	}
	if readable(t, w, 0) {
		t.Error("readable while nothing waits")
	}
	for k := range 10 {
		f.arrive([]byte{byte(k)})
	}
	if !readable(t, w, 0) {
		t.Error("not readable while frames wait")
	}
	var c collector
	if n := w.Recv(&c, 6); n != 6 || len(c.got) != 6 {
		t.Errorf("Recv of 6 gave %d", n)
	}
	if n := w.Recv(&c, 6); n != 4 || c.got[9][0] != 9 {
		t.Errorf("Recv of the rest gave %d: %v", n, c.got)
	}
	if readable(t, w, 0) {
		t.Error("readable after everything was taken")
	}
	tx, rx := w.Report()
	if tx.Out != 3 || rx.Out != 10 {
		t.Errorf("reports %+v %+v", tx, rx)
	}
	if err := w.Close(); err != nil || !f.closed {
		t.Errorf("Close: %v, inner closed %v", err, f.closed)
	}
}

// TestWrapWakesUp: delayed frames of both directions come out although the
// worker does nothing but sleep on FD.
func TestWrapWakesUp(t *testing.T) {
	const delay = 30 * time.Millisecond
	f := newFake(t)
	w := Wrap(f, Config{Delay: delay}, Config{Delay: delay})
	defer w.Close()
	start := time.Now()
	w.Reserve(vtep, 1, 4)
	w.Commit()
	w.Flush()
	f.arrive([]byte{7})
	var c collector
	if n := w.Recv(&c, 10); n != 0 || len(f.sent) != 0 {
		t.Fatalf("nothing waited: %d in, %d out", n, len(f.sent))
	}
	wakes := 0
	for len(c.got) == 0 || len(f.sent) == 0 {
		if !readable(t, w, 5*time.Second) {
			t.Fatalf("stuck: %d in, %d out", len(c.got), len(f.sent))
		}
		w.Recv(&c, 10)
		wakes++
	}
	if took := time.Since(start); took < delay {
		t.Errorf("took %v", took)
	}
	if wakes > 4 {
		t.Errorf("%d wake-ups for two frames", wakes)
	}
	if readable(t, w, 0) {
		t.Error("readable after everything came out")
	}
}

// TestWrapBudget: frames that are due but beyond the budget keep FD readable.
func TestWrapBudget(t *testing.T) {
	f := newFake(t)
	w := Wrap(f, Config{}, Config{Duplicate: 1})
	defer w.Close()
	for k := range 8 {
		f.arrive([]byte{byte(k)})
	}
	var c collector
	for turn := range 16 {
		if !readable(t, w, time.Second) {
			t.Fatalf("turn %d: not readable with %d of 16 given", turn, len(c.got))
		}
		if n := w.Recv(&c, 1); n != 1 {
			t.Fatalf("turn %d: gave %d", turn, n)
		}
	}
	if n := w.Recv(&c, 1); n != 0 || len(c.got) != 16 {
		t.Errorf("%d frames", len(c.got))
	}
}

// TestWrapDrop: dropped frames neither arrive nor leave, and Recv does not
// report an empty wire while more has arrived.
func TestWrapDrop(t *testing.T) {
	f := newFake(t)
	w := Wrap(f, Config{Drop: 1}, Config{Drop: .5, Seed: 1})
	defer w.Close()
	for range 100 {
		f.arrive([]byte{0})
		w.Reserve(vtep, 0, 10)
		w.Commit()
	}
	w.Flush()
	var c collector
	if n := w.Recv(&c, 10); n != 10 {
		t.Errorf("Recv gave %d of its budget", n)
	}
	for w.Recv(&c, 10) == 10 {
	}
	tx, rx := w.Report()
	if len(f.sent) != 0 || tx.Dropped != 100 || tx.Queued != 0 {
		t.Errorf("sent %d, report %+v", len(f.sent), tx)
	}
	if rx.Seen != 100 || int(rx.Out) != len(c.got) || rx.Dropped+rx.Out != 100 || rx.Dropped < 20 {
		t.Errorf("given %d, report %+v", len(c.got), rx)
	}
}

// TestWrapReply: a sink that answers from inside Frame must not disturb the
// frame it is reading.
func TestWrapReply(t *testing.T) {
	f := newFake(t)
	w := Wrap(f, Config{}, Config{})
	defer w.Close()
	for k := range 100 {
		f.arrive([]byte{byte(k), byte(k)})
	}
	if n := w.Recv(echo{w}, 200); n != 100 {
		t.Fatalf("gave %d", n)
	}
	w.Flush()
	if len(f.sent) != 100 || f.sent[99] != "198.51.100.7 9 6363" {
		t.Errorf("sent %v", f.sent)
	}
}

type echo struct{ u stream.Underlay }

func (e echo) Frame(src netip.Addr, payload []byte) {
	copy(e.u.Reserve(src, 9, len(payload)), payload)
	e.u.Commit()
}
