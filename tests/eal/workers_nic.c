/* SPDX-License-Identifier: BSD-3-Clause */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <rte_bus_vdev.h>
#include <rte_eth_ring.h>
#include <rte_ethdev.h>

#include "workers_nic.h"

#define RX_RING 1024
#define TX_RING 4096

static struct rte_ring *
ring(const char *name, const char *way, unsigned int queue, unsigned int size)
{
	char full[RTE_RING_NAMESIZE];
	struct rte_ring *r;

	snprintf(full, sizeof(full), "nic-%s-%s-%u", name, way, queue);
	r = rte_ring_create(full, size, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
	assert_non_null(r);
	return r;
}

void
nic_open(struct nic *nic, const char *name, unsigned int n_queues, uint8_t mac)
{
	int id;

	*nic = (struct nic){.n_queues = n_queues, .mac = {{0x02, 0, 0, 0, 0, mac}}};
	snprintf(nic->device, sizeof(nic->device), "net_ring_%s", name);
	for (unsigned int q = 0; q < n_queues; q++) {
		nic->rx[q] = ring(name, "rx", q, RX_RING);
		nic->tx[q] = ring(name, "tx", q, TX_RING);
	}
	id = rte_eth_from_rings(name, nic->rx, n_queues, nic->tx, n_queues, SOCKET_ID_ANY);
	assert_true(id >= 0);
	/* it comes with a MAC of zeros, in whose place the first one added goes */
	assert_int_equal(rte_eth_dev_mac_addr_add(id, &nic->mac, 0), 0);
}

static unsigned int
empty(struct rte_ring *r)
{
	unsigned int n = 0;
	void *m;

	for (; rte_ring_sc_dequeue(r, &m) == 0; n++)
		rte_pktmbuf_free(m);
	return n;
}

unsigned int
nic_withdraw(struct nic *nic)
{
	unsigned int n = 0;

	for (unsigned int q = 0; q < nic->n_queues; q++)
		n += empty(nic->rx[q]);
	nic->put -= n;
	return n;
}

void
nic_close(struct nic *nic)
{
	rte_vdev_uninit(nic->device);
	nic_withdraw(nic);
	for (unsigned int q = 0; q < nic->n_queues; q++) {
		empty(nic->tx[q]);
		rte_ring_free(nic->rx[q]);
		rte_ring_free(nic->tx[q]);
	}
	nic->n_queues = 0;
}

bool
nic_put(struct nic *nic, unsigned int queue, struct rte_mbuf *m)
{
	if (rte_ring_sp_enqueue(nic->rx[queue], m) != 0)
		return false;
	nic->put++;
	return true;
}

unsigned int
nic_get(struct nic *nic, unsigned int queue, struct rte_mbuf *pkts[])
{
	unsigned int n = rte_ring_sc_dequeue_burst(nic->tx[queue], (void **)pkts, NIC_BURST, NULL);

	nic->got += n;
	return n;
}
