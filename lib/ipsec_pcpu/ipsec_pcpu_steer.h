/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef IPSEC_PCPU_STEER_H
#define IPSEC_PCPU_STEER_H

/**
 * @file ipsec_pcpu_steer.h
 *
 * Which queue will this tuple land on, which port or SPI lands on that queue,
 * and what a redirection table (RETA) has to be so that every SA's packets land
 * on its owner's queue. Pure; any thread.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rte_byteorder.h>

#include <ipsec_pcpu.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

#define IPSEC_PCPU_RSS_KEY_LEN 40

/** What RSS hashes of a TCP or UDP packet, in the order in which it does. */
struct ipsec_pcpu_tuple {
	uint8_t family; /**< AF_INET or AF_INET6. */
	union ipsec_pcpu_addr saddr;
	union ipsec_pcpu_addr daddr;
	uint16_t sport;
	uint16_t dport;
};

/**
 * Toeplitz hash.
 *
 * @param key
 *   At least @p len + 4 bytes.
 * @param data
 *   @p len bytes in wire order.
 */
uint32_t ipsec_pcpu_toeplitz(const uint8_t *key, const uint8_t *data, size_t len);

/**
 * The RSS hash of a tuple with addresses and ports (hash types
 * NONFRAG_IPV4_UDP, NONFRAG_IPV6_UDP and the like for TCP).
 *
 * @param key
 *   IPSEC_PCPU_RSS_KEY_LEN bytes.
 */
uint32_t ipsec_pcpu_tuple_hash(const uint8_t *key, const struct ipsec_pcpu_tuple *tuple);

/** The largest redirection table; its size is a power of 2. */
#define IPSEC_PCPU_MAX_RETA 4096

/** How a NIC spreads packets: hash -> bucket (its low bits) -> queue. */
struct ipsec_pcpu_rss {
	uint8_t key[IPSEC_PCPU_RSS_KEY_LEN];
	uint16_t reta_size; /**< Buckets: a power of 2, to IPSEC_PCPU_MAX_RETA. */
	uint16_t n_queues;
	/** The queue of each bucket, reta_size of them; NULL: bucket modulo n_queues. */
	const uint16_t *reta;
};

/** The bucket that a hash falls into. */
static inline uint16_t
ipsec_pcpu_rss_bucket(const struct ipsec_pcpu_rss *rss, uint32_t hash)
{
	return (uint16_t)(hash & (rss->reta_size - 1u));
}

/** The queue that a packet with this hash lands on. */
static inline uint16_t
ipsec_pcpu_rss_queue(const struct ipsec_pcpu_rss *rss, uint32_t hash)
{
	uint16_t bucket = ipsec_pcpu_rss_bucket(rss, hash);

	return rss->reta != NULL ? rss->reta[bucket] : bucket % rss->n_queues;
}

/**
 * The RSS hash of ESP on NICs that have it (RTE_ETH_RSS_ESP). Which of the two a NIC makes no
 * flag says for sure: the hash of an authentic packet does.
 *
 * @param addrs
 *   Addresses that are hashed before the SPI; NULL: the SPI alone.
 * @param spi
 *   In host order.
 */
uint32_t ipsec_pcpu_esp_hash(
		const uint8_t *key, const struct ipsec_pcpu_tuple *addrs, uint32_t spi);

/**
 * Where a search begins, and within which bounds (both included) it goes up and
 * once round. A start outside them is min. Where no port or SPI may be (0, more
 * than 65,535, less than IPSEC_PCPU_MIN_SPI) is no part of it.
 */
struct ipsec_pcpu_range {
	uint32_t start;
	uint32_t min;
	uint32_t max;
};

/**
 * The first source port, from range->start on, with which @p tuple lands on @p queue.
 *
 * @param tuple
 *   Its sport is not looked at.
 * @return
 *   The port; 0 where there is none (also where @p rss is not valid). Go on
 *   behind it: start = port + 1; after the last one the first comes again.
 */
uint16_t ipsec_pcpu_sport_find(const struct ipsec_pcpu_rss *rss,
		const struct ipsec_pcpu_tuple *tuple, uint16_t queue,
		const struct ipsec_pcpu_range *range);

/**
 * The same for a port that places both directions: the source port towards the
 * peer's NIC @p there, and the destination port of what comes back to @p here.
 *
 * @param tuple
 *   Towards the peer; its dport is the source port of the way back.
 */
uint16_t ipsec_pcpu_sport_find2(const struct ipsec_pcpu_rss *there, uint16_t queue_there,
		const struct ipsec_pcpu_rss *here, uint16_t queue_here,
		const struct ipsec_pcpu_tuple *tuple, const struct ipsec_pcpu_range *range);

/**
 * The first SPI of a range that lands on @p queue of a NIC that hashes ESP; 0:
 * none. @p addrs as for ipsec_pcpu_esp_hash(). A range of all SPIs may be
 * searched: even with a bad key it is done in a millisecond or so.
 */
uint32_t ipsec_pcpu_spi_find(const struct ipsec_pcpu_rss *rss, const struct ipsec_pcpu_tuple *addrs,
		uint16_t queue, const struct ipsec_pcpu_range *range);

/**
 * How many of the low log2(reta_size) bits of the hash a source port can set
 * independently of each other. A key with fewer than log2(reta_size) reaches
 * only part of the buckets: refuse it (0.1 % of random keys).
 */
unsigned int ipsec_pcpu_key_rank(const uint8_t *key, uint8_t family, uint16_t reta_size);

/** An inbound SA, for the planner. */
struct ipsec_pcpu_reta_sa {
	uint32_t hash; /**< Of its packets. */
	uint32_t weight; /**< Its traffic, in any unit; 0 counts as 1. */
	uint16_t queue; /**< Its owner's. */
	uint16_t to; /**< Out: where its packets land by the plan; not its queue: move it there. */
	uint16_t next; /**< Scratch: need not be set. */
};

struct ipsec_pcpu_reta_plan {
	unsigned int changed; /**< Buckets that get another queue. */
	unsigned int conflicts; /**< Buckets with SAs of more than one owner. */
	unsigned int moves; /**< SAs that cannot land on their owner's queue. */
};

/**
 * Plan a redirection table: each bucket that SAs fall into goes to the queue of
 * their owner, of several to the one with most weight (of equals to the one that
 * has it, else to the lowest); all others stay. With @p writable false nothing
 * changes but @p sa: the SAs are to follow their packets.
 *
 * @param reta
 *   The table as it is; the plan on return.
 * @return
 *   0, or -EINVAL, and nothing is written: reta_size is no power of 2 or too
 *   large, or more than 65,535 SAs.
 */
int ipsec_pcpu_reta_plan(uint16_t reta[], uint16_t reta_size, bool writable,
		struct ipsec_pcpu_reta_sa sa[], unsigned int n_sas,
		struct ipsec_pcpu_reta_plan *plan);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif /* IPSEC_PCPU_STEER_H */
