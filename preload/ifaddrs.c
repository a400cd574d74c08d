/* SPDX-License-Identifier: Apache-2.0 */
/*
 * getifaddrs(3), if_nameindex(3) and their like: the C library asks through
 * sockets of its own, which no library sees. Where the daemon does not answer they
 * fail with its error.
 *
 * A list lies in a mapping of its own, which begins with its size.
 */
#include <linux/if_packet.h>

#include "netlink.h"
#include "next.h"

#define RT_SCOPE_LINK 253

struct ifaddrs {
	struct ifaddrs *next;
	char *name;
	unsigned flags;
	struct sockaddr *address, *netmask, *broadcast;
	void *data;
};

struct if_nameindex {
	unsigned index;
	char *name;
};

NC_EXPORT int getifaddrs(struct ifaddrs **list);
NC_EXPORT void freeifaddrs(struct ifaddrs *list);
NC_EXPORT unsigned if_nametoindex(const char *name);
NC_EXPORT char *if_indextoname(unsigned index, char *name);
NC_EXPORT struct if_nameindex *if_nameindex(void);
NC_EXPORT void if_freenameindex(struct if_nameindex *list);

/* The mapping of a list: what is not used is given back. */
#define ROOM (1ul << 20)
#define PAGE 4096ul
#define NAMES_MAX 64

struct block {
	size_t size;
};

union place {
	struct sockaddr sa;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
	struct sockaddr_ll ll;
};

struct entry {
	struct ifaddrs public;
	union place address, netmask, broadcast;
	char name[NC_IFNAME_MAX];
};

struct list {
	struct block block;
	size_t n;
	struct entry entry[];
};

struct names {
	struct block block;
	size_t n;
	char name[NAMES_MAX][NC_IFNAME_MAX];
	struct if_nameindex public[NAMES_MAX + 1];
};

#define PROT_READ_WRITE 3
#define MAP_PRIVATE_ANONYMOUS 0x22

static void *map(void)
{
	long p = nc_syscall6(__NR_mmap, 0, ROOM, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0);

	if (p < 0 && p > -4096)
		return NULL;
	((struct block *)p)->size = ROOM;
	return (void *)p;
}

static void trim(struct block *b, const void *end)
{
	size_t used = ((size_t)((const char *)end - (const char *)b) + PAGE - 1) & ~(PAGE - 1);

	if (used < b->size && nc_sys2(__NR_munmap, (char *)b + used, b->size - used) == 0)
		b->size = used;
}

static void unmap(struct block *b)
{
	(void)nc_sys2(__NR_munmap, b, b->size);
}

static void set_mask(union place *to, const struct nc_ifaddr *a)
{
	uint8_t *ip = a->family == AF_INET ? to->in.sin_addr : to->in6.sin6_addr;
	int size = a->family == AF_INET ? 4 : 16;

	to->sa.sa_family = a->family;
	for (int i = 0, bits = a->prefix; i < size; i++, bits -= 8)
		ip[i] = (uint8_t)(bits >= 8 ? 0xff : bits > 0 ? 0xff00 >> bits : 0);
}

static void set_mac(union place *to, const struct nc_link *l, const uint8_t *mac)
{
	to->ll.sll_family = AF_PACKET;
	to->ll.sll_ifindex = l->index;
	to->ll.sll_hatype = l->kind;
	to->ll.sll_halen = sizeof l->mac;
	for (size_t i = 0; i < sizeof l->mac; i++)
		to->ll.sll_addr[i] = mac[i];
}

static struct entry *add(struct list *list)
{
	struct entry *e = &list->entry[list->n];

	if ((char *)(e + 1) > (char *)list + ROOM)
		return NULL;
	list->n++;
	e->public.name = e->name;
	e->public.address = &e->address.sa;
	if (e != list->entry)
		e[-1].public.next = &e->public;
	return e;
}

static int add_link(void *arg, const struct nc_link *l)
{
	struct entry *e = add(arg);

	if (!e)
		return -ENOMEM;
	nc_ifname_copy(e->name, l->name);
	e->public.flags = l->flags;
	set_mac(&e->address, l, l->mac);
	set_mac(&e->broadcast, l, l->all);
	e->public.broadcast = &e->broadcast.sa;
	return 0;
}

/* The entry of the interface with an index: they come first. */
static const struct entry *link_entry(const struct list *list, int index)
{
	for (size_t i = 0; i < list->n && list->entry[i].address.sa.sa_family == AF_PACKET; i++)
		if (list->entry[i].address.ll.sll_ifindex == index)
			return &list->entry[i];
	return NULL;
}

static int add_address(void *arg, const struct nc_ifaddr *a)
{
	const struct entry *link = link_entry(arg, a->index);
	struct entry *e;

	if (!link)
		return 0;
	e = add(arg);
	if (!e)
		return -ENOMEM;
	nc_ifname_copy(e->name, link->name);
	e->public.flags = link->public.flags;
	e->address.sa.sa_family = a->family;
	for (int i = 0; i < 4 && a->family == AF_INET; i++)
		e->address.in.sin_addr[i] = a->ip[i];
	for (int i = 0; i < 16 && a->family == AF_INET6; i++)
		e->address.in6.sin6_addr[i] = a->ip[i];
	if (a->family == AF_INET6 && a->scope == RT_SCOPE_LINK)
		e->address.in6.sin6_scope_id = (uint32_t)a->index;
	set_mask(&e->netmask, a);
	e->public.netmask = &e->netmask.sa;
	if (a->has_broadcast) {
		e->broadcast.in.sin_family = AF_INET;
		for (int i = 0; i < 4; i++)
			e->broadcast.in.sin_addr[i] = a->broadcast[i];
		e->public.broadcast = &e->broadcast.sa;
	}
	return 0;
}

int getifaddrs(struct ifaddrs **to)
{
	struct list *list;
	int err;

	if (!nc_config()) {
		if (!nc_next.getifaddrs)
			nc_find_next();
		return nc_next.getifaddrs ? nc_next.getifaddrs((void **)to) : nc_return(-ENOSYS);
	}
	list = map();
	if (!list)
		return nc_return(-ENOMEM);
	err = nc_interfaces(add_link, add_address, list);
	if (err || !list->n) {
		unmap(&list->block);
		*to = NULL;
		return nc_return(err);
	}
	trim(&list->block, &list->entry[list->n]);
	*to = &list->entry[0].public;
	return 0;
}

void freeifaddrs(struct ifaddrs *list)
{
	struct list *ours = (struct list *)(void *)((char *)list - offsetof(struct list, entry));

	if (!list)
		return;
	if (nc_config())
		unmap(&ours->block);
	else if (nc_next.freeifaddrs)
		nc_next.freeifaddrs(list);
}

struct find {
	const char *name;
	unsigned index;
	char *to;
};

static int find_link(void *arg, const struct nc_link *l)
{
	struct find *f = arg;

	if (f->name ? !nc_ifname_equal(f->name, l->name) : f->index != (unsigned)l->index)
		return 0;
	f->index = (unsigned)l->index;
	if (f->to)
		nc_ifname_copy(f->to, l->name);
	return 1;
}

unsigned if_nametoindex(const char *name)
{
	struct find f = { .name = name };
	int err;

	if (!nc_config()) {
		if (!nc_next.if_nametoindex)
			nc_find_next();
		return nc_next.if_nametoindex ? nc_next.if_nametoindex(name) : 0;
	}
	err = nc_interfaces(find_link, NULL, &f);
	if (err == 1)
		return f.index;
	(void)nc_return(err ? err : -ENODEV);
	return 0;
}

char *if_indextoname(unsigned index, char *name)
{
	struct find f = { .index = index, .to = name };
	int err;

	if (!nc_config()) {
		if (!nc_next.if_indextoname)
			nc_find_next();
		return nc_next.if_indextoname ? nc_next.if_indextoname(index, name) : NULL;
	}
	err = nc_interfaces(find_link, NULL, &f);
	if (err == 1)
		return name;
	(void)nc_return(err ? err : -ENXIO);
	return NULL;
}

static int add_name(void *arg, const struct nc_link *l)
{
	struct names *names = arg;

	if (names->n == NAMES_MAX)
		return -ENOMEM;
	nc_ifname_copy(names->name[names->n], l->name);
	names->public[names->n] = (struct if_nameindex){ (unsigned)l->index, names->name[names->n] };
	names->n++;
	return 0;
}

struct if_nameindex *if_nameindex(void)
{
	struct names *names;
	int err;

	if (!nc_config()) {
		if (!nc_next.if_nameindex)
			nc_find_next();
		return nc_next.if_nameindex ? nc_next.if_nameindex() : NULL;
	}
	names = map();
	if (!names) {
		(void)nc_return(-ENOMEM);
		return NULL;
	}
	err = nc_interfaces(add_name, NULL, names);
	if (err) {
		unmap(&names->block);
		(void)nc_return(err);
		return NULL;
	}
	trim(&names->block, names + 1);
	return names->public;
}

void if_freenameindex(struct if_nameindex *list)
{
	struct names *ours = (struct names *)(void *)((char *)list - offsetof(struct names, public));

	if (!list)
		return;
	if (nc_config())
		unmap(&ours->block);
	else if (nc_next.if_freenameindex)
		nc_next.if_freenameindex(list);
}
