/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef CONTROL_PRIV_H
#define CONTROL_PRIV_H

/* What the files of control/ have of each other. Control thread. */

#include "../clock.h"
#include "../datapath/msg.h"
#include "control.h"

/* control.c */

/** Of all ports. */
uint16_t gw_largest_mtu(const struct gw_config *cfg);

/* workers.c */

/** Make the structs, rings and contexts of all workers; not yet running. */
int gw_workers_make(struct gw *gw, struct gw_error *err);
/** Launch them on their lcores. */
int gw_workers_launch(struct gw *gw, struct gw_error *err);
/** Let rings run empty, then make all leave their loop; false: one has not. */
bool gw_workers_stop(struct gw *gw);
void gw_workers_free(struct gw *gw);
/** Send a message to a worker, running or not. A worker that does not answer is logged. */
int gw_tell(struct gw *gw, unsigned int worker, struct gw_msg *msg);
/** The same message to all; the first error counts, or that one has not answered. */
int gw_tell_all(struct gw *gw, const struct gw_msg *msg);
/**
 * To each worker with @p to its own message, all at a time; the answers stand in @p msg, as
 * results also why there is none.
 */
int gw_tell_each(struct gw *gw, struct gw_msg msg[], const bool to[]);
/** Has it a message that it did not answer in time, and not answered since? */
bool gw_worker_is_late(struct gw *gw, unsigned int worker);
/** Is any of them? Then what takes time is not to be begun in a tick. */
static inline bool
gw_any_late(struct gw *gw)
{
	for (unsigned int w = 0; w < gw->n_workers; w++)
		if (gw_worker_is_late(gw, w))
			return true;
	return false;
}

/* tunnel.c */

/** Tunnels that there is room for: those of the file, and of IKE. */
static inline unsigned int
gw_max_tunnels(const struct gw_config *cfg)
{
	return cfg->n_tunnels + (cfg->ike_socket != NULL ? cfg->ike_tunnels : 0);
}

/** A tunnel without SAs in a free place; no worker and no view knows of it. 0 or -ENOMEM. */
int gw_tunnel_open(struct gw *gw, struct gw_tunnel *t, const struct gw_config_tunnel *cfg);
/** Free its place. It has no SAs, and neither has any worker. */
void gw_tunnel_close(struct gw_tunnel *t);
/**
 * The second half of gw_sa_add(), for an SA that was checked.
 *
 * @param ike
 *   What IKE says of it, the SA's from now on, also after a failure; NULL: not of IKE.
 * @param held
 *   See struct gw_sa.
 */
int gw_sa_install(struct gw *gw, struct gw_tunnel *t, const struct gw_config_sa *csa,
		struct gw_sa_ike *ike, uint64_t held, struct gw_error *err);
/** May packets go out by it? One that is held back, or at its end, is as if it were not there. */
static inline bool
gw_sa_is_usable(const struct gw_sa *sa)
{
	return sa->prm.dir == IPSEC_PCPU_OUT && sa->held == 0 && !sa->ended;
}

/** Of the 32-bit sequence numbers: when they come to an end (RFC 4303 3.3.3). */
#define GW_SOFT_SEQ_32 (UINT32_MAX / 4 * UINT64_C(3))

/**
 * Removing SAs: each is taken out of its tunnel, then workers are told once of all of them, and
 * they are freed. In between workers use them: nothing else is to be done. -ENOMEM: it stays.
 */
int gw_sa_take(struct gw *gw, struct gw_tunnel *t, struct gw_sa *sa, struct gw_error *err);
/** Make room for one more: then gw_sa_take() does not fail. */
int gw_sa_may_take(struct gw *gw, struct gw_error *err);
/**
 * The second half, for all that were taken since. As gw_sa_del(); what could not be done is done
 * by gw_zombies_reap().
 */
int gw_sas_forget(struct gw *gw, struct gw_error *err);
/** gw_sa_del() of one that was found. */
int gw_sa_remove(struct gw *gw, struct gw_tunnel *t, struct gw_sa *sa, struct gw_error *err);
/** Is there an inbound SA of this SPI? */
bool gw_inbound_has(const struct gw *gw, uint32_t spi);
/** Free SAs that were removed while a worker did not answer, which all do now. */
void gw_zombies_reap(struct gw *gw);
/** Has a running SA the same key? Keys are known by their hash only. */
bool gw_sa_key_is_used(struct gw *gw, const struct ipsec_pcpu_sa_params *prm);

/** Make all tunnels and SAs of the configuration and install them. */
int gw_tunnels_make(struct gw *gw, struct gw_error *err);
/** Also those removed that a worker may still have had: workers have left. */
void gw_tunnels_free(struct gw *gw);

/** The SA with this direction and SPI; NULL, and @p err says so. */
struct gw_sa *gw_tunnel_sa(
		struct gw_tunnel *t, enum ipsec_pcpu_dir dir, uint32_t spi, struct gw_error *err);

/* place.c */

/** Bring what workers have of a tunnel's outbound SAs to what they should have. */
int gw_place_outbound(struct gw *gw, struct gw_tunnel *t);
/** Install an inbound SA on its worker, and tell the others. */
int gw_place_inbound(struct gw *gw, struct gw_tunnel *t, struct gw_sa *sa);
/**
 * These have left their lists. All workers get a message at last: one that answers has handled
 * all that came before, also what it did not answer in time. 0: no worker has any of them.
 */
int gw_unplace(struct gw *gw, struct gw_sa *const sas[], unsigned int n);
/** An SA that is new in the list takes over where its predecessor was put (R5). */
void gw_place_successor(struct gw_tunnel *t, struct gw_sa *sa);
/** Go on with what waits for a worker that did not answer, once it does. */
void gw_places_tick(struct gw *gw);

/* steering.c */

/** Choose methods for all ports, which are started, and steer the SAs that are there. */
int gw_steering_start(struct gw *gw, struct gw_error *err);
/** Undo all on the ports; before they are closed, and while SAs are still there. */
void gw_steering_stop(struct gw *gw);
/** Before a port is stopped for a reset: its rules go with it. */
void gw_steering_suspend(struct gw *gw, unsigned int port);
/** After it was started anew; no packet has come since. */
void gw_steering_resume(struct gw *gw, unsigned int port);
/** An inbound SA has come, or is about to go; outbound: nothing. */
void gw_steering_add(struct gw *gw, struct gw_sa *sa);
void gw_steering_del(struct gw *gw, struct gw_sa *sa);
/** An inbound SA has come to another worker. */
void gw_steering_moved(struct gw *gw, struct gw_sa *sa);
/** The port that packets to an address of ours come in by; GW_NONE: packets will tell. */
uint16_t gw_steering_port_to(const struct gw *gw, const struct gw_addr *local);
/** Learn from packets at once, but not more often than is of use: some messages to workers. */
void gw_steering_look(struct gw *gw);
/** Once a second, after gw_stats_tick(): look where packets landed, and do what is to be done. */
void gw_steering_tick(struct gw *gw);

/* sequence.c */

/**
 * Let an SA that is being made start behind what earlier runs may have used,
 * and reserve ahead, in memory: gw_reserve_commit() is still to come. Refused:
 * a key that was used in the other direction.
 */
/** An inbound SA of IKE goes on behind what an earlier run has noted of its key. */
void gw_sa_recall(struct gw *gw, struct gw_sa *sa);
int gw_sa_reserve(struct gw *gw, struct gw_sa *sa, struct gw_error *err);
/** Note how far an SA has come, before it goes. In memory. */
void gw_sa_release(struct gw *gw, struct gw_sa *sa);
/** The same for all SAs, and write it. */
void gw_tunnels_release(struct gw *gw);
/** Renew reservations that run short; now and then note how far inbound SAs have come. */
void gw_reservations_tick(struct gw *gw);
/** Say once of each SA when it nears its end, or has reached it. */
void gw_sa_ends_tick(struct gw *gw);

/* view.c */

/** Build tables from what netlink knows and the tunnels say, and give them to all workers. */
int gw_view_update(struct gw *gw, struct gw_error *err);
/**
 * The same where nothing has changed but that these SAs have come, or have left their tunnels:
 * nothing where workers would see no difference, as with each renewal. They forget flows with
 * each view.
 */
int gw_view_update_sas(
		struct gw *gw, struct gw_sa *const sas[], unsigned int n, struct gw_error *err);
/**
 * Now and then: policies that have changed bit by bit are built whole, a second after the first
 * bit. No worker is late.
 */
void gw_view_settle(struct gw *gw);
void gw_view_free(struct gw *gw);
/** free() what an earlier view points to, once no worker can have that. */
void gw_view_free_later(struct gw *gw, void *memory);
/** All workers answer again: have them take the view, and free those before it. */
void gw_views_reap(struct gw *gw);
/** The next hop of an address, as workers see it. */
const struct gw_nexthop *gw_view_route(const struct gw_view *view, const struct gw_addr *dst);

/* rules.c */

/** The order in which policies are looked at: those of the file, then the tunnels' selectors. */
int gw_rules_make(struct gw *gw);
/**
 * Tell workers to look at these of IKE behind those of the file. After a failure, also of the
 * tables that workers would get, all is as it was before.
 */
int gw_rules_set(struct gw *gw, const struct gw_policy_rule *rules, unsigned int n,
		struct gw_error *err);

/* kernel.c */

/** Open TAPs and the netlink mirror, set the configured addresses and routes. */
int gw_kernel_open(struct gw *gw, struct gw_error *err);
void gw_kernel_close(struct gw *gw);
/** All that waits on the workers' punt rings. */
void gw_punts_drain(struct gw *gw);
/** Let go what waited for a neighbour that is known now, or for too long. */
void gw_held_release(struct gw *gw, bool all);
/** Ask the kernel to confirm neighbours that grew stale. */
void gw_neighbours_confirm(struct gw *gw);

/* ena.c */

/** Before ports are started; nothing where none is an ENA. */
int gw_ena_open(struct gw *gw, struct gw_error *err);
/** After ports are closed. */
void gw_ena_close(struct gw *gw);
/** At first, and anew after a reset. */
void gw_ena_port_started(struct gw *gw, unsigned int port);
/** Once a second, after gw_stats_tick(). */
void gw_ena_tick(struct gw *gw);

/** Say what is odd about a hash that is not that of the key that was read. */
void gw_ena_odd_hash(const struct gw *gw, unsigned int port, const uint8_t *key,
		const struct ipsec_pcpu_tuple *tuple, uint32_t hash);

/* stats.c */
void gw_stats_tick(struct gw *gw);

#endif /* CONTROL_PRIV_H */
