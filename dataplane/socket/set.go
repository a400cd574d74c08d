// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"net/netip"
	"time"

	"netcon/dataplane/rtnetlink"
	"netcon/dataplane/stat"
	"netcon/dataplane/stream"
	"netcon/shm"

	"golang.org/x/sys/unix"
)

// Poller watches fds for the Sets of one worker, edge-triggered: IN, OUT,
// RDHUP, HUP, ERR. Ready is called on the worker's thread; after Remove no
// Ready comes any more.
type Poller interface {
	Add(fd int, h Handler) error
	Remove(fd int, h Handler)
}

// Handler is told what became of an fd.
type Handler interface {
	Ready(events uint32)
}

// InputHandler is a Handler that may have no use for EPOLLOUT, which a pair reports
// for each record that the application reads.
type InputHandler interface {
	Handler
	InputOnly() bool
}

// Config is what a Set needs. Engine, Poller, Stat and Buffers are required;
// the other fields have defaults.
type Config struct {
	Container        string
	Engine           stream.Engine
	Poller           Poller
	Stat             *stat.Block
	Buffers          *Pool
	MaxSockets       int // 65536
	MaxAttached      int // process trees, 1024
	ListenBacklogMax int // 4096
	// SendBuffer is SO_SNDBUF of our end of a connection in bytes, half of
	// what the kernel holds for an application that does not read. The
	// default is 212992; negative: leave net.core.wmem_default.
	SendBuffer int
	// Host is the host's stack; nil: there is no way to it. Networks are the
	// subnets that it never gets a connection to, Gateway4 and Gateway6 say
	// that the network leads everywhere else.
	// NoDatagrams is a port that no datagram goes to over the host's stack,
	// where datagrams of this host are believed: the overlay's.
	Host               stream.Host
	NoDatagrams        uint16
	Networks           []netip.Prefix
	Gateway4, Gateway6 bool
	// Addresses are the container's.
	Addresses []netip.Addr
	// Resolver answers questions for names; nil: nobody does.
	Resolver Resolver
	// Listen has the host listen for a program; nil: no program may ask for it.
	Listen ListenFunc
	// MaxBuffers bounds how many buffers of the worker's pool the container
	// may hold at once; zero: as many as there are.
	MaxBuffers int
	// Interfaces answers sockets that ask for interfaces; nil: there are none.
	Interfaces *rtnetlink.Responder
}

// Bounds of one visit or turn.
const (
	visitBytes     = 256 << 10 // per direction and socket
	visitAccepts   = 64        // per listener
	visitRequests  = 64        // per attach socket
	maxWaiters     = 8         // connect calls that wait on one socket
	retryAfter     = 5 * time.Millisecond
	scratchSize    = 64 << 10
	foreignBacklog = 256 // fds waiting for the janitor before requests wait too
)

// Set is the virtual sockets of one container on one worker.
type Set struct {
	cfg    Config
	engine stream.Engine
	// datagrams is engine, nil if it has none.
	datagrams stream.Datagrams
	wayOut    bool // what is not on the networks goes to Config.Host
	stat      *stat.Block

	slab     slab
	byCookie map[uint64]*sock
	attached map[*attached]struct{}
	netlinks map[uint64]*netlink // by cookie
	tombs    graves
	// listening is the listeners, as user values, and some that were ones.
	listening []uint64

	published       []*publication
	refusing        []*publication // whose connections nobody listens for
	lastPublication Publication
	heard           []*publication // UDP ports that have something
	heardSpare      []*publication // the other half of the double buffer
	flows           flows
	trees           map[*tree]struct{}
	questions       int     // to the Resolver that are not answered
	listeners       bool    // one came or went since offerAll
	fit             []*sock // scratch of offer
	shared          bool    // the port that offer looked at last has several listeners

	head, tail *sock               // ready sockets, first come first served
	queue      int                 // their number
	ctlQueue   []*attached         // ready attach sockets
	ctlSpare   []*attached         // the other half of the double buffer
	nlQueue    []*netlink          // ready sockets that ask for interfaces
	deferred   map[uint64]deferral // by the connection's user value
	deferEnd   time.Time           // when the first of them ends
	paused     []uint64            // sockets that wait for memory or fds, as user values
	retryAt    time.Time           // when they are looked at again

	burst  *burst // made with the first datagram socket, as is single
	single *burst // one record without payload
	dmsg   stream.Message
	held   int // bytes of datagrams that wait for the engine

	msg     message
	req     shm.Request
	reply   shm.Reply
	fds     []int32
	scratch []byte
	buffers int // of the pool, in use by this Set

	spare     [2]int32 // a stream pair for the next accept, -1: none
	janitor   janitor
	closed    bool
	noRights  bool // the kernel has SO_PASSRIGHTS
	nowForAge func() time.Time
}

// New makes an empty Set.
func New(cfg Config) *Set {
	if cfg.MaxSockets <= 0 {
		cfg.MaxSockets = 65536
	}
	if cfg.MaxAttached <= 0 {
		cfg.MaxAttached = 1024
	}
	if cfg.ListenBacklogMax <= 0 {
		cfg.ListenBacklogMax = 4096
	}
	if cfg.SendBuffer == 0 {
		cfg.SendBuffer = 212992
	}
	t := &Set{
		cfg:       cfg,
		engine:    cfg.Engine,
		stat:      cfg.Stat,
		slab:      slab{max: cfg.MaxSockets},
		byCookie:  make(map[uint64]*sock),
		attached:  make(map[*attached]struct{}),
		netlinks:  make(map[uint64]*netlink),
		scratch:   make([]byte, scratchSize),
		fds:       make([]int32, 0, maxControlFDs+1),
		trees:     make(map[*tree]struct{}),
		spare:     [2]int32{-1, -1},
		nowForAge: time.Now,
	}
	t.tombs.init()
	t.flows.init()
	t.deferred = make(map[uint64]deferral)
	t.datagrams, _ = cfg.Engine.(stream.Datagrams)
	return t
}

// Adopt takes over the attach socket of a process tree, its handshake done. fd
// is the Set's from here on. inode is that of the peer's end, 0 if it is not
// known. One that cannot be taken is closed and counted as refused: its
// processes see what they see when the daemon is gone.
func (t *Set) Adopt(fd int, pid int32, uid, inode uint32) {
	a := &attached{set: t, fd: int32(fd), pid: pid, uid: uid, inode: inode}
	// SCM_CREDENTIALS tells an empty record from the end of the socket, and
	// which process of the tree asks.
	if t.closed || len(t.attached) >= t.cfg.MaxAttached ||
		setSockInt(a.fd, unix.SO_PASSCRED, 1) != 0 || t.cfg.Poller.Add(fd, a) != nil {
		t.stat.Drop(stat.DropControlRefused)
		t.janitor.close(a.fd)
		return
	}
	t.attached[a] = struct{}{}
	a.ready() // requests may lie in it already
}

// Attached returns the inodes of the attach sockets at their processes' end: a
// process that has one open belongs to the container.
func (t *Set) Attached() []uint32 {
	var inodes []uint32
	for a := range t.attached {
		if a.inode != 0 {
			inodes = append(inodes, a.inode)
		}
	}
	return inodes
}

// Len returns how many virtual sockets there are.
func (t *Set) Len() int { return t.slab.live }

// Busy reports whether Work has something to do.
func (t *Set) Busy() bool {
	return t.queue > 0 || len(t.ctlQueue) > 0 || len(t.nlQueue) > 0 || t.listeners && len(t.published) > 0 ||
		len(t.refusing) > 0 && len(t.paused) == 0 || len(t.heard) > 0
}

// Timeout returns how long the worker may sleep before it calls Work without
// having been told of an event: sockets wait for ring memory or fds, or
// connections to be handed over. Negative: for ever.
func (t *Set) Timeout() time.Duration {
	wait := time.Duration(-1)
	if len(t.paused) > 0 {
		wait = max(0, time.Until(t.retryAt))
	}
	if len(t.deferred) > 0 {
		if d := max(0, t.deferEnd.Sub(t.nowForAge())); wait < 0 || d < wait {
			wait = d
		}
	}
	return wait
}

// Work visits what is ready, about budget visits and requests, each of what is
// ready once at most, and reports whether more is ready. Call it once a turn,
// after Engine.Poll.
func (t *Set) Work(budget int) (more bool) {
	if t.closed {
		return false
	}
	if len(t.paused) > 0 {
		t.resume()
	}
	if len(t.deferred) > 0 {
		t.endDeferrals()
	}
	if t.listeners {
		t.offerAll()
	}
	if len(t.refusing) > 0 && len(t.paused) == 0 {
		t.refuse()
	}
	budget -= t.control(max(1, budget/2))
	if len(t.heard) > 0 {
		t.takeDatagrams()
	}
	if len(t.nlQueue) > 0 {
		t.answerNetlinks()
	}
	for n := min(max(1, budget), t.queue); n > 0; n-- {
		s := t.pop()
		if s.state == stFree {
			t.slab.recycle(s)
			continue
		}
		t.visit(s)
	}
	return t.Busy()
}

// visit does what a socket's state calls for.
func (t *Set) visit(s *sock) {
	switch s.state {
	case stListening:
		t.accept(s)
	case stConnected:
		t.pump(s)
		if s.has(fDeferred) {
			t.arrived(s)
		}
	case stFailed:
		t.deliverLast(s)
	case stClosing:
		t.closing(s)
	case stOpen, stConnecting:
		if s.has(fHup) {
			t.lastClose(s)
		}
	case stDatagram:
		t.exchange(s)
	}
}

// enqueue puts a socket at the end of the ready queue.
func (t *Set) enqueue(s *sock) {
	if s.has(fQueued) {
		return
	}
	s.flags |= fQueued
	s.next = nil
	if t.tail == nil {
		t.head = s
	} else {
		t.tail.next = s
	}
	t.tail = s
	t.queue++
}

func (t *Set) pop() *sock {
	s := t.head
	t.head = s.next
	if t.head == nil {
		t.tail = nil
	}
	s.next = nil
	s.flags &^= fQueued
	t.queue--
	return s
}

// pause puts a socket aside until resume.
func (t *Set) pause(s *sock) {
	if s.has(fPaused) {
		return
	}
	s.flags |= fPaused
	t.putAside(s.user())
}

func (t *Set) putAside(user uint64) {
	if len(t.paused) == 0 {
		t.retryAt = time.Now().Add(retryAfter)
	}
	t.paused = append(t.paused, user)
}

// watch adds a socket to the poller.
func (t *Set) watch(s *sock) bool {
	if t.cfg.Poller.Add(int(s.fd), s) != nil {
		return false
	}
	s.flags |= fWatched
	return true
}

// resume makes paused sockets ready again when their time has come.
func (t *Set) resume() {
	if time.Now().Before(t.retryAt) {
		return
	}
	for _, user := range t.paused {
		if s := t.slab.lookup(user); s != nil {
			s.flags &^= fPaused
			t.enqueue(s)
		}
	}
	t.paused = t.paused[:0]
	for a := range t.attached {
		if a.waiting {
			a.waiting = false
			a.ready()
		}
	}
}

// InputOnly says that a datagram socket never waits for room in its pair.
func (s *sock) InputOnly() bool { return s.dgram != nil }

// Ready notes what the kernel says about our end of a pair.
func (s *sock) Ready(events uint32) {
	if s.state == stFree || s.fd < 0 {
		return
	}
	if events&unix.EPOLLIN != 0 {
		s.flags |= fCanRead
	}
	if events&unix.EPOLLPRI != 0 {
		s.flags |= fCanRead | fUrgent
	}
	if events&unix.EPOLLOUT != 0 {
		s.flags |= fCanWrite
	}
	if events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		s.flags |= fCanRead | fRdHup
	}
	if events&unix.EPOLLHUP != 0 {
		s.flags |= fHup | fCanWrite
	}
	switch s.state {
	case stListening:
		if events&(unix.EPOLLHUP|unix.EPOLLRDHUP) != 0 || len(s.pending) > 0 {
			s.set.enqueue(s)
		}
	case stOpen, stConnecting:
		if s.has(fHup) {
			s.set.enqueue(s)
		}
	case stConnected:
		// A pair is writable from the start: only those with something
		// to write are visited for it.
		if s.has(fCanRead) || s.pair.Rx.Len() > 0 {
			s.set.enqueue(s)
		}
	case stDatagram:
		if s.has(fCanRead) {
			s.set.enqueue(s)
		}
	default:
		s.set.enqueue(s)
	}
}
