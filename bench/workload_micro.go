// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"time"
)

var _ = registerWorkload(
	&Workload{
		Name: "micro-encapsulation", About: "VXLAN and outer headers, checksums complete and verified: geometric mean of the Go benchmarks", Rank: 100,
		Unit: "ns", Less: true, Form: Full, Takes: func(time.Duration) time.Duration { return 6 * time.Second }, Programs: []string{"go"}, Systems: []string{alone},
		Run: func(ctx context.Context, b *Bed, m *Meter, _ time.Duration) error {
			return b.goBench(ctx, m, "./dataplane/xsk", "^BenchmarkEncapsulation$", "-benchtime", "50ms")
		},
	},
	&Workload{
		Name: "micro-engine", About: "the native TCP engine, both ends on one core: geometric mean of the Go benchmarks", Rank: 101,
		Unit: "ns", Less: true, Form: Full, Takes: func(time.Duration) time.Duration { return 6 * time.Second }, Programs: []string{"go"}, Systems: []string{alone},
		Run: func(ctx context.Context, b *Bed, m *Meter, _ time.Duration) error {
			return b.goBench(ctx, m, "./dataplane/tcp", "^(BenchmarkRequests|BenchmarkBulk|BenchmarkConnect)$", "-benchtime", "50ms")
		},
	},
	&Workload{
		Name: "raw-xdp", About: "AF_XDP on a veth, per frame: a C program, our rings, and the whole link, by turns, 1000/ns being millions of frames a second: geometric mean of all", Rank: 110,
		Unit: "ns", Less: true, Form: All, Takes: func(time.Duration) time.Duration { return 2 * time.Minute }, Programs: []string{"go", "gcc"}, Systems: []string{alone},
		Run: func(ctx context.Context, b *Bed, m *Meter, _ time.Duration) error {
			return b.goBench(ctx, m, "./dataplane/xsk", "^BenchmarkReference$", "-benchtime", "1x", "-timeout", "30m", "-reference")
		},
	},
)

var (
	benchmarkLine = regexp.MustCompile(`(?m)^Benchmark(\S+?)(?:-\d+)?\s+\d+\s+([\d.e+]+) ns/op`)
	pairPart      = regexp.MustCompile(`/pair=[^/]*`)
)

// goBench runs Go benchmarks of the source tree that netcon was built in. What
// they print is kept, for benchstat.
func (b *Bed) goBench(ctx context.Context, m *Meter, pkg, pattern string, args ...string) error {
	root := filepath.Dir(filepath.Dir(b.Exe))
	if _, err := os.Stat(filepath.Join(root, "go.mod")); err != nil {
		return fmt.Errorf("the benchmarks of %s are in the source tree, and netcon does not run from there: %w", pkg, err)
	}
	start := time.Now()
	p, err := b.Start("go test", "", nil, append([]string{"go", "test", "-C", root, "-run", "^$", "-benchmem", "-bench", pattern, pkg}, args...)...)
	if err != nil {
		return err
	}
	defer b.forget(p)
	if err := p.Wait(ctx); err != nil {
		return fmt.Errorf("go test %s: %w: %s", pkg, err, lastLine(p.Text()))
	}
	m.Text, m.Seconds = p.Text(), time.Since(start).Seconds()
	m.Extra = map[string]float64{}
	counts := map[string]float64{}
	sum, n := 0.0, 0.0
	for _, f := range benchmarkLine.FindAllStringSubmatch(m.Text, -1) {
		ns, err := strconv.ParseFloat(f[2], 64)
		if err != nil || ns <= 0 {
			continue
		}
		name := pairPart.ReplaceAllString(f[1], "")
		m.Extra[name] = (m.Extra[name]*counts[name] + ns) / (counts[name] + 1)
		counts[name]++
		sum += math.Log(ns)
		n++
	}
	if n == 0 {
		return errors.New("the benchmarks printed no figures: " + lastLine(m.Text))
	}
	m.Value = math.Exp(sum / n)
	return nil
}
