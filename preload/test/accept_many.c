/* SPDX-License-Identifier: Apache-2.0 */
/* 2,000 connections accepted by four processes that share the listener: none lost, none twice, all alive. */
#include "test.h"

#define CONNECTIONS 2000
#define PROCESSES 4

static void worker(int l, int out)
{
	for (;;) {
		struct sockaddr_in peer;
		socklen_t len = sizeof peer;
		uint16_t port;
		int fd = accept(l, (void *)&peer, &len);

		if (fd < 0 && errno == EINVAL)
			_exit(0);
		CHECK(fd >= 0);
		CHECK(len == sizeof peer && peer.sin_family == AF_INET);
		CHECK(peer.sin_addr.s_addr == inet_addr("192.0.2.1"));
		check_echo(fd);
		port = ntohs(peer.sin_port);
		CHECK(write(out, &port, sizeof port) == sizeof port);
		close(fd);
	}
}

int main(void)
{
	static unsigned char seen[CONNECTIONS];
	int l = listening(0, 80, 0), n = CONNECTIONS, p[2];
	pid_t pid[PROCESSES];

	CHECK(pipe(p) == 0);
	for (int i = 0; i < PROCESSES; i++) {
		pid[i] = spawn();
		if (!pid[i])
			worker(l, p[1]);
	}
	CHECK(setsockopt(l, FAKE_LEVEL, FAKE_DELIVER, &n, sizeof n) == 0);
	for (int i = 0; i < CONNECTIONS; i++) {
		uint16_t port;

		CHECK(ready(p[0], POLLIN, 5000) == POLLIN);
		CHECK(read(p[0], &port, sizeof port) == sizeof port);
		CHECK(port >= FAKE_PEER_PORT && port < FAKE_PEER_PORT + CONNECTIONS);
		CHECK(!seen[port - FAKE_PEER_PORT]++);
	}
	/* Wakes all four, and each is told that it listens no more. */
	CHECK(shutdown(l, SHUT_RDWR) == 0);
	for (int i = 0; i < PROCESSES; i++)
		check_child(pid[i]);
	CHECK_ERRNO(accept(l, NULL, NULL), EINVAL);
	CHECK(listen(l, 1) == 0);
	return 0;
}
