/* SPDX-License-Identifier: BSD-3-Clause */

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include <rte_eal.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>

#include "log.h"
#include "workers_site.h"

#define DEADLINE_NS UINT64_C(20000000000)
#define N_MBUFS 4095

static const struct rte_ether_addr lan_host = {{0x02, 0, 0, 0, 0x10, 0x02}};
static const struct rte_ether_addr wan_host = {{0x02, 0, 0, 0, 0x20, 0x02}};

struct site site;
const struct site_conf site_conf_full = {.workers = SITE_WORKERS,
		.queues = SITE_WORKERS,
		.pairs = SITE_WORKERS,
		.fallback = true};
static int turn_fd = -1; /* always readable: a turn of the control loop ends with it */

/** Ends the program: to TAP that is a success, with a reason. */
static __attribute__((noreturn)) void
skip_all(const char *why)
{
	printf("1..0 # SKIP %s\n", why);
	exit(EXIT_SUCCESS);
}

int
site_prepare(int argc, char **argv)
{
	if (unshare(CLONE_NEWNET) < 0 || access("/dev/net/tun", R_OK | W_OK) < 0)
		skip_all("needs root, network namespaces and /dev/net/tun");
	/* without duplicate detection addresses are there at once, not in 2 s */
	if (system("ip link set lo up && cd /proc/sys/net/ipv6/conf && "
		   "echo 0 >all/accept_dad && echo 0 >default/accept_dad") != 0)
		skip_all("needs iproute2");
	if (rte_eal_init(argc, argv) < 0)
		return 1;
	gw_log_init();
	cmocka_set_test_filter(getenv("CASE")); /* CASE=test_rekey: that one alone */
	if (rte_lcore_count() <= SITE_WORKERS)
		skip_all("needs 17 lcores: --lcores '(0-16)@(0-1)'");
	return 0;
}

int
site_main(int argc, char **argv, const struct CMUnitTest tests[], size_t n)
{
	int rc = site_prepare(argc, argv);

	if (rc != 0)
		return rc;
	rc = _cmocka_run_group_tests("tests", tests, n, NULL, NULL);
	rte_eal_cleanup();
	return rc;
}

unsigned int
site_flow_on(unsigned int queue)
{
	return pkt_random() % (PKT_FLOWS / SITE_WORKERS) * SITE_WORKERS + queue;
}

/* The gateway's configuration */

uint32_t
site_spi(enum ipsec_pcpu_dir dir, unsigned int pair, unsigned int gen)
{
	return (dir == IPSEC_PCPU_OUT ? 0xa0000000u : 0xb0000000u) | gen << 12 | pair;
}

static void
print_sa(FILE *f, enum ipsec_pcpu_dir dir, unsigned int pair)
{
	struct ipsec_pcpu_sa_params prm;

	peer_sa_params(&prm, dir, site_spi(dir, pair, 0), pair);
	fprintf(f, "%s = { spi = 0x%08x; sport = %u; dport = %u; key = \"",
			dir == IPSEC_PCPU_OUT ? "out" : "in", prm.spi, prm.encap_sport,
			prm.encap_dport);
	for (unsigned int i = 0; i < prm.algo->key_len; i++)
		fprintf(f, "%02x", prm.key[i]);
	fprintf(f, "\"; };\n");
}

static void
print_pair(FILE *f, unsigned int pair, bool first)
{
	fprintf(f, "%s{ pcpu = ", first ? "" : ",\n");
	if (pair == PEER_FALLBACK)
		fprintf(f, "\"any\";\n");
	else
		fprintf(f, "%u;\n", pair);
	print_sa(f, IPSEC_PCPU_OUT, pair);
	print_sa(f, IPSEC_PCPU_IN, pair);
	fprintf(f, "}");
}

static void
print_config(FILE *f, const struct site_conf *c)
{
	fprintf(f, "workers = %u; console = \"\"; max_sas = %u; mbufs = 16383;\n", c->workers,
			RTE_MAX(256u, c->ike * 8));
	if (c->state_file != NULL)
		fprintf(f, "state_file = \"%s\";\n", c->state_file);
	else
		fprintf(f, "allow_iv_reuse = true;\n");
	if (c->ike > 0)
		fprintf(f, "ike_socket = \"/run/none\"; ike_tunnels = %u;\n", c->ike);
	fprintf(f,
			"ports = (\n"
			"{ name = \"lan\"; device = \"net_ring_lan\";\n"
			"  addresses = [ \"10.1.0.1/24\", \"fd00:1::1/64\" ]; },\n"
			"{ name = \"wan\"; device = \"net_ring_wan\";\n"
			"  addresses = [ \"192.0.2.1/24\", \"fd00:2::1/64\" ]; });\n"
			"routes = (\n"
			"{ to = \"10.10.0.0/16\"; via = \"10.1.0.2\"; },\n"
			"{ to = \"fd00:10::/32\"; via = \"fd00:1::2\"; port = \"lan\"; },\n"
			"{ to = \"10.20.0.0/16\"; via = \"192.0.2.2\"; },\n"
			"{ to = \"fd00:20::/32\"; via = \"fd00:2::2\"; port = \"wan\"; });\n");
	if (c->ike > 0)
		return;
	fprintf(f,
			"tunnels = ( { name = \"t\"; local = \"192.0.2.1\"; remote = \"192.0.2.2\";\n"
			"replay_window = 4096;\n"
			"selectors = ( { local = \"10.10.0.0/16\"; remote = \"10.20.0.0/16\"; },\n"
			"{ local = \"fd00:10::/32\"; remote = \"fd00:20::/32\"; } );\n"
			"sas = (\n");
	for (unsigned int i = 0; i < c->pairs; i++)
		print_pair(f, i, i == 0);
	if (c->fallback)
		print_pair(f, PEER_FALLBACK, c->pairs == 0);
	fprintf(f, "); } );\n");
}

static void
parse_config(const struct site_conf *c, struct gw_config *cfg)
{
	struct gw_error err;
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	assert_non_null(f);
	print_config(f, c);
	fclose(f);
	if (gw_config_parse(text, "test", cfg, &err) < 0)
		fail_msg("%s\n%s", err.text, text);
	free(text);
}

/* Turns */

static void
on_turn(void *arg, uint32_t events)
{
	gw_quit(arg);
}

static void
lan_frame(struct rte_mbuf *m, unsigned int queue)
{
	const struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, const struct rte_ether_hdr *);
	struct pkt_tag tag;

	assert_true(rte_is_same_ether_addr(&eth->dst_addr, &lan_host));
	assert_true(rte_is_same_ether_addr(&eth->src_addr, &site.lan.mac));
	rte_pktmbuf_adj(m, sizeof(*eth));
	if (site.hostile) {
		site.other++;
		return;
	}
	tag = pkt_check(&site.log, PKT_IN, m);
	site.in[tag.pair][queue]++;
}

static void
clear_frame(const struct rte_mbuf *m)
{
	struct pkt_tag tag;

	if (site.may_be_clear == NULL)
		fail_msg("a protected packet left in clear");
	tag = pkt_check(&site.log, PKT_OUT, m);
	if (!site.may_be_clear(&tag))
		fail_msg("packet %u of flow %u left in clear", tag.seq, tag.flow);
	site.clear++;
}

static void
wan_frame(struct rte_mbuf *m, unsigned int queue)
{
	const struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, const struct rte_ether_hdr *);
	struct peer_sa *sa;
	struct pkt_tag tag;

	assert_true(rte_is_same_ether_addr(&eth->src_addr, &site.wan.mac));
	rte_pktmbuf_adj(m, sizeof(*eth));
	if (pkt_is_protected(rte_pktmbuf_mtod(m, const uint8_t *), m->data_len)) {
		clear_frame(m);
		return;
	}
	sa = peer_unseal(&site.peer, m, queue);
	if (site.hostile) {
		site.other += sa == NULL;
		return;
	}
	assert_non_null(sa);
	assert_true(rte_is_same_ether_addr(&eth->dst_addr, &wan_host));
	tag = pkt_check(&site.log, PKT_OUT, m);
	site.out[tag.queue][sa->pair]++;
	if (site.on_sent != NULL)
		site.on_sent(&tag, sa);
}

static void
collect(struct nic *nic, void (*frame)(struct rte_mbuf *m, unsigned int queue))
{
	struct rte_mbuf *pkts[NIC_BURST];
	unsigned int n;

	for (unsigned int q = 0; q < nic->n_queues; q++) {
		while ((n = nic_get(nic, q, pkts)) > 0) {
			for (unsigned int i = 0; i < n; i++) {
				const uint8_t *p = rte_pktmbuf_mtod(pkts[i], const uint8_t *);

				assert_true(pkts[i]->data_len >= 14);
				/* a NIC that frees in bulk would put it into the other pool */
				assert_ptr_not_equal(pkts[i]->pool, site.gw.large);
				if ((p[0] & 1) != 0)
					site.from_kernel++;
				else
					frame(pkts[i], q);
			}
			rte_pktmbuf_free_bulk(pkts, n);
		}
	}
}

static void
collect_all(void)
{
	collect(&site.lan, lan_frame);
	collect(&site.wan, wan_frame);
}

void
site_turn(void)
{
	gw_run(&site.gw);
	collect_all();
}

/** Outside: whatever time a test may make of it for the gateway. */
static uint64_t
real_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC_RAW, &ts);
	return ts.tv_sec * UINT64_C(1000000000) + ts.tv_nsec;
}

void
site_until(bool (*done)(void), const char *what)
{
	uint64_t deadline = real_ns() + DEADLINE_NS;

	while (!done()) {
		if (real_ns() > deadline)
			fail_msg("waited in vain: %s", what);
		site_turn();
		sched_yield();
	}
}

/* Counters */

uint64_t
site_sum_at(size_t offset)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < site.gw.n_workers; i++) {
		const char *c = (const char *)&site.gw.worker[i].w->counters;

		sum += __atomic_load_n(
				(const uint64_t *)(const void *)(c + offset), __ATOMIC_RELAXED);
	}
	return sum;
}

uint64_t
site_sa_packets(uint32_t spi)
{
	struct gw_sa *sa = gw_sa_find(&site.gw, spi);
	struct ipsec_pcpu_sa_stats st;

	assert_non_null(sa);
	ipsec_pcpu_sa_stats(sa->sa, &st);
	return st.packets;
}

static uint64_t
drops_of(const struct gw_counters *c)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < GW_N_DROPS; i++)
		sum += c->drop[i];
	for (unsigned int i = 0; i < IPSEC_PCPU_N_DROPS; i++)
		sum += c->esp_drop[i];
	return sum;
}

static uint64_t
came(const struct gw_counters *c)
{
	return c->rx + c->injected + c->created + c->handed_in;
}

static uint64_t
went(const struct gw_counters *c)
{
	return c->tx + c->punted + c->absorbed + c->handed_off + drops_of(c);
}

static void
sum_of(struct gw_counters *sum)
{
	memset(sum, 0, sizeof(*sum));
	for (size_t i = 0; i < sizeof(*sum) / sizeof(uint64_t); i++)
		((uint64_t *)sum)[i] = site_sum_at(i * sizeof(uint64_t));
}

static uint64_t
all_put(void)
{
	return site.lan.put + site.wan.put;
}

static bool
is_settled(void)
{
	struct gw_counters c;

	sum_of(&c);
	return c.rx == all_put() && c.handed_in == c.handed_off && came(&c) == went(&c) &&
			c.tx == site.lan.got + site.wan.got;
}

void
site_settle(void)
{
	site_until(is_settled, "packets are under way for too long");
}

/** All workers between two rounds, each at its own time. */
static void
barrier(void)
{
	struct gw_error err;

	assert_int_equal(gw_set_forwarding(&site.gw, site.gw.forwarding, &err), 0);
}

static bool
is_at_rest(void)
{
	struct gw_counters a, b;

	sum_of(&a);
	barrier();
	site_turn();
	sum_of(&b);
	return b.rx == all_put() && b.handed_in == b.handed_off && a.tx == b.tx &&
			a.punted == b.punted && b.tx == site.lan.got + site.wan.got;
}

void
site_come_to_rest(void)
{
	site_until(is_at_rest, "the gateway does not come to rest");
}

/* Sending */

static bool
has_room(void)
{
	struct gw_counters c;

	sum_of(&c);
	/* taken by workers, less what they still hold; the kernel's own frames do not count */
	return all_put() - c.rx + (came(&c) - went(&c)) < SITE_WINDOW;
}

static bool
has_room_hostile(void)
{
	return all_put() - site_sum(rx) < SITE_WINDOW;
}

void
site_ether(struct nic *nic, struct rte_mbuf *m)
{
	uint8_t version = *rte_pktmbuf_mtod(m, uint8_t *) >> 4;
	struct rte_ether_hdr *eth;

	eth = (struct rte_ether_hdr *)rte_pktmbuf_prepend(m, sizeof(*eth));
	assert_non_null(eth);
	eth->dst_addr = nic->mac;
	eth->src_addr = nic == &site.lan ? lan_host : wan_host;
	eth->ether_type = version == 6 ? RTE_BE16(RTE_ETHER_TYPE_IPV6)
				       : RTE_BE16(RTE_ETHER_TYPE_IPV4);
}

void
site_put(struct nic *nic, unsigned int queue, struct rte_mbuf *m)
{
	if (all_put() % NIC_BURST == 0) {
		site_turn();
		site_until(site.hostile ? has_room_hostile : has_room, "no room for more packets");
	}
	assert_true(nic_put(nic, queue, m));
}

void
site_send_out(unsigned int flow, unsigned int queue)
{
	struct rte_mbuf *m = pkt_make(&site.log, site.pool, PKT_OUT, flow, queue, 0);

	site_ether(&site.lan, m);
	site_put(&site.lan, queue, m);
}

void
site_send_in(unsigned int flow, uint32_t spi, unsigned int queue)
{
	struct peer_sa *sa = peer_find(&site.peer, spi);
	struct rte_mbuf *m;

	assert_non_null(sa);
	m = pkt_make(&site.log, site.pool, PKT_IN, flow, queue, sa->pair);
	peer_seal(&site.peer, sa, m);
	site_ether(&site.wan, m);
	site_put(&site.wan, queue, m);
}

/* Up and down */

void
site_sh(const char *fmt, ...)
{
	char cmd[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(cmd, sizeof(cmd), fmt, ap);
	va_end(ap);
	if (system(cmd) != 0)
		fail_msg("failed: %s", cmd);
}

static bool
neighbours_known(void)
{
	static const char *const at[] = {"10.10.1.1", "fd00:10::1", "192.0.2.2", "fd00:20::1"};
	struct gw_addr a = {.family = 0};

	for (unsigned int i = 0; i < RTE_DIM(at); i++) {
		assert_int_equal(gw_addr_parse(at[i], &a), 0);
		if (gw_view_route(site.gw.view, &a)->kind != GW_NH_ETHER)
			return false;
	}
	return site.conf.ike || site.gw.view->nh[site.gw.view->tunnel[0].nh].kind == GW_NH_ETHER;
}

static void
add_neighbours(void)
{
	site_sh("ip neigh replace 10.1.0.2 lladdr 02:00:00:00:10:02 dev lan nud permanent");
	site_sh("ip neigh replace fd00:1::2 lladdr 02:00:00:00:10:02 dev lan nud permanent");
	site_sh("ip neigh replace 192.0.2.2 lladdr 02:00:00:00:20:02 dev wan nud permanent");
	site_sh("ip neigh replace fd00:2::2 lladdr 02:00:00:00:20:02 dev wan nud permanent");
	site_until(neighbours_known, "neighbours do not become known");
}

static void
add_pair(unsigned int pair)
{
	peer_add(&site.peer, IPSEC_PCPU_OUT, site_spi(IPSEC_PCPU_OUT, pair, 0), pair);
	peer_add(&site.peer, IPSEC_PCPU_IN, site_spi(IPSEC_PCPU_IN, pair, 0), pair);
}

void
site_start(const struct site_conf *conf)
{
	struct gw_config cfg;
	struct gw_error err;

	memset(&site, 0, sizeof(site));
	site.conf = *conf;
	/*
	 * No caches: workers free these packets, and a cache would keep them. And no
	 * plain ring: on one, who is preempted halfway keeps all others waiting, and
	 * here 16 threads share two CPUs.
	 */
	site.pool = rte_pktmbuf_pool_create_by_ops("nic", N_MBUFS, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE,
			SOCKET_ID_ANY, "ring_mt_rts");
	assert_non_null(site.pool);
	nic_open(&site.lan, "lan", conf->queues, 0x0a);
	nic_open(&site.wan, "wan", conf->queues, 0x0b);
	peer_open(&site.peer);
	for (unsigned int i = 0; i < conf->pairs; i++)
		add_pair(i);
	if (conf->fallback)
		add_pair(PEER_FALLBACK);
	parse_config(conf, &cfg);
	if (gw_init(&site.gw, &cfg, &err) < 0)
		fail_msg("%s", err.text);
	site.running = true;
	assert_int_equal(site.gw.n_workers, conf->workers);
	turn_fd = eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC);
	assert_true(turn_fd >= 0);
	assert_int_equal(gw_loop_add(site.gw.loop, turn_fd, EPOLLIN, on_turn, &site.gw), 0);
	add_neighbours();
}

static void
check_worker(unsigned int id)
{
	const struct gw_counters *c = &site.gw.worker[id].w->counters;

	if (came(c) != went(c))
		fail_msg("worker %u: %" PRIu64 " came, %" PRIu64 " went", id, came(c), went(c));
	assert_int_equal(c->drop[GW_DROP_NO_MBUF], 0);
	if (!site.goes_down)
		assert_int_equal(c->drop[GW_DROP_PORT_GONE], 0);
	assert_int_equal(c->esp_drop[IPSEC_PCPU_DROP_NOT_OWNER], 0);
	assert_int_equal(c->esp_drop[IPSEC_PCPU_DROP_CRYPTO], 0);
	assert_int_equal(c->esp_drop[IPSEC_PCPU_DROP_NO_ROOM], 0);
}

uint64_t
site_kernel_lost(void)
{
	/* all that is injected is the kernel's: no neighbour is looked for where ports go down */
	return site.goes_down ? site_sum(injected) - site.from_kernel : 0;
}

static void
check_drops(const struct gw_counters *c)
{
	uint64_t kernel_lost = site_kernel_lost();

	site.drop[GW_DROP_PORT_GONE] += kernel_lost;
	for (unsigned int i = 0; i < GW_N_DROPS; i++)
		if (c->drop[i] != site.drop[i])
			fail_msg("%s: %" PRIu64 " dropped, not %" PRIu64, gw_drop_info[i].name,
					c->drop[i], site.drop[i]);
	for (unsigned int i = 0; i < IPSEC_PCPU_N_DROPS; i++)
		if (c->esp_drop[i] != site.esp_drop[i])
			fail_msg("%s: %" PRIu64 " dropped, not %" PRIu64,
					ipsec_pcpu_drop_info[i].name, c->esp_drop[i],
					site.esp_drop[i]);
	assert_int_equal(c->handed_off,
			c->handed_off_esp + c->handed_off_fallback + c->handed_off_spread +
					c->handed_off_fragments + c->handed_off_again);
	/* and so nothing was lost without a name */
	assert_int_equal(site.log.sent + kernel_lost, site.log.got + drops_of(c));
}

static void
check_counters(void)
{
	struct gw_counters c;

	sum_of(&c);
	for (unsigned int i = 0; i < site.gw.n_workers; i++)
		check_worker(i);
	assert_int_equal(c.rx, all_put());
	assert_int_equal(c.tx, site.lan.got + site.wan.got);
	assert_int_equal(c.handed_off, c.handed_in);
	assert_int_equal(
			c.rx + c.injected + c.created, c.tx + c.punted + c.absorbed + drops_of(&c));
	if (!site.hostile)
		check_drops(&c);
}

static void
close_all(void)
{
	nic_close(&site.lan);
	nic_close(&site.wan);
	peer_close(&site.peer);
	rte_mempool_free(site.pool);
	close(turn_fd);
	turn_fd = -1;
	site.pool = NULL;
}

void
site_stop_now(void)
{
	struct gw_totals totals;

	gw_workers_stop(&site.gw);
	collect_all();
	site.log.sent -= nic_withdraw(&site.lan) + nic_withdraw(&site.wan);
	check_counters();
	gw_fini(&site.gw, &totals);
	site.running = false;
	assert_int_equal(totals.mbufs_leaked, 0);
	assert_int_equal(rte_mempool_in_use_count(site.pool), 0);
	close_all();
}

void
site_stop(void)
{
	if (!site.hostile)
		site_settle();
	site_stop_now();
}

int
site_teardown(void **state)
{
	if (site.running)
		gw_fini(&site.gw, NULL);
	site.running = false;
	if (site.pool != NULL)
		close_all();
	return 0;
}
