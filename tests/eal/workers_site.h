/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef WORKERS_SITE_H
#define WORKERS_SITE_H

/*
 * A gateway in this process, with the wire, the hosts behind it and its peer
 * played by the test. One thread does all of it: the test runs the gateway's
 * control loop for a turn whenever it waits.
 */

#include <stdbool.h>
#include <stdint.h>

#include "control/control_priv.h"
#include "workers_nic.h"
#include "workers_peer.h"
#include "workers_pkt.h"

/** Packets under way at a time: less than any ring takes. */
#define SITE_WINDOW 512

struct site_conf {
	unsigned int workers;
	unsigned int queues; /* of each port */
	unsigned int pairs; /* for workers 0, 1, ... */
	bool fallback;
	const char *state_file; /* NULL: none */
	unsigned int ike; /* tunnels that IKE makes, at most; 0: there is one of the file */
};

struct site {
	struct site_conf conf;
	struct gw gw;
	bool running;
	struct nic lan, wan;
	struct rte_mempool *pool; /* of all that the test puts in */
	struct peer peer;
	struct pkt_log log;
	bool hostile; /* frames may come out that are none of the log's */
	uint64_t from_kernel; /* multicast frames of the kernel's own */
	bool goes_down; /* a port does: the kernel's own frames are dropped there, too */
	uint64_t other; /* hostile: frames that are none of the log's */
	/* where set: a packet has come out of the tunnel by this SA */
	void (*on_sent)(const struct pkt_tag *tag, const struct peer_sa *sa);
	/* where set: may this packet between the two sides leave in clear? */
	bool (*may_be_clear)(const struct pkt_tag *tag);
	uint64_t clear; /* those that did */
	/* packets out of the tunnel, by the queue they were put in and the pair of their SA */
	uint64_t out[NIC_QUEUES][PEER_FALLBACK + 1];
	/* packets into our side, by the pair of their SA and the queue they came out of */
	uint64_t in[PEER_FALLBACK + 1][NIC_QUEUES];
	/* what must have been dropped in the end, by reason; not hostile: exactly this */
	uint64_t drop[GW_N_DROPS];
	uint64_t esp_drop[IPSEC_PCPU_N_DROPS];
};

extern struct site site;

/** EAL has lcores for as many, and one for control. */
#define SITE_WORKERS 16

/** All of them with a queue and a pair of SAs each, and a fallback pair. */
extern const struct site_conf site_conf_full;

/**
 * First thing in main(): a network namespace of this process alone, then EAL.
 *
 * @return
 *   0, or what main() is to return. Ends the program where this machine
 *   cannot do it, with a reason.
 */
int site_prepare(int argc, char **argv);
/** All of main(): site_prepare(), then tests. */
int site_main(int argc, char **argv, const struct CMUnitTest tests[], size_t n);

/** A random flow of those that the NIC gives to this queue, of SITE_WORKERS. */
unsigned int site_flow_on(unsigned int queue);

/** The SPI of the gateway's SA of a pair; @p gen: 0 for the one in the configuration. */
uint32_t site_spi(enum ipsec_pcpu_dir dir, unsigned int pair, unsigned int gen);

/** Bring everything up, neighbours known. Asserts. */
void site_start(const struct site_conf *conf);

/**
 * Stop once all has come to its end, and assert the balance of every worker and
 * of all, the drops expected, and that no mbuf is left.
 */
void site_stop(void);

/** The same at once, with packets under way. */
void site_stop_now(void);

/** For cmocka: clean up what a failed test left. */
int site_teardown(void **state);

/** Run control for a turn, and take what the gateway sent. */
void site_turn(void);

/** Turns until @p done says so; asserts that it does within seconds. */
void site_until(bool (*done)(void), const char *what);

/** All that was put in has come to its end. */
void site_settle(void);

/** Nothing moves any more, whatever fragments may wait. */
void site_come_to_rest(void);

/** Packets of a flow: our side sends, received on @p queue. */
void site_send_out(unsigned int flow, unsigned int queue);

/** The peer sends on the SA with this SPI, received on @p queue. */
void site_send_in(unsigned int flow, uint32_t spi, unsigned int queue);

/** Any frame at all; waits for room. */
void site_put(struct nic *nic, unsigned int queue, struct rte_mbuf *m);

/** Put an Ethernet header before an IP packet, as from a host on this port. */
void site_ether(struct nic *nic, struct rte_mbuf *m);

/** Frames of the kernel's own that a port which was down has dropped; goes_down, settled. */
uint64_t site_kernel_lost(void);

/** Sum of one of the gateway's counters over all workers. */
#define site_sum(counter) site_sum_at(offsetof(struct gw_counters, counter))
uint64_t site_sum_at(size_t offset);

/** One counter of one worker. */
#define site_worker(id, counter) \
	__atomic_load_n(&site.gw.worker[id].w->counters.counter, __ATOMIC_RELAXED)

/** Packets that an SA of the gateway has counted. */
uint64_t site_sa_packets(uint32_t spi);

/** Run a shell command; asserts. */
void site_sh(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif /* WORKERS_SITE_H */
