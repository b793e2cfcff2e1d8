/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Which worker an SA of IKE is for: that becomes its number (R5 to R8); and its source port (R15).
 * R numbers are those of docs/architecture.md, "Per-CPU SAs".
 */

#include <unistd.h>

#include "../log.h"
#include "ike_priv.h"

unsigned int
gw_ike_count(const struct gw_tunnel *t, enum ipsec_pcpu_dir dir, uint32_t pcpu)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < t->n_sas; i++)
		n += gw_ike_is_known(t->sas[i], dir) && t->sas[i]->prm.pcpu == pcpu;
	return n;
}

/** What a worker has of a tunnel in a direction; less counts what it is to get. */
static unsigned int
load(const struct gw_tunnel *t, enum ipsec_pcpu_dir dir, uint32_t worker)
{
	return 2 * gw_ike_count(t, dir, worker) + gw_ike_is_pending(t, worker);
}

/** R6. Of several the one that IKE hints at. */
static uint32_t
least_loaded(const struct gw *gw, const struct gw_tunnel *t, enum ipsec_pcpu_dir dir, uint32_t hint)
{
	uint32_t best = hint % gw->n_workers;

	for (uint32_t w = 0; w < gw->n_workers; w++)
		if (load(t, dir, w) < load(t, dir, best))
			best = w;
	return best;
}

/** The oldest with IKE's number of a CPU that has no successor yet: what is renewed first. */
static struct gw_sa *
oldest(const struct gw_tunnel *t, enum ipsec_pcpu_dir dir, uint32_t cpu)
{
	for (unsigned int i = 0; i < t->n_sas; i++)
		if (gw_ike_is_known(t->sas[i], dir) && t->sas[i]->ike->cpu == cpu &&
				!t->sas[i]->ike->renewed)
			return t->sas[i];
	return NULL;
}

struct gw_sa *
gw_ike_unpaired(const struct gw_tunnel *t, uint32_t cpu, bool initiator)
{
	for (unsigned int i = 0; i < t->n_sas; i++) {
		const struct gw_sa_ike *ike = t->sas[i]->ike;

		/* both sides may renew at once: the two exchanges differ in who began them */
		if (gw_ike_is_known(t->sas[i], IPSEC_PCPU_IN) && ike->cpu == cpu && !ike->paired &&
				ike->initiator == initiator)
			return t->sas[i];
	}
	return NULL;
}

/**
 * charon numbers what the peer asks for by its own CPUs, from the last to the first, then 0 for
 * all others: once each CPU has an SA, one more with 0 can be new, too.
 */
static bool
may_be_new(const struct gw_tunnel *t, const struct gw_ike_new_sa *sa)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned int n = 0;

	for (unsigned int i = 0; i < t->n_sas; i++)
		n += gw_ike_is_known(t->sas[i], sa->prm.dir) &&
				t->sas[i]->ike->cpu != IPSEC_PCPU_ANY && !t->sas[i]->ike->renewed;
	return !sa->initiator && sa->prm.pcpu == 0 && cpus > 0 && n >= (unsigned long)cpus;
}

uint32_t
gw_ike_choose_worker(const struct gw *gw, const struct gw_tunnel *t, const struct gw_ike_new_sa *sa)
{
	enum ipsec_pcpu_dir dir = sa->prm.dir;
	uint32_t cpu = sa->prm.pcpu, asked, least;
	const struct gw_sa *in = gw_ike_unpaired(t, cpu, sa->initiator), *old = oldest(t, dir, cpu);

	if (cpu == IPSEC_PCPU_ANY)
		return IPSEC_PCPU_ANY;
	if (dir == IPSEC_PCPU_OUT && in != NULL)
		return in->prm.pcpu;
	least = least_loaded(gw, t, dir, cpu);
	if (old != NULL)
		return may_be_new(t, sa) && gw_ike_count(t, dir, least) == 0 ? least
									     : old->prm.pcpu;
	asked = gw_ike_who_asked(gw, t, cpu);
	if (sa->initiator && asked != IPSEC_PCPU_ANY)
		return asked;
	/* charon has given this worker's number away: what it asked for does not come any more */
	return cpu < gw->n_workers && gw_ike_count(t, dir, cpu) == 0 ? cpu : least;
}

void
gw_ike_note_renewed(struct gw_tunnel *t, const struct gw_sa *sa)
{
	for (unsigned int i = 0; i < t->n_sas; i++) {
		struct gw_sa *old = t->sas[i];

		if (old != sa && old->prm.dir == sa->prm.dir && old->prm.pcpu == sa->prm.pcpu &&
				old->ike->cpu == sa->ike->cpu && !old->ike->renewed) {
			old->ike->renewed = true;
			return;
		}
	}
}

/** The newest with IKE's number of @p sa on a worker that has another besides. */
static struct gw_sa *
surplus(const struct gw_tunnel *t, const struct gw_sa *sa)
{
	struct gw_sa *found = NULL;

	for (unsigned int i = 0; i < t->n_sas; i++) {
		struct gw_sa *s = t->sas[i];

		if (s != sa && gw_ike_is_known(s, sa->prm.dir) && s->ike->cpu == sa->ike->cpu &&
				gw_ike_count(t, s->prm.dir, s->prm.pcpu) > 1)
			found = s;
	}
	return found;
}

void
gw_ike_fill_gap(struct gw *gw, struct gw_tunnel *t, const struct gw_sa *sa)
{
	uint32_t worker = sa->prm.pcpu;
	struct gw_error err = {{0}};
	struct gw_sa *next;
	int rc = 0;

	if (worker == IPSEC_PCPU_ANY || gw_ike_count(t, sa->prm.dir, worker) > 1)
		return;
	next = surplus(t, sa);
	if (next == NULL)
		return;
	for (unsigned int i = 0; i < t->n_sas; i++)
		if (t->sas[i] != next && t->sas[i]->prm.dir == next->prm.dir &&
				t->sas[i]->prm.pcpu == next->prm.pcpu)
			t->sas[i]->ike->renewed = false;
	next->prm.pcpu = worker;
	/* one that is where its SPI leads its packets stays there */
	if (next->prm.dir == IPSEC_PCPU_IN && !next->ike->by_spi)
		rc = gw_sa_move(gw, t, IPSEC_PCPU_IN, next->prm.spi, sa->worker, &err);
	else if (next->prm.dir == IPSEC_PCPU_OUT)
		next->placed = sa->placed; /* gw_sas_forget() places what is left */
	if (rc < 0)
		GW_LOG(WARNING, "tunnel %s: %s", t->cfg->name, err.text);
}

/* The source port (R15) */

static struct gw_sa *
predecessor(const struct gw_tunnel *t, uint32_t pcpu)
{
	for (unsigned int i = t->n_sas; i-- > 0;)
		if (t->sas[i]->prm.dir == IPSEC_PCPU_OUT && t->sas[i]->prm.pcpu == pcpu &&
				t->sas[i]->prm.encap_sport != 0)
			return t->sas[i];
	return NULL;
}

int
gw_ike_choose_sport(const struct gw_tunnel *t, struct gw_config_sa *csa, struct gw_error *err)
{
	const struct gw_sa *old = predecessor(t, csa->prm.pcpu);
	struct gw_port_set taken = {{0}};

	if (old != NULL) {
		csa->prm.encap_sport = old->prm.encap_sport;
		return 0;
	}
	for (unsigned int i = 0; i < t->n_sas; i++)
		if (t->sas[i]->prm.dir == IPSEC_PCPU_OUT)
			gw_port_set_add(&taken, t->sas[i]->prm.encap_sport);
	return gw_config_choose_sport(t->cfg, &taken, csa, err);
}
