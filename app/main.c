/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Start and stop in order. The configuration is read before EAL starts: what is wrong in it
 * touches nothing.
 */

#include "compat.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sys/prctl.h>
#include <sys/resource.h>

#include <rte_eal.h>
#include <rte_errno.h>

#include <ena_tweaks.h>

#include "control/control.h"
#include "front/console.h"
#include "front/ike_socket.h"
#include "front/metrics.h"
#include "front/metrics_text.h"
#include "front/peer_commands.h"
#include "log.h"
#include "options.h"

#ifndef GW_VERSION
#error "GW_VERSION comes from meson.build"
#endif

static int
fail(const struct gw_error *err)
{
	fprintf(stderr, "dpdk-pcpu-gw: %s\n", err->text);
	return EXIT_FAILURE;
}

/** Keys are in our memory: no core dumps, no ptrace by others of the same user. */
static void
protect_memory(void)
{
	const struct rlimit none = {0, 0};

	setrlimit(RLIMIT_CORE, &none);
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

/** SIGINT and SIGTERM come by signalfd; EAL's threads inherit the mask. */
static void
block_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
}

static bool
has_hugepages(void)
{
	FILE *f = fopen("/proc/meminfo", "r");
	unsigned long pages = 0;
	char line[128];

	while (f != NULL && fgets(line, sizeof(line), f) != NULL)
		if (sscanf(line, "HugePages_Free: %lu", &pages) == 1)
			break;
	if (f != NULL)
		fclose(f);
	return pages > 0;
}

static bool
asked_for(int argc, char **argv, const char *option)
{
	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], option) == 0)
			return true;
	return false;
}

/**
 * EAL with our arguments. Hugepages hold expanded keys, so they must not stay
 * as files behind a process that was killed: --in-memory, unless the user says
 * how it is to be.
 */
static int
start_eal(int argc, char **argv)
{
	static char in_memory[] = "--in-memory";
	bool said = asked_for(argc, argv, "--in-memory") || asked_for(argc, argv, "--no-huge") ||
			asked_for(argc, argv, "--legacy-mem"); /* excludes it */
	char **args = calloc(argc + 2, sizeof(*args));
	int n = 0;
	int rc;

	if (args == NULL)
		return -1;
	for (int i = 0; i < argc; i++) {
		said |= strncmp(argv[i], "--huge-unlink", strlen("--huge-unlink")) == 0;
		args[n++] = argv[i];
	}
	if (!said)
		args[n++] = in_memory;
	rc = rte_eal_init(n, args);
	free(args);
	return rc;
}

/** EAL says what it did not like; say what to do. */
static int
eal_failed(int argc, char **argv)
{
	fprintf(stderr, "dpdk-pcpu-gw: EAL does not start: %s\n", rte_strerror(rte_errno));
	if (!asked_for(argc, argv, "--no-huge") && !has_hugepages())
		fprintf(stderr,
				"dpdk-pcpu-gw: there are no free hugepages. Reserve some:\n"
				"    echo 512 > /proc/sys/vm/nr_hugepages\n"
				"or do without, slower: give EAL --no-huge -m 512\n");
	else if (geteuid() != 0)
		fprintf(stderr,
				"dpdk-pcpu-gw: run it as root, or with CAP_NET_ADMIN, CAP_NET_RAW, "
				"CAP_IPC_LOCK and access to the devices\n");
	return EXIT_FAILURE;
}

static void
print_totals(const struct gw_totals *t)
{
	uint64_t drops = 0;

	for (unsigned int i = 0; i < GW_N_DROPS; i++)
		drops += t->sum.drop[i];
	for (unsigned int i = 0; i < IPSEC_PCPU_N_DROPS; i++)
		drops += t->sum.esp_drop[i];
	printf("rx %" PRIu64 ", tx %" PRIu64 ", encrypted %" PRIu64 ", decrypted %" PRIu64
	       ", punted %" PRIu64 ", dropped %" PRIu64 "\n",
			t->sum.rx, t->sum.tx, t->sum.encap, t->sum.decap, t->sum.punted, drops);
	for (unsigned int i = 0; i < GW_N_DROPS; i++)
		if (t->sum.drop[i] != 0)
			printf("  dropped %s: %" PRIu64 "\n", gw_drop_info[i].name, t->sum.drop[i]);
	for (unsigned int i = 0; i < IPSEC_PCPU_N_DROPS; i++)
		if (t->sum.esp_drop[i] != 0)
			printf("  dropped %s: %" PRIu64 "\n", ipsec_pcpu_drop_info[i].name,
					t->sum.esp_drop[i]);
	printf("mbufs leaked: %" PRIu64 "\n", t->mbufs_leaked);
}

static int
run(int argc, char **argv, const struct gw_options *opt)
{
	struct gw_console *con = NULL;
	struct gw_ike_socket *ike = NULL;
	struct gw_metrics *metrics = NULL;
	struct gw_config cfg;
	struct gw_totals totals;
	struct gw_error err;
	static struct gw gw;
	int status = EXIT_SUCCESS;

	if (gw_config_load(opt->config_file, &cfg, &err) < 0)
		return fail(&err);
	block_signals();
	if (start_eal(opt->eal_argc, argv) < 0) {
		gw_config_free(&cfg);
		return eal_failed(opt->eal_argc, argv);
	}
	gw_log_init();
	if (gw_init(&gw, &cfg, &err) < 0) {
		rte_eal_cleanup();
		return fail(&err);
	}
	if (gw_ike_socket_open(&gw, gw.cfg.ike_socket, &ike, &err) < 0 ||
			gw_metrics_open(&gw, &metrics, &err) < 0 ||
			gw_console_open(&gw, gw.cfg.console_socket, opt->interactive, &con, &err) <
					0) {
		status = fail(&err);
	} else {
		/* scripts wait for this line: the console answers now */
		if (!opt->interactive)
			GW_LOG(NOTICE, "up: %u workers, %u ports, %u tunnels", gw.n_workers,
					gw.n_ports, gw.n_tunnels);
		gw_run(&gw);
	}
	gw_console_close(con);
	gw_metrics_close(metrics);
	gw_ike_socket_close(ike);
	gw_fini(&gw, &totals);
	print_totals(&totals);
	rte_eal_cleanup();
	return status;
}

static int
check(const struct gw_options *opt)
{
	struct gw_config cfg;
	struct gw_error err;

	if (gw_config_load(opt->config_file, &cfg, &err) < 0)
		return fail(&err);
	printf("%s: good: %u ports, %u tunnels, %u policies\n", opt->config_file, cfg.n_ports,
			cfg.n_tunnels, cfg.n_policies);
	gw_config_free(&cfg);
	return EXIT_SUCCESS;
}

static int
make_tunnel(const struct gw_options *opt)
{
	struct gw_error err;
	int rc;

	if (opt->out_dir != NULL)
		rc = gw_config_make_tunnel_files(&opt->make_tunnel, opt->out_dir, stdout, &err);
	else
		rc = gw_config_make_tunnel(&opt->make_tunnel, stdout, stdout, &err);
	return rc < 0 ? fail(&err) : EXIT_SUCCESS;
}

/** What the options ask for; the exit status. */
static int
act(int argc, char **argv, const struct gw_options *opt)
{
	switch (opt->mode) {
	case GW_MODE_RUN:
		return run(argc, argv, opt);
	case GW_MODE_CHECK:
		return check(opt);
	case GW_MODE_ATTACH:
		return gw_attach(opt->socket, opt->commands);
	case GW_MODE_MAKE_TUNNEL:
		return make_tunnel(opt);
	case GW_MODE_PEER_COMMANDS:
		return gw_peer_commands_main(opt);
	case GW_MODE_CONFIG_DOC:
		gw_config_doc(stdout);
		return EXIT_SUCCESS;
	case GW_MODE_CONSOLE_DOC:
		gw_console_doc(stdout);
		return EXIT_SUCCESS;
	case GW_MODE_COUNTERS_DOC:
		gw_counters_doc(stdout);
		return EXIT_SUCCESS;
	case GW_MODE_METRICS_DOC:
		gw_metrics_doc(stdout);
		return EXIT_SUCCESS;
	case GW_MODE_ENA_DEVARGS:
		return ena_devargs_print(stdout, GW_DPDK_VERSION) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
	case GW_MODE_HELP:
		gw_options_help(stdout);
		return EXIT_SUCCESS;
	case GW_MODE_VERSION:
		printf("dpdk-pcpu-gw " GW_VERSION "\n");
		return EXIT_SUCCESS;
	}
	return EXIT_FAILURE;
}

int
main(int argc, char **argv)
{
	struct gw_options opt;
	struct gw_error err;
	int status;

	protect_memory();
	if (gw_options_parse(argc, argv, &opt, &err) < 0)
		return fail(&err);
	status = act(argc, argv, &opt);
	gw_options_free(&opt);
	return status;
}
