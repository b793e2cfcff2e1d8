/* SPDX-License-Identifier: BSD-3-Clause */

/* Windows of time: of the gateway, of the ports alone, of the cipher alone, in turn. */

#include <stdlib.h>

#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_launch.h>

#include <control/control_priv.h>

#include "bench.h"

#define WARM_MS 5

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

/* One window of time */

struct snapshot {
	uint64_t wall_ns;
	uint64_t cpu_ns;
	uint64_t packets;
};

/** CPU time and packets of a set of lcores; @p packets by number of the worker. */
typedef uint64_t packets_fn(void *arg, unsigned int worker);

static void
snap(struct snapshot *s, unsigned int workers, packets_fn *packets, void *arg)
{
	*s = (struct snapshot){.wall_ns = bench_wall_ns()};
	for (unsigned int i = 0; i < workers; i++) {
		s->cpu_ns += bench_cpu_ns(bench_lcore(i));
		s->packets += packets(arg, i);
	}
}

/** Some windows; returns the median of them. */
static double
measure(const struct bench_options *opt, unsigned int workers, packets_fn *packets, void *arg,
		struct bench_samples *cycles, struct bench_samples *pps)
{
	struct bench_samples these = {.n = 0};
	struct snapshot a, b;

	bench_sleep_ms(WARM_MS);
	for (unsigned int i = 0; i < BENCH_WINDOWS; i++) {
		snap(&a, workers, packets, arg);
		bench_sleep_ms(opt->window_ms);
		snap(&b, workers, packets, arg);
		if (b.packets == a.packets)
			continue;
		bench_sample(&these,
				(double)(b.cpu_ns - a.cpu_ns) * rte_get_tsc_hz() / 1e9 /
						(b.packets - a.packets));
		bench_sample(cycles, these.v[these.n - 1]);
		if (pps != NULL)
			bench_sample(pps, (b.packets - a.packets) * 1e9 / (b.wall_ns - a.wall_ns));
	}
	return bench_percentile(&these, 0.5);
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

static double
measure_ports(const struct bench_options *opt, const struct bench_rig *rig, struct bench_result *r)
{
	static struct bench_io io[BENCH_MAX_WORKERS];
	double median;

	for (unsigned int i = 0; i < r->cell.workers; i++) {
		io[i] = (struct bench_io){.in = rig->in, .out = rig->out, .queue = i};
		rte_eal_remote_launch(bench_io_main, &io[i], bench_lcore(i));
	}
	median = measure(opt, r->cell.workers, io_packets, io, &r->ports, NULL);
	for (unsigned int i = 0; i < r->cell.workers; i++) {
		__atomic_store_n(&io[i].stop, true, __ATOMIC_RELAXED);
		rte_eal_wait_lcore(bench_lcore(i));
	}
	return median;
}

/** On all workers' lcores: where two CPUs share a core, that is a limit, too. */
static double
measure_raw(const struct bench_options *opt, struct bench_result *r)
{
	static struct bench_raw raw[BENCH_MAX_WORKERS];
	double median;

	for (unsigned int i = 0; i < r->cell.workers; i++) {
		raw[i] = (struct bench_raw){
				.algo = r->cell.algo, .dir = r->cell.dir, .size = r->cell.size};
		rte_eal_remote_launch(bench_raw_main, &raw[i], bench_lcore(i));
	}
	median = measure(opt, r->cell.workers, raw_packets, raw, &r->raw, NULL);
	for (unsigned int i = 0; i < r->cell.workers; i++) {
		__atomic_store_n(&raw[i].stop, true, __ATOMIC_RELAXED);
		rte_eal_wait_lcore(bench_lcore(i));
	}
	return median;
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

/** Gateway, ports, cipher. */
static int
take_turn(const struct bench_options *opt, struct bench_rig *rig, struct bench_result *r)
{
	struct bench_turn turn;

	gw_stats_clear(rig->gw);
	turn.gw = measure(opt, r->cell.workers, gw_packets, rig, &r->gw, &r->gw_pps);
	bench_note_counters(rig, r);
	bench_rig_halt(rig);
	turn.ports = measure_ports(opt, rig, r);
	turn.raw = measure_raw(opt, r);
	if (r->n_turns < BENCH_MAX_TURNS)
		r->turn[r->n_turns++] = turn;
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
		rc = take_turn(opt, &rig, r);
	bench_rig_down(&rig, r);
	return rc;
}
