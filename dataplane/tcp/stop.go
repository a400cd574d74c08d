// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"math"

	"netcon/dataplane/stream"
)

// Stop implements stream.Engine.
func (e *Engine) Stop(out stream.Output) {
	if e.stopped {
		return
	}
	for i := e.conns.next(0); i != 0; i = e.conns.next(i) {
		c := e.conns.at(i)
		if out != nil && (c.state.in(synchronized) || c.state == stSynReceived) {
			e.sendReset(c, c.nxt)
			e.sendReplies(out, math.MaxInt)
		}
		e.release(i, c)
	}
	if out != nil {
		e.sendReplies(out, math.MaxInt)
	}
	e.stopped = true
	e.pairs, e.stashes, e.listeners = nil, stashes{}, nil
	e.tx, e.events, e.burst = fifo{}, fifo{}, fifo{}
	e.mem.close()
}
