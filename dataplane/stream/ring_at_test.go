// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"bytes"
	"testing"
)

func TestReserveAtAndPeekAt(t *testing.T) {
	var r Ring
	r.Init()
	r.Attach(make([]byte, 8))
	put := func(off int, s string) {
		t.Helper()
		a, b := r.ReserveAt(off, len(s))
		if len(a)+len(b) != len(s) {
			t.Fatalf("reserved %d+%d of %d", len(a), len(b), len(s))
		}
		copy(b, s[copy(a, s):])
	}
	get := func(off, n int) string {
		a, b := r.PeekAt(off, n)
		return string(bytes.Join([][]byte{a, b}, nil))
	}
	for round := range 5 { // every position of the wrap
		if r.Room() != 8 {
			t.Fatalf("room %d", r.Room())
		}
		put(3, "def")
		put(0, "abc")
		if r.Len() != 0 {
			t.Fatal("bytes beyond the cursor are seen")
		}
		r.Publish(6)
		if n := r.Len(); n != 6 {
			t.Fatalf("round %d: %d bytes", round, n)
		}
		for off := range 6 {
			if got := get(off, 6-off); got != "abcdef"[off:] {
				t.Errorf("round %d at %d: %q", round, off, got)
			}
		}
		if got := get(2, 2); got != "cd" {
			t.Errorf("round %d: %q", round, got)
		}
		r.Release(5)
		put(0, "g")
		r.Publish(1)
		if r.Len() != 2 || get(0, 2) != "fg" {
			t.Errorf("round %d: %q", round, get(0, 2))
		}
		r.Release(2)
	}
}

func TestAtIsBounded(t *testing.T) {
	panics := func(name string, f func()) {
		t.Helper()
		defer func() {
			if recover() == nil {
				t.Errorf("%s: no panic", name)
			}
		}()
		f()
	}
	var r Ring
	r.Init()
	r.Attach(make([]byte, 8))
	r.Reserve()
	r.Publish(3)
	r.Len()
	panics("reserve too much", func() { r.ReserveAt(2, 4) })
	panics("reserve at a negative offset", func() { r.ReserveAt(-1, 1) })
	panics("peek too much", func() { r.PeekAt(1, 3) })
	panics("peek a negative length", func() { r.PeekAt(1, -1) })
	if a, b := r.ReserveAt(5, 0); a != nil || b != nil {
		t.Error("nothing reserved is something")
	}
}

func TestHeldMemoryStays(t *testing.T) {
	var r Ring
	r.Init()
	r.Attach(make([]byte, 8))
	r.Hold(true)
	if r.Detach() != nil {
		t.Fatal("a held ring was detached")
	}
	r.Hold(false)
	if r.Detach() == nil {
		t.Fatal("the ring was not detached")
	}
	r.Attach(make([]byte, 8))
	r.Hold(true)
	if r.Discard() == nil {
		t.Fatal("a held ring was not discarded")
	}
	r.Attach(make([]byte, 8))
	if r.Detach() == nil {
		t.Fatal("Discard left the hold")
	}
}
