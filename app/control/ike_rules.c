/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Policies of IKE: a multiset, since each CHILD_SA brings its own, many of them equal but for the
 * SPI. What workers look at is made of it: each selector once, those that let pass before those of
 * SAs and traps, and the more specific one before the other. And each tunnel gets its selectors.
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
/** Where workers could not be told, they are told later. */
#define RETRY_NS GW_NS_PER_S

/* Orders */

static int
compare(uint32_t a, uint32_t b)
{
	return a < b ? -1 : a > b;
}

/** What workers can tell apart. */
static int
compare_kind(const struct gw_ike_policy *a, const struct gw_ike_policy *b)
{
	int diff = gw_selector_compare(&a->sel, &b->sel);

	return diff != 0 ? diff : compare(a->action, b->action);
}

/** All that a policy is known by but the SPI. */
static int
compare_but_spi(const struct gw_ike_policy *a, const struct gw_ike_policy *b)
{
	const uint32_t ka[] = {a->dir, a->prio, a->manual_prio, a->reqid, a->if_id};
	const uint32_t kb[] = {b->dir, b->prio, b->manual_prio, b->reqid, b->if_id};
	int diff = compare_kind(a, b);

	for (unsigned int i = 0; diff == 0 && i < RTE_DIM(ka); i++)
		diff = compare(ka[i], kb[i]);
	return diff;
}

/** The order in which they are kept. */
static int
compare_policy(const struct gw_ike_policy *a, const struct gw_ike_policy *b)
{
	int diff = compare_but_spi(a, b);

	return diff != 0 ? diff : compare(a->spi, b->spi);
}

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

/** The order in which workers look at them. */
static int
compare_rules(const void *a, const void *b)
{
	const struct gw_ike_rule *ra = *(const struct gw_ike_rule *const *)a;
	const struct gw_ike_rule *rb = *(const struct gw_ike_rule *const *)b;
	const struct gw_ike_policy *pa = &ra->p, *pb = &rb->p;
	int diff = compare(pa->manual_prio != 0 ? pa->manual_prio : ra->prio,
			pb->manual_prio != 0 ? pb->manual_prio : rb->prio);

	if (diff == 0)
		diff = compare(ra->prio, rb->prio);
	if (diff == 0)
		diff = compare_width(&pa->sel, &pb->sel);
	if (diff == 0)
		diff = compare_kind(pa, pb);
	/* of two charons the one that is there comes first */
	if (diff == 0)
		diff = compare(ra->stale, rb->stale);
	return diff != 0 ? diff : compare(ra->tunnel, rb->tunnel);
}

/* The multiset */

/** The first that does not stand before it. */
static unsigned int
lower_bound(const struct gw_ike *ike, const struct gw_ike_policy *p)
{
	unsigned int low = 0, high = ike->n_rules;

	while (low < high) {
		unsigned int mid = low + (high - low) / 2;

		if (compare_policy(&ike->rule[mid]->p, p) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/** Is one of this kind beside a place? Those of a kind stand side by side. */
static bool
has_kind(const struct gw_ike *ike, unsigned int at, const struct gw_ike_policy *p)
{
	return (at > 0 && compare_kind(&ike->rule[at - 1]->p, p) == 0) ||
			(at < ike->n_rules && compare_kind(&ike->rule[at]->p, p) == 0);
}

static int
grow(struct gw_ike *ike)
{
	unsigned int cap = ike->cap_rules == 0 ? 64 : ike->cap_rules * 2;
	struct gw_ike_rule **rule;

	if (ike->n_rules < ike->cap_rules)
		return 0;
	rule = realloc(ike->rule, cap * sizeof(*rule));
	if (rule == NULL)
		return -ENOMEM;
	ike->rule = rule;
	ike->cap_rules = cap;
	return 0;
}

/** It comes into a tunnel, or goes from there (@p n is -1). */
static void
count(struct gw *gw, const struct gw_ike_rule *r, int n)
{
	struct gw_ike_tunnel *it = r->tunnel != GW_NONE ? gw->tunnel[r->tunnel].ike : NULL;

	if (it == NULL)
		return;
	it->n_rules += n;
	it->pcpu += r->p.pcpu ? n : 0;
}

static struct gw_ike_rule *
insert(struct gw *gw, const struct gw_ike_policy *p, const struct gw_tunnel *t)
{
	struct gw_ike *ike = gw->ike;
	struct gw_ike_rule *r = malloc(sizeof(*r));
	unsigned int at = lower_bound(ike, p);

	if (r == NULL || grow(ike) < 0) {
		free(r);
		return NULL;
	}
	*r = (struct gw_ike_rule){
			.p = *p, .prio = auto_prio(p), .tunnel = t == NULL ? GW_NONE : t->id};
	ike->n_kinds += !has_kind(ike, at, p);
	memmove(&ike->rule[at + 1], &ike->rule[at], (ike->n_rules - at) * sizeof(ike->rule[0]));
	ike->rule[at] = r;
	ike->n_rules++;
	count(gw, r, 1);
	return r;
}

static void
drop_at(struct gw *gw, unsigned int at)
{
	struct gw_ike *ike = gw->ike;
	struct gw_ike_rule *r = ike->rule[at];

	ike->n_rules--;
	memmove(&ike->rule[at], &ike->rule[at + 1], (ike->n_rules - at) * sizeof(ike->rule[0]));
	ike->n_kinds -= !has_kind(ike, at, &r->p);
	count(gw, r, -1);
	free(r);
}

void
gw_ike_rules_drop(struct gw *gw, const struct gw_tunnel *t, bool stale)
{
	struct gw_ike *ike = gw->ike;
	unsigned int n = 0;

	ike->n_kinds = 0;
	for (unsigned int i = 0; i < ike->n_rules; i++) {
		struct gw_ike_rule *r = ike->rule[i];

		if ((stale ? r->stale : r->unsaid) && (t == NULL || r->tunnel == t->id)) {
			count(gw, r, -1);
			free(r);
			ike->unapplied = true;
			continue;
		}
		ike->n_kinds += n == 0 || compare_kind(&ike->rule[n - 1]->p, &r->p) != 0;
		ike->rule[n++] = r;
	}
	ike->n_rules = n;
}

void
gw_ike_rules_free(struct gw_ike *ike)
{
	for (unsigned int i = 0; i < ike->n_rules; i++)
		free(ike->rule[i]);
	free(ike->rule);
}

/* What workers and tunnels get of it */

/** The selectors of a tunnel: a part of a list. */
struct part {
	unsigned int begin, n;
	unsigned int group; /* of equal selectors: the one that was looked at last; 0: none */
};

/** What a tunnel has, or is to have. */
struct change {
	struct gw_tunnel *t;
	struct gw_sel_in *sel;
	struct gw_selector *selectors;
	unsigned int n;
};

struct plan {
	const struct gw_ike_rule **rule; /* the first of each kind, in order */
	struct gw_policy_rule *rules; /* the same for the view */
	unsigned int n;
	const struct gw_selector **selector; /* of all tunnels */
	struct part *part; /* by tunnel */
	struct change *change;
	unsigned int n_changes;
};

static int
new_plan(const struct gw *gw, struct plan *p)
{
	unsigned int n = gw->ike->n_rules + 1;

	*p = (struct plan){.rule = calloc(n, sizeof(*p->rule)),
			.rules = calloc(n, sizeof(*p->rules)),
			.selector = calloc(n, sizeof(*p->selector)),
			.part = calloc(gw->n_tunnels + 1, sizeof(*p->part)),
			.change = calloc(gw->n_tunnels + 1, sizeof(*p->change))};
	return p->rule == NULL || p->rules == NULL || p->selector == NULL || p->part == NULL ||
					p->change == NULL
			? -ENOMEM
			: 0;
}

/** With what its changes hold, which a worker that does not answer may look at. */
static void
free_plan(struct gw *gw, struct plan *p)
{
	for (unsigned int i = 0; i < p->n_changes; i++) {
		gw_view_free_later(gw, p->change[i].sel);
		gw_view_free_later(gw, p->change[i].selectors);
	}
	free(p->rule);
	free(p->rules);
	free(p->selector);
	free(p->part);
	free(p->change);
}

static void
plan_rules(const struct gw_ike *ike, struct plan *p)
{
	const struct gw_ike_rule **to = p->rule;

	for (unsigned int i = 0; i < ike->n_rules; i++) {
		const struct gw_ike_rule *r = ike->rule[i];

		if (p->n == 0 || compare_kind(&to[p->n - 1]->p, &r->p) != 0)
			to[p->n++] = r;
		else if (compare_rules(&r, &to[p->n - 1]) < 0)
			to[p->n - 1] = r;
	}
	qsort(to, p->n, sizeof(*to), compare_rules);
	for (unsigned int i = 0; i < p->n; i++)
		p->rules[i] = (struct gw_policy_rule){.sel = to[i]->p.sel,
				.action = to[i]->p.action,
				.tunnel = to[i]->tunnel == GW_NONE ? 0 : to[i]->tunnel};
}

static bool
unchanged(const struct gw *gw, const struct plan *p)
{
	const struct gw_policy_rule *now = gw->rules + gw->n_file_rules;

	if (gw->n_rules - gw->n_file_rules != p->n)
		return false;
	for (unsigned int i = 0; i < p->n; i++)
		if (now[i].action != p->rules[i].action || now[i].tunnel != p->rules[i].tunnel ||
				gw_selector_compare(&now[i].sel, &p->rules[i].sel) != 0)
			return false;
	return true;
}

/** The selectors of each tunnel: of those that are equal one. */
static void
plan_selectors(struct gw *gw, struct plan *p)
{
	const struct gw_ike *ike = gw->ike;
	unsigned int begin = 0, group = 1;

	GW_IKE_FOREACH_TUNNEL(gw, t) {
		p->part[t->id].begin = begin;
		begin += t->ike->n_rules;
	}
	for (unsigned int i = 0; i < ike->n_rules; i++) {
		const struct gw_ike_rule *r = ike->rule[i];
		struct part *part = r->tunnel != GW_NONE ? &p->part[r->tunnel] : NULL;

		if (i > 0 && gw_selector_compare(&ike->rule[i - 1]->p.sel, &r->p.sel) != 0)
			group++;
		if (part == NULL || part->group == group)
			continue;
		part->group = group;
		p->selector[part->begin + part->n++] = &r->p.sel;
	}
}

static bool
same_selectors(const struct gw_config_tunnel *cfg, const struct gw_selector **sel, unsigned int n)
{
	if (cfg->n_selectors != n)
		return false;
	for (unsigned int i = 0; i < n; i++)
		if (gw_selector_compare(&cfg->selectors[i], sel[i]) != 0)
			return false;
	return true;
}

static int
plan_change(struct plan *p, struct gw_tunnel *t)
{
	const struct gw_selector **from = &p->selector[p->part[t->id].begin];
	struct change *c = &p->change[p->n_changes];
	unsigned int n = p->part[t->id].n;

	if (same_selectors(&t->ike->cfg, from, n))
		return 0;
	*c = (struct change){
			t, calloc(n + 1, sizeof(*c->sel)), calloc(n + 1, sizeof(*c->selectors)), n};
	p->n_changes++;
	if (c->sel == NULL || c->selectors == NULL)
		return -ENOMEM;
	for (unsigned int i = 0; i < n; i++) {
		c->selectors[i] = *from[i];
		gw_sel_compile(&c->sel[i], from[i]);
	}
	return 0;
}

/** Done twice it is undone. */
static void
swap(struct plan *p)
{
	for (unsigned int i = 0; i < p->n_changes; i++) {
		struct change *c = &p->change[i];
		struct gw_config_tunnel *cfg = &c->t->ike->cfg;
		struct change now = {c->t, c->t->sel, cfg->selectors, cfg->n_selectors};

		c->t->sel = c->sel;
		cfg->selectors = c->selectors;
		cfg->n_selectors = c->n;
		*c = now;
	}
}

static int
make_plan(struct gw *gw, struct plan *p)
{
	int rc = new_plan(gw, p);

	if (rc < 0)
		return rc;
	plan_rules(gw->ike, p);
	plan_selectors(gw, p);
	GW_IKE_FOREACH_TUNNEL(gw, t)
		if (rc == 0)
			rc = plan_change(p, t);
	return rc;
}

static int
apply(struct gw *gw, struct plan *p, struct gw_error *err)
{
	int rc = make_plan(gw, p);

	if (rc < 0 || (p->n_changes == 0 && unchanged(gw, p)))
		return rc;
	swap(p);
	rc = gw_rules_set(gw, p->rules, p->n, err);
	if (rc < 0)
		swap(p);
	return rc;
}

int
gw_ike_rules_apply(struct gw *gw, struct gw_error *err)
{
	struct plan p;
	int rc;

	if (!gw->ike->unapplied)
		return 0;
	gw_error_set(err, NULL, 0, "no memory for policies");
	rc = apply(gw, &p, err);
	free_plan(gw, &p);
	gw->ike->unapplied = rc < 0;
	gw->ike->retry_at = rc < 0 ? gw_now_ns() + RETRY_NS : 0;
	return rc;
}

int
gw_ike_rules_retry(struct gw *gw)
{
	struct gw_error err;

	if (gw->ike->unapplied && gw_now_ns() < gw->ike->retry_at)
		return -EAGAIN;
	return gw_ike_rules_apply(gw, &err);
}

/* The verbs */

/** One that was said before this connection and not yet again. */
static struct gw_ike_rule *
find_unsaid(struct gw_ike *ike, const struct gw_ike_policy *p)
{
	for (unsigned int i = lower_bound(ike, p); i < ike->n_rules; i++) {
		if (compare_policy(&ike->rule[i]->p, p) != 0)
			return NULL;
		if (ike->rule[i]->unsaid)
			return ike->rule[i];
	}
	return NULL;
}

/** Where one stands that is not stale; n_rules: nowhere. */
static unsigned int
find(const struct gw_ike *ike, const struct gw_ike_policy *p)
{
	unsigned int i = lower_bound(ike, p);

	while (i < ike->n_rules && compare_policy(&ike->rule[i]->p, p) == 0 && ike->rule[i]->stale)
		i++;
	if (i < ike->n_rules && compare_policy(&ike->rule[i]->p, p) != 0)
		i = ike->n_rules;
	return i;
}

/**
 * A new charon wants what an old one had: its tunnel, whose SAs serve until new ones are there,
 * becomes the new one's. Where that has a tunnel already, since the peer came first, it takes over.
 */
static void
adopt(struct gw *gw, const struct gw_ike_policy *p)
{
	const struct gw_tunnel *own = gw_ike_tunnel_find(gw, p->reqid, p->if_id);
	struct gw_ike_policy first = {.sel = p->sel, .action = p->action, .dir = p->dir};
	const struct gw_ike *ike = gw->ike;

	for (unsigned int i = lower_bound(ike, &first); i < ike->n_rules; i++) {
		const struct gw_ike_rule *r = ike->rule[i];
		struct gw_ike_tunnel *it = r->tunnel != GW_NONE ? gw->tunnel[r->tunnel].ike : NULL;

		if (compare_kind(&r->p, p) != 0 || r->p.dir != p->dir)
			return;
		if (it == NULL || !it->stale)
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

static bool
has_twin_in(const struct gw_ike *ike, const struct gw_ike_rule *r, enum ipsec_pcpu_dir dir)
{
	struct gw_ike_policy first = r->p;

	first.dir = dir;
	first.spi = 0;
	for (unsigned int i = lower_bound(ike, &first); i < ike->n_rules; i++) {
		const struct gw_ike_rule *o = ike->rule[i];

		if (compare_but_spi(&o->p, &first) != 0)
			return false;
		if (o != r && !o->stale && o->tunnel == r->tunnel)
			return true;
	}
	return false;
}

/** Is there another like it, so that workers need not be told? */
static bool
has_twin(const struct gw_ike *ike, const struct gw_ike_rule *r)
{
	return has_twin_in(ike, r, IPSEC_PCPU_IN) || has_twin_in(ike, r, IPSEC_PCPU_OUT);
}

/** Those of the file and of IKE together; nothing is ever left out. */
static bool
has_room(const struct gw *gw, const struct gw_ike_policy *p)
{
	const struct gw_ike *ike = gw->ike;

	return ike->n_rules < MAX_RULES &&
			(gw->n_file_rules + ike->n_kinds < MAX_VIEW_RULES ||
					has_kind(ike, lower_bound(ike, p), p));
}

static int
add_policy(struct gw *gw, const struct gw_ike_policy *p, struct gw_tunnel *t, struct gw_error *err)
{
	struct gw_ike *ike = gw->ike;
	const struct gw_ike_rule *r = insert(gw, p, t);
	bool before = ike->unapplied;
	unsigned int at;
	int rc;

	if (r == NULL) {
		gw_error_set(err, NULL, 0, "no memory for another policy");
		return -ENOMEM;
	}
	ike->unapplied |= !ike->in_sync || !has_twin(ike, r);
	/* before the end of a synchronisation all of them are applied at once */
	if (!ike->in_sync || !ike->unapplied)
		return 0;
	rc = gw_ike_rules_apply(gw, err);
	if (rc == 0)
		return 0;
	at = lower_bound(ike, p);
	while (ike->rule[at] != r)
		at++;
	drop_at(gw, at);
	ike->unapplied = before;
	return rc;
}

static int
add_to_tunnel(struct gw *gw, const struct gw_ike_policy *p, struct gw_error *err)
{
	struct gw_tunnel *t;
	struct gw_addr local, remote;
	int rc;

	adopt(gw, p);
	t = gw_ike_tunnel_get(gw, p->reqid, p->if_id, err);
	if (t == NULL)
		return -ENOSPC;
	local = t->cfg->local;
	remote = t->cfg->remote;
	if (t->n_sas == 0)
		gw_ike_tunnel_ends(t, &p->local, &p->remote);
	rc = add_policy(gw, p, t, err);
	gw_ike_arm(gw, t);
	if (rc == 0)
		return 0;
	gw_ike_tunnel_ends(t, &local, &remote);
	gw_ike_tunnel_put(gw, t);
	return rc;
}

int
gw_ike_policy_add(struct gw *gw, const struct gw_ike_policy *p, struct gw_error *err)
{
	struct gw_ike_rule *r = find_unsaid(gw->ike, p);
	int rc;

	if (r != NULL) {
		r->unsaid = false;
		r->p.local = p->local;
		r->p.remote = p->remote;
		return 0;
	}
	if (!has_room(gw, p)) {
		gw_error_set(err, NULL, 0,
				"no room for another policy: there are %u, with %u selectors, and %u "
				"policies of the file",
				gw->ike->n_rules, gw->ike->n_kinds, gw->n_file_rules);
		return -ENOSPC;
	}
	rc = p->action == GW_ACTION_TUNNEL ? add_to_tunnel(gw, p, err)
					   : add_policy(gw, p, NULL, err);
	gw->ike->counts.policies_added += rc == 0;
	return rc;
}

int
gw_ike_policy_del(struct gw *gw, const struct gw_ike_policy *p, struct gw_error *err)
{
	struct gw_ike *ike = gw->ike;
	unsigned int i = find(ike, p);
	struct gw_tunnel *t = NULL;
	bool tell;
	int rc = 0;

	if (i == ike->n_rules) {
		gw_error_set(err, NULL, 0, "there is no such policy");
		return -ENOENT;
	}
	if (ike->rule[i]->tunnel != GW_NONE)
		t = &gw->tunnel[ike->rule[i]->tunnel];
	tell = !has_twin(ike, ike->rule[i]);
	ike->unapplied |= tell;
	/* IKE does not say it again: where workers cannot be told now, they are later */
	drop_at(gw, i);
	ike->counts.policies_deleted++;
	if (tell)
		rc = gw_ike_rules_apply(gw, err);
	if (t != NULL) {
		gw_ike_arm(gw, t);
		gw_ike_tunnel_put(gw, t);
	}
	return rc;
}
