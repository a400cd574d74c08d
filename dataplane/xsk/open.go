// SPDX-License-Identifier: Apache-2.0

package xsk

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"netcon/bpf"
	"netcon/dataplane/nexthop"
)

// Device is an interface whose overlay traffic is ours: its queues, the XDP
// program before them, and the next hops behind it.
type Device struct {
	cfg     Config
	ifindex int
	shape   shape
	limit   int // largest outer IP packet, whatever the device's MTU becomes
	rx, tx  int // queues of the device
	links   []*Link
	bells   atomic.Pointer[[]*bell]
	tooBig  atomic.Bool // a frame exceeded the MTU

	// Opened in this order, closed in the other.
	port    int // the socket that reserves the UDP port
	table   *nexthop.Table
	program *bpf.Program
	watch   watch

	mu     sync.RWMutex // over closing while the watch or Report reads
	open   int          // links that are not closed
	closed bool
}

// Open takes the overlay's traffic on all receive queues of a device. Either
// everything is open or nothing.
//
// Until the last step the host has its traffic: the program is attached first
// and leaves everything to the host; then the sockets are bound; a queue's
// frames are redirected once its socket is registered.
func Open(cfg Config) (*Device, error) {
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("open xdp underlay: %w", err)
	}
	d := &Device{cfg: cfg, port: -1}
	if err := d.start(); err != nil {
		return nil, errors.Join(fmt.Errorf("open xdp underlay %s: %w", cfg.Interface, err), d.Close())
	}
	return d, nil
}

func (d *Device) start() error {
	cfg := &d.cfg
	ifc, err := net.InterfaceByName(cfg.Interface)
	if err != nil {
		return fmt.Errorf("find interface: %w", err)
	}
	d.ifindex = ifc.Index
	ch, err := readChannels(cfg.Interface)
	if err != nil {
		return err
	}
	if err := ch.check(cfg.Interface, cfg.Workers); err != nil {
		return err
	}
	d.rx, d.tx = ch.rx, ch.tx
	if err := d.fit(ifc.MTU); err != nil {
		return err
	}
	if d.port, cfg.Local, err = reservePort(cfg.Local); err != nil {
		return err
	}
	local := cfg.Local.Addr().WithZone("")
	if d.table, err = nexthop.Open(nexthop.Config{Ifindex: ifc.Index, Local: local, Log: cfg.Log, Changed: d.ring}); err != nil {
		return err
	}
	if d.program, err = bpf.Load(bpf.Config{VTEP: local, Ports: []uint16{cfg.Local.Port()}, Queues: ch.rx, Frags: d.shape.multi}); err != nil {
		return err
	}
	if err := d.program.Attach(ifc.Index, cfg.Mode); err != nil {
		return err
	}
	if err := d.openQueues(); err != nil {
		return err
	}
	d.watch.start(d)
	return nil
}

// fit chooses the shape of frames for the device's MTU.
func (d *Device) fit(mtu int) error {
	mtu = min(mtu, maxPacket)
	if least := overheadOf(d.cfg.Local.Addr()) + 1; mtu < least {
		return fmt.Errorf("MTU %d (at least %d)", mtu, least)
	}
	if d.cfg.MTU > mtu {
		return fmt.Errorf("MTU %d is larger than the device's %d (ip link set %s mtu %d)", d.cfg.MTU, mtu, d.cfg.Interface, d.cfg.MTU)
	}
	d.shape = shapeFor(mtu)
	d.limit = d.shape.mtu
	if d.cfg.MTU > 0 {
		d.limit = d.cfg.MTU
	}
	return nil
}

// openQueues opens a link per worker and deals the queues out to them.
func (d *Device) openQueues() error {
	for w := range d.cfg.Workers {
		l, err := newLink(d, w)
		if err != nil {
			return err
		}
		d.links = append(d.links, l)
		d.open++
	}
	var bells []*bell
	for _, l := range d.links {
		bells = append(bells, &l.bell)
	}
	d.bells.Store(&bells)
	b := binding{
		ifname: d.cfg.Interface, ifindex: d.ifindex, shape: d.shape, frames: d.cfg.Frames,
		zeroCopy: d.cfg.ZeroCopy, busyPoll: d.cfg.BusyPoll,
	}
	if d.program.Mode() == bpf.Generic {
		if b.zeroCopy == On {
			return fmt.Errorf("zero copy in generic mode (native mode: %w)", d.program.Fallback())
		}
		b.zeroCopy = Off
	}
	for number := range d.rx {
		b.queue = number
		q, err := newQueue(b, number < d.tx)
		if err != nil {
			return err
		}
		if err := d.links[number%d.cfg.Workers].add(q); err != nil {
			return err
		}
	}
	for _, l := range d.links {
		for _, q := range l.queues {
			if err := d.program.Register(q.number, q.fd); err != nil {
				return err
			}
		}
	}
	return nil
}

// ring wakes every worker: something has changed that frames may wait for. It is
// called on the table's goroutine, so it takes no lock that Report holds.
func (d *Device) ring() {
	if bells := d.bells.Load(); bells != nil {
		for _, b := range *bells {
			b.ring()
		}
	}
}

// Links returns the links, one per worker.
func (d *Device) Links() []*Link { return d.links }

// Local returns the VTEP's address and port.
func (d *Device) Local() netip.AddrPort { return d.cfg.Local }

// MTU returns the largest outer IP packet in bytes that may be sent now.
func (d *Device) MTU() int {
	if mtu := d.table.MTU(); mtu > 0 {
		return min(mtu, d.limit)
	}
	return d.limit
}

// Close leaves the traffic to the host and closes everything. No worker may be
// inside a call of its link. Closing again does nothing.
func (d *Device) Close() error {
	var errs []error
	for _, l := range d.links {
		errs = append(errs, d.closeLink(l))
	}
	errs = append(errs, d.closeDevice())
	return errors.Join(errs...)
}

// closeLink closes a link, and the device with the last.
func (d *Device) closeLink(l *Link) error {
	d.mu.Lock()
	if l.closed {
		d.mu.Unlock()
		return nil
	}
	l.closed = true
	d.open--
	last := d.open == 0
	var errs []error
	for _, q := range l.queues {
		errs = append(errs, d.program.Unregister(q.number), q.close())
	}
	l.queues, l.senders = nil, nil
	errs = append(errs, l.bell.close())
	d.mu.Unlock()
	if last {
		errs = append(errs, d.closeDevice())
	}
	return errors.Join(errs...)
}

// closeDevice closes what the links share.
func (d *Device) closeDevice() error {
	d.mu.Lock()
	closed := d.closed
	d.closed = true
	d.mu.Unlock()
	if closed {
		return nil
	}
	// Not under the lock: the watch reads reports, the table rings.
	d.watch.stop()
	var errs []error
	if d.program != nil {
		errs = append(errs, d.program.Close())
	}
	if d.table != nil {
		errs = append(errs, d.table.Close())
	}
	if d.port >= 0 {
		errs = append(errs, unix.Close(d.port))
		d.port = -1
	}
	return errors.Join(errs...)
}
