/* SPDX-License-Identifier: Apache-2.0 */
/* Datagram sockets: processes, readiness, options, ping and raw ICMP. */
#include "litmus.h"

#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>

#ifndef ICMP_FILTER
#define ICMP_FILTER 1
#endif
#ifndef SOL_RAW
#define SOL_RAW 255
#endif

static int bound(int flags)
{
	struct timeval limit = { .tv_sec = 3 };
	int fd = socket(AF_INET, SOCK_DGRAM | flags, 0);

	NEED(fd >= 0);
	NEED(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
	NEED(bind_to(fd, "127.0.0.1", 0) == 0);
	return fd;
}

static int connected_to(int other)
{
	int fd = bound(0);

	NEED(dial(fd, "127.0.0.1", port_of(other)) == 0);
	return fd;
}

static void say_read(const char *what, int fd)
{
	char b[32] = "";

	const char *r = R(read(fd, b, sizeof b - 1));

	say("%s: %s \"%s\"", what, r, b);
}

LITMUS(dgram_order)
{
	int a = bound(0), b = connected_to(a), in_order = 1;

	for (int i = 0; i < 5000; i++) {
		int n = -1;

		NEED(send(b, &i, sizeof i, 0) == sizeof i);
		if (i % 50 != 49)
			continue;
		for (int j = i - 49; j <= i; j++)
			in_order &= recv(a, &n, sizeof n, 0) == sizeof n && n == j;
	}
	say("in order: %d", in_order);
}

static void in_child(void *arg)
{
	int *fds = arg;

	say_read("child", fds[0]);
	say("child sends: %s", R(send(fds[1], "from child", 10, 0)));
}

LITMUS(dgram_fork)
{
	int fds[2] = { bound(0) };

	fds[1] = connected_to(fds[0]);
	NEED(send(fds[1], "for child", 9, 0) == 9);
	say("child: %s", wait_for(child(in_child, fds)));
	say_read("parent", fds[0]);
	close(fds[1]);
	say("gone: %s", R(send(fds[0], "x", 1, 0)));
}

LITMUS(dgram_dup)
{
	int a = bound(0), b = connected_to(a), c = dup(b), d = dup2(a, 200);

	close(b);
	say("duplicate: %s", R(write(c, "dup", 3)));
	close(a);
	say_read("duplicate", d);
	say("type: %s", get_option(d, SOL_SOCKET, SO_TYPE));
}

LITMUS(dgram_passed)
{
	int pair[2], a = bound(0), b = connected_to(a), c;

	NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
	send_fd(pair[0], a);
	close(a);
	c = receive_fd(pair[1]);
	say("send: %s", R(send(b, "passed", 6, 0)));
	say_read("passed", c);
}

LITMUS(_dgram_executed)
{
	int fd = atoi(args[0]);

	say_read("inherited", fd);
	say("names: %d", port_of(fd) > 0);
}

LITMUS(dgram_exec)
{
	int a = bound(0), b = connected_to(a);
	char number[16];

	NEED(send(b, "across exec", 11, 0) == 11);
	snprintf(number, sizeof number, "%d", a);
	execl(self, self, "_dgram_executed", number, (char *)NULL);
	give_up("execl");
}

LITMUS(dgram_epoll)
{
	int a = bound(SOCK_NONBLOCK), b = connected_to(a), ep = epoll_create1(0);
	struct epoll_event e = { .events = EPOLLIN | EPOLLET }, got;
	char x[8];

	NEED(epoll_ctl(ep, EPOLL_CTL_ADD, a, &e) == 0);
	say("nothing: %s", R(epoll_wait(ep, &got, 1, 0)));
	NEED(send(b, "1", 1, 0) == 1);
	SAY_CALL("edge: %s %s", epoll_wait(ep, &got, 1, 2000), event_names(got.events));
	say("no edge: %s", R(epoll_wait(ep, &got, 1, 0)));
	NEED(send(b, "2", 1, 0) == 1);
	SAY_CALL("next edge: %s %s", epoll_wait(ep, &got, 1, 2000), event_names(got.events));
	say("first: %s", R(recv(a, x, 8, 0)));
	say("second: %s", R(recv(a, x, 8, 0)));
	say("third: %s", R(recv(a, x, 8, 0)));
	e.events = EPOLLIN | EPOLLOUT;
	NEED(epoll_ctl(ep, EPOLL_CTL_MOD, a, &e) == 0);
	SAY_CALL("level: %s %s", epoll_wait(ep, &got, 1, 0), event_names(got.events));
	NEED(send(b, "3", 1, 0) == 1);
	await(a, POLLIN);
	SAY_CALL("level: %s %s", epoll_wait(ep, &got, 1, 0), event_names(got.events));
	close(a);
	say("closed: %s", R(epoll_wait(ep, &got, 1, 0)));
}

LITMUS(dgram_select)
{
	int a = bound(0), b = connected_to(a);
	struct timeval none = { 0 }, some = { .tv_sec = 2 };
	fd_set in, out;

	FD_ZERO(&in);
	FD_ZERO(&out);
	FD_SET(a, &in);
	FD_SET(b, &out);
	SAY_CALL("select: %s, in %d out %d", select(200, &in, &out, NULL, &none), !!FD_ISSET(a, &in), !!FD_ISSET(b, &out));
	NEED(send(b, "x", 1, 0) == 1);
	FD_ZERO(&in);
	FD_SET(a, &in);
	SAY_CALL("select: %s, in %d", select(200, &in, NULL, NULL, &some), !!FD_ISSET(a, &in));
}

static void *kill_later(void *thread)
{
	settle();
	pthread_kill(*(pthread_t *)thread, SIGUSR1);
	return NULL;
}

LITMUS(dgram_interrupted)
{
	pthread_t me = pthread_self(), t;
	int a = bound(0);
	char x[8];

	handle(SIGUSR1, 0);
	NEED(setsockopt(a, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){ 0 }, sizeof(struct timeval)) == 0);
	NEED(pthread_create(&t, NULL, kill_later, &me) == 0);
	say("recv: %s", R(recv(a, x, 8, 0)));
	pthread_join(t, NULL);
	say("signals: %d", (int)signals);
}

LITMUS(dgram_by_number)
{
	int a = (int)syscall(SYS_socket, AF_INET, SOCK_DGRAM, 0), b;
	struct sockaddr_in at_any = at("127.0.0.1", 0), to;
	struct iovec iov = { "msg", 3 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	char x[16];
	socklen_t len = sizeof to;

	say("bind: %s", R(syscall(SYS_bind, a, &at_any, sizeof at_any)));
	NEED(syscall(SYS_getsockname, a, &to, &len) == 0);
	b = bound(0);
	say("sendto: %s", R(syscall(SYS_sendto, b, "one", 3, 0, &to, sizeof to)));
	say("connect: %s", R(syscall(SYS_connect, b, &to, sizeof to)));
	say("write: %s", R(syscall(SYS_write, b, "four", 4)));
	say("sendmsg: %s", R(syscall(SYS_sendmsg, b, &m, 0)));
	say("writev: %s", R(syscall(SYS_writev, b, &iov, 1)));
	for (int i = 0; i < 4; i++) {
		await(a, POLLIN);
		iov = (struct iovec){ x, sizeof x };
		say("receive %d: %s", i, i == 0 ? R(syscall(SYS_read, a, x, sizeof x)) :
			i == 1 ? R(syscall(SYS_recvfrom, a, x, sizeof x, 0, NULL, NULL)) :
			i == 2 ? R(syscall(SYS_recvmsg, a, &m, 0)) : R(syscall(SYS_readv, a, &iov, 1)));
	}
}

struct option {
	const char *name;
	int level, option, value;
};

#define O(level, option, value) { #option, level, option, value }

static void say_options(const struct option *o, size_t n, int family)
{
	for (; n; n--, o++) {
		int fd = socket(family, SOCK_DGRAM, 0);
		const char *before = get_option(fd, o->level, o->option);
		const char *set = set_option(fd, o->level, o->option, o->value);

		say("%s %d: %s, set %d: %s, then %s", o->name, o->option, before, o->value, set,
		    get_option(fd, o->level, o->option));
		close(fd);
	}
}

#define SAY(family, ...)                                                          \
	do {                                                                      \
		static const struct option list_[] = { __VA_ARGS__ };             \
		say_options(list_, sizeof list_ / sizeof *list_, family);         \
	} while (0)

LITMUS(dgram_options)
{
	SAY(AF_INET, O(SOL_SOCKET, SO_TYPE, 1), O(SOL_SOCKET, SO_DOMAIN, 1), O(SOL_SOCKET, SO_PROTOCOL, 1),
	    O(SOL_SOCKET, SO_ACCEPTCONN, 1), O(SOL_SOCKET, SO_ERROR, 1), O(SOL_SOCKET, SO_BROADCAST, 1), O(SOL_SOCKET, SO_REUSEADDR, 1),
	    O(SOL_SOCKET, SO_REUSEPORT, 1), O(SOL_SOCKET, SO_KEEPALIVE, 1), O(SOL_SOCKET, SO_SNDBUF, 50000),
	    O(SOL_SOCKET, SO_RCVBUF, 50000), O(SOL_SOCKET, SO_RCVBUF, 100), O(SOL_SOCKET, SO_NO_CHECK, 1), O(SOL_SOCKET, SO_PRIORITY, 3),
	    O(SOL_SOCKET, SO_TIMESTAMP, 1), O(SOL_SOCKET, SO_TIMESTAMPNS, 1), O(SOL_SOCKET, SO_RXQ_OVFL, 1),
	    O(SOL_SOCKET, SO_DONTROUTE, 1), O(SOL_SOCKET, SO_RCVLOWAT, 5), O(SOL_SOCKET, 9999, 1),
	    O(IPPROTO_IP, IP_TOS, 0xb9), O(IPPROTO_IP, IP_TTL, 10), O(IPPROTO_IP, IP_TTL, 0), O(IPPROTO_IP, IP_TTL, 256),
	    O(IPPROTO_IP, IP_MTU_DISCOVER, 2), O(IPPROTO_IP, IP_MTU_DISCOVER, 9), O(IPPROTO_IP, IP_RECVERR, 1),
	    O(IPPROTO_IP, IP_PKTINFO, 1), O(IPPROTO_IP, IP_RECVTTL, 1), O(IPPROTO_IP, IP_RECVTOS, 1), O(IPPROTO_IP, IP_RECVORIGDSTADDR, 1),
	    O(IPPROTO_IP, IP_MULTICAST_TTL, 5), O(IPPROTO_IP, IP_MULTICAST_TTL, -1), O(IPPROTO_IP, IP_MULTICAST_TTL, 256),
	    O(IPPROTO_IP, IP_MULTICAST_LOOP, 0), O(IPPROTO_IP, IP_MULTICAST_ALL, 0), O(IPPROTO_IP, IP_MULTICAST_IF, 0),
	    O(IPPROTO_IP, IP_MTU, 1), O(IPPROTO_IP, IP_HDRINCL, 1), O(IPPROTO_IP, IP_FREEBIND, 1), O(IPPROTO_IP, 999, 1),
	    O(IPPROTO_TCP, TCP_NODELAY, 1), O(IPPROTO_IPV6, IPV6_V6ONLY, 1), O(IPPROTO_UDP, 999, 1));
}

LITMUS(dgram_options6)
{
	SAY(AF_INET6, O(IPPROTO_IPV6, IPV6_V6ONLY, 1), O(IPPROTO_IPV6, IPV6_UNICAST_HOPS, 9), O(IPPROTO_IPV6, IPV6_UNICAST_HOPS, 256),
	    O(IPPROTO_IPV6, IPV6_MULTICAST_HOPS, 9), O(IPPROTO_IPV6, IPV6_MULTICAST_LOOP, 0), O(IPPROTO_IPV6, IPV6_MULTICAST_IF, 0),
	    O(IPPROTO_IPV6, IPV6_TCLASS, 0xb9), O(IPPROTO_IPV6, IPV6_RECVPKTINFO, 1), O(IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1),
	    O(IPPROTO_IPV6, IPV6_RECVTCLASS, 1), O(IPPROTO_IPV6, IPV6_RECVERR, 1), O(IPPROTO_IPV6, IPV6_MTU_DISCOVER, 2),
	    O(IPPROTO_IPV6, IPV6_MTU, 1), O(IPPROTO_IPV6, IPV6_DONTFRAG, 1), O(IPPROTO_IPV6, 999, 1), O(IPPROTO_IP, IP_TTL, 10),
	    O(IPPROTO_IP, IP_TOS, 1), O(IPPROTO_TCP, TCP_NODELAY, 1));
}

LITMUS(dgram_sockets)
{
	static const int kinds[][3] = {
		{ AF_INET, SOCK_DGRAM, IPPROTO_UDP }, { AF_INET, SOCK_DGRAM, IPPROTO_ICMP }, { AF_INET6, SOCK_DGRAM, IPPROTO_ICMPV6 },
		{ AF_INET, SOCK_RAW, IPPROTO_ICMP }, { AF_INET6, SOCK_RAW, IPPROTO_ICMPV6 }, { AF_INET, SOCK_DGRAM, IPPROTO_TCP },
		{ AF_INET6, SOCK_DGRAM, IPPROTO_ICMP }, { AF_INET, SOCK_STREAM, IPPROTO_UDP }, { AF_INET, SOCK_RAW, 0 },
	};

	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		int fd = socket(kinds[i][0], kinds[i][1] | SOCK_CLOEXEC | SOCK_NONBLOCK, kinds[i][2]);

		if (fd < 0) {
			say("%d %d %d: %s", kinds[i][0], kinds[i][1], kinds[i][2], error_name(errno));
			continue;
		}
		say("%d %d %d: type %s protocol %s domain %s, flags %x %x", kinds[i][0], kinds[i][1], kinds[i][2],
		    get_option(fd, SOL_SOCKET, SO_TYPE), get_option(fd, SOL_SOCKET, SO_PROTOCOL), get_option(fd, SOL_SOCKET, SO_DOMAIN),
		    (unsigned)fcntl(fd, F_GETFL) & O_NONBLOCK, (unsigned)fcntl(fd, F_GETFD));
		close(fd);
	}
}

static uint16_t sum(const void *data, size_t n)
{
	const uint8_t *b = data;
	uint32_t s = 0;

	for (size_t i = 0; i < n; i++)
		s += i & 1 ? b[i] : (uint32_t)b[i] << 8;
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return htons((uint16_t)~s);
}

static int ping(int family, int type)
{
	struct timeval limit = { .tv_sec = 3 };
	int fd = socket(family, type, family == AF_INET ? IPPROTO_ICMP : IPPROTO_ICMPV6);

	NEED(fd >= 0);
	NEED(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
	return fd;
}

LITMUS(dgram_ping)
{
	struct sockaddr_in to = at("10.42.0.1", 0), from = { 0 };
	struct {
		struct icmphdr h;
		char text[8];
	} m = { .h = { .type = ICMP_ECHO, .un.echo = { .id = 77, .sequence = htons(5) } }, .text = "payload" }, got = { 0 };
	socklen_t len = sizeof from;
	int fd = ping(AF_INET, SOCK_DGRAM);

	say("echo: %s", R(sendto(fd, &m, sizeof m, 0, (struct sockaddr *)&to, sizeof to)));
	SAY_CALL("reply: %s type %d code %d own id %d sequence %d \"%s\" from port %d", recvfrom(fd, &got, sizeof got, 0, (struct sockaddr *)&from, &len),
		 got.h.type, got.h.code, got.h.un.echo.id == htons((uint16_t)port_of(fd)), ntohs(got.h.un.echo.sequence), got.text, from.sin_port);
	say("connect: %s", R(connect(fd, (struct sockaddr *)&to, sizeof to)));
	say("echo: %s", R(send(fd, &m, sizeof m, 0)));
	SAY_CALL("reply: %s type %d", recv(fd, &got, sizeof got, 0), got.h.type);
	close(fd);
	fd = ping(AF_INET, SOCK_DGRAM);
	say("short: %s", R(sendto(fd, &m, 4, 0, (struct sockaddr *)&to, sizeof to)));
	m.h.type = ICMP_ECHOREPLY;
	say("a reply: %s", R(sendto(fd, &m, sizeof m, 0, (struct sockaddr *)&to, sizeof to)));
	m.h.type = ICMP_ECHO;
	m.h.code = 1;
	say("a code: %s", R(sendto(fd, &m, sizeof m, 0, (struct sockaddr *)&to, sizeof to)));
	m.h.code = 0;
	say("no destination: %s", R(send(fd, &m, sizeof m, 0)));
	close(fd);
	fd = ping(AF_INET, SOCK_DGRAM);
	say("bind: %s", R(bind_to(fd, "127.0.0.1", 1234)));
	say("identifier: %d", port_of(fd));
}

LITMUS(dgram_ping6)
{
	struct sockaddr_in6 to = at6("fd42::1", 0), from = { 0 };
	struct {
		struct icmp6_hdr h;
		char text[8];
	} m = { .h = { .icmp6_type = 128 }, .text = "payload" }, got = { 0 };
	socklen_t len = sizeof from;
	int fd = ping(AF_INET6, SOCK_DGRAM);

	m.h.icmp6_seq = htons(9);
	say("echo: %s", R(sendto(fd, &m, sizeof m, 0, (struct sockaddr *)&to, sizeof to)));
	SAY_CALL("reply: %s type %d sequence %d \"%s\" port %d", recvfrom(fd, &got, sizeof got, 0, (struct sockaddr *)&from, &len),
		 got.h.icmp6_type, ntohs(got.h.icmp6_seq), got.text, from.sin6_port);
}

/* Takes messages until one of the type comes. */
static long await_type(int fd, void *b, size_t n, size_t offset, int type)
{
	long got;

	while ((got = recv(fd, b, n, 0)) > (long)offset)
		if (((unsigned char *)b)[offset] == type)
			return got;
	return got < 0 ? -1 : 0;
}

LITMUS(dgram_raw)
{
	struct sockaddr_in to = at("127.0.0.1", 0);
	struct {
		struct icmphdr h;
		char text[8];
	} m = { .h = { .type = ICMP_ECHO, .un.echo = { .id = htons(77), .sequence = htons(5) } }, .text = "payload" };
	unsigned char got[128];
	struct icmphdr h;
	int fd = ping(AF_INET, SOCK_RAW), filtered = ping(AF_INET, SOCK_RAW), filter = ~(1 << ICMP_ECHOREPLY);

	say("filter: %s", R(setsockopt(filtered, SOL_RAW, ICMP_FILTER, &filter, sizeof filter)));
	m.h.checksum = sum(&m, sizeof m);
	say("echo: %s", R(sendto(fd, &m, sizeof m, 0, (struct sockaddr *)&to, sizeof to)));
	say("request: %s", R(await_type(fd, got, sizeof got, 20, ICMP_ECHO)));
	say("reply: %s", R(await_type(fd, got, sizeof got, 20, ICMP_ECHOREPLY)));
	memcpy(&h, got + 20, sizeof h);
	say("version and length %x, protocol %d, id %d sequence %d checksum %d", got[0], got[9], ntohs(h.un.echo.id), ntohs(h.un.echo.sequence),
	    sum(got + 20, 16) == 0);
	SAY_CALL("first of the filtered: %s type %d", recv(filtered, got, sizeof got, 0), got[20]);
	say("no more: %s", R(recv(filtered, got, sizeof got, MSG_DONTWAIT)));
	say("no destination: %s", R(send(fd, &m, sizeof m, 0)));
}

LITMUS(dgram_raw6)
{
	struct sockaddr_in6 to = at6("::1", 0);
	struct {
		struct icmp6_hdr h;
		char text[8];
	} m = { .h = { .icmp6_type = 128 }, .text = "payload" };
	unsigned char got[128];
	int fd = ping(AF_INET6, SOCK_RAW);

	m.h.icmp6_id = htons(78);
	say("echo: %s", R(sendto(fd, &m, sizeof m, 0, (struct sockaddr *)&to, sizeof to)));
	say("reply: %s", R(await_type(fd, got, sizeof got, 0, 129)));
	say("id %d \"%s\"", got[4] << 8 | got[5], got + 8);
}
