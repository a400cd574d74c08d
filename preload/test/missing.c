/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon is gone: ENETDOWN, or the kernel's stack where the policy says so; nobody dies of it. */
#include "test.h"

int main(int argc, char **argv)
{
	struct sockaddr_in a = at("127.0.0.1", 0);
	socklen_t len = sizeof a;
	int fd, idle, datagram;

	if (argc > 1) {
		int before = open_fds();

		fd = tcp(SOCK_CLOEXEC);
		CHECK(native_domain(fd) == AF_INET);
		CHECK(open_fds() == before + 1);
		CHECK(bind(fd, (void *)&a, sizeof a) == 0 && listen(fd, 1) == 0);
		CHECK(getsockname(fd, (void *)&a, &len) == 0 && a.sin_port);
		idle = tcp(0);
		CHECK(connect(idle, (void *)&a, sizeof a) == 0);
		CHECK(accept(fd, (void *)&a, &len) >= 0);
		return 0;
	}
	fd = tcp(0);
	idle = tcp(SOCK_NONBLOCK);
	datagram = socket(AF_INET, SOCK_DGRAM, 0);
	CHECK(dial(datagram, "10.0.0.1", FAKE_ECHO) == 0);
	CHECK(dial(fd, "10.0.0.1", FAKE_ECHO) == 0);
	command(fd, FAKE_DIE);
	while (!(ready(fd, POLLIN, 1000) & POLLHUP))
		;
	CHECK_ERRNO(socket(AF_INET, SOCK_STREAM, 0), ENETDOWN);
	CHECK_ERRNO(dial(idle, "10.0.0.1", FAKE_ECHO), ENETDOWN);
	CHECK_ERRNO(listen(idle, 1), ENETDOWN);
	CHECK_ERRNO(getsockname(fd, (void *)&a, &len), ENETDOWN);
	CHECK_ERRNO(getpeername(fd, (void *)&a, &len), ENOTCONN);
	CHECK(option_int(fd, SOL_SOCKET, SO_ERROR) == 0);
	CHECK(shutdown(fd, SHUT_RDWR) == 0);
	CHECK(read(fd, &a, 1) == 0);
	CHECK_ERRNO(socket(AF_INET, SOCK_DGRAM, 0), ENETDOWN);
	CHECK_ERRNO(send(datagram, "x", 1, MSG_NOSIGNAL), ENETDOWN);
	CHECK_ERRNO(recv(datagram, &a, 1, 0), ENETDOWN);

	CHECK(setenv("NETCON_MISSING", "kernel", 1) == 0);
	execl("/proc/self/exe", argv[0], "kernel", (char *)NULL);
	return 1;
}
