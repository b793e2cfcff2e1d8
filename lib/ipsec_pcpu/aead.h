/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef AEAD_H
#define AEAD_H

/*
 * What esp_*.c asks of an algorithm. A burst is one call: esp_encap.c and
 * esp_decap.c fill ctx->job[], then the family works through all of them, so
 * that there is no indirect call of ours for a packet, and the stores of the
 * filling have left the store buffer when the cipher loads what they wrote.
 */

#include <stdint.h>

#include <rte_common.h>

#include "ipsec_pcpu.h"

/** One packet as the cipher sees it: one cache line. Encrypted in place. */
struct aead_job {
	uint8_t *text;
	const uint8_t *aad; /* sa->aad_len bytes: in the packet, or esn_aad */
	union {
		struct {
			uint8_t nonce[12]; /* salt, IV (RFC 4106 4, RFC 7634 2) */
			uint32_t len; /* bytes at text */
		};
		uint64_t nonce_len[2]; /* the same, for whole stores */
	};
	uint8_t esn_aad[16]; /* SPI, high and low half of the sequence number: 12 bytes */
	uint8_t tag[16]; /* open_burst puts the ICV here that the packet should have */
} __rte_cache_aligned;

struct aead_ops {
	/** Expand @p key into sa->key. */
	void (*expand)(struct ipsec_pcpu_ctx *ctx, struct ipsec_pcpu_sa *sa, const uint8_t *key);

	/**
	 * Encrypt ctx->job[from .. from + n - 1], each with the key of its ctx->job_sa[], and put
	 * each ICV right after its text. 0, or -EIO: nothing of them may be sent.
	 */
	int (*seal_burst)(struct ipsec_pcpu_ctx *ctx, uint16_t from, uint16_t n);

	/**
	 * Decrypt them, and put the ICV that was computed in each one's tag.
	 * It does not compare: esp_decap.c does, for all families alike.
	 * 0, or -EIO: nothing of them may be believed.
	 */
	int (*open_burst)(struct ipsec_pcpu_ctx *ctx, uint16_t from, uint16_t n);
};

/** Values of struct ipsec_pcpu_algo.family. */
enum aead_family {
	AEAD_GCM128,
	AEAD_GCM192,
	AEAD_GCM256,
	AEAD_CHACHA,
	AEAD_N_FAMILIES
};

extern const struct aead_ops aead_gcm128;
extern const struct aead_ops aead_gcm192;
extern const struct aead_ops aead_gcm256;
extern const struct aead_ops aead_chacha;

/** The work of a row of the algorithm table. */
const struct aead_ops *aead_get(const struct ipsec_pcpu_algo *algo);

#endif /* AEAD_H */
