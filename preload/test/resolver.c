/* SPDX-License-Identifier: Apache-2.0 */
/* Names by the C library's own functions: glibc asks the library that is preloaded, for musl it takes their place. */
#include "test.h"
#include <netdb.h>

static const unsigned char web4[4] = FAKE_WEB4, web6[16] = FAKE_WEB6;

static int has(const struct addrinfo *l, int family, const void *ip)
{
	for (; l; l = l->ai_next) {
		const void *at = family == AF_INET ? (void *)&((struct sockaddr_in *)l->ai_addr)->sin_addr
						   : (void *)&((struct sockaddr_in6 *)l->ai_addr)->sin6_addr;

		if (l->ai_family == family && !memcmp(at, ip, family == AF_INET ? 4 : 16))
			return 1;
	}
	return 0;
}

/* How many entries a lookup gives, which are looked at and freed; or the error. */
static int look(const char *name, const char *service, int family, int type, int flags)
{
	struct addrinfo hints = { .ai_family = family, .ai_socktype = type, .ai_flags = flags }, *l = (void *)1;
	int n = 0, err = getaddrinfo(name, service, &hints, &l);

	if (err)
		return err;
	for (const struct addrinfo *i = l; i; i = i->ai_next, n++) {
		CHECK(i->ai_family == AF_INET || i->ai_family == AF_INET6);
		CHECK(i->ai_addr && i->ai_addr->sa_family == i->ai_family);
		CHECK(!type || i->ai_socktype == type);
		if (service)
			CHECK(((struct sockaddr_in *)i->ai_addr)->sin_port == htons(80));
	}
	if (flags & AI_CANONNAME)
		CHECK(l->ai_canonname && strcmp(l->ai_canonname, name) == 0);
	if (!strcmp(name, FAKE_WEB)) {
		CHECK(has(l, AF_INET, web4) == (family != AF_INET6));
		CHECK(has(l, AF_INET6, web6) == (family != AF_INET));
	}
	freeaddrinfo(l);
	return n;
}

static void addresses(void)
{
	CHECK(look(FAKE_WEB, "80", AF_UNSPEC, SOCK_STREAM, 0) == 2);
	CHECK(look(FAKE_WEB, "http", AF_INET, SOCK_STREAM, AI_CANONNAME) == 1);
	CHECK(look(FAKE_WEB, NULL, AF_INET6, SOCK_DGRAM, AI_ADDRCONFIG) == 1);
	CHECK(look(FAKE_WEB, "80", AF_UNSPEC, 0, 0) >= 4);
	CHECK(look(FAKE_MANY, "80", AF_UNSPEC, SOCK_STREAM, AI_CANONNAME) == 12);
	CHECK(look(FAKE_FOUR, "80", AF_INET6, SOCK_STREAM, AI_V4MAPPED) == 1);
	CHECK(look(FAKE_WEB, "80", AF_UNSPEC, SOCK_STREAM, AI_NUMERICHOST) == EAI_NONAME);
	CHECK(look("nobody", "80", AF_UNSPEC, SOCK_STREAM, 0) == EAI_NONAME);
	CHECK(look(FAKE_LATER, "80", AF_UNSPEC, SOCK_STREAM, 0) == EAI_AGAIN);
	CHECK(look(FAKE_WEB, "no such service", AF_UNSPEC, SOCK_STREAM, 0) == EAI_SERVICE);
	CHECK(look(FAKE_WEB, "80", AF_UNIX, SOCK_STREAM, 0) < 0);
	for (int i = 0; i < 1000; i++)
		CHECK(look(FAKE_MANY, "80", AF_INET, 0, 0) >= 24);
}

static void mapped(void)
{
	struct addrinfo hints = { .ai_family = AF_INET6, .ai_socktype = SOCK_STREAM, .ai_flags = AI_V4MAPPED }, *l;
	unsigned char ip[16] = { [10] = 0xff, [11] = 0xff, [12] = 192, [14] = 2, [15] = 7 };

	CHECK(getaddrinfo(FAKE_FOUR, NULL, &hints, &l) == 0);
	CHECK(has(l, AF_INET6, ip) && !l->ai_next);
	freeaddrinfo(l);
	CHECK(getaddrinfo(FAKE_WEB, NULL, &hints, &l) == 0);
	CHECK(has(l, AF_INET6, web6) && !l->ai_next);
	freeaddrinfo(l);
	hints.ai_flags |= AI_ALL;
	CHECK(getaddrinfo(FAKE_WEB, NULL, &hints, &l) == 0);
	CHECK(has(l, AF_INET6, web6) && has(l, AF_INET6, ip));
	freeaddrinfo(l);
}

static void hosts(void)
{
	struct hostent h, *found;
	char buf[512];
	int herr;

	found = gethostbyname(FAKE_WEB);
	CHECK(found && found->h_addrtype == AF_INET && !memcmp(found->h_addr_list[0], web4, 4) && !found->h_addr_list[1]);
	found = gethostbyname2(FAKE_WEB, AF_INET6);
	CHECK(found && found->h_length == 16 && !memcmp(found->h_addr_list[0], web6, 16));
	CHECK(!gethostbyname("nobody") && h_errno == HOST_NOT_FOUND);
	found = gethostbyname("192.0.2.99");
	CHECK(found && !memcmp(found->h_addr_list[0], "\xc0\0\2\x63", 4));
	found = gethostbyaddr(web6, 16, AF_INET6);
	CHECK(found && !strcmp(found->h_name, FAKE_WEB_NAME));
	CHECK(!gethostbyaddr("\1\2\3\4", 4, AF_INET) && h_errno == HOST_NOT_FOUND);

	CHECK(gethostbyname_r(FAKE_MANY, &h, buf, sizeof buf, &found, &herr) == 0 && found == &h && h.h_addr_list[11]);
	CHECK(gethostbyname_r(FAKE_MANY, &h, buf, 32, &found, &herr) == ERANGE && !found);
	CHECK(gethostbyname2_r(FAKE_WEB, AF_INET6, &h, buf, sizeof buf, &found, &herr) == 0 && found == &h);
	(void)gethostbyname_r("nobody", &h, buf, sizeof buf, &found, &herr);
	CHECK(!found && herr == HOST_NOT_FOUND);
	CHECK(gethostbyaddr_r(web4, 4, AF_INET, &h, buf, sizeof buf, &found, &herr) == 0 && !strcmp(found->h_name, FAKE_WEB_NAME));
}

static void reverse(void)
{
	struct sockaddr_in a = at("192.0.2.7", 80), stranger = at("192.0.2.8", 80);
	struct sockaddr_in6 a6 = { .sin6_family = AF_INET6, .sin6_port = htons(80) };
	char host[64], service[32];

	memcpy(&a6.sin6_addr, web6, 16);
	CHECK(getnameinfo((void *)&a, sizeof a, host, sizeof host, service, sizeof service, NI_NUMERICSERV) == 0);
	CHECK(!strcmp(host, FAKE_WEB_NAME) && !strcmp(service, "80"));
	CHECK(getnameinfo((void *)&a6, sizeof a6, host, sizeof host, NULL, 0, 0) == 0 && !strcmp(host, FAKE_WEB_NAME));
	CHECK(getnameinfo((void *)&a, sizeof a, host, sizeof host, NULL, 0, NI_NUMERICHOST) == 0 && !strcmp(host, "192.0.2.7"));
	CHECK(getnameinfo((void *)&stranger, sizeof a, host, sizeof host, service, sizeof service, NI_NUMERICSERV) == 0);
	CHECK(!strcmp(host, "192.0.2.8") && !strcmp(service, "80"));
	CHECK(getnameinfo((void *)&stranger, sizeof a, host, sizeof host, NULL, 0, NI_NAMEREQD) == EAI_NONAME);
	CHECK(getnameinfo((void *)&a, sizeof a, host, 4, NULL, 0, 0) == EAI_OVERFLOW);
}

/* What nobody is asked for. */
static void local(void)
{
	struct sockaddr_in a = at("127.0.0.1", 80);
	char host[64];

	CHECK(look("localhost", "80", AF_INET, SOCK_STREAM, 0) == 1);
	CHECK(look("LOCALHOST", "80", AF_INET, SOCK_STREAM, 0) == 1);
	CHECK(look("192.0.2.1", "80", AF_UNSPEC, SOCK_STREAM, AI_CANONNAME) == 1);
	CHECK(look("2001:db8::1", "80", AF_INET6, SOCK_STREAM, AI_NUMERICHOST) == 1);
	CHECK(getnameinfo((void *)&a, sizeof a, host, sizeof host, NULL, 0, 0) == 0 && !strcmp(host, "localhost"));
}

int main(void)
{
	int before, fd = tcp(0), asked;

	local(); /* and whatever a C library opens for good */
	before = open_fds();
	asked = option_int(fd, FAKE_LEVEL, FAKE_REQUESTS);
	local();
	CHECK(option_int(fd, FAKE_LEVEL, FAKE_REQUESTS) == asked + 1);
	if (getenv("LD_PRELOAD")) { /* else glibc does not find it under its name */
		addresses();
		mapped();
		hosts();
		reverse();
	}
	CHECK(open_fds() == before);
	return 0;
}
