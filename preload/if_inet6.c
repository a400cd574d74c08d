/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fopen(3) of /proc/net/if_inet6: the JDK takes a host without an IPv6 address
 * in there for one without IPv6, and then uses no IPv6 socket. The file tells of
 * the kernel's network namespace, which may have nothing (netcon exec -enforce);
 * a container has its ::1 always. A namespace that has addresses is left to tell
 * them.
 */
#include "next.h"

NC_EXPORT void *fopen(const char *path, const char *mode);
NC_EXPORT void *fopen64(const char *path, const char *mode);

#define FILE_NAME "/proc/net/if_inet6"

/* address, interface's number, prefix, scope (host), flags (permanent), name */
static const char loopback[] = "00000000000000000000000000000001 01 80 10 80       lo\n";

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

/* A file with the loopback's address, and its name; negative if there is none. */
static int instead(char path[static 32])
{
	static const char dir[] = "/proc/self/fd/";
	int fd = (int)nc_sys2(__NR_memfd_create, "if_inet6", MFD_CLOEXEC);
	char *to = path, digits[12];
	int n = 0;

	if (fd < 0)
		return fd;
	if (nc_sys3(__NR_write, fd, loopback, sizeof loopback - 1) != (long)sizeof loopback - 1) {
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
	if (!rest || *rest || !nc_config() || !is_empty(path) || (fd = instead(other)) < 0)
		return nc_next.fopen(path, mode);
	file = nc_next.fopen(other, mode);
	nc_close(fd);
	return file;
}

void *fopen64(const char *path, const char *mode)
{
	return fopen(path, mode);
}
