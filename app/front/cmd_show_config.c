/* SPDX-License-Identifier: BSD-3-Clause */

/* show config: what is in use, in a form to read. Never a key. */

#include <string.h>

#include "commands.h"

static const char *
action_text(enum gw_action action)
{
	switch (action) {
	case GW_ACTION_DROP:
		return "drop";
	case GW_ACTION_BYPASS:
		return "bypass";
	case GW_ACTION_TUNNEL:
		return "tunnel";
	}
	return "?";
}

static const char *
steering_text(enum gw_steer_want want)
{
	switch (want) {
	case GW_STEER_AUTO:
		return "auto";
	case GW_STEER_FLOW:
		return "flow";
	case GW_STEER_TAP:
		return "tap";
	case GW_STEER_RSS:
		return "rss";
	case GW_STEER_SOFT:
		return "soft";
	}
	return "?";
}

static void
general(struct gw_doc *doc, const struct gw *gw)
{
	const struct gw_config *cfg = &gw->cfg;
	struct gw_table *t = gw_doc_facts(doc, "gateway", NULL);
	char listen[GW_ADDR_STRLEN];

	gw_fact(t, "file", "file", GW_KIND_TEXT);
	gw_cell_text(t, cfg->file);
	gw_fact(t, "workers", "workers", GW_KIND_COUNT);
	gw_cell_num(t, gw->n_workers);
	gw_fact(t, "default", "default", GW_KIND_TEXT);
	gw_cell_text(t, action_text(cfg->default_action));
	gw_fact(t, "state_file", "state_file", GW_KIND_TEXT);
	gw_cell_text(t, cfg->state_file);
	gw_fact(t, "allow_iv_reuse", "allow_iv_reuse", GW_KIND_BOOL);
	gw_cell_bool(t, cfg->allow_iv_reuse);
	gw_fact(t, "console", "console", GW_KIND_TEXT);
	gw_cell_text(t, cfg->console_socket);
	gw_fact(t, "ike_socket", "ike_socket", GW_KIND_TEXT);
	gw_cell_text(t, cfg->ike_socket);
	gw_fact(t, "ike_tunnels", "ike_tunnels", GW_KIND_COUNT);
	gw_cell_num(t, cfg->ike_tunnels);
	gw_fact(t, "metrics_listen", "metrics_listen", GW_KIND_TEXT);
	gw_cell_text(t,
			cfg->metrics_listen.addr.family != 0
					? gw_listen_text(&cfg->metrics_listen, listen)
					: NULL);
	gw_fact(t, "metrics_sas", "metrics_sas", GW_KIND_BOOL);
	gw_cell_bool(t, cfg->metrics_sas);
	gw_fact(t, "idle_sleep_us", "idle_sleep_us", GW_KIND_COUNT);
	gw_cell_num(t, cfg->idle_sleep_us);
	gw_fact(t, "max_sas", "max_sas", GW_KIND_COUNT);
	gw_cell_num(t, cfg->max_sas);
	gw_fact(t, "mbufs", "mbufs", GW_KIND_COUNT);
	gw_cell_num(t, gw->pool != NULL ? gw->pool->size : cfg->mbufs);
	gw_fact(t, "icmp_rate", "icmp_rate", GW_KIND_COUNT);
	gw_cell_num(t, cfg->icmp_rate);
	gw_fact(t, "mss_clamp", "mss_clamp", GW_KIND_BOOL);
	gw_cell_bool(t, cfg->mss_clamp);
	gw_fact(t, "numa", "numa", GW_KIND_TEXT);
	gw_cell_text(t, cfg->numa == GW_NUMA_STRICT ? "strict" : "warn");
}

/* "gw.conf:14" */
static void
where_cell(struct gw_table *t, const char *file, unsigned int line)
{
	if (file != NULL && line != 0)
		gw_cell_fmt(t, "%s:%u", file, line);
	else
		gw_cell_none(t);
}

static void
ports(struct gw_doc *doc, const struct gw_config *cfg)
{
	static const struct gw_column columns[] = {
			{"name", "port", GW_KIND_TEXT},
			{"device", "device", GW_KIND_TEXT},
			{"addresses", "addresses", GW_KIND_TEXT},
			{"mtu", "mtu", GW_KIND_COUNT},
			{"promisc", "promisc", GW_KIND_BOOL},
			{"rx_desc", "rx_desc", GW_KIND_COUNT},
			{"tx_desc", "tx_desc", GW_KIND_COUNT},
			{"steering", "steering", GW_KIND_TEXT},
			{"where", "where", GW_KIND_TEXT},
	};
	struct gw_table *t = gw_doc_table(doc, "ports", NULL, columns, RTE_DIM(columns));

	for (unsigned int i = 0; i < cfg->n_ports; i++) {
		const struct gw_config_port *p = &cfg->ports[i];
		struct gw_text s = {0};
		char buf[GW_ADDR_STRLEN];

		for (unsigned int k = 0; k < p->n_addresses; k++)
			gw_text_printf(&s, "%s%s", k > 0 ? " " : "",
					gw_prefix_text(&p->addresses[k], buf));
		gw_cell_text(t, p->name);
		gw_cell_text(t, p->device);
		gw_cell_text(t, s.len != 0 ? gw_text_str(&s) : NULL);
		gw_cell_num(t, p->mtu);
		gw_cell_bool(t, p->promisc);
		gw_cell_num(t, p->rx_desc);
		gw_cell_num(t, p->tx_desc);
		gw_cell_text(t, steering_text(p->steering));
		where_cell(t, p->file, p->line);
		gw_text_fini(&s);
	}
}

static void
routes(struct gw_doc *doc, const struct gw_config *cfg)
{
	static const struct gw_column columns[] = {
			{"to", "route to", GW_KIND_TEXT},
			{"via", "via", GW_KIND_TEXT},
			{"port", "port", GW_KIND_TEXT},
			{"where", "where", GW_KIND_TEXT},
	};
	struct gw_table *t = gw_doc_table(doc, "routes", NULL, columns, RTE_DIM(columns));

	for (unsigned int i = 0; i < cfg->n_routes; i++) {
		const struct gw_config_route *r = &cfg->routes[i];
		char to[GW_ADDR_STRLEN], via[GW_ADDR_STRLEN];

		gw_cell_text(t, gw_prefix_text(&r->to, to));
		gw_cell_text(t, r->via.family != 0 ? gw_addr_text(&r->via, via) : NULL);
		gw_cell_text(t, r->port[0] != '\0' ? r->port : NULL);
		where_cell(t, r->file, r->line);
	}
}

static void
peer_rss_cell(struct gw_table *t, const struct ipsec_pcpu_rss *rss)
{
	bool ours = memcmp(rss->key, gw_rss_key, GW_RSS_KEY_LEN) == 0;

	if (rss->n_queues != 0)
		gw_cell_fmt(t, "%s key, reta_size %u, queues %u", ours ? "our" : "its own",
				rss->reta_size, rss->n_queues);
	else
		gw_cell_none(t);
}

static void
tunnels(struct gw_doc *doc, const struct gw *gw)
{
	static const struct gw_column columns[] = {
			{"name", "tunnel", GW_KIND_TEXT},
			{"local", "local", GW_KIND_TEXT},
			{"remote", "remote", GW_KIND_TEXT},
			{"up", "up", GW_KIND_BOOL},
			{"peer_rss", "peer_rss", GW_KIND_TEXT},
			{"where", "where", GW_KIND_TEXT},
	};
	struct gw_table *t = gw_doc_table(doc, "tunnels", NULL, columns, RTE_DIM(columns));

	for (unsigned int i = 0; i < gw->n_tunnels; i++) {
		const struct gw_config_tunnel *c = gw->tunnel[i].cfg;
		char local[GW_ADDR_STRLEN], remote[GW_ADDR_STRLEN];

		if (c->name[0] == '\0')
			continue;
		gw_cell_text(t, c->name);
		gw_cell_text(t, gw_addr_text(&c->local, local));
		gw_cell_text(t, gw_addr_text(&c->remote, remote));
		gw_cell_bool(t, gw->tunnel[i].up);
		peer_rss_cell(t, &c->peer_rss.rss);
		where_cell(t, c->file, c->line);
	}
}

/* In the order in which they are looked at: what workers have, not what the file says. */
static void
policies(struct gw_doc *doc, const struct gw *gw)
{
	static const struct gw_column columns[] = {
			{"rule", "rule", GW_KIND_COUNT},
			{"selector", "policy", GW_KIND_TEXT},
			{"action", "action", GW_KIND_TEXT},
			{"tunnel", "tunnel", GW_KIND_TEXT},
	};
	struct gw_table *t = gw_doc_table(doc, "policies", NULL, columns, RTE_DIM(columns));

	for (unsigned int i = 0; i < gw->n_rules; i++) {
		const struct gw_policy_rule *r = &gw->rules[i];
		bool known = r->action == GW_ACTION_TUNNEL && r->tunnel < gw->n_tunnels;
		char buf[GW_SELECTOR_STRLEN];

		gw_cell_num(t, i + 1);
		gw_cell_text(t, gw_selector_text(&r->sel, buf));
		gw_cell_text(t, action_text(r->action));
		gw_cell_text(t, known ? gw->tunnel[r->tunnel].cfg->name : NULL);
	}
}

static void
sa_row(struct gw_table *t, const char *tunnel, const struct ipsec_pcpu_sa_params *p,
		const struct gw_config_sa *file)
{
	gw_cell_text(t, tunnel);
	gw_cell_text(t, p->dir == IPSEC_PCPU_IN ? "in" : "out");
	gw_cell_num(t, p->spi);
	if (p->pcpu == IPSEC_PCPU_ANY)
		gw_cell_none(t);
	else
		gw_cell_num(t, p->pcpu);
	gw_cell_text(t, p->algo->name);
	gw_cell_bool(t, p->esn);
	if (p->dir == IPSEC_PCPU_IN)
		gw_cell_num(t, p->replay_window);
	else
		gw_cell_none(t);
	gw_cell_num(t, p->encap_sport);
	if (file != NULL)
		gw_cell_bool(t, file->auto_sport);
	else
		gw_cell_none(t);
	gw_cell_num(t, p->encap_dport);
}

static void
sas(struct gw_doc *doc, const struct gw *gw)
{
	static const struct gw_column columns[] = {
			{"tunnel", "SA of", GW_KIND_TEXT},
			{"dir", "dir", GW_KIND_TEXT},
			{"spi", "spi", GW_KIND_SPI},
			{"pcpu", "pcpu", GW_KIND_PCPU},
			{"algo", "algo", GW_KIND_TEXT},
			{"esn", "esn", GW_KIND_BOOL},
			{"replay_window", "replay_window", GW_KIND_COUNT},
			{"encap_sport", "encap_sport", GW_KIND_COUNT},
			{"auto_sport", "auto", GW_KIND_BOOL}, /* none: not of the file */
			{"encap_dport", "encap_dport", GW_KIND_COUNT},
	};
	struct gw_table *t = gw_doc_table(doc, "sas", NULL, columns, RTE_DIM(columns));

	for (unsigned int i = 0; i < gw->n_tunnels; i++) {
		const struct gw_config_tunnel *c = gw->tunnel[i].cfg;
		const struct gw_config_sa *file = c->sas, *end = file + c->n_sas;

		/* the file's SAs are in the same order, those from the console between */
		for (unsigned int k = 0; k < gw->tunnel[i].n_sas; k++) {
			const struct ipsec_pcpu_sa_params *p = &gw->tunnel[i].sas[k]->prm;
			bool match = file != end && file->prm.spi == p->spi &&
					file->prm.dir == p->dir;

			sa_row(t, c->name, p, match ? file : NULL);
			file += match;
		}
	}
}

int
gw_cmd_show_config(struct gw_cmd *cmd)
{
	struct gw_doc *doc = gw_doc_new();

	if (doc == NULL)
		return gw_cmd_show(cmd, NULL);
	general(doc, cmd->gw);
	ports(doc, &cmd->gw->cfg);
	routes(doc, &cmd->gw->cfg);
	tunnels(doc, cmd->gw);
	policies(doc, cmd->gw);
	sas(doc, cmd->gw);
	return gw_cmd_show(cmd, doc);
}
