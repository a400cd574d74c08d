// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"
	"time"

	"netcon/dataplane/stream"
)

func TestConfigIsChecked(t *testing.T) {
	good := func() Config {
		tun := DefaultTuning()
		return Config{Name: "x", MTU: 1500, Addrs: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24")}, Tuning: &tun}
	}
	for want, spoil := range map[string]func(*Config){
		"no address":            func(c *Config) { c.Addrs = nil },
		"not a unicast address": func(c *Config) { c.Addrs = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/8")} },
		"mtu 575":               func(c *Config) { c.MTU = 575 },
		"want 1280 to":          func(c *Config) { c.MTU, c.Addrs[0] = 1279, netip.MustParsePrefix("fd00::1/64") },
		"not an IPv4 address":   func(c *Config) { c.Gateway4 = netip.MustParseAddr("::1") },
		"not an IPv6 address":   func(c *Config) { c.Gateway6 = netip.MustParseAddr("10.0.0.2") },
		"ephemeral ports":       func(c *Config) { c.Tuning.EphemeralLow = 61000 },
		"retransmission":        func(c *Config) { c.Tuning.MinRTO = 0 },
		"mss floor":             func(c *Config) { c.Tuning.BaseMSS = 1 },
		"initial cwnd":          func(c *Config) { c.Tuning.InitialCwnd = 0 },
		"delayed ACK":           func(c *Config) { c.Tuning.DelAckMax = 0 },
		"ttl":                   func(c *Config) { c.Tuning.TTL = 256 },
	} {
		c := good()
		spoil(&c)
		if e, err := New(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", want, err)
			if e != nil {
				e.Stop(nil)
			}
		}
	}
	e, err := New(good())
	if err != nil {
		t.Fatal(err)
	}
	defer e.Stop(nil)
	tun := DefaultTuning()
	tun.TTL = 0
	if e.Tune(tun) == nil {
		t.Error("a bad tuning was taken")
	}
	tun.TTL, tun.EphemeralLow, tun.EphemeralHigh = 64, 50000, 50000
	if err := e.Tune(tun); err != nil {
		t.Error(err)
	}
	h, _ := e.Open(stream.IPv4, 1)
	if e.Connect(h, netip.MustParseAddrPort("10.0.0.2:80")); e.Local(h).Port() != 50000 {
		t.Errorf("port %d", e.Local(h).Port())
	}
}

// TestLyingOwner has the consumer's cursor of a shared ring say what cannot be.
func TestLyingOwner(t *testing.T) {
	w := newTwo(t, nil)
	c, s := w.connected()
	var words stream.Cursors
	s.pair.Tx = stream.Ring{}
	s.pair.Tx.InitShared(&words, make([]byte, 4096))
	w.b.e.Attach(s.h, &s.pair)
	liar := stream.Ring{}
	liar.InitShared(&words, make([]byte, 1<<20))
	liar.Publish(100000)
	w.b.e.TxReady(s.h)
	w.run(time.Second, func() bool { return c.failed != 0 && s.failed != 0 })
	if c.failed == 0 || s.failed == 0 {
		t.Errorf("failed %v and %v", c.failed, s.failed)
	}
}

func TestForgedChecksumIsDropped(t *testing.T) {
	w := newTwo(t, nil)
	c, s := w.connected()
	w.filter = func(fromA bool, p []byte) bool {
		if fromA && len(p) > 60 {
			p[len(p)-1] ^= 0x40
		}
		return true
	}
	w.a.write(c, []byte("a byte of this is wrong"))
	w.run(time.Second, nil)
	if len(s.got) != 0 || s.pair.Rx.Len() != 0 {
		t.Fatalf("took %q", s.got)
	}
	w.filter = nil
	w.run(time.Minute, func() bool { return len(s.got) > 0 })
	sameBytes(t, s.got, []byte("a byte of this is wrong"))
}

// TestOldTimestampsAreDropped is PAWS, RFC 7323 section 5.
func TestOldTimestampsAreDropped(t *testing.T) {
	w := newTwo(t, nil)
	c, s := w.connected()
	var old []byte
	w.filter = func(fromA bool, p []byte) bool {
		if fromA && len(p) > 60 && old == nil {
			old = append([]byte(nil), p...)
		}
		return true
	}
	w.a.write(c, pattern(1000))
	w.run(time.Second, nil)
	w.a.write(c, pattern(1000))
	w.run(time.Second, nil)
	// The first segment again, as if the sequence numbers had wrapped.
	i, k := w.b.e.conns.get(uint64(s.h))
	binary.BigEndian.PutUint32(old[24:], k.rcvNxt)
	if i == 0 {
		t.Fatal("no record")
	}
	before := k.rcvd
	w.b.e.Deliver(old, true)
	w.b.e.EndBurst()
	if k.rcvd != before {
		t.Error("an old segment was taken")
	}
}
