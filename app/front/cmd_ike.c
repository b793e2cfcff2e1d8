/* SPDX-License-Identifier: BSD-3-Clause */

/* show ike. */

#include <errno.h>
#include <stdlib.h>

#include "../control/ike.h"
#include "commands.h"

static void
fact_num(struct gw_table *t, const char *key, const char *heading, uint64_t v)
{
	gw_fact(t, key, heading, GW_KIND_COUNT);
	gw_cell_num(t, v);
}

static void
fact_id(struct gw_table *t, const char *key, const char *heading, uint64_t v)
{
	gw_fact(t, key, heading, GW_KIND_TEXT);
	if (v != 0)
		gw_cell_fmt(t, "%016" PRIx64, v);
	else
		gw_cell_none(t);
}

static void
facts(struct gw_doc *doc, const struct gw *gw, const struct gw_ike_status *s)
{
	struct gw_table *t = gw_doc_facts(doc, "ike", NULL);

	gw_fact(t, "socket", "socket", GW_KIND_TEXT);
	gw_cell_text(t, gw->cfg.ike_socket);
	gw_fact(t, "connected", "charon is connected", GW_KIND_BOOL);
	gw_cell_bool(t, s->connected);
	gw_fact(t, "since_s", "  since s", GW_KIND_SECONDS);
	if (s->counts.connections != 0)
		gw_cell_real(t, s->since_s);
	else
		gw_cell_none(t);
	gw_fact(t, "in_sync", "it has said all it has", GW_KIND_BOOL);
	gw_cell_bool(t, s->in_sync);
	gw_fact(t, "pcpu", "it has SAs for a CPU", GW_KIND_BOOL);
	gw_cell_bool(t, s->pcpu);
	fact_id(t, "epoch", "run of the gateway", s->epoch);
	fact_id(t, "generation", "run of charon", s->generation);
#define _(name, heading, what) fact_num(t, #name, heading, s->name);
	GW_IKE_FOREACH_NOW(_)
#undef _
	gw_fact(t, "stale_left_s", "stale SAs: s left", GW_KIND_SECONDS);
	if (s->stale_left_s > 0)
		gw_cell_real(t, s->stale_left_s);
	else
		gw_cell_none(t);
}

static void
counts(struct gw_doc *doc, const struct gw_ike_counts *c)
{
	static const struct gw_column columns[] = {
			{"name", "counter", GW_KIND_TEXT},
			{"count", "count", GW_KIND_COUNT},
			{"what", "what", GW_KIND_TEXT},
	};
	struct gw_table *t = gw_doc_table(doc, "counts", NULL, columns, RTE_DIM(columns));

#define _(field, what) \
	gw_cell_text(t, #field); \
	gw_cell_num(t, c->field); \
	gw_cell_text(t, what);
	GW_IKE_FOREACH_COUNT(_)
#undef _
}

static void
pending(struct gw_doc *doc, const struct gw *gw)
{
	static const struct gw_column columns[] = {
			{"tunnel", "acquire for", GW_KIND_TEXT},
			{"reqid", "reqid", GW_KIND_COUNT},
			{"cpu", "CPU", GW_KIND_PCPU},
			{"tries", "asked", GW_KIND_COUNT},
			{"asked_s", "last s ago", GW_KIND_SECONDS},
			{"next_s", "not again for s", GW_KIND_SECONDS},
	};
	struct gw_table *t = gw_doc_table(doc, "acquires", NULL, columns, RTE_DIM(columns));
	unsigned int n = gw_ike_pendings(gw, NULL, 0);
	struct gw_ike_pending *p = calloc(n + 1, sizeof(*p));

	if (p == NULL)
		return;
	gw_ike_pendings(gw, p, n);
	for (unsigned int i = 0; i < n; i++) {
		gw_cell_text(t, p[i].tunnel);
		gw_cell_num(t, p[i].reqid);
		if (p[i].cpu != IPSEC_PCPU_ANY)
			gw_cell_num(t, p[i].cpu);
		else
			gw_cell_none(t);
		gw_cell_num(t, p[i].tries);
		gw_cell_real(t, p[i].asked_s);
		gw_cell_real(t, p[i].next_s);
	}
	free(p);
}

int
gw_cmd_show_ike(struct gw_cmd *cmd)
{
	struct gw_ike_status s;
	struct gw_doc *doc;

	if (!gw_ike_status(cmd->gw, &s)) {
		gw_error_set(&cmd->err, NULL, 0,
				"there is no IKE: ike_socket = \"/run/dpdk-pcpu-gw-ike.sock\" in the "
				"configuration lets charon connect");
		return -ENOENT;
	}
	doc = gw_doc_new();
	if (doc == NULL)
		return gw_cmd_show(cmd, NULL);
	facts(doc, cmd->gw, &s);
	counts(doc, &s.counts);
	pending(doc, cmd->gw);
	return gw_cmd_show(cmd, doc);
}
