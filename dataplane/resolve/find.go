// SPDX-License-Identifier: Apache-2.0

package resolve

import (
	"context"
	"net/netip"
	"strings"
	"sync"

	"golang.org/x/net/dns/dnsmessage"
)

// Outcome is what became of a search.
type Outcome uint8

// The outcomes.
const (
	Found    Outcome = iota
	NoName           // there is no such name
	NoData           // it has nothing of that kind
	TryAgain         // nobody who would know answered, or may be asked
)

// Addresses finds the addresses of a name as getaddrinfo looks for them, of one
// kind or, where both are wanted, of both.
func (r *Resolver) Addresses(ctx context.Context, a Asker, name string, v4, v6 bool) ([]netip.Addr, Outcome) {
	last := NoName
	for _, n := range r.candidates(a, name) {
		addrs, out := r.addressesOf(ctx, a, n, v4, v6)
		if out == Found {
			return addrs, Found
		}
		if last == NoName || out == TryAgain {
			last = out
		}
	}
	return nil, last
}

// candidates are the names to look for, in order: below the search list first if
// it has no dot, and never where it is ours or ends in one.
func (r *Resolver) candidates(a Asker, name string) []string {
	f := r.forward.Load()
	if _, ours := r.zone(a).addresses(name); ours || f == nil || strings.HasSuffix(name, ".") || len(r.targets(a)) == 0 {
		return []string{name}
	}
	var list []string
	for _, domain := range f.Search {
		if domain != "." {
			list = append(list, name+"."+domain)
		}
	}
	if strings.Contains(name, ".") {
		return append([]string{name}, list...)
	}
	return append(list, name)
}

func (r *Resolver) addressesOf(ctx context.Context, a Asker, name string, v4, v6 bool) ([]netip.Addr, Outcome) {
	var of4, of6 []netip.Addr
	out4, out6 := NoData, NoData
	var wait sync.WaitGroup
	if v4 {
		wait.Go(func() { of4, _, out4 = r.ask(ctx, a, name, dnsmessage.TypeA) })
	}
	if v6 {
		wait.Go(func() { of6, _, out6 = r.ask(ctx, a, name, dnsmessage.TypeAAAA) })
	}
	wait.Wait()
	switch all := append(of4, of6...); {
	case len(all) > 0:
		return all, Found
	case out4 == TryAgain || out6 == TryAgain:
		return nil, TryAgain
	case out4 == NoName || out6 == NoName:
		return nil, NoName
	}
	return nil, NoData
}

// Name finds the name of an address.
func (r *Resolver) Name(ctx context.Context, a Asker, ip netip.Addr) (string, Outcome) {
	_, name, out := r.ask(ctx, a, reverseName(ip.Unmap()), dnsmessage.TypePTR)
	return strings.TrimSuffix(name, "."), out
}

// ask makes a query of its own and reads the answer.
func (r *Resolver) ask(ctx context.Context, a Asker, name string, t dnsmessage.Type) ([]netip.Addr, string, Outcome) {
	if !strings.HasSuffix(name, ".") {
		name += "."
	}
	n, err := dnsmessage.NewName(name)
	if err != nil {
		return nil, "", NoName
	}
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: n, Type: t, Class: dnsmessage.ClassINET}},
	}
	query, err := m.Pack()
	if err != nil {
		return nil, "", NoName // a label too long, or empty
	}
	return read(r.Answer(ctx, a, query, false), t)
}

// read takes the records of a type out of an answer.
func read(msg []byte, t dnsmessage.Type) (addrs []netip.Addr, name string, out Outcome) {
	var p dnsmessage.Parser
	h, err := p.Start(msg)
	if err != nil || p.SkipAllQuestions() != nil {
		return nil, "", TryAgain
	}
	switch h.RCode {
	case dnsmessage.RCodeSuccess:
	case dnsmessage.RCodeNameError:
		return nil, "", NoName
	default:
		return nil, "", TryAgain
	}
	for {
		rh, err := p.AnswerHeader()
		if err == dnsmessage.ErrSectionDone {
			break
		}
		if err != nil {
			return nil, "", TryAgain
		}
		switch {
		case rh.Type != t:
			err = p.SkipAnswer()
		case t == dnsmessage.TypeA:
			var x dnsmessage.AResource
			if x, err = p.AResource(); err == nil {
				addrs = append(addrs, netip.AddrFrom4(x.A))
			}
		case t == dnsmessage.TypeAAAA:
			var x dnsmessage.AAAAResource
			if x, err = p.AAAAResource(); err == nil {
				addrs = append(addrs, netip.AddrFrom16(x.AAAA))
			}
		case t == dnsmessage.TypePTR:
			var x dnsmessage.PTRResource
			if x, err = p.PTRResource(); err == nil && name == "" {
				name = x.PTR.String()
			}
		default:
			err = p.SkipAnswer()
		}
		if err != nil {
			return nil, "", TryAgain
		}
	}
	if len(addrs) == 0 && name == "" {
		return nil, "", NoData
	}
	return addrs, name, Found
}
