/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef TRANSIT_H
#define TRANSIT_H

/*
 * Which tunnels may bring packets that a policy drops, or wants in a tunnel, maybe another (a
 * hub): only of those each decrypted packet is asked about again. Pure. Of n rules one
 * look-up takes log n steps, and one for each rule whose local side overlaps.
 */

#include <stdbool.h>

#include "../datapath/policy.h"

struct gw_transit;

/**
 * @param rules
 *   The policies, in any order; they stay where they are.
 * @return
 *   NULL where there is no memory. To be freed with gw_transit_free().
 */
struct gw_transit *gw_transit_new(const struct gw_policy_rule *rules, unsigned int n);

/** NULL is allowed. */
void gw_transit_free(struct gw_transit *t);

/**
 * May a packet out of a tunnel with this selector, from its remote to its local side, be one
 * of those? True also where so many rules are in question that a start would take long.
 */
bool gw_transit_may(const struct gw_transit *t, const struct gw_selector *sel);

#endif /* TRANSIT_H */
