// SPDX-License-Identifier: Apache-2.0

package tcp

// Check verifies the invariants of an engine's records.
func (e *Engine) Check() error { return e.check() }

// Records counts what an engine holds: sockets, connections and what is left of
// them.
func (e *Engine) Records() int {
	return e.conns.len() + e.works.len() + e.runs.len() + e.holes.len() + e.halfs.len() + e.waits.len() + e.table.len()
}
