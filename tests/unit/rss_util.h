/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef RSS_UTIL_H
#define RSS_UTIL_H

/* What the tests of steering share: DPDK's softrss as a second opinion, random NICs. */

#include <rte_thash.h>

#include <ipsec_pcpu_steer.h>

#include "esp_util.h"

/** Words in wire order, hashed by DPDK; its key has to be aligned. */
static inline uint32_t
softrss_words(const uint8_t *key, const void *data, unsigned int n_words)
{
	uint32_t words[9], aligned[IPSEC_PCPU_RSS_KEY_LEN / 4];

	memcpy(aligned, key, sizeof(aligned));
	memcpy(words, data, n_words * sizeof(words[0]));
	for (unsigned int i = 0; i < n_words; i++)
		words[i] = rte_be_to_cpu_32(words[i]);
	return rte_softrss(words, n_words, (const uint8_t *)aligned);
}

/** Addresses of @p tuple, if any, and then a word in host order. */
static inline uint32_t
softrss_word(const uint8_t *key, const struct ipsec_pcpu_tuple *tuple, uint32_t word)
{
	unsigned int n = tuple == NULL ? 0 : tuple->family == AF_INET ? 1 : 4;
	uint32_t data[9];

	if (n > 0) {
		memcpy(data, tuple->saddr.ip6, 4 * n);
		memcpy(data + n, tuple->daddr.ip6, 4 * n);
	}
	data[2 * n] = rte_cpu_to_be_32(word);
	return softrss_words(key, data, 2 * n + 1);
}

static inline uint32_t
softrss(const uint8_t *key, const struct ipsec_pcpu_tuple *tuple)
{
	return softrss_word(key, tuple, (uint32_t)tuple->sport << 16 | tuple->dport);
}

static inline uint32_t
softrss_sport(const uint8_t *key, const struct ipsec_pcpu_tuple *tuple, uint16_t sport)
{
	return softrss_word(key, tuple, (uint32_t)sport << 16 | tuple->dport);
}

/** Of what comes back from a tuple's destination to this port. */
static inline uint32_t
softrss_back(const uint8_t *key, const struct ipsec_pcpu_tuple *tuple, uint16_t port)
{
	struct ipsec_pcpu_tuple back = {
			.family = tuple->family,
			.saddr = tuple->daddr,
			.daddr = tuple->saddr,
			.sport = tuple->dport,
			.dport = port,
	};

	return softrss(key, &back);
}

static inline void
random_bytes(void *to, size_t len)
{
	for (size_t i = 0; i < len; i++)
		((uint8_t *)to)[i] = (uint8_t)(rnd() >> 32);
}

static inline uint32_t
random_below(uint32_t n)
{
	return (uint32_t)((rnd() >> 16) % n);
}

static inline struct ipsec_pcpu_tuple
random_tuple(uint8_t family)
{
	struct ipsec_pcpu_tuple t;

	random_bytes(&t, sizeof(t));
	t.family = family;
	return t;
}

/** A NIC; with @p table, its queues are dealt out at random to that. */
static inline struct ipsec_pcpu_rss
random_rss(uint16_t reta_size, uint16_t n_queues, uint16_t *table)
{
	struct ipsec_pcpu_rss rss = {.reta_size = reta_size, .n_queues = n_queues, .reta = table};

	random_bytes(rss.key, sizeof(rss.key));
	for (uint16_t i = 0; table != NULL && i < reta_size; i++)
		table[i] = (uint16_t)random_below(n_queues);
	return rss;
}

/** Where a hash lands, said in another way than in the header. */
static inline unsigned int
queue_of(const struct ipsec_pcpu_rss *rss, uint32_t hash)
{
	uint32_t bucket = hash % rss->reta_size;

	return rss->reta == NULL ? bucket % rss->n_queues : rss->reta[bucket];
}

#endif /* RSS_UTIL_H */
