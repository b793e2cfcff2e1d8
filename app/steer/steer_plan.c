/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Plans: a redirection table in which most SAs are right, and new owners for those that are
 * not. Pure: what is planned is for gw_steer_apply(), and for whoever moves SAs.
 */

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <rte_common.h>

#include "steer.h"

/* So much more traffic an SA must have to take an entry from one that is right by it. */
#define KEEP_FACTOR 4
/* Parts of a packet, to tell between SAs with as many of them */
#define EQUALS 64u
/* SAs of a worker, in shares of what each would have, that it gets more of no more */
#define CAP_FACTOR 4

/** How many SAs each worker has, by the plan. */
struct load {
	unsigned int of[GW_MAX_WORKERS];
	unsigned int cap; /* for who is to get more */
};

struct loads {
	struct load active; /* of SAs with traffic */
	struct load all; /* traffic comes and goes: idle ones must not heap up either */
};

static uint16_t
entry_of(const struct gw_steer_port *sp, const struct gw_steer_sa *sa)
{
	return sa->hash & (sp->rss.reta_size - 1u);
}

/** By the table, as it is. */
static bool
is_right(const struct gw_steer_port *sp, const struct gw_steer_sa *sa)
{
	return sp->rss.reta[entry_of(sp, sa)] == sa->queue;
}

/**
 * Is an SA one of those for which the table is made? Not where its owner has no queue, nor
 * where it does land on its owner and should not: then its hash is another one. And not where
 * it has another one all the time.
 */
static bool
in_table(const struct gw_steer_port *sp, const struct gw_steer_sa *sa)
{
	if (sp->ops != &gw_steer_rss || !sp->rss.has_reta || !sa->has_hash)
		return false;
	if (sa->restless > GW_STEER_RESTLESS)
		return false;
	return sa->queue < sp->port->n_rxq && (sa->state != GW_STEER_VERIFIED || is_right(sp, sa));
}

/** How many SAs each worker has more than the one that has fewest. */
static void
count_surplus(const struct gw_steer_port *sp, unsigned int surplus[GW_MAX_WORKERS])
{
	unsigned int least = UINT_MAX;

	memset(surplus, 0, GW_MAX_WORKERS * sizeof(surplus[0]));
	for (unsigned int i = 0; i < sp->n_sas; i++)
		if (sp->sas[i]->queue < GW_MAX_WORKERS)
			surplus[sp->sas[i]->queue]++;
	for (unsigned int q = 0; q < sp->port->n_rxq && q < GW_MAX_WORKERS; q++)
		least = RTE_MIN(least, surplus[q]);
	for (unsigned int q = 0; q < GW_MAX_WORKERS; q++)
		surplus[q] -= RTE_MIN(surplus[q], least);
}

/**
 * Of equals the one that is right, else the one whose worker has fewer SAs: those of the
 * other go there. By any fixed order one worker would get more with each new key.
 */
static uint32_t
weight_of(const struct gw_steer_port *sp, const struct gw_steer_sa *sa, bool anew,
		const unsigned int surplus[])
{
	uint64_t weight = RTE_MAX(sa->weight, 1u);
	bool right = is_right(sp, sa);
	uint32_t bonus = EQUALS - 1;

	if (right && !anew)
		weight *= KEEP_FACTOR;
	if (!right && sa->queue < GW_MAX_WORKERS)
		bonus = EQUALS / 2 - 1 - RTE_MIN(surplus[sa->queue], EQUALS / 2 - 1);
	return (uint32_t)RTE_MIN(weight * EQUALS + bonus, (uint64_t)UINT32_MAX);
}

static void
want(struct gw_steer_plan *plan, struct gw_steer_sa *sa, uint16_t to)
{
	plan->follow[plan->n_follow].sa = sa;
	plan->follow[plan->n_follow++].to = to;
}

/** Entries that no SA is on any more are as the device had them: others are spread by them. */
static void
go_home(const struct gw_steer_port *sp, struct gw_steer_plan *plan)
{
	bool used[IPSEC_PCPU_MAX_RETA] = {false};

	if (sp->ops != &gw_steer_rss || !sp->rss.has_reta)
		return;
	for (unsigned int i = 0; i < sp->n_sas; i++)
		if (in_table(sp, sp->sas[i]))
			used[entry_of(sp, sp->sas[i])] = true;
	for (unsigned int i = 0; i < sp->rss.reta_size; i++) {
		if (!used[i])
			plan->reta[i] = sp->rss.home[i];
		plan->changed += plan->reta[i] != sp->rss.reta[i];
	}
}

/** The table; who loses by it wants to follow. */
static int
plan_table(const struct gw_steer_port *sp, bool anew, struct gw_steer_plan *plan)
{
	struct ipsec_pcpu_reta_plan result;
	struct ipsec_pcpu_reta_sa *sas = calloc(sp->n_sas + 1, sizeof(*sas));
	unsigned int surplus[GW_MAX_WORKERS];
	unsigned int n = 0;
	int rc = 0;

	if (sas == NULL)
		return -ENOMEM;
	count_surplus(sp, surplus);
	for (unsigned int i = 0; i < sp->n_sas && n < UINT16_MAX; i++)
		if (in_table(sp, sp->sas[i]))
			sas[n++] = (struct ipsec_pcpu_reta_sa){.hash = sp->sas[i]->hash,
					.weight = weight_of(sp, sp->sas[i], anew, surplus),
					.queue = sp->sas[i]->queue};
	if (n > 0)
		rc = ipsec_pcpu_reta_plan(plan->reta, sp->rss.reta_size, true, sas, n, &result);
	if (n > 0 && rc == 0) {
		plan->conflicts = result.conflicts;
		for (unsigned int i = 0, k = 0; k < n; i++)
			if (in_table(sp, sp->sas[i]) && sas[k++].to != sp->sas[i]->queue)
				want(plan, sp->sas[i], sas[k - 1].to);
	}
	go_home(sp, plan);
	free(sas);
	return rc;
}

/** Those that no table concerns, and no rule: by where they were seen. */
static void
plan_landed(const struct gw_steer_port *sp, bool anew, struct gw_steer_plan *plan)
{
	for (unsigned int i = 0; i < sp->n_sas; i++) {
		struct gw_steer_sa *sa = sp->sas[i];

		if (in_table(sp, sa) || sa->rule != NULL || sa->landed == GW_NONE)
			continue;
		if (sa->landed != sa->queue &&
				(sa->state == GW_STEER_ASTRAY || (anew && sa->strikes > 0)))
			want(plan, sa, sa->landed);
	}
}

/** Who may not be moved at all, now. */
static void
drop_impossible(const struct gw_steer_port *sp, bool anew, uint64_t now_ns,
		struct gw_steer_plan *plan)
{
	unsigned int n = plan->n_follow;

	plan->n_follow = 0;
	/* with fewer queues than workers it is the hand-off that spreads the load */
	if (sp->port->n_rxq < sp->port->n_workers)
		return;
	for (unsigned int i = 0; i < n; i++) {
		struct gw_steer_sa *sa = plan->follow[i].sa;
		uint16_t to = plan->follow[i].to;

		if (to < RTE_MIN(sp->port->n_workers, (unsigned int)GW_MAX_WORKERS) &&
				(anew || now_ns >= sa->paused_until_ns))
			want(plan, sa, to);
	}
}

/** Half of them, or some shares of what each worker would have: whichever is less. */
static unsigned int
cap_of(unsigned int total, unsigned int n_queues)
{
	return RTE_MIN((total + 1) / 2, CAP_FACTOR * ((total + n_queues - 1) / n_queues));
}

static void
count(struct load *load, uint16_t worker, int by)
{
	if (worker < GW_MAX_WORKERS)
		load->of[worker] += (unsigned int)by;
}

static void
move_load(struct loads *loads, const struct gw_steer_sa *sa, uint16_t from, uint16_t to)
{
	count(&loads->all, from, -1);
	count(&loads->all, to, 1);
	if (sa->weight == 0)
		return;
	count(&loads->active, from, -1);
	count(&loads->active, to, 1);
}

/** Owners as they are, then as they would be if all moved that want to. */
static void
make_loads(const struct gw_steer_port *sp, const struct gw_steer_plan *plan, struct loads *loads)
{
	unsigned int n_active = 0;

	memset(loads, 0, sizeof(*loads));
	for (unsigned int i = 0; i < sp->n_sas; i++) {
		count(&loads->all, sp->sas[i]->queue, 1);
		if (sp->sas[i]->weight > 0) {
			count(&loads->active, sp->sas[i]->queue, 1);
			n_active++;
		}
	}
	loads->active.cap = cap_of(n_active, sp->port->n_rxq);
	loads->all.cap = cap_of(sp->n_sas, sp->port->n_rxq);
	for (unsigned int i = 0; i < plan->n_follow; i++)
		move_load(loads, plan->follow[i].sa, plan->follow[i].sa->queue, plan->follow[i].to);
}

static bool
too_many(const struct loads *loads, const struct gw_steer_sa *sa, uint16_t to)
{
	if (sa->weight == 0)
		return loads->all.of[to] > loads->all.cap;
	/* of two, the one with traffic may come to where the idle one is */
	return loads->active.of[to] > loads->active.cap ||
			loads->all.of[to] > RTE_MAX(loads->all.cap, 2u);
}

/** Each that stays is one more where it is: until nobody has too many by those who come. */
static void
drop_crowd(const struct gw_steer_port *sp, struct gw_steer_plan *plan)
{
	struct loads loads;
	unsigned int n, before;

	make_loads(sp, plan, &loads);
	do {
		before = plan->n_follow;
		n = 0;
		for (unsigned int i = 0; i < before; i++) {
			struct gw_steer_sa *sa = plan->follow[i].sa;
			uint16_t to = plan->follow[i].to;

			if (too_many(&loads, sa, to)) {
				move_load(&loads, sa, to, sa->queue);
				plan->stay++;
			} else {
				plan->follow[n++] = plan->follow[i];
			}
		}
		plan->n_follow = n;
	} while (n < before);
}

int
gw_steer_plan(const struct gw_steer_port *sp, bool anew, uint64_t now_ns,
		struct gw_steer_plan *plan)
{
	int rc;

	memset(plan, 0, sizeof(*plan));
	memcpy(plan->reta, sp->rss.reta, sizeof(plan->reta));
	plan->follow = calloc(sp->n_sas + 1, sizeof(plan->follow[0]));
	if (plan->follow == NULL)
		return -ENOMEM;
	rc = plan_table(sp, anew, plan);
	if (rc < 0) {
		gw_steer_plan_free(plan);
		return rc;
	}
	plan_landed(sp, anew, plan);
	drop_impossible(sp, anew, now_ns, plan);
	drop_crowd(sp, plan);
	/* not all at once: the others with the next plan, if it is still so then */
	if (!anew)
		plan->n_follow = RTE_MIN(plan->n_follow, (unsigned int)GW_STEER_MAX_FOLLOW);
	return 0;
}

void
gw_steer_plan_free(struct gw_steer_plan *plan)
{
	free(plan->follow);
	plan->follow = NULL;
	plan->n_follow = 0;
}
