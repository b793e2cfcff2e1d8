/* SPDX-License-Identifier: BSD-3-Clause */

/* What the workers' lcores run besides the gateway, and the clocks of their threads. */

#include <errno.h>
#include <pthread.h>

#include <rte_ethdev.h>
#include <rte_launch.h>
#include <rte_lcore.h>

#include "bench.h"

static clockid_t clocks[RTE_MAX_LCORE];

static int
note_clock(void *arg)
{
	return pthread_getcpuclockid(pthread_self(), arg);
}

int
bench_clocks_init(void)
{
	unsigned int lcore;

	RTE_LCORE_FOREACH_WORKER(lcore) {
		if (rte_eal_remote_launch(note_clock, &clocks[lcore], lcore) < 0 ||
				rte_eal_wait_lcore(lcore) != 0)
			return -EIO;
	}
	return 0;
}

unsigned int
bench_lcore(unsigned int worker)
{
	unsigned int lcore;

	RTE_LCORE_FOREACH_WORKER(lcore)
		if (worker-- == 0)
			return lcore;
	return RTE_MAX_LCORE;
}

static uint64_t
clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return ts.tv_sec * UINT64_C(1000000000) + ts.tv_nsec;
}

uint64_t
bench_cpu_ns(unsigned int lcore)
{
	return clock_ns(clocks[lcore]);
}

uint64_t
bench_wall_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

void
bench_sleep_ms(unsigned int ms)
{
	const struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};

	clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, NULL);
}

static void
count(struct bench_count *c, uint64_t n)
{
	__atomic_store_n(&c->packets, c->packets + n, __ATOMIC_RELAXED);
}

int
bench_io_main(void *arg)
{
	struct bench_io *io = arg;
	struct rte_mbuf *pkts[GW_BURST];

	while (!__atomic_load_n(&io->stop, __ATOMIC_RELAXED)) {
		uint16_t n = rte_eth_rx_burst(io->in, io->queue, pkts, GW_BURST);
		uint16_t sent = rte_eth_tx_burst(io->out, io->queue, pkts, n);

		rte_pktmbuf_free_bulk(pkts + sent, n - sent);
		count(&io->count, sent);
	}
	return 0;
}
