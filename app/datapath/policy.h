/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef POLICY_H
#define POLICY_H

/*
 * The SPD (RFC 4301 4.4.1): which packets go into which tunnel, in clear, or
 * nowhere. An immutable table on librte_acl, built by control. That takes milliseconds for a
 * thousand rules: where only a few have come or gone since, the next table shares the classifier
 * of the one before, and those few are looked at beside it.
 *
 * A rule with ports also says something of fragments, which have none (their
 * ports read as 0, see flow.h): one that protects or drops applies to fragments
 * of its protocol and addresses whatever their ports, one that lets pass in
 * clear never does. So no fragment leaves in clear whose whole packet would not
 * have. The same holds for packets that do not show their protocol
 * (GW_PROTO_OPAQUE) and rules that name one.
 */

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <rte_byteorder.h>
#include <rte_common.h>

#include "../control/config.h"
#include "flow.h"

struct gw_policy;

struct gw_policy_rule {
	struct gw_selector sel;
	enum gw_action action;
	uint16_t tunnel; /* where action is GW_ACTION_TUNNEL */
};

/** The answer for a packet. */
struct gw_verdict {
	uint16_t rule; /* 0: none matched, else number of the rule + 1 */
	uint16_t tunnel;
	uint8_t action; /* enum gw_action */
} __rte_aligned(8); /* one load, one store */

/**
 * Build a table; the first rule that matches counts. Control.
 *
 * @param name
 *   For EAL's names of it; the same one may be used again.
 * @return
 *   NULL where it cannot be built (err set). Freed with gw_policy_free() once
 *   no worker has it.
 */
struct gw_policy *gw_policy_build(const char *name, const struct gw_policy_rule *rules,
		unsigned int n, enum gw_action default_action, int socket, struct gw_error *err);

/**
 * The same for other rules, with the classifier and the default action of a policy that is there,
 * and may be freed before this one. Control.
 *
 * @return
 *   NULL where too many rules differ, or there is no memory: to be built then.
 */
struct gw_policy *gw_policy_amend(const struct gw_policy *old, const struct gw_policy_rule *rules,
		unsigned int n, int socket);

/** Is its classifier that of other rules? */
bool gw_policy_is_amended(const struct gw_policy *policy);

/** NULL is allowed. */
void gw_policy_free(struct gw_policy *policy);

/**
 * The verdicts for @p n flows of any families mixed, n at most GW_BURST. A flow
 * that is not IP at all (family 0) is dropped. Any thread; HOT.
 */
void gw_policy_lookup(const struct gw_policy *policy, const struct gw_flow *const flows[],
		struct gw_verdict verdicts[], unsigned int n);

/** The rule of a verdict, for the console; NULL for the default. */
const struct gw_policy_rule *gw_policy_rule_get(const struct gw_policy *policy, uint16_t rule);

/**
 * A selector made ready to look at packets received: from remote to local.
 * Words are in wire order, masked, the rest of an IPv4 address 0.
 */
struct gw_sel_in {
	/* IPv4, any protocol: both addresses as a header has them; else such that none fits */
	uint64_t addrs4, addrs4_mask;
	uint64_t src[2], src_mask[2];
	uint64_t dst[2], dst_mask[2];
	struct gw_port_range sports, dports;
	uint8_t proto; /* 0: any */
	uint8_t family;
};

void gw_sel_compile(struct gw_sel_in *in, const struct gw_selector *sel);

/** Is @p addr inside the prefix of these two masked words? */
static inline bool
gw_sel_addr_match(const uint8_t addr[16], const uint64_t want[2], const uint64_t mask[2])
{
	uint64_t w[2];

	memcpy(w, addr, sizeof(w));
	return (((w[0] & mask[0]) ^ want[0]) | ((w[1] & mask[1]) ^ want[1])) == 0;
}

static inline bool
gw_sel_port_match(const struct gw_port_range *range, rte_be16_t port)
{
	uint16_t p = rte_be_to_cpu_16(port);

	return p >= range->min && p <= range->max;
}

/** Does it for its addresses alone? @p ip: a whole IPv4 header. gw_sel_match() may say more. */
static inline bool
gw_sel_match_addrs4(const struct gw_sel_in *in, const uint8_t *ip)
{
	uint64_t addrs = gw_flow_load8(ip + offsetof(struct rte_ipv4_hdr, src_addr));

	return (addrs & in->addrs4_mask) == in->addrs4;
}

/**
 * Does a packet received through a tunnel belong to this selector of it (RFC
 * 4301 5.2)? Fragments match whatever the selector's ports, packets that do
 * not show their protocol whatever its protocol: the peer's policy sends them
 * so. Any thread; HOT.
 */
static inline bool
gw_sel_match(const struct gw_sel_in *in, const struct gw_flow *f)
{
	if (in->family != f->family || !gw_sel_addr_match(f->src, in->src, in->src_mask) ||
			!gw_sel_addr_match(f->dst, in->dst, in->dst_mask))
		return false;
	if (in->proto == 0 || f->proto == GW_PROTO_OPAQUE)
		return true;
	if (in->proto != f->proto)
		return false;
	if (f->sport == 0 && f->dport == 0)
		return true;
	return gw_sel_port_match(&in->sports, f->sport) && gw_sel_port_match(&in->dports, f->dport);
}

/** gw_sel_match() for a selector that is not compiled; not for the packet path. */
bool gw_selector_match_in(const struct gw_selector *sel, const struct gw_flow *f);

#endif /* POLICY_H */
