/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fopen(3) of /proc/net/if_inet6, where the JDK looks for IPv6 addresses, and
 * without one uses no IPv6 socket. The file tells of the kernel's network
 * namespace; here it has the container's addresses. Where no daemon tells them it
 * is left alone, unless it is empty: a container has its ::1 always.
 */
#include "netlink.h"
#include "next.h"

NC_EXPORT void *fopen(const char *path, const char *mode);
NC_EXPORT void *fopen64(const char *path, const char *mode);

#define FILE_NAME "/proc/net/if_inet6"

/* address, interface's number, prefix, scope (host), flags (permanent), name */
static const char loopback[] = "00000000000000000000000000000001 01 80 10 80       lo\n";

#define LINE (sizeof loopback - 1)
#define LINES_MAX 64
#define NAME_AT 45
#define NAME_WIDTH 8

/* Scopes of the file, net/ipv6/addrconf.c; those of netlink. */
#define IF_HOST 0x10
#define IF_LINK 0x20
#define RT_SCOPE_LINK 253
#define RT_SCOPE_HOST 254

struct text {
	int n;
	int links;
	struct nc_link link[8];
	char line[LINES_MAX][LINE];
};

static void hex(char *to, unsigned v)
{
	to[0] = "0123456789abcdef"[v >> 4 & 15];
	to[1] = "0123456789abcdef"[v & 15];
}

static int keep_link(void *arg, const struct nc_link *l)
{
	struct text *t = arg;

	if (t->links < (int)(sizeof t->link / sizeof *t->link))
		t->link[t->links++] = *l;
	return 0;
}

static int add_line(void *arg, const struct nc_ifaddr *a)
{
	struct text *t = arg;
	const char *name = "";
	char *line;
	int size = 0;

	if (a->family != AF_INET6 || t->n == LINES_MAX)
		return 0;
	line = t->line[t->n++];
	for (size_t i = 0; i < LINE; i++)
		line[i] = loopback[i];
	for (int i = 0; i < 16; i++)
		hex(line + 2 * i, a->ip[i]);
	hex(line + 33, (unsigned)a->index);
	hex(line + 36, a->prefix);
	hex(line + 39, a->scope == RT_SCOPE_HOST ? IF_HOST : a->scope == RT_SCOPE_LINK ? IF_LINK : 0);
	for (int i = 0; i < t->links; i++)
		if (t->link[i].index == a->index)
			name = t->link[i].name;
	while (name[size] && size < NAME_WIDTH)
		size++;
	for (int i = 0; i < NAME_WIDTH; i++)
		line[NAME_AT + i] = i < NAME_WIDTH - size ? ' ' : name[i - (NAME_WIDTH - size)];
	return 0;
}

static int is_empty(const char *path)
{
	char c;
	long n = 0, fd = nc_sys4(__NR_openat, AT_FDCWD, path, O_CLOEXEC, 0);

	if (fd < 0)
		return 0;
	n = nc_sys3(__NR_read, (int)fd, &c, 1);
	nc_close((int)fd);
	return n == 0;
}

/* A file with a text, and its name; negative if there is none. */
static int instead(char path[static 32], const void *text, size_t size)
{
	static const char dir[] = "/proc/self/fd/";
	int fd = (int)nc_sys2(__NR_memfd_create, "if_inet6", MFD_CLOEXEC);
	char *to = path, digits[12];
	int n = 0;

	if (fd < 0)
		return fd;
	if (nc_sys3(__NR_write, fd, text, size) != (long)size) {
		nc_close(fd);
		return -EIO;
	}
	for (const char *s = dir; *s; s++)
		*to++ = *s;
	for (int v = fd; n == 0 || v > 0; v /= 10)
		digits[n++] = (char)('0' + v % 10);
	while (n > 0)
		*to++ = digits[--n];
	*to = 0;
	return fd;
}

/* The file of the container; negative if the kernel's is as good. */
static int of_container(const char *path, char other[static 32])
{
	struct text text = { 0 };

	if (nc_interfaces(keep_link, add_line, &text) == 0)
		return instead(other, text.line, (size_t)text.n * LINE);
	return is_empty(path) ? instead(other, loopback, LINE) : -1;
}

void *fopen(const char *path, const char *mode)
{
	const char *rest;
	char other[32];
	void *file;
	int fd;

	/* A library's constructor may come before ours. */
	if (!nc_next.fopen)
		nc_find_next();
	if (!nc_next.fopen) {
		(void)nc_return(-ENOSYS);
		return NULL;
	}
	rest = path ? nc_after(path, FILE_NAME) : NULL;
	if (!rest || *rest || !nc_config() || (fd = of_container(path, other)) < 0)
		return nc_next.fopen(path, mode);
	file = nc_next.fopen(other, mode);
	nc_close(fd);
	return file;
}

void *fopen64(const char *path, const char *mode)
{
	return fopen(path, mode);
}
