/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * HOT. Clear packets: flow -> policy (whole burst) -> by tunnel -> own SA, else
 * the worker that encrypts for us -> encap -> next hop.
 */

#include "decide.h"
#include "group.h"
#include "send.h"

/** Read the flows of a burst. Does the last answer fit all of them? */
static inline bool
parse(const struct gw_worker *w, uint8_t port, struct rte_mbuf *pkts[], struct gw_flow flow[],
		uint16_t n)
{
	struct gw_flow last = w->last_flow;
	bool same = w->last_valid && w->last_port == port;

	for (uint16_t i = 0; i < n; i++) {
		gw_flow_parse(&flow[i], rte_pktmbuf_mtod(pkts[i], void *), pkts[i]->data_len);
		same &= gw_flow_equal(&flow[i], &last);
	}
	return same;
}

/** The verdicts of a burst: the last answer where it still fits, one look-up for all others. */
static void
look_up(struct gw_worker *w, uint8_t port, const struct gw_flow flow[], struct gw_verdict v[],
		uint16_t n)
{
	bool valid = w->last_valid && w->last_port == port;
	const struct gw_flow *miss[GW_BURST];
	struct gw_verdict got[GW_BURST];
	uint8_t at[GW_BURST];
	uint16_t n_miss = 0;

	for (uint16_t i = 0; i < n; i++) {
		if (likely(valid && gw_flow_equal(&flow[i], &w->last_flow))) {
			v[i] = w->last_verdict;
		} else {
			miss[n_miss] = &flow[i];
			at[n_miss++] = i;
		}
	}
	if (n_miss == 0)
		return;
	gw_policy_lookup(w->view->policy, miss, got, n_miss);
	for (uint16_t i = 0; i < n_miss; i++) {
		got[i] = gw_verdict_on_port(w->view, miss[i], got[i], port);
		v[at[i]] = got[i];
	}
	w->last_flow = *miss[n_miss - 1];
	w->last_verdict = got[n_miss - 1];
	w->last_port = port;
	w->last_valid = true;
}

/** Is the packet ready for its tunnel: tunnel up, TTL and size right? If not, it is dealt with. */
static inline bool
prepare(struct gw_worker *w, const struct gw_port_view *port, uint16_t tunnel, struct rte_mbuf *m)
{
	const struct gw_tunnel_view *tv = &w->view->tunnel[tunnel];

	if (unlikely(!tv->up)) {
		gw_drop(w, m, GW_DROP_TUNNEL_DOWN);
		return false;
	}
	if (unlikely(!gw_ttl_ok(m))) {
		gw_refuse(w, m, GW_ICMP_TIME_EXCEEDED, 0, GW_DROP_TTL, &port->icmp4, &port->icmp6);
		return false;
	}
	if (unlikely(w->view->mss_clamp))
		gw_mss_clamp_to(m, tv->inner_mtu);
	gw_ttl_dec(m);
	if (unlikely(m->data_len > tv->inner_mtu)) {
		gw_too_big(w, tunnel, m, &port->icmp4, &port->icmp6);
		return false;
	}
	return true;
}

void
gw_encap(struct gw_worker *w, uint16_t tunnel, struct rte_mbuf *pkts[], uint16_t n, bool handed)
{
	const struct gw_sa_out *out = &w->sa_out[tunnel];
	const struct gw_nexthop *nh = &w->view->nh[w->view->tunnel[tunnel].nh];
	struct ipsec_pcpu_sa *sa = out->sa;
	uint8_t reason[GW_BURST];
	uint64_t bytes = 0;
	uint16_t done;

	/* the fallback SA for workers without one of their own, us or those that hand off */
	if (unlikely((handed || sa == NULL) && out->fallback != NULL))
		sa = out->fallback;
	if (unlikely(sa == NULL)) {
		gw_encap_elsewhere(w, tunnel, pkts, n, handed);
		gw_lap(&w->cycles, GW_STAGE_handoff);
		return;
	}
	for (uint16_t i = 0; i < n; i++)
		bytes += pkts[i]->data_len;
	gw_lap(&w->cycles, GW_STAGE_policy);
	done = ipsec_pcpu_encap_burst(w->ctx, sa, pkts, n, reason);
	gw_lap_sa(w, GW_STAGE_encap, sa, n);
	gw_send_burst(w, nh, pkts, done);
	for (uint16_t i = done; unlikely(i < n); i++)
		bytes -= pkts[i]->data_len;
	if (unlikely(done < n))
		gw_drop_esp(w, pkts + done, reason + done, n - done);
	w->counters.encap += done;
	w->counters.encap_bytes += bytes;
	gw_lap(&w->cycles, GW_STAGE_forward);
}

/** Encrypt packets tunnel by tunnel, each tunnel's together and in order. */
static void
encap_by_tunnel(struct gw_worker *w, struct rte_mbuf *pkts[], const uint16_t tunnel[], uint16_t n)
{
	struct rte_mbuf *batch[GW_BURST];
	struct gw_groups groups;

	gw_groups_init(&groups);
	for (uint16_t i = 0; i < n; i++)
		if (gw_groups_add(&groups, tunnel[i], i))
			gw_prefetch_sa(w->sa_out[tunnel[i]].sa);
	for (uint16_t g = 0; g < groups.n; g++) {
		uint16_t n_batch = gw_groups_get(&groups, g, pkts, batch);

		gw_encap(w, groups.key[g], batch, n_batch, false);
	}
}

/** A burst that is all for one tunnel. */
static void
encap_all(struct gw_worker *w, const struct gw_port_view *port, uint16_t tunnel,
		struct rte_mbuf *pkts[], uint16_t n)
{
	uint16_t ready = 0;

	for (uint16_t i = 0; i < n; i++)
		if (likely(prepare(w, port, tunnel, pkts[i])))
			pkts[ready++] = pkts[i];
	if (likely(ready > 0))
		gw_encap(w, tunnel, pkts, ready, false);
}

void
gw_outbound(struct gw_worker *w, uint8_t port_idx, struct rte_mbuf *pkts[], uint16_t n, bool handed)
{
	const struct gw_port_view *port = &w->view->port[port_idx];
	struct gw_flow flow[GW_BURST];
	struct gw_verdict verdict[GW_BURST];
	uint16_t tunnel[GW_BURST];
	uint16_t other[GW_BURST];
	uint16_t n_tunnel = 0;
	uint16_t n_other = 0;
	bool same;

	same = parse(w, port_idx, pkts, flow, n);
	if (unlikely(port->n_rxq < w->n_workers && !handed))
		n = gw_spread(w, port_idx, pkts, flow, n);
	if (likely(same && w->last_verdict.action == GW_ACTION_TUNNEL)) {
		encap_all(w, port, w->last_verdict.tunnel, pkts, n);
		return;
	}
	look_up(w, port_idx, flow, verdict, n);
	for (uint16_t i = 0; i < n; i++) {
		if (unlikely(verdict[i].action != GW_ACTION_TUNNEL))
			other[n_other++] = i;
	}
	if (unlikely(n_other > 0)) {
		gw_lap(&w->cycles, GW_STAGE_policy);
		gw_not_tunnelled(w, port, pkts, flow, verdict, other, n_other);
		gw_lap(&w->cycles, GW_STAGE_forward);
	}
	for (uint16_t i = 0; i < n; i++) {
		if (verdict[i].action == GW_ACTION_TUNNEL &&
				prepare(w, port, verdict[i].tunnel, pkts[i])) {
			pkts[n_tunnel] = pkts[i];
			tunnel[n_tunnel++] = verdict[i].tunnel;
		}
	}
	encap_by_tunnel(w, pkts, tunnel, n_tunnel);
}
