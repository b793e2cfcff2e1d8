/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * ESP packets that were put together in an mbuf of the large pool. Worker's thread.
 *
 * Such an mbuf must never be sent: ports are told that all mbufs are of one pool,
 * and free them in bulk. So once it is decrypted, a packet that fits in an ordinary
 * mbuf moves there. One that does not is larger than the MTU of any port: it is cut
 * into ordinary mbufs, refused, or given to the kernel. That is why these packets do
 * not go the way of all others, which would have to ask each.
 */

#include "send.h"

/** In an ordinary mbuf if it fits there. NULL: dropped, for want of one. */
static struct rte_mbuf *
move_out(struct gw_worker *w, struct rte_mbuf *m)
{
	uint32_t room = rte_pktmbuf_data_room_size(w->pool) - RTE_PKTMBUF_HEADROOM;
	struct rte_mbuf *copy;

	if (m->data_len > room)
		return m;
	copy = rte_pktmbuf_copy(m, w->pool, 0, UINT32_MAX);
	if (copy == NULL)
		gw_drop(w, m, GW_DROP_NO_MBUF);
	else
		rte_pktmbuf_free(m);
	return copy;
}

static void
decap(struct gw_worker *w, struct gw_pkt p, const struct ipsec_pcpu_sad_entry *e,
		struct rte_mbuf *m)
{
	uint8_t reason;
	uint16_t done;

	gw_lap(&w->cycles, GW_STAGE_classify);
	done = ipsec_pcpu_decap_burst(w->ctx, e->sa, &m, 1, &reason);
	gw_lap_sa(w, GW_STAGE_decap, e->sa, 1);
	if (done == 0) {
		gw_drop_esp(w, &m, &reason, 1);
		return;
	}
	if (gw_is_foreign(w, p))
		ipsec_pcpu_sa_count_foreign(e->sa, 1, p.landed);
	w->counters.decap++;
	w->counters.decap_bytes += m->data_len;
	m = move_out(w, m);
	if (m != NULL)
		gw_decrypted(w, &w->view->tunnel[e->user], e->sa, m);
	gw_lap(&w->cycles, GW_STAGE_forward);
}

void
gw_inbound_large(struct gw_worker *w, struct gw_pkt p, struct rte_mbuf *m)
{
	const struct ipsec_pcpu_sad_entry *e;
	rte_be32_t spi;

	memcpy(&spi, rte_pktmbuf_mtod_offset(m, const uint8_t *, m->l3_len + m->l4_len),
			sizeof(spi));
	e = ipsec_pcpu_sad_lookup(w->sad, rte_be_to_cpu_32(spi));
	if (e != NULL && e->sa != NULL)
		decap(w, p, e, m);
	else
		gw_inbound_elsewhere(w, e, p, m);
}
