/* SPDX-License-Identifier: Apache-2.0 */
/*
 * names NAME IPV4 IPV6: finds both addresses of NAME, and NAME behind both, by
 * every function there is, in threads, after fork and with small buffers.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *name, *ipv4, *ipv6;

#define CHECK(cond, ...)                                            \
	do {                                                        \
		if (!(cond)) {                                      \
			fprintf(stderr, "line %d: ", __LINE__);     \
			fprintf(stderr, __VA_ARGS__);               \
			fprintf(stderr, "\n");                      \
			exit(1);                                    \
		}                                                   \
	} while (0)

static int has(const struct addrinfo *list, int family, const char *text)
{
	char buf[INET6_ADDRSTRLEN];

	for (; list; list = list->ai_next) {
		const void *ip = list->ai_family == AF_INET
					 ? (void *)&((struct sockaddr_in *)list->ai_addr)->sin_addr
					 : (void *)&((struct sockaddr_in6 *)list->ai_addr)->sin6_addr;

		if (list->ai_family == family && inet_ntop(family, ip, buf, sizeof buf) && !strcmp(buf, text))
			return 1;
	}
	return 0;
}

static void addresses(int flags)
{
	static const int families[] = { AF_UNSPEC, AF_INET, AF_INET6 };

	for (int i = 0; i < 3; i++) {
		struct addrinfo hints = { .ai_family = families[i], .ai_socktype = SOCK_STREAM, .ai_flags = flags };
		struct addrinfo *list;
		int err = getaddrinfo(name, "80", &hints, &list);

		CHECK(!err, "getaddrinfo family %d flags %#x: %s", families[i], flags, gai_strerror(err));
		CHECK(families[i] == AF_INET6 || has(list, AF_INET, ipv4), "no %s", ipv4);
		CHECK(families[i] == AF_INET || has(list, AF_INET6, ipv6), "no %s", ipv6);
		if (flags & AI_CANONNAME)
			CHECK(list->ai_canonname && !strcmp(list->ai_canonname, name), "canonical name %s", list->ai_canonname);
		freeaddrinfo(list);
	}
}

static void host(int family, const char *text)
{
	char wanted[16], *buf = NULL;
	struct hostent h, *found = NULL;
	int herr, err, grown = 0;

	CHECK(inet_pton(family, text, wanted) == 1, "%s", text);
	for (size_t size = 1;; size += 7, grown++) {
		buf = realloc(buf, size);
		err = gethostbyname2_r(name, family, &h, buf, size, &found, &herr);
		if (err != ERANGE)
			break;
	}
	CHECK(!err && found && grown, "gethostbyname2_r: %d, h_errno %d, %d times too small", err, herr, grown);
	CHECK(h.h_addrtype == family && !memcmp(h.h_addr_list[0], wanted, (size_t)h.h_length), "another address");
	for (size_t size = 1;; size += 7) {
		buf = realloc(buf, size);
		err = gethostbyaddr_r(wanted, family == AF_INET ? 4 : 16, family, &h, buf, size, &found, &herr);
		if (err != ERANGE)
			break;
	}
	CHECK(!err && found, "gethostbyaddr_r: %d, h_errno %d", err, herr);
	CHECK(!strncmp(h.h_name, name, strlen(name)), "named %s", h.h_name);
	free(buf);
}

static void everything(void)
{
	addresses(0);
	addresses(AI_ADDRCONFIG);
	addresses(AI_CANONNAME);
	host(AF_INET, ipv4);
	host(AF_INET6, ipv6);
}

static void *loop(void *unused)
{
	for (int i = 0; i < 4; i++)
		everything();
	return unused;
}

int main(int argc, char **argv)
{
	pthread_t threads[8];
	struct addrinfo *list;
	int status, err;

	CHECK(argc == 4, "usage: names NAME IPV4 IPV6");
	name = argv[1];
	ipv4 = argv[2];
	ipv6 = argv[3];
	everything();
	for (int i = 0; i < 4; i++) {
		pid_t child = fork();

		if (!child) {
			everything();
			_exit(0);
		}
		CHECK(waitpid(child, &status, 0) == child && !status, "child: %#x", status);
	}
	for (int i = 0; i < 8; i++)
		CHECK(!pthread_create(&threads[i], NULL, loop, NULL), "no thread");
	for (int i = 0; i < 8; i++)
		pthread_join(threads[i], NULL);
	err = getaddrinfo("nobody.blue", NULL, NULL, &list);
	CHECK(err == EAI_NONAME, "nobody.blue: %s", gai_strerror(err));
	printf("every name found\n");
	return 0;
}
