/* SPDX-License-Identifier: Apache-2.0 */
/* A connect that does not block gives exactly the writable edge of TCP under EPOLLET, then a clean stream. */
#include "test.h"

static void edge(int family, int port)
{
	struct epoll_event e = { .events = EPOLLOUT | EPOLLIN | EPOLLRDHUP | EPOLLET };
	struct sockaddr_in6 a6 = { .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port) };
	struct sockaddr_in a4 = at("10.0.0.1", port);
	int ep = epoll_create1(0);
	int extra = 0, fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK, 0);

	CHECK(fd >= 0 && ep >= 0);
	a6.sin6_addr.s6_addr[15] = 1;
	if (family == AF_INET)
		CHECK_ERRNO(connect(fd, (void *)&a4, sizeof a4), EINPROGRESS);
	else
		CHECK_ERRNO(connect(fd, (void *)&a6, sizeof a6), EINPROGRESS);
	CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e) == 0);
	if (port == FAKE_ECHO_HELD) {
		CHECK(epoll_wait(ep, &e, 1, 20) == 0);
		command(fd, FAKE_DECIDE);
	}
	CHECK(epoll_wait(ep, &e, 1, 2000) == 1);
	CHECK(e.events == EPOLLOUT);
	/* Filler that goes in two pieces may give the edge twice, nothing else. */
	while (epoll_wait(ep, &e, 1, 20))
		CHECK(e.events == EPOLLOUT && !extra++);
	CHECK(option_int(fd, SOL_SOCKET, SO_ERROR) == 0);
	CHECK(option_int(fd, FAKE_LEVEL, FAKE_FILLER) > 0);
	check_echo(fd);
	close(fd);
	close(ep);
}

int main(void)
{
	int big = 4 << 20, fd = tcp(SOCK_NONBLOCK);

	edge(AF_INET, FAKE_ECHO_HELD);
	edge(AF_INET6, FAKE_ECHO_HELD);
	edge(AF_INET, FAKE_ECHO);

	/* Another size of buffer needs other filler. */
	CHECK(nc_sys5(__NR_setsockopt, fd, SOL_SOCKET, SO_SNDBUF, &big, sizeof big) == 0);
	CHECK_ERRNO(dial(fd, "10.0.0.1", FAKE_ECHO_HELD), EINPROGRESS);
	CHECK(ready(fd, POLLOUT, 0) == 0);
	command(fd, FAKE_DECIDE);
	CHECK(ready(fd, POLLOUT, 2000) == POLLOUT);
	check_echo(fd);
	return 0;
}
