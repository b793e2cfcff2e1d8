/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Packets between workers: single-producer single-consumer rings, one for each
 * ordered pair. A full ring drops by name and never spins; what came from a
 * ring is not handed off again.
 */

#include "send.h"

void
gw_handoff_flush(struct gw_worker *w, uint16_t to)
{
	struct gw_staged *s = &w->stage[to];
	unsigned int done =
			rte_ring_sp_enqueue_burst(w->handoff_out[to], (void **)s->pkts, s->n, NULL);

	w->counters.handed_off += done;
	for (unsigned int i = done; i < s->n; i++)
		gw_drop(w, s->pkts[i], GW_DROP_RING_FULL);
	s->n = 0;
}

uint16_t
gw_spread(struct gw_worker *w, uint8_t port, struct rte_mbuf *pkts[], struct gw_flow flow[],
		uint16_t n)
{
	uint16_t step = w->view->port[port].n_rxq;
	uint16_t shares = (w->n_workers - w->id + step - 1) / step;
	uint16_t kept = 0;

	for (uint16_t i = 0; i < n; i++) {
		/* the upper half of the product spreads evenly without a division */
		uint16_t to = w->id +
				step * (uint16_t)((uint64_t)gw_flow_hash(&flow[i]) * shares >> 32);

		if (to == w->id) {
			flow[kept] = flow[i];
			pkts[kept++] = pkts[i];
		} else {
			w->counters.handed_off_spread++;
			gw_handoff(w, to, pkts[i], GW_PKT_CLEAR, port, GW_NONE);
		}
	}
	return kept;
}

void
gw_encap_elsewhere(struct gw_worker *w, uint16_t tunnel, struct rte_mbuf *pkts[], uint16_t n,
		bool handed)
{
	uint16_t owner = w->sa_out[tunnel].owner;

	for (uint16_t i = 0; i < n; i++) {
		if (owner == GW_NONE || owner == w->id || handed) {
			gw_drop(w, pkts[i], GW_DROP_NO_OUT_SA);
			continue;
		}
		w->counters.handed_off_fallback++;
		gw_handoff(w, owner, pkts[i], GW_PKT_ENCAP, 0, tunnel);
	}
}

void
gw_handed_in(struct gw_worker *w, struct rte_mbuf *m)
{
	struct gw_pkt p = *gw_pkt(m);

	switch ((enum gw_pkt_kind)p.kind) {
	case GW_PKT_CLEAR:
		gw_outbound(w, p.port, &m, 1, true);
		return;
	case GW_PKT_ENCAP:
		gw_encap(w, p.tunnel, &m, 1, true);
		return;
	case GW_PKT_TX:
		gw_tx(w, p.port, m);
		return;
	case GW_PKT_FRAGMENT:
		gw_fragment_in(w, m, p.port);
		return;
	default:
		/* the other kinds never stand on these rings */
		RTE_ASSERT(false);
		gw_drop(w, m, GW_DROP_RING_FULL);
	}
}
