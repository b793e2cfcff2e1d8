/* SPDX-License-Identifier: BSD-3-Clause */

/* app/steer/steer.c: which method is used, and when it is given up. */

#include "steer_fake.h"

static void
test_auto(void **state)
{
	make_nic(4, 128);
	assert_int_equal(gw_steer_method("carrots"), -1);
	open_it(GW_STEER_AUTO, "rss");
	assert_string_equal(why_not("flow"), "net_x takes no ESP rule: no rules here");
	assert_string_equal(why_not("rss"), "");
	assert_string_equal(why_not("soft"), "");
	finish(NULL);

	nic.update_rc = -ENOTSUP;
	open_it(GW_STEER_AUTO, "soft");
	assert_string_equal(why_not("rss"),
			"the redirection table cannot be written: Operation not supported");
	finish(NULL);

	/* the rest is not tried */
	rules.probe_rc = 0;
	open_it(GW_STEER_AUTO, "flow");
	assert_string_equal(why_not("rss"), "");
}

static void
check_named(enum gw_steer_want want, int rc, const char *text)
{
	assert_int_equal(gw_steer_open(&sp, &port, want, &err), rc);
	assert_string_equal(err.text, text);
	assert_string_equal(sp.ops->name, rc == 0 ? "rss" : "soft");
	assert_int_equal(sp.want, want);
}

static void
test_named(void **state)
{
	make_nic(4, 128);
	check_named(GW_STEER_FLOW, -ENOTSUP,
			"port \"wan\": steering = \"flow\": net_x takes no ESP rule: no rules here; \"auto\" takes what works");
	assert_string_equal(why_not("flow"), "net_x takes no ESP rule: no rules here");
	finish(NULL);
	/* listed or not */
	check_named(GW_STEER_TAP, -ENOTSUP,
			gw_steer_method("tap") < 0
					? "port \"wan\": steering = \"tap\": there is no such method here; \"auto\" takes what works"
					: "port \"wan\": steering = \"tap\": net_x is no TAP; \"auto\" takes what works");
	finish(NULL);
	err.text[0] = '\0';
	rules.n_probe = 0;
	check_named(GW_STEER_RSS, 0, "");
	assert_int_equal(rules.n_probe, 0);
	finish(NULL);
	nic.deaf = true;
	nic.update_rc = -EPERM;
	check_named(GW_STEER_RSS, -ENOTSUP,
			"port \"wan\": steering = \"rss\": the redirection table cannot be written: Operation not permitted; \"auto\" takes what works");
	finish(NULL);
	open_it(GW_STEER_SOFT, "soft");
}

/** A device that was reset: another key, its own table, no rules; SAs are listed still. */
static void
test_reopen(void **state)
{
	make_nic(4, 128);
	rules.probe_rc = 0;
	open_it(GW_STEER_AUTO, "flow");
	add_sas(70, 4); /* more than the list has at first */
	assert_int_equal(rules.n_add, 70);
	see(&sa[0]);
	assert_true(sa[0].nic_hash);
	gw_steer_close(&sp);
	gw_steer_close(&sp);
	assert_null(sa[0].rule);
	assert_int_equal(sp.n_sas, 70);

	random_bytes(nic.key, 40);
	open_it(GW_STEER_AUTO, "flow");
	assert_int_equal(rules.n_add, 140);
	assert_non_null(sa[69].rule);
	assert_false(sa[0].nic_hash);
	assert_true(sa[0].has_hash && sa[0].hash == real_hash(&sa[0]));
	assert_true(sa[0].fresh);

	/* and now without rules */
	gw_steer_close(&sp);
	rules.probe_rc = -ENOTSUP;
	open_it(GW_STEER_AUTO, "rss");
	steer_all();
	assert_int_equal(n_right(), 70);
}

static void
test_list(void **state)
{
	make_nic(4, 128);
	rules.probe_rc = 0;
	add_sas(3, 4); /* before it is open: listed only */
	assert_int_equal(rules.n_add, 0);
	gw_steer_moved(&sp, &sa[2], 1);
	gw_steer_del(&sp, &sa[1]);
	open_it(GW_STEER_AUTO, "flow");
	assert_int_equal(rules.n_add, 2);
	gw_steer_del(&sp, &sa[1]);
	assert_int_equal(rules.n_del, 0);
	gw_steer_del(&sp, &sa[0]);
	assert_int_equal(rules.n_del, 1);
	assert_int_equal(sp.n_sas, 1);
	assert_ptr_equal(sp.sas[0], &sa[2]);
	for (unsigned int i = 3; i < 300; i++) {
		set_up_sa(i, 0);
		assert_int_equal(gw_steer_add(&sp, &sa[i]), 0);
		if (i % 3 == 0)
			gw_steer_del(&sp, &sa[i]);
	}
	assert_int_equal(sp.n_sas, 199);
	assert_int_equal(rules.n_move, 0);
	gw_steer_moved(&sp, &sa[2], 3);
	assert_int_equal(rules.n_move, 1);
	assert_int_equal(sa[2].queue, 3);
}

static void
test_judge(void **state)
{
	make_nic(4, 128);
	open_it(GW_STEER_SOFT, "soft");
	add_sas(1, 4);
	sa[0].queue = (uint16_t)((lands(&sa[0]) + 1) % 4);
	judge_all(500); /* what was before does not count */
	assert_int_equal(sa[0].weight + sa[0].strikes, 0);
	/* 15 are too few, but they add up */
	judge_all(15);
	assert_int_equal(sa[0].quiet, 1);
	assert_int_equal(sa[0].strikes, 0);
	judge_all(15);
	assert_int_equal(sa[0].quiet, 0);
	assert_int_equal(sa[0].weight, 30);
	assert_int_equal(sa[0].strikes, 1);
	assert_int_equal(sa[0].state, GW_STEER_UNSEEN);
	/* one bad second does nothing */
	assert_int_equal(n_follow(), 0);
	judge_all(16);
	assert_int_equal(sa[0].state, GW_STEER_ASTRAY);
	assert_int_equal(sa[0].landed, lands(&sa[0]));
	judge_all(1000);
	assert_int_equal(sa[0].state, GW_STEER_ASTRAY);

	gw_steer_moved(&sp, &sa[0], lands(&sa[0]));
	assert_int_equal(sa[0].state, GW_STEER_UNSEEN);
	assert_int_equal(sa[0].landed, GW_NONE);
	judge_all(1000);
	assert_int_equal(sa[0].state, GW_STEER_UNSEEN);
	judge_all(1000);
	assert_int_equal(sa[0].state, GW_STEER_VERIFIED);
	for (unsigned int i = 0; i < 9; i++)
		judge_all(1);
	assert_int_equal(sa[0].weight, 1000);
	judge_all(1);
	assert_int_equal(sa[0].weight, 0);
	assert_int_equal(sa[0].state, GW_STEER_VERIFIED);
}

static bool
judge_part(uint64_t n, uint64_t astray)
{
	packets[0] += n;
	foreign[0] += astray;
	return gw_steer_judge(&sp, &sa[0], packets[0], foreign[0], 2, &err);
}

static void
test_majority(void **state)
{
	make_nic(4, 128);
	open_it(GW_STEER_SOFT, "soft");
	add_sas(1, 4);
	judge_part(0, 0);
	judge_part(100, 50);
	assert_int_equal(sa[0].state, GW_STEER_VERIFIED);
	for (unsigned int i = 0; i < 10; i++) {
		/* once in a while is no reason */
		judge_part(100, 51);
		assert_int_equal(sa[0].strikes, 1);
		assert_int_equal(sa[0].state, GW_STEER_VERIFIED);
		judge_part(100, 50);
		assert_int_equal(sa[0].strikes, 0);
	}
	/* counters that were begun anew */
	packets[0] = foreign[0] = 0;
	judge_part(50, 50);
	judge_part(10, 10);
	assert_int_equal(sa[0].strikes, 0);
	judge_part(UINT64_C(1) << 40, 0);
	assert_true(sa[0].weight == UINT32_MAX);
	packets[0] = 20;
	sa[0].weight = 7;
	judge_part(0, 0);
	assert_int_equal(sa[0].weight, 7);
}

/** igb takes rules and ignores them. */
static void
run_idle_rules(enum gw_steer_want want, const char *next)
{
	char text[200];

	make_nic(4, 128);
	rules.probe_rc = 0;
	open_it(want, "flow");
	add_sas(16, 4);
	misplace(&sa[3]);
	rules.n_move = 0;
	assert_false(judge_until(&sa[3], 3));
	/* once more, it may have been lost */
	assert_int_equal(rules.n_move, 1);
	assert_true(sa[3].retried);
	assert_int_equal(sa[3].state, GW_STEER_UNSEEN);
	assert_true(judge_until(&sa[3], 3));
	assert_int_equal(rules.n_move, 1);
	assert_int_equal(rules.n_close, 1);
	assert_string_equal(sp.ops->name, next);
	snprintf(text, sizeof(text),
			"rule for SA 0xa1b20003 leads to queue %u, its packets land on queue %u",
			sa[3].queue, lands(&sa[3]));
	assert_string_equal(why_not("flow"), text);
	assert_non_null(strstr(err.text, text));
	assert_non_null(strstr(err.text, next));
	for (unsigned int i = 0; i < 16; i++) {
		assert_null(sa[i].rule);
		assert_true(sa[i].fresh && !sa[i].retried);
		assert_int_equal(sa[i].state, GW_STEER_UNSEEN);
	}
	finish(NULL);
}

static void
test_idle_rules(void **state)
{
	run_idle_rules(GW_STEER_AUTO, "rss");
	run_idle_rules(GW_STEER_FLOW, "soft");
}

static void
test_good_rules(void **state)
{
	struct gw_steer_plan plan;

	make_nic(4, 128);
	rules.probe_rc = 0;
	rules.works = true;
	open_it(GW_STEER_AUTO, "flow");
	add_sas(16, 4);
	/* a rule that was lost, and comes back by being made anew */
	rules.works = false;
	misplace(&sa[3]);
	assert_false(judge_until(&sa[3], 3));
	rules.works = true;
	assert_false(judge_until(&sa[3], 3));
	assert_int_equal(sa[3].state, GW_STEER_VERIFIED);
	assert_false(sa[3].retried);
	judge_all(100);
	judge_all(100);
	assert_int_equal(sa[15].state, GW_STEER_VERIFIED);

	/* one for which there was no room is no doubt: it follows */
	rules.add_rc = -ENOSPC;
	set_up_sa(16, 0);
	gw_steer_add(&sp, &sa[16]);
	misplace(&sa[16]);
	assert_false(judge_until(&sa[16], 8));
	assert_int_equal(sa[16].state, GW_STEER_ASTRAY);
	plan = plan_it(false, 1);
	assert_int_equal(plan.n_follow, 1);
	carry_out(&plan, 1);
	assert_int_equal(sa[16].queue, lands(&sa[16]));
	assert_string_equal(sp.ops->name, "flow");
}

/** What some odd SAs do is no reason, as long as the others are right. */
static void
test_odd_sas(void **state)
{
	make_nic(4, 128);
	rules.probe_rc = 0;
	rules.works = true;
	open_it(GW_STEER_AUTO, "flow");
	add_sas(16, 4);
	judge_all(100);
	judge_all(100);
	for (unsigned int n = 0; n < 20; n++)
		for (unsigned int i = 0; i < 2; i++)
			assert_false(judge_odd(&sa[i], 100));
	assert_int_equal(sa[0].state, GW_STEER_ASTRAY);
	assert_int_equal(n_follow(), 0);
	/* those without traffic do not speak for it */
	for (unsigned int n = 0; n < 10; n++)
		for (unsigned int i = 2; i < 16; i++)
			assert_false(judge(&sa[i], 0));
	assert_true(judge_odd(&sa[0], 100));
	assert_string_equal(sp.ops->name, "rss");
}

/** The peer's NAT gave it another port, or it came as what it was not said to be. */
static void
test_remap(void **state)
{
	struct gw_steer_seen seen = {.has_hash = false};

	make_nic(4, 128);
	rules.probe_rc = 0;
	rules.works = true;
	open_it(GW_STEER_AUTO, "flow");
	add_sas(1, 4);
	sa[0].tuple.sport = 0;
	see(&sa[0]);
	judge_all(100);
	judge_all(100);
	assert_int_equal(sa[0].state, GW_STEER_VERIFIED);
	seen.tuple = sa[0].tuple;
	seen.tuple.sport = 50000; /* was not known */
	assert_true(gw_steer_saw(&sp, &sa[0], &seen, &err));
	assert_int_equal(sa[0].state, GW_STEER_VERIFIED);
	seen.tuple.sport = 50001;
	assert_true(gw_steer_saw(&sp, &sa[0], &seen, &err));
	assert_int_equal(sa[0].state, GW_STEER_UNSEEN);
	assert_true(sa[0].fresh && sa[0].seen && sa[0].has_hash && !sa[0].nic_hash);
	assert_true(sa[0].hash == real_hash(&sa[0]));
	assert_int_equal(rules.n_add + rules.n_del, 1);
	/* of another kind: its rule is made anew */
	seen.tuple.dport = 0;
	assert_true(gw_steer_saw(&sp, &sa[0], &seen, &err));
	assert_int_equal(rules.n_add, 2);
	assert_int_equal(rules.n_del, 1);
	assert_false(sa[0].has_hash);
	assert_non_null(sa[0].rule);
}

/** As the control thread does it, whatever comes of it. */
static void
plan_anything(uint64_t now)
{
	struct gw_steer_plan plan = plan_it(random_below(4) == 0, now);

	for (unsigned int i = 0; i < plan.n_follow; i++)
		assert_true(plan.follow[i].to < port.n_workers &&
				plan.follow[i].to != plan.follow[i].sa->queue);
	if (gw_steer_apply(&sp, &plan, &err) == 0)
		for (unsigned int i = 0; i < plan.n_follow; i++) {
			gw_steer_moved(&sp, plan.follow[i].sa, plan.follow[i].to);
			gw_steer_followed(&sp, plan.follow[i].sa, now);
		}
	gw_steer_plan_free(&plan);
}

static void
do_anything(unsigned int i, bool *listed, uint64_t now)
{
	switch (random_below(*listed ? 8 : 1)) {
	case 0:
		if (*listed) {
			gw_steer_del(&sp, &sa[i]);
		} else {
			set_up_sa(i, (uint16_t)random_below(port.n_workers));
			assert_int_equal(gw_steer_add(&sp, &sa[i]), 0);
		}
		*listed = !*listed;
		break;
	case 1:
		gw_steer_moved(&sp, &sa[i], (uint16_t)random_below(port.n_workers));
		break;
	case 2:
		sa[i].tuple.sport = (uint16_t)random_below(UINT16_MAX);
		break;
	case 3:
		see(&sa[i]);
		break;
	case 4:
		plan_anything(now);
		break;
	default:
		judge(&sa[i], random_below(100));
	}
}

static void
check_all(void)
{
	assert_non_null(sp.ops);
	assert_true((sp.state != NULL) == (sp.ops == &gw_steer_flow));
	for (unsigned int i = 0; i < sp.n_sas; i++) {
		assert_true(sp.sas[i]->rule == NULL || sp.ops == &gw_steer_flow);
		assert_true(sp.sas[i]->has_hash || !sp.sas[i]->nic_hash);
		assert_true(sp.sas[i]->state != GW_STEER_ASTRAY || sp.sas[i]->strikes >= 2);
	}
	if (sp.rss.has_reta)
		assert_memory_equal(sp.rss.reta, nic.reta, nic.reta_size * sizeof(nic.reta[0]));
}

/** Anything in any order, with NICs that fail in any way, and resets. */
static void
test_any_order(void **state)
{
	for (unsigned int run = 0; run < 100; run++) {
		bool listed[40] = {false};

		make_nic((uint16_t)(1 + random_below(16)), 64);
		port.n_workers = port.n_rxq + random_below(2) * 3;
		for (unsigned int n = 0; n < 400; n++) {
			if (n % 100 == 0) {
				gw_steer_close(&sp);
				rules.probe_rc = random_below(2) == 0 ? 0 : -ENOTSUP;
				rules.works = random_below(2) == 0;
				nic.update_rc = random_below(3) == 0 ? -EIO : 0;
				nic.lies = random_below(2) == 0;
				nic.slips = random_below(8) == 0;
				nic.other_key = random_below(4) == 0;
				gw_steer_open(&sp, &port, random_below(GW_STEER_SOFT + 1), &err);
			}
			if (n % 100 == 50 && random_below(4) == 0)
				nic.update_rc = -EIO;
			do_anything(n % 40, &listed[n % 40], n * SECOND);
			check_all();
		}
		finish(NULL);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test_teardown(test_auto, finish),
			cmocka_unit_test_teardown(test_named, finish),
			cmocka_unit_test_teardown(test_reopen, finish),
			cmocka_unit_test_teardown(test_list, finish),
			cmocka_unit_test_teardown(test_judge, finish),
			cmocka_unit_test_teardown(test_majority, finish),
			cmocka_unit_test(test_idle_rules),
			cmocka_unit_test_teardown(test_good_rules, finish),
			cmocka_unit_test_teardown(test_odd_sas, finish),
			cmocka_unit_test_teardown(test_remap, finish),
			cmocka_unit_test(test_any_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
