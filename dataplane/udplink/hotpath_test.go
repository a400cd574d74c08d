// SPDX-License-Identifier: Apache-2.0

package udplink

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// tally counts what it is given.
type tally struct{ frames, bytes int }

func (c *tally) Frame(_ netip.Addr, payload []byte) {
	c.frames++
	c.bytes += len(payload)
}

// burst sends n frames of one flow.
func burst(l *Link, dst netip.Addr, n, size int) {
	for range n {
		l.Reserve(dst, 1, size)[0] = 1
		l.Commit()
	}
	l.Flush()
}

// drain receives n frames. It allocates only if it has to wait.
func drain(t testing.TB, l *Link, sink *tally, n int) {
	for got := 0; got < n; {
		k := l.Recv(sink, n-got)
		if got += k; k == 0 && !readable(l, time.Second) {
			t.Fatalf("received %d of %d frames", got, n)
		}
	}
}

func TestReserveCommitFlushAllocs(t *testing.T) {
	for _, nets := range [][2]string{{"127.0.0.2", "127.0.0.3"}, {"::1", "::1"}} {
		for _, disable := range []bool{false, true} {
			a, b := pair(t, nets[0], nets[1], Config{MTU: 1450, DisableOffload: disable})
			dst, sink := addr(nets[1]), new(tally)
			if got := testing.AllocsPerRun(100, func() {
				burst(a, dst, 40, 1450)
				burst(a, dst, 3, 64)
				a.Reserve(dst, 1, 1451)
				a.Commit()
				drain(t, b, sink, 43)
			}); got != 0 {
				t.Errorf("%s disable=%v: %v allocations per burst", nets[0], disable, got)
			}
		}
	}
}

func TestRecvAllocs(t *testing.T) {
	for _, disable := range []bool{false, true} {
		a, b := pair(t, "127.0.0.2", "127.0.0.3", Config{MTU: 1450, DisableOffload: disable})
		burst(a, addr("127.0.0.3"), 1100, 100)
		sink := new(tally)
		if got := testing.AllocsPerRun(100, func() { drain(t, b, sink, 10) }); got != 0 {
			t.Errorf("disable=%v: %v allocations per Recv", disable, got)
		}
		if sink.frames < 1000 {
			t.Errorf("disable=%v: measured %d frames", disable, sink.frames)
		}
	}
}

func FuzzCut(f *testing.F) {
	f.Add([]byte("aaabbbcc"), 3, 2)
	f.Add([]byte("aaa"), 0, 1)
	f.Add([]byte{}, 5, 1)
	f.Add([]byte("abc"), -1, 9)
	f.Add([]byte("abc"), 1<<30, 9)
	f.Fuzz(func(t *testing.T, train []byte, size, budget int) {
		if budget < 1 {
			budget = 1
		}
		sink := new(frames)
		for off := 0; ; {
			next, n := cut(sink, netip.Addr{}, train, size, off, budget)
			if n < 1 || n > budget || next < off || next > len(train) {
				t.Fatalf("cut from %d: stopped at %d after %d frames", off, next, n)
			}
			if off = next; off == len(train) {
				break
			}
		}
		whole := ""
		for i, p := range sink.data {
			if size > 0 && len(p) > size || size > 0 && i < len(sink.data)-1 && len(p) != size {
				t.Fatalf("frame %d of %d bytes, want %d", i, len(p), size)
			}
			whole += string(p)
		}
		if whole != string(train) {
			t.Fatalf("frames are not the train")
		}
	})
}

// BenchmarkLoopback carries bursts of 128 frames of one flow over loopback. An
// operation is one frame; a send includes the kernel's way to the receiver's
// queue.
func BenchmarkLoopback(b *testing.B) {
	for _, size := range []int{1450, 64} {
		for _, disable := range []bool{false, true} {
			for _, nets := range [][2]string{{"127.0.0.2", "127.0.0.3"}, {"::1", "::1"}} {
				name := fmt.Sprintf("size=%d/offload=%v/ipv6=%v", size, !disable, nets[0] == "::1")
				b.Run(name, func(b *testing.B) { benchmarkLoopback(b, nets, size, disable) })
			}
		}
	}
}

func benchmarkLoopback(b *testing.B, nets [2]string, size int, disable bool) {
	const n = 128
	tx, rx := pair(b, nets[0], nets[1], Config{MTU: 1450, DisableOffload: disable})
	dst, sink := addr(nets[1]), new(tally)
	var sending time.Duration
	b.ReportAllocs()
	b.ResetTimer()
	for done := 0; done < b.N; done += n {
		start := time.Now()
		burst(tx, dst, min(n, b.N-done), size)
		sending += time.Since(start)
		drain(b, rx, sink, min(n, b.N-done))
	}
	total := b.Elapsed()
	b.ReportMetric(float64(sink.frames)/total.Seconds(), "frames/s")
	b.ReportMetric(float64(sink.bytes)*8/total.Seconds()/1e9, "Gbit/s")
	b.ReportMetric(float64(sending.Nanoseconds())/float64(sink.frames), "tx-ns/frame")
	b.ReportMetric(float64((total-sending).Nanoseconds())/float64(sink.frames), "rx-ns/frame")
}

func BenchmarkRecvEmpty(b *testing.B) {
	l := open(b, Config{Local: local("127.0.0.2", 0)})[0]
	sink := new(tally)
	b.ReportAllocs()
	for b.Loop() {
		l.Recv(sink, 64)
	}
}

func BenchmarkReserveCommit(b *testing.B) {
	l := open(b, Config{Local: local("127.0.0.2", 0), MTU: 1450})[0]
	dst := addr("127.0.0.3")
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		l.Reserve(dst, 1, 64)
		l.Commit()
		if i&63 == 63 {
			// Measured is the bookkeeping, not the kernel.
			for i := range l.send {
				l.send[i].n, l.send[i].used = 0, 0
			}
		}
	}
}
