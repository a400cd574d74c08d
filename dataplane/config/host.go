// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// onlineCPUs is where the kernel lists the CPUs that exist.
const onlineCPUs = "/sys/devices/system/cpu/online"

// host is what defaults and checks take from the machine.
type host struct {
	uid     int
	xdg     string // XDG_RUNTIME_DIR
	cpus    []bool // by number: online
	cpuText string // the same in the kernel's list form
	usable  int    // CPUs this process may run on
}

// thisHost asks the machine.
func thisHost() host {
	h := host{uid: os.Getuid(), xdg: os.Getenv("XDG_RUNTIME_DIR"), usable: runtime.NumCPU()}
	text, _ := os.ReadFile(onlineCPUs)
	h.cpuText = strings.TrimSpace(string(text))
	h.cpus = parseCPUList(h.cpuText)
	if h.cpus == nil {
		h.cpus = make([]bool, h.usable)
		for i := range h.cpus {
			h.cpus[i] = true
		}
		h.cpuText = fmt.Sprintf("0-%d", h.usable-1)
	}
	return h
}

// parseCPUList reads the kernel's list form, like 0-3,8; nil if it is not one.
func parseCPUList(s string) []bool {
	const most = 1 << 16
	var cpus []bool
	for _, part := range strings.Split(s, ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		lo, err1 := strconv.Atoi(first)
		hi, err2 := strconv.Atoi(last)
		if err1 != nil || err2 != nil || lo < 0 || hi < lo || hi >= most {
			return nil
		}
		for len(cpus) <= hi {
			cpus = append(cpus, false)
		}
		for i := lo; i <= hi; i++ {
			cpus[i] = true
		}
	}
	return cpus
}

// hasCPU reports whether that CPU is online.
func (h *host) hasCPU(n int64) bool {
	return n >= 0 && n < int64(len(h.cpus)) && h.cpus[n]
}

// runtimeDir returns the default runtime directory, and where it comes from.
func (h *host) runtimeDir() (dir, origin string) {
	switch {
	case h.uid == 0:
		return SystemRuntimeDir, "the default"
	case filepath.IsAbs(h.xdg):
		return filepath.Join(h.xdg, "netcon"), "from XDG_RUNTIME_DIR"
	}
	return fmt.Sprintf("/tmp/netcon-%d", h.uid), "the default"
}
