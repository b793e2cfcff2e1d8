/* SPDX-License-Identifier: BSD-3-Clause */

/* Windows of time: of the gateway, of the ports alone, of the cipher alone, in turn. */

#include <stdlib.h>

#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_launch.h>

#include <control/control_priv.h>

#include "bench.h"

#define START_MS 500 /* at most: the cipher alone is set up where it runs */
#define FLOOR 3 /* of sorted values, from 0; verdicts.py has it, too */
#define LEAST 1 /* the very least may be a clock's error */
#define SETTLED 0.03 /* of a value is near enough, */
#define SETTLED_MIN 1.5 /* and so many cycles are, */
#define SETTLED_MAX 5 /* and no more: targets are of twelve */

void
bench_sample(struct bench_samples *s, double v)
{
	if (s->n < BENCH_MAX_SAMPLES)
		s->v[s->n++] = v;
}

static int
compare_double(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

double
bench_percentile(struct bench_samples *s, double p)
{
	if (s->n == 0)
		return 0;
	qsort(s->v, s->n, sizeof(s->v[0]), compare_double);
	return s->v[(unsigned int)(p * (s->n - 1) + 0.5)];
}

double
bench_floor(struct bench_samples *s)
{
	if (s->n == 0)
		return 0;
	qsort(s->v, s->n, sizeof(s->v[0]), compare_double);
	return s->v[RTE_MIN((unsigned int)FLOOR, s->n - 1)];
}

bool
bench_is_near(double value, double less)
{
	return value - less <= RTE_MAX(SETTLED_MIN, RTE_MIN(SETTLED_MAX, SETTLED * value));
}

bool
bench_is_settled(struct bench_samples *s)
{
	double floor = bench_floor(s); /* sorts them */

	return s->n > FLOOR && bench_is_near(floor, s->v[LEAST]);
}

/* One window of time */

struct snapshot {
	uint64_t wall_ns;
	uint64_t cpu_ns;
	uint64_t packets;
};

/** Packets that a worker has moved. */
typedef uint64_t packets_fn(void *arg, unsigned int worker);

static void
snap(struct snapshot *s, struct bench_workers ws, packets_fn *packets, void *arg)
{
	*s = (struct snapshot){.wall_ns = bench_wall_ns()};
	for (unsigned int i = ws.first; i < ws.first + ws.n; i++) {
		s->cpu_ns += bench_cpu_ns(bench_lcore(i));
		s->packets += packets(arg, i);
	}
}

static void
measure(struct bench_workers ws, packets_fn *packets, void *arg, struct bench_windows *win)
{
	struct snapshot a, b;

	for (unsigned int i = ws.first; i < ws.first + ws.n; i++)
		for (unsigned int ms = 0; ms < START_MS && packets(arg, i) == 0; ms++)
			bench_sleep_ms(1);
	bench_sleep_ms((win->ms + 1) / 2);
	for (unsigned int i = 0; i < win->n; i++) {
		snap(&a, ws, packets, arg);
		bench_sleep_ms(win->ms);
		snap(&b, ws, packets, arg);
		if (b.packets == a.packets)
			continue;
		bench_sample(win->cycles,
				(double)(b.cpu_ns - a.cpu_ns) * rte_get_tsc_hz() / 1e9 /
						(b.packets - a.packets));
		if (win->pps != NULL)
			bench_sample(win->pps,
					(b.packets - a.packets) * 1e9 / (b.wall_ns - a.wall_ns));
	}
}

static uint64_t
gw_packets(void *arg, unsigned int worker)
{
	struct bench_rig *rig = arg;

	return __atomic_load_n(&rig->gw->worker[worker].w->counters.tx, __ATOMIC_RELAXED);
}

static uint64_t
io_packets(void *arg, unsigned int worker)
{
	struct bench_io *io = arg;

	return __atomic_load_n(&io[worker].count.packets, __ATOMIC_RELAXED);
}

static uint64_t
raw_packets(void *arg, unsigned int worker)
{
	struct bench_raw *raw = arg;

	return __atomic_load_n(&raw[worker].count.packets, __ATOMIC_RELAXED);
}

void
bench_measure_gw(struct bench_rig *rig, struct bench_workers ws, struct bench_windows *win)
{
	measure(ws, gw_packets, rig, win);
}

void
bench_measure_ports(const struct bench_rig *rig, struct bench_workers ws, struct bench_windows *win)
{
	static struct bench_io io[BENCH_MAX_WORKERS];

	for (unsigned int i = ws.first; i < ws.first + ws.n; i++) {
		io[i] = (struct bench_io){.in = rig->in, .out = rig->out, .queue = i};
		rte_eal_remote_launch(bench_io_main, &io[i], bench_lcore(i));
	}
	measure(ws, io_packets, io, win);
	for (unsigned int i = ws.first; i < ws.first + ws.n; i++) {
		__atomic_store_n(&io[i].stop, true, __ATOMIC_RELAXED);
		rte_eal_wait_lcore(bench_lcore(i));
	}
}

void
bench_measure_raw(const struct bench_cell *cell, struct bench_workers ws, struct bench_windows *win)
{
	static struct bench_raw raw[BENCH_MAX_WORKERS];

	for (unsigned int i = ws.first; i < ws.first + ws.n; i++) {
		raw[i] = (struct bench_raw){
				.algo = cell->algo, .dir = cell->dir, .size = cell->size};
		rte_eal_remote_launch(bench_raw_main, &raw[i], bench_lcore(i));
	}
	measure(ws, raw_packets, raw, win);
	for (unsigned int i = ws.first; i < ws.first + ws.n; i++) {
		__atomic_store_n(&raw[i].stop, true, __ATOMIC_RELAXED);
		rte_eal_wait_lcore(bench_lcore(i));
	}
}

/* One row */

void
bench_note_counters(const struct bench_rig *rig, struct bench_result *r)
{
	struct gw_counters c;

	gw_stats_sum(rig->gw, &c);
	r->packets += c.tx;
	for (unsigned int i = 0; i < GW_N_DROPS; i++)
		r->drops += c.drop[i];
	for (unsigned int i = 0; i < IPSEC_PCPU_N_DROPS; i++)
		r->drops += c.esp_drop[i];
	/* none at all: others had the CPU for all that time */
	if (c.loops > 0)
		r->idle = RTE_MAX(r->idle, (double)c.idle_loops / c.loops);
}

/** Gateway, ports, cipher: this on all workers' lcores, too, for CPUs may share a core. */
static int
alternate(const struct bench_options *opt, struct bench_rig *rig, struct bench_result *r)
{
	const struct bench_workers ws = {.n = r->cell.workers};
	struct bench_windows win = {.n = BENCH_WINDOWS, .ms = opt->window_ms};

	gw_stats_clear(rig->gw);
	win.cycles = &r->gw;
	win.pps = &r->gw_pps;
	bench_measure_gw(rig, ws, &win);
	bench_note_counters(rig, r);
	bench_rig_halt(rig);
	win.pps = NULL;
	win.cycles = &r->ports;
	bench_measure_ports(rig, ws, &win);
	win.cycles = &r->raw;
	bench_measure_raw(&r->cell, ws, &win);
	return bench_rig_resume(rig);
}

int
bench_measure_row(const struct bench_options *opt, struct bench_result *r)
{
	struct bench_rig rig;
	int rc = bench_rig_up(&rig, &r->cell);

	if (rc < 0)
		return rc;
	bench_traffic_capture(rig.traffic, 500);
	bench_traffic_check(rig.traffic, r);
	for (unsigned int i = 0; rc == 0 && i < BENCH_ALTERNATIONS; i++)
		rc = alternate(opt, &rig, r);
	bench_rig_down(&rig, r);
	return rc;
}
