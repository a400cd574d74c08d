// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"encoding/json"
	"testing"
	"time"

	"netcon/internal/testenv/faults"
)

// Wire is a running faultwire.
type Wire struct {
	*Process
	NS *NetNS // where it runs
}

// FaultWire is Veth with faults on the way: it joins two namespaces through a
// third, in which the command faultwire forwards every frame. spec is what
// faults.ParseConfig reads; both directions meet the same kinds of faults, not
// the same ones.
//
//	nsA ifA ◄─ veth ─► wa ◄─ faultwire ─► wb ◄─ veth ─► ifB nsB
func FaultWire(t testing.TB, nsA *NetNS, ifA, addrA string, nsB *NetNS, ifB, addrB string, mtu int, spec string) *Wire {
	t.Helper()
	Need(t, "CAP_NET_RAW")
	bin := Build(t, "netcon/internal/testenv/faultwire")
	ns := NewNetNS(t, "wire")
	// The wire itself says nothing.
	ns.Sysctl(t, "net.ipv6.conf.default.disable_ipv6", "1")
	Veth(t, nsA, ifA, addrA, ns, "wa", "", mtu)
	Veth(t, nsB, ifB, addrB, ns, "wb", "", mtu)
	p := Start(t, ns, bin, "-a", "wa", "-b", "wb", "-faults", spec, "-json")
	p.WaitOutput(t, 10*time.Second, "ready")
	return &Wire{Process: p, NS: ns}
}

// Report stops the wire and returns what it did.
func (w *Wire) Report(t testing.TB) (r faults.WireReport) {
	t.Helper()
	if err := w.Stop(); err != nil {
		t.Fatalf("faultwire: %v\n%s", err, w.Output())
	}
	if err := json.Unmarshal([]byte(w.Stdout()), &r); err != nil {
		t.Fatalf("faultwire report %q: %v", w.Stdout(), err)
	}
	return r
}
