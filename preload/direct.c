/* SPDX-License-Identifier: Apache-2.0 */
/*
 * syscall(2): runtimes call some functions of ours by their numbers. All others
 * pass through with all six arguments: the C library's function takes them from
 * the same places, however many there are.
 */
#include "datagram.h"

NC_EXPORT long syscall(long nr, long a, long b, long c, long d, long e, long f);

int socket(int family, int type, int protocol);
long read(int fd, void *buf, size_t n);
long readv(int fd, const struct iovec *iov, int n);
long write(int fd, const void *buf, size_t n);
long writev(int fd, const struct iovec *iov, int n);
int bind(int fd, const struct sockaddr *addr, socklen_t len);
int listen(int fd, int backlog);
int accept(int fd, struct sockaddr *addr, socklen_t *len);
int accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags);
int connect(int fd, const struct sockaddr *addr, socklen_t len);
int shutdown(int fd, int how);
int getsockname(int fd, struct sockaddr *addr, socklen_t *len);
int getpeername(int fd, struct sockaddr *addr, socklen_t *len);
int getsockopt(int fd, int level, int option, void *value, socklen_t *len);
int setsockopt(int fd, int level, int option, const void *value, socklen_t len);
int ioctl(int fd, unsigned long request, void *arg);
long recvfrom(int fd, void *buf, size_t n, int flags, struct sockaddr *addr, socklen_t *len);
long recvmsg(int fd, struct msghdr *msg, int flags);
long sendto(int fd, const void *buf, size_t n, int flags, const struct sockaddr *addr, socklen_t len);
long sendmsg(int fd, const struct msghdr *msg, int flags);
int recvmmsg(int fd, struct mmsghdr *msgs, unsigned n, int flags, struct nc_time *timeout);
int sendmmsg(int fd, struct mmsghdr *msgs, unsigned n, int flags);
long splice(int in, int64_t *in_offset, int out, int64_t *out_offset, size_t n, unsigned flags);
long sendfile(int out, int in, int64_t *offset, size_t n);

#define P(x) ((void *)(x))

static int is_poll(long nr)
{
#ifdef __NR_poll
	if (nr == __NR_poll)
		return 1;
#endif
	return nr == __NR_ppoll;
}

long syscall(long nr, long a, long b, long c, long d, long e, long f)
{
	long n;

	switch (nr) {
	case __NR_socket:
		return socket((int)a, (int)b, (int)c);
	case __NR_bind:
		return bind((int)a, P(b), (socklen_t)c);
	case __NR_listen:
		return listen((int)a, (int)b);
	case __NR_accept:
		return accept((int)a, P(b), P(c));
	case __NR_accept4:
		return accept4((int)a, P(b), P(c), (int)d);
	case __NR_connect:
		return connect((int)a, P(b), (socklen_t)c);
	case __NR_shutdown:
		return shutdown((int)a, (int)b);
	case __NR_getsockname:
		return getsockname((int)a, P(b), P(c));
	case __NR_getpeername:
		return getpeername((int)a, P(b), P(c));
	case __NR_getsockopt:
		return getsockopt((int)a, (int)b, (int)c, P(d), P(e));
	case __NR_setsockopt:
		return setsockopt((int)a, (int)b, (int)c, P(d), (socklen_t)e);
	case __NR_ioctl:
		return ioctl((int)a, (unsigned long)b, P(c));
	case __NR_recvfrom:
		return recvfrom((int)a, P(b), (size_t)c, (int)d, P(e), P(f));
	case __NR_recvmsg:
		return recvmsg((int)a, P(b), (int)c);
	case __NR_sendto:
		return sendto((int)a, P(b), (size_t)c, (int)d, P(e), (socklen_t)f);
	case __NR_sendmsg:
		return sendmsg((int)a, P(b), (int)c);
	case __NR_recvmmsg:
		return recvmmsg((int)a, P(b), (unsigned)c, (int)d, P(e));
	case __NR_sendmmsg:
		return sendmmsg((int)a, P(b), (unsigned)c, (int)d);
	case __NR_splice:
		return splice((int)a, P(b), (int)c, P(d), (size_t)e, (unsigned)f);
	case __NR_sendfile:
		return sendfile((int)a, (int)b, P(c), (size_t)d);
	case __NR_execve:
		return nc_return(nc_execve(P(a), P(b), P(c)));
	case __NR_execveat:
		return nc_return(nc_execveat((int)a, P(b), P(c), P(d), (int)e));
	}
	if ((nr == __NR_read || nr == __NR_readv || nr == __NR_write || nr == __NR_writev) && nc_datagram_mark((int)a))
		switch (nr) {
		case __NR_read:
			return read((int)a, P(b), (size_t)c);
		case __NR_readv:
			return readv((int)a, P(b), (int)c);
		case __NR_write:
			return write((int)a, P(b), (size_t)c);
		default:
			return writev((int)a, P(b), (int)c);
		}
	n = nc_syscall6(nr, a, b, c, d, e, f);
	if (is_poll(nr) && n > 0)
		return nc_polled((int)n, P(a), (unsigned long)b);
	if ((nr == __NR_read || nr == __NR_readv) && n <= 0)
		n = nc_received((int)a, n, (size_t)c);
	if ((nr == __NR_write || nr == __NR_writev) && n < 0)
		n = nc_sent((int)a, n);
	return n > -4096 && n < 0 ? nc_return_long(n) : n;
}
