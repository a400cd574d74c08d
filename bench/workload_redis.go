// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

var _ = registerWorkload(redis("get", 1, Quick), redis("set", 1, Full), redis("get", 16, Full), redis("set", 16, Full))

func redis(command string, pipeline int, form Form) *Workload {
	return &Workload{
		Name:  fmt.Sprintf("redis-%s-%d", command, pipeline),
		About: fmt.Sprintf("redis-benchmark %s, 50 connections, pipeline %d", strings.ToUpper(command), pipeline), Rank: 50,
		Unit: "requests/s", Per: "request", Form: form, Calibrated: true, Programs: []string{"redis-server", "redis-benchmark"}, Systems: mostFor(form), More: overlays,
		Serve: serveRedis,
		Run: func(ctx context.Context, b *Bed, m *Meter, d time.Duration) error {
			// It counts requests, not time: the rate before says how many.
			const first = 10000
			n := b.Scratch["rate"] * d.Seconds()
			if n == 0 {
				rate, _, err := b.redisBenchmark(ctx, nil, d, command, pipeline, first)
				if err != nil {
					return err
				}
				n = rate * d.Seconds()
			}
			requests := int(max(first, n))
			rate, latency, err := b.redisBenchmark(ctx, m, d, command, pipeline, requests)
			if err != nil {
				return err
			}
			b.Scratch["rate"] = rate
			m.Value, m.Latency = rate, latency
			m.Requests, m.Seconds = float64(requests), float64(requests)/rate
			m.Bytes = uint64(requests) * uint64(len("+OK\r\n"))
			return nil
		},
	}
}

func serveRedis(ctx context.Context, b *Bed) error {
	dir := filepath.Join(b.Dir, b.Server.NS+"-redis")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return b.serve(ctx, "Ready to accept connections", "redis-server", "--port", strconv.Itoa(redisPort), "--bind", b.Server.Bind.String(),
		"--save", "", "--protected-mode", "no", "--dir", dir)
}

// redisBenchmark runs redis-benchmark, measured if there is a meter.
func (b *Bed) redisBenchmark(ctx context.Context, m *Meter, d time.Duration, command string, pipeline, requests int) (rate float64, l *Latency, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, d+loadGrace, errors.New("redis-benchmark does not end"))
	defer cancel()
	p, err := b.On(b.Client, "redis-benchmark", "redis-benchmark", "-h", b.Server.Addr.String(), "-p", strconv.Itoa(redisPort),
		"-c", "50", "-P", strconv.Itoa(pipeline), "-n", strconv.Itoa(requests), "-t", command, "--csv")
	if err != nil {
		return 0, nil, err
	}
	defer b.forget(p)
	if m != nil {
		if err := m.Begin(p); err != nil {
			return 0, nil, err
		}
	}
	if err := p.Wait(ctx); err != nil {
		return 0, nil, fmt.Errorf("redis-benchmark: %w: %s", err, lastLine(p.Text()))
	}
	if m != nil {
		if err := m.End(); err != nil {
			return 0, nil, err
		}
	}
	text := p.Text()
	rows, err := csv.NewReader(strings.NewReader(text[max(0, strings.Index(text, `"test"`)):])).ReadAll()
	if err != nil || len(rows) != 2 || len(rows[1]) != 8 {
		return 0, nil, fmt.Errorf("redis-benchmark's report: %q (%w)", text, err)
	}
	// test, rps, and in ms: avg, min, p50, p95, p99, max
	v := make([]float64, 8)
	for i := 1; i < 8; i++ {
		if v[i], err = strconv.ParseFloat(rows[1][i], 64); err != nil {
			return 0, nil, fmt.Errorf("redis-benchmark's report: %w", err)
		}
	}
	if v[1] <= 0 {
		return 0, nil, errors.New("redis-benchmark: no request succeeded")
	}
	return v[1], &Latency{How: "closed loop, by redis-benchmark", Count: int64(requests), Mean: v[2] * 1e3, P50: v[4] * 1e3, P99: v[6] * 1e3, Max: v[7] * 1e3}, nil
}
