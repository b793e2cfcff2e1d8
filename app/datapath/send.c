/* SPDX-License-Identifier: BSD-3-Clause */

/* The ends of a packet's way that free it or call the driver or the kernel. Worker's thread. */

#include "send.h"

#include <unistd.h>

#include <rte_cycles.h>
#include <rte_ethdev.h>

int gw_pkt_offset = -1;

int
gw_pkt_init(void)
{
	static const struct rte_mbuf_dynfield field = {
			.name = "gw_pkt",
			.size = sizeof(struct gw_pkt),
			.align = __alignof__(struct gw_pkt),
	};

	gw_pkt_offset = rte_mbuf_dynfield_register(&field);
	return gw_pkt_offset < 0 ? -rte_errno : 0;
}

void
gw_drop(struct gw_worker *w, struct rte_mbuf *m, enum gw_drop reason)
{
	w->counters.drop[reason]++;
	rte_pktmbuf_free(m);
}

void
gw_drop_esp(struct gw_worker *w, struct rte_mbuf *pkts[], const uint8_t reason[], uint16_t n)
{
	for (uint16_t i = 0; i < n; i++) {
		w->counters.esp_drop[reason[i]]++;
		rte_pktmbuf_free(pkts[i]);
	}
}

/** The port has fewer transmit queues than there are workers: through one that has. */
static void
tx_elsewhere(struct gw_worker *w, uint16_t port)
{
	struct gw_staged *s = &w->tx[port];
	uint16_t to = w->id % w->view->port[port].n_txq;

	for (uint16_t i = 0; i < s->n; i++) {
		w->counters.handed_off_spread++;
		gw_handoff(w, to, s->pkts[i], (struct gw_pkt){.kind = GW_PKT_TX, .port = port});
	}
	s->n = 0;
}

void
gw_tx_flush(struct gw_worker *w, uint16_t port)
{
	const struct gw_port_view *p = &w->view->port[port];
	struct gw_staged *s = &w->tx[port];
	uint64_t bytes = 0;
	uint16_t done = 0;

	if (unlikely(w->id >= p->n_txq)) {
		tx_elsewhere(w, port);
		return;
	}
	gw_lap(&w->cycles, GW_STAGE_forward);
	for (unsigned int i = 0; i < s->n; i++)
		bytes += s->pkts[i]->pkt_len;
	if (likely(p->up))
		done = rte_eth_tx_burst(p->id, w->id, s->pkts, s->n);
	for (unsigned int i = done; unlikely(i < s->n); i++) {
		bytes -= s->pkts[i]->pkt_len;
		gw_drop(w, s->pkts[i], p->up ? GW_DROP_TX_FULL : GW_DROP_PORT_GONE);
	}
	w->counters.tx += done;
	w->counters.tx_bytes += bytes;
	s->n = 0;
	gw_lap(&w->cycles, GW_STAGE_tx);
}

/**
 * May a packet take the last quarter of the ring to control? Neighbour
 * discovery and IKE must get through when others flood the gateway.
 */
static bool
is_urgent(const struct rte_mbuf *m)
{
	const uint8_t *p = rte_pktmbuf_mtod(m, const uint8_t *);
	rte_be16_t dport;

	if (gw_pkt(m)->kind != GW_PKT_PUNT || m->data_len < 14 + 24)
		return false;
	if (p[12] == 0x08 && p[13] == 0x06)
		return true; /* ARP */
	if (p[12] == 0x86 && p[13] == 0xdd)
		return p[14 + 6] == IPPROTO_ICMPV6;
	if (p[12] != 0x08 || p[13] != 0 || p[14] != 0x45 || p[14 + 9] != IPPROTO_UDP)
		return false;
	memcpy(&dport, p + 14 + 20 + 2, sizeof(dport));
	return dport == rte_cpu_to_be_16(500) || dport == rte_cpu_to_be_16(4500);
}

/** Wake control: one system call for many packets. */
static void
kick(struct gw_worker *w)
{
	static const uint64_t one = 1;
	uint64_t now = rte_rdtsc();

	w->punt_kick = true;
	if (now - w->punt_kicked < w->punt_interval)
		return; /* a later round does it */
	w->punt_kick = false;
	w->punt_kicked = now;
	/* a full eventfd counter is as good as a written one: control is awake */
	if (write(w->punt_fd, &one, sizeof(one)) < 0)
		return;
}

void
gw_punt_flush(struct gw_worker *w)
{
	struct gw_staged *s = &w->punts;
	unsigned int room = rte_ring_free_count(w->punt);

	for (uint16_t i = 0; i < s->n; i++) {
		struct rte_mbuf *m = s->pkts[i];

		if ((room > GW_PUNT_RING / 4 || is_urgent(m)) &&
				rte_ring_sp_enqueue(w->punt, m) == 0) {
			w->counters.punted++;
			room--;
		} else {
			gw_drop(w, m, GW_DROP_PUNT_FULL);
		}
	}
	s->n = 0;
	kick(w);
}

void
gw_send_slow(struct gw_worker *w, const struct gw_nexthop *nh, struct rte_mbuf *m)
{
	if (nh->kind != GW_NH_GLEAN && nh->kind != GW_NH_UNRESOLVED) {
		gw_drop(w, m, GW_DROP_NO_ROUTE);
		return;
	}
	/* few are held for a neighbour; a flood must not fill the ring to control */
	if (!gw_icmp_limit_take(&w->resolve_limit, rte_rdtsc())) {
		gw_drop(w, m, GW_DROP_NO_NEIGHBOUR);
		return;
	}
	gw_punt(w, m, GW_PKT_RESOLVE, nh->port);
}

bool
gw_make_linear(struct gw_worker *w, struct rte_mbuf *m)
{
	if (rte_pktmbuf_linearize(m) == 0)
		return true;
	gw_drop(w, m, GW_DROP_NOT_LINEAR);
	return false;
}
