/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef ICMP_H
#define ICMP_H

/* ICMP errors that a router sends (RFC 792, 1191, 4443, 1812 4.3.2). Slow path, worker's thread. */

#include <stdbool.h>
#include <stdint.h>

#include <rte_mbuf.h>

#include "../addr.h"

enum gw_icmp_error {
	GW_ICMP_TOO_BIG, /* fragmentation needed (v4), packet too big (v6); arg: the MTU */
	GW_ICMP_TIME_EXCEEDED,
	GW_ICMP_NO_ROUTE,
	GW_ICMP_PROHIBITED, /* administratively */
};

/** Token bucket on TSC cycles: rate per second, burst of one second's worth. One thread. */
struct gw_icmp_limit {
	uint64_t last; /* TSC */
	uint64_t credit; /* in TSC cycles */
	uint64_t cost; /* TSC cycles per message; 0: no messages at all */
	uint64_t max;
};

void gw_icmp_limit_init(struct gw_icmp_limit *limit, unsigned int per_second, uint64_t tsc_hz);

/** May one be sent now? Takes a token. */
bool gw_icmp_limit_take(struct gw_icmp_limit *limit, uint64_t now);

/**
 * Make the error message about a packet.
 *
 * @param pool
 *   For the new mbuf.
 * @param about
 *   The packet, from its IP header on; not changed.
 * @param src
 *   Our address, of the packet's family.
 * @return
 *   A new packet that starts with its IP header, checksums in place; NULL where
 *   none must be sent (about an ICMP error, a fragment other than the first,
 *   multicast, broadcast or unspecified source) or there is no mbuf.
 */
struct rte_mbuf *gw_icmp_make(struct rte_mempool *pool, const struct rte_mbuf *about,
		enum gw_icmp_error error, uint32_t arg, const struct gw_addr *src);

/**
 * Lower the MSS option of a TCP SYN to @p mss where it is larger, checksum
 * corrected in place. @p m starts with its checked IP header. Any packet.
 */
void gw_mss_clamp(struct rte_mbuf *m, uint16_t mss_ip4, uint16_t mss_ip6);

#endif /* ICMP_H */
