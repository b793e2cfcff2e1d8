/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * HOT. ChaCha20-Poly1305 (RFC 7634). In intel-ipsec-mb 1.x a burst of jobs
 * beats the direct call; in 2.x a call made for QUIC takes a whole burst. Both
 * finish all that they are given before they return.
 */

#include <errno.h>
#include <string.h>

#include "sa.h"

#define CHACHA_KEY_LEN 32
#define CHACHA_ICV_LEN 16

static void
chacha_expand(struct ipsec_pcpu_ctx *ctx, struct ipsec_pcpu_sa *sa, const uint8_t *key)
{
	memcpy(sa->key.chacha, key, CHACHA_KEY_LEN);
}

#if IMB_VERSION_NUM >= IMB_VERSION(2, 0, 0)

static void
chacha_run(struct ipsec_pcpu_ctx *ctx, uint16_t from, uint16_t n, IMB_CIPHER_DIRECTION dir)
{
	const struct ipsec_pcpu_sa *sa = ctx->job_sa[from];
	void *text[IPSEC_PCPU_MAX_BURST], *tag[IPSEC_PCPU_MAX_BURST];
	const void *nonce[IPSEC_PCPU_MAX_BURST], *aad[IPSEC_PCPU_MAX_BURST];
	uint64_t len[IPSEC_PCPU_MAX_BURST];

	for (uint16_t i = 0; i < n; i++) {
		struct aead_job *job = &ctx->job[from + i];

		text[i] = job->text;
		len[i] = job->len;
		nonce[i] = job->nonce;
		aad[i] = job->aad;
		tag[i] = dir == IMB_DIR_ENCRYPT ? job->text + job->len : job->tag;
	}
	imb_quic_chacha20_poly1305(ctx->mgr, sa->key.chacha, dir, text, (const void *const *)text,
			len, nonce, aad, sa->aad_len, tag, n);
}

/** Such a call takes packets of one key only. */
static int
chacha_burst(struct ipsec_pcpu_ctx *ctx, uint16_t from, uint16_t n, IMB_CIPHER_DIRECTION dir)
{
	uint16_t end = from + n;

	while (from < end) {
		uint16_t to = from + 1;

		while (to < end && ctx->job_sa[to] == ctx->job_sa[from])
			to++;
		chacha_run(ctx, from, to - from, dir);
		from = to;
	}
	return 0;
}

#else

static inline void
chacha_fill(IMB_MGR *mgr, IMB_JOB *j, const struct ipsec_pcpu_sa *sa, struct aead_job *job,
		IMB_CIPHER_DIRECTION dir)
{
	bool enc = dir == IMB_DIR_ENCRYPT;

	j->cipher_mode = IMB_CIPHER_CHACHA20_POLY1305;
	j->hash_alg = IMB_AUTH_CHACHA20_POLY1305;
	j->cipher_direction = dir;
	j->chain_order = enc ? IMB_ORDER_CIPHER_HASH : IMB_ORDER_HASH_CIPHER;
	j->enc_keys = sa->key.chacha;
	j->dec_keys = sa->key.chacha;
	j->key_len_in_bytes = CHACHA_KEY_LEN;
	j->src = job->text;
	j->dst = job->text;
	j->cipher_start_src_offset_in_bytes = 0;
	j->msg_len_to_cipher_in_bytes = job->len;
	j->hash_start_src_offset_in_bytes = 0;
	j->msg_len_to_hash_in_bytes = job->len;
	j->iv = job->nonce;
	j->iv_len_in_bytes = sizeof(job->nonce);
	j->u.CHACHA20_POLY1305.aad = job->aad;
	j->u.CHACHA20_POLY1305.aad_len_in_bytes = sa->aad_len;
	j->auth_tag_output = enc ? job->text + job->len : job->tag;
	j->auth_tag_output_len_in_bytes = CHACHA_ICV_LEN;
#if IMB_VERSION_NUM >= IMB_VERSION(1, 4, 0)
	imb_set_session(mgr, j);
#endif
}

/** Submit jobs that are filled; -EIO, and nothing left in flight, unless all were done. */
static inline int
chacha_submit(IMB_MGR *mgr, IMB_JOB *jobs[], uint32_t n)
{
	int ret = 0;

	if (IMB_SUBMIT_BURST_NOCHECK(mgr, n, jobs) != n) {
		while (IMB_FLUSH_BURST(mgr, n, jobs) != 0)
			;
		return -EIO;
	}
	for (uint32_t i = 0; i < n; i++)
		if (unlikely(jobs[i]->status != IMB_STATUS_COMPLETED))
			ret = -EIO;
	return ret;
}

static inline int
chacha_burst(struct ipsec_pcpu_ctx *ctx, uint16_t from, uint16_t n, IMB_CIPHER_DIRECTION dir)
{
	IMB_JOB *jobs[IPSEC_PCPU_MAX_BURST];

	/* The manager may hand out fewer than asked for where its ring wraps. */
	for (uint32_t done = 0, got; done < n; done += got) {
		got = IMB_GET_NEXT_BURST(ctx->mgr, n - done, jobs);
		if (unlikely(got == 0))
			return -EIO;
		for (uint32_t i = 0; i < got; i++)
			chacha_fill(ctx->mgr, jobs[i], ctx->job_sa[from + done + i],
					&ctx->job[from + done + i], dir);
		if (unlikely(chacha_submit(ctx->mgr, jobs, got) != 0))
			return -EIO;
	}
	return 0;
}

#endif

static int
chacha_seal(struct ipsec_pcpu_ctx *ctx, uint16_t from, uint16_t n)
{
	return chacha_burst(ctx, from, n, IMB_DIR_ENCRYPT);
}

static int
chacha_open(struct ipsec_pcpu_ctx *ctx, uint16_t from, uint16_t n)
{
	return chacha_burst(ctx, from, n, IMB_DIR_DECRYPT);
}

const struct aead_ops aead_chacha = {
		.expand = chacha_expand,
		.seal_burst = chacha_seal,
		.open_burst = chacha_open,
};
