/* SPDX-License-Identifier: Apache-2.0 */
/*
 * echod: an echo server for measurements. Plain sockets and epoll, nothing that
 * knows of netcon.
 *
 *	echod ADDRESS PORT [-workers N] [-burn US] [-delay US]
 *
 * Prefork: N processes accept from one listener, each with an epoll set of its
 * own. -burn takes that much processor time for every read, -delay sleeps that
 * long before every reply: known costs, to measure the measurement with. On
 * SIGTERM a worker that did either prints what it really took, in ns:
 *
 *	burned COUNT MEAN
 *	slept COUNT MEAN MEDIAN
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_WORKERS 64
#define MAX_SLEPT   (1 << 16)

static volatile sig_atomic_t ended;
static int64_t burn_ns, delay_ns;
static int64_t slept[MAX_SLEPT];
static int64_t slept_count, burned_count, burned_sum;

static void on_signal(int sig)
{
	(void)sig;
	ended = 1;
}

static void die(const char *what)
{
	fprintf(stderr, "echod: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int64_t now(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void burn(void)
{
	int64_t start = now(CLOCK_THREAD_CPUTIME_ID), used;

	do {
		used = now(CLOCK_THREAD_CPUTIME_ID) - start;
	} while (used < burn_ns);
	burned_count++;
	burned_sum += used;
}

static void delay(void)
{
	struct timespec t = { delay_ns / 1000000000, delay_ns % 1000000000 };
	int64_t start = now(CLOCK_MONOTONIC);

	while (nanosleep(&t, &t) < 0 && errno == EINTR && !ended)
		;
	slept[slept_count++ % MAX_SLEPT] = now(CLOCK_MONOTONIC) - start;
}

static int compare(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

static void report(void)
{
	int64_t n = slept_count < MAX_SLEPT ? slept_count : MAX_SLEPT, sum = 0;

	if (burned_count)
		printf("burned %lld %lld\n", (long long)burned_count,
		       (long long)(burned_sum / burned_count));
	if (n) {
		for (int64_t i = 0; i < n; i++)
			sum += slept[i];
		qsort(slept, (size_t)n, sizeof(slept[0]), compare);
		printf("slept %lld %lld %lld\n", (long long)slept_count,
		       (long long)(sum / n), (long long)slept[n / 2]);
	}
	fflush(stdout);
}

static void accept_all(int ep, int listener)
{
	for (;;) {
		int one = 1;
		int fd = accept4(listener, NULL, NULL,
				 SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0)
			return; /* another worker took it, or a limit */
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		struct epoll_event e = { .events = EPOLLIN, .data.fd = fd };
		if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e) < 0)
			close(fd);
	}
}

/* False: the connection is over. */
static bool echo(int fd)
{
	static char buffer[1 << 16];
	ssize_t n = read(fd, buffer, sizeof(buffer));

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	if (n == 0)
		return false;
	if (burn_ns)
		burn();
	if (delay_ns)
		delay();
	for (ssize_t done = 0; done < n;) {
		ssize_t w = write(fd, buffer + done, (size_t)(n - done));

		if (w > 0)
			done += w;
		else if (w < 0 && errno != EAGAIN && errno != EINTR)
			return false;
		else if (ended)
			return false;
	}
	return true;
}

static int serve(int listener)
{
	struct epoll_event events[256];
	struct epoll_event e = { .events = EPOLLIN | EPOLLEXCLUSIVE,
				 .data.fd = listener };
	int ep = epoll_create1(EPOLL_CLOEXEC);

	if (ep < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, listener, &e) < 0)
		die("epoll");
	while (!ended) {
		int n = epoll_wait(ep, events, 256, -1);

		if (n < 0 && errno != EINTR)
			die("epoll_wait");
		for (int i = 0; i < n; i++) {
			int fd = events[i].data.fd;

			if (fd == listener)
				accept_all(ep, listener);
			else if (!echo(fd))
				close(fd);
		}
	}
	report();
	return 0;
}

static int64_t number(const char *name, const char *text, int64_t most)
{
	char *end;
	long long v = strtoll(text, &end, 10);

	if (*end || end == text || v < 0 || v > most) {
		fprintf(stderr, "echod: %s %s: out of range (0 to %lld)\n",
			name, text, (long long)most);
		exit(2);
	}
	return v;
}

int main(int argc, char **argv)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	struct rlimit files;
	int workers = 1, one = 1;

	if (argc < 3 || inet_pton(AF_INET, argv[1], &a.sin_addr) != 1) {
		fprintf(stderr, "usage: echod ADDRESS PORT [-workers N] "
				"[-burn US] [-delay US]\n");
		return 2;
	}
	a.sin_port = htons((uint16_t)number("port", argv[2], 65535));
	for (int i = 3; i + 1 < argc; i += 2) {
		if (!strcmp(argv[i], "-workers"))
			workers = (int)number("workers", argv[i + 1],
					      MAX_WORKERS);
		else if (!strcmp(argv[i], "-burn"))
			burn_ns = number("burn", argv[i + 1], 1000000) * 1000;
		else if (!strcmp(argv[i], "-delay"))
			delay_ns = number("delay", argv[i + 1], 1000000) * 1000;
	}
	if (!getrlimit(RLIMIT_NOFILE, &files)) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	signal(SIGPIPE, SIG_IGN);
	struct sigaction sa = { .sa_handler = on_signal };
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGINT, &sa, NULL);

	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (fd < 0)
		die("socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		die("bind");
	if (listen(fd, 4096) < 0)
		die("listen");
	printf("ready\n");
	fflush(stdout);
	if (workers <= 1)
		return serve(fd);
	for (int i = 0; i < workers; i++) {
		pid_t pid = fork();

		if (pid < 0)
			die("fork");
		if (pid == 0) {
			prctl(PR_SET_PDEATHSIG, SIGTERM);
			return serve(fd);
		}
	}
	while (!ended)
		pause();
	kill(0, SIGTERM);
	while (wait(NULL) > 0 || errno == EINTR)
		;
	return 0;
}
