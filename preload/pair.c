/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pairs. The kernel's call of the same name makes no descriptor where ours needs
 * two for a moment, and a server that took its last number with accept goes on
 * to set options of it. So where the table is full the soft limit is raised, as
 * far as the hard one allows, for as long as it takes to make the pair.
 *
 * Two threads that did so at once could restore each other's raised limit: one
 * at a time, and the other waits a bounded while, because it may be a signal
 * handler on top of the first. The word holds the process id: a child of fork
 * finds a copy that nobody will ever clear.
 */
#include <stdatomic.h>

#include "shim.h"

#define MORE 16
#define TRIES 1000

static atomic_int raising;

static int enter(int pid)
{
	for (int i = 0; i < TRIES; i++) {
		int holder = 0;

		if (atomic_compare_exchange_strong(&raising, &holder, pid))
			return 0;
		if (holder != pid && atomic_compare_exchange_strong(&raising, &holder, pid))
			return 0;
		(void)nc_sys1(__NR_sched_yield, 0);
	}
	return -EMFILE;
}

static int beyond_limit(int type, int pair[2])
{
	struct nc_rlimit old, more;
	int err;

	if (nc_sys4(__NR_prlimit64, 0, RLIMIT_NOFILE, 0, &old) < 0 || old.hard <= old.soft)
		return -EMFILE;
	more = old;
	more.soft = old.hard - old.soft < MORE ? old.hard : old.soft + MORE;
	if (nc_sys4(__NR_prlimit64, 0, RLIMIT_NOFILE, &more, 0) < 0)
		return -EMFILE;
	err = (int)nc_sys4(__NR_socketpair, AF_UNIX, type, 0, pair);
	(void)nc_sys4(__NR_prlimit64, 0, RLIMIT_NOFILE, &old, 0);
	return err;
}

int nc_socketpair(int type, int pair[2])
{
	int err = (int)nc_sys4(__NR_socketpair, AF_UNIX, type, 0, pair);
	int pid;

	if (err != -EMFILE)
		return err;
	pid = (int)nc_sys1(__NR_getpid, 0);
	err = enter(pid);
	if (err)
		return err;
	err = beyond_limit(type, pair);
	atomic_store(&raising, 0);
	return err;
}

/* -EMFILE if the caller's call could not make a descriptor. fd is any open one. */
int nc_prove_free_fd(int fd)
{
	long dup = nc_sys3(__NR_fcntl, fd, F_DUPFD_CLOEXEC, 0);

	if (dup < 0)
		return (int)dup;
	nc_close((int)dup);
	return 0;
}
