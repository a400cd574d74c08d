// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"
)

var _ = registerWorkload(&Workload{
	Name:  "held",
	About: "idle connections through a prefork server, a message of 512 bytes per connection and minute: memory per connection, and the rate of 64 busy connections meanwhile, with as many as the limits allow", Rank: 90,
	Unit: "bytes/connection", Less: true, Per: "message", Form: Full, Fresh: true, Takes: func(d time.Duration) time.Duration { return 2*time.Duration(len(heldSteps))*d + 10*time.Second }, Systems: []string{"kernel-veth"},
	Serve: serveEcho("-workers", "2"),
	Run:   holdConnections,
})

// activeConnections are busy while the others are held, to see what holding
// costs those.
const activeConnections = 64

// heldSteps are how many connections are tried: up to what 20,000 descriptors
// allow a program.
var heldSteps = []int{1000, 4000, 16000, 18000}

// holdConnections opens more and more connections until a limit is met.
func holdConnections(ctx context.Context, b *Bed, m *Meter, d time.Duration) error {
	var limit error
	if err := settleSlab(ctx); err != nil {
		return err
	}
	before := readResident((&Meter{bed: b}).groups())
	for _, n := range heldSteps {
		step, r, err := b.hold(ctx, m, before, n, d)
		if err := ctx.Err(); err != nil {
			return err
		}
		if err != nil {
			limit = err
			break
		}
		memory := &step.Memory
		m.HeldCurve = append(m.HeldCurve, step)
		m.Memory = memory
		m.Value = memory.Server + memory.Shared + memory.Carriers + memory.Slab
		m.Requests, m.Seconds, m.Errors = float64(r.Requests), r.seconds(), r.Errors
		m.Bytes += uint64(n) * messageSize
		if m.Latency, err = r.distribution(fmt.Sprintf("%d connections, a message per minute each, from when it was due", n)); err != nil {
			return err
		}
	}
	if m.Memory == nil {
		return limit
	}
	m.Extra = map[string]float64{
		"held": float64(m.Memory.Connections), "server B": m.Memory.Server, "shared B": m.Memory.Shared,
		"daemon B": m.Memory.Carriers, "slab B": m.Memory.Slab, "busy requests/s": m.HeldCurve[len(m.HeldCurve)-1].Rate,
	}
	if limit != nil {
		m.Marks = append(m.Marks, "limit: "+limit.Error())
	}
	return nil
}

const messageSize = 512

// hold opens n connections, looks at the memory, at what others get done, and
// sends messages for a while. before is what was there before the first of all:
// what an earlier step needed is there still, and used again.
func (b *Bed) hold(ctx context.Context, m *Meter, before resident, n int, d time.Duration) (*Held, *loadReport, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, 2*d+6*loadGrace, errors.New("connections do not open"))
	defer cancel()
	meter := &Meter{bed: b, profile: m.profile}
	start := time.Now()
	p, err := b.On(b.Client, "echoload", b.tool("echoload"), b.Server.Addr.String(), strconv.Itoa(echoPort), "-conns", strconv.Itoa(n),
		"-size", strconv.Itoa(messageSize), "-rate", strconv.Itoa(max(1, n/60)), "-hold", "-warmup", "0", "-time", strconv.FormatInt(d.Milliseconds(), 10))
	if err != nil {
		return nil, nil, err
	}
	defer b.forget(p)
	if err := p.AwaitFor(ctx, 6*loadGrace, "holding"); err != nil {
		return nil, nil, err
	}
	step := &Held{Opened: float64(n) / time.Since(start).Seconds()}
	step.Memory = *readResident(meter.groups()).perConnection(before, n)
	busy, err := b.load(ctx, &Meter{bed: b}, d/2, echoPort, "-conns", strconv.Itoa(activeConnections), "-size", strconv.Itoa(messageSize))
	if err != nil {
		return nil, nil, err
	}
	m.Bytes += busy.Bytes
	latency, err := busy.distribution("closed loop")
	if err != nil || latency == nil {
		return nil, nil, fmt.Errorf("none of %d busy connections got a reply while %d were held (%w)", activeConnections, n, orEnd(err))
	}
	step.Rate, step.P50, step.P99 = float64(busy.Requests)/busy.seconds(), latency.P50, latency.P99
	if _, err := io.WriteString(p.in, "\n"); err != nil {
		return nil, nil, err
	}
	if err := p.Await(ctx, "measuring"); err != nil {
		return nil, nil, err
	}
	if err := meter.Begin(p); err != nil {
		return nil, nil, err
	}
	if err := p.Wait(ctx); err != nil {
		return nil, nil, fmt.Errorf("echoload: %w: %s", err, lastLine(p.Text()))
	}
	if err := meter.End(); err != nil {
		return nil, nil, err
	}
	m.Spent, m.Marks, m.perf = meter.Spent, meter.Marks, meter.perf // of the most connections
	r, err := parseLoad(p.Text())
	return step, &r, err
}
