/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef OBSERVE_H
#define OBSERVE_H

/*
 * How inbound SAs' packets come in: outer addresses and ports, the NIC's hash, the queue.
 * Steering learns from it (app/steer/), and charon is told where a peer has moved. One packet of
 * each SA is noted between two looks of control's (GW_MSG_OBSERVE), and only once it has proved
 * authentic; of more SAs than there is room for in several looks. Worker's own thread.
 */

#include <stdbool.h>
#include <stdint.h>

#include <rte_mbuf.h>

#include <ipsec_pcpu_steer.h>

/** How many SAs a worker notes between two looks. */
#define GW_OBSERVED_MAX 64

/** A packet that was authentic, as it came in. */
struct gw_observed {
	uint32_t spi;
	uint32_t hash; /* has_hash: by the NIC */
	uint16_t tunnel;
	uint8_t port; /* index */
	bool has_hash;
	struct ipsec_pcpu_tuple tuple; /* ports 0: plain ESP */
};

/**
 * Bits for SPIs, by a hash that is another one after each look that had room for all: so none is
 * hidden for long.
 */
#define GW_OBSERVER_BITS 1024

struct gw_observer {
	bool on;
	uint32_t salt;
	uint64_t done[GW_OBSERVER_BITS / 64];
	uint16_t n;
	struct gw_observed seen[GW_OBSERVED_MAX];
};

static inline uint32_t
gw_observer_bit(const struct gw_observer *o, uint32_t spi)
{
	return ((spi ^ o->salt) * UINT32_C(0x9e3779b1)) >> 22;
}

/** Is a packet of this SA still to be noted? */
static inline bool
gw_observer_wants(const struct gw_observer *o, uint32_t spi)
{
	uint32_t bit = gw_observer_bit(o, spi);

	return o->on && (o->done[bit / 64] >> bit % 64 & 1) == 0;
}

/** An ESP packet as it came in: from its outer IP header on, before it is decrypted. */
void gw_observe_outer(const struct rte_mbuf *m, uint8_t port, struct gw_observed *seen);

/** It was authentic. */
void gw_observe(struct gw_observer *o, uint32_t spi, uint16_t tunnel, struct gw_observed *seen);

/** All that was noted to @p to, of GW_OBSERVED_MAX; note anew, or no more. Returns how many. */
unsigned int gw_observer_take(struct gw_observer *o, bool on, struct gw_observed *to);

#endif /* OBSERVE_H */
