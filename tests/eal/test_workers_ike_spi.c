/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Plain ESP through a NIC that spreads it by its SPI (workers_rss.h): SAs that charon negotiates
 * get SPIs by which their packets land on the worker that has them, once it is known what the
 * NIC hashes; and without that knowledge all is as it was before.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <rte_eal.h>
#include <rte_thash.h>

#include "front/commands.h"
#include "workers_ike.h"
#include "workers_rss.h"

#define N SITE_WORKERS
#define ROUND 17 /* packets of an SA: more than it takes to judge it */
#define TEACHER 40 /* pairs that come before all others, and go again */
#define N_TEACHERS 3

void __real_gw_steering_tick(struct gw *gw);
void __wrap_gw_steering_tick(struct gw *gw);

/** Control's own, by its timer: the test has it in its hands. */
void
__wrap_gw_steering_tick(struct gw *gw)
{
}

static void
tick(void)
{
	ike_later(IKE_S);
	gw_stats_tick(&site.gw);
	__real_gw_steering_tick(&site.gw);
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

/** The peer sends by an SA: packets land where RSS says. */
static void
send_in(uint32_t spi, unsigned int packets)
{
	struct peer_sa *sa = peer_find(&site.peer, spi);

	assert_non_null(sa);
	for (unsigned int i = 0; i < packets; i++) {
		struct rte_mbuf *m = pkt_make(&site.log, site.pool, PKT_IN,
				site_flow_on(sa->pair % N), 0, sa->pair);
		unsigned int queue;

		peer_seal(&site.peer, sa, m);
		queue = rss_nic_receive(m);
		site_ether(&site.wan, m);
		site_put(&site.wan, queue, m);
	}
}

static void
start(const struct rss_conf *nic)
{
	peer_plain = true;
	rss_nic_make(nic);
	ike_start();
	site.log.unordered = true;
	ike_connect(1);
	assert_int_equal(steer()->rss.esp4.by, GW_STEER_ESP_UNKNOWN);
}

static int
teardown(void **state)
{
	peer_plain = false;
	return ike_teardown(state);
}

/** Some SAs have traffic, and go. */
static void
teach(void)
{
	struct gw_rebalance r[GW_MAX_PORTS];
	struct gw_error err;

	for (unsigned int i = 0; i < N_TEACHERS; i++) {
		struct ike_pair p = ike_pair(TEACHER + i, i, true);

		ike_add(&p);
		send_in(p.in, 2);
		site_settle();
		tick();
		ike_del(&p);
	}
	/* entries that were theirs are as they were */
	assert_int_equal(gw_rebalance(&site.gw, r, &err), 0);
}

/** What was moved, written or handed off. */
struct effort {
	uint64_t foreign;
	unsigned int followed, writes;
};

static struct effort
effort(void)
{
	return (struct effort){site_sum(handed_off_esp), steer()->followed, steer()->rss.writes};
}

static void
assert_no_effort(const struct effort *before)
{
	struct effort now = effort();

	assert_int_equal(now.foreign, before->foreign);
	assert_int_equal(now.followed, before->followed);
	assert_int_equal(now.writes, before->writes);
}

/** By all SAs, and look at it, so often that steering does whatever it wants to do. */
static void
rounds(unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		for (unsigned int w = 0; w < N; w++)
			send_in(ike_own[w].in, ROUND);
		site_settle();
		tick();
	}
}

/** One on each worker. */
static void
check_spread(void)
{
	bool has[N] = {false};

	for (unsigned int w = 0; w < N; w++) {
		uint32_t worker = ike_worker(ike_own[w].in);

		assert_true(worker < N);
		if (has[worker])
			fail_msg("worker %u has two", worker);
		has[worker] = true;
		/* for the peer, and for what we send, it is what charon said */
		assert_int_equal(ike_sa(ike_own[w].in)->prm.pcpu, w);
		assert_int_equal(ike_worker(ike_own[w].out), w);
	}
}

/** "show steer" says so. */
static void
assert_shown(const char *what)
{
	struct gw_cmds *cmds = gw_commands_new(&site.gw);
	struct gw_text out = {.s = NULL};
	bool leave = false;

	assert_int_equal(
			gw_commands_run(cmds, &site.gw, "show steer json", false, &out, &leave), 0);
	if (strstr(gw_text_str(&out), what) == NULL)
		fail_msg("%s is not in %s", what, gw_text_str(&out));
	gw_text_fini(&out);
	gw_cmds_free(cmds);
}

static void
add_all(void)
{
	ike_add_fallback();
	for (unsigned int w = 0; w < N; w++) {
		ike_add(&ike_own[w]);
		send_in(ike_own[w].in, 2); /* from its first packet on */
	}
	site_settle();
}

static void
lands(const struct rss_conf *nic, const char *shown)
{
	struct effort before;

	start(nic);
	teach();
	assert_shown(shown);
	before = effort();
	add_all();
	check_spread();
	rounds(5);
	assert_no_effort(&before);
	check_spread();
	for (unsigned int w = 0; w < N; w++)
		assert_int_equal(ike_sa(ike_own[w].in)->steer->state, GW_STEER_VERIFIED);
}

static void
test_by_spi(void **state)
{
	lands(&(struct rss_conf){.reta_size = 128, .esp = RSS_ESP_SPI, .reta_refused = true},
			"\"esp\":\"by SPI (IPv4)\"");
	site_stop();
}

static void
test_by_addrs(void **state)
{
	lands(&(struct rss_conf){.reta_size = 512, .esp = RSS_ESP_ADDRS, .reta_refused = true},
			"\"esp\":\"by addresses and SPI (IPv4)\"");
	site_stop();
}

/** With the key that we gave it, and a table that could be written: it need not be. */
static void
test_writable(void **state)
{
	lands(&(struct rss_conf){.reta_size = 64, .esp = RSS_ESP_SPI, .takes_key = true},
			"\"esp\":\"by SPI (IPv4)\"");
	assert_string_equal(steer()->ops->name, "rss");
	site_stop();
}

/** All at once after a start: what there is to learn is learned by the way. */
static void
test_at_start(void **state)
{
	unsigned int n = 0;

	start(&(struct rss_conf){.reta_size = 128, .esp = RSS_ESP_SPI, .reta_refused = true});
	tick(); /* from the first one on workers note */
	ike_add_fallback();
	send_in(ike_fallback.in, 2);
	for (unsigned int w = 0; w < N; w++) {
		site_settle();
		ike_later(IKE_S / 10); /* an exchange of IKE, while control has no tick */
		ike_add(&ike_own[w]);
		send_in(ike_own[w].in, 2);
		n += ike_sa(ike_own[w].in)->ike->by_spi;
	}
	assert_int_equal(n, N - 1); /* the first one came too early */
	site_settle();
	site_stop();
}

/* Renewals */

/** By the NIC itself. */
static unsigned int
lands_on(uint32_t spi)
{
	uint32_t key[RSS_KEY_LEN / 4];

	memcpy(key, rss_nic.key, sizeof(key));
	return rss_nic.reta[rte_softrss(&spi, 1, (const uint8_t *)key) % rss_nic.conf.reta_size];
}

static void
renew(unsigned int w, bool initiator)
{
	struct ike_pair old = ike_own[w], new = ike_pair(old.number, old.cpu, initiator);

	ike_add(&new);
	ike_own[w] = new;
	send_in(new.in, 2);
	site_settle();
	ike_del(&old);
}

/** Those whose time is over, in any order: each stays where it was. */
static void
test_renew_due(void **state)
{
	uint32_t was[N], new[N];
	struct effort before;

	lands(&(struct rss_conf){.reta_size = 128, .esp = RSS_ESP_SPI, .reta_refused = true},
			"\"esp\":\"by SPI (IPv4)\"");
	before = effort();
	for (unsigned int i = 0; i < 3 * N; i++) {
		unsigned int w = pkt_random() % N;
		uint32_t worker = ike_worker(ike_own[w].in);

		ike_sa(ike_own[w].in)->ike->soft_said = true;
		renew(w, i % 2 == 0);
		assert_int_equal(ike_worker(ike_own[w].in), worker);
		check_spread();
	}
	/* all at once: each SPI is for another one, the oldest first */
	for (unsigned int w = 0; w < N; w++)
		renew(w, true);
	for (unsigned int w = 0; w < N; w++) {
		ike_sa(ike_own[w].in)->ike->soft_s = 1;
		was[w] = ike_worker(ike_own[w].in);
	}
	ike_later(2 * IKE_S);
	for (unsigned int w = 0; w < N; w++)
		new[w] = ike_alloc_spi();
	for (unsigned int w = 0; w < N; w++)
		assert_int_equal(lands_on(new[w]), was[w]);
	rounds(3);
	check_spread();
	assert_no_effort(&before);
	site_stop();
}

/** By the peer, which says nothing before: the oldest first, then in any order. */
static void
test_renew_by_peer(void **state)
{
	struct effort before;
	unsigned int n[N] = {0};

	lands(&(struct rss_conf){.reta_size = 128, .esp = RSS_ESP_SPI, .reta_refused = true},
			"\"esp\":\"by SPI (IPv4)\"");
	ike_del(&ike_fallback);
	before = effort();
	for (unsigned int i = 0; i < 2 * N; i++) {
		uint32_t worker = ike_worker(ike_own[i % N].in);

		renew(i % N, false);
		assert_int_equal(ike_worker(ike_own[i % N].in), worker);
	}
	check_spread();
	for (unsigned int i = 0; i < 4 * N; i++)
		renew(pkt_random() % N, false);
	rounds(3);
	assert_no_effort(&before);
	for (unsigned int w = 0; w < N; w++)
		n[ike_worker(ike_own[w].in)]++;
	for (unsigned int w = 0; w < N; w++)
		assert_in_range(n[w], 0, 2);
	site_stop();
}

/**
 * What the peer asks for has the number 0, nearly all: which SA is renewed shows when the old one
 * goes. The number goes over then, the SA stays where its packets come.
 */
static void
test_renew_numberless(void **state)
{
	struct effort before;

	start(&(struct rss_conf){.reta_size = 128, .esp = RSS_ESP_SPI, .reta_refused = true});
	ike_cpus = 2;
	teach();
	before = effort();
	for (unsigned int k = 0; k < N; k++) {
		ike_own[k] = ike_pair(k, k == 0, false);
		ike_add(&ike_own[k]);
	}
	rounds(2);
	for (unsigned int i = 0; i < 3 * N; i++) {
		renew(pkt_random() % N, false);
		rounds(i % N == 0);
	}
	rounds(3);
	assert_no_effort(&before);
	site_stop();
}

/* Where it is not known */

static void
unknown(const struct rss_conf *nic)
{
	struct gw_rebalance r;
	struct effort before;

	start(nic);
	teach();
	assert_shown("\"esp\":\"not known\"");
	add_all();
	/* by their numbers, as ever */
	for (unsigned int w = 0; w < N; w++) {
		assert_int_equal(ike_worker(ike_own[w].in), w);
		assert_false(ike_sa(ike_own[w].in)->ike->by_spi);
	}
	/* and steering does its part, but for those of which too many come to one worker */
	for (unsigned int n = 0; n < 12; n++) {
		rounds(1);
		for (unsigned int i = 0; i < 5; i++)
			tick();
	}
	before = effort();
	assert_true(before.followed > 0);
	rounds(1);
	assert_int_equal(gw_rebalance_plan(&site.gw, wan(), &r), 0);
	assert_int_equal(effort().foreign - before.foreign, r.stay * ROUND);
	for (unsigned int w = 0; w < N; w++) {
		uint32_t worker = ike_worker(ike_own[w].in);

		renew(w, w % 2 == 0);
		assert_int_equal(ike_worker(ike_own[w].in), worker); /* R5 */
	}
	site_stop();
}

static void
test_other_formula(void **state)
{
	unknown(&(struct rss_conf){.reta_size = 128, .esp = RSS_ESP_OTHER, .reta_refused = true});
}

static void
test_other_key(void **state)
{
	unknown(&(struct rss_conf){.reta_size = 128,
			.esp = RSS_ESP_SPI,
			.key_wrong = true,
			.reta_refused = true});
}

static void
test_no_hash(void **state)
{
	unknown(&(struct rss_conf){.reta_size = 128,
			.esp = RSS_ESP_SPI,
			.no_hash = true,
			.reta_refused = true});
}

/** A table that is not used: it is found out, and believed no more. */
static void
test_table_lies(void **state)
{
	start(&(struct rss_conf){.reta_size = 128,
			.esp = RSS_ESP_SPI,
			.reta_refused = true,
			.takes_key = true});
	teach();
	for (unsigned int i = 0; i < 128; i++)
		rss_nic.reta[i] = (rss_nic.reta[i] + 1) % N;
	add_all();
	assert_true(ike_sa(ike_own[0].in)->ike->by_spi);
	rounds(10);
	assert_true(steer()->rss.lies);
	assert_shown("\"esp\":\"not known\"");
	renew(3, true);
	assert_false(ike_sa(ike_own[3].in)->ike->by_spi);
	site_stop();
}

/* Reset */

static uint64_t wanted;

static bool
reset_done(void)
{
	const struct gw_port *port = gw_port_find(&site.gw, "wan");

	return port->reset.done == wanted && site.gw.view->port[port - site.gw.port].up;
}

/** The NIC has another key then: what was learned, and given out by it, counts no more. */
static void
test_reset(void **state)
{
	struct ike_pair p = ike_pair(3, 3, true);
	struct gw_ike_new_sa sa;
	struct effort before;
	struct gw_error err;

	start(&(struct rss_conf){.reta_size = 128,
			.esp = RSS_ESP_SPI,
			.reta_refused = true,
			.new_key = true});
	site.goes_down = true;
	teach();
	assert_shown("\"esp\":\"by SPI (IPv4)\"");
	p.in = ike_alloc_spi();
	ike_clock_runs();
	wanted = gw_port_find(&site.gw, "wan")->reset.done + 1;
	rss_nic_ask_for_reset();
	site_until(reset_done, "the port is not reset");
	assert_shown("\"esp\":\"not known\"");
	ike_sa_params(&sa, &p, IPSEC_PCPU_IN);
	assert_int_equal(gw_ike_sa_add(&site.gw, &sa, &err), 0);
	assert_int_equal(ike_worker(p.in), 3);
	assert_false(ike_sa(p.in)->ike->by_spi);
	ike_remove(IPSEC_PCPU_IN, p.in);
	teach();
	assert_shown("\"esp\":\"by SPI (IPv4)\"");
	before = effort();
	add_all();
	check_spread();
	assert_no_effort(&before);
	site_stop();
}

int
main(int argc, char **argv)
{
#define CASE(name) cmocka_unit_test_teardown(name, teardown)
	const struct CMUnitTest tests[] = {
			CASE(test_by_spi),
			CASE(test_by_addrs),
			CASE(test_writable),
			CASE(test_at_start),
			CASE(test_renew_due),
			CASE(test_renew_by_peer),
			CASE(test_renew_numberless),
			CASE(test_other_formula),
			CASE(test_other_key),
			CASE(test_no_hash),
			CASE(test_table_lies),
			CASE(test_reset),
	};
#undef CASE
	return site_main(argc, argv, tests, RTE_DIM(tests));
}
