/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Receiving from a datagram socket: the header goes to a place of ours and the
 * payload where the application wants it, in one call. MSG_TRUNC says how long a
 * record was. Blocking, time limits and interruption are the kernel's.
 *
 * recvmmsg takes several records in one call. An error among them is told only
 * if nothing was received with it.
 */
#include "datagram.h"
#include "next.h"

#define BURST 8
#define BURST_SPANS 64
#define MSG_WAITFORONE 0x10000

static long native(int fd, struct msghdr *msg, int flags)
{
	/* The library's function is a cancellation point. */
	if (nc_next.recvmsg)
		return nc_result(nc_next.recvmsg(fd, msg, flags | nc_own));
	return nc_sys3(__NR_recvmsg, fd, msg, flags | nc_own);
}

static int is_waiting(int fd, int flags)
{
	return !(flags & MSG_DONTWAIT) && !(nc_sys2(__NR_fcntl, fd, F_GETFL) & O_NONBLOCK);
}

/* The pair has ended: by shutdown, or because the daemon has. */
static long ended(int fd, int flags)
{
	struct pollfd p = { .fd = fd };
	struct nc_time zero = { 0, 0 };

	if (nc_sys5(__NR_ppoll, &p, 1, &zero, 0, 0) > 0 && (p.revents & POLLHUP))
		return NC_GONE;
	return is_waiting(fd, flags) ? 0 : -EAGAIN;
}

static void take_head(int fd)
{
	unsigned char scratch;

	(void)nc_syscall6(__NR_recvfrom, fd, NC_ARG(&scratch), sizeof scratch, MSG_DONTWAIT, 0, 0);
}

/* Fills in what belongs to a datagram of n bytes beside its bytes. */
static long finish(uint32_t mark, struct msghdr *msg, const struct nc_datagram *h, size_t n, size_t room, int flags)
{
	socklen_t len = (socklen_t)msg->msg_namelen;

	if (!(mark & NC_MARK_PEER))
		nc_make_known(h->cookie, &h->remote, &(struct nc_addr){ 0 });
	msg->msg_flags = n > room ? MSG_TRUNC : 0;
	if (msg->msg_name && nc_addr_to_sockaddr(&h->remote, msg->msg_name, &len) == 0)
		msg->msg_namelen = (int)len;
	else
		msg->msg_namelen = 0;
	nc_control_out(msg, h, mark);
	return n > room && !(flags & MSG_TRUNC) ? (long)room : (long)n;
}

/* MSG_ERRQUEUE, and struct sock_extended_err with the offender's address. */
struct extended {
	uint32_t error;
	uint8_t origin, type, code, pad;
	uint32_t info, data;
	union {
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} offender;
};

static long error_queue(int fd, uint32_t mark, struct msghdr *msg)
{
	struct control {
		size_t len;
		int level, type;
		struct extended e;
	} c = { 0 };
	struct nc_request rq;
	struct nc_reply rp;
	struct nc_cause cause;
	socklen_t len;
	size_t n = 0, done = 0;
	int err;

	nc_request_init(&rq, NC_ERROR_QUEUE, 0);
	/* The entry of an event was there before it: none goes unseen. */
	while ((err = nc_ask(fd, &rq, &rp)) == -EAGAIN && nc_take_event(fd))
		;
	if (err)
		return err;
	if (rp.optlen < sizeof cause || rp.optlen > NC_OPT_MAX)
		return -EPROTO;
	if (!nc_take_datagram_error(fd))
		(void)nc_take_event(fd);
	for (size_t i = 0; i < sizeof cause; i++)
		((unsigned char *)&cause)[i] = rp.opt[i];
	n = rp.optlen - sizeof cause;
	for (size_t i = 0; i < msg->msg_iovlen; i++)
		for (size_t j = 0; j < msg->msg_iov[i].iov_len && done < n; j++)
			((unsigned char *)msg->msg_iov[i].iov_base)[j] = rp.opt[sizeof cause + done++];
	len = (socklen_t)msg->msg_namelen;
	if (msg->msg_name && nc_addr_to_sockaddr(&rp.addr, msg->msg_name, &len) == 0)
		msg->msg_namelen = (int)len;
	msg->msg_flags = MSG_ERRQUEUE | (done < n ? MSG_TRUNC : 0);
	c.level = mark & NC_MARK_SIX ? IPPROTO_IPV6 : IPPROTO_IP;
	c.type = mark & NC_MARK_SIX ? IPV6_RECVERR : IP_RECVERR;
	c.e.error = cause.error;
	c.e.origin = cause.origin;
	c.e.type = cause.type;
	c.e.code = cause.code;
	c.e.info = cause.info;
	len = sizeof c.e.offender;
	if (cause.offender.family)
		(void)nc_addr_to_sockaddr(&cause.offender, (struct sockaddr *)&c.e.offender, &len);
	c.len = offsetof(struct control, e.offender) +
		(mark & NC_MARK_SIX ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in));
	if (!msg->msg_control || msg->msg_controllen < c.len) {
		msg->msg_flags |= MSG_CTRUNC;
		msg->msg_controllen = 0;
		return (long)done;
	}
	for (size_t i = 0; i < c.len; i++)
		((unsigned char *)msg->msg_control)[i] = ((const unsigned char *)&c)[i];
	msg->msg_controllen = (c.len + 7) & ~(size_t)7;
	return (long)done;
}

long nc_datagram_receive(int fd, uint32_t mark, struct msghdr *msg, int flags)
{
	size_t n = msg->msg_iovlen;
	struct nc_datagram h;
	long got;

	if ((flags & MSG_OOB) && (mark & (NC_MARK_PING | NC_MARK_RAW)))
		return -EOPNOTSUPP;
	if (flags & MSG_ERRQUEUE)
		return error_queue(fd, mark, msg);
	if (n > NC_SPANS_MAX)
		return -EMSGSIZE;
	struct iovec iov[n + 1];

	iov[0] = (struct iovec){ &h, sizeof h };
	for (size_t i = 0; i < n; i++)
		iov[i + 1] = msg->msg_iov[i];
	for (;;) {
		struct msghdr m = { .msg_iov = iov, .msg_iovlen = n + 1 };

		got = native(fd, &m, (flags & (MSG_DONTWAIT | MSG_PEEK)) | MSG_TRUNC);
		if (got == 0 || got == -ECONNRESET)
			return ended(fd, flags);
		if (got < 0)
			return got;
		if (got < (long)sizeof h || h.magic != NC_MAGIC)
			return -EPROTO;
		if (!h.error && !(h.flags & NC_D_EVENT))
			break;
		if (flags & MSG_PEEK)
			take_head(fd);
		if (h.error)
			return -h.error;
	}
	return finish(mark, msg, &h, (size_t)got - sizeof h, nc_total(msg->msg_iov, n), flags);
}

/* Moves n bytes that lie in the spans of one message to those of another. */
static void move(const struct msghdr *to, const struct msghdr *from, size_t n)
{
	size_t i = 0, at = 0, j = 0, off = 0;

	while (n--) {
		while (j < from->msg_iovlen && off == from->msg_iov[j].iov_len)
			j++, off = 0;
		while (i < to->msg_iovlen && at == to->msg_iov[i].iov_len)
			i++, at = 0;
		if (i == to->msg_iovlen || j == from->msg_iovlen)
			return;
		((unsigned char *)to->msg_iov[i].iov_base)[at++] = ((unsigned char *)from->msg_iov[j].iov_base)[off++];
	}
}

struct burst {
	unsigned n;
	struct nc_datagram h[BURST];
	struct mmsghdr m[BURST];
	struct iovec iov[BURST_SPANS];
};

/* As many messages as have room, at least one if its spans have. */
static void gather(struct burst *b, const struct mmsghdr *msgs, unsigned n)
{
	size_t used = 0;

	for (b->n = 0; b->n < BURST && b->n < n; b->n++) {
		const struct msghdr *msg = &msgs[b->n].msg_hdr;
		struct iovec *iov = b->iov + used;

		if (msg->msg_iovlen >= BURST_SPANS - used)
			break;
		iov[0] = (struct iovec){ &b->h[b->n], sizeof b->h[0] };
		for (size_t i = 0; i < msg->msg_iovlen; i++)
			iov[i + 1] = msg->msg_iov[i];
		b->m[b->n] = (struct mmsghdr){ .msg_hdr = { .msg_iov = iov, .msg_iovlen = msg->msg_iovlen + 1 } };
		used += msg->msg_iovlen + 1;
	}
}

/* The datagrams among got records, as messages; or an error if that is all. */
static long sort(struct burst *b, long got, uint32_t mark, struct mmsghdr *msgs, int flags)
{
	int error = 0;
	long done = 0;

	for (long i = 0; i < got; i++) {
		struct nc_datagram *h = &b->h[i];
		size_t n, room = nc_total(msgs[i].msg_hdr.msg_iov, msgs[i].msg_hdr.msg_iovlen);

		if (b->m[i].msg_len < sizeof *h || h->magic != NC_MAGIC || h->error || (h->flags & NC_D_EVENT)) {
			if (b->m[i].msg_len >= sizeof *h && h->error)
				error = -h->error;
			continue;
		}
		n = b->m[i].msg_len - sizeof *h;
		if (done < i) {
			move(&msgs[done].msg_hdr, &msgs[i].msg_hdr, n < room ? n : room);
			room = nc_total(msgs[done].msg_hdr.msg_iov, msgs[done].msg_hdr.msg_iovlen);
		}
		msgs[done].msg_len = (unsigned)finish(mark, &msgs[done].msg_hdr, h, n, room, flags);
		done++;
	}
	return done ? done : error;
}

static long receive_burst(int fd, uint32_t mark, struct mmsghdr *msgs, unsigned n, int flags, struct nc_time *timeout)
{
	int asked = flags;
	struct burst b;
	long got;

	gather(&b, msgs, n);
	if (!b.n) {
		got = nc_datagram_receive(fd, mark, &msgs[0].msg_hdr, flags);
		if (got < 0)
			return got;
		msgs[0].msg_len = (unsigned)got;
		return 1;
	}
	/* An error ends the wait for more: one record at least, the rest if it is there. */
	flags = (flags & MSG_DONTWAIT) | MSG_WAITFORONE | MSG_TRUNC;
	if (nc_next.recvmmsg)
		got = nc_result(nc_next.recvmmsg(fd, b.m, b.n, flags | nc_own, timeout));
	else
		got = nc_sys5(__NR_recvmmsg, fd, b.m, b.n, flags | nc_own, timeout);
	if (got == -ECONNRESET || (got > 0 && !b.m[0].msg_len))
		return ended(fd, flags);
	return got < 0 ? got : sort(&b, got, mark, msgs, asked);
}

long nc_datagram_receive_many(int fd, uint32_t mark, struct mmsghdr *msgs, unsigned n, int flags, struct nc_time *timeout)
{
	unsigned done = 0;

	if (flags & (MSG_OOB | MSG_ERRQUEUE | MSG_PEEK)) {
		long got = n ? nc_datagram_receive(fd, mark, &msgs[0].msg_hdr, flags) : 0;

		if (n && got >= 0)
			msgs[0].msg_len = (unsigned)got;
		return got < 0 || !n ? got : 1;
	}
	while (done < n) {
		long got = receive_burst(fd, mark, msgs + done, n - done, flags, timeout);

		if (got < 0)
			return done ? (long)done : got;
		done += (unsigned)got;
		if (done && (flags & MSG_WAITFORONE))
			flags |= MSG_DONTWAIT;
		if (timeout && !timeout->sec && !timeout->frac && done)
			break;
	}
	return (long)done;
}
