/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests share. Each is a program: exit 0 passed, 1 failed, 77 skipped. */
#ifndef NETCON_TEST_H
#define NETCON_TEST_H

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../syscall.h"
#include "fake.h"

#define FAIL(...)                                               \
	do {                                                    \
		fprintf(stderr, "%s:%d: ", __FILE__, __LINE__); \
		fprintf(stderr, __VA_ARGS__);                   \
		fprintf(stderr, "\n");                          \
		_exit(1);                                       \
	} while (0)

#define CHECK(cond)                                                             \
	do {                                                                    \
		if (!(cond))                                                    \
			FAIL("%s (errno %d: %s)", #cond, errno, strerror(errno)); \
	} while (0)

/* The call fails, and with this error. */
#define CHECK_ERRNO(call, error)                                                               \
	do {                                                                                   \
		long result_;                                                                  \
		errno = 0;                                                                     \
		result_ = (long)(call);                                                        \
		if (result_ != -1 || errno != (error))                                         \
			FAIL("%s: %ld, errno %d (%s) instead of %s", #call, result_, errno, strerror(errno), #error); \
	} while (0)

static inline struct sockaddr_in at(const char *ip, int port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };

	inet_pton(AF_INET, ip, &a.sin_addr);
	return a;
}

static inline int tcp(int flags)
{
	int fd = socket(AF_INET, SOCK_STREAM | flags, 0);

	CHECK(fd >= 0);
	return fd;
}

static inline int dial(int fd, const char *ip, int port)
{
	struct sockaddr_in a = at(ip, port);

	return connect(fd, (void *)&a, sizeof a);
}

static inline int listening(int flags, int port, int connections)
{
	struct sockaddr_in a = at("0.0.0.0", port);
	int fd = tcp(flags);

	CHECK(bind(fd, (void *)&a, sizeof a) == 0);
	CHECK(listen(fd, 128) == 0);
	if (connections)
		CHECK(setsockopt(fd, FAKE_LEVEL, FAKE_DELIVER, &connections, sizeof connections) == 0);
	return fd;
}

static inline int option_int(int fd, int level, int option)
{
	int value = -1;
	socklen_t len = sizeof value;

	CHECK(getsockopt(fd, level, option, &value, &len) == 0);
	CHECK(len == sizeof value);
	return value;
}

static inline void command(int fd, int option)
{
	CHECK(setsockopt(fd, FAKE_LEVEL, option, "", 1) == 0);
}

/* What the kernel says, past the shim. */
static inline int native_domain(int fd)
{
	int value = -1;
	socklen_t len = sizeof value;

	CHECK(nc_sys5(__NR_getsockopt, fd, SOL_SOCKET, SO_DOMAIN, &value, &len) == 0);
	return value;
}

static inline int lowest_free(void)
{
	int fd = dup(2);

	CHECK(fd >= 0);
	close(fd);
	return fd;
}

static inline int open_fds(void)
{
	int n = 0;

	for (int fd = 0; fd < 20000; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static inline short ready(int fd, short events, int timeout_ms)
{
	struct pollfd p = { fd, events, 0 };

	CHECK(poll(&p, 1, timeout_ms) >= 0);
	return p.revents;
}

/* Sends a line over the connection and wants it back. */
static inline void check_echo(int fd)
{
	char got[6] = "";
	ssize_t n;

	CHECK(send(fd, "hello", 5, MSG_NOSIGNAL) == 5);
	do
		n = recv(fd, got, 5, MSG_WAITALL);
	while (n < 0 && errno == EAGAIN && ready(fd, POLLIN, 2000));
	CHECK(n == 5);
	CHECK(strcmp(got, "hello") == 0);
}

static inline long long milliseconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

/* fork, and the child does not outlive a parent that failed. */
static inline pid_t spawn(void)
{
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (!pid)
		CHECK(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
	return pid;
}

static inline void check_child(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) != pid)
		CHECK(errno == EINTR);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/*
 * A child that waits until connect waits on fd for the nth time. It sends the
 * parent a signal (0: none); then it lets the attempt end or, because the
 * signal may come just before the parent sleeps, goes on sending until the
 * socket is made non-blocking.
 */
static inline pid_t when_waiting(int fd, int nth, int sig, int decide)
{
	pid_t pid = spawn();

	if (pid)
		return pid;
	while (option_int(fd, FAKE_LEVEL, FAKE_WAITS) < nth)
		;
	if (sig)
		CHECK(kill(getppid(), sig) == 0);
	if (decide)
		command(fd, FAKE_DECIDE);
	else
		while (!(fcntl(fd, F_GETFL) & O_NONBLOCK))
			CHECK(poll(NULL, 0, 1) == 0 && kill(getppid(), sig) == 0);
	_exit(0);
}

#endif /* NETCON_TEST_H */
