/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Packets that wait for an SA. While an SA goes from one worker to another, nobody
 * may use it; what needs it waits at the worker that it came to, in order, until
 * that one is told where the SA is. A ring, from the worker to itself: bounded, and
 * what waits on goes behind what comes after it while the ring is looked through.
 */

#include "send.h"

void
gw_park(struct gw_worker *w, struct gw_pkt p, struct rte_mbuf *m)
{
	*gw_pkt(m) = p;
	if (rte_ring_sp_enqueue(w->parked, m) != 0)
		gw_drop(w, m, GW_DROP_MOVING);
	else if (!w->unparking)
		w->counters.parked++;
}

void
gw_unpark(struct gw_worker *w)
{
	struct rte_mbuf *pkts[GW_BURST];
	unsigned int left = rte_ring_count(w->parked);

	w->unparking = true;
	while (left > 0) {
		unsigned int n = rte_ring_sc_dequeue_burst(w->parked, (void **)pkts,
				RTE_MIN(left, (unsigned int)GW_BURST), NULL);

		/* they are what they were when they came, be it from a port or from a worker */
		gw_handed_in(w, pkts, n);
		left -= n;
	}
	w->unparking = false;
	/* before the next change: what goes to the owner is to be there by then */
	gw_worker_flush(w);
}

void
gw_park_empty(struct gw_worker *w)
{
	void *m;

	while (rte_ring_sc_dequeue(w->parked, &m) == 0)
		gw_drop(w, m, GW_DROP_MOVING);
}
