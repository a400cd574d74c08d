/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /proc/net/if_inet6 has the container's addresses; without a daemon, and in a
 * network namespace without an address, ::1. Other files are as they were.
 */
#define _GNU_SOURCE
#include "test.h"
#include <sched.h>
#include <string.h>

#define LOOPBACK "00000000000000000000000000000001 01 80 10 80       lo\n"
#define WEB	 "20010db8000000000000000000000007 02 40 00 80     eth0\n"

/* What a file begins with. */
static const char *beginning(const char *path)
{
	static char text[256];
	FILE *f = fopen(path, "r");

	CHECK(f);
	text[fread(text, 1, sizeof text - 1, f)] = 0;
	CHECK(fclose(f) == 0);
	return text;
}

int main(void)
{
	int before = open_fds(), s;
	FILE *f;

	CHECK(strncmp(beginning("/proc/self/status"), "Name:", 5) == 0);
	CHECK_ERRNO(fopen("/proc/net/if_inet6/no", "r") ? 0 : -1, ENOTDIR);
	if (unshare(CLONE_NEWNET) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0) {
		fprintf(stderr, "no network namespace: %m\n");
		return 77;
	}
	CHECK(strcmp(beginning("/proc/net/if_inet6"), LOOPBACK WEB) == 0);
	f = fopen("/proc/net/if_inet6", "r");
	CHECK(f && fcntl(fileno(f), F_GETFD) == 0);
	CHECK(fclose(f) == 0);
	CHECK(strcmp(beginning("/proc/net/dev_mcast"), "") == 0);
	CHECK(open_fds() == before);
	s = tcp(SOCK_CLOEXEC);
	command(s, FAKE_DIE);
	CHECK(close(s) == 0);
	CHECK(strcmp(beginning("/proc/net/if_inet6"), LOOPBACK) == 0);
	CHECK(open_fds() == before);
	return 0;
}
