/* SPDX-License-Identifier: BSD-3-Clause */

#include "port_priv.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>
#include <rte_mbuf_pool_ops.h>

#include <ena_tweaks.h>

#include "../datapath/frag.h"
#include "../datapath/worker.h"
#include "../log.h"

/** DPDK's own bound is RTE_MEMPOOL_CACHE_MAX_SIZE (512), and pool size / 1.5. */
#define POOL_CACHE 256
static const enum rte_eth_event_type events[] = {
		RTE_ETH_EVENT_INTR_RMV, RTE_ETH_EVENT_INTR_LSC, RTE_ETH_EVENT_INTR_RESET};

/*
 * Callbacks run in EAL's interrupt thread, or wherever the driver notices: they only set
 * flags. Control looks at them, logs, and does what is to be done.
 */
static int
on_event(uint16_t id, enum rte_eth_event_type type, void *arg, void *ret)
{
	struct gw_port *port = arg;

	RTE_SET_USED(id);
	RTE_SET_USED(ret);
	if (type == RTE_ETH_EVENT_INTR_RMV)
		__atomic_store_n(&port->gone, true, __ATOMIC_RELAXED);
	else if (type == RTE_ETH_EVENT_INTR_LSC)
		__atomic_store_n(&port->link_event, true, __ATOMIC_RELAXED);
	else
		__atomic_store_n(&port->reset.asked, true, __ATOMIC_RELAXED);
	return 0;
}

/** By the name before the first comma; PCI addresses also in their short form. */
static bool
find(const char *device, uint16_t *id)
{
	char name[RTE_ETH_NAME_MAX_LEN];
	struct rte_dev_iterator it;
	uint16_t found;

	snprintf(name, sizeof(name), "%.*s", (int)strcspn(device, ","), device);
	if (rte_eth_dev_get_port_by_name(name, id) == 0)
		return true;
	if (rte_eth_iterator_init(&it, name) != 0)
		return false;
	found = rte_eth_iterator_next(&it);
	if (found == RTE_MAX_ETHPORTS)
		return false;
	rte_eth_iterator_cleanup(&it);
	*id = found;
	return true;
}

static int
not_found(const struct gw_config_port *cfg, int rc, struct gw_error *err)
{
	int len = (int)strcspn(cfg->device, ",");

	if (cfg->device[len] == ',')
		gw_error_set(err, NULL, 0,
				"port \"%s\": cannot make \"%s\": %s (EAL's lines above say more)",
				cfg->name, cfg->device, strerror(-rc));
	else
		gw_error_set(err, NULL, 0,
				"port \"%s\": no device %s: give EAL --vdev %s,... (or -a for a "
				"PCI address), or write devargs into device = \"%s,...\"",
				cfg->name, cfg->device, cfg->device, cfg->device);
	return rc;
}

int
gw_port_probe(struct gw_port *port, const struct gw_config_port *cfg, struct gw_error *err)
{
	struct rte_eth_dev_info info;
	int rc;

	memset(port, 0, sizeof(*port));
	snprintf(port->name, sizeof(port->name), "%s", cfg->name);
	if (find(cfg->device, &port->id)) {
		if (strchr(cfg->device, ',') != NULL)
			gw_port_note(port,
					"made by EAL's arguments, those in the file are not used");
	} else {
		rc = rte_dev_probe(cfg->device);
		if (rc < 0)
			return not_found(cfg, rc, err);
		if (!find(cfg->device, &port->id))
			return not_found(cfg, -ENODEV, err);
		port->hotplugged = true;
	}
	port->probed = true;
	rc = rte_eth_dev_info_get(port->id, &info);
	if (rc == 0)
		rc = rte_eth_macaddr_get(port->id, &port->mac);
	if (rc < 0) {
		gw_error_set(err, NULL, 0, "port \"%s\": device %s does not answer: %s", port->name,
				cfg->device, strerror(-rc));
		gw_port_close(port);
		return rc;
	}
	snprintf(port->driver, sizeof(port->driver), "%s", info.driver_name);
	port->numa_node = rte_eth_dev_socket_id(port->id);
	port->is_ena = ena_is_ena(info.driver_name);
	return 0;
}

int
gw_port_open(struct gw_port *port, const struct gw_config_port *cfg, unsigned int n_workers,
		struct rte_mempool *pool, struct gw_error *err)
{
	int rc = 0;

	if (!port->probed)
		rc = gw_port_probe(port, cfg, err);
	if (rc < 0)
		return rc;
	port->pool = pool;
	port->promisc = cfg->promisc;
	port->n_workers = n_workers;
	port->note_kept = strlen(port->note);
	rc = gw_port_configure(port, cfg, err);
	if (rc < 0) {
		gw_port_close(port);
		return rc;
	}
	for (size_t i = 0; i < RTE_DIM(events); i++)
		rte_eth_dev_callback_register(port->id, events[i], on_event, port);
	return 0;
}

/** What shows only once the device runs. */
static void
note_started(struct gw_port *port)
{
	const char *note = NULL;

	if (port->is_ena && port->n_rxq > 1)
		note = ena_rss_key_note(port->id, gw_rss_key);
	if (note == NULL)
		return;
	gw_port_note(port, "%s", note);
	GW_LOG(NOTICE, "port %s: %s", port->name, note);
}

int
gw_port_start(struct gw_port *port, struct gw_error *err)
{
	struct gw_error ignored;
	int rc = rte_eth_dev_start(port->id);

	if (rc < 0) {
		gw_error_set(err, NULL, 0, "port \"%s\": %s does not start: %s%s", port->name,
				port->driver, strerror(-rc),
				rc == -ENOMEM ? ": too few mbufs for its descriptors, raise mbufs"
					      : "");
		return rc;
	}
	port->started = true;
	/* the kernel's TAP joins groups (ND, VRRP, OSPF) that the NIC never hears of */
	rte_eth_allmulticast_enable(port->id);
	if (port->promisc && gw_port_set_promisc(port, true, &ignored) < 0)
		GW_LOG(WARNING, "%s", ignored.text);
	note_started(port);
	return 0;
}

void
gw_port_stop(struct gw_port *port)
{
	int rc;

	if (!port->started)
		return;
	port->started = false;
	rc = rte_eth_dev_stop(port->id);
	if (rc < 0 && !gw_port_gone(port))
		GW_LOG(WARNING, "port %s does not stop: %s", port->name, strerror(-rc));
}

void
gw_port_close(struct gw_port *port)
{
	struct rte_eth_dev_info info = {.device = NULL};
	int rc;

	if (!port->probed)
		return;
	gw_port_stop(port);
	for (size_t i = 0; i < RTE_DIM(events); i++)
		rte_eth_dev_callback_unregister(port->id, events[i], on_event, port);
	if (rte_eth_dev_info_get(port->id, &info) < 0)
		info.device = NULL;
	rc = rte_eth_dev_close(port->id);
	if (rc < 0 && !gw_port_gone(port))
		GW_LOG(WARNING, "port %s does not close: %s", port->name, strerror(-rc));
	if (port->hotplugged && info.device != NULL) {
		rc = rte_dev_remove(info.device);
		if (rc < 0 && !gw_port_gone(port))
			GW_LOG(WARNING, "port %s: device is not removed: %s", port->name,
					strerror(-rc));
	}
	port->probed = port->hotplugged = false;
}

int
gw_port_set_promisc(struct gw_port *port, bool on, struct gw_error *err)
{
	int rc = on ? rte_eth_promiscuous_enable(port->id) : rte_eth_promiscuous_disable(port->id);

	if (rc < 0) {
		gw_error_set(err, NULL, 0, "port \"%s\": %s cannot switch promiscuous mode %s: %s",
				port->name, port->driver, on ? "on" : "off", strerror(-rc));
		return rc;
	}
	port->promisc = on;
	return 0;
}

void
gw_port_info(const struct gw_port *port, struct gw_port_info *info)
{
	struct rte_eth_link link = {.link_status = RTE_ETH_LINK_DOWN};
	struct rte_eth_stats st;

	memset(info, 0, sizeof(*info));
	if (!port->probed || gw_port_gone(port))
		return;
	if (rte_eth_link_get_nowait(port->id, &link) == 0) {
		info->link_up = link.link_status == RTE_ETH_LINK_UP;
		if (link.link_speed != RTE_ETH_SPEED_NUM_UNKNOWN)
			info->speed_mbps = link.link_speed;
	}
	if (rte_eth_stats_get(port->id, &st) < 0)
		return;
#define _(name, what, field) info->name = st.field;
	GW_PORT_FOREACH_COUNT(_)
#undef _
}

/** What to do where a pool does not fit. */
static void
no_memory(struct gw_error *err, unsigned int n, uint16_t room, int rc)
{
	unsigned int mb = (unsigned int)(((uint64_t)n * (room + 256u)) >> 20) + 1;

	if (rc != ENOMEM &&
			rc != ENOBUFS) /* ENOBUFS: the memory is there, but in too small pieces */
		gw_error_set(err, NULL, 0, "cannot make a pool of %u mbufs: %s", n, strerror(rc));
	else if (rte_eal_has_hugepages())
		gw_error_set(err, NULL, 0,
				"no memory for %u mbufs (%u MB): echo %u > "
				"/proc/sys/vm/nr_hugepages, or start with --no-huge -m %u, or "
				"lower mbufs",
				n, mb, RTE_MAX(256u, mb), RTE_MAX(512u, 2 * mb));
	else
		gw_error_set(err, NULL, 0,
				"no memory for %u mbufs (%u MB): start with --no-huge -m %u, or "
				"lower mbufs",
				n, mb, RTE_MAX(512u, 2 * mb));
}

/**
 * Where lcores share a CPU, a thread that loses it inside the pool's ring would
 * stall all others; this kind of ring lets them pass.
 */
static const char *
pool_ops(void)
{
	rte_cpuset_t all;
	unsigned int lcore;

	CPU_ZERO(&all);
	RTE_LCORE_FOREACH(lcore) {
		rte_cpuset_t one = rte_lcore_cpuset(lcore);

		CPU_OR(&all, &all, &one);
	}
	if ((unsigned int)CPU_COUNT(&all) < rte_lcore_count())
		return "ring_mt_rts";
	return rte_mbuf_best_mempool_ops();
}

/**
 * rte_pktmbuf_pool_create(), but without hugepages mbufs need not lie in
 * contiguous IOVA: each would get pages of its own, so that all headers fell
 * into the same few sets of the cache. No device does DMA without hugepages.
 */
static struct rte_mempool *
make_pool(const char *name, unsigned int n, unsigned int cache, uint16_t room, int socket)
{
	struct rte_pktmbuf_pool_private priv = {.mbuf_data_room_size = room};
	unsigned int flags = rte_eal_has_hugepages() ? 0 : RTE_MEMPOOL_F_NO_IOVA_CONTIG;
	struct rte_mempool *pool = rte_mempool_create_empty(name, n, sizeof(struct rte_mbuf) + room,
			cache, sizeof(priv), socket, flags);
	int rc;

	if (pool == NULL)
		return NULL;
	rc = rte_mempool_set_ops_byname(pool, pool_ops(), NULL);
	if (rc == 0) {
		rte_pktmbuf_pool_init(pool, &priv);
		rc = rte_mempool_populate_default(pool);
	}
	if (rc < 0) {
		rte_mempool_free(pool);
		rte_errno = -rc;
		return NULL;
	}
	rte_mempool_obj_iter(pool, rte_pktmbuf_init, NULL);
	return pool;
}

struct rte_mempool *
gw_port_pool_create(
		const char *name, unsigned int n, uint16_t mtu, int socket, struct gw_error *err)
{
	uint16_t room = gw_port_data_room(mtu);
	/* at most n / 1.5, says rte_mempool_create() */
	unsigned int cache = RTE_MIN((unsigned int)POOL_CACHE, n * 2 / 3);
	struct rte_mempool *pool = make_pool(name, n, cache, room, socket);

	if (pool == NULL && socket != SOCKET_ID_ANY) {
		/* memory of another node is slower, and better than none; numa.c says so */
		pool = make_pool(name, n, cache, room, SOCKET_ID_ANY);
	}
	if (pool == NULL)
		no_memory(err, n, room, rte_errno);
	return pool;
}

struct rte_mempool *
gw_port_large_pool_create(const char *name, unsigned int n, uint16_t max_mtu, int socket)
{
	uint32_t room = RTE_PKTMBUF_HEADROOM + (uint32_t)max_mtu * GW_MAX_FRAGS;
	struct rte_mempool *pool;

	room = RTE_MIN(room, (uint32_t)UINT16_MAX);
	pool = make_pool(name, n, 0, room, socket);
	return pool == NULL && socket != SOCKET_ID_ANY ? make_pool(name, n, 0, room, SOCKET_ID_ANY)
						       : pool;
}

unsigned int
gw_port_pool_need(const struct gw_config *cfg, unsigned int n_workers)
{
	const unsigned int threads = n_workers + 1; /* and control */
	unsigned int n = 0;

	if (cfg->mbufs > 0)
		return cfg->mbufs;
	for (unsigned int i = 0; i < cfg->n_ports; i++) {
		n += n_workers * (cfg->ports[i].rx_desc + cfg->ports[i].tx_desc);
		n += n_workers * 2 * GW_BURST; /* received, and waiting to be sent */
	}
	/* hand-off rings of 1024: two of each worker full at the same time */
	n += n_workers * RTE_MIN((n_workers - 1) * 1024, 2048u);
	/* packets that wait for an SA: where a quarter of the workers has as many as it can */
	n += (n_workers + 2) / 4 * GW_PARK_RING;
	/* to and from control, fragments, packets that wait for a neighbour */
	n += n_workers * 1024 + 1024;
	/* a cache holds up to 1.5 times its size */
	n += threads * (POOL_CACHE + POOL_CACHE / 2);
	return RTE_ALIGN_CEIL(n, 1024) - 1;
}
