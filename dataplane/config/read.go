// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2/unstable"

	"netcon/dataplane/wire"
)

// reader turns a tree into a Config and collects what is wrong.
type reader struct {
	file string
	host host
	cfg  Config
	errs ErrorList

	underlayLine int                     // of mtu
	networks     map[string]*networkRead // by name
	vnis         map[uint32]int          // line by VNI
	containers   map[string]int          // line by name
	published    map[string]int          // line by protocol and host address
}

// fail reports one error. Line 0 means the file as a whole.
func (r *reader) fail(line int, format string, args ...any) {
	r.errs = append(r.errs, &Error{File: r.file, Line: line, Msg: fmt.Sprintf(format, args...)})
}

// failTOML reports why there is no tree.
func (r *reader) failTOML(err error) {
	line, text := position(err)
	r.fail(line, "%s", text)
}

// table is a TOML table while its keys are read.
type table struct {
	r      *reader
	n      *node  // nil: the table is absent, every key has its default
	object string // what errors call it
	line   int    // where a missing key is reported
	known  []string
}

func (r *reader) table(n *node, object string, line int) *table {
	if n != nil {
		line = n.line
	}
	return &table{r: r, n: n, object: object, line: line}
}

// fail reports an error of this object.
func (t *table) fail(line int, format string, args ...any) {
	t.r.fail(line, "%s: %s", t.object, fmt.Sprintf(format, args...))
}

// get returns the value of key, or nil if it is absent or, which is reported,
// of another kind. accepted says what the value may be.
func (t *table) get(key string, kind unstable.Kind, accepted string) *node {
	t.known = append(t.known, key)
	if t.n == nil {
		return nil
	}
	n := t.n.keys[key]
	if n == nil {
		return nil
	}
	if n.kind != kind {
		t.fail(n.line, "%s %s: wrong type %s (%s)", key, n.show(), n.kindName(), accepted)
		return nil
	}
	return n
}

// has reports whether key is there, whatever its type.
func (t *table) has(key string) bool { return t.n != nil && t.n.keys[key] != nil }

// sub returns the table under key, which header opens; it may be absent.
func (t *table) sub(key, header string) *table {
	return t.r.table(t.get(key, unstable.Table, "a table, "+header), key, t.line)
}

// tables returns the list of tables under key.
func (t *table) tables(key string) []*node {
	t.known = append(t.known, key)
	if !t.has(key) {
		return nil
	}
	n := t.n.keys[key]
	if !n.isTables() {
		t.r.fail(n.line, "%s %s: wrong type %s (a list of tables, [[%s]])", key, n.show(), n.kindName(), key)
		return nil
	}
	return n.items
}

// done reports the keys that nobody asked for.
func (t *table) done() {
	if t.n == nil {
		return
	}
	for _, key := range t.n.order {
		if slices.Contains(t.known, key) {
			continue
		}
		hint := "known: " + strings.Join(t.known, ", ")
		if s := suggest(key, t.known); s != "" {
			hint = fmt.Sprintf("did you mean %q?", s)
		}
		t.fail(t.n.keys[key].line, "key %s: unknown (%s)", quote(key), hint)
	}
}

// flag returns the boolean under key.
func (t *table) flag(key string, otherwise bool) bool {
	if n := t.get(key, unstable.Bool, "true or false"); n != nil {
		return n.text == "true"
	}
	return otherwise
}

// integer returns the integer under key.
func (t *table) integer(key string, otherwise, low, high int64) int64 {
	n := t.get(key, unstable.Integer, fmt.Sprintf("an integer, %d to %d", low, high))
	if n == nil {
		return otherwise
	}
	if v, ok := n.integer(); ok && v >= low && v <= high {
		return v
	}
	t.fail(n.line, "%s %s: out of range (%d to %d)", key, n.show(), low, high)
	return otherwise
}

// choice returns the string under key, one of accepted. What is planned has a
// name already and is refused with a better reason.
func (t *table) choice(key, otherwise string, accepted []string, planned ...string) string {
	list := quoteOr(accepted)
	n := t.get(key, unstable.String, list)
	switch {
	case n == nil:
		return otherwise
	case slices.Contains(accepted, n.text):
		return n.text
	case slices.Contains(planned, n.text):
		t.fail(n.line, "%s %s: not supported yet (%s)", key, n.show(), list)
	default:
		t.fail(n.line, "%s %s: unknown (%s)", key, n.show(), list)
	}
	return otherwise
}

// duration returns the duration under key.
func (t *table) duration(key string, otherwise, low, high time.Duration) time.Duration {
	accepted := fmt.Sprintf("%s to %s, like %q", low, high, showDuration(otherwise))
	n := t.get(key, unstable.String, "a duration in quotes, "+accepted)
	if n == nil {
		return otherwise
	}
	d, err := time.ParseDuration(n.text)
	switch {
	case err != nil:
		t.fail(n.line, "%s %s: not a duration (%s)", key, n.show(), accepted)
	case d < low || d > high:
		t.fail(n.line, "%s %s: out of range (%s)", key, n.show(), accepted)
	default:
		return d
	}
	return otherwise
}

// size returns the number of bytes under key, an integer or a string with a
// unit.
func (t *table) size(key string, otherwise, low, high int64) int64 {
	accepted := fmt.Sprintf("%s to %s", showSize(low), showSize(high))
	if t.has(key) && t.n.keys[key].kind == unstable.Integer {
		t.known = append(t.known, key)
		n := t.n.keys[key]
		if v, ok := n.integer(); ok && v >= low && v <= high {
			return v
		}
		t.fail(n.line, "%s %s: out of range (%s)", key, n.show(), accepted)
		return otherwise
	}
	n := t.get(key, unstable.String, "a size, "+accepted)
	if n == nil {
		return otherwise
	}
	v, ok := parseSize(n.text)
	switch {
	case !ok:
		t.fail(n.line, "%s %s: not a size (%s; units B, KiB, MiB, GiB, TiB)", key, n.show(), accepted)
	case v < low || v > high:
		t.fail(n.line, "%s %s: out of range (%s)", key, n.show(), accepted)
	default:
		return v
	}
	return otherwise
}

// list returns the items of the array under key that have the kind. item is
// what errors call one of them.
func (t *table) list(key, item string, kind unstable.Kind, accepted string) []*node {
	n := t.get(key, unstable.Array, "a list of "+accepted)
	if n == nil {
		return nil
	}
	var items []*node
	for _, i := range n.items {
		if i.kind != kind {
			t.fail(i.line, "%s %s: wrong type %s (a list of %s)", item, i.show(), i.kindName(), accepted)
			continue
		}
		items = append(items, i)
	}
	return items
}

// name returns the name under key, a word that fits into the contract with
// applications (NC_NAME_MAX with its NUL). It is empty if there is no good one.
func (t *table) name(number int) string {
	const accepted = "1 to 63 letters, digits, '.', '-' or '_', the first a letter or digit"
	kind := t.object
	t.object = fmt.Sprintf("%s #%d", kind, number+1)
	if !t.has("name") {
		t.known = append(t.known, "name")
		t.fail(t.line, "name: missing (%s)", accepted)
		return ""
	}
	n := t.get("name", unstable.String, accepted)
	if n == nil {
		return ""
	}
	if !validName(n.text) {
		t.fail(n.line, "name %s: not a name (%s)", n.show(), accepted)
		return ""
	}
	t.object = fmt.Sprintf("%s %q", kind, n.text)
	return n.text
}

func validName(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		alnum := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !alnum && (i == 0 || c != '.' && c != '-' && c != '_') {
			return false
		}
	}
	return len(s) > 0 && len(s) <= 63
}

// address parses n as the address of one host; subject is what errors call it.
// The zero Addr says that it was reported.
func (t *table) address(n *node, subject string) netip.Addr {
	const accepted = "like 192.0.2.1 or 2001:db8::1"
	a, err := netip.ParseAddr(n.text)
	reason := ""
	switch {
	case err != nil:
		t.fail(n.line, "%s %s: not an IP address (%s)", subject, n.show(), accepted)
		return netip.Addr{}
	case a.Zone() != "":
		reason = "has a zone"
	case a.Is4In6():
		t.fail(n.line, "%s %s: an IPv4 address in IPv6 form (write %q)", subject, n.show(), a.Unmap())
		return netip.Addr{}
	case a.IsUnspecified():
		reason = "is the unspecified address"
	case a.IsMulticast():
		reason = "is a multicast address"
	case a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		reason = "is the broadcast address"
	default:
		return a
	}
	t.fail(n.line, "%s %s: %s (a unicast address, %s)", subject, n.show(), reason, accepted)
	return netip.Addr{}
}

// mac returns the link-layer address under key. The zero MAC says that it is
// absent or was reported.
func (t *table) mac(key string) (wire.MAC, int) {
	const accepted = "a unicast address, like \"02:00:00:00:00:01\""
	n := t.get(key, unstable.String, accepted)
	if n == nil {
		return wire.MAC{}, t.line
	}
	m, ok := parseMAC(n.text)
	switch {
	case !ok:
		t.fail(n.line, "%s %s: not a MAC address (%s)", key, n.show(), accepted)
	case m.IsGroup():
		t.fail(n.line, "%s %s: is a group address (%s)", key, n.show(), accepted)
	case m.IsZero():
		t.fail(n.line, "%s %s: is all zeros (%s)", key, n.show(), accepted)
	default:
		return m, n.line
	}
	return wire.MAC{}, n.line
}

// integer returns the value of an Integer node.
func (n *node) integer() (int64, bool) {
	v, err := strconv.ParseInt(strings.ReplaceAll(n.text, "_", ""), 0, 64)
	return v, err == nil
}

// show returns a value as errors print it.
func (n *node) show() string {
	switch n.kind {
	case unstable.String:
		return quote(n.text)
	case unstable.Array:
		return "[...]"
	case unstable.Table:
		return "{...}"
	}
	return shorten(n.text)
}

// kindName returns the kind in the words of TOML.
func (n *node) kindName() string {
	switch n.kind {
	case unstable.String:
		return "string"
	case unstable.Integer:
		return "integer"
	case unstable.Float:
		return "float"
	case unstable.Bool:
		return "boolean"
	case unstable.Array:
		return "list"
	case unstable.Table:
		return "table"
	}
	return "date or time"
}
