/* SPDX-License-Identifier: BSD-3-Clause */

/* What the groups of the file say, put together: selectors, SAs with their keys. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "config_parse.h"

/* The side that is left out: all of the other's family. */
static void
fill_net(struct gw_prefix *net, const struct gw_prefix *other)
{
	if (net->addr.family == 0)
		*net = (struct gw_prefix){.addr.family = other->addr.family};
}

int
cfg_done_selector(struct cfg_parse *p, const config_setting_t *s, void *elem)
{
	struct gw_selector *sel = elem;
	const char *problem;

	fill_net(&sel->local, &sel->remote);
	fill_net(&sel->remote, &sel->local);
	problem = cfg_selector_problem(sel);
	return problem != NULL ? cfg_fail(p, s, "%s", problem) : 0;
}

int
cfg_done_policy(struct cfg_parse *p, const config_setting_t *s, void *elem)
{
	struct gw_config_policy *pol = elem;

	if (pol->action == GW_ACTION_TUNNEL && pol->tunnel[0] == '\0')
		return cfg_fail(p, s, "tunnel is missing: action \"tunnel\" wants its name");
	if (pol->action != GW_ACTION_TUNNEL && pol->tunnel[0] != '\0')
		return cfg_fail(p, s, "tunnel \"%s\" goes with action \"tunnel\" only",
				pol->tunnel);
	return cfg_done_selector(p, s, &pol->sel);
}

int
cfg_done_tunnel(struct cfg_parse *p, const config_setting_t *s, void *elem)
{
	const struct raw_tunnel *t = elem;

	if (t->t.local.family != t->t.remote.family)
		return cfg_fail(p, s, "local and remote are not of the same family");
	if (t->opts.replay_window % 64 != 0)
		return cfg_fail(p, s, "replay_window %u is not a multiple of 64",
				t->opts.replay_window);
	return 0;
}

void
cfg_init_pair(const void *parent, void *elem)
{
	const struct raw_tunnel *t = parent;
	struct raw_pair *pair = elem;

	pair->opts = t->opts;
}

static bool
in_udp(const struct raw_side *side)
{
	return side->sport != 0 || side->dport != 0;
}

int
cfg_done_pair(struct cfg_parse *p, const config_setting_t *s, void *elem)
{
	const struct raw_pair *pair = elem;

	if (pair->out.where.line == 0 && pair->in.where.line == 0)
		return cfg_fail(p, s, "neither out nor in: no SA here");
	if (pair->out.where.line != 0 && pair->in.where.line != 0 &&
			in_udp(&pair->out) != in_udp(&pair->in))
		return cfg_fail(p, s,
				"one SA of the pair is in UDP (sport, dport), the other one is not: "
				"both, or neither");
	return 0;
}

int
cfg_done_side(struct cfg_parse *p, const config_setting_t *s, void *elem)
{
	const struct raw_side *side = elem;

	if (side->key == 0 && side->key_file == NULL)
		return cfg_fail(p, s,
				"key is missing: key = \"hex digits\" or key_file = \"path\"");
	if (side->key != 0 && side->key_file != NULL)
		return cfg_fail(p, s, "key and key_file: one of them only");
	return 0;
}

static int
build_key(struct cfg_parse *p, const struct raw_tunnel *t, const struct raw_side *side,
		struct ipsec_pcpu_sa_params *prm)
{
	struct cfg_where w = side->key != 0 ? side->key_where : side->where;
	struct gw_error why;
	int rc;

	if (side->key != 0)
		rc = cfg_hexkey_get(&p->text.keys[side->key - 1], prm->algo, prm->key, &why);
	else
		rc = gw_config_read_key(side->key_file, prm->algo, prm->key, &why);
	if (rc != 0)
		gw_error_set(p->err, w.file, w.line, "tunnel \"%s\": %.400s", t->t.name, why.text);
	return rc;
}

static int
build_sa(struct cfg_parse *p, const struct raw_tunnel *t, const struct raw_pair *pair,
		const struct raw_side *side, struct gw_config_sa *sa)
{
	struct ipsec_pcpu_sa_params *prm = &sa->prm;
	bool out = side == &pair->out;

	sa->file = side->where.file;
	sa->line = side->where.line;
	prm->dir = out ? IPSEC_PCPU_OUT : IPSEC_PCPU_IN;
	prm->spi = side->spi;
	prm->pcpu = pair->pcpu;
	prm->algo = pair->opts.algo;
	prm->esn = pair->opts.esn;
	prm->replay_window = out ? 0 : pair->opts.replay_window;
	prm->family = t->t.local.family;
	prm->ttl = pair->opts.ttl;
	prm->dscp = pair->opts.dscp;
	prm->df = pair->opts.df;
	/* fixed for the life of the SA, different between SAs: the peer's RSS may use it */
	prm->flow_label = prm->family == AF_INET6 ? side->spi & 0xfffff : 0;
	prm->saddr = out ? t->t.local.a : t->t.remote.a;
	prm->daddr = out ? t->t.remote.a : t->t.local.a;
	sa->auto_sport = side->sport == CFG_SPORT_AUTO;
	prm->encap_sport = sa->auto_sport ? 0 : side->sport; /* 0: see cfg_choose_sports() */
	prm->encap_dport = sa->auto_sport && side->dport == 0 ? GW_ESP_PORT : side->dport;
	/* inbound, the source port is for show and steering: any is accepted */
	if (!out && side->sport == 0)
		prm->encap_sport = side->dport;
	prm->hard_packets = pair->opts.hard_packets;
	prm->hard_bytes = pair->opts.hard_bytes;
	return build_key(p, t, side, prm);
}

static int
build_pair(struct cfg_parse *p, const struct raw_tunnel *raw, const struct raw_pair *pair,
		struct gw_config_tunnel *t)
{
	const struct raw_side *sides[] = {&pair->out, &pair->in};
	int rc = 0;

	for (unsigned int i = 0; i < RTE_DIM(sides) && rc == 0; i++)
		if (sides[i]->where.line != 0)
			rc = build_sa(p, raw, pair, sides[i], &t->sas[t->n_sas++]);
	return rc;
}

static int
build_tunnel(struct cfg_parse *p, struct raw_tunnel *raw, struct gw_config_tunnel *t)
{
	int rc = 0;

	*t = raw->t;
	raw->t.selectors = NULL; /* it is t's now */
	raw->t.n_selectors = 0;
	if (raw->n_pairs == 0)
		return 0;
	t->sas = calloc(2 * (size_t)raw->n_pairs, sizeof(t->sas[0]));
	if (t->sas == NULL)
		return cfg_no_memory(p->err);
	for (unsigned int i = 0; i < raw->n_pairs && rc == 0; i++)
		rc = build_pair(p, raw, &raw->pairs[i], t);
	return rc;
}

int
cfg_build(struct cfg_parse *p, struct gw_config *cfg)
{
	int rc = 0;

	*cfg = p->raw.cfg;
	memset(&p->raw.cfg, 0, sizeof(p->raw.cfg));
	cfg->files = p->text.files;
	cfg->n_files = p->text.n_files;
	cfg->file = cfg->files[0];
	p->text.files = NULL;
	p->text.n_files = 0;
	if (p->raw.n_tunnels == 0)
		return 0;
	cfg->tunnels = calloc(p->raw.n_tunnels, sizeof(cfg->tunnels[0]));
	if (cfg->tunnels == NULL)
		return cfg_no_memory(p->err);
	for (unsigned int i = 0; i < p->raw.n_tunnels && rc == 0; i++)
		rc = build_tunnel(p, &p->raw.tunnels[i], &cfg->tunnels[cfg->n_tunnels++]);
	return rc;
}

static void
free_raw_tunnel(struct raw_tunnel *t)
{
	for (unsigned int i = 0; i < t->n_pairs; i++) {
		free(t->pairs[i].out.key_file);
		free(t->pairs[i].in.key_file);
	}
	free(t->pairs);
	free(t->t.selectors);
}

void
cfg_raw_free(struct cfg_parse *p)
{
	for (unsigned int i = 0; i < p->raw.n_tunnels; i++)
		free_raw_tunnel(&p->raw.tunnels[i]);
	free(p->raw.tunnels);
	gw_config_free(&p->raw.cfg);
	memset(&p->raw, 0, sizeof(p->raw));
}

static void
free_tunnel(struct gw_config_tunnel *t)
{
	free(t->selectors);
	if (t->sas != NULL)
		explicit_bzero(t->sas, t->n_sas * sizeof(t->sas[0]));
	free(t->sas);
}

void
gw_config_free(struct gw_config *cfg)
{
	for (unsigned int i = 0; i < cfg->n_ports; i++)
		free(cfg->ports[i].device);
	for (unsigned int i = 0; i < cfg->n_tunnels; i++)
		free_tunnel(&cfg->tunnels[i]);
	for (unsigned int i = 0; i < cfg->n_files; i++)
		free(cfg->files[i]);
	free(cfg->files);
	free(cfg->ports);
	free(cfg->routes);
	free(cfg->tunnels);
	free(cfg->policies);
	free(cfg->state_file);
	free(cfg->console_socket);
	free(cfg->ike_socket);
	memset(cfg, 0, sizeof(*cfg));
}
