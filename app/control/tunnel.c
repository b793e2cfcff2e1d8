/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Tunnels and SAs: the one place that makes and frees SAs. Which worker has which is
 * place.c's.
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

struct gw_sa *
gw_tunnel_sa(struct gw_tunnel *t, enum ipsec_pcpu_dir dir, uint32_t spi, struct gw_error *err)
{
	for (unsigned int i = 0; i < t->n_sas; i++)
		if (t->sas[i]->prm.dir == dir && t->sas[i]->prm.spi == spi)
			return t->sas[i];
	gw_error_set(err, NULL, 0, "tunnel \"%s\" has no %s SA 0x%08x; show tunnel %s",
			t->cfg->name, dir == IPSEC_PCPU_IN ? "inbound" : "outbound", spi,
			t->cfg->name);
	return NULL;
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
	free(sa->ike);
	free(sa);
}

/** The node of the worker that an SA is for; one that is moved later stays where it is. */
static int
node_of(const struct gw *gw, const struct gw_tunnel *t, const struct ipsec_pcpu_sa_params *prm)
{
	unsigned int number = prm->pcpu != IPSEC_PCPU_ANY ? prm->pcpu : t->id;
	const struct gw_worker *w = gw->worker[number % gw->n_workers].w;

	return w != NULL ? w->numa_node : SOCKET_ID_ANY;
}

/** An SA that no worker has yet; its reservation is in memory only. */
static struct gw_sa *
make_sa(struct gw *gw, struct gw_tunnel *t, const struct ipsec_pcpu_sa_params *prm,
		struct gw_sa_ike *ike, struct gw_error *err)
{
	struct gw_sa *sa = calloc(1, sizeof(*sa));
	int rc = -ENOMEM;

	if (sa == NULL) {
		free(ike);
		goto fail;
	}
	sa->ike = ike;
	sa->prm = *prm;
	sa->tunnel = t->id;
	sa->worker = sa->placed = sa->had = sa->steer_port = GW_NONE;
	sa->created = gw_now_ns();
	sa->number = gw->sa_number++;
	gw_reserve_id(gw->ctx, prm, sa->reserve_id);
	gw_reserve_key_id(gw->ctx, prm, sa->key_id);
	sa->sa = rte_zmalloc_socket(
			"gw_sa", ipsec_pcpu_sa_size(), RTE_CACHE_LINE_SIZE, node_of(gw, t, prm));
	if (sa->sa == NULL)
		goto fail;
	/* IKE makes a fresh key each time: it repeats no IV, whatever was before */
	if (ike != NULL)
		gw_sa_recall(gw, sa);
	else if (gw_sa_reserve(gw, sa, err) < 0)
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
append_sa(struct gw *gw, struct gw_tunnel *t, struct gw_sa *sa)
{
	struct gw_sa **sas = realloc(t->sas, (t->n_sas + 1) * sizeof(*sas));
	int rc;

	if (sas == NULL)
		return -ENOMEM;
	t->sas = sas;
	rc = gw_sa_index_add(&gw->sa_index, sa);
	if (rc < 0)
		return rc;
	t->sas[t->n_sas++] = sa;
	return 0;
}

int
gw_tunnel_open(struct gw *gw, struct gw_tunnel *t, const struct gw_config_tunnel *cfg)
{
	t->cfg = cfg;
	t->id = t - gw->tunnel;
	t->up = cfg->up;
	t->owner = GW_NONE;
	t->sel = calloc(RTE_MAX(cfg->n_selectors, 1u), sizeof(*t->sel));
	t->out = calloc(gw->n_workers, sizeof(*t->out));
	if (t->sel == NULL || t->out == NULL)
		return -ENOMEM;
	for (unsigned int i = 0; i < cfg->n_selectors; i++)
		gw_sel_compile(&t->sel[i], &cfg->selectors[i]);
	for (unsigned int w = 0; w < gw->n_workers; w++)
		t->out[w].owner = GW_NONE;
	return 0;
}

void
gw_tunnel_close(struct gw_tunnel *t)
{
	static const struct gw_config_tunnel none;

	free(t->sas);
	free(t->sel);
	free(t->out);
	*t = (struct gw_tunnel){.cfg = &none, .id = t->id, .owner = GW_NONE};
}

static int
make_tunnel(struct gw *gw, struct gw_tunnel *t, const struct gw_config_tunnel *cfg,
		struct gw_error *err)
{
	if (gw_tunnel_open(gw, t, cfg) < 0)
		return -ENOMEM;
	for (unsigned int i = 0; i < cfg->n_sas; i++) {
		struct gw_sa *sa = make_sa(gw, t, &cfg->sas[i].prm, NULL, err);

		if (sa == NULL)
			return -EINVAL;
		if (append_sa(gw, t, sa) < 0) {
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
							      : gw_place_inbound(gw, t, t->sas[i]);

		if (rc < 0) {
			gw_error_set(err, NULL, 0, "tunnel \"%s\": inbound SA 0x%08x: %s",
					t->cfg->name, t->sas[i]->prm.spi,
					rc == -ENOSPC ? "the SA table is full: raise max_sas"
						      : strerror(-rc));
			return rc;
		}
	}
	return gw_place_outbound(gw, t);
}

int
gw_tunnels_make(struct gw *gw, struct gw_error *err)
{
	int rc;

	gw_error_set(err, NULL, 0, "not enough memory for %u tunnels", gw->cfg.n_tunnels);
	gw->tunnel = calloc(RTE_MAX(gw_max_tunnels(&gw->cfg), 1u), sizeof(*gw->tunnel));
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
	gw_sa_index_free(&gw->sa_index);
	gw->tunnel = NULL;
	gw->n_tunnels = 0;
	for (unsigned int i = 0; i < gw->n_zombies; i++)
		free_sa(gw->zombies[i]);
	free(gw->zombies);
	gw->zombies = NULL;
	gw->n_zombies = gw->n_told = 0;
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
	/* of one that a worker may still send on; and its numbers are given back only then */
	for (unsigned int i = 0; i < gw->n_zombies; i++)
		if (memcmp(gw->zombies[i]->reserve_id, id, sizeof(id)) == 0) {
			gw_error_set(err, NULL, 0,
					"tunnel \"%s\": SA 0x%08x, which was removed, has the same key, and a worker that does not answer may still use it",
					t->cfg->name, gw->zombies[i]->prm.spi);
			return -EBUSY;
		}
	return 0;
}

bool
gw_sa_key_is_used(struct gw *gw, const struct ipsec_pcpu_sa_params *prm)
{
	uint8_t id[GW_RESERVE_ID_LEN];

	gw_reserve_id(gw->ctx, prm, id);
	return gw_sa_index_key(&gw->sa_index, id) != NULL;
}

/** An SA that is gone is no part of the configuration any more: its SPI may be used again. */
static void
forget_config(struct gw *gw, const struct gw_tunnel *t, const struct gw_sa *sa)
{
	struct gw_config_tunnel *cfg;

	if (t->ike != NULL)
		return;
	cfg = &gw->cfg.tunnels[t->id];
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
	int rc = gw_config_check_sa(&gw->cfg, t->cfg, csa, err);

	if (rc == 0)
		rc = check_running(gw, t, &csa->prm, err);
	return rc < 0 ? rc : gw_sa_install(gw, t, csa, NULL, 0, err);
}

int
gw_sa_install(struct gw *gw, struct gw_tunnel *t, const struct gw_config_sa *csa,
		struct gw_sa_ike *ike, uint64_t held, struct gw_error *err)
{
	struct gw_sa *sa = make_sa(gw, t, &csa->prm, ike, err);
	int rc;

	if (sa == NULL)
		return -EINVAL;
	sa->held = held;
	if (ike == NULL && gw->reserve != NULL && gw_reserve_commit(gw->reserve, err) < 0) {
		free_sa(sa);
		return -EIO;
	}
	if (append_sa(gw, t, sa) < 0) {
		free_sa(sa);
		gw_error_set(err, NULL, 0, "no memory");
		return -ENOMEM;
	}
	gw_place_successor(t, sa);
	rc = sa->prm.dir == IPSEC_PCPU_IN ? gw_place_inbound(gw, t, sa) : gw_place_outbound(gw, t);
	if (rc < 0 && rc != -ETIMEDOUT) {
		struct gw_error ignored;

		gw_sa_remove(gw, t, sa, &ignored);
		gw_error_set(err, NULL, 0, "SA 0x%08x cannot be installed: %s", csa->prm.spi,
				rc == -ENOSPC ? "the SA table is full: raise max_sas"
						: rc == -EEXIST ? "there is one of that SPI"
								: strerror(-rc));
		return rc;
	}
	gw_steering_add(gw, sa);
	if (gw_view_update_sas(gw, &sa, 1, err) < 0) {
		struct gw_error ignored;

		/* what is refused must not carry packets */
		gw_sa_remove(gw, t, sa, &ignored);
		return -ENOMEM;
	}
	if (rc == -ETIMEDOUT)
		gw_error_set(err, NULL, 0,
				"SA 0x%08x: a worker does not answer; the SA stays, installed as far "
				"as it got; \"show workers\" and the log say more",
				csa->prm.spi);
	return rc;
}

/** Where it stands in the list. */
static unsigned int
index_of(const struct gw_tunnel *t, const struct gw_sa *sa)
{
	unsigned int at = 0;

	while (t->sas[at] != sa)
		at++;
	return at;
}

int
gw_sa_may_take(struct gw *gw, struct gw_error *err)
{
	struct gw_sa **zombies = realloc(gw->zombies, (gw->n_zombies + 1) * sizeof(*zombies));

	if (zombies == NULL) {
		gw_error_set(err, NULL, 0, "no memory");
		return -ENOMEM;
	}
	gw->zombies = zombies;
	return 0;
}

int
gw_sa_take(struct gw *gw, struct gw_tunnel *t, struct gw_sa *sa, struct gw_error *err)
{
	unsigned int at = index_of(t, sa);
	int rc = gw_sa_may_take(gw, err);

	if (rc < 0)
		return rc;
	gw->zombies[gw->n_zombies++] = sa;
	gw_steering_del(gw, sa);
	gw_sa_index_del(&gw->sa_index, sa);
	memmove(&t->sas[at], &t->sas[at + 1], (t->n_sas - at - 1) * sizeof(*t->sas));
	t->n_sas--;
	if (sa->pair != NULL)
		sa->pair->pair = NULL;
	sa->pair = NULL;
	forget_config(gw, t, sa);
	return 0;
}

/** No worker has any more those that it was told of last. */
static void
free_told(struct gw *gw)
{
	while (gw->n_zombies > gw->n_told) {
		struct gw_sa *sa = gw->zombies[--gw->n_zombies];

		if (sa->ike == NULL)
			gw_sa_release(gw, sa);
		free_sa(sa);
	}
}

static void
explain_kept(const struct gw_sa *sa, unsigned int n, int rc, struct gw_error *err)
{
	const char *why = rc == -ETIMEDOUT ? "a worker does not answer and may still use it"
					   : strerror(-rc);

	if (n == 1)
		gw_error_set(err, NULL, 0,
				"SA 0x%08x is removed, but %s: its memory is kept until it does",
				sa->prm.spi, why);
	else
		gw_error_set(err, NULL, 0,
				"SA 0x%08x and %u more are removed, but %s: their memory is kept "
				"until it does",
				sa->prm.spi, n - 1, why);
}

int
gw_sas_forget(struct gw *gw, struct gw_error *err)
{
	struct gw_sa *const *sas = gw->zombies + gw->n_told;
	unsigned int n = gw->n_zombies - gw->n_told;
	struct gw_error of_view;
	int rc, rc_view;

	if (n == 0)
		return 0;
	rc = gw_unplace(gw, sas, n);
	rc_view = gw_view_update_sas(gw, sas, n, &of_view);
	if (rc < 0) {
		/* a worker may still send on them: neither memory nor numbers are free */
		explain_kept(sas[0], n, rc, err);
		gw->n_told = gw->n_zombies;
		return rc;
	}
	free_told(gw);
	*err = of_view;
	return rc_view;
}

int
gw_sa_remove(struct gw *gw, struct gw_tunnel *t, struct gw_sa *sa, struct gw_error *err)
{
	int rc = gw_sa_take(gw, t, sa, err);

	return rc < 0 ? rc : gw_sas_forget(gw, err);
}

int
gw_sa_del(struct gw *gw, struct gw_tunnel *t, enum ipsec_pcpu_dir dir, uint32_t spi,
		struct gw_error *err)
{
	struct gw_sa *sa = gw_tunnel_sa(t, dir, spi, err);

	return sa == NULL ? -ENOENT : gw_sa_remove(gw, t, sa, err);
}

bool
gw_inbound_has(const struct gw *gw, uint32_t spi)
{
	const struct gw_sa *sa = gw_sa_index_spi(&gw->sa_index, spi);

	while (sa != NULL && sa->prm.dir != IPSEC_PCPU_IN)
		sa = gw_sa_index_next(sa);
	return sa != NULL;
}

void
gw_zombies_reap(struct gw *gw)
{
	unsigned int n = 0;

	if (gw->n_zombies == 0 || gw_any_late(gw))
		return;
	/* they are told again, as one may not have been; not where an SPI is another's by now */
	for (unsigned int i = 0; i < gw->n_zombies; i++) {
		struct gw_sa *sa = gw->zombies[i];

		if (sa->prm.dir != IPSEC_PCPU_IN || !gw_inbound_has(gw, sa->prm.spi))
			continue;
		gw->zombies[i] = gw->zombies[n];
		gw->zombies[n++] = sa;
	}
	gw->n_told = n;
	if (n < gw->n_zombies && gw_unplace(gw, gw->zombies + n, gw->n_zombies - n) == 0)
		free_told(gw);
	gw->n_told = gw->n_zombies;
}
