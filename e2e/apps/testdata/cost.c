/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What calls cost:
 *
 *	cost calls ADDRESS ROUNDS	control calls; prints "NAME NANOSECONDS", medians
 *	cost serve ADDRESS PORT		echoes one connection after the other, until killed
 *	cost client ADDRESS PORT ROUNDS MIB
 *		64 bytes there and back; then so many MiB, echoed while they are sent
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define CHECK(x)                                                                \
	do {                                                                    \
		if (!(x)) {                                                     \
			fprintf(stderr, "%d: %s: %s\n", __LINE__, #x, strerror(errno)); \
			exit(1);                                                \
		}                                                               \
	} while (0)

enum { SOCKET, BIND, LISTEN, CONNECT, ACCEPT, SETSOCKOPT, GETSOCKOPT, GETSOCKNAME, CALLS };
static const char *const names[CALLS] = { "socket", "bind", "listen", "connect", "accept", "setsockopt", "getsockopt", "getsockname" };

static long now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000L + t.tv_nsec;
}

static int compare(const void *a, const void *b)
{
	long x = *(const long *)a, y = *(const long *)b;

	return (x > y) - (x < y);
}

static long median(long *v, int n)
{
	qsort(v, (size_t)n, sizeof *v, compare);
	return v[n / 2];
}

static struct sockaddr_in at(const char *ip, int port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };

	CHECK(inet_pton(AF_INET, ip, &a.sin_addr) == 1);
	return a;
}

#define TIMED(call, expression)                             \
	do {                                                \
		long start_ = now();                        \
		CHECK((expression) >= 0);                   \
		took[call][i] = now() - start_;             \
	} while (0)

static void calls(const char *ip, int rounds)
{
	long *took[CALLS];

	for (int k = 0; k < CALLS; k++)
		CHECK(took[k] = calloc((size_t)rounds, sizeof(long)));
	for (int i = 0; i < rounds; i++) {
		struct sockaddr_in a = at(ip, 0);
		socklen_t len = sizeof a;
		int l, c, s, one = 1;
		socklen_t size = sizeof one;

		TIMED(SOCKET, l = socket(AF_INET, SOCK_STREAM, 0));
		TIMED(BIND, bind(l, (void *)&a, sizeof a));
		TIMED(LISTEN, listen(l, 8));
		TIMED(GETSOCKNAME, getsockname(l, (void *)&a, &len));
		CHECK((c = socket(AF_INET, SOCK_STREAM, 0)) >= 0);
		TIMED(CONNECT, connect(c, (void *)&a, sizeof a));
		TIMED(ACCEPT, s = accept(l, NULL, NULL));
		TIMED(SETSOCKOPT, setsockopt(c, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one));
		TIMED(GETSOCKOPT, getsockopt(c, IPPROTO_TCP, TCP_NODELAY, &one, &size));
		close(s);
		close(c);
		close(l);
	}
	for (int k = 0; k < CALLS; k++)
		printf("%s %ld\n", names[k], median(took[k], rounds));
}

static void serve(const char *ip, int port)
{
	static char b[65536];
	struct sockaddr_in a = at(ip, port);
	int l = socket(AF_INET, SOCK_STREAM, 0), one = 1;

	CHECK(setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0);
	CHECK(bind(l, (void *)&a, sizeof a) == 0 && listen(l, 8) == 0);
	for (;;) {
		int s = accept(l, NULL, NULL);
		ssize_t n;

		CHECK(s >= 0 && setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) == 0);
		while ((n = read(s, b, sizeof b)) > 0)
			for (ssize_t done = 0, m; done < n; done += m)
				CHECK((m = write(s, b + done, (size_t)(n - done))) > 0);
		close(s);
	}
}

static int fd;
static long total;

static void *sender(void *arg)
{
	static char b[65536];

	for (long left = total; left > 0; left -= sizeof b)
		for (size_t done = 0; done < sizeof b;) {
			ssize_t n = write(fd, b + done, sizeof b - done);

			CHECK(n > 0);
			done += (size_t)n;
		}
	return arg;
}

static void client(const char *ip, int port, int rounds, int mib)
{
	static char b[65536];
	struct sockaddr_in a = at(ip, port);
	long *took = calloc((size_t)rounds, sizeof(long)), start, got = 0;
	pthread_t t;
	int one = 1;

	fd = socket(AF_INET, SOCK_STREAM, 0);
	CHECK(connect(fd, (void *)&a, sizeof a) == 0 && setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) == 0);
	for (int i = 0; i < rounds; i++) {
		start = now();
		CHECK(write(fd, b, 64) == 64);
		for (ssize_t done = 0, n; done < 64; done += n)
			CHECK((n = read(fd, b, 64 - (size_t)done)) > 0);
		took[i] = now() - start;
	}
	printf("echo %ld\n", median(took, rounds));
	total = (long)mib << 20;
	start = now();
	CHECK(pthread_create(&t, NULL, sender, NULL) == 0);
	while (got < total) {
		ssize_t n = read(fd, b, sizeof b);

		CHECK(n > 0);
		got += n;
	}
	printf("bulk %ld\n", (now() - start) / mib);
	pthread_join(t, NULL);
	close(fd);
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "calls"))
		calls(argv[2], atoi(argv[3]));
	else if (argc == 4 && !strcmp(argv[1], "serve"))
		serve(argv[2], atoi(argv[3]));
	else if (argc == 6 && !strcmp(argv[1], "client"))
		client(argv[2], atoi(argv[3]), atoi(argv[4]), atoi(argv[5]));
	else
		return 2;
	return 0;
}
