/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * What AWS holds back: counters of the device, by name, as their set differs with
 * instance, region and DPDK. And how often to warn of it.
 */

#include "ena_tweaks.h"

#include <string.h>

#include <rte_common.h>

#define WARN_NS UINT64_C(60000000000)

const struct ena_allowance_info ena_allowance_info[ENA_N_ALLOWANCES] = {
		{"bw_in_allowance_exceeded", ENA_LIMIT, "packets over the inbound bandwidth",
				"the instance's bandwidth is used up: a larger instance"},
		{"bw_out_allowance_exceeded", ENA_LIMIT, "packets over the outbound bandwidth",
				"the instance's bandwidth is used up: a larger instance"},
		{"pps_allowance_exceeded", ENA_LIMIT, "packets over the packet rate",
				"larger packets (MTU 9001, mss_clamp), or a larger instance"},
		{"conntrack_allowance_exceeded", ENA_LIMIT, "packets over the tracked connections",
				"security groups that allow all traffic both ways are not tracked"},
		{"linklocal_allowance_exceeded", ENA_LIMIT,
				"packets over the rate to DNS, metadata and time services",
				"cache DNS answers, ask the metadata service less often"},
		{"conntrack_allowance_available", ENA_GAUGE,
				"connections that can still be tracked", ""},
		{"ena_srd_mode", ENA_GAUGE,
				"ENA Express: 0 or 2 is off, 1 on for TCP, 3 for UDP too", ""},
		{"ena_srd_eligible_tx_pkts", ENA_COUNT, "packets that ENA Express could carry", ""},
		{"ena_srd_tx_pkts", ENA_COUNT, "packets sent by ENA Express", ""},
		{"ena_srd_rx_pkts", ENA_COUNT, "packets received by ENA Express", ""},
		{"ena_srd_resource_utilization", ENA_GAUGE, "percent of ENA Express in use", ""},
};

uint64_t
ena_warn_due(struct ena_warn *w, uint64_t n, uint64_t now_ns)
{
	uint64_t sum;

	w->sum += n;
	if (w->sum == 0 || (w->said && now_ns - w->last_ns < WARN_NS))
		return 0;
	sum = w->sum;
	*w = (struct ena_warn){.said = true, .last_ns = now_ns};
	return sum;
}

static int
read_all(const struct ena_allowances *a, uint64_t values[ENA_N_ALLOWANCES])
{
	uint64_t ids[ENA_N_ALLOWANCES];

	for (unsigned int i = 0; i < a->n; i++)
		ids[i] = a->row[i].id;
	return rte_eth_xstats_get_by_id(a->port_id, ids, values, a->n) == (int)a->n ? 0 : -1;
}

void
ena_allowances_open(struct ena_allowances *a, uint16_t port_id)
{
	uint64_t now[ENA_N_ALLOWANCES];

	memset(a, 0, sizeof(*a));
	a->port_id = port_id;
	for (unsigned int i = 0; i < ENA_N_ALLOWANCES; i++) {
		struct ena_allowance *row = &a->row[a->n];

		if (rte_eth_xstats_get_id_by_name(port_id, ena_allowance_info[i].name, &row->id) !=
				0)
			continue;
		row->info = &ena_allowance_info[i];
		a->n++;
	}
	/* they count since the instance was started: what is told is from now on */
	if (a->n == 0 || read_all(a, now) < 0)
		return;
	for (unsigned int i = 0; i < a->n; i++)
		a->row[i].last = now[i];
}

static void
sample_one(struct ena_allowance *row, uint64_t now, double seconds)
{
	/* a reset begins at 0 again */
	uint64_t delta = now >= row->last ? now - row->last : now;

	row->last = now;
	row->delta = 0;
	if (row->info->kind == ENA_GAUGE) {
		row->value = now;
		return;
	}
	row->delta = delta;
	row->value += delta;
	row->rate = (double)delta / seconds;
}

bool
ena_allowances_sample(struct ena_allowances *a, double seconds)
{
	uint64_t now[ENA_N_ALLOWANCES];

	for (unsigned int i = 0; i < a->n; i++)
		a->row[i].delta = 0;
	if (a->n == 0 || seconds <= 0 || read_all(a, now) < 0)
		return false;
	for (unsigned int i = 0; i < a->n; i++)
		sample_one(&a->row[i], now[i], seconds);
	return true;
}
