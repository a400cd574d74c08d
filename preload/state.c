/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the environment said, read once: in the constructor, or at the first
 * hook should one run earlier. It is copied because programs rewrite their
 * environment (nginx, sshd and postgres do, to show a process title).
 *
 * Threads that come at the same time write the same bytes; the word that says
 * "ready" is set last. A zero state passes every call to the kernel.
 */
#include <stdatomic.h>

#include "datagram.h"
#include "next.h"

enum { UNKNOWN, OFF, ON };

static struct nc_config config;
static atomic_int state;

int nc_own;

/* What follows name in entry, NULL if entry starts otherwise. */
const char *nc_after(const char *entry, const char *name)
{
	while (*name && *entry == *name) {
		entry++;
		name++;
	}
	return *name ? NULL : entry;
}

/* Copies text with its NUL; text that does not fit counts as absent. */
static void copy(char *to, size_t room, const char *from)
{
	size_t n = 0;

	while (from[n])
		if (++n == room)
			return;
	for (size_t i = 0; i <= n; i++)
		to[i] = from[i];
}

static const char *number(const char *s, uint64_t *value)
{
	uint64_t v = 0;

	if (*s < '0' || *s > '9')
		return NULL;
	for (; *s >= '0' && *s <= '9'; s++) {
		if (v > (UINT64_MAX - 9) / 10)
			return NULL;
		v = v * 10 + (uint64_t)(*s - '0');
	}
	*value = v;
	return s;
}

/* "FD:COOKIE"; 0 when it is not that. */
static uint64_t parse_attach(const char *s)
{
	uint64_t fd = 0, cookie = 0;

	s = number(s, &fd);
	if (!s || *s != ':' || fd > INT32_MAX)
		return 0;
	s = number(s + 1, &cookie);
	return s && !*s ? nc_attach_pack((int)fd, cookie) : 0;
}

static int load(void)
{
	int found = OFF;

	if (!&environ || !environ)
		return UNKNOWN;
	for (char **e = environ; *e; e++) {
		const char *v;

		if (nc_after(*e, "LD_PRELOAD="))
			copy(config.keep.preload, sizeof config.keep.preload, *e);
		if (!nc_after(*e, "NETCON_"))
			continue;
		if ((v = nc_after(*e, "NETCON_ATTACH="))) {
			config.attach = parse_attach(v);
			copy(config.keep.attach, sizeof config.keep.attach, *e);
			found = ON;
		} else if ((v = nc_after(*e, "NETCON_SOCKET="))) {
			copy(config.path, sizeof config.path, v);
			copy(config.keep.path, sizeof config.keep.path, *e);
		} else if ((v = nc_after(*e, "NETCON_CONTAINER="))) {
			copy(config.container, sizeof config.container, v);
			copy(config.keep.container, sizeof config.keep.container, *e);
		} else if (nc_after(*e, "NETCON_SUPERVISOR=")) {
			nc_own = NC_MSG_OWN;
			copy(config.keep.supervisor, sizeof config.keep.supervisor, *e);
		} else if (nc_after(*e, "NETCON_LAUNCHER=")) {
			copy(config.keep.launcher, sizeof config.keep.launcher, *e);
		} else if ((v = nc_after(*e, "NETCON_MISSING="))) {
			copy(config.keep.missing, sizeof config.keep.missing, *e);
			v = nc_after(v, "kernel");
			config.to_kernel = v && !*v;
		}
	}
	config.launcher = config.keep.launcher[0] ? nc_after(config.keep.launcher, "NETCON_LAUNCHER=") : "";
	atomic_store_explicit(&state, found, memory_order_release);
	return found;
}

/* The configuration, or NULL where every call is the kernel's. */
const struct nc_config *nc_config(void)
{
	int s = atomic_load_explicit(&state, memory_order_acquire);

	if (__builtin_expect(s == UNKNOWN, 0))
		s = load();
	return s == ON ? &config : NULL;
}

__attribute__((constructor)) static void at_start(void)
{
	if (nc_config()) {
		nc_datagrams_find();
		nc_name_source();
	}
	nc_find_next();
}
