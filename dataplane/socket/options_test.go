// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"bytes"
	"encoding/binary"
	"syscall"
	"testing"
	"time"

	"netcon/shm"

	"golang.org/x/sys/unix"
)

func (a *app) get(level, name int32, room int) ([]byte, syscall.Errno) {
	r, e := a.call(shm.Request{Op: shm.OpGetsockopt, Level: level, Option: name, Optlen: uint32(room)})
	return r.Opt[:r.Optlen], e
}

func (a *app) setBytes(level, name int32, v []byte) syscall.Errno {
	r := shm.Request{Op: shm.OpSetsockopt, Level: level, Option: name, Optlen: uint32(len(v))}
	copy(r.Opt[:], v)
	_, e := a.call(r)
	return e
}

// differs are the options where we mean to differ from this or any kernel.
var differs = map[[2]int32]bool{
	{sol, unix.SO_RCVLOWAT}:           true, // a negative one: the host's sysctl
	{sol, unix.SO_COOKIE}:             true, // another socket's
	{sol, unix.SO_MEMINFO}:            true,
	{sol, unix.SO_SNDBUF}:             true, // the host's sysctl
	{sol, unix.SO_RCVBUF}:             true,
	{sol, unix.SO_ZEROCOPY}:           true, // refused: no completions
	{sol, unix.SO_PASSCRED}:           true, // refused by new kernels only
	{sol, unix.SO_PASSSEC}:            true,
	{sol, unix.SO_DETACH_FILTER}:      true,
	{sol, unix.SO_BUSY_POLL_BUDGET}:   true,
	{sol, unix.SO_WIFI_STATUS}:        true,
	{sol, unix.SO_INCOMING_CPU}:       true,
	{sol, unix.SO_TXREHASH}:           true,
	{sol, unix.SO_RESERVE_MEM}:        true,
	{sol, unix.SO_TIMESTAMPING_OLD}:   true,
	{sol, unix.SO_TIMESTAMPING_NEW}:   true,
	{sol, unix.SO_PRIORITY}:           true,
	{sol, unix.SO_BUF_LOCK}:           true,
	{sol, unix.SO_MAX_PACING_RATE}:    true,
	{sol, unix.SO_BINDTODEVICE}:       true,
	{tcp, unix.TCP_INFO}:              true, // own test
	{tcp, unix.TCP_CONGESTION}:        true, // the host's default
	{tcp, unix.TCP_CC_INFO}:           true,
	{tcp, unix.TCP_WINDOW_CLAMP}:      true,
	{tcp, unix.TCP_FASTOPEN}:          true,
	{tcp, unix.TCP_FASTOPEN_CONNECT}:  true, // refused
	{tcp, unix.TCP_TIMESTAMP}:         true,
	{tcp, unix.TCP_SYNCNT}:            true, // the host's sysctl
	{tcp, unix.TCP_REPAIR}:            true, // refused to everybody
	{tcp, unix.TCP_REPAIR_OPTIONS}:    true,
	{tcp, unix.TCP_REPAIR_QUEUE}:      true,
	{tcp, unix.TCP_QUEUE_SEQ}:         true,
	{tcp, tcpRepairWindow}:            true,
	{ip4, unix.IP_LOCAL_PORT_RANGE}:   true,
	{ip4, unix.IP_UNICAST_IF}:         true,
	{ip4, unix.IP_OPTIONS}:            true, // taken only when empty
	{ip4, unix.IP_RECVERR_RFC4884}:    true,
	{ip4, unix.IP_ADD_MEMBERSHIP}:     true,
	{ip4, unix.IP_DROP_MEMBERSHIP}:    true,
	{ip4, soOriginalDst}:              true,
	{ip6, soOriginalDst}:              true,
	{ip6, ipv6AddrForm}:               true,
	{ip6, unix.IPV6_JOIN_GROUP}:       true,
	{ip6, unix.IPV6_LEAVE_GROUP}:      true,
	{ip6, unix.IPV6_ADDR_PREFERENCES}: true,
	{ip6, unix.IPV6_UNICAST_IF}:       true,
	{ip6, ipv6FlowInfo}:               true,
	{sol, soRcvPriority}:              true,
}

// TestOptionsAsKernel compares every option with a kernel TCP socket: default,
// the errors and effects of good, bad and short values, and short rooms.
func TestOptionsAsKernel(t *testing.T) {
	w := newWorld(t)
	values := [][]byte{nil, {1}, {0}, le(0), le(1), le(2), le(5), le(-1), le(255), le(256), le(1000), le(40000), append(le(1), le(3)...)}
	compared := 0
	for i := range len(knownOptions()) {
		o := &optionTable[i]
		key := [2]int32{o.level, o.name}
		if differs[key] {
			continue
		}
		family := uint16(unix.AF_INET)
		if o.level == ip6 {
			family = unix.AF_INET6
		}
		k, err := unix.Socket(int(family), unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		a, e := openApp(w, w.attach, family)
		if e != 0 {
			t.Fatal(e)
		}
		check := func(what string) {
			t.Helper()
			for _, room := range []int{64, 4, 3, 1, 0} {
				want, we := kernelGet(k, o.level, o.name, room)
				got, ge := a.get(o.level, o.name, room)
				if we != ge || we == 0 && !bytes.Equal(want, got) {
					t.Errorf("option %v %s, room %d: %v %v, kernel %v %v", key, what, room, got, ge, want, we)
				}
				compared++
			}
		}
		check("default")
		for _, v := range values {
			if len(v) != 4 && o.level == ip4 && len(v) > 1 {
				continue
			}
			if len(v) < 4 && o.level == ip6 {
				continue // EINVAL, or read as 0, without a rule
			}
			want, got := kernelSet(k, o.level, o.name, v), a.setBytes(o.level, o.name, v)
			if len(v) == 0 && (o.level == ip6 || o.level == ip4) {
				continue // a kernel takes no value for 0 here and there
			}
			if want == unix.EPERM && got == 0 {
				continue // the test may not on the host; a container may
			}
			if want != got {
				t.Errorf("option %v set to %v: %v, kernel %v", key, v, got, want)
				continue
			}
			if want == 0 {
				check("set")
			}
			compared++
		}
		unix.Close(k)
		a.close()
	}
	t.Logf("%d comparisons over %d options", compared, len(knownOptions())-len(differs))
}

func le(v int32) []byte { return binary.NativeEndian.AppendUint32(nil, uint32(v)) }

func TestOptions(t *testing.T) {
	w := newWorld(t)
	a := w.open()
	v6, _ := openApp(w, w.attach, unix.AF_INET6)
	for _, c := range []struct {
		name       string
		a          *app
		level, opt int32
		in         []byte // nil: only read
		setErr     syscall.Errno
		out        []byte
		getErr     syscall.Errno
	}{
		{name: "unknown", a: a, level: sol, opt: 200, in: le(1), setErr: unix.ENOPROTOOPT, getErr: unix.ENOPROTOOPT},
		{name: "unknown level", a: a, level: 999, opt: 1, in: le(1), setErr: unix.ENOPROTOOPT, getErr: unix.EOPNOTSUPP},
		{name: "IPv6 on IPv4", a: a, level: ip6, opt: unix.IPV6_V6ONLY, in: le(1), setErr: unix.ENOPROTOOPT, getErr: unix.EOPNOTSUPP},
		{name: "IPv4 on IPv6", a: v6, level: ip4, opt: unix.IP_TOS, in: le(16), out: le(16)},
		{name: "ULP", a: a, level: tcp, opt: unix.TCP_ULP, in: []byte("tls"), setErr: unix.ENOENT, out: []byte{}},
		{name: "congestion", a: a, level: tcp, opt: unix.TCP_CONGESTION, in: []byte("reno"), out: append([]byte("reno"), make([]byte, 12)...)},
		{
			name: "no such congestion", a: a, level: tcp, opt: unix.TCP_CONGESTION, in: []byte("warp"), setErr: unix.ENOENT,
			out: append([]byte("reno"), make([]byte, 12)...),
		},
		{name: "peercred", a: a, level: sol, opt: unix.SO_PEERCRED, out: []byte{0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255}},
		{name: "original destination", a: a, level: ip4, opt: soOriginalDst, getErr: unix.ENOENT},
		{name: "zerocopy", a: a, level: sol, opt: unix.SO_ZEROCOPY, in: le(1), setErr: unix.EOPNOTSUPP, out: le(0)},
		{name: "repair", a: a, level: tcp, opt: unix.TCP_REPAIR, in: le(1), setErr: unix.EPERM, getErr: unix.EPERM},
		{name: "send buffer", a: a, level: sol, opt: unix.SO_SNDBUF, in: le(50000), out: le(100000)},
		{name: "receive buffer", a: a, level: sol, opt: unix.SO_RCVBUFFORCE, in: le(50000), getErr: unix.ENOPROTOOPT},
		{name: "receive buffer read", a: a, level: sol, opt: unix.SO_RCVBUF, out: le(100000)},
		{name: "linger", a: a, level: sol, opt: unix.SO_LINGER, in: append(le(1), le(0)...), out: append(le(1), le(0)...)},
		{name: "linger short", a: a, level: sol, opt: unix.SO_LINGER, in: le(1), setErr: unix.EINVAL, out: append(le(1), le(0)...)},
		{name: "engine without it", a: a, level: tcp, opt: unix.TCP_CORK, in: le(1), out: le(1)},
		{name: "IP options", a: a, level: ip4, opt: unix.IP_OPTIONS, in: []byte{7, 3, 0, 0}, setErr: unix.EINVAL, out: []byte{}},
		{name: "fast open connect", a: a, level: tcp, opt: unix.TCP_FASTOPEN_CONNECT, in: le(1), setErr: unix.EOPNOTSUPP, out: le(0)},
		{name: "pacing", a: a, level: sol, opt: unix.SO_MAX_PACING_RATE, in: le(1000), out: append(le(1000), le(0)...)},
		{name: "MTU unconnected", a: a, level: ip4, opt: unix.IP_MTU, getErr: unix.ENOTCONN},
	} {
		if c.in != nil {
			if e := c.a.setBytes(c.level, c.opt, c.in); e != c.setErr {
				t.Errorf("%s: set: %v, want %v", c.name, e, c.setErr)
			}
		}
		out, e := c.a.get(c.level, c.opt, 256)
		if e != c.getErr || e == 0 && !bytes.Equal(out, c.out) {
			t.Errorf("%s: %v %v, want %v %v", c.name, out, e, c.out, c.getErr)
		}
	}
	if _, e := a.get(sol, unix.SO_TYPE, -1); e != unix.EINVAL {
		t.Errorf("negative room: %v", e)
	}
	b, _ := a.get(sol, unix.SO_COOKIE, 8)
	if binary.NativeEndian.Uint64(b) != a.cookie {
		t.Error("SO_COOKIE is another socket's")
	}
	w.do(func() {
		s := w.eng.socks[w.set.byCookie[a.cookie].handle]
		if s.opts[15] != 50000 {
			t.Errorf("the engine heard of a receive buffer of %d", s.opts[15])
		}
	})
}

func TestTCPInfo(t *testing.T) {
	w := newWorld(t)
	_, c, _ := w.connection("10.0.0.1:80")
	b, e := c.get(tcp, unix.TCP_INFO, 1000)
	if e != 0 || len(b) != shm.OptMax { // struct tcp_info has outgrown a reply
		t.Fatalf("%d bytes, %v", len(b), e)
	}
	var i unix.TCPInfo
	copy(tcpInfoBytes(&i), b)
	if i.State != 1 || i.Snd_mss != 1398 || i.Pmtu != 1450 || i.Snd_cwnd != 10 {
		t.Errorf("%+v", i)
	}
	if i.Options != 2|4 || b[6] != 7|9<<4 {
		t.Errorf("options %#x, scales %#x", i.Options, b[6])
	}
	if b, _ = c.get(tcp, unix.TCP_INFO, 104); len(b) != 104 {
		t.Errorf("length clamp: %d", len(b))
	}
	if v, _ := c.getInt(tcp, unix.TCP_MAXSEG); v != 1398 {
		t.Errorf("TCP_MAXSEG %d", v)
	}
	if v, _ := c.getInt(ip4, unix.IP_MTU); v != 1450 {
		t.Errorf("IP_MTU %d", v)
	}
	infos := []Info(nil)
	w.do(func() { infos = w.set.Sockets() })
	states := map[string]int{}
	for _, i := range infos {
		states[i.State]++
		if i.Mode != "pump" || i.Mechanism != "preload" || i.PID == 0 {
			t.Errorf("%+v", i)
		}
	}
	if states["LISTEN"] != 1 || states["ESTAB"] != 2 {
		t.Errorf("%v", states)
	}
}

// TestRefused: what a container does not have is refused as a kernel without it
// does, so that programs fall back, and the socket's entry says what it was.
func TestRefused(t *testing.T) {
	w := newWorld(t)
	_, c, s := w.connection("10.0.0.1:80")
	one := []byte{1, 0, 0, 0}
	for _, x := range []struct {
		level, name int32
		value       []byte // nil: asked for
		want        syscall.Errno
		shown       string
	}{
		{ip4, soOriginalDst, nil, unix.ENOENT, "SO_ORIGINAL_DST ENOENT"},
		{tcp, unix.TCP_ULP, []byte("tls"), unix.ENOENT, "TCP_ULP ENOENT"},
		{sol, unix.SO_ZEROCOPY, one, unix.EOPNOTSUPP, "SO_ZEROCOPY EOPNOTSUPP"},
		{tcp, unix.TCP_FASTOPEN_CONNECT, one, unix.EOPNOTSUPP, "TCP_FASTOPEN_CONNECT EOPNOTSUPP"},
		{tcp, unix.TCP_REPAIR, one, unix.EPERM, "TCP_REPAIR EPERM"},
		{tcp, unix.TCP_ZEROCOPY_RECEIVE, nil, unix.ENOPROTOOPT, "TCP_ZEROCOPY_RECEIVE ENOPROTOOPT"},
		{tcp, unix.TCP_MD5SIG, make([]byte, 216), unix.ENOPROTOOPT, "TCP_MD5SIG ENOPROTOOPT"},
		{sol, unix.SO_ATTACH_FILTER, make([]byte, 16), unix.ENOPROTOOPT, "SO_ATTACH_FILTER ENOPROTOOPT"},
	} {
		for range 2 { // told once
			var e syscall.Errno
			if x.value == nil {
				_, e = c.get(x.level, x.name, 64)
			} else {
				e = c.setBytes(x.level, x.name, x.value)
			}
			if e != x.want {
				t.Errorf("%s: %v", x.shown, e)
			}
		}
		var list []string
		w.do(func() { list = w.set.info(w.set.byCookie[c.cookie], time.Now()).Refused })
		if len(list) == 0 || list[len(list)-1] != x.shown {
			t.Errorf("shown as %q, want %q last", list, x.shown)
		}
	}
	// Bounded, whatever is tried; and what only has a bad value is not refused.
	for name := range int32(300) {
		c.setBytes(tcp, name+1000, one)
	}
	s.setBytes(tcp, unix.TCP_KEEPCNT, []byte{255, 255, 0, 0})
	w.do(func() {
		if n := len(w.set.byCookie[c.cookie].refused); n != maxRefused {
			t.Errorf("%d options remembered", n)
		}
		if list := w.set.byCookie[s.cookie].refused; len(list) != 0 {
			t.Errorf("refused %q", list)
		}
	})
}
