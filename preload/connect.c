/* SPDX-License-Identifier: Apache-2.0 */
/*
 * connect(2).
 *
 * Non-blocking: our end is filled with zero bytes until poll says that it is
 * not writable, then the daemon is asked to connect; it discards exactly the
 * announced number when the connection is decided, and that gives the writable
 * edge poll and epoll wait for. On an immediate error answer the daemon
 * discards them at once.
 *
 * Filler must never get into a stream that lives, and programs do call connect
 * again to learn the outcome. So filler is only sent on a socket whose mark
 * says that nothing was tried, or after the daemon was asked with NC_F_PROBE:
 *
 *	FRESH, TIMED		fill, NC_CONNECT
 *	else, probe says 0	fill, NC_CONNECT (the last attempt failed)
 *	EALREADY, blocking	NC_CONNECT with NC_F_WAIT and no filler joins the
 *				attempt that runs, as the kernel does
 *	ECONNABORTED		with reply.value: the pair ended with a failed
 *				attempt, and connect has said so. A new pair
 *				takes its place (socket.c), then as above
 *	EISCONN			NC_CONNECT without filler: the first such call
 *				after a connect that did not wait succeeds
 *	other			that is the answer
 *
 * Two threads that call connect on one fresh socket may both fill: the one who
 * is told EALREADY had its filler added to what the daemon will discard.
 *
 * Blocking: NC_F_WAIT and no filler; the thread sleeps in recvfrom on the
 * private reply socket, so the kernel decides about EINTR, SA_RESTART and
 * SO_SNDTIMEO (EINPROGRESS, as connect says). The attempt goes on, and poll must
 * not find the socket writable before the outcome is known: after such an
 * interruption the daemon is asked to read nothing more (NC_F_HOLD), the end is
 * filled, and then it is told how much (NC_F_FILLED). Connect called again waits.
 *
 * A restarted connect (SA_RESTART) is the kernel's restart of recvmsg.
 *
 * AF_UNSPEC, to dissolve what there is, is the daemon's to grant or to refuse
 * (NC_CONNECT with family 0, never with filler). Bytes of the dissolved
 * connection that were not read are dropped, on its side as on ours.
 */
#include "datagram.h"

NC_EXPORT int connect(int fd, const struct sockaddr *addr, socklen_t len);
NC_EXPORT int __connect(int fd, const struct sockaddr *addr, socklen_t len) __attribute__((alias("connect")));

/*
 * 14 pages at once make the default buffer not writable: unix_writable() wants
 * four times the used memory to be above SO_SNDBUF, 212,992 bytes.
 */
#define FILL_PAGES 14
#define FILL_ROUNDS_MAX 1024

static const unsigned char zeros[4096];

static int writable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	struct nc_time zero = { 0, 0 };

	return nc_sys5(__NR_ppoll, &p, 1, &zero, 0, 0) > 0 && (p.revents & POLLOUT);
}

/* The number of filler bytes sent. */
static uint32_t fill(int fd)
{
	struct iovec iov[FILL_PAGES];
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = FILL_PAGES };
	uint32_t sent = 0;

	for (int i = 0; i < FILL_PAGES; i++) {
		iov[i].iov_base = (void *)(uintptr_t)zeros;
		iov[i].iov_len = sizeof zeros;
	}
	for (int i = 0; i < FILL_ROUNDS_MAX; i++) {
		long n = nc_sys3(__NR_sendmsg, fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL | nc_own);

		if (n <= 0)
			break;
		sent += (uint32_t)n;
		if (!writable(fd))
			break;
	}
	return sent;
}

/* The error of a wait that was too long is in_time. */
static int connect_waiting(int fd, struct nc_request *rq, struct nc_reply *rp, int in_time)
{
	struct nc_time timeout = { 0, 0 };
	socklen_t len = sizeof timeout;
	int err;

	(void)nc_sys5(__NR_getsockopt, fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, &len);
	rq->flags = NC_F_WAIT;
	err = nc_call_interruptible(rq, rp, &timeout);
	if (err != -EAGAIN && err != -EINTR)
		return err;
	rq->flags = NC_F_HOLD;
	if (nc_call(rq, rp, -1) == -EALREADY) {
		rq->flags = NC_F_FILLED;
		rq->filler = fill(fd);
		(void)nc_call(rq, rp, -1);
	}
	return err == -EAGAIN ? in_time : err;
}

static int probe(struct nc_request *rq, struct nc_reply *rp)
{
	int err;

	rq->flags = NC_F_PROBE;
	rp->value = 0;
	err = nc_call(rq, rp, -1);
	rq->flags = 0;
	return err;
}

/* Decided at once; a later one changes the peer. */
static int connect_datagram(int fd, uint32_t mark, const struct sockaddr *addr, socklen_t len)
{
	struct nc_request rq;
	struct nc_reply rp;
	int err;

	nc_request_init(&rq, NC_CONNECT, nc_cookie(fd));
	err = nc_addr_from_sockaddr(&rq.addr, addr, len);
	if (err)
		return err;
	rq.value = (int)len;
	err = nc_call(&rq, &rp, -1);
	if (err)
		return err;
	mark = rq.addr.family ? mark | NC_MARK_PEER : mark & ~(uint32_t)NC_MARK_PEER;
	return nc_mark_set(fd, (enum nc_mark)mark);
}

static int virtual_connect(int fd, enum nc_mark mark, const struct sockaddr *addr, socklen_t len)
{
	struct nc_request rq;
	struct nc_reply rp;
	int err, blocking;

	nc_request_init(&rq, NC_CONNECT, nc_cookie(fd));
	err = nc_addr_from_sockaddr(&rq.addr, addr, len);
	if (err)
		return err;
	rq.value = (int)len;
	if (!rq.addr.family) {
		err = nc_call(&rq, &rp, -1);
		if (err)
			return err;
		if (mark == NC_MARK_LISTEN)
			nc_drop_connections(fd);
		else
			nc_drain(fd);
		return nc_mark_move(fd, mark, NC_MARK_TIMED);
	}
	if (mark == NC_MARK_LISTEN)
		return -EISCONN;
	if (mark == NC_MARK_SHUT)
		nc_drop_connections(fd);
	blocking = !(nc_sys2(__NR_fcntl, fd, F_GETFL) & O_NONBLOCK);
	if (mark == NC_MARK_FRESH || mark == NC_MARK_TIMED || mark == NC_MARK_SHUT)
		err = nc_mark_move(fd, mark, NC_MARK_USED);
	else
		err = probe(&rq, &rp);
	if (err == -ECONNABORTED && rp.value) {
		err = nc_revive(fd);
		rq.cookie = nc_cookie(fd);
	}
	if (blocking && (!err || err == -EALREADY))
		return connect_waiting(fd, &rq, &rp, err ? err : -EINPROGRESS);
	if (err && err != -EISCONN)
		return err;
	if (!err)
		rq.filler = fill(fd);
	return nc_call(&rq, &rp, -1);
}

int connect(int fd, const struct sockaddr *addr, socklen_t len)
{
	enum nc_mark mark;
	int err;

	if (!nc_config() || !(mark = nc_mark_get(fd)))
		return nc_return(nc_sys3(__NR_connect, fd, addr, len));
	err = nc_is_datagram(mark) ? connect_datagram(fd, mark, addr, len) : virtual_connect(fd, mark, addr, len);
	return nc_return(err == -EMFILE || err == -ENFILE ? -ENOBUFS : err);
}
