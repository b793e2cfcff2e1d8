/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * app/control/ena.c: what is asked of devices each second, and what is said of it. The
 * clock and the calls to DPDK are played here, what it logs is read back.
 */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include <cmocka.h>

#include <rte_ethdev.h>
#include <rte_timer.h>

#include "control/control_priv.h"

#define N_SAS 4

static struct {
	uint64_t now_ns;
	uint64_t dropped; /* by AWS, on the ENA port */
	unsigned int manages, inits, fins, reads;
	char *log;
	size_t log_len;
	FILE *f;
} world;

static struct gw gw;
static struct gw_view view;
static struct gw_tunnel tunnel;
static struct gw_config_tunnel cfg = {.name = "paris"};
static struct gw_tunnel_view tunnel_view;
static struct gw_nexthop nh[2];
static struct gw_sa sa[N_SAS];
static struct gw_sa *sas[N_SAS];
static struct gw_error err;

int
clock_gettime(clockid_t clock, struct timespec *ts)
{
	*ts = (struct timespec){.tv_sec = (time_t)(world.now_ns / 1000000000),
			.tv_nsec = (long)(world.now_ns % 1000000000)};
	return 0;
}

int
rte_timer_subsystem_init(void)
{
	world.inits++;
	return 0;
}

void
rte_timer_subsystem_finalize(void)
{
	world.fins++;
}

int
rte_timer_manage(void)
{
	world.manages++;
	return 0;
}

int
rte_eth_dev_get_name_by_port(uint16_t id, char *name)
{
	strcpy(name, "no-such-device");
	return 0;
}

int
rte_eth_xstats_get_id_by_name(uint16_t id, const char *name, uint64_t *xid)
{
	assert_int_equal(id, 7);
	*xid = 9;
	return strcmp(name, "pps_allowance_exceeded") == 0 ? 0 : -EINVAL;
}

int
rte_eth_xstats_get_by_id(uint16_t id, const uint64_t *ids, uint64_t *values, unsigned int n)
{
	world.reads++;
	assert_int_equal(n, 1);
	assert_int_equal(ids[0], 9);
	values[0] = world.dropped;
	return 1;
}

/** Of two ports, the second is an ENA if @p is_ena; the tunnel leads through it. */
static void
set_up(bool is_ena)
{
	memset(&gw, 0, sizeof(gw));
	memset(sa, 0, sizeof(sa));
	gw.n_ports = 2;
	gw.n_workers = 4;
	strcpy(gw.port[1].name, "wan");
	gw.port[1].id = 7;
	gw.port[1].started = true;
	gw.port[1].is_ena = is_ena;
	for (unsigned int i = 0; i < N_SAS; i++) {
		sa[i].prm.dir = IPSEC_PCPU_OUT;
		sa[i].prm.spi = 0x1000 + i;
		sa[i].prm.algo = ipsec_pcpu_algo_find("aes128gcm16");
		sa[i].prm.family = AF_INET;
		sa[i].prm.saddr.ip4 = RTE_BE32(0xc0000201);
		sa[i].prm.daddr.ip4 = RTE_BE32(0xc0000202);
		sas[i] = &sa[i];
	}
	tunnel = (struct gw_tunnel){.cfg = &cfg, .sas = sas, .n_sas = N_SAS};
	nh[1] = (struct gw_nexthop){.kind = GW_NH_ETHER, .port = 1, .mtu = 1500};
	tunnel_view.nh = 1;
	view = (struct gw_view){.nh = nh, .tunnel = &tunnel_view};
	gw.view = &view;
	gw.tunnel = &tunnel;
	gw.n_tunnels = 1;
	world.manages = world.inits = world.fins = world.reads = 0;
	world.dropped = 500;
	world.now_ns = 1000000000000;
	assert_int_equal(gw_ena_open(&gw, &err), 0);
	for (unsigned int i = 0; i < gw.n_ports; i++)
		gw_ena_port_started(&gw, i);
}

/** @p seconds go by, with their ticks; what was logged in them. */
static const char *
ticks(unsigned int seconds)
{
	fclose(world.f);
	free(world.log);
	world.f = open_memstream(&world.log, &world.log_len);
	rte_openlog_stream(world.f);
	for (unsigned int i = 0; i < seconds; i++) {
		world.now_ns += 1000000000;
		gw_ena_tick(&gw);
	}
	fflush(world.f);
	return world.log;
}

static unsigned int
lines(const char *text)
{
	unsigned int n = 0;

	for (; (text = strchr(text, '\n')) != NULL; text++)
		n++;
	return n;
}

/** 1400 bytes in each packet. */
static void
rate(unsigned int i, double gbps)
{
	sa[i].bps = gbps * 1e9;
	sa[i].pps = sa[i].bps / 8 / 1400;
}

static void
test_no_ena(void **state)
{
	struct gw_allowance a;

	set_up(false);
	assert_null(gw.ena);
	rate(0, 4.7);
	assert_string_equal(ticks(5), "");
	assert_int_equal(world.inits + world.manages + world.reads, 0);
	assert_false(gw_allowance_get(&gw, 1, 0, &a));
	gw_ena_close(&gw);
	assert_int_equal(world.fins, 0);
}

static void
test_watchdog(void **state)
{
	set_up(true);
	assert_int_equal(world.inits, 1);
	ticks(5);
	assert_int_equal(world.manages, 5);
	gw_ena_close(&gw);
	assert_int_equal(world.fins, 1);
	assert_null(gw.ena);
	gw_ena_close(&gw);
	assert_int_equal(world.fins, 1);
}

static void
test_allowances(void **state)
{
	struct gw_allowance a;
	const char *log;

	set_up(true);
	assert_string_equal(ticks(3), "");
	world.dropped += 40;
	log = ticks(1);
	assert_non_null(strstr(log, "port wan: AWS held back 40 packets"));
	assert_non_null(strstr(log, "pps_allowance_exceeded"));
	assert_int_equal(lines(log), 1);
	assert_true(gw_allowance_get(&gw, 1, 0, &a));
	assert_string_equal(a.name, "pps_allowance_exceeded");
	assert_int_equal(a.value, 40);
	assert_true(a.has_rate && a.rate > 39.9 && a.rate < 40.1);
	assert_false(gw_allowance_get(&gw, 1, 1, &a));
	assert_false(gw_allowance_get(&gw, 0, 0, &a));

	/* then a minute's sum in one line */
	for (unsigned int i = 0; i < 30; i++) {
		world.dropped += 2;
		assert_string_equal(ticks(1), "");
	}
	log = ticks(40);
	assert_non_null(strstr(log, "AWS held back 60 packets"));
	assert_int_equal(lines(log), 1);

	/* a port that is being reset is left alone; it begins anew */
	gw.port[1].reset.active = true;
	world.reads = 0;
	ticks(3);
	assert_int_equal(world.reads, 0);
	gw.port[1].reset.active = false;
	world.dropped = 3;
	gw_ena_port_started(&gw, 1);
	assert_string_equal(ticks(100), "");
	gw_ena_close(&gw);
}

static void
test_flow(void **state)
{
	const char *log;

	set_up(true);
	for (unsigned int i = 0; i < N_SAS; i++) {
		sa[i].prm.encap_sport = 50000 + i;
		sa[i].prm.encap_dport = 4500;
		rate(i, 3);
	}
	assert_string_equal(ticks(5), "");
	/* 4.4 inside are 4.6 on the wire */
	rate(2, 4.4);
	log = ticks(50);
	assert_non_null(strstr(log, "tunnel paris, SPI 0x00001002 out: 4.6"));
	assert_non_null(strstr(log, "near the 5 Gbit/s"));
	assert_non_null(strstr(log, "more pairs of SAs"));
	assert_int_equal(lines(log), 1);
	assert_int_equal(lines(ticks(60)), 1);
	/* over another port nobody minds */
	nh[1].port = 0;
	assert_string_equal(ticks(200), "");
	gw_ena_close(&gw);
}

static void
test_plain(void **state)
{
	const char *log;

	set_up(true);
	for (unsigned int i = 0; i < N_SAS; i++)
		rate(i, 1.1);
	log = ticks(10);
	assert_non_null(strstr(log, "in one flow (4 SAs)"));
	assert_non_null(strstr(log, "use UDP encapsulation"));
	assert_int_equal(lines(log), 1);

	/* inbound: besides, all of it comes in on one queue; said once */
	sa[3].prm.dir = IPSEC_PCPU_IN;
	log = ticks(10);
	assert_non_null(strstr(log, "tunnel paris: ENA does not hash plain ESP"));
	assert_int_equal(lines(log), 1);
	rate(0, 0);
	rate(1, 0);
	rate(2, 0);
	assert_string_equal(ticks(200), "");
	gw_ena_close(&gw);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_no_ena),
			cmocka_unit_test(test_watchdog),
			cmocka_unit_test(test_allowances),
			cmocka_unit_test(test_flow),
			cmocka_unit_test(test_plain),
	};
	int rc;

	world.f = open_memstream(&world.log, &world.log_len);
	rc = cmocka_run_group_tests(tests, NULL, NULL);
	rte_openlog_stream(NULL);
	fclose(world.f);
	free(world.log);
	return rc;
}
