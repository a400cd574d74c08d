// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"netcon/dataplane/stream"
)

// Underlay is a stream.Underlay whose frames meet faults in both directions, in
// real time. Frames of either direction that waited come out of a later Recv or
// Flush; FD becomes readable when that is due.
type Underlay struct {
	inner  stream.Underlay
	tx, rx *Injector
	alarm  *Alarm
	epfd   int

	room []byte // what the last Reserve gave out
	to   label  // and where it goes
}

var _ stream.Underlay = (*Underlay)(nil)

// Wrap puts faults around u: those of tx on the way out, those of rx on the way
// in. The result owns u. It panics if a configuration is not valid or no file
// descriptor is left.
func Wrap(u stream.Underlay, tx, rx Config) *Underlay {
	w, err := wrap(u, tx, rx)
	if err != nil {
		panic(fmt.Sprintf("faults: wrap underlay: %v", err))
	}
	return w
}

func wrap(u stream.Underlay, tx, rx Config) (*Underlay, error) {
	alarm, err := NewAlarm()
	if err != nil {
		return nil, err
	}
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		alarm.Close()
		return nil, fmt.Errorf("create epoll set: %w", err)
	}
	for _, fd := range []int{u.FD(), alarm.FD()} {
		ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}
		if err := unix.EpollCtl(epfd, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
			alarm.Close()
			unix.Close(epfd)
			return nil, fmt.Errorf("watch fd %d: %w", fd, err)
		}
	}
	return &Underlay{inner: u, tx: NewEncap(tx), rx: NewEncap(rx), alarm: alarm, epfd: epfd}, nil
}

// Frame takes a frame from the inner underlay. It is called by Recv only.
func (w *Underlay) Frame(src netip.Addr, payload []byte) {
	w.rx.push(payload, label{vtep: src}, w.alarm.Now())
}

// maxRounds bounds how often one Recv asks the inner underlay again because
// faults took what it gave.
const maxRounds = 16

// Recv gives the sink what has arrived and may pass, and sends what has waited
// long enough.
func (w *Underlay) Recv(sink stream.Sink, budget int) int {
	if w.send() {
		w.inner.Flush()
	}
	given := w.give(sink, budget)
	for round := 0; given < budget && round < maxRounds; round++ {
		ask := budget - given
		got := w.inner.Recv(w, ask)
		given += w.give(sink, ask)
		if got < ask {
			break
		}
	}
	w.rearm()
	return given
}

// give passes at most budget inbound frames that are due.
func (w *Underlay) give(sink stream.Sink, budget int) (given int) {
	for now := w.alarm.Now(); given < budget; given++ {
		frame, l, ok := w.rx.pop(now)
		if !ok {
			break
		}
		sink.Frame(l.vtep, frame)
	}
	return given
}

// Reserve returns room for one frame.
func (w *Underlay) Reserve(dst netip.Addr, flow uint32, n int) []byte {
	if cap(w.room) < n {
		w.room = make([]byte, max(n, largeFrame))
	}
	w.room, w.to = w.room[:n], label{vtep: dst, flow: flow}
	return w.room
}

// Commit gives the frame to the outbound injector.
func (w *Underlay) Commit() { w.tx.push(w.room, w.to, w.alarm.Now()) }

// Flush sends the frames that are due.
func (w *Underlay) Flush() (more bool) {
	w.send()
	more = w.inner.Flush()
	w.rearm()
	return more
}

// send commits the outbound frames that are due to the inner underlay and
// reports whether there were any.
func (w *Underlay) send() (sent bool) {
	for now := w.alarm.Now(); ; sent = true {
		frame, l, ok := w.tx.pop(now)
		if !ok {
			return sent
		}
		copy(w.inner.Reserve(l.vtep, l.flow, len(frame)), frame)
		w.inner.Commit()
	}
}

func (w *Underlay) rearm() { w.alarm.Set(w.alarm.Now(), w.tx, w.rx) }

// FD is readable when the inner underlay has something or a frame is due.
func (w *Underlay) FD() int { return w.epfd }

// Close discards what is queued and closes the inner underlay.
func (w *Underlay) Close() error {
	return errors.Join(unix.Close(w.epfd), w.alarm.Close(), w.inner.Close())
}

// Report returns what both injectors did, from any thread.
func (w *Underlay) Report() (tx, rx Report) { return w.tx.Report(), w.rx.Report() }
