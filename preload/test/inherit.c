/* SPDX-License-Identifier: Apache-2.0 */
/* A socket is the same one after fork, exec, dup and SCM_RIGHTS; its last close is the last of them. */
#include "test.h"

static int pass(int fd)
{
	union {
		char room[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	char byte = 0;
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	int s[2], got;

	CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, s) == 0);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof fd);
	CHECK(sendmsg(s[0], &msg, 0) == 1);
	close(fd);
	CHECK(recvmsg(s[1], &msg, 0) == 1);
	memcpy(&got, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof got);
	close(s[0]);
	close(s[1]);
	return got;
}

static void check(int conn, int listener)
{
	struct sockaddr_in a;
	socklen_t len = sizeof a;
	int n = 1, fd;

	CHECK(getpeername(conn, (void *)&a, &len) == 0 && ntohs(a.sin_port) == FAKE_ECHO);
	check_echo(conn);
	CHECK(setsockopt(listener, FAKE_LEVEL, FAKE_DELIVER, &n, sizeof n) == 0);
	fd = accept(listener, NULL, NULL);
	CHECK(fd >= 0);
	check_echo(fd);
	close(fd);
}

int main(int argc, char **argv)
{
	int conn, l, probe;
	char a[16], b[16];
	pid_t pid;

	if (argc > 2) {
		check(atoi(argv[1]), atoi(argv[2]));
		return 0;
	}
	conn = tcp(0);
	CHECK(dial(conn, "10.0.0.1", FAKE_ECHO) == 0);
	l = listening(0, 80, 0);
	check(conn, l);
	conn = pass(conn);
	l = pass(dup(l));
	check(conn, l);
	pid = spawn();
	if (!pid) {
		snprintf(a, sizeof a, "%d", conn);
		snprintf(b, sizeof b, "%d", l);
		execl("/proc/self/exe", argv[0], a, b, (char *)NULL);
		_exit(1);
	}
	check_child(pid);
	check(conn, l);
	probe = tcp(0);
	close(conn);
	for (int i = 0; option_int(probe, FAKE_LEVEL, FAKE_LIVE) != 2; i++)
		CHECK(i < 1000 && ready(probe, POLLIN, 1) == 0);
	return 0;
}
