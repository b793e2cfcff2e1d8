/* SPDX-License-Identifier: BSD-3-Clause */

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include <rte_ip.h>
#include <rte_malloc.h>
#include <rte_udp.h>

#include "workers_peer.h"

uint32_t peer_ports;
uint32_t peer_own_ports;
bool peer_plain;

uint16_t
peer_sport(uint32_t spi, uint32_t ports)
{
	uint32_t x = spi ^ ports;

	x = (x ^ x >> 15) * UINT32_C(0x2c1b3c6d);
	x = (x ^ x >> 12) * UINT32_C(0x297a2d39);
	return 49152 + (x >> 18);
}

void
peer_sa_params(struct ipsec_pcpu_sa_params *prm, enum ipsec_pcpu_dir dir, uint32_t spi,
		unsigned int pair)
{
	bool out = dir == IPSEC_PCPU_OUT;

	*prm = (struct ipsec_pcpu_sa_params){.dir = dir,
			.spi = spi,
			.pcpu = pair == PEER_FALLBACK ? IPSEC_PCPU_ANY : pair,
			.algo = ipsec_pcpu_algo_find("aes128gcm16"),
			.esn = true,
			.replay_window = out ? 0 : 4096,
			.family = AF_INET,
			.ttl = 64,
			.dscp = IPSEC_PCPU_DSCP_COPY,
			.saddr.ip4 = out ? GW_ADDR : PEER_ADDR,
			.daddr.ip4 = out ? PEER_ADDR : GW_ADDR,
			.encap_sport = 49152 + pair,
			.encap_dport = 4500};
	if (peer_ports != 0 && !out)
		prm->encap_sport = peer_sport(spi, peer_ports);
	if (peer_plain)
		prm->encap_sport = prm->encap_dport = 0;
	for (unsigned int i = 0; i < prm->algo->key_len; i++)
		prm->key[i] = (spi >> i % 4 * 8) * 167 + i * 29;
}

static void *
alloc(size_t size)
{
	void *p = rte_zmalloc("peer", size, RTE_CACHE_LINE_SIZE);

	assert_non_null(p);
	return p;
}

void
peer_open(struct peer *peer)
{
	*peer = (struct peer){.ctx = alloc(ipsec_pcpu_ctx_size())};
	assert_int_equal(ipsec_pcpu_ctx_init(peer->ctx), 0);
}

void
peer_close(struct peer *peer)
{
	for (unsigned int i = 0; i < peer->n; i++)
		rte_free(peer->sa[i].sa);
	rte_free(peer->ctx);
	*peer = (struct peer){.n = 0};
}

struct peer_sa *
peer_add(struct peer *peer, enum ipsec_pcpu_dir dir, uint32_t spi, unsigned int pair)
{
	struct peer_sa *s = &peer->sa[peer->n++];
	struct ipsec_pcpu_sa_params prm;

	assert_true(peer->n <= PEER_MAX_SAS);
	peer_sa_params(&prm, dir, spi, pair);
	prm.dir = dir == IPSEC_PCPU_OUT ? IPSEC_PCPU_IN : IPSEC_PCPU_OUT;
	if (peer_own_ports != 0 && dir == IPSEC_PCPU_IN && !peer_plain)
		prm.encap_sport = peer_sport(spi, peer_own_ports);
	prm.replay_window = prm.dir == IPSEC_PCPU_IN ? 1024 : 0;
	*s = (struct peer_sa){.spi = spi, .pair = pair, .dir = prm.dir, .queue = -1};
	s->sa = alloc(ipsec_pcpu_sa_size());
	assert_int_equal(ipsec_pcpu_sa_init(peer->ctx, s->sa, &prm), 0);
	ipsec_pcpu_sa_own(s->sa, peer->ctx);
	return s;
}

void
peer_del(struct peer *peer, uint32_t spi)
{
	struct peer_sa *s = peer_find(peer, spi);

	assert_non_null(s);
	rte_free(s->sa);
	*s = peer->sa[--peer->n];
}

struct peer_sa *
peer_find(struct peer *peer, uint32_t spi)
{
	for (unsigned int i = 0; i < peer->n; i++)
		if (peer->sa[i].spi == spi)
			return &peer->sa[i];
	return NULL;
}

void
peer_seal(struct peer *peer, struct peer_sa *sa, struct rte_mbuf *m)
{
	uint8_t reason;

	assert_int_equal(sa->dir, IPSEC_PCPU_OUT);
	assert_int_equal(ipsec_pcpu_encap_burst(peer->ctx, sa->sa, &m, 1, &reason), 1);
	sa->packets++;
}

/** The length of its outer headers; 0: it is none. */
static size_t
esp_offset(const struct rte_mbuf *m)
{
	const struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod(m, const struct rte_ipv4_hdr *);
	const struct rte_udp_hdr *udp = (const struct rte_udp_hdr *)(ip + 1);

	if (m->data_len < sizeof(*ip) + sizeof(*udp) + 8 || ip->version_ihl != RTE_IPV4_VHL_DEF ||
			ip->src_addr != GW_ADDR || ip->dst_addr != PEER_ADDR)
		return 0;
	if (ip->next_proto_id == IPPROTO_ESP)
		return sizeof(*ip);
	return ip->next_proto_id == IPPROTO_UDP && udp->dst_port == RTE_BE16(4500)
			? sizeof(*ip) + sizeof(*udp)
			: 0;
}

/** An SA has one owner, and the owner one queue: so the order of a queue is that of the SA. */
static void
check_seq(struct peer_sa *s, uint32_t seq, unsigned int queue)
{
	if (s->queue < 0)
		s->queue = queue;
	if (s->queue != (int)queue)
		fail_msg("SA 0x%x sends on queues %d and %u", s->spi, s->queue, queue);
	if (seq <= s->last_seq)
		fail_msg("SA 0x%x: sequence number %u after %u", s->spi, seq, s->last_seq);
	s->last_seq = seq;
}

/** The outer tuple of an SA is fixed (R14). */
static void
check_sport(struct peer_sa *s, const uint8_t *p)
{
	const struct rte_udp_hdr *udp = (const void *)(p + sizeof(struct rte_ipv4_hdr));
	uint16_t sport = rte_be_to_cpu_16(udp->src_port);

	if (s->sport == 0)
		s->sport = sport;
	if (s->sport != sport)
		fail_msg("SA 0x%x sends from port %u and from %u", s->spi, s->sport, sport);
}

struct peer_sa *
peer_unseal(struct peer *peer, struct rte_mbuf *m, unsigned int queue)
{
	const uint8_t *p = rte_pktmbuf_mtod(m, const uint8_t *);
	rte_be32_t word[2];
	size_t offset = esp_offset(m);
	struct peer_sa *s;
	uint8_t reason = 0;

	if (offset == 0)
		return NULL;
	assert_int_equal(rte_raw_cksum(p, sizeof(struct rte_ipv4_hdr)), 0xffff);
	memcpy(word, p + offset, sizeof(word));
	s = peer_find(peer, rte_be_to_cpu_32(word[0]));
	if (s == NULL || s->dir != IPSEC_PCPU_IN)
		fail_msg("a packet with the SPI 0x%x", rte_be_to_cpu_32(word[0]));
	if (offset > sizeof(struct rte_ipv4_hdr))
		check_sport(s, p);
	if (!peer->unordered)
		check_seq(s, rte_be_to_cpu_32(word[1]), queue);
	m->l3_len = sizeof(struct rte_ipv4_hdr);
	m->l4_len = offset - sizeof(struct rte_ipv4_hdr);
	if (ipsec_pcpu_decap_burst(peer->ctx, s->sa, &m, 1, &reason) != 1)
		fail_msg("SA 0x%x, packet %u: %s", s->spi, s->last_seq,
				ipsec_pcpu_drop_info[reason].name);
	s->packets++;
	return s;
}
