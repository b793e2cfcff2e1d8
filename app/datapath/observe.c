/* SPDX-License-Identifier: BSD-3-Clause */

/* Once per SA and second: out of line, so that the rest of a burst does not pay for it. */

#include "observe.h"

#include <string.h>
#include <sys/socket.h>

#include <rte_ip.h>
#include <rte_udp.h>

void
gw_observe_outer(const struct rte_mbuf *m, uint8_t port, struct gw_observed *seen)
{
	const uint8_t *ip = rte_pktmbuf_mtod(m, const uint8_t *);
	struct rte_udp_hdr udp = {.src_port = 0};

	*seen = (struct gw_observed){.port = port,
			.has_hash = (m->ol_flags & RTE_MBUF_F_RX_RSS_HASH) != 0,
			.hash = m->hash.rss};
	if (ip[0] >> 4 == 4) {
		seen->tuple.family = AF_INET;
		memcpy(&seen->tuple.saddr, ip + 12, 4);
		memcpy(&seen->tuple.daddr, ip + 16, 4);
	} else {
		seen->tuple.family = AF_INET6;
		memcpy(&seen->tuple.saddr, ip + 8, 16);
		memcpy(&seen->tuple.daddr, ip + 24, 16);
	}
	if (m->l4_len != 0)
		memcpy(&udp, ip + m->l3_len, sizeof(udp));
	seen->tuple.sport = rte_be_to_cpu_16(udp.src_port);
	seen->tuple.dport = rte_be_to_cpu_16(udp.dst_port);
}

void
gw_observe(struct gw_observer *o, uint32_t spi, uint16_t tunnel, struct gw_observed *seen)
{
	uint32_t bit = gw_observer_bit(o, spi);

	o->done[bit / 64] |= UINT64_C(1) << bit % 64;
	seen->spi = spi;
	seen->tunnel = tunnel;
	o->seen[o->n++] = *seen;
	o->on = o->n < GW_OBSERVED_MAX;
}

unsigned int
gw_observer_take(struct gw_observer *o, bool on, struct gw_observed *to)
{
	unsigned int n = o->n;

	memcpy(to, o->seen, n * sizeof(*to));
	o->n = 0;
	o->on = on;
	/* where there was no room for all, it is the turn of others now */
	if (n == GW_OBSERVED_MAX)
		return n;
	memset(o->done, 0, sizeof(o->done));
	o->salt = o->salt * UINT32_C(1664525) + UINT32_C(1013904223);
	return n;
}
