/* SPDX-License-Identifier: Apache-2.0 */
/* accept: not a listener, flags, non-blocking, time limit, a full descriptor table, a dead daemon. */
#include "test.h"
#include <sys/resource.h>

int main(void)
{
	struct timeval tv = { .tv_usec = 30000 };
	struct sockaddr_in peer;
	struct sockaddr_in6 peer6;
	socklen_t len = 4;
	char got[5];
	int fd, l, conn, n = 1;

	/* A connection's bytes are not eaten, however many there are. */
	fd = tcp(0);
	CHECK_ERRNO(accept(fd, NULL, NULL), EINVAL);
	CHECK(dial(fd, "10.0.0.1", FAKE_ECHO) == 0);
	for (int i = 0; i < 100; i++)
		CHECK(write(fd, "hello", 5) == 5);
	while (recv(fd, got, 5, MSG_PEEK | MSG_WAITALL) != 5)
		;
	CHECK_ERRNO(accept(fd, NULL, NULL), EINVAL);
	for (int i = 0; i < 100; i++)
		CHECK(recv(fd, got, 5, MSG_WAITALL) == 5 && memcmp(got, "hello", 5) == 0);

	l = listening(SOCK_NONBLOCK, 80, 0);
	CHECK_ERRNO(accept(l, NULL, NULL), EAGAIN);
	CHECK_ERRNO(accept4(l, NULL, NULL, 1), EINVAL);
	CHECK(fcntl(l, F_SETFL, 0) == 0);
	CHECK(setsockopt(l, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv) == 0);
	CHECK_ERRNO(accept(l, NULL, NULL), EAGAIN);

	/* Truncation, flags, the lowest number. */
	n = 3;
	CHECK(setsockopt(l, FAKE_LEVEL, FAKE_DELIVER, &n, sizeof n) == 0);
	memset(&peer, 0x55, sizeof peer);
	fd = lowest_free();
	CHECK_ERRNO(accept(l, (void *)&peer, NULL), EFAULT);
	conn = accept4(l, (void *)&peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
	CHECK(conn == fd);
	CHECK(len == sizeof peer && ntohs(peer.sin_port) == FAKE_PEER_PORT && peer.sin_addr.s_addr == 0x55555555);
	CHECK(fcntl(conn, F_GETFL) & O_NONBLOCK);
	CHECK(fcntl(conn, F_GETFD) == FD_CLOEXEC);
	close(conn);
	conn = accept(l, NULL, NULL);
	CHECK(conn == fd);
	CHECK(fcntl(conn, F_GETFD) == 0 && !(fcntl(conn, F_GETFL) & O_NONBLOCK));
	close(conn);

	/* No number free: EMFILE, and the connection stays in the queue. */
	{
		struct rlimit limit, old;

		CHECK(ready(l, POLLIN, 2000) & POLLIN);
		CHECK(getrlimit(RLIMIT_NOFILE, &old) == 0);
		limit = old;
		limit.rlim_cur = (rlim_t)lowest_free();
		CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
		CHECK_ERRNO(accept(l, NULL, NULL), EMFILE);
		CHECK(setrlimit(RLIMIT_NOFILE, &old) == 0);
		conn = accept(l, NULL, NULL);
		CHECK(conn >= 0);
		check_echo(conn);
		close(conn);
	}

	fd = socket(AF_INET6, SOCK_STREAM, 0);
	peer6 = (struct sockaddr_in6){ .sin6_family = AF_INET6, .sin6_port = htons(80) };
	CHECK(bind(fd, (void *)&peer6, sizeof peer6) == 0 && listen(fd, 1) == 0);
	n = 1;
	CHECK(setsockopt(fd, FAKE_LEVEL, FAKE_DELIVER, &n, sizeof n) == 0);
	len = sizeof peer6;
	conn = accept(fd, (void *)&peer6, &len);
	CHECK(conn >= 0 && len == sizeof peer6);
	CHECK(peer6.sin6_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&peer6.sin6_addr));

	command(l, FAKE_DIE);
	CHECK(fcntl(l, F_SETFL, 0) == 0);
	CHECK_ERRNO(accept(l, NULL, NULL), ENETDOWN);
	return 0;
}
