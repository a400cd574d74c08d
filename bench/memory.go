// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// sizes reads lines "Name: N kB".
func sizes(path string) map[string]uint64 {
	m := map[string]uint64{}
	b, _ := os.ReadFile(path)
	for line := range strings.Lines(string(b)) {
		name, rest, ok := strings.Cut(line, ":")
		f := strings.Fields(rest)
		if ok && len(f) == 2 && f[1] == "kB" {
			m[name], _ = strconv.ParseUint(f[0], 10, 64)
		}
	}
	return m
}

// resident is memory at one moment, by layer, in KiB.
type resident struct{ server, shared, carriers, slab float64 }

func readResident(g groups) (r resident) {
	r.slab = float64(meminfo()["Slab"])
	paths, _ := filepath.Glob("/proc/[0-9]*")
	for _, path := range paths {
		pid, _ := strconv.Atoi(filepath.Base(path))
		p, err := readStat(pid)
		if err != nil {
			continue
		}
		for _, id := range g.server {
			if p.group == id {
				s := sizes(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
				r.server += float64(s["Pss_Anon"] + s["Pss_File"])
				r.shared += float64(s["Pss_Shmem"])
			}
		}
		for _, id := range g.carriers {
			if p.group == id {
				s := sizes(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
				r.carriers += float64(s["Pss_Anon"] + s["Pss_File"])
				r.shared += float64(s["Pss_Shmem"])
			}
		}
	}
	return r
}

// The kernel frees what closed connections had a little later, in portions.
const (
	slabPause    = 300 * time.Millisecond
	slabSettled  = 1 << 10 // KiB a pause
	slabPatience = 5 * time.Second
)

// settleSlab waits until the kernel's slab shrinks no more, or not for what was
// here before.
func settleSlab(ctx context.Context) error {
	deadline := time.Now().Add(slabPatience)
	for before := meminfo()["Slab"]; ; {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(slabPause):
		}
		now := meminfo()["Slab"]
		if now+slabSettled > before || time.Now().After(deadline) {
			return nil
		}
		before = now
	}
}

// perConnection is what n connections took more than none, each.
func (r resident) perConnection(before resident, n int) *Memory {
	f := 1024 / float64(n)
	return &Memory{
		Connections: n, Server: (r.server - before.server) * f, Shared: (r.shared - before.shared) * f,
		Carriers: (r.carriers - before.carriers) * f, Slab: (r.slab - before.slab) * f,
	}
}
