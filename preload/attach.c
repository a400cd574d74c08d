/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The attach socket: number and identity in one atomic word, so that threads
 * never see the number of one socket with the identity of another. 24 bits of
 * descriptor plus one (0: none), 40 bits of SO_COOKIE; cookies count up from
 * one, the cut is of no consequence for telling "still ours" from "closed and
 * the number reused".
 *
 * Attaching again. The inherited descriptor may be gone (closefrom,
 * close_range) or its daemon may be. Then a new attach socket is connected and
 * put high, out of the way of programs that count on the lowest free number. It
 * is closed on exec: a child finds the old number in its environment and
 * attaches by itself. The stale descriptor stays open, because another thread
 * may be about to use its number: one per restart of the daemon.
 *
 * A child of vfork that attaches leaves its parent a number the parent does not
 * have; the identity check finds that out.
 */
#include <stdatomic.h>

#include "shim.h"

#define COOKIE_BITS 40
#define COOKIE_MASK ((UINT64_C(1) << COOKIE_BITS) - 1)
#define FD_MAX ((1 << (64 - COOKIE_BITS)) - 2)

/* No descriptor table is grown beyond this number only for the attach socket. */
#define HIGH_FD_MAX 8192

#define HANDSHAKE_SECONDS 5

static _Atomic uint64_t attach_word;

uint64_t nc_attach_pack(int fd, uint64_t cookie)
{
	if (fd < 0 || fd > FD_MAX || !cookie)
		return 0;
	return ((uint64_t)fd + 1) << COOKIE_BITS | (cookie & COOKIE_MASK);
}

/* The descriptor of word while it is still the same socket, else -1. */
int nc_attach_fd(uint64_t word)
{
	int fd = (int)(word >> COOKIE_BITS) - 1;

	if (fd < 0 || nc_attach_pack(fd, nc_cookie(fd)) != word)
		return -1;
	return fd;
}

uint64_t nc_attach_current(const struct nc_config *config)
{
	uint64_t word = atomic_load_explicit(&attach_word, memory_order_relaxed);

	return word ? word : config->attach;
}

static int handshake(int fd, const struct nc_config *config)
{
	struct nc_attach hello = { .magic = NC_MAGIC };
	struct nc_reply reply;
	struct nc_time limit = { .sec = HANDSHAKE_SECONDS };
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	struct stat status;
	long n;

	if (nc_sys2(__NR_fstat, fd, &status) == 0)
		hello.inode = (uint32_t)status.st_ino;
	for (size_t i = 0; i < sizeof to.sun_path; i++)
		to.sun_path[i] = config->path[i];
	for (size_t i = 0; i < sizeof hello.container; i++)
		hello.container[i] = config->container[i];
	(void)nc_sys5(__NR_setsockopt, fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	(void)nc_sys5(__NR_setsockopt, fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
	do
		n = nc_sys3(__NR_connect, fd, &to, sizeof to);
	while (n == -EINTR);
	if (n < 0)
		return (int)n;
	do
		n = nc_syscall6(__NR_sendto, fd, NC_ARG(&hello), sizeof hello, MSG_NOSIGNAL, 0, 0);
	while (n == -EINTR);
	if (n < 0)
		return (int)n;
	do
		n = nc_syscall6(__NR_recvfrom, fd, NC_ARG(&reply), sizeof reply, 0, 0, 0);
	while (n == -EINTR);
	if (n != (long)sizeof reply || reply.magic != NC_MAGIC || reply.error)
		return NC_GONE;
	limit.sec = 0;
	(void)nc_sys5(__NR_setsockopt, fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
	return 0;
}

/* fd under a high number if there is one free; fd itself if not. */
static int move_high(int fd)
{
	struct nc_rlimit limit = { 0, 0 };
	uint64_t from;
	long high;

	if (nc_sys4(__NR_prlimit64, 0, RLIMIT_NOFILE, 0, &limit) < 0)
		return fd;
	from = limit.soft / 2;
	if (from > HIGH_FD_MAX)
		from = HIGH_FD_MAX;
	high = nc_sys3(__NR_fcntl, fd, F_DUPFD_CLOEXEC, from);
	if (high < 0)
		return fd;
	nc_close(fd);
	return (int)high;
}

/*
 * Attaches again in place of stale, unless another thread did: then that one's
 * word is the answer. 0 when there is no daemon to attach to.
 */
uint64_t nc_attach_renew(const struct nc_config *config, uint64_t stale)
{
	uint64_t expected = atomic_load_explicit(&attach_word, memory_order_relaxed);
	uint64_t word;
	long fd;

	if (expected && expected != stale)
		return expected;
	if (!config->path[0])
		return 0;
	fd = nc_sys3(__NR_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return 0;
	if (handshake((int)fd, config) < 0) {
		nc_close((int)fd);
		return 0;
	}
	fd = move_high((int)fd);
	word = nc_attach_pack((int)fd, nc_cookie((int)fd));
	if (!word || !atomic_compare_exchange_strong(&attach_word, &expected, word)) {
		nc_close((int)fd);
		return word ? expected : 0;
	}
	return word;
}
