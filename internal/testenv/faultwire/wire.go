// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"netcon/internal/testenv/faults"
)

// frameBuffer is larger than any frame that a packet socket gives.
const frameBuffer = 256 << 10

// readBurst is how many frames one port gives before the other has its turn.
const readBurst = 16

// direction carries frames from one port to the other.
type direction struct {
	from, to *port
	inj      *faults.Injector
	cut      faults.Segmenter
	emit     func(frame []byte)
	now      time.Duration // of the burst being read
	out      []byte        // a frame behind an empty virtio header
	stats    faults.DirectionReport
}

// wire is two ports and what flows between them.
type wire struct {
	ports      [2]*port
	directions [2]*direction
	alarm      *faults.Alarm
	epfd       int
	in         []byte
}

func newWire(a, b string, cfg faults.Config) (*wire, error) {
	pa, err := openPort(a)
	if err != nil {
		return nil, err
	}
	pb, err := openPort(b)
	if err != nil {
		unix.Close(pa.fd)
		return nil, err
	}
	w := &wire{ports: [2]*port{pa, pb}, epfd: -1, in: make([]byte, frameBuffer)}
	// The directions must not drop the same frames of a ping and its answer.
	back := cfg
	back.Seed = ^cfg.Seed
	w.directions = [2]*direction{newDirection(pa, pb, cfg), newDirection(pb, pa, back)}
	if w.alarm, err = faults.NewAlarm(); err != nil {
		w.close()
		return nil, err
	}
	if w.epfd, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		w.close()
		return nil, fmt.Errorf("create epoll set: %w", err)
	}
	return w, nil
}

func newDirection(from, to *port, cfg faults.Config) *direction {
	d := &direction{from: from, to: to, inj: faults.New(cfg), out: make([]byte, vnetLen, frameBuffer)}
	d.emit = func(frame []byte) { d.inj.Push(frame, d.now) }
	return d
}

func (w *wire) close() {
	for _, p := range w.ports {
		unix.Close(p.fd)
	}
	if w.alarm != nil {
		w.alarm.Close()
	}
	if w.epfd >= 0 {
		unix.Close(w.epfd)
	}
}

// run forwards until the eventfd stop is readable.
func (w *wire) run(stop int) error {
	for _, fd := range []int{w.ports[0].fd, w.ports[1].fd, w.alarm.FD(), stop} {
		ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}
		if err := unix.EpollCtl(w.epfd, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
			return fmt.Errorf("watch fd %d: %w", fd, err)
		}
	}
	events := make([]unix.EpollEvent, 4)
	for {
		n, err := unix.EpollWait(w.epfd, events, -1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("wait for frames: %w", err)
		}
		for _, ev := range events[:max(n, 0)] {
			if int(ev.Fd) == stop {
				return nil
			}
		}
		for _, d := range w.directions {
			if err := d.pull(w.in, w.alarm.Now()); err != nil {
				return err
			}
			d.drain(w.alarm.Now())
		}
		w.alarm.Set(w.alarm.Now(), w.directions[0].inj, w.directions[1].inj)
	}
}

// pull reads a burst of frames into the injector.
func (d *direction) pull(buf []byte, now time.Duration) error {
	d.now = now
	for range readBurst {
		h, frame, err := d.from.read(buf)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return nil
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.ENETDOWN), errors.Is(err, unix.EBADMSG):
			// An interface that is down gives nothing and may come back.
			continue
		case err != nil:
			return fmt.Errorf("read from %s: %w", d.from.name, err)
		}
		d.stats.Received++
		if !h.isGSO() {
			faults.FinishChecksums(frame)
			d.emit(frame)
			continue
		}
		if d.cut.Segment(frame, h.csumStart(), h.gsoSize(), d.emit) {
			d.stats.SuperFrames++
		} else {
			d.stats.Unsegmented++
		}
	}
	return nil
}

// drain writes the frames that are due.
func (d *direction) drain(now time.Duration) {
	for {
		frame, ok := d.inj.Pop(now)
		if !ok {
			return
		}
		d.out = append(d.out[:vnetLen], frame...)
		switch _, err := unix.Write(d.to.fd, d.out); {
		case err == nil:
		case errors.Is(err, unix.EMSGSIZE):
			d.stats.TooBig++
		default:
			d.stats.SendErrors++
		}
	}
}

func (w *wire) report() faults.WireReport {
	for _, d := range w.directions {
		d.stats.Report = d.inj.Report()
		d.stats.KernelDrops += d.from.drops()
	}
	return faults.WireReport{AToB: w.directions[0].stats, BToA: w.directions[1].stats}
}
