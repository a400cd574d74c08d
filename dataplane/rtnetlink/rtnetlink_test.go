// SPDX-License-Identifier: Apache-2.0

package rtnetlink

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"netcon/dataplane/wire"
)

const port = 4711

func responder() *Responder {
	return New(Config{
		MAC: wire.MAC{2, 0, 0, 0, 0, 9}, MTU: 1450,
		Addrs:    []netip.Prefix{netip.MustParsePrefix("10.42.0.1/24"), netip.MustParsePrefix("fd42::1/64")},
		Gateway4: netip.MustParseAddr("10.42.0.254"),
	})
}

// message makes a request.
func message(kind, flags uint16, seq uint32, body ...byte) []byte {
	b := binary.NativeEndian.AppendUint32(nil, uint32(unix.NLMSG_HDRLEN+len(body)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = binary.NativeEndian.AppendUint16(b, flags|unix.NLM_F_REQUEST)
	b = binary.NativeEndian.AppendUint32(b, seq)
	b = append(binary.NativeEndian.AppendUint32(b, 0), body...)
	return append(b, make([]byte, align(len(b))-len(b))...)
}

// ask returns the messages of all answers, and how many datagrams they were.
func ask(t *testing.T, request []byte) (all []syscall.NetlinkMessage, datagrams int) {
	t.Helper()
	responder().Answer(request, port, func(b []byte) {
		datagrams++
		m, err := syscall.ParseNetlinkMessage(slices.Clone(b))
		if err != nil || len(b) > 4096 {
			t.Errorf("datagram of %d bytes: %v", len(b), err)
		}
		all = append(all, m...)
	})
	for _, m := range all {
		if m.Header.Pid != port {
			t.Errorf("port id %d", m.Header.Pid)
		}
	}
	return all, datagrams
}

// tell shows the attributes of a message that tests look at.
func tell(t *testing.T, m *syscall.NetlinkMessage) string {
	t.Helper()
	attrs, err := syscall.ParseNetlinkRouteAttr(m)
	if err != nil {
		t.Fatal(err)
	}
	var words []string
	ip := func(name string, b []byte) {
		a, _ := netip.AddrFromSlice(b)
		words = append(words, name+" "+a.String())
	}
	for _, a := range attrs {
		switch m.Header.Type<<8 | a.Attr.Type {
		case unix.RTM_NEWLINK<<8 | unix.IFLA_IFNAME:
			words = append(words, unix.ByteSliceToString(a.Value))
		case unix.RTM_NEWADDR<<8 | unix.IFA_ADDRESS:
			ip("is", a.Value)
		case unix.RTM_NEWADDR<<8 | unix.IFA_BROADCAST:
			ip("all", a.Value)
		case unix.RTM_NEWROUTE<<8 | unix.RTA_DST:
			ip("to", a.Value)
		case unix.RTM_NEWROUTE<<8 | unix.RTA_GATEWAY:
			ip("via", a.Value)
		case unix.RTM_NEWROUTE<<8 | unix.RTA_PREFSRC:
			ip("from", a.Value)
		}
	}
	return strings.Join(words, " ")
}

func TestDumps(t *testing.T) {
	for _, c := range []struct {
		kind   uint16
		family byte
		want   []string
	}{
		{unix.RTM_GETLINK, 0, []string{"lo", "eth0"}},
		{unix.RTM_GETADDR, 0, []string{"is 127.0.0.1", "is 10.42.0.1 all 10.42.0.255", "is ::1", "is fd42::1"}},
		{unix.RTM_GETADDR, unix.AF_INET, []string{"is 127.0.0.1", "is 10.42.0.1 all 10.42.0.255"}},
		{unix.RTM_GETADDR, unix.AF_INET6, []string{"is ::1", "is fd42::1"}},
		{unix.RTM_GETADDR, 7, nil},
		{unix.RTM_GETROUTE, unix.AF_INET, []string{"via 10.42.0.254", "to 10.42.0.0 from 10.42.0.1"}},
		{unix.RTM_GETROUTE, unix.AF_INET6, []string{"to fd42::"}},
	} {
		all, _ := ask(t, message(c.kind, unix.NLM_F_DUMP, 5, c.family))
		var got []string
		for i, m := range all[:len(all)-1] {
			if m.Header.Flags&unix.NLM_F_MULTI == 0 || m.Header.Seq != 5 {
				t.Errorf("message %d: %+v", i, m.Header)
			}
			got = append(got, tell(t, &m))
		}
		if last := all[len(all)-1].Header; last.Type != unix.NLMSG_DONE {
			t.Errorf("%#x: last %+v", c.kind, last)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%#x of family %d: %q, want %q", c.kind, c.family, got, c.want)
		}
	}
}

// TestManyAddresses: a dump is cut into datagrams that fit into a page.
func TestManyAddresses(t *testing.T) {
	cfg := Config{MTU: 1450}
	for i := range 250 {
		cfg.Addrs = append(cfg.Addrs, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 42, 0, byte(i)}), 24))
	}
	datagrams, messages := 0, 0
	New(cfg).Answer(message(unix.RTM_GETADDR, unix.NLM_F_DUMP, 1, unix.AF_INET), port, func(b []byte) {
		m, err := syscall.ParseNetlinkMessage(b)
		if err != nil || len(b) > 4096 {
			t.Errorf("datagram of %d bytes: %v", len(b), err)
		}
		datagrams++
		messages += len(m)
	})
	if messages != 250+1+1 || datagrams < 3 {
		t.Errorf("%d messages in %d datagrams", messages, datagrams)
	}
}

func TestOneLink(t *testing.T) {
	body := func(index uint32, name string) []byte {
		b := make([]byte, unix.SizeofIfInfomsg)
		binary.NativeEndian.PutUint32(b[4:], index)
		if name != "" {
			a := &answer{b: b}
			a.attrName(unix.IFLA_IFNAME, name)
			b = a.b
		}
		return b
	}
	for _, c := range []struct {
		name string
		body []byte
		want string
		e    syscall.Errno
	}{
		{"lo", body(0, "lo"), "lo", 0},
		{"eth0", body(0, "eth0"), "eth0", 0},
		{"2", body(2, ""), "eth0", 0},
		{"eth1", body(0, "eth1"), "", unix.ENODEV},
		{"3", body(3, ""), "", unix.ENODEV},
		{"nothing", body(0, ""), "", unix.EINVAL},
		{"a short header", []byte{0, 0}, "", unix.EINVAL},
	} {
		all, _ := ask(t, message(unix.RTM_GETLINK, 0, 1, c.body...))
		if len(all) != 1 {
			t.Errorf("%s: %d messages", c.name, len(all))
			continue
		}
		got, e := "", syscall.Errno(0)
		if all[0].Header.Type == unix.NLMSG_ERROR {
			e = syscall.Errno(-int32(binary.NativeEndian.Uint32(all[0].Data)))
		} else {
			got = tell(t, &all[0])
		}
		if got != c.want || e != c.e {
			t.Errorf("%s: %q %v, want %q %v", c.name, got, e, c.want, c.e)
		}
	}
}

func TestRefusals(t *testing.T) {
	two := append(message(unix.RTM_NEWADDR, unix.NLM_F_ACK, 1, make([]byte, 8)...), message(unix.RTM_GETNEIGH, unix.NLM_F_DUMP, 2, 0)...)
	all, datagrams := ask(t, append(two, message(unix.NLMSG_NOOP, unix.NLM_F_ACK, 3)...))
	var got []int32
	for _, m := range all {
		if m.Header.Type != unix.NLMSG_ERROR {
			t.Errorf("message %+v", m.Header)
		}
		got = append(got, int32(binary.NativeEndian.Uint32(m.Data)))
	}
	if want := []int32{-int32(unix.EOPNOTSUPP), -int32(unix.EOPNOTSUPP), 0}; !slices.Equal(got, want) || datagrams != 3 {
		t.Errorf("%v in %d datagrams, want %v", got, datagrams, want)
	}
	for _, garbage := range [][]byte{nil, make([]byte, 15), make([]byte, 16), binary.NativeEndian.AppendUint32(nil, 1<<31)} {
		if all, _ := ask(t, garbage); all != nil {
			t.Errorf("answered % x", garbage)
		}
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add(message(unix.RTM_GETLINK, unix.NLM_F_DUMP, 1, 0))
	f.Add(message(unix.RTM_GETLINK, unix.NLM_F_ACK, 1, make([]byte, 24)...))
	f.Add(append(message(unix.RTM_GETADDR, unix.NLM_F_DUMP, 1, 2), message(unix.RTM_GETROUTE, unix.NLM_F_DUMP, 2, 10)...))
	f.Add(message(0xffff, 0xffff, 1, 1, 2, 3))
	f.Fuzz(func(t *testing.T, b []byte) {
		datagrams := 0
		responder().Answer(b, port, func(out []byte) {
			datagrams++
			if _, err := syscall.ParseNetlinkMessage(out); err != nil || len(out) > 4096 {
				t.Errorf("datagram of %d bytes: %v", len(out), err)
			}
		})
		if datagrams > 2*requestsMax {
			t.Errorf("%d datagrams", datagrams)
		}
	})
}
