/* SPDX-License-Identifier: BSD-3-Clause */

#include "decide.h"

struct gw_verdict
gw_verdict_of(const struct gw_worker *w, const struct gw_flow *flow)
{
	struct gw_verdict v;

	gw_policy_lookup(w->view->policy, &flow, &v, 1);
	return v;
}

static struct gw_verdict
verdict_of_answer(const struct gw_worker *w, const struct gw_flow *flow)
{
	struct gw_flow back;

	gw_flow_reverse(&back, flow);
	return gw_verdict_of(w, &back);
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

static bool
is_drop_rule(struct gw_verdict v)
{
	return v.action == GW_ACTION_DROP && v.rule != 0;
}

/**
 * In clear from outside of us. What the answer's verdict says counts as well:
 * what belongs into a tunnel must not arrive in clear, and a bypass or drop
 * policy covers both directions.
 */
static struct gw_decision
from_port(const struct gw_worker *w, const struct gw_flow *flow, struct gw_verdict v)
{
	struct gw_verdict back = verdict_of_answer(w, flow);

	if (back.action == GW_ACTION_TUNNEL)
		return drop(GW_DROP_CLEAR);
	if (v.rule == 0 && is_drop_rule(back))
		return drop(GW_DROP_POLICY);
	if (v.action == GW_ACTION_BYPASS || (back.action == GW_ACTION_BYPASS && back.rule != 0))
		return (struct gw_decision){.fate = GW_FATE_CLEAR};
	return drop(GW_DROP_NO_POLICY);
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
 * says of ICMP: the quote is protected text (RFC 4301 6).
 */
static struct gw_verdict
verdict_of_quote(const struct gw_worker *w, const struct gw_flow *flow, const uint8_t *ip,
		uint32_t len)
{
	uint32_t l3_len = flow->family == AF_INET ? (ip[0] & 0xfu) * 4 : 40;
	struct gw_flow quoted;

	if (len < l3_len + 8 + 1 || !is_icmp_error(flow, ip[l3_len]))
		return (struct gw_verdict){.action = GW_ACTION_BYPASS};
	gw_flow_parse(&quoted, ip + l3_len + 8, len - l3_len - 8);
	return verdict_of_answer(w, &quoted);
}

static struct gw_decision
from_host(const struct gw_worker *w, const struct gw_flow *flow, const uint8_t *ip, uint32_t len)
{
	struct gw_verdict quote = verdict_of_quote(w, flow, ip, len);

	if (quote.action == GW_ACTION_TUNNEL)
		return tunnel(quote.tunnel);
	return (struct gw_decision){.fate = GW_FATE_CLEAR};
}

struct gw_decision
gw_decide(const struct gw_worker *w, const struct gw_flow *flow, struct gw_verdict verdict,
		enum gw_origin origin, const uint8_t *ip, uint32_t len)
{
	/* of two names for it, the one that says more */
	if (verdict.rule == GW_RULE_SPOOFED &&
			verdict_of_answer(w, flow).action == GW_ACTION_TUNNEL)
		return drop(GW_DROP_CLEAR);
	if (verdict.rule == GW_RULE_SPOOFED)
		return drop(GW_DROP_SPOOFED);
	if (verdict.action == GW_ACTION_TUNNEL)
		return tunnel(verdict.tunnel);
	if (is_drop_rule(verdict))
		return drop(GW_DROP_POLICY);
	switch (origin) {
	case GW_FROM_PORT:
		return from_port(w, flow, verdict);
	case GW_FROM_HOST:
		return from_host(w, flow, ip, len);
	case GW_FROM_TUNNEL:
		break;
	}
	/* the tunnel's selectors let it in: on by its route */
	return (struct gw_decision){.fate = GW_FATE_CLEAR};
}

/** Neighbour discovery, by type: router solicitation to redirect (RFC 4861). */
static bool
is_nd(const struct gw_flow *flow, const uint8_t *ip, uint32_t len)
{
	return flow->proto == IPPROTO_ICMPV6 && ip[6] == IPPROTO_ICMPV6 && len > 40 &&
			ip[40] >= 133 && ip[40] <= 137;
}

static bool
is_ike(const struct gw_flow *flow)
{
	return flow->proto == IPPROTO_UDP &&
			(flow->dport == rte_cpu_to_be_16(500) ||
					flow->dport == rte_cpu_to_be_16(4500));
}

bool
gw_may_come_in_clear(const struct gw_worker *w, const uint8_t *ip, uint32_t len)
{
	struct gw_flow flow;

	gw_flow_parse(&flow, ip, len);
	if (is_ike(&flow) || (flow.family == AF_INET6 && is_nd(&flow, ip, len)))
		return true;
	return verdict_of_answer(w, &flow).action != GW_ACTION_TUNNEL;
}

bool
gw_source_fits(const struct gw_worker *w, const struct gw_flow *flow, uint8_t port)
{
	const struct gw_view *v = w->view;
	const struct gw_nexthop *nh;
	rte_be32_t ip4;

	if (!v->source_check)
		return true;
	if (flow->family == AF_INET6) {
		nh = &v->nh[gw_fib_lookup6(v->fib6, flow->src)];
	} else {
		memcpy(&ip4, flow->src, sizeof(ip4));
		nh = &v->nh[gw_fib_lookup4(v->fib4, ip4)];
	}
	return nh->kind >= GW_NH_GLEAN && nh->port == port;
}
