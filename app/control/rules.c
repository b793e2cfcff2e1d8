/* SPDX-License-Identifier: BSD-3-Clause */

/* What workers look for packets in: the policies of the file, then those of IKE. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control_priv.h"
#include "transit.h"

static bool
may_be_transit(const struct gw_transit *transit, const struct gw_config_tunnel *cfg)
{
	for (unsigned int s = 0; s < cfg->n_selectors; s++)
		if (gw_transit_may(transit, &cfg->selectors[s]))
			return true;
	return false;
}

/** Of IKE, to let pass or to drop. */
static bool
has_other_rules(const struct gw *gw)
{
	for (unsigned int i = gw->n_file_rules; i < gw->n_rules; i++)
		if (gw->rules[i].action != GW_ACTION_TUNNEL)
			return true;
	return false;
}

static int
mark_transit(struct gw *gw)
{
	struct gw_transit *transit = gw_transit_new(gw->rules, gw->n_rules);

	if (transit == NULL)
		return -ENOMEM;
	gw->both_ways = gw->cfg.n_policies > 0 || has_other_rules(gw);
	for (unsigned int t = 0; t < gw->n_tunnels; t++) {
		gw->tunnel[t].transit = may_be_transit(transit, gw->tunnel[t].cfg);
		gw->both_ways |= gw->tunnel[t].transit;
	}
	gw_transit_free(transit);
	return 0;
}

int
gw_rules_make(struct gw *gw)
{
	unsigned int n = gw->cfg.n_policies;

	for (unsigned int t = 0; t < gw->cfg.n_tunnels; t++)
		n += gw->cfg.tunnels[t].n_selectors;
	gw->rules = calloc(RTE_MAX(n, 1u), sizeof(*gw->rules));
	if (gw->rules == NULL)
		return -ENOMEM;
	for (unsigned int i = 0; i < gw->cfg.n_policies; i++) {
		const struct gw_config_policy *p = &gw->cfg.policies[i];
		const struct gw_tunnel *t = NULL;

		if (p->action == GW_ACTION_TUNNEL)
			t = gw_tunnel_find(gw, p->tunnel);
		gw->rules[gw->n_rules++] = (struct gw_policy_rule){.sel = p->sel,
				.action = p->action,
				.tunnel = t == NULL ? 0 : t->id};
	}
	for (unsigned int t = 0; t < gw->cfg.n_tunnels; t++)
		for (unsigned int i = 0; i < gw->cfg.tunnels[t].n_selectors; i++)
			gw->rules[gw->n_rules++] = (struct gw_policy_rule){
					.sel = gw->cfg.tunnels[t].selectors[i],
					.action = GW_ACTION_TUNNEL,
					.tunnel = t};
	gw->n_file_rules = gw->n_rules;
	return mark_transit(gw);
}

/** What gw_rules_set() changes of the gateway. */
struct before {
	struct gw_policy_rule *rules;
	unsigned int n_rules;
	bool changed, both_ways;
	bool *transit; /* by tunnel */
};

static int
save(const struct gw *gw, struct before *b)
{
	*b = (struct before){gw->rules, gw->n_rules, gw->rules_changed, gw->both_ways,
			calloc(gw->n_tunnels + 1, sizeof(*b->transit))};
	if (b->transit == NULL)
		return -ENOMEM;
	for (unsigned int t = 0; t < gw->n_tunnels; t++)
		b->transit[t] = gw->tunnel[t].transit;
	return 0;
}

static void
put_back(struct gw *gw, const struct before *b)
{
	free(gw->rules);
	gw->rules = b->rules;
	gw->n_rules = b->n_rules;
	gw->rules_changed = b->changed;
	gw->both_ways = b->both_ways;
	for (unsigned int t = 0; t < gw->n_tunnels; t++)
		gw->tunnel[t].transit = b->transit[t];
}

static int
set(struct gw *gw, const struct gw_policy_rule *rules, unsigned int n, struct gw_error *err)
{
	struct gw_policy_rule *all = calloc(gw->n_file_rules + n + 1, sizeof(*all));
	struct before b;
	int rc;

	if (all == NULL || save(gw, &b) < 0) {
		free(all);
		return -ENOMEM;
	}
	memcpy(all, gw->rules, gw->n_file_rules * sizeof(*all));
	memcpy(all + gw->n_file_rules, rules, n * sizeof(*all));
	gw->rules = all;
	gw->n_rules = gw->n_file_rules + n;
	gw->rules_changed = true;
	rc = mark_transit(gw);
	if (rc == 0)
		rc = gw_view_update(gw, err);
	if (rc < 0)
		put_back(gw, &b);
	else
		free(b.rules);
	free(b.transit);
	return rc;
}

int
gw_rules_set(struct gw *gw, const struct gw_policy_rule *rules, unsigned int n,
		struct gw_error *err)
{
	gw_error_set(err, NULL, 0, "no memory for policies");
	return set(gw, rules, n, err);
}
