// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Facts say where and with what samples were taken.
type Facts struct {
	When     string            `json:"when"`
	Command  []string          `json:"command"`
	Version  string            `json:"version"` // of netcon
	Commit   string            `json:"commit"`
	Kernel   string            `json:"kernel"`
	Machine  string            `json:"machine"`
	CPUs     int               `json:"cpus"`
	MemoryKB uint64            `json:"memory_kb"`
	Load     string            `json:"load"` // averages before
	Programs map[string]string `json:"programs"`
	Form     string            `json:"form"` // quick, full or all
	Rounds   int               `json:"rounds"`
	Seconds  float64           `json:"seconds"` // of a sample
}

// versions are how programs tell their version.
var versions = map[string][]string{
	"nginx": {"nginx", "-v"}, "wrk": {"wrk", "-v"}, "redis-server": {"redis-server", "--version"},
	"iperf3": {"iperf3", "--version"}, "wireguard-go": {"wireguard-go", "--version"},
	"pasta": {"pasta", "--version"}, "slirp4netns": {"slirp4netns", "--version"}, "sockperf": {"sockperf", "--version"}, "ip": {"ip", "-V"},
}

func readFacts(o *Options) Facts {
	f := Facts{
		When: time.Now().UTC().Format(time.RFC3339), Command: os.Args, Version: o.Version, CPUs: runtime.NumCPU(),
		Form: o.Form.String(), Rounds: o.Rounds, Seconds: o.Time.Seconds(), Programs: map[string]string{},
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" || s.Key == "vcs.modified" && s.Value == "true" {
				f.Commit += strings.Replace(s.Value, "true", "+changes", 1)
			}
		}
	}
	if f.Commit == "" { // built without
		out, _ := exec.Command("git", "-C", filepath.Dir(o.Exe), "describe", "--always", "--dirty=+changes", "--abbrev=12").Output()
		f.Commit = strings.TrimSpace(string(out))
	}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		f.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	f.Machine = field("/proc/cpuinfo", "model name")
	f.MemoryKB = meminfo()["MemTotal"]
	if b, err := os.ReadFile("/proc/loadavg"); err == nil {
		f.Load = strings.Join(strings.Fields(string(b))[:3], " ")
	}
	for name, argv := range versions {
		out, _ := exec.Command(argv[0], argv[1:]...).CombinedOutput()
		if line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n"); line != "" {
			f.Programs[name] = line
		}
	}
	return f
}

// field returns a "name : value" of a file.
func field(path, name string) string {
	b, _ := os.ReadFile(path)
	for line := range strings.Lines(string(b)) {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == name {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// meminfo reads /proc/meminfo, in KiB.
func meminfo() map[string]uint64 { return sizes("/proc/meminfo") }

// commandLine is how a run is repeated.
func (f *Facts) commandLine() string {
	argv := slices.Clone(f.Command)
	if len(argv) > 0 {
		argv[0] = "netcon"
	}
	return strings.Join(argv, " ")
}
