// SPDX-License-Identifier: Apache-2.0

package container

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"testing"
)

// TestDialNames: names are the container's, not the host's.
func TestDialNames(t *testing.T) {
	one, two := pod(t)
	l, err := one.Listen("tcp", "one:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	if got := l.Addr().(*net.TCPAddr).IP.String(); got != "10.42.0.1" {
		t.Errorf("listens on %s", got)
	}
	l, err = one.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, c.LocalAddr().(*net.TCPAddr).IP.String())
			_ = c.Close()
		}
	}()
	port := l.Addr().(*net.TCPAddr).Port
	for _, tt := range []struct {
		from                *Container
		network, host, want string
	}{
		{two, "tcp", "one", "10.42.0.1"},
		{two, "tcp4", "one.net", "10.42.0.1"},
		{two, "tcp6", "one", "fd42::1"},
		{two, "tcp6", "ONE.net.", "fd42::1"},
		{one, "tcp4", "localhost", "127.0.0.1"},
	} {
		c, err := tt.from.Dial(tt.network, fmt.Sprintf("%s:%d", tt.host, port))
		if err != nil {
			t.Errorf("%s %s: %v", tt.network, tt.host, err)
			continue
		}
		if got, err := io.ReadAll(c); err != nil || string(got) != tt.want {
			t.Errorf("%s %s: reached %s, want %s: %v", tt.network, tt.host, got, tt.want, err)
		}
		_ = c.Close()
	}

	ctx := t.Context()
	ips, err := two.LookupNetIP(ctx, "ip", "one")
	if want := []netip.Addr{netip.MustParseAddr("10.42.0.1"), netip.MustParseAddr("fd42::1")}; err != nil || !slices.Equal(ips, want) {
		t.Errorf("one: %v %v, want %v", ips, err, want)
	}
	for _, a := range []string{"10.42.0.1", "fd42::1"} {
		if names, err := two.LookupAddr(ctx, netip.MustParseAddr(a)); err != nil || !slices.Equal(names, []string{"one.net."}) {
			t.Errorf("%s: %v %v", a, names, err)
		}
	}
	// An isolated container's question goes nowhere.
	for name, missing := range map[string]bool{"nobody.net": true, "shop.example": false} {
		_, err := two.Dial("udp", name+":53")
		var e *net.DNSError
		var op *net.OpError
		if !errors.As(err, &e) || e.IsNotFound != missing || e.IsTemporary == missing || e.Name != name || !errors.As(err, &op) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
