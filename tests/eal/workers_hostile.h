/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef WORKERS_HOSTILE_H
#define WORKERS_HOSTILE_H

/* Frames that nobody should send; the same ones in every run. */

#include "workers_site.h"

/** Mere noise, often with the beginning of something. */
struct rte_mbuf *hostile_bytes(struct nic *nic);

/**
 * A packet as it should be, but for a few bytes; OUT: clear from our side, IN:
 * ESP from the peer, some of which it puts in twice.
 */
struct rte_mbuf *hostile_packet(enum pkt_way way);

/** The first fragment of a packet whose rest never comes; @p id: another packet each. */
struct rte_mbuf *hostile_fragment(uint16_t id);

#endif /* WORKERS_HOSTILE_H */
