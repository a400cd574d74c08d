/* SPDX-License-Identifier: Apache-2.0 */
/*
 * splice(2) and sendfile(2): bytes that pass the program by. The native call,
 * and then what a pair's end could not say of the connection's end, as in
 * receive.c and send.c.
 */
#include "next.h"

NC_EXPORT long splice(int in, int64_t *in_offset, int out, int64_t *out_offset, size_t n, unsigned flags);
NC_EXPORT long sendfile(int out, int in, int64_t *offset, size_t n);
NC_EXPORT long sendfile64(int out, int in, int64_t *offset, size_t n) __attribute__((alias("sendfile")));

long splice(int in, int64_t *in_offset, int out, int64_t *out_offset, size_t n, unsigned flags)
{
	long m, result, now;

	if (nc_next.splice)
		m = nc_next.splice(in, in_offset, out, out_offset, n, flags);
	else
		m = nc_return_long(nc_syscall6(__NR_splice, in, NC_ARG(in_offset), out, NC_ARG(out_offset), (long)n, flags));
	if (m > 0)
		return m;
	result = nc_result(m);
	now = nc_sent(out, nc_received(in, result, n));
	return now == result ? m : nc_return_long(now);
}

long sendfile(int out, int in, int64_t *offset, size_t n)
{
	long m, result, now;

	if (nc_next.sendfile)
		m = nc_next.sendfile(out, in, offset, n);
	else
		m = nc_return_long(nc_sys4(__NR_sendfile, out, in, offset, n));
	if (m >= 0)
		return m;
	result = nc_result(m);
	now = nc_sent(out, result);
	return now == result ? m : nc_return_long(now);
}
