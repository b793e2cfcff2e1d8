/* SPDX-License-Identifier: BSD-3-Clause */

/* app/datapath/observe.c: which packets are noted, and that each SA has its turn. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "datapath/observe.h"

#define BUSY 300 /* SAs */
#define FIRST 0xc0000000u
#define ROUNDS 20 /* in each all SAs have their turn */

static struct gw_observer o;
static struct gw_observed to[GW_OBSERVED_MAX];

static int
setup(void **state)
{
	memset(&o, 0, sizeof(o));
	assert_int_equal(gw_observer_take(&o, true, to), 0);
	return 0;
}

/** A packet of an SA comes. */
static void
packet(uint32_t spi)
{
	struct gw_observed seen = {.port = 1};

	if (gw_observer_wants(&o, spi))
		gw_observe(&o, spi, 7, &seen);
}

/** One of each SA between two looks, and none where nobody looks. */
static void
test_once(void **state)
{
	for (unsigned int look = 0; look < 3; look++) {
		for (unsigned int i = 0; i < 5; i++)
			packet(FIRST);
		assert_int_equal(gw_observer_take(&o, look < 2, to), 1);
		assert_int_equal(to[0].spi, FIRST);
		assert_int_equal(to[0].tunnel, 7);
		assert_int_equal(to[0].port, 1);
	}
	packet(FIRST);
	assert_int_equal(gw_observer_take(&o, true, to), 0);
}

/** Many busy SAs, and one whose packets come last always: it is noted all the same, and soon. */
static void
test_turns(void **state)
{
	bool seen[BUSY + 1] = {false};
	unsigned int missing = BUSY + 1;

	/* of two with one bit the last loses, until the hash is another one */
	for (unsigned int look = 0; look < ROUNDS * (BUSY / GW_OBSERVED_MAX + 1); look++) {
		unsigned int n;

		for (unsigned int i = 0; i <= BUSY; i++)
			packet(FIRST + i * 0x10001);
		n = gw_observer_take(&o, true, to);
		for (unsigned int i = 0; i < n; i++) {
			bool *of = &seen[(to[i].spi - FIRST) / 0x10001];

			missing -= !*of;
			*of = true;
		}
	}
	assert_int_equal(missing, 0);
}

int
main(void)
{
#define CASE(name) cmocka_unit_test_setup(name, setup)
	const struct CMUnitTest tests[] = {CASE(test_once), CASE(test_turns)};
#undef CASE
	return cmocka_run_group_tests(tests, NULL, NULL);
}
