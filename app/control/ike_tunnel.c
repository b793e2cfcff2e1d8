/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Tunnels and policies of IKE. Policies are a multiset: each CHILD_SA brings its own, many are
 * equal but for the SPI. What workers look at is made of it: each selector once, those that let
 * pass before those of SAs and traps, and the more specific one before the other.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../log.h"
#include "ike_priv.h"

/** Policies of IKE, of all kinds. */
#define MAX_RULES 131072
/** Numbers of strongSwan's classes of policies lie so far apart, see manual_prio. */
#define PRIO_BASE 200000
/** The verdict of a packet holds the number of a rule in 16 bits. */
#define MAX_VIEW_RULES 65000

/* Tunnels */

static struct gw_tunnel *
find(struct gw *gw, uint32_t reqid, uint32_t if_id)
{
	GW_IKE_FOREACH_TUNNEL(gw, t)
	if (t->ike->reqid == reqid && t->ike->if_id == if_id && !t->ike->stale)
		return t;
	return NULL;
}

static struct gw_tunnel *
free_place(struct gw *gw)
{
	for (unsigned int i = gw->cfg.n_tunnels; i < gw->n_tunnels; i++)
		if (gw->tunnel[i].ike == NULL)
			return &gw->tunnel[i];
	return gw->n_tunnels < gw_max_tunnels(&gw->cfg) ? &gw->tunnel[gw->n_tunnels] : NULL;
}

static void
set_name(struct gw *gw, struct gw_ike_tunnel *it)
{
	char name[GW_NAME_LEN + 16];

	snprintf(name, sizeof(name), "ike-%u", it->reqid);
	for (unsigned int n = 2; gw_tunnel_find(gw, name) != NULL; n++)
		snprintf(name, sizeof(name), "ike-%u-%u", it->reqid, n);
	snprintf(it->cfg.name, sizeof(it->cfg.name), "%.*s", GW_NAME_LEN - 1, name);
}

/** What its workers have noted until now is of the tunnel that was in this place before. */
static void
forget_noted(struct gw *gw, struct gw_tunnel *t)
{
	for (unsigned int w = 0; w < gw->n_workers; w++)
		t->ike->noted[w] = __atomic_load_n(
				&gw->worker[w].w->want[t->id].noted, __ATOMIC_RELAXED);
}

struct gw_tunnel *
gw_ike_tunnel_get(struct gw *gw, uint32_t reqid, uint32_t if_id, struct gw_error *err)
{
	struct gw_tunnel *t = find(gw, reqid, if_id);
	struct gw_ike_tunnel *it;

	if (t != NULL)
		return t;
	t = free_place(gw);
	it = t != NULL ? calloc(1, sizeof(*it)) : NULL;
	if (it == NULL) {
		gw_error_set(err, NULL, 0, "no room for another tunnel of IKE: raise ike_tunnels");
		return NULL;
	}
	it->reqid = reqid;
	it->if_id = if_id;
	it->successor = GW_NONE;
	it->cfg.up = true;
	set_name(gw, it);
	if (gw_tunnel_open(gw, t, &it->cfg) < 0) {
		gw_tunnel_close(t);
		free(it);
		gw_error_set(err, NULL, 0, "no memory");
		return NULL;
	}
	t->ike = it;
	forget_noted(gw, t);
	gw_ike_arm(gw, t);
	if (t != &gw->tunnel[gw->n_tunnels])
		return t;
	/* workers look at it in their view as soon as they have an SA of it */
	gw->n_tunnels++;
	return gw_view_update(gw, err) < 0 ? NULL : t;
}

static bool
has_rules(const struct gw *gw, const struct gw_tunnel *t)
{
	for (unsigned int i = 0; i < gw->ike->n_rules; i++)
		if (gw->ike->rule[i].tunnel == t->id)
			return true;
	return false;
}

static bool
any_late(struct gw *gw)
{
	for (unsigned int w = 0; w < gw->n_workers; w++)
		if (gw_worker_is_late(gw, w))
			return true;
	return false;
}

bool
gw_ike_tunnel_put(struct gw *gw, struct gw_tunnel *t)
{
	struct gw_ike_tunnel *it = t->ike;
	struct gw_error err;

	/* one that does not answer may still look at it: a later tick frees it */
	if (t->n_sas > 0 || has_rules(gw, t) || t->unsettled || any_late(gw))
		return false;
	/* nothing joins it any more, also where it is freed later */
	it->stale = true;
	it->pcpu = false;
	gw_ike_arm(gw, t);
	if (gw_ike_rules_apply(gw, &err) < 0 || any_late(gw))
		return false;
	GW_IKE_FOREACH_TUNNEL(gw, other)
	if (other->ike->successor == t->id)
		other->ike->successor = GW_NONE;
	/* to workers it has no selectors now: they look at none */
	gw_tunnel_close(t);
	free(it->cfg.selectors);
	free(it);
	return true;
}

void
gw_ike_tunnel_ends(struct gw_tunnel *t, const struct gw_addr *local, const struct gw_addr *remote)
{
	if (local->family != 0)
		t->ike->cfg.local = *local;
	if (remote->family != 0)
		t->ike->cfg.remote = *remote;
}

uint32_t
gw_ike_reqid(const struct gw_tunnel *t)
{
	return t->ike->reqid;
}

/* What workers look at */

/** As strongSwan counts: the bits that both ends of a range have in common. */
static unsigned int
port_bits(const struct gw_port_range *r)
{
	unsigned int differ = r->min ^ r->max, n = 16;

	for (; differ != 0; differ >>= 1)
		n--;
	return n;
}

/**
 * The number that strongSwan's kernel-netlink gives it: the class, then the more specific
 * selector; lower comes first. A trap is of the class of SAs: it comes right behind one that is
 * as specific, and before all that are wider, also of other tunnels.
 */
static uint32_t
auto_prio(const struct gw_ike_policy *p)
{
	static const uint8_t class[] = {[GW_IKE_PRIO_PASS] = 1,
			[GW_IKE_PRIO_SA] = 2,
			[GW_IKE_PRIO_TRAP] = 2,
			[GW_IKE_PRIO_DROP] = 3};
	uint32_t prio = class[p->prio] * PRIO_BASE;

	prio -= (p->sel.local.len + p->sel.remote.len) * 512u;
	prio -= p->sel.proto != 0 ? 256 : 0;
	prio -= (port_bits(&p->sel.local_ports) + port_bits(&p->sel.remote_ports)) * 4;
	return prio - (p->prio != GW_IKE_PRIO_TRAP);
}

static uint32_t
priority(const struct gw_ike_policy *p)
{
	return p->manual_prio != 0 ? p->manual_prio : auto_prio(p);
}

static int
compare_prefix(const struct gw_prefix *a, const struct gw_prefix *b)
{
	int diff = (int)a->addr.family - b->addr.family;

	if (diff == 0)
		diff = memcmp(&a->addr.a, &b->addr.a, gw_addr_len(a->addr.family));
	return diff != 0 ? diff : (int)a->len - b->len;
}

static int
compare_range(const struct gw_port_range *a, const struct gw_port_range *b)
{
	return a->min != b->min ? (int)a->min - b->min : (int)a->max - b->max;
}

static int
compare_selector(const struct gw_selector *a, const struct gw_selector *b)
{
	int diff = compare_prefix(&a->local, &b->local);

	if (diff == 0)
		diff = compare_prefix(&a->remote, &b->remote);
	if (diff == 0)
		diff = (int)a->proto - b->proto;
	if (diff == 0)
		diff = compare_range(&a->local_ports, &b->local_ports);
	return diff != 0 ? diff : compare_range(&a->remote_ports, &b->remote_ports);
}

/** Ranges within the same bits: the narrower one comes first. */
static int
compare_width(const struct gw_selector *a, const struct gw_selector *b)
{
	int wa = a->local_ports.max - a->local_ports.min + a->remote_ports.max -
			a->remote_ports.min;
	int wb = b->local_ports.max - b->local_ports.min + b->remote_ports.max -
			b->remote_ports.min;

	return wa - wb;
}

static int
compare_rules(const void *a, const void *b)
{
	const struct gw_ike_rule *ra = *(const struct gw_ike_rule *const *)a;
	const struct gw_ike_rule *rb = *(const struct gw_ike_rule *const *)b;
	uint32_t pa = priority(&ra->p), pb = priority(&rb->p);
	int diff;

	if (pa == pb)
		pa = auto_prio(&ra->p), pb = auto_prio(&rb->p);
	if (pa != pb)
		return pa < pb ? -1 : 1;
	diff = compare_width(&ra->p.sel, &rb->p.sel);
	if (diff == 0)
		diff = compare_selector(&ra->p.sel, &rb->p.sel);
	/* of two charons the one that is there comes first */
	if (diff == 0)
		diff = (int)ra->stale - rb->stale;
	return diff != 0 ? diff : (int)ra->tunnel - rb->tunnel;
}

static bool
same_rule(const struct gw_policy_rule *r, const struct gw_ike_rule *with)
{
	return r->action == with->p.action && compare_selector(&r->sel, &with->p.sel) == 0;
}

/** Each selector once: the first that stands there counts. Returns how many. */
static unsigned int
view_rules(const struct gw_ike *ike, const struct gw_ike_rule **sorted, struct gw_policy_rule *to)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < ike->n_rules; i++)
		sorted[i] = &ike->rule[i];
	qsort(sorted, ike->n_rules, sizeof(*sorted), compare_rules);
	for (unsigned int i = 0; i < ike->n_rules; i++) {
		if (n > 0 && same_rule(&to[n - 1], sorted[i]))
			continue;
		to[n++] = (struct gw_policy_rule){.sel = sorted[i]->p.sel,
				.action = sorted[i]->p.action,
				.tunnel = sorted[i]->tunnel == GW_NONE ? 0 : sorted[i]->tunnel};
	}
	return n;
}

static bool
unchanged(const struct gw *gw, const struct gw_policy_rule *rules, unsigned int n)
{
	const struct gw_policy_rule *now = gw->rules + gw->n_file_rules;

	if (gw->n_rules - gw->n_file_rules != n)
		return false;
	for (unsigned int i = 0; i < n; i++)
		if (now[i].action != rules[i].action || now[i].tunnel != rules[i].tunnel ||
				compare_selector(&now[i].sel, &rules[i].sel) != 0)
			return false;
	return true;
}

/** The selectors of a tunnel: each of its policies' once. Returns how many. */
static unsigned int
collect(const struct gw_ike *ike, const struct gw_tunnel *t, struct gw_selector *to)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < ike->n_rules; i++) {
		unsigned int k = 0;

		if (ike->rule[i].tunnel != t->id)
			continue;
		while (k < n && compare_selector(&to[k], &ike->rule[i].p.sel) != 0)
			k++;
		if (k == n)
			to[n++] = ike->rule[i].p.sel;
	}
	return n;
}

/** What the view before this one points to. */
struct old_selectors {
	struct gw_sel_in *sel;
	struct gw_selector *selectors;
};

static bool
same_selectors(const struct gw_config_tunnel *cfg, const struct gw_selector *sel, unsigned int n)
{
	if (cfg->n_selectors != n)
		return false;
	for (unsigned int i = 0; i < n; i++)
		if (compare_selector(&cfg->selectors[i], &sel[i]) != 0)
			return false;
	return true;
}

/** Give a tunnel its selectors; 1: they have changed, and @p old is to be freed. */
static int
set_selectors(const struct gw_ike *ike, struct gw_tunnel *t, struct gw_selector *room,
		struct old_selectors *old)
{
	unsigned int n = collect(ike, t, room);
	struct gw_config_tunnel *cfg = &t->ike->cfg;
	struct gw_selector *selectors;
	struct gw_sel_in *sel;

	if (same_selectors(cfg, room, n))
		return 0;
	selectors = calloc(n + 1, sizeof(*selectors));
	sel = calloc(n + 1, sizeof(*sel));
	if (selectors == NULL || sel == NULL) {
		free(selectors);
		free(sel);
		return -ENOMEM;
	}
	*old = (struct old_selectors){t->sel, cfg->selectors};
	memcpy(selectors, room, n * sizeof(*selectors));
	for (unsigned int i = 0; i < n; i++)
		gw_sel_compile(&sel[i], &selectors[i]);
	cfg->selectors = selectors;
	cfg->n_selectors = n;
	t->sel = sel;
	return 1;
}

static int
apply(struct gw *gw, struct gw_selector *room, struct old_selectors *old, unsigned int *n_old,
		bool *changed)
{
	struct gw_ike *ike = gw->ike;
	const struct gw_ike_rule **sorted = calloc(ike->n_rules + 1, sizeof(*sorted));
	struct gw_policy_rule *rules = calloc(ike->n_rules + 1, sizeof(*rules));
	unsigned int n;
	int rc = sorted == NULL || rules == NULL ? -ENOMEM : 0;

	if (rc == 0) {
		GW_IKE_FOREACH_TUNNEL(gw, t)
		{
			if (rc >= 0)
				rc = set_selectors(ike, t, room, &old[*n_old]);
			*n_old += rc == 1;
		}
	}
	if (rc >= 0) {
		n = RTE_MIN(view_rules(ike, sorted, rules), MAX_VIEW_RULES - gw->n_file_rules);
		*changed = *n_old > 0 || !unchanged(gw, rules, n);
		rc = *changed ? gw_rules_set(gw, rules, n) : 0;
	}
	free(sorted);
	free(rules);
	return rc;
}

int
gw_ike_rules_apply(struct gw *gw, struct gw_error *err)
{
	struct gw_selector *room = calloc(gw->ike->n_rules + 1, sizeof(*room));
	struct old_selectors *old = calloc(gw->n_tunnels + 1, sizeof(*old));
	unsigned int n_old = 0;
	bool changed = false;
	int rc = -ENOMEM;

	gw_error_set(err, NULL, 0, "no memory for policies");
	if (room != NULL && old != NULL)
		rc = apply(gw, room, old, &n_old, &changed);
	if (rc == 0 && changed)
		rc = gw_view_update(gw, err);
	/* a view that a worker may still have, or that points to them still, keeps them */
	for (unsigned int i = 0; i < n_old && rc == 0 && !any_late(gw); i++) {
		free(old[i].sel);
		free(old[i].selectors);
	}
	free(room);
	free(old);
	return rc;
}

/* Policies */

static bool
equal(const struct gw_ike_policy *a, const struct gw_ike_policy *b)
{
	return a->dir == b->dir && a->action == b->action && a->prio == b->prio &&
			a->reqid == b->reqid && a->spi == b->spi && a->if_id == b->if_id &&
			a->manual_prio == b->manual_prio && compare_selector(&a->sel, &b->sel) == 0;
}

static struct gw_ike_rule *
add_rule(struct gw_ike *ike)
{
	unsigned int cap = ike->cap_rules == 0 ? 64 : ike->cap_rules * 2;
	struct gw_ike_rule *rule;

	if (ike->n_rules < ike->cap_rules)
		return &ike->rule[ike->n_rules++];
	rule = cap <= MAX_RULES ? realloc(ike->rule, cap * sizeof(*rule)) : NULL;
	if (rule == NULL)
		return NULL;
	ike->rule = rule;
	ike->cap_rules = cap;
	return &ike->rule[ike->n_rules++];
}

static void
remove_rule(struct gw_ike *ike, unsigned int i)
{
	ike->n_rules--;
	memmove(&ike->rule[i], &ike->rule[i + 1], (ike->n_rules - i) * sizeof(ike->rule[0]));
}

static void
note_pcpu(struct gw *gw, struct gw_tunnel *t)
{
	t->ike->pcpu = false;
	for (unsigned int i = 0; i < gw->ike->n_rules; i++)
		if (gw->ike->rule[i].tunnel == t->id && gw->ike->rule[i].p.pcpu)
			t->ike->pcpu = true;
	gw_ike_arm(gw, t);
}

/** One that was said before this connection and not yet again. */
static struct gw_ike_rule *
find_unsaid(struct gw_ike *ike, const struct gw_ike_policy *p)
{
	for (unsigned int i = 0; i < ike->n_rules; i++)
		if (ike->rule[i].unsaid && equal(&ike->rule[i].p, p))
			return &ike->rule[i];
	return NULL;
}

/**
 * A new charon wants what an old one had: its tunnel, whose SAs serve until new ones are there,
 * becomes the new one's. Where that has a tunnel already, since the peer came first, it takes over.
 */
static void
adopt(struct gw *gw, const struct gw_ike_policy *p)
{
	const struct gw_tunnel *own = find(gw, p->reqid, p->if_id);

	for (unsigned int i = 0; i < gw->ike->n_rules; i++) {
		const struct gw_ike_rule *r = &gw->ike->rule[i];
		struct gw_ike_tunnel *it = r->tunnel != GW_NONE ? gw->tunnel[r->tunnel].ike : NULL;

		if (it == NULL || !it->stale || r->p.dir != p->dir ||
				compare_selector(&r->p.sel, &p->sel) != 0)
			continue;
		if (own != NULL) {
			it->successor = own->id;
			continue;
		}
		it->reqid = p->reqid;
		it->if_id = p->if_id;
		it->stale = false;
		return;
	}
}

/** Is there another like it, so that workers need not be told? */
static bool
has_twin(const struct gw_ike *ike, const struct gw_ike_rule *r)
{
	for (unsigned int i = ike->n_rules; i-- > 0;) {
		const struct gw_ike_rule *o = &ike->rule[i];

		if (o != r && o->tunnel == r->tunnel && !o->stale && o->p.prio == r->p.prio &&
				o->p.action == r->p.action &&
				o->p.manual_prio == r->p.manual_prio &&
				compare_selector(&o->p.sel, &r->p.sel) == 0)
			return true;
	}
	return false;
}

static int
add_policy(struct gw *gw, const struct gw_ike_policy *p, struct gw_tunnel *t, struct gw_error *err)
{
	struct gw_ike_rule *r = add_rule(gw->ike);
	int rc;

	if (r == NULL) {
		gw_error_set(err, NULL, 0, "no room for another policy");
		return -ENOSPC;
	}
	*r = (struct gw_ike_rule){.p = *p, .tunnel = t == NULL ? GW_NONE : t->id};
	/* before the end of a synchronisation all of them are applied at once */
	if (!gw->ike->in_sync || has_twin(gw->ike, r))
		return 0;
	rc = gw_ike_rules_apply(gw, err);
	if (rc < 0)
		gw->ike->n_rules--;
	return rc;
}

int
gw_ike_policy_add(struct gw *gw, const struct gw_ike_policy *p, struct gw_error *err)
{
	struct gw_ike_rule *r = find_unsaid(gw->ike, p);
	struct gw_tunnel *t = NULL;
	int rc;

	if (r != NULL) {
		r->unsaid = false;
		r->p.local = p->local;
		r->p.remote = p->remote;
		return 0;
	}
	if (p->action == GW_ACTION_TUNNEL) {
		adopt(gw, p);
		t = gw_ike_tunnel_get(gw, p->reqid, p->if_id, err);
		if (t == NULL)
			return -ENOSPC;
		if (t->n_sas == 0)
			gw_ike_tunnel_ends(t, &p->local, &p->remote);
	}
	rc = add_policy(gw, p, t, err);
	if (t != NULL)
		note_pcpu(gw, t);
	if (t != NULL && rc < 0)
		gw_ike_tunnel_put(gw, t);
	gw->ike->counts.policies_added += rc == 0;
	return rc;
}

int
gw_ike_policy_del(struct gw *gw, const struct gw_ike_policy *p, struct gw_error *err)
{
	struct gw_ike *ike = gw->ike;
	struct gw_ike_rule gone;
	unsigned int i = 0;
	int rc;

	while (i < ike->n_rules && !(equal(&ike->rule[i].p, p) && !ike->rule[i].stale))
		i++;
	if (i == ike->n_rules) {
		gw_error_set(err, NULL, 0, "there is no such policy");
		return -ENOENT;
	}
	gone = ike->rule[i];
	remove_rule(ike, i);
	ike->counts.policies_deleted++;
	rc = has_twin(ike, &gone) ? 0 : gw_ike_rules_apply(gw, err);
	if (gone.tunnel != GW_NONE) {
		note_pcpu(gw, &gw->tunnel[gone.tunnel]);
		gw_ike_tunnel_put(gw, &gw->tunnel[gone.tunnel]);
	}
	return rc;
}

void
gw_ike_rules_drop(struct gw *gw, const struct gw_tunnel *t, bool stale)
{
	struct gw_ike *ike = gw->ike;
	unsigned int n = 0;

	for (unsigned int i = 0; i < ike->n_rules; i++) {
		const struct gw_ike_rule *r = &ike->rule[i];

		if (!(stale ? r->stale : r->unsaid) || (t != NULL && r->tunnel != t->id))
			ike->rule[n++] = *r;
	}
	ike->n_rules = n;
}
