/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The slow path of a worker: clear traffic that goes into no tunnel, ICMP
 * errors, fragments, and what the kernel sends. Worker's thread.
 */

#include <rte_cycles.h>

#include "classify.h"
#include "frag.h"
#include "send.h"

/** The verdict for one flow. */
static struct gw_verdict
look_up_one(struct gw_worker *w, const struct gw_flow *flow)
{
	struct gw_verdict v;

	gw_policy_lookup(w->view->policy, &flow, &v, 1);
	return v;
}

static struct gw_verdict
verdict_of(struct gw_worker *w, const struct rte_mbuf *m)
{
	struct gw_flow flow;

	gw_flow_parse(&flow, rte_pktmbuf_mtod(m, const void *), m->data_len);
	return look_up_one(w, &flow);
}

/**
 * Would the answer to this packet be protected? Then it must not arrive in clear (RFC 4301
 * 5.2).
 */
static bool
belongs_into_tunnel(struct gw_worker *w, const struct gw_flow *flow)
{
	struct gw_flow back;

	gw_flow_reverse(&back, flow);
	return look_up_one(w, &back).action == GW_ACTION_TUNNEL;
}

void
gw_not_tunnelled(struct gw_worker *w, const struct gw_port_view *port, struct rte_mbuf *pkts[],
		const struct gw_flow flow[], const struct gw_verdict verdict[], const uint16_t at[],
		uint16_t n)
{
	for (uint16_t k = 0; k < n; k++) {
		struct rte_mbuf *m = pkts[at[k]];
		const struct gw_verdict *v = &verdict[at[k]];

		if (v->action == GW_ACTION_DROP && v->rule != 0) {
			gw_drop(w, m, GW_DROP_POLICY);
		} else if (belongs_into_tunnel(w, &flow[at[k]])) {
			gw_drop(w, m, GW_DROP_CLEAR);
		} else if (v->action == GW_ACTION_DROP) {
			gw_drop(w, m, GW_DROP_NO_POLICY);
		} else {
			w->counters.bypassed++;
			gw_forward(w, m, &port->icmp4, &port->icmp6);
		}
	}
}

/** Our own address, out of a tunnel: the kernel takes it from the TAP of the port that has it. */
static void
to_kernel(struct gw_worker *w, uint8_t port, struct rte_mbuf *m)
{
	const struct rte_ether_addr *mac = &w->view->port[port].mac;

	gw_ether_prepend(m, mac, mac);
	gw_punt(w, m, GW_PKT_PUNT, port);
}

/** Inner fragments of a packet, sent one by one; the packet itself is freed. */
static bool
send_fragments(struct gw_worker *w, struct rte_mbuf *m, uint16_t mtu, const struct gw_nexthop *nh,
		uint16_t tunnel)
{
	struct rte_mbuf *frag[GW_MAX_FRAGS];
	int n = gw_frag4(m, mtu, w->pool, frag);

	if (n <= 0) {
		gw_drop(w, m, n == -ENOMEM || n == -ENOBUFS ? GW_DROP_NO_MBUF : GW_DROP_TOO_BIG);
		return false;
	}
	/* one packet became n */
	w->counters.created += n - 1;
	rte_pktmbuf_free(m);
	for (int i = 0; i < n; i++) {
		if (nh != NULL)
			gw_send(w, nh, frag[i]);
		else
			gw_encap(w, tunnel, &frag[i], 1, false);
	}
	return true;
}

static bool
may_fragment(const struct rte_mbuf *m)
{
	const struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod(m, const struct rte_ipv4_hdr *);

	return gw_is_ip4(m) && (ip->fragment_offset & rte_cpu_to_be_16(RTE_IPV4_HDR_DF_FLAG)) == 0;
}

void
gw_too_big(struct gw_worker *w, uint16_t tunnel, struct rte_mbuf *m, const struct gw_addr *icmp4,
		const struct gw_addr *icmp6)
{
	uint16_t mtu = w->view->tunnel[tunnel].inner_mtu;

	if (mtu == 0) {
		/* no SA from which to know the overhead, or no route to the peer */
		gw_drop(w, m, GW_DROP_NO_OUT_SA);
		return;
	}
	if (may_fragment(m))
		send_fragments(w, m, mtu, NULL, tunnel);
	else
		gw_refuse(w, m, GW_ICMP_TOO_BIG, mtu, GW_DROP_TOO_BIG, icmp4, icmp6);
}

void
gw_forward(struct gw_worker *w, struct rte_mbuf *m, const struct gw_addr *icmp4,
		const struct gw_addr *icmp6)
{
	const struct gw_nexthop *nh = gw_route(w, m);

	if (nh->kind == GW_NH_LOCAL) {
		to_kernel(w, nh->port, m);
		return;
	}
	if (nh->kind == GW_NH_NONE || nh->kind == GW_NH_BLACKHOLE) {
		gw_refuse(w, m, GW_ICMP_NO_ROUTE, 0, GW_DROP_NO_ROUTE, icmp4, icmp6);
		return;
	}
	if (!gw_ttl_ok(m)) {
		gw_refuse(w, m, GW_ICMP_TIME_EXCEEDED, 0, GW_DROP_TTL, icmp4, icmp6);
		return;
	}
	gw_ttl_dec(m);
	if (m->data_len <= nh->mtu)
		gw_send(w, nh, m);
	else if (may_fragment(m))
		send_fragments(w, m, nh->mtu, nh, GW_NONE);
	else
		gw_refuse(w, m, GW_ICMP_TOO_BIG, nh->mtu, GW_DROP_TOO_BIG, icmp4, icmp6);
}

void
gw_refuse(struct gw_worker *w, struct rte_mbuf *m, enum gw_icmp_error error, uint32_t arg,
		enum gw_drop reason, const struct gw_addr *icmp4, const struct gw_addr *icmp6)
{
	const struct gw_addr *src = gw_is_ip4(m) ? icmp4 : icmp6;
	struct rte_mbuf *msg = NULL;

	if (src->family != 0 && gw_icmp_limit_take(&w->icmp_limit, rte_rdtsc()))
		msg = gw_icmp_make(w->pool, m, error, arg, src);
	gw_drop(w, m, reason);
	if (msg != NULL)
		gw_originate(w, msg);
}

void
gw_originate(struct gw_worker *w, struct rte_mbuf *m)
{
	struct gw_verdict v = verdict_of(w, m);
	const struct gw_nexthop *nh;

	w->counters.created++;
	if (v.action == GW_ACTION_TUNNEL) {
		if (!w->view->tunnel[v.tunnel].up)
			gw_drop(w, m, GW_DROP_TUNNEL_DOWN);
		else if (m->data_len > w->view->tunnel[v.tunnel].inner_mtu)
			gw_drop(w, m, GW_DROP_TOO_BIG);
		else
			gw_encap(w, v.tunnel, &m, 1, false);
		return;
	}
	if (v.action == GW_ACTION_DROP && v.rule != 0) {
		gw_drop(w, m, GW_DROP_POLICY);
		return;
	}
	nh = gw_route(w, m);
	if (nh->kind == GW_NH_LOCAL)
		to_kernel(w, nh->port, m);
	else
		gw_send(w, nh, m);
}

/**
 * A kernel's packet that a policy wants in a tunnel. TTL is as the kernel set it: it is the
 * sender.
 */
static void
kernel_into_tunnel(struct gw_worker *w, uint8_t port, uint16_t tunnel, struct rte_mbuf *m)
{
	const struct gw_port_view *p = &w->view->port[port];

	rte_pktmbuf_adj(m, sizeof(struct rte_ether_hdr));
	if (!w->view->tunnel[tunnel].up)
		gw_drop(w, m, GW_DROP_TUNNEL_DOWN);
	else if (m->data_len > w->view->tunnel[tunnel].inner_mtu)
		gw_too_big(w, tunnel, m, &p->icmp4, &p->icmp6);
	else
		gw_encap(w, tunnel, &m, 1, false);
}

void
gw_from_kernel(struct gw_worker *w, struct rte_mbuf *m)
{
	const struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, const struct rte_ether_hdr *);
	uint8_t port = gw_pkt(m)->port;
	int class = GW_CLASS_PUNT;
	struct gw_verdict v;
	struct gw_flow flow;

	if (m->data_len < sizeof(*eth)) {
		gw_drop(w, m, GW_DROP_MALFORMED);
		return;
	}
	if (eth->ether_type == rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4))
		class = classify4(w->view->local, m, sizeof(*eth));
	else if (eth->ether_type == rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV6))
		class = classify6(w->view->local, m, sizeof(*eth));
	if (class >= GW_CLASS_DROP) {
		gw_drop(w, m, class - GW_CLASS_DROP);
		return;
	}
	if (class == GW_CLASS_CLEAR) {
		gw_flow_parse(&flow, eth + 1, m->data_len - sizeof(*eth));
		v = look_up_one(w, &flow);
		if (v.action == GW_ACTION_TUNNEL) {
			kernel_into_tunnel(w, port, v.tunnel, m);
			return;
		}
		if (v.action == GW_ACTION_DROP && v.rule != 0) {
			gw_drop(w, m, GW_DROP_POLICY);
			return;
		}
	}
	gw_tx(w, port, m);
}

unsigned int
gw_injected(struct gw_worker *w)
{
	struct rte_mbuf *pkts[GW_BURST];
	unsigned int n = rte_ring_sc_dequeue_burst(w->inject, (void **)pkts, GW_BURST, NULL);

	w->counters.injected += n;
	for (unsigned int i = 0; i < n; i++) {
		const struct gw_nexthop *nh;

		if (gw_pkt(pkts[i])->kind == GW_PKT_FRAME) {
			gw_from_kernel(w, pkts[i]);
			continue;
		}
		/* held for a neighbour, which is known now, or was given up */
		nh = gw_route(w, pkts[i]);
		if (nh->kind == GW_NH_GLEAN || nh->kind == GW_NH_UNRESOLVED)
			gw_drop(w, pkts[i], GW_DROP_NO_NEIGHBOUR);
		else
			gw_send(w, nh, pkts[i]);
	}
	return n;
}

/** A packet to us that was put together from fragments. */
static void
whole_again(struct gw_worker *w, struct rte_mbuf *m, uint8_t port)
{
	int class = classify_ip(w->view->local, m);

	if (class == GW_CLASS_ESP)
		gw_inbound(w, &m, 1, false);
	else if (class >= GW_CLASS_DROP)
		gw_drop(w, m, class - GW_CLASS_DROP);
	else
		to_kernel(w, port, m);
}

void
gw_fragment_in(struct gw_worker *w, struct rte_mbuf *m, uint8_t port)
{
	if (w->id != w->reass_worker) {
		gw_handoff(w, w->reass_worker, m, GW_PKT_FRAGMENT, port, GW_NONE);
		return;
	}
	m->l2_len = 0;
	m = gw_reass_add(w->reass, m, rte_rdtsc());
	w->counters.absorbed = gw_reass_absorbed(w->reass);
	if (m != NULL)
		whole_again(w, m, port);
}

void
gw_mss_clamp_to(struct rte_mbuf *m, uint16_t inner_mtu)
{
	if (inner_mtu > 60)
		gw_mss_clamp(m, inner_mtu - 40, inner_mtu - 60);
}
