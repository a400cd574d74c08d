/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses: bind(2), getsockname(2), getpeername(2) and the two conversions.
 * Lengths are judged as the kernel does, which family the socket has is the
 * daemon's knowledge: it answers EINVAL or EAFNOSUPPORT to the wrong one.
 */
#include "mark.h"
#include "netlink.h"

NC_EXPORT int bind(int fd, const struct sockaddr *addr, socklen_t len);
NC_EXPORT int getsockname(int fd, struct sockaddr *addr, socklen_t *len);
NC_EXPORT int getpeername(int fd, struct sockaddr *addr, socklen_t *len);

/*
 * -EAFNOSUPPORT for a family that is none of ours. AF_UNSPEC gives family 0,
 * with the IPv4 address and port that follow it if they are there.
 */
int nc_addr_from_sockaddr(struct nc_addr *to, const struct sockaddr *from, socklen_t len)
{
	*to = (struct nc_addr){ 0 };
	if (len > SOCKADDR_MAX)
		return -EINVAL;
	if (len && !from)
		return -EFAULT;
	if (len < sizeof from->sa_family)
		return -EINVAL;
	if (from->sa_family == AF_INET || from->sa_family == AF_UNSPEC) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)from;

		if (len < sizeof *in)
			return from->sa_family == AF_UNSPEC ? 0 : -EINVAL;
		to->family = in->sin_family;
		to->port = in->sin_port;
		for (size_t i = 0; i < sizeof in->sin_addr; i++)
			to->ip[i] = in->sin_addr[i];
		return 0;
	}
	if (from->sa_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)from;

		if (len < SIN6_LEN_RFC2133)
			return -EINVAL;
		to->family = AF_INET6;
		to->port = in6->sin6_port;
		to->flowinfo = in6->sin6_flowinfo;
		for (size_t i = 0; i < sizeof in6->sin6_addr; i++)
			to->ip[i] = in6->sin6_addr[i];
		if (len >= sizeof *in6)
			to->scope = in6->sin6_scope_id;
		return 0;
	}
	return -EAFNOSUPPORT;
}

/* What the kernel says about a place for an address before it writes there. */
int nc_sockaddr_room(const struct sockaddr *addr, const socklen_t *len)
{
	if (!len)
		return -EFAULT;
	if (*len > INT32_MAX)
		return -EINVAL;
	return *len && !addr ? -EFAULT : 0;
}

/* Truncates to *len, and sets *len to the size there would have been. */
int nc_addr_to_sockaddr(const struct nc_addr *from, struct sockaddr *to, socklen_t *len)
{
	union {
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
		unsigned char byte[sizeof(struct sockaddr_in6)];
	} u = { .in6 = { 0 } };
	socklen_t size;
	int err = nc_sockaddr_room(to, len);

	if (err)
		return err;
	if (from->family == AF_INET6) {
		u.in6.sin6_family = AF_INET6;
		u.in6.sin6_port = from->port;
		u.in6.sin6_flowinfo = from->flowinfo;
		for (size_t i = 0; i < sizeof u.in6.sin6_addr; i++)
			u.in6.sin6_addr[i] = from->ip[i];
		u.in6.sin6_scope_id = from->scope;
		size = sizeof u.in6;
	} else {
		u.in.sin_family = AF_INET;
		u.in.sin_port = from->port;
		for (size_t i = 0; i < sizeof u.in.sin_addr; i++)
			u.in.sin_addr[i] = from->ip[i];
		size = sizeof u.in;
	}
	for (socklen_t i = 0; i < size && i < *len; i++)
		((unsigned char *)to)[i] = u.byte[i];
	*len = size;
	return 0;
}

/* bind(AF_UNSPEC) means AF_INET if the address is INADDR_ANY (inet_bind). */
static int bind_address(struct nc_addr *to, const struct sockaddr *addr, socklen_t len)
{
	int err = nc_addr_from_sockaddr(to, addr, len);

	if (err || to->family)
		return err;
	if (len < sizeof(struct sockaddr_in))
		return -EINVAL;
	if (to->ip[0] | to->ip[1] | to->ip[2] | to->ip[3])
		return -EAFNOSUPPORT;
	to->family = AF_INET;
	return 0;
}

int bind(int fd, const struct sockaddr *addr, socklen_t len)
{
	struct nc_request rq;
	struct nc_reply rp;
	int err;

	if (addr && addr->sa_family == AF_NETLINK && nc_config() && nc_is_netlink(fd))
		return nc_return(nc_netlink_bind(fd, addr, len));
	if (!nc_config() || !nc_mark_get(fd))
		return nc_return(nc_sys3(__NR_bind, fd, addr, len));
	nc_request_init(&rq, NC_BIND, 0);
	rq.value = (int)len;
	err = bind_address(&rq.addr, addr, len);
	if (!err)
		err = nc_ask(fd, &rq, &rp);
	return nc_return(err);
}

static int name(int fd, enum nc_op op, struct sockaddr *addr, socklen_t *len)
{
	struct nc_request rq;
	struct nc_reply rp;
	int err = nc_sockaddr_room(addr, len);

	if (err)
		return err;
	nc_request_init(&rq, op, 0);
	err = nc_ask(fd, &rq, &rp);
	return err ? err : nc_addr_to_sockaddr(&rp.addr, addr, len);
}

int getsockname(int fd, struct sockaddr *addr, socklen_t *len)
{
	if (nc_config() && nc_is_netlink(fd))
		return nc_return(nc_netlink_name(fd, addr, len));
	if (!nc_config() || !nc_mark_get(fd))
		return nc_return(nc_sys3(__NR_getsockname, fd, addr, len));
	return nc_return(name(fd, NC_GETSOCKNAME, addr, len));
}

int getpeername(int fd, struct sockaddr *addr, socklen_t *len)
{
	int err;

	if (!nc_config() || !nc_mark_get(fd))
		return nc_return(nc_sys3(__NR_getpeername, fd, addr, len));
	err = name(fd, NC_GETPEERNAME, addr, len);
	return nc_return(err == NC_GONE ? -ENOTCONN : err);
}
