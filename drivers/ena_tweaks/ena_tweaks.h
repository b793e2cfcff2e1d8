/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef ENA_TWEAKS_H
#define ENA_TWEAKS_H

/*
 * All that is special to the Elastic Network Adapter, over public ethdev calls.
 * Nothing here has any effect on other NICs: the caller asks ena_is_ena()
 * first. Works on plain structs, so that it is tested without a device.
 */

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <rte_ethdev.h>

#include <ipsec_pcpu_steer.h>

#define ENA_RSS_KEY_LEN 40

/** Is this port driven by the ena PMD? @p driver_name as of rte_eth_dev_info_get(). */
bool ena_is_ena(const char *driver_name);

/* Devargs */

/** A version of DPDK as year * 100 + month: 2211. */
#define ENA_LATEST UINT_MAX

struct ena_devarg {
	const char *name;
	unsigned int value;
	unsigned int first; /* version that has it */
	unsigned int last;
	const char *why; /* whole sentences for the user */
};

/** What the PMD of this version is to get; how many, at most @p max. */
unsigned int ena_devargs(unsigned int version, const struct ena_devarg **args, unsigned int max);

/** For the user: the devargs in one line, then a comment on each. 0 or -EIO. */
int ena_devargs_print(FILE *out, unsigned int version);

/* The configuration of a port */

/** What a port configuration is filled from. */
struct ena_conf_in {
	const struct rte_eth_dev_info *info;
	uint16_t mtu;
	uint16_t n_queues;
	const uint8_t *rss_key; /* 40 bytes, ours; NULL: leave the device's */
};

/** What comes out: for rte_eth_dev_configure(), queue set-up and the mempool. */
struct ena_conf_out {
	struct rte_eth_conf conf;
	struct rte_eth_txconf txconf;
	uint16_t data_room; /* of an mbuf, headroom included: a frame in one segment */
	const char *note; /* what the user should know, or NULL */
};

/**
 * Fill a port configuration for ENA: RSS on the hash types it has (others are
 * refused by it), our key where it takes one, fast free, MTU and mbuf size so
 * that a frame is one mbuf.
 */
int ena_port_conf(const struct ena_conf_in *in, struct ena_conf_out *out);

/* The port while it runs */

/**
 * The PMD's watchdog (keep-alive, packets that are never sent) is an rte_timer of the
 * lcore that starts the port. Before the first port is started, on that lcore. 0 or -errno.
 */
int ena_watchdog_init(void);
/** About once a second, on the lcore that started the ports. */
void ena_watchdog_tick(void);
/** After the last port was closed. */
void ena_watchdog_fini(void);

/**
 * Did a port that was started take our RSS key? NULL, or a note for the user.
 */
const char *ena_rss_key_note(uint16_t port_id, const uint8_t key[ENA_RSS_KEY_LEN]);

enum ena_wc {
	ENA_WC_UNKNOWN, /* nothing says anything */
	ENA_WC_YES,
	ENA_WC_NO,
	ENA_WC_NO_BAR, /* the device has no memory to write to: no LLQ */
};

/**
 * Is the device's memory mapped with write combining?
 *
 * @param resource
 *   /sys/bus/pci/devices/ADDRESS/resource
 * @param memtypes
 *   /sys/kernel/debug/x86/pat_memtype_list, while the device is in use.
 */
enum ena_wc ena_wc_check(FILE *resource, FILE *memtypes);

/** What to tell the user; NULL: nothing. */
const char *ena_wc_advice(enum ena_wc wc);

/* Allowances */

enum ena_kind {
	ENA_LIMIT, /* counts what AWS queued or dropped: warn */
	ENA_COUNT,
	ENA_GAUGE, /* a value as it is now */
};

struct ena_allowance_info {
	const char *name; /* of the extended statistic */
	enum ena_kind kind;
	const char *what;
	const char *remedy; /* ENA_LIMIT */
};

#define ENA_N_ALLOWANCES 11
extern const struct ena_allowance_info ena_allowance_info[ENA_N_ALLOWANCES];

struct ena_allowance {
	const struct ena_allowance_info *info;
	uint64_t id; /* of the extended statistic */
	uint64_t last; /* as the device has it */
	uint64_t value; /* since ena_allowances_open(); ENA_GAUGE: now */
	uint64_t delta; /* in the last sample */
	double rate; /* per second, in the last sample */
};

/** Those that a port has. */
struct ena_allowances {
	uint16_t port_id;
	unsigned int n;
	struct ena_allowance row[ENA_N_ALLOWANCES];
};

/** Find out which a port has, and where they stand. */
void ena_allowances_open(struct ena_allowances *a, uint16_t port_id);
/** @p seconds since the last time. False: nothing was read. Asks the device: not on a worker. */
bool ena_allowances_sample(struct ena_allowances *a, double seconds);

/** A warning that is given at once, then at most once a minute. Zeroed at first. */
struct ena_warn {
	bool said;
	uint64_t last_ns;
	uint64_t sum; /* since it was last said */
};

/** @p n more have come: 0, or what to say now, the sum since the last time. */
uint64_t ena_warn_due(struct ena_warn *w, uint64_t n, uint64_t now_ns);

/* Flows */

/** What an SA puts on the wire. */
struct ena_flow {
	struct ipsec_pcpu_tuple tuple; /* outer; all else zero. Ports 0: plain ESP */
	double bps; /* bits per second */
	unsigned int n_sas; /* 1 */
	const void *tag; /* the caller's own; of those merged, the one with the highest rate */
};

/** Add up those that are one flow to AWS; how many are left, from the beginning on. */
unsigned int ena_flows_merge(struct ena_flow *flows, unsigned int n);

/**
 * The limit in Gbit/s that a flow of this rate is near, or held by: 5, 10 (in a cluster
 * placement group), 25 (ENA Express); 0: none.
 */
unsigned int ena_flow_near(double bps);

/* The hash */

enum ena_hash {
	ENA_HASH_NONE,
	ENA_HASH_KEY_UNKNOWN,
	ENA_HASH_SAME,
	ENA_HASH_KEY_REVERSED,
	ENA_HASH_SWAPPED,
	ENA_HASH_DIFFERS,
};

/**
 * Compare the hash that came with a TCP or UDP packet with ours.
 *
 * @param key
 *   That the NIC is known to have; NULL: not known.
 * @param nic_hash
 *   mbuf->hash.rss; NULL where RTE_MBUF_F_RX_RSS_HASH is not set.
 */
enum ena_hash ena_hash_check(
		const uint8_t *key, const struct ipsec_pcpu_tuple *tuple, const uint32_t *nic_hash);

/** What to log. */
const char *ena_hash_text(enum ena_hash verdict);

#endif /* ENA_TWEAKS_H */
