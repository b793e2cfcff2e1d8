/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * A NAT before the peer gives it another port or address, while 16 workers carry packets: charon
 * is told of what is authentic, once, and of nothing else.
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
#include <rte_ip.h>
#include <rte_udp.h>

#include "workers_ike.h"

#define N SITE_WORKERS
#define OTHER_ADDR RTE_BE32(0xc0000263) /* 192.0.2.99 */
#define PORT 61000

/** Control looks at what workers have noted, and lets them note anew. */
static void
look(void)
{
	site_settle();
	gw_steering_tick(&site.gw);
}

/** Charon has been told so often. */
static void
assert_told(unsigned int n)
{
	struct gw_ike_status st;

	assert_int_equal(ike.mappings, n);
	assert_true(gw_ike_status(&site.gw, &st));
	assert_int_equal(st.counts.mappings, n);
}

/** A packet of an SA as it comes out of the NAT. */
static struct rte_mbuf *
translated(uint32_t spi, unsigned int queue, rte_be32_t addr, uint16_t port)
{
	struct peer_sa *sa = peer_find(&site.peer, spi);
	struct rte_mbuf *m;
	struct rte_ipv4_hdr *ip;
	struct rte_udp_hdr *udp;

	assert_non_null(sa);
	m = pkt_make(&site.log, site.pool, PKT_IN, site_flow_on(queue), queue, sa->pair);
	peer_seal(&site.peer, sa, m);
	ip = rte_pktmbuf_mtod(m, struct rte_ipv4_hdr *);
	udp = (struct rte_udp_hdr *)(ip + 1);
	ip->src_addr = addr;
	ip->hdr_checksum = 0;
	ip->hdr_checksum = rte_ipv4_cksum(ip);
	udp->src_port = rte_cpu_to_be_16(port);
	site_ether(&site.wan, m);
	return m;
}

static void
send_from(uint32_t spi, unsigned int queue, rte_be32_t addr, uint16_t port)
{
	site_put(&site.wan, queue, translated(spi, queue, addr, port));
}

/** All pairs are there, nothing was noted yet, workers note. */
static void
start(void)
{
	ike_start();
	ike_connect(1);
	ike_add_fallback();
	ike_add_own();
	look();
	ike_traffic(2);
	look();
	assert_told(0); /* they come from where they are to come from */
}

static void
assert_last(uint32_t spi, rte_be32_t addr, uint16_t port)
{
	assert_int_equal(ike.mapping.key.spi, spi);
	assert_int_equal(ike.mapping.key.dst.a.ip4, GW_ADDR);
	assert_int_equal(ike.mapping.remote.family, AF_INET);
	assert_int_equal(ike.mapping.remote.a.ip4, addr);
	assert_int_equal(ike.mapping.port, port);
}

/** A gateway that has told charon of another port of an SA's. Its SPI. */
static uint32_t
start_told(void)
{
	uint32_t spi;

	start();
	spi = ike_own[3].in;
	send_from(spi, 3, PEER_ADDR, PORT);
	look();
	assert_told(1);
	return spi;
}

/** Another port, then another address: one event each, whatever queue packets come in on. */
static void
test_told_once(void **state)
{
	uint32_t spi = start_told();

	assert_last(spi, PEER_ADDR, PORT);
	for (unsigned int i = 0; i < 5; i++) {
		ike_later(IKE_S);
		send_from(spi, 3, PEER_ADDR, PORT);
		look();
	}
	assert_told(1);
	send_from(spi, 4, OTHER_ADDR, PORT); /* its owner gets it from worker 4 */
	look();
	assert_told(2);
	assert_last(spi, OTHER_ADDR, PORT);
	/* a packet moves nothing by itself */
	assert_int_equal(ike_sa(spi)->prm.saddr.ip4, PEER_ADDR);
	assert_int_equal(ike_sa(spi)->prm.encap_sport, ike_own[3].sport);
	ike_traffic(2);
	site_settle();
	site_stop();
}

/** All SAs at once. */
static void
test_all(void **state)
{
	start();
	for (unsigned int w = 0; w < N; w++)
		send_from(ike_own[w].in, w, PEER_ADDR, PORT + w);
	look();
	assert_told(N);
	/* for itself: of a burst with packets of two SAs one is noted */
	send_from(ike_fallback.in, 5, PEER_ADDR, PORT + N);
	look();
	assert_told(N + 1);
	site_stop();
}

/** Packets that are not authentic, or for the second time. */
static void
test_not_authentic(void **state)
{
	struct rte_mbuf *m, *again;
	uint32_t spi;

	start();
	spi = ike_own[3].in;
	m = translated(spi, 3, PEER_ADDR, PORT);
	*rte_pktmbuf_mtod_offset(m, uint8_t *, m->data_len - 1) ^= 1;
	site_put(&site.wan, 3, m);
	site.esp_drop[IPSEC_PCPU_DROP_INTEGRITY]++;
	/* drops are no packets of the log, which is what look() waits for */
	ike_wait();
	look();
	assert_told(0);
	assert_int_equal(site_sum(esp_drop[IPSEC_PCPU_DROP_INTEGRITY]), 1);
	/* recorded, and sent once more from elsewhere */
	m = translated(spi, 3, PEER_ADDR, ike_own[3].sport);
	again = rte_pktmbuf_copy(m, site.pool, 0, UINT32_MAX);
	assert_non_null(again);
	rte_pktmbuf_mtod_offset(again, struct rte_udp_hdr *, 14 + sizeof(struct rte_ipv4_hdr))
			->src_port = RTE_BE16(PORT);
	site_put(&site.wan, 3, m);
	look();
	site_put(&site.wan, 3, again);
	site.log.sent++; /* one more is under way */
	site.esp_drop[IPSEC_PCPU_DROP_REPLAYED]++;
	ike_wait();
	look();
	assert_told(0);
	assert_int_equal(site_sum(esp_drop[IPSEC_PCPU_DROP_REPLAYED]), 1);
	/* the same one when it is new */
	send_from(spi, 3, PEER_ADDR, PORT);
	look();
	assert_told(1);
	site_stop();
}

/** Not more often than once a second; what holds then is said then. */
static void
test_limit(void **state)
{
	uint32_t spi;

	start();
	spi = ike_own[3].in;
	for (unsigned int i = 0; i < 10; i++) {
		send_from(spi, 3, PEER_ADDR, PORT + i);
		look();
	}
	assert_told(1);
	assert_last(spi, PEER_ADDR, PORT);
	ike_later(IKE_S);
	send_from(spi, 3, PEER_ADDR, PORT + 10);
	look();
	assert_told(2);
	assert_last(spi, PEER_ADDR, PORT + 10);
	/* each SA for itself */
	send_from(ike_own[4].in, 4, PEER_ADDR, PORT);
	look();
	assert_told(3);
	site_stop();
}

static void
update(uint32_t spi, rte_be32_t addr, uint16_t port)
{
	const struct gw_ike_moved_sa to = {.key = ike_key(IPSEC_PCPU_IN, spi),
			.src = {AF_INET, {.ip4 = addr}},
			.dst = {AF_INET, {.ip4 = GW_ADDR}},
			.sport = port,
			.dport = 4500};
	struct gw_error err;

	if (gw_ike_sa_update(&site.gw, &to, &err) < 0)
		fail_msg("%s", err.text);
}

/** charon moves the SA: then that is where it is, until packets come from where it was. */
static void
test_updated(void **state)
{
	uint32_t spi = start_told();

	update(spi, PEER_ADDR, PORT);
	assert_int_equal(ike_sa(spi)->prm.encap_sport, PORT);
	ike_later(IKE_S);
	send_from(spi, 3, PEER_ADDR, PORT);
	look();
	assert_told(1);
	send_from(spi, 3, PEER_ADDR, ike_own[3].sport);
	look();
	assert_told(2);
	assert_last(spi, PEER_ADDR, ike_own[3].sport);
	site_stop();
}

/** SAs that take packets from any port; an update may make one of them such, or no more. */
static void
test_any_port(void **state)
{
	uint32_t spi;

	ike_start();
	ike_connect(1);
	ike_add_fallback();
	ike_own[3].any_sport = true;
	ike_add(&ike_own[3]);
	spi = ike_own[3].in;
	look();
	for (unsigned int i = 0; i < 3; i++) {
		send_from(spi, 3, i == 2 ? OTHER_ADDR : PEER_ADDR, PORT + i);
		look();
		ike_later(IKE_S);
	}
	assert_told(0);
	update(spi, PEER_ADDR, PORT);
	send_from(spi, 3, PEER_ADDR, PORT + 1);
	look();
	assert_told(1);
	update(spi, PEER_ADDR, 0);
	ike_later(IKE_S);
	send_from(spi, 3, PEER_ADDR, PORT + 2);
	look();
	assert_told(1);
	site_stop();
}

/** Nobody hears it, or it cannot be sent: it is said later; and again where it may be lost. */
static void
test_not_heard(void **state)
{
	ike_start();
	ike_connect(1);
	ike_add_fallback();
	look();
	ike.refuse = true;
	send_from(ike_fallback.in, 5, PEER_ADDR, PORT);
	look();
	assert_told(0);
	assert_int_equal(ike.refused, 1);
	ike.refuse = false;
	send_from(ike_fallback.in, 5, PEER_ADDR, PORT);
	look();
	assert_told(1);
	ike_gone();
	ike_later(IKE_S);
	send_from(ike_fallback.in, 5, PEER_ADDR, PORT + 1);
	look();
	ike_hello(1);
	ike_policies_add(IKE_REQID, GW_IKE_PRIO_TRAP, 0, 0);
	ike_say_again(&ike_fallback);
	send_from(ike_fallback.in, 5, PEER_ADDR, PORT);
	look();
	assert_told(1);
	ike_sync_end();
	send_from(ike_fallback.in, 5, PEER_ADDR, PORT);
	look();
	assert_told(2);
	/* another charon does not know the SA */
	ike_gone();
	ike_hello(2);
	ike_sync_end();
	send_from(ike_fallback.in, 5, PEER_ADDR, PORT + 1);
	look();
	assert_told(2);
	site_stop();
}

int
main(int argc, char **argv)
{
#define CASE(name) cmocka_unit_test_teardown(name, ike_teardown)
	const struct CMUnitTest tests[] = {
			CASE(test_told_once),
			CASE(test_all),
			CASE(test_not_authentic),
			CASE(test_limit),
			CASE(test_updated),
			CASE(test_any_port),
			CASE(test_not_heard),
	};
#undef CASE
	return site_main(argc, argv, tests, RTE_DIM(tests));
}
