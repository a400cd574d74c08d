// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"encoding/binary"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"netcon/shm"
)

// action runs the filter on one system call. The machine of x/net reads words in
// network byte order, the kernel's in its own.
func action(t *testing.T, arch, nr uint32, args [6]uint64) uint32 {
	t.Helper()
	var raw []bpf.Instruction
	for _, f := range filter() {
		i := bpf.RawInstruction{Op: f.Code, Jt: f.Jt, Jf: f.Jf, K: f.K}.Disassemble()
		raw = append(raw, i)
	}
	vm, err := bpf.NewVM(raw)
	if err != nil {
		t.Fatal(err)
	}
	data := binary.BigEndian.AppendUint32(nil, nr)
	data = binary.BigEndian.AppendUint32(data, arch)
	data = binary.BigEndian.AppendUint64(data, 0) // instruction pointer
	for _, a := range args {
		data = binary.BigEndian.AppendUint32(data, uint32(a))
		data = binary.BigEndian.AppendUint32(data, uint32(a>>32))
	}
	n, err := vm.Run(data)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(n)
}

func TestFilter(t *testing.T) {
	const pointer = 0x7fff_0000_0000 // its low half is 0
	for _, c := range []struct {
		name   string
		nr     uint32
		args   [6]uint64
		notify bool
	}{
		{"socket IPv4", unix.SYS_SOCKET, [6]uint64{unix.AF_INET, unix.SOCK_STREAM}, true},
		{"socket IPv6", unix.SYS_SOCKET, [6]uint64{unix.AF_INET6, unix.SOCK_DGRAM}, true},
		{"socket AF_UNIX", unix.SYS_SOCKET, [6]uint64{unix.AF_UNIX, unix.SOCK_STREAM}, false},
		{"socket NETLINK_ROUTE", unix.SYS_SOCKET, [6]uint64{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE}, true},
		{"socket NETLINK_AUDIT", unix.SYS_SOCKET, [6]uint64{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_AUDIT}, false},
		{"socketpair", unix.SYS_SOCKETPAIR, [6]uint64{unix.AF_UNIX, unix.SOCK_STREAM}, false},
		{"bind", unix.SYS_BIND, [6]uint64{3}, true},
		{"listen", unix.SYS_LISTEN, [6]uint64{3, 5}, true},
		{"connect", unix.SYS_CONNECT, [6]uint64{3}, true},
		{"accept", unix.SYS_ACCEPT, [6]uint64{3}, true},
		{"accept4", unix.SYS_ACCEPT4, [6]uint64{3}, true},
		{"getsockname", unix.SYS_GETSOCKNAME, [6]uint64{3}, true},
		{"getpeername", unix.SYS_GETPEERNAME, [6]uint64{3}, true},
		{"shutdown", unix.SYS_SHUTDOWN, [6]uint64{3}, true},
		{"TCP_NODELAY", unix.SYS_SETSOCKOPT, [6]uint64{3, unix.IPPROTO_TCP, unix.TCP_NODELAY}, true},
		{"SO_ERROR", unix.SYS_GETSOCKOPT, [6]uint64{3, unix.SOL_SOCKET, unix.SO_ERROR}, true},
		{"SO_RCVTIMEO", unix.SYS_SETSOCKOPT, [6]uint64{3, unix.SOL_SOCKET, unix.SO_RCVTIMEO}, false},
		{"SO_COOKIE", unix.SYS_GETSOCKOPT, [6]uint64{3, unix.SOL_SOCKET, unix.SO_COOKIE}, false},
		{"mark", unix.SYS_SETSOCKOPT, [6]uint64{3, unix.SOL_SOCKET, unix.SO_MAX_PACING_RATE}, false},
		{"sendto", unix.SYS_SENDTO, [6]uint64{3}, false},
		{"sendto of a netlink request", unix.SYS_SENDTO, [6]uint64{3, pointer, dumpRequest}, true},
		{"sendto with an address", unix.SYS_SENDTO, [6]uint64{3, 0, 0, 0, pointer}, true},
		{"sendto with a low address", unix.SYS_SENDTO, [6]uint64{3, 0, 0, 0, 16}, true},
		{"recvfrom with an address", unix.SYS_RECVFROM, [6]uint64{3, 0, 0, unix.MSG_PEEK, pointer}, true},
		{"recvfrom without an address", unix.SYS_RECVFROM, [6]uint64{3, 0, 0, unix.MSG_PEEK}, false},
		{"recvfrom MSG_TRUNC", unix.SYS_RECVFROM, [6]uint64{3, 0, 0, unix.MSG_TRUNC | unix.MSG_DONTWAIT}, true},
		{"recvfrom MSG_OOB", unix.SYS_RECVFROM, [6]uint64{3, 0, 0, unix.MSG_OOB}, true},
		{"recvmsg", unix.SYS_RECVMSG, [6]uint64{3, pointer}, true},
		{"recvmsg MSG_ERRQUEUE", unix.SYS_RECVMSG, [6]uint64{3, pointer, unix.MSG_ERRQUEUE}, true},
		{"SIOCOUTQ", unix.SYS_IOCTL, [6]uint64{3, unix.SIOCOUTQ}, true},
		{"SIOCGIFCONF", unix.SYS_IOCTL, [6]uint64{3, unix.SIOCGIFCONF}, true},
		{"SIOCSIFADDR", unix.SYS_IOCTL, [6]uint64{3, unix.SIOCSIFADDR}, false},
		{"FIONREAD", unix.SYS_IOCTL, [6]uint64{3, unix.TIOCINQ}, true},
		{"TCGETS", unix.SYS_IOCTL, [6]uint64{3, unix.TCGETS}, false},
		{"read", unix.SYS_READ, [6]uint64{3}, false},
		{"write", unix.SYS_WRITE, [6]uint64{3}, false},
		{"close", unix.SYS_CLOSE, [6]uint64{3}, false},
		{"dup3", unix.SYS_DUP3, [6]uint64{3}, false},
		{"clone", unix.SYS_CLONE, [6]uint64{}, false},
		{"epoll_ctl", unix.SYS_EPOLL_CTL, [6]uint64{3}, false},
		{"sendmsg", unix.SYS_SENDMSG, [6]uint64{3}, true},
		{"sendmsg of the library", unix.SYS_SENDMSG, [6]uint64{3, pointer, shm.MessageOwn | unix.MSG_NOSIGNAL}, false},
		{"sendmsg with MSG_RST", unix.SYS_SENDMSG, [6]uint64{3, pointer, unix.MSG_RST | unix.MSG_NOSIGNAL}, true},
		{"sendmmsg", unix.SYS_SENDMMSG, [6]uint64{3, pointer, shm.MessageOwn}, true},
		{"sendmmsg of the library", unix.SYS_SENDMMSG, [6]uint64{3, pointer, 1, shm.MessageOwn}, false},
		{"recvmsg of the library", unix.SYS_RECVMSG, [6]uint64{3, pointer, shm.MessageOwn | unix.MSG_PEEK}, false},
		{"recvmmsg of the library", unix.SYS_RECVMMSG, [6]uint64{3, pointer, 1, shm.MessageOwn}, false},
		{"recvmmsg", unix.SYS_RECVMMSG, [6]uint64{3, pointer, 1, unix.MSG_TRUNC}, true},
	} {
		want := uint32(unix.SECCOMP_RET_ALLOW)
		if c.notify {
			want = unix.SECCOMP_RET_USER_NOTIF
		}
		if got := action(t, auditArch, c.nr, c.args); got != want {
			t.Errorf("%s: %#x, want %#x", c.name, got, want)
		}
	}
	if got := action(t, auditArch^1, unix.SYS_BIND, [6]uint64{}); got != unix.SECCOMP_RET_ALLOW {
		t.Errorf("another architecture: %#x", got)
	}
	if got := action(t, auditArch, x32Calls|unix.SYS_BIND, [6]uint64{}); got != unix.SECCOMP_RET_ALLOW {
		t.Errorf("x32: %#x", got)
	}
}
