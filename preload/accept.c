/* SPDX-License-Identifier: Apache-2.0 */
/*
 * accept(2) and accept4(2): one struct nc_accept with one descriptor, received
 * from the listener's end. O_NONBLOCK, EINTR, SA_RESTART and SO_RCVTIMEO are
 * those of recvmsg on the real descriptor. Only a socket marked as listener is
 * read from: on any other the native call runs, and the kernel's answer for a
 * pair's end (EINVAL) is the one wanted; a connection's bytes are never eaten.
 *
 * A connection comes with one byte in its pair. If nobody ever accepts it, it is
 * closed with that byte unread, and the daemon knows to reset it, as the kernel
 * does.
 *
 * Full descriptor table: recvmsg would throw the connection away where accept
 * leaves it in the queue. So a free number is proved first, by making and
 * closing a duplicate, and the answer is EMFILE if there is none. Between proof
 * and receipt other threads can still take the last number: then the connection
 * is lost (its peer sees a close) and the answer is EMFILE as well.
 */
#include "datagram.h"
#include "next.h"

NC_EXPORT int accept(int fd, struct sockaddr *addr, socklen_t *len);
NC_EXPORT int accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags);

/* The listener reads as end of file: its daemon is gone. */
static int ended(int fd)
{
	return nc_mark_get(fd) == NC_MARK_LISTEN ? NC_GONE : -EINVAL;
}

static int receive(int fd, struct nc_accept *record, int flags)
{
	struct iovec iov = { .iov_base = record, .iov_len = sizeof *record };
	struct nc_rights rights = { .fd = { -1, -1 } };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &rights,
		.msg_controllen = NC_RIGHTS_LEN(1),
	};
	unsigned char token;
	int conn = -1;
	long n;

	/* The library's function is a cancellation point, as accept is. */
	if (nc_next.recvmsg)
		n = nc_result(nc_next.recvmsg(fd, &msg, flags | nc_own));
	else
		n = nc_sys3(__NR_recvmsg, fd, &msg, flags | nc_own);
	if (n == 0 || n == -ECONNRESET)
		return ended(fd);
	if (n < 0)
		return (int)n;
	if (msg.msg_controllen >= NC_RIGHTS_LEN(1) && rights.level == SOL_SOCKET && rights.type == SCM_RIGHTS)
		conn = rights.fd[0];
	if (conn < 0 && n == (long)sizeof *record && record->ended)
		return -ESHUTDOWN;
	if (conn < 0)
		return msg.msg_flags & MSG_CTRUNC ? -EMFILE : -ECONNABORTED;
	if (n != (long)sizeof *record || record->magic != NC_MAGIC) {
		nc_close(conn);
		return -EPROTO;
	}
	(void)nc_syscall6(__NR_recvfrom, conn, NC_ARG(&token), 1, MSG_DONTWAIT, 0, 0);
	return conn;
}

/* Resets the connections that lie in the pair of a listener that is over. */
void nc_drop_connections(int fd)
{
	struct nc_accept record;

	/* Without room for them the kernel closes what comes along. */
	while (nc_syscall6(__NR_recvfrom, fd, NC_ARG(&record), sizeof record, MSG_DONTWAIT, 0, 0) > 0)
		;
}

/* The listener was shut down: tells the next one who sleeps. */
static int woken(int fd)
{
	struct nc_request rq;
	struct nc_reply rp;

	nc_request_init(&rq, NC_SHUTDOWN, 0);
	rq.flags = NC_F_PROBE;
	(void)nc_ask(fd, &rq, &rp);
	return -EINVAL;
}

static int virtual_accept(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
	struct nc_accept record;
	int conn, err;

	if (flags & ~(SOCK_CLOEXEC | SOCK_NONBLOCK))
		return -EINVAL;
	err = addr ? nc_sockaddr_room(addr, len) : 0;
	if (!err)
		err = nc_prove_free_fd(fd);
	if (err)
		return err;
	do
		conn = receive(fd, &record, flags & SOCK_CLOEXEC ? MSG_CMSG_CLOEXEC : 0);
	while (conn == -ESHUTDOWN && nc_mark_get(fd) == NC_MARK_LISTEN); /* it listens again */
	if (conn == -ESHUTDOWN)
		return woken(fd);
	if (conn < 0)
		return conn;
	(void)nc_mark_set(conn, NC_MARK_USED);
	if (flags & SOCK_NONBLOCK)
		(void)nc_sys3(__NR_fcntl, conn, F_SETFL, O_RDWR | O_NONBLOCK);
	if (addr)
		(void)nc_addr_to_sockaddr(&record.peer, addr, len);
	return conn;
}

int accept(int fd, struct sockaddr *addr, socklen_t *len)
{
	if (nc_datagram_mark(fd))
		return nc_return(-EOPNOTSUPP);
	if (!nc_config() || nc_mark_get(fd) != NC_MARK_LISTEN)
		return nc_return(nc_sys3(__NR_accept, fd, addr, len));
	return nc_return(virtual_accept(fd, addr, len, 0));
}

int accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
	if (nc_datagram_mark(fd))
		return nc_return(flags & ~(SOCK_CLOEXEC | SOCK_NONBLOCK) ? -EINVAL : -EOPNOTSUPP);
	if (!nc_config() || nc_mark_get(fd) != NC_MARK_LISTEN)
		return nc_return(nc_sys4(__NR_accept4, fd, addr, len, flags));
	return nc_return(virtual_accept(fd, addr, len, flags));
}
