/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef IPSEC_PCPU_SAD_H
#define IPSEC_PCPU_SAD_H

/**
 * @file ipsec_pcpu_sad.h
 *
 * The inbound SA database of one thread: SPI -> own SA, or the number of the
 * thread that owns it. Open addressing, one cache line touched for a hit.
 * Each thread has a whole table of its own, so a lookup reads nothing that
 * another thread writes.
 */

#include <stddef.h>
#include <stdint.h>

#include <ipsec_pcpu.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/** One SA as a thread sees it; 16 bytes. */
struct ipsec_pcpu_sad_entry {
	uint32_t spi; /**< 0: the slot is free. */
	uint16_t owner; /**< Number of the owning thread. */
	uint16_t user; /**< The caller's: which tunnel it belongs to. */
	struct ipsec_pcpu_sa *sa; /**< The SA, or NULL where another thread owns it. */
};

/** Make and change it with the functions below; the layout is for the inline lookup. */
struct ipsec_pcpu_sad {
	uint32_t mask; /**< Slots - 1; they are a power of 2, at least twice the capacity. */
	uint32_t capacity;
	uint32_t count;
	struct ipsec_pcpu_sad_entry slot[] __rte_cache_aligned;
} __rte_cache_aligned;

/** Bytes for a table of @p capacity SAs, on a cache line. Any thread. */
size_t ipsec_pcpu_sad_size(uint32_t capacity);

/** Make an empty table in memory of ipsec_pcpu_sad_size(). */
void ipsec_pcpu_sad_init(struct ipsec_pcpu_sad *sad, uint32_t capacity);

/**
 * Add an SA, or say who owns it. Owner.
 *
 * @return
 *   - 0: added.
 *   - -EEXIST: there is one of that SPI.
 *   - -ENOSPC: the table is full.
 *   - -EINVAL: the SPI is below IPSEC_PCPU_MIN_SPI.
 */
int ipsec_pcpu_sad_add(struct ipsec_pcpu_sad *sad, const struct ipsec_pcpu_sad_entry *entry);

/**
 * Put an entry in place of that of its SPI: another owner, or the SA itself. Pointers to the
 * entry stay valid. -ENOENT where there is none of that SPI. Owner.
 */
int ipsec_pcpu_sad_set(struct ipsec_pcpu_sad *sad, const struct ipsec_pcpu_sad_entry *entry);

/** Remove an SA; -ENOENT where there is none of that SPI. Owner. */
int ipsec_pcpu_sad_del(struct ipsec_pcpu_sad *sad, uint32_t spi);

/** The slot at which the search for an SPI starts. SPIs are random already: mix a little. */
static inline uint32_t
ipsec_pcpu_sad_hash(uint32_t spi)
{
	return spi * UINT32_C(0x9e3779b1) >> 7 ^ spi;
}

/** Find an SA; NULL where there is none of that SPI. Owner. */
static inline const struct ipsec_pcpu_sad_entry *
ipsec_pcpu_sad_lookup(const struct ipsec_pcpu_sad *sad, uint32_t spi)
{
	uint32_t i = ipsec_pcpu_sad_hash(spi) & sad->mask;

	if (unlikely(spi == 0))
		return NULL;
	while (sad->slot[i].spi != spi) {
		if (sad->slot[i].spi == 0)
			return NULL;
		i = (i + 1) & sad->mask;
	}
	return &sad->slot[i];
}

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif /* IPSEC_PCPU_SAD_H */
