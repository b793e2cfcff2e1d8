/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Inbound SPIs of IKE. Where the NIC spreads plain ESP by its SPI (app/steer/steer_esp.c), one is
 * given out that lands on a worker which is to have one more SA of the peer; random in all else.
 *
 * charon does not say what an SPI is for: an SA for a CPU, the fallback or a renewal. What is
 * known is who the peer is, what it has, what was given out to it and is not used yet, who has
 * asked for an SA, and whose time is over. A wrong guess does no harm that lasts: the SA's number
 * is what it would have been, its packets come where it is, and the next SPI is given out by what
 * there is then.
 */

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "ike_priv.h"

/** As strongSwan's kernel interfaces: Linux's tools and people know them by their beginning. */
#define SPI_FIRST UINT32_C(0xc0000000)
#define SPI_MASK UINT32_C(0x0fffffff)
#define SPI_NS (165 * GW_NS_PER_S)
/** Of 64 workers one gets by so many draws what it is to get, but for once in ten million. */
#define MAX_DRAWN 1024
#define DRAWN_AT_ONCE 64 /* as many bytes as getrandom() gives without waiting */

/* Those given out */

static struct gw_ike_spi *
find_spi(struct gw_ike *ike, uint32_t spi)
{
	for (unsigned int i = 0; i < ike->n_spis; i++)
		if (ike->spi[i].spi == spi)
			return &ike->spi[i];
	return NULL;
}

static struct gw_ike_spi *
spi_place(struct gw_ike *ike, uint64_t now)
{
	for (unsigned int i = 0; i < ike->n_spis; i++)
		if (ike->spi[i].spi == 0 || ike->spi[i].until <= now)
			return &ike->spi[i];
	return ike->n_spis < GW_IKE_MAX_SPIS ? &ike->spi[ike->n_spis] : NULL;
}

bool
gw_ike_spi_free(struct gw_ike *ike, uint32_t spi)
{
	struct gw_ike_spi *s = find_spi(ike, spi);

	if (s == NULL)
		return false;
	*s = (struct gw_ike_spi){0};
	while (ike->n_spis > 0 && ike->spi[ike->n_spis - 1].spi == 0)
		ike->n_spis--;
	return true;
}

/* A worker for an SPI */

/** What a worker has, or is to get. */
struct load {
	bool reached; /* packets can land there */
	bool asked; /* for an SA with the peer that has not come yet */
	unsigned int own; /* SAs for CPUs of the peer's, and SPIs given out to it */
	unsigned int fallback; /* of the peer's */
	unsigned int all; /* of whoever */
	uint64_t oldest; /* number of the oldest SA of the peer's */
};

struct choice {
	struct ipsec_pcpu_tuple tuple; /* of the packets */
	uint16_t port; /* that they come in by; GW_NONE: not known, or there is no choice */
	uint16_t worker; /* GW_NONE: none */
	bool plain; /* there is plain ESP that can be learned from */
	const struct gw_sa *due; /* that of the peer's which is renewed next; NULL: not known */
	const struct gw_sa *newest; /* that of the peer's which packets were seen of */
	struct load load[GW_MAX_WORKERS];
};

static bool
is_from(const struct gw_sa *sa, const struct gw_addr *peer)
{
	struct gw_addr src = {sa->prm.family, sa->prm.saddr};

	return gw_addr_equal(&src, peer);
}

/** charon was told that its end is near, or knows by its own clock. */
static bool
is_due(const struct gw_sa *sa, uint64_t now)
{
	return sa->ike->soft_said || (sa->pair != NULL && sa->pair->ike->soft_said) ||
			(sa->ike->soft_s != 0 &&
					(now - sa->created) / GW_NS_PER_S >= sa->ike->soft_s);
}

/** Was an SPI given out for its successor? */
static bool
has_next(const struct gw_ike *ike, const struct gw_sa *sa, uint64_t now)
{
	for (unsigned int i = 0; i < ike->n_spis; i++)
		if (ike->spi[i].spi != 0 && ike->spi[i].until > now &&
				ike->spi[i].renews == sa->prm.spi)
			return true;
	return false;
}

/** One of the peer's that charon knows. What has a successor is about to go. */
static void
count_known(const struct gw *gw, struct choice *c, const struct gw_sa *sa, uint64_t now)
{
	struct load *l = &c->load[sa->worker];

	if (sa->steer != NULL && sa->steer->seen &&
			(c->newest == NULL || sa->number > c->newest->number))
		c->newest = sa;
	if (sa->ike->renewed)
		return;
	if (sa->ike->cpu == IPSEC_PCPU_ANY)
		l->fallback++;
	else
		l->own++;
	l->oldest = RTE_MIN(l->oldest, sa->number);
	if ((c->due == NULL || sa->number < c->due->number) && is_due(sa, now) &&
			!has_next(gw->ike, sa, now))
		c->due = sa;
}

static void
count_tunnel(const struct gw *gw, struct choice *c, const struct gw_tunnel *t,
		const struct gw_addr *peer, uint64_t now)
{
	for (unsigned int i = 0; i < t->n_sas; i++) {
		const struct gw_sa *sa = t->sas[i];

		if (sa->prm.dir != IPSEC_PCPU_IN || sa->worker >= gw->n_workers)
			continue;
		c->plain |= sa->prm.encap_dport == 0 && sa->prm.family == peer->family;
		c->load[sa->worker].all++;
		if (sa->ike != NULL && !sa->ike->stale && is_from(sa, peer))
			count_known(gw, c, sa, now);
	}
	if (t->ike == NULL || !gw_addr_equal(&t->cfg->remote, peer))
		return;
	for (unsigned int w = 0; w < gw->n_workers; w++)
		c->load[w].asked |= gw_ike_is_pending(t, w);
}

/** Those that were given out: but one for a renewal adds nothing to what there is. */
static void
count_given_out(const struct gw *gw, struct choice *c, const struct gw_addr *peer, uint64_t now)
{
	for (unsigned int i = 0; i < gw->ike->n_spis; i++) {
		const struct gw_ike_spi *s = &gw->ike->spi[i];

		if (s->spi == 0 || s->until <= now || s->worker == GW_NONE || s->renews != 0)
			continue;
		c->load[s->worker].all++;
		c->load[s->worker].own += gw_addr_equal(&s->peer, peer);
	}
}

/**
 * Is a worker a better one than another? First that the peer's SAs are spread; of equals one
 * that has asked, as it has none. Where each has one already it may well be a renewal that the
 * peer asks for: of the oldest, if its SAs live equally long.
 */
static bool
is_better(const struct load *a, const struct load *b)
{
	if (a->own != b->own)
		return a->own < b->own;
	if (a->asked != b->asked)
		return a->asked;
	if (a->own == 0 && a->fallback != b->fallback)
		return a->fallback < b->fallback;
	if (a->own != 0 && a->oldest != b->oldest)
		return a->oldest < b->oldest;
	return a->all < b->all;
}

/** The worker of what is renewed, but not where there are two already and others have none. */
static uint16_t
choose_worker(const struct gw *gw, const struct choice *c)
{
	const struct load *best = NULL;

	for (unsigned int w = 0; w < gw->n_workers; w++)
		if (c->load[w].reached && (best == NULL || is_better(&c->load[w], best)))
			best = &c->load[w];
	if (best == NULL)
		return GW_NONE;
	if (c->due != NULL && c->load[c->due->worker].reached &&
			c->load[c->due->worker].own <= best->own + 1)
		return c->due->worker;
	return (uint16_t)(best - c->load);
}

static void
find_reached(const struct gw_steer_port *sp, struct choice *c)
{
	for (unsigned int i = 0; i < sp->rss.reta_size; i++)
		if (sp->rss.reta[i] < GW_MAX_WORKERS)
			c->load[sp->rss.reta[i]].reached = true;
}

static void
choose(struct gw *gw, const struct gw_addr *peer, const struct gw_addr *local, struct choice *c)
{
	uint64_t now = gw_now_ns();
	const struct gw_steer_port *sp;

	*c = (struct choice){.tuple = {.family = peer->family, .saddr = peer->a, .daddr = local->a},
			.worker = GW_NONE};
	for (unsigned int w = 0; w < gw->n_workers; w++)
		c->load[w].oldest = UINT64_MAX;
	for (unsigned int i = 0; i < gw->n_tunnels; i++)
		count_tunnel(gw, c, &gw->tunnel[i], peer, now);
	count_given_out(gw, c, peer, now);
	if (c->newest != NULL && c->newest->prm.encap_dport != 0)
		return; /* in UDP it is ports that spread */
	c->port = c->newest != NULL ? c->newest->steer_port : gw_steering_port_to(gw, local);
	sp = c->port != GW_NONE ? gw_steering_port(gw, c->port) : NULL;
	if (sp == NULL)
		return;
	/* an exchange of IKE ago there may have been nothing to learn from */
	if (c->plain && gw_steer_esp_is_open(sp, peer->family))
		gw_steering_look(gw);
	find_reached(sp, c);
	c->worker = choose_worker(gw, c);
}

/* The verbs */

static bool
is_taken(const struct gw *gw, uint32_t spi)
{
	return gw_inbound_has(gw, spi) || find_spi(gw->ike, spi) != NULL;
}

/** The next that lands where it is to; else any, for no worker. */
static uint32_t
next_for(const struct gw *gw, struct choice *c, uint32_t start)
{
	const struct ipsec_pcpu_range range = {
			.start = start, .min = SPI_FIRST, .max = SPI_FIRST | SPI_MASK};
	uint32_t found = gw_steer_esp_find(
			gw_steering_port(gw, c->port), &c->tuple, c->worker, &range);

	if (found == 0)
		c->worker = GW_NONE;
	return found != 0 ? found : start;
}

/**
 * One at random. By lot until it lands where it is to: then one of those that do is as likely as
 * another, while the next one from a random start is often one of a few in some hundreds, those
 * that have a gap before them. But a worker that has hardly an entry of the table is not to take
 * us all day.
 */
static int
draw(const struct gw *gw, struct choice *c, uint32_t *spi, struct gw_error *err)
{
	uint32_t lot[DRAWN_AT_ONCE];
	uint16_t queue = GW_NONE;

	for (unsigned int i = 0; i < MAX_DRAWN; i++) {
		if (i % DRAWN_AT_ONCE == 0 && getrandom(lot, sizeof(lot), 0) != sizeof(lot)) {
			gw_error_set(err, NULL, 0, "no random number: %s", strerror(errno));
			return -EIO;
		}
		*spi = SPI_FIRST | (lot[i % DRAWN_AT_ONCE] & SPI_MASK);
		if (c->worker != GW_NONE &&
				!gw_steer_esp_queue(gw_steering_port(gw, c->port), &c->tuple, *spi,
						&queue))
			c->worker = GW_NONE;
		if (c->worker == GW_NONE || queue == c->worker)
			return 0;
	}
	*spi = next_for(gw, c, *spi);
	return 0;
}

int
gw_ike_alloc_spi(struct gw *gw, const struct gw_addr *peer, const struct gw_addr *local,
		uint32_t *spi, struct gw_error *err)
{
	uint64_t now = gw_now_ns();
	struct gw_ike_spi *place = spi_place(gw->ike, now);
	struct choice c;

	if (place == NULL) {
		gw_error_set(err, NULL, 0, "%u SPIs are given out and not in use yet",
				GW_IKE_MAX_SPIS);
		return -ENOSPC;
	}
	choose(gw, peer, local, &c);
	do {
		int rc = draw(gw, &c, spi, err);

		if (rc < 0)
			return rc;
	} while (is_taken(gw, *spi));
	*place = (struct gw_ike_spi){.spi = *spi, .until = now + SPI_NS, .worker = c.worker};
	if (c.worker != GW_NONE) {
		place->port = c.port;
		place->peer = *peer;
		if (c.due != NULL && c.due->worker == c.worker)
			place->renews = c.due->prm.spi;
	}
	if (place == &gw->ike->spi[gw->ike->n_spis])
		gw->ike->n_spis++;
	gw->ike->counts.spis_allocated++;
	return 0;
}

bool
gw_ike_spi_lands(const struct gw *gw, const struct ipsec_pcpu_sa_params *prm, uint16_t *worker)
{
	const struct ipsec_pcpu_tuple tuple = {
			.family = prm->family, .saddr = prm->saddr, .daddr = prm->daddr};
	const struct gw_ike_spi *s = find_spi(gw->ike, prm->spi);

	if (prm->dir != IPSEC_PCPU_IN || prm->encap_dport != 0 || s == NULL || s->worker == GW_NONE)
		return false;
	/* key, table and what is known of them may have changed since */
	return gw_steer_esp_queue(gw_steering_port(gw, s->port), &tuple, prm->spi, worker) &&
			*worker == s->worker;
}
