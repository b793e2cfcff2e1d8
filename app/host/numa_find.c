/* SPDX-License-Identifier: BSD-3-Clause */

/* What is on the wrong NUMA node. Pure: libnuma is asked elsewhere. */

#include "numa.h"

#include <stdio.h>
#include <string.h>

/** Numbers with one node, as lists are given to EAL: "0-3,8". */
#define LIST_LEN 160

/** The indices of @p nodes with @p node; returns how many. */
static unsigned int
list_of(const int *nodes, unsigned int n, int node, char list[LIST_LEN])
{
	unsigned int end, found = 0;
	size_t len = 0;

	list[0] = '\0';
	for (unsigned int i = 0; i < n; i = end + 1) {
		end = i;
		if (nodes[i] != node)
			continue;
		while (end + 1 < n && nodes[end + 1] == node)
			end++;
		found += end - i + 1;
		if (len + 24 > LIST_LEN) /* cut off at a number, not within */
			continue;
		len += snprintf(list + len, LIST_LEN - len, "%s%u", len > 0 ? "," : "", i);
		if (end > i)
			len += snprintf(list + len, LIST_LEN - len, "-%u", end);
	}
	return found;
}

/** "worker 3", "workers 0 to 3", "workers 0-1,4" of a node. */
static const char *
workers_of(const struct gw_numa_site *site, int node, char text[LIST_LEN + 16])
{
	char list[LIST_LEN], *dash;
	unsigned int n = list_of(site->workers, site->n_workers, node, list);

	dash = strchr(list, '-');
	if (dash != NULL && strchr(list, ',') == NULL)
		snprintf(text, LIST_LEN + 16, "workers %.*s to %s", (int)(dash - list), list,
				dash + 1);
	else
		snprintf(text, LIST_LEN + 16, "worker%s %s", n > 1 ? "s" : "", list);
	return text;
}

/** " (-l 16-31)", the CPUs of a node; "" where none is known. */
static const char *
lcores_of(const struct gw_numa_site *site, int node, char text[LIST_LEN + 16])
{
	char list[LIST_LEN];

	text[0] = '\0';
	if (list_of(site->cpus, site->n_cpus, node, list) > 0)
		snprintf(text, LIST_LEN + 16, " (-l %s)", list);
	return text;
}

/** The first port that is on a node, but not on @p but; NULL: none. */
static const struct gw_numa_port *
port_on(const struct gw_numa_site *site, int but)
{
	for (unsigned int i = 0; i < site->n_ports; i++)
		if (site->ports[i].node >= 0 && site->ports[i].node != but)
			return &site->ports[i];
	return NULL;
}

static bool
is_port_node(const struct gw_numa_site *site, int node)
{
	for (unsigned int i = 0; i < site->n_ports; i++)
		if (site->ports[i].node == node)
			return true;
	return false;
}

/** Ports whose mbufs are on a node that no port is on. */
static unsigned int
find_mem(const struct gw_numa_site *site, struct gw_error *found)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < site->n_ports; i++) {
		const struct gw_numa_port *p = &site->ports[i];

		if (p->node < 0 || p->mem < 0 || is_port_node(site, p->mem))
			continue;
		gw_error_set(&found[n++], NULL, 0,
				"port \"%s\" is on node %d, its packet buffers are on node %d: each "
				"packet is written and read across the interconnect; give EAL memory "
				"of node %d (--socket-mem)",
				p->name, p->node, p->mem, p->node);
	}
	return n;
}

/** The workers of node @p node, seen from @p home, where the packets are. */
static void
say_workers(const struct gw_numa_site *site, int node, const struct gw_numa_port *port, int home,
		struct gw_error *found)
{
	char who[LIST_LEN + 16], lcores[LIST_LEN + 16], list[LIST_LEN];
	unsigned int n = list_of(site->workers, site->n_workers, node, list);

	workers_of(site, node, who);
	gw_error_set(found, NULL, 0,
			"%s \"%s\" %s on node %d, %s %s on node %d: every packet%s crosses the "
			"interconnect; use lcores of node %d%s",
			port->node >= 0 ? "port" : "the packet buffers of port", port->name,
			port->node >= 0 ? "is" : "are", home, who, n > 1 ? "are" : "is", node,
			n == site->n_workers    ? ""
					: n > 1 ? " of theirs"
						: " of its",
			home, lcores_of(site, home, lcores));
}

/** Workers on a node that neither a port nor, where no port has a node, the mbufs are on. */
static unsigned int
find_workers(const struct gw_numa_site *site, struct gw_error *found)
{
	const struct gw_numa_port *port = port_on(site, -1);
	char list[LIST_LEN];
	unsigned int n = 0;
	int home;

	if (port == NULL && site->n_ports > 0 && site->ports[0].mem >= 0)
		port = &site->ports[0];
	if (port == NULL)
		return 0;
	home = port->node >= 0 ? port->node : port->mem;
	for (unsigned int i = 0; i < site->n_workers; i++) {
		int node = site->workers[i];

		/* each node once: at its first worker */
		if (node < 0 || node == home || is_port_node(site, node) ||
				list_of(site->workers, i, node, list) > 0)
			continue;
		say_workers(site, node, port, home, &found[n++]);
	}
	return n;
}

unsigned int
gw_numa_find(const struct gw_numa_site *site, struct gw_error found[GW_NUMA_MAX_FINDINGS])
{
	const struct gw_numa_port *a = port_on(site, -1);
	const struct gw_numa_port *b = a != NULL ? port_on(site, a->node) : NULL;
	unsigned int n = 0;

	if (b != NULL)
		gw_error_set(&found[n++], NULL, 0,
				"port \"%s\" is on node %d, port \"%s\" on node %d: whatever node "
				"workers are on, the packets of one of them cross the interconnect; "
				"use NICs of one node, or put one of these into another slot",
				a->name, a->node, b->name, b->node);
	n += find_mem(site, found + n);
	return n + find_workers(site, found + n);
}
