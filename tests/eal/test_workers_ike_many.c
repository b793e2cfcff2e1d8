/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * A thousand tunnels of IKE with five pairs of SAs each, made and unmade one message at a time, as
 * charon does it: what it costs the control thread is printed, and how often a classifier is
 * built is checked. After each step packets would go where they should.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

#include <cmocka.h>

#include "datapath/decide.h"
#include "datapath/policy_diff.h"
#include "workers_ike.h"

#define FEW 4 /* workers */
/** Tunnels: a thousand. With sanitizers it is not about what it costs. */
#ifdef __SANITIZE_ADDRESS__
#define MANY 250
#else
#define MANY 1000
#endif
#define PAIRS 5

static unsigned int builds;

struct gw_policy *__real_gw_policy_build(const char *name, const struct gw_policy_rule *rules,
		unsigned int n, enum gw_action default_action, int socket, struct gw_error *err);
struct gw_policy *__wrap_gw_policy_build(const char *name, const struct gw_policy_rule *rules,
		unsigned int n, enum gw_action default_action, int socket, struct gw_error *err);

struct gw_policy *
__wrap_gw_policy_build(const char *name, const struct gw_policy_rule *rules, unsigned int n,
		enum gw_action default_action, int socket, struct gw_error *err)
{
	builds++;
	return __real_gw_policy_build(name, rules, n, default_action, socket, err);
}

/* What is measured */

static double
cpu_s(void)
{
	struct timespec ts;

	assert_int_equal(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts), 0);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static double began;

static void
begin(void)
{
	builds = 0;
	began = cpu_s();
}

static void
end(const char *what)
{
	print_message("# %u tunnels, %s: %.2f s, %u classifiers\n", MANY, what, cpu_s() - began,
			builds);
}

/* What charon does */

static struct ike_pair pair[MANY][PAIRS];

static void
each_policy(unsigned int i, enum gw_ike_prio prio, const struct ike_pair *p,
		void (*fn)(const struct gw_ike_policy *policy))
{
	struct gw_ike_policy policy;
	char net[32];

	snprintf(net, sizeof(net), "10.%u.%u.0/24", 100 + i / 250, i % 250);
	policy = ike_policy(100 + i, "10.10.0.0/16", net);
	policy.prio = prio;
	policy.dir = IPSEC_PCPU_IN;
	policy.spi = p != NULL ? p->in : 0;
	fn(&policy);
	policy.dir = IPSEC_PCPU_OUT;
	policy.spi = p != NULL ? p->out : 0;
	fn(&policy);
}

static void
add_pair(unsigned int i, unsigned int k)
{
	struct ike_pair *p = &pair[i][k];
	struct gw_ike_new_sa sa;
	struct gw_error err;

	*p = ike_pair(k, k == 0 ? IPSEC_PCPU_ANY : k - 1, true);
	p->reqid = 100 + i;
	p->out = 0xa1000000 | (i * PAIRS + k);
	p->in = ike_alloc_spi();
	ike_sa_params(&sa, p, IPSEC_PCPU_IN);
	assert_int_equal(gw_ike_sa_add(&site.gw, &sa, &err), 0);
	ike_sa_params(&sa, p, IPSEC_PCPU_OUT);
	assert_int_equal(gw_ike_sa_add(&site.gw, &sa, &err), 0);
	each_policy(i, GW_IKE_PRIO_SA, p, ike_policy_add);
}

static void
del_pair(unsigned int i, unsigned int k)
{
	each_policy(i, GW_IKE_PRIO_SA, &pair[i][k], ike_policy_del);
	ike_remove(IPSEC_PCPU_OUT, pair[i][k].out);
	ike_remove(IPSEC_PCPU_IN, pair[i][k].in);
}

static void
query_pair(unsigned int i, unsigned int k)
{
	uint64_t bytes, packets, idle_s;
	struct gw_ike_sa_key in = ike_key(IPSEC_PCPU_IN, pair[i][k].in);
	struct gw_ike_sa_key out = ike_key(IPSEC_PCPU_OUT, pair[i][k].out);
	struct gw_error err;

	assert_int_equal(gw_ike_sa_query(&site.gw, &in, &bytes, &packets, &idle_s, &err), 0);
	assert_int_equal(gw_ike_sa_query(&site.gw, &out, &bytes, &packets, &idle_s, &err), 0);
}

static void
each_pair(void (*fn)(unsigned int i, unsigned int k))
{
	for (unsigned int i = 0; i < MANY; i++)
		for (unsigned int k = 0; k < PAIRS; k++)
			fn(i, k);
}

/** What workers are told to do with a packet to a tunnel's network: its own tunnel, or nothing. */
static void
check_tunnel(unsigned int i, bool there)
{
	struct gw_flow flow = {.family = AF_INET, .proto = 1};
	struct gw_verdict v;

	memcpy(flow.src, (uint8_t[]){10, 10, 0, 1}, 4);
	memcpy(flow.dst, (uint8_t[]){10, 100 + i / 250, i % 250, 1}, 4);
	v = gw_verdict_of(site.gw.view, &flow);
	if (!there) {
		assert_int_equal(v.rule, 0);
		return;
	}
	assert_int_equal(v.action, GW_ACTION_TUNNEL);
	assert_int_equal(gw_ike_reqid(&site.gw.tunnel[v.tunnel]), 100 + i);
}

static void
check_tunnels(unsigned int from, unsigned int to, bool there)
{
	for (unsigned int i = from; i < to; i++)
		check_tunnel(i, there);
}

/** A second later there is one classifier, of all policies. */
static void
check_rest(void)
{
	builds = 0;
	ike_later(2 * IKE_S);
	gw_ike_tick(&site.gw);
	assert_int_equal(builds, 1);
	gw_ike_tick(&site.gw);
	ike_later(2 * IKE_S);
	gw_ike_tick(&site.gw);
	assert_int_equal(builds, 1);
}

/* Tests */

/** After each trap its packets are taken, and after each that goes no more. */
static void
test_traps(void **state)
{
	ike_start_many(FEW, MANY + 2);
	ike_connect(1);
	begin();
	for (unsigned int i = 0; i < MANY; i++) {
		each_policy(i, GW_IKE_PRIO_TRAP, NULL, ike_policy_add);
		check_tunnel(i, true);
		check_tunnel(i / 2, true);
	}
	end("a trap each");
	assert_true(builds <= MANY / GW_POLICY_BESIDE + 1);
	check_tunnels(0, MANY, true);
	check_rest();
	check_tunnels(0, MANY, true);
	begin();
	for (unsigned int i = 0; i < MANY; i++) {
		each_policy(i, GW_IKE_PRIO_TRAP, NULL, ike_policy_del);
		check_tunnel(i, false);
		check_tunnel((i + MANY) / 2, i < MANY - 1);
	}
	end("traps removed");
	assert_true(builds <= MANY / GW_POLICY_BESIDE + 1);
	check_tunnels(0, MANY, false);
	check_rest();
	check_tunnels(0, MANY, false);
	assert_int_equal(ike_status().tunnels, 1);
	site_stop();
}

/** The last SA of a tunnel goes before its policy, or after it: never is there another way. */
static void
test_sas(void **state)
{
	ike_start_many(FEW, MANY + 2);
	ike_connect(1);
	begin();
	each_pair(add_pair);
	end("5 pairs of SAs each, and their policies");
	assert_true(builds <= MANY / GW_POLICY_BESIDE + 1);
	assert_int_equal(ike_status().sas_in, MANY * PAIRS);
	check_tunnels(0, MANY, true);
	begin();
	each_pair(query_pair);
	end("each SA asked after once");
	begin();
	each_pair(del_pair);
	end("SAs and policies removed");
	assert_true(builds <= MANY / GW_POLICY_BESIDE + 1);
	assert_int_equal(ike_status().sas_in + ike_status().sas_out, 0);
	assert_int_equal(ike_status().tunnels, 1);
	check_tunnels(0, MANY, false);
	site_stop();
}

int
main(int argc, char **argv)
{
#define CASE(name) cmocka_unit_test_teardown(name, ike_teardown)
	const struct CMUnitTest tests[] = {
			CASE(test_traps),
			CASE(test_sas),
	};
#undef CASE
	return site_main(argc, argv, tests, RTE_DIM(tests));
}
