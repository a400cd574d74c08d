// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"netcon/internal/testenv"
)

// traceCommand returns the command line of a trace of a daemon.
func (d *daemon) traceCommand(args ...string) []string {
	return append([]string{filepath.Join(buildDir(), "netcon"), "trace", "-run", filepath.Join(d.dir, "run")}, args...)
}

// traceProcess is netcon trace, writing to a file.
type traceProcess struct {
	*testenv.Process
	file string
}

// trace starts a trace and waits until it has begun.
func (d *daemon) trace(t testing.TB, args ...string) *traceProcess {
	t.Helper()
	file := filepath.Join(testenv.OpenDir(t), "trace.pcapng")
	p := &traceProcess{testenv.Start(t, nil, d.traceCommand(append(args, "-w", file)...)...), file}
	testenv.WaitFor(t, 10*time.Second, func() bool { return p.size() > 0 || !p.Running() }, "the trace to begin")
	return p
}

func (p *traceProcess) size() int64 {
	st, err := os.Stat(p.file)
	if err != nil {
		return 0
	}
	return st.Size()
}

// traceSummary is what a trace says at its end.
var traceSummary = regexp.MustCompile(`(?m)^netcon: (\d+) packets, (\d+) dropped`)

// end ends a trace as Ctrl-C does and returns its summary.
func (p *traceProcess) end(t testing.TB) (packets, dropped int) {
	t.Helper()
	p.Signal(t, syscall.SIGINT)
	return p.summary(t)
}

// summary waits for the end of a trace, which is a success.
func (p *traceProcess) summary(t testing.TB) (packets, dropped int) {
	t.Helper()
	if err := p.Wait(t, 15*time.Second); err != nil {
		t.Errorf("netcon trace: %v", err)
	}
	m := traceSummary.FindStringSubmatch(p.Output())
	if m == nil {
		t.Fatalf("no summary:\n%s", p.Output())
	}
	packets, _ = strconv.Atoi(m[1])
	dropped, _ = strconv.Atoi(m[2])
	return packets, dropped
}

// verify makes tshark verify every checksum, which it does not do by default:
// packets between containers of one daemon have none.
var verify = []string{"-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE"}

// tshark returns the lines that tshark prints of a file.
func tshark(t testing.TB, file string, args ...string) []string {
	t.Helper()
	out, err := testenv.Try(nil, time.Minute, append([]string{"tshark", "-n", "-r", file}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	return strings.FieldsFunc(out, func(r rune) bool { return r == '\n' })
}

// sound fails the test for packets that tshark calls malformed, cut or wrong.
func sound(t testing.TB, file string, args ...string) {
	t.Helper()
	const wrong = "_ws.malformed || _ws.short || ip.checksum.status == 0 || udp.checksum.status == 0 || tcp.checksum.status == 0 || udp.checksum.zero"
	if bad := tshark(t, file, append(append(args, verify...), "-Y", wrong)...); len(bad) != 0 {
		t.Errorf("%d packets are not sound; the first ones:\n%s", len(bad), strings.Join(bad[:min(len(bad), 5)], "\n"))
	}
}

// has fails the test unless at least one packet of a file matches a filter.
func has(t testing.TB, file, filter string, args ...string) {
	t.Helper()
	if len(tshark(t, file, append(args, "-Y", filter)...)) == 0 {
		all := tshark(t, file)
		t.Errorf("no packet with %s among %d:\n%s", filter, len(all), strings.Join(all[:min(len(all), 20)], "\n"))
	}
}

// hasNot is the opposite of has.
func hasNot(t testing.TB, file, filter string, args ...string) {
	t.Helper()
	if bad := tshark(t, file, append(args, "-Y", filter)...); len(bad) != 0 {
		t.Errorf("%d packets with %s; the first: %s", len(bad), filter, bad[0])
	}
}

// TestTrace: tshark understands what goes between two daemons, on both layers
// and both hosts.
func TestTrace(t *testing.T) {
	testenv.NeedTools(t, "tshark", "capinfos")
	for _, outer6 := range []bool{false, true} {
		t.Run(map[bool]string{false: "outer IPv4", true: "outer IPv6"}[outer6], func(t *testing.T) {
			if outer6 {
				testenv.NeedRoot(t)
			}
			h := startPair(t, pair{Workers: 2, Outer6: outer6})
			root, sums := www(t, map[string]int{"file": 100_000})
			testenv.Nginx(t, h.a.exec("web"), testenv.Options{Addrs: []string{web4 + ":80", "[" + web6 + "]:80"}, Root: root})

			inner := h.a.trace(t, "-n", "web")
			outer := h.a.trace(t, "-layer", "outer")
			both := h.b.trace(t, "-layer", "both")
			short := h.b.trace(t, "-n", "client", "-snaplen", "96", "-c", "10")
			for _, host := range []string{web4, "[" + web6 + "]"} {
				if got := h.b.curl(t, "client", "http://"+host+"/file", 10*time.Second); got != sums["file"] {
					t.Fatalf("SHA-256 %s, want %s", got, sums["file"])
				}
			}
			if n, _ := short.summary(t); n != 10 || len(tshark(t, short.file)) != 10 {
				t.Errorf("%d packets of 10", n)
			}
			for _, p := range []*traceProcess{inner, outer, both} {
				if n, dropped := p.end(t); n < 20 || dropped != 0 || len(tshark(t, p.file)) != n {
					t.Errorf("%d packets and %d dropped, %d in the file", n, dropped, len(tshark(t, p.file)))
				}
			}
			// What is seen on two layers is a retransmission to tshark, which
			// finds fault with what it then reassembles.
			sound(t, inner.file)
			sound(t, outer.file)
			sound(t, both.file, "-o", "tcp.desegment_tcp_streams:FALSE")

			for _, version := range []string{"ip", "ipv6"} {
				has(t, inner.file, "http.request.uri == \"/file\" && frame.packet_flags_direction == 1 && frame.interface_name == \"web\" && "+version)
				has(t, inner.file, "tcp.srcport == 80 && frame.packet_flags_direction == 2 && "+version)
			}
			has(t, inner.file, "arp.opcode == 2")
			has(t, inner.file, "icmpv6.type == 136")
			hasNot(t, inner.file, "vxlan || frame.interface_name != \"web\"")

			as := []string{"-d", "udp.port==4789,vxlan"}
			has(t, outer.file, "vxlan.vni == 42 && http.request.uri == \"/file\" && frame.interface_name == \"underlay\"", as...)
			hasNot(t, outer.file, "!vxlan", as...)
			if outer6 {
				has(t, outer.file, "ipv6.src == fd00::2 && ipv6.dst == fd00::1 && frame.packet_flags_direction == 1 && udp.checksum.status == 1", append(as, verify...)...)
			}

			names := tshark(t, both.file, "-T", "fields", "-e", "frame.interface_name")
			if got := strings.Join(names, " "); !strings.Contains(got, "underlay") || !strings.Contains(got, "client") {
				t.Errorf("interfaces of both: %s", got)
			}
			times := tshark(t, both.file, "-T", "fields", "-e", "frame.time_epoch")
			now := float64(time.Now().UnixNano()) / 1e9
			for _, s := range times {
				if at, err := strconv.ParseFloat(s, 64); err != nil || at > now || at < now-60 {
					t.Fatalf("time %s, now %f", s, now)
				}
			}
			info := testenv.Run(t, nil, "capinfos", both.file)
			for _, want := range []string{"Name = client", "Name = underlay", "outer headers are rebuilt", "Number of stat entries = 1", "nanoseconds"} {
				if !strings.Contains(info, want) {
					t.Errorf("capinfos does not say %q:\n%s", want, info)
				}
			}
			noSurprises(t, h)
		})
	}
}

// TestTraceFilter: with a container given, nothing of another one is shown, on
// any worker.
func TestTraceFilter(t *testing.T) {
	testenv.NeedTools(t, "tshark")
	va, vb := nextLoopback(), nextLoopback()
	more := func(name, a4 string) string {
		return fmt.Sprintf("\n[[container]]\nname = %q\nnetwork = \"blue\"\naddresses = [%q]\n", name, a4)
	}
	p := pair{}
	a := start(t, daemonOptions{}, "workers = 2", hostConf(va, vb, p, "web", web4, web6)+more("other", "10.42.0.3"))
	b := start(t, daemonOptions{}, "workers = 2", hostConf(vb, va, p, "client", client4, client6))
	root, sums := www(t, map[string]int{"file": 10_000})
	for container, addr := range map[string]string{"web": web4, "other": "10.42.0.3"} {
		testenv.Nginx(t, a.exec(container), testenv.Options{Addrs: []string{addr + ":80"}, Root: root})
	}
	fetch := func(d *daemon, from, host string) {
		t.Helper()
		if got := d.curl(t, from, "http://"+host+"/file", 10*time.Second); got != sums["file"] {
			t.Fatalf("from %s: SHA-256 %s, want %s", host, got, sums["file"])
		}
	}
	all, other, outer := a.trace(t), a.trace(t, "-n", "other", "-Q", "in"), a.trace(t, "-n", "other", "-layer", "outer")
	fetch(b, "client", web4)
	fetch(b, "client", "10.42.0.3")
	fetch(a, "web", "10.42.0.3") // stays inside the daemon
	for _, p := range []*traceProcess{all, other, outer} {
		p.end(t)
	}
	has(t, all.file, "http.request && frame.interface_name == \"web\" && ip.dst == "+web4)
	has(t, all.file, "http.request && frame.interface_name == \"other\" && ip.src == "+client4)
	// Seen twice, where it left and where it arrived, which TCP analysis takes
	// for a retransmission.
	has(t, all.file, "tcp.dstport == 80 && tcp.len > 0 && frame.interface_name == \"web\" && ip.src == "+web4)
	has(t, all.file, "tcp.dstport == 80 && tcp.len > 0 && frame.interface_name == \"other\" && ip.src == "+web4)
	has(t, other.file, "http.request && ip.src == "+client4)
	has(t, other.file, "http.request && ip.src == "+web4)
	hasNot(t, other.file, "frame.packet_flags_direction == 2 || frame.interface_name == \"web\"")
	hasNot(t, other.file, "!arp && ip.dst == "+web4)
	has(t, outer.file, "http.request && ip.dst == 10.42.0.3")
	has(t, outer.file, "http.response && ip.src == 10.42.0.3")
	hasNot(t, outer.file, "!vxlan || ip.dst == "+web4+" || ip.src == "+web4)
}

// TestTraceLive: a reader at the end of a pipe sees a request when it is made,
// and one that goes away ends the trace without a complaint.
func TestTraceLive(t *testing.T) {
	testenv.NeedTools(t, "tshark", "bash", "head")
	h := startPair(t, pair{})
	root, sums := www(t, map[string]int{"file": 10})
	testenv.Nginx(t, h.a.exec("web"), testenv.Options{Addrs: []string{web4 + ":80"}, Root: root})
	pipe := func(args, into string) *testenv.Process {
		t.Helper()
		return testenv.Start(t, nil, "bash", "-c", strings.Join(h.a.traceCommand(args), " ")+" | "+into+"; echo trace: ${PIPESTATUS[0]}")
	}
	// tshark reads a pipe as a device: as it comes.
	live := pipe("-n web -q", "tshark -n -l -i - -Y http.request")
	gone := pipe("", "head -c 1 >/dev/null")
	testenv.WaitFor(t, 15*time.Second, func() bool {
		if got := h.b.curl(t, "client", "http://"+web4+"/file", 10*time.Second); got != sums["file"] {
			t.Fatalf("SHA-256 %s, want %s", got, sums["file"])
		}
		return strings.Contains(live.Stdout(), "GET /file")
	}, "the request to be seen live")
	if err := gone.Wait(t, 10*time.Second); err != nil || gone.Output() != "trace: 0\n" {
		t.Errorf("a reader that went away: %v:\n%s", err, gone.Output())
	}
}

// TestTraceDaemonEnds: the trace ends with its daemon, and is whole.
func TestTraceDaemonEnds(t *testing.T) {
	testenv.NeedTools(t, "tshark")
	h := startPair(t, pair{Workers: 2})
	p := h.a.trace(t, "-layer", "both")
	h.a.Signal(t, syscall.SIGTERM)
	if err := h.a.Wait(t, 5*time.Second); err != nil {
		t.Error(err)
	}
	if err := p.Wait(t, time.Second); err != nil || !strings.Contains(p.Output(), "until the daemon ended") {
		t.Errorf("netcon trace: %v:\n%s", err, p.Output())
	}
	n, _ := p.summary(t)
	if got := len(tshark(t, p.file)); got != n {
		t.Errorf("%d packets in the file, %d in the summary", got, n)
	}
}

// TestTraceReaderStops: a trace that nobody reads costs frames of the trace, not
// memory and not traffic.
func TestTraceReaderStops(t *testing.T) {
	testenv.NeedTools(t, "tshark")
	h := startPair(t, pair{Workers: 2})
	const size = 256 << 20
	root, sums := www(t, map[string]int{"file": size})
	testenv.Nginx(t, h.a.exec("web"), testenv.Options{Addrs: []string{web4 + ":80"}, Root: root})
	fetch := func() time.Duration {
		t.Helper()
		begin := time.Now()
		if got := h.b.curl(t, "client", "http://"+web4+"/file", time.Minute); got != sums["file"] {
			t.Fatalf("SHA-256 %s, want %s", got, sums["file"])
		}
		return time.Since(begin)
	}
	fetch()
	without := fetch()
	memory := testenv.RSS(t, h.a.Pid())

	p := h.a.trace(t, "-layer", "both")
	p.Signal(t, syscall.SIGSTOP)
	with := fetch()
	grown := testenv.RSS(t, h.a.Pid()) - memory
	t.Logf("256 MiB in %v, %v with a trace that nobody reads; %d MiB more memory", without, with, grown>>20)
	// Twice 256 MiB were shown to it. What it may keep are two rings of 4 MiB;
	// the rest is what traffic takes and gives.
	if grown > 96<<20 {
		t.Errorf("%d MiB more memory", grown>>20)
	}
	if with > 5*without+time.Second {
		t.Errorf("%v with a trace that nobody reads, %v without", with, without)
	}
	p.Signal(t, syscall.SIGCONT)
	n, dropped := p.end(t)
	if dropped == 0 || n == 0 {
		t.Errorf("%d packets, %d dropped", n, dropped)
	}
	sound(t, p.file, "-o", "tcp.desegment_tcp_streams:FALSE")
	if got := len(tshark(t, p.file)); got != n {
		t.Errorf("%d packets in the file, %d in the summary", got, n)
	}
}

// TestTraceXDP: what AF_XDP shows of the outer layer is what lies on the wire.
func TestTraceXDP(t *testing.T) {
	testenv.NeedTools(t, "tshark", "capinfos")
	for _, outer6 := range []bool{false, true} {
		t.Run(map[bool]string{false: "outer IPv4", true: "outer IPv6"}[outer6], func(t *testing.T) {
			h := startKernelPeer(t, kernelOptions{Outer6: outer6, Queues: 2, Underlay: xdp("native")})
			root, sums := www(t, map[string]int{"file": 100_000})
			testenv.Nginx(t, h.d.exec("web"), testenv.Options{Addrs: []string{web4 + ":80"}, Root: root})
			all, web := h.d.trace(t, "-layer", "outer"), h.d.trace(t, "-layer", "outer", "-n", "web")
			h.fetch(t, "http://"+web4+"/file", sums["file"], 100_000, 10*time.Second)
			for _, p := range []*traceProcess{all, web} {
				if n, dropped := p.end(t); n == 0 || dropped != 0 {
					t.Errorf("%d packets, %d dropped", n, dropped)
				}
				has(t, p.file, "vxlan.vni == 42 && http.request.uri == \"/file\" && frame.packet_flags_direction == 1")
				has(t, p.file, "vxlan.vni == 42 && tcp.srcport == 80 && frame.packet_flags_direction == 2")
				hasNot(t, p.file, "!vxlan || eth.src == 00:00:00:00:00:00 || eth.dst == 00:00:00:00:00:00 || udp.srcport == 4789 || _ws.malformed")
				// What comes from a kernel of the same host may be unfinished.
				hasNot(t, p.file, "frame.packet_flags_direction == 2 && (ip.checksum.status == 0 || udp.checksum.status != 1 || tcp.checksum.status == 0)", verify...)
			}
			if info := testenv.Run(t, nil, "capinfos", all.file); strings.Contains(info, "rebuilt") {
				t.Errorf("capinfos says:\n%s", info)
			}
		})
	}
}
