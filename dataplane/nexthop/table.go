// SPDX-License-Identifier: Apache-2.0

package nexthop

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Config is what a Table is made from.
type Config struct {
	// Ifindex is the Ethernet interface that outer frames leave by.
	Ifindex int
	// Local is the outer source address. VTEPs of its family are reached.
	Local netip.Addr
	// Port is the outer UDP destination port, for routing rules that name
	// one; 0: such rules do not count.
	Port uint16
	// Log gets what an operator should know; nil logs nowhere.
	Log *slog.Logger
	// Changed, unless nil, is called after a new snapshot is in force. It
	// runs on the table's goroutine: it must not block, nor call Entries or
	// Close.
	Changed func()
}

// Table follows the next hops of VTEPs. See the package comment.
type Table struct {
	// constant after Open
	local   netip.Addr // without a zone
	port    uint16
	index   int
	max     int       // tracked VTEPs
	seed    [2]uint64 // of the snapshots
	log     *slog.Logger
	changed func()
	kernel  kernel
	feed    *socket // multicast; read by follow

	// shared
	now    atomic.Pointer[snapshot] // written by run
	wanted wishes                   // VTEPs that Lookup did not find
	inbox  inbox                    // what follow heard
	bell   chan struct{}            // rung for wanted and inbox
	calls  chan func()              // run by run
	done   chan struct{}            // closed by Close
	once   sync.Once
	ended  sync.WaitGroup // follow and run

	// owned by run
	link       linkInfo
	vrf        int // ifindex of the VRF that the interface belongs to, or 0
	vteps      map[netip.Addr]*vtep
	neighbours map[netip.Addr]*neighbour
	trying     int          // neighbours whose entries are not usable
	managed    bool         // the kernel keeps neighbours resolved
	fresh      queue        // new VTEPs
	stale      queue        // VTEPs whose routes may have changed
	spare      []netip.Addr // recycled by admit
	dirty      routeChanges // not yet asked for
	limit      limiter      // of questions for routes
	logLimit   limiter
	unlogged   int       // VTEPs that the log was not told of
	touched    bool      // what the snapshot is made from may have changed
	published  time.Time // the last snapshot
	timers     timers
}

// Open follows the next hops that are reached through an interface of the
// calling thread's network namespace, and stays in that namespace. It needs
// CAP_NET_ADMIN.
func Open(cfg Config) (*Table, error) {
	t, err := open(cfg)
	if err != nil {
		return nil, fmt.Errorf("open next hops of interface %d for %s: %w", cfg.Ifindex, cfg.Local, err)
	}
	t.start()
	return t, nil
}

func (t *Table) start() {
	t.ended.Add(2)
	go t.follow()
	go t.run()
}

// open makes a table that is not yet run.
func open(cfg Config) (_ *Table, err error) {
	t := &Table{
		local: cfg.Local.WithZone(""), port: cfg.Port, index: cfg.Ifindex, log: cfg.Log, changed: cfg.Changed,
		max: maxVTEPs, seed: [2]uint64{rand.Uint64(), rand.Uint64()},
		bell: make(chan struct{}, 1), calls: make(chan func()), done: make(chan struct{}),
		vteps: make(map[netip.Addr]*vtep), neighbours: make(map[netip.Addr]*neighbour),
		managed: true, limit: limiter{rate: routeRate, burst: routeBurst}, logLimit: limiter{rate: logRate, burst: logBurst},
	}
	if t.log == nil {
		t.log = slog.New(slog.DiscardHandler)
	}
	switch {
	case cfg.Ifindex <= 0:
		return nil, errors.New("no such interface")
	case !t.trackable(t.local):
		return nil, errors.New("the outer source address is not a unicast address")
	}
	// Before anything is read: what changes meanwhile is heard.
	if t.feed, err = openSocket(groups...); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = t.closeSockets()
		}
	}()
	if t.kernel.socket, err = openSocket(); err != nil {
		return nil, err
	}
	// More room before messages are lost. Less will do as well.
	_ = t.feed.setReceiveBuffer(feedBuffer)
	if err = t.readLink(); err != nil {
		return nil, fmt.Errorf("read interface: %w", err)
	}
	switch {
	case t.link.flags&unix.IFF_LOOPBACK != 0:
		return nil, fmt.Errorf("%s is the loopback interface (want an Ethernet device)", t.link.name)
	case t.link.hardware != unix.ARPHRD_ETHER || t.link.mac.IsZero():
		return nil, fmt.Errorf("%s is not an Ethernet device (hardware type %d)", t.link.name, t.link.hardware)
	case !t.zoneOK(cfg.Local):
		return nil, fmt.Errorf("the zone is not %s", t.link.name)
	}
	t.publish(time.Now())
	return t, nil
}

// zoneOK reports whether the zone of ip, if it has one, is our interface.
func (t *Table) zoneOK(ip netip.Addr) bool {
	z := ip.Zone()
	return z == "" || z == t.link.name || z == strconv.Itoa(t.index)
}

// Close stops following and removes the neighbour entries that the table made.
// Lookup keeps its last answers. Close is idempotent.
func (t *Table) Close() error {
	var err error
	t.once.Do(func() {
		close(t.done)
		err = t.feed.close() // ends follow
		t.ended.Wait()
		err = errors.Join(err, t.kernel.close())
	})
	return err
}

func (t *Table) closeSockets() error {
	err := t.feed.close()
	if t.kernel.socket != nil {
		err = errors.Join(err, t.kernel.close())
	}
	return err
}

// ring wakes run up.
func (t *Table) ring() {
	select {
	case t.bell <- struct{}{}:
	default:
	}
}
