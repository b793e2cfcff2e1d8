/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef NUMA_H
#define NUMA_H

/* Is everything that a packet touches on one NUMA node? Control thread. */

#include "port.h"

/** Where things are, by node; -1: on none, on several, or unknown. */
struct gw_numa_port {
	const char *name;
	int node;
	int mem; /* of the mbufs that it fills */
};

struct gw_numa_site {
	const struct gw_numa_port *ports;
	unsigned int n_ports;
	const int *workers; /* of each */
	unsigned int n_workers;
	const int *cpus; /* of each CPU: EAL's lcores have their numbers, if not told otherwise */
	unsigned int n_cpus;
};

/** Room for all that gw_numa_find() may find. */
#define GW_NUMA_MAX_FINDINGS (GW_MAX_PORTS + GW_MAX_WORKERS + 1)

/**
 * What does not fit, a sentence each: what is where, what it costs, what to do. Pure: numa_find.c.
 *
 * @return
 *   How many; 0 where all is on one node, or nothing is known.
 */
unsigned int gw_numa_find(
		const struct gw_numa_site *site, struct gw_error found[GW_NUMA_MAX_FINDINGS]);

/**
 * Find out where ports, mbufs and the lcores of workers are (libnuma), and say what does not
 * fit. Nothing is said on a machine with one node.
 *
 * @param lcores
 *   Of the workers.
 * @return
 *   0: fits, or @p want is GW_NUMA_WARN, and all was logged. -EXDEV, and the first in @p err.
 */
int gw_numa_check(const struct gw_port *ports, unsigned int n_ports, const unsigned int *lcores,
		unsigned int n_workers, enum gw_numa_want want, struct gw_error *err);

#endif /* NUMA_H */
