/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef WORKER_H
#define WORKER_H

/*
 * One worker is one lcore that polls queue w->id of every port that has it. All
 * that it touches for a packet hangs off its struct gw_worker, on its NUMA node,
 * and no other thread writes it while it runs. Changes come as messages (msg.h).
 */

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include <rte_mbuf.h>
#include <rte_mbuf_dyn.h>
#include <rte_ring.h>

#include <ipsec_pcpu.h>
#include <ipsec_pcpu_sad.h>

#include "counters.h"
#include "cycles.h"
#include "flow_cache.h"
#include "icmp.h"
#include "observe.h"
#include "view.h"

struct gw_reass;

/**
 * How many mbufs a hand-off ring takes, and the rings from and to control. 256
 * do for workers with a core each; where two share one, the ring has to last
 * while the other runs.
 */
#define GW_HANDOFF_RING 1024
/**
 * How many packets may wait at a worker for an SA that is on its way to another one:
 * as many as the hand-off ring takes, on which they then go all at once.
 */
#define GW_PARK_RING GW_HANDOFF_RING
#define GW_PUNT_RING 512
#define GW_INJECT_RING 512

/**
 * What a packet is on its way between threads; in a dynamic field of the mbuf.
 * The mbuf starts where the comment says.
 */
enum gw_pkt_kind {
	GW_PKT_ESP, /* hand-off: inbound ESP, from the outer IP header on */
	GW_PKT_ESP_LARGE, /* the same, put together in an mbuf of the large pool */
	GW_PKT_CLEAR, /* hand-off: clear, to treat as received there, from the IP header on */
	GW_PKT_ENCAP, /* hand-off: to encrypt for tunnel, from the inner IP header on; TTL done */
	GW_PKT_TX, /* hand-off: to send on port, from the Ethernet header on */
	GW_PKT_FRAGMENT, /* hand-off: outer fragment, to put together, from the IP header on */
	GW_PKT_PUNT, /* to control: for the kernel, from the Ethernet header on */
	GW_PKT_RESOLVE, /* to control: IP packet whose next hop's MAC is not known; then FORWARD */
	GW_PKT_FRAME, /* from control: sent by the kernel on port, from the Ethernet header on */
	GW_PKT_FORWARD, /* from control: IP packet that was held; route and send it */
};

struct gw_pkt {
	uint8_t kind;
	uint8_t port; /* index: where it came from, or is to go */
	uint16_t tunnel;
	uint16_t landed; /* ESP: the worker that received it from a port; GW_NONE: put together */
	uint8_t hops; /* ESP, ENCAP: how often it was handed off for its SA */
	uint8_t zero; /* no padding: it is compared as memory */
};

/** Hand-offs for its SA that a packet may have: to the owner, and once more where that changed. */
#define GW_MAX_HOPS 2

/** Offset of struct gw_pkt in an mbuf; set once by gw_pkt_init() before workers start. */
extern int gw_pkt_offset;

/** Register the dynamic field. 0 or -errno. */
int gw_pkt_init(void);

static inline struct gw_pkt *
gw_pkt(const struct rte_mbuf *m)
{
	return RTE_MBUF_DYNFIELD(m, gw_pkt_offset, struct gw_pkt *);
}

/** The outbound side of a tunnel, as this worker sees it. */
struct gw_sa_out {
	struct ipsec_pcpu_sa *sa; /* own; NULL: none */
	struct ipsec_pcpu_sa *fallback; /* the tunnel's, on the worker that owns it; else NULL */
	/*
	 * where both are NULL: the worker that encrypts for us, or GW_NONE; ourselves: an SA
	 * is on its way, packets wait until we are told more
	 */
	uint16_t owner;
};

/**
 * That a tunnel wants an SA which this worker does not have: asked for over IKE. A worker writes
 * only to its own, and only where control has said that it may (gw_worker.want_from).
 */
struct gw_want {
	uint32_t noted; /* how often; after flow */
	struct gw_flow flow; /* of the packet, from local to remote */
};

struct gw_staged {
	uint16_t n;
	struct rte_mbuf *pkts[GW_BURST];
};

struct gw_worker {
	/* read only while running, but for message handling */
	const struct gw_view *view;
	struct ipsec_pcpu_ctx *ctx;
	struct ipsec_pcpu_sad *sad; /* inbound, by SPI; no SA, and we are the owner: packets wait */
	struct gw_sa_out *sa_out; /* by tunnel id */
	struct gw_want *want; /* by tunnel id; NULL: there is no IKE */
	uint32_t *want_from; /* the same, from control: equal to noted: note the next packet */
	uint16_t id; /* 0 to n_workers - 1: the pcpu number of its SAs */
	uint16_t n_workers;
	uint16_t reass_worker; /* which worker puts outer fragments together */
	bool run; /* poll the ports */
	bool exit;
	unsigned int lcore;
	int numa_node;
	unsigned int idle_sleep_us;
	struct rte_mempool *pool; /* for packets made here */
	clockid_t cpu_clock; /* of the thread, for control to read; set when it starts */

	struct rte_ring *inbox; /* struct gw_msg, from control */
	struct rte_ring *outbox; /* the same, answered */
	struct rte_ring *inject; /* mbufs from control */
	struct rte_ring *punt; /* mbufs to control */
	int punt_fd; /* eventfd that wakes control */
	bool punt_kick; /* control is still to be woken */
	uint64_t punt_kicked; /* TSC, when it was last */
	uint64_t punt_interval; /* TSC cycles between two wake-ups */
	struct rte_ring *handoff_in[GW_MAX_WORKERS]; /* by worker id; own: NULL */
	struct rte_ring *handoff_out[GW_MAX_WORKERS];

	struct rte_ring *parked; /* packets that wait for an SA, from us to us; see park.c */
	bool unparking; /* they are being looked at again */

	struct gw_reass *reass; /* on the reassembling worker; else NULL */
	struct rte_mempool *large; /* the same: for packets beyond an mbuf of pool; never sent */
	struct gw_icmp_limit icmp_limit;
	struct gw_icmp_limit resolve_limit; /* packets to control for want of a neighbour */

	struct gw_counters counters __rte_cache_aligned;
	struct gw_cycles cycles __rte_cache_aligned;

	/* filled within a round, flushed at its end */
	struct gw_staged tx[GW_MAX_PORTS] __rte_cache_aligned;
	struct gw_staged stage[GW_MAX_WORKERS]; /* hand-off */
	struct gw_staged punts;

	struct gw_observer observer __rte_cache_aligned; /* how inbound packets come in */

	/* answers for flows, for as long as the view is the same; see flow_cache.h */
	uint32_t view_no; /* GW_FLOW_VIEW_BITS of it */
	struct gw_flow_entry last_out; /* the last one of the policy for clear packets */
	struct gw_flow_entry *flow_cache; /* of the same, GW_FLOW_CACHE of them */
	struct gw_flow_key last_in; /* of a tunnel's selectors, for decrypted packets, ... */
	const struct gw_nexthop *last_in_nh; /* ... and where it goes: of kind GW_NH_ETHER */
} __rte_cache_aligned;

/** The poll loop, for rte_eal_remote_launch(); returns once GW_MSG_EXIT was handled. */
int gw_worker_main(void *w);

/** One round of the poll loop: what tests and benches call too. Returns packets found. */
unsigned int gw_worker_round(struct gw_worker *w);

/** A new view: what was noted of flows holds no more. For a message; worker. */
void gw_worker_forget_flows(struct gw_worker *w);

/** Take all that other workers have handed us by now. For a message; worker. */
void gw_worker_drain(struct gw_worker *w);

/** Send and hand off all that is staged. For a message; worker. */
void gw_worker_flush(struct gw_worker *w);

#endif /* WORKER_H */
