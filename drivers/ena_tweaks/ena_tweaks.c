/* SPDX-License-Identifier: BSD-3-Clause */

#include "ena_tweaks.h"

#include <errno.h>
#include <string.h>

#include <rte_common.h>
#include <rte_ether.h>
#include <rte_mbuf.h>

#define ENA_DRIVER "net_ena"

/*
 * The hash types that ENA has (0xc30). rte_eth_dev_configure() refuses any
 * other, so IP alone, fragments and ESP are not asked for: those packets come
 * in on one queue and are handed off.
 */
#define ENA_RSS_HF \
	(RTE_ETH_RSS_NONFRAG_IPV4_TCP | RTE_ETH_RSS_NONFRAG_IPV4_UDP | \
			RTE_ETH_RSS_NONFRAG_IPV6_TCP | RTE_ETH_RSS_NONFRAG_IPV6_UDP)

/** Ethernet header and one VLAN tag: the device counts them on top of the MTU. */
#define ENA_L2_LEN (RTE_ETHER_HDR_LEN + 4)

/** ESP's padding, trailer and ICV are written behind the frame, in place. */
#define ENA_TAIL_LEN 48

/** Mbuf sizes in steps: the same pool size for all usual MTUs. 9001 gives 9216. */
#define ENA_BUF_ALIGN 1024
#define ENA_BUF_MIN 2048

bool
ena_is_ena(const char *driver_name)
{
	return driver_name != NULL && strcmp(driver_name, ENA_DRIVER) == 0;
}

static uint16_t
data_room(uint16_t mtu)
{
	uint32_t len = RTE_ALIGN_CEIL((uint32_t)mtu + ENA_L2_LEN + ENA_TAIL_LEN, ENA_BUF_ALIGN);

	len = RTE_MAX(len, (uint32_t)ENA_BUF_MIN) + RTE_PKTMBUF_HEADROOM;
	return RTE_MIN(len, (uint32_t)UINT16_MAX);
}

static void
set_rss(const struct ena_conf_in *in, struct ena_conf_out *out)
{
	uint64_t hf = ENA_RSS_HF & in->info->flow_type_rss_offloads;

	if (in->n_queues < 2)
		return;
	if (hf == 0) {
		out->note = "this ENA device offers no RSS: all packets come in on queue 0";
		return;
	}
	out->conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
	out->conf.rx_adv_conf.rss_conf.rss_hf = hf;
	/*
	 * Not only for the hash in mbufs: without it the PMD refuses to read or write the
	 * redirection table and to read the key.
	 */
	out->conf.rxmode.offloads |= in->info->rx_offload_capa & RTE_ETH_RX_OFFLOAD_RSS_HASH;
	if (in->rss_key == NULL)
		return;
	if (in->info->hash_key_size != ENA_RSS_KEY_LEN) {
		out->note = "this ENA device takes no RSS key: it makes its own at each start";
		return;
	}
	/* ethdev only reads it, but the struct is older than const there */
	out->conf.rx_adv_conf.rss_conf.rss_key = (uint8_t *)(uintptr_t)in->rss_key;
	out->conf.rx_adv_conf.rss_conf.rss_key_len = ENA_RSS_KEY_LEN;
}

int
ena_port_conf(const struct ena_conf_in *in, struct ena_conf_out *out)
{
	const struct rte_eth_dev_info *info = in->info;

	memset(out, 0, sizeof(*out));
	if (in->n_queues == 0 || in->mtu < info->min_mtu)
		return -EINVAL;
	if (info->max_mtu != 0 && in->mtu > info->max_mtu)
		return -EINVAL;

	out->conf.rxmode.mtu = in->mtu;
	out->conf.rxmode.offloads = info->rx_offload_capa & RTE_ETH_RX_OFFLOAD_IPV4_CKSUM;
	out->conf.txmode.offloads = info->tx_offload_capa & RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE;
	set_rss(in, out);

	out->txconf = info->default_txconf;
	out->txconf.offloads = out->conf.txmode.offloads;
	out->data_room = data_room(in->mtu);
	return 0;
}
