// SPDX-License-Identifier: Apache-2.0

package tcpsim

import (
	"math/rand/v2"
	"net/netip"
	"time"

	"netcon/dataplane/stream"
)

// Fault is a kind of misfortune.
type Fault uint8

// The faults. Those up to Blackout are the network's.
const (
	Loss        Fault = iota
	BurstLoss         // several packets in a row
	Reorder           // a packet overtaken by others
	Duplicate         // a packet that arrives twice
	Corrupt           // a changed word
	Truncate          // a packet cut short
	Jitter            // every packet takes another time
	Mark              // congestion experienced (ECN)
	RateLimit         // a bottleneck whose queue overflows
	MTUDrop           // the MTU shrinks, and ICMP says so
	BlackHole         // the MTU shrinks, and nothing says so
	Blackout          // nothing arrives for seconds
	ClockJump         // the clock of a host leaps
	ZeroWindow        // a reader that stops
	LateAccept        // a server that does not accept for a while
	Backlog           // more connections than the backlog takes
	LateAttach        // rings that come after the bytes
	EarlyClose        // a socket closed before its peer is done
	LingerReset       // SO_LINGER 0
	Abort             // a socket aborted
	Refused           // a connection to a closed port
	Toggle            // TCP_CORK and TCP_NODELAY change on the way
	TimeOfWrap        // a clock or sequence space that wraps in between
	Forged            // packets of somebody who guesses
	Unreachable       // packets that come back because nobody answers for the address
	BrokenRing        // an owner that lies about the cursors of its rings
	Crowd             // hundreds of connections at once
	Retuned           // knobs that are turned on the way

	NumFaults

	// Those before are picked by chooseFaults, the others by extremes.
	numChosen = BrokenRing
)

var faultNames = [NumFaults]string{
	"loss", "burst loss", "reorder", "duplicate", "corrupt", "truncate", "jitter", "mark", "rate limit", "mtu drop",
	"black hole", "blackout", "clock jump", "zero window", "late accept", "backlog", "late attach", "early close",
	"linger reset", "abort", "refused", "toggle", "wrap", "forged", "unreachable", "broken ring", "crowd", "retuned",
}

// String returns the fault's name.
func (f Fault) String() string { return faultNames[f] }

// How a user ends its connection.
type ending uint8

const (
	endHalf     ending = iota // FIN after the last byte, read to the end, close
	endGraceful               // close when all is written and all that comes has been read
	endEarly                  // close after some bytes, whatever comes
	endLinger                 // the same with SO_LINGER 0
	endAbort                  // abort at some byte
	endBreak                  // lie about a cursor at some byte
)

// orderly reports whether all bytes arrive.
func (e ending) orderly() bool { return e <= endGraceful }

// userPlan is what one end of a connection does.
type userPlan struct {
	bytes    int // to write
	end      ending
	endAt    int // bytes written or read, for endings that are not orderly
	viaEOF   bool
	chunk    int     // largest write
	gulp     int     // largest read
	pauses   float64 // probability of a pause after a write or read
	pause    time.Duration
	stopAt   int // the reader stops at this byte
	stop     time.Duration
	txRing   int
	rxRing   int
	late     time.Duration // rings come that late
	lazy     bool          // rings have memory only while they are needed
	toggles  float64
	nodelay  bool
	lowat    int
	maxSeg   int
	keepidle int
	lie      lie
}

// lie is what an owner does to the shared words of its rings.
type lie uint8

const (
	lieTxBeyond lie = iota // more bytes in Tx than it holds
	lieTxBack              // fewer bytes in Tx than were there
	lieRxBeyond            // more bytes taken from Rx than were there
	numLies
)

// connPlan is one connection.
type connPlan struct {
	at     time.Duration
	client int // host
	port   uint16
	simul  uint16 // the client's port: both ends connect
	closed bool   // nobody listens
	own    bool   // to the client's own address
	broken bool   // it failed as it may: nothing is expected of the other end
	tries  int    // how often it was opened anew after that
	ends   [2]userPlan
}

// linkPlan is one direction of the network.
type linkPlan struct {
	delay, jitter      time.Duration
	loss, burst, dup   float64
	reorder, corrupt   float64
	truncate, mark     float64
	forge, back        float64       // back: packets that the host gets back
	late               time.Duration // how much a reordered packet is late
	rate               int           // bytes per second, 0: no limit
	queue              int           // packets that wait for it
	mtu                int           // from mtuAt on
	mtuAt              time.Duration
	silent             bool // no ICMP
	blackFrom, blackTo time.Duration
}

// hostPlan is one host.
type hostPlan struct {
	gvisor  bool
	start   time.Duration // its clock at the beginning
	jumpAt  time.Duration
	jump    time.Duration
	backlog int
	cookies bool          // SYN cookies always
	accept  time.Duration // how late it accepts at most
	variant uint64
	inline  bool          // users act inside Poll
	tuneAt  time.Duration // when knobs are turned, 0: never
	tuned   uint64        // the variant from then on
	burst   int           // packets delivered before EndBurst at most
}

// plan is what a seed stands for.
type plan struct {
	seed  uint64
	v6    bool
	local bool // containers of one host: 64 KiB packets, no checksums
	mtu   int
	calm  time.Duration // the end of all faults
	hosts [2]hostPlan
	links [2]linkPlan
	conns []connPlan
	want  [NumFaults]bool
}

// addr returns the address of host i.
func (p *plan) addr(i int) netip.Addr {
	if p.v6 {
		return netip.AddrFrom16([16]byte{0: 0xfd, 15: byte(1 + i)})
	}
	return netip.AddrFrom4([4]byte{10, 0, 0, byte(1 + i)})
}

const (
	second      = time.Second
	millisecond = time.Millisecond
)

// ports of listeners, of nobody, and of simultaneous opens.
const (
	listenPort = 80
	closedPort = 9
	simulPort  = 7000
)

// newPlan makes the plan of a seed, with gVisor on so many ends.
func newPlan(seed uint64, gvisors int) *plan {
	r := rand.New(rand.NewPCG(seed, 0x74637073696d))
	p := &plan{seed: seed}
	gvisor := gvisors > 0
	chance := func(x float64) bool { return r.Float64() < x }
	upTo := func(d time.Duration) time.Duration { return time.Duration(r.Int64N(int64(d) + 1)) }
	pow2 := func(lo, hi int) int { return 1 << (lo + r.IntN(hi-lo+1)) }

	p.v6 = chance(0.4)
	p.local = !gvisor && chance(0.1)
	switch {
	case p.local:
		p.mtu = 65535
	case chance(0.5):
		p.mtu = 1500
	case p.v6:
		p.mtu = 1280 + r.IntN(800)
	case chance(0.8):
		p.mtu = 576 + r.IntN(1500)
	default:
		p.mtu = 9000
	}
	p.calm = 3*second + upTo(25*second)

	p.chooseFaults(r, gvisor)
	one := r.IntN(2)
	p.hosts[one].gvisor = gvisors > 0
	p.hosts[1-one].gvisor = gvisors > 1
	for i := range p.hosts {
		p.planHost(i, r)
	}
	for i := range p.links {
		p.planLink(&p.links[i], p.hosts[i].gvisor, r)
	}

	for i := range p.links {
		// After a blackout there is time for the other faults.
		p.calm = max(p.calm, p.links[i].blackTo+5*second)
	}

	n := 2 + r.IntN(3)
	if p.want[Backlog] {
		n += 2
	}
	for i := range n {
		c := connPlan{client: r.IntN(2), port: listenPort, at: upTo(2 * second)}
		for e := range c.ends {
			u := &c.ends[e]
			u.bytes = r.IntN(16 << 10)
			if chance(0.1) {
				u.bytes = 0
			}
			if i == 0 {
				// At least 64 KiB in every run.
				u.bytes = 34<<10 + r.IntN(40<<10)
			}
			u.end = ending(r.IntN(2))
			if gvisor || p.want[BlackHole] {
				// An orphan gives up before it finds out what a black hole
				// takes. gVisor may reset a connection that is closed with bytes to
				// send.
				u.end = endHalf
			}
			u.viaEOF = chance(0.5)
			u.chunk = 1 + r.IntN(pow2(4, 14))
			u.gulp = 1 + r.IntN(pow2(6, 15))
			if i == 0 {
				u.chunk, u.gulp = max(u.chunk, 400), max(u.gulp, 400)
			}
			u.pauses = r.Float64() * 0.05
			u.pause = upTo(200 * millisecond)
			u.stopAt = -1
			u.txRing, u.rxRing = pow2(11, 17), pow2(11, 17)
			u.lazy = chance(0.3)
			u.nodelay = chance(0.3)
			if chance(0.1) {
				u.lowat = 1 + r.IntN(8<<10)
			}
			if chance(0.1) {
				u.maxSeg = 536 + r.IntN(900)
			}
			if chance(0.1) {
				u.keepidle = 1 + r.IntN(5)
			}
			if p.want[ZeroWindow] && (i == 0 || chance(0.3)) {
				u.stopAt = r.IntN(20 << 10)
				u.stop = 100*millisecond + upTo(8*second)
			}
			if p.want[LateAttach] && chance(0.7) {
				u.late = upTo(3 * second)
			}
			if p.want[Toggle] {
				u.toggles = 0.05 + r.Float64()*0.2
			}
		}
		if i == 0 && p.want[ZeroWindow] {
			// The reader stops before what the other end writes is over, and
			// the ring is smaller than what is left.
			c.ends[0].rxRing, c.ends[1].rxRing = pow2(11, 13), pow2(11, 13)
		}
		p.conns = append(p.conns, c)
	}
	p.misbehave(r)
	for i := range p.conns {
		c := &p.conns[i]
		c.own = i > 0 && chance(0.1) && !p.hosts[c.client].gvisor
	}
	if chance(0.1) && !gvisor && !p.conns[1].own {
		p.conns[1].simul, p.conns[1].port = simulPort, simulPort+1
	}
	if !gvisor {
		p.extremes(rand.New(rand.NewPCG(seed, 0x65787472656d65)))
	}
	return p
}

// chooseFaults picks what happens: at least three kinds that are certain to show.
func (p *plan) chooseFaults(r *rand.Rand, gvisor bool) {
	n := 3 + r.IntN(4)
	for n > 0 {
		f := Fault(r.IntN(int(numChosen)))
		if p.local && (f == Corrupt || f == MTUDrop || f == BlackHole || f == RateLimit) || p.want[f] {
			continue
		}
		// gVisor gives up on SYNs while the clock leaps, and resets
		// connections that its backlog has no place for.
		if gvisor && (f == ClockJump || f == Backlog) {
			continue
		}
		p.want[f] = true
		n--
	}
	if p.want[MTUDrop] || p.want[BlackHole] {
		// A handshake whose first segment is too large fails for ever with
		// SYN cookies, because nobody remembers the path's MTU.
		p.want[Backlog] = false
	}
	// Some may fail to show: a mark needs a peer that talks ECN, a blackout
	// packets in its time. Three that cannot fail make sure.
	certain := []Fault{ClockJump, TimeOfWrap, Loss, BurstLoss, Reorder, Duplicate, Jitter, Truncate, Corrupt}
	n = 0
	for _, f := range certain {
		if p.want[f] {
			n++
		}
	}
	for n < 3 {
		f := certain[2+r.IntN(5)]
		if !p.want[f] {
			p.want[f] = true
			n++
		}
	}
}

func (p *plan) planHost(i int, r *rand.Rand) {
	h := &p.hosts[i]
	h.variant = r.Uint64()
	h.backlog = 16 + r.IntN(16)
	h.cookies = r.IntN(6) == 0
	if p.want[MTUDrop] || p.want[BlackHole] {
		h.cookies = false // see chooseFaults
	}
	h.inline = r.IntN(2) == 0
	h.burst = 1 + r.IntN(8)
	h.start = time.Duration(r.Int64N(int64(1000 * time.Hour)))
	if p.want[TimeOfWrap] {
		// Microseconds wrap after 71 minutes, milliseconds after 49 days, in
		// 32 bits; and where they become negative.
		wrap := []time.Duration{1 << 32 * time.Microsecond, 1 << 31 * time.Microsecond, 1 << 32 * time.Millisecond, 1 << 31 * time.Millisecond}[r.IntN(4)]
		h.start = wrap - time.Duration(r.Int64N(int64(20*second)))
	}
	if p.want[ClockJump] {
		h.jumpAt = time.Duration(r.Int64N(int64(4 * second)))
		// An orphan gives up after 102 s: those of a blackout and of the backoff
		// that follows are among them.
		h.jump = min(time.Duration(r.Int64N(int64(100*second))), 60*second)
		if p.want[Blackout] {
			h.jump = min(h.jump, 30*second)
		}
	}
	if p.want[LateAccept] {
		h.accept = 3 * second
	}
	if p.want[Backlog] {
		h.backlog = 1
		h.accept = 2 * second
	}
}

func (p *plan) planLink(l *linkPlan, fromGVisor bool, r *rand.Rand) {
	chance := func(x float64) bool { return r.Float64() < x }
	upTo := func(d time.Duration) time.Duration { return time.Duration(r.Int64N(int64(d) + 1)) }
	l.delay = 10*time.Microsecond + upTo([]time.Duration{100 * time.Microsecond, 5 * millisecond, 50 * millisecond, 300 * millisecond}[r.IntN(4)])
	prob := func(f Fault, most float64) float64 {
		if !p.want[f] {
			return 0
		}
		return most * (0.1 + 0.9*r.Float64())
	}
	l.loss = prob(Loss, 0.08)
	l.burst = prob(BurstLoss, 0.01)
	l.dup = prob(Duplicate, 0.08)
	l.reorder = prob(Reorder, 0.1)
	l.corrupt = prob(Corrupt, 0.05)
	l.truncate = prob(Truncate, 0.03)
	l.mark = prob(Mark, 0.1)
	l.forge = prob(Forged, 0.1)
	l.back = prob(Unreachable, 0.05)
	l.late = l.delay/4 + upTo(2*l.delay)
	if chance(0.1) {
		l.late += upTo(second)
	}
	if p.want[Jitter] {
		l.jitter = upTo(l.delay*2) + 100*time.Microsecond
	}
	if p.want[RateLimit] {
		l.rate = 30_000 + r.IntN(1_000_000)
		l.queue = 3 + r.IntN(20)
	}
	least := 576
	if p.v6 {
		least = 1280
	}
	if (p.want[MTUDrop] || p.want[BlackHole] && !fromGVisor) && p.mtu > least {
		l.mtu = least + r.IntN(p.mtu-least)
		l.mtuAt = upTo(3 * second)
		l.silent = !p.want[MTUDrop] || p.want[BlackHole] && chance(0.5) && !fromGVisor
		if l.silent {
			// What is tried first when nothing comes through must fit: it
			// takes many timeouts to find less, and orphans give up.
			l.mtu = max(l.mtu, 1120)
		}
	}
	if p.want[Blackout] {
		l.blackFrom = upTo(3 * second)
		l.blackTo = l.blackFrom + 200*millisecond + upTo(8*second)
	}
}

// misbehave gives the connections after the first the endings that faults ask
// for.
func (p *plan) misbehave(r *rand.Rand) {
	rest := p.conns[1:]
	spoil := func(f Fault, end ending) {
		if !p.want[f] {
			return
		}
		u := &rest[r.IntN(len(rest))].ends[r.IntN(2)]
		u.end = end
		u.endAt = r.IntN(6 << 10)
	}
	spoil(EarlyClose, endEarly)
	spoil(LingerReset, endLinger)
	spoil(Abort, endAbort)
	if p.want[Refused] {
		p.conns = append(p.conns, connPlan{
			at: time.Duration(r.Int64N(int64(3 * second))), client: r.IntN(2), port: closedPort, closed: true,
			ends: [2]userPlan{{bytes: 100, chunk: 100, gulp: 100, stopAt: -1, txRing: 4096, rxRing: 4096}},
		})
	}
}

// extremes adds what few runs meet, with random numbers of its own.
func (p *plan) extremes(r *rand.Rand) {
	if r.IntN(16) == 0 {
		p.want[BrokenRing] = true
		u := &p.conns[1+r.IntN(len(p.conns)-1)].ends[r.IntN(2)]
		u.end, u.endAt, u.lazy = endBreak, r.IntN(6<<10), false
		u.lie = lie(r.IntN(int(numLies)))
	}
	if r.IntN(16) == 0 {
		p.want[Retuned] = true
		h := &p.hosts[r.IntN(2)]
		h.tuneAt, h.tuned = 1+time.Duration(r.Int64N(int64(4*second))), r.Uint64()
	}
	if r.IntN(400) == 0 && !p.want[Backlog] {
		p.want[Crowd] = true
		p.crowd(r)
	}
}

// crowd adds connections until tables have to grow. They are short, most of them
// live at the same time.
func (p *plan) crowd(r *rand.Rand) {
	for range 300 + r.IntN(300) {
		c := connPlan{client: r.IntN(2), port: listenPort, at: time.Duration(r.Int64N(int64(2 * second)))}
		for e := range c.ends {
			c.ends[e] = userPlan{
				bytes: r.IntN(500), end: endHalf, chunk: 1 + r.IntN(500), gulp: 1 + r.IntN(500), stopAt: -1,
				pauses: 0.5, pause: second, txRing: 2048, rxRing: 2048, viaEOF: r.IntN(2) == 0,
			}
		}
		p.conns = append(p.conns, c)
	}
	for i := range p.hosts {
		p.hosts[i].backlog = 2 * len(p.conns)
		p.hosts[i].accept = 0 // all would wait for each other
	}
}

// path is what a host may send.
func (p *plan) path() stream.Path {
	return stream.Path{Max: p.mtu, Checksums: !p.local}
}
