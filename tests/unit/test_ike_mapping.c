/* SPDX-License-Identifier: BSD-3-Clause */

/* app/control/ike_mapping.c: of which packets charon is told that a peer has moved, how often. */

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "control/ike_priv.h"

#define SPI 0xc0001234
#define OURS RTE_BE32(0xc0000201)
#define PEER RTE_BE32(0xc0000202)
#define OTHER RTE_BE32(0xc0000263)

static struct gw_ike ike;
static struct gw gw = {.ike = &ike};
static struct gw_sa_ike info;
static struct gw_sa sa;
static struct {
	unsigned int n;
	bool refuse;
	struct gw_ike_sa_key key;
	struct gw_addr remote;
	uint16_t port;
} told;

static bool
on_mapping(void *arg, const struct gw_ike_sa_key *key, const struct gw_addr *remote, uint16_t port)
{
	assert_ptr_equal(arg, &told);
	if (told.refuse)
		return false;
	told.n++;
	told.key = *key;
	told.remote = *remote;
	told.port = port;
	return true;
}

static int
setup(void **state)
{
	memset(&told, 0, sizeof(told));
	info = (struct gw_sa_ike){0};
	sa = (struct gw_sa){.ike = &info,
			.prm = {.dir = IPSEC_PCPU_IN,
					.spi = SPI,
					.family = AF_INET,
					.saddr.ip4 = PEER,
					.daddr.ip4 = OURS,
					.encap_sport = 4500,
					.encap_dport = 4500,
					.replay_window = 64}};
	ike = (struct gw_ike){.in_sync = true, .events = {.mapping = on_mapping, .arg = &told}};
	return 0;
}

static void
saw(rte_be32_t addr, uint16_t port)
{
	const struct ipsec_pcpu_tuple outer = {.family = AF_INET,
			.saddr.ip4 = addr,
			.daddr.ip4 = OURS,
			.sport = port,
			.dport = 4500};

	gw_ike_saw(&gw, &sa, &outer);
	assert_int_equal(ike.counts.mappings, told.n);
}

/** A second passes. */
static void
later(void)
{
	info.told.at -= GW_NS_PER_S;
}

/** charon gives the SA this address and port, as gw_ike_sa_update() does it. */
static void
move(rte_be32_t addr, uint16_t port)
{
	sa.prm.saddr.ip4 = addr;
	sa.prm.encap_sport = port;
	info.told.moved = true;
}

/** Where an SA is nothing is said; from another port or address it is, once. */
static void
test_once(void **state)
{
	saw(PEER, 4500);
	assert_int_equal(told.n, 0);
	saw(PEER, 4999);
	assert_int_equal(told.n, 1);
	assert_int_equal(told.key.spi, SPI);
	assert_int_equal(told.key.dst.a.ip4, OURS);
	assert_int_equal(told.remote.family, AF_INET);
	assert_int_equal(told.remote.a.ip4, PEER);
	assert_int_equal(told.port, 4999);
	for (unsigned int i = 0; i < 5; i++) {
		saw(PEER, 4999);
		later();
	}
	assert_int_equal(told.n, 1);
	saw(OTHER, 4999);
	assert_int_equal(told.n, 2);
	assert_int_equal(told.remote.a.ip4, OTHER);
	/* and what was told does not change the SA */
	assert_int_equal(sa.prm.saddr.ip4, PEER);
	assert_int_equal(sa.prm.encap_sport, 4500);
}

/** Of what changes within a second the first is said, and what is there after it. */
static void
test_limit(void **state)
{
	saw(PEER, 5000);
	for (uint16_t port = 5001; port < 5100; port++)
		saw(PEER, port);
	assert_int_equal(told.n, 1);
	assert_int_equal(told.port, 5000);
	later();
	saw(PEER, 5100);
	saw(PEER, 5101);
	assert_int_equal(told.n, 2);
	assert_int_equal(told.port, 5100);
}

/** What could not be said is said at the next packet. */
static void
test_refused(void **state)
{
	told.refuse = true;
	saw(PEER, 4999);
	told.refuse = false;
	saw(PEER, 4999);
	assert_int_equal(told.n, 1);
}

/** charon moves the SA, or the other way round: each time it is where it was told. */
static void
test_moved(void **state)
{
	saw(PEER, 4999);
	move(PEER, 4999);
	later();
	saw(PEER, 4999);
	assert_int_equal(told.n, 1);
	saw(PEER, 4500);
	assert_int_equal(told.n, 2);
	assert_int_equal(told.port, 4500);
}

/** It cannot be moved, and charon puts it back; charon itself is where it was told. */
static void
test_put_back(void **state)
{
	saw(PEER, 4999);
	move(PEER, 4999);
	move(PEER, 4500);
	later();
	saw(PEER, 4500);
	assert_int_equal(told.n, 2);
	assert_int_equal(told.port, 4500);
}

/** charon moved elsewhere by itself: packets from where it was told before are news again. */
static void
test_moved_elsewhere(void **state)
{
	saw(PEER, 4999);
	move(OTHER, 6000);
	later();
	saw(PEER, 4999);
	assert_int_equal(told.n, 2);
	later();
	saw(PEER, 4999);
	assert_int_equal(told.n, 2);
}

/** SAs that are not to be moved by a packet, and packets that move nothing. */
static void
test_never(void **state)
{
	struct ipsec_pcpu_tuple outer = {.family = AF_INET,
			.saddr.ip4 = OTHER,
			.daddr.ip4 = OURS,
			.sport = 4999,
			.dport = 4500};

	ike.in_sync = false;
	saw(OTHER, 4999);
	ike.in_sync = true;
	info.stale = true;
	saw(OTHER, 4999);
	info.stale = false;
	sa.prm.replay_window = 0;
	saw(OTHER, 4999);
	sa.prm.replay_window = 64;
	sa.prm.dir = IPSEC_PCPU_OUT;
	saw(OTHER, 4999);
	sa.prm.dir = IPSEC_PCPU_IN;
	/* plain ESP */
	sa.prm.encap_sport = sa.prm.encap_dport = 0;
	outer.sport = outer.dport = 0;
	gw_ike_saw(&gw, &sa, &outer);
	sa.prm.encap_sport = sa.prm.encap_dport = 4500;
	/* to another port, or address, of ours */
	outer.sport = 4999;
	outer.dport = 4501;
	gw_ike_saw(&gw, &sa, &outer);
	outer.dport = 4500;
	outer.daddr.ip4 = OTHER;
	gw_ike_saw(&gw, &sa, &outer);
	/* from where nobody is */
	saw(OTHER, 0);
	saw(RTE_BE32(0), 4999);
	saw(RTE_BE32(0x7f000001), 4999);
	saw(RTE_BE32(0xe0000001), 4999);
	saw(RTE_BE32(0xffffffff), 4999);
	assert_int_equal(told.n, 0);
	saw(OTHER, 4999);
	assert_int_equal(told.n, 1);
}

/** For any port: it may share IKE's way, which is where the SA goes that we send on; or not. */
static void
test_any_port(void **state)
{
	struct gw_sa out = {.prm = {.dir = IPSEC_PCPU_OUT,
					    .family = AF_INET,
					    .saddr.ip4 = OURS,
					    .daddr.ip4 = PEER,
					    .encap_sport = 4500,
					    .encap_dport = 6000}};

	info.any_sport = true;
	saw(PEER, 6001); /* nothing is known of IKE's place */
	assert_int_equal(info.way, GW_IKE_WAY_UNKNOWN);
	sa.pair = &out;
	saw(PEER, 6001); /* a port of its own */
	assert_int_equal(info.way, GW_IKE_WAY_OWN);
	saw(PEER, 6000);
	saw(OTHER, 6001);
	assert_int_equal(told.n, 0);
	info.way = GW_IKE_WAY_UNKNOWN;
	saw(PEER, 6000);
	assert_int_equal(info.way, GW_IKE_WAY_SHARED);
	assert_int_equal(told.n, 0);
	saw(PEER, 6001);
	saw(PEER, 6001);
	assert_int_equal(told.n, 1);
	assert_int_equal(told.port, 6001);
	later();
	saw(PEER, 6000);
	assert_int_equal(told.n, 2);
	assert_int_equal(told.port, 6000);
	/* what was said may be lost with the connection */
	info.told = (struct gw_ike_told){0};
	saw(OTHER, 6000);
	assert_int_equal(told.n, 3);
	sa.pair = NULL;
	later();
	saw(OTHER, 6001);
	assert_int_equal(told.n, 3);
}

static void
test_ip6(void **state)
{
	struct ipsec_pcpu_tuple outer = {.family = AF_INET6, .sport = 4999, .dport = 4500};

	sa.prm.family = AF_INET6;
	memset(&sa.prm.saddr, 0x20, 16);
	memset(&sa.prm.daddr, 0x21, 16);
	outer.daddr = sa.prm.daddr;
	gw_ike_saw(&gw, &sa, &outer); /* from :: */
	outer.saddr.ip6[0] = 0xff;
	gw_ike_saw(&gw, &sa, &outer);
	assert_int_equal(told.n, 0);
	outer.saddr = sa.prm.saddr;
	gw_ike_saw(&gw, &sa, &outer);
	assert_int_equal(told.n, 1);
	outer.saddr.ip6[15]++;
	later();
	gw_ike_saw(&gw, &sa, &outer);
	assert_int_equal(told.n, 2);
	assert_int_equal(told.remote.family, AF_INET6);
	assert_memory_equal(&told.remote.a, &outer.saddr, 16);
}

int
main(void)
{
#define CASE(name) cmocka_unit_test_setup(name, setup)
	const struct CMUnitTest tests[] = {
			CASE(test_once),
			CASE(test_limit),
			CASE(test_refused),
			CASE(test_moved),
			CASE(test_put_back),
			CASE(test_moved_elsewhere),
			CASE(test_never),
			CASE(test_any_port),
			CASE(test_ip6),
	};
#undef CASE
	return cmocka_run_group_tests(tests, NULL, NULL);
}
