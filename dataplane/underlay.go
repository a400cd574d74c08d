// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"fmt"
	"log/slog"

	"netcon/dataplane/config"
	"netcon/dataplane/stat"
	"netcon/dataplane/stream"
	"netcon/dataplane/wire"
	"netcon/dataplane/xsk"
)

// underlay is the daemon's way to the wire, made of one link per worker.
type underlay interface {
	// links returns the workers' links.
	links() []stream.Underlay
	// mtu returns the largest outer IP packet in bytes.
	mtu() int
	// software says that frames of this host's kernel arrive with inner
	// checksums that nobody finished.
	software() bool
	// steer tells where containers are, so that frames may arrive on the
	// right worker at once.
	steer(places []place) error
	// features describes on one line what the kernel offered.
	features() string
	// report returns the state of queues and rings, nil if there are none.
	report() *xsk.Report
	// close releases everything. The workers have ended.
	close() error
}

// place says on which worker a container is.
type place struct {
	mac    wire.MAC
	worker int
}

// openUnderlay opens what the configuration asks for: a link for each of the
// stat blocks.
func openUnderlay(cfg *config.Config, blocks []*stat.Block, log *slog.Logger) (underlay, error) {
	if cfg.Underlay.Kind == config.KindXDP {
		return openXDP(cfg, blocks, log)
	}
	return openUDP(cfg, blocks, log)
}

// workersFor returns how many workers a configuration gets: what it asks for,
// or by default no more than can have a receive queue each.
func workersFor(cfg *config.Config) (int, error) {
	n := cfg.Daemon.Workers
	if cfg.Underlay.Kind != config.KindXDP || !cfg.Daemon.WorkersByDefault {
		return n, nil
	}
	device, err := underlayDevice(&cfg.Underlay)
	if err != nil {
		return 0, err
	}
	queues, err := xsk.Queues(device)
	if err != nil {
		return 0, fmt.Errorf("count queues of %s: %w", device, err)
	}
	return max(1, min(n, queues)), nil
}
