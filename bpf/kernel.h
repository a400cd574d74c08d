/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
//go:build ignore

/*
 * The few things of include/uapi/linux/bpf.h that overlay.c uses. They are part
 * of the kernel's ABI and do not change. Having them here keeps the object
 * independent of the headers, and the architecture, of the machine it is built
 * on: <linux/bpf.h> wants <asm/types.h>, which a BPF target has none of.
 */
#ifndef NETCON_BPF_KERNEL_H
#define NETCON_BPF_KERNEL_H

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef signed int __s32;
typedef signed long long __s64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u32 __wsum;

/* enum bpf_map_type */
#define BPF_MAP_TYPE_PERCPU_ARRAY 6
#define BPF_MAP_TYPE_XSKMAP 17

enum xdp_action {
	XDP_ABORTED,
	XDP_DROP,
	XDP_PASS,
	XDP_TX,
	XDP_REDIRECT,
};

struct xdp_md {
	__u32 data;
	__u32 data_end;
	__u32 data_meta;
	__u32 ingress_ifindex;
	__u32 rx_queue_index;
	__u32 egress_ifindex;
};

#endif
