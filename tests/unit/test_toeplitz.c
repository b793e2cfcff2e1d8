/* SPDX-License-Identifier: BSD-3-Clause */

/* The Toeplitz hash against Microsoft's published answers for its published key. */

#include <arpa/inet.h>

#include <ipsec_pcpu_steer.h>

#include "esp_util.h"

static const uint8_t ms_key[IPSEC_PCPU_RSS_KEY_LEN] = {0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e,
		0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae,
		0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7,
		0x3b, 0xbe, 0xac, 0x01, 0xfa};

static const struct {
	int family;
	const char *saddr, *daddr;
	uint16_t sport, dport;
	uint32_t with_ports, addresses;
} answers[] = {
		{AF_INET, "66.9.149.187", "161.142.100.80", 2794, 1766, 0x51ccc178, 0x323e8fc2},
		{AF_INET, "199.92.111.2", "65.69.140.83", 14230, 4739, 0xc626b0ea, 0xd718262a},
		{AF_INET, "24.19.198.95", "12.22.207.184", 12898, 38024, 0x5c2b394a, 0xd2d0a5de},
		{AF_INET, "38.27.205.30", "209.142.163.6", 48228, 2217, 0xafc7327f, 0x82989176},
		{AF_INET, "153.39.163.191", "202.188.127.2", 44251, 1303, 0x10e828a2, 0x5d1809c5},
		{AF_INET6, "3ffe:2501:200:1fff::7", "3ffe:2501:200:3::1", 2794, 1766, 0x40207d3d,
				0x2cc18cd5},
		{AF_INET6, "3ffe:501:8::260:97ff:fe40:efab", "ff02::1", 14230, 4739, 0xdde51bbf,
				0x0f0c461c},
		{AF_INET6, "3ffe:1900:4545:3:200:f8ff:fe21:67cf", "fe80::200:f8ff:fe21:67cf", 44251,
				38024, 0x02d1feef, 0x4b61e985},
};

static void
test_known_answers(void **state)
{
	for (unsigned int i = 0; i < RTE_DIM(answers); i++) {
		struct ipsec_pcpu_tuple t = {
				.family = (uint8_t)answers[i].family,
				.sport = answers[i].sport,
				.dport = answers[i].dport,
		};
		size_t len = t.family == AF_INET ? 4 : 16;
		uint8_t data[32];

		assert_int_equal(inet_pton(t.family, answers[i].saddr, &t.saddr), 1);
		assert_int_equal(inet_pton(t.family, answers[i].daddr, &t.daddr), 1);
		memcpy(data, &t.saddr, len);
		memcpy(data + len, &t.daddr, len);
		assert_int_equal(ipsec_pcpu_tuple_hash(ms_key, &t), answers[i].with_ports);
		assert_int_equal(ipsec_pcpu_toeplitz(ms_key, data, 2 * len), answers[i].addresses);
	}
}

/** The definition, bit by bit. */
static uint32_t
naive_toeplitz(const uint8_t *key, const uint8_t *data, size_t len)
{
	uint32_t hash = 0;

	for (size_t bit = 0; bit < 8 * len; bit++) {
		if (!(data[bit / 8] >> (7 - bit % 8) & 1))
			continue;
		for (size_t k = 0; k < 32; k++)
			hash ^= (uint32_t)(key[(bit + k) / 8] >> (7 - (bit + k) % 8) & 1)
					<< (31 - k);
	}
	return hash;
}

static void
test_definition(void **state)
{
	/* Exactly len + 4 bytes of key, so that a sanitizer sees a byte more. */
	for (size_t len = 0; len <= 36; len++) {
		uint8_t *key = malloc(len + 4), *data = malloc(len + 1);

		for (int round = 0; round < 50; round++) {
			for (size_t i = 0; i < len + 4; i++)
				key[i] = (uint8_t)rnd();
			for (size_t i = 0; i < len; i++)
				data[i] = (uint8_t)rnd();
			assert_int_equal(ipsec_pcpu_toeplitz(key, data, len),
					naive_toeplitz(key, data, len));
		}
		free(key);
		free(data);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_known_answers),
			cmocka_unit_test(test_definition),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
