/* SPDX-License-Identifier: BSD-3-Clause */

/* show tunnels, tunnel, sa. */

#include <errno.h>

#include "../clock.h"
#include "../control/ike.h"
#include "commands.h"

static uint64_t
sum_drops(const struct ipsec_pcpu_sa_stats *st)
{
	uint64_t sum = 0;

	for (unsigned int d = 0; d < IPSEC_PCPU_N_DROPS; d++)
		sum += st->drops[d];
	return sum;
}

static void
num_or_none(struct gw_table *t, bool there, uint64_t v)
{
	if (there)
		gw_cell_num(t, v);
	else
		gw_cell_none(t);
}

/* One SA on its worker: the columns of "show tunnel", behind the tunnel's name in "show sa". */
static const struct gw_column sa_columns[] = {
		{"dir", "dir", GW_KIND_TEXT},
		{"spi", "SPI", GW_KIND_SPI},
		{"pcpu", "pcpu", GW_KIND_PCPU},
		{"worker", "worker", GW_KIND_COUNT},
		{"algo", "algorithm", GW_KIND_TEXT},
		{"esn", "ESN", GW_KIND_BOOL},
		{"encap_sport", "sport", GW_KIND_COUNT},
		{"encap_dport", "dport", GW_KIND_COUNT},
		{"packets", "packets", GW_KIND_COUNT},
		{"bytes", "bytes", GW_KIND_BYTES},
		{"pps", "Mpps", GW_KIND_PPS},
		{"bps", "Gbit/s", GW_KIND_BPS},
		{"cycles", "cyc/pkt", GW_KIND_CYCLES},
		{"seq", "seq", GW_KIND_COUNT},
		{"lost", "lost", GW_KIND_COUNT},
		{"displaced", "displaced", GW_KIND_COUNT},
		{"drops", "drops", GW_KIND_COUNT},
		{"age_s", "age s", GW_KIND_SECONDS},
		{"ike", "IKE", GW_KIND_TEXT}, /* from here on: of those that IKE made */
		{"cpu", "CPU", GW_KIND_PCPU},
		{"soft_s", "renew at s", GW_KIND_COUNT}, /* of its age */
		{"hard_s", "end at s", GW_KIND_COUNT},
};

static void
ike_cells(struct gw_table *t, const struct gw_sa_ike *ike)
{
	gw_cell_text(t, ike == NULL ? NULL : ike->stale ? "(gone)" : ike->name);
	num_or_none(t, ike != NULL && ike->cpu != IPSEC_PCPU_ANY, ike != NULL ? ike->cpu : 0);
	num_or_none(t, ike != NULL && ike->soft_s != 0, ike != NULL ? ike->soft_s : 0);
	num_or_none(t, ike != NULL && ike->hard_s != 0, ike != NULL ? ike->hard_s : 0);
}

static void
sa_row(struct gw_table *t, const struct gw_sa *sa, uint64_t now)
{
	const struct ipsec_pcpu_sa_params *prm = &sa->prm;
	bool encap = prm->encap_sport != 0 || prm->encap_dport != 0;
	struct ipsec_pcpu_sa_stats st;

	gw_stats_sa(sa, &st);
	gw_cell_text(t, prm->dir == IPSEC_PCPU_IN ? "in" : "out");
	gw_cell_num(t, prm->spi);
	num_or_none(t, prm->pcpu != IPSEC_PCPU_ANY, prm->pcpu);
	num_or_none(t, sa->worker != GW_NONE, sa->worker);
	gw_cell_text(t, prm->algo->name);
	gw_cell_bool(t, prm->esn);
	num_or_none(t, encap, prm->encap_sport);
	num_or_none(t, encap, prm->encap_dport);
	gw_cell_num(t, st.packets);
	gw_cell_num(t, st.bytes);
	gw_cell_real(t, sa->pps);
	gw_cell_real(t, sa->bps);
	gw_cell_cycles(t, sa->cycles);
	gw_cell_num(t, st.seq);
	num_or_none(t, prm->dir == IPSEC_PCPU_IN, st.lost);
	num_or_none(t, prm->dir == IPSEC_PCPU_IN, st.displaced);
	gw_cell_num(t, sum_drops(&st));
	gw_cell_real(t, now > sa->created ? (double)(now - sa->created) / 1e9 : 0);
	ike_cells(t, sa->ike);
}

/* What the SAs of a direction do together. */
struct sums {
	unsigned int sas;
	uint64_t packets, bytes, drops;
	double pps, bps;
};

static void
add_up(const struct gw_tunnel *t, enum ipsec_pcpu_dir dir, struct sums *s)
{
	*s = (struct sums){0};
	for (unsigned int i = 0; i < t->n_sas; i++) {
		struct ipsec_pcpu_sa_stats st;

		if (t->sas[i]->prm.dir != dir)
			continue;
		gw_stats_sa(t->sas[i], &st);
		s->sas++;
		s->packets += st.packets;
		s->bytes += st.bytes;
		s->drops += sum_drops(&st);
		s->pps += t->sas[i]->pps;
		s->bps += t->sas[i]->bps;
	}
}

/** Of the connection that its newest SA is of; NULL: of none, or not known yet. */
static const char *
ike_name(const struct gw_tunnel *tun)
{
	const struct gw_sa_ike *ike = tun->n_sas > 0 ? tun->sas[tun->n_sas - 1]->ike : NULL;

	return ike != NULL && ike->name[0] != '\0' ? ike->name : NULL;
}

static void
tunnel_row(struct gw_table *t, const struct gw *gw, const struct gw_tunnel *tun)
{
	const struct gw_tunnel_view *tv = gw_tunnel_view(gw, tun);
	char local[GW_ADDR_STRLEN], remote[GW_ADDR_STRLEN];
	struct sums in, out;

	add_up(tun, IPSEC_PCPU_IN, &in);
	add_up(tun, IPSEC_PCPU_OUT, &out);
	gw_cell_text(t, tun->cfg->name);
	gw_cell_text(t, tun->up ? "up" : "down");
	gw_cell_text(t, gw_addr_text(&tun->cfg->local, local));
	gw_cell_text(t, gw_addr_text(&tun->cfg->remote, remote));
	num_or_none(t, tv != NULL && tv->inner_mtu != 0, tv != NULL ? tv->inner_mtu : 0);
	gw_cell_num(t, in.sas);
	gw_cell_num(t, out.sas);
	gw_cell_num(t, in.packets);
	gw_cell_num(t, out.packets);
	gw_cell_real(t, in.pps);
	gw_cell_real(t, in.bps);
	gw_cell_real(t, out.pps);
	gw_cell_real(t, out.bps);
	gw_cell_num(t, in.drops + out.drops);
	gw_cell_text(t, ike_name(tun));
}

int
gw_cmd_show_tunnels(struct gw_cmd *cmd)
{
	static const struct gw_column columns[] = {
			{"name", "tunnel", GW_KIND_TEXT},
			{"state", "state", GW_KIND_TEXT},
			{"local", "local", GW_KIND_TEXT},
			{"remote", "remote", GW_KIND_TEXT},
			{"inner_mtu", "inner MTU", GW_KIND_COUNT},
			{"sas_in", "SAs in", GW_KIND_COUNT},
			{"sas_out", "SAs out", GW_KIND_COUNT},
			{"in_packets", "in", GW_KIND_COUNT},
			{"out_packets", "out", GW_KIND_COUNT},
			{"in_pps", "in Mpps", GW_KIND_PPS},
			{"in_bps", "in Gbit/s", GW_KIND_BPS},
			{"out_pps", "out Mpps", GW_KIND_PPS},
			{"out_bps", "out Gbit/s", GW_KIND_BPS},
			{"drops", "drops", GW_KIND_COUNT},
			{"ike", "IKE", GW_KIND_TEXT},
	};
	struct gw_doc *doc = gw_doc_new();
	struct gw_table *t;

	if (doc == NULL)
		return gw_cmd_show(cmd, NULL);
	t = gw_doc_table(doc, "tunnels", NULL, columns, RTE_DIM(columns));
	for (unsigned int i = 0; i < cmd->gw->n_tunnels; i++)
		if (cmd->gw->tunnel[i].cfg->name[0] != '\0')
			tunnel_row(t, cmd->gw, &cmd->gw->tunnel[i]);
	return gw_cmd_show(cmd, doc);
}

/* Where packets to the peer go: the port, and the MAC address of who is next. */
static void
nexthop_facts(struct gw_table *t, const struct gw *gw, const struct gw_tunnel *tun)
{
	const struct gw_tunnel_view *tv = gw_tunnel_view(gw, tun);
	const struct gw_nexthop *nh = gw_tunnel_nexthop(gw, tun);
	bool resolved = nh != NULL && nh->kind == GW_NH_ETHER;
	bool has_port = nh != NULL && nh->kind != GW_NH_NONE && nh->kind != GW_NH_BLACKHOLE &&
			nh->port < gw->n_ports;
	char mac[18], via[GW_ADDR_STRLEN];

	gw_fact(t, "inner_mtu", "inner MTU", GW_KIND_COUNT);
	num_or_none(t, tv != NULL && tv->inner_mtu != 0, tv != NULL ? tv->inner_mtu : 0);
	gw_fact(t, "next_hop", "next hop", GW_KIND_TEXT);
	gw_cell_text(t, nh != NULL ? gw_nexthop_kind(nh->kind) : NULL);
	gw_fact(t, "next_hop_via", "  via", GW_KIND_TEXT);
	gw_cell_text(t, nh != NULL && nh->via.family != 0 ? gw_addr_text(&nh->via, via) : NULL);
	gw_fact(t, "next_hop_port", "  port", GW_KIND_TEXT);
	gw_cell_text(t, has_port ? gw->port[nh->port].name : NULL);
	gw_fact(t, "next_hop_mac", "  MAC", GW_KIND_TEXT);
	gw_cell_text(t, resolved ? gw_mac_text(nh->dst.addr_bytes, mac) : NULL);
	gw_fact(t, "next_hop_mtu", "  MTU", GW_KIND_COUNT);
	num_or_none(t, has_port, nh != NULL ? nh->mtu : 0);
}

/* Workers without an outbound SA, and who encrypts in their place. */
static void
foreign_fact(struct gw_table *t, const struct gw *gw, const struct gw_tunnel *tun)
{
	struct gw_text s = {0};

	for (unsigned int w = 0; tun->out != NULL && w < gw->n_workers; w++) {
		const struct gw_out *out = &tun->out[w];

		if (out->own != NULL || out->fallback != NULL)
			continue;
		gw_text_printf(&s, "%s%u", s.len != 0 ? ", " : "", w);
		if (out->owner != GW_NONE)
			gw_text_printf(&s, " (by %u)", out->owner);
		else
			gw_text_puts(&s, " (by none: dropped)");
	}
	gw_fact(t, "workers_without_sa", "workers without an SA", GW_KIND_TEXT);
	gw_cell_text(t, s.len != 0 ? gw_text_str(&s) : NULL);
	gw_text_fini(&s);
}

static void
tunnel_facts(struct gw_doc *doc, const struct gw *gw, const struct gw_tunnel *tun)
{
	struct gw_table *t = gw_doc_facts(doc, "tunnel", NULL);
	char buf[GW_ADDR_STRLEN];

	gw_fact(t, "name", "tunnel", GW_KIND_TEXT);
	gw_cell_text(t, tun->cfg->name);
	gw_fact(t, "state", "state", GW_KIND_TEXT);
	gw_cell_text(t, tun->up ? "up" : "down");
	gw_fact(t, "local", "local", GW_KIND_TEXT);
	gw_cell_text(t, gw_addr_text(&tun->cfg->local, buf));
	gw_fact(t, "remote", "remote", GW_KIND_TEXT);
	gw_cell_text(t, gw_addr_text(&tun->cfg->remote, buf));
	if (tun->ike != NULL) {
		gw_fact(t, "ike", "IKE", GW_KIND_TEXT);
		gw_cell_text(t, ike_name(tun));
		gw_fact(t, "reqid", "  reqid", GW_KIND_COUNT);
		gw_cell_num(t, gw_ike_reqid(tun));
	}
	nexthop_facts(t, gw, tun);
	foreign_fact(t, gw, tun);
}

int
gw_cmd_show_tunnel(struct gw_cmd *cmd)
{
	static const struct gw_column sel_columns[] = {{"selector", "selector", GW_KIND_TEXT}};
	const struct gw_tunnel *tun = gw_tunnel_find(cmd->gw, gw_cmd_arg(cmd, "NAME"));
	uint64_t now = gw_now_ns();
	struct gw_doc *doc;
	struct gw_table *t;

	if (tun == NULL) {
		gw_error_set(&cmd->err, NULL, 0, "there is no tunnel \"%s\"",
				gw_cmd_arg(cmd, "NAME"));
		return -ENOENT;
	}
	doc = gw_doc_new();
	if (doc == NULL)
		return gw_cmd_show(cmd, NULL);
	tunnel_facts(doc, cmd->gw, tun);
	t = gw_doc_table(doc, "selectors", NULL, sel_columns, RTE_DIM(sel_columns));
	for (unsigned int i = 0; i < tun->cfg->n_selectors; i++) {
		char buf[GW_SELECTOR_STRLEN];

		gw_cell_text(t, gw_selector_text(&tun->cfg->selectors[i], buf));
	}
	t = gw_doc_table(doc, "sas", NULL, sa_columns, RTE_DIM(sa_columns));
	for (unsigned int i = 0; i < tun->n_sas; i++)
		sa_row(t, tun->sas[i], now);
	return gw_cmd_show(cmd, doc);
}

/* The drops of one SA, by reason. */
static void
sa_drops(struct gw_table *t, const struct gw_sa *sa, const char *tunnel)
{
	struct ipsec_pcpu_sa_stats st;

	gw_stats_sa(sa, &st);
	for (unsigned int d = 0; d < IPSEC_PCPU_N_DROPS; d++) {
		if (st.drops[d] == 0)
			continue;
		gw_cell_text(t, tunnel);
		gw_cell_num(t, sa->prm.spi);
		gw_cell_text(t, ipsec_pcpu_drop_info[d].name);
		gw_cell_num(t, st.drops[d]);
		gw_cell_text(t, ipsec_pcpu_drop_info[d].what);
		gw_cell_text(t, ipsec_pcpu_drop_info[d].remedy);
	}
}

/* Where an SA stands between its beginning and its end, and why it may have no worker. */
static const char *
sa_state(const struct gw_sa *sa)
{
	if (sa->ike != NULL && sa->ike->stale)
		return "of a charon that is gone";
	if (sa->ended)
		return "at its hard limit: others carry its packets";
	if (sa->held != 0)
		return "waits until the peer uses its pair";
	if (sa->prm.dir == IPSEC_PCPU_OUT && sa->worker == GW_NONE)
		return "not used: there is a newer one";
	if (sa->ike != NULL && sa->ike->renewed)
		return "in use, and renewed";
	return "in use";
}

static void
left_or_none(struct gw_table *t, uint64_t limit, uint64_t used)
{
	num_or_none(t, limit != 0, limit > used ? limit - used : 0);
}

static const struct gw_column limit_columns[] = {
		{"tunnel", "tunnel", GW_KIND_TEXT},
		{"spi", "SPI", GW_KIND_SPI},
		{"soft_left_s", "renew in s", GW_KIND_COUNT},
		{"soft_left_packets", "in packets", GW_KIND_COUNT},
		{"soft_left_bytes", "in bytes", GW_KIND_BYTES},
		{"hard_left_s", "end in s", GW_KIND_COUNT},
		{"hard_left_packets", "in packets", GW_KIND_COUNT},
		{"hard_left_bytes", "in bytes", GW_KIND_BYTES},
		{"seq_left", "numbers left", GW_KIND_COUNT},
		{"state", "state", GW_KIND_TEXT},
};

/* What is left of one SA until it is renewed, and until it carries nothing any more. */
static void
sa_limits(struct gw_table *t, const struct gw_sa *sa, const char *tunnel, uint64_t now)
{
	uint64_t age_s = now > sa->created ? (now - sa->created) / GW_NS_PER_S : 0;
	static const struct gw_sa_ike none;
	const struct gw_sa_ike *ike = sa->ike != NULL ? sa->ike : &none;
	struct ipsec_pcpu_sa_stats st;

	gw_stats_sa(sa, &st);
	st.packets += sa->base.packets; /* limits know nothing of "clear stats" */
	st.bytes += sa->base.bytes;
	gw_cell_text(t, tunnel);
	gw_cell_num(t, sa->prm.spi);
	left_or_none(t, ike->soft_s, age_s);
	left_or_none(t, ike->soft_packets, st.packets);
	left_or_none(t, ike->soft_bytes, st.bytes);
	left_or_none(t, ike->hard_s, age_s);
	left_or_none(t, sa->prm.hard_packets, st.packets);
	left_or_none(t, sa->prm.hard_bytes, st.bytes);
	gw_cell_num(t, (sa->prm.esn ? UINT64_MAX : UINT32_MAX) - st.seq);
	gw_cell_text(t, sa_state(sa));
}

/* All SAs, or those of an SPI (outbound there may be several); of those also limits and drops. */
static unsigned int
sa_rows(const struct gw *gw, const uint64_t *spi, struct gw_table *sas, struct gw_table *limits,
		struct gw_table *drops)
{
	uint64_t now = gw_now_ns();
	unsigned int n = 0;

	for (unsigned int i = 0; i < gw->n_tunnels; i++) {
		const struct gw_tunnel *tun = &gw->tunnel[i];

		for (unsigned int k = 0; k < tun->n_sas; k++) {
			if (spi != NULL && tun->sas[k]->prm.spi != *spi)
				continue;
			n++;
			gw_cell_text(sas, tun->cfg->name);
			sa_row(sas, tun->sas[k], now);
			if (spi == NULL)
				continue;
			sa_limits(limits, tun->sas[k], tun->cfg->name, now);
			sa_drops(drops, tun->sas[k], tun->cfg->name);
		}
	}
	return n;
}

int
gw_cmd_show_sa(struct gw_cmd *cmd)
{
	static const struct gw_column drop_columns[] = {
			{"tunnel", "tunnel", GW_KIND_TEXT},
			{"spi", "SPI", GW_KIND_SPI},
			{"name", "drop", GW_KIND_TEXT},
			{"count", "count", GW_KIND_COUNT},
			{"what", "what", GW_KIND_TEXT},
			{"remedy", "what to do", GW_KIND_TEXT},
	};
	const char *text = gw_cmd_arg(cmd, "SPI");
	struct gw_doc *doc = gw_doc_new();
	struct gw_table *sas, *limits = NULL, *drops = NULL;
	uint64_t spi = 0;

	if (doc == NULL)
		return gw_cmd_show(cmd, NULL);
	sas = gw_doc_table(doc, "sas", NULL, NULL, 0);
	gw_table_column(sas, "tunnel", "tunnel", GW_KIND_TEXT);
	for (size_t i = 0; i < RTE_DIM(sa_columns); i++)
		gw_table_column(sas, sa_columns[i].key, sa_columns[i].heading, sa_columns[i].kind);
	if (text != NULL) {
		gw_cmd_number(text, UINT32_MAX, &spi);
		limits = gw_doc_table(doc, "limits", NULL, limit_columns, RTE_DIM(limit_columns));
		drops = gw_doc_table(doc, "drops", NULL, drop_columns, RTE_DIM(drop_columns));
	}
	if (sa_rows(cmd->gw, text != NULL ? &spi : NULL, sas, limits, drops) == 0 && text != NULL) {
		gw_error_set(&cmd->err, NULL, 0, "there is no SA with SPI 0x%08x", (uint32_t)spi);
		gw_doc_free(doc);
		return -ENOENT;
	}
	return gw_cmd_show(cmd, doc);
}
