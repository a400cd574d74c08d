/* SPDX-License-Identifier: Apache-2.0 */
/*
 * write(2), send(2) and their like: the native call, and then, where it failed,
 * what a pair's end could not say.
 *
 * EPIPE is what a pair says of every end; the error a connection died of comes
 * first in TCP. SIGPIPE was raised already: who neither ignores nor handles it
 * is gone. EISCONN: TCP ignores the address of a connected socket. TCP Fast Open
 * is refused, and programs connect first.
 */
#include "mark.h"
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
	if (nc_ask(fd, &rq, &rp) == 0 && rp.value > 0 && rp.value < 512)
		return -rp.value;
	return result;
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

long write(int fd, const void *buf, size_t n)
{
	return sent(fd, nc_next.write ? nc_next.write(fd, buf, n) : nc_return_long(nc_sys3(__NR_write, fd, buf, n)));
}

long writev(int fd, const struct iovec *iov, int n)
{
	return sent(fd, nc_next.writev ? nc_next.writev(fd, iov, n) : nc_return_long(nc_sys3(__NR_writev, fd, iov, n)));
}

long send(int fd, const void *buf, size_t n, int flags)
{
	if (!nc_next.send || flags & MSG_FASTOPEN)
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
	long m;

	if ((flags & MSG_FASTOPEN) && is_ours(fd))
		return nc_return_long(-EOPNOTSUPP);
	m = native_sendto(fd, buf, n, flags, addr, len);
	if (m < 0 && addr && nc_result(m) == -EISCONN && is_ours(fd))
		m = native_sendto(fd, buf, n, flags, NULL, 0);
	return sent(fd, m);
}

static long native_sendmsg(int fd, const struct msghdr *msg, int flags)
{
	return nc_next.sendmsg ? nc_next.sendmsg(fd, msg, flags) : nc_return_long(nc_sys3(__NR_sendmsg, fd, msg, flags));
}

long sendmsg(int fd, const struct msghdr *msg, int flags)
{
	struct msghdr bare;
	long m;

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
	int m;
	long one;

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
