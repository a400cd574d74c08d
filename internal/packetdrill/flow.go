// SPDX-License-Identifier: Apache-2.0

package packetdrill

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"netcon/dataplane/wire"
)

// flow is one connection between the machine and the script, with the maps
// between the numbers of the script and those on the wire.
//
// Scripts count from the SYN: behind it sequence number 1 is the first byte,
// whatever number the SYN itself had. Only packets with SYN name absolute
// numbers. The script's own numbers go to the wire as they are; the machine's
// are shifted by the initial number that it chose.
type flow struct {
	local, remote netip.AddrPort

	remoteISN  uint32 // in the script and on the wire
	remoteSeen bool
	nextISN    uint32 // of the last SYN, if the machine takes it
	localISN   uint32 // on the wire
	scriptISN  uint32 // the machine's, as the script has it
	localSeen  bool

	stamps                 map[uint32]uint32 // the machine's TS val: script to wire
	stampSeen              bool
	scriptStamp, wireStamp uint32 // the first pair

	sent uint32 // highest relative end of payload that the machine sent
	sock *sock  // nil: not accepted yet, or closed
	gone bool   // closed by the application
}

func newFlow(local, remote netip.AddrPort) *flow {
	return &flow{local: local, remote: remote, stamps: map[uint32]uint32{}}
}

// Where payload lies in the byte stream: sequence number 1 is byte 0. Content is
// a function of the place, a different one for each direction.
func contentOut(at uint64) byte { return byte(at*7 + at>>8*13 + 'a') }
func contentIn(at uint64) byte  { return byte(at*11 + at>>8*5 + 'A') }

// toWire turns an injected packet of the script into one for the machine.
func (f *flow) toWire(k *Packet, ecrScaled bool) (*segment, string) {
	s := &segment{
		src: f.remote, dst: f.local, tos: k.TOS, ttl: 255, label: k.Label,
		seq: k.Seq, ack: k.Ack, flags: k.Flags, urg: k.Urg, payload: make([]byte, k.Len),
	}
	if k.TTL != 0 {
		s.ttl = k.TTL
	}
	if k.Win >= 0 {
		s.win = uint16(k.Win)
	}
	first := k.Seq // of the payload, relative
	if k.Flags&wire.TCPSyn != 0 {
		if f.nextISN = k.Seq; !f.remoteSeen {
			f.remoteISN, f.remoteSeen = k.Seq, true
		}
		first = 1
		if s.ack += f.localISN - f.scriptISN; !f.localSeen {
			s.ack = k.Ack
		}
	} else {
		s.seq += f.remoteISN
		s.ack += f.localISN
	}
	for i := range s.payload {
		s.payload[i] = contentIn(uint64(first-1) + uint64(i))
	}
	if k.Flags&wire.TCPAck == 0 {
		s.ack = 0
	}
	for _, o := range k.Opts {
		o.Data = slices.Clone(o.Data)
		switch {
		case o.Kind == optSACK:
			for i := 0; i < len(o.Data); i += 4 {
				add(o.Data[i:], f.localISN)
			}
		case o.Kind == optTimestamp && k.Flags&wire.TCPAck != 0:
			ecr := binary.BigEndian.Uint32(o.Data[4:])
			live, ok := f.stamps[ecr]
			if !ok {
				if !ecrScaled || !f.stampSeen {
					return nil, "no packet of the machine had the timestamp that is echoed (see --tcp_ts_ecr_scaled)"
				}
				live = ecr - f.scriptStamp + f.wireStamp
			}
			binary.BigEndian.PutUint32(o.Data[4:], live)
		}
		s.opts = append(s.opts, o)
	}
	return s, ""
}

func add(b []byte, v uint32) {
	binary.BigEndian.PutUint32(b, binary.BigEndian.Uint32(b)+v)
}

// toScript turns a packet of the machine into the script's numbers. want is what
// the script expects, if it expects anything: its numbers teach the maps.
func (f *flow) toScript(s *segment, want *Packet) *segment {
	t := *s
	if s.icmp != nil {
		return &t
	}
	syn := s.flags&wire.TCPSyn != 0
	if syn && want != nil && want.ICMP == nil && want.Flags&wire.TCPSyn != 0 {
		// The machine answers a new SYN: a new connection begins.
		if s.flags&wire.TCPAck != 0 && s.ack == f.nextISN+1 {
			f.remoteISN, f.remoteSeen = f.nextISN, true
		}
		if f.localSeen && s.seq != f.localISN {
			f.sock, f.gone, f.sent = nil, false, 0
		}
		f.localISN, f.scriptISN, f.localSeen = s.seq, want.Seq, true
	}
	if syn {
		t.seq += f.scriptISN - f.localISN // ack is the script's own number
	} else {
		t.seq -= f.localISN
		t.ack -= f.remoteISN
	}
	if s.flags&wire.TCPAck == 0 {
		t.ack = 0
	}
	t.opts = nil
	for _, o := range s.opts {
		o.Data = slices.Clone(o.Data)
		switch o.Kind {
		case optSACK:
			for i := 0; i+4 <= len(o.Data); i += 4 {
				add(o.Data[i:], -f.remoteISN)
			}
		case optTimestamp:
			if len(o.Data) == 8 {
				f.learnStamp(o, want)
				add(o.Data, f.scriptStamp-f.wireStamp)
			}
		}
		t.opts = append(t.opts, o)
	}
	return &t
}

// learnStamp remembers which TS val the script's packet stands for.
func (f *flow) learnStamp(o TCPOption, want *Packet) {
	if want == nil {
		return
	}
	for _, w := range want.Opts {
		if w.Kind != optTimestamp {
			continue
		}
		script, live := binary.BigEndian.Uint32(w.Data), binary.BigEndian.Uint32(o.Data)
		if f.stamps[script] = live; !f.stampSeen {
			f.stampSeen, f.scriptStamp, f.wireStamp = true, script, live
		}
	}
}

// saw notes what the machine sent.
func (f *flow) saw(s *segment) {
	if s.icmp != nil || s.flags&wire.TCPSyn != 0 || len(s.payload) == 0 || !f.localSeen {
		return
	}
	if end := s.seq - f.localISN + uint32(len(s.payload)); int32(end-f.sent) > 0 {
		f.sent = end
	}
}
