/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef WORKERS_NIC_H
#define WORKERS_NIC_H

/* A port made of rings: the test stands behind it and plays the NIC, its RSS and its wire. */

#include <stdbool.h>
#include <stdint.h>

#include <rte_ether.h>
#include <rte_mbuf.h>
#include <rte_ring.h>

#define NIC_QUEUES 16
#define NIC_BURST 32

struct nic {
	char device[32]; /* the ethdev's name */
	unsigned int n_queues;
	struct rte_ring *rx[NIC_QUEUES]; /* what the gateway receives */
	struct rte_ring *tx[NIC_QUEUES]; /* what it sends */
	struct rte_ether_addr mac;
	uint64_t put; /* frames that the gateway received, or will */
	uint64_t got; /* frames taken from it */
};

/** Make the ethdev "net_ring_<name>"; asserts. */
void nic_open(struct nic *nic, const char *name, unsigned int n_queues, uint8_t mac);

/** After the gateway has closed it. Frees what is left in the rings. */
void nic_close(struct nic *nic);

/** A frame arrives; false where the queue has no room. */
bool nic_put(struct nic *nic, unsigned int queue, struct rte_mbuf *m);

/** Take back what the gateway has not received; how many frames. */
unsigned int nic_withdraw(struct nic *nic);

/** What the gateway sent, at most NIC_BURST frames. */
unsigned int nic_get(struct nic *nic, unsigned int queue, struct rte_mbuf *pkts[]);

#endif /* WORKERS_NIC_H */
