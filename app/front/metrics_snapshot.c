/* SPDX-License-Identifier: BSD-3-Clause */

#include "../compat.h"

#include <stdlib.h>
#include <string.h>

#include "../clock.h"
#include "metrics_snapshot.h"

static void
take_gateway(struct gw_snapshot *s, const struct gw *gw, double start_time,
		const struct gw_metrics_self *self)
{
	struct gw_snap_gateway *g = &s->gw;

	g->start_time = start_time;
	g->forwarding = gw->forwarding;
	g->held = gw->held_now;
#define _(name, brief, what) g->name = gw->name;
	GW_FOREACH_KERNEL_COUNT(_)
#undef _
	gw_nl_faults(gw->nl, &g->netlink_overruns, &g->netlink_reopens);
	g->state_file_failures = gw->reserve_failed;
	g->zombies = gw->n_zombies;
	g->self = *self;
	s->has_ike = gw_ike_status(gw, &s->ike);
}

static void
take_workers(struct gw_snapshot *s, const struct gw *gw)
{
	s->n_workers = gw->n_workers;
	for (unsigned int i = 0; i < gw->n_workers; i++) {
		const struct gw_worker_ctl *ctl = &gw->worker[i];
		struct gw_snap_worker *w = &s->worker[i];

		gw_stats_read(gw, i, &w->c);
		w->running = ctl->running;
		w->responding = ctl->late == NULL;
		w->busy = ctl->busy_percent / 100;
		w->cpu_seconds = (double)ctl->cpu_ns / GW_NS_PER_S;
		w->cycles = ctl->cycles;
	}
}

static void
take_port(struct gw_snap_port *p, const struct gw *gw, unsigned int i)
{
	const struct gw_steer_port *sp = gw_steering_port(gw, i);
	const struct gw_port *port = &gw->port[i];

	memcpy(p->name, port->name, sizeof(p->name));
	gw_port_info(port, &p->info);
	p->usable = gw_port_usable(port);
	p->link_up = p->usable && p->info.link_up;
	p->punt_written = gw->tap[i].written;
	p->punt_failed = gw->tap[i].write_fails;
	p->resets = port->reset.done;
	p->method = sp->ops != NULL ? sp->ops->name : NULL;
	p->followed = sp->followed;
	for (unsigned int k = 0; k < sp->n_sas; k++)
		p->astray += sp->sas[k]->state == GW_STEER_ASTRAY;
}

static int
take_ports(struct gw_snapshot *s, const struct gw *gw)
{
	struct gw_snap_allowance one, *list;

	s->n_ports = gw->n_ports;
	for (unsigned int i = 0; i < gw->n_ports; i++) {
		one.port = &s->port[i];
		take_port(&s->port[i], gw, i);
		for (unsigned int k = 0; gw_allowance_get(gw, i, k, &one.a); k++) {
			list = realloc(s->allowance, (s->n_allowances + 1) * sizeof(*list));
			if (list == NULL)
				return -ENOMEM;
			s->allowance = list;
			s->allowance[s->n_allowances++] = one;
		}
	}
	while (s->n_pools < GW_METRICS_MAX_POOLS &&
			gw_pool_get(gw, s->n_pools, &s->pool[s->n_pools]))
		s->n_pools++;
	return 0;
}

static void
take_sa(struct gw_snap_sa *s, const struct gw_sa *sa, uint32_t tunnel, uint64_t now)
{
	struct ipsec_pcpu_sa_stats st;

	gw_stats_read_sa(sa, &st);
	*s = (struct gw_snap_sa){.tunnel = tunnel,
			.spi = sa->prm.spi,
			.pcpu = sa->prm.pcpu,
			.worker = sa->worker,
			.dir = sa->prm.dir,
			.packets = st.packets,
			.bytes = st.bytes,
			.window_drops = st.drops[IPSEC_PCPU_DROP_REPLAYED] +
					st.drops[IPSEC_PCPU_DROP_TOO_OLD],
			.seq_left = (sa->prm.esn ? UINT64_MAX : UINT32_MAX) - st.seq,
			.lost = st.lost,
			.age = now > sa->created ? (double)(now - sa->created) / GW_NS_PER_S : 0};
	for (unsigned int i = 0; i < IPSEC_PCPU_N_DROPS; i++)
		s->drops += st.drops[i];
}

static void
take_tunnel(struct gw_snapshot *s, const struct gw *gw, const struct gw_tunnel *t, bool sas)
{
	struct gw_snap_tunnel *to = &s->tunnel[s->n_tunnels];
	const struct gw_nexthop *nh = gw_tunnel_nexthop(gw, t);

	memcpy(to->name, t->cfg->name, sizeof(to->name));
	to->up = t->up;
	to->resolved = nh != NULL && nh->kind == GW_NH_ETHER;
	for (unsigned int i = 0; i < t->n_sas; i++) {
		const struct gw_sa *sa = t->sas[i];

		to->sas[sa->prm.dir]++;
		if (sa->worker < s->n_workers)
			s->worker[sa->worker].sas[sa->prm.dir]++;
		if (sas)
			take_sa(&s->sa[s->n_sas++], sa, s->n_tunnels, s->taken);
	}
	s->n_tunnels++;
}

/** A place that no tunnel has now has no name. */
static bool
is_there(const struct gw_tunnel *t)
{
	return t->cfg->name[0] != '\0';
}

static int
take_tunnels(struct gw_snapshot *s, const struct gw *gw, bool sas)
{
	size_t tunnels = 0, n = 0;

	for (unsigned int i = 0; i < gw->n_tunnels; i++) {
		tunnels += is_there(&gw->tunnel[i]);
		n += sas ? gw->tunnel[i].n_sas : 0;
	}
	s->tunnel = calloc(tunnels + 1, sizeof(s->tunnel[0]));
	s->sa = malloc((n + 1) * sizeof(s->sa[0]));
	if (s->tunnel == NULL || s->sa == NULL)
		return -ENOMEM;
	for (unsigned int i = 0; i < gw->n_tunnels; i++)
		if (is_there(&gw->tunnel[i]))
			take_tunnel(s, gw, &gw->tunnel[i], sas);
	return 0;
}

struct gw_snapshot *
gw_snapshot_take(const struct gw *gw, double start_time, const struct gw_metrics_self *self,
		bool sas)
{
	struct gw_snapshot *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	s->refs = 1;
	s->taken = gw_now_ns();
	take_gateway(s, gw, start_time, self);
	take_workers(s, gw);
	if (take_ports(s, gw) < 0 || take_tunnels(s, gw, sas) < 0) {
		gw_snapshot_put(s);
		return NULL;
	}
	return s;
}

void
gw_snapshot_put(struct gw_snapshot *s)
{
	if (s == NULL || --s->refs > 0)
		return;
	free(s->allowance);
	free(s->tunnel);
	free(s->sa);
	free(s);
}
