/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * What control changes while packets are under way, on the workers of
 * test_workers.c: SAs, the tunnel, routes, neighbours, forwarding, reservations
 * of sequence numbers. Nothing is lost without a name, and nothing that is
 * protected leaves in clear.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <rte_eal.h>

#include "workers_site.h"

#define N SITE_WORKERS

/* Changes under traffic */

static void
add_sa(enum ipsec_pcpu_dir dir, unsigned int pair, unsigned int gen)
{
	struct gw_tunnel *t = &site.gw.tunnel[0];
	uint32_t spi = site_spi(dir, pair, gen);
	struct gw_config_sa sa;
	struct gw_error err;

	memset(&sa, 0, sizeof(sa));
	peer_sa_params(&sa.prm, dir, spi, pair);
	if (peer_find(&site.peer, spi) == NULL)
		peer_add(&site.peer, dir, spi, pair);
	if (gw_sa_add(&site.gw, t, &sa, &err) < 0)
		fail_msg("%s", err.text);
}

static void
del_sa(enum ipsec_pcpu_dir dir, unsigned int pair, unsigned int gen)
{
	struct gw_error err;

	if (gw_sa_del(&site.gw, &site.gw.tunnel[0], dir, site_spi(dir, pair, gen), &err) < 0)
		fail_msg("%s", err.text);
}

/** A little of everything: out on all queues, in by the SAs of this generation. */
static void
traffic(unsigned int packets, const unsigned int gen[])
{
	for (unsigned int i = 0; i < packets; i++) {
		for (unsigned int q = 0; q < N; q++) {
			unsigned int p = site.conf.pairs > q ? q : PEER_FALLBACK;

			site_send_out(site_flow_on(q), q);
			site_send_in(site_flow_on(q), site_spi(IPSEC_PCPU_IN, p, gen[q]), q);
		}
	}
}

/** Out on all queues. */
static void
send_all(unsigned int packets)
{
	for (unsigned int i = 0; i < packets; i++)
		for (unsigned int q = 0; q < N; q++)
			site_send_out(site_flow_on(q), q);
}

/** A rekey of worker @p p, with packets under way all the time. */
static void
rekey(unsigned int p, unsigned int gen[], unsigned int pair)
{
	uint32_t old_out = site_spi(IPSEC_PCPU_OUT, pair, gen[p]);
	uint64_t before;

	traffic(3, gen);
	add_sa(IPSEC_PCPU_IN, pair, gen[p] + 1);
	traffic(3, gen);
	add_sa(IPSEC_PCPU_OUT, pair, gen[p] + 1);
	before = site_sa_packets(old_out);
	traffic(3, gen); /* still on the old inbound SA */
	assert_int_equal(site_sa_packets(old_out), before);
	for (unsigned int q = 0; q < N; q++)
		if (q == p || (pair == PEER_FALLBACK && q >= site.conf.pairs))
			gen[q]++;
	traffic(3, gen);
	del_sa(IPSEC_PCPU_OUT, pair, gen[p] - 1);
	traffic(3, gen);
	site_settle();
	del_sa(IPSEC_PCPU_IN, pair, gen[p] - 1);
}

static void
test_rekey(void **state)
{
	unsigned int gen[N] = {0};
	uint64_t views;

	site_start(&site_conf_full);
	views = site.gw.view_changes;
	for (unsigned int i = 0; i < 16; i++) {
		unsigned int p = pkt_random() % N;

		rekey(p, gen, p);
	}
	site_settle();
	/* workers see no difference, and keep the flows that they know */
	assert_int_equal(site.gw.view_changes, views);
	for (unsigned int q = 0; q < N; q++)
		assert_true(gen[q] == 0 ||
				site_sa_packets(site_spi(IPSEC_PCPU_OUT, q, gen[q])) > 0);
	assert_int_equal(site_sum(handed_off_fallback), 0);
	site_stop();
}

/** Workers take ESP on a port as long as there is an SA for it. */
static void
test_esp_port(void **state)
{
	const uint32_t spi = site_spi(IPSEC_PCPU_IN, 1, 7);
	struct gw_tunnel *t;
	struct gw_config_sa sa;
	struct gw_error err;

	site_start(&site_conf_full);
	t = &site.gw.tunnel[0];
	memset(&sa, 0, sizeof(sa));
	peer_sa_params(&sa.prm, IPSEC_PCPU_IN, spi, 1);
	sa.prm.encap_dport = 4501;
	assert_false(gw_local_takes_esp(site.gw.view->local, 4501));
	assert_int_equal(gw_sa_add(&site.gw, t, &sa, &err), 0);
	assert_true(gw_local_takes_esp(site.gw.view->local, 4501));
	assert_int_equal(gw_sa_del(&site.gw, t, IPSEC_PCPU_IN, spi, &err), 0);
	assert_false(gw_local_takes_esp(site.gw.view->local, 4501));
	assert_true(gw_local_takes_esp(site.gw.view->local, 4500));
	site_stop();
}

/** The SA that most workers send on, changed under their hands: nothing is lost. */
static void
test_rekey_fallback(void **state)
{
	const struct site_conf conf = {.workers = N, .queues = N, .pairs = 3, .fallback = true};
	unsigned int gen[N] = {0};

	site_start(&conf);
	site.log.unordered = true; /* of inbound: it comes on all queues */
	for (unsigned int i = 0; i < 8; i++)
		rekey(N - 1, gen, PEER_FALLBACK);
	site_stop();
}

/** A worker gets its first SA, and loses it again, without one packet lost. */
static void
test_own_comes_and_goes(void **state)
{
	const struct site_conf conf = {.workers = N, .queues = N, .pairs = 3, .fallback = true};
	unsigned int gen[N] = {0};
	uint64_t fallback;

	site_start(&conf);
	site.log.unordered = true; /* a flow changes to another worker's SA */
	for (unsigned int i = 0; i < 10; i++) {
		/* worker 3 among them, which has the fallback SA */
		unsigned int p = 3 + i % 5;

		traffic(4, gen);
		add_sa(IPSEC_PCPU_OUT, p, 1 + i);
		traffic(4, gen);
		site_settle();
		fallback = site.out[p][PEER_FALLBACK];
		traffic(4, gen);
		site_settle();
		assert_int_equal(site.out[p][PEER_FALLBACK], fallback);
		traffic(4, gen);
		del_sa(IPSEC_PCPU_OUT, p, 1 + i);
		traffic(4, gen);
		site_settle();
		assert_true(site.out[p][PEER_FALLBACK] > fallback);
	}
	site_stop();
}

/** The fallback SA goes: workers without an SA borrow one. And it comes back. */
static void
test_fallback_goes(void **state)
{
	const struct site_conf conf = {.workers = N, .queues = N, .pairs = 3, .fallback = true};
	uint64_t lost = 0;

	site_start(&conf);
	site.log.unordered = true;
	for (unsigned int i = 0; i < 10; i++) {
		send_all(4);
		del_sa(IPSEC_PCPU_OUT, PEER_FALLBACK, i);
		send_all(4);
		site_settle();
		lost = site.log.sent - site.log.got;
		send_all(4);
		add_sa(IPSEC_PCPU_OUT, PEER_FALLBACK, i + 1);
		send_all(4);
		site_settle();
		assert_int_equal(site.log.sent - site.log.got, lost);
	}
	/* those that were on the ring to the worker that had it just then, at most */
	site.drop[GW_DROP_NO_OUT_SA] = lost;
	assert_true(lost < 10 * SITE_WINDOW);
	site_stop();
}

/** An SPI or a key that is there already is refused, and nothing changes. */
static void
test_sa_refused(void **state)
{
	struct gw_tunnel *t;
	struct gw_config_sa sa;
	struct gw_error err;
	unsigned int gen[N] = {0};

	site_start(&site_conf_full);
	t = &site.gw.tunnel[0];
	add_sa(IPSEC_PCPU_IN, 2, 1);
	add_sa(IPSEC_PCPU_OUT, 2, 1);
	for (unsigned int i = 0; i < 4; i++) {
		enum ipsec_pcpu_dir dir = i % 2 == 0 ? IPSEC_PCPU_IN : IPSEC_PCPU_OUT;

		memset(&sa, 0, sizeof(sa));
		peer_sa_params(&sa.prm, dir, site_spi(dir, 2, 1), 2);
		if (i < 2)
			sa.prm.key[0]++; /* the SPI alone */
		else
			sa.prm.spi += 0x100000; /* the key alone */
		assert_true(gw_sa_add(&site.gw, t, &sa, &err) < 0);
		assert_true(strlen(err.text) > 0);
	}
	assert_int_equal(t->n_sas, 2 * (N + 1) + 2);
	gen[2] = 1;
	traffic(20, gen);
	site_settle();
	assert_int_equal(site_sa_packets(site_spi(IPSEC_PCPU_OUT, 2, 1)), 20);
	assert_int_equal(site_sa_packets(site_spi(IPSEC_PCPU_IN, 2, 1)), 20);
	site_stop();
}

/** Once removed, an SA is not known any more. */
static void
test_inbound_removed(void **state)
{
	const unsigned int packets = 100;

	site_start(&site_conf_full);
	del_sa(IPSEC_PCPU_IN, 6, 0);
	for (unsigned int i = 0; i < packets; i++)
		site_send_in(site_flow_on(6), site_spi(IPSEC_PCPU_IN, 6, 0), i % N);
	site.drop[GW_DROP_NO_SA] = packets;
	site_stop();
}

static void
test_tunnel_down(void **state)
{
	const unsigned int packets = 20;
	unsigned int gen[N] = {0};
	struct gw_error err;

	site_start(&site_conf_full);
	traffic(packets, gen);
	site_settle();
	for (unsigned int i = 1; i <= 5; i++) {
		assert_int_equal(gw_tunnel_set_up(&site.gw, "t", false, &err), 0);
		traffic(packets, gen);
		site_settle();
		site.drop[GW_DROP_TUNNEL_DOWN] = 2 * N * packets * i;
		assert_int_equal(site_sum(drop[GW_DROP_TUNNEL_DOWN]), 2 * N * packets * i);
		assert_int_equal(gw_tunnel_set_up(&site.gw, "t", true, &err), 0);
		traffic(packets, gen);
		site_settle();
	}
	/* and in the midst of it: each packet out by its SA, or dropped by name */
	for (unsigned int i = 0; i < 20; i++) {
		assert_int_equal(gw_tunnel_set_up(&site.gw, "t", i % 2, &err), 0);
		traffic(4, gen);
	}
	site_settle();
	site.drop[GW_DROP_TUNNEL_DOWN] = site.log.sent - site.log.got;
	site_stop();
}

/** As if workers had seen @p no views. They are idle. */
static void
set_view_no(uint32_t no)
{
	for (unsigned int i = 0; i < N; i++)
		__atomic_store_n(&site.gw.worker[i].w->view_no, no, __ATOMIC_RELAXED);
}

/** The number of views runs over: what was noted of flows under the same number is forgotten. */
static void
test_view_numbers_run_over(void **state)
{
	const unsigned int packets = 20;
	unsigned int gen[N] = {0};
	struct gw_error err;

	site_start(&site_conf_full);
	set_view_no(0);
	traffic(packets, gen);
	site_settle();
	set_view_no((1u << GW_FLOW_VIEW_BITS) - 1);
	assert_int_equal(gw_tunnel_set_up(&site.gw, "t", false, &err), 0);
	assert_int_equal(site.gw.worker[0].w->view_no, 0);
	traffic(packets, gen);
	site_settle();
	site.drop[GW_DROP_TUNNEL_DOWN] = 2 * N * packets;
	site_stop();
}

static void
test_stop_start(void **state)
{
	unsigned int gen[N] = {0};
	struct gw_error err;
	uint64_t rx;

	site_start(&site_conf_full);
	for (unsigned int i = 0; i < 5; i++) {
		traffic(10, gen);
		assert_int_equal(gw_set_forwarding(&site.gw, false, &err), 0);
		rx = site_sum(rx);
		traffic(4, gen);
		for (unsigned int k = 0; k < 50; k++)
			site_turn();
		assert_int_equal(site_sum(rx), rx);
		assert_int_equal(gw_set_forwarding(&site.gw, true, &err), 0);
		site_settle();
		assert_int_equal(site.log.sent, site.log.got);
	}
	site_stop();
}

/** The end comes with packets in all rings, some with three workers on their way. */
static void
test_end_under_traffic(void **state)
{
	const struct site_conf conf = {.workers = N, .queues = 4, .pairs = 5, .fallback = true};

	for (unsigned int i = 0; i < 4; i++) {
		site_start(&conf);
		site.log.unordered = true;
		for (unsigned int k = 0; k < 700; k++) {
			site_send_out(pkt_random() % PKT_FLOWS, k % 4);
			site_send_in(pkt_random() % PKT_FLOWS, site_spi(IPSEC_PCPU_IN, k % 5, 0),
					k % 4);
		}
		site_stop_now();
	}
}

static uint64_t changes;

static bool
view_changed(void)
{
	return site.gw.view_changes > changes;
}

/** One line for ip(8); it takes effect while packets are under way. */
static void __attribute__((format(printf, 3, 4)))
tell_kernel(FILE *ip, const unsigned int gen[], const char *fmt, ...)
{
	va_list ap;

	changes = site.gw.view_changes;
	va_start(ap, fmt);
	vfprintf(ip, fmt, ap);
	va_end(ap);
	assert_int_equal(fflush(ip), 0);
	traffic(1, gen);
	site_until(view_changed, "the kernel's tables do not change");
	traffic(1, gen);
}

/** Routes come and go 200 times, some of them in our way: none lets out what is protected. */
static void
test_route_storm(void **state)
{
	static const char *const route[] = {"10.99.0.0/16 via 192.0.2.2",
			"10.20.1.0/24 via 192.0.2.2", "10.10.1.0/24 via 10.1.0.2",
			"192.0.2.2/32 dev wan", "default via 192.0.2.2",
			"10.20.0.0/17 via 10.1.0.2", "192.0.2.0/25 dev wan",
			"blackhole 10.20.2.0/24"};
	unsigned int gen[N] = {0};
	FILE *ip;

	site_start(&site_conf_full);
	ip = popen("ip -batch -", "w");
	assert_non_null(ip);
	for (unsigned int i = 0; i < 100; i++) {
		tell_kernel(ip, gen, "route add %s\n", route[i % RTE_DIM(route)]);
		tell_kernel(ip, gen, "route del %s\n", route[i % RTE_DIM(route)]);
	}
	assert_int_equal(pclose(ip), 0);
	site_stop();
}

static bool
neighbour_gone(void)
{
	return site.gw.view->nh[site.gw.view->tunnel[0].nh].kind != GW_NH_ETHER;
}

static bool
neighbour_back(void)
{
	return !neighbour_gone();
}

/** Those that waited are on their way again: each has arrived, or was dropped for want of a MAC. */
static bool
all_told(void)
{
	return site.gw.held_now == 0 &&
			site.log.sent - site.log.got == site_sum(drop[GW_DROP_NO_NEIGHBOUR]);
}

/** The way to the peer is not known for a while: some packets wait, others are dropped by name. */
static void
test_neighbour(void **state)
{
	const unsigned int packets = 5;
	uint64_t waited = 0;

	site_start(&site_conf_full);
	site.log.unordered = true; /* those that waited come out of another worker's queue */
	site.peer.unordered = true;
	for (unsigned int i = 0; i < 5; i++) {
		send_all(packets);
		site_sh("ip neigh del 192.0.2.2 dev wan");
		site_until(neighbour_gone, "the neighbour stays");
		site_settle();
		send_all(packets);
		site_settle();
		gw_punts_drain(&site.gw);
		assert_true(site.gw.held_now > 0);
		waited += site.gw.held_now;
		site_sh("ip neigh replace 192.0.2.2 lladdr 02:00:00:00:20:02 dev wan nud "
			"permanent");
		site_until(neighbour_back, "the neighbour does not come back");
		send_all(packets);
		site_until(all_told, "packets that waited do not arrive");
	}
	site.drop[GW_DROP_NO_NEIGHBOUR] = site.log.sent - site.log.got;
	assert_true(site.drop[GW_DROP_NO_NEIGHBOUR] <= 5 * 2 * packets * N - waited);
	site_stop();
}

/** The peer's side in clear on the wire: spoofed, or its policy is wrong. */
static void
test_clear_from_outside(void **state)
{
	const unsigned int packets = 200;

	site_start(&site_conf_full);
	for (unsigned int i = 0; i < packets; i++) {
		struct rte_mbuf *m = pkt_make(
				&site.log, site.pool, PKT_IN, site_flow_on(i % N), i % N, 0);

		site_ether(&site.wan, m);
		site_put(&site.wan, i % N, m);
	}
	site.drop[GW_DROP_CLEAR] = packets;
	site_stop();
}

/* Sequence numbers on the disk */

/** As if the worker had come to the end of what is reserved: @p n packets from now. */
static void
shorten(struct gw_sa *sa, uint64_t n)
{
	struct gw_msg m = {.type = GW_MSG_SEQ_LIMIT, .sa = sa->sa};
	struct ipsec_pcpu_sa_stats st;

	ipsec_pcpu_sa_stats(sa->sa, &st);
	m.seq_limit = st.seq + n;
	assert_int_equal(gw_tell(&site.gw, sa->worker, &m), 0);
	sa->reserved = m.seq_limit;
}

static bool
renewed(void)
{
	struct gw_sa *sa = gw_sa_find(&site.gw, site_spi(IPSEC_PCPU_OUT, 3, 0));
	struct ipsec_pcpu_sa_stats st;

	ipsec_pcpu_sa_stats(sa->sa, &st);
	return sa->reserved > st.seq + 1000;
}

static bool
commit_failed(void)
{
	return site.gw.reserve_failed >= 2;
}

static void
send_many(unsigned int queue, unsigned int packets)
{
	for (unsigned int i = 0; i < packets; i++)
		site_send_out(site_flow_on(queue), queue);
	site_settle();
}

static void
test_reservation(void **state)
{
	char dir[] = "/var/tmp/test_workers_XXXXXX"; /* a state file: not on tmpfs */
	char file[64];
	struct site_conf conf = {.workers = 4, .queues = 4, .pairs = 4, .fallback = true};
	struct gw_sa *sa;

	assert_non_null(mkdtemp(dir));
	snprintf(file, sizeof(file), "%s/state", dir);
	conf.state_file = file;
	site_start(&conf);
	sa = gw_sa_find(&site.gw, site_spi(IPSEC_PCPU_OUT, 3, 0));
	assert_non_null(sa);
	send_many(3, 100);
	/* no disk: the worker goes to the end of its reservation and no further */
	site_sh("mv %s %s.away", dir, dir);
	shorten(sa, 40);
	site_until(commit_failed, "the state file can be written");
	send_many(3, 100);
	site.esp_drop[IPSEC_PCPU_DROP_SEQ_RESERVE] = 60;
	assert_int_equal(site_sum(esp_drop[IPSEC_PCPU_DROP_SEQ_RESERVE]), 60);
	assert_int_equal(site.out[3][3], 140);
	send_many(0, 100); /* others go on */
	assert_int_equal(site.out[0][0], 100);
	/* it is back, and control does the rest */
	site_sh("mv %s.away %s", dir, dir);
	site_until(renewed, "the reservation is not renewed");
	send_many(3, 100);
	assert_int_equal(site.out[3][3], 240);
	assert_true(gw_reserve_get(site.gw.reserve, sa->reserve_id, GW_RESERVE_OUT) >=
			sa->reserved);
	site_stop();
	site_sh("rm -r %s", dir);
}

int
main(int argc, char **argv)
{
#define CASE(name) cmocka_unit_test_teardown(name, site_teardown)
	const struct CMUnitTest tests[] = {
			CASE(test_rekey),
			CASE(test_esp_port),
			CASE(test_rekey_fallback),
			CASE(test_own_comes_and_goes),
			CASE(test_fallback_goes),
			CASE(test_sa_refused),
			CASE(test_inbound_removed),
			CASE(test_tunnel_down),
			CASE(test_view_numbers_run_over),
			CASE(test_stop_start),
			CASE(test_end_under_traffic),
			CASE(test_route_storm),
			CASE(test_neighbour),
			CASE(test_clear_from_outside),
			CASE(test_reservation),
	};
#undef CASE
	return site_main(argc, argv, tests, RTE_DIM(tests));
}
