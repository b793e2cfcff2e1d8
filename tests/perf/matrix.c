/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The rows: all combinations of what a line of the table below says. A direction is
 * measured line by line, so that rows that are compared with one another come one after
 * the other.
 */

#include <rte_common.h>

#include "bench.h"

enum {
	ESP = 1,
	UDP = 2,
	ESP6 = 4,
	UDP6 = 8
};
enum {
	IN = 1,
	OUT = 2
};
enum {
	ONE = 1,
	TWO = 2
}; /* workers */
enum {
	B64 = 1,
	B128 = 2,
	B256 = 4,
	B512 = 8,
	B1024 = 16,
	B1420 = 32,
	B8900 = 64,
	IMIX = 128
};

static const uint16_t sizes[] = {64, 128, 256, 512, 1024, 1420, 8900, BENCH_SIZE_IMIX};

struct line {
	unsigned int sizes;
	unsigned int outers;
	unsigned int workers;
	unsigned int dirs; /* 0: both */
	/* 0 or NULL: as in bench_cell_default() */
	const char *algo;
	unsigned int tunnels;
	unsigned int flows;
	unsigned int burst;
	unsigned int window;
};

static const struct line quick[] = {
		{B64, ESP | UDP, ONE},
		{B64, UDP, TWO},
		{B1420 | IMIX, ESP, ONE},
};

static const struct line all[] = {
		{B64, ESP | UDP | ESP6 | UDP6, ONE},
		{B64, ESP | UDP, TWO},
		{B64, UDP, ONE, .tunnels = 64, .flows = 64},
		{B1420, ESP | UDP | ESP6 | UDP6, ONE},
		{B1420, ESP | UDP, TWO},
		{B512 | IMIX, ESP | UDP, ONE | TWO},
		{B128 | B256 | B1024 | B8900, UDP, ONE},
		{B64 | B1420 | IMIX, UDP, ONE, .algo = "aes256gcm16"},
		{B64 | B1420 | IMIX, UDP, ONE, .algo = "chacha20poly1305"},
		{B64, UDP, ONE, .burst = 1},
		{B64, UDP, ONE, .burst = 2},
		{B64, UDP, ONE, .burst = 4},
		{B64, UDP, ONE, .burst = 8},
		{B64, UDP, ONE, .burst = 16},
		{B64, UDP, ONE, .tunnels = 64},
		{B64, UDP, ONE, .tunnels = 1024},
		{B64, UDP, ONE, .tunnels = 10000},
		{B64, UDP, ONE, .dirs = IN, .window = 1024},
};

static void
add(const struct bench_options *opt, const struct line *l, enum ipsec_pcpu_dir dir,
		unsigned int size, unsigned int outer, unsigned int workers, struct bench_result *r)
{
	struct bench_cell c = bench_cell_default(
			l->algo == NULL ? opt->algo : ipsec_pcpu_algo_find(l->algo));

	c.dir = dir;
	c.encap = outer & (UDP | UDP6);
	c.ip6 = outer & (ESP6 | UDP6);
	c.size = sizes[size];
	c.workers = workers;
	if (l->tunnels != 0)
		c.tunnels = l->tunnels;
	if (l->flows != 0)
		c.flows = l->flows;
	if (l->burst != 0)
		c.burst = l->burst;
	c.window = l->window;
	r->cell = c;
}

static unsigned int
add_line(const struct bench_options *opt, const struct line *l, enum ipsec_pcpu_dir dir,
		unsigned int cpus, struct bench_result *r)
{
	unsigned int n = 0;

	if (l->dirs != 0 && !(l->dirs & (dir == IPSEC_PCPU_OUT ? OUT : IN)))
		return 0;
	for (unsigned int s = 0; s < RTE_DIM(sizes); s++)
		for (unsigned int outer = ESP; outer <= UDP6; outer *= 2)
			for (unsigned int w = ONE; w <= TWO && w <= cpus; w++)
				if (l->sizes >> s & 1 && l->outers & outer && l->workers & w)
					add(opt, l, dir, s, outer, w, &r[n++]);
	return n;
}

unsigned int
bench_rows(const struct bench_options *opt, struct bench_result *r, unsigned int cpus)
{
	static const enum ipsec_pcpu_dir dirs[] = {IPSEC_PCPU_OUT, IPSEC_PCPU_IN};
	const struct line *lines = opt->quick ? quick : all;
	unsigned int n_lines = opt->quick ? RTE_DIM(quick) : RTE_DIM(all);
	unsigned int n = 0;

	for (unsigned int d = 0; d < RTE_DIM(dirs); d++)
		for (unsigned int i = 0; i < n_lines; i++)
			n += add_line(opt, &lines[i], dirs[d], cpus, &r[n]);
	return n;
}
