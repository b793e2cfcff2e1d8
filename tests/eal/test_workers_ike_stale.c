/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * SAs of IKE that are there but not used yet, or not said any more, while 16 workers carry
 * packets: held back until the peer has shown that it is ready; stale after another charon
 * has come.
 */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <rte_eal.h>

#include "workers_ike.h"

#define N SITE_WORKERS

/* Held back */

static const struct ike_pair *looked_at;

static bool
released(void)
{
	return ike_sa(looked_at->out)->held == 0;
}

static void
until_released(const struct ike_pair *p)
{
	looked_at = p;
	site_until(released, "an SA is held back for too long");
}

/** Packets out on worker 5 leave by a pair, all of them. */
static void
check_fifth(unsigned int number)
{
	uint64_t before = ike_sent(5, number);

	for (unsigned int i = 0; i < 10; i++)
		site_send_out(site_flow_on(5), 5);
	site_settle();
	assert_int_equal(ike_sent(5, number), before + 10);
}

/** The peer has asked for a pair for worker 5, and may not have our answer yet. */
static void
start_held(void)
{
	ike_start();
	ike_connect(1);
	site.log.unordered = true; /* flows go over from the fallback to the worker's own */
	ike_add_fallback();
	ike_own[5].initiator = false;
	ike_add(&ike_own[5]);
	assert_true(ike_sa(ike_own[5].out)->held != 0);
	check_fifth(PEER_FALLBACK);
}

static void
test_held(void **state)
{
	start_held();
	/* what others send, or forge, says nothing of the peer */
	ike_add(&ike_own[6]);
	site_send_in(site_flow_on(6), ike_own[6].in, 6);
	ike_send_forged(site_flow_on(5), ike_own[5].in, 5);
	ike_wait();
	assert_false(ike_sa(ike_own[5].out)->held == 0);
	check_fifth(PEER_FALLBACK);
	site_send_in(site_flow_on(5), ike_own[5].in, 5);
	until_released(&ike_own[5]);
	check_fifth(5);
	assert_int_equal(ike.asked[5], 0);
	site_stop();
}

/** Nothing comes from the peer: a second is enough. */
static void
test_held_for_a_second(void **state)
{
	start_held();
	ike_later(IKE_S * 9 / 10);
	ike_wait();
	check_fifth(PEER_FALLBACK);
	ike_later(IKE_S / 10);
	until_released(&ike_own[5]);
	check_fifth(5);
	site_stop();
}

/** What its worker would do without it does not matter: there is another SA of some worker. */
static void
test_held_without_fallback(void **state)
{
	ike_start();
	ike_connect(1);
	site.log.unordered = true;
	ike_own[2].initiator = false;
	ike_add(&ike_own[2]); /* the only one: used at once */
	assert_true(ike_sa(ike_own[2].out)->held == 0);
	check_fifth(2);
	ike_own[5].initiator = false;
	ike_add(&ike_own[5]);
	assert_true(ike_sa(ike_own[5].out)->held != 0);
	check_fifth(2);
	/* one that renews another is used at once: charon itself has waited */
	ike_own[2].number = 20;
	ike_add(&ike_own[2]);
	assert_true(ike_sa(ike_own[2].out)->held == 0);
	check_fifth(20);
	site_send_in(site_flow_on(5), ike_own[5].in, 5);
	until_released(&ike_own[5]);
	check_fifth(5);
	site_stop();
}

/** The only other one goes, with packets under way: none is lost. */
static void
test_held_alone(void **state)
{
	start_held();
	for (unsigned int i = 0; i < 10; i++) {
		struct ike_pair *p = &ike_own[5];

		ike_busy = true;
		ike_del(&ike_fallback);
		ike_busy = false;
		assert_true(ike_sa(p->out)->held == 0);
		ike_send_out(3);
		site_settle();
		check_fifth(5);
		/* and back */
		ike_add_fallback();
		ike_del(p);
		ike_add(p);
		assert_true(ike_sa(p->out)->held != 0);
		check_fifth(PEER_FALLBACK);
	}
	site_stop();
}

/** It goes itself, or its other half does. */
static void
test_held_goes(void **state)
{
	start_held();
	ike_del(&ike_own[5]);
	ike_send_out(2);
	ike_wait();
	ike_add(&ike_own[5]);
	ike_del_in(&ike_own[5]);
	ike_send_out(2);
	ike_wait();
	check_fifth(PEER_FALLBACK);
	ike_later(IKE_S);
	until_released(&ike_own[5]);
	check_fifth(5);
	site_stop();
}

/* Stale */

/** An SA for each worker, and the fallback, all in use. */
static void
start_full(void)
{
	ike_start();
	ike_connect(1);
	ike_add_fallback();
	ike_add_own();
	ike_traffic(5);
}

/** The socket breaks, and the same charon comes again; worker 2 may have no pair any more. */
static void
reconnect(bool all)
{
	ike_busy = true;
	ike_gone();
	ike_traffic(3);
	ike_hello(1);
	ike_traffic(3);
	ike_policies_add(IKE_REQID, GW_IKE_PRIO_TRAP, 0, 0);
	ike_say_again(&ike_fallback);
	for (unsigned int w = 0; w < N; w++)
		if (all || w != 2)
			ike_say_again(&ike_own[w]);
	ike_traffic(3);
	ike_sync_end();
	ike_busy = false;
	ike_traffic(3);
	site_settle();
}

/** All that is said again goes on, with its counters; what is not goes at once. */
static void
test_same_charon(void **state)
{
	struct ike_pair second;
	struct gw_ike_status st;
	uint64_t sent;

	start_full();
	reconnect(true);
	reconnect(true);
	assert_int_equal(site.log.sent, site.log.got);
	second = ike_own[2];
	ike_own[2].in = 0; /* the peer does not send on it any more */
	site.log.unordered = true;
	reconnect(false);
	assert_null(ike_sa(second.in));
	assert_null(ike_sa(second.out));
	ike_forget(&second);
	sent = ike_sent(2, PEER_FALLBACK);
	ike_traffic(5);
	site_settle();
	assert_int_equal(ike_sent(2, PEER_FALLBACK), sent + 5);
	for (unsigned int w = 0; w < N; w++)
		assert_true(w == 2 || site_sa_packets(ike_own[w].out) == ike_sent(w, w));
	assert_true(gw_ike_status(&site.gw, &st));
	assert_int_equal(st.sas_stale_now, 0);
	assert_int_equal(st.sas_out, N);
	assert_int_equal(st.sas_in, N);
	assert_int_equal(st.policies, 4 * (1 + N));
	assert_int_equal(st.counts.sas_stale, 2);
	assert_int_equal(st.counts.sas_replayed, 2 * (3 * (1 + N) - 1));
	site_stop();
}

static unsigned int
n_stale(void)
{
	struct gw_ike_status st;

	assert_true(gw_ike_status(&site.gw, &st));
	return st.sas_stale_now;
}

/** A charon that knows nothing of what another one has made; @p reqid: of its trap. */
static void
another_charon(uint64_t generation, uint32_t reqid)
{
	ike_gone();
	ike_traffic(3);
	ike_hello(generation);
	ike_traffic(3);
	ike_policies_add(reqid, GW_IKE_PRIO_TRAP, 0, 0);
	ike_traffic(3);
	site_settle();
	ike.n = 0; /* what is asked for from now on, at the next tick, is not asked for again */
	ike_sync_end();
	ike_traffic(3);
	site_settle();
}

/** All SAs are those of the charon before, and in use. */
static void
check_old(void)
{
	uint64_t before[N];

	site_settle();
	for (unsigned int w = 0; w < N; w++)
		before[w] = ike_sent(w, w);
	ike_traffic(5);
	site_settle();
	for (unsigned int w = 0; w < N; w++)
		assert_int_equal(ike_sent(w, w), before[w] + 5);
	assert_int_equal(n_stale(), 2 * (1 + N));
}

/** The peer forgets what was of the charon before. */
static void
forget_old(void)
{
	for (unsigned int w = 0; w < N; w++)
		ike_forget(&ike_own[w]);
	ike_forget(&ike_fallback);
}

/** We send on none of them any more; the peer may still. */
static bool
only_in_stale(void)
{
	return n_stale() == 1 + N;
}

/** Old SAs carry packets until there is a new one to send on. */
static void
replace_all(uint32_t reqid)
{
	const struct gw_ike_sa_key key = ike_key(IPSEC_PCPU_OUT, 0xa0000001);
	struct ike_pair new = ike_pair(98, IPSEC_PCPU_ANY, true);
	struct gw_error err;

	start_full();
	assert_int_equal(gw_ike_sa_keep(&site.gw, &key, &err), 0);
	another_charon(2, reqid);
	assert_int_equal(gw_ike_sa_keep(&site.gw, &key, &err), -ENOENT);
	check_old();
	/* in use, so a new one is wanted, of the new charon */
	gw_ike_tick(&site.gw);
	assert_int_equal(ike.n, 1);
	assert_int_equal(ike.acquire[0].reqid, reqid);
	assert_int_equal(ike.acquire[0].cpu, IPSEC_PCPU_ANY);
	check_old();
	ike.n = 0;
	new.reqid = reqid;
	ike_add_in(&new);
	ike_policies_add(reqid, GW_IKE_PRIO_SA, new.in, new.out);
	check_old();
	site.log.unordered = true; /* from one SA to another */
	ike_busy = true;
	ike_send_out(3);
	ike_add_out(&new);
	ike_send_out(3);
	site_until(only_in_stale, "old SAs stay");
	ike_busy = false;
	ike_send_out(3);
	forget_old();
	ike_send_out(3);
	for (unsigned int w = 0; w < N; w++)
		site_send_in(site_flow_on(w), new.in, w);
	site_settle();
	for (unsigned int w = 0; w < N; w++)
		assert_true(ike_sent(w, 98) >= 3);
	assert_int_equal(site.log.sent, site.log.got);
	/* and workers want their own again */
	ike_until_asked(N);
	assert_int_equal(ike_sa(new.out)->tunnel, ike_sa(new.in)->tunnel);
	site_stop();
}

static void
test_another_charon(void **state)
{
	replace_all(IKE_REQID);
}

/** Numbers of another charon mean nothing: what is known of a tunnel is its selectors. */
static void
test_another_reqid(void **state)
{
	replace_all(7);
}

/** Nothing takes their place: a minute is enough. */
static void
test_stale_for_a_minute(void **state)
{
	struct gw_ike_status st;

	start_full();
	another_charon(2, IKE_REQID);
	for (unsigned int i = 0; i < 5; i++) {
		ike_later(10 * IKE_S);
		gw_ike_tick(&site.gw);
		check_old();
	}
	ike_later(10 * IKE_S);
	gw_ike_tick(&site.gw);
	assert_int_equal(n_stale(), 0);
	forget_old();
	assert_true(gw_ike_status(&site.gw, &st));
	assert_int_equal(st.sas_in + st.sas_out, 0);
	assert_int_equal(st.policies, 4);
	assert_int_equal(st.tunnels, 1);
	ike_send_in_vain(3, 5);
	site_stop();
}

/** The new one does not want the tunnel at all: it goes with its SAs. */
static void
test_not_wanted(void **state)
{
	struct gw_ike_status st;

	start_full();
	ike_gone();
	ike_hello(2);
	ike_sync_end();
	check_old();
	gw_ike_tick(&site.gw);
	assert_int_equal(ike.n, 0);
	ike_later(60 * IKE_S);
	gw_ike_tick(&site.gw);
	forget_old();
	assert_true(gw_ike_status(&site.gw, &st));
	assert_int_equal(st.tunnels + st.policies + st.sas_in + st.sas_out, 0);
	ike_send_out(2);
	site.drop[GW_DROP_NO_POLICY] = 2 * N;
	site_stop();
}

/** The new one's socket breaks meanwhile: that takes nothing away from what is in use. */
static void
test_stale_and_reconnected(void **state)
{
	start_full();
	another_charon(2, IKE_REQID);
	check_old();
	another_charon(2, IKE_REQID);
	check_old();
	site_stop();
}

/** The peer is first: its SA is held back as others are, and no packet is without one. */
static void
test_stale_and_held(void **state)
{
	struct ike_pair new = ike_pair(98, IPSEC_PCPU_ANY, false);

	start_full();
	another_charon(2, IKE_REQID);
	ike_busy = true;
	site.log.unordered = true;
	ike_add(&new);
	assert_true(ike_sa(new.out)->held != 0);
	gw_ike_tick(&site.gw);
	assert_int_equal(n_stale(), 2 * (1 + N));
	site_send_in(site_flow_on(0), new.in, 0);
	site_until(only_in_stale, "old SAs stay");
	ike_busy = false;
	ike_send_out(3);
	forget_old();
	ike_send_out(3);
	site_settle();
	assert_int_equal(site.log.sent, site.log.got);
	site_stop();
}

/** What of the old one's policies the new one does not say goes with the old SAs. */
static void
test_stale_policy(void **state)
{
	struct gw_ike_policy narrow = ike_policy(IKE_REQID, "10.10.0.0/16", "10.20.1.0/24");
	struct ike_pair new = ike_pair(98, IPSEC_PCPU_ANY, true);
	unsigned int rules;

	start_full();
	site_settle();
	rules = site.gw.n_rules;
	ike_policy_add(&narrow);
	assert_int_equal(site.gw.n_rules, rules + 1);
	another_charon(2, IKE_REQID);
	check_old();
	ike_add(&new);
	site.log.unordered = true;
	site_until(only_in_stale, "old SAs stay");
	forget_old();
	gw_ike_tick(&site.gw);
	assert_int_equal(site.gw.n_rules, rules);
	site_stop();
}

int
main(int argc, char **argv)
{
#define CASE(name) cmocka_unit_test_teardown(name, ike_teardown)
	const struct CMUnitTest tests[] = {
			CASE(test_held),
			CASE(test_held_for_a_second),
			CASE(test_held_without_fallback),
			CASE(test_held_alone),
			CASE(test_held_goes),
			CASE(test_same_charon),
			CASE(test_another_charon),
			CASE(test_another_reqid),
			CASE(test_stale_for_a_minute),
			CASE(test_not_wanted),
			CASE(test_stale_and_reconnected),
			CASE(test_stale_and_held),
			CASE(test_stale_policy),
	};
#undef CASE
	return site_main(argc, argv, tests, RTE_DIM(tests));
}
