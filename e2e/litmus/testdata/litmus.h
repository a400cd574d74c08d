/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the litmus tests share. A litmus is one behaviour of sockets: a function
 * that does something and says what it saw, in lines "what: result". It says
 * nothing that differs from run to run on one system: no port numbers, no times.
 */
#ifndef LITMUS_H
#define LITMUS_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

struct litmus {
	const char *name;
	void (*run)(void);
	struct litmus *next;
};

void add_litmus(struct litmus *l);

/* Defines and registers a litmus: LITMUS(name) { ... } */
#define LITMUS(id)                                                              \
	static void litmus_##id(void);                                          \
	static struct litmus entry_##id = { .name = #id, .run = litmus_##id };  \
	__attribute__((constructor)) static void register_##id(void)            \
	{                                                                       \
		add_litmus(&entry_##id);                                        \
	}                                                                       \
	static void litmus_##id(void)

/* say prints one line, at once. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* give_up ends the litmus: what it needs is not there. */
void give_up(const char *what);

#define NEED(cond)                    \
	do {                          \
		if (!(cond))          \
			give_up(#cond); \
	} while (0)

/*
 * R is the result of a call in words: the number, or the name of the error. It
 * lies in one of a few buffers that are used in turn.
 */
const char *result(long value);
#define R(call) (errno = 0, result((long)(call)))
const char *error_name(int e);

/* A line with the result of a call and what lies in variables after it. */
#define SAY_CALL(format, call, ...)             \
	do {                                    \
		const char *r_ = R(call);       \
		say(format, r_, __VA_ARGS__);   \
	} while (0)

/* What poll says: "IN|OUT", "-" for nothing within timeout_ms. */
const char *polled(int fd, int timeout_ms);
const char *event_names(unsigned events);

/* Waits until one of the events is there, at most 5 seconds. */
void await(int fd, short events);

/* Waits a moment for what must not happen, or for a segment on its way. */
void settle(void);

int tcp(void);
int tcp6(void);
struct sockaddr_in at(const char *ip, int port);
struct sockaddr_in6 at6(const char *ip, int port);
int port_of(int fd);
int dial(int fd, const char *ip, int port);
int dial6(int fd, const char *ip, int port);
int bind_to(int fd, const char *ip, int port);

/* A listener on ip and any port; and, by its port, a connected pair. */
int listener(const char *ip);

/* A port nobody has, to be asked for by its number. */
int free_port(void);

/* An address that answers nothing. */
#define SILENT "10.42.0.99"

void connected(int *client, int *server);

int get_int(int fd, int level, int option);
const char *get_option(int fd, int level, int option);
const char *set_option(int fd, int level, int option, int value);
int pending_error(int fd);

void nonblocking(int fd, int on);

/* Sends the text and wants it back at the other end. */
const char *exchange(int from, int to, const char *text);

/* SCM_RIGHTS over an AF_UNIX socket. */
void send_fd(int via, int fd);
int receive_fd(int via);

/* fork; the child runs body and exits 0. The status in words. */
pid_t child(void (*body)(void *), void *arg);
const char *wait_for(pid_t pid);

void handle(int sig, int flags);
extern volatile sig_atomic_t signals;

/* argv[0] and the arguments behind a litmus that starts itself again. */
extern char *self;
extern char **args;

#endif /* LITMUS_H */
