/* SPDX-License-Identifier: Apache-2.0 */
/* Without NETCON_ATTACH the library does nothing at all. */
#include "test.h"

int main(int argc, char **argv)
{
	struct sockaddr_in a = at("127.0.0.1", 0);
	socklen_t len = sizeof a;
	int l, c, s;

	if (argc == 1) {
		CHECK(unsetenv("NETCON_ATTACH") == 0);
		execl("/proc/self/exe", argv[0], "without", (char *)NULL);
		return 1;
	}
	l = tcp(SOCK_CLOEXEC);
	CHECK(native_domain(l) == AF_INET);
	CHECK(bind(l, (void *)&a, sizeof a) == 0 && listen(l, 5) == 0);
	CHECK(getsockname(l, (void *)&a, &len) == 0 && a.sin_port);
	c = tcp(0);
	CHECK(connect(c, (void *)&a, sizeof a) == 0);
	s = accept4(l, (void *)&a, &len, SOCK_NONBLOCK);
	CHECK(s >= 0 && (fcntl(s, F_GETFL) & O_NONBLOCK));
	CHECK(option_int(s, SOL_SOCKET, SO_DOMAIN) == AF_INET);
	CHECK(setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int)) == 0);
	CHECK(getpeername(c, (void *)&a, &len) == 0);
	CHECK(shutdown(c, SHUT_WR) == 0);
	CHECK_ERRNO(shutdown(l, 7), EINVAL);
	return 0;
}
