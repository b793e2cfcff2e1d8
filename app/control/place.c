/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Which worker has which SA, and how an SA gets from one to another: given up by the
 * one before it is told to the other, and what needs it in between waits (park.c). R
 * numbers are those of docs/architecture.md, "Per-CPU SAs".
 */

#include <errno.h>
#include <string.h>

#include "../log.h"
#include "control_priv.h"

/**
 * Of two answers: an error, else that of a worker that may still come to its message. One
 * that was not even told has what it has, whoever else is late.
 */
static int
worse(int a, int b)
{
	return a == 0 || (a == -ETIMEDOUT && b != 0) ? b : a;
}

/** The newest SA of a direction and number but for @p sa: whose place it takes (R5). */
static struct gw_sa *
predecessor(const struct gw_tunnel *t, const struct gw_sa *sa)
{
	for (unsigned int i = t->n_sas; i-- > 0;)
		if (t->sas[i] != sa && t->sas[i]->prm.dir == sa->prm.dir &&
				t->sas[i]->prm.pcpu == sa->prm.pcpu)
			return t->sas[i];
	return NULL;
}

/* Outbound: the plan */

static bool
is_out(const struct gw_sa *sa, bool fallback)
{
	return gw_sa_is_usable(sa) && (sa->prm.pcpu == IPSEC_PCPU_ANY) == fallback;
}

static struct gw_sa *
fallback_sa(const struct gw_tunnel *t)
{
	struct gw_sa *newest = NULL;

	for (unsigned int i = 0; i < t->n_sas; i++)
		if (is_out(t->sas[i], true))
			newest = t->sas[i];
	return newest;
}

/**
 * The fallback SA is worked by a worker that has no SA of its own, if there is
 * one: the others are busy with theirs. Spread over tunnels. Once it is
 * somewhere, it and its successors stay there (R5), but where somebody moves it.
 */
static uint16_t
fallback_worker(const struct gw *gw, const struct gw_tunnel *t)
{
	const struct gw_sa *fallback = fallback_sa(t);
	bool has_own[GW_MAX_WORKERS] = {false};
	uint16_t first = t->id % gw->n_workers;

	if (fallback != NULL && fallback->placed != GW_NONE)
		return fallback->placed;
	for (unsigned int w = 0; w < gw->n_workers; w++)
		if (t->out[w].fallback != NULL)
			return w;
	for (unsigned int i = 0; i < t->n_sas; i++) {
		const struct gw_sa *sa = t->sas[i];

		if (is_out(sa, false))
			has_own[(sa->placed != GW_NONE ? sa->placed : sa->prm.pcpu) %
					gw->n_workers] = true;
	}
	for (unsigned int i = 0; i < gw->n_workers; i++)
		if (!has_own[(first + i) % gw->n_workers])
			return (first + i) % gw->n_workers;
	return first;
}

/**
 * The outbound SA of a worker's own: one that was moved there, else (R4) the newest
 * of its number. One with a number beyond our workers serves the worker that its
 * number falls on, if that has no other.
 */
static struct gw_sa *
own_sa(const struct gw *gw, const struct gw_tunnel *t, unsigned int worker)
{
	struct gw_sa *placed = NULL;
	struct gw_sa *exact = NULL;
	struct gw_sa *beyond = NULL;

	for (unsigned int i = 0; i < t->n_sas; i++) {
		struct gw_sa *sa = t->sas[i];

		if (!is_out(sa, false))
			continue;
		if (sa->placed == worker)
			placed = sa;
		else if (sa->placed != GW_NONE)
			continue;
		else if (sa->prm.pcpu == worker)
			exact = sa;
		else if (sa->prm.pcpu % gw->n_workers == worker)
			beyond = sa;
	}
	if (placed != NULL)
		return placed;
	return exact != NULL ? exact : beyond;
}

/** What every worker should have for a tunnel; returns who encrypts for those without. */
static uint16_t
plan(const struct gw *gw, const struct gw_tunnel *t, struct gw_out want[])
{
	struct gw_sa *fallback = fallback_sa(t);
	uint16_t owner = fallback != NULL ? fallback_worker(gw, t) : GW_NONE;

	for (unsigned int w = 0; w < gw->n_workers; w++) {
		want[w].own = own_sa(gw, t, w);
		want[w].fallback = w == owner ? fallback : NULL;
		/*
		 * never drop while someone can encrypt: without a fallback, any worker that
		 * has an SA
		 */
		if (fallback == NULL && owner == GW_NONE && want[w].own != NULL)
			owner = w;
	}
	for (unsigned int w = 0; w < gw->n_workers; w++)
		want[w].owner = owner;
	return owner;
}

/* Outbound: from what workers have to the plan */

static int
tell_out(struct gw *gw, struct gw_tunnel *t, unsigned int worker, const struct gw_out *out,
		bool drain)
{
	struct gw_msg m = {.type = GW_MSG_SA_OUT,
			.tunnel = t->id,
			.owner = out->owner,
			.drain = drain};
	int rc;

	m.sa = out->own == NULL ? NULL : out->own->sa;
	m.fallback = out->fallback == NULL ? NULL : out->fallback->sa;
	rc = gw_tell(gw, worker, &m);
	if (rc != 0 && rc != -ETIMEDOUT)
		return rc;
	/* a worker that does not answer still has the message before it */
	t->out[worker] = *out;
	if (out->own != NULL)
		out->own->had = worker;
	if (out->fallback != NULL)
		out->fallback->had = worker;
	return rc;
}

static void
note_workers(const struct gw *gw, struct gw_tunnel *t)
{
	for (unsigned int i = 0; i < t->n_sas; i++)
		if (t->sas[i]->prm.dir == IPSEC_PCPU_OUT)
			t->sas[i]->worker = GW_NONE;
	for (unsigned int w = 0; w < gw->n_workers; w++) {
		if (t->out[w].own != NULL)
			t->out[w].own->worker = w;
		if (t->out[w].fallback != NULL)
			t->out[w].fallback->worker = w;
	}
}

static bool
out_equal(const struct gw_out *a, const struct gw_out *b)
{
	return a->own == b->own && a->fallback == b->fallback && a->owner == b->owner;
}

/** Is an SA that @p worker has planned for another? */
static bool
leaves(const struct gw *gw, const struct gw_out want[], const struct gw_sa *sa, unsigned int worker)
{
	for (unsigned int w = 0; w < gw->n_workers && sa != NULL; w++)
		if (w != worker && (want[w].own == sa || want[w].fallback == sa))
			return true;
	return false;
}

/** What a worker keeps until all others have given up what changes hands; nothing: it waits. */
static struct gw_out
keeps(const struct gw *gw, const struct gw_tunnel *t, const struct gw_out want[],
		unsigned int worker)
{
	struct gw_out keep = t->out[worker];

	if (leaves(gw, want, keep.own, worker))
		keep.own = NULL;
	if (leaves(gw, want, keep.fallback, worker))
		keep.fallback = NULL;
	if (keep.own == NULL && keep.fallback == NULL && !out_equal(&keep, &t->out[worker]))
		keep.owner = worker;
	return keep;
}

/**
 * The SAs of the worker that encrypts for others change hands: those others wait. Else
 * what they send to the next one could overtake what is still on its way through this one.
 */
static int
hold_others(struct gw *gw, struct gw_tunnel *t, uint16_t owner)
{
	int rc = 0;

	for (unsigned int w = 0; w < gw->n_workers; w++) {
		const struct gw_out held = {.owner = w};

		if (t->out[w].owner != owner || t->out[w].own != NULL || t->out[w].fallback != NULL)
			continue;
		rc = worse(rc, tell_out(gw, t, w, &held, false));
	}
	return rc;
}

/** First half: all SAs that change hands are given up. */
static int
release(struct gw *gw, struct gw_tunnel *t, const struct gw_out want[])
{
	int rc = 0;

	if (t->owner != GW_NONE) {
		struct gw_out keep = keeps(gw, t, want, t->owner);

		/* one that does not answer has no SA: the others need not wait for it */
		if (!out_equal(&keep, &t->out[t->owner]))
			rc = hold_others(gw, t, t->owner);
		if (rc != 0 && rc != -ETIMEDOUT)
			return rc;
	}
	for (unsigned int w = 0; w < gw->n_workers; w++) {
		struct gw_out keep = keeps(gw, t, want, w);
		int one = 0;

		if (!out_equal(&keep, &t->out[w]))
			one = tell_out(gw, t, w, &keep, true);
		if (one != 0)
			return worse(rc, one);
	}
	return rc;
}

/**
 * May another worker still have an SA of the plan? Not where it has answered since it was
 * told to give it up.
 */
static bool
is_held_elsewhere(struct gw *gw, const struct gw_out want[])
{
	for (unsigned int w = 0; w < gw->n_workers; w++) {
		const struct gw_sa *const sa[] = {want[w].own, want[w].fallback};

		for (unsigned int i = 0; i < RTE_DIM(sa); i++)
			if (sa[i] != NULL && sa[i]->had != GW_NONE && sa[i]->had != w &&
					gw_worker_is_late(gw, sa[i]->had))
				return true;
	}
	return false;
}

/**
 * Second half: each worker gets what is planned for it, with one message; an SA's
 * successor takes its place between two bursts. Who encrypts for others is ready before
 * they know, and who did so until now is told last.
 */
static int
give(struct gw *gw, struct gw_tunnel *t, const struct gw_out want[], uint16_t after)
{
	uint16_t before = t->owner;
	int rc = 0;

	if (after != GW_NONE && !out_equal(&t->out[after], &want[after]))
		rc = tell_out(gw, t, after, &want[after], false);
	t->owner = after;
	for (unsigned int w = 0; w < gw->n_workers && rc == 0; w++)
		if (w != before && !out_equal(&t->out[w], &want[w]))
			rc = tell_out(gw, t, w, &want[w], false);
	if (rc == 0 && before != GW_NONE && !out_equal(&t->out[before], &want[before]))
		rc = tell_out(gw, t, before, &want[before], false);
	return rc;
}

int
gw_place_outbound(struct gw *gw, struct gw_tunnel *t)
{
	struct gw_out want[GW_MAX_WORKERS] = {0};
	uint16_t after = plan(gw, t, want);
	int rc = release(gw, t, want);
	int rc2 = 0;

	/* what is not done now is done by gw_places_tick() */
	t->unsettled = true;
	if (rc != 0 && rc != -ETIMEDOUT)
		rc2 = rc;
	else if (is_held_elsewhere(gw, want))
		rc2 = -ETIMEDOUT;
	else
		rc2 = give(gw, t, want, after);
	rc = worse(rc, rc2);
	t->unsettled = rc != 0;
	note_workers(gw, t);
	return rc;
}

/* Inbound */

/**
 * An inbound SA: where its SPI leads its packets, if it was chosen for that: whatever else would
 * be said of it, they come there, and its number is what it is. Else where its predecessor is;
 * else on the worker of its number (R2: the peer may have more CPUs than we have workers).
 */
static uint16_t
inbound_worker(const struct gw *gw, const struct gw_tunnel *t, const struct gw_sa *sa)
{
	const struct gw_sa *old = predecessor(t, sa);

	if (sa->ike != NULL && sa->ike->by_spi)
		return sa->ike->spi_worker;
	if (old != NULL && old->worker != GW_NONE)
		return old->move != GW_MOVE_NONE ? old->placed : old->worker;
	return sa->prm.pcpu == IPSEC_PCPU_ANY ? fallback_worker(gw, t)
					      : sa->prm.pcpu % gw->n_workers;
}

static int
tell_sad(struct gw *gw, unsigned int worker, const struct gw_msg *msg, struct ipsec_pcpu_sa *sa)
{
	struct gw_msg m = *msg;

	m.sa = sa;
	return gw_tell(gw, worker, &m);
}

void
gw_place_successor(struct gw_tunnel *t, struct gw_sa *sa)
{
	const struct gw_sa *old = predecessor(t, sa);

	if (old != NULL && sa->prm.dir == IPSEC_PCPU_OUT)
		sa->placed = old->placed;
}

int
gw_place_inbound(struct gw *gw, struct gw_tunnel *t, struct gw_sa *sa)
{
	struct gw_msg m[GW_MAX_WORKERS];
	bool to[GW_MAX_WORKERS];
	int rc = 0;

	sa->worker = inbound_worker(gw, t, sa);
	for (unsigned int w = 0; w < gw->n_workers; w++) {
		m[w] = (struct gw_msg){.type = GW_MSG_SAD_ADD,
				.spi = sa->prm.spi,
				.tunnel = t->id,
				.owner = sa->worker,
				.sa = w == sa->worker ? sa->sa : NULL};
		to[w] = true;
	}
	gw_tell_each(gw, m, to);
	/* one that refuses it counts for more than one that may still come to it */
	for (unsigned int w = 0; w < gw->n_workers; w++)
		rc = worse(rc, m[w].result);
	return rc;
}

/** Tell all but one who owns an inbound SA; GW_NONE: that it is on its way, so packets wait. */
static int
tell_owner(struct gw *gw, const struct gw_sa *sa, uint16_t owner, uint16_t but)
{
	struct gw_msg m[GW_MAX_WORKERS];
	bool to[GW_MAX_WORKERS];

	for (unsigned int w = 0; w < gw->n_workers; w++) {
		m[w] = (struct gw_msg){.type = GW_MSG_SAD_SET,
				.spi = sa->prm.spi,
				.tunnel = sa->tunnel,
				.owner = owner != GW_NONE ? owner : w};
		to[w] = w != but;
	}
	return gw_tell_each(gw, m, to);
}

/**
 * Bring an inbound SA that all others wait for from its worker to the one where it is
 * placed. Each step may be done twice; -ETIMEDOUT: it is not known whether one was done.
 */
static int
move_on(struct gw *gw, struct gw_sa *sa)
{
	struct gw_msg m = {.type = GW_MSG_SAD_SET,
			.spi = sa->prm.spi,
			.tunnel = sa->tunnel,
			.owner = sa->placed,
			.drain = true};
	int rc = 0;

	if (sa->move == GW_MOVE_RELEASE) {
		rc = tell_sad(gw, sa->worker, &m, NULL);
		if (rc != 0)
			return rc; /* it may still have it: nobody else gets it */
		sa->move = GW_MOVE_TAKE;
	}
	m.drain = false;
	if (sa->move == GW_MOVE_TAKE) {
		rc = tell_sad(gw, sa->placed, &m, sa->sa);
		if (rc != 0 && rc != -ETIMEDOUT)
			return rc;
		/* one that does not answer has the message before it: it is the owner */
		sa->worker = sa->placed;
		sa->move = GW_MOVE_TELL;
	}
	rc = worse(rc, tell_owner(gw, sa, sa->worker, sa->worker));
	if (rc == 0) {
		sa->move = GW_MOVE_NONE;
		gw_steering_moved(gw, sa);
	}
	return rc;
}

static int
move_inbound(struct gw *gw, struct gw_sa *sa, uint16_t worker, struct gw_error *err)
{
	int rc;

	if (sa->worker == worker)
		return 0;
	rc = tell_owner(gw, sa, GW_NONE, sa->worker);
	if (rc == 0) {
		sa->placed = worker;
		sa->move = GW_MOVE_RELEASE;
		rc = move_on(gw, sa);
	}
	if (rc != 0 &&
			(sa->move == GW_MOVE_NONE ||
					(sa->move == GW_MOVE_RELEASE && rc != -ETIMEDOUT))) {
		/* its owner knows nothing of this: as it was */
		sa->move = GW_MOVE_NONE;
		tell_owner(gw, sa, sa->worker, sa->worker);
		gw_error_set(err, NULL, 0,
				"SA 0x%08x stays on worker %u: %s; \"show workers\" and the log say more",
				sa->prm.spi, sa->worker,
				rc == -ETIMEDOUT ? "a worker does not answer" : strerror(-rc));
	} else if (rc != 0) {
		gw_error_set(err, NULL, 0,
				"SA 0x%08x is on its way to worker %u, and gets there once all workers "
				"answer; \"show workers\" and the log say more",
				sa->prm.spi, worker);
	}
	return rc;
}

/* Outbound moves */

/** Where an outbound SA goes, those of its number that it has superseded go as well. */
static void
place(struct gw_tunnel *t, struct gw_sa *sa, uint16_t worker)
{
	for (unsigned int i = 0; i < t->n_sas && sa->worker != GW_NONE; i++) {
		struct gw_sa *old = t->sas[i];

		if (old->prm.dir == IPSEC_PCPU_OUT && old->prm.pcpu == sa->prm.pcpu &&
				old->worker == GW_NONE && old->placed == sa->placed)
			old->placed = worker;
	}
	sa->placed = worker;
}

/**
 * Two SAs change places: nobody is left without, and none is left over. One that was
 * not in use leaves no place: the other goes by its number again, and is left over where
 * there is one already.
 */
static int
move_outbound(struct gw *gw, struct gw_tunnel *t, struct gw_sa *sa, uint16_t worker,
		struct gw_error *err)
{
	struct gw_sa *other = sa->prm.pcpu == IPSEC_PCPU_ANY ? NULL : t->out[worker].own;
	uint16_t from = sa->worker;
	int rc;

	if (from == worker) {
		sa->placed = worker;
		return 0;
	}
	if (other != NULL) {
		place(t, other, from);
		/* of those that are placed there the newest is used: this one is to be it */
		for (unsigned int i = 0; i < t->n_sas; i++)
			if (t->sas[i]->prm.dir == IPSEC_PCPU_OUT && t->sas[i] != sa &&
					t->sas[i]->placed == worker)
				t->sas[i]->placed = GW_NONE;
	}
	place(t, sa, worker);
	rc = gw_place_outbound(gw, t);
	if (rc != 0)
		gw_error_set(err, NULL, 0,
				"SA 0x%08x is on its way to worker %u, and gets there once all workers "
				"answer; \"show workers\" and the log say more",
				sa->prm.spi, worker);
	return rc;
}

/* Going */

/** What workers are to forget, as many at a time as a message holds. */
struct going {
	struct gw_gone gone[GW_GONE_MAX];
	unsigned int n;
	int rc; /* of all that was sent */
};

/** Workers have no outbound SAs of a tunnel any more, but those that could not be told. */
static void
note_none(struct gw *gw, struct gw_tunnel *t, const struct gw_msg m[], int rc)
{
	/* one that does not answer still has the message before it */
	for (unsigned int w = 0; w < gw->n_workers; w++)
		if (m[w].result == 0 || m[w].result == -ETIMEDOUT)
			t->out[w] = (struct gw_out){.owner = GW_NONE};
	t->owner = GW_NONE;
	t->unsettled = rc != 0;
	note_workers(gw, t);
}

static void
send_going(struct gw *gw, struct going *g)
{
	struct gw_msg m[GW_MAX_WORKERS];
	bool to[GW_MAX_WORKERS];
	int rc;

	for (unsigned int w = 0; w < gw->n_workers; w++) {
		m[w] = (struct gw_msg){.type = GW_MSG_GONE, .gone = g->gone, .n_gone = g->n};
		to[w] = true;
	}
	rc = gw_tell_each(gw, m, to);
	for (unsigned int i = 0; i < g->n; i++)
		if (g->gone[i].spi == 0)
			note_none(gw, &gw->tunnel[g->gone[i].tunnel], m, rc);
	g->n = 0;
	g->rc = worse(g->rc, rc);
}

static void
add_going(struct gw *gw, struct going *g, uint32_t spi, uint16_t tunnel)
{
	if (g->n == GW_GONE_MAX)
		send_going(gw, g);
	g->gone[g->n++] = (struct gw_gone){.spi = spi, .tunnel = tunnel};
}

static bool
any_usable(const struct gw_tunnel *t)
{
	for (unsigned int i = 0; i < t->n_sas; i++)
		if (gw_sa_is_usable(t->sas[i]))
			return true;
	return false;
}

int
gw_unplace(struct gw *gw, struct gw_sa *const sas[], unsigned int n)
{
	const struct gw_tunnel *last = NULL;
	struct going g;

	g.n = 0;
	g.rc = 0;
	for (unsigned int i = 0; i < n; i++) {
		struct gw_tunnel *t = &gw->tunnel[sas[i]->tunnel];

		if (sas[i]->prm.dir == IPSEC_PCPU_IN) {
			add_going(gw, &g, sas[i]->prm.spi, t->id);
			continue;
		}
		/* of a tunnel that is gone no worker has one; once is enough for many of one */
		if (t->out == NULL || t == last)
			continue;
		last = t;
		if (any_usable(t))
			g.rc = worse(g.rc, gw_place_outbound(gw, t));
		else
			add_going(gw, &g, 0, t->id);
	}
	/* also where nothing is left to be said */
	send_going(gw, &g);
	return g.rc;
}

/* The verb */

/** Is there anything on its way already, or a worker that would make us wait? */
static int
may_move(struct gw *gw, const struct gw_tunnel *t, const struct gw_sa *sa, uint16_t worker,
		struct gw_error *err)
{
	if (worker >= gw->n_workers) {
		if (gw->n_workers == 1)
			gw_error_set(err, NULL, 0, "there is no worker %u: there is worker 0 alone",
					worker);
		else
			gw_error_set(err, NULL, 0,
					"there is no worker %u: there are workers 0 to %u", worker,
					gw->n_workers - 1);
		return -EINVAL;
	}
	if (sa->move != GW_MOVE_NONE || (sa->prm.dir == IPSEC_PCPU_OUT && t->unsettled)) {
		gw_error_set(err, NULL, 0,
				"tunnel \"%s\": SAs are still on their way from worker to worker, as one "
				"does not answer; the log says which",
				t->cfg->name);
		return -EBUSY;
	}
	for (unsigned int w = 0; w < gw->n_workers; w++) {
		if (!gw_worker_is_late(gw, w))
			continue;
		gw_error_set(err, NULL, 0, "worker %u does not answer: nothing was moved", w);
		return -ETIMEDOUT;
	}
	return 0;
}

int
gw_sa_move(struct gw *gw, struct gw_tunnel *t, enum ipsec_pcpu_dir dir, uint32_t spi,
		uint16_t worker, struct gw_error *err)
{
	struct gw_sa *sa = gw_tunnel_sa(t, dir, spi, err);
	int rc;

	if (sa == NULL)
		return -ENOENT;
	rc = may_move(gw, t, sa, worker, err);
	if (rc != 0)
		return rc;
	return dir == IPSEC_PCPU_IN ? move_inbound(gw, sa, worker, err)
				    : move_outbound(gw, t, sa, worker, err);
}

/** All is as it should be, or it could be brought there. */
static void
settle(struct gw *gw, struct gw_tunnel *t)
{
	/* of those that were removed nothing is to be said */
	if (t->unsettled && gw_place_outbound(gw, t) == 0 && any_usable(t))
		GW_LOG(NOTICE, "tunnel %s: outbound SAs are where they should be again",
				t->cfg->name);
	for (unsigned int i = 0; i < t->n_sas; i++) {
		struct gw_sa *sa = t->sas[i];

		if (sa->move != GW_MOVE_NONE && move_on(gw, sa) == 0)
			GW_LOG(NOTICE, "tunnel %s: SA 0x%08x has come to worker %u", t->cfg->name,
					sa->prm.spi, sa->worker);
	}
}

void
gw_places_tick(struct gw *gw)
{
	/* a worker that does not answer would make us wait: not in a tick */
	if (gw_any_late(gw))
		return;
	for (unsigned int i = 0; i < gw->n_tunnels; i++)
		settle(gw, &gw->tunnel[i]);
	if (gw_any_late(gw))
		return;
	gw_views_reap(gw);
	gw_zombies_reap(gw);
}
