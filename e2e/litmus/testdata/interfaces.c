/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which interfaces and addresses a program sees. Link-local addresses, numbers and
 * MACs are not said: a veth has its own.
 */
#include "litmus.h"

#include <ifaddrs.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netpacket/packet.h>

#define FLAGS (IFF_UP | IFF_LOOPBACK | IFF_BROADCAST | IFF_RUNNING | IFF_MULTICAST | IFF_POINTOPOINT)

static void ip_text(char *to, const struct sockaddr *a)
{
	if (a->sa_family == AF_INET)
		inet_ntop(AF_INET, &((const struct sockaddr_in *)a)->sin_addr, to, 64);
	else
		inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)a)->sin6_addr, to, 64);
}

static int is_link_local(const struct sockaddr *a)
{
	return a->sa_family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL(&((const struct sockaddr_in6 *)a)->sin6_addr);
}

LITMUS(getifaddrs)
{
	struct ifaddrs *list, *i;
	char ip[64], mask[64];

	say("getifaddrs: %d", getifaddrs(&list));
	for (i = list; i; i = i->ifa_next) {
		if (!i->ifa_addr || is_link_local(i->ifa_addr))
			continue;
		if (i->ifa_addr->sa_family == AF_PACKET) {
			const struct sockaddr_ll *ll = (const void *)i->ifa_addr;

			say("%s: flags %#x, kind %d, %d bytes, number %d", i->ifa_name, i->ifa_flags & FLAGS, ll->sll_hatype,
			    ll->sll_halen, (unsigned)ll->sll_ifindex == if_nametoindex(i->ifa_name));
			continue;
		}
		ip_text(ip, i->ifa_addr);
		ip_text(mask, i->ifa_netmask);
		say("%s: flags %#x, %s netmask %s", i->ifa_name, i->ifa_flags & FLAGS, ip, mask);
	}
	freeifaddrs(list);
	freeifaddrs(NULL);
}

LITMUS(if_names)
{
	struct if_nameindex *list = if_nameindex();
	char name[IF_NAMESIZE];

	for (int i = 0; list && list[i].if_index; i++)
		say("%s: %d %d", list[i].if_name, list[i].if_index == if_nametoindex(list[i].if_name),
		    if_indextoname(list[i].if_index, name) == name && !strcmp(name, list[i].if_name));
	if_freenameindex(list);
	errno = 0;
	say("no such name: %u, no device: %d", if_nametoindex("nosuch0"), errno == ENODEV);
	errno = 0;
	say("no such number: %d, no address: %d", if_indextoname(4711, name) != NULL, errno == ENXIO);
	say("long name: %u", if_nametoindex("a name that is far too long"));
}

/* The call comes before what is said of its outcome. */
#define CALLED(call) (errno = 0, snprintf(outcome, sizeof outcome, "%s", R(call)))

static void ask(int fd, const char *name)
{
	struct ifreq r = { 0 };
	char ip[64] = "", outcome[64];

	strcpy(r.ifr_name, name);
	CALLED(ioctl(fd, SIOCGIFFLAGS, &r));
	say("%s SIOCGIFFLAGS: %s %#x", name, outcome, r.ifr_flags & FLAGS);
	say("%s SIOCGIFADDR: %s", name, R(ioctl(fd, SIOCGIFADDR, &r)));
	ip_text(ip, &r.ifr_addr);
	say("%s %s", name, ip);
	say("%s SIOCGIFNETMASK: %s", name, R(ioctl(fd, SIOCGIFNETMASK, &r)));
	ip_text(ip, &r.ifr_netmask);
	say("%s %s", name, ip);
	CALLED(ioctl(fd, SIOCGIFHWADDR, &r));
	say("%s SIOCGIFHWADDR: %s %d", name, outcome, r.ifr_hwaddr.sa_family);
	CALLED(ioctl(fd, SIOCGIFMTU, &r));
	say("%s SIOCGIFMTU: %s %d", name, outcome, r.ifr_mtu >= 1280);
	CALLED(ioctl(fd, SIOCGIFMETRIC, &r));
	say("%s SIOCGIFMETRIC: %s %d", name, outcome, r.ifr_metric);
	CALLED(ioctl(fd, SIOCGIFINDEX, &r));
	say("%s SIOCGIFINDEX: %s %d", name, outcome, (unsigned)r.ifr_ifindex == if_nametoindex(name));
	memset(r.ifr_name, 0, sizeof r.ifr_name);
	CALLED(ioctl(fd, SIOCGIFNAME, &r));
	say("%s SIOCGIFNAME: %s %s", name, outcome, r.ifr_name);
}

LITMUS(ifreq)
{
	int fd = tcp();
	struct ifreq list[8], r = { 0 };
	struct ifconf conf = { .ifc_len = sizeof list, .ifc_req = list };
	char ip[64], outcome[64];

	say("SIOCGIFCONF: %s", R(ioctl(fd, SIOCGIFCONF, &conf)));
	for (size_t i = 0; i < (size_t)conf.ifc_len / sizeof *list; i++) {
		ip_text(ip, &list[i].ifr_addr);
		say("%s %s", list[i].ifr_name, ip);
	}
	conf.ifc_len = sizeof *list + 1;
	CALLED(ioctl(fd, SIOCGIFCONF, &conf));
	say("SIOCGIFCONF for one: %s %d", outcome, conf.ifc_len == sizeof *list);
	conf.ifc_len = -1;
	CALLED(ioctl(fd, SIOCGIFCONF, &conf));
	say("SIOCGIFCONF for less: %s %d", outcome, conf.ifc_len);
	conf.ifc_len = -1; /* the JDK sets none */
	conf.ifc_req = NULL;
	CALLED(ioctl(fd, SIOCGIFCONF, &conf));
	say("SIOCGIFCONF for none: %s %d", outcome, conf.ifc_len == 2 * sizeof *list);
	ask(fd, "lo");
	ask(fd, "eth0");
	strcpy(r.ifr_name, "nosuch0");
	say("no such name: %s", R(ioctl(fd, SIOCGIFADDR, &r)));
	r.ifr_ifindex = 4711;
	say("no such number: %s", R(ioctl(fd, SIOCGIFNAME, &r)));
	close(fd);
	say("closed: %s", R(ioctl(fd, SIOCGIFADDR, &r)));
}

/* A dump as programs make it that speak netlink themselves. */
static void dump(int fd, int kind, int family)
{
	struct {
		struct nlmsghdr h;
		struct rtgenmsg g;
	} rq = { .h = { .nlmsg_len = NLMSG_LENGTH(sizeof rq.g), .nlmsg_type = kind, .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP,
			.nlmsg_seq = 7 }, .g = { .rtgen_family = family } };
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK }, self = { 0 }, from;
	socklen_t len = sizeof self;
	struct iovec iov = { &rq, sizeof rq };
	struct msghdr msg = { .msg_name = &kernel, .msg_namelen = sizeof kernel, .msg_iov = &iov, .msg_iovlen = 1 };
	static char buf[16384];
	int n = 0, good = 0, done = 0;
	char outcome[64];

	CALLED(getsockname(fd, (void *)&self, &len));
	say("getsockname: %s %d", outcome, len == sizeof self && self.nl_family == AF_NETLINK && self.nl_pid);
	if (family == AF_INET)
		say("sendmsg: %s", R(sendmsg(fd, &msg, 0)));
	else
		say("sendto: %s", R(sendto(fd, &rq, sizeof rq, 0, (void *)&kernel, sizeof kernel)));
	while (!done) {
		struct nlmsghdr *h;
		ssize_t got;

		memset(&from, 0xff, sizeof from);
		iov = (struct iovec){ buf, sizeof buf };
		msg = (struct msghdr){ .msg_name = &from, .msg_namelen = sizeof from, .msg_iov = &iov, .msg_iovlen = 1 };
		got = recvmsg(fd, &msg, 0);
		NEED(got > 0);
		good += msg.msg_namelen == sizeof from && from.nl_pid == 0 && from.nl_groups == 0;
		n++;
		for (h = (void *)buf; NLMSG_OK(h, got); h = NLMSG_NEXT(h, got)) {
			done |= h->nlmsg_type == NLMSG_DONE || h->nlmsg_type == NLMSG_ERROR;
			if (h->nlmsg_pid != self.nl_pid || h->nlmsg_seq != 7)
				say("pid or number wrong");
			if (h->nlmsg_type == NLMSG_ERROR)
				say("error: %d", ((struct nlmsgerr *)NLMSG_DATA(h))->error);
		}
	}
	say("sender: %d", good == n);
}

LITMUS(netlink)
{
	struct sockaddr_nl self = { .nl_family = AF_NETLINK };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), other;

	say("bind: %s", R(bind(fd, (void *)&self, sizeof self)));
	dump(fd, RTM_GETLINK, 0);
	dump(fd, RTM_GETADDR, AF_INET);
	dump(fd, RTM_GETADDR, AF_INET6);
	dump(fd, RTM_GETROUTE, AF_INET);
	other = dup(fd);
	close(fd);
	dump(other, RTM_GETLINK, 0);
	say("close: %s", R(close(other)));
	fd = socket(AF_NETLINK, SOCK_DGRAM, NETLINK_ROUTE);
	self.nl_pid = 471100;
	say("bind to a number: %s", R(bind(fd, (void *)&self, sizeof self)));
	dump(fd, RTM_GETLINK, 0);
	close(fd);
}
