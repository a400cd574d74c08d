/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ioctl(2): interfaces (ifreq.c), the size of the next datagram, and what is on its
 * way to the peer. A pair's end counts the memory its own queue takes, not bytes,
 * and knows nothing of what the daemon has.
 *
 * The function has one more argument or none: both C libraries and both
 * architectures pass it in the register of a third one.
 */
#include "datagram.h"
#include "netlink.h"

NC_EXPORT int ioctl(int fd, unsigned long request, void *arg);

static int outq(int fd, int unsent, int *n)
{
	struct nc_request rq;
	struct nc_reply rp;
	int err;

	if (!n)
		return -EFAULT;
	nc_request_init(&rq, NC_OUTQ, 0);
	rq.value = unsent;
	err = nc_ask(fd, &rq, &rp);
	if (err == NC_GONE)
		rp.value = err = 0;
	if (!err)
		*n = rp.value;
	return err;
}

int ioctl(int fd, unsigned long request, void *arg)
{
	uint32_t r = (uint32_t)request;
	int err = nc_ifreq(fd, r, arg);

	if (err != NC_GONE)
		return nc_return(err);
	if (r == FIONREAD && nc_datagram_mark(fd)) {
		if (!arg)
			return nc_return(-EFAULT);
		*(int *)arg = nc_next_datagram(fd);
		return 0;
	}
	if ((r == SIOCOUTQ || r == SIOCOUTQNSD) && nc_config() && nc_mark_get(fd))
		return nc_return(outq(fd, r == SIOCOUTQNSD, arg));
	return nc_return(nc_sys3(__NR_ioctl, fd, request, arg));
}
