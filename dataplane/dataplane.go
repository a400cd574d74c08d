// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"netcon/dataplane/config"
	"netcon/dataplane/fib"
	"netcon/dataplane/resolve"
	"netcon/dataplane/socket"
	"netcon/dataplane/stat"
	"netcon/dataplane/stream"
	"netcon/dataplane/vxlan"
	"netcon/dataplane/worker"
)

// Bounds that are not worth a knob.
const (
	ringBytesPerWorker = 4 << 30         // pump ring memory, beside each container's limit
	spareProcs         = 2               // GOMAXPROCS beside the workers: gVisor's goroutines, the collector
	expireEvery        = 5 * time.Second // learned addresses, and a look whether traffic stopped
)

// Options are what a configuration file cannot say.
type Options struct {
	Log *slog.Logger
	// WrapUnderlay replaces each worker's underlay by what it returns: the
	// place of a fault injector. May be nil.
	WrapUnderlay func(worker int, u stream.Underlay) stream.Underlay
}

// Dataplane is one daemon.
type Dataplane struct {
	log   *slog.Logger
	began time.Time

	underlay underlay
	group    *worker.Group
	fib      fib.Table
	lock     *dirLock
	attach   *socket.Attach

	control     *control
	controlStat stat.Block // only its shared half is used

	mu         sync.Mutex // guards what Reload changes
	ended      bool       // the underlay is closed
	cfg        *config.Config
	containers []*container
	ports      ports

	resolver    resolve.Resolver
	nameservers atomic.Pointer[map[netip.Addr]bool]
}

// container is a configured container and its place.
type container struct {
	config.Container
	network *config.Network
	mtu     int
	shard   *worker.Shard
}

// Version returns the version this program was built as.
func Version() string {
	if bi, ok := debug.ReadBuildInfo(); ok && bi.Main.Version != "" && bi.Main.Version != "(devel)" {
		return bi.Main.Version
	}
	return "devel"
}

// New takes the sockets and addresses of a configuration and builds its
// containers. Run starts the work. On an error nothing stays behind.
func New(cfg *config.Config, o Options) (_ *Dataplane, err error) {
	d := &Dataplane{log: o.Log, began: time.Now(), cfg: cfg}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	if err := makeRuntimeDir(cfg.Daemon.RuntimeDir); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			d.release()
		}
	}()
	// First of all: of two daemons that start at once one goes on.
	if d.lock, err = lockRuntimeDir(cfg.Daemon.RuntimeDir); err != nil {
		return nil, err
	}
	if d.attach, err = socket.ListenAttach(cfg.Daemon.AttachPath(), &d.controlStat); err != nil {
		return nil, err
	}
	if err := d.start(o); err != nil {
		return nil, err
	}
	for i := range cfg.Containers {
		if err := d.addContainer(cfg, &cfg.Containers[i]); err != nil {
			return nil, err
		}
	}
	if err := d.storeFIB(cfg); err != nil {
		return nil, err
	}
	d.setNames(cfg)
	opened, err := d.openPorts(cfg)
	if err != nil {
		return nil, err
	}
	if err := d.publish(cfg, opened); err != nil {
		return nil, err
	}
	if err := d.listenControl(); err != nil {
		return nil, err
	}
	return d, nil
}

// start opens the underlay and makes the workers around its links.
func (d *Dataplane) start(o Options) error {
	n, err := workersFor(d.cfg)
	if err != nil {
		return err
	}
	runtime.GOMAXPROCS(n + spareProcs)
	// Workers come after the links but own the counters.
	blocks := make([]*stat.Block, n)
	for i := range blocks {
		blocks[i] = &stat.Block{}
	}
	if d.underlay, err = openUnderlay(d.cfg, blocks, d.log); err != nil {
		return err
	}
	links := d.underlay.links()
	for i, l := range links {
		if o.WrapUnderlay != nil {
			links[i] = o.WrapUnderlay(i, l)
		}
	}
	d.group, err = worker.New(worker.Config{
		Underlays: links, Stats: blocks, CPUs: d.cfg.Daemon.CPUs, FIB: &d.fib, VTEP: d.cfg.Underlay.Address,
		Unfinished: d.underlay.software(),
		Idle:       worker.Idle{Busy: d.cfg.Daemon.Idle == config.IdleBusy, Spin: d.cfg.Daemon.Spin},
		RingBytes:  ringBytesPerWorker, Log: d.log,
	})
	return err
}

// release gives back what a failed New took.
func (d *Dataplane) release() {
	if d.attach != nil {
		_ = d.attach.Close()
	}
	if d.group != nil {
		d.group.Close()
	}
	if d.underlay != nil {
		_ = d.underlay.close()
	}
	d.lock.release()
	d.ports.close()
}

// Run serves until ctx ends, then ends every container in order. It may be
// called once.
func (d *Dataplane) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)

	var done sync.WaitGroup
	fail := func(err error) {
		if err != nil {
			cancel(err)
		}
	}
	done.Go(func() { fail(d.control.serve()) })
	done.Go(func() { fail(d.attach.Serve(d.admit)) })
	done.Go(func() { d.expire(ctx) })
	done.Go(func() {
		fail(d.group.Run(ctx))
		cancel(nil)
	})
	d.announce()
	notify(d.log, "READY=1")

	<-ctx.Done()
	notify(d.log, "STOPPING=1")
	d.control.close()
	err := d.attach.Close()
	done.Wait()
	d.mu.Lock()
	d.ended = true
	err = errors.Join(err, d.underlay.close())
	d.ports.close()
	d.mu.Unlock()
	d.lock.release()
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return errors.Join(cause, err)
	}
	d.log.Info("down")
	return err
}

// announce tells the networks where the containers are, and the log what runs.
func (d *Dataplane) announce() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.containers {
		c.shard.Worker().Do(c.shard.Announce)
	}
	d.log.Info("up", "underlay", d.cfg.Underlay.Kind, "address", netip.AddrPortFrom(d.cfg.Underlay.Address, d.cfg.Underlay.Port),
		"workers", len(d.group.Workers()), "networks", len(d.cfg.Networks), "containers", len(d.cfg.Containers),
		"runtime_dir", d.cfg.Daemon.RuntimeDir)
}

// expire forgets learned addresses that have aged, and gives memory back to the
// system once traffic has stopped: what a burst left behind would otherwise stay
// until the collector has a reason to run.
func (d *Dataplane) expire(ctx context.Context) {
	t := time.NewTicker(expireEvery)
	defer t.Stop()
	seen, freed := uint64(0), uint64(0)
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		d.fib.Load().Expire(d.group.Now())
		now := d.activity()
		if idle := now == seen; idle && now != freed {
			debug.FreeOSMemory()
			freed = now
		}
		seen = now
	}
}

// activity returns a number that grows with traffic and stands still without.
func (d *Dataplane) activity() (n uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, w := range d.group.Workers() {
		n += w.Stat().Get(stat.RxFrames)
	}
	for _, c := range d.containers {
		n += c.shard.Stat().Get(stat.ControlCalls) + c.shard.Stat().Get(stat.AppTx)
	}
	return n
}

// innerMTU returns the largest inner IP packet of a network.
func (d *Dataplane) innerMTU(n *config.Network) int {
	mtu := vxlan.InnerMTU(d.underlay.mtu(), d.cfg.Underlay.Address.Is6())
	if n.MTU != 0 {
		mtu = min(mtu, n.MTU)
	}
	return mtu
}

// find returns the container of that name; the empty name means the only one.
func (d *Dataplane) find(name string) *container {
	if name == "" && len(d.containers) == 1 {
		return d.containers[0]
	}
	if i := slices.IndexFunc(d.containers, func(c *container) bool { return c.Name == name }); i >= 0 {
		return d.containers[i]
	}
	return nil
}

// DefaultRuntimeDir returns where commands look for the daemon: $NETCON_RUN, or
// the directory that this user's daemon takes by default, or the system's where
// this user has none. One that somebody else made in its place is none: its
// maker would get the programs' traffic.
func DefaultRuntimeDir() string {
	if dir := os.Getenv("NETCON_RUN"); dir != "" {
		return dir
	}
	own := config.DefaultRuntimeDir()
	st, err := os.Lstat(own)
	if err == nil && (!st.IsDir() || ownerOf(st) != os.Getuid()) {
		return config.SystemRuntimeDir
	}
	if err != nil {
		if _, err := os.Stat(config.SystemRuntimeDir); err == nil {
			return config.SystemRuntimeDir
		}
	}
	return own
}

// makeRuntimeDir makes the directory of the daemon's sockets, and refuses one
// in which somebody else could put files.
func makeRuntimeDir(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make runtime directory: %w", err)
	}
	st, err := os.Lstat(dir)
	if err != nil {
		return fmt.Errorf("look at runtime directory: %w", err)
	}
	if !st.IsDir() {
		return fmt.Errorf("runtime directory %s: not a directory", dir)
	}
	if uid := ownerOf(st); uid != os.Getuid() {
		return fmt.Errorf("runtime directory %s: belongs to user %d, not to us (%d)", dir, uid, os.Getuid())
	}
	if st.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("runtime directory %s: writable by others (mode %o; want at most 755)", dir, st.Mode().Perm())
	}
	// Who may write to a directory above could put another one in its place.
	for up := filepath.Dir(dir); ; up = filepath.Dir(up) {
		st, err := os.Stat(up)
		if err != nil {
			return fmt.Errorf("look above runtime directory: %w", err)
		}
		if st.Mode()&(0o002|os.ModeSticky) == 0o002 {
			return fmt.Errorf("runtime directory %s: everybody may replace it (mode %o of %s; want it sticky or not writable)",
				dir, st.Mode().Perm(), up)
		}
		if up == filepath.Dir(up) {
			return nil
		}
	}
}
