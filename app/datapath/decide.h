/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef DECIDE_H
#define DECIDE_H

/*
 * The policy's word on a packet, by who brings it (RFC 4301 5). The packet path
 * asks the policy itself where the answer is a tunnel; all else comes here, so
 * that there is one place that says what may go in clear.
 */

#include "counters.h"
#include "view.h"

enum gw_origin {
	GW_FROM_PORT, /* in clear, from a port, or forwarded by the kernel */
	GW_FROM_TUNNEL, /* decrypted, and of the tunnel's selectors */
	GW_FROM_HOST, /* made here: by the kernel, or an ICMP error of ours */
};

enum gw_fate {
	GW_FATE_DROP,
	GW_FATE_CLEAR,
	GW_FATE_TUNNEL,
};

struct gw_decision {
	uint8_t fate; /* enum gw_fate */
	uint8_t drop; /* enum gw_drop, where fate is GW_FATE_DROP */
	uint16_t tunnel; /* where fate is GW_FATE_TUNNEL */
};

/** Set as the rule of a verdict whose source does not belong on the port it came from. */
#define GW_RULE_SPOOFED UINT16_MAX
/** The same for one that should have come through a tunnel. */
#define GW_RULE_CLEAR (UINT16_MAX - 1)

/** The verdict for one flow. */
struct gw_verdict gw_verdict_of(const struct gw_view *view, const struct gw_flow *flow);

/**
 * Decide about a packet of which the verdict is known.
 *
 * @param ip
 *   Its IP header; for ICMP errors, which quote another packet.
 * @param len
 *   Bytes from there on; 0: not known.
 */
struct gw_decision gw_decide(const struct gw_view *view, const struct gw_flow *flow,
		struct gw_verdict verdict, enum gw_origin origin, const uint8_t *ip, uint32_t len);

/**
 * May a packet to one of our addresses have come in clear? Not if its answer
 * would be protected; but IKE, neighbour discovery and link-local packets always
 * may, and a host on the link to our address there, where the policy's local side
 * holds both.
 */
bool gw_may_come_in_clear(const struct gw_view *view, const uint8_t *ip, uint32_t len);

/** Is an address on the link of a port, not behind a router? */
bool gw_is_on_link(const struct gw_view *view, uint8_t family, const uint8_t *addr, uint8_t *port);

/**
 * The verdict of a clear packet from a port, of which the policy said @p v: its
 * source has to fit the port, and the policy's word on the answer counts too
 * where it stands earlier, or wants it from another tunnel. To be kept with the
 * flow and its port.
 */
struct gw_verdict gw_verdict_on_port(const struct gw_view *view, const struct gw_flow *flow,
		struct gw_verdict v, uint8_t port);

/** Is the source of a flow routed to the port that it came from (RFC 3704)? */
bool gw_source_fits(const struct gw_view *view, const struct gw_flow *flow, uint8_t port);

#endif /* DECIDE_H */
