/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Epoll sets and a socket that gets a new pair under its number (socket.c): a
 * set knows files, not numbers, and forgets the old pair when it is closed. What
 * this process's sets wait for is read from /proc/self/fdinfo before, and asked
 * for again after. A set shared with another process is found as well; one that
 * only another process has is not, nor any where /proc is missing.
 */
#include "epoll.h"

#define SETS "/proc/self/fd"
#define EVENTPOLL "anon_inode:[eventpoll]"

struct dirent64 {
	uint64_t ino;
	int64_t off;
	uint16_t len;
	unsigned char type;
	char name[];
};

static int number_of(const char *s)
{
	int n = 0;

	if (!*s)
		return -1;
	for (; *s; s++) {
		if (*s < '0' || *s > '9' || n > INT32_MAX / 10 - 9)
			return -1;
		n = n * 10 + (*s - '0');
	}
	return n;
}

static const char *spaces(const char *s)
{
	while (*s == ' ' || *s == '\t')
		s++;
	return s;
}

static const char *digits(const char *s, unsigned base, uint64_t *value)
{
	uint64_t v = 0;

	for (s = spaces(s);; s++) {
		unsigned d;

		if (*s >= '0' && *s <= '9')
			d = (unsigned)(*s - '0');
		else if (*s >= 'a' && *s <= 'f')
			d = (unsigned)(*s - 'a') + 10;
		else
			break;
		if (d >= base)
			break;
		v = v * base + d;
	}
	*value = v;
	return spaces(s);
}

/* "tfd: 5 events: 19 data: b ...": decimal, then hexadecimal. */
static void parse(struct nc_waits *waits, int set, int fd, const char *line)
{
	struct nc_wait *w = &waits->wait[waits->n];
	uint64_t tfd, events, data;

	if (waits->n == NC_WAITS_MAX || !(line = nc_after(line, "tfd:")))
		return;
	line = digits(line, 10, &tfd);
	if ((int)tfd != fd || !(line = nc_after(line, "events:")))
		return;
	line = digits(line, 16, &events);
	if (!(line = nc_after(line, "data:")))
		return;
	(void)digits(line, 16, &data);
	w->set = set;
	w->event.events = (uint32_t)events;
	w->event.data = data;
	waits->n++;
}

static void read_set(struct nc_waits *waits, int info, int set, int fd)
{
	char block[1024], line[128];
	size_t at = 0;
	long n;

	while ((n = nc_sys3(__NR_read, info, block, sizeof block)) > 0)
		for (long i = 0; i < n; i++) {
			if (block[i] != '\n') {
				if (at < sizeof line - 1)
					line[at++] = block[i];
				continue;
			}
			line[at] = 0;
			at = 0;
			parse(waits, set, fd, line);
		}
}

static void look_at(struct nc_waits *waits, int dir, const char *name, int fd)
{
	char path[32] = "../fdinfo/", target[sizeof EVENTPOLL];
	int set = number_of(name), info;
	size_t at = sizeof "../fdinfo/" - 1;

	if (set < 0 || nc_sys4(__NR_readlinkat, dir, name, target, sizeof target) != sizeof EVENTPOLL - 1)
		return;
	target[sizeof EVENTPOLL - 1] = 0;
	if (!nc_after(target, EVENTPOLL))
		return;
	while ((path[at++] = *name++))
		;
	info = (int)nc_sys4(__NR_openat, dir, path, O_CLOEXEC, 0);
	if (info < 0)
		return;
	read_set(waits, info, set, fd);
	nc_close(info);
}

/* What epoll sets of this process wait for on fd. */
void nc_waits_find(struct nc_waits *waits, int fd)
{
	_Alignas(struct dirent64) char entries[2048];
	int dir = (int)nc_sys4(__NR_openat, AT_FDCWD, SETS, O_CLOEXEC, 0);
	long n;

	waits->n = 0;
	if (dir < 0)
		return;
	while ((n = nc_sys3(__NR_getdents64, dir, entries, sizeof entries)) > 0)
		for (long at = 0; at < n;) {
			struct dirent64 *e = (void *)(entries + at);

			look_at(waits, dir, e->name, fd);
			at += e->len;
		}
	nc_close(dir);
}

/* Waits for the same on what fd is now. */
void nc_waits_renew(const struct nc_waits *waits, int fd)
{
	for (int i = 0; i < waits->n; i++)
		(void)nc_sys4(__NR_epoll_ctl, waits->wait[i].set, EPOLL_CTL_ADD, fd, &waits->wait[i].event);
}
