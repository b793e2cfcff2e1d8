/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef IKE_PRIV_H
#define IKE_PRIV_H

/* What the ike*.c of control/ have of each other. Control thread. */

#include "control_priv.h"
#include "ike.h"

/** What a worker has asked for, and when it may ask again. */
struct gw_ike_hold {
	uint64_t until; /* CLOCK_MONOTONIC, nanoseconds */
	uint64_t asked; /* likewise; pending: for the last time */
	uint32_t cpu; /* charon's number for the SA that was asked for last */
	bool pending; /* it has not come yet */
	uint8_t tries; /* since one came */
	uint8_t young; /* how many in a row were removed when they had hardly come */
};

struct gw_ike_tunnel {
	struct gw_config_tunnel cfg; /* what gw_tunnel.cfg points to */
	uint32_t reqid;
	uint32_t if_id;
	bool stale; /* of a charon that is gone */
	uint16_t successor; /* stale: id of the one that has its selectors now; GW_NONE: none */
	bool loses; /* SAs of it were taken, and workers do not know it yet */
	unsigned int n_rules; /* policies that go into it */
	unsigned int pcpu; /* of them, those that say that workers may have SAs of their own */
	uint64_t stale_packets; /* of its stale outbound SAs, at the last look */
	/* by worker; behind them the one for any SA at all */
	struct gw_ike_hold hold[GW_MAX_WORKERS + 1];
	uint32_t noted[GW_MAX_WORKERS]; /* what each worker had noted at the last look */
};

struct gw_ike_rule {
	struct gw_ike_policy p;
	uint32_t prio; /* by its class and selector; lower comes first */
	uint16_t tunnel; /* id; GW_NONE: it goes into none */
	bool stale, unsaid; /* as of SAs */
};

struct gw_ike_spi {
	uint32_t spi; /* 0: free */
	uint64_t until; /* CLOCK_MONOTONIC, nanoseconds */
	uint16_t worker; /* that it was chosen for; GW_NONE: none, and what follows is not set */
	uint16_t port; /* that was chosen by */
	struct gw_addr peer;
	uint32_t renews; /* the SPI of the SA that it was given out for; 0: of none */
};

/** SPIs that are given out at a time and not in use yet. */
#define GW_IKE_MAX_SPIS 4096

/** Outbound keys that are remembered, the last so many: none of them is used again. */
#define GW_IKE_MAX_KEYS 4096

struct gw_ike {
	struct gw_ike_events events;
	bool connected;
	bool in_sync;
	bool pcpu;
	uint64_t epoch;
	uint64_t generation; /* 0: nobody was here yet */
	uint64_t changed; /* when charon came or went last; CLOCK_MONOTONIC, nanoseconds */
	bool same_generation; /* as that of the connection before */
	uint64_t stale_until; /* when stale SAs go even without a successor; 0: there are none */
	struct gw_ike_rule *
			*rule; /* policies; in an order that finds equal ones, see ike_rules.c */
	unsigned int n_rules, cap_rules;
	unsigned int n_kinds; /* of them, those that differ in selector or action */
	bool unapplied; /* policies have changed since workers were told of them */
	uint64_t retry_at; /* not before then, after they could not be; 0: at once */
	struct gw_ike_spi spi[GW_IKE_MAX_SPIS];
	unsigned int n_spis; /* the first ones; behind them all are free */
	uint64_t key[GW_IKE_MAX_KEYS]; /* the beginnings of their key_id, a ring */
	unsigned int n_keys; /* ever */
	bool hold_timer; /* an SA is held back, see place.c */
	unsigned int budget; /* acquires that may still be sent in this second */
	uint64_t budget_from;
	unsigned int ends_logged; /* SAs that were at their end in this round of gw_ike_tick() */
	struct gw_ike_counts counts;
};

/** Each tunnel of IKE in turn. */
#define GW_IKE_FOREACH_TUNNEL(gw, t) \
	for (struct gw_tunnel *t = (gw)->tunnel + (gw)->cfg.n_tunnels; \
			t < (gw)->tunnel + (gw)->n_tunnels; t++) \
		if (t->ike != NULL)

/** Is it one that charon knows, of a direction? */
static inline bool
gw_ike_is_known(const struct gw_sa *sa, enum ipsec_pcpu_dir dir)
{
	return sa->prm.dir == dir && !sa->ike->stale;
}

/** What charon knows it by. */
static inline struct gw_ike_sa_key
gw_ike_key_of(const struct ipsec_pcpu_sa_params *prm)
{
	return (struct gw_ike_sa_key){{prm->family, prm->daddr}, prm->spi};
}

/* ike_tunnel.c */

/** The tunnel of a reqid; a new one where there is none. NULL: no place, @p err set. */
struct gw_tunnel *gw_ike_tunnel_get(
		struct gw *gw, uint32_t reqid, uint32_t if_id, struct gw_error *err);
/** Take it away if it has neither SAs nor policies; true: it is gone. */
bool gw_ike_tunnel_put(struct gw *gw, struct gw_tunnel *t);
/** Its outer addresses, as the newest SA or policy says. */
void gw_ike_tunnel_ends(
		struct gw_tunnel *t, const struct gw_addr *local, const struct gw_addr *remote);
/** An SA has gone: those of the newest outbound one that is left, if any; from the next view on. */
void gw_ike_tunnel_ends_refresh(struct gw_tunnel *t);
/** NULL: there is none that is not stale. */
struct gw_tunnel *gw_ike_tunnel_find(struct gw *gw, uint32_t reqid, uint32_t if_id);

/* ike_rules.c */

/**
 * What tunnels and workers are to have of the policies now; nothing is done where they have it.
 * After a failure they have what they had before.
 */
int gw_ike_rules_apply(struct gw *gw, struct gw_error *err);
/** The same, but after a failure not before a second has passed. -EAGAIN: it has not. */
int gw_ike_rules_retry(struct gw *gw);
/** Remove policies that are stale, or else those unsaid: of a tunnel, or all (NULL). */
void gw_ike_rules_drop(struct gw *gw, const struct gw_tunnel *t, bool stale);
void gw_ike_rules_free(struct gw_ike *ike);

/* ike_place.c */

/** How many a number (a worker, IPSEC_PCPU_ANY) has that charon knows; also held back ones. */
unsigned int gw_ike_count(const struct gw_tunnel *t, enum ipsec_pcpu_dir dir, uint32_t pcpu);
/** The number of an SA that is not there yet: a worker, or IPSEC_PCPU_ANY. */
uint32_t gw_ike_choose_worker(
		const struct gw *gw, const struct gw_tunnel *t, const struct gw_ike_new_sa *sa);
/** Of those that it may renew one is renewed. */
void gw_ike_note_renewed(struct gw_tunnel *t, const struct gw_sa *sa);
/** The inbound SA that is followed by the outbound one that was made with it; NULL: none. */
struct gw_sa *gw_ike_unpaired(const struct gw_tunnel *t, uint32_t cpu, bool initiator);
/**
 * The last SA of a worker is about to go. Which one renews it could only be guessed where
 * several have IKE's number (gw_ike_choose_worker()): if its successor went to another worker,
 * which goes back to its own then, it comes here now.
 */
void gw_ike_fill_gap(struct gw *gw, struct gw_tunnel *t, const struct gw_sa *sa);
/** Where IKE has drawn a port by lot: one that suits the peer's NIC, or the one that was. */
int gw_ike_choose_sport(const struct gw_tunnel *t, struct gw_config_sa *csa, struct gw_error *err);

/* ike_spi.c */

/** Give an SPI back, or it is in use now. False: it is not one that was given out. */
bool gw_ike_spi_free(struct gw_ike *ike, uint32_t spi);
/**
 * Does an inbound SA's SPI, not in use yet, still lead its packets to the worker that it was
 * chosen for? False also where it was chosen for none.
 */
bool gw_ike_spi_lands(
		const struct gw *gw, const struct ipsec_pcpu_sa_params *prm, uint16_t *worker);

/* ike_sa.c */

/** Remove one: the first half, see gw_sa_take(). Where it fails nothing has changed. */
int gw_ike_sa_take(struct gw *gw, struct gw_tunnel *t, struct gw_sa *sa, struct gw_error *err);
/** The second half, for all that were taken; and see what becomes of their tunnels. */
void gw_ike_sas_forget(struct gw *gw);
/** Look at what SAs have done: limits, use, those that are held back. */
void gw_ike_sas_tick(struct gw *gw);

/* ike_acquire.c */

/** Is there an SA of a direction that charon knows? */
bool gw_ike_has(const struct gw_tunnel *t, enum ipsec_pcpu_dir dir);
/** Let workers note what they want, or no more; after each change, and now and then. */
void gw_ike_arm(struct gw *gw, struct gw_tunnel *t);
/** An outbound SA has come: what was asked for is there. */
void gw_ike_acquired(struct gw *gw, struct gw_tunnel *t, const struct gw_sa *sa);
/** One is about to be removed: where it was young the next one is not asked for at once. */
void gw_ike_lost(const struct gw *gw, struct gw_tunnel *t, const struct gw_sa *sa);
/** Has a worker asked for an SA that has not come yet? */
bool gw_ike_is_pending(const struct gw_tunnel *t, uint32_t worker);
/** The worker that has asked for an SA with this number of a CPU; IPSEC_PCPU_ANY: none has. */
uint32_t gw_ike_who_asked(const struct gw *gw, const struct gw_tunnel *t, uint32_t cpu);
/** A packet on a stale SA wants a new one. */
void gw_ike_want_any(struct gw *gw, struct gw_tunnel *t);

#endif /* IKE_PRIV_H */
