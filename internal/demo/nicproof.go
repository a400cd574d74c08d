// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"context"
	"errors"
	"fmt"

	"netcon/dataplane"
)

// nicSight is everything that is counted before and after the traffic of part
// (b).
type nicSight struct {
	web    dataplane.ContainerStatus
	rx, tx uint64            // encapsulated frames
	kernel map[string]uint64 // counters of the kernel in namespace host
}

func (t *nicTour) look(ctx context.Context) (s nicSight, err error) {
	st, err := t.client("a").Status()
	if err != nil {
		return s, err
	}
	if len(st.Containers) != 1 {
		return s, fmt.Errorf("the daemon has %d containers, want 1", len(st.Containers))
	}
	s.web = st.Containers[0]
	for _, w := range st.Workers {
		s.rx += w.RxFrames
		s.tx += w.TxFrames
	}
	snmp, err := output(ctx, append(inNamespace(t.host), "cat", "/proc/net/snmp")...)
	s.kernel = parseCounters(snmp)
	return s, err
}

// prove compares what was counted with what the traffic must have moved.
func (t *nicTour) prove(before, after nicSight) error {
	const moved = 2 * fileSize
	out := after.web.BytesOut - before.web.BytesOut
	kernel := func(name string) uint64 { return after.kernel[name] - before.kernel[name] }
	tcp := kernel("Tcp.InSegs") + kernel("Tcp.OutSegs")
	udp := kernel("Udp.InDatagrams") + kernel("Udp.OutDatagrams") + kernel("Udp.NoPorts")
	t.say("proof of the path:")
	t.say("  container web sent %d bytes (2 x %d, and more)", out, fileSize)
	t.say("  AF_XDP carried %d VXLAN frames in and %d out", after.rx-before.rx, after.tx-before.tx)
	t.say("  the kernel of namespace host counted %d TCP segments and %d UDP datagrams", tcp, udp)
	switch {
	case out < moved:
		return errors.New("proof: the container's counters did not carry the transfers")
	case after.rx == before.rx || after.tx == before.tx:
		return errors.New("proof: no frame crossed the underlay")
	case tcp != 0 || udp != 0:
		return errors.New("proof: the kernel carried the traffic")
	}
	return nil
}
