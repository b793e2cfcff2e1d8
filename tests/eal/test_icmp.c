/* SPDX-License-Identifier: BSD-3-Clause */

/* ICMP errors: when, and what is in them; their rate; and the MSS clamp. */

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
#include <rte_tcp.h>

#include "datapath/icmp.h"

static struct rte_mempool *pool;
static uint64_t seed = 5;

static uint32_t
next_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed >> 16;
}

static const struct gw_addr us4 = {.family = AF_INET, .a.ip4 = RTE_BE32(0x0a0000fe)};
static struct gw_addr us6 = {.family = AF_INET6};

/* The packet that is complained about. */
static struct rte_mbuf *
packet4(uint8_t proto, uint32_t payload)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
	struct rte_ipv4_hdr *ip;

	assert_non_null(m);
	assert_non_null(rte_pktmbuf_append(m, 20 + payload));
	ip = rte_pktmbuf_mtod(m, struct rte_ipv4_hdr *);
	memset(ip, 0, sizeof(*ip));
	ip->version_ihl = 0x45;
	ip->total_length = rte_cpu_to_be_16(20 + payload);
	ip->time_to_live = 1;
	ip->next_proto_id = proto;
	ip->src_addr = rte_cpu_to_be_32(0x0a010001);
	ip->dst_addr = rte_cpu_to_be_32(0x0a020002);
	ip->hdr_checksum = rte_ipv4_cksum(ip);
	for (uint32_t i = 0; i < payload; i++)
		((uint8_t *)(ip + 1))[i] = i;
	return m;
}

static struct rte_mbuf *
packet6(uint8_t proto, uint32_t payload)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
	struct rte_ipv6_hdr *ip;

	assert_non_null(m);
	assert_non_null(rte_pktmbuf_append(m, 40 + payload));
	ip = rte_pktmbuf_mtod(m, struct rte_ipv6_hdr *);
	memset(ip, 0, sizeof(*ip));
	ip->vtc_flow = rte_cpu_to_be_32(6u << 28);
	ip->payload_len = rte_cpu_to_be_16(payload);
	ip->proto = proto;
	ip->hop_limits = 1;
	memset((uint8_t *)ip + 8, 0x21, 16);
	memset((uint8_t *)ip + 24, 0x22, 16);
	for (uint32_t i = 0; i < payload; i++)
		((uint8_t *)(ip + 1))[i] = i;
	return m;
}

static struct rte_ipv4_hdr *
ip4(struct rte_mbuf *m)
{
	return rte_pktmbuf_mtod(m, struct rte_ipv4_hdr *);
}

static uint8_t *
bytes(struct rte_mbuf *m)
{
	return rte_pktmbuf_mtod(m, uint8_t *);
}

/* The sum over pseudo header and data, checksum included; 0xffff where that is right. */
static uint16_t
sum_with(uint16_t pseudo, const void *data, uint32_t len)
{
	uint32_t sum = pseudo + rte_raw_cksum(data, len);

	return (sum & 0xffff) + (sum >> 16);
}

/* Made about m, which is freed. */
static struct rte_mbuf *
make4(struct rte_mbuf *m, enum gw_icmp_error error, uint32_t arg)
{
	struct rte_mbuf *r = gw_icmp_make(pool, m, error, arg, &us4);

	rte_pktmbuf_free(m);
	return r;
}

static struct rte_mbuf *
make6(struct rte_mbuf *m, enum gw_icmp_error error, uint32_t arg)
{
	struct rte_mbuf *r = gw_icmp_make(pool, m, error, arg, &us6);

	rte_pktmbuf_free(m);
	return r;
}

static void
assert_silent4(struct rte_mbuf *m)
{
	assert_null(make4(m, GW_ICMP_TIME_EXCEEDED, 0));
}

static void
assert_silent6(struct rte_mbuf *m)
{
	assert_null(make6(m, GW_ICMP_TIME_EXCEEDED, 0));
}

static void
assert_sent(struct rte_mbuf *m)
{
	assert_non_null(m);
	rte_pktmbuf_free(m);
}

/* Header, checksums and quotation of a message. */
static void
check4(struct rte_mbuf *r, uint8_t type, uint8_t code, uint32_t arg, uint32_t quoted)
{
	const uint8_t *p;
	rte_be32_t be = rte_cpu_to_be_32(arg);

	assert_non_null(r);
	p = bytes(r);
	assert_int_equal(r->pkt_len, 28 + quoted);
	assert_int_equal(rte_be_to_cpu_16(ip4(r)->total_length), r->pkt_len);
	assert_int_equal(rte_raw_cksum(p, 20), 0xffff);
	assert_int_equal(rte_raw_cksum(p + 20, r->pkt_len - 20), 0xffff);
	assert_int_equal(ip4(r)->time_to_live, 64);
	assert_int_equal(ip4(r)->type_of_service, 0xc0);
	assert_int_equal(ip4(r)->next_proto_id, IPPROTO_ICMP);
	assert_int_equal(ip4(r)->src_addr, us4.a.ip4);
	assert_int_equal(rte_be_to_cpu_32(ip4(r)->dst_addr), 0x0a010001);
	assert_int_equal(p[20], type);
	assert_int_equal(p[21], code);
	assert_memory_equal(p + 24, &be, 4);
	assert_int_equal(p[28], 0x45);
	for (uint32_t i = 20; i < quoted; i++)
		assert_int_equal(p[28 + i], (uint8_t)(i - 20));
	rte_pktmbuf_free(r);
}

static void
check6(struct rte_mbuf *r, uint8_t type, uint8_t code, uint32_t arg, uint32_t quoted)
{
	const uint8_t *p;
	rte_be32_t be = rte_cpu_to_be_32(arg);
	struct rte_ipv6_hdr *ip;

	assert_non_null(r);
	p = bytes(r);
	ip = rte_pktmbuf_mtod(r, struct rte_ipv6_hdr *);
	assert_int_equal(r->pkt_len, 48 + quoted);
	assert_int_equal(rte_be_to_cpu_16(ip->payload_len), 8 + quoted);
	assert_int_equal(ip->hop_limits, 64);
	assert_int_equal(rte_be_to_cpu_32(ip->vtc_flow), 0x6c000000);
	assert_int_equal(sum_with(rte_ipv6_phdr_cksum(ip, 0), ip + 1, 8 + quoted), 0xffff);
	assert_memory_equal(p + 8, us6.a.ip6, 16);
	assert_int_equal(p[24], 0x21);
	assert_int_equal(p[40], type);
	assert_int_equal(p[41], code);
	assert_memory_equal(p + 44, &be, 4);
	assert_int_equal(p[48], 0x60);
	for (uint32_t i = 40; i < quoted; i++)
		assert_int_equal(p[48 + i], (uint8_t)(i - 40));
	rte_pktmbuf_free(r);
}

static void
test_messages4(void **state)
{
	check4(make4(packet4(17, 8), GW_ICMP_TIME_EXCEEDED, 7), 11, 0, 0, 28);
	check4(make4(packet4(17, 1001), GW_ICMP_TOO_BIG, 1422), 3, 4, 1422, 548);
	check4(make4(packet4(6, 100), GW_ICMP_TOO_BIG, 70000), 3, 4, 65535, 120);
	check4(make4(packet4(6, 0), GW_ICMP_NO_ROUTE, 0), 3, 0, 0, 20);
	check4(make4(packet4(6, 41), GW_ICMP_PROHIBITED, 0), 3, 13, 0, 61);
}

static void
test_messages6(void **state)
{
	check6(make6(packet6(17, 8), GW_ICMP_TIME_EXCEEDED, 7), 3, 0, 0, 48);
	check6(make6(packet6(17, 1460), GW_ICMP_TOO_BIG, 1280), 2, 0, 1280, 1232);
	check6(make6(packet6(6, 0), GW_ICMP_NO_ROUTE, 0), 1, 0, 0, 40);
	check6(make6(packet6(6, 41), GW_ICMP_PROHIBITED, 0), 1, 1, 0, 81);
}

/* Padding of a short Ethernet frame is not quoted. */
static void
test_padding(void **state)
{
	struct rte_mbuf *m = packet4(17, 26);

	ip4(m)->total_length = rte_cpu_to_be_16(30);
	check4(make4(m, GW_ICMP_NO_ROUTE, 0), 3, 0, 0, 30);
}

static void
test_original_unchanged(void **state)
{
	struct rte_mbuf *m = packet4(17, 500), *copy = packet4(17, 500);

	assert_sent(gw_icmp_make(pool, m, GW_ICMP_TOO_BIG, 1400, &us4));
	assert_memory_equal(bytes(m), bytes(copy), 520);
	rte_pktmbuf_free(m);
	rte_pktmbuf_free(copy);
}

static void
test_silent_about_icmp4(void **state)
{
	for (unsigned int type = 0; type < 256; type++) {
		struct rte_mbuf *m = packet4(IPPROTO_ICMP, 8);
		bool error = type == 3 || type == 4 || type == 5 || type == 11 || type == 12;

		bytes(m)[20] = type;
		if (error)
			assert_silent4(m);
		else
			assert_sent(make4(m, GW_ICMP_TIME_EXCEEDED, 0));
	}
	assert_silent4(packet4(IPPROTO_ICMP, 0)); /* its type is not there */
}

static void
test_silent_about_icmp6(void **state)
{
	for (unsigned int type = 0; type < 256; type++) {
		struct rte_mbuf *m = packet6(IPPROTO_ICMPV6, 8);

		bytes(m)[40] = type;
		if (type < 128 || type == 137)
			assert_silent6(m);
		else
			assert_sent(make6(m, GW_ICMP_TIME_EXCEEDED, 0));
	}
	assert_silent6(packet6(IPPROTO_ICMPV6, 0));
}

static void
test_fragments(void **state)
{
	struct rte_mbuf *m = packet4(17, 64);

	ip4(m)->fragment_offset = rte_cpu_to_be_16(RTE_IPV4_HDR_MF_FLAG);
	assert_sent(make4(m, GW_ICMP_TIME_EXCEEDED, 0));
	m = packet4(17, 64);
	ip4(m)->fragment_offset = rte_cpu_to_be_16(1);
	assert_silent4(m);
	for (unsigned int i = 0; i < 3; i++) {
		m = packet6(IPPROTO_FRAGMENT, 64);
		memset(bytes(m) + 40, 0, 8);
		bytes(m)[40] = 17;
		bytes(m)[42 + i] = i == 2 ? 0 : 8;
		bytes(m)[43] |= 1;
		if (i == 2)
			assert_sent(make6(m, GW_ICMP_TIME_EXCEEDED, 0));
		else
			assert_silent6(m);
	}
}

static void
test_addresses4(void **state)
{
	static const uint32_t bad_src[] = {0, 0x7f000001, 0xe0000001, 0xffffffff, 0xf0000001};
	static const uint32_t bad_dst[] = {0xe0000001, 0xefffffff, 0xffffffff};
	struct rte_mbuf *m;

	for (unsigned int i = 0; i < RTE_DIM(bad_src); i++) {
		m = packet4(17, 8);
		ip4(m)->src_addr = rte_cpu_to_be_32(bad_src[i]);
		assert_silent4(m);
	}
	for (unsigned int i = 0; i < RTE_DIM(bad_dst); i++) {
		m = packet4(17, 8);
		ip4(m)->dst_addr = rte_cpu_to_be_32(bad_dst[i]);
		assert_silent4(m);
	}
}

static void
test_addresses6(void **state)
{
	struct rte_mbuf *m = packet6(17, 8);

	memset(bytes(m) + 8, 0, 16); /* :: */
	assert_silent6(m);
	m = packet6(17, 8);
	memset(bytes(m) + 8, 0, 15); /* ::1 */
	bytes(m)[23] = 1;
	assert_silent6(m);
	m = packet6(17, 8);
	bytes(m)[8] = 0xff;
	assert_silent6(m);
	m = packet6(17, 8);
	bytes(m)[24] = 0xff;
	assert_silent6(m);
	m = packet6(17, 8); /* path MTU discovery works for multicast too */
	bytes(m)[24] = 0xff;
	assert_sent(make6(m, GW_ICMP_TOO_BIG, 1400));
}

static void
test_malformed(void **state)
{
	struct rte_mbuf *m;

	for (uint32_t len = 0; len < 20; len++) {
		m = packet4(17, 8);
		rte_pktmbuf_trim(m, 28 - len);
		assert_silent4(m);
	}
	m = packet4(17, 8);
	ip4(m)->version_ihl = 0x44;
	assert_silent4(m);
	m = packet4(17, 8);
	ip4(m)->version_ihl = 0x4f;
	assert_silent4(m);
	m = packet6(17, 8);
	rte_pktmbuf_trim(m, 9);
	assert_silent6(m);
	assert_silent6(packet6(IPPROTO_DSTOPTS, 4)); /* cut short: it may be an error */
	assert_silent4(packet6(17, 40)); /* of the other family */
	assert_silent6(packet4(17, 40));
}

/* Any bytes: what is sent is well-formed. */
static void
test_random(void **state)
{
	for (unsigned int i = 0; i < 100000; i++) {
		bool six = i & 1;
		struct rte_mbuf *m = six ? packet6(next_random(), next_random() % 1400)
					 : packet4(next_random(), next_random() % 1400);
		struct rte_mbuf *r;

		for (unsigned int j = next_random() % 6; j > 0; j--)
			bytes(m)[next_random() % RTE_MIN(m->data_len, 80)] = next_random();
		r = gw_icmp_make(pool, m, next_random() % 4, next_random(), six ? &us6 : &us4);
		if (r != NULL && !six)
			assert_int_equal(rte_raw_cksum(bytes(r) + 20, r->pkt_len - 20), 0xffff);
		if (r != NULL)
			assert_true(r->pkt_len <= (six ? 1280 : 576));
		rte_pktmbuf_free(r);
		rte_pktmbuf_free(m);
	}
}

static void
test_no_mbuf(void **state)
{
	struct rte_mbuf *m = packet4(17, 8), *all[1024];
	unsigned int n = rte_mempool_avail_count(pool);

	assert_int_equal(rte_pktmbuf_alloc_bulk(pool, all, n), 0);
	assert_null(gw_icmp_make(pool, m, GW_ICMP_TIME_EXCEEDED, 0, &us4));
	rte_pktmbuf_free_bulk(all, n);
	rte_pktmbuf_free(m);
}

static void
test_limit(void **state)
{
	struct gw_icmp_limit l;
	unsigned int n = 0;

	gw_icmp_limit_init(&l, 0, 1000000);
	assert_false(gw_icmp_limit_take(&l, 5000000));
	gw_icmp_limit_init(&l, 100, 1000000);
	while (gw_icmp_limit_take(&l, 77))
		n++;
	assert_int_equal(n, 100); /* a burst of one second's worth */
	assert_false(gw_icmp_limit_take(&l, 10076));
	assert_true(gw_icmp_limit_take(&l, 10077));
	assert_false(gw_icmp_limit_take(&l, 10078));
	for (n = 0; gw_icmp_limit_take(&l, UINT64_MAX); n++)
		;
	assert_int_equal(n, 100);
	assert_false(gw_icmp_limit_take(&l, 5)); /* a clock that went back */
	gw_icmp_limit_init(&l, 2000000, 1000000);
	assert_true(gw_icmp_limit_take(&l, 1));
}

/* ---- MSS */

static const uint8_t mss_first[] = {2, 4, 0x05, 0xb4, 1, 3, 3, 7};
static const uint8_t mss_odd[] = {1, 2, 4, 0x05, 0xb4, 4, 2, 0};
static const uint8_t mss_twice[] = {2, 4, 0x23, 0x28, 2, 4, 0x05, 0xb4};

static struct rte_tcp_hdr *
put_tcp(void *at, const uint8_t options[8], uint8_t flags)
{
	struct rte_tcp_hdr *tcp = at;

	memset(tcp, 0, sizeof(*tcp));
	tcp->src_port = 0x1234;
	tcp->dst_port = 0x5678;
	tcp->sent_seq = next_random();
	tcp->data_off = 7 << 4;
	tcp->tcp_flags = flags;
	tcp->rx_win = 0xffff;
	memcpy(tcp + 1, options, 8);
	return tcp;
}

static struct rte_mbuf *
syn4(const uint8_t options[8], uint8_t flags)
{
	struct rte_mbuf *m = packet4(IPPROTO_TCP, 28);
	struct rte_tcp_hdr *tcp = put_tcp(ip4(m) + 1, options, flags);

	tcp->cksum = rte_ipv4_udptcp_cksum(ip4(m), tcp);
	return m;
}

static uint16_t
get16(struct rte_mbuf *m, uint32_t at)
{
	return bytes(m)[at] << 8 | bytes(m)[at + 1];
}

static void
assert_tcp_ok(struct rte_mbuf *m)
{
	assert_int_equal(sum_with(rte_ipv4_phdr_cksum(ip4(m), 0), ip4(m) + 1, 28), 0xffff);
}

static void
test_mss_values(void **state)
{
	for (unsigned int i = 0; i < 20000; i++) {
		uint16_t mss = next_random() % 3000;
		struct rte_mbuf *m = syn4(i & 1 ? mss_first : mss_odd, RTE_TCP_SYN_FLAG);

		gw_mss_clamp(m, mss, 1);
		assert_int_equal(get16(m, i & 1 ? 42 : 43), RTE_MIN(mss, 1460));
		assert_tcp_ok(m);
		rte_pktmbuf_free(m);
	}
}

static void
test_mss_twice(void **state)
{
	struct rte_mbuf *m = syn4(mss_twice, RTE_TCP_SYN_FLAG | RTE_TCP_ACK_FLAG);

	gw_mss_clamp(m, 1400, 1);
	assert_int_equal(get16(m, 42), 1400);
	assert_int_equal(get16(m, 46), 1400);
	assert_tcp_ok(m);
	rte_pktmbuf_free(m);
}

static void
test_mss_6(void **state)
{
	struct rte_mbuf *m = packet6(IPPROTO_DSTOPTS, 36);
	struct rte_ipv6_hdr *ip = rte_pktmbuf_mtod(m, struct rte_ipv6_hdr *);
	struct rte_tcp_hdr *tcp = put_tcp(bytes(m) + 48, mss_first, RTE_TCP_SYN_FLAG);
	uint16_t before;

	memset(bytes(m) + 40, 0, 8);
	bytes(m)[40] = IPPROTO_TCP;
	tcp->cksum = 0x1111;
	before = rte_raw_cksum(tcp, 28);
	gw_mss_clamp(m, 1, 1220);
	assert_int_equal(get16(m, 70), 1220);
	assert_int_equal(rte_raw_cksum(tcp, 28), before);
	assert_int_equal(ip->proto, IPPROTO_DSTOPTS);
	rte_pktmbuf_free(m);
}

static void
assert_untouched(struct rte_mbuf *m)
{
	uint8_t copy[200];
	uint16_t len = m->data_len;

	memcpy(copy, bytes(m), len);
	gw_mss_clamp(m, 500, 500);
	assert_memory_equal(bytes(m), copy, len);
	rte_pktmbuf_free(m);
}

static void
test_mss_untouched(void **state)
{
	static const uint8_t after_end[8] = {0, 2, 4, 0x05, 0xb4, 0, 0, 0};
	static const uint8_t wrong_len[8] = {2, 3, 0x05, 0xb4, 1, 1, 1, 1};
	static const uint8_t zero_len[8] = {2, 0, 0x05, 0xb4, 2, 4, 9, 9};
	static const uint8_t beyond[8] = {1, 1, 1, 1, 1, 2, 4, 9};
	static const uint8_t at_end[8] = {1, 1, 1, 1, 1, 1, 1, 2};
	struct rte_mbuf *m;

	assert_untouched(syn4(mss_first, RTE_TCP_ACK_FLAG));
	assert_untouched(syn4(after_end, RTE_TCP_SYN_FLAG));
	assert_untouched(syn4(wrong_len, RTE_TCP_SYN_FLAG));
	assert_untouched(syn4(zero_len, RTE_TCP_SYN_FLAG));
	assert_untouched(syn4(beyond, RTE_TCP_SYN_FLAG));
	assert_untouched(syn4(at_end, RTE_TCP_SYN_FLAG));
	m = syn4(mss_first, RTE_TCP_SYN_FLAG);
	ip4(m)->next_proto_id = IPPROTO_UDP;
	assert_untouched(m);
	m = syn4(mss_first, RTE_TCP_SYN_FLAG);
	ip4(m)->fragment_offset = rte_cpu_to_be_16(3);
	assert_untouched(m);
	m = syn4(mss_first, RTE_TCP_SYN_FLAG); /* TCP header longer than the packet */
	bytes(m)[32] = 0xf0;
	assert_untouched(m);
	m = syn4(mss_first, RTE_TCP_SYN_FLAG);
	ip4(m)->total_length = rte_cpu_to_be_16(47);
	assert_untouched(m);
	for (uint16_t len = 0; len < 48; len++) {
		m = syn4(mss_first, RTE_TCP_SYN_FLAG);
		rte_pktmbuf_trim(m, 48 - len);
		assert_untouched(m);
	}
}

static void
test_mss_random(void **state)
{
	for (unsigned int i = 0; i < 100000; i++) {
		struct rte_mbuf *m = syn4(mss_first, RTE_TCP_SYN_FLAG);
		uint16_t before;

		for (unsigned int j = 0; j < 8; j++)
			bytes(m)[40 + j] = next_random() % 6;
		if (i & 1)
			bytes(m)[next_random() % 40] = next_random();
		before = rte_raw_cksum(bytes(m) + 20, 28);
		gw_mss_clamp(m, next_random() % 700, next_random());
		if ((i & 1) == 0 && before != 0)
			assert_int_equal(rte_raw_cksum(bytes(m) + 20, 28), before);
		rte_pktmbuf_free(m);
	}
}

static int
no_leak(void **state)
{
	return rte_mempool_in_use_count(pool) != 0;
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test_teardown(test_messages4, no_leak),
			cmocka_unit_test_teardown(test_messages6, no_leak),
			cmocka_unit_test_teardown(test_padding, no_leak),
			cmocka_unit_test_teardown(test_original_unchanged, no_leak),
			cmocka_unit_test_teardown(test_silent_about_icmp4, no_leak),
			cmocka_unit_test_teardown(test_silent_about_icmp6, no_leak),
			cmocka_unit_test_teardown(test_fragments, no_leak),
			cmocka_unit_test_teardown(test_addresses4, no_leak),
			cmocka_unit_test_teardown(test_addresses6, no_leak),
			cmocka_unit_test_teardown(test_malformed, no_leak),
			cmocka_unit_test_teardown(test_random, no_leak),
			cmocka_unit_test_teardown(test_no_mbuf, no_leak),
			cmocka_unit_test(test_limit),
			cmocka_unit_test_teardown(test_mss_values, no_leak),
			cmocka_unit_test_teardown(test_mss_twice, no_leak),
			cmocka_unit_test_teardown(test_mss_6, no_leak),
			cmocka_unit_test_teardown(test_mss_untouched, no_leak),
			cmocka_unit_test_teardown(test_mss_random, no_leak),
	};
	int rc;

	if (rte_eal_init(argc, argv) < 0)
		return 1;
	memset(us6.a.ip6, 0xfd, sizeof(us6.a.ip6));
	pool = rte_pktmbuf_pool_create(
			"icmp", 1023, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	if (pool == NULL)
		return 1;
	rc = cmocka_run_group_tests(tests, NULL, NULL);
	rte_eal_cleanup();
	return rc;
}
