// SPDX-License-Identifier: Apache-2.0

package udplink

import (
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// softwareDrivers are drivers whose devices pass frames on inside one host, as
// the kernel holds them: with checksums that hardware was to finish.
var softwareDrivers = map[string]bool{
	"veth": true, "bridge": true, "tun": true, "virtio_net": true, "macvlan": true, "dummy": true,
}

// Software reports whether the interface that holds local is a software device.
// Through such a device a kernel of the same host sends inner packets whose
// transport checksums are unfinished: the outer checksum is completed or vouched
// for, the inner one is payload to a UDP socket. Loopback is none: what comes
// that way comes from another daemon, complete, and a damaged packet must not
// pass because its checksum happens to look unfinished.
func Software(local netip.Addr) bool {
	ifc, err := interfaceOf(local.Unmap())
	if err != nil || ifc.Flags&net.FlagLoopback != 0 {
		return false
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer func() { _ = unix.Close(fd) }()
	info, err := unix.IoctlGetEthtoolDrvinfo(fd, ifc.Name)
	return err == nil && softwareDrivers[unix.ByteSliceToString(info.Driver[:])]
}
