/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The algorithm table: config, console, IKE and the tests read it. A new
 * algorithm is a row here, and an aead_*.c where its family is new.
 */

#include <string.h>

#include "aead.h"

/* AES-GCM: key and a salt of 4 (RFC 4106 8.1); all ICV lengths of RFC 4106 6. */
#define GCM(bits, icv) \
	{ \
		"aes" #bits "gcm" #icv, "rfc4106(gcm(aes))", bits / 8 + 4, 4, 8, icv, 4, \
				AEAD_GCM##bits \
	}

static const struct ipsec_pcpu_algo algos[] = {
		GCM(128, 16),
		GCM(128, 12),
		GCM(128, 8),
		GCM(192, 16),
		GCM(192, 12),
		GCM(192, 8),
		GCM(256, 16),
		GCM(256, 12),
		GCM(256, 8),
		{"chacha20poly1305", "rfc7539esp(chacha20,poly1305)", 32 + 4, 4, 8, 16, 4,
				AEAD_CHACHA},
};

static const struct aead_ops *const families[AEAD_N_FAMILIES] = {
		[AEAD_GCM128] = &aead_gcm128,
		[AEAD_GCM192] = &aead_gcm192,
		[AEAD_GCM256] = &aead_gcm256,
		[AEAD_CHACHA] = &aead_chacha,
};

const struct ipsec_pcpu_drop_info ipsec_pcpu_drop_info[IPSEC_PCPU_N_DROPS] = {
#define _(id, name, xfrm, what, remedy) [IPSEC_PCPU_DROP_##id] = {name, xfrm, what, remedy},
		IPSEC_PCPU_FOREACH_DROP(_)
#undef _
};

const struct ipsec_pcpu_algo *
ipsec_pcpu_algo_find(const char *name)
{
	for (unsigned int i = 0; i < RTE_DIM(algos); i++)
		if (strcmp(algos[i].name, name) == 0)
			return &algos[i];
	return NULL;
}

const struct ipsec_pcpu_algo *
ipsec_pcpu_algo_get(unsigned int i)
{
	return i < RTE_DIM(algos) ? &algos[i] : NULL;
}

const struct aead_ops *
aead_get(const struct ipsec_pcpu_algo *algo)
{
	return families[algo->family];
}
