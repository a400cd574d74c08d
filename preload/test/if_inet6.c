/* SPDX-License-Identifier: Apache-2.0 */
/* In a network namespace without an address, /proc/net/if_inet6 has ::1; other files are as they were. */
#define _GNU_SOURCE
#include "test.h"
#include <sched.h>
#include <string.h>

/* The first line of a file, "" if it is empty. */
static const char *first_line(const char *path)
{
	static char line[256];
	FILE *f = fopen(path, "r");

	CHECK(f);
	if (!fgets(line, sizeof line, f))
		line[0] = 0;
	CHECK(fclose(f) == 0);
	return line;
}

int main(void)
{
	int before = open_fds();
	FILE *f;

	CHECK(strncmp(first_line("/proc/self/status"), "Name:", 5) == 0);
	CHECK_ERRNO(fopen("/proc/net/if_inet6/no", "r") ? 0 : -1, ENOTDIR);
	if (unshare(CLONE_NEWNET) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0) {
		fprintf(stderr, "no network namespace: %m\n");
		return 77;
	}
	CHECK(strcmp(first_line("/proc/net/if_inet6"), "00000000000000000000000000000001 01 80 10 80       lo\n") == 0);
	f = fopen("/proc/net/if_inet6", "r");
	CHECK(f && fcntl(fileno(f), F_GETFD) == 0);
	CHECK(fclose(f) == 0);
	CHECK(strcmp(first_line("/proc/net/dev_mcast"), "") == 0);
	CHECK(open_fds() == before);
	return 0;
}
