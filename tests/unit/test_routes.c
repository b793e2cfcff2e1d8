/* SPDX-License-Identifier: BSD-3-Clause */

/* What workers look up, made from tables of a kernel that is not one. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include <cmocka.h>

#include "control/routes.h"

#define LAN 0
#define WAN 1
#define N_PORTS 2
#define OTHER_IFINDEX 99
#define MAX_ROUTES 100010
#define MAX_NEIGHS 30000

/* The kernel's tables, in the order of gw_nl_routes(): of a prefix the last route wins. */
static struct gw_nl_route *routes;
static struct gw_nl_neigh *neighs;
static struct gw_nl_addr addrs[8];
static unsigned int n_routes, n_neighs, n_addrs;

static const struct gw_routes_port ports[N_PORTS] = {
		{.ifindex = 11, .mtu = 1500, .mac = {{2, 0, 0, 0, 0, 11}}},
		{.ifindex = 12, .mtu = 9000, .mac = {{2, 0, 0, 0, 0, 12}}},
};
static struct gw_routes built;

const struct gw_nl_route *
gw_nl_routes(struct gw_nl *nl, unsigned int *n)
{
	*n = n_routes;
	return routes;
}

const struct gw_nl_neigh *
gw_nl_neighs(struct gw_nl *nl, unsigned int *n)
{
	*n = n_neighs;
	return neighs;
}

const struct gw_nl_addr *
gw_nl_addrs(struct gw_nl *nl, unsigned int *n)
{
	*n = n_addrs;
	return addrs;
}

const struct gw_nl_neigh *
gw_nl_neigh_find(struct gw_nl *nl, unsigned int ifindex, const struct gw_addr *addr)
{
	for (unsigned int i = 0; i < n_neighs; i++)
		if (neighs[i].ifindex == ifindex && gw_addr_equal(&neighs[i].addr, addr))
			return &neighs[i];
	return NULL;
}

static struct gw_addr
addr(const char *text)
{
	struct gw_addr a;

	memset(&a, 0, sizeof(a));
	if (text != NULL)
		assert_int_equal(gw_addr_parse(text, &a), 0);
	return a;
}

/** via NULL: on link. */
static struct gw_nl_route *
add_route(const char *to, const char *via, unsigned int ifindex)
{
	struct gw_nl_route *r = &routes[n_routes++];

	memset(r, 0, sizeof(*r));
	assert_int_equal(gw_prefix_parse(to, &r->dst), 0);
	r->via = addr(via);
	r->ifindex = ifindex;
	r->type = ifindex == OTHER_IFINDEX ? GW_NL_FOREIGN : GW_NL_UNICAST;
	return r;
}

/** The last byte of the MAC tells it from others. */
static void
add_neigh(const char *text, unsigned int port, uint8_t mac)
{
	neighs[n_neighs++] = (struct gw_nl_neigh){.addr = addr(text),
			.ifindex = ports[port].ifindex,
			.mac = {2, 0, 0, 0, 1, mac},
			.valid = true};
}

static void
add_own(const char *prefix, unsigned int port)
{
	struct gw_nl_addr *a = &addrs[n_addrs++];

	memset(a, 0, sizeof(*a));
	assert_int_equal(gw_prefix_parse(prefix, &a->prefix), 0);
	a->ifindex = ports[port].ifindex;
}

static void
build(void)
{
	gw_routes_free(&built);
	assert_int_equal(gw_routes_build(&built, NULL, ports, N_PORTS), 0);
	assert_int_equal(built.nh[0].kind, GW_NH_NONE);
}

static const struct gw_nexthop *
look_up(const char *text)
{
	struct gw_addr a = addr(text);
	uint32_t i = a.family == AF_INET ? gw_fib_lookup4(built.fib4, a.a.ip4)
					 : gw_fib_lookup6(built.fib6, a.a.ip6);

	assert_in_range(i, 0, built.n_nh - 1);
	return &built.nh[i];
}

static void
assert_kind(const char *text, enum gw_nh_kind kind, unsigned int port)
{
	const struct gw_nexthop *nh = look_up(text);

	if (nh->kind != kind || nh->port != port)
		fail_msg("%s: kind %u, port %u", text, nh->kind, nh->port);
}

static void
assert_mac(const char *text, unsigned int port, uint8_t mac)
{
	const struct gw_nexthop *nh = look_up(text);

	assert_kind(text, GW_NH_ETHER, port);
	assert_int_equal(nh->dst.addr_bytes[5], mac);
	assert_memory_equal(&nh->src, &ports[port].mac, 6);
	assert_int_equal(nh->mtu, ports[port].mtu);
}

/** A gateway between 10.1.0.0/24 and, by 192.0.2.2, all else. */
static int
setup(void **state)
{
	n_routes = n_neighs = n_addrs = 0;
	add_route("10.1.0.0/24", NULL, ports[LAN].ifindex);
	add_route("192.0.2.0/24", NULL, ports[WAN].ifindex);
	add_route("0.0.0.0/0", "192.0.2.2", ports[WAN].ifindex);
	add_route("2001:db8:1::/64", NULL, ports[LAN].ifindex);
	add_route("2001:db8:2::/64", NULL, ports[WAN].ifindex);
	add_route("::/0", "2001:db8:2::2", ports[WAN].ifindex);
	add_own("10.1.0.1/24", LAN);
	add_own("192.0.2.1/24", WAN);
	add_own("2001:db8:1::1/64", LAN);
	return 0;
}

static int
teardown(void **state)
{
	gw_routes_free(&built);
	return 0;
}

static void
test_plain(void **state)
{
	add_neigh("10.1.0.9", LAN, 9);
	add_neigh("2001:db8:1::9", LAN, 10);
	add_neigh("10.1.0.10", LAN, 11);
	neighs[2].valid = false;
	build();
	assert_kind("10.1.0.1", GW_NH_LOCAL, LAN);
	assert_kind("192.0.2.1", GW_NH_LOCAL, WAN);
	assert_kind("2001:db8:1::1", GW_NH_LOCAL, LAN);
	assert_mac("10.1.0.9", LAN, 9);
	assert_mac("2001:db8:1::9", LAN, 10);
	assert_kind("10.1.0.10", GW_NH_GLEAN, LAN);
	assert_kind("192.0.2.77", GW_NH_GLEAN, WAN);
	assert_kind("198.51.100.1", GW_NH_UNRESOLVED, WAN);
	assert_true(look_up("198.51.100.1")->via.a.ip4 == addr("192.0.2.2").a.ip4);
	add_neigh("192.0.2.2", WAN, 2);
	build();
	assert_mac("198.51.100.1", WAN, 2);
	assert_mac("192.0.2.2", WAN, 2);
	assert_kind("2001:db8:99::1", GW_NH_UNRESOLVED, WAN);
	add_neigh("2001:db8:2::2", WAN, 3);
	build();
	assert_mac("2001:db8:99::1", WAN, 3);
}

/**
 * One ARP packet makes the kernel remember a neighbour of any address. That
 * must not draw what is for this address to the sender.
 */
static void
test_neighbours_off_link(void **state)
{
	add_route("10.2.0.0/16", "10.1.0.2", ports[LAN].ifindex);
	add_route("192.0.2.64/26", "192.0.2.3", ports[WAN].ifindex);
	add_route("203.0.113.5/32", "192.0.2.3", ports[WAN].ifindex);
	build();
	assert_kind("10.1.0.77", GW_NH_GLEAN, LAN);

	add_neigh("10.1.0.77", WAN, 66); /* on link, but not there */
	add_neigh("198.51.100.7", WAN, 66); /* by the router: a tunnel's remote */
	add_neigh("10.2.0.7", LAN, 66); /* by another router of this port */
	add_neigh("192.0.2.65", WAN, 66); /* a part of the link's network, by a router */
	add_neigh("203.0.113.5", WAN, 66); /* a host route by a router */
	add_neigh("10.1.0.1", LAN, 66); /* ours */
	add_neigh("192.0.2.1", LAN, 66); /* ours, elsewhere */
	add_neigh("2001:db8:1::77", WAN, 66);
	add_neigh("2001:db8:99::7", WAN, 66);
	add_neigh("fe80::7", WAN, 66); /* no router sends that on */
	build();
	assert_kind("10.1.0.77", GW_NH_GLEAN, LAN);
	assert_kind("198.51.100.7", GW_NH_UNRESOLVED, WAN);
	assert_kind("10.2.0.7", GW_NH_UNRESOLVED, LAN);
	assert_kind("192.0.2.65", GW_NH_UNRESOLVED, WAN);
	assert_kind("203.0.113.5", GW_NH_UNRESOLVED, WAN);
	assert_kind("10.1.0.1", GW_NH_LOCAL, LAN);
	assert_kind("192.0.2.1", GW_NH_LOCAL, WAN);
	assert_kind("2001:db8:1::77", GW_NH_GLEAN, LAN);
	assert_kind("2001:db8:99::7", GW_NH_UNRESOLVED, WAN);
	assert_kind("fe80::7", GW_NH_UNRESOLVED, WAN);

	/* the right one of the two counts, in whatever order they come */
	add_neigh("10.1.0.77", LAN, 7);
	build();
	assert_mac("10.1.0.77", LAN, 7);

	/* a host route on link is one */
	n_neighs = 0;
	add_route("198.51.100.9/32", NULL, ports[WAN].ifindex);
	add_neigh("198.51.100.9", WAN, 9);
	add_neigh("198.51.100.10", WAN, 66);
	build();
	assert_mac("198.51.100.9", WAN, 9);
	assert_kind("198.51.100.10", GW_NH_UNRESOLVED, WAN);
}

static void
test_elsewhere(void **state)
{
	/* foreign ones first, as gw_nl_routes() has them */
	n_routes = 0;
	add_route("0.0.0.0/0", "172.16.0.1", OTHER_IFINDEX);
	add_route("172.16.0.0/16", NULL, OTHER_IFINDEX);
	add_route("10.1.0.128/25", NULL, OTHER_IFINDEX);
	add_route("2001:db8:5::/48", "fe80::1", OTHER_IFINDEX);
	add_route("0.0.0.0/0", "192.0.2.2", ports[WAN].ifindex);
	add_route("10.1.0.0/24", NULL, ports[LAN].ifindex);
	add_route("::/0", "2001:db8:2::2", ports[WAN].ifindex);
	add_route("198.51.100.0/24", NULL, 0)->type = GW_NL_BLACKHOLE;
	add_neigh("10.1.0.200", LAN, 66);
	build();
	assert_kind("8.8.8.8", GW_NH_UNRESOLVED, WAN);
	assert_kind("172.16.3.3", GW_NH_BLACKHOLE, N_PORTS);
	assert_kind("10.1.0.200", GW_NH_BLACKHOLE, N_PORTS);
	assert_kind("10.1.0.100", GW_NH_GLEAN, LAN);
	assert_kind("198.51.100.3", GW_NH_BLACKHOLE, N_PORTS);
	assert_kind("2001:db8:5::1", GW_NH_BLACKHOLE, N_PORTS);
	assert_kind("2001:db8:6::1", GW_NH_UNRESOLVED, WAN);
}

static void
test_nothing(void **state)
{
	n_routes = n_addrs = 0;
	add_neigh("10.1.0.9", LAN, 9);
	build();
	assert_kind("10.1.0.9", GW_NH_NONE, N_PORTS);
	assert_kind("::", GW_NH_NONE, N_PORTS);
}

/** More neighbours than we take: the first ones, and the routers all the same. */
static void
test_flood(void **state)
{
	for (unsigned int i = 0; i < MAX_NEIGHS - 1; i++) {
		struct gw_nl_neigh *n = &neighs[n_neighs++];

		*n = (struct gw_nl_neigh){.addr = addr("2001:db8:1::"),
				.ifindex = ports[LAN].ifindex,
				.valid = true};
		for (unsigned int k = 8; k < 16; k++)
			n->addr.a.ip6[k] = (uint8_t)(rand() >> 7);
	}
	add_neigh("2001:db8:2::2", WAN, 2);
	build();
	assert_int_equal(built.left_out, MAX_NEIGHS - GW_MAX_HOST_ROUTES6);
	assert_in_range(gw_fib_size(built.fib6), 0, 70u << 20);
	assert_mac("2001:db8:99::1", WAN, 2);

	n_neighs = 0;
	n_routes = 0;
	add_route("0.0.0.0/0", NULL, ports[LAN].ifindex);
	for (unsigned int i = 0; i < MAX_NEIGHS; i++) {
		struct gw_nl_neigh *n = &neighs[n_neighs++];

		*n = (struct gw_nl_neigh){.addr = {.family = AF_INET},
				.ifindex = ports[LAN].ifindex,
				.valid = true};
		n->addr.a.ip4 = (rte_be32_t)rand();
	}
	build();
	assert_int_equal(built.left_out, MAX_NEIGHS - GW_MAX_HOST_ROUTES4);
	assert_in_range(gw_fib_size(built.fib4), 0, 40u << 20);
}

/** 100,000 routes by 1,000 routers. */
static void
test_many_gateways(void **state)
{
	struct timespec t0, t1;
	double ms;

	for (unsigned int i = 0; i < 100000; i++) {
		struct gw_nl_route *r = &routes[n_routes++];
		char text[64];

		snprintf(text, sizeof(text), "192.0.%u.%u", 2 + i % 1000 / 200, 10 + i % 200);
		*r = (struct gw_nl_route){.dst = {.len = 24}, .ifindex = ports[WAN].ifindex};
		r->dst.addr.family = AF_INET;
		r->dst.addr.a.ip4 = rte_cpu_to_be_32(0x14000000 + (i << 8));
		r->via = addr(text);
	}
	clock_gettime(CLOCK_MONOTONIC, &t0);
	build();
	clock_gettime(CLOCK_MONOTONIC, &t1);
	/* routers, none, blackhole, on link by port, the defaults, our addresses */
	assert_int_equal(built.n_nh, 1000 + 2 + 4 + n_addrs);
	ms = (t1.tv_sec - t0.tv_sec) * 1e3 + (t1.tv_nsec - t0.tv_nsec) / 1e6;
	print_message("# 100,000 routes by 1,000 routers: %.1f ms\n", ms);
	assert_true(look_up("20.0.3.1")->via.a.ip4 == addr("192.0.2.13").a.ip4);
	assert_true(look_up("20.0.251.1")->via.a.ip4 == addr("192.0.3.61").a.ip4);
}

static void
test_local(void **state)
{
	static struct gw_local l;
	struct gw_addr a = addr("64:ff9b::1");
	struct gw_addr set[GW_LOCAL_SLOTS / 2];

	/* such as begin with a zero byte: in the set, and not overwritten by others */
	memset(&l, 0, sizeof(l));
	for (unsigned int i = 0; i < GW_LOCAL_SLOTS / 2; i++) {
		a.a.ip6[15] = (uint8_t)i;
		a.a.ip6[9] = (uint8_t)(i % 3);
		set[i] = a;
		gw_local_add(&l, &a);
		gw_local_add(&l, &a);
	}
	for (unsigned int i = 0; i < GW_LOCAL_SLOTS / 2; i++)
		assert_true(gw_local_has6(&l, set[i].a.ip6));
	a.a.ip6[15] = 0xff;
	assert_false(gw_local_has6(&l, a.a.ip6));
	a = addr("10.1.0.1");
	gw_local_add(&l, &a);
	assert_true(gw_local_has4(&l, a.a.ip4));
	a = addr("0.0.0.0");
	gw_local_add(&l, &a);
	assert_false(gw_local_has4(&l, a.a.ip4));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test_setup_teardown(test_plain, setup, teardown),
			cmocka_unit_test_setup_teardown(test_neighbours_off_link, setup, teardown),
			cmocka_unit_test_setup_teardown(test_elsewhere, setup, teardown),
			cmocka_unit_test_setup_teardown(test_nothing, setup, teardown),
			cmocka_unit_test_setup_teardown(test_flood, setup, teardown),
			cmocka_unit_test_setup_teardown(test_many_gateways, setup, teardown),
			cmocka_unit_test(test_local),
	};
	int rc;

	routes = calloc(MAX_ROUTES, sizeof(*routes));
	neighs = calloc(MAX_NEIGHS, sizeof(*neighs));
	if (routes == NULL || neighs == NULL)
		return 1;
	rc = cmocka_run_group_tests(tests, NULL, NULL);
	free(routes);
	free(neighs);
	return rc;
}
