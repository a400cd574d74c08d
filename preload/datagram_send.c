/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sending on a datagram socket. What can be known here of a kernel's answer is
 * judged here; where the datagram goes to a destination that this socket has not
 * sent to, the daemon is asked what became of it (datagram.c). On a socket with a
 * peer an error that the network reported comes first.
 */
#include "datagram.h"
#include "next.h"

#define BURST 8
#define BURST_SPANS 64

#define UDP_MAX_IPV4 65507
#define UDP_MAX_IPV6 65527

static int is_icmp(uint32_t mark)
{
	return (mark & (NC_MARK_PING | NC_MARK_RAW)) != 0;
}

/* An IPv4 address of an IPv6 socket. */
static void map(struct nc_addr *a)
{
	a->family = AF_INET6;
	for (int i = 0; i < 4; i++)
		a->ip[12 + i] = a->ip[i];
	for (int i = 0; i < 10; i++)
		a->ip[i] = 0;
	a->ip[10] = a->ip[11] = 0xff;
}

/* A destination as udp_sendmsg and its like read it. Family 0: the peer. */
static int destination(struct nc_addr *to, const struct msghdr *msg, uint32_t mark)
{
	const struct sockaddr *name = msg->msg_name;
	socklen_t len = msg->msg_namelen < SOCKADDR_MAX ? (socklen_t)msg->msg_namelen : SOCKADDR_MAX;
	int six = (mark & NC_MARK_SIX) != 0, err;

	*to = (struct nc_addr){ 0 };
	if (!name || !msg->msg_namelen)
		return mark & NC_MARK_PEER ? 0 : -EDESTADDRREQ;
	if (msg->msg_namelen < (int)(six ? sizeof name->sa_family : sizeof(struct sockaddr_in)))
		return -EINVAL;
	if (six && name->sa_family == AF_UNSPEC)
		return mark & NC_MARK_PEER ? 0 : -EDESTADDRREQ;
	if (six && name->sa_family != AF_INET6 && (name->sa_family != AF_INET || is_icmp(mark)))
		return is_icmp(mark) ? -EAFNOSUPPORT : -EINVAL;
	if (!six && name->sa_family != AF_INET && (name->sa_family != AF_UNSPEC || is_icmp(mark)))
		return -EAFNOSUPPORT;
	err = nc_addr_from_sockaddr(to, name, len);
	if (err)
		return err;
	if (to->family == AF_UNSPEC)
		to->family = AF_INET;
	if (six && to->family == AF_INET)
		map(to);
	if (is_icmp(mark))
		to->port = 0;
	else if (!to->port)
		return -EINVAL;
	return 0;
}

static int is_mapped(const struct nc_addr *a)
{
	for (int i = 0; i < 10; i++)
		if (a->ip[i])
			return 0;
	return a->ip[10] == 0xff && a->ip[11] == 0xff;
}

/* Makes the header for msg; the length of its payload, or -errno. */
static long prepare(struct nc_datagram *h, uint32_t mark, const struct msghdr *msg, int flags)
{
	size_t n = nc_total(msg->msg_iov, msg->msg_iovlen);
	int err;

	*h = (struct nc_datagram){ .magic = NC_MAGIC };
	if (n > NC_PAYLOAD_MAX)
		return -EMSGSIZE;
	if (flags & (MSG_OOB | MSG_MORE)) /* there is no cork */
		return -EOPNOTSUPP;
	if (msg->msg_iovlen > NC_SPANS_MAX)
		return -EMSGSIZE;
	err = destination(&h->remote, msg, mark);
	if (!err)
		err = nc_control_in(h, msg, mark);
	if (err)
		return err;
	if (mark & NC_MARK_MUTE)
		return -EPIPE;
	if (!is_icmp(mark) && h->remote.family && n > (mark & NC_MARK_SIX && !is_mapped(&h->remote) ? UDP_MAX_IPV6 : UDP_MAX_IPV4))
		return -EMSGSIZE;
	if (!is_icmp(mark) && n > (mark & NC_MARK_SIX ? UDP_MAX_IPV6 : UDP_MAX_IPV4))
		return -EMSGSIZE;
	return (long)n;
}

/* What a pair's end says of a daemon that is gone. */
static long judge(long result)
{
	return result == -EPIPE || result == -ECONNRESET || result == -ENOTCONN || result == -ECONNREFUSED ? NC_GONE : result;
}

static int pair_flags(int flags)
{
	return (flags & MSG_DONTWAIT) | MSG_NOSIGNAL | nc_own;
}

/* What became of the datagram that was sent last. */
static int verdict(int fd, uint64_t cookie, const struct nc_datagram *h)
{
	struct nc_request rq;
	struct nc_reply rp;
	int err;

	nc_request_init(&rq, NC_VERDICT, 0);
	err = nc_ask(fd, &rq, &rp);
	if (err == -ENOBUFS)
		return 0; /* nobody could be asked */
	if (!err)
		nc_make_known(cookie, &h->remote, &h->local);
	return err;
}

static long send_one(int fd, const struct msghdr *msg, struct nc_datagram *h, size_t n, int flags)
{
	struct iovec iov[msg->msg_iovlen + 1];
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = msg->msg_iovlen + 1 };
	uint64_t cookie = h->remote.family || h->local.family ? nc_cookie(fd) : 0;
	int ask = cookie && !nc_is_known(cookie, &h->remote, &h->local);
	long sent;
	int err;

	iov[0] = (struct iovec){ h, sizeof *h };
	for (size_t i = 0; i < msg->msg_iovlen; i++)
		iov[i + 1] = msg->msg_iov[i];
	if (ask)
		h->flags |= NC_D_REPORT;
	if (nc_next.sendmsg)
		sent = nc_result(nc_next.sendmsg(fd, &m, pair_flags(flags)));
	else
		sent = nc_sys3(__NR_sendmsg, fd, &m, pair_flags(flags));
	if (sent < 0)
		return judge(sent);
	err = ask ? verdict(fd, cookie, h) : 0;
	return err ? err : (long)n;
}

long nc_datagram_send(int fd, uint32_t mark, const struct msghdr *msg, int flags)
{
	struct nc_datagram h;
	long n = prepare(&h, mark, msg, flags);
	int err;

	if (n < 0)
		return n;
	err = mark & NC_MARK_PEER ? nc_take_datagram_error(fd) : 0;
	return err ? err : send_one(fd, msg, &h, (size_t)n, flags);
}

/* Sends messages that need no verdict in one call; 0: the first one does. */
static long send_burst(int fd, uint32_t mark, struct mmsghdr *msgs, unsigned n, int flags)
{
	struct nc_datagram h[BURST];
	struct mmsghdr m[BURST];
	struct iovec iov[BURST_SPANS];
	uint64_t cookie = nc_cookie(fd);
	size_t used = 0;
	unsigned k;
	long sent;

	for (k = 0; k < BURST && k < n; k++) {
		const struct msghdr *msg = &msgs[k].msg_hdr;
		struct iovec *at = iov + used;
		long length = prepare(&h[k], mark, msg, flags);

		if (length < 0 || msg->msg_iovlen >= BURST_SPANS - used)
			break;
		if ((h[k].remote.family || h[k].local.family) && !nc_is_known(cookie, &h[k].remote, &h[k].local))
			break;
		at[0] = (struct iovec){ &h[k], sizeof h[k] };
		for (size_t i = 0; i < msg->msg_iovlen; i++)
			at[i + 1] = msg->msg_iov[i];
		m[k] = (struct mmsghdr){ .msg_hdr = { .msg_iov = at, .msg_iovlen = msg->msg_iovlen + 1 } };
		used += msg->msg_iovlen + 1;
	}
	if (!k)
		return 0;
	if (nc_next.sendmmsg)
		sent = nc_result(nc_next.sendmmsg(fd, m, k, pair_flags(flags)));
	else
		sent = nc_sys4(__NR_sendmmsg, fd, m, k, pair_flags(flags));
	for (long i = 0; i < sent; i++)
		msgs[i].msg_len = m[i].msg_len - (unsigned)sizeof h[0];
	return judge(sent);
}

long nc_datagram_send_many(int fd, uint32_t mark, struct mmsghdr *msgs, unsigned n, int flags)
{
	unsigned done = 0;
	int err = mark & NC_MARK_PEER ? nc_take_datagram_error(fd) : 0;

	if (err && n)
		return err;
	if (n > NC_SPANS_MAX)
		n = NC_SPANS_MAX;
	while (done < n) {
		long sent = send_burst(fd, mark, msgs + done, n - done, flags);

		if (!sent) {
			sent = nc_datagram_send(fd, mark, &msgs[done].msg_hdr, flags);
			if (sent >= 0) {
				msgs[done].msg_len = (unsigned)sent;
				sent = 1;
			}
		}
		if (sent < 0)
			return done ? (long)done : sent;
		done += (unsigned)sent;
	}
	return (long)done;
}
