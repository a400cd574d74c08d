/* SPDX-License-Identifier: Apache-2.0 */
/* Somebody's AF_UNIX sockets, files and kernel sockets behave natively, and the daemon is never asked. */
#include "test.h"

static void check_pair(int type)
{
	struct sockaddr_un sun;
	socklen_t len = sizeof sun;
	int s[2], value = 1;
	char c;

	CHECK(socketpair(AF_UNIX, type, 0, s) == 0);
	CHECK(getsockname(s[0], (void *)&sun, &len) == 0 && len == 2 && sun.sun_family == AF_UNIX);
	len = sizeof sun;
	CHECK(getpeername(s[0], (void *)&sun, &len) == 0 && len == 2);
	CHECK(option_int(s[0], SOL_SOCKET, SO_DOMAIN) == AF_UNIX);
	CHECK(setsockopt(s[0], SOL_SOCKET, SO_KEEPALIVE, &value, sizeof value) == 0);
	CHECK_ERRNO(setsockopt(s[0], IPPROTO_TCP, TCP_NODELAY, &value, sizeof value), EOPNOTSUPP);
	CHECK(write(s[1], "x", 1) == 1);
	CHECK_ERRNO(accept(s[0], NULL, NULL), type == SOCK_DGRAM ? EOPNOTSUPP : EINVAL);
	CHECK(read(s[0], &c, 1) == 1 && c == 'x');
	CHECK(shutdown(s[1], SHUT_WR) == 0);
	if (type == SOCK_STREAM)
		CHECK(read(s[0], &c, 1) == 0);
	close(s[0]);
	close(s[1]);
}

static void check_named(void)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	socklen_t len = (socklen_t)(sizeof(sa_family_t) + 20);
	int l = socket(AF_UNIX, SOCK_STREAM, 0), c = socket(AF_UNIX, SOCK_STREAM, 0), s;

	snprintf(sun.sun_path + 1, 19, "foreign-%d", (int)getpid());
	CHECK(bind(l, (void *)&sun, len) == 0 && listen(l, 5) == 0);
	CHECK_ERRNO(getpeername(c, (void *)&sun, &len), ENOTCONN);
	len = (socklen_t)(sizeof(sa_family_t) + 20);
	CHECK(connect(c, (void *)&sun, len) == 0);
	s = accept4(l, NULL, NULL, SOCK_CLOEXEC);
	CHECK(s >= 0 && fcntl(s, F_GETFD) == FD_CLOEXEC);
	CHECK(write(c, "x", 1) == 1);
	CHECK(shutdown(s, SHUT_RDWR) == 0);
	close(l);
	close(c);
	close(s);
}

int main(void)
{
	struct sockaddr_in a = at("127.0.0.1", 0);
	socklen_t len = sizeof a;
	int ours = tcp(0), before, fd, p[2];

	before = option_int(ours, FAKE_LEVEL, FAKE_REQUESTS);
	check_pair(SOCK_STREAM);
	check_pair(SOCK_SEQPACKET);
	check_pair(SOCK_DGRAM);
	check_named();
	fd = socket(AF_INET, SOCK_DGRAM, 136); /* UDP-Lite */
	CHECK(bind(fd, (void *)&a, sizeof a) == 0);
	CHECK(getsockname(fd, (void *)&a, &len) == 0 && a.sin_port);
	CHECK(connect(fd, (void *)&a, sizeof a) == 0);
	CHECK_ERRNO(accept(fd, NULL, NULL), EOPNOTSUPP);
	CHECK(pipe(p) == 0);
	CHECK_ERRNO(getsockname(p[0], (void *)&a, &len), ENOTSOCK);
	CHECK_ERRNO(connect(p[0], (void *)&a, sizeof a), ENOTSOCK);
	CHECK_ERRNO(accept(-1, NULL, NULL), EBADF);
	CHECK_ERRNO(shutdown(9999, SHUT_RD), EBADF);
	CHECK_ERRNO(listen(p[0], 1), ENOTSOCK);
	CHECK(option_int(ours, FAKE_LEVEL, FAKE_REQUESTS) == before + 1);
	return 0;
}
