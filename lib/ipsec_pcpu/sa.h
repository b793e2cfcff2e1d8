/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef SA_H
#define SA_H

/*
 * Layout of an SA and of a context. The first line of an SA is all that both
 * directions read for each packet; what is written for each packet stands
 * apart from what is only read, and the key schedule apart from both.
 */

#include <assert.h>

#include <intel-ipsec-mb.h>

#include "aead.h"
#include "ipsec_pcpu.h"
#include "replay.h"

#define SA_MAX_OUTER 48 /* IPv6 + UDP */
#define SA_IV_LEN 8 /* of all families so far: the sequence number */
#define SA_ESP_LEN (8 + SA_IV_LEN) /* SPI, sequence number, IV */
#define SA_UDP_LEN 8

struct ipsec_pcpu_sa {
	/* line 0: read only after init, but for a change of owner between bursts */
	const struct aead_ops *aead;
	const struct ipsec_pcpu_ctx *owner; /* NULL: none */
	uint64_t tx_offload; /* outbound: of the mbuf afterwards */
	uint64_t hard_packets; /* UINT64_MAX: never */
	uint64_t hard_bytes;
	rte_be32_t spi;
	uint32_t salt; /* as in memory */
	uint32_t outer_sum; /* of the IPv4 template, see outer.h */
	uint8_t dir;
	uint8_t icv_len;
	uint8_t aad_len; /* 8, with ESN 12 */
	uint8_t pad_mask; /* of the algorithm's alignment */
	uint8_t outer_len; /* IP header, with UDP header */
	uint8_t udp_len; /* 8, or 0 where not encapsulated */
	uint8_t version; /* of the outer IP header: 4 or 6 */
	uint8_t tos_mask; /* what of the inner TOS goes into the outer one */
	uint8_t tos_fixed;
	bool df_copy;
	bool df_set;
	bool esn;

	/* line 1: read only */
	uint8_t outer[SA_MAX_OUTER] __rte_cache_aligned; /* template: what varies is left 0 */

	/* line 2: written for each packet, by the owner */
	uint64_t seq __rte_cache_aligned; /* outbound: the last one sent; inbound: at the start */
	uint64_t seq_end; /* outbound: the last one that may be sent */
	uint64_t packets;
	uint64_t bytes;
	struct replay replay;

	/* written for some packets */
	uint64_t drops[IPSEC_PCPU_N_DROPS] __rte_cache_aligned;
	uint64_t foreign; /* inbound: handed over by another thread */
	uint32_t landed; /* which one, the last time */
	uint64_t cycles; /* of bursts that the caller timed */
	uint64_t timed; /* packets of these */
	uint64_t seen[REPLAY_MAX_WORDS] __rte_cache_aligned;

	/* read only: expanded key, 1008 bytes for AES-GCM */
	union {
		struct gcm_key_data gcm;
		uint8_t chacha[32];
	} key __rte_cache_aligned;
} __rte_cache_aligned;

static_assert(offsetof(struct ipsec_pcpu_sa, outer) == 64, "the hot fields are in line 0");
static_assert(offsetof(struct ipsec_pcpu_sa, seq) == 128, "the template fits line 1");
static_assert(offsetof(struct ipsec_pcpu_sa, drops) == 192, "all that is written fits line 2");
static_assert(sizeof(struct ipsec_pcpu_sa) <= 4096, "an SA fits a page");

struct ipsec_pcpu_ctx {
	IMB_MGR *mgr; /* in the memory after this structure */
	uint16_t n_dropped;
	uint8_t reason[IPSEC_PCPU_MAX_BURST]; /* why dropped[i] is */
	struct rte_mbuf *dropped[IPSEC_PCPU_MAX_BURST];
	uint64_t seq[IPSEC_PCPU_MAX_BURST]; /* inbound: sequence number of job[i] */
	struct aead_job job[IPSEC_PCPU_MAX_BURST];
	struct gcm_context_data gcm __rte_cache_aligned;
} __rte_cache_aligned;

/** Add to a counter that other threads may read: a plain add, but never a torn one. */
static inline void
counter_add(uint64_t *counter, uint64_t n)
{
	__atomic_store_n(counter, *counter + n, __ATOMIC_RELAXED);
}

/** What is left up to a limit. */
static inline uint64_t
sa_left(uint64_t limit, uint64_t used)
{
	return limit > used ? limit - used : 0;
}

/** Whether the thread of @p ctx may pass a burst of this direction through @p sa. */
static inline bool
sa_may(const struct ipsec_pcpu_ctx *ctx, const struct ipsec_pcpu_sa *sa, enum ipsec_pcpu_dir dir)
{
	return sa->owner == ctx && sa->dir == dir;
}

/** Set a packet aside; burst_end() puts it after those done. */
static inline void
burst_drop(struct ipsec_pcpu_ctx *ctx, struct rte_mbuf *m, enum ipsec_pcpu_drop reason)
{
	ctx->dropped[ctx->n_dropped] = m;
	ctx->reason[ctx->n_dropped++] = reason;
}

/** Drop all of a burst whose SA is not the caller's; abort where asserts are on. */
uint16_t burst_not_owner(struct ipsec_pcpu_sa *sa, uint16_t n, uint8_t drop[]);

/** Append the packets that were set aside, and count them. */
void burst_append_dropped(struct ipsec_pcpu_ctx *ctx, struct ipsec_pcpu_sa *sa,
		struct rte_mbuf *pkts[], uint16_t done, uint8_t drop[]);

/** Close a burst: append what was dropped, count what was done. */
static inline uint16_t
burst_end(struct ipsec_pcpu_ctx *ctx, struct ipsec_pcpu_sa *sa, struct rte_mbuf *pkts[],
		uint16_t done, uint64_t bytes, uint8_t drop[])
{
	counter_add(&sa->packets, done);
	counter_add(&sa->bytes, bytes);
	if (unlikely(ctx->n_dropped != 0))
		burst_append_dropped(ctx, sa, pkts, done, drop);
	return done;
}

#endif /* SA_H */
