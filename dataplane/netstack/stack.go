// SPDX-License-Identifier: Apache-2.0

package netstack

import (
	"fmt"
	"hash/maphash"
	"net/netip"
	"sync"
	"sync/atomic"

	gvlog "gvisor.dev/gvisor/pkg/log"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/loopback"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/stack/gro"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"

	"netcon/dataplane/datagram"
	"netcon/dataplane/stat"
	"netcon/dataplane/stream"
)

// The interfaces of a stack.
const (
	linkNIC tcpip.NICID = 1
	loopNIC tcpip.NICID = 2
)

// Stack is the gVisor stack of one container shard.
type Stack struct {
	cfg   Config
	stat  *stat.Block
	gv    *stack.Stack
	clock *clock
	link  link
	gro   gro.GRO

	ready readyQueue             // sockets with something to do in Poll
	death atomic.Pointer[string] // why the stack is dead; nil while it lives

	quiet atomic.Bool // stopped: nobody answers the doorbell

	own4 map[[4]byte]struct{} // addresses that may be a packet's destination
	own6 map[[16]byte]struct{}

	// The rest belongs to the worker's thread.

	slots   []slot
	free    []uint32 // indices into slots
	orphans orphanList
	flows   map[flowKey]*socket
	seed    maphash.Seed

	backlogs int       // sum of what listeners were granted
	starved  []*socket // listeners whose Accept met the connection limit
	stalled  []*socket // connections not pulled from for lack of buffer budget
	usedRx   int       // bytes charged to connections, inbound
	usedTx   int       // the same outbound

	datagrams *datagram.Stack
	frags     datagram.Reassembler

	synIn  uint64 // gVisor's count of SYNs dropped by full backlogs, as last seen
	tx     transmitter
	reader ringWriter
	writer ringReader
	stop   bool

	// Copies for readers on other threads.
	nSockets, nOrphans, nHalfOpen, nUsed, nFrag atomic.Int64
}

var _ stream.Engine = (*Stack)(nil)

// silence keeps gVisor's own log lines off the process's standard error.
var silence = sync.OnceFunc(func() { gvlog.SetTarget(&gvlog.MultiEmitter{}) })

// New makes a running stack.
func New(cfg Config) (*Stack, error) {
	cfg.Addrs = append([]netip.Prefix(nil), cfg.Addrs...)
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	silence()
	s := &Stack{
		cfg:   cfg,
		stat:  cfg.Stat,
		flows: make(map[flowKey]*socket),
		own4:  make(map[[4]byte]struct{}),
		own6:  make(map[[16]byte]struct{}),
		seed:  maphash.MakeSeed(),
	}
	s.clock = &clock{std: tcpip.NewStdClock(), s: s}
	s.link.init(s)
	s.datagrams = datagram.New(datagram.Config{
		MTU: cfg.MTU, Addrs: cfg.Addrs, Gateway4: cfg.Gateway4, Gateway6: cfg.Gateway6,
		Stat: cfg.Stat, Now: s.now, Room: s.room,
	})
	s.frags = datagram.Reassembler{Limit: cfg.Limits.FragmentBytes, Stat: cfg.Stat}
	s.gv = stack.New(stack.Options{
		// No router or neighbour solicitation, duplicate address
		// detection, IGMP or MLD: zero values turn all of them off.
		NetworkProtocols: []stack.NetworkProtocolFactory{
			ipv4.NewProtocolWithOptions(ipv4.Options{}),
			ipv6.NewProtocolWithOptions(ipv6.Options{}),
		},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol},
		Clock:              s.clock,
		HandleLocal:        true,
	})
	if err := s.configure(); err != nil {
		s.tearDown()
		return nil, err
	}
	s.gro.Init(true)
	s.gro.Dispatcher = s.link.dispatcher
	return s, nil
}

func (s *Stack) configure() error {
	if err := s.setTCP(); err != nil {
		return err
	}
	if e := s.gv.CreateNICWithOptions(linkNIC, &s.link, stack.NICOptions{Name: "eth0"}); e != nil {
		return fmt.Errorf("create link of stack %q: %s", s.cfg.Name, e)
	}
	if e := s.gv.CreateNICWithOptions(loopNIC, loopback.New(), stack.NICOptions{Name: "lo"}); e != nil {
		return fmt.Errorf("create loopback of stack %q: %s", s.cfg.Name, e)
	}
	var routes []tcpip.Route
	add := func(nic tcpip.NICID, p netip.Prefix) error {
		pa := tcpip.ProtocolAddress{
			Protocol:          protocolOf(p.Addr()),
			AddressWithPrefix: tcpip.AddressWithPrefix{Address: toAddress(p.Addr()), PrefixLen: p.Bits()},
		}
		if e := s.gv.AddProtocolAddress(nic, pa, stack.AddressProperties{}); e != nil {
			return fmt.Errorf("add address %s to stack %q: %s", p, s.cfg.Name, e)
		}
		routes = append(routes, tcpip.Route{Destination: pa.AddressWithPrefix.Subnet(), NIC: nic})
		return nil
	}
	for _, p := range s.cfg.Addrs {
		if err := add(linkNIC, p); err != nil {
			return err
		}
		if a := p.Addr(); a.Is4() {
			s.own4[a.As4()] = struct{}{}
		} else {
			s.own6[a.As16()] = struct{}{}
		}
	}
	for _, p := range []string{"127.0.0.1/8", "::1/128"} {
		if err := add(loopNIC, netip.MustParsePrefix(p)); err != nil {
			return err
		}
	}
	if g := s.cfg.Gateway4; g.IsValid() {
		routes = append(routes, tcpip.Route{Destination: header.IPv4EmptySubnet, Gateway: toAddress(g), NIC: linkNIC})
	}
	if g := s.cfg.Gateway6; g.IsValid() {
		routes = append(routes, tcpip.Route{Destination: header.IPv6EmptySubnet, Gateway: toAddress(g), NIC: linkNIC})
	}
	s.gv.SetRouteTable(routes)
	return nil
}

// setTCP sets what differs from gVisor's defaults; for what concerns loss see
// the package comment. Nagle is on, as in Linux.
func (s *Stack) setTCP() error {
	var (
		sack     = tcpip.TCPSACKEnabled(true)
		recovery = tcpip.TCPRecovery(0)
		minRTO   = tcpip.TCPMinRTOOption(minRTO)
		nagle    = tcpip.TCPDelayEnabled(true)
		moderate = tcpip.TCPModerateReceiveBufferOption(true)
		timeWait = tcpip.TCPTimeWaitTimeoutOption(s.cfg.TimeWait)
		reuse    = tcpip.TCPTimeWaitReuseOption(tcpip.TCPTimeWaitReuseGlobal)
		send     = tcpip.TCPSendBufferSizeRangeOption{Min: minBuffer, Default: defaultBuffer, Max: maxBuffer}
		recv     = tcpip.TCPReceiveBufferSizeRangeOption{Min: minBuffer, Default: defaultBuffer, Max: maxBuffer}
	)
	for _, o := range []tcpip.SettableTransportProtocolOption{
		&sack, &recovery, &minRTO, &nagle, &moderate, &timeWait, &reuse, &send, &recv,
	} {
		if e := s.gv.SetTransportProtocolOption(tcp.ProtocolNumber, o); e != nil {
			return fmt.Errorf("set %T of stack %q: %s", o, s.cfg.Name, e)
		}
	}
	return nil
}

// Sockets returns the number of open sockets. From any goroutine.
func (s *Stack) Sockets() int { return int(s.nSockets.Load()) }

// Limits returns the limits in force. From any goroutine.
func (s *Stack) Limits() Limits { return s.cfg.Limits }

// Usage returns how much of the limits is used, as of the last turn. From any
// goroutine.
func (s *Stack) Usage() Usage {
	return Usage{
		Sockets:       int(s.nSockets.Load()),
		Orphans:       int(s.nOrphans.Load()),
		HalfOpen:      int(s.nHalfOpen.Load()),
		BufferBytes:   int(s.nUsed.Load()),
		FragmentBytes: int(s.nFrag.Load()),
	}
}
