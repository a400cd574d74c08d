// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"netcon/dataplane/stat"
	"netcon/dataplane/stream"
	"netcon/shm"

	"golang.org/x/sys/unix"
)

// openKind opens a datagram socket.
func (w *world) openKind(family uint16, kind, proto int32) (*app, syscall.Errno) {
	w.t.Helper()
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	c, _ := cookieOf(int32(p[0]))
	r, err := ask(w.t, w.attach, &shm.Request{Op: shm.OpSocket, Family: family, Cookie: c, Level: kind, Option: proto}, p[1])
	unix.Close(p[1])
	if err != nil {
		w.t.Fatal(err)
	}
	if r.Error != 0 {
		unix.Close(p[0])
		return nil, syscall.Errno(r.Error)
	}
	_ = unix.SetsockoptTimeval(p[0], unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 5})
	return &app{w: w, attach: w.attach, fd: p[0], cookie: c}, 0
}

func (w *world) udp() *app {
	w.t.Helper()
	a, e := w.openKind(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if e != 0 {
		w.t.Fatal(e)
	}
	return a
}

// bound opens a UDP socket with an address.
func (w *world) bound(address string) *app {
	w.t.Helper()
	a := w.udp()
	if e := a.bind(address); e != 0 {
		w.t.Fatal("bind", e)
	}
	return a
}

// record is a header and a payload.
func record(h shm.Datagram, payload string) []byte {
	h.Magic = shm.Magic
	return append(slices.Clone(shm.DatagramBytes(&h)), payload...)
}

func (a *app) sendTo(address, payload string) {
	a.w.t.Helper()
	h := shm.Datagram{}
	if address != "" {
		h.Remote = wireAddr(address)
	}
	if err := unix.Sendto(a.fd, record(h, payload), unix.MSG_NOSIGNAL, nil); err != nil {
		a.w.t.Fatalf("send: %v", err)
	}
}

func (a *app) receive() (h shm.Datagram, payload string) {
	a.w.t.Helper()
	b := make([]byte, shm.SizeofDatagram+shm.PayloadMax)
	n, err := a.read(b)
	if err != nil || n < shm.SizeofDatagram {
		a.w.t.Fatalf("receive: %d, %v", n, err)
	}
	copy(shm.DatagramBytes(&h), b)
	return h, string(b[shm.SizeofDatagram:n])
}

func (a *app) verdict() syscall.Errno {
	_, e := a.call(shm.Request{Op: shm.OpVerdict})
	return e
}

func TestDatagrams(t *testing.T) {
	w := newWorld(t)
	a, b := w.bound("10.0.0.1:7"), w.bound("10.0.0.1:8")
	for _, payload := range []string{"hello", "", string(bytes.Repeat([]byte("x"), 65507)), "end"} {
		b.sendTo("10.0.0.1:7", payload)
		h, got := a.receive()
		if got != payload || h.Magic != shm.Magic || h.Error != 0 || h.Flags != 0 || h.Cookie != a.cookie {
			t.Errorf("sent %d bytes, received %d, %+v", len(payload), len(got), h)
		}
		if h.Remote != wireAddr("10.0.0.1:8") || h.Ttl != 64 || h.Local.Scope != deviceIndex || h.Time != 0 {
			t.Errorf("header %+v", h)
		}
	}
	if e := a.connect("10.0.0.1:8"); e != 0 {
		t.Fatal(e)
	}
	a.sendTo("", "to the peer")
	if _, got := b.receive(); got != "to the peer" {
		t.Errorf("%q", got)
	}
	if r, e := a.call(shm.Request{Op: shm.OpGetpeername}); e != 0 || r.Addr != wireAddr("10.0.0.1:8") {
		t.Errorf("peer %v %v", r.Addr, e)
	}
	if _, e := a.call(shm.Request{Op: shm.OpConnect}); e != 0 {
		t.Error(e)
	}
	if _, e := a.call(shm.Request{Op: shm.OpGetpeername}); e != unix.ENOTCONN {
		t.Errorf("dissolved: %v", e)
	}
	for _, op := range []uint16{shm.OpListen, shm.OpRevive} {
		if _, e := a.call(shm.Request{Op: op}); e == 0 {
			t.Errorf("request %d of a datagram socket is carried out", op)
		}
	}
	w.eventually("the bytes are counted", func() bool { return w.sock(b).rx == uint64(len("to the peer")) })
}

func TestDatagramSocketKinds(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		family      uint16
		kind, proto int32
		want        syscall.Errno
		name        string
	}{
		{unix.AF_INET, unix.SOCK_DGRAM, 0, 0, "udp"},
		{unix.AF_INET6, unix.SOCK_DGRAM, unix.IPPROTO_UDP, 0, "udp"},
		{unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_ICMP, 0, "icmp"},
		{unix.AF_INET6, unix.SOCK_DGRAM, unix.IPPROTO_ICMPV6, 0, "icmp"},
		{unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP, 0, "raw"},
		{unix.AF_INET6, unix.SOCK_RAW, unix.IPPROTO_ICMPV6, 0, "raw"},
		{unix.AF_INET6, unix.SOCK_DGRAM, unix.IPPROTO_ICMP, unix.EPROTONOSUPPORT, ""},
		{unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_UDP, unix.EPROTONOSUPPORT, ""},
		{unix.AF_INET, unix.SOCK_DGRAM, 136, unix.EPROTONOSUPPORT, ""},
		{unix.AF_INET, 77, 0, unix.ESOCKTNOSUPPORT, ""},
		{unix.AF_UNIX, unix.SOCK_DGRAM, 0, unix.EAFNOSUPPORT, ""},
	} {
		a, e := w.openKind(c.family, c.kind, c.proto)
		if e != c.want {
			t.Errorf("socket %d %d %d: %v, want %v", c.family, c.kind, c.proto, e, c.want)
		}
		if e != 0 {
			continue
		}
		kind, _ := a.getInt(sol, unix.SO_TYPE)
		w.do(func() {
			if i := w.set.info(w.sock(a), time.Now()); i.Protocol != c.name || kind != c.kind || i.State != "UNCONN" {
				t.Errorf("socket %d %d %d: type %d, %+v", c.family, c.kind, c.proto, kind, i)
			}
		})
		a.close()
	}
	w.eventually("every socket is closed", func() bool { return w.set.Len() == 0 && len(w.eng.datagrams.socks) == 0 })
}

// TestDatagramsBeforeRequests: what was sent before a request was made is sent
// before it is carried out.
func TestDatagramsBeforeRequests(t *testing.T) {
	w := newWorld(t)
	a, b := w.bound("10.0.0.1:7"), w.udp()
	for ttl := int32(1); ttl <= 100; ttl++ {
		if e := b.setInt(ip4, unix.IP_TTL, ttl); e != 0 {
			t.Fatal(e)
		}
		b.sendTo("10.0.0.1:7", "probe")
	}
	for ttl := 1; ttl <= 100; ttl++ {
		if h, _ := a.receive(); int(h.Ttl) != ttl {
			t.Fatalf("datagram %d has TTL %d", ttl, h.Ttl)
		}
	}
	c := w.udp()
	c.sendTo("10.0.0.1:7", "binds")
	if r, e := c.call(shm.Request{Op: shm.OpGetsockname}); e != 0 || r.Addr.Port == 0 {
		t.Errorf("name of a socket that has sent: %v %v", r.Addr, e)
	}
}

func TestDatagramVerdict(t *testing.T) {
	w := newWorld(t)
	a := w.udp()
	report := func(address string) syscall.Errno {
		h := shm.Datagram{Flags: shm.DatagramReport}
		if address != "" {
			h.Remote = wireAddr(address)
		}
		if err := unix.Sendto(a.fd, record(h, "x"), 0, nil); err != nil {
			t.Fatal(err)
		}
		return a.verdict()
	}
	if e := report("10.0.0.1:99"); e != 0 {
		t.Errorf("to somebody: %v", e)
	}
	if e := report(addrUnreachable.String() + ":9"); e != unix.ENETUNREACH {
		t.Errorf("to the unreachable: %v", e)
	}
	if e := a.verdict(); e != 0 {
		t.Errorf("asked again: %v", e)
	}
	if e := report(""); e != unix.EDESTADDRREQ {
		t.Errorf("to nobody: %v", e)
	}
	a.sendTo(addrUnreachable.String()+":9", "not reported")
	if e := a.verdict(); e != 0 {
		t.Errorf("without a report: %v", e)
	}
	w.do(func() {
		if n := w.counts().Drops["datagram_refused"]; n != 3 {
			t.Errorf("%d datagrams counted as refused", n)
		}
	})
}

// TestDatagramErrors: what the network reports reaches a connected socket in
// order, and its error queue if it has asked for one.
func TestDatagramErrors(t *testing.T) {
	w := newWorld(t)
	a := w.udp()
	if e := a.connect("10.0.0.1:9"); e != 0 {
		t.Fatal(e)
	}
	a.sendTo("", "lost")
	if h, _ := a.receive(); h.Error != int32(unix.ECONNREFUSED) {
		t.Errorf("%+v", h)
	}
	if _, e := a.call(shm.Request{Op: shm.OpErrorQueue}); e != unix.EAGAIN {
		t.Errorf("queue of a socket that did not ask: %v", e)
	}
	if e := a.setInt(ip4, unix.IP_RECVERR, 1); e != 0 {
		t.Fatal(e)
	}
	for range maxErrors + 5 {
		a.sendTo("", "lost again")
		a.receive()
	}
	for i := range maxErrors + 1 {
		r, e := a.call(shm.Request{Op: shm.OpErrorQueue})
		if i == maxErrors {
			if e != unix.EAGAIN {
				t.Errorf("more than %d entries: %v", maxErrors, e)
			}
			break
		}
		var c shm.Cause
		copy(shm.CauseBytes(&c), r.Opt[:])
		if quoted := string(r.Opt[shm.SizeofCause:r.Optlen]); e != 0 || quoted != "lost again" || c.Error != uint32(unix.ECONNREFUSED) ||
			c.Origin != 2 || c.Type != 3 || c.Code != 3 || c.Offender != wireAddr("10.0.0.1:0") || r.Addr != wireAddr("10.0.0.1:9") {
			t.Fatalf("entry %d: %v %+v %q to %+v", i, e, c, quoted, r.Addr)
		}
	}
}

// TestDatagramHold: nothing is lost or reordered where the engine has no room for
// a while, and the pair is not read meanwhile.
func TestDatagramHold(t *testing.T) {
	w := newWorld(t)
	a, b := w.bound("10.0.0.1:7"), w.udp()
	w.do(func() { w.eng.datagrams.full = true })
	for i := range 50 {
		b.sendTo("10.0.0.1:7", fmt.Sprint(i))
	}
	w.eventually("a burst is held", func() bool { return w.set.held > 0 })
	w.do(func() {
		if d := w.sock(b).dgram; len(d.held) > burstSize || w.eng.datagrams.sends != 1 {
			t.Errorf("%d held, %d sends", len(d.held), w.eng.datagrams.sends)
		}
		w.eng.room()
	})
	for i := range 50 {
		if _, got := a.receive(); got != fmt.Sprint(i) {
			t.Fatalf("datagram %d is %q", i, got)
		}
	}
	w.do(func() {
		if w.set.held != 0 {
			t.Errorf("%d bytes are still held", w.set.held)
		}
		w.eng.datagrams.full = true
	})
	// A socket that ends while it waits sends the rest first.
	b.sendTo("10.0.0.1:7", "last words")
	b.close()
	w.eventually("the last datagram is held", func() bool { return w.set.held > 0 })
	w.do(func() { w.eng.room() })
	if _, got := a.receive(); got != "last words" {
		t.Errorf("%q", got)
	}
	w.eventually("the sender is closed", func() bool { return w.set.Len() == 1 })
}

// TestDatagramHoldBound: what is held in a Set has a bound.
func TestDatagramHoldBound(t *testing.T) {
	w := newWorld(t)
	w.do(func() { w.eng.datagrams.full = true })
	big := string(make([]byte, 60000))
	var apps []*app
	for range maxHeld/len(big) + 5 {
		a := w.udp()
		a.sendTo("10.0.0.1:7", big)
		apps = append(apps, a)
	}
	w.eventually("the bound is reached", func() bool { return w.counts().Drops["datagram_held"] >= 5 })
	w.do(func() {
		if w.set.held > maxHeld {
			t.Errorf("%d bytes are held, the bound is %d", w.set.held, maxHeld)
		}
	})
	for _, a := range apps {
		a.close()
	}
	w.do(func() { w.eng.room() })
	w.eventually("nothing is held", func() bool { return w.set.held == 0 && w.set.Len() == 0 })
}

// TestDatagramOverflow: what an application does not read is lost at the end of
// the queue, and counted, for it as well.
func TestDatagramOverflow(t *testing.T) {
	w := newWorld(t)
	a, b := w.bound("10.0.0.1:7"), w.udp()
	if e := a.setInt(sol, unix.SO_RCVBUF, 20000); e != 0 {
		t.Fatal(e)
	}
	if e := a.setInt(sol, unix.SO_RXQ_OVFL, 1); e != 0 {
		t.Fatal(e)
	}
	const sent = 500
	for range sent {
		b.sendTo("10.0.0.1:7", string(make([]byte, 1000)))
	}
	var drops uint64
	w.eventually("all is delivered or lost", func() bool {
		s := w.counts()
		drops = s.Drops["socket_queue"]
		return s.Counters["datagrams_to_app"]+drops == sent
	})
	if drops == 0 || drops > sent-10 {
		t.Fatalf("%d of %d lost", drops, sent)
	}
	for range sent - drops {
		if h, _ := a.receive(); h.Flags != shm.WantOverflow {
			t.Fatalf("flags %x", h.Flags)
		}
	}
	b.sendTo("10.0.0.1:7", "after")
	if h, got := a.receive(); got != "after" || uint64(h.Drops) != drops {
		t.Errorf("%q, %d drops, want %d", got, h.Drops, drops)
	}
	w.do(func() {
		if i := w.set.info(w.sock(a), time.Now()); uint64(i.Drops) != drops {
			t.Errorf("shown as %d drops", i.Drops)
		}
	})
}

// TestDatagramWants: each option that asks for a control message sets its bit.
func TestDatagramWants(t *testing.T) {
	w := newWorld(t)
	a, e := w.openKind(unix.AF_INET6, unix.SOCK_DGRAM, 0)
	if e != 0 {
		t.Fatal(e)
	}
	all := uint32(0)
	for _, o := range wanted {
		row := &optionTable[o.row]
		if e := a.setInt(row.level, row.name, 1); e != 0 {
			t.Errorf("option %d of level %d: %v", row.name, row.level, e)
		}
		all |= o.bit
	}
	w.do(func() {
		if got := w.sock(a).dgram.wants; got != all {
			t.Errorf("wants %x, want %x", got, all)
		}
	})
	if e := a.bind("[fd00::1]:7"); e != 0 {
		t.Fatal(e)
	}
	b, _ := w.openKind(unix.AF_INET6, unix.SOCK_DGRAM, 0)
	before := uint64(time.Now().UnixNano())
	b.sendTo("[fd00::1]:7", "stamped")
	if h, _ := a.receive(); h.Time < before || h.Time > uint64(time.Now().UnixNano()) || h.Flags != all {
		t.Errorf("%+v", h)
	}
}

// TestHostileDatagrams: bad records are counted, harm nobody, and the socket goes
// on.
// TestDatagramsWithoutHeader: what a program writes past the library goes to the
// peer.
func TestDatagramsWithoutHeader(t *testing.T) {
	w := newWorld(t)
	a, b := w.bound("10.0.0.1:7"), w.udp()
	if e := b.connect("10.0.0.1:7"); e != 0 {
		t.Fatal(e)
	}
	for _, n := range []int{1, 3, 4, shm.SizeofDatagram - 1, shm.SizeofDatagram, shm.SizeofDatagram + 1, 2*shm.SizeofDatagram + 1, 65507} {
		b.sendTo("", "with a header")
		if _, got := a.receive(); got != "with a header" {
			t.Fatalf("received %q", got)
		}
		want := make([]byte, n)
		for i := range want {
			want[i] = byte(i % 251)
		}
		if _, err := unix.Write(b.fd, want); err != nil {
			t.Fatal(err)
		}
		if _, got := a.receive(); got != string(want) {
			t.Errorf("of %d bytes %d came, or others", n, len(got))
		}
	}
}

func TestHostileDatagrams(t *testing.T) {
	w := newWorld(t)
	a, b, other := w.bound("10.0.0.1:7"), w.udp(), w.udp()
	null := must(os.Open("/dev/null"))
	defer null.Close()
	v6 := shm.Datagram{Remote: wireAddr("[::1]:7")}
	local := shm.Datagram{Remote: wireAddr("10.0.0.1:7"), Local: wireAddr("[::1]:7")}
	family := shm.Datagram{Remote: shm.Addr{Family: 77}}
	flags := shm.Datagram{Flags: 0x80, Remote: wireAddr("10.0.0.1:7")}
	good := record(shm.Datagram{Remote: wireAddr("10.0.0.1:7")}, "good")
	noMagic := slices.Clone(good)
	noMagic[0]++
	bad := [][]byte{
		nil,
		{1},
		good[:shm.SizeofDatagram-1], noMagic,
		record(v6, "x"), record(local, "x"), record(family, "x"), record(flags, "x"),
		append(slices.Clone(good), make([]byte, 70000)...),
	}
	for i, r := range bad {
		if err := unix.Sendmsg(b.fd, r, nil, nil, 0); err != nil {
			t.Fatalf("record %d: %v", i, err)
		}
		err := unix.Sendmsg(b.fd, good, unix.UnixRights(int(null.Fd())), nil, 0)
		if err == unix.EPERM { // the kernel has SO_PASSRIGHTS
			err = unix.Sendmsg(b.fd, good, nil, nil, 0)
		}
		if err != nil {
			t.Fatal(err)
		}
		other.sendTo("10.0.0.1:7", "other")
		seen := map[string]int{}
		for range 2 {
			_, got := a.receive()
			seen[got]++
		}
		if seen["good"] != 1 || seen["other"] != 1 {
			t.Fatalf("after record %d: %v", i, seen)
		}
	}
	w.do(func() {
		if n := w.counts().Drops["datagram_header"]; n != uint64(len(bad)) {
			t.Errorf("%d of %d bad records counted", n, len(bad))
		}
	})

	// An end that is shut, in each direction, is no reason to spin.
	_ = unix.Shutdown(b.fd, unix.SHUT_WR)
	_ = unix.Shutdown(other.fd, unix.SHUT_RD)
	a.sendTo("10.0.0.1:"+fmt.Sprint(port(t, other)), "to the deaf")
	w.eventually("nothing is left to do", func() bool { return !w.set.Busy() })
	a.sendTo("10.0.0.1:7", "to itself")
	if _, got := a.receive(); got != "to itself" {
		t.Errorf("%q", got)
	}
	b.close()
	other.close()
	w.eventually("both are closed", func() bool { return w.set.Len() == 1 })
}

func port(t *testing.T, a *app) uint16 {
	t.Helper()
	r, e := a.call(shm.Request{Op: shm.OpGetsockname})
	if e != 0 {
		t.Fatal(e)
	}
	return binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, r.Addr.Port))
}

// TestDatagramLastClose: what was written before the last close is sent, also by
// one who leaves datagrams unread.
func TestDatagramLastClose(t *testing.T) {
	w := newWorld(t)
	a, b := w.bound("10.0.0.1:7"), w.bound("10.0.0.1:8")
	a.sendTo("10.0.0.1:8", "unread")
	w.eventually("it lies in the pair", func() bool { return w.sock(b).rx > 0 })
	for i := range 200 {
		b.sendTo("10.0.0.1:7", fmt.Sprint(i))
	}
	b.close()
	for i := range 200 {
		if _, got := a.receive(); got != fmt.Sprint(i) {
			t.Fatalf("datagram %d is %q", i, got)
		}
	}
	w.eventually("the sender is closed", func() bool { return w.set.Len() == 1 })
	// Its port is free for who asks after the close, whatever is heard first.
	c := w.udp()
	w.do(func() {})
	a.close()
	if e := c.bind("10.0.0.1:7"); e != 0 {
		t.Errorf("bind to the port of a socket that was closed: %v", e)
	}
}

// TestDatagramRestart: an engine that died takes its datagram sockets along.
func TestDatagramRestart(t *testing.T) {
	w := newWorld(t)
	a := w.bound("10.0.0.1:7")
	w.do(func() {
		w.eng = newFake()
		w.set.Restart(w.eng)
	})
	if n, err := a.read(make([]byte, 1)); n != 0 || err != nil {
		t.Errorf("read: %d, %v", n, err)
	}
	if _, e := a.call(shm.Request{Op: shm.OpGetsockname}); e != notOurs {
		t.Errorf("name: %v", e)
	}
	if e := w.bound("10.0.0.1:7"); e == nil {
		t.Error("no socket of the new engine")
	}
}

func TestDatagramGroups(t *testing.T) {
	w := newWorld(t)
	a := w.udp()
	request := make([]byte, 136)
	binary.NativeEndian.PutUint16(request[8:], unix.AF_INET)
	copy(request[12:], []byte{239, 1, 1, 2})
	for _, c := range []struct {
		name  int32
		value []byte
		want  syscall.Errno
	}{
		{unix.IP_ADD_MEMBERSHIP, []byte{239, 1, 1, 1, 0, 0, 0, 0}, 0},
		{unix.IP_ADD_MEMBERSHIP, []byte{239, 1, 1, 1, 0, 0, 0, 0, 2, 0, 0, 0}, unix.EADDRINUSE},
		{unix.IP_ADD_MEMBERSHIP, []byte{239, 1, 1, 1, 0, 0, 0, 0, 9, 0, 0, 0}, unix.ENODEV},
		{unix.IP_ADD_MEMBERSHIP, []byte{239, 1, 1, 1}, unix.EINVAL},
		{unix.IP_DROP_MEMBERSHIP, []byte{239, 1, 1, 1, 0, 0, 0, 0}, 0},
		{unix.IP_DROP_MEMBERSHIP, []byte{239, 1, 1, 1, 0, 0, 0, 0}, unix.EADDRNOTAVAIL},
		{unix.MCAST_JOIN_GROUP, request, 0},
		{unix.MCAST_JOIN_GROUP, request[:100], unix.EINVAL},
		{unix.MCAST_LEAVE_GROUP, request, 0},
	} {
		if e := a.setBytes(ip4, c.name, c.value); e != c.want {
			t.Errorf("option %d %v: %v, want %v", c.name, c.value, e, c.want)
		}
	}
	b, _ := w.openKind(unix.AF_INET6, unix.SOCK_RAW, unix.IPPROTO_ICMPV6)
	filter := bytes.Repeat([]byte{0xff}, 32)
	filter[16] = 0xfe
	if e := b.setBytes(solICMPv6, icmp6Filter, filter); e != 0 {
		t.Error(e)
	}
	if got, e := b.get(solICMPv6, icmp6Filter, 32); e != 0 || !bytes.Equal(got, filter) {
		t.Errorf("%x %v", got, e)
	}
	w.do(func() {
		if f := w.eng.datagrams.socks[w.sock(b).handle].filter; f.Blocks(128) || !f.Blocks(129) {
			t.Errorf("filter %x", f)
		}
	})
	if e := a.setBytes(solRaw, icmpFilter, le(1)); e != unix.ENOPROTOOPT {
		t.Errorf("ICMP_FILTER of UDP: %v", e)
	}
}

// TestDatagramOptionsAsKernel compares every option with a kernel UDP socket.
func TestDatagramOptionsAsKernel(t *testing.T) {
	w := newWorld(t)
	values := [][]byte{le(0), le(1), le(2), le(5), le(-1), le(255), le(256), le(1000), le(40000)}
	differs := map[[2]int32]bool{
		{sol, unix.SO_SNDBUF}:         true, // the host's sysctl; TestDatagramOverflow
		{sol, unix.SO_RCVBUF}:         true,
		{sol, unix.SO_RCVBUFFORCE}:    true, // by capability
		{sol, unix.SO_SNDBUFFORCE}:    true,
		{solUDP, unix.UDP_CORK}:       true, // refused
		{ip4, unix.IP_MULTICAST_IF}:   true, // 5 is no interface of the host either
		{ip6, unix.IPV6_MULTICAST_IF}: true,
		{solRaw, ipv6Checksum}:        true, // of raw sockets
	}
	for _, o := range datagramOptions() {
		key := [2]int32{o.level, o.name}
		if differs[key] || o.get == nil && o.class == own {
			continue
		}
		family := uint16(unix.AF_INET)
		if o.level == ip6 || o.level == solICMPv6 {
			family = unix.AF_INET6
		}
		k, err := unix.Socket(int(family), unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		a, _ := w.openKind(family, unix.SOCK_DGRAM, 0)
		check := func(what string) {
			t.Helper()
			for _, room := range []int{64, 4, 0} {
				want, we := kernelGet(k, o.level, o.name, room)
				got, ge := a.get(o.level, o.name, room)
				if we != ge || we == 0 && !bytes.Equal(want, got) {
					t.Errorf("option %v %s, room %d: %v %v, kernel %v %v", key, what, room, got, ge, want, we)
				}
			}
		}
		check("default")
		for _, v := range values {
			want, got := kernelSet(k, o.level, o.name, v), a.setBytes(o.level, o.name, v)
			if want != got {
				t.Errorf("option %v set to %v: %v, kernel %v", key, v, got, want)
			} else if want == 0 {
				check(fmt.Sprintf("set to %v", v))
			}
		}
		unix.Close(k)
		a.close()
	}
}

func TestDatagramAllocs(t *testing.T) {
	w := idleWorld(t)
	t.Cleanup(w.free)
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-quit:
				return
			default:
				w.turn(1)
			}
		}
	}()
	a, b := w.bound("10.0.0.1:7"), w.bound("10.0.0.1:8")
	close(quit)
	<-done
	as, bs := w.sock(a), w.sock(b)
	out := record(shm.Datagram{Remote: wireAddr("10.0.0.1:7")}, string(make([]byte, 64)))
	in := make([]byte, 256)
	turn := func() {
		for range 5 {
			_, _ = send(int32(b.fd), out)
		}
		bs.Ready(unix.EPOLLIN)
		for w.set.Busy() || len(w.eng.events) > 0 {
			for _, e := range w.eng.events {
				w.set.Readable(e.user)
			}
			w.eng.events = w.eng.events[:0]
			w.set.Work(64)
		}
		for range 5 {
			_, _ = recv(int32(a.fd), in)
		}
	}
	turn()
	if n := testing.AllocsPerRun(500, turn); n != 0 {
		t.Errorf("%v allocations per burst", n)
	}
	if as.rx < 500*5*64 || bs.tx < 500*5*64 {
		t.Errorf("moved %d and %d bytes", bs.tx, as.rx)
	}
}

// FuzzDatagramHeader: any header is taken or refused.
func FuzzDatagramHeader(f *testing.F) {
	f.Add(record(shm.Datagram{Remote: wireAddr("10.0.0.1:7")}, ""), false)
	f.Add(record(shm.Datagram{Remote: wireAddr("[::]:7"), Local: wireAddr("[fd00::1]:0"), Flags: 7, Ttl: 3, Tos: 4}, ""), true)
	f.Fuzz(func(t *testing.T, b []byte, six bool) {
		var h shm.Datagram
		var m stream.Message
		family := stream.IPv4
		if six {
			family = stream.IPv6
		}
		copy(shm.DatagramBytes(&h), b)
		if e := decodeDatagram(&h, family, &m); e != 0 {
			return
		}
		for _, ip := range []struct{ valid, is6 bool }{
			{m.Remote.IsValid(), m.Remote.Addr().Is6()}, {m.Local.IsValid(), m.Local.Is6()},
		} {
			if ip.valid && ip.is6 != six {
				t.Fatalf("an address of the other family in %+v", m)
			}
		}
		if m.Remote.Addr().Unmap().IsUnspecified() || m.Err != 0 {
			t.Fatalf("%+v", m)
		}
	})
}

// counts is what was counted up to now.
func (w *world) counts() stat.Snapshot {
	w.stat.Publish()
	return stat.Read(w.stat)
}
