// SPDX-License-Identifier: Apache-2.0

package netstack

import (
	"runtime"

	"netcon/dataplane/stat"
)

// drops returns what a host dropped, by reason.
func drops(h *host) map[string]uint64 {
	h.stat.Publish()
	return stat.Read(h.stat).Drops
}

// heap returns the live heap in bytes.
func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
