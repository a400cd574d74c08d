/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Control messages of datagrams: the header's fields in the forms that
 * applications know, both ways. Which ones an application asked to be told says
 * each header's flags. Order and sizes are the kernel's (ip_cmsg_recv_offset,
 * ip6_datagram_recv_ctl).
 */
#include "datagram.h"

struct control {
	size_t len;
	int level;
	int type;
};

#define ALIGN(n) (((n) + sizeof(size_t) - 1) & ~(sizeof(size_t) - 1))

struct pktinfo {
	int32_t interface;
	uint8_t source[4];
	uint8_t address[4];
};

struct pktinfo6 {
	uint8_t address[16];
	int32_t interface;
};

/* Where the next message goes; as put_cmsg. */
struct out {
	unsigned char *at;
	size_t room;
	int truncated;
};

static void put(struct out *o, int level, int type, const void *data, size_t n)
{
	struct control c = { sizeof c + n, level, type };
	size_t space;

	if (!o->at || o->room < sizeof c) {
		o->truncated = 1;
		return;
	}
	if (c.len > o->room) {
		o->truncated = 1;
		c.len = o->room;
	}
	for (size_t i = 0; i < sizeof c; i++)
		o->at[i] = ((const unsigned char *)&c)[i];
	for (size_t i = sizeof c; i < c.len; i++)
		o->at[i] = ((const unsigned char *)data)[i - sizeof c];
	space = ALIGN(c.len) < o->room ? ALIGN(c.len) : o->room;
	o->at += space;
	o->room -= space;
}

static void put_int(struct out *o, int level, int type, int value)
{
	put(o, level, type, &value, sizeof value);
}

static int is_mapped(const struct nc_addr *a)
{
	for (int i = 0; i < 10; i++)
		if (a->ip[i])
			return 0;
	return a->family == AF_INET6 && a->ip[10] == 0xff && a->ip[11] == 0xff;
}

static int is_group(const uint8_t ip[4])
{
	return ip[0] >= 224;
}

static void put_times(struct out *o, const struct nc_datagram *h)
{
	int64_t sec = (int64_t)(h->time / 1000000000), nsec = (int64_t)(h->time % 1000000000);
	struct nc_time micro = { sec, nsec / 1000 }, nano = { sec, nsec };

	if (h->flags & NC_D_WANT_STAMPNS)
		put(o, SOL_SOCKET, SO_TIMESTAMPNS_OLD, &nano, sizeof nano);
	else if (h->flags & NC_D_WANT_STAMPNS_NEW)
		put(o, SOL_SOCKET, SO_TIMESTAMPNS_NEW, &nano, sizeof nano);
	else if (h->flags & NC_D_WANT_STAMP)
		put(o, SOL_SOCKET, SO_TIMESTAMP_OLD, &micro, sizeof micro);
	else if (h->flags & NC_D_WANT_STAMP_NEW)
		put(o, SOL_SOCKET, SO_TIMESTAMP_NEW, &micro, sizeof micro);
}

static void put_ipv4(struct out *o, const struct nc_datagram *h, const uint8_t ip[4])
{
	if (h->flags & NC_D_WANT_PKTINFO) {
		struct pktinfo p = { .interface = (int32_t)h->local.scope };

		for (int i = 0; i < 4; i++) {
			p.address[i] = ip[i];
			p.source[i] = is_group(ip) ? 0 : ip[i];
		}
		put(o, IPPROTO_IP, IP_PKTINFO, &p, sizeof p);
	}
	if (h->flags & NC_D_WANT_TTL)
		put_int(o, IPPROTO_IP, IP_TTL, h->ttl);
	if (h->flags & NC_D_WANT_TOS)
		put(o, IPPROTO_IP, IP_TOS, &h->tos, 1);
	if (h->flags & NC_D_WANT_ORIGDST) {
		struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = h->local.port };

		for (int i = 0; i < 4; i++)
			in.sin_addr[i] = ip[i];
		put(o, IPPROTO_IP, IP_ORIGDSTADDR, &in, sizeof in);
	}
}

static void put_ipv6(struct out *o, const struct nc_datagram *h)
{
	if (h->flags & NC_D_WANT_HOPLIMIT)
		put_int(o, IPPROTO_IPV6, IPV6_HOPLIMIT, h->ttl);
	if (h->flags & NC_D_WANT_TCLASS)
		put_int(o, IPPROTO_IPV6, IPV6_TCLASS, h->tos);
	if (h->flags & NC_D_WANT_HOPLIMIT_OLD)
		put_int(o, IPPROTO_IPV6, IPV6_2292HOPLIMIT, h->ttl);
}

/* What was asked to be told of a received datagram. */
void nc_control_out(struct msghdr *msg, const struct nc_datagram *h, uint32_t mark)
{
	struct out o = { msg->msg_control, msg->msg_controllen, 0 };

	put_times(&o, h);
	if ((h->flags & NC_D_WANT_OVERFLOW) && h->drops)
		put(&o, SOL_SOCKET, SO_RXQ_OVFL, &h->drops, sizeof h->drops);
	if (mark & NC_MARK_SIX) {
		if (h->flags & NC_D_WANT_PKTINFO6) {
			struct pktinfo6 p = { .interface = (int32_t)h->local.scope };

			for (int i = 0; i < 16; i++)
				p.address[i] = h->local.ip[i];
			put(&o, IPPROTO_IPV6, IPV6_PKTINFO, &p, sizeof p);
		}
		if (is_mapped(&h->local))
			put_ipv4(&o, h, h->local.ip + 12);
		else
			put_ipv6(&o, h);
	} else {
		put_ipv4(&o, h, h->local.ip);
	}
	msg->msg_controllen -= o.room;
	if (o.truncated)
		msg->msg_flags |= MSG_CTRUNC;
}

static int is_any(const uint8_t *ip, int n)
{
	while (n--)
		if (*ip++)
			return 0;
	return 1;
}

static void source4(struct nc_datagram *h, const uint8_t ip[4], uint32_t mark)
{
	if (is_any(ip, 4))
		return;
	h->local = (struct nc_addr){ .family = mark & NC_MARK_SIX ? AF_INET6 : AF_INET };
	for (int i = 0; i < 4; i++)
		h->local.ip[mark & NC_MARK_SIX ? 12 + i : i] = ip[i];
	if (mark & NC_MARK_SIX)
		h->local.ip[10] = h->local.ip[11] = 0xff;
}

static int as_int(const unsigned char *data)
{
	int value;

	for (size_t i = 0; i < sizeof value; i++)
		((unsigned char *)&value)[i] = data[i];
	return value;
}

static int take_ipv4(struct nc_datagram *h, int type, const unsigned char *data, size_t n, uint32_t mark)
{
	int value;

	switch (type) {
	case IP_PKTINFO:
		if (n != sizeof(struct pktinfo))
			return -EINVAL;
		source4(h, data + offsetof(struct pktinfo, source), mark);
		return 0;
	case IP_TTL:
		if (n != sizeof(int))
			return -EINVAL;
		value = as_int(data);
		if (value < 1 || value > 255)
			return -EINVAL;
		h->flags |= NC_D_TTL;
		h->ttl = (uint8_t)value;
		return 0;
	case IP_TOS:
		if (n != sizeof(int) && n != 1)
			return -EINVAL;
		value = n == 1 ? data[0] : as_int(data);
		if (value < 0 || value > 255)
			return -EINVAL;
		h->flags |= NC_D_TOS;
		h->tos = (uint8_t)value;
		return 0;
	default:
		return -EINVAL;
	}
}

static int take_ipv6(struct nc_datagram *h, int type, const unsigned char *data, size_t n)
{
	int value;

	switch (type) {
	case IPV6_PKTINFO:
		if (n < sizeof(struct pktinfo6))
			return -EINVAL;
		if (is_any(data, 16))
			return 0;
		h->local = (struct nc_addr){ .family = AF_INET6 };
		for (int i = 0; i < 16; i++)
			h->local.ip[i] = data[i];
		return 0;
	case IPV6_HOPLIMIT:
	case IPV6_2292HOPLIMIT:
		if (n != sizeof(int))
			return -EINVAL;
		value = as_int(data);
		if (value < -1 || value > 255)
			return -EINVAL;
		if (value > 0) {
			h->flags |= NC_D_TTL;
			h->ttl = (uint8_t)value;
		}
		return 0;
	case IPV6_TCLASS:
		if (n != sizeof(int))
			return -EINVAL;
		value = as_int(data);
		if (value < -1 || value > 255)
			return -EINVAL;
		if (value >= 0) {
			h->flags |= NC_D_TOS;
			h->tos = (uint8_t)value;
		}
		return 0;
	case IPV6_DONTFRAG:
		return n == sizeof(int) ? 0 : -EINVAL;
	default:
		return -EINVAL;
	}
}

/* What is asked for of a datagram that is sent. */
int nc_control_in(struct nc_datagram *h, const struct msghdr *msg, uint32_t mark)
{
	const unsigned char *at = msg->msg_control;
	size_t room = at ? msg->msg_controllen : 0;

	while (room >= sizeof(struct control)) {
		struct control c;
		size_t n, step;
		int err = 0;

		for (size_t i = 0; i < sizeof c; i++)
			((unsigned char *)&c)[i] = at[i];
		if (c.len < sizeof c || c.len > room)
			return -EINVAL;
		n = c.len - sizeof c;
		if (c.level == IPPROTO_IP)
			err = take_ipv4(h, c.type, at + sizeof c, n, mark);
		else if (c.level == IPPROTO_IPV6 && (mark & NC_MARK_SIX))
			err = take_ipv6(h, c.type, at + sizeof c, n);
		else if (c.level == IPPROTO_UDP && !(mark & (NC_MARK_PING | NC_MARK_RAW)))
			err = -EINVAL;
		if (err)
			return err;
		step = ALIGN(c.len);
		if (step >= room)
			break;
		at += step;
		room -= step;
	}
	return 0;
}
