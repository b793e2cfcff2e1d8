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
#define SA_MAX_ICV 16

struct ipsec_pcpu_sa {
	/* line 0: read only after init, but for a change of owner between bursts */
	const struct aead_ops *aead;
	const struct ipsec_pcpu_ctx *owner; /* NULL: none */
	uint64_t tx_offload; /* outbound: of the mbuf afterwards */
	uint64_t hard_packets; /* UINT64_MAX: never */
	uint64_t hard_bytes;
	rte_be32_t spi;
	uint32_t salt; /* as in memory */
	uint32_t outer_sum; /* of the IPv4 template, or UDP's pseudo-header; see outer.h */
	uint8_t dir;
	uint8_t icv_len;
	uint8_t aad_len; /* 8, with ESN 12 */
	uint8_t pad_mask; /* of the algorithm's alignment */
	uint8_t outer_len; /* IP header, with UDP header */
	uint8_t udp_len; /* 8, or 0 where not encapsulated */
	uint8_t version; /* of the outer IP header: 4 or 6 */
	uint8_t tos_mask; /* what of the inner TOS goes into the outer one */
	uint8_t tos_fixed;
	bool esn;
	uint8_t df_mask; /* what of the inner DF goes into the outer one: OUTER_DF or 0 */
	uint8_t df_fixed; /* set it always: OUTER_DF or 0 */

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
	uint8_t dropped_from[IPSEC_PCPU_MAX_BURST]; /* which of the caller's it was */
	/* of job[i]: inbound its sequence number; outbound, several SAs: the inner bytes */
	uint64_t note[IPSEC_PCPU_MAX_BURST];
	struct ipsec_pcpu_sa *job_sa[IPSEC_PCPU_MAX_BURST]; /* whose job[i] is */
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

/** What may still pass through an SA, found out once for a burst. */
struct budget {
	uint64_t packets;
	uint64_t bytes;
};

static inline struct budget
sa_budget(const struct ipsec_pcpu_sa *sa)
{
	return (struct budget){
			sa_left(sa->hard_packets, sa->packets), sa_left(sa->hard_bytes, sa->bytes)};
}

/** May a burst of @p n packets spend it? If not, nobody need look packet by packet. */
static inline bool
budget_is_tight(struct budget left, uint16_t n)
{
	return left.packets < n || left.bytes < (uint64_t)n * UINT16_MAX;
}

static inline bool
budget_is_spent(struct budget left, uint16_t packets, uint64_t bytes)
{
	return packets >= left.packets || bytes >= left.bytes;
}

/** Has an SA reached a hard lifetime? */
static inline bool
sa_is_expired(const struct ipsec_pcpu_sa *sa)
{
	return sa->packets >= sa->hard_packets || sa->bytes >= sa->hard_bytes;
}

/** Whether the thread of @p ctx may pass a burst of this direction through @p sa. */
static inline bool
sa_may(const struct ipsec_pcpu_ctx *ctx, const struct ipsec_pcpu_sa *sa, enum ipsec_pcpu_dir dir)
{
	return sa->owner == ctx && sa->dir == dir;
}

/** Set packet number @p from of the burst aside, and count it; burst_close() puts it last. */
static inline void
burst_drop(struct ipsec_pcpu_ctx *ctx, struct ipsec_pcpu_sa *sa, struct rte_mbuf *m, uint8_t from,
		enum ipsec_pcpu_drop reason)
{
	ctx->dropped[ctx->n_dropped] = m;
	ctx->dropped_from[ctx->n_dropped] = from;
	ctx->reason[ctx->n_dropped++] = reason;
	counter_add(&sa->drops[reason], 1);
}

/** Drop all of a burst for one reason. */
void burst_drop_all(struct ipsec_pcpu_ctx *ctx, struct ipsec_pcpu_sa *sa,
		struct rte_mbuf *const pkts[], uint16_t n, enum ipsec_pcpu_drop reason);

/** An SA is not the caller's: abort where asserts are on. */
void burst_assert_owner(void);

/** The same, and drop all of its burst. */
void burst_drop_foreign(struct ipsec_pcpu_ctx *ctx, struct ipsec_pcpu_sa *sa,
		struct rte_mbuf *const pkts[], uint16_t n);

/** Pass 2 for packets of several SAs: as many calls as families alternate. 0, or -EIO. */
static inline int
burst_crypt(struct ipsec_pcpu_ctx *ctx, uint16_t n, bool seal)
{
	unsigned int from = 0;
	int ret = 0;

	while (from < n) {
		const struct aead_ops *ops = ctx->job_sa[from]->aead;
		unsigned int to = from + 1;

		while (to < n && likely(ctx->job_sa[to]->aead == ops))
			to++;
		ret |= seal ? ops->seal_burst(ctx, from, to - from)
			    : ops->open_burst(ctx, from, to - from);
		from = to;
	}
	return ret;
}

/** Put the packets that were set aside after the @p done others. There are some. */
void burst_append(const struct ipsec_pcpu_ctx *ctx, struct rte_mbuf *pkts[], uint16_t done,
		uint8_t from[], uint8_t drop[]);

/** Close a burst: what was set aside follows what was done; @p from may be NULL. */
static inline uint16_t
burst_close(const struct ipsec_pcpu_ctx *ctx, struct rte_mbuf *pkts[], uint16_t done,
		uint8_t from[], uint8_t drop[])
{
	if (unlikely(ctx->n_dropped != 0))
		burst_append(ctx, pkts, done, from, drop);
	return done;
}

/** Close a burst of one SA, and count in it what was done. */
static inline uint16_t
burst_end(const struct ipsec_pcpu_ctx *ctx, struct ipsec_pcpu_sa *sa, struct rte_mbuf *pkts[],
		uint16_t done, uint64_t bytes, uint8_t drop[])
{
	counter_add(&sa->packets, done);
	counter_add(&sa->bytes, bytes);
	return burst_close(ctx, pkts, done, NULL, drop);
}

#endif /* SA_H */
