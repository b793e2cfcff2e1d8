/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef METRICS_SNAPSHOT_H
#define METRICS_SNAPSHOT_H

/*
 * All that the metrics say, copied at one moment: as text it is far more than control may write in
 * one go, and while it is written in pieces SAs and tunnels come and go. Control thread.
 */

#include "../control/control.h"
#include "../control/ike.h"

#define GW_METRICS_MAX_POOLS 2

/** What serving the metrics costs, of itself. */
struct gw_metrics_self {
	uint64_t scrapes; /* answered with metrics */
	uint64_t refused; /* requests that were not */
	double seconds; /* of the control thread, since the start */
	double longest; /* seconds, of one piece of work: for so long all else in it waited */
};

struct gw_snap_gateway {
	double start_time; /* seconds since 1970 */
	bool forwarding;
	uint64_t held; /* packets that wait for a neighbour */
#define _(name, brief, what) uint64_t name;
	GW_FOREACH_KERNEL_COUNT(_)
#undef _
	uint64_t netlink_overruns, netlink_reopens;
	uint64_t state_file_failures; /* since the last time it went well */
	uint32_t zombies; /* SAs that are removed, and that a worker may still have */
	struct gw_metrics_self self;
};

struct gw_snap_worker {
	struct gw_counters c;
	bool running;
	bool responding; /* it has answered its last message */
	double busy; /* share of time in rounds that found packets; 0 to 1 */
	double cpu_seconds;
	double cycles; /* TSC, per packet; 0: not known */
	uint32_t sas[2]; /* by direction */
};

struct gw_snap_port {
	char name[GW_NAME_LEN];
	const char *method; /* of steering; NULL: none now */
	bool link_up;
	bool usable;
	struct gw_port_info info;
	uint64_t punt_written, punt_failed; /* by its TAP */
	uint64_t resets;
	uint64_t followed; /* SAs that were moved to where their packets land */
	uint32_t astray; /* SAs whose packets land elsewhere */
};

struct gw_snap_allowance {
	const struct gw_snap_port *port;
	struct gw_allowance a;
};

struct gw_snap_tunnel {
	char name[GW_NAME_LEN];
	bool up;
	bool resolved; /* the next hop to the peer */
	uint32_t sas[2]; /* by direction */
};

struct gw_snap_sa {
	uint32_t tunnel; /* index */
	uint32_t spi;
	uint32_t pcpu; /* IPSEC_PCPU_ANY: the fallback */
	uint32_t worker; /* GW_NONE: on none */
	uint8_t dir;
	uint64_t packets, bytes, drops, window_drops;
	uint64_t seq_left; /* sequence numbers up to the end */
	uint64_t lost; /* inbound */
	double age; /* seconds */
};

struct gw_snapshot {
	unsigned int refs;
	uint64_t taken; /* CLOCK_MONOTONIC, nanoseconds */
	struct gw_snap_gateway gw;
	struct gw_snap_worker worker[GW_MAX_WORKERS];
	unsigned int n_workers;
	struct gw_snap_port port[GW_MAX_PORTS];
	unsigned int n_ports;
	struct gw_pool_info pool[GW_METRICS_MAX_POOLS];
	unsigned int n_pools;
	struct gw_snap_allowance *allowance;
	unsigned int n_allowances;
	bool has_ike;
	struct gw_ike_status ike;
	struct gw_snap_tunnel *tunnel; /* those that are there, in the order of their ids */
	unsigned int n_tunnels;
	struct gw_snap_sa *sa;
	unsigned int n_sas;
};

/**
 * @param start_time
 *   Of the gateway, seconds since 1970.
 * @param sas
 *   Figures of each SA, too.
 * @return
 *   With one reference, the caller's; NULL: no memory.
 */
struct gw_snapshot *gw_snapshot_take(const struct gw *gw, double start_time,
		const struct gw_metrics_self *self, bool sas);

/** Give a reference back; the last one frees it. NULL is allowed. */
void gw_snapshot_put(struct gw_snapshot *s);

#endif /* METRICS_SNAPSHOT_H */
