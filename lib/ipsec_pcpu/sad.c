/* SPDX-License-Identifier: BSD-3-Clause */

/* The inbound SA database: open addressing, linear probing, no tombstones. */

#include <errno.h>
#include <string.h>

#include "ipsec_pcpu_sad.h"

static uint32_t
sad_slots(uint32_t capacity)
{
	return rte_align32pow2(2 * RTE_MAX(capacity, 1u));
}

size_t
ipsec_pcpu_sad_size(uint32_t capacity)
{
	size_t size = sizeof(struct ipsec_pcpu_sad) +
			(size_t)sad_slots(capacity) * sizeof(struct ipsec_pcpu_sad_entry);

	return RTE_ALIGN_CEIL(size, (size_t)RTE_CACHE_LINE_SIZE);
}

void
ipsec_pcpu_sad_init(struct ipsec_pcpu_sad *sad, uint32_t capacity)
{
	memset(sad, 0, ipsec_pcpu_sad_size(capacity));
	sad->mask = sad_slots(capacity) - 1;
	sad->capacity = capacity;
}

int
ipsec_pcpu_sad_add(struct ipsec_pcpu_sad *sad, const struct ipsec_pcpu_sad_entry *entry)
{
	uint32_t i;

	if (entry->spi < IPSEC_PCPU_MIN_SPI)
		return -EINVAL;
	if (ipsec_pcpu_sad_lookup(sad, entry->spi) != NULL)
		return -EEXIST;
	if (sad->count == sad->capacity)
		return -ENOSPC;
	i = ipsec_pcpu_sad_hash(entry->spi) & sad->mask;
	while (sad->slot[i].spi != 0)
		i = (i + 1) & sad->mask;
	sad->slot[i] = *entry;
	sad->count++;
	return 0;
}

int
ipsec_pcpu_sad_set(struct ipsec_pcpu_sad *sad, const struct ipsec_pcpu_sad_entry *entry)
{
	const struct ipsec_pcpu_sad_entry *old = ipsec_pcpu_sad_lookup(sad, entry->spi);

	if (old == NULL)
		return -ENOENT;
	sad->slot[old - sad->slot] = *entry;
	return 0;
}

/** Whether an entry whose search starts at @p home may stand at @p hole instead of at @p i. */
static bool
sad_may_move(const struct ipsec_pcpu_sad *sad, uint32_t home, uint32_t hole, uint32_t i)
{
	/* Distances from home, modulo the table: the hole must not lie before home. */
	return ((hole - home) & sad->mask) < ((i - home) & sad->mask);
}

int
ipsec_pcpu_sad_del(struct ipsec_pcpu_sad *sad, uint32_t spi)
{
	const struct ipsec_pcpu_sad_entry *entry = ipsec_pcpu_sad_lookup(sad, spi);
	uint32_t hole;

	if (entry == NULL)
		return -ENOENT;
	/* Close the gap, so that no search ends at it: shift back what may come. */
	hole = (uint32_t)(entry - sad->slot);
	for (uint32_t i = (hole + 1) & sad->mask; sad->slot[i].spi != 0; i = (i + 1) & sad->mask) {
		uint32_t home = ipsec_pcpu_sad_hash(sad->slot[i].spi) & sad->mask;

		if (sad_may_move(sad, home, hole, i)) {
			sad->slot[hole] = sad->slot[i];
			hole = i;
		}
	}
	memset(&sad->slot[hole], 0, sizeof(sad->slot[hole]));
	sad->count--;
	return 0;
}
