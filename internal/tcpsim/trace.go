// SPDX-License-Identifier: Apache-2.0

package tcpsim

import (
	"fmt"
	"strings"

	"netcon/dataplane/wire"
)

// tracef prints a line.
func (w *world) tracef(format string, args ...any) {
	if w.cfg.Trace != nil {
		fmt.Fprintf(w.cfg.Trace, "%13.6f "+format+"\n", append([]any{w.now.Seconds()}, args...)...)
	}
}

// left, arrived and note print a packet.
func (w *world) left(from int, p []byte) {
	if w.cfg.Trace != nil {
		w.tracef("%c >   %s", 'A'+from, w.text(from, p))
	}
}

func (w *world) arrived(to int, p []byte) {
	if w.cfg.Trace != nil {
		w.tracef("  > %c %s", 'A'+to, w.text(1-to, p))
	}
}

func (w *world) note(from int, p []byte, what string) {
	if w.cfg.Trace != nil {
		w.tracef("%c .   %s: %s", 'A'+from, w.text(from, p), strings.TrimSpace(what))
	}
}

// text describes a packet, with sequence numbers relative to the first ones.
func (w *world) text(from int, p []byte) string {
	_, off := upper(p)
	if off == 0 {
		return fmt.Sprintf("%d bytes, not TCP or damaged", len(p))
	}
	s, ok := wire.ParseTCP(p[off:])
	if !ok {
		return fmt.Sprintf("%d bytes, cut", len(p))
	}
	flags := ""
	for i, c := range "FSRP.UEW" {
		if s.Flags()&(1<<i) != 0 {
			flags += string(c)
		}
	}
	me, peer := w.tap.flows[key(from, s.SrcPort(), s.DstPort())], w.tap.flows[key(1-from, s.DstPort(), s.SrcPort())]
	seq, ack := s.Seq(), s.Ack()
	if me != nil {
		seq -= me.iss
	}
	if peer != nil {
		ack -= peer.iss
	}
	t := fmt.Sprintf("%d>%d %s seq %d+%d ack %d win %d", s.SrcPort(), s.DstPort(), flags, seq, len(s.Payload()), ack, s.Window())
	o, err := parseOptions(s)
	if err != nil {
		return t + " bad options"
	}
	if o.mss != 0 {
		t += fmt.Sprintf(" mss %d", o.mss)
	}
	if o.scaled {
		t += fmt.Sprintf(" scale %d", o.scale)
	}
	if o.sack {
		t += " sackOK"
	}
	if o.stamped {
		t += fmt.Sprintf(" ts %d/%d", o.val, o.echo)
	}
	for b := o.blocks; len(b) >= 8; b = b[8:] {
		l, r := uint32(b[0])<<24|uint32(b[1])<<16|uint32(b[2])<<8|uint32(b[3]), uint32(b[4])<<24|uint32(b[5])<<16|uint32(b[6])<<8|uint32(b[7])
		if peer != nil {
			l, r = l-peer.iss, r-peer.iss
		}
		t += fmt.Sprintf(" sack %d-%d", l, r)
	}
	return t
}

// describe prints the plan.
func (w *world) describe() {
	if w.cfg.Trace == nil {
		return
	}
	p := w.plan
	var faults []string
	for f, on := range p.want {
		if on {
			faults = append(faults, Fault(f).String())
		}
	}
	fmt.Fprintf(w.cfg.Trace, "seed %d: v6 %v, local %v, mtu %d, calm from %v, faults: %s\n",
		p.seed, p.v6, p.local, p.mtu, p.calm, strings.Join(faults, ", "))
	for i := range p.hosts {
		fmt.Fprintf(w.cfg.Trace, "host %c: %+v\nlink from it: %+v\n", 'A'+i, p.hosts[i], p.links[i])
	}
	for _, c := range p.conns {
		fmt.Fprintf(w.cfg.Trace, "connection: %+v\n", c)
	}
}
