/* SPDX-License-Identifier: BSD-3-Clause */

/* Ports alone, as a process: what comes in goes out. With bench_ports.so, see ports.c. */

#include <stdio.h>
#include <stdlib.h>

#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>

#define BURST 32
#define MBUFS 8191
#define CACHE 256
#define DESC 512

static int
open_port(uint16_t port, struct rte_mempool *pool)
{
	const struct rte_eth_conf conf = {.rxmode = {.mtu = 1500}};
	int socket = rte_eth_dev_socket_id(port);
	int rc = rte_eth_dev_configure(port, 1, 1, &conf);

	if (rc == 0)
		rc = rte_eth_rx_queue_setup(port, 0, DESC, socket, NULL, pool);
	if (rc == 0)
		rc = rte_eth_tx_queue_setup(port, 0, DESC, socket, NULL);
	return rc == 0 ? rte_eth_dev_start(port) : rc;
}

/** From the first port to the second, until a signal ends us. */
static int
forward(void *arg)
{
	struct rte_mbuf *pkts[BURST];

	for (;;) {
		uint16_t n = rte_eth_rx_burst(0, 0, pkts, BURST);
		uint16_t sent = rte_eth_tx_burst(1, 0, pkts, n);

		rte_pktmbuf_free_bulk(pkts + sent, n - sent);
	}
	return 0;
}

int
main(int argc, char **argv)
{
	struct rte_mempool *pool;

	if (rte_eal_init(argc, argv) < 0)
		return EXIT_FAILURE;
	pool = rte_pktmbuf_pool_create(
			"portio", MBUFS, CACHE, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	if (pool == NULL || open_port(0, pool) < 0 || open_port(1, pool) < 0) {
		fprintf(stderr, "portio: wants two ports\n");
		return EXIT_FAILURE;
	}
	rte_eal_mp_remote_launch(forward, NULL, SKIP_MAIN);
	rte_eal_mp_wait_lcore();
	return EXIT_SUCCESS;
}
