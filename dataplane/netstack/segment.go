// SPDX-License-Identifier: Apache-2.0

package netstack

import (
	"encoding/binary"

	"netcon/dataplane/stat"
	"netcon/dataplane/stream"
	"netcon/dataplane/wire"
)

// minSegment is the least payload a super-packet is cut into, in bytes. What
// lowers the MSS is checked when it arrives; this keeps a mistake there from
// turning 64 KiB into 65,536 packets.
const minSegment = 64

// segment cuts a super-packet into packets the path takes, and returns how
// many. Every segment carries the TCP options of the super-packet.
func (s *Stack) segment(o *outgoing, out stream.Output) int {
	room := o.path.Max - o.hlen
	if room < minSegment {
		s.stat.Drop(stat.DropTooBig)
		return 0
	}
	mss := min(max(int(o.gso.MSS), minSegment), room)
	payload := o.total - o.hlen
	inHdr := o.hdr[o.hlen:] // payload that was read along with the headers
	flags, seq := o.tcp.Flags(), o.tcp.Seq()
	n := 0
	for sent := 0; sent < payload; n++ {
		size := min(mss, payload-sent)
		f := out.Frame(o.hlen + size)[:o.hlen+size]
		copy(f, o.hdr[:o.hlen])
		c := copy(f[o.hlen:], inHdr)
		inHdr = inHdr[c:]
		o.body.read(f[o.hlen+c:])

		s.putLength(o, f)
		t := wire.TCP(f[o.ipLen:])
		t.SetSeq(seq + uint32(sent))
		keep := flags
		if sent > 0 {
			keep &^= wire.TCPCwr
		}
		sent += size
		if sent < payload {
			keep &^= wire.TCPFin | wire.TCPPsh
		}
		t.SetFlags(keep)
		if o.path.Checksums {
			t.SetChecksum(0)
			t.SetChecksum(o.pseudo(len(t)).Add(t).Checksum())
		}
		out.Commit()
		s.stat.Add(stat.PacketBytesOut, uint64(len(f)))
	}
	s.stat.Add(stat.PacketsOut, uint64(n))
	return n
}

// putLength writes the length fields, and for IPv4 an identification of its own
// and the header checksum.
func (s *Stack) putLength(o *outgoing, f []byte) {
	if f[0]>>4 == 6 {
		binary.BigEndian.PutUint16(f[4:6], uint16(len(f)-wire.IPv6Len))
		return
	}
	ip := wire.IPv4(f)
	ip.SetTotalLen(len(f))
	ip.SetID(s.tx.ipID)
	s.tx.ipID++
	ip.SetChecksum()
}
