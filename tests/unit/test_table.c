/* SPDX-License-Identifier: BSD-3-Clause */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "front/table.h"
#include "json_check.h"

static const struct gw_column columns[] = {
		{"name", "name", GW_KIND_TEXT},
		{"spi", "SPI", GW_KIND_SPI},
		{"rx_pps", "Mpps", GW_KIND_PPS},
		{"rx_bps", "Gbit/s", GW_KIND_BPS},
		{"packets", "packets", GW_KIND_COUNT},
		{"up", "up", GW_KIND_BOOL},
		{"note", "note", GW_KIND_TEXT},
};

#define N_COLUMNS (sizeof(columns) / sizeof(columns[0]))

static void
row(struct gw_table *t, const char *name, uint64_t n, const char *note)
{
	gw_cell_text(t, name);
	gw_cell_num(t, 0x1000 + n);
	gw_cell_real(t, 1234567.0 * (double)n);
	gw_cell_real(t, 2.5e9 * (double)n);
	gw_cell_num(t, n);
	gw_cell_bool(t, n % 2);
	gw_cell_text(t, note);
}

static void
render(const struct gw_doc *doc, bool json, const char *expected)
{
	struct gw_text out = {0};

	assert_int_equal(gw_doc_render(doc, json, &out), 0);
	assert_string_equal(gw_text_str(&out), expected);
	if (json)
		assert_json(gw_text_str(&out));
	gw_text_fini(&out);
}

static void
test_text(void **state)
{
	struct gw_doc *doc = gw_doc_new();
	struct gw_table *t = gw_doc_table(doc, "sas", NULL, columns, N_COLUMNS);

	row(t, "paris", 1, "a");
	row(t, "m\xc3\xbcnchen", 123456, "");
	row(t, NULL, 0, NULL);
	assert_int_equal(gw_table_rows(t), 3);
	render(doc, false,
			"name     SPI               Mpps      Gbit/s  packets  up   note\n"
			"paris    0x00001001       1.235       2.500        1  yes  a\n"
			"m\xc3\xbcnchen  0x0001f240  152414.704  308640.000   123456  no\n"
			"-        0x00001000       0.000       0.000        0  no   -\n");
	gw_doc_free(doc);
}

static void
test_json(void **state)
{
	struct gw_doc *doc = gw_doc_new();
	struct gw_table *t = gw_doc_table(doc, "sas", "title", columns, N_COLUMNS);

	row(t, "paris", 3, NULL);
	gw_cell_text(t, "x");
	gw_cell_num(t, UINT32_MAX);
	gw_cell_real(t, NAN);
	gw_cell_real(t, INFINITY);
	gw_cell_num(t, UINT64_MAX);
	gw_cell_none(t);
	gw_cell_fmt(t, "%d%%", 5);
	render(doc, true,
			"[\n{\"name\":\"paris\",\"spi\":4099,\"rx_pps\":3703701.000,"
			"\"rx_bps\":7500000000.000,\"packets\":3,\"up\":true,\"note\":null},\n"
			"{\"name\":\"x\",\"spi\":4294967295,\"rx_pps\":null,\"rx_bps\":null,"
			"\"packets\":18446744073709551615,\"up\":null,\"note\":\"5%\"}]\n");
	gw_doc_free(doc);
}

static void
test_empty(void **state)
{
	struct gw_doc *doc = gw_doc_new();

	gw_doc_table(doc, "sas", NULL, columns, 2);
	render(doc, false, "name  SPI\n(none)\n");
	render(doc, true, "[]\n");
	gw_doc_facts(doc, "facts", NULL);
	render(doc, true, "{\"sas\":[],\n\"facts\":{}}\n");
	gw_doc_free(doc);
}

static void
test_several(void **state)
{
	struct gw_doc *doc = gw_doc_new();
	struct gw_table *t = gw_doc_facts(doc, "tunnel", NULL);

	gw_fact(t, "name", "tunnel", GW_KIND_TEXT);
	gw_cell_text(t, "oslo");
	gw_fact(t, "pps", "rate", GW_KIND_PPS);
	gw_cell_real(t, 2e6);
	gw_fact(t, "diff", "difference", GW_KIND_DIFF);
	gw_cell_diff(t, -3);
	t = gw_doc_table(doc, "rows", "All rows:", columns, 1);
	gw_table_column(t, "w0", "w0", GW_KIND_COUNT);
	gw_cell_text(t, "r");
	gw_cell_num(t, 7);
	render(doc, false,
			"tunnel      oslo\nrate        2.000 Mpps\ndifference  -3\n\n"
			"All rows:\nname  w0\nr      7\n");
	render(doc, true,
			"{\"tunnel\":{\"name\":\"oslo\",\"pps\":2000000.000,\"diff\":-3},\n"
			"\"rows\":[\n{\"name\":\"r\",\"w0\":7}]}\n");
	gw_doc_free(doc);
}

static void
test_hostile_json(void **state)
{
	static const struct {
		const char *s, *json;
	} cases[] = {
			{"", "\"\""},
			{"a\"b\\c", "\"a\\\"b\\\\c\""},
			{"\n\t\x1b[31m\x7f", "\"\\u000a\\u0009\\u001b[31m\\u007f\""},
			{"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80",
					"\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\""},
			{"\xff", "\"\xef\xbf\xbd\""},
			{"\xc3", "\"\xef\xbf\xbd\""},
			{"\xc0\xaf", "\"\xef\xbf\xbd\xef\xbf\xbd\""}, /* overlong */
			{"\xed\xa0\x80",
					"\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""}, /* surrogate */
			{"\xf4\x90\x80\x80",
					"\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
			{"x\xe2\x82", "\"x\xef\xbf\xbd\xef\xbf\xbd\""},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct gw_text out = {0};

		gw_json_string(&out, cases[i].s);
		assert_string_equal(gw_text_str(&out), cases[i].json);
		assert_json(gw_text_str(&out));
		gw_text_fini(&out);
	}
}

/* Every byte, alone and in pairs, gives JSON that holds no control character. */
static void
test_all_bytes(void **state)
{
	for (unsigned int i = 1; i < 65536; i++) {
		char s[3] = {(char)(i & 0xff), (char)(i >> 8), 0};
		struct gw_text out = {0};

		gw_json_string(&out, s);
		assert_json(gw_text_str(&out));
		gw_text_fini(&out);
	}
}

static void
test_hostile_text(void **state)
{
	struct gw_doc *doc = gw_doc_new();
	struct gw_table *t = gw_doc_table(doc, "t", NULL, columns, 1);

	gw_cell_text(t, "\x1b[2J\r\n\x7f");
	gw_cell_text(t, "\xc2\x9b"); /* CSI as one character */
	gw_cell_text(t, "\xfe");
	render(doc, false, "name\n?[2J???\n\xef\xbf\xbd\n\xef\xbf\xbd\n");
	gw_doc_free(doc);
}

static void
test_large(void **state)
{
	struct gw_doc *doc = gw_doc_new();
	struct gw_table *t = gw_doc_table(doc, "t", NULL, columns, N_COLUMNS);
	struct gw_text out = {0};

	for (unsigned int i = 0; i < 20000; i++)
		row(t, "a tunnel", i, "n");
	assert_int_equal(gw_doc_render(doc, true, &out), 0);
	assert_json(gw_text_str(&out));
	gw_text_fini(&out);
	gw_doc_free(doc);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_text),
			cmocka_unit_test(test_json),
			cmocka_unit_test(test_empty),
			cmocka_unit_test(test_several),
			cmocka_unit_test(test_hostile_json),
			cmocka_unit_test(test_all_bytes),
			cmocka_unit_test(test_hostile_text),
			cmocka_unit_test(test_large),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
