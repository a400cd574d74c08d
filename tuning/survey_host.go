// SPDX-License-Identifier: Apache-2.0

package tuning

import (
	"fmt"
	"strconv"
	"strings"
)

// processors surveys what slows or interrupts the workers' CPUs.
func (s *survey) processors() {
	online := parseCPUs(s.read("/sys/devices/system/cpu/online"))
	cpus := s.cfg.CPUs
	if len(cpus) == 0 {
		for c := range online {
			cpus = append(cpus, c)
		}
	}
	set := cpuSet{}
	for _, c := range cpus {
		set[c] = true
	}
	for c := 0; c < maxCPUs; c++ {
		if !set[c] {
			continue
		}
		path := fmt.Sprintf("/sys/devices/system/cpu/cpu%d/cpufreq/scaling_governor", c)
		s.want(fmt.Sprintf("governor of cpu %d", c), s.file(path), "cpupower -c "+strconv.Itoa(c)+" frequency-set -g performance",
			"a polling core that the governor slows down raises every latency", "performance")
	}
	s.want("nmi watchdog", s.file("/proc/sys/kernel/nmi_watchdog"), "sysctl kernel.nmi_watchdog=0",
		"it interrupts every core and takes a performance counter", "0")
	s.want("numa balancing", s.file("/proc/sys/kernel/numa_balancing"), "sysctl kernel.numa_balancing=0",
		"it unmaps memory of the workers to see who uses it", "0")

	if len(s.cfg.CPUs) == 0 {
		s.advise(false, Setting{
			Name: "pinned workers", Now: "not pinned", Want: "a CPU each", How: "cpus = [2, 3] in [daemon]",
			Reason: "a worker that moves between cores loses its caches",
		})
		return
	}
	isolated := parseCPUs(s.read("/sys/devices/system/cpu/isolated"))
	all := true
	for _, c := range s.cfg.CPUs {
		all = all && isolated[c]
	}
	now := isolated.String()
	if now == "" {
		now = "none"
	}
	s.advise(all, Setting{
		Name: "isolated cores", Now: now, Want: set.String(),
		How:    fmt.Sprintf("boot with isolcpus=%[1]s nohz_full=%[1]s rcu_nocbs=%[1]s", set),
		Reason: "the scheduler puts other work on the workers' cores",
	})
}

// wantBuffer is the socket buffer that a UDP underlay can use.
const wantBuffer = 8 << 20

// memory surveys what concerns memory of the whole host.
func (s *survey) memory() {
	s.want("transparent hugepages", s.knob("file "+hugepages), "echo madvise > "+hugepages,
		"large tables miss the TLB less on huge pages", "madvise", "always")
	if s.cfg.XDP {
		return
	}
	for _, name := range []string{"rmem_max", "wmem_max"} {
		k := s.file("/proc/sys/net/core/" + name)
		how := fmt.Sprintf("sysctl net.core.%s=%d", name, wantBuffer)
		reason := "without privileges a daemon's UDP sockets get no larger buffer, and bursts are dropped"
		if n, err := strconv.Atoi(s.read("/proc/sys/net/core/" + name)); err == nil && n >= wantBuffer {
			s.want(name, k, how, reason, strconv.Itoa(n))
			continue
		}
		s.want(name, k, how, reason, strconv.Itoa(wantBuffer))
	}
}

// irqbalance reports whether a process of that name runs.
func (s *survey) irqbalance() bool {
	for _, pid := range s.names("/proc") {
		if _, err := strconv.Atoi(pid); err == nil && strings.TrimSpace(s.read("/proc/"+pid+"/comm")) == "irqbalance" {
			return true
		}
	}
	return false
}
