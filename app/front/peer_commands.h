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
	uint64_t seq; /* last sent or highest received; 0: none */
};

struct gw_peer {
	const struct gw_config *cfg; /* its policies may lead into the tunnel */
	const struct gw_config_tunnel *tunnel; /* its SAs are not looked at */
	uint32_t reqid; /* at the peer */
	const struct gw_peer_sa *sas;
	unsigned int n_sas;
	unsigned int cpus; /* of the peer; 0: not known */
	bool with_keys;
	bool live; /* of a running gateway */
	/* filled by gw_peer_commands(): all that leads into the tunnel, its own and policies' */
	const struct gw_selector **sel;
	unsigned int n_sel;
};

/** How many CPUs a peer may be said to have: more than Linux can. */
#define GW_PEER_MAX_CPUS 65536

/** Write the script; nothing of it is there on failure, and @p err is set. */
int gw_peer_commands(const struct gw_peer *peer, struct gw_text *out, struct gw_error *err);

/** dpdk-pcpu-gw --peer-commands: the exit status. */
int gw_peer_commands_main(const struct gw_options *opt);

/* peer_policy.c: what of the script is about selectors */

struct gw_peer_policies;

/** Fill sel and n_sel; -ENOMEM. To be freed with free(peer->sel). */
int gw_peer_selectors(struct gw_peer *peer);

/** -EINVAL: Linux's policies cannot say it; @p err is set. */
int gw_peer_policies_make(
		const struct gw_peer *peer, struct gw_peer_policies **made, struct gw_error *err);
void gw_peer_policies_free(struct gw_peer_policies *pol);

/** The lines of ip -batch. */
void gw_peer_policies_put(const struct gw_peer *peer, const struct gw_peer_policies *pol,
		struct gw_text *out);
/** What a reader should know of them. */
void gw_peer_policies_notes(const struct gw_peer *peer, struct gw_text *out);
/** How to be rid of them. */
void gw_peer_policies_down(const struct gw_peer *peer, struct gw_text *out);
/** Routes towards our networks, and that the peer forwards. */
void gw_peer_routes_put(const struct gw_peer *peer, struct gw_text *out);
void gw_peer_routes_down(const struct gw_peer *peer, struct gw_text *out);

#endif /* PEER_COMMANDS_H */
