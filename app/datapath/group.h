/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef GROUP_H
#define GROUP_H

/*
 * Sorting a burst by tunnel or by SA: in one pass, however many there are, the
 * order within a group kept. HOT, inline.
 */

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <rte_mbuf.h>
#include <rte_prefetch.h>

#include <ipsec_pcpu.h>

#include "../gw_limits.h"

#define GW_GROUP_SLOTS (2 * GW_BURST) /* a power of 2; never more than half full */
#define GW_GROUP_FREE 0xff

struct gw_groups {
	uint16_t n;
	uint32_t key[GW_BURST];
	uint8_t first[GW_BURST]; /* packets, by their number in the burst */
	uint8_t last[GW_BURST];
	uint8_t next[GW_BURST]; /* by packet: the one after it in its group */
	uint8_t slot[GW_GROUP_SLOTS]; /* hash of the key -> group */
};

static inline void
gw_groups_init(struct gw_groups *g)
{
	g->n = 0;
	memset(g->slot, GW_GROUP_FREE, sizeof(g->slot));
}

/** Put packet number @p i, the next one, into its group. True: it is the first of a new one. */
static inline bool
gw_groups_add(struct gw_groups *g, uint32_t key, uint16_t i)
{
	uint32_t s = (key ^ key >> 8 ^ key >> 16) % GW_GROUP_SLOTS;
	uint8_t at;

	for (; (at = g->slot[s]) != GW_GROUP_FREE; s = (s + 1) % GW_GROUP_SLOTS) {
		if (g->key[at] == key) {
			g->next[g->last[at]] = i;
			g->last[at] = i;
			return false;
		}
	}
	at = g->n++;
	g->slot[s] = at;
	g->key[at] = key;
	g->first[at] = g->last[at] = i;
	return true;
}

/** The packets of a group; how many. */
static inline uint16_t
gw_groups_get(const struct gw_groups *g, uint16_t at, struct rte_mbuf *const pkts[],
		struct rte_mbuf *batch[])
{
	uint8_t i = g->first[at];
	uint16_t n = 0;

	batch[n++] = pkts[i];
	while (i != g->last[at]) {
		i = g->next[i];
		batch[n++] = pkts[i];
	}
	return n;
}

/** Fetch what every packet needs of an SA: read-only part, header template, counters. */
static inline void
gw_prefetch_sa(const struct ipsec_pcpu_sa *sa)
{
	const uint8_t *p = (const uint8_t *)sa;

	if (unlikely(p == NULL))
		return; /* another worker encrypts for us */
	rte_prefetch0(p);
	rte_prefetch0(p + RTE_CACHE_LINE_SIZE);
	rte_prefetch0(p + 2 * RTE_CACHE_LINE_SIZE);
}

#endif /* GROUP_H */
