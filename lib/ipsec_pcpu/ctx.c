/* SPDX-License-Identifier: BSD-3-Clause */

/* The context of a thread: its own intel-ipsec-mb manager, in the caller's memory. */

#include <errno.h>
#include <string.h>

#include "sa.h"

/* The manager's size is no multiple of a cache line in every version. */
static size_t
mgr_size(void)
{
	return RTE_ALIGN_CEIL(imb_get_mb_mgr_size(), (size_t)RTE_CACHE_LINE_SIZE);
}

size_t
ipsec_pcpu_ctx_size(void)
{
	return sizeof(struct ipsec_pcpu_ctx) + mgr_size();
}

int
ipsec_pcpu_ctx_init(struct ipsec_pcpu_ctx *ctx)
{
	IMB_ARCH arch = IMB_ARCH_NONE;

	memset(ctx, 0, sizeof(*ctx));
	ctx->mgr = imb_set_pointers_mb_mgr(ctx + 1, 0, 1);
	if (ctx->mgr == NULL)
		return -ENOTSUP;
	init_mb_mgr_auto(ctx->mgr, &arch);
	if (arch == IMB_ARCH_NONE || imb_get_errno(ctx->mgr) != 0)
		return -ENOTSUP;
	return 0;
}

void
ipsec_pcpu_ctx_fini(struct ipsec_pcpu_ctx *ctx)
{
	explicit_bzero(ctx, ipsec_pcpu_ctx_size());
}

void
ipsec_pcpu_sha256(struct ipsec_pcpu_ctx *ctx, const void *data, size_t len, uint8_t *digest)
{
	IMB_SHA256(ctx->mgr, data, len, digest);
}

uint32_t
ipsec_pcpu_crypto_version(void)
{
	return imb_get_version();
}
