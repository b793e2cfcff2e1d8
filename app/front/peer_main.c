/* SPDX-License-Identifier: BSD-3-Clause */

/* --peer-commands: a Linux peer's script from a configuration file. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../control/reserve.h"
#include "../options.h"
#include "peer_commands.h"

#define MAX_NAMES_SHOWN 8

/* Of several or none: which there are. */
static void
refuse_name(const struct gw_config *cfg, const char *name, struct gw_error *err)
{
	struct gw_text names = {0};

	for (unsigned int i = 0; i < cfg->n_tunnels && i < MAX_NAMES_SHOWN; i++)
		gw_text_printf(&names, "%s%s", i > 0 ? ", " : "", cfg->tunnels[i].name);
	if (cfg->n_tunnels > MAX_NAMES_SHOWN)
		gw_text_puts(&names, ", ...");
	if (cfg->n_tunnels == 0)
		gw_error_set(err, NULL, 0, "%s has no tunnel", cfg->file);
	else if (name[0] == '\0')
		gw_error_set(err, NULL, 0, "%s has several tunnels: --name says which: %s",
				cfg->file, gw_text_str(&names));
	else
		gw_error_set(err, NULL, 0, "%s has no tunnel \"%s\"; there are: %s", cfg->file,
				name, gw_text_str(&names));
	gw_text_fini(&names);
}

/* The tunnel of a name, or the only one there is; NULL: err is set. */
static const struct gw_config_tunnel *
find(const struct gw_config *cfg, const char *name, struct gw_error *err)
{
	const struct gw_config_tunnel *t = gw_config_tunnel_find(cfg, name);

	if (name[0] == '\0' && cfg->n_tunnels == 1)
		return &cfg->tunnels[0];
	if (t == NULL)
		refuse_name(cfg, name, err);
	return t;
}

/* Nobody else may tell a peer its numbers, or use them, meanwhile. */
static int
lock(const struct gw_config *cfg, const struct gw_config_tunnel *t, struct gw_reserve **res,
		struct gw_error *err)
{
	int rc = gw_reserve_open(cfg->state_file, cfg->allow_iv_reuse, res, err);

	if (rc == -EWOULDBLOCK)
		gw_error_set(err, NULL, 0,
				"a gateway runs with state file %s and knows how far its keys are: ask the "
				"running gateway: dpdk-pcpu-gw --attach -e 'show peer-commands %s'",
				cfg->state_file, t->name);
	return rc;
}

/* What the state file knows of an SA, and where the peer is to begin with it. */
static int
take_numbers(struct gw_reserve *res, const struct ipsec_pcpu_sa_params *prm, struct gw_peer_sa *sa)
{
	int rc;

	if (prm->dir == IPSEC_PCPU_OUT) {
		sa->seq = gw_reserve_get(res, sa->id, GW_RESERVE_OUT);
		return 0;
	}
	rc = gw_reserve_offer(res, sa->id, prm->esn, 0, &sa->start);
	sa->unfit = gw_peer_unfit(rc);
	return sa->unfit != NULL ? 0 : rc;
}

/* @p ids: one for each SA. @p res is NULL where there is no state file. */
static int
take_sas(const struct gw_options *opt, const struct gw_config_tunnel *t, struct gw_reserve *res,
		struct gw_peer_sa *sas, uint8_t (*ids)[GW_RESERVE_ID_LEN])
{
	struct ipsec_pcpu_ctx *ctx = aligned_alloc(64, RTE_ALIGN_CEIL(ipsec_pcpu_ctx_size(), 64));
	int rc = ctx != NULL ? ipsec_pcpu_ctx_init(ctx) : -ENOMEM;

	if (rc != 0) {
		free(ctx);
		return rc;
	}
	for (unsigned int i = 0; i < t->n_sas && rc == 0; i++) {
		const struct ipsec_pcpu_sa_params *prm = &t->sas[i].prm;

		gw_reserve_id(ctx, prm, ids[i]);
		sas[i] = (struct gw_peer_sa){.prm = prm, .id = ids[i]};
		sas[i].key = opt->with_keys ? prm->key : NULL;
		if (res != NULL)
			rc = take_numbers(res, prm, &sas[i]);
	}
	ipsec_pcpu_ctx_fini(ctx);
	free(ctx);
	return rc;
}

static int
make_of(const struct gw_options *opt, const struct gw_config *cfg, const struct gw_config_tunnel *t,
		struct gw_reserve *res, struct gw_text *out, struct gw_error *err)
{
	unsigned int n = t->n_sas > GW_PEER_MAX_SAS ? 0 : t->n_sas; /* too many are refused below */
	struct gw_peer_sa *sas = calloc(n + 1, sizeof(*sas));
	uint8_t(*ids)[GW_RESERVE_ID_LEN] = calloc(n + 1, sizeof(*ids));
	struct gw_peer peer = {.cfg = cfg, .tunnel = t, .sas = sas, .n_sas = t->n_sas};
	int rc = -ENOMEM;

	peer.cpus = opt->cpus;
	peer.with_keys = opt->with_keys;
	peer.numbers = res == NULL                                ? GW_PEER_FRESH
			: gw_reserve_is_volatile(cfg->state_file) ? GW_PEER_MEMORY
								  : GW_PEER_NOTED;
	gw_error_set(err, NULL, 0, "no memory");
	if (sas != NULL && ids != NULL)
		rc = n == t->n_sas ? take_sas(opt, t, res, sas, ids) : 0;
	if (rc == 0)
		rc = gw_peer_commands(&peer, out, err);
	if (rc == 0 && res != NULL)
		rc = gw_reserve_commit(res, err);
	free(sas);
	free(ids);
	return rc;
}

static int
make(const struct gw_options *opt, const struct gw_config *cfg, struct gw_text *out,
		struct gw_error *err)
{
	const struct gw_config_tunnel *t = find(cfg, opt->make_tunnel.name, err);
	struct gw_reserve *res = NULL;
	int rc;

	if (t == NULL)
		return -ENOENT;
	rc = cfg->state_file != NULL ? lock(cfg, t, &res, err) : 0;
	if (rc == 0)
		rc = make_of(opt, cfg, t, res, out, err);
	gw_reserve_close(res);
	return rc;
}

/* Keys into a file that others can read? */
static int
check_stdout(const struct gw_options *opt, struct gw_error *err)
{
	struct stat st;

	if (!opt->with_keys || fstat(STDOUT_FILENO, &st) != 0 || !S_ISREG(st.st_mode) ||
			(st.st_mode & 077) == 0)
		return 0;
	gw_error_set(err, NULL, 0,
			"others can read the file that the keys are to be written to: umask 077, and "
			"a new file");
	return -EACCES;
}

/* Past stdio, whose buffer would keep the keys. */
static int
write_out(const struct gw_text *out, struct gw_error *err)
{
	for (size_t at = 0; at < out->len;) {
		ssize_t n = write(STDOUT_FILENO, out->s + at, out->len - at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			gw_error_set(err, NULL, 0, "cannot write the commands: %s",
					strerror(errno));
			return -EIO;
		}
		at += n;
	}
	if (!out->failed)
		return 0;
	gw_error_set(err, NULL, 0, "no memory");
	return -ENOMEM;
}

int
gw_peer_commands_main(const struct gw_options *opt)
{
	struct gw_text out = {.secret = opt->with_keys};
	struct gw_config cfg;
	struct gw_error err;
	int rc = check_stdout(opt, &err);

	if (rc == 0)
		rc = gw_config_load(opt->config_file, &cfg, &err);
	if (rc == 0) {
		rc = make(opt, &cfg, &out, &err);
		gw_config_free(&cfg);
	}
	if (rc == 0)
		rc = write_out(&out, &err);
	gw_text_fini(&out);
	if (rc == 0)
		return EXIT_SUCCESS;
	fprintf(stderr, "dpdk-pcpu-gw: %s\n", err.text);
	return EXIT_FAILURE;
}
