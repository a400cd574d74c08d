// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"errors"
	"strings"
	"testing"
	"time"

	"netcon/internal/testenv"
)

// everySystem is each kind of system once, and each value of netcon's and the
// baseline's parameters that there is.
var everySystem = []string{
	Baseline, "kernel-vxlan+tuned=no", "kernel-vxlan+offloads=off", "kernel-veth", "kernel-bridge", "userspace-tun", "pasta", "slirp4netns",
	Default, "netcon+underlay=udp", "netcon+peer=netcon",
}

func TestEverySystem(t *testing.T) {
	testenv.NeedRoot(t)
	testenv.NeedTools(t, "wireguard-go", "wg", "pasta", "slirp4netns", "ethtool")
	for _, s := range samplesOf(t, Options{Form: Full, Rounds: 1, Time: 100 * time.Millisecond, Systems: everySystem, Workloads: []string{"pingpong-1"}}) {
		if !s.OK() || s.Value <= 0 {
			t.Errorf("%s: %s, path %+v", s.System, s.Error, s.Path)
		}
	}
	for name := range systemKinds {
		found := name == alone
		for _, spec := range everySystem {
			sys, err := ParseSystem(spec)
			if err != nil {
				t.Fatal(err)
			}
			found = found || sys.Name() == name
		}
		if !found {
			t.Errorf("system %s is not tried", name)
		}
	}
}

// Every workload of the quick form, and those whose programs or wires are their
// own, once.
func TestEveryWorkload(t *testing.T) {
	testenv.NeedRoot(t)
	testenv.NeedTools(t, "nginx", "wrk", "redis-server", "redis-benchmark", "iperf3", "sockperf")
	o := Options{
		Form: Full, Rounds: 1, Time: 200 * time.Millisecond, Systems: []string{Baseline, Default},
		Workloads: []string{"nginx-64k", "nginx-close", "connect", "redis-set-16", "iperf3-in-4", "iperf3-out-1", "loss-in", "sockperf-udp", "idle"},
	}
	if testing.Short() {
		o.Workloads = []string{"nginx-close"}
	}
	for _, s := range samplesOf(t, o) {
		if !s.OK() || s.Workload != "idle" && s.Value <= 0 {
			t.Errorf("%s over %s: %s, path %+v", s.Workload, s.System, s.Error, s.Path)
		}
	}
}

// A system may be up twice, once with a wire that loses frames.
func TestUpTwice(t *testing.T) {
	testenv.NeedRoot(t)
	testenv.NeedTools(t, "wireguard-go", "wg", "slirp4netns", "iperf3")
	o := Options{
		Form: Full, Rounds: 1, Time: 200 * time.Millisecond, Systems: []string{"userspace-tun", "slirp4netns", Default},
		Workloads: []string{"pingpong-1", "loss-in"},
	}
	for _, s := range samplesOf(t, o) {
		if !s.OK() || s.Value <= 0 {
			t.Errorf("%s over %s: %s, path %+v", s.Workload, s.System, s.Error, s.Path)
		}
	}
}

// Profiling is refused where there is no perf.
func TestProfileNeedsPerf(t *testing.T) {
	testenv.NeedRoot(t)
	t.Setenv("PATH", t.TempDir())
	o := Options{Tools: built, Form: Quick, Rounds: 1, Time: time.Second, Workloads: []string{"pingpong-1"}, Systems: []string{"netcon"}, Profile: t.TempDir()}
	_, err := o.plan()
	if !errors.Is(err, ErrInput) || !strings.Contains(err.Error(), "program perf is not installed") {
		t.Errorf("%v, want the missing program", err)
	}
}
