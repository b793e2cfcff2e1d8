/* SPDX-License-Identifier: BSD-3-Clause */

#include "idle.h"

#include <pthread.h>
#include <sys/prctl.h>
#include <time.h>

#include <rte_cycles.h>
#include <rte_pause.h>

#include "frag.h"

/** Rounds of mere pauses before the first sleep: a few microseconds. */
#define PAUSE_ROUNDS 256

void
gw_idle_init(struct gw_worker *w)
{
	/* the kernel adds 50 us to every sleep unless told otherwise */
	prctl(PR_SET_TIMERSLACK, 1000UL, 0, 0, 0);
	if (pthread_getcpuclockid(pthread_self(), &w->cpu_clock) != 0)
		w->cpu_clock = CLOCK_PROCESS_CPUTIME_ID;
}

void
gw_idle(struct gw_worker *w, unsigned int empty)
{
	struct timespec ts = {0};
	unsigned int us;

	if (empty < PAUSE_ROUNDS || w->idle_sleep_us == 0) {
		rte_pause();
		return;
	}
	us = 1u << RTE_MIN((empty - PAUSE_ROUNDS) / 16, 16u);
	ts.tv_nsec = RTE_MIN(us, w->idle_sleep_us) * 1000L;
	w->counters.sleeps++;
	clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, NULL);
}

void
gw_housekeeping(struct gw_worker *w)
{
	if (w->reass != NULL)
		gw_reass_expire(w->reass, rte_rdtsc());
}
