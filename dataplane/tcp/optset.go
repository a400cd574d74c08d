// SPDX-License-Identifier: Apache-2.0

package tcp

// optset is the options of a socket that are no bit of its record. Option sets
// are interned: a million connections accepted from one listener share one.
type optset struct {
	keepIdle     uint16 // seconds
	keepInterval uint16 // seconds
	keepCount    uint8
	synCount     uint8 // retransmissions of a SYN or SYN-ACK; 0: as tuned
	tos, ttl     uint8
	maxSeg       uint16 // bytes, 0: none
	bits         uint16
	userTimeout  uint32 // milliseconds, 0: none
	deferAccept  int32  // seconds
	linger2      int32  // seconds
	linger       int32  // seconds, -1: off
	sendBuffer   int32  // bytes, as set
	recvBuffer   int32  // bytes, as set; 0: never set
	notSentLowat int32  // bytes, 0: none
}

// Bits of an optset.
const (
	optReuseAddr = 1 << iota
	optReusePort
	optV6Only
	optLinger2Set
)

// optsets holds the distinct option sets with the number of their users. Set 0
// is the default and never goes.
type optsets struct {
	sets []optset
	refs []int32
	at   map[optset]uint32
	free []uint32
}

func (o *optsets) init(def optset) {
	o.sets, o.refs = []optset{def}, []int32{1}
	o.at = map[optset]uint32{def: 0}
}

// get returns a set. It is only to be read.
func (o *optsets) get(i uint32) *optset { return &o.sets[i] }

// share counts one more user of a set.
func (o *optsets) share(i uint32) uint32 {
	o.refs[i]++
	return i
}

// release counts one user less.
func (o *optsets) release(i uint32) {
	if o.refs[i]--; o.refs[i] > 0 || i == 0 {
		return
	}
	delete(o.at, o.sets[i])
	o.free = append(o.free, i)
}

// replace gives the user of set i the set s instead.
func (o *optsets) replace(i uint32, s optset) uint32 {
	j, ok := o.at[s]
	switch {
	case ok:
		o.refs[j]++
	case len(o.free) > 0:
		j = o.free[len(o.free)-1]
		o.free = o.free[:len(o.free)-1]
		o.sets[j], o.refs[j] = s, 1
		o.at[s] = j
	default:
		j = uint32(len(o.sets))
		o.sets, o.refs = append(o.sets, s), append(o.refs, 1)
		o.at[s] = j
	}
	o.release(i)
	return j
}
