/* SPDX-License-Identifier: Apache-2.0 */
/*
 * getsockopt(2) and setsockopt(2): the daemon's, except what only the real
 * descriptor can do or say: its time limits, its type, its identity. The pair's
 * own buffers (SO_SNDBUF, SO_RCVBUF) are not the application's business.
 */
#include "datagram.h"

NC_EXPORT int getsockopt(int fd, int level, int option, void *value, socklen_t *len);
NC_EXPORT int setsockopt(int fd, int level, int option, const void *value, socklen_t len);

/* Same numbers on every architecture we know (asm-generic/socket.h). */
#define TIMEO_OLD_RECEIVE 20
#define TIMEO_OLD_SEND 21
#define TIMEO_NEW_RECEIVE 66
#define TIMEO_NEW_SEND 67

static int is_read_limit(int level, int option)
{
	return level == SOL_SOCKET && (option == TIMEO_OLD_RECEIVE || option == TIMEO_NEW_RECEIVE);
}

static int is_native(int level, int option)
{
	if (level != SOL_SOCKET)
		return 0;
	switch (option) {
	case TIMEO_OLD_RECEIVE:
	case TIMEO_OLD_SEND:
	case TIMEO_NEW_RECEIVE:
	case TIMEO_NEW_SEND:
	case SO_TYPE:
	case SO_COOKIE:
	case SO_PEEK_OFF:
		return 1;
	default:
		return 0;
	}
}

/*
 * The pair's own error: a connection that failed has one beside the daemon's,
 * and both are taken.
 */
int nc_native_error(int fd)
{
	int value = 0;
	socklen_t len = sizeof value;

	(void)nc_sys5(__NR_getsockopt, fd, SOL_SOCKET, SO_ERROR, &value, &len);
	return value;
}

static int virtual_getsockopt(int fd, int level, int option, void *value, socklen_t *len)
{
	struct nc_request rq;
	struct nc_reply rp;
	uint32_t n;
	int err;

	if (!len)
		return -EFAULT;
	if (*len > INT32_MAX)
		return -EINVAL;
	if (*len && !value)
		return -EFAULT;
	nc_request_init(&rq, NC_GETSOCKOPT, 0);
	rq.level = level;
	rq.option = option;
	rq.optlen = *len < NC_OPT_MAX ? *len : NC_OPT_MAX;
	err = nc_ask(fd, &rq, &rp);
	if (err)
		return err;
	if (level == SOL_SOCKET && option == SO_ERROR)
		(void)nc_native_error(fd);
	n = rp.optlen < rq.optlen ? rp.optlen : rq.optlen;
	for (uint32_t i = 0; i < n; i++)
		((unsigned char *)value)[i] = rp.opt[i];
	*len = n;
	return 0;
}

static int virtual_setsockopt(int fd, int level, int option, const void *value, socklen_t len)
{
	struct nc_request rq;
	struct nc_reply rp;
	int err;

	if (len > NC_OPT_MAX)
		return -EINVAL;
	if (len && !value)
		return -EFAULT;
	nc_request_init(&rq, NC_SETSOCKOPT, 0);
	rq.level = level;
	rq.option = option;
	rq.optlen = len;
	for (socklen_t i = 0; i < len; i++)
		rq.opt[i] = ((const unsigned char *)value)[i];
	err = nc_ask(fd, &rq, &rp);
	if (!err)
		nc_error_queue_wanted(level, option);
	/* Also what the native read goes by. */
	if (!err && level == SOL_SOCKET && option == SO_RCVLOWAT)
		(void)nc_sys5(__NR_setsockopt, fd, level, option, value, len);
	return err;
}

/*
 * The limit for reads of a socket that never tried to connect is ours until the
 * application sets one.
 */
static int native_setsockopt(int fd, int level, int option, const void *value, socklen_t len)
{
	int err = (int)nc_sys5(__NR_setsockopt, fd, level, option, value, len);

	if (!err && is_read_limit(level, option) && nc_config() && nc_mark_get(fd) == NC_MARK_FRESH)
		err = nc_mark_set(fd, NC_MARK_TIMED);
	return err;
}

static int native_getsockopt(int fd, int level, int option, void *value, socklen_t *len)
{
	int err = (int)nc_sys5(__NR_getsockopt, fd, level, option, value, len);

	if (!err && is_read_limit(level, option) && nc_config() && nc_mark_get(fd) == NC_MARK_FRESH)
		for (socklen_t i = 0; i < *len; i++)
			((unsigned char *)value)[i] = 0;
	return err;
}

/*
 * SO_TYPE and SO_PEEK_OFF are not the pair's where it is not of the type that the
 * application sees.
 */
static int is_datagrams(int fd, int level, int option)
{
	return level == SOL_SOCKET && (option == SO_TYPE || option == SO_PEEK_OFF) && nc_datagram_mark(fd);
}

/* What the network reported is the next there is to receive. */
static int datagram_error(int fd, int level, int option, void *value, socklen_t *len)
{
	int error;

	if (level != SOL_SOCKET || option != SO_ERROR || !nc_datagram_mark(fd) || !len || *len > INT32_MAX || !value)
		return 0;
	error = -nc_take_datagram_error(fd);
	if (!error)
		return 0;
	*len = *len < sizeof error ? *len : sizeof error;
	for (socklen_t i = 0; i < *len; i++)
		((unsigned char *)value)[i] = ((const unsigned char *)&error)[i];
	return 1;
}

int getsockopt(int fd, int level, int option, void *value, socklen_t *len)
{
	int err;

	if (datagram_error(fd, level, option, value, len))
		return 0;
	if (!is_datagrams(fd, level, option) && (!nc_config() || is_native(level, option) || !nc_mark_get(fd)))
		goto native;
	err = virtual_getsockopt(fd, level, option, value, len);
	/* Without its daemon the pair still knows that it was reset. */
	if (err != NC_GONE || level != SOL_SOCKET || option != SO_ERROR)
		return nc_return(err);
native:
	return nc_return(native_getsockopt(fd, level, option, value, len));
}

int setsockopt(int fd, int level, int option, const void *value, socklen_t len)
{
	if (!is_datagrams(fd, level, option) && (!nc_config() || is_native(level, option) || !nc_mark_get(fd)))
		return nc_return(native_setsockopt(fd, level, option, value, len));
	return nc_return(virtual_setsockopt(fd, level, option, value, len));
}
