/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * What ports on Amazon's ENA need of control once a second: the PMD's watchdog, and an
 * eye on what AWS holds back. Nothing of this exists where no port is one.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <rte_common.h>
#include <rte_ethdev.h>

#include <ena_tweaks.h>

#include "../log.h"
#include "control_priv.h"

#define MEMTYPES "/sys/kernel/debug/x86/pat_memtype_list"
/** Ethernet header of each packet, on top of what encapsulation adds. */
#define ETHER_LEN 14

struct port_state {
	struct ena_allowances allowances;
	struct ena_warn warn[ENA_N_ALLOWANCES];
};

struct tunnel_state {
	struct ena_warn flow;
	bool plain_said;
};

struct gw_ena {
	uint64_t last_ns; /* when allowances were sampled; CLOCK_MONOTONIC */
	struct port_state port[GW_MAX_PORTS];
	struct tunnel_state *tunnel; /* by id */
	struct ena_flow *flows; /* scratch */
	unsigned int max_flows;
};

static bool
any_ena(const struct gw *gw)
{
	for (unsigned int i = 0; i < gw->n_ports; i++)
		if (gw->port[i].is_ena)
			return true;
	return false;
}

int
gw_ena_open(struct gw *gw, struct gw_error *err)
{
	struct gw_ena *ena;
	int rc;

	if (!any_ena(gw))
		return 0;
	ena = calloc(1, sizeof(*ena));
	if (ena != NULL)
		ena->tunnel = calloc(RTE_MAX(gw_max_tunnels(&gw->cfg), 1u), sizeof(*ena->tunnel));
	if (ena == NULL || ena->tunnel == NULL) {
		free(ena);
		gw_error_set(err, NULL, 0, "not enough memory");
		return -ENOMEM;
	}
	rc = ena_watchdog_init();
	if (rc < 0) {
		free(ena->tunnel);
		free(ena);
		gw_error_set(err, NULL, 0,
				"timers for the ENA driver's watchdog cannot be made: %s; give EAL "
				"more memory (-m, hugepages)",
				strerror(-rc));
		return rc;
	}
	ena->last_ns = gw_now_ns();
	gw->ena = ena;
	return 0;
}

void
gw_ena_close(struct gw *gw)
{
	if (gw->ena == NULL)
		return;
	ena_watchdog_fini();
	free(gw->ena->flows);
	free(gw->ena->tunnel);
	free(gw->ena);
	gw->ena = NULL;
}

/** The device's memory, by what the kernel says of it; debugfs may not be there: then nothing. */
static const char *
wc_advice(uint16_t port_id)
{
	char path[128], name[RTE_ETH_NAME_MAX_LEN];
	FILE *resource, *memtypes;
	const char *advice = NULL;

	if (rte_eth_dev_get_name_by_port(port_id, name) < 0)
		return NULL;
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%.64s/resource", name);
	resource = fopen(path, "re");
	memtypes = fopen(MEMTYPES, "re");
	if (resource != NULL && memtypes != NULL)
		advice = ena_wc_advice(ena_wc_check(resource, memtypes));
	if (resource != NULL)
		fclose(resource);
	if (memtypes != NULL)
		fclose(memtypes);
	return advice;
}

void
gw_ena_port_started(struct gw *gw, unsigned int port)
{
	const struct gw_port *p = &gw->port[port];
	const char *advice;

	if (gw->ena == NULL || !p->is_ena)
		return;
	ena_allowances_open(&gw->ena->port[port].allowances, p->id);
	advice = wc_advice(p->id);
	if (advice != NULL)
		GW_LOG(WARNING, "port %s: %s", p->name, advice);
}

/* Allowances */

static void
warn_allowances(const struct gw_port *p, struct port_state *s)
{
	for (unsigned int i = 0; i < s->allowances.n; i++) {
		const struct ena_allowance *row = &s->allowances.row[i];
		uint64_t sum;

		if (row->info->kind != ENA_LIMIT)
			continue;
		sum = ena_warn_due(&s->warn[i], row->delta, gw_now_ns());
		if (sum > 0)
			GW_LOG(WARNING, "port %s: AWS held back %" PRIu64 " %s (%s): %s", p->name,
					sum, row->info->what, row->info->name, row->info->remedy);
	}
}

static void
sample(struct gw *gw)
{
	uint64_t now = gw_now_ns();
	double seconds = (now - gw->ena->last_ns) / 1e9;

	gw->ena->last_ns = now;
	for (unsigned int i = 0; i < gw->n_ports; i++) {
		struct port_state *s = &gw->ena->port[i];

		if (!gw_port_usable(&gw->port[i]))
			continue;
		ena_allowances_sample(&s->allowances, seconds);
		/* also without a new one: what was held back in the last minute is due sometime */
		warn_allowances(&gw->port[i], s);
	}
}

bool
gw_allowance_get(const struct gw *gw, unsigned int port, unsigned int i, struct gw_allowance *a)
{
	const struct ena_allowance *row;

	if (gw->ena == NULL || i >= gw->ena->port[port].allowances.n)
		return false;
	row = &gw->ena->port[port].allowances.row[i];
	*a = (struct gw_allowance){.name = row->info->name,
			.what = row->info->what,
			.value = row->value,
			.has_rate = row->info->kind != ENA_GAUGE,
			.rate = row->rate};
	return true;
}

/* Flows */

/** On the wire: encapsulation as at an MTU of 1500, which is right to a byte or 15. */
static double
wire_bps(const struct gw_sa *sa)
{
	unsigned int more = 1500 - ipsec_pcpu_sa_inner_mtu(&sa->prm, 1500) + ETHER_LEN;

	return sa->bps + sa->pps * more * 8;
}

static void
add_flow(struct ena_flow *f, const struct gw_sa *sa)
{
	size_t len = sa->prm.family == AF_INET6 ? 16 : 4;

	memset(f, 0, sizeof(*f));
	f->tuple.family = sa->prm.family;
	memcpy(&f->tuple.saddr, &sa->prm.saddr, len);
	memcpy(&f->tuple.daddr, &sa->prm.daddr, len);
	f->tuple.sport = sa->prm.encap_sport;
	f->tuple.dport = sa->prm.encap_dport;
	f->bps = wire_bps(sa);
	f->n_sas = 1;
	f->tag = sa;
}

static void
say_plain(struct gw *gw, const struct gw_tunnel *t)
{
	struct tunnel_state *s = &gw->ena->tunnel[t->id];

	if (s->plain_said || gw->n_workers < 2)
		return;
	s->plain_said = true;
	GW_LOG(WARNING,
			"tunnel %s: ENA does not hash plain ESP: all of it comes in on the queue of "
			"the redirection table's first entry, or queue 0, and is handed on from "
			"there. UDP encapsulation (sport, dport of each SA) spreads it",
			t->cfg->name);
}

/** The SAs of a tunnel that carry something; how many flows there are then. */
static unsigned int
collect(struct gw *gw, const struct gw_tunnel *t, unsigned int n)
{
	for (unsigned int i = 0; i < t->n_sas; i++) {
		const struct gw_sa *sa = t->sas[i];

		if (sa->pps <= 0)
			continue;
		if (sa->prm.dir == IPSEC_PCPU_IN && sa->prm.encap_dport == 0)
			say_plain(gw, t);
		add_flow(&gw->ena->flows[n++], sa);
	}
	return n;
}

static bool
make_room(struct gw_ena *ena, unsigned int n)
{
	struct ena_flow *more;

	if (n <= ena->max_flows)
		return true;
	more = realloc(ena->flows, n * sizeof(*more));
	if (more == NULL)
		return false;
	ena->flows = more;
	ena->max_flows = n;
	return true;
}

/** Does this tunnel's traffic pass an ENA port? */
static bool
over_ena(const struct gw *gw, const struct gw_tunnel *t)
{
	const struct gw_nexthop *nh = &gw->view->nh[gw->view->tunnel[t->id].nh];

	return nh->kind == GW_NH_ETHER && gw->port[nh->port].is_ena;
}

static void
warn_flow(struct gw *gw, const struct ena_flow *f)
{
	const struct gw_sa *sa = f->tag;
	const struct gw_tunnel *t = &gw->tunnel[sa->tunnel];
	unsigned int limit = ena_flow_near(f->bps);

	if (limit == 0 || ena_warn_due(&gw->ena->tunnel[t->id].flow, 1, gw_now_ns()) == 0)
		return;
	GW_LOG(WARNING,
			"tunnel %s, SPI 0x%08x %s: %.2f Gbit/s in one flow (%u SA%s), near the %u "
			"Gbit/s that AWS lets one have: %s",
			t->cfg->name, sa->prm.spi, sa->prm.dir == IPSEC_PCPU_IN ? "in" : "out",
			f->bps / 1e9, f->n_sas, f->n_sas == 1 ? "" : "s", limit,
			f->tuple.dport == 0
					? "all plain ESP between two addresses is one flow, use UDP encapsulation with a source port for each SA"
					: "use more pairs of SAs, each with a source port of its own");
}

static void
watch_flows(struct gw *gw)
{
	unsigned int max = 0, n = 0;

	for (unsigned int t = 0; t < gw->n_tunnels; t++)
		max += gw->tunnel[t].n_sas;
	if (!make_room(gw->ena, max))
		return; /* a warning less */
	for (unsigned int t = 0; t < gw->n_tunnels; t++)
		if (over_ena(gw, &gw->tunnel[t]))
			n = collect(gw, &gw->tunnel[t], n);
	n = ena_flows_merge(gw->ena->flows, n);
	for (unsigned int i = 0; i < n; i++)
		warn_flow(gw, &gw->ena->flows[i]);
}

void
gw_ena_tick(struct gw *gw)
{
	if (gw->ena == NULL)
		return;
	ena_watchdog_tick();
	sample(gw);
	watch_flows(gw);
}

void
gw_ena_odd_hash(const struct gw *gw, unsigned int port, const uint8_t *key,
		const struct ipsec_pcpu_tuple *tuple, uint32_t hash)
{
	if (gw->port[port].is_ena)
		GW_LOG(NOTICE, "port %s: %s", gw->port[port].name,
				ena_hash_text(ena_hash_check(key, tuple, &hash)));
}
