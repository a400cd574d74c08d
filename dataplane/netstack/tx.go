// SPDX-License-Identifier: Apache-2.0

package netstack

import (
	"encoding/binary"
	"net/netip"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"netcon/dataplane/stat"
	"netcon/dataplane/stream"
	"netcon/dataplane/wire"
)

// maxHeaders is the room for the headers of any packet gVisor builds: IPv4 with
// options, or IPv6, and TCP with options.
const maxHeaders = 60 + 60

// transmitter is the scratch of Transmit.
type transmitter struct {
	batch [64]*stack.PacketBuffer
	hdr   [maxHeaders]byte
	ipID  uint16
}

// outgoing is a packet on its way out.
type outgoing struct {
	total int         // bytes
	hdr   []byte      // its first bytes, IP and transport header at least
	ipLen int         // IP header length
	proto uint8       // upper layer; 0 for a fragment
	tcp   wire.TCP    // set if proto is TCP
	hlen  int         // IP and TCP header
	gso   *stack.GSO  // nil: one packet
	body  cursor      // what follows hdr
	twice bool        // an ACK that is not to get lost; it lies in hdr whole
	dst   netip.Addr  // destination
	flow  uint32      // hash
	path  stream.Path // where to
}

// Transmit implements stream.Engine. A super-packet is never left half sent:
// the last one may take it past the budget.
func (s *Stack) Transmit(out stream.Output, budget int) int {
	if s.off() {
		return 0
	}
	built := s.datagrams.Transmit(out, (budget+1)/2)
	for built < budget {
		want := min(len(s.tx.batch), budget-built)
		n := s.link.take(s.tx.batch[:want])
		if n == 0 {
			break
		}
		for i, p := range s.tx.batch[:n] {
			built += s.transmit(p, out)
			p.DecRef()
			s.tx.batch[i] = nil
		}
	}
	if built > 0 {
		s.settle()
	}
	return built
}

// transmit sends one packet of gVisor and returns in how many packets.
func (s *Stack) transmit(p *stack.PacketBuffer, out stream.Output) int {
	var o outgoing
	if !s.open(p, &o) {
		s.stat.Drop(stat.DropIPShort)
		return 0
	}
	o.path = out.Open(o.dst, o.flow)
	if o.path.Max == 0 {
		return 0
	}
	payload := o.total - o.hlen
	if o.gso != nil && payload > int(o.gso.MSS) && (o.path.Checksums || o.total > o.path.Max) {
		return s.segment(&o, out)
	}
	if o.total > o.path.Max {
		s.stat.Drop(stat.DropTooBig)
		return 0
	}
	s.emit(&o, out)
	if o.twice && o.path.Checksums {
		s.emit(&o, out)
		return 2
	}
	return 1
}

// emit sends a packet as it is.
func (s *Stack) emit(o *outgoing, out stream.Output) {
	f := out.Frame(o.total)
	copy(f, o.hdr)
	o.body.read(f[len(o.hdr):o.total])
	if o.path.Checksums {
		o.checksum(f[:o.total])
	}
	out.Commit()
	s.stat.Count(stat.PacketsOut)
	s.stat.Add(stat.PacketBytesOut, uint64(o.total))
}

// open looks at the headers of p and follows its flow. False: not a packet we
// know how to send, which gVisor does not build.
func (s *Stack) open(p *stack.PacketBuffer, o *outgoing) bool {
	o.total = p.Size()
	o.hdr = s.tx.hdr[:min(o.total, maxHeaders)]
	list, skip := p.AsViewList()
	o.body = cursor{v: list.Front()}
	o.body.skip(skip)
	if o.total < wire.IPv4Len {
		return false
	}
	o.body.read(o.hdr)
	var k flowKey
	switch o.hdr[0] >> 4 {
	case 4:
		ip := wire.IPv4(o.hdr)
		o.ipLen, o.dst = ip.HeaderLen(), ip.Dst()
		if len(o.hdr) < o.ipLen {
			return false
		}
		if !ip.IsFragment() {
			o.proto = ip.Protocol()
		}
		k = flowKey4(o.hdr[12:16], o.hdr[16:20], 0, 0)
	case 6:
		if len(o.hdr) < wire.IPv6Len {
			return false
		}
		ip := wire.IPv6(o.hdr)
		o.ipLen, o.dst, o.proto = wire.IPv6Len, ip.Dst(), ip.NextHeader()
		k = flowKey6(o.hdr[8:24], o.hdr[24:40], 0, 0)
	default:
		return false
	}
	o.hlen = o.ipLen
	if o.proto == wire.ProtoTCP {
		t, ok := wire.ParseTCP(o.hdr[o.ipLen:])
		if !ok {
			return false
		}
		o.tcp = t
		o.hlen += t.HeaderLen()
		if p.GSOOptions.Type == stack.GSOTCPv4 || p.GSOOptions.Type == stack.GSOTCPv6 {
			o.gso = &p.GSOOptions
		}
		copy(k[32:36], t[0:4])
		if sock := s.flows[k]; sock != nil {
			sock.noteSent(t, o.total-o.hlen)
			o.twice = o.total == o.hlen && sock.flow.insures(t)
		}
	}
	o.flow = s.hash(&k)
	return true
}

// checksum completes the transport checksum of the whole packet f. gVisor
// leaves the bare pseudo-header sum or zero in TCP and UDP, and completes ICMP
// itself.
func (o *outgoing) checksum(f []byte) {
	var at int
	switch o.proto {
	case wire.ProtoTCP:
		at = o.ipLen + 16
	case wire.ProtoUDP:
		at = o.ipLen + 6
	default:
		return
	}
	f[at], f[at+1] = 0, 0
	c := o.pseudo(len(f) - o.ipLen).Add(f[o.ipLen:]).Checksum()
	if c == 0 && o.proto == wire.ProtoUDP {
		c = 0xffff // RFC 768: zero means none
	}
	binary.BigEndian.PutUint16(f[at:], c)
}

// pseudo returns the sum of the pseudo-header for an upper layer of n bytes.
func (o *outgoing) pseudo(n int) wire.Sum {
	addrs := o.hdr[12:20]
	if o.hdr[0]>>4 == 6 {
		addrs = o.hdr[8:40]
	}
	return wire.Sum(0).Add(addrs).Add16(uint16(n)).Add16(uint16(o.proto))
}

// cursor reads the views of a packet once, in order.
type cursor struct {
	v *buffer.View
	b []byte
}

// skip passes n bytes.
func (c *cursor) skip(n int) {
	if c.v != nil {
		c.b = c.v.AsSlice()
	}
	for n > 0 {
		c.next()
		m := min(n, len(c.b))
		c.b = c.b[m:]
		n -= m
	}
}

// read fills dst. The packet must hold that much.
func (c *cursor) read(dst []byte) {
	for len(dst) > 0 {
		c.next()
		n := copy(dst, c.b)
		c.b, dst = c.b[n:], dst[n:]
	}
}

// next makes b non-empty.
func (c *cursor) next() {
	for len(c.b) == 0 {
		c.v = c.v.Next()
		c.b = c.v.AsSlice()
	}
}
