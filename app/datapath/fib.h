/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef FIB_H
#define FIB_H

/*
 * Longest prefix match: destination -> index of a next hop in the view. A trie
 * of one 16-bit level and 8-bit levels behind it, built whole by control and
 * never changed: control sends workers the pointer to a new one. (rte_lpm's and
 * rte_fib's DIR-24-8 tables take 32 to 64 MB each, and a change would copy one.)
 * Every known neighbour on the link stands in it as a host route, so one lookup gives the
 * Ethernet header.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rte_byteorder.h>

#include "../addr.h"

/** Result where no route matches: gw_nexthop[0] of the view is of kind GW_NH_NONE. */
#define GW_FIB_NONE 0

struct gw_fib_route {
	struct gw_prefix prefix; /* masked; of the table's family */
	uint32_t nh; /* below 2^31 */
};

/* An entry is a next hop, or the number of a 256-entry block with the top bit set. */
#define GW_FIB_BLOCK (UINT32_C(1) << 31)

struct gw_fib {
	uint32_t *root; /* 65536 entries: the first 16 bits */
	uint32_t *block; /* blocks of 256 entries: 8 bits each; up to 2^24 of them */
	uint32_t n_blocks;
	uint32_t n_routes; /* of its family, those replaced by a later one included */
	size_t size; /* of the one piece of memory that all of it is */
	bool on_node; /* from libnuma */
};

/**
 * Build a table. Of two routes for the same prefix the later one counts.
 *
 * @param family
 *   AF_INET or AF_INET6: routes of the other family are passed over.
 * @param routes
 *   In any order; those with an impossible prefix length are passed over too.
 * @param socket
 *   NUMA node of the memory; SOCKET_ID_ANY will do.
 * @return
 *   NULL where there is no memory. To be freed with gw_fib_free() once no
 *   worker has it.
 */
struct gw_fib *gw_fib_build(
		uint8_t family, const struct gw_fib_route *routes, unsigned int n, int socket);

/** NULL is allowed. */
void gw_fib_free(struct gw_fib *fib);

/** Memory that it takes, in bytes. */
size_t gw_fib_size(const struct gw_fib *fib);

/** Any thread. */
static inline uint32_t
gw_fib_lookup4(const struct gw_fib *fib, rte_be32_t dst)
{
	uint32_t ip = rte_be_to_cpu_32(dst);
	uint32_t e = fib->root[ip >> 16];

	if (e & GW_FIB_BLOCK)
		e = fib->block[(e & ~GW_FIB_BLOCK) << 8 | (ip >> 8 & 0xff)];
	if (e & GW_FIB_BLOCK)
		e = fib->block[(e & ~GW_FIB_BLOCK) << 8 | (ip & 0xff)];
	return e;
}

/** Any thread. */
static inline uint32_t
gw_fib_lookup6(const struct gw_fib *fib, const uint8_t dst[16])
{
	uint32_t e = fib->root[(uint32_t)dst[0] << 8 | dst[1]];

	for (unsigned int i = 2; (e & GW_FIB_BLOCK) != 0 && i < 16; i++)
		e = fib->block[(e & ~GW_FIB_BLOCK) << 8 | dst[i]];
	return e;
}

#endif /* FIB_H */
