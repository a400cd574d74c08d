/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether this process has datagram sockets, what lies at the head of their
 * queues, and which destinations are known.
 *
 * Known destinations. A send goes into the pair and cannot fail as a kernel's
 * does. So the first one of a socket to a destination asks the daemon what became
 * of it, and the next ones do not: an address that a datagram could be sent to, or
 * came from, is good for more. The memory of it is a small table of hashes of
 * socket identity and addresses, written without order: an entry that is lost is
 * asked for again.
 */
#include "datagram.h"

#define KNOWN 256

/* Where inherited descriptors are looked for. */
#define INHERITED 64

atomic_int nc_datagrams_seen;

static _Atomic uint64_t known[KNOWN];

/* Descriptors that were open before this program began. */
void nc_datagrams_find(void)
{
	for (int fd = 0; fd < INHERITED; fd++)
		if (nc_is_datagram(nc_mark_get(fd))) {
			atomic_store(&nc_datagrams_seen, 1);
			return;
		}
}

/* Descriptors that came with a message, in the first control message that has any. */
void nc_datagrams_passed(const struct msghdr *msg)
{
	const unsigned char *at = msg->msg_control;
	size_t room = msg->msg_controllen;

	while (room >= NC_RIGHTS_LEN(1)) {
		const struct nc_rights *c = (const struct nc_rights *)(const void *)at;
		size_t step = (c->len + sizeof(size_t) - 1) & ~(sizeof(size_t) - 1);

		if (c->len < NC_RIGHTS_LEN(0) || c->len > room)
			return;
		if (c->level == SOL_SOCKET && c->type == SCM_RIGHTS) {
			for (size_t i = 0; NC_RIGHTS_LEN(i + 1) <= c->len; i++)
				if (nc_is_datagram(nc_mark_get(*(const int *)(const void *)(at + NC_RIGHTS_LEN(i)))))
					atomic_store(&nc_datagrams_seen, 1);
			return;
		}
		if (step >= room)
			return;
		at += step;
		room -= step;
	}
}

static long peek(int fd, struct nc_datagram *h)
{
	long n = nc_syscall6(__NR_recvfrom, fd, NC_ARG(h), sizeof *h, MSG_PEEK | MSG_DONTWAIT | MSG_TRUNC, 0, 0);

	return n >= (long)sizeof *h && h->magic == NC_MAGIC ? n : -EAGAIN;
}

/* -errno if an error is the next there is to receive, which is taken. */
int nc_take_datagram_error(int fd)
{
	struct nc_datagram h;

	if (peek(fd, &h) < 0 || !h.error)
		return 0;
	(void)nc_syscall6(__NR_recvfrom, fd, NC_ARG(&h), sizeof h, MSG_DONTWAIT, 0, 0);
	return -h.error;
}

/* Whether a poll of a kernel's socket would show an error now. */
int nc_error_is_next(int fd)
{
	struct nc_datagram h;

	return peek(fd, &h) >= 0 && (h.error || (h.flags & NC_D_EVENT));
}

/* 1 if the next there is to receive only said that the error queue has something; it is taken. */
int nc_take_event(int fd)
{
	struct nc_datagram h;

	if (peek(fd, &h) < 0 || h.error || !(h.flags & NC_D_EVENT))
		return 0;
	(void)nc_syscall6(__NR_recvfrom, fd, NC_ARG(&h), sizeof h, MSG_DONTWAIT, 0, 0);
	return 1;
}

/* The size of the next datagram; 0: there is none. */
int nc_next_datagram(int fd)
{
	struct nc_datagram h;
	long n = peek(fd, &h);

	return n > 0 ? (int)(n - (long)sizeof h) : 0;
}

static uint64_t mix(uint64_t hash, uint64_t word)
{
	hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
	return hash ^ hash >> 29;
}

static uint64_t fold(uint64_t hash, const struct nc_addr *a)
{
	uint64_t half[2] = { 0, 0 };

	for (int i = 0; i < 16; i++)
		half[i / 8] = half[i / 8] << 8 | a->ip[i];
	return mix(mix(mix(hash, half[0]), half[1]), a->family);
}

static uint64_t hash_of(uint64_t cookie, const struct nc_addr *remote, const struct nc_addr *source)
{
	return fold(fold(mix(0, cookie), remote), source) | 1;
}

int nc_is_known(uint64_t cookie, const struct nc_addr *remote, const struct nc_addr *source)
{
	uint64_t hash = hash_of(cookie, remote, source);

	return atomic_load_explicit(&known[hash >> 8 & (KNOWN - 1)], memory_order_relaxed) == hash;
}

void nc_make_known(uint64_t cookie, const struct nc_addr *remote, const struct nc_addr *source)
{
	uint64_t hash = hash_of(cookie, remote, source);

	atomic_store_explicit(&known[hash >> 8 & (KNOWN - 1)], hash, memory_order_relaxed);
}
