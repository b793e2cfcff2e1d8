/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Steering by RSS on the workers of test_workers.c: 64 inbound SAs, each with a random
 * source port, through a NIC that hashes them with a random key (workers_rss.h). In the end
 * each packet lands on the worker that owns its SA, whatever the NIC does wrong; on the
 * way there nothing is lost and nothing comes twice. The test has control's ticks in its
 * hands, and moves the clock between them (--wrap of the linker).
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include <rte_eal.h>

#include "front/commands.h"
#include "workers_rss.h"
#include "workers_site.h"

#define N SITE_WORKERS
#define SAS 64
#define MAX_PAIRS 96 /* with those that are added; each has flows of its own */
#define ROUND 17 /* packets of an SA: more than it takes to judge it */
#define MAX_ROUNDS 20
#define SOON 8 /* rounds: what is not right by then waits for the end of a pause */

static const struct site_conf conf = {.workers = N, .queues = N, .pairs = SAS};
static unsigned int n_pairs;
static unsigned int gen[MAX_PAIRS]; /* the peer sends on the SA of this generation */

/* Time */

static time_t ahead;
static bool by_itself; /* control steers when its own timer says so */

int __real_clock_gettime(clockid_t id, struct timespec *ts);
int __wrap_clock_gettime(clockid_t id, struct timespec *ts);

int
__wrap_clock_gettime(clockid_t id, struct timespec *ts)
{
	int rc = __real_clock_gettime(id, ts);

	if (id == CLOCK_MONOTONIC)
		ts->tv_sec += __atomic_load_n(&ahead, __ATOMIC_RELAXED);
	return rc;
}

void __real_gw_steering_tick(struct gw *gw);
void __wrap_gw_steering_tick(struct gw *gw);

/** Control's own, by its timer. */
void
__wrap_gw_steering_tick(struct gw *gw)
{
	if (by_itself)
		__real_gw_steering_tick(gw);
}

/** What control does once a second, some seconds later. */
static void
tick_in(unsigned int seconds)
{
	__atomic_store_n(&ahead, ahead + seconds, __ATOMIC_RELAXED);
	gw_stats_tick(&site.gw);
	__real_gw_steering_tick(&site.gw);
}

static void
tick(void)
{
	tick_in(1);
}

/* The gateway and its NIC */

static void
start(const struct rss_conf *nic)
{
	peer_ports = pkt_random() | 1;
	rss_nic_make(nic);
	site_start(&conf);
	site.log.unordered = true; /* a flow comes out where its SA is just now */
	n_pairs = SAS;
	memset(gen, 0, sizeof(gen));
}

static int
teardown(void **state)
{
	peer_ports = peer_own_ports = 0;
	by_itself = false;
	return site_teardown(state);
}

static unsigned int
wan(void)
{
	return gw_port_find(&site.gw, "wan") - site.gw.port;
}

static const struct gw_steer_port *
steer(void)
{
	return gw_steering_port(&site.gw, wan());
}

static struct gw_sa *
sa_of(unsigned int pair)
{
	struct gw_sa *sa = gw_sa_find(&site.gw, site_spi(IPSEC_PCPU_IN, pair, gen[pair]));

	assert_non_null(sa);
	assert_non_null(sa->steer);
	assert_int_equal(sa->steer->queue, sa->worker);
	return sa;
}

/* Traffic */

/** A packet by an SA: lands where RSS says. */
static void
send_in(unsigned int pair)
{
	struct peer_sa *sa = peer_find(&site.peer, site_spi(IPSEC_PCPU_IN, pair, gen[pair]));
	unsigned int flow = pair + pkt_random() % (PKT_FLOWS / MAX_PAIRS) * MAX_PAIRS;
	struct rte_mbuf *m = pkt_make(&site.log, site.pool, PKT_IN, flow, 0, pair);
	unsigned int queue;

	assert_non_null(sa);
	assert_true(pair < MAX_PAIRS);
	peer_seal(&site.peer, sa, m);
	queue = rss_nic_receive(m);
	site_ether(&site.wan, m);
	site_put(&site.wan, queue, m);
}

static void
send_all(unsigned int packets)
{
	for (unsigned int i = 0; i < packets; i++)
		for (unsigned int p = 0; p < n_pairs; p++)
			send_in(p);
}

static unsigned int
owned_by(unsigned int worker)
{
	unsigned int n = 0;

	for (unsigned int p = 0; p < n_pairs; p++)
		n += sa_of(p)->worker == worker;
	return n;
}

/** As many by each SA, and settle; returns how many of them were handed off. */
static uint64_t
round_of(unsigned int packets)
{
	uint64_t owned = site_sum(esp_owned), foreign = site_sum(handed_off_esp);

	send_all(packets);
	site_settle();
	owned = site_sum(esp_owned) - owned;
	foreign = site_sum(handed_off_esp) - foreign;
	assert_int_equal(owned + foreign, packets * n_pairs);
	return foreign;
}

/** Rounds until all is owned. Returns how many were not. */
static unsigned int
converge(void)
{
	unsigned int n = 0;

	tick();
	while (round_of(ROUND) > 0) {
		if (n++ == MAX_ROUNDS)
			fail_msg("packets are handed off for ever");
		tick_in(n < SOON ? 1 : 20);
	}
	tick();
	return n;
}

/** Traffic that goes up and down, tick by tick: nothing is changed. Returns what was foreign. */
static uint64_t
steady(void)
{
	const struct gw_steer_ops *ops = steer()->ops;
	unsigned int writes = steer()->rss.writes, updates = rss_nic.updates;
	unsigned int followed = steer()->followed;
	uint64_t foreign = site_sum(handed_off_esp);

	tick();
	site.log.unordered = false;
	for (unsigned int i = 0; i < 10; i++) {
		for (unsigned int p = 0; p < n_pairs; p++)
			for (unsigned int k = pkt_random() % 25; k > 0; k--)
				send_in(p);
		site_settle();
		tick();
		assert_ptr_equal(steer()->ops, ops);
		assert_int_equal(steer()->rss.writes, writes);
		assert_int_equal(rss_nic.updates, updates);
		assert_int_equal(steer()->followed, followed);
	}
	site.log.unordered = true;
	return site_sum(handed_off_esp) - foreign;
}

/** All was decrypted, and nothing further behind a later packet than this. */
static void
assert_order(uint64_t displaced)
{
	for (unsigned int p = 0; p < n_pairs; p++) {
		struct ipsec_pcpu_sa_stats st;

		ipsec_pcpu_sa_stats(sa_of(p)->sa, &st);
		assert_true(st.packets > 0);
		assert_int_equal(st.lost, 0);
		assert_in_range(st.displaced, 0, displaced);
	}
}

/** It ends with this method, and is right then. */
static void
end_with(const char *method)
{
	assert_string_equal(steer()->ops->name, method);
	assert_int_equal(steady(), 0);
	/* nothing was under way when something changed */
	assert_order(0);
	site_stop();
}

static void
assert_why_not_rss(const char *what)
{
	const char *why = steer()->why_not[gw_steer_method("rss")];

	if (strstr(why, what) == NULL)
		fail_msg("\"%s\" does not say: %s", why, what);
}

/* A NIC that does as it says */

/** From the first packet on: the ports are those of the configuration. */
static void
right_at_once(uint16_t reta_size, bool takes_key)
{
	const struct rss_conf nic = {.reta_size = reta_size, .takes_key = takes_key};

	start(&nic);
	assert_int_equal(memcmp(rss_nic.key, gw_rss_key, sizeof(rss_nic.key)) == 0, takes_key);
	assert_int_equal(steer()->rss.reta_size, reta_size);
	assert_true(steer()->rss.writes > 0);
	/* a second plan for what is left of conflicts: not all are moved at once */
	tick();
	assert_int_equal(converge(), 0);
	assert_true(steer()->rss.has_key);
	assert_true(sa_of(0)->steer->nic_hash);
	assert_int_equal(site_sum(handed_off_esp), 0);
	end_with("rss");
}

static void
test_reta_64(void **state)
{
	right_at_once(64, false);
	right_at_once(64, false);
}

static void
test_reta_128(void **state)
{
	right_at_once(128, false);
}

static void
test_reta_256(void **state)
{
	right_at_once(256, true);
}

static void
test_reta_512(void **state)
{
	right_at_once(512, false);
}

/** The peer's own random ports: the table is made for what packets show. */
static void
other_ports(const struct rss_conf *nic)
{
	peer_own_ports = pkt_random() | 1;
	start(nic);
	assert_true(converge() > 0);
	for (unsigned int p = 0; p < SAS; p++) {
		const struct gw_sa *sa = sa_of(p);

		assert_int_not_equal(sa->steer->tuple.sport, sa->prm.encap_sport);
		assert_int_equal(sa->steer->tuple.sport, peer_sport(sa->prm.spi, peer_own_ports));
		assert_true(sa->steer->seen);
	}
	assert_true(steer()->rss.has_key);
	end_with("rss");
}

static void
test_other_ports(void **state)
{
	other_ports(&(struct rss_conf){.reta_size = 128});
}

static void
test_other_ports_no_hash(void **state)
{
	other_ports(&(struct rss_conf){.reta_size = 128, .no_hash = true});
}

/* NICs that hide something */

static void
test_refused(void **state)
{
	start(&(struct rss_conf){.reta_size = 128, .reta_refused = true});
	assert_why_not_rss("cannot be written");
	assert_true(converge() > 0);
	assert_int_equal(steer()->rss.writes, 0);
	assert_true(steer()->followed > 0);
	end_with("soft");
}

/** Nothing is known but where packets land. */
static void
test_blind(void **state)
{
	start(&(struct rss_conf){.reta_size = 128, .key_hidden = true, .no_hash = true});
	assert_false(steer()->rss.has_key);
	assert_true(converge() > 0);
	assert_int_equal(steer()->rss.writes, 0);
	assert_true(steer()->followed > 0);
	end_with("rss");
}

static void
test_key_hidden(void **state)
{
	start(&(struct rss_conf){.reta_size = 512, .key_hidden = true});
	assert_false(steer()->rss.has_key);
	assert_true(converge() > 0);
	assert_true(steer()->rss.writes > 0);
	/* most came right by the table, not by moves */
	assert_true(steer()->followed < SAS / 2);
	end_with("rss");
}

/* NICs that say what is not so */

static void
test_key_wrong(void **state)
{
	start(&(struct rss_conf){.reta_size = 256, .key_wrong = true});
	assert_true(steer()->rss.has_key);
	assert_true(converge() > 0);
	assert_false(steer()->rss.has_key);
	assert_non_null(strstr(steer()->rss.text, "not hashed with the key"));
	end_with("rss");
}

/** The table seems to have no effect, as far as can be seen. */
static void
test_key_wrong_no_hash(void **state)
{
	start(&(struct rss_conf){.reta_size = 256, .key_wrong = true, .no_hash = true});
	assert_true(converge() > 0);
	assert_why_not_rss("table entry for SA");
	end_with("soft");
}

static void
test_reta_lies(void **state)
{
	start(&(struct rss_conf){.reta_size = 128, .reta_lies = true});
	assert_string_equal(steer()->ops->name, "rss");
	assert_true(converge() > 0);
	assert_why_not_rss("table entry for SA");
	assert_true(steer()->followed > 0);
	end_with("soft");
}

static void
test_reta_deaf(void **state)
{
	start(&(struct rss_conf){.reta_size = 128, .reta_deaf = true});
	assert_true(rss_nic.updates > 0);
	/* it may have been busy: twice more */
	assert_string_equal(steer()->ops->name, "rss");
	tick();
	tick();
	assert_why_not_rss("could not be written");
	assert_true(converge() > 0);
	end_with("soft");
}

/* Where not all can be owned */

/** What "show steer" says of all packets since the last "clear stats". */
static void
assert_shown(uint64_t foreign, uint64_t all)
{
	struct gw_cmds *cmds = gw_commands_new(&site.gw);
	struct gw_text out = {.s = NULL};
	char want[64];
	bool leave = false;

	assert_int_equal(
			gw_commands_run(cmds, &site.gw, "show steer json", false, &out, &leave), 0);
	snprintf(want, sizeof(want), "\"efficiency_percent\":%.1f", 100.0 * (all - foreign) / all);
	if (strstr(gw_text_str(&out), want) == NULL)
		fail_msg("%s is not in %s", want, gw_text_str(&out));
	gw_text_fini(&out);
	gw_cmds_free(cmds);
}

/** All land on one queue: its worker gets more than its share, and no more than that. */
static void
test_crowd(void **state)
{
	struct gw_rebalance r;
	unsigned int own;

	start(&(struct rss_conf){.reta_size = 128, .reta_refused = true, .crowded = true});
	for (unsigned int i = 0; i < 5; i++) {
		round_of(ROUND);
		tick();
	}
	own = owned_by(RSS_CROWDED_QUEUE);
	assert_int_equal(own, 4 * SAS / N);
	gw_stats_clear(&site.gw);
	assert_int_equal(round_of(ROUND), (SAS - own) * ROUND);
	assert_shown(SAS - own, SAS);
	assert_int_equal(gw_rebalance_plan(&site.gw, wan(), &r), 0);
	assert_int_equal(r.stay, SAS - own);
	assert_int_equal(r.moved, 0);
	assert_true(steady() > 0);
	assert_order(0);
	site_stop();
}

/* Changes */

static void
add_sa(unsigned int pair, unsigned int generation)
{
	uint32_t spi = site_spi(IPSEC_PCPU_IN, pair, generation);
	struct gw_config_sa sa;
	struct gw_error err;

	memset(&sa, 0, sizeof(sa));
	peer_sa_params(&sa.prm, IPSEC_PCPU_IN, spi, pair);
	peer_add(&site.peer, IPSEC_PCPU_IN, spi, pair);
	if (gw_sa_add(&site.gw, &site.gw.tunnel[0], &sa, &err) < 0)
		fail_msg("%s", err.text);
}

static void
del_sa(unsigned int pair, unsigned int generation)
{
	struct gw_error err;

	if (gw_sa_del(&site.gw, &site.gw.tunnel[0], IPSEC_PCPU_IN,
			    site_spi(IPSEC_PCPU_IN, pair, generation), &err) < 0)
		fail_msg("%s", err.text);
}

/** SAs come while the others have traffic, and theirs lands right from its first packet on. */
static void
test_added(void **state)
{
	uint64_t foreign;

	start(&(struct rss_conf){.reta_size = 512});
	tick();
	assert_int_equal(converge(), 0);
	foreign = site_sum(handed_off_esp);
	for (unsigned int p = SAS; p < SAS + 8; p++) {
		send_all(2);
		add_sa(p, 0);
		send_all(2);
		assert_int_equal(
				gw_sa_find(&site.gw, site_spi(IPSEC_PCPU_IN, p, 0))->worker, p % N);
		site_settle();
		tick();
		n_pairs++;
	}
	assert_int_equal(converge(), 0);
	assert_int_equal(site_sum(handed_off_esp), foreign);
	end_with("rss");
}

/** The successor is where its predecessor is, also where that was moved. */
static void
test_rekey(void **state)
{
	unsigned int moved = 0;

	start(&(struct rss_conf){.reta_size = 64, .key_hidden = true});
	converge();
	for (unsigned int p = 0; p < SAS; p += 3) {
		unsigned int worker = sa_of(p)->worker;

		moved += worker != p % N;
		send_all(1);
		add_sa(p, 1);
		send_all(1);
		gen[p] = 1;
		assert_int_equal(sa_of(p)->worker, worker);
		send_all(1);
		site_settle();
		del_sa(p, 0);
	}
	assert_true(moved > 0);
	converge();
	end_with("rss");
}

static uint64_t wanted;

static bool
reset_done(void)
{
	return site.gw.port[wan()].reset.done == wanted && site.gw.view->port[wan()].up;
}

static void
reset_port(void)
{
	wanted = site.gw.port[wan()].reset.done + 1;
	rss_nic_ask_for_reset();
	site_until(reset_done, "the port is not reset");
}

/** The table is written again, before a packet comes. */
static void
test_reset(void **state)
{
	unsigned int starts;
	uint64_t foreign;

	start(&(struct rss_conf){.reta_size = 128});
	site.goes_down = true;
	tick();
	assert_int_equal(converge(), 0);
	starts = rss_nic.starts;
	foreign = site_sum(handed_off_esp);
	for (unsigned int i = 0; i < 3; i++) {
		reset_port();
		assert_int_equal(steer()->rss.writes, 1);
		assert_int_equal(round_of(ROUND), 0);
	}
	assert_int_equal(rss_nic.starts, starts + 3);
	assert_int_equal(site_sum(handed_off_esp), foreign);
	end_with("rss");
}

/** The NIC has another key then, and does not tell: what was learned is of no use. */
static void
test_reset_new_key(void **state)
{
	start(&(struct rss_conf){.reta_size = 128, .new_key = true, .key_hidden = true});
	site.goes_down = true;
	for (unsigned int i = 0; i < 3; i++) {
		converge();
		assert_int_equal(steady(), 0);
		reset_port();
	}
	assert_true(converge() > 0);
	/* each key makes some move: not always to the same workers */
	for (unsigned int w = 0; w < N; w++)
		assert_in_range(owned_by(w), 0, 3 * SAS / N);
	end_with("rss");
}

/** Nobody but control's own timer does anything. */
static void
test_by_itself(void **state)
{
	uint64_t deadline;

	start(&(struct rss_conf){.reta_size = 128, .key_hidden = true});
	by_itself = true;
	deadline = gw_now_ns() + UINT64_C(20000000000);
	while (round_of(ROUND) > 0)
		assert_true(gw_now_ns() < deadline);
	assert_true(steer()->rss.writes > 0);
	by_itself = false;
	converge();
	assert_string_equal(steer()->ops->name, "rss");
	assert_int_equal(steady(), 0);
	site_stop();
}

/** Ticks while packets are under way: some are late, none too late. */
static void
test_under_way(void **state)
{
	start(&(struct rss_conf){.reta_size = 128, .key_hidden = true});
	for (unsigned int i = 0; i < 60; i++) {
		send_all(2);
		tick();
	}
	site_settle();
	assert_true(steer()->rss.writes > 0);
	for (unsigned int p = 0; p < SAS; p++) {
		struct ipsec_pcpu_sa_stats st;

		ipsec_pcpu_sa_stats(sa_of(p)->sa, &st);
		assert_int_equal(st.packets, 120);
		assert_int_equal(st.lost, 0);
	}
	converge();
	assert_int_equal(steady(), 0);
	site_stop();
}

/* On demand */

static struct gw_rebalance
rebalance(void)
{
	struct gw_rebalance r[GW_MAX_PORTS];
	struct gw_error err;

	if (gw_rebalance(&site.gw, r, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(r[wan()].failed, 0);
	return r[wan()];
}

/** Before the first packet, all conflicts at once. */
static void
test_rebalance(void **state)
{
	start(&(struct rss_conf){.reta_size = 64});
	rebalance();
	assert_int_equal(round_of(ROUND), 0);
	end_with("rss");
}

/** No strikes are waited for, and there is no limit to the moves. */
static void
test_rebalance_landed(void **state)
{
	unsigned int moved;

	start(&(struct rss_conf){.reta_size = 128, .reta_refused = true});
	/* counters are compared from the second look on */
	tick();
	assert_true(round_of(ROUND) > 0);
	tick();
	moved = rebalance().moved;
	assert_true(moved > GW_STEER_MAX_FOLLOW);
	assert_int_equal(round_of(ROUND), 0);
	end_with("soft");
}

int
main(int argc, char **argv)
{
#define CASE(name) cmocka_unit_test_teardown(name, teardown)
	const struct CMUnitTest tests[] = {
			CASE(test_reta_64),
			CASE(test_reta_128),
			CASE(test_reta_256),
			CASE(test_reta_512),
			CASE(test_other_ports),
			CASE(test_other_ports_no_hash),
			CASE(test_refused),
			CASE(test_blind),
			CASE(test_key_hidden),
			CASE(test_key_wrong),
			CASE(test_key_wrong_no_hash),
			CASE(test_reta_lies),
			CASE(test_reta_deaf),
			CASE(test_crowd),
			CASE(test_added),
			CASE(test_rekey),
			CASE(test_reset),
			CASE(test_reset_new_key),
			CASE(test_by_itself),
			CASE(test_under_way),
			CASE(test_rebalance),
			CASE(test_rebalance_landed),
	};
#undef CASE
	return site_main(argc, argv, tests, RTE_DIM(tests));
}
