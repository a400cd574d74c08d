// SPDX-License-Identifier: Apache-2.0

package xsk

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"

	"netcon/bpf"
	"netcon/dataplane/stat"
)

// Two links talk to each other, over both IP versions, in both modes.
func TestPair(t *testing.T) {
	for _, mode := range modes {
		for _, v6 := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v/ipv6=%v", mode, v6), func(t *testing.T) {
				a, b := cable(t, 1500, 1)
				da := a.open(t, Config{Mode: mode, Local: netip.AddrPortFrom(a.addr(v6), 0)})
				db := b.open(t, Config{Mode: mode, Local: netip.AddrPortFrom(b.addr(v6), 0)})
				la, lb := da.Links()[0], db.Links()[0]
				if got := da.program.Mode(); got != mode {
					t.Fatalf("mode %v, want %v", got, mode)
				}
				resolved(t, la, b.addr(v6))
				const n = 300
				for i := range n {
					put(la, b.addr(v6), uint32(i), payload(i, 1+i*4))
				}
				flushed(t, la)
				f := receive(t, lb, n)
				for i := range n {
					if want := payload(i, 1+i*4); !bytes.Equal(f.data[i], want) || f.src[i] != a.addr(v6) {
						t.Fatalf("payload %d from %s: %d bytes, want %d", i, f.src[i], len(f.data[i]), len(want))
					}
				}
				if got := count(la, stat.TxFrames); got != n || count(lb, stat.RxFrames) != n {
					t.Errorf("%d sent, %d received, want %d", got, count(lb, stat.RxFrames), n)
				}
			})
		}
	}
}

var _ = bpf.Native
