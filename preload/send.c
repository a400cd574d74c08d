/* SPDX-License-Identifier: Apache-2.0 */
/*
 * write(2), send(2) and their like: the native call, and then, where it failed,
 * what a pair's end could not say.
 *
 * EPIPE is what a pair says of every end; the error a connection died of comes
 * first in TCP. SIGPIPE was raised already: who neither ignores nor handles it
 * is gone. EISCONN: TCP ignores the address of a connected socket. TCP Fast Open
 * is refused, and programs connect first.
 *
 * Datagram sockets are asked for first (datagram_send.c).
 */
#include "datagram.h"
#include "next.h"

NC_EXPORT long write(int fd, const void *buf, size_t n);
NC_EXPORT long __write(int fd, const void *buf, size_t n) __attribute__((alias("write")));
NC_EXPORT long writev(int fd, const struct iovec *iov, int n);
NC_EXPORT long send(int fd, const void *buf, size_t n, int flags);
NC_EXPORT long __send(int fd, const void *buf, size_t n, int flags) __attribute__((alias("send")));
NC_EXPORT long sendto(int fd, const void *buf, size_t n, int flags, const struct sockaddr *addr, socklen_t len);
NC_EXPORT long sendmsg(int fd, const struct msghdr *msg, int flags);
NC_EXPORT int sendmmsg(int fd, struct mmsghdr *msgs, unsigned n, int flags);

static int is_ours(int fd)
{
	return nc_config() && nc_mark_get(fd);
}

/* The result (-errno) of a call that sent nothing. */
long nc_sent(int fd, long result)
{
	struct nc_request rq;
	struct nc_reply rp;

	if (result != -EPIPE || !is_ours(fd))
		return result;
	nc_request_init(&rq, NC_TAKE_ERROR, 0);
	rq.value = 1;
	if (nc_ask(fd, &rq, &rp) || rp.value <= 0 || rp.value >= 512)
		return result;
	(void)nc_native_error(fd);
	return -rp.value;
}

/* The same for a result of a library's function. */
static long sent(int fd, long n)
{
	long result, now;

	if (n >= 0)
		return n;
	result = nc_result(n);
	now = nc_sent(fd, result);
	return now == result ? n : nc_return_long(now);
}

static long datagram(int fd, uint32_t mark, const struct iovec *iov, size_t n, int flags, const struct sockaddr *addr,
		     socklen_t len)
{
	struct msghdr msg = {
		.msg_iov = (struct iovec *)(uintptr_t)iov,
		.msg_iovlen = n,
		.msg_name = (void *)(uintptr_t)addr,
		.msg_namelen = addr ? (int)len : 0,
	};

	return nc_return_long(nc_datagram_send(fd, mark, &msg, flags));
}

static long datagram_of(int fd, uint32_t mark, const void *buf, size_t n, int flags, const struct sockaddr *addr,
			socklen_t len)
{
	return datagram(fd, mark, &(struct iovec){ (void *)(uintptr_t)buf, n }, 1, flags, addr, len);
}

long write(int fd, const void *buf, size_t n)
{
	uint32_t mark = nc_datagram_mark(fd);

	if (mark)
		return datagram_of(fd, mark, buf, n, 0, NULL, 0);
	return sent(fd, nc_next.write ? nc_next.write(fd, buf, n) : nc_return_long(nc_sys3(__NR_write, fd, buf, n)));
}

long writev(int fd, const struct iovec *iov, int n)
{
	uint32_t mark = nc_datagram_mark(fd);

	if (mark && (n < 0 || n > NC_SPANS_MAX))
		return nc_return_long(-EINVAL);
	if (mark)
		return nc_total(iov, (size_t)n) ? datagram(fd, mark, iov, (size_t)n, 0, NULL, 0) : 0;
	return sent(fd, nc_next.writev ? nc_next.writev(fd, iov, n) : nc_return_long(nc_sys3(__NR_writev, fd, iov, n)));
}

long send(int fd, const void *buf, size_t n, int flags)
{
	if (!nc_next.send || flags & MSG_FASTOPEN || nc_datagram_mark(fd))
		return sendto(fd, buf, n, flags, NULL, 0);
	return sent(fd, nc_next.send(fd, buf, n, flags));
}

static long native_sendto(int fd, const void *buf, size_t n, int flags, const struct sockaddr *addr, socklen_t len)
{
	if (nc_next.sendto)
		return nc_next.sendto(fd, buf, n, flags, addr, len);
	return nc_return_long(nc_syscall6(__NR_sendto, fd, NC_ARG(buf), (long)n, flags, NC_ARG(addr), (long)len));
}

long sendto(int fd, const void *buf, size_t n, int flags, const struct sockaddr *addr, socklen_t len)
{
	uint32_t mark = nc_datagram_mark(fd);
	long m;

	if (mark)
		return datagram_of(fd, mark, buf, n, flags, addr, len);
	if ((flags & MSG_FASTOPEN) && is_ours(fd))
		return nc_return_long(-EOPNOTSUPP);
	m = native_sendto(fd, buf, n, flags, addr, len);
	if (m < 0 && addr && nc_result(m) == -EISCONN && is_ours(fd))
		m = native_sendto(fd, buf, n, flags, NULL, 0);
	return sent(fd, m);
}

static long native_sendmsg(int fd, const struct msghdr *msg, int flags)
{
	flags |= nc_known_here(fd);
	return nc_next.sendmsg ? nc_next.sendmsg(fd, msg, flags) : nc_return_long(nc_sys3(__NR_sendmsg, fd, msg, flags));
}

long sendmsg(int fd, const struct msghdr *msg, int flags)
{
	uint32_t mark = nc_datagram_mark(fd);
	struct msghdr bare;
	long m;

	if (mark && msg)
		return nc_return_long(nc_datagram_send(fd, mark, msg, flags));
	if ((flags & MSG_FASTOPEN) && is_ours(fd))
		return nc_return_long(-EOPNOTSUPP);
	m = native_sendmsg(fd, msg, flags);
	if (m < 0 && nc_result(m) == -EISCONN && is_ours(fd)) {
		bare = *msg;
		bare.msg_name = NULL;
		bare.msg_namelen = 0;
		m = native_sendmsg(fd, &bare, flags);
	}
	return sent(fd, m);
}

int sendmmsg(int fd, struct mmsghdr *msgs, unsigned n, int flags)
{
	uint32_t mark = nc_datagram_mark(fd);
	int m;
	long one;

	if (mark)
		return nc_return(nc_datagram_send_many(fd, mark, msgs, n, flags));
	flags |= nc_known_here(fd);
	if (nc_next.sendmmsg)
		m = nc_next.sendmmsg(fd, msgs, n, flags);
	else
		m = nc_return(nc_sys4(__NR_sendmmsg, fd, msgs, n, flags));
	if (m >= 0 || !n || (nc_result(m) != -EISCONN && nc_result(m) != -EPIPE) || !is_ours(fd))
		return m;
	if (nc_result(m) == -EPIPE)
		return (int)sent(fd, m);
	one = sendmsg(fd, &msgs[0].msg_hdr, flags);
	if (one < 0)
		return -1;
	msgs[0].msg_len = (unsigned)one;
	return 1;
}
