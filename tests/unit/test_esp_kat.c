/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Known answers: whole ESP packets (draft-mcgrew-gcm-test-01, RFC 7634), and
 * NIST's AES-GCM and the ChaCha20-Poly1305 vectors of Debian's package.
 */

#include <ctype.h>

#include "esp_util.h"

/* All hex, but the first. */
struct esp_vector {
	const char *algo, *key, *nonce, *spi, *seq, *aad, *text, *sealed;
};

struct aead_vector {
	const char *algo, *key, *nonce, *aad, *text, *sealed, *tag;
	bool fail;
};

#include "aead_vectors.h"
#include "esp_vectors.h"

#define MAX_TEXT 4096

static size_t
unhex(const char *hex, uint8_t *out, size_t room)
{
	size_t len = strlen(hex) / 2;

	assert_true(len <= room);
	for (size_t i = 0; i < len; i++) {
		const char byte[3] = {hex[2 * i], hex[2 * i + 1], '\0'};

		assert_true(isxdigit(byte[0]) && isxdigit(byte[1]));
		out[i] = (uint8_t)strtoul(byte, NULL, 16);
	}
	return len;
}

static uint64_t
unhex_number(const char *hex)
{
	return strtoull(hex, NULL, 16);
}

/** Parameters with a vector's key; the salt is the start of its nonce. */
static struct ipsec_pcpu_sa_params
vector_params(const char *algo, const char *key, const char *nonce)
{
	struct ipsec_pcpu_sa_params prm = make_params(algo, AF_INET);
	uint8_t n[12];
	size_t len = unhex(key, prm.key, sizeof(prm.key));

	unhex(nonce, n, sizeof(n));
	memcpy(prm.key + len, n, 4);
	assert_int_equal(len + 4, prm.algo->key_len);
	return prm;
}

/** Seal and open through the family's operations, in a burst of three equal jobs. */
static void
check_aead(const struct aead_vector *v)
{
	static uint8_t text[3][MAX_TEXT], want[MAX_TEXT], aad[256], plain[MAX_TEXT];
	struct ipsec_pcpu_sa_params prm = vector_params(v->algo, v->key, v->nonce);
	struct ipsec_pcpu_ctx *ctx = make_ctx();
	struct ipsec_pcpu_sa *sa = make_sa(ctx, prm, IPSEC_PCPU_OUT);
	size_t len = unhex(v->sealed, want, sizeof(want) - 16);

	sa->aad_len = unhex(v->aad, aad, sizeof(aad) - 1);
	unhex(v->tag, want + len, 16);
	unhex(v->text, plain, sizeof(plain));
	for (int i = 0; i < 3; i++) {
		struct aead_job *job = &ctx->job[i];

		ctx->job_sa[i] = sa;
		unhex(v->nonce, job->nonce, sizeof(job->nonce));
		job->text = text[i];
		job->len = len;
		job->aad = aad;
		memcpy(text[i], plain, len);
	}
	if (!v->fail) {
		assert_int_equal(sa->aead->seal_burst(ctx, 0, 3), 0);
		for (int i = 0; i < 3; i++)
			assert_memory_equal(text[i], want, len + sa->icv_len);
	}
	for (int i = 0; i < 3; i++)
		memcpy(text[i], want, len);
	assert_int_equal(sa->aead->open_burst(ctx, 0, 3), 0);
	for (int i = 0; i < 3; i++) {
		bool holds = memcmp(ctx->job[i].tag, want + len, sa->icv_len) == 0;

		assert_int_equal(holds, !v->fail);
		if (!v->fail)
			assert_memory_equal(text[i], plain, len);
	}
	free_sa(sa);
	free_ctx(ctx);
}

static void
test_esp_aead(void **state)
{
	unsigned int n = 0;

	for (const struct esp_vector *v = esp_vectors; v->algo != NULL; v++, n++) {
		char sealed[2 * MAX_TEXT];
		size_t len = strlen(v->text);

		snprintf(sealed, sizeof(sealed), "%.*s", (int)len, v->sealed);
		check_aead(&(struct aead_vector){
				.algo = v->algo,
				.key = v->key,
				.nonce = v->nonce,
				.aad = v->aad,
				.text = v->text,
				.sealed = sealed,
				.tag = v->sealed + len,
		});
	}
	assert_int_equal(n, 15);
}

/** Put the vector's ESP packet behind an outer IPv4 header. */
static void
build_esp(const struct esp_vector *v, struct pkt *p)
{
	uint8_t *d = p->buf + PKT_HEADROOM, nonce[12];
	size_t len;

	memset(d, 0, 20);
	d[0] = 0x45;
	unhex(v->spi, d + 20, 4);
	unhex(v->seq + strlen(v->seq) - 8, d + 24, 4);
	unhex(v->nonce, nonce, sizeof(nonce));
	memcpy(d + 28, nonce + 4, 8);
	len = unhex(v->sealed, d + 36, 1024);
	mbuf_set(&p->mbuf, p->buf, sizeof(p->buf), PKT_HEADROOM, 36 + len);
	p->mbuf.l3_len = 20;
}

/** What decapsulation must say of a plaintext: by its next header, and by what it begins with. */
static int
expected(const uint8_t *text, size_t len)
{
	uint8_t proto = text[len - 1];

	return proto == IPPROTO_IPIP ? -1 : IPSEC_PCPU_DROP_NEXT_HEADER;
}

/*
 * The whole of decapsulation on the published packets. Most of them carry next
 * header 1, so they end as NEXT_HEADER: but only an authentic packet does.
 */
static void
check_decap(const struct esp_vector *v)
{
	struct ipsec_pcpu_sa_params prm = vector_params(v->algo, v->key, v->nonce);
	struct ipsec_pcpu_ctx *ctx = make_ctx();
	uint8_t text[MAX_TEXT];
	size_t len = unhex(v->text, text, sizeof(text));
	struct ipsec_pcpu_sa *sa;
	struct pkt p;
	int got;

	prm.spi = (uint32_t)unhex_number(v->spi);
	prm.esn = strlen(v->seq) == 16;
	prm.seq = unhex_number(v->seq) - 1;
	sa = make_sa(ctx, prm, IPSEC_PCPU_IN);
	build_esp(v, &p);
	got = decap_one(ctx, sa, &p.mbuf);
	assert_int_equal(got, expected(text, len));
	assert_int_equal(sa->replay.top, unhex_number(v->seq));
	if (got < 0)
		assert_memory_equal(pkt_data(&p), text, p.mbuf.data_len);
	build_esp(v, &p);
	assert_int_equal(decap_one(ctx, sa, &p.mbuf), IPSEC_PCPU_DROP_REPLAYED);
	free_sa(sa);
	free_ctx(ctx);
}

static void
test_esp_decap(void **state)
{
	unsigned int n = 0;

	for (const struct esp_vector *v = esp_vectors; v->algo != NULL; v++) {
		if (unhex_number(v->spi) < IPSEC_PCPU_MIN_SPI)
			continue;
		check_decap(v);
		n++;
	}
	assert_int_equal(n, 14);
}

/** The inner packets, where they are whole, there and back under the vector's key. */
static bool
check_round_trip(const struct esp_vector *v)
{
	struct ipsec_pcpu_sa_params prm = vector_params(v->algo, v->key, v->nonce);
	struct ipsec_pcpu_ctx *ctx = make_ctx();
	uint8_t text[MAX_TEXT];
	size_t len = unhex(v->text, text, sizeof(text));
	size_t total = (size_t)text[2] << 8 | text[3];
	struct ipsec_pcpu_sa *out, *in;
	struct pkt p;
	bool whole = text[0] == 0x45 && total <= len;

	prm.esn = strlen(v->seq) == 16;
	prm.seq = unhex_number(v->seq) - 1;
	out = make_sa(ctx, prm, IPSEC_PCPU_OUT);
	in = make_sa(ctx, prm, IPSEC_PCPU_IN);
	if (whole) {
		mbuf_set(&p.mbuf, p.buf, sizeof(p.buf), PKT_HEADROOM, total);
		memcpy(pkt_data(&p), text, total);
		encap_one(ctx, out, &p);
		assert_int_equal(decap_one(ctx, in, &p.mbuf), -1);
		assert_int_equal(p.mbuf.data_len, total);
		assert_memory_equal(pkt_data(&p), text, total);
		assert_int_equal(in->replay.top, unhex_number(v->seq));
	}
	free_sa(out);
	free_sa(in);
	free_ctx(ctx);
	return whole;
}

static void
test_esp_round_trip(void **state)
{
	unsigned int n = 0;

	for (const struct esp_vector *v = esp_vectors; v->algo != NULL; v++)
		n += check_round_trip(v);
	assert_int_equal(n, 12);
}

static void
test_aead(void **state)
{
	unsigned int n = 0;

	for (const struct aead_vector *v = aead_vectors; v->algo != NULL; v++, n++)
		check_aead(v);
	if (n == 0)
		print_message("# skipped: python3-cryptography-vectors is not installed\n");
	else
		print_message("# %u known answers\n", n);
	assert_true(n == 0 || n > 2000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_esp_aead),
			cmocka_unit_test(test_esp_decap),
			cmocka_unit_test(test_esp_round_trip),
			cmocka_unit_test(test_aead),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
