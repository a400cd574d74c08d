/* SPDX-License-Identifier: Apache-2.0 */
/* What a pair's end cannot say: a reset, by every call; flags it does not know; what is on its way. */
#include "test.h"
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/uio.h>

static char room[8];
static struct iovec iov = { room, sizeof room };

static int connection(void)
{
	int fd = tcp(0);

	CHECK(dial(fd, "10.0.0.1", FAKE_ECHO) == 0);
	check_echo(fd);
	return fd;
}

static int pipes[2];

static long receive(int fd, int how)
{
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct mmsghdr msgs[2] = { { .msg_hdr = msg }, { .msg_hdr = msg } };
	long n;

	switch (how) {
	case 0:
		return read(fd, room, sizeof room);
	case 1:
		return recv(fd, room, sizeof room, 0);
	case 2:
		return recvfrom(fd, room, sizeof room, 0, NULL, NULL);
	case 3:
		return recvmsg(fd, &msg, 0);
	case 4:
		return readv(fd, &iov, 1);
	case 5:
		return syscall(SYS_read, fd, room, sizeof room);
	case 6:
		return recv(fd, room, sizeof room, MSG_TRUNC);
	case 7:
		return splice(fd, NULL, pipes[1], NULL, sizeof room, 0);
	case 8:
		n = recvmmsg(fd, msgs, 2, 0, NULL);
		return n > 0 ? msgs[0].msg_len : n;
	case 9:
		n = syscall(SYS_recvmmsg, fd, msgs, 2, 0, NULL);
		return n > 0 ? msgs[0].msg_len : n;
	case 10:
		return syscall(SYS_readv, fd, &iov, 1);
	default:
		return -2;
	}
}

static long transmit(int fd, int how)
{
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct mmsghdr msgs[2] = { { .msg_hdr = msg }, { .msg_hdr = msg } };
	long n;
	int file;

	switch (how) {
	case 0:
		return write(fd, room, 1);
	case 1:
		return send(fd, room, 1, MSG_NOSIGNAL);
	case 2:
		return sendto(fd, room, 1, 0, NULL, 0);
	case 3:
		return sendmsg(fd, &msg, 0);
	case 4:
		return writev(fd, &iov, 1);
	case 5:
		return syscall(SYS_write, fd, room, 1);
	case 6:
		return sendmmsg(fd, msgs, 2, 0);
	case 7:
		CHECK(write(pipes[1], "x", 1) == 1);
		n = splice(pipes[0], NULL, fd, NULL, 1, 0);
		file = errno;
		CHECK(read(pipes[0], room, 1) == 1);
		errno = file;
		return n;
	case 8:
		file = memfd_create("bytes", MFD_CLOEXEC);
		CHECK(file >= 0 && write(file, "x", 1) == 1);
		n = sendfile(fd, file, &(off_t){ 0 }, 1);
		close(file);
		return n;
	default:
		return -2;
	}
}

static void resets(void)
{
	for (int how = 0;; how++) {
		int fd = connection(), probe;

		command(fd, FAKE_RESET);
		CHECK(read(fd, room, 0) == 0);
		if (receive(fd, how) == -2)
			break;
		/* errno is of the call above. */
		CHECK(errno == ECONNRESET);
		CHECK(receive(fd, how) == 0);
		CHECK(option_int(fd, SOL_SOCKET, SO_ERROR) == 0);
		close(fd);

		fd = connection();
		command(fd, FAKE_RESET);
		CHECK(option_int(fd, SOL_SOCKET, SO_ERROR) == ECONNRESET);
		CHECK(receive(fd, how) == 0);
		close(fd);

		/* A FIN is no reason to ask. */
		fd = connection();
		probe = tcp(0);
		CHECK(shutdown(fd, SHUT_WR) == 0);
		CHECK(receive(fd, how) == 0);
		close(fd);
		close(probe);
	}
	CHECK(signal(SIGPIPE, SIG_IGN) != SIG_ERR);
	for (int how = 0;; how++) {
		int fd = connection();

		command(fd, FAKE_RESET);
		if (transmit(fd, how) == -2)
			break;
		CHECK(errno == ECONNRESET);
		CHECK_ERRNO(transmit(fd, how), EPIPE);
		CHECK(receive(fd, 0) == 0);
		close(fd);
	}
}

static void flags(void)
{
	struct sockaddr_in a = at("10.0.0.2", 1);
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_name = &a, .msg_namelen = sizeof a };
	int fd = connection(), n, s[2];

	CHECK(send(fd, "abcdefgh", 8, 0) == 8);
	CHECK_ERRNO(recv(fd, room, 8, MSG_ERRQUEUE), EAGAIN);
	CHECK_ERRNO(recvmsg(fd, &msg, MSG_ERRQUEUE), EAGAIN);
	CHECK(recv(fd, room, 8, MSG_PEEK | MSG_WAITALL) == 8);
	CHECK(recv(fd, NULL, 3, MSG_TRUNC) == 3);
	CHECK(recv(fd, room, 8, 0) == 5 && memcmp(room, "defgh", 5) == 0);
	CHECK_ERRNO(recv(fd, NULL, 3, MSG_TRUNC | MSG_DONTWAIT), EAGAIN);

	/* The address of a connected socket is ignored, as by TCP. */
	CHECK(sendto(fd, "x", 1, 0, (void *)&a, sizeof a) == 1);
	memcpy(room, "y", 1);
	iov.iov_len = 1;
	msg.msg_namelen = sizeof a;
	CHECK(sendmsg(fd, &msg, 0) == 1);
	iov.iov_len = sizeof room;
	CHECK(recv(fd, room, 2, MSG_WAITALL) == 2 && memcmp(room, "xy", 2) == 0);
	CHECK_ERRNO(sendto(fd, "x", 1, MSG_FASTOPEN, (void *)&a, sizeof a), EOPNOTSUPP);

	CHECK(ioctl(fd, SIOCOUTQ, &n) == 0 && n == FAKE_OUTQ);
	CHECK(ioctl(fd, SIOCOUTQNSD, &n) == 0 && n == FAKE_OUTQ + 1);
	CHECK(syscall(SYS_ioctl, fd, SIOCOUTQ, &n) == 0 && n == FAKE_OUTQ);
	CHECK(ioctl(fd, FIONREAD, &n) == 0 && n == 0);

	/* Others' sockets. */
	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0);
	CHECK_ERRNO(sendto(s[0], "x", 1, 0, (void *)&a, sizeof a), EISCONN);
	CHECK(ioctl(s[0], SIOCOUTQ, &n) == 0 && n == 0);
	close(s[1]);
	CHECK(read(s[0], room, 1) == 0);
	CHECK_ERRNO(send(s[0], room, 1, MSG_NOSIGNAL), EPIPE);
	CHECK_ERRNO(read(-1, room, 1), EBADF);
	CHECK_ERRNO(syscall(100000), ENOSYS);
}

/* A connect that failed unseen: the error, ECONNABORTED, and then another try. */
static void revive(void)
{
	struct timeval limit = { 7, 0 };
	socklen_t len = sizeof limit;
	int fd = tcp(SOCK_NONBLOCK | SOCK_CLOEXEC);

	CHECK(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
	CHECK_ERRNO(dial(fd, "10.0.0.1", FAKE_REFUSE), EINPROGRESS);
	CHECK(ready(fd, POLLOUT, 2000) & POLLOUT);
	CHECK_ERRNO(read(fd, room, 1), ECONNREFUSED);
	CHECK_ERRNO(dial(fd, "10.0.0.1", FAKE_ECHO), ECONNABORTED);
	CHECK_ERRNO(dial(fd, "10.0.0.1", FAKE_ECHO), EINPROGRESS);
	CHECK(ready(fd, POLLOUT, 2000) & POLLOUT);
	CHECK(option_int(fd, SOL_SOCKET, SO_ERROR) == 0);
	CHECK(fcntl(fd, F_GETFD) == FD_CLOEXEC && (fcntl(fd, F_GETFL) & O_NONBLOCK));
	limit.tv_sec = 0;
	CHECK(getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, &len) == 0 && limit.tv_sec == 7);
	check_echo(fd);
}

/* Bytes first, then the end that came with them. */
static void messages(void)
{
	char four[4][8];
	struct iovec v[4];
	struct mmsghdr msgs[4] = { 0 };
	struct sockaddr_in a = at("10.0.0.2", 1);
	int fd = connection();

	for (int i = 0; i < 4; i++) {
		v[i] = (struct iovec){ four[i], 8 };
		msgs[i].msg_hdr = (struct msghdr){ .msg_iov = &v[i], .msg_iovlen = 1, .msg_name = &a, .msg_namelen = sizeof a };
		memset(four[i], 'a' + i, 8);
	}
	/* The address of a connected socket is ignored. */
	CHECK(sendmmsg(fd, msgs, 1, 0) == 1 && msgs[0].msg_len == 8);
	for (int i = 0; i < 4; i++)
		msgs[i].msg_hdr.msg_name = NULL;
	CHECK(sendmmsg(fd, msgs + 1, 1, 0) == 1);
	while (recv(fd, room, 1, MSG_PEEK | MSG_DONTWAIT) != 1 || ioctl(fd, FIONREAD, &msgs[0].msg_len) || msgs[0].msg_len != 16)
		ready(fd, POLLIN, 10);
	command(fd, FAKE_RESET);
	CHECK(ready(fd, POLLHUP, 2000) & POLLHUP);
	CHECK(recvmmsg(fd, msgs, 4, 0, NULL) == 2 && msgs[1].msg_len == 8 && memcmp(four[1], "bbbbbbbb", 8) == 0);
	CHECK_ERRNO(recvmmsg(fd, msgs, 4, 0, NULL), ECONNRESET);
	CHECK(recvmmsg(fd, msgs, 4, 0, NULL) == 4 && msgs[0].msg_len == 0);
	close(fd);
}

int main(void)
{
	CHECK(pipe(pipes) == 0);
	resets();
	flags();
	messages();
	revive();
	return 0;
}
