/* SPDX-License-Identifier: BSD-3-Clause */

/* Tunnels of IKE: made by the first policy or SA of a reqid, gone with the last. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../log.h"
#include "ike_priv.h"

struct gw_tunnel *
gw_ike_tunnel_find(struct gw *gw, uint32_t reqid, uint32_t if_id)
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
	struct gw_tunnel *t = gw_ike_tunnel_find(gw, reqid, if_id);
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
	/* a worker with an SA of it finds its place in any view, see build_tunnels() */
	if (t == &gw->tunnel[gw->n_tunnels])
		gw->n_tunnels++;
	return t;
}

/** A worker may have an SA of it still, whose packets it takes as of the tunnel of its number. */
static bool
has_zombies(const struct gw *gw, const struct gw_tunnel *t)
{
	for (unsigned int i = 0; i < gw->n_zombies; i++)
		if (gw->zombies[i]->tunnel == t->id)
			return true;
	return false;
}

bool
gw_ike_tunnel_put(struct gw *gw, struct gw_tunnel *t)
{
	struct gw_ike_tunnel *it = t->ike;

	/* one that does not answer may still look at it: a later tick frees it */
	if (t->n_sas > 0 || it->n_rules > 0 || t->unsettled || it->loses || gw_any_late(gw) ||
			has_zombies(gw, t))
		return false;
	/* nothing joins it any more, also where it is freed later */
	it->stale = true;
	gw_ike_arm(gw, t);
	if (gw_ike_rules_retry(gw) < 0 || gw_any_late(gw))
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

void
gw_ike_tunnel_ends_refresh(struct gw_tunnel *t)
{
	for (unsigned int i = t->n_sas; i-- > 0;) {
		const struct ipsec_pcpu_sa_params *prm = &t->sas[i]->prm;
		struct gw_addr src = {prm->family, prm->saddr}, dst = {prm->family, prm->daddr};

		if (prm->dir != IPSEC_PCPU_OUT || t->sas[i]->ike->stale)
			continue;
		gw_ike_tunnel_ends(t, &src, &dst);
		return;
	}
}

uint32_t
gw_ike_reqid(const struct gw_tunnel *t)
{
	return t->ike->reqid;
}
