/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * For each row of the table the gateway is brought up, and its windows of time
 * alternate with windows of the ports alone and of the cipher alone on the same
 * lcores. Rows come round several times. Needs root: TAPs in a network namespace
 * of its own.
 */

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_launch.h>
#include <rte_lcore.h>

#include <control/control_priv.h>
#include <front/commands.h>
#include <log.h>

#include "bench.h"

#define MAX_HANDOFFS 8
#define LOAD_TUNNELS 1000
#define ROUNDS 3
#define EAL_ARGS \
	"bench -m 512 --no-pci --no-telemetry --log-level=lib.eal:error --file-prefix=gw-bench"

/** What the gateway says of itself; of the time since the tick before. */
static void
show(struct gw *gw, const char *what)
{
	struct gw_cmds *cmds = gw_commands_new(gw);
	struct gw_text out = {0};
	bool leave = false;

	gw_commands_run(cmds, gw, what, false, &out, &leave);
	printf("\n%s\n%s", what, gw_text_str(&out));
	gw_text_fini(&out);
	gw_cmds_free(cmds);
}

/** Only run, for a profiler to look at; and say what the gateway sees of it. */
static int
profile(const struct bench_options *opt)
{
	struct bench_result r = {.cell = opt->cell};
	struct bench_rig rig;
	int rc = bench_rig_up(&rig, &opt->cell);

	if (rc < 0)
		return rc;
	printf("running for %u s: perf record -g -p %d\n", opt->profile_s, getpid());
	fflush(stdout);
	gw_stats_tick(rig.gw);
	bench_sleep_ms(opt->profile_s * 1000);
	gw_stats_tick(rig.gw);
	bench_note_counters(&rig, &r);
	printf("%" PRIu64 " packets, %" PRIu64 " drops\n", r.packets, r.drops);
	show(rig.gw, "show workers");
	show(rig.gw, "show cycles");
	show(rig.gw, "show sa");
	bench_rig_down(&rig, &r);
	return 0;
}

/** What is to be measured. */
static int
choose(const struct bench_options *opt, unsigned int cpus, struct bench_all *all)
{
	int rc = 0;

	if (opt->only) {
		all->row[0].cell = opt->cell;
		all->n = 1;
		return 0;
	}
	if (!opt->handoff) {
		all->n = bench_rows(opt, all->row, cpus);
		all->n_compare = bench_compare_rows(opt, all->compare, cpus);
		rc = bench_load_start(opt, &all->load);
		if (rc == 0)
			rc = bench_load_tunnels(opt, &all->load);
	}
	if (cpus > 1)
		all->n_handoff = bench_handoff_rows(all->handoff, opt->quick);
	return rc;
}

static double
least_yardstick(const struct bench_all *all)
{
	double least = 0;

	for (unsigned int i = 0; i < all->n_compare; i++) {
		double v = bench_compare_yardstick(&all->compare[i]);

		if (least == 0 || (v != 0 && v < least))
			least = v;
	}
	return least;
}

/** Of what is judged, what has not settled: more of it, a round at a time. */
static int
settle(const struct bench_options *opt, struct bench_all *all)
{
	bool more = true;
	int rc = 0;

	for (unsigned int round = opt->rounds; more && round < BENCH_SETTLE_ROUNDS; round++) {
		double least = least_yardstick(all);

		more = false;
		for (unsigned int i = 0; i < all->n_compare && rc == 0; i++)
			if (!bench_compare_is_settled(&all->compare[i], least)) {
				more = true;
				rc = bench_compare_measure(&all->compare[i]);
			}
		for (unsigned int i = 0; i < all->n_handoff && rc == 0; i++)
			if (all->handoff[i].burst == GW_BURST &&
					!bench_handoff_is_settled(&all->handoff[i])) {
				more = true;
				rc = bench_handoff_measure(opt, &all->handoff[i]);
			}
	}
	return rc;
}

static int
run(const struct bench_options *opt, unsigned int cpus)
{
	static struct bench_result rows[BENCH_MAX_ROWS];
	static struct bench_compare compares[BENCH_MAX_COMPARES];
	static struct bench_handoff handoffs[MAX_HANDOFFS];
	struct bench_all all = {.row = rows,
			.compare = compares,
			.handoff = handoffs,
			.load = {.tunnels = LOAD_TUNNELS}};
	int rc = choose(opt, cpus, &all);

	for (unsigned int round = 0; round < opt->rounds; round++) {
		for (unsigned int i = 0; i < all.n && rc == 0; i++)
			rc = bench_measure_row(opt, &rows[i]);
		for (unsigned int i = 0; i < all.n_compare && rc == 0; i++)
			rc = bench_compare_measure(&compares[i]);
		for (unsigned int i = 0; i < all.n_handoff && rc == 0; i++)
			rc = bench_handoff_measure(opt, &handoffs[i]);
	}
	if (rc == 0)
		rc = settle(opt, &all);
	if (rc < 0)
		return rc;
	bench_report(stdout, opt, &all);
	return opt->json == NULL ? 0 : bench_report_json(opt, &all);
}

/* Start */

static void
usage(void)
{
	printf("bench [--quick] [--algo NAME] [--rounds N] [--window MS] [--json FILE]\n"
	       "      [--gateway BINARY]  time its start, too\n"
	       "      [--only DIR,ENCAP,SIZE,WORKERS[,TUNNELS,FLOWS[,BURST[,REPLAY]]]]  one row:\n"
	       "                          out,udp,64,1; ENCAP esp, udp, esp6 or udp6\n"
	       "      [--handoff]  only what a hand-off from worker to worker costs\n"
	       "      [--no-hugepages]  even where there are enough\n"
	       "      [--profile S]  keep that row running for S seconds\n");
}

static bool
is_possible(const struct bench_cell *c)
{
	bool one = c->tunnels * c->flows == 1;

	return (c->size == BENCH_SIZE_IMIX || (c->size >= 64 && c->size <= BENCH_MAX_SIZE)) &&
			c->workers >= 1 && c->workers <= BENCH_MAX_WORKERS && c->tunnels >= 1 &&
			c->tunnels <= BENCH_MAX_TUNNELS && c->flows >= 1 && c->flows <= 1024 &&
			c->burst >= 1 && c->burst <= GW_BURST &&
			(c->window == 0 || (c->window <= 4096 && c->window % 64 == 0 && one));
}

static int
parse_only(const char *arg, struct bench_cell *c)
{
	char dir[8], encap[8], size[8];
	int n;

	*c = bench_cell_default(NULL);
	n = sscanf(arg, "%7[a-z],%7[a-z6],%7[a-z0-9],%u,%u,%u,%u,%u", dir, encap, size, &c->workers,
			&c->tunnels, &c->flows, &c->burst, &c->window);
	if (n < 4)
		return -EINVAL;
	c->dir = strcmp(dir, "out") == 0 ? IPSEC_PCPU_OUT : IPSEC_PCPU_IN;
	c->encap = strncmp(encap, "udp", 3) == 0;
	c->ip6 = encap[3] == '6';
	c->size = strcmp(size, "imix") == 0 ? BENCH_SIZE_IMIX : strtoul(size, NULL, 10);
	return is_possible(c) ? 0 : -EINVAL;
}

static int
parse_options(int argc, char **argv, struct bench_options *opt)
{
	static const struct option longs[] = {
			{"quick", no_argument, NULL, 'q'},
			{"algo", required_argument, NULL, 'a'},
			{"rounds", required_argument, NULL, 'r'},
			{"window", required_argument, NULL, 'w'},
			{"json", required_argument, NULL, 'j'},
			{"only", required_argument, NULL, 'o'},
			{"gateway", required_argument, NULL, 'g'},
			{"help", no_argument, NULL, 'h'},
			{"profile", required_argument, NULL, 'p'},
			{"no-hugepages", no_argument, NULL, 'n'},
			{"handoff", no_argument, NULL, 'H'},
			{NULL},
	};
	int c, rc = 0;

	while (rc == 0 && (c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (c == 'q')
			opt->quick = true;
		else if (c == 'H')
			opt->handoff = true;
		else if (c == 'n')
			opt->no_hugepages = true;
		else if (c == 'a')
			rc = (opt->algo = ipsec_pcpu_algo_find(optarg)) == NULL ? -EINVAL : 0;
		else if (c == 'r')
			opt->rounds = strtoul(optarg, NULL, 10);
		else if (c == 'w')
			opt->window_ms = strtoul(optarg, NULL, 10);
		else if (c == 'j')
			opt->json = optarg;
		else if (c == 'g')
			opt->gateway = optarg;
		else if (c == 'p')
			opt->profile_s = strtoul(optarg, NULL, 10);
		else if (c == 'o')
			rc = (opt->only = true, parse_only(optarg, &opt->cell));
		else
			rc = -EINVAL;
	}
	opt->cell.algo = opt->algo;
	if (opt->rounds == 0)
		opt->rounds = ROUNDS;
	return rc;
}

static bool
has_hugepages(void)
{
	FILE *f = fopen("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "r");
	unsigned int n = 0;

	if (f == NULL)
		return false;
	if (fscanf(f, "%u", &n) != 1)
		n = 0;
	fclose(f);
	return n >= 256;
}

/** A worker on each of the first CPUs; main on the last, asleep while we measure. */
static int
start_eal(const struct bench_options *opt, unsigned int *cpus)
{
	bool huge = !opt->no_hugepages && has_hugepages();
	unsigned int cpu[BENCH_MAX_WORKERS];
	char *argv[16];
	char line[256];
	int argc = 0;
	cpu_set_t set;

	*cpus = 0;
	if (sched_getaffinity(0, sizeof(set), &set) < 0)
		return -errno;
	for (unsigned int i = 0; i < CPU_SETSIZE && *cpus < BENCH_MAX_WORKERS; i++)
		if (CPU_ISSET(i, &set))
			cpu[(*cpus)++] = i;
	snprintf(line, sizeof(line),
			*cpus == 1 ? EAL_ARGS " %s --lcores 0@%u,1@%u"
				   : EAL_ARGS " %s --lcores 0@%u,1@%u,2@%u",
			huge ? "--in-memory" : "--no-huge --no-shconf", cpu[*cpus - 1], cpu[0],
			cpu[*cpus - 1]);
	for (char *arg = strtok(line, " "); arg != NULL; arg = strtok(NULL, " "))
		argv[argc++] = arg;
	if (rte_eal_init(argc, argv) < 0) {
		fprintf(stderr, "bench: EAL does not start: %s\n", rte_strerror(rte_errno));
		return -rte_errno;
	}
	gw_log_init();
	rte_log_set_level(gw_logtype, RTE_LOG_ERR);
	return bench_clocks_init();
}

int
main(int argc, char **argv)
{
	struct bench_options opt = {.algo = ipsec_pcpu_algo_find("aes128gcm16"), .window_ms = 10};
	unsigned int cpus;
	int rc = parse_options(argc, argv, &opt);

	if (rc < 0 || optind != argc) {
		usage();
		return EXIT_FAILURE;
	}
	if (unshare(CLONE_NEWNET) < 0) {
		fprintf(stderr, "bench: run it as root: %s\n", strerror(errno));
		return EXIT_FAILURE;
	}
	rc = start_eal(&opt, &cpus);
	if (rc == 0)
		rc = opt.profile_s != 0 ? profile(&opt) : run(&opt, cpus);
	if (rc < 0)
		fprintf(stderr, "bench: %s\n", strerror(-rc));
	return rc < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
