// SPDX-License-Identifier: Apache-2.0

package packetdrill

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// serve opens a connection as a server, at time 0.2.
const serve = `0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0 bind(3, ..., ...) = 0
+0 listen(3, 1) = 0
+.1 < S 0:0(0) win 1000 <mss 1000>
+0 > S. 0:0(0) ack 1 <...>
+.1 < . 1:1(0) ack 1 win 1000
+0 accept(3, ..., ...) = 4
`

// dial opens one as a client, at time 0.1.
const dial = `0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0 fcntl(3, F_SETFL, O_RDWR|O_NONBLOCK) = 0
+0 connect(3, ..., ...) = -1 EINPROGRESS (Operation now in progress)
+0 > S 0:0(0) <mss 1460>
+.1 < S. 500:500(0) ack 1 win 1000 <mss 1000>
+0 > . 1:1(0) ack 1
`

func runText(t *testing.T, text string, strict bool, h *fakeHost) error {
	t.Helper()
	s, err := Parse("x.pkt", text, nil)
	if err != nil {
		return err
	}
	c := DefaultConfig()
	c.Strict = strict
	return Run(s, c, h)
}

func TestPass(t *testing.T) {
	for name, text := range map[string]string{
		"server reads and writes": serve + `
+0 < P. 1:501(500) ack 1 win 1000
+0 > . 1:1(0) ack 501
+0 ioctl(4, SIOCINQ, [500]) = 0
+0 read(4, ..., 200) = 200
+0 recv(4, ..., 200, MSG_PEEK) = 200
+0 read(4, ..., 1000) = 300
+0 write(4, ..., 1500) = 1500
+0 > . 1:1001(1000) ack 501
+0 > P. 1001:1501(500) ack 501
+0 ioctl(4, SIOCOUTQ, [1500]) = 0
+0 ioctl(4, SIOCOUTQNSD, [0]) = 0`,
		"a train stands for a long packet": serve + `
+0 write(4, ..., 2500) = 2500
+0 > P. 1:2501(2500) ack 1`,
		"client": dial + `
+0 connect(3, ..., ...) = 0
+0 connect(3, ..., ...) = -1 EISCONN (Transport endpoint is already connected)
+0 getsockopt(3, SOL_SOCKET, SO_ERROR, [0], [4]) = 0`,
		"timers and their times": serve + `
+1.4 > . 0:0(0) ack 1`,
		"a range of times": serve + `
+1.35~+1.45 > . 0:0(0) ack 1`,
		"any time": serve + `
* > . 0:0(0) ack 1`,
		"a blocking read": serve + `
+0...0.2 read(4, ..., 100) = 10
+.2 < P. 1:11(10) ack 1 win 1000
+0 > . 1:1(0) ack 11
+.1 ... .3 read(4, ..., 100) = 10
+.2 < P. 11:21(10) ack 1 win 1000
+0 > . 1:1(0) ack 21`,
		"a blocking read with a timeout": serve + `
+0 setsockopt(4, SOL_SOCKET, SO_RCVTIMEO, {tv_sec=0, tv_usec=500000}, 16) = 0
+0...0.5 read(4, ..., 100) = -1 EAGAIN (Resource temporarily unavailable)`,
		"a blocking accept outlives the script": `0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
0 bind(3, ..., ...) = 0
0 listen(3, 1) = 0
0.1...0.3 accept(3, ..., ...) = 4
0.2 < S 0:0(0) win 1000
0.2 > S. 0:0(0) ack 1 <mss 1460>
0.3 < . 1:1(0) ack 1 win 1000`,
		"reset": serve + `
+0 < P. 1:11(10) ack 1 win 1000
+0 > . 1:1(0) ack 11
+0 < R. 11:11(0) ack 1 win 0
+0 poll([{fd=4, events=POLLIN, revents=POLLIN|POLLERR|POLLHUP}], 1, 0) = 1
+0 read(4, ..., 100) = 10
+0 read(4, ..., 100) = -1 ECONNRESET (Connection reset by peer)
+0 read(4, ..., 100) = 0
+0 write(4, ..., 100) = -1 EPIPE (Broken pipe)`,
		"reset behind FIN": serve + `
+0 < F. 1:1(0) ack 1 win 1000
+0 > . 1:1(0) ack 2
+0 read(4, ..., 100) = 0
+0 < R. 2:2(0) ack 1 win 0
+0 write(4, ..., 100) = -1 EPIPE (Broken pipe)
+0 read(4, ..., 100) = 0`,
		"shutdown and close": serve + `
+0 shutdown(4, SHUT_WR) = 0
+0 > F. 1:1(0) ack 1
+0 write(4, ..., 100) = -1 EPIPE (Broken pipe)
+0 close(4) = 0
+0 > F. 2:2(0) ack 1
+0 close(4) = -1 EBADF (Bad file descriptor)`,
		"timestamps": `0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0 bind(3, ..., ...) = 0
+0 listen(3, 1) = 0
+0 < S 5:5(0) win 1000 <mss 1000,TS val 700 ecr 0>
+0 > S. 0:0(0) ack 6 <mss 1460,nop,nop,TS val 100 ecr 700>
+.1 < . 1:1(0) ack 1 win 1000 <nop,nop,TS val 800 ecr 100>
+0 accept(3, ..., ...) = 4
+0 write(4, ..., 10) = 10
+0 > P. 1:11(10) ack 1 <nop,nop,TS val 200 ecr 800>
+.1 < . 1:1(0) ack 11 win 1000 <nop,nop,TS val 900 ecr 200>`,
		"epoll, edge-triggered": serve + `
+0 epoll_create(1) = 5
+0 epoll_ctl(5, EPOLL_CTL_ADD, 4, {events=EPOLLIN|EPOLLET, fd=4}) = 0
+0 epoll_wait(5, {events=0, fd=0}, 1, 0) = 0
+0 < P. 1:11(10) ack 1 win 1000
+0 > . 1:1(0) ack 11
+0 epoll_wait(5, {events=EPOLLIN, fd=4}, 1, 0) = 1
+0 epoll_wait(5, {events=0, fd=0}, 1, 0) = 0
+0 < P. 11:21(10) ack 1 win 1000
+0 > . 1:1(0) ack 21
+0 epoll_wait(5, {events=EPOLLIN, fd=4}, 1, 0) = 1`,
		"epoll, level-triggered and one shot": serve + `
+0 epoll_create1(0) = 5
+0 epoll_ctl(5, EPOLL_CTL_ADD, 4, {events=EPOLLOUT, u64=9}) = 0
+0 epoll_ctl(5, EPOLL_CTL_ADD, 4, {events=EPOLLOUT, u64=9}) = -1 EEXIST (File exists)
+0 epoll_wait(5, {events=EPOLLOUT, u64=9}, 1, 0) = 1
+0 epoll_wait(5, {events=EPOLLOUT, u64=9}, 1, 0) = 1
+0 epoll_ctl(5, EPOLL_CTL_MOD, 4, {events=EPOLLOUT|EPOLLONESHOT, fd=4}) = 0
+0 epoll_wait(5, {events=EPOLLOUT, fd=4}, 1, 0) = 1
+0...0.1 epoll_wait(5, {events=0, fd=0}, 1, 100) = 0
+0 epoll_ctl(5, EPOLL_CTL_DEL, 4, ...) = 0
+0 epoll_ctl(5, EPOLL_CTL_DEL, 4, ...) = -1 ENOENT (No such file or directory)`,
		"messages": serve + `
+0 setsockopt(4, SOL_TCP, TCP_INQ, [1], 4) = 0
+0 < P. 1:101(100) ack 1 win 1000
+0 > . 1:1(0) ack 101
+0 recvmsg(4, {msg_name(...)=..., msg_iov(2)=[{..., 10}, {..., 20}], msg_flags=0,
	msg_control=[{cmsg_level=SOL_TCP, cmsg_type=TCP_CM_INQ, cmsg_data=70}]}, 0) = 30
+0 sendmsg(4, {msg_name(...)=..., msg_iov(1)=[{..., 10}], msg_flags=0}, 0) = 10
+0 > P. 1:11(10) ack 101
+0 writev(4, [{..., 5}, {..., 5}], 2) = 10
+0 > P. 11:21(10) ack 101`,
		"options": serve + `
+0 setsockopt(4, SOL_TCP, TCP_MAXSEG, [1], 4) = -1 EINVAL (Invalid argument)
+0 getsockopt(4, SOL_TCP, TCP_KEEPIDLE, [5], [4]) = 0
+0 setsockopt(4, SOL_SOCKET, SO_LINGER, {onoff=1, linger=7}, 8) = 0
+0 getsockopt(4, SOL_SOCKET, SO_LINGER, {onoff=1, linger=7}, [8]) = 0
+0 setsockopt(4, SOL_SOCKET, SO_SNDBUF, [4096], 4) = 0
+0 getsockopt(4, SOL_SOCKET, SO_SNDBUF, [8192], [4]) = 0
+0 fcntl(4, F_SETFL, O_RDWR|O_NONBLOCK) = 0
+0 fcntl(4, F_GETFL) = 0x802 (flags O_RDWR|O_NONBLOCK)
+0 write(4, ..., 9000) = 8192
+0 > P. 1:8193(8192) ack 1
+0 write(4, ..., 9000) = -1 EAGAIN (Resource temporarily unavailable)
+0 poll([{fd=4, events=POLLOUT, revents=0}], 1, 0) = 0
+0 < . 1:1(0) ack 6001 win 1000
+0 poll([{fd=4, events=POLLOUT, revents=POLLOUT}], 1, 0) = 1`,
		"code": serve + `
+0 %{
# a comment; with a semicolon
cwnd = 3; cwnd += 5; cwnd *= 2; cwnd -= 6
assert tcpi_snd_cwnd == 10, 'cwnd=%d' % tcpi_snd_cwnd; assert tcpi_sacked == 3
assert 1 <= cwnd < 11 and not (cwnd == 3 and tcpi_rtt / 0 == 1) or x
print(nothing of this is read, %)
assert (tcpi_state == TCP_ESTABLISHED and
  abs(-3) + min(4, 2) * 2 == 7), ("x", 1)
assert tcpi_rtt // 1000 == 1 and 7 % 4 == 3 and 1 << 4 == 0x10 and -1 == ~0
}%`,
		"two connections": serve + `
+0 < 700 > 8080 S 0:0(0) win 1000
+0 > 8080 > 700 S. 0:0(0) ack 1 <...>`,
		"names": serve + `
+0 getsockname(4, {sa_family = AF_INET, sin_port = htons(8080), sin_addr = inet_addr("192.168.0.2")}, ...) = 0
+0 getpeername(4, ..., ...) = 0`,
		"more options": "0 `sysctl net.ipv4.tcp_wmem='4096 3000 9000' net.ipv4.tcp_rmem='4096 5000 9000' netcon.checksums=1`\n+0 " + serve[2:] + `
+0 getsockopt(4, SOL_SOCKET, SO_SNDBUF, [3000], [4]) = 0
+0 getsockopt(4, SOL_SOCKET, SO_RCVBUF, [10000], [4]) = 0
+0 setsockopt(4, SOL_SOCKET, SO_RCVBUF, [4096], 4) = 0
+0 getsockopt(4, SOL_SOCKET, SO_RCVBUF, [8192], [4]) = 0
+0 setsockopt(4, SOL_SOCKET, SO_RCVLOWAT, [20], 4) = 0
+0 getsockopt(4, SOL_SOCKET, SO_RCVLOWAT, [20], [4]) = 0
+0 getsockopt(4, SOL_SOCKET, SO_TYPE, [SOCK_STREAM], [4]) = 0
+0 getsockopt(4, SOL_SOCKET, SO_PROTOCOL, [IPPROTO_TCP], [4]) = 0
+0 getsockopt(3, SOL_SOCKET, SO_ACCEPTCONN, [1], [4]) = 0
+0 getsockopt(4, SOL_SOCKET, SO_LINGER, {onoff=0, linger=0}, [8]) = 0
+0 getsockopt(4, SOL_TCP, TCP_INQ, [0], [4]) = 0
+0 getsockopt(4, SOL_IP, IP_MTU, ..., [4]) = 0
+0 setsockopt(4, SOL_TCP, TCP_CONGESTION, "cubic", 6) = 0
+0 setsockopt(4, SOL_SOCKET, SO_SNDTIMEO, {tv_sec=0, tv_usec=100000}, 16) = 0
+0 setsockopt(4, SOL_TCP, TCP_CORK, [1], 4) = 0
+0 setsockopt(4, SOL_TCP, TCP_NOTSENT_LOWAT, [100], 4) = 0
+0 ioctl(4, FIONBIO, 1) = 0
+0 fcntl(4, F_GETFL) = 0x802
+0 recv(4, ..., 10, MSG_OOB) = -1 EINVAL (Invalid argument)
+0 recvmsg(4, {msg_name(...)=..., msg_iov(1)=[{..., 0}], msg_flags=0}, MSG_ERRQUEUE) = -1 EAGAIN (Resource temporarily unavailable)
+0 read(4, ..., 0) = 0
+0 setsockopt(9, SOL_TCP, TCP_CORK, [1], 4) = -1 EBADF (Bad file descriptor)
+0 epoll_create(0) = -1 EINVAL (Invalid argument)
+0 epoll_wait(4, {events=0, fd=0}, 1, 0) = -1 EINVAL (Invalid argument)
+0 epoll_create(1) = 5
+0 read(5, ..., 1) = -1 ENOTSOCK (Socket operation on non-socket)
+0 epoll_wait(5, {events=0, fd=0}, 0, 0) = -1 EINVAL (Invalid argument)
+0 close(5) = 0`,
		"a write with a timeout": serve + `
+0 setsockopt(4, SOL_SOCKET, SO_SNDBUF, [4096], 4) = 0
+0 setsockopt(4, SOL_SOCKET, SO_SNDTIMEO, {tv_sec=0, tv_usec=100000}, 16) = 0
+0...0.1 write(4, ..., 9000) = 8192
+0 > P. 1:8193(8192) ack 1`,
		"close lingers no longer than it was told": serve + `
+0 setsockopt(4, SOL_SOCKET, SO_LINGER, {onoff=1, linger=1}, 8) = 0
+0...1 close(4) = 0
+0 > F. 1:1(0) ack 1
+1 > F. 2:2(0) ack 1`,
		"comments": "# shell\n// C++\n/* C\n * more */" + serve + "+0 /* here */ < . 1:1(0) ack 1 win 5 // there\n# and here",
	} {
		t.Run(name, func(t *testing.T) {
			for _, strict := range []bool{false, true} {
				if err := runText(t, text, strict, &fakeHost{}); err != nil {
					t.Errorf("strict %v: %v", strict, err)
				}
			}
		})
	}
}

// What a script says and the machine does not do has to be found, at its line.
func TestFail(t *testing.T) {
	for name, c := range map[string]struct {
		text, want string
		strict     bool
	}{
		"flags":          {text: serve + "+0 write(4, ..., 10) = 10\n+0 > F. 1:11(10) ack 1", want: "x.pkt:9: expected flags F., got P."},
		"push":           {text: serve + "+0 write(4, ..., 10) = 10\n+0 > . 1:11(10) ack 1", strict: true, want: "x.pkt:9: expected flags ., got P."},
		"sequence":       {text: serve + "+0 write(4, ..., 10) = 10\n+0 > P. 2:12(10) ack 1", want: "x.pkt:9: expected sequence number 2, got 1"},
		"length":         {text: serve + "+0 write(4, ..., 10) = 10\n+0 > P. 1:21(20) ack 1", want: "expected payload length 20, got 10"},
		"ack":            {text: serve + "+0 write(4, ..., 10) = 10\n+0 > P. 1:11(10) ack 5", want: "expected ack 5, got 1"},
		"window":         {text: serve + "+0 write(4, ..., 10) = 10\n+0 > P. 1:11(10) ack 1 win 3", want: "expected win 3, got 65535"},
		"options":        {text: serve + "+0 write(4, ..., 10) = 10\n+0 > P. 1:11(10) ack 1 <nop,nop,sack 1:2>", want: "expected options <nop,nop,sack 1:2>, got <>"},
		"no options":     {text: strings.Replace(serve, "<...>", "", 1), want: "x.pkt:5: expected options <>, got <mss 1460>"},
		"ECN":            {text: serve + "+0 write(4, ..., 10) = 10\n+0 > [ect0] P. 1:11(10) ack 1", want: "expected ECN bits 2, got 0"},
		"ECT":            {text: serve + "+0 write(4, ..., 10) = 10\n+0 > [ect01] P. 1:11(10) ack 1", want: "expected ECT(0) or ECT(1)"},
		"TOS":            {text: serve + "+0 write(4, ..., 10) = 10\n+0 > (tos 0x20) P. 1:11(10) ack 1", want: "expected tos 0x20, got 0x0"},
		"TTL":            {text: serve + "+0 write(4, ..., 10) = 10\n+0 > (ttl 3) P. 1:11(10) ack 1", want: "expected ttl 3, got 64"},
		"ports":          {text: serve + "+0 write(4, ..., 10) = 10\n+0 > 8080 > 9 P. 1:11(10) ack 1", want: "expected ports 8080 > 9, got 8080 > 50001"},
		"ICMP":           {text: serve + "+0 write(4, ..., 10) = 10\n+0 > icmp echo_reply", want: "expected an ICMP message"},
		"too late":       {text: serve + "+1 > . 0:0(0) ack 1", want: "expected a packet ., got no packet until 1.3"},
		"far too late":   {text: serve + "+0 > . 0:0(0) ack 1", want: "got no packet until 0.204"},
		"too early":      {text: serve + "+0 write(4, ..., 10) = 10\n+.1 > P. 1:11(10) ack 1", want: "timing error: expected the packet at 0.300000 sec, got it at 0.200000 sec"},
		"out of range":   {text: serve + "+0 write(4, ..., 10) = 10\n+.1~+.2 > P. 1:11(10) ack 1", want: "timing error: expected the packet from 0.3"},
		"not mentioned":  {text: serve + "+0 write(4, ..., 10) = 10", strict: true, want: "x.pkt:8: the script does not mention a packet that was sent at 0.200000 sec: > P. 1:11(10) ack 1"},
		"result":         {text: serve + "+0 write(4, ..., 10) = 11", want: "x.pkt:8: write: expected 11, got 10"},
		"errno":          {text: serve + "+0 write(5, ..., 10) = -1 EPIPE (Broken pipe)", want: "expected -1 EPIPE, got -1 EBADF (bad file descriptor)"},
		"would block":    {text: serve + "+0 read(4, ..., 10) = 10", want: "x.pkt:8: read blocks: expected 10"},
		"blocks longer":  {text: serve + "+0...0.1 read(4, ..., 10) = 10\n+1 close(4) = 0", want: "x.pkt:8: read should have returned at 0.3"},
		"blocks to end":  {text: serve + "+0...0.1 read(4, ..., 10) = 10", want: "x.pkt:8: read should have returned at 0.3"},
		"returns early":  {text: serve + "+0...0.5 read(4, ..., 9) = 9\n+.1 < . 1:10(9) ack 1 win 9", want: "x.pkt:8: timing error: read should return at 0.7"},
		"time goes back": {text: serve + "0.1 close(4) = 0", want: "the event is at 0.100000 sec, and it is 0.200000 sec already"},
		"revents":        {text: serve + "+0 poll([{fd=4, events=POLLOUT, revents=POLLIN}], 1, 0) = 1", want: "poll: expected revents 0x1 of fd 4, got 0x4"},
		"epoll data": {
			text: serve + "+0 epoll_create(1) = 5\n+0 epoll_ctl(5, EPOLL_CTL_ADD, 4, {events=EPOLLOUT, fd=4}) = 0\n+0 epoll_wait(5, {events=EPOLLOUT, fd=3}, 1, 0) = 1",
			want: "expected events 0x4 data 3, got events 0x4 data 4",
		},
		"option value": {text: serve + "+0 getsockopt(4, SOL_TCP, TCP_KEEPIDLE, [6], [4]) = 0", want: "getsockopt TCP_KEEPIDLE: expected 6, got 5"},
		"assertion":    {text: serve + "+0 %{\n\nassert tcpi_snd_cwnd == 11, 'cwnd'\n}%", want: "x.pkt:10: assertion failed: cwnd: assert tcpi_snd_cwnd == 11, 'cwnd' (tcpi_snd_cwnd is 10)"},
		"queue":        {text: serve + "+0 ioctl(4, SIOCINQ, [5]) = 0", want: "ioctl SIOCINQ: expected 5, got 0"},
		"message": {
			text: serve + "+0 < . 1:10(9) ack 1 win 9\n+0 > . 1:1(0) ack 10\n+0 recvmsg(4, {msg_name(...)=..., msg_iov(1)=[{..., 9}], msg_flags=MSG_TRUNC}, 0) = 9",
			want: "expected msg_flags 0x20, got 0",
		},
		"echo never sent": {text: serve + "+0 < . 1:1(0) ack 1 win 9 <TS val 1 ecr 2>", want: "TS ecr: no packet of the machine had"},
	} {
		t.Run(name, func(t *testing.T) {
			err := runText(t, c.text, c.strict, &fakeHost{})
			var e *Error
			if !errors.As(err, &e) || e.Script || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// Unless the rules are strict, one segment may stand for several packets, and
// PSH and padding are not compared.
func TestLenient(t *testing.T) {
	text := serve + `
+0 write(4, ..., 1000) = 1000
+0 > . 1:401(400) ack 1
+0 > . 401:1001(600) ack 1`
	if err := runText(t, text, false, &fakeHost{}); err != nil {
		t.Error(err)
	}
	if err := runText(t, text, true, &fakeHost{}); err == nil {
		t.Error("strict rules pass it, too")
	}
}

// --tcp_ts_tick_usecs compares TS val with the clock.
func TestTicks(t *testing.T) {
	text := `--tcp_ts_tick_usecs=1000
0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0 bind(3, ..., ...) = 0
+0 listen(3, 1) = 0
+0 < S 5:5(0) win 1000 <mss 1000,TS val 700 ecr 0>
+0 > S. 0:0(0) ack 6 <mss 1460,nop,nop,TS val 100 ecr 700>
+.1 < . 1:1(0) ack 1 win 1000 <nop,nop,TS val 800 ecr 100>
+0 accept(3, ..., ...) = 4
+0 write(4, ..., 10) = 10
+0 > P. 1:11(10) ack 1 <nop,nop,TS val VALUE ecr 800>`
	for value, want := range map[string]bool{"200": true, "203": true, "300": false} {
		if err := runText(t, strings.Replace(text, "VALUE", value, 1), true, &fakeHost{}); (err == nil) != want {
			t.Errorf("TS val %s: %v", value, err)
		}
	}
}

// --non_fatal=packet goes on after a packet that differs.
func TestNonFatal(t *testing.T) {
	text := "--non_fatal=packet\n" + serve + "+0 < . 1:11(10) ack 1 win 9\n+0 > . 1:1(0) ack 99\n+0 close(9) = 0"
	if err := runText(t, text, false, &fakeHost{}); err == nil || !strings.Contains(err.Error(), "x.pkt:11: close") {
		t.Errorf("got %v", err)
	}
}

// ICMP messages and addresses of both families reach the machine whole.
func TestPackets(t *testing.T) {
	for _, version := range []string{"ipv4", "ipv6"} {
		f := newFlow(netip.MustParseAddrPort("192.0.2.1:1"), netip.MustParseAddrPort("192.0.2.2:2"))
		kinds := []string{"unreachable port_unreachable", "echo_request id 5", "time_exceeded", "unreachable frag_needed mtu 1400 [1:5(4)]"}
		if version == "ipv6" {
			f = newFlow(netip.MustParseAddrPort("[2001:db8::1]:1"), netip.MustParseAddrPort("[2001:db8::2]:2"))
			kinds = []string{"unreachable port_unreachable", "echo_request id 5", "time_exceeded", "packet_too_big mtu 1400 [1:5(4)]"}
		}
		for _, kind := range kinds {
			b, err := f.icmp(parsePacket(t, "< icmp "+kind))
			if err != nil {
				t.Fatal(err)
			}
			s, err := parseSegment(b, true)
			if err != nil || s.icmp == nil {
				t.Errorf("%s %s: %v", version, kind, err)
			}
		}
		s, why := f.toWire(parsePacket(t, "< [ce] SP 9:14(5) win 7 urg 3 <mss 5,sackOK,wscale 3,md5 00,FO 1122>"), false)
		if why != "" {
			t.Fatal(why)
		}
		got, err := parseSegment(s.build(), true)
		if err != nil {
			t.Fatal(err)
		}
		if want := "[ce] SP 9:14(5) win 7 <mss 5,sackOK,wscale 3,md5 00,FO 1122>"; got.String() != want {
			t.Errorf("%s: got %s, want %s", version, got, want)
		}
	}
	for name, b := range map[string][]byte{
		"nothing": nil, "short IPv4": {0x45}, "other protocol": wrapIP(netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"), 99, 0, 1, 0, []byte{1}),
		"short TCP": wrapIP(netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"), 6, 0, 1, 0, []byte{1}),
	} {
		if _, err := parseSegment(b, false); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// A machine that breaks a rule of the wire is caught whatever a script says.
func TestBrokenMachine(t *testing.T) {
	write := serve + "+0 write(4, ..., 10) = 10\n+0 > P. 1:11(10) ack 1"
	for name, c := range map[string]struct {
		machine fake
		want    string
	}{
		"IP checksum":   {fake{spoil: func(b []byte) { b[10]++ }}, "IPv4 header checksum is wrong"},
		"TCP checksum":  {fake{spoil: func(b []byte) { b[36]++ }}, "TCP checksum is wrong"},
		"payload":       {fake{spoil: spoilPayload}, "payload differs from what was written at byte 3"},
		"never written": {fake{spoil: lengthenPayload}, "payload up to byte 11 of the stream, and 10 were written"},
		"always busy":   {fake{busy: true}, "does not come to rest: Busy"},
		"stopped clock": {fake{stuck: true}, "clock does not come to rest"},
	} {
		t.Run(name, func(t *testing.T) {
			text := write
			switch name {
			case "stopped clock":
				text += "\n+2 close(4) = 0"
			case "never written":
				text = serve + "+0 write(4, ..., 10) = 10\n+0 > P. 2:12(10) ack 1"
			}
			err := runText(t, text, false, &fakeHost{machine: c.machine})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// spoilPayload exchanges two bytes of payload: the checksum stays right.
func spoilPayload(b []byte) {
	if len(b) > 48 {
		b[43], b[45] = b[45], b[43]
	}
}

// lengthenPayload makes a segment of data say that it begins one byte later.
func lengthenPayload(b []byte) {
	if len(b) > 48 {
		b[27]++
		sum := uint32(b[36])<<8 | uint32(b[37]) - 1
		b[36], b[37] = byte(sum>>8), byte(sum)
	}
}

func TestShell(t *testing.T) {
	h := &fakeHost{}
	var notes []string
	s, err := Parse("x.pkt", "`sysctl -q net.ipv4.tcp_rmem=\"4096 5 $((15*1024*1024))\" net.ipv4.tcp_sack=0 # why\n"+
		"./set_sysctls.py /proc/sys/net/ipv4/tcp_ecn=1 \\\n  /proc/sys/net/ipv4/tcp_fin_timeout=9; echo 3 > /proc/sys/net/ipv4/tcp_x\n"+
		"ip route add 1.2.3.4 || true`\n0 `sysctl -w net.ipv4.unknown=1`\n`/tmp/restore.sh`", nil)
	if err != nil {
		t.Fatal(err)
	}
	c := DefaultConfig()
	c.Trace = func(_ time.Duration, line string) { notes = append(notes, line) }
	if err := Run(s, c, h); err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"net.ipv4.tcp_rmem": "4096 5 15728640", "net.ipv4.tcp_sack": "0", "net.ipv4.tcp_ecn": "1", "net.ipv4.tcp_fin_timeout": "9", "net.ipv4.tcp_x": "3",
	} {
		if h.knobs[name] != value {
			t.Errorf("%s is %q, want %q", name, h.knobs[name], value)
		}
	}
	if text := strings.Join(notes, "\n"); !strings.Contains(text, "passed over: ip route add 1.2.3.4") || !strings.Contains(text, "passed over: net.ipv4.unknown=1") {
		t.Errorf("notes: %s", text)
	}
}
