/* SPDX-License-Identifier: BSD-3-Clause */

#include "numa.h"

#include <sched.h>

#include <numa.h>
#include <numaif.h>

#include <rte_lcore.h>

#include "../log.h"

/** The node of all CPUs that an lcore may run on; -1: of several nodes, or unknown. */
static int
lcore_node(unsigned int lcore)
{
	rte_cpuset_t cpus = rte_lcore_cpuset(lcore);
	int node = -1;

	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		int n;

		if (!CPU_ISSET(cpu, &cpus))
			continue;
		n = numa_node_of_cpu(cpu);
		if (n < 0 || (node >= 0 && n != node))
			return -1;
		node = n;
	}
	return node;
}

/** Where an mbuf of the pool really is, whatever was asked for; -1: unknown. */
static int
pool_node(struct rte_mempool *pool)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
	void *page;
	int node = -1;

	if (m == NULL)
		return -1;
	*rte_pktmbuf_mtod(m, volatile char *) = 0; /* a page that was never touched is nowhere */
	page = rte_pktmbuf_mtod(m, void *);
	if (numa_move_pages(0, 1, &page, NULL, &node, 0) < 0)
		node = -1;
	rte_pktmbuf_free(m);
	return node;
}

static unsigned int
check_port(const struct gw_port *port, const unsigned int *lcores, unsigned int n_workers)
{
	int mem = pool_node(port->pool);
	unsigned int found = 0;

	if (port->numa_node >= 0 && mem >= 0 && mem != port->numa_node) {
		GW_LOG(WARNING,
				"port %s is on NUMA node %d, its mbufs on node %d: "
				"give EAL memory of node %d (--socket-mem)",
				port->name, port->numa_node, mem, port->numa_node);
		found++;
	}
	for (unsigned int i = 0; i < n_workers; i++) {
		int node = lcore_node(lcores[i]);
		int want = port->numa_node >= 0 ? port->numa_node : mem;

		if (node < 0 || want < 0 || node == want)
			continue;
		GW_LOG(WARNING,
				"worker %u (lcore %u) is on NUMA node %d, port %s on node %d: "
				"each packet crosses nodes; choose lcores of node %d (-l)",
				i, lcores[i], node, port->name, want, want);
		found++;
	}
	return found;
}

unsigned int
gw_numa_check(const struct gw_port *ports, unsigned int n_ports, const unsigned int *lcores,
		unsigned int n_workers)
{
	unsigned int found = 0;

	if (numa_available() < 0 || numa_max_node() == 0)
		return 0;
	for (unsigned int i = 0; i < n_ports; i++)
		found += check_port(&ports[i], lcores, n_workers);
	return found;
}
