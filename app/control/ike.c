/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * IKE as a whole: who is connected, what is stale. charon may end and come back, the socket may
 * break, the gateway may be restarted: what is in use goes on until something takes its place,
 * but no outbound key is ever used by a second run of the gateway.
 */

#include "ike.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "../log.h"
#include "ike_priv.h"

/** How long SAs of a charon that is gone are kept while no new one takes their place. */
#define STALE_NS (60 * GW_NS_PER_S)
/** After a restart of the gateway charon renews SAs by itself: what is asked for meanwhile. */
#define RENEW_NS GW_NS_PER_S

int
gw_ike_open(struct gw *gw, struct gw_error *err)
{
	struct gw_ike *ike;

	if (gw->cfg.ike_socket == NULL)
		return 0;
	ike = gw->ike = calloc(1, sizeof(*ike));
	if (ike == NULL) {
		gw_error_set(err, NULL, 0, "no memory for IKE");
		return -ENOMEM;
	}
	while (ike->epoch == 0)
		if (getrandom(&ike->epoch, sizeof(ike->epoch), 0) != sizeof(ike->epoch)) {
			gw_error_set(err, NULL, 0, "no random number: %s", strerror(errno));
			return -EIO;
		}
	for (unsigned int i = gw->n_tunnels; i < gw_max_tunnels(&gw->cfg); i++) {
		gw->tunnel[i].id = i;
		gw_tunnel_close(&gw->tunnel[i]);
	}
	return 0;
}

void
gw_ike_free(struct gw *gw)
{
	if (gw->ike == NULL)
		return;
	GW_IKE_FOREACH_TUNNEL(gw, t) {
		free(t->ike->cfg.selectors);
		free(t->ike);
		t->ike = NULL;
		t->cfg = NULL;
	}
	gw_ike_rules_free(gw->ike);
	free(gw->ike);
	gw->ike = NULL;
}

/* Connections */

/** Of what there is: this charon is to say it again, or it is that of one that is gone. */
static void
mark(bool same_generation, bool *stale, bool *unsaid)
{
	*unsaid = same_generation && !*stale;
	*stale |= !same_generation;
}

static void
mark_all(struct gw *gw, bool same_generation)
{
	struct gw_ike *ike = gw->ike;

	for (unsigned int i = 0; i < ike->n_rules; i++)
		mark(same_generation, &ike->rule[i]->stale, &ike->rule[i]->unsaid);
	ike->unapplied = true; /* stale ones come behind others */
	GW_IKE_FOREACH_TUNNEL(gw, t) {
		t->ike->stale |= !same_generation;
		memset(t->ike->hold, 0, sizeof(t->ike->hold));
		for (unsigned int i = 0; i < t->n_sas; i++) {
			mark(same_generation, &t->sas[i]->ike->stale, &t->sas[i]->ike->unsaid);
			/* what was said last may have gone with the connection */
			t->sas[i]->ike->told = (struct gw_ike_told){0};
			t->sas[i]->ike->soft_said = t->sas[i]->ike->hard_said = false;
		}
	}
}

int
gw_ike_hello(struct gw *gw, uint64_t generation, bool pcpu, const struct gw_ike_events *events,
		struct gw_error *err)
{
	struct gw_ike *ike = gw->ike;

	if (ike->connected) {
		gw_error_set(err, NULL, 0, "another charon is connected");
		return -EBUSY;
	}
	ike->same_generation = ike->generation == 0 || ike->generation == generation;
	ike->generation = generation;
	ike->pcpu = pcpu;
	ike->events = *events;
	ike->connected = true;
	ike->changed = gw_now_ns();
	ike->in_sync = false;
	ike->stale_until = 0; /* nothing goes before it has said all that it has */
	ike->counts.connections++;
	mark_all(gw, ike->same_generation);
	return 0;
}

void
gw_ike_gone(struct gw *gw)
{
	gw->ike->connected = false;
	gw->ike->changed = gw_now_ns();
	gw->ike->in_sync = false;
	GW_IKE_FOREACH_TUNNEL(gw, t)
		gw_ike_arm(gw, t);
}

static bool
has_stale(const struct gw_tunnel *t, enum ipsec_pcpu_dir dir)
{
	for (unsigned int i = 0; i < t->n_sas; i++)
		if (t->sas[i]->ike->stale && t->sas[i]->prm.dir == dir)
			return true;
	return false;
}

/**
 * SAs of a tunnel that are stale are taken, or else those unsaid; each is tried once. How many.
 */
static unsigned int
take_sas(struct gw *gw, struct gw_tunnel *t, bool stale, bool in_too)
{
	struct gw_error err;
	unsigned int n = 0;

	for (unsigned int i = t->n_sas; i-- > 0;) {
		struct gw_sa *sa = t->sas[i];

		if (!(stale ? sa->ike->stale : sa->ike->unsaid) ||
				(sa->prm.dir == IPSEC_PCPU_IN && !in_too))
			continue;
		if (gw_ike_sa_take(gw, t, sa, &err) < 0)
			GW_LOG(ERR, "tunnel %s: %s", t->cfg->name, err.text);
		else
			n++;
	}
	return n;
}

/** The first error is the one that counts. */
static int
forget(struct gw *gw, int rc, struct gw_error *err)
{
	gw_ike_sas_forget(gw);
	if (rc < 0 || !gw->view_behind)
		return rc;
	gw_error_set(err, NULL, 0,
			"SAs are removed, but workers have the tables from before: no memory");
	return -ENOMEM;
}

static int
drop_all(struct gw *gw, bool stale, struct gw_error *err)
{
	int rc;

	/* workers are told of policies once, not with each tunnel that goes with its last SA */
	gw_ike_rules_drop(gw, NULL, stale);
	rc = gw_ike_rules_apply(gw, err);
	GW_IKE_FOREACH_TUNNEL(gw, t)
		gw->ike->counts.sas_stale += take_sas(gw, t, stale, true);
	return forget(gw, rc, err);
}

static bool
any_stale(const struct gw *gw)
{
	for (unsigned int i = 0; i < gw->ike->n_rules; i++)
		if (gw->ike->rule[i]->stale)
			return true;
	GW_IKE_FOREACH_TUNNEL(gw, t)
		if (has_stale(t, IPSEC_PCPU_IN) || has_stale(t, IPSEC_PCPU_OUT))
			return true;
	return false;
}

int
gw_ike_sync_end(struct gw *gw, struct gw_error *err)
{
	struct gw_ike *ike = gw->ike;
	uint64_t now = gw_now_ns();
	int rc;

	ike->in_sync = true;
	gw->ike_known = true;
	rc = drop_all(gw, false, err);
	if (any_stale(gw))
		ike->stale_until = now + STALE_NS;
	GW_IKE_FOREACH_TUNNEL(gw, t) {
		if (gw_ike_has(t, IPSEC_PCPU_IN) && !gw_ike_has(t, IPSEC_PCPU_OUT))
			t->ike->hold[gw->n_workers].until = now + RENEW_NS;
		gw_ike_arm(gw, t);
	}
	return rc;
}

int
gw_ike_flush(struct gw *gw, bool sas, bool policies, struct gw_error *err)
{
	struct gw_ike *ike = gw->ike;
	int rc;

	for (unsigned int i = 0; i < ike->n_rules && policies; i++)
		ike->rule[i]->stale = true;
	GW_IKE_FOREACH_TUNNEL(gw, t)
		for (unsigned int i = 0; i < t->n_sas && sas; i++)
			t->sas[i]->ike->stale = true;
	if (policies)
		gw_ike_rules_drop(gw, NULL, true);
	rc = gw_ike_rules_apply(gw, err);
	GW_IKE_FOREACH_TUNNEL(gw, t)
		take_sas(gw, t, true, true);
	rc = forget(gw, rc, err);
	/* also those that had policies alone */
	GW_IKE_FOREACH_TUNNEL(gw, t)
		gw_ike_tunnel_put(gw, t);
	return rc;
}

/* Time */

static uint64_t
stale_packets(const struct gw_tunnel *t)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < t->n_sas; i++) {
		struct ipsec_pcpu_sa_stats st;

		if (!t->sas[i]->ike->stale || t->sas[i]->prm.dir != IPSEC_PCPU_OUT)
			continue;
		ipsec_pcpu_sa_stats(t->sas[i]->sa, &st);
		sum += st.packets;
	}
	return sum;
}

/** Has it an SA that charon knows, and that may be sent on by now? */
static bool
has_ready(const struct gw_tunnel *t)
{
	for (unsigned int i = 0; i < t->n_sas; i++)
		if (gw_sa_is_usable(t->sas[i]) && !t->sas[i]->ike->stale)
			return true;
	return false;
}

/**
 * A tunnel with SAs of a charon that is gone: those that we send on go once there is a new one.
 * The peer may still send on the others.
 */
static void
replace_stale(struct gw *gw, struct gw_tunnel *t)
{
	uint64_t packets;

	if (!has_stale(t, IPSEC_PCPU_OUT))
		return;
	if (t->ike->successor != GW_NONE && has_ready(&gw->tunnel[t->ike->successor])) {
		gw->ike->counts.sas_stale += take_sas(gw, t, true, false);
		return;
	}
	if (has_ready(t)) {
		gw->ike->counts.sas_stale += take_sas(gw, t, true, false);
		gw_ike_rules_drop(gw, t, true); /* workers are told at the end of the tick */
		return;
	}
	/* workers that have an SA note nothing: that they use it shows as well */
	packets = stale_packets(t);
	if (packets > t->ike->stale_packets && !t->ike->stale)
		gw_ike_want_any(gw, t);
	t->ike->stale_packets = packets;
}

void
gw_ike_tick(struct gw *gw)
{
	struct gw_ike *ike = gw->ike;
	struct gw_error err;

	if (ike == NULL)
		return;
	if (gw_any_late(gw))
		return; /* each change would have to wait for it */
	gw_ike_sas_tick(gw);
	gw_ike_wants_poll(gw);
	if (ike->in_sync && ike->stale_until != 0 && gw_now_ns() >= ike->stale_until) {
		if (drop_all(gw, true, &err) < 0)
			GW_LOG(ERR, "IKE: %s", err.text);
		ike->stale_until = 0;
	}
	GW_IKE_FOREACH_TUNNEL(gw, t)
		if (ike->in_sync && ike->stale_until != 0)
			replace_stale(gw, t);
	gw_ike_sas_forget(gw);
	GW_IKE_FOREACH_TUNNEL(gw, t)
		if (!(t->n_sas == 0 && gw_ike_tunnel_put(gw, t)))
			gw_ike_arm(gw, t);
	if (ike->in_sync)
		gw_ike_rules_retry(gw);
	if (!gw_any_late(gw))
		gw_view_settle(gw);
}

/* For the console */

struct gw_ike_counts *
gw_ike_counts(struct gw *gw)
{
	return &gw->ike->counts;
}

bool
gw_ike_status(const struct gw *gw, struct gw_ike_status *s)
{
	const struct gw_ike *ike = gw->ike;
	uint64_t now = gw_now_ns();

	memset(s, 0, sizeof(*s));
	if (ike == NULL)
		return false;
	s->since_s = (double)(now - ike->changed) / 1e9;
	if (ike->stale_until > now)
		s->stale_left_s = (double)(ike->stale_until - now) / 1e9;
	s->connected = ike->connected;
	s->in_sync = ike->in_sync;
	s->pcpu = ike->pcpu;
	s->epoch = ike->epoch;
	s->generation = ike->generation;
	s->policies = ike->n_rules;
	s->counts = ike->counts;
	for (unsigned int i = 0; i < GW_IKE_MAX_SPIS; i++)
		s->spis += ike->spi[i].spi != 0 && ike->spi[i].until > now;
	GW_IKE_FOREACH_TUNNEL(gw, t) {
		s->tunnels++;
		for (unsigned int i = 0; i < t->n_sas; i++) {
			s->sas_stale_now += t->sas[i]->ike->stale;
			*(t->sas[i]->prm.dir == IPSEC_PCPU_IN ? &s->sas_in : &s->sas_out) += 1;
		}
	}
	s->pending = gw_ike_pendings(gw, NULL, 0);
	return true;
}
