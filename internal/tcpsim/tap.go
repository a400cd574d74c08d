// SPDX-License-Identifier: Apache-2.0

package tcpsim

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"netcon/dataplane/wire"
)

// tap sees every packet that a host sends and checks what must hold for each by
// itself, and for each after those before it.
type tap struct {
	w     *world
	flows map[uint64]*half
}

// half is what was seen of one direction of a connection.
type half struct {
	iss     uint32
	nxt     uint32 // behind the highest byte sent
	ack     uint32 // highest acknowledgment sent
	edge    uint32 // right edge of the window offered
	fin     uint32 // sequence number of the FIN
	ts      uint32 // highest TSval sent
	mss     int    // announced; 0: not
	scale   uint8
	started bool
	acked   bool
	finSent bool
	stamped bool
	scaled  bool
	forged  bool // somebody else sent a SYN in its name
	several bool // it has sent more than one SYN-ACK, from cookies: one of them counts
	others  bool // it did
	first   [2]uint32

	// An old SYN may reach an end that has closed while the other one is in
	// TIME-WAIT, which answers with its last acknowledgment (RFC 9293 section
	// 3.10.7.4).
	before    uint32 // nxt of the connection before, which ended
	hasBefore bool
}

func key(host int, src, dst uint16) uint64 {
	return uint64(host)<<32 | uint64(src)<<16 | uint64(dst)
}

func (t *tap) half(host int, src, dst uint16) *half {
	k := key(host, src, dst)
	h := t.flows[k]
	if h == nil {
		h = &half{}
		t.flows[k] = h
	}
	return h
}

// reopened says that a SYN cookie of host vouched for an old segment: a connection
// that ended begins once more, with the same numbers.
func (t *tap) reopened(host int, src, dst uint16) { t.half(host, src, dst).finSent = false }

// cookies reports whether a host may send SYN cookies.
func (t *tap) cookies(host int) bool { return t.w.plan.hosts[host].cookies || t.w.plan.want[Backlog] }

func (t *tap) forgedSyn(host int, src, dst uint16) { t.half(host, src, dst).forged = true }

// options of a segment.
type options struct {
	mss          int
	scale        uint8
	scaled, sack bool
	stamped      bool
	val, echo    uint32
	blocks       []byte
}

func parseOptions(s wire.TCP) (o options, err error) {
	b := s[wire.TCPLen:s.HeaderLen()]
	for len(b) > 0 && b[0] != 0 {
		if b[0] == 1 {
			b = b[1:]
			continue
		}
		if len(b) < 2 || b[1] < 2 || int(b[1]) > len(b) {
			return o, fmt.Errorf("option % x", b)
		}
		v := b[2:b[1]]
		switch {
		case b[0] == 2 && len(v) == 2:
			o.mss = int(binary.BigEndian.Uint16(v))
		case b[0] == 3 && len(v) == 1:
			o.scale, o.scaled = v[0], true
		case b[0] == 4 && len(v) == 0:
			o.sack = true
		case b[0] == 5 && len(v)%8 == 0 && len(v) > 0:
			o.blocks = v
		case b[0] == 8 && len(v) == 8:
			o.stamped = true
			o.val, o.echo = binary.BigEndian.Uint32(v), binary.BigEndian.Uint32(v[4:])
		default:
			return o, fmt.Errorf("option % x", b[:b[1]])
		}
		b = b[b[1]:]
	}
	return o, nil
}

// after reports whether sequence number a follows b.
func after(a, b uint32) bool { return int32(a-b) > 0 }

// see checks a packet that host sends.
func (t *tap) see(host int, p []byte) error {
	w := t.w
	if len(p) == 0 || len(p) > w.plan.mtu {
		return fmt.Errorf("packet of %d bytes where the MTU is %d", len(p), w.plan.mtu)
	}
	length := 0
	if w.plan.v6 {
		if ip, ok := wire.ParseIPv6(p); ok {
			length = wire.IPv6Len + ip.PayloadLen()
		}
	} else if ip, ok := wire.ParseIPv4(p); ok && ip.ChecksumOK() {
		length = ip.TotalLen()
		if !ip.DontFragment() && !w.plan.hosts[host].gvisor && ip.Protocol() == wire.ProtoTCP && ip.TotalLen() > 576 {
			return fmt.Errorf("may be fragmented")
		}
	}
	if length != len(p) {
		return fmt.Errorf("IP header: length %d of %d bytes, or checksum", length, len(p))
	}
	_, off := upper(p)
	if off == 0 {
		return nil // ICMP
	}
	s, ok := wire.ParseTCP(p[off:])
	if !ok {
		return fmt.Errorf("TCP header cut short")
	}
	if !w.plan.local && pseudo(p, off, wire.ProtoTCP).Add(p[off:]).Fold() != 0xffff {
		return fmt.Errorf("TCP checksum")
	}
	if s.Flags()&wire.TCPRst != 0 {
		return nil
	}
	o, err := parseOptions(s)
	if err != nil {
		return err
	}
	return t.segment(host, s, &o)
}

// segment checks the numbers of a segment against what was seen before.
func (t *tap) segment(host int, s wire.TCP, o *options) error {
	gvisor := t.w.plan.hosts[host].gvisor
	me := t.half(host, s.SrcPort(), s.DstPort())
	peer := t.half(1-host, s.DstPort(), s.SrcPort())
	flags, seq := s.Flags(), s.Seq()
	if flags&(wire.TCPSyn|wire.TCPAck) == wire.TCPSyn|wire.TCPAck && peer.forged && s.Ack() != peer.iss+1 {
		return nil // the answer to a forgery, by somebody who keeps no state
	}
	if flags&wire.TCPSyn != 0 {
		if again := me.started && seq != me.iss && flags&wire.TCPAck != 0 && s.Ack() == me.ack; !me.started || seq != me.iss {
			*me = half{
				started: true, iss: seq, nxt: seq, forged: me.forged, several: again,
				before: me.nxt, hasBefore: me.finSent,
				others: again, first: [2]uint32{me.iss, seq},
			}
		}
		if o.mss != 0 {
			me.mss = o.mss
		}
		me.scale, me.scaled = o.scale, o.scaled
		if t.cookies(host) {
			// The SYN-ACK of a cookie carries a clock that is a little slow:
			// its last bits are options.
			me.stamped = false
		}
	}
	if me.several && flags&wire.TCPSyn == 0 {
		me.several = false
		me.iss, me.nxt = seq-1, seq
	}
	if other := seq - 1; me.others && flags == wire.TCPAck && len(s.Payload()) == 0 && other != me.iss &&
		(other == me.first[0] || other == me.first[1]) {
		return nil // the peer talks to a cookie, and a record is half open beside it
	}
	if !me.started {
		return fmt.Errorf("segment of a connection without a SYN")
	}
	data := s.Payload()
	at := seq
	if flags&wire.TCPSyn != 0 {
		at++
	}
	end := at + uint32(len(data))
	if flags&wire.TCPFin != 0 {
		end++
	}

	if len(data) > 0 {
		pos := int(int32(at - me.iss - 1))
		// A keepalive may carry one byte of garbage from below the window.
		keepalive := len(data) == 1 && !after(end, peer.ack) && peer.acked
		if pos < 0 || pos > 1<<28 {
			if !keepalive {
				return fmt.Errorf("data at position %d of the stream", pos)
			}
		} else if want := bytesAt(streamOf(s.SrcPort(), s.DstPort()), pos, len(data)); !keepalive && !bytes.Equal(data, want) {
			return fmt.Errorf("wrong bytes at %d of the stream: %s", pos, differ(data, want))
		}
		limit := max(peer.mss, 48)
		if peer.mss == 0 {
			limit = 1220 // at most; IPv4's default is 536
		}
		if len(data)+s.HeaderLen()-wire.TCPLen > limit {
			return fmt.Errorf("%d bytes and %d of options for an MSS of %d", len(data), s.HeaderLen()-wire.TCPLen, peer.mss)
		}
		if me.finSent && after(at+uint32(len(data)), me.fin) {
			return fmt.Errorf("data behind the FIN")
		}
	}
	if flags&wire.TCPFin != 0 {
		if fin := end - 1; me.finSent && fin != me.fin {
			return fmt.Errorf("FIN at %d, was at %d", fin-me.iss, me.fin-me.iss)
		}
		me.fin, me.finSent = end-1, true
	}
	if !gvisor && peer.acked && len(data) > 0 && after(at+uint32(len(data)), peer.edge+1) {
		return fmt.Errorf("%d bytes beyond the window", at+uint32(len(data))-peer.edge)
	}
	if !me.forged && !peer.forged && flags&wire.TCPSyn == 0 && after(seq, me.nxt) {
		return fmt.Errorf("sequence number %d skips %d bytes", seq, seq-me.nxt)
	}
	if after(end, me.nxt) {
		me.nxt = end
	}

	if flags&wire.TCPAck == 0 {
		return nil
	}
	ack := s.Ack()
	if peer.several && flags&wire.TCPSyn == 0 {
		peer.several = false
		peer.iss, peer.nxt = ack-1, ack
	}
	old := peer.hasBefore && me.finSent && ack == peer.before
	if peer.started && !peer.forged && !me.forged && after(ack, peer.nxt) && !old {
		return fmt.Errorf("acknowledges %d bytes that were not sent", ack-peer.nxt)
	}
	window := uint32(s.Window())
	if flags&wire.TCPSyn == 0 && me.scaled && peer.scaled {
		window <<= me.scale
	}
	if !me.acked {
		me.ack, me.edge, me.acked = ack, ack+window, true
	} else if !gvisor && !me.forged && !peer.forged {
		if t.cookies(host) && (after(me.ack, ack) || after(me.edge, ack+window+1<<me.scale-1)) {
			// An old segment that a cookie vouches for has opened the
			// connection once more.
			me.ack, me.edge, me.stamped = ack, ack+window, false
		}
		if after(me.ack, ack) {
			return fmt.Errorf("acknowledgment goes back by %d", me.ack-ack)
		}
		// Behind the peer's FIN nobody needs a window.
		if over := peer.finSent && after(ack, peer.fin); !over && after(me.edge, ack+window+1<<me.scale-1) {
			return fmt.Errorf("window shrinks by %d", me.edge-ack-window)
		}
	}
	if after(ack, me.ack) {
		me.ack = ack
	}
	if after(ack+window, me.edge) {
		me.edge = ack + window
	}
	if o.stamped {
		if me.stamped && after(me.ts, o.val) && !gvisor {
			return fmt.Errorf("timestamp goes back by %d", me.ts-o.val)
		}
		me.ts, me.stamped = o.val, true
	}
	for b := o.blocks; len(b) >= 8; b = b[8:] {
		l, r := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
		if !after(r, l) || peer.started && !peer.forged && after(r, peer.nxt) {
			return fmt.Errorf("SACK of %d to %d, %d was sent", l-peer.iss, r-peer.iss, peer.nxt-peer.iss)
		}
	}
	return nil
}

// differ says where two slices differ.
func differ(got, want []byte) string {
	for i := range got {
		if i >= len(want) || got[i] != want[i] {
			return fmt.Sprintf("%d bytes, byte %d is %#02x", len(got), i, got[i])
		}
	}
	return "length"
}
