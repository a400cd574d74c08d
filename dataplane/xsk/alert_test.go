// SPDX-License-Identifier: Apache-2.0

package xsk

import "testing"

// burst sends enough to make a link alert, and receives it.
func burst(t *testing.T, l, peer *Link, dst *host) {
	t.Helper()
	for i := range 2 * alertBurst {
		put(l, dst.a4, 1, payload(i, 100))
	}
	flushed(t, l)
	if !l.alert.on || !readable(l.FD(), 0) {
		t.Fatalf("alert %v after a burst, or the worker sleeps", l.alert.on)
	}
	receive(t, peer, 2*alertBurst)
	peer.Flush()
	if !peer.alert.on || !readable(peer.FD(), 0) {
		t.Fatalf("alert %v after a burst was received, or the worker sleeps", peer.alert.on)
	}
}

// After a burst the worker may sleep as soon as nothing is left to do, and not
// before: a frame that arrived while nobody watched is seen.
func TestAlert(t *testing.T) {
	a, b := cable(t, 1500, 1)
	l := a.open(t, Config{}).Links()[0]
	peer := b.open(t, Config{}).Links()[0]
	resolved(t, l, b.a4)
	resolved(t, peer, a.a4)
	burst(t, l, peer, b)
	put(peer, a.a4, 1, payload(0, 100))
	flushed(t, peer)
	l.Flush() // with nothing to do: it watches, and sees the frame
	if l.alert.on || !readable(l.FD(), 0) {
		t.Fatalf("alert %v, or a frame is not seen", l.alert.on)
	}
	receive(t, l, 1)
	for _, x := range []*Link{l, peer} {
		x.Flush()
		if x.alert.on || readable(x.FD(), 0) {
			t.Error("nothing to do, and the worker is kept awake")
		}
	}
}

// Who rings while a link is alert is heard, then or later.
func TestRungWhileAlert(t *testing.T) {
	a, b := cable(t, 1500, 1)
	l := a.open(t, Config{}).Links()[0]
	peer := b.open(t, Config{}).Links()[0]
	resolved(t, l, b.a4)
	burst(t, l, peer, b)
	l.bell.ring()
	if !l.bell.answer() || l.bell.answer() || !readable(l.FD(), 0) {
		t.Error("rung once, and not answered once, or the bell was let go")
	}
	l.bell.ring()
	l.bell.letGo()
	if !readable(l.FD(), 0) || !l.bell.answer() || readable(l.FD(), 0) {
		t.Error("rung before the bell was let go, and not heard once")
	}
	l.bell.hold()
}

// If a socket cannot be watched again the worker stays awake and tries again.
func TestWatchFails(t *testing.T) {
	a, b := cable(t, 1500, 1)
	l := a.open(t, Config{}).Links()[0]
	peer := b.open(t, Config{}).Links()[0]
	resolved(t, l, b.a4)
	burst(t, l, peer, b)
	epoll := l.bell.epoll
	l.bell.epoll = -1
	l.Flush()
	l.bell.epoll = epoll
	if !l.alert.on || !readable(l.FD(), 0) {
		t.Fatal("the worker sleeps, and nobody watches")
	}
	l.Flush()
	if l.alert.on || readable(l.FD(), 0) {
		t.Error("the worker is kept awake")
	}
}
