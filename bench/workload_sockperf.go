// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"time"
)

var _ = registerWorkload(sockperf(13, "tcp", "--tcp"), sockperf(14, "udp"))

// udpSystems are all that UDP passes, too.
var udpSystems = []string{"kernel-bridge", "userspace-tun", "netcon+peer=netcon"}

const sockperfPort = 11111

func sockperf(rank int, protocol string, args ...string) *Workload {
	return &Workload{
		Name: "sockperf-" + protocol, About: "sockperf ping-pong over " + protocol + ", 64 bytes, 1 connection", Rank: rank,
		Unit: "requests/s", Per: "request", Form: Full, Calibrated: true, Takes: wholeSeconds(0.5), Programs: []string{"sockperf"}, Systems: []string{"kernel-veth", "netcon+underlay=udp"}, More: udpSystems, UDP: protocol == "udp",
		Serve: func(ctx context.Context, b *Bed) error {
			return b.serve(ctx, "using recvfrom", append([]string{"sockperf", "server", "-i", b.Server.Bind.String(), "-p", strconv.Itoa(sockperfPort)}, args...)...)
		},
		Run: func(ctx context.Context, b *Bed, m *Meter, d time.Duration) error {
			return b.sockperf(ctx, m, d, args...)
		},
	}
}

var (
	sockperfTotal   = regexp.MustCompile(`\[Valid Duration\] RunTime=([\d.]+) sec; SentMessages=\d+; ReceivedMessages=(\d+)`)
	sockperfMean    = regexp.MustCompile(`avg-(?:latency|rtt)=([\d.]+)`)
	sockperfMax     = regexp.MustCompile(`<MAX> observation =\s+([\d.]+)`)
	sockperfQuarter = regexp.MustCompile(`percentile ([\d.]+) =\s+([\d.]+)`)
)

// sockperf runs sockperf as the measured client, for whole seconds and a warm-up
// of its own.
func (b *Bed) sockperf(ctx context.Context, m *Meter, d time.Duration, args ...string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, d+loadGrace, errors.New("sockperf does not end"))
	defer cancel()
	p, err := b.On(b.Client, "sockperf", append([]string{
		"sockperf", "ping-pong", "-i", b.Server.Addr.String(), "-p", strconv.Itoa(sockperfPort),
		"-t", strconv.Itoa(int(math.Ceil(d.Seconds()))), "-m", "64", "--full-rtt",
	}, args...)...)
	if err != nil {
		return err
	}
	defer b.forget(p)
	if err := p.Await(ctx, "Starting test"); err != nil {
		return err
	}
	if err := m.Begin(p); err != nil {
		return err
	}
	if err := p.Wait(ctx); err != nil {
		return fmt.Errorf("sockperf: %w: %s", err, lastLine(p.Text()))
	}
	if err := m.End(); err != nil {
		return err
	}
	text := p.Text()
	figure := func(re *regexp.Regexp, group int) float64 {
		if f := re.FindStringSubmatch(text); f != nil {
			v, _ := strconv.ParseFloat(f[group], 64)
			return v
		}
		return 0
	}
	m.Seconds, m.Requests = figure(sockperfTotal, 1), figure(sockperfTotal, 2)
	if m.Seconds == 0 || m.Requests == 0 {
		return fmt.Errorf("sockperf: no request succeeded: %s", lastLine(text))
	}
	m.Value, m.Bytes = m.Requests/m.Seconds, uint64(m.Requests)*64
	m.Latency = &Latency{How: "closed loop, by sockperf", Count: int64(m.Requests), Mean: figure(sockperfMean, 1), Max: figure(sockperfMax, 1)}
	for _, f := range sockperfQuarter.FindAllStringSubmatch(text, -1) {
		v, _ := strconv.ParseFloat(f[2], 64)
		switch f[1] {
		case "50.000":
			m.Latency.P50 = v
		case "90.000":
			m.Latency.P90 = v
		case "99.000":
			m.Latency.P99 = v
		case "99.900":
			m.Latency.P999 = v
		}
	}
	return nil
}
