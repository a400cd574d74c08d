/* SPDX-License-Identifier: Apache-2.0 */
/* connect() on a socket that connects or is connected says so and puts no filler into the stream. */
#include "test.h"

int main(void)
{
	struct sockaddr_in a = at("10.0.0.1", FAKE_ECHO);
	int fd = tcp(SOCK_NONBLOCK), l, conn;
	pid_t pid;

	CHECK_ERRNO(dial(fd, "10.0.0.1", FAKE_ECHO_HELD), EINPROGRESS);
	CHECK_ERRNO(dial(fd, "10.0.0.1", FAKE_ECHO_HELD), EALREADY);
	command(fd, FAKE_DECIDE);
	CHECK(ready(fd, POLLOUT, 2000) == POLLOUT);
	CHECK(dial(fd, "10.0.0.1", FAKE_ECHO) == 0);
	CHECK_ERRNO(dial(fd, "10.0.0.1", FAKE_ECHO), EISCONN);
	check_echo(fd);
	CHECK_ERRNO(connect(fd, (void *)&a, sizeof a), EISCONN);
	check_echo(fd);
	CHECK(ready(fd, POLLIN, 20) == 0);
	close(fd);

	/* Blocking, while the first attempt runs: waits for its outcome. */
	fd = tcp(SOCK_NONBLOCK);
	CHECK_ERRNO(dial(fd, "10.0.0.1", FAKE_ECHO_HELD), EINPROGRESS);
	CHECK(fcntl(fd, F_SETFL, 0) == 0);
	pid = when_waiting(fd, 1, 0, 1);
	CHECK(dial(fd, "10.0.0.1", FAKE_ECHO) == 0);
	check_child(pid);
	check_echo(fd);
	close(fd);

	l = listening(0, 80, 1);
	CHECK_ERRNO(dial(l, "10.0.0.1", FAKE_ECHO), EISCONN);
	conn = accept(l, NULL, NULL);
	CHECK(conn >= 0);
	CHECK_ERRNO(dial(conn, "10.0.0.1", FAKE_ECHO), EISCONN);
	check_echo(conn);

	fd = tcp(0);
	CHECK_ERRNO(connect(fd, NULL, sizeof a), EFAULT);
	CHECK_ERRNO(connect(fd, (void *)&a, 1), EINVAL);
	CHECK_ERRNO(connect(fd, (void *)&a, sizeof a - 1), EINVAL);
	CHECK_ERRNO(connect(fd, (void *)&a, 129), EINVAL);
	a.sin_family = AF_UNIX;
	CHECK_ERRNO(connect(fd, (void *)&a, sizeof a), EAFNOSUPPORT);
	a.sin_family = AF_UNSPEC;
	CHECK_ERRNO(connect(fd, (void *)&a, sizeof a), EOPNOTSUPP);
	return 0;
}
