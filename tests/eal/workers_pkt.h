/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef WORKERS_PKT_H
#define WORKERS_PKT_H

/*
 * Inner packets that can be recognised on the other side: each says which one
 * of which flow it is, and everything in it follows from that. The log knows
 * what was sent and notes what arrived: whole, once, in order.
 */

#include <stdbool.h>
#include <stdint.h>

#include <rte_mbuf.h>

#define PKT_FLOWS 256
#define PKT_SEQS 8192 /* packets of a flow, at most */

/** Our side is 10.10.0.0/16 and fd00:10::/32, the peer's 10.20.0.0/16 and fd00:20::/32. */
enum pkt_way {
	PKT_OUT, /* from our side into the tunnel */
	PKT_IN,
	PKT_N_WAYS
};

struct pkt_tag {
	uint32_t flow;
	uint32_t seq;
	uint16_t queue; /* on which it was received */
	uint16_t pair; /* inbound: by which SA it came */
	uint32_t way;
};

struct pkt_flow {
	uint32_t sent;
	uint32_t got;
	uint32_t last; /* the highest that arrived, + 1 */
	uint64_t seen[PKT_SEQS / 64];
};

struct pkt_log {
	struct pkt_flow flow[PKT_N_WAYS][PKT_FLOWS];
	uint64_t sent;
	uint64_t got;
	bool unordered; /* do not insist on the order within a flow */
};

/** Numbers that are the same in every run. */
uint32_t pkt_random(void);

/** The next packet of a flow, from its IP header on. A quarter of the flows is IPv6. */
struct rte_mbuf *pkt_make(struct pkt_log *log, struct rte_mempool *pool, enum pkt_way way,
		unsigned int flow, unsigned int queue, unsigned int pair);

/** Assert that this is one of them, as it is after a router, and has not been seen before. */
struct pkt_tag pkt_check(struct pkt_log *log, enum pkt_way way, const struct rte_mbuf *m);

/** An IP packet between the two sides: such a one must not leave in clear. */
bool pkt_is_protected(const uint8_t *ip, uint32_t len);

#endif /* WORKERS_PKT_H */
