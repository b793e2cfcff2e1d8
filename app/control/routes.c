/* SPDX-License-Identifier: BSD-3-Clause */

#include "routes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <rte_common.h>
#include <rte_jhash.h>

/** The next hop that all blackholes share; 0 is GW_NH_NONE. */
#define NH_BLACKHOLE 1

struct build {
	struct gw_nl *nl;
	const struct gw_routes_port *ports;
	unsigned int n_ports;
	struct gw_nexthop *nh;
	uint32_t n_nh;
	struct gw_fib_route *routes;
	uint32_t n_routes;
	uint32_t *slot; /* (port, via) of a route -> its next hop; 0: free */
	uint32_t n_slots; /* power of two, at least twice the routes */
	uint32_t left_out;
};

/** n_ports: none of ours. */
static unsigned int
port_of(const struct build *b, unsigned int ifindex)
{
	unsigned int i;

	for (i = 0; i < b->n_ports; i++)
		if (b->ports[i].ifindex == ifindex)
			break;
	return i;
}

static uint32_t
add_nh(struct build *b, enum gw_nh_kind kind, unsigned int port, const struct gw_nl_neigh *neigh)
{
	struct gw_nexthop *nh = &b->nh[b->n_nh];

	nh->kind = kind;
	nh->port = port;
	if (port < b->n_ports) {
		nh->mtu = b->ports[port].mtu;
		nh->src = b->ports[port].mac;
	}
	if (neigh != NULL) {
		memcpy(&nh->dst, neigh->mac, sizeof(nh->dst));
		nh->via = neigh->addr;
	}
	return b->n_nh++;
}

static void
add_route(struct build *b, const struct gw_prefix *prefix, uint32_t nh)
{
	b->routes[b->n_routes++] = (struct gw_fib_route){.prefix = *prefix, .nh = nh};
}

static void
add_host_route(struct build *b, const struct gw_addr *addr, uint32_t nh)
{
	struct gw_prefix p = {.addr = *addr, .len = gw_addr_len(addr->family) * 8};

	add_route(b, &p, nh);
}

/** By a router whose MAC may be known, or on link. */
static uint32_t
make_route_nh(struct build *b, const struct gw_nl_route *r, unsigned int port)
{
	const struct gw_nl_neigh *n;
	uint32_t i;

	if (r->via.family == 0)
		return add_nh(b, GW_NH_GLEAN, port, NULL);
	n = gw_nl_neigh_find(b->nl, r->ifindex, &r->via);
	if (n != NULL && n->valid)
		i = add_nh(b, GW_NH_ETHER, port, n);
	else
		i = add_nh(b, GW_NH_UNRESOLVED, port, NULL);
	b->nh[i].via = r->via;
	return i;
}

/** Routes by the same router share their next hop. */
static uint32_t
route_nh(struct build *b, const struct gw_nl_route *r, unsigned int port)
{
	size_t len = r->via.family == 0 ? 0 : gw_addr_len(r->via.family);
	uint32_t i = rte_jhash(&r->via.a, len, port);

	for (i &= b->n_slots - 1; b->slot[i] != 0; i = (i + 1) & (b->n_slots - 1)) {
		const struct gw_nexthop *nh = &b->nh[b->slot[i]];

		if (nh->port == port && gw_addr_equal(&nh->via, &r->via))
			return b->slot[i];
	}
	b->slot[i] = make_route_nh(b, r, port);
	return b->slot[i];
}

static void
add_routes(struct build *b, const struct gw_nl_route *r, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		unsigned int port = port_of(b, r[i].ifindex);

		if (r[i].type != GW_NL_UNICAST)
			add_route(b, &r[i].dst, NH_BLACKHOLE);
		else if (port < b->n_ports)
			add_route(b, &r[i].dst, route_nh(b, &r[i], port));
	}
}

static int
build_fibs(const struct build *b, struct gw_routes *r)
{
	r->fib4 = gw_fib_build(AF_INET, b->routes, b->n_routes, SOCKET_ID_ANY);
	r->fib6 = gw_fib_build(AF_INET6, b->routes, b->n_routes, SOCKET_ID_ANY);
	return r->fib4 == NULL || r->fib6 == NULL ? -ENOMEM : 0;
}

static void
free_fibs(struct gw_routes *r)
{
	gw_fib_free(r->fib4);
	gw_fib_free(r->fib6);
	r->fib4 = r->fib6 = NULL;
}

/** Do the routes, of which alone @p r was built, say that it is its port's neighbour? */
static bool
is_on_link(const struct build *b, const struct gw_routes *r, const struct gw_nl_neigh *n,
		unsigned int port)
{
	const struct gw_nexthop *nh;

	if (n->addr.family == AF_INET)
		nh = &b->nh[gw_fib_lookup4(r->fib4, n->addr.a.ip4)];
	else
		nh = &b->nh[gw_fib_lookup6(r->fib6, n->addr.a.ip6)];
	return nh->kind == GW_NH_GLEAN && nh->port == port;
}

/** True if there were any: the FIBs are to be built again. */
static bool
add_neighbours(struct build *b, const struct gw_routes *r, const struct gw_nl_neigh *n,
		unsigned int n_neighs)
{
	uint32_t room4 = GW_MAX_HOST_ROUTES4, room6 = GW_MAX_HOST_ROUTES6;
	uint32_t before = b->n_routes;

	for (unsigned int i = 0; i < n_neighs; i++) {
		uint32_t *room = n[i].addr.family == AF_INET ? &room4 : &room6;
		unsigned int port = port_of(b, n[i].ifindex);

		if (!n[i].valid || port == b->n_ports || !is_on_link(b, r, &n[i], port))
			continue;
		if (*room == 0) {
			b->left_out++;
			continue;
		}
		(*room)--;
		add_host_route(b, &n[i].addr, add_nh(b, GW_NH_ETHER, port, &n[i]));
	}
	return b->n_routes != before;
}

static bool
add_own(struct build *b, const struct gw_nl_addr *a, unsigned int n)
{
	uint32_t before = b->n_routes;

	for (unsigned int i = 0; i < n; i++) {
		unsigned int port = port_of(b, a[i].ifindex);

		if (port < b->n_ports)
			add_host_route(b, &a[i].prefix.addr, add_nh(b, GW_NH_LOCAL, port, NULL));
	}
	return b->n_routes != before;
}

static int
make_room(struct build *b, size_t n_routes, size_t n_others)
{
	b->n_slots = rte_align32pow2((uint32_t)n_routes * 2 + 2);
	b->nh = calloc(2 + n_routes + n_others, sizeof(*b->nh));
	b->routes = calloc(1 + n_routes + n_others, sizeof(*b->routes));
	b->slot = calloc(b->n_slots, sizeof(*b->slot));
	if (b->nh == NULL || b->routes == NULL || b->slot == NULL)
		return -ENOMEM;
	add_nh(b, GW_NH_NONE, b->n_ports, NULL);
	add_nh(b, GW_NH_BLACKHOLE, b->n_ports, NULL);
	return 0;
}

/** Of a prefix the later route wins. The routes alone come first, to judge neighbours by. */
static int
fill(struct build *b, struct gw_routes *r)
{
	unsigned int n_routes, n_neighs, n_addrs;
	const struct gw_nl_route *routes = gw_nl_routes(b->nl, &n_routes);
	const struct gw_nl_neigh *neighs = gw_nl_neighs(b->nl, &n_neighs);
	const struct gw_nl_addr *addrs = gw_nl_addrs(b->nl, &n_addrs);
	bool more;

	if (make_room(b, n_routes, (size_t)n_neighs + n_addrs) < 0)
		return -ENOMEM;
	add_routes(b, routes, n_routes);
	if (build_fibs(b, r) < 0)
		return -ENOMEM;
	more = add_neighbours(b, r, neighs, n_neighs);
	more |= add_own(b, addrs, n_addrs);
	if (!more)
		return 0;
	free_fibs(r);
	return build_fibs(b, r);
}

int
gw_routes_build(struct gw_routes *r, struct gw_nl *nl, const struct gw_routes_port *ports,
		unsigned int n_ports)
{
	struct build b = {.nl = nl, .ports = ports, .n_ports = n_ports};
	int rc;

	memset(r, 0, sizeof(*r));
	rc = fill(&b, r);
	r->nh = b.nh;
	r->n_nh = b.n_nh;
	r->left_out = b.left_out;
	free(b.routes);
	free(b.slot);
	return rc;
}

void
gw_routes_free(struct gw_routes *r)
{
	free_fibs(r);
	free(r->nh);
	memset(r, 0, sizeof(*r));
}

void
gw_local_add(struct gw_local *l, const struct gw_addr *a)
{
	static const uint8_t none[16];
	uint32_t i;

	if (a->family == AF_INET) {
		if (a->a.ip4 == 0 || gw_local_has4(l, a->a.ip4))
			return;
		for (i = gw_local_hash4(a->a.ip4); l->ip4[i] != 0; i = (i + 1) % GW_LOCAL_SLOTS)
			;
		l->ip4[i] = a->a.ip4;
		return;
	}
	if (gw_local_has6(l, a->a.ip6))
		return;
	for (i = gw_local_hash6(a->a.ip6); memcmp(l->ip6[i], none, sizeof(none)) != 0;
			i = (i + 1) % GW_LOCAL_SLOTS)
		;
	memcpy(l->ip6[i], a->a.ip6, sizeof(l->ip6[i]));
}
