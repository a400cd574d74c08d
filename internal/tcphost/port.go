// SPDX-License-Identifier: Apache-2.0

package tcphost

import (
	"errors"
	"fmt"
	"math/bits"
	"net"

	"golang.org/x/sys/unix"

	"netcon/dataplane/wire"
)

// frameSize is larger than any frame that is received.
const frameSize = 64 << 10

// portBuffer holds what arrives while nobody reads: the kernel's memory for a
// frame counts, not its bytes.
const portBuffer = 64 << 20

// port is the raw socket of one interface.
type port struct {
	fd   int
	name string
	mac  wire.MAC
	buf  []byte

	unsent uint64 // frames that the kernel did not take
}

func htons(v uint16) uint16 { return bits.ReverseBytes16(v) }

// openPort opens a raw socket on an interface of the thread's namespace.
func openPort(name string) (p *port, err error) {
	ifi, err := net.InterfaceByName(name)
	if err != nil {
		return nil, fmt.Errorf("find interface %s: %w", name, err)
	}
	if len(ifi.HardwareAddr) != len(wire.MAC{}) {
		return nil, fmt.Errorf("interface %s: address %s (want Ethernet)", name, ifi.HardwareAddr)
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open packet socket for %s: %w (need CAP_NET_RAW)", name, err)
	}
	defer func() {
		if err != nil {
			unix.Close(fd)
		}
	}()
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1); err != nil {
		return nil, fmt.Errorf("ignore own frames on %s: %w", name, err)
	}
	for _, opt := range []int{unix.SO_RCVBUFFORCE, unix.SO_SNDBUFFORCE} {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, opt, portBuffer); err != nil {
			return nil, fmt.Errorf("set buffer of %s to %d: %w (need CAP_NET_ADMIN)", name, portBuffer, err)
		}
	}
	sa := unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: ifi.Index}
	if err := unix.Bind(fd, &sa); err != nil {
		return nil, fmt.Errorf("bind packet socket to %s: %w", name, err)
	}
	p = &port{fd: fd, name: name, buf: make([]byte, frameSize)}
	copy(p.mac[:], ifi.HardwareAddr)
	return p, nil
}

// read returns the next frame, nil if there is none. It is valid until the next
// read.
func (p *port) read() wire.Ethernet {
	for {
		n, err := unix.Read(p.fd, p.buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil // EAGAIN; ENETDOWN comes back as silence
		}
		if eth, ok := wire.ParseEthernet(p.buf[:n]); ok {
			return eth
		}
	}
}

func (p *port) write(frame []byte) {
	if _, err := unix.Write(p.fd, frame); err != nil {
		p.unsent++
	}
}

// overrun returns how many frames the socket had no room for since the last
// call.
func (p *port) overrun() uint64 {
	s, err := unix.GetsockoptTpacketStats(p.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil {
		return 0
	}
	return uint64(s.Drops)
}

func (p *port) close() { unix.Close(p.fd) }
