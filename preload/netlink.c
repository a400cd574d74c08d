/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sockets that ask for interfaces (AF_NETLINK, NETLINK_ROUTE), and our own way to
 * ask. Such a socket is one end of a SOCK_SEQPACKET pair, so that sends and
 * receives are the kernel's: it ignores the address of a send, and names the
 * sender of what is received by the other end's name. That is an abstract one
 * whose bytes are those of a sockaddr_nl behind its family: padding, port id 0, and
 * groups. Programs look at the length and at the port id. Names are told apart by
 * the padding, or the groups.
 */
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>

#include "mark.h"
#include "netlink.h"

#define NAME_TRIES 256
#define ANSWER_SECONDS 5

static void name_end(int fd, uint64_t cookie)
{
	union {
		struct sockaddr_un un;
		struct {
			uint16_t family;
			uint8_t pad[2];
			uint32_t port;
			uint32_t groups;
		} nl;
	} name;

	for (unsigned i = 0; i < NAME_TRIES; i++) {
		name.nl.family = AF_UNIX;
		name.nl.pad[0] = 0;
		name.nl.pad[1] = (uint8_t)(cookie + i);
		name.nl.port = 0;
		name.nl.groups = i < NAME_TRIES / 2 ? 0 : (uint32_t)(cookie >> 8);
		if (nc_sys3(__NR_bind, fd, &name, sizeof name.nl) != -EADDRINUSE)
			return;
	}
}

int nc_netlink_socket(int type)
{
	struct nc_request rq;
	struct nc_reply rp;
	int pair[2];
	int err;

	err = nc_socketpair(SOCK_SEQPACKET | SOCK_CLOEXEC | (type & SOCK_NONBLOCK), pair);
	if (err < 0)
		return err;
	nc_request_init(&rq, NC_NETLINK, nc_cookie(pair[0]));
	rq.value = (int)nc_sys1(__NR_getpid, 0);
	name_end(pair[1], rq.cookie);
	err = nc_mark_set(pair[0], NC_MARK_NETLINK);
	if (!err)
		err = nc_call(&rq, &rp, pair[1]);
	nc_close(pair[1]);
	if (err) {
		nc_close(pair[0]);
		return err;
	}
	if (!(type & SOCK_CLOEXEC))
		(void)nc_sys3(__NR_fcntl, pair[0], F_SETFD, 0);
	return pair[0];
}

int nc_is_netlink(int fd)
{
	uint32_t value = 0;
	socklen_t len = sizeof value;

	return nc_sys5(__NR_getsockopt, fd, SOL_SOCKET, SO_MAX_PACING_RATE, &value, &len) == 0 && value == NC_MARK_NETLINK;
}

/* bind, and connect to the kernel, which changes nothing. */
int nc_netlink_bind(int fd, const struct sockaddr *addr, socklen_t len)
{
	const struct sockaddr_nl *nl = (const struct sockaddr_nl *)(const void *)addr;
	struct nc_request rq;
	struct nc_reply rp;

	if (!addr)
		return -EFAULT;
	if (len < sizeof *nl || nl->nl_family != AF_NETLINK)
		return -EINVAL;
	nc_request_init(&rq, NC_BIND, 0);
	rq.addr.family = AF_NETLINK;
	rq.addr.scope = nl->nl_pid;
	return nc_ask(fd, &rq, &rp);
}

int nc_netlink_name(int fd, struct sockaddr *addr, socklen_t *len)
{
	struct sockaddr_nl nl = { .nl_family = AF_NETLINK };
	struct nc_request rq;
	struct nc_reply rp;
	int err = nc_sockaddr_room(addr, len);

	if (err)
		return err;
	nc_request_init(&rq, NC_GETSOCKNAME, 0);
	err = nc_ask(fd, &rq, &rp);
	if (err)
		return err;
	nl.nl_pid = rp.addr.scope;
	for (socklen_t i = 0; i < sizeof nl && i < *len; i++)
		((unsigned char *)addr)[i] = ((const unsigned char *)&nl)[i];
	*len = sizeof nl;
	return 0;
}

/* What a message's attributes say: the value of the first of a kind; NULL: none. */
static const void *attribute(const struct nlmsghdr *m, size_t header, unsigned short kind, size_t size)
{
	size_t at = NLMSG_HDRLEN + NLMSG_ALIGN(header);

	while (at + sizeof(struct rtattr) <= m->nlmsg_len) {
		const struct rtattr *a = (const struct rtattr *)(const void *)((const char *)m + at);

		if (a->rta_len < sizeof *a || a->rta_len > m->nlmsg_len - at)
			break;
		if (a->rta_type == kind)
			return a->rta_len - sizeof *a >= size ? a + 1 : NULL;
		at += RTA_ALIGN(a->rta_len);
	}
	return NULL;
}

static void bytes(uint8_t *to, const void *from, size_t n)
{
	for (size_t i = 0; from && i < n; i++)
		to[i] = ((const uint8_t *)from)[i];
}

static void read_link(struct nc_link *l, const struct nlmsghdr *m)
{
	const struct ifinfomsg *info = NLMSG_DATA(m);
	const char *name = attribute(m, sizeof *info, IFLA_IFNAME, 2);
	const uint32_t *mtu = attribute(m, sizeof *info, IFLA_MTU, sizeof *mtu);

	*l = (struct nc_link){ .index = info->ifi_index, .flags = info->ifi_flags, .kind = info->ifi_type };
	l->mtu = mtu ? *mtu : 0;
	bytes(l->mac, attribute(m, sizeof *info, IFLA_ADDRESS, sizeof l->mac), sizeof l->mac);
	bytes(l->all, attribute(m, sizeof *info, IFLA_BROADCAST, sizeof l->all), sizeof l->all);
	nc_ifname_copy(l->name, name ? name : "");
}

static void read_address(struct nc_ifaddr *a, const struct nlmsghdr *m)
{
	const struct ifaddrmsg *info = NLMSG_DATA(m);
	size_t size = info->ifa_family == AF_INET ? 4 : 16;
	const void *all = attribute(m, sizeof *info, IFA_BROADCAST, sizeof a->broadcast);

	*a = (struct nc_ifaddr){ .index = (int)info->ifa_index, .family = info->ifa_family, .prefix = info->ifa_prefixlen,
				 .scope = info->ifa_scope, .has_broadcast = all && size == 4 };
	bytes(a->ip, attribute(m, sizeof *info, IFA_ADDRESS, size), size);
	if (a->has_broadcast)
		bytes(a->broadcast, all, sizeof a->broadcast);
}

struct visit {
	int (*link)(void *arg, const struct nc_link *);
	int (*address)(void *arg, const struct nc_ifaddr *);
	void *arg;
};

/* One message: 1 at the end of the dump, a visitor's result, or -errno. */
static int message(const struct visit *v, const struct nlmsghdr *m, int *result)
{
	struct nc_link link;
	struct nc_ifaddr address;

	if (m->nlmsg_type == RTM_NEWLINK && v->link && m->nlmsg_len >= NLMSG_LENGTH(sizeof(struct ifinfomsg))) {
		read_link(&link, m);
		*result = v->link(v->arg, &link);
	} else if (m->nlmsg_type == RTM_NEWADDR && v->address && m->nlmsg_len >= NLMSG_LENGTH(sizeof(struct ifaddrmsg))) {
		read_address(&address, m);
		*result = v->address(v->arg, &address);
	} else if (m->nlmsg_type == NLMSG_ERROR) {
		*result = -EOPNOTSUPP;
	}
	return m->nlmsg_type == NLMSG_DONE || *result != 0;
}

static int dump(int fd, uint16_t kind, const struct visit *v)
{
	struct {
		struct nlmsghdr header;
		struct rtgenmsg general;
		uint8_t pad[3];
	} rq = { .header = { .nlmsg_len = NLMSG_LENGTH(sizeof(struct rtgenmsg)), .nlmsg_type = kind,
			     .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP, .nlmsg_seq = kind } };
	union {
		struct nlmsghdr first;
		unsigned char byte[4096];
	} in;
	int result = 0;

	if (nc_syscall6(__NR_sendto, fd, NC_ARG(&rq), sizeof rq, MSG_NOSIGNAL, 0, 0) < 0)
		return NC_GONE;
	for (;;) {
		long n = nc_syscall6(__NR_recvfrom, fd, NC_ARG(&in), sizeof in, 0, 0, 0);

		if (n == -EINTR)
			continue;
		if (n <= 0)
			return NC_GONE;
		for (size_t at = 0; at + sizeof(struct nlmsghdr) <= (size_t)n;) {
			const struct nlmsghdr *m = (const struct nlmsghdr *)(const void *)(in.byte + at);

			if (m->nlmsg_len < sizeof *m || m->nlmsg_len > (size_t)n - at)
				return NC_GONE;
			if (message(v, m, &result))
				return result;
			at += NLMSG_ALIGN(m->nlmsg_len);
		}
	}
}

int nc_interfaces(int (*link)(void *arg, const struct nc_link *), int (*address)(void *arg, const struct nc_ifaddr *),
		  void *arg)
{
	const struct visit v = { link, address, arg };
	struct nc_time limit = { .sec = ANSWER_SECONDS };
	int fd = nc_netlink_socket(SOCK_CLOEXEC);
	int err = 0;

	if (fd < 0)
		return fd;
	(void)nc_sys5(__NR_setsockopt, fd, SOL_SOCKET, SO_RCVTIMEO_OLD, &limit, sizeof limit);
	if (link)
		err = dump(fd, RTM_GETLINK, &v);
	if (!err && address)
		err = dump(fd, RTM_GETADDR, &v);
	nc_close(fd);
	return err;
}
