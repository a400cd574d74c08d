// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"netcon/internal/testenv"
)

// The bench's programs, built once: the bench finds everything beside netcon.
var built Tools

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "netcon-test-bench-")
		if err != nil {
			panic(err)
		}
		defer func() { _ = os.RemoveAll(dir) }()
		if err := os.Chmod(dir, 0o755); err != nil {
			panic(err)
		}
		built = Tools{Exe: filepath.Join(dir, "netcon"), Shim: filepath.Join(dir, "libnetcon.so"), Dir: filepath.Join(dir, "bench-tools")}
		for _, argv := range [][]string{
			{"go", "build", "-o", built.Exe, "netcon/cmd/netcon"},
			{"go", "build", "-o", filepath.Join(built.Dir, "faultwire"), "netcon/internal/testenv/faultwire"},
			{"make", "-s", "-C", "../preload", "BUILD=" + dir},
			{"make", "-s", "-C", "tools", "BUILD=" + dir},
		} {
			cmd := exec.Command(argv[0], argv[1:]...)
			cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
			if err := cmd.Run(); err != nil {
				panic(strings.Join(argv, " ") + ": " + err.Error())
			}
		}
		return m.Run()
	}())
}

// newSite makes a site that is gone when the test ends.
func newSite(t *testing.T) *Site {
	t.Helper()
	testenv.NeedRoot(t)
	s, err := NewSite(built)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func samplesOf(t *testing.T, o Options) (samples []*Sample) {
	t.Helper()
	testenv.NeedRoot(t)
	o.Tools = built
	err := Run(t.Context(), o, func(r Record) error {
		if r.Sample != nil {
			samples = append(samples, r.Sample)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return samples
}

// Both systems are measured in turns, and both prove their path.
func TestPingPong(t *testing.T) {
	samples := samplesOf(t, Options{Form: Quick, Rounds: 2, Time: 200 * time.Millisecond, Workloads: []string{"pingpong-64"}})
	if len(samples) != 4 {
		t.Fatalf("%d samples, want 2 rounds of 2 systems", len(samples))
	}
	for i, s := range samples {
		if want := []string{Baseline, Default}[i%2]; s.System != want || s.Round != i/2 {
			t.Errorf("sample %d is round %d of %s, want round %d of %s", i, s.Round, s.System, i/2, want)
		}
		if s.Error != "" || !s.OK() || s.Value <= 0 || s.Latency == nil || s.Paced == nil || s.CPU == nil {
			t.Errorf("%s: %+v, path %+v", s.System, s, s.Path)
			continue
		}
		if s.System == Default && (s.Path.Server.Bytes == 0 || s.Path.Server.KernelTCP != 0 || s.Path.Client.KernelTCP == 0) {
			t.Errorf("path %+v", s.Path)
		}
	}
}

// The program itself says in one line what is missing, ends with status 2 and has
// made nothing: not as somebody who may not, nor where a program is not installed.
func TestRefused(t *testing.T) {
	testenv.NeedRoot(t)
	for name, c := range map[string]struct {
		change func(*exec.Cmd)
		want   string
	}{
		"no privileges": {func(cmd *exec.Cmd) {
			cmd.SysProcAttr = &unix.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		}, "network namespaces take root with CAP_SYS_ADMIN and CAP_NET_ADMIN (uid is 65534)"},
		"no capabilities": {func(cmd *exec.Cmd) {
			cmd.Path, cmd.Args = "/usr/bin/setpriv", append([]string{"setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin"}, cmd.Args...)
		}, "network namespaces take root with CAP_SYS_ADMIN and CAP_NET_ADMIN (uid is 0)"},
		"no program": {func(cmd *exec.Cmd) { cmd.Env = []string{"PATH=/nonexistent"} }, "program ip is not installed (make benchdeps)"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.Chmod(dir, 0o777); err != nil {
				t.Fatal(err)
			}
			out := filepath.Join(dir, "out")
			cmd := exec.Command(built.Exe, "bench", "-quick", "-o", out)
			cmd.Dir = "/"
			c.change(cmd)
			var stdout, stderr bytes.Buffer
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			err := cmd.Run()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != 2 || !strings.Contains(stderr.String(), c.want) || strings.Count(stderr.String(), "\n") != 1 {
				t.Errorf("%v: %q, want status 2 and one line with %q", err, stderr.String(), c.want)
			}
			if _, err := os.Stat(out); err == nil || stdout.Len() > 0 {
				t.Errorf("something was made, or said: %q", stdout.String())
			}
			if paths, _ := filepath.Glob("/run/netns/" + idPrefix + strconv.Itoa(cmd.Process.Pid) + "-*"); len(paths) > 0 {
				t.Errorf("left: %q", paths)
			}
		})
	}
}

// Profiles come after a workload's samples, and a run that is profiled fills the
// bar, not more.
func TestProfiledRun(t *testing.T) {
	testenv.NeedRoot(t)
	testenv.NeedTools(t, "perf")
	var profiles []*Profile
	var bar bytes.Buffer
	o := Options{Tools: built, Form: Quick, Rounds: 1, Time: 300 * time.Millisecond, Workloads: []string{"pingpong-64"}, Profile: t.TempDir(), Progress: &bar}
	err := Run(t.Context(), o, func(r Record) error {
		if r.Profile != nil {
			profiles = append(profiles, r.Profile)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(profiles) != 1 || profiles[0].System != Default || profiles[0].Error != "" {
		for _, p := range profiles {
			t.Errorf("%+v", *p)
		}
		t.Fatalf("%d profiles, want one of %s", len(profiles), Default)
	}
	sum := 0.0
	for _, s := range profiles[0].Parts {
		sum += s.Percent
		if s.Name == otherPart.name && s.Percent > 20 {
			t.Errorf("%.0f%% of the time has no name: %+v", s.Percent, profiles[0].Callers)
		}
	}
	if sum < 99.9 || sum > 100.1 {
		t.Errorf("the parts are %v%%", sum)
	}
	if b, err := os.ReadFile(filepath.Join(o.Profile, "pingpong-64-netcon.txt")); err != nil || !strings.Contains(string(b), "by part\n") {
		t.Errorf("%s (%v)", b, err)
	}
	plans, err := o.plan()
	if err != nil {
		t.Fatal(err)
	}
	if o.estimate(plans) <= time.Second || !strings.Contains(bar.String(), "]   0%  ") {
		t.Errorf("estimated %v:\n%s", o.estimate(plans), bar.String())
	}
}

// The full form compares every baseline where the traffic fits, keeps to its
// time, and has every workload's default.
func TestFullForm(t *testing.T) {
	for _, c := range []struct {
		o    Options
		most time.Duration
	}{
		{Options{Form: Quick, Rounds: 5, Time: 400 * time.Millisecond}, 2 * time.Minute},
		{Options{Form: Full, Rounds: 5, Time: time.Second, Profile: "x"}, 28 * time.Minute},
	} {
		plans, err := c.o.choose()
		if err != nil {
			t.Fatal(err)
		}
		if d := c.o.estimate(plans); d > c.most {
			t.Errorf("the %s form takes %v, more than %v", c.o.Form, d, c.most)
		}
		seen := map[string]bool{}
		for _, p := range plans {
			var names []string
			for _, s := range p.systems {
				names = append(names, s.Name())
				seen[s.Name()] = true
			}
			if !slices.Equal(names, []string{alone}) && !slices.Equal(names[:2], []string{Baseline, Default}) {
				t.Errorf("%s compares %q", p.Name, names)
			}
		}
		for _, name := range everySystem {
			if c.o.Form == Full && !seen[name] {
				t.Errorf("the full form does not compare %s", name)
			}
		}
	}
}

// What makes no sense is refused in one line, before anything is made.
func TestBadInput(t *testing.T) {
	good := Options{Tools: built, Form: Quick, Rounds: 1, Time: time.Second}
	for name, c := range map[string]struct {
		change func(*Options)
		want   string
	}{
		"system":    {func(o *Options) { o.Systems = []string{"token-ring"} }, `system "token-ring": unknown (one of `},
		"parameter": {func(o *Options) { o.Systems = []string{"netcon+wire=wet"} }, `parameter "wire": unknown (`},
		"value":     {func(o *Options) { o.Systems = []string{"netcon+underlay=snail"} }, `underlay="snail": unknown (one of xdp, udp)`},
		"none":      {func(o *Options) { o.Systems = []string{"kernel-veth+x=y"} }, `parameter "x": unknown (it has none)`},
		"workload":  {func(o *Options) { o.Workloads = []string{"chess"} }, `workload "chess": unknown (one of pingpong-1, `},
		"rounds":    {func(o *Options) { o.Rounds = 0 }, "0 rounds: out of range (1 to 1000)"},
		"time":      {func(o *Options) { o.Time = time.Hour }, "samples of 1h0m0s: out of range"},
		"tools":     {func(o *Options) { o.Dir = "/nonexistent" }, "/nonexistent/echod is missing (make build bench-tools)"},
	} {
		t.Run(name, func(t *testing.T) {
			o := good
			c.change(&o)
			dir := filepath.Join(t.TempDir(), "out")
			err := Save(context.Background(), o, dir, new(bytes.Buffer))
			if !errors.Is(err, ErrInput) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%v, want one line with %q", err, c.want)
			}
			if _, err := os.Stat(dir); err == nil {
				t.Error("a directory was made")
			}
		})
	}
	t.Run("program", func(t *testing.T) {
		t.Setenv("PATH", t.TempDir())
		o := good
		o.Systems = []string{"userspace-tun"}
		if _, err := o.plan(); !errors.Is(err, ErrInput) || !strings.Contains(err.Error(), "program wireguard-go is not installed") {
			t.Errorf("%v, want the missing program", err)
		}
	})
}
