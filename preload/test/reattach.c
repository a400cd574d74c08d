/* SPDX-License-Identifier: Apache-2.0 */
/* Attaching again: the descriptor was closed, the daemon restarted, many threads at once, no environment left. */
#include "test.h"
#include <pthread.h>

#ifndef SYS_close_range
#define SYS_close_range 436
#endif

static void *make_sockets(void *arg)
{
	(void)arg;
	for (int i = 0; i < 50; i++)
		close(tcp(0));
	return NULL;
}

static int highest_fd(void)
{
	for (int fd = 19999; fd > 2; fd--)
		if (fcntl(fd, F_GETFD) >= 0)
			return fd;
	return 2;
}

static void threads(void)
{
	pthread_t t[4];

	for (int i = 0; i < 4; i++)
		CHECK(pthread_create(&t[i], NULL, make_sockets, NULL) == 0);
	for (int i = 0; i < 4; i++)
		CHECK(pthread_join(t[i], NULL) == 0);
}

int main(void)
{
	struct sockaddr_in a = at("0.0.0.0", 80);
	int fd, old, l, before, other[2];
	pid_t pid;

	clearenv();
	fd = tcp(0);
	CHECK(dial(fd, "10.0.0.1", FAKE_ECHO) == 0);
	CHECK(dup2(fd, 3) == 3);
	CHECK(syscall(SYS_close_range, 4, ~0U, 0) == 0);
	fd = tcp(0);
	CHECK(fd == 4);
	CHECK(open_fds() == 6);
	old = highest_fd();
	CHECK(old >= 1024 && fcntl(old, F_GETFD) == FD_CLOEXEC);
	check_echo(3);
	CHECK(bind(fd, (void *)&a, sizeof a) == 0);

	/* The number is used for something else, which must see nothing of it. */
	CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, other) == 0);
	CHECK(dup2(other[0], old) == old);
	CHECK(listen(fd, 5) == 0);
	CHECK(fcntl(old, F_GETFD) == 0 && ready(other[1], POLLIN, 0) == 0);

	/* A child inherits the new one. */
	pid = spawn();
	if (!pid) {
		close(tcp(0));
		_exit(0);
	}
	check_child(pid);

	/* A restarted daemon knows nothing of old sockets; new ones work. */
	command(fd, FAKE_RESTART);
	while (!(ready(3, POLLIN, 1000) & POLLHUP))
		;
	CHECK_ERRNO(getsockname(fd, (void *)&a, &(socklen_t){ sizeof a }), ENETDOWN);
	CHECK_ERRNO(accept(fd, NULL, NULL), ENETDOWN);
	l = tcp(0);
	CHECK(dial(l, "10.0.0.1", FAKE_ECHO) == 0);
	check_echo(l);

	/* Four threads find out together: one new attach socket remains. */
	before = open_fds();
	command(l, FAKE_RESTART);
	threads();
	CHECK(open_fds() == before + 1);
	return 0;
}
