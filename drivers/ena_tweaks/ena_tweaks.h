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

#endif /* ENA_TWEAKS_H */
