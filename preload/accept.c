/* SPDX-License-Identifier: Apache-2.0 */
/*
 * accept(2) and accept4(2): one struct nc_accept with one descriptor, received
 * from the listener's end. O_NONBLOCK, EINTR, SA_RESTART and SO_RCVTIMEO are
 * those of recvmsg on the real descriptor. Only a socket marked as listener is
 * read from: on any other the native call runs, and the kernel's answer for a
 * pair's end (EINVAL) is the one wanted; a connection's bytes are never eaten.
 *
 * Full descriptor table: recvmsg would throw the connection away where accept
 * leaves it in the queue. So a free number is proved first, by making and
 * closing a duplicate, and the answer is EMFILE if there is none. Between proof
 * and receipt other threads can still take the last number: then the connection
 * is lost (its peer sees a close) and the answer is EMFILE as well.
 */
#include "mark.h"

NC_EXPORT int accept(int fd, struct sockaddr *addr, socklen_t *len);
NC_EXPORT int accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags);

static int prove_free_fd(int fd)
{
	long dup = nc_sys3(__NR_fcntl, fd, F_DUPFD_CLOEXEC, 0);

	if (dup < 0)
		return (int)dup;
	nc_close((int)dup);
	return 0;
}

/* The listener reads as end of file: shut down by us, or its daemon is gone. */
static int ended(int fd)
{
	return nc_mark_get(fd) == NC_MARK_LISTEN ? NC_GONE : -EINVAL;
}

static int receive(int fd, struct nc_accept *record, int cloexec)
{
	struct iovec iov = { .iov_base = record, .iov_len = sizeof *record };
	struct nc_rights rights = { .fd = { -1, -1 } };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &rights,
		.msg_controllen = NC_RIGHTS_LEN(1),
	};
	int conn = -1;
	long n;

	n = nc_sys3(__NR_recvmsg, fd, &msg, cloexec ? MSG_CMSG_CLOEXEC : 0);
	if (n == 0 || n == -ECONNRESET)
		return ended(fd);
	if (n < 0)
		return (int)n;
	if (msg.msg_controllen >= NC_RIGHTS_LEN(1) && rights.level == SOL_SOCKET && rights.type == SCM_RIGHTS)
		conn = rights.fd[0];
	if (conn < 0)
		return msg.msg_flags & MSG_CTRUNC ? -EMFILE : -ECONNABORTED;
	if (n != (long)sizeof *record || record->magic != NC_MAGIC) {
		nc_close(conn);
		return -EPROTO;
	}
	return conn;
}

static int virtual_accept(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
	struct nc_accept record;
	int conn, err;

	if (flags & ~(SOCK_CLOEXEC | SOCK_NONBLOCK))
		return -EINVAL;
	err = addr ? nc_sockaddr_room(addr, len) : 0;
	if (!err)
		err = prove_free_fd(fd);
	if (err)
		return err;
	conn = receive(fd, &record, flags & SOCK_CLOEXEC);
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
	if (!nc_config() || nc_mark_get(fd) != NC_MARK_LISTEN)
		return nc_return(nc_sys3(__NR_accept, fd, addr, len));
	return nc_return(virtual_accept(fd, addr, len, 0));
}

int accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
	if (!nc_config() || nc_mark_get(fd) != NC_MARK_LISTEN)
		return nc_return(nc_sys4(__NR_accept4, fd, addr, len, flags));
	return nc_return(virtual_accept(fd, addr, len, flags));
}
