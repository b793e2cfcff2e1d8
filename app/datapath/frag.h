/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef FRAG_H
#define FRAG_H

/*
 * Fragmentation of inner packets before encapsulation, and reassembly of outer
 * fragments before decapsulation. Slow path, worker's thread.
 *
 * Not librte_ip_frag: its table can not give up a datagram on an overlap (RFC
 * 5722), does not say which mbufs it freed, leaves the protocol out of the IPv4
 * key, and its fragments have no header checksum.
 */

#include <stdint.h>

#include <rte_mbuf.h>

struct gw_counters;

/** Fragments of one packet, made or taken in. */
#define GW_MAX_FRAGS 16

/**
 * Cut an IPv4 packet (DF clear) into fragments that fit @p mtu; each is a
 * packet of its own in one segment with headroom, starting with its IP header.
 *
 * The packet may be a fragment itself. Options are in all fragments or in the
 * first only, as their copied flag says. Each fragment has room for ESP before
 * and after it; where @p mtu is more than an mbuf of the pool takes with it,
 * the fragments are that much smaller.
 *
 * @param m
 *   The packet, from its IP header on, one segment. Stays the caller's.
 * @return
 *   How many were put into @p out (up to GW_MAX_FRAGS), or a negative errno
 *   value, and nothing put: -EINVAL not a well-formed IPv4 packet, -EMSGSIZE DF
 *   is set or the MTU far too small, -ENOBUFS no mbuf.
 */
int gw_frag4(struct rte_mbuf *m, uint16_t mtu, struct rte_mempool *pool, struct rte_mbuf *out[]);

struct gw_reass; /* one worker's table of datagrams in the making */

/**
 * NULL where there is no memory. At most @p flows datagrams at a time (8 or
 * more), each for a second at most; so up to flows * GW_MAX_FRAGS mbufs. When
 * it is full, the oldest ones give way.
 *
 * @param large
 *   Where a datagram goes that does not fit in its first fragment's mbuf. NULL: it
 *   is dropped, like where the pool is empty (no_mbuf).
 * @param count
 *   The worker's: absorbed, for each fragment merged into another, and drops, for
 *   each that never becomes part of a packet.
 */
struct gw_reass *gw_reass_create(unsigned int flows, uint64_t tsc_hz, int socket,
		struct rte_mempool *large, struct gw_counters *count);

/** Frees the mbufs it holds too, dropped like those that time out. NULL is allowed. */
void gw_reass_free(struct gw_reass *r);

/**
 * Take a fragment in. Of two fragments that overlap none is used, nor any other
 * of the datagram (RFC 5722); a second copy of one is only dropped.
 *
 * @param m
 *   From its outer IP header on, l2_len 0, checked: total length is inside the
 *   mbuf, and it is a fragment. Owned by the table from now on.
 * @param now
 *   TSC.
 * @return
 *   The whole packet (one segment, starting with its IP header, not a fragment
 *   any more), or NULL. In the first fragment's mbuf if it fits there, else in
 *   one of the large pool.
 */
struct rte_mbuf *gw_reass_add(struct gw_reass *r, struct rte_mbuf *m, uint64_t now);

/** How many fragments it holds now. */
uint64_t gw_reass_held(const struct gw_reass *r);

/** Drop what is too old; now and then, cheap. */
void gw_reass_expire(struct gw_reass *r, uint64_t now);

#endif /* FRAG_H */
