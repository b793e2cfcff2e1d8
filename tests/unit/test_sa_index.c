/* SPDX-License-Identifier: BSD-3-Clause */

/* SAs found by SPI and by key: against a plain list, in chains that collide, without memory. */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "control/control.h"
#include "rnd.h"

#define N 4000

static struct gw_sa_index ix;
static struct gw_sa all[N];
static bool in[N]; /* is it in the index? */
static bool no_memory;
static unsigned int allocations;

void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);

void *
__wrap_calloc(size_t n, size_t size)
{
	allocations++;
	return no_memory ? NULL : __real_calloc(n, size);
}

/* Help */

/** Few SPIs and keys, so that many SAs have the same ones. */
static int
start(void **state)
{
	memset(&ix, 0, sizeof(ix));
	memset(all, 0, sizeof(all));
	memset(in, 0, sizeof(in));
	no_memory = false;
	for (unsigned int i = 0; i < N; i++) {
		all[i].prm.spi = 0xc0000000 + rnd() % (N / 3);
		memset(all[i].reserve_id, rnd() % 200, GW_RESERVE_ID_LEN);
		/* names that begin with the same bytes are not the same */
		all[i].reserve_id[GW_RESERVE_ID_LEN - 1] = rnd() % 8;
	}
	return 0;
}

static int
stop(void **state)
{
	gw_sa_index_free(&ix);
	assert_null(ix.by_spi);
	return 0;
}

static void
add(unsigned int i)
{
	assert_int_equal(gw_sa_index_add(&ix, &all[i]), 0);
	in[i] = true;
}

static void
del(unsigned int i)
{
	gw_sa_index_del(&ix, &all[i]);
	in[i] = false;
}

/** Each of an SPI once, and no others. */
static void
check_spi(uint32_t spi)
{
	unsigned int want = 0, got = 0;

	for (unsigned int i = 0; i < N; i++)
		want += in[i] && all[i].prm.spi == spi;
	for (const struct gw_sa *sa = gw_sa_index_spi(&ix, spi); sa != NULL;
			sa = gw_sa_index_next(sa)) {
		assert_true(in[sa - all]);
		assert_int_equal(sa->prm.spi, spi);
		for (const struct gw_sa *o = gw_sa_index_next(sa); o != NULL;
				o = gw_sa_index_next(o))
			assert_ptr_not_equal(o, sa);
		got++;
	}
	assert_int_equal(got, want);
}

static void
check_key(const uint8_t *id)
{
	const struct gw_sa *sa = gw_sa_index_key(&ix, id);
	bool want = false;

	for (unsigned int i = 0; i < N; i++)
		want |= in[i] && memcmp(all[i].reserve_id, id, GW_RESERVE_ID_LEN) == 0;
	assert_int_equal(sa != NULL, want);
	if (sa == NULL)
		return;
	assert_true(in[sa - all]);
	assert_memory_equal(sa->reserve_id, id, GW_RESERVE_ID_LEN);
}

static void
check_all(unsigned int step)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < N; i++)
		n += in[i];
	assert_int_equal(ix.n, n);
	for (unsigned int i = 0; i < N; i += step) {
		check_spi(all[i].prm.spi);
		check_key(all[i].reserve_id);
	}
}

/* Tests */

static void
test_empty(void **state)
{
	assert_null(gw_sa_index_spi(&ix, 1));
	assert_null(gw_sa_index_key(&ix, all[0].reserve_id));
	add(0);
	del(0);
	assert_null(gw_sa_index_spi(&ix, all[0].prm.spi));
	assert_null(gw_sa_index_key(&ix, all[0].reserve_id));
}

/** It grows, and shrinks to nothing; every one is found at any time. */
static void
test_random(void **state)
{
	for (unsigned int turn = 0; turn < 40000; turn++) {
		unsigned int i = rnd() % N;
		/* more and more of them, then fewer and fewer */
		bool more = turn < 20000 ? rnd() % 4 != 0 : rnd() % 4 == 0;

		if (more && !in[i])
			add(i);
		else if (!more && in[i])
			del(i);
		if (turn % 1000 == 0)
			check_all(37);
	}
	for (unsigned int i = 0; i < N; i++)
		if (in[i])
			del(i);
	check_all(1);
}

/** As many chains as SAs, so that a look-up does not depend on how many there are. */
static void
test_growth(void **state)
{
	unsigned int longest = 0;

	for (unsigned int i = 0; i < N; i++) {
		all[i].prm.spi = rnd();
		add(i);
		assert_true(ix.n <= 1u << ix.bits);
	}
	for (unsigned int c = 0; c < 1u << ix.bits; c++) {
		unsigned int n = 0;

		for (const struct gw_sa *sa = ix.by_spi[c]; sa != NULL; sa = sa->next_spi)
			n++;
		longest = n > longest ? n : longest;
	}
	assert_true(longest < 40);
	/* no memory is asked for but where it grows */
	allocations = 0;
	del(0);
	add(0);
	assert_int_equal(allocations, 0);
	check_all(37);
}

/** Where they go is not the same in two runs. */
static void
test_secret(void **state)
{
	uint64_t before;

	add(0);
	before = ix.secret;
	assert_int_equal(before & 1, 1);
	gw_sa_index_free(&ix);
	add(0);
	assert_true(ix.secret != before);
}

/** All in one chain. */
static void
test_collisions(void **state)
{
	add(0);
	del(0);
	ix.secret = 1;
	for (unsigned int i = 0; i < 300; i++) {
		memset(all[i].reserve_id, 0, 8);
		add(i);
	}
	assert_non_null(ix.by_spi[0]);
	for (unsigned int c = 1; c < 1u << ix.bits; c++)
		assert_true(ix.by_spi[c] == NULL && ix.by_key[c] == NULL);
	check_all(1);
	/* from the middle, the end and the beginning */
	for (unsigned int k = 0; k < 300; k++) {
		del((k * 7 + 150) % 300);
		if (k % 30 == 0)
			check_all(1);
	}
	assert_null(ix.by_spi[0]);
	assert_null(ix.by_key[0]);
}

static void
test_no_memory(void **state)
{
	no_memory = true;
	assert_int_equal(gw_sa_index_add(&ix, &all[0]), -ENOMEM);
	assert_null(gw_sa_index_spi(&ix, all[0].prm.spi));
	assert_int_equal(ix.n, 0);
	no_memory = false;
	add(0);
	/* it does not grow, and serves */
	no_memory = true;
	for (unsigned int i = 1; i < N / 2; i++)
		add(i);
	assert_true(ix.n > 1u << ix.bits);
	check_all(37);
	/* nor does it fail to take one out */
	for (unsigned int i = 0; i < N / 2; i += 2)
		del(i);
	check_all(37);
	no_memory = false;
	for (unsigned int i = N / 2; i < N; i++)
		add(i);
	assert_true(ix.n <= 1u << ix.bits);
	check_all(37);
}

int
main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, start, stop)
	const struct CMUnitTest tests[] = {
			CASE(test_empty),
			CASE(test_random),
			CASE(test_growth),
			CASE(test_secret),
			CASE(test_collisions),
			CASE(test_no_memory),
	};
#undef CASE
	return cmocka_run_group_tests(tests, NULL, NULL);
}
