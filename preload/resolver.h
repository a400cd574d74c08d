/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the functions that find names share (nss.c, for glibc, and musl.c). The
 * structures are those of netdb.h, the same in both C libraries.
 */
#ifndef NETCON_PRELOAD_RESOLVER_H
#define NETCON_PRELOAD_RESOLVER_H

#include "next.h"

/* nss.h */
enum nss_status { TRYAGAIN = -2, UNAVAIL = -1, NOTFOUND = 0, SUCCESS = 1 };

/* h_errno */
enum { INTERNAL = -1, HOST_NOT_FOUND = 1, TRY_AGAIN = 2, NO_RECOVERY = 3, NO_DATA = 4 };

struct hostent {
	char *name;
	char **aliases;
	int type;
	int length;
	char **addrs;
};

struct addrinfo {
	int flags;
	int family;
	int type;
	int protocol;
	uint32_t length;
	void *addr;
	char *canonical;
	struct addrinfo *next;
};

#define AI_CANONNAME 0x02
#define AI_NUMERICHOST 0x04
#define AI_V4MAPPED 0x08
#define AI_ALL 0x10
#define AI_ADDRCONFIG 0x20

#define NC_FOUND_MAX ((int)(NC_OPT_MAX / sizeof(struct nc_found)))

size_t nc_text_length(const char *s);

/* The number of addresses of a name, AF_UNSPEC: of both families, or -errno. */
int nc_find_name(const char *name, int family, struct nc_found list[static NC_FOUND_MAX]);

/* The length of an address's name, or -errno. */
int nc_find_address(int family, const void *ip, char name[static NC_OPT_MAX]);

/* What the error of one of these means; *err is an errno. */
enum nss_status nc_find_failure(int result, int *err, int *herr);

/* Makes a hostent of what was found, with everything in buffer. */
enum nss_status nc_fill_host(struct hostent *host, const char *name, int family, const struct nc_found *list, int n,
			     char *buffer, size_t size, int *err, int *herr);

/* musl.c */
int nc_musl_getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **list);
int nc_is_musl(void);

#endif /* NETCON_PRELOAD_RESOLVER_H */
