/* SPDX-License-Identifier: Apache-2.0 */
/* A blocking connect and signals with and without SA_RESTART, and SO_SNDTIMEO. */
#include "test.h"

static volatile sig_atomic_t signals;

static void handler(int sig)
{
	(void)sig;
	signals++;
}

static void handle(int flags)
{
	struct sigaction sa = { .sa_handler = handler, .sa_flags = flags };

	signals = 0;
	CHECK(sigaction(SIGALRM, &sa, NULL) == 0);
}

int main(void)
{
	struct itimerval storm = { { .tv_usec = 200 }, { .tv_usec = 200 } };
	struct timeval tv = { .tv_usec = 50000 };
	int fd = tcp(0);
	long long t;
	pid_t pid;

	handle(SA_RESTART);
	pid = when_waiting(fd, 1, SIGALRM, 1);
	CHECK(dial(fd, "10.0.0.1", FAKE_ECHO_HELD) == 0);
	CHECK(signals == 1);
	check_child(pid);
	check_echo(fd);
	close(fd);

	fd = tcp(0);
	handle(0);
	pid = when_waiting(fd, 1, SIGALRM, 0);
	CHECK_ERRNO(dial(fd, "10.0.0.1", FAKE_ECHO_HELD), EINTR);
	CHECK(signals > 0);
	CHECK(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
	check_child(pid);
	CHECK_ERRNO(dial(fd, "10.0.0.1", FAKE_ECHO), EALREADY);
	CHECK(fcntl(fd, F_SETFL, 0) == 0);
	pid = when_waiting(fd, 2, 0, 1);
	CHECK(dial(fd, "10.0.0.1", FAKE_ECHO) == 0);
	check_child(pid);
	CHECK_ERRNO(dial(fd, "10.0.0.1", FAKE_ECHO), EISCONN);
	check_echo(fd);
	close(fd);

	fd = tcp(0);
	CHECK(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv) == 0);
	t = milliseconds();
	CHECK_ERRNO(dial(fd, "10.0.0.1", FAKE_ECHO_HELD), EINPROGRESS);
	CHECK(milliseconds() - t >= 45);

	/* socket() and its like are not interruptible. */
	CHECK(setitimer(ITIMER_REAL, &storm, NULL) == 0);
	while (signals < 50) {
		fd = tcp(0);
		CHECK(option_int(fd, SOL_SOCKET, SO_DOMAIN) == AF_INET);
		close(fd);
	}
	return 0;
}
