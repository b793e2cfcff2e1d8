/* SPDX-License-Identifier: BSD-3-Clause */

/* show steer, steer rebalance: where packets land, and what is done about it. */

#include <errno.h>

#include "commands.h"

static const char *
state_word(enum gw_steer_state state)
{
	switch (state) {
	case GW_STEER_VERIFIED:
		return "verified";
	case GW_STEER_ASTRAY:
		return "astray";
	default:
		return "not yet seen";
	}
}

static void
percent_cell(struct gw_table *t, uint64_t part, uint64_t rest)
{
	if (part + rest == 0)
		gw_cell_none(t);
	else
		gw_cell_real(t, 100.0 * (double)part / (double)(part + rest));
}

static void
sum_facts(struct gw_doc *doc, const struct gw *gw)
{
	struct gw_table *t = gw_doc_facts(doc, "steer", NULL);
	struct gw_counters c;

	gw_stats_sum(gw, &c);
	gw_fact(t, "owned", "ESP that landed on its owner", GW_KIND_COUNT);
	gw_cell_num(t, c.esp_owned);
	gw_fact(t, "foreign", "ESP that was handed to its owner", GW_KIND_COUNT);
	gw_cell_num(t, c.handed_off_esp);
	gw_fact(t, "efficiency_percent", "efficiency", GW_KIND_PERCENT);
	percent_cell(t, c.esp_owned, c.handed_off_esp);
}

/** What is known of how a port hashes plain ESP. */
static void
esp_cell(struct gw_table *t, const struct gw_steer_rss_state *rss)
{
	static const char *const words[] = {
			[GW_STEER_ESP_UNKNOWN] = "not known",
			[GW_STEER_ESP_SPI] = "by SPI",
			[GW_STEER_ESP_ADDRS] = "by addresses and SPI",
	};
	const char *ip4 = words[rss->esp4.by], *ip6 = words[rss->esp6.by];

	if (rss->esp4.by == rss->esp6.by)
		gw_cell_text(t, ip4);
	else if (rss->esp6.by == GW_STEER_ESP_UNKNOWN)
		gw_cell_fmt(t, "%s (IPv4)", ip4);
	else if (rss->esp4.by == GW_STEER_ESP_UNKNOWN)
		gw_cell_fmt(t, "%s (IPv6)", ip6);
	else
		gw_cell_fmt(t, "%s (IPv4), %s (IPv6)", ip4, ip6);
}

static void
port_table(struct gw_doc *doc, const struct gw *gw)
{
	static const struct gw_column columns[] = {
			{"port", "port", GW_KIND_TEXT},
			{"method", "method", GW_KIND_TEXT},
			{"queues", "queues", GW_KIND_COUNT},
			{"sas", "SAs", GW_KIND_COUNT},
			{"key", "RSS key", GW_KIND_TEXT},
			{"esp", "ESP", GW_KIND_TEXT},
			{"reta_size", "RETA", GW_KIND_COUNT},
			{"reta_writes", "writes", GW_KIND_COUNT},
			{"moved", "SAs moved", GW_KIND_COUNT},
			{"what", "what", GW_KIND_TEXT},
	};
	struct gw_table *t = gw_doc_table(doc, "ports", NULL, columns, RTE_DIM(columns));

	for (unsigned int i = 0; i < gw->n_ports; i++) {
		const struct gw_steer_port *sp = gw_steering_port(gw, i);

		gw_cell_text(t, gw->port[i].name);
		gw_cell_text(t, sp->ops != NULL ? sp->ops->name : NULL);
		gw_cell_num(t, gw->port[i].n_rxq);
		gw_cell_num(t, sp->n_sas);
		gw_cell_text(t, sp->rss.has_key ? "known" : "not known");
		esp_cell(t, &sp->rss);
		if (sp->rss.has_reta)
			gw_cell_num(t, sp->rss.reta_size);
		else
			gw_cell_none(t);
		gw_cell_num(t, sp->rss.writes);
		gw_cell_num(t, sp->followed);
		gw_cell_text(t, sp->ops != NULL ? sp->ops->what : "the port is being reset");
	}
}

/** Methods that are not used, and what RSS cannot do there. */
static void
why_not_table(struct gw_doc *doc, const struct gw *gw)
{
	static const struct gw_column columns[] = {
			{"port", "port", GW_KIND_TEXT},
			{"method", "not", GW_KIND_TEXT},
			{"why", "because", GW_KIND_TEXT},
	};
	struct gw_table *t = gw_doc_table(doc, "why_not", NULL, columns, RTE_DIM(columns));

	for (unsigned int i = 0; i < gw->n_ports; i++) {
		const struct gw_steer_port *sp = gw_steering_port(gw, i);

		for (unsigned int k = 0; gw_steer_methods[k] != NULL; k++) {
			if (sp->why_not[k][0] == '\0')
				continue;
			gw_cell_text(t, gw->port[i].name);
			gw_cell_text(t, gw_steer_methods[k]->name);
			gw_cell_text(t, sp->why_not[k]);
		}
	}
}

static void
worker_table(struct gw_doc *doc, const struct gw *gw)
{
	static const struct gw_column columns[] = {
			{"worker", "worker", GW_KIND_COUNT},
			{"owned", "owned", GW_KIND_COUNT},
			{"foreign", "foreign", GW_KIND_COUNT},
			{"efficiency_percent", "efficiency %", GW_KIND_PERCENT},
			{"handed_off", "handed off", GW_KIND_COUNT},
			{"handed_in", "handed in", GW_KIND_COUNT},
			{"dropped", "dropped", GW_KIND_COUNT},
	};
	struct gw_table *t = gw_doc_table(doc, "workers", NULL, columns, RTE_DIM(columns));

	for (unsigned int i = 0; i < gw->n_workers; i++) {
		struct gw_counters c;

		gw_stats_worker(gw, i, &c);
		gw_cell_num(t, i);
		gw_cell_num(t, c.esp_owned);
		gw_cell_num(t, c.handed_off_esp);
		percent_cell(t, c.esp_owned, c.handed_off_esp);
		gw_cell_num(t, c.handed_off);
		gw_cell_num(t, c.handed_in);
		gw_cell_num(t, c.drop[GW_DROP_RING_FULL] + c.drop[GW_DROP_MOVING]);
	}
}

static void
tuple_cell(struct gw_table *t, const struct ipsec_pcpu_tuple *tuple)
{
	struct gw_addr src = {tuple->family, tuple->saddr}, dst = {tuple->family, tuple->daddr};
	char s[GW_ADDR_STRLEN], d[GW_ADDR_STRLEN];

	gw_addr_text(&src, s);
	gw_addr_text(&dst, d);
	if (tuple->dport == 0)
		gw_cell_fmt(t, "esp %s -> %s", s, d);
	else if (tuple->sport == 0)
		gw_cell_fmt(t, "udp %s port ? -> %s port %u", s, d, tuple->dport);
	else
		gw_cell_fmt(t, "udp %s port %u -> %s port %u", s, tuple->sport, d, tuple->dport);
}

/** The bucket, and the queue that it leads to. */
static void
bucket_cells(struct gw_table *t, const struct gw_steer_port *sp, const struct gw_steer_sa *s)
{
	uint16_t entry = s->hash & (sp->rss.reta_size - 1u);

	if (s->has_hash)
		gw_cell_num(t, s->hash);
	else
		gw_cell_none(t);
	if (!s->has_hash || !sp->rss.has_reta) {
		gw_cell_none(t);
		gw_cell_none(t);
		return;
	}
	gw_cell_num(t, entry);
	gw_cell_num(t, sp->rss.reta[entry]);
}

static void
sa_row(struct gw_table *t, const struct gw *gw, const struct gw_tunnel *tun, const struct gw_sa *sa)
{
	const struct gw_steer_port *sp = gw_steering_port(gw, sa->steer_port);
	struct ipsec_pcpu_sa_stats st;
	char how[160] = "";

	gw_stats_sa(sa, &st);
	gw_cell_text(t, tun->cfg->name);
	gw_cell_num(t, sa->prm.spi);
	gw_cell_text(t, gw->port[sa->steer_port].name);
	tuple_cell(t, &sa->steer->tuple);
	bucket_cells(t, sp, sa->steer);
	gw_cell_num(t, sa->worker);
	gw_cell_num(t, st.packets);
	gw_cell_num(t, st.foreign);
	gw_cell_text(t, state_word(sa->steer->state));
	if (sp->ops != NULL)
		sp->ops->describe(sp, sa->steer, how, sizeof(how));
	gw_cell_text(t, how[0] != '\0' ? how : NULL);
}

static void
sa_table(struct gw_doc *doc, const struct gw *gw)
{
	static const struct gw_column columns[] = {
			{"tunnel", "tunnel", GW_KIND_TEXT},
			{"spi", "SPI", GW_KIND_SPI},
			{"port", "port", GW_KIND_TEXT},
			{"outer", "comes as", GW_KIND_TEXT},
			{"hash", "hash", GW_KIND_SPI},
			{"entry", "entry", GW_KIND_COUNT},
			{"queue", "queue", GW_KIND_COUNT},
			{"worker", "worker", GW_KIND_COUNT},
			{"packets", "packets", GW_KIND_COUNT},
			{"foreign", "foreign", GW_KIND_COUNT},
			{"state", "state", GW_KIND_TEXT},
			{"how", "by", GW_KIND_TEXT},
	};
	struct gw_table *t = gw_doc_table(doc, "sas", NULL, columns, RTE_DIM(columns));

	for (unsigned int i = 0; i < gw->n_tunnels; i++)
		for (unsigned int k = 0; k < gw->tunnel[i].n_sas; k++)
			if (gw->tunnel[i].sas[k]->steer != NULL)
				sa_row(t, gw, &gw->tunnel[i], gw->tunnel[i].sas[k]);
}

static const struct gw_column rebalance_columns[] = {
		{"port", "port", GW_KIND_TEXT},
		{"entries", "RETA entries", GW_KIND_COUNT},
		{"moves", "SAs moved", GW_KIND_COUNT},
		{"stay", "SAs that stay handed off", GW_KIND_COUNT},
};

static void
rebalance_row(struct gw_table *t, const struct gw *gw, unsigned int port,
		const struct gw_rebalance *r)
{
	gw_cell_text(t, gw->port[port].name);
	gw_cell_num(t, r->changed);
	gw_cell_num(t, r->moved);
	gw_cell_num(t, r->stay);
}

static void
plan_table(struct gw_doc *doc, const struct gw *gw)
{
	struct gw_table *t = gw_doc_table(doc, "rebalance",
			"\"steer rebalance\" would do:", rebalance_columns,
			RTE_DIM(rebalance_columns));

	for (unsigned int i = 0; i < gw->n_ports; i++) {
		struct gw_rebalance r;

		if (gw_rebalance_plan(gw, i, &r) == 0)
			rebalance_row(t, gw, i, &r);
	}
}

int
gw_cmd_show_steer(struct gw_cmd *cmd)
{
	struct gw_doc *doc = gw_doc_new();

	if (doc == NULL)
		return gw_cmd_show(cmd, NULL);
	sum_facts(doc, cmd->gw);
	port_table(doc, cmd->gw);
	why_not_table(doc, cmd->gw);
	worker_table(doc, cmd->gw);
	sa_table(doc, cmd->gw);
	plan_table(doc, cmd->gw);
	return gw_cmd_show(cmd, doc);
}

int
gw_cmd_steer_rebalance(struct gw_cmd *cmd)
{
	struct gw_rebalance r[GW_MAX_PORTS] = {0};
	unsigned int failed = 0;
	struct gw_doc *doc;
	struct gw_table *t;
	int rc = gw_rebalance(cmd->gw, r, &cmd->err);

	if (rc != 0)
		return rc;
	doc = gw_doc_new();
	if (doc == NULL)
		return gw_cmd_show(cmd, NULL);
	t = gw_doc_table(doc, "rebalance", NULL, rebalance_columns, RTE_DIM(rebalance_columns));
	for (unsigned int i = 0; i < cmd->gw->n_ports; i++) {
		rebalance_row(t, cmd->gw, i, &r[i]);
		failed += r[i].failed;
	}
	rc = gw_cmd_show(cmd, doc);
	if (rc == 0 && failed > 0) {
		gw_error_set(&cmd->err, NULL, 0, "%u SAs could not be moved: the log says why",
				failed);
		rc = -EAGAIN;
	}
	return rc;
}
