/* SPDX-License-Identifier: BSD-3-Clause */

/* How a port is configured: queues, RSS, offloads, MTU. At the start, and after each reset. */

#include "../compat.h"

#include "port_priv.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include <ena_tweaks.h>
#include <ipsec_pcpu.h>

/** Ethernet header and one VLAN tag. */
#define L2_LEN (RTE_ETHER_HDR_LEN + 4)
#define MAX_RSS_KEY_LEN 128
/** All types that mean anything to us; the device has some of them. */
#define RSS_HF (RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP | RTE_ETH_RSS_UDP | RTE_ETH_RSS_ESP)

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

void
gw_port_note(struct gw_port *port, const char *fmt, ...)
{
	size_t len = strlen(port->note);
	va_list ap;

	if (len > 0 && len + 2 < sizeof(port->note))
		len += snprintf(port->note + len, sizeof(port->note) - len, "; ");
	va_start(ap, fmt);
	vsnprintf(port->note + len, sizeof(port->note) - len, fmt, ap);
	va_end(ap);
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
	/* what the NIC itself made of a packet says whether a prediction is right */
	s->conf.rxmode.offloads |= s->info.rx_offload_capa & RTE_ETH_RX_OFFLOAD_RSS_HASH;
	if (len < GW_RSS_KEY_LEN || len > sizeof(s->key))
		return;
	for (size_t i = 0; i < len; i++)
		s->key[i] = gw_rss_key[i % GW_RSS_KEY_LEN];
	rss->rss_key = s->key;
	rss->rss_key_len = len;
}

static uint64_t
tx_wanted(const struct gw_port *port)
{
	/* holds: one pool for all ports, and nobody clones (see gw_port_open()) */
	uint64_t offloads = RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE;

	/* only where it is of use: some drivers send in a slower way with it */
	if (port->wants_udp_cksum)
		offloads |= RTE_ETH_TX_OFFLOAD_UDP_CKSUM;
	return offloads;
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
		s->conf.txmode.offloads = s->info.tx_offload_capa & tx_wanted(port);
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
		s->conf.rxmode.offloads &= ~RTE_ETH_RX_OFFLOAD_RSS_HASH;
		s->rxconf.offloads = s->conf.rxmode.offloads;
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
configure(struct setup *s, struct gw_port *port, struct gw_error *err)
{
	unsigned int n_workers = port->n_workers;
	uint16_t max = gw_compat_queues(
			port->driver, RTE_MIN(s->info.max_rx_queues, s->info.max_tx_queues));
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
		gw_port_note(port, "%s", s->note);
	if (port->n_rxq < n_workers)
		gw_port_note(port, "%u queue%s for %u workers: the others work by hand-off",
				port->n_rxq, port->n_rxq == 1 ? "" : "s", n_workers);
	/* a vdev made with a number of queues spreads packets over all of them */
	if (port->n_rxq < made)
		gw_port_note(port, "made with %u queues, %u polled: packets on the others are lost",
				made, port->n_rxq);
	port->rx_offloads = s->conf.rxmode.offloads;
	port->tx_offloads = s->conf.txmode.offloads;
	port->udp_cksum = (port->tx_offloads & RTE_ETH_TX_OFFLOAD_UDP_CKSUM) != 0;
	if (port->wants_udp_cksum && !port->udp_cksum)
		gw_port_note(port, "the CPU makes the checksums of UDP over IPv6");
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
gw_port_configure(struct gw_port *port, const struct gw_config_port *cfg, struct gw_error *err)
{
	struct setup s = {.cfg = cfg};
	int rc = rte_eth_dev_info_get(port->id, &s.info);

	port->note[port->note_kept] = '\0';
	if (rc < 0)
		gw_error_set(err, NULL, 0, "port \"%s\": %s", port->name, strerror(-rc));
	if (rc == 0)
		rc = check_mtu(&s, port, err);
	if (rc == 0)
		rc = configure(&s, port, err);
	if (rc == 0)
		rc = set_mtu(port, cfg->mtu, err);
	if (rc == 0)
		rc = setup_queues(&s, port, err);
	return rc;
}
