/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * RSS: what a NIC tells of its key and its redirection table, and the method that writes
 * the table. What it tells is believed until a packet shows otherwise: gw_steer_saw() for
 * the key, gw_steer_judge() for the table.
 */

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <rte_ethdev.h>

#include "steer.h"

#define N_GROUPS (IPSEC_PCPU_MAX_RETA / RTE_ETH_RETA_GROUP_SIZE)

void
gw_steer_rss_note(struct gw_steer_rss_state *rss, const char *fmt, ...)
{
	size_t len = strlen(rss->text);
	va_list ap;

	if (len > 0 && len + 3 < sizeof(rss->text)) {
		memcpy(rss->text + len, "; ", 3);
		len += 2;
	}
	va_start(ap, fmt);
	vsnprintf(rss->text + len, sizeof(rss->text) - len, fmt, ap);
	va_end(ap);
}

/** Groups of a table; those of a small one are not full. */
static unsigned int
n_groups(uint16_t reta_size)
{
	return (reta_size + RTE_ETH_RETA_GROUP_SIZE - 1u) / RTE_ETH_RETA_GROUP_SIZE;
}

static uint64_t
full_mask(uint16_t reta_size)
{
	return reta_size >= RTE_ETH_RETA_GROUP_SIZE ? UINT64_MAX : (UINT64_C(1) << reta_size) - 1;
}

/** Exactly as many entries as the device has: others are refused from 25.03 on. 0 or -errno. */
static int
read_table(uint16_t port, uint16_t reta_size, uint16_t reta[])
{
	struct rte_eth_rss_reta_entry64 group[N_GROUPS];
	int rc;

	memset(group, 0, sizeof(group));
	for (unsigned int i = 0; i < n_groups(reta_size); i++)
		group[i].mask = full_mask(reta_size);
	rc = rte_eth_dev_rss_reta_query(port, group, reta_size);
	if (rc < 0)
		return rc;
	for (unsigned int i = 0; i < reta_size; i++)
		reta[i] = group[i / RTE_ETH_RETA_GROUP_SIZE].reta[i % RTE_ETH_RETA_GROUP_SIZE];
	return 0;
}

/** The groups that differ from @p old, each as a whole; @p old NULL: all. */
static int
write_table(uint16_t port, uint16_t reta_size, const uint16_t reta[], const uint16_t old[])
{
	struct rte_eth_rss_reta_entry64 group[N_GROUPS];

	memset(group, 0, sizeof(group));
	for (unsigned int i = 0; i < reta_size; i++) {
		struct rte_eth_rss_reta_entry64 *g = &group[i / RTE_ETH_RETA_GROUP_SIZE];

		g->reta[i % RTE_ETH_RETA_GROUP_SIZE] = reta[i];
		if (old == NULL || old[i] != reta[i])
			g->mask = full_mask(reta_size);
	}
	return rte_eth_dev_rss_reta_update(port, group, reta_size);
}

/** By writing what is there already: no packet notices. */
static void
try_write(struct gw_steer_rss_state *rss, uint16_t port)
{
	uint16_t again[IPSEC_PCPU_MAX_RETA];
	int rc = write_table(port, rss->reta_size, rss->reta, NULL);

	if (rc == 0)
		rc = read_table(port, rss->reta_size, again);
	if (rc < 0)
		gw_steer_rss_note(
				rss, "the redirection table cannot be written: %s", strerror(-rc));
	else if (memcmp(again, rss->reta, rss->reta_size * sizeof(again[0])) != 0)
		gw_steer_rss_note(
				rss, "the redirection table reads back other than it was written");
	else
		rss->writable = true;
}

static void
get_table(struct gw_steer_rss_state *rss, const struct gw_port *port, unsigned int size)
{
	int rc;

	if (size == 0) {
		gw_steer_rss_note(rss, "%s has no redirection table", port->driver);
		return;
	}
	if (size > IPSEC_PCPU_MAX_RETA || !rte_is_power_of_2(size)) {
		gw_steer_rss_note(rss, "a redirection table of %u entries is of no use", size);
		return;
	}
	rc = read_table(port->id, (uint16_t)size, rss->reta);
	if (rc < 0) {
		gw_steer_rss_note(rss, "the redirection table cannot be read: %s", strerror(-rc));
		return;
	}
	rss->has_reta = true;
	rss->reta_size = (uint16_t)size;
	memcpy(rss->home, rss->reta, size * sizeof(rss->home[0]));
	try_write(rss, port->id);
}

/** A key that source ports cannot spread over the table: it predicts, but serves badly. */
static void
check_key(struct gw_steer_rss_state *rss)
{
	unsigned int rank;

	if (!rss->has_reta)
		return;
	rank = RTE_MIN(ipsec_pcpu_key_rank(rss->key, AF_INET, rss->reta_size),
			ipsec_pcpu_key_rank(rss->key, AF_INET6, rss->reta_size));
	if (1u << rank < rss->reta_size)
		gw_steer_rss_note(rss, "the hash key is weak: source ports reach %u of %u entries",
				1u << rank, rss->reta_size);
}

/** Drivers whose NIC has none to read leave zeros. */
static bool
all_zero(const uint8_t *key)
{
	static const uint8_t zeros[IPSEC_PCPU_RSS_KEY_LEN];

	return memcmp(key, zeros, sizeof(zeros)) == 0;
}

/** Of a longer key, IP addresses and ports are hashed with its beginning. */
static void
take_key(struct gw_steer_rss_state *rss, const uint8_t *key, unsigned int len)
{
	if (len < sizeof(rss->key)) {
		gw_steer_rss_note(rss, "the hash key cannot be read: %u bytes of %zu", len,
				sizeof(rss->key));
		return;
	}
	if (all_zero(key)) {
		gw_steer_rss_note(rss, "the hash key cannot be read: all its bytes are 0");
		return;
	}
	memcpy(rss->key, key, sizeof(rss->key));
	rss->has_key = true;
	check_key(rss);
}

static void
get_hash(struct gw_steer_rss_state *rss, uint16_t port, uint8_t key_size)
{
	uint8_t key[UINT8_MAX] = {0};
	struct rte_eth_rss_conf conf = {.rss_key = key,
			.rss_key_len = key_size > 0 ? key_size : IPSEC_PCPU_RSS_KEY_LEN};
	uint8_t len = conf.rss_key_len;
	int rc = rte_eth_dev_rss_hash_conf_get(port, &conf);

	if (rc < 0) {
		gw_steer_rss_note(rss, "the hash key cannot be read: %s", strerror(-rc));
		return;
	}
	rss->hashes_udp4 = (conf.rss_hf & RTE_ETH_RSS_NONFRAG_IPV4_UDP) != 0;
	rss->hashes_udp6 = (conf.rss_hf & RTE_ETH_RSS_NONFRAG_IPV6_UDP) != 0;
	if (!rss->hashes_udp4 && !rss->hashes_udp6)
		gw_steer_rss_note(rss, "UDP ports are not hashed");
	take_key(rss, key, RTE_MIN(len, conf.rss_key_len));
}

void
gw_steer_rss_read(struct gw_steer_port *sp)
{
	const struct gw_port *port = sp->port;
	struct gw_steer_rss_state *rss = &sp->rss;
	struct rte_eth_dev_info info;
	int rc;

	memset(rss, 0, sizeof(*rss));
	if (port->n_rxq < 2) {
		gw_steer_rss_note(rss, "the port has one queue");
		return;
	}
	rc = rte_eth_dev_info_get(port->id, &info);
	if (rc < 0) {
		gw_steer_rss_note(rss, "%s does not tell what it has: %s", port->driver,
				strerror(-rc));
		return;
	}
	/* the table first: where it is missing, that is why "rss" cannot be had */
	get_table(rss, port, info.reta_size);
	get_hash(rss, port->id, info.hash_key_size);
}

static int
rss_probe(struct gw_steer_port *sp, struct gw_error *why)
{
	if (sp->port->n_rxq >= 2 && sp->rss.has_reta && sp->rss.writable)
		return 0;
	gw_error_set(why, NULL, 0, "%s", sp->rss.text);
	return -ENOTSUP;
}

/** What was written stays: any table is as good as another for who comes next. */
static void
rss_close(struct gw_steer_port *sp)
{
}

/* An SA needs nothing of its own: gw_steer_plan() makes the table from all of them. */

static int
rss_add(struct gw_steer_port *sp, struct gw_steer_sa *sa)
{
	return 0;
}

static void
rss_del(struct gw_steer_port *sp, struct gw_steer_sa *sa)
{
}

static int
rss_commit(struct gw_steer_port *sp, const uint16_t reta[])
{
	struct gw_steer_rss_state *rss = &sp->rss;
	size_t size = rss->reta_size * sizeof(reta[0]);
	int rc;

	if (!rss->has_reta)
		return -ENOTSUP;
	if (memcmp(reta, rss->reta, size) == 0)
		return 0;
	rc = write_table(sp->port->id, rss->reta_size, reta, rss->reta);
	if (rc < 0)
		return rc;
	rss->writes++;
	rc = read_table(sp->port->id, rss->reta_size, rss->reta);
	if (rc < 0)
		return rc;
	return memcmp(reta, rss->reta, size) == 0 ? 0 : -EIO;
}

static void
rss_describe(const struct gw_steer_port *sp, const struct gw_steer_sa *sa, char *out, size_t len)
{
	const struct gw_steer_rss_state *rss = &sp->rss;
	const char *by = sa->tuple.dport != 0 ? " (by its tuple)" : " (by its SPI)";
	uint32_t entry;

	if (len > 0)
		out[0] = '\0';
	if (!sa->has_hash || !rss->has_reta)
		return;
	entry = sa->hash & (rss->reta_size - 1u);
	snprintf(out, len, "hash 0x%08x -> entry %u -> queue %u%s", sa->hash, entry,
			rss->reta[entry], sa->nic_hash ? "" : by);
}

const struct gw_steer_ops gw_steer_rss = {
		.name = "rss",
		.what = "RSS: the redirection table leads an SA's UDP ports to its queue",
		.probe = rss_probe,
		.close = rss_close,
		.add = rss_add,
		.del = rss_del,
		.move = rss_add,
		.commit = rss_commit,
		.describe = rss_describe,
};
