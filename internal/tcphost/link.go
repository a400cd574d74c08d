// SPDX-License-Identifier: Apache-2.0

package tcphost

import (
	"net/netip"
	"time"

	"netcon/dataplane/neigh"
	"netcon/dataplane/stat"
	"netcon/dataplane/stream"
	"netcon/dataplane/tcp"
	"netcon/dataplane/wire"
)

// link is the Ethernet of a host: it carries the engine's packets in frames and
// finds the neighbours they go to.
type link struct {
	port   *port
	neigh  *neigh.Table
	engine *tcp.Engine
	stat   *stat.Block
	mtu    int
	now    time.Duration

	hold bool // the packet in Frame waits for its neighbour
	n    int
	room [frameSize]byte // frame being built
	said [frameSize]byte // frame of the neighbour table
}

// input takes one frame.
func (l *link) input(eth wire.Ethernet) {
	if dst := eth.Dst(); dst != l.port.mac && !dst.IsGroup() {
		return
	}
	payload := eth.Payload()
	switch eth.Type() {
	case wire.EtherTypeARP:
		l.stat.Drop(l.neigh.ARP(eth.Src(), payload, l.now))
	case wire.EtherTypeIPv6:
		if p, ok := wire.ParseIPv6(payload); ok && p.NextHeader() == wire.ProtoICMPv6 {
			if consumed, r := l.neigh.ND(eth.Src(), p, l.now); consumed {
				l.stat.Drop(r)
				return
			}
		}
		l.engine.Deliver(payload, false)
	case wire.EtherTypeIPv4:
		l.engine.Deliver(payload, false)
	}
}

// Open implements stream.Output.
func (l *link) Open(dst netip.Addr, _ uint32) stream.Path {
	mac, verdict := l.neigh.Lookup(dst, l.now)
	switch verdict {
	case neigh.Found:
		t := uint16(wire.EtherTypeIPv6)
		if dst.Is4() {
			t = wire.EtherTypeIPv4
		}
		wire.PutEthernet(l.room[:], mac, l.port.mac, t)
	case neigh.Pending:
	default:
		return stream.Path{}
	}
	l.hold = verdict == neigh.Pending
	return stream.Path{Max: l.mtu, Checksums: true}
}

// Frame implements stream.Output.
func (l *link) Frame(n int) []byte {
	if l.hold {
		return l.neigh.Hold(n)
	}
	l.n = wire.EthernetLen + n
	return l.room[wire.EthernetLen:l.n]
}

// Commit implements stream.Output.
func (l *link) Commit() {
	if !l.hold {
		l.port.write(l.room[:l.n])
	}
}

// Send implements neigh.Sender.
func (l *link) Send(dst wire.MAC, etherType uint16, payload []byte) {
	wire.PutEthernet(l.said[:], dst, l.port.mac, etherType)
	l.port.write(l.said[:wire.EthernetLen+copy(l.said[wire.EthernetLen:], payload)])
}

// Undeliverable implements neigh.Sender.
func (l *link) Undeliverable(packet []byte) { l.engine.Undeliverable(packet) }
