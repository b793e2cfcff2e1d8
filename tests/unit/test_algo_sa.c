/* SPDX-License-Identifier: BSD-3-Clause */

/* The algorithm table, the checker's sentences, and the life of SAs and contexts. */

#include "esp_util.h"

static void
test_algo_table(void **state)
{
	const struct ipsec_pcpu_algo *a;
	unsigned int n = 0;

	for (; (a = ipsec_pcpu_algo_get(n)) != NULL; n++) {
		assert_ptr_equal(ipsec_pcpu_algo_find(a->name), a);
		assert_true(a->key_len <= IPSEC_PCPU_MAX_KEY);
		assert_int_equal(a->salt_len, 4);
		assert_int_equal(a->iv_len, SA_IV_LEN);
		assert_true(a->icv_len == 16 || a->icv_len == 12 || a->icv_len == 8);
		assert_int_equal(a->align & (a->align - 1), 0);
		assert_non_null(a->xfrm_name);
		assert_non_null(aead_get(a));
	}
	assert_int_equal(n, 10);
	assert_null(ipsec_pcpu_algo_get(UINT32_MAX));
	assert_null(ipsec_pcpu_algo_find("aes128gcm"));
	assert_null(ipsec_pcpu_algo_find(""));
	assert_int_equal(ipsec_pcpu_algo_find("aes256gcm8")->key_len, 36);
}

static void
test_drop_table(void **state)
{
	for (unsigned int i = 0; i < IPSEC_PCPU_N_DROPS; i++) {
		const struct ipsec_pcpu_drop_info *info = &ipsec_pcpu_drop_info[i];

		assert_true(info->name[0] != '\0' && info->xfrm_name[0] != '\0');
		assert_true(info->what[0] != '\0' && info->remedy[0] != '\0');
		for (unsigned int j = 0; j < i; j++)
			assert_string_not_equal(info->name, ipsec_pcpu_drop_info[j].name);
	}
}

static void
assert_refused(const struct ipsec_pcpu_sa_params *prm, const char *sentence)
{
	struct ipsec_pcpu_ctx *ctx = make_ctx();
	struct ipsec_pcpu_sa *sa = alloc_lines(ipsec_pcpu_sa_size());
	const char *reason = NULL;

	assert_int_equal(ipsec_pcpu_sa_check(prm, &reason), -EINVAL);
	assert_string_equal(reason, sentence);
	assert_int_equal(ipsec_pcpu_sa_check(prm, NULL), -EINVAL);
	assert_int_equal(ipsec_pcpu_sa_init(ctx, sa, prm), -EINVAL);
	free(sa);
	free_ctx(ctx);
}

/** One refusal: valid parameters, but for @p change. */
#define REFUSED(dir_, sentence, change) \
	do { \
		struct ipsec_pcpu_sa_params p = make_params("aes128gcm16", AF_INET); \
		p.dir = dir_; \
		assert_int_equal(ipsec_pcpu_sa_check(&p, NULL), 0); \
		change; \
		assert_refused(&p, sentence); \
	} while (0)

static void
test_refusals(void **state)
{
	struct ipsec_pcpu_algo copy = *ipsec_pcpu_algo_get(0);

	REFUSED(IPSEC_PCPU_IN, "an SA is either inbound or outbound", p.dir = 7);
	REFUSED(IPSEC_PCPU_IN, "the SPI must be 256 or more: lower ones are reserved (RFC 4303)",
			p.spi = 0);
	REFUSED(IPSEC_PCPU_OUT, "the SPI must be 256 or more: lower ones are reserved (RFC 4303)",
			p.spi = 255);
	REFUSED(IPSEC_PCPU_IN, "there is no algorithm", p.algo = NULL);
	REFUSED(IPSEC_PCPU_IN, "the algorithm is not one of the library's table", p.algo = &copy);
	REFUSED(IPSEC_PCPU_IN, "the outer addresses must be IPv4 or IPv6", p.family = AF_UNIX);
	REFUSED(IPSEC_PCPU_IN, "UDP encapsulation needs both ports, encap_sport and encap_dport",
			p.encap_sport = 4500);
	REFUSED(IPSEC_PCPU_OUT, "UDP encapsulation needs both ports, encap_sport and encap_dport",
			p.encap_dport = 4500);
	REFUSED(IPSEC_PCPU_IN, "a sequence number above 2^32 - 1 needs extended ones (esn)",
			p.seq = UINT64_C(1) << 32);
}

static void
test_inbound_refusals(void **state)
{
	REFUSED(IPSEC_PCPU_IN, "replay_window must be 4096 packets or less",
			p.replay_window = 4160);
	REFUSED(IPSEC_PCPU_IN, "replay_window must be a multiple of 64 packets",
			p.replay_window = 100);
}

static void
test_outbound_refusals(void **state)
{
	REFUSED(IPSEC_PCPU_OUT, "the outer source address is not set", p.saddr.ip4 = 0);
	REFUSED(IPSEC_PCPU_OUT, "the outer destination address is not set", p.daddr.ip4 = 0);
	REFUSED(IPSEC_PCPU_OUT, "the outer source address is not set", {
		p.family = AF_INET6;
		memset(&p.saddr, 0, sizeof(p.saddr));
	});
	REFUSED(IPSEC_PCPU_OUT, "the outer TTL must be 1 or more", p.ttl = 0);
	REFUSED(IPSEC_PCPU_OUT, "the outer DSCP must be 0 to 63, or copied from the inner packet",
			p.dscp = 64);
	REFUSED(IPSEC_PCPU_OUT, "the outer DSCP must be 0 to 63, or copied from the inner packet",
			p.dscp = -2);
	REFUSED(IPSEC_PCPU_OUT, "the outer DF bit must be copied, set or cleared", p.df = 3);
	REFUSED(IPSEC_PCPU_OUT, "the outer flow label has 20 bits", p.flow_label = 0x100000);
	REFUSED(IPSEC_PCPU_OUT, "seq_limit lies before the last sequence number that was sent", {
		p.seq = 10;
		p.seq_limit = 9;
	});
}

static void
test_valid(void **state)
{
	struct ipsec_pcpu_sa_params p = make_params("chacha20poly1305", AF_INET6);

	p.dir = IPSEC_PCPU_IN;
	for (p.replay_window = 0; p.replay_window <= 4096; p.replay_window += 64)
		assert_int_equal(ipsec_pcpu_sa_check(&p, NULL), 0);
	p = make_params("aes256gcm16", AF_INET6);
	p.esn = true;
	p.seq = UINT64_C(1) << 40;
	p.encap_sport = 50000;
	p.encap_dport = 4500;
	p.dscp = 63;
	p.flow_label = 0xfffff;
	assert_int_equal(ipsec_pcpu_sa_check(&p, NULL), 0);
}

/* No byte of an SA is left once it is gone; nor of a context. */
static void
test_wipe(void **state)
{
	struct ipsec_pcpu_ctx *ctx = make_ctx();
	struct ipsec_pcpu_sa *sa =
			make_sa(ctx, make_params("chacha20poly1305", AF_INET), IPSEC_PCPU_OUT);
	struct ipsec_pcpu_sa_params p = make_params("chacha20poly1305", AF_INET);
	const uint8_t *byte = (const uint8_t *)sa;

	assert_memory_equal(sa->key.chacha, p.key, 32);
	ipsec_pcpu_sa_fini(sa);
	for (size_t i = 0; i < ipsec_pcpu_sa_size(); i++)
		assert_int_equal(byte[i], 0);
	free(sa);
	ipsec_pcpu_ctx_fini(ctx);
	byte = (const uint8_t *)ctx;
	for (size_t i = 0; i < ipsec_pcpu_ctx_size(); i++)
		assert_int_equal(byte[i], 0);
	free(ctx);
}

static void
test_sa_fits(void **state)
{
	assert_true(ipsec_pcpu_sa_size() <= 4096);
	assert_int_equal(ipsec_pcpu_sa_size() % RTE_CACHE_LINE_SIZE, 0);
	assert_int_equal(ipsec_pcpu_ctx_size() % RTE_CACHE_LINE_SIZE, 0);
}

/* FIPS 180-4's own example. */
static void
test_sha256(void **state)
{
	static const uint8_t want[32] = {0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41,
			0x40, 0xde, 0x5d, 0xae, 0x22, 0x23, 0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17,
			0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad};
	struct ipsec_pcpu_ctx *ctx = make_ctx();
	uint8_t digest[32];

	ipsec_pcpu_sha256(ctx, "abc", 3, digest);
	assert_memory_equal(digest, want, sizeof(want));
	free_ctx(ctx);
	assert_true(ipsec_pcpu_crypto_version() >= 0x10300);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_algo_table),
			cmocka_unit_test(test_drop_table),
			cmocka_unit_test(test_refusals),
			cmocka_unit_test(test_inbound_refusals),
			cmocka_unit_test(test_outbound_refusals),
			cmocka_unit_test(test_valid),
			cmocka_unit_test(test_wipe),
			cmocka_unit_test(test_sa_fits),
			cmocka_unit_test(test_sha256),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
