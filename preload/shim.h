/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libnetcon.so: socket calls of an unmodified program, answered by the
 * dataplane (pump mode; TCP, UDP and ICMP over IPv4 and IPv6).
 *
 *	state.c		what the environment said
 *	attach.c	the socket that stands for our container
 *	request.c	one question to the daemon, one answer
 *	pair.c		pairs, also where the descriptor table is full
 *	next.h		the functions that ours stand in front of
 *	mark.h		which descriptors are ours
 *	socket.c connect.c accept.c names.c options.c shutdown.c ioctl.c
 *			the hooks of control calls
 *	receive.c send.c splice.c poll.c
 *			what a pair's end cannot say of bytes, and of errors
 *	datagram.c datagram_send.c datagram_receive.c datagram_control.c
 *			datagrams, which have a header in their pair
 *	epoll.c		sets that a new pair has to be in
 *	exec.c		programs that clean the environment of the next one
 *	supervised.c	programs that this library does not reach
 *	netlink.c ifaddrs.c ifreq.c
 *			interfaces, and sockets that ask for them
 *	direct.c	syscall(2)
 *	nss.c musl.c	names, for the two C libraries
 *	if_inet6.c	a file that says whether there is IPv6
 *
 * A virtual socket is one end of an AF_UNIX pair, so epoll, select, dup, fork and
 * close are the kernel's and are not hooked; what poll found is looked at in a
 * process that asked for an error queue. Nor are bytes of a stream hooked: a read
 * or write is made first, and only one that moved none, or has a flag a pair does
 * not know, is looked at. In a process that has datagram sockets each read and
 * write first asks what the descriptor is. Calls that are not seen (stdio's) work;
 * they take a reset for an end.
 *
 * Rules for everything here: no C library, no allocation, no locks, no output,
 * no signal state, nothing kept per descriptor. Hooks may run in a signal
 * handler, between vfork and exec, in several threads, and before our
 * constructor. The only memory that lives longer than a call is the
 * environment's copy (state.c) and the functions behind ours (next.c), both
 * written once, atomic words (attach.c, pair.c, datagram.c, poll.c), a table of them
 * that says which destinations are known (datagram.c), and what gethostbyname
 * gives out (musl.c).
 * Inside, functions return 0 or more, or -errno; hooks return through
 * nc_return.
 *
 * Limits. A hooked call that talks to the daemon needs two descriptors while it
 * runs. A full table has none: then the soft limit is raised for a moment, and
 * where it cannot be a call that may not say EMFILE says ENOBUFS. Of control
 * calls accept and a connect that waits are pthread cancellation points. Bad
 * pointers other than NULL fault instead of giving EFAULT. An epoll set sees an
 * unused socket as writable (TCP: writable and hung up), and a listener as
 * writable.
 */
#ifndef NETCON_PRELOAD_SHIM_H
#define NETCON_PRELOAD_SHIM_H

#include "../shm/abi.h"
#include "kernel.h"
#include "syscall.h"

#define NC_EXPORT __attribute__((visibility("default")))

/* Returned for errno where the daemon, or this socket in it, is gone. */
#define NC_GONE (-4096)

#define NC_PATH_MAX 1024

/* state.c */
struct nc_config {
	uint64_t attach; /* as nc_attach_pack gives it; 0 for none */
	int to_kernel;	 /* NETCON_MISSING=kernel */
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	char container[NC_NAME_MAX];

	/* What the next program is given, as it stood in ours; "": not there. */
	struct nc_keep {
		char preload[1024];
		char attach[64];
		char path[sizeof "NETCON_SOCKET=" + sizeof(((struct sockaddr_un *)0)->sun_path)];
		char container[sizeof "NETCON_CONTAINER=" + NC_NAME_MAX];
		char missing[sizeof "NETCON_MISSING=kernel"];
		char launcher[sizeof "NETCON_LAUNCHER=" + NC_PATH_MAX];
		char supervisor[sizeof "NETCON_SUPERVISOR=" + 20]; /* a number */
	} keep;
	const char *launcher; /* in keep; "": none */
};
const struct nc_config *nc_config(void);
extern int nc_own; /* NC_MSG_OWN under a supervisor, else 0 */
const char *nc_after(const char *entry, const char *name);
extern char **environ __attribute__((weak));

/* attach.c */
uint64_t nc_attach_pack(int fd, uint64_t cookie);
int nc_attach_fd(uint64_t word);
uint64_t nc_attach_current(const struct nc_config *config);
uint64_t nc_attach_renew(const struct nc_config *config, uint64_t stale);

/* request.c */
void nc_request_init(struct nc_request *rq, enum nc_op op, uint64_t cookie);
int nc_call(struct nc_request *rq, struct nc_reply *rp, int pass_fd);
int nc_call_interruptible(struct nc_request *rq, struct nc_reply *rp, const struct nc_time *timeout);
int nc_ask(int fd, struct nc_request *rq, struct nc_reply *rp);

/* names.c */
int nc_addr_from_sockaddr(struct nc_addr *to, const struct sockaddr *from, socklen_t len);
int nc_addr_to_sockaddr(const struct nc_addr *from, struct sockaddr *to, socklen_t *len);
int nc_sockaddr_room(const struct sockaddr *addr, const socklen_t *len);

/* receive.c */
long nc_received(int fd, long result, size_t room);

/* send.c */
long nc_sent(int fd, long result);

/* options.c */
int nc_native_error(int fd);

/* socket.c */
int nc_revive(int fd);

/* nss.c */
void nc_name_source(void);

/* exec.c */
int nc_execve(const char *path, char *const argv[], char *const env[]);
int nc_execveat(int dir, const char *path, char *const argv[], char *const env[], int flags);

/* supervised.c */
#define NC_LAUNCH_ARGS 5
const char *nc_launcher(const char *path, char *const argv[], char **list);

/* pair.c */
int nc_socketpair(int type, int pair[2]);
int nc_prove_free_fd(int fd);

/* Small helpers. */
int *__errno_location(void) __attribute__((weak));

static inline long nc_return_long(long result)
{
	if (result >= 0)
		return result;
	if (__errno_location)
		*__errno_location() = result == NC_GONE ? ENETDOWN : (int)-result;
	return -1;
}

static inline int nc_return(long result)
{
	return (int)nc_return_long(result);
}

/* The result of a library's function as ours are: -errno. */
static inline long nc_result(long result)
{
	return result < 0 && __errno_location ? -*__errno_location() : result;
}

static inline void nc_close(int fd)
{
	(void)nc_sys1(__NR_close, fd);
}

/* SO_COOKIE of fd, 0 when it is no open socket. No socket has cookie 0. */
static inline uint64_t nc_cookie(int fd)
{
	uint64_t cookie = 0;
	socklen_t len = sizeof cookie;

	if (nc_sys5(__NR_getsockopt, fd, SOL_SOCKET, SO_COOKIE, &cookie, &len) < 0)
		return 0;
	return cookie;
}

#endif /* NETCON_PRELOAD_SHIM_H */
