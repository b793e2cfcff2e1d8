/* SPDX-License-Identifier: BSD-3-Clause */

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <rte_ip.h>

#include "workers_hostile.h"

static void
scribble(struct rte_mbuf *m)
{
	uint8_t *p = rte_pktmbuf_mtod(m, uint8_t *);
	unsigned int n = 1 + pkt_random() % 6;
	/* mostly in the headers */
	unsigned int len = pkt_random() % 4 != 0 ? RTE_MIN(m->data_len, 64) : m->data_len;

	for (unsigned int i = 0; i < n; i++)
		p[14 + pkt_random() % (len - 14)] = pkt_random();
	if (pkt_random() % 4 == 0)
		rte_pktmbuf_trim(m, pkt_random() % m->data_len);
}

/** A checksum that is right lets more of what follows be looked at. */
static void
mend_checksum(struct rte_mbuf *m)
{
	struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod_offset(m, struct rte_ipv4_hdr *, 14);

	if (m->data_len < 14 + 20 || ip->version_ihl >> 4 != 4 || rte_ipv4_hdr_len(ip) < 20 ||
			m->data_len < 14 + rte_ipv4_hdr_len(ip))
		return;
	ip->hdr_checksum = 0;
	ip->hdr_checksum = ~rte_raw_cksum(ip, rte_ipv4_hdr_len(ip));
}

/** Not the whole of an IPv4 packet, as it says. */
static void
make_fragment(struct rte_mbuf *m)
{
	struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod_offset(m, struct rte_ipv4_hdr *, 14);

	if (m->data_len < 14 + sizeof(*ip) || ip->version_ihl != RTE_IPV4_VHL_DEF)
		return;
	ip->fragment_offset = rte_cpu_to_be_16(pkt_random() % 4 | pkt_random() % 2 << 13);
	ip->packet_id = pkt_random() % 4;
	mend_checksum(m);
}

/** Something to send an ICMP error about. */
static void
end_of_life(struct rte_mbuf *m)
{
	uint8_t *p = rte_pktmbuf_mtod(m, uint8_t *);

	if (m->data_len < 14 + 20)
		return;
	p[14 + (p[14] >> 4 == 4 ? 8 : 7)] = 1;
	mend_checksum(m);
}

struct rte_mbuf *
hostile_bytes(struct nic *nic)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(site.pool);
	unsigned int len = 1 + pkt_random() % 200;
	static const uint8_t type[][2] = {{0x08, 0}, {0x86, 0xdd}, {0x08, 0x06}};
	uint8_t *p;

	assert_non_null(m);
	p = (uint8_t *)rte_pktmbuf_append(m, len);
	for (unsigned int i = 0; i < len; i++)
		p[i] = pkt_random();
	if (len > 14 && pkt_random() % 4 != 0) {
		memcpy(p, &nic->mac, sizeof(nic->mac));
		memcpy(p + 12, type[pkt_random() % 3], 2);
		p[14] = p[12] == 0x08 ? 0x45 + pkt_random() % 3 : 0x60;
	}
	return m;
}

/** Too large for the tunnel, some of them not to be fragmented. */
static void
grow(struct rte_mbuf *m)
{
	struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod_offset(m, struct rte_ipv4_hdr *, 14);
	uint16_t len = 1514 - m->data_len;
	uint8_t *p = (uint8_t *)rte_pktmbuf_append(m, len);

	assert_non_null(p);
	memset(p, 0x5a, len);
	if (ip->version_ihl != RTE_IPV4_VHL_DEF) {
		p = (uint8_t *)ip;
		p[4] = 1460 >> 8;
		p[5] = 1460 & 0xff;
		return;
	}
	ip->total_length = RTE_BE16(1500);
	ip->fragment_offset = rte_cpu_to_be_16(pkt_random() % 2 << 14);
	mend_checksum(m);
}

/** Another SPI behind UDP: reserved, unknown, or one that stands for another SA. */
static void
change_spi(struct rte_mbuf *m)
{
	const uint32_t spi[] = {0, 1 + pkt_random() % 255, pkt_random(),
			site_spi(IPSEC_PCPU_IN, pkt_random() % site.conf.pairs, 0)};
	rte_be32_t word = rte_cpu_to_be_32(spi[pkt_random() % RTE_DIM(spi)]);

	if (m->data_len >= 14 + 28 + sizeof(word))
		memcpy(rte_pktmbuf_mtod_offset(m, uint8_t *, 14 + 28), &word, sizeof(word));
}

static void
spoil(struct rte_mbuf *m)
{
	switch (pkt_random() % 8) {
	case 0:
		make_fragment(m);
		return;
	case 1:
		end_of_life(m);
		return;
	case 2:
		change_spi(m);
		return;
	case 3:
		return; /* as it is */
	default:
		scribble(m);
		if (pkt_random() % 2 == 0)
			mend_checksum(m);
	}
}

/** The same packet once more, later: a replay. */
static struct rte_mbuf *
again(const struct rte_mbuf *old)
{
	struct rte_mbuf *m = rte_pktmbuf_copy(old, site.pool, 0, UINT32_MAX);

	assert_non_null(m);
	return m;
}

struct rte_mbuf *
hostile_packet(enum pkt_way way)
{
	unsigned int p = pkt_random() % (site.conf.pairs + 1);
	uint32_t spi = site_spi(IPSEC_PCPU_IN, p == site.conf.pairs ? PEER_FALLBACK : p, 0);
	struct rte_mbuf *m = pkt_make(&site.log, site.pool, way, pkt_random() % PKT_FLOWS, 0, p);

	if (way == PKT_IN)
		peer_seal(&site.peer, peer_find(&site.peer, spi), m);
	site_ether(way == PKT_OUT ? &site.lan : &site.wan, m);
	if (way == PKT_OUT && pkt_random() % 16 == 0)
		grow(m);
	else
		spoil(m);
	if (way == PKT_IN && pkt_random() % 16 == 0)
		site_put(&site.wan, pkt_random() % site.conf.queues, again(m));
	return m;
}

struct rte_mbuf *
hostile_fragment(uint16_t id)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(site.pool);
	struct rte_ipv4_hdr *ip;

	assert_non_null(m);
	assert_non_null(rte_pktmbuf_append(m, sizeof(*ip) + 64));
	ip = rte_pktmbuf_mtod(m, struct rte_ipv4_hdr *);
	memset(ip, 0, sizeof(*ip) + 64);
	ip->version_ihl = RTE_IPV4_VHL_DEF;
	ip->total_length = rte_cpu_to_be_16(sizeof(*ip) + 64);
	ip->packet_id = rte_cpu_to_be_16(id);
	ip->fragment_offset = RTE_BE16(RTE_IPV4_HDR_MF_FLAG);
	ip->time_to_live = 64;
	ip->next_proto_id = IPPROTO_ESP;
	ip->src_addr = PEER_ADDR;
	ip->dst_addr = GW_ADDR;
	site_ether(&site.wan, m);
	mend_checksum(m);
	return m;
}
