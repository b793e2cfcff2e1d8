/* SPDX-License-Identifier: BSD-3-Clause */

/* app/host/port.c on devices that need nothing of the machine: net_null and net_ring. */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_thash.h>

#include "host/port.h"
#include "log.h"

static struct rte_mempool *pool;
static struct gw_port port;
static struct gw_error err;

static int
open_port(const char *device, uint16_t mtu, unsigned int workers)
{
	struct gw_config_port cfg = {.name = "lan",
			.device = (char *)(uintptr_t)device,
			.mtu = mtu,
			.rx_desc = 64,
			.tx_desc = 64};

	memset(&port, 0, sizeof(port));
	memset(&err, 0, sizeof(err));
	return gw_port_open(&port, &cfg, workers, pool, &err);
}

/** All packets of @p n bursts on each queue, freed. */
static unsigned int
receive(unsigned int n)
{
	struct rte_mbuf *m[32];
	unsigned int sum = 0;

	for (unsigned int i = 0; i < n; i++)
		for (uint16_t q = 0; q < port.n_rxq; q++) {
			uint16_t got = rte_eth_rx_burst(port.id, q, m, 32);

			rte_pktmbuf_free_bulk(m, got);
			sum += got;
		}
	return sum;
}

static void
test_life(void **state)
{
	struct gw_port_info info;
	uint16_t id;

	assert_int_equal(open_port("net_null0,size=64", 1500, 2), 0);
	assert_true(port.hotplugged);
	assert_string_equal(port.driver, "net_null");
	assert_string_equal(port.name, "lan");
	assert_string_equal(port.note, "");
	assert_int_equal(port.n_rxq, 2);
	assert_int_equal(port.n_txq, 2);
	assert_int_equal(port.mtu, 1500);
	assert_false(gw_port_gone(&port));
	assert_int_equal(gw_port_start(&port, &err), 0);
	assert_true(port.started);
	assert_int_equal(receive(4), 4 * 2 * 32);
	gw_port_info(&port, &info);
	assert_true(info.link_up);
	assert_int_equal(info.rx_packets, 4 * 2 * 32);
	gw_port_stop(&port);
	assert_false(port.started);
	assert_int_equal(gw_port_start(&port, &err), 0);
	gw_port_close(&port);
	gw_port_close(&port); /* once more does no harm */
	assert_int_not_equal(rte_eth_dev_get_port_by_name("net_null0", &id), 0);
	assert_int_equal(rte_mempool_in_use_count(pool), 0);
	/* the name can be used again */
	assert_int_equal(open_port("net_null0,size=64", 1500, 1), 0);
	gw_port_close(&port);
}

static void
test_existing(void **state)
{
	uint16_t id;

	assert_int_equal(rte_dev_probe("net_null1"), 0);
	assert_int_equal(open_port("net_null1", 1500, 1), 0);
	assert_false(port.hotplugged);
	assert_string_equal(port.note, "");
	/* closed, but not taken from those who made it */
	gw_port_close(&port);
	assert_int_not_equal(rte_eth_dev_get_port_by_name("net_null1", &id), 0);

	assert_int_equal(rte_dev_probe("net_null2,size=64"), 0);
	assert_int_equal(open_port("net_null2,size=128", 1500, 1), 0);
	assert_non_null(strstr(port.note, "made by EAL's arguments"));
	gw_port_close(&port);
}

static void
test_queues(void **state)
{
	/* net_ring makes 16 queues, or as many as there are lcores allowed */
	assert_int_equal(open_port("net_ring0", 1500, 16), 0);
	assert_int_equal(port.n_rxq, 16);
	assert_string_equal(port.note, "");
	gw_port_close(&port);

	assert_int_equal(open_port("net_ring0", 1500, 64), 0);
	assert_int_equal(port.n_rxq, 16);
	assert_int_equal(port.n_txq, 16);
	assert_non_null(strstr(port.note, "16 queues for 64 workers"));
	gw_port_close(&port);

	assert_int_equal(open_port("net_ring0", 1500, 3), 0);
	assert_int_equal(port.n_rxq, 3);
	assert_non_null(strstr(port.note, "made with 16 queues, 3 polled"));
	gw_port_close(&port);
}

/* A gateway that was killed leaves its vhost-user socket: the next one has all queues again. */
static void
test_stale_socket(void **state)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	char device[sizeof(sun.sun_path) + 64];
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(sun.sun_path, sizeof(sun.sun_path), "/var/tmp/pcpu-test-port-%d", getpid());
	assert_int_equal(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	close(fd);
	snprintf(device, sizeof(device), "net_vhost0,iface=%s,queues=2", sun.sun_path);
	assert_int_equal(open_port(device, 1500, 2), 0);
	assert_int_equal(port.n_rxq, 2);
	assert_int_equal(port.n_txq, 2);
	gw_port_close(&port);
	unlink(sun.sun_path);
}

static void
test_errors(void **state)
{
	assert_true(open_port("net_nothing0", 1500, 1) < 0);
	assert_string_equal(err.text,
			"port \"lan\": no device net_nothing0: give EAL --vdev "
			"net_nothing0,... (or -a for a PCI address), or write devargs into device "
			"= \"net_nothing0,...\"");
	assert_false(port.probed);
	gw_port_close(&port);

	assert_true(open_port("net_pcap0,rx_pcap=/nonexistent", 1500, 1) < 0);
	assert_non_null(strstr(err.text, "cannot make \"net_pcap0,rx_pcap=/nonexistent\""));

	/* the pool is for 1500 */
	assert_int_equal(open_port("net_null0", 9000, 1), -EINVAL);
	assert_non_null(strstr(err.text, "too small for MTU 9000"));
	assert_false(port.probed);
	assert_int_equal(rte_eth_dev_count_avail(), 0);
}

static void
test_data_room(void **state)
{
	assert_int_equal(gw_port_data_room(576), 2048 + 128);
	assert_int_equal(gw_port_data_room(1500), 2048 + 128);
	assert_int_equal(gw_port_data_room(9001), 9216 + 128);
	for (unsigned int mtu = 576; mtu <= 9600; mtu++) {
		unsigned int room = gw_port_data_room((uint16_t)mtu);

		assert_true(room >= RTE_PKTMBUF_HEADROOM + 18 + mtu + IPSEC_PCPU_MAX_TAIL);
		assert_int_equal(room % 1024, RTE_PKTMBUF_HEADROOM);
	}
}

static void
test_pool(void **state)
{
	struct gw_config_port ports[2] = {
			{.rx_desc = 1024, .tx_desc = 1024}, {.rx_desc = 1024, .tx_desc = 1024}};
	struct gw_config cfg = {.ports = ports, .n_ports = 2};
	unsigned int one = gw_port_pool_need(&cfg, 1), two = gw_port_pool_need(&cfg, 2);
	struct rte_mempool *small;

	assert_true(two >= 8192 && two <= 18432);
	assert_true(one >= 4096 && one < two);
	assert_true(gw_port_pool_need(&cfg, 16) > 7 * two);
	cfg.mbufs = 777;
	assert_int_equal(gw_port_pool_need(&cfg, 2), 777);

	/* the cache is never too large for the pool */
	for (unsigned int n = 3; n < 1000; n += 37) {
		small = gw_port_pool_create("small", n, 1500, 0, &err);
		assert_non_null(small);
		assert_true(small->cache_size * 3 <= n * 2);
		rte_mempool_free(small);
	}
	assert_null(gw_port_pool_create("huge", 10000000, 1500, 0, &err));
	assert_non_null(strstr(err.text, "no memory for 10000000 mbufs"));
	assert_non_null(strstr(err.text, "--no-huge -m "));
}

/** Each of 128 table entries can be reached by the source port, and by the destination port. */
static void
test_rss_key(void **state)
{
	for (int word = 0; word < 2; word++) {
		uint8_t seen[128] = {0};
		unsigned int n = 0;

		for (uint32_t p = 49152; p < 65536; p++) {
			uint32_t tuple[3] = {0x0a010001, 0x0a020001, word == 0 ? p << 16 : p};
			uint32_t bucket = rte_softrss(tuple, 3, gw_rss_key) % 128;

			n += seen[bucket] == 0;
			seen[bucket] = 1;
		}
		assert_int_equal(n, 128);
	}
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_life),
			cmocka_unit_test(test_existing),
			cmocka_unit_test(test_queues),
			cmocka_unit_test(test_stale_socket),
			cmocka_unit_test(test_errors),
			cmocka_unit_test(test_data_room),
			cmocka_unit_test(test_pool),
			cmocka_unit_test(test_rss_key),
	};

	if (rte_eal_init(argc, argv) < 0)
		return 1;
	gw_log_init();
	pool = gw_port_pool_create("pool", 4095, 1500, 0, &err);
	if (pool == NULL) {
		fprintf(stderr, "%s\n", err.text);
		return 1;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
