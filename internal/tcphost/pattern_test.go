// SPDX-License-Identifier: Apache-2.0

package tcphost

import (
	"strings"
	"testing"
)

func TestPattern(t *testing.T) {
	var all []byte
	for p := NewPattern(1); p.At() < patternLen+1000; {
		all = append(all, p.Next(70_000)...)
	}
	for _, n := range []int{1, 1000, 65536, len(all)} {
		p := NewPattern(1)
		for at := 0; at < len(all); at += n {
			if err := p.Check(all[at:min(at+n, len(all))]); err != nil {
				t.Fatal(n, err)
			}
		}
		if p.At() != int64(len(all)) {
			t.Errorf("at %d after %d bytes", p.At(), len(all))
		}
	}
	if err := NewPattern(2).Check(all[:100]); err == nil {
		t.Error("two seeds give the same stream")
	}
	// One byte lost, one repeated, 64 KiB left out.
	for _, bad := range [][]byte{
		append(append([]byte(nil), all[:5000]...), all[5001:9000]...),
		append(append([]byte(nil), all[:5000]...), all[4999:9000]...),
		append(append([]byte(nil), all[:5000]...), all[5000+64<<10:]...),
	} {
		err := NewPattern(1).Check(bad)
		if err == nil || !strings.Contains(err.Error(), "byte 500") {
			t.Errorf("%v", err)
		}
	}
}
