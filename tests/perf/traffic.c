/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Traffic without a wire. Both ports are net_null, opened and started by the
 * gateway like any other; then their burst functions give way to ours. Receive:
 * mbufs from the gateway's pool, filled with copies of packets made beforehand.
 * Transmit: freed in bulk. (net_null's own count with locked instructions, its
 * queues share cache lines, and what it receives is empty.)
 */

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <rte_cycles.h>
#include <rte_ethdev.h>
#include <rte_ip.h>
#include <rte_malloc.h>
#include <rte_udp.h>

#include "bench.h"

#define BUF_LEN 2560
#define HEADROOM 128
#define CAPTURED 1024
#define MIN_PACKETS 24 /* twice the IMIX */

/** A packet to deliver. */
struct packet {
	uint8_t *buf;
	uint8_t *data; /* in it: the Ethernet frame */
	uint16_t len;
	uint16_t inner_len;
	uint8_t *inner; /* as it is expected at the other end: TTL one less */
};

/** A queue of the input port: what it delivers, again and again. */
struct source {
	const struct packet **order; /* of its own or another's; NULL: nothing */
	const struct packet **own; /* order of the packets for its worker's SAs */
	uint32_t n;
	uint32_t next;
	struct rte_mempool *pool;
	uint16_t burst; /* at most; 0: as it comes */
	uint64_t tsc; /* spent here; cell with a burst only */
} __rte_cache_aligned;

/** Frames that a queue of the output port got. */
struct capture {
	unsigned int n;
	uint16_t len[CAPTURED];
	uint8_t data[CAPTURED][BUF_LEN];
};

/** A queue of the output port. */
struct sink {
	struct capture *capture; /* NULL: not now */
	uint64_t tsc; /* as in struct source */
} __rte_cache_aligned;

struct bench_traffic {
	struct bench_cell cell;
	const struct ipsec_pcpu_algo *algo;
	struct rte_ether_addr in_mac;
	struct ipsec_pcpu_ctx *ctx; /* the peer's */
	struct ipsec_pcpu_sa **sa; /* the peer's, by tunnel and worker */
	struct packet *packets; /* by worker: n_packets of them */
	uint32_t n_packets;
	struct source source[BENCH_MAX_WORKERS];
	struct sink sink[BENCH_MAX_WORKERS];
	struct capture *captured[BENCH_MAX_WORKERS];
	struct source no_source;
	struct sink no_sink;
};

static uint32_t
frame_size(unsigned int size, unsigned int i)
{
	static const uint16_t imix[] = {64, 570, 64, 64, 570, 64, 1420, 64, 570, 64, 570, 64};

	return size == BENCH_SIZE_IMIX ? imix[i % RTE_DIM(imix)] : size;
}

uint32_t
bench_inner_len(unsigned int size, unsigned int i)
{
	return frame_size(size, i) - sizeof(struct rte_ether_hdr);
}

void
bench_key(const struct ipsec_pcpu_algo *algo, unsigned int tunnel, unsigned int worker,
		enum ipsec_pcpu_dir dir, uint8_t *key)
{
	uint32_t name = tunnel << 8 | worker << 1 | (dir == IPSEC_PCPU_OUT);

	for (unsigned int i = 0; i < algo->key_len; i++)
		key[i] = (name >> i % 4 * 8) + i * 37;
}

uint32_t
bench_spi(unsigned int tunnel, unsigned int worker, enum ipsec_pcpu_dir dir)
{
	return (dir == IPSEC_PCPU_OUT ? 0xa0000000u : 0xb0000000u) | tunnel << 8 | worker;
}

static rte_be32_t
ip4(unsigned int a, unsigned int b, unsigned int c, unsigned int d)
{
	return rte_cpu_to_be_32(a << 24 | b << 16 | c << 8 | d);
}

/** The IP packet number @p i of a worker, as it is before the gateway. Its payload names it. */
static void
write_inner(const struct bench_cell *cell, unsigned int worker, unsigned int i, uint8_t *p)
{
	struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)p;
	struct rte_udp_hdr *udp = (struct rte_udp_hdr *)(ip + 1);
	unsigned int tunnel = i % cell->tunnels;
	unsigned int flow = i / cell->tunnels % cell->flows;
	rte_be32_t here = ip4(10, 1, 0, 10);
	rte_be32_t there = ip4(10, 100 + tunnel / 256, tunnel % 256, 10 + worker);
	uint32_t len = bench_inner_len(cell->size, i);
	uint32_t name[2] = {worker, i};

	memset(p, 0x5a, len);
	memset(ip, 0, sizeof(*ip));
	ip->version_ihl = 0x45;
	ip->total_length = rte_cpu_to_be_16(len);
	ip->time_to_live = 64;
	ip->next_proto_id = IPPROTO_UDP;
	ip->src_addr = cell->dir == IPSEC_PCPU_OUT ? here : there;
	ip->dst_addr = cell->dir == IPSEC_PCPU_OUT ? there : here;
	ip->hdr_checksum = rte_ipv4_cksum(ip);
	udp->src_port = rte_cpu_to_be_16(1024 + flow);
	udp->dst_port = rte_cpu_to_be_16(2048 + flow);
	udp->dgram_len = rte_cpu_to_be_16(len - sizeof(*ip));
	udp->dgram_cksum = 0;
	memcpy(udp + 1, name, sizeof(name));
}

/** The peer's SA for a tunnel and a worker: the other side of the one that is measured. */
static int
make_sa(struct bench_traffic *t, unsigned int tunnel, unsigned int worker)
{
	enum ipsec_pcpu_dir dir = t->cell.dir;
	struct ipsec_pcpu_sa **sa = &t->sa[tunnel * BENCH_MAX_WORKERS + worker];
	struct ipsec_pcpu_sa_params prm = {
			.dir = dir == IPSEC_PCPU_OUT ? IPSEC_PCPU_IN : IPSEC_PCPU_OUT,
			.spi = bench_spi(tunnel, worker, dir),
			.algo = t->algo,
			.esn = true,
			.family = AF_INET,
			.ttl = 64,
			.dscp = IPSEC_PCPU_DSCP_COPY,
			.saddr.ip4 = ip4(192, 0, 2, dir == IPSEC_PCPU_OUT ? 1 : 2),
			.daddr.ip4 = ip4(192, 0, 2, dir == IPSEC_PCPU_OUT ? 2 : 1),
			.encap_sport = t->cell.encap ? 4500 : 0,
			.encap_dport = t->cell.encap ? 4500 : 0,
	};

	bench_key(t->algo, tunnel, worker, dir, prm.key);
	*sa = rte_zmalloc("peer", ipsec_pcpu_sa_size(), RTE_CACHE_LINE_SIZE);
	if (*sa == NULL || ipsec_pcpu_sa_init(t->ctx, *sa, &prm) < 0)
		return -EINVAL;
	ipsec_pcpu_sa_own(*sa, t->ctx);
	return 0;
}

/** An mbuf on the stack of the caller around some bytes: the library asks for no more. */
static void
wrap(struct rte_mbuf *m, uint8_t *buf, uint16_t off, uint16_t len)
{
	memset(m, 0, sizeof(*m));
	m->buf_addr = buf;
	m->buf_len = BUF_LEN;
	m->data_off = off;
	m->data_len = len;
	m->pkt_len = len;
	m->nb_segs = 1;
	rte_mbuf_refcnt_set(m, 1);
}

/** The frame as it arrives: in clear, or encrypted by the peer. */
static int
make_packet(struct bench_traffic *t, unsigned int worker, unsigned int i, struct packet *p)
{
	struct ipsec_pcpu_sa *sa = t->sa[i % t->cell.tunnels * BENCH_MAX_WORKERS + worker];
	struct rte_ether_hdr eth = {.dst_addr = t->in_mac,
			.src_addr = BENCH_HOST_MAC,
			.ether_type = RTE_BE16(RTE_ETHER_TYPE_IPV4)};
	struct rte_mbuf m, *pkts[1] = {&m};
	struct rte_ipv4_hdr *ip;
	uint8_t why[1];

	p->inner_len = bench_inner_len(t->cell.size, i);
	p->inner = malloc(p->inner_len);
	p->buf = rte_zmalloc("packet", BUF_LEN, RTE_CACHE_LINE_SIZE);
	if (p->buf == NULL || p->inner == NULL)
		return -ENOMEM;
	write_inner(&t->cell, worker, i, p->buf + HEADROOM);
	memcpy(p->inner, p->buf + HEADROOM, p->inner_len);
	ip = (struct rte_ipv4_hdr *)p->inner;
	ip->time_to_live--;
	ip->hdr_checksum = 0;
	ip->hdr_checksum = rte_ipv4_cksum(ip);
	wrap(&m, p->buf, HEADROOM, p->inner_len);
	if (t->cell.dir == IPSEC_PCPU_IN && ipsec_pcpu_encap_burst(t->ctx, sa, pkts, 1, why) != 1)
		return -EINVAL;
	p->data = rte_pktmbuf_mtod_offset(&m, uint8_t *, -(int)sizeof(eth));
	p->len = m.data_len + sizeof(eth);
	memcpy(p->data, &eth, sizeof(eth));
	return 0;
}

/** The order of delivery: random where there are several flows or tunnels, but always the same. */
static int
make_source(struct bench_traffic *t, unsigned int worker)
{
	struct source *s = &t->source[worker];
	uint32_t seed = 12345;

	s->n = t->n_packets;
	s->burst = t->cell.burst;
	s->own = rte_malloc("order", s->n * sizeof(s->own[0]), RTE_CACHE_LINE_SIZE);
	if (s->own == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < s->n; i++)
		s->own[i] = &t->packets[worker * t->n_packets + i];
	/* with a burst nothing comes before it is asked for */
	if (t->cell.burst == 0)
		s->order = s->own;
	if (t->cell.tunnels * t->cell.flows == 1)
		return 0;
	for (uint32_t i = s->n - 1; i > 0; i--) {
		const struct packet *p = s->own[i];
		uint32_t k;

		seed = seed * 1664525 + 1013904223;
		k = (uint64_t)seed * (i + 1) >> 32;
		s->own[i] = s->own[k];
		s->own[k] = p;
	}
	return 0;
}

static int
fill_traffic(struct bench_traffic *t)
{
	int rc = ipsec_pcpu_ctx_init(t->ctx);

	for (unsigned int w = 0; w < t->cell.workers && rc == 0; w++) {
		t->captured[w] = calloc(1, sizeof(*t->captured[w]));
		if (t->captured[w] == NULL)
			return -ENOMEM;
		for (unsigned int i = 0; i < t->cell.tunnels && rc == 0; i++)
			rc = make_sa(t, i, w);
		for (uint32_t i = 0; i < t->n_packets && rc == 0; i++)
			rc = make_packet(t, w, i, &t->packets[w * t->n_packets + i]);
		if (rc == 0)
			rc = make_source(t, w);
	}
	return rc;
}

struct bench_traffic *
bench_traffic_new(const struct bench_options *opt, const struct bench_cell *cell,
		const struct rte_ether_addr *in_mac)
{
	struct bench_traffic *t = rte_zmalloc("traffic", sizeof(*t), RTE_CACHE_LINE_SIZE);

	if (t == NULL)
		return NULL;
	t->cell = *cell;
	t->algo = opt->algo;
	t->in_mac = *in_mac;
	t->n_packets = RTE_MAX((uint32_t)MIN_PACKETS, cell->tunnels * cell->flows);
	t->ctx = rte_zmalloc("peer", ipsec_pcpu_ctx_size(), RTE_CACHE_LINE_SIZE);
	t->sa = calloc(cell->tunnels * BENCH_MAX_WORKERS, sizeof(*t->sa));
	t->packets = calloc(cell->workers * t->n_packets, sizeof(*t->packets));
	if (t->ctx != NULL && t->sa != NULL && t->packets != NULL && fill_traffic(t) == 0)
		return t;
	bench_traffic_free(t);
	return NULL;
}

void
bench_traffic_free(struct bench_traffic *t)
{
	if (t == NULL)
		return;
	for (uint32_t i = 0; t->packets != NULL && i < t->cell.workers * t->n_packets; i++) {
		free(t->packets[i].inner);
		rte_free(t->packets[i].buf);
	}
	for (unsigned int i = 0; t->sa != NULL && i < t->cell.tunnels * BENCH_MAX_WORKERS; i++)
		rte_free(t->sa[i]);
	for (unsigned int w = 0; w < BENCH_MAX_WORKERS; w++) {
		rte_free(t->source[w].own);
		free(t->captured[w]);
	}
	free(t->packets);
	free(t->sa);
	rte_free(t->ctx);
	rte_free(t);
}

static uint16_t
receive(void *queue, struct rte_mbuf *pkts[], uint16_t n)
{
	struct source *s = queue;
	uint32_t next = s->next;

	if (s->order == NULL || rte_pktmbuf_alloc_bulk(s->pool, pkts, n) < 0)
		return 0;
	for (uint16_t i = 0; i < n; i++) {
		const struct packet *p = s->order[next];
		struct rte_mbuf *m = pkts[i];

		rte_memcpy(rte_pktmbuf_mtod(m, void *), p->data, p->len);
		m->data_len = p->len;
		m->pkt_len = p->len;
		next = next + 1 == s->n ? 0 : next + 1;
	}
	s->next = next;
	return n;
}

static __rte_noinline void
capture(struct capture *c, struct rte_mbuf *pkts[], uint16_t n)
{
	unsigned int k = c->n;

	for (uint16_t i = 0; i < n && k < CAPTURED; i++) {
		if (pkts[i]->data_len + HEADROOM > BUF_LEN)
			continue;
		c->len[k] = pkts[i]->data_len;
		memcpy(c->data[k] + HEADROOM, rte_pktmbuf_mtod(pkts[i], void *), c->len[k]);
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
		capture(c, pkts, n);
	rte_pktmbuf_free_bulk(pkts, n);
	return n;
}

/* The same where the time in them is taken apart from the gateway's */

static uint16_t
receive_timed(void *queue, struct rte_mbuf *pkts[], uint16_t n)
{
	struct source *s = queue;
	uint64_t start;

	if (s->order == NULL)
		return 0;
	start = rte_rdtsc();
	n = receive(s, pkts, RTE_MIN(n, s->burst));
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
bench_traffic_deliver(struct bench_traffic *t, unsigned int worker, int owner)
{
	t->source[worker].order = owner < 0 ? NULL : t->source[owner].own;
}

uint64_t
bench_traffic_tsc(const struct bench_traffic *t, unsigned int worker)
{
	return t->source[worker].tsc + t->sink[worker].tsc;
}

void
bench_traffic_attach(struct bench_traffic *t, struct rte_mempool *pool, uint16_t in, uint16_t out)
{
	static void *rx[2][BENCH_MAX_WORKERS], *tx[2][BENCH_MAX_WORKERS];

	for (unsigned int w = 0; w < BENCH_MAX_WORKERS; w++) {
		t->source[w].pool = pool;
		rx[0][w] = &t->source[w];
		tx[0][w] = &t->no_sink;
		rx[1][w] = &t->no_source;
		tx[1][w] = &t->sink[w];
	}
	for (unsigned int i = 0; i < 2; i++) {
		struct rte_eth_fp_ops *ops = &rte_eth_fp_ops[i == 0 ? in : out];

		ops->rx_pkt_burst = t->cell.burst == 0 ? receive : receive_timed;
		ops->tx_pkt_burst = t->cell.burst == 0 ? transmit : transmit_timed;
		ops->rxq.data = rx[i];
		ops->txq.data = tx[i];
	}
}

void
bench_traffic_capture(struct bench_traffic *t, unsigned int ms)
{
	for (unsigned int w = 0; w < t->cell.workers; w++)
		__atomic_store_n(&t->sink[w].capture, t->captured[w], __ATOMIC_RELEASE);
	/* with a burst only the last one's packets are looked at */
	for (unsigned int w = t->cell.burst == 0 ? 0 : t->cell.workers - 1; w < t->cell.workers;
			w++) {
		struct capture *c = t->captured[w];

		for (; ms > 0 && __atomic_load_n(&c->n, __ATOMIC_ACQUIRE) < CAPTURED; ms--)
			bench_sleep_ms(1);
		__atomic_store_n(&t->sink[w].capture, NULL, __ATOMIC_RELEASE);
	}
	/* a worker may be in the middle of it */
	bench_sleep_ms(2);
}

/** A captured ESP packet as the peer takes it; false: it does not. */
static bool
peer_decrypts(struct bench_traffic *t, struct rte_mbuf *m)
{
	struct rte_mbuf *pkts[1] = {m};
	uint32_t tunnel, worker;
	rte_be32_t spi;
	uint8_t why[1];

	m->l3_len = sizeof(struct rte_ipv4_hdr);
	m->l4_len = t->cell.encap ? sizeof(struct rte_udp_hdr) : 0;
	memcpy(&spi, rte_pktmbuf_mtod_offset(m, uint8_t *, m->l3_len + m->l4_len), sizeof(spi));
	tunnel = rte_be_to_cpu_32(spi) >> 8 & 0xffff;
	worker = rte_be_to_cpu_32(spi) & 0xff;
	if (tunnel >= t->cell.tunnels || worker >= t->cell.workers)
		return false;
	return ipsec_pcpu_decap_burst(t->ctx, t->sa[tunnel * BENCH_MAX_WORKERS + worker], pkts, 1,
			       why) == 1;
}

/** Is it one of the packets that were put in, with its TTL one less? */
static bool
is_right(const struct bench_traffic *t, const struct rte_mbuf *m)
{
	const uint8_t *p = rte_pktmbuf_mtod(m, const uint8_t *);
	const struct packet *want;
	uint32_t name[2];

	if (m->data_len < sizeof(struct rte_ipv4_hdr) + sizeof(struct rte_udp_hdr) + sizeof(name))
		return false;
	memcpy(name, p + sizeof(struct rte_ipv4_hdr) + sizeof(struct rte_udp_hdr), sizeof(name));
	if (name[0] >= t->cell.workers || name[1] >= t->n_packets)
		return false;
	want = &t->packets[name[0] * t->n_packets + name[1]];
	return m->data_len == want->inner_len && memcmp(p, want->inner, want->inner_len) == 0;
}

static int
compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/** (SPI, sequence number) pairs that were captured more than once. */
static unsigned int
count_duplicates(const struct bench_traffic *t)
{
	size_t off = HEADROOM + sizeof(struct rte_ether_hdr) + sizeof(struct rte_ipv4_hdr) +
			(t->cell.encap ? sizeof(struct rte_udp_hdr) : 0);
	uint64_t seen[BENCH_MAX_WORKERS * CAPTURED];
	unsigned int n = 0, found = 0;

	for (unsigned int w = 0; w < t->cell.workers; w++)
		for (unsigned int i = 0; i < t->captured[w]->n; i++)
			memcpy(&seen[n++], t->captured[w]->data[i] + off, sizeof(seen[0]));
	qsort(seen, n, sizeof(seen[0]), compare_u64);
	for (unsigned int i = 1; i < n; i++)
		found += seen[i] == seen[i - 1];
	return found;
}

void
bench_traffic_check(struct bench_traffic *t, struct bench_result *r)
{
	/* before packets are decrypted in place */
	if (t->cell.dir == IPSEC_PCPU_OUT)
		r->duplicates += count_duplicates(t);
	for (unsigned int w = 0; w < t->cell.workers; w++) {
		for (unsigned int i = 0; i < t->captured[w]->n; i++) {
			const size_t l2 = sizeof(struct rte_ether_hdr);
			struct rte_mbuf m;

			wrap(&m, t->captured[w]->data[i], HEADROOM + l2,
					t->captured[w]->len[i] - l2);
			if (t->cell.dir == IPSEC_PCPU_OUT && !peer_decrypts(t, &m))
				r->wrong++;
			else if (!is_right(t, &m))
				r->wrong++;
			r->checked++;
		}
	}
}
