/* SPDX-License-Identifier: Apache-2.0 */
/*
 * socket(2): TCP, UDP and ICMP over IPv4 and IPv6 are ours, all else the kernel's,
 * which also judges wrong arguments. Multipath TCP is refused the way a kernel without it
 * does, so that programs fall back to TCP.
 *
 * The application's end is made first: it gets the lowest free number, and all
 * helpers are closed again before it is returned.
 */
#include "datagram.h"
#include "epoll.h"
#include "netlink.h"

NC_EXPORT int socket(int family, int type, int protocol);
NC_EXPORT int __socket(int family, int type, int protocol) __attribute__((alias("socket")));

static int is_tcp(int family, int type)
{
	if (family != AF_INET && family != AF_INET6)
		return 0;
	return (type & ~(SOCK_CLOEXEC | SOCK_NONBLOCK)) == SOCK_STREAM;
}

/* The mark of a datagram socket that is to be made, 0 if it is none of ours. */
static uint32_t datagram_mark(int family, int type, int protocol)
{
	uint32_t mark = NC_MARK_DATAGRAM;
	int icmp = IPPROTO_ICMP;

	if (family == AF_INET6) {
		mark |= NC_MARK_SIX;
		icmp = IPPROTO_ICMPV6;
	} else if (family != AF_INET) {
		return 0;
	}
	switch (type & ~(SOCK_CLOEXEC | SOCK_NONBLOCK)) {
	case SOCK_DGRAM:
		if (protocol == 0 || protocol == IPPROTO_UDP)
			return mark;
		return protocol == icmp ? mark | NC_MARK_PING : 0;
	case SOCK_RAW:
		return protocol == icmp ? mark | NC_MARK_RAW : 0;
	default:
		return 0;
	}
}

/* A number there is only while the limit is raised (pair.c). */
static int above_limit(int fd)
{
	struct nc_rlimit limit;

	return nc_sys4(__NR_prlimit64, 0, RLIMIT_NOFILE, 0, &limit) == 0 && (uint64_t)fd >= limit.soft;
}

static int virtual_socket(int family, int type, int protocol, uint32_t mark)
{
	int kind = nc_is_datagram(mark) ? SOCK_SEQPACKET : SOCK_STREAM;
	struct nc_request rq;
	struct nc_reply rp;
	int pair[2];
	int err;

	err = nc_socketpair(kind | SOCK_CLOEXEC | (type & SOCK_NONBLOCK), pair);
	if (err < 0)
		return err;
	if (above_limit(pair[0])) {
		nc_close(pair[0]);
		nc_close(pair[1]);
		return -EMFILE;
	}
	err = nc_mark_set(pair[0], (enum nc_mark)mark);
	if (mark == NC_MARK_FRESH)
		nc_read_limit(pair[0], 1);
	else
		atomic_store(&nc_datagrams_seen, 1);
	if (!err) {
		nc_request_init(&rq, NC_SOCKET, nc_cookie(pair[0]));
		rq.family = (__u16)family;
		rq.level = type & SOCK_TYPE_MASK;
		rq.option = protocol;
		err = nc_call(&rq, &rp, pair[1]);
	}
	nc_close(pair[1]);
	if (err) {
		nc_close(pair[0]);
		return err;
	}
	if (!(type & SOCK_CLOEXEC))
		(void)nc_sys3(__NR_fcntl, pair[0], F_SETFD, 0);
	return pair[0];
}

/* What only the real descriptor knows of a socket goes over to its successor. */
static void inherit_native(int from, int to)
{
	static const int options[] = { SO_RCVTIMEO_OLD, SO_SNDTIMEO_OLD, SO_RCVLOWAT };
	struct nc_time value;

	for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
		socklen_t len = sizeof value;

		if (nc_sys5(__NR_getsockopt, from, SOL_SOCKET, options[i], &value, &len) == 0)
			(void)nc_sys5(__NR_setsockopt, to, SOL_SOCKET, options[i], &value, len);
	}
}

/*
 * A connect that failed without a call that waited for it ended the pair: that
 * is what poll shows. Linux lets the socket try again, so it gets a new pair
 * under its number, with the family, options and address it had, and in the
 * epoll sets it was in. Duplicates of the descriptor keep the old one.
 */
int nc_revive(int fd)
{
	int status = (int)nc_sys2(__NR_fcntl, fd, F_GETFL), flags = (int)nc_sys2(__NR_fcntl, fd, F_GETFD);
	struct nc_request rq;
	struct nc_reply rp;
	struct nc_waits waits;
	int pair[2];
	int err;

	if (status < 0 || flags < 0)
		return -EBADF;
	err = nc_socketpair(SOCK_STREAM | SOCK_CLOEXEC | (status & O_NONBLOCK ? SOCK_NONBLOCK : 0), pair);
	if (err < 0)
		return err;
	err = nc_mark_set(pair[0], NC_MARK_USED);
	if (!err) {
		nc_request_init(&rq, NC_REVIVE, nc_cookie(fd));
		rq.successor = nc_cookie(pair[0]);
		err = nc_call(&rq, &rp, pair[1]);
	}
	nc_close(pair[1]);
	if (!err)
		inherit_native(fd, pair[0]);
	if (!err) {
		nc_waits_find(&waits, fd);
		err = (int)nc_sys3(__NR_dup3, pair[0], fd, flags & FD_CLOEXEC ? O_CLOEXEC : 0);
		if (err >= 0)
			nc_waits_renew(&waits, fd);
	}
	nc_close(pair[0]);
	return err < 0 ? err : 0;
}

int socket(int family, int type, int protocol)
{
	const struct nc_config *config = nc_config();
	uint32_t mark = NC_MARK_FRESH;
	int fd;

	if (config && family == AF_NETLINK && protocol == NETLINK_ROUTE) {
		fd = nc_netlink_socket(type);
		if (fd != NC_GONE || !config->to_kernel)
			return nc_return(fd);
	}
	if (!config)
		goto native;
	if (is_tcp(family, type)) {
		if (protocol == IPPROTO_MPTCP)
			return nc_return(-EPROTONOSUPPORT);
		if (protocol != 0 && protocol != IPPROTO_TCP)
			goto native;
	} else {
		mark = datagram_mark(family, type, protocol);
		if (!mark)
			goto native;
	}
	fd = virtual_socket(family, type, protocol, mark);
	if (fd != NC_GONE || !config->to_kernel)
		return nc_return(fd);
native:
	return nc_return(nc_sys3(__NR_socket, family, type, protocol));
}
