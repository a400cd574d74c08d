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
#include "resolver.h"

struct gaih_addrtuple {
	struct gaih_addrtuple *next;
	char *name;
	int family;
	uint32_t addr[4];
	uint32_t scope;
};

int __nss_configure_lookup(const char *database, const char *sources) __attribute__((weak));

#define NAME_MAX_TEXT 253

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

size_t nc_text_length(const char *s)
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
enum nss_status nc_find_failure(int result, int *err, int *herr)
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

int nc_find_name(const char *name, int family, struct nc_found list[static NC_FOUND_MAX])
{
	struct nc_request rq;
	struct nc_reply rp;
	size_t len = nc_text_length(name);
	int err;

	nc_request_init(&rq, NC_RESOLVE, 0);
	if (len > NAME_MAX_TEXT)
		return -ENOENT;
	for (size_t i = 0; i < len; i++)
		rq.opt[i] = (__u8)name[i];
	rq.optlen = (__u32)len;
	rq.family = (__u16)family;
	err = nc_call(&rq, &rp, -1);
	if (err)
		return err;
	if (rp.value < 1 || rp.value > NC_FOUND_MAX)
		return -EPROTO;
	for (size_t i = 0; i < (size_t)rp.value * sizeof *list; i++)
		((__u8 *)list)[i] = rp.opt[i];
	return rp.value;
}

int nc_find_address(int family, const void *ip, char name[static NC_OPT_MAX])
{
	struct nc_request rq;
	struct nc_reply rp;
	int err;

	nc_request_init(&rq, NC_RESOLVE, 0);
	rq.addr.family = (__u16)family;
	for (size_t i = 0; i < (family == AF_INET ? 4 : 16); i++)
		rq.addr.ip[i] = ((const __u8 *)ip)[i];
	err = nc_call(&rq, &rp, -1);
	if (err)
		return err;
	if (rp.optlen < 1 || rp.optlen >= NC_OPT_MAX)
		return -EPROTO;
	for (size_t i = 0; i < rp.optlen; i++)
		name[i] = (char)rp.opt[i];
	name[rp.optlen] = 0;
	return (int)rp.optlen;
}

enum nss_status nc_fill_host(struct hostent *host, const char *name, int family, const struct nc_found *list, int n,
			     char *buffer, size_t size, int *err, int *herr)
{
	struct room room = { buffer, size };
	size_t length = family == AF_INET ? 4 : 16;

	*host = (struct hostent){
		.name = take_text(&room, name, nc_text_length(name)),
		.aliases = take(&room, sizeof(char *), sizeof(char *)),
		.type = family,
		.length = (int)length,
		.addrs = take(&room, ((size_t)n + 1) * sizeof(char *), sizeof(char *)),
	};
	if (!host->name || !host->aliases || !host->addrs)
		return no_room(err, herr);
	host->aliases[0] = NULL;
	for (int i = 0; i < n; i++) {
		host->addrs[i] = take(&room, length, 4);
		if (!host->addrs[i])
			return no_room(err, herr);
		for (size_t k = 0; k < length; k++)
			host->addrs[i][k] = (char)list[i].ip[k];
	}
	host->addrs[n] = NULL;
	*herr = 0;
	return SUCCESS;
}

NC_EXPORT enum nss_status _nss_netcon_gethostbyname4_r(const char *name, struct gaih_addrtuple **list, char *buffer,
						       size_t size, int *err, int *herr, int32_t *ttl)
{
	struct room room = { buffer, size };
	struct gaih_addrtuple **tail = list;
	struct nc_found all[NC_FOUND_MAX];
	char *canonical;
	int n = nc_find_name(name, AF_UNSPEC, all);

	if (n < 0)
		return nc_find_failure(n, err, herr);
	canonical = take_text(&room, name, nc_text_length(name));
	if (!canonical)
		return no_room(err, herr);
	for (int i = 0; i < n; i++) {
		struct gaih_addrtuple *t = i ? NULL : *list; /* the first may be the caller's */

		if (!t)
			t = take(&room, sizeof *t, _Alignof(struct gaih_addrtuple));
		if (!t)
			return no_room(err, herr);
		*t = (struct gaih_addrtuple){ .name = i ? NULL : canonical, .family = all[i].family };
		for (size_t k = 0; k < sizeof all[i].ip; k++)
			((__u8 *)t->addr)[k] = all[i].ip[k];
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
	struct nc_found all[NC_FOUND_MAX];
	enum nss_status status;
	int n;

	if (family != AF_INET && family != AF_INET6) {
		*err = EAFNOSUPPORT;
		*herr = NO_DATA;
		return UNAVAIL;
	}
	n = nc_find_name(name, family, all);
	if (n < 0)
		return nc_find_failure(n, err, herr);
	status = nc_fill_host(host, name, family, all, n, buffer, size, err, herr);
	if (status == SUCCESS && ttl)
		*ttl = 0;
	if (status == SUCCESS && canonical)
		*canonical = host->name;
	return status;
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
	struct nc_found one = { .family = (__u16)family };
	char name[NC_OPT_MAX];
	enum nss_status status;
	int result;

	if ((family != AF_INET || length != 4) && (family != AF_INET6 || length != 16)) {
		*err = EAFNOSUPPORT;
		*herr = NO_DATA;
		return UNAVAIL;
	}
	result = nc_find_address(family, addr, name);
	if (result < 0)
		return nc_find_failure(result, err, herr);
	for (uint32_t i = 0; i < length; i++)
		one.ip[i] = ((const __u8 *)addr)[i];
	status = nc_fill_host(host, name, family, &one, 1, buffer, size, err, herr);
	if (status == SUCCESS && ttl)
		*ttl = 0;
	return status;
}

NC_EXPORT enum nss_status _nss_netcon_gethostbyaddr_r(const void *addr, uint32_t length, int family, struct hostent *host,
						      char *buffer, size_t size, int *err, int *herr)
{
	return _nss_netcon_gethostbyaddr2_r(addr, length, family, host, buffer, size, err, herr, NULL);
}

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
	if (name && nc_config() && nc_is_musl())
		return nc_musl_getaddrinfo(name, service, hints, list);
	return nc_next.getaddrinfo(name, service, hints, list);
}

/* Has glibc ask us; it copies what it is told. */
void nc_name_source(void)
{
	if (__nss_configure_lookup)
		(void)__nss_configure_lookup("hosts", "files netcon");
}
