/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ioctl(2) of interfaces, netdevice(7): what is asked of any socket is answered
 * for the container. Changes are refused by the kernel, or fail on its own
 * interfaces, which is not ours to prevent.
 */
#include "netlink.h"

enum {
	GET_NAME = 0x8910,
	GET_CONF = 0x8912,
	GET_FLAGS = 0x8913,
	GET_ADDRESS = 0x8915,
	GET_DESTINATION = 0x8917,
	GET_BROADCAST = 0x8919,
	GET_NETMASK = 0x891b,
	GET_METRIC = 0x891d,
	GET_MTU = 0x8921,
	GET_MAC = 0x8927,
	GET_INDEX = 0x8933,
	GET_QUEUE = 0x8942,
};

#define QUEUE_LENGTH 1000

struct ifreq {
	char name[NC_IFNAME_MAX];
	union {
		struct sockaddr_in in;
		struct sockaddr sa;
		short flags;
		int value;
		char room[24];
	};
};

struct ifconf {
	int len;
	struct ifreq *list;
};

static int is_answered(uint32_t request)
{
	static const uint16_t all[] = { GET_NAME, GET_CONF, GET_FLAGS, GET_ADDRESS, GET_DESTINATION, GET_BROADCAST,
					GET_NETMASK, GET_METRIC, GET_MTU, GET_MAC, GET_INDEX, GET_QUEUE };

	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		if (all[i] == request)
			return 1;
	return 0;
}

struct query {
	uint32_t request;
	struct ifreq *rq;
	struct nc_link link; /* the one that is asked about */
	int done;

	struct ifconf *conf;
	struct nc_link links[8];
	int nlinks, used;
};

static int same(const char *asked, const char *name)
{
	/* Up to a colon: aliases of IPv4 addresses. */
	for (int i = 0; i < NC_IFNAME_MAX; i++) {
		if ((!asked[i] || asked[i] == ':') && !name[i])
			return 1;
		if (asked[i] != name[i])
			return 0;
	}
	return 0;
}

static int find(void *arg, const struct nc_link *l)
{
	struct query *q = arg;

	if (q->request == GET_NAME ? q->rq->value != l->index : !same(q->rq->name, l->name))
		return 0;
	q->link = *l;
	return 1;
}

static void set_ip(struct sockaddr_in *to, const uint8_t *ip)
{
	*to = (struct sockaddr_in){ .sin_family = AF_INET };
	for (int i = 0; i < 4; i++)
		to->sin_addr[i] = ip[i];
}

static int first_address(void *arg, const struct nc_ifaddr *a)
{
	static const uint8_t zero[4];
	struct query *q = arg;
	uint8_t mask[4];

	if (a->family != AF_INET || a->index != q->link.index)
		return 0;
	for (int i = 0, bits = a->prefix; i < 4; i++, bits -= 8)
		mask[i] = (uint8_t)(bits >= 8 ? 0xff : bits > 0 ? 0xff00 >> bits : 0);
	if (q->request == GET_NETMASK)
		set_ip(&q->rq->in, mask);
	else if (q->request == GET_BROADCAST)
		set_ip(&q->rq->in, a->has_broadcast ? a->broadcast : zero);
	else
		set_ip(&q->rq->in, a->ip);
	return 1;
}

static int one(struct query *q)
{
	struct ifreq *rq = q->rq;
	int err = nc_interfaces(find, NULL, q);

	if (err != 1)
		return err ? err : -ENODEV;
	switch (q->request) {
	case GET_NAME:
		nc_ifname_copy(rq->name, q->link.name);
		return 0;
	case GET_FLAGS:
		rq->flags = (short)q->link.flags;
		return 0;
	case GET_METRIC:
		rq->value = 0;
		return 0;
	case GET_MTU:
		rq->value = (int)q->link.mtu;
		return 0;
	case GET_INDEX:
		rq->value = q->link.index;
		return 0;
	case GET_QUEUE:
		rq->value = QUEUE_LENGTH;
		return 0;
	case GET_MAC:
		rq->sa.sa_family = q->link.kind;
		for (size_t i = 0; i < sizeof rq->sa.sa_data; i++)
			rq->sa.sa_data[i] = i < sizeof q->link.mac ? (char)q->link.mac[i] : 0;
		return 0;
	}
	err = nc_interfaces(NULL, first_address, q);
	return err == 1 ? 0 : err ? err : -EADDRNOTAVAIL;
}

static int keep_link(void *arg, const struct nc_link *l)
{
	struct query *q = arg;

	if (q->nlinks < (int)(sizeof q->links / sizeof *q->links))
		q->links[q->nlinks++] = *l;
	return 0;
}

static int list_address(void *arg, const struct nc_ifaddr *a)
{
	struct query *q = arg;
	struct ifreq *to = q->conf->list ? q->conf->list + q->used : NULL;

	if (a->family != AF_INET)
		return 0;
	if (to && q->conf->len < (q->used + 1) * (int)sizeof *to)
		return 1; /* full: as many as fit */
	q->used++;
	for (int i = 0; to && i < q->nlinks; i++)
		if (q->links[i].index == a->index)
			nc_ifname_copy(to->name, q->links[i].name);
	if (to)
		set_ip(&to->in, a->ip);
	return 0;
}

static int list(struct query *q)
{
	int err;

	err = nc_interfaces(keep_link, list_address, q);
	if (err < 0)
		return err;
	q->conf->len = q->used * (int)sizeof(struct ifreq);
	return 0;
}

/* NC_GONE: the request is none of ours, or there is no daemon to ask. */
int nc_ifreq(int fd, uint32_t request, void *arg)
{
	struct query q = { .request = request, .rq = arg, .conf = arg };

	if (!is_answered(request) || !nc_config() || !nc_cookie(fd))
		return NC_GONE;
	if (!arg)
		return -EFAULT;
	return request == GET_CONF ? list(&q) : one(&q);
}
