/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * What a packet costs more that lands on the wrong worker. Packets for the SA of
 * worker 1 come to its own queue, while worker 0 has its own, too; or to that of
 * worker 0; in turn. Both are busy at all times: CPUs may share a core. Workers'
 * rounds are called one by one here and timed one by one: where others run on the
 * same CPUs, the median of single rounds tells what they cost, and time spent
 * waiting is nobody's. Two bursts at most are under way, so that nothing overruns
 * and the owner finds its bursts as they were made.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <rte_cycles.h>
#include <rte_launch.h>
#include <rte_pause.h>

#include <control/control_priv.h>

#include "bench.h"

#define OTHER 0 /* the workers */
#define OWNER 1
#define UNDER_WAY 2 /* bursts */
#define WARM_ROUNDS 32
#define ROUNDS 192
#define PAIRS 96 /* of windows, landed right and wrong, while the gateway is up */
#define WINDOW_MS 200 /* at most, where others have the CPUs */

/** A round of the poll loop: TSC cycles. */
struct round {
	uint32_t ports;
	uint32_t gw;
};

/** A worker in a window of time. */
struct side {
	struct gw_worker *w;
	const struct bench_traffic *traffic;
	const struct side *follow; /* do not get ahead of it; NULL: of nobody */
	unsigned int burst; /* rounds of that many count */
	bool stop;
	unsigned int n;
	struct round round[WARM_ROUNDS + ROUNDS];
	struct bench_count done; /* read by the other */
};

static void
note(struct side *s, uint64_t tsc, uint64_t ports)
{
	unsigned int n = s->n;

	if (n == WARM_ROUNDS + ROUNDS)
		return;
	s->round[n] = (struct round){.ports = ports, .gw = tsc - ports};
	__atomic_store_n(&s->n, n + 1, __ATOMIC_RELEASE);
}

static bool
may_run(const struct side *s)
{
	return s->follow == NULL ||
			s->done.packets -
					__atomic_load_n(&s->follow->done.packets,
							__ATOMIC_RELAXED) <=
			(UNDER_WAY - 1) * s->burst;
}

static int
side_main(void *arg)
{
	struct side *s = arg;

	while (!__atomic_load_n(&s->stop, __ATOMIC_RELAXED)) {
		uint64_t ports = bench_traffic_tsc(s->traffic, s->w->id);
		uint64_t start;
		unsigned int n;

		if (!may_run(s)) {
			rte_pause();
			continue;
		}
		start = rte_rdtsc();
		n = gw_worker_round(s->w);
		if (n == s->burst)
			note(s, rte_rdtsc() - start,
					bench_traffic_tsc(s->traffic, s->w->id) - ports);
		if (n > 0)
			__atomic_store_n(&s->done.packets, s->done.packets + n, __ATOMIC_RELAXED);
		else
			rte_pause();
	}
	return 0;
}

/** rte_eal_wait_lcore() spins, on the CPU of the owner. */
static void
join(unsigned int lcore)
{
	while (rte_eal_get_lcore_state(lcore) == RUNNING)
		bench_sleep_ms(1);
	rte_eal_wait_lcore(lcore);
}

/** Both workers, for a window. */
static void
run_sides(struct side *other, struct side *owner, struct bench_traffic *capture)
{
	const unsigned int enough = WARM_ROUNDS + ROUNDS;

	rte_eal_remote_launch(side_main, owner, bench_lcore(OWNER));
	rte_eal_remote_launch(side_main, other, bench_lcore(OTHER));
	if (capture != NULL)
		bench_traffic_capture(capture, 500);
	for (unsigned int ms = 0; ms < WINDOW_MS; ms++) {
		if (__atomic_load_n(&owner->n, __ATOMIC_ACQUIRE) == enough)
			break;
		bench_sleep_ms(1);
	}
	__atomic_store_n(&other->stop, true, __ATOMIC_RELAXED);
	join(bench_lcore(OTHER));
	/* what is under way gets to its end */
	while (other->follow != NULL &&
			__atomic_load_n(&owner->done.packets, __ATOMIC_RELAXED) <
					other->done.packets)
		bench_sleep_ms(1);
	__atomic_store_n(&owner->stop, true, __ATOMIC_RELAXED);
	join(bench_lcore(OWNER));
}

/** Medians of a side's rounds, for a packet; false: too few. */
static bool
medians(const struct side *s, double *ports, double *gw)
{
	struct bench_samples p = {.n = 0}, g = {.n = 0};

	for (unsigned int i = WARM_ROUNDS; i < s->n; i++) {
		bench_sample(&p, (double)s->round[i].ports / s->burst);
		bench_sample(&g, (double)s->round[i].gw / s->burst);
	}
	*ports = bench_percentile(&p, 0.5);
	*gw = bench_percentile(&g, 0.5);
	return p.n >= ROUNDS / 8;
}

/** To whose SAs the packets belong that come to each worker. */
static void
deliver(struct bench_rig *rig, int to_other, int to_owner)
{
	bench_traffic_deliver(rig->traffic, OTHER, to_other, 0);
	bench_traffic_deliver(rig->traffic, OWNER, to_owner, 0);
}

static void
side_init(struct side *s, struct bench_rig *rig, unsigned int worker, unsigned int burst)
{
	memset(s, 0, sizeof(*s));
	s->w = rig->gw->worker[worker].w;
	s->traffic = rig->traffic;
	s->burst = burst;
}

/** Landed right, and landed wrong, one after the other. */
static void
measure_pair(struct bench_rig *rig, struct bench_handoff *h, bool capture)
{
	static struct side other, owner;
	double v[BENCH_N_PARTS];
	bool ok;

	side_init(&owner, rig, OWNER, h->burst);
	side_init(&other, rig, OTHER, h->burst);
	deliver(rig, OTHER, OWNER);
	run_sides(&other, &owner, NULL);
	ok = medians(&owner, &v[BENCH_OWN_PORTS], &v[BENCH_OWN_GW]);
	side_init(&owner, rig, OWNER, h->burst);
	side_init(&other, rig, OTHER, h->burst);
	other.follow = &owner;
	deliver(rig, OWNER, -1);
	run_sides(&other, &owner, capture ? rig->traffic : NULL);
	ok &= medians(&other, &v[BENCH_RX_PORTS], &v[BENCH_RX_GW]);
	ok &= medians(&owner, &v[BENCH_OWNER_PORTS], &v[BENCH_OWNER_GW]);
	if (!ok)
		return;
	for (unsigned int i = 0; i < BENCH_N_PARTS; i++)
		bench_sample(&h->part[i], v[i]);
	bench_sample(&h->more_gw, v[BENCH_RX_GW] + v[BENCH_OWNER_GW] - v[BENCH_OWN_GW]);
	bench_sample(&h->more_ports, v[BENCH_RX_PORTS] + v[BENCH_OWNER_PORTS] - v[BENCH_OWN_PORTS]);
}

static void
note_drops(const struct bench_rig *rig, struct bench_handoff *h)
{
	struct gw_counters c;

	gw_stats_sum(rig->gw, &c);
	for (unsigned int i = 0; i < GW_N_DROPS; i++)
		h->drops += c.drop[i];
	for (unsigned int i = 0; i < IPSEC_PCPU_N_DROPS; i++)
		h->drops += c.esp_drop[i];
}

int
bench_handoff_measure(const struct bench_options *opt, struct bench_handoff *h)
{
	struct bench_result r = {.cell = bench_cell_default(opt->algo)};
	struct bench_rig rig;
	int rc;

	r.cell.dir = IPSEC_PCPU_IN;
	r.cell.workers = BENCH_MAX_WORKERS;
	r.cell.burst = h->burst;
	r.cell.timed = true;
	rc = bench_rig_up(&rig, &r.cell);
	if (rc < 0)
		return rc;
	/* out of their loops, into ours: which polls the ports nevertheless */
	bench_rig_halt(&rig);
	for (unsigned int i = 0; i < rig.gw->n_workers; i++)
		rig.gw->worker[i].w->run = true;
	for (unsigned int i = 0; i < PAIRS; i++)
		measure_pair(&rig, h, i == 0);
	deliver(&rig, -1, -1);
	note_drops(&rig, h);
	bench_traffic_check(rig.traffic, &r);
	rc = bench_rig_resume(&rig);
	bench_rig_down(&rig, &r);
	h->checked += r.checked;
	h->wrong += r.wrong;
	h->lost += r.lost;
	h->leaked += r.leaked;
	return rc;
}

bool
bench_handoff_is_settled(struct bench_handoff *h)
{
	if (h->more_gw.n + PAIRS > BENCH_MAX_SAMPLES)
		return true; /* there is no room for more */
	return bench_is_settled(&h->part[BENCH_OWN_GW]) &&
			bench_is_settled(&h->part[BENCH_RX_GW]) &&
			bench_is_settled(&h->part[BENCH_OWNER_GW]);
}

double
bench_handoff_more(struct bench_handoff *h)
{
	return bench_floor(&h->part[BENCH_RX_GW]) + bench_floor(&h->part[BENCH_OWNER_GW]) -
			bench_floor(&h->part[BENCH_OWN_GW]);
}

unsigned int
bench_handoff_rows(struct bench_handoff *h, bool quick)
{
	static const unsigned int bursts[] = {GW_BURST, 16, 8, 4, 1};
	unsigned int n = quick ? 1 : RTE_DIM(bursts);

	for (unsigned int i = 0; i < n; i++)
		h[i].burst = bursts[i];
	return n;
}
