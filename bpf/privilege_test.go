// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"netcon/internal/testenv"
)

const (
	capBPF      = 1 << unix.CAP_BPF
	capNetAdmin = 1 << unix.CAP_NET_ADMIN
	capSysAdmin = 1 << unix.CAP_SYS_ADMIN
)

func TestCapabilities(t *testing.T) {
	testenv.Need(t, "CAP_BPF")
	ns, _ := wire(t, 1500)
	everything := ^uint64(0)
	for _, tt := range []struct {
		name string
		drop uint64
		says []string // nil: it works
		not  string
	}{
		{"CAP_BPF and CAP_NET_ADMIN", everything &^ (capBPF | capNetAdmin), nil, ""},
		{"CAP_SYS_ADMIN", everything &^ capSysAdmin, nil, ""},
		{"all but CAP_BPF", capBPF | capSysAdmin, []string{"missing CAP_BPF (", "run as root"}, "CAP_NET_ADMIN"},
		{"all but CAP_NET_ADMIN", capNetAdmin | capSysAdmin, []string{"missing CAP_NET_ADMIN ("}, "CAP_BPF"},
		{"none", everything, []string{"missing CAP_BPF and CAP_NET_ADMIN ("}, ""},
	} {
		p := another(t, ns, "nic0", tt.drop)
		if tt.says == nil {
			p.WaitOutput(t, 20*time.Second, "attached")
			_ = p.Stop()
			testenv.WaitFor(t, 5*time.Second, func() bool { return attached(t, ns, "nic0") == 0 }, "the program to go")
			continue
		}
		if err := p.Wait(t, 20*time.Second); err == nil {
			t.Errorf("%s: attached", tt.name)
		}
		out := errors.New(strings.TrimSpace(p.Output()))
		contains(t, out, append(tt.says, "load xdp program", "operation not permitted")...)
		if tt.not != "" && strings.Contains(out.Error(), tt.not) || strings.Contains(out.Error(), "MEMLOCK") {
			t.Errorf("%s: %v", tt.name, out)
		}
	}
}

// Who cannot ask for the name of the other program still learns its id.
func TestHolderWithoutSysAdmin(t *testing.T) {
	ns, _ := wire(t, 1500)
	p := load(t, overlay4)
	if err := attach(t, ns, "nic0", p, Auto); err != nil {
		t.Fatal(err)
	}
	other := another(t, ns, "nic0", capSysAdmin)
	if err := other.Wait(t, 20*time.Second); err == nil {
		t.Error("attached")
	}
	contains(t, errors.New(other.Output()), "nic0", "busy", fmt.Sprintf("id %d,", attached(t, ns, "nic0")), "ip link show dev nic0")
}

// All capabilities, but only over a user namespace of its own.
func TestUserNamespace(t *testing.T) {
	testenv.NeedRoot(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), childDevice+"=lo")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{HostID: 0, ContainerID: 0, Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: 0, ContainerID: 0, Size: 1}},
	}
	p := testenv.StartCmd(t, cmd)
	if err := p.Wait(t, 20*time.Second); err == nil {
		t.Error("attached")
	}
	contains(t, errors.New(p.Output()), "load xdp program", "operation not permitted", "user namespace")
}
