/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Acquires: packets that want an SA. A worker that has none of its own notes one such packet
 * (gw_want()), where control lets it: it does where there is no SA at all, or where there is a
 * fallback and policies want an SA for each CPU (R4). charon never says no, so that who has asked
 * waits: for a second at first, then ever longer up to a minute, until the SA comes. A peer that
 * is dead is asked for one SA for each tunnel, every ten seconds, while there are packets for it.
 */

#include <string.h>

#include "ike_priv.h"

#define MAX_HOLD_NS (60 * GW_NS_PER_S)
/** Where there is no SA at all packets are lost meanwhile; while charon is at it it ignores us. */
#define MAX_HOLD_ANY_NS (10 * GW_NS_PER_S)
#define MAX_SHIFT 6 /* one second, shifted so far, is more */
/** charon never says no. What was asked for last so long ago does not come any more. */
#define PENDING_NS (240 * GW_NS_PER_S)
/** An SA that was removed before is one that the peer, or IKE, does not want to have. */
#define YOUNG_NS (10 * GW_NS_PER_S)
/** Acquires in one second: a storm of more is spread. */
#define BUDGET 256

bool
gw_ike_has(const struct gw_tunnel *t, enum ipsec_pcpu_dir dir)
{
	for (unsigned int i = 0; i < t->n_sas; i++)
		if (gw_ike_is_known(t->sas[i], dir))
			return true;
	return false;
}

static struct gw_ike_hold *
hold_of(const struct gw *gw, const struct gw_tunnel *t, uint32_t worker)
{
	return &t->ike->hold[worker == IPSEC_PCPU_ANY ? gw->n_workers : worker];
}

/** What a packet on a worker wants: an SA for it, any one, or none (false). */
static bool
wanted(const struct gw *gw, const struct gw_tunnel *t, uint32_t worker, uint32_t *cpu)
{
	*cpu = gw_ike_has(t, IPSEC_PCPU_OUT) ? worker : IPSEC_PCPU_ANY;
	if (t->ike->stale)
		return false;
	if (*cpu == IPSEC_PCPU_ANY)
		return true;
	return t->ike->pcpu && gw->ike->pcpu && t->out[worker].own == NULL &&
			gw_ike_count(t, IPSEC_PCPU_OUT, worker) == 0;
}

static void
come(struct gw_ike_hold *hold)
{
	hold->until = 0;
	hold->pending = false;
	hold->tries = 0;
}

static void
give_up(const struct gw *gw, struct gw_ike_tunnel *t, uint64_t now)
{
	for (unsigned int w = 0; w <= gw->n_workers; w++)
		if (t->hold[w].pending && now - t->hold[w].asked >= PENDING_NS)
			come(&t->hold[w]);
}

void
gw_ike_arm(struct gw *gw, struct gw_tunnel *t)
{
	uint64_t now = gw_now_ns();

	give_up(gw, t->ike, now);
	for (unsigned int w = 0; w < gw->n_workers; w++) {
		uint32_t from = t->ike->noted[w], cpu;

		if (!gw->ike->in_sync || !wanted(gw, t, w, &cpu) ||
				now < hold_of(gw, t, cpu)->until)
			from--; /* the two differ: it notes nothing */
		__atomic_store_n(&gw->worker[w].w->want_from[t->id], from, __ATOMIC_RELAXED);
	}
}

static bool
has_budget(struct gw_ike *ike, uint64_t now)
{
	if (now - ike->budget_from >= GW_NS_PER_S) {
		ike->budget_from = now;
		ike->budget = BUDGET;
	}
	return ike->budget > 0;
}

static bool
is_number_taken(const struct gw *gw, const struct gw_tunnel *t, uint32_t cpu)
{
	for (unsigned int i = 0; i < t->n_sas; i++)
		if (t->sas[i]->ike->cpu == cpu && !t->sas[i]->ike->stale)
			return true;
	return cpu >= gw->n_workers && gw_ike_who_asked(gw, t, cpu) != IPSEC_PCPU_ANY;
}

/**
 * charon has one SA for a number at most, and draws numbers by itself for what the peer asks
 * for: so that of a worker may be that of another's SA. Then it is asked for by a number that
 * nobody has.
 */
static uint32_t
number_for(const struct gw *gw, const struct gw_tunnel *t, uint32_t worker)
{
	uint32_t cpu = worker;

	if (worker != IPSEC_PCPU_ANY && is_number_taken(gw, t, cpu))
		for (cpu = gw->n_workers; is_number_taken(gw, t, cpu);)
			cpu++;
	return cpu;
}

static uint64_t
hold_ns(unsigned int times, uint64_t max)
{
	uint64_t wait = GW_NS_PER_S << (times < MAX_SHIFT ? times : MAX_SHIFT);

	return RTE_MIN(wait, max);
}

static void
ask(struct gw *gw, struct gw_tunnel *t, uint32_t worker, const struct gw_flow *flow)
{
	struct gw_ike_acquire a = {
			.reqid = t->ike->reqid, .cpu = number_for(gw, t, worker), .flow = *flow};
	struct gw_ike_hold *hold = hold_of(gw, t, worker);
	struct gw_ike *ike = gw->ike;
	uint64_t now = gw_now_ns();

	if (now < hold->until)
		return;
	hold->until = now + GW_NS_PER_S;
	if (!has_budget(ike, now) || !ike->events.acquire(ike->events.arg, &a)) {
		ike->counts.acquires_unsent++;
		return;
	}
	ike->budget--;
	ike->counts.acquires++;
	hold->cpu = a.cpu;
	hold->pending = true;
	hold->asked = now;
	hold->until = now +
			hold_ns(hold->tries,
					worker == IPSEC_PCPU_ANY ? MAX_HOLD_ANY_NS : MAX_HOLD_NS);
	if (hold->tries < UINT8_MAX)
		hold->tries++;
}

/** Has a worker noted something since? Then what. */
static bool
take(const struct gw_worker *w, struct gw_tunnel *t, struct gw_flow *flow)
{
	const struct gw_want *want = &w->want[t->id];
	uint32_t noted = __atomic_load_n(&want->noted, __ATOMIC_ACQUIRE);

	if (noted == t->ike->noted[w->id])
		return false;
	t->ike->noted[w->id] = noted;
	*flow = want->flow; /* it is not written before gw_ike_arm() */
	return true;
}

void
gw_ike_wants_poll(struct gw *gw)
{
	if (gw->ike == NULL || !gw->ike->in_sync)
		return;
	GW_IKE_FOREACH_TUNNEL(gw, t) {
		bool any = false;

		for (unsigned int w = 0; w < gw->n_workers; w++) {
			struct gw_flow flow;
			uint32_t cpu;

			if (!take(gw->worker[w].w, t, &flow))
				continue;
			any = true;
			if (wanted(gw, t, w, &cpu))
				ask(gw, t, cpu, &flow);
		}
		if (any)
			gw_ike_arm(gw, t);
	}
}

void
gw_ike_acquired(struct gw *gw, struct gw_tunnel *t, const struct gw_sa *sa)
{
	come(hold_of(gw, t, IPSEC_PCPU_ANY));
	if (sa->prm.pcpu < gw->n_workers)
		come(hold_of(gw, t, sa->prm.pcpu));
	gw_ike_arm(gw, t);
}

void
gw_ike_lost(const struct gw *gw, struct gw_tunnel *t, const struct gw_sa *sa)
{
	struct gw_ike_hold *hold = hold_of(gw, t, sa->prm.pcpu);
	uint64_t now = gw_now_ns();

	if (gw_ike_count(t, IPSEC_PCPU_OUT, sa->prm.pcpu) > !sa->ike->stale)
		return; /* not the last one */
	if (now - sa->created >= YOUNG_NS) {
		hold->young = 0;
		return;
	}
	if (hold->young > 0)
		hold->until = now + hold_ns(hold->young - 1, MAX_HOLD_NS);
	if (hold->young < UINT8_MAX)
		hold->young++;
}

uint32_t
gw_ike_who_asked(const struct gw *gw, const struct gw_tunnel *t, uint32_t cpu)
{
	for (unsigned int w = 0; w < gw->n_workers; w++)
		if (t->ike->hold[w].pending && t->ike->hold[w].cpu == cpu)
			return w;
	return IPSEC_PCPU_ANY;
}

bool
gw_ike_is_pending(const struct gw_tunnel *t, uint32_t worker)
{
	return worker < GW_MAX_WORKERS && t->ike->hold[worker].pending;
}

void
gw_ike_want_any(struct gw *gw, struct gw_tunnel *t)
{
	const struct gw_selector *sel = t->cfg->selectors;
	struct gw_flow flow = {0};
	size_t len;

	if (t->cfg->n_selectors == 0)
		return;
	flow.proto = sel->proto;
	flow.family = sel->local.addr.family;
	len = gw_addr_len(flow.family);
	memcpy(flow.src, &sel->local.addr.a, len);
	memcpy(flow.dst, &sel->remote.addr.a, len);
	ask(gw, t, IPSEC_PCPU_ANY, &flow);
}

unsigned int
gw_ike_pendings(const struct gw *gw, struct gw_ike_pending *p, unsigned int max)
{
	uint64_t now = gw_now_ns();
	unsigned int n = 0;

	GW_IKE_FOREACH_TUNNEL(gw, t) {
		for (unsigned int w = 0; w <= gw->n_workers; w++) {
			const struct gw_ike_hold *hold = &t->ike->hold[w];

			if (!hold->pending || n++ >= max)
				continue;
			*p = (struct gw_ike_pending){.tunnel = t->cfg->name,
					.reqid = t->ike->reqid,
					.cpu = w == gw->n_workers ? IPSEC_PCPU_ANY : w,
					.tries = hold->tries,
					.asked_s = (double)(now - hold->asked) / 1e9};
			if (hold->until > now)
				p->next_s = (double)(hold->until - now) / 1e9;
			p++;
		}
	}
	return n;
}
