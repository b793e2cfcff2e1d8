/* SPDX-License-Identifier: BSD-3-Clause */

/* app/steer/steer_rss.c, and what steer.c makes of hashes, against NICs that are played here. */

#include "steer_fake.h"

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
	nic.garbles = true;
	check_read("the redirection table reads back other than it was written", true, true, false);
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

/** Or one SA does: its peer sends it from several ports. */
static void
test_odd_sa(void **state)
{
	make_nic(4, 512);
	open_it(GW_STEER_AUTO, "rss");
	add_sas(16, 4);
	for (unsigned int i = 0; i < 16; i++)
		see(&sa[i]);
	while (n_right() < 16)
		steer_all(); /* who shares an entry follows */
	judge_all(100);
	judge_all(100);
	for (unsigned int n = 0; n < 20; n++)
		assert_false(judge_odd(&sa[5], 100));
	assert_int_equal(sa[5].state, GW_STEER_ASTRAY);
	assert_string_equal(sp.ops->name, "rss");
}

/** It comes from another port. */
static void
hop(struct gw_steer_sa *s, uint64_t now)
{
	struct gw_steer_plan plan;
	struct gw_steer_sa next = *s;
	struct gw_steer_seen seen = {.has_hash = true};

	next.tuple.sport ^= (uint16_t)(1 + random_below(16383));
	seen.tuple = next.tuple;
	seen.hash = real_hash(&next);
	assert_true(gw_steer_saw(&sp, s, &seen, &err));
	plan = plan_it(false, now);
	carry_out(&plan, now);
}

/** A peer that goes from port to port: the table is not made anew for it again and again. */
static void
test_restless(void **state)
{
	unsigned int writes;

	make_nic(4, 128);
	open_it(GW_STEER_AUTO, "rss");
	add_sas(16, 4);
	for (unsigned int i = 0; i < 16; i++)
		see(&sa[i]);
	steer_all();
	writes = sp.rss.writes;
	for (unsigned int n = 0; n < 1000; n++)
		hop(&sa[0], n * SECOND);
	/* for three changes, and its entry goes back to where it was */
	assert_true(sp.rss.writes <= writes + 4);
	/* it has come to rest */
	for (unsigned int n = 0; n < 200; n++)
		see(&sa[0]);
	steer_all();
	judge_all(100);
	judge_all(100);
	assert_int_equal(sa[0].state, GW_STEER_VERIFIED);
	/* and now and then another port is nothing */
	for (unsigned int n = 0; n < 10; n++) {
		hop(&sa[0], (2000 + n) * SECOND);
		steer_all();
		assert_int_equal(lands(&sa[0]), sa[0].queue);
		for (unsigned int k = 0; k < 60; k++)
			see(&sa[0]);
	}
}

/** Entries that SAs have left are as the device had them. */
static void
test_home(void **state)
{
	uint16_t home[128];

	make_nic(4, 128);
	memcpy(home, nic.reta, sizeof(home));
	open_it(GW_STEER_AUTO, "rss");
	add_sas(16, 4);
	for (unsigned int i = 0; i < 16; i++)
		see(&sa[i]);
	steer_all();
	assert_true(memcmp(home, nic.reta, sizeof(home)) != 0);
	for (unsigned int i = 1; i < 16; i++)
		gw_steer_del(&sp, &sa[i]);
	steer_all();
	for (unsigned int i = 0; i < 128; i++)
		assert_int_equal(nic.reta[i], i == (sa[0].hash & 127) ? sa[0].queue : home[i]);
	gw_steer_del(&sp, &sa[0]);
	steer_all();
	assert_memory_equal(nic.reta, home, sizeof(home));
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
	/* of one without a hash nobody knows whether it is one */
	set_up_sa(2, 0);
	sa[2].tuple.dport = 0;
	gw_steer_add(&sp, &sa[2]);
	sa[2].state = GW_STEER_ASTRAY;
	sa[2].fresh = false;
	steer_all();
	assert_int_equal(sa[0].state, GW_STEER_VERIFIED);
	assert_int_equal(sa[2].state, GW_STEER_UNSEEN);
	assert_true(sa[2].fresh);
	gw_steer_del(&sp, &sa[2]);
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
	/* it may have been busy */
	for (unsigned int i = 0; i < 2; i++) {
		assert_true(gw_steer_apply(&sp, &plan, &err) < 0);
		assert_non_null(strstr(err.text, text));
		assert_non_null(strstr(err.text, "; it will be tried again"));
		assert_string_equal(sp.ops->name, "rss");
		gw_steer_plan_free(&plan);
		plan = plan_it(false, 1);
		assert_true(plan.changed > 0);
	}
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
	sa[0].state = GW_STEER_VERIFIED;
	assert_true(sa[0].has_hash && sa[1].has_hash);
	assert_false(see(&sa[0]));
	snprintf(text, sizeof(text),
			"SA 0xa1b20000: the NIC's hash is 0x%08x, by its key it would be 0x%08x",
			sa[0].hash, hash);
	assert_non_null(strstr(err.text, text));
	assert_false(sp.rss.has_key);
	assert_int_equal(sa[0].state, GW_STEER_UNSEEN); /* it was not what it was taken for */
	assert_true(sa[0].has_hash && sa[0].nic_hash && sa[2].has_hash);
	assert_false(sa[1].has_hash || sa[3].has_hash);
	assert_false(gw_steer_predict(&sp, &sa[0].tuple, &hash, &queue, &err));
	assert_string_equal(err.text, "packets are not hashed with the key that was read");
	/* what the NIC says is learnt still, and serves */
	assert_true(see(&sa[1]) && see(&sa[2]) && see(&sa[3]));
	steer_all();
	assert_int_equal(n_right(), 4);
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
			cmocka_unit_test_teardown(test_table_lies, finish),
			cmocka_unit_test_teardown(test_odd_sa, finish),
			cmocka_unit_test_teardown(test_restless, finish),
			cmocka_unit_test_teardown(test_home, finish),
			cmocka_unit_test_teardown(test_commit, finish),
			cmocka_unit_test(test_commit_fails),
			cmocka_unit_test_teardown(test_odd_hash, finish),
			cmocka_unit_test_teardown(test_predict, finish),
			cmocka_unit_test_teardown(test_describe, finish),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
