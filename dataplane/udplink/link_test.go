// SPDX-License-Identifier: Apache-2.0

package udplink

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"netcon/dataplane/stat"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func local(s string, port uint16) netip.AddrPort { return netip.AddrPortFrom(addr(s), port) }

// open opens links and closes them with the test.
func open(t testing.TB, cfg Config) []*Link {
	t.Helper()
	if cfg.Workers == 0 {
		cfg.Workers = 1
	}
	for range cfg.Workers {
		cfg.Stats = append(cfg.Stats, new(stat.Block))
	}
	links, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, l := range links {
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	return links
}

// pair opens a link on each of two addresses that share a port. Equal addresses
// give one link that talks to itself.
func pair(t testing.TB, a, b string, cfg Config) (*Link, *Link) {
	t.Helper()
	cfg.Local = local(a, 0)
	la := open(t, cfg)[0]
	if a == b {
		return la, la
	}
	cfg.Local = local(b, la.Local().Port())
	return la, open(t, cfg)[0]
}

func count(l *Link, c stat.Counter) int {
	l.stats.Publish()
	return int(l.stats.Get(c))
}

func drops(l *Link, r stat.Reason) int {
	l.stats.Publish()
	return int(l.stats.Drops(r))
}

// allDrops sums every reason.
func allDrops(l *Link) int {
	n := 0
	for r := stat.Accepted + 1; r < stat.NumReasons; r++ {
		n += drops(l, r)
	}
	return n
}

func put(l *Link, dst netip.Addr, flow uint32, frame []byte) {
	copy(l.Reserve(dst, flow, len(frame)), frame)
	l.Commit()
}

// frames keeps copies of what a link receives.
type frames struct {
	src  []netip.Addr
	data [][]byte
}

func (f *frames) Frame(src netip.Addr, payload []byte) {
	f.src = append(f.src, src)
	f.data = append(f.data, bytes.Clone(payload))
}

func readable(l *Link, timeout time.Duration) bool {
	n, _ := unix.Poll([]unix.PollFd{{Fd: int32(l.FD()), Events: unix.POLLIN}}, int(timeout.Milliseconds()))
	return n > 0
}

// receive waits for n frames.
func receive(t testing.TB, l *Link, n int) *frames {
	t.Helper()
	f := new(frames)
	for got := 0; got < n; {
		k := l.Recv(f, n-got)
		if got += k; k == 0 && !readable(l, time.Second) {
			t.Fatalf("received %d of %d frames", got, n)
		}
	}
	return f
}

// failed waits for a pending error of a socket.
func failed(t *testing.T, fd int) {
	t.Helper()
	p := []unix.PollFd{{Fd: int32(fd)}}
	if n, err := unix.Poll(p, 1000); n != 1 || p[0].Revents&unix.POLLERR == 0 {
		t.Fatalf("no error pending: %v", err)
	}
}

// newNetns moves the test to a network namespace of its own, with lo up.
func newNetns(t *testing.T) {
	t.Helper()
	runtime.LockOSThread()
	old, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skipf("unshare network namespace: %v (need CAP_SYS_ADMIN)", err)
	}
	t.Cleanup(func() {
		// A thread that cannot go back dies locked.
		if err := unix.Setns(int(old.Fd()), unix.CLONE_NEWNET); err != nil {
			t.Error(err)
			return
		}
		_ = old.Close()
		runtime.UnlockOSThread()
	})
	run(t, "ip link set lo up")
}

func run(t *testing.T, command string) {
	t.Helper()
	f := strings.Fields(command)
	if out, err := exec.Command(f[0], f[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
}

// payload is the content of frame seq of a flow; its first byte is the flow.
func payload(flow, seq uint32, n int) []byte {
	r := rand.New(rand.NewPCG(uint64(flow), uint64(seq)))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	b[0] = byte(flow)
	return b
}

// sizes are rich in what ends a train: shorter and longer frames, runs beyond
// maxTrain, and runs beyond 64 KiB.
func sizes(r *rand.Rand, mtu, n int) []int {
	var s []int
	for len(s) < n {
		size := 1 + r.IntN(mtu)
		switch r.IntN(4) {
		case 0:
			size = mtu
		case 1:
			size = 1 + r.IntN(min(100, mtu))
		}
		for range 1 + r.IntN(100)*r.IntN(2) {
			s = append(s, size)
		}
	}
	return s[:n]
}

func TestBoundaries(t *testing.T) {
	for _, nets := range []struct{ name, a, b string }{
		{"ipv4", "127.0.0.2", "127.0.0.3"},
		{"ipv6", "::1", "::1"},
		{"mapped", "::ffff:127.0.0.2", "127.0.0.3"},
	} {
		for _, disable := range []bool{false, true} {
			// The last is the largest that loopback's MTU of 65,536 lets IPv6
			// carry unfragmented.
			for _, mtu := range []int{1, 1450, 8950, 65488} {
				t.Run(fmt.Sprintf("%s/mtu=%d/disable=%v", nets.name, mtu, disable), func(t *testing.T) {
					a, b := pair(t, nets.a, nets.b, Config{MTU: mtu, DisableOffload: disable})
					if f := a.Features(); f.GSO == disable || f.GRO == disable || f.GSORefused != "" {
						t.Fatalf("features: %v", f)
					}
					testBoundaries(t, a, b, addr(nets.a).Unmap(), addr(nets.b), mtu)
				})
			}
		}
	}
}

func testBoundaries(t *testing.T, a, b *Link, src, dst netip.Addr, mtu int) {
	const flows = 7
	r := rand.New(rand.NewPCG(1, uint64(mtu)))
	n := 1500
	if mtu > 10000 {
		n = 150
	}
	var sent, received [flows][][]byte
	burst, queued := 0, 0
	drain := func() {
		a.Flush()
		for i, frame := range receive(t, b, burst).data {
			if len(frame) == 0 || frame[0] >= flows {
				t.Fatalf("frame %d of the burst belongs to no flow: %x", i, frame)
			}
			received[frame[0]] = append(received[frame[0]], frame)
		}
		burst, queued = 0, 0
	}
	total := 0
	for _, size := range sizes(r, mtu, n) {
		flow := uint32(r.IntN(flows))
		p := payload(flow, uint32(len(sent[flow])), size)
		sent[flow] = append(sent[flow], p)
		put(a, dst, flow, p)
		total += size
		burst++
		// A burst stays well below the receiver's socket buffer, in which
		// a short datagram takes up to 1 KiB.
		if queued += size + 1024; queued > 500<<10 {
			drain()
		}
	}
	drain()
	for flow := range sent {
		if len(sent[flow]) != len(received[flow]) {
			t.Fatalf("flow %d: sent %d frames, received %d", flow, len(sent[flow]), len(received[flow]))
		}
		for i := range sent[flow] {
			if !bytes.Equal(sent[flow][i], received[flow][i]) {
				t.Fatalf("flow %d frame %d: sent %d bytes, received %d, or another order",
					flow, i, len(sent[flow][i]), len(received[flow][i]))
			}
		}
	}
	for _, c := range []struct {
		name      string
		got, want int
	}{
		{"tx_frames", count(a, stat.TxFrames), n},
		{"rx_frames", count(b, stat.RxFrames), n},
		{"tx_bytes", count(a, stat.TxBytes), total},
		{"rx_bytes", count(b, stat.RxBytes), total},
		{"drops", allDrops(a) + allDrops(b), 0},
	} {
		if c.got != c.want {
			t.Errorf("%s = %d, want %d", c.name, c.got, c.want)
		}
	}
	put(a, dst, 0, payload(0, 0, 1))
	a.Flush()
	if f := receive(t, b, 1); f.src[0] != src {
		t.Errorf("source %v, want %v", f.src[0], src)
	}
}

func TestTrains(t *testing.T) {
	const n = 128
	for _, tt := range []struct {
		disable bool
		// calls for n frames of one flow; receiving may start before all
		// have arrived
		tx, rx int
	}{{false, 1, 4}, {true, n / sendBatch, n / 2}} {
		t.Run(fmt.Sprintf("disable=%v", tt.disable), func(t *testing.T) {
			a, b := pair(t, "127.0.0.2", "127.0.0.3", Config{MTU: 1000, DisableOffload: tt.disable})
			p := payload(0, 0, 1000)
			for range n {
				put(a, addr("127.0.0.3"), 7, p)
			}
			a.Flush()
			receive(t, b, n)
			if tx, rx := count(a, stat.TxCalls), count(b, stat.RxCalls); tx != tt.tx || rx > tt.rx {
				t.Errorf("%d send calls and %d receive calls, want %d and at most %d", tx, rx, tt.tx, tt.rx)
			}
		})
	}
}

// What a train takes, and what ends it.
func TestTrainShape(t *testing.T) {
	x, y := addr("127.0.0.3"), addr("127.0.0.4")
	type frame struct {
		dst netip.Addr
		n   int
	}
	many := func(k, n int) (f []frame) {
		for range k {
			f = append(f, frame{x, n})
		}
		return f
	}
	for _, tt := range []struct {
		name   string
		frames []frame
		want   []int // frames per train
	}{
		{"equal", many(5, 100), []int{5}},
		{"shorter ends it", []frame{{x, 100}, {x, 100}, {x, 99}, {x, 99}, {x, 100}}, []int{3, 1, 1}},
		{"longer starts another", []frame{{x, 100}, {x, 101}, {x, 101}}, []int{1, 2}},
		{"another VTEP", []frame{{x, 100}, {y, 100}, {y, 100}, {x, 100}}, []int{1, 2, 1}},
		{"64 frames", many(130, 10), []int{64, 64, 2}},
		{"64 KiB", many(10, 9000), []int{7, 3}},
	} {
		l := open(t, Config{Local: local("127.0.0.2", 0)})[0]
		for _, f := range tt.frames {
			put(l, f.dst, 1, make([]byte, f.n))
		}
		var got []int
		for _, tr := range l.socket(1).trains[:l.socket(1).n] {
			got = append(got, tr.count)
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: trains of %v frames, want %v", tt.name, got, tt.want)
		}
	}
}

// What is sent to a send socket's port takes no memory.
func TestSendSocketRefusesInbound(t *testing.T) {
	l := open(t, Config{Local: local("127.0.0.2", 0)})[0]
	fd := l.send[0].fd
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Sendto(l.send[1].fd, []byte("x"), 0, name); err != nil {
		t.Fatal(err)
	}
	if n, _ := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 20); n != 0 {
		t.Error("a send socket took a datagram")
	}
}

// The budget may end within a train; the rest comes next.
func TestBudget(t *testing.T) {
	a, b := pair(t, "127.0.0.2", "127.0.0.3", Config{MTU: 100})
	for i := range 50 {
		put(a, addr("127.0.0.3"), 1, payload(uint32(i), 0, 100))
	}
	a.Flush()
	if !readable(b, time.Second) {
		t.Fatal("nothing arrived")
	}
	f := new(frames)
	for _, want := range []int{7, 7, 7, 0, 7, 7, 7, 7, 1, 0} {
		budget := 7
		if want == 0 && len(f.data) < 50 {
			budget = 0
		}
		if got := b.Recv(f, budget); got != want {
			t.Fatalf("Recv gave %d frames after %d, want %d", got, len(f.data), want)
		}
	}
	for i, p := range f.data {
		if int(p[0]) != i {
			t.Fatalf("frame %d arrived as number %d", p[0], i)
		}
	}
}

func TestFD(t *testing.T) {
	a, b := pair(t, "127.0.0.2", "127.0.0.3", Config{})
	if readable(b, 0) {
		t.Fatal("readable though nothing was sent")
	}
	put(a, addr("127.0.0.3"), 1, []byte("x"))
	if readable(b, 0) {
		t.Fatal("readable before Flush")
	}
	a.Flush()
	if !readable(b, time.Second) {
		t.Fatal("not readable though a frame arrived")
	}
	receive(t, b, 1)
	if readable(b, 0) {
		t.Fatal("readable though all was received")
	}
}

func TestWorkersShareLoad(t *testing.T) {
	const n, senders = 640, 32
	a := open(t, Config{Local: local("127.0.0.2", 0), SendSockets: senders})[0]
	b := open(t, Config{Local: local("127.0.0.3", a.Local().Port()), Workers: 2})
	for i := range n {
		put(a, addr("127.0.0.3"), rand.New(rand.NewPCG(1, uint64(i))).Uint32(), payload(uint32(i), 0, 100))
	}
	a.Flush()
	ports := 0
	for i := range a.send {
		if a.send[i].trains[0].count > 0 {
			ports++
		}
	}
	if ports < senders/2 {
		t.Errorf("%d flows used %d of %d source ports", n, ports, senders)
	}
	var got [2]int
	for got[0]+got[1] < n {
		k := 0
		for w := range b {
			m := b[w].Recv(new(frames), n)
			got[w] += m
			k += m
		}
		if k == 0 && !readable(b[0], 100*time.Millisecond) && !readable(b[1], time.Second) {
			t.Fatalf("received %v of %d frames", got, n)
		}
	}
	// All senders hash to one of the two with probability 2^-31.
	if got[0] == 0 || got[1] == 0 {
		t.Errorf("workers received %v frames, want both to work", got)
	}
}

func TestOpenErrors(t *testing.T) {
	for _, workers := range []int{1, 2, 3} {
		first := open(t, Config{Local: local("127.0.0.4", 0), Workers: workers})[0]
		for _, second := range []int{1, 2} {
			_, err := Open(Config{Local: first.Local(), Workers: second, Stats: blocks(second)})
			want := fmt.Sprintf("bind udp socket %[1]s: address already in use (is another netcon up running on %[1]s?)", first.Local())
			if !errors.Is(err, unix.EADDRINUSE) || err.Error() != want {
				t.Errorf("open %d workers beside %d: %v, want %q", second, workers, err, want)
			}
		}
	}
	_, err := Open(Config{Local: local("192.0.2.1", 4789), Workers: 1, Stats: blocks(1)})
	want := "bind udp socket 192.0.2.1:4789: cannot assign requested address (is it configured on an interface?)"
	if !errors.Is(err, unix.EADDRNOTAVAIL) || err.Error() != want {
		t.Errorf("open foreign address: %v, want %q", err, want)
	}
	lo := local("127.0.0.4", 0)
	for name, cfg := range map[string]Config{
		"no address":   {Workers: 1, Stats: blocks(1)},
		"wildcard":     {Local: local("0.0.0.0", 0), Workers: 1, Stats: blocks(1)},
		"wildcard6":    {Local: local("::", 0), Workers: 1, Stats: blocks(1)},
		"multicast":    {Local: local("239.0.0.1", 0), Workers: 1, Stats: blocks(1)},
		"no workers":   {Local: lo},
		"few stats":    {Local: lo, Workers: 2, Stats: blocks(1)},
		"nil stat":     {Local: lo, Workers: 1, Stats: make([]*stat.Block, 1)},
		"MTU":          {Local: lo, Workers: 1, Stats: blocks(1), MTU: maxPayload + 1},
		"negative MTU": {Local: lo, Workers: 1, Stats: blocks(1), MTU: -1},
		"senders":      {Local: lo, Workers: 1, Stats: blocks(1), SendSockets: maxSendSockets + 1},
		"buffer":       {Local: lo, Workers: 1, Stats: blocks(1), RecvBuffer: -1},
		"zone":         {Local: local("fe80::1%nosuch", 0), Workers: 1, Stats: blocks(1)},
	} {
		if links, err := Open(cfg); err == nil || links != nil {
			t.Errorf("%s: opened", name)
		}
	}
}

func blocks(n int) []*stat.Block {
	s := make([]*stat.Block, n)
	for i := range s {
		s[i] = new(stat.Block)
	}
	return s
}

func openFDs(t *testing.T) int {
	t.Helper()
	d, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(d)
}

func TestCloseReleases(t *testing.T) {
	before := openFDs(t)
	links, err := Open(Config{Local: local("127.0.0.5", 0), Workers: 3, SendSockets: 5, Stats: blocks(3)})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := openFDs(t)-before, 3*(1+5); got != want {
		t.Errorf("opened %d fds, want %d", got, want)
	}
	if _, err := Open(Config{Local: links[0].Local(), Workers: 2, Stats: blocks(2)}); err == nil {
		t.Error("opened twice")
	}
	for range 2 {
		for _, l := range links {
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	if got := openFDs(t) - before; got != 0 {
		t.Errorf("%d fds leaked", got)
	}
	// The address is free again.
	open(t, Config{Local: links[0].Local(), Workers: 2})
}

func TestFeatures(t *testing.T) {
	l := open(t, Config{Local: local("127.0.0.6", 0), SendSockets: 3, RecvBuffer: 64 << 10, SendBuffer: 128 << 10})[0]
	const want = "gso on, gro on, 3 send sockets, receive buffer 64 KiB, send buffer 128 KiB"
	if got := l.Features().String(); got != want {
		t.Errorf("features %q, want %q", got, want)
	}
	l = open(t, Config{Local: local("127.0.0.6", 0), DisableOffload: true})[0]
	if f := l.Features(); f.GSO || f.GRO || f.RecvBuffer != defaultBuffer || f.SendSockets != defaultSendSockets {
		t.Errorf("features %+v", f)
	}
}
