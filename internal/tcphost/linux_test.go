// SPDX-License-Identifier: Apache-2.0

package tcphost_test

import (
	"testing"

	"netcon/internal/testenv"
)

// TestLinux: the engine and the kernel talk to each other at all: either opens,
// over both IP versions and a wire that drops and delays, and what arrives is
// what was sent. The rest is for "make interop".
func TestLinux(t *testing.T) {
	s := newSite(t, "drop=1%,reorder=0.5%,delay=500us,seed=5", nil)
	before := testenv.SNMP(t, s.kernel)
	const up, down = 600_000, 400_000
	for _, w := range families {
		for _, active := range []bool{true, false} {
			l := s.connect(t, w, active, 1)[0]
			if err := l.exchange(3, up, down); err != nil {
				t.Errorf("%s, the engine opens: %v: %v", w.name, active, err)
			}
			l.close()
		}
	}
	// It was the kernel's TCP at the other end.
	if n := testenv.SNMP(t, s.kernel).Since(before)["TcpInSegs"]; n < 4*up/1460 {
		t.Errorf("the kernel received %d segments", n)
	}
}
