/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef ROUTES_H
#define ROUTES_H

/*
 * From the mirror of the kernel's tables to what workers look up: next hops and
 * a FIB per family. Pure, but for what it reads of netlink.h. Control thread.
 */

#include <stdint.h>

#include <rte_ether.h>

#include "../datapath/view.h"
#include "../host/netlink.h"

/*
 * Host routes for neighbours, by family. An IPv6 one takes up to 8 KB of FIB
 * where its interface identifier is a random number, so this is 64 MB at most.
 * The kernel's own limit (gc_thresh3, 1024 unless it was raised) comes first.
 */
#define GW_MAX_HOST_ROUTES4 16384u
#define GW_MAX_HOST_ROUTES6 8192u

struct gw_routes_port {
	unsigned int ifindex; /* of its TAP */
	uint16_t mtu;
	struct rte_ether_addr mac;
};

struct gw_routes {
	struct gw_fib *fib4;
	struct gw_fib *fib6;
	struct gw_nexthop *nh; /* index 0: GW_NH_NONE */
	uint32_t n_nh;
	uint32_t left_out; /* neighbours above the limit: they stay GW_NH_GLEAN */
};

/**
 * Build it from what @p nl knows now. A route to elsewhere (GW_NL_FOREIGN) is a
 * blackhole. A neighbour counts only where the routes say that its address is
 * on link, on its port: anybody on the link can make the kernel remember a
 * neighbour of any address. Our own addresses win over all.
 *
 * @return
 *   0 or -ENOMEM; @p r is to be freed in either case.
 */
int gw_routes_build(struct gw_routes *r, struct gw_nl *nl, const struct gw_routes_port *ports,
		unsigned int n_ports);

/** Free what it points to. */
void gw_routes_free(struct gw_routes *r);

/** Add an address to a set that has room for it; 0.0.0.0 and :: are not taken. */
void gw_local_add(struct gw_local *l, const struct gw_addr *a);

#endif /* ROUTES_H */
