// SPDX-License-Identifier: Apache-2.0

package packetdrill

import (
	"math"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"netcon/dataplane/stream"
)

type optionName struct{ level, name int64 }

// machineOptions are socket options that the machine implements, with integer
// values that need no translation.
var machineOptions = map[optionName]stream.Option{
	{unix.SOL_SOCKET, unix.SO_REUSEADDR}: stream.OptReuseAddr,
	{unix.SOL_SOCKET, unix.SO_REUSEPORT}: stream.OptReusePort,
	{unix.SOL_SOCKET, unix.SO_KEEPALIVE}: stream.OptKeepAlive,

	{unix.SOL_TCP, unix.TCP_KEEPIDLE}:      stream.OptKeepIdle,
	{unix.SOL_TCP, unix.TCP_KEEPINTVL}:     stream.OptKeepInterval,
	{unix.SOL_TCP, unix.TCP_KEEPCNT}:       stream.OptKeepCount,
	{unix.SOL_TCP, unix.TCP_NODELAY}:       stream.OptNoDelay,
	{unix.SOL_TCP, unix.TCP_CORK}:          stream.OptCork,
	{unix.SOL_TCP, unix.TCP_QUICKACK}:      stream.OptQuickAck,
	{unix.SOL_TCP, unix.TCP_MAXSEG}:        stream.OptMaxSeg,
	{unix.SOL_TCP, unix.TCP_USER_TIMEOUT}:  stream.OptUserTimeout,
	{unix.SOL_TCP, unix.TCP_SYNCNT}:        stream.OptSynCount,
	{unix.SOL_TCP, unix.TCP_DEFER_ACCEPT}:  stream.OptDeferAccept,
	{unix.SOL_TCP, unix.TCP_LINGER2}:       stream.OptLinger2,
	{unix.SOL_TCP, unix.TCP_NOTSENT_LOWAT}: stream.OptNotSentLowat,

	{unix.SOL_IP, unix.IP_TOS}:              stream.OptTOS,
	{unix.SOL_IP, unix.IP_TTL}:              stream.OptTTL,
	{unix.SOL_IPV6, unix.IPV6_V6ONLY}:       stream.OptV6Only,
	{unix.SOL_IPV6, unix.IPV6_TCLASS}:       stream.OptTOS,
	{unix.SOL_IPV6, unix.IPV6_UNICAST_HOPS}: stream.OptTTL,
}

// optionArgs reads the socket, level and name of an option.
func (r *runner) optionArgs(c *Call) (s *sock, o optionName, e syscall.Errno, err error) {
	if err = r.args(c, 5, 5); err != nil {
		return
	}
	if s, e, err = r.sockArg(c); err != nil || s == nil {
		return
	}
	if o.level, err = r.eval(c.Args[1]); err != nil {
		return
	}
	o.name, err = r.eval(c.Args[2])
	return
}

func (r *runner) noOption(c *Call) error {
	return r.unsupported("socket option %s, %s is not supported", c.Args[1].Text, c.Args[2].Text)
}

func (r *runner) sysSetOption(c *Call) (try, time.Duration, error) {
	s, o, e, err := r.optionArgs(c)
	if err != nil || s == nil {
		return now(failed(e)), forever, err
	}
	if o == (optionName{unix.SOL_SOCKET, unix.SO_LINGER}) || o.level == unix.SOL_SOCKET && (o.name == unix.SO_SNDTIMEO || o.name == unix.SO_RCVTIMEO) {
		return r.setStruct(c, s, o)
	}
	if o == (optionName{unix.SOL_TCP, unix.TCP_CONGESTION}) {
		e, err := r.setCongestion(c)
		return now(status(e)), forever, err
	}
	n, err := r.eval(c.Args[3])
	if err != nil {
		return nil, 0, err
	}
	v := int(int32(n)) // 0xffffffff is -1
	if opt, ok := machineOptions[o]; ok {
		e := r.m.SetOption(s.h, opt, v)
		if e == 0 {
			switch opt {
			case stream.OptCork:
				if s.cork = v != 0; !s.cork {
					s.more = false
				}
			case stream.OptNotSentLowat:
				s.notSentLowat = v
			}
		}
		return now(status(e)), forever, nil
	}
	switch o {
	case optionName{unix.SOL_SOCKET, unix.SO_SNDBUF}, optionName{unix.SOL_SOCKET, unix.SO_SNDBUFFORCE}:
		// Linux doubles what is asked for, for its own bookkeeping.
		s.sndbuf = min(max(2*v, 4608), stream.MaxRing/2)
		r.resize(&s.pair.Tx, s.sndbuf)
		e = r.m.SetOption(s.h, stream.OptSendBuffer, v)
	case optionName{unix.SOL_SOCKET, unix.SO_RCVBUF}, optionName{unix.SOL_SOCKET, unix.SO_RCVBUFFORCE}:
		s.rcvbuf = min(max(v, 1152), stream.MaxRing/2)
		r.resize(&s.pair.Rx, s.rcvbuf)
		e = r.m.SetOption(s.h, stream.OptRecvBuffer, v)
	case optionName{unix.SOL_SOCKET, unix.SO_RCVLOWAT}:
		s.rcvLowat = max(v, 1)
	case optionName{unix.SOL_TCP, unix.TCP_INQ}:
		s.inq = v != 0
	case optionName{unix.SOL_IP, unix.IP_MTU_DISCOVER}:
		// The knob is the whole machine's, which has one connection under test.
		off := strconv.FormatInt(b2i(v == unix.IP_PMTUDISC_DONT), 10)
		if known, err := r.host.Sysctl("net.ipv4.ip_no_pmtu_disc", off); err != nil || !known {
			return nil, 0, r.noOption(c)
		}
	default:
		return nil, 0, r.noOption(c)
	}
	return now(status(e)), forever, nil
}

// resize gives an empty ring memory of another size.
func (r *runner) resize(ring *stream.Ring, n int) {
	if ring.Attached() && ring.Cap() != ringSize(n) && ring.Detach() != nil {
		ring.Attach(make([]byte, ringSize(n)))
	}
}

// numbers reads {onoff=1, linger=5}, [{1, 5}] and {tv_sec=1, tv_usec=0}.
func (r *runner) numbers(e Expr) (list []int64, err error) {
	if e.Kind == exprList && len(e.List) == 1 {
		e = e.List[0]
	}
	items := e.List
	for _, f := range e.Fld {
		items = append(items, f.Value)
	}
	for _, i := range items {
		v, err := r.eval(i)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	if len(list) != 2 {
		return nil, r.unsupported("want a structure of two numbers")
	}
	return list, nil
}

func (r *runner) setStruct(c *Call, s *sock, o optionName) (try, time.Duration, error) {
	v, err := r.numbers(c.Args[3])
	if err != nil {
		return nil, 0, err
	}
	if o.name == unix.SO_LINGER {
		s.linger = -1
		if v[0] != 0 {
			s.linger = int(min(max(v[1], 0), math.MaxInt32))
		}
		return now(status(r.m.SetOption(s.h, stream.OptLinger, s.linger))), forever, nil
	}
	d := time.Duration(v[0])*time.Second + time.Duration(v[1])*time.Microsecond
	if o.name == unix.SO_SNDTIMEO {
		s.sndTimeo = d
	} else {
		s.rcvTimeo = d
	}
	return now(result{}), forever, nil
}

// setCongestion sets the algorithm by the knob for the whole machine: it has one
// connection under test.
func (r *runner) setCongestion(c *Call) (syscall.Errno, error) {
	if c.Args[3].Kind != exprString {
		return 0, r.unsupported("want the name of an algorithm")
	}
	known, err := r.host.Sysctl("net.ipv4.tcp_congestion_control", c.Args[3].Text)
	if err != nil {
		return 0, r.unsupported("%v", err)
	}
	if !known {
		return syscall.ENOENT, nil
	}
	return 0, nil
}

func (r *runner) sysGetOption(c *Call) (try, time.Duration, error) {
	s, o, e, err := r.optionArgs(c)
	if err != nil || s == nil {
		return now(failed(e)), forever, err
	}
	var got []int64
	if opt, ok := machineOptions[o]; ok {
		v, e := r.m.Option(s.h, opt)
		if e != 0 {
			return now(failed(e)), forever, nil
		}
		got = []int64{int64(v)}
	} else if got, ok = r.ownOption(s, o); !ok {
		return nil, 0, r.noOption(c)
	}
	return now(result{check: func() error { return r.checkOption(c, got) }}), forever, nil
}

// ownOption reads an option that is the socket layer's.
func (r *runner) ownOption(s *sock, o optionName) ([]int64, bool) {
	switch o {
	case optionName{unix.SOL_SOCKET, unix.SO_ERROR}:
		return []int64{int64(s.takeError())}, true
	case optionName{unix.SOL_SOCKET, unix.SO_SNDBUF}:
		return []int64{int64(s.sndbuf)}, true
	case optionName{unix.SOL_SOCKET, unix.SO_RCVBUF}:
		return []int64{int64(2 * s.rcvbuf)}, true
	case optionName{unix.SOL_SOCKET, unix.SO_RCVLOWAT}:
		return []int64{int64(s.rcvLowat)}, true
	case optionName{unix.SOL_SOCKET, unix.SO_TYPE}:
		return []int64{unix.SOCK_STREAM}, true
	case optionName{unix.SOL_SOCKET, unix.SO_PROTOCOL}:
		return []int64{unix.IPPROTO_TCP}, true
	case optionName{unix.SOL_SOCKET, unix.SO_ACCEPTCONN}:
		return []int64{b2i(s.state == sockListening)}, true
	case optionName{unix.SOL_SOCKET, unix.SO_LINGER}:
		if s.linger < 0 {
			return []int64{0, 0}, true
		}
		return []int64{1, int64(s.linger)}, true
	case optionName{unix.SOL_TCP, unix.TCP_INQ}:
		return []int64{b2i(s.inq)}, true
	case optionName{unix.SOL_IP, unix.IP_MTU}:
		var info stream.Info
		r.m.Info(s.h, &info)
		return []int64{int64(info.MTU)}, true
	}
	return nil, false
}

func b2i(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

func (r *runner) checkOption(c *Call, got []int64) error {
	if c.Args[3].Kind == exprEllipsis {
		return nil
	}
	var want []int64
	if len(got) == 1 {
		v, err := r.eval(c.Args[3])
		if err != nil {
			return err
		}
		want = []int64{v}
	} else {
		var err error
		if want, err = r.numbers(c.Args[3]); err != nil {
			return err
		}
	}
	for i, v := range want {
		if int32(v) != int32(got[i]) {
			return r.fail("getsockopt %s: expected %d, got %d", c.Args[2].Text, v, got[i])
		}
	}
	return nil
}

func (r *runner) sysFcntl(c *Call) (try, time.Duration, error) {
	s, e, err := r.sockArg(c)
	if err == nil {
		err = r.args(c, 2, 3)
	}
	if err != nil || s == nil {
		return now(failed(e)), forever, err
	}
	cmd, err := r.eval(c.Args[1])
	if err != nil {
		return nil, 0, err
	}
	switch {
	case cmd == unix.F_GETFL:
		return now(result{n: unix.O_RDWR | b2i(s.nonblock)*unix.O_NONBLOCK}), forever, nil
	case cmd == unix.F_SETFL && len(c.Args) == 3:
		v, err := r.eval(c.Args[2])
		if err != nil {
			return nil, 0, err
		}
		s.nonblock = v&unix.O_NONBLOCK != 0
		return now(result{}), forever, nil
	}
	return nil, 0, r.unsupported("fcntl %s is not supported", c.Args[1].Text)
}

func (r *runner) sysIoctl(c *Call) (try, time.Duration, error) {
	s, e, err := r.sockArg(c)
	if err == nil {
		err = r.args(c, 3, 3)
	}
	if err != nil || s == nil {
		return now(failed(e)), forever, err
	}
	cmd, err := r.eval(c.Args[1])
	if err != nil {
		return nil, 0, err
	}
	arg, err := r.arg(c, 2, -1)
	if err != nil {
		return nil, 0, err
	}
	var got int
	switch cmd {
	case fionbio:
		s.nonblock = arg != 0
		return now(result{}), forever, nil
	case unix.SIOCINQ:
		if got = s.pair.Rx.Len(); s.state == sockListening {
			return now(failed(syscall.EINVAL)), forever, nil
		}
	case unix.SIOCOUTQ:
		if got = s.queued(); s.state == sockListening {
			return now(failed(syscall.EINVAL)), forever, nil
		}
	case unix.SIOCOUTQNSD:
		got = s.notSent()
	default:
		return nil, 0, r.unsupported("ioctl %s is not supported", c.Args[1].Text)
	}
	return now(result{check: func() error {
		if arg >= 0 && int(arg) != got {
			return r.fail("ioctl %s: expected %d, got %d", c.Args[1].Text, arg, got)
		}
		return nil
	}}), forever, nil
}
