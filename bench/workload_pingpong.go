// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"fmt"
	"strconv"
	"time"
)

var _ = registerWorkload(pingpong(10, 1, 1000), pingpong(11, 64, 10000), pingpong(12, 1000, 10000))

// pingpong is 64 bytes there and back on a number of connections: as fast as it
// goes, and then at a rate that all systems reach, for latencies that can be
// compared.
func pingpong(rank, conns, rate int) *Workload {
	n, noun := strconv.Itoa(conns), "connections"
	systems := few
	if conns == 64 {
		systems = overlays
	}
	if conns == 1 {
		noun = "connection"
	}
	return &Workload{
		Name: "pingpong-" + n, About: "64 bytes there and back, " + n + " " + noun, Rank: rank,
		Unit: "requests/s", Per: "request", Calibrated: true, Takes: loads(1.5),
		Systems: systems, More: overlays,
		Serve: serveEcho(),
		Run: func(ctx context.Context, b *Bed, m *Meter, d time.Duration) error {
			r, err := b.load(ctx, m, d, echoPort, "-conns", n)
			if err != nil {
				return err
			}
			if err := m.load(&r, "closed loop"); err != nil {
				return err
			}
			paced, err := b.load(ctx, m, d/2, echoPort, "-conns", n, "-rate", strconv.Itoa(rate))
			if err != nil {
				return err
			}
			m.Paced, err = paced.distribution(fmt.Sprintf("at %d/s, from when each was due", rate))
			return err
		},
	}
}
