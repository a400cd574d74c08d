// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"strconv"
	"strings"
	"testing"

	"netcon/dataplane/wire"
)

// VXLAN says how KernelVXLAN makes its device.
type VXLAN struct {
	Dev   string // "" is vx0
	VNI   uint32
	Local string // outer address, of either family
	Lower string // device below, needed for a multicast or link-local remote

	// Remotes are the VTEPs that frames without a better entry go to, a copy
	// to each (head-end replication). FDB sends single MAC addresses
	// elsewhere: MAC to VTEP.
	Remotes []string
	FDB     map[string]string

	NoLearning bool
	Port       int    // 0 is 4789
	Addrs      string // inner addresses, as for Veth
	MAC        string // "" lets the kernel choose
	MTU        int    // 0 lets the kernel choose, which is 1500 without Lower
}

// KernelVXLAN makes the Linux kernel's own vxlan device: the stock peer.
func KernelVXLAN(t testing.TB, ns *NetNS, v VXLAN) {
	t.Helper()
	if v.Dev == "" {
		v.Dev = "vx0"
	}
	if v.Port == 0 {
		v.Port = wire.VXLANPort
	}
	cmd := []string{"link", "add", v.Dev}
	if v.MAC != "" {
		cmd = append(cmd, "address", v.MAC)
	}
	if v.MTU != 0 {
		cmd = append(cmd, "mtu", strconv.Itoa(v.MTU))
	}
	cmd = append(cmd, "type", "vxlan", "id", strconv.FormatUint(uint64(v.VNI), 10),
		"dstport", strconv.Itoa(v.Port), "local", v.Local)
	if v.Lower != "" {
		cmd = append(cmd, "dev", v.Lower)
	}
	if v.NoLearning {
		cmd = append(cmd, "nolearning")
	}
	if strings.Contains(v.Local, ":") {
		// Stock receivers drop a zero checksum over IPv6, and so do we.
		cmd = append(cmd, "noudp6zerocsumtx", "noudp6zerocsumrx")
	}
	ns.ip(t, cmd...)
	for _, r := range v.Remotes {
		ns.FDBAppend(t, v.Dev, "00:00:00:00:00:00", r)
	}
	for mac, r := range v.FDB {
		ns.FDBAppend(t, v.Dev, mac, r)
	}
	ns.SetUp(t, v.Dev, v.Addrs)
}

// FDBAppend adds an entry to the forwarding database of a vxlan device. The
// all-zero MAC is the default, which may have several destinations.
func (ns *NetNS) FDBAppend(t testing.TB, dev, mac, vtep string) {
	t.Helper()
	NeedTools(t, "bridge")
	Run(t, ns, "bridge", "fdb", "append", mac, "dev", dev, "dst", vtep, "self", "permanent")
}
