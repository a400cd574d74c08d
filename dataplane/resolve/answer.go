// SPDX-License-Identifier: Apache-2.0

package resolve

import (
	"context"
	"net"
	"net/netip"
	"sync/atomic"

	"golang.org/x/net/dns/dnsmessage"
)

// TTL is how long our answers may be kept, in seconds: containers come and go.
const TTL = 5

// MaxQuery is the longest query that is looked at, in bytes.
const MaxQuery = 4096

// plainSize is what a client without EDNS takes over UDP, RFC 1035 section 4.2.1.
const plainSize = 512

// Resolver answers the questions of one daemon's containers.
type Resolver struct {
	names   atomic.Pointer[Names]
	forward atomic.Pointer[Forward]
}

// Set replaces what is known and whom to ask for the rest.
func (r *Resolver) Set(n *Names, f *Forward) {
	r.names.Store(n)
	r.forward.Store(f)
}

// Asker is on whose behalf a question is asked.
type Asker struct {
	Network string
	Host    bool // its policy lets it reach what the host reaches

	// Dial connects to a resolver on the Asker's own network, over that; nil: it
	// is not asked. network is udp or tcp.
	Dial func(ctx context.Context, network string, to netip.AddrPort) (net.Conn, error)
}

func (r *Resolver) zone(a Asker) *zone {
	if n := r.names.Load(); n != nil {
		if z := n.networks[a.Network]; z != nil {
			return z
		}
	}
	return &zone{}
}

// Answer answers a DNS query. udp says that the answer has to fit into what the
// client takes as one datagram. What is no query gets no answer, nil.
func (r *Resolver) Answer(ctx context.Context, a Asker, query []byte, udp bool) []byte {
	if len(query) > MaxQuery {
		return nil
	}
	var p dnsmessage.Parser
	h, err := p.Start(query)
	if err != nil || h.Response {
		return nil
	}
	reply := &reply{header: dnsmessage.Header{
		ID: h.ID, Response: true, OpCode: h.OpCode, RecursionDesired: h.RecursionDesired, RecursionAvailable: true,
	}}
	q, err := p.Question()
	if err != nil {
		return reply.fail(dnsmessage.RCodeFormatError)
	}
	reply.question = q
	if _, err := p.Question(); err != dnsmessage.ErrSectionDone {
		return reply.fail(dnsmessage.RCodeFormatError)
	}
	reply.limit = 1<<16 - 1
	size, ok := edns(&p)
	reply.edns = ok
	if udp {
		reply.limit = max(plainSize, min(size, MaxQuery)) // 0 without EDNS
	}
	if h.OpCode != 0 {
		return reply.fail(dnsmessage.RCodeNotImplemented)
	}
	if q.Class != dnsmessage.ClassINET {
		return reply.fail(dnsmessage.RCodeRefused)
	}
	if own := r.own(a, reply); own != nil {
		return own
	}
	targets := r.targets(a)
	if len(targets) == 0 {
		return reply.fail(dnsmessage.RCodeRefused)
	}
	answer, err := exchange(ctx, targets, query, q, udp)
	if err != nil {
		return reply.fail(dnsmessage.RCodeServerFailure)
	}
	if len(answer) > reply.limit {
		reply.header.Truncated = true
		return reply.fail(dnsmessage.RCodeSuccess)
	}
	return answer
}

// edns finds the size of datagram that the client takes, RFC 6891 section 6.2.3.
func edns(p *dnsmessage.Parser) (size int, ok bool) {
	if p.SkipAllQuestions() != nil || p.SkipAllAnswers() != nil || p.SkipAllAuthorities() != nil {
		return 0, false
	}
	for {
		h, err := p.AdditionalHeader()
		if err != nil {
			return 0, false
		}
		if h.Type == dnsmessage.TypeOPT {
			return int(h.Class), true
		}
		if p.SkipAdditional() != nil {
			return 0, false
		}
	}
}

// own answers what is ours to answer, nil if the question is not.
func (r *Resolver) own(a Asker, reply *reply) []byte {
	z := r.zone(a)
	name := reply.question.Name.String()
	reply.header.Authoritative = true
	if ip, ok := reverseAddr(name); ok {
		switch pointer, ours := z.pointer(ip); {
		case pointer != "":
			return reply.pointer(pointer)
		case ours:
			return reply.fail(dnsmessage.RCodeNameError)
		}
	} else if addrs, ours := z.addresses(name); ours {
		if !z.exists(name) {
			return reply.fail(dnsmessage.RCodeNameError)
		}
		return reply.addresses(addrs)
	}
	reply.header.Authoritative = false
	return nil
}

// reply is an answer being made.
type reply struct {
	header   dnsmessage.Header
	question dnsmessage.Question
	edns     bool
	limit    int // bytes
}

// build makes the message with the records that add writes.
func (r *reply) build(add func(b *dnsmessage.Builder) error) []byte {
	b := dnsmessage.NewBuilder(make([]byte, 0, plainSize), r.header)
	b.EnableCompression()
	if b.StartQuestions() != nil {
		return nil
	}
	if r.question.Name.Length > 0 && b.Question(r.question) != nil {
		return nil
	}
	if b.StartAnswers() != nil || add != nil && add(&b) != nil {
		return nil
	}
	if r.edns {
		var h dnsmessage.ResourceHeader
		if b.StartAdditionals() != nil || h.SetEDNS0(MaxQuery, dnsmessage.RCodeSuccess, false) != nil ||
			b.OPTResource(h, dnsmessage.OPTResource{}) != nil {
			return nil
		}
	}
	msg, err := b.Finish()
	if err != nil {
		return nil
	}
	if len(msg) > r.limit && r.limit > 0 && add != nil {
		r.header.Truncated = true
		return r.build(nil)
	}
	return msg
}

func (r *reply) fail(code dnsmessage.RCode) []byte {
	r.header.RCode = code
	return r.build(nil)
}

func (r *reply) resourceHeader() dnsmessage.ResourceHeader {
	return dnsmessage.ResourceHeader{Name: r.question.Name, Class: dnsmessage.ClassINET, TTL: TTL}
}

// addresses answers with the addresses of the type that was asked for.
func (r *reply) addresses(addrs []netip.Addr) []byte {
	t := r.question.Type
	return r.build(func(b *dnsmessage.Builder) (err error) {
		for _, ip := range addrs {
			switch {
			case err != nil:
				return err
			case ip.Is4() && (t == dnsmessage.TypeA || t == dnsmessage.TypeALL):
				err = b.AResource(r.resourceHeader(), dnsmessage.AResource{A: ip.As4()})
			case ip.Is6() && (t == dnsmessage.TypeAAAA || t == dnsmessage.TypeALL):
				err = b.AAAAResource(r.resourceHeader(), dnsmessage.AAAAResource{AAAA: ip.As16()})
			}
		}
		return err
	})
}

// pointer answers with a name.
func (r *reply) pointer(name string) []byte {
	to, err := dnsmessage.NewName(name + ".")
	if err != nil {
		return r.fail(dnsmessage.RCodeServerFailure)
	}
	return r.build(func(b *dnsmessage.Builder) error {
		if t := r.question.Type; t != dnsmessage.TypePTR && t != dnsmessage.TypeALL {
			return nil
		}
		return b.PTRResource(r.resourceHeader(), dnsmessage.PTRResource{PTR: to})
	})
}
