/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Bursts of packets of several SAs against the same packets one by one through SAs that are
 * the same: bytes, order, reasons and counters must not differ in anything.
 */

#include "esp_util.h"

#define N_SAS 7
#define ROUNDS 400
#define MAX IPSEC_PCPU_MAX_BURST

/** What differs from SA to SA: families that alternate, both versions, with UDP and without. */
static const struct {
	const char *algo;
	uint8_t family;
	bool udp, esn;
} kinds[N_SAS] = {
		{"aes128gcm16", AF_INET, false, true},
		{"aes128gcm16", AF_INET, true, false},
		{"aes256gcm16", AF_INET6, true, true},
		{"chacha20poly1305", AF_INET, true, true},
		{"chacha20poly1305", AF_INET6, false, false},
		{"aes128gcm8", AF_INET, false, true},
		{"aes192gcm12", AF_INET6, true, false},
};

/** Twice the same: what is called with many SAs, and with one at a time. */
struct side {
	struct ipsec_pcpu_ctx *ctx;
	struct ipsec_pcpu_sa *out[N_SAS];
	struct ipsec_pcpu_sa *in[N_SAS];
	struct pkt pkt[MAX];
	struct rte_mbuf *m[MAX];
	uint8_t drop[MAX];
	uint8_t from[MAX];
};

static void
side_init(struct side *s)
{
	s->ctx = make_ctx();
	for (unsigned int i = 0; i < N_SAS; i++) {
		struct ipsec_pcpu_sa_params prm = make_params(kinds[i].algo, kinds[i].family);

		prm.spi += i;
		prm.key[0] += i;
		prm.esn = kinds[i].esn;
		if (kinds[i].udp)
			prm.encap_sport = prm.encap_dport = 4500;
		s->in[i] = make_sa(s->ctx, prm, IPSEC_PCPU_IN);
		/* limits that are reached on the way, each in another manner */
		if (i == 1)
			prm.seq_limit = 700;
		if (i == 3)
			prm.hard_packets = 900;
		if (i == 5)
			prm.hard_bytes = 200000;
		s->out[i] = make_sa(s->ctx, prm, IPSEC_PCPU_OUT);
	}
}

static void
side_fini(struct side *s)
{
	for (unsigned int i = 0; i < N_SAS; i++) {
		free_sa(s->out[i]);
		free_sa(s->in[i]);
	}
	free_ctx(s->ctx);
}

static void
assert_same_stats(const struct ipsec_pcpu_sa *a, const struct ipsec_pcpu_sa *b)
{
	struct ipsec_pcpu_sa_stats sa, sb;

	memset(&sa, 0, sizeof(sa)); /* padding is compared, too */
	memset(&sb, 0, sizeof(sb));
	ipsec_pcpu_sa_stats(a, &sa);
	ipsec_pcpu_sa_stats(b, &sb);
	assert_memory_equal(&sa, &sb, sizeof(sa));
}

/** Some are no IP packets, some have no room, some are in two segments. */
static void
spoil(struct pkt *p)
{
	switch (rnd() % 24) {
	case 0:
		pkt_data(p)[0] = 0x15;
		break;
	case 1:
		p->mbuf.nb_segs = 2;
		break;
	case 2:
		p->mbuf.data_off = IPSEC_PCPU_MAX_HEAD - 1;
		break;
	default:
		break;
	}
}

static void
copy_pkt(struct pkt *to, const struct pkt *from)
{
	*to = *from;
	to->mbuf.buf_addr = to->buf;
}

static void
assert_same_pkt(const struct pkt *a, const struct pkt *b)
{
	assert_int_equal(a->mbuf.data_off, b->mbuf.data_off);
	assert_int_equal(a->mbuf.data_len, b->mbuf.data_len);
	assert_int_equal(a->mbuf.pkt_len, b->mbuf.pkt_len);
	assert_int_equal(a->mbuf.tx_offload, b->mbuf.tx_offload);
	assert_int_equal(a->mbuf.ol_flags, b->mbuf.ol_flags);
	assert_memory_equal(a->buf + a->mbuf.data_off, b->buf + b->mbuf.data_off, a->mbuf.data_len);
}

/** What @p one gets packet by packet is what @p all got at once. */
static void
check(struct side *all, struct side *one, struct ipsec_pcpu_sa *const sa[], uint16_t n,
		uint16_t done, bool encap)
{
	uint16_t k = 0, failed = done;

	for (uint16_t i = 0; i < n; i++) {
		struct rte_mbuf *m = &one->pkt[i].mbuf;
		uint8_t why = 0xff;
		bool ok = encap ? ipsec_pcpu_encap_burst(one->ctx, sa[i], &m, 1, &why) == 1
				: ipsec_pcpu_decap_burst(one->ctx, sa[i], &m, 1, &why) == 1;
		uint16_t at = ok ? k++ : failed;

		if (ok) {
			assert_ptr_equal(all->m[at], &all->pkt[i].mbuf);
			assert_int_equal(all->from[at], i);
			assert_same_pkt(&all->pkt[i], &one->pkt[i]);
			continue;
		}
		/* those that fail in the first pass stand before those that fail in the last */
		while (at < n && all->m[at] != &all->pkt[i].mbuf)
			at++;
		assert_true(at < n);
		assert_int_equal(all->from[at], i);
		assert_int_equal(all->drop[at], why);
	}
	assert_int_equal(k, done);
	for (unsigned int i = 0; i < N_SAS; i++) {
		assert_same_stats(all->out[i], one->out[i]);
		assert_same_stats(all->in[i], one->in[i]);
	}
}

/** The same packets for both, each with an SA; @p used says which SAs of a side. */
static uint16_t
make_packets(struct side *all, struct side *one, uint8_t used[])
{
	uint16_t n = 1 + rnd() % MAX;

	for (uint16_t i = 0; i < n; i++) {
		used[i] = rnd() % (rnd() % 3 == 0 ? 2 : N_SAS);
		pkt_inner(&all->pkt[i], rnd() % 2 ? 4 : 6, 60 + rnd() % 300, rnd() & 0xff,
				rnd() % 2);
		spoil(&all->pkt[i]);
		copy_pkt(&one->pkt[i], &all->pkt[i]);
		all->m[i] = &all->pkt[i].mbuf;
	}
	return n;
}

static void
test_encap(void **state)
{
	static struct side all, one;
	struct ipsec_pcpu_sa *sa[MAX], *twin[MAX];
	uint64_t total = 0, dropped = 0;
	uint8_t used[MAX];

	side_init(&all);
	side_init(&one);
	for (unsigned int round = 0; round < ROUNDS; round++) {
		uint16_t n = make_packets(&all, &one, used), done;

		for (uint16_t i = 0; i < n; i++) {
			sa[i] = all.out[used[i]];
			twin[i] = one.out[used[i]];
		}
		done = ipsec_pcpu_encap_mixed(all.ctx, sa, all.m, n, all.from, all.drop);
		check(&all, &one, twin, n, done, true);
		total += n;
		dropped += n - done;
	}
	/* the limits were reached, and not all of it was dropped */
	assert_true(drops(all.out[1], IPSEC_PCPU_DROP_SEQ_RESERVE) > 0);
	assert_true(drops(all.out[3], IPSEC_PCPU_DROP_EXPIRED) > 0);
	assert_true(drops(all.out[5], IPSEC_PCPU_DROP_EXPIRED) > 0);
	assert_true(dropped < total / 2);
	side_fini(&all);
	side_fini(&one);
}

/** As it arrives: sometimes forged, cut short, encapsulated otherwise, or twice. */
static void
harm(struct side *s, uint16_t i)
{
	struct pkt *p = &s->pkt[i];
	uint32_t len = p->mbuf.data_len;

	switch (rnd() % 16) {
	case 0:
		pkt_data(p)[len - 1 - rnd() % 16] ^= 1 << rnd() % 8;
		break;
	case 1:
		p->mbuf.data_len = p->mbuf.pkt_len = p->mbuf.l3_len + rnd() % (len - 40);
		break;
	case 2:
		p->mbuf.l4_len = p->mbuf.l4_len == 0 ? 8 : 0;
		break;
	case 3:
		if (i > 0)
			copy_pkt(p, &s->pkt[rnd() % i]);
		break;
	default:
		break;
	}
}

static void
test_decap(void **state)
{
	static struct side all, one;
	struct ipsec_pcpu_sa *sa[MAX], *twin[MAX];
	uint64_t passed = 0, replayed = 0;
	uint8_t used[MAX];

	side_init(&all);
	side_init(&one);
	for (unsigned int round = 0; round < ROUNDS; round++) {
		uint16_t n = make_packets(&all, &one, used), done;

		for (uint16_t i = 0; i < n; i++)
			sa[i] = all.out[used[i]];
		n = ipsec_pcpu_encap_mixed(all.ctx, sa, all.m, n, all.from, all.drop);
		for (uint16_t i = 0; i < n; i++) {
			/* one's sending SAs are not used: their counters follow */
			used[i] = used[all.from[i]];
			copy_pkt(&one.pkt[i], &all.pkt[all.from[i]]);
		}
		for (uint16_t i = 0; i < n; i++) {
			copy_pkt(&all.pkt[i], &one.pkt[i]);
			harm(&all, i);
		}
		for (uint16_t i = 0; i < n; i++) {
			copy_pkt(&one.pkt[i], &all.pkt[i]);
			all.m[i] = &all.pkt[i].mbuf;
			sa[i] = all.in[used[i]];
			twin[i] = one.in[used[i]];
		}
		if (n == 0)
			continue;
		for (unsigned int i = 0; i < N_SAS; i++)
			*one.out[i] = *all.out[i];
		done = ipsec_pcpu_decap_mixed(all.ctx, sa, all.m, n, all.from, all.drop);
		check(&all, &one, twin, n, done, false);
		passed += done;
	}
	for (unsigned int i = 0; i < N_SAS; i++)
		replayed += drops(all.in[i], IPSEC_PCPU_DROP_REPLAYED);
	assert_true(passed > 2000);
	assert_true(replayed > 20);
	side_fini(&all);
	side_fini(&one);
}

#ifndef IPSEC_PCPU_OWNER_ASSERTS
/** Of two SAs one is another thread's: its packets are dropped, the other's are not. */
static void
test_not_owner(void **state)
{
	static struct side all, other;
	struct ipsec_pcpu_sa *sa[4];

	side_init(&all);
	side_init(&other);
	for (unsigned int i = 0; i < 4; i++) {
		pkt_inner(&all.pkt[i], 4, 60, 0, false);
		all.m[i] = &all.pkt[i].mbuf;
		sa[i] = i % 2 ? other.out[0] : all.out[0];
	}
	assert_int_equal(ipsec_pcpu_encap_mixed(all.ctx, sa, all.m, 4, all.from, all.drop), 2);
	for (unsigned int i = 2; i < 4; i++) {
		assert_ptr_equal(all.m[i], &all.pkt[2 * (i - 2) + 1].mbuf);
		assert_int_equal(all.drop[i], IPSEC_PCPU_DROP_NOT_OWNER);
		assert_int_equal(all.m[i]->data_len, 60);
	}
	assert_int_equal(drops(other.out[0], IPSEC_PCPU_DROP_NOT_OWNER), 2);
	/* nor does an inbound SA send, or an outbound one receive */
	sa[0] = all.in[0];
	assert_int_equal(ipsec_pcpu_encap_mixed(all.ctx, sa, &all.m[2], 1, all.from, all.drop), 0);
	assert_int_equal(all.drop[0], IPSEC_PCPU_DROP_NOT_OWNER);
	sa[0] = all.out[0];
	assert_int_equal(ipsec_pcpu_decap_mixed(all.ctx, sa, &all.m[0], 1, all.from, all.drop), 0);
	assert_int_equal(all.drop[0], IPSEC_PCPU_DROP_NOT_OWNER);
	side_fini(&all);
	side_fini(&other);
}
#endif

/** What intel-ipsec-mb refuses is not sent, is not counted as sent, and its numbers are lost. */
static int
refuse(struct ipsec_pcpu_ctx *ctx, uint16_t from, uint16_t n)
{
	return -EIO;
}

static void
test_crypto_fails(void **state)
{
	static const struct aead_ops broken = {.seal_burst = refuse, .open_burst = refuse};
	static struct side all;
	struct ipsec_pcpu_sa_stats stats;
	struct ipsec_pcpu_sa *sa[4];

	side_init(&all);
	all.out[1]->aead = &broken;
	for (unsigned int i = 0; i < 4; i++) {
		pkt_inner(&all.pkt[i], 4, 60, 0, false);
		all.m[i] = &all.pkt[i].mbuf;
		sa[i] = all.out[i % 2];
	}
	assert_int_equal(ipsec_pcpu_encap_mixed(all.ctx, sa, all.m, 4, all.from, all.drop), 0);
	for (unsigned int i = 0; i < 4; i++) {
		assert_int_equal(all.from[i], i);
		assert_int_equal(all.drop[i], IPSEC_PCPU_DROP_CRYPTO);
	}
	for (unsigned int i = 0; i < 2; i++) {
		ipsec_pcpu_sa_stats(all.out[i], &stats);
		assert_int_equal(stats.packets, 0);
		assert_int_equal(stats.bytes, 0);
		assert_int_equal(stats.seq, 2);
		assert_int_equal(stats.drops[IPSEC_PCPU_DROP_CRYPTO], 2);
	}
	side_fini(&all);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_encap),
			cmocka_unit_test(test_decap),
#ifndef IPSEC_PCPU_OWNER_ASSERTS
			cmocka_unit_test(test_not_owner),
#endif
			cmocka_unit_test(test_crypto_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
