// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"bytes"
	"io"
	"sync"
	"testing"

	gvlog "gvisor.dev/gvisor/pkg/log"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/link/pipe"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// gvPair is many connections between two gVisor stacks in their best form: joined
// by gVisor's own pipe, which copies nothing; all I/O on one loop, which readiness
// callbacks feed; SACK, CUBIC, buffers as large as ours. Both sides compute and
// verify checksums; there is no GSO or GRO, as with the native engine beside it.
type gvPair struct {
	tb     testing.TB
	a, b   *stack.Stack
	ca, cb []*gvConn

	mu    sync.Mutex
	some  *sync.Cond
	ready []*gvConn
}

// gvConn is one end of a connection.
type gvConn struct {
	p      *gvPair
	ep     tcpip.Endpoint
	wq     *waiter.Queue
	server bool
	queued bool // guarded by p.mu
}

const gvPort = 80

var gvAddrs = [2]tcpip.Address{tcpip.AddrFrom4([4]byte{10, 0, 0, 1}), tcpip.AddrFrom4([4]byte{10, 0, 0, 2})}

func newGVPair(tb testing.TB, conns, buffer int) *gvPair {
	tb.Helper()
	gvlog.SetTarget(&gvlog.MultiEmitter{})
	p := &gvPair{tb: tb}
	p.some = sync.NewCond(&p.mu)
	ea, eb := pipe.New("", "", 1500)
	p.a, p.b = p.newStack(ea, 0, buffer), p.newStack(eb, 1, buffer)
	tb.Cleanup(func() {
		for _, s := range []*stack.Stack{p.a, p.b} {
			s.Destroy()
		}
	})
	wq := &waiter.Queue{}
	l, err := p.b.NewEndpoint(tcp.ProtocolNumber, ipv4.ProtocolNumber, wq)
	p.must(err)
	p.must(l.Bind(tcpip.FullAddress{Port: gvPort}))
	p.must(l.Listen(4096))
	accepted := make(chan struct{}, 1)
	e := waiter.NewFunctionEntry(waiter.ReadableEvents, func(waiter.EventMask) {
		select {
		case accepted <- struct{}{}:
		default:
		}
	})
	wq.EventRegister(&e)
	defer wq.EventUnregister(&e)
	for range conns {
		c := &gvConn{p: p, wq: &waiter.Queue{}}
		c.ep, err = p.a.NewEndpoint(tcp.ProtocolNumber, ipv4.ProtocolNumber, c.wq)
		p.must(err)
		if err := c.ep.Connect(tcpip.FullAddress{Addr: gvAddrs[1], Port: gvPort}); err != nil {
			if _, ok := err.(*tcpip.ErrConnectStarted); !ok {
				tb.Fatal(err)
			}
		}
		for {
			ep, q, err := l.Accept(nil)
			if err == nil {
				p.cb = append(p.cb, p.watch(&gvConn{p: p, ep: ep, wq: q, server: true}))
				break
			}
			<-accepted
		}
		p.ca = append(p.ca, p.watch(c))
	}
	return p
}

func (p *gvPair) newStack(link stack.LinkEndpoint, which, buffer int) *stack.Stack {
	s := stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol},
	})
	sack, cc := tcpip.TCPSACKEnabled(true), tcpip.CongestionControlOption("cubic")
	p.must(s.SetTransportProtocolOption(tcp.ProtocolNumber, &sack))
	p.must(s.SetTransportProtocolOption(tcp.ProtocolNumber, &cc))
	rcv := tcpip.TCPReceiveBufferSizeRangeOption{Min: 4096, Default: buffer, Max: 8 << 20}
	snd := tcpip.TCPSendBufferSizeRangeOption{Min: 4096, Default: buffer, Max: 8 << 20}
	p.must(s.SetTransportProtocolOption(tcp.ProtocolNumber, &rcv))
	p.must(s.SetTransportProtocolOption(tcp.ProtocolNumber, &snd))
	p.must(s.CreateNIC(1, link))
	p.must(s.AddProtocolAddress(1, tcpip.ProtocolAddress{
		Protocol: ipv4.ProtocolNumber, AddressWithPrefix: tcpip.AddressWithPrefix{Address: gvAddrs[which], PrefixLen: 24},
	}, stack.AddressProperties{}))
	subnet := tcpip.AddressWithPrefix{Address: gvAddrs[which], PrefixLen: 24}.Subnet()
	s.SetRouteTable([]tcpip.Route{{Destination: subnet, NIC: 1}})
	return s
}

func (p *gvPair) must(err tcpip.Error) {
	p.tb.Helper()
	if err != nil {
		p.tb.Fatal(err)
	}
}

// watch queues a connection for the loop whenever it is readable or writable.
// The callback runs with locks of the endpoint held.
func (p *gvPair) watch(c *gvConn) *gvConn {
	e := waiter.NewFunctionEntry(waiter.ReadableEvents|waiter.WritableEvents, func(waiter.EventMask) {
		p.mu.Lock()
		if !c.queued {
			c.queued = true
			p.ready = append(p.ready, c)
			p.some.Signal()
		}
		p.mu.Unlock()
	})
	c.wq.EventRegister(&e)
	return c
}

// wait returns the connections that are ready.
func (p *gvPair) wait(spare []*gvConn) []*gvConn {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.ready) == 0 {
		p.some.Wait()
	}
	list := p.ready
	p.ready = spare[:0]
	for _, c := range list {
		c.queued = false
	}
	return list
}

// gvBytes is what connections send.
var gvBytes = make([]byte, 64<<10)

// write sends up to n bytes and returns how many were taken.
func (c *gvConn) write(n int) int {
	sent, err := c.ep.Write(bytes.NewReader(gvBytes[:n]), tcpip.WriteOptions{})
	if err != nil {
		if _, ok := err.(*tcpip.ErrWouldBlock); !ok {
			c.p.tb.Fatal(err)
		}
		return 0
	}
	return int(sent)
}

// read takes what is there.
func (c *gvConn) read() (n int) {
	for {
		r, err := c.ep.Read(io.Discard, tcpip.ReadOptions{})
		if err != nil {
			if _, ok := err.(*tcpip.ErrWouldBlock); !ok {
				c.p.tb.Fatal(err)
			}
			return n
		}
		n += r.Count
	}
}

// requests has every connection do one request of 64 bytes and get as much
// back.
func (p *gvPair) requests() {
	for _, c := range p.ca {
		c.write(64)
	}
	var spare []*gvConn
	for answered := 0; answered < len(p.ca); {
		list := p.wait(spare)
		for _, c := range list {
			switch n := c.read(); {
			case n == 0:
			case c.server:
				c.write(64)
			default:
				answered++
			}
		}
		spare = list
	}
}

// bulk moves n bytes over the first connection.
func (p *gvPair) bulk(n int) {
	a, b := p.ca[0], p.cb[0]
	var spare []*gvConn
	for sent, got := 0, 0; got < n; {
		for sent < n {
			k := a.write(min(64<<10, n-sent))
			if k == 0 {
				break
			}
			sent += k
		}
		list := p.wait(spare)
		for _, c := range list {
			if c == b {
				got += c.read()
			}
		}
		spare = list
	}
}
