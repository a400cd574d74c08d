/* SPDX-License-Identifier: Apache-2.0 */
/* The next program gets our variables where it has no LD_PRELOAD, and only there. */
#include "test.h"
#include <spawn.h>

extern char **environ;

static char *none[] = { NULL }, *one[] = { "A=b", NULL }, *out[] = { "LD_PRELOAD=", NULL };

/* In the next program: whether it is attached. */
static void look(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	_exit(fd < 0 ? 3 : native_domain(fd) == AF_UNIX ? 1 : 2);
}

static int status_of(pid_t pid)
{
	int status;

	CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status));
	return WEXITSTATUS(status);
}

#define STARTS(call, want)                                            \
	do {                                                          \
		pid_t pid_ = vfork();                                 \
		if (!pid_) {                                          \
			call;                                         \
			_exit(9);                                     \
		}                                                     \
		int got_ = status_of(pid_);                           \
		if (got_ != (want))                                   \
			FAIL("%s: %d instead of %d", #call, got_, want); \
	} while (0)

int main(int argc, char **argv)
{
	char *again[] = { argv[0], "look", NULL }, *many[9000];
	char *self = "/proc/self/exe";
	pid_t pid;

	if (argc > 1)
		look();
	/* Linked into the program itself, the shim has no path of its own to hand on. */
	if (!getenv("LD_PRELOAD"))
		return 0;
	STARTS(execv(self, again), 1);
	STARTS(execve(self, again, environ), 1);
	STARTS(execve(self, again, none), 1);
	STARTS(execve(self, again, NULL), 1);
	STARTS(execve(self, again, one), 1);
	STARTS(execve(self, again, out), 2);
	STARTS(execvpe(self, again, one), 1);
	STARTS(execle(self, argv[0], "look", (char *)NULL, one), 1);
	STARTS(execle(self, argv[0], "look", (char *)NULL, out), 2);
	STARTS(execl(self, argv[0], "look", (char *)NULL), 1);
	STARTS(execlp(self, argv[0], "look", (char *)NULL), 1);
	STARTS(syscall(SYS_execve, self, again, one), 1);
	STARTS(syscall(SYS_execveat, AT_FDCWD, self, again, one, 0), 1);
	CHECK(posix_spawn(&pid, self, NULL, NULL, again, one) == 0 && status_of(pid) == 1);
	CHECK(posix_spawnp(&pid, self, NULL, NULL, again, out) == 0 && status_of(pid) == 2);
	/* More than there is room for on a stack is left alone. */
	for (int i = 0; i < 8999; i++)
		many[i] = "A=b";
	many[8999] = NULL;
	STARTS(execve(self, again, many), 2);
	CHECK_ERRNO(execv("/nonexistent", again), ENOENT);
	CHECK_ERRNO(execvp("", again), ENOENT);
	CHECK_ERRNO(execvp("nonexistent-program", again), ENOENT);
	return 0;
}
