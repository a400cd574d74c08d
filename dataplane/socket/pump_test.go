// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"bytes"
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"netcon/dataplane/stat"

	"golang.org/x/sys/unix"
)

type appIO struct{ a *app }

func (x appIO) Read(b []byte) (int, error) {
	n, err := x.a.read(b)
	if err == nil && n == 0 {
		err = io.EOF
	}
	return n, err
}

// TestBothWays sends 64 MiB each way at once in chunks of random sizes.
func TestBothWays(t *testing.T) {
	w := newWorld(t)
	l, c, s := w.connection("10.0.0.1:80")
	const size = 64 << 20
	var wg sync.WaitGroup
	run := func(a *app, seed uint64, sent, got *[32]byte) {
		wg.Add(2)
		go func() {
			defer wg.Done()
			r := rand.New(rand.NewPCG(seed, 1))
			h := sha256.New()
			buf := make([]byte, 300<<10)
			for i := range buf {
				buf[i] = byte(r.Uint32())
			}
			for left := size; left > 0; {
				n := min(left, 1+r.IntN(1<<r.IntN(19)))
				buf[0]++
				h.Write(buf[:n])
				a.write(buf[:n])
				left -= n
			}
			unix.Shutdown(a.fd, unix.SHUT_WR)
			h.Sum(sent[:0])
		}()
		go func() {
			defer wg.Done()
			r := rand.New(rand.NewPCG(seed, 2))
			h := sha256.New()
			buf := make([]byte, 1<<18)
			for {
				n, err := a.read(buf[:1+r.IntN(1<<r.IntN(19))])
				if err != nil {
					t.Error(err)
				}
				if n <= 0 {
					break
				}
				h.Write(buf[:n])
			}
			h.Sum(got[:0])
		}()
	}
	var sent, got [2][32]byte
	run(c, 1, &sent[0], &got[1])
	run(s, 2, &sent[1], &got[0])
	wg.Wait()
	if sent != got {
		t.Fatal("what arrived is not what was sent")
	}
	c.close()
	s.close()
	l.close()
	w.eventually("sockets gone", func() bool { return w.set.Len() == 0 })
	w.eventually("bytes to the application counted", func() bool { return w.stat.Get(stat.AppRx) == 2*size })
	w.eventually("bytes from the application counted", func() bool { return w.stat.Get(stat.AppTx) == 2*size })
}

func TestSlowReader(t *testing.T) {
	w := newWorld(t)
	_, c, s := w.connection("10.0.0.1:80")
	// Write until everything on the way is full.
	chunk := bytes.Repeat([]byte("netcon"), 5000)
	total := 0
	for {
		n, err := unix.SendmsgN(c.fd, chunk, nil, nil, unix.MSG_DONTWAIT)
		if err == unix.EAGAIN {
			if c.poll(unix.POLLOUT, 200*time.Millisecond) == 0 {
				break
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		total += n
	}
	w.do(func() {
		if n := w.pool.InUse(); n > 2 {
			t.Errorf("%d buffers for one stopped reader", n)
		}
		if w.set.Busy() {
			t.Error("busy while nothing can move")
		}
	})
	if total > 4<<20 {
		t.Errorf("%d bytes under way", total)
	}
	go func() { c.write([]byte("end")); unix.Shutdown(c.fd, unix.SHUT_WR) }()
	n, err := io.Copy(io.Discard, appIO{s})
	if err != nil || n != int64(total+3) {
		t.Fatalf("got %d (%v), want %d", n, err, total+3)
	}
	w.eventually("buffers given back", func() bool { return w.pool.InUse() == 0 })
}

func TestPoolExhausted(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Buffers = NewPool(2 * BufferSize) })
	l, c, s := w.connection("10.0.0.1:80")
	var held [][]byte
	w.do(func() {
		for b := w.pool.Get(); b != nil; b = w.pool.Get() {
			held = append(held, b)
		}
	})
	c.write([]byte("hello"))
	if s.poll(unix.POLLIN, 30*time.Millisecond) != 0 {
		t.Fatal("bytes passed without a buffer")
	}
	w.do(func() {
		for _, b := range held {
			w.pool.Put(b)
		}
	})
	s.readFull(make([]byte, 5))
	_ = l
}

func TestHalfClose(t *testing.T) {
	w := newWorld(t)
	_, c, s := w.connection("10.0.0.1:80")
	c.write([]byte("request"))
	unix.Shutdown(c.fd, unix.SHUT_WR)
	b := make([]byte, 100)
	s.readFull(b[:7])
	if n, err := s.read(b); n != 0 || err != nil {
		t.Fatalf("want EOF, got %d %v", n, err)
	}
	// The other direction still works.
	s.write([]byte("answer"))
	c.readFull(b[:6])
	s.close()
	if n, err := c.read(b); n != 0 || err != nil {
		t.Fatalf("want EOF, got %d %v", n, err)
	}
	c.close()
	w.eventually("only the listener is left", func() bool { return w.set.Len() == 1 })
	if w.eng.aborts != 0 {
		t.Error("an orderly end was aborted")
	}
}

// TestLastBytes: everything written before the last close arrives.
func TestLastBytes(t *testing.T) {
	w := newWorld(t)
	_, c, s := w.connection("10.0.0.1:80")
	const size = 1 << 20
	go func() { c.write(make([]byte, size)); c.close() }()
	if n, err := io.Copy(io.Discard, appIO{s}); n != size || err != nil {
		t.Fatalf("got %d %v", n, err)
	}
}

// TestLastCloseElsewhere: the connection lives while another process holds it.
func TestLastCloseElsewhere(t *testing.T) {
	w := newWorld(t)
	_, c, s := w.connection("10.0.0.1:80")
	f := os.NewFile(uintptr(c.fd), "app")
	cmd := exec.Command("cat")
	cmd.Stdout = f // the child's stdout is the virtual socket
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if s.poll(unix.POLLIN, 20*time.Millisecond) != 0 {
		t.Fatal("closed although another process holds it")
	}
	io.WriteString(in, "from the child")
	b := make([]byte, 14)
	s.readFull(b)
	in.Close()
	if n, err := s.read(b); n != 0 || err != nil {
		t.Fatalf("want EOF, got %d %v", n, err)
	}
	_ = cmd.Wait()
}

// TestUnreadClose: closing with unread bytes resets, as tcp_close.
func TestUnreadClose(t *testing.T) {
	w := newWorld(t)
	_, c, s := w.connection("10.0.0.1:80")
	s.write([]byte("never read"))
	if c.poll(unix.POLLIN, time.Second) == 0 {
		t.Fatal("nothing arrived")
	}
	c.write([]byte("x"))
	s.readFull(make([]byte, 1))
	c.close()
	w.eventually("abort", func() bool { return w.eng.aborts == 1 })
	w.eventually("server's socket gone", func() bool { return w.set.Len() == 1 })
	// Nothing of the server's lay unread in the pair: EOF, and EPIPE.
	if n, err := s.read(make([]byte, 1)); n != 0 || err != nil {
		t.Errorf("read after reset: %d %v", n, err)
	}
	if got := s.soError(); got != unix.ECONNRESET {
		t.Errorf("SO_ERROR %v, want ECONNRESET", got)
	}
	if got := s.soError(); got != 0 {
		t.Errorf("SO_ERROR is not cleared: %v", got)
	}
}

// TestHalfCloseThenUnread: the reset is noticed after SHUT_WR too.
func TestHalfCloseThenUnread(t *testing.T) {
	w := newWorld(t)
	_, c, s := w.connection("10.0.0.1:80")
	unix.Shutdown(c.fd, unix.SHUT_WR)
	if n, _ := s.read(make([]byte, 1)); n != 0 {
		t.Fatal("want EOF")
	}
	s.write([]byte("never read"))
	c.poll(unix.POLLIN, time.Second)
	c.close()
	w.eventually("abort", func() bool { return w.eng.aborts == 1 })
}

// TestResetWithData: bytes received before a reset are delivered, then
// ECONNRESET where bytes of the application were still unread.
func TestResetWithData(t *testing.T) {
	w := newWorld(t)
	_, c, s := w.connection("10.0.0.1:80")
	s.write(make([]byte, 600<<10)[:0])
	s.write([]byte("last words"))
	if c.poll(unix.POLLIN, time.Second) == 0 {
		t.Fatal("nothing arrived")
	}
	w.do(func() {
		w.eng.window = 0 // nothing of the client is pulled any more
	})
	c.write(make([]byte, 150<<10))
	w.eventually("Tx full", func() bool {
		for _, i := range w.set.Sockets() {
			if i.SendQueue == BufferSize {
				return true
			}
		}
		return false
	})
	w.do(func() {
		for _, x := range w.eng.socks {
			if x.remote.Port() == 80 {
				w.eng.event('F', x, unix.ECONNRESET)
			}
		}
	})
	w.eventually("dead", func() bool { return w.set.Len() == 2 })
	b := make([]byte, 100)
	n, err := c.read(b)
	if string(b[:max(0, n)]) != "last words" {
		t.Fatalf("got %q %v", b[:max(0, n)], err)
	}
	if _, err := c.read(b); err != unix.ECONNRESET {
		t.Fatalf("got %v, want ECONNRESET", err)
	}
	if p := c.poll(unix.POLLIN|unix.POLLOUT, 0); p&unix.POLLHUP == 0 {
		t.Errorf("poll says %#x", p)
	}
}

// TestNotReading: after shutdown(SHUT_RD) what arrives is dropped and the other
// direction works.
func TestNotReading(t *testing.T) {
	w := newWorld(t)
	_, c, s := w.connection("10.0.0.1:80")
	unix.Shutdown(c.fd, unix.SHUT_RD)
	s.write(make([]byte, 1<<20)) // would block for ever if it were kept
	c.write([]byte("still here"))
	s.readFull(make([]byte, 10))
	c.close()
	if n, err := s.read(make([]byte, 1)); n != 0 || err != nil {
		t.Errorf("want EOF, got %d %v", n, err)
	}
}

func TestShutdownRequest(t *testing.T) {
	w := newWorld(t)
	_, c, s := w.connection("10.0.0.1:80")
	c.write([]byte("bye"))
	if e := c.shutdownReq(unix.SHUT_RDWR); e != 0 {
		t.Fatal(e)
	}
	unix.Shutdown(c.fd, unix.SHUT_RDWR)
	b := make([]byte, 10)
	s.readFull(b[:3])
	if n, err := s.read(b); n != 0 || err != nil {
		t.Fatalf("want EOF, got %d %v", n, err)
	}
	// The descriptor is still open in the application: names still work.
	if _, e := c.call(getpeer); e != 0 {
		t.Errorf("getpeername after shutdown: %v", e)
	}
	if e := c.soError(); e != 0 {
		t.Errorf("SO_ERROR after shutdown: %v", e)
	}
	if e := c.shutdownReq(unix.SHUT_WR); e != 0 {
		t.Errorf("second shutdown: %v", e)
	}

	_, c, s = w.connection("10.0.0.1:81")
	c.write([]byte("bye"))
	if e := c.shutdownReq(unix.SHUT_WR); e != 0 {
		t.Fatal(e)
	}
	s.readFull(b[:3])
	if n, err := s.read(b); n != 0 || err != nil {
		t.Fatalf("want EOF, got %d %v", n, err)
	}
	if _, err := unix.SendmsgN(c.fd, b, nil, nil, unix.MSG_NOSIGNAL); err != unix.EPIPE {
		t.Errorf("write after SHUT_WR: %v", err)
	}
	s.write([]byte("ok"))
	c.readFull(b[:2])
}
