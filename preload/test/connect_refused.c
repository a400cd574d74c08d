/* SPDX-License-Identifier: Apache-2.0 */
/* Refused and unreachable, blocking and not, and another try on the same socket. */
#include "test.h"

int main(void)
{
	int fd = tcp(0);
	short got;

	CHECK_ERRNO(dial(fd, "10.0.0.1", FAKE_REFUSE), ECONNREFUSED);
	CHECK_ERRNO(dial(fd, "10.0.0.1", FAKE_REFUSE), ECONNREFUSED);
	CHECK_ERRNO(dial(fd, "240.0.0.1", FAKE_ECHO), ENETUNREACH);
	CHECK(dial(fd, "10.0.0.1", FAKE_ECHO) == 0);
	check_echo(fd);
	close(fd);

	fd = tcp(SOCK_NONBLOCK);
	CHECK_ERRNO(dial(fd, "240.0.0.1", FAKE_ECHO), ENETUNREACH);
	CHECK_ERRNO(dial(fd, "10.0.0.1", FAKE_ECHO), EINPROGRESS);
	CHECK(ready(fd, POLLOUT, 2000) == POLLOUT);
	check_echo(fd);
	close(fd);

	fd = tcp(SOCK_NONBLOCK);
	CHECK_ERRNO(dial(fd, "10.0.0.1", FAKE_REFUSE_HELD), EINPROGRESS);
	CHECK(ready(fd, POLLOUT, 0) == 0);
	command(fd, FAKE_DECIDE);
	got = ready(fd, POLLIN | POLLOUT, 2000);
	CHECK((got & (POLLERR | POLLHUP)) == (POLLERR | POLLHUP));
	CHECK(option_int(fd, SOL_SOCKET, SO_ERROR) == ECONNREFUSED);
	CHECK(option_int(fd, SOL_SOCKET, SO_ERROR) == 0);
	CHECK_ERRNO(dial(fd, "10.0.0.1", FAKE_ECHO), ECONNABORTED);
	CHECK_ERRNO(dial(fd, "10.0.0.1", FAKE_ECHO), EINPROGRESS);
	CHECK(ready(fd, POLLOUT, 2000) == POLLOUT);
	check_echo(fd);
	return 0;
}
