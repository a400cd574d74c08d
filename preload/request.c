/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One question to the daemon, one answer. The attach socket is shared by many
 * processes, so an answer comes on a private pair made for the question: no
 * answer can be taken by somebody else, an answer that nobody waits for any
 * more vanishes with its pair, and a daemon that dies reads as end of file.
 *
 * When the attach socket turns out to be stale the question is asked once more
 * on a new one.
 */
#include "next.h"

void nc_request_init(struct nc_request *rq, enum nc_op op, uint64_t cookie)
{
	*rq = (struct nc_request){ .magic = NC_MAGIC, .op = (__u16)op, .cookie = cookie };
}

static int send_request(int attach, const struct nc_request *rq, int reply_fd, int pass_fd)
{
	struct iovec iov = { .iov_base = (void *)(uintptr_t)rq, .iov_len = sizeof *rq };
	size_t nfd = pass_fd < 0 ? 1 : 2;
	struct nc_rights rights = {
		.len = NC_RIGHTS_LEN(nfd),
		.level = SOL_SOCKET,
		.type = SCM_RIGHTS,
		.fd = { reply_fd, pass_fd },
	};
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &rights,
		.msg_controllen = sizeof rights,
	};
	long n;

	for (;;) {
		n = nc_sys3(__NR_sendmsg, attach, &msg, MSG_NOSIGNAL | nc_own);
		if (n == -EAGAIN) {
			/* Somebody made the shared file non-blocking. */
			struct pollfd p = { .fd = attach, .events = POLLOUT };

			(void)nc_sys5(__NR_ppoll, &p, 1, 0, 0, 0);
			continue;
		}
		if (n != -EINTR)
			break;
	}
	if (n >= 0)
		return 0;
	/* Descriptors on their way, or kernel memory: a matter of load. */
	if (n == -ETOOMANYREFS || n == -ENOBUFS || n == -ENOMEM)
		return -ENOBUFS;
	return NC_GONE;
}

static int receive_reply(int fd, struct nc_reply *rp, int interruptible)
{
	int waited = 0;
	long n;

	do {
		/* The library's function is a cancellation point. */
		if (interruptible && nc_next.recvfrom)
			n = nc_result(nc_next.recvfrom(fd, rp, sizeof *rp, 0, NULL, NULL));
		else
			n = nc_syscall6(__NR_recvfrom, fd, NC_ARG(rp), sizeof *rp, 0, 0, 0);
	} while (n == -EINTR && !interruptible);
	/*
	 * A read that waits asks the kernel's queue first and for the end afterwards
	 * (__skb_wait_for_more_packets): held up in between it reports an end that
	 * came behind an answer, and leaves the answer where it is.
	 */
	if (n == 0)
		n = nc_syscall6(__NR_recvfrom, fd, NC_ARG(rp), sizeof *rp, MSG_DONTWAIT, 0, 0);
	if (n == -EINTR || n == -EAGAIN) {
		/*
		 * An answer may come at this moment, and the daemon must not take
		 * it for heard if it is not: after this it cannot be sent any more.
		 */
		waited = (int)n;
		(void)nc_sys2(__NR_shutdown, fd, SHUT_RD);
		n = nc_syscall6(__NR_recvfrom, fd, NC_ARG(rp), sizeof *rp, MSG_DONTWAIT, 0, 0);
	}
	if (waited && n <= 0)
		return waited;
	if (n != (long)sizeof *rp || rp->magic != NC_MAGIC)
		return NC_GONE;
	return 0;
}

static int exchange(int attach, const struct nc_request *rq, struct nc_reply *rp, int pass_fd, int interruptible,
		    const struct nc_time *timeout)
{
	int pair[2];
	int err;

	err = nc_socketpair(SOCK_SEQPACKET | SOCK_CLOEXEC, pair);
	if (err < 0)
		return err;
	if (timeout && (timeout->sec || timeout->frac))
		(void)nc_sys5(__NR_setsockopt, pair[0], SOL_SOCKET, SO_RCVTIMEO, timeout, sizeof *timeout);
	err = send_request(attach, rq, pair[1], pass_fd);
	nc_close(pair[1]);
	if (!err)
		err = receive_reply(pair[0], rp, interruptible);
	nc_close(pair[0]);
	return err;
}

static int call(struct nc_request *rq, struct nc_reply *rp, int pass_fd, int interruptible,
		const struct nc_time *timeout)
{
	const struct nc_config *config = nc_config();
	uint64_t word;
	int err = NC_GONE;

	if (!config)
		return NC_GONE;
	word = nc_attach_current(config);
	for (int attempt = 0; attempt < 2; attempt++) {
		int fd;

		if (attempt)
			word = nc_attach_renew(config, word);
		fd = nc_attach_fd(word);
		if (fd < 0)
			continue;
		err = exchange(fd, rq, rp, pass_fd, interruptible, timeout);
		if (err != NC_GONE)
			break;
	}
	if (err)
		return err;
	if (rp->error == NC_NOT_OURS)
		return NC_GONE;
	if (rp->error < 0 || rp->error > 511)
		return -EPROTO;
	return -rp->error;
}

int nc_call(struct nc_request *rq, struct nc_reply *rp, int pass_fd)
{
	return call(rq, rp, pass_fd, 0, NULL);
}

/* -EINTR and, after timeout, -EAGAIN leave what was asked for going on. */
int nc_call_interruptible(struct nc_request *rq, struct nc_reply *rp, const struct nc_time *timeout)
{
	return call(rq, rp, -1, 1, timeout);
}

/*
 * Asks about the virtual socket fd. The caller's call makes no descriptor, so
 * it cannot explain a full table as such.
 */
int nc_ask(int fd, struct nc_request *rq, struct nc_reply *rp)
{
	int err;

	rq->cookie = nc_cookie(fd);
	err = nc_call(rq, rp, -1);
	return err == -EMFILE || err == -ENFILE ? -ENOBUFS : err;
}
