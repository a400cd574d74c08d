// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"time"
)

var _ = registerWorkload(&Workload{
	Name: "idle", About: "what carries the traffic, while there is none, with a server that listens: share of a processor", Rank: 80,
	Unit: "%", Less: true, Form: Full, Takes: loads(2), Systems: []string{"userspace-tun", "netcon+underlay=udp"},
	Serve: serveEcho(),
	Run: func(ctx context.Context, b *Bed, m *Meter, d time.Duration) error {
		// One request, so that there is a path to prove.
		r, err := b.load(ctx, &Meter{bed: b}, 100*time.Millisecond, echoPort, "-conns", "1")
		if err != nil {
			return err
		}
		m.Bytes = r.Bytes
		if err := m.Begin(nil); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(2 * d): // the ticks of the processor's time are coarse
		}
		if err := m.End(); err != nil {
			return err
		}
		m.Seconds = m.Spent.Seconds
		m.Value = 100 * m.Spent.Carriers / m.Spent.Seconds
		return nil
	},
})
