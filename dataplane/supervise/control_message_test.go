// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"encoding/binary"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"netcon/shm"
)

func cmsg(level, kind int, data ...byte) []byte {
	c := controls{room: controlMax}
	c.put(level, kind, data)
	return c.b
}

func TestTakeControls(t *testing.T) {
	const tos = unix.IP_TOS
	long := cmsg(unix.IPPROTO_IP, tos, 7)
	binary.NativeEndian.PutUint64(long, 100)
	short := cmsg(unix.IPPROTO_IP, tos, 7)
	binary.NativeEndian.PutUint64(short, unix.SizeofCmsghdr-1)
	for _, c := range []struct {
		name      string
		b         []byte
		six, icmp bool
		want      shm.Datagram
		e         syscall.Errno
	}{
		{name: "nothing"},
		{name: "less than a header", b: make([]byte, 15)},
		{name: "longer than there is", b: long, e: unix.EINVAL},
		{name: "shorter than its header", b: short, e: unix.EINVAL},
		{name: "TTL", b: cmsg(unix.IPPROTO_IP, unix.IP_TTL, 9, 0, 0, 0), want: shm.Datagram{Flags: shm.DatagramTTL, Ttl: 9}},
		{name: "TTL of 0", b: cmsg(unix.IPPROTO_IP, unix.IP_TTL, 0, 0, 0, 0), e: unix.EINVAL},
		{name: "TTL in a byte", b: cmsg(unix.IPPROTO_IP, unix.IP_TTL, 9), e: unix.EINVAL},
		{name: "two", b: append(cmsg(unix.IPPROTO_IP, tos, 7), cmsg(unix.IPPROTO_IP, unix.IP_TTL, 9, 0, 0, 0)...), want: shm.Datagram{
			Flags: shm.DatagramTTL | shm.DatagramTOS, Ttl: 9, Tos: 7,
		}},
		{name: "source", b: cmsg(unix.IPPROTO_IP, unix.IP_PKTINFO, 0, 0, 0, 0, 10, 0, 0, 1, 0, 0, 0, 0), want: shm.Datagram{
			Local: shm.Addr{Family: unix.AF_INET, Ip: [16]uint8{10, 0, 0, 1}},
		}},
		{name: "mapped source", b: cmsg(unix.IPPROTO_IP, unix.IP_PKTINFO, 0, 0, 0, 0, 10, 0, 0, 1, 0, 0, 0, 0), six: true, want: shm.Datagram{
			Local: shm.Addr{Family: unix.AF_INET6, Ip: [16]uint8{10: 0xff, 11: 0xff, 12: 10, 15: 1}},
		}},
		{name: "no source", b: cmsg(unix.IPPROTO_IP, unix.IP_PKTINFO, make([]byte, 12)...)},
		{name: "short source", b: cmsg(unix.IPPROTO_IP, unix.IP_PKTINFO, make([]byte, 11)...), e: unix.EINVAL},
		{name: "IPv6 on IPv4", b: cmsg(unix.IPPROTO_IPV6, unix.IPV6_TCLASS, 5, 0, 0, 0)},
		{name: "traffic class", b: cmsg(unix.IPPROTO_IPV6, unix.IPV6_TCLASS, 5, 0, 0, 0), six: true, want: shm.Datagram{Flags: shm.DatagramTOS, Tos: 5}},
		{name: "hop limit of -1", b: cmsg(unix.IPPROTO_IPV6, unix.IPV6_HOPLIMIT, 0xff, 0xff, 0xff, 0xff), six: true},
		{name: "hop limit of 256", b: cmsg(unix.IPPROTO_IPV6, unix.IPV6_HOPLIMIT, 0, 1, 0, 0), six: true, e: unix.EINVAL},
		{name: "unknown", b: cmsg(unix.IPPROTO_IPV6, 999, 0, 0, 0, 0), six: true, e: unix.EINVAL},
		{name: "segments", b: cmsg(unix.IPPROTO_UDP, 103, 0, 1), e: unix.EINVAL},
		{name: "of another level", b: cmsg(unix.SOL_SOCKET, 999, 1)},
	} {
		var got shm.Datagram
		if e := takeControls(&got, c.b, c.six, c.icmp); e != c.e || e == 0 && got != c.want {
			t.Errorf("%s: %v, %+v; want %v, %+v", c.name, e, got, c.e, c.want)
		}
	}
}

// TestPutTruncated: what there is no room for is cut as by put_cmsg.
func TestPutTruncated(t *testing.T) {
	for _, c := range []struct {
		room, length int
		truncated    bool
	}{{0, 0, true}, {15, 0, true}, {16, 16, true}, {19, 19, true}, {20, 20, false}, {23, 23, false}, {24, 24, false}, {99, 24, false}} {
		m := controls{room: c.room}
		m.putInt(unix.IPPROTO_IP, unix.IP_TTL, 64)
		if len(m.b) != c.length || m.truncated != c.truncated {
			t.Errorf("room %d: %d bytes, truncated %v; want %d, %v", c.room, len(m.b), m.truncated, c.length, c.truncated)
		}
	}
}
