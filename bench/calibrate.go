// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// threaded is the baseline where what arrives at a host is handled by a thread of
// its own instead of in the context of who sent it. There, and only there, the
// processor time of the two ends is on two accounts.
const threaded = Baseline + "+receive=threads"

// calibrations is how often the client's share is measured.
func (o *Options) calibrations(w *Workload) int {
	switch {
	case !w.Calibrated || !slices.Contains(o.compared(w), Baseline):
		return 0
	case o.Form == Quick:
		return 1
	}
	return 2
}

// clientShare measures how much of the processor time that the baseline takes for
// a request of a workload is the client's: the client program and its host's
// receive thread, of those two and the server's two.
func (r *runner) clientShare(ctx context.Context, p plan) (float64, error) {
	system, err := ParseSystem(threaded)
	if err != nil {
		return 0, err
	}
	pair, err := r.pair(ctx, system, Link{})
	if err != nil {
		return 0, err
	}
	b := &Bed{Site: r.site, Pair: pair, Scratch: map[string]float64{}}
	if err := p.Serve(ctx, b); err != nil {
		return 0, err
	}
	defer r.site.forget(b.Serving)
	var list []float64
	for range r.calibrations(p.Workload) {
		r.progress.step(p.Workload, "calibration")
		m := &Meter{bed: b}
		if err = r.measure(ctx, p.Workload, m); err != nil {
			continue
		}
		if !m.Path.Valid {
			err = errors.New(strings.Join(m.Path.Why, "; "))
			continue
		}
		client, server := m.Spent.Client+m.threads.client.Seconds(), m.Spent.Server+m.threads.server.Seconds()
		if client <= 0 || server <= 0 {
			err = fmt.Errorf("client %.2f s, server %.2f s: too short a sample", client, server)
			continue
		}
		list = append(list, client/(client+server))
	}
	if len(list) == 0 {
		return 0, err
	}
	return spread(list).Median, nil
}

// calibrate takes the client away from those samples of a round whose client is
// like the baseline's: its share of what the baseline took in the same round.
func calibrate(share float64, samples []*Sample, turns []*turn) {
	i := slices.IndexFunc(samples, func(s *Sample) bool { return s.System == Baseline && s.CPU != nil })
	if share == 0 || i < 0 {
		return
	}
	client := samples[i].CPU.Machine * share
	samples[i].CPU.ClientShare = share
	for _, s := range samples {
		k := slices.IndexFunc(turns, func(t *turn) bool { return t.name == s.System })
		if s.CPU != nil && turns[k].bed.BaselineClient {
			v := max(0, s.CPU.Machine-client)
			s.CPU.ServerSide = &v
		}
	}
}

// receiveThreads has a device's frames received by threads of the kernel, and
// returns those.
func (s *Site) receiveThreads(ctx context.Context, ns, device string) (pids []int, err error) {
	before := napiThreads(device)
	if _, err := s.Output(ctx, ns, "sh", "-c", "echo 1 >/sys/class/net/"+device+"/threaded"); err != nil {
		return nil, err
	}
	for _, pid := range napiThreads(device) {
		if !slices.Contains(before, pid) {
			pids = append(pids, pid)
		}
	}
	if len(pids) == 0 {
		return nil, fmt.Errorf("the kernel made no receive thread for %s", device)
	}
	return pids, nil
}

// napiThreads returns the threads that receive for devices of a name.
func napiThreads(device string) (pids []int) {
	paths, _ := filepath.Glob("/proc/[0-9]*/comm")
	for _, path := range paths {
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		name, _ := os.ReadFile(path)
		if p, err := readStat(pid); err == nil && p.parent == kthreadd && strings.HasPrefix(string(name), "napi/"+device+"-") {
			pids = append(pids, pid)
		}
	}
	return pids
}

// ofProcesses returns what some processes have used.
func (u usage) ofProcesses(pids []int) (d time.Duration) {
	for _, p := range u.procs {
		if slices.Contains(pids, p.pid) {
			d += p.used
		}
	}
	return d
}
