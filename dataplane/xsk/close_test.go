// SPDX-License-Identifier: Apache-2.0

package xsk

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"netcon/bpf"
	"netcon/dataplane/stat"
	"netcon/internal/testenv"
)

// mapped returns how many mappings of sockets this process has.
func mapped(t testing.TB) (n int) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(text), "socket:[")
}

// Nothing is left after Close: no descriptor, no mapping, no program, no
// goroutine, and the queues can be bound again at once.
func TestCloseLeavesNothing(t *testing.T) {
	a, b := cable(t, 1500, 2)
	b.udpPeer(t, false)
	once := func() {
		d, err := a.try(t, Config{Workers: 2, Frames: 16384})
		if err != nil {
			t.Fatal(err)
		}
		l := d.Links()[0]
		resolved(t, l, b.a4)
		for i := range 100 {
			put(l, b.a4, uint32(i), payload(i, 100))
		}
		flushed(t, l)
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		if err := d.Close(); err != nil {
			t.Errorf("closing again: %v", err)
		}
		for _, l := range d.Links() {
			if err := l.Close(); err != nil {
				t.Errorf("closing a link again: %v", err)
			}
			// None of this may crash.
			put(l, b.a4, 1, payload(1, 100))
			l.Flush()
			l.Recv(new(frames), 10)
		}
		d.Report()
	}
	once() // what the runtime opens once
	runtime.GC()
	fds, goroutines := testenv.FDs(t, os.Getpid()), runtime.NumGoroutine()
	// A UMEM is resident as a whole.
	size := testenv.RSS(t, os.Getpid())
	began := time.Now()
	const rounds = 8
	for range rounds {
		once()
	}
	t.Logf("%v per open and close", time.Since(began)/rounds)
	if n := mapped(t); n != 0 {
		t.Errorf("%d mappings of sockets are left", n)
	}
	if grown := testenv.RSS(t, os.Getpid()) - size; grown > 16384*2048 {
		t.Errorf("the process has grown by %d bytes", grown)
	}
	testenv.WaitFor(t, 5*time.Second, func() bool {
		return testenv.FDs(t, os.Getpid()) <= fds && runtime.NumGoroutine() <= goroutines
	}, "descriptors and goroutines to end")
	if out := testenv.Run(t, a.ns, "ip", "link", "show", "dev", a.dev); strings.Contains(out, "xdp") {
		t.Errorf("a program is left: %s", out)
	}
}

// The device ends with its last link.
func TestLastLinkClosesDevice(t *testing.T) {
	a, _ := cable(t, 1500, 2)
	d := a.open(t, Config{Workers: 2})
	for i, l := range d.Links() {
		if d.closed {
			t.Fatalf("closed with %d links open", 2-i)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			if r := d.Report(); len(r.Queues) != 1 {
				t.Errorf("%d queues are reported", len(r.Queues))
			}
		}
	}
	if !d.closed {
		t.Error("the device is open")
	}
	a.open(t, Config{Workers: 2, Mode: bpf.Generic})
}

// A queue that another socket has: Open says so after a while, and what the
// library leaves behind of its attempts is gone.
func TestQueueBusy(t *testing.T) {
	a, _ := cable(t, 1500, 1)
	ch := binding{ifname: a.dev, shape: shapeFor(1500), frames: 4096}
	var s *socket
	var err error
	a.ns.Do(t, func() {
		ifc, e := net.InterfaceByName(a.dev)
		if e != nil {
			err = e
			return
		}
		ch.ifindex = ifc.Index
		s, err = openSocket(ch)
	})
	if err != nil {
		t.Fatal(err)
	}
	sockets := mapped(t)
	fds := testenv.FDs(t, os.Getpid())
	began := time.Now()
	_, err = a.try(t, Config{})
	if !errors.Is(err, unix.EBUSY) || !strings.Contains(fmt.Sprint(err), "bind xsk ifa queue 0: ") || !strings.Contains(err.Error(), "another AF_XDP socket has the queue") {
		t.Errorf("%v", err)
	}
	if took := time.Since(began); took < busyPatience {
		t.Errorf("gave up after %v", took)
	}
	if n := mapped(t); n != sockets || n == 0 {
		t.Errorf("%d mappings of sockets, there were %d", n, sockets)
	}
	testenv.WaitFor(t, 5*time.Second, func() bool { return testenv.FDs(t, os.Getpid()) <= fds }, "descriptors to be closed")
	if err := s.close(); err != nil {
		t.Error(err)
	}
	a.open(t, Config{}) // at once
}

// The other one gives the queue back while Open waits.
func TestQueueBusyForAWhile(t *testing.T) {
	a, _ := cable(t, 1500, 1)
	var s *socket
	var err error
	a.ns.Do(t, func() {
		ifc, _ := net.InterfaceByName(a.dev)
		s, err = openSocket(binding{ifname: a.dev, ifindex: ifc.Index, shape: shapeFor(1500), frames: 128})
	})
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(300*time.Millisecond, func() { _ = s.close() })
	a.open(t, Config{})
}

// Zero copy is refused by a veth, in every mode, and On says why.
func TestZeroCopyRefused(t *testing.T) {
	a, _ := cable(t, 1500, 1)
	if _, err := a.try(t, Config{ZeroCopy: On}); !errors.Is(err, unix.EOPNOTSUPP) || !strings.Contains(err.Error(), "choose auto or off") {
		t.Errorf("zero copy on: %v", err)
	}
	for _, c := range []Choice{Auto, Off} {
		d := a.open(t, Config{ZeroCopy: c})
		if r := d.Report(); r.ZeroCopy || r.Queues[0].ZeroCopy {
			t.Errorf("zero copy %v: %+v", c, r)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}

const childVariable = "NETCON_XSK_TEST_CHILD"

// TestChild is the daemon that TestKill kills; it is no test of its own.
func TestChild(t *testing.T) {
	dev := os.Getenv(childVariable)
	if dev == "" {
		return
	}
	d, err := Open(Config{
		Interface: dev, Local: netip.MustParseAddrPort("10.9.0.1:4789"), Workers: 1, Stats: []*stat.Block{{}},
	})
	if err != nil {
		fmt.Println("child:", err)
		os.Exit(1)
	}
	put(d.Links()[0], addr("10.9.0.2"), 1, payload(1, 100))
	d.Links()[0].Flush()
	fmt.Println("child is ready")
	ends := make(chan os.Signal, 1)
	signal.Notify(ends, unix.SIGTERM)
	<-ends
}

// After kill -9 the next daemon gets the device at once, and the host had its
// traffic meanwhile.
func TestKill(t *testing.T) {
	for _, mode := range modes {
		a, b := cable(t, 1500, 2)
		for range 3 {
			argv := append(a.ns.Prefix(), os.Args[0], "-test.run=^TestChild$", "-test.v")
			cmd := exec.Command(argv[0], argv[1:]...)
			cmd.Env = append(os.Environ(), childVariable+"="+a.dev)
			child := testenv.StartCmd(t, cmd)
			child.WaitOutput(t, 20*time.Second, "child is ready")
			child.Signal(t, unix.SIGKILL)
			if err := child.Wait(t, 5*time.Second); err == nil {
				t.Fatal("the child ended by itself")
			}
			began := time.Now()
			d := a.open(t, Config{Mode: mode})
			t.Logf("open %v after the kill", time.Since(began))
			resolved(t, d.Links()[0], b.a4)
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}
