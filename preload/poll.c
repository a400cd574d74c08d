/* SPDX-License-Identifier: Apache-2.0 */
/*
 * poll(2) and ppoll(2) of sockets with an error queue. What the network reported
 * is a record in the pair, which polls as IN; programs that asked for the queue
 * (IP_RECVERR) look for ERR and then into it. So where the next record of a
 * datagram socket is an error, IN becomes ERR. That a datagram lies behind it is
 * seen when the error was taken.
 *
 * In a process that never asked for an error queue the native call is all there
 * is. One that inherited such a socket by exec did not ask.
 */
#include "datagram.h"
#include "next.h"

NC_EXPORT int poll(struct pollfd *fds, unsigned long n, int timeout);
NC_EXPORT int __poll(struct pollfd *fds, unsigned long n, int timeout) __attribute__((alias("poll")));
NC_EXPORT int __poll_chk(struct pollfd *fds, unsigned long n, int timeout, size_t room);
NC_EXPORT int ppoll(struct pollfd *fds, unsigned long n, const struct nc_time *timeout, const void *mask);
NC_EXPORT int __ppoll_chk(struct pollfd *fds, unsigned long n, const struct nc_time *timeout, const void *mask, size_t room);

#define SIGSET_SIZE 8 /* the kernel's */

static atomic_int error_queues;

/* An option was set: is it one that asks for an error queue? */
void nc_error_queue_wanted(int level, int option)
{
	if ((level == IPPROTO_IP && option == IP_RECVERR) || (level == IPPROTO_IPV6 && option == IPV6_RECVERR))
		atomic_store_explicit(&error_queues, 1, memory_order_relaxed);
}

/* The result of a poll, and what it found. */
int nc_polled(int ready, struct pollfd *fds, unsigned long n)
{
	const short in = POLLIN | POLLRDNORM;

	if (__builtin_expect(!atomic_load_explicit(&error_queues, memory_order_relaxed), 1))
		return ready;
	for (int left = ready; left > 0 && n--; fds++) {
		if (!fds->revents)
			continue;
		left--;
		if ((fds->revents & in) && nc_datagram_mark(fds->fd) && nc_error_is_next(fds->fd))
			fds->revents = (short)((fds->revents & ~in) | POLLERR);
	}
	return ready;
}

/* struct timespec is written: the kernel leaves there what was not waited. */
static int native_ppoll(struct pollfd *fds, unsigned long n, const struct nc_time *timeout, const void *mask)
{
	struct nc_time left;

	if (timeout)
		left = *timeout;
	return nc_return(nc_sys5(__NR_ppoll, fds, n, timeout ? &left : NULL, mask, SIGSET_SIZE));
}

int poll(struct pollfd *fds, unsigned long n, int timeout)
{
	const struct nc_time limit = { timeout / 1000, timeout % 1000 * 1000000L };

	if (nc_next.poll)
		return nc_polled(nc_next.poll(fds, n, timeout), fds, n);
	return nc_polled(native_ppoll(fds, n, timeout < 0 ? NULL : &limit, NULL), fds, n);
}

int __poll_chk(struct pollfd *fds, unsigned long n, int timeout, size_t room)
{
	if (nc_next.poll_chk)
		return nc_polled(nc_next.poll_chk(fds, n, timeout, room), fds, n);
	return poll(fds, n, timeout);
}

int ppoll(struct pollfd *fds, unsigned long n, const struct nc_time *timeout, const void *mask)
{
	if (nc_next.ppoll)
		return nc_polled(nc_next.ppoll(fds, n, timeout, mask), fds, n);
	return nc_polled(native_ppoll(fds, n, timeout, mask), fds, n);
}

int __ppoll_chk(struct pollfd *fds, unsigned long n, const struct nc_time *timeout, const void *mask, size_t room)
{
	if (nc_next.ppoll_chk)
		return nc_polled(nc_next.ppoll_chk(fds, n, timeout, mask, room), fds, n);
	return ppoll(fds, n, timeout, mask);
}
