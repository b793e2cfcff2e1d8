/* SPDX-License-Identifier: BSD-3-Clause */

#include "port.h"

#include <errno.h>
#include <stdarg.h>
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
#include <ipsec_pcpu.h>

#include "../datapath/frag.h"
#include "../log.h"

/** Ethernet header and one VLAN tag. */
#define L2_LEN (RTE_ETHER_HDR_LEN + 4)
#define MAX_RSS_KEY_LEN 128
/** DPDK's own bound is RTE_MEMPOOL_CACHE_MAX_SIZE (512), and pool size / 1.5. */
#define POOL_CACHE 256
/** All types that mean anything to us; the device has some of them. */
#define RSS_HF (RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP | RTE_ETH_RSS_UDP | RTE_ETH_RSS_ESP)

/*
 * A random constant, not one of the symmetric keys (6d5a repeated): those have
 * rank 16 over the whole tuple, not 32, and hash both directions of a flow
 * alike, so that no port can be found that places each of them. With this one
 * either port field, over IPv4 and over IPv6, reaches every value of the low 11
 * bits of the hash.
 */
/* clang-format off */
const uint8_t gw_rss_key[GW_RSS_KEY_LEN] = {
		0xf3, 0x3e, 0x31, 0x43, 0xff, 0x36, 0x94, 0x49, 0xee, 0x16,
		0x00, 0x17, 0xd8, 0xc9, 0xcb, 0xe8, 0x6e, 0x5d, 0xaa, 0x51,
		0x80, 0x9d, 0x0d, 0x32, 0x95, 0x1a, 0xe1, 0x66, 0x2a, 0x81,
		0x97, 0x92, 0x52, 0xdb, 0x55, 0x82, 0x9e, 0x73, 0x3f, 0xf5,
};
/* clang-format on */

/** A port configuration in the making. */
struct setup {
	const struct gw_config_port *cfg;
	struct rte_eth_dev_info info;
	struct rte_eth_conf conf;
	struct rte_eth_rxconf rxconf;
	struct rte_eth_txconf txconf;
	uint16_t n_rxd;
	uint16_t n_txd;
	uint8_t key[MAX_RSS_KEY_LEN];
	const char *note; /* of drivers/ena_tweaks, for the number of queues tried last */
};

uint16_t
gw_port_data_room(uint16_t mtu)
{
	/* in steps of 1 KB, as some NICs (ixgbe, i40e) round their buffers down to that */
	uint32_t len = RTE_ALIGN_CEIL((uint32_t)mtu + L2_LEN + IPSEC_PCPU_MAX_TAIL, 1024);

	len = RTE_MAX(len, 2048u) + RTE_PKTMBUF_HEADROOM;
	return RTE_MIN(len, (uint32_t)UINT16_MAX);
}

static void __attribute__((format(printf, 2, 3)))
add_note(struct gw_port *port, const char *fmt, ...)
{
	size_t len = strlen(port->note);
	va_list ap;

	if (len > 0 && len + 2 < sizeof(port->note))
		len += snprintf(port->note + len, sizeof(port->note) - len, "; ");
	va_start(ap, fmt);
	vsnprintf(port->note + len, sizeof(port->note) - len, fmt, ap);
	va_end(ap);
}

/*
 * Callbacks run in EAL's interrupt thread: they only set flags. Control looks at
 * them, logs, and stops using the port.
 */
static int
on_event(uint16_t id, enum rte_eth_event_type type, void *arg, void *ret)
{
	struct gw_port *port = arg;

	RTE_SET_USED(id);
	RTE_SET_USED(ret);
	if (type == RTE_ETH_EVENT_INTR_RMV)
		__atomic_store_n(&port->gone, true, __ATOMIC_RELAXED);
	else
		__atomic_store_n(&port->link_event, true, __ATOMIC_RELAXED);
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
			add_note(port, "made by EAL's arguments, those in the file are not used");
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

/** The largest MTU by what the device says of itself. */
static uint32_t
max_mtu(const struct rte_eth_dev_info *info)
{
	uint32_t max = info->max_mtu != 0 ? info->max_mtu : UINT16_MAX;

	/* how ethdev itself finds the overhead: where max_mtu says nothing, 18 bytes */
	if (info->max_mtu == UINT16_MAX || info->max_mtu == 0)
		if (info->max_rx_pktlen > L2_LEN && info->max_rx_pktlen - L2_LEN < max)
			max = info->max_rx_pktlen - L2_LEN;
	return max;
}

static void
set_rss(struct setup *s)
{
	struct rte_eth_rss_conf *rss = &s->conf.rx_adv_conf.rss_conf;
	size_t len = s->info.hash_key_size;

	rss->rss_hf = RSS_HF & s->info.flow_type_rss_offloads;
	if (rss->rss_hf == 0)
		return;
	s->conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
	if (len < GW_RSS_KEY_LEN || len > sizeof(s->key))
		return;
	for (size_t i = 0; i < len; i++)
		s->key[i] = gw_rss_key[i % GW_RSS_KEY_LEN];
	rss->rss_key = s->key;
	rss->rss_key_len = len;
}

/** What to ask for with @p n queue pairs. */
static int
fill_conf(struct setup *s, struct gw_port *port, uint16_t n)
{
	memset(&s->conf, 0, sizeof(s->conf));
	if (port->is_ena) {
		const struct ena_conf_in in = {.info = &s->info,
				.mtu = s->cfg->mtu,
				.n_queues = n,
				.rss_key = gw_rss_key};
		struct ena_conf_out out;
		int rc = ena_port_conf(&in, &out);

		if (rc < 0)
			return rc;
		s->conf = out.conf;
		s->txconf = out.txconf;
		s->note = out.note;
	} else {
		s->conf.rxmode.mtu = s->cfg->mtu;
		s->conf.rxmode.offloads = s->info.rx_offload_capa & RTE_ETH_RX_OFFLOAD_IPV4_CKSUM;
		/* holds: one pool for all ports, and nobody clones (see gw_port_open()) */
		s->conf.txmode.offloads =
				s->info.tx_offload_capa & RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE;
		if (n > 1)
			set_rss(s);
		s->txconf = s->info.default_txconf;
		s->txconf.offloads = s->conf.txmode.offloads;
	}
	s->conf.intr_conf.lsc = (*s->info.dev_flags & RTE_ETH_DEV_INTR_LSC) != 0;
	s->conf.intr_conf.rmv = (*s->info.dev_flags & RTE_ETH_DEV_INTR_RMV) != 0;
	s->rxconf = s->info.default_rxconf;
	s->rxconf.offloads = s->conf.rxmode.offloads;
	return 0;
}

/** Configure @p n queue pairs: as wanted, else without our key, else without RSS. */
static int
configure_n(struct setup *s, struct gw_port *port, uint16_t n)
{
	int rc = fill_conf(s, port, n);

	if (rc == 0)
		rc = rte_eth_dev_configure(port->id, n, n, &s->conf);
	if (rc < 0 && s->conf.rx_adv_conf.rss_conf.rss_key != NULL) {
		s->conf.rx_adv_conf.rss_conf.rss_key = NULL;
		s->conf.rx_adv_conf.rss_conf.rss_key_len = 0;
		rc = rte_eth_dev_configure(port->id, n, n, &s->conf);
	}
	if (rc < 0 && s->conf.rxmode.mq_mode == RTE_ETH_MQ_RX_RSS) {
		s->conf.rxmode.mq_mode = RTE_ETH_MQ_RX_NONE;
		s->conf.rx_adv_conf.rss_conf.rss_hf = 0;
		rc = rte_eth_dev_configure(port->id, n, n, &s->conf);
	}
	return rc;
}

/*
 * As many pairs as workers or as the device has. Always pairs: some vdevs refuse
 * other counts, and a worker that may receive must be able to send.
 */
static int
configure(struct setup *s, struct gw_port *port, unsigned int n_workers, struct gw_error *err)
{
	uint16_t max = RTE_MIN(s->info.max_rx_queues, s->info.max_tx_queues);
	uint16_t want = RTE_MIN(n_workers, (unsigned int)max);
	uint16_t made = s->info.nb_rx_queues;
	uint16_t n = want;
	int rc = want > 0 ? configure_n(s, port, n) : -ENODEV;

	/*
	 * A first refusal may have cleared away what a crash left behind, as with
	 * vhost-user's socket: ask again before taking fewer.
	 */
	if (rc < 0 && want > 0)
		rc = configure_n(s, port, n);
	while (rc < 0 && n > 1)
		rc = configure_n(s, port, --n);
	if (rc == 0)
		port->n_rxq = port->n_txq = n;
	if (rc < 0) {
		gw_error_set(err, NULL, 0,
				"port \"%s\": %s refuses %u queue pairs and fewer (it has %u rx, "
				"%u tx): %s",
				port->name, port->driver, n_workers, s->info.max_rx_queues,
				s->info.max_tx_queues, strerror(-rc));
		return rc;
	}
	if (s->note != NULL)
		add_note(port, "%s", s->note);
	if (port->n_rxq < n_workers)
		add_note(port, "%u queue%s for %u workers: the others work by hand-off",
				port->n_rxq, port->n_rxq == 1 ? "" : "s", n_workers);
	/* a vdev made with a number of queues spreads packets over all of them */
	if (port->n_rxq < made)
		add_note(port, "made with %u queues, %u polled: packets on the others are lost",
				made, port->n_rxq);
	port->rx_offloads = s->conf.rxmode.offloads;
	port->tx_offloads = s->conf.txmode.offloads;
	return 0;
}

static int
set_mtu(struct gw_port *port, uint16_t mtu, struct gw_error *err)
{
	uint16_t now = 0;
	int rc = rte_eth_dev_set_mtu(port->id, mtu);

	rte_eth_dev_get_mtu(port->id, &now);
	if (rc == -ENOTSUP) {
		/* it has none of its own: frames are as large as its buffers */
		rc = now >= mtu ? 0 : -ENOTSUP;
	}
	if (rc < 0)
		gw_error_set(err, NULL, 0,
				"port \"%s\": %s refuses MTU %u (%s), it has %u: lower mtu, or "
				"raise the MTU of what is behind the device",
				port->name, port->driver, mtu, strerror(-rc), now);
	port->mtu = mtu;
	return rc;
}

static int
setup_queues(struct setup *s, struct gw_port *port, struct gw_error *err)
{
	unsigned int socket = port->numa_node < 0 ? (unsigned int)SOCKET_ID_ANY
						  : (unsigned int)port->numa_node;
	int rc;

	s->n_rxd = s->cfg->rx_desc;
	s->n_txd = s->cfg->tx_desc;
	rc = rte_eth_dev_adjust_nb_rx_tx_desc(port->id, &s->n_rxd, &s->n_txd);
	if (rc == -ENOTSUP)
		rc = 0;
	for (uint16_t q = 0; rc == 0 && q < port->n_rxq; q++)
		rc = rte_eth_rx_queue_setup(port->id, q, s->n_rxd, socket, &s->rxconf, port->pool);
	for (uint16_t q = 0; rc == 0 && q < port->n_txq; q++)
		rc = rte_eth_tx_queue_setup(port->id, q, s->n_txd, socket, &s->txconf);
	if (rc < 0)
		gw_error_set(err, NULL, 0,
				"port \"%s\": cannot set up %u queue pairs of %u and %u "
				"descriptors: %s%s",
				port->name, port->n_rxq, s->n_rxd, s->n_txd, strerror(-rc),
				rc == -ENOMEM ? ": lower rx_desc and tx_desc, or "
						"give EAL more memory (-m)"
					      : "");
	return rc;
}

static int
check_mtu(const struct setup *s, const struct gw_port *port, struct gw_error *err)
{
	uint32_t max = max_mtu(&s->info);
	uint16_t room = rte_pktmbuf_data_room_size(port->pool);

	if (s->cfg->mtu > max || s->cfg->mtu < s->info.min_mtu) {
		gw_error_set(err, NULL, 0, "port \"%s\": %s takes an MTU of %u to %u, not %u",
				port->name, port->driver, s->info.min_mtu, max, s->cfg->mtu);
		return -EINVAL;
	}
	if (room < gw_port_data_room(s->cfg->mtu)) {
		gw_error_set(err, NULL, 0,
				"port \"%s\": mbufs of %u bytes are too small for MTU %u",
				port->name, room, s->cfg->mtu);
		return -EINVAL;
	}
	return 0;
}

int
gw_port_open(struct gw_port *port, const struct gw_config_port *cfg, unsigned int n_workers,
		struct rte_mempool *pool, struct gw_error *err)
{
	struct setup s = {.cfg = cfg};
	int rc = 0;

	if (!port->probed)
		rc = gw_port_probe(port, cfg, err);
	if (rc < 0)
		return rc;
	port->pool = pool;
	port->promisc = cfg->promisc;
	rc = rte_eth_dev_info_get(port->id, &s.info);
	if (rc < 0)
		gw_error_set(err, NULL, 0, "port \"%s\": %s", port->name, strerror(-rc));
	if (rc == 0)
		rc = check_mtu(&s, port, err);
	if (rc == 0)
		rc = configure(&s, port, n_workers, err);
	if (rc == 0)
		rc = set_mtu(port, cfg->mtu, err);
	if (rc == 0)
		rc = setup_queues(&s, port, err);
	if (rc < 0) {
		gw_port_close(port);
		return rc;
	}
	rte_eth_dev_callback_register(port->id, RTE_ETH_EVENT_INTR_RMV, on_event, port);
	rte_eth_dev_callback_register(port->id, RTE_ETH_EVENT_INTR_LSC, on_event, port);
	return 0;
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
	rte_eth_dev_callback_unregister(port->id, RTE_ETH_EVENT_INTR_RMV, on_event, port);
	rte_eth_dev_callback_unregister(port->id, RTE_ETH_EVENT_INTR_LSC, on_event, port);
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
	info->rx_packets = st.ipackets;
	info->rx_bytes = st.ibytes;
	info->rx_missed = st.imissed;
	info->rx_errors = st.ierrors;
	info->rx_nombuf = st.rx_nombuf;
	info->tx_packets = st.opackets;
	info->tx_bytes = st.obytes;
	info->tx_errors = st.oerrors;
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
	/* to and from control, fragments, packets that wait for a neighbour */
	n += n_workers * 1024 + 1024;
	/* a cache holds up to 1.5 times its size */
	n += threads * (POOL_CACHE + POOL_CACHE / 2);
	return RTE_ALIGN_CEIL(n, 1024) - 1;
}
