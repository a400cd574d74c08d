/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which descriptors are ours. Each virtual socket carries a mark in its kernel
 * object: a value of SO_MAX_PACING_RATE, an option every socket stores, any
 * user may set and an AF_UNIX socket makes no use of. So the mark is shared by
 * all duplicates of the descriptor and survives fork, exec and SCM_RIGHTS,
 * costs one system call to read and needs no table. The application cannot
 * overwrite it by setsockopt: that one goes to the daemon.
 *
 * A mark is a hint and not a proof: it decides where a call is sent, never what
 * the daemon grants, and a program that marks its own sockets fools itself.
 * Unmarked descriptors (the kernel's sockets, somebody's AF_UNIX sockets, files,
 * closed numbers) get the native call, and with it the native error.
 *
 * The values are enum nc_mark. A FRESH one has SO_RCVTIMEO set to a tick, so that
 * a read that may wait says EAGAIN, and receive.c ENOTCONN.
 */
#ifndef NETCON_PRELOAD_MARK_H
#define NETCON_PRELOAD_MARK_H

#include "shim.h"

static inline enum nc_mark nc_mark_get(int fd)
{
	uint32_t value = 0;
	socklen_t len = sizeof value;

	if (nc_sys5(__NR_getsockopt, fd, SOL_SOCKET, SO_MAX_PACING_RATE, &value, &len) < 0)
		return NC_MARK_NONE;
	if (value >= NC_MARK_DATAGRAM && value < NC_MARK_DATAGRAM_END)
		return (enum nc_mark)value;
	if (value < NC_MARK_FRESH || value > NC_MARK_SHUT)
		return NC_MARK_NONE;
	return (enum nc_mark)value;
}

/* What sendmsg and its like need for a supervisor to let them pass. */
static inline int nc_known_here(int fd)
{
	return nc_own && nc_mark_get(fd) != NC_MARK_NONE ? nc_own : 0;
}

static inline int nc_mark_set(int fd, enum nc_mark mark)
{
	uint32_t value = mark;

	return (int)nc_sys5(__NR_setsockopt, fd, SOL_SOCKET, SO_MAX_PACING_RATE, &value, sizeof value);
}

/* SO_RCVTIMEO; 0: none. */
static inline void nc_read_limit(int fd, long usec)
{
	struct nc_time limit = { 0, usec };

	(void)nc_sys5(__NR_setsockopt, fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
}

/* From mark to next, and without what FRESH brought along. */
static inline int nc_mark_move(int fd, enum nc_mark mark, enum nc_mark next)
{
	if (mark == NC_MARK_FRESH)
		nc_read_limit(fd, 0);
	return nc_mark_set(fd, next);
}

/* accept.c */
void nc_drop_connections(int fd);

/* Drops what lies unread in our end of a connection that is over. */
static inline void nc_drain(int fd)
{
	unsigned char scratch[4096];

	while (nc_syscall6(__NR_recvfrom, fd, NC_ARG(scratch), sizeof scratch, MSG_DONTWAIT, 0, 0) > 0)
		;
}

#endif /* NETCON_PRELOAD_MARK_H */
