/* SPDX-License-Identifier: BSD-3-Clause */

/* "explain": what would happen to a packet, by the functions that do it. */

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

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

int
gw_explain(struct gw *gw, const struct gw_addr *src, const struct gw_addr *dst, uint8_t proto,
		uint16_t sport, uint16_t dport, struct gw_explain *ex, struct gw_error *err)
{
	const struct gw_flow *flow = &ex->flow;

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
	gw_policy_lookup(gw->view->policy, &flow, &ex->verdict, 1);
	ex->rule = gw_policy_rule_get(gw->view->policy, ex->verdict.rule);
	if (ex->verdict.action == GW_ACTION_DROP)
		return 0;
	ex->nh = *gw_view_route(gw->view, dst);
	ex->inner_mtu = ex->nh.mtu;
	if (ex->verdict.action != GW_ACTION_TUNNEL)
		return 0;
	ex->tunnel = &gw->tunnel[ex->verdict.tunnel];
	ex->nh = gw->view->nh[gw->view->tunnel[ex->verdict.tunnel].nh];
	ex->inner_mtu = gw->view->tunnel[ex->verdict.tunnel].inner_mtu;
	explain_workers(gw, ex);
	return 0;
}
