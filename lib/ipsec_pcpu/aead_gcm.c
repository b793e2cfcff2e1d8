/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * HOT. AES-GCM (RFC 4106). One one-shot call of intel-ipsec-mb for a packet:
 * its job and burst interfaces cost 12 to 80 cycles more at 64 bytes, init,
 * update and finalize 46 (docs/performance.md).
 */

#include "sa.h"

static inline int
gcm_seal(struct ipsec_pcpu_ctx *ctx, uint16_t from, uint16_t n, aes_gcm_enc_dec_t enc)
{
	for (unsigned int i = from, end = from + n; i < end; i++) {
		const struct ipsec_pcpu_sa *sa = ctx->job_sa[i];
		struct aead_job *job = &ctx->job[i];

		enc(&sa->key.gcm, &ctx->gcm, job->text, job->text, job->len, job->nonce, job->aad,
				sa->aad_len, job->text + job->len, sa->icv_len);
	}
	return 0;
}

static inline int
gcm_open(struct ipsec_pcpu_ctx *ctx, uint16_t from, uint16_t n, aes_gcm_enc_dec_t dec)
{
	for (unsigned int i = from, end = from + n; i < end; i++) {
		const struct ipsec_pcpu_sa *sa = ctx->job_sa[i];
		struct aead_job *job = &ctx->job[i];

		dec(&sa->key.gcm, &ctx->gcm, job->text, job->text, job->len, job->nonce, job->aad,
				sa->aad_len, job->tag, sa->icv_len);
	}
	return 0;
}

/* The three key lengths differ in the functions of intel-ipsec-mb alone. */
#define GCM_FAMILY(bits) \
	static void gcm##bits##_expand( \
			struct ipsec_pcpu_ctx *ctx, struct ipsec_pcpu_sa *sa, const uint8_t *key) \
	{ \
		IMB_AES##bits##_GCM_PRE(ctx->mgr, key, &sa->key.gcm); \
	} \
	static int gcm##bits##_seal(struct ipsec_pcpu_ctx *ctx, uint16_t from, uint16_t n) \
	{ \
		return gcm_seal(ctx, from, n, ctx->mgr->gcm##bits##_enc); \
	} \
	static int gcm##bits##_open(struct ipsec_pcpu_ctx *ctx, uint16_t from, uint16_t n) \
	{ \
		return gcm_open(ctx, from, n, ctx->mgr->gcm##bits##_dec); \
	} \
	const struct aead_ops aead_gcm##bits = { \
			.expand = gcm##bits##_expand, \
			.seal_burst = gcm##bits##_seal, \
			.open_burst = gcm##bits##_open, \
	}

GCM_FAMILY(128);
GCM_FAMILY(192);
GCM_FAMILY(256);
