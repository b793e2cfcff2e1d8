/* SPDX-License-Identifier: BSD-3-Clause */

#include "policy_diff.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>

#define NOWHERE UINT_MAX

/** Both lists, and how far we are in them. */
struct walk {
	struct gw_policy_diff *d;
	const struct gw_policy_rule *old, *rules;
	unsigned int n_old, n;
	unsigned int i, j;
};

/** Does a classifier take them for the same? Where a rule leads to it does not know. */
static bool
same(const struct gw_policy_rule *a, const struct gw_policy_rule *b)
{
	return a->action == b->action && gw_selector_compare(&a->sel, &b->sel) == 0;
}

/** How many stand before a rule in a list; NOWHERE: too many, or it is not there. */
static unsigned int
how_far(const struct gw_policy_rule *list, unsigned int n, const struct gw_policy_rule *rule)
{
	for (unsigned int k = 0; k < n && k <= GW_POLICY_BESIDE; k++)
		if (same(&list[k], rule))
			return k;
	return NOWHERE;
}

static void
gone(struct walk *w)
{
	w->i++;
	w->d->n_gone++;
}

static void
beside(struct gw_policy_diff *d, unsigned int num)
{
	d->n_beside += !d->beside[num];
	d->beside[num] = true;
}

static void
come(struct walk *w)
{
	beside(w->d, ++w->j);
}

/** The next of both, where they differ. */
static void
step(struct walk *w)
{
	unsigned int n_gone = NOWHERE, n_come = NOWHERE;

	if (w->i < w->n_old && w->j < w->n) {
		n_gone = how_far(&w->old[w->i], w->n_old - w->i, &w->rules[w->j]);
		n_come = how_far(&w->rules[w->j], w->n - w->j, &w->old[w->i]);
	}
	if (w->i < w->n_old && n_gone <= n_come)
		gone(w);
	if (w->j < w->n && n_come <= n_gone)
		come(w);
}

static int
compare_lists(struct walk *w)
{
	while (w->i < w->n_old || w->j < w->n) {
		if (w->i < w->n_old && w->j < w->n && same(&w->old[w->i], &w->rules[w->j]))
			w->d->now[++w->i] = ++w->j;
		else
			step(w);
		if (w->d->n_gone > GW_POLICY_BESIDE || w->d->n_beside > GW_POLICY_BESIDE)
			return -E2BIG;
	}
	return 0;
}

static bool
overlap(const struct gw_selector *a, const struct gw_selector *b)
{
	return gw_prefix_overlap(&a->remote, &b->remote) && gw_prefix_overlap(&a->local, &b->local);
}

/** A classifier says that one that is gone comes first: then it hides these. */
static int
look_behind(struct walk *w, unsigned int num)
{
	for (unsigned int k = num + 1; k <= w->n_old; k++) {
		if (w->d->now[k] == 0 || !overlap(&w->old[num - 1].sel, &w->old[k - 1].sel))
			continue;
		beside(w->d, w->d->now[k]);
		if (w->d->n_beside > GW_POLICY_BESIDE)
			return -E2BIG;
	}
	return 0;
}

int
gw_policy_diff(struct gw_policy_diff *diff, const struct gw_policy_rule *old, unsigned int n_old,
		const struct gw_policy_rule *rules, unsigned int n)
{
	struct walk w = {.d = diff, .old = old, .rules = rules, .n_old = n_old, .n = n};
	int rc;

	*diff = (struct gw_policy_diff){.now = calloc(n_old + 1, sizeof(*diff->now)),
			.beside = calloc(n + 1, sizeof(*diff->beside))};
	if (diff->now == NULL || diff->beside == NULL)
		return -ENOMEM;
	rc = compare_lists(&w);
	for (unsigned int num = 1; rc == 0 && diff->n_gone > 0 && num <= n_old; num++)
		if (diff->now[num] == 0)
			rc = look_behind(&w, num);
	return rc;
}

void
gw_policy_diff_free(struct gw_policy_diff *diff)
{
	free(diff->now);
	free(diff->beside);
	*diff = (struct gw_policy_diff){0};
}
