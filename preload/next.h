/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The functions that ours stand in front of: the C library's, or those of a
 * preload library behind us. Called in the place of a raw system call where the
 * function is more than one: it is a pthread cancellation point, and sanitizers
 * look at what it writes. NULL before the constructor ran.
 */
#ifndef NETCON_PRELOAD_NEXT_H
#define NETCON_PRELOAD_NEXT_H

#include "shim.h"

typedef int nc_spawn(int *pid, const char *path, const void *actions, const void *attr, char *const argv[],
		     char *const env[]);

struct addrinfo;
struct hostent;

struct nc_next {
	long (*read)(int fd, void *buf, size_t n);
	long (*read_chk)(int fd, void *buf, size_t n, size_t room);
	long (*readv)(int fd, const struct iovec *iov, int n);
	long (*recv)(int fd, void *buf, size_t n, int flags);
	long (*recv_chk)(int fd, void *buf, size_t n, size_t room, int flags);
	long (*recvfrom)(int fd, void *buf, size_t n, int flags, struct sockaddr *addr, socklen_t *len);
	long (*recvfrom_chk)(int fd, void *buf, size_t n, size_t room, int flags, struct sockaddr *addr, socklen_t *len);
	long (*recvmsg)(int fd, struct msghdr *msg, int flags);
	long (*write)(int fd, const void *buf, size_t n);
	long (*writev)(int fd, const struct iovec *iov, int n);
	long (*send)(int fd, const void *buf, size_t n, int flags);
	long (*sendto)(int fd, const void *buf, size_t n, int flags, const struct sockaddr *addr, socklen_t len);
	long (*sendmsg)(int fd, const struct msghdr *msg, int flags);
	int (*poll)(struct pollfd *fds, unsigned long n, int timeout);
	int (*poll_chk)(struct pollfd *fds, unsigned long n, int timeout, size_t room);
	int (*ppoll)(struct pollfd *fds, unsigned long n, const struct nc_time *timeout, const void *mask);
	int (*ppoll_chk)(struct pollfd *fds, unsigned long n, const struct nc_time *timeout, const void *mask, size_t room);
	int (*recvmmsg)(int fd, struct mmsghdr *msgs, unsigned n, int flags, struct nc_time *timeout);
	int (*sendmmsg)(int fd, struct mmsghdr *msgs, unsigned n, int flags);
	long (*splice)(int in, int64_t *in_offset, int out, int64_t *out_offset, size_t n, unsigned flags);
	long (*sendfile)(int out, int in, int64_t *offset, size_t n);
	int (*getaddrinfo)(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **list);
	void (*freeaddrinfo)(struct addrinfo *list);
	int (*getnameinfo)(const struct sockaddr *addr, socklen_t len, char *host, socklen_t host_room, char *service,
			   socklen_t service_room, int flags);
	int (*gethostbyname_r)(const char *name, struct hostent *host, char *buffer, size_t size, struct hostent **result,
			       int *herr);
	int (*gethostbyname2_r)(const char *name, int family, struct hostent *host, char *buffer, size_t size,
				struct hostent **result, int *herr);
	int (*gethostbyaddr_r)(const void *addr, socklen_t len, int family, struct hostent *host, char *buffer, size_t size,
			       struct hostent **result, int *herr);
	struct hostent *(*gethostbyname)(const char *name);
	struct hostent *(*gethostbyname2)(const char *name, int family);
	struct hostent *(*gethostbyaddr)(const void *addr, socklen_t len, int family);
	int *(*h_errno_location)(void);
	int (*inet_pton)(int family, const char *text, void *to);
	void *(*fopen)(const char *path, const char *mode);
	nc_spawn *posix_spawn, *posix_spawnp;
	int (*getifaddrs)(void **list);
	void (*freeifaddrs)(void *list);
	unsigned (*if_nametoindex)(const char *name);
	char *(*if_indextoname)(unsigned index, char *name);
	void *(*if_nameindex)(void);
	void (*if_freenameindex)(void *list);
};
extern struct nc_next nc_next;

void nc_find_next(void);

#endif /* NETCON_PRELOAD_NEXT_H */
