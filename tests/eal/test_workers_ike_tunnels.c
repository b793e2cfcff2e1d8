/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Policies and tunnels of IKE that come and go while 16 workers carry packets: which tunnel takes
 * a packet, places that are used again, a worker that does not answer.
 */

#include <errno.h>
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <rte_eal.h>
#include <rte_malloc.h>

#include "workers_ike.h"

#define N SITE_WORKERS
#define NARROW 2 /* reqid of what takes packets to 10.20.1.0/24 only */

/** Is a packet one to 10.20.N.0/24? */
static bool
is_to(const struct pkt_tag *tag, unsigned int net)
{
	return tag->flow % 4 != 3 && tag->flow % 5 == net;
}

/* Which tunnel */

static bool narrow_is_there; /* so that it takes its packets */
static struct ike_pair narrow;
static uint64_t by_narrow;

static void
check_tunnel(const struct pkt_tag *tag, const struct peer_sa *sa)
{
	bool is_narrow = sa->pair == narrow.number;

	if (is_narrow != (is_to(tag, 1) && narrow_is_there))
		fail_msg("flow %u left by SA 0x%08x, pair %u", tag->flow, sa->spi, sa->pair);
	by_narrow += is_narrow;
}

/** All packets, each by its tunnel. */
static void
check_narrow(bool is_there)
{
	uint64_t before, lost;

	site_settle();
	before = by_narrow;
	lost = site.log.sent - site.log.got;
	narrow_is_there = is_there;
	ike_send_out(10);
	site_settle();
	assert_int_equal(by_narrow > before, is_there);
	assert_int_equal(site.log.sent - site.log.got, lost);
}

/** A fallback for all packets, and SAs of the narrow tunnel without a policy. */
static void
start_narrow(void)
{
	ike_start();
	ike_connect(1);
	ike_add_fallback();
	narrow = ike_pair(50, IPSEC_PCPU_ANY, true);
	narrow.reqid = NARROW;
	ike_add_in(&narrow);
	ike_add_out(&narrow);
	site.on_sent = check_tunnel;
	site.log.unordered = true; /* flows change their tunnel */
	check_narrow(false);
}

static struct gw_ike_policy
narrow_policy(void)
{
	struct gw_ike_policy p = ike_policy(NARROW, "10.10.0.0/16", "10.20.1.0/24");

	p.prio = GW_IKE_PRIO_SA;
	return p;
}

/** Equal policies count one by one; what differs is another one. */
static void
test_multiset(void **state)
{
	struct gw_ike_policy p, other;
	struct gw_error err;

	start_narrow();
	p = other = narrow_policy();
	other.spi = 4711;
	for (unsigned int i = 0; i < 3; i++) {
		p.remote.a.ip4 = RTE_BE32(0xc0000202 + i); /* no part of it */
		ike_policy_add(&p);
		check_narrow(true);
	}
	assert_int_equal(ike_status().policies, 4 + 4 + 3);
	assert_int_equal(gw_ike_policy_del(&site.gw, &other, &err), -ENOENT);
	ike_policy_add(&other);
	for (unsigned int i = 0; i < 3; i++) {
		ike_policy_del(&p);
		check_narrow(true);
	}
	assert_int_equal(gw_ike_policy_del(&site.gw, &p, &err), -ENOENT);
	other.sel.remote.len = 25;
	assert_int_equal(gw_ike_policy_del(&site.gw, &other, &err), -ENOENT);
	other.sel.remote.len = 24;
	ike_policy_del(&other);
	check_narrow(false);
	assert_int_equal(ike_status().policies, 4 + 4);
	site_stop();
}

/** By class, then the narrower one, then as they are numbered; not in the order they came. */
static void
test_order(void **state)
{
	struct gw_ike_policy p, wide;

	start_narrow();
	p = narrow_policy();
	ike_policy_add(&p);
	check_narrow(true);
	/* the wide one anew, behind it */
	ike_policies_del(IKE_REQID, GW_IKE_PRIO_SA, ike_fallback.in, ike_fallback.out);
	check_narrow(true);
	ike_policies_add(IKE_REQID, GW_IKE_PRIO_SA, ike_fallback.in, ike_fallback.out);
	check_narrow(true);
	/* the narrower one also where it is a trap, as strongSwan counts */
	ike_policy_del(&p);
	p.prio = GW_IKE_PRIO_TRAP;
	ike_policy_add(&p);
	check_narrow(true);
	ike_policies_del(IKE_REQID, GW_IKE_PRIO_SA, ike_fallback.in, ike_fallback.out);
	check_narrow(true);
	ike_policies_add(IKE_REQID, GW_IKE_PRIO_SA, ike_fallback.in, ike_fallback.out);
	/* a number beats all */
	ike_policy_del(&p);
	p.manual_prio = 1000;
	ike_policy_add(&p);
	check_narrow(true);
	wide = ike_policy(IKE_REQID, "10.10.0.0/16", "10.20.0.0/16");
	wide.manual_prio = 999;
	ike_policy_add(&wide);
	check_narrow(false);
	ike_policy_del(&wide);
	check_narrow(true);
	site_stop();
}

static bool
may_pass(const struct pkt_tag *tag)
{
	return is_to(tag, 2);
}

/** mode = pass, which comes before all else, and mode = drop, which comes behind it. */
static void
test_shunts(void **state)
{
	struct gw_ike_policy pass, drop;

	start_narrow();
	pass = ike_policy(0, "10.10.0.0/16", "10.20.2.0/24");
	pass.action = GW_ACTION_BYPASS;
	pass.prio = GW_IKE_PRIO_PASS;
	drop = ike_policy(0, "10.10.0.0/16", "10.20.3.0/24");
	drop.action = GW_ACTION_DROP;
	drop.prio = GW_IKE_PRIO_DROP;
	site.may_be_clear = may_pass;
	ike_policy_add(&pass);
	ike_policy_add(&drop);
	check_narrow(false);
	assert_true(site.clear > 0);
	/* back into the tunnel, with packets under way */
	ike_busy = true;
	ike_policy_del(&pass);
	ike_busy = false;
	site_settle();
	site.may_be_clear = NULL;
	check_narrow(false);
	/* nothing else takes them any more: dropped, each by its name */
	ike_policies_del(IKE_REQID, GW_IKE_PRIO_TRAP, 0, 0);
	ike_policies_del(IKE_REQID, GW_IKE_PRIO_SA, ike_fallback.in, ike_fallback.out);
	for (unsigned int k = 0; k < 10; k++) {
		site_send_out(8, 8); /* to 10.20.3.0/24 */
		site_send_out(5, 5); /* to 10.20.0.0/24 */
		site_send_out(3, 3); /* IPv6 */
	}
	site.drop[GW_DROP_POLICY] = 10;
	site.drop[GW_DROP_NO_POLICY] = 20;
	site_settle();
	ike_policy_del(&drop);
	ike_policies_add(IKE_REQID, GW_IKE_PRIO_TRAP, 0, 0);
	check_narrow(false);
	site_stop();
}

/** Remove all SAs, all policies, or both; and from there on all is as at the beginning. */
static void
test_flush(void **state)
{
	struct gw_error err;

	start_narrow();
	ike_add_own();
	ike_send_out(3);
	ike.n = 0;
	/* SAs: the tunnels with policies stay, and ask for new ones */
	assert_int_equal(gw_ike_flush(&site.gw, true, false, &err), 0);
	assert_int_equal(ike_status().sas_in + ike_status().sas_out, 0);
	assert_int_equal(ike_status().policies, 4 + 4 * (1 + N));
	assert_int_equal(ike_status().tunnels, 1);
	ike_forget(&narrow);
	ike_forget(&ike_fallback);
	for (unsigned int w = 0; w < N; w++)
		ike_forget(&ike_own[w]);
	site.drop[GW_DROP_NO_OUT_SA] = site_sum(drop[GW_DROP_NO_OUT_SA]);
	ike_send_in_vain(3, 3);
	ike_until_asked(1);
	/* policies: SAs stay, and nothing goes there */
	ike_add(&ike_fallback);
	check_narrow(false);
	assert_int_equal(gw_ike_flush(&site.gw, false, true, &err), 0);
	assert_int_equal(ike_status().policies, 0);
	assert_int_equal(ike_status().sas_in + ike_status().sas_out, 2);
	ike_send_out(2);
	site.drop[GW_DROP_NO_POLICY] = 2 * N;
	site_settle();
	ike_policies_add(IKE_REQID, GW_IKE_PRIO_TRAP, 0, 0);
	check_narrow(false);
	/* all */
	ike_busy = true;
	assert_int_equal(gw_ike_flush(&site.gw, true, true, &err), 0);
	ike_busy = false;
	ike_forget(&ike_fallback);
	assert_int_equal(ike_status().tunnels, 0);
	assert_int_equal(site.gw.n_rules, 0);
	site.drop[GW_DROP_NO_POLICY] = site_sum(drop[GW_DROP_NO_POLICY]);
	site.drop[GW_DROP_NO_OUT_SA] = site_sum(drop[GW_DROP_NO_OUT_SA]);
	ike_policies_add(IKE_REQID, GW_IKE_PRIO_TRAP, 0, 0);
	ike_add(&ike_fallback);
	ike_add_own();
	check_narrow(false);
	site_stop();
}

/* Places that are used again */

/** What the gateway holds: of the C library, and of EAL. */
static size_t
memory(void)
{
	struct rte_malloc_socket_stats st;

	assert_int_equal(rte_malloc_get_socket_stats(0, &st), 0);
	return mallinfo2().uordblks + st.heap_allocsz_bytes;
}

static uint32_t asked_for; /* reqid */

/** Acquires for that tunnel; of others only the wide one's workers may ask. */
static unsigned int
n_asked(void)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < ike.n; i++) {
		const struct gw_ike_acquire *a = &ike.acquire[i];

		if (a->reqid == asked_for && a->cpu == IPSEC_PCPU_ANY)
			n++;
		else if (a->reqid != IKE_REQID || a->cpu >= SITE_WORKERS)
			fail_msg("an acquire for reqid %u, CPU %u", a->reqid, a->cpu);
	}
	return n;
}

static bool
is_asked(void)
{
	return n_asked() > 0;
}

#define FEW 4 /* workers: with all of them a thousand tunnels take half a minute */

/** A tunnel that has its packets for a while. */
static void
come_and_go(unsigned int i)
{
	struct gw_ike_policy p = narrow_policy();
	uint64_t before = by_narrow;

	/* its own number: what leaves by the SA of one that was in this place before shows */
	narrow = ike_pair(50 + i % 40, i % 3 == 0 ? IPSEC_PCPU_ANY : i % FEW, i % 2 == 0);
	narrow.reqid = p.reqid = 100 + i;
	ike_add_in(&narrow);
	ike_add_out(&narrow);
	site_settle();
	narrow_is_there = true;
	ike_policy_add(&p);
	for (unsigned int q = 0; q < FEW; q++)
		site_send_out(q % 2 == 0 ? 81 : site_flow_on(q), q); /* 81: to 10.20.1.0/24 */
	site_send_in(81, narrow.in, i % FEW);
	site_settle();
	assert_true(by_narrow > before);
	ike_policy_del(&p);
	narrow_is_there = false;
	site_send_out(81, 1);
	site_settle();
	ike_del_out(&narrow);
	ike_del_in(&narrow);
	assert_int_equal(ike_status().tunnels, 1);
	assert_true(site.gw.n_tunnels <= 2);
}

/** One that nobody makes SAs for: its packets ask, and not in the name of another one. */
static void
ask_in_vain(unsigned int i)
{
	struct gw_ike_policy p = narrow_policy();

	asked_for = p.reqid = 100 + i;
	ike.n = 0;
	ike_later(IKE_S);
	ike_policy_add(&p);
	site_send_out(81, i % FEW);
	site.drop[GW_DROP_NO_OUT_SA]++;
	site_until(is_asked, "a packet does not ask for an SA");
	ike_policy_del(&p);
	assert_int_equal(n_asked(), 1);
}

static void
test_places(void **state)
{
	size_t before = 0;

	ike_start_with(FEW);
	ike_connect(1);
	ike_add_fallback();
	site.on_sent = check_tunnel;
	site.log.unordered = true;
	for (unsigned int i = 0; i < 1000; i++) {
		if (i % 3 == 0)
			come_and_go(i);
		else
			ask_in_vain(i);
		if (i == 99)
			before = memory();
	}
	assert_true(memory() < before + 16384);
	site_stop();
}

/* A worker that does not answer, but carries packets */

static void
start_late(void)
{
	ike_start();
	ike_connect(1);
	ike_add_fallback();
	ike_add_own();
	ike_traffic(3);
	site_settle();
	site.log.unordered = true; /* flows go over to other SAs */
	ike_stall(IKE_LATE);
}

/** The SAs that it has are removed: it sends on them still, until it hears of it. */
static void
test_late_delete(void **state)
{
	struct ike_pair *p = &ike_own[IKE_LATE];
	uint64_t sent;

	start_late();
	sent = ike_sent(IKE_LATE, IKE_LATE);
	ike_remove(IPSEC_PCPU_OUT, p->out);
	ike_remove(IPSEC_PCPU_IN, p->in);
	assert_int_equal(ike_status().sas_out, N);
	assert_int_equal(ike_status().sas_in, N);
	/* it has them: their memory is not free, and what they have encrypted is good */
	assert_int_equal(site.gw.n_zombies, 2);
	for (unsigned int i = 0; i < 20; i++) {
		site_send_out(site_flow_on(IKE_LATE), IKE_LATE);
		site_send_in(site_flow_on(IKE_LATE), p->in, IKE_LATE);
	}
	site_settle();
	assert_int_equal(ike_sent(IKE_LATE, IKE_LATE), sent + 20);
	ike_check_settled();
	ike_forget(p);
	ike_traffic(3);
	site_settle();
	/* the fallback is its own now, until it asks for another */
	assert_true(ike_sent(IKE_LATE, PEER_FALLBACK) >= 3);
	ike_add(p);
	ike_traffic(3);
	site_settle();
	assert_true(ike_sent(IKE_LATE, IKE_LATE) >= sent + 23);
	site_stop();
}

/** A rekey of its SAs, and of another worker's: no packet is lost, no SA has two owners. */
static void
test_late_rekey(void **state)
{
	struct ike_pair old[] = {ike_pair(0, 0, true), ike_pair(0, 0, true)};
	const unsigned int worker[] = {IKE_LATE, 9};
	uint64_t sent;

	start_late();
	for (unsigned int i = 0; i < 2; i++) {
		struct ike_pair *p = &ike_own[worker[i]];

		old[i] = *p;
		*p = ike_pair(60 + i, p->cpu, true);
		ike_add(p);
		/* the old inbound one is used until the new one is known everywhere */
		ike_remove(IPSEC_PCPU_OUT, old[i].out);
		ike_send_out(3);
	}
	site_settle();
	sent = ike_sent(IKE_LATE, 60);
	assert_int_equal(sent, 0);
	assert_true(site.gw.n_zombies >= 1);
	ike_check_settled();
	ike_traffic(5);
	site_settle();
	assert_true(ike_sent(IKE_LATE, 60) >= 5);
	assert_true(ike_sent(9, 61) >= 5);
	for (unsigned int i = 0; i < 2; i++) {
		ike_remove(IPSEC_PCPU_IN, old[i].in);
		ike_forget(&old[i]);
	}
	ike_traffic(5);
	site_stop();
}

/** The first SAs of a tunnel: once all workers answer, packets go. */
static void
test_late_first(void **state)
{
	ike_start();
	ike_connect(1);
	ike_send_in_vain(3, 2);
	ike_stall(IKE_LATE);
	ike_add_fallback();
	ike_check_settled();
	ike_send_out(3);
	for (unsigned int w = 0; w < N; w++)
		site_send_in(site_flow_on(w), ike_fallback.in, w);
	site.log.unordered = true;
	site_stop();
}

/** A tunnel goes: its place is not free while one worker may look at it. */
static void
test_late_tunnel(void **state)
{
	struct gw_ike_policy p = narrow_policy();

	start_late();
	ike_unstall();
	narrow = ike_pair(50, 7, true);
	narrow.reqid = NARROW;
	ike_add_in(&narrow);
	ike_add_out(&narrow);
	ike_policy_add(&p);
	site_settle();
	ike_stall(IKE_LATE);
	site_send_out(81, IKE_LATE);
	site_send_out(81, 1);
	site_settle();
	assert_int_equal(ike_sent(IKE_LATE, 50) + ike_sent(1, 50), 2);
	ike_policy_del(&p);
	ike_remove(IPSEC_PCPU_OUT, narrow.out);
	ike_remove(IPSEC_PCPU_IN, narrow.in);
	/* it has the view before, in which the packets of that tunnel are for it */
	for (unsigned int i = 0; i < 3; i++) {
		ike_look_again();
		assert_int_equal(ike_status().tunnels, 2);
		assert_non_null(site.gw.tunnel[1].ike);
		site_send_out(81, 1);
		site_settle();
	}
	/* it may be wanted again meanwhile */
	ike_policy_add(&p);
	assert_int_equal(ike_status().tunnels, 2);
	ike_policy_del(&p);
	ike_check_settled();
	ike_look_again();
	assert_int_equal(ike_status().tunnels, 1);
	ike_forget(&narrow);
	site_send_out(81, IKE_LATE);
	site_stop();
}

/** More messages than there is room for: in the end all is as IKE has said. */
static void
test_late_for_long(void **state)
{
	struct gw_ike_policy p = narrow_policy();
	struct gw_error err;
	unsigned int added = 0;

	start_late();
	for (unsigned int i = 0; i < 100; i++) {
		p.spi = 1000 + i;
		p.reqid = IKE_REQID;
		added += gw_ike_policy_add(&site.gw, &p, &err) == 0;
		if (gw_ike_policy_del(&site.gw, &p, &err) == 0)
			added--;
	}
	assert_int_equal(added, 0);
	ike_traffic(3);
	site_settle();
	ike_check_settled();
	p.spi = 1;
	ike_policy_add(&p);
	ike_policy_del(&p);
	ike_traffic(3);
	assert_int_equal(ike_status().policies, 4 * (2 + N));
	site_stop();
}

int
main(int argc, char **argv)
{
#define CASE(name) cmocka_unit_test_teardown(name, ike_teardown)
	const struct CMUnitTest tests[] = {
			CASE(test_multiset),
			CASE(test_order),
			CASE(test_shunts),
			CASE(test_flush),
			CASE(test_places),
			CASE(test_late_delete),
			CASE(test_late_rekey),
			CASE(test_late_first),
			CASE(test_late_tunnel),
			CASE(test_late_for_long),
	};
#undef CASE
	return site_main(argc, argv, tests, RTE_DIM(tests));
}
