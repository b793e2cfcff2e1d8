/* SPDX-License-Identifier: BSD-3-Clause */

/* How long the gateway takes to start, and what many tunnels cost in time and memory. */

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <rte_eal.h>
#include <rte_malloc.h>
#include <rte_mempool.h>

#include "bench.h"

#define MB (1024.0 * 1024)

static void
add_chunk(struct rte_mempool *mp, void *arg, struct rte_mempool_memhdr *hdr, unsigned int i)
{
	*(double *)arg += hdr->len;
}

static void
add_pool(struct rte_mempool *mp, void *arg)
{
	rte_mempool_mem_iter(mp, add_chunk, arg);
}

static double
pools_bytes(void)
{
	double sum = 0;

	rte_mempool_walk(add_pool, &sum);
	return sum;
}

/** All that is allocated: EAL's heap, in hugepages or not, and the C library's. */
static double
used_bytes(void)
{
	struct mallinfo2 mi = mallinfo2();
	double sum = (double)mi.uordblks + mi.hblkhd;

	for (int i = 0; i < RTE_MAX_NUMA_NODES; i++) {
		struct rte_malloc_socket_stats one = {.heap_allocsz_bytes = 0};

		if (rte_malloc_get_socket_stats(i, &one) == 0)
			sum += one.heap_allocsz_bytes;
	}
	return sum;
}

/** A gateway of l->tunnels tunnels, with a pair of SAs for each worker. */
static int
load(const struct bench_options *opt, struct bench_load *l)
{
	struct bench_cell cell = bench_cell_default(opt->algo);
	struct gw *gw = calloc(1, sizeof(*gw));
	struct gw_error err = {.text = ""};
	struct gw_config cfg;
	double used = used_bytes();
	uint64_t start, parsed;
	int rc = -ENOMEM;
	char *text;

	cell.workers = rte_lcore_count() - 1;
	cell.tunnels = l->tunnels;
	l->sas = cell.tunnels * cell.workers * 2;
	text = bench_config_text(&cell);
	start = bench_wall_ns();
	if (text != NULL && gw != NULL)
		rc = gw_config_parse(text, "bench", &cfg, &err);
	parsed = bench_wall_ns();
	free(text);
	if (rc == 0)
		rc = gw_init(gw, &cfg, &err);
	if (rc == 0) {
		l->parse_s = (parsed - start) / 1e9;
		l->init_s = (bench_wall_ns() - parsed) / 1e9;
		l->pools_mb = pools_bytes() / MB;
		l->memory_mb = (used_bytes() - used) / MB - l->pools_mb;
		gw_fini(gw, NULL);
	} else {
		fprintf(stderr, "bench: %u tunnels: %s\n", l->tunnels, err.text);
	}
	free(gw);
	return rc;
}

int
bench_load_tunnels(const struct bench_options *opt, struct bench_load *l)
{
	struct bench_load one = {.tunnels = 1};
	int rc = load(opt, &one);

	if (rc == 0)
		rc = load(opt, l);
	if (rc == 0)
		l->sa_bytes = (l->memory_mb - one.memory_mb) * MB / (l->sas - one.sas);
	return rc;
}

static char *
write_config(const struct bench_options *opt)
{
	const struct bench_cell cell = bench_cell_default(opt->algo);
	char *text = bench_config_text(&cell);
	char *path = strdup("/tmp/gw-bench-XXXXXX");
	int fd = path == NULL ? -1 : mkstemp(path);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "w");

	if (f != NULL && text != NULL)
		fputs(text, f);
	if (f != NULL)
		fclose(f);
	free(text);
	return path;
}

/** The binary, its messages into @p to. */
static pid_t
spawn(const char *binary, const char *config, int to)
{
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	dup2(to, STDOUT_FILENO);
	dup2(to, STDERR_FILENO);
	execl(binary, binary, "-l", "0-1", "--no-huge", "--no-shconf", "--no-pci", "--no-telemetry",
			"-m", "256", "--", "-c", config, (char *)NULL);
	_exit(127);
}

int
bench_load_start(const struct bench_options *opt, struct bench_load *l)
{
	char *config = opt->gateway == NULL ? NULL : write_config(opt);
	uint64_t start = bench_wall_ns();
	char line[512];
	int fds[2], rc = -EIO;
	pid_t pid;
	FILE *f;

	if (config == NULL)
		return opt->gateway == NULL ? 0 : -ENOMEM;
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	pid = spawn(opt->gateway, config, fds[1]);
	close(fds[1]);
	f = fdopen(fds[0], "r");
	while (rc < 0 && f != NULL && fgets(line, sizeof(line), f) != NULL) {
		if (strstr(line, "up: ") != NULL) {
			l->start_s = (bench_wall_ns() - start) / 1e9;
			rc = 0;
		}
	}
	kill(pid, SIGTERM);
	while (f != NULL && fgets(line, sizeof(line), f) != NULL)
		;
	waitpid(pid, NULL, 0);
	if (f != NULL)
		fclose(f);
	unlink(config);
	free(config);
	if (rc < 0)
		fprintf(stderr, "bench: %s did not say that it is up\n", opt->gateway);
	return rc;
}
