/* SPDX-License-Identifier: BSD-3-Clause */

#include "transit.h"

#include <stdlib.h>
#include <string.h>

/** Rules that one selector is compared with at most. */
#define MAX_CHECKS 4096

/** A rule by its local side. */
struct entry {
	struct gw_prefix local; /* without host bits */
	const struct gw_selector *sel;
};

struct gw_transit {
	struct entry *by_local; /* sorted; without those that let pass in clear */
	unsigned int n;
	bool has_len[129]; /* some local side, of any family, is as long */
	const struct gw_policy_rule **drops;
	unsigned int n_drops;
};

static struct gw_prefix
masked(const struct gw_prefix *p)
{
	struct gw_prefix m = *p;

	gw_prefix_mask(&m);
	return m;
}

static int
compare_entries(const void *a, const void *b)
{
	const struct entry *ea = a, *eb = b;

	return gw_prefix_compare(&ea->local, &eb->local);
}

static void
add(struct gw_transit *t, const struct gw_selector *sel)
{
	struct entry *e = &t->by_local[t->n++];

	*e = (struct entry){masked(&sel->local), sel};
	t->has_len[e->local.len] = true;
}

struct gw_transit *
gw_transit_new(const struct gw_policy_rule *rules, unsigned int n)
{
	struct gw_transit *t = calloc(1, sizeof(*t));

	if (t == NULL)
		return NULL;
	t->by_local = calloc(n + 1, sizeof(t->by_local[0]));
	t->drops = calloc(n + 1, sizeof(t->drops[0]));
	if (t->by_local == NULL || t->drops == NULL) {
		gw_transit_free(t);
		return NULL;
	}
	for (unsigned int i = 0; i < n; i++) {
		if (rules[i].action != GW_ACTION_BYPASS)
			add(t, &rules[i].sel);
		if (rules[i].action == GW_ACTION_DROP)
			t->drops[t->n_drops++] = &rules[i];
	}
	qsort(t->by_local, t->n, sizeof(t->by_local[0]), compare_entries);
	return t;
}

void
gw_transit_free(struct gw_transit *t)
{
	if (t == NULL)
		return;
	free(t->by_local);
	free(t->drops);
	free(t);
}

/** The first rule whose local prefix does not stand before @p p. */
static unsigned int
lower_bound(const struct gw_transit *t, const struct gw_prefix *p)
{
	unsigned int low = 0, high = t->n;

	while (low < high) {
		unsigned int mid = low + (high - low) / 2;

		if (gw_prefix_compare(&t->by_local[mid].local, p) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/** A look-up under way. */
struct search {
	const struct gw_transit *t;
	const struct gw_selector *sel;
	unsigned int checks;
};

/**
 * Does a rule concern the selector whose local side is inside @p in, with a prefix of
 * @p max_len at most? Those of the same prefix come first, then longer ones.
 */
static bool
any_inside(struct search *s, const struct gw_prefix *in, uint8_t max_len)
{
	for (unsigned int i = lower_bound(s->t, in); i < s->t->n; i++) {
		const struct entry *e = &s->t->by_local[i];

		if (!gw_prefix_has(in, &e->local.addr) || e->local.len > max_len)
			return false;
		if (++s->checks > MAX_CHECKS || gw_prefix_overlap(&e->sel->remote, &s->sel->local))
			return true;
	}
	return false;
}

bool
gw_transit_may(const struct gw_transit *t, const struct gw_selector *sel)
{
	struct search s = {.t = t, .sel = sel};
	struct gw_prefix remote = masked(&sel->remote);

	/* a drop policy covers both directions */
	for (unsigned int i = 0; i < t->n_drops; i++)
		if (gw_prefix_overlap(&t->drops[i]->sel.local, &sel->local) &&
				gw_prefix_overlap(&t->drops[i]->sel.remote, &sel->remote))
			return true;
	/* local sides that the remote one is inside of */
	for (uint8_t len = 0; len < remote.len; len++) {
		struct gw_prefix p = remote;

		if (!t->has_len[len])
			continue;
		p.len = len;
		gw_prefix_mask(&p);
		if (any_inside(&s, &p, len))
			return true;
	}
	/* those that are inside the remote one, or the same */
	return any_inside(&s, &remote, UINT8_MAX);
}
