/* SPDX-License-Identifier: Apache-2.0 */
/* socket() gives the lowest free number, with the flags asked for, and leaves no helper behind. */
#include "test.h"
#include <sys/resource.h>

int main(void)
{
	int before = open_fds();
	int low = lowest_free();
	struct rlimit limit;
	int a, b, c, full;

	a = tcp(0);
	CHECK(a == low);
	CHECK(native_domain(a) == AF_UNIX);
	CHECK(fcntl(a, F_GETFD) == 0);
	CHECK(!(fcntl(a, F_GETFL) & O_NONBLOCK));
	b = tcp(SOCK_CLOEXEC | SOCK_NONBLOCK);
	CHECK(b == low + 1);
	CHECK(fcntl(b, F_GETFD) == FD_CLOEXEC);
	CHECK(fcntl(b, F_GETFL) & O_NONBLOCK);
	c = socket(AF_INET6, SOCK_STREAM, IPPROTO_TCP);
	CHECK(c == low + 2);
	CHECK(option_int(c, SOL_SOCKET, SO_DOMAIN) == AF_INET6);
	close(a);
	CHECK(tcp(0) == low);
	CHECK(open_fds() == before + 3);

	CHECK_ERRNO(socket(AF_INET, SOCK_STREAM | 0x100, 0), EINVAL);
	CHECK_ERRNO(socket(AF_INET, SOCK_STREAM, IPPROTO_UDP), EPROTONOSUPPORT);
	CHECK_ERRNO(socket(AF_INET, SOCK_STREAM, 262), EPROTONOSUPPORT);
	CHECK_ERRNO(socket(AF_INET, 12, 0), EINVAL);
	a = socket(AF_INET, SOCK_DGRAM, 0);
	CHECK(a == low + 3 && native_domain(a) == AF_UNIX);
	close(a);
	a = socket(AF_INET, SOCK_DGRAM, 136); /* UDP-Lite */
	CHECK(a >= 0 && native_domain(a) == AF_INET);
	close(a);
	a = socket(AF_UNIX, SOCK_STREAM, 0);
	CHECK(a >= 0);
	close(a);

	/*
	 * A full table: EMFILE where a descriptor is asked for. Else the call works,
	 * beyond the soft limit, which is as it was afterwards; where the hard one
	 * is as low, ENOBUFS.
	 */
	CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
	limit.rlim_cur = 64;
	CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
	full = open_fds();
	while ((a = dup(2)) >= 0)
		;
	CHECK_ERRNO(socket(AF_INET, SOCK_STREAM, 0), EMFILE);
	a = open_fds();
	CHECK(listen(b, 1) == 0);
	CHECK(open_fds() == a);
	close(60);
	CHECK(socket(AF_INET, SOCK_STREAM, 0) == 60);
	CHECK_ERRNO(socket(AF_INET, SOCK_STREAM, 0), EMFILE);
	CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur == 64);
	limit.rlim_max = 64;
	CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
	CHECK_ERRNO(listen(b, 1), ENOBUFS);
	CHECK(full < 64);
	for (a = 50; a < 64; a++)
		close(a); /* sanitizers open files at the end */
	return 0;
}
