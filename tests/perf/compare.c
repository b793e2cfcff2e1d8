/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * For the verdicts: what differs in one thing, side by side. Where CPUs share a core with
 * others there are fast and slow tenths of a second, so rows that are a second apart tell
 * little. Here one gateway has tunnels of all kinds, and the input port delivers for one
 * kind after the other, in short windows, forwards and backwards; or for one worker, for the
 * other, for both; or in larger and larger bursts. Ports and cipher alone are in the same turn.
 */

#include <assert.h>

#include <control/control_priv.h>

#include "bench.h"

#define TURNS 40 /* while the gateway is up; of long packets twice as many: for them a few cycles */
#define LONG 1024 /* are less than what the CPU's moments differ by */
#define WINDOW_MS 1 /* what is quiet for long is rare in some hours */
#define MANY_TUNNELS 64
#define MANY_FLOWS 64

static_assert(1 << (BENCH_MAX_VARIANTS - 1) == GW_BURST, "bursts are 1, 2, 4 ... GW_BURST");

static struct bench_workers
workers_of(const struct bench_compare *c, unsigned int variant)
{
	if (c->kind != BENCH_WORKERS)
		return (struct bench_workers){.first = 0, .n = 1};
	if (variant < c->r.cell.workers)
		return (struct bench_workers){.first = variant, .n = 1};
	return (struct bench_workers){.first = 0, .n = c->r.cell.workers};
}

static unsigned int
stream_of(const struct bench_compare *c, unsigned int variant)
{
	if (c->kind == BENCH_CHECKSUMS)
		return variant == 0 ? BENCH_UDP : BENCH_UDP6;
	return c->kind == BENCH_KINDS ? variant : 0;
}

/** From now on packets come for this one. */
static struct bench_workers
choose(const struct bench_compare *c, struct bench_rig *rig, unsigned int variant)
{
	struct bench_workers ws = workers_of(c, variant);

	for (unsigned int w = 0; w < c->r.cell.workers; w++)
		bench_traffic_deliver(rig->traffic, w,
				w >= ws.first && w < ws.first + ws.n ? (int)w : -1,
				stream_of(c, variant));
	if (c->kind == BENCH_BURSTS)
		bench_traffic_set_burst(rig->traffic, 0, 1u << variant);
	return ws;
}

static double
only(struct bench_samples *s)
{
	double v = s->n == 0 ? 0 : s->v[0];

	s->n = 0;
	return v;
}

static int
take_turn(struct bench_rig *rig, struct bench_compare *c)
{
	static struct bench_samples cycles;
	struct bench_windows win = {.n = 1, .ms = WINDOW_MS, .cycles = &cycles};
	struct bench_turn turn = {.gw = {0}};
	const struct bench_cell yardstick = bench_cell_default(c->r.cell.algo);
	bool back = c->n_turns % 2 != 0;

	for (unsigned int i = 0; i < c->n; i++) {
		unsigned int v = back ? c->n - 1 - i : i;

		bench_measure_gw(rig, choose(c, rig, v), &win);
		turn.gw[v] = only(&cycles);
	}
	bench_rig_halt(rig);
	for (unsigned int i = 0; i < c->n; i++) {
		unsigned int v = back ? i : c->n - 1 - i;

		bench_measure_ports(rig, choose(c, rig, v), &win);
		turn.ports[v] = only(&cycles);
		/* all kinds of tunnels and all bursts have the same cipher */
		if (v == 0 || c->kind == BENCH_WORKERS) {
			bench_measure_raw(&c->r.cell, workers_of(c, v), &win);
			turn.raw[v] = only(&cycles);
		}
	}
	bench_measure_raw(&yardstick, (struct bench_workers){.n = 1}, &win);
	turn.yardstick = only(&cycles);
	if (c->n_turns < BENCH_MAX_TURNS)
		c->turn[c->n_turns++] = turn;
	return bench_rig_resume(rig);
}

static void
check(struct bench_rig *rig, struct bench_compare *c)
{
	for (unsigned int v = 0; v < c->n; v++) {
		if (c->kind == BENCH_WORKERS && v < c->r.cell.workers)
			continue; /* both are looked at together */
		choose(c, rig, v);
		/* what came before is through */
		bench_sleep_ms(2);
		bench_traffic_capture(rig->traffic, 500);
		bench_traffic_check(rig->traffic, &c->r);
	}
}

static unsigned int
turns_of(const struct bench_compare *c)
{
	return c->r.cell.size >= LONG ? 2 * TURNS : TURNS;
}

int
bench_compare_measure(struct bench_compare *c)
{
	struct bench_rig rig;
	int rc = bench_rig_up(&rig, &c->r.cell);

	if (rc < 0)
		return rc;
	check(&rig, c);
	for (unsigned int i = 0; rc == 0 && i < turns_of(c); i++)
		rc = take_turn(&rig, c);
	bench_note_counters(&rig, &c->r);
	bench_rig_down(&rig, &c->r);
	return rc;
}

/** One value of each turn; @p at: where in it. */
static void
collect(const struct bench_compare *c, size_t at, struct bench_samples *s)
{
	s->n = 0;
	for (unsigned int i = 0; i < c->n_turns; i++) {
		const double *value = RTE_PTR_ADD(&c->turn[i], at);

		if (*value != 0)
			bench_sample(s, *value);
	}
}

double
bench_compare_yardstick(const struct bench_compare *c)
{
	struct bench_samples s;

	collect(c, offsetof(struct bench_turn, yardstick), &s);
	return bench_floor(&s);
}

static bool
is_settled(const struct bench_compare *c, size_t at, unsigned int n)
{
	struct bench_samples s;

	for (unsigned int v = 0; v < n; v++) {
		collect(c, at + v * sizeof(double), &s);
		if (!bench_is_settled(&s))
			return false;
	}
	return true;
}

bool
bench_compare_is_settled(const struct bench_compare *c, double least)
{
	/* there is no room for more turns; or it is for a picture, and nothing is judged */
	if (c->n_turns + turns_of(c) > BENCH_MAX_TURNS || c->kind == BENCH_BURSTS)
		return true;
	return bench_is_near(bench_compare_yardstick(c), least) &&
			is_settled(c, offsetof(struct bench_turn, gw), c->n) &&
			is_settled(c, offsetof(struct bench_turn, ports), c->n) &&
			is_settled(c, offsetof(struct bench_turn, raw),
					c->kind == BENCH_WORKERS ? c->n : 1);
}

static struct bench_compare *
add(const struct bench_options *opt, struct bench_compare *c, enum bench_compare_kind kind,
		enum ipsec_pcpu_dir dir, unsigned int size, unsigned int n)
{
	c->r.cell = bench_cell_default(opt->algo);
	c->r.cell.dir = dir;
	c->r.cell.size = size;
	c->kind = kind;
	c->n = n;
	if (kind == BENCH_WORKERS)
		c->r.cell.workers = n - 1;
	if (kind == BENCH_WORKERS || kind == BENCH_BURSTS)
		return c + 1;
	c->r.cell.udp_cksum = kind == BENCH_CHECKSUMS;
	c->r.cell.mixed = true;
	c->r.cell.tunnels = BENCH_SINGLES;
	if (n > BENCH_MANY) {
		c->r.cell.tunnels += MANY_TUNNELS;
		c->r.cell.flows = MANY_FLOWS;
	}
	return c + 1;
}

unsigned int
bench_compare_rows(const struct bench_options *opt, struct bench_compare *c, unsigned int cpus)
{
	static const enum ipsec_pcpu_dir dirs[] = {IPSEC_PCPU_OUT, IPSEC_PCPU_IN};
	struct bench_compare *next = c;

	for (unsigned int d = 0; d < RTE_DIM(dirs); d++) {
		next = add(opt, next, BENCH_KINDS, dirs[d], 64, BENCH_MAX_STREAMS);
		next = add(opt, next, BENCH_KINDS, dirs[d], 1420, BENCH_SINGLES);
		next = add(opt, next, BENCH_KINDS, dirs[d], BENCH_SIZE_IMIX, 1);
		if (dirs[d] == IPSEC_PCPU_OUT) {
			next = add(opt, next, BENCH_CHECKSUMS, dirs[d], 64, 2);
			next = add(opt, next, BENCH_CHECKSUMS, dirs[d], 1420, 2);
		}
		if (cpus > 1)
			next = add(opt, next, BENCH_WORKERS, dirs[d], 64, 3);
		if (cpus > 1 && !opt->quick)
			next = add(opt, next, BENCH_WORKERS, dirs[d], 1420, 3);
		if (!opt->quick)
			next = add(opt, next, BENCH_BURSTS, dirs[d], 64, BENCH_MAX_VARIANTS);
	}
	return next - c;
}
