/* SPDX-License-Identifier: Apache-2.0 */
/* Which call is refused in which state, and how; addresses and ports. */
#include "litmus.h"

static const char *name_of(int fd, int (*call)(int, struct sockaddr *, socklen_t *))
{
	static char text[4][160];
	static int next;
	char *out = text[next++ % 4], ip[INET6_ADDRSTRLEN];
	struct sockaddr_storage a = { 0 };
	socklen_t len = sizeof a;

	if (call(fd, (void *)&a, &len) < 0)
		return error_name(errno);
	if (a.ss_family == AF_INET6)
		inet_ntop(AF_INET6, &((struct sockaddr_in6 *)&a)->sin6_addr, ip, sizeof ip);
	else
		inet_ntop(AF_INET, &((struct sockaddr_in *)&a)->sin_addr, ip, sizeof ip);
	snprintf(out, 160, "%s port %s, %u bytes", ip, ((struct sockaddr_in *)&a)->sin_port ? "set" : "0", len);
	return out;
}

static void say_calls(const char *state, int fd)
{
	struct sockaddr_in a = at("127.0.0.1", 1);
	char c;

	nonblocking(fd, 1);
	say("%s bind: %s", state, R(bind(fd, (void *)&(struct sockaddr_in){ .sin_family = AF_INET }, sizeof a)));
	say("%s accept: %s", state, R(accept(fd, NULL, NULL)));
	say("%s getpeername: %s", state, name_of(fd, getpeername));
	say("%s getsockname: %s", state, name_of(fd, getsockname));
	say("%s recv oob: %s", state, R(recv(fd, &c, 1, MSG_OOB)));
	say("%s SO_ERROR: %s", state, error_name(pending_error(fd)));
	say("%s SO_ACCEPTCONN: %d", state, get_int(fd, SOL_SOCKET, SO_ACCEPTCONN));
	say("%s V6ONLY: %s", state, get_option(fd, IPPROTO_IPV6, IPV6_V6ONLY));
}

LITMUS(errno_unbound)
{
	int fd = tcp();

	say_calls("bound by say_calls", fd);
	fd = tcp();
	say("shutdown rd: %s", R(shutdown(fd, SHUT_RD)));
	say("shutdown wr: %s", R(shutdown(fd, SHUT_WR)));
	say("shutdown rdwr: %s", R(shutdown(fd, SHUT_RDWR)));
	say("shutdown 3: %s", R(shutdown(fd, 3)));
	say("shutdown -1: %s", R(shutdown(fd, -1)));
}

LITMUS(errno_listening)
{
	int fd = listener("127.0.0.1");

	say_calls("listener", fd);
	say("connect: %s", R(dial(fd, "127.0.0.1", port_of(fd))));
	say("listen: %s", R(listen(fd, 1)));
	say("shutdown wr: %s", R(shutdown(fd, SHUT_WR)));
	say("accept: %s", R(accept(fd, NULL, NULL)));
}

LITMUS(errno_connected)
{
	int c, s;

	connected(&c, &s);
	say_calls("client", c);
	say_calls("server", s);
	say("connect: %s", R(dial(c, "127.0.0.1", 1)));
	say("connect server: %s", R(dial(s, "127.0.0.1", 1)));
	say("listen: %s", R(listen(c, 1)));
	say("still works: %s", exchange(c, s, "hello"));
}

LITMUS(errno_shut)
{
	int c, s;

	connected(&c, &s);
	say("shutdown: %s", R(shutdown(c, SHUT_RDWR)));
	say("getpeername: %s", name_of(c, getpeername));
	say("write: %s", R(send(c, "x", 1, MSG_NOSIGNAL)));
	say("read: %s", R(read(c, &(char){ 0 }, 1)));
	say("shutdown wr again: %s", R(shutdown(c, SHUT_WR)));
	say("connect: %s", R(dial(c, "127.0.0.1", 1)));
	say("listen: %s", R(listen(c, 1)));
	await(s, POLLIN);
	say("peer read: %s", R(read(s, &(char){ 0 }, 1)));
	close(s);
	settle();
	say("SO_ERROR: %s", error_name(pending_error(c)));
}

LITMUS(errno_refused)
{
	int fd = tcp(), l = listener("127.0.0.1"), port = port_of(l);

	close(l);
	say("connect: %s", R(dial(fd, "127.0.0.1", port)));
	say("SO_ERROR: %s", error_name(pending_error(fd)));
	say("getpeername: %s", name_of(fd, getpeername));
	say("again: %s", R(dial(fd, "127.0.0.1", port)));
	say("poll: %s", polled(fd, 0));
	l = tcp();
	NEED(bind_to(l, "127.0.0.1", port) == 0 && listen(l, 1) == 0);
	say("to a listener: %s", R(dial(fd, "127.0.0.1", port)));
	say("again: %s", R(dial(fd, "127.0.0.1", port)));
}

LITMUS(errno_addresses)
{
	struct sockaddr_in a = at("127.0.0.1", 9);
	struct sockaddr_in6 a6 = at6("::1", 9);
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = tcp(), fd6 = tcp6();

	say("short bind: %s", R(bind(fd, (void *)&a, 8)));
	say("long bind: %s", R(bind(fd, (void *)&a, 200)));
	say("null bind: %s", R(bind(fd, NULL, sizeof a)));
	say("v6 bind: %s", R(bind(fd, (void *)&a6, sizeof a6)));
	say("v4 bind of v6: %s", R(bind(fd6, (void *)&a, sizeof a)));
	say("unix bind: %s", R(bind(fd, (void *)&un, sizeof un)));
	say("bind elsewhere: %s", R(bind_to(fd, "192.0.2.1", 0)));
	say("bind elsewhere v6: %s", R(bind_to(fd6, "2001:db8::1", 0)));
	say("short connect: %s", R(connect(fd, (void *)&a, 8)));
	say("one byte connect: %s", R(connect(fd, (void *)&a, 1)));
	say("null connect: %s", R(connect(fd, NULL, sizeof a)));
	say("v6 connect: %s", R(connect(fd, (void *)&a6, sizeof a6)));
	say("v4 connect of v6: %s", R(connect(fd6, (void *)&a, sizeof a)));
	say("unix connect: %s", R(connect(fd, (void *)&un, sizeof un)));
	say("port 0: %s", R(dial(tcp(), "127.0.0.1", 0)));
	say("broadcast: %s", R(dial(tcp(), "255.255.255.255", 9)));
	say("multicast: %s", R(dial(tcp(), "224.0.0.1", 9)));
	SAY_CALL("not a socket: %s %s %s %s", listen(0, 1), R(bind(-1, (void *)&a, sizeof a)), R(accept(-1, NULL, NULL)), R(connect(100, (void *)&a, sizeof a)));
}

LITMUS(errno_socket)
{
	say("seqpacket: %s", R(socket(AF_INET, SOCK_SEQPACKET, 0)));
	say("stream udp: %s", R(socket(AF_INET, SOCK_STREAM, IPPROTO_UDP)));
	say("dgram tcp: %s", R(socket(AF_INET, SOCK_DGRAM, IPPROTO_TCP)));
	say("bad flags: %s", R(socket(AF_INET, SOCK_STREAM | 0x4000, 0)));
	say("family 99: %s", R(socket(99, SOCK_STREAM, 0)));
	say("protocol 999: %s", R(socket(AF_INET, SOCK_STREAM, 999)));
	say("socketpair: %s", R(socketpair(AF_INET, SOCK_STREAM, 0, (int[2]){ 0 })));
	/* What is not TCP is the kernel's to grant or to refuse, with its error. */
	for (int type = 0; type < 12; type++) {
		static const int protocols[] = { 0, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP, IPPROTO_UDPLITE, IPPROTO_RAW };
		char line[256];
		size_t n = 0;

		for (size_t i = 0; i < 2 * sizeof protocols / sizeof *protocols; i++) {
			int fd = socket(i % 2 ? AF_INET6 : AF_INET, type, protocols[i / 2]);

			n += (size_t)snprintf(line + n, sizeof line - n, " %s", fd < 0 ? error_name(errno) : "ok");
			close(fd);
		}
		say("type %d:%s", type, line);
	}
}

LITMUS(addrinuse)
{
	int a = tcp(), b = tcp(), c = tcp(), on = 1, port;

	NEED(bind_to(a, "127.0.0.1", 0) == 0);
	port = port_of(a);
	say("same: %s", R(bind_to(b, "127.0.0.1", port)));
	say("any: %s", R(bind_to(b, "0.0.0.0", port)));
	say("other address: %s", R(bind_to(b, "127.0.0.2", port)));
	say("bind twice: %s", R(bind_to(a, "127.0.0.1", 0)));
	setsockopt(c, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	say("one reuses: %s", R(bind_to(c, "127.0.0.1", port)));
	close(a);
	a = tcp();
	setsockopt(a, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	say("first reuses: %s", R(bind_to(a, "127.0.0.1", port)));
	say("both reuse: %s", R(bind_to(c, "127.0.0.1", port)));
	say("listen first: %s", R(listen(a, 1)));
	say("listen second: %s", R(listen(c, 1)));
	say("bind to a listener's: %s", R(bind_to(tcp(), "127.0.0.1", port)));
}

/* A server's port can be taken again while its connections are in TIME-WAIT. */
LITMUS(reuseaddr_timewait)
{
	int l = listener("127.0.0.1"), port = port_of(l), c = tcp(), s, on = 1;

	NEED(dial(c, "127.0.0.1", port) == 0);
	s = accept(l, NULL, NULL);
	close(s);
	await(c, POLLIN);
	close(c);
	close(l);
	settle();
	l = tcp();
	say("without: %s", R(bind_to(l, "127.0.0.1", port)));
	close(l);
	l = tcp();
	setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	say("with: %s", R(bind_to(l, "127.0.0.1", port)));
	say("listen: %s", R(listen(l, 1)));
}

LITMUS(reuseaddr_connected)
{
	int l = listener("127.0.0.1"), port = port_of(l), c = tcp(), s, on = 1;

	NEED(dial(c, "127.0.0.1", port) == 0);
	s = accept(l, NULL, NULL);
	close(l);
	l = tcp();
	say("without: %s", R(bind_to(l, "127.0.0.1", port)));
	close(l);
	l = tcp();
	setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	say("with: %s", R(bind_to(l, "127.0.0.1", port)));
	say("still works: %s", exchange(c, s, "hello"));
}

LITMUS(reuseport)
{
	int l[3], on = 1, port = 0, got[3] = { 0 }, n = 0, other = tcp();

	for (int i = 0; i < 3; i++) {
		l[i] = tcp();
		NEED(setsockopt(l[i], SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) == 0);
		say("bind: %s", R(bind_to(l[i], "127.0.0.1", port)));
		port = port_of(l[i]);
		say("listen: %s", R(listen(l[i], 64)));
		nonblocking(l[i], 1);
	}
	say("without: %s", R(bind_to(other, "127.0.0.1", port)));
	for (int i = 0; i < 48; i++)
		NEED(dial(tcp(), "127.0.0.1", port) == 0);
	for (int tries = 0; n < 48 && tries < 100; tries++) {
		for (int i = 0; i < 3; i++)
			while (accept(l[i], NULL, NULL) >= 0) {
				got[i]++;
				n++;
			}
		poll(NULL, 0, 10);
	}
	say("accepted: %d, by each: %s", n, got[0] && got[1] && got[2] ? "some" : "not by all");
}

LITMUS(names)
{
	struct sockaddr_in a;
	socklen_t len = 4;
	int c, s, fd = tcp(), l = listener("0.0.0.0");

	say("fresh: %s", name_of(fd, getsockname));
	say("fresh v6: %s", name_of(tcp6(), getsockname));
	say("listener: %s", name_of(l, getsockname));
	NEED(bind_to(fd, "127.0.0.1", 0) == 0);
	say("bound: %s", name_of(fd, getsockname));
	say("connect: %s", R(dial(fd, "127.0.0.1", port_of(l))));
	say("connected: %s", name_of(fd, getsockname));
	say("peer: %s", name_of(fd, getpeername));
	s = accept(l, (void *)&a, &len);
	say("accept: family %d, %u bytes", a.sin_family, len);
	say("accepted: %s", name_of(s, getsockname));
	say("peer: %s", name_of(s, getpeername));
	say("ports agree: %d", port_of(s) == port_of(l));
	close(fd);
	await(s, POLLIN);
	say("peer closed: %s", name_of(s, getpeername));
	len = sizeof a;
	say("null len: %s", R(getsockname(s, (void *)&a, NULL)));
	len = (socklen_t)-1;
	say("negative len: %s", R(getsockname(s, (void *)&a, &len)));
	connected(&c, &s);
	shutdown(c, SHUT_WR);
	await(s, POLLIN);
	say("half closed: %s", name_of(c, getpeername));
}

LITMUS(ports)
{
	int fd = tcp(), l, port;

	say("privileged: %s", R(bind_to(fd, "0.0.0.0", 81)));
	say("listen unbound: %s", R(listen(l = tcp(), 1)));
	say("has a port: %d", port_of(l) > 0);
	port = port_of(l);
	say("connect: %s", R(dial(tcp(), "127.0.0.1", port)));
	fd = tcp();
	NEED(bind_to(fd, "127.0.0.1", 0) == 0);
	port = port_of(fd);
	say("bound source: %s", R(dial(fd, "127.0.0.1", port_of(l))));
	say("kept: %d", port_of(fd) == port);
}

LITMUS(connect_unspec)
{
	struct sockaddr a = { .sa_family = AF_UNSPEC };
	int c, s, l = tcp();
	char b[8];

	NEED(bind_to(l, "127.0.0.1", free_port()) == 0 && listen(l, 4) == 0);
	say("fresh: %s", R(connect(c = tcp(), &a, sizeof a)));
	say("then connect: %s", R(dial(c, "127.0.0.1", port_of(l))));
	close(accept(l, NULL, NULL));
	connected(&c, &s);
	NEED(send(s, "unread", 6, 0) == 6);
	await(c, POLLIN);
	say("connected: %s", R(connect(c, &a, sizeof a)));
	say("peer: %s", R(read(s, b, 1)));
	say("getpeername: %s", name_of(c, getpeername));
	say("connect again: %s", R(dial(c, "127.0.0.1", port_of(l))));
	s = accept(l, NULL, NULL);
	say("works: %s %s", exchange(c, s, "hello"), exchange(s, c, "world"));
	say("listener: %s", R(connect(l, &a, sizeof a)));
	nonblocking(l, 1);
	say("accept: %s", R(accept(l, NULL, NULL)));
	say("listen again: %s", R(listen(l, 4)));
	say("connect: %s", R(dial(tcp(), "127.0.0.1", port_of(l))));
	await(l, POLLIN);
	say("accept: %d", accept(l, NULL, NULL) >= 0);
}

LITMUS(listener_shutdown)
{
	int l = tcp(), port = free_port(), c = tcp();

	NEED(bind_to(l, "127.0.0.1", port) == 0 && listen(l, 4) == 0);
	say("shutdown: %s", R(shutdown(l, SHUT_RD)));
	say("accept: %s", R(accept(l, NULL, NULL)));
	say("connect: %s", R(dial(c, "127.0.0.1", port)));
	say("SO_ACCEPTCONN: %d", get_int(l, SOL_SOCKET, SO_ACCEPTCONN));
	say("shutdown again: %s", R(shutdown(l, SHUT_RD)));
	say("listen again: %s", R(listen(l, 4)));
	say("same port: %d", port_of(l) == port);
	say("connect: %s", R(dial(c = tcp(), "127.0.0.1", port)));
	say("accept: %d", accept(l, NULL, NULL) >= 0);
	say("shutdown rdwr: %s", R(shutdown(l, SHUT_RDWR)));
	say("accept: %s", R(accept(l, NULL, NULL)));
}

/* As a proxy pauses: SHUT_WR, listen, SHUT_RD, later listen again. */
LITMUS(listener_pause)
{
	int l = tcp(), port = free_port(), c[4];

	NEED(bind_to(l, "127.0.0.1", port) == 0 && listen(l, 4) == 0);
	for (int i = 0; i < 2; i++)
		NEED(dial(c[i] = tcp(), "127.0.0.1", port) == 0);
	say("pause: %s", R(shutdown(l, SHUT_WR)));
	say("pause: %s", R(listen(l, 4)));
	say("pause: %s", R(shutdown(l, SHUT_RD)));
	for (int i = 0; i < 2; i++) {
		await(c[i], POLLIN);
		say("waiting connection: %s", R(read(c[i], &(char){ 0 }, 1)));
	}
	nonblocking(l, 1);
	say("accept: %s", R(accept(l, NULL, NULL)));
	say("resume: %s", R(listen(l, 4)));
	say("accept: %s", R(accept(l, NULL, NULL)));
	for (int i = 0; i < 2; i++) {
		int s;

		NEED(dial(c[i] = tcp(), "127.0.0.1", port) == 0);
		await(l, POLLIN);
		s = accept(l, NULL, NULL);
		say("new connection: %s", s < 0 ? error_name(errno) : exchange(c[i], s, "hello"));
	}
}

/* Connections that nobody accepted when the listener is closed. */
LITMUS(listener_close)
{
	int l = listener("127.0.0.1"), port = port_of(l), c[3];

	for (int i = 0; i < 3; i++) {
		NEED(dial(c[i] = tcp(), "127.0.0.1", port) == 0);
		if (i)
			NEED(send(c[i], "hello", 5, 0) == 5);
	}
	settle();
	close(l);
	for (int i = 0; i < 3; i++) {
		await(c[i], POLLIN);
		say("%d: %s", i, R(read(c[i], &(char){ 0 }, 1)));
	}
	say("connect: %s", R(dial(tcp(), "127.0.0.1", port)));
}

LITMUS(backlog)
{
	int l = tcp(), port, ok = 0, fd[40];

	NEED(bind_to(l, "127.0.0.1", 0) == 0);
	port = port_of(l);
	say("listen 0: %s", R(listen(l, 0)));
	say("connect: %s", R(dial(tcp(), "127.0.0.1", port)));
	await(l, POLLIN);
	say("accept: %d", accept(l, NULL, NULL) >= 0);
	say("listen -1: %s", R(listen(l, -1)));
	for (int i = 0; i < 40; i++)
		ok += dial(fd[i] = tcp(), "127.0.0.1", port) == 0;
	say("forty wait: %d", ok);
	for (int i = 0; i < 40; i++)
		ok -= accept(l, NULL, NULL) >= 0;
	say("left: %d", ok);
}

LITMUS(dual_stack)
{
	int l = tcp6(), on = 1, off = 0, c, s, only;

	setsockopt(l, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
	NEED(bind_to(l, "::", 0) == 0 && listen(l, 8) == 0);
	say("v4: %s", R(dial(c = tcp(), "127.0.0.1", port_of(l))));
	s = accept(l, NULL, NULL);
	say("server: %s", name_of(s, getsockname));
	say("its peer: %s", name_of(s, getpeername));
	say("client: %s", name_of(c, getpeername));
	say("%s", exchange(c, s, "hello"));
	say("v6: %s", R(dial6(c = tcp6(), "::1", port_of(l))));
	s = accept(l, NULL, NULL);
	say("server: %s", name_of(s, getsockname));
	say("mapped connect: %s", R(dial6(c = tcp6(), "::ffff:127.0.0.1", port_of(l))));
	say("client: %s", name_of(c, getsockname));
	say("v4 bind beside: %s", R(bind_to(tcp(), "127.0.0.1", port_of(l))));
	say("change: %s", R(setsockopt(l, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on)));
	only = tcp6();
	NEED(setsockopt(only, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) == 0);
	say("only: %s", get_option(only, IPPROTO_IPV6, IPV6_V6ONLY));
	NEED(bind_to(only, "::", 0) == 0 && listen(only, 8) == 0);
	say("v4 to only: %s", R(dial(tcp(), "127.0.0.1", port_of(only))));
	say("v6 to only: %s", R(dial6(tcp6(), "::1", port_of(only))));
	say("v4 bind beside: %s", R(bind_to(tcp(), "0.0.0.0", port_of(only))));
	only = tcp6();
	setsockopt(only, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
	say("mapped bind of only: %s", R(bind_to(only, "::ffff:127.0.0.1", 0)));
	say("mapped bind: %s", R(bind_to(tcp6(), "::ffff:127.0.0.1", 0)));
}

LITMUS(loopback_unspecified)
{
	int l = listener("0.0.0.0"), l6 = listener("::");

	say("to 0.0.0.0: %s", R(dial(tcp(), "0.0.0.0", port_of(l))));
	say("to ::: %s", R(dial6(tcp6(), "::", port_of(l6))));
	say("to 127.1.2.3: %s", R(dial(tcp(), "127.1.2.3", port_of(l))));
}
