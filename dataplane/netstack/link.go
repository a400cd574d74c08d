// SPDX-License-Identifier: Apache-2.0

package netstack

import (
	"sync"
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"netcon/dataplane/stat"
)

// The transmit queue's limits; beyond them packets are dropped and counted.
const (
	txQueuePackets = 4096
	txQueueBytes   = 16 << 20
)

// gsoMax is the largest super-packet gVisor builds: the largest IP packet.
const gsoMax = 65535

// link is the layer-3 link endpoint of a stack: no Ethernet, no neighbours. It
// claims checksum offload in both directions: Deliver verifies before gVisor
// sees a packet, Transmit completes what gVisor left open.
//
// WritePackets is called from any goroutine, often with locks of the stack
// held. It only appends to a bounded queue, because passing the packet on from
// here could re-enter a stack whose locks are held.
type link struct {
	s          *Stack
	mtu        atomic.Uint32
	dispatcher stack.NetworkDispatcher

	mu    sync.Mutex
	queue []*stack.PacketBuffer // ring; len is a power of two, grows to txQueuePackets
	head  uint32                // of the oldest packet, free-running
	tail  uint32
	bytes int
	n     atomic.Int32 // packets queued; written under mu
}

var (
	_ stack.LinkEndpoint = (*link)(nil)
	_ stack.GSOEndpoint  = (*link)(nil)
)

func (l *link) init(s *Stack) {
	l.s = s
	l.mtu.Store(uint32(s.cfg.MTU))
}

// WritePackets implements stack.LinkWriter.
func (l *link) WritePackets(pkts stack.PacketBufferList) (int, tcpip.Error) {
	list := pkts.AsSlice()
	dropped := 0
	l.mu.Lock()
	empty := l.head == l.tail
	for _, p := range list {
		size := p.Size()
		if l.tail-l.head == txQueuePackets || l.bytes+size > txQueueBytes {
			dropped++
			continue
		}
		if int(l.tail-l.head) == len(l.queue) {
			l.grow()
		}
		l.queue[l.tail&uint32(len(l.queue)-1)] = p.IncRef()
		l.tail++
		l.bytes += size
	}
	ring := empty && l.head != l.tail
	l.n.Store(int32(l.tail - l.head))
	l.mu.Unlock()
	for range dropped {
		l.s.stat.DropShared(stat.DropTxQueue)
	}
	if ring {
		l.s.ring()
	}
	return len(list), nil
}

// grow doubles the full ring.
func (l *link) grow() {
	q := make([]*stack.PacketBuffer, max(64, 2*len(l.queue)))
	if len(l.queue) > 0 {
		n := copy(q, l.queue[l.head&uint32(len(l.queue)-1):])
		copy(q[n:], l.queue[:len(l.queue)-n])
	}
	l.tail -= l.head
	l.head = 0
	l.queue = q
}

// take moves up to len(dst) packets out of the queue; their references are the
// caller's.
func (l *link) take(dst []*stack.PacketBuffer) int {
	if l.n.Load() == 0 {
		return 0
	}
	n := 0
	l.mu.Lock()
	for n < len(dst) && l.head != l.tail {
		p := &l.queue[l.head&uint32(len(l.queue)-1)]
		dst[n] = *p
		l.bytes -= (*p).Size()
		*p = nil
		l.head++
		n++
	}
	l.n.Store(int32(l.tail - l.head))
	l.mu.Unlock()
	return n
}

// GSOMaxSize implements stack.GSOEndpoint.
func (l *link) GSOMaxSize() uint32 { return gsoMax }

// SupportedGSO implements stack.GSOEndpoint.
func (l *link) SupportedGSO() stack.SupportedGSO { return stack.HostGSOSupported }

// MTU implements stack.NetworkLinkEndpoint.
func (l *link) MTU() uint32 { return l.mtu.Load() }

// SetMTU implements stack.NetworkLinkEndpoint.
func (l *link) SetMTU(mtu uint32) { l.mtu.Store(mtu) }

// Capabilities implements stack.NetworkLinkEndpoint.
func (l *link) Capabilities() stack.LinkEndpointCapabilities {
	return stack.CapabilityRXChecksumOffload | stack.CapabilityTXChecksumOffload
}

// Attach implements stack.NetworkLinkEndpoint. It is called by New, and with
// nil by tearDown.
func (l *link) Attach(d stack.NetworkDispatcher) {
	l.mu.Lock()
	l.dispatcher = d
	l.mu.Unlock()
}

// IsAttached implements stack.NetworkLinkEndpoint.
func (l *link) IsAttached() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dispatcher != nil
}

// MaxHeaderLength implements stack.NetworkLinkEndpoint: headroom belongs to
// the Output.
func (l *link) MaxHeaderLength() uint16 { return 0 }

// LinkAddress implements stack.NetworkLinkEndpoint.
func (l *link) LinkAddress() tcpip.LinkAddress { return "" }

// SetLinkAddress implements stack.NetworkLinkEndpoint.
func (l *link) SetLinkAddress(tcpip.LinkAddress) {}

// Wait implements stack.NetworkLinkEndpoint.
func (l *link) Wait() {}

// ARPHardwareType implements stack.NetworkLinkEndpoint.
func (l *link) ARPHardwareType() header.ARPHardwareType { return header.ARPHardwareNone }

// AddHeader implements stack.NetworkLinkEndpoint.
func (l *link) AddHeader(*stack.PacketBuffer) {}

// ParseHeader implements stack.NetworkLinkEndpoint.
func (l *link) ParseHeader(*stack.PacketBuffer) bool { return true }

// Close implements stack.NetworkLinkEndpoint.
func (l *link) Close() {}

// SetOnCloseAction implements stack.NetworkLinkEndpoint.
func (l *link) SetOnCloseAction(func()) {}
