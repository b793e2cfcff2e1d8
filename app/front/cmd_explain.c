/* SPDX-License-Identifier: BSD-3-Clause */

/* explain: the way of a packet, step by step, as the data path's own functions compute it. */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"

/* The question. */
struct question {
	struct gw_addr src, dst;
	uint8_t proto;
	uint16_t sport, dport;
};

static int
read_question(struct gw_cmd *cmd, struct question *q)
{
	const char *sport = gw_cmd_arg(cmd, "SPORT");
	uint64_t v = 0;

	/* the matcher has checked the form of each */
	memset(q, 0, sizeof(*q));
	gw_addr_parse(gw_cmd_arg(cmd, "SRC"), &q->src);
	gw_addr_parse(gw_cmd_arg(cmd, "DST"), &q->dst);
	gw_cmd_proto(gw_cmd_arg(cmd, "PROTO"), &q->proto);
	if (q->src.family != q->dst.family) {
		gw_error_set(&cmd->err, NULL, 0,
				"word 3: source and destination must be of one family, IPv4 or IPv6");
		return -EINVAL;
	}
	if (sport == NULL)
		return 0;
	if (!gw_flow_has_ports(q->proto)) {
		gw_error_set(&cmd->err, NULL, 0, "word 5: protocol %s has no ports",
				gw_cmd_arg(cmd, "PROTO"));
		return -EINVAL;
	}
	gw_cmd_number(sport, UINT16_MAX, &v);
	q->sport = v;
	gw_cmd_number(gw_cmd_arg(cmd, "DPORT"), UINT16_MAX, &v);
	q->dport = v;
	return 0;
}

static void
packet_fact(struct gw_table *t, const struct question *q)
{
	char src[GW_ADDR_STRLEN], dst[GW_ADDR_STRLEN], proto[16];

	gw_addr_text(&q->src, src);
	gw_addr_text(&q->dst, dst);
	gw_fact(t, "packet", "packet", GW_KIND_TEXT);
	if (gw_flow_has_ports(q->proto))
		gw_cell_fmt(t, "%s %s port %u -> %s port %u", gw_cmd_proto_text(q->proto, proto),
				src, q->sport, dst, q->dport);
	else
		gw_cell_fmt(t, "%s %s -> %s", gw_cmd_proto_text(q->proto, proto), src, dst);
}

/* The worker that gets it, by its RSS hash on the port where it comes in. */
static void
clear_fact(struct gw_table *t, const struct gw_explain *ex)
{
	gw_fact(t, "rss_hash", "RSS hash", GW_KIND_TEXT);
	if (ex->clear_side.known)
		gw_cell_fmt(t, "0x%08x", ex->clear_side.hash);
	else
		gw_cell_none(t);
	gw_fact(t, "rx_queue", "comes in on queue", GW_KIND_COUNT);
	if (ex->clear_side.known)
		gw_cell_num(t, ex->clear_side.queue);
	else
		gw_cell_none(t);
	gw_fact(t, "rx_queue_why", "  not known as", GW_KIND_TEXT);
	gw_cell_text(t, !ex->clear_side.known && ex->why.text[0] != '\0' ? ex->why.text : NULL);
}

static void
policy_fact(struct gw_table *t, const struct gw_explain *ex)
{
	char sel[GW_SELECTOR_STRLEN];

	gw_fact(t, "policy", "policy", GW_KIND_TEXT);
	if (ex->for_us)
		gw_cell_text(t, "none: it is for us");
	else if (ex->rule != NULL)
		gw_cell_fmt(t, "rule %u: %s", ex->verdict.rule,
				gw_selector_text(&ex->rule->sel, sel));
	else
		gw_cell_text(t, "no rule matches: the default");
}

/* What becomes of it, in one word for programs. */
static const char *
fate(const struct gw_explain *ex)
{
	if (ex->for_us)
		return "punt";
	switch (ex->verdict.action) {
	case GW_ACTION_BYPASS:
		return "forward in clear";
	case GW_ACTION_TUNNEL:
		return ex->tunnel != NULL && !ex->tunnel->up ? "drop: the tunnel is down"
							     : "tunnel";
	default:
		return "drop";
	}
}

static void
tunnel_facts(struct gw_table *t, const struct gw_tunnel *tun)
{
	char local[GW_ADDR_STRLEN], remote[GW_ADDR_STRLEN];

	gw_fact(t, "tunnel", "tunnel", GW_KIND_TEXT);
	gw_cell_text(t, tun != NULL ? tun->cfg->name : NULL);
	if (tun == NULL)
		return;
	gw_fact(t, "outer", "outer addresses", GW_KIND_TEXT);
	gw_cell_fmt(t, "%s -> %s", gw_addr_text(&tun->cfg->local, local),
			gw_addr_text(&tun->cfg->remote, remote));
}

static void
nexthop_facts(struct gw_table *t, const struct gw *gw, const struct gw_explain *ex)
{
	const struct gw_nexthop *nh = &ex->nh;
	bool has_port = nh->kind != GW_NH_NONE && nh->kind != GW_NH_BLACKHOLE &&
			nh->port < gw->n_ports;
	char mac[18], via[GW_ADDR_STRLEN];

	gw_fact(t, "next_hop", "next hop", GW_KIND_TEXT);
	gw_cell_text(t, gw_nexthop_kind(nh->kind));
	gw_fact(t, "via", "  via", GW_KIND_TEXT);
	gw_cell_text(t, nh->via.family != 0 ? gw_addr_text(&nh->via, via) : NULL);
	gw_fact(t, "port", "  port", GW_KIND_TEXT);
	gw_cell_text(t, has_port ? gw->port[nh->port].name : NULL);
	gw_fact(t, "mac", "  MAC", GW_KIND_TEXT);
	gw_cell_text(t, nh->kind == GW_NH_ETHER ? gw_mac_text(nh->dst.addr_bytes, mac) : NULL);
	gw_fact(t, "inner_mtu", "inner MTU", GW_KIND_COUNT);
	if (ex->tunnel != NULL && ex->inner_mtu != 0)
		gw_cell_num(t, ex->inner_mtu);
	else
		gw_cell_none(t);
}

static void
outer_cell(struct gw_table *t, const struct ipsec_pcpu_sa_params *prm)
{
	struct gw_addr saddr = {prm->family, prm->saddr}, daddr = {prm->family, prm->daddr};
	char src[GW_ADDR_STRLEN], dst[GW_ADDR_STRLEN];

	gw_addr_text(&saddr, src);
	gw_addr_text(&daddr, dst);
	if (prm->encap_sport != 0 || prm->encap_dport != 0)
		gw_cell_fmt(t, "udp %s port %u -> %s port %u", src, prm->encap_sport, dst,
				prm->encap_dport);
	else
		gw_cell_fmt(t, "esp %s -> %s", src, dst);
}

static void
out_row(struct gw_table *t, const struct gw_explain *ex, unsigned int worker)
{
	const struct gw_sa *sa = ex->out[worker].sa;

	gw_cell_num(t, worker);
	if (sa == NULL) {
		gw_cell_none(t);
		gw_cell_none(t);
		gw_cell_text(t, "dropped: no outbound SA");
		gw_cell_none(t);
		return;
	}
	if (ex->out[worker].worker != GW_NONE)
		gw_cell_num(t, ex->out[worker].worker);
	else
		gw_cell_none(t);
	gw_cell_num(t, sa->prm.spi);
	outer_cell(t, &sa->prm);
	if (ex->out[worker].peer_known)
		gw_cell_num(t, ex->out[worker].peer_queue);
	else
		gw_cell_none(t);
}

static void
out_table(struct gw_doc *doc, const struct gw *gw, const struct gw_explain *ex)
{
	static const struct gw_column columns[] = {
			{"worker", "received by worker", GW_KIND_COUNT},
			{"encrypts", "encrypted by worker", GW_KIND_COUNT},
			{"spi", "SPI", GW_KIND_SPI},
			{"outer", "sent as", GW_KIND_TEXT},
			{"peer_queue", "peer queue", GW_KIND_COUNT},
	};
	struct gw_table *t = gw_doc_table(doc, "workers", NULL, columns, RTE_DIM(columns));

	for (unsigned int w = 0; ex->tunnel != NULL && w < gw->n_workers; w++)
		out_row(t, ex, w);
}

int
gw_cmd_explain(struct gw_cmd *cmd)
{
	struct gw_explain ex = {0};
	struct question q;
	struct gw_doc *doc;
	struct gw_table *t;
	int rc;

	rc = read_question(cmd, &q);
	if (rc != 0)
		return rc;
	rc = gw_explain(cmd->gw, &q.src, &q.dst, q.proto, q.sport, q.dport, &ex, &cmd->err);
	if (rc != 0)
		return rc;
	doc = gw_doc_new();
	if (doc == NULL)
		return gw_cmd_show(cmd, NULL);
	t = gw_doc_facts(doc, "packet", NULL);
	packet_fact(t, &q);
	if (ex.clear_side.known || ex.why.text[0] != '\0' || gw_cmd_json(cmd))
		clear_fact(t, &ex);
	policy_fact(t, &ex);
	gw_fact(t, "fate", "fate", GW_KIND_TEXT);
	gw_cell_text(t, fate(&ex));
	gw_fact(t, "drop", "dropped as", GW_KIND_TEXT);
	gw_cell_text(t, ex.dropped ? gw_drop_info[ex.drop].name : NULL);
	tunnel_facts(t, ex.tunnel);
	nexthop_facts(t, cmd->gw, &ex);
	if (ex.tunnel != NULL || gw_cmd_json(cmd))
		out_table(doc, cmd->gw, &ex);
	return gw_cmd_show(cmd, doc);
}
