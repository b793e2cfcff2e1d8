/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * HOT. ESP tunnel mode, inbound (RFC 4303 3.4), in passes over the burst:
 * parse and look at the window; decrypt all; compare the ICVs, look at the
 * window again, because a burst may hold the same packet twice, move it, and
 * strip. Until its ICV holds, a packet changes nothing but a drop counter.
 */

#include "outer.h"
#include "sa.h"

#define TRAILER_LEN 2 /* pad length, next header */

/*
 * The last 8 bytes of a text: up to 6 of padding 1, 2, 3, ..., pad length, next header. For each
 * pad length the bits to look at, and what they have to be.
 */
#define MAX_SHORT_PAD 6

static const uint64_t pad_mask[MAX_SHORT_PAD + 1] = {
		UINT64_C(0x0000000000000000),
		UINT64_C(0x0000ff0000000000),
		UINT64_C(0x0000ffff00000000),
		UINT64_C(0x0000ffffff000000),
		UINT64_C(0x0000ffffffff0000),
		UINT64_C(0x0000ffffffffff00),
		UINT64_C(0x0000ffffffffffff),
};

static const uint64_t pad_want[MAX_SHORT_PAD + 1] = {
		UINT64_C(0x0000000000000000),
		UINT64_C(0x0000010000000000),
		UINT64_C(0x0000020100000000),
		UINT64_C(0x0000030201000000),
		UINT64_C(0x0000040302010000),
		UINT64_C(0x0000050403020100),
		UINT64_C(0x0000060504030201),
};

static inline int
decap_window(const struct replay *r, const uint64_t *seen, uint64_t seq)
{
	int ret = replay_check(r, seen, seq);

	if (likely(ret == 0))
		return -1;
	return ret == -EALREADY ? IPSEC_PCPU_DROP_REPLAYED : IPSEC_PCPU_DROP_TOO_OLD;
}

/** The job that decrypts a packet whose ESP header is at @p esp. */
static inline void
decap_fill_job(const struct ipsec_pcpu_sa *sa, const uint8_t *esp, uint32_t len, uint64_t seq,
		struct aead_job *job)
{
	uint64_t iv = load8(esp + 8);

	job->text = (uint8_t *)(uintptr_t)esp + SA_ESP_LEN;
	job->nonce_len[0] = sa->salt | iv << 32;
	job->nonce_len[1] = iv >> 32 | (uint64_t)len << 32;
	job->aad = esp;
	if (sa->esn) {
		uint64_t be = rte_cpu_to_be_64(seq);
		uint64_t aad[2] = {sa->spi | be << 32, be >> 32};

		memcpy(job->esn_aad, aad, sizeof(aad));
		job->aad = job->esn_aad;
	}
}

/** Why decap_parse() refused a packet. */
static __attribute__((cold, noinline)) enum ipsec_pcpu_drop
decap_why_refused(const struct ipsec_pcpu_sa *sa, const struct rte_mbuf *m)
{
	const uint8_t *ip = rte_pktmbuf_mtod(m, const uint8_t *);

	if (m->nb_segs != 1)
		return IPSEC_PCPU_DROP_NO_ROOM;
	if (m->data_len < m->l3_len + m->l4_len + SA_ESP_LEN + TRAILER_LEN + sa->icv_len)
		return IPSEC_PCPU_DROP_TOO_SHORT;
	if (m->l4_len != sa->udp_len || ip[0] >> 4 != sa->version)
		return IPSEC_PCPU_DROP_ENCAP;
	return IPSEC_PCPU_DROP_INTEGRITY;
}

/**
 * Make the job of a packet, its ICV not looked at yet; false: refused. The SPI is the SA's,
 * or someone mixed them up: then the ICV, which covers it, cannot hold.
 */
static inline bool
decap_parse(const struct ipsec_pcpu_sa *sa, const struct replay *r, const struct rte_mbuf *m,
		uint64_t *seq, struct aead_job *job)
{
	const uint8_t *ip = rte_pktmbuf_mtod(m, const uint8_t *);
	uint32_t head = m->l3_len + m->l4_len + SA_ESP_LEN;
	const uint8_t *esp = ip + head - SA_ESP_LEN;
	uint64_t spi_seq;
	uint32_t lo;

	if (unlikely(m->nb_segs != 1 || m->data_len < head + TRAILER_LEN + sa->icv_len))
		return false;
	spi_seq = load8(esp);
	if (unlikely(m->l4_len != sa->udp_len || ip[0] >> 4 != sa->version ||
			    (uint32_t)spi_seq != sa->spi))
		return false;
	lo = rte_be_to_cpu_32(spi_seq >> 32);
	*seq = sa->esn ? replay_esn(r, lo) : lo;
	decap_fill_job(sa, esp, m->data_len - head - sa->icv_len, *seq, job);
	return true;
}

/** Pass 1 for a packet: job number @p at, if it is worth decrypting; else it is dropped. */
static __rte_always_inline bool
decap_fill(struct ipsec_pcpu_ctx *ctx, struct ipsec_pcpu_sa *sa, const struct replay *r,
		struct rte_mbuf *m, uint8_t from, uint16_t at)
{
	struct aead_job *job = &ctx->job[at];
	int why;

	if (unlikely(!decap_parse(sa, r, m, &ctx->note[at], job))) {
		burst_drop(ctx, sa, m, from, decap_why_refused(sa, m));
		return false;
	}
	why = decap_window(r, sa->seen, ctx->note[at]);
	if (unlikely(why >= 0)) {
		burst_drop(ctx, sa, m, from, why);
		return false;
	}
	ctx->job_sa[at] = sa;
	rte_prefetch0(job->text + job->len);
	return true;
}

/** Pass 1. */
static inline uint16_t
decap_prepare(struct ipsec_pcpu_ctx *ctx, struct ipsec_pcpu_sa *sa, struct rte_mbuf *pkts[],
		uint16_t n)
{
	const struct replay r = sa->replay; /* a copy, which no store into a packet can change */
	unsigned int done = 0;

	for (unsigned int i = 0; i < n; i++) {
		struct rte_mbuf *m = pkts[i];

		if (likely(decap_fill(ctx, sa, &r, m, i, done)))
			pkts[done++] = m;
	}
	return done;
}

/**
 * Compare the ICV in time that does not depend on where it differs. The two
 * loads overlap where it is shorter than 16 bytes.
 */
static inline bool
decap_icv_holds(const struct aead_job *job, uint32_t icv_len)
{
	const uint8_t *icv = job->text + job->len;
	uint32_t last = icv_len - 8;

	return ((load8(icv) ^ load8(job->tag)) | (load8(icv + last) ^ load8(job->tag + last))) == 0;
}

/** Whether the @p pad bytes before @p end are 1, 2, 3, ... (RFC 4303 2.4). */
static __attribute__((noinline)) bool
decap_long_padding_holds(const uint8_t *end, uint32_t pad)
{
	for (uint32_t i = 0; i < pad; i++)
		if (end[-1 - (int)i] != (uint8_t)(pad - i))
			return false;
	return true;
}

/** The same; @p last: the 8 bytes before @p end and the trailer, which may reach into the IV. */
static inline bool
decap_padding_holds(const uint8_t *end, uint64_t last, uint32_t pad)
{
	if (unlikely(pad > MAX_SHORT_PAD))
		return decap_long_padding_holds(end, pad);
	return (last & pad_mask[pad]) == pad_want[pad];
}

/**
 * The inner header: its length to @p l3_len, and that of its whole packet
 * returned; 0 where it is not well-formed, or says more than @p len bytes.
 * What it leaves over is padding against traffic analysis (RFC 4303 2.7).
 */
static inline uint32_t
inner_length(const uint8_t *p, uint32_t len, uint8_t proto, uint32_t *l3_len)
{
	uint32_t total;

	if (proto == IPPROTO_IPIP) {
		if (unlikely(len < sizeof(struct rte_ipv4_hdr) || p[0] >> 4 != 4))
			return 0;
		*l3_len = (p[0] & 0xfu) * 4;
		total = (uint32_t)p[2] << 8 | p[3];
		if (unlikely(*l3_len < sizeof(struct rte_ipv4_hdr) || total < *l3_len))
			return 0;
	} else {
		if (unlikely(len < sizeof(struct rte_ipv6_hdr) || p[0] >> 4 != 6))
			return 0;
		*l3_len = sizeof(struct rte_ipv6_hdr);
		total = *l3_len + ((uint32_t)p[4] << 8 | p[5]);
	}
	return likely(total <= len) ? total : 0;
}

/** Take outer headers and trailer off an authentic packet: -1, or why to drop it. */
static __rte_always_inline int
decap_strip(const struct ipsec_pcpu_sa *sa, struct rte_mbuf *m, const struct aead_job *job)
{
	uint8_t *inner = job->text;
	const uint8_t *trailer = inner + job->len - TRAILER_LEN;
	const uint8_t *outer = rte_pktmbuf_mtod(m, const uint8_t *);
	uint64_t last = load8(trailer + TRAILER_LEN - sizeof(last));
	uint32_t len = job->len - TRAILER_LEN;
	uint32_t pad = last >> 48 & UINT8_MAX, l3_len = 0, total;
	uint8_t proto = last >> 56;

	if (unlikely(proto == IPPROTO_NONE))
		return IPSEC_PCPU_DROP_DUMMY;
	if (unlikely(pad > len || !decap_padding_holds(trailer, last, pad)))
		return IPSEC_PCPU_DROP_PADDING;
	if (unlikely(proto != IPPROTO_IPIP && proto != IPPROTO_IPV6))
		return IPSEC_PCPU_DROP_NEXT_HEADER;
	total = inner_length(inner, len - pad, proto, &l3_len);
	if (unlikely(total == 0))
		return IPSEC_PCPU_DROP_INNER;
	if (unlikely(!ecn_decap(
			    outer_tos(outer, sa->version), inner, proto == IPPROTO_IPIP ? 4 : 6)))
		return IPSEC_PCPU_DROP_ECN;
	m->data_off += (uint16_t)(inner - outer);
	m->data_len = (uint16_t)total;
	m->pkt_len = total;
	m->tx_offload = (uint64_t)l3_len << RTE_MBUF_L2_LEN_BITS;
	return -1;
}

/** ICV, window again, and only then the packet. -1, or why to drop it. */
static __rte_always_inline int
decap_verify(struct ipsec_pcpu_sa *sa, struct replay *r, struct rte_mbuf *m,
		const struct aead_job *job, uint64_t seq)
{
	int why;

	if (unlikely(!decap_icv_holds(job, sa->icv_len)))
		return IPSEC_PCPU_DROP_INTEGRITY;
	if (unlikely(seq <= r->top)) {
		why = decap_window(r, sa->seen, seq);
		if (unlikely(why >= 0))
			return why;
	}
	replay_advance(r, sa->seen, seq);
	return decap_strip(sa, m, job);
}

/** What other threads may read meanwhile, whole value by whole value. */
static inline void
decap_store_replay(struct replay *to, const struct replay *r)
{
	__atomic_store_n(&to->top, r->top, __ATOMIC_RELAXED);
	__atomic_store_n(&to->accepted, r->accepted, __ATOMIC_RELAXED);
	__atomic_store_n(&to->displaced, r->displaced, __ATOMIC_RELAXED);
}

/** Pass 3. */
static inline uint16_t
decap_finish(struct ipsec_pcpu_ctx *ctx, struct ipsec_pcpu_sa *sa, struct rte_mbuf *pkts[],
		uint16_t n, uint64_t *bytes)
{
	struct budget left = sa_budget(sa);
	bool tight = budget_is_tight(left, n);
	struct replay r = sa->replay;
	unsigned int done = 0;

	for (unsigned int i = 0; i < n; i++) {
		struct rte_mbuf *m = pkts[i];
		int why = decap_verify(sa, &r, m, &ctx->job[i], ctx->note[i]);

		if (unlikely(tight) && why < 0 && budget_is_spent(left, done, *bytes))
			why = IPSEC_PCPU_DROP_EXPIRED;
		if (unlikely(why >= 0)) {
			burst_drop(ctx, sa, m, i, why);
			continue;
		}
		*bytes += m->data_len;
		pkts[done++] = m;
	}
	decap_store_replay(&sa->replay, &r);
	return done;
}

/** Is a burst of this SA looked at at all? If not, it is dropped. */
static inline bool
decap_may(struct ipsec_pcpu_ctx *ctx, struct ipsec_pcpu_sa *sa, struct rte_mbuf *pkts[], uint16_t n)
{
	if (unlikely(!sa_may(ctx, sa, IPSEC_PCPU_IN))) {
		burst_drop_foreign(ctx, sa, pkts, n);
		return false;
	}
	if (unlikely(sa_is_expired(sa))) {
		burst_drop_all(ctx, sa, pkts, n, IPSEC_PCPU_DROP_EXPIRED);
		return false;
	}
	return true;
}

uint16_t
ipsec_pcpu_decap_burst(struct ipsec_pcpu_ctx *ctx, struct ipsec_pcpu_sa *sa,
		struct rte_mbuf *pkts[], uint16_t n, uint8_t drop[])
{
	uint64_t bytes = 0;
	uint16_t done = 0;

	ctx->n_dropped = 0;
	if (likely(decap_may(ctx, sa, pkts, n)))
		done = decap_prepare(ctx, sa, pkts, n);
	if (unlikely(sa->aead->open_burst(ctx, 0, done) != 0)) {
		burst_drop_all(ctx, sa, pkts, done, IPSEC_PCPU_DROP_CRYPTO);
		done = 0;
	}
	done = decap_finish(ctx, sa, pkts, done, &bytes);
	return burst_end(ctx, sa, pkts, done, bytes, drop);
}

/* Packets of several SAs */

/** Pass 1. */
static inline uint16_t
decap_prepare_mixed(struct ipsec_pcpu_ctx *ctx, struct ipsec_pcpu_sa *const sas[],
		struct rte_mbuf *pkts[], uint16_t n, uint8_t from[])
{
	unsigned int done = 0;

	for (unsigned int i = 0; i < n; i++) {
		struct ipsec_pcpu_sa *sa = sas[i];
		struct rte_mbuf *m = pkts[i];

		if (unlikely(!sa_may(ctx, sa, IPSEC_PCPU_IN))) {
			burst_assert_owner();
			burst_drop(ctx, sa, m, i, IPSEC_PCPU_DROP_NOT_OWNER);
		} else if (unlikely(sa_is_expired(sa))) {
			burst_drop(ctx, sa, m, i, IPSEC_PCPU_DROP_EXPIRED);
		} else if (likely(decap_fill(ctx, sa, &sa->replay, m, i, done))) {
			from[done] = i;
			pkts[done++] = m;
		}
	}
	return done;
}

/** Pass 3. */
static inline uint16_t
decap_finish_mixed(struct ipsec_pcpu_ctx *ctx, struct rte_mbuf *pkts[], uint16_t n, uint8_t from[])
{
	unsigned int done = 0;

	for (unsigned int i = 0; i < n; i++) {
		struct ipsec_pcpu_sa *sa = ctx->job_sa[i];
		struct replay r = sa->replay;
		struct rte_mbuf *m = pkts[i];
		int why = decap_verify(sa, &r, m, &ctx->job[i], ctx->note[i]);

		decap_store_replay(&sa->replay, &r);
		if (why < 0 && unlikely(sa_is_expired(sa)))
			why = IPSEC_PCPU_DROP_EXPIRED;
		if (unlikely(why >= 0)) {
			burst_drop(ctx, sa, m, from[i], why);
			continue;
		}
		counter_add(&sa->packets, 1);
		counter_add(&sa->bytes, m->data_len);
		from[done] = from[i];
		pkts[done++] = m;
	}
	return done;
}

/** The crypto library failed: believe none of them. */
static __attribute__((cold, noinline)) uint16_t
decap_fail_mixed(struct ipsec_pcpu_ctx *ctx, struct rte_mbuf *pkts[], uint16_t n,
		const uint8_t from[])
{
	for (unsigned int i = 0; i < n; i++)
		burst_drop(ctx, ctx->job_sa[i], pkts[i], from[i], IPSEC_PCPU_DROP_CRYPTO);
	return 0;
}

uint16_t
ipsec_pcpu_decap_mixed(struct ipsec_pcpu_ctx *ctx, struct ipsec_pcpu_sa *const sas[],
		struct rte_mbuf *pkts[], uint16_t n, uint8_t from[], uint8_t drop[])
{
	uint16_t done;

	ctx->n_dropped = 0;
	done = decap_prepare_mixed(ctx, sas, pkts, n, from);
	if (unlikely(burst_crypt(ctx, done, false) != 0))
		done = decap_fail_mixed(ctx, pkts, done, from);
	done = decap_finish_mixed(ctx, pkts, done, from);
	return burst_close(ctx, pkts, done, from, drop);
}
