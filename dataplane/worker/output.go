// SPDX-License-Identifier: Apache-2.0

package worker

import (
	"net/netip"

	"netcon/dataplane/fib"
	"netcon/dataplane/neigh"
	"netcon/dataplane/stat"
	"netcon/dataplane/stream"
	"netcon/dataplane/vxlan"
	"netcon/dataplane/wire"
)

// maxLocal is the largest IP packet between containers of one daemon.
const maxLocal = 65535

// scratchSize holds one inner frame of a shard of this worker.
const scratchSize = wire.EthernetLen + maxLocal

// way says where a shard's packets go.
type way uint8

const (
	wayWire     way = iota // to one VTEP
	wayFlood               // to every VTEP and member of the network
	wayLocal               // to a shard of this worker
	wayHandover            // to a shard of another worker
	wayHold                // to the neighbour table, until the next hop answers
	wayNone                // the hand-over ring is full: written and dropped
)

// output is the state of a shard's stream.Output between Open and Commit.
type output struct {
	way way
	net *fib.Net
	mac wire.MAC // next hop

	etherType uint16

	vtep netip.Addr
	port fib.Port
	flow uint32
	n    int    // length of the packet in the last Frame
	room []byte // where it lies, encapsulation included; kept for traces only
}

// Open implements stream.Output.
func (s *Shard) Open(dst netip.Addr, flow uint32) stream.Path {
	w, o := s.w, &s.out
	o.flow, o.etherType = flow, wire.EtherTypeIPv6
	if dst.Is4() {
		o.etherType = wire.EtherTypeIPv4
	}
	mac, verdict := s.neigh.Lookup(dst, w.now)
	switch verdict {
	case neigh.Found:
		return s.openMAC(mac)
	case neigh.Pending:
		o.way = wayHold
		return stream.Path{Max: s.mtu, Checksums: true}
	case neigh.NoRoute:
		s.stat.Drop(stat.DropNoRoute)
	}
	return stream.Path{} // what is unreachable was counted by the table
}

// openMAC chooses the way to a resolved next hop.
func (s *Shard) openMAC(mac wire.MAC) stream.Path {
	w, o := s.w, &s.out
	o.mac = mac
	o.net = w.fib.Load().Network(s.vni)
	if o.net == nil {
		s.stat.Drop(stat.DropContainerGone)
		return stream.Path{}
	}
	switch d := o.net.Lookup(mac, w.now); d.Kind {
	case fib.Remote:
		o.way, o.vtep = wayWire, d.VTEP
	case fib.Local:
		o.way, o.port = wayLocal, d.Port
		if int(d.Port.Worker) != w.index {
			o.way = wayHandover
		}
		return stream.Path{Max: maxLocal}
	default:
		o.way = wayFlood
	}
	return stream.Path{Max: s.mtu, Checksums: true}
}

// Frame implements stream.Output.
func (s *Shard) Frame(n int) []byte {
	w, o := s.w, &s.out
	o.n = n
	switch o.way {
	case wayWire:
		b := w.underlay.Reserve(o.vtep, o.flow, vxlan.Headroom+n)
		vxlan.Put(b, s.vni, o.mac, s.mac, o.etherType)
		if w.tracer != nil {
			o.room = b
		}
		return b[vxlan.Headroom:]
	case wayHandover:
		if b := w.handoverTo(o.port.Worker).reserve(wire.EthernetLen + n); b != nil {
			wire.PutEthernet(b, o.mac, s.mac, o.etherType)
			if w.tracer != nil {
				o.room = b
			}
			return b[wire.EthernetLen:]
		}
		s.stat.Drop(stat.DropHandoverFull)
		o.way = wayNone
	case wayHold:
		return s.neigh.Hold(n)
	}
	return w.scratch[wire.EthernetLen : wire.EthernetLen+n]
}

// Commit implements stream.Output.
func (s *Shard) Commit() {
	w, o := s.w, &s.out
	switch o.way {
	case wayWire:
		if w.tracer != nil {
			w.tracer.wire(s, o.vtep, o.room, o.n)
		}
		w.underlay.Commit()
	case wayFlood:
		wire.PutEthernet(w.scratch, o.mac, s.mac, o.etherType)
		s.flood(w.scratch[:wire.EthernetLen+o.n], w.forward)
	case wayLocal:
		s.countLocal(o.n)
		wire.PutEthernet(w.scratch, o.mac, s.mac, o.etherType)
		eth := wire.Ethernet(w.scratch[:wire.EthernetLen+o.n])
		if w.tracer != nil {
			w.tracer.inner(s, true, eth)
		}
		w.forward(o.port, eth, true)
	case wayHandover:
		s.countLocal(o.n)
		if w.tracer != nil {
			w.tracer.inner(s, true, o.room)
		}
		w.commitHandover(o.port, wire.EthernetLen+o.n, true)
	case wayNone:
		o.way = wayHandover // the next Frame tries again
	}
}

func (s *Shard) countLocal(n int) {
	s.stat.Count(stat.LocalPackets)
	s.stat.Add(stat.LocalBytes, uint64(n))
}

// flood sends an inner frame to every other member, by the given means, and to
// every VTEP of the network: head-end replication.
func (s *Shard) flood(eth wire.Ethernet, local func(fib.Port, wire.Ethernet, bool)) {
	w, o := s.w, &s.out
	if w.tracer != nil {
		w.tracer.inner(s, true, eth)
	}
	for _, m := range o.net.Members() {
		if m.MAC != s.mac {
			local(m.Port, eth, false)
		}
	}
	for _, vtep := range o.net.Replicate() {
		b := w.underlay.Reserve(vtep, o.flow, wire.VXLANLen+len(eth))
		wire.PutVXLAN(b, s.vni)
		copy(b[wire.VXLANLen:], eth)
		if w.tracer != nil {
			w.tracer.datagram(true, vtep, b[:wire.VXLANLen+len(eth)])
		}
		w.underlay.Commit()
		w.stat.Count(stat.Replicated)
	}
}

// Send transmits payload in an inner frame of ours (neigh.Sender): an ARP
// packet, a neighbour discovery packet, or an IP packet that was held. It is
// called from inside the neighbour table, which must not be entered again: what
// goes to a container of this worker takes the hand-over ring as well, and
// arrives on the next turn.
func (s *Shard) Send(dst wire.MAC, etherType uint16, payload []byte) {
	saved := s.out
	defer func() { s.out = saved }()
	s.out = output{etherType: etherType}
	if s.openMAC(dst).Max == 0 {
		return
	}
	if s.out.way == wayLocal {
		s.out.way = wayHandover
	}
	copy(s.Frame(len(payload)), payload)
	if s.out.way == wayFlood {
		wire.PutEthernet(s.w.scratch, dst, s.mac, etherType)
		s.flood(s.w.scratch[:wire.EthernetLen+len(payload)], s.w.handOver)
		return
	}
	s.Commit()
}

// Undeliverable gives a packet whose next hop did not answer back to the stack
// (neigh.Sender).
func (s *Shard) Undeliverable(packet []byte) { s.engine.Undeliverable(packet) }
