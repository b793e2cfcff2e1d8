/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * SAs as charon makes them, while 16 workers carry packets: which packets ask for one, which
 * worker gets it, when it is used.
 */

#include <netinet/in.h>
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

/* Acquires */

/** Each worker has its own pair: packets leave by it, and nothing is handed off. */
static void
check_own(void)
{
	uint64_t before[N], handed_off = site_sum(handed_off);

	for (unsigned int w = 0; w < N; w++)
		before[w] = ike_sent(w, w);
	ike_traffic(10);
	site_settle();
	assert_int_equal(site_sum(handed_off), handed_off);
	for (unsigned int w = 0; w < N; w++) {
		assert_int_equal(ike_sent(w, w), before[w] + 10);
		assert_int_equal(ike_worker(ike_own[w].out), w);
		assert_int_equal(ike_worker(ike_own[w].in), w);
	}
}

/** From nothing to an SA for each worker. */
static void
test_first_packet(void **state)
{
	const struct gw_ike_acquire *a = &ike.acquire[0];

	ike_start();
	ike_connect(1);
	ike_send_in_vain(5, 1);
	ike_until_asked(1);
	assert_int_equal(a->reqid, IKE_REQID);
	assert_int_equal(a->cpu, IPSEC_PCPU_ANY);
	assert_int_equal(a->flow.proto, IPPROTO_UDP);
	if (a->flow.family == AF_INET)
		assert_true(a->flow.src[1] == 10 && a->flow.dst[1] == 20);
	else
		assert_true(a->flow.src[3] == 0x10 && a->flow.dst[3] == 0x20);
	/* more of them, and on others: it was asked for already */
	for (unsigned int w = 0; w < N; w++)
		ike_send_in_vain(w, 2);
	ike_until_asked(1);
	ike_add_fallback();
	site.log.unordered = true; /* flows go over from the fallback to the worker's own */
	ike_send_out(4);
	ike_until_asked(1 + N);
	ike_send_out(4);
	ike_until_asked(1 + N);
	for (unsigned int w = 0; w < N; w++) {
		assert_int_equal(ike.asked[w], 1);
		assert_int_equal(ike_sent(w, PEER_FALLBACK), 8);
	}
	ike_add_own();
	check_own();
	for (unsigned int w = 0; w < N; w++)
		assert_int_equal(ike_sent(w, PEER_FALLBACK), 8);
	assert_int_equal(ike.n, 1 + N);
	site_stop();
}

/** Neither answered nor refused: the fallback carries all, and charon is asked ever less often. */
static void
test_never_answered(void **state)
{
	static const unsigned int seconds[] = {1, 2, 4, 8, 16, 32, 60, 60};
	struct gw_ike_pending p[N];

	ike_start();
	ike_connect(1);
	ike_add_fallback();
	ike_send_out(2);
	ike_until_asked(N);
	for (unsigned int i = 0; i < RTE_DIM(seconds); i++) {
		ike_later(seconds[i] * IKE_S - IKE_S / 2);
		gw_ike_tick(&site.gw);
		ike_send_out(2);
		ike_until_asked((i + 1) * N);
		assert_int_equal(gw_ike_pendings(&site.gw, p, N), N);
		assert_int_equal(p[3].cpu, 3);
		assert_int_equal(p[3].tries, i + 1);
		assert_true(p[3].next_s > 0.2 && p[3].next_s <= 0.5);
		ike_later(IKE_S / 2);
		gw_ike_tick(&site.gw);
		ike_send_out(2);
		ike_until_asked((i + 2) * N);
	}
	/* an answer at last: from then on the worker begins anew */
	ike_add(&ike_own[7]);
	assert_int_equal(gw_ike_pendings(&site.gw, p, N), N - 1);
	site.log.unordered = true;
	ike_del(&ike_own[7]);
	site_send_out(site_flow_on(7), 7);
	ike_until_asked((RTE_DIM(seconds) + 1) * N + 1);
	for (unsigned int w = 0; w < N; w++)
		assert_int_equal(ike.asked[w], RTE_DIM(seconds) + 1 + (w == 7));
	assert_int_equal(site.log.sent, site.log.got);
	site_stop();
}

/** Acquires cannot be sent: again in a second, as long as it takes. */
static void
test_refused(void **state)
{
	struct gw_ike_status st;

	ike_start();
	ike_connect(1);
	ike_add_fallback();
	ike.refuse = true;
	for (unsigned int i = 1; i <= 5; i++) {
		ike_send_out(2);
		ike_until_asked(i * N);
		ike_send_out(2);
		ike_until_asked(i * N);
		ike_later(IKE_S);
		gw_ike_tick(&site.gw);
	}
	assert_true(gw_ike_status(&site.gw, &st));
	assert_int_equal(st.counts.acquires_unsent, 5 * N);
	assert_int_equal(st.counts.acquires, 0);
	assert_int_equal(st.pending, 0);
	ike.refuse = false;
	ike_send_out(2);
	ike_until_asked(6 * N);
	assert_int_equal(ike.n, N);
	/* nobody is there: nothing is asked, nothing is lost */
	ike_gone();
	ike_later(100 * IKE_S);
	gw_ike_tick(&site.gw);
	ike_send_out(2);
	ike_until_asked(6 * N);
	for (unsigned int w = 0; w < N; w++)
		assert_int_equal(ike_sent(w, PEER_FALLBACK), 6 * 4);
	site_stop();
}

/** Both families' traps, with or without SAs for each worker. */
static void
add_traps(bool pcpu)
{
	struct gw_ike_policy p4 = ike_policy(IKE_REQID, "10.10.0.0/16", "10.20.0.0/16");
	struct gw_ike_policy p6 = ike_policy(IKE_REQID, "fd00:10::/32", "fd00:20::/32");

	p4.pcpu = p6.pcpu = pcpu;
	ike_policy_add(&p4);
	ike_policy_add(&p6);
}

/** Without a policy that says so no worker asks for an SA of its own. */
static void
test_no_pcpu_policy(void **state)
{
	ike_start();
	ike_hello(1);
	add_traps(false);
	ike_sync_end();
	ike_add_in(&ike_fallback);
	ike_add_out(&ike_fallback);
	ike_send_out(4);
	ike_until_asked(0);
	/* one of several policies is enough */
	add_traps(true);
	ike_send_out(4);
	ike_until_asked(N);
	site_stop();
}

/** Nor where charon does not know SAs for a CPU. */
static void
test_no_pcpu_charon(void **state)
{
	const struct gw_ike_events none = {0};
	struct gw_error err;

	ike_start();
	assert_int_equal(gw_ike_hello(&site.gw, 1, false, &none, &err), 0);
	assert_true(gw_ike_hello(&site.gw, 1, false, &none, &err) < 0); /* one at a time */
	add_traps(true);
	ike_sync_end();
	ike_add_fallback();
	ike_send_out(4); /* and none of its events is called */
	site_settle();
	gw_ike_tick(&site.gw);
	ike_send_out(4);
	site_stop();
}

/* Which worker */

static bool
own_released(void)
{
	for (unsigned int w = 0; w < N; w++)
		if (ike_own[w].out != 0 && ike_sa(ike_own[w].out)->held != 0)
			return false;
	return true;
}

/** Hints as charon gives them to what the peer asks for: from its last CPU to 0, then 0. */
static uint32_t
hint(long cpus, unsigned int k)
{
	return (long)k < cpus ? cpus - 1 - k : 0;
}

/** What the peer has asked for: on which worker is each? They are in the order of workers then. */
static void
sort_by_worker(void)
{
	struct ike_pair sorted[N] = {0};

	for (unsigned int k = 0; k < N; k++) {
		uint32_t w = ike_worker(ike_own[k].in);

		assert_true(w < N);
		if (sorted[w].in != 0)
			fail_msg("two SAs on worker %u: pairs %u and %u", w, sorted[w].number, k);
		sorted[w] = ike_own[k];
	}
	memcpy(ike_own, sorted, sizeof(sorted));
}

/** Both directions of each pair are on its worker, and the worker uses it. */
static void
check_pairs(void)
{
	ike_traffic(1); /* by which the peer shows that it has them */
	site_settle();
	site_until(own_released, "SAs are held back for too long");
	for (unsigned int w = 0; w < N; w++) {
		unsigned int n = ike_own[w].number;
		uint64_t sent = ike_sent(w, n), in = site.in[n][w];

		assert_int_equal(ike_worker(ike_own[w].out), w);
		for (unsigned int i = 0; i < 5; i++) {
			site_send_out(site_flow_on(w), w);
			site_send_in(site_flow_on(w), ike_own[w].in, w);
		}
		site_settle();
		assert_int_equal(ike_sent(w, n), sent + 5);
		assert_int_equal(site.in[n][w], in + 5);
	}
}

static void
as_responder(long cpus, bool asked_too)
{
	ike_start();
	ike_cpus = cpus;
	ike_connect(1);
	ike_fallback.initiator = false;
	ike_add_fallback();
	site.log.unordered = true; /* flows go over from the fallback to the worker's own */
	if (asked_too) {
		ike_send_out(1);
		ike_until_asked(N);
	}
	for (unsigned int k = 0; k < N; k++) {
		ike_own[k] = ike_pair(k, hint(cpus, k), false);
		ike_add(&ike_own[k]);
	}
	sort_by_worker();
	check_pairs();
	assert_int_equal(site_sum(handed_off_esp), 0);
}

static void
test_responder(void **state)
{
	static const long cpus[] = {1, 2, 3, 4, 15, 16, 17, 64};

	for (unsigned int i = 0; i < RTE_DIM(cpus); i++) {
		as_responder(cpus[i], false);
		assert_int_equal(ike.n, 0);
		site_stop();
	}
}

/** The same, but workers have asked for SAs, too, which are under way: each gets one of these. */
static void
test_responder_while_pending(void **state)
{
	as_responder(2, true);
	site_stop();
}

/* Rekeying */

/** A pair takes the place of another, with packets under way all the time. */
static void
rekey(struct ike_pair *p, bool initiator)
{
	struct ike_pair old = *p, new = ike_pair(old.number, old.cpu, initiator);
	uint32_t in = ike_worker(old.in), out = ike_worker(old.out);
	uint64_t before;

	new.sport = old.sport == 4500 ? 4500 : 20000 + pkt_random() % 20000;
	ike_traffic(2);
	ike_add_in(&new);
	ike_policies_add(IKE_REQID, GW_IKE_PRIO_SA, new.in, new.out);
	ike_traffic(2);
	ike_add_out(&new);
	before = site_sa_packets(old.out);
	ike_traffic(2); /* still in by the old one */
	*p = new;
	ike_traffic(2);
	assert_int_equal(site_sa_packets(old.out), before);
	assert_int_equal(ike_worker(new.in), in);
	assert_int_equal(ike_worker(new.out), out);
	assert_int_equal(ike_sa(new.out)->prm.encap_sport, ike_sa(old.out)->prm.encap_sport);
	ike_policies_del(IKE_REQID, GW_IKE_PRIO_SA, old.in, old.out);
	ike_del_out(&old);
	ike_traffic(2);
	ike_del_in(&old);
}

/** Ports of outbound SAs: all different, none that charon has drawn, and what the peer sees. */
static void
check_ports(void)
{
	for (unsigned int w = 0; w < N; w++) {
		uint16_t port = ike_sa(ike_own[w].out)->prm.encap_sport;

		assert_int_not_equal(port, ike_own[w].sport);
		assert_true(port >= GW_MIN_AUTO_SPORT);
		for (unsigned int v = 0; v < w; v++)
			assert_int_not_equal(port, ike_sa(ike_own[v].out)->prm.encap_sport);
		assert_int_equal(peer_find(&site.peer, ike_own[w].out)->sport, port);
	}
}

/** All SAs, three times, those that charon initiates and those of the peer in turn. */
static void
test_rekey_all(void **state)
{
	ike_start();
	ike_connect(1);
	ike_add_fallback();
	for (unsigned int w = 0; w < N; w++) {
		ike_own[w].sport = 20000 + 7 * w; /* "encap": by lot */
		ike_add(&ike_own[w]);
	}
	ike_traffic(4);
	for (unsigned int i = 0; i < 3; i++) {
		for (unsigned int w = 0; w < N; w++)
			rekey(&ike_own[w], (i + w) % 2 == 0);
		site_settle();
		check_ports();
	}
	rekey(&ike_fallback, true);
	check_own();
	assert_int_equal(ike.n, 0);
	assert_int_equal(site_sum(handed_off), 0);
	site_stop();
}

/** SAs that the peer has asked for, nearly all of which charon calls 0: oldest first. */
static void
test_rekey_responder(void **state)
{
	as_responder(2, false);
	for (unsigned int i = 0; i < 2; i++)
		for (unsigned int k = 0; k < N; k++)
			for (unsigned int w = 0; w < N; w++)
				if (ike_own[w].number == k)
					rekey(&ike_own[w], (i + k) % 2 == 0);
	check_pairs();
	site_stop();
}

/** All renewed before the first old one goes: each has a successor on its worker. */
static void
test_rekey_overlapping(void **state)
{
	struct ike_pair old[N];

	as_responder(2, false);
	memcpy(old, ike_own, sizeof(old));
	for (unsigned int k = 0; k < N; k++)
		for (unsigned int w = 0; w < N; w++)
			if (ike_own[w].number == k) {
				ike_own[w].number += N;
				ike_add(&ike_own[w]);
			}
	sort_by_worker();
	check_pairs();
	for (unsigned int w = 0; w < N; w++) {
		assert_int_equal(ike_own[w].number, old[w].number + N);
		ike_del(&old[w]);
	}
	check_pairs();
	site_stop();
}

/** NAT, or per_cpu_sas = yes: all from 4500 to 4500. */
static void
test_port_4500(void **state)
{
	ike_start();
	ike_connect(1);
	ike_fallback.sport = 4500;
	ike_add_fallback();
	for (unsigned int w = 0; w < N; w++) {
		ike_own[w].sport = 4500;
		ike_add(&ike_own[w]);
	}
	for (unsigned int w = 0; w < 4; w++)
		rekey(&ike_own[w], w % 2 == 0);
	rekey(&ike_fallback, false);
	check_own();
	for (unsigned int w = 0; w < N; w++) {
		assert_int_equal(ike_sa(ike_own[w].out)->prm.encap_sport, 4500);
		assert_int_equal(peer_find(&site.peer, ike_own[w].out)->sport, 4500);
	}
	assert_int_equal(ike_sa(ike_fallback.out)->prm.encap_sport, 4500);
	site_stop();
}

/** Packets out and in of worker 3 by @p p, while it has others. */
static void
check_third(const struct ike_pair *p)
{
	uint64_t sent = ike_sent(3, p->number), in = site.in[p->number][3];

	for (unsigned int i = 0; i < 10; i++) {
		site_send_out(site_flow_on(3), 3);
		site_send_in(site_flow_on(3), p->in, 3);
	}
	site_settle();
	assert_int_equal(ike_sent(3, p->number), sent + 10);
	assert_int_equal(site.in[p->number][3], in + 10);
}

/** Both sides have made a pair for a worker, or three: the newest is sent on, all are received. */
static void
test_simultaneous(void **state)
{
	struct ike_pair more[] = {ike_pair(20, 3, true), ike_pair(21, 3, false)};
	uint64_t sent;

	ike_start();
	ike_connect(1);
	ike_add_fallback();
	ike_add(&ike_own[3]);
	check_third(&ike_own[3]);
	ike_add(&more[0]);
	check_third(&more[0]);
	ike_add(&more[1]);
	check_third(&more[1]);
	sent = ike_sent(3, 21);
	for (unsigned int i = 0; i < 10; i++) {
		site_send_in(site_flow_on(3), ike_own[3].in, 3);
		site_send_in(site_flow_on(3), more[0].in, 3);
		site_send_in(site_flow_on(3), more[1].in, 3);
		site_send_out(site_flow_on(3), 3);
	}
	site_settle();
	assert_int_equal(ike_sent(3, 21), sent + 10);
	assert_int_equal(site.in[3][3], 20);
	assert_int_equal(site.in[20][3], 20);
	/* and back: the newest that is left */
	ike_del(&more[1]);
	check_third(&more[0]);
	ike_del(&more[0]);
	check_third(&ike_own[3]);
	assert_int_equal(site_sum(handed_off), 0);
	site_stop();
}

int
main(int argc, char **argv)
{
#define CASE(name) cmocka_unit_test_teardown(name, ike_teardown)
	const struct CMUnitTest tests[] = {
			CASE(test_first_packet),
			CASE(test_never_answered),
			CASE(test_refused),
			CASE(test_no_pcpu_policy),
			CASE(test_no_pcpu_charon),
			CASE(test_responder),
			CASE(test_responder_while_pending),
			CASE(test_rekey_all),
			CASE(test_rekey_responder),
			CASE(test_rekey_overlapping),
			CASE(test_port_4500),
			CASE(test_simultaneous),
	};
#undef CASE
	int rc = site_prepare(argc, argv);

	if (rc != 0)
		return rc;
	rc = cmocka_run_group_tests(tests, NULL, NULL);
	rte_eal_cleanup();
	return rc;
}
