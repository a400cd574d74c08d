// SPDX-License-Identifier: Apache-2.0

package nexthop

import (
	"bytes"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"netcon/dataplane/wire"
	"netcon/internal/testenv"
)

// Every test has a host of its own and a peer on the same wire:
//
//	host                                     peer
//	ul0  192.0.2.1/24, 2001:db8::1/64  ═══  ul1  192.0.2.2/24, 2001:db8::2/64
//	                                             192.0.2.3/24, 2001:db8::3/64
const (
	hostAddrs = "192.0.2.1/24,2001:db8::1/64"
	peerAddrs = "192.0.2.2/24,192.0.2.3/24,2001:db8::2/64,2001:db8::3/64"

	// patient is how long an answer may take on a busy machine. A neighbour
	// that does not answer takes the kernel 3 s.
	patient = 20 * time.Second
)

var (
	local4 = netip.MustParseAddr("192.0.2.1")
	local6 = netip.MustParseAddr("2001:db8::1")
	peer4  = netip.MustParseAddr("192.0.2.2")
	peer6  = netip.MustParseAddr("2001:db8::2")
	other4 = netip.MustParseAddr("192.0.2.3")
	far4   = netip.MustParseAddr("198.51.100.7")
	far6   = netip.MustParseAddr("2001:db8:f::7")
)

// lab is a host and its peer.
type lab struct {
	t          testing.TB
	host, peer *testenv.NetNS
	log        *buffer
}

// buffer is a log that may be read while it is written.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func newLab(t testing.TB) *lab {
	t.Helper()
	l := &lab{t: t, host: testenv.NewNetNS(t, "host"), peer: testenv.NewNetNS(t, "peer"), log: new(buffer)}
	testenv.Veth(t, l.host, "ul0", hostAddrs, l.peer, "ul1", peerAddrs, 0)
	testenv.WaitFor(t, patient, func() bool {
		return strings.Contains(l.ip("-br link show dev ul0"), "LOWER_UP")
	}, "a carrier")
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(l.log.String())
			t.Log(l.ip("-d neigh"))
		}
	})
	return l
}

// ip runs ip(8) on the host.
func (l *lab) ip(args string) string {
	l.t.Helper()
	return testenv.Run(l.t, nil, append([]string{"ip", "-n", l.host.Name()}, strings.Fields(args)...)...)
}

// ipPeer runs ip(8) on the peer.
func (l *lab) ipPeer(args string) string {
	l.t.Helper()
	return testenv.Run(l.t, nil, append([]string{"ip", "-n", l.peer.Name()}, strings.Fields(args)...)...)
}

// index returns the index of an interface of the host.
func (l *lab) index(name string) (index int) {
	l.t.Helper()
	l.host.Do(l.t, func() {
		i, err := net.InterfaceByName(name)
		if err != nil {
			l.t.Error(err)
			return
		}
		index = i.Index
	})
	return index
}

// try opens a table on the host.
func (l *lab) try(cfg Config) (table *Table, err error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.NewTextHandler(l.log, nil))
	}
	l.host.Do(l.t, func() { table, err = Open(cfg) })
	return table, err
}

// open opens a table on ul0 for a local address.
func (l *lab) open(local netip.Addr) *Table {
	l.t.Helper()
	table, err := l.try(Config{Ifindex: l.index("ul0"), Local: local})
	if err != nil {
		l.t.Fatal(err)
	}
	l.closeLater(table)
	return table
}

// prepare opens a table that has not been started.
func (l *lab) prepare(local netip.Addr) (table *Table) {
	l.t.Helper()
	cfg := Config{Ifindex: l.index("ul0"), Local: local, Log: slog.New(slog.NewTextHandler(l.log, nil))}
	var err error
	l.host.Do(l.t, func() { table, err = open(cfg) })
	if err != nil {
		l.t.Fatal(err)
	}
	return table
}

// still opens a table that does nothing by itself: tests call step, with a time
// of their own.
func (l *lab) still(local netip.Addr) *Table {
	l.t.Helper()
	table := l.prepare(local)
	l.t.Cleanup(func() {
		table.releaseAll()
		if err := table.closeSockets(); err != nil {
			l.t.Error(err)
		}
	})
	return table
}

func (l *lab) closeLater(table *Table) {
	l.t.Cleanup(func() {
		if err := table.Close(); err != nil {
			l.t.Error(err)
		}
	})
}

func mac(t testing.TB, s string) wire.MAC {
	t.Helper()
	hw, err := net.ParseMAC(s)
	if err != nil || len(hw) != 6 {
		t.Fatalf("%q: %v", s, err)
	}
	return wire.MAC(hw)
}

// await waits until Lookup says what is wanted.
func await(t testing.TB, table *Table, vtep netip.Addr, hop Hop, state State) {
	t.Helper()
	var got Hop
	var is State
	end := time.Now().Add(patient)
	for time.Now().Before(end) {
		if got, is = table.Lookup(vtep); got == hop && is == state {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("%s is %s %+v, want %s %+v: %+v", vtep, is, got, state, hop, table.Entries())
}

// entry returns what status says of a VTEP.
func entry(t testing.TB, table *Table, vtep netip.Addr) Entry {
	t.Helper()
	for _, e := range table.Entries() {
		if e.VTEP == vtep {
			return e
		}
	}
	t.Fatalf("no entry of %s", vtep)
	return Entry{}
}

// awaitReason waits until a VTEP is unreachable for a reason.
func awaitReason(t testing.TB, table *Table, vtep netip.Addr, reason string) {
	t.Helper()
	await(t, table, vtep, Hop{}, Unreachable)
	testenv.WaitFor(t, patient, func() bool {
		_, state := table.Lookup(vtep)
		return state == Unreachable && strings.Contains(entry(t, table, vtep).Reason, reason)
	}, "%q of %+v", reason, entry(t, table, vtep))
}

// direct is the hop to the peer.
func (l *lab) direct() Hop {
	return Hop{Dst: mac(l.t, l.peer.MAC(l.t, "ul1")), Src: mac(l.t, l.host.MAC(l.t, "ul0")), MTU: 1500}
}
