/* SPDX-License-Identifier: BSD-3-Clause */

/* app/control/ike_acquire.c: who may ask charon for an SA, and when again. The clock is played. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include <cmocka.h>

#include "control/ike_priv.h"

#define WORKERS 2
#define ANY IPSEC_PCPU_ANY
#define REQID 7

static struct gw gw;
static struct gw_ike ike;
static struct gw_tunnel tunnel;
static struct gw_ike_tunnel ike_tunnel;
static struct gw_worker worker[WORKERS];
static struct gw_want want[WORKERS];
static uint32_t want_from[WORKERS];
static struct gw_out out[WORKERS];
static struct gw_sa *sas[4];
static uint64_t now_ns;
static struct {
	unsigned int n;
	uint32_t cpu;
	bool refuse;
} asked;

int clock_gettime(clockid_t clock, struct timespec *ts);

int
clock_gettime(clockid_t clock, struct timespec *ts)
{
	*ts = (struct timespec){.tv_sec = (time_t)(now_ns / GW_NS_PER_S),
			.tv_nsec = (long)(now_ns % GW_NS_PER_S)};
	return 0;
}

unsigned int
gw_ike_count(const struct gw_tunnel *t, enum ipsec_pcpu_dir dir, uint32_t pcpu)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < t->n_sas; i++)
		n += gw_ike_is_known(t->sas[i], dir) && t->sas[i]->prm.pcpu == pcpu;
	return n;
}

static bool
on_acquire(void *arg, const struct gw_ike_acquire *a)
{
	assert_int_equal(a->reqid, REQID);
	if (asked.refuse)
		return false;
	asked.n++;
	asked.cpu = a->cpu;
	return true;
}

static int
setup(void **state)
{
	memset(&ike, 0, sizeof(ike));
	memset(&ike_tunnel, 0, sizeof(ike_tunnel));
	memset(want, 0, sizeof(want));
	memset(out, 0, sizeof(out));
	memset(&asked, 0, sizeof(asked));
	now_ns = 1000 * GW_NS_PER_S;
	ike.in_sync = ike.connected = ike.pcpu = true;
	ike.events.acquire = on_acquire;
	ike_tunnel.reqid = REQID;
	ike_tunnel.pcpu = 1;
	tunnel = (struct gw_tunnel){
			.ike = &ike_tunnel, .cfg = &ike_tunnel.cfg, .out = out, .sas = sas};
	gw.ike = &ike;
	gw.tunnel = &tunnel;
	gw.n_tunnels = 1;
	gw.n_workers = WORKERS;
	for (unsigned int w = 0; w < WORKERS; w++) {
		worker[w] = (struct gw_worker){
				.id = w, .want = &want[w], .want_from = &want_from[w]};
		gw.worker[w].w = &worker[w];
	}
	gw_ike_arm(&gw, &tunnel);
	return 0;
}

/** A packet of the tunnel without an SA, on a worker, as gw_want() notes it; then control looks. */
static unsigned int
packet(unsigned int w)
{
	unsigned int before = asked.n;

	gw_ike_arm(&gw, &tunnel);
	if (want_from[w] == want[w].noted)
		want[w].noted++;
	gw_ike_wants_poll(&gw);
	return asked.n - before;
}

/** Packets ten times a second for so long; how many acquires that makes. */
static unsigned int
seconds(unsigned int w, unsigned int s)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < 10 * s; i++) {
		n += packet(w);
		now_ns += GW_NS_PER_S / 10;
	}
	return n;
}

/** An outbound SA that charon made, of a worker or the fallback. */
static void
add_sa(uint32_t pcpu)
{
	static struct gw_sa_ike info[4];
	static struct gw_sa sa[4];
	unsigned int i = tunnel.n_sas++;

	info[i] = (struct gw_sa_ike){.cpu = pcpu};
	sa[i] = (struct gw_sa){.ike = &info[i], .created = now_ns};
	sa[i].prm.dir = IPSEC_PCPU_OUT;
	sa[i].prm.pcpu = pcpu;
	sas[i] = &sa[i];
	if (pcpu != ANY)
		out[pcpu].own = &sa[i];
	gw_ike_acquired(&gw, &tunnel, &sa[i]);
}

/** The last one goes. */
static void
lose_sa(void)
{
	struct gw_sa *sa = sas[tunnel.n_sas - 1];

	gw_ike_lost(&gw, &tunnel, sa);
	tunnel.n_sas--;
	if (sa->prm.pcpu != ANY)
		out[sa->prm.pcpu].own = NULL;
}

/* Without any SA all workers together ask for one, and packets are lost until it comes. */
static void
test_any(void **state)
{
	assert_int_equal(packet(0), 1);
	assert_int_equal(asked.cpu, ANY);
	assert_int_equal(packet(1), 0);
	/* at 1, 3, 7, 15, then every 10 s */
	assert_int_equal(seconds(0, 16), 4);
	assert_int_equal(seconds(1, 100), 10);
}

/* A worker's own is not urgent: up to a minute. */
static void
test_own(void **state)
{
	add_sa(ANY);
	assert_int_equal(packet(1), 1);
	assert_int_equal(asked.cpu, 1);
	/* at 1, 3, 7, 15, 31, 63, then every 60 s */
	assert_int_equal(seconds(1, 64), 6);
	assert_int_equal(seconds(1, 600), 10);
	/* the other one is not held back by that */
	assert_int_equal(packet(0), 1);
	assert_int_equal(asked.cpu, 0);
}

/* What comes ends it: the next one is asked for at once. */
static void
test_come(void **state)
{
	add_sa(ANY);
	seconds(0, 100);
	assert_true(gw_ike_is_pending(&tunnel, 0));
	add_sa(0);
	assert_false(gw_ike_is_pending(&tunnel, 0));
	assert_int_equal(seconds(0, 10), 0);
	now_ns += 60 * GW_NS_PER_S;
	lose_sa();
	assert_int_equal(packet(0), 1);
}

/* One that goes when it has hardly come is not wanted: ever later, though each came. */
static void
test_young(void **state)
{
	add_sa(ANY);
	for (unsigned int i = 0; i < 4; i++) {
		add_sa(0);
		lose_sa();
	}
	/* the first is asked for at once, then after 1, 2, 4 s */
	assert_int_equal(seconds(0, 4), 0);
	assert_int_equal(packet(0), 1);
}

/* Asked for, and never heard of again: once packets have ended, too, nobody waits for it. */
static void
test_given_up(void **state)
{
	struct gw_ike_pending p[2];

	add_sa(ANY);
	assert_int_equal(packet(1), 1);
	now_ns += 239 * GW_NS_PER_S;
	gw_ike_arm(&gw, &tunnel);
	assert_int_equal(gw_ike_pendings(&gw, p, 2), 1);
	assert_int_equal(p[0].cpu, 1);
	assert_true(p[0].asked_s > 238.9 && p[0].asked_s < 239.1);
	assert_int_equal(gw_ike_who_asked(&gw, &tunnel, 1), 1);
	now_ns += 2 * GW_NS_PER_S;
	gw_ike_arm(&gw, &tunnel);
	assert_int_equal(gw_ike_pendings(&gw, p, 2), 0);
	assert_int_equal(gw_ike_who_asked(&gw, &tunnel, 1), ANY);
	assert_int_equal(packet(1), 1);
	assert_int_equal(seconds(1, 2), 1);
}

/* What could not be said is tried again after a second, and waits no longer for that. */
static void
test_unsent(void **state)
{
	asked.refuse = true;
	assert_int_equal(seconds(0, 20), 0);
	assert_int_equal(ike.counts.acquires_unsent, 20);
	asked.refuse = false;
	assert_int_equal(packet(0), 1);
	assert_int_equal(ike.counts.acquires, 1);
}

/* More than 256 in one second are for the next one. */
static void
test_budget(void **state)
{
	for (unsigned int i = 0; i < 300; i++) {
		memset(ike_tunnel.hold, 0, sizeof(ike_tunnel.hold));
		packet(0);
	}
	assert_int_equal(asked.n, 256);
	now_ns += GW_NS_PER_S;
	assert_int_equal(packet(0), 1);
}

/* Without charon, or before it has said all it has, workers note nothing. */
static void
test_not_in_sync(void **state)
{
	ike.in_sync = false;
	assert_int_equal(seconds(0, 2), 0);
	ike.in_sync = true;
	assert_int_equal(packet(0), 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test_setup(test_any, setup),
			cmocka_unit_test_setup(test_own, setup),
			cmocka_unit_test_setup(test_come, setup),
			cmocka_unit_test_setup(test_young, setup),
			cmocka_unit_test_setup(test_given_up, setup),
			cmocka_unit_test_setup(test_unsent, setup),
			cmocka_unit_test_setup(test_budget, setup),
			cmocka_unit_test_setup(test_not_in_sync, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
