/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Traffic without a wire. Both ports are net_null, opened and started by the
 * gateway like any other; then their burst functions give way to ours. Receive:
 * mbufs from the gateway's pool, filled with copies of packets made beforehand.
 * Transmit: freed in bulk. (net_null's own count with locked instructions, its
 * queues share cache lines, and what it receives is empty.)
 */

#include <stdlib.h>
#include <string.h>

#include <rte_cycles.h>
#include <rte_ethdev.h>
#include <rte_malloc.h>

#include <sa.h> /* the library's own: the window is put back, see receive_window() */

#include "traffic.h"

static bool
make_captures(struct bench_traffic *t)
{
	for (unsigned int w = 0; w < t->cell.workers; w++) {
		t->sink[w].buf_len = t->buf_len;
		t->captured[w].data = calloc(TRAFFIC_CAPTURED, t->buf_len);
		if (t->captured[w].data == NULL)
			return false;
	}
	return true;
}

struct bench_traffic *
bench_traffic_new(const struct bench_cell *cell, const struct rte_ether_addr *in_mac)
{
	struct bench_traffic *t = rte_zmalloc("traffic", sizeof(*t), RTE_CACHE_LINE_SIZE);

	if (t == NULL)
		return NULL;
	t->cell = *cell;
	t->in_mac = *in_mac;
	if (traffic_fill(t) == 0 && make_captures(t))
		return t;
	bench_traffic_free(t);
	return NULL;
}

void
bench_traffic_free(struct bench_traffic *t)
{
	if (t == NULL)
		return;
	for (unsigned int w = 0; w < BENCH_MAX_WORKERS; w++) {
		rte_free(t->source[w].own);
		free(t->captured[w].data);
	}
	free(t->inners);
	rte_free(t->bufs);
	free(t->packets);
	rte_free(t->sas);
	rte_free(t->ctx);
	rte_free(t);
}

static inline uint16_t
deliver(struct source *s, struct stream *st, struct rte_mbuf *pkts[], uint16_t n)
{
	uint32_t next = st->next;

	if (rte_pktmbuf_alloc_bulk(s->pool, pkts, n) < 0)
		return 0;
	for (uint16_t i = 0; i < n; i++) {
		const struct packet *p = st->order[next];
		struct rte_mbuf *m = pkts[i];

		rte_memcpy(rte_pktmbuf_mtod(m, void *), p->data, p->len);
		m->data_len = p->len;
		m->pkt_len = p->len;
		next = next + 1 == st->n ? 0 : next + 1;
	}
	st->next = next;
	return n;
}

static uint16_t
receive(void *queue, struct rte_mbuf *pkts[], uint16_t n)
{
	struct source *s = queue;
	struct stream *st = __atomic_load_n(&s->stream, __ATOMIC_ACQUIRE);

	n = RTE_MIN(n, __atomic_load_n(&s->burst, __ATOMIC_RELAXED));
	return st == NULL ? 0 : deliver(s, st, pkts, n);
}

/**
 * Where the SA has a window packets cannot come again, unless it is put back: when all have
 * come, before the first. It is the SA's owner that asks for packets, between bursts.
 */
static uint16_t
receive_window(void *queue, struct rte_mbuf *pkts[], uint16_t n)
{
	struct source *s = queue;
	struct stream *st = s->stream;

	if (st->next == 0)
		replay_init(&s->sa->replay, s->sa->seen, s->window, 0);
	n = RTE_MIN(n, s->burst);
	return deliver(s, st, pkts, RTE_MIN(n, st->n - st->next));
}

static __rte_noinline void
capture(const struct sink *s, struct capture *c, struct rte_mbuf *pkts[], uint16_t n)
{
	unsigned int k = c->n;

	for (uint16_t i = 0; i < n && k < TRAFFIC_CAPTURED; i++) {
		if (pkts[i]->data_len + TRAFFIC_HEADROOM > s->buf_len)
			continue;
		c->len[k] = pkts[i]->data_len;
		memcpy(c->data + k * (size_t)s->buf_len + TRAFFIC_HEADROOM,
				rte_pktmbuf_mtod(pkts[i], void *), c->len[k]);
		k++;
	}
	__atomic_store_n(&c->n, k, __ATOMIC_RELEASE);
}

static uint16_t
transmit(void *queue, struct rte_mbuf *pkts[], uint16_t n)
{
	struct sink *s = queue;
	struct capture *c = __atomic_load_n(&s->capture, __ATOMIC_ACQUIRE);

	if (unlikely(c != NULL))
		capture(s, c, pkts, n);
	rte_pktmbuf_free_bulk(pkts, n);
	return n;
}

/* The same where the time in them is taken apart from the gateway's */

static uint16_t
receive_timed(void *queue, struct rte_mbuf *pkts[], uint16_t n)
{
	struct source *s = queue;
	uint64_t start;

	if (s->stream == NULL)
		return 0;
	start = rte_rdtsc();
	n = receive(s, pkts, n);
	/* stores to lines that another CPU has are not to be waited for by the gateway */
	rte_mb();
	s->tsc += rte_rdtsc() - start;
	return n;
}

static uint16_t
transmit_timed(void *queue, struct rte_mbuf *pkts[], uint16_t n)
{
	struct sink *s = queue;
	uint64_t start = rte_rdtsc();

	n = transmit(s, pkts, n);
	s->tsc += rte_rdtsc() - start;
	return n;
}

void
bench_traffic_deliver(struct bench_traffic *t, unsigned int worker, int owner, unsigned int stream)
{
	struct stream *st = owner < 0 ? NULL : &t->stream[owner][stream];

	__atomic_store_n(&t->source[worker].stream, st, __ATOMIC_RELEASE);
}

uint64_t
bench_traffic_tsc(const struct bench_traffic *t, unsigned int worker)
{
	return t->source[worker].tsc + t->sink[worker].tsc;
}

void
bench_traffic_set_burst(struct bench_traffic *t, unsigned int worker, uint16_t burst)
{
	__atomic_store_n(&t->source[worker].burst, burst, __ATOMIC_RELAXED);
}

void
bench_traffic_set_sa(struct bench_traffic *t, unsigned int worker, struct ipsec_pcpu_sa *sa)
{
	t->source[worker].sa = sa;
	t->source[worker].window = t->cell.window;
}

void
bench_traffic_rewind(struct bench_traffic *t)
{
	for (unsigned int w = 0; w < t->cell.workers; w++)
		for (unsigned int i = 0; i < BENCH_MAX_STREAMS; i++)
			t->stream[w][i].next = 0;
}

void
bench_traffic_attach(struct bench_traffic *t, struct rte_mempool *pool, uint16_t in, uint16_t out)
{
	static void *rx[2][BENCH_MAX_WORKERS], *tx[2][BENCH_MAX_WORKERS];
	bool window = t->source[0].sa != NULL;

	for (unsigned int w = 0; w < BENCH_MAX_WORKERS; w++) {
		t->source[w].pool = pool;
		rx[0][w] = &t->source[w];
		tx[0][w] = &t->no_sink;
		rx[1][w] = &t->no_source;
		tx[1][w] = &t->sink[w];
	}
	for (unsigned int i = 0; i < 2; i++) {
		struct rte_eth_fp_ops *ops = &rte_eth_fp_ops[i == 0 ? in : out];

		ops->rx_pkt_burst = t->cell.timed  ? receive_timed
				: window && i == 0 ? receive_window
						   : receive;
		ops->tx_pkt_burst = t->cell.timed ? transmit_timed : transmit;
		ops->rxq.data = rx[i];
		ops->txq.data = tx[i];
	}
}
