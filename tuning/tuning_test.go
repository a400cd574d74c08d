// SPDX-License-Identifier: Apache-2.0

package tuning

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"netcon/internal/testenv"
)

func TestSurvey(t *testing.T) {
	h, _ := newFake(t)
	list := h.survey(fakeConfig)
	for _, want := range []struct {
		name, now, want string
		verdict         Verdict
	}{
		{"governor of cpu 2", "powersave", "performance", Change},
		{"governor of cpu 3", "performance", "performance", OK},
		{"nmi watchdog", "1", "0", Change},
		{"numa balancing", "0", "0", OK},
		{"isolated cores", "none", "2-3", Manual},
		{"transparent hugepages", "never", "madvise", Change},
		{"queues", "4", "2", Change},
		{"rx ring", "256", "4095", Change},
		{"tx ring", "512", "512", OK},
		{"flow hash", "sd", "sdfn", Change},
		{"mtu", "1500", "1550", Manual},
		{"rx-lro", "on", "off", Change},
		{"rx-gro-hw", "", "off", Unavailable},
		{"rx-vlan-hw-parse", "off", "off", OK},
		{"interrupt 24", "0-3", "0-1", Change},
		{"interrupt 25", "1", "1", OK},
		{"irqbalance", "running", "not running", Manual},
		{"adaptive coalescing", "1", "0", Change},
		{"deferred interrupts", "0", "2", Change},
		{"gro timer", "0", "200000", Change},
	} {
		s := find(t, list, want.name)
		if s.Now != want.now || s.Want != want.want || s.Verdict != want.verdict {
			t.Errorf("%s: %q, want %q, verdict %s (%s); not %q %q %s", s.Name, s.Now, s.Want, s.Verdict, s.Problem, want.now, want.want, want.verdict)
		}
		if s.Reason == "" || s.How == "" || s.Verdict == Unavailable && s.Problem == "" {
			t.Errorf("%s: without a reason or a way: %+v", s.Name, s)
		}
	}
	// More workers than the device can have queues.
	many := fakeConfig
	many.Workers = 5
	if s := find(t, h.survey(many), "queues"); s.Verdict != Manual || s.How != "workers = 4 in [daemon]" {
		t.Errorf("%+v", s)
	}
	// A UDP underlay has socket buffers instead of queues.
	list = h.survey(Config{Workers: 2})
	if s := find(t, list, "rmem_max"); s.Verdict != Change || s.Want != "8388608" {
		t.Errorf("rmem_max: %+v", s)
	}
	if s := find(t, list, "wmem_max"); s.Verdict != OK {
		t.Errorf("wmem_max, which is larger: %+v", s)
	}
	if s := find(t, list, "pinned workers"); s.Verdict != Manual {
		t.Errorf("pinned workers: %+v", s)
	}
}

// TestApplyRevert: every value that was touched is as before, whatever the order
// in which a device forgets.
func TestApplyRevert(t *testing.T) {
	h, n := newFake(t)
	file := filepath.Join(t.TempDir(), "state")
	before := h.snapshot(n)
	heard := 0
	done, err := h.apply(fakeConfig, file, func(Result) { heard++ })
	if err != nil || heard != len(done) {
		t.Fatalf("%d results, %d heard of: %v", len(done), heard, err)
	}
	for _, r := range done {
		if r.Problem != "" {
			t.Errorf("%s: %s", r.Name, r.Problem)
		}
	}
	for _, s := range h.survey(fakeConfig) {
		if s.Verdict == Change && s.Name != "rx ring" { // which the driver rounds down
			t.Errorf("after apply: %+v", s)
		}
	}
	// A second time changes what is asked for, and keeps what it was at first.
	other := fakeConfig
	other.Workers, other.BusyPoll = 1, false
	if _, err := h.apply(other, file, nil); err != nil || n.channels.CombinedCount != 1 {
		t.Fatalf("%d queues: %v", n.channels.CombinedCount, err)
	}
	done, err = h.revert(file, false, nil)
	if err != nil || len(done) == 0 {
		t.Fatalf("%d results: %v", len(done), err)
	}
	for _, r := range done {
		if r.Problem != "" {
			t.Errorf("revert %s: %s", r.Name, r.Problem)
		}
	}
	if after := h.snapshot(n); !maps.Equal(before, after) {
		for k := range before {
			if before[k] != after[k] {
				t.Errorf("%s: %q, was %q", k, after[k], before[k])
			}
		}
	}
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("the state file is still there: %v", err)
	}
	if done, err := h.revert(file, false, nil); err != nil || len(done) != 0 {
		t.Errorf("revert of nothing: %v %v", done, err)
	}
}

// TestCrash: whatever write an apply ended before or after, revert restores all.
func TestCrash(t *testing.T) {
	for at := range 12 {
		h, n := newFake(t)
		file := filepath.Join(t.TempDir(), "state")
		before := h.snapshot(n)
		func() {
			defer func() { _ = recover() }()
			_, _ = h.apply(fakeConfig, file, func(Result) {
				if at--; at < 0 {
					panic("crash")
				}
			})
		}()
		done, err := h.revert(file, false, nil)
		if err != nil {
			t.Fatal(err)
		}
		if after := h.snapshot(n); !maps.Equal(before, after) {
			t.Errorf("crash %d: %v\n%v\n%v", at, done, before, after)
		}
	}
}

func TestRefused(t *testing.T) {
	h, n := newFake(t)
	n.refuse = unix.EBUSY
	file := filepath.Join(t.TempDir(), "state")
	before := h.snapshot(n)
	done, err := h.apply(fakeConfig, file, nil)
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	for _, r := range done {
		if r.Problem != "" {
			refused++
			if !strings.Contains(r.Problem, "device or resource busy") || r.After != r.Before || r.Knob == "" {
				t.Errorf("%+v", r)
			}
		}
	}
	if refused < 4 {
		t.Errorf("%d refused: %v", refused, done)
	}
	if _, err := h.revert(file, false, nil); err != nil {
		t.Fatal(err)
	}
	if after := h.snapshot(n); !maps.Equal(before, after) {
		t.Errorf("after revert: %v, was %v", after, before)
	}
}

// TestSomebodyElse: what was changed since is not ours to put back.
func TestSomebodyElse(t *testing.T) {
	h, _ := newFake(t)
	file := filepath.Join(t.TempDir(), "state")
	if _, err := h.apply(fakeConfig, file, nil); err != nil {
		t.Fatal(err)
	}
	const governor = "/sys/devices/system/cpu/cpu2/cpufreq/scaling_governor"
	h.put(t, governor, "schedutil")
	for _, force := range []bool{false, true} {
		done, err := h.revert(file, force, nil)
		if err != nil {
			t.Fatal(err)
		}
		var r Result
		for _, x := range done {
			if x.Name == "governor of cpu 2" {
				r = x
			}
		}
		want := map[bool]string{false: "schedutil", true: "powersave"}[force]
		if got := h.read(governor); got != want || (r.Problem == "") != force {
			t.Errorf("force %t: governor %q, want %q: %+v", force, got, want, r)
		}
	}
}

func TestState(t *testing.T) {
	h, _ := newFake(t)
	file := filepath.Join(t.TempDir(), "state")
	for _, tt := range []struct{ text, want string }{
		{"{", "unexpected end"},
		{`{"boot":"boot-1","saved":[{"knob":"file /etc/passwd","before":"x","after":"y"}]}`, "unknown"},
		{`{"boot":"boot-1","saved":[{"knob":"file /sys/../etc/passwd","before":"x","after":"y"}]}`, "unknown"},
		{`{"boot":"boot-1","saved":[{"knob":"file /proc/none","before":"x","after":"y"}]}`, "not on this host"},
		{`{"boot":"boot-1","saved":[{"knob":"channels eth0 x"}]}`, "unknown"},
	} {
		if err := os.WriteFile(file, []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		done, err := h.revert(file, true, nil)
		if got := fmt.Sprint(done, err); !strings.Contains(got, tt.want) {
			t.Errorf("%s: %s, want %q", tt.text, got, tt.want)
		}
	}
	// A reboot has undone it already.
	if err := os.WriteFile(file, []byte(`{"boot":"boot-0","saved":[{"knob":"file /proc/sys/kernel/nmi_watchdog","before":"7","after":"1"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if done, err := h.revert(file, false, nil); err != nil || len(done) != 0 || h.read("/proc/sys/kernel/nmi_watchdog") != "1" {
		t.Errorf("%v %v", done, err)
	}
	// One at a time.
	st, err := h.openState(file)
	if err != nil {
		t.Fatal(err)
	}
	defer st.close()
	if _, err := h.apply(fakeConfig, file, nil); err == nil || !strings.Contains(err.Error(), "another netcon tune") {
		t.Errorf("two at once: %v", err)
	}
}

func TestCPUSet(t *testing.T) {
	for text, want := range map[string]string{
		"0-3,8": "0-3,8", "3,1,2": "1-3", "": "", "x": "", "5-4": "", "-1": "", "0-99999999": "", " 1 , 3 ": "1,3",
	} {
		if got := parseCPUs(text).String(); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// TestVeth applies to a real device, and looks at it with ethtool.
func TestVeth(t *testing.T) {
	testenv.NeedRoot(t)
	testenv.NeedTools(t, "ethtool")
	ns := testenv.NewNetNS(t, "tune")
	testenv.Run(t, ns, "ip", "link", "add", "eth0", "numtxqueues", "4", "numrxqueues", "4", "type", "veth", "peer", "name", "eth1")
	testenv.Run(t, ns, "ethtool", "-L", "eth0", "rx", "4", "tx", "4")
	file := filepath.Join(t.TempDir(), "state")
	look := func() string {
		return testenv.Run(t, ns, "ethtool", "-l", "eth0") + testenv.Run(t, ns, "ethtool", "-k", "eth0")
	}
	before := look()
	// The real knobs of a device, with nothing of this host behind them.
	h, end, err := thisHost()
	if err != nil {
		t.Fatal(err)
	}
	end()
	h.root = t.TempDir()
	inside := func(f func()) {
		ns.Do(t, func() {
			// Its socket belongs to a namespace.
			n, end, err := thisHost()
			if err != nil {
				t.Error(err)
				return
			}
			defer end()
			h.nic = n.nic
			f()
		})
	}
	inside(func() {
		list, err := Survey(Config{Device: "eth0", Workers: 2, XDP: true})
		if err != nil {
			t.Error(err)
			return
		}
		if s := find(t, list, "queues"); s.Verdict != Change || s.Now != "4" || s.Knob != "channels eth0 rx" {
			t.Errorf("%+v", s)
		}
		if s := find(t, list, "checksums of the veth's peer"); s.Verdict != Manual {
			t.Errorf("%+v", s)
		}
		done, err := h.apply(Config{Device: "eth0", Workers: 2, XDP: true}, file, nil)
		if err != nil || len(done) == 0 {
			t.Errorf("%v %v", done, err)
		}
		for _, r := range done {
			if r.Problem != "" {
				t.Errorf("%+v", r)
			}
		}
	})
	if got := testenv.Run(t, ns, "ethtool", "-l", "eth0"); strings.Count(got, "RX:\t\t2") != 1 {
		t.Errorf("after apply:\n%s", got)
	}
	inside(func() {
		if done, err := h.revert(file, false, nil); err != nil || len(done) == 0 {
			t.Errorf("%v %v", done, err)
		}
	})
	if after := look(); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}
