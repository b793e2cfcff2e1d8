/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * "show peer-commands". The gateway wiped its keys when the SAs were made: "with
 * keys" reads the configuration once more, and takes only what is in use.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "peer_commands.h"

static const struct gw_config_sa *
find_sa(const struct gw_config *cfg, const char *tunnel, const struct gw_sa *sa)
{
	for (unsigned int i = 0; i < cfg->n_tunnels; i++) {
		const struct gw_config_tunnel *t = &cfg->tunnels[i];

		for (unsigned int k = 0; strcmp(t->name, tunnel) == 0 && k < t->n_sas; k++)
			if (t->sas[k].prm.dir == sa->prm.dir && t->sas[k].prm.spi == sa->prm.spi)
				return &t->sas[k];
	}
	return NULL;
}

/* The key of an SA in use, if the file still has it; else why not. */
static void
find_key(const struct gw *gw, const struct gw_config *file, const char *tunnel,
		const struct gw_sa *sa, struct gw_peer_sa *peer_sa)
{
	const struct gw_config_sa *csa = find_sa(file, tunnel, sa);
	uint8_t id[GW_RESERVE_ID_LEN];

	if (csa == NULL) {
		peer_sa->why = "not in the configuration file: that of \"sa add\"";
		return;
	}
	gw_reserve_id(gw->ctx, &csa->prm, id);
	if (csa->prm.algo != sa->prm.algo || memcmp(id, sa->reserve_id, sizeof(id)) != 0)
		peer_sa->why = "the configuration file has another one by now: that in use";
	else
		peer_sa->key = csa->prm.key;
}

/* @file is NULL where keys are not asked for. */
static int
show(struct gw_cmd *cmd, const struct gw_tunnel *t, const struct gw_config *file)
{
	struct gw_peer_sa *sas = calloc(RTE_MAX(t->n_sas, 1u), sizeof(*sas));
	struct gw_peer peer = {.cfg = &cmd->gw->cfg, .tunnel = t->cfg, .reqid = t->id + 1u};
	const char *cpus = gw_cmd_arg(cmd, "CPUS");
	uint64_t n = 0;
	int rc;

	if (sas == NULL)
		return -ENOMEM;
	for (unsigned int i = 0; i < t->n_sas; i++) {
		struct ipsec_pcpu_sa_stats st;

		/* "clear stats" takes nothing from seq */
		gw_stats_sa(t->sas[i], &st);
		sas[i].prm = &t->sas[i]->prm;
		sas[i].seq = st.seq;
		if (file != NULL)
			find_key(cmd->gw, file, t->cfg->name, t->sas[i], &sas[i]);
	}
	if (cpus != NULL)
		gw_cmd_number(cpus, GW_PEER_MAX_CPUS, &n);
	peer.sas = sas;
	peer.n_sas = t->n_sas;
	peer.cpus = n;
	peer.with_keys = file != NULL;
	peer.live = true;
	rc = gw_peer_commands(&peer, cmd->out, &cmd->err);
	free(sas);
	return rc;
}

int
gw_cmd_show_peer(struct gw_cmd *cmd)
{
	const struct gw_tunnel *t = gw_tunnel_find(cmd->gw, gw_cmd_arg(cmd, "TUNNEL"));
	struct gw_config file;
	int rc;

	if (t == NULL) {
		gw_error_set(&cmd->err, NULL, 0, "there is no tunnel \"%s\"",
				gw_cmd_arg(cmd, "TUNNEL"));
		return -ENOENT;
	}
	if (!gw_cmd_has(cmd, "keys"))
		return show(cmd, t, NULL);
	if (cmd->gw->cfg.file == NULL) {
		gw_error_set(&cmd->err, NULL, 0,
				"there is no configuration file to take the keys from");
		return -ENOENT;
	}
	rc = gw_config_load(cmd->gw->cfg.file, &file, &cmd->err);
	if (rc != 0)
		return rc;
	cmd->out->secret = true;
	rc = show(cmd, t, &file);
	gw_config_free(&file);
	return rc;
}
