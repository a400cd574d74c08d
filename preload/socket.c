/* SPDX-License-Identifier: Apache-2.0 */
/*
 * socket(2): TCP over IPv4 and IPv6 is ours, all else the kernel's, which also
 * judges wrong arguments. Multipath TCP is refused the way a kernel without it
 * does, so that programs fall back to TCP.
 *
 * The application's end is made first: it gets the lowest free number, and all
 * helpers are closed again before it is returned.
 */
#include "mark.h"

NC_EXPORT int socket(int family, int type, int protocol);
NC_EXPORT int __socket(int family, int type, int protocol) __attribute__((alias("socket")));

static int is_tcp(int family, int type)
{
	if (family != AF_INET && family != AF_INET6)
		return 0;
	return (type & ~(SOCK_CLOEXEC | SOCK_NONBLOCK)) == SOCK_STREAM;
}

static int virtual_socket(int family, int type)
{
	struct nc_request rq;
	struct nc_reply rp;
	int pair[2];
	int err;

	err = (int)nc_sys4(__NR_socketpair, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | (type & SOCK_NONBLOCK), 0, pair);
	if (err < 0)
		return err;
	err = nc_mark_set(pair[0], NC_MARK_FRESH);
	if (!err) {
		nc_request_init(&rq, NC_SOCKET, nc_cookie(pair[0]));
		rq.family = (__u16)family;
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

int socket(int family, int type, int protocol)
{
	const struct nc_config *config = nc_config();
	int fd;

	if (!config || !is_tcp(family, type))
		goto native;
	if (protocol == IPPROTO_MPTCP)
		return nc_return(-EPROTONOSUPPORT);
	if (protocol != 0 && protocol != IPPROTO_TCP)
		goto native;
	fd = virtual_socket(family, type);
	if (fd != NC_GONE || !config->to_kernel)
		return nc_return(fd);
native:
	return nc_return(nc_sys3(__NR_socket, family, type, protocol));
}
