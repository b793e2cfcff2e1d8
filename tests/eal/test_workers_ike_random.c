/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Whatever charon may say, in any order, while 16 workers carry packets: after each step what the
 * gateway has is compared with a model, and where each packet went. SEED and STEPS from the
 * environment give other runs.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <rte_eal.h>

#include "workers_ike.h"

#define N SITE_WORKERS
#define REQIDS 3 /* 1: all packets; 2, 3: to 10.20.1.0/24, 10.20.2.0/24 */
#define PAIRS 60

/* The model */

struct pair {
	struct ike_pair p;
	bool policies; /* it has its policies */
	bool in, out; /* that SA is there */
	bool gone; /* but not from the peer yet */
};

static struct {
	bool trap[REQIDS + 1];
	struct pair pair[PAIRS]; /* by number of the pair */
	uint64_t generation;
	bool gap; /* for a moment a policy had no SA */
	bool loose; /* which way a packet goes is not known: things are just changing */
} model;

static uint64_t seed;

static uint32_t
rnd(uint32_t n)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(seed >> 33) % n;
}

static bool
is_in(unsigned int flow, uint32_t reqid)
{
	return reqid == 1 || (flow % 4 != 3 && flow % 5 == reqid - 1);
}

static bool
has_policies(uint32_t reqid)
{
	for (unsigned int i = 0; i < PAIRS; i++)
		if (model.pair[i].policies && model.pair[i].p.reqid == reqid)
			return true;
	return false;
}

static unsigned int
count(uint32_t reqid, bool out)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < PAIRS; i++)
		if (reqid == 0 || model.pair[i].p.reqid == reqid)
			n += out ? model.pair[i].out : model.pair[i].in;
	return n;
}

/** Which tunnel takes a flow; 0: none. The narrower one, be its policy of an SA or a trap. */
static uint32_t
takes(unsigned int flow)
{
	for (uint32_t r = REQIDS; r > 0; r--)
		if (is_in(flow, r) && (has_policies(r) || model.trap[r]))
			return r;
	return 0;
}

static unsigned int
free_number(void)
{
	unsigned int n = rnd(PAIRS);

	for (unsigned int i = 0; i < PAIRS; i++, n = (n + 1) % PAIRS)
		if (!model.pair[n].in && !model.pair[n].out && !model.pair[n].policies &&
				!model.pair[n].gone)
			return n;
	return PAIRS;
}

/** A pair that is there; NULL: none. */
static struct pair *
any_pair(void)
{
	unsigned int n = rnd(PAIRS);

	for (unsigned int i = 0; i < PAIRS; i++, n = (n + 1) % PAIRS)
		if (model.pair[n].in && model.pair[n].out && model.pair[n].policies)
			return &model.pair[n];
	return NULL;
}

/* Traffic */

static void
on_sent(const struct pkt_tag *tag, const struct peer_sa *sa)
{
	uint32_t reqid = model.pair[sa->pair].p.reqid;

	if (!is_in(tag->flow, reqid) || (!model.loose && reqid != takes(tag->flow)))
		fail_msg("flow %u left by the tunnel of reqid %u, not %u", tag->flow, reqid,
				takes(tag->flow));
}

static void
send_in(const struct pair *p)
{
	unsigned int flow = rnd(PKT_FLOWS);

	while (!is_in(flow, p->p.reqid))
		flow = rnd(PKT_FLOWS);
	site_send_in(flow, p->p.in, rnd(N));
}

/** What was dropped while things changed; none where there was an SA for all before and after. */
static void
note_drops(bool full)
{
	uint64_t policy = site_sum(drop[GW_DROP_NO_POLICY]);
	uint64_t sa = site_sum(drop[GW_DROP_NO_OUT_SA]);

	if (full && (policy != site.drop[GW_DROP_NO_POLICY] || sa != site.drop[GW_DROP_NO_OUT_SA]))
		fail_msg("packets were dropped though there were SAs");
	site.drop[GW_DROP_NO_POLICY] = policy;
	site.drop[GW_DROP_NO_OUT_SA] = sa;
}

static uint64_t
dropped(unsigned int reason)
{
	return site_sum_at(offsetof(struct gw_counters, drop) + reason * sizeof(uint64_t));
}

/** Packets of which it is known what becomes of them; also in the midst of a step. */
static void
burst(void)
{
	bool changing = model.loose;

	ike_busy = model.loose = false;
	site_settle();
	note_drops(false);
	for (unsigned int i = 0; i < 2 * N; i++) {
		unsigned int flow = rnd(PKT_FLOWS);
		uint32_t reqid = takes(flow);

		site.drop[GW_DROP_NO_POLICY] += reqid == 0;
		site.drop[GW_DROP_NO_OUT_SA] += reqid != 0 && count(reqid, true) == 0;
		site_send_out(flow, i % N);
	}
	for (unsigned int i = 0; i < PAIRS; i++)
		if (model.pair[i].in && model.pair[i].policies && rnd(4) == 0)
			send_in(&model.pair[i]);
	site_settle();
	for (unsigned int i = 0; i < GW_N_DROPS; i++)
		if (dropped(i) != site.drop[i])
			fail_msg("%s: %u dropped, not %u", gw_drop_info[i].name,
					(unsigned int)dropped(i), (unsigned int)site.drop[i]);
	ike_busy = model.loose = changing;
}

/* Steps */

static void
change_policies(struct pair *p, bool add)
{
	p->policies = add;
	if (p->p.reqid == 1 && add) {
		ike_policies_add(1, GW_IKE_PRIO_SA, p->p.in, p->p.out);
	} else if (p->p.reqid == 1) {
		ike_policies_del(1, GW_IKE_PRIO_SA, p->p.in, p->p.out);
	} else {
		struct gw_ike_policy pol = ike_policy(p->p.reqid, "10.10.0.0/16",
				p->p.reqid == 2 ? "10.20.1.0/24" : "10.20.2.0/24");

		pol.prio = GW_IKE_PRIO_SA;
		pol.spi = p->p.out;
		(add ? ike_policy_add : ike_policy_del)(&pol);
	}
}

static void
change_trap(uint32_t reqid, bool add)
{
	model.trap[reqid] = add;
	if (reqid == 1 && add) {
		ike_policies_add(1, GW_IKE_PRIO_TRAP, 0, 0);
	} else if (reqid == 1) {
		ike_policies_del(1, GW_IKE_PRIO_TRAP, 0, 0);
	} else {
		struct gw_ike_policy pol = ike_policy(reqid, "10.10.0.0/16",
				reqid == 2 ? "10.20.1.0/24" : "10.20.2.0/24");

		(add ? ike_policy_add : ike_policy_del)(&pol);
	}
}

static void
add_pair(uint32_t reqid, uint32_t cpu, bool initiator)
{
	unsigned int number = free_number();
	struct pair *p = &model.pair[number];

	if (number == PAIRS)
		return;
	*p = (struct pair){.p = ike_pair(number, cpu, initiator)};
	p->p.reqid = reqid;
	model.gap |= count(reqid, true) == 0;
	p->p.sport = rnd(3) == 0 ? 4500 : 20000 + rnd(20000);
	ike_add_in(&p->p);
	p->in = true;
	change_policies(p, true);
	ike_add_out(&p->p);
	p->out = true;
}

static bool
none_held(void)
{
	for (unsigned int i = 0; i < PAIRS; i++)
		if (model.pair[i].out && ike_sa(model.pair[i].p.out)->held != 0)
			return false;
	return true;
}

/** One that is held back is no help where all others go. */
static void
let_go(void)
{
	ike_later(2 * IKE_S);
	site_until(none_held, "SAs are held back");
}

static void
del_pair(struct pair *p)
{
	change_policies(p, false);
	ike_remove(IPSEC_PCPU_OUT, p->p.out);
	p->out = false;
	ike_remove(IPSEC_PCPU_IN, p->p.in);
	p->in = false;
	p->gone = true;
}

/** What the gateway has removed by itself. */
static void
lose(struct pair *p)
{
	p->gone = p->in;
	p->in = p->out = p->policies = false;
}

static void
lose_all(void)
{
	for (unsigned int i = 0; i < PAIRS; i++)
		lose(&model.pair[i]);
}

static void
step_add(void)
{
	uint32_t reqid = 1 + rnd(REQIDS);

	if (count(reqid, true) == 0 || rnd(8) == 0)
		add_pair(reqid, IPSEC_PCPU_ANY, rnd(2));
	else if (rnd(2) == 0)
		add_pair(reqid, rnd(N), true);
	else
		add_pair(reqid, rnd(4), false);
}

static void
step_del(void)
{
	struct pair *p = any_pair();

	if (p != NULL)
		del_pair(p);
}

static void
step_rekey(void)
{
	struct pair *p = any_pair();

	if (p == NULL || free_number() == PAIRS)
		return;
	add_pair(p->p.reqid, p->p.cpu, rnd(2));
	if (rnd(2) == 0)
		site_settle();
	del_pair(p);
}

static void
step_trap(void)
{
	uint32_t reqid = 1 + rnd(REQIDS);

	change_trap(reqid, !model.trap[reqid]);
}

static void
keep(enum ipsec_pcpu_dir dir, uint32_t spi)
{
	const struct gw_ike_sa_key key = ike_key(dir, spi);
	struct gw_error err;

	if (gw_ike_sa_keep(&site.gw, &key, &err) < 0)
		fail_msg("%s", err.text);
}

/** The socket breaks; charon comes back and has forgotten a few things. */
static void
step_reconnect(void)
{
	bool kept[PAIRS] = {false}, trap[REQIDS + 1];

	ike_gone();
	burst();
	ike_hello(model.generation);
	memcpy(trap, model.trap, sizeof(trap));
	for (uint32_t r = 1; r <= REQIDS; r++) {
		trap[r] = trap[r] && rnd(6) != 0;
		if (trap[r])
			change_trap(r, true);
	}
	for (unsigned int i = 0; i < PAIRS; i++) {
		struct pair *p = &model.pair[i];

		kept[i] = p->in && rnd(8) != 0;
		if (!kept[i])
			continue;
		change_policies(p, true);
		keep(IPSEC_PCPU_IN, p->p.in);
		keep(IPSEC_PCPU_OUT, p->p.out);
	}
	burst();
	model.loose = true;
	ike_sync_end();
	memcpy(model.trap, trap, sizeof(trap));
	for (unsigned int i = 0; i < PAIRS; i++)
		if (!kept[i])
			lose(&model.pair[i]);
	/* those that go lose their SAs first */
	for (uint32_t r = 1; r <= REQIDS; r++)
		model.gap |= count(r, true) == 0;
}

/** charon dies, and the next one has some traps: all goes on for a minute. */
static void
step_restart(void)
{
	bool trap[REQIDS + 1] = {false};

	ike_gone();
	burst();
	ike_hello(++model.generation);
	for (uint32_t r = 1; r <= REQIDS; r++) {
		bool before = model.trap[r];

		trap[r] = rnd(2) == 0;
		if (trap[r])
			change_trap(r, true);
		model.trap[r] = before;
	}
	burst();
	ike_sync_end();
	for (uint32_t r = 1; r <= REQIDS; r++)
		model.trap[r] |= trap[r];
	burst();
	gw_ike_tick(&site.gw);
	burst();
	model.loose = true;
	ike_later(60 * IKE_S);
	gw_ike_tick(&site.gw);
	memcpy(model.trap, trap, sizeof(trap));
	lose_all();
}

static void
step_flush(void)
{
	bool policies = rnd(2) == 0;
	struct gw_error err;

	model.loose = true;
	assert_int_equal(gw_ike_flush(&site.gw, true, policies, &err), 0);
	for (unsigned int i = 0; i < PAIRS; i++) {
		struct pair *p = &model.pair[i];

		if (!policies && p->policies)
			change_policies(p, false);
		lose(p);
	}
	if (policies)
		memset(model.trap, 0, sizeof(model.trap));
}

static void
step_time(void)
{
	ike_later(rnd(5) * IKE_S / 2);
	gw_ike_tick(&site.gw);
}

/** One worker hears nothing for a while. */
static void
step_stall(void)
{
	static void (*const meanwhile[])(void) = {
			step_add, step_del, step_rekey, step_trap, step_time, step_flush};
	struct gw_error err;

	let_go();
	ike_stall(rnd(N));
	for (unsigned int i = rnd(3); i > 0; i--)
		meanwhile[rnd(RTE_DIM(meanwhile))]();
	site_settle();
	ike_unstall();
	site_settle();
	gw_places_tick(&site.gw);
	gw_ike_tick(&site.gw);
	/* what test_late_first() of test_workers_ike_tunnels.c looks at is not looked at here */
	assert_int_equal(gw_view_update(&site.gw, &err), 0);
}

static void
step_spi(void)
{
	ike_remove(IPSEC_PCPU_IN, ike_alloc_spi());
}

/* What is to hold after each */

static void
check_sa(const struct gw_tunnel *t, const struct gw_sa *sa)
{
	unsigned int owners = 0;

	for (unsigned int w = 0; w < N; w++) {
		bool has = t->out[w].own == sa || t->out[w].fallback == sa;

		owners += has;
		if (has)
			assert_int_equal(sa->worker, w);
	}
	if (sa->prm.dir == IPSEC_PCPU_IN)
		assert_true(owners == 0 && sa->worker < N);
	else if (owners > 1 || (owners == 0) != (sa->worker == GW_NONE))
		fail_msg("SA 0x%08x has %u owners", sa->prm.spi, owners);
}

static void
check_pair(const struct pair *p)
{
	const struct gw_sa *in = ike_sa(p->p.in), *out = ike_sa(p->p.out);
	const struct gw_tunnel *t;

	assert_true(in != NULL && out != NULL);
	t = &site.gw.tunnel[in->tunnel];
	assert_int_equal(in->tunnel, out->tunnel);
	assert_int_equal(gw_ike_reqid(t), p->p.reqid);
	assert_int_equal(in->prm.pcpu, out->prm.pcpu);
	assert_int_equal(p->p.cpu == IPSEC_PCPU_ANY, in->prm.pcpu == IPSEC_PCPU_ANY);
	assert_true(in->prm.pcpu == IPSEC_PCPU_ANY || in->prm.pcpu == in->worker);
	check_sa(t, in);
	check_sa(t, out);
	/* nobody is without an SA */
	for (unsigned int w = 0; w < N; w++)
		assert_true(t->out[w].own != NULL || t->out[w].owner != GW_NONE);
}

static void
check_model(void)
{
	unsigned int tunnels = 0, policies = 0;
	struct gw_ike_status st;

	assert_true(gw_ike_status(&site.gw, &st));
	for (uint32_t r = 1; r <= REQIDS; r++) {
		tunnels += model.trap[r] || count(r, false) > 0;
		policies += model.trap[r] ? (r == 1 ? 4 : 1) : 0;
	}
	for (unsigned int i = 0; i < PAIRS; i++) {
		struct pair *p = &model.pair[i];

		if (p->policies)
			policies += p->p.reqid == 1 ? 4 : 1;
		if (p->in)
			check_pair(p);
		if (p->gone)
			ike_forget(&p->p);
		p->gone = false;
	}
	assert_int_equal(st.sas_in, count(0, false));
	assert_int_equal(st.sas_out, count(0, true));
	assert_int_equal(st.tunnels, tunnels);
	assert_int_equal(st.policies, policies);
	assert_int_equal(st.sas_stale_now, 0);
	assert_int_equal(st.spis, 0);
}

static void
step(void)
{
	static const struct {
		void (*fn)(void);
		const char *name;
		unsigned int weight;
	} steps[] = {{step_add, "add", 30}, {step_del, "del", 10}, {step_rekey, "rekey", 20},
			{step_trap, "trap", 8}, {step_reconnect, "reconnect", 3},
			{step_restart, "restart", 1}, {step_flush, "flush", 1},
			{step_time, "time", 10}, {step_stall, "stall", 5}, {step_spi, "spi", 2}};
	unsigned int all = 0, i = 0, at;

	for (unsigned int k = 0; k < RTE_DIM(steps); k++)
		all += steps[k].weight;
	at = rnd(all);
	for (; at >= steps[i].weight; i++)
		at -= steps[i].weight;
	if (getenv("STEPS") != NULL)
		print_message("%s\n", steps[i].name);
	let_go();
	model.gap = false;
	ike_busy = model.loose = true;
	steps[i].fn();
	ike_busy = false;
	site_settle();
	model.loose = false;
}

static bool
is_full(void)
{
	for (uint32_t r = 1; r <= REQIDS; r++)
		if ((r == 1 || model.trap[r] || has_policies(r)) && count(r, true) == 0)
			return false;
	return true;
}

static void
test_random(void **state)
{
	unsigned int n = getenv("STEPS") != NULL ? atoi(getenv("STEPS")) : 60;

	memset(&model, 0, sizeof(model));
	seed = getenv("SEED") != NULL ? strtoul(getenv("SEED"), NULL, 0) : 1;
	ike_start();
	site.on_sent = on_sent;
	site.log.unordered = true;
	model.generation = 1;
	ike_hello(1);
	ike_sync_end();
	for (unsigned int i = 0; i < n; i++) {
		bool full = is_full();

		step();
		note_drops(full && is_full() && !model.gap);
		check_model();
		burst();
	}
	site_stop();
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test_teardown(test_random, ike_teardown),
	};

	return site_main(argc, argv, tests, RTE_DIM(tests));
}
