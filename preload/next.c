/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Found once, in the constructor, because dlsym may take locks; sooner if
 * another library's constructor calls fopen. dlsym is in the C library since
 * glibc 2.34, and in musl; before, in libdl, which a program may not have loaded.
 * There the C library's own is asked.
 */
#include "next.h"

struct nc_next nc_next;

void *dlsym(void *handle, const char *name) __attribute__((weak));
void *__libc_dlopen_mode(const char *name, int mode) __attribute__((weak));
void *__libc_dlsym(void *handle, const char *name) __attribute__((weak));

#define NEXT ((void *)-1L) /* RTLD_NEXT, of every C library */
#define LAZY_INTERNAL (int)0x80000001

static void *find(void *libc, const char *name)
{
	void *f = NULL;

	/* RTLD_NEXT goes by who calls: no tail call. */
	if (dlsym)
		f = dlsym(NEXT, name);
	else if (libc)
		f = __libc_dlsym(libc, name);
	return f;
}

void nc_find_next(void)
{
	void *libc = NULL;

	if (!dlsym && __libc_dlopen_mode && __libc_dlsym)
		libc = __libc_dlopen_mode("libc.so.6", LAZY_INTERNAL);
#define FIND(field, name) *(void **)(void *)&nc_next.field = find(libc, name)
	FIND(read, "read");
	FIND(read_chk, "__read_chk");
	FIND(readv, "readv");
	FIND(recv, "recv");
	FIND(recv_chk, "__recv_chk");
	FIND(recvfrom, "recvfrom");
	FIND(recvfrom_chk, "__recvfrom_chk");
	FIND(recvmsg, "recvmsg");
	FIND(write, "write");
	FIND(writev, "writev");
	FIND(send, "send");
	FIND(sendto, "sendto");
	FIND(sendmsg, "sendmsg");
	FIND(recvmmsg, "recvmmsg");
	FIND(sendmmsg, "sendmmsg");
	FIND(poll, "poll");
	FIND(poll_chk, "__poll_chk");
	FIND(ppoll, "ppoll");
	FIND(ppoll_chk, "__ppoll_chk");
	FIND(splice, "splice");
	FIND(sendfile, "sendfile64");
	if (!nc_next.sendfile)
		FIND(sendfile, "sendfile");
	FIND(getaddrinfo, "getaddrinfo");
	FIND(freeaddrinfo, "freeaddrinfo");
	FIND(getnameinfo, "getnameinfo");
	FIND(gethostbyname_r, "gethostbyname_r");
	FIND(gethostbyname2_r, "gethostbyname2_r");
	FIND(gethostbyaddr_r, "gethostbyaddr_r");
	FIND(gethostbyname, "gethostbyname");
	FIND(gethostbyname2, "gethostbyname2");
	FIND(gethostbyaddr, "gethostbyaddr");
	FIND(h_errno_location, "__h_errno_location");
	FIND(inet_pton, "inet_pton");
	FIND(fopen, "fopen");
	FIND(posix_spawn, "posix_spawn");
	FIND(getifaddrs, "getifaddrs");
	FIND(freeifaddrs, "freeifaddrs");
	FIND(if_nametoindex, "if_nametoindex");
	FIND(if_indextoname, "if_indextoname");
	FIND(if_nameindex, "if_nameindex");
	FIND(if_freenameindex, "if_freenameindex");
	FIND(posix_spawnp, "posix_spawnp");
#undef FIND
}
