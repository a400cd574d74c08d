/* SPDX-License-Identifier: Apache-2.0 */
/* Datagrams to groups and to everybody. */
#include "dgram.h"

LITMUS(dgram_multicast)
{
	struct ip_mreqn group = { 0 };
	struct sockaddr_in dest;
	int a = udp_at("0.0.0.0"), b = udp(), c = udp(), second = udp();
	char x[8];

	inet_pton(AF_INET, "239.1.2.3", &group.imr_multiaddr);
	inet_pton(AF_INET, "10.42.0.1", &group.imr_address);
	dest = at("239.1.2.3", port_of(a));
	say("join: %s", R(setsockopt(a, IPPROTO_IP, IP_ADD_MEMBERSHIP, &group, sizeof group)));
	say("again: %s", R(setsockopt(a, IPPROTO_IP, IP_ADD_MEMBERSHIP, &group, sizeof group)));
	say("interface: %s", R(setsockopt(b, IPPROTO_IP, IP_MULTICAST_IF, &group.imr_address, 4)));
	say("send: %s", R(sendto(b, "group", 5, 0, (struct sockaddr *)&dest, sizeof dest)));
	say_received("member", a);
	set_option(a, IPPROTO_IP, IP_RECVTTL, 1);
	set_option(b, IPPROTO_IP, IP_MULTICAST_TTL, 5);
	say("send: %s", R(sendto(b, "ttl", 3, 0, (struct sockaddr *)&dest, sizeof dest)));
	say_message("member", a, 512);
	say("loop off: %s", set_option(b, IPPROTO_IP, IP_MULTICAST_LOOP, 0));
	say("send: %s", R(sendto(b, "quiet", 5, 0, (struct sockaddr *)&dest, sizeof dest)));
	settle();
	say("member: %s", R(recv(a, x, 8, MSG_DONTWAIT)));
	set_option(b, IPPROTO_IP, IP_MULTICAST_LOOP, 1);
	set_option(a, SOL_SOCKET, SO_REUSEADDR, 1);
	set_option(second, SOL_SOCKET, SO_REUSEADDR, 1);
	say("second bind: %s", R(bind_to(second, "0.0.0.0", port_of(a))));
	say("second join: %s", R(setsockopt(second, IPPROTO_IP, IP_ADD_MEMBERSHIP, &group, sizeof group)));
	say("send: %s", R(sendto(b, "all", 3, 0, (struct sockaddr *)&dest, sizeof dest)));
	say_message("first of all", a, 512);
	say_received("second of all", second);
	say("leave: %s", R(setsockopt(a, IPPROTO_IP, IP_DROP_MEMBERSHIP, &group, sizeof group)));
	say("leave again: %s", R(setsockopt(a, IPPROTO_IP, IP_DROP_MEMBERSHIP, &group, sizeof group)));
	inet_pton(AF_INET, "10.1.2.3", &group.imr_multiaddr);
	say("no group: %s", R(setsockopt(c, IPPROTO_IP, IP_ADD_MEMBERSHIP, &group, sizeof group)));
	NEED(setsockopt(c, IPPROTO_IP, IP_MULTICAST_IF, &group.imr_address, 4) == 0);
	say("connect: %s", R(dial(c, "239.1.2.3", 99)));
	say("bind to group: %s", R(bind_to(udp(), "239.1.2.3", 0)));
}

LITMUS(dgram_multicast6)
{
	struct ipv6_mreq group = { .ipv6mr_interface = 0 };
	struct sockaddr_in6 dest;
	int a = udp6_at("::"), b = udp6_at("fd42::1");

	inet_pton(AF_INET6, "ff15::42", &group.ipv6mr_multiaddr);
	dest = at6("ff15::42", port_of(a));
	say("join: %s", R(setsockopt(a, IPPROTO_IPV6, IPV6_JOIN_GROUP, &group, sizeof group)));
	say("again: %s", R(setsockopt(a, IPPROTO_IPV6, IPV6_JOIN_GROUP, &group, sizeof group)));
	say("send: %s", R(sendto(b, "group", 5, 0, (struct sockaddr *)&dest, sizeof dest)));
	say_received("member", a);
	say("leave: %s", R(setsockopt(a, IPPROTO_IPV6, IPV6_LEAVE_GROUP, &group, sizeof group)));
	say("leave again: %s", R(setsockopt(a, IPPROTO_IPV6, IPV6_LEAVE_GROUP, &group, sizeof group)));
}

LITMUS(dgram_broadcast)
{
	int a = udp_at("0.0.0.0"), b = udp();

	set_option(a, IPPROTO_IP, IP_PKTINFO, 0);
	say("not allowed: %s", R(to(b, "x", 1, "10.42.0.255", port_of(a))));
	say("SO_BROADCAST: %s", set_option(b, SOL_SOCKET, SO_BROADCAST, 1));
	say("allowed: %s", R(to(b, "all", 3, "10.42.0.255", port_of(a))));
	say_received("all", a);
}
