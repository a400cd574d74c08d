/* SPDX-License-Identifier: Apache-2.0 */
/* Who answers for an option: the descriptor for its time limits and type, the daemon for the rest. */
#include "test.h"

int main(void)
{
	struct timeval tv = { .tv_sec = 3 }, got = { 0 };
	struct linger linger = { 1, 0 }, lgot = { 0 };
	char big[1024] = "cubic";
	int fd = tcp(0), value = 1, before, native;
	socklen_t len;

	before = option_int(fd, FAKE_LEVEL, FAKE_REQUESTS);
	CHECK(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv) == 0);
	len = sizeof got;
	CHECK(getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &got, &len) == 0 && got.tv_sec == 3);
	CHECK(option_int(fd, SOL_SOCKET, SO_TYPE) == SOCK_STREAM);
	CHECK_ERRNO(setsockopt(fd, SOL_SOCKET, SO_TYPE, &value, sizeof value), ENOPROTOOPT);
	CHECK(option_int(fd, FAKE_LEVEL, FAKE_REQUESTS) == before + 1);

	CHECK(option_int(fd, SOL_SOCKET, SO_DOMAIN) == AF_INET);
	CHECK(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &value, sizeof value) == 0);
	CHECK(option_int(fd, IPPROTO_TCP, TCP_NODELAY) == 1);
	CHECK_ERRNO(getsockopt(fd, IPPROTO_TCP, TCP_CORK, &value, &len), ENOPROTOOPT);

	/* The pair's own buffer is left alone, and so is the mark. */
	len = sizeof native;
	CHECK(nc_sys5(__NR_getsockopt, fd, SOL_SOCKET, SO_SNDBUF, &native, &len) == 0);
	value = 8192;
	CHECK(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &value, sizeof value) == 0);
	CHECK(option_int(fd, SOL_SOCKET, SO_SNDBUF) == 8192);
	CHECK(nc_sys5(__NR_getsockopt, fd, SOL_SOCKET, SO_SNDBUF, &value, &len) == 0 && value == native);
	value = 1000000;
	CHECK(setsockopt(fd, SOL_SOCKET, SO_MAX_PACING_RATE, &value, sizeof value) == 0);
	CHECK(option_int(fd, SOL_SOCKET, SO_DOMAIN) == AF_INET);

	/* Lengths. */
	CHECK(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger) == 0);
	len = 100;
	CHECK(getsockopt(fd, SOL_SOCKET, SO_LINGER, big, &len) == 0 && len == sizeof linger);
	len = 4;
	CHECK(getsockopt(fd, SOL_SOCKET, SO_LINGER, &lgot, &len) == 0 && len == 4 && lgot.l_onoff == 1);
	len = sizeof big;
	CHECK(getsockopt(fd, SOL_SOCKET, SO_LINGER, big, &len) == 0 && len == sizeof linger);
	CHECK(setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, big, 256) == 0);
	CHECK_ERRNO(setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, big, 257), EINVAL);
	CHECK_ERRNO(setsockopt(fd, SOL_SOCKET, SO_LINGER, NULL, 8), EFAULT);
	CHECK_ERRNO(getsockopt(fd, SOL_SOCKET, SO_LINGER, NULL, &len), EFAULT);
	CHECK_ERRNO(getsockopt(fd, SOL_SOCKET, SO_LINGER, big, NULL), EFAULT);
	len = (socklen_t)-1;
	CHECK_ERRNO(getsockopt(fd, SOL_SOCKET, SO_LINGER, big, &len), EINVAL);
	return 0;
}
