// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"encoding/binary"
	"net/netip"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"netcon/dataplane/rtnetlink"
	"netcon/shm"
)

func withInterfaces(c *Config) {
	c.Interfaces = rtnetlink.New(rtnetlink.Config{MTU: 1450, Addrs: []netip.Prefix{netip.MustParsePrefix("10.42.0.1/24")}})
}

// openNetlink makes a socket that asks for interfaces.
func openNetlink(w *world, port int32) *app {
	w.t.Helper()
	pair := must(unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0))
	a := &app{w: w, attach: w.attach, fd: pair[0], cookie: must(unix.GetsockoptUint64(pair[0], unix.SOL_SOCKET, unix.SO_COOKIE))}
	r, err := ask(w.t, w.attach, &shm.Request{Magic: shm.Magic, Op: shm.OpNetlink, Cookie: a.cookie, Value: port}, pair[1])
	if err != nil || r.Error != 0 {
		w.t.Fatalf("NC_NETLINK: %v, error %d", err, r.Error)
	}
	_ = unix.Close(pair[1])
	return a
}

// dump asks for addresses.
func dump(seq uint32) []byte {
	b := binary.NativeEndian.AppendUint32(nil, unix.NLMSG_HDRLEN+unix.SizeofRtGenmsg)
	b = binary.NativeEndian.AppendUint16(b, unix.RTM_GETADDR)
	b = binary.NativeEndian.AppendUint16(b, unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	b = binary.NativeEndian.AppendUint32(b, seq)
	b = binary.NativeEndian.AppendUint32(b, 0)
	return append(b, unix.AF_INET)
}

// TestNetlink: two dumps one after the other, the port id in the answers, and the
// end.
func TestNetlink(t *testing.T) {
	w := newWorld(t, withInterfaces)
	a := openNetlink(w, 77)
	for _, port := range []uint32{77, 1234} {
		if port != 77 {
			if _, e := a.call(shm.Request{Op: shm.OpBind, Addr: shm.Addr{Family: unix.AF_NETLINK, Scope: port}}); e != 0 {
				t.Fatalf("bind: %v", e)
			}
		}
		r, e := a.call(shm.Request{Op: shm.OpGetsockname})
		if e != 0 || r.Addr.Family != unix.AF_NETLINK || r.Addr.Scope != port {
			t.Errorf("getsockname: %v %+v", e, r.Addr)
		}
		a.write(dump(port))
		kinds := map[uint16]int{}
		for kinds[unix.NLMSG_DONE] == 0 {
			var b [4096]byte
			n, err := a.read(b[:])
			if err != nil || n == 0 {
				t.Fatalf("read %d: %v", n, err)
			}
			list, err := syscall.ParseNetlinkMessage(b[:n])
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range list {
				kinds[m.Header.Type]++
				if m.Header.Pid != port || m.Header.Seq != port {
					t.Errorf("header %+v", m.Header)
				}
			}
		}
		if kinds[unix.RTM_NEWADDR] != 2 {
			t.Errorf("messages %v", kinds)
		}
	}
	for _, op := range []uint16{shm.OpListen, shm.OpConnect, shm.OpGetsockopt} {
		if _, e := a.call(shm.Request{Op: op}); e != unix.EOPNOTSUPP {
			t.Errorf("request %d: %v", op, e)
		}
	}
	if _, e := a.call(shm.Request{Op: shm.OpBind, Addr: shm.Addr{Family: unix.AF_INET}}); e != unix.EINVAL {
		t.Errorf("bind to IPv4: %v", e)
	}
	a.close()
	w.eventually("the end of the socket", func() bool { return len(w.set.netlinks) == 0 })
}

// TestNetlinkUnread: who asks and does not read loses answers, and nobody waits.
func TestNetlinkUnread(t *testing.T) {
	w := newWorld(t, withInterfaces)
	a := openNetlink(w, 1)
	for range 500 {
		a.write(dump(1))
		a.write([]byte("no netlink"))
	}
	b := openNetlink(w, 2)
	b.write(dump(2))
	var buf [4096]byte
	if n, err := b.read(buf[:]); err != nil || n == 0 {
		t.Errorf("another socket: read %d: %v", n, err)
	}
	a.close()
	b.close()
	w.eventually("the end of the sockets", func() bool { return len(w.set.netlinks) == 0 })
}

// TestNetlinkWithout: a Set without interfaces makes no such sockets.
func TestNetlinkWithout(t *testing.T) {
	w := newWorld(t)
	pair := must(unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0))
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	r, err := ask(t, w.attach, &shm.Request{Magic: shm.Magic, Op: shm.OpNetlink, Cookie: 1}, pair[1])
	if err != nil || syscall.Errno(r.Error) != unix.EINVAL {
		t.Errorf("%v, error %d", err, r.Error)
	}
}
