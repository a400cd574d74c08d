// SPDX-License-Identifier: Apache-2.0

// Package rtnetlink answers a program that asks the kernel for its interfaces,
// addresses and routes (AF_NETLINK, NETLINK_ROUTE): with those of its container.
//
// # Theory of operation
//
// Answer takes one datagram of requests and emits the datagrams of their answers,
// as rtnetlink_rcv_msg would: dumps of RTM_GETLINK, RTM_GETADDR and RTM_GETROUTE,
// one link by RTM_GETLINK, and NLMSG_ERROR for all else. The container has two
// interfaces: lo, and eth0 in its network.
//
// # Concurrency
//
// A Responder does not change: any goroutine may ask it.
//
// # Limits
//
// What programs send is hostile: a datagram is read up to the first message whose
// length does not fit, and up to requestsMax messages. An answer's datagrams fit
// into the page that the C library and Go read them into.
//
// # Not supported
//
// Changes, a single route (ip route get), statistics, neighbours, rules,
// notifications: EOPNOTSUPP. Filters in the header of a dump but the address
// family: programs that do not ask for strict checks do it themselves.
//
// # References
//
// rtnetlink(7), netlink(7), Linux net/netlink/af_netlink.c (netlink_rcv_skb),
// net/core/rtnetlink.c.
package rtnetlink
