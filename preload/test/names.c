/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses: sizes, truncation, scope, and what bind refuses. */
#include "test.h"

int main(void)
{
	struct sockaddr_in a = at("10.1.2.3", 8080), got;
	struct sockaddr_in6 a6 = { .sin6_family = AF_INET6, .sin6_port = htons(81), .sin6_scope_id = 7 }, got6;
	socklen_t len = sizeof got;
	int fd = tcp(0), fd6 = socket(AF_INET6, SOCK_STREAM, 0);
	char byte = 0x55;

	a6.sin6_addr.s6_addr[0] = 0xfe;
	a6.sin6_addr.s6_addr[1] = 0x80;
	CHECK(getsockname(fd, (void *)&got, &len) == 0 && len == sizeof got);
	CHECK(got.sin_family == AF_INET && !got.sin_port && !got.sin_addr.s_addr);
	CHECK_ERRNO(getpeername(fd, (void *)&got, &len), ENOTCONN);

	CHECK_ERRNO(bind(fd, (void *)&a, sizeof a - 1), EINVAL);
	CHECK_ERRNO(bind(fd, (void *)&a, 129), EINVAL);
	CHECK_ERRNO(bind(fd, NULL, sizeof a), EFAULT);
	CHECK_ERRNO(bind(fd, (void *)&a6, sizeof a6), EAFNOSUPPORT);
	CHECK_ERRNO(bind(fd6, (void *)&a, sizeof a), EINVAL);
	CHECK_ERRNO(bind(fd6, (void *)&a6, 23), EINVAL);
	got = a;
	got.sin_family = AF_UNSPEC;
	CHECK_ERRNO(bind(fd, (void *)&got, sizeof got), EAFNOSUPPORT);
	got.sin_addr.s_addr = 0;
	CHECK(bind(fd, (void *)&got, sizeof got) == 0);
	got.sin_family = AF_UNIX;
	CHECK_ERRNO(bind(fd, (void *)&got, sizeof got), EAFNOSUPPORT);
	CHECK(bind(fd, (void *)&a, sizeof a) == 0);
	CHECK(bind(fd6, (void *)&a6, sizeof a6) == 0);

	memset(&got, 0x55, sizeof got);
	len = sizeof got;
	CHECK(getsockname(fd, (void *)&got, &len) == 0 && len == sizeof got);
	CHECK(memcmp(&got, &a, sizeof a) == 0);
	len = sizeof got6;
	CHECK(getsockname(fd6, (void *)&got6, &len) == 0 && len == sizeof got6);
	CHECK(memcmp(&got6, &a6, sizeof a6) == 0);

	memset(&got, 0x55, sizeof got);
	len = 6;
	CHECK(getsockname(fd, (void *)&got, &len) == 0 && len == sizeof got);
	CHECK(got.sin_port == a.sin_port && ((unsigned char *)&got)[6] == 0x55);
	len = 0;
	CHECK(getsockname(fd, (void *)&byte, &len) == 0 && len == sizeof got && byte == 0x55);
	len = 100;
	CHECK(getsockname(fd6, (void *)&(struct sockaddr_storage){ 0 }, &len) == 0 && len == sizeof got6);
	CHECK_ERRNO(getsockname(fd, (void *)&got, NULL), EFAULT);
	len = 4;
	CHECK_ERRNO(getsockname(fd, NULL, &len), EFAULT);
	len = (socklen_t)-1;
	CHECK_ERRNO(getsockname(fd, (void *)&got, &len), EINVAL);

	CHECK(dial(fd, "10.0.0.1", FAKE_ECHO) == 0);
	len = sizeof got;
	CHECK(getpeername(fd, (void *)&got, &len) == 0 && ntohs(got.sin_port) == FAKE_ECHO);
	return 0;
}
