/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef FLOW_CACHE_H
#define FLOW_CACHE_H

/*
 * HOT, inline. What the policy, or selectors and route, said of a flow the last time.
 * A key is the words of the packet that such an answer may depend on, as they lie in memory:
 * three loads and two masks instead of a parsed flow. Of two packets with the same key,
 * struct gw_flow is the same; the reverse need not hold.
 *
 * A key holds the number of the view, too: a new view makes all of them stale at once.
 */

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <rte_branch_prediction.h>
#include <rte_common.h>

#include "flow.h"
#include "policy.h"

#if RTE_BYTE_ORDER == RTE_BIG_ENDIAN
#error "the masks are written for little-endian machines, as intel-ipsec-mb is"
#endif

/** Entries: 1 MB for each worker, of which as much is in caches as there are flows. */
#define GW_FLOW_CACHE_BITS 14
#define GW_FLOW_CACHE (1u << GW_FLOW_CACHE_BITS)

/** Number of a view in a key: so many bits. */
#define GW_FLOW_VIEW_BITS 24

struct gw_flow_key {
	uint64_t w[6]; /* IPv4: the first 3 */
};

/** A flow and its verdict. All zero: free, as no IP packet begins with 0. */
struct gw_flow_entry {
	struct gw_flow_key key;
	struct gw_verdict verdict;
} __rte_cache_aligned;

/* IPv4: version and header length, fragment offset and MF; protocol, source; all of the rest. */
#define GW_FLOW_MASK4_0 UINT64_C(0xff3f0000000000ff)
#define GW_FLOW_MASK4_1 UINT64_C(0xffffffff0000ff00)
/* IPv6: version, next header. */
#define GW_FLOW_MASK6_0 UINT64_C(0x00ff0000000000f0)

/**
 * What a key holds besides the packet, in bytes of it that are masked.
 *
 * @param from
 *   Where the packet comes from: a port or a tunnel.
 * @param view_no
 *   GW_FLOW_VIEW_BITS bits.
 */
static inline uint64_t
gw_flow_tag(uint16_t from, uint32_t view_no)
{
	return (uint64_t)from << 8 | (uint64_t)view_no << 24;
}

static inline bool
gw_flow_key_equal(const struct gw_flow_key *a, const struct gw_flow_key *b)
{
	uint64_t diff = (a->w[0] ^ b->w[0]) | (a->w[1] ^ b->w[1]) | (a->w[2] ^ b->w[2]);

	if (unlikely((a->w[0] & 0xf0) == 0x60))
		diff |= (a->w[3] ^ b->w[3]) | (a->w[4] ^ b->w[4]) | (a->w[5] ^ b->w[5]);
	return diff == 0;
}

/** IPv6; false: extension headers, no room for ports. */
static inline bool
gw_flow_key_read6(struct gw_flow_key *key, const uint8_t *ip, uint32_t len, uint64_t tag)
{
	if (ip[0] >> 4 != 6 || len < sizeof(struct rte_ipv6_hdr) + 4 || gw_ip6_is_ext(ip[6]))
		return false;
	key->w[0] = (gw_flow_load8(ip) & GW_FLOW_MASK6_0) | tag;
	for (unsigned int i = 1; i < 5; i++)
		key->w[i] = gw_flow_load8(ip + 8 * i);
	key->w[5] = gw_flow_load4(ip + sizeof(struct rte_ipv6_hdr));
	return true;
}

/**
 * The key of a packet; false where it has none: IPv4 options, IPv6 extension headers, too short.
 *
 * @param ip
 *   Its IP header, which was checked; @p len bytes of the packet from there on.
 */
static inline bool
gw_flow_key_read(struct gw_flow_key *key, const uint8_t *ip, uint32_t len, uint64_t tag)
{
	if (unlikely(ip[0] != RTE_IPV4_VHL_DEF || len < sizeof(struct rte_ipv4_hdr) + 4))
		return gw_flow_key_read6(key, ip, len, tag);
	key->w[0] = (gw_flow_load8(ip) & GW_FLOW_MASK4_0) | tag;
	key->w[1] = gw_flow_load8(ip + 8) & GW_FLOW_MASK4_1;
	key->w[2] = gw_flow_load8(ip + 16);
	return true;
}

/** Is @p key that of this packet? Reading a key and comparing takes 7 instructions more. */
static inline bool
gw_flow_key_is_of(const struct gw_flow_key *key, const uint8_t *ip, uint32_t len, uint64_t tag)
{
	struct gw_flow_key six;
	uint64_t diff;

	if (unlikely(ip[0] != RTE_IPV4_VHL_DEF || len < sizeof(struct rte_ipv4_hdr) + 4))
		return gw_flow_key_read6(&six, ip, len, tag) && gw_flow_key_equal(&six, key);
	diff = ((gw_flow_load8(ip) & GW_FLOW_MASK4_0) | tag) ^ key->w[0];
	diff |= (gw_flow_load8(ip + 8) & GW_FLOW_MASK4_1) ^ key->w[1];
	diff |= gw_flow_load8(ip + 16) ^ key->w[2];
	return diff == 0;
}

/** Where a key may stand: there, or in the line beside. The top bits depend on all of it. */
static inline struct gw_flow_entry *
gw_flow_cache_slot(struct gw_flow_entry *cache, const struct gw_flow_key *key)
{
	uint64_t h = key->w[1] * UINT64_C(0x9e3779b97f4a7c15);

	h = (h ^ h >> 32 ^ key->w[2]) * UINT64_C(0xd6e8feb86659fd93);
	if (unlikely((key->w[0] & 0xf0) == 0x60))
		h = (h ^ h >> 32 ^ key->w[4] ^ key->w[5]) * UINT64_C(0xc2b2ae3d27d4eb4f);
	return &cache[h >> (64 - GW_FLOW_CACHE_BITS)];
}

/** The other entry that a key may have: the line beside. */
static inline struct gw_flow_entry *
gw_flow_cache_beside(struct gw_flow_entry *cache, const struct gw_flow_entry *slot)
{
	return &cache[(slot - cache) ^ 1];
}

/** The verdict of @p key, or NULL. @p slot: gw_flow_cache_slot() of it. */
static inline const struct gw_verdict *
gw_flow_cache_find(struct gw_flow_entry *cache, const struct gw_flow_entry *slot,
		const struct gw_flow_key *key)
{
	if (likely(gw_flow_key_equal(key, &slot->key)))
		return &slot->verdict;
	slot = gw_flow_cache_beside(cache, slot);
	return gw_flow_key_equal(key, &slot->key) ? &slot->verdict : NULL;
}

/** Note a verdict; what stood there goes beside, and what stood beside is forgotten. */
static inline void
gw_flow_cache_add(struct gw_flow_entry *cache, struct gw_flow_entry *slot,
		const struct gw_flow_key *key, struct gw_verdict verdict)
{
	*gw_flow_cache_beside(cache, slot) = *slot;
	slot->key = *key;
	slot->verdict = verdict;
}

#endif /* FLOW_CACHE_H */
