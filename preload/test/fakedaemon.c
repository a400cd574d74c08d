/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small daemon that keeps the contract of shm/abi.h with canned behaviour
 * (fake.h), and the launcher of a test:
 *
 *	fakedaemon [SHIM] -- PROGRAM ARGS
 *
 * The child serves until its parent dies; the parent attaches, sets the
 * environment and becomes the program, preloaded with SHIM if one is named.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "../../shm/abi.h"
#include "fake.h"

enum state { IDLE, CONNECTING, CONNECTED, LISTENING, CLOSED, DATAGRAM, NETLINK };

struct option {
	int level, name;
	unsigned len;
	unsigned char value[NC_OPT_MAX];
};

struct sock {
	struct sock *next;
	__u64 cookie;
	int fd; /* our end, -1: a tombstone */
	int family;
	enum state state;
	int so_error;
	unsigned filler;
	int waiter;	    /* reply socket of NC_F_WAIT, or -1 */
	int waits;
	int told;      /* connect has said that it failed */
	int unclaimed; /* connected, and connect has not said so yet */
	int due; /* outcome to be told as soon as the request is answered */
	int outcome;
	struct nc_addr local, peer;
	unsigned wants;
	int verdict;
	int deliver; /* connections still to be delivered */
	int delivered;
	int noptions;
	struct option options[8];
};

static struct sock *socks;
static int attached[256];
static int nattached;
static int listener, ep, requests, last_filler;

static void die(const char *what)
{
	perror(what);
	_exit(2);
}

static struct sock *find(__u64 cookie)
{
	for (struct sock *s = socks; s; s = s->next)
		if (s->cookie == cookie)
			return s;
	return NULL;
}

static __u64 cookie_of(int fd)
{
	__u64 cookie = 0;
	socklen_t len = sizeof cookie;

	if (getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len) < 0)
		die("SO_COOKIE");
	return cookie;
}

static void watch(struct sock *s, unsigned events, int op)
{
	struct epoll_event e = { .events = events, .data.ptr = s };

	if (epoll_ctl(ep, op, s->fd, &e) < 0)
		die("epoll_ctl");
}

static struct sock *add(__u64 cookie, int fd, int family, enum state state)
{
	struct sock *s = calloc(1, sizeof *s);

	*s = (struct sock){ .next = socks, .cookie = cookie, .fd = fd, .family = family, .state = state, .waiter = -1 };
	s->local.family = (__u16)family;
	socks = s;
	watch(s, state == CONNECTED || state == DATAGRAM || state == NETLINK ? EPOLLIN | EPOLLRDHUP : 0, EPOLL_CTL_ADD);
	return s;
}

/* The application's end is gone, or the attempt failed: only answers remain. */
static void bury(struct sock *s)
{
	if (s->waiter >= 0)
		close(s->waiter);
	close(s->fd);
	s->fd = s->waiter = -1;
	s->due = 0;
	s->state = CLOSED;
}

static void reply(int fd, const struct nc_reply *rp)
{
	(void)!send(fd, rp, sizeof *rp, MSG_NOSIGNAL | MSG_DONTWAIT);
	close(fd);
}

static void discard(struct sock *s)
{
	char junk[65536];

	while (s->filler) {
		ssize_t n = recv(s->fd, junk, s->filler < sizeof junk ? s->filler : sizeof junk, MSG_DONTWAIT);

		if (n <= 0)
			die("announced filler is not there");
		for (ssize_t i = 0; i < n; i++)
			if (junk[i])
				die("filler is not zero");
		s->filler -= (unsigned)n;
	}
}

static void decide(struct sock *s)
{
	struct nc_reply rp = { .magic = NC_MAGIC, .error = s->outcome };
	int waiter = s->waiter;

	s->due = 0;
	s->waiter = -1;
	if (!s->outcome) {
		discard(s);
		s->state = CONNECTED;
		s->unclaimed = waiter < 0;
		watch(s, EPOLLIN | EPOLLRDHUP, EPOLL_CTL_MOD);
	} else if (waiter >= 0 && !s->filler) {
		s->state = IDLE;
	} else {
		s->so_error = s->outcome;
		bury(s);
	}
	if (waiter >= 0)
		reply(waiter, &rp);
}

static int taken_error(struct sock *s)
{
	int e = s->so_error;

	s->so_error = 0;
	return e;
}

/* 0, or what connect says in this state. */
static int may_connect(struct sock *s)
{
	switch (s->state) {
	case CONNECTING:
		return EALREADY;
	case CONNECTED:
	case LISTENING:
		return EISCONN;
	case CLOSED:
		return s->so_error ? taken_error(s) : ECONNABORTED;
	default:
		return 0;
	}
}

static void do_connect(struct sock *s, const struct nc_request *rq, struct nc_reply *rp, int *reply_fd)
{
	int port = ntohs(rq->addr.port);

	rp->error = may_connect(s);
	if (s->state == CLOSED) {
		rp->value = s->told;
		s->told = 1;
	}
	if (rq->flags & NC_F_PROBE)
		return;
	if (rq->flags & NC_F_HOLD)
		return;
	if (rq->flags & NC_F_FILLED) {
		s->filler += rq->filler;
		rp->error = 0;
		return;
	}
	last_filler = (int)rq->filler;
	if (s->state == CONNECTED && s->unclaimed) {
		if (rq->filler)
			die("filler on a connection");
		s->unclaimed = rp->error = 0;
		return;
	}
	if (rp->error == EALREADY && (rq->flags & NC_F_WAIT)) {
		/* The one before may be gone by a signal. */
		if (s->waiter >= 0)
			reply(s->waiter, rp);
		rp->error = 0;
		s->waits++;
		s->waiter = *reply_fd;
		*reply_fd = -1;
		return;
	}
	if (!rq->addr.family)
		rp->error = EOPNOTSUPP;
	else if (!rp->error && rq->addr.family != s->family)
		rp->error = EAFNOSUPPORT;
	else if (!rp->error && rq->addr.family == AF_INET && rq->addr.ip[0] >= 240)
		rp->error = ENETUNREACH;
	s->filler += rq->filler;
	if (rp->error) {
		if (s->state != CONNECTING && s->fd >= 0)
			discard(s);
		return;
	}
	s->peer = rq->addr;
	s->state = CONNECTING;
	s->outcome = port == FAKE_REFUSE || port == FAKE_REFUSE_HELD ? ECONNREFUSED : 0;
	s->due = port == FAKE_ECHO || port == FAKE_REFUSE;
	if (rq->flags & NC_F_WAIT) {
		s->waits++;
		s->waiter = *reply_fd;
		*reply_fd = -1;
	} else {
		rp->error = EINPROGRESS;
	}
}

/* A record without descriptor on a listener's pair. */
static void reply_record(int fd, const struct nc_accept *a)
{
	(void)!send(fd, a, sizeof *a, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static int send_accept(struct sock *l, int fd)
{
	union {
		char room[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct nc_accept a = { .magic = NC_MAGIC, .cookie = cookie_of(fd), .local = l->local };
	struct iovec iov = { &a, sizeof a };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	ssize_t n;

	a.peer = (struct nc_addr){ .family = (__u16)l->family, .port = htons((__u16)(FAKE_PEER_PORT + l->delivered)) };
	if (l->family == AF_INET)
		memcpy(a.peer.ip, "\xc0\x00\x02\x01", 4);
	else
		a.peer.ip[15] = 1;
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof fd);
	n = sendmsg(l->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n < 0 && errno != EAGAIN && errno != ETOOMANYREFS)
		l->deliver = 0;
	return n == (ssize_t)sizeof a;
}

static void deliver(struct sock *l)
{
	while (l->deliver > 0 && l->fd >= 0) {
		int pair[2];
		struct sock *s;

		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
			break;
		s = add(cookie_of(pair[0]), pair[1], l->family, CONNECTED);
		s->local = l->local;
		if (write(pair[1], "", 1) != 1 || !send_accept(l, pair[0])) {
			socks = s->next;
			close(pair[1]);
			free(s);
			close(pair[0]);
			break;
		}
		close(pair[0]);
		l->deliver--;
		l->delivered++;
	}
}

static void put_int(struct nc_reply *rp, unsigned room, int value)
{
	memcpy(rp->opt, &value, sizeof value);
	rp->optlen = room < sizeof value ? room : sizeof value;
}

static void do_getsockopt(struct sock *s, const struct nc_request *rq, struct nc_reply *rp)
{
	if (rq->level == FAKE_LEVEL) {
		int live = 0;

		for (struct sock *i = socks; i; i = i->next)
			live += i->fd >= 0;
		put_int(rp, rq->optlen,
			rq->option == FAKE_REQUESTS ? requests - 1
			: rq->option == FAKE_FILLER ? last_filler
			: rq->option == FAKE_WAITS  ? s->waits
						    : live);
		return;
	}
	if (rq->level == SOL_SOCKET && rq->option == SO_ERROR) {
		put_int(rp, rq->optlen, taken_error(s));
		return;
	}
	if (rq->level == SOL_SOCKET && rq->option == SO_DOMAIN) {
		put_int(rp, rq->optlen, s->family);
		return;
	}
	for (int i = 0; i < s->noptions; i++) {
		struct option *o = &s->options[i];

		if (o->level != rq->level || o->name != rq->option)
			continue;
		memcpy(rp->opt, o->value, o->len);
		rp->optlen = o->len;
		return;
	}
	rp->error = ENOPROTOOPT;
}

static void do_setsockopt(struct sock *s, const struct nc_request *rq, struct nc_reply *rp)
{
	struct option *o;

	if (rq->level == FAKE_LEVEL && rq->option == FAKE_DELIVER) {
		int n;

		memcpy(&n, rq->opt, sizeof n);
		s->deliver += n;
		deliver(s);
		return;
	}
	if (rq->level == FAKE_LEVEL && rq->option == FAKE_RESET) {
		s->so_error = ECONNRESET;
		bury(s);
		return;
	}
	if (rq->level == FAKE_LEVEL && rq->option == FAKE_DECIDE) {
		s->due = s->state == CONNECTING;
		return;
	}
	if (s->noptions == 8 || rq->optlen > NC_OPT_MAX) {
		rp->error = ENOPROTOOPT;
		return;
	}
	o = &s->options[s->noptions++];
	*o = (struct option){ .level = rq->level, .name = rq->option, .len = rq->optlen };
	memcpy(o->value, rq->opt, rq->optlen);
}

static void do_shutdown(struct sock *s, struct nc_reply *rp, int how)
{
	struct nc_accept ended = { .magic = NC_MAGIC, .ended = 1 };

	if (s->state == LISTENING && how != SHUT_WR) {
		s->state = IDLE;
		s->deliver = 0;
		reply_record(s->fd, &ended);
	} else if (s->state != CONNECTED && s->state != LISTENING)
		rp->error = ENOTCONN;
}

static void do_take_error(struct sock *s, struct nc_reply *rp)
{
	rp->value = taken_error(s);
}

/* The old one's family goes to the new one, and the old one is gone. */
static void do_revive(struct sock *old, const struct nc_request *rq, struct nc_reply *rp, int fd)
{
	if (!old || old->state != CLOSED) {
		rp->error = ECONNABORTED;
		close(fd);
		return;
	}
	add(rq->successor, fd, old->family, IDLE);
}

/* Sends a record back; 0 when there was none. */
static int echo_datagram(struct sock *s)
{
	static char payload[NC_PAYLOAD_MAX + 1];
	struct nc_datagram h;
	struct iovec iov[2] = { { &h, sizeof h }, { payload, sizeof payload } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };
	ssize_t n = recvmsg(s->fd, &msg, MSG_DONTWAIT);

	if (n <= 0)
		return 0;
	if (n < (ssize_t)sizeof h || h.magic != NC_MAGIC || h.flags & ~(NC_D_TTL | NC_D_TOS | NC_D_REPORT))
		die("bad datagram");
	if (!h.remote.family && !s->peer.family)
		die("datagram to nobody");
	s->verdict = h.remote.family == AF_INET && h.remote.ip[0] >= 240 ? ENETUNREACH : 0;
	if (s->verdict)
		return 1;
	iov[1].iov_len = (size_t)n - sizeof h;
	if (!h.remote.family)
		h.remote = s->peer;
	if (!h.local.family)
		h.local = s->local;
	h.error = h.remote.port == htons(FAKE_REFUSE) ? ECONNREFUSED : 0;
	if (h.error)
		iov[1].iov_len = 0;
	h.local.scope = 2;
	h.ttl = h.flags & NC_D_TTL ? h.ttl : 61;
	h.tos = h.flags & NC_D_TOS ? h.tos : 5;
	h.flags = s->wants;
	h.drops = 3;
	h.time = FAKE_TIME;
	h.cookie = s->cookie;
	(void)!sendmsg(s->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	return 1;
}

/* What was cause and what of it was quoted, always the same. */
static void do_error_queue(struct sock *s, struct nc_reply *rp)
{
	struct nc_cause c = { .error = EHOSTUNREACH, .origin = 2, .type = 3, .code = 1, .quoted = 4, .offender = s->peer };

	memcpy(rp->opt, &c, sizeof c);
	memcpy(rp->opt + sizeof c, "mine", 4);
	rp->optlen = sizeof c + 4;
	rp->addr = s->peer;
}

/* 1 if the request is one of datagram sockets alone. */
static int handle_datagram(struct sock *s, const struct nc_request *rq, struct nc_reply *rp)
{
	while (echo_datagram(s))
		;
	switch (rq->op) {
	case NC_CONNECT:
		if (rq->addr.family == AF_INET && rq->addr.ip[0] >= 240)
			rp->error = ENETUNREACH;
		else
			s->peer = rq->addr;
		return 1;
	case NC_LISTEN:
		rp->error = EOPNOTSUPP;
		return 1;
	case NC_SHUTDOWN:
		rp->error = s->peer.family ? 0 : ENOTCONN;
		return 1;
	case NC_GETPEERNAME:
		rp->error = s->peer.family ? 0 : ENOTCONN;
		rp->addr = s->peer;
		return 1;
	case NC_VERDICT:
		rp->error = s->verdict;
		return 1;
	case NC_ERROR_QUEUE:
		do_error_queue(s, rp);
		return 1;
	case NC_SETSOCKOPT:
		if (rq->level != FAKE_LEVEL || rq->option != FAKE_WANT)
			return 0;
		memcpy(&s->wants, rq->opt, sizeof s->wants);
		return 1;
	}
	return 0;
}

static void *put_message(struct nlmsghdr *m, int kind, size_t size)
{
	*m = (struct nlmsghdr){ .nlmsg_type = (__u16)kind, .nlmsg_flags = NLM_F_MULTI, .nlmsg_len = (__u32)NLMSG_LENGTH(size) };
	return memset(NLMSG_DATA(m), 0, NLMSG_ALIGN(size));
}

static void put_attribute(struct nlmsghdr *m, int kind, const void *value, size_t size)
{
	struct rtattr *a = (void *)((char *)m + NLMSG_ALIGN(m->nlmsg_len));

	a->rta_type = (unsigned short)kind;
	a->rta_len = (unsigned short)RTA_LENGTH(size);
	memcpy(RTA_DATA(a), value, size);
	m->nlmsg_len = NLMSG_ALIGN(m->nlmsg_len) + RTA_LENGTH(size);
}

/* One record per interface, or address, and one that ends the list. */
static int list_interfaces(struct sock *s)
{
	static const struct {
		const char *name;
		struct ifaddrmsg address;
	} interfaces[] = {
		{ "lo", { .ifa_family = AF_INET6, .ifa_prefixlen = 128, .ifa_scope = RT_SCOPE_HOST, .ifa_index = 1 } },
		{ "eth0", { .ifa_family = AF_INET6, .ifa_prefixlen = 64, .ifa_index = 2 } },
	};
	static const struct in6_addr loopback = IN6ADDR_LOOPBACK_INIT, web = { { FAKE_WEB6 } };
	union {
		struct nlmsghdr header;
		char room[256];
	} m;

	if (recv(s->fd, &m, sizeof m, MSG_DONTWAIT) < (ssize_t)sizeof m.header)
		return 0;
	int links = m.header.nlmsg_type == RTM_GETLINK;

	for (size_t i = 0; i < sizeof interfaces / sizeof *interfaces; i++) {
		if (links) {
			struct ifinfomsg *info = put_message(&m.header, RTM_NEWLINK, sizeof *info);

			info->ifi_index = (int)interfaces[i].address.ifa_index;
			put_attribute(&m.header, IFLA_IFNAME, interfaces[i].name, strlen(interfaces[i].name) + 1);
		} else {
			struct ifaddrmsg *info = put_message(&m.header, RTM_NEWADDR, sizeof *info);

			*info = interfaces[i].address;
			put_attribute(&m.header, IFA_ADDRESS, i ? &web : &loopback, sizeof web);
		}
		(void)!send(s->fd, &m, m.header.nlmsg_len, MSG_NOSIGNAL | MSG_DONTWAIT);
	}
	(void)put_message(&m.header, NLMSG_DONE, sizeof(int));
	(void)!send(s->fd, &m, m.header.nlmsg_len, MSG_NOSIGNAL | MSG_DONTWAIT);
	return 1;
}

static void restart(void)
{
	for (struct sock *s = socks, *next; s; s = next) {
		next = s->next;
		if (s->fd >= 0)
			bury(s);
		free(s);
	}
	socks = NULL;
	while (nattached)
		close(attached[--nattached]);
}

static void put_found(struct nc_reply *rp, int family, const void *ip)
{
	struct nc_found f = { .family = (__u16)family };

	memcpy(f.ip, ip, family == AF_INET ? 4 : 16);
	memcpy(rp->opt + (size_t)rp->value * sizeof f, &f, sizeof f);
	rp->value++;
	rp->optlen = (__u32)(rp->value * (int)sizeof f);
}

/* The names of fake.h. */
static void do_resolve(const struct nc_request *rq, struct nc_reply *rp)
{
	char name[NC_OPT_MAX + 1] = "";
	unsigned char v4[4] = FAKE_WEB4, v6[16] = FAKE_WEB6;

	if (rq->addr.family) {
		int web = rq->addr.family == AF_INET ? !memcmp(rq->addr.ip, v4, 4) : !memcmp(rq->addr.ip, v6, 16);

		rp->error = web ? 0 : ENOENT;
		rp->optlen = sizeof FAKE_WEB_NAME - 1;
		memcpy(rp->opt, FAKE_WEB_NAME, rp->optlen);
		return;
	}
	if (rq->optlen > NC_OPT_MAX)
		die("name too long");
	memcpy(name, rq->opt, rq->optlen);
	if (!strcmp(name, FAKE_LATER)) {
		rp->error = EAGAIN;
	} else if (!strcmp(name, FAKE_LIAR)) {
		rp->value = NC_OPT_MAX;
	} else if (strcmp(name, FAKE_WEB) && strcmp(name, FAKE_FOUR) && strcmp(name, FAKE_MANY)) {
		rp->error = ENOENT;
	} else if (!strcmp(name, FAKE_FOUR) && rq->family == AF_INET6) {
		rp->error = ENODATA;
	} else {
		int n = strcmp(name, FAKE_MANY) ? 1 : NC_OPT_MAX / (int)sizeof(struct nc_found);

		for (int i = 0; i < n && rq->family != AF_INET6; i++, v4[3]++)
			put_found(rp, AF_INET, v4);
		if (n == 1 && rq->family != AF_INET && strcmp(name, FAKE_FOUR))
			put_found(rp, AF_INET6, v6);
	}
}

static void handle(const struct nc_request *rq, int reply_fd, int sock_fd)
{
	struct nc_reply rp = { .magic = NC_MAGIC };
	struct sock *s = find(rq->cookie);

	requests++;
	if (rq->op == NC_SOCKET) {
		add(rq->cookie, sock_fd, rq->family, rq->level == SOCK_DGRAM || rq->level == SOCK_RAW ? DATAGRAM : IDLE);
		reply(reply_fd, &rp);
		return;
	}
	if (rq->op == NC_NETLINK) {
		add(rq->cookie, sock_fd, AF_NETLINK, NETLINK);
		reply(reply_fd, &rp);
		return;
	}
	if (rq->op == NC_REVIVE) {
		do_revive(s, rq, &rp, sock_fd);
		reply(reply_fd, &rp);
		return;
	}
	if (rq->op == NC_RESOLVE) {
		do_resolve(rq, &rp);
		reply(reply_fd, &rp);
		return;
	}
	if (!s) {
		rp.error = NC_NOT_OURS;
		reply(reply_fd, &rp);
		return;
	}
	if (s->state == DATAGRAM && handle_datagram(s, rq, &rp)) {
		reply(reply_fd, &rp);
		return;
	}
	switch (rq->op) {
	case NC_BIND:
		if (rq->addr.family != s->family)
			rp.error = s->family == AF_INET6 ? EINVAL : EAFNOSUPPORT;
		else
			s->local = rq->addr;
		break;
	case NC_LISTEN:
		rp.error = s->state == IDLE || s->state == LISTENING ? 0 : EINVAL;
		if (!rp.error)
			s->state = LISTENING;
		break;
	case NC_CONNECT:
		do_connect(s, rq, &rp, &reply_fd);
		break;
	case NC_SHUTDOWN:
		if (!(rq->flags & NC_F_PROBE))
			do_shutdown(s, &rp, rq->value);
		else if (s->state == IDLE)
			reply_record(s->fd, &(struct nc_accept){ .magic = NC_MAGIC, .ended = 1 });
		break;
	case NC_GETSOCKNAME:
		rp.addr = s->local;
		break;
	case NC_GETPEERNAME:
		rp.addr = s->peer;
		rp.error = s->state == CONNECTED ? 0 : ENOTCONN;
		break;
	case NC_GETSOCKOPT:
		do_getsockopt(s, rq, &rp);
		break;
	case NC_SETSOCKOPT:
		do_setsockopt(s, rq, &rp);
		break;
	case NC_TAKE_ERROR:
		do_take_error(s, &rp);
		break;
	case NC_OUTQ:
		rp.value = FAKE_OUTQ + rq->value;
		break;
	}
	if (reply_fd >= 0)
		reply(reply_fd, &rp);
	if (rq->op == NC_SETSOCKOPT && rq->level == FAKE_LEVEL && rq->option == FAKE_DIE)
		_exit(0);
	if (rq->op == NC_SETSOCKOPT && rq->level == FAKE_LEVEL && rq->option == FAKE_RESTART)
		restart();
}

/* 0 when the attach socket ended. */
static int serve(int fd)
{
	union {
		char room[CMSG_SPACE(2 * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct nc_request rq;
	struct iovec iov = { &rq, sizeof rq };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
	ssize_t n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	int fds[2] = { -1, -1 };

	if (n < 0)
		return errno == EAGAIN;
	if (n == 0)
		return 0;
	if (n != (ssize_t)sizeof rq || rq.magic != NC_MAGIC || !rq.op || rq.op >= NC_OP_END || !c)
		die("bad request");
	memcpy(fds, CMSG_DATA(c), c->cmsg_len - CMSG_LEN(0));
	if ((fds[1] >= 0) != (rq.op == NC_SOCKET || rq.op == NC_REVIVE || rq.op == NC_NETLINK))
		die("wrong descriptors");
	handle(&rq, fds[0], fds[1]);
	return 1;
}

static void attach(void)
{
	struct nc_reply rp = { .magic = NC_MAGIC };
	struct nc_attach hello = { 0 };
	struct epoll_event e = { .events = EPOLLIN };
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		die("accept");
	if (recv(fd, &hello, sizeof hello, 0) != (ssize_t)sizeof hello || hello.magic != NC_MAGIC ||
	    strcmp(hello.container, FAKE_CONTAINER) != 0)
		rp.error = EPERM;
	(void)!send(fd, &rp, sizeof rp, MSG_NOSIGNAL);
	if (nattached == 256)
		die("too many attached");
	attached[nattached++] = fd;
	e.data.ptr = &attached[nattached - 1];
	if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e) < 0)
		die("epoll_ctl");
}

static void echo(struct sock *s, unsigned events)
{
	char buf[16384];
	ssize_t n = recv(s->fd, buf, sizeof buf, MSG_DONTWAIT);

	if (n > 0) {
		for (ssize_t off = 0, w; off < n; off += w) {
			struct pollfd p = { s->fd, POLLOUT, 0 };

			w = send(s->fd, buf + off, (size_t)(n - off), MSG_NOSIGNAL | MSG_DONTWAIT);
			if (w < 0 && errno != EAGAIN)
				break;
			if (w < 0) {
				w = 0;
				poll(&p, 1, 1000);
			}
		}
	} else if (n == 0 && !(events & EPOLLHUP)) {
		shutdown(s->fd, SHUT_WR);
		watch(s, 0, EPOLL_CTL_MOD);
	} else if (n == 0 || errno != EAGAIN) {
		bury(s);
	}
}

static void on_sock(struct sock *s, unsigned events)
{
	if (s->fd < 0)
		return;
	if (s->state == CONNECTED)
		echo(s, events);
	else if ((s->state == DATAGRAM && echo_datagram(s)) || (s->state == NETLINK && list_interfaces(s)))
		return;
	else if (events & EPOLLHUP)
		bury(s);
}

static void run(void)
{
	ep = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event e = { .events = EPOLLIN, .data.ptr = NULL };

	if (ep < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, listener, &e) < 0)
		die("epoll");
	for (;;) {
		struct epoll_event ev;
		int timeout = -1;

		for (struct sock *s = socks; s; s = s->next) {
			if (s->due)
				decide(s);
			deliver(s);
			if (s->deliver)
				timeout = 1;
		}
		if (epoll_wait(ep, &ev, 1, timeout) <= 0)
			continue;
		if (!ev.data.ptr) {
			attach();
		} else if ((int *)ev.data.ptr >= attached && (int *)ev.data.ptr < attached + 256) {
			int *fd = ev.data.ptr;

			if (!serve(*fd))
				epoll_ctl(ep, EPOLL_CTL_DEL, *fd, NULL);
		} else {
			on_sock(ev.data.ptr, ev.events);
		}
	}
}

static int attach_to(const struct sockaddr_un *sun)
{
	struct nc_attach hello = { .magic = NC_MAGIC, .container = FAKE_CONTAINER };
	struct nc_reply rp;
	int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
	int high;

	if (connect(fd, (const void *)sun, sizeof *sun) < 0 || send(fd, &hello, sizeof hello, 0) < 0 ||
	    recv(fd, &rp, sizeof rp, 0) != (ssize_t)sizeof rp || rp.error)
		die("attach");
	high = fcntl(fd, F_DUPFD, 100);
	close(fd);
	return high;
}

int main(int argc, char **argv)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	const char *shim = NULL;
	const char *tmp = getenv("TMPDIR");
	char dir[64], text[64];
	int fd, i = 1;

	if (i < argc && strcmp(argv[i], "--") != 0)
		shim = argv[i++];
	if (i + 1 >= argc || strcmp(argv[i], "--") != 0) {
		fprintf(stderr, "usage: fakedaemon [SHIM] -- PROGRAM ARGS\n");
		return 2;
	}
	snprintf(dir, sizeof dir, "%s/netcon-fake-XXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(dir))
		die(dir);
	snprintf(sun.sun_path, sizeof sun.sun_path, "%s/attach", dir);
	listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (bind(listener, (void *)&sun, sizeof sun) < 0 || listen(listener, 64) < 0)
		die(sun.sun_path);
	if (fork() == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(0);
		close(1);
		run();
	}
	close(listener);
	fd = attach_to(&sun);
	snprintf(text, sizeof text, "%d:%llu", fd, cookie_of(fd));
	setenv("NETCON_ATTACH", text, 1);
	setenv("NETCON_SOCKET", sun.sun_path, 1);
	setenv("NETCON_CONTAINER", FAKE_CONTAINER, 1);
	if (shim)
		setenv("LD_PRELOAD", shim, 1);
	execv(argv[i + 1], argv + i + 1);
	die(argv[i + 1]);
}
