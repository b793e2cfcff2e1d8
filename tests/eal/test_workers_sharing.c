/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * What workers share: which cache lines one of them writes and another one reads or writes,
 * with 16 of them under traffic. The packet path and the library are compiled so that each
 * access is seen (watch.h). While packets land where they belong there is no such line,
 * packets themselves apart; where they do not, it is those of the hand-off rings.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_mempool.h>

#include "watch.h"
#include "workers_site.h"

#define N SITE_WORKERS
#define PACKETS 200
#define MAX_SHARED 1024

/*
 * Once a second control asks workers what they saw, and moves SAs to where packets land. Here SAs
 * stay, as hand-offs are counted. And malloc() gives the memory of one worker's message to the
 * next one's: that is no sharing, but looks like it where lines are watched just then.
 */
void __wrap_gw_steering_tick(struct gw *gw);

void
__wrap_gw_steering_tick(struct gw *gw)
{
}

/** Memory of mbufs: a packet is one worker's after the other's, as buffers of a NIC are. */
struct area {
	uintptr_t from, to;
};

static struct area pools[256];
static unsigned int n_pools;

static void
add_chunk(struct rte_mempool *mp, void *arg, struct rte_mempool_memhdr *hdr, unsigned int i)
{
	assert_true(n_pools < RTE_DIM(pools));
	pools[n_pools++] = (struct area){(uintptr_t)hdr->addr, (uintptr_t)hdr->addr + hdr->len};
}

static void
add_pool(struct rte_mempool *mp, void *arg)
{
	rte_mempool_mem_iter(mp, add_chunk, NULL);
}

static bool
is_mbuf(uintptr_t line)
{
	for (unsigned int i = 0; i < n_pools; i++)
		if (line >= pools[i].from && line < pools[i].to)
			return true;
	return false;
}

/** The slots of a ring, or what its two ends say of themselves. */
static bool
is_in_ring(const struct rte_ring *r, uintptr_t line)
{
	uintptr_t from = (uintptr_t)r;

	return r != NULL && line >= from &&
			line < from + sizeof(*r) + (uintptr_t)r->size * sizeof(void *);
}

static bool
is_handoff(uintptr_t line)
{
	for (unsigned int i = 0; i < N; i++)
		for (unsigned int j = 0; j < N; j++)
			if (is_in_ring(site.gw.worker[i].w->handoff_in[j], line))
				return true;
	return false;
}

/** Traffic both ways on all queues; each pair's packets land @p wrong queues further. */
static void
traffic(unsigned int wrong)
{
	for (unsigned int i = 0; i < PACKETS; i++) {
		for (unsigned int q = 0; q < N; q++) {
			site_send_out(site_flow_on(q), q);
			site_send_in(site_flow_on(q), site_spi(IPSEC_PCPU_IN, q, 0),
					(q + wrong) % N);
		}
	}
	site_settle();
}

/** Which lines are shared meanwhile. */
static unsigned int
shared_under(unsigned int wrong, struct watch_shared shared[])
{
	unsigned int n;

	n_pools = 0;
	rte_mempool_walk(add_pool, NULL);
	traffic(wrong); /* caches are filled, flows are known */
	watch_start();
	traffic(wrong);
	watch_stop();
	rte_delay_us_sleep(20000); /* whoever is just noting something is ready */
	n = watch_shared(shared, MAX_SHARED, is_mbuf);
	/* each worker was seen, and did something */
	assert_int_equal(watch_threads(), N);
	assert_true(watch_lines_written() > 10 * N);
	assert_true(n <= MAX_SHARED);
	return n;
}

static void
print(const struct watch_shared *s)
{
	fprintf(stderr, "line %#lx: read by %#lx, written by %#lx\n", (unsigned long)s->line,
			(unsigned long)s->readers, (unsigned long)s->writers);
}

static void
test_landed_right(void **state)
{
	static struct watch_shared shared[MAX_SHARED];
	unsigned int n;

	site_start(&site_conf_full);
	n = shared_under(0, shared);
	for (unsigned int i = 0; i < n; i++)
		print(&shared[i]);
	assert_int_equal(site_sum(handed_off), 0);
	assert_int_equal(n, 0);
	site_stop();
}

/** That it would be seen: packets that are handed off go through rings, and nothing else. */
static void
test_landed_wrong(void **state)
{
	static struct watch_shared shared[MAX_SHARED];
	unsigned int n, other = 0;

	site_start(&site_conf_full);
	n = shared_under(3, shared);
	for (unsigned int i = 0; i < n; i++) {
		if (is_handoff(shared[i].line))
			continue;
		print(&shared[i]);
		other++;
	}
	assert_int_equal(site_sum(handed_off), 2 * N * PACKETS);
	assert_true(n >= 3 * N); /* of each ring two ends, and slots */
	assert_int_equal(other, 0);
	site_stop();
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test_teardown(test_landed_right, site_teardown),
			cmocka_unit_test_teardown(test_landed_wrong, site_teardown),
	};
	int rc = site_prepare(argc, argv);

	watch_ignore_me(); /* control, wire, hosts and peer */
	return rc != 0 ? rc : cmocka_run_group_tests(tests, NULL, NULL);
}
