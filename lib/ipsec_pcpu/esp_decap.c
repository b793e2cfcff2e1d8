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

/* Padding 1 to 6 as it lies in memory: what one load with the trailer shows of it. */
#define PADDING UINT64_C(0x060504030201)
#define PADDING_LEN 6

static inline uint64_t
load8(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static inline uint32_t
load4(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static inline int
decap_window(const struct ipsec_pcpu_sa *sa, uint64_t seq)
{
	int ret = replay_check(&sa->replay, sa->seen, seq);

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

/**
 * Look at a packet before its ICV: -1, or why to drop it. The SPI is the SA's,
 * or someone mixed them up: then the ICV, which covers it, cannot hold.
 */
static inline int
decap_check(const struct ipsec_pcpu_sa *sa, const struct rte_mbuf *m, uint64_t *seq,
		struct aead_job *job)
{
	const uint8_t *ip = rte_pktmbuf_mtod(m, const uint8_t *);
	uint32_t head = m->l3_len + m->l4_len + SA_ESP_LEN;
	const uint8_t *esp = ip + head - SA_ESP_LEN;
	uint32_t lo;

	if (unlikely(m->nb_segs != 1))
		return IPSEC_PCPU_DROP_NO_ROOM;
	if (unlikely(m->data_len < head + TRAILER_LEN + sa->icv_len))
		return IPSEC_PCPU_DROP_TOO_SHORT;
	if (unlikely(m->l4_len != sa->udp_len || ip[0] >> 4 != sa->version))
		return IPSEC_PCPU_DROP_ENCAP;
	if (unlikely(load4(esp) != sa->spi))
		return IPSEC_PCPU_DROP_INTEGRITY;
	lo = rte_be_to_cpu_32(load4(esp + 4));
	*seq = sa->esn ? replay_esn(&sa->replay, lo) : lo;
	decap_fill_job(sa, esp, m->data_len - head - sa->icv_len, *seq, job);
	return decap_window(sa, *seq);
}

/** Pass 1. */
static inline uint16_t
decap_prepare(struct ipsec_pcpu_ctx *ctx, const struct ipsec_pcpu_sa *sa, struct rte_mbuf *pkts[],
		uint16_t n)
{
	uint16_t done = 0;

	for (uint16_t i = 0; i < n; i++) {
		struct rte_mbuf *m = pkts[i];
		struct aead_job *job = &ctx->job[done];
		int why = decap_check(sa, m, &ctx->seq[done], job);

		if (unlikely(why >= 0)) {
			burst_drop(ctx, m, why);
			continue;
		}
		rte_prefetch0(job->text + job->len);
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

/** The same; up to 6 bytes of it with one load, which cannot reach before the IV. */
static inline bool
decap_padding_holds(const uint8_t *end, uint32_t pad)
{
	uint64_t got = load8(end - PADDING_LEN) << 16;

	if (unlikely(pad > PADDING_LEN))
		return decap_long_padding_holds(end, pad);
	return got >> 8 >> (56 - 8 * pad) == (PADDING & ~(UINT64_MAX << 8 * pad));
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
static inline int
decap_strip(const struct ipsec_pcpu_sa *sa, struct rte_mbuf *m, const struct aead_job *job)
{
	uint8_t *inner = job->text;
	const uint8_t *trailer = inner + job->len - TRAILER_LEN;
	const uint8_t *outer = rte_pktmbuf_mtod(m, const uint8_t *);
	uint32_t len = job->len - TRAILER_LEN;
	uint32_t pad = trailer[0], l3_len = 0, total;
	uint8_t proto = trailer[1];

	if (unlikely(proto == IPPROTO_NONE))
		return IPSEC_PCPU_DROP_DUMMY;
	if (unlikely(pad > len || !decap_padding_holds(trailer, pad)))
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
static inline int
decap_verify(struct ipsec_pcpu_sa *sa, struct rte_mbuf *m, const struct aead_job *job, uint64_t seq)
{
	int why;

	if (unlikely(!decap_icv_holds(job, sa->icv_len)))
		return IPSEC_PCPU_DROP_INTEGRITY;
	why = decap_window(sa, seq);
	if (unlikely(why >= 0))
		return why;
	replay_advance(&sa->replay, sa->seen, seq);
	return decap_strip(sa, m, job);
}

/** Pass 3. */
static inline uint16_t
decap_finish(struct ipsec_pcpu_ctx *ctx, struct ipsec_pcpu_sa *sa, struct rte_mbuf *pkts[],
		uint16_t n, uint64_t *bytes)
{
	uint64_t packets = sa_left(sa->hard_packets, sa->packets);
	uint64_t bytes_left = sa_left(sa->hard_bytes, sa->bytes);
	uint16_t done = 0;

	for (uint16_t i = 0; i < n; i++) {
		struct rte_mbuf *m = pkts[i];
		int why = decap_verify(sa, m, &ctx->job[i], ctx->seq[i]);

		if (unlikely(why < 0 && (done >= packets || *bytes >= bytes_left)))
			why = IPSEC_PCPU_DROP_EXPIRED;
		if (unlikely(why >= 0)) {
			burst_drop(ctx, m, why);
			continue;
		}
		*bytes += m->data_len;
		pkts[done++] = m;
	}
	return done;
}

/** Drop all for one reason: the SA is used up, or the crypto library failed. */
static __attribute__((cold, noinline)) uint16_t
decap_drop_all(struct ipsec_pcpu_ctx *ctx, struct rte_mbuf *pkts[], uint16_t n,
		enum ipsec_pcpu_drop reason)
{
	for (uint16_t i = 0; i < n; i++)
		burst_drop(ctx, pkts[i], reason);
	return 0;
}

static inline bool
decap_is_expired(const struct ipsec_pcpu_sa *sa)
{
	return sa->packets >= sa->hard_packets || sa->bytes >= sa->hard_bytes;
}

uint16_t
ipsec_pcpu_decap_burst(struct ipsec_pcpu_ctx *ctx, struct ipsec_pcpu_sa *sa,
		struct rte_mbuf *pkts[], uint16_t n, uint8_t drop[])
{
	uint64_t bytes = 0;
	uint16_t done;

	if (unlikely(!sa_may(ctx, sa, IPSEC_PCPU_IN)))
		return burst_not_owner(sa, n, drop);
	ctx->n_dropped = 0;
	if (unlikely(decap_is_expired(sa)))
		n = decap_drop_all(ctx, pkts, n, IPSEC_PCPU_DROP_EXPIRED);
	done = decap_prepare(ctx, sa, pkts, n);
	if (unlikely(sa->aead->open_burst(ctx, sa, done) != 0))
		done = decap_drop_all(ctx, pkts, done, IPSEC_PCPU_DROP_CRYPTO);
	done = decap_finish(ctx, sa, pkts, done, &bytes);
	return burst_end(ctx, sa, pkts, done, bytes, drop);
}
