/* SPDX-License-Identifier: BSD-3-Clause */

#include "decide.h"

struct gw_verdict
gw_verdict_of(const struct gw_view *view, const struct gw_flow *flow)
{
	struct gw_verdict v;

	gw_policy_lookup(view->policy, &flow, &v, 1);
	return v;
}

static struct gw_verdict
verdict_of_answer(const struct gw_view *view, const struct gw_flow *flow)
{
	struct gw_flow back;

	gw_flow_reverse(&back, flow);
	return gw_verdict_of(view, &back);
}

static struct gw_decision
drop(enum gw_drop reason)
{
	return (struct gw_decision){.fate = GW_FATE_DROP, .drop = reason};
}

static struct gw_decision
tunnel(uint16_t id)
{
	return (struct gw_decision){.fate = GW_FATE_TUNNEL, .tunnel = id};
}

static const struct gw_decision clear = {.fate = GW_FATE_CLEAR};

static bool
is_drop_rule(struct gw_verdict v)
{
	return v.action == GW_ACTION_DROP && v.rule != 0;
}

/** Does the policy's word on the answer come before that on the packet? */
static bool
stands_earlier(struct gw_verdict back, struct gw_verdict v)
{
	return back.rule != 0 && (v.rule == 0 || back.rule < v.rule);
}

struct gw_verdict
gw_verdict_on_port(const struct gw_view *view, const struct gw_flow *flow, struct gw_verdict v,
		uint8_t port)
{
	struct gw_verdict back;

	if (!gw_source_fits(view, flow, port))
		return (struct gw_verdict){.action = GW_ACTION_DROP, .rule = GW_RULE_SPOOFED};
	if (v.action != GW_ACTION_TUNNEL || !view->both_ways)
		return v;
	back = verdict_of_answer(view, flow);
	if (back.action != GW_ACTION_TUNNEL)
		return stands_earlier(back, v) ? back : v;
	if (back.tunnel != v.tunnel)
		return (struct gw_verdict){.action = GW_ACTION_DROP, .rule = GW_RULE_CLEAR};
	return v;
}

static bool
is_icmp_error(const struct gw_flow *flow, uint8_t type)
{
	if (flow->family == AF_INET6)
		return flow->proto == IPPROTO_ICMPV6 && type < 128;
	return flow->proto == IPPROTO_ICMP &&
			(type == 3 || type == 4 || type == 5 || type == 11 || type == 12);
}

/**
 * An ICMP error quotes the packet that it is about. If that packet came out of
 * a tunnel, the error may leave through this tunnel only, whatever the policy
 * says of ICMP: the quote is protected text (RFC 4301 6). Dropped: no ICMP error.
 */
static struct gw_verdict
verdict_of_quote(const struct gw_view *view, const struct gw_flow *flow, const uint8_t *ip,
		uint32_t len)
{
	struct gw_verdict back = {.action = GW_ACTION_DROP};
	struct gw_flow quoted;
	uint32_t l3_len;

	if (len == 0)
		return back; /* nothing of it is known: "explain" */
	l3_len = flow->family == AF_INET ? (ip[0] & 0xfu) * 4 : 40;
	if (len < l3_len + 8 + 1 || !is_icmp_error(flow, ip[l3_len]))
		return back;
	gw_flow_parse(&quoted, ip + l3_len + 8, len - l3_len - 8);
	back = verdict_of_answer(view, &quoted);
	/* it came in clear, so the error may go back in clear */
	if (back.action != GW_ACTION_TUNNEL)
		back.action = GW_ACTION_BYPASS;
	return back;
}

/**
 * In clear from outside of us. What the answer's verdict says counts as well:
 * what belongs into a tunnel must not arrive in clear, and a bypass or drop
 * policy covers both directions; the earlier one wins.
 */
static struct gw_decision
from_port(const struct gw_view *view, const struct gw_flow *flow, struct gw_verdict v,
		const uint8_t *ip, uint32_t len)
{
	struct gw_verdict back = verdict_of_answer(view, flow);
	struct gw_verdict quote;

	if (back.action == GW_ACTION_TUNNEL && stands_earlier(back, v))
		return drop(GW_DROP_CLEAR);
	if (is_drop_rule(back) && stands_earlier(back, v))
		return drop(GW_DROP_POLICY);
	if (v.action != GW_ACTION_BYPASS && (back.action != GW_ACTION_BYPASS || back.rule == 0))
		return drop(GW_DROP_NO_POLICY);
	quote = verdict_of_quote(view, flow, ip, len);
	if (quote.action == GW_ACTION_TUNNEL)
		return tunnel(quote.tunnel);
	return clear;
}

/** Out of a tunnel: its selectors let it in. A drop policy covers both directions. */
static struct gw_decision
from_tunnel(const struct gw_view *view, const struct gw_flow *flow)
{
	return is_drop_rule(verdict_of_answer(view, flow)) ? drop(GW_DROP_POLICY) : clear;
}

/** Neighbour discovery, by type: router solicitation to redirect (RFC 4861). */
static bool
is_nd(const struct gw_flow *flow, const uint8_t *ip, uint32_t len)
{
	return flow->proto == IPPROTO_ICMPV6 && ip[6] == IPPROTO_ICMPV6 && len > 40 &&
			ip[40] >= 133 && ip[40] <= 137;
}

/** Our own IKE, from the ports that it has (RFC 7296 2.23). */
static bool
is_our_ike(const struct gw_flow *flow)
{
	return flow->proto == IPPROTO_UDP &&
			(flow->sport == rte_cpu_to_be_16(500) ||
					flow->sport == rte_cpu_to_be_16(4500));
}

static bool
prefix_has(const struct gw_prefix *p, uint8_t family, const uint8_t *addr)
{
	struct gw_addr a = {.family = family};

	memcpy(&a.a, addr, gw_addr_len(family));
	return gw_prefix_has(p, &a);
}

/**
 * A selector with a remote side of everything also covers the hosts of our own
 * link. Between one of our addresses and such a host it does not apply, where
 * its local side holds both of them.
 */
static bool
is_on_local_side(const struct gw_view *view, const struct gw_flow *flow, struct gw_verdict v)
{
	const struct gw_policy_rule *rule = gw_policy_rule_get(view->policy, v.rule);
	uint8_t host_port;
	const struct gw_nexthop *ours;

	if (rule == NULL || !prefix_has(&rule->sel.local, flow->family, flow->dst) ||
			!prefix_has(&rule->sel.local, flow->family, flow->src) ||
			!gw_is_on_link(view, flow->family, flow->dst, &host_port))
		return false;
	ours = gw_view_nexthop(view, flow->family, flow->src);
	return ours->kind == GW_NH_LOCAL && ours->port == host_port;
}

static struct gw_decision
from_host(const struct gw_view *view, const struct gw_flow *flow, struct gw_verdict v,
		const uint8_t *ip, uint32_t len)
{
	struct gw_verdict quote = verdict_of_quote(view, flow, ip, len);

	if (quote.action == GW_ACTION_TUNNEL)
		return tunnel(quote.tunnel);
	if (quote.action == GW_ACTION_BYPASS || is_our_ike(flow) ||
			(flow->family == AF_INET6 && is_nd(flow, ip, len)))
		return clear;
	if (v.action != GW_ACTION_TUNNEL || is_on_local_side(view, flow, v))
		return clear;
	return tunnel(v.tunnel);
}

struct gw_decision
gw_decide(const struct gw_view *view, const struct gw_flow *flow, struct gw_verdict verdict,
		enum gw_origin origin, const uint8_t *ip, uint32_t len)
{
	/* of two names for it, the one that says more */
	if (verdict.rule == GW_RULE_SPOOFED &&
			verdict_of_answer(view, flow).action == GW_ACTION_TUNNEL)
		return drop(GW_DROP_CLEAR);
	if (verdict.rule == GW_RULE_SPOOFED)
		return drop(GW_DROP_SPOOFED);
	if (verdict.rule == GW_RULE_CLEAR)
		return drop(GW_DROP_CLEAR);
	if (is_drop_rule(verdict))
		return drop(GW_DROP_POLICY);
	if (origin == GW_FROM_HOST)
		return from_host(view, flow, verdict, ip, len);
	if (verdict.action == GW_ACTION_TUNNEL)
		return tunnel(verdict.tunnel);
	if (origin == GW_FROM_TUNNEL)
		return from_tunnel(view, flow);
	return from_port(view, flow, verdict, ip, len);
}

bool
gw_is_on_link(const struct gw_view *view, uint8_t family, const uint8_t *addr, uint8_t *port)
{
	const struct gw_nexthop *nh = gw_view_nexthop(view, family, addr);

	*port = nh->port;
	return nh->kind == GW_NH_GLEAN ||
			(nh->kind == GW_NH_ETHER && nh->via.family == family &&
					memcmp(&nh->via.a, addr, gw_addr_len(family)) == 0);
}

static bool
is_ike(const struct gw_flow *flow)
{
	return flow->proto == IPPROTO_UDP &&
			(flow->dport == rte_cpu_to_be_16(500) ||
					flow->dport == rte_cpu_to_be_16(4500));
}

bool
gw_may_come_in_clear(const struct gw_view *view, const uint8_t *ip, uint32_t len)
{
	struct gw_flow flow, back;
	struct gw_verdict v;

	gw_flow_parse(&flow, ip, len);
	if (is_ike(&flow) ||
			(flow.family == AF_INET6 &&
					(is_nd(&flow, ip, len) || gw_ip6_is_link_local(flow.src) ||
							gw_ip6_is_link_local(flow.dst))))
		return true;
	gw_flow_reverse(&back, &flow);
	v = gw_verdict_of(view, &back);
	return v.action != GW_ACTION_TUNNEL || is_on_local_side(view, &back, v);
}

bool
gw_source_fits(const struct gw_view *view, const struct gw_flow *flow, uint8_t port)
{
	const struct gw_nexthop *nh;

	if (!view->source_check)
		return true;
	nh = gw_view_nexthop(view, flow->family, flow->src);
	return nh->kind >= GW_NH_GLEAN && nh->port == port;
}
