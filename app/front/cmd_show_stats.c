/* SPDX-License-Identifier: BSD-3-Clause */

/* show drops, show stats, show cycles. */

#include <stdio.h>

#include "commands.h"

/* Columns by worker: always in JSON; as text only while they fit a screen. */
#define MAX_WORKERS_SHOWN 8

static unsigned int
workers_shown(const struct gw_cmd *cmd)
{
	unsigned int n = cmd->gw->n_workers;

	return n <= MAX_WORKERS_SHOWN || gw_cmd_json(cmd) ? n : 0;
}

static void
worker_columns(struct gw_table *t, unsigned int n, enum gw_kind kind)
{
	for (unsigned int i = 0; i < n; i++) {
		char name[16];

		snprintf(name, sizeof(name), "w%u", i);
		gw_table_column(t, name, name, kind);
	}
}

/* Counters of the gateway and of its workers, read once. */
struct snapshot {
	struct gw_counters sum;
	struct gw_counters worker[GW_MAX_WORKERS];
	unsigned int n;
};

static void
take(const struct gw_cmd *cmd, struct snapshot *s)
{
	s->n = workers_shown(cmd);
	gw_stats_sum(cmd->gw, &s->sum);
	for (unsigned int i = 0; i < s->n; i++)
		gw_stats_worker(cmd->gw, i, &s->worker[i]);
}

/* struct gw_counters has an array of drops for each of the two lists. */
static const uint64_t *
drops_of(const struct gw_counters *c, bool esp)
{
	return esp ? c->esp_drop : c->drop;
}

static void
drop_rows(struct gw_table *t, const struct snapshot *s, bool esp, bool all)
{
	unsigned int n = esp ? (unsigned int)IPSEC_PCPU_N_DROPS : (unsigned int)GW_N_DROPS;

	for (unsigned int d = 0; d < n; d++) {
		uint64_t count = drops_of(&s->sum, esp)[d];

		if (count == 0 && !all)
			continue;
		gw_cell_text(t, esp ? "esp" : "gw");
		gw_cell_text(t, esp ? ipsec_pcpu_drop_info[d].name : gw_drop_info[d].name);
		gw_cell_num(t, count);
		for (unsigned int i = 0; i < s->n; i++)
			gw_cell_num(t, drops_of(&s->worker[i], esp)[d]);
		gw_cell_text(t, esp ? ipsec_pcpu_drop_info[d].what : gw_drop_info[d].what);
		gw_cell_text(t, esp ? ipsec_pcpu_drop_info[d].remedy : gw_drop_info[d].remedy);
	}
}

int
gw_cmd_show_drops(struct gw_cmd *cmd)
{
	static const struct gw_column columns[] = {
			{"group", "of", GW_KIND_TEXT},
			{"name", "drop", GW_KIND_TEXT},
			{"count", "count", GW_KIND_COUNT},
	};
	bool all = gw_cmd_has(cmd, "all");
	struct gw_doc *doc = gw_doc_new();
	struct gw_table *t;
	struct snapshot s;

	if (doc == NULL)
		return gw_cmd_show(cmd, NULL);
	take(cmd, &s);
	t = gw_doc_table(doc, "drops", NULL, columns, RTE_DIM(columns));
	worker_columns(t, s.n, GW_KIND_COUNT);
	gw_table_column(t, "what", "what", GW_KIND_TEXT);
	gw_table_column(t, "remedy", "what to do", GW_KIND_TEXT);
	drop_rows(t, &s, false, all);
	drop_rows(t, &s, true, all);
	return gw_cmd_show(cmd, doc);
}

static uint64_t
sum_drops(const struct gw_counters *c)
{
	uint64_t sum = 0;

	for (unsigned int d = 0; d < GW_N_DROPS; d++)
		sum += c->drop[d];
	for (unsigned int d = 0; d < IPSEC_PCPU_N_DROPS; d++)
		sum += c->esp_drop[d];
	return sum;
}

static void
balance(struct gw_doc *doc, const struct gw *gw, const struct gw_counters *c)
{
	struct gw_table *t = gw_doc_facts(doc, "balance",
			"rx + injected + created = tx + punted + absorbed + drops, once nothing is under way:");
	uint64_t in = c->rx + c->injected + c->created;
	uint64_t drops = sum_drops(c);
	uint64_t out = c->tx + c->punted + c->absorbed + drops;
	uint64_t overruns, reopens;

	gw_fact(t, "in", "in", GW_KIND_COUNT);
	gw_cell_num(t, in);
	gw_fact(t, "out", "out", GW_KIND_COUNT);
	gw_cell_num(t, out);
	gw_fact(t, "drops", "of it, drops", GW_KIND_COUNT);
	gw_cell_num(t, drops);
	gw_fact(t, "difference", "difference", GW_KIND_DIFF);
	gw_cell_diff(t, (int64_t)(in - out));
	gw_fact(t, "held_now", "waiting for a neighbour", GW_KIND_COUNT);
	gw_cell_num(t, gw->held_now);
#define _(name, brief, what) \
	gw_fact(t, #name, brief, GW_KIND_COUNT); \
	gw_cell_num(t, gw->name);
	GW_FOREACH_KERNEL_COUNT(_)
#undef _
	gw_nl_faults(gw->nl, &overruns, &reopens);
	gw_fact(t, "netlink_overruns", "netlink: read anew after loss", GW_KIND_COUNT);
	gw_cell_num(t, overruns);
	gw_fact(t, "netlink_reopens", "netlink: socket opened again", GW_KIND_COUNT);
	gw_cell_num(t, reopens);
}

int
gw_cmd_show_stats(struct gw_cmd *cmd)
{
	static const struct gw_column columns[] = {
			{"name", "counter", GW_KIND_TEXT},
			{"sum", "sum", GW_KIND_COUNT},
	};
	struct gw_doc *doc = gw_doc_new();
	struct gw_table *t;
	struct snapshot s;

	if (doc == NULL)
		return gw_cmd_show(cmd, NULL);
	take(cmd, &s);
	t = gw_doc_table(doc, "counters", NULL, columns, RTE_DIM(columns));
	worker_columns(t, s.n, GW_KIND_COUNT);
	gw_table_column(t, "what", "what", GW_KIND_TEXT);
	for (unsigned int k = 0; k < GW_N_COUNTERS; k++) {
		/* counters.h: it can be read as an array in the order of the list */
		gw_cell_text(t, gw_counter_info[k].name);
		gw_cell_num(t, ((const uint64_t *)&s.sum)[k]);
		for (unsigned int i = 0; i < s.n; i++)
			gw_cell_num(t, ((const uint64_t *)&s.worker[i])[k]);
		gw_cell_text(t, gw_counter_info[k].what);
	}
	balance(doc, cmd->gw, &s.sum);
	return gw_cmd_show(cmd, doc);
}

void
gw_cell_cycles(struct gw_table *t, double cycles)
{
	if (cycles > 0)
		gw_cell_real(t, cycles);
	else
		gw_cell_none(t);
}

/* Of the gateway as a whole: each worker counts as much as packets of its were timed. */
static double
cycles_all(const struct gw *gw, bool whole, enum gw_stage stage)
{
	double sum = 0;
	uint64_t packets = 0;

	for (unsigned int i = 0; i < gw->n_workers; i++) {
		const struct gw_worker_ctl *ctl = &gw->worker[i];

		sum += (whole ? ctl->cycles : ctl->stage_cycles[stage]) * ctl->timed;
		packets += ctl->timed;
	}
	return packets > 0 ? sum / packets : 0;
}

/* One stage on all workers. A stage that took nothing is 0 where something was timed. */
static void
cycles_row(struct gw_table *t, const struct gw *gw, unsigned int workers, enum gw_stage stage)
{
	gw_cell_text(t, gw_stage_info[stage].name);
	if (cycles_all(gw, true, 0) > 0)
		gw_cell_real(t, cycles_all(gw, false, stage));
	else
		gw_cell_none(t);
	for (unsigned int i = 0; i < workers; i++) {
		if (gw->worker[i].cycles > 0)
			gw_cell_real(t, gw->worker[i].stage_cycles[stage]);
		else
			gw_cell_none(t);
	}
	gw_cell_text(t, gw_stage_info[stage].what);
}

int
gw_cmd_show_cycles(struct gw_cmd *cmd)
{
	static const struct gw_column columns[] = {
			{"stage", "stage", GW_KIND_TEXT},
			{"all", "all", GW_KIND_CYCLES},
	};
	unsigned int n = workers_shown(cmd);
	struct gw_doc *doc = gw_doc_new();
	struct gw_table *t;

	if (doc == NULL)
		return gw_cmd_show(cmd, NULL);
	t = gw_doc_table(doc, "cycles",
			"TSC cycles for a packet, of what was timed in the last second:", columns,
			RTE_DIM(columns));
	worker_columns(t, n, GW_KIND_CYCLES);
	gw_table_column(t, "what", "what", GW_KIND_TEXT);
	for (enum gw_stage s = 0; s < GW_N_BUSY_STAGES; s++)
		cycles_row(t, cmd->gw, n, s);
	gw_cell_text(t, "sum");
	gw_cell_cycles(t, cycles_all(cmd->gw, true, 0));
	for (unsigned int i = 0; i < n; i++)
		gw_cell_cycles(t, cmd->gw->worker[i].cycles);
	gw_cell_text(t, "what a packet takes of its worker, in rounds that had any");
	cycles_row(t, cmd->gw, n, GW_STAGE_away);
	return gw_cmd_show(cmd, doc);
}
