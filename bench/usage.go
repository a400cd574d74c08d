// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// tick is the unit of times in /proc: USER_HZ is 100 wherever Go runs.
const tick = 10 * time.Millisecond

// kthreadd is the parent of the kernel's threads.
const kthreadd = 2

// procStat is what /proc/PID/stat says of a process.
type procStat struct {
	pid, parent, group int
	used, children     time.Duration // children: that were waited for
	start              uint64
}

func readStat(pid int) (procStat, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return procStat{}, err
	}
	// The name in parentheses may hold anything.
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(f) < 20 {
		return procStat{}, fmt.Errorf("status of process %d: %q", pid, b)
	}
	n := make([]uint64, 20)
	for i := 1; i < 20; i++ {
		n[i], _ = strconv.ParseUint(f[i], 10, 64)
	}
	return procStat{
		pid: pid, parent: int(n[1]), group: int(n[2]), start: n[19],
		used: time.Duration(n[11]+n[12]) * tick, children: time.Duration(n[13]+n[14]) * tick,
	}, nil
}

// usage is the processor time of the whole machine at one moment, by process.
type usage struct {
	at    int64 // CLOCK_MONOTONIC, ns
	idle  time.Duration
	steal time.Duration
	procs []procStat
}

// monotonic is the clock that echoload gives its interval in.
func monotonic() int64 {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t)
	return t.Nano()
}

func readUsage() (u usage, err error) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return u, err
	}
	u.at = monotonic()
	line, _, _ := strings.Cut(string(b), "\n")
	f := strings.Fields(line) // cpu user nice system idle iowait irq softirq steal
	if len(f) < 9 {
		return u, fmt.Errorf("/proc/stat: %q", line)
	}
	field := func(i int) time.Duration {
		n, _ := strconv.ParseUint(f[i], 10, 64)
		return time.Duration(n) * tick
	}
	u.idle, u.steal = field(4)+field(5), field(8)
	paths, err := filepath.Glob("/proc/[0-9]*")
	for _, path := range paths {
		pid, _ := strconv.Atoi(filepath.Base(path))
		if p, err := readStat(pid); err == nil { // or it ended just now
			u.procs = append(u.procs, p)
		}
	}
	return u, err
}

// groups are the process groups whose use is told apart.
type groups struct{ server, carriers, harness []int }

// Spent is processor time between two moments, in seconds. Together Server to
// Foreign are Machine: what no process was charged for is the kernel's.
type Spent struct {
	Machine  float64 `json:"machine"`
	Server   float64 `json:"server"`   // the server program, its system calls included
	Client   float64 `json:"client"`   // the client program
	Carriers float64 `json:"carriers"` // what carries the traffic in user space: daemons
	Kernel   float64 `json:"kernel"`   // interrupts and the kernel's own threads
	Harness  float64 `json:"harness"`  // this program, and wires with faults
	Foreign  float64 `json:"foreign"`  // everything else on the machine
	Steal    float64 `json:"steal"`    // what the hypervisor gave to others
	Seconds  float64 `json:"seconds"`  // of wall time
}

// ofGroup returns what a process group has used.
func (u usage) ofGroup(id int) (d time.Duration) {
	for _, p := range u.procs {
		if p.group == id {
			d += p.used + p.children
		}
	}
	return d
}

// since returns what was spent between two moments. The client, which has ended,
// used up so much after the first.
func (u usage) since(before usage, g groups, client int, clientUsed time.Duration) (s Spent) {
	s.Client = clientUsed.Seconds()
	wall := time.Duration(u.at - before.at)
	s.Seconds = wall.Seconds()
	s.Machine = (time.Duration(runtime.NumCPU())*wall - (u.idle - before.idle)).Seconds()
	s.Steal = (u.steal - before.steal).Seconds()
	s.Machine = max(0, s.Machine-s.Steal)
	class := map[int]*float64{}
	for _, list := range []struct {
		ids []int
		to  *float64
	}{{g.server, &s.Server}, {g.carriers, &s.Carriers}, {g.harness, &s.Harness}} {
		for _, id := range list.ids {
			class[id] = list.to
		}
	}
	// A process that has ended is in what its parent's children used, so it
	// has to go from the sum as well.
	add := func(p procStat, sign float64) {
		used, to := p.used+p.children, class[p.group]
		switch {
		case p.group == client && client != 0:
			return
		case p.pid == os.Getpid():
			used, to = p.used, &s.Harness // its children are counted where they belong
		case to == nil && p.parent == kthreadd:
			return // remains with the kernel
		case to == nil:
			to = &s.Foreign
		}
		*to += sign * used.Seconds()
	}
	for _, p := range before.procs {
		add(p, -1)
	}
	for _, p := range u.procs {
		add(p, 1)
	}
	s.Foreign = min(max(0, s.Foreign), max(0, s.Machine-s.Server-s.Client-s.Carriers-s.Harness))
	s.Kernel = max(0, s.Machine-s.Server-s.Client-s.Carriers-s.Harness-s.Foreign)
	return s
}

// per returns what one of n requests took, in microseconds. They were counted for
// some seconds of about the same interval: what is divided are rates.
func (s Spent) per(n float64, seconds float64) *CPU {
	if n <= 0 || s.Seconds <= 0 || seconds <= 0 {
		return nil
	}
	f := 1e6 * seconds / s.Seconds / n
	return &CPU{
		Machine: (s.Machine - s.Foreign - s.Harness) * f, Server: s.Server * f, Client: s.Client * f,
		Carriers: s.Carriers * f, Kernel: s.Kernel * f,
	}
}
