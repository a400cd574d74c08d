// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Veth joins two namespaces with a veth pair and brings it up. The addresses
// are comma-separated prefixes, such as "192.0.2.1/24,2001:db8::1/64", or "".
// Zero mtu is 1500. One namespace may be nil, but not both.
func Veth(t testing.TB, nsA *NetNS, ifA, addrA string, nsB *NetNS, ifB, addrB string, mtu int) {
	t.Helper()
	VethQueues(t, nsA, ifA, addrA, nsB, ifB, addrB, mtu, 0)
}

// VethQueues is Veth with a number of queues each way; 0 leaves it to the
// kernel, which uses one.
func VethQueues(t testing.TB, nsA *NetNS, ifA, addrA string, nsB *NetNS, ifB, addrB string, mtu, queues int) {
	t.Helper()
	if mtu == 0 {
		mtu = 1500
	}
	if nsA == nil {
		nsA, ifA, addrA, nsB, ifB, addrB = nsB, ifB, addrB, nsA, ifA, addrA
	}
	if nsA == nil {
		t.Fatalf("veth %s-%s: both ends in the namespace of the test itself", ifA, ifB)
	}
	shape := []string{"mtu", strconv.Itoa(mtu)}
	if queues > 0 {
		n := strconv.Itoa(queues)
		shape = append(shape, "numtxqueues", n, "numrxqueues", n)
	}
	cmd := slices.Concat([]string{"link", "add", ifA}, shape, []string{"type", "veth", "peer", "name", ifB}, shape)
	if nsB != nil {
		cmd = append(cmd, "netns", nsB.name)
	} else {
		// By pid: it has no name.
		cmd = append(cmd, "netns", strconv.Itoa(os.Getpid()))
	}
	nsA.ip(t, cmd...)
	nsA.SetUp(t, ifA, addrA)
	nsB.SetUp(t, ifB, addrB)
}

// SetUp gives an interface comma-separated addresses and brings it up.
func (ns *NetNS) SetUp(t testing.TB, dev, addrs string) {
	t.Helper()
	for _, a := range strings.Split(addrs, ",") {
		a = strings.TrimSpace(a)
		switch {
		case a == "":
		case strings.Contains(a, ":"):
			ns.ip(t, "addr", "add", a, "dev", dev, "nodad")
		default:
			ns.ip(t, "addr", "add", a, "dev", dev)
		}
	}
	ns.ip(t, "link", "set", dev, "up")
}

// MAC returns the link-layer address of an interface.
func (ns *NetNS) MAC(t testing.TB, dev string) string {
	t.Helper()
	f := strings.Fields(ns.ip(t, "-br", "link", "show", "dev", dev))
	if len(f) < 3 {
		t.Fatalf("interface %s: %q", dev, f)
	}
	return f[2]
}

// NoOffload switches segmentation, receive merging and checksum offloads of an
// interface off, so that frames cross a veth as they would cross a wire.
func (ns *NetNS) NoOffload(t testing.TB, dev string) {
	t.Helper()
	NeedTools(t, "ethtool")
	Run(t, ns, "ethtool", "-K", dev, "tso", "off", "gso", "off", "gro", "off", "tx", "off")
}
