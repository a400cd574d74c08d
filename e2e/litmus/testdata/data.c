/* SPDX-License-Identifier: Apache-2.0 */
/* How bytes, and the end of them, come through. */
#include "litmus.h"
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <linux/errqueue.h>
#include <linux/sockios.h>

LITMUS(half_close)
{
	int c, s;
	char b[16];

	connected(&c, &s);
	NEED(send(c, "question", 8, 0) == 8);
	say("shutdown: %s", R(shutdown(c, SHUT_WR)));
	say("send: %s", R(send(c, "x", 1, MSG_NOSIGNAL)));
	say("peer reads: %s", R(recv(s, b, 8, MSG_WAITALL)));
	say("peer reads: %s", R(recv(s, b, 8, 0)));
	say("peer polls: %s", polled(s, 0));
	say("peer sends: %s", R(send(s, "answer", 6, 0)));
	say("read: %s", R(recv(c, b, 6, MSG_WAITALL)));
	close(s);
	say("read: %s", R(recv(c, b, 6, 0)));
	say("poll: %s", polled(c, 0));
	say("SO_ERROR: %s", error_name(pending_error(c)));

	connected(&c, &s);
	say("shutdown rd: %s", R(shutdown(c, SHUT_RD)));
	say("read: %s", R(read(c, b, 1)));
	say("write: %s", exchange(c, s, "hello"));
	say("poll: %s", polled(c, 0));
	say("peer polls: %s", polled(s, 0));
	say("peer sends: %s", R(send(s, "x", 1, MSG_NOSIGNAL)));
}

static void reset_peer(int fd)
{
	struct linger now = { 1, 0 };

	NEED(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now) == 0);
	close(fd);
}

LITMUS(linger_reset)
{
	struct linger l;
	socklen_t len = sizeof l;
	int c, s;
	char b[16];

	connected(&c, &s);
	NEED(getsockopt(c, SOL_SOCKET, SO_LINGER, &l, &len) == 0);
	say("default: %d %d %u", l.l_onoff, l.l_linger, len);
	reset_peer(c);
	await(s, POLLIN);
	say("poll without ERR: %s", event_names(({ struct pollfd p = { s, POLLIN | POLLOUT | POLLRDHUP, 0 }; poll(&p, 1, 0); (unsigned)p.revents & ~POLLERR; })));
	say("read: %s", R(read(s, b, 1)));
	say("read again: %s", R(read(s, b, 1)));
	say("SO_ERROR: %s", error_name(pending_error(s)));
	say("send: %s", R(send(s, "x", 1, MSG_NOSIGNAL)));
}

#define READS(name, call)                                       \
	do {                                                    \
		int c_, s_;                                     \
		connected(&c_, &s_);                            \
		reset_peer(c_);                                 \
		await(s_, POLLIN);                              \
		fd = s_;                                        \
		say(name ": %s", R(call));                      \
		say(name " again: %s", R(call));                \
		close(s_);                                      \
	} while (0)

LITMUS(reset_by_call)
{
	char b[16];
	struct iovec iov[2] = { { b, 8 }, { b + 8, 8 } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };
	struct mmsghdr msgs[2] = { { .msg_hdr = msg }, { .msg_hdr = msg } };
	struct sockaddr_storage a;
	socklen_t len = sizeof a;
	int fd, p[2];

	NEED(pipe(p) == 0);
	READS("read", read(fd, b, 16));
	READS("recv", recv(fd, b, 16, 0));
	READS("recv peek", recv(fd, b, 16, MSG_PEEK));
	READS("recvfrom", recvfrom(fd, b, 16, 0, (void *)&a, &len));
	READS("recvmsg", recvmsg(fd, &msg, 0));
	READS("recvmmsg", recvmmsg(fd, msgs, 2, 0, NULL));
	READS("readv", readv(fd, iov, 2));
	READS("splice", splice(fd, NULL, p[1], NULL, 16, 0));
	READS("SO_ERROR", pending_error(fd));
	READS("syscall", syscall(SYS_read, fd, b, 16));
}

/* Bytes that came before the reset may be read first or be lost; here they are read. */
LITMUS(reset_unread)
{
	int c, s;
	char b[16];

	connected(&c, &s);
	NEED(send(c, "hello", 5, 0) == 5);
	await(s, POLLIN);
	close(s);
	await(c, POLLIN);
	say("read: %s", R(read(c, b, 1)));
	say("read: %s", R(read(c, b, 1)));
	connected(&c, &s);
	NEED(send(c, "hello", 5, 0) == 5);
	await(s, POLLIN);
	shutdown(s, SHUT_WR);
	await(c, POLLIN);
	say("FIN: %s", R(read(c, b, 1)));
	close(s);
	settle();
	say("FIN, then reset: %s", R(read(c, b, 1)));
}

/* The error of a connection that died comes before EPIPE. */
LITMUS(reset_and_write)
{
	int c, s, how, p[2], file = memfd_create("bytes", 0);
	char b[8];
	struct iovec iov = { "x", 1 };
	struct mmsghdr msgs[1] = { { .msg_hdr = { .msg_iov = &iov, .msg_iovlen = 1 } } };

	NEED(pipe(p) == 0 && write(p[1], "bytes", 5) == 5 && write(file, "bytes", 5) == 5);
	for (how = 0; how < 8; how++) {
		connected(&c, &s);
		reset_peer(c);
		await(s, POLLIN);
		for (int i = 0; i < 2; i++) {
			const char *r = how == 0 ? R(send(s, "x", 1, MSG_NOSIGNAL)) :
				how == 1 ? R(write(s, "x", 1)) :
				how == 2 ? R(writev(s, &iov, 1)) :
				how == 3 ? R(sendto(s, "x", 1, 0, NULL, 0)) :
				how == 4 ? R(sendmmsg(s, msgs, 1, 0)) :
				how == 5 ? R(splice(p[0], NULL, s, NULL, 1, 0)) :
				how == 6 ? R(sendfile(s, file, &(off_t){ 0 }, 1)) :
					   R(sendmsg(s, &(struct msghdr){ .msg_iov = &iov, .msg_iovlen = 1 }, 0));
			say("%d: %s", how, r);
		}
		say("%d: read %s", how, R(read(s, b, 1)));
		close(s);
	}
}

/* One that waits to write, with much unread, wakes. */
LITMUS(reset_while_writing)
{
	static char b[1 << 16];
	int c, s;
	long n, got = 0;

	connected(&c, &s);
	nonblocking(c, 1);
	nonblocking(s, 1);
	/* Full is what takes nothing for a while. */
	for (int quiet = 0; quiet < 10; quiet++) {
		while (send(s, b, sizeof b, MSG_NOSIGNAL) > 0)
			quiet = 0;
		while (send(c, b, sizeof b, MSG_NOSIGNAL) > 0)
			quiet = 0;
		poll(NULL, 0, 20);
	}
	say("full: %s", polled(c, 0));
	reset_peer(s);
	await(c, POLLOUT);
	say("writable: %d", poll(&(struct pollfd){ .fd = c, .events = POLLOUT }, 1, 0));
	say("send: %s", R(send(c, b, 1, MSG_NOSIGNAL)));
	say("send: %s", R(send(c, b, 1, MSG_NOSIGNAL)));
	while ((n = recv(c, b, sizeof b, 0)) > 0 || (n < 0 && errno == EAGAIN)) {
		if (n > 0)
			got += n;
		else
			await(c, POLLIN);
	}
	say("read: %d, then %s", got > 100000, R(n));
}

LITMUS(reset_in_blocking_read)
{
	int c, s, p[2];
	char b[16];
	pid_t pid;

	connected(&c, &s);
	NEED(pipe(p) == 0);
	pid = fork();
	if (!pid) {
		close(s);
		poll(NULL, 0, 100);
		reset_peer(c);
		_exit(0);
	}
	close(c);
	say("read: %s", R(read(s, b, 1)));
	say("child: %s", wait_for(pid));
}

LITMUS(sigpipe)
{
	int c, s, n = 0;

	connected(&c, &s);
	handle(SIGPIPE, 0);
	shutdown(c, SHUT_WR);
	SAY_CALL("nosignal: %s, signals %d", send(c, "x", 1, MSG_NOSIGNAL), (int)signals);
	SAY_CALL("send: %s, signals %d", send(c, "x", 1, 0), (int)signals);
	SAY_CALL("write: %s, signals %d", write(c, "x", 1), (int)signals);
	connected(&c, &s);
	close(s);
	await(c, POLLIN);
	signals = 0;
	while (send(c, "x", 1, MSG_NOSIGNAL) == 1 && n++ < 1000)
		poll(NULL, 0, 5);
	say("until an error: %s, signals %d", n < 1000 ? "yes" : "no", (int)signals);
	SAY_CALL("then: %s, signals %d", send(c, "x", 1, MSG_NOSIGNAL), (int)signals);
	SAY_CALL("then: %s, signals %d", write(c, "x", 1), (int)signals);
}

LITMUS(msg_flags)
{
	int c, s;
	char b[64] = "";

	connected(&c, &s);
	say("dontwait: %s", R(recv(s, b, 1, MSG_DONTWAIT)));
	NEED(send(c, "0123456789", 10, 0) == 10);
	await(s, POLLIN);
	SAY_CALL("peek: %s %.4s", recv(s, b, 4, MSG_PEEK), b);
	SAY_CALL("peek: %s %.4s", recv(s, b, 4, MSG_PEEK), b);
	SAY_CALL("read: %s %.4s", recv(s, b, 4, 0), b);
	say("trunc: %s", R(recv(s, NULL, 3, MSG_TRUNC)));
	SAY_CALL("rest: %s %.3s", recv(s, b, 64, 0), b);
	say("nothing: %s", R(recv(s, b, 0, MSG_DONTWAIT)));
	say("errqueue: %s", R(recv(s, b, 64, MSG_ERRQUEUE)));
	NEED(send(c, "x", 1, 0) == 1);
	await(s, POLLIN);
	say("errqueue: %s", R(recv(s, b, 64, MSG_ERRQUEUE)));
	say("errqueue: %s", R(recvmsg(s, &(struct msghdr){ .msg_iov = &(struct iovec){ b, 64 }, .msg_iovlen = 1 }, MSG_ERRQUEUE)));
	say("not eaten: %s", R(recv(s, b, 64, 0)));
	say("more: %s", R(send(c, "ab", 2, MSG_MORE)));
	say("then: %s", R(send(c, "cd", 2, 0)));
	SAY_CALL("waitall: %s %.4s", recv(s, b, 4, MSG_WAITALL), b);
	say("confirm: %s", R(send(c, "x", 1, MSG_CONFIRM | MSG_DONTROUTE)));
	say("zerocopy: %s", R(send(c, "y", 1, MSG_ZEROCOPY)));
	say("both: %s", R(recv(s, b, 2, MSG_WAITALL)));
	say("sendto: %s", R(sendto(c, "z", 1, 0, (void *)&(struct sockaddr_in){ .sin_family = AF_INET }, sizeof(struct sockaddr_in))));
	say("got: %s", R(recv(s, b, 8, 0)));
	SAY_CALL("eof waitall: %s %s", shutdown(c, SHUT_WR), R(recv(s, b, 8, MSG_WAITALL)));
}

static void send_later(void *arg)
{
	poll(NULL, 0, 60);
	NEED(send(*(int *)arg, "67", 2, 0) == 2);
}

LITMUS(waitall_blocks)
{
	int c, s;
	char b[16] = "";
	pid_t pid;

	connected(&c, &s);
	NEED(send(c, "12345", 5, 0) == 5);
	pid = child(send_later, &c);
	SAY_CALL("recv: %s %.7s", recv(s, b, 7, MSG_WAITALL), b);
	say("child: %s", wait_for(pid));
}

/* Urgent data. */
LITMUS(oob)
{
	int c, s, at = -1;
	char b[16] = "";

	connected(&c, &s);
	say("recv: %s", R(recv(s, b, 1, MSG_OOB)));
	SAY_CALL("ioctl: %s %d", ioctl(s, SIOCATMARK, &at), at);
	say("sockatmark: %s", R(sockatmark(s)));
	say("send: %s", R(send(c, "abc", 3, MSG_OOB)));
	say("nothing else is lost: %s", R(recv(s, b, 2, MSG_WAITALL)));
}

/* Urgent data of a receiver that wants it in its place. */
LITMUS(oob_inline)
{
	char b[16] = "";
	int c, s;

	connected(&c, &s);
	NEED(setsockopt(s, SOL_SOCKET, SO_OOBINLINE, &(int){ 1 }, sizeof(int)) == 0);
	say("send: %s", R(send(c, "abc", 3, MSG_OOB)));
	await(s, POLLIN);
	while (strlen(b) < 3)
		NEED(recv(s, b + strlen(b), 1, 0) == 1);
	say("received: %s", b);
	say("send one: %s", R(send(c, "d", 1, MSG_OOB)));
	say("send after: %s", R(send(c, "e", 1, 0)));
	while (strlen(b) < 5)
		NEED(recv(s, b + strlen(b), 1, 0) == 1);
	say("received: %s", b);
}

LITMUS(timeouts)
{
	struct timeval t = { 0, 60000 }, got = { 0 };
	socklen_t len = sizeof got;
	int c, s, l = listener("127.0.0.1");
	static char big[1 << 20];
	ssize_t n;

	connected(&c, &s);
	say("set: %s", R(setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t)));
	say("get: %s", R(getsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &got, &len)));
	say("near: %d", got.tv_sec == 0 && got.tv_usec >= 60000 && got.tv_usec <= 64000);
	say("recv: %s", R(recv(s, big, 1, 0)));
	say("waitall: %s", R(recv(s, big, 1, MSG_WAITALL)));
	say("accept set: %s", R(setsockopt(l, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t)));
	say("accept: %s", R(accept(l, NULL, NULL)));
	say("send set: %s", R(setsockopt(c, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t)));
	for (int i = 0; (n = send(c, big, sizeof big, 0)) > 0 && i < 200;)
		i++;
	say("send: %s", result(n));
	t.tv_usec = 1000000;
	say("bad: %s", R(setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t)));
	say("short: %s", R(setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &t, 4)));
}

LITMUS(queues)
{
	int c, s, n = -1, l = listener("127.0.0.1");
	char b[64];

	connected(&c, &s);
	SAY_CALL("FIONREAD: %s %d", ioctl(s, FIONREAD, &n), n);
	SAY_CALL("SIOCOUTQ: %s %d", ioctl(c, SIOCOUTQ, &n), n);
	NEED(send(c, "0123456789", 10, 0) == 10);
	await(s, POLLIN);
	SAY_CALL("FIONREAD: %s %d", ioctl(s, FIONREAD, &n), n);
	for (int i = 0; i < 100 && ioctl(c, SIOCOUTQ, &n) == 0 && n; i++)
		poll(NULL, 0, 10);
	say("SIOCOUTQ settles at: %d", n);
	SAY_CALL("SIOCOUTQNSD: %s %d", ioctl(c, SIOCOUTQNSD, &n), n);
	NEED(recv(s, b, 4, 0) == 4);
	SAY_CALL("FIONREAD: %s %d", ioctl(s, FIONREAD, &n), n);
	say("listener SIOCOUTQ: %s", R(ioctl(l, SIOCOUTQ, &n)));
	n = 1;
	say("FIONBIO: %s", R(ioctl(s, FIONBIO, &n)));
	say("O_NONBLOCK: %d", !!(fcntl(s, F_GETFL) & O_NONBLOCK));
	say("recv: %s", R(recv(s, b, 64, 0)));
	say("recv: %s", R(recv(s, b, 64, 0)));
	say("unknown: %s", R(ioctl(s, 0x1234, &n)));
}

/* What the other side has not taken is in SIOCOUTQ. */
LITMUS(outq_counts)
{
	int c, s, n = 0, small = 65536;
	static char big[1 << 16];
	long sent = 0;
	ssize_t m;

	connected(&c, &s);
	setsockopt(s, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
	nonblocking(c, 1);
	for (int i = 0; i < 20; i++) {
		while ((m = send(c, big, sizeof big, 0)) > 0)
			sent += m;
		poll(NULL, 0, 20);
	}
	NEED(ioctl(c, SIOCOUTQ, &n) == 0);
	say("queued: %d", n > 10000 && n <= sent);
	while (sent > 0 && (m = recv(s, big, sizeof big, 0)) > 0)
		sent -= m;
	say("left: %ld", sent);
	for (int i = 0; i < 200 && ioctl(c, SIOCOUTQ, &n) == 0 && n; i++)
		poll(NULL, 0, 10);
	say("queued: %d", n);
}

LITMUS(vectors)
{
	char a[4], b[8], d[16] = "";
	struct iovec out[3] = { { "one", 3 }, { "", 0 }, { "two", 3 } };
	struct iovec in[2] = { { a, sizeof a }, { b, sizeof b } };
	struct mmsghdr mm[2] = { { .msg_hdr = { .msg_iov = out, .msg_iovlen = 1 } }, { .msg_hdr = { .msg_iov = out + 2, .msg_iovlen = 1 } } };
	struct sockaddr_in name;
	struct msghdr msg = { .msg_iov = in, .msg_iovlen = 2, .msg_name = &name, .msg_namelen = sizeof name };
	int c, s;

	connected(&c, &s);
	say("writev: %s", R(writev(c, out, 3)));
	await(s, POLLIN);
	SAY_CALL("readv: %s %.4s%.2s", readv(s, in, 2), a, b);
	say("sendmsg: %s", R(sendmsg(c, &(struct msghdr){ .msg_iov = out, .msg_iovlen = 3 }, 0)));
	await(s, POLLIN);
	SAY_CALL("recvmsg: %s flags %d", recvmsg(s, &msg, 0), msg.msg_flags);
	say("sendmmsg: %s", R(sendmmsg(c, mm, 2, 0)));
	say("lengths: %u %u", mm[0].msg_len, mm[1].msg_len);
	settle();
	mm[0].msg_hdr.msg_iov = &(struct iovec){ d, 3 };
	mm[1].msg_hdr.msg_iov = &(struct iovec){ d + 3, 3 };
	SAY_CALL("recvmmsg: %s %s", recvmmsg(s, mm, 2, MSG_DONTWAIT, NULL), d);
	say("pread: %s", R(pread(s, d, 1, 0)));
	say("pwrite: %s", R(pwrite(s, d, 1, 0)));
	say("lseek: %s", R(lseek(s, 0, SEEK_CUR)));
	say("empty write: %s", R(write(c, "", 0)));
	say("empty read: %s", R(read(s, d, 0)));
	say("bad iov: %s", R(writev(c, out, -1)));
	say("recvfrom name: %s", R(({ socklen_t len = sizeof name; send(c, "x", 1, 0); await(s, POLLIN); recvfrom(s, d, 1, 0, (void *)&name, &len); (int)len; })));
}

LITMUS(sendfile_splice)
{
	char path[] = "/tmp/litmusXXXXXX", b[32] = "";
	int c, s, f = mkstemp(path), p[2], q[2];
	off_t off = 2;

	NEED(f >= 0 && pipe(p) == 0 && pipe(q) == 0);
	unlink(path);
	NEED(write(f, "0123456789", 10) == 10);
	connected(&c, &s);
	SAY_CALL("sendfile: %s at %ld", sendfile(c, f, &off, 8), (long)off);
	SAY_CALL("recv: %s %.8s", recv(s, b, 8, MSG_WAITALL), b);
	NEED(write(p[1], "piped", 5) == 5);
	say("tee: %s", R(tee(p[0], q[1], 5, 0)));
	say("splice out: %s", R(splice(p[0], NULL, c, NULL, 5, 0)));
	await(s, POLLIN);
	say("splice in: %s", R(splice(s, NULL, p[1], NULL, 5, 0)));
	SAY_CALL("read: %s %.5s", read(p[0], b, 5), b);
	nonblocking(s, 1);
	say("splice nonblocking: %s", R(splice(s, NULL, p[1], NULL, 5, SPLICE_F_NONBLOCK)));
	say("sendfile from a socket: %s", R(sendfile(f, s, NULL, 5)));
	say("copy_file_range: %s", R(copy_file_range(f, NULL, c, NULL, 5, 0)));
	shutdown(c, SHUT_WR);
	await(s, POLLIN);
	say("splice at the end: %s", R(splice(s, NULL, p[1], NULL, 5, 0)));
}

struct bulk {
	int fd;
	size_t n;
};

static void send_bulk(void *arg)
{
	struct bulk *b = arg;
	static unsigned char block[30011];
	uint32_t x = 1;

	for (size_t done = 0; done < b->n;) {
		size_t n = b->n - done < sizeof block ? b->n - done : sizeof block;

		for (size_t i = 0; i < n; i++)
			block[i] = (unsigned char)((x = x * 1664525 + 1013904223) >> 24);
		for (size_t at = 0; at < n;) {
			ssize_t m = write(b->fd, block + at, n - at);

			if (m < 0 && errno == EINTR)
				continue;
			NEED(m > 0);
			at += (size_t)m;
		}
		done += n;
	}
}

/* Reads all that comes: how much, or where it is not what was sent. */
static long check_bulk(int fd)
{
	static unsigned char block[70001];
	uint32_t x = 1;
	long total = 0;
	ssize_t n;

	while ((n = read(fd, block, sizeof block)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		NEED(n > 0);
		for (ssize_t i = 0; i < n; i++)
			if (block[i] != (unsigned char)((x = x * 1664525 + 1013904223) >> 24))
				return -1;
		total += n;
	}
	return total;
}

LITMUS(bulk)
{
	struct bulk b = { .n = 20 << 20 };
	int s;
	pid_t pid;

	connected(&b.fd, &s);
	pid = child(send_bulk, &b);
	close(b.fd);
	say("received: %ld", check_bulk(s));
	say("child: %s", wait_for(pid));
}

static void eintr(int flags)
{
	struct itimerval storm = { { .tv_usec = 100 }, { .tv_usec = 100 } };
	struct bulk b = { .n = 4 << 20 };
	int s, l = listener("127.0.0.1"), interrupted = 0;
	char text[8];
	pid_t pid;

	connected(&b.fd, &s);
	pid = child(send_bulk, &b);
	close(b.fd);
	handle(SIGALRM, flags);
	NEED(setitimer(ITIMER_REAL, &storm, NULL) == 0);
	say("received: %ld", check_bulk(s));
	for (int i = 0; i < 40; i++) {
		int c = tcp(), a, e;

		if (dial(c, "127.0.0.1", port_of(l)) < 0) {
			socklen_t len = sizeof e;

			interrupted = 1;
			NEED(errno == EINTR);
			while (poll(&(struct pollfd){ c, POLLOUT, 0 }, 1, 1000) < 0)
				NEED(errno == EINTR);
			NEED(getsockopt(c, SOL_SOCKET, SO_ERROR, &e, &len) == 0 && e == 0);
		}
		while ((a = accept(l, NULL, NULL)) < 0)
			NEED(errno == EINTR);
		while (send(c, "hello", 5, 0) < 0)
			NEED(errno == EINTR);
		while ((e = (int)recv(a, text, 5, MSG_WAITALL)) < 0)
			NEED(errno == EINTR);
		close(a);
		close(c);
	}
	if (flags & SA_RESTART)
		say("connect interrupted: %d", interrupted);
	say("connections: ok");
	storm = (struct itimerval){ 0 };
	setitimer(ITIMER_REAL, &storm, NULL);
	say("child: %s", wait_for(pid));
}

LITMUS(eintr_storm)
{
	eintr(0);
}

LITMUS(eintr_storm_restart)
{
	eintr(SA_RESTART);
}

/* An outcome that comes with a signal is told all the same. */
LITMUS(eintr_refused)
{
	struct itimerval storm = { { 0, 150 }, { 0, 150 } };
	int port = free_port(), refused = 0;

	handle(SIGALRM, 0);
	setitimer(ITIMER_REAL, &storm, NULL);
	for (int i = 0; i < 500; i++) {
		int fd = tcp(), e = 0;

		if (dial(fd, "127.0.0.1", port) < 0)
			e = errno;
		if (e == EINTR) {
			await(fd, POLLOUT);
			e = pending_error(fd);
		}
		if (e == ECONNREFUSED)
			refused++;
		else
			say("%d: %s", i, error_name(e));
		close(fd);
	}
	storm = (struct itimerval){ 0 };
	setitimer(ITIMER_REAL, &storm, NULL);
	say("refused: %d", refused);
}

static void interrupt_parent(void *arg)
{
	(void)arg;
	for (int i = 0; i < 5; i++) {
		poll(NULL, 0, 40);
		kill(getppid(), SIGUSR1);
	}
}

LITMUS(eintr_by_call)
{
	struct timeval t = { 0, 400000 };
	struct epoll_event e;
	int c, s, l = listener("127.0.0.1"), ep = epoll_create1(0);
	char b[8];

	connected(&c, &s);
#define WITH(flags, call)                                                  \
	({                                                                 \
		const char *r_;                                            \
		pid_t p_;                                                  \
		handle(SIGUSR1, flags);                                    \
		p_ = child(interrupt_parent, NULL);                        \
		r_ = R(call);                                              \
		while (waitpid(p_, NULL, 0) < 0 && errno == EINTR)         \
			;                                                  \
		r_;                                                        \
	})
	say("read: %s", WITH(0, read(s, b, 1)));
	say("accept: %s", WITH(0, accept(l, NULL, NULL)));
	say("poll: %s", WITH(SA_RESTART, poll(&(struct pollfd){ s, POLLIN, 0 }, 1, 1000)));
	say("select: %s", WITH(SA_RESTART, ({ fd_set f; FD_ZERO(&f); FD_SET(s, &f); select(s + 1, &f, NULL, NULL, &(struct timeval){ 1, 0 }); })));
	epoll_ctl(ep, EPOLL_CTL_ADD, s, &(struct epoll_event){ .events = EPOLLIN });
	say("epoll_wait: %s", WITH(SA_RESTART, epoll_wait(ep, &e, 1, 1000)));
	setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
	say("read with a limit: %s", WITH(SA_RESTART, read(s, b, 1)));
	setsockopt(l, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
	say("accept with a limit: %s", WITH(SA_RESTART, accept(l, NULL, NULL)));
}

/* What came before a reset is there to read, although one wrote on after it. */
LITMUS(answer_before_reset)
{
	int l = listener("127.0.0.1"), port = port_of(l), answered = 0;
	char text[1024] = "";

	signal(SIGPIPE, SIG_IGN);
	for (int i = 0; i < 100; i++) {
		int c = tcp(), s;

		NEED(dial(c, "127.0.0.1", port) == 0 && write(c, text, 1) == 1);
		s = accept(l, NULL, NULL);
		NEED(s >= 0);
		await(s, POLLIN);
		NEED(write(s, "bye", 3) == 3);
		close(s); /* with a byte unread */
		while (write(c, text, sizeof text) > 0)
			;
		answered += read(c, text, sizeof text) == 3;
		close(c);
	}
	say("answered: %d", answered);
}
