/* SPDX-License-Identifier: BSD-3-Clause */

/* show ports, allowances, workers, neighbours, routes, version; how things are written as text. */

#include "../compat.h"

#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../clock.h"
#include "commands.h"

#ifndef GW_VERSION
#define GW_VERSION "unknown"
#endif

const char *
gw_mac_text(const uint8_t mac[6], char *buf)
{
	snprintf(buf, 18, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4],
			mac[5]);
	return buf;
}

static int
range_text(const struct gw_port_range *r, char *buf, size_t n)
{
	if (r->min == 0 && r->max == UINT16_MAX)
		return snprintf(buf, n, "any");
	if (r->min == r->max)
		return snprintf(buf, n, "%u", r->min);
	return snprintf(buf, n, "%u-%u", r->min, r->max);
}

const char *
gw_selector_text(const struct gw_selector *sel, char *buf)
{
	char local[GW_ADDR_STRLEN], remote[GW_ADDR_STRLEN], proto[16], from[16], to[16];
	int n;

	n = snprintf(buf, GW_SELECTOR_STRLEN, "%s -> %s", gw_prefix_text(&sel->local, local),
			gw_prefix_text(&sel->remote, remote));
	if (sel->proto == 0)
		return buf;
	n += snprintf(buf + n, GW_SELECTOR_STRLEN - n, " %s", gw_cmd_proto_text(sel->proto, proto));
	range_text(&sel->local_ports, from, sizeof(from));
	range_text(&sel->remote_ports, to, sizeof(to));
	if (strcmp(from, "any") != 0 || strcmp(to, "any") != 0)
		snprintf(buf + n, GW_SELECTOR_STRLEN - n, " port %s -> %s", from, to);
	return buf;
}

const char *
gw_ifindex_port(const struct gw *gw, unsigned int ifindex)
{
	for (unsigned int i = 0; i < gw->n_ports; i++)
		if (ifindex != 0 && gw->tap[i].ifindex == ifindex)
			return gw->port[i].name;
	return "-";
}

const char *
gw_nexthop_kind(uint8_t kind)
{
	static const char *const names[] = {
			[GW_NH_NONE] = "no route",
			[GW_NH_BLACKHOLE] = "blackhole",
			[GW_NH_LOCAL] = "local",
			[GW_NH_GLEAN] = "on link, MAC not known yet",
			[GW_NH_UNRESOLVED] = "router, MAC not known yet",
			[GW_NH_ETHER] = "resolved",
	};

	return kind < sizeof(names) / sizeof(names[0]) ? names[kind] : "?";
}

static const char *
link_text(const struct gw_port *p, const struct gw_port_info *info)
{
	if (gw_port_gone(p))
		return "gone";
	if (p->reset.active)
		return "resetting";
	if (!p->started)
		return "stopped";
	return info->link_up ? "up" : "down";
}

static void
port_row(struct gw_table *t, const struct gw *gw, unsigned int i)
{
	const struct gw_port *p = &gw->port[i];
	struct gw_port_info info = {0};
	char mac[18];

	gw_port_info(p, &info);
	gw_cell_text(t, p->name);
	gw_cell_text(t, i < gw->cfg.n_ports ? gw->cfg.ports[i].device : NULL);
	gw_cell_text(t, p->driver);
	gw_cell_text(t, link_text(p, &info));
	if (info.speed_mbps != 0)
		gw_cell_num(t, info.speed_mbps);
	else
		gw_cell_none(t);
	gw_cell_text(t, gw_mac_text(p->mac.addr_bytes, mac));
	gw_cell_num(t, p->mtu);
	gw_cell_num(t, p->n_rxq);
	gw_cell_num(t, p->n_txq);
	gw_cell_bool(t, p->promisc);
	gw_cell_num(t, info.rx_packets);
	gw_cell_num(t, info.tx_packets);
	gw_cell_num(t, info.rx_missed);
	gw_cell_num(t, info.rx_nombuf);
	gw_cell_num(t, info.rx_errors);
	gw_cell_num(t, info.tx_errors);
	gw_cell_num(t, gw->tap[i].written);
	gw_cell_num(t, gw->tap[i].write_fails);
	gw_cell_num(t, p->reset.done);
	gw_cell_text(t, p->note);
}

int
gw_cmd_show_ports(struct gw_cmd *cmd)
{
	static const struct gw_column columns[] = {
			{"name", "port", GW_KIND_TEXT},
			{"device", "device", GW_KIND_TEXT},
			{"driver", "driver", GW_KIND_TEXT},
			{"link", "link", GW_KIND_TEXT},
			{"speed_mbps", "Mbit/s", GW_KIND_COUNT},
			{"mac", "MAC", GW_KIND_TEXT},
			{"mtu", "MTU", GW_KIND_COUNT},
			{"rx_queues", "rxq", GW_KIND_COUNT},
			{"tx_queues", "txq", GW_KIND_COUNT},
			{"promisc", "promisc", GW_KIND_BOOL},
			{"rx_packets", "rx", GW_KIND_COUNT},
			{"tx_packets", "tx", GW_KIND_COUNT},
			{"rx_missed", "missed", GW_KIND_COUNT},
			{"rx_nombuf", "nombuf", GW_KIND_COUNT},
			{"rx_errors", "rx err", GW_KIND_COUNT},
			{"tx_errors", "tx err", GW_KIND_COUNT},
			{"punt_written", "to kernel", GW_KIND_COUNT},
			{"punt_failed", "refused", GW_KIND_COUNT},
			{"resets", "resets", GW_KIND_COUNT},
			{"note", "note", GW_KIND_TEXT},
	};
	struct gw_doc *doc = gw_doc_new();
	struct gw_table *t;

	if (doc == NULL)
		return gw_cmd_show(cmd, NULL);
	t = gw_doc_table(doc, "ports", NULL, columns, RTE_DIM(columns));
	for (unsigned int i = 0; i < cmd->gw->n_ports; i++)
		port_row(t, cmd->gw, i);
	return gw_cmd_show(cmd, doc);
}

int
gw_cmd_show_allowances(struct gw_cmd *cmd)
{
	static const struct gw_column columns[] = {
			{"port", "port", GW_KIND_TEXT},
			{"name", "counter", GW_KIND_TEXT},
			{"value", "value", GW_KIND_COUNT},
			{"per_second", "per second", GW_KIND_COUNT},
			{"what", "what", GW_KIND_TEXT},
	};
	struct gw_doc *doc = gw_doc_new();
	struct gw_allowance a;
	struct gw_table *t;

	if (doc == NULL)
		return gw_cmd_show(cmd, NULL);
	t = gw_doc_table(doc, "allowances", NULL, columns, RTE_DIM(columns));
	for (unsigned int p = 0; p < cmd->gw->n_ports; p++) {
		for (unsigned int i = 0; gw_allowance_get(cmd->gw, p, i, &a); i++) {
			gw_cell_text(t, cmd->gw->port[p].name);
			gw_cell_text(t, a.name);
			gw_cell_num(t, a.value);
			if (a.has_rate)
				gw_cell_num(t, (uint64_t)(a.rate + 0.5));
			else
				gw_cell_none(t);
			gw_cell_text(t, a.what);
		}
	}
	return gw_cmd_show(cmd, doc);
}

/* How many SAs each worker owns. */
static void
count_sas(const struct gw *gw, unsigned int in[GW_MAX_WORKERS], unsigned int out[GW_MAX_WORKERS])
{
	memset(in, 0, GW_MAX_WORKERS * sizeof(*in));
	memset(out, 0, GW_MAX_WORKERS * sizeof(*out));
	for (unsigned int i = 0; i < gw->n_tunnels; i++) {
		for (unsigned int k = 0; k < gw->tunnel[i].n_sas; k++) {
			const struct gw_sa *sa = gw->tunnel[i].sas[k];

			if (sa->worker < GW_MAX_WORKERS)
				(sa->prm.dir == IPSEC_PCPU_IN ? in : out)[sa->worker]++;
		}
	}
}

/* A worker polls the queue of its own number, on the ports that have it. */
static void
queues_cell(struct gw_table *t, const struct gw *gw, unsigned int id)
{
	struct gw_text s = {0};

	for (unsigned int i = 0; i < gw->n_ports; i++)
		if (id < gw->port[i].n_rxq)
			gw_text_printf(&s, "%s%s:%u", s.len != 0 ? " " : "", gw->port[i].name, id);
	gw_cell_text(t, s.len != 0 ? gw_text_str(&s) : NULL);
	gw_text_fini(&s);
}

static void
worker_row(struct gw_table *t, const struct gw *gw, unsigned int id, unsigned int sas_in,
		unsigned int sas_out)
{
	const struct gw_worker_ctl *ctl = &gw->worker[id];
	struct gw_counters c;

	gw_stats_worker(gw, id, &c);
	gw_cell_num(t, id);
	gw_cell_num(t, ctl->w->lcore);
	gw_cell_diff(t, ctl->w->numa_node);
	gw_cell_bool(t, ctl->running);
	queues_cell(t, gw, id);
	gw_cell_real(t, ctl->rx_pps);
	gw_cell_real(t, ctl->rx_bps);
	gw_cell_real(t, ctl->tx_pps);
	gw_cell_real(t, ctl->tx_bps);
	gw_cell_num(t, sas_in);
	gw_cell_num(t, sas_out);
	gw_cell_num(t, c.decap);
	gw_cell_num(t, c.encap);
	gw_cell_num(t, c.handed_off);
	gw_cell_num(t, c.handed_in);
	gw_cell_real(t, ctl->cpu_percent);
	gw_cell_real(t, ctl->busy_percent);
	gw_cell_cycles(t, ctl->cycles);
	gw_cell_num(t, c.sleeps);
}

int
gw_cmd_show_workers(struct gw_cmd *cmd)
{
	static const struct gw_column columns[] = {
			{"id", "worker", GW_KIND_COUNT},
			{"lcore", "lcore", GW_KIND_COUNT},
			{"numa_node", "node", GW_KIND_DIFF},
			{"running", "runs", GW_KIND_BOOL},
			{"queues", "queues", GW_KIND_TEXT},
			{"rx_pps", "rx Mpps", GW_KIND_PPS},
			{"rx_bps", "rx Gbit/s", GW_KIND_BPS},
			{"tx_pps", "tx Mpps", GW_KIND_PPS},
			{"tx_bps", "tx Gbit/s", GW_KIND_BPS},
			{"sas_in", "SAs in", GW_KIND_COUNT},
			{"sas_out", "SAs out", GW_KIND_COUNT},
			{"sa_in_packets", "decrypted", GW_KIND_COUNT},
			{"sa_out_packets", "encrypted", GW_KIND_COUNT},
			{"handed_off", "handed off", GW_KIND_COUNT},
			{"handed_in", "handed in", GW_KIND_COUNT},
			{"cpu_percent", "CPU %", GW_KIND_PERCENT},
			{"busy_percent", "busy %", GW_KIND_PERCENT},
			{"cycles", "cyc/pkt", GW_KIND_CYCLES},
			{"sleeps", "sleeps", GW_KIND_COUNT},
	};
	unsigned int in[GW_MAX_WORKERS], out[GW_MAX_WORKERS];
	struct gw_doc *doc = gw_doc_new();
	struct gw_table *t;

	if (doc == NULL)
		return gw_cmd_show(cmd, NULL);
	count_sas(cmd->gw, in, out);
	t = gw_doc_table(doc, "workers", NULL, columns, RTE_DIM(columns));
	for (unsigned int i = 0; i < cmd->gw->n_workers; i++)
		worker_row(t, cmd->gw, i, in[i], out[i]);
	return gw_cmd_show(cmd, doc);
}

static const char *
neigh_state(uint16_t state)
{
	static const struct {
		uint16_t bit;
		const char *name;
	} states[] = {
			{NUD_PERMANENT, "permanent"},
			{NUD_NOARP, "noarp"},
			{NUD_REACHABLE, "reachable"},
			{NUD_STALE, "stale"},
			{NUD_DELAY, "delay"},
			{NUD_PROBE, "probe"},
			{NUD_INCOMPLETE, "incomplete"},
			{NUD_FAILED, "failed"},
	};

	for (size_t i = 0; i < RTE_DIM(states); i++)
		if (state & states[i].bit)
			return states[i].name;
	return "none";
}

int
gw_cmd_show_neighbours(struct gw_cmd *cmd)
{
	static const struct gw_column columns[] = {
			{"address", "address", GW_KIND_TEXT},
			{"port", "port", GW_KIND_TEXT},
			{"mac", "MAC", GW_KIND_TEXT},
			{"state", "state", GW_KIND_TEXT},
			{"usable", "usable", GW_KIND_BOOL},
	};
	struct gw_doc *doc = gw_doc_new();
	const struct gw_nl_neigh *nb;
	struct gw_table *t;
	unsigned int n = 0;

	if (doc == NULL)
		return gw_cmd_show(cmd, NULL);
	t = gw_doc_table(doc, "neighbours", NULL, columns, RTE_DIM(columns));
	nb = cmd->gw->nl != NULL ? gw_nl_neighs(cmd->gw->nl, &n) : NULL;
	for (unsigned int i = 0; i < n; i++) {
		char addr[GW_ADDR_STRLEN], mac[18];

		gw_cell_text(t, gw_addr_text(&nb[i].addr, addr));
		gw_cell_text(t, gw_ifindex_port(cmd->gw, nb[i].ifindex));
		gw_cell_text(t, nb[i].valid ? gw_mac_text(nb[i].mac, mac) : NULL);
		gw_cell_text(t, neigh_state(nb[i].state));
		gw_cell_bool(t, nb[i].valid);
	}
	return gw_cmd_show(cmd, doc);
}

static void
protocol_cell(struct gw_table *t, uint8_t protocol)
{
	static const struct {
		uint8_t number;
		const char *name;
	} names[] = {
			{RTPROT_KERNEL, "kernel"},
			{RTPROT_BOOT, "boot"},
			{RTPROT_STATIC, "static"},
			{RTPROT_RA, "ra"},
			{RTPROT_ZEBRA, "zebra"},
			{RTPROT_BIRD, "bird"},
			{RTPROT_DHCP, "dhcp"},
			{RTPROT_KEEPALIVED, "keepalived"},
			{RTPROT_BGP, "bgp"},
			{RTPROT_ISIS, "isis"},
			{RTPROT_OSPF, "ospf"},
			{RTPROT_RIP, "rip"},
	};

	for (size_t i = 0; i < RTE_DIM(names); i++) {
		if (names[i].number == protocol) {
			gw_cell_text(t, names[i].name);
			return;
		}
	}
	gw_cell_fmt(t, "%u", protocol);
}

static const char *
route_type(enum gw_nl_route_type type)
{
	switch (type) {
	case GW_NL_UNICAST:
		return "unicast";
	case GW_NL_BLACKHOLE:
		return "blackhole";
	default:
		return "elsewhere";
	}
}

int
gw_cmd_show_routes(struct gw_cmd *cmd)
{
	static const struct gw_column columns[] = {
			{"to", "to", GW_KIND_TEXT},
			{"via", "via", GW_KIND_TEXT},
			{"port", "port", GW_KIND_TEXT},
			{"metric", "metric", GW_KIND_COUNT},
			{"type", "type", GW_KIND_TEXT},
			{"protocol", "by", GW_KIND_TEXT},
	};
	struct gw_doc *doc = gw_doc_new();
	const struct gw_nl_route *r;
	struct gw_table *t;
	unsigned int n = 0;

	if (doc == NULL)
		return gw_cmd_show(cmd, NULL);
	t = gw_doc_table(doc, "routes", NULL, columns, RTE_DIM(columns));
	r = cmd->gw->nl != NULL ? gw_nl_routes(cmd->gw->nl, &n) : NULL;
	for (unsigned int i = 0; i < n; i++) {
		char to[GW_ADDR_STRLEN], via[GW_ADDR_STRLEN];

		gw_cell_text(t, gw_prefix_text(&r[i].dst, to));
		gw_cell_text(t, r[i].via.family != 0 ? gw_addr_text(&r[i].via, via) : NULL);
		gw_cell_text(t, gw_ifindex_port(cmd->gw, r[i].ifindex));
		gw_cell_num(t, r[i].metric);
		gw_cell_text(t, route_type(r[i].type));
		protocol_cell(t, r[i].protocol);
	}
	return gw_cmd_show(cmd, doc);
}

int
gw_cmd_show_version(struct gw_cmd *cmd)
{
	uint32_t mb = ipsec_pcpu_crypto_version();
	struct gw_doc *doc = gw_doc_new();
	struct gw_table *t;
	uint64_t now = gw_now_ns();

	if (doc == NULL)
		return gw_cmd_show(cmd, NULL);
	t = gw_doc_facts(doc, "version", NULL);
	gw_fact(t, "version", "dpdk-pcpu-gw", GW_KIND_TEXT);
	gw_cell_text(t, GW_VERSION);
	gw_fact(t, "dpdk", "DPDK", GW_KIND_TEXT);
	gw_cell_text(t, rte_version());
	gw_fact(t, "ipsec_mb", "intel-ipsec-mb", GW_KIND_TEXT);
	gw_cell_fmt(t, "%u.%u.%u", mb >> 16, mb >> 8 & 0xff, mb & 0xff);
	gw_fact(t, "pid", "process", GW_KIND_COUNT);
	gw_cell_num(t, getpid());
	gw_fact(t, "uptime_s", "runs for", GW_KIND_SECONDS);
	gw_cell_real(t, (double)(now - cmd->gw->started) / 1e9);
	gw_fact(t, "config_file", "configuration", GW_KIND_TEXT);
	gw_cell_text(t, cmd->gw->cfg.file);
	gw_fact(t, "forwarding", "forwarding", GW_KIND_BOOL);
	gw_cell_bool(t, cmd->gw->forwarding);
	return gw_cmd_show(cmd, doc);
}
