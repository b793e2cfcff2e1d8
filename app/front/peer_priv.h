/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef PEER_PRIV_H
#define PEER_PRIV_H

/* What the files of a Linux peer's script have of each other. */

#include "peer_commands.h"

/** What the script says of an SA, worked out before anything is written. */
struct gw_peer_line {
	const struct gw_peer_sa *sa;
	bool in; /* the peer's direction */
	bool pcpu; /* with its number */
	bool both; /* there is an SA of the other direction with this SPI */
	bool shared; /* its UDP ports are those of another that is to be steered */
	const char *left_out; /* why it is not installed; NULL: it is */
	uint32_t window;
	uint64_t seq; /* replay-seq or replay-oseq; 0: none */
};

/** A selector that leads into the tunnel: its own, or a policy's. */
struct gw_peer_sel {
	const struct gw_selector *sel;
	uint32_t index; /* in the order in which the gateway looks at all of them */
};

struct gw_peer_policies;

struct gw_peer_script {
	const struct gw_peer *peer;
	struct gw_text *out;
	char us[GW_ADDR_STRLEN], them[GW_ADDR_STRLEN]; /* the gateway's and the peer's address */
	uint32_t reqid; /* at the peer */
	struct gw_peer_line *line; /* of each SA */
	unsigned int n_in, n_out; /* installed, in the peer's directions */
	bool fallback; /* one of the outbound ones is for any CPU */
	bool encap;
	bool mixed; /* a selector has another family than the outer addresses */
	bool widened; /* a window that the gateway does not have */
	bool ports; /* selectors have some */
	uint32_t max_pcpu; /* IPSEC_PCPU_ANY: none has a number */
	struct gw_peer_sel *sel; /* in order */
	unsigned int n_sel;
	struct gw_peer_policies *policies;
};

static inline bool
gw_peer_encap(const struct ipsec_pcpu_sa_params *prm)
{
	return prm->encap_sport != 0 || prm->encap_dport != 0;
}

/* peer_plan.c: of each SA, what is to be said */

/** Fill all but sel and policies, which are to be there. */
int gw_peer_plan(struct gw_peer_script *s, struct gw_error *err);

/* peer_sas.c: lines about SAs */

/** The lines of ip -batch. */
void gw_peer_sas_put(const struct gw_peer_script *s);
void gw_peer_sas_notes(const struct gw_peer_script *s);
/** Are keys left out? */
bool gw_peer_wants_keys(const struct gw_peer_script *s);
/** Which variables stand for them, as comments. */
void gw_peer_key_list(const struct gw_peer_script *s);
/** That they are set. */
void gw_peer_key_checks(const struct gw_peer_script *s);
/** The names of what says that these commands were used: one for each SA that is sent on. */
void gw_peer_marks_put(const struct gw_peer_script *s);
/** UDP ports that are to be opened for ESP. */
void gw_peer_sockets_put(const struct gw_peer_script *s);
/** Which queue of the NIC gets which SA. */
void gw_peer_steering_put(const struct gw_peer_script *s);

/* peer_policy.c: selectors as policies */

/** Fill sel and n_sel; -ENOMEM. */
int gw_peer_selectors(struct gw_peer_script *s);
/** -EINVAL: Linux's policies cannot say it; @p err is set. */
int gw_peer_policies_make(struct gw_peer_script *s, struct gw_error *err);
void gw_peer_policies_free(struct gw_peer_policies *pol);
/** Lines of ip -batch: those of the tunnel, or what passes in clear. */
void gw_peer_policies_put(const struct gw_peer_script *s, bool clear);
/** What a reader should know of them; what who runs it should know is said. */
void gw_peer_policies_notes(const struct gw_peer_script *s);

/* peer_route.c: routes towards our networks, and that the peer forwards */

/** -ENOMEM */
int gw_peer_routes_put(const struct gw_peer_script *s);
int gw_peer_routes_down(const struct gw_peer_script *s);

#endif /* PEER_PRIV_H */
