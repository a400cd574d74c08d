// SPDX-License-Identifier: Apache-2.0

package datagram

import (
	"encoding/binary"
	"testing"

	"netcon/dataplane/stat"
	"netcon/dataplane/stream"
	"netcon/dataplane/wire"
)

// Whatever comes from the network, in whole packets or in fragments: nothing
// panics, bounds hold, and every packet has one outcome.
func FuzzInput(f *testing.F) {
	a := newHost(f, 2)
	for _, c := range [][2]string{{"10.0.0.2:7", "10.0.0.1:9"}, {"[fd00::2]:7", "[fd00::1]:9"}} {
		k := a.bound(c[0])
		for _, n := range []int{10, 3000} {
			a.want(0, a.send(k, c[1], string(make([]byte, n))))
			var all []byte
			for _, p := range a.turn() {
				all = append(binary.BigEndian.AppendUint16(all, uint16(len(p))), p...)
			}
			f.Add(all)
		}
	}
	for _, p := range [][]byte{
		icmp(ip("10.0.0.2"), ip("10.0.0.1"), 3, 3, 0, make([]byte, 40)),
		icmp(ip("fd00::2"), ip("fd00::1"), 2, 0, 1300, make([]byte, 60)),
		icmp(ip("10.0.0.2"), ip("10.0.0.1"), 0, 0, 77<<16, nil),
	} {
		f.Add(append(binary.BigEndian.AppendUint16(nil, uint16(len(p))), p...))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h := newHost(t, 1)
		h.budget = 1 << 20
		h.frags.Limit = 256 << 10
		var ks []stream.Handle
		for _, a := range []string{"0.0.0.0:9", "10.0.0.1:10", "[::]:9"} {
			k := h.socket(familyOf(a), stream.UDP)
			h.set(k, stream.OptReuseAddr, 1)
			h.set(k, stream.OptRecvErr, 1)
			h.want(0, h.Bind(k, at(a)))
			ks = append(ks, k)
		}
		h.want(0, h.Connect(ks[1], at("10.0.0.2:7")))
		ks = append(ks, h.socket(stream.IPv4, stream.Raw), h.socket(stream.IPv6, stream.Raw), h.socket(stream.IPv4, stream.Ping))
		h.want(0, h.Bind(ks[5], at("0.0.0.0:77")))
		for len(b) >= 2 {
			n := min(int(binary.BigEndian.Uint16(b)), len(b)-2)
			p := append([]byte(nil), b[2:2+n]...)
			b = b[2+n:]
			if !acceptable(p) {
				continue
			}
			h.input(p)
			if h.Held() > h.budget || h.frags.Held() > h.frags.Limit {
				t.Fatalf("%d bytes of datagrams, %d of fragments", h.Held(), h.frags.Held())
			}
		}
		h.turn()
		for _, k := range ks {
			h.got(k)
			h.Close(k)
		}
		h.frags.Expire(h.now + fragmentLife)
		if h.Held() != 0 || h.frags.Held() != 0 || len(h.frags.m) != 0 {
			t.Errorf("%d bytes of datagrams, %d of fragments left", h.Held(), h.frags.Held())
		}
	})
}

func familyOf(s string) stream.Family {
	if at(s).Addr().Is6() {
		return stream.IPv6
	}
	return stream.IPv4
}

// acceptable makes a packet one that an engine passes on, if it can.
func acceptable(p []byte) bool {
	if len(p) == 0 {
		return false
	}
	if p[0]>>4 == 4 {
		ip, ok := wire.ParseIPv4(p)
		if ok {
			ip.SetChecksum()
		}
		return ok
	}
	ip, ok := wire.ParseIPv6(p)
	if ok {
		_, _, _, ok = ip.UpperLayer()
	}
	return ok
}

// A quote of anything is told or is not, and never reaches beyond itself.
func FuzzQuoted(f *testing.F) {
	f.Add(icmp(ip("10.0.0.1"), ip("10.0.0.2"), 8, 0, 0, nil))
	f.Add(icmp(ip("fd00::1"), ip("fd00::2"), 128, 0, 0, nil))
	h := newHost(f, 1)
	h.set(h.bound("0.0.0.0:9"), stream.OptRecvErr, 1)
	f.Fuzz(func(t *testing.T, b []byte) {
		if q, ok := quoted(b); ok && len(q.upper) < 8 {
			t.Errorf("%d bytes of upper layer", len(q.upper))
		}
		h.Undeliverable(b)
		if r := h.input(icmp(ip("10.0.0.2"), ip("10.0.0.1"), 3, 1, 0, b)); r == stat.DropL4Checksum {
			t.Errorf("%v", r)
		}
	})
}
