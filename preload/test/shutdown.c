/* SPDX-License-Identifier: Apache-2.0 */
/* shutdown: the daemon's refusal comes first; then bytes, end of file and EPIPE in order. */
#include "test.h"
#include <pthread.h>

static void *reader(void *arg)
{
	char c;

	return (void *)(intptr_t)read(*(int *)arg, &c, 1);
}

int main(void)
{
	struct sockaddr_in a;
	socklen_t len = sizeof a;
	pthread_t t;
	void *result;
	char got[8];
	int fd = tcp(0);

	CHECK_ERRNO(shutdown(fd, SHUT_WR), ENOTCONN);
	CHECK_ERRNO(shutdown(fd, 3), EINVAL);
	CHECK(dial(fd, "10.0.0.1", FAKE_ECHO) == 0);
	check_echo(fd);

	/* Half: the other direction goes on until the echo ends. */
	CHECK(write(fd, "last", 4) == 4);
	CHECK(shutdown(fd, SHUT_WR) == 0);
	CHECK_ERRNO(send(fd, "x", 1, MSG_NOSIGNAL), EPIPE);
	CHECK(recv(fd, got, 4, MSG_WAITALL) == 4 && memcmp(got, "last", 4) == 0);
	CHECK(read(fd, got, 1) == 0);
	CHECK(option_int(fd, SOL_SOCKET, SO_ERROR) == 0);
	close(fd);

	/* SHUT_RD wakes a reader; writing still works. */
	fd = tcp(0);
	CHECK(dial(fd, "10.0.0.1", FAKE_ECHO) == 0);
	CHECK(pthread_create(&t, NULL, reader, &fd) == 0);
	CHECK(ready(fd, POLLIN, 20) == 0);
	CHECK(shutdown(fd, SHUT_RD) == 0);
	CHECK(pthread_join(t, &result) == 0 && result == NULL);
	CHECK(write(fd, "x", 1) == 1);
	CHECK(getpeername(fd, (void *)&a, &len) == 0);
	close(fd);

	fd = tcp(0);
	CHECK(dial(fd, "10.0.0.1", FAKE_ECHO) == 0);
	CHECK(shutdown(fd, SHUT_RDWR) == 0);
	CHECK(ready(fd, POLLIN, 1000) & POLLHUP);
	CHECK(read(fd, got, 1) == 0);
	CHECK(option_int(fd, SOL_SOCKET, SO_ERROR) == 0);
	close(fd);

	/* Writing to a listener was never possible; it still listens. */
	fd = listening(0, 80, 1);
	CHECK(shutdown(fd, SHUT_WR) == 0);
	CHECK(accept(fd, NULL, NULL) >= 0);
	return 0;
}
