// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"testing"
	"time"
)

func testSecrets(n byte) secrets {
	seed := [32]byte{0: n}
	return newSecrets(&seed)
}

func TestInitialSeq(t *testing.T) {
	s := testSecrets(1)
	u := tuple{remote: addr{lo: mapped4 | 1}, lport: 80, rport: 1000, local: 2}
	at := 5 * time.Minute

	// The clock ticks every 4 µs (4.096), so that the numbers of one tuple
	// grow from one connection to the next.
	first := s.initialSeq(&u, at)
	for _, d := range []time.Duration{time.Microsecond << 12, time.Second, time.Hour} {
		if got, want := s.initialSeq(&u, at+d)-first, uint32(d>>12); got-want > 1 {
			t.Errorf("after %v: %d further, want %d", d, got, want)
		}
	}
	// Another tuple, or another seed, has another offset.
	seen := map[uint32]bool{first: true}
	for _, v := range []tuple{
		{remote: addr{lo: mapped4 | 2}, lport: 80, rport: 1000, local: 2},
		{remote: addr{lo: mapped4 | 1}, lport: 81, rport: 1000, local: 2},
		{remote: addr{lo: mapped4 | 1}, lport: 80, rport: 1001, local: 2},
		{remote: addr{lo: mapped4 | 1}, lport: 80, rport: 1000, local: 3},
	} {
		if n := s.initialSeq(&v, at); seen[n] {
			t.Errorf("%+v: number %d again", v, n)
		} else {
			seen[n] = true
		}
	}
	if other := testSecrets(2); other.initialSeq(&u, at) == first {
		t.Error("the seed does not matter")
	}
	if same := testSecrets(1); same.initialSeq(&u, at) != first {
		t.Error("the same seed gives another number")
	}
}

// Timestamps grow across connections between the same two addresses, and tell
// nothing across others.
func TestTimestampOffset(t *testing.T) {
	s := testSecrets(1)
	u := tuple{remote: addr{lo: mapped4 | 1}, lport: 80, rport: 1000, local: 2}
	v := u
	v.lport, v.rport = 81, 2000
	if s.tsOffset(&u) != s.tsOffset(&v) {
		t.Error("ports are part of the offset")
	}
	v.local++
	w := u
	w.remote.lo++
	if s.tsOffset(&u) == s.tsOffset(&v) || s.tsOffset(&u) == s.tsOffset(&w) {
		t.Error("an address is not part of the offset")
	}
}

// Secrets for different purposes are different.
func TestSecrets(t *testing.T) {
	s := testSecrets(0)
	seen := map[key]bool{}
	for _, k := range []key{s.table, s.isn, s.ts, s.cookie, s.port, s.flow} {
		if seen[k] || k == (key{}) {
			t.Errorf("key %v again", k)
		}
		seen[k] = true
	}
}
