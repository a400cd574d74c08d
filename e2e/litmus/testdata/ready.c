/* SPDX-License-Identifier: Apache-2.0 */
/* What poll, select and epoll say, and when. */
#include "litmus.h"

static int epoll_of(int fd, unsigned events)
{
	int ep = epoll_create1(0);
	struct epoll_event e = { .events = events, .data.fd = fd };

	NEED(ep >= 0 && epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e) == 0);
	return ep;
}

static const char *waited(int ep, int timeout_ms)
{
	struct epoll_event e;
	int n = epoll_wait(ep, &e, 1, timeout_ms);

	if (n < 0)
		return error_name(errno);
	return n ? event_names(e.events) : "-";
}

/* Writability alone is not looked at: TCP says it with every event. */
static const char *waited_in(int ep, int timeout_ms)
{
	struct epoll_event e;
	int n = epoll_wait(ep, &e, 1, timeout_ms);

	if (n < 0)
		return error_name(errno);
	return n ? event_names(e.events & ~(unsigned)EPOLLOUT) : "nothing";
}

LITMUS(epoll_edge)
{
	int c, s, ep;
	char b[16];

	connected(&c, &s);
	ep = epoll_of(s, EPOLLIN | EPOLLET | EPOLLRDHUP);
	say("nothing: %s", waited(ep, 0));
	NEED(send(c, "ab", 2, 0) == 2);
	say("edge: %s", waited(ep, 2000));
	say("no other: %s", waited(ep, 30));
	NEED(recv(s, b, 1, 0) == 1);
	say("not by a short read: %s", waited(ep, 30));
	NEED(send(c, "c", 1, 0) == 1);
	say("new bytes: %s", waited(ep, 2000));
	NEED(recv(s, b, 16, 0) == 2);
	NEED(shutdown(c, SHUT_WR) == 0);
	say("end: %s", waited(ep, 2000));
	say("once: %s", waited(ep, 30));
}

LITMUS(epoll_level)
{
	int c, s, ep;
	char b[16];

	connected(&c, &s);
	ep = epoll_of(s, EPOLLIN | EPOLLOUT);
	say("writable: %s", waited(ep, 0));
	NEED(send(c, "ab", 2, 0) == 2);
	await(s, POLLIN);
	say("both: %s", waited(ep, 0));
	say("again: %s", waited(ep, 0));
	NEED(recv(s, b, 16, 0) == 2);
	say("writable: %s", waited(ep, 0));
	close(c);
	await(s, POLLIN);
	say("end: %s", waited(ep, 0));
	say("shutdown: %s", R(shutdown(s, SHUT_WR)));
	settle();
	say("both ended: %s", waited(ep, 0));
}

LITMUS(epoll_oneshot)
{
	struct epoll_event e = { .events = EPOLLIN | EPOLLONESHOT };
	int c, s, ep;

	connected(&c, &s);
	ep = epoll_of(s, EPOLLIN | EPOLLONESHOT);
	NEED(send(c, "ab", 2, 0) == 2);
	say("first: %s", waited(ep, 2000));
	say("disabled: %s", waited(ep, 30));
	NEED(send(c, "c", 1, 0) == 1);
	say("disabled: %s", waited(ep, 30));
	NEED(epoll_ctl(ep, EPOLL_CTL_MOD, s, &e) == 0);
	say("again: %s", waited(ep, 2000));
}

LITMUS(epoll_nested)
{
	struct epoll_event e = { .events = EPOLLIN };
	int c, s, inner, outer = epoll_create1(0);
	char b[8];

	connected(&c, &s);
	inner = epoll_of(s, EPOLLIN);
	NEED(epoll_ctl(outer, EPOLL_CTL_ADD, inner, &e) == 0);
	say("nothing: %s", waited(outer, 30));
	NEED(send(c, "x", 1, 0) == 1);
	say("outer: %s", waited(outer, 2000));
	say("inner: %s", waited(inner, 0));
	NEED(recv(s, b, 8, 0) == 1);
	say("nothing: %s", waited(outer, 0));
}

LITMUS(epoll_two_sets)
{
	int c, s, a, b;

	connected(&c, &s);
	a = epoll_of(s, EPOLLIN);
	b = epoll_of(s, EPOLLIN | EPOLLET);
	NEED(send(c, "x", 1, 0) == 1);
	say("first: %s", waited(a, 2000));
	say("second: %s", waited(b, 2000));
	say("first again: %s", waited(a, 0));
	say("second again: %s", waited(b, 30));
	say("removed: %s", R(epoll_ctl(a, EPOLL_CTL_DEL, s, NULL)));
	say("first: %s", waited(a, 0));
	say("twice: %s", R(epoll_ctl(b, EPOLL_CTL_ADD, s, &(struct epoll_event){ 0 })));
}

struct shared {
	int ep, go, done, s;
};

static void wait_in_child(void *arg)
{
	struct shared *x = arg;
	char b[8];

	say("child: %s", waited(x->ep, 5000));
	NEED(read(x->s, b, 8) == 1);
	NEED(write(x->done, "x", 1) == 1);
}

LITMUS(epoll_shared_across_fork)
{
	struct shared x;
	int c, p[2];
	char b;
	pid_t pid;

	connected(&c, &x.s);
	NEED(pipe(p) == 0);
	x.done = p[1];
	x.ep = epoll_of(x.s, EPOLLIN);
	pid = child(wait_in_child, &x);
	NEED(send(c, "x", 1, 0) == 1);
	NEED(read(p[0], &b, 1) == 1);
	say("parent: %s", waited(x.ep, 30));
	say("child: %s", wait_for(pid));
	NEED(send(c, "x", 1, 0) == 1);
	say("parent: %s", waited(x.ep, 2000));
}

static void exclusive(void *arg)
{
	struct shared *x = arg;
	struct epoll_event e = { .events = EPOLLIN | EPOLLEXCLUSIVE };
	int ep = epoll_create1(0), fd;

	NEED(epoll_ctl(ep, EPOLL_CTL_ADD, x->s, &e) == 0);
	for (;;) {
		NEED(epoll_wait(ep, &e, 1, 10000) == 1);
		fd = accept4(x->s, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0) {
			NEED(errno == EAGAIN);
			continue;
		}
		if (read(fd, &(char){ 0 }, 1) == 1 && write(x->done, "x", 1) == 1)
			close(fd);
		else
			_exit(0);
	}
}

LITMUS(epoll_exclusive)
{
	struct shared x = { .s = listener("127.0.0.1") };
	int p[2], served = 0;
	pid_t pid[4];
	char b;

	NEED(pipe(p) == 0);
	x.done = p[1];
	nonblocking(x.s, 1);
	for (int i = 0; i < 4; i++)
		pid[i] = child(exclusive, &x);
	for (int i = 0; i < 200; i++) {
		int c = tcp();

		NEED(dial(c, "127.0.0.1", port_of(x.s)) == 0 && write(c, "x", 1) == 1);
		served += read(p[0], &b, 1) == 1;
		NEED(read(c, &b, 1) == 0);
		close(c);
	}
	for (int i = 0; i < 4; i++) {
		int c = tcp();

		NEED(dial(c, "127.0.0.1", port_of(x.s)) == 0);
		close(c);
	}
	for (int i = 0; i < 4; i++)
		say("child: %s", wait_for(pid[i]));
	say("served: %d", served);
}

LITMUS(connect_nonblocking)
{
	int c = tcp(), l = listener("127.0.0.1"), ep, s;

	nonblocking(c, 1);
	ep = epoll_of(c, EPOLLOUT | EPOLLIN | EPOLLET | EPOLLRDHUP);
	(void)waited(ep, 0);
	say("connect: %s", R(dial(c, "127.0.0.1", port_of(l))));
	say("edge: %s", waited(ep, 3000));
	say("SO_ERROR: %s", error_name(pending_error(c)));
	say("connect: %s", R(dial(c, "127.0.0.1", port_of(l))));
	say("connect: %s", R(dial(c, "127.0.0.1", port_of(l))));
	s = accept(l, NULL, NULL);
	say("works: %s %s", exchange(c, s, "hello"), exchange(s, c, "world"));
}

/*
 * A pair that ends says so before it frees what lies in it, which is what makes
 * the other end writable: OUT comes a moment after ERR.
 */
static void await_writable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };

	for (int i = 0; i < 5000; i++) {
		NEED(poll(&p, 1, 5000) == 1);
		if (p.revents & POLLOUT)
			return;
		poll(NULL, 0, 1);
	}
	NEED(!"writable");
}

LITMUS(connect_nonblocking_refused)
{
	int c = tcp(), l = listener("127.0.0.1"), port = port_of(l), ep;
	struct pollfd p = { c, POLLOUT, 0 };
	char b;

	close(l);
	nonblocking(c, 1);
	say("connect: %s", R(dial(c, "127.0.0.1", port)));
	ep = epoll_of(c, EPOLLOUT | EPOLLIN | EPOLLRDHUP);
	await_writable(c);
	say("epoll: %s", waited(ep, 3000));
	SAY_CALL("poll: %s %s", poll(&p, 1, 0), event_names((unsigned)p.revents & (POLLERR | POLLHUP | POLLOUT)));
	say("SO_ERROR: %s", error_name(pending_error(c)));
	say("SO_ERROR: %s", error_name(pending_error(c)));
	say("read: %s", R(read(c, &b, 1)));
	close(c);
	c = tcp();
	nonblocking(c, 1);
	say("connect: %s", R(dial(c, "127.0.0.1", port)));
	await(c, POLLOUT);
	say("read: %s", R(read(c, &b, 1)));
	say("read: %s", R(read(c, &b, 1)));
	close(c);
	c = tcp();
	nonblocking(c, 1);
	say("connect: %s", R(dial(c, "127.0.0.1", port)));
	await(c, POLLOUT);
	say("connect: %s", R(dial(c, "127.0.0.1", port)));
	say("getpeername: %s", R(getpeername(c, (void *)&(struct sockaddr_storage){ 0 }, &(socklen_t){ sizeof(struct sockaddr_storage) })));
}

/* While nothing is decided. */
LITMUS(connect_pending)
{
	struct sockaddr a = { .sa_family = AF_UNSPEC };
	int c = tcp(), l = listener("127.0.0.1");

	nonblocking(c, 1);
	say("connect: %s", R(dial(c, SILENT, 9)));
	say("poll: %s", polled(c, 30));
	say("connect: %s", R(dial(c, SILENT, 9)));
	say("SO_ERROR: %s", error_name(pending_error(c)));
	say("getpeername: %s", R(getpeername(c, (void *)&(struct sockaddr_storage){ 0 }, &(socklen_t){ sizeof(struct sockaddr_storage) })));
	say("listen: %s", R(listen(c, 1)));
	say("read: %s", R(read(c, &(char){ 0 }, 1)));
	say("unspec: %s", R(connect(c, &a, sizeof a)));
	say("connect elsewhere: %s", R(dial(c, "127.0.0.1", port_of(l))));
	await(c, POLLOUT);
	say("SO_ERROR: %s", error_name(pending_error(c)));
	say("works: %s", exchange(c, accept(l, NULL, NULL), "hello"));
	c = tcp();
	nonblocking(c, 1);
	say("connect: %s", R(dial(c, SILENT, 9)));
	say("shutdown: %s", R(shutdown(c, SHUT_RDWR)));
}

LITMUS(connect_interrupted)
{
	struct timeval t = { 0, 80000 };
	int c = tcp();

	handle(SIGALRM, 0);
	setitimer(ITIMER_REAL, &(struct itimerval){ { 0 }, t }, NULL);
	say("connect: %s", R(dial(c, SILENT, 9)));
	say("poll: %s", polled(c, 30));
	nonblocking(c, 1);
	say("connect: %s", R(dial(c, SILENT, 9)));
	close(c);
	c = tcp();
	setsockopt(c, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t);
	say("with a limit: %s", R(dial(c, SILENT, 9)));
	say("poll: %s", polled(c, 30));
	say("again: %s", R(dial(c, SILENT, 9)));
}

/* A socket that tries again stays in the epoll sets it is in. */
LITMUS(connect_again_epoll)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLOUT, .data.u64 = 0x123456789abcdef0 }, got;
	int c = tcp(), l = listener("127.0.0.1"), closed = port_of(l), ep, oneshot;

	close(l);
	nonblocking(c, 1);
	say("connect: %s", R(dial(c, "127.0.0.1", closed)));
	ep = epoll_create1(0);
	oneshot = epoll_create1(0);
	NEED(epoll_ctl(ep, EPOLL_CTL_ADD, c, &ev) == 0);
	ev.events |= EPOLLONESHOT;
	NEED(epoll_ctl(oneshot, EPOLL_CTL_ADD, c, &ev) == 0);
	NEED(epoll_wait(ep, &got, 1, 3000) == 1);
	NEED(epoll_wait(oneshot, &got, 1, 3000) == 1);
	say("SO_ERROR: %s", error_name(pending_error(c)));
	l = listener("127.0.0.1");
	say("connect: %s", R(dial(c, "127.0.0.1", port_of(l))));
	say("connect: %s", R(dial(c, "127.0.0.1", port_of(l))));
	NEED(epoll_wait(ep, &got, 1, 3000) == 1);
	say("epoll: %s, data kept: %d", event_names(got.events), got.data.u64 == ev.data.u64);
	say("SO_ERROR: %s", error_name(pending_error(c)));
	say("oneshot: %d", epoll_wait(oneshot, &got, 1, 0));
	ev.events = EPOLLIN;
	say("mod: %s", R(epoll_ctl(ep, EPOLL_CTL_MOD, c, &ev)));
	say("mod: %s", R(epoll_ctl(oneshot, EPOLL_CTL_MOD, c, &ev)));
	NEED(send(accept(l, NULL, NULL), "x", 1, 0) == 1);
	NEED(epoll_wait(ep, &got, 1, 3000) == 1);
	say("epoll: %s", event_names(got.events));
}

/* The same socket tries again, as those who wait for a server do. */
LITMUS(connect_retry)
{
	int c = tcp(), l, port = free_port();

	say("blocking: %s", R(dial(c, "127.0.0.1", port)));
	say("again: %s", R(dial(c, "127.0.0.1", port)));
	nonblocking(c, 1);
	for (int i = 0; i < 2; i++) {
		say("connect: %s", R(dial(c, "127.0.0.1", port)));
		await(c, POLLOUT);
		say("SO_ERROR: %s", error_name(pending_error(c)));
	}
	l = tcp();
	NEED(bind_to(l, "127.0.0.1", port) == 0 && listen(l, 4) == 0);
	say("connect: %s", R(dial(c, "127.0.0.1", port)));
	await(c, POLLOUT);
	say("SO_ERROR: %s", error_name(pending_error(c)));
	say("works: %s", exchange(c, accept(l, NULL, NULL), "hello"));
}

LITMUS(poll_states)
{
	int c, s, fd = tcp(), l = listener("127.0.0.1");

	say("fresh: %s", polled(fd, 0));
	say("listener: %s", polled(l, 0));
	NEED(dial(fd, "127.0.0.1", port_of(l)) == 0);
	await(l, POLLIN);
	say("acceptable: %s", polled(l, 0));
	connected(&c, &s);
	say("connected: %s", polled(c, 0));
	NEED(send(s, "x", 1, 0) == 1);
	await(c, POLLIN);
	say("readable: %s", polled(c, 0));
	NEED(recv(c, &(char){ 0 }, 1, 0) == 1);
	shutdown(c, SHUT_WR);
	say("shut wr: %s", polled(c, 0));
	await(s, POLLIN);
	say("peer: %s", polled(s, 0));
	shutdown(s, SHUT_WR);
	settle();
	say("both: %s", polled(c, 0));
	say("both, peer: %s", polled(s, 0));
	connected(&c, &s);
	shutdown(c, SHUT_RD);
	say("shut rd: %s", polled(c, 0));
	say("closed: %s", ({ close(c); polled(c, 0); }));
}

/* Calls that move bytes where there is no connection. */
LITMUS(io_unconnected)
{
	int fd = tcp(), l = listener("127.0.0.1");
	char b[128];

	nonblocking(fd, 1);
	nonblocking(l, 1);
	say("read: %s", R(read(fd, b, 1)));
	say("recv: %s", R(recv(fd, b, 1, 0)));
	say("send: %s", R(send(fd, b, 1, MSG_NOSIGNAL)));
	say("listener read: %s", R(read(l, b, 1)));
	say("listener send: %s", R(send(l, b, 1, MSG_NOSIGNAL)));
	NEED(dial(tcp(), "127.0.0.1", port_of(l)) == 0);
	await(l, POLLIN);
	say("listener recv: %s", R(recv(l, b, sizeof b, 0)));
	say("accept: %d", accept(l, NULL, NULL) >= 0);
}

LITMUS(read_unconnected)
{
	struct timeval limit = { 5, 0 };
	socklen_t len = sizeof limit;
	int fd = tcp(), c, s;
	char b;

	say("limit: %d", getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, &len) == 0 && !limit.tv_sec && !limit.tv_usec);
	say("recv that may wait: %s", R(recv(fd, &b, 1, 0)));
	say("read that may wait: %s", R(read(fd, &b, 1)));
	say("recv trunc: %s", R(recv(fd, &b, 1, MSG_TRUNC)));
	limit.tv_sec = 1;
	NEED(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
	say("limit set: %d", getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, &len) == 0 && limit.tv_sec == 1);
	nonblocking(fd, 1);
	say("recv: %s", R(recv(fd, &b, 1, 0)));
	connected(&c, &s);
	say("limit of a connection: %d", getsockopt(c, SOL_SOCKET, SO_RCVTIMEO, &limit, &len) == 0 && !limit.tv_sec && !limit.tv_usec);
	nonblocking(c, 1);
	say("recv of a connection: %s", R(recv(c, &b, 1, 0)));
	NEED(send(s, "x", 1, 0) == 1);
	nonblocking(c, 0);
	say("recv that waits: %s", R(recv(c, &b, 1, 0)));
	nonblocking(fd, 0);
	NEED(dial(fd, "127.0.0.1", port_of(listener("127.0.0.1"))) == 0);
	say("limit kept: %d", getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, &len) == 0 && limit.tv_sec == 1);
}

LITMUS(select_sets)
{
	struct timeval t = { 2, 0 }, zero = { 0, 0 };
	fd_set in, out, bad;
	int c, s;

	connected(&c, &s);
	FD_ZERO(&in);
	FD_ZERO(&out);
	FD_ZERO(&bad);
	FD_SET(s, &in);
	FD_SET(s, &out);
	FD_SET(s, &bad);
	SAY_CALL("select: %s %d %d %d", select(s + 1, &in, &out, &bad, &zero), FD_ISSET(s, &in), FD_ISSET(s, &out), FD_ISSET(s, &bad));
	NEED(send(c, "x", 1, 0) == 1);
	FD_SET(s, &in);
	SAY_CALL("select: %s %d", select(s + 1, &in, NULL, NULL, &t), FD_ISSET(s, &in));
}

/* A full connection is not writable, and becomes so when the peer reads. */
LITMUS(writable_again)
{
	int c, s, ep;
	static char big[1 << 16];
	long sent = 0, got = 0;
	ssize_t n;

	connected(&c, &s);
	nonblocking(c, 1);
	ep = epoll_of(c, EPOLLOUT | EPOLLET);
	say("first: %s", waited(ep, 0));
	for (int idle = 0; idle < 3;) {
		for (idle++; (n = send(c, big, sizeof big, 0)) > 0; idle = 0)
			sent += n;
		poll(NULL, 0, 50);
	}
	say("full: %s", result(n));
	while (epoll_wait(ep, &(struct epoll_event){ 0 }, 1, 0) > 0)
		;
	say("poll: %s", polled(c, 0));
	nonblocking(s, 1);
	while (got < sent) {
		await(s, POLLIN);
		while ((n = recv(s, big, sizeof big, 0)) > 0)
			got += n;
	}
	say("edge: %s", waited(ep, 3000));
	say("all: %d", got == sent);
}

LITMUS(sigio)
{
	int c, s;

	connected(&c, &s);
	handle(SIGIO, SA_RESTART);
	say("owner: %s", R(fcntl(s, F_SETOWN, getpid())));
	say("get: %d", fcntl(s, F_GETOWN) == getpid());
	say("async: %s", R(fcntl(s, F_SETFL, O_ASYNC)));
	NEED(send(c, "x", 1, 0) == 1);
	for (int i = 0; i < 100 && !signals; i++)
		poll(NULL, 0, 10);
	say("signalled: %d", signals > 0);
	say("FIOASYNC: %s", R(ioctl(s, FIOASYNC, &(int){ 0 })));
}

/* POLLRDHUP, and an end of file that comes before and after the bytes were read. */
LITMUS(rdhup)
{
	int c, s, ep;
	char b[8];

	connected(&c, &s);
	ep = epoll_of(s, EPOLLRDHUP | EPOLLIN);
	NEED(send(c, "bytes", 5, 0) == 5);
	close(c);
	await(s, POLLRDHUP);
	say("with bytes: %s", waited_in(ep, 0));
	SAY_CALL("read: %s %s", read(s, b, 8), R(read(s, b, 8)));
	say("without: %s", waited_in(ep, 0));
}
