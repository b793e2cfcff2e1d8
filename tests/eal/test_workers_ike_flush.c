/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Many SAs of IKE that go at once while 16 workers carry packets: how often workers are told, that
 * none has any afterwards, and what one that does not answer goes on with.
 */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "workers_ike.h"

#define N SITE_WORKERS
#define MANY 100 /* tunnels beside that of the packets */
#define PAIRS 3 /* of each of them */

/** They are the gateway's alone: no packet is for them. */
static void
add_many(void)
{
	struct gw_error err;

	for (unsigned int i = 0; i < MANY * PAIRS; i++) {
		struct ike_pair p = ike_pair(
				i % PAIRS, i % PAIRS == 0 ? IPSEC_PCPU_ANY : i % PAIRS, true);
		struct gw_ike_new_sa sa;

		p.reqid = 100 + i / PAIRS;
		p.out = 0xa1000000 | i;
		p.in = ike_alloc_spi();
		ike_sa_params(&sa, &p, IPSEC_PCPU_IN);
		assert_int_equal(gw_ike_sa_add(&site.gw, &sa, &err), 0);
		ike_sa_params(&sa, &p, IPSEC_PCPU_OUT);
		assert_int_equal(gw_ike_sa_add(&site.gw, &sa, &err), 0);
	}
}

static void
start_many(void)
{
	ike_start_many(N, MANY + 2);
	ike_hello(1);
	ike_policies_add(IKE_REQID, GW_IKE_PRIO_TRAP, 0, 0);
	for (unsigned int i = 0; i < MANY; i++) {
		struct gw_ike_policy p;
		char net[32];

		snprintf(net, sizeof(net), "10.21.%u.0/24", i);
		p = ike_policy(100 + i, "10.10.0.0/16", net);
		ike_policy_add(&p);
	}
	ike_sync_end();
	ike_add_fallback();
	ike_add_own();
	add_many();
	ike_traffic(3);
	site_settle();
	assert_int_equal(ike_status().sas_in, 1 + N + MANY * PAIRS);
	assert_int_equal(ike_status().tunnels, 1 + MANY);
}

/** Which SAs a worker has, outbound those of tunnels it encrypts for by itself. */
static void
count_sas(unsigned int worker, unsigned int *in, unsigned int *out)
{
	const struct gw_worker *w = site.gw.worker[worker].w;

	*in = w->sad->count;
	*out = 0;
	for (unsigned int t = 0; t < gw_max_tunnels(&site.gw.cfg); t++)
		*out += (w->sa_out[t].sa != NULL) + (w->sa_out[t].fallback != NULL);
}

static void
check_none(unsigned int worker)
{
	unsigned int in, out;

	count_sas(worker, &in, &out);
	assert_int_equal(in, 0);
	assert_int_equal(out, 0);
	for (unsigned int t = 0; t < gw_max_tunnels(&site.gw.cfg); t++)
		assert_int_equal(site.gw.worker[worker].w->sa_out[t].owner, GW_NONE);
}

/** What was flushed: the peer does not know it any more, and packets are dropped for want of it. */
static void
forget_all(void)
{
	ike_forget(&ike_fallback);
	for (unsigned int w = 0; w < N; w++)
		ike_forget(&ike_own[w]);
	site.drop[GW_DROP_NO_POLICY] = site_sum(drop[GW_DROP_NO_POLICY]);
	site.drop[GW_DROP_NO_OUT_SA] = site_sum(drop[GW_DROP_NO_OUT_SA]);
}

/** A flush tells each worker a few times, however many SAs there are; then none has any. */
static void
test_flush_many(void **state)
{
	struct gw_error err;
	unsigned int in, out;

	start_many();
	for (unsigned int w = 0; w < N; w++) {
		count_sas(w, &in, &out);
		assert_true(in == 1 + N + MANY * PAIRS && out > 0);
	}
	ike_busy = true;
	ike_messages = 0;
	assert_int_equal(gw_ike_flush(&site.gw, true, true, &err), 0);
	ike_busy = false;
	/* policies, inbound SAs and tunnels, tables without them */
	assert_true(ike_messages <= N * (1 + (N + 2 + MANY * (PAIRS + 1)) / GW_GONE_MAX + 1 + 1));
	assert_int_equal(site.gw.n_zombies, 0);
	assert_int_equal(ike_status().tunnels + ike_status().policies + ike_status().sas_in +
					ike_status().sas_out,
			0);
	for (unsigned int w = 0; w < N; w++)
		check_none(w);
	forget_all();
	/* and from the beginning */
	ike_policies_add(IKE_REQID, GW_IKE_PRIO_TRAP, 0, 0);
	ike_add_fallback();
	ike_add_own();
	ike_traffic(3);
	site_stop();
}

/** charon makes the tunnel of the packets again, with two pairs. */
static void
begin_anew(void)
{
	uint64_t sent = ike_sent(3, 3);

	ike_add_fallback();
	ike_add(&ike_own[3]);
	for (unsigned int i = 0; i < 5; i++)
		site_send_out(site_flow_on(3), 3);
	site_settle();
	assert_int_equal(ike_sent(3, 3), sent + 5);
}

/** Its inbox may be full already: what it has it uses, until it hears that all is gone. */
static void
flush_late(bool full)
{
	unsigned int in, out, later, zombies = 2 * (1 + N + MANY * PAIRS);
	struct ike_pair *p = &ike_own[IKE_LATE], old[2];
	struct gw_error err;
	uint64_t sent;

	start_many();
	site.log.unordered = true;
	sent = ike_sent(IKE_LATE, IKE_LATE);
	ike_stall(IKE_LATE);
	for (unsigned int i = 0; i < 100 && full; i++) {
		struct gw_msg nop = {.type = GW_MSG_NOP};

		assert_true(gw_tell(&site.gw, IKE_LATE, &nop) < 0);
	}
	ike_messages = 0;
	assert_int_equal(gw_ike_flush(&site.gw, true, true, &err), 0);
	assert_true(ike_messages < 5 * N);
	assert_int_equal(site.gw.n_zombies, zombies);
	assert_int_equal(ike_status().sas_in + ike_status().sas_out, 0);
	for (unsigned int w = 0; w < N; w++)
		if (w != IKE_LATE)
			check_none(w);
	count_sas(IKE_LATE, &in, &out);
	assert_int_equal(in, 1 + N + MANY * PAIRS);
	assert_true(out > 0);
	/* nothing that it has was freed */
	for (unsigned int i = 0; i < 20; i++) {
		site_send_out(site_flow_on(IKE_LATE), IKE_LATE);
		site_send_in(site_flow_on(IKE_LATE), p->in, IKE_LATE);
	}
	site_settle();
	assert_int_equal(ike_sent(IKE_LATE, IKE_LATE), sent + 20);
	assert_int_equal(site_worker(IKE_LATE, drop[GW_DROP_NO_OUT_SA]), 0);
	old[0] = ike_fallback;
	old[1] = ike_own[3];
	if (!full)
		begin_anew();
	ike_look_again();
	assert_int_equal(site.gw.n_zombies, zombies);
	ike_messages = 0;
	ike_unstall();
	if (!full) {
		/* what it was told meanwhile was enough */
		count_sas(IKE_LATE, &in, &out);
		assert_int_equal(in, 2);
	}
	ike_look_again();
	later = ike_messages;
	assert_true(later < 10 * N + 2 * MANY);
	ike_check_settled();
	assert_int_equal(site.gw.n_zombies, 0);
	if (full)
		begin_anew();
	assert_int_equal(ike_status().tunnels, 1);
	for (unsigned int w = 0; w < N; w++) {
		count_sas(w, &in, &out);
		assert_int_equal(in, 2);
		assert_int_equal(out, (w == 3) + (ike_worker(ike_fallback.out) == w));
	}
	for (unsigned int i = 0; i < 2; i++)
		ike_forget(&old[i]);
	for (unsigned int w = 0; w < N; w++)
		if (w != 3)
			ike_forget(&ike_own[w]);
	ike_send_out(3);
	site_stop();
}

static void
test_late_flush(void **state)
{
	flush_late(false);
}

static void
test_late_flush_full(void **state)
{
	flush_late(true);
}

int
main(int argc, char **argv)
{
#define CASE(name) cmocka_unit_test_teardown(name, ike_teardown)
	const struct CMUnitTest tests[] = {
			CASE(test_flush_many),
			CASE(test_late_flush),
			CASE(test_late_flush_full),
	};
#undef CASE
	return site_main(argc, argv, tests, RTE_DIM(tests));
}
