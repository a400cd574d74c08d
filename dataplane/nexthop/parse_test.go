// SPDX-License-Identifier: Apache-2.0

package nexthop

import (
	"encoding/binary"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"netcon/dataplane/wire"
)

// attr returns an attribute with its padding.
func attr(kind uint16, value ...byte) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(4+len(value)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(b, value...)
	return append(b, make([]byte, align(len(b))-len(b))...)
}

func num(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }

func ip(s string) []byte { return netip.MustParseAddr(s).AsSlice() }

// rtmsg returns a struct rtmsg.
func rtmsg(family, bits, kind byte) []byte {
	return []byte{
		family, bits, 0, 0, // rtm_family, rtm_dst_len, rtm_src_len, rtm_tos
		0, 0, 0, kind, // rtm_table, rtm_protocol, rtm_scope, rtm_type
		0, 0, 0, 0, // rtm_flags
	}
}

// ndmsg returns a struct ndmsg of interface 5.
func ndmsg(family byte, nud uint16, flags byte) []byte {
	b := []byte{family, 0, 0, 0} // ndm_family and padding
	b = append(b, num(5)...)     // ndm_ifindex
	b = binary.NativeEndian.AppendUint16(b, nud)
	return append(b, flags, 0) // ndm_flags, ndm_type
}

func TestParseRoute(t *testing.T) {
	for _, c := range []struct {
		name string
		b    []byte
		want routeInfo
	}{
		{
			"by a gateway",
			slices.Concat(rtmsg(unix.AF_INET, 24, unix.RTN_UNICAST),
				attr(unix.RTA_DST, ip("198.51.100.0")...), attr(unix.RTA_OIF, num(5)...), attr(unix.RTA_GATEWAY, ip("192.0.2.2")...),
				attr(unix.RTA_METRICS|unix.NLA_F_NESTED, slices.Concat(attr(unix.RTAX_LOCK, num(4)...), attr(unix.RTAX_MTU, num(1400)...))...)),
			routeInfo{
				kind: unix.RTN_UNICAST, dst: netip.MustParsePrefix("198.51.100.0/24"), oif: 5,
				via: netip.MustParseAddr("192.0.2.2"), mtu: 1400, family: unix.AF_INET,
			},
		},
		{
			"default of IPv6, with a header of the kernel's",
			slices.Concat(rtmsg(unix.AF_INET6, 0, unix.RTN_UNICAST), attr(unix.RTA_OIF, num(5)...), attr(unix.RTA_ENCAP_TYPE, 5, 0)),
			routeInfo{kind: unix.RTN_UNICAST, dst: netip.MustParsePrefix("::/0"), oif: 5, encap: true, family: unix.AF_INET6},
		},
		{
			"gateway of the other family",
			slices.Concat(rtmsg(unix.AF_INET, 0, unix.RTN_UNICAST),
				attr(unix.RTA_VIA, append(binary.NativeEndian.AppendUint16(nil, unix.AF_INET6), ip("fe80::1")...)...)),
			routeInfo{
				kind: unix.RTN_UNICAST, dst: netip.MustParsePrefix("0.0.0.0/0"), via: netip.MustParseAddr("fe80::1"), family: unix.AF_INET,
			},
		},
		{
			"gateway of an unknown family",
			slices.Concat(rtmsg(unix.AF_INET, 0, unix.RTN_UNICAST), attr(unix.RTA_VIA, 99, 0, 1, 2, 3, 4)),
			routeInfo{kind: unix.RTN_UNICAST, dst: netip.MustParsePrefix("0.0.0.0/0"), family: unix.AF_INET},
		},
		{
			"three legs, one dead, and half a leg",
			slices.Concat(rtmsg(unix.AF_INET, 0, unix.RTN_UNICAST), attr(unix.RTA_MULTIPATH, slices.Concat(
				[]byte{16, 0, unix.RTNH_F_DEAD, 0}, num(4), attr(unix.RTA_GATEWAY, ip("192.0.2.2")...),
				[]byte{40, 0, 0, 0}, num(5), // rtnh_len, rtnh_flags, rtnh_hops, rtnh_ifindex
				attr(unix.RTA_VIA, append(binary.NativeEndian.AppendUint16(nil, unix.AF_INET6), ip("fe80::1")...)...),
				attr(unix.RTA_ENCAP_TYPE, 1, 0),
				[]byte{8, 0, 0, 0}, num(6),
				[]byte{12, 0, 0, 0}, num(7), // longer than what is left
			)...)),
			routeInfo{
				kind: unix.RTN_UNICAST, dst: netip.MustParsePrefix("0.0.0.0/0"), family: unix.AF_INET,
				legs: []leg{{oif: 4, dead: true, via: netip.MustParseAddr("192.0.2.2")}, {oif: 5, via: netip.MustParseAddr("fe80::1"), encap: true}, {oif: 6}},
			},
		},
		{
			"numbers that are none, an MTU that is none",
			slices.Concat(rtmsg(unix.AF_INET, 32, unix.RTN_LOCAL), attr(unix.RTA_DST, ip("192.0.2.1")...), attr(unix.RTA_OIF, 1, 2),
				attr(unix.RTA_GATEWAY, 1, 2, 3), attr(unix.RTA_METRICS, attr(unix.RTAX_MTU, num(67)...)...), attr(unix.RTA_VIA, 1)),
			routeInfo{kind: unix.RTN_LOCAL, dst: netip.MustParsePrefix("192.0.2.1/32"), family: unix.AF_INET},
		},
	} {
		got, err := parseRoute(c.b)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v %v, want %+v", c.name, got, err, c.want)
		}
	}
	for name, b := range map[string][]byte{
		"short":             make([]byte, unix.SizeofRtMsg-1),
		"33 bits of IPv4":   rtmsg(unix.AF_INET, 33, unix.RTN_UNICAST),
		"no address at all": slices.Concat(rtmsg(unix.AF_INET, 8, unix.RTN_UNICAST), attr(unix.RTA_DST, 1, 2, 3)),
	} {
		if got, err := parseRoute(b); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestParseNeigh(t *testing.T) {
	addr := attr(netlink.NDA_DST, ip("192.0.2.2")...)
	for _, c := range []struct {
		name string
		b    []byte
		want neighInfo
		ok   bool
	}{
		{
			"managed by us",
			slices.Concat(ndmsg(unix.AF_INET, netlink.NUD_REACHABLE, 0), addr, attr(netlink.NDA_LLADDR, 2, 0, 0, 0, 0, 9),
				attr(netlink.NDA_PROTOCOL, protocol), attr(netlink.NDA_FLAGS_EXT, num(netlink.NTF_EXT_MANAGED)...)),
			neighInfo{
				index: 5, ip: peer4, mac: wire.MAC{2, 0, 0, 0, 0, 9}, nud: netlink.NUD_REACHABLE, managed: true, protocol: protocol,
			},
			true,
		},
		{
			"an address of InfiniBand",
			slices.Concat(ndmsg(unix.AF_INET6, netlink.NUD_STALE, 0), attr(netlink.NDA_DST, ip("2001:db8::2")...),
				attr(netlink.NDA_LLADDR, make([]byte, 20)...)),
			neighInfo{index: 5, ip: peer6, nud: netlink.NUD_STALE},
			true,
		},
		{"of a bridge", slices.Concat(ndmsg(unix.AF_BRIDGE, 0, 0), addr), neighInfo{}, false},
		{"proxied", slices.Concat(ndmsg(unix.AF_INET, 0, netlink.NTF_PROXY), addr), neighInfo{}, false},
		{"no address", ndmsg(unix.AF_INET, 0, 0), neighInfo{}, false},
		{"short", make([]byte, unix.SizeofNdMsg-1), neighInfo{}, false},
	} {
		got, ok := parseNeigh(c.b)
		if ok != c.ok || ok && got != c.want {
			t.Errorf("%s: %+v %v, want %+v", c.name, got, ok, c.want)
		}
	}
}

func TestParseLink(t *testing.T) {
	head := slices.Concat(
		[]byte{0, 0, unix.ARPHRD_ETHER, 0}, num(5), // ifi_family, ifi_type, ifi_index
		num(unix.IFF_UP|unix.IFF_RUNNING), num(0)) // ifi_flags, ifi_change
	conf := slices.Concat(num(1), num(64), num(1280)) // forwarding, hop limit, MTU
	got, err := parseLink(slices.Concat(head,
		attr(unix.IFLA_IFNAME, []byte("eth0\x00")...), attr(unix.IFLA_ADDRESS, 2, 0, 0, 0, 0, 9), attr(unix.IFLA_MTU, num(1<<20)...),
		attr(unix.IFLA_MASTER, num(3)...), attr(unix.IFLA_LINKINFO, attr(unix.IFLA_INFO_KIND, []byte("vrf\x00")...)...),
		attr(unix.IFLA_AF_SPEC, attr(unix.AF_INET6, attr(2, conf...)...)...)))
	want := linkInfo{
		index: 5, name: "eth0", kind: "vrf", hardware: unix.ARPHRD_ETHER, flags: unix.IFF_UP | unix.IFF_RUNNING,
		mac: wire.MAC{2, 0, 0, 0, 0, 9}, mtu: 65535, mtu6: 1280, master: 3,
	}
	if err != nil || got != want || !got.up() {
		t.Errorf("%+v %v", got, err)
	}
	if _, err := parseLink(head[:len(head)-1]); err == nil {
		t.Error("a short message is taken")
	}
	if got, err := parseLink(slices.Concat(head, attr(unix.IFLA_AF_SPEC, attr(unix.AF_INET6, attr(2, conf[:8]...)...)...))); err != nil || got.mtu6 != 0 {
		t.Errorf("%+v %v", got, err)
	}
}

// What follows after a length that cannot be is not read.
func TestBounds(t *testing.T) {
	good := attr(1, 7)
	for name, b := range map[string][]byte{
		"nothing":      nil,
		"short header": {4, 0, 1},
		"length 0":     {0, 0, 1, 0, 9, 9, 9, 9},
		"length 3":     {3, 0, 1, 0, 9, 9, 9, 9},
		"too long":     {9, 0, 1, 0, 9, 9, 9, 9},
	} {
		n := 0
		for range attributes(append(slices.Clone(good), b...)) {
			n++
		}
		if n != 1 {
			t.Errorf("%s: %d attributes", name, n)
		}
	}
	n := 0
	for kind, a := range attributes([]byte{5, 0, 1, 0, 7}) { // without padding
		if kind != 1 || len(a) != 1 {
			t.Errorf("%d %x", kind, a)
		}
		n++
	}
	if n != 1 {
		t.Errorf("%d attributes", n)
	}
}

func FuzzHear(f *testing.F) {
	message := func(kind uint16, body []byte) []byte {
		b := num(uint32(unix.SizeofNlMsghdr + len(body)))
		b = binary.NativeEndian.AppendUint16(b, kind)
		return append(append(b, make([]byte, 10)...), body...) // nlmsg_flags, nlmsg_seq, nlmsg_pid
	}
	f.Add(slices.Concat(
		message(unix.RTM_NEWNEIGH, slices.Concat(ndmsg(unix.AF_INET, 2, 0), attr(netlink.NDA_DST, ip("192.0.2.2")...))),
		message(unix.RTM_NEWROUTE, slices.Concat(rtmsg(unix.AF_INET6, 64, 1), attr(unix.RTA_DST, ip("2001:db8::")...),
			attr(unix.RTA_MULTIPATH, slices.Concat([]byte{8, 0, 0, 0}, num(5))...))),
		message(unix.RTM_NEWLINK, make([]byte, unix.SizeofIfInfomsg)),
		message(unix.RTM_NEWRULE, nil),
	))
	f.Fuzz(func(t *testing.T, b []byte) {
		var in inbox
		heard := in.hear(b, 5)
		for range messages(b) {
		}
		h := in.take()
		match := h.routes.matcher()
		for p := range h.routes.prefixes {
			if !match(p.Addr()) {
				t.Errorf("%s changes, and its address does not", p)
			}
		}
		if something := len(h.neighbours) != 0 || !h.routes.empty() || h.link || h.otherLink; something != heard {
			t.Errorf("heard %v: %+v", heard, h)
		}
		for ip, n := range h.neighbours {
			if !ip.IsValid() || n.ip != ip || n.index != 5 {
				t.Errorf("%s: %+v", ip, n)
			}
		}
	})
}

func TestRouteChanges(t *testing.T) {
	var c routeChanges
	if match := c.matcher(); !c.empty() || match(peer4) {
		t.Error("nothing changes everything")
	}
	for _, p := range []string{"198.51.100.0/24", "203.0.113.9/32", "2001:db8:f::/48"} {
		c.add(netip.MustParsePrefix(p))
	}
	match := c.matcher()
	for addr, want := range map[string]bool{
		"198.51.100.7": true, "198.51.101.7": false, "203.0.113.9": true, "203.0.113.8": false,
		"2001:db8:f::1": true, "2001:db8:e::1": false, "fe80::1%ul0": false,
	} {
		if got := match(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %v", addr, got)
		}
	}
	c.add(netip.MustParsePrefix("::/0"))
	if match := c.matcher(); !match(netip.MustParseAddr("fe80::1%ul0")) || match(peer4) {
		t.Error("default of IPv6")
	}
	// Too many to tell apart.
	a := netip.MustParseAddr("10.0.0.0")
	for range maxPrefixes {
		c.add(netip.PrefixFrom(a, 32))
		a = a.Next()
	}
	if !c.all || len(c.prefixes) != 0 || !c.matcher()(peer4) {
		t.Errorf("%d prefixes", len(c.prefixes))
	}
	var d routeChanges
	d.add(netip.MustParsePrefix("192.0.2.0/24"))
	if d.merge(c); !d.all {
		t.Error("all is lost in a merge")
	}
}
