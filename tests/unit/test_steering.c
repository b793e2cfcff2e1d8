/* SPDX-License-Identifier: BSD-3-Clause */

/* app/control/steering.c: what control makes of what workers saw. Methods are functions here. */

#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <rte_log.h>

#include "control/control_priv.h"
#include "control/ike.h"
#include "log.h"

static struct gw gw;
static struct gw_tunnel tunnel;
static struct gw_config_tunnel tunnel_cfg = {.name = "t"};
static struct gw_config_port port_cfg[2];
static struct gw_sa sa = {.prm = {.spi = 0x1000, .dir = IPSEC_PCPU_IN},
		.steer_port = GW_NONE,
		.last = {.landed = IPSEC_PCPU_ANY}};
static struct gw_sa *sas[] = {&sa};
static struct gw_view view;
static struct gw_observed seen; /* spi 0: nothing */
static unsigned int n_added;
static struct ipsec_pcpu_tuple ike_saw; /* family 0: nothing */

int gw_logtype;

int
rte_log(uint32_t level, uint32_t type, const char *format, ...)
{
	return 0;
}

static const struct gw_steer_ops soft = {.name = "soft", .what = "none"};

int
gw_steer_open(struct gw_steer_port *sp, struct gw_port *port, enum gw_steer_want want,
		struct gw_error *err)
{
	sp->port = port;
	sp->ops = &soft;
	return 0;
}

void
gw_steer_close(struct gw_steer_port *sp)
{
	sp->ops = NULL;
}

void
gw_steer_free(struct gw_steer_port *sp)
{
	assert_int_equal(sp->n_sas, 0);
}

int
gw_steer_add(struct gw_steer_port *sp, struct gw_steer_sa *s)
{
	n_added++;
	sp->n_sas++;
	return 0;
}

void
gw_steer_del(struct gw_steer_port *sp, struct gw_steer_sa *s)
{
	sp->n_sas--;
}

void
gw_steer_moved(struct gw_steer_port *sp, struct gw_steer_sa *s, uint16_t queue)
{
}

bool
gw_steer_saw(struct gw_steer_port *sp, struct gw_steer_sa *s, const struct gw_steer_seen *what,
		struct gw_error *err)
{
	s->seen = true;
	return true;
}

bool
gw_steer_judge(struct gw_steer_port *sp, struct gw_steer_sa *s, uint64_t packets, uint64_t foreign,
		uint16_t landed, struct gw_error *err)
{
	return false;
}

int
gw_steer_plan(const struct gw_steer_port *sp, bool anew, uint64_t now, struct gw_steer_plan *plan)
{
	memset(plan, 0, sizeof(*plan));
	return 0;
}

void
gw_steer_plan_free(struct gw_steer_plan *plan)
{
}

int
gw_steer_apply(struct gw_steer_port *sp, const struct gw_steer_plan *plan, struct gw_error *err)
{
	return 0;
}

void
gw_steer_followed(struct gw_steer_port *sp, struct gw_steer_sa *s, uint64_t now)
{
}

int
gw_sa_move(struct gw *g, struct gw_tunnel *t, enum ipsec_pcpu_dir dir, uint32_t spi,
		uint16_t worker, struct gw_error *err)
{
	return 0;
}

struct gw_sa *
gw_tunnel_sa(struct gw_tunnel *t, enum ipsec_pcpu_dir dir, uint32_t spi, struct gw_error *err)
{
	return spi == sa.prm.spi ? &sa : NULL;
}

bool
gw_worker_is_late(struct gw *g, unsigned int worker)
{
	return false;
}

int
gw_tell_each(struct gw *g, struct gw_msg msg[], const bool to[])
{
	assert_int_equal(msg[0].type, GW_MSG_OBSERVE);
	msg[0].observed[0] = seen;
	msg[0].result = seen.spi != 0;
	return 0;
}

const struct gw_nexthop *
gw_view_route(const struct gw_view *v, const struct gw_addr *dst)
{
	static struct gw_nexthop local = {.kind = GW_NH_LOCAL};

	return &local;
}

void
gw_ena_odd_hash(const struct gw *g, unsigned int port, const uint8_t *key,
		const struct ipsec_pcpu_tuple *tuple, uint32_t hash)
{
}

void
gw_ike_saw(struct gw *g, struct gw_sa *of, const struct ipsec_pcpu_tuple *outer)
{
	assert_ptr_equal(of, &sa);
	ike_saw = *outer;
}

static void
look(uint32_t spi, uint8_t port)
{
	seen = (struct gw_observed){
			.spi = spi, .port = port, .tuple = {.family = AF_INET, .sport = 4999}};
	gw_steering_tick(&gw);
}

static void
start(unsigned int n_ports)
{
	struct gw_error err;

	tunnel = (struct gw_tunnel){.cfg = &tunnel_cfg, .sas = sas, .n_sas = 1};
	gw = (struct gw){.n_ports = n_ports,
			.n_workers = 1,
			.n_tunnels = 1,
			.tunnel = &tunnel,
			.cfg.ports = port_cfg,
			.view = &view};
	assert_int_equal(gw_steering_start(&gw, &err), 0);
}

/* An SA is steered where its packets come in; not to and fro where they come in on both. */
static void
test_ports(void **state)
{
	start(2);
	assert_int_equal(sa.steer_port, 0); /* its address is there */
	look(0x1000, 1);
	assert_int_equal(sa.steer_port, 1); /* no packet came in there */
	n_added = 0;
	for (unsigned int i = 0; i < 100; i++)
		look(0x1000, i % 3 == 0);
	assert_int_equal(n_added, 0);
	look(0x1000, 1);
	for (unsigned int i = 0; i < 3; i++) {
		assert_int_equal(sa.steer_port, 1);
		look(0x1000, 0);
	}
	assert_int_equal(sa.steer_port, 0);
	look(0x1001, 1); /* one that is gone */
	assert_int_equal(n_added, 1);
	gw_steering_stop(&gw);
	assert_null(sa.steer);
}

/* What workers saw of an SA of IKE is looked at as well; of the file's it is for steering alone. */
static void
test_ike(void **state)
{
	struct gw_sa_ike info = {0};

	start(1);
	ike_saw = (struct ipsec_pcpu_tuple){0};
	look(0x1000, 0);
	assert_int_equal(ike_saw.family, 0);
	sa.ike = &info;
	look(0x1001, 0);
	assert_int_equal(ike_saw.family, 0);
	look(0x1000, 0);
	assert_int_equal(ike_saw.family, AF_INET);
	assert_int_equal(ike_saw.sport, 4999);
	sa.ike = NULL;
	gw_steering_stop(&gw);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_ports), cmocka_unit_test(test_ike)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
