/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef POLICY_DIFF_H
#define POLICY_DIFF_H

/*
 * A classifier was made of some rules; what is to be looked at beside it so that it serves for
 * other ones, a few of which have come or gone. Pure. Control thread.
 */

#include "policy.h"

/** Rules that are looked at beside a classifier at most; and so many of its own may have gone. */
#define GW_POLICY_BESIDE 64

struct gw_policy_diff {
	/* by number in the classifier, from 1: its number now; 0: it is gone */
	uint16_t *now;
	/* by number now, from 1: it has come since, or one that is gone may stand before it */
	bool *beside;
	unsigned int n_beside;
	unsigned int n_gone;
};

/**
 * From @p old, which the classifier was made of, to @p rules. Both are in order; where what they
 * have in common is not in the same order, more has come and gone than need have.
 *
 * @param diff
 *   To be freed, also after a failure.
 * @return
 *   0, -E2BIG where more than GW_POLICY_BESIDE have come or gone, or -ENOMEM.
 */
int gw_policy_diff(struct gw_policy_diff *diff, const struct gw_policy_rule *old,
		unsigned int n_old, const struct gw_policy_rule *rules, unsigned int n);

void gw_policy_diff_free(struct gw_policy_diff *diff);

#endif /* POLICY_DIFF_H */
