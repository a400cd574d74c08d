/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors that are not of the network: every control call does with them what it always did. */
#include "litmus.h"

#include <linux/netlink.h>
#include <stddef.h>
#include <sys/eventfd.h>

static const char *const place = "litmus.foreign";

/* An address of nobody's file, of the abstract namespace and this process. */
static socklen_t abstract(struct sockaddr_un *a, const char *name)
{
	*a = (struct sockaddr_un){ .sun_family = AF_UNIX };
	snprintf(a->sun_path + 1, sizeof a->sun_path - 1, "%s.%s.%d", place, name, (int)getpid());
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(a->sun_path + 1));
}

/* Every call that netcon answers for its own sockets. */
static void say_calls(const char *what, int fd)
{
	struct sockaddr_in a = at("127.0.0.1", 7);
	struct sockaddr_storage from;
	socklen_t len = sizeof from;
	char x[32] = "";
	struct iovec iov = { x, 20 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct mmsghdr mm = { .msg_hdr = m };
	int n = -1;

	say("%s: bind %s", what, R(bind(fd, (struct sockaddr *)&a, sizeof a)));
	say("%s: connect %s", what, R(connect(fd, (struct sockaddr *)&a, sizeof a)));
	say("%s: listen %s", what, R(listen(fd, 1)));
	say("%s: accept %s", what, R(accept4(fd, NULL, NULL, SOCK_CLOEXEC)));
	say("%s: getsockname %s", what, R(getsockname(fd, (struct sockaddr *)&from, &len)));
	say("%s: getpeername %s", what, R(getpeername(fd, (struct sockaddr *)&from, &len)));
	say("%s: shutdown %s", what, R(shutdown(fd, SHUT_WR)));
	say("%s: SO_TYPE %s", what, get_option(fd, SOL_SOCKET, SO_TYPE));
	say("%s: SO_KEEPALIVE %s", what, set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1));
	say("%s: TCP_NODELAY %s", what, set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1));
	say("%s: sendto %s", what, R(sendto(fd, x, 20, MSG_NOSIGNAL | MSG_DONTWAIT, (struct sockaddr *)&a, sizeof a)));
	say("%s: send %s", what, R(send(fd, x, 20, MSG_NOSIGNAL | MSG_DONTWAIT)));
	say("%s: sendmsg %s", what, R(sendmsg(fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT)));
	say("%s: sendmmsg %s", what, R(sendmmsg(fd, &mm, 1, MSG_NOSIGNAL | MSG_DONTWAIT)));
	say("%s: recvfrom %s", what, R(recvfrom(fd, x, 20, MSG_DONTWAIT, (struct sockaddr *)&from, &len)));
	say("%s: recvmsg %s", what, R(recvmsg(fd, &m, MSG_DONTWAIT)));
	say("%s: recvmmsg %s", what, R(recvmmsg(fd, &mm, 1, MSG_DONTWAIT, NULL)));
	say("%s: FIONREAD %s", what, R(ioctl(fd, FIONREAD, &n)));
	say("%s: FIONREAD tells %d", what, n);
}

LITMUS(foreign_files)
{
	int pipes[2], file = open("/dev/null", O_RDWR | O_CLOEXEC);

	NEED(pipe2(pipes, O_CLOEXEC | O_NONBLOCK) == 0 && file >= 0);
	NEED(write(pipes[1], "bytes", 5) == 5);
	say_calls("nothing", 987);
	say_calls("negative", -1);
	say_calls("file", file);
	say_calls("pipe", pipes[0]);
	say_calls("event", eventfd(3, EFD_CLOEXEC | EFD_NONBLOCK));
	say_calls("epoll", epoll_create1(EPOLL_CLOEXEC));
}

LITMUS(foreign_pairs)
{
	int stream[2], dgram[2], packet[2];

	NEED(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, stream) == 0);
	NEED(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, dgram) == 0);
	NEED(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, packet) == 0);
	NEED(write(stream[1], "12345", 5) == 5 && write(dgram[1], "123", 3) == 3 && write(packet[1], "1234", 4) == 4);
	say_calls("stream", stream[0]);
	say_calls("datagram", dgram[0]);
	say_calls("packet", packet[0]);
}

LITMUS(foreign_unix)
{
	struct sockaddr_un here, peer;
	socklen_t len = abstract(&here, "stream"), room = sizeof peer;
	int l = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), c = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), s;
	int d = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), e = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), n = -1;
	struct ucred cred;
	char x[32] = "";

	say("connect: %s", R(connect(c, (struct sockaddr *)&here, len)));
	say("bind: %s", R(bind(l, (struct sockaddr *)&here, len)));
	say("bind again: %s", R(bind(l, (struct sockaddr *)&here, len)));
	say("listen: %s", R(listen(l, 1)));
	say("connect: %s", R(connect(c, (struct sockaddr *)&here, len)));
	s = accept(l, (struct sockaddr *)&peer, &room);
	say("accepted: %d, length %u", s >= 0, (unsigned)room);
	say("exchange: %s", exchange(c, s, "over a file's name"));
	room = sizeof peer;
	say("peer: %s, ours %d", R(getpeername(c, (struct sockaddr *)&peer, &room)), room == len && !memcmp(&peer, &here, len));
	room = sizeof cred;
	say("SO_PEERCRED: %s, ours %d", R(getsockopt(s, SOL_SOCKET, SO_PEERCRED, &cred, &room)), cred.pid == getpid());
	send_fd(c, l);
	n = receive_fd(s);
	say("a listener came: %s", get_option(n, SOL_SOCKET, SO_ACCEPTCONN));
	say("shutdown: %s", R(shutdown(c, SHUT_WR)));
	say("end: %s", R(recv(s, x, 1, 0)));

	len = abstract(&here, "datagram");
	say("datagrams, bind: %s", R(bind(d, (struct sockaddr *)&here, len)));
	say("sendto: %s", R(sendto(e, "20 bytes, as a dump:", 20, 0, (struct sockaddr *)&here, len)));
	room = sizeof peer;
	SAY_CALL("recvfrom: %s \"%s\" length %u", recvfrom(d, x, sizeof x - 1, 0, (struct sockaddr *)&peer, &room), x, (unsigned)room);
	say("connect: %s", R(connect(e, (struct sockaddr *)&here, len)));
	say("send: %s", R(send(e, "and once again 20 by", 20, 0)));
	SAY_CALL("FIONREAD: %s %d", ioctl(d, FIONREAD, &n), n);
	SAY_CALL("recv MSG_TRUNC: %s \"%.3s\"", recv(d, x, 3, MSG_TRUNC), x);
}

LITMUS(foreign_families)
{
	static const struct {
		const char *name;
		int family, type, protocol;
	} all[] = {
		{ "audit", AF_NETLINK, SOCK_RAW, NETLINK_AUDIT },
		{ "events of the kernel", AF_NETLINK, SOCK_DGRAM, NETLINK_KOBJECT_UEVENT },
		{ "no such family", 77, SOCK_STREAM, 0 },
		{ "no such type", AF_UNIX, 77, 0 },
		{ "no such protocol", AF_UNIX, SOCK_STREAM, 77 },
	};

	for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
		int fd = socket(all[i].family, all[i].type, all[i].protocol);

		say("%s: %s", all[i].name, fd < 0 ? error_name(errno) : "made");
		if (fd < 0)
			continue;
		say("%s: SO_DOMAIN %s", all[i].name, get_option(fd, SOL_SOCKET, SO_DOMAIN));
		say("%s: SO_PROTOCOL %s", all[i].name, get_option(fd, SOL_SOCKET, SO_PROTOCOL));
		close(fd);
	}
}
