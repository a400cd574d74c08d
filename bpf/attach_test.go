// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"netcon/internal/testenv"
)

var overlay4 = Config{VTEP: vtep4, Ports: []uint16{4789}}

// wire makes two hosts. The programs run on nic0:
//
//	ns: nic0 192.0.2.1 2001:db8::1 ══ far0 192.0.2.2 2001:db8::2 :far
func wire(t testing.TB, mtu int) (ns, far *testenv.NetNS) {
	t.Helper()
	ns, far = testenv.NewNetNS(t), testenv.NewNetNS(t, "far")
	testenv.Veth(t, ns, "nic0", "192.0.2.1/24,2001:db8::1/64", far, "far0", "192.0.2.2/24,2001:db8::2/64", mtu)
	return ns, far
}

// attach is Attach in a namespace, by name.
func attach(t testing.TB, ns *testenv.NetNS, dev string, p *Program, mode Mode) (err error) {
	t.Helper()
	ns.Do(t, func() {
		var ifc *net.Interface
		if ifc, err = net.InterfaceByName(dev); err == nil {
			err = p.Attach(ifc.Index, mode)
		}
	})
	return err
}

// attached returns the id of the XDP program that the kernel says dev has.
func attached(t testing.TB, ns *testenv.NetNS, dev string) (id uint32) {
	t.Helper()
	ns.Do(t, func() {
		ifc, err := net.InterfaceByName(dev)
		if err != nil {
			t.Error(err)
			return
		}
		h, err := findHolder(ifc.Index)
		if err != nil {
			t.Error(err)
		}
		if h != nil {
			id = uint32(h.id)
		}
	})
	return id
}

// contains fails unless err's text has all the words.
func contains(t *testing.T, err error, words ...string) {
	t.Helper()
	for _, w := range words {
		if err == nil || !strings.Contains(err.Error(), w) {
			t.Errorf("error %q does not say %q", err, w)
		}
	}
}

func TestAttachModes(t *testing.T) {
	ns, _ := wire(t, 1500)
	for _, tt := range []struct{ ask, get Mode }{{Native, Native}, {Generic, Generic}, {Auto, Native}} {
		p := load(t, overlay4)
		if p.Mode() != Auto {
			t.Errorf("mode %s before Attach", p.Mode())
		}
		if err := attach(t, ns, "nic0", p, tt.ask); err != nil || p.Mode() != tt.get || p.Fallback() != nil {
			t.Errorf("%s: mode %s, fall-back %v, %v", tt.ask, p.Mode(), p.Fallback(), err)
		}
		info, err := p.objects.NetconOverlay.Info()
		if err != nil {
			t.Fatal(err)
		}
		if id, _ := info.ID(); attached(t, ns, "nic0") != uint32(id) {
			t.Errorf("%s: nic0 has program %d, ours is %d", tt.ask, attached(t, ns, "nic0"), id)
		}
		show := testenv.Run(t, ns, "ip", "link", "show", "dev", "nic0")
		if generic := strings.Contains(show, "xdpgeneric"); generic != (tt.get == Generic) || !strings.Contains(show, "xdp") {
			t.Errorf("%s: %s", tt.ask, show)
		}
		contains(t, attach(t, ns, "nic0", p, Auto), "nic0", "attached")
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		if id := attached(t, ns, "nic0"); id != 0 {
			t.Errorf("%s: program %d after Close", tt.ask, id)
		}
	}
}

// On a veth the peer's MTU bounds native mode without Frags.
func TestFallback(t *testing.T) {
	ns, _ := wire(t, 9000)
	p := load(t, overlay4)
	err := attach(t, ns, "nic0", p, Native)
	if !errors.Is(err, unix.ERANGE) {
		t.Errorf("native: %v", err)
	}
	contains(t, err, "nic0", "native", "MTU", "9000")
	if err := attach(t, ns, "nic0", p, Auto); err != nil || p.Mode() != Generic {
		t.Errorf("auto: %s, %v", p.Mode(), err)
	}
	if !errors.Is(p.Fallback(), unix.ERANGE) {
		t.Errorf("fall-back: %v", p.Fallback())
	}
	contains(t, p.Fallback(), "nic0", "native", "MTU")
	if err := p.Close(); err != nil {
		t.Error(err)
	}

	frags := overlay4
	frags.Frags = true
	q := load(t, frags)
	if err := attach(t, ns, "nic0", q, Auto); err != nil || q.Mode() != Native || q.Fallback() != nil {
		t.Errorf("with frags: %s, fall-back %v, %v", q.Mode(), q.Fallback(), err)
	}
}

// A driver without native mode.
func TestFallbackOfTheDriver(t *testing.T) {
	ns := testenv.NewNetNS(t)
	p := load(t, overlay4)
	err := attach(t, ns, "lo", p, Native)
	if !errors.Is(err, unix.EOPNOTSUPP) {
		t.Error(err)
	}
	contains(t, err, "lo", "driver")
	if err := attach(t, ns, "lo", p, Auto); err != nil || p.Mode() != Generic || !errors.Is(p.Fallback(), unix.EOPNOTSUPP) {
		t.Errorf("%s, fall-back %v, %v", p.Mode(), p.Fallback(), err)
	}
}

func TestAttachErrors(t *testing.T) {
	ns, _ := wire(t, 1500)
	p := load(t, overlay4)
	ns.Do(t, func() {
		for _, ifindex := range []int{-1, 0, 1 << 20} {
			contains(t, p.Attach(ifindex, Auto), "interface")
		}
	})
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	contains(t, attach(t, ns, "nic0", p, Auto), "nic0", "closed")
}

// The link is not pinned, so nothing is left of a daemon that was killed.
func TestKilled(t *testing.T) {
	testenv.Need(t, "CAP_BPF")
	ns, _ := wire(t, 1500)
	other := another(t, ns, "nic0", 0)
	other.WaitOutput(t, 20*time.Second, "attached")
	p := load(t, overlay4)
	err := attach(t, ns, "nic0", p, Auto)
	busy(t, err)
	contains(t, err, "nic0", "another netcon", "id ", "stop")
	other.Signal(t, syscall.SIGKILL)
	_ = other.Wait(t, 10*time.Second)
	testenv.WaitFor(t, 5*time.Second, func() bool { return attached(t, ns, "nic0") == 0 }, "the dead daemon's program to go")
	if err := attach(t, ns, "nic0", p, Native); err != nil {
		t.Error(err)
	}
}

// With an interface goes its program; Close has nothing left to detach.
func TestInterfaceRemoved(t *testing.T) {
	ns, _ := wire(t, 1500)
	p := load(t, overlay4)
	if err := attach(t, ns, "nic0", p, Auto); err != nil {
		t.Fatal(err)
	}
	testenv.Run(t, ns, "ip", "link", "del", "nic0")
	counters(t, p)
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if err := p.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

// While a program without Frags is there, the kernel keeps a veth's peer from
// sending what native mode could not take.
func TestChangeMTU(t *testing.T) {
	ns, far := wire(t, 1500)
	setMTU := func(ns *testenv.NetNS, dev, mtu string) error {
		_, err := testenv.Try(ns, testenv.RunTimeout, "ip", "link", "set", "dev", dev, "mtu", mtu)
		return err
	}
	p := load(t, overlay4)
	if err := attach(t, ns, "nic0", p, Native); err != nil {
		t.Fatal(err)
	}
	if err := setMTU(ns, "nic0", "9000"); err != nil {
		t.Error(err)
	}
	if err := setMTU(far, "far0", "9000"); err == nil {
		t.Error("the peer's MTU became 9000")
	}
	if attached(t, ns, "nic0") == 0 {
		t.Error("the program is gone")
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}

	frags := overlay4
	frags.Frags = true
	q := load(t, frags)
	if err := attach(t, ns, "nic0", q, Native); err != nil {
		t.Fatal(err)
	}
	if err := setMTU(far, "far0", "9000"); err != nil {
		t.Error(err)
	}
	if attached(t, ns, "nic0") == 0 {
		t.Error("the program is gone")
	}
}
