/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Sums and rates over the workers' counters. A worker's counters are read with
 * relaxed loads: each value is whole, together they are not one snapshot.
 */

#include "control_priv.h"

/** struct gw_counters as the array that it is. */
#define N_VALUES (sizeof(struct gw_counters) / sizeof(uint64_t))

static void
read_relaxed(struct gw_counters *to, const struct gw_counters *from)
{
	uint64_t *t = (uint64_t *)to;
	const uint64_t *f = (const uint64_t *)from;

	for (unsigned int i = 0; i < N_VALUES; i++)
		t[i] = __atomic_load_n(&f[i], __ATOMIC_RELAXED);
}

static void
subtract(struct gw_counters *from, const struct gw_counters *what)
{
	uint64_t *f = (uint64_t *)from;
	const uint64_t *w = (const uint64_t *)what;

	for (unsigned int i = 0; i < N_VALUES; i++)
		f[i] -= w[i];
}

static void
add(struct gw_counters *to, const struct gw_counters *what)
{
	uint64_t *t = (uint64_t *)to;
	const uint64_t *w = (const uint64_t *)what;

	for (unsigned int i = 0; i < N_VALUES; i++)
		t[i] += w[i];
}

void
gw_stats_read(const struct gw *gw, unsigned int id, struct gw_counters *c)
{
	read_relaxed(c, &gw->worker[id].w->counters);
}

void
gw_stats_worker(const struct gw *gw, unsigned int id, struct gw_counters *c)
{
	gw_stats_read(gw, id, c);
	subtract(c, &gw->worker[id].base);
}

void
gw_stats_sum(const struct gw *gw, struct gw_counters *c)
{
	struct gw_counters one;

	*c = (struct gw_counters){0};
	for (unsigned int i = 0; i < gw->n_workers; i++) {
		gw_stats_worker(gw, i, &one);
		add(c, &one);
	}
}

static void
sa_subtract(struct ipsec_pcpu_sa_stats *s, const struct ipsec_pcpu_sa_stats *base)
{
	s->packets -= base->packets;
	s->bytes -= base->bytes;
	s->foreign -= base->foreign;
	s->cycles -= base->cycles;
	s->timed -= base->timed;
	s->lost -= s->lost < base->lost ? s->lost : base->lost; /* late packets take from it */
	for (unsigned int i = 0; i < IPSEC_PCPU_N_DROPS; i++)
		s->drops[i] -= base->drops[i];
}

void
gw_stats_read_sa(const struct gw_sa *sa, struct ipsec_pcpu_sa_stats *stats)
{
	ipsec_pcpu_sa_stats(sa->sa, stats);
}

void
gw_stats_sa(const struct gw_sa *sa, struct ipsec_pcpu_sa_stats *stats)
{
	gw_stats_read_sa(sa, stats);
	sa_subtract(stats, &sa->base);
}

void
gw_stats_clear(struct gw *gw)
{
	for (unsigned int i = 0; i < gw->n_workers; i++)
		gw_stats_read(gw, i, &gw->worker[i].base);
	for (unsigned int t = 0; t < gw->n_tunnels; t++)
		for (unsigned int i = 0; i < gw->tunnel[t].n_sas; i++)
			ipsec_pcpu_sa_stats(gw->tunnel[t].sas[i]->sa, &gw->tunnel[t].sas[i]->base);
}

bool
gw_pool_get(const struct gw *gw, unsigned int i, struct gw_pool_info *p)
{
	const struct {
		const char *name;
		const struct rte_mempool *pool;
	} pools[] = {{"packets", gw->pool}, {"large", gw->large}};

	if (i >= RTE_DIM(pools) || pools[i].pool == NULL)
		return false;
	*p = (struct gw_pool_info){.name = pools[i].name,
			.size = pools[i].pool->size,
			.free = rte_mempool_avail_count(pools[i].pool)};
	return true;
}

/** The share of a CPU that the worker's thread took: what it does not sleep. */
static void
worker_cpu(struct gw_worker_ctl *c, double seconds)
{
	struct timespec ts;
	uint64_t ns;

	if (!c->running || clock_gettime(c->w->cpu_clock, &ts) < 0)
		return;
	ns = ts.tv_sec * UINT64_C(1000000000) + ts.tv_nsec;
	c->cpu_percent = (ns - c->cpu_ns) / 1e7 / seconds;
	c->cpu_ns = ns;
}

static void
cycles_since(struct gw_worker_ctl *c, struct gw_cycle_counts *d)
{
	struct gw_cycle_counts *last = &c->cycles_last;
	const struct gw_cycle_counts *now = &c->w->cycles.counts;

	for (unsigned int i = 0; i < sizeof(*d) / sizeof(uint64_t); i++) {
		uint64_t v = __atomic_load_n(&((const uint64_t *)now)[i], __ATOMIC_RELAXED);

		((uint64_t *)d)[i] = v - ((const uint64_t *)last)[i];
		((uint64_t *)last)[i] = v;
	}
}

/**
 * What a packet costs, and the share of time in rounds that found packets: cycles of the
 * rounds that were timed, times how many more there were. Where packets came, but none of
 * them was in a timed round, the figures before stand.
 */
static void
worker_cycles(struct gw_worker_ctl *c, bool packets, uint64_t rounds, double seconds)
{
	double total = seconds * 1000 * c->w->cycles.per_ms;
	struct gw_cycle_counts d;
	uint64_t busy = 0;

	cycles_since(c, &d);
	for (unsigned int i = 0; i < GW_N_BUSY_STAGES; i++)
		busy += d.stage[i];
	if (d.rounds > 0 && total > 0)
		c->busy_percent = RTE_MIN(100.0 * busy / d.rounds * rounds / total, 100.0);
	else if (rounds == 0)
		c->busy_percent = 0;
	if (d.packets == 0 && packets)
		return;
	c->timed = d.packets;
	c->cycles = d.packets > 0 ? (double)busy / d.packets : 0;
	for (unsigned int i = 0; i < GW_N_STAGES; i++)
		c->stage_cycles[i] = d.packets > 0 ? (double)d.stage[i] / d.packets : 0;
}

static void
worker_rates(struct gw_worker_ctl *c, double seconds)
{
	struct gw_counters now;

	read_relaxed(&now, &c->w->counters);
	c->rx_pps = (now.rx - c->last.rx) / seconds;
	c->rx_bps = (now.rx_bytes - c->last.rx_bytes) * 8 / seconds;
	c->tx_pps = (now.tx - c->last.tx) / seconds;
	c->tx_bps = (now.tx_bytes - c->last.tx_bytes) * 8 / seconds;
	worker_cycles(c,
			now.rx + now.handed_in + now.injected !=
					c->last.rx + c->last.handed_in + c->last.injected,
			now.loops - c->last.loops, seconds);
	c->last = now;
}

static void
sa_rates(struct gw_sa *sa, double seconds)
{
	struct ipsec_pcpu_sa_stats now;

	ipsec_pcpu_sa_stats(sa->sa, &now);
	sa->pps = (now.packets - sa->last.packets) / seconds;
	sa->bps = (now.bytes - sa->last.bytes) * 8 / seconds;
	if (now.timed != sa->last.timed)
		sa->cycles = (double)(now.cycles - sa->last.cycles) / (now.timed - sa->last.timed);
	else if (now.packets == sa->last.packets)
		sa->cycles = 0;
	sa->last = now;
}

void
gw_stats_tick(struct gw *gw)
{
	uint64_t now = gw_now_ns();
	double seconds = (now - gw->tick_ns) / 1e9;

	gw->tick_ns = now;
	if (seconds <= 0)
		return;
	for (unsigned int i = 0; i < gw->n_workers; i++) {
		worker_rates(&gw->worker[i], seconds);
		worker_cpu(&gw->worker[i], seconds);
	}
	for (unsigned int t = 0; t < gw->n_tunnels; t++)
		for (unsigned int i = 0; i < gw->tunnel[t].n_sas; i++)
			sa_rates(gw->tunnel[t].sas[i], seconds);
}
