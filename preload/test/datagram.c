/* SPDX-License-Identifier: Apache-2.0 */
/* Datagrams: every call that sends and receives, headers, control messages. */
#include "test.h"

#include <linux/errqueue.h>
#include <linux/icmp.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

#include "../../shm/abi.h"

long __read_chk(int fd, void *buf, size_t n, size_t room) __attribute__((weak));
long __recv_chk(int fd, void *buf, size_t n, size_t room, int flags) __attribute__((weak));
long __recvfrom_chk(int fd, void *buf, size_t n, size_t room, int flags, struct sockaddr *addr, socklen_t *len)
	__attribute__((weak));

static int udp(int flags)
{
	int fd = socket(AF_INET, SOCK_DGRAM | flags, 0);

	CHECK(fd >= 0);
	return fd;
}

static int requests(int fd)
{
	return option_int(fd, FAKE_LEVEL, FAKE_REQUESTS);
}

static void calls(void)
{
	struct sockaddr_in to = at("10.0.0.1", FAKE_ECHO), from;
	struct iovec out[2] = { { "sp", 2 }, { "ans", 3 } }, in[2];
	struct msghdr msg = { .msg_iov = out, .msg_iovlen = 2, .msg_name = &to, .msg_namelen = sizeof to };
	socklen_t len = sizeof from;
	char b[64], c[64];
	int fd = udp(0), before;

	CHECK_ERRNO(send(fd, "x", 1, 0), EDESTADDRREQ);
	CHECK_ERRNO(write(fd, "x", 1), EDESTADDRREQ);
	CHECK(sendto(fd, "hello", 5, 0, (void *)&to, sizeof to) == 5);
	CHECK(recvfrom(fd, b, sizeof b, 0, (void *)&from, &len) == 5 && !memcmp(b, "hello", 5));
	CHECK(len == sizeof from && from.sin_port == to.sin_port && from.sin_addr.s_addr == to.sin_addr.s_addr);

	/* What is known is not asked about. */
	before = requests(fd);
	CHECK(sendmsg(fd, &msg, 0) == 5);
	CHECK(sendto(fd, "", 0, 0, (void *)&to, sizeof to) == 0);
	CHECK(requests(fd) == before + 1);
	in[0] = (struct iovec){ b, 1 };
	in[1] = (struct iovec){ c, sizeof c };
	CHECK(readv(fd, in, 2) == 5 && b[0] == 's' && !memcmp(c, "pans", 4));
	CHECK(recv(fd, b, sizeof b, 0) == 0);

	CHECK(dial(fd, "10.0.0.2", FAKE_ECHO) == 0);
	CHECK(send(fd, "one", 3, 0) == 3 && recv(fd, b, sizeof b, MSG_PEEK) == 3 && read(fd, b, sizeof b) == 3);
	CHECK(write(fd, "four", 4) == 4 && recv(fd, b, 2, MSG_TRUNC) == 4 && b[1] == 'o');
	CHECK(writev(fd, out, 2) == 5 && recv(fd, b, 2, 0) == 2);
	if (__read_chk && __recv_chk && __recvfrom_chk) {
		CHECK(send(fd, "chk", 3, 0) == 3 && __read_chk(fd, b, 10, sizeof b) == 3);
		CHECK(send(fd, "chk", 3, 0) == 3 && __recv_chk(fd, b, 10, sizeof b, 0) == 3);
		len = sizeof from;
		CHECK(send(fd, "chk", 3, 0) == 3 && __recvfrom_chk(fd, b, 10, sizeof b, 0, (void *)&from, &len) == 3);
	}
	CHECK(syscall(SYS_write, fd, "raw", 3) == 3 && syscall(SYS_read, fd, b, sizeof b) == 3);
	CHECK(read(fd, b, 0) == 0);
	CHECK_ERRNO(recv(fd, b, 1, MSG_DONTWAIT), EAGAIN);
	CHECK_ERRNO(listen(fd, 1), EOPNOTSUPP);
	CHECK_ERRNO(accept(fd, NULL, NULL), EOPNOTSUPP);
	CHECK_ERRNO(accept4(fd, NULL, NULL, 0), EOPNOTSUPP);
	close(fd);
}

static void limits(void)
{
	static char big[65508];
	struct sockaddr_in to = at("10.0.0.1", FAKE_ECHO), far = at("240.0.0.1", 7), none = at("10.0.0.1", 0);
	struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_port = htons(FAKE_ECHO), .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	static struct iovec many[1025];
	struct msghdr msg = { .msg_iov = many, .msg_iovlen = 1025, .msg_name = &to, .msg_namelen = sizeof to };
	int fd = udp(0), fd6 = socket(AF_INET6, SOCK_DGRAM, 0), n = -1;

	CHECK(fd6 >= 0);
	CHECK_ERRNO(sendto(fd, big, 65508, 0, (void *)&to, sizeof to), EMSGSIZE);
	CHECK(sendto(fd, big, 65507, 0, (void *)&to, sizeof to) == 65507);
	CHECK(ioctl(fd, FIONREAD, &n) == 0 && n == 65507);
	CHECK(recv(fd, big, sizeof big, 0) == 65507);
	CHECK(ioctl(fd, FIONREAD, &n) == 0 && n == 0);
	CHECK_ERRNO(sendto(fd, "x", 1, 0, (void *)&far, sizeof far), ENETUNREACH);
	CHECK_ERRNO(sendto(fd, "x", 1, 0, (void *)&none, sizeof none), EINVAL);
	CHECK_ERRNO(sendto(fd, "x", 1, 0, (void *)&to, 8), EINVAL);
	CHECK_ERRNO(sendto(fd, "x", 1, 0, (void *)&six, sizeof six), EAFNOSUPPORT);
	CHECK_ERRNO(sendto(fd, "x", 1, MSG_OOB, (void *)&to, sizeof to), EOPNOTSUPP);
	CHECK_ERRNO(sendmsg(fd, &msg, 0), EMSGSIZE);
	CHECK_ERRNO(recvmsg(fd, &msg, MSG_DONTWAIT), EMSGSIZE);
	msg.msg_iovlen = 1023;
	CHECK(sendmsg(fd, &msg, 0) == 0);
	CHECK(recvmsg(fd, &msg, 0) == 0);
	CHECK(sendto(fd6, "six", 3, 0, (void *)&six, sizeof six) == 3);
	CHECK(recv(fd6, big, sizeof big, 0) == 3);
	CHECK(sendto(fd6, "four", 4, 0, (void *)&to, sizeof to) == 4);
	CHECK(recv(fd6, big, sizeof big, 0) == 4);
	close(fd);
	close(fd6);
}

static void errors(void)
{
	struct sockaddr_in dead = at("10.0.0.1", FAKE_REFUSE);
	struct sockaddr none = { .sa_family = AF_UNSPEC };
	char b[64] = "", control[256];
	struct iovec iov = { b, sizeof b };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control };
	struct sock_extended_err e;
	struct cmsghdr *c;
	int fd = udp(0), error = 0;
	socklen_t len = sizeof error;

	CHECK(connect(fd, (void *)&dead, sizeof dead) == 0);
	CHECK(send(fd, "x", 1, 0) == 1);
	CHECK_ERRNO(recv(fd, b, sizeof b, 0), ECONNREFUSED);
	CHECK(send(fd, "x", 1, 0) == 1);
	CHECK(ready(fd, POLLIN, 1000) & POLLIN);
	CHECK_ERRNO(send(fd, "x", 1, 0), ECONNREFUSED);
	CHECK(send(fd, "x", 1, 0) == 1);
	CHECK(ready(fd, POLLIN, 1000) & POLLIN);
	CHECK(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 && error == ECONNREFUSED);
	CHECK_ERRNO(recv(fd, b, sizeof b, MSG_DONTWAIT | MSG_PEEK), EAGAIN);
	CHECK(recvmsg(fd, &msg, MSG_ERRQUEUE) == 4 && !memcmp(b, "mine", 4) && msg.msg_flags == MSG_ERRQUEUE);
	c = CMSG_FIRSTHDR(&msg);
	CHECK(c && c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR);
	memcpy(&e, CMSG_DATA(c), sizeof e);
	CHECK(e.ee_errno == EHOSTUNREACH && e.ee_origin == SO_EE_ORIGIN_ICMP && e.ee_type == 3 && e.ee_code == 1);
	CHECK(connect(fd, &none, sizeof none) == 0);
	CHECK_ERRNO(send(fd, "x", 1, 0), EDESTADDRREQ);
	CHECK_ERRNO(shutdown(fd, SHUT_WR), ENOTCONN);
	CHECK_ERRNO(sendto(fd, "x", 1, 0, (void *)&dead, sizeof dead), EPIPE);
	close(fd);
}

static void controls(void)
{
	struct sockaddr_in to = at("10.0.0.1", FAKE_ECHO);
	char b[64], control[512];
	struct iovec iov = { b, sizeof b };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control };
	union {
		char room[CMSG_SPACE(sizeof(int))];
		struct cmsghdr c;
	} ttl = { .c = { .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = IPPROTO_IP, .cmsg_type = IP_TTL } };
	struct msghdr out = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &ttl, .msg_controllen = sizeof ttl };
	int fd = udp(0), wants = NC_D_WANT_PKTINFO | NC_D_WANT_TTL | NC_D_WANT_TOS | NC_D_WANT_STAMP | NC_D_WANT_OVERFLOW, v = 9;
	int seen = 0;

	CHECK(bind(fd, (void *)&(struct sockaddr_in){ .sin_family = AF_INET, .sin_addr = { htonl(0x0a000009) } }, sizeof to) == 0);
	CHECK(setsockopt(fd, FAKE_LEVEL, FAKE_WANT, &wants, sizeof wants) == 0);
	CHECK(dial(fd, "10.0.0.1", FAKE_ECHO) == 0);
	memcpy(CMSG_DATA(&ttl.c), &v, sizeof v);
	CHECK(sendmsg(fd, &out, 0) == sizeof b);
	CHECK(recvmsg(fd, &msg, 0) == sizeof b && !(msg.msg_flags & MSG_CTRUNC));
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
		struct timeval t;
		struct in_pktinfo p;

		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_TIMESTAMP) {
			memcpy(&t, CMSG_DATA(c), sizeof t);
			CHECK(t.tv_sec == 1700000000 && t.tv_usec == 123456);
			seen |= 1;
		} else if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_RXQ_OVFL) {
			memcpy(&v, CMSG_DATA(c), sizeof v);
			CHECK(v == 3);
			seen |= 2;
		} else if (c->cmsg_type == IP_PKTINFO) {
			memcpy(&p, CMSG_DATA(c), sizeof p);
			CHECK(p.ipi_ifindex == 2 && p.ipi_addr.s_addr == htonl(0x0a000009));
			seen |= 4;
		} else if (c->cmsg_type == IP_TTL) {
			memcpy(&v, CMSG_DATA(c), sizeof v);
			CHECK(v == 9);
			seen |= 8;
		} else if (c->cmsg_type == IP_TOS) {
			CHECK(c->cmsg_len == CMSG_LEN(1) && *CMSG_DATA(c) == 5);
			seen |= 16;
		}
	}
	CHECK(seen == 31);
	for (size_t room = 0; room < 120; room++) {
		msg.msg_controllen = room;
		CHECK(send(fd, "x", 1, 0) == 1);
		CHECK(recvmsg(fd, &msg, 0) == 1 && msg.msg_controllen <= room && (msg.msg_flags & MSG_CTRUNC));
	}
	for (size_t len = 0; len < sizeof ttl.room + 4; len++) {
		if (len == CMSG_LEN(sizeof(int)))
			continue;
		ttl.c.cmsg_len = len;
		CHECK_ERRNO(sendmsg(fd, &out, 0), EINVAL);
	}
	close(fd);
}

static void many(void)
{
	struct sockaddr_in to = at("10.0.0.1", FAKE_ECHO), from[30], dead = at("10.0.0.1", FAKE_REFUSE);
	char text[30][12];
	struct iovec iov[30];
	struct mmsghdr m[30];
	struct timespec limit = { .tv_nsec = 1 };
	int fd = udp(0);

	for (int i = 0; i < 30; i++) {
		snprintf(text[i], sizeof text[i], "%d", i);
		iov[i] = (struct iovec){ text[i], 2 };
		m[i] = (struct mmsghdr){ .msg_hdr = { .msg_iov = iov + i, .msg_iovlen = 1, .msg_name = &to, .msg_namelen = sizeof to } };
	}
	m[12].msg_hdr.msg_name = &dead; /* an error among datagrams */
	CHECK(sendmmsg(fd, m, 30, 0) == 30 && m[0].msg_len == 2 && m[29].msg_len == 2);
	for (int i = 0; i < 30; i++) {
		m[i].msg_hdr.msg_name = from + i;
		m[i].msg_hdr.msg_namelen = sizeof from[i];
		text[i][0] = 0;
	}
	for (int got = 0, n; got < 29; got += n) /* the error may end a call */
		CHECK((n = recvmmsg(fd, m + got, (unsigned)(29 - got), 0, NULL)) > 0);
	for (int i = 0; i < 29; i++)
		CHECK(atoi(text[i]) == (i < 12 ? i : i + 1) && m[i].msg_len == 2 && from[i].sin_port == to.sin_port);
	CHECK_ERRNO(recvmmsg(fd, m, 30, MSG_DONTWAIT, NULL), EAGAIN);
	CHECK(sendto(fd, "x", 1, 0, (void *)&to, sizeof to) == 1);
	CHECK(recvmmsg(fd, m, 30, MSG_WAITFORONE, NULL) == 1);
	CHECK(sendto(fd, "x", 1, 0, (void *)&to, sizeof to) == 1);
	CHECK(recvmmsg(fd, m, 30, 0, &limit) == 1);
	CHECK(sendto(fd, "x", 1, 0, (void *)&dead, sizeof dead) == 1);
	CHECK_ERRNO(recvmmsg(fd, m, 30, 0, NULL), ECONNREFUSED);
	close(fd);
}

/* A process that has no such socket of its own gets one. */
static void inherited(char **argv)
{
	char number[16];
	int fd = udp(0), status;
	pid_t pid;

	CHECK(dial(fd, "10.0.0.1", FAKE_ECHO) == 0);
	snprintf(number, sizeof number, "%d", fd);
	pid = fork();
	if (pid == 0) {
		execl("/proc/self/exe", argv[0], number, (char *)NULL);
		_exit(1);
	}
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	close(fd);
}

/* The same by a message, behind another control message. */
static void passed(void)
{
	union {
		char room[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(2 * sizeof(int))];
		struct cmsghdr align;
	} control;
	char b[8];
	struct iovec iov = { b, 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
	int pair[2], fds[2] = { 0, -1 }, one = 1, status;
	struct cmsghdr *c;
	pid_t pid;

	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
	CHECK(setsockopt(pair[1], SOL_SOCKET, SO_PASSCRED, &one, sizeof one) == 0);
	pid = fork();
	if (pid == 0) {
		CHECK(recvmsg(pair[1], &msg, 0) == 1);
		for (c = CMSG_FIRSTHDR(&msg); c && c->cmsg_type != SCM_RIGHTS; c = CMSG_NXTHDR(&msg, c))
			;
		CHECK(c && c->cmsg_len == CMSG_LEN(sizeof fds));
		memcpy(fds, CMSG_DATA(c), sizeof fds);
		CHECK(write(fds[1], "passed", 6) == 6 && read(fds[1], b, sizeof b) == 6 && !memcmp(b, "passed", 6));
		_exit(0);
	}
	fds[1] = udp(0);
	CHECK(dial(fds[1], "10.0.0.1", FAKE_ECHO) == 0);
	msg.msg_controllen = CMSG_SPACE(sizeof fds);
	c = CMSG_FIRSTHDR(&msg);
	*c = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof fds), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS };
	memcpy(CMSG_DATA(c), fds, sizeof fds);
	CHECK(sendmsg(pair[0], &msg, 0) == 1);
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	close(fds[1]);
	close(pair[0]);
	close(pair[1]);
}

int main(int argc, char **argv)
{
	char b[8];

	if (argc > 1) {
		CHECK(write(atoi(argv[1]), "exec", 4) == 4 && read(atoi(argv[1]), b, sizeof b) == 4 && !memcmp(b, "exec", 4));
		return 0;
	}
	passed(); /* before this process has any */
	calls();
	limits();
	errors();
	controls();
	many();
	inherited(argv);
	return 0;
}
