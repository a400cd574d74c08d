/* SPDX-License-Identifier: Apache-2.0 */
/* Errors that the network reports for datagrams. */
#include "dgram.h"

#include <linux/errqueue.h>

LITMUS(dgram_refused)
{
	int port = free_port(), a = udp();
	struct sockaddr_in dead = at("127.0.0.1", port);
	char x[8];

	NEED(dial(a, "127.0.0.1", port) == 0);
	NEED(send(a, "x", 1, 0) == 1);
	say("recv: %s", R(recv(a, x, 8, 0)));
	say("again: %s", R(recv(a, x, 8, MSG_DONTWAIT)));
	NEED(send(a, "x", 1, 0) == 1);
	settle();
	say("send: %s", R(send(a, "x", 1, 0)));
	say("again: %s", R(send(a, "x", 1, 0)));
	settle();
	say("SO_ERROR: %s", error_name(pending_error(a)));
	say("again: %d", pending_error(a));
	NEED(write(a, "x", 1) == 1);
	settle();
	say("read: %s", R(read(a, x, 8)));
	NEED(write(a, "x", 1) == 1);
	settle();
	say("sendto: %s", R(sendto(a, "x", 1, 0, (struct sockaddr *)&dead, sizeof dead)));
	close(a);
	a = udp();
	say("unconnected: %s", R(to(a, "x", 1, "127.0.0.1", port)));
	settle();
	say("unconnected recv: %s", R(recv(a, x, 8, MSG_DONTWAIT)));
	say("unconnected send: %s", R(to(a, "x", 1, "127.0.0.1", port)));
	say("unconnected SO_ERROR: %d", pending_error(a));
}

LITMUS(dgram_refused_blocking)
{
	int port = free_port(), a = udp6();
	struct sockaddr_in6 dead = at6("::1", port);
	char x[8];

	NEED(connect(a, (struct sockaddr *)&dead, sizeof dead) == 0);
	NEED(send(a, "x", 1, 0) == 1);
	say("recv: %s", R(recv(a, x, 8, 0)));
	NEED(send(a, "x", 1, 0) == 1);
	settle();
	say("poll: %s", polled(a, 1000));
}

/* Calls that could have an address are told, in every lane. */
LITMUS(dgram_refused_named)
{
	int port = free_port(), a = udp();
	struct sockaddr_in from = at("127.0.0.1", port);
	struct iovec iov = { "x", 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct mmsghdr two[2] = { { .msg_hdr = m }, { .msg_hdr = m } };
	socklen_t len = sizeof from;
	char x[8];

	NEED(dial(a, "127.0.0.1", port) == 0);
	NEED(send(a, "x", 1, 0) == 1);
	say("recvfrom: %s", R(recvfrom(a, x, 8, 0, (struct sockaddr *)&from, &len)));
	NEED(send(a, "x", 1, 0) == 1);
	settle();
	say("sendmsg: %s", R(sendmsg(a, &m, 0)));
	say("sendmsg again: %s", R(sendmsg(a, &m, 0)));
	settle();
	say("sendmmsg: %s", R(sendmmsg(a, two, 2, 0)));
	NEED(send(a, "x", 1, 0) == 1);
	settle();
	iov.iov_base = x;
	say("recvmsg: %s", R(recvmsg(a, &m, 0)));
	say("and no more: %s", R(recvmsg(a, &m, MSG_DONTWAIT)));
}

/* Who waits for a datagram of its peer is woken by a refusal, and told. */
LITMUS(dgram_refused_waiting)
{
	int port = free_port(), a = udp(), set = epoll_create1(0);
	struct timeval limit = { .tv_usec = 300000 };
	struct epoll_event e = { .events = EPOLLIN | EPOLLRDHUP | EPOLLET };
	char x[8];

	NEED(dial(a, "127.0.0.1", port) == 0);
	NEED(epoll_ctl(set, EPOLL_CTL_ADD, a, &e) == 0);
	NEED(send(a, "x", 1, 0) == 1);
	settle();
	e.events = 0;
	say("epoll: %s", R(epoll_wait(set, &e, 1, 300)));
	say("says: %s", event_names(e.events & EPOLLERR));
	NEED(setsockopt(a, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
	say("read: %s", R(read(a, x, sizeof x)));
	NEED(send(a, "x", 1, 0) == 1);
	settle();
	say("SO_ERROR: %s", error_name(pending_error(a)));
}

/* A write without a destination is told of, at once or by SO_ERROR. */
LITMUS(dgram_lost_write)
{
	int a = udp();
	long n = write(a, "x", 1);
	int told = n < 0 && errno == EDESTADDRREQ;

	settle();
	say("told: %d", told || pending_error(a) == EDESTADDRREQ);
	say("and no more: %d", pending_error(a));
}

static void say_extended(const char *what, int fd, int level, int option)
{
	char b[64] = "", control[256];
	struct sockaddr_storage name = { 0 };
	struct iovec iov = { b, sizeof b - 1 };
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_name = &name, .msg_namelen = sizeof name,
		.msg_control = control, .msg_controllen = sizeof control,
	};
	const char *r = R(recvmsg(fd, &m, MSG_ERRQUEUE));

	say("%s: %s \"%s\"", what, r, b);
	if (*r < '0' || *r > '9')
		return;
	say("%s: flags %x, sent to %s", what, (unsigned)m.msg_flags, address(&name, m.msg_namelen));
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
		struct sock_extended_err e;

		if (c->cmsg_level != level || c->cmsg_type != option)
			continue;
		memcpy(&e, CMSG_DATA(c), sizeof e);
		say("%s: %s origin %d type %d code %d info %u by %s", what, error_name((int)e.ee_errno), e.ee_origin, e.ee_type,
		    e.ee_code, e.ee_info, address(SO_EE_OFFENDER((struct sock_extended_err *)CMSG_DATA(c)), c->cmsg_len - CMSG_LEN(sizeof e)));
	}
}

LITMUS(dgram_error_queue)
{
	int port = free_port(), a = udp();
	char x[8];

	say("IP_RECVERR: %s", set_option(a, IPPROTO_IP, IP_RECVERR, 1));
	NEED(to(a, "first", 5, "127.0.0.1", port) == 5);
	settle();
	say("recv: %s", R(recv(a, x, 8, 0)));
	say_extended("queue", a, IPPROTO_IP, IP_RECVERR);
	say_extended("empty", a, IPPROTO_IP, IP_RECVERR);
	NEED(to(a, "second", 6, "127.0.0.1", port) == 6);
	settle();
	say_extended("queue first", a, IPPROTO_IP, IP_RECVERR);
	say("recv after: %s", R(recv(a, x, 8, MSG_DONTWAIT)));
}

/* What poll and ppoll say of a socket with something in its error queue, and of others beside it. */
static void say_polls(const char *what, int fd, int other)
{
	struct timespec limit = { .tv_sec = 5 }, none = { 0 };
	struct pollfd p[3] = { { .fd = other, .events = POLLIN }, { .fd = -1, .events = POLLIN }, { .fd = fd, .events = POLLIN | POLLERR } };

	say("%s, poll: %s", what, R(poll(p, 3, 5000)));
	say("%s, poll: %s, %s", what, event_names((unsigned)p[0].revents), event_names((unsigned)p[2].revents));
	p[2].events = POLLIN | POLLRDNORM | POLLOUT;
	say("%s, ppoll: %s", what, R(ppoll(p, 3, &limit, NULL)));
	say("%s, ppoll: %s, %s", what, event_names((unsigned)p[0].revents), event_names((unsigned)p[2].revents));
	p[2].events = POLLIN;
	say("%s, by number: %s", what, R(syscall(SYS_ppoll, p, 3L, &none, NULL, 0L)));
	say("%s, by number: %s", what, event_names((unsigned)p[2].revents));
}

LITMUS(dgram_error_poll)
{
	int port = free_port(), a = udp(), b = udp(), c = udp6();
	struct sockaddr_in6 dead = at6("::1", port);
	char x[8];

	NEED(bind_to(b, "127.0.0.1", 0) == 0);
	NEED(!strcmp(set_option(a, IPPROTO_IP, IP_RECVERR, 1), "0"));
	NEED(dial(a, "127.0.0.1", port) == 0 && send(a, "first", 5, 0) == 5);
	say_polls("refused", a, b);
	say_extended("refused", a, IPPROTO_IP, IP_RECVERR);
	say("taken: %s", polled(a, 0));
	say("empty: %s", R(recv(a, x, 8, MSG_DONTWAIT)));
	NEED(to(b, "x", 1, "127.0.0.1", port_of(b)) == 1);
	say_polls("a datagram", b, a);
	NEED(!strcmp(set_option(c, IPPROTO_IPV6, IPV6_RECVERR, 1), "0"));
	NEED(sendto(c, "x", 1, 0, (struct sockaddr *)&dead, sizeof dead) == 1);
	say_polls("IPv6, no peer", c, a);
	say_extended("IPv6, no peer", c, IPPROTO_IPV6, IPV6_RECVERR);
	say_extended("IPv6, no peer", c, IPPROTO_IPV6, IPV6_RECVERR);
	say("IPv6, taken: %s", polled(c, 0));
}

LITMUS(dgram_error_queue6)
{
	int port = free_port(), a = udp6();
	char x[8];

	say("IPV6_RECVERR: %s", set_option(a, IPPROTO_IPV6, IPV6_RECVERR, 1));
	NEED(to6(a, "first", 5, "::1", port) == 5);
	settle();
	say("recv: %s", R(recv(a, x, 8, 0)));
	say_extended("queue", a, IPPROTO_IPV6, IPV6_RECVERR);
}
