/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * HOT. ESP packets: SPI -> own SA, or the owner's ring -> decap -> do the inner
 * addresses belong to the tunnel? -> next hop.
 */

#include "send.h"

static inline rte_be32_t
spi_of(const struct rte_mbuf *m)
{
	rte_be32_t spi;

	memcpy(&spi, rte_pktmbuf_mtod_offset(m, const uint8_t *, m->l3_len + m->l4_len),
			sizeof(spi));
	return spi;
}

/** May a packet from this tunnel be such a packet (RFC 4301 5.2)? */
static __rte_always_inline bool
selected(const struct gw_tunnel_view *tv, const struct rte_mbuf *m)
{
	const uint8_t *ip = rte_pktmbuf_mtod(m, const uint8_t *);
	struct gw_flow flow;

	if (likely(ip[0] >> 4 == 4 && m->data_len >= sizeof(struct rte_ipv4_hdr)))
		for (uint32_t i = 0; i < tv->n_sel; i++)
			if (likely(gw_sel_match_addrs4(&tv->sel[i], ip)))
				return true;
	gw_flow_parse(&flow, ip, m->data_len);
	for (uint32_t i = 0; i < tv->n_sel; i++)
		if (likely(gw_sel_match(&tv->sel[i], &flow)))
			return true;
	return false;
}

/** Where packets of this flow go that came through the tunnel; NULL: not the usual case. */
static __attribute__((noinline)) const struct gw_nexthop *
next_hop(struct gw_worker *w, const struct gw_tunnel_view *tv, const struct rte_mbuf *m,
		uint64_t tag)
{
	const uint8_t *ip = rte_pktmbuf_mtod(m, const uint8_t *);
	const struct gw_nexthop *nh;

	if (unlikely(!tv->up || tv->transit || !selected(tv, m)))
		return NULL;
	nh = gw_route(w, m);
	if (unlikely(nh->kind != GW_NH_ETHER))
		return NULL;
	if (likely(gw_flow_key_read(&w->last_in, ip, m->data_len, tag)))
		w->last_in_nh = nh;
	else
		w->last_in.w[0] = 0;
	return nh;
}

/**
 * Make a decrypted packet ready to be sent on. Returns the next hop, or NULL,
 * nothing changed, where it is not the usual case: gw_decrypted().
 */
static inline const struct gw_nexthop *
prepare(struct gw_worker *w, const struct gw_tunnel_view *tv, struct rte_mbuf *m, uint64_t tag)
{
	const uint8_t *ip = rte_pktmbuf_mtod(m, const uint8_t *);
	const struct gw_nexthop *nh = w->last_in_nh;

	if (!gw_flow_key_is_of(&w->last_in, ip, m->data_len, tag))
		nh = next_hop(w, tv, m, tag);
	if (unlikely(nh == NULL || m->data_len > nh->mtu || !gw_ttl_dec(m)))
		return NULL;
	if (unlikely(w->view->mss_clamp))
		gw_mss_clamp_to(m, tv->inner_mtu);
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

/** Packets in a row that go to the same next hop, still to be sent. */
struct pending {
	const struct gw_nexthop *nh; /* NULL: none */
	struct rte_mbuf **pkts; /* where they begin */
};

/** Send those before @p next, and begin anew there. */
static inline void
send_pending(struct gw_worker *w, struct pending *p, const struct gw_nexthop *nh,
		struct rte_mbuf **next)
{
	if (p->nh != NULL)
		gw_send_burst(w, p->nh, p->pkts, next - p->pkts);
	p->nh = nh;
	p->pkts = next;
}

/** Send a decrypted packet on; it stays pending. @p tag: of the tunnel. */
static inline void
forward(struct gw_worker *w, const struct gw_tunnel_view *tv, uint64_t tag,
		struct ipsec_pcpu_sa *sa, struct rte_mbuf **m, struct pending *pending)
{
	const struct gw_nexthop *nh = prepare(w, tv, *m, tag);

	if (unlikely(nh != pending->nh))
		send_pending(w, pending, nh, m);
	if (unlikely(nh == NULL))
		gw_decrypted(w, tv, sa, *m);
}

/** A packet whose way in is noted if it turns out to be authentic. */
struct noted {
	const struct rte_mbuf *m; /* NULL: none */
	struct gw_observed seen;
};

/** Note a packet, if the observer has none of its SA yet. */
static inline void
note(const struct gw_worker *w, struct gw_pkt p, const struct ipsec_pcpu_sad_entry *e,
		const struct rte_mbuf *m, struct noted *noted)
{
	/* fragments put together land anywhere: nothing to learn from */
	if (likely(!gw_observer_wants(&w->observer, e->spi)) || p.landed == GW_NONE)
		return;
	noted->m = m;
	gw_observe_outer(m, p.port, &noted->seen);
}

/** Packets of one SA. */
static void
decap(struct gw_worker *w, struct gw_pkt p, const struct ipsec_pcpu_sad_entry *e,
		struct rte_mbuf *pkts[], uint16_t n)
{
	const struct gw_tunnel_view *tv = &w->view->tunnel[e->user];
	uint64_t tag = gw_flow_tag(e->user, w->view_no);
	struct pending pending = {.nh = NULL};
	struct noted noted = {.m = NULL};
	uint8_t reason[GW_BURST];
	uint64_t bytes = 0;
	uint16_t done;

	note(w, p, e, pkts[0], &noted);
	done = ipsec_pcpu_decap_burst(w->ctx, e->sa, pkts, n, reason);
	gw_lap_sa(w, GW_STAGE_decap, e->sa, n);
	/* those that failed stand last */
	if (unlikely(noted.m != NULL) && done > 0 && pkts[0] == noted.m)
		gw_observe(&w->observer, e->spi, e->user, &noted.seen);
	if (unlikely(done < n))
		gw_drop_esp(w, pkts + done, reason + done, n - done);
	if (unlikely(gw_is_foreign(w, p)))
		ipsec_pcpu_sa_count_foreign(e->sa, done, p.landed);
	for (unsigned int i = 0; i < done; i++) {
		bytes += pkts[i]->data_len;
		forward(w, tv, tag, e->sa, &pkts[i], &pending);
	}
	send_pending(w, &pending, NULL, pkts + done);
	w->counters.decap += done;
	w->counters.decap_bytes += bytes;
	gw_lap(&w->cycles, GW_STAGE_forward);
}

/** Packets of several SAs: a packet's is entry[from[i]] once they are decrypted. */
static void
decap_mixed(struct gw_worker *w, struct gw_pkt p, struct rte_mbuf *pkts[],
		const struct ipsec_pcpu_sad_entry *const entry[], uint16_t n)
{
	struct pending pending = {.nh = NULL};
	struct noted noted = {.m = NULL};
	struct ipsec_pcpu_sa *sa[GW_BURST];
	uint8_t reason[GW_BURST];
	uint8_t from[GW_BURST];
	uint64_t bytes = 0;
	uint16_t done;

	for (unsigned int i = 0; i < n; i++) {
		sa[i] = entry[i]->sa;
		ipsec_pcpu_sa_prefetch(sa[i]);
		if (likely(noted.m == NULL))
			note(w, p, entry[i], pkts[i], &noted);
	}
	done = ipsec_pcpu_decap_mixed(w->ctx, sa, pkts, n, from, reason);
	gw_lap_sas(w, GW_STAGE_decap, sa, n);
	if (unlikely(done < n))
		gw_drop_esp(w, pkts + done, reason + done, n - done);
	for (unsigned int i = 0; i < done; i++) {
		const struct ipsec_pcpu_sad_entry *e = entry[from[i]];

		bytes += pkts[i]->data_len;
		if (unlikely(noted.m == pkts[i]))
			gw_observe(&w->observer, e->spi, e->user, &noted.seen);
		if (unlikely(gw_is_foreign(w, p)))
			ipsec_pcpu_sa_count_foreign(e->sa, 1, p.landed);
		forward(w, &w->view->tunnel[e->user], gw_flow_tag(e->user, w->view_no), e->sa,
				&pkts[i], &pending);
	}
	send_pending(w, &pending, NULL, pkts + done);
	w->counters.decap += done;
	w->counters.decap_bytes += bytes;
	gw_lap(&w->cycles, GW_STAGE_forward);
}

/** Are all packets of a burst of this SPI, in wire order? */
static inline bool
all_of(struct rte_mbuf *const pkts[], uint16_t n, rte_be32_t spi)
{
	uint32_t differ = spi_of(pkts[n - 1]) ^ spi;

	if (differ != 0)
		return false; /* many SAs: found out at once */
	for (unsigned int i = 1; i + 1 < n; i++)
		differ |= spi_of(pkts[i]) ^ spi;
	return differ == 0;
}

/** A burst of several SPIs, or of one that is not ours: packet by packet. */
static void
look_up(struct gw_worker *w, struct gw_pkt p, struct rte_mbuf *pkts[], uint16_t n)
{
	const struct ipsec_pcpu_sad_entry *entry[GW_BURST];
	uint16_t own = 0;

	for (unsigned int i = 0; i < n; i++) {
		const struct ipsec_pcpu_sad_entry *e =
				ipsec_pcpu_sad_lookup(w->sad, rte_be_to_cpu_32(spi_of(pkts[i])));

		if (likely(e != NULL && e->sa != NULL)) {
			entry[own] = e;
			pkts[own++] = pkts[i];
		} else {
			gw_inbound_elsewhere(w, e, p, pkts[i]);
		}
	}
	if (likely(p.hops == 0 && p.landed == w->id))
		w->counters.esp_owned += own;
	gw_lap(&w->cycles, GW_STAGE_lookup);
	if (likely(own > 0))
		decap_mixed(w, p, pkts, entry, own);
}

void
gw_inbound(struct gw_worker *w, struct gw_pkt p, struct rte_mbuf *pkts[], uint16_t n)
{
	const struct ipsec_pcpu_sad_entry *e;
	rte_be32_t spi = spi_of(pkts[0]);

	if (likely(all_of(pkts, n, spi))) {
		e = ipsec_pcpu_sad_lookup(w->sad, rte_be_to_cpu_32(spi));
		if (likely(e != NULL && e->sa != NULL)) {
			if (likely(p.hops == 0 && p.landed == w->id))
				w->counters.esp_owned += n;
			gw_lap(&w->cycles, GW_STAGE_lookup);
			decap(w, p, e, pkts, n);
			return;
		}
	}
	look_up(w, p, pkts, n);
}
