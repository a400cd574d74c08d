// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"net/netip"
	"slices"
	"syscall"

	"netcon/dataplane/stat"
	"netcon/dataplane/stream"

	"golang.org/x/sys/unix"
)

// A published port is a listener of the host's stack whose connections go to the
// container's listeners on that port, as accepted ones: they have the true peer,
// and nothing is relayed. A connection is taken only when a listener has room
// for it; until then it waits in the kernel's backlog, which is bounded. Where
// the container has no listener it is reset.

// Publication names a published port of a Set. Zero is none.
type Publication uint64

// publication is one published port.
type publication struct {
	id     Publication
	handle stream.Handle // of Config.Host
	family stream.Family
	port   uint16 // of the container
	ready  bool   // the kernel may have connections
	alone  bool   // among the Set's refusing
	turn   uint   // which of several listeners is next
	pid    int32  // who asked for it; 0: the configuration

	// Of a UDP port (publish_datagram.go).
	datagrams bool
	stale     bool     // receivers are to be looked for
	receivers []uint64 // as user values
	waiting   []uint64 // who wait to answer, as user values
}

// publicationBits marks the user values of publications: sockets begin with
// generation 1, which is above.
const publicationBits = 1<<32 - 1

// Publish has connections to a kernel socket that listens, of this family, go to
// the container's port. fd is the Set's from here on.
func (t *Set) Publish(fd int, family stream.Family, port uint16) (Publication, syscall.Errno) {
	if t.closed || t.lastPublication == publicationBits {
		_ = unix.Close(fd)
		return 0, unix.ENOBUFS
	}
	t.lastPublication++
	p := &publication{id: t.lastPublication, family: family, port: port}
	var e syscall.Errno
	if p.handle, e = t.cfg.Host.Adopt(fd, uint64(p.id)); e != 0 {
		return 0, e
	}
	t.published = append(t.published, p)
	return p.id, 0
}

// Published is one published port, for people.
type Published struct {
	Host netip.AddrPort // where the host listens
	Port uint16         // of the container
	UDP  bool           // else TCP
	PID  int32          // the program that asked for it; 0: the configuration
}

// Published lists the published ports.
func (t *Set) Published() []Published {
	var list []Published
	for _, p := range t.published {
		list = append(list, Published{Host: t.cfg.Host.Local(p.handle), Port: p.port, UDP: p.datagrams, PID: p.pid})
	}
	return list
}

// Unpublish ends a published port. Connections that were handed over stay.
func (t *Set) Unpublish(id Publication) {
	i := slices.IndexFunc(t.published, func(p *publication) bool { return p.id == id })
	if i < 0 {
		return
	}
	p := t.published[i]
	t.cfg.Host.Close(p.handle)
	t.published = slices.Delete(t.published, i, i+1)
	t.refusing = slices.DeleteFunc(t.refusing, func(o *publication) bool { return o == p })
	if p.datagrams {
		t.heard = slices.DeleteFunc(t.heard, func(o *publication) bool { return o == p })
		t.flows.dropVia(id)
		t.roomOnHost(p)
	}
}

// find returns a published port, nil if it is gone.
func (t *Set) find(id Publication) *publication {
	for _, p := range t.published {
		if p.id == id {
			return p
		}
	}
	return nil
}

// arrive notes that the kernel has connections, or datagrams, for a published port.
func (t *Set) arrive(id Publication) {
	switch p := t.find(id); {
	case p == nil:
	case !p.datagrams:
		p.ready = true
		t.offer(p)
	case !p.ready:
		p.ready = true
		t.heard = append(t.heard, p)
	}
}

// offer has one of the listeners of a published port look at it, each in turn;
// without a listener its connections are refused.
func (t *Set) offer(p *publication) {
	fit := t.fit[:0]
	kept := t.listening[:0]
	for _, user := range t.listening {
		s := t.slab.lookup(user)
		if s == nil || s.state != stListening {
			continue
		}
		kept = append(kept, user)
		if t.serves(s, p) {
			fit = append(fit, s)
		}
	}
	t.listening, t.fit = kept, fit
	t.shared = len(fit) > 1
	if len(fit) == 0 {
		if !p.alone {
			p.alone = true
			t.refusing = append(t.refusing, p)
		}
		return
	}
	for i := range fit {
		// One that has no room looks again when it has.
		if s := fit[(p.turn+uint(i))%uint(len(fit))]; len(s.pending) == 0 {
			t.enqueue(s)
			return
		}
	}
}

// serves reports whether a listener takes what comes in at a published port: not
// one on the container's loopback.
func (t *Set) serves(s *sock, p *publication) bool {
	local := s.asked
	if s.dgram == nil {
		local = t.localOf(s)
	}
	ip := local.Addr()
	if local.Port() != p.port || ip.Unmap().IsLoopback() {
		return false
	}
	if p.family == stream.IPv6 {
		return s.family == stream.IPv6 && !ip.Is4In6()
	}
	if ip.Unmap().Is4() {
		return true
	}
	return ip.IsUnspecified() && !t.v6Only(s)
}

// mayBePublished reports whether a published port has something for a listener.
func (t *Set) mayBePublished(s *sock) bool {
	for _, p := range t.published {
		if p.ready && !p.datagrams && t.serves(s, p) {
			return true
		}
	}
	return false
}

// offerAll looks at every published port again: a listener came or went.
func (t *Set) offerAll() {
	t.listeners = false
	for _, p := range t.published {
		if p.ready && !p.datagrams {
			t.offer(p)
		}
	}
}

// takePublished accepts one connection for a listener from the published ports.
func (t *Set) takePublished(s, c *sock) (stream.Handle, syscall.Errno) {
	for _, p := range t.published {
		if !p.ready || p.datagrams || !t.serves(s, p) {
			continue
		}
		h, e := t.cfg.Host.Accept(p.handle, c.user())
		switch e {
		case 0:
			p.turn++
			t.offer(p) // the next is another listener's
		case unix.EAGAIN:
			p.ready = false
			continue
		}
		return h, e
	}
	return 0, unix.EAGAIN
}

// refuse resets connections to published ports that nobody listens on.
func (t *Set) refuse() {
	list := t.refusing
	t.refusing = nil
	for _, p := range list {
		p.alone = false
		for n := 0; p.ready; n++ {
			if n == visitAccepts {
				t.offer(p)
				break
			}
			switch h, e := t.cfg.Host.Accept(p.handle, 0); e {
			case 0:
				t.cfg.Host.Abort(h)
				t.stat.Drop(stat.DropNotListening)
			case unix.ECONNABORTED:
			case unix.EAGAIN:
				p.ready = false
			default: // no descriptor for it
				t.putAside(0)
				t.refusing = append(t.refusing, p)
				p.alone = true
				return
			}
		}
	}
}
