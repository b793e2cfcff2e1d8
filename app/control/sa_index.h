/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef SA_INDEX_H
#define SA_INDEX_H

/*
 * All SAs of all tunnels, found by SPI and by key: IKE asks with each message, and SAs may be
 * tens of thousands. Chains through the SAs themselves, so that taking one out cannot fail. Peers
 * choose the outbound SPIs and have a say in keys: where they go nobody outside can know.
 *
 * Of a key it has what the SA has, its name (reserve.h). Control thread.
 */

#include <stdint.h>

struct gw_sa;

struct gw_sa_index {
	struct gw_sa **by_spi; /* heads of chains; NULL: none was added yet */
	struct gw_sa **by_key;
	unsigned int bits; /* of them there are 1 << bits each */
	unsigned int n; /* SAs */
	uint64_t secret; /* odd */
};

/** An SA whose SPI and reserve_id stay as they are. 0 or -errno: it is not in it. */
int gw_sa_index_add(struct gw_sa_index *ix, struct gw_sa *sa);

/** One that is in it. */
void gw_sa_index_del(struct gw_sa_index *ix, struct gw_sa *sa);

/** Those of an SPI, of both directions and all peers, in no order. NULL: none. */
struct gw_sa *gw_sa_index_spi(const struct gw_sa_index *ix, uint32_t spi);
/** The next one with its SPI. */
struct gw_sa *gw_sa_index_next(const struct gw_sa *sa);

/** One with a key of this name, GW_RESERVE_ID_LEN bytes. NULL: none. */
struct gw_sa *gw_sa_index_key(const struct gw_sa_index *ix, const uint8_t *id);

/** It holds no memory afterwards; SAs are not touched. */
void gw_sa_index_free(struct gw_sa_index *ix);

#endif /* SA_INDEX_H */
