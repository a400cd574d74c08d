// SPDX-License-Identifier: Apache-2.0

// Package stat holds counters and drop reasons: written by one, readable by
// all.
//
// # Theory of operation
//
// A Block belongs to one writer, a worker or a container. The writer counts
// with plain additions while it works and calls Publish once per turn; readers
// sum what was published. So a counter costs an addition on the hot path and
// the atomic stores are paid once per burst.
//
// # Concurrency
//
// Count, Add and Drop belong to the writer's thread. Read and Publish pair
// through atomics, so Read is safe from anywhere. What goroutines other than
// the writer count goes through AddShared and DropShared.
//
// # Limits
//
// A reader sees values up to one turn old. Counters wrap at 2^64.
package stat

import "sync/atomic"

// Counter names one count of a Block.
type Counter uint8

// The counters. Rx is towards the application, Tx is away from it.
const (
	RxFrames         Counter = iota // encapsulated frames received
	RxBytes                         // their bytes, from the VXLAN header on
	TxFrames                        // encapsulated frames sent
	TxBytes                         // their bytes, from the VXLAN header on
	RxCalls                         // receive system calls
	TxCalls                         // send system calls
	LocalPackets                    // packets between containers of this daemon
	LocalBytes                      // their bytes, from the IP header on
	Handovers                       // frames handed to another worker
	Replicated                      // copies made by head-end replication
	ARPRx                           // ARP packets received
	ARPTx                           // ARP packets sent
	NDRx                            // neighbour discovery packets received
	NDTx                            // neighbour discovery packets sent
	PacketsIn                       // IP packets delivered to the stack
	PacketsOut                      // IP packets taken from the stack
	PacketBytesIn                   // their bytes
	PacketBytesOut                  // their bytes
	AppRx                           // bytes written to applications
	AppTx                           // bytes read from applications
	SocketsOpened                   // virtual sockets opened
	SocketsClosed                   // virtual sockets closed
	Connects                        // connections established actively
	Accepts                         // connections handed to an application's listener
	ConnectFails                    // active opens that failed
	Resets                          // connections ended by RST or error
	DatagramsToApp                  // datagrams handed to applications
	DatagramsFromApp                // datagrams of applications that were sent
	HostConnects                    // connections established actively over the host's stack
	HostAccepts                     // connections taken from published ports
	HostRx                          // bytes received over the host's stack
	HostTx                          // bytes sent over the host's stack
	FlowsEvicted                    // who wrote to a published UDP port and was forgotten for others
	ControlCalls                    // control requests answered
	Restarts                        // stacks discarded and restarted after a panic
	Turns                           // turns of the worker loop
	Sleeps                          // times the worker slept
	Wakes                           // times somebody rang the doorbell

	NumCounters
)

var counterNames = [NumCounters]string{
	"rx_frames", "rx_bytes", "tx_frames", "tx_bytes", "rx_calls", "tx_calls",
	"local_packets", "local_bytes", "handovers", "replicated",
	"arp_rx", "arp_tx", "nd_rx", "nd_tx",
	"packets_in", "packets_out", "packet_bytes_in", "packet_bytes_out",
	"app_rx_bytes", "app_tx_bytes", "sockets_opened", "sockets_closed",
	"connects", "accepts", "connect_fails", "resets",
	"datagrams_to_app", "datagrams_from_app", "host_connects", "host_accepts", "host_rx_bytes", "host_tx_bytes", "flows_evicted", "control_calls",
	"restarts", "turns", "sleeps", "wakes",
}

// String returns the name under which the counter is reported.
func (c Counter) String() string {
	if c < NumCounters {
		return counterNames[c]
	}
	return "unknown"
}

// cells is one slot per counter, then one per drop reason.
const cells = int(NumCounters) + int(NumReasons)

// Block is the counters of one writer. The zero value is ready to use. It must
// not be copied.
type Block struct {
	// written by the owner, with plain stores
	own   [cells]uint64
	dirty bool

	_ [64]byte

	// published by the owner, read by anyone
	pub [cells]atomic.Uint64

	_ [64]byte

	// written by anyone
	shared [cells]atomic.Uint64
}

// Count adds one to c. Owner only.
func (b *Block) Count(c Counter) { b.own[c]++; b.dirty = true }

// Add adds n to c. Owner only.
func (b *Block) Add(c Counter, n uint64) { b.own[c] += n; b.dirty = true }

// Drop counts one drop for reason r; Accepted is not counted. Owner only.
func (b *Block) Drop(r Reason) {
	if r != Accepted {
		b.own[int(NumCounters)+int(r)]++
		b.dirty = true
	}
}

// DropN counts n drops for reason r. Owner only.
func (b *Block) DropN(r Reason, n uint64) {
	if r != Accepted {
		b.own[int(NumCounters)+int(r)] += n
		b.dirty = true
	}
}

// AddShared adds n to c from any goroutine.
func (b *Block) AddShared(c Counter, n uint64) { b.shared[c].Add(n) }

// DropShared counts one drop for reason r from any goroutine.
func (b *Block) DropShared(r Reason) {
	if r != Accepted {
		b.shared[int(NumCounters)+int(r)].Add(1)
	}
}

// Publish makes what was counted visible to readers. Owner only, once per turn.
func (b *Block) Publish() {
	if !b.dirty {
		return
	}
	b.dirty = false
	for i := range b.own {
		if v := b.own[i]; v != b.pub[i].Load() {
			b.pub[i].Store(v)
		}
	}
}

// Get returns the published value of c, from any goroutine.
func (b *Block) Get(c Counter) uint64 { return b.pub[c].Load() + b.shared[c].Load() }

// Drops returns the published count of r, from any goroutine.
func (b *Block) Drops(r Reason) uint64 {
	i := int(NumCounters) + int(r)
	return b.pub[i].Load() + b.shared[i].Load()
}

// Snapshot is what a Block held when it was read, by name. Zero counts are
// left out.
type Snapshot struct {
	Counters map[string]uint64 `json:"counters"`
	Drops    map[string]uint64 `json:"drops"`
}

// Read returns what the blocks published so far, summed.
func Read(blocks ...*Block) Snapshot {
	s := Snapshot{Counters: map[string]uint64{}, Drops: map[string]uint64{}}
	for _, b := range blocks {
		for c := Counter(0); c < NumCounters; c++ {
			if v := b.Get(c); v != 0 {
				s.Counters[c.String()] += v
			}
		}
		for r := Accepted + 1; r < NumReasons; r++ {
			if v := b.Drops(r); v != 0 {
				s.Drops[r.String()] += v
			}
		}
	}
	return s
}
