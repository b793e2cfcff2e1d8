/* SPDX-License-Identifier: BSD-3-Clause */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "addr.h"

static void
test_parse(void **state)
{
	/* clang-format off */
	static const struct {
		const char *text, *again; /* NULL: refused */
	} rows[] = {
		{"10.1.0.1", "10.1.0.1/32"},
		{"10.1.0.1/16", "10.1.0.1/16"},
		{"0.0.0.0/0", "0.0.0.0/0"},
		{"2001:DB8::1", "2001:db8::1/128"},
		{"::/0", "::/0"},
		{"fd00::1/64", "fd00::1/64"},
		{"::ffff:10.0.0.1/128", "::ffff:10.0.0.1/128"},
		{"", NULL},
		{"/", NULL},
		{"/8", NULL},
		{"10.1.0.1/", NULL},
		{"10.1.0.1/33", NULL},
		{"10.1.0.1/-1", NULL},
		{"10.1.0.1/+8", NULL},
		{"10.1.0.1/ 8", NULL},
		{"10.1.0.1/8 ", NULL},
		{"10.1.0.1/0000000008", NULL},
		{"10.1.0.1/4294967304", NULL},
		{"10.1.0/8", NULL},
		{"10.1.0.256", NULL},
		{" 10.1.0.1", NULL},
		{"fd00::1/129", NULL},
		{"fd00::1::2", NULL},
		{"fe80::1%eth0", NULL},
		{"localhost", NULL},
		{"11111111111111111111111111111111111111111111111111111111111111111111/8", NULL},
	};
	/* clang-format on */
	char buf[GW_ADDR_STRLEN];
	struct gw_prefix p;

	for (size_t i = 0; i < RTE_DIM(rows); i++) {
		memset(&p, 0xee, sizeof(p));
		if (rows[i].again == NULL) {
			assert_int_not_equal(gw_prefix_parse(rows[i].text, &p), 0);
			assert_int_equal(p.len, 0xee); /* untouched */
			continue;
		}
		assert_int_equal(gw_prefix_parse(rows[i].text, &p), 0);
		assert_string_equal(gw_prefix_text(&p, buf), rows[i].again);
	}
}

static void
test_none(void **state)
{
	char buf[GW_ADDR_STRLEN];
	struct gw_prefix none = {0};

	assert_string_equal(gw_addr_text(&none.addr, buf), "-");
	assert_string_equal(gw_prefix_text(&none, buf), "-");
	gw_prefix_mask(&none);
	assert_false(gw_prefix_has(&none, &none.addr));
	assert_true(gw_addr_equal(&none.addr, &none.addr));
}

/* Every length: the mask keeps what is inside, and the bit before it matters. */
static void
test_every_length(void **state)
{
	static const char *const texts[] = {
			"170.85.170.85", "aaaa:5555:aaaa:5555:aaaa:5555:aaaa:5555"};
	struct gw_prefix p, m;
	struct gw_addr a;
	uint8_t *bytes = (uint8_t *)&a.a;

	for (size_t t = 0; t < RTE_DIM(texts); t++) {
		assert_int_equal(gw_prefix_parse(texts[t], &p), 0);
		for (unsigned int len = 0; len <= gw_addr_len(p.addr.family) * 8; len++) {
			p.len = len;
			m = p;
			gw_prefix_mask(&m);
			assert_true(gw_prefix_has(&m, &p.addr));
			for (unsigned int bit = 0; bit < gw_addr_len(p.addr.family) * 8; bit++) {
				a = p.addr;
				bytes[bit / 8] ^= 0x80 >> bit % 8;
				assert_int_equal(gw_prefix_has(&p, &a), bit >= len);
				assert_int_equal(gw_prefix_has(&m, &a), bit >= len);
				assert_false(gw_addr_equal(&a, &p.addr));
			}
		}
	}
}

static void
test_families(void **state)
{
	struct gw_prefix v4, v6;

	assert_int_equal(gw_prefix_parse("0.0.0.0/0", &v4), 0);
	assert_int_equal(gw_prefix_parse("::/0", &v6), 0);
	assert_false(gw_prefix_has(&v4, &v6.addr));
	assert_false(gw_prefix_has(&v6, &v4.addr));
	assert_false(gw_addr_equal(&v4.addr, &v6.addr));
}

static void
test_listen(void **state)
{
	static const struct {
		const char *text, *shown; /* shown NULL: refused */
	} rows[] = {
			{"127.0.0.1:9470", "127.0.0.1:9470"},
			{"0.0.0.0:1", "0.0.0.0:1"},
			{"[::1]:9470", "[::1]:9470"},
			{"[2001:db8:1111:2222:3333:4444:5555:6666]:65535",
					"[2001:db8:1111:2222:3333:4444:5555:6666]:65535"},
			{"9470", "127.0.0.1:9470"},
			{"", NULL},
			{":", NULL},
			{":9470", NULL},
			{"0", NULL},
			{"127.0.0.1", NULL},
			{"127.0.0.1:", NULL},
			{"127.0.0.1:0", NULL},
			{"127.0.0.1:65536", NULL},
			{"127.0.0.1:99999999999", NULL},
			{"127.0.0.1:+80", NULL},
			{"127.0.0.1:80 ", NULL},
			{"[127.0.0.1]:80", NULL},
			{"::1:9470", NULL},
			{"[::1]9470", NULL},
			{"[::1", NULL},
			{"[]:80", NULL},
			{"localhost:80", NULL},
			{"[1111111111111111111111111111111111111111111111111111111111111111]:80",
					NULL},
	};
	struct gw_listen l;
	char buf[GW_ADDR_STRLEN];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int rc = gw_listen_parse(rows[i].text, &l);

		if ((rc == 0) != (rows[i].shown != NULL))
			fail_msg("\"%s\": %d", rows[i].text, rc);
		if (rc == 0)
			assert_string_equal(gw_listen_text(&l, buf), rows[i].shown);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_parse),
			cmocka_unit_test(test_none),
			cmocka_unit_test(test_every_length),
			cmocka_unit_test(test_families),
			cmocka_unit_test(test_listen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
