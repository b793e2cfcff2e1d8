/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef NETLINK_H
#define NETLINK_H

/*
 * Mirror of the kernel's addresses, routes and neighbours on our TAPs
 * (libnl-route-3): `ip`, FRR, keepalived and strongSwan change them, we follow.
 * Routes: those of the main table. Of a multipath route the first hop that is
 * ours, where there is one. A route through an interface that is not watched, or
 * by a hop that wants another header (MPLS, seg6), is there too, as one to
 * elsewhere: what it is for must not follow a less specific route of ours. Not
 * mirrored are routes for multicast and fe80::/10, and those by TOS or by
 * source. Addresses are all of the watched interfaces, also link-local ones; the
 * kernel reports an IPv6 address a moment after it was added, and one with
 * duplicate detection (the link-local one) a second or two later. Control thread.
 */

#include <stdbool.h>
#include <stdint.h>

#include "../control/config.h"

struct gw_nl;

enum gw_nl_route_type {
	GW_NL_UNICAST,
	GW_NL_BLACKHOLE, /* and unreachable, prohibit, throw */
	GW_NL_FOREIGN, /* to elsewhere: nothing that we could send to */
};

struct gw_nl_route {
	struct gw_prefix dst; /* masked; len 0: default */
	struct gw_addr via; /* family 0: on link; may be of another family than dst (RFC 5549) */
	unsigned int ifindex; /* 0 for GW_NL_BLACKHOLE; GW_NL_FOREIGN: not ours, or 0 */
	uint32_t metric;
	enum gw_nl_route_type type;
	uint8_t protocol; /* RTPROT_*: kernel, static, bgp ... */
};

struct gw_nl_neigh {
	struct gw_addr addr;
	unsigned int ifindex;
	uint8_t mac[6];
	uint16_t state; /* NUD_* */
	bool valid; /* mac can be used: permanent, noarp, reachable, stale, delay, probe */
};

struct gw_nl_addr {
	struct gw_prefix prefix; /* the address itself, not masked */
	unsigned int ifindex;
};

/**
 * Open the socket, subscribe, and read what there is.
 *
 * @param ifindex
 *   Interfaces to watch; copied.
 */
int gw_nl_open(struct gw_nl **nl, const unsigned int *ifindex, unsigned int n,
		struct gw_error *err);
void gw_nl_close(struct gw_nl *nl);

/** Non-blocking; readable when something changed. */
int gw_nl_fd(const struct gw_nl *nl);

/**
 * Read all that waits. After an overrun (ENOBUFS) everything is read anew; a
 * dead socket is opened again.
 *
 * @return
 *   true if a route, address or neighbour's address changed, so tables must be
 *   built anew. Changes between valid neighbour states do not count.
 */
bool gw_nl_process(struct gw_nl *nl);

/**
 * How often messages were lost and all was read anew, and how often the socket had to be
 * reopened.
 */
void gw_nl_faults(const struct gw_nl *nl, uint64_t *overruns, uint64_t *reopens);

/*
 * What is known now. Valid until the next gw_nl_process(). Of two routes for
 * one prefix the one with the lower metric comes last, so that it wins in a
 * table built in this order; one to elsewhere comes before all others.
 */
const struct gw_nl_route *gw_nl_routes(struct gw_nl *nl, unsigned int *n);
const struct gw_nl_neigh *gw_nl_neighs(struct gw_nl *nl, unsigned int *n);
const struct gw_nl_addr *gw_nl_addrs(struct gw_nl *nl, unsigned int *n);

/** Find a neighbour; NULL where the kernel has none. */
const struct gw_nl_neigh *gw_nl_neigh_find(
		struct gw_nl *nl, unsigned int ifindex, const struct gw_addr *addr);

/**
 * Add an address to an interface; one that is there already is fine. IPv6: without DAD, so
 * that it works at once.
 */
int gw_nl_addr_add(struct gw_nl *nl, unsigned int ifindex, const struct gw_prefix *prefix,
		struct gw_error *err);

/** Add or replace a route. ifindex 0: the kernel finds it by via. */
int gw_nl_route_add(struct gw_nl *nl, const struct gw_config_route *route, unsigned int ifindex,
		struct gw_error *err);

/** Ask the kernel to find (or confirm) a neighbour's MAC (NTF_USE). Answer comes as a change. */
int gw_nl_neigh_use(struct gw_nl *nl, unsigned int ifindex, const struct gw_addr *addr);

#endif /* NETLINK_H */
