// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"netcon/dataplane/launch"
	"netcon/shm"
)

// Bounds of the relay.
const (
	relayBurst = 64  // datagrams of one direction before others have their turn
	tokensMax  = 256 // headers that are kept as tokens
	knownMax   = 64  // destinations of a socket that need no verdict
)

// relay stands between datagram sockets of programs and of the daemon. A program's
// end carries bare payloads, so that its reads and writes are the kernel's. The
// header of a datagram comes along as a descriptor, a token: a read that does not ask
// closes it, and one that does comes to the supervisor.
type relay struct {
	epoll  int
	tokens tokens

	mu      sync.Mutex
	sockets map[uint64]*datagram // by SO_COOKIE of the program's end
	keys    map[int32]*datagram
	next    int32

	buffer   []byte // of the goroutine in run
	flushing []byte // of the goroutine that takes calls
}

// datagram is one datagram socket.
type datagram struct {
	key    int32
	cookie uint64 // of the program's end
	plain  int    // our end of the program's pair
	wire   int    // the end of the daemon's pair that programs with the library have
	name   uint64 // SO_COOKIE of wire: what the daemon knows
	six    bool   // AF_INET6
	icmp   bool   // not UDP

	mu        sync.Mutex
	closed    bool
	connected bool
	mute      bool          // shut down for sending
	err       syscall.Errno // reported by the network, not taken yet
	out       []byte        // a record that the daemon had no room for
	in        []byte        // a payload that the program had no room for
	head      shm.Datagram  // and its header
	known     map[route]struct{}
}

// route is where a datagram was sent to, and the source that was asked for.
type route struct{ to, source shm.Addr }

func newRelay() (*relay, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create epoll set: %w", err)
	}
	const record = shm.SizeofDatagram + shm.PayloadMax + 1
	return &relay{
		epoll: epoll, sockets: map[uint64]*datagram{}, keys: map[int32]*datagram{},
		tokens: tokens{files: map[shm.Datagram]int{}}, buffer: make([]byte, record), flushing: make([]byte, record),
	}, nil
}

// add takes over a socket.
func (r *relay) add(d *datagram) syscall.Errno {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.next++; r.next <= 0 || r.keys[r.next] != nil; r.next++ {
		r.next = max(r.next, 0)
	}
	d.key, d.known = r.next, map[route]struct{}{}
	r.sockets[d.cookie], r.keys[d.key] = d, d
	for _, fd := range []int{d.plain, d.wire} {
		if err := unix.EpollCtl(r.epoll, unix.EPOLL_CTL_ADD, fd, d.interest()); err != nil {
			delete(r.sockets, d.cookie)
			delete(r.keys, d.key)
			return unix.ENOBUFS
		}
	}
	return 0
}

func (d *datagram) interest() *unix.EpollEvent {
	const edge = 1 << 31 // EPOLLET
	return &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | edge, Fd: d.key}
}

// find returns the socket whose program's end is fd; nil: it is another
// supervisor's.
func (r *relay) find(fd int) *datagram {
	cookie := launch.Cookie(fd)
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sockets[cookie]
}

// run moves datagrams until the process ends.
func (r *relay) run() {
	events := make([]unix.EpollEvent, 64)
	for {
		n, err := unix.EpollWait(r.epoll, events, -1)
		if err != nil && err != unix.EINTR {
			return
		}
		for _, ev := range events[:max(n, 0)] {
			r.mu.Lock()
			d := r.keys[ev.Fd]
			r.mu.Unlock()
			if d != nil && r.turn(d) {
				r.drop(d)
			}
		}
	}
}

// turn moves what can be moved, and reports whether the socket has ended.
func (r *relay) turn(d *datagram) (ended bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return false
	}
	more := d.send(r.buffer)
	if d.receive(&r.tokens, r.buffer) || more {
		// Once more, after the others.
		_ = unix.EpollCtl(r.epoll, unix.EPOLL_CTL_MOD, d.wire, d.interest())
	}
	// What was written before the last close is still sent.
	return hungUp(d.wire) || hungUp(d.plain) && d.out == nil && !more
}

// reap ends the sockets that programs have closed, but for those that the daemon
// has no room for at the moment. It belongs to the goroutine that takes calls.
func (r *relay) reap() {
	r.mu.Lock()
	all := slices.Collect(maps.Values(r.sockets))
	r.mu.Unlock()
	for _, d := range all {
		d.mu.Lock()
		over := d.closed
		if !over && hungUp(d.plain) {
			over = !d.send(r.flushing) && d.out == nil
		}
		d.mu.Unlock()
		if over {
			r.drop(d)
		}
	}
}

// drop ends a socket. Who still has the program's end reads an end.
func (r *relay) drop(d *datagram) {
	d.mu.Lock()
	if !d.closed {
		d.closed = true
		_ = unix.Close(d.plain)
		_ = unix.Close(d.wire)
	}
	d.mu.Unlock()
	r.mu.Lock()
	delete(r.sockets, d.cookie)
	delete(r.keys, d.key)
	r.mu.Unlock()
}

// send moves what the program wrote; more says that there may be more.
func (d *datagram) send(buffer []byte) (more bool) {
	for range relayBurst {
		if d.out != nil {
			if d.write(d.out) == unix.EAGAIN {
				return false
			}
			d.out = nil
		}
		n, _, err := unix.Recvfrom(d.plain, buffer[shm.SizeofDatagram:], unix.MSG_DONTWAIT|unix.MSG_TRUNC)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil, n == 0 && ended(d.plain):
			return false
		case n > shm.PayloadMax, d.mute:
			continue // no datagram is that long
		}
		if !d.connected {
			// The write has returned. Who asks later is told.
			d.err = unix.EDESTADDRREQ
		}
		header := shm.Datagram{Magic: shm.Magic}
		copy(buffer, shm.DatagramBytes(&header))
		if record := buffer[:shm.SizeofDatagram+n]; d.write(record) == unix.EAGAIN {
			d.out = append([]byte(nil), record...)
			return false
		}
	}
	return true
}

func (d *datagram) write(record []byte) syscall.Errno {
	return launch.Errno(unix.Send(d.wire, record, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL))
}

// receive moves what came from the network.
func (d *datagram) receive(t *tokens, buffer []byte) (more bool) {
	for range relayBurst {
		if d.in != nil {
			if d.deliver(t, d.in, &d.head) == unix.EAGAIN {
				return false
			}
			d.in = nil
		}
		n, _, err := unix.Recvfrom(d.wire, buffer, unix.MSG_DONTWAIT)
		var header shm.Datagram
		switch {
		case err == unix.EINTR:
			continue
		case err != nil, n < shm.SizeofDatagram:
			return false
		}
		copy(shm.DatagramBytes(&header), buffer)
		switch {
		case header.Error != 0:
			d.err = syscall.Errno(header.Error)
		case header.Flags&shm.DatagramEvent != 0:
		default:
			payload := buffer[shm.SizeofDatagram:n]
			if d.deliver(t, payload, &header) == unix.EAGAIN {
				d.in, d.head = append([]byte{}, payload...), header
				return false
			}
		}
	}
	return true
}

// deliver gives the program a payload, and the token of its header. Where no token
// can be had it comes without.
func (d *datagram) deliver(t *tokens, payload []byte, header *shm.Datagram) syscall.Errno {
	token := t.of(essence(header))
	e := sendRecord(d.plain, payload, token)
	if e == unix.ETOOMANYREFS {
		e = sendRecord(d.plain, payload, -1)
	}
	return e
}

// essence is what the program may ask of a header: little where it has not asked
// to be told more than the sender, so that few tokens do for many datagrams.
func essence(h *shm.Datagram) shm.Datagram {
	if h.Flags == 0 {
		return shm.Datagram{Remote: h.Remote}
	}
	e := *h
	e.Magic, e.Cookie = 0, 0
	if e.Flags&shm.WantOverflow == 0 {
		e.Drops = 0
	}
	return e
}

// tokens are files that hold a header each.
type tokens struct {
	mu    sync.Mutex
	files map[shm.Datagram]int
}

// of returns the token of a header; negative: there is none.
func (t *tokens) of(h shm.Datagram) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if fd, ok := t.files[h]; ok {
		return fd
	}
	if len(t.files) >= tokensMax {
		for old, fd := range t.files { // any: what is on its way stays open
			_ = unix.Close(fd)
			delete(t.files, old)
			break
		}
	}
	fd, err := unix.MemfdCreate("header", unix.MFD_CLOEXEC)
	if err != nil {
		return -1
	}
	if n, err := unix.Write(fd, shm.DatagramBytes(&h)); err != nil || n != shm.SizeofDatagram {
		_ = unix.Close(fd)
		return -1
	}
	t.files[h] = fd
	return fd
}

// headerOf reads the token among control messages, and closes what came.
func headerOf(control []byte) (h shm.Datagram) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return h
	}
	for i := range messages {
		fds, _ := unix.ParseUnixRights(&messages[i])
		for _, fd := range fds {
			if n, err := unix.Pread(fd, shm.DatagramBytes(&h), 0); err != nil || n != shm.SizeofDatagram {
				h = shm.Datagram{}
			}
			_ = unix.Close(fd)
		}
	}
	return h
}

// hungUp reports whether the other end of a pair was closed.
func hungUp(fd int) bool { return polled(fd, 0)&unix.POLLHUP != 0 }

// ended reports whether nothing comes any more.
func ended(fd int) bool { return polled(fd, unix.POLLRDHUP)&(unix.POLLRDHUP|unix.POLLHUP) != 0 }

func polled(fd int, events int16) int16 {
	p := []unix.PollFd{{Fd: int32(fd), Events: events}}
	_, _ = unix.Poll(p, 0)
	return p[0].Revents
}
