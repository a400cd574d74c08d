/* SPDX-License-Identifier: Apache-2.0 */
/*
 * read(2), recv(2) and their like: the native call, and then what a pair's end
 * could not say.
 *
 * A reset. The daemon can make the kernel say ECONNRESET only where bytes of the
 * application lie unread at its own end; where there are none the pair reads as
 * end of file. So a call that returned no bytes on a socket of ours that is hung
 * up asks the daemon whether there is an error to report. A FIN alone does not
 * hang up: the common end costs two short system calls more. ECONNRESET is asked
 * about as well: the error may have another number (a connect that failed), and
 * the daemon has to know that it was told.
 *
 * A socket without a connection. A pair is connected, and has nothing to read:
 * EAGAIN of a socket that never tried to connect is ENOTCONN in TCP. A call that
 * waits gets EAGAIN too, because such a socket has a limit of a tick for reads.
 *
 * Flags a pair does not know: MSG_TRUNC takes bytes without copying them,
 * MSG_ERRQUEUE reads a queue that is always empty. MSG_OOB of a listener.
 *
 * Datagram sockets are asked for first (datagram_receive.c).
 */
#include "datagram.h"
#include "next.h"

NC_EXPORT long read(int fd, void *buf, size_t n);
NC_EXPORT long __read(int fd, void *buf, size_t n) __attribute__((alias("read")));
NC_EXPORT long __read_chk(int fd, void *buf, size_t n, size_t room);
NC_EXPORT long readv(int fd, const struct iovec *iov, int n);
NC_EXPORT long recv(int fd, void *buf, size_t n, int flags);
NC_EXPORT long __recv_chk(int fd, void *buf, size_t n, size_t room, int flags);
NC_EXPORT long recvfrom(int fd, void *buf, size_t n, int flags, struct sockaddr *addr, socklen_t *len);
NC_EXPORT long __recvfrom_chk(int fd, void *buf, size_t n, size_t room, int flags, struct sockaddr *addr, socklen_t *len);
NC_EXPORT long recvmsg(int fd, struct msghdr *msg, int flags);
NC_EXPORT int recvmmsg(int fd, struct mmsghdr *msgs, unsigned n, int flags, struct nc_time *timeout);

#define SPECIAL (MSG_ERRQUEUE | MSG_TRUNC | MSG_OOB)

static int hung_up(int fd)
{
	struct pollfd p = { .fd = fd };
	struct nc_time zero = { 0, 0 };

	return nc_sys5(__NR_ppoll, &p, 1, &zero, 0, 0) > 0 && (p.revents & POLLHUP);
}

static int unconnected(enum nc_mark mark)
{
	return mark == NC_MARK_FRESH || mark == NC_MARK_TIMED || mark == NC_MARK_LISTEN || mark == NC_MARK_SHUT;
}

/* The result (-errno) of a call that read 0 bytes of room, or failed. */
long nc_received(int fd, long result, size_t room)
{
	struct nc_request rq;
	struct nc_reply rp;

	if (result == -EAGAIN)
		return nc_config() && unconnected(nc_mark_get(fd)) ? -ENOTCONN : result;
	if ((result != 0 && result != -ECONNRESET) || (result == 0 && room == 0) || !nc_config())
		return result;
	if (!nc_mark_get(fd) || (result == 0 && !hung_up(fd)))
		return result;
	nc_request_init(&rq, NC_TAKE_ERROR, 0);
	if (nc_ask(fd, &rq, &rp) || rp.value <= 0 || rp.value >= 512)
		return result;
	(void)nc_native_error(fd);
	return -rp.value;
}

/* The same for a result of a library's function. */
static long received(int fd, long n, size_t room)
{
	long result = nc_result(n), now = nc_received(fd, result, room);

	return now == result ? n : nc_return_long(now);
}

static size_t room_of(const struct iovec *iov, size_t n)
{
	size_t room = 0;

	while (n--)
		room += iov++->iov_len;
	return room;
}

/* Takes up to n bytes and drops them. */
static long discard(int fd, size_t n, int flags)
{
	unsigned char scratch[4096];
	size_t done = 0;

	flags &= ~MSG_TRUNC;
	do {
		size_t want = n - done < sizeof scratch ? n - done : sizeof scratch;
		long m = nc_syscall6(__NR_recvfrom, fd, NC_ARG(scratch), (long)want, flags, 0, 0);

		if (m <= 0)
			return done ? (long)done : nc_received(fd, m, n);
		done += (size_t)m;
		if ((size_t)m < want || (flags & MSG_PEEK))
			break;
		if (!(flags & MSG_WAITALL))
			flags |= MSG_DONTWAIT;
	} while (done < n);
	return (long)done;
}

/* Whether flags make of this call one of our own, and its result then. */
static int special(int fd, int flags, size_t room, long *result)
{
	enum nc_mark mark;

	if (!(flags & SPECIAL) || !nc_config() || !(mark = nc_mark_get(fd)))
		return 0;
	if (mark == NC_MARK_LISTEN || mark == NC_MARK_SHUT)
		*result = flags & MSG_ERRQUEUE ? -EAGAIN : -ENOTCONN;
	else if (flags & MSG_ERRQUEUE)
		*result = -EAGAIN;
	else if (!(flags & MSG_OOB))
		*result = discard(fd, room, flags);
	else
		return 0;
	return 1;
}

/* A datagram, or the error, as the application is told. */
static long datagram(int fd, uint32_t mark, void *buf, size_t n, int flags)
{
	struct iovec iov = { buf, n };

	return nc_return_long(nc_datagram_receive(fd, mark, &(struct msghdr){ .msg_iov = &iov, .msg_iovlen = 1 }, flags));
}

long read(int fd, void *buf, size_t n)
{
	uint32_t mark = nc_datagram_mark(fd);
	long m;

	if (mark)
		return n ? datagram(fd, mark, buf, n, 0) : 0;
	m = nc_next.read ? nc_next.read(fd, buf, n) : nc_return_long(nc_sys3(__NR_read, fd, buf, n));

	return m > 0 ? m : received(fd, m, n);
}

long __read_chk(int fd, void *buf, size_t n, size_t room)
{
	long m;

	if (!nc_next.read_chk || nc_datagram_mark(fd)) {
		if (n > room)
			__builtin_trap();
		return read(fd, buf, n);
	}
	m = nc_next.read_chk(fd, buf, n, room);
	return m > 0 ? m : received(fd, m, n);
}

long readv(int fd, const struct iovec *iov, int n)
{
	uint32_t mark = nc_datagram_mark(fd);
	long m;

	if (mark && n > NC_SPANS_MAX)
		return nc_return_long(-EINVAL);
	if (mark && n >= 0) {
		struct msghdr msg = { .msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = (size_t)n };

		return nc_total(iov, (size_t)n) ? nc_return_long(nc_datagram_receive(fd, mark, &msg, 0)) : 0;
	}
	m = nc_next.readv ? nc_next.readv(fd, iov, n) : nc_return_long(nc_sys3(__NR_readv, fd, iov, n));

	if (m > 0)
		return m;
	return received(fd, m, m == 0 ? room_of(iov, (size_t)n) : 0);
}

static long datagram_from(int fd, uint32_t mark, void *buf, size_t n, int flags, struct sockaddr *addr, socklen_t *len)
{
	struct iovec iov = { buf, n };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_name = addr };
	long m = addr ? nc_sockaddr_room(addr, len) : 0;

	if (m)
		return nc_return_long(m);
	msg.msg_namelen = addr ? (int)*len : 0;
	m = nc_datagram_receive(fd, mark, &msg, flags);
	if (m >= 0 && addr)
		*len = (socklen_t)msg.msg_namelen;
	return nc_return_long(m);
}

long recvfrom(int fd, void *buf, size_t n, int flags, struct sockaddr *addr, socklen_t *len)
{
	uint32_t mark = nc_datagram_mark(fd);
	long m;

	if (mark)
		return datagram_from(fd, mark, buf, n, flags, addr, len);
	if (special(fd, flags, n, &m)) {
		if (m >= 0 && len)
			*len = 0;
		return nc_return_long(m);
	}
	if (nc_next.recvfrom)
		m = nc_next.recvfrom(fd, buf, n, flags, addr, len);
	else
		m = nc_return_long(nc_syscall6(__NR_recvfrom, fd, NC_ARG(buf), (long)n, flags, NC_ARG(addr), NC_ARG(len)));
	return m > 0 ? m : received(fd, m, n);
}

long __recvfrom_chk(int fd, void *buf, size_t n, size_t room, int flags, struct sockaddr *addr, socklen_t *len)
{
	long m;

	if (!nc_next.recvfrom_chk || flags & SPECIAL || nc_datagram_mark(fd)) {
		if (n > room)
			__builtin_trap();
		return recvfrom(fd, buf, n, flags, addr, len);
	}
	m = nc_next.recvfrom_chk(fd, buf, n, room, flags, addr, len);
	return m > 0 ? m : received(fd, m, n);
}

long recv(int fd, void *buf, size_t n, int flags)
{
	long m;

	if (!nc_next.recv || flags & SPECIAL || nc_datagram_mark(fd))
		return recvfrom(fd, buf, n, flags, NULL, NULL);
	m = nc_next.recv(fd, buf, n, flags);
	return m > 0 ? m : received(fd, m, n);
}

long __recv_chk(int fd, void *buf, size_t n, size_t room, int flags)
{
	long m;

	if (!nc_next.recv_chk || flags & SPECIAL || nc_datagram_mark(fd)) {
		if (n > room)
			__builtin_trap();
		return recv(fd, buf, n, flags);
	}
	m = nc_next.recv_chk(fd, buf, n, room, flags);
	return m > 0 ? m : received(fd, m, n);
}

long recvmsg(int fd, struct msghdr *msg, int flags)
{
	uint32_t mark = nc_datagram_mark(fd);
	long m;

	if (mark && msg)
		return nc_return_long(nc_datagram_receive(fd, mark, msg, flags));
	if ((flags & SPECIAL) && msg && special(fd, flags, room_of(msg->msg_iov, msg->msg_iovlen), &m)) {
		if (m >= 0) {
			msg->msg_namelen = 0;
			msg->msg_controllen = 0;
			msg->msg_flags = 0;
		}
		return nc_return_long(m);
	}
	flags |= nc_known_here(fd);
	m = nc_next.recvmsg ? nc_next.recvmsg(fd, msg, flags) : nc_return_long(nc_sys3(__NR_recvmsg, fd, msg, flags));
	if (m >= 0 && msg->msg_control)
		nc_datagrams_passed(msg);
	if (m > 0)
		return m;
	return received(fd, m, m == 0 ? room_of(msg->msg_iov, msg->msg_iovlen) : 0);
}

/*
 * Of a stream that has ended, every message after the last bytes is empty. An
 * error is the next call's, unless there is nothing else to tell.
 */
static int full_messages(int fd, const struct mmsghdr *msgs, int n)
{
	int full = 0;

	while (full < n && (msgs[full].msg_len || !room_of(msgs[full].msg_hdr.msg_iov, msgs[full].msg_hdr.msg_iovlen)))
		full++;
	return full == n || !nc_config() || !nc_mark_get(fd) || !hung_up(fd) ? n : full;
}

int recvmmsg(int fd, struct mmsghdr *msgs, unsigned n, int flags, struct nc_time *timeout)
{
	uint32_t mark = nc_datagram_mark(fd);
	int m, full;
	long now;

	if (mark)
		return nc_return(nc_datagram_receive_many(fd, mark, msgs, n, flags, timeout));
	if (n && (flags & SPECIAL) && nc_config() && nc_mark_get(fd)) {
		now = recvmsg(fd, &msgs[0].msg_hdr, flags);
		msgs[0].msg_len = now < 0 ? 0 : (unsigned)now;
		return now < 0 ? -1 : 1;
	}
	flags |= nc_known_here(fd);
	if (nc_next.recvmmsg)
		m = nc_next.recvmmsg(fd, msgs, n, flags, timeout);
	else
		m = nc_return(nc_sys5(__NR_recvmmsg, fd, msgs, n, flags, timeout));
	if (m < 0)
		return (int)received(fd, m, 1);
	full = full_messages(fd, msgs, m);
	if (full == m || full > 0)
		return full;
	now = nc_received(fd, 0, 1);
	return now < 0 ? nc_return(now) : m;
}
