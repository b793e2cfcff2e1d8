/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Steering as control does it: which SA is on which port, what workers saw of their
 * packets, and the moves that a plan asks for. The rest is app/steer/.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../log.h"
#include "control_priv.h"
#include "ike.h"

/** Looks in a row that find an SA on another port until it is steered there: uplinks take turns. */
#define ELSEWHERE_LOOKS 3
/** Looks between ticks are at least so far apart. */
#define LOOK_NS (GW_NS_PER_S / 20)

struct gw_steering {
	struct gw_steer_port port[GW_MAX_PORTS];
	bool changed[GW_MAX_PORTS]; /* something is to be planned for */
	struct gw_observed observed[GW_MAX_WORKERS][GW_OBSERVED_MAX];
	uint64_t looked; /* gw_steering_look(); CLOCK_MONOTONIC, nanoseconds */
};

const struct gw_steer_port *
gw_steering_port(const struct gw *gw, unsigned int port)
{
	return gw->steering != NULL ? &gw->steering->port[port] : NULL;
}

/* Which SA is on which port */

static bool
has_address(const struct gw_config_port *port, const struct gw_addr *addr)
{
	for (unsigned int i = 0; i < port->n_addresses; i++)
		if (gw_addr_equal(&port->addresses[i].addr, addr))
			return true;
	return false;
}

uint16_t
gw_steering_port_to(const struct gw *gw, const struct gw_addr *local)
{
	const struct gw_nexthop *nh;

	for (unsigned int i = 0; i < gw->n_ports; i++)
		if (has_address(&gw->cfg.ports[i], local))
			return (uint16_t)i;
	if (gw->view == NULL)
		return GW_NONE;
	nh = gw_view_route(gw->view, local);
	return nh->kind == GW_NH_LOCAL && nh->port < gw->n_ports ? nh->port : GW_NONE;
}

/**
 * As the peer is to send it; the ports are learned where they are others (R13). Of a
 * per-CPU SA a source port that is the destination's was hardly said: not known.
 */
static void
tuple_of(const struct ipsec_pcpu_sa_params *prm, struct ipsec_pcpu_tuple *tuple)
{
	bool said = prm->pcpu == IPSEC_PCPU_ANY || prm->encap_sport != prm->encap_dport;

	*tuple = (struct ipsec_pcpu_tuple){.family = prm->family,
			.saddr = prm->saddr,
			.daddr = prm->daddr,
			.sport = said && prm->encap_dport != 0 ? prm->encap_sport : 0,
			.dport = prm->encap_dport};
}

/** Put an SA on a port. Without memory the hand-off serves it. */
static void
put_on(struct gw *gw, struct gw_sa *sa, uint16_t port, const struct ipsec_pcpu_tuple *tuple)
{
	struct gw_steer_sa *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return;
	s->spi = sa->prm.spi;
	s->queue = sa->worker;
	s->tuple = *tuple;
	if (gw_steer_add(&gw->steering->port[port], s) < 0) {
		free(s);
		return;
	}
	sa->steer = s;
	sa->steer_port = port;
	gw->steering->changed[port] = true;
}

static void
take_off(struct gw *gw, struct gw_sa *sa)
{
	if (sa->steer == NULL)
		return;
	gw_steer_del(&gw->steering->port[sa->steer_port], sa->steer);
	free(sa->steer);
	sa->steer = NULL;
	sa->steer_port = GW_NONE;
}

void
gw_steering_add(struct gw *gw, struct gw_sa *sa)
{
	struct ipsec_pcpu_tuple tuple;
	uint16_t port;

	if (gw->steering == NULL || sa->prm.dir != IPSEC_PCPU_IN || sa->steer != NULL)
		return;
	port = gw_steering_port_to(gw, &gw->tunnel[sa->tunnel].cfg->local);
	if (port == GW_NONE)
		return;
	tuple_of(&sa->prm, &tuple);
	put_on(gw, sa, port, &tuple);
}

void
gw_steering_del(struct gw *gw, struct gw_sa *sa)
{
	if (gw->steering != NULL)
		take_off(gw, sa);
}

void
gw_steering_moved(struct gw *gw, struct gw_sa *sa)
{
	if (sa->steer == NULL)
		return;
	gw_steer_moved(&gw->steering->port[sa->steer_port], sa->steer, sa->worker);
	gw->steering->changed[sa->steer_port] = true;
}

/* Doing what is planned */

static struct gw_sa *
sa_of(struct gw *gw, const struct gw_steer_sa *s)
{
	for (unsigned int t = 0; t < gw->n_tunnels; t++)
		for (unsigned int i = 0; i < gw->tunnel[t].n_sas; i++)
			if (gw->tunnel[t].sas[i]->steer == s)
				return gw->tunnel[t].sas[i];
	return NULL;
}

/** Move SAs to where their packets land. */
static void
follow(struct gw *gw, unsigned int port, const struct gw_steer_plan *plan, struct gw_rebalance *r)
{
	struct gw_error err;

	for (unsigned int i = 0; i < plan->n_follow; i++) {
		struct gw_sa *sa = sa_of(gw, plan->follow[i].sa);
		struct gw_tunnel *t;
		int rc;

		if (sa == NULL)
			continue;
		t = &gw->tunnel[sa->tunnel];
		rc = gw_sa_move(gw, t, IPSEC_PCPU_IN, sa->prm.spi, plan->follow[i].to, &err);
		if (rc < 0) {
			GW_LOG(WARNING, "tunnel %s: %s", t->cfg->name, err.text);
			r->failed++;
			continue;
		}
		gw_steer_followed(&gw->steering->port[port], sa->steer, gw_now_ns());
		r->moved++;
	}
}

/** Plan for a port and do it. */
static int
rebalance(struct gw *gw, unsigned int port, bool anew, struct gw_rebalance *r, struct gw_error *err)
{
	struct gw_steer_port *sp = &gw->steering->port[port];
	struct gw_steer_plan plan;
	int rc = gw_steer_plan(sp, anew, gw_now_ns(), &plan);

	*r = (struct gw_rebalance){0};
	if (rc < 0) {
		gw_error_set(err, NULL, 0, "no memory");
		return rc;
	}
	rc = gw_steer_apply(sp, &plan, err);
	if (rc == 0) {
		r->changed = plan.changed;
		r->stay = plan.stay;
		follow(gw, port, &plan, r);
	}
	gw_steer_plan_free(&plan);
	return rc;
}

int
gw_rebalance_plan(const struct gw *gw, unsigned int port, struct gw_rebalance *r)
{
	struct gw_steer_plan plan;
	int rc = gw_steer_plan(&gw->steering->port[port], true, gw_now_ns(), &plan);

	*r = (struct gw_rebalance){0};
	if (rc < 0)
		return rc;
	r->changed = plan.changed;
	r->stay = plan.stay;
	r->moved = plan.n_follow;
	gw_steer_plan_free(&plan);
	return 0;
}

int
gw_rebalance(struct gw *gw, struct gw_rebalance r[], struct gw_error *err)
{
	struct gw_error one;
	int rc = 0;

	for (unsigned int i = 0; i < gw->n_ports; i++) {
		int rc1 = rebalance(gw, i, true, &r[i], &one);

		if (rc1 < 0 && rc == 0) {
			rc = rc1;
			*err = one;
		}
	}
	return rc;
}

/** The same by itself, and say what was done. */
static void
settle(struct gw *gw, unsigned int port)
{
	struct gw_rebalance r;
	struct gw_error err;

	gw->steering->changed[port] = false;
	if (rebalance(gw, port, false, &r, &err) < 0) {
		GW_LOG(WARNING, "%s", err.text);
		gw->steering->changed[port] = true;
	}
	if (r.changed > 0 || r.moved > 0)
		GW_LOG(INFO, "port %s: entries of the redirection table changed: %u; SAs moved to where their packets land: %u",
				gw->port[port].name, r.changed, r.moved);
}

/* Start, reset, stop */

static int
open_port(struct gw *gw, unsigned int port, struct gw_error *err)
{
	struct gw_steer_port *sp = &gw->steering->port[port];
	int rc = gw_steer_open(sp, &gw->port[port], gw->cfg.ports[port].steering, err);

	gw->steering->changed[port] = true;
	if (rc == 0)
		GW_LOG(INFO, "port %s: steering \"%s\": %s", gw->port[port].name, sp->ops->name,
				sp->ops->what);
	return rc;
}

int
gw_steering_start(struct gw *gw, struct gw_error *err)
{
	gw->steering = calloc(1, sizeof(*gw->steering));
	if (gw->steering == NULL) {
		gw_error_set(err, NULL, 0, "no memory");
		return -ENOMEM;
	}
	for (unsigned int i = 0; i < gw->n_ports; i++) {
		int rc = open_port(gw, i, err);

		if (rc < 0)
			return rc;
	}
	for (unsigned int t = 0; t < gw->n_tunnels; t++)
		for (unsigned int i = 0; i < gw->tunnel[t].n_sas; i++)
			gw_steering_add(gw, gw->tunnel[t].sas[i]);
	/* before the first packet it costs nothing */
	for (unsigned int i = 0; i < gw->n_ports; i++)
		settle(gw, i);
	return 0;
}

void
gw_steering_stop(struct gw *gw)
{
	if (gw->steering == NULL)
		return;
	for (unsigned int t = 0; t < gw->n_tunnels; t++)
		for (unsigned int i = 0; i < gw->tunnel[t].n_sas; i++)
			take_off(gw, gw->tunnel[t].sas[i]);
	for (unsigned int i = 0; i < gw->n_ports; i++) {
		gw_steer_close(&gw->steering->port[i]);
		gw_steer_free(&gw->steering->port[i]);
	}
	free(gw->steering);
	gw->steering = NULL;
}

void
gw_steering_suspend(struct gw *gw, unsigned int port)
{
	gw_steer_close(&gw->steering->port[port]);
}

void
gw_steering_resume(struct gw *gw, unsigned int port)
{
	struct gw_error err;

	if (open_port(gw, port, &err) < 0)
		GW_LOG(WARNING, "%s", err.text);
	settle(gw, port);
}

/* Looking */

static struct gw_sa *
find_observed(struct gw *gw, const struct gw_observed *seen)
{
	struct gw_error ignored;

	if (seen->tunnel >= gw->n_tunnels)
		return NULL;
	return gw_tunnel_sa(&gw->tunnel[seen->tunnel], IPSEC_PCPU_IN, seen->spi, &ignored);
}

/** What a worker saw of an SA that may be gone since. */
static void
learn(struct gw *gw, const struct gw_observed *o)
{
	const struct gw_steer_seen seen = {
			.tuple = o->tuple, .has_hash = o->has_hash, .hash = o->hash};
	struct gw_sa *sa = find_observed(gw, o);
	struct gw_error err;

	if (sa == NULL)
		return;
	if (sa->ike != NULL)
		gw_ike_saw(gw, sa, &o->tuple);
	if (sa->steer_port != o->port) {
		if (sa->steer != NULL && sa->steer->seen && ++sa->elsewhere < ELSEWHERE_LOOKS)
			return;
		take_off(gw, sa);
		put_on(gw, sa, o->port, &o->tuple);
	}
	sa->elsewhere = 0;
	if (sa->steer == NULL)
		return;
	if (!gw_steer_saw(&gw->steering->port[o->port], sa->steer, &seen, &err)) {
		GW_LOG(WARNING, "%s", err.text);
		gw_ena_odd_hash(gw, o->port, gw->steering->port[o->port].rss.key, &o->tuple,
				o->hash);
		gw->steering->changed[o->port] = true;
	}
	gw->steering->changed[o->port] |= sa->steer->state == GW_STEER_UNSEEN;
}

/** All that workers have noted since the last look; not of one that would make us wait. */
static void
gather(struct gw *gw)
{
	struct gw_msg m[GW_MAX_WORKERS];
	bool to[GW_MAX_WORKERS];

	for (unsigned int w = 0; w < gw->n_workers; w++) {
		to[w] = !gw_worker_is_late(gw, w);
		m[w] = (struct gw_msg){.type = GW_MSG_OBSERVE,
				.observed = gw->steering->observed[w],
				.result = -EAGAIN,
				.run = true};
	}
	gw_tell_each(gw, m, to);
	for (unsigned int w = 0; w < gw->n_workers; w++)
		for (int i = 0; to[w] && i < m[w].result; i++)
			learn(gw, &gw->steering->observed[w][i]);
}

void
gw_steering_look(struct gw *gw)
{
	uint64_t now = gw_now_ns();

	if (gw->steering == NULL || now - gw->steering->looked < LOOK_NS)
		return;
	gw->steering->looked = now;
	gather(gw);
}

static void
judge(struct gw *gw, struct gw_sa *sa)
{
	struct gw_steer_port *sp = &gw->steering->port[sa->steer_port];
	struct gw_error err;

	if (gw_steer_judge(sp, sa->steer, sa->last.packets, sa->last.foreign,
			    sa->last.landed < GW_MAX_WORKERS ? (uint16_t)sa->last.landed : GW_NONE,
			    &err))
		GW_LOG(WARNING, "%s", err.text);
	gw->steering->changed[sa->steer_port] |= sa->steer->state == GW_STEER_ASTRAY;
}

static bool
any_late(struct gw *gw)
{
	bool late = false;

	for (unsigned int w = 0; w < gw->n_workers; w++)
		late |= gw_worker_is_late(gw, w);
	return late;
}

void
gw_steering_tick(struct gw *gw)
{
	gather(gw);
	for (unsigned int t = 0; t < gw->n_tunnels; t++)
		for (unsigned int i = 0; i < gw->tunnel[t].n_sas; i++) {
			struct gw_sa *sa = gw->tunnel[t].sas[i];

			if (sa->steer == NULL)
				gw_steering_add(gw, sa);
			if (sa->steer != NULL)
				judge(gw, sa);
		}
	if (any_late(gw))
		return; /* no move would be made */
	for (unsigned int i = 0; i < gw->n_ports; i++)
		if (gw->steering->changed[i] && gw_port_usable(&gw->port[i]))
			settle(gw, i);
}
