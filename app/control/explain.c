/* SPDX-License-Identifier: BSD-3-Clause */

/* "explain": what would happen to a packet, by the functions that do it. */

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "../datapath/decide.h"
#include "control_priv.h"

static void
make_flow(struct gw_flow *f, const struct gw_addr *src, const struct gw_addr *dst, uint8_t proto,
		uint16_t sport, uint16_t dport)
{
	memset(f, 0, sizeof(*f));
	f->family = src->family;
	f->proto = proto;
	memcpy(f->src, &src->a, gw_addr_len(src->family));
	memcpy(f->dst, &dst->a, gw_addr_len(dst->family));
	if (gw_flow_has_ports(proto)) {
		f->sport = rte_cpu_to_be_16(sport);
		f->dport = rte_cpu_to_be_16(dport);
	}
}

/** The same choice as gw_encap() and gw_encap_elsewhere() make. */
static void
explain_workers(struct gw *gw, struct gw_explain *ex)
{
	for (unsigned int w = 0; w < gw->n_workers; w++) {
		const struct gw_out *out = &ex->tunnel->out[w];
		const struct gw_out *elsewhere;

		ex->out[w].worker = w;
		ex->out[w].sa = out->own != NULL ? out->own : out->fallback;
		if (ex->out[w].sa != NULL || out->owner == GW_NONE)
			continue;
		elsewhere = &ex->tunnel->out[out->owner];
		ex->out[w].worker = out->owner;
		ex->out[w].sa = elsewhere->fallback != NULL ? elsewhere->fallback : elsewhere->own;
	}
}

/** Where each worker's packet would land at the peer. */
static void
explain_peer(const struct gw *gw, struct gw_explain *ex)
{
	for (unsigned int w = 0; w < gw->n_workers; w++)
		if (ex->out[w].sa != NULL)
			ex->out[w].peer_known = gw_config_peer_queue(ex->tunnel->cfg,
					&ex->out[w].sa->prm, &ex->out[w].peer_queue);
}

/** On which queue of the port that its source is routed to, and so with which worker. */
static void
explain_clear_side(const struct gw *gw, struct gw_explain *ex)
{
	const struct gw_flow *flow = &ex->flow;
	const struct gw_nexthop *from = gw_view_nexthop(gw->view, flow->family, flow->src);
	struct ipsec_pcpu_tuple tuple = {.family = flow->family};

	if (from->kind == GW_NH_LOCAL || from->kind == GW_NH_NONE ||
			from->kind == GW_NH_BLACKHOLE || gw_steering_port(gw, from->port) == NULL)
		return;
	memcpy(&tuple.saddr, flow->src, gw_addr_len(flow->family));
	memcpy(&tuple.daddr, flow->dst, gw_addr_len(flow->family));
	if (flow->proto == IPPROTO_TCP || flow->proto == IPPROTO_UDP) {
		tuple.sport = rte_be_to_cpu_16(flow->sport);
		tuple.dport = rte_be_to_cpu_16(flow->dport);
	}
	ex->clear_side.known = gw_steer_predict(gw_steering_port(gw, from->port), &tuple,
			&ex->clear_side.hash, &ex->clear_side.queue, &ex->why);
}

/** As a clear packet from the port that its source is routed to, or as one of ours. */
static void
decide(const struct gw_view *view, struct gw_explain *ex)
{
	const struct gw_flow *flow = &ex->flow;
	const struct gw_nexthop *from = gw_view_nexthop(view, flow->family, flow->src);
	struct gw_decision d;

	ex->verdict = gw_verdict_of(view, flow);
	ex->rule = gw_policy_rule_get(view->policy, ex->verdict.rule);
	if (from->kind == GW_NH_LOCAL)
		d = gw_decide(view, flow, ex->verdict, GW_FROM_HOST, NULL, 0);
	else
		d = gw_decide(view, flow, gw_verdict_on_port(view, flow, ex->verdict, from->port),
				GW_FROM_PORT, NULL, 0);
	ex->dropped = d.fate == GW_FATE_DROP;
	ex->drop = d.drop;
	ex->verdict.action = d.fate == GW_FATE_TUNNEL ? GW_ACTION_TUNNEL
			: d.fate == GW_FATE_CLEAR     ? GW_ACTION_BYPASS
						      : GW_ACTION_DROP;
	ex->verdict.tunnel = d.tunnel;
}

int
gw_explain(struct gw *gw, const struct gw_addr *src, const struct gw_addr *dst, uint8_t proto,
		uint16_t sport, uint16_t dport, struct gw_explain *ex, struct gw_error *err)
{
	memset(ex, 0, sizeof(*ex));
	if (src->family != dst->family) {
		gw_error_set(err, NULL, 0, "source and destination are not of one family");
		return -EINVAL;
	}
	make_flow(&ex->flow, src, dst, proto, sport, dport);
	ex->for_us = dst->family == AF_INET ? gw_local_has4(gw->view->local, dst->a.ip4)
					    : gw_local_has6(gw->view->local, dst->a.ip6);
	if (ex->for_us)
		return 0;
	explain_clear_side(gw, ex);
	decide(gw->view, ex);
	if (ex->dropped)
		return 0;
	ex->nh = *gw_view_route(gw->view, dst);
	ex->inner_mtu = ex->nh.mtu;
	if (ex->verdict.action != GW_ACTION_TUNNEL)
		return 0;
	ex->tunnel = &gw->tunnel[ex->verdict.tunnel];
	ex->nh = gw->view->nh[gw->view->tunnel[ex->verdict.tunnel].nh];
	ex->inner_mtu = gw->view->tunnel[ex->verdict.tunnel].inner_mtu;
	explain_workers(gw, ex);
	explain_peer(gw, ex);
	return 0;
}
