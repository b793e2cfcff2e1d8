/* SPDX-License-Identifier: BSD-3-Clause */

/* The metrics as text, of a gateway that is not one (fake_gw.h). */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/ike.h"
#include "fake_gw.h"
#include "front/metrics_text.h"

static const struct gw_metrics_self self = {.scrapes = 3, .longest = 0.25};
static struct gw *gw;

static int
setup(void **state)
{
	gw = fake_gw_new();
	return 0;
}

static int
teardown(void **state)
{
	fake_gw_free(gw);
	return 0;
}

/* All of it, in pieces of at most @max bytes. */
static char *
text(bool openmetrics, bool sas, size_t max)
{
	struct gw_snapshot *s = gw_snapshot_take(gw, 1.75e9, &self, sas);
	struct gw_metrics_reader r = {.s = s, .openmetrics = openmetrics};
	struct gw_text all = {0};
	char *piece = malloc(max); /* so that a sanitizer sees a byte too many */
	ssize_t n;

	assert_non_null(s);
	assert_non_null(piece);
	s->taken = 0; /* of two snapshots the same text */
	for (unsigned int i = 0; i < s->n_sas; i++)
		s->sa[i].age = 1.5;
	while ((n = gw_metrics_read(&r, piece, max)) > 0) {
		assert_true((size_t)n <= max);
		gw_text_add(&all, piece, n);
	}
	assert_int_equal(n, 0);
	assert_int_equal(gw_metrics_read(&r, piece, max), 0);
	assert_false(all.failed);
	gw_metrics_reader_fini(&r);
	gw_snapshot_put(s);
	free(piece);
	return all.s;
}

static unsigned int
count(const char *in, const char *what)
{
	unsigned int n = 0;

	for (in = strstr(in, what); in != NULL; in = strstr(in + 1, what))
		n++;
	return n;
}

static void
has_line(const char *in, const char *line)
{
	char wanted[512];

	snprintf(wanted, sizeof(wanted), "\n%s\n", line);
	if (count(in, wanted) != 1)
		fail_msg("%u times \"%s\" in:\n%s", count(in, wanted), line, in);
}

static void
has(const char *in, const char *fmt, ...)
{
	char line[480];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	has_line(in, line);
}

/* Wherever it is cut, even within a line, it is the same text. */
static void
test_pieces(void **state)
{
	static const size_t sizes[] = {1, 2, 3, 7, 61, 4096};
	char *whole = text(true, true, 1 << 20), *cut;

	assert_true(strlen(whole) > 10000);
	for (size_t i = 0; i < RTE_DIM(sizes); i++) {
		cut = text(true, true, sizes[i]);
		assert_string_equal(cut, whole);
		free(cut);
	}
	free(whole);
}

/* A row of each of the gateway's tables is there for each worker, with its value, and once. */
static void
test_counters(void **state)
{
	char *t = text(true, true, 4096);

	for (unsigned int w = 0; w < 2; w++) {
		unsigned int v = 1000 * (w + 1);

		for (unsigned int i = 0; i < GW_N_COUNTERS; i++)
			has(t, "pcpu_gw_worker_%s_total{worker=\"%u\"} %u", gw_counter_info[i].name,
					w, v++);
		for (unsigned int i = 0; i < GW_N_DROPS; i++)
			has(t, "pcpu_gw_drops_total{worker=\"%u\",group=\"gw\",reason=\"%s\"} %u",
					w, gw_drop_info[i].name, v++);
		for (unsigned int i = 0; i < IPSEC_PCPU_N_DROPS; i++)
			has(t, "pcpu_gw_drops_total{worker=\"%u\",group=\"esp\",reason=\"%s\"} %u",
					w, ipsec_pcpu_drop_info[i].name, v++);
	}
	for (unsigned int i = 0; i < GW_N_COUNTERS; i++)
		has(t, "# HELP pcpu_gw_worker_%s %s", gw_counter_info[i].name,
				gw_counter_info[i].what);
#define _(name, what) has(t, "# TYPE pcpu_gw_ike_" #name " counter");
	GW_IKE_FOREACH_COUNT(_)
#undef _
#define _(name, heading, what) has(t, "# TYPE pcpu_gw_ike_" #name " gauge");
	GW_IKE_FOREACH_NOW(_)
#undef _
#define _(name, brief, what) has(t, "# HELP pcpu_gw_" #name " " what);
	GW_FOREACH_KERNEL_COUNT(_)
#undef _
	has(t, "pcpu_gw_ike_acquires_total 17");
	has(t, "pcpu_gw_ike_pending 2");
	free(t);
}

static void
test_values(void **state)
{
	char *t = text(true, true, 4096);

	has(t, "pcpu_gw_start_time_seconds 1750000000");
	has(t, "pcpu_gw_tunnels 2");
	has(t, "pcpu_gw_worker_busy_ratio{worker=\"1\"} 0.415");
	has(t, "pcpu_gw_worker_packet_cycles{worker=\"0\"} 130.25");
	assert_null(strstr(t, "pcpu_gw_worker_packet_cycles{worker=\"1\"}")); /* not known */
	has(t, "pcpu_gw_worker_sas{worker=\"0\",direction=\"out\"} 2");
	has(t, "pcpu_gw_port_rx_packets_total{port=\"lan\"} 200");
	has(t, "pcpu_gw_port_usable{port=\"wan\"} 0");
	has(t, "pcpu_gw_port_link_up{port=\"wan\"} 0"); /* being reset, whatever the link says */
	has(t, "pcpu_gw_port_steering_info{port=\"lan\",method=\"soft\"} 1");
	has(t, "pcpu_gw_port_sas_astray{port=\"wan\"} 1");
	has(t, "pcpu_gw_port_allowance_total{port=\"wan\",name=\"bw_out_allowance_exceeded\"} 70");
	has(t, "pcpu_gw_port_allowance_level{port=\"wan\",name=\"ena_srd_mode\"} 3");
	has(t, "pcpu_gw_mbufs_free{pool=\"packets\"} 8000");
	has(t, "pcpu_gw_tunnel_up{tunnel=\"oslo\"} 0");
	has(t, "pcpu_gw_tunnel_resolved{tunnel=\"paris\"} 1");
	has(t, "pcpu_gw_tunnel_sas{tunnel=\"paris\",direction=\"in\"} 2");
	has(t, "pcpu_gw_tunnel_sas{tunnel=\"oslo\",direction=\"in\"} 0");
	has(t, "pcpu_gw_metrics_scrapes_total 3");
	has(t, "pcpu_gw_metrics_longest_seconds 0.25");
	free(t);
}

/* As counted since they were made: packets of the fake before the clear are 2^60. */
static void
test_sas(void **state)
{
	char *t = text(true, true, 4096), *without = text(true, false, 4096);

#define IN "tunnel=\"paris\",spi=\"0x00001000\",direction=\"in\",pcpu=\"any\""
#define OUT "tunnel=\"paris\",spi=\"0x00001003\",direction=\"out\",pcpu=\"0\""
	has(t, "pcpu_gw_sa_packets_total{" IN "} %" PRIu64, (UINT64_C(1) << 60) + 5000);
	has(t, "pcpu_gw_sa_bytes_total{" OUT "} 7000000");
	has(t, "pcpu_gw_sa_drops_total{" OUT "} 10");
	has(t, "pcpu_gw_sa_window_drops_total{" OUT "} 5");
	has(t, "pcpu_gw_sa_seq_left{" OUT "} %" PRIu64, UINT64_MAX - 5001);
	has(t, "pcpu_gw_sa_age_seconds{" OUT "} 1.5");
	has(t, "pcpu_gw_sa_lost{" IN "} 9");
	assert_null(strstr(t, "pcpu_gw_sa_lost{" OUT));
	has(t, "pcpu_gw_sa_worker{" OUT "} 0");
	assert_int_equal(count(t, "\npcpu_gw_sa_packets_total{"), 4);
	assert_null(strstr(without, "pcpu_gw_sa_"));
	has(without, "pcpu_gw_tunnel_sas{tunnel=\"paris\",direction=\"in\"} 2");
	/* the keys of the fake are all 0x5a */
	assert_null(strstr(t, "5a5a"));
	assert_null(strstr(t, "ZZ"));
	free(t);
	free(without);
}

static void
test_32_bits(void **state)
{
	char *t;

	gw->tunnel[0].sas[3]->prm.esn = false;
	gw->tunnel[0].sas[3]->worker = GW_NONE;
	t = text(true, true, 4096);
	has(t, "pcpu_gw_sa_seq_left{" OUT "} %" PRIu64, (uint64_t)UINT32_MAX - 5001);
	assert_null(strstr(t, "pcpu_gw_sa_worker{" OUT));
	free(t);
}

/* Each family has one head, its samples behind it, and no two have a name in common. */
static void
test_families(void **state)
{
	char *t = text(true, true, 4096);
	char name[128], head[160];

	for (unsigned int i = 0; i < gw_n_metrics; i++) {
		const struct gw_metric *m = &gw_metrics[i];

		snprintf(name, sizeof(name), "%s%s", m->of->prefix, m->name);
		assert_int_equal(strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_"),
				strlen(name));
		assert_int_equal(strncmp(name, "pcpu_gw_", 8), 0);
		snprintf(head, sizeof(head), "\n# TYPE %s ", name);
		if (i == 0) /* nothing stands before it */
			memmove(head, head + 1, strlen(head));
		if (count(t, head) != 1)
			fail_msg("%u heads of %s", count(t, head), name);
		assert_true(strlen(m->help) > 3);
		assert_true(m->help[strlen(m->help) - 1] != '.');
		for (unsigned int k = 0; k < i; k++)
			assert_false(strcmp(gw_metrics[k].name, m->name) == 0 &&
					strcmp(gw_metrics[k].of->prefix, m->of->prefix) == 0);
	}
	has(t, "# UNIT pcpu_gw_worker_rx_bytes bytes");
	has(t, "# UNIT pcpu_gw_sa_age_seconds seconds");
	assert_null(strstr(t, "# UNIT pcpu_gw_worker_rx "));
	free(t);
}

static void
test_no_ike(void **state)
{
	struct gw_ike *kept = gw->ike;
	char *t;

	gw->ike = NULL;
	t = text(true, true, 4096);
	gw->ike = kept;
	assert_null(strstr(t, "pcpu_gw_ike_"));
	free(t);
}

static void
test_formats(void **state)
{
	char *open = text(true, true, 4096), *old = text(false, true, 4096);

	assert_string_equal(open + strlen(open) - 7, "\n# EOF\n");
	assert_int_equal(count(open, "# EOF"), 1);
	has(open, "# TYPE pcpu_gw_worker_rx counter");
	assert_int_equal(strncmp(open, "# TYPE pcpu_gw_build info\n", 26), 0);
	assert_null(strstr(old, "# EOF"));
	assert_null(strstr(old, "# UNIT"));
	has(old, "# TYPE pcpu_gw_worker_rx_total counter");
	has(old, "pcpu_gw_worker_rx_total{worker=\"0\"} 1000");
	assert_int_equal(strncmp(old, "# TYPE pcpu_gw_build_info gauge\n", 32), 0);
	free(open);
	free(old);
}

static void
test_labels(void **state)
{
	struct gw_text out = {0};

	gw_metrics_label(&out, "a", "plain");
	gw_metrics_label(&out, "b", "q\"b\\n\nend");
	gw_metrics_label(&out, "c", "");
	assert_string_equal(gw_text_str(&out), "a=\"plain\",b=\"q\\\"b\\\\n\\nend\",c=\"\"");
	gw_text_fini(&out);
}

/* A name that the configuration refuses, but from wherever it came it must not break the text. */
static void
test_hostile_name(void **state)
{
	struct gw_config_tunnel cfg = *gw->tunnel[1].cfg;
	char *t;

	strcpy(cfg.name, "a\"} 1\nb\\");
	gw->tunnel[1].cfg = &cfg;
	t = text(true, true, 4096);
	has(t, "pcpu_gw_tunnel_up{tunnel=\"a\\\"} 1\\nb\\\\\"} 0");
	free(t);
}

static void
test_numbers(void **state)
{
	static const uint64_t numbers[] = {0, 9, 10, 12345, UINT32_MAX, UINT64_MAX};
	struct gw_text out = {0};
	char wanted[32];

	for (size_t i = 0; i < RTE_DIM(numbers); i++) {
		gw_text_clear(&out);
		gw_metrics_number(&out, numbers[i]);
		snprintf(wanted, sizeof(wanted), "%" PRIu64, numbers[i]);
		assert_string_equal(gw_text_str(&out), wanted);
	}
	gw_text_fini(&out);
}

static void
test_accept(void **state)
{
	static const struct {
		const char *accept;
		bool openmetrics;
	} rows[] = {
			{NULL, false},
			{"", false},
			{"*/*", false},
			{"text/plain", false},
			{"application/openmetrics-text", true},
			{"application/openmetrics-text;version=1.0.0", true},
			{"Application/OpenMetrics-Text; Version=\"1.0.0\"; charset=utf-8", true},
			{"application/openmetrics-text;version=2.0.0", false},
			{"application/openmetrics-text;q=0", false},
			{"application/openmetrics-text;q=0.0,text/plain", false},
			{"application/openmetrics-text;q=0.5,text/plain;q=0.6", false},
			{"text/plain;q=0.5, application/openmetrics-text ; q=0.75", true},
			{"application/openmetrics-text;q=9", false},
			{"application/openmetrics-texts", false},
			{"xapplication/openmetrics-text", false},
			{",,;q=,;=;version=", false},
			{"application/openmetrics-text;q", true},
			/* Prometheus 2.42 */
			{"application/openmetrics-text;version=1.0.0,application/"
			 "openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
					true},
			/* Prometheus 3 */
			{"application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/"
			 "openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8"
			 ";q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
					true},
	};

	for (size_t i = 0; i < RTE_DIM(rows); i++)
		if (gw_metrics_wants_openmetrics(rows[i].accept) != rows[i].openmetrics)
			fail_msg("\"%s\"", rows[i].accept);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test_setup_teardown(test_pieces, setup, teardown),
			cmocka_unit_test_setup_teardown(test_counters, setup, teardown),
			cmocka_unit_test_setup_teardown(test_values, setup, teardown),
			cmocka_unit_test_setup_teardown(test_sas, setup, teardown),
			cmocka_unit_test_setup_teardown(test_32_bits, setup, teardown),
			cmocka_unit_test_setup_teardown(test_families, setup, teardown),
			cmocka_unit_test_setup_teardown(test_no_ike, setup, teardown),
			cmocka_unit_test_setup_teardown(test_formats, setup, teardown),
			cmocka_unit_test(test_labels),
			cmocka_unit_test_setup_teardown(test_hostile_name, setup, teardown),
			cmocka_unit_test(test_numbers),
			cmocka_unit_test(test_accept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
