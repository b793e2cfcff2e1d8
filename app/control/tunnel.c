/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Tunnels and SAs: the one place that makes and frees SAs and says which worker
 * has which. R numbers are those of docs/architecture.md, "Per-CPU SAs".
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <rte_malloc.h>

#include "../log.h"
#include "control_priv.h"

struct gw_tunnel *
gw_tunnel_find(struct gw *gw, const char *name)
{
	for (unsigned int i = 0; i < gw->n_tunnels; i++)
		if (strcmp(gw->tunnel[i].cfg->name, name) == 0)
			return &gw->tunnel[i];
	return NULL;
}

struct gw_sa *
gw_sa_find(struct gw *gw, uint32_t spi)
{
	for (unsigned int t = 0; t < gw->n_tunnels; t++)
		for (unsigned int i = 0; i < gw->tunnel[t].n_sas; i++)
			if (gw->tunnel[t].sas[i]->prm.spi == spi)
				return gw->tunnel[t].sas[i];
	return NULL;
}

/* Which worker has which SA */

/**
 * The fallback SA is worked by a worker that has no SA of its own, if there is
 * one: the others are busy with theirs. Spread over tunnels. Once it is
 * somewhere, it and its successors stay there (R5): a move would leave packets
 * that are on their way to the worker that had it with nobody to encrypt them.
 */
static uint16_t
fallback_worker(const struct gw *gw, const struct gw_tunnel *t)
{
	bool has_own[GW_MAX_WORKERS] = {false};
	uint16_t first = t->id % gw->n_workers;

	for (unsigned int w = 0; w < gw->n_workers; w++)
		if (t->out[w].fallback != NULL)
			return w;
	for (unsigned int i = 0; i < t->n_sas; i++) {
		const struct ipsec_pcpu_sa_params *prm = &t->sas[i]->prm;

		if (prm->dir == IPSEC_PCPU_OUT && prm->pcpu != IPSEC_PCPU_ANY)
			has_own[prm->pcpu % gw->n_workers] = true;
	}
	for (unsigned int i = 0; i < gw->n_workers; i++)
		if (!has_own[(first + i) % gw->n_workers])
			return (first + i) % gw->n_workers;
	return first;
}

/**
 * An inbound SA: on the worker of its number (R2: the peer may have more CPUs than we have
 * workers).
 */
static uint16_t
inbound_worker(const struct gw *gw, const struct gw_tunnel *t,
		const struct ipsec_pcpu_sa_params *prm)
{
	return prm->pcpu == IPSEC_PCPU_ANY ? fallback_worker(gw, t) : prm->pcpu % gw->n_workers;
}

/**
 * The outbound SA of a worker's own (R4: the newest of its number). One with a
 * number beyond our workers serves the worker that its number falls on, if that
 * has no other.
 */
static struct gw_sa *
own_sa(const struct gw *gw, const struct gw_tunnel *t, unsigned int worker)
{
	struct gw_sa *exact = NULL;
	struct gw_sa *beyond = NULL;

	for (unsigned int i = 0; i < t->n_sas; i++) {
		uint32_t pcpu = t->sas[i]->prm.pcpu;

		if (t->sas[i]->prm.dir != IPSEC_PCPU_OUT || pcpu == IPSEC_PCPU_ANY)
			continue;
		if (pcpu == worker)
			exact = t->sas[i];
		else if (pcpu % gw->n_workers == worker)
			beyond = t->sas[i];
	}
	return exact != NULL ? exact : beyond;
}

static struct gw_sa *
fallback_sa(const struct gw_tunnel *t)
{
	struct gw_sa *newest = NULL;

	for (unsigned int i = 0; i < t->n_sas; i++)
		if (t->sas[i]->prm.dir == IPSEC_PCPU_OUT && t->sas[i]->prm.pcpu == IPSEC_PCPU_ANY)
			newest = t->sas[i];
	return newest;
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

static int
tell_out(struct gw *gw, struct gw_tunnel *t, unsigned int worker, const struct gw_out *out)
{
	struct gw_msg m = {.type = GW_MSG_SA_OUT, .tunnel = t->id, .owner = out->owner};
	int rc;

	m.sa = out->own == NULL ? NULL : out->own->sa;
	m.fallback = out->fallback == NULL ? NULL : out->fallback->sa;
	rc = gw_tell(gw, worker, &m);
	/* a worker that does not answer still has the message before it */
	if (rc == 0 || rc == -ETIMEDOUT)
		t->out[worker] = *out;
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

/**
 * Bring all workers to the plan, each with one message: an SA's successor takes
 * its place between two bursts. No SA has two owners at any time, as none ever
 * changes its worker. Who encrypts for others is ready before they know, and
 * who did so until now is told last.
 */
static int
apply_plan(struct gw *gw, struct gw_tunnel *t)
{
	struct gw_out want[GW_MAX_WORKERS] = {0};
	uint16_t before = t->out[0].owner;
	uint16_t after = plan(gw, t, want);
	int rc = 0;

	if (after != GW_NONE && !out_equal(&t->out[after], &want[after]))
		rc = tell_out(gw, t, after, &want[after]);
	for (unsigned int w = 0; w < gw->n_workers && rc == 0; w++)
		if (w != before && !out_equal(&t->out[w], &want[w]))
			rc = tell_out(gw, t, w, &want[w]);
	if (rc == 0 && before != GW_NONE && !out_equal(&t->out[before], &want[before]))
		rc = tell_out(gw, t, before, &want[before]);
	note_workers(gw, t);
	return rc;
}

/** Of two answers: that of a worker that may still come to its message, else the first error. */
static int
worse(int a, int b)
{
	if (a == -ETIMEDOUT || b == -ETIMEDOUT)
		return -ETIMEDOUT;
	return a != 0 ? a : b;
}

static int
tell_sad(struct gw *gw, unsigned int worker, const struct gw_msg *msg, struct ipsec_pcpu_sa *sa)
{
	struct gw_msg m = *msg;

	m.sa = sa;
	return gw_tell(gw, worker, &m);
}

static int
install_inbound(struct gw *gw, struct gw_tunnel *t, struct gw_sa *sa)
{
	struct gw_msg m = {.type = GW_MSG_SAD_ADD, .spi = sa->prm.spi, .tunnel = t->id};
	int rc = 0;

	sa->worker = inbound_worker(gw, t, &sa->prm);
	m.owner = sa->worker;
	for (unsigned int w = 0; w < gw->n_workers && (rc == 0 || rc == -ETIMEDOUT); w++)
		rc = worse(rc, tell_sad(gw, w, &m, w == sa->worker ? sa->sa : NULL));
	return rc;
}

/** 0: no worker has it any more. */
static int
remove_inbound(struct gw *gw, struct gw_sa *sa)
{
	const struct gw_msg m = {.type = GW_MSG_SAD_DEL, .spi = sa->prm.spi};
	int rc = 0;

	for (unsigned int w = 0; w < gw->n_workers; w++) {
		int one = tell_sad(gw, w, &m, NULL);

		if (one != -ENOENT) /* of one that was installed in part */
			rc = worse(rc, one);
	}
	return rc;
}

/**
 * The same of an outbound SA that is in no list any more. All workers are told
 * again what they have: one that answers has handled all that came before, also
 * what it did not answer in time.
 */
static int
remove_outbound(struct gw *gw, struct gw_tunnel *t)
{
	int rc = apply_plan(gw, t);

	for (unsigned int w = 0; w < gw->n_workers && rc == 0; w++)
		rc = tell_out(gw, t, w, &t->out[w]);
	return rc;
}

/* Making and freeing */

static void
free_sa(struct gw_sa *sa)
{
	if (sa == NULL)
		return;
	if (sa->sa != NULL)
		ipsec_pcpu_sa_fini(sa->sa);
	rte_free(sa->sa);
	explicit_bzero(&sa->prm, sizeof(sa->prm));
	free(sa);
}

/** An SA that no worker has yet; its reservation is in memory only. */
static struct gw_sa *
make_sa(struct gw *gw, struct gw_tunnel *t, const struct ipsec_pcpu_sa_params *prm,
		struct gw_error *err)
{
	struct gw_sa *sa = calloc(1, sizeof(*sa));
	int rc = -ENOMEM;

	if (sa == NULL)
		goto fail;
	sa->prm = *prm;
	sa->tunnel = t->id;
	sa->worker = GW_NONE;
	sa->created = gw_now_ns();
	sa->number = gw->sa_number++;
	gw_reserve_id(gw->ctx, prm, sa->reserve_id);
	gw_reserve_key_id(gw->ctx, prm, sa->key_id);
	sa->sa = rte_zmalloc("gw_sa", ipsec_pcpu_sa_size(), RTE_CACHE_LINE_SIZE);
	if (sa->sa == NULL)
		goto fail;
	if (gw_sa_reserve(gw, sa, err) < 0)
		goto refused;
	rc = ipsec_pcpu_sa_init(gw->ctx, sa->sa, &sa->prm);
	if (rc < 0)
		goto fail;
	explicit_bzero(sa->prm.key, sizeof(sa->prm.key));
	return sa;
fail:
	gw_error_set(err, NULL, 0, "tunnel \"%s\": SA 0x%08x cannot be made: %s", t->cfg->name,
			prm->spi,
			rc == -ENOMEM ? "no memory: give EAL more (-m, hugepages)" : strerror(-rc));
refused:
	free_sa(sa);
	return NULL;
}

static int
append_sa(struct gw_tunnel *t, struct gw_sa *sa)
{
	struct gw_sa **sas = realloc(t->sas, (t->n_sas + 1) * sizeof(*sas));

	if (sas == NULL)
		return -ENOMEM;
	t->sas = sas;
	t->sas[t->n_sas++] = sa;
	return 0;
}

static int
make_tunnel(struct gw *gw, struct gw_tunnel *t, const struct gw_config_tunnel *cfg,
		struct gw_error *err)
{
	t->cfg = cfg;
	t->id = t - gw->tunnel;
	t->up = cfg->up;
	t->sel = calloc(RTE_MAX(cfg->n_selectors, 1u), sizeof(*t->sel));
	t->out = calloc(gw->n_workers, sizeof(*t->out));
	if (t->sel == NULL || t->out == NULL)
		return -ENOMEM;
	for (unsigned int i = 0; i < cfg->n_selectors; i++)
		gw_sel_compile(&t->sel[i], &cfg->selectors[i]);
	for (unsigned int w = 0; w < gw->n_workers; w++)
		t->out[w].owner = GW_NONE;
	for (unsigned int i = 0; i < cfg->n_sas; i++) {
		struct gw_sa *sa = make_sa(gw, t, &cfg->sas[i].prm, err);

		if (sa == NULL)
			return -EINVAL;
		if (append_sa(t, sa) < 0) {
			free_sa(sa);
			return -ENOMEM;
		}
		explicit_bzero(cfg->sas[i].prm.key, sizeof(cfg->sas[i].prm.key));
	}
	return 0;
}

static int
install_tunnel(struct gw *gw, struct gw_tunnel *t, struct gw_error *err)
{
	for (unsigned int i = 0; i < t->n_sas; i++) {
		int rc = t->sas[i]->prm.dir == IPSEC_PCPU_OUT ? 0
							      : install_inbound(gw, t, t->sas[i]);

		if (rc < 0) {
			gw_error_set(err, NULL, 0, "tunnel \"%s\": inbound SA 0x%08x: %s",
					t->cfg->name, t->sas[i]->prm.spi,
					rc == -ENOSPC ? "the SA table is full: raise max_sas"
						      : strerror(-rc));
			return rc;
		}
	}
	return apply_plan(gw, t);
}

int
gw_tunnels_make(struct gw *gw, struct gw_error *err)
{
	int rc;

	gw_error_set(err, NULL, 0, "not enough memory for %u tunnels", gw->cfg.n_tunnels);
	gw->tunnel = calloc(RTE_MAX(gw->cfg.n_tunnels, 1u), sizeof(*gw->tunnel));
	if (gw->tunnel == NULL)
		return -ENOMEM;
	for (unsigned int i = 0; i < gw->cfg.n_tunnels; i++) {
		gw->n_tunnels = i + 1;
		rc = make_tunnel(gw, &gw->tunnel[i], &gw->cfg.tunnels[i], err);
		if (rc < 0) {
			/* no key was used: the file stays as it was */
			gw_reserve_close(gw->reserve);
			gw->reserve = NULL;
			return rc;
		}
	}
	/* on the disk before the first packet */
	if (gw->reserve != NULL) {
		rc = gw_reserve_commit(gw->reserve, err);
		if (rc < 0)
			return rc;
	}
	for (unsigned int i = 0; i < gw->n_tunnels; i++) {
		rc = install_tunnel(gw, &gw->tunnel[i], err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

void
gw_tunnels_free(struct gw *gw)
{
	for (unsigned int t = 0; t < gw->n_tunnels; t++) {
		for (unsigned int i = 0; i < gw->tunnel[t].n_sas; i++)
			free_sa(gw->tunnel[t].sas[i]);
		free(gw->tunnel[t].sas);
		free(gw->tunnel[t].sel);
		free(gw->tunnel[t].out);
	}
	free(gw->tunnel);
	gw->tunnel = NULL;
	gw->n_tunnels = 0;
	for (unsigned int i = 0; i < gw->n_zombies; i++)
		free_sa(gw->zombies[i]);
	free(gw->zombies);
	gw->zombies = NULL;
	gw->n_zombies = 0;
}

/* The verbs */

int
gw_tunnel_set_up(struct gw *gw, const char *name, bool up, struct gw_error *err)
{
	struct gw_tunnel *t = gw_tunnel_find(gw, name);
	bool before;
	int rc;

	if (t == NULL) {
		gw_error_set(err, NULL, 0, "there is no tunnel \"%s\"; show tunnels lists them",
				name);
		return -ENOENT;
	}
	before = t->up;
	t->up = up;
	rc = gw_view_update(gw, err);
	if (rc < 0)
		t->up = before;
	return rc;
}

/** Does a running SA rule a new one out? Keys are known by their hash only. */
static const char *
clash(const struct gw_tunnel *t, const struct gw_tunnel *other, const struct gw_sa *sa,
		const struct ipsec_pcpu_sa_params *prm, const uint8_t *id)
{
	bool same_peer = gw_addr_equal(&t->cfg->remote, &other->cfg->remote);

	if (memcmp(sa->reserve_id, id, GW_RESERVE_ID_LEN) == 0)
		return "has the same key: two SAs with one key repeat IVs";
	if (t == other && gw_config_same_ports(&sa->prm, prm))
		return "has the same UDP ports: per-CPU SAs want a source port each";
	if (sa->prm.dir != prm->dir || sa->prm.spi != prm->spi)
		return NULL;
	if (prm->dir == IPSEC_PCPU_IN)
		return "has the same inbound SPI";
	return same_peer ? "has the same SPI towards the same peer" : NULL;
}

/** What gw_config_check_sa() cannot know: SAs that came later, and keys wiped since. */
static int
check_running(struct gw *gw, const struct gw_tunnel *t, const struct ipsec_pcpu_sa_params *prm,
		struct gw_error *err)
{
	uint8_t id[GW_RESERVE_ID_LEN];

	gw_reserve_id(gw->ctx, prm, id);
	for (unsigned int k = 0; k < gw->n_tunnels; k++) {
		const struct gw_tunnel *other = &gw->tunnel[k];

		for (unsigned int i = 0; i < other->n_sas; i++) {
			const char *why = clash(t, other, other->sas[i], prm, id);

			if (why == NULL)
				continue;
			gw_error_set(err, NULL, 0, "tunnel \"%s\": SA 0x%08x of tunnel \"%s\" %s",
					t->cfg->name, other->sas[i]->prm.spi, other->cfg->name,
					why);
			return -EEXIST;
		}
	}
	return 0;
}

/** An SA that is gone is no part of the configuration any more: its SPI may be used again. */
static void
forget_config(struct gw *gw, const struct gw_tunnel *t, const struct gw_sa *sa)
{
	struct gw_config_tunnel *cfg = &gw->cfg.tunnels[t->id];

	for (unsigned int i = 0; i < cfg->n_sas; i++) {
		if (cfg->sas[i].prm.dir != sa->prm.dir || cfg->sas[i].prm.spi != sa->prm.spi)
			continue;
		cfg->n_sas--;
		memmove(&cfg->sas[i], &cfg->sas[i + 1], (cfg->n_sas - i) * sizeof(cfg->sas[0]));
		return;
	}
}

int
gw_sa_add(struct gw *gw, struct gw_tunnel *t, const struct gw_config_sa *csa, struct gw_error *err)
{
	struct gw_sa *sa;
	int rc = gw_config_check_sa(&gw->cfg, t->cfg, csa, err);

	if (rc == 0)
		rc = check_running(gw, t, &csa->prm, err);
	if (rc < 0)
		return rc;
	sa = make_sa(gw, t, &csa->prm, err);
	if (sa == NULL)
		return -EINVAL;
	if (gw->reserve != NULL && gw_reserve_commit(gw->reserve, err) < 0) {
		free_sa(sa);
		return -EIO;
	}
	if (append_sa(t, sa) < 0) {
		free_sa(sa);
		gw_error_set(err, NULL, 0, "no memory");
		return -ENOMEM;
	}
	rc = sa->prm.dir == IPSEC_PCPU_IN ? install_inbound(gw, t, sa) : apply_plan(gw, t);
	if (rc == -ETIMEDOUT) {
		gw_error_set(err, NULL, 0,
				"SA 0x%08x: a worker does not answer; the SA stays, installed as far "
				"as it got; \"show workers\" and the log say more",
				csa->prm.spi);
		return rc;
	}
	if (rc < 0) {
		struct gw_error ignored;

		gw_sa_del(gw, t, sa->prm.dir, sa->prm.spi, &ignored);
		gw_error_set(err, NULL, 0, "SA 0x%08x cannot be installed: %s", csa->prm.spi,
				rc == -ENOSPC ? "the SA table is full: raise max_sas"
						: rc == -EEXIST ? "there is one of that SPI"
								: strerror(-rc));
		return rc;
	}
	return gw_view_update(gw, err);
}

int
gw_sa_del(struct gw *gw, struct gw_tunnel *t, enum ipsec_pcpu_dir dir, uint32_t spi,
		struct gw_error *err)
{
	struct gw_sa **zombies, *sa = NULL;
	unsigned int at;
	int rc;

	for (at = 0; at < t->n_sas; at++) {
		sa = t->sas[at];
		if (sa->prm.dir == dir && sa->prm.spi == spi)
			break;
	}
	if (at == t->n_sas) {
		gw_error_set(err, NULL, 0, "tunnel \"%s\" has no %s SA 0x%08x; show tunnel %s",
				t->cfg->name, dir == IPSEC_PCPU_IN ? "inbound" : "outbound", spi,
				t->cfg->name);
		return -ENOENT;
	}
	zombies = realloc(gw->zombies, (gw->n_zombies + 1) * sizeof(*zombies));
	if (zombies == NULL) {
		gw_error_set(err, NULL, 0, "no memory");
		return -ENOMEM;
	}
	gw->zombies = zombies;
	memmove(&t->sas[at], &t->sas[at + 1], (t->n_sas - at - 1) * sizeof(*t->sas));
	t->n_sas--;
	rc = dir == IPSEC_PCPU_IN ? remove_inbound(gw, sa) : remove_outbound(gw, t);
	forget_config(gw, t, sa);
	if (rc < 0) {
		/* a worker may still send on it: neither memory nor numbers are free */
		gw->zombies[gw->n_zombies++] = sa;
		gw_error_set(err, NULL, 0,
				"SA 0x%08x is removed, but %s: its memory is kept until the gateway "
				"ends",
				spi,
				rc == -ETIMEDOUT ? "a worker does not answer and may still use it"
						 : strerror(-rc));
		return rc;
	}
	gw_sa_release(gw, sa);
	free_sa(sa);
	return gw_view_update(gw, err);
}
