// SPDX-License-Identifier: Apache-2.0

package resolve

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

func addrs(list ...string) []netip.Addr {
	var out []netip.Addr
	for _, s := range list {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

func testNames() *Names {
	return NewNames([]Network{
		{
			Name: "Blue", Subnets: []netip.Prefix{netip.MustParsePrefix("10.42.0.0/16"), netip.MustParsePrefix("fd42::/64")},
			Members: []Member{
				{"web", addrs("10.42.0.1", "fd42::1")}, {"Db.main", addrs("10.42.0.2")},
			},
		},
		{Name: "red", Members: []Member{{"web", addrs("10.43.0.1")}}},
	})
}

// query makes a query.
func query(t testing.TB, name string, typ dnsmessage.Type, size int) []byte {
	t.Helper()
	b := dnsmessage.NewBuilder(nil, dnsmessage.Header{ID: 0x1234, RecursionDesired: true})
	_ = b.StartQuestions()
	if err := b.Question(dnsmessage.Question{Name: dnsmessage.MustNewName(name), Type: typ, Class: dnsmessage.ClassINET}); err != nil {
		t.Fatal(err)
	}
	if size > 0 {
		var h dnsmessage.ResourceHeader
		_ = b.StartAdditionals()
		_ = h.SetEDNS0(size, dnsmessage.RCodeSuccess, false)
		_ = b.OPTResource(h, dnsmessage.OPTResource{})
	}
	msg, err := b.Finish()
	if err != nil {
		t.Fatal(err)
	}
	return msg
}

func unpack(t testing.TB, msg []byte) *dnsmessage.Message {
	t.Helper()
	m := new(dnsmessage.Message)
	if err := m.Unpack(msg); err != nil {
		t.Fatal(err)
	}
	return m
}

func texts(m *dnsmessage.Message) []string {
	var out []string
	for _, a := range m.Answers {
		switch b := a.Body.(type) {
		case *dnsmessage.AResource:
			out = append(out, netip.AddrFrom4(b.A).String())
		case *dnsmessage.AAAAResource:
			out = append(out, netip.AddrFrom16(b.AAAA).String())
		case *dnsmessage.PTRResource:
			out = append(out, b.PTR.String())
		}
	}
	return out
}

func TestOwnNames(t *testing.T) {
	var r Resolver
	r.Set(testNames(), nil)
	for _, tt := range []struct {
		name string
		typ  dnsmessage.Type
		code dnsmessage.RCode
		want []string
	}{
		{"web.", dnsmessage.TypeA, 0, []string{"10.42.0.1"}},
		{"WEB.", dnsmessage.TypeAAAA, 0, []string{"fd42::1"}},
		{"web.blue.", dnsmessage.TypeA, 0, []string{"10.42.0.1"}},
		{"web.", dnsmessage.TypeALL, 0, []string{"10.42.0.1", "fd42::1"}},
		{"web.", dnsmessage.TypeMX, 0, nil},
		{"db.main.", dnsmessage.TypeA, 0, []string{"10.42.0.2"}},
		{"db.main.blue.", dnsmessage.TypeA, 0, []string{"10.42.0.2"}},
		{"db.main.", dnsmessage.TypeAAAA, 0, nil},
		{"blue.", dnsmessage.TypeA, 0, []string{"10.42.0.1", "10.42.0.2"}},
		{"nobody.blue.", dnsmessage.TypeA, dnsmessage.RCodeNameError, nil},
		{"web.red.", dnsmessage.TypeA, dnsmessage.RCodeRefused, nil}, // another network's
		{"example.com.", dnsmessage.TypeA, dnsmessage.RCodeRefused, nil},
		{"1.0.42.10.in-addr.arpa.", dnsmessage.TypePTR, 0, []string{"web.Blue."}},
		{"1.0.42.10.IN-ADDR.arpa.", dnsmessage.TypeA, 0, nil},
		{"9.0.42.10.in-addr.arpa.", dnsmessage.TypePTR, dnsmessage.RCodeNameError, nil},
		{"1.0.43.10.in-addr.arpa.", dnsmessage.TypePTR, dnsmessage.RCodeRefused, nil},
		{reverseName(netip.MustParseAddr("fd42::1")), dnsmessage.TypePTR, 0, []string{"web.Blue."}},
		{reverseName(netip.MustParseAddr("fd42::2")), dnsmessage.TypePTR, dnsmessage.RCodeNameError, nil},
	} {
		m := unpack(t, r.Answer(context.Background(), Asker{Network: "Blue"}, query(t, tt.name, tt.typ, 1232), true))
		if !m.Response || m.ID != 0x1234 || m.RCode != tt.code || !slices.Equal(texts(m), tt.want) || len(m.Additionals) != 1 {
			t.Errorf("%s %v: %v %v, want %v %v", tt.name, tt.typ, m.RCode, texts(m), tt.code, tt.want)
		}
		if m.Authoritative != (tt.code != dnsmessage.RCodeRefused) {
			t.Errorf("%s: authoritative %t", tt.name, m.Authoritative)
		}
	}
}

// TestStrange: what is no proper query.
func TestStrange(t *testing.T) {
	var r Resolver
	r.Set(testNames(), nil)
	ask := func(msg []byte) []byte { return r.Answer(context.Background(), Asker{Network: "Blue"}, msg, true) }
	good := query(t, "web.", dnsmessage.TypeA, 0)
	response := slices.Clone(good)
	response[2] |= 0x80
	for name, msg := range map[string][]byte{
		"nothing": nil, "short": good[:11], "a response": response, "too long": append(slices.Clone(good), make([]byte, MaxQuery)...),
	} {
		if got := ask(msg); got != nil {
			t.Errorf("%s: answered %x", name, got)
		}
	}
	notify := slices.Clone(good)
	notify[2] |= 4 << 3
	chaos := slices.Clone(good)
	chaos[len(chaos)-1] = 3
	two := slices.Clone(good)
	binary.BigEndian.PutUint16(two[4:], 2)
	two = append(two, good[12:]...)
	none := slices.Clone(good)
	binary.BigEndian.PutUint16(none[4:], 0)
	for name, tt := range map[string]struct {
		msg  []byte
		code dnsmessage.RCode
	}{
		"opcode": {notify, dnsmessage.RCodeNotImplemented}, "class": {chaos, dnsmessage.RCodeRefused},
		"two questions": {two, dnsmessage.RCodeFormatError}, "no question": {none[:12], dnsmessage.RCodeFormatError},
		"cut": {good[:len(good)-2], dnsmessage.RCodeFormatError},
	} {
		if m := unpack(t, ask(tt.msg)); m.RCode != tt.code || !m.Response || m.ID != 0x1234 {
			t.Errorf("%s: %v, want %v", name, m.RCode, tt.code)
		}
	}
}

// TestTruncated: an answer that does not fit says so.
func TestTruncated(t *testing.T) {
	var many []Member
	for i := range 200 {
		many = append(many, Member{fmt.Sprintf("c%d", i), addrs(fmt.Sprintf("10.42.1.%d", i))})
	}
	var r Resolver
	r.Set(NewNames([]Network{{Name: "blue", Members: many}}), nil)
	for _, tt := range []struct {
		size, limit int
		udp         bool
		want        int
	}{{0, 512, true, 0}, {1232, 1232, true, 0}, {4096, 4096, true, 200}, {65535, MaxQuery, true, 200}, {0, 65535, false, 200}} {
		msg := r.Answer(context.Background(), Asker{Network: "blue"}, query(t, "blue.", dnsmessage.TypeA, tt.size), tt.udp)
		if m := unpack(t, msg); len(m.Answers) != tt.want || m.Truncated != (tt.want == 0) || len(msg) > tt.limit {
			t.Errorf("size %d: %d answers in %d bytes, truncated %t", tt.size, len(m.Answers), len(msg), m.Truncated)
		}
	}
}

func TestReverse(t *testing.T) {
	for _, s := range []string{"192.0.2.7", "0.0.0.0", "255.1.20.3", "2001:db8::1", "::", "fd42:1234:5678:9abc:def0::f"} {
		ip := netip.MustParseAddr(s)
		if got, ok := reverseAddr(reverseName(ip)); !ok || got != ip {
			t.Errorf("%s: %s, %v %t", s, reverseName(ip), got, ok)
		}
	}
	if got := reverseName(netip.MustParseAddr("192.0.2.7")); got != "7.2.0.192.in-addr.arpa." {
		t.Error(got)
	}
	for _, s := range []string{"in-addr.arpa.", "1.2.3.in-addr.arpa.", "256.2.3.4.in-addr.arpa.", "x.ip6.arpa.", strings.Repeat("gg", 31) + "g.ip6.arpa.", strings.Repeat("0", 63) + ".ip6.arpa."} {
		if ip, ok := reverseAddr(s); ok {
			t.Errorf("%s: %v", s, ip)
		}
	}
}

// server is a resolver of the host: names below "tcp." come truncated over UDP.
func server(t *testing.T, zone map[string]string) netip.AddrPort {
	t.Helper()
	var l net.Listener
	var c net.PacketConn
	for { // one port for both
		var err error
		if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		if c, err = net.ListenPacket("udp", l.Addr().String()); err == nil {
			break
		}
		_ = l.Close()
	}
	t.Cleanup(func() { _ = l.Close(); _ = c.Close() })
	answer := func(q []byte, udp bool) []byte {
		m := new(dnsmessage.Message)
		if m.Unpack(q) != nil {
			return nil
		}
		m.Response, m.Additionals = true, nil
		name := m.Questions[0].Name
		switch a, ok := zone[name.String()]; {
		case strings.HasPrefix(name.String(), "fail."):
			m.RCode = dnsmessage.RCodeServerFailure
		case !ok:
			m.RCode = dnsmessage.RCodeNameError
		case udp && strings.HasSuffix(name.String(), "tcp."):
			m.Truncated = true
		case m.Questions[0].Type == dnsmessage.TypeA:
			m.Answers = append(m.Answers, dnsmessage.Resource{
				Header: dnsmessage.ResourceHeader{Name: name, Class: dnsmessage.ClassINET, TTL: 60},
				Body:   &dnsmessage.AResource{A: netip.MustParseAddr(a).As4()},
			})
		}
		out, _ := m.Pack()
		return out
	}
	go func() {
		buf := make([]byte, 4096)
		for {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			forged := answer(buf[:n], true)
			forged[0] ^= 0xff // somebody who does not know the identifier comes first
			_, _ = c.WriteTo(forged, from)
			_, _ = c.WriteTo([]byte{1, 2, 3}, from)
			_, _ = c.WriteTo(answer(buf[:n], true), from)
		}
	}()
	go func() {
		for {
			s, err := l.Accept()
			if err != nil {
				return
			}
			var length [2]byte
			if _, err := io.ReadFull(s, length[:]); err == nil {
				q := make([]byte, binary.BigEndian.Uint16(length[:]))
				if _, err := io.ReadFull(s, q); err == nil {
					a := answer(q, false)
					_, _ = s.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(a))), a...))
				}
			}
			_ = s.Close()
		}
	}()
	return netip.MustParseAddrPort(l.Addr().String())
}

// TestForward: other names are asked of the host's resolvers by those who may.
func TestForward(t *testing.T) {
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := netip.MustParseAddrPort(silent.LocalAddr().String())
	_ = silent.Close() // refuses: the next is asked at once
	s := server(t, map[string]string{"example.com.": "192.0.2.1", "host.corp.test.": "192.0.2.2", "big.tcp.": "192.0.2.3"})
	var r Resolver
	r.Set(testNames(), &Forward{Servers: []netip.AddrPort{dead, s}, Search: []string{"corp.test"}})
	ctx := context.Background()
	out, in := Asker{Network: "Blue", Host: true}, Asker{Network: "Blue"}
	for _, tt := range []struct {
		who     Asker
		name    string
		v4, v6  bool
		want    []netip.Addr
		outcome Outcome
	}{
		{out, "example.com", true, true, addrs("192.0.2.1"), Found},
		{out, "example.com", false, true, nil, NoData},
		{out, "host", true, false, addrs("192.0.2.2"), Found},
		{out, "host.", true, false, nil, NoName},
		{out, "host.corp.test", true, true, addrs("192.0.2.2"), Found},
		{out, "big.tcp", true, false, addrs("192.0.2.3"), Found},
		{out, "nobody.example.com", true, true, nil, NoName},
		{out, "fail.example.com", true, true, nil, TryAgain},
		{out, "web", true, true, addrs("10.42.0.1", "fd42::1"), Found},
		{out, "nobody.blue", true, true, nil, NoName},
		{out, "web..", true, false, nil, NoName},
		{out, strings.Repeat("x", 64) + ".com", true, false, nil, NoName},
		{in, "example.com", true, true, nil, TryAgain},
		{in, "web", true, false, addrs("10.42.0.1"), Found},
	} {
		got, outcome := r.Addresses(ctx, tt.who, tt.name, tt.v4, tt.v6)
		if outcome != tt.outcome || !slices.Equal(got, tt.want) {
			t.Errorf("%+v %s: %v %v, want %v %v", tt.who, tt.name, got, outcome, tt.want, tt.outcome)
		}
	}
	if name, outcome := r.Name(ctx, in, netip.MustParseAddr("::ffff:10.42.0.2")); name != "Db.main.Blue" || outcome != Found {
		t.Errorf("name of an address: %q %v", name, outcome)
	}
	// The client's identifier comes back, and a truncated answer as it is.
	m := unpack(t, r.Answer(ctx, out, query(t, "big.tcp.", dnsmessage.TypeA, 0), true))
	if m.ID != 0x1234 || !m.Truncated || len(m.Answers) != 0 {
		t.Errorf("%+v", m)
	}
}

func TestReadConf(t *testing.T) {
	file := filepath.Join(t.TempDir(), "resolv.conf")
	text := "# comment\nnameserver 192.0.2.53 ; here\nnameserver\nnameserver 2001:db8::53\nnameserver nonsense\ndomain a.test\nsearch b.test c.test\noptions ndots:2\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	servers, search := ReadConf(file)
	want := []netip.AddrPort{netip.MustParseAddrPort("192.0.2.53:53"), netip.MustParseAddrPort("[2001:db8::53]:53")}
	if !reflect.DeepEqual(servers, want) || !slices.Equal(search, []string{"b.test", "c.test"}) {
		t.Errorf("%v %v", servers, search)
	}
	if servers, search := ReadConf(file + ".missing"); servers != nil || search != nil {
		t.Errorf("a file that is not there: %v %v", servers, search)
	}
}

// FuzzAnswer: no query makes the resolver fail, and what comes out is an answer.
func FuzzAnswer(f *testing.F) {
	f.Add(query(f, "web.", dnsmessage.TypeA, 0))
	f.Add(query(f, "1.0.42.10.in-addr.arpa.", dnsmessage.TypePTR, 1232))
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12})
	var r Resolver
	r.Set(testNames(), nil)
	f.Fuzz(func(t *testing.T, msg []byte) {
		a := r.Answer(context.Background(), Asker{Network: "Blue"}, msg, true)
		if a == nil {
			return
		}
		var p dnsmessage.Parser
		if h, err := p.Start(a); err != nil || !h.Response || h.ID != binary.BigEndian.Uint16(msg) {
			t.Errorf("answered %x with %x", msg, a)
		}
	})
}

// FuzzRead: no answer makes its reader fail.
func FuzzRead(f *testing.F) {
	var r Resolver
	r.Set(testNames(), nil)
	for _, typ := range []dnsmessage.Type{dnsmessage.TypeA, dnsmessage.TypeAAAA, dnsmessage.TypePTR} {
		f.Add(r.Answer(context.Background(), Asker{Network: "Blue"}, query(f, "web.", typ, 0), false), uint16(typ))
	}
	f.Fuzz(func(t *testing.T, msg []byte, typ uint16) {
		addrs, name, out := read(msg, dnsmessage.Type(typ))
		if (out == Found) != (len(addrs) > 0 || name != "") {
			t.Errorf("%v %q %v", addrs, name, out)
		}
		q := dnsmessage.Question{Name: dnsmessage.MustNewName("web."), Type: dnsmessage.Type(typ), Class: dnsmessage.ClassINET}
		_ = answers(msg, []byte{1, 2}, q)
		_, _ = reverseAddr(string(msg))
	})
}

// TestForwardInside: a resolver on the network of who asks is asked over that and
// no other way, whatever the policy is; one elsewhere by policy.
func TestForwardInside(t *testing.T) {
	inside := server(t, map[string]string{"shop.test.": "192.0.2.1", "big.tcp.": "192.0.2.3"})
	outside := server(t, map[string]string{"shop.test.": "192.0.2.2"})
	var dialed []string
	dial := func(_ context.Context, network string, to netip.AddrPort) (net.Conn, error) {
		if to != netip.MustParseAddrPort("10.42.0.53:53") {
			t.Errorf("dials %v", to)
		}
		dialed = append(dialed, network)
		return net.Dial(network, inside.String())
	}
	var r Resolver
	r.Set(testNames(), &Forward{Servers: []netip.AddrPort{netip.MustParseAddrPort("[::ffff:10.42.0.53]:53"), outside}, Search: []string{"test"}})
	ctx := context.Background()
	for _, tt := range []struct {
		who     Asker
		name    string
		want    []netip.Addr
		outcome Outcome
		dialed  []string
	}{
		{Asker{Network: "Blue", Dial: dial}, "shop.test", addrs("192.0.2.1"), Found, []string{"udp"}},
		{Asker{Network: "Blue", Dial: dial}, "shop", addrs("192.0.2.1"), Found, []string{"udp"}},
		{Asker{Network: "Blue", Dial: dial}, "big.tcp", addrs("192.0.2.3"), Found, []string{"udp", "tcp"}},
		{Asker{Network: "Blue", Host: true, Dial: dial}, "shop.test", addrs("192.0.2.1"), Found, []string{"udp"}},
		{Asker{Network: "Blue", Host: true}, "shop.test", addrs("192.0.2.2"), Found, nil},
		{Asker{Network: "Blue"}, "shop.test", nil, TryAgain, nil},
	} {
		dialed = nil
		got, outcome := r.Addresses(ctx, tt.who, tt.name, true, false)
		if outcome != tt.outcome || !slices.Equal(got, tt.want) || !slices.Equal(dialed, tt.dialed) {
			t.Errorf("%s, host %t: %v %v, dialed %v; want %v %v, %v", tt.name, tt.who.Host, got, outcome, dialed, tt.want, tt.outcome, tt.dialed)
		}
	}
	// One that cannot be reached makes room for the next.
	fails := Asker{Network: "Blue", Host: true, Dial: func(context.Context, string, netip.AddrPort) (net.Conn, error) {
		return nil, errNoAnswer
	}}
	if got, outcome := r.Addresses(ctx, fails, "shop.test", true, false); outcome != Found || !slices.Equal(got, addrs("192.0.2.2")) {
		t.Errorf("the next server: %v %v", got, outcome)
	}
}
