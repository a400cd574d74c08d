// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"netcon/dataplane/trace"
	"netcon/dataplane/wire"
	"netcon/internal/testenv"
)

// send makes a container send n frames of 1000 bytes to everybody.
func (d *daemon) send(t testing.TB, container string, n int) {
	t.Helper()
	d.mu.Lock()
	s := d.find(container).shard
	d.mu.Unlock()
	payload := make([]byte, 1000)
	if !s.Worker().Do(func() {
		for range n {
			s.Send(wire.Broadcast, wire.EtherTypeARP, payload)
		}
	}) {
		t.Errorf("container %s cannot send", container)
	}
}

// capture is somebody who reads a trace.
type capture struct {
	mu     sync.Mutex
	b      bytes.Buffer
	cancel context.CancelFunc
	done   chan struct{}

	// valid once done is closed
	sum TraceSummary
	err error
}

func (c *capture) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.b.Write(b)
}

// read returns the names of the stream's interfaces, and its frames of 1000
// bytes by interface, as far as they have come.
func (c *capture) read() (names []string, frames map[string]int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	le := binary.LittleEndian
	frames = map[string]int{}
	// The blocks of a pcapng stream: type, length, body, length.
	for b := c.b.Bytes(); len(b) >= 8 && int(le.Uint32(b[4:])) <= len(b); b = b[le.Uint32(b[4:]):] {
		switch le.Uint32(b) {
		case 1: // interface: its name is the first option
			names = append(names, string(b[20:][:le.Uint16(b[18:])]))
		case 6: // packet
			if le.Uint32(b[24:]) >= 1000 {
				frames[names[le.Uint32(b[8:])]]++
			}
		}
	}
	return names, frames
}

// capture begins a trace and waits until its first bytes are there.
func (d *daemon) capture(t testing.TB, o TraceOptions) *capture {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	c := &capture{cancel: cancel, done: make(chan struct{})}
	t.Cleanup(cancel)
	go func() {
		defer close(c.done)
		c.sum, c.err = d.client().Trace(ctx, o, c)
	}()
	testenv.WaitFor(t, 5*time.Second, func() bool {
		names, _ := c.read()
		return len(names) > 0 || c.over()
	}, "the start of a trace")
	return c
}

func (c *capture) over() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// end waits until the trace is over and checks why.
func (c *capture) end(t testing.TB, why string) {
	t.Helper()
	select {
	case <-c.done:
	case <-time.After(10 * time.Second):
		t.Fatalf("the trace does not end (%s)", why)
	}
	if c.err != nil || c.sum.End != why {
		t.Errorf("%+v, %v, want the end %q", c.sum, c.err, why)
	}
}

func TestTrace(t *testing.T) {
	d := start(t, parse(t, text(runDir(t), 1)))
	if _, err := d.client().Trace(context.Background(), TraceOptions{Duration: time.Millisecond}, io.Discard); err != nil {
		t.Fatal(err)
	}
	was := look(t)

	all := d.capture(t, TraceOptions{})
	two := d.capture(t, TraceOptions{Container: "two", Layer: "both"})
	out := d.capture(t, TraceOptions{Layer: "outer", Direction: "in"})
	count := d.capture(t, TraceOptions{Container: "one", Direction: "out", Snaplen: 64, Count: 3})
	d.send(t, "one", 5)

	count.end(t, TraceEndCount)
	if count.sum.Packets != 3 {
		t.Errorf("%+v, want 3 packets", count.sum)
	}
	// Live: before the trace ends.
	for _, c := range []struct {
		name  string
		c     *capture
		names string
		want  string
	}{
		{"all", all, "[one two]", "map[one:5 two:5]"},
		{"two", two, "[two underlay]", "map[two:5]"},
		{"outer", out, "[underlay]", "map[]"}, // it leaves, and nobody answers
	} {
		var names []string
		var frames map[string]int
		testenv.WaitFor(t, 5*time.Second, func() bool {
			names, frames = c.c.read()
			return fmt.Sprint(frames) == c.want
		}, "%s: the frames %s", c.name, c.want)
		if got := fmt.Sprint(names); got != c.names {
			t.Errorf("%s: interfaces %s, want %s", c.name, got, c.names)
		}
		c.c.cancel()
		c.c.end(t, TraceEndReader)
		if n := bytes.Count(c.c.b.Bytes(), []byte{5, 0, 0, 0}); n < len(names) {
			t.Errorf("%s: no statistics at the end", c.name)
		}
	}
	was.settle(t, "four traces")
	if log := d.log.take(); strings.Count(log, "trace begins") != 5 || strings.Count(log, "trace ends") != 5 {
		t.Errorf("logged:\n%s", log)
	}
}

// TestTraceReload: a container that is added while a trace runs is in it.
func TestTraceReload(t *testing.T) {
	dir := runDir(t)
	d := start(t, parse(t, text(dir, 1)))
	c := d.capture(t, TraceOptions{})
	more := text(dir, 1) + "[[container]]\nname = \"three\"\nnetwork = \"net\"\naddresses = [\"10.42.0.99\"]\n"
	if err := d.Reload(parse(t, more)); err != nil {
		t.Fatal(err)
	}
	d.send(t, "three", 1)
	testenv.WaitFor(t, 5*time.Second, func() bool {
		names, frames := c.read()
		return len(names) == 3 && frames["three"] == 1
	}, "a frame of the new container")
}

func TestTraceErrors(t *testing.T) {
	d := start(t, parse(t, text(runDir(t), 1)))
	for _, c := range []struct {
		query, want string // of the answer
		malformed   bool
	}{
		{"container=web", `404: trace: container "web": unknown (have one, two)`, false},
		{"container=ONE", `404: trace: container "ONE": unknown (have one, two)`, false},
		{"layer=middle", `400: trace: layer "middle" (want inner, outer or both)`, true},
		{"direction=up", `400: trace: direction "up" (want in, out or inout)`, true},
		{"snaplen=63", `400: trace: snaplen "63" (want 64 to 262144 bytes)`, true},
		{"snaplen=262145", `400: trace: snaplen "262145" (want 64 to 262144 bytes)`, true},
		{"snaplen=x", `400: trace: snaplen "x" (want 64 to 262144 bytes)`, true},
		{"count=-1", `400: trace: count "-1" (want a number of packets)`, true},
		{"duration=0s", `400: trace: duration "0s" (want one like 10s, above zero)`, true},
		{"duration=10", `400: trace: duration "10" (want one like 10s, above zero)`, true},
		{"layer=inner&layer=outer", `400: trace: layer given 2 times`, true},
		{"colour=red", `400: trace: unknown parameter "colour"`, true},
	} {
		before := d.Stats().Control.Drops["control_malformed"]
		if got := ask(t, d, "/v1/trace?"+c.query); got != c.want {
			t.Errorf("%s: %s, want %s", c.query, got, c.want)
		}
		if n := d.Stats().Control.Drops["control_malformed"] - before; (n == 1) != c.malformed {
			t.Errorf("%s: counted %d times", c.query, n)
		}
	}
	if _, err := d.client().Trace(context.Background(), TraceOptions{Container: "web"}, io.Discard); err == nil ||
		err.Error() != `trace: container "web": unknown (have one, two)` {
		t.Errorf("the client says %v", err)
	}
	if _, err := NewClient("/nonexistent").Trace(context.Background(), TraceOptions{}, io.Discard); err == nil ||
		!strings.Contains(err.Error(), "no daemon at /nonexistent") {
		t.Errorf("the client says %v", err)
	}
}

// ask returns the status and body of an answer that is no trace.
func ask(t testing.TB, d *daemon, path string) string {
	t.Helper()
	resp, err := d.client().http.Get("http://netcon" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1000))
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d: %s", resp.StatusCode, strings.TrimSuffix(string(b), "\n"))
}

// TestTraceQuery: what a client asks for is what the daemon reads.
func TestTraceQuery(t *testing.T) {
	for _, o := range []TraceOptions{
		{Snaplen: DefaultSnaplen},
		{Container: "a b&c=d", Layer: "both", Direction: "in", Snaplen: 100, Count: 1 << 63, Duration: 1500 * time.Millisecond},
	} {
		q, err := url.ParseQuery(o.query().Encode())
		if err != nil {
			t.Fatal(err)
		}
		got, cfg, err := parseTrace(q)
		if err != nil || got != o {
			t.Errorf("got %+v, %v, want %+v", got, err, o)
		}
		if cfg.Container != o.Container || cfg.Snaplen != o.Snaplen || cfg.Count != o.Count || cfg.Layers == 0 || cfg.Direction == 0 {
			t.Errorf("%+v became %+v", o, cfg)
		}
	}
	if err := (TraceOptions{}).Check(); err != nil {
		t.Error(err)
	}
	for _, o := range []TraceOptions{{Layer: "x"}, {Direction: "x"}, {Snaplen: -1}, {Duration: -1}} {
		if o.Check() == nil {
			t.Errorf("%+v was taken", o)
		}
	}
}

// TestTraceLimit: so many traces and no more, and one that ends makes room.
func TestTraceLimit(t *testing.T) {
	d := start(t, parse(t, text(runDir(t), 1)))
	var running []*capture
	for range maxTraces {
		running = append(running, d.capture(t, TraceOptions{}))
	}
	want := "trace: 4 traces run already (end one of them)"
	if _, err := d.client().Trace(context.Background(), TraceOptions{}, io.Discard); err == nil || err.Error() != want {
		t.Errorf("one more: %v, want %s", err, want)
	}
	running[0].cancel()
	running[0].end(t, TraceEndReader)
	testenv.WaitFor(t, 5*time.Second, func() bool {
		_, err := d.client().Trace(context.Background(), TraceOptions{Duration: time.Millisecond}, io.Discard)
		return err == nil
	}, "room for one more")
}

// TestTraceDaemonEnds: traces end with the daemon, in order if they are read,
// and do not keep it from ending if they are not.
func TestTraceDaemonEnds(t *testing.T) {
	d := start(t, parse(t, text(runDir(t), 1)))
	c := d.capture(t, TraceOptions{Container: "one", Snaplen: 64})
	stopped, err := net.Dial("unix", AdminPath(d.dir))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stopped.Close() }()
	if _, err := io.WriteString(stopped, "GET /v1/trace HTTP/1.1\r\nHost: netcon\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	testenv.WaitFor(t, 5*time.Second, func() bool { return strings.Count(d.log.peek(), "trace begins") == 2 }, "the other trace")
	sent := 0
	for range 40 { // 20 MB: more than the ring and the socket between hold
		d.send(t, "one", 500)
		sent += 500
	}
	begin := time.Now()
	if err := d.stop(); err != nil {
		t.Error(err)
	}
	if took := time.Since(begin); took > 3*time.Second {
		t.Errorf("the end took %v", took)
	}
	c.end(t, TraceEndDaemon)
	if _, frames := c.read(); frames["one"]+int(c.sum.Dropped) < sent {
		t.Errorf("%d frames read and %d dropped of %d", frames["one"], c.sum.Dropped, sent)
	}
	if _, err := d.client().Trace(context.Background(), TraceOptions{}, io.Discard); err == nil {
		t.Error("a daemon that has ended traces")
	}
}

// TestTraceReaderStops: what a reader does not take is lost and counted, and
// the containers go on; a reader that comes back gets a whole stream.
func TestTraceReaderStops(t *testing.T) {
	d := start(t, parse(t, text(runDir(t), 1)))
	var gate sync.Mutex
	c := &capture{done: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	gate.Lock()
	go func() {
		defer close(c.done)
		c.sum, c.err = d.client().Trace(ctx, TraceOptions{Container: "one"}, writerFunc(func(b []byte) (int, error) {
			gate.Lock()
			defer gate.Unlock()
			return c.Write(b)
		}))
	}()
	testenv.WaitFor(t, 5*time.Second, func() bool { return strings.Contains(d.log.peek(), "trace begins") }, "the trace")
	for range 40 {
		d.send(t, "one", 500)
	}
	gate.Unlock()
	// It is shown again once there is room.
	testenv.WaitFor(t, 10*time.Second, func() bool {
		d.send(t, "two", 1)
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.b.Len() > trace.DefaultRing
	}, "what was kept")
	cancel()
	c.end(t, TraceEndReader)
	_, frames := c.read()
	if got := uint64(frames["one"]); c.sum.Dropped == 0 || got > c.sum.Packets || got+c.sum.Dropped < 20_000 {
		t.Errorf("%d frames in the stream, summary %+v, want 20000 and more in all", got, c.sum)
	}
}

type writerFunc func(b []byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// TestTraceWriterFails: whoever writes the trace somewhere is told why not.
func TestTraceWriterFails(t *testing.T) {
	d := start(t, parse(t, text(runDir(t), 1)))
	broken := errors.New("broken")
	_, err := d.client().Trace(context.Background(), TraceOptions{}, writerFunc(func([]byte) (int, error) { return 0, broken }))
	if !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	testenv.WaitFor(t, 5*time.Second, func() bool { return strings.Contains(d.log.peek(), "trace ends") }, "the daemon to notice")
}

// peek returns what was logged.
func (l *logged) peek() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
