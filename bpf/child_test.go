// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"netcon/internal/testenv"
)

const (
	// childDevice asks the test binary to be another daemon: to load, to attach
	// to this interface, to say so and to stay.
	childDevice = "NETCON_TEST_DEVICE"
	// childDrop is set to the capabilities it gives up first, a bit mask.
	childDrop = "NETCON_TEST_DROP"
)

func TestMain(m *testing.M) {
	if dev := os.Getenv(childDevice); dev != "" {
		p, err := child(dev)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("attached")
		time.Sleep(time.Hour)
		runtime.KeepAlive(p)
	}
	os.Exit(m.Run())
}

func child(dev string) (*Program, error) {
	runtime.LockOSThread() // capabilities are a thread's
	var drop uint64
	if _, err := fmt.Sscan(os.Getenv(childDrop), &drop); err == nil {
		if err := dropCapabilities(drop); err != nil {
			return nil, err
		}
	}
	p, err := Load(Config{VTEP: vtep4, Ports: []uint16{4789}, Queues: 1})
	if err != nil {
		return nil, err
	}
	ifc, err := net.InterfaceByName(dev)
	if err != nil {
		return nil, err
	}
	return p, p.Attach(ifc.Index, Auto)
}

func dropCapabilities(mask uint64) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return err
	}
	for i := range data {
		data[i].Effective &^= uint32(mask >> (32 * i))
	}
	return unix.Capset(&header, &data[0])
}

// another starts the test binary as another daemon.
func another(t *testing.T, ns *testenv.NetNS, dev string, drop uint64) *testenv.Process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	argv := append(ns.Prefix(), self)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), childDevice+"="+dev, fmt.Sprintf("%s=%d", childDrop, drop))
	return testenv.StartCmd(t, cmd)
}
