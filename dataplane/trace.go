// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"netcon/dataplane/stat"
	"netcon/dataplane/trace"
)

// maxTraces is how many traces may run at once: each takes trace.DefaultRing
// bytes per worker.
const maxTraces = 4

// How long a reader may take to read what is left once its trace ends.
const (
	drainTime = 10 * time.Second
	// lastDrainTime is the same when the daemon ends, which waits for it.
	lastDrainTime = 300 * time.Millisecond
)

// DefaultSnaplen takes whole frames.
const DefaultSnaplen = trace.MaxSnaplen

// TraceOptions say what a trace shows. Zero values are the defaults.
type TraceOptions struct {
	Container string        // its frames only; empty: all containers'
	Layer     string        // inner (default), outer or both
	Direction string        // in, out or inout (default)
	Snaplen   int           // bytes of each frame; 0: DefaultSnaplen
	Count     uint64        // packets after which it ends; 0: no limit
	Duration  time.Duration // after which it ends; 0: no limit
}

// TraceSummary is what became of a trace.
type TraceSummary struct {
	Packets uint64
	Dropped uint64 // the reader was too slow for them
	End     string // why it ended: one of TraceEnd...
}

// Why a trace ended.
const (
	TraceEndCount    = "count"
	TraceEndDuration = "duration"
	TraceEndReader   = "reader"
	TraceEndDaemon   = "daemon"
)

// The summary is sent as trailers.
const (
	trailerPackets = "Netcon-Packets"
	trailerDropped = "Netcon-Dropped"
	trailerEnd     = "Netcon-End"
)

// Check says what is wrong with o, as far as that can be told without a daemon.
func (o TraceOptions) Check() error {
	_, _, err := parseTrace(o.query())
	return err
}

// query returns o as parseTrace reads it.
func (o TraceOptions) query() url.Values {
	q := url.Values{}
	set := func(key, value, zero string) {
		if value != zero {
			q.Set(key, value)
		}
	}
	set("container", o.Container, "")
	set("layer", o.Layer, "")
	set("direction", o.Direction, "")
	set("snaplen", strconv.Itoa(o.Snaplen), "0")
	set("count", strconv.FormatUint(o.Count, 10), "0")
	set("duration", o.Duration.String(), "0s")
	return q
}

// parseTrace reads the query of a request. What o does not say comes back as
// its default.
func parseTrace(q url.Values) (o TraceOptions, cfg trace.Config, err error) {
	o.Snaplen = DefaultSnaplen
	for key, values := range q {
		if len(values) != 1 {
			return o, cfg, fmt.Errorf("%s given %d times", key, len(values))
		}
		v := values[0]
		switch key {
		case "container":
			o.Container = v
		case "layer":
			o.Layer = v
		case "direction":
			o.Direction = v
		case "snaplen":
			if o.Snaplen, err = strconv.Atoi(v); err != nil || o.Snaplen < trace.MinSnaplen || o.Snaplen > trace.MaxSnaplen {
				return o, cfg, fmt.Errorf("snaplen %q (want %d to %d bytes)", v, trace.MinSnaplen, trace.MaxSnaplen)
			}
		case "count":
			if o.Count, err = strconv.ParseUint(v, 10, 64); err != nil {
				return o, cfg, fmt.Errorf("count %q (want a number of packets)", v)
			}
		case "duration":
			if o.Duration, err = time.ParseDuration(v); err != nil || o.Duration <= 0 {
				return o, cfg, fmt.Errorf("duration %q (want one like 10s, above zero)", v)
			}
		default:
			return o, cfg, fmt.Errorf("unknown parameter %q", key)
		}
	}
	if cfg.Layers, err = trace.ParseLayer(o.Layer); err != nil {
		return o, cfg, err
	}
	if cfg.Direction, err = trace.ParseDirection(o.Direction); err != nil {
		return o, cfg, err
	}
	cfg.Container, cfg.Snaplen, cfg.Count = o.Container, o.Snaplen, o.Count
	return o, cfg, nil
}

// tracing is the traces that run.
type tracing struct {
	ctx context.Context // ends with the daemon
	end context.CancelFunc

	mu      sync.Mutex
	running int
}

func newTracing() *tracing {
	t := &tracing{}
	t.ctx, t.end = context.WithCancel(context.Background())
	return t
}

// enter reports whether one more trace may run; leave follows then.
func (t *tracing) enter() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.running >= maxTraces {
		return false
	}
	t.running++
	return true
}

func (t *tracing) leave() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.running--
}

// serveTrace streams frames as pcapng until the reader goes away, the daemon
// ends, or what was asked for is there. A reader that closes its sending half
// gets what is left and the statistics.
func (d *Dataplane) serveTrace(w http.ResponseWriter, r *http.Request) {
	o, cfg, err := parseTrace(r.URL.Query())
	if err != nil {
		d.controlStat.DropShared(stat.DropControlMalformed)
		http.Error(w, "trace: "+err.Error(), http.StatusBadRequest)
		return
	}
	running := d.control.tracing
	if !running.enter() {
		http.Error(w, fmt.Sprintf("trace: %d traces run already (end one of them)", maxTraces), http.StatusServiceUnavailable)
		return
	}
	defer running.leave()
	if err := d.describeTrace(&cfg); err != nil {
		http.Error(w, "trace: "+err.Error(), http.StatusNotFound)
		return
	}
	t, err := trace.New(cfg)
	if err != nil {
		http.Error(w, "trace: "+err.Error(), http.StatusInternalServerError)
		return
	}
	defer t.Close()

	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	if o.Duration != 0 {
		ctx, cancel = context.WithTimeout(ctx, o.Duration)
		defer cancel()
	}
	rc := http.NewResponseController(w)
	deadline := func() {
		d := drainTime
		if running.ctx.Err() != nil {
			d = lastDrainTime
		}
		_ = rc.SetWriteDeadline(time.Now().Add(d))
	}
	defer context.AfterFunc(ctx, deadline)()
	defer context.AfterFunc(running.ctx, func() { cancel(); deadline() })()

	w.Header().Set("Content-Type", "application/x-pcapng")
	w.Header().Set("Connection", "close") // the deadlines stay with it
	w.Header().Set("Trailer", trailerPackets+", "+trailerDropped+", "+trailerEnd)
	d.log.Info("trace begins", "container", o.Container, "layer", o.Layer, "snaplen", o.Snaplen)
	stop := sync.OnceFunc(d.group.Trace(t))
	defer stop() // before Close, come what may
	err = t.Copy(ctx, w, rc.Flush)
	stop()
	var s trace.Summary
	if err == nil {
		s, err = t.Finish(w, rc.Flush)
	}
	end := traceEnd(running.ctx, r.Context(), ctx)
	d.log.Info("trace ends", "packets", s.Packets, "dropped", s.Dropped, "end", end)
	if err != nil {
		panic(http.ErrAbortHandler) // the stream is not whole, and shall not look so
	}
	w.Header().Set(trailerPackets, strconv.FormatUint(s.Packets, 10))
	w.Header().Set(trailerDropped, strconv.FormatUint(s.Dropped, 10))
	w.Header().Set(trailerEnd, end)
}

// traceEnd says why a trace ended, given the ends of the daemon, of the reader
// and of the time.
func traceEnd(daemon, reader, duration context.Context) string {
	switch {
	case daemon.Err() != nil:
		return TraceEndDaemon
	case reader.Err() != nil:
		return TraceEndReader
	case duration.Err() != nil:
		return TraceEndDuration
	}
	return TraceEndCount
}

// describeTrace fills in what the daemon knows.
func (d *Dataplane) describeTrace(cfg *trace.Config) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var names []string
	known := cfg.Container == ""
	for _, c := range d.containers {
		names = append(names, c.Name)
		known = known || c.Name == cfg.Container
		t := trace.Container{Name: c.Name, VNI: c.network.VNI, MAC: c.MAC}
		for _, a := range c.Addresses {
			subnet, _ := c.network.Subnet(a)
			t.Addrs = append(t.Addrs, netip.PrefixFrom(a, subnet.Bits()))
		}
		cfg.Containers = append(cfg.Containers, t)
	}
	if !known {
		have := "there is none"
		if len(names) > 0 {
			have = "have " + strings.Join(names, ", ")
		}
		return fmt.Errorf("container %q: unknown (%s)", cfg.Container, have)
	}
	cfg.Workers = len(d.group.Workers())
	cfg.VTEP = netip.AddrPortFrom(d.cfg.Underlay.Address, d.cfg.Underlay.Port)
	cfg.Rebuilt = !d.group.Tapped()
	cfg.Now = d.group.Now
	cfg.Application = "netcon " + Version()
	return nil
}
