/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef PORT_H
#define PORT_H

/* One ethdev: probing, queues, mempool, offloads, MTU, link. Control thread. */

#include <stdbool.h>
#include <stdint.h>

#include <rte_ether.h>
#include <rte_mempool.h>

#include "../control/config.h"
#include "../rss_key.h"

/** A device that asked to be reset (RTE_ETH_EVENT_INTR_RESET): port_reset.c. */
struct gw_port_reset {
	bool asked; /* set by the thread in which the driver noticed */
	bool active; /* begun, and not yet started anew: workers leave the port alone */
	unsigned int failed; /* attempts in a row */
	uint64_t next_ns; /* active: when the next attempt is due; CLOCK_MONOTONIC */
	uint64_t done; /* how often it was started anew */
};

/** Stays where it is from gw_port_open() to gw_port_close(): ethdev callbacks point to it. */
struct gw_port {
	char name[GW_NAME_LEN];
	uint16_t id; /* ethdev's */
	uint16_t n_rxq; /* at most one per worker */
	uint16_t n_txq;
	uint16_t mtu;
	int numa_node; /* SOCKET_ID_ANY where the device has none */
	struct rte_ether_addr mac;
	struct rte_mempool *pool; /* of its receive queues */
	char driver[32];
	bool started;
	bool gone; /* RTE_ETH_EVENT_INTR_RMV came; set by the interrupt thread: gw_port_gone() */
	bool link_event; /* RTE_ETH_EVENT_INTR_LSC came; likewise: gw_port_link_event() */
	bool is_ena;
	bool probed; /* id is valid */
	bool hotplugged; /* we probed it, so we remove it */
	bool promisc;
	bool wants_udp_cksum; /* UDP over IPv6 may go out; to be set between probe and open */
	bool udp_cksum; /* it makes the checksums of UDP over IPv6 */
	uint64_t rx_offloads; /* as configured */
	uint64_t tx_offloads;
	struct gw_port_reset reset;
	unsigned int n_workers; /* as gw_port_open() was told */
	size_t note_kept; /* how much of note is of probing, and stays */
	char note[256]; /* what the user should know: "2 queues for 4 workers: ..."; or "" */
};

static inline bool
gw_port_gone(const struct gw_port *port)
{
	return __atomic_load_n(&port->gone, __ATOMIC_RELAXED);
}

/** May workers receive and send on it? */
static inline bool
gw_port_usable(const struct gw_port *port)
{
	return port->started && !gw_port_gone(port) && !port->reset.active;
}

/** Did the link change since the last call? */
static inline bool
gw_port_link_event(struct gw_port *port)
{
	return __atomic_exchange_n(&port->link_event, false, __ATOMIC_RELAXED);
}

/** What a device counts, since it was started; name, what, field of struct rte_eth_stats. */
#define GW_PORT_FOREACH_COUNT(_) \
	_(rx_packets, "packets that the device received", ipackets) \
	_(rx_bytes, "their bytes, as the device counts", ibytes) \
	_(rx_missed, "packets that the device dropped: no descriptor was free", imissed) \
	_(rx_errors, "packets that the device received with errors", ierrors) \
	_(rx_nombuf, "packets that the driver had no buffer for", rx_nombuf) \
	_(tx_packets, "packets that the device sent", opackets) \
	_(tx_bytes, "their bytes, as the device counts", obytes) \
	_(tx_errors, "packets that the device did not send", oerrors)

/** What rte_eth_stats_get() and the link say, as text-ready values. */
struct gw_port_info {
	bool link_up;
	uint32_t speed_mbps; /* 0: unknown */
#define _(name, what, field) uint64_t name;
	GW_PORT_FOREACH_COUNT(_)
#undef _
};

/**
 * Data room of an mbuf (headroom included) for frames of @p mtu in one segment
 * through encapsulation.
 */
uint16_t gw_port_data_room(uint16_t mtu);

/**
 * Find or probe the device: id, driver, NUMA node and MAC are known then, so
 * that the pool can be made on the port's node. gw_port_open() does it where it
 * has not been done. After a failure there is nothing to close.
 */
int gw_port_probe(struct gw_port *port, const struct gw_config_port *cfg, struct gw_error *err);

/**
 * Find or probe the device, configure it with as many queue pairs as workers
 * (or as it has), set MTU; not started.
 *
 * @param port
 *   Zeroed, or probed with the same @p cfg.
 * @param pool
 *   For its receive queues. All that is ever sent must come from it, uncloned
 *   (reference count 1): the NIC is told to free mbufs in bulk where it can.
 * @return
 *   0, or a negative errno value and @p err set: what to do about it. Nothing
 *   to close then.
 */
int gw_port_open(struct gw_port *port, const struct gw_config_port *cfg, unsigned int n_workers,
		struct rte_mempool *pool, struct gw_error *err);

/** Start receiving and sending. */
int gw_port_start(struct gw_port *port, struct gw_error *err);
void gw_port_stop(struct gw_port *port);
/** Stop, close, and remove what we probed. */
void gw_port_close(struct gw_port *port);

/**
 * Is it time to reset the device? From the first "yes" on gw_port_usable() is false:
 * take the port from all workers, then gw_port_reset() it.
 *
 * @param now_ns
 *   CLOCK_MONOTONIC, nanoseconds.
 */
bool gw_port_reset_due(struct gw_port *port, uint64_t now_ns);

/**
 * An attempt: stop, reset, configure and start as at first. No worker uses the port.
 *
 * @return
 *   0: it runs, and has forgotten its redirection table and rules. Or a negative errno
 *   value and @p err set: call gw_port_reset_failed().
 */
int gw_port_reset(struct gw_port *port, const struct gw_config_port *cfg, struct gw_error *err);

/** The attempt failed, or could not be made. Returns the seconds until the next: 1, 2, ... 30. */
unsigned int gw_port_reset_failed(struct gw_port *port, uint64_t now_ns);

int gw_port_set_promisc(struct gw_port *port, bool on, struct gw_error *err);
void gw_port_info(const struct gw_port *port, struct gw_port_info *info);

/**
 * Make the mempool for all ports of a NUMA node: sized for all descriptors,
 * rings and caches.
 *
 * @param n
 *   mbufs; what it takes is gw_port_pool_need().
 */
struct rte_mempool *gw_port_pool_create(const char *name, unsigned int n, uint16_t max_mtu,
		int socket, struct gw_error *err);

/**
 * A pool of @p n mbufs, each for an IP packet that comes in GW_MAX_FRAGS fragments of
 * @p max_mtu, or as much of it as an mbuf can hold. Uncached: each that is free can be
 * had. NULL where there is no memory.
 */
struct rte_mempool *gw_port_large_pool_create(
		const char *name, unsigned int n, uint16_t max_mtu, int socket);

/**
 * mbufs needed for these ports and workers: rx and tx descriptors, hand-off, punt and
 * control rings, caches, bursts.
 */
unsigned int gw_port_pool_need(const struct gw_config *cfg, unsigned int n_workers);

#endif /* PORT_H */
