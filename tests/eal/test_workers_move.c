/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * SAs that change their worker while packets are under way, on the workers of
 * test_workers.c: nothing is lost, nothing comes twice, no number is used twice (the
 * peer's window would refuse it), and what an SA gets stays in order.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <rte_eal.h>

#include "workers_site.h"

#define N SITE_WORKERS

static void
move(enum ipsec_pcpu_dir dir, unsigned int pair, unsigned int to)
{
	struct gw_error err;

	if (gw_sa_move(&site.gw, &site.gw.tunnel[0], dir, site_spi(dir, pair, 0), to, &err) < 0)
		fail_msg("%s", err.text);
}

static struct ipsec_pcpu_sa_stats
stats(enum ipsec_pcpu_dir dir, unsigned int pair)
{
	struct ipsec_pcpu_sa_stats st;

	ipsec_pcpu_sa_stats(gw_sa_find(&site.gw, site_spi(dir, pair, 0))->sa, &st);
	return st;
}

static unsigned int
worker_of(enum ipsec_pcpu_dir dir, unsigned int pair)
{
	return gw_sa_find(&site.gw, site_spi(dir, pair, 0))->worker;
}

/** Each SA's packets arrive on one queue, whoever owns it. */
static void
send_in(unsigned int packets)
{
	for (unsigned int i = 0; i < packets; i++)
		for (unsigned int q = 0; q < N; q++)
			site_send_in(site_flow_on(q), site_spi(IPSEC_PCPU_IN, q, 0), q);
}

static void
test_inbound(void **state)
{
	uint64_t foreign = 0;

	site_start(&site_conf_full);
	site.log.unordered = true; /* a flow comes out where its SA is just now */
	for (unsigned int i = 0; i < 150; i++) {
		send_in(2);
		move(IPSEC_PCPU_IN, pkt_random() % N, pkt_random() % N);
	}
	site_settle();
	for (unsigned int p = 0; p < N; p++) {
		struct ipsec_pcpu_sa_stats st = stats(IPSEC_PCPU_IN, p);

		assert_int_equal(st.packets, 300);
		/* not one was decrypted behind a later one */
		assert_int_equal(st.displaced, 0);
		assert_int_equal(st.lost, 0);
		if (st.foreign > 0)
			assert_int_equal(st.landed, p);
		foreign += st.foreign;
	}
	/* the old owner takes all that others have handed it before it gives the SA up */
	assert_int_equal(site_sum(handed_off_again), 0);
	/* that is all of them: owned, handed over, or they waited and are one of these now */
	assert_true(foreign > 0 && site_sum(esp_owned) > 0);
	assert_int_equal(site_sum(decap), N * 300);
	assert_true(site_sum(handed_off_esp) >= foreign);
	/* and home again: no hand-off any more */
	for (unsigned int p = 0; p < N; p++)
		move(IPSEC_PCPU_IN, p, p);
	foreign = site_sum(handed_off);
	send_in(20);
	site_settle();
	assert_int_equal(site_sum(handed_off), foreign);
	site_stop();
}

/** Two workers that move one SA to and fro as fast as control can, with full bursts under way. */
static void
test_one_to_and_fro(void **state)
{
	site_start(&site_conf_full);
	site.log.unordered = true;
	for (unsigned int i = 0; i < 200; i++) {
		for (unsigned int k = 0; k < 10; k++)
			site_send_in(site_flow_on(5), site_spi(IPSEC_PCPU_IN, 5, 0), 5);
		move(IPSEC_PCPU_IN, 5, i % 2 != 0 ? 5 : 11);
	}
	site_settle();
	assert_int_equal(stats(IPSEC_PCPU_IN, 5).displaced, 0);
	assert_int_equal(stats(IPSEC_PCPU_IN, 5).packets, 2000);
	assert_int_equal(site_sum(handed_off_again), 0);
	site_stop();
}

static void
send_out(unsigned int packets)
{
	for (unsigned int i = 0; i < packets; i++)
		for (unsigned int q = 0; q < N; q++)
			site_send_out(site_flow_on(q), q);
}

/** Own SAs change places: each worker has one at any time, so flows stay in order as well. */
static void
test_outbound(void **state)
{
	site_start(&site_conf_full);
	site.peer.unordered = true; /* an SA goes on from another queue */
	for (unsigned int i = 0; i < 120; i++) {
		send_out(2);
		move(IPSEC_PCPU_OUT, pkt_random() % N, pkt_random() % N);
	}
	site_settle();
	assert_int_equal(site_sum(encap), N * 240);
	assert_int_equal(site_sum(handed_off_fallback), 0);
	for (unsigned int p = 0; p < N; p++) {
		uint64_t before = stats(IPSEC_PCPU_OUT, p).packets;
		unsigned int q = worker_of(IPSEC_PCPU_OUT, p);

		/* numbers without a gap */
		assert_int_equal(stats(IPSEC_PCPU_OUT, p).seq, before);
		site_send_out(site_flow_on(q), q);
		site_settle();
		assert_int_equal(stats(IPSEC_PCPU_OUT, p).packets, before + 1);
	}
	site_stop();
}

/** The SA that most workers send on. */
static void
test_fallback(void **state)
{
	const struct site_conf conf = {.workers = N, .queues = N, .pairs = 3, .fallback = true};

	site_start(&conf);
	site.peer.unordered = site.log.unordered = true;
	for (unsigned int i = 0; i < 120; i++) {
		send_out(2);
		move(IPSEC_PCPU_OUT, PEER_FALLBACK, pkt_random() % N);
		if (i % 7 == 0)
			move(IPSEC_PCPU_OUT, i % 3, pkt_random() % N);
	}
	site_settle();
	assert_true(stats(IPSEC_PCPU_OUT, PEER_FALLBACK).packets > 0);
	assert_int_equal(site_sum(handed_off_again), 0);
	assert_int_equal(stats(IPSEC_PCPU_OUT, PEER_FALLBACK).seq,
			stats(IPSEC_PCPU_OUT, PEER_FALLBACK).packets);
	site_stop();
}

/** Both directions, with more workers than queues: packets change hands in any case. */
static void
test_few_queues(void **state)
{
	const struct site_conf conf = {.workers = N, .queues = 4, .pairs = 6, .fallback = true};

	site_start(&conf);
	site.peer.unordered = site.log.unordered = true;
	for (unsigned int i = 0; i < 120; i++) {
		for (unsigned int k = 0; k < 12; k++) {
			site_send_out(pkt_random() % PKT_FLOWS, k % 4);
			site_send_in(pkt_random() % PKT_FLOWS, site_spi(IPSEC_PCPU_IN, k % 6, 0),
					k % 4);
		}
		move(i % 2, i % 3 == 0 ? PEER_FALLBACK : pkt_random() % 6, pkt_random() % N);
	}
	site_stop();
}

/** What a worker is told when others give an SA away. */
static void
tell(unsigned int worker, uint32_t spi, uint16_t owner)
{
	struct gw_msg m = {.type = GW_MSG_SAD_SET, .spi = spi, .owner = owner};

	assert_int_equal(gw_tell(&site.gw, worker, &m), 0);
}

static bool
all_received(void)
{
	return site_worker(3, parked) + site_worker(3, drop[GW_DROP_MOVING]) == GW_PARK_RING + 100;
}

/** An SA that is on its way for long: so many wait, the others are dropped by name. */
static void
test_park_overflow(void **state)
{
	uint32_t spi = site_spi(IPSEC_PCPU_IN, 8, 0);

	site_start(&site_conf_full);
	site.hostile = true; /* more are under way than is usual */
	tell(3, spi, 3);
	for (unsigned int i = 0; i < GW_PARK_RING + 100; i++)
		site_send_in(site_flow_on(3), spi, 3);
	site_until(all_received, "packets do not wait");
	assert_int_equal(site_worker(3, drop[GW_DROP_MOVING]), 100);
	assert_int_equal(site_worker(8, decap), 0);
	tell(3, spi, 8);
	site_come_to_rest();
	/* those that waited first are all there, in order */
	assert_int_equal(site_worker(8, decap), GW_PARK_RING);
	assert_int_equal(stats(IPSEC_PCPU_IN, 8).displaced, 0);
	assert_int_equal(stats(IPSEC_PCPU_IN, 8).foreign, GW_PARK_RING);
	site_stop();
}

static bool
all_wait(void)
{
	return site_worker(3, parked) == 50;
}

/** The end comes while packets wait: they are dropped by name. */
static void
test_end_while_waiting(void **state)
{
	uint32_t spi = site_spi(IPSEC_PCPU_IN, 8, 0);

	site_start(&site_conf_full);
	tell(3, spi, 3);
	for (unsigned int i = 0; i < 50; i++)
		site_send_in(site_flow_on(3), spi, 3);
	site_until(all_wait, "packets do not wait");
	site.drop[GW_DROP_MOVING] = 50;
	site_stop_now();
}

/** An SA that is deleted while packets wait for it. */
static void
test_deleted_while_waiting(void **state)
{
	uint32_t spi = site_spi(IPSEC_PCPU_IN, 8, 0);
	struct gw_error err;

	site_start(&site_conf_full);
	tell(3, spi, 3);
	for (unsigned int i = 0; i < 50; i++)
		site_send_in(site_flow_on(3), spi, 3);
	site_until(all_wait, "packets do not wait");
	assert_int_equal(gw_sa_del(&site.gw, &site.gw.tunnel[0], IPSEC_PCPU_IN, spi, &err), 0);
	site.drop[GW_DROP_NO_SA] = 50;
	site_stop();
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test_teardown(test_inbound, site_teardown),
			cmocka_unit_test_teardown(test_one_to_and_fro, site_teardown),
			cmocka_unit_test_teardown(test_outbound, site_teardown),
			cmocka_unit_test_teardown(test_fallback, site_teardown),
			cmocka_unit_test_teardown(test_few_queues, site_teardown),
			cmocka_unit_test_teardown(test_park_overflow, site_teardown),
			cmocka_unit_test_teardown(test_end_while_waiting, site_teardown),
			cmocka_unit_test_teardown(test_deleted_while_waiting, site_teardown),
	};

	return site_main(argc, argv, tests, RTE_DIM(tests));
}
