// SPDX-License-Identifier: Apache-2.0

package datagram

import (
	"net/netip"
	"syscall"
	"testing"

	"netcon/dataplane/stream"
)

// Which way destinations lie, and from which address they are spoken to.
func TestSource(t *testing.T) {
	a := newAddresses([]netip.Prefix{
		net("10.0.0.5/24"), net("10.0.0.6/32"), net("10.9.0.5/16"), net("192.168.7.1/31"), net("fd00::5/64"), net("fd01::5/64"),
	}, ip("10.9.0.1"), ip("fd01::1"))
	for _, c := range []struct {
		dst    string
		reach  Reach
		source string
	}{
		{"10.0.0.9", Link, "10.0.0.5"},
		{"10.9.200.1", Link, "10.9.0.5"},
		{"8.8.8.8", Link, "10.9.0.5"}, // through the gateway
		{"192.168.7.0", Link, "192.168.7.1"},
		{"10.0.0.5", Own, "10.0.0.5"},
		{"10.0.0.6", Own, "10.0.0.6"},
		{"127.9.9.9", Own, "127.0.0.1"},
		{"::1", Own, "::1"},
		{"10.0.0.255", Broadcast, "10.0.0.5"},
		{"10.9.255.255", Broadcast, "10.9.0.5"},
		{"255.255.255.255", Broadcast, "10.0.0.5"},
		{"224.0.0.9", Multicast, "10.0.0.5"},
		{"fd01::77", Link, "fd01::5"},
		{"2001:db8::1", Link, "fd01::5"},
		{"ff02::9", Multicast, "fd00::5"},
	} {
		r := a.reach(ip(c.dst))
		if r != c.reach || a.source(ip(c.dst), r) != ip(c.source) {
			t.Errorf("%s: %d from %v, want %d from %s", c.dst, r, a.source(ip(c.dst), r), c.reach, c.source)
		}
	}
	only4 := newAddresses([]netip.Prefix{net("10.0.0.5/24")}, netip.Addr{}, netip.Addr{})
	for _, dst := range []string{"8.8.8.8", "fd00::1", "ff02::1", "10.0.1.1"} {
		if r := only4.reach(ip(dst)); r != None {
			t.Errorf("%s: %d", dst, r)
		}
	}
}

// Options have Linux's defaults and ranges.
func TestOptions(t *testing.T) {
	h := newHost(t, 1)
	k, six := h.socket(stream.IPv4, stream.UDP), h.socket(stream.IPv6, stream.UDP)
	for _, c := range []struct {
		o        stream.Option
		def      int
		good     []int
		bad      []int
		restores int // what -1 means; 0: nothing
	}{
		{stream.OptTTL, 64, []int{1, 255}, []int{0, 256}, 64},
		{stream.OptTOS, 0, []int{0, 255}, []int{256}, 0},
		{stream.OptMulticastTTL, 1, []int{0, 255}, []int{256}, 1},
		{stream.OptMulticastLoop, 1, []int{0}, []int{2}, 0},
		{stream.OptMulticastAll, 1, []int{0}, []int{2}, 0},
		{stream.OptBroadcast, 0, []int{1}, []int{2}, 0},
		{stream.OptMTUDiscover, discoverWant, []int{0, 5}, []int{6, -1}, 0},
		{stream.OptRecvErr, 0, []int{1}, []int{2}, 0},
		{stream.OptRecvBuffer, defaultRecvBuffer, []int{minBuffer, maxRecvBuffer}, nil, 0},
	} {
		if v, e := h.Option(k, c.o); v != c.def || e != 0 {
			t.Errorf("option %d: %d %v", c.o, v, e)
		}
		for _, v := range c.good {
			h.set(k, c.o, v)
			if got, _ := h.Option(k, c.o); got != v {
				t.Errorf("option %d: %d, set to %d", c.o, got, v)
			}
		}
		for _, v := range c.bad {
			h.want(syscall.EINVAL, h.SetOption(k, c.o, v))
		}
		if c.restores != 0 {
			h.set(k, c.o, -1)
			if got, _ := h.Option(k, c.o); got != c.restores {
				t.Errorf("option %d: %d after -1", c.o, got)
			}
		}
	}
	for _, o := range []stream.Option{stream.OptNoDelay, stream.OptLinger, stream.NumOptions, 200} {
		h.want(syscall.ENOPROTOOPT, h.SetOption(k, o, 1))
		if _, e := h.Option(k, o); e != syscall.ENOPROTOOPT {
			t.Errorf("option %d: %v", o, e)
		}
	}
	h.want(syscall.ENOPROTOOPT, h.SetOption(k, stream.OptV6Only, 1))
	h.want(syscall.ENOPROTOOPT, h.SetOption(k, stream.OptMTU, 1000))
	if _, e := h.Option(k, stream.OptMTU); e != syscall.ENOTCONN {
		t.Errorf("MTU without a peer: %v", e)
	}
	h.set(six, stream.OptV6Only, 1)
	h.want(0, h.Bind(six, at("[::]:5")))
	h.want(syscall.EINVAL, h.SetOption(six, stream.OptV6Only, 0))
	h.want(0, h.Bind(k, at("0.0.0.0:5")))
}

// Shutdown acts whether there is a peer or not, and says which.
func TestShutdown(t *testing.T) {
	h := newHost(t, 1)
	k := h.bound("127.0.0.1:1")
	h.want(syscall.ENOTCONN, h.Shutdown(k, stream.ShutRead))
	h.want(0, h.send(k, "127.0.0.1:1", "x"))
	if got := h.got(k); len(got) != 0 {
		t.Errorf("%v", got)
	}
	h.want(0, h.Connect(k, at("127.0.0.1:1")))
	h.want(0, h.Shutdown(k, stream.ShutWrite))
	h.want(syscall.EPIPE, h.send(k, "", "x"))
}
