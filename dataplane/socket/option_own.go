// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"bytes"
	"encoding/binary"
	"syscall"

	"netcon/dataplane/stream"

	"golang.org/x/sys/unix"
)

// The options that are more than an int: see optionTable.

func putInt(out []byte, v int32) (int, syscall.Errno) {
	binary.NativeEndian.PutUint32(out, uint32(v))
	return 4, 0
}

func getInt(t *Set, s *sock, row int, out []byte) (int, syscall.Errno) {
	return putInt(out, t.value(s, row))
}

func getEmpty(*Set, *sock, int, []byte) (int, syscall.Errno) { return 0, 0 }

func getZero(_ *Set, _ *sock, _ int, out []byte) (int, syscall.Errno) { return putInt(out, 0) }

func getOne(_ *Set, _ *sock, _ int, out []byte) (int, syscall.Errno) { return putInt(out, 1) }

func getNoData(*Set, *sock, int, []byte) (int, syscall.Errno) { return 0, unix.ENODATA }

func setInvalid(*Set, *sock, int, []byte) syscall.Errno { return unix.EINVAL }

// setFlag checks and ignores a flag.
func setFlag(_ *Set, _ *sock, row int, in []byte) syscall.Errno {
	if v, e := intValue(&optionTable[row], in); e != 0 || v < 0 || v > 1 {
		return unix.EINVAL
	}
	return 0
}

// setULP has no upper layer protocol to offer: TLS libraries go on without.
func setULP(_ *Set, _ *sock, _ int, in []byte) syscall.Errno {
	if len(in) == 0 {
		return unix.EINVAL
	}
	return unix.ENOENT
}

func setAccepted(*Set, *sock, int, []byte) syscall.Errno { return 0 }

func setNoEntry(*Set, *sock, int, []byte) syscall.Errno { return unix.ENOENT }

// setNotSupported refuses what callers probe for and do without.
func setNotSupported(_ *Set, _ *sock, row int, in []byte) syscall.Errno {
	switch v, e := intValue(&optionTable[row], in); {
	case e != 0:
		return e
	case v == 0:
		return 0
	}
	return unix.EOPNOTSUPP
}

// getError reads and clears, as sock_error.
func getError(_ *Set, s *sock, _ int, out []byte) (int, syscall.Errno) {
	e := s.errno
	s.errno = 0
	return putInt(out, int32(e))
}

func getType(_ *Set, s *sock, _ int, out []byte) (int, syscall.Errno) {
	switch {
	case s.dgram == nil:
	case s.dgram.proto == stream.Raw:
		return putInt(out, unix.SOCK_RAW)
	default:
		return putInt(out, unix.SOCK_DGRAM)
	}
	return putInt(out, unix.SOCK_STREAM)
}

func getDomain(_ *Set, s *sock, _ int, out []byte) (int, syscall.Errno) {
	return putInt(out, int32(afOf(s.family)))
}

func getProtocol(_ *Set, s *sock, _ int, out []byte) (int, syscall.Errno) {
	switch {
	case s.dgram == nil:
	case s.dgram.proto == stream.UDP:
		return putInt(out, unix.IPPROTO_UDP)
	case s.family == stream.IPv6:
		return putInt(out, unix.IPPROTO_ICMPV6)
	default:
		return putInt(out, unix.IPPROTO_ICMP)
	}
	return putInt(out, unix.IPPROTO_TCP)
}

func getAcceptConn(_ *Set, s *sock, _ int, out []byte) (int, syscall.Errno) {
	if s.state == stListening {
		return putInt(out, 1)
	}
	return putInt(out, 0)
}

func getCookie(_ *Set, s *sock, _ int, out []byte) (int, syscall.Errno) {
	binary.NativeEndian.PutUint64(out, s.cookie)
	return 8, 0
}

// getPeerCred says what a TCP socket says: nobody. The pair's own answer would
// be who made it.
func getPeerCred(_ *Set, _ *sock, _ int, out []byte) (int, syscall.Errno) {
	binary.NativeEndian.PutUint32(out, 0)
	binary.NativeEndian.PutUint32(out[4:], 1<<32-1)
	binary.NativeEndian.PutUint32(out[8:], 1<<32-1)
	return unix.SizeofUcred, 0
}

// getMemInfo is SK_MEMINFO_VARS words, of which we know four.
func getMemInfo(t *Set, s *sock, _ int, out []byte) (int, syscall.Errno) {
	words := [9]uint32{
		unix.SK_MEMINFO_RMEM_ALLOC:  uint32(s.pair.Rx.Len()),
		unix.SK_MEMINFO_RCVBUF:      uint32(2 * t.value(s, rowRecvBuffer)),
		unix.SK_MEMINFO_WMEM_QUEUED: uint32(s.pair.Tx.Len()),
		unix.SK_MEMINFO_SNDBUF:      uint32(2 * t.value(s, rowSendBuffer)),
	}
	for i, w := range words {
		binary.NativeEndian.PutUint32(out[4*i:], w)
	}
	return 4 * len(words), 0
}

func getLinger(t *Set, s *sock, row int, out []byte) (int, syscall.Errno) {
	v := t.value(s, row)
	on := int32(0)
	if v >= 0 {
		on = 1
	}
	_, _ = putInt(out, on)
	_, _ = putInt(out[4:], max(0, v))
	return unix.SizeofLinger, 0
}

func setLinger(t *Set, s *sock, row int, in []byte) syscall.Errno {
	if len(in) < unix.SizeofLinger {
		return unix.EINVAL
	}
	v := int32(-1)
	if binary.NativeEndian.Uint32(in) != 0 {
		v = int32(min(binary.NativeEndian.Uint32(in[4:]), hi/100))
	}
	return t.put(s, row, v)
}

// maxBuffer is the largest buffer size that is believed, net.core.wmem_max of a
// stock kernel.
const maxBuffer = 212992

// getBuffer returns the doubled value, as the kernel does.
func getBuffer(t *Set, s *sock, row int, out []byte) (int, syscall.Errno) {
	v := optionTable[row].def
	if s.isSet(row) {
		v = t.value(s, row)
	}
	return putInt(out, 2*v)
}

func setBuffer(t *Set, s *sock, row int, in []byte) syscall.Errno {
	o := &optionTable[row]
	v, e := intValue(o, in)
	if e != 0 {
		return e
	}
	// Compared as unsigned: a negative size is the maximum.
	n := int32(min(uint32(v), maxBuffer))
	return t.put(s, row, max(n, o.min))
}

func forceSendBuffer(t *Set, s *sock, _ int, in []byte) syscall.Errno {
	return setBuffer(t, s, rowSendBuffer, in)
}

func forceRecvBuffer(t *Set, s *sock, _ int, in []byte) syscall.Errno {
	return setBuffer(t, s, rowRecvBuffer, in)
}

func getPacing(t *Set, s *sock, row int, out []byte) (int, syscall.Errno) {
	v := uint64(1<<64 - 1)
	if x := t.value(s, row); x >= 0 {
		v = uint64(x)
	}
	binary.NativeEndian.PutUint64(out, v)
	return 8, 0
}

func setPacing(t *Set, s *sock, row int, in []byte) syscall.Errno {
	switch {
	case len(in) >= 8 && binary.NativeEndian.Uint64(in) <= hi:
		return t.put(s, row, int32(binary.NativeEndian.Uint64(in)))
	case len(in) >= 8:
		return t.put(s, row, -1)
	case len(in) >= 4:
		return t.put(s, row, int32(binary.NativeEndian.Uint32(in)))
	}
	return unix.EINVAL
}

// Bounds of TCP_MAXSEG, include/net/tcp.h.
const (
	minMSS = 88
	maxMSS = 32767
)

// getMaxSeg is the connection's segment size, before that what was set, else
// the default of RFC 9293 section 3.7.1.
func getMaxSeg(t *Set, s *sock, row int, out []byte) (int, syscall.Errno) {
	v := int32(536)
	if x := t.value(s, row); s.isSet(row) && x != 0 {
		v = x
	}
	if s.state == stConnected && s.handle != 0 {
		var i stream.Info
		t.of(s).Info(s.handle, &i)
		if i.SendMSS != 0 {
			v = int32(i.SendMSS)
		}
	}
	return putInt(out, v)
}

func setMaxSeg(t *Set, s *sock, row int, in []byte) syscall.Errno {
	v, e := intValue(&optionTable[row], in)
	if e != 0 {
		return e
	}
	if v != 0 && (v < minMSS || v > maxMSS) {
		return unix.EINVAL
	}
	return t.put(s, row, v)
}

// Congestion controls that may be named. The value stored is the index.
var congestions = [...]string{"cubic", "reno"}

func getCongestion(t *Set, s *sock, row int, out []byte) (int, syscall.Errno) {
	const nameMax = 16 // TCP_CA_NAME_MAX
	clear(out[:nameMax])
	copy(out, congestions[t.value(s, row)])
	return nameMax, 0
}

func setCongestion(t *Set, s *sock, row int, in []byte) syscall.Errno {
	if len(in) == 0 {
		return unix.EINVAL
	}
	name, _, _ := bytes.Cut(in, []byte{0})
	for i, c := range congestions {
		if c == string(name) {
			return t.put(s, row, int32(i))
		}
	}
	return unix.ENOENT
}

// setIPOptions takes the empty option list only, or one that ends at once.
func setIPOptions(_ *Set, _ *sock, _ int, in []byte) syscall.Errno {
	for _, b := range in {
		if b != 0 {
			return unix.EINVAL
		}
	}
	return 0
}

// deviceName is the container's only device besides its loopback.
const deviceName = "eth0"

// getDevice and setDevice: a container has one device to be bound to.
func getDevice(t *Set, s *sock, row int, out []byte) (int, syscall.Errno) {
	if t.value(s, row) == 0 {
		return 0, 0
	}
	return copy(out, deviceName+"\x00"), 0
}

func setDevice(t *Set, s *sock, row int, in []byte) syscall.Errno {
	switch name, _, _ := bytes.Cut(in, []byte{0}); string(name) {
	case "":
		return t.put(s, row, 0)
	case deviceName:
		return t.put(s, row, 1)
	}
	return unix.ENODEV
}

// getHops returns the TTL or hop limit; -1 stands for the default.
func getHops(t *Set, s *sock, row int, out []byte) (int, syscall.Errno) {
	v := t.value(s, row)
	if o := &optionTable[row]; v < 0 || v == 0 && (o.level == ip4 || !s.isSet(row)) {
		v = o.def
	}
	return putInt(out, v)
}

func setHops(t *Set, s *sock, row int, in []byte) syscall.Errno {
	o := &optionTable[row]
	v, e := intValue(o, in)
	switch {
	case e != 0:
		return e
	case v == -1:
		v = o.def
	case v < 0 || v > 255 || v == 0 && o.level == ip4:
		return unix.EINVAL
	}
	return t.put(s, row, v)
}

func getMTU(t *Set, s *sock, _ int, out []byte) (int, syscall.Errno) {
	if s.state != stConnected || s.handle == 0 {
		return 0, unix.ENOTCONN
	}
	var i stream.Info
	t.of(s).Info(s.handle, &i)
	return putInt(out, int32(i.MTU))
}

// setMTU checks and ignores a fragment size: nothing is fragmented.
func setMTU(_ *Set, _ *sock, row int, in []byte) syscall.Errno {
	const minMTU = 1280 // RFC 8200 section 5
	if v, e := intValue(&optionTable[row], in); e != 0 || v != 0 && v < minMTU {
		return unix.EINVAL
	}
	return 0
}

// setV6Only may not change a bound socket.
func setV6Only(t *Set, s *sock, row int, in []byte) syscall.Errno {
	v, e := intValue(&optionTable[row], in)
	switch {
	case e != 0:
		return e
	case s.state == stDatagram && t.localOf(s).Port() != 0:
		return unix.EINVAL
	case s.state != stDatagram && (s.state != stOpen || s.has(fBound)):
		return unix.EINVAL
	case v != 0:
		v = 1
	}
	return t.put(s, row, v)
}

// fixTOS keeps the DSCP: a stream socket may not set the ECN bits.
func fixTOS(v int32) int32 { return v & 0xfc }

// fixTrafficClass is the same; -1 is the default.
func fixTrafficClass(v int32) int32 { return max(0, v) & 0xfc }

func fixLowat(v int32) int32 {
	switch {
	case v < 0:
		return hi
	case v == 0:
		return 1
	}
	return v
}

// fixLinger2 bounds the seconds in FIN-WAIT-2 to TCP_FIN_TIMEOUT_MAX.
// Zero is the default.
func fixLinger2(v int32) int32 {
	if v == 0 {
		return 60
	}
	return max(-1, min(v, 120))
}

// fixDeferAccept rounds seconds up to what whole retransmissions take, as
// secs_to_retrans and back.
func fixDeferAccept(v int32) int32 {
	if v <= 0 {
		return 0
	}
	total, timeout := int32(1), int32(1)
	for n := 1; v > total && n < 255; n++ {
		timeout = min(2*timeout, 120)
		total += timeout
	}
	return total
}
