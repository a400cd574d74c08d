/* SPDX-License-Identifier: Apache-2.0 */
/* Socket options: what is read before and after they are set, and what is refused. */
#include "litmus.h"

struct option {
	const char *name;
	int level, option, value;
};

#define O(level, option, value) { #option, level, option, value }

static void say_options(const struct option *o, size_t n, int v6)
{
	for (; n; n--, o++) {
		int fd = v6 ? tcp6() : tcp();
		const char *before = get_option(fd, o->level, o->option);
		const char *set = set_option(fd, o->level, o->option, o->value);

		say("%s %d: %s, set %d: %s, then %s", o->name, o->option, before, o->value, set,
		    get_option(fd, o->level, o->option));
		close(fd);
	}
}

#define SAY(v6, ...)                                                              \
	do {                                                                      \
		static const struct option list_[] = { __VA_ARGS__ };             \
		say_options(list_, sizeof list_ / sizeof *list_, v6);             \
	} while (0)

LITMUS(options_socket)
{
	SAY(0, O(SOL_SOCKET, SO_ERROR, 1), O(SOL_SOCKET, SO_TYPE, 1), O(SOL_SOCKET, SO_DOMAIN, 1), O(SOL_SOCKET, SO_PROTOCOL, 1),
	    O(SOL_SOCKET, SO_ACCEPTCONN, 1), O(SOL_SOCKET, SO_REUSEADDR, 7), O(SOL_SOCKET, SO_REUSEPORT, 1),
	    O(SOL_SOCKET, SO_KEEPALIVE, 1), O(SOL_SOCKET, SO_OOBINLINE, 1), O(SOL_SOCKET, SO_BROADCAST, 1),
	    O(SOL_SOCKET, SO_DONTROUTE, 1), O(SOL_SOCKET, SO_DEBUG, 0), O(SOL_SOCKET, SO_PRIORITY, 3), O(SOL_SOCKET, SO_MARK, 5),
	    O(SOL_SOCKET, SO_RCVLOWAT, 5), O(SOL_SOCKET, SO_SNDLOWAT, 5), O(SOL_SOCKET, SO_TIMESTAMP, 1),
	    O(SOL_SOCKET, SO_TIMESTAMPNS, 1), O(SOL_SOCKET, SO_INCOMING_CPU, 1),
	    O(SOL_SOCKET, SO_BUSY_POLL, 10), O(SOL_SOCKET, SO_NO_CHECK, 1),
	    O(SOL_SOCKET, SO_RXQ_OVFL, 1), O(SOL_SOCKET, SO_SELECT_ERR_QUEUE, 1), O(SOL_SOCKET, SO_LOCK_FILTER, 0),
	    O(SOL_SOCKET, SO_PEEK_OFF, 1), O(SOL_SOCKET, SO_BINDTODEVICE, 1), O(SOL_SOCKET, SO_DETACH_FILTER, 1),
	    O(SOL_SOCKET, 9999, 1), O(SOL_SOCKET, SO_PEERSEC, 1), O(SOL_SOCKET, SO_SNDBUFFORCE, 100000));
}

LITMUS(options_tcp)
{
	SAY(0, O(IPPROTO_TCP, TCP_NODELAY, 1), O(IPPROTO_TCP, TCP_CORK, 1), O(IPPROTO_TCP, TCP_MAXSEG, 1000),
	    O(IPPROTO_TCP, TCP_MAXSEG, 10), O(IPPROTO_TCP, TCP_MAXSEG, 0), O(IPPROTO_TCP, TCP_KEEPIDLE, 100),
	    O(IPPROTO_TCP, TCP_KEEPIDLE, 0), O(IPPROTO_TCP, TCP_KEEPIDLE, 40000), O(IPPROTO_TCP, TCP_KEEPINTVL, 10),
	    O(IPPROTO_TCP, TCP_KEEPCNT, 3), O(IPPROTO_TCP, TCP_KEEPCNT, 200), O(IPPROTO_TCP, TCP_SYNCNT, 3),
	    O(IPPROTO_TCP, TCP_LINGER2, 30), O(IPPROTO_TCP, TCP_LINGER2, -1), O(IPPROTO_TCP, TCP_DEFER_ACCEPT, 5),
	    O(IPPROTO_TCP, TCP_DEFER_ACCEPT, 1), O(IPPROTO_TCP, TCP_WINDOW_CLAMP, 100000), O(IPPROTO_TCP, TCP_QUICKACK, 0), O(IPPROTO_TCP, TCP_USER_TIMEOUT, 5000),
	    O(IPPROTO_TCP, TCP_USER_TIMEOUT, -1), O(IPPROTO_TCP, TCP_NOTSENT_LOWAT, 16384), O(IPPROTO_TCP, TCP_INQ, 1),
	    O(IPPROTO_TCP, TCP_THIN_LINEAR_TIMEOUTS, 1), O(IPPROTO_TCP, TCP_THIN_DUPACK, 1), O(IPPROTO_TCP, 999, 1),
	    O(999, 1, 1), O(IPPROTO_UDP, 1, 1));
}

LITMUS(options_ip)
{
	SAY(0, O(IPPROTO_IP, IP_TOS, 0x10), O(IPPROTO_IP, IP_TOS, 0xb9), O(IPPROTO_IP, IP_TTL, 10), O(IPPROTO_IP, IP_TTL, 0),
	    O(IPPROTO_IP, IP_TTL, 300), O(IPPROTO_IP, IP_TTL, -1), O(IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO),
	    O(IPPROTO_IP, IP_MTU_DISCOVER, 9), O(IPPROTO_IP, IP_RECVERR, 1), O(IPPROTO_IP, IP_PKTINFO, 1),
	    O(IPPROTO_IP, IP_RECVTOS, 1), O(IPPROTO_IP, IP_FREEBIND, 1), O(IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1),
	    O(IPPROTO_IP, IP_MINTTL, 5), O(IPPROTO_IP, IP_MTU, 1), O(IPPROTO_IP, 999, 1),
	    O(IPPROTO_IP, IP_MULTICAST_TTL, 5), O(IPPROTO_IPV6, IPV6_V6ONLY, 1));
}

LITMUS(options_ipv6)
{
	SAY(1, O(IPPROTO_IPV6, IPV6_V6ONLY, 1), O(IPPROTO_IPV6, IPV6_TCLASS, 0x20), O(IPPROTO_IPV6, IPV6_TCLASS, 256),
	    O(IPPROTO_IPV6, IPV6_TCLASS, -1), O(IPPROTO_IPV6, IPV6_UNICAST_HOPS, 9), O(IPPROTO_IPV6, IPV6_UNICAST_HOPS, -1),
	    O(IPPROTO_IPV6, IPV6_UNICAST_HOPS, 256), O(IPPROTO_IPV6, IPV6_RECVERR, 1), O(IPPROTO_IPV6, IPV6_MTU_DISCOVER, 2),
	    O(IPPROTO_IPV6, IPV6_RECVPKTINFO, 1), O(IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1), O(IPPROTO_IPV6, IPV6_RECVTCLASS, 1),
	    O(IPPROTO_IPV6, IPV6_FREEBIND, 1), O(IPPROTO_IPV6, 999, 1), O(IPPROTO_IP, IP_TOS, 0x10), O(IPPROTO_IP, IP_TTL, 10));
}

LITMUS(options_names)
{
	char name[64] = "";
	socklen_t len = sizeof name;
	int fd = tcp();

	SAY_CALL("congestion: %s %d", getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &len), name[0] != 0);
	say("length: %u", len);
	say("reno: %s", R(setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4)));
	len = sizeof name;
	SAY_CALL("then: %s %s", getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &len), name);
	say("unknown: %s", R(setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "nosuch", 6)));
	say("empty: %s", R(setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "", 0)));
	say("ulp: %s", R(setsockopt(fd, IPPROTO_TCP, TCP_ULP, "nosuch", 6)));
	len = sizeof name;
	memset(name, 'x', sizeof name);
	say("IP_OPTIONS: %s", R(getsockopt(fd, IPPROTO_IP, IP_OPTIONS, name, &len)));
	say("length: %u", len);
	say("device: %s", R(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "", 0)));
	len = sizeof name;
	SAY_CALL("device: %s %u", getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, &len), len);
	say("no such device: %s", R(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "nosuch0", 8)));
}

LITMUS(options_lengths)
{
	int fd = tcp(), on = 1;
	char c = 9;
	socklen_t len = 1;

	say("short set: %s", R(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, 2)));
	say("short tcp set: %s", R(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, 2)));
	say("short ip set: %s", R(setsockopt(fd, IPPROTO_IP, IP_TOS, &c, 1)));
	say("null set: %s", R(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, NULL, 4)));
	say("negative set: %s", R(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, (socklen_t)-1)));
	SAY_CALL("short get: %s %u", getsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &c, &len), len);
	len = 0;
	SAY_CALL("empty get: %s %u", getsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &c, &len), len);
	len = (socklen_t)-1;
	say("negative get: %s", R(getsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &c, &len)));
	say("null len: %s", R(getsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &c, NULL)));
	len = 1;
	SAY_CALL("byte of IP_TOS: %s %u", getsockopt(fd, IPPROTO_IP, IP_TOS, &c, &len), len);
}

LITMUS(options_buffers)
{
	int fd = tcp(), small = 1, n = 50000;

	say("rcv: %s", R(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &n, sizeof n)));
	say("doubled: %s", get_option(fd, SOL_SOCKET, SO_RCVBUF));
	say("snd: %s", R(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &n, sizeof n)));
	say("doubled: %s", get_option(fd, SOL_SOCKET, SO_SNDBUF));
	SAY_CALL("least: %s %s", setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof n), get_option(fd, SOL_SOCKET, SO_RCVBUF));
	SAY_CALL("least: %s %s", setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof n), get_option(fd, SOL_SOCKET, SO_SNDBUF));
}

LITMUS(options_refused)
{
	int c, s, on = 1;
	struct {
		pid_t pid;
		uid_t uid;
		gid_t gid;
	} cred = { 1, 1, 1 };
	char b[256];
	socklen_t len = sizeof cred;

	connected(&c, &s);
	len = sizeof b;
	say("SO_ORIGINAL_DST is there: %d", getsockopt(s, IPPROTO_IP, 80, b, &len) == 0);
	say("TCP_ULP: %s", R(setsockopt(c, IPPROTO_TCP, TCP_ULP, "nosuch", 6)));
	len = sizeof cred;
	SAY_CALL("SO_PEERCRED: %s %d %d %d", getsockopt(c, SOL_SOCKET, SO_PEERCRED, &cred, &len), cred.pid, (int)cred.uid, (int)cred.gid);
	say("V6ONLY of v4: %s", R(setsockopt(c, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on)));
	say("IP_MTU: %d", get_int(c, IPPROTO_IP, IP_MTU) >= 1280);
	say("TCP_MAXSEG: %d", get_int(c, IPPROTO_TCP, TCP_MAXSEG) >= 500);
	say("keepalive: %s %s %s", set_option(c, SOL_SOCKET, SO_KEEPALIVE, 1), set_option(c, IPPROTO_TCP, TCP_KEEPIDLE, 5), get_option(c, IPPROTO_TCP, TCP_KEEPIDLE));
}

/* Accepted sockets have what the listener was given, but not O_NONBLOCK. */
LITMUS(options_inherited)
{
	int l = tcp(), c = tcp(), s, on = 1, n = 100000;

	setsockopt(l, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
	setsockopt(l, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	setsockopt(l, IPPROTO_TCP, TCP_KEEPIDLE, &(int){ 77 }, sizeof on);
	setsockopt(l, SOL_SOCKET, SO_RCVBUF, &n, sizeof n);
	setsockopt(l, IPPROTO_IP, IP_TOS, &(int){ 0x20 }, sizeof n);
	setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	nonblocking(l, 1);
	NEED(bind_to(l, "127.0.0.1", 0) == 0 && listen(l, 4) == 0);
	NEED(dial(c, "127.0.0.1", port_of(l)) == 0);
	await(l, POLLIN);
	s = accept(l, NULL, NULL);
	say("SO_KEEPALIVE: %s", get_option(s, SOL_SOCKET, SO_KEEPALIVE));
	say("TCP_NODELAY: %s", get_option(s, IPPROTO_TCP, TCP_NODELAY));
	say("TCP_KEEPIDLE: %s", get_option(s, IPPROTO_TCP, TCP_KEEPIDLE));
	say("SO_RCVBUF: %s", get_option(s, SOL_SOCKET, SO_RCVBUF));
	say("IP_TOS: %s", get_option(s, IPPROTO_IP, IP_TOS));
	say("SO_REUSEADDR: %s", get_option(s, SOL_SOCKET, SO_REUSEADDR));
	say("O_NONBLOCK: %d", !!(fcntl(s, F_GETFL) & O_NONBLOCK));
	say("FD_CLOEXEC: %d", fcntl(s, F_GETFD));
}

/* What glibc's struct tcp_info does not have, by its place. */
static unsigned long long info_field(const void *info, int at, int size)
{
	uint64_t eight;
	uint32_t four;

	memcpy(&eight, (const char *)info + at, sizeof eight);
	memcpy(&four, (const char *)info + at, sizeof four);
	return size == 8 ? eight : four;
}

LITMUS(tcp_info)
{
	union {
		struct tcp_info i;
		char room[512];
	} u;
#define i u.i
	socklen_t len = sizeof u;
	int c, s, l = listener("127.0.0.1"), fd = tcp();
	char b[1000] = { 0 };

	memset(&i, 0, sizeof u);
	SAY_CALL("fresh: %s state %d", getsockopt(fd, IPPROTO_TCP, TCP_INFO, &i, &len), i.tcpi_state);
	len = sizeof u;
	SAY_CALL("listener: %s state %d backlog %u", getsockopt(l, IPPROTO_TCP, TCP_INFO, &i, &len), i.tcpi_state, i.tcpi_sacked);
	connected(&c, &s);
	for (int k = 0; k < 20; k++)
		NEED(write(c, b, sizeof b) == sizeof b && recv(s, b, sizeof b, MSG_WAITALL) == sizeof b && write(s, b, 1) == 1 && read(c, b, 1) == 1);
	len = sizeof u;
	SAY_CALL("connected: %s state %d", getsockopt(c, IPPROTO_TCP, TCP_INFO, &i, &len), i.tcpi_state);
	say("mss: %d pmtu: %d", i.tcpi_snd_mss >= 500 && i.tcpi_snd_mss <= 65535, i.tcpi_pmtu >= 576);
	say("rtt: %d rto: %d cwnd: %d", i.tcpi_rtt > 0 && i.tcpi_rtt < 1000000, i.tcpi_rto >= 10000, i.tcpi_snd_cwnd >= 2);
	say("segments: %d %d", info_field(&i, 136, 4) >= 20, info_field(&i, 140, 4) >= 20);
	settle();
	getsockopt(c, IPPROTO_TCP, TCP_INFO, &i, &len);
	say("acked: %d received: %llu", info_field(&i, 120, 8) >= 20000 && info_field(&i, 120, 8) <= 20001, info_field(&i, 128, 8));
	say("unacked: %u", i.tcpi_unacked);
	say("options: %d", !!(i.tcpi_options & TCPI_OPT_SACK));
	len = 8;
	memset(&i, 0x55, sizeof u);
	SAY_CALL("short: %s %u %d", getsockopt(c, IPPROTO_TCP, TCP_INFO, &i, &len), len, ((unsigned char *)&i)[8] == 0x55);
	shutdown(c, SHUT_WR);
	await(s, POLLIN);
	settle();
	len = sizeof u;
	getsockopt(s, IPPROTO_TCP, TCP_INFO, &i, &len);
	say("close wait: %d", i.tcpi_state);
	getsockopt(c, IPPROTO_TCP, TCP_INFO, &i, &len);
	say("fin wait: %d", i.tcpi_state);
}
#undef i

LITMUS(defer_accept)
{
	int l = tcp(), c = tcp(), n = 2, s;

	setsockopt(l, IPPROTO_TCP, TCP_DEFER_ACCEPT, &n, sizeof n);
	NEED(bind_to(l, "127.0.0.1", 0) == 0 && listen(l, 4) == 0);
	say("connect: %s", R(dial(c, "127.0.0.1", port_of(l))));
	nonblocking(l, 1);
	settle();
	say("accept: %s", R(accept(l, NULL, NULL)));
	NEED(send(c, "hello", 5, 0) == 5);
	await(l, POLLIN);
	say("accept: %d", accept(l, NULL, NULL) >= 0);
	/* An end is something to say; a reset is nobody. */
	c = tcp();
	NEED(dial(c, "127.0.0.1", port_of(l)) == 0);
	settle();
	close(c);
	await(l, POLLIN);
	s = accept(l, NULL, NULL);
	say("ended: %d %s", s >= 0, R(read(s, &(char){ 0 }, 1)));
	c = tcp();
	NEED(dial(c, "127.0.0.1", port_of(l)) == 0);
	settle();
	setsockopt(c, SOL_SOCKET, SO_LINGER, &(struct linger){ 1, 0 }, sizeof(struct linger));
	close(c);
	settle();
	say("reset: %s", R(accept(l, NULL, NULL)));
	/* The time it waits for bytes. */
	c = tcp();
	NEED(dial(c, "127.0.0.1", port_of(l)) == 0);
	await(l, POLLIN);
	say("at last: %d", accept(l, NULL, NULL) >= 0);
}

/* What a program asks for and does without. */
LITMUS(zerocopy)
{
	int c, s, on = 1, ok;
	char b[8];

	connected(&c, &s);
	ok = setsockopt(c, SOL_SOCKET, SO_ZEROCOPY, &on, sizeof on) == 0;
	NEED(send(c, "hello", 5, ok ? MSG_ZEROCOPY : 0) == 5);
	say("arrives: %s", R(recv(s, b, 5, MSG_WAITALL)));
	settle();
	say("and is told or was refused: %d", !ok || recvmsg(c, &(struct msghdr){ .msg_control = (char[128]){ 0 }, .msg_controllen = 128 }, MSG_ERRQUEUE) >= 0);
}
