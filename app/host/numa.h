/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef NUMA_H
#define NUMA_H

/* Is everything that a packet touches on one NUMA node? (libnuma) Control thread. */

#include "port.h"

/**
 * Compare the nodes of ports, of the lcores that poll them and of the mbufs
 * they fill; a log line with the numbers for each pair that differs.
 *
 * @param lcores
 *   Of the workers.
 * @return
 *   How many pairs differ; 0 on a machine with one node.
 */
unsigned int gw_numa_check(const struct gw_port *ports, unsigned int n_ports,
		const unsigned int *lcores, unsigned int n_workers);

#endif /* NUMA_H */
