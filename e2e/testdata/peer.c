/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A plain socket program for the end-to-end tests, one behaviour per command.
 * It knows nothing of netcon.
 *
 *	peer serve ADDR PORT		accept and echo, many at a time
 *	peer churn ADDR PORT N		N times: connect, 1 byte there and back, close
 *	peer hold ADDR PORT N		open N connections, say so, keep them until
 *					standard input ends
 *	peer connect ADDR PORT		connect once; print the result and milliseconds
 *	peer watch ADDR PORT		connect, say so, then print how it ends
 *	peer accept ADDR PORT		accept one, say so, then print how it ends
 *	peer flood ADDR PORT		connect and write until it fails or is killed
 *	peer echo ADDR PORT N SEC	N connections ping-pong for SEC seconds; print
 *					the number of round trips
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static struct sockaddr_storage addr;
static socklen_t addrlen;

static void die(const char *what)
{
	printf("%s: %s\n", what, strerrorname_np(errno));
	exit(1);
}

static void parse(const char *host, const char *port)
{
	struct sockaddr_in *v4 = (void *)&addr;
	struct sockaddr_in6 *v6 = (void *)&addr;

	if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons((unsigned short)atoi(port));
		addrlen = sizeof(*v4);
	} else if (inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons((unsigned short)atoi(port));
		addrlen = sizeof(*v6);
	} else {
		fprintf(stderr, "peer: address %s\n", host);
		exit(2);
	}
}

static int dial(void)
{
	int fd = socket(addr.ss_family, SOCK_STREAM, 0);

	if (fd < 0)
		die("socket");
	if (connect(fd, (void *)&addr, addrlen) < 0) {
		int saved = errno;

		close(fd);
		errno = saved;
		return -1;
	}
	return fd;
}

static int bound(void)
{
	int one = 1, fd = socket(addr.ss_family, SOCK_STREAM, 0);

	if (fd < 0)
		die("socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (void *)&addr, addrlen) < 0)
		die("bind");
	if (listen(fd, 4096) < 0)
		die("listen");
	printf("listening\n");
	fflush(stdout);
	return fd;
}

static void serve(void)
{
	static char buf[65536];
	struct epoll_event ev, evs[64];
	int lfd = bound(), ep = epoll_create1(0);

	ev.events = EPOLLIN;
	ev.data.fd = lfd;
	epoll_ctl(ep, EPOLL_CTL_ADD, lfd, &ev);
	for (;;) {
		int n = epoll_wait(ep, evs, 64, -1);

		for (int i = 0; i < n; i++) {
			int fd = evs[i].data.fd;

			if (fd == lfd) {
				fd = accept4(lfd, NULL, NULL, 0);
				if (fd < 0) {
					if (errno == EMFILE || errno == ECONNABORTED)
						continue;
					die("accept");
				}
				ev.events = EPOLLIN;
				ev.data.fd = fd;
				epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev);
				continue;
			}
			ssize_t k = read(fd, buf, sizeof(buf));

			if (k <= 0 || send(fd, buf, (size_t)k, MSG_NOSIGNAL) != k)
				close(fd);
		}
	}
}

static void ping(int fd)
{
	char c = 'x';

	if (send(fd, &c, 1, MSG_NOSIGNAL) != 1)
		die("send");
	if (read(fd, &c, 1) != 1)
		die("read");
}

static void churn(int n)
{
	for (int i = 0; i < n; i++) {
		int fd = dial();

		if (fd < 0)
			die("connect");
		ping(fd);
		close(fd);
	}
	printf("churned %d\n", n);
}

static void hold(int n)
{
	char c;

	for (int i = 0; i < n; i++) {
		int fd = dial();

		if (fd < 0)
			die("connect");
		ping(fd);
	}
	printf("held %d\n", n);
	fflush(stdout);
	while (read(0, &c, 1) > 0)
		;
}

static void report_end(int fd)
{
	char buf[4096];
	ssize_t n;

	while ((n = read(fd, buf, sizeof(buf))) > 0)
		;
	printf("end: %s\n", n == 0 ? "EOF" : strerrorname_np(errno));
	fflush(stdout);
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void echo(int n, double seconds)
{
	int *fds = calloc((size_t)n, sizeof(int));
	double end = now() + seconds;
	unsigned long trips = 0;

	for (int i = 0; i < n; i++)
		if ((fds[i] = dial()) < 0)
			die("connect");
	while (now() < end) {
		char c = 'x';

		for (int i = 0; i < n; i++)
			if (send(fds[i], &c, 1, MSG_NOSIGNAL) != 1)
				die("send");
		for (int i = 0; i < n; i++, trips++)
			if (read(fds[i], &c, 1) != 1)
				die("read");
	}
	printf("trips %lu\n", trips);
}

int main(int argc, char **argv)
{
	struct rlimit rl;

	if (argc < 4) {
		fprintf(stderr, "usage: peer COMMAND ADDR PORT [N [SEC]]\n");
		return 2;
	}
	getrlimit(RLIMIT_NOFILE, &rl);
	rl.rlim_cur = rl.rlim_max;
	setrlimit(RLIMIT_NOFILE, &rl);
	parse(argv[2], argv[3]);
	if (!strcmp(argv[1], "serve")) {
		serve();
	} else if (!strcmp(argv[1], "churn") && argc > 4) {
		churn(atoi(argv[4]));
	} else if (!strcmp(argv[1], "hold") && argc > 4) {
		hold(atoi(argv[4]));
	} else if (!strcmp(argv[1], "connect")) {
		double start = now();
		int fd = dial();

		printf("%s %.0f\n", fd < 0 ? strerrorname_np(errno) : "OK", (now() - start) * 1e3);
	} else if (!strcmp(argv[1], "watch")) {
		int fd = dial();

		if (fd < 0)
			die("connect");
		printf("connected\n");
		fflush(stdout);
		report_end(fd);
	} else if (!strcmp(argv[1], "accept")) {
		int fd = accept(bound(), NULL, NULL);

		if (fd < 0)
			die("accept");
		printf("accepted\n");
		fflush(stdout);
		report_end(fd);
	} else if (!strcmp(argv[1], "flood")) {
		static char buf[65536];
		int fd = dial();

		if (fd < 0)
			die("connect");
		printf("connected\n");
		fflush(stdout);
		while (send(fd, buf, sizeof(buf), MSG_NOSIGNAL) > 0)
			;
		printf("end: %s\n", strerrorname_np(errno));
	} else if (!strcmp(argv[1], "echo") && argc > 5) {
		echo(atoi(argv[4]), atof(argv[5]));
	} else {
		fprintf(stderr, "peer: command %s\n", argv[1]);
		return 2;
	}
	return 0;
}
