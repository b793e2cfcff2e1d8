/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * libnl's attribute parser, not its route objects: those know no nexthop
 * objects and no blackholes with an interface, and take two routes that differ
 * only in their next hop for one.
 */

#include "nl_parse.h"

#include <string.h>

#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>

#include <netlink/attr.h>

/** States in which the MAC may be used. */
#define NUD_USABLE (NUD_PERMANENT | NUD_NOARP | NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE)

bool
nl_watched(const struct nl_watch *watch, unsigned int ifindex)
{
	for (unsigned int i = 0; i < watch->n; i++)
		if (watch->ifindex[i] == ifindex)
			return true;
	return false;
}

static bool
is_ip(int family)
{
	return family == AF_INET || family == AF_INET6;
}

/** An attribute that is an address of this family. */
static bool
get_addr(struct nlattr *attr, uint8_t family, struct gw_addr *addr)
{
	memset(addr, 0, sizeof(*addr));
	if (attr == NULL || !is_ip(family) || (size_t)nla_len(attr) < gw_addr_len(family))
		return false;
	addr->family = family;
	memcpy(&addr->a, nla_data(attr), gw_addr_len(family));
	return true;
}

static bool
is_multicast(const struct gw_addr *a)
{
	return a->family == AF_INET ? IN_MULTICAST(ntohl(a->a.ip4)) : a->a.ip6[0] == 0xff;
}

/** fe80::/10: every port has it; never routed, so not for the FIB. */
static bool
is_link_local6(const struct gw_addr *a)
{
	return a->family == AF_INET6 && a->a.ip6[0] == 0xfe && (a->a.ip6[1] & 0xc0) == 0x80;
}

static void
set_key(struct nl_key *key, const struct gw_addr *addr, uint8_t len, uint32_t number)
{
	memset(key, 0, sizeof(*key));
	memcpy(key->addr, &addr->a, gw_addr_len(addr->family));
	key->family = addr->family;
	key->len = len;
	key->number = number;
}

/** What a hop is to us; the greater is the better one. */
enum hop {
	HOP_DEAD,
	HOP_FOREIGN,
	HOP_OURS,
};

/** A router of another family (RFC 5549); false: none that we know. */
static bool
get_via(struct nlattr *attr, struct gw_addr *addr)
{
	const struct rtvia *via = nla_data(attr);
	size_t len;

	if ((size_t)nla_len(attr) < sizeof(*via) || !is_ip(via->rtvia_family))
		return false;
	len = gw_addr_len((uint8_t)via->rtvia_family);
	if ((size_t)nla_len(attr) < sizeof(*via) + len)
		return false;
	addr->family = (uint8_t)via->rtvia_family;
	memcpy(&addr->a, via->rtvia_addr, len);
	return true;
}

/** One hop, of a route or of a part of a multipath route: taken if it is better than @p best. */
static enum hop
get_hop(struct nlattr *tb[], uint8_t family, unsigned int ifindex, unsigned int flags,
		const struct nl_watch *watch, enum hop best, struct gw_nl_route *r)
{
	enum hop hop = nl_watched(watch, ifindex) ? HOP_OURS : HOP_FOREIGN;
	struct gw_addr via;

	if ((flags & RTNH_F_DEAD) != 0)
		return best;
	/* MPLS, seg6 and the like: the packet would have to leave with another header */
	if (tb[RTA_ENCAP] != NULL)
		hop = HOP_FOREIGN;
	get_addr(tb[RTA_GATEWAY], family, &via);
	if (tb[RTA_VIA] != NULL && !get_via(tb[RTA_VIA], &via))
		hop = HOP_FOREIGN;
	if (hop <= best)
		return best;
	r->via = via;
	r->ifindex = ifindex;
	r->type = hop == HOP_OURS ? GW_NL_UNICAST : GW_NL_FOREIGN;
	return hop;
}

/** The first hop that is ours, else the first; all are counted. */
static enum hop
get_multipath(struct nlattr *multi, uint8_t family, const struct nl_watch *watch,
		struct nl_item *item)
{
	struct rtnexthop *nh = nla_data(multi);
	int left = nla_len(multi);
	enum hop best = HOP_DEAD;

	/* RTNH_OK() reads before it looks how much is left */
	for (; left >= (int)sizeof(*nh) && RTNH_OK(nh, left); nh = RTNH_NEXT(nh)) {
		struct nlattr *tb[RTA_MAX + 1];
		int len = (int)(nh->rtnh_len - RTNH_LENGTH(0));

		item->n_hops++;
		if (nla_parse(tb, RTA_MAX, (struct nlattr *)RTNH_DATA(nh), len, NULL) == 0)
			best = get_hop(tb, family, (unsigned int)nh->rtnh_ifindex, nh->rtnh_flags,
					watch, best, &item->route);
		left -= (int)RTNH_ALIGN(nh->rtnh_len);
	}
	return best;
}

static enum nl_parsed
get_target(const struct rtmsg *rtm, struct nlattr *tb[], const struct nl_watch *watch,
		struct nl_item *item)
{
	struct gw_nl_route *r = &item->route;
	/* no interface: a nexthop object that the kernel does not spell out, so we cannot follow */
	unsigned int ifindex = tb[RTA_OIF] != NULL ? nla_get_u32(tb[RTA_OIF]) : 0;
	enum hop hop;

	switch (rtm->rtm_type) {
	case RTN_UNICAST:
		if (tb[RTA_MULTIPATH] != NULL)
			hop = get_multipath(tb[RTA_MULTIPATH], rtm->rtm_family, watch, item);
		else
			hop = get_hop(tb, rtm->rtm_family, ifindex, rtm->rtm_flags, watch, HOP_DEAD,
					r);
		return hop == HOP_DEAD ? NL_KEY : NL_ITEM;
	case RTN_BLACKHOLE:
	case RTN_UNREACHABLE:
	case RTN_PROHIBIT:
	case RTN_THROW:
		r->type = GW_NL_BLACKHOLE;
		return NL_ITEM;
	default:
		/* for the kernel itself (local, broadcast, anycast) */
		r->ifindex = ifindex;
		r->type = GW_NL_FOREIGN;
		return NL_ITEM;
	}
}

enum nl_parsed
nl_parse_route(struct nlmsghdr *h, const struct nl_watch *watch, struct nl_item *item)
{
	struct gw_nl_route *r = &item->route;
	struct nlattr *tb[RTA_MAX + 1];
	const struct rtmsg *rtm = nlmsg_data(h);
	uint32_t table;

	memset(item, 0, sizeof(*item));
	if (nlmsg_parse(h, sizeof(*rtm), tb, RTA_MAX, NULL) < 0 || !is_ip(rtm->rtm_family))
		return NL_IGNORE;
	table = tb[RTA_TABLE] != NULL ? nla_get_u32(tb[RTA_TABLE]) : rtm->rtm_table;
	if (table != RT_TABLE_MAIN || (rtm->rtm_flags & RTM_F_CLONED) != 0)
		return NL_IGNORE;
	/* by TOS (IPv4), by source (IPv6): each would need another kind of lookup */
	if (rtm->rtm_src_len != 0 || (rtm->rtm_family == AF_INET && rtm->rtm_tos != 0))
		return NL_IGNORE;
	if (!get_addr(tb[RTA_DST], rtm->rtm_family, &r->dst.addr)) {
		r->dst.addr.family = rtm->rtm_family;
		if (rtm->rtm_dst_len != 0)
			return NL_IGNORE;
	}
	r->dst.len = rtm->rtm_dst_len;
	if (r->dst.len > 8 * gw_addr_len(rtm->rtm_family))
		return NL_IGNORE;
	if (r->dst.len >= 4 && is_multicast(&r->dst.addr))
		return NL_IGNORE;
	if (r->dst.len >= 10 && is_link_local6(&r->dst.addr))
		return NL_IGNORE;
	r->metric = tb[RTA_PRIORITY] != NULL ? nla_get_u32(tb[RTA_PRIORITY]) : 0;
	r->protocol = rtm->rtm_protocol;
	set_key(&item->key, &r->dst.addr, r->dst.len, r->metric);
	return get_target(rtm, tb, watch, item);
}

enum nl_parsed
nl_parse_neigh(struct nlmsghdr *h, const struct nl_watch *watch, struct nl_item *item)
{
	struct gw_nl_neigh *n = &item->neigh;
	struct nlattr *tb[NDA_MAX + 1];
	const struct ndmsg *ndm = nlmsg_data(h);

	memset(item, 0, sizeof(*item));
	if (nlmsg_parse(h, sizeof(*ndm), tb, NDA_MAX, NULL) < 0)
		return NL_IGNORE;
	if (!nl_watched(watch, (unsigned int)ndm->ndm_ifindex) || (ndm->ndm_flags & NTF_PROXY) != 0)
		return NL_IGNORE;
	if (!get_addr(tb[NDA_DST], ndm->ndm_family, &n->addr) || is_multicast(&n->addr))
		return NL_IGNORE;
	n->ifindex = (unsigned int)ndm->ndm_ifindex;
	n->state = ndm->ndm_state;
	if (tb[NDA_LLADDR] != NULL && nla_len(tb[NDA_LLADDR]) == (int)sizeof(n->mac)) {
		memcpy(n->mac, nla_data(tb[NDA_LLADDR]), sizeof(n->mac));
		n->valid = (n->state & NUD_USABLE) != 0;
	}
	set_key(&item->key, &n->addr, 0, n->ifindex);
	return NL_ITEM;
}

enum nl_parsed
nl_parse_addr(struct nlmsghdr *h, const struct nl_watch *watch, struct nl_item *item)
{
	struct gw_nl_addr *a = &item->addr;
	struct nlattr *tb[IFA_MAX + 1];
	const struct ifaddrmsg *ifa = nlmsg_data(h);
	struct nlattr *attr;

	memset(item, 0, sizeof(*item));
	if (nlmsg_parse(h, sizeof(*ifa), tb, IFA_MAX, NULL) < 0)
		return NL_IGNORE;
	/* with a peer, IFA_ADDRESS is the peer's */
	attr = tb[IFA_LOCAL] != NULL ? tb[IFA_LOCAL] : tb[IFA_ADDRESS];
	if (!get_addr(attr, ifa->ifa_family, &a->prefix.addr))
		return NL_IGNORE;
	a->prefix.len = ifa->ifa_prefixlen;
	a->ifindex = ifa->ifa_index;
	set_key(&item->key, &a->prefix.addr, a->prefix.len, a->ifindex);
	return nl_watched(watch, a->ifindex) ? NL_ITEM : NL_KEY;
}
