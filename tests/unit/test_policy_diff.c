/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Rules beside a classifier that was made of others: whatever came and went, the first rule that
 * matches is found. The classifier here is a walk through its rules.
 */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "datapath/policy_diff.h"
#include "rnd.h"

#define MOST 400
#define BITS 6 /* addresses are numbers below 1 << BITS */

struct list {
	struct gw_policy_rule rule[MOST];
	unsigned int n;
};

static struct list old, now;
static struct gw_policy_diff diff;
static unsigned int fail_at; /* 1: the next one; 0: none */

void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);

void *
__wrap_calloc(size_t n, size_t size)
{
	return fail_at > 0 && --fail_at == 0 ? NULL : __real_calloc(n, size);
}

/* Help */

static struct gw_prefix
prefix(uint32_t net, uint8_t len)
{
	struct gw_prefix p = {.addr.family = AF_INET, .len = 32 - BITS + len};

	p.addr.a.ip4 = rte_cpu_to_be_32(net >> (BITS - len) << (BITS - len));
	return p;
}

static struct gw_policy_rule
random_rule(void)
{
	struct gw_policy_rule r = {.action = rnd() % 3, .tunnel = rnd() % 4};

	r.sel.local = prefix(rnd() % (1 << BITS), rnd() % (BITS + 1));
	r.sel.remote = prefix(rnd() % (1 << BITS), rnd() % (BITS + 1));
	r.sel.local_ports.max = r.sel.remote_ports.max = UINT16_MAX;
	return r;
}

static void
insert(struct list *l, struct gw_policy_rule r, unsigned int at)
{
	memmove(&l->rule[at + 1], &l->rule[at], (l->n - at) * sizeof(r));
	l->rule[at] = r;
	l->n++;
}

static void
take(struct list *l, unsigned int at)
{
	l->n--;
	memmove(&l->rule[at], &l->rule[at + 1], (l->n - at) * sizeof(l->rule[0]));
}

static bool
matches(const struct gw_policy_rule *r, uint32_t src, uint32_t dst)
{
	struct gw_addr s = {AF_INET, {.ip4 = rte_cpu_to_be_32(src)}};
	struct gw_addr d = {AF_INET, {.ip4 = rte_cpu_to_be_32(dst)}};

	return gw_prefix_has(&r->sel.local, &s) && gw_prefix_has(&r->sel.remote, &d);
}

/** The first from 1; 0: none. */
static unsigned int
first(const struct list *l, uint32_t src, uint32_t dst)
{
	for (unsigned int i = 0; i < l->n; i++)
		if (matches(&l->rule[i], src, dst))
			return i + 1;
	return 0;
}

/** As policy.c does it. */
static unsigned int
look(uint32_t src, uint32_t dst)
{
	unsigned int num = diff.now[first(&old, src, dst)];

	for (unsigned int i = 1; i <= now.n && (num == 0 || i < num); i++)
		if (diff.beside[i] && matches(&now.rule[i - 1], src, dst))
			return i;
	return num;
}

static int
make_diff(void)
{
	return gw_policy_diff(&diff, old.rule, old.n, now.rule, now.n);
}

/** It holds together, and finds what is to be found. */
static void
check_diff(void)
{
	unsigned int last = 0, n_gone = 0, n_beside = 0;

	assert_int_equal(diff.now[0], 0);
	for (unsigned int i = 1; i <= old.n; i++) {
		n_gone += diff.now[i] == 0;
		if (diff.now[i] == 0)
			continue;
		assert_true(diff.now[i] > last && diff.now[i] <= now.n);
		last = diff.now[i];
	}
	for (unsigned int i = 1; i <= now.n; i++)
		n_beside += diff.beside[i];
	assert_int_equal(diff.n_gone, n_gone);
	assert_int_equal(diff.n_beside, n_beside);
	assert_true(n_gone <= GW_POLICY_BESIDE && n_beside <= GW_POLICY_BESIDE);
	for (unsigned int k = 0; k < 500; k++) {
		uint32_t src = rnd() % (1 << BITS), dst = rnd() % (1 << BITS);

		assert_int_equal(look(src, dst), first(&now, src, dst));
	}
}

static void
start_with(unsigned int n)
{
	old.n = 0;
	while (old.n < n)
		insert(&old, random_rule(), old.n);
	now = old;
}

/* Tests */

static void
test_same(void **state)
{
	start_with(200);
	for (unsigned int i = 0; i < now.n; i++)
		now.rule[i].tunnel++; /* to where they lead it does not matter */
	assert_int_equal(make_diff(), 0);
	assert_int_equal(diff.n_gone + diff.n_beside, 0);
	for (unsigned int i = 1; i <= old.n; i++)
		assert_int_equal(diff.now[i], i);
	gw_policy_diff_free(&diff);
}

/** Any changes, in lists with many rules that are alike, too. */
static void
test_random(void **state)
{
	unsigned int found = 0;

	for (unsigned int round = 0; round < 3000; round++) {
		unsigned int changes = rnd() % 20;
		int rc;

		start_with(rnd() % 120);
		for (unsigned int k = 0; k < changes; k++) {
			unsigned int at = rnd() % (now.n + 1);

			if (rnd() % 2 || at == now.n)
				insert(&now, rnd() % 4 ? random_rule() : now.rule[at / 2], at);
			else if (rnd() % 4)
				take(&now, at);
			else
				now.rule[at].action = rnd() % 3;
		}
		rc = make_diff();
		assert_true(rc == 0 || rc == -E2BIG);
		if (rc == 0)
			check_diff();
		found += rc == 0;
		gw_policy_diff_free(&diff);
	}
	assert_true(found > 1500);
}

/** In no order at all, and of nothing in common. */
static void
test_disorder(void **state)
{
	for (unsigned int round = 0; round < 500; round++) {
		start_with(2 + rnd() % 25);
		if (round % 5 == 0)
			for (unsigned int i = 0; i < now.n; i++)
				now.rule[i] = random_rule();
		for (unsigned int k = 0; k < 30; k++) {
			unsigned int a = rnd() % now.n, b = rnd() % now.n;
			struct gw_policy_rule r = now.rule[a];

			now.rule[a] = now.rule[b];
			now.rule[b] = r;
		}
		assert_int_equal(make_diff(), 0);
		check_diff();
		gw_policy_diff_free(&diff);
	}
}

/** A rule of hosts that no other one has anything to do with. */
static struct gw_policy_rule
host(unsigned int i)
{
	struct gw_policy_rule r = random_rule();

	r.sel.local = prefix(i >> BITS, BITS);
	r.sel.remote = prefix(i % (1 << BITS), BITS);
	return r;
}

/** No more than that few, in whichever way. */
static void
test_few(void **state)
{
	start_with(0);
	for (unsigned int i = 0; i < 300; i++)
		insert(&old, host(i), i);
	now = old;
	for (unsigned int i = 0; i < GW_POLICY_BESIDE; i++) {
		insert(&now, host(1000 + i), i * 5);
		assert_int_equal(make_diff(), 0);
		assert_int_equal(diff.n_beside, i + 1);
		assert_int_equal(diff.n_gone, 0);
		check_diff();
		gw_policy_diff_free(&diff);
	}
	insert(&now, host(2000), 0);
	assert_int_equal(make_diff(), -E2BIG);
	gw_policy_diff_free(&diff);
	/* all in one place */
	now = old;
	for (unsigned int i = 0; i <= GW_POLICY_BESIDE; i++) {
		assert_int_equal(make_diff(), 0);
		assert_int_equal(diff.n_beside, i);
		check_diff();
		gw_policy_diff_free(&diff);
		insert(&now, host(1000 + i), 100);
	}
	assert_int_equal(make_diff(), -E2BIG);
	gw_policy_diff_free(&diff);
	/* gone, which hides none; and with all that came */
	now = old;
	for (unsigned int i = 0; i <= GW_POLICY_BESIDE; i++) {
		assert_int_equal(make_diff(), 0);
		assert_int_equal(diff.n_gone, i);
		assert_int_equal(diff.n_beside, 0);
		check_diff();
		gw_policy_diff_free(&diff);
		take(&now, i % 2 ? now.n - 1 : 50);
	}
	assert_int_equal(make_diff(), -E2BIG);
	gw_policy_diff_free(&diff);
}

/** One that goes hides all behind it that it has addresses in common with, and none before. */
static void
test_hidden(void **state)
{
	start_with(0);
	for (unsigned int i = 0; i < 2 * GW_POLICY_BESIDE; i++)
		insert(&old, host(i), i);
	/* the first half, which stand before it, and one behind */
	insert(&old, host(0), 2 * GW_POLICY_BESIDE - 1);
	old.rule[2 * GW_POLICY_BESIDE - 1].sel.local = prefix(0, 0);
	old.rule[2 * GW_POLICY_BESIDE - 1].sel.remote = prefix(0, 0);
	now = old;
	take(&now, 2 * GW_POLICY_BESIDE - 1);
	assert_int_equal(make_diff(), 0);
	assert_int_equal(diff.n_gone, 1);
	assert_int_equal(diff.n_beside, 1);
	check_diff();
	gw_policy_diff_free(&diff);
	/* before all others: too many */
	insert(&old, old.rule[2 * GW_POLICY_BESIDE - 1], 0);
	assert_int_equal(make_diff(), -E2BIG);
	gw_policy_diff_free(&diff);
}

static void
test_no_memory(void **state)
{
	start_with(100);
	for (unsigned int i = 1; i <= 2; i++) {
		fail_at = i;
		assert_int_equal(make_diff(), -ENOMEM);
		assert_int_equal(fail_at, 0);
		gw_policy_diff_free(&diff);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_same),
			cmocka_unit_test(test_random),
			cmocka_unit_test(test_disorder),
			cmocka_unit_test(test_few),
			cmocka_unit_test(test_hidden),
			cmocka_unit_test(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
