/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef WORKERS_RSS_H
#define WORKERS_RSS_H

/*
 * RSS of the port "wan": key, redirection table, the hash in each mbuf, and what a NIC may
 * do wrong in it. Ports of rings have none: ethdev's functions are wrapped by the linker,
 * for this port alone.
 */

#include <stdbool.h>
#include <stdint.h>

#include <rte_mbuf.h>

#define RSS_KEY_LEN 40
#define RSS_MAX_RETA 512

/** What is hashed of plain ESP. */
enum rss_esp {
	RSS_ESP_NONE, /* addresses alone, as of any packet without ports */
	RSS_ESP_SPI,
	RSS_ESP_ADDRS, /* addresses and SPI */
	RSS_ESP_OTHER, /* addresses and SPI, in an order of its own */
};

struct rss_conf {
	uint16_t reta_size;
	enum rss_esp esp;
	bool takes_key; /* that of who configures it; else it refuses, and has a random one */
	bool new_key; /* another random one at each start */
	/* faults */
	bool key_hidden; /* cannot be read */
	bool key_wrong; /* another one is read than is used */
	bool no_hash; /* none in mbufs, though it says so */
	bool reta_refused; /* cannot be written */
	bool reta_deaf; /* writing it is no error, and does nothing */
	bool reta_lies; /* what is written reads back, but is not used */
	bool crowded; /* all of the table leads to queue 3 when the port starts */
};

#define RSS_CROWDED_QUEUE 3

struct rss_nic {
	struct rss_conf conf;
	uint8_t key[RSS_KEY_LEN]; /* that is used */
	uint16_t reta[RSS_MAX_RETA]; /* that is used */
	uint16_t shown[RSS_MAX_RETA]; /* that is read */
	uint16_t n_queues;
	bool configured; /* with RSS */
	bool delivers; /* hashes, as it was told */
	unsigned int updates; /* of the table that were no error */
	unsigned int starts;
};

extern struct rss_nic rss_nic;

/** Before site_start(): a NIC like this, with a random key. */
void rss_nic_make(const struct rss_conf *conf);

/** A frame comes, from its outer IPv4 header on: sets its hash. Returns the queue. */
unsigned int rss_nic_receive(struct rte_mbuf *m);

/** The driver wants the port to be reset. */
void rss_nic_ask_for_reset(void);

#endif /* WORKERS_RSS_H */
