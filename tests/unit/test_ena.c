/* SPDX-License-Identifier: BSD-3-Clause */

/* drivers/ena_tweaks through plain structs: no EAL, no device. */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <ena_tweaks.h>

static const uint8_t key[40] = {1, 2, 3};

/* As dpdk 22.11's ena reports on a c6in. */
static struct rte_eth_dev_info
ena_info(void)
{
	struct rte_eth_dev_info info;

	memset(&info, 0, sizeof(info));
	info.driver_name = "net_ena";
	info.min_mtu = 128;
	info.max_mtu = 9216;
	info.max_rx_queues = info.max_tx_queues = 32;
	info.hash_key_size = 40;
	info.reta_size = 128;
	info.flow_type_rss_offloads = 0xc30;
	info.rx_offload_capa = RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_SCATTER |
			RTE_ETH_RX_OFFLOAD_RSS_HASH;
	info.tx_offload_capa = RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE | RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
	info.default_txconf.tx_free_thresh = 64;
	info.default_txconf.offloads = RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
	return info;
}

static int
conf(const struct rte_eth_dev_info *info, uint16_t mtu, uint16_t n_queues, const uint8_t *rss_key,
		struct ena_conf_out *out)
{
	struct ena_conf_in in = {
			.info = info, .mtu = mtu, .n_queues = n_queues, .rss_key = rss_key};

	memset(out, 0xa5, sizeof(*out));
	return ena_port_conf(&in, out);
}

static void
test_name(void **state)
{
	assert_true(ena_is_ena("net_ena"));
	assert_false(ena_is_ena("net_enatte"));
	assert_false(ena_is_ena("net_ena0"));
	assert_false(ena_is_ena("ena"));
	assert_false(ena_is_ena(""));
	assert_false(ena_is_ena(NULL));
}

static void
test_rss(void **state)
{
	struct rte_eth_dev_info info = ena_info();
	struct ena_conf_out out;

	assert_int_equal(conf(&info, 1500, 4, key, &out), 0);
	assert_int_equal(out.conf.rxmode.mq_mode, RTE_ETH_MQ_RX_RSS);
	assert_int_equal(out.conf.rx_adv_conf.rss_conf.rss_hf, 0xc30);
	assert_ptr_equal(out.conf.rx_adv_conf.rss_conf.rss_key, key);
	assert_int_equal(out.conf.rx_adv_conf.rss_conf.rss_key_len, 40);
	assert_null(out.note);

	/* more offered than ENA has ever had: still only what we know of */
	info.flow_type_rss_offloads = UINT64_MAX;
	assert_int_equal(conf(&info, 1500, 2, key, &out), 0);
	assert_int_equal(out.conf.rx_adv_conf.rss_conf.rss_hf, 0xc30);

	/* fewer */
	info.flow_type_rss_offloads = RTE_ETH_RSS_NONFRAG_IPV4_UDP | RTE_ETH_RSS_ESP;
	assert_int_equal(conf(&info, 1500, 2, key, &out), 0);
	assert_int_equal(out.conf.rx_adv_conf.rss_conf.rss_hf, RTE_ETH_RSS_NONFRAG_IPV4_UDP);

	/* none: not RSS mode, and it says so */
	info.flow_type_rss_offloads = 0;
	assert_int_equal(conf(&info, 1500, 2, key, &out), 0);
	assert_int_equal(out.conf.rxmode.mq_mode, RTE_ETH_MQ_RX_NONE);
	assert_int_equal(out.conf.rx_adv_conf.rss_conf.rss_hf, 0);
	assert_non_null(out.note);
}

static void
test_one_queue(void **state)
{
	struct rte_eth_dev_info info = ena_info();
	struct ena_conf_out out;

	assert_int_equal(conf(&info, 1500, 1, key, &out), 0);
	assert_int_equal(out.conf.rxmode.mq_mode, RTE_ETH_MQ_RX_NONE);
	assert_int_equal(out.conf.rx_adv_conf.rss_conf.rss_hf, 0);
	assert_null(out.conf.rx_adv_conf.rss_conf.rss_key);
	assert_null(out.note);
	assert_int_equal(conf(&info, 1500, 0, key, &out), -EINVAL);
}

static void
test_key(void **state)
{
	static const uint8_t sizes[] = {0, 16, 52};
	struct rte_eth_dev_info info = ena_info();
	struct ena_conf_out out;

	assert_int_equal(conf(&info, 1500, 2, NULL, &out), 0);
	assert_null(out.conf.rx_adv_conf.rss_conf.rss_key);
	assert_int_equal(out.conf.rx_adv_conf.rss_conf.rss_key_len, 0);
	assert_int_equal(out.conf.rx_adv_conf.rss_conf.rss_hf, 0xc30);
	assert_null(out.note);

	for (size_t i = 0; i < sizeof(sizes); i++) {
		info.hash_key_size = sizes[i];
		assert_int_equal(conf(&info, 1500, 2, key, &out), 0);
		assert_null(out.conf.rx_adv_conf.rss_conf.rss_key);
		assert_int_equal(out.conf.rxmode.mq_mode, RTE_ETH_MQ_RX_RSS);
		assert_non_null(out.note);
	}
}

static void
test_offloads(void **state)
{
	struct rte_eth_dev_info info = ena_info();
	struct ena_conf_out out;

	assert_int_equal(conf(&info, 1500, 2, key, &out), 0);
	assert_int_equal(out.conf.txmode.offloads, RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE);
	assert_int_equal(out.txconf.offloads, RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE);
	assert_int_equal(out.txconf.tx_free_thresh, 64);
	assert_int_equal(out.conf.rxmode.offloads, RTE_ETH_RX_OFFLOAD_IPV4_CKSUM);

	info.tx_offload_capa = 0;
	info.rx_offload_capa = RTE_ETH_RX_OFFLOAD_SCATTER;
	assert_int_equal(conf(&info, 1500, 2, key, &out), 0);
	assert_int_equal(out.conf.txmode.offloads, 0);
	assert_int_equal(out.txconf.offloads, 0);
	assert_int_equal(out.conf.rxmode.offloads, 0);
}

static void
test_mtu(void **state)
{
	struct rte_eth_dev_info info = ena_info();
	struct ena_conf_out out;

	assert_int_equal(conf(&info, 1500, 2, key, &out), 0);
	assert_int_equal(out.conf.rxmode.mtu, 1500);
	assert_int_equal(out.data_room, 2048 + RTE_PKTMBUF_HEADROOM);

	/* EC2's jumbo frames */
	assert_int_equal(conf(&info, 9001, 2, key, &out), 0);
	assert_int_equal(out.conf.rxmode.mtu, 9001);
	assert_int_equal(out.data_room, 9216 + RTE_PKTMBUF_HEADROOM);

	assert_int_equal(conf(&info, 9216, 2, key, &out), 0);
	assert_true(out.data_room >= 9216 + 18 + 48 + RTE_PKTMBUF_HEADROOM);
	assert_int_equal(conf(&info, 9217, 2, key, &out), -EINVAL);
	assert_int_equal(conf(&info, 127, 2, key, &out), -EINVAL);

	/* always the frame, its VLAN tag and ESP's tail in one mbuf */
	for (uint16_t mtu = 128; mtu <= 9216; mtu++) {
		assert_int_equal(conf(&info, mtu, 2, key, &out), 0);
		assert_true(out.data_room >= RTE_PKTMBUF_HEADROOM + mtu + 14 + 4 + 48);
	}
}

static const char *
devargs_line(unsigned int version, char *buf, size_t size)
{
	FILE *f = fmemopen(buf, size, "w");

	assert_non_null(f);
	assert_int_equal(ena_devargs_print(f, version), 0);
	fclose(f);
	return buf;
}

static void
test_devargs(void **state)
{
	static const struct {
		unsigned int version;
		const char *args;
	} want[] = {
			{2207, "\n"}, /* older than any that we build with */
			{2211, "large_llq_hdr=0,enable_llq=1,miss_txc_to=5\n"},
			{2311, "large_llq_hdr=0,enable_llq=1,miss_txc_to=5\n"},
			{2403, "large_llq_hdr=0,enable_llq=1,miss_txc_to=5\n"},
			{2407, "llq_policy=2,miss_txc_to=5\n"},
			{2411, "llq_policy=2,miss_txc_to=5,control_path_poll_interval=0\n"},
			{2507, "llq_policy=2,miss_txc_to=5,control_path_poll_interval=0\n"},
			{2511, "llq_policy=2,miss_txc_to=5,control_path_poll_interval=0,"
			       "enable_frag_bypass=1\n"},
			{2611, "llq_policy=2,miss_txc_to=5,control_path_poll_interval=0,"
			       "enable_frag_bypass=1\n"},
	};
	char text[4096];

	for (size_t i = 0; i < RTE_DIM(want); i++) {
		const char *line = devargs_line(want[i].version, text, sizeof(text));

		assert_memory_equal(line, want[i].args, strlen(want[i].args));
		/* all else is comments, one on each */
		for (line = strchr(line, '\n'); line[1] != '\0'; line = strchr(line + 1, '\n'))
			assert_memory_equal(line, "\n# ", 3);
	}
}

/** Each is explained, and none is given twice to any version. */
static void
test_devargs_table(void **state)
{
	const struct ena_devarg *args[16];

	for (unsigned int version = 2211; version < 2700; version++) {
		unsigned int n = ena_devargs(version, args, RTE_DIM(args));

		assert_true(n >= 1 && n < RTE_DIM(args));
		assert_int_equal(ena_devargs(version, args, 1), 1);
		n = ena_devargs(version, args, RTE_DIM(args));
		for (unsigned int i = 0; i < n; i++) {
			assert_true(args[i]->first <= args[i]->last);
			assert_int_equal(args[i]->why[strlen(args[i]->why) - 1], '.');
			for (unsigned int k = 0; k < i; k++)
				assert_string_not_equal(args[i]->name, args[k]->name);
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_name),
			cmocka_unit_test(test_rss),
			cmocka_unit_test(test_one_queue),
			cmocka_unit_test(test_key),
			cmocka_unit_test(test_offloads),
			cmocka_unit_test(test_mtu),
			cmocka_unit_test(test_devargs),
			cmocka_unit_test(test_devargs_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
