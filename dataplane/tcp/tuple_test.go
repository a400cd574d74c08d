// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"net/netip"
	"testing"
)

func TestAddr(t *testing.T) {
	for _, s := range []string{"0.0.0.0", "10.1.2.3", "255.255.255.255", "::", "::1", "fd00::1", "ff02::1", "::ffff:0:0:1", "2001:db8:1:2:3:4:5:6"} {
		a := netip.MustParseAddr(s)
		x := addrFrom(a)
		if x.netip() != a || x.is4() != a.Is4() {
			t.Errorf("%s: %v, is4 %v", s, x.netip(), x.is4())
		}
		var b [16]byte
		x.put6(b[:])
		if b != a.As16() || addr6(b[:]) != x {
			t.Errorf("%s: % x", s, b)
		}
		if a.Is4() {
			x.put4(b[:4])
			if [4]byte(b[:4]) != a.As4() || addr4(b[:4]) != x {
				t.Errorf("%s: % x", s, b[:4])
			}
		}
	}
	if addrFrom(netip.MustParseAddr("fe80::1%eth0")) != addrFrom(netip.MustParseAddr("fe80::1")) {
		t.Error("a zone is part of an address")
	}
	if addrFrom(netip.MustParseAddr("::ffff:10.1.2.3")) != addrFrom(netip.MustParseAddr("10.1.2.3")) {
		t.Error("a mapped address is not the IPv4 one")
	}
}
