/* SPDX-License-Identifier: BSD-3-Clause */

/* The packets that the input port delivers, and the peer's SAs that encrypt some of them. */

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <rte_ethdev.h>
#include <rte_ip.h>
#include <rte_malloc.h>
#include <rte_udp.h>

#include "traffic.h"

#define MIN_PACKETS 24 /* twice the IMIX */
/**
 * With a window it is put back whenever these are through: seldom, and after whole bursts and
 * IMIXes.
 */
#define WINDOW_PACKETS 960

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

union ipsec_pcpu_addr
bench_outer_addr(bool ip6, unsigned int host)
{
	union ipsec_pcpu_addr a = {.ip4 = ip4(192, 0, 2, host)};

	if (ip6)
		a = (union ipsec_pcpu_addr){.ip6 = {0x20, 0x01, 0x0d, 0xb8, [15] = host}};
	return a;
}

bool
bench_tunnel_encap(const struct bench_cell *cell, unsigned int tunnel)
{
	if (!cell->mixed)
		return cell->encap;
	return tunnel >= BENCH_SINGLES || tunnel == BENCH_UDP || tunnel == BENCH_UDP6;
}

bool
bench_tunnel_ip6(const struct bench_cell *cell, unsigned int tunnel)
{
	return cell->mixed ? tunnel == BENCH_ESP6 || tunnel == BENCH_UDP6 : cell->ip6;
}

/** In a mixed cell packets for the tunnels that have a stream of their own come first. */
static unsigned int
first_of_many(const struct bench_cell *cell)
{
	return cell->mixed ? BENCH_SINGLES * MIN_PACKETS : 0;
}

static unsigned int
tunnel_of(const struct bench_cell *cell, unsigned int i)
{
	unsigned int singles = cell->mixed ? BENCH_SINGLES : 0;

	if (i < first_of_many(cell))
		return i / MIN_PACKETS;
	return singles + (i - first_of_many(cell)) % (cell->tunnels - singles);
}

static unsigned int
flow_of(const struct bench_cell *cell, unsigned int i)
{
	unsigned int singles = cell->mixed ? BENCH_SINGLES : 0;

	if (i < first_of_many(cell))
		return 0;
	return (i - first_of_many(cell)) / (cell->tunnels - singles) % cell->flows;
}

static uint32_t
count_packets(const struct bench_cell *cell)
{
	if (cell->mixed)
		return first_of_many(cell) + (cell->tunnels - BENCH_SINGLES) * cell->flows;
	return RTE_MAX((uint32_t)(cell->window != 0 ? WINDOW_PACKETS : MIN_PACKETS),
			cell->tunnels * cell->flows);
}

/** The IP packet number @p i of a worker, as it is before the gateway. Its payload names it. */
static void
write_inner(const struct bench_cell *cell, unsigned int worker, unsigned int i, uint8_t *p)
{
	struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)p;
	struct rte_udp_hdr *udp = (struct rte_udp_hdr *)(ip + 1);
	unsigned int tunnel = tunnel_of(cell, i);
	unsigned int flow = flow_of(cell, i);
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

static int
make_sa(struct bench_traffic *t, unsigned int tunnel, unsigned int worker)
{
	const struct bench_cell *cell = &t->cell;
	bool out = cell->dir == IPSEC_PCPU_OUT;
	bool ip6 = bench_tunnel_ip6(cell, tunnel);
	uint16_t encap_port = bench_tunnel_encap(cell, tunnel) ? 4500 : 0;
	struct ipsec_pcpu_sa *sa = traffic_sa(t, tunnel, worker);
	struct ipsec_pcpu_sa_params prm = {
			.dir = out ? IPSEC_PCPU_IN : IPSEC_PCPU_OUT,
			.spi = bench_spi(tunnel, worker, cell->dir),
			.algo = cell->algo,
			.esn = true,
			.family = ip6 ? AF_INET6 : AF_INET,
			.ttl = 64,
			.dscp = IPSEC_PCPU_DSCP_COPY,
			.saddr = bench_outer_addr(ip6, out ? 1 : 2),
			.daddr = bench_outer_addr(ip6, out ? 2 : 1),
			.encap_sport = encap_port,
			.encap_dport = encap_port,
	};

	bench_key(cell->algo, tunnel, worker, cell->dir, prm.key);
	if (ipsec_pcpu_sa_init(t->ctx, sa, &prm) < 0)
		return -EINVAL;
	ipsec_pcpu_sa_own(sa, t->ctx);
	return 0;
}

/** The frame as it arrives: in clear, or encrypted by the peer. */
static int
make_packet(struct bench_traffic *t, unsigned int worker, unsigned int i, struct packet *p)
{
	unsigned int tunnel = tunnel_of(&t->cell, i);
	struct ipsec_pcpu_sa *sa = traffic_sa(t, tunnel, worker);
	bool in = t->cell.dir == IPSEC_PCPU_IN;
	struct rte_ether_hdr eth = {.dst_addr = t->in_mac,
			.src_addr = BENCH_HOST_MAC,
			.ether_type = in && bench_tunnel_ip6(&t->cell, tunnel)
					? RTE_BE16(RTE_ETHER_TYPE_IPV6)
					: RTE_BE16(RTE_ETHER_TYPE_IPV4)};
	struct rte_mbuf m, *pkts[1] = {&m};
	struct rte_ipv4_hdr *ip;
	uint8_t why[1];

	p->inner_len = bench_inner_len(t->cell.size, i);
	write_inner(&t->cell, worker, i, p->buf + TRAFFIC_HEADROOM);
	memcpy(p->inner, p->buf + TRAFFIC_HEADROOM, p->inner_len);
	ip = (struct rte_ipv4_hdr *)p->inner;
	ip->time_to_live--;
	ip->hdr_checksum = 0;
	ip->hdr_checksum = rte_ipv4_cksum(ip);
	traffic_wrap(&m, p->buf, t->buf_len, TRAFFIC_HEADROOM, p->inner_len);
	if (in && ipsec_pcpu_encap_burst(t->ctx, sa, pkts, 1, why) != 1)
		return -EINVAL;
	p->data = rte_pktmbuf_mtod_offset(&m, uint8_t *, -(int)sizeof(eth));
	p->len = m.data_len + sizeof(eth);
	memcpy(p->data, &eth, sizeof(eth));
	return 0;
}

/** A random order, but always the same. */
static void
shuffle(struct stream *s)
{
	uint32_t seed = 12345;

	for (uint32_t i = s->n - 1; i > 0; i--) {
		const struct packet *p = s->order[i];
		uint32_t k;

		seed = seed * 1664525 + 1013904223;
		k = (uint64_t)seed * (i + 1) >> 32;
		s->order[i] = s->order[k];
		s->order[k] = p;
	}
}

/** Streams of single tunnels, in a mixed cell, and one of all the others. */
static int
make_source(struct bench_traffic *t, unsigned int worker)
{
	struct source *s = &t->source[worker];
	struct stream *streams = t->stream[worker];
	unsigned int many = t->cell.mixed ? BENCH_MANY : 0;

	s->burst = t->cell.burst;
	s->own = rte_malloc("order", t->n_packets * sizeof(s->own[0]), RTE_CACHE_LINE_SIZE);
	if (s->own == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < t->n_packets; i++)
		s->own[i] = &t->packets[worker * t->n_packets + i];
	for (unsigned int i = 0; i < many; i++)
		streams[i] = (struct stream){.order = s->own + i * MIN_PACKETS, .n = MIN_PACKETS};
	streams[many] = (struct stream){.order = s->own + first_of_many(&t->cell),
			.n = t->n_packets - first_of_many(&t->cell)};
	if (t->cell.tunnels * t->cell.flows > 1 && streams[many].n > 0)
		shuffle(&streams[many]);
	/* of a timed cell nothing comes before it is asked for */
	s->stream = t->cell.timed ? NULL : streams;
	return 0;
}

static uint32_t
largest_inner(unsigned int size)
{
	uint32_t most = 0;

	for (unsigned int i = 0; i < MIN_PACKETS; i++)
		most = RTE_MAX(most, bench_inner_len(size, i));
	return most;
}

/** Room for all of them, in one piece each: thousands of small ones would lie far apart. */
static int
make_room(struct bench_traffic *t)
{
	const struct bench_cell *cell = &t->cell;
	uint32_t inner = largest_inner(cell->size), n;

	t->n_packets = count_packets(cell);
	n = cell->workers * t->n_packets;
	t->buf_len = RTE_ALIGN_CEIL(
			TRAFFIC_HEADROOM + IPSEC_PCPU_MAX_HEAD + inner + IPSEC_PCPU_MAX_TAIL,
			RTE_CACHE_LINE_SIZE);
	/* an odd number of lines: they use all sets of the cache */
	t->buf_len |= RTE_CACHE_LINE_SIZE;
	t->ctx = rte_zmalloc("peer", ipsec_pcpu_ctx_size(), RTE_CACHE_LINE_SIZE);
	t->sas = rte_zmalloc("peer", (size_t)cell->tunnels * cell->workers * ipsec_pcpu_sa_size(),
			RTE_CACHE_LINE_SIZE);
	t->packets = calloc(n, sizeof(*t->packets));
	t->bufs = rte_zmalloc("packets", (size_t)n * t->buf_len, RTE_CACHE_LINE_SIZE);
	t->inners = malloc((size_t)n * inner);
	if (t->ctx == NULL || t->sas == NULL || t->packets == NULL || t->bufs == NULL ||
			t->inners == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++) {
		t->packets[i].buf = t->bufs + (size_t)i * t->buf_len;
		t->packets[i].inner = t->inners + (size_t)i * inner;
	}
	return ipsec_pcpu_ctx_init(t->ctx);
}

int
traffic_fill(struct bench_traffic *t)
{
	int rc = make_room(t);

	for (unsigned int w = 0; w < t->cell.workers && rc == 0; w++) {
		for (unsigned int i = 0; i < t->cell.tunnels && rc == 0; i++)
			rc = make_sa(t, i, w);
		for (uint32_t i = 0; i < t->n_packets && rc == 0; i++)
			rc = make_packet(t, w, i, &t->packets[w * t->n_packets + i]);
		if (rc == 0)
			rc = make_source(t, w);
	}
	return rc;
}
