/* SPDX-License-Identifier: Apache-2.0 */
/* Datagrams over IPv6, of several flows at once, and of who is gone. */
#include "dgram.h"

/* A socket whose peer is a port of ::1. */
static int to_port(int port)
{
	struct sockaddr_in6 peer = at6("::1", port);
	int fd = udp6();

	NEED(connect(fd, (struct sockaddr *)&peer, sizeof peer) == 0);
	return fd;
}

LITMUS(dgram6_boundaries)
{
	int a = udp6_at("::1"), b = to_port(port_of(a));
	char x[16] = "";
	struct iovec iov = { x, 4 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	say("write: %s", R(write(b, "one", 3)));
	say("empty write: %s", R(write(b, "", 0)));
	say("empty sendto: %s", R(to6(b, "", 0, "::1", port_of(a))));
	say("send: %s", R(send(b, "four", 4, 0)));
	for (int i = 0; i < 4; i++)
		say_received("received", a);
	for (int i = 0; i < 4; i++)
		NEED(send(b, "0123456789", 10, 0) == 10);
	SAY_CALL("recv: %s \"%s\"", recv(a, x, 4, 0), x);
	SAY_CALL("peek MSG_TRUNC: %s \"%s\"", recv(a, x, 2, MSG_PEEK | MSG_TRUNC), x);
	SAY_CALL("recvmsg: %s flags %x", recvmsg(a, &m, 0), (unsigned)m.msg_flags);
	SAY_CALL("recvmsg MSG_TRUNC: %s flags %x", recvmsg(a, &m, MSG_TRUNC), (unsigned)m.msg_flags);
	say("read: %s", R(read(a, x, 4)));
	say("no more: %s", R(recv(a, x, 8, MSG_DONTWAIT)));
}

LITMUS(dgram6_connected)
{
	int a = udp6(), b = udp6_at("::1"), c = udp6_at("::1");
	struct sockaddr_in6 here = at6("::1", free_port()), peer = at6("::1", port_of(b));
	struct sockaddr none = { .sa_family = AF_UNSPEC };
	char x[16];

	NEED(bind(a, (struct sockaddr *)&here, sizeof here) == 0);
	NEED(connect(a, (struct sockaddr *)&peer, sizeof peer) == 0);
	NEED(to6(c, "stranger", 8, "::1", port_of(a)) == 8);
	NEED(to6(b, "peer", 4, "::1", port_of(a)) == 4);
	say_received("of the peer", a);
	say("no more: %s", R(recv(a, x, 8, MSG_DONTWAIT)));
	say("to another: %s", R(to6(a, "hello", 5, "::1", port_of(c))));
	say_received("another", c);
	say("unspec: %s", R(connect(a, &none, sizeof none)));
	NEED(to6(c, "stranger", 8, "::1", port_of(a)) == 8);
	say_received("of anybody", a);
	say("nowhere to: %s", R(sendmsg(a, &(struct msghdr){ .msg_iov = &(struct iovec){ "x", 1 }, .msg_iovlen = 1 }, 0)));
}

LITMUS(dgram6_mmsg)
{
	static char text[6][8];
	int a = udp6_at("::1"), b = udp6();
	struct sockaddr_in6 dest = at6("::1", port_of(a)), from[6];
	struct iovec iov[6];
	struct mmsghdr m[6];
	int got = 0;

	for (int i = 0; i < 6; i++) {
		snprintf(text[i], sizeof text[i], "%.*s", i, "abcdef");
		iov[i] = (struct iovec){ text[i], (size_t)i };
		m[i] = (struct mmsghdr){ .msg_hdr = { .msg_iov = iov + i, .msg_iovlen = 1, .msg_name = &dest, .msg_namelen = sizeof dest } };
	}
	SAY_CALL("send: %s, lengths %u %u", sendmmsg(b, m, 6, 0), m[0].msg_len, m[5].msg_len);
	for (int i = 0; i < 6; i++) {
		iov[i].iov_len = 3; /* the longer ones are cut */
		m[i].msg_hdr.msg_name = from + i;
		m[i].msg_hdr.msg_namelen = sizeof from[i];
		m[i].msg_hdr.msg_flags = 0;
		memset(text[i], 0, sizeof text[i]);
	}
	while (got < 6) {
		int n = recvmmsg(a, m + got, (unsigned)(6 - got), MSG_WAITFORONE, NULL);

		NEED(n > 0);
		got += n;
	}
	for (int i = 0; i < 6; i++)
		say("%d: \"%s\" length %u flags %x %s", i, text[i], m[i].msg_len, (unsigned)m[i].msg_hdr.msg_flags & MSG_TRUNC,
		    address(from + i, m[i].msg_hdr.msg_namelen));
	say("empty: %s", R(recvmmsg(a, m, 6, MSG_DONTWAIT, NULL)));
}

/* By calls that could have an address, and so are told in every lane. */
LITMUS(dgram6_refused)
{
	int port = free_port(), a = to_port(port), b = udp6();
	struct sockaddr_in6 from, mapped = at6("::ffff:127.0.0.1", port);
	socklen_t len = sizeof from;
	char x[8];

	NEED(send(a, "x", 1, 0) == 1);
	say("recvfrom: %s", R(recvfrom(a, x, 8, 0, (struct sockaddr *)&from, &len)));
	NEED(send(a, "x", 1, 0) == 1);
	settle();
	say("sendto: %s", R(to6(a, "x", 1, "::1", port)));
	settle();
	say("SO_ERROR: %s", error_name(pending_error(a)));
	say("and no more: %d", pending_error(a));
	NEED(connect(b, (struct sockaddr *)&mapped, sizeof mapped) == 0);
	NEED(send(b, "x", 1, 0) == 1);
	say("mapped: %s", R(recvfrom(b, x, 8, 0, (struct sockaddr *)&from, &len)));
	close(b);
	b = udp6();
	NEED(to6(b, "x", 1, "::1", port) == 1);
	settle();
	say("not connected: %s", R(recvfrom(b, x, 8, MSG_DONTWAIT, (struct sockaddr *)&from, &len)));
}

LITMUS(dgram6_reuseport)
{
	int s[3], port = 0, total = 0, split = 0, counts[3] = { 0 };
	char x;

	for (int i = 0; i < 3; i++) {
		struct sockaddr_in6 here = at6("::1", port);

		s[i] = udp6();
		NEED(setsockopt(s[i], SOL_SOCKET, SO_REUSEPORT, &(int){ 1 }, sizeof(int)) == 0);
		say("bind: %s", R(bind(s[i], (struct sockaddr *)&here, sizeof here)));
		port = port_of(s[i]);
	}
	for (int i = 0; i < 24; i++)
		NEED(send(to_port(port), "x", 1, 0) == 1);
	settle();
	for (int i = 0; i < 3; i++) {
		while (recv(s[i], &x, 1, MSG_DONTWAIT) == 1)
			counts[i]++;
		total += counts[i];
		split += counts[i] > 0;
	}
	say("all %d, more than one socket %d", total, split > 1);
}

/* Of each flow in the order it was sent, whatever the others do. */
LITMUS(dgram_flows)
{
	enum { FLOWS = 8, TURNS = 100 };
	int a = udp6_at("::"), flow[FLOWS], next[FLOWS] = { 0 }, in_order = 1;

	for (int i = 0; i < FLOWS; i++) {
		flow[i] = i % 2 ? udp() : to_port(port_of(a));
		if (i % 2)
			NEED(dial(flow[i], i % 4 == 1 ? "127.0.0.1" : "10.42.0.1", port_of(a)) == 0);
	}
	for (int n = 0; n < TURNS; n++) {
		for (int i = 0; i < FLOWS; i++)
			NEED(send(flow[i], (int[2]){ i, n }, 2 * sizeof(int), 0) == 2 * sizeof(int));
		for (int i = 0; i < FLOWS; i++) {
			int got[2] = { 0, -1 };

			NEED(recv(a, got, sizeof got, 0) == sizeof got);
			in_order &= got[1] == next[got[0]]++;
		}
	}
	say("in order: %d", in_order);
}

static void burst(void *arg)
{
	int fd = udp();

	NEED(dial(fd, "127.0.0.1", *(int *)arg) == 0);
	for (int i = 0; i < 60; i++)
		NEED(write(fd, &i, sizeof i) == sizeof i);
}

/* What was sent before the last close arrives. */
LITMUS(dgram_sent_and_gone)
{
	int a = udp_at("127.0.0.1"), port = port_of(a), in_order = 1, n = -1;

	for (int turn = 0; turn < 5; turn++) {
		say("child: %s", wait_for(child(burst, &port)));
		for (int i = 0; i < 60; i++)
			in_order &= recv(a, &n, sizeof n, 0) == sizeof n && n == i;
	}
	say("all, in order: %d", in_order);
}

/* A port is free as soon as its socket is closed. */
LITMUS(dgram_bind_again)
{
	int port = free_port(), free = 0, sent = 0;

	for (int i = 0; i < 50; i++) {
		int fd = udp();

		free += bind_to(fd, "127.0.0.1", port) == 0;
		sent += to(fd, "x", 1, "127.0.0.1", port) == 1;
		close(fd);
	}
	say("free %d times, sent %d times", free, sent);
}
