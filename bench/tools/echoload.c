/* SPDX-License-Identifier: Apache-2.0 */
/*
 * echoload: a client for measurements: requests over N connections, one thread,
 * plain sockets and epoll, nothing that knows of netcon.
 *
 *	echoload ADDRESS PORT [-conns N] [-size BYTES] [-http PATH] [-rate R]
 *	         [-close] [-hold] [-burn US] [-warmup MS] [-time MS]
 *
 * Closed loop: every connection sends its next request when the reply is here.
 * With -rate the requests have times of their own, R a second over all
 * connections, in turns, and a latency counts from the time at which the
 * request was due, not from when it could be sent: nobody who is late hides
 * those that wait behind it (coordinated omission).
 *
 * -size is the size of a request and of the echo that is awaited. -http sends a
 * GET instead; all replies must have the length of the first. -close opens a
 * connection for each request; the latency includes that. -hold prints
 * "holding N" once all connections are open and had one request, and goes on
 * when a line comes on standard input. -burn takes that much processor time for
 * every reply: a client that is slow itself, to measure the measurement with.
 *
 * "measuring" is printed when warm-up is over; at the end one line of JSON with
 * the interval that was measured, in CLOCK_MONOTONIC ns.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "histogram.h"

enum state { CLOSED, CONNECTING, IDLE, BUSY };

struct conn {
	int fd;
	enum state state;
	bool opened;	/* had its first reply */
	size_t got;	/* bytes of the reply so far */
	int64_t since;	/* the latency counts from here */
	int64_t due;	/* of the next request, with a rate */
};

static struct sockaddr_in peer = { .sin_family = AF_INET };
static struct conn *conns;
static int64_t count = 1, size = 64, rate, warmup = 200, duration = 1000, burn_us;
static const char *http;
static bool close_each, hold;

static char request[1 << 16];
static size_t request_len, reply_len;
static struct histogram latency;
static uint64_t requests, errors, bytes;
static bool measuring;
static int ep;
static int64_t opened, interval;
static int64_t epoch; /* when the first request is due, with a rate */
static bool stuck;    /* a connection could not even be started */

static void die(const char *what)
{
	fprintf(stderr, "echoload: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void burn(void)
{
	struct timespec t;
	int64_t start = -1, used = 0;

	while (used < burn_us * 1000) {
		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
		used = t.tv_sec * 1000000000LL + t.tv_nsec;
		if (start < 0)
			start = used;
		used -= start;
	}
}

static void watch(struct conn *c, int op, uint32_t events)
{
	struct epoll_event e = { .events = events, .data.ptr = c };

	if (epoll_ctl(ep, op, c->fd, &e) < 0)
		die("epoll_ctl");
}

static void lost(struct conn *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	c->state = CLOSED;
	errors++;
}

static void start(struct conn *c)
{
	int one = 1;

	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		die("socket");
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	c->got = 0;
	if (connect(c->fd, (struct sockaddr *)&peer, sizeof(peer)) < 0 &&
	    errno != EINPROGRESS) {
		stuck = true;
		lost(c);
		return;
	}
	c->state = CONNECTING;
	watch(c, EPOLL_CTL_ADD, EPOLLOUT);
}

/* A request is small, and nothing is before it in the socket. */
static void ask(struct conn *c)
{
	if (write(c->fd, request, request_len) != (ssize_t)request_len) {
		lost(c);
		return;
	}
	c->got = 0;
	c->state = BUSY;
}

static void done(struct conn *c)
{
	int64_t t = now();

	burn();
	if (!c->opened) {
		c->opened = true;
		opened++;
	}
	if (measuring) {
		requests++;
		bytes += c->got;
		histogram_record(&latency, (uint64_t)(t - c->since));
	}
	c->state = IDLE;
	if (close_each) {
		close(c->fd);
		c->fd = -1;
		c->state = CLOSED;
	}
}

/* The next request of a connection that has none, if one is due. */
static void next(struct conn *c, int64_t t)
{
	if (rate && t < c->due)
		return;
	c->since = rate ? c->due : t;
	if (rate)
		c->due += interval;
	if (c->state == CLOSED)
		start(c);
	else
		ask(c);
}

/* The length of a reply is that of the first. */
static bool learn(const char *b, size_t n)
{
	const char *end = memmem(b, n, "\r\n\r\n", 4);
	const char *length = memmem(b, n, "Content-Length: ", 16);

	if (!end || !length || length > end)
		return false;
	reply_len = (size_t)(end + 4 - b) + (size_t)atoll(length + 16);
	return true;
}

static void readable(struct conn *c)
{
	static char buffer[1 << 18];

	for (;;) {
		ssize_t n = read(c->fd, buffer, sizeof(buffer));

		if (n < 0) {
			if (errno != EAGAIN && errno != EINTR)
				lost(c);
			return;
		}
		if (n == 0) {
			lost(c);
			return;
		}
		if (!reply_len && (c->got || !learn(buffer, (size_t)n))) {
			fprintf(stderr, "echoload: a reply without length\n");
			exit(1);
		}
		c->got += (size_t)n;
		if (c->got > reply_len) {
			fprintf(stderr, "echoload: a reply of %zu bytes, want %zu\n",
				c->got, reply_len);
			exit(1);
		}
		if (c->got == reply_len) {
			done(c);
			return;
		}
		if ((size_t)n < sizeof(buffer))
			return;
	}
}

static void handle(struct conn *c, uint32_t events)
{
	if (c->state == CONNECTING) {
		int err = 0;
		socklen_t len = sizeof(err);

		getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &len);
		if (err || !(events & EPOLLOUT)) {
			lost(c);
			return;
		}
		watch(c, EPOLL_CTL_MOD, EPOLLIN);
		ask(c);
	} else if (c->state == BUSY) {
		readable(c);
	} else {
		lost(c); /* nothing is expected */
	}
}

static void turn(int64_t until)
{
	struct epoll_event events[512];
	int64_t left = until - now();
	struct timespec ts;
	int n;

	if (left < 0)
		left = 0;
	ts.tv_sec = left / 1000000000;
	ts.tv_nsec = left % 1000000000;
	n = epoll_pwait2(ep, events, 512, &ts, NULL);
	if (n < 0 && errno != EINTR)
		die("epoll_pwait2");
	for (int i = 0; i < n; i++) {
		struct conn *c = events[i].data.ptr;

		handle(c, events[i].events);
		if (c->state == IDLE || c->state == CLOSED)
			next(c, now());
	}
}

/*
 * Opens the connections, a few at a time because some listeners have no backlog
 * to speak of, each with one request.
 */
static void open_all(void)
{
	const int64_t patience = 10000000000LL; /* for one */
	int64_t begun = 0, last = 0, deadline = now() + patience;

	while (opened < count) {
		if (opened > last) {
			last = opened;
			deadline = now() + patience;
		}
		while (begun < count && begun - opened < 4) {
			conns[begun].since = now();
			start(&conns[begun++]);
		}
		struct epoll_event events[512];
		int n = epoll_wait(ep, events, 512, 100);

		for (int i = 0; i < n; i++)
			handle(events[i].data.ptr, events[i].events);
		if (errors || now() > deadline) {
			fprintf(stderr,
				"echoload: %lld of %lld connections open\n",
				(long long)opened, (long long)count);
			exit(3);
		}
	}
}

static void run_until(int64_t end)
{
	static int64_t slot; /* requests that were due, over all connections */

	while (now() < end) {
		int64_t t = now(), wake = end;

		/* Who is busy when due asks as soon as the reply is here. */
		while (rate) {
			int64_t due = epoch + slot * interval / count;
			struct conn *c = &conns[slot % count];

			if (t < due) {
				if (due < wake)
					wake = due;
				break;
			}
			if (c->state == IDLE || c->state == CLOSED)
				next(c, t);
			slot++;
		}
		turn(wake);
		while (!rate && stuck) {
			stuck = false;
			usleep(1000);
			for (int64_t i = 0; i < count; i++)
				if (conns[i].state == CLOSED)
					next(&conns[i], now());
			if (now() >= end)
				return;
		}
	}
}

static int64_t number(const char *name, const char *text, int64_t most)
{
	char *end;
	long long v = strtoll(text, &end, 10);

	if (*end || end == text || v < 0 || v > most) {
		fprintf(stderr, "echoload: %s %s: out of range (0 to %lld)\n",
			name, text, (long long)most);
		exit(2);
	}
	return v;
}

static void arguments(int argc, char **argv)
{
	struct {
		const char *name;
		int64_t *value, most;
	} numbers[] = {
		{ "-conns", &count, 1 << 20 },
		{ "-size", &size, sizeof(request) },
		{ "-rate", &rate, 10000000 },
		{ "-warmup", &warmup, 3600000 },
		{ "-time", &duration, 3600000 },
		{ "-burn", &burn_us, 1000000 },
	};

	if (argc < 3 || inet_pton(AF_INET, argv[1], &peer.sin_addr) != 1) {
		fprintf(stderr, "usage: echoload ADDRESS PORT [-conns N] "
				"[-size BYTES] [-http PATH] [-rate R] [-close] "
				"[-hold] [-burn US] [-warmup MS] "
				"[-time MS]\n");
		exit(2);
	}
	peer.sin_port = htons((uint16_t)number("port", argv[2], 65535));
	for (int i = 3; i < argc; i++) {
		bool known = false;

		if (!strcmp(argv[i], "-close")) {
			known = close_each = true;
		} else if (!strcmp(argv[i], "-hold")) {
			known = hold = true;
		} else if (!strcmp(argv[i], "-http") && i + 1 < argc) {
			http = argv[++i];
			known = true;
		}
		for (size_t k = 0; k < sizeof(numbers) / sizeof(numbers[0]) && !known && i + 1 < argc; k++)
			if (!strcmp(argv[i], numbers[k].name)) {
				*numbers[k].value =
					number(argv[i], argv[i + 1],
					       numbers[k].most);
				i++;
				known = true;
			}
		if (!known) {
			fprintf(stderr, "echoload: unknown argument %s\n",
				argv[i]);
			exit(2);
		}
	}
	if (count < 1 || (size < 1 && !http)) {
		fprintf(stderr, "echoload: nothing to do\n");
		exit(2);
	}
}

int main(int argc, char **argv)
{
	struct rlimit files;
	int64_t begin, end;

	arguments(argc, argv);
	prctl(PR_SET_TIMERSLACK, 1);
	if (!getrlimit(RLIMIT_NOFILE, &files)) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	if (http) {
		request_len = (size_t)snprintf(
			request, sizeof(request),
			"GET %s HTTP/1.1\r\nHost: bench\r\n%s\r\n", http,
			close_each ? "Connection: close\r\n" : "");
	} else {
		request_len = reply_len = (size_t)size;
		memset(request, 'x', request_len);
	}
	conns = calloc((size_t)count, sizeof(*conns));
	ep = epoll_create1(EPOLL_CLOEXEC);
	if (!conns || ep < 0)
		die("set up");
	for (int64_t i = 0; i < count; i++)
		conns[i].fd = -1;
	if (rate)
		interval = count * 1000000000LL / rate;
	open_all();
	if (hold) {
		char line[16];

		printf("holding %lld\n", (long long)count);
		fflush(stdout);
		if (!fgets(line, sizeof(line), stdin))
			return 1;
	}
	epoch = begin = now();
	for (int64_t i = 0; i < count; i++) {
		conns[i].due = begin + i * interval / count;
		if (!rate)
			next(&conns[i], begin);
	}
	run_until(begin + warmup * 1000000);
	printf("measuring\n");
	fflush(stdout);
	measuring = true;
	errors = 0;
	begin = now();
	run_until(begin + duration * 1000000);
	end = now();
	printf("{\"requests\":%llu,\"errors\":%llu,\"bytes\":%llu,"
	       "\"begin\":%lld,\"end\":%lld,\"latency\":",
	       (unsigned long long)requests, (unsigned long long)errors,
	       (unsigned long long)bytes, (long long)begin, (long long)end);
	histogram_print(&latency);
	printf("}\n");
	return 0;
}
