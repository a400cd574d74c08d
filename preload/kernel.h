/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernel's own headers leave to the C library: socket constants and
 * the records of sendmsg(2). Both supported architectures use the generic
 * values (linux/include/linux/socket.h, linux/include/linux/net.h).
 */
#ifndef NETCON_PRELOAD_KERNEL_H
#define NETCON_PRELOAD_KERNEL_H

#include <asm/socket.h>
#include <asm/stat.h>
#include <linux/errno.h>
#include <linux/types.h>
#include <stddef.h>
#include <stdint.h>

#define AF_UNSPEC 0
#define AF_UNIX 1
#define AF_INET 2
#define AF_INET6 10

#define SOCK_STREAM 1
#define SOCK_DGRAM 2
#define SOCK_RAW 3
#define SOCK_SEQPACKET 5
#define SOCK_TYPE_MASK 0xf
#define SOCK_NONBLOCK 04000
#define SOCK_CLOEXEC 02000000

#define IPPROTO_IP 0
#define IPPROTO_ICMP 1
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define IPPROTO_IPV6 41
#define IPPROTO_ICMPV6 58
#define IPPROTO_MPTCP 262

/* Also the types of control messages. */
#define IP_TOS 1
#define IP_TTL 2
#define IP_PKTINFO 8
#define IP_RECVERR 11
#define IP_ORIGDSTADDR 20
#define IPV6_2292HOPLIMIT 8
#define IPV6_RECVERR 25
#define IPV6_PKTINFO 50
#define IPV6_HOPLIMIT 52
#define IPV6_DONTFRAG 62
#define IPV6_TCLASS 67

#define SHUT_RD 0
#define SHUT_WR 1
#define SHUT_RDWR 2

#define MSG_OOB 0x1
#define MSG_PEEK 0x2
#define MSG_CTRUNC 0x8
#define MSG_TRUNC 0x20
#define MSG_DONTWAIT 0x40
#define MSG_WAITALL 0x100
#define MSG_ERRQUEUE 0x2000
#define MSG_NOSIGNAL 0x4000
#define MSG_MORE 0x8000
#define MSG_FASTOPEN 0x20000000
#define MSG_CMSG_CLOEXEC 0x40000000

#define SCM_RIGHTS 1

#define F_GETFD 1
#define F_SETFD 2
#define F_GETFL 3
#define F_SETFL 4
#define F_DUPFD_CLOEXEC 1030
#define O_RDWR 02
#define O_NONBLOCK 04000
#define O_CLOEXEC 02000000
#define FD_CLOEXEC 1

#define POLLIN 0x1
#define POLLOUT 0x4
#define POLLERR 0x8
#define POLLHUP 0x10
#define POLLRDNORM 0x40

#define FIONREAD 0x541b
#define SIOCOUTQ 0x5411 /* TIOCOUTQ */
#define SIOCOUTQNSD 0x894b

#define AT_FDCWD (-100)
#define AT_EMPTY_PATH 0x1000
#define X_OK 1

#define MFD_CLOEXEC 1

#define RLIMIT_NOFILE 7

struct iovec {
	void *iov_base;
	size_t iov_len;
};

struct msghdr {
	void *msg_name;
	int msg_namelen;
	struct iovec *msg_iov;
	size_t msg_iovlen;
	void *msg_control;
	size_t msg_controllen;
	unsigned int msg_flags;
};

struct mmsghdr {
	struct msghdr msg_hdr;
	unsigned int msg_len;
};

/* One SCM_RIGHTS control message with room for two descriptors. */
struct nc_rights {
	size_t len;
	int level;
	int type;
	int fd[2];
};

#define NC_RIGHTS_LEN(n) (offsetof(struct nc_rights, fd) + (n) * sizeof(int))

struct pollfd {
	int fd;
	short events;
	short revents;
};

struct nc_time {
	int64_t sec;
	int64_t frac; /* microseconds in a timeval, nanoseconds in a timespec */
};

struct nc_rlimit {
	uint64_t soft;
	uint64_t hard;
};

struct sockaddr {
	uint16_t sa_family;
	char sa_data[14];
};

struct sockaddr_in {
	uint16_t sin_family;
	uint16_t sin_port;
	uint8_t sin_addr[4];
	uint8_t sin_zero[8];
};

struct sockaddr_in6 {
	uint16_t sin6_family;
	uint16_t sin6_port;
	uint32_t sin6_flowinfo;
	uint8_t sin6_addr[16];
	uint32_t sin6_scope_id;
};

/* The shortest sockaddr_in6 the kernel takes: without the scope (RFC 2133). */
#define SIN6_LEN_RFC2133 24

struct sockaddr_un {
	uint16_t sun_family;
	char sun_path[108];
};

/* sizeof(struct sockaddr_storage): the longest address the kernel takes. */
#define SOCKADDR_MAX 128

typedef uint32_t socklen_t;

_Static_assert(sizeof(struct sockaddr_in) == 16, "sockaddr_in");
_Static_assert(sizeof(struct sockaddr_in6) == 28, "sockaddr_in6");
_Static_assert(sizeof(struct msghdr) == 56, "msghdr");

#endif /* NETCON_PRELOAD_KERNEL_H */
