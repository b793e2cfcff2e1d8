/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * A port that asks for a reset, on the workers of test_workers.c, with packets before, in
 * its midst and behind it: SAs and their sequence numbers go on, what is lost is counted
 * by name, and no mbuf is missing. The event is what a driver would raise; the device's
 * own reset fails as often as the test says (both by --wrap of the linker).
 */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <rte_eal.h>
#include <rte_ethdev.h>

#include "workers_site.h"

#define N SITE_WORKERS

/* The driver's part */

static struct {
	rte_eth_dev_cb_fn fn;
	void *arg;
} asks[RTE_MAX_ETHPORTS];
static unsigned int resets; /* tried */
static unsigned int failures; /* still to come */

int __real_rte_eth_dev_callback_register(
		uint16_t id, enum rte_eth_event_type type, rte_eth_dev_cb_fn fn, void *arg);
int __wrap_rte_eth_dev_callback_register(
		uint16_t id, enum rte_eth_event_type type, rte_eth_dev_cb_fn fn, void *arg);
int __real_rte_eth_dev_reset(uint16_t id);
int __wrap_rte_eth_dev_reset(uint16_t id);

int
__wrap_rte_eth_dev_callback_register(
		uint16_t id, enum rte_eth_event_type type, rte_eth_dev_cb_fn fn, void *arg)
{
	if (type == RTE_ETH_EVENT_INTR_RESET) {
		asks[id].fn = fn;
		asks[id].arg = arg;
	}
	return __real_rte_eth_dev_callback_register(id, type, fn, arg);
}

/** No worker may touch a queue any more: each has the view in which the port is down. */
static void
assert_left_alone(uint16_t id)
{
	for (unsigned int i = 0; i < site.gw.n_workers; i++) {
		const struct gw_view *v = site.gw.worker[i].w->view;

		for (unsigned int p = 0; p < v->n_ports; p++)
			assert_true(v->port[p].id != id || !v->port[p].up);
	}
}

int
__wrap_rte_eth_dev_reset(uint16_t id)
{
	assert_left_alone(id);
	resets++;
	if (failures > 0) {
		failures--;
		return -EIO;
	}
	return __real_rte_eth_dev_reset(id);
}

static struct gw_port *
port_of(const char *name)
{
	struct gw_port *p = gw_port_find(&site.gw, name);

	assert_non_null(p);
	return p;
}

static void
ask_for_reset(struct gw_port *p)
{
	assert_non_null(asks[p->id].fn);
	asks[p->id].fn(p->id, RTE_ETH_EVENT_INTR_RESET, asks[p->id].arg, NULL);
}

static const struct gw_port *awaited;
static uint64_t wanted;

static bool
reset_done(void)
{
	unsigned int i = awaited - site.gw.port;

	return awaited->reset.done == wanted && site.gw.view->port[i].up;
}

static bool
is_down(void)
{
	return !site.gw.view->port[awaited - site.gw.port].up;
}

static void
start(void)
{
	site_start(&site_conf_full);
	site.goes_down = true;
	resets = failures = 0;
}

/** Some packets each way on all queues, by the SA of the queue's worker. */
static void
traffic(unsigned int packets)
{
	for (unsigned int i = 0; i < packets; i++) {
		for (unsigned int q = 0; q < N; q++) {
			site_send_out(site_flow_on(q), q);
			site_send_in(site_flow_on(q), site_spi(IPSEC_PCPU_IN, q, 0), q);
		}
	}
}

/** Packets of ours that were dropped because the port was down, now that all is at its end. */
static uint64_t
lost_so_far(void)
{
	uint64_t lost;

	site_settle();
	lost = site_sum(drop[GW_DROP_PORT_GONE]) - site_kernel_lost();
	assert_int_equal(site.log.sent, site.log.got + lost);
	return lost;
}

static void
await_reset(struct gw_port *p, unsigned int packets)
{
	awaited = p;
	wanted = p->reset.done + 1;
	ask_for_reset(p);
	traffic(packets);
	site_until(reset_done, "the port is not reset");
}

/** Each worker has used its own SA both ways for as many packets, and no other. */
static void
assert_sas(uint64_t min)
{
	for (unsigned int q = 0; q < N; q++) {
		assert_true(site_sa_packets(site_spi(IPSEC_PCPU_OUT, q, 0)) >= min);
		assert_true(site_sa_packets(site_spi(IPSEC_PCPU_IN, q, 0)) >= min);
	}
	assert_int_equal(site_sa_packets(site_spi(IPSEC_PCPU_OUT, PEER_FALLBACK, 0)), 0);
}

static void
test_reset(void **state)
{
	const char *const names[] = {"wan", "lan"};
	uint64_t lost = 0;

	start();
	for (unsigned int i = 0; i < 6; i++) {
		traffic(20);
		assert_int_equal(lost_so_far(), lost);
		await_reset(port_of(names[i % 2]), 10);
		lost = lost_so_far();
		traffic(20);
		assert_int_equal(lost_so_far(), lost);
	}
	assert_int_equal(resets, 6);
	assert_int_equal(port_of("wan")->reset.done, 3);
	assert_int_equal(port_of("lan")->reset.done, 3);
	/* the peer asserts that numbers grow; here: what was sent is one run of them */
	assert_sas(6 * 40);
	site.drop[GW_DROP_PORT_GONE] = lost;
	site_stop();
}

/** It fails twice: down for 1 + 2 seconds, the other port goes on, then all is well. */
static void
test_fails_at_first(void **state)
{
	struct gw_port *wan;
	uint64_t began, lost;

	start();
	wan = port_of("wan");
	traffic(20);
	site_settle();
	failures = 2;
	awaited = wan;
	wanted = 1;
	began = gw_now_ns();
	ask_for_reset(wan);
	site_until(is_down, "the port stays up");
	assert_false(gw_port_usable(wan));
	assert_true(wan->reset.active);
	for (unsigned int i = 0; i < 10; i++)
		for (unsigned int q = 0; q < N; q++)
			site_send_out(site_flow_on(q), q);
	lost = lost_so_far();
	assert_int_equal(lost, 10 * N);
	site_until(reset_done, "the port is not reset");
	assert_true(gw_now_ns() - began >= UINT64_C(3000000000));
	assert_int_equal(resets, 3);
	assert_true(gw_port_usable(wan));
	traffic(20);
	assert_int_equal(lost_so_far(), lost);
	assert_sas(40);
	site.drop[GW_DROP_PORT_GONE] = lost;
	site_stop();
}

/** The end comes while the port is down. */
static void
test_end_in_reset(void **state)
{
	start();
	traffic(20);
	site_settle();
	failures = 1000;
	awaited = port_of("wan");
	ask_for_reset(port_of("wan"));
	site_until(is_down, "the port stays up");
	for (unsigned int q = 0; q < N; q++)
		site_send_out(site_flow_on(q), q);
	site.drop[GW_DROP_PORT_GONE] = N;
	site_stop();
}

int
main(int argc, char **argv)
{
#define CASE(name) cmocka_unit_test_teardown(name, site_teardown)
	const struct CMUnitTest tests[] = {
			CASE(test_reset),
			CASE(test_fails_at_first),
			CASE(test_end_in_reset),
	};
#undef CASE
	return site_main(argc, argv, tests, RTE_DIM(tests));
}
