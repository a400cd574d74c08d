/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names, for musl. Its resolver has sockets of its own that no library can stand in
 * front of, and nobody to ask besides. So its functions are replaced, and what they
 * give out is still its own: an address that was found is handed to the function
 * behind ours as text, which makes the list's entries of it. /etc/hosts comes
 * first, as there.
 *
 * freeaddrinfo gets lists that were made in pieces, and takes each entry for
 * itself: musl counts the entries of a piece that are alive (since 1.1.20).
 */
#include "resolver.h"

NC_EXPORT void freeaddrinfo(struct addrinfo *list);
NC_EXPORT int getnameinfo(const struct sockaddr *addr, socklen_t len, char *host, socklen_t host_room, char *service,
			  socklen_t service_room, int flags);
NC_EXPORT int gethostbyname2_r(const char *name, int family, struct hostent *host, char *buffer, size_t size,
			       struct hostent **result, int *herr);
NC_EXPORT int gethostbyname_r(const char *name, struct hostent *host, char *buffer, size_t size,
			      struct hostent **result, int *herr);
NC_EXPORT struct hostent *gethostbyname2(const char *name, int family);
NC_EXPORT struct hostent *gethostbyname(const char *name);
NC_EXPORT int gethostbyaddr_r(const void *addr, socklen_t len, int family, struct hostent *host, char *buffer,
			      size_t size, struct hostent **result, int *herr);
NC_EXPORT struct hostent *gethostbyaddr(const void *addr, socklen_t len, int family);

const char *gnu_get_libc_version(void) __attribute__((weak));

enum { EAI_NONAME = -2, EAI_AGAIN = -3, EAI_FAIL = -4, EAI_SYSTEM = -11, EAI_OVERFLOW = -12 };

#define NI_NUMERICHOST 0x01
#define NI_NAMEREQD 0x08

#define HOSTS "/etc/hosts"
#define LINE_ROOM 512

/* Whether names are ours to find: not where a C library asks us by itself. */
int nc_is_musl(void)
{
	return !gnu_get_libc_version;
}

static int ours(void)
{
	if (!nc_next.getaddrinfo)
		nc_find_next();
	return nc_is_musl() && nc_next.getaddrinfo && nc_next.inet_pton && nc_config();
}

/* The next word of a line, NULL if there is none. */
static char *word(char **at)
{
	char *p = *at, *begin;

	while (*p == ' ' || *p == '\t' || *p == '\r')
		p++;
	begin = p;
	while (*p && *p != ' ' && *p != '\t' && *p != '\r')
		p++;
	*at = *p ? p + 1 : p;
	*p = 0;
	return p > begin ? begin : NULL;
}

static char small(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static int same(const char *a, const char *b)
{
	while (*a && small(*a) == small(*b)) {
		a++;
		b++;
	}
	return !*a && !*b;
}

/* Shows take each line, without its comment, until it says that it is enough. */
static void each_line(int (*take)(void *arg, char *line), void *arg)
{
	char buf[1024], line[LINE_ROOM];
	size_t len = 0;
	int comment = 0, done = 0;
	long n, fd = nc_sys4(__NR_openat, AT_FDCWD, HOSTS, O_CLOEXEC, 0);

	if (fd < 0)
		return;
	while (!done && (n = nc_sys3(__NR_read, (int)fd, buf, sizeof buf)) > 0) {
		for (long i = 0; i < n && !done; i++) {
			if (buf[i] == '\n') {
				line[len] = 0;
				done = take(arg, line);
				len = 0;
				comment = 0;
				continue;
			}
			comment |= buf[i] == '#' || !buf[i];
			if (!comment && len < sizeof line - 1)
				line[len++] = buf[i];
		}
	}
	line[len] = 0;
	if (!done && len)
		(void)take(arg, line);
	nc_close((int)fd);
}

static int parse(const char *text, struct nc_found *f)
{
	*f = (struct nc_found){ .family = AF_INET };
	if (nc_next.inet_pton(AF_INET, text, f->ip) == 1)
		return 1;
	f->family = AF_INET6;
	return nc_next.inet_pton(AF_INET6, text, f->ip) == 1;
}

struct search {
	const char *name;
	int family;
	struct nc_found *list;
	int n;
};

static int add_address(void *arg, char *line)
{
	struct search *s = arg;
	char *address = word(&line), *name;
	struct nc_found f;

	while (address && (name = word(&line))) {
		if (!same(name, s->name))
			continue;
		if (parse(address, &f) && (s->family == AF_UNSPEC || s->family == f.family))
			s->list[s->n++] = f;
		break;
	}
	return s->n == NC_FOUND_MAX;
}

/* As nc_find_name, with /etc/hosts before. */
static int find_name(const char *name, int family, struct nc_found list[static NC_FOUND_MAX])
{
	struct search s = { name, family, list, 0 };

	each_line(add_address, &s);
	return s.n ? s.n : nc_find_name(name, family, list);
}

struct reverse {
	const struct nc_found *of;
	char *name;
	int len;
};

static int match_address(void *arg, char *line)
{
	struct reverse *r = arg;
	char *address = word(&line), *name = address ? word(&line) : NULL;
	struct nc_found f;

	if (!name || !parse(address, &f) || f.family != r->of->family)
		return 0;
	for (size_t i = 0; i < sizeof f.ip; i++)
		if (f.ip[i] != r->of->ip[i])
			return 0;
	for (r->len = 0; name[r->len] && r->len < NC_OPT_MAX - 1; r->len++)
		r->name[r->len] = name[r->len];
	r->name[r->len] = 0;
	return 1;
}

/* As nc_find_address, with /etc/hosts before. */
static int find_address(const struct nc_found *of, char name[static NC_OPT_MAX])
{
	struct reverse r = { of, name, 0 };

	each_line(match_address, &r);
	return r.len ? r.len : nc_find_address(of->family, of->ip, name);
}

/*
 * An address as text, of this length at least if it is of IPv4: inet_aton takes
 * any number of zeros before an octal number.
 */
static void text_of(const struct nc_found *f, size_t least, char to[static NC_OPT_MAX])
{
	static const char hex[] = "0123456789abcdef";
	char *p = to;

	if (f->family == AF_INET6) {
		for (int i = 0; i < 16; i++) {
			*p++ = hex[f->ip[i] >> 4];
			*p++ = hex[f->ip[i] & 15];
			if (i % 2 && i < 15)
				*p++ = ':';
		}
		*p = 0;
		return;
	}
	for (size_t n = sizeof "0377.0377.0377.0377" - 1; n < least && n < NC_OPT_MAX - 1; n++)
		*p++ = '0';
	for (int i = 0; i < 4; i++) {
		*p++ = '0';
		*p++ = (char)('0' + (f->ip[i] >> 6));
		*p++ = (char)('0' + (f->ip[i] >> 3 & 7));
		*p++ = (char)('0' + (f->ip[i] & 7));
		*p++ = '.';
	}
	p[-1] = 0;
}

void freeaddrinfo(struct addrinfo *list)
{
	struct addrinfo *next;

	if (!nc_next.freeaddrinfo)
		nc_find_next();
	if (!nc_next.freeaddrinfo)
		return;
	if (!nc_is_musl()) {
		nc_next.freeaddrinfo(list);
		return;
	}
	for (; list; list = next) {
		next = list->next;
		list->next = NULL;
		nc_next.freeaddrinfo(list);
	}
}

/* Leaves of both families the one that AI_V4MAPPED means. */
static int mapped(struct nc_found *list, int n, int flags)
{
	int six = 0, kept = 0;

	for (int i = 0; i < n; i++)
		six |= list[i].family == AF_INET6;
	for (int i = 0; i < n; i++)
		if (flags & AI_ALL || !six || list[i].family == AF_INET6)
			list[kept++] = list[i];
	return kept;
}

int nc_musl_getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **list)
{
	struct addrinfo own = { 0 }, *first = NULL, **tail = &first;
	struct nc_found found[NC_FOUND_MAX];
	size_t least = 0;
	int family, n, err, herr;

	if (hints)
		own = *hints;
	family = own.family;
	own.flags |= AI_NUMERICHOST;
	/* An address, or a question that is wrong in itself. */
	err = nc_next.getaddrinfo(name, service, &own, list);
	if (err != EAI_NONAME || (hints && hints->flags & AI_NUMERICHOST) || !ours())
		return err;
	if (family == AF_INET6 && own.flags & AI_V4MAPPED)
		family = AF_UNSPEC;
	n = find_name(name, family, found);
	if (n < 0) {
		nc_find_failure(n, &err, &herr);
		return herr == TRY_AGAIN ? EAI_AGAIN : herr == NO_RECOVERY ? EAI_FAIL : EAI_NONAME;
	}
	if (family != own.family)
		n = mapped(found, n, own.flags);
	if (own.flags & AI_CANONNAME)
		least = nc_text_length(name);
	for (int i = 0; i < n; i++) {
		char text[NC_OPT_MAX];

		text_of(&found[i], least, text);
		err = nc_next.getaddrinfo(text, service, &own, tail);
		if (err) {
			*tail = NULL;
			freeaddrinfo(first);
			return err;
		}
		/* The entries of a piece share the text. */
		if (own.flags & AI_CANONNAME && (*tail)->canonical && nc_text_length((*tail)->canonical) >= least)
			for (size_t k = 0; k <= least; k++)
				(*tail)->canonical[k] = name[k];
		while (*tail)
			tail = &(*tail)->next;
	}
	*list = first;
	return 0;
}

int getnameinfo(const struct sockaddr *addr, socklen_t len, char *host, socklen_t host_room, char *service,
		socklen_t service_room, int flags)
{
	struct nc_found f = { 0 };
	struct nc_addr a;
	char name[NC_OPT_MAX];
	int n;

	if (!nc_next.getnameinfo)
		nc_find_next();
	if (!nc_next.getnameinfo)
		return EAI_SYSTEM;
	if (!host || !host_room || flags & NI_NUMERICHOST || !addr || !ours() || nc_addr_from_sockaddr(&a, addr, len) ||
	    !a.family)
		return nc_next.getnameinfo(addr, len, host, host_room, service, service_room, flags);
	f.family = a.family;
	for (size_t i = 0; i < sizeof f.ip; i++)
		f.ip[i] = a.ip[i];
	n = find_address(&f, name);
	if (n < 0 && flags & NI_NAMEREQD)
		return n == -EAGAIN ? EAI_AGAIN : EAI_NONAME;
	if (n < 0)
		return nc_next.getnameinfo(addr, len, host, host_room, service, service_room, flags | NI_NUMERICHOST);
	if ((socklen_t)n >= host_room)
		return EAI_OVERFLOW;
	for (int i = 0; i <= n; i++)
		host[i] = name[i];
	if (!service || !service_room)
		return 0;
	return nc_next.getnameinfo(addr, len, NULL, 0, service, service_room, flags & ~NI_NAMEREQD);
}

/*
 * What a function whose name ends in _r does with n addresses, or the error that n
 * is: it returns an errno.
 */
static int give(int n, const char *name, int family, const struct nc_found *list, struct hostent *host, char *buffer,
		size_t size, struct hostent **result, int *herr)
{
	enum nss_status status;
	int err = 0;

	status = n < 0 ? nc_find_failure(n, &err, herr)
		       : nc_fill_host(host, name, family, list, n, buffer, size, &err, herr);
	*result = status == SUCCESS ? host : NULL;
	return status == SUCCESS ? 0 : err;
}

int gethostbyname2_r(const char *name, int family, struct hostent *host, char *buffer, size_t size,
		     struct hostent **result, int *herr)
{
	struct nc_found list[NC_FOUND_MAX];

	if (!ours() || parse(name, list) || (family != AF_INET && family != AF_INET6))
		return nc_next.gethostbyname2_r ? nc_next.gethostbyname2_r(name, family, host, buffer, size, result, herr)
						: ENOSYS;
	return give(find_name(name, family, list), name, family, list, host, buffer, size, result, herr);
}

int gethostbyname_r(const char *name, struct hostent *host, char *buffer, size_t size, struct hostent **result, int *herr)
{
	if (ours() || !nc_next.gethostbyname_r)
		return gethostbyname2_r(name, AF_INET, host, buffer, size, result, herr);
	return nc_next.gethostbyname_r(name, host, buffer, size, result, herr);
}

int gethostbyaddr_r(const void *addr, socklen_t len, int family, struct hostent *host, char *buffer, size_t size,
		    struct hostent **result, int *herr)
{
	struct nc_found f = { .family = (__u16)family };
	char name[NC_OPT_MAX];
	int n;

	if (!ours() || !((family == AF_INET && len == 4) || (family == AF_INET6 && len == 16)))
		return nc_next.gethostbyaddr_r
			       ? nc_next.gethostbyaddr_r(addr, len, family, host, buffer, size, result, herr)
			       : ENOSYS;
	for (socklen_t i = 0; i < len; i++)
		f.ip[i] = ((const __u8 *)addr)[i];
	n = find_address(&f, name);
	return give(n < 0 ? n : 1, name, family, &f, host, buffer, size, result, herr);
}

/* What functions without _r give out, to one thread at a time. */
static struct {
	struct hostent host;
	char buffer[1024];
} shared;

static struct hostent *tell(int err, int herr, struct hostent *result)
{
	if (nc_next.h_errno_location)
		*nc_next.h_errno_location() = err == ERANGE ? INTERNAL : herr;
	return result;
}

struct hostent *gethostbyname2(const char *name, int family)
{
	struct hostent *result = NULL;
	int err, herr = INTERNAL;

	if (!ours())
		return nc_next.gethostbyname2 ? nc_next.gethostbyname2(name, family) : NULL;
	err = gethostbyname2_r(name, family, &shared.host, shared.buffer, sizeof shared.buffer, &result, &herr);
	return tell(err, herr, result);
}

struct hostent *gethostbyname(const char *name)
{
	if (!ours())
		return nc_next.gethostbyname ? nc_next.gethostbyname(name) : NULL;
	return gethostbyname2(name, AF_INET);
}

struct hostent *gethostbyaddr(const void *addr, socklen_t len, int family)
{
	struct hostent *result = NULL;
	int err, herr = INTERNAL;

	if (!ours())
		return nc_next.gethostbyaddr ? nc_next.gethostbyaddr(addr, len, family) : NULL;
	err = gethostbyaddr_r(addr, len, family, &shared.host, shared.buffer, sizeof shared.buffer, &result, &herr);
	return tell(err, herr, result);
}
