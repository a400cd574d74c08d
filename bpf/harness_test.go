// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"netcon/internal/testenv"
)

var (
	vtep4 = netip.MustParseAddr("192.0.2.1")
	vtep6 = netip.MustParseAddr("2001:db8::1")
)

// What the kernel's enum xdp_action says of a frame.
const (
	xdpPass     = 2
	xdpRedirect = 4
)

// with returns a copy of b with bytes replaced from offset at.
func with(b []byte, at int, v ...byte) []byte {
	b = bytes.Clone(b)
	copy(b[at:], v)
	return b
}

// insert returns a copy of b with bytes put in at offset at.
func insert(b []byte, at int, v ...byte) []byte {
	return bytes.Join([][]byte{b[:at], v, b[at:]}, nil)
}

// load loads a program that ends with the test.
func load(t testing.TB, cfg Config) *Program {
	t.Helper()
	testenv.Need(t, "CAP_BPF")
	testenv.Need(t, "CAP_NET_ADMIN")
	if cfg.Queues == 0 {
		cfg.Queues = 1
	}
	p, err := Load(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// withSocket registers an AF_XDP socket for a queue. It has no rings: enough
// for the verdict.
func withSocket(t testing.TB, p *Program, queue int) *Program {
	t.Helper()
	testenv.Need(t, "CAP_NET_RAW")
	fd, err := unix.Socket(unix.AF_XDP, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if err := p.Register(queue, fd); err != nil {
		t.Fatal(err)
	}
	return p
}

func counters(t testing.TB, p *Program) Counters {
	t.Helper()
	c, err := p.Counters()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// xdpContext is struct xdp_md as far as a test run may set it.
type xdpContext struct{ Data, DataEnd, DataMeta, Ifindex, Queue, Egress uint32 }

// filter lets the program judge one frame and returns the one verdict that was
// counted. It fails if the action does not fit it or the frame was changed.
func filter(t testing.TB, p *Program, frame []byte) Verdict {
	t.Helper()
	v, err := judge(p, frame, nil)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// judge is filter for a frame of some interface and queue.
func judge(p *Program, frame []byte, at *xdpContext) (Verdict, error) {
	before, err := p.Counters()
	if err != nil {
		return 0, err
	}
	opts := &ebpf.RunOptions{Data: frame, DataOut: make([]byte, len(frame)+256)}
	if at != nil {
		at.DataEnd = uint32(len(frame))
		opts.Context = at
	}
	action, err := p.objects.NetconOverlay.Run(opts)
	if err != nil {
		return 0, fmt.Errorf("%d bytes: %w", len(frame), err)
	}
	if !bytes.Equal(opts.DataOut, frame) {
		return 0, fmt.Errorf("%x became %x", frame, opts.DataOut)
	}
	after, err := p.Counters()
	if err != nil {
		return 0, err
	}
	var verdict Verdict
	total := uint64(0)
	for v := range after {
		if n := after[v] - before[v]; n > 0 {
			verdict, total = Verdict(v), total+n
		}
	}
	if total != 1 {
		return 0, fmt.Errorf("%x was counted %d times", frame, total)
	}
	want := uint32(xdpPass)
	if verdict == Redirect {
		want = xdpRedirect
	}
	if action != want {
		return 0, fmt.Errorf("%x: %s with action %d, want %d", frame, verdict, action, want)
	}
	return verdict, nil
}

// busy fails unless err is EBUSY.
func busy(t testing.TB, err error) {
	t.Helper()
	if !errors.Is(err, unix.EBUSY) {
		t.Errorf("%v, want EBUSY", err)
	}
}
