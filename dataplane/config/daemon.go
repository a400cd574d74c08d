// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2/unstable"
)

const (
	maxWorkers = 64

	// maxSocketPath is sun_path without its NUL.
	maxSocketPath = 107

	maxRuntimeDir = maxSocketPath - len("/") - max(len(AttachSocket), len(ControlSocket))
)

// daemon reads [daemon].
func (r *reader) daemon(t *table) {
	d := &r.cfg.Daemon
	d.RuntimeDir = r.runtimeDir(t)
	d.CPUs = r.cpus(t)
	workers := int64(max(1, min(2, r.host.usable)))
	if len(d.CPUs) > 0 {
		workers = min(int64(len(d.CPUs)), maxWorkers)
	}
	d.WorkersByDefault = !t.has("workers") && len(d.CPUs) == 0
	d.Workers = int(t.integer("workers", workers, 1, maxWorkers))
	if n := len(d.CPUs); n > 0 && n != d.Workers {
		t.fail(t.n.keys["cpus"].line, "cpus: %d for %d workers (one per worker)", n, d.Workers)
	}
	d.Idle = Idle(t.choice("idle", string(IdleSleep), []string{string(IdleSleep), string(IdleBusy)}))
	d.Spin = t.duration("spin", 20*time.Microsecond, 0, 10*time.Millisecond)
	const resolvers = "addresses of DNS servers"
	for _, n := range t.list("resolvers", "resolver", unstable.String, resolvers) {
		if a := t.address(n, "resolver"); a.IsValid() {
			d.Resolvers = append(d.Resolvers, a)
		}
	}
	t.done()
}

func (r *reader) runtimeDir(t *table) string {
	accepted := fmt.Sprintf("an absolute path of at most %d bytes", maxRuntimeDir)
	dir, origin := r.host.runtimeDir()
	if n := t.get("runtime_dir", unstable.String, accepted); n != nil {
		switch {
		case !filepath.IsAbs(n.text), strings.ContainsFunc(n.text, func(c rune) bool { return c < ' ' || c == 0x7f }):
			t.fail(n.line, "runtime_dir %s: not an absolute path (%s)", n.show(), accepted)
			return ""
		case len(filepath.Clean(n.text)) > maxRuntimeDir:
			t.fail(n.line, "runtime_dir %s: %d bytes: socket paths would not fit (%s)", n.show(), len(n.text), accepted)
			return ""
		}
		return filepath.Clean(n.text)
	}
	if len(dir) > maxRuntimeDir {
		t.fail(t.line, "runtime_dir %s, %s: %d bytes: socket paths would not fit (%s)", quote(dir), origin, len(dir), accepted)
	}
	return dir
}

// cpus returns the CPUs that workers are pinned to.
func (r *reader) cpus(t *table) []int {
	seen := map[int64]bool{}
	var cpus []int
	for _, n := range t.list("cpus", "cpu", unstable.Integer, "CPU numbers") {
		v, _ := n.integer()
		switch {
		case !r.host.hasCPU(v):
			t.fail(n.line, "cpu %s: does not exist (online: %s)", n.show(), r.host.cpuText)
		case seen[v]:
			t.fail(n.line, "cpu %s: twice (one CPU per worker)", n.show())
		}
		seen[v] = true
		cpus = append(cpus, int(v))
	}
	return cpus
}
