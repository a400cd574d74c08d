// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"netcon/internal/testenv"
)

// left names what a site left behind.
func left(id string) (names []string) {
	for _, pattern := range []string{"/run/netns/" + id + "-*", filepath.Join(os.TempDir(), scratchPrefix+id)} {
		paths, _ := filepath.Glob(pattern)
		names = append(names, paths...)
	}
	if pid, _, ok := parseID(id); ok {
		sockets, _ := filepath.Glob(wireguardSocket(wireguardDevice(pid, "*")))
		names = append(names, sockets...)
	}
	for _, pid := range owned(id, nil) {
		names = append(names, "process "+strconv.Itoa(pid))
	}
	return names
}

// Whatever ends the bench, nothing stays: the reaper sees to it, also where the
// bench is not asked.
func TestKilled(t *testing.T) {
	testenv.NeedRoot(t)
	for _, sig := range []unix.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGKILL} {
		t.Run(sig.String(), func(t *testing.T) {
			cmd, id := startBench(t)
			if err := unix.Kill(cmd.Process.Pid, sig); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			testenv.WaitFor(t, time.Minute, func() bool { return len(left(id)) == 0 })
		})
	}
}

// When the reaper is killed, too, the next start removes what is left.
func TestNextStart(t *testing.T) {
	testenv.NeedRoot(t)
	cmd, id := startBench(t)
	children := testenv.Run(t, nil, "pgrep", "-P", strconv.Itoa(cmd.Process.Pid), "-f", ReapCommand)
	reaper, err := strconv.Atoi(strings.TrimSpace(children))
	if err != nil {
		t.Fatalf("reaper: %q", children)
	}
	if err := errors.Join(unix.Kill(reaper, unix.SIGKILL), unix.Kill(cmd.Process.Pid, unix.SIGKILL)); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if len(left(id)) == 0 {
		t.Fatal("nothing was left: the test shows nothing")
	}
	newSite(t)
	if l := left(id); len(l) != 0 {
		t.Errorf("left after the next start: %q", l)
	}
}

// startBench starts a bench of its own and returns it in the middle of a run,
// with the id of its site.
func startBench(t *testing.T) (*exec.Cmd, string) {
	t.Helper()
	cmd := exec.Command(built.Exe, "bench", "-quick", "-workloads", "pingpong-1", "-time", "30s", "-o", t.TempDir())
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	start, err := startTime(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	id := idPrefix + strconv.Itoa(cmd.Process.Pid) + "-" + strconv.FormatUint(start, 10)
	testenv.WaitFor(t, time.Minute, func() bool {
		for _, pid := range owned(id, nil) {
			if b, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/comm"); strings.TrimSpace(string(b)) == "echoload" {
				return true
			}
		}
		return false
	})
	return cmd, id
}

// kernelThings are what a site has in the kernel that a name does not show.
type kernelThings struct {
	namespaces map[uint64]bool // by inode
	programs   map[ebpf.ProgramID]bool
}

// note adds what the site has now.
func (k *kernelThings) note(id string) {
	paths, _ := filepath.Glob("/run/netns/" + id + "-*")
	for _, path := range paths {
		var st unix.Stat_t
		if unix.Stat(path, &st) == nil {
			k.namespaces[st.Ino] = true
		}
	}
	for _, pid := range owned(id, nil) {
		infos, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fdinfo/*", pid))
		for _, path := range infos {
			b, _ := os.ReadFile(path)
			for line := range strings.Lines(string(b)) {
				if v, ok := strings.CutPrefix(line, "prog_id:"); ok {
					if n, err := strconv.ParseUint(strings.TrimSpace(v), 10, 32); err == nil && n > 0 {
						k.programs[ebpf.ProgramID(n)] = true
					}
				}
			}
		}
	}
}

// left names what of it is still there: who is in a namespace, and programs. A
// namespace that nobody is in and that has no name is no more, nor are its
// devices.
func (k *kernelThings) left() (names []string) {
	procs, _ := filepath.Glob("/proc/[0-9]*/ns/net")
	for _, path := range procs {
		var st unix.Stat_t
		if unix.Stat(path, &st) == nil && k.namespaces[st.Ino] {
			names = append(names, path)
		}
	}
	for id := range k.programs {
		if p, err := ebpf.NewProgramFromID(id); err == nil {
			_ = p.Close()
			names = append(names, fmt.Sprintf("program %d", id))
		}
	}
	return names
}

// The quick form, ended at any moment, leaves nothing: no namespace, process,
// file, XDP program or device.
func TestKilledAnytime(t *testing.T) {
	testenv.NeedRoot(t)
	testenv.NeedTools(t, "nginx", "wrk", "redis-server", "redis-benchmark", "iperf3")
	moments := 10
	if testing.Short() {
		moments = 3
	}
	random := rand.New(rand.NewPCG(7, 7))
	programs := 0
	for i := range moments {
		sig := []unix.Signal{unix.SIGKILL, unix.SIGINT, unix.SIGTERM}[i%3]
		// The form with short samples takes ten seconds or more.
		moment := time.Duration(random.Int64N(int64(8 * time.Second)))
		cmd := exec.Command(built.Exe, "bench", "-quick", "-rounds", "1", "-time", "100ms", "-o", t.TempDir())
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		start, err := startTime(cmd.Process.Pid)
		if err != nil {
			t.Fatal(err)
		}
		id := idPrefix + strconv.Itoa(cmd.Process.Pid) + "-" + strconv.FormatUint(start, 10)
		seen := kernelThings{map[uint64]bool{}, map[ebpf.ProgramID]bool{}}
		for end := time.Now().Add(moment); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
			seen.note(id)
		}
		seen.note(id)
		if err := unix.Kill(cmd.Process.Pid, sig); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		var l []string
		for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
			if l = append(left(id), seen.left()...); len(l) == 0 {
				break
			}
		}
		if len(l) > 0 {
			t.Errorf("%v after %v: left %q", sig, moment, l)
		}
		t.Logf("%v after %v: %d namespaces and %d programs, all gone", sig, moment.Round(time.Millisecond), len(seen.namespaces), len(seen.programs))
		programs += len(seen.programs)
	}
	if programs == 0 {
		t.Error("no XDP program was seen: the test shows nothing of those")
	}
}
