// SPDX-License-Identifier: Apache-2.0

package xsk

import (
	"errors"

	"golang.org/x/sys/unix"
)

// alertBurst is how many packets of one turn, received or to be sent, make a
// link alert. What that costs, four system calls for as long as it lasts, is won
// back by about as many.
const alertBurst = 16

// alert is whether a link's sockets are watched. The kernel wakes who watches a
// socket for every packet of it that it frees after sending, and on some
// devices for every one that arrives; that costs more than 100 ns each time,
// also while nobody sleeps. So while there is much to do nobody watches, and
// the bell is held readable instead: the worker does not sleep, and looks into
// the rings. The first turn with nothing to do ends that.
type alert struct {
	on       bool
	received int // since the last Flush
}

// attend makes the link alert if this turn has much to do, and reports whether
// it had anything to do.
func (l *Link) attend() (worked bool) {
	a := &l.alert
	packets := a.received
	a.received = 0
	for _, q := range l.queues {
		packets += int(q.tx.next - q.tx.shown)
	}
	if !a.on && packets >= alertBurst {
		for _, q := range l.queues {
			_ = l.bell.unwatch(q.fd) // it is watched; if not, so much the better
		}
		l.bell.hold()
		a.on = true
	}
	return packets > 0
}

// rest has the sockets watched again after a turn that had nothing to do. What
// has arrived since is seen at once, as the bell is level-triggered.
func (l *Link) rest() {
	a := &l.alert
	if !a.on {
		return
	}
	for _, q := range l.queues {
		if err := l.bell.watch(q.fd); err != nil && !errors.Is(err, unix.EEXIST) {
			return // the next turn tries again; until then the worker is awake
		}
	}
	l.bell.letGo()
	a.on = false
}
