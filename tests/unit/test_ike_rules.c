/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Policies of IKE: what workers and tunnels get of them, in which order, how often, and what
 * becomes of it where workers cannot be told.
 */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "control/ike_priv.h"
#include "rnd.h"

#define TUNNELS 1100
#define MAX_VIEW_RULES 65000

static struct gw gw;
static struct gw_error err;
static bool fail; /* no view can be built */
static unsigned int views;

/* What else control is */

int gw_logtype;

int
rte_log(uint32_t level, uint32_t type, const char *format, ...)
{
	return 0;
}

int
gw_view_update(struct gw *g, struct gw_error *e)
{
	if (fail) {
		gw_error_set(e, NULL, 0, "no view");
		return -ENOMEM;
	}
	for (unsigned int i = 0; i < g->n_rules; i++)
		if (g->rules[i].action == GW_ACTION_TUNNEL)
			assert_true(g->tunnel[g->rules[i].tunnel].cfg->name[0] != '\0');
	g->rules_changed = false;
	views++;
	return 0;
}

void
gw_view_free_later(struct gw *g, void *memory)
{
	free(memory);
}

void
gw_sel_compile(struct gw_sel_in *in, const struct gw_selector *sel)
{
}

bool
gw_worker_is_late(struct gw *g, unsigned int worker)
{
	return false;
}

void
gw_ike_arm(struct gw *g, struct gw_tunnel *t)
{
}

struct gw_tunnel *
gw_tunnel_find(struct gw *g, const char *name)
{
	for (unsigned int i = 0; i < g->n_tunnels; i++)
		if (strcmp(g->tunnel[i].cfg->name, name) == 0)
			return &g->tunnel[i];
	return NULL;
}

int
gw_tunnel_open(struct gw *g, struct gw_tunnel *t, const struct gw_config_tunnel *cfg)
{
	t->cfg = cfg;
	t->id = t - g->tunnel;
	t->sel = calloc(1, sizeof(*t->sel));
	return t->sel != NULL ? 0 : -ENOMEM;
}

void
gw_tunnel_close(struct gw_tunnel *t)
{
	static const struct gw_config_tunnel none;

	free(t->sel);
	*t = (struct gw_tunnel){.cfg = &none, .id = t->id};
}

/* Help */

static int
start(void **state)
{
	static char path[] = "/x";

	memset(&gw, 0, sizeof(gw));
	fail = false;
	views = 0;
	gw.cfg.ike_socket = path;
	gw.cfg.ike_tunnels = TUNNELS;
	gw.tunnel = calloc(TUNNELS, sizeof(*gw.tunnel));
	gw.ike = calloc(1, sizeof(*gw.ike));
	assert_true(gw.tunnel != NULL && gw.ike != NULL);
	for (unsigned int i = 0; i < TUNNELS; i++) {
		gw.tunnel[i].id = i;
		gw_tunnel_close(&gw.tunnel[i]);
	}
	assert_int_equal(gw_rules_make(&gw), 0);
	gw.ike->in_sync = true;
	return 0;
}

static int
stop(void **state)
{
	fail = false;
	gw_ike_rules_free(gw.ike);
	for (unsigned int i = 0; i < TUNNELS; i++) {
		if (gw.tunnel[i].ike != NULL)
			free(gw.tunnel[i].ike->cfg.selectors);
		free(gw.tunnel[i].ike);
		gw_tunnel_close(&gw.tunnel[i]);
	}
	free(gw.tunnel);
	free(gw.rules);
	free(gw.ike);
	return 0;
}

static struct gw_ike_policy
policy(uint32_t reqid, enum gw_ike_prio prio, const char *local, const char *remote)
{
	struct gw_ike_policy p = {.dir = IPSEC_PCPU_OUT,
			.action = GW_ACTION_TUNNEL,
			.prio = prio,
			.reqid = reqid,
			.spi = prio == GW_IKE_PRIO_SA ? 0x1000 + reqid : 0};

	assert_int_equal(gw_prefix_parse(local, &p.sel.local), 0);
	assert_int_equal(gw_prefix_parse(remote, &p.sel.remote), 0);
	p.sel.local_ports.max = p.sel.remote_ports.max = UINT16_MAX;
	return p;
}

static void
add(const struct gw_ike_policy *p)
{
	if (gw_ike_policy_add(&gw, p, &err) != 0)
		fail_msg("%s", err.text);
}

static void
del(const struct gw_ike_policy *p)
{
	if (gw_ike_policy_del(&gw, p, &err) != 0)
		fail_msg("%s", err.text);
}

/** Which of two policies comes first, whatever comes first. */
static void
check_first(const struct gw_ike_policy *first, const struct gw_ike_policy *second)
{
	for (unsigned int turn = 0; turn < 2; turn++) {
		add(turn == 0 ? first : second);
		add(turn == 0 ? second : first);
		assert_int_equal(gw.n_rules, 2);
		assert_memory_equal(&gw.rules[0].sel, &first->sel, sizeof(first->sel));
		assert_int_equal(gw.rules[0].action, first->action);
		del(first);
		del(second);
		assert_int_equal(gw.n_rules, 0);
	}
}

/* Order */

static void
test_classes(void **state)
{
	struct gw_ike_policy wide = policy(1, GW_IKE_PRIO_SA, "10.1.0.0/24", "10.0.0.0/8");
	struct gw_ike_policy narrow = policy(2, GW_IKE_PRIO_TRAP, "10.1.0.0/24", "10.2.0.0/16");
	struct gw_ike_policy like = policy(2, GW_IKE_PRIO_TRAP, "10.0.0.0/8", "10.2.0.0/24");
	struct gw_ike_policy pass = policy(0, GW_IKE_PRIO_PASS, "0.0.0.0/0", "0.0.0.0/0");
	struct gw_ike_policy drop = policy(0, GW_IKE_PRIO_DROP, "10.1.0.1/32", "10.2.0.1/32");

	pass.action = GW_ACTION_BYPASS;
	drop.action = GW_ACTION_DROP;
	/* a trap for a part of what another tunnel's SA has */
	check_first(&narrow, &wide);
	wide.prio = GW_IKE_PRIO_TRAP;
	check_first(&narrow, &wide);
	wide.prio = GW_IKE_PRIO_SA;
	/* as specific: the SA */
	check_first(&wide, &like);
	check_first(&pass, &narrow);
	check_first(&pass, &wide);
	check_first(&narrow, &drop);
	check_first(&wide, &drop);
}

static void
test_specific(void **state)
{
	struct gw_ike_policy any = policy(1, GW_IKE_PRIO_SA, "10.1.0.0/24", "10.2.0.0/24");
	struct gw_ike_policy udp = any, port, range, odd;

	udp.sel.proto = 17;
	check_first(&udp, &any);
	range = port = udp;
	range.sel.remote_ports = (struct gw_port_range){1024, 2047};
	port.sel.remote_ports = (struct gw_port_range){1024, 1024};
	check_first(&range, &udp);
	check_first(&port, &range);
	/* within the same bits */
	odd = range;
	odd.sel.remote_ports = (struct gw_port_range){1030, 2000};
	check_first(&odd, &range);
	/* one bit of a prefix is more than a protocol and both ports */
	port.sel.local_ports = (struct gw_port_range){9, 9};
	any.sel.local.len = 25;
	check_first(&any, &port);
}

/** Numbers as strongSwan shows them: 400000 - 48 * 512 is the trap, the SA is one less. */
static void
test_manual(void **state)
{
	struct gw_ike_policy sa = policy(1, GW_IKE_PRIO_SA, "10.1.0.0/24", "10.2.0.0/24");
	struct gw_ike_policy manual = policy(2, GW_IKE_PRIO_SA, "10.0.0.0/8", "10.0.0.0/8");
	struct gw_ike_policy same = policy(3, GW_IKE_PRIO_SA, "10.0.0.0/8", "10.2.0.0/16");

	manual.manual_prio = 400000 - 48 * 512 - 2;
	check_first(&manual, &sa);
	manual.manual_prio = 400000 - 48 * 512;
	check_first(&sa, &manual);
	sa.prio = GW_IKE_PRIO_TRAP;
	manual.manual_prio--;
	check_first(&manual, &sa);
	/* of the same number: by the selector */
	same.manual_prio = manual.manual_prio;
	check_first(&same, &manual);
}

/* Against a model */

#define MODEL 64

static struct gw_ike_policy
random_policy(void)
{
	static const char *const nets[] = {"10.1.0.0/24", "10.1.0.0/16", "10.0.0.0/8", "fd00::/16"};
	struct gw_ike_policy p = policy(rnd() % 5 + 1, GW_IKE_PRIO_SA, nets[rnd() % 4], nets[0]);

	p.sel.remote = p.sel.local;
	p.prio = rnd() % GW_IKE_N_PRIOS;
	p.dir = rnd() % 2 ? IPSEC_PCPU_IN : IPSEC_PCPU_OUT;
	p.action = p.prio == GW_IKE_PRIO_PASS        ? GW_ACTION_BYPASS
			: p.prio == GW_IKE_PRIO_DROP ? GW_ACTION_DROP
						     : GW_ACTION_TUNNEL;
	p.spi = rnd() % 3;
	p.manual_prio = rnd() % 4 == 0 ? 100 + rnd() % 3 : 0;
	p.pcpu = rnd() % 2;
	return p;
}

static bool
same_prefix(const struct gw_prefix *a, const struct gw_prefix *b)
{
	return gw_addr_equal(&a->addr, &b->addr) && a->len == b->len;
}

/** Not by memcmp(): copies need not have the bytes between the fields. */
static bool
same_selector(const struct gw_selector *a, const struct gw_selector *b)
{
	return same_prefix(&a->local, &b->local) && same_prefix(&a->remote, &b->remote) &&
			a->proto == b->proto && a->local_ports.min == b->local_ports.min &&
			a->local_ports.max == b->local_ports.max &&
			a->remote_ports.min == b->remote_ports.min &&
			a->remote_ports.max == b->remote_ports.max;
}

static bool
same_kind(const struct gw_ike_policy *a, const struct gw_ike_policy *b)
{
	return same_selector(&a->sel, &b->sel) && a->action == b->action;
}

/** Each selector of a tunnel once, with as many policies as there are. */
static void
check_tunnel(const struct gw_tunnel *t, const struct gw_ike_policy *model, unsigned int n)
{
	unsigned int rules = 0, pcpu = 0, selectors = 0;

	for (unsigned int i = 0; i < n; i++) {
		bool first = true;

		if (model[i].action != GW_ACTION_TUNNEL || model[i].reqid != gw_ike_reqid(t))
			continue;
		rules++;
		pcpu += model[i].pcpu;
		for (unsigned int k = 0; k < i; k++)
			if (same_kind(&model[k], &model[i]) && model[k].reqid == model[i].reqid)
				first = false;
		selectors += first;
		for (unsigned int k = 0; k < t->cfg->n_selectors; k++)
			if (same_selector(&t->cfg->selectors[k], &model[i].sel))
				first = false;
		assert_false(first);
	}
	assert_int_equal(t->cfg->n_selectors, selectors);
	assert_int_equal(t->ike->n_rules, rules);
	assert_int_equal(t->ike->pcpu, pcpu);
}

/** As strongSwan has it; all of these are of all protocols and ports. */
static uint32_t
number(const struct gw_ike_policy *p)
{
	uint32_t class = p->prio == GW_IKE_PRIO_PASS ? 1 : p->prio == GW_IKE_PRIO_DROP ? 3 : 2;

	return class * 200000 - 1024 * p->sel.local.len - (p->prio != GW_IKE_PRIO_TRAP);
}

static uint64_t
order(const struct gw_ike_policy *p)
{
	return (uint64_t)(p->manual_prio != 0 ? p->manual_prio : number(p)) << 32 | number(p);
}

/** Rules are in order, and each goes into the tunnel of the first of its kind. */
static void
check_order(const struct gw_ike_policy *model, unsigned int n)
{
	uint64_t last = 0;

	for (unsigned int k = 0; k < gw.n_rules; k++) {
		const struct gw_policy_rule *r = &gw.rules[k];
		uint64_t first = UINT64_MAX;
		bool found = r->action != GW_ACTION_TUNNEL;

		for (unsigned int i = 0; i < n; i++)
			if (model[i].action == r->action && same_selector(&model[i].sel, &r->sel))
				first = RTE_MIN(first, order(&model[i]));
		for (unsigned int i = 0; i < n && !found; i++)
			found = model[i].action == r->action && order(&model[i]) == first &&
					same_selector(&model[i].sel, &r->sel) &&
					model[i].reqid == gw_ike_reqid(&gw.tunnel[r->tunnel]);
		assert_true(found);
		assert_true(last <= first);
		last = first;
	}
}

static void
check_model(const struct gw_ike_policy *model, unsigned int n)
{
	unsigned int kinds = 0;

	for (unsigned int i = 0; i < n; i++) {
		unsigned int found = 0, before = 0;

		for (unsigned int k = 0; k < i; k++)
			before += same_kind(&model[k], &model[i]);
		kinds += before == 0;
		for (unsigned int k = 0; k < gw.n_rules; k++)
			found += gw.rules[k].action == model[i].action &&
					same_selector(&gw.rules[k].sel, &model[i].sel);
		assert_int_equal(found, 1);
	}
	assert_int_equal(gw.n_rules, kinds);
	assert_int_equal(gw.ike->n_kinds, kinds);
	assert_int_equal(gw.ike->n_rules, n);
	check_order(model, n);
	GW_IKE_FOREACH_TUNNEL(&gw, t)
		check_tunnel(t, model, n);
}

static void
test_model(void **state)
{
	struct gw_ike_policy model[MODEL];
	unsigned int n = 0;

	for (unsigned int round = 0; round < 20000; round++) {
		if (n < MODEL && (n == 0 || rnd() % 64 >= n)) {
			model[n] = random_policy();
			add(&model[n++]);
		} else {
			unsigned int i = rnd() % n;

			/* pcpu is no part of what one is known by: of equal ones any goes */
			for (unsigned int k = 0; k < n; k++)
				model[k].pcpu = false;
			GW_IKE_FOREACH_TUNNEL(&gw, t)
				t->ike->pcpu = 0;
			for (unsigned int k = 0; k < n; k++)
				gw.ike->rule[k]->p.pcpu = false;
			del(&model[i]);
			model[i] = model[--n];
		}
		check_model(model, n);
	}
	while (n > 0)
		del(&model[--n]);
	GW_IKE_FOREACH_TUNNEL(&gw, t)
		fail_msg("tunnel %s is left", t->cfg->name);
}

/* How often workers are told */

static void
add_both(struct gw_ike_policy *p)
{
	p->dir = IPSEC_PCPU_OUT;
	add(p);
	p->dir = IPSEC_PCPU_IN;
	add(p);
}

static void
test_told_seldom(void **state)
{
	for (unsigned int t = 1; t <= 1000; t++) {
		char net[32];
		struct gw_ike_policy p;

		snprintf(net, sizeof(net), "10.%u.%u.0/24", 2 + t / 256, t % 256);
		p = policy(t, GW_IKE_PRIO_TRAP, "10.1.0.0/24", net);
		add_both(&p);
		assert_true(views <= 2 * t - 1);
		for (unsigned int i = 0; i < 5; i++) {
			p.prio = GW_IKE_PRIO_SA;
			p.spi = 0x10000 * t + i;
			add_both(&p);
		}
		assert_true(views <= 2 * t);
	}
	assert_int_equal(gw.ike->n_rules, 12000);
	assert_int_equal(gw.n_rules, 1000);
	/* all of them at once, then each tunnel finds that nothing is to be done */
	views = 0;
	for (unsigned int i = 0; i < gw.ike->n_rules; i++)
		gw.ike->rule[i]->stale = true;
	gw_ike_rules_drop(&gw, NULL, true);
	assert_int_equal(gw_ike_rules_apply(&gw, &err), 0);
	for (unsigned int t = 0; t < 1000; t++)
		assert_true(gw_ike_tunnel_put(&gw, &gw.tunnel[t]));
	assert_int_equal(views, 1);
	assert_int_equal(gw.n_rules, 0);
}

/** A view has room for all tunnels there may be: a new one needs none of its own. */
static void
test_new_tunnel(void **state)
{
	fail = true;
	for (unsigned int i = 0; i < TUNNELS; i++)
		assert_non_null(gw_ike_tunnel_get(&gw, i + 1, 0, &err));
	assert_null(gw_ike_tunnel_get(&gw, TUNNELS + 1, 0, &err));
}

/* Workers cannot be told */

/** A hub: what comes out of a tunnel may go into the other. */
static void
start_hub(struct gw_ike_policy *p)
{
	*p = policy(1, GW_IKE_PRIO_TRAP, "10.0.0.0/8", "10.2.0.0/16");
	add(p);
	assert_true(gw.both_ways && gw.tunnel[0].transit);
	assert_int_equal(gw.n_rules, 1);
}

static void
check_hub(const struct gw_ike_policy *p)
{
	assert_true(gw.both_ways && gw.tunnel[0].transit);
	assert_false(gw.rules_changed);
	assert_int_equal(gw.n_rules, 1);
	assert_memory_equal(&gw.rules[0].sel, &p->sel, sizeof(p->sel));
	assert_int_equal(gw.ike->n_rules, 1);
	assert_int_equal(gw.ike->n_kinds, 1);
	assert_int_equal(gw.tunnel[0].cfg->n_selectors, 1);
	assert_memory_equal(gw.tunnel[0].cfg->selectors, &p->sel, sizeof(p->sel));
	assert_null(gw.tunnel[1].ike);
}

static void
test_add_fails(void **state)
{
	struct gw_ike_policy hub, more, other, pass;

	start_hub(&hub);
	more = policy(1, GW_IKE_PRIO_TRAP, "10.1.0.0/16", "10.3.0.0/16");
	other = policy(2, GW_IKE_PRIO_TRAP, "10.1.0.0/16", "10.4.0.0/16");
	pass = policy(0, GW_IKE_PRIO_PASS, "10.1.0.0/16", "10.9.0.0/16");
	pass.action = GW_ACTION_BYPASS;
	more.remote.family = AF_INET;
	gw.tunnel[0].ike->cfg.remote = (struct gw_addr){AF_INET, {1}};
	fail = true;
	assert_int_equal(gw_ike_policy_add(&gw, &more, &err), -ENOMEM);
	assert_string_equal(err.text, "no view");
	assert_int_equal(gw.tunnel[0].cfg->remote.a.ip4, 1);
	check_hub(&hub);
	assert_int_equal(gw_ike_policy_add(&gw, &other, &err), -ENOMEM);
	check_hub(&hub);
	assert_int_equal(gw_ike_policy_add(&gw, &pass, &err), -ENOMEM);
	check_hub(&hub);
	/* one that workers need not be told of */
	add(&hub);
	fail = false;
	views = 0;
	assert_int_equal(gw_ike_rules_apply(&gw, &err), 0);
	assert_int_equal(views, 0);
	add(&other);
	assert_int_equal(gw.n_rules, 2);
}

/** What would ask the policy about what tunnels bring. */
static void
test_add_fails_one_way(void **state)
{
	struct gw_ike_policy first, hub, pass;

	first = policy(1, GW_IKE_PRIO_TRAP, "10.1.0.0/16", "10.2.0.0/16");
	hub = policy(1, GW_IKE_PRIO_TRAP, "10.2.0.0/16", "10.1.0.0/16");
	pass = policy(0, GW_IKE_PRIO_PASS, "10.1.0.0/16", "10.9.0.0/16");
	pass.action = GW_ACTION_BYPASS;
	add(&first);
	fail = true;
	assert_int_equal(gw_ike_policy_add(&gw, &hub, &err), -ENOMEM);
	assert_false(gw.both_ways || gw.tunnel[0].transit);
	assert_int_equal(gw_ike_policy_add(&gw, &pass, &err), -ENOMEM);
	assert_false(gw.both_ways || gw.tunnel[0].transit);
	fail = false;
	add(&hub);
	assert_true(gw.both_ways && gw.tunnel[0].transit);
}

/** IKE does not say it twice: it goes as soon as it can, and its tunnel with it. */
static void
test_del_fails(void **state)
{
	struct gw_ike_policy hub, other;

	start_hub(&hub);
	other = policy(2, GW_IKE_PRIO_TRAP, "10.1.0.0/16", "10.4.0.0/16");
	add(&other);
	fail = true;
	assert_int_equal(gw_ike_policy_del(&gw, &other, &err), -ENOMEM);
	assert_int_equal(gw.n_rules, 2);
	assert_int_equal(gw.tunnel[1].cfg->n_selectors, 1);
	assert_int_equal(gw_ike_policy_del(&gw, &other, &err), -ENOENT);
	assert_int_equal(gw_ike_rules_retry(&gw), -EAGAIN);
	assert_false(gw_ike_tunnel_put(&gw, &gw.tunnel[1]));
	fail = false;
	gw.ike->retry_at = 0;
	assert_int_equal(gw_ike_rules_retry(&gw), 0);
	assert_int_equal(gw.n_rules, 1);
	assert_true(gw_ike_tunnel_put(&gw, &gw.tunnel[1]));
	check_hub(&hub);
}

/* Full */

static void
test_full(void **state)
{
	struct gw_ike_policy p = policy(1, GW_IKE_PRIO_TRAP, "10.1.0.0/24", "10.0.0.0/32"), last;

	gw.ike->in_sync = false;
	gw.n_file_rules = 10; /* of which there are none */
	for (unsigned int i = 0; i < MAX_VIEW_RULES - 10; i++) {
		p.sel.remote.addr.a.ip4 = i;
		add(&p);
	}
	last = p;
	p.sel.remote.addr.a.ip4 = UINT32_MAX;
	assert_int_equal(gw_ike_policy_add(&gw, &p, &err), -ENOSPC);
	assert_true(strstr(err.text, "64990 selectors") != NULL);
	/* no selector more */
	last.dir = IPSEC_PCPU_IN;
	add(&last);
	assert_int_equal(gw.ike->n_rules, MAX_VIEW_RULES - 10 + 1);
	/* the file alone has more */
	gw.n_file_rules = MAX_VIEW_RULES + 500;
	assert_int_equal(gw_ike_policy_add(&gw, &p, &err), -ENOSPC);
	gw.n_file_rules = 0;
	add(&p);
}

/* Ends */

static void
check_ends(const struct gw_tunnel *t, uint32_t local, uint32_t remote)
{
	assert_int_equal(t->cfg->local.a.ip4, local);
	assert_int_equal(t->cfg->remote.a.ip4, remote);
}

static void
test_ends(void **state)
{
	struct gw_tunnel *t = gw_ike_tunnel_get(&gw, 1, 0, &err);
	struct gw_sa sa[3] = {{.prm = {.dir = IPSEC_PCPU_OUT}}, {.prm = {.dir = IPSEC_PCPU_OUT}},
			{.prm = {.dir = IPSEC_PCPU_IN}}};
	struct gw_sa_ike ike[3] = {{.stale = false}};
	struct gw_sa *sas[3] = {&sa[0], &sa[1], &sa[2]};
	struct gw_addr local = {AF_INET, {0}}, remote = local;

	assert_non_null(t);
	local.a.ip4 = 1000;
	remote.a.ip4 = 2000;
	gw_ike_tunnel_ends(t, &local, &remote);
	for (unsigned int i = 0; i < 3; i++) {
		sa[i].ike = &ike[i];
		sa[i].prm.family = AF_INET;
		sa[i].prm.saddr.ip4 = 10 + i;
		sa[i].prm.daddr.ip4 = 20 + i;
	}
	gw_ike_tunnel_ends_refresh(t);
	check_ends(t, 1000, 2000);
	t->sas = sas;
	t->n_sas = 3;
	gw_ike_tunnel_ends_refresh(t);
	check_ends(t, 11, 21);
	sas[1] = sas[2];
	t->n_sas = 2;
	gw_ike_tunnel_ends_refresh(t);
	check_ends(t, 10, 20);
	/* none to send on: it stays as it was */
	sas[0] = sas[1];
	t->n_sas = 1;
	gw_ike_tunnel_ends_refresh(t);
	check_ends(t, 10, 20);
	t->sas = NULL;
	t->n_sas = 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test_setup_teardown(test_classes, start, stop),
			cmocka_unit_test_setup_teardown(test_specific, start, stop),
			cmocka_unit_test_setup_teardown(test_manual, start, stop),
			cmocka_unit_test_setup_teardown(test_model, start, stop),
			cmocka_unit_test_setup_teardown(test_told_seldom, start, stop),
			cmocka_unit_test_setup_teardown(test_new_tunnel, start, stop),
			cmocka_unit_test_setup_teardown(test_add_fails, start, stop),
			cmocka_unit_test_setup_teardown(test_add_fails_one_way, start, stop),
			cmocka_unit_test_setup_teardown(test_del_fails, start, stop),
			cmocka_unit_test_setup_teardown(test_full, start, stop),
			cmocka_unit_test_setup_teardown(test_ends, start, stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
