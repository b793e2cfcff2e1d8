/* SPDX-License-Identifier: BSD-3-Clause */

/* --peer-commands: a Linux peer's script from a configuration file. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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
	if (name[0] == '\0' && cfg->n_tunnels == 1)
		return &cfg->tunnels[0];
	for (unsigned int i = 0; i < cfg->n_tunnels; i++)
		if (strcmp(cfg->tunnels[i].name, name) == 0)
			return &cfg->tunnels[i];
	refuse_name(cfg, name, err);
	return NULL;
}

static int
make(const struct gw_options *opt, const struct gw_config *cfg, struct gw_text *out,
		struct gw_error *err)
{
	const struct gw_config_tunnel *t = find(cfg, opt->make_tunnel.name, err);
	struct gw_peer peer = {.cfg = cfg, .tunnel = t, .cpus = opt->cpus};
	struct gw_peer_sa *sas;
	int rc;

	if (t == NULL)
		return -ENOENT;
	sas = calloc(RTE_MAX(t->n_sas, 1u), sizeof(*sas));
	if (sas == NULL) {
		gw_error_set(err, NULL, 0, "no memory");
		return -ENOMEM;
	}
	for (unsigned int i = 0; i < t->n_sas; i++) {
		sas[i].prm = &t->sas[i].prm;
		sas[i].key = opt->with_keys ? t->sas[i].prm.key : NULL;
	}
	peer.reqid = t - cfg->tunnels + 1;
	peer.sas = sas;
	peer.n_sas = t->n_sas;
	peer.with_keys = opt->with_keys;
	rc = gw_peer_commands(&peer, out, err);
	free(sas);
	return rc;
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
	int rc = gw_config_load(opt->config_file, &cfg, &err);

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
