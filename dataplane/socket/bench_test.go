// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"fmt"
	"testing"

	"netcon/dataplane/stream"

	"golang.org/x/sys/unix"
)

// looped is one connection in a world that the benchmark turns itself; its
// server writes back nothing by itself.
func looped(t testing.TB, change ...func(*Config)) (w *world, c, s *app) {
	w = idleWorld(t, change...)
	t.Cleanup(w.free)
	quit := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-quit:
				return
			default:
				w.turn(1)
			}
		}
	}()
	_, c, s = w.connection("10.0.0.1:80")
	close(quit)
	<-done
	return w, c, s
}

// step is a turn without system calls that the worker makes: the sockets are
// made ready by hand.
func (w *world) step(fds ...*sock) {
	for _, s := range fds {
		s.Ready(unix.EPOLLIN | unix.EPOLLOUT)
	}
	for w.set.Busy() || w.eng.Busy() {
		w.eng.Poll(w.set, 64)
		w.set.Work(64)
	}
}

func (w *world) sock(a *app) *sock { return w.set.byCookie[a.cookie] }

func TestPumpAllocs(t *testing.T) {
	w, c, s := looped(t)
	cs, ss := w.sock(c), w.sock(s)
	buf := make([]byte, 64)
	sink := &sinkEngine{fakeEngine: w.eng}
	w.set.engine = sink
	// The fake engine allocates: only the pump is measured.
	if n := testing.AllocsPerRun(1000, func() {
		_, _ = send(int32(c.fd), buf)
		cs.Ready(unix.EPOLLIN)
		w.set.Work(64)
		sink.reply(ss)
		w.set.Readable(ss.user())
		w.set.Work(64)
		_, _ = recv(int32(s.fd), buf)
	}); n != 0 {
		t.Errorf("%v allocations per message", n)
	}
	if cs.tx < 1000*64 || ss.rx < 1000*64 {
		t.Errorf("moved %d and %d bytes", cs.tx, ss.rx)
	}
	w.set.engine = w.eng
}

// sinkEngine swallows what is sent and makes up what is received.
type sinkEngine struct {
	*fakeEngine
	endless bool // as much as there is room for
}

func (e *sinkEngine) TxReady(h stream.Handle) {
	s := e.get(h)
	s.pair.Tx.Release(s.pair.Tx.Len())
}

func (e *sinkEngine) RxRoom(h stream.Handle) {
	s := e.get(h)
	if e.endless {
		s.pair.Rx.Publish(s.pair.Rx.Room())
	}
	if s.fin { // made up
		s.fin = false
		first, _ := s.pair.Rx.Reserve()
		s.pair.Rx.Publish(min(64, len(first)))
	}
}

func (e *sinkEngine) reply(s *sock) { e.get(s.handle).fin = true }

// BenchmarkEcho is one 64-byte message through two pumped sockets: two reads,
// two writes of ours and as many of the applications.
func BenchmarkEcho(b *testing.B) {
	w, c, s := looped(b)
	cs, ss := w.sock(c), w.sock(s)
	buf := make([]byte, 64)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		_, _ = send(int32(c.fd), buf)
		w.step(cs)
		_, _ = recv(int32(s.fd), buf)
		_, _ = send(int32(s.fd), buf)
		w.step(ss)
		_, _ = recv(int32(c.fd), buf)
	}
}

// BenchmarkPumpOne is the pump's part of a 64-byte message in one direction,
// with the application's write that makes it.
func BenchmarkPumpOne(b *testing.B) {
	w, c, _ := looped(b)
	cs := w.sock(c)
	w.set.engine = &sinkEngine{fakeEngine: w.eng}
	buf := make([]byte, 64)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		_, _ = send(int32(c.fd), buf)
		cs.Ready(unix.EPOLLIN)
		w.set.Work(64)
	}
	b.StopTimer()
	w.set.engine = w.eng
}

// BenchmarkBulk streams between two pumped sockets for several sizes of the
// kernel's buffer towards the application.
func BenchmarkBulk(b *testing.B) {
	for _, size := range []int{-1, 212992, 1 << 20, 4 << 20} {
		b.Run(fmt.Sprintf("sndbuf=%d", size), func(b *testing.B) {
			w := newWorld(b, func(c *Config) { c.SendBuffer = size })
			w.do(func() { w.eng.window = 256 << 10 })
			_, c, s := w.connection("10.0.0.1:80")
			const chunk = 128 << 10
			b.SetBytes(chunk)
			b.ResetTimer()
			go func() {
				buf := make([]byte, chunk)
				for range b.N {
					c.write(buf)
				}
				unix.Shutdown(c.fd, unix.SHUT_WR)
			}()
			buf := make([]byte, chunk)
			for {
				if n, err := s.read(buf); n <= 0 {
					if err != nil {
						b.Error(err)
					}
					break
				}
			}
		})
	}
}

// BenchmarkBulkRx is the pump alone towards an application that reads.
func BenchmarkBulkRx(b *testing.B) {
	for _, size := range []int{-1, 212992, 1 << 20, 4 << 20} {
		b.Run(fmt.Sprintf("sndbuf=%d", size), func(b *testing.B) {
			w := newWorld(b, func(c *Config) { c.SendBuffer = size })
			_, c, s := w.connection("10.0.0.1:80")
			w.do(func() {
				w.set.engine = &sinkEngine{fakeEngine: w.eng, endless: true}
				w.set.Readable(w.sock(s).user())
			})
			buf := make([]byte, 128<<10)
			b.SetBytes(int64(len(buf)))
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				s.readFull(buf)
			}
			b.StopTimer()
			w.do(func() { w.set.engine = w.eng })
			_ = c
		})
	}
}

// BenchmarkBulkTx is the pump alone from an application that writes.
func BenchmarkBulkTx(b *testing.B) {
	w := newWorld(b)
	_, c, _ := w.connection("10.0.0.1:80")
	w.do(func() { w.set.engine = &sinkEngine{fakeEngine: w.eng} })
	buf := make([]byte, 128<<10)
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		c.write(buf)
	}
	b.StopTimer()
	w.do(func() { w.set.engine = w.eng })
}

// BenchmarkConnectAccept is socket, connect, accept and two closes.
func BenchmarkConnectAccept(b *testing.B) {
	w := newWorld(b)
	l := w.open()
	l.bind("10.0.0.1:80")
	l.listen(128)
	b.ResetTimer()
	for range b.N {
		c := w.open()
		if e := c.connect("10.0.0.1:80"); e != 0 {
			b.Fatal(e)
		}
		l.accept().close()
		c.close()
	}
}
