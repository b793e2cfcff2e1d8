/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef CONTROL_IKE_H
#define CONTROL_IKE_H

/*
 * The verbs of IKE: tunnels, policies and SAs that charon makes and unmakes. Told of them by
 * front/ike_socket.c, in structs that were checked one by one; here they are checked against all
 * that is there. Control thread.
 *
 * A tunnel of IKE is known by its reqid and if_id; the first policy or SA makes it, the last one
 * that goes takes it away. Its place (struct gw_tunnel, id) is as good as one of the file's: the
 * same tables, views and moves.
 */

#include "control.h"
#include "ike_types.h"

/** A packet wants an SA. */
struct gw_ike_acquire {
	uint32_t reqid;
	uint32_t cpu; /* the number that the SA shall have; IPSEC_PCPU_ANY: there is none at all */
	struct gw_flow flow;
};

/** What is said to charon; false: it could not be. */
struct gw_ike_events {
	bool (*acquire)(void *arg, const struct gw_ike_acquire *acquire);
	bool (*expire)(void *arg, const struct gw_ike_sa_key *key, bool hard);
	/* where an inbound SA's packets come from now; the port in host order */
	bool (*mapping)(void *arg, const struct gw_ike_sa_key *key, const struct gw_addr *remote,
			uint16_t port);
	void *arg;
};

#define GW_IKE_FOREACH_COUNT(_) \
	_(connections, "connections since the start") \
	_(spis_allocated, "SPIs given out") \
	_(sas_added, "SAs taken") \
	_(sas_deleted, "SAs removed by charon") \
	_(sas_replayed, "SAs that were still there after a new connection") \
	_(sas_stale, "SAs removed because charon did not know them any more") \
	_(policies_added, "policies taken") \
	_(policies_deleted, "policies removed by charon") \
	_(acquires, "acquires sent") \
	_(acquires_unsent, "acquires that could not be sent, or were over the limit for a second") \
	_(expires_soft, "SAs reported for renewal") \
	_(expires_hard, "SAs reported as at their end") \
	_(mappings, "SAs reported because their packets came from another address or port") \
	_(refused, "requests that were well-formed and refused") \
	_(malformed, "messages that were not well-formed")

struct gw_ike_counts {
#define _(name, what) uint64_t name;
	GW_IKE_FOREACH_COUNT(_)
#undef _
};

/** What is there now: name, heading, what. */
#define GW_IKE_FOREACH_NOW(_) \
	_(tunnels, "tunnels", "tunnels that IKE made") \
	_(policies, "policies", "policies that IKE made") \
	_(sas_in, "SAs in", "inbound SAs of IKE") \
	_(sas_out, "SAs out", "outbound SAs of IKE") \
	_(sas_stale_now, "  of a charon that is gone", \
			"SAs that wait to be replaced after a restart of charon") \
	_(spis, "SPIs given out, not in use yet", "SPIs given out and not in use yet") \
	_(pending, "acquires pending", "acquires that no SA has come for yet")

/** For the console and the metrics. */
struct gw_ike_status {
	bool connected;
	bool in_sync; /* charon has said all that it has */
	bool pcpu; /* charon can negotiate SAs for a CPU */
	double since_s; /* it has come, or gone; where there was one */
	uint64_t epoch; /* of this run of the gateway */
	uint64_t generation; /* of charon */
#define _(name, heading, what) unsigned int name;
	GW_IKE_FOREACH_NOW(_)
#undef _
	double stale_left_s; /* after which stale ones go even without a successor; 0: no end */
	struct gw_ike_counts counts;
};

/** An acquire that no SA has come for yet. */
struct gw_ike_pending {
	const char *tunnel;
	uint32_t reqid;
	uint32_t cpu; /* IPSEC_PCPU_ANY: any SA */
	unsigned int tries;
	double asked_s; /* since the last of them */
	double next_s; /* until a packet may bring the next one */
};

/** Made where the configuration has a socket for it; 0 or -ENOMEM. */
int gw_ike_open(struct gw *gw, struct gw_error *err);
/** Before gw_tunnels_free(), which frees SAs; workers have left. */
void gw_ike_free(struct gw *gw);

/**
 * charon has come. -EBUSY: another one is there.
 *
 * @param generation
 *   A number of this run of charon: all that another one said is stale from now on.
 */
int gw_ike_hello(struct gw *gw, uint64_t generation, bool pcpu, const struct gw_ike_events *events,
		struct gw_error *err);
/** It has said all that it has. What it did not say goes: at once, or once it is replaced. */
int gw_ike_sync_end(struct gw *gw, struct gw_error *err);
/** The connection is gone; everything stays. */
void gw_ike_gone(struct gw *gw);

/**
 * A new inbound SPI, taken for 165 s or until gw_ike_sa_del(). Where plain ESP is spread by its
 * SPI it is one that lands on a worker with few SAs of the peer, see ike_spi.c.
 *
 * @param peer, local
 *   Who is to send with it, and to where.
 */
int gw_ike_alloc_spi(struct gw *gw, const struct gw_addr *peer, const struct gw_addr *local,
		uint32_t *spi, struct gw_error *err);

/** -EEXIST: its SPI or its key is another SA's; -ENOSPC: too many. */
int gw_ike_sa_add(struct gw *gw, const struct gw_ike_new_sa *sa, struct gw_error *err);
/** It is still there, says charon; -ENOENT: not here. */
int gw_ike_sa_keep(struct gw *gw, const struct gw_ike_sa_key *key, struct gw_error *err);
/** Remove an SA, or give an SPI back. -ENOENT: neither. */
int gw_ike_sa_del(struct gw *gw, const struct gw_ike_sa_key *key, struct gw_error *err);
/**
 * Other outer addresses. -ENOTSUP where an outbound SA would have to change: IKE makes a new one
 * then.
 */
int gw_ike_sa_update(struct gw *gw, const struct gw_ike_moved_sa *to, struct gw_error *err);
/** @p idle_s: seconds since its last packet, if there was one. */
int gw_ike_sa_query(struct gw *gw, const struct gw_ike_sa_key *key, uint64_t *bytes,
		uint64_t *packets, uint64_t *keyle_s, struct gw_error *err);

int gw_ike_policy_add(struct gw *gw, const struct gw_ike_policy *policy, struct gw_error *err);
/** One of those that are equal; addresses do not count. */
int gw_ike_policy_del(struct gw *gw, const struct gw_ike_policy *policy, struct gw_error *err);

/** Remove all that IKE made of these kinds. */
int gw_ike_flush(struct gw *gw, bool sas, bool policies, struct gw_error *err);

/**
 * A packet of an SA of IKE was authentic; once a second at most for each SA and worker.
 *
 * @param outer
 *   Its addresses and ports as it came in; ports 0: plain ESP.
 */
void gw_ike_saw(struct gw *gw, struct gw_sa *sa, const struct ipsec_pcpu_tuple *outer);

/** Workers have noted packets that want SAs. */
void gw_ike_wants_poll(struct gw *gw);
/** Four times a second. */
void gw_ike_tick(struct gw *gw);

/** For what the socket counts. */
struct gw_ike_counts *gw_ike_counts(struct gw *gw);
/** False: there is no IKE. */
bool gw_ike_status(const struct gw *gw, struct gw_ike_status *status);
/** The first @p max of them; returns how many there are. */
unsigned int gw_ike_pendings(const struct gw *gw, struct gw_ike_pending *p, unsigned int max);
/** The reqid of a tunnel of IKE. */
uint32_t gw_ike_reqid(const struct gw_tunnel *t);

#endif /* CONTROL_IKE_H */
