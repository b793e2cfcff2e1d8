/* SPDX-License-Identifier: BSD-3-Clause */

/* Fragmentation and reassembly. After each test every mbuf is back in the pool. */

#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <rte_eal.h>
#include <rte_ip.h>
#include <rte_mbuf.h>

#include <ipsec_pcpu.h>

#include "datapath/counters.h"
#include "datapath/frag.h"

#define HZ 1000000

static struct rte_mempool *pool; /* 2048 bytes of data */
static struct rte_mempool *large_pool; /* 10000 */
static struct rte_mempool *whole_pool; /* 24000, and 3 mbufs: for what does not fit in pool's */
static struct gw_counters count;
static uint64_t seed = 99;

static uint32_t
next_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed >> 16;
}

static uint8_t
data_at(uint32_t i)
{
	return i * 7 + i / 251;
}

static struct rte_mbuf *
take(struct rte_mempool *from, uint32_t len)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(from);

	assert_non_null(m);
	assert_non_null(rte_pktmbuf_append(m, len));
	return m;
}

/* A piece of a datagram: data from "off" on, of the pattern of data_at(). */
static struct rte_mbuf *
piece4(uint16_t id, uint16_t off, uint16_t len, bool more)
{
	struct rte_mbuf *m = take(pool, 20 + len);
	struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod(m, struct rte_ipv4_hdr *);
	uint8_t *data = (uint8_t *)(ip + 1);

	memset(ip, 0, sizeof(*ip));
	ip->version_ihl = 0x45;
	ip->total_length = rte_cpu_to_be_16(20 + len);
	ip->packet_id = rte_cpu_to_be_16(id);
	ip->fragment_offset = rte_cpu_to_be_16(off / 8 | (more ? RTE_IPV4_HDR_MF_FLAG : 0));
	ip->time_to_live = 64;
	ip->next_proto_id = IPPROTO_ESP;
	ip->src_addr = rte_cpu_to_be_32(0x0a000001);
	ip->dst_addr = rte_cpu_to_be_32(0x0a000002);
	ip->hdr_checksum = rte_ipv4_cksum(ip);
	for (uint32_t i = 0; i < len; i++)
		data[i] = data_at(off + i);
	return m;
}

/* With "before" bytes of destination options (0 or 8) before the fragment header. */
static struct rte_mbuf *
piece6(uint32_t id, uint16_t off, uint16_t len, bool more, uint32_t before)
{
	struct rte_mbuf *m = take(pool, 48 + before + len);
	struct rte_ipv6_hdr *ip = rte_pktmbuf_mtod(m, struct rte_ipv6_hdr *);
	uint8_t *p = (uint8_t *)(ip + 1);
	uint16_t flags = rte_cpu_to_be_16(off | more);

	memset(ip, 0, sizeof(*ip) + before + 8);
	ip->vtc_flow = rte_cpu_to_be_32(6u << 28);
	ip->payload_len = rte_cpu_to_be_16(8 + before + len);
	ip->proto = before != 0 ? IPPROTO_DSTOPTS : IPPROTO_FRAGMENT;
	ip->hop_limits = 64;
	memset((uint8_t *)ip + 8, 1, 16);
	memset((uint8_t *)ip + 24, 2, 16);
	if (before != 0)
		p[0] = IPPROTO_FRAGMENT;
	p += before;
	p[0] = IPPROTO_UDP;
	memcpy(p + 2, &flags, 2);
	memcpy(p + 4, &id, 4);
	for (uint32_t i = 0; i < len; i++)
		p[8 + i] = data_at(off + i);
	return m;
}

static void
set_ecn(struct rte_mbuf *m, uint8_t ecn)
{
	rte_pktmbuf_mtod(m, struct rte_ipv4_hdr *)->type_of_service = ecn;
}

static struct gw_reass *
create(void)
{
	struct gw_reass *r = gw_reass_create(64, HZ, SOCKET_ID_ANY, whole_pool, &count);

	assert_non_null(r);
	memset(&count, 0, sizeof(count));
	return r;
}

static uint64_t
all_drops(void)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < GW_N_DROPS; i++)
		sum += count.drop[i];
	return sum;
}

/* So many by this name, and none by another. */
static void
assert_drops(enum gw_drop why, uint64_t n)
{
	assert_int_equal(count.drop[why], n);
	assert_int_equal(all_drops(), n);
}

/* What went in is out, held, absorbed or dropped by name, to the last mbuf. */
static void
assert_balance(const struct gw_reass *r, uint64_t in, uint64_t out)
{
	assert_int_equal(in, out + gw_reass_held(r) + count.absorbed + all_drops());
	assert_int_equal(rte_mempool_in_use_count(pool), gw_reass_held(r));
}

static void
assert_data(const uint8_t *p, uint32_t len, uint32_t first)
{
	for (uint32_t i = 0; i < len; i++)
		assert_int_equal(p[i], data_at(first + i));
}

/* A whole IPv4 packet with "len" bytes of data. Freed here. */
static void
assert_whole4(struct rte_mbuf *m, uint32_t len)
{
	struct rte_ipv4_hdr *ip;

	assert_non_null(m);
	ip = rte_pktmbuf_mtod(m, struct rte_ipv4_hdr *);
	assert_int_equal(m->nb_segs, 1);
	assert_int_equal(m->pkt_len, 20 + len);
	assert_int_equal(m->data_len, 20 + len);
	assert_int_equal(rte_be_to_cpu_16(ip->total_length), 20 + len);
	assert_int_equal(ip->fragment_offset, 0);
	assert_int_equal(rte_raw_cksum(ip, 20), 0xffff);
	assert_data((uint8_t *)(ip + 1), len, 0);
	rte_pktmbuf_free(m);
}

static void
assert_whole6(struct rte_mbuf *m, uint32_t len, uint32_t before)
{
	struct rte_ipv6_hdr *ip;
	uint8_t *p;

	assert_non_null(m);
	ip = rte_pktmbuf_mtod(m, struct rte_ipv6_hdr *);
	p = (uint8_t *)(ip + 1);
	assert_int_equal(m->pkt_len, 40 + before + len);
	assert_int_equal(rte_be_to_cpu_16(ip->payload_len), before + len);
	assert_int_equal(before != 0 ? p[0] : ip->proto, IPPROTO_UDP);
	assert_int_equal(before != 0 ? ip->proto : IPPROTO_UDP,
			before != 0 ? IPPROTO_DSTOPTS : IPPROTO_UDP);
	assert_data(p + before, len, 0);
	rte_pktmbuf_free(m);
}

static void
test_reass_in_order(void **state)
{
	struct gw_reass *r = create();

	assert_null(gw_reass_add(r, piece4(1, 0, 1480, true), 1));
	assert_int_equal(gw_reass_held(r), 1);
	assert_whole4(gw_reass_add(r, piece4(1, 1480, 77, false), 2), 1557);
	assert_int_equal(count.absorbed, 1);
	assert_balance(r, 2, 1);
	assert_drops(GW_DROP_FRAG_LOST, 0);
	gw_reass_free(r);
	gw_reass_free(NULL);
}

/* All 24 orders of four fragments, both families. */
static void
test_reass_any_order(void **state)
{
	struct gw_reass *r = create();
	unsigned int in = 0, out = 0;

	for (unsigned int order = 0; order < 256; order++) {
		unsigned int at[4] = {order & 3, order >> 2 & 3, order >> 4 & 3, order >> 6};
		struct rte_mbuf *m4 = NULL, *m6 = NULL;

		if ((1 << at[0] | 1 << at[1] | 1 << at[2] | 1 << at[3]) != 15)
			continue;
		for (unsigned int i = 0; i < 4; i++) {
			uint16_t off = at[i] * 256, len = at[i] == 3 ? 13 : 256;

			assert_null(m4);
			assert_null(m6);
			m4 = gw_reass_add(r, piece4(order, off, len, at[i] != 3), 1);
			m6 = gw_reass_add(r, piece6(order, off, len, at[i] != 3, order & 8), 1);
			in += 2;
		}
		assert_whole4(m4, 781);
		assert_whole6(m6, 781, order & 8);
		out += 2;
	}
	assert_int_equal(out, 48);
	assert_int_equal(gw_reass_held(r), 0);
	assert_balance(r, in, out);
	gw_reass_free(r);
}

static void
test_reass_atomic(void **state)
{
	struct gw_reass *r = create();

	assert_whole6(gw_reass_add(r, piece6(1, 0, 100, false, 8), 1), 100, 8);
	assert_whole4(gw_reass_add(r, piece4(1, 0, 100, false), 1), 100);
	assert_balance(r, 2, 2);
	gw_reass_free(r);
}

/* Different protocol, other ID: not the same datagram. */
static void
test_reass_keys(void **state)
{
	struct gw_reass *r = create();
	struct rte_mbuf *m = piece4(1, 8, 8, false);

	rte_pktmbuf_mtod(m, struct rte_ipv4_hdr *)->next_proto_id = IPPROTO_UDP;
	assert_null(gw_reass_add(r, piece4(1, 0, 8, true), 1));
	assert_null(gw_reass_add(r, m, 1));
	assert_null(gw_reass_add(r, piece4(2, 8, 8, false), 1));
	assert_int_equal(gw_reass_held(r), 3);
	assert_whole4(gw_reass_add(r, piece4(1, 8, 8, false), 1), 16);
	assert_balance(r, 4, 1);
	gw_reass_free(r);
	assert_int_equal(rte_mempool_in_use_count(pool), 0);
}

static void
test_reass_duplicates(void **state)
{
	struct gw_reass *r = create();

	assert_null(gw_reass_add(r, piece4(1, 0, 80, true), 1));
	assert_null(gw_reass_add(r, piece4(1, 0, 80, true), 1));
	assert_null(gw_reass_add(r, piece4(1, 160, 8, false), 1));
	assert_null(gw_reass_add(r, piece4(1, 160, 8, false), 1));
	assert_int_equal(gw_reass_held(r), 2);
	assert_whole4(gw_reass_add(r, piece4(1, 80, 80, true), 1), 168);
	assert_int_equal(count.absorbed, 2);
	assert_drops(GW_DROP_FRAG_COPY, 2);
	assert_balance(r, 5, 1);
	gw_reass_free(r);
}

/* Each pair overlaps or contradicts itself; then nothing of the datagram gets through. */
static void
test_reass_overlaps(void **state)
{
	static const struct {
		uint16_t off1, len1, more1, off2, len2, more2;
	} c[] = {
			{0, 80, 1, 72, 80, 1}, /* into the tail */
			{80, 80, 1, 0, 88, 1}, /* into the head */
			{0, 160, 1, 8, 8, 1}, /* inside */
			{8, 8, 1, 0, 160, 1}, /* around */
			{0, 80, 1, 0, 88, 1}, /* same start */
			{80, 8, 0, 160, 8, 1}, /* behind the end */
			{160, 8, 1, 80, 8, 0}, /* an end before what is there */
			{80, 8, 0, 160, 8, 0}, /* two ends */
			{80, 8, 0, 80, 8, 1}, /* end, and not */
	};
	struct gw_reass *r = create();
	unsigned int in = 0;

	for (unsigned int i = 0; i < 2 * RTE_DIM(c); i++) {
		bool six = i & 1;

#define ADD(off, len, more) \
	(in++, gw_reass_add(r, six ? piece6(i, off, len, more, 0) : piece4(i, off, len, more), 1))
		assert_null(ADD(c[i / 2].off1, c[i / 2].len1, c[i / 2].more1));
		assert_null(ADD(c[i / 2].off2, c[i / 2].len2, c[i / 2].more2));
		assert_int_equal(gw_reass_held(r), 0);
		assert_null(ADD(0, 160, true));
		assert_null(ADD(160, 8, false));
		assert_int_equal(gw_reass_held(r), 0);
#undef ADD
	}
	assert_balance(r, in, 0);
	assert_drops(GW_DROP_FRAG_BAD, in);
	gw_reass_free(r);
}

/* Once it has timed out, the ID is free again. */
static void
test_reass_refused_id_is_free_later(void **state)
{
	struct gw_reass *r = create();

	assert_null(gw_reass_add(r, piece4(1, 0, 80, true), 1));
	assert_null(gw_reass_add(r, piece4(1, 72, 80, true), 1));
	assert_null(gw_reass_add(r, piece4(1, 0, 80, true), HZ));
	assert_null(gw_reass_add(r, piece4(1, 0, 80, true), HZ + 1));
	assert_int_equal(gw_reass_held(r), 1);
	assert_whole4(gw_reass_add(r, piece4(1, 80, 8, false), HZ + 2), 88);
	assert_balance(r, 5, 1);
	assert_drops(GW_DROP_FRAG_BAD, 3);
	gw_reass_free(r);
}

static void
test_reass_malformed(void **state)
{
	struct gw_reass *r = create();
	struct rte_mbuf *m;
	unsigned int in = 0;

#define GONE(mbuf) \
	(in++, assert_null(gw_reass_add(r, mbuf, 1)), assert_int_equal(gw_reass_held(r), 0))
	GONE(piece4(1, 0, 0, true)); /* empty */
	GONE(piece4(1, 8, 0, false));
	GONE(piece4(1, 0, 12, true)); /* not a multiple of 8 */
	GONE(piece6(1, 0, 0, true, 0));
	GONE(piece6(1, 0, 7, true, 0));
	GONE(take(pool, 0));
	GONE(take(pool, 19));
	m = piece4(1, 0, 80, true); /* says more than there is */
	rte_pktmbuf_mtod(m, struct rte_ipv4_hdr *)->total_length = rte_cpu_to_be_16(101);
	GONE(m);
	m = piece4(1, 0, 80, true); /* or less than its header */
	rte_pktmbuf_mtod(m, struct rte_ipv4_hdr *)->total_length = rte_cpu_to_be_16(19);
	GONE(m);
	m = piece4(1, 0, 80, true);
	rte_pktmbuf_mtod(m, struct rte_ipv4_hdr *)->version_ihl = 0x44;
	GONE(m);
	m = piece4(1, 0, 80, true);
	rte_pktmbuf_mtod(m, struct rte_ipv4_hdr *)->version_ihl = 0x75;
	GONE(m);
	m = piece6(1, 0, 80, true, 0); /* not a fragment */
	rte_pktmbuf_mtod(m, struct rte_ipv6_hdr *)->proto = IPPROTO_UDP;
	GONE(m);
	m = piece6(1, 0, 80, true, 8); /* options that go on beyond the end */
	rte_pktmbuf_mtod(m, uint8_t *)[41] = 255;
	GONE(m);
#undef GONE
	assert_balance(r, in, 0);
	assert_drops(GW_DROP_MALFORMED, in);
	gw_reass_free(r);
}

/* The ping of death: data beyond 65535. */
static void
test_reass_too_large(void **state)
{
	struct gw_reass *r = create();

	assert_null(gw_reass_add(r, piece4(1, 65528, 8, false), 1));
	assert_int_equal(gw_reass_held(r), 0);
	assert_null(gw_reass_add(r, piece6(1, 65528, 800, true, 0), 1));
	assert_int_equal(gw_reass_held(r), 0);
	assert_balance(r, 2, 0);
	assert_drops(GW_DROP_FRAG_BAD, 2);
	gw_reass_free(r);
}

static void
test_reass_too_many(void **state)
{
	struct gw_reass *r = create();

	for (unsigned int i = 0; i < GW_MAX_FRAGS; i++)
		assert_null(gw_reass_add(r, piece4(1, i * 8, 8, true), 1));
	assert_int_equal(gw_reass_held(r), GW_MAX_FRAGS);
	assert_null(gw_reass_add(r, piece4(1, GW_MAX_FRAGS * 8, 8, false), 1));
	assert_int_equal(gw_reass_held(r), 0);
	assert_drops(GW_DROP_FRAG_LARGE, GW_MAX_FRAGS + 1);
	for (unsigned int i = GW_MAX_FRAGS; i-- > 1;)
		assert_null(gw_reass_add(r, piece4(2, i * 8, 8, i != GW_MAX_FRAGS - 1), 1));
	assert_whole4(gw_reass_add(r, piece4(2, 0, 8, true), 1), GW_MAX_FRAGS * 8);
	assert_balance(r, 2 * GW_MAX_FRAGS + 1, 1);
	gw_reass_free(r);
}

static void
test_reass_expire(void **state)
{
	struct gw_reass *r = create();

	assert_null(gw_reass_add(r, piece4(1, 0, 8, true), 10));
	assert_null(gw_reass_add(r, piece4(2, 0, 8, true), HZ / 2));
	gw_reass_expire(r, HZ / 2);
	assert_int_equal(gw_reass_held(r), 2);
	gw_reass_expire(r, HZ + 10);
	assert_int_equal(gw_reass_held(r), 1);
	/* A late fragment does not complete what has timed out, though nobody swept. */
	assert_null(gw_reass_add(r, piece4(2, 8, 8, false), HZ * 3 / 2));
	assert_int_equal(gw_reass_held(r), 1);
	gw_reass_expire(r, 4 * HZ);
	assert_int_equal(gw_reass_held(r), 0);
	assert_balance(r, 3, 0);
	assert_drops(GW_DROP_FRAG_LOST, 3);
	gw_reass_free(r);
}

/* A flood of first fragments: the table stays at its size, the newest stay in it. */
static void
test_reass_full(void **state)
{
	struct gw_reass *r = create();

	for (unsigned int i = 0; i < 1000; i++)
		assert_null(gw_reass_add(r, piece4(i, 0, 8, true), i));
	assert_true(gw_reass_held(r) <= 64);
	assert_whole4(gw_reass_add(r, piece4(999, 8, 8, false), 1000), 16);
	assert_balance(r, 1001, 1);
	assert_int_equal(count.absorbed, 1);
	assert_drops(GW_DROP_FRAG_FULL, 999 - gw_reass_held(r));
	gw_reass_free(r);
	assert_int_equal(count.drop[GW_DROP_FRAG_FULL] + count.drop[GW_DROP_FRAG_LOST], 999);
	assert_int_equal(rte_mempool_in_use_count(pool), 0);
}

/* RFC 3168 5.3 */
static void
test_reass_ecn(void **state)
{
	struct gw_reass *r = create();
	struct rte_mbuf *a = piece4(1, 0, 8, true), *b = piece4(1, 8, 8, false);

	set_ecn(a, 2);
	set_ecn(b, 3);
	assert_null(gw_reass_add(r, a, 1));
	a = gw_reass_add(r, b, 1);
	assert_non_null(a);
	assert_int_equal(rte_pktmbuf_mtod(a, struct rte_ipv4_hdr *)->type_of_service, 3);
	assert_whole4(a, 16);
	a = piece4(2, 0, 8, true);
	set_ecn(a, 3);
	assert_null(gw_reass_add(r, a, 1));
	assert_null(gw_reass_add(r, piece4(2, 8, 8, false), 1));
	assert_balance(r, 4, 1);
	assert_drops(GW_DROP_FRAG_BAD, 2);
	gw_reass_free(r);
}

static void
test_reass_segments(void **state)
{
	struct gw_reass *r = create();
	struct rte_mbuf *a = piece4(1, 0, 80, true), *tail = take(pool, 40);

	/* The first fragment's last 40 bytes lie in a second segment. */
	memcpy(rte_pktmbuf_mtod(tail, void *), rte_pktmbuf_mtod_offset(a, void *, 60), 40);
	rte_pktmbuf_trim(a, 40);
	assert_int_equal(rte_pktmbuf_chain(a, tail), 0);
	assert_null(gw_reass_add(r, a, 1));
	assert_whole4(gw_reass_add(r, piece4(1, 80, 8, false), 1), 88);
	assert_balance(r, 2, 1);
	gw_reass_free(r);
}

/*
 * Datagrams that do not fit in the first fragment's mbuf. With "len" bytes in each
 * fragment but the last, the first ones last; not freed.
 */
static struct rte_mbuf *
add_large(struct gw_reass *r, bool six, uint16_t id, uint32_t total, uint16_t len)
{
	struct rte_mbuf *m = NULL;

	for (uint32_t off = (total - 1) / len * len;; off -= len) {
		uint32_t n = RTE_MIN(len, total - off);
		bool more = off + n < total;

		assert_null(m);
		m = gw_reass_add(
				r, six ? piece6(id, off, n, more, 8) : piece4(id, off, n, more), 1);
		if (off == 0)
			return m;
	}
}

static void
test_reass_large(void **state)
{
	static const uint32_t total[] = {2048 - 20, 2048 - 19, 2500, 2961, 9000, 16 * 1480};
	struct gw_reass *r = create();
	unsigned int in = 0;

	for (unsigned int i = 0; i < RTE_DIM(total); i++) {
		struct rte_mbuf *m4 = add_large(r, false, i, total[i], 1480);
		struct rte_mbuf *m6 = add_large(r, true, i, total[i], 1480);

		assert_non_null(m4);
		assert_non_null(m6);
		/* where there is room in the first one, it stays there */
		assert_ptr_equal(m4->pool, total[i] <= 2048 - 20 ? pool : whole_pool);
		assert_ptr_equal(m6->pool, total[i] <= 2048 - 56 ? pool : whole_pool);
		assert_true(rte_pktmbuf_headroom(m4) >= RTE_PKTMBUF_HEADROOM);
		assert_whole4(m4, total[i]);
		assert_whole6(m6, total[i], 8);
		in += 2 * ((total[i] + 1479) / 1480);
	}
	assert_balance(r, in, 2 * RTE_DIM(total));
	assert_drops(GW_DROP_NO_MBUF, 0);
	assert_int_equal(rte_mempool_in_use_count(whole_pool), 0);
	gw_reass_free(r);
}

/* More than even the large mbufs take, by a little and by much. */
static void
test_reass_beyond_large(void **state)
{
	const uint32_t most = 24000 - 20;
	struct gw_reass *r = create();

	assert_whole4(add_large(r, false, 1, most, 2000), most);
	assert_null(add_large(r, false, 2, most + 1, 2000));
	assert_drops(GW_DROP_FRAG_LARGE, 12);
	assert_null(add_large(r, false, 3, 16 * 2024, 2024));
	assert_drops(GW_DROP_FRAG_LARGE, 12 + 16);
	assert_balance(r, 12 + 12 + 16, 1);
	gw_reass_free(r);
}

/* The largest mbuf that there can be: nothing of 16 bits wraps. */
static void
test_reass_largest(void **state)
{
	struct rte_mempool *max =
			rte_pktmbuf_pool_create("max", 1, 0, 0, UINT16_MAX, SOCKET_ID_ANY);
	const uint32_t most = UINT16_MAX - RTE_PKTMBUF_HEADROOM - 20;
	struct rte_mempool *small = pool;
	struct gw_reass *r;

	assert_non_null(max);
	r = gw_reass_create(64, HZ, SOCKET_ID_ANY, max, &count);
	assert_non_null(r);
	memset(&count, 0, sizeof(count));
	pool = large_pool;
	assert_whole4(add_large(r, false, 1, most, 8000), most);
	assert_whole6(add_large(r, true, 1, most - 36, 8000), most - 36, 8);
	assert_drops(GW_DROP_FRAG_LARGE, 0);
	assert_null(add_large(r, false, 2, most + 1, 8000));
	assert_null(add_large(r, false, 3, UINT16_MAX, 8000));
	assert_drops(GW_DROP_FRAG_LARGE, 2 * 9);
	assert_balance(r, 4 * 9, 2);
	pool = small;
	gw_reass_free(r);
	assert_int_equal(rte_mempool_in_use_count(max), 0);
	rte_mempool_free(max);
}

/* As many at a time as there are mbufs; then by name, late copies too; then again. */
static void
test_reass_no_mbuf(void **state)
{
	struct gw_reass *r = create();
	struct rte_mbuf *m[3];

	for (unsigned int i = 0; i < 3; i++)
		m[i] = add_large(r, false, i, 3000, 1480);
	assert_null(add_large(r, false, 3, 3000, 1480));
	assert_drops(GW_DROP_NO_MBUF, 3);
	assert_null(gw_reass_add(r, piece4(3, 0, 1480, true), 1));
	assert_drops(GW_DROP_NO_MBUF, 4);
	/* what fits in the first fragment's goes on */
	assert_whole4(add_large(r, false, 4, 1600, 800), 1600);
	for (unsigned int i = 0; i < 3; i++)
		assert_whole4(m[i], 3000);
	assert_whole4(add_large(r, false, 5, 3000, 1480), 3000);
	assert_balance(r, 3 * 3 + 3 + 1 + 2 + 3, 5);
	gw_reass_free(r);
	r = gw_reass_create(64, HZ, SOCKET_ID_ANY, NULL, &count);
	memset(&count, 0, sizeof(count));
	assert_null(add_large(r, false, 1, 3000, 1480));
	assert_drops(GW_DROP_NO_MBUF, 3);
	gw_reass_free(r);
}

/* A first fragment that is not alone in its mbuf: nothing is written into that. */
static void
test_reass_shared_first(void **state)
{
	struct gw_reass *r = create();
	struct rte_mbuf *first = piece4(1, 0, 80, true), *m;

	rte_mbuf_refcnt_update(first, 1);
	assert_null(gw_reass_add(r, first, 1));
	m = gw_reass_add(r, piece4(1, 80, 8, false), 1);
	assert_non_null(m);
	assert_ptr_equal(m->pool, whole_pool);
	assert_int_equal(rte_mbuf_refcnt_read(first), 1);
	assert_int_equal(rte_pktmbuf_mtod(first, struct rte_ipv4_hdr *)->fragment_offset,
			rte_cpu_to_be_16(RTE_IPV4_HDR_MF_FLAG));
	rte_pktmbuf_free(first);
	assert_whole4(m, 88);
	assert_balance(r, 2, 1);
	gw_reass_free(r);
}

/* Anything at all: nothing leaks, nothing is read or written outside (ASan). */
static void
test_reass_random(void **state)
{
	struct gw_reass *r = create();
	unsigned int in = 0, out = 0;
	uint64_t now = 0;

	for (unsigned int i = 0; i < 200000; i++) {
		uint16_t unit = next_random() % 8 == 0 ? 256 : 8;
		uint16_t off = next_random() % 12 * unit, len = unit + next_random() % 5 * unit;
		bool more = next_random() % 4 != 0;
		struct rte_mbuf *m = next_random() % 2
				? piece4(next_random() % 40, off, len, more)
				: piece6(next_random() % 40, off, len, more, next_random() & 8);

		for (unsigned int j = next_random() % 8; j > 5; j--)
			rte_pktmbuf_mtod(m, uint8_t *)[next_random() % 60 % m->data_len] =
					next_random();
		now += next_random() % (HZ / 100);
		m = gw_reass_add(r, m, now);
		in++;
		if (m != NULL) {
			assert_int_equal(m->nb_segs, 1);
			assert_int_equal(m->pkt_len, m->data_len);
			rte_pktmbuf_free(m);
			out++;
		}
		if (i % 64 == 0)
			gw_reass_expire(r, now);
		if (i % 1000 == 0)
			assert_balance(r, in, out);
	}
	assert_true(out > 1000);
	assert_balance(r, in, out);
	gw_reass_free(r);
	assert_int_equal(rte_mempool_in_use_count(pool), 0);
}

/* ---- fragmentation */

static struct rte_mbuf *
packet4(uint32_t len, const void *options, uint32_t opt_len, uint16_t frag)
{
	struct rte_mbuf *m = take(large_pool, 20 + opt_len + len);
	struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod(m, struct rte_ipv4_hdr *);
	uint8_t *data = (uint8_t *)(ip + 1) + opt_len;

	memset(ip, 0, sizeof(*ip));
	ip->version_ihl = 4 << 4 | (20 + opt_len) / 4;
	ip->total_length = rte_cpu_to_be_16(20 + opt_len + len);
	ip->packet_id = 0x1234;
	ip->fragment_offset = rte_cpu_to_be_16(frag);
	ip->time_to_live = 64;
	ip->next_proto_id = IPPROTO_UDP;
	ip->src_addr = 1;
	ip->dst_addr = 2;
	ip->hdr_checksum = rte_ipv4_cksum(ip);
	if (opt_len > 0)
		memcpy(ip + 1, options, opt_len);
	for (uint32_t i = 0; i < len; i++)
		data[i] = data_at(i);
	return m;
}

/* Well-formed, in order, nothing missing; frees them. Returns where the data ends. */
static uint32_t
check_fragments(struct rte_mbuf *const out[], int n, uint16_t mtu, uint16_t base, bool more)
{
	uint32_t at = 0;

	for (int i = 0; i < n; i++) {
		struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod(out[i], struct rte_ipv4_hdr *);
		uint32_t hlen = rte_ipv4_hdr_len(ip), len = out[i]->data_len - hlen;
		uint16_t frag = rte_be_to_cpu_16(ip->fragment_offset);

		assert_int_equal(out[i]->nb_segs, 1);
		assert_int_equal(out[i]->pkt_len, out[i]->data_len);
		assert_true(out[i]->pkt_len <= mtu);
		assert_true(rte_pktmbuf_headroom(out[i]) >= IPSEC_PCPU_MAX_HEAD);
		assert_true(rte_pktmbuf_tailroom(out[i]) >= IPSEC_PCPU_MAX_TAIL);
		assert_int_equal(rte_be_to_cpu_16(ip->total_length), out[i]->pkt_len);
		assert_int_equal(rte_raw_cksum(ip, hlen), 0xffff);
		assert_int_equal(ip->packet_id, 0x1234);
		assert_int_equal((frag & RTE_IPV4_HDR_OFFSET_MASK) * 8, base + at);
		assert_int_equal((frag & RTE_IPV4_HDR_MF_FLAG) != 0, more || i < n - 1);
		if (frag & RTE_IPV4_HDR_MF_FLAG)
			assert_int_equal(len % 8, 0);
		assert_data((uint8_t *)ip + hlen, len, at);
		at += len;
		rte_pktmbuf_free(out[i]);
	}
	return at;
}

static void
test_frag_sizes(void **state)
{
	struct rte_mbuf *out[GW_MAX_FRAGS];

	for (uint32_t len = 1; len <= 8000; len += len < 3200 ? 1 : 97) {
		struct rte_mbuf *m = packet4(len, NULL, 0, 0);
		uint16_t mtu = 1400 + len % 100;
		int n = gw_frag4(m, mtu, pool, out);
		uint32_t last = mtu - 20,
			 each = last / 8 * 8; /* the last one need not be a multiple of 8 */

		assert_int_equal(n, len <= last ? 1 : 1 + (len - last + each - 1) / each);
		assert_int_equal(check_fragments(out, n, mtu, 0, false), len);
		rte_pktmbuf_free(m);
	}
}

/* A fragment cut again: its offset and its MF flag stay. */
static void
test_frag_of_fragment(void **state)
{
	struct rte_mbuf *out[GW_MAX_FRAGS];
	struct rte_mbuf *m = packet4(4000, NULL, 0, 100 | RTE_IPV4_HDR_MF_FLAG);

	assert_int_equal(check_fragments(out, gw_frag4(m, 1300, pool, out), 1300, 800, true), 4000);
	rte_pktmbuf_free(m);
	m = packet4(3999, NULL, 0, 100);
	assert_int_equal(
			check_fragments(out, gw_frag4(m, 1300, pool, out), 1300, 800, false), 3999);
	rte_pktmbuf_free(m);
	m = packet4(3999, NULL, 0, RTE_IPV4_HDR_MF_FLAG); /* 3999 is not a multiple of 8 */
	assert_int_equal(gw_frag4(m, 1300, pool, out), -EINVAL);
	rte_pktmbuf_free(m);
	m = packet4(4000, NULL, 0, 0x1fff); /* beyond 65535 */
	assert_int_equal(gw_frag4(m, 1300, pool, out), -EINVAL);
	rte_pktmbuf_free(m);
}

/* Record route (7) is for the first fragment only, router alert (148) for all. */
static void
test_frag_options(void **state)
{
	static const uint8_t options[] = {7, 7, 4, 0, 0, 0, 0, 1, 148, 4, 0, 0, 0, 0, 0, 0};
	struct rte_mbuf *out[GW_MAX_FRAGS];
	struct rte_mbuf *m = packet4(3000, options, sizeof(options), 0);
	int n = gw_frag4(m, 1000, pool, out);
	struct rte_ipv4_hdr *ip;

	assert_int_equal(n, 4);
	ip = rte_pktmbuf_mtod(out[0], struct rte_ipv4_hdr *);
	assert_int_equal(rte_ipv4_hdr_len(ip), 36);
	assert_memory_equal(ip + 1, options, sizeof(options));
	for (int i = 1; i < n; i++) {
		ip = rte_pktmbuf_mtod(out[i], struct rte_ipv4_hdr *);
		assert_int_equal(rte_ipv4_hdr_len(ip), 24);
		assert_memory_equal(ip + 1, options + 8, 4);
	}
	assert_int_equal(check_fragments(out, n, 1000, 0, false), 3000);
	rte_pktmbuf_free(m);
}

/* Options of any bytes: what comes out is well-formed all the same. */
static void
test_frag_random_options(void **state)
{
	struct rte_mbuf *out[GW_MAX_FRAGS];

	for (unsigned int i = 0; i < 20000; i++) {
		uint8_t options[40];
		uint32_t len = next_random() % 11 * 4;
		struct rte_mbuf *m;

		for (unsigned int j = 0; j < sizeof(options); j++)
			options[j] = next_random() % 4 ? next_random() % 12 : next_random();
		m = packet4(900, options, len, 0);
		rte_pktmbuf_mtod(m, struct rte_ipv4_hdr *)->hdr_checksum = 0;
		assert_int_equal(check_fragments(out, gw_frag4(m, 500, pool, out), 500, 0, false),
				900);
		rte_pktmbuf_free(m);
	}
}

static void
test_frag_refusals(void **state)
{
	struct rte_mbuf *out[GW_MAX_FRAGS];
	struct rte_mbuf *m = packet4(3000, NULL, 0, RTE_IPV4_HDR_DF_FLAG);
	struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod(m, struct rte_ipv4_hdr *);

	assert_int_equal(gw_frag4(m, 1500, pool, out), -EMSGSIZE);
	ip->fragment_offset = 0;
	assert_int_equal(gw_frag4(m, 27, pool, out), -EMSGSIZE);
	assert_int_equal(gw_frag4(m, 200, pool, out), -EMSGSIZE); /* more than GW_MAX_FRAGS */
	ip->total_length = rte_cpu_to_be_16(3021);
	assert_int_equal(gw_frag4(m, 1500, pool, out), -EINVAL);
	ip->total_length = rte_cpu_to_be_16(20);
	assert_int_equal(gw_frag4(m, 1500, pool, out), -EINVAL);
	ip->total_length = rte_cpu_to_be_16(3020);
	ip->version_ihl = 0x44;
	assert_int_equal(gw_frag4(m, 1500, pool, out), -EINVAL);
	rte_pktmbuf_trim(m, 3001);
	assert_int_equal(gw_frag4(m, 1500, pool, out), -EINVAL);
	rte_pktmbuf_free(m);
}

/* An MTU beyond the pool's buffers, and a pool that runs dry half way. */
static void
test_frag_pool(void **state)
{
	struct rte_mbuf *out[GW_MAX_FRAGS], *all[4096];
	struct rte_mbuf *m = packet4(8000, NULL, 0, 0);
	unsigned int n = rte_mempool_avail_count(pool) - 2;

	assert_int_equal(check_fragments(out, gw_frag4(m, 9000, pool, out), 2176, 0, false), 8000);
	assert_int_equal(rte_pktmbuf_alloc_bulk(pool, all, n), 0);
	assert_int_equal(gw_frag4(m, 1500, pool, out), -ENOBUFS);
	assert_int_equal(rte_mempool_avail_count(pool), 2);
	rte_pktmbuf_free_bulk(all, n);
	rte_pktmbuf_free(m);
}

/* What one makes the other takes in. */
static void
test_round_trip(void **state)
{
	struct gw_reass *r = create();
	struct rte_mbuf *out[GW_MAX_FRAGS], *m = packet4(1900, NULL, 0, 0), *whole = NULL;
	int n = gw_frag4(m, 576, pool, out);

	assert_int_equal(n, 4);
	for (int i = n - 1; i >= 0; i--)
		whole = gw_reass_add(r, out[i], 1);
	assert_non_null(whole);
	assert_int_equal(whole->data_len, m->data_len);
	assert_memory_equal(
			rte_pktmbuf_mtod(whole, void *), rte_pktmbuf_mtod(m, void *), m->data_len);
	rte_pktmbuf_free(whole);
	rte_pktmbuf_free(m);
	gw_reass_free(r);
}

static int
no_leak(void **state)
{
	return rte_mempool_in_use_count(pool) != 0 || rte_mempool_in_use_count(large_pool) != 0 ||
			rte_mempool_in_use_count(whole_pool) != 0;
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test_teardown(test_reass_in_order, no_leak),
			cmocka_unit_test_teardown(test_reass_any_order, no_leak),
			cmocka_unit_test_teardown(test_reass_atomic, no_leak),
			cmocka_unit_test_teardown(test_reass_keys, no_leak),
			cmocka_unit_test_teardown(test_reass_duplicates, no_leak),
			cmocka_unit_test_teardown(test_reass_overlaps, no_leak),
			cmocka_unit_test_teardown(test_reass_refused_id_is_free_later, no_leak),
			cmocka_unit_test_teardown(test_reass_malformed, no_leak),
			cmocka_unit_test_teardown(test_reass_too_large, no_leak),
			cmocka_unit_test_teardown(test_reass_too_many, no_leak),
			cmocka_unit_test_teardown(test_reass_expire, no_leak),
			cmocka_unit_test_teardown(test_reass_full, no_leak),
			cmocka_unit_test_teardown(test_reass_ecn, no_leak),
			cmocka_unit_test_teardown(test_reass_segments, no_leak),
			cmocka_unit_test_teardown(test_reass_large, no_leak),
			cmocka_unit_test_teardown(test_reass_beyond_large, no_leak),
			cmocka_unit_test_teardown(test_reass_largest, no_leak),
			cmocka_unit_test_teardown(test_reass_no_mbuf, no_leak),
			cmocka_unit_test_teardown(test_reass_shared_first, no_leak),
			cmocka_unit_test_teardown(test_reass_random, no_leak),
			cmocka_unit_test_teardown(test_frag_sizes, no_leak),
			cmocka_unit_test_teardown(test_frag_of_fragment, no_leak),
			cmocka_unit_test_teardown(test_frag_options, no_leak),
			cmocka_unit_test_teardown(test_frag_random_options, no_leak),
			cmocka_unit_test_teardown(test_frag_refusals, no_leak),
			cmocka_unit_test_teardown(test_frag_pool, no_leak),
			cmocka_unit_test_teardown(test_round_trip, no_leak),
	};
	int rc;

	if (rte_eal_init(argc, argv) < 0)
		return 1;
	pool = rte_pktmbuf_pool_create(
			"small", 2047, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	large_pool = rte_pktmbuf_pool_create("large", 63, 0, 0, 10128, SOCKET_ID_ANY);
	whole_pool = rte_pktmbuf_pool_create(
			"whole", 3, 0, 0, 24000 + RTE_PKTMBUF_HEADROOM, SOCKET_ID_ANY);
	if (pool == NULL || large_pool == NULL || whole_pool == NULL)
		return 1;
	rc = cmocka_run_group_tests(tests, NULL, NULL);
	rte_eal_cleanup();
	return rc;
}
