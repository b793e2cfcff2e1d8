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

/* The one in the file. They are in one order as a rule: @p at is where the last one was. */
static const struct gw_config_sa *
find_sa(const struct gw_config_tunnel *t, const struct gw_sa *sa, unsigned int *at)
{
	for (unsigned int i = 0; t != NULL && i < t->n_sas; i++) {
		unsigned int k = (*at + 1 + i) % t->n_sas;

		if (t->sas[k].prm.dir != sa->prm.dir || t->sas[k].prm.spi != sa->prm.spi)
			continue;
		*at = k;
		return &t->sas[k];
	}
	return NULL;
}

/* The key of an SA in use, if the file still has it; else why not. */
static void
find_key(const struct gw *gw, const struct gw_config_sa *csa, const struct gw_sa *sa,
		struct gw_peer_sa *peer_sa)
{
	uint8_t id[GW_RESERVE_ID_LEN];

	if (csa == NULL) {
		peer_sa->why = "not in the configuration file: that of \"sa add\"";
		return;
	}
	gw_reserve_key_id(gw->ctx, &csa->prm, id);
	if (csa->prm.algo != sa->prm.algo || memcmp(id, sa->key_id, sizeof(id)) != 0)
		peer_sa->why = "the configuration file has another one by now: that in use";
	else
		peer_sa->key = csa->prm.key;
}

/* An SA and where the peer is to begin with it, which counts as told from now on. */
static int
take_sa(struct gw *gw, const struct gw_sa *sa, struct gw_peer_sa *peer_sa)
{
	struct ipsec_pcpu_sa_stats st;
	int rc = 0;

	peer_sa->prm = &sa->prm;
	peer_sa->id = sa->reserve_id;
	if (sa->prm.dir == IPSEC_PCPU_IN) {
		rc = gw_sa_offer(gw, sa, &peer_sa->start);
		peer_sa->unfit = gw_peer_unfit(rc);
		return peer_sa->unfit != NULL ? 0 : rc;
	}
	/* "clear stats" takes nothing from seq */
	gw_stats_sa(sa, &st);
	peer_sa->seq = st.seq;
	return 0;
}

/* @p file is NULL where keys are not asked for. */
static int
take_sas(struct gw *gw, const struct gw_tunnel *t, const struct gw_config *file,
		struct gw_peer_sa *sas)
{
	const struct gw_config_tunnel *in_file =
			file != NULL ? gw_config_tunnel_find(file, t->cfg->name) : NULL;
	unsigned int at = UINT32_MAX;
	int rc = 0;

	for (unsigned int i = 0; i < t->n_sas && rc == 0; i++) {
		rc = take_sa(gw, t->sas[i], &sas[i]);
		if (file != NULL)
			find_key(gw, find_sa(in_file, t->sas[i], &at), t->sas[i], &sas[i]);
	}
	return rc;
}

/* What the peer is told is on the disk before it is told. */
static int
show(struct gw_cmd *cmd, const struct gw_tunnel *t, const struct gw_config *file)
{
	struct gw_peer_sa *sas = calloc(RTE_MAX(t->n_sas, 1u), sizeof(*sas));
	struct gw_peer peer = {.cfg = &cmd->gw->cfg, .tunnel = t->cfg};
	const char *cpus = gw_cmd_arg(cmd, "CPUS");
	uint64_t n = 0;
	int rc = -ENOMEM;

	gw_error_set(&cmd->err, NULL, 0, "no memory");
	/* more than a script has: refused, and none of them is told */
	if (sas != NULL)
		rc = t->n_sas > GW_PEER_MAX_SAS ? 0 : take_sas(cmd->gw, t, file, sas);
	if (cpus != NULL)
		gw_cmd_number(cpus, GW_PEER_MAX_CPUS, &n);
	peer.sas = sas;
	peer.n_sas = t->n_sas;
	peer.cpus = n;
	peer.with_keys = file != NULL;
	peer.numbers = cmd->gw->reserve == NULL || gw_reserve_is_volatile(cmd->gw->cfg.state_file)
			? GW_PEER_MEMORY
			: GW_PEER_NOTED;
	if (rc == 0)
		rc = gw_peer_commands(&peer, cmd->out, &cmd->err);
	if (rc == 0) {
		rc = gw_offers_commit(cmd->gw, &cmd->err);
		if (rc != 0)
			gw_text_clear(cmd->out);
	}
	free(sas);
	return rc;
}

int
gw_cmd_show_peer(struct gw_cmd *cmd)
{
	const struct gw_tunnel *t = gw_cmd_static_tunnel(cmd);
	struct gw_config file;
	int rc;

	if (t == NULL)
		return -ENOENT;
	if (!gw_cmd_has(cmd, "keys"))
		return show(cmd, t, NULL);
	if (cmd->gw->cfg.file == NULL) {
		gw_error_set(&cmd->err, NULL, 0,
				"there is no configuration file to take the keys from");
		return -ENOENT;
	}
	rc = gw_config_load_again(cmd->gw->cfg.file, &file, &cmd->err);
	if (rc != 0)
		return rc;
	cmd->out->secret = true;
	rc = show(cmd, t, &file);
	gw_config_free(&file);
	return rc;
}
