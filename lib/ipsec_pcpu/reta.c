/* SPDX-License-Identifier: BSD-3-Clause */

/* The planner of redirection tables. */

#include <errno.h>
#include <string.h>

#include <rte_common.h>

#include "ipsec_pcpu_steer.h"

/*
 * SAs in lists: the index of the first, then each one's next, to NONE. They are
 * dealt out thrice, by the low and the high byte of their queue and by bucket, as
 * in a radix sort: after it those of one queue stand together in each bucket's
 * list, and their weights add up without a table of all queues.
 */
#define NONE UINT16_MAX

static void
push(uint16_t *list, struct ipsec_pcpu_reta_sa sa[], uint16_t i)
{
	sa[i].next = *list;
	*list = i;
}

/** From lists to lists: each SA to the one that its "to" says. */
static void
deal(struct ipsec_pcpu_reta_sa sa[], const uint16_t from[], unsigned int n_from, uint16_t to[])
{
	for (unsigned int k = 0; k < n_from; k++)
		for (uint16_t i = from[k], next; i != NONE; i = next) {
			next = sa[i].next;
			push(&to[sa[i].to], sa, i);
		}
}

static void
make_lists(struct ipsec_pcpu_reta_sa sa[], unsigned int n_sas, uint16_t list[], uint16_t reta_size)
{
	uint16_t low[256], high[256];

	memset(low, 0xff, sizeof(low)); /* NONE */
	memset(high, 0xff, sizeof(high));
	memset(list, 0xff, reta_size * sizeof(list[0]));
	for (unsigned int i = 0; i < n_sas; i++) {
		push(&low[sa[i].queue & 0xff], sa, (uint16_t)i);
		sa[i].to = sa[i].queue >> 8;
	}
	deal(sa, low, RTE_DIM(low), high);
	for (unsigned int i = 0; i < n_sas; i++)
		sa[i].to = (uint16_t)(sa[i].hash & (reta_size - 1u));
	deal(sa, high, RTE_DIM(high), list);
}

/** The queue that a bucket with these SAs goes to; @p now has it. */
static uint16_t
heaviest(const struct ipsec_pcpu_reta_sa sa[], uint16_t first, uint16_t now, unsigned int *n_queues)
{
	uint64_t best_weight = 0;
	uint16_t best = now;

	*n_queues = 0;
	for (uint16_t i = first; i != NONE; ++*n_queues) {
		uint16_t queue = sa[i].queue;
		uint64_t weight = 0;

		for (; i != NONE && sa[i].queue == queue; i = sa[i].next)
			weight += RTE_MAX(sa[i].weight, 1u);
		if (weight < best_weight)
			continue;
		if (weight > best_weight || queue == now || (best != now && queue < best))
			best = queue;
		best_weight = weight;
	}
	return best;
}

int
ipsec_pcpu_reta_plan(uint16_t reta[], uint16_t reta_size, bool writable,
		struct ipsec_pcpu_reta_sa sa[], unsigned int n_sas,
		struct ipsec_pcpu_reta_plan *plan)
{
	uint16_t list[IPSEC_PCPU_MAX_RETA];

	if (!rte_is_power_of_2(reta_size) || reta_size > IPSEC_PCPU_MAX_RETA || n_sas > NONE)
		return -EINVAL;
	memset(plan, 0, sizeof(*plan));
	make_lists(sa, n_sas, list, reta_size);
	for (unsigned int bucket = 0; bucket < reta_size; bucket++) {
		unsigned int n_queues;
		uint16_t queue = heaviest(sa, list[bucket], reta[bucket], &n_queues);

		plan->conflicts += n_queues > 1;
		if (writable && queue != reta[bucket]) {
			reta[bucket] = queue;
			plan->changed++;
		}
		for (uint16_t i = list[bucket]; i != NONE; i = sa[i].next) {
			sa[i].to = reta[bucket];
			plan->moves += sa[i].to != sa[i].queue;
		}
	}
	return 0;
}
