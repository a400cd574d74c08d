/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets that several threads use, or use while others fork. */
#include "litmus.h"
#include <stdatomic.h>

struct blocked {
	int fd, kind;
	_Atomic pid_t tid;
	long result;
	int error;
};

static void *block(void *arg)
{
	struct blocked *x = arg;
	char b;

	errno = 0;
	x->tid = (pid_t)syscall(SYS_gettid);
	switch (x->kind) {
	case 0:
		x->result = accept(x->fd, NULL, NULL);
		break;
	case 1:
		x->result = read(x->fd, &b, 1);
		break;
	case 2:
		x->result = poll(&(struct pollfd){ x->fd, POLLIN, 0 }, 1, 5000);
		break;
	}
	x->error = errno;
	return NULL;
}

/* Waits until a thread sleeps in its call. */
static void await_asleep(struct blocked *x)
{
	char path[64], stat[512];

	for (int seen = 0; seen < 4;) {
		int fd;
		ssize_t n;
		const char *state;

		poll(NULL, 0, 5);
		if (!x->tid)
			continue;
		snprintf(path, sizeof path, "/proc/self/task/%d/stat", x->tid);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		n = read(fd, stat, sizeof stat - 1);
		NEED(n > 0);
		close(fd);
		stat[n] = 0;
		state = strrchr(stat, ')');
		seen = state && state[2] == 'S' ? seen + 1 : 0;
	}
}

static const char *while_blocked(int kind, int fd, void (*act)(int), int arg)
{
	struct blocked x = { .fd = fd, .kind = kind };
	pthread_t t;

	NEED(pthread_create(&t, NULL, block, &x) == 0);
	await_asleep(&x);
	act(arg);
	pthread_join(t, NULL);
	errno = x.error;
	return result(x.result);
}

static void shut(int fd)
{
	shutdown(fd, SHUT_RDWR);
}

static void shut_read(int fd)
{
	shutdown(fd, SHUT_RD);
}

static void say_x(int fd)
{
	(void)!send(fd, "x", 1, 0);
}

static int replaced, replacement;

/* As a runtime does that closes a socket other threads sleep on. */
static void replace(int to)
{
	(void)to;
	dup2(replacement, replaced);
}

LITMUS(threads_blocked)
{
	int c, s, l = listener("127.0.0.1"), v[2];

	say("accept, shutdown: %s", while_blocked(0, l, shut, l));
	l = listener("127.0.0.1");
	{
		struct blocked x[3] = { { .fd = l }, { .fd = l }, { .fd = l } };
		pthread_t t[3];

		for (int i = 0; i < 3; i++)
			NEED(pthread_create(&t[i], NULL, block, &x[i]) == 0);
		for (int i = 0; i < 3; i++)
			await_asleep(&x[i]);
		shutdown(l, SHUT_RDWR);
		for (int i = 0; i < 3; i++) {
			pthread_join(t[i], NULL);
			errno = x[i].error;
			say("one of three in accept: %s", result(x[i].result));
		}
	}
	connected(&c, &s);
	say("read, shutdown: %s", while_blocked(1, s, shut_read, s));
	connected(&c, &s);
	say("poll, shutdown: %s", while_blocked(2, s, shut, s));
	connected(&c, &s);
	say("read, peer shuts: %s", while_blocked(1, s, shut, c));
	connected(&c, &s);
	say("read, bytes: %s", while_blocked(1, s, say_x, c));
	/* The number is gone, the sleeper has the socket still. */
	connected(&c, &s);
	NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, v) == 0);
	close(v[1]);
	replaced = s;
	replacement = v[0];
	{
		struct blocked x = { .fd = s, .kind = 1 };
		pthread_t t;

		NEED(pthread_create(&t, NULL, block, &x) == 0);
		await_asleep(&x);
		replace(0);
		say("the number reads as the new one: %s", R(read(s, &(char){ 0 }, 1)));
		say("send: %s", R(send(c, "x", 1, 0)));
		pthread_join(t, NULL);
		say("sleeper: %ld", x.result);
	}
	settle();
	say("then it is closed: %s", R(read(c, &(char){ 0 }, 1)));
}

static void *reuse(void *arg)
{
	int port = *(int *)arg;
	long bad = 0;

	for (int i = 0; i < 150; i++) {
		int c = socket(AF_INET, SOCK_STREAM, 0), f = open("/dev/null", O_RDWR | O_CLOEXEC);
		char out[32], in[32];
		int n = snprintf(out, sizeof out, "%p %d", (void *)&bad, i);

		bad += c < 0 || f < 0 || dial(c, "127.0.0.1", port) < 0;
		close(f);
		bad += write(c, out, (size_t)n) != n || recv(c, in, (size_t)n, MSG_WAITALL) != n || memcmp(out, in, (size_t)n);
		close(c);
	}
	return (void *)bad;
}

static void *echo(void *arg)
{
	char b[32];
	int l = *(int *)arg;

	for (;;) {
		int s = accept4(l, NULL, NULL, SOCK_CLOEXEC);
		ssize_t n;

		if (s < 0)
			return NULL;
		while ((n = read(s, b, sizeof b)) > 0)
			(void)!write(s, b, (size_t)n);
		close(s);
	}
}

LITMUS(fd_reuse)
{
	int l = listener("127.0.0.1"), port = port_of(l);
	pthread_t t[8], servers[8];
	long bad = 0;

	for (int i = 0; i < 8; i++)
		NEED(pthread_create(&servers[i], NULL, echo, &l) == 0);
	for (int i = 0; i < 8; i++)
		NEED(pthread_create(&t[i], NULL, reuse, &port) == 0);
	for (int i = 0; i < 8; i++) {
		void *r;

		pthread_join(t[i], &r);
		bad += (long)r;
	}
	say("bad: %ld", bad);
}

static void *cancelled(void *arg)
{
	accept(*(int *)arg, NULL, NULL);
	return NULL;
}

static void *cancelled_read(void *arg)
{
	char b;

	(void)!read(*(int *)arg, &b, 1);
	return NULL;
}

static void *cancelled_recv(void *arg)
{
	char b;

	(void)!recv(*(int *)arg, &b, 1, 0);
	return NULL;
}

static const char *cancel(void *(*body)(void *), int fd)
{
	pthread_t t;
	void *r;

	NEED(pthread_create(&t, NULL, body, &fd) == 0);
	poll(NULL, 0, 50);
	pthread_cancel(t);
	pthread_join(t, &r);
	return r == PTHREAD_CANCELED ? "cancelled" : "returned";
}

LITMUS(cancellation)
{
	int l = listener("127.0.0.1"), c, s;

	connected(&c, &s);
	say("read: %s", cancel(cancelled_read, s));
	say("recv: %s", cancel(cancelled_recv, s));
	say("accept: %s", cancel(cancelled, l));
	say("afterwards: %s", exchange(c, s, "hello"));
}

#define BROOD 150

static atomic_int forking;

/* Makes children that live on with whatever was open at that moment. */
static void *fork_on(void *unused)
{
	pid_t children[BROOD];
	int n = 0;

	for (; forking; n = n < BROOD ? n + 1 : n) {
		if (n == BROOD) {
			poll(NULL, 0, 1);
			continue;
		}
		children[n] = fork();
		if (!children[n])
			for (;;)
				pause();
		NEED(children[n] > 0);
	}
	while (n--) {
		kill(children[n], SIGKILL);
		waitpid(children[n], NULL, 0);
	}
	return unused;
}

/* Whatever children inherit in the middle of a call, what the peer did arrives. */
LITMUS(fork_beside_sockets)
{
	int l = listener("127.0.0.1"), port = port_of(l), gone = listener("127.0.0.1"), refusing = port_of(gone);
	int refused = 0, reset = 0;
	struct sockaddr none = { .sa_family = AF_UNSPEC };
	pthread_t t;
	char b;

	close(gone);
	forking = 1;
	NEED(pthread_create(&t, NULL, fork_on, NULL) == 0);
	for (int i = 0; i < 200; i++) {
		struct pollfd p = { .fd = tcp(), .events = POLLOUT };
		int c = tcp(), s;

		nonblocking(p.fd, 1);
		if (dial(p.fd, "127.0.0.1", refusing) < 0 && (errno == ECONNREFUSED || poll(&p, 1, 10000) == 1))
			refused++;
		close(p.fd);
		NEED(dial(c, "127.0.0.1", port) == 0);
		s = accept(l, NULL, NULL);
		NEED(s >= 0 && connect(s, &none, sizeof none) == 0);
		p = (struct pollfd){ .fd = c, .events = POLLIN };
		if (poll(&p, 1, 10000) == 1 && read(c, &b, 1) <= 0)
			reset++;
		close(s);
		close(c);
	}
	forking = 0;
	pthread_join(t, NULL);
	say("refused: %d", refused);
	say("reset: %d", reset);
}
