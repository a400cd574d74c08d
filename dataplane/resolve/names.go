// SPDX-License-Identifier: Apache-2.0

package resolve

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Member is one container.
type Member struct {
	Name  string
	Addrs []netip.Addr
}

// Network is who is on a network.
type Network struct {
	Name    string
	Subnets []netip.Prefix
	Members []Member
}

// Names is what is known of all networks. It does not change.
type Names struct {
	networks map[string]*zone
}

// zone is what containers of one network are told.
type zone struct {
	name    string // in small letters
	subnets []netip.Prefix
	addrs   map[string][]netip.Addr // by the container's name in small letters
	all     []netip.Addr
	names   map[netip.Addr]string // as it is written
}

// NewNames makes names of networks.
func NewNames(networks []Network) *Names {
	n := &Names{networks: map[string]*zone{}}
	for _, w := range networks {
		z := &zone{
			name: strings.ToLower(w.Name), subnets: w.Subnets,
			addrs: map[string][]netip.Addr{}, names: map[netip.Addr]string{},
		}
		for _, m := range w.Members {
			z.addrs[strings.ToLower(m.Name)] = m.Addrs
			z.all = append(z.all, m.Addrs...)
			for _, a := range m.Addrs {
				z.names[a] = m.Name + "." + w.Name
			}
		}
		n.networks[w.Name] = z
	}
	return n
}

// addresses returns what a name means on the network; ours says that nobody else
// is to be asked.
func (z *zone) addresses(name string) (addrs []netip.Addr, ours bool) {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if a, ok := z.addrs[name]; ok {
		return a, true
	}
	if name == z.name {
		return z.all, true
	}
	if host, ok := strings.CutSuffix(name, "."+z.name); ok {
		return z.addrs[host], true
	}
	return nil, false
}

// exists reports whether a name that is ours is one at all.
func (z *zone) exists(name string) bool {
	addrs, _ := z.addresses(name)
	return len(addrs) > 0 || strings.EqualFold(strings.TrimSuffix(name, "."), z.name)
}

// pointer returns the name of an address, "" if it has none; ours says that
// nobody else is to be asked.
func (z *zone) pointer(ip netip.Addr) (name string, ours bool) {
	ours = slices.ContainsFunc(z.subnets, func(p netip.Prefix) bool { return p.Contains(ip) })
	return z.names[ip], ours
}

// reverseName returns the name under which an address has its PTR record.
func reverseName(ip netip.Addr) string {
	const hex = "0123456789abcdef"
	var b strings.Builder
	raw := ip.AsSlice()
	slices.Reverse(raw)
	if ip.Is4() {
		for _, v := range raw {
			b.WriteString(strconv.Itoa(int(v)))
			b.WriteByte('.')
		}
		return b.String() + "in-addr.arpa."
	}
	for _, v := range raw {
		b.Write([]byte{hex[v&15], '.', hex[v>>4], '.'})
	}
	return b.String() + "ip6.arpa."
}

// reverseAddr is the opposite of reverseName.
func reverseAddr(name string) (netip.Addr, bool) {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if digits, ok := strings.CutSuffix(name, ".in-addr.arpa"); ok {
		labels := strings.Split(digits, ".")
		slices.Reverse(labels)
		ip, err := netip.ParseAddr(strings.Join(labels, "."))
		return ip, err == nil && ip.Is4()
	}
	digits, ok := strings.CutSuffix(name, ".ip6.arpa")
	if !ok || len(digits) != 63 {
		return netip.Addr{}, false
	}
	var raw [16]byte
	for i := range 32 {
		v := strings.IndexByte("0123456789abcdef", digits[2*i])
		if v < 0 || i > 0 && digits[2*i-1] != '.' {
			return netip.Addr{}, false
		}
		raw[15-i/2] |= byte(v) << (4 * (i % 2))
	}
	return netip.AddrFrom16(raw), true
}
