/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
//go:build ignore

/*
 * The filter on the NIC: what is the overlay's goes to an AF_XDP socket, the
 * rest to the host as if nobody were here.
 *
 *   Ethernet > IPv4 or IPv6 to this VTEP > UDP to an overlay port > redirect
 *
 * Only a whole, plain datagram is redirected. Whatever needs more thought is
 * passed: fragments, IPv4 options, IPv6 extension headers, VLAN tags. Lengths
 * and checksums inside the datagram are not looked at; who receives it does.
 *
 * Every frame is counted under exactly one verdict.
 */

#include "kernel.h"

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define MAX_PORTS 8

/* Set before the program is loaded, constants to the verifier. */
volatile const __u8 ip_version;		/* of the VTEP: 4 or 6 */
volatile const __be32 vtep[4];		/* IPv4: the first word */
volatile const __be16 ports[MAX_PORTS]; /* the first port_count of them */
volatile const __u8 port_count;

/* What becomes of a frame. All but REDIRECT pass it to the host. */
enum verdict {
	REDIRECT,	/* to the socket of its queue */
	PASS_NO_SOCKET, /* ours, but no socket has the queue */
	PASS_ETHERTYPE, /* not of the VTEP's IP version */
	PASS_VLAN,	/* tagged, IEEE 802.1Q or 802.1ad */
	PASS_SHORT,	/* headers not complete in the first buffer */
	PASS_HEADER,	/* IP version or header length is nonsense */
	PASS_ADDRESS,	/* to another address */
	PASS_PROTOCOL,	/* to the VTEP, not UDP */
	PASS_FRAGMENT,	/* to the VTEP, a fragment */
	PASS_OPTIONS,	/* to the VTEP, IPv4 options or IPv6 extension headers */
	PASS_PORT,	/* to the VTEP, UDP, not an overlay port */
	NUM_VERDICTS,
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, NUM_VERDICTS);
	__type(key, enum verdict);
	__type(value, __u64);
} verdicts SEC(".maps");

/* AF_XDP sockets by receive queue; the size is set before loading. */
struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} sockets SEC(".maps");

#define ETHERTYPE_IPV4 0x0800
#define ETHERTYPE_IPV6 0x86dd
#define ETHERTYPE_8021Q 0x8100
#define ETHERTYPE_8021AD 0x88a8
#define ETHERTYPE_QINQ 0x9100 /* 802.1ad before it was a standard */

#define IPV4_FRAGMENT 0x3fff /* more fragments, or an offset */

/* Protocols, and IPv6 extension headers (IANA: "IPv6 Extension Header Types"). */
#define NEXT_HOP_BY_HOP 0
#define NEXT_UDP 17
#define NEXT_ROUTING 43
#define NEXT_FRAGMENT 44
#define NEXT_ESP 50
#define NEXT_AH 51
#define NEXT_DESTINATION 60
#define NEXT_MOBILITY 135
#define NEXT_HIP 139
#define NEXT_SHIM6 140
#define NEXT_EXPERIMENT1 253
#define NEXT_EXPERIMENT2 254

struct ethernet {
	__u8 dst[6];
	__u8 src[6];
	__be16 type;
};

struct ipv4 { /* RFC 791 section 3.1 */
	__u8 version_ihl;
	__u8 tos;
	__be16 length;
	__be16 id;
	__be16 fragment;
	__u8 ttl;
	__u8 protocol;
	__be16 checksum;
	__be32 src;
	__be32 dst;
};

struct ipv6 { /* RFC 8200 section 3 */
	__u8 version;
	__u8 flow[3];
	__be16 length;
	__u8 next;
	__u8 hops;
	__be32 src[4];
	__be32 dst[4];
};

struct udp { /* RFC 768 */
	__be16 src;
	__be16 dst;
	__be16 length;
	__be16 checksum;
};

static __always_inline enum verdict udp_verdict(const struct udp *udp, const void *end)
{
	if ((const void *)(udp + 1) > end)
		return PASS_SHORT;
#pragma unroll
	for (int i = 0; i < MAX_PORTS; i++)
		if (i < port_count && udp->dst == ports[i])
			return REDIRECT;
	return PASS_PORT;
}

static __always_inline enum verdict ipv4_verdict(const struct ipv4 *ip, const void *end)
{
	if ((const void *)(ip + 1) > end)
		return PASS_SHORT;
	if (ip->version_ihl >> 4 != 4 || (ip->version_ihl & 0xf) < 5)
		return PASS_HEADER;
	if (ip->dst != vtep[0])
		return PASS_ADDRESS;
	if (ip->protocol != NEXT_UDP)
		return PASS_PROTOCOL;
	if (ip->fragment & bpf_htons(IPV4_FRAGMENT))
		return PASS_FRAGMENT;
	if ((ip->version_ihl & 0xf) > 5)
		return PASS_OPTIONS;
	return udp_verdict((const struct udp *)(ip + 1), end);
}

static __always_inline enum verdict ipv6_verdict(const struct ipv6 *ip, const void *end)
{
	if ((const void *)(ip + 1) > end)
		return PASS_SHORT;
	if (ip->version >> 4 != 6)
		return PASS_HEADER;
	if (ip->dst[0] != vtep[0] || ip->dst[1] != vtep[1] ||
	    ip->dst[2] != vtep[2] || ip->dst[3] != vtep[3])
		return PASS_ADDRESS;
	switch (ip->next) {
	case NEXT_UDP:
		return udp_verdict((const struct udp *)(ip + 1), end);
	case NEXT_FRAGMENT:
		return PASS_FRAGMENT;
	case NEXT_HOP_BY_HOP:
	case NEXT_ROUTING:
	case NEXT_ESP:
	case NEXT_AH:
	case NEXT_DESTINATION:
	case NEXT_MOBILITY:
	case NEXT_HIP:
	case NEXT_SHIM6:
	case NEXT_EXPERIMENT1:
	case NEXT_EXPERIMENT2:
		return PASS_OPTIONS;
	}
	return PASS_PROTOCOL;
}

static __always_inline enum verdict frame_verdict(const struct ethernet *eth, const void *end)
{
	if ((const void *)(eth + 1) > end)
		return PASS_SHORT;
	switch (eth->type) {
	case bpf_htons(ETHERTYPE_IPV4):
		if (ip_version == 4)
			return ipv4_verdict((const struct ipv4 *)(eth + 1), end);
		break;
	case bpf_htons(ETHERTYPE_IPV6):
		if (ip_version == 6)
			return ipv6_verdict((const struct ipv6 *)(eth + 1), end);
		break;
	case bpf_htons(ETHERTYPE_8021Q):
	case bpf_htons(ETHERTYPE_8021AD):
	case bpf_htons(ETHERTYPE_QINQ):
		return PASS_VLAN;
	}
	return PASS_ETHERTYPE;
}

SEC("xdp")
int netcon_overlay(struct xdp_md *ctx)
{
	const void *data = (const void *)(long)ctx->data;
	const void *end = (const void *)(long)ctx->data_end;
	enum verdict verdict = frame_verdict(data, end);
	int action = XDP_PASS;

	if (verdict == REDIRECT) {
		/* XDP_PASS is what an empty slot gives: the host has the frame. */
		action = bpf_redirect_map(&sockets, ctx->rx_queue_index, XDP_PASS);
		if (action != XDP_REDIRECT)
			verdict = PASS_NO_SOCKET;
	}
	__u64 *count = bpf_map_lookup_elem(&verdicts, &verdict);
	if (count)
		(*count)++; /* nobody else writes this CPU's */
	return action;
}

/* The kernel knows "GPL", and no name for what the first line says. */
char _license[] SEC("license") = "GPL";
