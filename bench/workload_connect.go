// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"time"
)

var _ = registerWorkload(&Workload{
	Name: "connect", About: "connect, 64 bytes there and back, close; 64 at a time", Rank: 40,
	Unit: "connections/s", Per: "connection", Form: Full, Calibrated: true, Systems: few, More: overlays,
	Serve: serveEcho(),
	Run: func(ctx context.Context, b *Bed, m *Meter, d time.Duration) error {
		r, err := b.load(ctx, m, d, echoPort, "-conns", "64", "-close")
		if err != nil {
			return err
		}
		if err := m.load(&r, "closed loop"); err != nil {
			return err
		}
		return b.countHeld(m)
	},
})
