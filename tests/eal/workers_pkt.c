/* SPDX-License-Identifier: BSD-3-Clause */

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <rte_ip.h>
#include <rte_udp.h>

#include "workers_pkt.h"

#define TTL 64

/** Both sides of a flow. */
struct ends {
	uint8_t src[16];
	uint8_t dst[16];
	unsigned int len; /* of an address */
};

uint32_t
pkt_random(void)
{
	static uint64_t seed = 88172645463325252u;

	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed >> 16;
}

static bool
is_ip6(unsigned int flow)
{
	return flow % 4 == 3;
}

static void
ends_of(unsigned int flow, enum pkt_way way, struct ends *e)
{
	const uint8_t ours4[] = {10, 10, flow % 7, flow};
	const uint8_t theirs4[] = {10, 20, flow % 5, flow};
	const uint8_t ours6[16] = {0xfd, 0, 0, 0x10, [14] = flow % 7, [15] = flow};
	const uint8_t theirs6[16] = {0xfd, 0, 0, 0x20, [14] = flow % 5, [15] = flow};

	e->len = is_ip6(flow) ? 16 : 4;
	memcpy(way == PKT_OUT ? e->src : e->dst, is_ip6(flow) ? ours6 : ours4, e->len);
	memcpy(way == PKT_OUT ? e->dst : e->src, is_ip6(flow) ? theirs6 : theirs4, e->len);
}

static void
write4(uint8_t *p, const struct ends *e, uint32_t len)
{
	struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)p;

	*ip = (struct rte_ipv4_hdr){.version_ihl = RTE_IPV4_VHL_DEF,
			.total_length = rte_cpu_to_be_16(len),
			.time_to_live = TTL,
			.next_proto_id = IPPROTO_UDP};
	memcpy(&ip->src_addr, e->src, 4);
	memcpy(&ip->dst_addr, e->dst, 4);
	ip->hdr_checksum = rte_ipv4_cksum(ip);
}

static void
write6(uint8_t *p, const struct ends *e, uint32_t len)
{
	memset(p, 0, sizeof(struct rte_ipv6_hdr));
	p[0] = 0x60;
	p[4] = (len - sizeof(struct rte_ipv6_hdr)) >> 8;
	p[5] = len - sizeof(struct rte_ipv6_hdr);
	p[6] = IPPROTO_UDP;
	p[7] = TTL;
	memcpy(p + 8, e->src, 16);
	memcpy(p + 24, e->dst, 16);
}

/** Sizes follow from the tag, too: mostly small, some nearly as large as the tunnel takes. */
static uint32_t
body_len(const struct pkt_tag *tag)
{
	uint32_t x = (tag->flow * 2654435761u) ^ (tag->seq * 40503u);

	return x % 8 == 0 ? x / 8 % 1300 : x / 8 % 96;
}

static uint8_t
body_byte(const struct pkt_tag *tag, uint32_t i)
{
	return tag->flow * 31 + tag->seq * 7 + i;
}

struct rte_mbuf *
pkt_make(struct pkt_log *log, struct rte_mempool *pool, enum pkt_way way, unsigned int flow,
		unsigned int queue, unsigned int pair)
{
	struct pkt_flow *f = &log->flow[way][flow];
	struct pkt_tag tag = {flow, f->sent++, queue, pair, way};
	uint32_t ip_len = is_ip6(flow) ? 40 : 20;
	uint32_t body = body_len(&tag);
	uint32_t len = ip_len + sizeof(struct rte_udp_hdr) + sizeof(tag) + body;
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
	struct rte_udp_hdr *udp;
	struct ends e;
	uint8_t *p;

	assert_true(tag.seq < PKT_SEQS);
	assert_non_null(m);
	p = (uint8_t *)rte_pktmbuf_append(m, len);
	assert_non_null(p);
	ends_of(flow, way, &e);
	if (is_ip6(flow))
		write6(p, &e, len);
	else
		write4(p, &e, len);
	udp = (struct rte_udp_hdr *)(p + ip_len);
	*udp = (struct rte_udp_hdr){rte_cpu_to_be_16(1024 + flow), rte_cpu_to_be_16(2048 + flow),
			rte_cpu_to_be_16(len - ip_len), 0};
	memcpy(udp + 1, &tag, sizeof(tag));
	for (uint32_t i = 0; i < body; i++)
		p[len - body + i] = body_byte(&tag, i);
	log->sent++;
	return m;
}

static void
check_ip(const uint8_t *p, uint32_t len, enum pkt_way way, const struct pkt_tag *tag)
{
	struct ends e;

	ends_of(tag->flow, way, &e);
	if (is_ip6(tag->flow)) {
		assert_int_equal(p[7], TTL - 1);
		assert_int_equal(p[4] << 8 | p[5], len - 40);
		assert_memory_equal(p + 8, e.src, 16);
		assert_memory_equal(p + 24, e.dst, 16);
		return;
	}
	assert_int_equal(p[8], TTL - 1);
	assert_int_equal(p[2] << 8 | p[3], len);
	assert_int_equal(rte_raw_cksum(p, 20), 0xffff);
	assert_memory_equal(p + 12, e.src, 4);
	assert_memory_equal(p + 16, e.dst, 4);
}

static void
note(struct pkt_log *log, enum pkt_way way, const struct pkt_tag *tag)
{
	struct pkt_flow *f = &log->flow[way][tag->flow];
	uint64_t bit = UINT64_C(1) << tag->seq % 64;

	if (tag->seq >= f->sent || (f->seen[tag->seq / 64] & bit) != 0)
		fail_msg("packet %u of flow %u came twice, or was never sent", tag->seq, tag->flow);
	if (!log->unordered && tag->seq < f->last)
		fail_msg("packet %u of flow %u came after %u", tag->seq, tag->flow, f->last - 1);
	f->seen[tag->seq / 64] |= bit;
	f->last = RTE_MAX(f->last, tag->seq + 1);
	f->got++;
	log->got++;
}

struct pkt_tag
pkt_check(struct pkt_log *log, enum pkt_way way, const struct rte_mbuf *m)
{
	const uint8_t *p = rte_pktmbuf_mtod(m, const uint8_t *);
	uint32_t head = (p[0] >> 4 == 6 ? 40 : 20) + sizeof(struct rte_udp_hdr);
	struct pkt_tag tag;

	assert_int_equal(m->nb_segs, 1);
	assert_int_equal(m->pkt_len, m->data_len);
	assert_true(m->data_len >= head + sizeof(tag));
	memcpy(&tag, p + head, sizeof(tag));
	assert_int_equal(tag.way, way);
	assert_true(tag.flow < PKT_FLOWS);
	assert_int_equal(p[0] >> 4, is_ip6(tag.flow) ? 6 : 4);
	assert_int_equal(m->data_len, head + sizeof(tag) + body_len(&tag));
	check_ip(p, m->data_len, way, &tag);
	for (uint32_t i = 0; i < body_len(&tag); i++)
		if (p[head + sizeof(tag) + i] != body_byte(&tag, i))
			fail_msg("packet %u of flow %u is damaged", tag.seq, tag.flow);
	note(log, way, &tag);
	return tag;
}

bool
pkt_is_protected(const uint8_t *ip, uint32_t len)
{
	static const uint8_t ours6[] = {0xfd, 0, 0, 0x10};
	static const uint8_t theirs6[] = {0xfd, 0, 0, 0x20};

	if (len >= 20 && ip[0] >> 4 == 4)
		return ip[12] == 10 && ip[13] == 10 && ip[16] == 10 && ip[17] == 20;
	return len >= 40 && ip[0] >> 4 == 6 && memcmp(ip + 8, ours6, 4) == 0 &&
			memcmp(ip + 24, theirs6, 4) == 0;
}
