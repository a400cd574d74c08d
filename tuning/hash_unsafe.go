// SPDX-License-Identifier: Apache-2.0

package tuning

import (
	"fmt"
	"runtime"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// flowHash reads and writes which fields a device hashes to choose a queue.
// github.com/safchain/ethtool does not have it.
type flowHash interface {
	getHash(device string, flow uint32) (fields uint64, err error)
	setHash(device string, flow uint32, fields uint64) error
}

// ethtoolRXNFC is struct ethtool_rxnfc of <linux/ethtool.h>, with room for the
// flow specification and the rule count that the kernel may touch.
type ethtoolRXNFC struct {
	cmd      uint32
	flowType uint32
	data     uint64
	_        [192]byte
}

// The flow types and fields of ethtool -N DEVICE rx-flow-hash.
const (
	udp4Flow = 0x02 // UDP_V4_FLOW
	udp6Flow = 0x06 // UDP_V6_FLOW
)

// hashFields are the letters of ethtool(8), in the order in which it prints them.
var hashFields = []struct {
	letter byte
	bit    uint64
}{
	{'m', 1 << 1}, {'v', 1 << 2}, {'t', 1 << 3}, {'s', 1 << 4}, {'d', 1 << 5}, {'f', 1 << 6}, {'n', 1 << 7},
}

type ioctlHash struct{}

func (ioctlHash) getHash(device string, flow uint32) (uint64, error) {
	nfc := ethtoolRXNFC{cmd: unix.ETHTOOL_GRXFH, flowType: flow}
	err := ethtoolIoctl(device, unsafe.Pointer(&nfc))
	return nfc.data, err
}

func (ioctlHash) setHash(device string, flow uint32, fields uint64) error {
	nfc := ethtoolRXNFC{cmd: unix.ETHTOOL_SRXFH, flowType: flow, data: fields}
	return ethtoolIoctl(device, unsafe.Pointer(&nfc))
}

// ethtoolIoctl makes one SIOCETHTOOL request. data points to a structure of
// <linux/ethtool.h>.
func ethtoolIoctl(device string, data unsafe.Pointer) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	req := struct { // struct ifreq
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}{data: data}
	if len(device) >= len(req.name) {
		return unix.ENODEV
	}
	copy(req.name[:], device)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&req)))
	runtime.KeepAlive(data)
	if errno != 0 {
		return errno
	}
	return nil
}

// hash is the fields by which a device spreads UDP over its queues, as letters
// of ethtool(8); "-" for none.
func (h *host) hash(device, flow string) (knob, error) {
	number := map[string]uint32{"udp4": udp4Flow, "udp6": udp6Flow}[flow]
	if number == 0 {
		return knob{}, fmt.Errorf("knob %q: unknown", "hash "+device+" "+flow)
	}
	return knob{
		id: "hash " + device + " " + flow,
		get: func() (string, error) {
			bits, err := h.flow.getHash(device, number)
			if err != nil {
				return "", reasonOf(err)
			}
			var s strings.Builder
			for _, f := range hashFields {
				if bits&f.bit != 0 {
					s.WriteByte(f.letter)
				}
			}
			if s.Len() == 0 {
				return "-", nil
			}
			return s.String(), nil
		},
		set: func(value string) error {
			bits := uint64(0)
			for i := 0; i < len(value) && value != "-"; i++ {
				bit := uint64(0)
				for _, f := range hashFields {
					if f.letter == value[i] {
						bit = f.bit
					}
				}
				if bit == 0 {
					return fmt.Errorf("value %q: %q is no field", value, value[i])
				}
				bits |= bit
			}
			return reasonOf(h.flow.setHash(device, number, bits))
		},
	}, nil
}
