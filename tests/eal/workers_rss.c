/* SPDX-License-Identifier: BSD-3-Clause */

#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include <rte_ethdev.h>
#include <rte_ip.h>
#include <rte_thash.h>

#include "workers_pkt.h"
#include "workers_rss.h"

#define RSS_TYPES_UDP (RTE_ETH_RSS_NONFRAG_IPV4_UDP | RTE_ETH_RSS_NONFRAG_IPV6_UDP)
#define RSS_TYPES (RSS_TYPES_UDP | (rss_nic.conf.esp != RSS_ESP_NONE ? RTE_ETH_RSS_ESP : 0))
#define GROUP RTE_ETH_RETA_GROUP_SIZE

struct rss_nic rss_nic;

static struct {
	uint16_t id;
	rte_eth_dev_cb_fn fn;
	void *arg;
} reset;

#define WRAP(type, name, ...) \
	type __real_##name(__VA_ARGS__); \
	type __wrap_##name(__VA_ARGS__)

WRAP(int, rte_eth_dev_callback_register, uint16_t id, enum rte_eth_event_type type,
		rte_eth_dev_cb_fn fn, void *arg);
WRAP(int, rte_eth_dev_configure, uint16_t id, uint16_t n_rxq, uint16_t n_txq,
		const struct rte_eth_conf *conf);
WRAP(int, rte_eth_dev_info_get, uint16_t id, struct rte_eth_dev_info *info);
WRAP(int, rte_eth_dev_rss_hash_conf_get, uint16_t id, struct rte_eth_rss_conf *conf);
WRAP(int, rte_eth_dev_rss_reta_query, uint16_t id, struct rte_eth_rss_reta_entry64 *group,
		uint16_t size);
WRAP(int, rte_eth_dev_rss_reta_update, uint16_t id, struct rte_eth_rss_reta_entry64 *group,
		uint16_t size);
WRAP(int, rte_eth_dev_start, uint16_t id);
WRAP(int, rte_eth_rx_queue_setup, uint16_t id, uint16_t queue, uint16_t n, unsigned int socket,
		const struct rte_eth_rxconf *conf, struct rte_mempool *pool);

static bool
is_ours(uint16_t id)
{
	char name[RTE_ETH_NAME_MAX_LEN];

	return rte_eth_dev_get_name_by_port(id, name) == 0 && strcmp(name, "net_ring_wan") == 0;
}

static void
random_key(uint8_t *key)
{
	for (unsigned int i = 0; i < RSS_KEY_LEN; i++)
		key[i] = (uint8_t)(pkt_random() >> 8);
}

void
rss_nic_make(const struct rss_conf *conf)
{
	assert_true(conf->reta_size <= RSS_MAX_RETA);
	rss_nic = (struct rss_nic){.conf = *conf};
	random_key(rss_nic.key);
}

/* Configuration */

int
__wrap_rte_eth_dev_info_get(uint16_t id, struct rte_eth_dev_info *info)
{
	int rc = __real_rte_eth_dev_info_get(id, info);

	if (rc < 0 || !is_ours(id))
		return rc;
	info->reta_size = rss_nic.conf.reta_size;
	info->hash_key_size = RSS_KEY_LEN;
	info->flow_type_rss_offloads = RSS_TYPES;
	info->rx_offload_capa |= RTE_ETH_RX_OFFLOAD_RSS_HASH;
	return 0;
}

int
__wrap_rte_eth_dev_configure(
		uint16_t id, uint16_t n_rxq, uint16_t n_txq, const struct rte_eth_conf *conf)
{
	const struct rte_eth_rss_conf *rss = &conf->rx_adv_conf.rss_conf;
	struct rte_eth_conf plain = *conf;

	if (!is_ours(id))
		return __real_rte_eth_dev_configure(id, n_rxq, n_txq, conf);
	if (rss->rss_key != NULL && !rss_nic.conf.takes_key)
		return -ENOTSUP;
	if (rss->rss_key != NULL) {
		assert_int_equal(rss->rss_key_len, RSS_KEY_LEN);
		memcpy(rss_nic.key, rss->rss_key, RSS_KEY_LEN);
	}
	rss_nic.n_queues = n_rxq;
	rss_nic.configured = conf->rxmode.mq_mode == RTE_ETH_MQ_RX_RSS && rss->rss_hf == RSS_TYPES;
	rss_nic.delivers = (conf->rxmode.offloads & RTE_ETH_RX_OFFLOAD_RSS_HASH) != 0;
	/* what rings have none of */
	plain.rxmode.mq_mode = RTE_ETH_MQ_RX_NONE;
	plain.rxmode.offloads &= ~RTE_ETH_RX_OFFLOAD_RSS_HASH;
	memset(&plain.rx_adv_conf, 0, sizeof(plain.rx_adv_conf));
	return __real_rte_eth_dev_configure(id, n_rxq, n_txq, &plain);
}

int
__wrap_rte_eth_rx_queue_setup(uint16_t id, uint16_t queue, uint16_t n, unsigned int socket,
		const struct rte_eth_rxconf *conf, struct rte_mempool *pool)
{
	struct rte_eth_rxconf plain = *conf;

	if (is_ours(id))
		plain.offloads &= ~RTE_ETH_RX_OFFLOAD_RSS_HASH;
	return __real_rte_eth_rx_queue_setup(id, queue, n, socket, &plain, pool);
}

/** As ENA does: nothing of the table that was there is left. */
int
__wrap_rte_eth_dev_start(uint16_t id)
{
	if (!is_ours(id))
		return __real_rte_eth_dev_start(id);
	for (unsigned int i = 0; i < rss_nic.conf.reta_size; i++)
		rss_nic.reta[i] = rss_nic.conf.crowded ? RSS_CROWDED_QUEUE : i % rss_nic.n_queues;
	memcpy(rss_nic.shown, rss_nic.reta, sizeof(rss_nic.shown));
	if (rss_nic.conf.new_key && rss_nic.starts > 0)
		random_key(rss_nic.key);
	rss_nic.starts++;
	return __real_rte_eth_dev_start(id);
}

int
__wrap_rte_eth_dev_callback_register(
		uint16_t id, enum rte_eth_event_type type, rte_eth_dev_cb_fn fn, void *arg)
{
	if (is_ours(id) && type == RTE_ETH_EVENT_INTR_RESET) {
		reset.id = id;
		reset.fn = fn;
		reset.arg = arg;
	}
	return __real_rte_eth_dev_callback_register(id, type, fn, arg);
}

void
rss_nic_ask_for_reset(void)
{
	assert_non_null(reset.fn);
	reset.fn(reset.id, RTE_ETH_EVENT_INTR_RESET, reset.arg, NULL);
}

/* Key and table */

int
__wrap_rte_eth_dev_rss_hash_conf_get(uint16_t id, struct rte_eth_rss_conf *conf)
{
	if (!is_ours(id))
		return __real_rte_eth_dev_rss_hash_conf_get(id, conf);
	if (rss_nic.conf.key_hidden)
		return -ENOTSUP;
	assert_true(conf->rss_key_len >= RSS_KEY_LEN);
	conf->rss_key_len = RSS_KEY_LEN;
	conf->rss_hf = RSS_TYPES;
	if (rss_nic.conf.key_wrong)
		random_key(conf->rss_key);
	else
		memcpy(conf->rss_key, rss_nic.key, RSS_KEY_LEN);
	return 0;
}

int
__wrap_rte_eth_dev_rss_reta_query(
		uint16_t id, struct rte_eth_rss_reta_entry64 *group, uint16_t size)
{
	if (!is_ours(id))
		return __real_rte_eth_dev_rss_reta_query(id, group, size);
	if (size != rss_nic.conf.reta_size)
		return -EINVAL;
	for (unsigned int i = 0; i < size; i++)
		if ((group[i / GROUP].mask >> i % GROUP & 1) != 0)
			group[i / GROUP].reta[i % GROUP] = rss_nic.shown[i];
	return 0;
}

int
__wrap_rte_eth_dev_rss_reta_update(
		uint16_t id, struct rte_eth_rss_reta_entry64 *group, uint16_t size)
{
	if (!is_ours(id))
		return __real_rte_eth_dev_rss_reta_update(id, group, size);
	if (rss_nic.conf.reta_refused)
		return -ENOTSUP;
	if (size != rss_nic.conf.reta_size)
		return -EINVAL;
	rss_nic.updates++;
	for (unsigned int i = 0; i < size && !rss_nic.conf.reta_deaf; i++) {
		if ((group[i / GROUP].mask >> i % GROUP & 1) == 0)
			continue;
		assert_true(group[i / GROUP].reta[i % GROUP] < rss_nic.n_queues);
		rss_nic.shown[i] = group[i / GROUP].reta[i % GROUP];
		if (!rss_nic.conf.reta_lies)
			rss_nic.reta[i] = rss_nic.shown[i];
	}
	return 0;
}

/* Packets */

/** What is hashed, in host order: of ports and SPI, whatever stands behind the header. */
static unsigned int
hash_input(const struct rte_ipv4_hdr *ip, uint32_t word[3])
{
	rte_be32_t behind;
	unsigned int n = 0;

	memcpy(&behind, ip + 1, sizeof(behind));
	if (ip->next_proto_id == IPPROTO_ESP && rss_nic.conf.esp == RSS_ESP_SPI) {
		word[n++] = rte_be_to_cpu_32(behind);
		return n;
	}
	if (ip->next_proto_id == IPPROTO_ESP && rss_nic.conf.esp == RSS_ESP_OTHER)
		word[n++] = rte_be_to_cpu_32(behind);
	word[n++] = rte_be_to_cpu_32(ip->src_addr);
	word[n++] = rte_be_to_cpu_32(ip->dst_addr);
	if (ip->next_proto_id == IPPROTO_UDP || rss_nic.conf.esp == RSS_ESP_ADDRS)
		word[n++] = rte_be_to_cpu_32(behind);
	return n;
}

unsigned int
rss_nic_receive(struct rte_mbuf *m)
{
	const struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod(m, const struct rte_ipv4_hdr *);
	uint32_t key[RSS_KEY_LEN / 4]; /* aligned */
	uint32_t word[3], hash;

	assert_true(rss_nic.configured);
	memcpy(key, rss_nic.key, sizeof(key));
	hash = rte_softrss(word, hash_input(ip, word), (const uint8_t *)key);
	if (rss_nic.delivers && !rss_nic.conf.no_hash) {
		m->hash.rss = hash;
		m->ol_flags |= RTE_MBUF_F_RX_RSS_HASH;
	}
	return rss_nic.reta[hash % rss_nic.conf.reta_size];
}
