/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef VIEW_H
#define VIEW_H

/*
 * What all workers read: policy, routes, next hops, tunnels, our addresses.
 * Immutable. Control builds a new view, sends its pointer to every worker, and
 * frees the old one when all have answered. Parts that did not change are
 * shared between the old view and the new one (control counts who uses them).
 */

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <rte_ether.h>

#include "../addr.h"
#include "../gw_limits.h"
#include "fib.h"
#include "policy.h"

/** No worker, no tunnel. */
#define GW_NONE UINT16_MAX

enum gw_nh_kind {
	GW_NH_NONE, /* no route */
	GW_NH_BLACKHOLE,
	GW_NH_LOCAL, /* one of our addresses: punt to the TAP of the port */
	GW_NH_GLEAN, /* on link, the destination's MAC not known */
	GW_NH_UNRESOLVED, /* by a router whose MAC is not known */
	GW_NH_ETHER, /* known: eth holds the header */
};

/** Where a packet goes. Index 0 of the view is always GW_NH_NONE. */
struct gw_nexthop {
	uint8_t kind;
	uint8_t port; /* index among our ports */
	uint16_t mtu;
	struct rte_ether_addr dst;
	struct rte_ether_addr src;
	struct gw_addr via; /* the neighbour; family 0: the packet's own destination. For control */
};

/** Some of our addresses, as an open-addressed set; a miss costs one load. */
#define GW_LOCAL_SLOTS 256 /* at least twice GW_MAX_PORTS * GW_MAX_PORT_ADDRS */

struct gw_local {
	rte_be32_t ip4[GW_LOCAL_SLOTS]; /* 0: free */
	uint8_t ip6[GW_LOCAL_SLOTS][16]; /* ::: free */
	uint64_t esp_udp[65536 / 64]; /* bitmap: UDP ports on which we take ESP, host order */
};

static inline uint32_t
gw_local_hash4(rte_be32_t ip)
{
	return (ip * UINT32_C(0x9e3779b1)) >> 24;
}

static inline uint32_t
gw_local_hash6(const uint8_t ip[16])
{
	uint64_t lo;

	memcpy(&lo, ip + 8, sizeof(lo));
	return (lo * UINT64_C(0x9e3779b97f4a7c15)) >> 56;
}

static inline bool
gw_local_has4(const struct gw_local *l, rte_be32_t ip)
{
	uint32_t i = gw_local_hash4(ip);

	for (; l->ip4[i] != 0; i = (i + 1) % GW_LOCAL_SLOTS)
		if (l->ip4[i] == ip)
			return true;
	return false;
}

static inline bool
gw_local_has6(const struct gw_local *l, const uint8_t ip[16])
{
	static const uint8_t none[16];
	uint32_t i = gw_local_hash6(ip);

	for (; memcmp(l->ip6[i], none, 16) != 0; i = (i + 1) % GW_LOCAL_SLOTS)
		if (memcmp(l->ip6[i], ip, 16) == 0)
			return true;
	return false;
}

static inline bool
gw_local_takes_esp(const struct gw_local *l, uint16_t udp_port)
{
	return l->esp_udp[udp_port / 64] >> udp_port % 64 & 1;
}

/** A tunnel as the workers see it. */
struct gw_tunnel_view {
	bool up;
	uint16_t inner_mtu; /* largest inner packet; 0: no SA or no route */
	uint32_t nh; /* towards the peer */
	const struct gw_sel_in *sel; /* what may come in through it */
	uint32_t n_sel;
	bool transit; /* what comes out may have to go into a tunnel, or nowhere: ask the policy */
	struct gw_addr icmp4; /* ours inside its selectors, source of ICMP errors; family 0: none */
	struct gw_addr icmp6;
};

struct gw_port_view {
	struct rte_ether_addr mac;
	uint16_t id; /* ethdev's */
	uint16_t n_rxq;
	uint16_t n_txq;
	uint16_t mtu;
	bool up; /* false: stopped or gone, do not poll */
	bool udp_cksum; /* it makes UDP checksums over IPv6 */
	struct gw_addr icmp4; /* our address on it, the source of ICMP errors; family 0: none */
	struct gw_addr icmp6;
};

struct gw_view {
	const struct gw_local *local;
	const struct gw_policy *policy;
	const struct gw_fib *fib4;
	const struct gw_fib *fib6;
	const struct gw_nexthop *nh;
	uint32_t n_nh;
	const struct gw_tunnel_view *tunnel;
	uint32_t n_tunnels;
	struct gw_port_view port[GW_MAX_PORTS];
	uint16_t n_ports;
	bool mss_clamp;
	bool both_ways; /* the answer's verdict counts too: hubs, bypass or drop policies */
	bool source_check; /* clear packets: the source is to be routed to the port (RFC 3704) */
};

/** The next hop of an address, 4 or 16 bytes in wire order at @p addr. */
static inline const struct gw_nexthop *
gw_view_nexthop(const struct gw_view *view, uint8_t family, const void *addr)
{
	rte_be32_t ip4;

	if (unlikely(family == AF_INET6))
		return &view->nh[gw_fib_lookup6(view->fib6, addr)];
	memcpy(&ip4, addr, sizeof(ip4));
	return &view->nh[gw_fib_lookup4(view->fib4, ip4)];
}

#endif /* VIEW_H */
