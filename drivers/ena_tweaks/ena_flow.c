/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * What one flow may carry. AWS takes UDP and TCP by their 5-tuple, and all plain ESP
 * between two addresses for one flow. And: does the NIC hash as we reckon?
 */

#include "ena_tweaks.h"

#include <stdlib.h>
#include <string.h>

#include <rte_common.h>

static int
compare(const void *a, const void *b)
{
	const struct ena_flow *x = a, *y = b;
	int rc = memcmp(&x->tuple.saddr, &y->tuple.saddr, sizeof(x->tuple.saddr));

	if (rc == 0)
		rc = memcmp(&x->tuple.daddr, &y->tuple.daddr, sizeof(x->tuple.daddr));
	if (rc == 0)
		rc = (x->tuple.family > y->tuple.family) - (x->tuple.family < y->tuple.family);
	if (rc == 0)
		rc = (int)x->tuple.sport - (int)y->tuple.sport;
	return rc != 0 ? rc : (int)x->tuple.dport - (int)y->tuple.dport;
}

/** Within a flow, the SA with most first. */
static int
compare_rate(const void *a, const void *b)
{
	const struct ena_flow *x = a, *y = b;
	int rc = compare(a, b);

	return rc != 0 ? rc : (x->bps < y->bps) - (x->bps > y->bps);
}

unsigned int
ena_flows_merge(struct ena_flow *flows, unsigned int n)
{
	unsigned int kept = 0;

	if (n > 0)
		qsort(flows, n, sizeof(*flows), compare_rate);
	for (unsigned int i = 0; i < n; i++) {
		if (kept > 0 && compare(&flows[kept - 1], &flows[i]) == 0) {
			flows[kept - 1].bps += flows[i].bps;
			flows[kept - 1].n_sas += flows[i].n_sas;
		} else {
			flows[kept++] = flows[i];
		}
	}
	return kept;
}

unsigned int
ena_flow_near(double bps)
{
	static const unsigned int limits_gbps[] = {5, 10, 25};

	/* what is well above one limit is not held by it, so it has the next */
	for (size_t i = 0; i < RTE_DIM(limits_gbps); i++)
		if (bps >= limits_gbps[i] * 0.9e9 && bps <= limits_gbps[i] * 1.1e9)
			return limits_gbps[i];
	return 0;
}

/* The hash */

static uint32_t
hash_with_key_reversed(const uint8_t *key, const struct ipsec_pcpu_tuple *tuple)
{
	uint8_t reversed[ENA_RSS_KEY_LEN];

	for (unsigned int i = 0; i < sizeof(reversed); i++)
		reversed[i] = key[sizeof(reversed) - 1 - i];
	return ipsec_pcpu_tuple_hash(reversed, tuple);
}

enum ena_hash
ena_hash_check(const uint8_t *key, const struct ipsec_pcpu_tuple *tuple, const uint32_t *nic_hash)
{
	struct ipsec_pcpu_tuple back = *tuple;

	if (nic_hash == NULL)
		return ENA_HASH_NONE;
	if (key == NULL)
		return ENA_HASH_KEY_UNKNOWN;
	if (*nic_hash == ipsec_pcpu_tuple_hash(key, tuple))
		return ENA_HASH_SAME;
	if (*nic_hash == hash_with_key_reversed(key, tuple))
		return ENA_HASH_KEY_REVERSED;
	back.saddr = tuple->daddr;
	back.daddr = tuple->saddr;
	back.sport = tuple->dport;
	back.dport = tuple->sport;
	if (*nic_hash == ipsec_pcpu_tuple_hash(key, &back))
		return ENA_HASH_SWAPPED;
	return ENA_HASH_DIFFERS;
}

const char *
ena_hash_text(enum ena_hash verdict)
{
	static const char *const text[] = {
			[ENA_HASH_NONE] =
					"the NIC gives no hash with its packets: queues are learnt from where packets land",
			[ENA_HASH_KEY_UNKNOWN] =
					"the NIC's RSS key is not known: queues are learnt from where packets land",
			[ENA_HASH_SAME] =
					"the NIC hashes as reckoned: ports can be chosen for queues",
			[ENA_HASH_KEY_REVERSED] =
					"the NIC uses the RSS key from its last byte to its first: chosen ports land on other queues than meant, so let the gateway learn; and report it with the DPDK version",
			[ENA_HASH_SWAPPED] =
					"the NIC hashes destination before source: chosen ports land on other queues than meant, so let the gateway learn; and report it with the DPDK version",
			[ENA_HASH_DIFFERS] =
					"the NIC hashes otherwise than reckoned: chosen ports land on other queues than meant, so let the gateway learn from where packets land",
	};

	return text[verdict];
}
