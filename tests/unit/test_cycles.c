/* SPDX-License-Identifier: BSD-3-Clause */

/* What of a worker's rounds is timed, and what control makes of it. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "control/control_priv.h"

#define NEVER_AWAY UINT64_MAX

static uint64_t
sum(const struct gw_cycles *c)
{
	uint64_t all = 0;

	for (enum gw_stage s = 0; s < GW_N_STAGES; s++)
		all += c->counts.stage[s];
	return all;
}

/** A round; what it adds to all stages together is the time from its begin to its end. */
static bool
round_of(struct gw_cycles *c, unsigned int packets)
{
	uint64_t before = sum(c), begin = 0;
	bool timed;

	gw_cycles_begin(c);
	timed = c->timed;
	begin = c->mark;
	if (packets > 0) {
		gw_lap(c, GW_STAGE_rx);
		assert_int_equal(gw_lap(c, GW_STAGE_encap) > 0, timed);
		gw_lap(c, GW_STAGE_tx);
	}
	gw_cycles_end(c, packets);
	assert_int_equal(sum(c) - before, timed ? c->mark - begin : 0);
	assert_false(c->timed);
	return timed;
}

static void
test_sampling(void **state)
{
	struct gw_cycles c = {.per_ms = NEVER_AWAY};
	const unsigned int rounds = 320000;
	unsigned int timed = 0, odd = 0;

	/* the very first one, so that all of it is known to work at once */
	assert_true(round_of(&c, 0));
	for (unsigned int i = 0; i < rounds; i++) {
		bool t = round_of(&c, i % 2 * 32);

		timed += t;
		odd += t && i % 2 != 0;
	}
	assert_in_range(timed, rounds / GW_CYCLES_EVERY * 9 / 10,
			rounds / GW_CYCLES_EVERY * 11 / 10);
	/* what comes every second round is timed as often as it comes */
	assert_in_range(odd, timed * 45 / 100, timed * 55 / 100);
	assert_int_equal(c.counts.rounds, timed + 1);
	assert_int_equal(c.counts.packets, odd * 32);
	assert_true(c.counts.stage[GW_STAGE_idle] > 0);
	assert_true(c.counts.stage[GW_STAGE_encap] > 0);
	assert_int_equal(c.counts.stage[GW_STAGE_away], 0);
}

/** More than anything here takes: it is taken off, and nothing below 0 is left. */
static void
test_per_read(void **state)
{
	struct gw_cycles c = {.per_ms = NEVER_AWAY, .per_read = NEVER_AWAY};

	gw_cycles_begin(&c);
	assert_int_equal(gw_lap(&c, GW_STAGE_rx), 0);
	gw_cycles_end(&c, 1);
	assert_int_equal(sum(&c), 0);
	c.per_read = 1;
	c.left = 0;
	gw_cycles_begin(&c);
	c.mark -= 1000000;
	assert_true(gw_lap(&c, GW_STAGE_rx) >= 1000000 - 1);
}

/** A millisecond of no cycle at all: each stage takes longer, so none is one. */
static void
test_away(void **state)
{
	struct gw_cycles c = {.per_ms = 0};

	gw_cycles_begin(&c);
	assert_true(c.timed);
	assert_int_equal(gw_lap(&c, GW_STAGE_decap), 0);
	gw_cycles_end(&c, 5);
	assert_int_equal(c.counts.packets, 5);
	assert_true(c.counts.stage[GW_STAGE_away] > 0);
	assert_int_equal(sum(&c), c.counts.stage[GW_STAGE_away]);
}

/* Control */

static struct gw gw;
static struct gw_worker worker;

/** A second passes. */
static void
tick(void)
{
	gw.tick_ns = gw_now_ns() - UINT64_C(1000000000);
	gw_stats_tick(&gw);
}

static void
about(double v, double expect)
{
	if (v < expect * 0.9 || v > expect * 1.1)
		fail_msg("%f is not about %f", v, expect);
}

static int
setup(void **state)
{
	memset(&gw, 0, sizeof(gw));
	memset(&worker, 0, sizeof(worker));
	worker.cycles.per_ms = 1000000; /* 1 GHz */
	gw.n_workers = 1;
	gw.worker[0].w = &worker;
	return 0;
}

static void
test_worker(void **state)
{
	struct gw_cycle_counts *c = &worker.cycles.counts;
	const struct gw_worker_ctl *ctl = &gw.worker[0];

	tick();
	assert_true(ctl->cycles == 0 && ctl->busy_percent == 0);
	/* 10 of 1000 rounds timed, 4 of them with packets: 3 million cycles of 10^9 / 100 */
	worker.counters.loops = 1000;
	worker.counters.rx = 20000;
	*c = (struct gw_cycle_counts){.rounds = 10, .packets = 20000};
	c->stage[GW_STAGE_rx] = 1000000;
	c->stage[GW_STAGE_decap] = 2000000;
	c->stage[GW_STAGE_idle] = 500000;
	c->stage[GW_STAGE_away] = 7000000;
	tick();
	assert_true(ctl->cycles == 150 && ctl->timed == 20000);
	assert_true(ctl->stage_cycles[GW_STAGE_rx] == 50);
	assert_true(ctl->stage_cycles[GW_STAGE_decap] == 100);
	assert_true(ctl->stage_cycles[GW_STAGE_away] == 350);
	about(ctl->busy_percent, 30);
	/* packets, none of them timed, one round that was: what is known stands */
	worker.counters.loops += 50;
	worker.counters.rx += 10;
	c->rounds++;
	tick();
	assert_true(ctl->cycles == 150 && ctl->timed == 20000);
	assert_true(ctl->busy_percent == 0);
	/* no packets any more */
	worker.counters.loops += 50;
	tick();
	assert_true(ctl->cycles == 0 && ctl->stage_cycles[GW_STAGE_decap] == 0);
}

static void
test_busy_bound(void **state)
{
	struct gw_cycle_counts *c = &worker.cycles.counts;

	/* one lucky round must not say more than all */
	worker.counters.loops = 1000;
	c->rounds = 1;
	c->stage[GW_STAGE_tx] = 900000000;
	tick();
	assert_true(gw.worker[0].busy_percent == 100);
	/* rounds, none of them timed */
	worker.counters.loops += 5;
	tick();
	assert_true(gw.worker[0].busy_percent == 100);
	/* it hangs, or does not run */
	tick();
	assert_true(gw.worker[0].busy_percent == 0);
}

static void
test_sa(void **state)
{
	struct ipsec_pcpu_ctx *ctx = aligned_alloc(64, RTE_ALIGN_CEIL(ipsec_pcpu_ctx_size(), 64));
	struct ipsec_pcpu_sa_params prm = {.dir = IPSEC_PCPU_IN,
			.spi = 0x1000,
			.algo = ipsec_pcpu_algo_find("aes128gcm16"),
			.family = AF_INET};
	struct gw_sa sa = {0}, *sas[] = {&sa};
	struct gw_tunnel tunnel = {.sas = sas, .n_sas = 1};
	struct ipsec_pcpu_sa_stats st;

	sa.sa = aligned_alloc(64, RTE_ALIGN_CEIL(ipsec_pcpu_sa_size(), 64));
	assert_int_equal(ipsec_pcpu_ctx_init(ctx), 0);
	assert_int_equal(ipsec_pcpu_sa_init(ctx, sa.sa, &prm), 0);
	gw.tunnel = &tunnel;
	gw.n_tunnels = 1;
	ipsec_pcpu_sa_count_cycles(sa.sa, 3000, 32);
	ipsec_pcpu_sa_count_cycles(sa.sa, 1000, 8);
	tick();
	assert_true(sa.cycles == 100);
	tick();
	assert_true(sa.cycles == 0);
	gw_stats_clear(&gw);
	ipsec_pcpu_sa_count_cycles(sa.sa, 70, 1);
	gw_stats_sa(&sa, &st);
	assert_int_equal(st.cycles, 70);
	assert_int_equal(st.timed, 1);
	ipsec_pcpu_sa_fini(sa.sa);
	free(sa.sa);
	free(ctx);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_sampling),
			cmocka_unit_test(test_per_read),
			cmocka_unit_test(test_away),
			cmocka_unit_test_setup(test_worker, setup),
			cmocka_unit_test_setup(test_busy_bound, setup),
			cmocka_unit_test_setup(test_sa, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
