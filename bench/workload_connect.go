// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"errors"
	"time"
)

var _ = registerWorkload(&Workload{
	Name: "connect", About: "connect, 64 bytes there and back, close; 64 at a time", Rank: 40,
	Unit: "connections/s", Per: "connection", Form: Full, Calibrated: true, Systems: few, More: overlays,
	Serve: serveEcho(),
	Run: func(ctx context.Context, b *Bed, m *Meter, d time.Duration) error {
		held := b.heldAfter(3 * d / 4) // a quarter is warm-up
		r, err := b.load(ctx, m, d, echoPort, "-conns", "64", "-close")
		if err != nil {
			return errors.Join(err, held(m))
		}
		if err := m.load(&r, "closed loop"); err != nil {
			return err
		}
		return held(m)
	},
})
