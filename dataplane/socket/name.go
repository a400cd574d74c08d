// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"net/netip"
	"syscall"

	"netcon/dataplane/stat"
	"netcon/dataplane/stream"
	"netcon/shm"

	"golang.org/x/sys/unix"
)

// Names. A library's resolver asks the daemon by NC_RESOLVE. A program that has a
// resolver of its own sends DNS queries to the nameservers of resolv.conf, as
// datagrams or over TCP: the daemon answers those in the nameserver's place,
// wherever the nameserver is, unless it is on the container's networks or a socket
// of the container is bound there.

// Resolver answers questions for names. Every answer is given once, on the worker's
// thread, later and never while the question is asked.
type Resolver interface {
	// Nameserver reports whether queries to ip are for the Resolver.
	Nameserver(ip netip.Addr) bool

	// Query answers a DNS query that came as a datagram; nil: not at all.
	// host says that the way out is open.
	Query(query []byte, host bool, answer func(msg []byte))

	// Stream returns one end of a pair over which queries are answered, as over
	// TCP; it does not block. host says that the way out is open. ECONNREFUSED:
	// there are too many.
	Stream(host bool) (fd int, e syscall.Errno)

	// Addresses finds the addresses of a name: ENOENT, ENODATA, EAGAIN.
	Addresses(name string, v4, v6, host bool, answer func([]netip.Addr, syscall.Errno))

	// Name finds the name of an address.
	Name(ip netip.Addr, host bool, answer func(string, syscall.Errno))
}

// maxQuestions is how many questions of a container may be open. More are refused.
const maxQuestions = 256

const dnsPort = 53

// isNameserver reports whether what s sends or connects to this address are queries
// that the Resolver answers.
func (t *Set) isNameserver(s *sock, to netip.AddrPort) bool {
	if to.Port() != dnsPort || t.cfg.Resolver == nil || s.dgram != nil && s.dgram.proto != stream.UDP {
		return false
	}
	ip := to.Addr().Unmap()
	if !t.cfg.Resolver.Nameserver(ip) || t.onSubnet(ip) {
		return false
	}
	bound := false
	if ip.IsLoopback() {
		t.slab.each(func(o *sock) {
			if (o.state == stListening || o.state == stDatagram) && (o.dgram != nil) == (s.dgram != nil) && o.has(fBound) && o.asked.Port() == dnsPort {
				at := o.asked.Addr().Unmap()
				bound = bound || at == ip || at.IsUnspecified()
			}
		})
	}
	return !bound
}

// moveToResolver gives a socket that connects to a nameserver a pair to the Resolver
// in the place of its handle.
func (t *Set) moveToResolver(s *sock, server netip.Addr) syscall.Errno {
	if t.cfg.Host == nil {
		return unix.ECONNREFUSED
	}
	if t.localOf(s).Port() == 0 {
		_ = t.engine.Bind(s.handle, unspecified(s.family)) // any port, like any connect
	}
	local := t.localOf(s)
	if local.Addr().Unmap().IsUnspecified() {
		local = netip.AddrPortFrom(t.sourceFor(s, server), local.Port())
	}
	fd, e := t.cfg.Resolver.Stream(t.wayOut)
	if e != 0 {
		t.stat.Drop(stat.DropQuestions)
		return e
	}
	h, e := t.cfg.Host.Join(fd, local, s.user())
	if e != 0 {
		return e
	}
	t.engine.Close(s.handle)
	s.handle = h
	s.flags |= fHost | fResolver
	s.flags &^= fRebind
	return 0
}

// sourceFor is the address of the container that s would write to a nameserver from.
func (t *Set) sourceFor(s *sock, server netip.Addr) netip.Addr {
	if server.Unmap().IsLoopback() {
		return server
	}
	if ip := t.addressFor(s, server.Unmap().Is4()); ip.IsValid() {
		return ip
	}
	return unspecified(s.family).Addr()
}

// query asks the Resolver what the application wrote to a nameserver.
func (t *Set) query(s *sock, server netip.AddrPort, payload []byte) {
	if t.questions >= maxQuestions {
		t.stat.Drop(stat.DropQuestions)
		return
	}
	if t.localOf(s).Port() == 0 {
		_ = t.engine.Bind(s.handle, unspecified(s.family)) // as any first datagram
	}
	t.questions++
	user := s.user()
	t.cfg.Resolver.Query(append([]byte(nil), payload...), t.wayOut, func(msg []byte) {
		t.questions--
		s := t.slab.lookup(user)
		if msg == nil || s == nil || s.dgram == nil || t.closed {
			return
		}
		t.hear(s, server, msg)
	})
}

// hear hands an answer to the application as a datagram of the nameserver.
func (t *Set) hear(s *sock, server netip.AddrPort, msg []byte) {
	if s.dgram.connected && s.dgram.far != server {
		return // connected to somebody else meanwhile
	}
	t.dmsg = stream.Message{Remote: server, TTL: 64, Local: t.localOf(s).Addr()}
	n := copy(t.burst.payload[0], msg)
	t.address(s, 0, min(n, shm.PayloadMax))
	t.deliverBurst(s, 1)
}

// opResolve answers a library's resolver.
func (t *Set) opResolve(r *shm.Request, replyFD int32) {
	if t.cfg.Resolver == nil || t.questions >= maxQuestions {
		t.answer(replyFD, unix.EAGAIN)
		return
	}
	if r.Addr.Family != unix.AF_UNSPEC {
		t.resolveAddr(r, replyFD)
		return
	}
	const longest = 253 // RFC 1035 section 2.3.4, as text
	if r.Optlen == 0 || r.Optlen > longest {
		t.answer(replyFD, unix.ENOENT)
		return
	}
	v4 := r.Family == unix.AF_UNSPEC || r.Family == unix.AF_INET
	v6 := r.Family == unix.AF_UNSPEC || r.Family == unix.AF_INET6
	if !v4 && !v6 {
		t.answer(replyFD, unix.EAFNOSUPPORT)
		return
	}
	t.questions++
	t.cfg.Resolver.Addresses(string(r.Opt[:r.Optlen]), v4, v6, t.wayOut, func(addrs []netip.Addr, e syscall.Errno) {
		t.questions--
		t.reply = shm.Reply{}
		for i, ip := range addrs {
			if (i+1)*shm.SizeofFound > shm.OptMax {
				break
			}
			f := shm.Found{Family: unix.AF_INET6}
			if ip.Is4() {
				f.Family = unix.AF_INET
			}
			copy(f.Ip[:], ip.AsSlice())
			copy(t.reply.Opt[i*shm.SizeofFound:], shm.FoundBytes(&f))
			t.reply.Value = int32(i + 1)
		}
		t.reply.Optlen = uint32(t.reply.Value) * shm.SizeofFound
		t.answer(replyFD, e)
	})
}

// resolveAddr answers with the name of an address.
func (t *Set) resolveAddr(r *shm.Request, replyFD int32) {
	family, ok := familyOf(r.Addr.Family)
	ap, e := decodeAddr(&r.Addr, family)
	if !ok || e != 0 {
		t.answer(replyFD, unix.EAFNOSUPPORT)
		return
	}
	t.questions++
	t.cfg.Resolver.Name(ap.Addr(), t.wayOut, func(name string, e syscall.Errno) {
		t.questions--
		t.reply = shm.Reply{}
		t.reply.Optlen = uint32(copy(t.reply.Opt[:], name))
		t.answer(replyFD, e)
	})
}
