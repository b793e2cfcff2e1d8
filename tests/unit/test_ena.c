/* SPDX-License-Identifier: BSD-3-Clause */

/* drivers/ena_tweaks on plain structs and calls that are faked here: no EAL, no device. */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include <rte_errno.h>
#include <rte_timer.h>

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
	/* without RSS_HASH the PMD refuses to touch the redirection table */
	assert_int_equal(out.conf.rxmode.offloads,
			RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_RSS_HASH);
	/* ethdev refuses it where RSS is off */
	assert_int_equal(conf(&info, 1500, 1, key, &out), 0);
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
			{2511,
					"llq_policy=2,miss_txc_to=5,control_path_poll_interval=0,"
					"enable_frag_bypass=1\n"},
			{2611,
					"llq_policy=2,miss_txc_to=5,control_path_poll_interval=0,"
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

/* The port while it runs */

static struct {
	int rss_rc;
	uint8_t key[40];
	unsigned int inits, fins, manages;
	int init_rc;
	/* extended statistics by id + 100; NULL: the device has none there */
	const char *name[8];
	uint64_t value[8];
	bool xstats_fail;
} dev;

int
rte_eth_dev_rss_hash_conf_get(uint16_t port_id, struct rte_eth_rss_conf *conf)
{
	assert_int_equal(port_id, 3);
	assert_int_equal(conf->rss_key_len, sizeof(dev.key));
	if (dev.rss_rc == 0)
		memcpy(conf->rss_key, dev.key, sizeof(dev.key));
	return dev.rss_rc;
}

int
rte_timer_subsystem_init(void)
{
	dev.inits++;
	return dev.init_rc;
}

void
rte_timer_subsystem_finalize(void)
{
	dev.fins++;
}

int
rte_timer_manage(void)
{
	dev.manages++;
	return 0;
}

int
rte_eth_xstats_get_id_by_name(uint16_t port_id, const char *name, uint64_t *id)
{
	assert_int_equal(port_id, 3);
	for (size_t i = 0; i < RTE_DIM(dev.name); i++) {
		if (dev.name[i] != NULL && strcmp(dev.name[i], name) == 0) {
			*id = 100 + i;
			return 0;
		}
	}
	return -EINVAL;
}

int
rte_eth_xstats_get_by_id(uint16_t port_id, const uint64_t *ids, uint64_t *values, unsigned int size)
{
	if (dev.xstats_fail)
		return -EIO;
	for (unsigned int i = 0; i < size; i++) {
		assert_in_range(ids[i], 100, 100 + RTE_DIM(dev.name) - 1);
		values[i] = dev.value[ids[i] - 100];
	}
	return size;
}

static void
test_key_note(void **state)
{
	memcpy(dev.key, key, sizeof(key));
	assert_null(ena_rss_key_note(3, key));
	dev.key[39] ^= 1;
	assert_non_null(strstr(ena_rss_key_note(3, key), "another RSS key"));
	dev.rss_rc = -ENOTSUP;
	assert_non_null(strstr(ena_rss_key_note(3, key), "makes its own"));
	dev.rss_rc = 0;
}

static void
test_watchdog(void **state)
{
	assert_int_equal(ena_watchdog_init(), 0);
	dev.init_rc = -EALREADY; /* the PMD was first */
	assert_int_equal(ena_watchdog_init(), 0);
	dev.init_rc = -ENOMEM;
	assert_int_equal(ena_watchdog_init(), -ENOMEM);
	assert_int_equal(dev.inits, 3);
	ena_watchdog_tick();
	ena_watchdog_tick();
	assert_int_equal(dev.manages, 2);
	ena_watchdog_fini();
	assert_int_equal(dev.fins, 1);
}

static enum ena_wc
wc(const char *resource, const char *memtypes)
{
	FILE *r = fmemopen((void *)(uintptr_t)resource, strlen(resource), "r");
	FILE *m = fmemopen((void *)(uintptr_t)memtypes, strlen(memtypes), "r");
	enum ena_wc found;

	assert_non_null(r);
	assert_non_null(m);
	found = ena_wc_check(r, m);
	fclose(r);
	fclose(m);
	return found;
}

#define BAR0 "0x0000000080000000 0x0000000080003fff 0x0000000000040200\n"
#define NO_BAR "0x0000000000000000 0x0000000000000000 0x0000000000000000\n"
#define RESOURCE BAR0 NO_BAR "0x0000000081000000 0x00000000810fffff 0x000000000014220c\n" NO_BAR

static void
test_wc(void **state)
{
	/* as kernels since 5.7 write it, and as those before did */
	assert_int_equal(
			wc(RESOURCE,
					"PAT memtype list:\n"
					"PAT: [mem 0x0000000081000000-0x0000000081100000] write-combining\n"),
			ENA_WC_YES);
	assert_int_equal(wc(RESOURCE, "write-combining @ 0x81000000-0x81100000\n"), ENA_WC_YES);
	assert_int_equal(
			wc(RESOURCE, "PAT: [mem 0x0000000081000000-0x0000000081100000] uncached-minus\n"),
			ENA_WC_NO);
	assert_int_equal(wc(RESOURCE,
					 "uncached-minus @ 0x81000000-0x81100000\n"
					 "write-combining @ 0x81080000-0x81081000\n"),
			ENA_WC_YES);
	/* of others, before and behind it */
	assert_int_equal(wc(RESOURCE,
					 "write-combining @ 0x80f00000-0x81000000\n"
					 "uncached-minus @ 0x81100000-0x81200000\n"),
			ENA_WC_UNKNOWN);
	assert_int_equal(wc(RESOURCE, "PAT memtype list:\n"), ENA_WC_UNKNOWN);
	assert_int_equal(wc(BAR0 NO_BAR NO_BAR, "write-combining @ 0x0-0x81100000\n"),
			ENA_WC_NO_BAR);
	assert_int_equal(wc(BAR0, "x\n"), ENA_WC_NO_BAR);

	assert_null(ena_wc_advice(ENA_WC_YES));
	assert_null(ena_wc_advice(ENA_WC_UNKNOWN));
	assert_non_null(strstr(ena_wc_advice(ENA_WC_NO), "wc_activate=1"));
	assert_non_null(strstr(ena_wc_advice(ENA_WC_NO_BAR), "no memory"));
}

static void
test_allowances(void **state)
{
	struct ena_allowances a;

	dev.name[1] = "ena_srd_tx_pkts";
	dev.name[4] = "bw_in_allowance_exceeded";
	dev.name[6] = "conntrack_allowance_available";
	dev.name[7] = "rx_good_packets";
	dev.value[1] = 7;
	dev.value[4] = 1000;
	dev.value[6] = 50000;
	ena_allowances_open(&a, 3);
	assert_int_equal(a.n, 3);
	assert_string_equal(a.row[0].info->name, "bw_in_allowance_exceeded");
	assert_string_equal(a.row[1].info->name, "conntrack_allowance_available");
	assert_string_equal(a.row[2].info->name, "ena_srd_tx_pkts");

	/* what was before does not count */
	dev.value[4] += 30;
	dev.value[6] = 40000;
	assert_true(ena_allowances_sample(&a, 2.0));
	assert_int_equal(a.row[0].delta, 30);
	assert_int_equal(a.row[0].value, 30);
	assert_true(a.row[0].rate == 15.0);
	assert_int_equal(a.row[1].value, 40000);
	assert_int_equal(a.row[1].delta, 0);
	assert_int_equal(a.row[2].value, 0);

	dev.value[4] += 5;
	assert_true(ena_allowances_sample(&a, 1.0));
	assert_int_equal(a.row[0].delta, 5);
	assert_int_equal(a.row[0].value, 35);

	/* the device begins anew; a smaller gauge is none */
	dev.value[4] = 2;
	dev.value[6] = 1;
	assert_true(ena_allowances_sample(&a, 1.0));
	assert_int_equal(a.row[0].delta, 2);
	assert_int_equal(a.row[0].value, 37);
	assert_int_equal(a.row[1].value, 1);

	/* nothing read, nothing new */
	dev.xstats_fail = true;
	assert_false(ena_allowances_sample(&a, 1.0));
	assert_int_equal(a.row[0].delta, 0);
	dev.xstats_fail = false;
	assert_false(ena_allowances_sample(&a, 0));

	memset(dev.name, 0, sizeof(dev.name));
	ena_allowances_open(&a, 3);
	assert_int_equal(a.n, 0);
	assert_false(ena_allowances_sample(&a, 1.0));
}

static void
test_allowance_table(void **state)
{
	for (unsigned int i = 0; i < ENA_N_ALLOWANCES; i++) {
		const struct ena_allowance_info *info = &ena_allowance_info[i];

		assert_non_null(info->name);
		assert_true(strlen(info->what) > 0);
		assert_int_equal(info->kind == ENA_LIMIT, strlen(info->remedy) > 0);
		assert_int_equal(info->kind == ENA_LIMIT, strstr(info->name, "_exceeded") != NULL);
	}
}

static void
test_warn(void **state)
{
	const uint64_t s = 1000000000;
	struct ena_warn w = {.said = false};

	assert_int_equal(ena_warn_due(&w, 0, 5 * s), 0);
	assert_int_equal(ena_warn_due(&w, 3, 6 * s), 3); /* the first at once */
	assert_int_equal(ena_warn_due(&w, 4, 7 * s), 0);
	assert_int_equal(ena_warn_due(&w, 0, 8 * s), 0);
	assert_int_equal(ena_warn_due(&w, 5, 65 * s), 0);
	assert_int_equal(ena_warn_due(&w, 0, 66 * s), 9); /* then the sum, a minute later */
	assert_int_equal(ena_warn_due(&w, 0, 600 * s), 0);
	assert_int_equal(ena_warn_due(&w, 1, 601 * s), 1);
}

/* Flows */

static struct ena_flow
flow(uint32_t daddr, uint16_t sport, uint16_t dport, double bps, const char *tag)
{
	struct ena_flow f;

	memset(&f, 0, sizeof(f));
	f.tuple.family = AF_INET;
	f.tuple.saddr.ip4 = rte_cpu_to_be_32(0x0a000001);
	f.tuple.daddr.ip4 = rte_cpu_to_be_32(daddr);
	f.tuple.sport = sport;
	f.tuple.dport = dport;
	f.bps = bps;
	f.n_sas = 1;
	f.tag = tag;
	return f;
}

static const struct ena_flow *
find_flow(const struct ena_flow *f, unsigned int n, uint32_t daddr, uint16_t sport)
{
	for (unsigned int i = 0; i < n; i++)
		if (f[i].tuple.daddr.ip4 == rte_cpu_to_be_32(daddr) && f[i].tuple.sport == sport)
			return &f[i];
	fail_msg("no flow to %x from port %u", daddr, sport);
	return NULL;
}

static void
test_flows(void **state)
{
	static const char *const tag[] = {"a", "b", "c", "d", "e", "f"};
	struct ena_flow f[] = {/* plain ESP: one flow, whatever the SPI */
			flow(2, 0, 0, 2e9, tag[0]), flow(2, 0, 0, 3e9, tag[1]),
			flow(2, 0, 0, 1e9, tag[2]),
			/* to another peer */
			flow(3, 0, 0, 1e9, tag[3]),
			/* in UDP: by port */
			flow(2, 50000, 4500, 2e9, tag[4]), flow(2, 50001, 4500, 2e9, tag[5])};
	const struct ena_flow *plain;
	unsigned int n = ena_flows_merge(f, RTE_DIM(f));

	assert_int_equal(n, 4);
	plain = find_flow(f, n, 2, 0);
	assert_true(plain->bps == 6e9);
	assert_int_equal(plain->n_sas, 3);
	assert_ptr_equal(plain->tag, tag[1]); /* which carries most */
	assert_true(find_flow(f, n, 3, 0)->bps == 1e9);
	assert_true(find_flow(f, n, 2, 50000)->bps == 2e9);
	assert_true(find_flow(f, n, 2, 50001)->bps == 2e9);
	assert_int_equal(ena_flows_merge(f, 0), 0);
	assert_int_equal(ena_flows_merge(f, 1), 1);
}

static void
test_flow_parts(void **state)
{
	/* each part of the tuple makes another flow */
	struct ena_flow f[6];

	for (unsigned int i = 0; i < RTE_DIM(f); i++)
		f[i] = flow(2, 50000, 4500, 1e9, NULL);
	f[1].tuple.saddr.ip4++;
	f[2].tuple.daddr.ip4++;
	f[3].tuple.sport++;
	f[4].tuple.dport++;
	f[5].tuple.family = AF_INET6;
	assert_int_equal(ena_flows_merge(f, RTE_DIM(f)), RTE_DIM(f));
}

static void
test_flow_near(void **state)
{
	assert_int_equal(ena_flow_near(0), 0);
	assert_int_equal(ena_flow_near(4.4e9), 0);
	assert_int_equal(ena_flow_near(4.6e9), 5);
	assert_int_equal(ena_flow_near(5.2e9), 5);
	assert_int_equal(ena_flow_near(7e9), 0); /* so it has not that limit */
	assert_int_equal(ena_flow_near(9.1e9), 10);
	assert_int_equal(ena_flow_near(15e9), 0);
	assert_int_equal(ena_flow_near(24e9), 25);
	assert_int_equal(ena_flow_near(40e9), 0);
}

/* The hash */

static void
test_hash(void **state)
{
	static const uint8_t k[40] = {0xf3, 0x3e, 0x31, 0x43, 0xff, 0x36, 0x94, 0x49, 0xee, 0x16,
			0x00, 0x17, 0xd8, 0xc9, 0xcb, 0xe8, 0x6e, 0x5d, 0xaa, 0x51, 0x80, 0x9d,
			0x0d, 0x32, 0x95, 0x1a, 0xe1, 0x66, 0x2a, 0x81, 0x97, 0x92, 0x52, 0xdb,
			0x55, 0x82, 0x9e, 0x73, 0x3f, 0xf5};
	struct ipsec_pcpu_tuple t, back;
	uint8_t reversed[40];
	uint32_t hash;

	memset(&t, 0, sizeof(t));
	t.family = AF_INET;
	t.saddr.ip4 = RTE_BE32(0xc0000202);
	t.daddr.ip4 = RTE_BE32(0xc0000201);
	t.sport = 50123;
	t.dport = 4500;
	hash = ipsec_pcpu_tuple_hash(k, &t);
	assert_int_equal(ena_hash_check(k, &t, &hash), ENA_HASH_SAME);
	assert_int_equal(ena_hash_check(NULL, &t, &hash), ENA_HASH_KEY_UNKNOWN);
	assert_int_equal(ena_hash_check(k, &t, NULL), ENA_HASH_NONE);
	hash++;
	assert_int_equal(ena_hash_check(k, &t, &hash), ENA_HASH_DIFFERS);

	for (unsigned int i = 0; i < 40; i++)
		reversed[i] = k[39 - i];
	hash = ipsec_pcpu_tuple_hash(reversed, &t);
	assert_int_equal(ena_hash_check(k, &t, &hash), ENA_HASH_KEY_REVERSED);

	back = t;
	back.saddr = t.daddr;
	back.daddr = t.saddr;
	back.sport = t.dport;
	back.dport = t.sport;
	hash = ipsec_pcpu_tuple_hash(k, &back);
	assert_int_equal(ena_hash_check(k, &t, &hash), ENA_HASH_SWAPPED);

	for (int v = ENA_HASH_NONE; v <= ENA_HASH_DIFFERS; v++)
		assert_true(strlen(ena_hash_text((enum ena_hash)v)) > 0);
	assert_non_null(strstr(ena_hash_text(ENA_HASH_DIFFERS), "otherwise than reckoned"));
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
			cmocka_unit_test(test_key_note),
			cmocka_unit_test(test_watchdog),
			cmocka_unit_test(test_wc),
			cmocka_unit_test(test_allowances),
			cmocka_unit_test(test_allowance_table),
			cmocka_unit_test(test_warn),
			cmocka_unit_test(test_flows),
			cmocka_unit_test(test_flow_parts),
			cmocka_unit_test(test_flow_near),
			cmocka_unit_test(test_hash),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
