/* SPDX-License-Identifier: BSD-3-Clause */

/* app/steer/steer_esp.c: what a NIC hashes of plain ESP, as packets show it. */

#include "steer_fake.h"

static const struct ipsec_pcpu_range all_spis = {
		.start = 0xc1234567, .min = 0xc0000000, .max = 0xcfffffff};

/** SAs in plain ESP, with random SPIs; the odd ones IPv6. */
static void
add_plain(unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		set_up_sa(i, (uint16_t)(i % port.n_workers));
		sa[i].spi = 0xc0000000 | random_below(0x10000000);
		sa[i].tuple.sport = sa[i].tuple.dport = 0;
		assert_int_equal(gw_steer_add(&sp, &sa[i]), 0);
	}
}

static void
open_nic(enum gw_steer_esp_by esp, const char *method)
{
	make_nic(16, 128);
	nic.esp = esp;
	if (strcmp(method, "soft") == 0)
		nic.update_rc = -ENOTSUP;
	open_it(GW_STEER_AUTO, method);
	add_plain(64);
}

static void
check_by(enum gw_steer_esp_by ip4, enum gw_steer_esp_by ip6)
{
	assert_int_equal(sp.rss.esp4.by, ip4);
	assert_int_equal(sp.rss.esp6.by, ip6);
}

static void
see_all(void)
{
	for (unsigned int i = 0; i < sp.n_sas; i++)
		assert_true(see(&sa[i]));
}

/** Queues of SPIs that were never seen. */
static void
check_predicts(uint8_t family)
{
	struct gw_steer_sa other = sa[family == AF_INET ? 0 : 1];
	uint16_t queue;

	for (unsigned int i = 0; i < 200; i++) {
		struct ipsec_pcpu_range r = all_spis;
		uint16_t to = (uint16_t)(i % nic.n_queues);

		other.spi = (uint32_t)(rnd() >> 32);
		assert_true(gw_steer_esp_queue(&sp, &other.tuple, other.spi, &queue));
		assert_int_equal(queue, lands(&other));
		r.start = other.spi;
		other.spi = gw_steer_esp_find(&sp, &other.tuple, to, &r);
		assert_in_range(other.spi, r.min, r.max);
		assert_int_equal(lands(&other), to);
	}
}

static void
check_no_prediction(void)
{
	uint16_t queue;

	for (unsigned int i = 0; i < 2; i++) {
		assert_false(gw_steer_esp_queue(&sp, &sa[i].tuple, sa[i].spi, &queue));
		assert_int_equal(gw_steer_esp_find(&sp, &sa[i].tuple, 3, &all_spis), 0);
	}
}

static void
run_learn(enum gw_steer_esp_by esp, const char *method)
{
	struct ipsec_pcpu_tuple udp;
	uint16_t queue;

	open_nic(esp, method);
	check_no_prediction();
	assert_true(gw_steer_esp_is_open(&sp, AF_INET));
	/* of one SA it might be by accident */
	for (unsigned int i = 0; i < 20; i++)
		assert_true(see(&sa[0]));
	check_by(GW_STEER_ESP_UNKNOWN, GW_STEER_ESP_UNKNOWN);
	assert_false(sa[4].has_hash);
	assert_true(see(&sa[2]));
	check_by(esp, GW_STEER_ESP_UNKNOWN);
	assert_false(gw_steer_esp_is_open(&sp, AF_INET));
	assert_true(gw_steer_esp_is_open(&sp, AF_INET6));
	check_predicts(AF_INET);
	/* also of those that are there, before their first packet */
	assert_true(sa[4].has_hash && !sa[4].nic_hash);
	assert_true(sa[4].hash == real_hash(&sa[4]));
	assert_false(sa[5].has_hash);
	see_all();
	check_by(esp, esp);
	check_predicts(AF_INET6);
	udp = sa[0].tuple;
	udp.sport = udp.dport = 4500;
	assert_false(gw_steer_esp_queue(&sp, &udp, sa[0].spi, &queue));
	assert_int_equal(gw_steer_esp_find(&sp, &udp, 3, &all_spis), 0);
	assert_true(sp.rss.has_key);
	finish(NULL);
}

static void
test_learn(void **state)
{
	run_learn(GW_STEER_ESP_SPI, "rss");
	run_learn(GW_STEER_ESP_ADDRS, "rss");
	run_learn(GW_STEER_ESP_SPI, "soft");
	run_learn(GW_STEER_ESP_ADDRS, "soft");
}

/** The table is made for SAs that have sent nothing yet. */
static void
test_table(void **state)
{
	open_nic(GW_STEER_ESP_SPI, "rss");
	for (unsigned int i = 0; i < 4; i++)
		see(&sa[i]);
	for (unsigned int i = 0; i < 5 && n_right() < sp.n_sas; i++)
		steer_all();
	assert_int_equal(n_right(), sp.n_sas);
}

/** Another key, or another formula: nothing fits, however many are seen; the key is not blamed. */
static void
test_never(void **state)
{
	for (unsigned int i = 0; i < 3; i++) {
		open_nic(i == 0                          ? GW_STEER_ESP_UNKNOWN
						: i == 1 ? GW_STEER_ESP_SPI
							 : GW_STEER_ESP_ADDRS,
				"rss");
		nic.other_key = i > 0;
		for (unsigned int n = 0; n < 50; n++)
			see_all();
		check_by(GW_STEER_ESP_UNKNOWN, GW_STEER_ESP_UNKNOWN);
		check_no_prediction();
		assert_true(sp.rss.has_key);
		finish(NULL);
	}
	/* nor without hashes, or a key that can be read */
	open_nic(GW_STEER_ESP_SPI, "rss");
	nic.no_hash = true;
	see_all();
	check_by(GW_STEER_ESP_UNKNOWN, GW_STEER_ESP_UNKNOWN);
	finish(NULL);
	make_nic(16, 128);
	nic.esp = GW_STEER_ESP_SPI;
	nic.hash_rc = -ENOTSUP;
	open_it(GW_STEER_AUTO, "rss");
	add_plain(64);
	see_all();
	check_by(GW_STEER_ESP_UNKNOWN, GW_STEER_ESP_UNKNOWN);
	assert_false(gw_steer_esp_is_open(&sp, AF_INET));
}

/** The port is reset, and has the key that it had, or another. */
static void
test_reset(void **state)
{
	for (unsigned int i = 0; i < 2; i++) {
		open_nic(GW_STEER_ESP_ADDRS, "rss");
		see_all();
		gw_steer_close(&sp);
		check_no_prediction();
		if (i == 1)
			random_bytes(nic.key, sizeof(nic.key));
		open_it(GW_STEER_AUTO, "rss");
		check_by(GW_STEER_ESP_UNKNOWN, GW_STEER_ESP_UNKNOWN);
		check_no_prediction();
		assert_false(sa[0].has_hash);
		see_all();
		check_by(GW_STEER_ESP_ADDRS, GW_STEER_ESP_ADDRS);
		check_predicts(AF_INET);
		finish(NULL);
	}
}

/** UDP shows that the key is another one: then nothing is predicted by it. */
static void
test_key_distrusted(void **state)
{
	open_nic(GW_STEER_ESP_SPI, "rss");
	see_all();
	set_up_sa(64, 0);
	assert_int_equal(gw_steer_add(&sp, &sa[64]), 0);
	nic.other_key = true;
	assert_false(see(&sa[64]));
	check_by(GW_STEER_ESP_UNKNOWN, GW_STEER_ESP_UNKNOWN);
	check_no_prediction();
	nic.other_key = false;
	for (unsigned int i = 0; i < 64; i++)
		see(&sa[i]);
	check_by(GW_STEER_ESP_UNKNOWN, GW_STEER_ESP_UNKNOWN);
}

/** Seen with a hash that is none of its own. */
static void
see_odd(struct gw_steer_sa *s)
{
	struct gw_steer_seen seen = {.tuple = s->tuple, .has_hash = true, .hash = 0x12345678};

	assert_true(gw_steer_saw(&sp, s, &seen, &err));
}

/** One SA in eight is hashed otherwise; then the NIC hashes otherwise. */
static void
test_doubt(void **state)
{
	open_nic(GW_STEER_ESP_SPI, "soft");
	for (unsigned int n = 0; n < 100; n++)
		for (unsigned int i = 0; i < 16; i += 2) {
			if (i == 6)
				see_odd(&sa[i]);
			else
				assert_true(see(&sa[i]));
		}
	check_by(GW_STEER_ESP_SPI, GW_STEER_ESP_UNKNOWN);
	nic.esp = GW_STEER_ESP_ADDRS;
	for (unsigned int i = 0; i < 6; i += 2)
		see(&sa[i]);
	check_by(GW_STEER_ESP_UNKNOWN, GW_STEER_ESP_UNKNOWN);
	check_no_prediction();
	assert_false(sa[40].has_hash);
	see_all();
	check_by(GW_STEER_ESP_ADDRS, GW_STEER_ESP_ADDRS);
	check_predicts(AF_INET);
}

/** The table cannot be written, and is not used either: packets land elsewhere. */
static void
test_table_lies(void **state)
{
	open_nic(GW_STEER_ESP_SPI, "soft");
	see_all();
	for (unsigned int i = 0; i < 64; i++)
		gw_steer_moved(&sp, &sa[i], lands(&sa[i]));
	judge_all(0);
	judge_all(100);
	assert_int_equal(sa[0].state, GW_STEER_VERIFIED);
	/* one SA says nothing */
	for (unsigned int n = 0; n < 10; n++)
		judge_odd(&sa[7], 100);
	assert_false(sp.rss.lies);
	for (unsigned int n = 0; n < 10; n++)
		for (unsigned int i = 0; i < 64; i++)
			assert_false(judge_odd(&sa[i], 100));
	assert_true(sp.rss.lies);
	assert_string_equal(sp.ops->name, "soft");
	check_no_prediction();
	see_all();
	check_by(GW_STEER_ESP_UNKNOWN, GW_STEER_ESP_UNKNOWN);
}

/** Where it is not RSS that leads packets to their owners nothing is to be chosen. */
static void
test_other_methods(void **state)
{
	make_nic(16, 128);
	nic.esp = GW_STEER_ESP_SPI;
	rules.probe_rc = 0;
	open_it(GW_STEER_AUTO, "flow");
	add_plain(8);
	see_all();
	check_by(GW_STEER_ESP_SPI, GW_STEER_ESP_SPI);
	check_no_prediction();
	finish(NULL);
	make_nic(16, 128);
	nic.esp = GW_STEER_ESP_SPI;
	port.n_workers = 17;
	open_it(GW_STEER_AUTO, "rss");
	add_plain(8);
	see_all();
	check_no_prediction();
	assert_false(gw_steer_esp_is_open(&sp, AF_INET));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_learn),
			cmocka_unit_test_teardown(test_table, finish),
			cmocka_unit_test_teardown(test_never, finish),
			cmocka_unit_test(test_reset),
			cmocka_unit_test_teardown(test_key_distrusted, finish),
			cmocka_unit_test_teardown(test_doubt, finish),
			cmocka_unit_test_teardown(test_table_lies, finish),
			cmocka_unit_test_teardown(test_other_methods, finish),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
