/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef ESP_UTIL_H
#define ESP_UTIL_H

/* What the tests of the library share: contexts, SAs, and mbufs on static buffers. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "outer.h"
#include "rnd.h"
#include "sa.h"

#define PKT_HEADROOM 128
#define PKT_BUF 2304

struct pkt {
	struct rte_mbuf mbuf;
	uint8_t buf[PKT_BUF];
};

static inline void *
alloc_lines(size_t size)
{
	void *p = aligned_alloc(
			RTE_CACHE_LINE_SIZE, RTE_ALIGN_CEIL(size, (size_t)RTE_CACHE_LINE_SIZE));

	assert_non_null(p);
	return p;
}

static inline struct ipsec_pcpu_ctx *
make_ctx(void)
{
	struct ipsec_pcpu_ctx *ctx = alloc_lines(ipsec_pcpu_ctx_size());

	assert_int_equal(ipsec_pcpu_ctx_init(ctx), 0);
	return ctx;
}

static inline void
free_ctx(struct ipsec_pcpu_ctx *ctx)
{
	ipsec_pcpu_ctx_fini(ctx);
	free(ctx);
}

/** Parameters that are valid for either direction. */
static inline struct ipsec_pcpu_sa_params
make_params(const char *algo, uint8_t family)
{
	struct ipsec_pcpu_sa_params prm = {
			.dir = IPSEC_PCPU_OUT,
			.spi = 0xc0ffee01,
			.pcpu = 3,
			.algo = ipsec_pcpu_algo_find(algo),
			.replay_window = 1024,
			.family = family,
			.ttl = 64,
			.dscp = IPSEC_PCPU_DSCP_COPY,
			.df = IPSEC_PCPU_DF_COPY,
			.flow_label = 0xabcde,
	};

	assert_non_null(prm.algo);
	for (unsigned int i = 0; i < sizeof(prm.key); i++)
		prm.key[i] = (uint8_t)(i * 7 + 1);
	for (unsigned int i = 0; i < 16; i++) {
		prm.saddr.ip6[i] = (uint8_t)(0x20 + i);
		prm.daddr.ip6[i] = (uint8_t)(0xa0 + i);
	}
	return prm;
}

/** An SA that @p ctx owns. */
static inline struct ipsec_pcpu_sa *
make_sa(struct ipsec_pcpu_ctx *ctx, struct ipsec_pcpu_sa_params prm, enum ipsec_pcpu_dir dir)
{
	struct ipsec_pcpu_sa *sa = alloc_lines(ipsec_pcpu_sa_size());

	prm.dir = dir;
	assert_int_equal(ipsec_pcpu_sa_init(ctx, sa, &prm), 0);
	ipsec_pcpu_sa_own(sa, ctx);
	return sa;
}

static inline void
free_sa(struct ipsec_pcpu_sa *sa)
{
	ipsec_pcpu_sa_fini(sa);
	free(sa);
}

static inline uint64_t
drops(const struct ipsec_pcpu_sa *sa, enum ipsec_pcpu_drop reason)
{
	struct ipsec_pcpu_sa_stats stats;

	ipsec_pcpu_sa_stats(sa, &stats);
	return stats.drops[reason];
}

static inline void
mbuf_set(struct rte_mbuf *m, void *buf, uint16_t buf_len, uint16_t off, uint16_t len)
{
	memset(m, 0, sizeof(*m));
	m->buf_addr = buf;
	m->buf_len = buf_len;
	m->data_off = off;
	m->data_len = len;
	m->pkt_len = len;
	m->nb_segs = 1;
}

static inline uint8_t *
pkt_data(struct pkt *p)
{
	return rte_pktmbuf_mtod(&p->mbuf, uint8_t *);
}

/** Sum of 16-bit words, the slow and plain way (RFC 1071). */
static inline uint16_t
naive_cksum(const uint8_t *p, size_t len, uint32_t sum)
{
	for (size_t i = 0; i < len; i++)
		sum += i % 2 == 0 ? (uint32_t)p[i] << 8 : p[i];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

/** An inner packet of @p len bytes, random payload. */
static inline void
pkt_inner(struct pkt *p, uint8_t version, uint16_t len, uint8_t tos, bool df)
{
	uint8_t *d;
	uint16_t sum;

	mbuf_set(&p->mbuf, p->buf, sizeof(p->buf), PKT_HEADROOM, len);
	d = pkt_data(p);
	for (uint16_t i = 0; i < len; i++)
		d[i] = (uint8_t)rnd();
	if (version == 4) {
		d[0] = 0x45;
		d[1] = tos;
		d[2] = len >> 8;
		d[3] = (uint8_t)len;
		d[6] = df ? 0x40 : 0;
		d[10] = d[11] = 0;
		sum = naive_cksum(d, 20, 0);
		d[10] = sum >> 8;
		d[11] = (uint8_t)sum;
	} else {
		d[0] = 0x60 | tos >> 4;
		d[1] = (uint8_t)(tos << 4 | (d[1] & 0xf));
		d[4] = (len - 40) >> 8;
		d[5] = (uint8_t)(len - 40);
	}
}

/** Encapsulate one packet that must succeed. */
static inline void
encap_one(struct ipsec_pcpu_ctx *ctx, struct ipsec_pcpu_sa *sa, struct pkt *p)
{
	struct rte_mbuf *m = &p->mbuf;
	uint8_t drop = 0xff;

	assert_int_equal(ipsec_pcpu_encap_burst(ctx, sa, &m, 1, &drop), 1);
}

/** Decapsulate one packet: -1 where it passes, or the reason of its drop. */
static inline int
decap_one(struct ipsec_pcpu_ctx *ctx, struct ipsec_pcpu_sa *sa, struct rte_mbuf *m)
{
	uint8_t drop = 0xff;

	if (ipsec_pcpu_decap_burst(ctx, sa, &m, 1, &drop) == 1)
		return -1;
	assert_true(drop < IPSEC_PCPU_N_DROPS);
	return drop;
}

/**
 * An authentic ESP packet, IPv4 outside, of any @p text at all (trailer
 * included): what a peer with the key, but without manners, may send.
 */
static inline void
pkt_authentic(struct ipsec_pcpu_ctx *ctx, struct ipsec_pcpu_sa *out, struct pkt *p, uint64_t seq,
		const uint8_t *text, uint16_t len)
{
	uint64_t iv = rte_cpu_to_be_64(seq);
	struct aead_job *job = &ctx->job[0];
	uint8_t *d, *esp;

	mbuf_set(&p->mbuf, p->buf, sizeof(p->buf), PKT_HEADROOM,
			20 + SA_ESP_LEN + len + out->icv_len);
	d = pkt_data(p);
	memset(d, 0, 20);
	d[0] = 0x45;
	esp = d + 20;
	memcpy(esp, &out->spi, 4);
	memcpy(esp + 4, (uint8_t *)&iv + 4, 4);
	memcpy(esp + 8, &iv, 8);
	memcpy(esp + SA_ESP_LEN, text, len);
	memcpy(job->nonce, &out->salt, 4);
	memcpy(job->nonce + 4, &iv, 8);
	memcpy(job->esn_aad, esp, 4);
	memcpy(job->esn_aad + 4, &iv, 8);
	job->text = esp + SA_ESP_LEN;
	job->len = len;
	job->aad = out->esn ? job->esn_aad : esp;
	ctx->job_sa[0] = out;
	assert_int_equal(out->aead->seal_burst(ctx, 0, 1), 0);
	p->mbuf.l3_len = 20;
}

#endif /* ESP_UTIL_H */
