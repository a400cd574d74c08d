/* SPDX-License-Identifier: Apache-2.0 */
/* Epoll sets and a descriptor that is to be another file. */
#ifndef NETCON_PRELOAD_EPOLL_H
#define NETCON_PRELOAD_EPOLL_H

#include "shim.h"

#define NC_WAITS_MAX 16

#define EPOLL_CTL_ADD 1

/* As the kernel has it. */
struct nc_epoll_event {
	uint32_t events;
	uint64_t data;
}
#ifdef __x86_64__
__attribute__((packed))
#endif
;

struct nc_waits {
	int n;
	struct nc_wait {
		int set;
		struct nc_epoll_event event;
	} wait[NC_WAITS_MAX];
};

void nc_waits_find(struct nc_waits *waits, int fd);
void nc_waits_renew(const struct nc_waits *waits, int fd);

#endif /* NETCON_PRELOAD_EPOLL_H */
