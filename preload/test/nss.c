/* SPDX-License-Identifier: Apache-2.0 */
/* The functions that glibc's name service calls: what they find, where they put it, and what they say else. */
#include "test.h"
#include <netdb.h>

enum status { TRYAGAIN = -2, UNAVAIL = -1, NOTFOUND = 0, SUCCESS = 1 };

struct tuple {
	struct tuple *next;
	char *name;
	int family;
	uint32_t addr[4];
	uint32_t scope;
};

/* Of the library; linked in, or preloaded. */
enum status _nss_netcon_gethostbyname4_r(const char *, struct tuple **, char *, size_t, int *, int *, int32_t *)
	__attribute__((weak));
enum status _nss_netcon_gethostbyname3_r(const char *, int, struct hostent *, char *, size_t, int *, int *, int32_t *,
					 char **) __attribute__((weak));
enum status _nss_netcon_gethostbyname2_r(const char *, int, struct hostent *, char *, size_t, int *, int *)
	__attribute__((weak));
enum status _nss_netcon_gethostbyname_r(const char *, struct hostent *, char *, size_t, int *, int *)
	__attribute__((weak));
enum status _nss_netcon_gethostbyaddr2_r(const void *, uint32_t, int, struct hostent *, char *, size_t, int *, int *,
					 int32_t *) __attribute__((weak));
enum status _nss_netcon_gethostbyaddr_r(const void *, uint32_t, int, struct hostent *, char *, size_t, int *, int *)
	__attribute__((weak));

#define ROOM 4096
#define GUARD 0x5a

static const unsigned char web4[4] = FAKE_WEB4, web6[16] = FAKE_WEB6;
static int err, herr;
static char memory[ROOM + 16];

/* A buffer of so many bytes that is not aligned, with a guard behind it. */
static char *buffer(size_t size)
{
	memset(memory, GUARD, sizeof memory);
	err = herr = -77;
	return memory + 1 + (size & 1);
}

static void intact(const char *at, size_t size)
{
	for (const char *p = at + size; p < memory + sizeof memory; p++)
		CHECK(*p == GUARD);
}

static int inside(const void *p, const char *at, size_t size)
{
	return (const char *)p >= at && (const char *)p < at + size;
}

/* Every size up to the first that is enough is refused, and not written past. */
#define GROWING(call, check)                                                          \
	do {                                                                          \
		for (size = 0;; size++) {                                             \
			enum status status_;                                          \
			CHECK(size < ROOM);                                           \
			at_ = buffer(size);                                           \
			status_ = (call);                                             \
			intact(at_, size);                                            \
			if (status_ == SUCCESS)                                       \
				break;                                                \
			CHECK(status_ == TRYAGAIN && err == ERANGE && herr == -1);    \
		}                                                                     \
		CHECK(herr == 0 && size > 0);                                         \
		check;                                                                \
	} while (0)

static char *at_;
static size_t size;

static void check_host(const struct hostent *h, const char *name, int family, const void *ip, int n)
{
	CHECK(strcmp(h->h_name, name) == 0 && inside(h->h_name, at_, size));
	CHECK(h->h_addrtype == family && h->h_length == (family == AF_INET ? 4 : 16));
	CHECK(h->h_aliases && !h->h_aliases[0]);
	CHECK((uintptr_t)h->h_addr_list % sizeof(char *) == 0 && (uintptr_t)h->h_aliases % sizeof(char *) == 0);
	CHECK(memcmp(h->h_addr_list[0], ip, (size_t)h->h_length) == 0);
	for (int i = 0; i < n; i++)
		CHECK(inside(h->h_addr_list[i], at_, size) && (uintptr_t)h->h_addr_list[i] % 4 == 0);
	CHECK(!h->h_addr_list[n]);
}

static void check_tuples(const struct tuple *t)
{
	CHECK((uintptr_t)t % _Alignof(struct tuple) == 0);
	CHECK(strcmp(t->name, FAKE_WEB) == 0 && t->family == AF_INET && memcmp(t->addr, web4, 4) == 0 && !t->scope);
	t = t->next;
	CHECK(t && !t->name && t->family == AF_INET6 && memcmp(t->addr, web6, 16) == 0 && !t->scope && !t->next);
}

static void by_name(void)
{
	struct hostent h;
	struct tuple *list, first;
	int32_t ttl;
	char *canonical;

	GROWING((list = NULL, ttl = -1, _nss_netcon_gethostbyname4_r(FAKE_WEB, &list, at_, size, &err, &herr, &ttl)),
		check_tuples(list));
	CHECK(ttl == 0);
	GROWING((list = &first, _nss_netcon_gethostbyname4_r(FAKE_WEB, &list, at_, size, &err, &herr, NULL)),
		check_tuples(list));
	CHECK(list == &first);

	GROWING((ttl = -1, _nss_netcon_gethostbyname3_r(FAKE_WEB, AF_INET6, &h, at_, size, &err, &herr, &ttl, &canonical)),
		check_host(&h, FAKE_WEB, AF_INET6, web6, 1));
	CHECK(ttl == 0 && canonical == h.h_name);
	GROWING(_nss_netcon_gethostbyname2_r(FAKE_MANY, AF_INET, &h, at_, size, &err, &herr),
		check_host(&h, FAKE_MANY, AF_INET, web4, 12));
	CHECK((unsigned char)h.h_addr_list[11][3] == web4[3] + 11);
	GROWING(_nss_netcon_gethostbyname_r(FAKE_FOUR, &h, at_, size, &err, &herr), check_host(&h, FAKE_FOUR, AF_INET, web4, 1));
}

static void by_address(void)
{
	struct hostent h;
	int32_t ttl = -1;

	GROWING(_nss_netcon_gethostbyaddr_r(web4, 4, AF_INET, &h, at_, size, &err, &herr),
		check_host(&h, FAKE_WEB_NAME, AF_INET, web4, 1));
	GROWING(_nss_netcon_gethostbyaddr2_r(web6, 16, AF_INET6, &h, at_, size, &err, &herr, &ttl),
		check_host(&h, FAKE_WEB_NAME, AF_INET6, web6, 1));
	CHECK(ttl == 0);
}

static void failures(void)
{
	static char long_name[400];
	static const struct {
		const char *name;
		int family;
		enum status status;
		int err, herr;
	} cases[] = {
		{ "nobody", AF_INET, NOTFOUND, ENOENT, HOST_NOT_FOUND },
		{ FAKE_FOUR, AF_INET6, NOTFOUND, ENODATA, NO_DATA },
		{ FAKE_LATER, AF_INET, TRYAGAIN, EAGAIN, TRY_AGAIN },
		{ FAKE_LIAR, AF_INET, UNAVAIL, EPROTO, NO_RECOVERY },
		{ long_name, AF_INET, NOTFOUND, ENOENT, HOST_NOT_FOUND },
		{ "", AF_INET, NOTFOUND, ENOENT, HOST_NOT_FOUND },
		{ FAKE_WEB, AF_UNIX, UNAVAIL, EAFNOSUPPORT, NO_DATA },
	};
	struct hostent h;
	struct tuple *list;

	memset(long_name, 'x', sizeof long_name - 1);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char *at = buffer(ROOM);

		CHECK(_nss_netcon_gethostbyname2_r(cases[i].name, cases[i].family, &h, at, ROOM - 16, &err, &herr) ==
		      cases[i].status);
		CHECK(err == cases[i].err && herr == cases[i].herr);
		if (cases[i].family != AF_INET)
			continue;
		err = herr = -77;
		list = NULL;
		CHECK(_nss_netcon_gethostbyname4_r(cases[i].name, &list, at, ROOM - 16, &err, &herr, NULL) == cases[i].status);
		CHECK(err == cases[i].err && herr == cases[i].herr);
	}
	CHECK(_nss_netcon_gethostbyaddr_r("\1\2\3\4", 4, AF_INET, &h, memory, ROOM, &err, &herr) == NOTFOUND);
	CHECK(err == ENOENT && herr == HOST_NOT_FOUND);
	CHECK(_nss_netcon_gethostbyaddr_r(web4, 5, AF_INET, &h, memory, ROOM, &err, &herr) == UNAVAIL);
	CHECK(_nss_netcon_gethostbyaddr_r(web6, 4, AF_INET6, &h, memory, ROOM, &err, &herr) == UNAVAIL);
	CHECK(err == EAFNOSUPPORT && herr == NO_DATA);
}

int main(void)
{
	struct hostent h;
	int before = open_fds(), fd;

	CHECK(_nss_netcon_gethostbyname4_r && _nss_netcon_gethostbyaddr2_r);
	by_name();
	by_address();
	failures();
	CHECK(open_fds() == before);

	/* Without a daemon nobody is asked, and nothing waits. */
	fd = tcp(0);
	command(fd, FAKE_DIE);
	CHECK(_nss_netcon_gethostbyname_r(FAKE_WEB, &h, buffer(ROOM), ROOM - 16, &err, &herr) == UNAVAIL);
	CHECK(err == ENETDOWN && herr == NO_RECOVERY);
	return 0;
}
