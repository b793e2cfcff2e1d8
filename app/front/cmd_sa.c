/* SPDX-License-Identifier: BSD-3-Clause */

/* "sa add", "sa move" and "sa del". Keys come from a file only, so none gets into a history. */

#include <errno.h>
#include <string.h>

#include "commands.h"

/*
 * The newest SA of a direction, if there is one of the same pcpu (R5: a successor
 * keeps the ports): a new one takes over its algorithm, ESN, window and addresses.
 */
static const struct ipsec_pcpu_sa_params *
like(const struct gw_tunnel *t, enum ipsec_pcpu_dir dir, uint32_t pcpu)
{
	for (unsigned int i = t->n_sas; i-- > 0;)
		if (t->sas[i]->prm.dir == dir && t->sas[i]->prm.pcpu == pcpu)
			return &t->sas[i]->prm;
	for (unsigned int i = t->n_sas; i-- > 0;)
		if (t->sas[i]->prm.dir == dir)
			return &t->sas[i]->prm;
	for (unsigned int i = 0; i < t->cfg->n_sas; i++)
		if (t->cfg->sas[i].prm.dir == dir)
			return &t->cfg->sas[i].prm;
	return NULL;
}

static uint64_t
number(const struct gw_cmd *cmd, const char *arg)
{
	uint64_t v = 0;

	/* the matcher has checked it */
	gw_cmd_number(gw_cmd_arg(cmd, arg), UINT32_MAX, &v);
	return v;
}

static enum ipsec_pcpu_dir
direction(const struct gw_cmd *cmd)
{
	return gw_cmd_has(cmd, "in") ? IPSEC_PCPU_IN : IPSEC_PCPU_OUT;
}

static uint32_t
pcpu_of(const struct gw_cmd *cmd)
{
	return gw_cmd_has(cmd, "any") ? IPSEC_PCPU_ANY : number(cmd, "PCPU");
}

/* The parameters of the new SA, but for its key. */
static void
fill(const struct gw_cmd *cmd, const struct ipsec_pcpu_sa_params *from,
		struct ipsec_pcpu_sa_params *prm)
{
	*prm = *from;
	explicit_bzero(prm->key, sizeof(prm->key));
	prm->seq = 0;
	prm->seq_limit = 0;
	prm->spi = number(cmd, "SPI");
	prm->pcpu = pcpu_of(cmd);
	if (gw_cmd_arg(cmd, "SPORT") != NULL) {
		prm->encap_sport = number(cmd, "SPORT");
		prm->encap_dport = number(cmd, "DPORT");
	}
}

/** The tunnel that is named; NULL, and the reason is set. */
static struct gw_tunnel *
tunnel_of(struct gw_cmd *cmd)
{
	const char *name = gw_cmd_arg(cmd, "TUNNEL");
	struct gw_tunnel *t = gw_tunnel_find(cmd->gw, name);

	if (t == NULL)
		gw_error_set(&cmd->err, NULL, 0, "there is no tunnel \"%s\"", name);
	return t;
}

struct gw_tunnel *
gw_cmd_static_tunnel(struct gw_cmd *cmd)
{
	struct gw_tunnel *t = tunnel_of(cmd);

	if (t == NULL || t->ike == NULL)
		return t;
	gw_error_set(&cmd->err, NULL, 0,
			"tunnel \"%s\" is IKE's: it is for swanctl to change its SAs, at both ends",
			t->cfg->name);
	return NULL;
}

int
gw_cmd_sa_add(struct gw_cmd *cmd)
{
	struct gw_tunnel *t = gw_cmd_static_tunnel(cmd);
	const struct ipsec_pcpu_sa_params *from;
	struct gw_config_sa sa = {0};
	int rc;

	if (t == NULL)
		return -ENOENT;
	from = like(t, direction(cmd), pcpu_of(cmd));
	if (from == NULL) {
		gw_error_set(&cmd->err, NULL, 0,
				"tunnel \"%s\" has no SA of this direction to take the algorithm "
				"from: the first one goes into the configuration file",
				t->cfg->name);
		return -ENOENT;
	}
	fill(cmd, from, &sa.prm);
	rc = gw_config_read_key(gw_cmd_arg(cmd, "KEYFILE"), sa.prm.algo, sa.prm.key, &cmd->err);
	if (rc == 0 && gw_cmd_arg(cmd, "SPORT") == NULL)
		rc = gw_sa_choose_sport(t, &sa, &cmd->err);
	if (rc == 0)
		rc = gw_sa_add(cmd->gw, t, &sa, &cmd->err);
	explicit_bzero(&sa, sizeof(sa));
	return rc;
}

int
gw_cmd_sa_move(struct gw_cmd *cmd)
{
	struct gw_tunnel *t = tunnel_of(cmd);

	if (t == NULL)
		return -ENOENT;
	return gw_sa_move(cmd->gw, t, direction(cmd), number(cmd, "SPI"), number(cmd, "WORKER"),
			&cmd->err);
}

int
gw_cmd_sa_del(struct gw_cmd *cmd)
{
	struct gw_tunnel *t = gw_cmd_static_tunnel(cmd);

	if (t == NULL)
		return -ENOENT;
	return gw_sa_del(cmd->gw, t, direction(cmd), number(cmd, "SPI"), &cmd->err);
}
