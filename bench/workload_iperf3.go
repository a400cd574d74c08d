// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

var _ = registerWorkload(
	bulk("in", 1, Quick), bulk("out", 1, Quick), bulk("in", 4, Full), bulk("out", 4, Full), bulk("in", 16, All), bulk("out", 16, All),
	lossy("in"), lossy("out"),
)

// bulk is iperf3 to the server (in) or from it (out).
func bulk(direction string, streams int, form Form) *Workload {
	s := "streams"
	if streams == 1 {
		s = "stream"
	}
	to := map[string]string{"in": "to", "out": "from"}[direction]
	return &Workload{
		Name: fmt.Sprintf("iperf3-%s-%d", direction, streams), About: fmt.Sprintf("iperf3, %d %s %s the server", streams, s, to), Rank: 60,
		Unit: "Gbit/s", Per: "MB", Form: form, Calibrated: true, Takes: wholeSeconds(0), Programs: []string{"iperf3"}, Systems: mostFor(form), More: overlays,
		Serve: serveIperf,
		Run: func(ctx context.Context, b *Bed, m *Meter, d time.Duration) error {
			args := []string{"-P", strconv.Itoa(streams)}
			if direction == "out" {
				args = append(args, "-R")
			}
			return b.iperf(ctx, m, d, args...)
		},
	}
}

// lossy is bulk where one frame in a hundred is lost, each way.
func lossy(direction string) *Workload {
	w := bulk(direction, 1, Full)
	w.Name, w.Rank = "loss-"+direction, 70
	w.About += ", 1% of all frames lost each way"
	w.Faults, w.Calibrated = "drop=1%,seed=7", false // losses fall as they like
	w.Systems, w.More = []string{"kernel-veth", "userspace-tun", "netcon+underlay=udp"}, nil
	return w
}

func serveIperf(ctx context.Context, b *Bed) error {
	return b.serve(ctx, "Server listening", "iperf3", "-s", "-B", b.Server.Bind.String(), "-p", strconv.Itoa(iperfPort), "--forceflush")
}

// iperf runs iperf3 as the measured client, for whole seconds.
func (b *Bed) iperf(ctx context.Context, m *Meter, d time.Duration, args ...string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, d+loadGrace, errors.New("iperf3 does not end"))
	defer cancel()
	argv := append([]string{
		"iperf3", "-c", b.Server.Addr.String(), "-p", strconv.Itoa(iperfPort),
		"-t", strconv.Itoa(int(math.Ceil(d.Seconds()))), "--connect-timeout", "5000", "-J",
	}, args...)
	p, err := b.On(b.Client, "iperf3", argv...)
	if err != nil {
		return err
	}
	defer b.forget(p)
	if err := m.Begin(p); err != nil {
		return err
	}
	err = p.Wait(ctx)
	if endErr := m.End(); endErr != nil {
		return endErr
	}
	var r struct {
		Error string
		End   struct {
			Received struct{ Bytes, Seconds float64 } `json:"sum_received"`
			Sent     struct{ Retransmits float64 }    `json:"sum_sent"`
		}
	}
	text := p.Text()
	if jsonErr := json.Unmarshal([]byte(text[max(0, strings.Index(text, "{")):]), &r); jsonErr != nil {
		return fmt.Errorf("iperf3's report: %w (%w): %s", jsonErr, orEnd(err), lastLine(text))
	}
	if err != nil || r.Error != "" {
		return fmt.Errorf("iperf3: %w: %s", orEnd(err), r.Error)
	}
	if r.End.Received.Bytes <= 0 || r.End.Received.Seconds <= 0 {
		return errors.New("iperf3: nothing was received")
	}
	m.Requests, m.Bytes, m.Seconds = r.End.Received.Bytes/1e6, uint64(r.End.Received.Bytes), r.End.Received.Seconds
	m.Value = r.End.Received.Bytes * 8 / r.End.Received.Seconds / 1e9
	m.Extra = map[string]float64{"retransmits": r.End.Sent.Retransmits}
	return nil
}
