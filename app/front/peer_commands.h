/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef PEER_COMMANDS_H
#define PEER_COMMANDS_H

/*
 * The other end of a tunnel, where that is a Linux machine: a sh script that
 * brings it up. Pure. What is out here is in there.
 */

#include "../control/config.h"
#include "text.h"

struct gw_options;

/** An SA of the tunnel, as this gateway has it. */
struct gw_peer_sa {
	const struct ipsec_pcpu_sa_params *prm; /* its key is not looked at */
	const uint8_t *key; /* algo->key_len bytes; NULL: a variable of the shell in its place */
	const char *why; /* why there is no key although one was asked for */
	const uint8_t *id; /* of its key: gw_reserve_id() */
	uint64_t seq; /* outbound: last one sent; 0: none */
	uint64_t start; /* inbound: behind which the peer begins: gw_reserve_offer() */
	const char *unfit; /* inbound: why the peer cannot send on it; NULL: it can */
};

/** What the numbers of the script are made from. */
enum gw_peer_numbers {
	GW_PEER_FRESH, /* nothing is known */
	GW_PEER_NOTED, /* a state file: none is told twice */
	GW_PEER_MEMORY, /* the memory of a gateway that has no state file */
};

struct gw_peer {
	const struct gw_config *cfg; /* its policies may lead into the tunnel */
	const struct gw_config_tunnel *tunnel; /* its SAs are not looked at */
	const struct gw_peer_sa *sas;
	unsigned int n_sas;
	unsigned int cpus; /* of the peer; 0: not known */
	bool with_keys;
	enum gw_peer_numbers numbers;
};

/** How many CPUs a peer may be said to have: more than Linux can. */
#define GW_PEER_MAX_CPUS 65536

/** SAs of a script: what the control thread makes in some milliseconds. */
#define GW_PEER_MAX_SAS 4096

/** Write the script; nothing of it is there on failure, and @p err is set. */
int gw_peer_commands(const struct gw_peer *peer, struct gw_text *out, struct gw_error *err);

/** What an answer of gw_reserve_offer() means for an SA; NULL: nothing. */
const char *gw_peer_unfit(int rc);

/** dpdk-pcpu-gw --peer-commands: the exit status. */
int gw_peer_commands_main(const struct gw_options *opt);

#endif /* PEER_COMMANDS_H */
