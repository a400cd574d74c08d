// SPDX-License-Identifier: Apache-2.0

package xsk

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"netcon/bpf"
	"netcon/dataplane/nexthop"
	"netcon/dataplane/wire"
	"netcon/internal/testenv"
)

var (
	reference        = flag.Bool("reference", false, "measure beside the C reference, testdata/xskref.c (make bench-xsk)")
	referencePairs   = flag.Int("reference.pairs", 7, "how often each side is measured, in turns")
	referenceSeconds = flag.Float64("reference.seconds", 0.4, "how long each time; the scheduler takes real-time threads their core after 0.95")
)

// What a side does, in bursts of referenceBurst.
//
//	rxdrop   receives as fast as frames come. That is what the sender on the
//	         other core can do, and so much alike for everybody
//	txonly   sends
//	l2fwd    sends back what it receives as fast as frames come
//	rxdrain  lets 1,024 frames gather first, and is timed from there: what
//	         rxdrop costs when the receiver is what is slow
//	l2drain  the same for l2fwd
var referenceWorks = []string{"rxdrop", "txonly", "l2fwd", "rxdrain", "l2drain"}

// Who does it.
//
//	c     testdata/xskref.c
//	raw   the rings of this package, the same work as in C
//	link  a whole Link: outer headers checked and written with all checksums,
//	      payloads copied into the frames that are sent
var referenceSides = []string{"c", "raw", "link"}

// Lengths of Ethernet frames without FCS. 64 bytes hold all headers up to the
// inner Ethernet header and nothing else.
var referenceSizes = []int{64, 1500}

const (
	referenceBurst = 64
	referenceChunk = 1024 // frames timed as one

	measuredCPU, senderCPU = 0, 1
)

// otherMAC belongs to nobody: the kernel drops what is sent to it early.
var otherMAC = wire.MAC{2, 0, 0, 0, 0, 0x99}

// sample is what one measurement counted.
type sample struct {
	Frames  uint64 `json:"frames"`
	NS      uint64 `json:"ns"`       // on the clock on the wall
	CPU     uint64 `json:"cpu_ns"`   // of the thread, interrupts that hit it included
	Kicks   uint64 `json:"kicks"`    // system calls to send
	Wakeups uint64 `json:"wakeups"`  // system calls to receive
	Chunk   uint64 `json:"chunk_ns"` // of what drains: the median of the chunks
	Sleeps  int64  `json:"sleeps"`   // voluntary context switches
	allocs  uint64 // of the whole process
	bytes   uint64
	work    string
}

// drains says whether a work is timed from full rings.
func drains(work string) bool { return strings.HasSuffix(work, "drain") }

// perFrame is what sides are compared by, in ns of wall time.
func (s *sample) perFrame() float64 {
	if drains(s.work) {
		return float64(s.Chunk) / referenceChunk
	}
	return float64(s.NS) / float64(s.Frames)
}

func (s *sample) cpuPerFrame() float64 { return float64(s.CPU) / float64(s.Frames) }

// BenchmarkReference measures this package beside the C reference on one veth
// pair: each pair of measurements follows upon the other, and who is first
// changes from pair to pair. An operation is one frame. The measured thread has
// one core and the sender the other, both at real-time priority. It takes
// -benchtime 1x; time and number come from -reference.
func BenchmarkReference(b *testing.B) {
	if !*reference {
		b.Skip("only with -reference (make bench-xsk)")
	}
	unchecked(b)
	r := newRig(b)
	for _, work := range referenceWorks {
		for _, size := range referenceSizes {
			got := map[string][]sample{}
			b.Run(fmt.Sprintf("%s/size=%d", work, size), func(b *testing.B) {
				for pair := range *referencePairs {
					order := slices.Clone(referenceSides)
					if pair%2 == 1 {
						slices.Reverse(order)
					}
					for _, side := range order {
						b.Run(fmt.Sprintf("pair=%d/side=%s", pair, side), func(b *testing.B) {
							s := r.measure(b, work, side, size)
							s.report(b)
							got[side] = append(got[side], s)
						})
					}
				}
			})
			for _, side := range referenceSides[1:] {
				compare(work, size, side, got[side], got["c"])
			}
		}
	}
}

func (s *sample) report(b *testing.B) {
	frames, seconds := float64(s.Frames), float64(s.NS)/1e9
	b.ReportAllocs()
	b.ReportMetric(s.perFrame(), "ns/op")
	b.ReportMetric(1e3/s.perFrame(), "Mpps")
	b.ReportMetric(s.cpuPerFrame(), "cpu-ns/op")
	b.ReportMetric(float64(s.Kicks)/frames, "kicks/op")
	b.ReportMetric(float64(s.Wakeups)/seconds, "wakeups/s")
	b.ReportMetric(float64(s.Sleeps)/seconds, "sleeps/s")
	b.ReportMetric(float64(s.bytes)/frames, "B/op")
	b.ReportMetric(float64(s.allocs)/frames, "allocs/op")
	b.ReportMetric(100*float64(s.CPU)/float64(s.NS), "%core")
}

// compare prints how fast a side is in parts of the reference, pair by pair.
func compare(work string, size int, side string, ours, theirs []sample) {
	n := min(len(ours), len(theirs))
	if n == 0 {
		return
	}
	var wall, cpu []float64
	for i := range n {
		wall = append(wall, theirs[i].perFrame()/ours[i].perFrame())
		cpu = append(cpu, theirs[i].cpuPerFrame()/ours[i].cpuPerFrame())
	}
	fmt.Printf("# %s, %d bytes, %s: %s of C", work, size, side, spread(wall))
	if work == "txonly" { // the others poll while nothing has come
		fmt.Printf("; by CPU time %s", spread(cpu))
	}
	fmt.Printf(" (min, median, max of %d pairs)\n", n)
}

func spread(v []float64) string {
	slices.Sort(v)
	return fmt.Sprintf("%.2f %.2f %.2f", v[0], v[len(v)/2], v[len(v)-1])
}

// rig is where it is measured: a veth pair, with the side that is measured in a
// and the sender in b.
type rig struct {
	a, b   *host
	binary string
	frames map[int]string // files with frames from b to a, by length
	out    map[int]string // and from a to otherMAC
}

func newRig(b *testing.B) *rig {
	testenv.NeedTools(b, "gcc")
	ha, hb := cable(b, 1500, 1)
	r := &rig{a: ha, b: hb, binary: filepath.Join(b.TempDir(), "xskref"), frames: map[int]string{}, out: map[int]string{}}
	if out, err := exec.Command("gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", r.binary, "testdata/xskref.c", "-lxdp", "-lbpf").CombinedOutput(); err != nil {
		b.Fatalf("compile testdata/xskref.c: %v (make benchdeps)\n%s", err, out)
	}
	testenv.Run(b, ha.ns, "ip", "neigh", "replace", hb.a4.String(), "lladdr", otherMAC.String(), "dev", ha.dev, "nud", "permanent")
	mac := wire.MAC(parseMAC(b, ha.ns.MAC(b, ha.dev)))
	for _, size := range referenceSizes {
		name := filepath.Join(b.TempDir(), strconv.Itoa(size))
		r.frames[size], r.out[size] = name+".in", name+".out"
		in := outerFrame(size, hb.a4, ha.a4, nexthop.Hop{Src: otherMAC, Dst: mac})
		out := outerFrame(size, ha.a4, hb.a4, nexthop.Hop{Src: mac, Dst: otherMAC})
		for name, frame := range map[string][]byte{r.frames[size]: in, r.out[size]: out} {
			if err := os.WriteFile(name, frame, 0o600); err != nil {
				b.Fatal(err)
			}
		}
	}
	return r
}

// outerFrame returns a frame of size bytes as a Link sends it.
func outerFrame(size int, src, dst netip.Addr, to nexthop.Hop) []byte {
	var h hop
	h.write(src, dst, testPort, to)
	frame := append(make([]byte, h.n), benchPayload(size-h.n)...)
	h.encapsulate(frame, 1)
	return frame
}

// benchPayload returns a VXLAN payload of n bytes: with a TCP segment if there
// is room, or else an inner Ethernet header alone.
func benchPayload(n int) []byte {
	if n >= benchSizes[0] {
		return innerFrame(n)
	}
	b := make([]byte, n)
	wire.PutVXLAN(b, 7)
	wire.PutEthernet(b[wire.VXLANLen:], wire.MAC{2, 0, 0, 0, 0, 1}, wire.MAC{2, 0, 0, 0, 0, 2}, wire.EtherTypeIPv4)
	return b
}

// measure has one side work for a while.
func (r *rig) measure(b *testing.B, work, side string, size int) sample {
	sent := r.packets(b)
	var s sample
	if side == "c" {
		s = r.measureC(b, work, size)
	} else {
		s = r.measureGo(b, work, side, size)
	}
	s.work = work
	if s.Frames == 0 || drains(work) && s.Chunk == 0 {
		b.Fatalf("%s did no %s", side, work)
	}
	// What the side counted has really left the device. A few packets are the
	// host's own.
	if n := r.packets(b) - sent; strings.HasPrefix(work, "tx") && (n < s.Frames || n > s.Frames+4096) {
		b.Errorf("%s sent %d frames, %d arrived at the peer", side, s.Frames, n)
	}
	return s
}

// packets returns how many packets the peer has received.
func (r *rig) packets(b *testing.B) (n uint64) {
	var err error
	r.b.ns.Do(b, func() {
		var link netlink.Link
		if link, err = netlink.LinkByName(r.b.dev); err == nil {
			n = link.Attrs().Statistics.RxPackets
		}
	})
	if err != nil {
		b.Fatal(err)
	}
	return n
}

// attach puts the XDP program before a's device, as a Link does.
func (r *rig) attach(b *testing.B) *bpf.Program {
	ifc := r.a.index(b)
	p, err := bpf.Load(bpf.Config{VTEP: r.a.a4, Ports: []uint16{testPort}, Queues: 1})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = p.Close() })
	r.a.ns.Do(b, func() { err = p.Attach(ifc, bpf.Native) })
	if err != nil {
		b.Fatal(err)
	}
	return p
}

func (h *host) index(t testing.TB) (index int) {
	var err error
	h.ns.Do(t, func() {
		var link netlink.Link
		if link, err = netlink.LinkByName(h.dev); err == nil {
			index = link.Attrs().Index
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return index
}

// program is a run of the C program that waits for its start.
type program struct {
	*testenv.Process
	start *os.File
}

func (r *rig) start(b *testing.B, h *host, mode string, cpu int, d time.Duration, frame string) *program {
	in, start, err := os.Pipe()
	if err != nil {
		b.Fatal(err)
	}
	argv := append(h.ns.Prefix(), r.binary, mode, h.dev, strconv.Itoa(cpu), strconv.Itoa(int(d.Milliseconds())), frame)
	c := exec.Command(argv[0], argv[1:]...)
	c.Stdin = in
	p := &program{testenv.StartCmd(b, c), start}
	b.Cleanup(func() { _, _ = in.Close(), start.Close() })
	p.WaitOutput(b, 5*time.Second, "\n")
	return p
}

func (p *program) run(b *testing.B) {
	if _, err := p.start.WriteString("\n"); err != nil {
		b.Fatal(err)
	}
}

// send starts the sender for the works that receive, and returns how to end it.
func (r *rig) send(b *testing.B, work string, size int) (stop func()) {
	if work == "txonly" {
		return func() {}
	}
	p := r.start(b, r.b, "txonly", senderCPU, 10*time.Second, r.frames[size])
	p.run(b)
	return func() { _ = p.Stop() }
}

func window() time.Duration { return time.Duration(*referenceSeconds * float64(time.Second)) }

func (r *rig) measureC(b *testing.B, work string, size int) (s sample) {
	program := r.attach(b)
	p := r.start(b, r.a, work, measuredCPU, window(), r.out[size])
	r.register(b, program, p)
	stop := r.send(b, work, size)
	p.run(b)
	err := p.Wait(b, window()+10*time.Second)
	stop()
	lines := strings.Split(strings.TrimSpace(p.Stdout()), "\n")
	if err == nil {
		err = json.Unmarshal([]byte(lines[len(lines)-1]), &s)
	}
	if err != nil {
		b.Fatalf("xskref: %v\n%s", err, p.Output())
	}
	return s
}

// register puts the socket of the C program behind the XDP program.
func (r *rig) register(b *testing.B, program *bpf.Program, p *program) {
	var number int
	if _, err := fmt.Sscanf(p.Stdout(), "fd %d", &number); err != nil {
		b.Fatal(err)
	}
	pidfd, err := unix.PidfdOpen(p.Pid(), 0)
	if err != nil {
		b.Fatal(err)
	}
	defer unix.Close(pidfd)
	fd, err := unix.PidfdGetfd(pidfd, number, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer unix.Close(fd)
	if err := program.Register(0, fd); err != nil {
		b.Fatal(err)
	}
}

// side is a Go side: step does one burst, if there is one, and returns how many
// frames it received.
type side interface {
	step() int
	queue() *queue
	frames() uint64
}

func (r *rig) measureGo(b *testing.B, work, name string, size int) sample {
	var s side
	switch name {
	case "raw":
		s = r.raw(b, work, size)
	case "link":
		s = r.link(b, work, size)
	}
	stop := r.send(b, work, size)
	defer stop()
	done := make(chan sample)
	go func() {
		// Never unlocked: the thread ends with the goroutine, and with it its
		// core and its priority.
		runtime.LockOSThread()
		var cpus unix.CPUSet
		cpus.Set(measuredCPU)
		_ = unix.SchedSetaffinity(0, &cpus)
		_ = unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1}, 0)
		done <- watchSide(s, work, window())
	}()
	return <-done
}

// watchSide has a side work on this thread and counts.
func watchSide(s side, work string, d time.Duration) (c sample) {
	chunks := make([]uint64, 0, 1<<16)
	q := s.queue()
	var m0, m1 runtime.MemStats
	var u0, u1 unix.Rusage
	runtime.ReadMemStats(&m0)
	frames, kicks, wakeups := s.frames(), q.drive.kicks, q.drive.wakeups
	_ = unix.Getrusage(unix.RUSAGE_THREAD, &u0)
	cpu, start := threadTime(), time.Now()
	var elapsed time.Duration
	for elapsed < d {
		for range 256 {
			if !drains(work) {
				s.step()
				continue
			}
			if q.rx.words.producer.Load()-q.rx.next < referenceChunk {
				continue
			}
			t, n := time.Now(), 0
			for n < referenceChunk {
				n += s.step()
			}
			if len(chunks) < cap(chunks) {
				chunks = append(chunks, uint64(time.Since(t))*referenceChunk/uint64(n))
			}
		}
		elapsed = time.Since(start)
	}
	c.NS, c.CPU = uint64(elapsed), uint64(threadTime()-cpu)
	_ = unix.Getrusage(unix.RUSAGE_THREAD, &u1)
	runtime.ReadMemStats(&m1)
	c.Frames, c.Kicks, c.Wakeups = s.frames()-frames, q.drive.kicks-kicks, q.drive.wakeups-wakeups
	c.Sleeps = u1.Nvcsw - u0.Nvcsw
	c.allocs, c.bytes = m1.Mallocs-m0.Mallocs, m1.TotalAlloc-m0.TotalAlloc
	if len(chunks) > 0 {
		slices.SortFunc(chunks, cmp.Compare[uint64])
		c.Chunk = chunks[len(chunks)/2]
	}
	return c
}

func threadTime() time.Duration {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t)
	return time.Duration(t.Nano())
}
