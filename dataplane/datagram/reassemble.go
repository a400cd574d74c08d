// SPDX-License-Identifier: Apache-2.0

package datagram

import (
	"encoding/binary"
	"net/netip"
	"time"

	"netcon/dataplane/stat"
	"netcon/dataplane/wire"
)

// fragmentLife is how long a packet may take to become whole: what Linux gives
// IPv4.
const fragmentLife = 30 * time.Second

// assemblyCost is what an unfinished packet is charged beside its buffer.
const assemblyCost = 512

// maxSpans bounds the pieces with gaps between them of one packet, and maxHead
// the header before its payload.
const (
	maxSpans = 64
	maxHead  = 128
)

// Reassembler makes whole packets of fragments.
type Reassembler struct {
	Limit int         // bytes that may be held
	Stat  *stat.Block // counts fragments that were taken and came to nothing

	m              map[fragmentKey]*assembly
	oldest, newest *assembly
	held           int // bytes charged
	pool           pool
	free           *assembly // by newer
}

// fragmentKey names a packet that comes in fragments.
type fragmentKey struct {
	src, dst netip.Addr
	id       uint32
	proto    uint8
}

// span is the bytes from begin to end of a payload.
type span struct{ begin, end int }

// assembly is a packet some fragments of which have arrived. Its payload lies
// in buf behind maxHead bytes, in which its header ends.
type assembly struct {
	key    fragmentKey
	born   time.Duration
	buf    []byte
	head   int // length of the header; 0: the first fragment has not come
	total  int // length of the payload; -1: the last fragment has not come
	frames int // fragments taken
	spans  []span
	older  *assembly
	newer  *assembly
}

// fragment is what the header of one says.
type fragment struct {
	key  fragmentKey
	head []byte // what stands before the payload in the whole packet
	next int    // offset in head of the number of the upper layer, IPv6
	at   int    // offset of its payload in the whole payload
	more bool
	body []byte
}

// Held returns the bytes charged.
func (r *Reassembler) Held() int { return r.held }

// Take takes a fragment, which was found to be one, and returns the packet that
// it makes whole, or why it was dropped; neither if it is kept. The packet is
// the caller's until the next call.
func (r *Reassembler) Take(packet []byte, now time.Duration) (whole []byte, reason stat.Reason) {
	f, ok := parseFragment(packet)
	if !ok {
		return nil, stat.DropFragmentInvalid
	}
	r.Expire(now)
	a := r.m[f.key]
	if a == nil {
		a = r.begin(f.key, now)
	}
	if reason = r.add(a, &f); reason != stat.Accepted {
		return nil, reason
	}
	if a.head == 0 || a.total < 0 || len(a.spans) != 1 || a.spans[0] != (span{0, a.total}) {
		return nil, stat.Accepted
	}
	return r.finish(a)
}

// begin starts a packet.
func (r *Reassembler) begin(key fragmentKey, now time.Duration) *assembly {
	if r.m == nil {
		r.m = make(map[fragmentKey]*assembly)
	}
	a := r.free
	if a != nil {
		r.free = a.newer
		*a = assembly{spans: a.spans[:0]}
	} else {
		a = new(assembly)
	}
	a.key, a.born, a.total = key, now, -1
	a.older = r.newest
	if r.newest != nil {
		r.newest.newer = a
	} else {
		r.oldest = a
	}
	r.newest = a
	r.m[key] = a
	r.held += assemblyCost
	return a
}

// add puts a fragment into its packet. A packet with fragments that contradict
// each other is given up (RFC 5722).
func (r *Reassembler) add(a *assembly, f *fragment) stat.Reason {
	end := f.at + len(f.body)
	if len(f.body) == 0 || f.more && len(f.body)%8 != 0 ||
		!f.more && a.total >= 0 && a.total != end || a.total >= 0 && end > a.total ||
		!f.more && len(a.spans) > 0 && a.spans[len(a.spans)-1].end > end {
		r.drop(a, stat.DropFragmentInvalid)
		return stat.DropFragmentInvalid
	}
	switch fresh, ok := a.place(span{f.at, end}); {
	case !ok:
		r.drop(a, stat.DropFragmentInvalid)
		return stat.DropFragmentInvalid
	case !fresh:
		return stat.DropFragmentInvalid // a copy
	}
	if !f.more {
		a.total = end
	}
	if f.at == 0 {
		a.head = len(f.head)
	}
	if reason := r.grow(a, maxHead+end); reason != stat.Accepted {
		return reason
	}
	if f.at == 0 {
		copy(a.buf[maxHead-a.head:], f.head)
		if a.key.src.Is6() {
			a.buf[maxHead-a.head+f.next] = a.key.proto
		}
	}
	copy(a.buf[maxHead+f.at:], f.body)
	a.frames++
	return stat.Accepted
}

// place notes that the bytes of s are there. fresh: they were not before; not
// ok: some of them were, or there are too many gaps.
func (a *assembly) place(s span) (fresh, ok bool) {
	i := 0
	for i < len(a.spans) && a.spans[i].end <= s.begin {
		i++
	}
	if i < len(a.spans) {
		o := a.spans[i]
		if o.begin <= s.begin && s.end <= o.end {
			return false, true
		}
		if o.begin < s.end {
			return false, false
		}
	}
	joinsLeft := i > 0 && a.spans[i-1].end == s.begin
	joinsRight := i < len(a.spans) && a.spans[i].begin == s.end
	switch {
	case joinsLeft && joinsRight:
		a.spans[i-1].end = a.spans[i].end
		a.spans = append(a.spans[:i], a.spans[i+1:]...)
	case joinsLeft:
		a.spans[i-1].end = s.end
	case joinsRight:
		a.spans[i].begin = s.begin
	case len(a.spans) == maxSpans:
		return false, false
	default:
		a.spans = append(a.spans, span{})
		copy(a.spans[i+1:], a.spans[i:])
		a.spans[i] = s
	}
	return true, true
}

// grow gives a packet n bytes of buffer, at the expense of the oldest ones.
func (r *Reassembler) grow(a *assembly, n int) stat.Reason {
	if n > len(a.buf) {
		b := r.pool.get(n)
		copy(b, a.buf)
		r.held += len(b) - len(a.buf)
		if a.buf != nil {
			r.pool.put(a.buf)
		}
		a.buf = b
	}
	for r.held > r.Limit && r.oldest != a {
		r.drop(r.oldest, stat.DropFragmentLimit)
	}
	if r.held > r.Limit {
		r.drop(a, stat.DropFragmentLimit)
		return stat.DropFragmentLimit
	}
	return stat.Accepted
}

// drop gives a packet up and counts the fragments it had.
func (r *Reassembler) drop(a *assembly, reason stat.Reason) {
	r.Stat.DropN(reason, uint64(a.frames))
	r.unlist(a)
	r.recycle(a)
}

// unlist forgets a packet.
func (r *Reassembler) unlist(a *assembly) {
	if a.older != nil {
		a.older.newer = a.newer
	} else {
		r.oldest = a.newer
	}
	if a.newer != nil {
		a.newer.older = a.older
	} else {
		r.newest = a.older
	}
	a.older, a.newer = nil, nil
	delete(r.m, a.key)
	r.held -= assemblyCost + len(a.buf)
}

// recycle keeps an assembly that is not listed for the next packet.
func (r *Reassembler) recycle(a *assembly) {
	if a.buf != nil {
		r.pool.put(a.buf)
		a.buf = nil
	}
	if r.free == nil {
		r.free = a
	}
}

// Expire gives up what has not become whole in time.
func (r *Reassembler) Expire(now time.Duration) {
	for r.oldest != nil && now-r.oldest.born >= fragmentLife {
		r.drop(r.oldest, stat.DropFragmentExpired)
	}
}

// finish returns a packet that is whole. Its buffer goes back to the pool at
// once, which gives it out again in Take at the earliest.
func (r *Reassembler) finish(a *assembly) ([]byte, stat.Reason) {
	p := a.buf[maxHead-a.head : maxHead+a.total]
	frames := a.frames
	r.unlist(a)
	r.recycle(a)
	if len(p)-a.key.ipLen() > maxPacket {
		r.Stat.DropN(stat.DropFragmentInvalid, uint64(frames-1))
		return nil, stat.DropFragmentInvalid
	}
	if a.key.src.Is4() {
		ip := wire.IPv4(p)
		p[6], p[7] = 0, 0
		ip.SetTotalLen(len(p))
		ip.SetChecksum()
	} else {
		wire.IPv6(p).SetPayloadLen(len(p) - wire.IPv6Len)
	}
	return p, stat.Accepted
}

// ipLen returns what of a packet its length field does not count.
func (k *fragmentKey) ipLen() int {
	if k.src.Is4() {
		return 0
	}
	return wire.IPv6Len
}

// parseFragment reads a packet that wire found to be a fragment.
func parseFragment(p []byte) (f fragment, ok bool) {
	if p[0]>>4 == 4 {
		ip := wire.IPv4(p)
		f.key = fragmentKey{ip.Src(), ip.Dst(), uint32(ip.ID()), ip.Protocol()}
		f.head, f.body = p[:ip.HeaderLen()], ip.Payload()
		f.at, f.more = ip.FragmentOffset(), p[6]&0x20 != 0
		return f, f.at+len(f.body) <= maxPacket
	}
	ip := wire.IPv6(p)
	next, field, at := ip.NextHeader(), 6, wire.IPv6Len
	for next != protoFragment {
		if len(p) < at+8 {
			return f, false
		}
		next, field, at = p[at], at, at+8+int(p[at+1])*8
	}
	if len(p) < at+fragmentHeader || at > maxHead {
		return f, false
	}
	h := p[at:]
	word := binary.BigEndian.Uint16(h[2:])
	f.key = fragmentKey{ip.Src(), ip.Dst(), binary.BigEndian.Uint32(h[4:]), h[0]}
	f.head, f.next, f.body = p[:at], field, h[fragmentHeader:]
	f.at, f.more = int(word&^7), word&1 != 0
	return f, f.at+len(f.body) <= maxPacket
}
