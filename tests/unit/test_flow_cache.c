/* SPDX-License-Identifier: BSD-3-Clause */

/* That a flow's key never says "the same" where the flow is another one, and what is kept by it. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "datapath/flow_cache.h"
#include "rnd.h"

#define PACKET_MAX 64

/** A packet in a heap block of its exact size: what is read beyond it is found. */
struct packet {
	uint8_t *data;
	uint32_t len;
};

static struct packet
make(void)
{
	static const uint8_t protos[] = {6, 17, 1, 50, 132, 0, 43, 44, 58, 60, 59};
	struct packet p = {.len = 20 + rnd() % (PACKET_MAX - 20)};
	bool six = rnd() % 2;

	if (six && p.len < 40)
		p.len = 40;
	p.data = malloc(p.len);
	for (uint32_t i = 0; i < p.len; i++)
		p.data[i] = rnd() % 4;
	p.data[0] = six ? 0x60 | (rnd() & 0xf) : rnd() % 8 ? 0x45 : 0x45 + rnd() % 4;
	if (!six && (p.data[0] & 0xfu) * 4 > p.len)
		p.data[0] = 0x45;
	p.data[six ? 6 : 9] = protos[rnd() % sizeof(protos)];
	if (!six) {
		p.data[6] = rnd() % 4 ? rnd() & 0x40 : rnd();
		p.data[7] = rnd() % 4 ? 0 : rnd();
	}
	return p;
}

/** Another one that differs in a few bytes. */
static struct packet
vary(struct packet p)
{
	struct packet q = {.data = malloc(p.len), .len = p.len};

	memcpy(q.data, p.data, p.len);
	for (unsigned int i = rnd() % 3; i > 0; i--) {
		uint32_t at = 1 + rnd() % (q.len - 1);

		if (at != 6 && at != 9)
			q.data[at] = rnd() % 4;
		else
			q.data[at] ^= 1 << rnd() % 8;
	}
	return q;
}

static void
test_key_tells_flows_apart(void **state)
{
	unsigned int same = 0, keyed = 0;

	for (unsigned int i = 0; i < 400000; i++) {
		struct packet p = make(), q = vary(p);
		struct gw_flow_key a = {{0}}, b = {{0}};
		struct gw_flow f, g;
		uint64_t tag = gw_flow_tag(7, 0xabcdef);
		bool has = gw_flow_key_read(&a, p.data, p.len, tag);
		bool has_too = gw_flow_key_read(&b, q.data, q.len, tag);

		gw_flow_parse(&f, p.data, p.len);
		gw_flow_parse(&g, q.data, q.len);
		keyed += has;
		if (has && has_too && gw_flow_key_equal(&a, &b)) {
			same++;
			assert_true(gw_flow_equal(&f, &g));
			assert_int_equal(f.family, g.family);
		}
		if (has)
			assert_int_equal(gw_flow_key_is_of(&a, q.data, q.len, tag),
					has_too && gw_flow_key_equal(&a, &b));
		free(p.data);
		free(q.data);
	}
	/* both happened often */
	assert_in_range(same, 40000, 360000);
	assert_in_range(keyed, 100000, 390000);
}

/** TOS, length, ID, TTL, checksum, DF and flow label make no other flow. */
static void
test_what_does_not_count(void **state)
{
	static const uint8_t at4[] = {1, 2, 3, 4, 5, 8, 10, 11}, at6[] = {1, 2, 3, 4, 5, 7};
	uint8_t p[48] = {0x45, [9] = 17, [12] = 10, [16] = 10, [20] = 1, [22] = 2};
	uint8_t q[48] = {0x60, [6] = 6, [8] = 0x20, [24] = 0x20, [40] = 1, [42] = 2};
	struct gw_flow_key key;

	assert_true(gw_flow_key_read(&key, p, sizeof(p), 0));
	for (unsigned int i = 0; i < sizeof(at4); i++)
		p[at4[i]] ^= 0xff;
	p[6] = 0x40;
	assert_true(gw_flow_key_is_of(&key, p, sizeof(p), 0));
	p[6] = 0x20; /* MF */
	assert_false(gw_flow_key_is_of(&key, p, sizeof(p), 0));
	assert_true(gw_flow_key_read(&key, q, sizeof(q), 0));
	for (unsigned int i = 0; i < sizeof(at6); i++)
		q[at6[i]] ^= 0xff;
	q[0] |= 0xf;
	assert_true(gw_flow_key_is_of(&key, q, sizeof(q), 0));
}

/** Another port, another tunnel or another view: not the same, in whatever bit they differ. */
static void
test_tag(void **state)
{
	uint8_t p[48] = {0x45, [9] = 17, [20] = 1}, q[48] = {0x60, [6] = 6, [40] = 1};

	for (unsigned int bit = 0; bit < 16 + GW_FLOW_VIEW_BITS; bit++) {
		uint64_t tag = gw_flow_tag(0x1234, 0x567890);
		uint64_t other = bit < 16 ? gw_flow_tag(0x1234 ^ 1u << bit, 0x567890)
					  : gw_flow_tag(0x1234, 0x567890 ^ 1u << (bit - 16));
		struct gw_flow_key key;

		assert_true(gw_flow_key_read(&key, p, sizeof(p), tag));
		assert_true(gw_flow_key_is_of(&key, p, sizeof(p), tag));
		assert_false(gw_flow_key_is_of(&key, p, sizeof(p), other));
		assert_true(gw_flow_key_read(&key, q, sizeof(q), tag));
		assert_false(gw_flow_key_is_of(&key, q, sizeof(q), other));
	}
}

static void
read_key(struct gw_flow_key *key, uint32_t flow, bool six)
{
	uint8_t p[48] = {six ? 0x60 : 0x45, [6] = six ? 17 : 0, [9] = six ? 0 : 17};

	memcpy(p + (six ? 40 : 20), &flow, sizeof(flow));
	assert_true(gw_flow_key_read(key, p, sizeof(p), 0));
}

/** What is found is what was added, however many there are; and a few always have room. */
static void
test_cache(void **state)
{
	struct gw_flow_entry *cache =
			aligned_alloc(RTE_CACHE_LINE_SIZE, GW_FLOW_CACHE * sizeof(*cache));
	unsigned int found = 0;
	struct gw_flow_key key;

	assert_non_null(cache);
	memset(cache, 0, GW_FLOW_CACHE * sizeof(*cache));
	for (uint32_t i = 0; i < 40000; i++) {
		struct gw_flow_entry *slot;

		read_key(&key, i, i % 5 == 0);
		slot = gw_flow_cache_slot(cache, &key);
		assert_null(gw_flow_cache_find(cache, slot, &key));
		gw_flow_cache_add(cache, slot, &key,
				(struct gw_verdict){.rule = i, .tunnel = i >> 4});
		assert_int_equal(gw_flow_cache_find(cache, slot, &key)->rule, (uint16_t)i);
	}
	for (uint32_t i = 0; i < 40000; i++) {
		const struct gw_verdict *v;

		read_key(&key, i, i % 5 == 0);
		v = gw_flow_cache_find(cache, gw_flow_cache_slot(cache, &key), &key);
		if (v == NULL)
			continue;
		assert_int_equal(v->rule, (uint16_t)i);
		assert_int_equal(v->tunnel, (uint16_t)(i >> 4));
		found++;
	}
	/* nearly every entry is in use: the flows are spread */
	assert_in_range(found, GW_FLOW_CACHE * 9 / 10, GW_FLOW_CACHE);
	free(cache);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_key_tells_flows_apart),
			cmocka_unit_test(test_what_does_not_count),
			cmocka_unit_test(test_tag),
			cmocka_unit_test(test_cache),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
