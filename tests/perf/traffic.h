/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef BENCH_TRAFFIC_H
#define BENCH_TRAFFIC_H

/* What packets.c, traffic.c and check.c have in common: the packets of a rig. */

#include <rte_mbuf.h>

#include "bench.h"

#define TRAFFIC_HEADROOM 128u
#define TRAFFIC_CAPTURED 1024

/** A packet to deliver. */
struct packet {
	uint8_t *buf;
	uint8_t *data; /* in it: the Ethernet frame */
	uint16_t len;
	uint16_t inner_len;
	uint8_t *inner; /* as it is expected at the other end: TTL one less */
};

/** Packets in an order, again and again. */
struct stream {
	const struct packet **order;
	uint32_t n;
	uint32_t next; /* of the worker that gets them */
} __rte_cache_aligned;

/** A queue of the input port. */
struct source {
	struct stream *stream; /* what it delivers: of its own or another's; NULL: nothing */
	const struct packet **own; /* order of the packets for its worker's SAs */
	struct rte_mempool *pool;
	uint16_t burst; /* at most */
	uint64_t tsc; /* spent here; timed cell only */
	struct ipsec_pcpu_sa *sa; /* cell with a window only */
	uint32_t window;
} __rte_cache_aligned;

/** Frames that a queue of the output port got. */
struct capture {
	unsigned int n;
	uint16_t len[TRAFFIC_CAPTURED];
	uint8_t *data; /* buf_len for each */
};

/** A queue of the output port. */
struct sink {
	struct capture *capture; /* NULL: not now */
	uint32_t buf_len; /* of it */
	uint64_t tsc; /* as in struct source */
} __rte_cache_aligned;

struct bench_traffic {
	struct bench_cell cell;
	struct rte_ether_addr in_mac;
	struct ipsec_pcpu_ctx *ctx; /* the peer's */
	uint8_t *sas; /* the peer's: see traffic_sa() */
	struct packet *packets; /* by worker: n_packets of them */
	uint8_t *bufs; /* of all of them */
	uint8_t *inners;
	uint32_t n_packets;
	uint32_t buf_len; /* enough for any packet of the cell, before and after */
	struct source source[BENCH_MAX_WORKERS];
	struct stream stream[BENCH_MAX_WORKERS][BENCH_MAX_STREAMS];
	struct sink sink[BENCH_MAX_WORKERS];
	struct capture captured[BENCH_MAX_WORKERS];
	struct source no_source;
	struct sink no_sink;
};

/** The peer's SA for a tunnel and a worker: the other side of the one that is measured. */
static inline struct ipsec_pcpu_sa *
traffic_sa(const struct bench_traffic *t, unsigned int tunnel, unsigned int worker)
{
	return (struct ipsec_pcpu_sa *)(t->sas +
			(tunnel * (size_t)t->cell.workers + worker) * ipsec_pcpu_sa_size());
}

/** An mbuf on the stack of the caller around some bytes: the library asks for no more. */
static inline void
traffic_wrap(struct rte_mbuf *m, uint8_t *buf, uint32_t buf_len, uint16_t off, uint16_t len)
{
	memset(m, 0, sizeof(*m));
	m->buf_addr = buf;
	m->buf_len = buf_len;
	m->data_off = off;
	m->data_len = len;
	m->pkt_len = len;
	m->nb_segs = 1;
	rte_mbuf_refcnt_set(m, 1);
}

/** The peer's SAs, the packets, and in what order they come. The cell and the MAC are there. */
int traffic_fill(struct bench_traffic *t);

#endif /* BENCH_TRAFFIC_H */
