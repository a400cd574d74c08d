// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"netcon/internal/testenv"
	"netcon/internal/testenv/faults"
)

func TestUsage(t *testing.T) {
	for _, tc := range []struct {
		args []string
		want string
	}{
		{nil, "want -a IFACE -b IFACE"},
		{[]string{"-a", "x"}, "want -a IFACE -b IFACE"},
		{[]string{"-a", "x", "-b", "y", "z"}, "want -a IFACE -b IFACE"},
		{[]string{"-a", "x", "-b", "y", "-faults", "drop=2"}, "probability"},
		{[]string{"-a", "no-such-if", "-b", "lo"}, "find interface no-such-if"},
	} {
		if err := run(tc.args, &bytes.Buffer{}, &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%q: %v, want %q", tc.args, err, tc.want)
		}
	}
}

func TestPrintReport(t *testing.T) {
	var r faults.WireReport
	r.BToA.Dropped, r.BToA.KernelDrops = 12, 34
	var text, js bytes.Buffer
	if err := printReport(&text, r, false); err != nil || !strings.Contains(text.String(), "b to a: received 0") ||
		!strings.Contains(text.String(), "dropped 12") || !strings.Contains(text.String(), "kernel 34") {
		t.Errorf("%v: %s", err, text.String())
	}
	if err := printReport(&js, r, true); err != nil || !strings.Contains(js.String(), `"dropped":12`) ||
		!strings.Contains(js.String(), `"kernel_drops":34`) {
		t.Errorf("%v: %s", err, js.String())
	}
}

// pair is two hosts joined by a wire with faults.
//
//	a: e0 192.0.2.1 ◄─ veth ─► wire ◄─ veth ─► e0 192.0.2.2 :b
func pair(t *testing.T, spec string) (a, b *testenv.NetNS, w *testenv.Wire) {
	t.Helper()
	a, b = testenv.NewNetNS(t, "a"), testenv.NewNetNS(t, "b")
	w = testenv.FaultWire(t, a, "e0", "192.0.2.1/24,2001:db8::1/64", b, "e0", "192.0.2.2/24,2001:db8::2/64", 1600, spec)
	return a, b, w
}

// intact checks that nothing was lost otherwise than on purpose.
func intact(t *testing.T, r faults.WireReport) {
	t.Helper()
	for name, d := range map[string]faults.DirectionReport{"a to b": r.AToB, "b to a": r.BToA} {
		if d.KernelDrops+d.Unsegmented+d.TooBig+d.SendErrors != 0 {
			t.Errorf("%s: lost frames: %+v", name, d)
		}
		if d.Seen+d.Duplicated != d.Out+d.Dropped+d.Overflowed+d.Queued {
			t.Errorf("%s: not conserved: %+v", name, d)
		}
	}
}

func TestPing(t *testing.T) {
	a, b, w := pair(t, "delay=20ms,seed=1")
	for _, ip := range []string{"192.0.2.2", "2001:db8::2"} {
		out := testenv.Run(t, a, "ping", "-c10", "-i0.01", "-W5", "-s1500", ip)
		var lo float64
		if _, err := fmt.Sscanf(out[strings.Index(out, "mdev = ")+7:], "%f", &lo); err != nil || lo < 40 || lo > 80 {
			t.Errorf("round trip of %v ms, want 40: %v\n%s", lo, err, out)
		}
	}
	// The wire's own namespace says nothing and answers nothing.
	if neigh := testenv.Run(t, a, "ip", "neigh"); !strings.Contains(neigh, b.MAC(t, "e0")) {
		t.Errorf("neighbours of a:\n%s", neigh)
	}
	r := w.Report(t)
	intact(t, r)
	if r.AToB.Delayed != r.AToB.Seen || r.AToB.Seen < 6 || r.AToB.Faults == "" {
		t.Errorf("report %+v", r)
	}
}

// TestIperfWithDrop: five seconds of TCP through every fault. The kernel leaves
// checksums unfinished and sends super-frames; both must survive.
func TestIperfWithDrop(t *testing.T) {
	a, b, w := pair(t, "drop=1%,duplicate=0.1%,reorder=0.5%,corrupt=0.5%,delay=200us,seed=3")
	testenv.Iperf3Server(t, b.Prefix(), testenv.Options{Addrs: []string{"192.0.2.2:5201"}})
	before := testenv.SNMP(t, b)
	got := testenv.Iperf3(t, a.Prefix(), "192.0.2.2:5201", 5*time.Second)
	d := testenv.SNMP(t, b).Since(before)
	r := w.Report(t)
	intact(t, r)
	t.Logf("%.0f Mbit/s, %d retransmissions, %d checksum errors; %+v", got.BitsPerSecond/1e6, got.Retransmits, d["TcpInCsumErrors"], r)
	if got.BitsPerSecond < 5e6 || got.Retransmits == 0 {
		t.Errorf("iperf3: %+v", got)
	}
	x := r.AToB
	if x.SuperFrames == 0 {
		t.Error("the kernel sent no super-frames: the test proves less than it should")
	}
	for name, n := range map[string]uint64{"dropped": x.Dropped, "duplicated": x.Duplicated, "reordered": x.Reordered, "corrupted": x.Corrupted} {
		if n == 0 {
			t.Errorf("nothing %s", name)
		}
	}
	if rate := float64(x.Dropped) / float64(x.Seen); rate < .005 || rate > .02 {
		t.Errorf("dropped %.2f%%", 100*rate)
	}
	// Every flipped bit behind the IP header must be found by TCP.
	if d["TcpInCsumErrors"] == 0 {
		t.Errorf("%d frames corrupted, none found: %v", x.Corrupted, d)
	}
}

// TestKernelVXLAN: stock peers through the wire, with inner super-frames and
// checksums left to the device at both levels.
func TestKernelVXLAN(t *testing.T) {
	for _, tc := range []struct{ name, la, lb string }{
		{"outer4", "192.0.2.1", "192.0.2.2"},
		{"outer6", "2001:db8::1", "2001:db8::2"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a, b, w := pair(t, "seed=5")
			testenv.KernelVXLAN(t, a, testenv.VXLAN{VNI: 42, Local: tc.la, Remotes: []string{tc.lb}, Addrs: "10.9.0.1/24,fd09::1/64", MTU: 1500})
			testenv.KernelVXLAN(t, b, testenv.VXLAN{VNI: 42, Local: tc.lb, Remotes: []string{tc.la}, Addrs: "10.9.0.2/24,fd09::2/64", MTU: 1500})
			testenv.Iperf3Server(t, b.Prefix(), testenv.Options{Addrs: []string{"[fd09::2]:5201"}})
			before := testenv.SNMP(t, b)
			testenv.Run(t, a, "ping", "-c2", "-i0.01", "-W5", "10.9.0.2")
			testenv.Run(t, a, "ping", "-c2", "-i0.01", "-W5", "-s3000", "fd09::2")
			got := testenv.Iperf3(t, a.Prefix(), "[fd09::2]:5201", time.Second)
			d := testenv.SNMP(t, b).Since(before)
			r := w.Report(t)
			intact(t, r)
			t.Logf("%.0f Mbit/s, %d retransmissions; %+v", got.BitsPerSecond/1e6, got.Retransmits, r)
			if got.BitsPerSecond < 10e6 || r.AToB.SuperFrames == 0 {
				t.Errorf("iperf3 %+v, report %+v", got, r)
			}
			if d["TcpInCsumErrors"]+d["UdpInCsumErrors"]+d["Udp6InCsumErrors"] != 0 {
				t.Errorf("checksum errors without corruption: %v", d)
			}
		})
	}
}

// TestDatagrams: a train of datagrams sent as one super-frame (UDP_SEGMENT), to
// the VXLAN port as our own underlay sends them and to another, and fragments.
func TestDatagrams(t *testing.T) {
	a, b, w := pair(t, "seed=6")
	testenv.Run(t, a, "ping", "-c1", "-W5", "-s8000", "192.0.2.2")
	testenv.Run(t, a, "ping", "-c1", "-W5", "-s8000", "2001:db8::2")
	for _, addr := range []string{"192.0.2.2:4789", "192.0.2.2:5000", "[2001:db8::2]:4789"} {
		const size, count = 1200, 20
		var rx, tx *net.UDPConn
		listen := net.UDPAddrFromAddrPort(netip.MustParseAddrPort(addr))
		b.Do(t, func() {
			var err error
			if rx, err = net.ListenUDP("udp", listen); err != nil {
				t.Error(err)
			}
		})
		a.Do(t, func() {
			var err error
			if tx, err = net.DialUDP("udp", nil, listen); err != nil {
				t.Error(err)
			}
		})
		if rx == nil || tx == nil {
			t.FailNow()
		}
		raw, err := tx.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_UDP, unix.UDP_SEGMENT, size) })
		if err != nil {
			t.Fatal(err)
		}
		sent := testenv.RandomBytes(size*count-100, 1)
		if _, err := tx.Write(sent); err != nil {
			t.Fatal(err)
		}
		rx.SetReadDeadline(time.Now().Add(5 * time.Second))
		var got []byte
		buf := make([]byte, 4096)
		for k := range count {
			n, err := rx.Read(buf)
			if err != nil {
				t.Fatalf("%s: datagram %d of %d: %v", addr, k, count, err)
			}
			if n != size && k != count-1 {
				t.Errorf("%s: datagram %d has %d bytes", addr, k, n)
			}
			got = append(got, buf[:n]...)
		}
		if !bytes.Equal(got, sent) {
			t.Errorf("%s: %d bytes arrived, not those sent", addr, len(got))
		}
		rx.Close()
		tx.Close()
	}
	r := w.Report(t)
	intact(t, r)
	if r.AToB.SuperFrames < 3 {
		t.Errorf("%d super-frames", r.AToB.SuperFrames)
	}
}

// TestCorruptionDoesNotReachApplications: one frame in twenty damaged, in plain
// TCP and inside VXLAN, and the file arrives as it is.
func TestCorruptionDoesNotReachApplications(t *testing.T) {
	a, b, w := pair(t, "corrupt=5%,seed=8")
	testenv.KernelVXLAN(t, a, testenv.VXLAN{VNI: 42, Local: "192.0.2.1", Remotes: []string{"192.0.2.2"}, Addrs: "10.9.0.1/24", MTU: 1500})
	testenv.KernelVXLAN(t, b, testenv.VXLAN{VNI: 42, Local: "192.0.2.2", Remotes: []string{"192.0.2.1"}, Addrs: "10.9.0.2/24", MTU: 1500})
	root := testenv.OpenDir(t)
	sum := testenv.RandomFile(t, filepath.Join(root, "blob"), 1<<20, 2)
	testenv.Nginx(t, b.Prefix(), testenv.Options{Addrs: []string{"0.0.0.0:80", "[::]:80"}, Root: root})
	for _, host := range []string{"192.0.2.2", "[2001:db8::2]", "10.9.0.2"} {
		body, err := testenv.Try(a, 20*time.Second, "curl", "-sSg", "http://"+host+"/blob")
		if err != nil || testenv.HashBytes([]byte(body)) != sum {
			t.Errorf("%s: %d bytes, not the file: %v", host, len(body), err)
		}
	}
	r := w.Report(t)
	intact(t, r)
	if r.BToA.Corrupted < 50 {
		t.Errorf("only %d frames corrupted", r.BToA.Corrupted)
	}
}

func TestIdle(t *testing.T) {
	a, _, w := pair(t, "delay=1ms")
	testenv.Run(t, a, "ping", "-c1", "-W5", "192.0.2.2")
	before := testenv.CPU(t, w.Pid())
	// The passing of time is what is tested.
	time.Sleep(time.Second)
	if used := testenv.CPU(t, w.Pid()) - before; used > 20*time.Millisecond {
		t.Errorf("used %v of a second while idle", used)
	}
	w.Signal(t, syscall.SIGINT)
	if err := w.Wait(t, 5*time.Second); err != nil {
		t.Errorf("SIGINT: %v", err)
	}
}
