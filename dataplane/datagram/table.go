// SPDX-License-Identifier: Apache-2.0

package datagram

import (
	"encoding/binary"
	"hash/maphash"
	"net/netip"

	"netcon/dataplane/stream"
)

// The ports that are given to who asks for none, as in Linux.
const (
	ephemeralFirst = 32768
	ephemeralCount = 60999 - ephemeralFirst + 1
)

// table is the sockets of one protocol that are bound to a port. Every bound
// socket is in ports; beside that one with a peer is in peers, one without in
// bound.
type table struct {
	ports map[uint16][]*socket         // in the order of binding
	bound map[netip.AddrPort][]*socket // by local address, in the order of listing
	peers map[peerKey]*socket          // the latest; older ones by peerNext
	loose int                          // sockets in peers whose peer has port 0, which means any
}

// peerKey names the two ends of a connected socket.
type peerKey struct{ local, remote netip.AddrPort }

func newTable() table {
	return table{
		ports: make(map[uint16][]*socket), bound: make(map[netip.AddrPort][]*socket),
		peers: make(map[peerKey]*socket),
	}
}

func (s *Stack) tableOf(k *socket) *table {
	if k.proto == stream.Ping {
		return &s.ping
	}
	return &s.udp
}

// bind gives a socket a port, any if it is 0, and reports whether it could.
func (s *Stack) bind(k *socket, port uint16) bool {
	t := s.tableOf(k)
	if port == 0 {
		if port = s.freePort(t, k); port == 0 {
			return false
		}
	} else {
		for _, o := range t.ports[port] {
			if conflict(k, o) {
				return false
			}
		}
	}
	k.port, k.inTable = port, true
	t.ports[port] = append(t.ports[port], k)
	s.list(k)
	return true
}

// conflict is Linux's udp_lib_lport_inuse, and ping_get_port: identifiers know
// no addresses.
func conflict(a, b *socket) bool {
	if a.on(stream.OptReuseAddr) && b.on(stream.OptReuseAddr) {
		return false
	}
	if a.proto == stream.Ping {
		return true
	}
	return overlap(a, b) && !(a.on(stream.OptReusePort) && b.on(stream.OptReusePort))
}

// freePort returns a port that no socket with an address of k's has, 0 if there
// is none. Options for sharing do not count: nobody asked for this port.
func (s *Stack) freePort(t *table, k *socket) uint16 {
	first := int(s.rng.Uint64() % ephemeralCount)
next:
	for i := range ephemeralCount {
		p := uint16(ephemeralFirst + (first+i)%ephemeralCount)
		for _, o := range t.ports[p] {
			if k.proto == stream.Ping || overlap(k, o) {
				continue next
			}
		}
		return p
	}
	return 0
}

// unbind takes a socket's port away.
func (s *Stack) unbind(k *socket) {
	if !k.inTable {
		return
	}
	s.unlist(k)
	t := s.tableOf(k)
	if left := without(t.ports[k.port], k); len(left) > 0 {
		t.ports[k.port] = left
	} else {
		delete(t.ports, k.port)
	}
	k.port, k.inTable = 0, false
}

// list makes a bound socket known by its addresses, unlist ends that. Ping
// sockets are known by their identifiers alone.
func (s *Stack) list(k *socket) {
	if !k.inTable || k.proto != stream.UDP {
		return
	}
	t := &s.udp
	at := netip.AddrPortFrom(k.local, k.port)
	if k.remote.IsValid() {
		key := peerKey{at, k.remote}
		k.peerNext = t.peers[key]
		t.peers[key] = k
		if k.remote.Port() == 0 {
			t.loose++
		}
		return
	}
	t.bound[at] = append(t.bound[at], k)
}

func (s *Stack) unlist(k *socket) {
	if !k.inTable || k.proto != stream.UDP {
		return
	}
	t := &s.udp
	at := netip.AddrPortFrom(k.local, k.port)
	if !k.remote.IsValid() {
		if left := without(t.bound[at], k); len(left) > 0 {
			t.bound[at] = left
		} else {
			delete(t.bound, at)
		}
		return
	}
	if k.remote.Port() == 0 {
		t.loose--
	}
	key := peerKey{at, k.remote}
	if t.peers[key] == k {
		if k.peerNext != nil {
			t.peers[key] = k.peerNext
		} else {
			delete(t.peers, key)
		}
	} else {
		for o := t.peers[key]; o != nil; o = o.peerNext {
			if o.peerNext == k {
				o.peerNext = k.peerNext
				break
			}
		}
	}
	k.peerNext = nil
}

// find returns the socket that a unicast datagram is for, nil if there is none:
// one connected to its sender; else one bound to its destination; else one bound
// to no address, IPv4 sockets before IPv6 sockets (compute_score in Linux). Of
// several the latest, or, if they share the port with SO_REUSEPORT, the one
// that the flow's hash names.
func (s *Stack) find(local, remote netip.AddrPort) *socket {
	t := &s.udp
	if k := t.peers[peerKey{local, remote}]; k != nil {
		return k
	}
	if t.loose > 0 {
		if k := t.peers[peerKey{local, netip.AddrPortFrom(remote.Addr(), 0)}]; k != nil {
			return k
		}
	}
	if len(t.bound) == 0 {
		return nil
	}
	dst := local.Addr()
	if k := s.choose(t.bound[local], local, remote); k != nil {
		return k
	}
	if dst.Is4() {
		if k := s.choose(t.bound[netip.AddrPortFrom(any4, local.Port())], local, remote); k != nil {
			return k
		}
	}
	return s.choose(t.bound[netip.AddrPortFrom(any6, local.Port())], local, remote)
}

// choose picks one of the sockets bound to one address and port.
func (s *Stack) choose(list []*socket, local, remote netip.AddrPort) *socket {
	for i := len(list) - 1; i >= 0; i-- {
		k := list[i]
		if !k.takes(local.Addr()) {
			continue
		}
		if !k.on(stream.OptReusePort) || len(list) == 1 {
			return k
		}
		at := int(s.flow(local, remote) % uint32(len(list)))
		for j := range list {
			if o := list[(at+j)%len(list)]; o.on(stream.OptReusePort) && o.takes(local.Addr()) {
				return o
			}
		}
		return k
	}
	return nil
}

// flow returns a hash that is equal for the packets of one flow.
func (s *Stack) flow(local, remote netip.AddrPort) uint32 {
	var b [36]byte
	l, r := local.Addr().As16(), remote.Addr().As16()
	copy(b[:], l[:])
	copy(b[16:], r[:])
	binary.BigEndian.PutUint16(b[32:], local.Port())
	binary.BigEndian.PutUint16(b[34:], remote.Port())
	h := maphash.Bytes(s.seed, b[:])
	return uint32(h ^ h>>32)
}
