/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names, for glibc. Its getaddrinfo and gethostbyname ask with sockets that no
 * library can stand in front of; but they ask what nsswitch(5) says, and a
 * program may say so itself. So this library is also the NSS source "netcon":
 * it is loaded already under the name that glibc looks for, libnss_netcon.so.2,
 * its DT_SONAME. /etc/hosts comes first, as everywhere.
 *
 * The functions are the interface of nss/nss.h: what is found goes into the
 * caller's buffer, and one that is too small is ERANGE.
 */
#include "next.h"

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

struct gaih_addrtuple {
	struct gaih_addrtuple *next;
	char *name;
	int family;
	uint32_t addr[4];
	uint32_t scope;
};

int __nss_configure_lookup(const char *database, const char *sources) __attribute__((weak));

#define NAME_MAX_TEXT 253
#define FOUND_MAX (NC_OPT_MAX / sizeof(struct nc_found))

/* What is left of the caller's buffer. */
struct room {
	char *at;
	size_t left;
};

/* NULL when there is no room. */
static void *take(struct room *r, size_t size, size_t align)
{
	size_t pad = (size_t)(-(uintptr_t)r->at & (align - 1));
	char *p = r->at + pad;

	if (r->left < pad || r->left - pad < size)
		return NULL;
	r->at = p + size;
	r->left -= pad + size;
	return p;
}

static char *take_text(struct room *r, const char *text, size_t len)
{
	char *p = take(r, len + 1, 1);

	if (!p)
		return NULL;
	for (size_t i = 0; i < len; i++)
		p[i] = text[i];
	p[len] = 0;
	return p;
}

static size_t text_length(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	return n;
}

static enum nss_status no_room(int *err, int *herr)
{
	*err = ERANGE;
	*herr = INTERNAL;
	return TRYAGAIN;
}

/* What the daemon's error means. */
static enum nss_status failure(int result, int *err, int *herr)
{
	*err = result == NC_GONE ? ENETDOWN : -result;
	switch (result) {
	case -ENOENT:
		*herr = HOST_NOT_FOUND;
		return NOTFOUND;
	case -ENODATA:
		*herr = NO_DATA;
		return NOTFOUND;
	case -EAGAIN:
		*herr = TRY_AGAIN;
		return TRYAGAIN;
	}
	*herr = NO_RECOVERY;
	return UNAVAIL;
}

/* The number of addresses found, which lie in rp, or -errno. */
static int ask_name(const char *name, int family, struct nc_reply *rp)
{
	struct nc_request rq;
	size_t len = text_length(name);
	int err;

	nc_request_init(&rq, NC_RESOLVE, 0);
	if (len > NAME_MAX_TEXT)
		return -ENOENT;
	for (size_t i = 0; i < len; i++)
		rq.opt[i] = (__u8)name[i];
	rq.optlen = (__u32)len;
	rq.family = (__u16)family;
	err = nc_call(&rq, rp, -1);
	if (err)
		return err;
	if (rp->value < 1 || rp->value > (int)FOUND_MAX)
		return -EPROTO;
	return rp->value;
}

static struct nc_found found(const struct nc_reply *rp, int i)
{
	struct nc_found f;
	__u8 *to = (__u8 *)&f;

	for (size_t k = 0; k < sizeof f; k++)
		to[k] = rp->opt[(size_t)i * sizeof f + k];
	return f;
}

NC_EXPORT enum nss_status _nss_netcon_gethostbyname4_r(const char *name, struct gaih_addrtuple **list, char *buffer,
						       size_t size, int *err, int *herr, int32_t *ttl)
{
	struct room room = { buffer, size };
	struct gaih_addrtuple **tail = list;
	struct nc_reply reply;
	char *canonical;
	int n = ask_name(name, AF_UNSPEC, &reply);

	if (n < 0)
		return failure(n, err, herr);
	canonical = take_text(&room, name, text_length(name));
	if (!canonical)
		return no_room(err, herr);
	for (int i = 0; i < n; i++) {
		struct nc_found f = found(&reply, i);
		struct gaih_addrtuple *t = i ? NULL : *list; /* the first may be the caller's */

		if (!t)
			t = take(&room, sizeof *t, _Alignof(struct gaih_addrtuple));
		if (!t)
			return no_room(err, herr);
		*t = (struct gaih_addrtuple){ .name = i ? NULL : canonical, .family = f.family };
		for (size_t k = 0; k < sizeof f.ip; k++)
			((__u8 *)t->addr)[k] = f.ip[k];
		*tail = t;
		tail = &t->next;
	}
	if (ttl)
		*ttl = 0;
	*herr = 0;
	return SUCCESS;
}

NC_EXPORT enum nss_status _nss_netcon_gethostbyname3_r(const char *name, int family, struct hostent *host, char *buffer,
						       size_t size, int *err, int *herr, int32_t *ttl, char **canonical)
{
	struct room room = { buffer, size };
	size_t length = family == AF_INET ? 4 : 16;
	struct nc_reply reply;
	int n;

	if (family != AF_INET && family != AF_INET6) {
		*err = EAFNOSUPPORT;
		*herr = NO_DATA;
		return UNAVAIL;
	}
	n = ask_name(name, family, &reply);
	if (n < 0)
		return failure(n, err, herr);
	*host = (struct hostent){
		.name = take_text(&room, name, text_length(name)),
		.aliases = take(&room, sizeof(char *), sizeof(char *)),
		.type = family,
		.length = (int)length,
		.addrs = take(&room, ((size_t)n + 1) * sizeof(char *), sizeof(char *)),
	};
	if (!host->name || !host->aliases || !host->addrs)
		return no_room(err, herr);
	host->aliases[0] = NULL;
	for (int i = 0; i < n; i++) {
		struct nc_found f = found(&reply, i);

		host->addrs[i] = take(&room, length, 4);
		if (!host->addrs[i])
			return no_room(err, herr);
		for (size_t k = 0; k < length; k++)
			host->addrs[i][k] = (char)f.ip[k];
	}
	host->addrs[n] = NULL;
	if (ttl)
		*ttl = 0;
	if (canonical)
		*canonical = host->name;
	*herr = 0;
	return SUCCESS;
}

NC_EXPORT enum nss_status _nss_netcon_gethostbyname2_r(const char *name, int family, struct hostent *host, char *buffer,
						       size_t size, int *err, int *herr)
{
	return _nss_netcon_gethostbyname3_r(name, family, host, buffer, size, err, herr, NULL, NULL);
}

NC_EXPORT enum nss_status _nss_netcon_gethostbyname_r(const char *name, struct hostent *host, char *buffer, size_t size,
						      int *err, int *herr)
{
	return _nss_netcon_gethostbyname3_r(name, AF_INET, host, buffer, size, err, herr, NULL, NULL);
}

NC_EXPORT enum nss_status _nss_netcon_gethostbyaddr2_r(const void *addr, uint32_t length, int family,
						       struct hostent *host, char *buffer, size_t size, int *err,
						       int *herr, int32_t *ttl)
{
	struct room room = { buffer, size };
	struct nc_request rq;
	struct nc_reply reply;
	int result;

	if ((family != AF_INET || length != 4) && (family != AF_INET6 || length != 16)) {
		*err = EAFNOSUPPORT;
		*herr = NO_DATA;
		return UNAVAIL;
	}
	nc_request_init(&rq, NC_RESOLVE, 0);
	rq.addr.family = (__u16)family;
	for (uint32_t i = 0; i < length; i++)
		rq.addr.ip[i] = ((const __u8 *)addr)[i];
	result = nc_call(&rq, &reply, -1);
	if (!result && (reply.optlen < 1 || reply.optlen >= NC_OPT_MAX))
		result = -EPROTO;
	if (result)
		return failure(result, err, herr);
	*host = (struct hostent){
		.name = take_text(&room, (const char *)reply.opt, reply.optlen),
		.aliases = take(&room, sizeof(char *), sizeof(char *)),
		.type = family,
		.length = (int)length,
		.addrs = take(&room, 2 * sizeof(char *), sizeof(char *)),
	};
	if (!host->name || !host->aliases || !host->addrs)
		return no_room(err, herr);
	host->aliases[0] = NULL;
	host->addrs[0] = take(&room, length, 4);
	if (!host->addrs[0])
		return no_room(err, herr);
	for (uint32_t i = 0; i < length; i++)
		host->addrs[0][i] = ((const char *)addr)[i];
	host->addrs[1] = NULL;
	if (ttl)
		*ttl = 0;
	*herr = 0;
	return SUCCESS;
}

NC_EXPORT enum nss_status _nss_netcon_gethostbyaddr_r(const void *addr, uint32_t length, int family, struct hostent *host,
						      char *buffer, size_t size, int *err, int *herr)
{
	return _nss_netcon_gethostbyaddr2_r(addr, length, family, host, buffer, size, err, herr, NULL);
}

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

#define AI_ADDRCONFIG 0x20
#define EAI_SYSTEM (-11) /* of every C library */

/*
 * Which families there are to ask for is asked of the kernel's interfaces, and
 * those are not the container's: of an empty network namespace there are none,
 * and no name is found. So that question is left out.
 */
NC_EXPORT int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **list)
{
	struct addrinfo own;

	if (!nc_next.getaddrinfo)
		nc_find_next(); /* a library's constructor may come before ours */
	if (!nc_next.getaddrinfo)
		return EAI_SYSTEM;
	if (hints && hints->flags & AI_ADDRCONFIG && nc_config()) {
		own = *hints;
		own.flags &= ~AI_ADDRCONFIG;
		hints = &own;
	}
	return nc_next.getaddrinfo(name, service, hints, list);
}

/* Has glibc ask us; it copies what it is told. */
void nc_name_source(void)
{
	if (__nss_configure_lookup)
		(void)__nss_configure_lookup("hosts", "files netcon");
}
