/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * HOT. ESP packets: SPI -> own SA, or the owner's ring -> decap -> do the inner
 * addresses belong to the tunnel? -> next hop.
 */

#include "group.h"
#include "send.h"

static inline uint32_t
spi_of(const struct rte_mbuf *m)
{
	rte_be32_t spi;

	memcpy(&spi, rte_pktmbuf_mtod_offset(m, const uint8_t *, m->l3_len + m->l4_len),
			sizeof(spi));
	return rte_be_to_cpu_32(spi);
}

/** May a packet from this tunnel be such a packet (RFC 4301 5.2)? */
static __rte_always_inline bool
selected(const struct gw_tunnel_view *tv, const struct rte_mbuf *m)
{
	struct gw_flow flow;

	gw_flow_parse(&flow, rte_pktmbuf_mtod(m, const void *), m->data_len);
	for (uint32_t i = 0; i < tv->n_sel; i++)
		if (likely(gw_sel_match(&tv->sel[i], &flow)))
			return true;
	return false;
}

/**
 * Make a decrypted packet ready to be sent on. Returns the next hop, or NULL,
 * nothing changed, where it is not the usual case: gw_decrypted().
 */
static inline const struct gw_nexthop *
prepare(struct gw_worker *w, const struct gw_tunnel_view *tv, struct rte_mbuf *m)
{
	const struct gw_nexthop *nh;

	if (unlikely(!tv->up || tv->transit || !selected(tv, m)))
		return NULL;
	nh = gw_route(w, m);
	if (unlikely(nh->kind != GW_NH_ETHER || m->data_len > nh->mtu || !gw_ttl_ok(m)))
		return NULL;
	if (unlikely(w->view->mss_clamp))
		gw_mss_clamp_to(m, tv->inner_mtu);
	gw_ttl_dec(m);
	return nh;
}

void
gw_decrypted(struct gw_worker *w, const struct gw_tunnel_view *tv, struct ipsec_pcpu_sa *sa,
		struct rte_mbuf *m)
{
	if (!tv->up) {
		gw_drop(w, m, GW_DROP_TUNNEL_DOWN);
	} else if (!selected(tv, m)) {
		ipsec_pcpu_sa_count_drop(sa, IPSEC_PCPU_DROP_SELECTOR, 1);
		gw_drop_esp(w, &m, &(uint8_t){IPSEC_PCPU_DROP_SELECTOR}, 1);
	} else {
		gw_from_tunnel(w, tv, m);
	}
}

/** Send decrypted packets on, in order, runs with the same next hop as a burst. */
static inline void
forward(struct gw_worker *w, const struct gw_tunnel_view *tv, struct ipsec_pcpu_sa *sa,
		struct rte_mbuf *pkts[], uint16_t n)
{
	const struct gw_nexthop *run = NULL;
	uint16_t from = 0;

	for (uint16_t i = 0; i < n; i++) {
		const struct gw_nexthop *nh = prepare(w, tv, pkts[i]);

		if (nh != run) {
			if (run != NULL)
				gw_send_burst(w, run, pkts + from, i - from);
			run = nh;
			from = i;
		}
		if (unlikely(nh == NULL))
			gw_decrypted(w, tv, sa, pkts[i]);
	}
	if (likely(run != NULL))
		gw_send_burst(w, run, pkts + from, n - from);
}

static void
decap(struct gw_worker *w, struct gw_pkt p, const struct ipsec_pcpu_sad_entry *e,
		struct rte_mbuf *pkts[], uint16_t n)
{
	const struct gw_tunnel_view *tv = &w->view->tunnel[e->user];
	const struct rte_mbuf *noted = NULL;
	struct gw_observed seen;
	uint8_t reason[GW_BURST];
	uint64_t bytes = 0;
	uint16_t done;

	/* fragments put together land anywhere: nothing to learn from */
	if (unlikely(gw_observer_wants(&w->observer, e->spi)) && p.landed != GW_NONE) {
		noted = pkts[0];
		gw_observe_outer(noted, p.port, &seen);
	}
	done = ipsec_pcpu_decap_burst(w->ctx, e->sa, pkts, n, reason);
	gw_lap_sa(w, GW_STAGE_decap, e->sa, n);
	/* those that failed stand last */
	if (unlikely(noted != NULL) && done > 0 && pkts[0] == noted)
		gw_observe(&w->observer, e->spi, e->user, &seen);
	if (unlikely(done < n))
		gw_drop_esp(w, pkts + done, reason + done, n - done);
	if (unlikely(gw_is_foreign(w, p)))
		ipsec_pcpu_sa_count_foreign(e->sa, done, p.landed);
	for (uint16_t i = 0; i < done; i++)
		bytes += pkts[i]->data_len;
	w->counters.decap += done;
	w->counters.decap_bytes += bytes;
	forward(w, tv, e->sa, pkts, done);
	gw_lap(&w->cycles, GW_STAGE_forward);
}

/** Decrypt packets SA by SA, each SA's together and in order. */
static void
decap_by_sa(struct gw_worker *w, struct gw_pkt p, struct rte_mbuf *pkts[],
		const struct ipsec_pcpu_sad_entry *const entry[], uint16_t n)
{
	struct rte_mbuf *batch[GW_BURST];
	struct gw_groups groups;

	gw_groups_init(&groups);
	for (uint16_t i = 0; i < n; i++)
		if (gw_groups_add(&groups, entry[i]->spi, i))
			gw_prefetch_sa(entry[i]->sa);
	for (uint16_t g = 0; g < groups.n; g++) {
		const struct ipsec_pcpu_sad_entry *e = entry[groups.first[g]];

		decap(w, p, e, batch, gw_groups_get(&groups, g, pkts, batch));
	}
}

void
gw_inbound(struct gw_worker *w, struct gw_pkt p, struct rte_mbuf *pkts[], uint16_t n)
{
	const struct ipsec_pcpu_sad_entry *entry[GW_BURST];
	const struct ipsec_pcpu_sad_entry *e = NULL;
	uint16_t own = 0;
	bool mixed = false;

	for (uint16_t i = 0; i < n; i++) {
		uint32_t spi = spi_of(pkts[i]);

		if (e == NULL || e->spi != spi)
			e = ipsec_pcpu_sad_lookup(w->sad, spi);
		if (likely(e != NULL && e->sa != NULL)) {
			entry[own] = e;
			pkts[own++] = pkts[i];
			mixed |= e != entry[0];
		} else {
			gw_inbound_elsewhere(w, e, p, pkts[i]);
		}
	}
	if (likely(p.hops == 0 && p.landed == w->id))
		w->counters.esp_owned += own;
	gw_lap(&w->cycles, GW_STAGE_lookup);
	if (unlikely(mixed))
		decap_by_sa(w, p, pkts, entry, own);
	else if (likely(own > 0))
		decap(w, p, entry[0], pkts, own);
}
