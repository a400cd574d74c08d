// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"encoding/binary"
	"fmt"
	"slices"
	"syscall"

	"netcon/dataplane/stream"
	"netcon/shm"

	"golang.org/x/sys/unix"
)

// setting is one option that was set: its row and value.
type setting struct {
	row   int32
	value int32
}

// opGetsockopt answers with an option's value, cut to the room there is, and
// remembers what there is no such thing of.
func (t *Set) opGetsockopt(s *sock, r *shm.Request) syscall.Errno {
	e := t.getOption(s, r)
	s.refuse(r, e)
	return e
}

func (t *Set) getOption(s *sock, r *shm.Request) syscall.Errno {
	if int32(r.Optlen) < 0 {
		return unix.EINVAL
	}
	row, ok := t.row(s, r)
	switch {
	case ok:
	case s.dgram != nil && r.Level == solUDP && s.dgram.proto == stream.UDP:
		return unix.ENOPROTOOPT
	case s.dgram != nil && s.family == stream.IPv4 && r.Level == tcp:
		return unix.EOPNOTSUPP
	case s.family == stream.IPv4 && r.Level != sol && r.Level != tcp && r.Level != ip4:
		return unix.EOPNOTSUPP // as do_ip_getsockopt
	default:
		return unix.ENOPROTOOPT
	}
	o := &optionTable[row]
	out := t.reply.Opt[:]
	n, e := 4, syscall.Errno(0)
	switch {
	case o.class == none:
		return o.errno
	case o.class != own:
		n, e = getInt(t, s, row, out)
	case o.get == nil:
		return unix.ENOPROTOOPT
	default:
		n, e = o.get(t, s, row, out)
	}
	if e != 0 {
		return e
	}
	room := int(min(r.Optlen, uint32(len(out))))
	if v := binary.NativeEndian.Uint32(out); o.level == ip4 && n == 4 && 0 < room && room < 4 && v <= 255 {
		out[0], n = byte(v), 1 // as do_ip_getsockopt: one byte where an int has no room
	}
	n = min(n, room)
	clear(out[n:])
	t.reply.Optlen = uint32(n)
	return 0
}

// maxRefused is how many refused options are remembered of a socket.
const maxRefused = 8

// opSetsockopt changes an option, and remembers what was refused.
func (t *Set) opSetsockopt(s *sock, r *shm.Request) syscall.Errno {
	e := t.setOption(s, r)
	s.refuse(r, e)
	return e
}

// refuse remembers an option that was refused because there is no such thing
// here: the first few of a socket.
func (s *sock) refuse(r *shm.Request, e syscall.Errno) {
	name, ok := refusalNames[e]
	if !ok || len(s.refused) == maxRefused {
		return
	}
	if what := optionName(r.Level, r.Option) + " " + name; !slices.Contains(s.refused, what) {
		s.refused = append(s.refused, what)
	}
}

// refusalNames are the errors that say that there is no such thing.
var refusalNames = map[syscall.Errno]string{
	unix.ENOPROTOOPT: "ENOPROTOOPT",
	unix.EOPNOTSUPP:  "EOPNOTSUPP",
	unix.EPERM:       "EPERM",
	unix.ENOENT:      "ENOENT",
	unix.ENODEV:      "ENODEV",
}

// setOption changes an option.
func (t *Set) setOption(s *sock, r *shm.Request) syscall.Errno {
	if int32(r.Optlen) < 0 {
		return unix.EINVAL
	}
	if r.Level == sol && r.Optlen < 4 && r.Option != unix.SO_BINDTODEVICE {
		return unix.EINVAL // before anything else, as sk_setsockopt
	}
	row, ok := t.row(s, r)
	if !ok {
		return unix.ENOPROTOOPT
	}
	o := &optionTable[row]
	in := r.Opt[:min(r.Optlen, uint32(len(r.Opt)))]
	switch {
	case o.class == none:
		return o.errno
	case o.class == own && o.set == nil:
		return unix.ENOPROTOOPT
	case o.class == own:
		return o.set(t, s, row, in)
	}
	v, e := intValue(o, in)
	switch {
	case e != 0:
		return e
	case o.boolean && v != 0:
		v = 1
	case !o.boolean && (v < o.min || v > o.max):
		return unix.EINVAL
	}
	if o.fix != nil {
		v = o.fix(v)
	}
	return t.put(s, row, v)
}

// row finds the option of a request. IPPROTO_IPV6 is no level of an AF_INET
// socket.
func (t *Set) row(s *sock, r *shm.Request) (int, bool) {
	if r.Level == ip6 && afOf(s.family) != unix.AF_INET6 {
		return 0, false
	}
	name := [2]int32{r.Level, r.Option}
	if s.dgram != nil {
		if row, ok := datagramIndex[name]; ok {
			return row, ok
		}
		if r.Level == tcp {
			return 0, false
		}
	}
	row, ok := optionIndex[name]
	return row, ok
}

// intValue reads an int; options of IP may be one byte.
func intValue(o *option, in []byte) (int32, syscall.Errno) {
	switch {
	case len(in) >= 4:
		return int32(binary.NativeEndian.Uint32(in)), 0
	case o.level == ip4 && len(in) > 0:
		return int32(in[0]), 0
	}
	return 0, unix.EINVAL
}

// put stores an option and tells the engine where it is the engine's. An engine
// that does not have it is no reason to fail: the option is a hint then.
func (t *Set) put(s *sock, row int, v int32) syscall.Errno {
	o := &optionTable[row]
	if (o.class == engine || o.toEngine) && s.handle != 0 {
		if e := t.of(s).SetOption(s.handle, o.engine, int(v)); e != 0 && e != unix.ENOPROTOOPT {
			return e
		}
	}
	opts := make([]setting, 0, len(s.opts)+1)
	for _, x := range s.opts {
		if int(x.row) != row {
			opts = append(opts, x)
		}
	}
	s.opts = append(opts, setting{row: int32(row), value: v})
	return 0
}

// value returns what was set, else what the engine says, else the default.
func (t *Set) value(s *sock, row int) int32 {
	for _, x := range s.opts {
		if int(x.row) == row {
			return x.value
		}
	}
	o := &optionTable[row]
	if (o.class == engine || o.toEngine) && s.handle != 0 {
		if v, e := t.of(s).Option(s.handle, o.engine); e == 0 {
			return int32(v)
		}
	}
	return o.def
}

// isSet reports whether an option was set by a request.
func (s *sock) isSet(row int) bool {
	for _, x := range s.opts {
		if int(x.row) == row {
			return true
		}
	}
	return false
}

// replayOptions sets on a fresh handle what was set on the old one.
func (t *Set) replayOptions(s *sock) {
	for _, x := range s.opts {
		if o := &optionTable[x.row]; o.class == engine || o.toEngine {
			_ = t.of(s).SetOption(s.handle, o.engine, int(x.value))
		}
	}
}

func (t *Set) v6Only(s *sock) bool { return t.value(s, rowV6Only) != 0 }

// refusedNames are the options that programs try and do without.
var refusedNames = map[[2]int32]string{
	{sol, unix.SO_ZEROCOPY}:              "SO_ZEROCOPY",
	{sol, unix.SO_BINDTODEVICE}:          "SO_BINDTODEVICE",
	{sol, unix.SO_ATTACH_FILTER}:         "SO_ATTACH_FILTER",
	{sol, unix.SO_ATTACH_BPF}:            "SO_ATTACH_BPF",
	{sol, unix.SO_ATTACH_REUSEPORT_CBPF}: "SO_ATTACH_REUSEPORT_CBPF",
	{sol, unix.SO_ATTACH_REUSEPORT_EBPF}: "SO_ATTACH_REUSEPORT_EBPF",
	{sol, unix.SO_TXTIME}:                "SO_TXTIME",
	{tcp, unix.TCP_ULP}:                  "TCP_ULP",
	{tcp, unix.TCP_CONGESTION}:           "TCP_CONGESTION",
	{tcp, unix.TCP_FASTOPEN_CONNECT}:     "TCP_FASTOPEN_CONNECT",
	{tcp, unix.TCP_REPAIR}:               "TCP_REPAIR",
	{tcp, unix.TCP_MD5SIG}:               "TCP_MD5SIG",
	{tcp, unix.TCP_ZEROCOPY_RECEIVE}:     "TCP_ZEROCOPY_RECEIVE",
	{tcp, unix.TCP_SAVE_SYN}:             "TCP_SAVE_SYN",
	{tcp, unix.TCP_TX_DELAY}:             "TCP_TX_DELAY",
	{ip6, unix.IPV6_V6ONLY}:              "IPV6_V6ONLY",
	{ip4, soOriginalDst}:                 "SO_ORIGINAL_DST",
	{ip6, soOriginalDst}:                 "SO_ORIGINAL_DST",
}

func optionName(level, name int32) string {
	if s, ok := refusedNames[[2]int32{level, name}]; ok {
		return s
	}
	return fmt.Sprintf("option %d of level %d", name, level)
}
