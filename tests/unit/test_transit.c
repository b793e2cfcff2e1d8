/* SPDX-License-Identifier: BSD-3-Clause */

/* Which tunnels are asked about again: against a comparison of everything with everything. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "control/transit.h"
#include "rnd.h"

static bool
overlap(const struct gw_prefix *a, const struct gw_prefix *b)
{
	return gw_prefix_has(a, &b->addr) || gw_prefix_has(b, &a->addr);
}

static bool
concerns(const struct gw_policy_rule *rule, const struct gw_selector *sel)
{
	if (rule->action == GW_ACTION_BYPASS)
		return false;
	if (overlap(&rule->sel.local, &sel->remote) && overlap(&rule->sel.remote, &sel->local))
		return true;
	return rule->action == GW_ACTION_DROP && overlap(&rule->sel.local, &sel->local) &&
			overlap(&rule->sel.remote, &sel->remote);
}

/** Few bits, so that prefixes meet; host bits are set now and then, as in a configuration. */
static struct gw_prefix
random_prefix(uint8_t family, unsigned int min_len)
{
	static const uint8_t base[16] = {10};
	struct gw_prefix p = {.addr.family = family};
	unsigned int bits = 8 * gw_addr_len(family);

	memcpy(&p.addr.a, base, sizeof(p.addr.a));
	p.addr.a.ip6[1] = rnd() & 0x7;
	p.addr.a.ip6[2] = rnd() & 0xc1;
	p.addr.a.ip6[3] = rnd() & 0x3;
	p.len = min_len + rnd() % (family == AF_INET ? bits - min_len + 1 : 34 - min_len);
	if (rnd() % 3 != 0)
		gw_prefix_mask(&p);
	return p;
}

static struct gw_selector
random_selector(void)
{
	uint8_t family = rnd() % 3 ? AF_INET : AF_INET6;
	unsigned int min_len = rnd() % 8 ? 12 : 0;

	return (struct gw_selector){.local = random_prefix(family, min_len),
			.remote = random_prefix(family, min_len)};
}

static void
test_like_all_by_all(void **state)
{
	unsigned int yes = 0, no = 0;

	for (unsigned int round = 0; round < 3000; round++) {
		struct gw_policy_rule rules[40];
		unsigned int n = rnd() % 40;
		struct gw_transit *t;

		for (unsigned int i = 0; i < n; i++)
			rules[i] = (struct gw_policy_rule){.sel = random_selector(),
					.action = rnd() % 4         ? GW_ACTION_TUNNEL
							: rnd() % 2 ? GW_ACTION_DROP
								    : GW_ACTION_BYPASS};
		t = gw_transit_new(rules, n);
		assert_non_null(t);
		for (unsigned int k = 0; k < 20; k++) {
			struct gw_selector sel = random_selector();
			bool want = false;

			for (unsigned int i = 0; i < n; i++)
				want |= concerns(&rules[i], &sel);
			assert_int_equal(gw_transit_may(t, &sel), want);
			yes += want;
			no += !want;
		}
		gw_transit_free(t);
	}
	assert_true(yes > 5000 && no > 5000);
}

/** 16,384 sites behind one network: none is asked about; with a hub's route between them: all. */
static void
test_many(void **state)
{
	enum {
		N = 16384
	};
	struct gw_policy_rule *rules = calloc(N, sizeof(*rules));
	struct gw_transit *t;

	assert_non_null(rules);
	for (unsigned int i = 0; i < N; i++) {
		struct gw_selector *sel = &rules[i].sel;

		rules[i].action = GW_ACTION_TUNNEL;
		sel->local = (struct gw_prefix){
				.addr = {.family = AF_INET, .a.ip4 = RTE_BE32(0x0a010000)},
				.len = 16};
		sel->remote = (struct gw_prefix){
				.addr = {.family = AF_INET,
						.a.ip4 = rte_cpu_to_be_32(0x64000000 + (i << 8))},
				.len = 24};
	}
	t = gw_transit_new(rules, N);
	assert_non_null(t);
	for (unsigned int i = 0; i < N; i++)
		assert_false(gw_transit_may(t, &rules[i].sel));
	gw_transit_free(t);
	for (unsigned int i = 0; i < N; i++)
		rules[i].sel.local = (struct gw_prefix){
				.addr = {.family = AF_INET, .a.ip4 = RTE_BE32(0x40000000)},
				.len = 2};
	t = gw_transit_new(rules, N);
	assert_non_null(t);
	for (unsigned int i = 0; i < N; i++)
		assert_true(gw_transit_may(t, &rules[i].sel));
	gw_transit_free(t);
	free(rules);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_like_all_by_all),
			cmocka_unit_test(test_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
