/* SPDX-License-Identifier: Apache-2.0 */
/*
 *	litmus list		names
 *	litmus NAME [ARG ...]	what that one saw
 */
#include "litmus.h"
#include <stdarg.h>
#include <time.h>

char *self;
char **args;
volatile sig_atomic_t signals;

static struct litmus *all;

void add_litmus(struct litmus *l)
{
	l->next = all;
	all = l;
}

void say(const char *format, ...)
{
	char line[512];
	va_list list;
	int n;

	va_start(list, format);
	n = vsnprintf(line, sizeof line - 1, format, list);
	va_end(list);
	if (n > (int)sizeof line - 2)
		n = sizeof line - 2;
	line[n++] = '\n';
	(void)!write(1, line, (size_t)n);
}

void give_up(const char *what)
{
	say("gave up: %s, %s", what, error_name(errno));
	_exit(3);
}

const char *error_name(int e)
{
	static char other[32];
#define E(name) { name, #name }
	static const struct {
		int e;
		const char *name;
	} names[] = {
		E(EPERM), E(ENOENT), E(EINTR), E(EIO), E(EBADF), E(EAGAIN), E(ENOMEM), E(EACCES), E(EFAULT), E(ENODEV), E(EINVAL),
		E(ENFILE), E(EMFILE), E(ENOTTY), E(ESPIPE), E(EPIPE), E(EDOM), E(ERANGE), E(ENOSYS), E(ENODATA), E(EPROTO),
		E(ENOTSOCK), E(EDESTADDRREQ), E(EMSGSIZE), E(EPROTOTYPE), E(ENOPROTOOPT), E(EPROTONOSUPPORT),
		E(ESOCKTNOSUPPORT), E(EOPNOTSUPP), E(EAFNOSUPPORT), E(EADDRINUSE), E(EADDRNOTAVAIL), E(ENETDOWN),
		E(ENETUNREACH), E(ECONNABORTED), E(ECONNRESET), E(ENOBUFS), E(EISCONN), E(ENOTCONN), E(ETIMEDOUT),
		E(ECONNREFUSED), E(EHOSTUNREACH), E(EALREADY), E(EINPROGRESS), E(EEXIST), E(ENOTDIR), E(ENXIO),
	};
#undef E

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (names[i].e == e)
			return names[i].name;
	snprintf(other, sizeof other, "errno %d", e);
	return other;
}

/* The next of a few buffers, so that one line can hold several results. */
static char *buffer(size_t *room)
{
	static __thread char ring[16][128];
	static __thread unsigned next;

	*room = sizeof ring[0];
	return ring[next++ % 16];
}

const char *result(long value)
{
	int e = errno;
	size_t room;
	char *b = buffer(&room);

	if (value >= 0)
		snprintf(b, room, "%ld", value);
	else
		snprintf(b, room, "%s", error_name(e));
	return b;
}

const char *event_names(unsigned events)
{
	static const struct {
		unsigned bit;
		const char *name;
	} names[] = {
		{ POLLIN, "IN" }, { POLLPRI, "PRI" }, { POLLOUT, "OUT" }, { POLLERR, "ERR" }, { POLLHUP, "HUP" },
		{ POLLNVAL, "NVAL" }, { POLLRDHUP, "RDHUP" },
	};
	size_t room, n = 0;
	char *b = buffer(&room);

	b[0] = 0;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (events & names[i].bit)
			n += (size_t)snprintf(b + n, room - n, "%s%s", n ? "|" : "", names[i].name);
	return n ? b : "-";
}

const char *polled(int fd, int timeout_ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN | POLLPRI | POLLOUT | POLLRDHUP };

	if (poll(&p, 1, timeout_ms) < 0)
		return error_name(errno);
	return event_names((unsigned)p.revents);
}

void await(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };

	while (poll(&p, 1, 5000) < 0)
		NEED(errno == EINTR);
}

void settle(void)
{
	poll(NULL, 0, 50);
}

int tcp(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	NEED(fd >= 0);
	return fd;
}

int tcp6(void)
{
	int fd = socket(AF_INET6, SOCK_STREAM, 0);

	NEED(fd >= 0);
	return fd;
}

struct sockaddr_in at(const char *ip, int port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };

	inet_pton(AF_INET, ip, &a.sin_addr);
	return a;
}

struct sockaddr_in6 at6(const char *ip, int port)
{
	struct sockaddr_in6 a = { .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port) };

	inet_pton(AF_INET6, ip, &a.sin6_addr);
	return a;
}

int port_of(int fd)
{
	struct sockaddr_storage a;
	socklen_t len = sizeof a;

	NEED(getsockname(fd, (void *)&a, &len) == 0);
	return ntohs(((struct sockaddr_in *)&a)->sin_port);
}

int dial(int fd, const char *ip, int port)
{
	struct sockaddr_in a = at(ip, port);

	return connect(fd, (void *)&a, sizeof a);
}

int dial6(int fd, const char *ip, int port)
{
	struct sockaddr_in6 a = at6(ip, port);

	return connect(fd, (void *)&a, sizeof a);
}

int bind_to(int fd, const char *ip, int port)
{
	struct sockaddr_in a = at(ip, port);
	struct sockaddr_in6 a6 = at6(ip, port);

	if (strchr(ip, ':'))
		return bind(fd, (void *)&a6, sizeof a6);
	return bind(fd, (void *)&a, sizeof a);
}

int listener(const char *ip)
{
	int fd = strchr(ip, ':') ? tcp6() : tcp();

	NEED(bind_to(fd, ip, 0) == 0);
	NEED(listen(fd, 64) == 0);
	return fd;
}

int free_port(void)
{
	int fd = tcp(), port;

	NEED(bind_to(fd, "127.0.0.1", 0) == 0);
	port = port_of(fd);
	close(fd);
	return port;
}

void connected(int *client, int *server)
{
	int l = listener("127.0.0.1");

	*client = tcp();
	NEED(dial(*client, "127.0.0.1", port_of(l)) == 0);
	*server = accept(l, NULL, NULL);
	NEED(*server >= 0);
	close(l);
}

int get_int(int fd, int level, int option)
{
	int value = -1;
	socklen_t len = sizeof value;

	if (getsockopt(fd, level, option, &value, &len) < 0)
		return -errno;
	return value;
}

const char *get_option(int fd, int level, int option)
{
	int value = 0;
	socklen_t len = sizeof value;
	size_t room;
	char *b = buffer(&room);

	if (getsockopt(fd, level, option, &value, &len) < 0)
		return error_name(errno);
	snprintf(b, room, "%d/%u", value, len);
	return b;
}

const char *set_option(int fd, int level, int option, int value)
{
	return R(setsockopt(fd, level, option, &value, sizeof value));
}

int pending_error(int fd)
{
	return get_int(fd, SOL_SOCKET, SO_ERROR);
}

void nonblocking(int fd, int on)
{
	int flags = fcntl(fd, F_GETFL);

	NEED(fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK) == 0);
}

const char *exchange(int from, int to, const char *text)
{
	char got[256] = "";
	size_t n = strlen(text);

	if (send(from, text, n, MSG_NOSIGNAL) != (ssize_t)n)
		return error_name(errno);
	await(to, POLLIN);
	if (recv(to, got, n, MSG_WAITALL) != (ssize_t)n)
		return error_name(errno);
	return strcmp(got, text) ? "garbled" : "ok";
}

void send_fd(int via, int fd)
{
	union {
		char room[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { { 0 } };
	char byte = 0;
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof fd);
	NEED(sendmsg(via, &msg, 0) == 1);
}

int receive_fd(int via)
{
	union {
		char room[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { { 0 } };
	char byte;
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
	int fd;

	NEED(recvmsg(via, &msg, 0) == 1 && CMSG_FIRSTHDR(&msg));
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof fd);
	return fd;
}

pid_t child(void (*body)(void *), void *arg)
{
	pid_t pid = fork();

	NEED(pid >= 0);
	if (!pid) {
		alarm(20);
		body(arg);
		_exit(0);
	}
	return pid;
}

const char *wait_for(pid_t pid)
{
	size_t room;
	char *b = buffer(&room);
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return error_name(errno);
	if (WIFSIGNALED(status))
		snprintf(b, room, "signal %d", WTERMSIG(status));
	else
		snprintf(b, room, "exit %d", WEXITSTATUS(status));
	return b;
}

static void count(int sig)
{
	(void)sig;
	signals++;
}

void handle(int sig, int flags)
{
	struct sigaction sa = { .sa_handler = count, .sa_flags = flags };

	signals = 0;
	NEED(sigaction(sig, &sa, NULL) == 0);
}

static void too_long(int sig)
{
	static const char text[] = "hangs\n";

	(void)sig;
	(void)!write(1, text, sizeof text - 1);
	_exit(4);
}

int main(int argc, char **argv)
{
	self = argv[0];
	if (argc > 1 && !strcmp(argv[1], "list")) {
		for (struct litmus *l = all; l; l = l->next)
			if (l->name[0] != '_')
				puts(l->name);
		return 0;
	}
	if (argc < 2)
		return 2;
	args = argv + 2;
	signal(SIGALRM, too_long);
	signal(SIGPIPE, SIG_IGN);
	alarm(15);
	for (struct litmus *l = all; l; l = l->next) {
		if (strcmp(l->name, argv[1]))
			continue;
		l->run();
		return 0;
	}
	fprintf(stderr, "litmus: no %s\n", argv[1]);
	return 2;
}
