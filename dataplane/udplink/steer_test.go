// SPDX-License-Identifier: Apache-2.0

package udplink

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"netcon/dataplane/stat"
	"netcon/dataplane/wire"
)

// TestSteer sends from many outer ports and expects every frame at the worker
// its inner destination is on.
func TestSteer(t *testing.T) {
	const workers, perPlace = 3, 20
	blocks := make([]*stat.Block, workers)
	for i := range blocks {
		blocks[i] = &stat.Block{}
	}
	links, err := Open(Config{Local: netip.MustParseAddrPort("127.0.0.1:0"), Workers: workers, Stats: blocks})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		for _, l := range links {
			_ = l.Close()
		}
	}()
	var places []Place
	for i := range 12 {
		places = append(places, Place{MAC: wire.MAC{2, 0, 0, 0, 1, byte(i)}, Worker: i % workers})
	}
	if err := Steer(links, places); err != nil {
		t.Fatal(err)
	}
	for _, p := range append(places, Place{MAC: wire.Broadcast, Worker: 0}) {
		for range perPlace {
			c, err := net.Dial("udp", links[0].Local().String())
			if err != nil {
				t.Fatal(err)
			}
			frame := make([]byte, 64)
			wire.PutVXLAN(frame, 42)
			wire.PutEthernet(frame[wire.VXLANLen:], p.MAC, wire.MAC{2, 9}, wire.EtherTypeIPv4)
			if _, err := c.Write(frame); err != nil {
				t.Fatal(err)
			}
			_ = c.Close()
		}
	}
	place := map[wire.MAC]int{wire.Broadcast: 0}
	for _, p := range places {
		place[p.MAC] = p.Worker
	}
	for i, l := range links {
		want := len(places) / workers * perPlace
		if i == 0 {
			want += perPlace
		}
		s := steered{t: t, worker: i, place: place}
		for s.n < want {
			pfd := []unix.PollFd{{Fd: int32(l.FD()), Events: unix.POLLIN}}
			if n, err := unix.Poll(pfd, int((5 * time.Second).Milliseconds())); err != nil || n == 0 {
				t.Fatalf("worker %d received %d of %d frames (%v)", i, s.n, want, err)
			}
			l.Recv(&s, 256)
		}
	}
}

// steered checks that frames are at the right worker.
type steered struct {
	t         *testing.T
	worker, n int
	place     map[wire.MAC]int
}

func (s *steered) Frame(_ netip.Addr, payload []byte) {
	s.n++
	dst := wire.Ethernet(payload[wire.VXLANLen:]).Dst()
	if want, known := s.place[dst]; !known || want != s.worker {
		s.t.Errorf("worker %d received a frame for %s, which is on %d", s.worker, dst, want)
	}
}

func TestSteerManyPlaces(t *testing.T) {
	places := make([]Place, 5000)
	for i := range places {
		places[i] = Place{MAC: wire.MAC{2, 0, 0, 0, byte(i >> 8), byte(i)}, Worker: 1}
	}
	if n := len(steering(places)); n > 4096 {
		t.Errorf("a program of %d instructions", n)
	}
	blocks := []*stat.Block{{}, {}}
	links, err := Open(Config{Local: netip.MustParseAddrPort("127.0.0.1:0"), Workers: 2, Stats: blocks})
	if err != nil {
		t.Fatal(err)
	}
	if err := Steer(links, places); err != nil {
		t.Error(err)
	}
	for _, l := range links {
		_ = l.Close()
	}
}
