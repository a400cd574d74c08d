/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The contract between applications and the dataplane. This file is the
 * truth: the Go view (abi_types.go) is generated from it, and the shim
 * (preload/) includes it.
 *
 * Attach. A process tree belongs to a container through one connected
 * AF_UNIX SOCK_SEQPACKET socket, the attach socket. The launcher connects to
 * the daemon's attach path, sends one struct nc_attach and receives one struct
 * nc_reply (value: enum nc_missing, opt: the container's name); from then on the
 * socket stands for the container and is inherited by the whole tree. The
 * environment carries what the shim needs:
 *
 *	NETCON_ATTACH	"FD:COOKIE"	number and SO_COOKIE (decimal) of that
 *					socket; the shim uses FD only while its
 *					cookie still matches
 *	NETCON_SOCKET	path of the attach socket, and
 *	NETCON_CONTAINER	name of the container: where the shim attaches again
 *					when that fd was closed (closefrom) or the
 *					daemon was restarted
 *	NETCON_LAUNCHER	the launcher: it starts programs that the shim cannot be
 *			loaded into
 *	NETCON_MISSING	"fail" | "kernel"	what socket() does when the
 *					daemon is gone: ENETDOWN, or the host's
 *					stack
 *
 * Requests. Many processes share the attach socket, so an answer never comes
 * back on it. A request is one struct nc_request with SCM_RIGHTS: first the
 * reply socket (one end of a fresh AF_UNIX SOCK_SEQPACKET pair), then, for
 * NC_SOCKET and NC_REVIVE, the daemon's end of the new virtual socket. The answer is one
 * struct nc_reply on the reply socket. If the daemon dies, both read as EOF.
 *
 * Virtual sockets. Each virtual TCP socket is one end of an AF_UNIX
 * SOCK_STREAM pair; its identity is the kernel's SO_COOKIE of the
 * application's end. Bytes of a connection travel through the pair. A
 * listener's pair carries one struct nc_accept and one fd (SCM_RIGHTS, the
 * application's end of the new connection) per accepted connection. One byte
 * lies in that end, which accept takes: a connection that is closed with it was
 * never accepted and is reset. A listener
 * that is shut down gets a record without fd, which wakes one who sleeps in
 * accept; that one asks for the next.
 *
 * A connect that does not block: before NC_CONNECT the shim fills its end with
 * zero bytes until poll says not writable, and tells how many it wrote
 * (filler). The daemon takes exactly that many bytes from its end when the
 * connection is established, which makes the application's end writable again.
 *
 * Datagram sockets (UDP, and ICMP of SOCK_DGRAM and SOCK_RAW) are AF_UNIX
 * SOCK_SEQPACKET pairs: those keep boundaries, and tell the last close, which
 * SOCK_DGRAM does not. Every record, both ways, is one struct nc_datagram and the
 * payload, which may be empty. What does not fit into the pair towards the
 * application is dropped and counted. A record with an error is no datagram: the
 * call that comes upon it fails with that error, be it one that receives or, on a
 * socket with a peer, one that sends and finds it at the head of the queue.
 * A record of the application that does not begin with the magic is a datagram to
 * the socket's peer: stdio writes by no call that the shim could see.
 *
 * The daemon takes what lies in a pair before it carries out a request about the
 * socket: what was sent before the request was made, was sent before. So the
 * outcome of a send is asked for by NC_VERDICT after it: the shim does where the
 * destination is new to the socket.
 *
 * A socket that asks for interfaces (AF_NETLINK, NETLINK_ROUTE) is one end of an
 * AF_UNIX SOCK_SEQPACKET pair: its records are datagrams of netlink, and an
 * address given to a send is ignored by the kernel. Who makes the pair binds the
 * daemon's end to an abstract name that looks like a sockaddr_nl of port id 0, so
 * that native receives name a sender of the right length.
 */
#ifndef NETCON_SHM_ABI_H
#define NETCON_SHM_ABI_H

#include <linux/types.h>

#define NC_MAGIC	0x6e433033u	/* "nC03": the last two are the version */

#define NC_NAME_MAX	64		/* a container's name with its NUL */
#define NC_OPT_MAX	256		/* the longest socket option value */

/* What socket() does when the daemon is gone. */
enum nc_missing {
	NC_MISSING_FAIL,	/* ENETDOWN */
	NC_MISSING_KERNEL	/* the host's stack */
};

/* Requests. In parentheses: what is used beside cookie. */
enum nc_op {
	NC_SOCKET = 1,		/* make a socket (family, level: type, 0 is
				 * SOCK_STREAM, option: protocol, fd): ENOBUFS, EMFILE */
	NC_BIND,		/* bind (addr, value: its length) */
	NC_LISTEN,		/* listen (value: backlog) */
	NC_CONNECT,		/* connect (addr, value: its length, flags, filler) */
	NC_SHUTDOWN,		/* shutdown (value: SHUT_RD, SHUT_WR, SHUT_RDWR); with
				 * NC_F_PROBE: I woke from accept, wake the next */
	NC_GETSOCKNAME,		/* local address; reply.addr */
	NC_GETPEERNAME,		/* peer's address; reply.addr */
	NC_GETSOCKOPT,		/* (level, option, optlen: room); reply.opt */
	NC_SETSOCKOPT,		/* (level, option, optlen, opt) */
	NC_TAKE_ERROR,		/* a read (value 0) or write (value 1) saw the end:
				 * reply.value is the error it is to fail with,
				 * which is taken, or 0 */
	NC_OUTQ,		/* bytes not acknowledged (value 0) or not sent yet
				 * (value 1): reply.value */
	NC_REVIVE,		/* cookie's connect failed and it ended: successor
				 * takes its family, options and address (fd) */
	NC_VERDICT,		/* the error of the last datagram with NC_D_REPORT */
	NC_ERROR_QUEUE,		/* the oldest entry of the error queue: reply.addr is
				 * where the datagram went, reply.opt struct nc_cause
				 * and what was quoted of the payload; EAGAIN */
	NC_PUBLISH,		/* no cookie. While the attach socket is open, the host
				 * listens on addr for the container's port value (option:
				 * IPPROTO_UDP, or IPPROTO_TCP or 0): EACCES, EADDRINUSE,
				 * EADDRNOTAVAIL, EPERM, EMFILE */
	NC_NETLINK,		/* make a socket that asks for interfaces (value: its
				 * port id, fd). NC_BIND (addr.scope: port id) and
				 * NC_GETSOCKNAME (the same) know it too */
	NC_RESOLVE,		/* no cookie. Addresses of the name in opt (optlen, without
				 * NUL) of family (AF_UNSPEC: both): value times struct
				 * nc_found in reply.opt; or, with addr, its name in
				 * reply.opt. ENOENT: there is none such, ENODATA: nothing
				 * of that family, EAGAIN: nobody knows now */
	NC_OP_END
};

/*
 * The value of SO_MAX_PACING_RATE on the application's end, which says that the
 * socket is virtual (preload/mark.h), and what for.
 */
enum nc_mark {
	NC_MARK_NONE = 0,
	NC_MARK_FRESH = 0x6e634d01,	/* from socket(); no connect was tried */
	NC_MARK_TIMED,			/* the same, SO_RCVTIMEO is the application's */
	NC_MARK_USED,			/* a connect was tried, or it came from accept() */
	NC_MARK_LISTEN,			/* the pair carries struct nc_accept */
	NC_MARK_SHUT,			/* was a listener, and may be one again */
	NC_MARK_DATAGRAM = 0x6e634e00,	/* a datagram socket, with the bits that follow */
	NC_MARK_DATAGRAM_END = NC_MARK_DATAGRAM + 0x20
};

/* Bits of NC_MARK_DATAGRAM. */
#define NC_MARK_SIX	0x01	/* AF_INET6 */
#define NC_MARK_PEER	0x02	/* connected */
#define NC_MARK_MUTE	0x04	/* shut down for sending */
#define NC_MARK_PING	0x08	/* SOCK_DGRAM of ICMP */
#define NC_MARK_RAW	0x10	/* SOCK_RAW of ICMP */

/* The same of a socket that asks for interfaces. */
#define NC_MARK_NETLINK	0x6e634f01u

/* A datagram socket whose other end is a supervisor: bare payloads. */
#define NC_MARK_PLAIN	0x6e634f02u

/*
 * getsockopt(any, NC_PROBE_LEVEL, 0) answers NC_PROBE_ANSWER to a process whose
 * system calls are supervised; no kernel has such a level.
 */
#define NC_PROBE_LEVEL	0x6e43
#define NC_PROBE_ANSWER	0x6e43

/*
 * Flags of sendmsg, recvmsg and their like of several messages (MSG_FIN, MSG_SYN
 * and MSG_RST, which no program sets and AF_UNIX ignores) by which the preload
 * library says that it knows the descriptor: a supervisor's filter lets the call
 * pass.
 */
#define NC_MSG_OWN	0x1600

/* nc_request.flags */
#define NC_F_WAIT	0x1u	/* NC_CONNECT: answer when it is decided */
#define NC_F_PROBE	0x2u	/*
				 * NC_CONNECT: start nothing, only say whether a
				 * connect could start now (0), else answer as
				 * NC_CONNECT would: EALREADY, EISCONN, or the
				 * pending error of the last attempt, which is
				 * taken. Asked, with filler 0, where a connect
				 * was tried before: filler must not get into a
				 * stream that lives
				 */

#define NC_F_HOLD	0x4u	/*
				 * NC_CONNECT: start nothing. While it is not
				 * decided, read nothing from the pair any more:
				 * EALREADY, filler follows. Else 0
				 */
#define NC_F_FILLED	0x8u	/* NC_CONNECT: after NC_F_HOLD, this is the filler */
#define NC_F_SUPERVISED	0x10u	/* NC_SOCKET, NC_REVIVE: by a supervisor, for the
				 * process value, which is shown and not relied on */

/*
 * nc_reply.error beside kernel error numbers. NC_NOT_OURS: the cookie names no
 * virtual socket of this container, the call is the kernel's.
 */
#define NC_NOT_OURS	(-1)

/* An address: family is AF_INET, AF_INET6 or 0 for none. */
struct nc_addr {
	__u16 family;
	__u16 port;		/* network byte order */
	__u32 flowinfo;		/* network byte order */
	__u8 ip[16];		/* network byte order; IPv4 in the first four */
	__u32 scope;
	__u32 pad;
};

struct nc_attach {
	__u32 magic;
	__u32 inode;		/* of the attach socket where the sender holds it: who
				 * has it open is in the container. 0: not told */
	char container[NC_NAME_MAX];	/* NUL-terminated; empty: the default one */
};

struct nc_request {
	__u32 magic;
	__u16 op;		/* enum nc_op */
	__u16 family;		/* AF_INET or AF_INET6 */
	__u64 cookie;		/* SO_COOKIE of the application's end */
	__s32 value;
	__u32 flags;
	__s32 level;
	__s32 option;
	__u32 optlen;
	__u32 filler;		/* bytes of filler in the pair */
	__u64 successor;	/* SO_COOKIE of another application's end */
	struct nc_addr addr;
	__u8 opt[NC_OPT_MAX];
};

struct nc_reply {
	__u32 magic;
	__s32 error;		/* 0, a kernel error number, or NC_NOT_OURS */
	__s32 value;
	__u32 optlen;
	struct nc_addr addr;
	__u8 opt[NC_OPT_MAX];
};

/* Found by NC_RESOLVE. */
struct nc_found {
	__u16 family;
	__u16 pad;
	__u8 ip[16];		/* network byte order; IPv4 in the first four */
};

struct nc_accept {
	__u32 magic;
	__u32 ended;		/* no connection: the listener was shut down */
	__u64 cookie;		/* SO_COOKIE of the fd that comes along */
	struct nc_addr peer;
	struct nc_addr local;
};

/* nc_datagram.flags of what is sent */
#define NC_D_TTL	0x1u	/* ttl is that of this datagram */
#define NC_D_TOS	0x2u	/* so is tos */
#define NC_D_REPORT	0x4u	/* NC_VERDICT follows */

/*
 * nc_datagram.flags of what is received: what the application asked to be told,
 * as control messages.
 */
#define NC_D_WANT_PKTINFO	0x00100u	/* IP_PKTINFO */
#define NC_D_WANT_TTL		0x00200u	/* IP_RECVTTL */
#define NC_D_WANT_TOS		0x00400u	/* IP_RECVTOS */
#define NC_D_WANT_ORIGDST	0x00800u	/* IP_RECVORIGDSTADDR */
#define NC_D_WANT_PKTINFO6	0x01000u	/* IPV6_RECVPKTINFO */
#define NC_D_WANT_HOPLIMIT	0x02000u	/* IPV6_RECVHOPLIMIT */
#define NC_D_WANT_TCLASS	0x04000u	/* IPV6_RECVTCLASS */
#define NC_D_WANT_STAMP		0x08000u	/* SO_TIMESTAMP */
#define NC_D_WANT_STAMPNS	0x10000u	/* SO_TIMESTAMPNS */
#define NC_D_WANT_STAMP_NEW	0x20000u	/* SO_TIMESTAMP_NEW */
#define NC_D_WANT_STAMPNS_NEW	0x40000u	/* SO_TIMESTAMPNS_NEW */
#define NC_D_WANT_OVERFLOW	0x80000u	/* SO_RXQ_OVFL */
#define NC_D_WANT_ORIGDST6	0x100000u	/* IPV6_RECVORIGDSTADDR */
#define NC_D_WANT_HOPLIMIT_OLD	0x200000u	/* IPV6_2292HOPLIMIT */
#define NC_D_EVENT		0x1u		/* no datagram and no error: something is
						 * in the error queue */

/* What precedes the payload of a datagram. */
struct nc_datagram {
	__u32 magic;
	__u32 flags;
	__s32 error;		/* received: no datagram, but this error */
	__u32 drops;		/* received: how many the pair had no room for */
	struct nc_addr remote;	/* sender, or destination; family 0: the peer */
	struct nc_addr local;	/* destination of what was received (scope: interface),
				 * or the source asked for; family 0: none */
	__u64 cookie;		/* received: SO_COOKIE of the application's end */
	__u64 time;		/* received: nanoseconds since 1970, 0: not asked for */
	__u8 ttl;
	__u8 tos;
	__u8 pad[6];
};

/* struct sock_extended_err and who is to blame. */
struct nc_cause {
	__u32 error;
	__u8 origin;
	__u8 type;
	__u8 code;
	__u8 pad;
	__u32 info;
	__u32 quoted;		/* bytes of payload that follow */
	struct nc_addr offender;	/* family 0: none */
};

/* The longest payload there is. */
#define NC_PAYLOAD_MAX	65535

_Static_assert(sizeof(struct nc_addr) == 32, "nc_addr");
_Static_assert(sizeof(struct nc_attach) == 72, "nc_attach");
_Static_assert(sizeof(struct nc_request) == 336, "nc_request");
_Static_assert(sizeof(struct nc_reply) == 304, "nc_reply");
_Static_assert(sizeof(struct nc_accept) == 80, "nc_accept");
_Static_assert(sizeof(struct nc_found) == 20, "nc_found");
_Static_assert(sizeof(struct nc_datagram) == 104, "nc_datagram");
_Static_assert(sizeof(struct nc_cause) == 48, "nc_cause");

#endif /* NETCON_SHM_ABI_H */
