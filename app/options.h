/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef OPTIONS_H
#define OPTIONS_H

/*
 * The arguments after "--". Pure. Without a "--" all arguments are ours and EAL
 * gets none: "dpdk-pcpu-gw --attach" needs no EAL.
 */

#include <stdbool.h>
#include <stdio.h>

#include "control/config.h"

enum gw_mode {
	GW_MODE_RUN,
	GW_MODE_CHECK, /* --check: read the file, say what is wrong, touch nothing */
	GW_MODE_ATTACH, /* --attach: talk to a running gateway's console */
	GW_MODE_MAKE_TUNNEL,
	GW_MODE_PEER_COMMANDS, /* --peer-commands: a Linux peer's script; no EAL */
	GW_MODE_CONFIG_DOC, /* --config-doc: docs/config.md from the key table */
	GW_MODE_CONSOLE_DOC, /* --console-doc: docs/console.md's command table */
	GW_MODE_COUNTERS_DOC, /* --counters-doc */
	GW_MODE_METRICS_DOC, /* --metrics-doc */
	GW_MODE_ENA_DEVARGS, /* --print-ena-devargs: no EAL */
	GW_MODE_HELP,
	GW_MODE_VERSION,
};

struct gw_options {
	enum gw_mode mode;
	const char *config_file; /* -c, --config FILE */
	bool interactive; /* -i: console on the terminal */
	const char *socket; /* --socket PATH: of the gateway; NULL: GW_DEFAULT_SOCKET */
	const char *const
			*commands; /* --attach -e 'show workers' -e ...; NULL-terminated, or NULL */
	struct gw_make_tunnel make_tunnel; /* its name is --peer-commands', too */
	const char *out_dir; /* --make-tunnel --out-dir DIR; NULL: standard output */
	unsigned int cpus; /* --peer-commands --cpus N; 0: not said */
	bool with_keys; /* --peer-commands --with-keys */
	int eal_argc; /* of main()'s arguments, those for EAL, argv[0] included */
};

/**
 * Where the console socket is unless the configuration says otherwise.
 */
#define GW_DEFAULT_SOCKET "/run/dpdk-pcpu-gw.sock"

/**
 * 0, or -EINVAL and @p err set. Refers to argv's strings, whose order it may
 * change behind the "--"; to be freed with gw_options_free() where 0 is
 * returned.
 */
int gw_options_parse(int argc, char **argv, struct gw_options *opt, struct gw_error *err);

void gw_options_free(struct gw_options *opt);

/** The text of --help. */
void gw_options_help(FILE *out);

#endif /* OPTIONS_H */
