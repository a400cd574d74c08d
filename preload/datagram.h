/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Datagram sockets: what their hooks share. Every record of such a pair has a
 * header (struct nc_datagram), so unlike with streams no call may be made before
 * it is known what the descriptor is. To ask costs a system call: a process asks
 * only when it ever had such a socket.
 */
#ifndef NETCON_PRELOAD_DATAGRAM_H
#define NETCON_PRELOAD_DATAGRAM_H

#include <stdatomic.h>

#include "mark.h"

/* The most spans of a datagram: the kernel's UIO_MAXIOV, less the header's. */
#define NC_SPANS_MAX 1023

/* datagram.c */
extern atomic_int nc_datagrams_seen;
void nc_datagrams_find(void);
void nc_datagrams_passed(const struct msghdr *msg);
int nc_take_datagram_error(int fd);
int nc_next_datagram(int fd);
int nc_error_is_next(int fd);
int nc_take_event(int fd);
int nc_is_known(uint64_t cookie, const struct nc_addr *remote, const struct nc_addr *source);
void nc_make_known(uint64_t cookie, const struct nc_addr *remote, const struct nc_addr *source);

/* poll.c */
void nc_error_queue_wanted(int level, int option);
int nc_polled(int ready, struct pollfd *fds, unsigned long n);

/* datagram_control.c */
void nc_control_out(struct msghdr *msg, const struct nc_datagram *h, uint32_t mark);
int nc_control_in(struct nc_datagram *h, const struct msghdr *msg, uint32_t mark);

/* datagram_receive.c */
long nc_datagram_receive(int fd, uint32_t mark, struct msghdr *msg, int flags);
long nc_datagram_receive_many(int fd, uint32_t mark, struct mmsghdr *msgs, unsigned n, int flags, struct nc_time *timeout);

/* datagram_send.c */
long nc_datagram_send(int fd, uint32_t mark, const struct msghdr *msg, int flags);
long nc_datagram_send_many(int fd, uint32_t mark, struct mmsghdr *msgs, unsigned n, int flags);

static inline int nc_is_datagram(uint32_t mark)
{
	return mark >= NC_MARK_DATAGRAM && mark < NC_MARK_DATAGRAM_END;
}

/* The mark of a datagram socket of ours, else 0. */
static inline uint32_t nc_datagram_mark(int fd)
{
	uint32_t mark;

	if (__builtin_expect(!atomic_load_explicit(&nc_datagrams_seen, memory_order_relaxed), 1) || !nc_config())
		return 0;
	mark = nc_mark_get(fd);
	return nc_is_datagram(mark) ? mark : 0;
}

/* The bytes of n spans; more than INT32_MAX counts as that. */
static inline size_t nc_total(const struct iovec *iov, size_t n)
{
	size_t total = 0;

	for (; n--; iov++) {
		if (iov->iov_len > INT32_MAX - total)
			return INT32_MAX;
		total += iov->iov_len;
	}
	return total;
}

#endif /* NETCON_PRELOAD_DATAGRAM_H */
