/* SPDX-License-Identifier: Apache-2.0 */
/*
 * listen(2) and shutdown(2): the two calls that change what an end of the pair
 * means.
 *
 * shutdown is asked of the daemon first; its error (ENOTCONN) is the answer and
 * nothing native happens. When it agrees, the same shutdown is done natively,
 * so that this end reads end of file or gives EPIPE at once, sleepers wake, and
 * the daemon learns the rest from its own end, in order with the bytes:
 *
 *	SHUT_WR		read gives the bytes, then 0, without EPOLLHUP: FIN
 *	SHUT_RD		send gives EPIPE: what arrives from now on is dropped
 *	SHUT_RDWR	both, and EPOLLHUP, which a last close gives as well. The
 *			kernel cannot tell these apart, so the daemon has to
 *			remember that it agreed, and keep answering for the
 *			cookie (SO_ERROR, names) for some time
 *
 * NC_SHUTDOWN itself must therefore not send FIN: bytes may lie in the pair.
 *
 * A listener: SHUT_RD and SHUT_RDWR end it, SHUT_WR does nothing, as in the
 * kernel. It may listen again, so its pair is not shut: the daemon sends a
 * record that says so, which wakes one thread asleep in accept, and another one
 * when that thread asks for it. The last one stays, for those who poll. The mark goes first: who calls accept now is told EINVAL.
 * Connections in the pair are reset, now and those that came in between before
 * it listens again.
 *
 * A datagram socket: what the kernel does it does even where it says ENOTCONN. An
 * end that is shut for sending is only marked: both directions shut would be a
 * last close for the daemon.
 */
#include "datagram.h"

NC_EXPORT int listen(int fd, int backlog);
NC_EXPORT int shutdown(int fd, int how);

int listen(int fd, int backlog)
{
	struct nc_request rq;
	struct nc_reply rp;
	enum nc_mark mark;
	int err;

	if (!nc_config() || !(mark = nc_mark_get(fd)))
		return nc_return(nc_sys2(__NR_listen, fd, backlog));
	if (mark == NC_MARK_SHUT)
		nc_drop_connections(fd);
	nc_request_init(&rq, NC_LISTEN, 0);
	rq.value = backlog;
	err = nc_ask(fd, &rq, &rp);
	if (!err && mark != NC_MARK_LISTEN)
		err = nc_mark_move(fd, mark, NC_MARK_LISTEN);
	return nc_return(err);
}

static int shutdown_datagram(int fd, uint32_t mark, int how)
{
	struct nc_request rq;
	struct nc_reply rp;
	int err;

	if (how < SHUT_RD || how > SHUT_RDWR)
		return -EINVAL;
	nc_request_init(&rq, NC_SHUTDOWN, 0);
	rq.value = how;
	err = nc_ask(fd, &rq, &rp);
	if (how != SHUT_WR)
		(void)nc_sys2(__NR_shutdown, fd, SHUT_RD);
	if (how != SHUT_RD)
		(void)nc_mark_set(fd, (enum nc_mark)(mark | NC_MARK_MUTE));
	return err;
}

static int virtual_shutdown(int fd, enum nc_mark mark, int how)
{
	struct nc_request rq;
	struct nc_reply rp;
	int err;

	if (how < SHUT_RD || how > SHUT_RDWR)
		return -EINVAL;
	nc_request_init(&rq, NC_SHUTDOWN, 0);
	rq.value = how;
	if (mark == NC_MARK_LISTEN && how != SHUT_WR) {
		(void)nc_mark_set(fd, NC_MARK_SHUT);
		nc_drop_connections(fd);
	}
	err = nc_ask(fd, &rq, &rp);
	if ((err && err != NC_GONE) || mark == NC_MARK_LISTEN)
		return err == NC_GONE ? 0 : err;
	return (int)nc_sys2(__NR_shutdown, fd, how);
}

int shutdown(int fd, int how)
{
	enum nc_mark mark;

	if (!nc_config() || !(mark = nc_mark_get(fd)))
		return nc_return(nc_sys2(__NR_shutdown, fd, how));
	return nc_return(nc_is_datagram(mark) ? shutdown_datagram(fd, mark, how) : virtual_shutdown(fd, mark, how));
}
