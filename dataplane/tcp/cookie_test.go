// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"math/rand/v2"
	"testing"
	"time"
)

var cookieTuple = tuple{remote: addr{lo: mapped4 | 0x0a000001}, lport: 443, rport: 40000, local: 2}

// What a SYN says comes back with the ACK, as far as there was room for it.
func TestCookieRoundTrip(t *testing.T) {
	k := testSecrets(1).cookie
	for mss, want := range map[uint16]uint16{
		1: 536, 535: 536, 536: 536, 1219: 536, 1220: 1220, 1460: 1460, 1459: 1440, 8940: 8940, 8939: 1460, 65495: 8940,
	} {
		for scale := range uint8(17) {
			if scale > maxScale {
				scale = noScale
			}
			for bits := range 8 {
				in := cookie{mss: mss, scale: scale, sack: bits&1 != 0, ecn: bits&2 != 0, timestamps: bits&4 != 0}
				expect := cookie{mss: want, scale: noScale}
				if in.timestamps {
					expect = in
					expect.mss = want
				}
				now := 1000 * time.Second
				iss, tsVal := in.make(k, &cookieTuple, 77, now, 123456)
				var out cookie
				if !out.check(k, &cookieTuple, 78, iss+1, in.timestamps, tsVal, now+time.Second) {
					t.Fatalf("%+v: not accepted", in)
				}
				if out != expect {
					t.Fatalf("%+v: got %+v, want %+v", in, out, expect)
				}
			}
		}
	}
}

// TSval stays behind the clock, by less than 64 ms.
func TestCookieTimestamp(t *testing.T) {
	k := testSecrets(1).cookie
	for _, base := range []uint32{0, 1 << 31, 1<<32 - 200} {
		for d := range uint32(300) {
			for _, c := range []cookie{{scale: 0, timestamps: true}, {scale: noScale, sack: true, ecn: true, timestamps: true}} {
				if _, ts := c.make(k, &cookieTuple, 1, 0, base+d); base+d-ts >= 64 {
					t.Fatalf("clock %#x: %#x", base+d, ts)
				}
			}
			c := cookie{scale: 7, sack: true}
			if _, ts := c.make(k, &cookieTuple, 1, 0, base+d); ts != base+d {
				t.Fatalf("clock %#x without timestamps: %#x", base+d, ts)
			}
		}
	}
}

// A cookie is good for one to two ticks.
func TestCookieAge(t *testing.T) {
	k := testSecrets(1).cookie
	c := cookie{mss: 1460, scale: noScale}
	for _, made := range []time.Duration{0, cookieTick - 1, 100*cookieTick + 5} {
		iss, _ := c.make(k, &cookieTuple, 1, made, 0)
		for _, age := range []time.Duration{0, time.Second, cookieTick} {
			if !new(cookie).check(k, &cookieTuple, 2, iss+1, false, 0, made+age) {
				t.Errorf("made at %v: not accepted %v later", made, age)
			}
		}
		for _, age := range []time.Duration{2 * cookieTick, time.Hour, 300 * cookieTick, 1 << 20 * cookieTick} {
			if new(cookie).check(k, &cookieTuple, 2, iss+1, false, 0, made+age) {
				t.Errorf("made at %v: accepted %v later", made, age)
			}
		}
	}
}

// Whatever is changed, nothing is accepted that we did not say.
func TestCookieTampering(t *testing.T) {
	k := testSecrets(1).cookie
	c := cookie{mss: 1460, scale: 7, sack: true, timestamps: true}
	const irs, now = 1000, 100 * time.Second
	iss, ts := c.make(k, &cookieTuple, irs, now, 99999)
	accepts := func(k key, u tuple, seq, ack uint32, timestamps bool, tsEcr uint32) bool {
		return new(cookie).check(k, &u, seq, ack, timestamps, tsEcr, now)
	}
	if !accepts(k, cookieTuple, irs+1, iss+1, true, ts) {
		t.Fatal("the cookie is not accepted")
	}
	for bit := range 32 {
		if accepts(k, cookieTuple, irs+1, (iss^1<<bit)+1, true, ts) {
			t.Errorf("bit %d of the number changed: accepted", bit)
		}
		if accepts(k, cookieTuple, (irs^1<<bit)+1, iss+1, true, ts) {
			t.Errorf("bit %d of theirs changed: accepted", bit)
		}
		if got := accepts(k, cookieTuple, irs+1, iss+1, true, ts^1<<bit); got != (bit >= cookieBits) {
			t.Errorf("bit %d of the timestamp changed: %v", bit, got)
		}
	}
	if accepts(k, cookieTuple, irs+1, iss+1, false, 0) {
		t.Error("accepted without the timestamps it was made with")
	}
	for name, u := range map[string]tuple{
		"address": {remote: addr{lo: mapped4 | 0x0a000002}, lport: 443, rport: 40000, local: 2},
		"lport":   {remote: cookieTuple.remote, lport: 444, rport: 40000, local: 2},
		"rport":   {remote: cookieTuple.remote, lport: 443, rport: 40001, local: 2},
		"local":   {remote: cookieTuple.remote, lport: 443, rport: 40000, local: 3},
	} {
		if accepts(k, u, irs+1, iss+1, true, ts) {
			t.Errorf("accepted for another %s", name)
		}
	}
	if accepts(testSecrets(2).cookie, cookieTuple, irs+1, iss+1, true, ts) {
		t.Error("accepted with another key")
	}

	// Guessing: 2^20 numbers meet one of two counters with 29 bits each.
	r := rand.New(rand.NewPCG(1, 1))
	hits := 0
	for range 1 << 20 {
		if accepts(k, cookieTuple, irs+1, r.Uint32(), true, ts) {
			hits++
		}
	}
	if hits > 1 {
		t.Errorf("%d guesses of 2^20 were right", hits)
	}
}

func TestCookieAllocs(t *testing.T) {
	k := testSecrets(1).cookie
	c := cookie{mss: 1460, scale: 7, timestamps: true}
	if n := testing.AllocsPerRun(100, func() {
		iss, ts := c.make(k, &cookieTuple, 1, 0, 5)
		c.check(k, &cookieTuple, 2, iss+1, true, ts, 0)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkCookie(b *testing.B) {
	k := testSecrets(1).cookie
	c := cookie{mss: 1460, scale: 7, timestamps: true}
	b.Run("make", func(b *testing.B) {
		for b.Loop() {
			iss, _ := c.make(k, &cookieTuple, 1, 0, 5)
			sink += uint64(iss)
		}
	})
	b.Run("refuse", func(b *testing.B) {
		var d cookie
		for b.Loop() {
			d.check(k, &cookieTuple, 2, 4711, false, 0, 0)
		}
	})
}
