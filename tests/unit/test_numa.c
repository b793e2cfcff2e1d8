/* SPDX-License-Identifier: BSD-3-Clause */

/* What is said of NUMA nodes: each row is a machine, and the sentences. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "host/numa.h"

/* 16 CPUs of two nodes, as they are numbered most often; with SMT. */
static const int cpus[] = {0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1};

static const struct {
	struct gw_numa_port ports[2];
	int workers[4];
	const char *said[3];
} rows[] = {
		{{{"lan", 0, 0}, {"wan", 0, 0}}, {0, 0, 0, 0}, {NULL}},
		{{{"lan", 1, 1}, {"wan", 1, 1}}, {1, 1, 1, 1}, {NULL}},
		/* no node is known of anything, or of something */
		{{{"lan", -1, -1}, {"wan", -1, -1}}, {-1, -1, -1, -1}, {NULL}},
		{{{"lan", -1, -1}, {"wan", -1, -1}}, {0, 0, 1, 1}, {NULL}},
		{{{"lan", 1, -1}, {"wan", -1, -1}}, {-1, -1, 1, 1}, {NULL}},
		{{{"lan", 1, 1}, {"wan", 1, 1}}, {0, 0, 0, 0},
				{"port \"lan\" is on node 1, workers 0 to 3 are on node 0: every "
				 "packet crosses the interconnect; use lcores of node 1 "
				 "(-l 4-7,12-15)"}},
		{{{"lan", -1, 1}, {"wan", 1, 1}}, {0, 1, 1, 0},
				{"port \"wan\" is on node 1, workers 0,3 are on node 0: every packet "
				 "of theirs crosses the interconnect; use lcores of node 1 "
				 "(-l 4-7,12-15)"}},
		{{{"lan", 1, 1}, {"wan", 1, 1}}, {1, 1, 0, 1},
				{"port \"lan\" is on node 1, worker 2 is on node 0: every packet of "
				 "its crosses the interconnect; use lcores of node 1 "
				 "(-l 4-7,12-15)"}},
		/* a sentence for each node; node 2 has no CPU that we know */
		{{{"lan", 2, 2}, {"wan", 2, 2}}, {1, 0, 0, 1},
				{"port \"lan\" is on node 2, workers 0,3 are on node 1: every packet "
				 "of theirs crosses the interconnect; use lcores of node 2",
						"port \"lan\" is on node 2, workers 1 to 2 are on "
						"node 0: every packet of theirs crosses the "
						"interconnect; use lcores of node 2"}},
		/* virtual devices: where the mbufs are */
		{{{"lan", -1, 0}, {"wan", -1, 0}}, {1, 1, 1, 1},
				{"the packet buffers of port \"lan\" are on node 0, workers 0 to 3 "
				 "are on node 1: every packet crosses the interconnect; use lcores "
				 "of node 0 (-l 0-3,8-11)"}},
		{{{"lan", 0, 1}, {"wan", -1, 1}}, {0, 0, 0, 0},
				{"port \"lan\" is on node 0, its packet buffers are on node 1: each "
				 "packet is written and read across the interconnect; give EAL "
				 "memory of node 0 (--socket-mem)"}},
		/* nothing to be gained by other lcores */
		{{{"lan", 0, 1}, {"wan", 1, 1}}, {0, 0, 1, 1},
				{"port \"lan\" is on node 0, port \"wan\" on node 1: whatever node "
				 "workers are on, the packets of one of them cross the interconnect; "
				 "use NICs of one node, or put one of these into another slot"}},
		{{{"lan", 0, 2}, {"wan", 1, 1}}, {0, 0, 2, 1},
				{"port \"lan\" is on node 0, port \"wan\" on node 1: ",
						"port \"lan\" is on node 0, its packet buffers are on "
						"node 2: ",
						"port \"lan\" is on node 0, worker 2 is on node 2: "}},
};

static void
test_rows(void **state)
{
	static struct gw_error found[GW_NUMA_MAX_FINDINGS];
	struct gw_numa_site site = {.n_ports = 2, .n_workers = 4, .cpus = cpus, .n_cpus = 16};

	for (size_t i = 0; i < RTE_DIM(rows); i++) {
		unsigned int n, want = 0;

		site.ports = rows[i].ports;
		site.workers = rows[i].workers;
		n = gw_numa_find(&site, found);
		for (; want < 3 && rows[i].said[want] != NULL; want++)
			if (want < n &&
					strncmp(found[want].text, rows[i].said[want],
							strlen(rows[i].said[want])) != 0)
				fail_msg("%zu: %s", i, found[want].text);
		if (n != want)
			fail_msg("%zu: %u sentences, the last: %s", i, n,
					found[n > 0 ? n - 1 : 0].text);
	}
}

/* As many ports and workers as there can be, each on another node: all has room. */
static void
test_most(void **state)
{
	static struct gw_error found[GW_NUMA_MAX_FINDINGS];
	static int workers[GW_MAX_WORKERS], all[1024];
	struct gw_numa_port ports[GW_MAX_PORTS];
	struct gw_numa_site site = {ports, GW_MAX_PORTS, workers, GW_MAX_WORKERS, all, 1024};

	for (int i = 0; i < GW_MAX_PORTS; i++)
		ports[i] = (struct gw_numa_port){"fifteen-bytes-x", i, 5000 + i};
	for (int i = 0; i < GW_MAX_WORKERS; i++)
		workers[i] = 1000 + i;
	for (int i = 0; i < 1024; i++)
		all[i] = i % 2; /* no ranges: a list that does not fit */
	assert_int_equal(gw_numa_find(&site, found), GW_NUMA_MAX_FINDINGS);
	assert_non_null(strstr(
			found[GW_NUMA_MAX_FINDINGS - 1].text, "use lcores of node 0 (-l 0,2,4,"));
	assert_memory_equal(strrchr(found[GW_NUMA_MAX_FINDINGS - 1].text, ')'), ")", 2);
	site.n_ports = site.n_workers = site.n_cpus = 0;
	assert_int_equal(gw_numa_find(&site, found), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_rows),
			cmocka_unit_test(test_most),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
