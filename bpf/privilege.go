// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// needed are the capabilities that loading takes. CAP_SYS_ADMIN stands for both.
var needed = []struct {
	name string
	bit  uint
}{
	{"CAP_BPF", unix.CAP_BPF},
	{"CAP_NET_ADMIN", unix.CAP_NET_ADMIN},
}

// missingCapabilities returns the names of those of needed that the calling
// thread does not have.
func missingCapabilities() (names []string) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return nil
	}
	effective := uint64(data[1].Effective)<<32 | uint64(data[0].Effective)
	if effective&(1<<unix.CAP_SYS_ADMIN) != 0 {
		return nil
	}
	for _, c := range needed {
		if effective&(1<<c.bit) == 0 {
			names = append(names, c.name)
		}
	}
	return names
}

// notPermitted says why the kernel may have answered EPERM, and the remedy.
func notPermitted(err error) error {
	if missing := missingCapabilities(); len(missing) > 0 {
		return fmt.Errorf("%w: missing %s (run as root, or grant it: systemd AmbientCapabilities=, docker --cap-add)",
			unix.EPERM, strings.Join(missing, " and "))
	}
	if ownUserNamespace() {
		return fmt.Errorf("%w: CAP_BPF and CAP_NET_ADMIN hold in this user namespace only (run it in the host's)", unix.EPERM)
	}
	return fmt.Errorf("%w (all capabilities are there: a container runtime or a security module refuses)", err)
}

// ownUserNamespace reports whether the process is in a user namespace other
// than the first one, whose map is the identity.
func ownUserNamespace() bool {
	b, err := os.ReadFile("/proc/self/uid_map")
	return err == nil && strings.Join(strings.Fields(string(b)), " ") != "0 0 4294967295"
}

// raiseMemlock lifts the limit that maps and programs count against before
// Linux 5.11. It does what it may.
func raiseMemlock() {
	limit := unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}
	if unix.Setrlimit(unix.RLIMIT_MEMLOCK, &limit) == nil {
		return
	}
	if unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit) == nil {
		limit.Cur = limit.Max
		_ = unix.Setrlimit(unix.RLIMIT_MEMLOCK, &limit)
	}
}
