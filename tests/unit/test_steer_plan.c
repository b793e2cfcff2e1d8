/* SPDX-License-Identifier: BSD-3-Clause */

/* app/steer/steer_plan.c: what it promises, with NICs and SAs at random. */

#include <time.h>

#include "steer_fake.h"

/** No table is written but by apply, and nothing is moved but by its plan. */
static struct gw_steer_plan
pure_plan(bool anew, uint64_t now)
{
	static struct gw_steer_sa was[MAX_SAS];
	struct gw_steer_port before = sp;
	unsigned int n_writes = nic.n_writes;
	struct gw_steer_plan plan;

	memcpy(was, sa, sizeof(was));
	plan = plan_it(anew, now);
	assert_memory_equal(was, sa, sizeof(was));
	assert_memory_equal(&before, &sp, sizeof(sp));
	assert_int_equal(n_writes, nic.n_writes);
	return plan;
}

static unsigned int
owned_by(uint16_t worker)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < sp.n_sas; i++)
		n += sp.sas[i]->queue == worker;
	return n;
}

static unsigned int
most_owned(void)
{
	unsigned int most = 0;

	for (uint16_t w = 0; w < N_WORKERS; w++)
		most = RTE_MAX(most, owned_by(w));
	return most;
}

/** All of a kind: written, and read back; the plan is what comes true. */
static void
run_table(uint16_t reta_size, bool anew)
{
	struct gw_steer_plan plan;
	unsigned int n;

	make_nic(N_WORKERS, reta_size);
	open_it(GW_STEER_AUTO, "rss");
	add_sas(64, N_WORKERS);
	plan = pure_plan(anew, 1);
	assert_int_equal(plan.stay, 0);
	assert_true(plan.changed > 0);
	if (anew)
		assert_true(plan.n_follow >= plan.conflicts);
	carry_out(&plan, 1);
	/* those that were too many for one plan come with the next */
	for (n = 0; !anew && n_right() < 64; n++) {
		plan = pure_plan(false, 2);
		assert_true(plan.n_follow > 0 && plan.n_follow <= GW_STEER_MAX_FOLLOW);
		carry_out(&plan, 2);
		assert_true(n < 4);
	}
	assert_int_equal(n_right(), 64);
	assert_true(most_owned() <= 16);
	plan = pure_plan(anew, 3);
	assert_int_equal(plan.changed + plan.conflicts + plan.n_follow + plan.stay, 0);
	gw_steer_plan_free(&plan);
	finish(NULL);
}

static void
test_table(void **state)
{
	for (unsigned int run = 0; run < 15; run++)
		for (uint16_t size = 64; size <= 512; size *= 2) {
			run_table(size, false);
			run_table(size, true);
		}
}

/** The table cannot be written: SAs follow, and all are owned in the end. */
static void
run_follow(void)
{
	make_nic(N_WORKERS, 128);
	nic.update_rc = -ENOTSUP;
	open_it(GW_STEER_AUTO, "soft");
	add_sas(64, N_WORKERS);
	for (uint64_t second = 1; second <= 30; second++) {
		struct gw_steer_plan plan;

		for (unsigned int i = 0; i < 64; i++)
			assert_false(judge(&sa[i], 1000 + random_below(9000)));
		plan = pure_plan(false, second * SECOND);
		assert_int_equal(plan.changed, 0);
		assert_int_equal(plan.stay, 0);
		carry_out(&plan, second * SECOND);
	}
	assert_int_equal(n_right(), 64);
	assert_true(sp.followed <= 64);
	for (unsigned int i = 0; i < 64; i++)
		assert_int_equal(sa[i].state, GW_STEER_VERIFIED);
	finish(NULL);
}

static void
test_follow(void **state)
{
	for (unsigned int run = 0; run < 15; run++)
		run_follow();
}

/** Plain UDP port 4500 at both ends: one flow, on one queue. */
static void
run_one_flow(unsigned int n, unsigned int n_workers, enum gw_steer_want want, bool idle)
{
	unsigned int cap = RTE_MIN((n + 1) / 2, 4 * ((n + n_workers - 1) / n_workers));

	make_nic((uint16_t)n_workers, 128);
	open_it(want, want == GW_STEER_RSS ? "rss" : "soft");
	for (unsigned int i = 0; i < n; i++) {
		set_up_sa(i, (uint16_t)(i % n_workers));
		sa[i].tuple.sport = 4500;
		sa[i].tuple.family = AF_INET;
		gw_steer_add(&sp, &sa[i]);
	}
	for (uint64_t second = 1; second < 60; second++) {
		struct gw_steer_plan plan;

		for (unsigned int i = 0; i < n && !idle; i++)
			judge(&sa[i], 1000);
		plan = pure_plan(second % 10 == 0, second * SECOND);
		carry_out(&plan, second * SECOND);
	}
	assert_true(most_owned() <= RTE_MAX(cap, (n + n_workers - 1) / n_workers));
	assert_true(n_right() >= RTE_MIN(cap, n / 2) || idle);
}

static void
test_one_flow(void **state)
{
	static const unsigned int n_sas[] = {2, 3, 4, 16, 64, 65};

	for (unsigned int i = 0; i < RTE_DIM(n_sas); i++)
		for (unsigned int w = 2; w <= 16; w *= 2) {
			run_one_flow(n_sas[i], w, GW_STEER_SOFT, false);
			finish(NULL);
			run_one_flow(n_sas[i], w, GW_STEER_RSS, false);
			finish(NULL);
			run_one_flow(n_sas[i], w, GW_STEER_RSS, true);
			finish(NULL);
		}
}

/** One flow; those that would be too many are said to stay. */
static void
test_stay(void **state)
{
	struct gw_steer_plan plan;

	run_one_flow(64, 16, GW_STEER_SOFT, false);
	assert_int_equal(most_owned(), 16);
	for (unsigned int i = 0; i < 64; i++)
		judge(&sa[i], 1000);
	plan = pure_plan(true, 1);
	assert_int_equal(plan.n_follow, 0);
	assert_int_equal(plan.stay, 48);
	gw_steer_plan_free(&plan);
	finish(NULL);
}

/** Load of a flow that goes round: never are all of them on one worker. */
static void
test_one_flow_in_turn(void **state)
{
	run_one_flow(64, 16, GW_STEER_SOFT, true);
	for (uint64_t second = 60; second < 1000; second++) {
		struct gw_steer_plan plan;

		for (unsigned int i = 0; i < 64; i++)
			judge(&sa[i], i / 4 == (second / 20) % 16 ? 1000 : 0);
		plan = pure_plan(false, second * SECOND);
		carry_out(&plan, second * SECOND);
	}
	assert_true(most_owned() <= 16);
	finish(NULL);
}

static void
set_hash(unsigned int i, uint32_t hash)
{
	sa[i].has_hash = sa[i].nic_hash = true;
	sa[i].hash = hash;
}

/** Two SAs on an entry, that may not be moved: their load does not make it change hands. */
static void
test_no_flapping(void **state)
{
	struct gw_steer_plan plan;

	make_nic(4, 128);
	open_it(GW_STEER_RSS, "rss");
	add_sas(2, 4);
	for (unsigned int i = 0; i < 2; i++) {
		set_hash(i, 0x4000 + 6);
		sa[i].paused_until_ns = UINT64_MAX;
	}
	sa[0].weight = 100;
	plan = pure_plan(false, 1);
	assert_int_equal(plan.changed, 1);
	assert_int_equal(plan.conflicts, 1);
	carry_out(&plan, 1);
	assert_int_equal(nic.reta[6], 0);
	for (unsigned int i = 0; i < 1000; i++) {
		sa[0].weight = 1000 + random_below(2000);
		sa[1].weight = 1000 + random_below(2000);
		plan = pure_plan(false, 1);
		assert_int_equal(plan.changed + plan.n_follow, 0);
		gw_steer_plan_free(&plan);
	}
	/* four times as much is another matter; and on demand there is no precedence */
	sa[0].weight = 100;
	sa[1].weight = 399;
	plan = pure_plan(false, 1);
	assert_int_equal(plan.changed, 0);
	gw_steer_plan_free(&plan);
	sa[1].weight = 401;
	plan = pure_plan(false, 1);
	assert_int_equal(plan.reta[6], 1);
	gw_steer_plan_free(&plan);
	sa[0].weight = sa[1].weight = UINT32_MAX;
	plan = pure_plan(false, 1);
	assert_int_equal(plan.changed, 0);
	gw_steer_plan_free(&plan);
	sa[1].weight = 101;
	sa[0].weight = 100;
	plan = pure_plan(true, 1);
	assert_int_equal(plan.reta[6], 1);
	gw_steer_plan_free(&plan);
	finish(NULL);
}

/** Once is no reason; on demand it is. A rule is trusted until it is given up. */
static void
test_candidates(void **state)
{
	struct gw_steer_plan plan;

	make_nic(4, 128);
	open_it(GW_STEER_SOFT, "soft");
	add_sas(8, 4);
	sa[0].state = GW_STEER_ASTRAY;
	sa[0].landed = 3;
	sa[1].strikes = 1;
	sa[1].landed = 3;
	sa[2].state = GW_STEER_ASTRAY;
	sa[3].state = GW_STEER_ASTRAY;
	sa[3].landed = 2;
	sa[3].rule = &sa[3];
	sa[4].state = GW_STEER_ASTRAY;
	sa[4].landed = 7; /* there is no such worker */
	plan = pure_plan(false, 1);
	assert_int_equal(plan.n_follow, 1);
	assert_ptr_equal(plan.follow[0].sa, &sa[0]);
	assert_int_equal(plan.follow[0].to, 3);
	gw_steer_plan_free(&plan);
	plan = pure_plan(true, 1);
	assert_int_equal(plan.n_follow, 2);
	assert_ptr_equal(plan.follow[1].sa, &sa[1]);
	gw_steer_plan_free(&plan);
	finish(NULL);
}

static void
put(unsigned int i, uint16_t queue, uint16_t landed)
{
	sa[i].queue = queue;
	sa[i].weight = 100;
	sa[i].landed = landed;
	sa[i].state = landed != GW_NONE ? GW_STEER_ASTRAY : GW_STEER_VERIFIED;
}

/** One that cannot leave makes it too many where another one was to come. */
static void
test_crowd(void **state)
{
	struct gw_steer_plan plan;

	make_nic(N_WORKERS, 128);
	open_it(GW_STEER_SOFT, "soft");
	add_sas(17, N_WORKERS); /* of which one worker gets 8 at most */
	put(0, 2, 1);
	put(1, 1, 0);
	for (unsigned int i = 2; i < 17; i++)
		put(i, i < 10 ? 0 : 1, GW_NONE);
	plan = pure_plan(true, 1);
	assert_int_equal(plan.n_follow, 0);
	assert_int_equal(plan.stay, 2);
	gw_steer_plan_free(&plan);
	/* with room for one, both */
	put(2, 5, GW_NONE);
	plan = pure_plan(true, 1);
	assert_int_equal(plan.n_follow, 2);
	assert_int_equal(plan.stay, 0);
	gw_steer_plan_free(&plan);
	finish(NULL);

	/* of two, the one with traffic comes to the idle one; with traffic on both, it does not */
	make_nic(2, 128);
	open_it(GW_STEER_SOFT, "soft");
	add_sas(2, 2);
	put(0, 0, 1);
	assert_int_equal(n_follow(), 1);
	put(1, 1, GW_NONE);
	assert_int_equal(n_follow(), 0);
	finish(NULL);
}

/** 10, 20, ... 320 s; and after a time of peace from the beginning. */
static void
test_pauses(void **state)
{
	uint64_t now = 1000 * SECOND, pause = 10 * SECOND;
	struct gw_steer_plan plan;

	make_nic(4, 128);
	open_it(GW_STEER_SOFT, "soft");
	add_sas(4, 4);
	for (unsigned int i = 0; i < 8; i++) {
		sa[0].state = GW_STEER_ASTRAY;
		sa[0].landed = (uint16_t)((sa[0].queue + 1) % 4);
		plan = pure_plan(false, now);
		assert_int_equal(carry_out(&plan, now), 1);
		assert_true(sa[0].pause_ns == pause);
		assert_true(sa[0].paused_until_ns == now + pause);
		assert_int_equal(sa[0].state, GW_STEER_UNSEEN);
		sa[0].state = GW_STEER_ASTRAY;
		sa[0].landed = (uint16_t)((sa[0].queue + 1) % 4);
		plan = pure_plan(false, now + pause - 1);
		assert_int_equal(plan.n_follow, 0);
		gw_steer_plan_free(&plan);
		plan = pure_plan(true, now + pause - 1);
		assert_int_equal(plan.n_follow, 1);
		gw_steer_plan_free(&plan);
		now += pause;
		pause = RTE_MIN(2 * pause, 320 * SECOND);
	}
	assert_int_equal(sp.followed, 8);
	gw_steer_followed(&sp, &sa[0], sa[0].paused_until_ns - 5); /* on demand */
	assert_true(sa[0].pause_ns == 320 * SECOND);
	gw_steer_followed(&sp, &sa[0], sa[0].paused_until_ns + 640 * SECOND);
	assert_true(sa[0].pause_ns == 320 * SECOND);
	gw_steer_followed(&sp, &sa[0], sa[0].paused_until_ns + 640 * SECOND + 1);
	assert_true(sa[0].pause_ns == 10 * SECOND);
	finish(NULL);
}

/** 4 queues for 16 workers: owners with a queue have entries, the hand-off does the rest. */
static void
test_fewer_queues(void **state)
{
	struct gw_steer_plan plan;

	make_nic(4, 16); /* entries are few: there are conflicts */
	port.n_workers = N_WORKERS;
	open_it(GW_STEER_AUTO, "rss");
	add_sas(64, N_WORKERS);
	for (uint64_t second = 1; second < 10; second++) {
		for (unsigned int i = 0; i < 64; i++) {
			assert_false(judge(&sa[i], 100));
			if (sa[i].queue >= 4)
				assert_int_equal(sa[i].state, GW_STEER_UNSEEN);
		}
		plan = pure_plan(second > 5, second * SECOND);
		assert_int_equal(plan.n_follow + plan.stay, 0);
		carry_out(&plan, second * SECOND);
	}
	assert_string_equal(sp.ops->name, "rss");
	assert_true(n_right() > 8); /* of 16 whose owner has a queue */
	assert_int_equal(sp.followed, 0);
	finish(NULL);
}

/** Counted right, but the table says otherwise: the counters have it. */
static void
test_counters_win(void **state)
{
	struct gw_steer_plan plan;

	make_nic(4, 128);
	open_it(GW_STEER_RSS, "rss");
	add_sas(4, 4);
	for (unsigned int i = 0; i < 4; i++) {
		set_hash(i, sa[i].queue + 1);
		sa[i].state = GW_STEER_VERIFIED;
	}
	plan = pure_plan(false, 1);
	assert_int_equal(plan.changed + plan.n_follow, 0);
	gw_steer_plan_free(&plan);
	finish(NULL);
}

static void
test_speed(void **state)
{
	struct timespec from, to;
	struct gw_steer_plan plan;
	double ms;

	make_nic(N_WORKERS, 512);
	open_it(GW_STEER_RSS, "rss");
	add_sas(1024, N_WORKERS);
	clock_gettime(CLOCK_MONOTONIC, &from);
	for (unsigned int i = 0; i < 20; i++) {
		plan = plan_it(true, 1);
		gw_steer_plan_free(&plan);
	}
	clock_gettime(CLOCK_MONOTONIC, &to);
	ms = (double)(to.tv_sec - from.tv_sec) * 1e3 + (double)(to.tv_nsec - from.tv_nsec) / 1e6;
	print_message("# a plan of 1024 SAs and 512 entries: %.3f ms\n", ms / 20);
	assert_true(ms / 20 < 10);
	finish(NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_table),
			cmocka_unit_test(test_follow),
			cmocka_unit_test(test_one_flow),
			cmocka_unit_test(test_stay),
			cmocka_unit_test(test_one_flow_in_turn),
			cmocka_unit_test(test_no_flapping),
			cmocka_unit_test(test_candidates),
			cmocka_unit_test(test_crowd),
			cmocka_unit_test(test_pauses),
			cmocka_unit_test(test_fewer_queues),
			cmocka_unit_test(test_counters_win),
			cmocka_unit_test(test_speed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
