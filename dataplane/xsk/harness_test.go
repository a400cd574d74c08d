// SPDX-License-Identifier: Apache-2.0

package xsk

import (
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"netcon/bpf"
	"netcon/dataplane/frame"
	"netcon/dataplane/nexthop"
	"netcon/dataplane/stat"
	"netcon/internal/testenv"
)

// Every ledger of a test checks every change of owner.
var faults struct {
	mu   sync.Mutex
	list []string
}

func TestMain(m *testing.M) {
	newLedger = func(n int) *frame.Ledger {
		return frame.NewChecked(n, func(err error) {
			faults.mu.Lock()
			defer faults.mu.Unlock()
			faults.list = append(faults.list, err.Error())
		})
	}
	status := m.Run()
	if len(faults.list) > 0 {
		fmt.Fprintf(os.Stderr, "FAIL: frames with two owners:\n%s\n", strings.Join(faults.list, "\n"))
		status = 1
	}
	os.Exit(status)
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// logBuffer keeps what is logged.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// host is one end of a wire: a namespace with a device.
type host struct {
	ns   *testenv.NetNS
	dev  string
	a4   netip.Addr
	a6   netip.Addr
	logs *logBuffer
}

func (h *host) addr(v6 bool) netip.Addr {
	if v6 {
		return h.a6
	}
	return h.a4
}

// cable joins two hosts with a veth pair:
//
//	10.9.0.1 fd09::1  ifa ◄─ veth ─► ifb  10.9.0.2 fd09::2
//
// Each end has that many queues in each direction.
func cable(t testing.TB, mtu, queues int) (*host, *host) {
	t.Helper()
	testenv.NeedRoot(t)
	testenv.Need(t, "CAP_BPF")
	a := &host{testenv.NewNetNS(t, "a"), "ifa", addr("10.9.0.1"), addr("fd09::1"), &logBuffer{}}
	b := &host{testenv.NewNetNS(t, "b"), "ifb", addr("10.9.0.2"), addr("fd09::2"), &logBuffer{}}
	testenv.VethQueues(t, a.ns, a.dev, "10.9.0.1/24,fd09::1/64", b.ns, b.dev, "10.9.0.2/24,fd09::2/64", mtu, queues)
	return a, b
}

const (
	testPort = 4789
	wait     = 5 * time.Second
)

// open opens the device of a host and closes it with the test; then all frames
// are accounted for.
func (h *host) open(t testing.TB, cfg Config) *Device {
	t.Helper()
	d, err := h.try(t, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conserved(t, d)
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func (h *host) try(t testing.TB, cfg Config) (d *Device, err error) {
	t.Helper()
	cfg.Interface = h.dev
	if cfg.Local.Port() == 0 {
		cfg.Local = netip.AddrPortFrom(cfg.Local.Addr(), testPort)
	}
	if !cfg.Local.Addr().IsValid() {
		cfg.Local = netip.AddrPortFrom(h.a4, cfg.Local.Port())
	}
	if cfg.Workers == 0 {
		cfg.Workers = 1
	}
	for range cfg.Workers {
		cfg.Stats = append(cfg.Stats, new(stat.Block))
	}
	cfg.Log = slog.New(slog.NewTextHandler(h.logs, nil))
	h.ns.Do(t, func() { d, err = Open(cfg) })
	return d, err
}

// conserved checks that every frame of every queue has an owner.
func conserved(t testing.TB, d *Device) {
	t.Helper()
	for _, l := range d.links {
		for _, q := range l.queues {
			if err := q.frames.Verify(); err != nil {
				t.Errorf("queue %d: %v", q.number, err)
			}
			if n := q.frames.Counts().Sum(); n != d.cfg.Frames {
				t.Errorf("queue %d: %d frames, want %d", q.number, n, d.cfg.Frames)
			}
		}
	}
	faults.mu.Lock()
	defer faults.mu.Unlock()
	if len(faults.list) > 0 {
		t.Errorf("frames with two owners: %q", faults.list)
	}
}

// put sends one payload, up to Commit.
func put(l *Link, dst netip.Addr, flow uint32, payload []byte) {
	copy(l.Reserve(dst, flow, len(payload)), payload)
	l.Commit()
}

// frames keeps copies of what a link receives.
type frames struct {
	src  []netip.Addr
	data [][]byte
}

func (f *frames) Frame(src netip.Addr, payload []byte) {
	f.src = append(f.src, src)
	f.data = append(f.data, bytes.Clone(payload))
}

func readable(fd int, timeout time.Duration) bool {
	n, _ := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(timeout.Milliseconds()))
	return n > 0
}

// receive waits for n payloads.
func receive(t testing.TB, l *Link, n int) *frames {
	t.Helper()
	f := new(frames)
	deadline := time.Now().Add(5 * time.Second)
	for len(f.data) < n {
		if l.Recv(f, n-len(f.data)) == 0 {
			l.Flush()
			if time.Now().After(deadline) {
				t.Fatalf("received %d of %d payloads; drops %v", len(f.data), n, allDrops(l))
			}
			readable(l.FD(), 50*time.Millisecond)
		}
	}
	return f
}

// flushed flushes until nothing is left.
func flushed(t testing.TB, l *Link) {
	t.Helper()
	for range 10000 {
		if !l.Flush() {
			return
		}
	}
	t.Fatal("Flush wants more for ever")
}

// resolved sends until the next hop to dst is known.
func resolved(t testing.TB, l *Link, dst netip.Addr) {
	t.Helper()
	testenv.WaitFor(t, 10*time.Second, func() bool {
		l.Flush()
		return l.lookup(dst).state == nexthop.Resolved
	}, "the next hop to %s", dst)
	l.Flush()
}

func count(l *Link, c stat.Counter) int {
	l.stats.Publish()
	return int(l.stats.Get(c))
}

func drops(l *Link, r stat.Reason) int {
	l.stats.Publish()
	return int(l.stats.Drops(r))
}

// allDrops returns every reason that was counted.
func allDrops(l *Link) map[string]uint64 {
	l.stats.Publish()
	return stat.Read(l.stats).Drops
}

func payload(i, n int) []byte {
	b := make([]byte, n)
	for j := range b {
		b[j] = byte(i + j*7)
	}
	if n >= 4 {
		copy(b, []byte{byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i)})
	}
	return b
}

var modes = []bpf.Mode{bpf.Native, bpf.Generic}

func parseMAC(t testing.TB, s string) net.HardwareAddr {
	t.Helper()
	m, err := net.ParseMAC(s)
	if err != nil {
		t.Fatal(err)
	}
	return m
}
