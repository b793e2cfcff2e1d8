/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * app/host/tap.c and netlink.c against the real kernel, and a port that the kernel makes, in a
 * network namespace of this process alone. Needs root and iproute2; skipped without.
 */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <net/if.h>

#include <cmocka.h>

#include <rte_arp.h>
#include <rte_eal.h>
#include <rte_ether.h>
#include <rte_mbuf.h>

#include "host/netlink.h"
#include "host/port.h"
#include "host/tap.h"
#include "log.h"

static const struct rte_ether_addr lan_mac = {{0x02, 0, 0, 0, 0xaa, 1}};
static const struct rte_ether_addr host_mac = {{0x02, 0, 0, 0, 0xbb, 2}};
static struct rte_mempool *pool;
static struct gw_tap tap;
static struct gw_nl *nl;
static struct gw_error err;

static void __attribute__((format(printf, 1, 2))) run(const char *fmt, ...)
{
	char cmd[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(cmd, sizeof(cmd), fmt, ap);
	va_end(ap);
	if (system(cmd) != 0)
		fail_msg("failed: %s", cmd);
}

static struct gw_prefix
prefix(const char *text)
{
	struct gw_prefix p;

	memset(&p, 0, sizeof(p));
	assert_int_equal(gw_prefix_parse(text, &p), 0);
	return p;
}

static struct gw_addr
addr(const char *text)
{
	struct gw_addr a;

	memset(&a, 0, sizeof(a));
	assert_int_equal(gw_addr_parse(text, &a), 0);
	return a;
}

/** The route that wins for exactly this prefix: the last one of it. */
static const struct gw_nl_route *
route_in(struct gw_nl *in, const char *to)
{
	struct gw_prefix p = prefix(to);
	const struct gw_nl_route *found = NULL, *r;
	unsigned int n;

	r = gw_nl_routes(in, &n);
	for (unsigned int i = 0; i < n; i++)
		if (r[i].dst.len == p.len && gw_addr_equal(&r[i].dst.addr, &p.addr))
			found = &r[i];
	return found;
}

#define route(to) route_in(nl, to)

static void
assert_via(const char *to, const char *via)
{
	const struct gw_nl_route *r = route(to);
	char text[GW_ADDR_STRLEN];

	if (r == NULL)
		fail_msg("no route to %s", to);
	assert_int_equal(r->type, GW_NL_UNICAST);
	assert_int_equal(r->ifindex, tap.ifindex);
	assert_string_equal(gw_addr_text(&r->via, text), via);
}

static void
assert_elsewhere(const char *to)
{
	const struct gw_nl_route *r = route(to);

	if (r == NULL)
		fail_msg("no route to %s", to);
	assert_int_equal(r->type, GW_NL_FOREIGN);
	assert_int_not_equal(r->ifindex, tap.ifindex);
}

static bool
readable(int fd, int ms)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, ms) == 1;
}

static bool
has_addr(const char *text)
{
	struct gw_prefix p = prefix(text);
	const struct gw_nl_addr *a;
	unsigned int n;

	a = gw_nl_addrs(nl, &n);
	for (unsigned int i = 0; i < n; i++)
		if (a[i].prefix.len == p.len && gw_addr_equal(&a[i].prefix.addr, &p.addr) &&
				a[i].ifindex == tap.ifindex)
			return true;
	return false;
}

/** What is known by messages must be what a fresh look finds. */
static void
assert_in_step(void)
{
	struct gw_nl *fresh;
	const struct gw_nl_route *r;
	unsigned int n, m;

	gw_nl_process(nl);
	assert_int_equal(gw_nl_open(&fresh, &tap.ifindex, 1, &err), 0);
	r = gw_nl_routes(fresh, &n);
	gw_nl_routes(nl, &m);
	assert_int_equal(n, m);
	for (unsigned int i = 0; i < n; i++) {
		char to[GW_ADDR_STRLEN];
		const struct gw_nl_route *a, *b;

		gw_prefix_text(&r[i].dst, to);
		a = route_in(nl, to);
		b = route_in(fresh, to);
		assert_non_null(a);
		assert_int_equal(a->type, b->type);
		assert_int_equal(a->metric, b->metric);
		assert_int_equal(a->ifindex, b->ifindex);
		assert_int_equal(a->protocol, b->protocol);
		if (!gw_addr_equal(&a->via, &b->via))
			fail_msg("%s differs", to);
	}
	gw_nl_close(fresh);
}

static int
setup(void **state)
{
	struct gw_prefix a;

	assert_int_equal(gw_tap_open(&tap, "lan", &lan_mac, 1500, &err), 0);
	assert_int_equal(gw_nl_open(&nl, &tap.ifindex, 1, &err), 0);
	a = prefix("10.1.0.1/24");
	assert_int_equal(gw_nl_addr_add(nl, tap.ifindex, &a, &err), 0);
	a = prefix("2001:db8::1/64");
	assert_int_equal(gw_nl_addr_add(nl, tap.ifindex, &a, &err), 0);
	/* IPv6 addresses come from a kernel work queue, a moment later */
	while (readable(gw_nl_fd(nl), 50))
		gw_nl_process(nl);
	return 0;
}

static int
teardown(void **state)
{
	gw_nl_close(nl);
	gw_tap_close(&tap);
	assert_int_equal(if_nametoindex("lan"), 0);
	assert_int_equal(rte_mempool_in_use_count(pool), 0);
	return 0;
}

/** The next frame of this EtherType that the kernel sends; NULL: none within a second. */
static struct rte_mbuf *
next_frame(uint16_t type)
{
	while (readable(tap.fd, 1000)) {
		struct rte_mbuf *m = gw_tap_read(&tap, pool);

		if (m == NULL)
			continue;
		if (rte_pktmbuf_mtod(m, struct rte_ether_hdr *)->ether_type == htons(type))
			return m;
		rte_pktmbuf_free(m);
	}
	return NULL;
}

static struct rte_mbuf *
arp(uint16_t op, const char *from, const char *to)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool), *rest = rte_pktmbuf_alloc(pool);
	struct rte_ether_hdr *eth;
	struct rte_arp_hdr *h;

	/* in two segments, as any frame may be */
	assert_true(m != NULL && rest != NULL);
	assert_non_null(rte_pktmbuf_append(m, sizeof(*eth)));
	assert_non_null(rte_pktmbuf_append(rest, 46));
	eth = rte_pktmbuf_mtod(m, struct rte_ether_hdr *);
	h = rte_pktmbuf_mtod(rest, struct rte_arp_hdr *);
	memset(h, 0, 46);
	eth->dst_addr = lan_mac;
	eth->src_addr = host_mac;
	eth->ether_type = htons(RTE_ETHER_TYPE_ARP);
	h->arp_hardware = htons(RTE_ARP_HRD_ETHER);
	h->arp_protocol = htons(RTE_ETHER_TYPE_IPV4);
	h->arp_hlen = 6;
	h->arp_plen = 4;
	h->arp_opcode = htons(op);
	h->arp_data.arp_sha = host_mac;
	h->arp_data.arp_sip = addr(from).a.ip4;
	h->arp_data.arp_tip = addr(to).a.ip4;
	assert_int_equal(rte_pktmbuf_chain(m, rest), 0);
	return m;
}

static void
test_tap(void **state)
{
	struct gw_tap second;
	struct rte_mbuf *m;
	struct rte_arp_hdr *h;

	assert_int_equal(gw_tap_open(&second, "lan", &lan_mac, 1500, &err), -EEXIST);
	assert_non_null(strstr(err.text, "ip link del lan"));
	assert_int_equal(second.fd, -1);
	run("ip link add br9 type bridge");
	assert_int_equal(gw_tap_open(&second, "br9", &lan_mac, 1500, &err), -EEXIST);
	run("ip link del br9");
	run("ip -o link show lan | grep -q 'LOWER_UP.*mtu 1500.*02:00:00:00:aa:01'");

	m = arp(RTE_ARP_OP_REQUEST, "10.1.0.9", "10.1.0.1");
	assert_int_equal(gw_tap_write(&tap, m), 0);
	rte_pktmbuf_free(m);
	assert_int_equal(tap.written, 1);
	m = next_frame(RTE_ETHER_TYPE_ARP);
	assert_non_null(m);
	h = rte_pktmbuf_mtod_offset(m, struct rte_arp_hdr *, sizeof(struct rte_ether_hdr));
	assert_int_equal(h->arp_opcode, htons(RTE_ARP_OP_REPLY));
	assert_memory_equal(&h->arp_data.arp_sha, &lan_mac, 6);
	rte_pktmbuf_free(m);

	run("ip link set lan down");
	m = arp(RTE_ARP_OP_REQUEST, "10.1.0.9", "10.1.0.1");
	assert_int_equal(gw_tap_write(&tap, m), -EIO);
	rte_pktmbuf_free(m);
	assert_int_equal(tap.write_fails, 1);
	run("ip link set lan up");
}

static void
test_addrs(void **state)
{
	struct gw_prefix a = prefix("10.1.0.1/24");

	assert_true(has_addr("10.1.0.1/24"));
	assert_true(has_addr("2001:db8::1/64"));
	assert_true(has_addr("fe80::ff:fe00:aa01/64")); /* from the MAC */
	assert_non_null(route("10.1.0.0/24"));
	assert_non_null(route("2001:db8::/64"));
	assert_null(route("fe80::/64"));
	assert_null(route("ff00::/8"));

	/* once more is fine, and no change */
	assert_int_equal(gw_nl_addr_add(nl, tap.ifindex, &a, &err), 0);
	assert_false(gw_nl_process(nl));
	assert_false(readable(gw_nl_fd(nl), 0));

	run("ip addr add 10.2.0.1/16 dev lan");
	assert_true(readable(gw_nl_fd(nl), 1000));
	assert_true(gw_nl_process(nl));
	assert_true(has_addr("10.2.0.1/16"));
	assert_non_null(route("10.2.0.0/16"));
	assert_false(gw_nl_process(nl));

	/* a route with the address as its source goes without a message */
	run("ip route add 172.16.0.0/12 dev lan src 10.2.0.1");
	gw_nl_process(nl);
	assert_non_null(route("172.16.0.0/12"));
	run("ip addr del 10.2.0.1/16 dev lan");
	assert_true(gw_nl_process(nl));
	assert_false(has_addr("10.2.0.1/16"));
	assert_null(route("10.2.0.0/16"));
	assert_null(route("172.16.0.0/12"));

	/* not ours, but a network that must not be looked for behind our default route */
	run("ip link add d0 type bridge && ip addr add 10.3.0.1/16 dev d0 && ip link set d0 up");
	assert_true(gw_nl_process(nl));
	assert_false(has_addr("10.3.0.1/16"));
	assert_elsewhere("10.3.0.0/16");
	run("ip link del d0");
	assert_true(gw_nl_process(nl));
	assert_null(route("10.3.0.0/16"));
	assert_in_step();
}

static void
test_routes(void **state)
{
	const struct gw_nl_route *r;

	run("ip route add 192.168.0.0/16 via 10.1.0.2 proto bgp");
	assert_true(gw_nl_process(nl));
	assert_via("192.168.0.0/16", "10.1.0.2");
	assert_int_equal(route("192.168.0.0/16")->protocol, 186);
	run("ip route replace 192.168.0.0/16 via 10.1.0.3");
	assert_true(gw_nl_process(nl));
	assert_via("192.168.0.0/16", "10.1.0.3");

	/* the lower metric wins, and comes back when it goes */
	run("ip route add 192.168.0.0/16 via 10.1.0.4 metric 50");
	assert_true(gw_nl_process(nl));
	assert_via("192.168.0.0/16", "10.1.0.3");
	run("ip route del 192.168.0.0/16 metric 0");
	assert_true(gw_nl_process(nl));
	assert_via("192.168.0.0/16", "10.1.0.4");
	run("ip route del 192.168.0.0/16");
	assert_true(gw_nl_process(nl));
	assert_null(route("192.168.0.0/16"));

	run("ip route add blackhole 192.168.7.0/24");
	assert_true(gw_nl_process(nl));
	r = route("192.168.7.0/24");
	assert_non_null(r);
	assert_int_equal(r->type, GW_NL_BLACKHOLE);
	assert_int_equal(r->ifindex, 0);
	run("ip route del blackhole 192.168.7.0/24");

	run("ip route add default via 10.1.0.2");
	run("ip -6 route add default via 2001:db8::2");
	run("ip -6 route add 2001:db8:7::/48 via fe80::7 dev lan");
	run("ip route add 192.168.8.0/24 via inet6 2001:db8::8"); /* RFC 5549 */
	run("ip route add 192.168.9.0/24 via 10.1.0.2 table 100");
	run("ip -6 route add unreachable 2001:db8:8::/48");
	assert_true(gw_nl_process(nl));
	assert_via("0.0.0.0/0", "10.1.0.2");
	assert_via("::/0", "2001:db8::2");
	assert_via("2001:db8:7::/48", "fe80::7");
	assert_via("192.168.8.0/24", "2001:db8::8");
	assert_null(route("192.168.9.0/24"));
	assert_int_equal(route("2001:db8:8::/48")->type, GW_NL_BLACKHOLE);
	assert_in_step();
}

static void
test_multipath(void **state)
{
	run("ip link add d0 type bridge && ip addr add 10.3.0.1/16 dev d0 && ip link set d0 up");
	run("ip route add 192.168.0.0/16 nexthop via 10.3.0.2 nexthop via 10.1.0.5 "
	    "nexthop via 10.1.0.6");
	assert_true(gw_nl_process(nl));
	assert_via("192.168.0.0/16", "10.1.0.5");
	/* away from us, and back */
	run("ip route replace 192.168.0.0/16 via 10.3.0.2");
	assert_true(gw_nl_process(nl));
	assert_elsewhere("192.168.0.0/16");
	run("ip route replace 192.168.0.0/16 via 10.1.0.5");
	assert_true(gw_nl_process(nl));
	/* several with one key */
	run("ip route append 192.168.0.0/16 via 10.1.0.6");
	gw_nl_process(nl);
	assert_via("192.168.0.0/16", "10.1.0.5");
	run("ip route del 192.168.0.0/16 via 10.1.0.5");
	assert_true(gw_nl_process(nl));
	assert_via("192.168.0.0/16", "10.1.0.6");
	/* nexthop objects, as FRR makes them */
	run("ip nexthop add id 7 via 10.1.0.7 dev lan");
	run("ip route add 192.169.0.0/16 nhid 7");
	assert_true(gw_nl_process(nl));
	assert_via("192.169.0.0/16", "10.1.0.7");
	run("ip nexthop replace id 7 via 10.1.0.8 dev lan");
	assert_true(gw_nl_process(nl));
	assert_via("192.169.0.0/16", "10.1.0.8");
	run("ip nexthop del id 7");
	assert_true(gw_nl_process(nl));
	assert_null(route("192.169.0.0/16"));
	/* IPv6 */
	run("ip -6 route add 2001:db8:9::/48 nexthop via 2001:db8::5 nexthop via 2001:db8::6");
	assert_true(gw_nl_process(nl));
	assert_via("2001:db8:9::/48", "2001:db8::5");
	run("ip -6 route del 2001:db8:9::/48 via 2001:db8::5");
	assert_true(gw_nl_process(nl));
	assert_via("2001:db8:9::/48", "2001:db8::6");
	run("ip -6 route append 2001:db8:9::/48 via 2001:db8::7");
	gw_nl_process(nl);
	assert_in_step();
	run("ip -6 route del 2001:db8:9::/48");
	assert_true(gw_nl_process(nl));
	assert_in_step();
	run("ip link del d0");
	assert_in_step();
}

/** Routes of the kernel's through other interfaces. */
static void
test_foreign(void **state)
{
	static const char *const drops[] = {"blackhole", "unreachable", "prohibit", "throw"};
	char text[GW_ADDR_STRLEN];

	run("ip link add d0 type bridge && ip addr add 10.3.0.1/16 dev d0 && ip link set d0 up");
	run("ip -6 addr add 2001:db8:3::1/64 dev d0");
	run("ip route add default via 10.1.0.2");
	run("ip route add 192.168.5.0/24 via 10.3.0.2");
	run("ip -6 route add 2001:db8:5::/48 via 2001:db8:3::2");
	assert_true(gw_nl_process(nl));
	assert_elsewhere("10.3.0.0/16");
	assert_elsewhere("2001:db8:3::/64");
	assert_elsewhere("192.168.5.0/24");
	assert_string_equal(gw_addr_text(&route("192.168.5.0/24")->via, text), "10.3.0.2");
	assert_elsewhere("2001:db8:5::/48");
	assert_via("0.0.0.0/0", "10.1.0.2");

	/* ours wins for one prefix, whatever its metric, and also with the same */
	run("ip route add 192.168.5.0/24 via 10.1.0.5 metric 500");
	assert_true(gw_nl_process(nl));
	assert_via("192.168.5.0/24", "10.1.0.5");
	run("ip route add default via 10.3.0.2 metric 10; ip route del default metric 0; "
	    "ip route add default via 10.1.0.3 metric 20");
	assert_true(gw_nl_process(nl));
	assert_via("0.0.0.0/0", "10.1.0.3");
	run("ip route del 192.168.5.0/24 metric 500");
	assert_true(gw_nl_process(nl));
	assert_elsewhere("192.168.5.0/24");
	run("ip route append 192.168.5.0/24 via 10.1.0.5");
	assert_true(gw_nl_process(nl));
	assert_via("192.168.5.0/24", "10.1.0.5");
	assert_in_step();
	run("ip route del 192.168.5.0/24 via 10.3.0.2");
	gw_nl_process(nl);
	assert_via("192.168.5.0/24", "10.1.0.5");
	assert_in_step();

	/* another header than we can make */
	if (system("ip route add 192.168.6.0/24 encap ip id 7 dst 10.1.0.9 dev lan") == 0) {
		assert_true(gw_nl_process(nl));
		assert_int_equal(route("192.168.6.0/24")->type, GW_NL_FOREIGN);
	}
	for (unsigned int i = 0; i < 4; i++) {
		run("ip route add %s 192.168.7.%u/32", drops[i], i);
		run("ip -6 route add %s 2001:db8:7::%u/128", drops[i], i + 1);
		assert_true(gw_nl_process(nl));
		snprintf(text, sizeof(text), "192.168.7.%u/32", i);
		assert_int_equal(route(text)->type, GW_NL_BLACKHOLE);
		snprintf(text, sizeof(text), "2001:db8:7::%u/128", i + 1);
		assert_int_equal(route(text)->type, GW_NL_BLACKHOLE);
	}

	/* a route of ours that goes with an address that is not */
	run("ip addr add 10.4.0.1/32 dev d0; ip route add 192.168.8.0/24 dev lan src 10.4.0.1");
	assert_true(gw_nl_process(nl));
	assert_via("192.168.8.0/24", "-");
	run("ip addr del 10.4.0.1/32 dev d0");
	assert_true(gw_nl_process(nl));
	assert_null(route("192.168.8.0/24"));

	/* the kernel tells nobody which routes go with an interface */
	run("ip link set d0 down");
	assert_true(gw_nl_process(nl));
	assert_null(route("10.3.0.0/16"));
	assert_null(route("2001:db8:5::/48"));
	assert_in_step();
	run("ip link set d0 up");
	assert_true(gw_nl_process(nl));
	assert_elsewhere("10.3.0.0/16");
	run("ip link del d0");
	assert_true(gw_nl_process(nl));
	assert_null(route("10.3.0.0/16"));
	assert_in_step();
	run("ip route flush type throw; ip route flush type prohibit; "
	    "ip route flush type unreachable; ip route flush type blackhole");
	run("ip -6 route flush type throw; ip -6 route flush type prohibit; "
	    "ip -6 route flush type unreachable; ip -6 route flush type blackhole");
	assert_in_step();
}

/** Own requests. */
static void
test_route_add(void **state)
{
	struct gw_config_route r = {.to = prefix("192.168.0.0/16"), .via = addr("10.1.0.2")};

	assert_int_equal(gw_nl_route_add(nl, &r, 0, &err), 0);
	assert_true(gw_nl_process(nl));
	assert_via("192.168.0.0/16", "10.1.0.2");
	r.via = addr("2001:db8::2");
	assert_int_equal(gw_nl_route_add(nl, &r, tap.ifindex, &err), 0);
	assert_true(gw_nl_process(nl));
	assert_via("192.168.0.0/16", "2001:db8::2");
	r.to = prefix("::/0");
	assert_int_equal(gw_nl_route_add(nl, &r, tap.ifindex, &err), 0);
	memset(&r.via, 0, sizeof(r.via));
	r.to = prefix("172.16.0.0/12");
	assert_int_equal(gw_nl_route_add(nl, &r, tap.ifindex, &err), 0);
	assert_true(gw_nl_process(nl));
	assert_via("::/0", "2001:db8::2");
	assert_via("172.16.0.0/12", "-");
	r.via = addr("10.77.0.1");
	assert_int_equal(gw_nl_route_add(nl, &r, 0, &err), -ENETUNREACH);
	assert_non_null(strstr(err.text, "172.16.0.0/12 via 10.77.0.1"));
	/* and the next one works */
	r.via = addr("10.1.0.2");
	assert_int_equal(gw_nl_route_add(nl, &r, 0, &err), 0);
	assert_in_step();
}

static void
test_neigh(void **state)
{
	struct gw_addr a = addr("10.1.0.20");
	const struct gw_nl_neigh *n;
	struct rte_mbuf *m;

	assert_null(gw_nl_neigh_find(nl, tap.ifindex, &a));
	run("ip neigh replace 10.1.0.20 lladdr 02:00:00:00:00:20 dev lan nud stale");
	assert_true(gw_nl_process(nl));
	n = gw_nl_neigh_find(nl, tap.ifindex, &a);
	assert_non_null(n);
	assert_true(n->valid);
	assert_int_equal(n->mac[5], 0x20);
	assert_null(gw_nl_neigh_find(nl, tap.ifindex + 1, &a));
	/* only the state: no change */
	run("ip neigh replace 10.1.0.20 lladdr 02:00:00:00:00:20 dev lan nud reachable");
	assert_false(gw_nl_process(nl));
	assert_int_equal(gw_nl_neigh_find(nl, tap.ifindex, &a)->state, 2);
	run("ip neigh replace 10.1.0.20 lladdr 02:00:00:00:00:21 dev lan nud reachable");
	assert_true(gw_nl_process(nl));
	run("ip neigh del 10.1.0.20 dev lan");
	assert_true(gw_nl_process(nl));
	n = gw_nl_neigh_find(nl, tap.ifindex, &a);
	assert_true(n == NULL || !n->valid);

	/* asked for, answered */
	a = addr("10.1.0.30");
	assert_int_equal(gw_nl_neigh_use(nl, tap.ifindex, &a), 0);
	m = next_frame(RTE_ETHER_TYPE_ARP);
	assert_non_null(m);
	rte_pktmbuf_free(m);
	assert_false(gw_nl_process(nl)); /* incomplete is no news */
	m = arp(RTE_ARP_OP_REPLY, "10.1.0.30", "10.1.0.1");
	assert_int_equal(gw_tap_write(&tap, m), 0);
	rte_pktmbuf_free(m);
	assert_true(readable(gw_nl_fd(nl), 1000));
	assert_true(gw_nl_process(nl));
	n = gw_nl_neigh_find(nl, tap.ifindex, &a);
	assert_true(n != NULL && n->valid);
	assert_memory_equal(n->mac, &host_mac, 6);

	/* a static entry that we have not heard of yet stays one */
	run("ip neigh add 10.1.0.40 lladdr 02:00:00:00:00:40 dev lan nud permanent");
	a = addr("10.1.0.40");
	assert_int_equal(gw_nl_neigh_use(nl, tap.ifindex, &a), 0);
	run("ip neigh show 10.1.0.40 dev lan | grep -q PERMANENT");
	/* one that has failed is asked for again */
	run("ip neigh add 10.1.0.41 lladdr 02:00:00:00:00:41 dev lan nud reachable");
	run("ip neigh change 10.1.0.41 dev lan nud failed");
	assert_true(readable(gw_nl_fd(nl), 1000));
	gw_nl_process(nl);
	a = addr("10.1.0.41");
	assert_false(gw_nl_neigh_find(nl, tap.ifindex, &a)->valid);
	assert_int_equal(gw_nl_neigh_use(nl, tap.ifindex, &a), 0);
	m = next_frame(RTE_ETHER_TYPE_ARP);
	assert_non_null(m);
	rte_pktmbuf_free(m);
	/* IPv6: a neighbour solicitation goes out */
	a = addr("2001:db8::30");
	assert_int_equal(gw_nl_neigh_use(nl, tap.ifindex, &a), 0);
	m = next_frame(RTE_ETHER_TYPE_IPV6);
	assert_non_null(m);
	rte_pktmbuf_free(m);
}

static void
test_link_down(void **state)
{
	run("ip route add 192.168.0.0/16 via 10.1.0.2");
	assert_true(gw_nl_process(nl));
	run("ip link set lan down");
	assert_true(gw_nl_process(nl));
	assert_null(route("192.168.0.0/16")); /* the kernel tells nobody */
	run("ip link set lan up");
	assert_true(gw_nl_process(nl));
	assert_non_null(route("10.1.0.0/24"));
	assert_in_step();
}

/** Do something to each of our netlink sockets. */
static void
each_netlink_fd(void (*what)(int fd))
{
	for (int fd = 3; fd < 1024; fd++) {
		socklen_t len = sizeof(int);
		int domain = 0;

		if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 &&
				domain == AF_NETLINK)
			what(fd);
	}
}

static void
make_small(int fd)
{
	int size = 1;

	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
}

static void
kill_fd(int fd)
{
	int null = open("/dev/null", O_RDWR);

	dup2(null, fd);
	close(null);
}

static void
batch(const char *verb, int n)
{
	char path[] = "/tmp/test_host.XXXXXX";
	FILE *f = fdopen(mkstemp(path), "w");

	assert_non_null(f);
	for (int i = 0; i < n; i++)
		fprintf(f, "route %s 100.%d.%d.%d/32 via 10.1.0.%d\n", verb, i >> 16,
				(i >> 8) & 255, i & 255, 2 + i % 9);
	fclose(f);
	run("ip -batch %s", path);
	unlink(path);
}

static void
test_overrun(void **state)
{
	uint64_t overruns, reopens;
	unsigned int before, n;

	gw_nl_routes(nl, &before);
	each_netlink_fd(make_small);
	batch("add", 2000);
	assert_true(gw_nl_process(nl));
	gw_nl_faults(nl, &overruns, &reopens);
	assert_true(overruns > 0);
	assert_int_equal(reopens, 0);
	gw_nl_routes(nl, &n);
	assert_int_equal(n, before + 2000);
	assert_via("100.0.7.207/32", "10.1.0.3");
	batch("del", 2000);
	assert_true(gw_nl_process(nl));
	gw_nl_routes(nl, &n);
	assert_int_equal(n, before);
	assert_in_step();
}

static void
test_dead_socket(void **state)
{
	uint64_t overruns, reopens;

	each_netlink_fd(kill_fd);
	run("ip route add 192.168.0.0/16 via 10.1.0.2");
	assert_true(gw_nl_process(nl));
	gw_nl_faults(nl, &overruns, &reopens);
	assert_int_equal(reopens, 1);
	assert_via("192.168.0.0/16", "10.1.0.2");
	/* and events wake us again, through the same fd */
	assert_false(readable(gw_nl_fd(nl), 0));
	run("ip route del 192.168.0.0/16");
	assert_true(readable(gw_nl_fd(nl), 1000));
	assert_true(gw_nl_process(nl));
	assert_null(route("192.168.0.0/16"));
}

/** Random changes with few keys, so that they meet; then compare. */
static void
test_churn(void **state)
{
	static const char *const verbs[] = {"add", "del", "replace", "append", "prepend"};

	srand(1);
	run("ip link add d0 type bridge && ip addr add 10.3.0.1/16 dev d0 && ip link set d0 up");
	for (int round = 0; round < 12; round++) {
		char path[] = "/tmp/test_host.XXXXXX";
		FILE *f = fdopen(mkstemp(path), "w");

		for (int i = 0; i < 200; i++) {
			const char *verb = verbs[rand() % 5];
			int key = rand() % 6, hop = 2 + rand() % 3, metric = 10 * (rand() % 2);

			if (rand() % 2)
				fprintf(f, "route %s 100.%d.0.0/16 via 10.%d.0.%d metric %d\n",
						verb, key, rand() % 4 ? 1 : 3, hop, metric);
			else
				fprintf(f,
						"route %s 2001:db8:%d::/48 via 2001:db8::%d "
						"metric %d\n",
						verb, key + 10, hop, metric + 1);
			if (i % 10 == 0)
				fprintf(f, "route %s blackhole 100.%d.0.0/16 metric %d\n",
						verbs[rand() % 3], key, metric);
		}
		fclose(f);
		run("ip -force -batch %s >/dev/null 2>&1; true", path);
		unlink(path);
		assert_in_step();
	}
	run("ip route flush proto boot; ip -6 route flush proto boot; true");
	assert_in_step();
	run("ip link del d0");
	assert_in_step();
}

static void
check_udp_cksum(const char *device, bool wanted, bool makes)
{
	struct gw_config_port cfg = {.name = "lan",
			.device = (char *)(uintptr_t)device,
			.mtu = 1500,
			.rx_desc = 64,
			.tx_desc = 64};
	struct gw_port port;

	assert_int_equal(gw_port_probe(&port, &cfg, &err), 0);
	port.wants_udp_cksum = wanted;
	if (gw_port_open(&port, &cfg, 1, pool, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(port.udp_cksum, makes);
	assert_int_equal(
			strstr(port.note, "the CPU makes the checksums") != NULL, wanted && !makes);
	gw_port_close(&port);
}

/** UDP checksums are asked for where they are wanted, of a device that makes them. */
static void
test_udp_cksum(void **state)
{
	check_udp_cksum("net_tap_cksum", true, true);
	check_udp_cksum("net_tap_cksum", false, false);
	check_udp_cksum("net_null_cksum", true, false);
	check_udp_cksum("net_null_cksum", false, false);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test_setup_teardown(test_tap, setup, teardown),
			cmocka_unit_test_setup_teardown(test_addrs, setup, teardown),
			cmocka_unit_test_setup_teardown(test_routes, setup, teardown),
			cmocka_unit_test_setup_teardown(test_multipath, setup, teardown),
			cmocka_unit_test_setup_teardown(test_foreign, setup, teardown),
			cmocka_unit_test_setup_teardown(test_route_add, setup, teardown),
			cmocka_unit_test_setup_teardown(test_neigh, setup, teardown),
			cmocka_unit_test_setup_teardown(test_link_down, setup, teardown),
			cmocka_unit_test_setup_teardown(test_overrun, setup, teardown),
			cmocka_unit_test_setup_teardown(test_dead_socket, setup, teardown),
			cmocka_unit_test_setup_teardown(test_churn, setup, teardown),
			cmocka_unit_test(test_udp_cksum),
	};

	if (unshare(CLONE_NEWNET) < 0 || access("/dev/net/tun", R_OK | W_OK) < 0) {
		printf("1..0 # SKIP needs root, network namespaces and /dev/net/tun: %s\n",
				strerror(errno));
		return 0;
	}
	/* without duplicate detection a link-local address is there at once, not in 2 s */
	if (system("ip link set lo up && cd /proc/sys/net/ipv6/conf && "
		   "echo 0 >all/accept_dad && echo 0 >default/accept_dad") != 0) {
		printf("1..0 # SKIP needs iproute2\n");
		return 0;
	}
	if (rte_eal_init(argc, argv) < 0)
		return 1;
	gw_log_init();
	pool = rte_pktmbuf_pool_create("pool", 511, 0, 0, gw_port_data_room(1500), 0);
	if (pool == NULL)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
