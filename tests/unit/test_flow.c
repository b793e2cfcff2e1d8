/* SPDX-License-Identifier: BSD-3-Clause */

/* What is read of a packet for the policy. Each lies in a heap block of its exact size. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "datapath/flow.h"

static const uint8_t udp4[] = {
		0x45,
		0,
		0,
		32,
		0x12,
		0x34,
		0,
		0,
		64,
		17,
		0,
		0,
		10,
		1,
		0,
		1,
		10,
		2,
		0,
		2,
		0x12,
		0x34,
		0x56,
		0x78,
		0,
		12,
		0,
		0,
		1,
		2,
		3,
		4,
};

/* A parse of a copy that ends where it ends. */
static struct gw_flow
parse(const void *packet, size_t len)
{
	uint8_t *copy = malloc(len + 1);
	struct gw_flow f;

	memset(&f, 0xee, sizeof(f));
	memcpy(copy + 1, packet, len); /* at an odd address, too */
	gw_flow_parse(&f, copy + 1, len);
	free(copy);
	return f;
}

/* Header of an IPv6 packet; returns its length. */
static size_t
head6(uint8_t *p, uint8_t next)
{
	memset(p, 0, 40);
	p[0] = 0x60;
	p[6] = next;
	p[7] = 64;
	memset(p + 8, 0xa1, 16);
	memset(p + 24, 0xb2, 16);
	return 40;
}

static size_t
ext6(uint8_t *p, size_t at, uint8_t next, uint8_t units)
{
	memset(p + at, 0, (units + 1) * 8);
	p[at] = next;
	p[at + 1] = units;
	return at + (units + 1) * 8;
}

static size_t
frag6(uint8_t *p, size_t at, uint8_t next, uint16_t offset_flags)
{
	memset(p + at, 0, 8);
	p[at] = next;
	p[at + 2] = offset_flags >> 8;
	p[at + 3] = offset_flags;
	return at + 8;
}

static size_t
ports(uint8_t *p, size_t at)
{
	memcpy(p + at, "\x12\x34\x56\x78", 4);
	return at + 4;
}

static void
assert_ports(const struct gw_flow *f, uint16_t sport, uint16_t dport)
{
	assert_int_equal(rte_be_to_cpu_16(f->sport), sport);
	assert_int_equal(rte_be_to_cpu_16(f->dport), dport);
}

static void
test_udp4(void **state)
{
	struct gw_flow f = parse(udp4, sizeof(udp4));
	struct gw_flow r, rr;

	assert_int_equal(f.family, AF_INET);
	assert_int_equal(f.proto, IPPROTO_UDP);
	assert_memory_equal(f.src, "\x0a\x01\x00\x01\0\0\0\0\0\0\0\0\0\0\0\0", 16);
	assert_memory_equal(f.dst, "\x0a\x02\x00\x02\0\0\0\0\0\0\0\0\0\0\0\0", 16);
	assert_ports(&f, 0x1234, 0x5678);
	gw_flow_reverse(&r, &f);
	assert_ports(&r, 0x5678, 0x1234);
	assert_memory_equal(r.src, f.dst, 16);
	assert_false(gw_flow_equal(&r, &f));
	gw_flow_reverse(&rr, &r);
	assert_true(gw_flow_equal(&rr, &f));
}

static void
test_options4(void **state)
{
	uint8_t p[64 + 4];

	memset(p, 1, sizeof(p));
	memcpy(p, udp4, 20);
	p[0] = 0x4f;
	ports(p, 60);
	struct gw_flow f = parse(p, 64);
	assert_ports(&f, 0x1234, 0x5678);
	f = parse(p, 63);
	assert_ports(&f, 0, 0);
}

static void
test_fragments4(void **state)
{
	static const uint16_t flags[] = {0x2000, 0x2001, 0x0001, 0x1fff, 0x3fff};
	uint8_t p[sizeof(udp4)];
	struct gw_flow f;

	memcpy(p, udp4, sizeof(p));
	for (size_t i = 0; i < 5; i++) {
		p[6] = flags[i] >> 8;
		p[7] = flags[i];
		f = parse(p, sizeof(p));
		assert_int_equal(f.proto, IPPROTO_UDP);
		assert_ports(&f, 0, 0);
	}
	p[6] = 0x40; /* DF is not a fragment */
	p[7] = 0;
	f = parse(p, sizeof(p));
	assert_ports(&f, 0x1234, 0x5678);
}

/* ICMP's type and code are no selector, nor is what stands there in other protocols. */
static void
test_no_ports(void **state)
{
	uint8_t p[sizeof(udp4)];

	memcpy(p, udp4, sizeof(p));
	for (unsigned int proto = 0; proto < 256; proto++) {
		p[9] = proto;
		struct gw_flow f = parse(p, sizeof(p));
		bool with = proto == 6 || proto == 17 || proto == 132 || proto == 136 ||
				proto == 33;

		assert_int_equal(f.proto, proto);
		assert_ports(&f, with ? 0x1234 : 0, with ? 0x5678 : 0);
	}
}

static void
test_tcp6(void **state)
{
	uint8_t p[64], want[16];
	size_t len = ports(p, head6(p, IPPROTO_TCP));
	struct gw_flow f = parse(p, len);

	assert_int_equal(f.family, AF_INET6);
	assert_int_equal(f.proto, IPPROTO_TCP);
	memset(want, 0xa1, 16);
	assert_memory_equal(f.src, want, 16);
	memset(want, 0xb2, 16);
	assert_memory_equal(f.dst, want, 16);
	assert_ports(&f, 0x1234, 0x5678);
	f = parse(p, len - 1);
	assert_int_equal(f.proto, IPPROTO_TCP);
	assert_ports(&f, 0, 0);
}

static void
test_extensions6(void **state)
{
	uint8_t p[2400];
	size_t at = head6(p, IPPROTO_HOPOPTS);
	struct gw_flow f;

	at = ext6(p, at, IPPROTO_DSTOPTS, 0);
	at = ext6(p, at, IPPROTO_ROUTING, 2);
	at = ext6(p, at, IPPROTO_DSTOPTS, 255);
	at = ext6(p, at, IPPROTO_UDP, 0);
	at = ports(p, at);
	f = parse(p, at);
	assert_int_equal(f.proto, IPPROTO_UDP);
	assert_ports(&f, 0x1234, 0x5678);
	for (size_t len = 40; len < at - 4; len++) { /* cut short in the chain */
		f = parse(p, len);
		assert_int_equal(f.proto, GW_PROTO_OPAQUE);
		assert_ports(&f, 0, 0);
	}
}

static void
test_long_chain6(void **state)
{
	uint8_t p[256];
	struct gw_flow f;

	for (unsigned int n = 1; n <= 10; n++) {
		size_t at = head6(p, IPPROTO_DSTOPTS);

		for (unsigned int i = 0; i < n; i++)
			at = ext6(p, at, i + 1 < n ? IPPROTO_DSTOPTS : IPPROTO_TCP, 0);
		f = parse(p, ports(p, at));
		assert_int_equal(f.proto, n <= 8 ? IPPROTO_TCP : GW_PROTO_OPAQUE);
		assert_ports(&f, n <= 8 ? 0x1234 : 0, n <= 8 ? 0x5678 : 0);
	}
}

static void
test_fragments6(void **state)
{
	static const uint16_t flags[] = {0x0001, 0x0008, 0xfff9, 0}; /* the last: an atomic one */
	uint8_t p[128];
	struct gw_flow f;

	for (size_t i = 0; i < 4; i++) {
		size_t at = ext6(p, head6(p, IPPROTO_HOPOPTS), IPPROTO_FRAGMENT, 0);

		at = ports(p, frag6(p, at, IPPROTO_UDP, flags[i]));
		f = parse(p, at);
		assert_int_equal(f.proto, IPPROTO_UDP);
		assert_ports(&f, 0, 0);
	}
	/* With more extension headers behind it only the first fragment shows the protocol. */
	size_t at = frag6(p, head6(p, IPPROTO_FRAGMENT), IPPROTO_DSTOPTS, 1);
	f = parse(p, ports(p, ext6(p, at, IPPROTO_TCP, 0)));
	assert_int_equal(f.proto, GW_PROTO_OPAQUE);
	assert_ports(&f, 0, 0);
}

static void
test_truncated(void **state)
{
	uint8_t p[64];
	static const struct gw_flow none;
	struct gw_flow f;

	for (size_t len = 0; len < 20; len++) {
		f = parse(udp4, len);
		assert_true(gw_flow_equal(&f, &none));
	}
	for (size_t len = 20; len < 24; len++) {
		f = parse(udp4, len);
		assert_int_equal(f.family, AF_INET);
		assert_ports(&f, 0, 0);
	}
	head6(p, IPPROTO_TCP);
	for (size_t len = 0; len < 40; len++) {
		f = parse(p, len);
		assert_true(gw_flow_equal(&f, &none));
	}
}

/* Any bytes at any length: nothing is read outside (ASan), ports only where they may be. */
static void
test_random(void **state)
{
	uint8_t p[160];
	uint32_t x = 12345;

	for (unsigned int i = 0; i < 200000; i++) {
		size_t len = i % (sizeof(p) + 1);

		for (size_t j = 0; j < len; j++) {
			x = x * 1664525 + 1013904223;
			p[j] = x >> 24;
		}
		if (len > 6) {
			p[0] = i & 1 ? 0x40 | (p[0] & 15) : 0x60;
			for (size_t j = 6; j < len; j += 8)
				p[j] = p[j] & 1 ? IPPROTO_DSTOPTS : IPPROTO_FRAGMENT;
			for (size_t j = 40; j < len; j += 8)
				p[j] = x >> (j / 8) & 1 ? IPPROTO_ROUTING : IPPROTO_TCP;
		}
		struct gw_flow f = parse(p, len);
		assert_true(f.family == 0 || f.family == AF_INET || f.family == AF_INET6);
		if (!gw_flow_has_ports(f.proto))
			assert_ports(&f, 0, 0);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_udp4),
			cmocka_unit_test(test_options4),
			cmocka_unit_test(test_fragments4),
			cmocka_unit_test(test_no_ports),
			cmocka_unit_test(test_tcp6),
			cmocka_unit_test(test_extensions6),
			cmocka_unit_test(test_long_chain6),
			cmocka_unit_test(test_fragments6),
			cmocka_unit_test(test_truncated),
			cmocka_unit_test(test_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
