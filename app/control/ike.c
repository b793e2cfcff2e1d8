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
	GW_IKE_FOREACH_TUNNEL(gw, t)
	{
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
	GW_IKE_FOREACH_TUNNEL(gw, t)
	{
		t->ike->stale |= !same_generation;
		memset(t->ike->hold, 0, sizeof(t->ike->hold));
		for (unsigned int i = 0; i < t->n_sas; i++)
			mark(same_generation, &t->sas[i]->ike->stale, &t->sas[i]->ike->unsaid);
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
	ike->in_sync = false;
	ike->counts.connections++;
	mark_all(gw, ike->same_generation);
	return 0;
}

void
gw_ike_gone(struct gw *gw)
{
	gw->ike->connected = false;
	gw->ike->in_sync = false;
	GW_IKE_FOREACH_TUNNEL(gw, t)
	gw_ike_arm(gw, t);
}

static bool
has_in(const struct gw_tunnel *t)
{
	for (unsigned int i = 0; i < t->n_sas; i++)
		if (t->sas[i]->prm.dir == IPSEC_PCPU_IN && !t->sas[i]->ike->stale)
			return true;
	return false;
}

static struct gw_sa *
stale_sa(const struct gw_tunnel *t)
{
	for (unsigned int i = 0; i < t->n_sas; i++)
		if (t->sas[i]->ike->stale)
			return t->sas[i];
	return NULL;
}

static struct gw_sa *
unsaid_sa(const struct gw_tunnel *t)
{
	for (unsigned int i = 0; i < t->n_sas; i++)
		if (t->sas[i]->ike->unsaid)
			return t->sas[i];
	return NULL;
}

/** What is stale of a tunnel's SAs goes, or else what is unsaid; policies have gone before. */
static void
drop(struct gw *gw, struct gw_tunnel *t, bool stale)
{
	struct gw_sa *sa;

	while (t->ike != NULL && (sa = stale ? stale_sa(t) : unsaid_sa(t)) != NULL) {
		gw->ike->counts.sas_stale++;
		gw_ike_sa_remove(gw, t, sa);
	}
}

/** The first error is the one that counts. */
static int
release(struct gw *gw, int rc, struct gw_error *err)
{
	struct gw_error ignored;
	int last = gw_view_release(gw, rc < 0 ? &ignored : err);

	return rc < 0 ? rc : last;
}

static int
drop_all(struct gw *gw, bool stale, struct gw_error *err)
{
	int rc;

	/* workers are told of policies once, not with each tunnel that goes with its last SA */
	gw_ike_rules_drop(gw, NULL, stale);
	rc = gw_ike_rules_apply(gw, err);
	gw_view_hold(gw);
	GW_IKE_FOREACH_TUNNEL(gw, t)
	drop(gw, t, stale);
	return release(gw, rc, err);
}

static bool
any_stale(const struct gw *gw)
{
	for (unsigned int i = 0; i < gw->ike->n_rules; i++)
		if (gw->ike->rule[i]->stale)
			return true;
	GW_IKE_FOREACH_TUNNEL(gw, t)
	if (stale_sa(t) != NULL)
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
	rc = drop_all(gw, false, err);
	if (any_stale(gw) && (ike->stale_until == 0 || !ike->same_generation))
		ike->stale_until = now + STALE_NS;
	GW_IKE_FOREACH_TUNNEL(gw, t)
	{
		if (has_in(t) && !gw_ike_has_out(t))
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
	gw_view_hold(gw);
	GW_IKE_FOREACH_TUNNEL(gw, t)
	{
		struct gw_sa *sa;

		while (t->ike != NULL && (sa = stale_sa(t)) != NULL)
			gw_ike_sa_remove(gw, t, sa);
		if (t->ike != NULL)
			gw_ike_tunnel_put(gw, t);
	}
	return release(gw, rc, err);
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

static bool
is_replaced(const struct gw *gw, const struct gw_tunnel *t)
{
	uint16_t by = t->ike->successor;

	return gw_ike_has_out(t) || (by != GW_NONE && gw_ike_has_out(&gw->tunnel[by]));
}

/** SAs of a charon that is gone are in use while there is no new one. */
static void
watch_stale(struct gw *gw, struct gw_tunnel *t)
{
	/* workers that have an SA note nothing: that they use it shows as well */
	uint64_t packets = stale_packets(t);

	if (packets > t->ike->stale_packets && !t->ike->stale)
		gw_ike_want_any(gw, t);
	t->ike->stale_packets = packets;
}

/** Tunnels with SAs of a charon that is gone: they go once there is a new one. */
static void
replace_stale(struct gw *gw)
{
	bool any = false;

	GW_IKE_FOREACH_TUNNEL(gw, t)
	{
		if (stale_sa(t) == NULL || !is_replaced(gw, t))
			continue;
		gw_ike_rules_drop(gw, t, true);
		any = true;
	}
	if (any)
		gw_ike_rules_retry(gw);
	GW_IKE_FOREACH_TUNNEL(gw, t)
	{
		if (stale_sa(t) == NULL)
			continue;
		if (is_replaced(gw, t))
			drop(gw, t, true);
		else
			watch_stale(gw, t);
	}
}

void
gw_ike_tick(struct gw *gw)
{
	struct gw_ike *ike = gw->ike;
	struct gw_error err;

	if (ike == NULL)
		return;
	gw_ike_sas_tick(gw);
	gw_ike_wants_poll(gw);
	if (ike->stale_until != 0 && gw_now_ns() >= ike->stale_until) {
		if (drop_all(gw, true, &err) < 0)
			GW_LOG(ERR, "IKE: %s", err.text);
		ike->stale_until = 0;
	}
	if (ike->stale_until != 0)
		replace_stale(gw);
	if (ike->in_sync)
		gw_ike_rules_retry(gw);
	GW_IKE_FOREACH_TUNNEL(gw, t)
	{
		if (t->ike != NULL && !(t->n_sas == 0 && gw_ike_tunnel_put(gw, t)))
			gw_ike_arm(gw, t);
	}
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
	struct gw_ike_pending p;

	memset(s, 0, sizeof(*s));
	if (ike == NULL)
		return false;
	s->connected = ike->connected;
	s->in_sync = ike->in_sync;
	s->pcpu = ike->pcpu;
	s->epoch = ike->epoch;
	s->generation = ike->generation;
	s->policies = ike->n_rules;
	s->counts = ike->counts;
	for (unsigned int i = 0; i < GW_IKE_MAX_SPIS; i++)
		s->spis += ike->spi[i].spi != 0 && ike->spi[i].until > gw_now_ns();
	GW_IKE_FOREACH_TUNNEL(gw, t)
	{
		s->tunnels++;
		for (unsigned int i = 0; i < t->n_sas; i++) {
			s->stale += t->sas[i]->ike->stale;
			*(t->sas[i]->prm.dir == IPSEC_PCPU_IN ? &s->sas_in : &s->sas_out) += 1;
		}
	}
	while (gw_ike_pending(gw, s->pending, &p))
		s->pending++;
	return true;
}
