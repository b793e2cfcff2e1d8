/* SPDX-License-Identifier: BSD-3-Clause */

/* app/steer/steer.c and steer_rss.c against NICs that are played here. */

#include "steer_fake.h"

static const char *
why_not(const char *method)
{
	int i = gw_steer_method(method);

	assert_true(i >= 0);
	return sp.why_not[i];
}

static void
judge_all(unsigned int n)
{
	for (unsigned int i = 0; i < sp.n_sas; i++)
		assert_false(judge(&sa[i], n));
}

/** A packet of an SA with the hash that the NIC makes of it. */
static bool
see(struct gw_steer_sa *s)
{
	struct gw_steer_seen seen = {.tuple = s->tuple, .has_hash = !nic.no_hash};

	seen.hash = real_hash(s);
	return gw_steer_saw(&sp, s, &seen, &err);
}

/** Make the table, so that SAs without conflicts are right. */
static void
steer_all(void)
{
	struct gw_steer_plan plan = plan_it(true, 1);

	carry_out(&plan, 1);
}

/** How many a plan would move. */
static unsigned int
n_follow(void)
{
	struct gw_steer_plan plan = plan_it(false, 1);
	unsigned int n = plan.n_follow;

	gw_steer_plan_free(&plan);
	return n;
}

/* What can be read */

static void
check_read(const char *text, bool has_key, bool has_reta, bool writable)
{
	sp.port = &port;
	gw_steer_rss_read(&sp);
	assert_string_equal(sp.rss.text, text);
	assert_int_equal(sp.rss.has_key, has_key);
	assert_int_equal(sp.rss.has_reta, has_reta);
	assert_int_equal(sp.rss.writable, writable);
	assert_int_equal(sp.rss.writes, 0);
}

static void
test_read(void **state)
{
	static const uint16_t sizes[] = {16, 32, 64, 128, 512, 4096};

	for (unsigned int i = 0; i < RTE_DIM(sizes); i++) {
		make_nic(16, sizes[i]);
		nic.key_size = i % 2 == 0 ? 40 : 52;
		check_read("", true, true, true);
		assert_int_equal(sp.rss.reta_size, sizes[i]);
		assert_memory_equal(sp.rss.reta, nic.reta, sizes[i] * sizeof(nic.reta[0]));
		assert_memory_equal(sp.rss.key, nic.key, 40);
		assert_true(sp.rss.hashes_udp4 && sp.rss.hashes_udp6);
	}
	nic.rss_hf = RTE_ETH_RSS_NONFRAG_IPV4_UDP;
	check_read("", true, true, true);
	assert_false(sp.rss.hashes_udp6);
	nic.rss_hf = RTE_ETH_RSS_IPV4;
	check_read("UDP ports are not hashed", true, true, true);
}

static void
test_read_key(void **state)
{
	make_nic(4, 128);
	nic.key_size = 16;
	check_read("the hash key cannot be read: 16 bytes of 40", false, true, true);
	make_nic(4, 128);
	nic.hash_rc = -ENOTSUP;
	check_read("the hash key cannot be read: Operation not supported", false, true, true);
	make_nic(4, 128);
	memset(nic.key, 0, sizeof(nic.key));
	check_read("the hash key cannot be read: all its bytes are 0", false, true, true);
	memset(nic.key, 0xff, sizeof(nic.key)); /* all source ports alike, but for parity */
	check_read("the hash key is weak: source ports reach 2 of 128 entries", true, true, true);
	nic.update_rc = -EIO;
	check_read("the redirection table cannot be written: Input/output error; the hash key is weak: source ports reach 2 of 128 entries",
			true, true, false);
}

static void
test_read_table(void **state)
{
	make_nic(4, 128);
	nic.update_rc = -ENOTSUP;
	check_read("the redirection table cannot be written: Operation not supported", true, true,
			false);
	make_nic(4, 128);
	nic.query_rc = -ENOTSUP;
	check_read("the redirection table cannot be read: Operation not supported", true, false,
			false);
	make_nic(4, 0);
	check_read("net_x has no redirection table", true, false, false);
	make_nic(4, 96);
	check_read("a redirection table of 96 entries is of no use", true, false, false);
	make_nic(4, 8192);
	check_read("a redirection table of 8192 entries is of no use", true, false, false);
	make_nic(4, 128);
	nic.info_rc = -ENODEV;
	check_read("net_x does not tell what it has: No such device", false, false, false);
}

static void
test_one_queue(void **state)
{
	uint16_t queue;
	uint32_t hash;

	make_nic(1, 128);
	open_it(GW_STEER_AUTO, "soft");
	assert_int_equal(nic.n_reads + nic.n_writes, 0);
	assert_string_equal(sp.rss.text, "the port has one queue");
	assert_string_equal(why_not("rss"), "the port has one queue");
	add_sas(4, 1);
	judge_all(0);
	judge_all(100);
	assert_int_equal(sa[3].state, GW_STEER_VERIFIED);
	assert_false(gw_steer_predict(&sp, &sa[0].tuple, &hash, &queue, &err));
	assert_string_equal(err.text, "the port has one queue");
}

/* The choice */

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

/* The judgement */

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
}

/** The first SA that is astray, judged until something is done about it. */
static bool
judge_until(struct gw_steer_sa *s, unsigned int times)
{
	for (unsigned int i = 0; i + 1 < times; i++)
		assert_false(judge(s, 100));
	return judge(s, 100);
}

static void
misplace(struct gw_steer_sa *s)
{
	gw_steer_moved(&sp, s, (uint16_t)((nic.spread[real_hash(s) % nic.reta_size] + 1) % 4));
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

/* RSS */

static void
test_table_lies(void **state)
{
	make_nic(4, 128);
	nic.lies = true;
	open_it(GW_STEER_AUTO, "rss");
	add_sas(16, 4);
	for (unsigned int i = 0; i < 16; i++)
		misplace(&sa[i]);
	steer_all();
	assert_int_equal(sp.rss.writes, 1);
	/* its tuple was not seen: it may not be that of its packets */
	assert_false(judge_until(&sa[5], 5));
	assert_true(see(&sa[5]));
	assert_true(judge(&sa[5], 100));
	assert_string_equal(sp.ops->name, "soft");
	assert_non_null(strstr(why_not("rss"), "table entry for SA 0xa1b20005 leads to queue "));
	/* with the hand-off: where they land */
	assert_false(judge_until(&sa[5], 3));
	assert_int_equal(n_follow(), 1);
}

static void
test_commit(void **state)
{
	struct gw_steer_plan plan;
	unsigned int n = 0;

	make_nic(4, 512);
	open_it(GW_STEER_RSS, "rss");
	add_sas(1, 4);
	see(&sa[0]);
	misplace(&sa[0]);
	assert_false(judge_until(&sa[0], 5));
	assert_int_equal(sa[0].state, GW_STEER_ASTRAY); /* no entry of its own: no doubt */
	steer_all();
	assert_int_equal(nic.n_groups, 1); /* of 8 */
	assert_int_equal(sp.rss.writes, 1);
	assert_true(sa[0].fresh);
	assert_int_equal(sa[0].strikes, 0);
	assert_false(judge_until(&sa[0], 2));
	assert_int_equal(sa[0].state, GW_STEER_VERIFIED);
	n = nic.n_writes;
	plan = plan_it(true, 1);
	carry_out(&plan, 1);
	assert_int_equal(nic.n_writes, n); /* nothing to do */

	/* neighbours of what is changed stay as they are judged */
	set_up_sa(1, 0);
	gw_steer_add(&sp, &sa[1]);
	misplace(&sa[1]);
	steer_all();
	assert_int_equal(sa[0].state, GW_STEER_VERIFIED);
	assert_int_equal(n_right(), 2);
}

static void
run_commit_fails(int rc, bool slips, const char *text)
{
	struct gw_steer_plan plan;

	make_nic(4, 128);
	open_it(GW_STEER_AUTO, "rss");
	add_sas(4, 4);
	for (unsigned int i = 0; i < 4; i++)
		misplace(&sa[i]);
	plan = plan_it(false, 1);
	nic.update_rc = rc;
	nic.slips = slips;
	assert_true(gw_steer_apply(&sp, &plan, &err) < 0);
	gw_steer_plan_free(&plan);
	assert_string_equal(why_not("rss"), text);
	assert_string_equal(sp.ops->name, "soft");
	assert_non_null(strstr(err.text, text));
	/* known is what is there */
	assert_memory_equal(sp.rss.reta, nic.reta, 128 * sizeof(nic.reta[0]));
	finish(NULL);
}

static void
test_commit_fails(void **state)
{
	run_commit_fails(-EBUSY, false,
			"the redirection table could not be written: Device or resource busy");
	run_commit_fails(0, true, "the redirection table could not be written: Input/output error");
}

static void
test_odd_hash(void **state)
{
	char text[200];
	uint32_t hash;
	uint16_t queue;

	make_nic(4, 128);
	open_it(GW_STEER_RSS, "rss");
	add_sas(4, 4);
	nic.no_hash = true;
	assert_true(see(&sa[1]));
	nic.no_hash = false;
	assert_true(see(&sa[2]));
	nic.other_key = true;
	hash = sa[0].hash;
	assert_true(sa[0].has_hash && sa[1].has_hash);
	assert_false(see(&sa[0]));
	snprintf(text, sizeof(text),
			"SA 0xa1b20000: the NIC's hash is 0x%08x, by its key it would be 0x%08x",
			sa[0].hash, hash);
	assert_non_null(strstr(err.text, text));
	assert_false(sp.rss.has_key);
	assert_true(sa[0].has_hash && sa[0].nic_hash && sa[2].has_hash);
	assert_false(sa[1].has_hash || sa[3].has_hash);
	assert_false(gw_steer_predict(&sp, &sa[0].tuple, &hash, &queue, &err));
	assert_string_equal(err.text, "packets are not hashed with the key that was read");
	/* what the NIC says is learnt still, and serves */
	assert_true(see(&sa[1]) && see(&sa[2]) && see(&sa[3]));
	steer_all();
	assert_int_equal(n_right(), 4);
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

static void
check_no_predict(const struct ipsec_pcpu_tuple *tuple, const char *text)
{
	uint16_t queue;
	uint32_t hash;

	assert_false(gw_steer_predict(&sp, tuple, &hash, &queue, &err));
	assert_string_equal(err.text, text);
	assert_false(gw_steer_predict(&sp, tuple, &hash, &queue, NULL));
}

static void
test_predict(void **state)
{
	struct ipsec_pcpu_tuple tuple;
	uint32_t hash;
	uint16_t queue;

	make_nic(16, 128);
	open_it(GW_STEER_AUTO, "rss");
	for (unsigned int i = 0; i < 100; i++) {
		tuple = random_tuple(i % 2 == 0 ? AF_INET : AF_INET6);
		tuple.sport |= 1;
		tuple.dport |= 1;
		assert_true(gw_steer_predict(&sp, &tuple, &hash, &queue, NULL));
		assert_true(hash == softrss(nic.key, &tuple));
		assert_int_equal(queue, nic.reta[hash % 128]);
	}
	tuple.dport = 0;
	check_no_predict(&tuple, "without ports it is not spread by them");
	finish(NULL);
	nic.rss_hf = RTE_ETH_RSS_NONFRAG_IPV4_UDP;
	open_it(GW_STEER_AUTO, "rss");
	tuple.dport = 1;
	check_no_predict(&tuple, "the NIC does not hash UDP ports over IPv6");
	finish(NULL);
	nic.query_rc = -EIO;
	open_it(GW_STEER_AUTO, "soft");
	check_no_predict(&tuple, "the redirection table cannot be read: Input/output error");
}

static void
check_text(const struct gw_steer_sa *s, const char *suffix)
{
	char text[100] = "old", expected[100] = "";
	uint32_t hash = real_hash(s);

	if (suffix != NULL)
		snprintf(expected, sizeof(expected), "hash 0x%08x -> entry %u -> queue %u%s", hash,
				hash % 128, nic.reta[hash % 128], suffix);
	sp.ops->describe(&sp, s, text, sizeof(text));
	assert_string_equal(text, expected);
}

static void
test_describe(void **state)
{
	make_nic(4, 128);
	open_it(GW_STEER_AUTO, "rss");
	add_sas(2, 4);
	check_text(&sa[0], " (by its tuple)");
	see(&sa[0]);
	check_text(&sa[0], "");
	sa[1].has_hash = false;
	check_text(&sa[1], NULL);
	finish(NULL);
	open_it(GW_STEER_SOFT, "soft");
	check_text(&sa[0], NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_read),
			cmocka_unit_test(test_read_key),
			cmocka_unit_test(test_read_table),
			cmocka_unit_test_teardown(test_one_queue, finish),
			cmocka_unit_test_teardown(test_auto, finish),
			cmocka_unit_test_teardown(test_named, finish),
			cmocka_unit_test_teardown(test_reopen, finish),
			cmocka_unit_test_teardown(test_list, finish),
			cmocka_unit_test_teardown(test_judge, finish),
			cmocka_unit_test_teardown(test_majority, finish),
			cmocka_unit_test(test_idle_rules),
			cmocka_unit_test_teardown(test_good_rules, finish),
			cmocka_unit_test_teardown(test_table_lies, finish),
			cmocka_unit_test_teardown(test_commit, finish),
			cmocka_unit_test(test_commit_fails),
			cmocka_unit_test_teardown(test_odd_hash, finish),
			cmocka_unit_test_teardown(test_remap, finish),
			cmocka_unit_test_teardown(test_predict, finish),
			cmocka_unit_test_teardown(test_describe, finish),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
