/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Up to 16 workers on two CPUs, their ports made of rings behind which the test
 * plays the NIC, with a peer on the library alone (workers_site.h): which worker
 * uses which SA, hand-off, and any bytes at all. After each case the balance of
 * every worker is drawn, and no mbuf may be missing. What changes under traffic
 * is in test_workers_changes.c. Needs root, for a network namespace of its own,
 * and iproute2; skipped without.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <rte_eal.h>

#include "datapath/frag.h"
#include "workers_hostile.h"
#include "workers_site.h"

#define N SITE_WORKERS

static struct rte_mempool *large; /* of the peer */

/** Some packets of random flows on each of the first @p queues, from our side. */
static void
send_out_all(unsigned int queues, unsigned int packets)
{
	for (unsigned int i = 0; i < packets; i++)
		for (unsigned int q = 0; q < queues; q++)
			site_send_out(site_flow_on(q), q);
}

/** What came out of the tunnel on the SA of @p pair, from all queues. */
static uint64_t
out_on(unsigned int pair)
{
	uint64_t sum = 0;

	for (unsigned int q = 0; q < NIC_QUEUES; q++)
		sum += site.out[q][pair];
	return sum;
}

/** All that the SAs of @p pair have let through comes out of @p queue, where their owner sends. */
static void
assert_in_from(unsigned int pair, unsigned int queue, uint64_t packets)
{
	for (unsigned int q = 0; q < NIC_QUEUES; q++)
		assert_int_equal(site.in[pair][q], q == queue ? packets : 0);
	assert_int_equal(site_sa_packets(site_spi(IPSEC_PCPU_IN, pair, 0)), packets);
}

/* Where SAs are used */

static void
test_outbound(void **state)
{
	const unsigned int packets = 400;

	site_start(&site_conf_full);
	send_out_all(N, packets);
	site_settle();
	for (unsigned int q = 0; q < N; q++) {
		assert_int_equal(site.out[q][q], packets);
		assert_int_equal(site_worker(q, rx), packets);
		assert_int_equal(site_worker(q, encap), packets);
		assert_int_equal(site_sa_packets(site_spi(IPSEC_PCPU_OUT, q, 0)), packets);
	}
	assert_int_equal(site_sum(handed_off), 0);
	assert_int_equal(site_sa_packets(site_spi(IPSEC_PCPU_OUT, PEER_FALLBACK, 0)), 0);
	site_stop();
}

static void
test_inbound(void **state)
{
	const unsigned int packets = 400;

	site_start(&site_conf_full);
	for (unsigned int i = 0; i < packets; i++)
		for (unsigned int q = 0; q < N; q++)
			site_send_in(site_flow_on(q), site_spi(IPSEC_PCPU_IN, q, 0), q);
	site_settle();
	for (unsigned int q = 0; q < N; q++) {
		assert_in_from(q, q, packets);
		assert_int_equal(site_worker(q, decap), packets);
	}
	assert_int_equal(site_sum(handed_off), 0);
	site_stop();
}

/** Each SA on a queue that is always the same wrong one: its order is kept. */
static void
test_inbound_wrong_queue(void **state)
{
	const unsigned int packets = 300;

	site_start(&site_conf_full);
	for (unsigned int i = 0; i < packets; i++)
		for (unsigned int p = 0; p < N; p++)
			site_send_in(site_flow_on(p), site_spi(IPSEC_PCPU_IN, p, 0), (p + 5) % N);
	site_settle();
	for (unsigned int p = 0; p < N; p++) {
		assert_in_from(p, p, packets);
		assert_int_equal(site_worker(p, handed_off), packets);
		assert_int_equal(site_worker(p, handed_off_esp), packets);
		assert_int_equal(site_worker(p, handed_in), packets);
	}
	site_stop();
}

/** Each packet on any queue; the fallback SA among them, which worker 0 has. */
static void
test_inbound_any_queue(void **state)
{
	uint64_t sent[N] = {0}, away[N] = {0}, taken[N] = {0}, fallback = 0;

	site_start(&site_conf_full);
	site.log.unordered = true;
	for (unsigned int i = 0; i < 6000; i++) {
		unsigned int p = pkt_random() % (N + 1);
		unsigned int q = pkt_random() % N;
		unsigned int owner = p == N ? 0 : p;

		sent[owner] += p != N;
		fallback += p == N;
		away[q] += q != owner;
		taken[owner] += q != owner;
		site_send_in(pkt_random() % PKT_FLOWS,
				site_spi(IPSEC_PCPU_IN, p == N ? PEER_FALLBACK : p, 0), q);
	}
	site_settle();
	for (unsigned int p = 0; p < N; p++) {
		assert_in_from(p, p, sent[p]);
		assert_int_equal(site_worker(p, handed_off), away[p]);
		assert_int_equal(site_worker(p, handed_in), taken[p]);
	}
	assert_in_from(PEER_FALLBACK, 0, fallback);
	site_stop();
}

/** Four workers have SAs of their own; the others use the fallback SA, which the fifth has. */
static void
test_fallback(void **state)
{
	const struct site_conf conf = {.workers = N, .queues = N, .pairs = 4, .fallback = true};
	const unsigned int packets = 300;
	unsigned int owner = 4;

	site_start(&conf);
	send_out_all(N, packets);
	for (unsigned int i = 0; i < packets; i++)
		site_send_in(site_flow_on(i % N), site_spi(IPSEC_PCPU_IN, PEER_FALLBACK, 0), 9);
	site_settle();
	for (unsigned int q = 0; q < N; q++) {
		assert_int_equal(site.out[q][q < 4 ? q : PEER_FALLBACK], packets);
		assert_int_equal(site_worker(q, handed_off_fallback), q > owner ? packets : 0);
	}
	assert_int_equal(site_sa_packets(site_spi(IPSEC_PCPU_OUT, PEER_FALLBACK, 0)),
			(N - 4) * packets);
	assert_int_equal(site_worker(owner, handed_in), (N - 4) * packets);
	assert_in_from(PEER_FALLBACK, owner, packets);
	site_stop();
}

/** More pairs than workers: every inbound SA is served, each worker sends on its own. */
static void
test_more_pairs(void **state)
{
	const struct site_conf conf = {.workers = 3, .queues = 3, .pairs = N, .fallback = true};
	const unsigned int packets = 300;

	site_start(&conf);
	send_out_all(3, packets);
	for (unsigned int i = 0; i < packets; i++)
		for (unsigned int p = 0; p < N; p++)
			site_send_in(site_flow_on(p), site_spi(IPSEC_PCPU_IN, p, 0), p % 3);
	site_settle();
	for (unsigned int p = 0; p < N; p++) {
		assert_int_equal(out_on(p), p < 3 ? packets : 0);
		assert_in_from(p, p % 3, packets);
	}
	assert_int_equal(site_sum(handed_off), 0);
	site_stop();
}

/** No fallback SA: workers without an SA borrow one that another has. */
static void
test_borrow(void **state)
{
	const struct site_conf conf = {.workers = 4, .queues = 4, .pairs = 2};
	const unsigned int packets = 500;

	site_start(&conf);
	send_out_all(4, packets);
	site_settle();
	assert_int_equal(out_on(0), 3 * packets);
	assert_int_equal(out_on(1), packets);
	assert_int_equal(site.out[1][1], packets);
	assert_int_equal(site_sum(handed_off_fallback), 2 * packets);
	site_stop();
}

/** Four queues for 16 workers: flows are spread, in order, and sent through those with a queue. */
static void
test_few_queues(void **state)
{
	const struct site_conf conf = {.workers = N, .queues = 4, .pairs = N, .fallback = true};
	const unsigned int packets = 1500;

	site_start(&conf);
	for (unsigned int i = 0; i < packets; i++)
		for (unsigned int q = 0; q < 4; q++)
			site_send_out(pkt_random() % (PKT_FLOWS / 4) * 4 + q, q);
	for (unsigned int i = 0; i < 200; i++)
		for (unsigned int p = 0; p < N; p++)
			site_send_in(site_flow_on(p), site_spi(IPSEC_PCPU_IN, p, 0), p % 4);
	site_settle();
	for (unsigned int p = 0; p < N; p++) {
		assert_int_equal(site_worker(p, rx) != 0, p < 4);
		/* of 16 flows each, on average */
		assert_true(out_on(p) > packets / 16);
		assert_int_equal(site_sa_packets(site_spi(IPSEC_PCPU_OUT, p, 0)), out_on(p));
		for (unsigned int q = 0; q < 4; q++)
			assert_int_equal(site.out[q][p] != 0, q == p % 4);
		assert_in_from(p, p % 4, 200);
	}
	site_stop();
}

/* Where cycles go */

static uint64_t
all_cycles(unsigned int worker)
{
	uint64_t sum = 0;

	for (enum gw_stage s = 0; s < GW_N_STAGES; s++)
		sum += __atomic_load_n(&site.gw.worker[worker].w->cycles.counts.stage[s],
				__ATOMIC_RELAXED);
	return sum;
}

static uint64_t
stage_sum(enum gw_stage s)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < N; i++)
		sum += __atomic_load_n(
				&site.gw.worker[i].w->cycles.counts.stage[s], __ATOMIC_RELAXED);
	return sum;
}

/** Cycles and timed packets of the SAs of all pairs, or of one. */
static struct ipsec_pcpu_sa_stats
timed_on(enum ipsec_pcpu_dir dir, unsigned int from, unsigned int to)
{
	struct ipsec_pcpu_sa_stats sum = {0}, st;

	for (unsigned int p = from; p < to; p++) {
		gw_stats_sa(gw_sa_find(&site.gw, site_spi(dir, p, 0)), &st);
		assert_true(st.timed <= st.packets);
		assert_int_equal(st.timed > 0, st.cycles > 0);
		sum.timed += st.timed;
		sum.cycles += st.cycles;
	}
	return sum;
}

/**
 * All packets out of the first worker's SA and into the second one's, where they land on the
 * first: each pays for what it did, of some rounds.
 */
static void
test_cycles(void **state)
{
	const uint64_t start = rte_rdtsc();
	const struct gw_cycle_counts *c;
	unsigned int turns = 0;

	site_start(&site_conf_full);
	/* not every round is timed */
	do {
		for (unsigned int i = 0; i < 400; i++) {
			site_send_out(site_flow_on(0), 0);
			site_send_in(site_flow_on(1), site_spi(IPSEC_PCPU_IN, 1, 0), 0);
		}
		site_settle();
		assert_in_range(++turns, 1, 1000);
	} while (timed_on(IPSEC_PCPU_OUT, 0, 1).timed == 0 ||
			timed_on(IPSEC_PCPU_IN, 1, 2).timed == 0);
	for (unsigned int i = 0; i < N; i++) {
		c = &site.gw.worker[i].w->cycles.counts;
		/* of so many rounds, and each of them once */
		assert_in_range(c->rounds, 1, site_worker(i, loops) / 8 + 4);
		assert_true(c->packets <= site_worker(i, rx) + site_worker(i, handed_in) +
						site_worker(i, injected));
		assert_true(all_cycles(i) < rte_rdtsc() - start);
		assert_int_equal(c->stage[GW_STAGE_encap] > 0 && i != 0, false);
		assert_int_equal(c->stage[GW_STAGE_decap] > 0 && i != 1, false);
	}
	assert_int_equal(timed_on(IPSEC_PCPU_OUT, 0, 1).cycles, stage_sum(GW_STAGE_encap));
	assert_int_equal(timed_on(IPSEC_PCPU_IN, 1, 2).cycles, stage_sum(GW_STAGE_decap));
	assert_int_equal(timed_on(IPSEC_PCPU_OUT, 1, N).timed, 0);
	assert_int_equal(timed_on(IPSEC_PCPU_IN, 2, N).timed, 0);
	assert_int_equal(timed_on(IPSEC_PCPU_IN, 0, 1).timed, 0);
	assert_true(stage_sum(GW_STAGE_rx) > 0 && stage_sum(GW_STAGE_tx) > 0);
	assert_true(stage_sum(GW_STAGE_handoff) > 0);
	site_stop();
}

/* Large packets in outer fragments */

#define LARGE_LEN 3000 /* zeros behind the inner packet: padding, RFC 4303 2.7 */

/** Encrypted in one piece, cut afterwards, sent from fragment @p from on. Returns how many. */
static int
send_in_fragments(unsigned int flow, unsigned int pair, unsigned int queue, int from)
{
	static uint16_t id; /* SAs number their packets alike */
	struct peer_sa *sa = peer_find(&site.peer, site_spi(IPSEC_PCPU_IN, pair, 0));
	struct rte_mbuf *inner = pkt_make(&site.log, site.pool, PKT_IN, flow, queue, pair);
	struct rte_mbuf *m = rte_pktmbuf_alloc(large), *frag[GW_MAX_FRAGS];
	struct rte_ipv4_hdr *ip;
	int n;

	assert_non_null(m);
	memset(rte_pktmbuf_append(m, inner->data_len + LARGE_LEN), 0, inner->data_len + LARGE_LEN);
	memcpy(rte_pktmbuf_mtod(m, void *), rte_pktmbuf_mtod(inner, void *), inner->data_len);
	rte_pktmbuf_free(inner);
	peer_seal(&site.peer, sa, m);
	ip = rte_pktmbuf_mtod(m, struct rte_ipv4_hdr *);
	ip->packet_id = rte_cpu_to_be_16(id++);
	ip->fragment_offset = 0;
	n = gw_frag4(m, 1500, site.pool, frag);
	assert_true(n >= 3);
	rte_pktmbuf_free(m);
	rte_pktmbuf_free_bulk(frag, from);
	for (int i = from; i < n; i++) {
		site_ether(&site.wan, frag[i]);
		site_put(&site.wan, queue, frag[i]);
	}
	return n - from;
}

static bool
all_received(void)
{
	return site_sum(rx) == site.lan.put + site.wan.put;
}

/** To the worker that puts them together, from there to the SA's, and out of an ordinary mbuf. */
static void
test_fragments(void **state)
{
	const unsigned int rounds = 20;
	unsigned int fragments = 0;

	large = rte_pktmbuf_pool_create("large", 31, 0, 0, 8192, SOCKET_ID_ANY);
	assert_non_null(large);
	site_start(&site_conf_full);
	for (unsigned int i = 0; i < rounds; i++) {
		for (unsigned int p = 0; p < N; p++)
			fragments += send_in_fragments(site_flow_on(p), p, pkt_random() % N, 0);
		site_settle(); /* there are not as many large mbufs as ordinary ones */
	}
	for (unsigned int p = 0; p < N; p++)
		assert_in_from(p, p, rounds);
	assert_int_equal(site_sum(absorbed), fragments - rounds * N);
	assert_int_equal(site_sum(handed_off_esp), rounds * (N - 1));
	assert_int_equal(rte_mempool_in_use_count(site.gw.large), 0);
	/* what is incomplete when the gateway ends is lost by name, and of one packet sent */
	fragments = send_in_fragments(site_flow_on(0), 0, 1, 1);
	site.drop[GW_DROP_FRAG_LOST] = fragments;
	site.log.sent += fragments - 1;
	site_until(all_received, "fragments are not received");
	site_stop_now();
	rte_mempool_free(large);
}

/* Any bytes at all */

static void
test_hostile(void **state)
{
	/* hand-off of every kind among it */
	const struct site_conf conf = {.workers = N, .queues = 8, .pairs = 5, .fallback = true};

	site_start(&conf);
	site.hostile = true;
	for (unsigned int i = 0; i < 100000; i++) {
		struct nic *nic = pkt_random() % 2 == 0 ? &site.lan : &site.wan;
		unsigned int q = pkt_random() % conf.queues;

		if (i % 3 == 0)
			site_put(nic, q, hostile_bytes(nic));
		else if (i % 3 == 1)
			site_put(&site.lan, q, hostile_packet(PKT_OUT));
		else
			site_put(&site.wan, q, hostile_packet(PKT_IN));
	}
	/* more than there is room for, so soon that none is given up for its age */
	for (unsigned int i = 0; i < 512; i++)
		site_put(&site.wan, i % conf.queues, hostile_fragment(i));
	site_come_to_rest();
	assert_true(site_sum(encap) > 1000);
	assert_true(site_sum(decap) > 1000);
	assert_true(site_sum(punted) > 100);
	assert_true(site_sum(created) > 100);
	assert_true(site_sum(drop[GW_DROP_FRAG_BAD]) > 100);
	assert_true(site_sum(drop[GW_DROP_FRAG_FULL]) > 10);
	assert_true(site_sum(drop[GW_DROP_FRAG_COPY]) > 0);
	assert_true(site_sum(handed_off_esp) > 1000);
	assert_true(site_sum(handed_off_fallback) > 1000);
	assert_true(site_sum(handed_off_spread) > 1000);
	assert_true(site_sum(drop[GW_DROP_TOO_BIG]) > 100);
	assert_true(site_sum(drop[GW_DROP_MALFORMED]) > 1000);
	assert_true(site_sum(drop[GW_DROP_NO_SA]) > 100);
	assert_true(site_sum(drop[GW_DROP_SPI_RESERVED]) > 10);
	assert_true(site_sum(esp_drop[IPSEC_PCPU_DROP_INTEGRITY]) > 1000);
	assert_true(site_sum(esp_drop[IPSEC_PCPU_DROP_REPLAYED]) > 10);
	site_stop();
}

int
main(int argc, char **argv)
{
#define CASE(name) cmocka_unit_test_teardown(name, site_teardown)
	const struct CMUnitTest tests[] = {
			CASE(test_outbound),
			CASE(test_inbound),
			CASE(test_inbound_wrong_queue),
			CASE(test_inbound_any_queue),
			CASE(test_fallback),
			CASE(test_more_pairs),
			CASE(test_borrow),
			CASE(test_few_queues),
			CASE(test_fragments),
			CASE(test_hostile),
			/* last: how long it takes, so how many random numbers, is by chance */
			CASE(test_cycles),
	};
#undef CASE
	return site_main(argc, argv, tests, RTE_DIM(tests));
}
