/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The cipher alone, in the way of calling intel-ipsec-mb that takes least: that of the
 * library (aead_gcm.c, aead_chacha.c), over buffers that are ready, with one key.
 */

#include <errno.h>
#include <string.h>

#include <intel-ipsec-mb.h>

#include <rte_malloc.h>

#include "bench.h"

#define RAW_BUFFERS GW_BURST
#define RAW_HEADROOM 128 /* as in an mbuf: where ESP's payload starts */
#define RAW_STRIDE 2496 /* of frames to 1500 bytes, and more; an odd number of cache lines */
#define RAW_LARGE_STRIDE 9152 /* the same to 9000 */
#define RAW_AAD_LEN 12
#define CHACHA_KEY_LEN 32

struct raw_state {
	IMB_MGR *mgr;
	struct gcm_key_data gcm __rte_cache_aligned;
	struct gcm_context_data ctx __rte_cache_aligned;
	aes_gcm_enc_dec_t crypt; /* NULL: ChaCha20-Poly1305 */
	bool enc;
	uint8_t key[CHACHA_KEY_LEN];
	uint8_t iv[12];
	uint8_t aad[16];
	uint8_t tag[RAW_BUFFERS][16]; /* computed; where it is encrypted, behind the text */
	uint8_t icv_len;
	uint8_t *buf;
	uint32_t stride;
	uint32_t len[RAW_BUFFERS];
};

static uint8_t *
raw_text(const struct raw_state *s, unsigned int i)
{
	return s->buf + i * (size_t)s->stride + RAW_HEADROOM;
}

static uint8_t *
raw_tag(struct raw_state *s, unsigned int i)
{
	return s->enc ? raw_text(s, i) + s->len[i] : s->tag[i];
}

/* AES-GCM: one call for each */

static void
gcm_init(struct raw_state *s, const struct ipsec_pcpu_algo *algo)
{
	unsigned int bits = (algo->key_len - algo->salt_len) * 8;

	if (bits == 128) {
		IMB_AES128_GCM_PRE(s->mgr, s->key, &s->gcm);
		s->crypt = s->enc ? s->mgr->gcm128_enc : s->mgr->gcm128_dec;
	} else if (bits == 192) {
		IMB_AES192_GCM_PRE(s->mgr, s->key, &s->gcm);
		s->crypt = s->enc ? s->mgr->gcm192_enc : s->mgr->gcm192_dec;
	} else {
		IMB_AES256_GCM_PRE(s->mgr, s->key, &s->gcm);
		s->crypt = s->enc ? s->mgr->gcm256_enc : s->mgr->gcm256_dec;
	}
}

static void
gcm_burst(struct raw_state *s)
{
	for (unsigned int i = 0; i < RAW_BUFFERS; i++) {
		uint8_t *p = raw_text(s, i);

		s->crypt(&s->gcm, &s->ctx, p, p, s->len[i], s->iv, s->aad, RAW_AAD_LEN,
				raw_tag(s, i), s->icv_len);
	}
}

/* ChaCha20-Poly1305: all at once */

#if IMB_VERSION_NUM >= IMB_VERSION(2, 0, 0)

static int
chacha_burst(struct raw_state *s)
{
	void *text[RAW_BUFFERS], *tag[RAW_BUFFERS];
	const void *iv[RAW_BUFFERS], *aad[RAW_BUFFERS];
	uint64_t len[RAW_BUFFERS];

	for (unsigned int i = 0; i < RAW_BUFFERS; i++) {
		text[i] = raw_text(s, i);
		len[i] = s->len[i];
		iv[i] = s->iv;
		aad[i] = s->aad;
		tag[i] = raw_tag(s, i);
	}
	imb_quic_chacha20_poly1305(s->mgr, s->key, s->enc ? IMB_DIR_ENCRYPT : IMB_DIR_DECRYPT, text,
			(const void *const *)text, len, iv, aad, RAW_AAD_LEN, tag, RAW_BUFFERS);
	return 0;
}

#else

static void
chacha_fill(struct raw_state *s, IMB_JOB *j, unsigned int i)
{
	uint8_t *p = raw_text(s, i);

	j->cipher_mode = IMB_CIPHER_CHACHA20_POLY1305;
	j->hash_alg = IMB_AUTH_CHACHA20_POLY1305;
	j->cipher_direction = s->enc ? IMB_DIR_ENCRYPT : IMB_DIR_DECRYPT;
	j->chain_order = s->enc ? IMB_ORDER_CIPHER_HASH : IMB_ORDER_HASH_CIPHER;
	j->enc_keys = s->key;
	j->dec_keys = s->key;
	j->key_len_in_bytes = CHACHA_KEY_LEN;
	j->src = p;
	j->dst = p;
	j->cipher_start_src_offset_in_bytes = 0;
	j->msg_len_to_cipher_in_bytes = s->len[i];
	j->hash_start_src_offset_in_bytes = 0;
	j->msg_len_to_hash_in_bytes = s->len[i];
	j->iv = s->iv;
	j->iv_len_in_bytes = sizeof(s->iv);
	j->u.CHACHA20_POLY1305.aad = s->aad;
	j->u.CHACHA20_POLY1305.aad_len_in_bytes = RAW_AAD_LEN;
	j->auth_tag_output = raw_tag(s, i);
	j->auth_tag_output_len_in_bytes = sizeof(s->tag[i]);
#if IMB_VERSION_NUM >= IMB_VERSION(1, 4, 0)
	imb_set_session(s->mgr, j);
#endif
}

static int
chacha_burst(struct raw_state *s)
{
	IMB_JOB *jobs[RAW_BUFFERS];

	/* fewer than asked for where the manager's ring wraps */
	for (unsigned int done = 0, got; done < RAW_BUFFERS; done += got) {
		got = IMB_GET_NEXT_BURST(s->mgr, RAW_BUFFERS - done, jobs);
		for (unsigned int i = 0; i < got; i++)
			chacha_fill(s, jobs[i], done + i);
		if (got == 0 || IMB_SUBMIT_BURST_NOCHECK(s->mgr, got, jobs) != got)
			return -EIO;
	}
	return 0;
}

#endif

static struct raw_state *
raw_new(const struct bench_raw *raw)
{
	struct raw_state *s = rte_zmalloc("raw", sizeof(*s), RTE_CACHE_LINE_SIZE);

	if (s == NULL)
		return NULL;
	s->mgr = alloc_mb_mgr(0);
	s->stride = raw->size > 1500 ? RAW_LARGE_STRIDE : RAW_STRIDE;
	s->buf = rte_zmalloc("raw", RAW_BUFFERS * s->stride, RTE_CACHE_LINE_SIZE);
	if (s->mgr == NULL || s->buf == NULL)
		return NULL; /* the bench ends */
	init_mb_mgr_auto(s->mgr, NULL);
	s->enc = raw->dir == IPSEC_PCPU_OUT;
	s->icv_len = raw->algo->icv_len;
	memcpy(s->key, "\1\2\3", 3);
	if (strstr(raw->algo->name, "gcm") != NULL)
		gcm_init(s, raw->algo);
	return s;
}

static void
raw_free(struct raw_state *s)
{
	free_mb_mgr(s->mgr);
	rte_free(s->buf);
	rte_free(s);
}

int
bench_raw_main(void *arg)
{
	struct bench_raw *raw = arg;
	struct raw_state *s = raw_new(raw);
	unsigned int at = 0;
	int rc = 0;

	if (s == NULL)
		return -ENOMEM;
	while (rc == 0 && !__atomic_load_n(&raw->stop, __ATOMIC_RELAXED)) {
		/* the next 32 of the sequence; the trailer of ESP is part of the text */
		for (unsigned int i = 0; i < RAW_BUFFERS; i++)
			s->len[i] = RTE_ALIGN_CEIL(bench_inner_len(raw->size, at + i) + 2, 4u);
		at = (at + RAW_BUFFERS) % 12;
		if (s->crypt != NULL)
			gcm_burst(s);
		else
			rc = chacha_burst(s);
		__atomic_store_n(&raw->count.packets, raw->count.packets + RAW_BUFFERS,
				__ATOMIC_RELAXED);
	}
	raw_free(s);
	return rc;
}
