// SPDX-License-Identifier: Apache-2.0

package udplink

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"netcon/dataplane/stat"
)

func TestRefusedFrames(t *testing.T) {
	l := open(t, Config{Local: local("127.0.0.2", 0), MTU: 1450})[0]
	for _, tt := range []struct {
		name   string
		dst    string
		n      int
		reason stat.Reason
	}{
		{"above the MTU", "127.0.0.3", 1451, stat.DropUnderlayMTU},
		{"above any datagram", "127.0.0.3", 1 << 20, stat.DropUnderlayMTU},
		{"other family", "::1", 100, stat.DropUnderlayError},
		{"empty", "127.0.0.3", 0, stat.DropUnderlayError},
	} {
		before, all := drops(l, tt.reason), allDrops(l)
		room := l.Reserve(addr(tt.dst), 1, tt.n)
		if room == nil || len(room) != tt.n {
			t.Errorf("%s: room of %d bytes, want %d", tt.name, len(room), tt.n)
		}
		l.Commit()
		if got := drops(l, tt.reason) - before; got != 1 || allDrops(l)-all != 1 {
			t.Errorf("%s: counted %d times as %v, %d in all", tt.name, got, tt.reason, allDrops(l)-all)
		}
	}
	l.Flush()
	if n := count(l, stat.TxCalls); n != 0 {
		t.Errorf("%d send calls for nothing", n)
	}
}

// Loopback's MTU is 65,536: the largest frame over IPv4 passes, over IPv6 the
// kernel refuses it.
func TestLargestFrame(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		mtu  int
	}{{"127.0.0.2", "127.0.0.3", 0}, {"::1", "::1", 1}} {
		a, b := pair(t, tt.a, tt.b, Config{})
		put(a, addr(tt.b), 1, make([]byte, maxPayload))
		put(a, addr(tt.b), 1, make([]byte, 1))
		a.Flush()
		f := receive(t, b, 2-tt.mtu)
		if got := drops(a, stat.DropUnderlayMTU); got != tt.mtu || tt.mtu == 0 && len(f.data[0]) != maxPayload {
			t.Errorf("%s: %d drops, want %d", tt.a, got, tt.mtu)
		}
	}
}

func TestCommitWithoutReserve(t *testing.T) {
	l := open(t, Config{Local: local("127.0.0.2", 0)})[0]
	defer func() {
		if recover() == nil {
			t.Error("Commit without Reserve passed")
		}
	}()
	put(l, addr("127.0.0.3"), 1, []byte("x"))
	l.Commit()
}

func TestTruncated(t *testing.T) {
	l := open(t, Config{Local: local("127.0.0.2", 0), MTU: 1450, DisableOffload: true})[0]
	peer, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(l.Local()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = peer.Close() }()
	for _, n := range []int{minFrameBuffer, minFrameBuffer + 1, 9000, 0, 5} {
		if _, err := peer.Write(make([]byte, n)); err != nil {
			t.Fatal(err)
		}
	}
	f := new(frames)
	// The truncated count towards the budget.
	for got := 0; got < 5; {
		k := l.Recv(f, 5-got)
		if got += k; k == 0 && !readable(l, time.Second) {
			t.Fatalf("Recv gave %d, want 5", got)
		}
	}
	if len(f.data) != 3 || len(f.data[0]) != minFrameBuffer || len(f.data[1]) != 0 || len(f.data[2]) != 5 {
		t.Errorf("sink got %d frames", len(f.data))
	}
	if got := drops(l, stat.DropOuterTruncated); got != 2 || count(l, stat.RxFrames) != 3 {
		t.Errorf("%d drops, %d frames, want 2 and 3", got, count(l, stat.RxFrames))
	}
}

// A burst to where there is no route counts each frame once, trains or not, and
// spares what goes elsewhere.
func TestUnreachable(t *testing.T) {
	newNetns(t)
	for _, disable := range []bool{false, true} {
		a, b := pair(t, "127.0.0.2", "127.0.0.3", Config{MTU: 1000, DisableOffload: disable})
		p := payload(0, 0, 1000)
		for range 10 {
			for range 10 {
				put(a, addr("203.0.113.1"), 1, p)
			}
			put(a, addr("127.0.0.3"), 1, p)
		}
		a.Flush()
		if got := drops(a, stat.DropUnderlayError); got != 100 || allDrops(a) != 100 {
			t.Errorf("disable=%v: %d drops, %d in all, want 100", disable, got, allDrops(a))
		}
		receive(t, b, 10)
		if got := count(a, stat.TxFrames); got != 10 {
			t.Errorf("disable=%v: %d frames sent, want 10", disable, got)
		}
		if f := a.Features(); f.GSO == disable {
			t.Errorf("disable=%v: features %v", disable, f)
		}
	}
}

// Nobody listens: ICMP comes back, and neither side may stumble over it.
func TestPortUnreachable(t *testing.T) {
	newNetns(t)
	run(t, "ip addr add fd09::1/128 dev lo nodad")
	for _, nets := range [][2]string{{"127.0.0.2", "127.0.0.3"}, {"fd09::1", "::1"}} {
		a := open(t, Config{Local: local(nets[0], 0), MTU: 1000})[0]
		p := payload(0, 0, 1000)
		for range 5 {
			for range 100 {
				put(a, addr(nets[1]), 1, p)
			}
			a.Flush()
			if n := a.Recv(new(frames), 10); n != 0 {
				t.Errorf("received %d frames from nobody", n)
			}
		}
		if got := count(a, stat.TxFrames); got != 500 || allDrops(a) != 0 {
			t.Errorf("%d frames sent, %d drops, want 500 and none", got, allDrops(a))
		}
	}
}

// With IP_RECVERR an ICMP error becomes the socket's: it is pending once and
// must cost no frame.
func TestPendingErrorOnSend(t *testing.T) {
	a, b := pair(t, "127.0.0.2", "127.0.0.3", Config{MTU: 1000, SendSockets: 1})
	fd := a.send[0].fd
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_RECVERR, 1); err != nil {
		t.Fatal(err)
	}
	put(a, addr("127.0.0.9"), 1, []byte("refused, later"))
	a.Flush()
	failed(t, fd)
	put(a, addr("127.0.0.3"), 1, []byte("frame"))
	a.Flush()
	receive(t, b, 1)
	if got := count(a, stat.TxFrames); got != 2 || allDrops(a) != 0 {
		t.Errorf("%d frames sent, %d drops, want 2 and none", got, allDrops(a))
	}
	if got := count(a, stat.TxCalls); got != 3 {
		t.Errorf("%d send calls, want 3 with the one that met the error", got)
	}
}

// The receive socket's own pending error comes before the data.
func TestPendingErrorOnReceive(t *testing.T) {
	a, b := pair(t, "127.0.0.2", "127.0.0.3", Config{})
	if err := unix.SetsockoptInt(b.FD(), unix.IPPROTO_IP, unix.IP_RECVERR, 1); err != nil {
		t.Fatal(err)
	}
	put(a, addr("127.0.0.3"), 1, []byte("frame"))
	a.Flush()
	if !readable(b, time.Second) {
		t.Fatal("nothing arrived")
	}
	if err := unix.Sendto(b.FD(), []byte("x"), 0, toSockaddr(local("127.0.0.9", 9), 0)); err != nil {
		t.Fatal(err)
	}
	failed(t, b.FD())
	f := new(frames)
	if n := b.Recv(f, 10); n != 1 || string(f.data[0]) != "frame" {
		t.Errorf("received %d frames, want 1", n)
	}
	if n := count(b, stat.RxCalls); n != 2 {
		t.Errorf("%d receive calls, want 2 with the one that met the error", n)
	}
}

// The kernel refuses UDP_SEGMENT with EINVAL where outer checksums are off, and
// still takes the frames alone.
func TestSegmentationRefused(t *testing.T) {
	a, b := pair(t, "127.0.0.2", "127.0.0.3", Config{MTU: 1000})
	for i := range a.send {
		if err := unix.SetsockoptInt(a.send[i].fd, unix.SOL_SOCKET, unix.SO_NO_CHECK, 1); err != nil {
			t.Fatal(err)
		}
	}
	for round := range 2 {
		for flow := range uint32(8) {
			for seq := range uint32(20) {
				put(a, addr("127.0.0.3"), flow, payload(flow, seq, 1000-int(seq/19)))
			}
		}
		a.Flush()
		next := [8]uint32{}
		for _, p := range receive(t, b, 160).data {
			flow := uint32(p[0])
			want := payload(flow, next[flow], 1000-int(next[flow]/19))
			if string(p) != string(want) {
				t.Fatalf("round %d: flow %d frame %d is another", round, flow, next[flow])
			}
			next[flow]++
		}
	}
	if got := count(a, stat.TxFrames); got != 320 || allDrops(a) != 0 {
		t.Errorf("%d frames sent, %d drops, want 320 and none", got, allDrops(a))
	}
	if f := a.Features(); f.GSO || f.GSORefused != "invalid argument" {
		t.Errorf("features %v, want segmentation refused", f)
	}
	calls := count(a, stat.TxCalls)
	for range 60 {
		put(a, addr("127.0.0.3"), 1, payload(1, 0, 1000))
	}
	a.Flush()
	receive(t, b, 60)
	if got := count(a, stat.TxCalls) - calls; got != 1 {
		t.Errorf("%d send calls after segmentation was given up, want 1", got)
	}
}
