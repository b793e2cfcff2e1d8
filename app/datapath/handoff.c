/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Packets between workers: single-producer single-consumer rings, one for each
 * ordered pair. A full ring drops by name and never spins; what came from a ring
 * is handed off once more only if its SA has changed its worker meanwhile.
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
	gw_lap(&w->cycles, GW_STAGE_handoff);
}

uint16_t
gw_spread(struct gw_worker *w, uint8_t port, struct rte_mbuf *pkts[], uint16_t n)
{
	uint16_t step = w->view->port[port].n_rxq;
	uint16_t shares = (w->n_workers - w->id + step - 1) / step;
	uint16_t kept = 0;

	for (uint16_t i = 0; i < n; i++) {
		struct gw_flow flow;
		uint16_t to;

		gw_flow_parse(&flow, rte_pktmbuf_mtod(pkts[i], const void *), pkts[i]->data_len);
		/* the upper half of the product spreads evenly without a division */
		to = w->id + step * (uint16_t)((uint64_t)gw_flow_hash(&flow) * shares >> 32);
		if (to == w->id) {
			pkts[kept++] = pkts[i];
		} else {
			w->counters.handed_off_spread++;
			gw_handoff(w, to, pkts[i],
					(struct gw_pkt){.kind = GW_PKT_CLEAR, .port = port});
		}
	}
	return kept;
}

/** To the worker that has the SA, or will; @p first counts those that go for the first time. */
static void
to_owner(struct gw_worker *w, uint16_t owner, struct gw_pkt p, struct rte_mbuf *m, uint64_t *first)
{
	if (owner == w->id) {
		gw_park(w, p, m);
	} else if (p.hops == GW_MAX_HOPS) {
		gw_drop(w, m, GW_DROP_MOVING);
	} else {
		*(p.hops == 0 ? first : &w->counters.handed_off_again) += 1;
		p.hops++;
		gw_handoff(w, owner, m, p);
	}
}

void
gw_inbound_elsewhere(struct gw_worker *w, const struct ipsec_pcpu_sad_entry *e, struct gw_pkt p,
		struct rte_mbuf *m)
{
	if (e == NULL || e->owner == GW_NONE)
		gw_drop(w, m, GW_DROP_NO_SA);
	else
		to_owner(w, e->owner, p, m, &w->counters.handed_off_esp);
}

void
gw_want(struct gw_worker *w, uint16_t tunnel, const struct rte_mbuf *m)
{
	struct gw_want *want;

	if (likely(w->want == NULL))
		return;
	want = &w->want[tunnel];
	if (likely(__atomic_load_n(&w->want_from[tunnel], __ATOMIC_RELAXED) != want->noted))
		return;
	gw_flow_parse(&want->flow, rte_pktmbuf_mtod(m, const void *), m->data_len);
	__atomic_store_n(&want->noted, want->noted + 1, __ATOMIC_RELEASE);
	w->punt_kick = true;
}

void
gw_encap_elsewhere(struct gw_worker *w, uint16_t tunnel, struct rte_mbuf *pkts[], uint16_t n,
		bool handed)
{
	uint16_t owner = w->sa_out[tunnel].owner;

	if (!handed)
		gw_want(w, tunnel, pkts[0]);
	for (uint16_t i = 0; i < n; i++) {
		struct gw_pkt p = {.kind = GW_PKT_ENCAP, .tunnel = tunnel};

		if (handed)
			p.hops = gw_pkt(pkts[i])->hops;
		if (owner == GW_NONE)
			gw_drop(w, pkts[i], GW_DROP_NO_OUT_SA);
		else
			to_owner(w, owner, p, pkts[i], &w->counters.handed_off_fallback);
	}
}

/** Packets of one kind, for one tunnel or port. */
static void
run_in(struct gw_worker *w, struct gw_pkt p, struct rte_mbuf *pkts[], uint16_t n)
{
	switch ((enum gw_pkt_kind)p.kind) {
	case GW_PKT_ESP:
		gw_inbound(w, p, pkts, n);
		return;
	case GW_PKT_ESP_LARGE:
		for (uint16_t i = 0; i < n; i++)
			gw_inbound_large(w, p, pkts[i]);
		return;
	case GW_PKT_CLEAR:
		gw_outbound(w, p.port, pkts, n, true);
		return;
	case GW_PKT_ENCAP:
		gw_encap(w, p.tunnel, pkts, n, p.hops > 0);
		return;
	case GW_PKT_TX:
		for (uint16_t i = 0; i < n; i++)
			gw_tx(w, p.port, pkts[i]);
		return;
	case GW_PKT_FRAGMENT:
		for (uint16_t i = 0; i < n; i++)
			gw_fragment_in(w, pkts[i], p.port);
		return;
	default:
		/* the other kinds are never handed off, and never wait */
		RTE_ASSERT(false);
		for (uint16_t i = 0; i < n; i++)
			gw_drop(w, pkts[i], GW_DROP_RING_FULL);
	}
}

void
gw_handed_in(struct gw_worker *w, struct rte_mbuf *pkts[], uint16_t n)
{
	uint16_t from = 0;

	while (from < n) {
		struct gw_pkt p = *gw_pkt(pkts[from]);
		uint16_t to = from + 1;

		while (to < n && memcmp(gw_pkt(pkts[to]), &p, sizeof(p)) == 0)
			to++;
		run_in(w, p, pkts + from, to - from);
		from = to;
	}
}
