/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * app/host/port*.c over an ethdev that is played here, call by call: what is done to a
 * device at its start and in a reset, in which order, and what happens where a step fails.
 */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include "host/port.h"

#define ID 5
#define S UINT64_C(1000000000)

/* The device */

static struct {
	char calls[512];
	const char *driver;
	const char *fail; /* the call that fails */
	int fail_rc;
	bool takes_key;
	bool promisc;
	uint16_t max_queues;
	rte_eth_dev_cb_fn cb[RTE_ETH_EVENT_MAX];
	void *cb_arg[RTE_ETH_EVENT_MAX];
	struct rte_eth_conf conf;
	bool in_reset_event; /* the driver asks once more while it is being reset */
} dev;

static int
call(const char *name)
{
	size_t len = strlen(dev.calls);

	snprintf(dev.calls + len, sizeof(dev.calls) - len, "%s%s", len > 0 ? " " : "", name);
	return dev.fail != NULL && strcmp(dev.fail, name) == 0 ? dev.fail_rc : 0;
}

static void
event(enum rte_eth_event_type type)
{
	assert_non_null(dev.cb[type]);
	dev.cb[type](ID, type, dev.cb_arg[type], NULL);
}

int
rte_eth_dev_get_port_by_name(const char *name, uint16_t *id)
{
	*id = ID;
	return 0;
}

int
rte_eth_dev_info_get(uint16_t id, struct rte_eth_dev_info *info)
{
	static uint32_t flags = RTE_ETH_DEV_INTR_LSC;

	assert_int_equal(id, ID);
	memset(info, 0, sizeof(*info));
	info->driver_name = dev.driver;
	info->dev_flags = &flags;
	info->min_mtu = 128;
	info->max_mtu = 9216;
	info->max_rx_queues = info->max_tx_queues = dev.max_queues;
	info->hash_key_size = 40;
	info->reta_size = 128;
	info->flow_type_rss_offloads = 0xc30;
	info->rx_offload_capa = RTE_ETH_RX_OFFLOAD_RSS_HASH;
	return 0;
}

int
rte_eth_macaddr_get(uint16_t id, struct rte_ether_addr *mac)
{
	*mac = (struct rte_ether_addr){{2, 0, 0, 0, 0, 1}};
	return 0;
}

int
rte_eth_dev_socket_id(uint16_t id)
{
	return -1;
}

int
rte_eth_dev_configure(uint16_t id, uint16_t n_rx, uint16_t n_tx, const struct rte_eth_conf *conf)
{
	char name[32];

	assert_int_equal(n_rx, n_tx);
	dev.conf = *conf;
	snprintf(name, sizeof(name), "configure%u", n_rx);
	return call(name);
}

int
rte_eth_dev_set_mtu(uint16_t id, uint16_t mtu)
{
	char name[32];

	snprintf(name, sizeof(name), "mtu%u", mtu);
	return call(name);
}

int
rte_eth_dev_get_mtu(uint16_t id, uint16_t *mtu)
{
	*mtu = 1500;
	return 0;
}

int
rte_eth_dev_adjust_nb_rx_tx_desc(uint16_t id, uint16_t *n_rx, uint16_t *n_tx)
{
	return 0;
}

int
rte_eth_rx_queue_setup(uint16_t id, uint16_t queue, uint16_t n_desc, unsigned int socket,
		const struct rte_eth_rxconf *conf, struct rte_mempool *pool)
{
	assert_int_equal(n_desc, 512);
	return call("rxq");
}

int
rte_eth_tx_queue_setup(uint16_t id, uint16_t queue, uint16_t n_desc, unsigned int socket,
		const struct rte_eth_txconf *conf)
{
	return call("txq");
}

int
rte_eth_dev_start(uint16_t id)
{
	return call("start");
}

int
rte_eth_dev_stop(uint16_t id)
{
	return call("stop");
}

int
rte_eth_dev_reset(uint16_t id)
{
	if (dev.in_reset_event)
		event(RTE_ETH_EVENT_INTR_RESET);
	dev.in_reset_event = false;
	return call("reset");
}

int
rte_eth_dev_close(uint16_t id)
{
	return call("close");
}

int
rte_eth_allmulticast_enable(uint16_t id)
{
	return call("allmulti");
}

int
rte_eth_promiscuous_enable(uint16_t id)
{
	return call("promisc");
}

int
rte_eth_dev_rss_hash_conf_get(uint16_t id, struct rte_eth_rss_conf *conf)
{
	int rc = call("key");

	if (!dev.takes_key)
		return -ENOTSUP;
	memcpy(conf->rss_key, gw_rss_key, GW_RSS_KEY_LEN);
	return rc;
}

int
rte_eth_dev_callback_register(
		uint16_t id, enum rte_eth_event_type type, rte_eth_dev_cb_fn fn, void *arg)
{
	dev.cb[type] = fn;
	dev.cb_arg[type] = arg;
	return 0;
}

int
rte_eth_dev_callback_unregister(
		uint16_t id, enum rte_eth_event_type type, rte_eth_dev_cb_fn fn, void *arg)
{
	assert_ptr_equal(dev.cb[type], fn);
	dev.cb[type] = NULL;
	return 0;
}

/* The port */

#define SET_UP "configure2 mtu1500 rxq rxq txq txq"
#define START "start allmulti promisc"

static struct gw_port port;
static struct gw_config_port cfg;
static struct gw_error err;
static char device[] = "0000:00:06.0";

/** As much of a pool as is looked at: the size of its mbufs. */
static struct rte_mempool *
fake_pool(void)
{
	static uint8_t memory[16384] __rte_cache_aligned;
	struct rte_mempool *pool = (struct rte_mempool *)(void *)memory;
	struct rte_pktmbuf_pool_private *priv = rte_mempool_get_priv(pool);

	priv->mbuf_data_room_size = 2048 + RTE_PKTMBUF_HEADROOM;
	return pool;
}

static const char *
calls(void)
{
	static char copy[sizeof(dev.calls)];

	memcpy(copy, dev.calls, sizeof(copy));
	dev.calls[0] = '\0';
	return copy;
}

static void
open_port(const char *driver)
{
	memset(&dev, 0, sizeof(dev));
	memset(&port, 0, sizeof(port));
	memset(&err, 0, sizeof(err));
	dev.driver = driver;
	dev.takes_key = true;
	dev.max_queues = 2;
	cfg = (struct gw_config_port){.name = "wan",
			.device = device,
			.mtu = 1500,
			.promisc = true,
			.rx_desc = 512,
			.tx_desc = 512};
	assert_int_equal(gw_port_open(&port, &cfg, 4, fake_pool(), &err), 0);
	assert_int_equal(gw_port_start(&port, &err), 0);
	assert_true(gw_port_usable(&port));
}

static void
test_reset(void **state)
{
	char note[sizeof(port.note)];

	open_port("net_any");
	assert_string_equal(calls(), SET_UP " " START);
	assert_int_equal(port.n_rxq, 2);
	memcpy(note, port.note, sizeof(note));
	assert_non_null(strstr(note, "2 queues for 4 workers"));
	assert_false(gw_port_reset_due(&port, 1 * S));

	/* the event does nothing but ask */
	event(RTE_ETH_EVENT_INTR_RESET);
	assert_string_equal(calls(), "");
	assert_true(gw_port_usable(&port));
	assert_true(gw_port_reset_due(&port, 2 * S));
	assert_false(gw_port_usable(&port));
	assert_string_equal(calls(), "");

	assert_int_equal(gw_port_reset(&port, &cfg, &err), 0);
	assert_string_equal(calls(), "stop reset " SET_UP " " START);
	assert_true(gw_port_usable(&port));
	assert_int_equal(port.reset.done, 1);
	assert_string_equal(port.note, note);
	assert_false(gw_port_reset_due(&port, 3 * S));

	/* and once more */
	event(RTE_ETH_EVENT_INTR_RESET);
	assert_true(gw_port_reset_due(&port, 4 * S));
	assert_int_equal(gw_port_reset(&port, &cfg, &err), 0);
	assert_int_equal(port.reset.done, 2);
	gw_port_close(&port);
	assert_null(dev.cb[RTE_ETH_EVENT_INTR_RESET]);
}

/** Other events are none, and all reach their flag. */
static void
test_events(void **state)
{
	open_port("net_any");
	event(RTE_ETH_EVENT_INTR_LSC);
	assert_true(gw_port_link_event(&port));
	assert_false(gw_port_link_event(&port));
	assert_false(gw_port_reset_due(&port, 1 * S));
	/* a device that has gone is not reset any more */
	event(RTE_ETH_EVENT_INTR_RESET);
	event(RTE_ETH_EVENT_INTR_RMV);
	assert_false(gw_port_reset_due(&port, 1 * S));
	assert_false(gw_port_usable(&port));
	gw_port_close(&port);
}

/** Asked for twice before it is done: once. Asked for in its midst: once more. */
static void
test_asked_again(void **state)
{
	open_port("net_any");
	event(RTE_ETH_EVENT_INTR_RESET);
	assert_true(gw_port_reset_due(&port, 1 * S));
	event(RTE_ETH_EVENT_INTR_RESET);
	assert_int_equal(gw_port_reset(&port, &cfg, &err), 0);
	assert_false(gw_port_reset_due(&port, 2 * S));

	event(RTE_ETH_EVENT_INTR_RESET);
	assert_true(gw_port_reset_due(&port, 3 * S));
	dev.in_reset_event = true;
	assert_int_equal(gw_port_reset(&port, &cfg, &err), 0);
	assert_true(gw_port_reset_due(&port, 4 * S));
	gw_port_close(&port);
}

/** Each step may fail: the port stays away from workers, and all is done anew next time. */
static void
test_failures(void **state)
{
	static const char *const steps[] = {"reset", "mtu1500", "rxq", "txq", "start"};

	for (size_t i = 0; i < RTE_DIM(steps); i++) {
		open_port("net_any");
		event(RTE_ETH_EVENT_INTR_RESET);
		assert_true(gw_port_reset_due(&port, 1 * S));
		calls();
		dev.fail = steps[i];
		dev.fail_rc = -EIO;
		assert_int_equal(gw_port_reset(&port, &cfg, &err), -EIO);
		assert_non_null(strstr(err.text, "port \"wan\""));
		assert_non_null(strstr(err.text, "Input/output error"));
		assert_non_null(strstr(calls(), steps[i]));
		assert_false(gw_port_usable(&port));
		assert_false(port.started);
		assert_int_equal(gw_port_reset_failed(&port, 1 * S), 1);
		assert_false(gw_port_reset_due(&port, 2 * S - 1));
		assert_true(gw_port_reset_due(&port, 2 * S));

		dev.fail = NULL;
		assert_int_equal(gw_port_reset(&port, &cfg, &err), 0);
		/* it is stopped already */
		assert_string_equal(calls(), "reset " SET_UP " " START);
		assert_true(gw_port_usable(&port));
		assert_int_equal(port.reset.failed, 0);
		gw_port_close(&port);
	}
}

static void
test_back_off(void **state)
{
	static const unsigned int want[] = {1, 2, 4, 8, 16, 30, 30, 30};
	uint64_t now = 100 * S;

	open_port("net_any");
	event(RTE_ETH_EVENT_INTR_RESET);
	assert_true(gw_port_reset_due(&port, now));
	for (size_t i = 0; i < RTE_DIM(want); i++) {
		assert_int_equal(gw_port_reset_failed(&port, now), want[i]);
		now += want[i] * S;
		assert_false(gw_port_reset_due(&port, now - 1));
		assert_true(gw_port_reset_due(&port, now));
	}
	gw_port_close(&port);
}

/** A driver without a reset is stopped, configured and started; one that does not stop is reset. */
static void
test_drivers_differ(void **state)
{
	open_port("net_any");
	calls();
	event(RTE_ETH_EVENT_INTR_RESET);
	assert_true(gw_port_reset_due(&port, 1 * S));
	dev.fail = "reset";
	dev.fail_rc = -ENOTSUP;
	assert_int_equal(gw_port_reset(&port, &cfg, &err), 0);
	assert_string_equal(calls(), "stop reset " SET_UP " " START);
	assert_int_equal(port.reset.done, 1);

	event(RTE_ETH_EVENT_INTR_RESET);
	assert_true(gw_port_reset_due(&port, 1 * S));
	dev.fail = "stop";
	dev.fail_rc = -EIO;
	assert_int_equal(gw_port_reset(&port, &cfg, &err), 0);
	dev.fail = NULL;
	gw_port_close(&port);
}

/** It comes back with fewer queues: what workers get to see follows, and the note. */
static void
test_fewer_queues(void **state)
{
	open_port("net_any");
	event(RTE_ETH_EVENT_INTR_RESET);
	assert_true(gw_port_reset_due(&port, 1 * S));
	dev.max_queues = 1;
	assert_int_equal(gw_port_reset(&port, &cfg, &err), 0);
	assert_int_equal(port.n_rxq, 1);
	assert_int_equal(port.n_txq, 1);
	assert_non_null(strstr(port.note, "1 queue for 4 workers"));
	assert_null(strstr(port.note, "2 queues"));
	gw_port_close(&port);
}

/** ENA says nothing where it ignores the key: it is asked after each start. */
static void
test_ena_key(void **state)
{
	open_port("net_ena");
	assert_true(port.is_ena);
	assert_string_equal(calls(), SET_UP " " START " key");
	assert_int_not_equal(dev.conf.rxmode.offloads & RTE_ETH_RX_OFFLOAD_RSS_HASH, 0);
	assert_null(strstr(port.note, "RSS key"));

	dev.takes_key = false;
	event(RTE_ETH_EVENT_INTR_RESET);
	assert_true(gw_port_reset_due(&port, 1 * S));
	assert_int_equal(gw_port_reset(&port, &cfg, &err), 0);
	assert_non_null(strstr(port.note, "takes no RSS key"));
	gw_port_close(&port);

	/* others are not asked */
	open_port("net_any");
	assert_null(strstr(calls(), "key"));
	gw_port_close(&port);
}

/** The NIC's hash comes with each packet where it can, and where there is more than one queue. */
static void
test_hash(void **state)
{
	open_port("net_any");
	assert_int_equal(dev.conf.rxmode.mq_mode, RTE_ETH_MQ_RX_RSS);
	assert_true(dev.conf.rxmode.offloads == RTE_ETH_RX_OFFLOAD_RSS_HASH);
	assert_true(port.rx_offloads == RTE_ETH_RX_OFFLOAD_RSS_HASH);
	/* and no longer after it came back with one queue: there is no RSS then */
	event(RTE_ETH_EVENT_INTR_RESET);
	assert_true(gw_port_reset_due(&port, 1 * S));
	dev.max_queues = 1;
	assert_int_equal(gw_port_reset(&port, &cfg, &err), 0);
	assert_int_equal(dev.conf.rxmode.mq_mode, RTE_ETH_MQ_RX_NONE);
	assert_true(dev.conf.rxmode.offloads == 0);
	assert_true(port.rx_offloads == 0);
	gw_port_close(&port);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_reset),
			cmocka_unit_test(test_events),
			cmocka_unit_test(test_asked_again),
			cmocka_unit_test(test_failures),
			cmocka_unit_test(test_back_off),
			cmocka_unit_test(test_drivers_differ),
			cmocka_unit_test(test_fewer_queues),
			cmocka_unit_test(test_ena_key),
			cmocka_unit_test(test_hash),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
