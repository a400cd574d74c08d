/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TCP echo, plain C for any libc:
 *
 *	echo fork|threads|epoll ADDRESS PORT	serves until killed
 *	echo client ADDRESS PORT THREADS BYTES	each thread: one connection at a
 *		time, 8 of them, BYTES each, half-closed, compared; prints "ok"
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *address, *port;
static size_t bytes;

static void fail(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(1);
}

static struct addrinfo *resolve(int flags)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = flags | AI_NUMERICHOST | AI_NUMERICSERV }, *ai;
	int err = getaddrinfo(address, port, &hints, &ai);

	if (err) {
		fprintf(stderr, "%s port %s: %s\n", address, port, gai_strerror(err));
		exit(1);
	}
	return ai;
}

/* Sends everything; 0 at success. */
static int send_all(int fd, const char *p, size_t n)
{
	while (n) {
		ssize_t done = send(fd, p, n, MSG_NOSIGNAL);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return -1;
		p += done;
		n -= (size_t)done;
	}
	return 0;
}

static void echo(int fd)
{
	char buf[32768];
	ssize_t n;

	while ((n = recv(fd, buf, sizeof buf, 0)) > 0)
		if (send_all(fd, buf, (size_t)n))
			break;
	close(fd);
}

static void *echo_thread(void *arg)
{
	echo((int)(long)arg);
	return NULL;
}

static int listener(int type)
{
	struct addrinfo *ai = resolve(AI_PASSIVE);
	int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | type, 0), one = 1;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) || bind(fd, ai->ai_addr, ai->ai_addrlen) ||
	    listen(fd, 128))
		fail("listen");
	freeaddrinfo(ai);
	return fd;
}

static void reap(int sig)
{
	int err = errno;

	(void)sig;
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	errno = err;
}

static void serve_fork(void)
{
	struct sigaction sa = { .sa_handler = reap };
	int l = listener(0);

	sigaction(SIGCHLD, &sa, NULL); /* without SA_RESTART: accept is interrupted */
	for (;;) {
		int fd = accept(l, NULL, NULL);

		if (fd < 0 && errno == EINTR)
			continue;
		if (fd < 0)
			fail("accept");
		switch (fork()) {
		case -1:
			fail("fork");
		case 0:
			close(l);
			echo(fd);
			_exit(0);
		}
		close(fd);
	}
}

static void serve_threads(void)
{
	int l = listener(0);

	for (;;) {
		int fd = accept4(l, NULL, NULL, SOCK_CLOEXEC);
		pthread_t th;

		if (fd < 0)
			fail("accept4");
		if (pthread_create(&th, NULL, echo_thread, (void *)(long)fd))
			fail("pthread_create");
		pthread_detach(th);
	}
}

/* Edge-triggered, in 3 processes that share the listener. */
struct conn {
	int fd;
	size_t from, to;
	int eof;
	char buf[65536];
};

/* 0 while the connection lives. */
static int step(struct conn *c)
{
	for (;;) {
		ssize_t n;

		if (c->from < c->to) {
			n = write(c->fd, c->buf + c->from, c->to - c->from);
			if (n < 0)
				return errno == EAGAIN ? 0 : -1;
			c->from += (size_t)n;
			continue;
		}
		if (c->eof)
			return -1;
		c->from = c->to = 0;
		n = read(c->fd, c->buf, sizeof c->buf);
		if (n < 0)
			return errno == EAGAIN ? 0 : -1;
		c->eof = n == 0;
		c->to = (size_t)n;
	}
}

static void serve_epoll(void)
{
	int l = listener(SOCK_NONBLOCK);
	struct epoll_event ev = { .events = EPOLLIN | EPOLLEXCLUSIVE }, got[64];
	int ep;

	if (fork() == 0)
		fork();
	ep = epoll_create1(EPOLL_CLOEXEC);
	if (ep < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, l, &ev))
		fail("epoll");
	for (;;) {
		int n = epoll_wait(ep, got, 64, -1);

		for (int i = 0; i < n; i++) {
			struct conn *c = got[i].data.ptr;
			int fd;

			if (c) {
				if (step(c)) {
					close(c->fd);
					free(c);
				}
				continue;
			}
			while ((fd = accept4(l, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
				c = calloc(1, sizeof *c);
				c->fd = fd;
				ev = (struct epoll_event){ .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = c };
				if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev))
					fail("epoll_ctl");
			}
			if (errno != EAGAIN)
				fail("accept4");
		}
	}
}

static char pattern(size_t i, unsigned seed)
{
	return (char)((i * 2654435761u >> 13) + seed);
}

/* Non-blocking connect, then poll on both directions at once. */
static void one_connection(unsigned seed)
{
	struct addrinfo *ai = resolve(0);
	int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1, err = 0;
	socklen_t len = sizeof err;
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	size_t out = 0, in = 0;
	char buf[20000];

	if (fd < 0 || (connect(fd, ai->ai_addr, ai->ai_addrlen) && errno != EINPROGRESS))
		fail("connect");
	if (poll(&p, 1, 30000) != 1 || getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) || (errno = err))
		fail("connect, decided");
	if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one))
		fail("TCP_NODELAY");
	freeaddrinfo(ai);
	for (;;) {
		ssize_t n;

		p.events = (short)(POLLIN | (out < bytes ? POLLOUT : 0));
		if (poll(&p, 1, 30000) != 1)
			fail("nothing for 30 s");
		if (out < bytes && (p.revents & POLLOUT)) {
			size_t want = bytes - out < sizeof buf ? bytes - out : sizeof buf;

			for (size_t i = 0; i < want; i++)
				buf[i] = pattern(out + i, seed);
			n = write(fd, buf, want);
			if (n < 0 && errno != EAGAIN)
				fail("write");
			out += n > 0 ? (size_t)n : 0;
			if (out == bytes && shutdown(fd, SHUT_WR))
				fail("shutdown");
		}
		if (!(p.revents & (POLLIN | POLLHUP | POLLERR)))
			continue;
		n = read(fd, buf, sizeof buf);
		if (n < 0 && errno == EAGAIN)
			continue;
		if (n < 0)
			fail("read");
		if (n == 0)
			break;
		for (ssize_t i = 0; i < n; i++)
			if (buf[i] != pattern(in + (size_t)i, seed)) {
				fprintf(stderr, "byte %zu differs\n", in + (size_t)i);
				exit(1);
			}
		in += (size_t)n;
	}
	if (in != bytes) {
		fprintf(stderr, "%zu of %zu bytes came back\n", in, bytes);
		exit(1);
	}
	close(fd);
}

static void *client_thread(void *arg)
{
	for (unsigned i = 0; i < 8; i++)
		one_connection((unsigned)(long)arg * 8 + i);
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t th[64];
	int n;

	if (argc < 4)
		return 2;
	address = argv[2];
	port = argv[3];
	if (!strcmp(argv[1], "fork"))
		serve_fork();
	if (!strcmp(argv[1], "threads"))
		serve_threads();
	if (!strcmp(argv[1], "epoll"))
		serve_epoll();
	if (argc < 6 || (n = atoi(argv[4])) < 1 || n > 64)
		return 2;
	bytes = strtoul(argv[5], NULL, 10);
	for (long i = 0; i < n; i++)
		if (pthread_create(&th[i], NULL, client_thread, (void *)i))
			fail("pthread_create");
	for (int i = 0; i < n; i++)
		pthread_join(th[i], NULL);
	puts("ok");
	return 0;
}
