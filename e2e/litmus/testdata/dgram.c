/* SPDX-License-Identifier: Apache-2.0 */
/* Datagrams: names, boundaries, addresses, control messages, queues. */
#include "dgram.h"

int udp(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct timeval limit = { .tv_sec = 3 };

	NEED(fd >= 0);
	NEED(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
	return fd;
}

int udp6(void)
{
	int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, IPPROTO_UDP);
	struct timeval limit = { .tv_sec = 3 };

	NEED(fd >= 0);
	NEED(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
	return fd;
}

int udp_at(const char *ip)
{
	int fd = udp();

	NEED(bind_to(fd, ip, 0) == 0);
	return fd;
}

int udp6_at(const char *ip)
{
	struct sockaddr_in6 a = at6(ip, 0);
	int fd = udp6();

	NEED(bind(fd, (struct sockaddr *)&a, sizeof a) == 0);
	return fd;
}

/* sendto by address and port. */
long to(int fd, const char *text, size_t n, const char *ip, int port)
{
	struct sockaddr_in a = at(ip, port);

	return sendto(fd, text, n, 0, (struct sockaddr *)&a, sizeof a);
}

long to6(int fd, const char *text, size_t n, const char *ip, int port)
{
	struct sockaddr_in6 a = at6(ip, port);

	return sendto(fd, text, n, 0, (struct sockaddr *)&a, sizeof a);
}

/* An address without its port, unless that is none. */
const char *address(const void *from, socklen_t len)
{
	static char text[4][160];
	static int turn;
	char ip[64] = "?", *t = text[turn++ % 4];
	const struct sockaddr_in *in = from;
	const struct sockaddr_in6 *in6 = from;

	if (!len)
		return "no address";
	if (in->sin_family == AF_INET)
		inet_ntop(AF_INET, &in->sin_addr, ip, sizeof ip);
	else if (in->sin_family == AF_INET6)
		inet_ntop(AF_INET6, &in6->sin6_addr, ip, sizeof ip);
	snprintf(t, sizeof text[0], "family %d length %u %s port %s", in->sin_family, (unsigned)len, ip, in->sin_port ? "some" : "none");
	return t;
}

static void say_names(const char *what, int fd)
{
	struct sockaddr_storage a = { 0 };
	socklen_t len = sizeof a;
	const char *r = R(getsockname(fd, (struct sockaddr *)&a, &len));

	say("%s: getsockname %s: %s", what, r, address(&a, len));
	len = sizeof a;
	memset(&a, 0, sizeof a);
	r = R(getpeername(fd, (struct sockaddr *)&a, &len));
	say("%s: getpeername %s: %s", what, r, *r == '0' ? address(&a, len) : "-");
}

void say_received(const char *what, int fd)
{
	struct sockaddr_storage a = { 0 };
	socklen_t len = sizeof a;
	char b[64] = "";
	const char *r = R(recvfrom(fd, b, sizeof b - 1, 0, (struct sockaddr *)&a, &len));

	say("%s: %s \"%s\" from %s", what, r, b, *r >= '0' && *r <= '9' ? address(&a, len) : "-");
}

LITMUS(dgram_names)
{
	struct sockaddr none = { .sa_family = AF_UNSPEC };
	int a = udp(), b = udp_at("127.0.0.1");

	say_names("fresh", a);
	say("connect: %s", R(dial(a, "127.0.0.1", port_of(b))));
	say_names("connected", a);
	say("connect elsewhere: %s", R(dial(a, "10.42.0.1", port_of(b))));
	say_names("connected elsewhere", a);
	say("unspec: %s", R(connect(a, &none, sizeof none)));
	say_names("dissolved", a);
	say("unspec: %s", R(connect(a, &none, sizeof none)));
	say("connect of bound: %s", R(dial(b, "127.0.0.1", 9)));
	say_names("bound and connected", b);
	say("unspec of bound: %s", R(connect(b, &none, sizeof none)));
	say_names("bound and dissolved", b);
	close(a);
	a = udp();
	say("send: %s", R(to(a, "x", 1, "127.0.0.1", 9)));
	say_names("sent", a);
	say("bind after: %s", R(bind_to(a, "127.0.0.1", 0)));
	say("connect to port 0: %s", R(dial(a, "127.0.0.1", 0)));
	say_names("port 0", a);
	say("connect to any: %s", R(dial(a, "0.0.0.0", 9)));
	say_names("any", a);
}

LITMUS(dgram_names6)
{
	struct sockaddr none = { .sa_family = AF_UNSPEC };
	int a = udp6(), b = udp6_at("::");

	say_names("fresh", a);
	say_names("bound", b);
	say("connect: %s", R(dial6(a, "fd42::1", port_of(b))));
	say_names("connected", a);
	say("unspec: %s", R(connect(a, &none, sizeof none)));
	say_names("dissolved", a);
	say("mapped: %s", R(dial6(a, "::ffff:127.0.0.1", port_of(b))));
	say_names("mapped", a);
	say("IPv4 address: %s", R(dial(udp6(), "127.0.0.1", port_of(b))));
}

LITMUS(dgram_bind_errors)
{
	struct sockaddr_in6 six = at6("::1", 0);
	struct sockaddr_in four = at("127.0.0.1", 0);
	int a = udp(), b = udp(), c;

	say("nobody's: %s", R(bind_to(a, "10.42.0.77", 0)));
	say("IPv6 on IPv4: %s", R(bind(a, (struct sockaddr *)&six, sizeof six)));
	say("short: %s", R(bind(a, (struct sockaddr *)&four, 8)));
	say("first: %s", R(bind_to(a, "127.0.0.1", 0)));
	say("again: %s", R(bind_to(a, "127.0.0.1", 0)));
	say("in use: %s", R(bind_to(b, "127.0.0.1", port_of(a))));
	say("in use, any: %s", R(bind_to(b, "0.0.0.0", port_of(a))));
	say("other address: %s", R(bind_to(b, "10.42.0.1", port_of(a))));
	say("IPv4 on IPv6: %s", R(bind(udp6(), (struct sockaddr *)&four, sizeof four)));
	c = udp();
	set_option(a, SOL_SOCKET, SO_REUSEADDR, 1);
	say("one of them reuses: %s", R(bind_to(c, "127.0.0.1", port_of(a))));
	set_option(c, SOL_SOCKET, SO_REUSEADDR, 1);
	say("both reuse: %s", R(bind_to(c, "127.0.0.1", port_of(a))));
	c = port_of(a);
	close(a);
	close(b);
	say("closed: %s", R(bind_to(udp(), "10.42.0.1", c)));
}

LITMUS(dgram_boundaries)
{
	int a = udp_at("127.0.0.1"), b = udp();
	char x[8] = "", y[8] = "";
	struct iovec out[3] = { { "ab", 2 }, { NULL, 0 }, { "cde", 3 } }, in[2] = { { x, 2 }, { y, 7 } };

	NEED(dial(b, "127.0.0.1", port_of(a)) == 0);
	say("send: %s", R(send(b, "one", 3, 0)));
	say("write: %s", R(write(b, "four", 4)));
	say("empty write: %s", R(write(b, "", 0)));
	say("empty send: %s", R(send(b, "", 0, 0)));
	say("writev: %s", R(writev(b, out, 3)));
	say("empty writev: %s", R(writev(b, out + 1, 1)));
	say("last: %s", R(send(b, "last", 4, 0)));
	say_received("1", a);
	say_received("2", a);
	say_received("3", a);
	say_received("4", a);
	say("read of nothing: %s", R(read(a, x, 0)));
	SAY_CALL("readv: %s \"%s\" \"%s\"", readv(a, in, 2), x, y);
	memset(x, 0, sizeof x);
	SAY_CALL("read: %s \"%s\"", read(a, x, 7), x);
	say("no more: %s", R(recv(a, x, 8, MSG_DONTWAIT)));
}

LITMUS(dgram_truncation)
{
	int a = udp_at("127.0.0.1"), b = udp();
	char x[16] = "";
	struct iovec iov = { x, 4 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	NEED(dial(b, "127.0.0.1", port_of(a)) == 0);
	for (int i = 0; i < 6; i++)
		NEED(send(b, "0123456789", 10, 0) == 10);
	SAY_CALL("recv: %s \"%s\"", recv(a, x, 4, 0), x);
	SAY_CALL("recv MSG_TRUNC: %s \"%s\"", recv(a, x, 4, MSG_TRUNC), x);
	SAY_CALL("peek MSG_TRUNC: %s \"%s\"", recv(a, x, 2, MSG_PEEK | MSG_TRUNC), x);
	SAY_CALL("recvmsg: %s flags %x", recvmsg(a, &m, 0), (unsigned)m.msg_flags);
	SAY_CALL("recvmsg MSG_TRUNC: %s flags %x", recvmsg(a, &m, MSG_TRUNC), (unsigned)m.msg_flags);
	SAY_CALL("peek: %s flags %x", recvmsg(a, &m, MSG_PEEK), (unsigned)m.msg_flags);
	say("nothing asked for: %s", R(recv(a, NULL, 0, 0)));
	iov.iov_len = 16;
	NEED(send(b, "0123456789", 10, 0) == 10);
	SAY_CALL("whole: %s flags %x name %d control %d", recvmsg(a, &m, 0), (unsigned)m.msg_flags, (int)m.msg_namelen, (int)m.msg_controllen);
	NEED(send(b, "0", 1, 0) == 1);
	say("MSG_OOB: %s", R(recv(a, x, 4, MSG_OOB)));
	say("MSG_ERRQUEUE: %s", R(recv(a, x, 4, MSG_ERRQUEUE)));
	say("MSG_WAITALL: %s", R(recv(a, x, 4, MSG_WAITALL)));
}

LITMUS(dgram_names_of_senders)
{
	int a = udp_at("0.0.0.0"), b = udp_at("127.0.0.1"), c = udp();
	struct sockaddr_in from;
	char x[8];
	socklen_t len = 5;

	say("to loopback: %s", R(to(b, "1", 1, "127.0.0.1", port_of(a))));
	say_received("from loopback", a);
	say("to its own address: %s", R(to(c, "2", 1, "10.42.0.1", port_of(a))));
	say_received("from its own address", a);
	say("to any: %s", R(to(c, "3", 1, "0.0.0.0", port_of(a))));
	say_received("from any", a);
	NEED(to(b, "4", 1, "127.0.0.1", port_of(a)) == 1);
	memset(&from, 0, sizeof from);
	SAY_CALL("short room for a name: %s length %u family %d", recvfrom(a, x, 8, 0, (struct sockaddr *)&from, &len), len, from.sin_family);
	NEED(to(b, "5", 1, "127.0.0.1", port_of(a)) == 1);
	say("name, but no length: %s", R(recvfrom(a, x, 8, 0, (struct sockaddr *)&from, NULL) < 0 ? -1 : 1));
	NEED(to(b, "6", 1, "127.0.0.1", port_of(a)) == 1);
	say("no name wanted: %s", R(recvfrom(a, x, 8, 0, NULL, NULL)));
}

LITMUS(dgram_send_errors)
{
	struct sockaddr_in four = at("127.0.0.1", 9);
	struct sockaddr_in6 six = at6("::1", 9);
	static char big[70000];
	int a = udp(), b = udp6();

	say("no destination: %s", R(send(a, "x", 1, 0)));
	say("no destination, write: %s", R(write(a, "x", 1)));
	say("port 0: %s", R(to(a, "x", 1, "127.0.0.1", 0)));
	say("IPv6 address: %s", R(sendto(a, "x", 1, 0, (struct sockaddr *)&six, sizeof six)));
	say("short address: %s", R(sendto(a, "x", 1, 0, (struct sockaddr *)&four, 8)));
	four.sin_family = AF_UNSPEC;
	say("AF_UNSPEC: %s", R(sendto(a, "x", 1, 0, (struct sockaddr *)&four, sizeof four)));
	four.sin_family = AF_UNIX;
	say("AF_UNIX: %s", R(sendto(a, "x", 1, 0, (struct sockaddr *)&four, sizeof four)));
	say("too long: %s", R(to(a, big, 65508, "127.0.0.1", 9)));
	say("far too long: %s", R(to(a, big, 70000, "127.0.0.1", 9)));
	say("MSG_OOB: %s", R(send(a, "x", 1, MSG_OOB)));
	say("no route: %s", R(to(a, "x", 1, "192.0.2.1", 9)));
	say("connect without route: %s", R(dial(a, "192.0.2.1", 9)));
	say("subnet's broadcast: %s", R(to(a, "x", 1, "10.42.0.255", 9)));
	say("connect to broadcast: %s", R(dial(a, "10.42.0.255", 9)));
	say("listen: %s", R(listen(a, 1)));
	say("accept: %s", R(accept(a, NULL, NULL)));
	say("IPv6, no destination: %s", R(send(b, "x", 1, 0)));
	say("IPv6, port 0: %s", R(to6(b, "x", 1, "::1", 0)));
	say("IPv6, no route: %s", R(to6(b, "x", 1, "2001:db8::1", 9)));
	say("IPv6, too long: %s", R(to6(b, big, 65528, "::1", 9)));
	six.sin6_family = AF_UNIX;
	say("IPv6, AF_UNIX: %s", R(sendto(b, "x", 1, 0, (struct sockaddr *)&six, sizeof six)));
	say("IPv6, short: %s", R(sendto(b, "x", 1, 0, (struct sockaddr *)&six, 20)));
}

LITMUS(dgram_large)
{
	static char out[65527], in[65536];
	int a = udp_at("0.0.0.0"), b = udp(), c = udp6_at("::"), d = udp6();

	for (size_t i = 0; i < sizeof out; i++)
		out[i] = (char)(i * 7);
	say("to loopback: %s", R(to(b, out, 65507, "127.0.0.1", port_of(a))));
	SAY_CALL("received: %s same %d", recv(a, in, sizeof in, 0), !memcmp(in, out, 65507));
	say("to its own address: %s", R(to(b, out, 65507, "10.42.0.1", port_of(a))));
	SAY_CALL("received: %s same %d", recv(a, in, sizeof in, 0), !memcmp(in, out, 65507));
	say("IPv6: %s", R(to6(d, out, 65527, "::1", port_of(c))));
	SAY_CALL("received: %s same %d", recv(c, in, sizeof in, 0), !memcmp(in, out, 65527));
}

LITMUS(dgram_connected)
{
	int a = udp_at("127.0.0.1"), b = udp_at("127.0.0.1"), c = udp_at("127.0.0.1");
	char x[8];

	NEED(to(c, "before", 6, "127.0.0.1", port_of(a)) == 6);
	await(a, POLLIN);
	NEED(dial(a, "127.0.0.1", port_of(b)) == 0);
	NEED(to(c, "stranger", 8, "127.0.0.1", port_of(a)) == 8);
	NEED(to(b, "peer", 4, "127.0.0.1", port_of(a)) == 4);
	say_received("1", a);
	say_received("2", a);
	say("no more: %s", R(recv(a, x, 8, MSG_DONTWAIT)));
	say("to another: %s", R(to(a, "hello", 5, "127.0.0.1", port_of(c))));
	say_received("another", c);
	say("to the peer: %s", R(send(a, "hi", 2, 0)));
	say_received("the peer", b);
}

LITMUS(dgram_dual_stack)
{
	int a = udp6_at("::"), b = udp(), c = udp6(), d = udp_at("127.0.0.1"), only = udp6();
	struct sockaddr_in6 any = at6("::", 0);
	struct sockaddr_in four = at("127.0.0.1", port_of(d));

	NEED(to(b, "4", 1, "127.0.0.1", port_of(a)) == 1);
	say_received("IPv4 to dual", a);
	NEED(to6(c, "6", 1, "::1", port_of(a)) == 1);
	say_received("IPv6 to dual", a);
	say("to mapped: %s", R(to6(c, "m", 1, "::ffff:127.0.0.1", port_of(d))));
	say_received("from mapped", d);
	say("to IPv4: %s", R(sendto(a, "4", 1, 0, (struct sockaddr *)&four, sizeof four)));
	say_received("from dual", d);
	set_option(only, IPPROTO_IPV6, IPV6_V6ONLY, 1);
	say("IPv6 only, bind: %s", R(bind(only, (struct sockaddr *)&any, sizeof any)));
	say("IPv6 only, to mapped: %s", R(to6(only, "m", 1, "::ffff:127.0.0.1", port_of(d))));
	say("IPv6 only, to IPv4: %s", R(sendto(only, "4", 1, 0, (struct sockaddr *)&four, sizeof four)));
	say("IPv6 only, later: %s", set_option(only, IPPROTO_IPV6, IPV6_V6ONLY, 0));
	say("same port, IPv4: %s", R(bind_to(udp(), "0.0.0.0", port_of(only))));
	say("same port as dual, IPv4: %s", R(bind_to(udp(), "0.0.0.0", port_of(a))));
}

/* Every control message in words. */
static void say_controls(const char *what, struct msghdr *m)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		char ip[64] = "", ip2[64] = "";
		unsigned char *d = CMSG_DATA(c);
		size_t n = c->cmsg_len - CMSG_LEN(0);

		if (c->cmsg_level == SOL_SOCKET) {
			say("%s: socket %d, %zu bytes", what, c->cmsg_type, n);
		} else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
			struct in_pktinfo p;

			memcpy(&p, d, sizeof p);
			inet_ntop(AF_INET, &p.ipi_addr, ip, sizeof ip);
			inet_ntop(AF_INET, &p.ipi_spec_dst, ip2, sizeof ip2);
			say("%s: IP_PKTINFO %s %s, loopback %d", what, ip, ip2, p.ipi_ifindex == 1);
		} else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
			struct in6_pktinfo p;

			memcpy(&p, d, sizeof p);
			inet_ntop(AF_INET6, &p.ipi6_addr, ip, sizeof ip);
			say("%s: IPV6_PKTINFO %s, loopback %d", what, ip, p.ipi6_ifindex == 1);
		} else {
			int v = 0;

			memcpy(&v, d, n < sizeof v ? n : sizeof v);
			say("%s: level %d type %d, %zu bytes: %d", what, c->cmsg_level, c->cmsg_type, n, v);
		}
	}
}

void say_message(const char *what, int fd, size_t room)
{
	char b[64] = "", control[512];
	struct iovec iov = { b, sizeof b - 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = room };
	const char *r = R(recvmsg(fd, &m, 0));

	say("%s: %s \"%s\" flags %x control %zu", what, r, b, (unsigned)m.msg_flags, (size_t)m.msg_controllen);
	if (!(m.msg_flags & MSG_CTRUNC))
		say_controls(what, &m);
}

LITMUS(dgram_pktinfo)
{
	int a = udp_at("0.0.0.0"), b = udp(), c = udp6_at("::"), d = udp6();

	say("IP_PKTINFO: %s", set_option(a, IPPROTO_IP, IP_PKTINFO, 1));
	NEED(to(b, "lo", 2, "127.0.0.1", port_of(a)) == 2);
	say_message("loopback", a, 512);
	NEED(to(b, "lo2", 3, "127.0.0.2", port_of(a)) == 3);
	say_message("second loopback", a, 512);
	NEED(to(b, "own", 3, "10.42.0.1", port_of(a)) == 3);
	say_message("own", a, 512);
	NEED(to(b, "short", 5, "10.42.0.1", port_of(a)) == 5);
	say_message("short", a, 20);
	NEED(to(b, "none", 4, "10.42.0.1", port_of(a)) == 4);
	say_message("none", a, 0);
	say("IPV6_RECVPKTINFO: %s", set_option(c, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1));
	NEED(to6(d, "lo", 2, "::1", port_of(c)) == 2);
	say_message("IPv6 loopback", c, 512);
	NEED(to6(d, "own", 3, "fd42::1", port_of(c)) == 3);
	say_message("IPv6 own", c, 512);
	NEED(to(b, "four", 4, "127.0.0.1", port_of(c)) == 4);
	say_message("IPv4 on dual", c, 512);
	set_option(c, IPPROTO_IP, IP_PKTINFO, 1);
	NEED(to(b, "both", 4, "127.0.0.1", port_of(c)) == 4);
	say_message("both on dual", c, 512);
}

/* Sends with one control message. */
static const char *with(int fd, const char *ip, int port, int level, int type, const void *data, size_t n)
{
	struct sockaddr_in a = at(ip, port);
	struct sockaddr_in6 a6;
	union {
		struct cmsghdr c;
		char b[128];
	} u = { .b = "" };
	struct iovec iov = { "c", 1 };
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_name = &a, .msg_namelen = sizeof a,
		.msg_control = &u, .msg_controllen = CMSG_SPACE(n),
	};

	if (strchr(ip, ':')) {
		a6 = at6(ip, port);
		m.msg_name = &a6;
		m.msg_namelen = sizeof a6;
	}
	u.c.cmsg_level = level;
	u.c.cmsg_type = type;
	u.c.cmsg_len = CMSG_LEN(n);
	memcpy(CMSG_DATA(&u.c), data, n);
	return R(sendmsg(fd, &m, 0));
}

LITMUS(dgram_controls)
{
	struct in_pktinfo source = { 0 }, foreign = { 0 };
	struct in6_pktinfo source6 = { 0 };
	int a = udp_at("0.0.0.0"), b = udp(), c = udp6_at("::"), d = udp6(), v;
	unsigned char byte = 0x28;

	set_option(a, IPPROTO_IP, IP_RECVTTL, 1);
	set_option(a, IPPROTO_IP, IP_RECVTOS, 1);
	NEED(to(b, "x", 1, "127.0.0.1", port_of(a)) == 1);
	say_message("plain", a, 512);
	set_option(b, IPPROTO_IP, IP_TTL, 33);
	set_option(b, IPPROTO_IP, IP_TOS, 0x2e);
	NEED(to(b, "x", 1, "127.0.0.1", port_of(a)) == 1);
	say_message("set", a, 512);
	v = 44;
	say("IP_TTL: %s", with(b, "127.0.0.1", port_of(a), IPPROTO_IP, IP_TTL, &v, sizeof v));
	say_message("IP_TTL", a, 512);
	say("IP_TOS byte: %s", with(b, "127.0.0.1", port_of(a), IPPROTO_IP, IP_TOS, &byte, 1));
	say_message("IP_TOS", a, 512);
	v = 300;
	say("IP_TTL of 300: %s", with(b, "127.0.0.1", port_of(a), IPPROTO_IP, IP_TTL, &v, sizeof v));
	say("unknown: %s", with(b, "127.0.0.1", port_of(a), IPPROTO_IP, 999, &v, sizeof v));
	inet_pton(AF_INET, "127.0.0.5", &source.ipi_spec_dst);
	say("source: %s", with(b, "127.0.0.1", port_of(a), IPPROTO_IP, IP_PKTINFO, &source, sizeof source));
	say_received("source", a);
	inet_pton(AF_INET, "10.42.0.66", &foreign.ipi_spec_dst);
	say("foreign source: %s", with(b, "127.0.0.1", port_of(a), IPPROTO_IP, IP_PKTINFO, &foreign, sizeof foreign));

	set_option(c, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1);
	set_option(c, IPPROTO_IPV6, IPV6_RECVTCLASS, 1);
	NEED(to6(d, "x", 1, "::1", port_of(c)) == 1);
	say_message("IPv6", c, 512);
	v = 7;
	say("IPV6_HOPLIMIT: %s", with(d, "::1", port_of(c), IPPROTO_IPV6, IPV6_HOPLIMIT, &v, sizeof v));
	say_message("IPV6_HOPLIMIT", c, 512);
	say("IPV6_2292HOPLIMIT: %s", set_option(c, IPPROTO_IPV6, IPV6_2292HOPLIMIT, 1));
	say("sends: %s", with(d, "::1", port_of(c), IPPROTO_IPV6, IPV6_2292HOPLIMIT, &v, sizeof v));
	say_message("IPV6_2292HOPLIMIT", c, 512);
	say("IPV6_TCLASS: %s", with(d, "::1", port_of(c), IPPROTO_IPV6, IPV6_TCLASS, &v, sizeof v));
	say_message("IPV6_TCLASS", c, 512);
	inet_pton(AF_INET6, "fd42::1", &source6.ipi6_addr);
	say("IPv6 source: %s", with(d, "::1", port_of(c), IPPROTO_IPV6, IPV6_PKTINFO, &source6, sizeof source6));
	say_received("IPv6 source", c);

	set_option(a, IPPROTO_IP, IP_RECVTTL, 0);
	set_option(a, IPPROTO_IP, IP_RECVTOS, 0);
	set_option(a, SOL_SOCKET, SO_TIMESTAMP, 1);
	NEED(to(b, "x", 1, "127.0.0.1", port_of(a)) == 1);
	say_message("SO_TIMESTAMP", a, 512);
	set_option(a, SOL_SOCKET, SO_TIMESTAMPNS, 1);
	NEED(to(b, "x", 1, "127.0.0.1", port_of(a)) == 1);
	say_message("SO_TIMESTAMPNS", a, 512);
}

LITMUS(dgram_mmsg)
{
	int a = udp_at("127.0.0.1"), b = udp();
	static char text[20][8];
	struct sockaddr_in dest = at("127.0.0.1", port_of(a)), from[20], bad = at("127.0.0.1", 0);
	struct iovec iov[20];
	struct mmsghdr m[20];
	struct timespec limit = { .tv_nsec = 300000000 };

	for (int i = 0; i < 20; i++) {
		snprintf(text[i], sizeof text[i], "%d", i);
		iov[i] = (struct iovec){ text[i], strlen(text[i]) };
		m[i] = (struct mmsghdr){ .msg_hdr = { .msg_iov = iov + i, .msg_iovlen = 1, .msg_name = &dest, .msg_namelen = sizeof dest } };
	}
	say("none: %s", R(sendmmsg(b, m, 0, 0)));
	SAY_CALL("send: %s, lengths %u %u", sendmmsg(b, m, 20, 0), m[0].msg_len, m[19].msg_len);
	for (int i = 0; i < 20; i++) {
		iov[i].iov_len = sizeof text[i];
		m[i].msg_hdr.msg_name = from + i;
		m[i].msg_hdr.msg_namelen = sizeof from[i];
		memset(text[i], 0, sizeof text[i]);
	}
	SAY_CALL("recv: %s, \"%s\" \"%s\", length %u, %s", recvmmsg(a, m, 12, 0, NULL), text[0], text[11], m[11].msg_len,
		 address(from + 11, m[11].msg_hdr.msg_namelen));
	/* As many calls as it takes: none waits for more than one, each takes what is there. */
	for (int left = 8, n; left > 0; left -= n) {
		n = recvmmsg(a, m, 20, MSG_WAITFORONE, NULL);
		NEED(n > 0);
		if (n == left)
			say("rest: \"%s\"", text[n - 1]);
	}
	say("empty: %s", R(recvmmsg(a, m, 20, MSG_DONTWAIT, NULL)));
	m[0].msg_hdr.msg_name = m[2].msg_hdr.msg_name = &dest;
	m[1].msg_hdr.msg_name = &bad;
	for (int i = 0; i < 3; i++)
		m[i].msg_hdr.msg_namelen = sizeof dest;
	say("second is wrong: %s", R(sendmmsg(b, m, 3, 0)));
	say("first is wrong: %s", R(sendmmsg(b, m + 1, 2, 0)));
	m[0].msg_hdr.msg_name = from;
	m[0].msg_hdr.msg_namelen = sizeof from[0];
	NEED(setsockopt(a, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){ .tv_usec = 400000 }, sizeof(struct timeval)) == 0);
	say("one of twenty, with a limit: %s", R(recvmmsg(a, m, 20, 0, &limit)));
}

/* Control messages of every message of a list. */
LITMUS(dgram_mmsg_controls)
{
	int a = udp_at("127.0.0.1"), b = udp(), v[2] = { 41, 42 };
	struct sockaddr_in dest = at("127.0.0.1", port_of(a));
	union {
		struct cmsghdr c;
		char b[CMSG_SPACE(sizeof(int))];
	} u[2] = { 0 };
	char text[2][8] = { "one", "two" };
	struct iovec iov[2] = { { text[0], 3 }, { text[1], 3 } };
	struct mmsghdr m[2] = { 0 };

	for (int i = 0; i < 2; i++) {
		m[i].msg_hdr = (struct msghdr){
			.msg_iov = iov + i, .msg_iovlen = 1, .msg_name = &dest, .msg_namelen = sizeof dest,
			.msg_control = u + i, .msg_controllen = sizeof u[i],
		};
		u[i].c = (struct cmsghdr){ .cmsg_level = IPPROTO_IP, .cmsg_type = IP_TTL, .cmsg_len = CMSG_LEN(sizeof(int)) };
		memcpy(CMSG_DATA(&u[i].c), v + i, sizeof v[i]);
	}
	set_option(a, IPPROTO_IP, IP_RECVTTL, 1);
	say("send: %s", R(sendmmsg(b, m, 2, 0)));
	NEED(dial(b, "127.0.0.1", port_of(a)) == 0);
	for (int i = 0; i < 2; i++) {
		m[i].msg_hdr.msg_name = NULL;
		m[i].msg_hdr.msg_namelen = 0;
	}
	say("send to the peer: %s", R(sendmmsg(b, m, 2, 0)));
	for (int turn = 0; turn < 2; turn++) {
		memset(u, 0, sizeof u);
		say("receive: %s", R(recvmmsg(a, m, 2, 0, NULL)));
		for (int i = 0; i < 2; i++) {
			say("%d: \"%.3s\" flags %x", i, text[i], (unsigned)m[i].msg_hdr.msg_flags);
			say_controls("control", &m[i].msg_hdr);
		}
	}
}

LITMUS(dgram_sizes)
{
	int a = udp_at("127.0.0.1"), b = udp(), n = -1;

	SAY_CALL("FIONREAD of nothing: %s %d", ioctl(a, FIONREAD, &n), n);
	NEED(to(b, "12345", 5, "127.0.0.1", port_of(a)) == 5);
	NEED(to(b, "123", 3, "127.0.0.1", port_of(a)) == 3);
	settle();
	SAY_CALL("FIONREAD: %s %d", ioctl(a, FIONREAD, &n), n);
	say_received("first", a);
	SAY_CALL("FIONREAD: %s %d", ioctl(a, FIONREAD, &n), n);
	say_received("second", a);
	NEED(to(b, "", 0, "127.0.0.1", port_of(a)) == 0);
	await(a, POLLIN);
	SAY_CALL("FIONREAD of an empty one: %s %d", ioctl(a, FIONREAD, &n), n);
	settle();
	SAY_CALL("TIOCOUTQ: %s %d", ioctl(b, TIOCOUTQ, &n), n);
}

LITMUS(dgram_waiting)
{
	struct timeval limit = { .tv_usec = 100000 };
	int a = udp(), b = udp();
	char x[8];

	nonblocking(a, 1);
	say("unbound: %s", R(recv(a, x, 8, 0)));
	say("poll: %s", polled(a, 0));
	nonblocking(a, 0);
	NEED(setsockopt(a, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
	say("in time: %s", R(recv(a, x, 8, 0)));
	NEED(bind_to(a, "127.0.0.1", 0) == 0);
	say("bound: %s", R(recv(a, x, 8, 0)));
	NEED(to(b, "x", 1, "127.0.0.1", port_of(a)) == 1);
	say("something: %s", R(recv(a, x, 8, MSG_PEEK)));
	say("poll: %s", polled(a, 1000));
	say("again: %s", R(recv(a, x, 8, 0)));
	say("poll: %s", polled(a, 0));
}

LITMUS(dgram_shutdown)
{
	int a = udp_at("127.0.0.1"), b = udp();
	char x[8];

	say("unconnected: %s", R(shutdown(b, SHUT_WR)));
	say("send: %s", R(to(b, "x", 1, "127.0.0.1", port_of(a))));
	close(b);
	b = udp();
	NEED(dial(b, "127.0.0.1", port_of(a)) == 0);
	say("wrong: %s", R(shutdown(b, 7)));
	say("write: %s", R(shutdown(b, SHUT_WR)));
	say("send: %s", R(send(b, "x", 1, 0)));
	say("read: %s", R(shutdown(b, SHUT_RD)));
	say("recv: %s", R(recv(b, x, 8, 0)));
	say("recv, not waiting: %s", R(recv(b, x, 8, MSG_DONTWAIT)));
	say("poll in: %d", !!strstr(polled(b, 0), "IN"));
	close(b);
	b = udp();
	NEED(dial(b, "127.0.0.1", port_of(a)) == 0);
	NEED(dial(a, "127.0.0.1", port_of(b)) == 0);
	NEED(send(a, "kept", 4, 0) == 4);
	await(b, POLLIN);
	say("both: %s", R(shutdown(b, SHUT_RDWR)));
	say_received("kept", b);
	say("recv: %s", R(recv(b, x, 8, 0)));
}

static void *late_shutdown(void *fd)
{
	settle();
	shutdown(*(int *)fd, SHUT_RD);
	return NULL;
}

LITMUS(dgram_shutdown_wakes)
{
	int a = udp_at("127.0.0.1");
	pthread_t t;
	char x[8];

	NEED(pthread_create(&t, NULL, late_shutdown, &a) == 0);
	say("recv: %s", R(recv(a, x, 8, 0)));
	pthread_join(t, NULL);
}

LITMUS(dgram_overflow)
{
	int a = udp_at("127.0.0.1"), b = udp(), sent = 0, got = 0, lost = 0;
	char block[1024] = "", control[64];
	struct iovec iov = { block, sizeof block };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	say("SO_RCVBUF: %s", set_option(a, SOL_SOCKET, SO_RCVBUF, 50000));
	say("SO_RXQ_OVFL: %s", set_option(a, SOL_SOCKET, SO_RXQ_OVFL, 1));
	for (int i = 0; i < 2000; i++)
		sent += to(b, block, sizeof block, "127.0.0.1", port_of(a)) == sizeof block;
	for (int quiet = 0; quiet < 4;) {
		int before = got;

		settle();
		while (recv(a, block, sizeof block, MSG_DONTWAIT) > 0)
			got++;
		quiet = got == before ? quiet + 1 : 0;
	}
	say("sent %d, bounded %d, some %d", sent, got < 300, got > 20);
	NEED(to(b, "x", 1, "127.0.0.1", port_of(a)) == 1);
	await(a, POLLIN);
	m.msg_control = control;
	m.msg_controllen = sizeof control;
	NEED(recvmsg(a, &m, 0) == 1);
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_RXQ_OVFL)
			memcpy(&lost, CMSG_DATA(c), sizeof lost);
	say("the rest was counted: %d", lost == sent - got);
}

LITMUS(dgram_reuseport)
{
	int s[4], b[16], counts[4] = { 0 }, split = 0, steady = 1, total = 0, port = 0;
	char x;

	for (int i = 0; i < 4; i++) {
		s[i] = udp();
		say("SO_REUSEPORT: %s", set_option(s[i], SOL_SOCKET, SO_REUSEPORT, 1));
		say("bind: %s", R(bind_to(s[i], "127.0.0.1", port)));
		port = port_of(s[i]);
	}
	say("without: %s", R(bind_to(udp(), "127.0.0.1", port)));
	for (int i = 0; i < 16; i++) {
		int where = -1;

		b[i] = udp();
		NEED(dial(b[i], "127.0.0.1", port) == 0);
		for (int k = 0; k < 3; k++)
			NEED(send(b[i], "x", 1, 0) == 1);
		settle();
		for (int j = 0; j < 4; j++) {
			int here = 0;

			while (recv(s[j], &x, 1, MSG_DONTWAIT) == 1)
				here++;
			if (here && where >= 0)
				steady = 0;
			if (here)
				where = j;
			counts[j] += here;
			total += here;
		}
	}
	for (int i = 0; i < 4; i++)
		split += counts[i] > 0;
	say("all %d, each flow at one socket %d, more than one socket %d", total == 48, steady, split > 1);
}
