/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef CONTROL_H
#define CONTROL_H

/*
 * THE verbs: all that a console, a socket or main() can ask of the gateway, and
 * what they can look at. Control thread (main lcore) only. The structs are for
 * reading; only control/ writes them.
 */

#include <stdbool.h>
#include <stdint.h>

#include "../datapath/worker.h"
#include "../host/netlink.h"
#include "../host/port.h"
#include "../host/tap.h"
#include "../steer/steer.h"
#include "config.h"
#include "ike_types.h"
#include "loop.h"
#include "reserve.h"
#include "sa_index.h"

/** How far an inbound SA has come on its way from one worker to another. */
enum gw_move {
	GW_MOVE_NONE, /* it is where it is to be */
	GW_MOVE_RELEASE, /* others wait; its worker is to give it up */
	GW_MOVE_TAKE, /* nobody has it; the next worker is to take it */
	GW_MOVE_TELL, /* it has come; others are to know */
};

/** Whether packets of an inbound SA for any port come the way that IKE's own come. */
enum gw_ike_way {
	GW_IKE_WAY_UNKNOWN, /* none was seen yet */
	GW_IKE_WAY_SHARED, /* from IKE's port: the mapping of a NAT is one for both */
	GW_IKE_WAY_OWN, /* from a port of its own: says nothing of IKE's */
};

/** The last that IKE was told of where packets of an inbound SA come from, see ike_mapping.c. */
struct gw_ike_told {
	struct gw_addr addr; /* family 0: it was told nothing */
	uint16_t port; /* of UDP, host order */
	bool moved; /* IKE has given the SA other addresses since */
	uint64_t at; /* CLOCK_MONOTONIC, nanoseconds */
};

/** What IKE says of an SA beside its parameters, and what is noted for it. */
struct gw_sa_ike {
	char name[GW_IKE_NAME_LEN]; /* of the connection; "": not known */
	uint32_t cpu; /* IKE's number of a CPU, IPSEC_PCPU_ANY: the fallback; prm.pcpu is ours */
	bool initiator; /* our side began the exchange that made it */
	bool stale; /* of an IKE daemon that is gone */
	bool unsaid; /* this one has not said since it connected that it is still there */
	bool renewed; /* there is a successor */
	bool paired; /* gw_sa.pair was set once */
	bool any_sport; /* inbound, in UDP: from any port of the peer's */
	bool by_spi; /* inbound: its SPI was chosen so that its packets land on spi_worker */
	uint16_t spi_worker;
	bool soft_said, hard_said; /* which of its ends IKE has been told of */
	uint64_t soft_bytes, soft_packets; /* 0: none; hard limits are in prm */
	uint64_t soft_s, hard_s; /* IKE's own limits, for the console; 0: none */
	uint64_t packets; /* at the last look */
	uint64_t used; /* when that was seen to change; CLOCK_MONOTONIC, nanoseconds; 0: never */
	enum gw_ike_way way; /* any_sport; see ike_mapping.c */
	struct gw_ike_told told;
};

/** An SA as control knows it. */
struct gw_sa {
	struct ipsec_pcpu_sa_params prm; /* its key is wiped once the SA is made */
	struct ipsec_pcpu_sa *sa;
	uint16_t tunnel; /* id */
	uint16_t worker; /* its owner; GW_NONE: outbound and unused: surplus, superseded */
	uint16_t placed; /* the worker where it was put; GW_NONE: where its number says */
	uint16_t had; /* outbound: the worker that was told of it last; GW_NONE: none yet */
	enum gw_move move; /* inbound */
	struct gw_steer_sa *steer; /* inbound: how its packets are steered; NULL: on no port */
	uint16_t steer_port; /* index of the port; GW_NONE: not known yet */
	uint8_t elsewhere; /* looks in a row that found its packets on another port */
	struct gw_sa_ike *ike; /* NULL: not of IKE */
	struct gw_sa *pair; /* of IKE: the one of the other direction made with it; NULL: none */
	uint64_t held; /* outbound: not used before then if there is another, see place.c; 0: no */
	bool ended; /* of IKE, outbound: at its hard limit, so that it is as if it were not there */
	uint64_t created; /* CLOCK_MONOTONIC, nanoseconds */
	uint64_t number; /* grows: of two SAs the one with the higher number is newer */
	uint8_t reserve_id[GW_RESERVE_ID_LEN]; /* of the key, in the state file */
	uint8_t key_id[GW_RESERVE_ID_LEN]; /* of the whole key, salt and all */
	struct gw_sa *next_spi, *next_key; /* see sa_index.c */
	uint64_t reserved; /* end of the reservation; outbound */
	uint32_t said; /* which of its ends were logged already; bits */
	struct ipsec_pcpu_sa_stats last; /* at the last tick, for rates */
	struct ipsec_pcpu_sa_stats base; /* at the last "clear stats" */
	double pps;
	double bps; /* of inner packets, bits */
	double cycles; /* TSC, per packet; of what was timed in the last second; 0: not known */
};

/** The outbound SAs of a tunnel on one worker. */
struct gw_out {
	struct gw_sa *own;
	struct gw_sa *fallback;
	uint16_t owner; /* who encrypts for it where it has neither; GW_NONE: nobody */
};

/** A tunnel that IKE made. */
struct gw_ike_tunnel;

struct gw_tunnel {
	const struct gw_config_tunnel *cfg; /* without a name: none, its place is free */
	struct gw_ike_tunnel *ike; /* NULL: of the configuration file */
	uint16_t id;
	bool up; /* administratively */
	bool transit; /* see struct gw_tunnel_view */
	struct gw_sa **sas; /* both directions, oldest first */
	unsigned int n_sas;
	struct gw_sel_in *sel; /* cfg's selectors, compiled */
	struct gw_out *out; /* by worker: what it was told last */
	uint16_t owner; /* who encrypts for workers without an SA; GW_NONE: nobody */
	bool unsettled; /* outbound SAs are not all where they should be: gw_places_tick() */
};

/** A worker as control knows it. */
struct gw_worker_ctl {
	struct gw_worker *w;
	bool running;
	struct gw_msg *late; /* the last message that it did not answer in time; NULL: none */
	struct gw_counters last; /* at the last tick */
	struct gw_counters base; /* at the last "clear stats" */
	double rx_pps, rx_bps, tx_pps, tx_bps;
	struct gw_cycle_counts cycles_last; /* at the last tick */
	uint64_t timed; /* packets that these figures are of */
	double cycles; /* TSC, per packet, all busy stages together; 0: not known */
	double stage_cycles[GW_N_STAGES]; /* the same by stage */
	double busy_percent; /* of the last tick: in rounds that found packets */
	uint64_t cpu_ns; /* CPU time of its thread, at the last tick */
	double cpu_percent; /* of one CPU, in the last tick; a worker that never sleeps has 100 */
};

/** Packets that wait for a neighbour, by (interface, address). */
struct gw_held;

/** Of ports on Amazon's ENA. */
struct gw_ena;

/** What is known of where packets land. */
struct gw_steering;

/** What charon has said. */
struct gw_ike;

/** What control counts of packets on their way to the kernel and from it; name, short, what. */
#define GW_FOREACH_KERNEL_COUNT(_) \
	_(punt_written, "written to the kernel", "frames given to the kernel") \
	_(punt_failed, "refused by the kernel", "frames that the kernel's TAP did not take") \
	_(inject_full, "from the kernel, no room", \
			"packets from the kernel for which a worker's ring had no room") \
	_(tap_lost, "from the kernel, no mbuf or too long", \
			"frames from the kernel for want of an mbuf, or too long for one")

struct gw {
	struct gw_config cfg;
	struct gw_loop *loop;
	struct gw_port port[GW_MAX_PORTS];
	struct gw_tap tap[GW_MAX_PORTS];
	unsigned int n_ports;
	struct rte_mempool *pool;
	struct rte_mempool *large; /* for packets put together that are too large for it */
	struct gw_worker_ctl worker[GW_MAX_WORKERS];
	unsigned int n_workers;
	struct gw_tunnel *tunnel; /* by id */
	unsigned int n_tunnels; /* those of IKE come last, with free places between; never less */
	struct gw_sa_index sa_index; /* of the SAs of all tunnels; zombies are in none */
	struct gw_ike *ike; /* NULL: there is no IKE */
	bool ike_known; /* charon has said in this run which inbound SAs there are */
	struct gw_sa **zombies; /* removed, but a worker that does not answer may hold them */
	unsigned int n_zombies;
	unsigned int n_told; /* the first of them, of which workers were told; see gw_sa_take() */
	struct gw_policy_rule *rules; /* of the view's policy, in order */
	unsigned int n_rules;
	unsigned int n_file_rules; /* the first ones; what comes behind is of IKE */
	bool rules_changed; /* since the view's policy was built */
	uint64_t policy_due; /* if it was amended: when it is built whole; CLOCK_MONOTONIC, ns */
	bool both_ways; /* see struct gw_view */
	struct gw_view *view; /* the one that workers have */
	/* those before it, oldest first, and what they point to: a worker that does not answer may
	 * have one */
	struct gw_view **old_view;
	unsigned int n_old_views;
	void **old_memory;
	unsigned int n_old_memory;
	struct gw_nl *nl;
	struct gw_reserve *reserve; /* NULL: none */
	struct gw_reserve *offers; /* without it: what peers were told; NULL: nothing yet */
	struct gw_held *held;
	struct gw_steering *steering; /* NULL: not yet */
	struct gw_ena *ena; /* NULL: no port is one */
	struct ipsec_pcpu_ctx *ctx; /* control's own, for making SAs */
	int punt_fd; /* eventfd by which workers wake us */
	int signal_fd;
	bool forwarding; /* workers poll the ports */
	uint64_t started; /* CLOCK_MONOTONIC, nanoseconds */
	uint64_t sa_number;
	uint64_t view_changes;
	uint64_t view_built; /* when; CLOCK_MONOTONIC, nanoseconds */
	uint64_t view_took; /* to build it and to tell all workers, nanoseconds */
	bool view_behind; /* the last one could not be built */
	bool view_stale; /* the kernel's tables have changed since */
	bool view_timer; /* a rebuild is due */
	uint64_t neigh_warned; /* when it was said last that there are too many neighbours */
	uint64_t held_now; /* packets that wait for a neighbour */
	/* not in the workers' counters */
#define _(name, brief, what) uint64_t name;
	GW_FOREACH_KERNEL_COUNT(_)
#undef _
	uint64_t tick_ns; /* of the last tick */
	uint64_t ticks;
	unsigned int confirm_next; /* which neighbour is asked about next */
	uint64_t reserve_noted; /* when the state file was written last */
	uint64_t reserve_failed; /* attempts to write it since the last that went well */
};

/**
 * Bring the gateway up: ports, TAPs, netlink, tables, SAs, workers. EAL is
 * initialised.
 *
 * @param gw
 *   Zeroed.
 * @param cfg
 *   Moved into gw->cfg; freed by gw_fini(), also after a failure.
 * @return
 *   0, or a negative errno value, @p err set, all undone.
 */
int gw_init(struct gw *gw, struct gw_config *cfg, struct gw_error *err);

/** Run the control loop until gw_quit(). */
void gw_run(struct gw *gw);

/** Make gw_run() return. Also called on SIGINT and SIGTERM. */
void gw_quit(struct gw *gw);

/** What is left over at the end. */
struct gw_totals {
	struct gw_counters sum;
	uint64_t mbufs_leaked;
};

/**
 * Drain, stop workers, write the state file, close ports, free all, wipe keys. @p totals may
 * be NULL.
 */
void gw_fini(struct gw *gw, struct gw_totals *totals);

/** Start or stop forwarding: the console's "start" and "stop". */
int gw_set_forwarding(struct gw *gw, bool on, struct gw_error *err);

/** Take a tunnel administratively up or down. -ENOENT, and @p err says which there are. */
int gw_tunnel_set_up(struct gw *gw, const char *name, bool up, struct gw_error *err);

struct gw_tunnel *gw_tunnel_find(struct gw *gw, const char *name);
struct gw_port *gw_port_find(struct gw *gw, const char *name);

/** Find by SPI; outbound SPIs may repeat between tunnels: the first. NULL: none. */
struct gw_sa *gw_sa_find(struct gw *gw, uint32_t spi);

/**
 * Add an SA to a tunnel while traffic runs. Inbound: on the worker of its pcpu,
 * known to all. Outbound: reserved in the state file first; newest wins on its
 * worker. -ETIMEDOUT: a worker does not answer; the SA is there, and gets to
 * that worker when it wakes up.
 */
int gw_sa_add(struct gw *gw, struct gw_tunnel *t, const struct gw_config_sa *sa,
		struct gw_error *err);

/**
 * Where the file leaves source ports of this tunnel to us: choose one for an outbound SA in UDP
 * that no predecessor has left its port to. Else nothing is changed. 0, or -ENOSPC.
 */
int gw_sa_choose_sport(const struct gw_tunnel *t, struct gw_config_sa *sa, struct gw_error *err);

/**
 * Remove and wipe the SA with this SPI and direction of a tunnel. -ETIMEDOUT: a
 * worker does not answer; the SA is removed, and wiped when all workers have left.
 */
int gw_sa_del(struct gw *gw, struct gw_tunnel *t, enum ipsec_pcpu_dir dir, uint32_t spi,
		struct gw_error *err);

/**
 * Bring an SA to another worker while traffic runs: nothing is lost, no sequence number
 * is used twice, what an SA gets stays in order (a flow whose worker goes over to another
 * SA may be reordered once). An outbound SA changes places with the one of that worker;
 * what is placed so stays so, and so do its successors (R5).
 *
 * @return
 *   0, or a negative errno value and @p err set. -ETIMEDOUT where it has begun: a worker
 *   does not answer, packets for the SA wait, and it gets there once that worker does.
 */
int gw_sa_move(struct gw *gw, struct gw_tunnel *t, enum ipsec_pcpu_dir dir, uint32_t spi,
		uint16_t worker, struct gw_error *err);

/**
 * Behind which number a peer is to begin with an inbound SA: see
 * gw_reserve_offer(). Not to be told to anyone before gw_offers_commit() went well.
 */
int gw_sa_offer(struct gw *gw, const struct gw_sa *sa, uint64_t *start);

/** Write down all that was offered; without a state file, until the gateway ends. */
int gw_offers_commit(struct gw *gw, struct gw_error *err);

int gw_port_promisc(struct gw *gw, const char *port, bool on, struct gw_error *err);

/** All counters shown start from 0 again; nothing in the data path changes. */
void gw_stats_clear(struct gw *gw);

/** Counters of one worker since it started: no clear takes from them. */
void gw_stats_read(const struct gw *gw, unsigned int id, struct gw_counters *c);

/** Counters of one SA since it was made: likewise. */
void gw_stats_read_sa(const struct gw_sa *sa, struct ipsec_pcpu_sa_stats *stats);

/** Counters of one worker since the last clear. */
void gw_stats_worker(const struct gw *gw, unsigned int id, struct gw_counters *c);

/** Sum over all workers. */
void gw_stats_sum(const struct gw *gw, struct gw_counters *c);

/** Counters of one SA since the last clear. */
void gw_stats_sa(const struct gw_sa *sa, struct ipsec_pcpu_sa_stats *stats);

/** How a port's inbound SAs are steered. */
const struct gw_steer_port *gw_steering_port(const struct gw *gw, unsigned int port);

/** What "steer rebalance" would do on a port, or has done. */
struct gw_rebalance {
	unsigned int changed; /* entries of the redirection table */
	unsigned int moved; /* SAs that go to where their packets land */
	unsigned int stay; /* SAs that land elsewhere, and stay: one worker would have too many */
	unsigned int failed; /* SAs that could not be moved */
};

/** Look, do nothing. 0 or -ENOMEM. */
int gw_rebalance_plan(const struct gw *gw, unsigned int port, struct gw_rebalance *r);

/**
 * Bring packets and SAs together on all ports at once: tables first, then the moves that are
 * left. @p r has room for all ports. 0, or -errno and @p err set: what could be done is done.
 */
int gw_rebalance(struct gw *gw, struct gw_rebalance r[], struct gw_error *err);

/** What AWS held back of a port's traffic, or did for it; sampled once a second. */
struct gw_allowance {
	const char *name; /* of the device's counter */
	const char *what;
	uint64_t value; /* since the port was started, or as it is now */
	bool has_rate;
	double rate; /* per second */
};

/** The @p i-th of a port; false: there are no more. */
bool gw_allowance_get(
		const struct gw *gw, unsigned int port, unsigned int i, struct gw_allowance *a);

/** A pool of packet buffers. */
struct gw_pool_info {
	const char *name;
	unsigned int size; /* buffers */
	unsigned int free; /* of them; those in caches of threads included */
};

/** The @p i-th; false: there are no more. Looks at the caches of all threads. */
bool gw_pool_get(const struct gw *gw, unsigned int i, struct gw_pool_info *p);

/** A tunnel as the workers' tables have it; NULL: they do not. */
static inline const struct gw_tunnel_view *
gw_tunnel_view(const struct gw *gw, const struct gw_tunnel *t)
{
	return gw->view != NULL && t->id < gw->view->n_tunnels ? &gw->view->tunnel[t->id] : NULL;
}

/** Where its packets to the peer go; NULL: not known. */
static inline const struct gw_nexthop *
gw_tunnel_nexthop(const struct gw *gw, const struct gw_tunnel *t)
{
	const struct gw_tunnel_view *tv = gw_tunnel_view(gw, t);

	return tv != NULL && tv->nh < gw->view->n_nh ? &gw->view->nh[tv->nh] : NULL;
}

/** What would happen to a packet; computed by the functions of the data path. */
struct gw_explain {
	struct gw_flow flow;
	bool for_us; /* punted */
	struct gw_verdict verdict;
	const struct gw_policy_rule *rule; /* NULL: the default */
	bool dropped; /* by what decide.h says: verdict.action is GW_ACTION_DROP */
	enum gw_drop drop;
	const struct gw_tunnel *tunnel; /* NULL: none */
	struct gw_nexthop nh; /* the tunnel's, or the packet's own */
	uint16_t inner_mtu;
	/* by worker: the SA whose packet it would become (NULL: none), and who would encrypt */
	struct {
		const struct gw_sa *sa;
		uint16_t worker;
		bool peer_known; /* and the queue of the peer's NIC that gets it */
		uint16_t peer_queue;
	} out[GW_MAX_WORKERS];
	/* the queue, so the worker, that the packet itself comes in on, by RSS */
	struct {
		bool known;
		uint32_t hash;
		uint16_t queue;
	} clear_side;
	struct gw_error why; /* why that is not known; "": nothing to be said of it */
};

/** @p src and @p dst of one family. */
int gw_explain(struct gw *gw, const struct gw_addr *src, const struct gw_addr *dst, uint8_t proto,
		uint16_t sport, uint16_t dport, struct gw_explain *ex, struct gw_error *err);

#endif /* CONTROL_H */
