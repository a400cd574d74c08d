/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The container's interfaces, and sockets that ask for them (netlink.c).
 */
#ifndef NETCON_PRELOAD_NETLINK_H
#define NETCON_PRELOAD_NETLINK_H

#include <linux/netlink.h>

#include "shim.h"

#define AF_NETLINK 16
#define AF_PACKET 17

#define NC_IFNAME_MAX 16

struct nc_link {
	int index;
	unsigned flags;
	unsigned mtu;
	uint16_t kind; /* ARPHRD_* */
	uint8_t mac[6];
	uint8_t all[6]; /* the broadcast address */
	char name[NC_IFNAME_MAX];
};

struct nc_ifaddr {
	int index;
	uint8_t family;
	uint8_t prefix;
	uint8_t scope;	       /* RT_SCOPE_* */
	uint8_t has_broadcast;
	uint8_t ip[16];
	uint8_t broadcast[4];
};

/*
 * Calls link for each interface and then address for each address, until one of
 * them returns another value than 0, which is the result. Either may be NULL.
 */
int nc_interfaces(int (*link)(void *arg, const struct nc_link *), int (*address)(void *arg, const struct nc_ifaddr *),
		  void *arg);

int nc_netlink_socket(int type);
int nc_is_netlink(int fd);
int nc_netlink_bind(int fd, const struct sockaddr *addr, socklen_t len);
int nc_netlink_name(int fd, struct sockaddr *addr, socklen_t *len);

/* ifreq.c */
int nc_ifreq(int fd, uint32_t request, void *arg);

/* Copies a name, which is shorter than to. */
static inline void nc_ifname_copy(char *to, const char *from)
{
	int i = 0;

	for (; from[i] && i < NC_IFNAME_MAX - 1; i++)
		to[i] = from[i];
	for (; i < NC_IFNAME_MAX; i++)
		to[i] = 0;
}

static inline int nc_ifname_equal(const char *a, const char *b)
{
	for (int i = 0; i < NC_IFNAME_MAX; i++) {
		if (a[i] != b[i])
			return 0;
		if (!a[i])
			return 1;
	}
	return 0;
}

#endif /* NETCON_PRELOAD_NETLINK_H */
