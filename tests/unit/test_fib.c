/* SPDX-License-Identifier: BSD-3-Clause */

/* The FIB against a plain search through all routes, on random tables with a fixed seed. */

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

#include "datapath/fib.h"

#define N_PROPERTY 300
#define N_LOOKUPS 20000
#define N_LARGE 100000

static uint64_t seed;

static uint64_t
next_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static bool
bit_equal(const uint8_t *a, const uint8_t *b, unsigned int bits)
{
	for (unsigned int i = 0; i < bits; i++)
		if ((a[i / 8] ^ b[i / 8]) & 0x80 >> i % 8)
			return false;
	return true;
}

static uint32_t
naive(const struct gw_fib_route *r, unsigned int n, uint8_t family, const uint8_t *dst)
{
	uint32_t nh = GW_FIB_NONE;
	int best = -1;

	for (unsigned int i = 0; i < n; i++) {
		if (r[i].prefix.addr.family != family || r[i].prefix.len < best)
			continue;
		if (!bit_equal((const uint8_t *)&r[i].prefix.addr.a, dst, r[i].prefix.len))
			continue;
		best = r[i].prefix.len;
		nh = r[i].nh;
	}
	return nh;
}

static uint32_t
lookup(const struct gw_fib *fib, uint8_t family, const uint8_t *dst)
{
	rte_be32_t ip4;

	if (family == AF_INET6)
		return gw_fib_lookup6(fib, dst);
	memcpy(&ip4, dst, 4);
	return gw_fib_lookup4(fib, ip4);
}

/* Few values of each byte, so that prefixes nest and meet. */
static void
random_addr(uint8_t a[16])
{
	static const uint8_t values[] = {0, 1, 10, 127, 128, 192, 254, 255};

	for (unsigned int i = 0; i < 16; i++)
		a[i] = next_random() % 4 == 0 ? next_random() : values[next_random() % 8];
	if (next_random() % 2)
		memset(a, 10, next_random() % 16);
}

static void
random_route(struct gw_fib_route *r, uint8_t family)
{
	memset(r, 0, sizeof(*r));
	r->prefix.addr.family = family;
	random_addr(r->prefix.addr.a.ip6);
	r->prefix.len = next_random() % (gw_addr_len(family) * 8 + 1);
	r->nh = next_random() >> 33;
}

static void
check_property(uint8_t family, uint64_t start, int socket)
{
	struct gw_fib_route r[N_PROPERTY];
	struct gw_fib *fib;

	seed = start;
	for (unsigned int i = 0; i < N_PROPERTY; i++)
		random_route(&r[i], i % 5 != 0 ? family : (family == AF_INET ? AF_INET6 : AF_INET));
	fib = gw_fib_build(family, r, N_PROPERTY, socket);
	assert_non_null(fib);
	for (unsigned int i = 0; i < N_LOOKUPS; i++) {
		uint8_t dst[16];

		if (i % 2) {
			random_addr(dst);
		} else { /* the edges of a route */
			memcpy(dst, r[next_random() % N_PROPERTY].prefix.addr.a.ip6, 16);
			dst[next_random() % 16] ^= 1 << next_random() % 8;
		}
		assert_int_equal(lookup(fib, family, dst), naive(r, N_PROPERTY, family, dst));
	}
	gw_fib_free(fib);
}

static void
test_property4(void **state)
{
	for (unsigned int i = 1; i <= 8; i++)
		check_property(AF_INET, UINT64_C(0x9e3779b97f4a7c15) * i, -1);
}

static void
test_property6(void **state)
{
	for (unsigned int i = 1; i <= 8; i++)
		check_property(AF_INET6, UINT64_C(0xc2b2ae3d27d4eb4f) * i, -1);
}

static void
test_on_node(void **state)
{
	check_property(AF_INET, 42, 0);
	check_property(AF_INET6, 43, 0);
}

static struct gw_fib_route
route(const char *addr, uint8_t len, uint32_t nh)
{
	struct gw_fib_route r = {.prefix.len = len, .nh = nh};
	unsigned int b[4];

	assert_int_equal(sscanf(addr, "%u.%u.%u.%u", &b[0], &b[1], &b[2], &b[3]), 4);
	r.prefix.addr.family = AF_INET;
	r.prefix.addr.a.ip4 = rte_cpu_to_be_32(b[0] << 24 | b[1] << 16 | b[2] << 8 | b[3]);
	return r;
}

static uint32_t
find4(const struct gw_fib *fib, const char *addr)
{
	struct gw_fib_route r = route(addr, 32, 0);

	return gw_fib_lookup4(fib, r.prefix.addr.a.ip4);
}

static void
test_nested(void **state)
{
	const struct gw_fib_route r[] = {
			route("10.1.2.3", 32, 6),
			route("0.0.0.0", 0, 1),
			route("10.1.2.0", 24, 5),
			route("10.0.0.0", 8, 2),
			route("10.1.0.0", 16, 3),
			route("10.1.2.0", 23, 4),
			route("255.255.255.255", 32, 7),
	};
	struct gw_fib *fib = gw_fib_build(AF_INET, r, 7, -1);

	assert_non_null(fib);
	assert_int_equal(find4(fib, "10.1.2.3"), 6);
	assert_int_equal(find4(fib, "10.1.2.4"), 5);
	assert_int_equal(find4(fib, "10.1.3.255"), 4);
	assert_int_equal(find4(fib, "10.1.4.0"), 3);
	assert_int_equal(find4(fib, "10.2.0.0"), 2);
	assert_int_equal(find4(fib, "11.0.0.0"), 1);
	assert_int_equal(find4(fib, "255.255.255.255"), 7);
	assert_int_equal(find4(fib, "255.255.255.254"), 1);
	assert_int_equal(fib->n_routes, 7);
	gw_fib_free(fib);
}

static void
test_empty_and_default(void **state)
{
	struct gw_fib_route r = {.prefix.addr.family = AF_INET6, .nh = 9};
	struct gw_fib *fib = gw_fib_build(AF_INET6, NULL, 0, -1);
	const uint8_t dst[16] = {0x20, 0x01};

	assert_non_null(fib);
	assert_int_equal(gw_fib_lookup6(fib, dst), GW_FIB_NONE);
	gw_fib_free(fib);
	fib = gw_fib_build(AF_INET6, &r, 1, -1);
	assert_int_equal(gw_fib_lookup6(fib, dst), 9);
	gw_fib_free(fib);
	fib = gw_fib_build(AF_INET, &r, 1, -1);
	assert_int_equal(find4(fib, "10.0.0.1"), GW_FIB_NONE);
	assert_int_equal(fib->n_routes, 0);
	gw_fib_free(fib);
	gw_fib_free(NULL);
}

static void
test_later_counts_and_unmasked(void **state)
{
	const struct gw_fib_route r[] = {
			route("192.168.1.77", 24, 1), /* bits behind the length are passed over */
			route("192.168.1.0", 24, 2), route("192.168.1.1", 33, 3), /* impossible */
	};
	struct gw_fib *fib = gw_fib_build(AF_INET, r, 3, -1);

	assert_int_equal(find4(fib, "192.168.1.1"), 2);
	assert_int_equal(find4(fib, "192.168.2.1"), GW_FIB_NONE);
	assert_int_equal(fib->n_routes, 2);
	gw_fib_free(fib);
}

static double
now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1e3 + ts.tv_nsec / 1e6;
}

/* What a table from the Internet looks like: mostly /16 to /24, and /32 to /48. */
static void
large(uint8_t family, unsigned int shortest, unsigned int longest)
{
	struct gw_fib_route *r = calloc(N_LARGE, sizeof(*r));
	struct gw_fib *fib;
	double start;

	seed = 7;
	for (unsigned int i = 0; i < N_LARGE; i++) {
		random_route(&r[i], family);
		for (unsigned int j = 0; j < 16; j++)
			r[i].prefix.addr.a.ip6[j] = next_random();
		if (family == AF_INET6) /* a few providers' worth of address space */
			memcpy(r[i].prefix.addr.a.ip6, "\x20\x01\x0d", 3);
		r[i].prefix.len = shortest + next_random() % (longest - shortest + 1);
	}
	start = now_ms();
	fib = gw_fib_build(family, r, N_LARGE, -1);
	assert_non_null(fib);
	print_message("# %u IPv%c routes: built in %.1f ms, %zu KB\n", N_LARGE,
			family == AF_INET ? '4' : '6', now_ms() - start, gw_fib_size(fib) >> 10);
	for (unsigned int i = 0; i < 200; i++) {
		const uint8_t *dst = r[next_random() % N_LARGE].prefix.addr.a.ip6;

		assert_int_equal(lookup(fib, family, dst), naive(r, N_LARGE, family, dst));
	}
	gw_fib_free(fib);
	free(r);
}

static void
test_large(void **state)
{
	large(AF_INET, 16, 24);
	large(AF_INET6, 32, 48);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_property4),
			cmocka_unit_test(test_property6),
			cmocka_unit_test(test_on_node),
			cmocka_unit_test(test_nested),
			cmocka_unit_test(test_empty_and_default),
			cmocka_unit_test(test_later_counts_and_unmasked),
			cmocka_unit_test(test_large),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
