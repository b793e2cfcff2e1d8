/* SPDX-License-Identifier: BSD-3-Clause */

/* HOT. The poll loop of one worker. */

#include <rte_ethdev.h>

#include "classify.h"
#include "idle.h"
#include "msg.h"
#include "send.h"

/** Messages are looked for every so many rounds, or when a round found nothing. */
#define ROUNDS_PER_MSG_POLL 64

/** The packets of one burst, sorted by what is to be done with them. */
struct sorted {
	struct rte_mbuf *clear[GW_BURST];
	struct rte_mbuf *esp[GW_BURST];
	uint16_t n_clear;
	uint16_t n_esp;
};

static inline void
sort_one(struct gw_worker *w, uint16_t port, struct rte_mbuf *m, struct sorted *s)
{
	const struct gw_view *v = w->view;
	struct gw_parsed p = {.len = 0};
	int class = classify_frame(v->local, &v->port[port], m, &p);

	if (likely(class == GW_CLASS_CLEAR)) {
		gw_take(m, sizeof(struct rte_ether_hdr), p);
		s->clear[s->n_clear++] = m;
	} else if (likely(class == GW_CLASS_ESP)) {
		gw_take(m, sizeof(struct rte_ether_hdr), p);
		s->esp[s->n_esp++] = m;
	} else if (class == GW_CLASS_PUNT) {
		gw_punt_in_clear(w, m, port);
	} else if (class == GW_CLASS_FRAGMENT) {
		gw_take(m, sizeof(struct rte_ether_hdr), p);
		gw_fragment_in(w, m, port);
	} else {
		gw_drop(w, m, class - GW_CLASS_DROP);
	}
}

static inline unsigned int
poll_port(struct gw_worker *w, uint16_t port)
{
	struct rte_mbuf *pkts[GW_BURST];
	struct sorted s;
	uint64_t bytes = 0;
	uint16_t n = rte_eth_rx_burst(w->view->port[port].id, w->id, pkts, GW_BURST);

	if (n == 0)
		return 0;
	gw_lap(&w->cycles, GW_STAGE_rx);
	s.n_clear = s.n_esp = 0;
	for (unsigned int i = 0; i < n; i++)
		rte_prefetch0(rte_pktmbuf_mtod(pkts[i], void *));
	w->counters.rx += n;
	for (unsigned int i = 0; i < n; i++) {
		struct rte_mbuf *m = pkts[i];

		bytes += m->pkt_len;
		if (unlikely(m->nb_segs != 1) && !gw_make_linear(w, m))
			continue;
		sort_one(w, port, m, &s);
	}
	w->counters.rx_bytes += bytes;
	gw_lap(&w->cycles, GW_STAGE_classify);
	if (s.n_esp > 0)
		gw_inbound(w, (struct gw_pkt){.kind = GW_PKT_ESP, .port = port, .landed = w->id},
				s.esp, s.n_esp);
	if (s.n_clear > 0)
		gw_outbound(w, port, s.clear, s.n_clear, false);
	return n;
}

/** All of them was last written by another CPU: let the misses come at once, not one by one. */
static inline void
prefetch_handed(struct rte_mbuf *pkts[], unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		rte_mbuf_prefetch_part1(pkts[i]);
		rte_mbuf_prefetch_part2(pkts[i]);
	}
	for (unsigned int i = 0; i < n; i++) {
		const uint8_t *data = rte_pktmbuf_mtod(pkts[i], const uint8_t *);

		rte_prefetch0(data);
		rte_prefetch0(data + RTE_CACHE_LINE_SIZE);
	}
}

static unsigned int
poll_handoff(struct gw_worker *w, struct rte_ring *ring, unsigned int max)
{
	struct rte_mbuf *pkts[GW_BURST];
	unsigned int n = rte_ring_sc_dequeue_burst(ring, (void **)pkts, max, NULL);

	prefetch_handed(pkts, n);
	w->counters.handed_in += n;
	gw_lap(&w->cycles, GW_STAGE_handoff);
	gw_handed_in(w, pkts, n);
	return n;
}

static unsigned int
poll_handoffs(struct gw_worker *w)
{
	unsigned int n = 0;

	for (uint16_t i = 0; i < w->n_workers; i++)
		if (w->handoff_in[i] != NULL && !rte_ring_empty(w->handoff_in[i]))
			n += poll_handoff(w, w->handoff_in[i], GW_BURST);
	return n;
}

static inline void
flush(struct gw_worker *w)
{
	for (uint16_t i = 0; i < w->n_workers; i++)
		if (w->stage[i].n > 0)
			gw_handoff_flush(w, i);
	for (uint16_t i = 0; i < w->view->n_ports; i++)
		if (w->tx[i].n > 0)
			gw_tx_flush(w, i);
	/* a port without a queue of ours: its packets were staged for another worker just now */
	for (uint16_t i = 0; i < w->n_workers; i++)
		if (unlikely(w->stage[i].n > 0))
			gw_handoff_flush(w, i);
	if (unlikely(w->punts.n > 0 || w->punt_kick))
		gw_punt_flush(w);
}

void
gw_worker_forget_flows(struct gw_worker *w)
{
	w->view_no = (w->view_no + 1) % (1u << GW_FLOW_VIEW_BITS);
	if (w->view_no != 0)
		return;
	/* the numbers begin anew: none of those from before may be taken for one of now */
	memset(w->flow_cache, 0, GW_FLOW_CACHE * sizeof(*w->flow_cache));
	memset(&w->last_out, 0, sizeof(w->last_out));
	memset(&w->last_in, 0, sizeof(w->last_in));
}

void
gw_worker_drain(struct gw_worker *w)
{
	for (uint16_t i = 0; i < w->n_workers; i++) {
		struct rte_ring *ring = w->handoff_in[i];
		unsigned int left = ring == NULL ? 0 : rte_ring_count(ring);

		/* what comes in the meantime is none of those that were asked for */
		while (left > 0)
			left -= poll_handoff(w, ring, RTE_MIN(left, (unsigned int)GW_BURST));
	}
}

void
gw_worker_flush(struct gw_worker *w)
{
	flush(w);
}

unsigned int
gw_worker_round(struct gw_worker *w)
{
	const struct gw_view *v = w->view;
	unsigned int n = 0;

	gw_cycles_begin(&w->cycles);
	if (likely(w->run)) {
		for (uint16_t i = 0; i < v->n_ports; i++)
			if (likely(w->id < v->port[i].n_rxq && v->port[i].up))
				n += poll_port(w, i);
	}
	n += poll_handoffs(w);
	if (unlikely(!rte_ring_empty(w->inject)))
		n += gw_injected(w);
	flush(w);
	w->counters.loops++;
	w->counters.idle_loops += n == 0;
	gw_cycles_end(&w->cycles, n);
	return n;
}

int
gw_worker_main(void *arg)
{
	struct gw_worker *w = arg;
	unsigned int empty = 0;
	unsigned int rounds = 0;

	gw_idle_init(w);
	while (!w->exit) {
		if (gw_worker_round(w) > 0) {
			empty = 0;
		} else {
			gw_msg_poll(w);
			gw_idle(w, empty++);
		}
		if (unlikely(++rounds % ROUNDS_PER_MSG_POLL == 0)) {
			gw_msg_poll(w);
			gw_housekeeping(w);
		}
	}
	return 0;
}
