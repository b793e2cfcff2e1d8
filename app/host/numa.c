/* SPDX-License-Identifier: BSD-3-Clause */

#include "numa.h"

#include <errno.h>
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

/** Of each CPU; of those that are not there: -1. Returns how many there may be. */
static unsigned int
cpu_nodes(int nodes[CPU_SETSIZE])
{
	unsigned int n = RTE_MIN((unsigned int)CPU_SETSIZE, (unsigned int)numa_num_possible_cpus());

	for (unsigned int cpu = 0; cpu < n; cpu++)
		nodes[cpu] = numa_node_of_cpu((int)cpu);
	return n;
}

int
gw_numa_check(const struct gw_port *ports, unsigned int n_ports, const unsigned int *lcores,
		unsigned int n_workers, enum gw_numa_want want, struct gw_error *err)
{
	static struct gw_error found[GW_NUMA_MAX_FINDINGS];
	struct gw_numa_port at[GW_MAX_PORTS];
	int workers[GW_MAX_WORKERS], cpus[CPU_SETSIZE];
	struct gw_numa_site site = {at, n_ports, workers, n_workers, cpus, 0};
	unsigned int n;

	if (numa_available() < 0 || numa_max_node() == 0)
		return 0;
	site.n_cpus = cpu_nodes(cpus);
	for (unsigned int i = 0; i < n_ports; i++)
		at[i] = (struct gw_numa_port){
				ports[i].name, ports[i].numa_node, pool_node(ports[i].pool)};
	for (unsigned int i = 0; i < n_workers; i++)
		workers[i] = lcore_node(lcores[i]);
	n = gw_numa_find(&site, found);
	for (unsigned int i = 0; i < n; i++)
		GW_LOG(WARNING, "NUMA: %s", found[i].text);
	if (n == 0 || want == GW_NUMA_WARN)
		return 0;
	gw_error_set(err, NULL, 0, "numa = \"strict\": %.480s", found[0].text);
	return -EXDEV;
}
