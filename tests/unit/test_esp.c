/* SPDX-License-Identifier: BSD-3-Clause */

/* ESP as a whole: there and back, what the outer header says, and every way to be dropped. */

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "esp_util.h"

#define MAX_SIZE 1500

static const uint16_t sizes[] = {
		40,
		41,
		42,
		43,
		44,
		45,
		46,
		47,
		48,
		49,
		50,
		63,
		64,
		65,
		127,
		128,
		129,
		333,
		576,
		1399,
		1400,
		1401,
		1402,
		1419,
		1420,
		MAX_SIZE,
};

/** An SA pair, and the contexts of the two ends. */
struct pair {
	struct ipsec_pcpu_ctx *ctx_out, *ctx_in;
	struct ipsec_pcpu_sa *out, *in;
	struct ipsec_pcpu_sa_params prm;
};

static struct pair
make_pair(struct ipsec_pcpu_sa_params prm)
{
	struct pair pair = {.ctx_out = make_ctx(), .ctx_in = make_ctx(), .prm = prm};

	pair.out = make_sa(pair.ctx_out, prm, IPSEC_PCPU_OUT);
	pair.in = make_sa(pair.ctx_in, prm, IPSEC_PCPU_IN);
	return pair;
}

static void
free_pair(struct pair *pair)
{
	free_sa(pair->out);
	free_sa(pair->in);
	free_ctx(pair->ctx_out);
	free_ctx(pair->ctx_in);
}

static struct pair
plain_pair(void)
{
	return make_pair(make_params("aes128gcm16", AF_INET));
}

static void
use_udp(struct ipsec_pcpu_sa_params *prm)
{
	prm->encap_sport = 51234;
	prm->encap_dport = 4500;
}

/* -- there and back -- */

/** The outer IP header, field by field; @p total bytes in all. */
static void
check_outer4(const struct ipsec_pcpu_sa_params *prm, const uint8_t *d, uint16_t total, uint64_t seq)
{
	uint16_t id = d[6] & 0x40 ? 0 : (uint16_t)seq;

	assert_int_equal(d[0], 0x45);
	assert_int_equal(d[2] << 8 | d[3], total);
	assert_int_equal(d[4] << 8 | d[5], id);
	assert_int_equal(d[6] & ~0x40, 0);
	assert_int_equal(d[7], 0);
	assert_int_equal(d[8], prm->ttl);
	assert_int_equal(d[9], prm->encap_dport ? IPPROTO_UDP : IPPROTO_ESP);
	assert_int_equal(naive_cksum(d, 20, 0), 0);
	assert_memory_equal(d + 12, &prm->saddr.ip4, 4);
	assert_memory_equal(d + 16, &prm->daddr.ip4, 4);
}

static void
check_outer6(const struct ipsec_pcpu_sa_params *prm, const uint8_t *d, uint16_t total)
{
	assert_int_equal(d[0] >> 4, 6);
	assert_int_equal((d[1] & 0xf) << 16 | d[2] << 8 | d[3], prm->flow_label);
	assert_int_equal(d[4] << 8 | d[5], total - 40);
	assert_int_equal(d[6], prm->encap_dport ? IPPROTO_UDP : IPPROTO_ESP);
	assert_int_equal(d[7], prm->ttl);
	assert_memory_equal(d + 8, prm->saddr.ip6, 16);
	assert_memory_equal(d + 24, prm->daddr.ip6, 16);
}

/** UDP over IPv6: as a port wants it that makes checksums; then it is made. */
static void
check_left(struct rte_mbuf *m)
{
	struct rte_ipv6_hdr *ip = rte_pktmbuf_mtod(m, struct rte_ipv6_hdr *);
	const struct rte_udp_hdr *udp = (const struct rte_udp_hdr *)(ip + 1);

	assert_true(m->ol_flags == (RTE_MBUF_F_TX_IPV6 | RTE_MBUF_F_TX_UDP_CKSUM));
	assert_int_equal(udp->dgram_cksum, rte_ipv6_phdr_cksum(ip, m->ol_flags));
	ipsec_pcpu_udp_cksum(&m, 1);
	assert_true(m->ol_flags == 0);
}

static void
check_udp(const struct ipsec_pcpu_sa_params *prm, struct rte_mbuf *m, uint16_t l3_len, uint16_t len)
{
	const uint8_t *ip = rte_pktmbuf_mtod(m, const uint8_t *);
	const uint8_t *d = ip + l3_len;
	uint32_t pseudo = len + IPPROTO_UDP;

	assert_int_equal(d[0] << 8 | d[1], prm->encap_sport);
	assert_int_equal(d[2] << 8 | d[3], prm->encap_dport);
	assert_int_equal(d[4] << 8 | d[5], len);
	if (prm->family == AF_INET) {
		assert_int_equal(d[6] << 8 | d[7], 0);
		assert_false(ipsec_pcpu_lacks_udp_cksum(m));
		return;
	}
	check_left(m);
	for (int i = 8; i < 40; i += 2)
		pseudo += ip[i] << 8 | ip[i + 1];
	assert_int_not_equal(d[6] << 8 | d[7], 0);
	assert_int_equal(naive_cksum(d, len, pseudo), 0);
}

/** All that is in clear of an encapsulated packet whose inner one had @p len bytes. */
static void
check_clear(const struct ipsec_pcpu_sa_params *prm, struct pkt *p, uint16_t len, uint64_t seq)
{
	uint16_t l3_len = prm->family == AF_INET ? 20 : 40;
	uint16_t udp_len = prm->encap_dport ? 8 : 0;
	uint16_t text = RTE_ALIGN_CEIL(len + 2, 4);
	uint16_t total = l3_len + udp_len + SA_ESP_LEN + text + prm->algo->icv_len;
	const uint8_t *d = pkt_data(p), *esp = d + l3_len + udp_len;
	uint64_t be = rte_cpu_to_be_64(seq);
	uint32_t spi = rte_cpu_to_be_32(prm->spi);

	assert_int_equal(p->mbuf.data_len, total);
	assert_int_equal(p->mbuf.pkt_len, total);
	assert_int_equal(p->mbuf.l2_len, 0);
	assert_int_equal(p->mbuf.l3_len, l3_len);
	assert_int_equal(p->mbuf.l4_len, udp_len);
	if (prm->family == AF_INET)
		check_outer4(prm, d, total, seq);
	else
		check_outer6(prm, d, total);
	if (udp_len != 0)
		check_udp(prm, &p->mbuf, l3_len, total - l3_len);
	assert_memory_equal(esp, &spi, 4);
	assert_memory_equal(esp + 4, (const uint8_t *)&be + 4, 4);
	assert_memory_equal(esp + 8, &be, 8);
}

/** One burst of all sizes through a pair. */
static void
round_trip_burst(struct pair *pair, uint8_t version, uint64_t seq)
{
	static struct pkt pkts[RTE_DIM(sizes)];
	static uint8_t want[RTE_DIM(sizes)][MAX_SIZE];
	struct rte_mbuf *m[RTE_DIM(sizes)];
	uint8_t drop[RTE_DIM(sizes)];

	for (unsigned int i = 0; i < RTE_DIM(sizes); i++) {
		pkt_inner(&pkts[i], version, sizes[i], 0, i % 2 == 0);
		memcpy(want[i], pkt_data(&pkts[i]), sizes[i]);
		m[i] = &pkts[i].mbuf;
	}
	assert_int_equal(ipsec_pcpu_encap_burst(pair->ctx_out, pair->out, m, RTE_DIM(sizes), drop),
			RTE_DIM(sizes));
	for (unsigned int i = 0; i < RTE_DIM(sizes); i++) {
		assert_ptr_equal(m[i], &pkts[i].mbuf);
		check_clear(&pair->prm, &pkts[i], sizes[i], seq + i);
	}
	assert_int_equal(ipsec_pcpu_decap_burst(pair->ctx_in, pair->in, m, RTE_DIM(sizes), drop),
			RTE_DIM(sizes));
	for (unsigned int i = 0; i < RTE_DIM(sizes); i++) {
		assert_ptr_equal(m[i], &pkts[i].mbuf);
		assert_int_equal(m[i]->data_len, sizes[i]);
		assert_int_equal(m[i]->pkt_len, sizes[i]);
		assert_int_equal(m[i]->l2_len, 0);
		assert_int_equal(m[i]->l3_len, version == 4 ? 20 : 40);
		assert_int_equal(m[i]->l4_len, 0);
		assert_memory_equal(pkt_data(&pkts[i]), want[i], sizes[i]);
	}
}

static void
round_trip(struct ipsec_pcpu_sa_params prm)
{
	struct pair pair;
	struct ipsec_pcpu_sa_stats stats;
	uint64_t bytes = 0;

	for (unsigned int i = 0; i < RTE_DIM(sizes); i++)
		bytes += sizes[i];
	prm.seq = prm.esn ? (UINT64_C(1) << 32) - RTE_DIM(sizes) - 5 : 0;
	pair = make_pair(prm);
	round_trip_burst(&pair, 4, prm.seq + 1);
	round_trip_burst(&pair, 6, prm.seq + 1 + RTE_DIM(sizes));
	ipsec_pcpu_sa_stats(pair.out, &stats);
	assert_int_equal(stats.packets, 2 * RTE_DIM(sizes));
	assert_int_equal(stats.bytes, 2 * bytes);
	assert_int_equal(stats.seq, prm.seq + 2 * RTE_DIM(sizes));
	ipsec_pcpu_sa_stats(pair.in, &stats);
	assert_int_equal(stats.packets, 2 * RTE_DIM(sizes));
	assert_int_equal(stats.bytes, 2 * bytes);
	assert_int_equal(stats.seq, prm.seq + 2 * RTE_DIM(sizes));
	for (unsigned int i = 0; i < IPSEC_PCPU_N_DROPS; i++)
		assert_int_equal(stats.drops[i], 0);
	free_pair(&pair);
}

/* Every algorithm, with either kind of address in either, encapsulated or not, ESN over a wrap. */
static void
test_round_trips(void **state)
{
	const struct ipsec_pcpu_algo *a;

	for (unsigned int i = 0; (a = ipsec_pcpu_algo_get(i)) != NULL; i++) {
		for (unsigned int k = 0; k < 8; k++) {
			struct ipsec_pcpu_sa_params prm =
					make_params(a->name, k & 1 ? AF_INET6 : AF_INET);

			if (k & 2)
				use_udp(&prm);
			prm.esn = k & 4;
			round_trip(prm);
		}
	}
}

/* Bursts of all lengths, one after the other: nothing of one is left for the next. */
static void
test_burst_sizes(void **state)
{
	static const char *const names[] = {"aes192gcm12", "chacha20poly1305"};
	static struct pkt p[IPSEC_PCPU_MAX_BURST];

	for (unsigned int i = 0; i < RTE_DIM(names); i++) {
		struct pair pair = make_pair(make_params(names[i], AF_INET));

		for (uint16_t n = 1; n <= IPSEC_PCPU_MAX_BURST; n++) {
			struct rte_mbuf *m[IPSEC_PCPU_MAX_BURST];
			uint8_t drop[IPSEC_PCPU_MAX_BURST];

			for (uint16_t k = 0; k < n; k++) {
				pkt_inner(&p[k], 4, 20 + rnd() % 1400, 0, false);
				m[k] = &p[k].mbuf;
			}
			assert_int_equal(ipsec_pcpu_encap_burst(pair.ctx_out, pair.out, m, n, drop),
					n);
			assert_int_equal(ipsec_pcpu_decap_burst(pair.ctx_in, pair.in, m, n, drop),
					n);
		}
		free_pair(&pair);
	}
}

/* The nonce and the AAD are those of the RFCs, by way of the published packets (test_esp_kat.c);
 * here: that two SAs which differ in one of them do not understand each other. */
static void
check_mismatch(void (*change)(struct ipsec_pcpu_sa_params *))
{
	struct ipsec_pcpu_sa_params prm = make_params("aes128gcm16", AF_INET);
	struct pair pair = make_pair(prm);
	struct ipsec_pcpu_sa *other;
	struct pkt p;

	change(&prm);
	other = make_sa(pair.ctx_in, prm, IPSEC_PCPU_IN);
	pkt_inner(&p, 4, 100, 0, false);
	encap_one(pair.ctx_out, pair.out, &p);
	assert_int_equal(decap_one(pair.ctx_in, other, &p.mbuf), IPSEC_PCPU_DROP_INTEGRITY);
	assert_int_equal(drops(other, IPSEC_PCPU_DROP_INTEGRITY), 1);
	free_sa(other);
	free_pair(&pair);
}

static void
other_key(struct ipsec_pcpu_sa_params *prm)
{
	prm->key[0] ^= 1;
}

static void
other_salt(struct ipsec_pcpu_sa_params *prm)
{
	prm->key[prm->algo->key_len - 1] ^= 1;
}

static void
other_esn(struct ipsec_pcpu_sa_params *prm)
{
	prm->esn = true;
}

static void
other_spi(struct ipsec_pcpu_sa_params *prm)
{
	prm->spi++;
}

static void
other_icv(struct ipsec_pcpu_sa_params *prm)
{
	prm->algo = ipsec_pcpu_algo_find("aes128gcm12");
}

static void
test_mismatch(void **state)
{
	check_mismatch(other_key);
	check_mismatch(other_salt);
	check_mismatch(other_esn);
	check_mismatch(other_spi);
	check_mismatch(other_icv);
}

/* -- hostile packets -- */

/** An inbound SA as it is, but for its drop counters: what no forged packet may change. */
static void
snapshot(const struct ipsec_pcpu_sa *sa, struct ipsec_pcpu_sa *copy)
{
	*copy = *sa;
	memset(copy->drops, 0, sizeof(copy->drops));
}

static void
assert_unchanged(const struct ipsec_pcpu_sa *sa, const struct ipsec_pcpu_sa *before)
{
	static struct ipsec_pcpu_sa now;

	snapshot(sa, &now);
	assert_memory_equal(&now, before, sizeof(now));
}

static void
corrupt_each_byte(struct ipsec_pcpu_sa_params prm, uint8_t bit)
{
	struct pair pair = make_pair(prm);
	static struct ipsec_pcpu_sa before;
	struct pkt sealed, p;
	uint16_t head = pair.out->outer_len;

	pkt_inner(&sealed, 4, 61, 0, false);
	encap_one(pair.ctx_out, pair.out, &sealed);
	snapshot(pair.in, &before);
	for (uint16_t i = head; i < sealed.mbuf.data_len; i++) {
		bool seq = i >= head + 4 && i < head + 8;
		int why;

		p = sealed;
		p.mbuf.buf_addr = p.buf;
		pkt_data(&p)[i] ^= bit;
		why = decap_one(pair.ctx_in, pair.in, &p.mbuf);
		assert_true(why == IPSEC_PCPU_DROP_INTEGRITY ||
				(seq && why == IPSEC_PCPU_DROP_TOO_OLD));
		assert_unchanged(pair.in, &before);
	}
	sealed.mbuf.buf_addr = sealed.buf;
	assert_int_equal(decap_one(pair.ctx_in, pair.in, &sealed.mbuf), -1);
	free_pair(&pair);
}

static void
test_corrupt(void **state)
{
	const struct ipsec_pcpu_algo *a;

	for (unsigned int i = 0; (a = ipsec_pcpu_algo_get(i)) != NULL; i++) {
		struct ipsec_pcpu_sa_params prm = make_params(a->name, AF_INET);

		prm.esn = i % 2;
		corrupt_each_byte(prm, 0x01);
		prm = make_params(a->name, AF_INET6);
		use_udp(&prm);
		corrupt_each_byte(prm, 0x80);
	}
}

/** Decapsulate a copy whose buffer ends with the packet, for a sanitizer to see beyond. */
static int
decap_exact(struct pair *pair, const struct pkt *p, uint16_t len)
{
	uint8_t *buf = malloc(len);
	struct rte_mbuf m = p->mbuf;
	int why;

	assert_non_null(buf);
	memcpy(buf, p->buf + p->mbuf.data_off, len);
	m.buf_addr = buf;
	m.buf_len = len;
	m.data_off = 0;
	m.data_len = len;
	m.pkt_len = len;
	why = decap_one(pair->ctx_in, pair->in, &m);
	free(buf);
	return why;
}

static void
truncate_everywhere(struct ipsec_pcpu_sa_params prm)
{
	struct pair pair = make_pair(prm);
	static struct ipsec_pcpu_sa before;
	struct pkt p;
	uint16_t least = pair.in->outer_len + SA_ESP_LEN + 2 + pair.in->icv_len;

	pkt_inner(&p, 4, 77, 0, false);
	encap_one(pair.ctx_out, pair.out, &p);
	snapshot(pair.in, &before);
	for (uint16_t len = pair.in->outer_len; len < p.mbuf.data_len; len++) {
		assert_int_equal(decap_exact(&pair, &p, len),
				len < least ? IPSEC_PCPU_DROP_TOO_SHORT
					    : IPSEC_PCPU_DROP_INTEGRITY);
		assert_unchanged(pair.in, &before);
	}
	assert_int_equal(decap_exact(&pair, &p, p.mbuf.data_len), -1);
	free_pair(&pair);
}

static void
test_truncate(void **state)
{
	const struct ipsec_pcpu_algo *a;

	for (unsigned int i = 0; (a = ipsec_pcpu_algo_get(i)) != NULL; i++) {
		struct ipsec_pcpu_sa_params prm = make_params(a->name, AF_INET);

		truncate_everywhere(prm);
		prm.esn = true;
		truncate_everywhere(prm);
		use_udp(&prm);
		prm.family = AF_INET6;
		truncate_everywhere(prm);
	}
}

/* Random bytes, of any length that holds the headers the caller parsed. */
static void
test_random_bytes(void **state)
{
	struct ipsec_pcpu_sa_params prm = make_params("aes256gcm12", AF_INET);
	static struct ipsec_pcpu_sa before;
	struct pair pair;
	struct pkt p;

	prm.esn = true;
	pair = make_pair(prm);
	snapshot(pair.in, &before);
	for (int i = 0; i < 20000; i++) {
		uint16_t l3_len = 20 + 4 * (rnd() % 11);
		uint16_t len = l3_len + 8 + rnd() % 200;

		pkt_inner(&p, 4, len, 0, false);
		p.mbuf.l3_len = l3_len;
		p.mbuf.l4_len = rnd() % 8 == 0 ? 8 : 0;
		if (rnd() % 4 != 0)
			memcpy(pkt_data(&p) + l3_len, &pair.in->spi, 4);
		assert_true(decap_exact(&pair, &p, len) >= 0);
		assert_unchanged(pair.in, &before);
	}
	free_pair(&pair);
}

static void
test_duplicates_in_burst(void **state)
{
	struct pair pair = plain_pair();
	struct pkt p[4];
	struct rte_mbuf *m[4];
	uint8_t drop[4];

	pkt_inner(&p[0], 4, 80, 0, false);
	encap_one(pair.ctx_out, pair.out, &p[0]);
	pkt_inner(&p[3], 4, 90, 0, false);
	encap_one(pair.ctx_out, pair.out, &p[3]);
	p[1] = p[0];
	p[2] = p[0];
	for (int i = 0; i < 4; i++) {
		p[i].mbuf.buf_addr = p[i].buf;
		m[i] = &p[i].mbuf;
	}
	assert_int_equal(ipsec_pcpu_decap_burst(pair.ctx_in, pair.in, m, 4, drop), 2);
	assert_ptr_equal(m[0], &p[0].mbuf);
	assert_ptr_equal(m[1], &p[3].mbuf);
	assert_ptr_equal(m[2], &p[1].mbuf);
	assert_ptr_equal(m[3], &p[2].mbuf);
	assert_int_equal(drop[2], IPSEC_PCPU_DROP_REPLAYED);
	assert_int_equal(drop[3], IPSEC_PCPU_DROP_REPLAYED);
	assert_int_equal(drops(pair.in, IPSEC_PCPU_DROP_REPLAYED), 2);
	assert_int_equal(pair.in->packets, 2);
	free_pair(&pair);
}

/* A forgery that comes first must not shut out the packet whose number it took. */
static void
test_forgery_before_original(void **state)
{
	struct pair pair = plain_pair();
	struct pkt p[2];
	struct rte_mbuf *m[2] = {&p[0].mbuf, &p[1].mbuf};
	uint8_t drop[2];

	pkt_inner(&p[1], 4, 80, 0, false);
	encap_one(pair.ctx_out, pair.out, &p[1]);
	p[0] = p[1];
	p[0].mbuf.buf_addr = p[0].buf;
	pkt_data(&p[0])[40] ^= 1;
	assert_int_equal(ipsec_pcpu_decap_burst(pair.ctx_in, pair.in, m, 2, drop), 1);
	assert_ptr_equal(m[0], &p[1].mbuf);
	assert_int_equal(drop[1], IPSEC_PCPU_DROP_INTEGRITY);
	free_pair(&pair);
}

static void
test_window(void **state)
{
	struct ipsec_pcpu_sa_params prm = make_params("aes128gcm16", AF_INET);
	struct ipsec_pcpu_sa_stats st;
	struct pkt p[66];
	struct pair pair;

	prm.replay_window = 64;
	pair = make_pair(prm);
	for (unsigned int i = 0; i < RTE_DIM(p); i++) {
		pkt_inner(&p[i], 4, 60, 0, false);
		encap_one(pair.ctx_out, pair.out, &p[i]);
	}
	assert_int_equal(decap_one(pair.ctx_in, pair.in, &p[65].mbuf), -1); /* 66 */
	assert_int_equal(decap_one(pair.ctx_in, pair.in, &p[2].mbuf), -1); /* 3: 63 behind */
	assert_int_equal(decap_one(pair.ctx_in, pair.in, &p[1].mbuf), IPSEC_PCPU_DROP_TOO_OLD);
	assert_int_equal(decap_one(pair.ctx_in, pair.in, &p[40].mbuf), -1);
	ipsec_pcpu_sa_stats(pair.in, &st);
	assert_int_equal(st.seq, 66);
	assert_int_equal(st.lost, 63); /* 66, 3 and 41 came */
	assert_int_equal(st.displaced, 63);
	free_pair(&pair);
}

/* -- authentic, and wrong -- */

/** Decapsulate an authentic packet of this plaintext: what comes of it. */
static int
decap_text(struct pair *pair, struct pkt *p, const uint8_t *text, uint16_t len)
{
	static uint64_t seq;

	pkt_authentic(pair->ctx_out, pair->out, p, ++seq, text, len);
	return decap_one(pair->ctx_in, pair->in, &p->mbuf);
}

/** A plaintext: a packet of @p len bytes that says @p total, @p extra bytes, padding, trailer. */
static uint16_t
make_text(uint8_t *text, uint8_t version, uint16_t len, uint16_t extra, uint8_t pad, uint8_t proto)
{
	struct pkt p;

	pkt_inner(&p, version, len, 0, false);
	memcpy(text, pkt_data(&p), len);
	memset(text + len, 0xee, extra);
	len += extra;
	for (unsigned int i = 0; i < pad; i++)
		text[len++] = (uint8_t)(i + 1);
	text[len++] = pad;
	text[len++] = proto;
	return len;
}

static void
test_padding(void **state)
{
	struct pair pair = plain_pair();
	uint8_t text[2048];
	struct pkt p;

	for (unsigned int pad = 0; pad <= 255; pad++) {
		uint16_t len = make_text(text, 4, 60, 0, pad, IPPROTO_IPIP);

		assert_int_equal(decap_text(&pair, &p, text, len), -1);
		assert_int_equal(p.mbuf.data_len, 60);
		for (unsigned int i = 0; i < pad; i++) {
			text[60 + i] ^= 0x10;
			assert_int_equal(decap_text(&pair, &p, text, len), IPSEC_PCPU_DROP_PADDING);
			text[60 + i] ^= 0x10;
		}
	}
	/* More padding than there is text. */
	text[0] = 1;
	text[1] = IPPROTO_IPIP;
	assert_int_equal(decap_text(&pair, &p, text, 2), IPSEC_PCPU_DROP_PADDING);
	text[0] = 255;
	assert_int_equal(decap_text(&pair, &p, text, 2), IPSEC_PCPU_DROP_PADDING);
	/* And the IV, before it, looks like padding. */
	text[0] = 2;
	pkt_authentic(pair.ctx_out, pair.out, &p, 0x1000102, text, 2);
	assert_int_equal(decap_one(pair.ctx_in, pair.in, &p.mbuf), IPSEC_PCPU_DROP_PADDING);
	free_pair(&pair);
}

static void
test_next_header(void **state)
{
	struct pair pair = plain_pair();
	uint8_t text[256];
	struct pkt p;

	for (unsigned int proto = 0; proto < 256; proto++) {
		uint16_t len = make_text(text, 4, 60, 0, 2, (uint8_t)proto);
		int want = proto == 4         ? -1
				: proto == 41 ? IPSEC_PCPU_DROP_INNER
				: proto == 59 ? IPSEC_PCPU_DROP_DUMMY
					      : IPSEC_PCPU_DROP_NEXT_HEADER;

		assert_int_equal(decap_text(&pair, &p, text, len), want);
	}
	assert_int_equal(decap_text(&pair, &p, text, make_text(text, 6, 60, 0, 2, 41)), -1);
	assert_int_equal(decap_text(&pair, &p, text, make_text(text, 6, 60, 0, 2, 4)),
			IPSEC_PCPU_DROP_INNER);
	/* A dummy's content is anything, padding and all. */
	memset(text, 0xff, sizeof(text));
	text[99] = IPPROTO_NONE;
	assert_int_equal(decap_text(&pair, &p, text, 100), IPSEC_PCPU_DROP_DUMMY);
	free_pair(&pair);
}

static void
test_tfc_padding(void **state)
{
	struct pair pair = plain_pair();
	uint8_t text[2048];
	struct pkt p;

	for (uint16_t extra = 0; extra < 600; extra += 13) {
		uint16_t len = make_text(text, 4, 60, extra, 2, IPPROTO_IPIP);

		assert_int_equal(decap_text(&pair, &p, text, len), -1);
		assert_int_equal(p.mbuf.data_len, 60);
		assert_memory_equal(pkt_data(&p), text, 60);
		len = make_text(text, 6, 60, extra, 0, IPPROTO_IPV6);
		assert_int_equal(decap_text(&pair, &p, text, len), -1);
		assert_int_equal(p.mbuf.data_len, 60);
	}
	free_pair(&pair);
}

static void
test_inner_malformed(void **state)
{
	struct pair pair = plain_pair();
	uint8_t text[256];
	struct pkt p;
	uint16_t len = make_text(text, 4, 60, 0, 2, IPPROTO_IPIP);

	text[0] = 0x44;
	assert_int_equal(decap_text(&pair, &p, text, len), IPSEC_PCPU_DROP_INNER);
	text[0] = 0x4f;
	assert_int_equal(decap_text(&pair, &p, text, len), -1);
	assert_int_equal(p.mbuf.l3_len, 60);
	text[3] = 59;
	assert_int_equal(decap_text(&pair, &p, text, len), IPSEC_PCPU_DROP_INNER);
	text[0] = 0x45;
	text[3] = 61;
	assert_int_equal(decap_text(&pair, &p, text, len), IPSEC_PCPU_DROP_INNER);
	text[3] = 19;
	assert_int_equal(decap_text(&pair, &p, text, len), IPSEC_PCPU_DROP_INNER);
	assert_int_equal(decap_text(&pair, &p, text, make_text(text, 4, 19, 0, 1, 4)),
			IPSEC_PCPU_DROP_INNER);
	len = make_text(text, 6, 60, 0, 2, IPPROTO_IPV6);
	text[5]++;
	assert_int_equal(decap_text(&pair, &p, text, len), IPSEC_PCPU_DROP_INNER);
	assert_int_equal(decap_text(&pair, &p, text, make_text(text, 6, 39, 0, 1, 41)),
			IPSEC_PCPU_DROP_INNER);
	free_pair(&pair);
}

/* -- what crosses between inner and outer header -- */

static uint8_t
get_tos(const uint8_t *d)
{
	return d[0] >> 4 == 4 ? d[1] : (uint8_t)(d[0] << 4 | d[1] >> 4);
}

static void
test_tos_encap(void **state)
{
	for (unsigned int k = 0; k < 8; k++) {
		struct ipsec_pcpu_sa_params prm =
				make_params("aes128gcm16", k & 1 ? AF_INET6 : AF_INET);
		struct pair pair;

		prm.dscp = k & 2 ? 46 : IPSEC_PCPU_DSCP_COPY;
		pair = make_pair(prm);
		for (unsigned int tos = 0; tos < 256; tos++) {
			uint8_t want = k & 2 ? (46 << 2) | (tos & 3) : tos;
			struct pkt p;

			pkt_inner(&p, k & 4 ? 6 : 4, 60, (uint8_t)tos, false);
			encap_one(pair.ctx_out, pair.out, &p);
			assert_int_equal(get_tos(pkt_data(&p)), want);
			if (prm.family == AF_INET)
				assert_int_equal(naive_cksum(pkt_data(&p), 20, 0), 0);
			else
				check_outer6(&prm, pkt_data(&p), p.mbuf.data_len);
		}
		free_pair(&pair);
	}
}

static void
set_ecn(uint8_t *d, uint8_t ecn)
{
	if (d[0] >> 4 == 4)
		d[1] = (d[1] & ~3) | ecn;
	else
		d[1] = (uint8_t)((d[1] & ~0x30) | ecn << 4);
}

/* RFC 6040, figure 4: [inner][outer], ECN codepoints as they are on the wire; -1: drop. */
static const int ecn_table[4][4] = {
		/* outer:   Not-ECT ECT(1) ECT(0) CE */
		/* Not-ECT */ {0, 0, 0, -1},
		/* ECT(1) */ {1, 1, 1, 3},
		/* ECT(0) */ {2, 1, 2, 3},
		/* CE */ {3, 3, 3, 3},
};

static void
check_ecn(struct pair *pair, uint8_t version, uint8_t inner, uint8_t outer)
{
	int want = ecn_table[inner][outer];
	uint8_t dscp = rnd() & 0xfc;
	struct pkt p;
	int why;

	pkt_inner(&p, version, 80, dscp | inner, false);
	encap_one(pair->ctx_out, pair->out, &p);
	set_ecn(pkt_data(&p), outer);
	why = decap_one(pair->ctx_in, pair->in, &p.mbuf);
	if (want < 0) {
		assert_int_equal(why, IPSEC_PCPU_DROP_ECN);
		return;
	}
	assert_int_equal(why, -1);
	assert_int_equal(get_tos(pkt_data(&p)), dscp | want);
	if (version == 4)
		assert_int_equal(naive_cksum(pkt_data(&p), 20, 0), 0);
}

static void
test_ecn_decap(void **state)
{
	struct pair pair4 = plain_pair();
	struct pair pair6 = make_pair(make_params("aes128gcm16", AF_INET6));

	for (int round = 0; round < 64; round++) {
		for (unsigned int k = 0; k < 16; k++) {
			check_ecn(&pair4, 4, k / 4, k % 4);
			check_ecn(&pair4, 6, k / 4, k % 4);
			check_ecn(&pair6, 4, k / 4, k % 4);
			check_ecn(&pair6, 6, k / 4, k % 4);
		}
	}
	assert_int_equal(drops(pair4.in, IPSEC_PCPU_DROP_ECN), 128);
	free_pair(&pair4);
	free_pair(&pair6);
}

static void
test_df(void **state)
{
	for (unsigned int df = 0; df < 3; df++) {
		struct ipsec_pcpu_sa_params prm = make_params("aes128gcm16", AF_INET);
		struct pair pair;

		prm.df = df;
		pair = make_pair(prm);
		for (unsigned int k = 0; k < 3; k++) { /* DF clear, DF set, IPv6 */
			bool want = df == IPSEC_PCPU_DF_COPY ? k > 0 : df == IPSEC_PCPU_DF_SET;
			struct pkt p;

			pkt_inner(&p, k == 2 ? 6 : 4, 60, 0, k == 1);
			encap_one(pair.ctx_out, pair.out, &p);
			assert_int_equal(pkt_data(&p)[6], want ? 0x40 : 0);
			check_outer4(&prm, pkt_data(&p), p.mbuf.data_len, k + 1);
		}
		free_pair(&pair);
	}
}

/* The incremental checksum for all IDs there are, so over every carry. */
static void
test_outer_checksum(void **state)
{
	struct ipsec_pcpu_sa_params prm = make_params("aes128gcm16", AF_INET);
	struct pair pair;
	struct pkt p;

	prm.df = IPSEC_PCPU_DF_CLEAR;
	pair = make_pair(prm);
	for (uint32_t i = 1; i <= 70000; i++) { /* one length: so each sum comes up */
		pkt_inner(&p, 4, 60, 0, false);
		encap_one(pair.ctx_out, pair.out, &p);
		assert_int_equal(naive_cksum(pkt_data(&p), 20, 0), 0);
		assert_int_equal(pkt_data(&p)[4] << 8 | pkt_data(&p)[5], i & 0xffff);
	}
	free_pair(&pair);
}

static void
test_encap_property(void **state)
{
	struct ipsec_pcpu_sa_params prm = make_params("aes128gcm16", AF_INET);
	struct pair plain = make_pair(prm), udp, v6;
	struct pkt p, q;

	use_udp(&prm);
	udp = make_pair(prm);
	v6 = make_pair(make_params("aes128gcm16", AF_INET6));
	pkt_inner(&p, 4, 60, 0, false);
	encap_one(udp.ctx_out, udp.out, &p);
	assert_int_equal(decap_one(plain.ctx_in, plain.in, &p.mbuf), IPSEC_PCPU_DROP_ENCAP);
	assert_int_equal(decap_one(udp.ctx_in, udp.in, &p.mbuf), -1);
	pkt_inner(&p, 4, 60, 0, false);
	encap_one(plain.ctx_out, plain.out, &p);
	q = p;
	q.mbuf.buf_addr = q.buf;
	assert_int_equal(decap_one(udp.ctx_in, udp.in, &p.mbuf), IPSEC_PCPU_DROP_ENCAP);
	assert_int_equal(decap_one(v6.ctx_in, v6.in, &q.mbuf), IPSEC_PCPU_DROP_ENCAP);
	assert_int_equal(decap_one(plain.ctx_in, plain.in, &p.mbuf), -1);
	free_pair(&plain);
	free_pair(&udp);
	free_pair(&v6);
}

/* IPv4 options and IPv6 extension headers in the outer header are the caller's to parse. */
static void
test_long_outer_header(void **state)
{
	struct pair pair = plain_pair();
	struct pkt p;
	uint8_t *d;

	pkt_inner(&p, 4, 60, 0, false);
	encap_one(pair.ctx_out, pair.out, &p);
	d = (uint8_t *)rte_pktmbuf_mtod(&p.mbuf, uint8_t *) - 8;
	memmove(d, d + 8, 20);
	d[0] = 0x47;
	memset(d + 20, 1, 8);
	p.mbuf.data_off -= 8;
	p.mbuf.data_len += 8;
	p.mbuf.pkt_len += 8;
	p.mbuf.l3_len = 28;
	assert_int_equal(decap_one(pair.ctx_in, pair.in, &p.mbuf), -1);
	assert_int_equal(p.mbuf.data_len, 60);
	free_pair(&pair);
}

/* -- limits -- */

/** Encapsulate @p n small packets at once: how many passed, and why the last did not. */
static uint16_t
encap_n(struct pair *pair, uint16_t n, uint8_t *why)
{
	static struct pkt p[IPSEC_PCPU_MAX_BURST];
	struct rte_mbuf *m[IPSEC_PCPU_MAX_BURST];
	uint8_t drop[IPSEC_PCPU_MAX_BURST];
	uint16_t done;

	for (uint16_t i = 0; i < n; i++) {
		pkt_inner(&p[i], 4, 100, 0, false);
		m[i] = &p[i].mbuf;
	}
	done = ipsec_pcpu_encap_burst(pair->ctx_out, pair->out, m, n, drop);
	*why = done < n ? drop[n - 1] : 0xff;
	for (uint16_t i = done; i < n; i++) {
		assert_int_equal(drop[i], *why);
		assert_int_equal(m[i]->data_len, 100); /* as it was */
		assert_int_equal(m[i]->data_off, PKT_HEADROOM);
	}
	return done;
}

static void
test_seq_overflow(void **state)
{
	struct ipsec_pcpu_sa_params prm = make_params("aes128gcm16", AF_INET);
	struct pair pair;
	uint8_t why;

	prm.seq = UINT32_MAX - 5;
	pair = make_pair(prm);
	assert_int_equal(encap_n(&pair, 8, &why), 5);
	assert_int_equal(why, IPSEC_PCPU_DROP_SEQ_OVERFLOW);
	assert_int_equal(pair.out->seq, UINT32_MAX);
	assert_int_equal(encap_n(&pair, 2, &why), 0);
	assert_int_equal(why, IPSEC_PCPU_DROP_SEQ_OVERFLOW);
	ipsec_pcpu_sa_set_seq_limit(pair.out, UINT64_MAX);
	assert_int_equal(encap_n(&pair, 2, &why), 0);
	assert_int_equal(drops(pair.out, IPSEC_PCPU_DROP_SEQ_OVERFLOW), 7);
	free_pair(&pair);
	prm.esn = true;
	prm.seq = UINT64_MAX - 3;
	pair = make_pair(prm);
	assert_int_equal(encap_n(&pair, 8, &why), 3);
	assert_int_equal(why, IPSEC_PCPU_DROP_SEQ_OVERFLOW);
	free_pair(&pair);
}

static void
test_seq_reserve(void **state)
{
	struct ipsec_pcpu_sa_params prm = make_params("aes128gcm16", AF_INET);
	struct pair pair;
	uint8_t why;

	prm.seq = 1000;
	prm.seq_limit = 1010;
	pair = make_pair(prm);
	assert_int_equal(encap_n(&pair, 16, &why), 10);
	assert_int_equal(why, IPSEC_PCPU_DROP_SEQ_RESERVE);
	ipsec_pcpu_sa_set_seq_limit(pair.out, 1020);
	assert_int_equal(encap_n(&pair, 16, &why), 10);
	ipsec_pcpu_sa_set_seq_limit(pair.out, 1015); /* back: stop, never repeat */
	assert_int_equal(encap_n(&pair, 16, &why), 0);
	assert_int_equal(why, IPSEC_PCPU_DROP_SEQ_RESERVE);
	assert_int_equal(pair.out->seq, 1020);
	free_pair(&pair);
}

static void
test_hard_packets(void **state)
{
	struct ipsec_pcpu_sa_params prm = make_params("aes128gcm16", AF_INET);
	struct pair pair;
	uint8_t why;

	prm.hard_packets = 10;
	pair = make_pair(prm);
	assert_int_equal(encap_n(&pair, 6, &why), 6);
	assert_int_equal(encap_n(&pair, 6, &why), 4);
	assert_int_equal(why, IPSEC_PCPU_DROP_EXPIRED);
	assert_int_equal(encap_n(&pair, 6, &why), 0);
	assert_int_equal(drops(pair.out, IPSEC_PCPU_DROP_EXPIRED), 8);
	free_pair(&pair);
}

static void
test_hard_bytes(void **state)
{
	struct ipsec_pcpu_sa_params prm = make_params("aes128gcm16", AF_INET);
	struct pair pair;
	uint8_t why;

	prm.hard_bytes = 501; /* the packet that crosses it still passes */
	pair = make_pair(prm);
	assert_int_equal(encap_n(&pair, 3, &why), 3);
	assert_int_equal(encap_n(&pair, 9, &why), 3);
	assert_int_equal(why, IPSEC_PCPU_DROP_EXPIRED);
	assert_int_equal(pair.out->bytes, 600);
	free_pair(&pair);
}

static void
test_hard_limit_inbound(void **state)
{
	struct ipsec_pcpu_sa_params prm = make_params("aes128gcm16", AF_INET);
	struct pair pair = make_pair(prm);
	struct pkt p[6];
	struct rte_mbuf *m[6];
	uint8_t drop[6];

	free_sa(pair.in);
	prm.hard_packets = 4;
	pair.in = make_sa(pair.ctx_in, prm, IPSEC_PCPU_IN);
	for (int i = 0; i < 6; i++) {
		pkt_inner(&p[i], 4, 100, 0, false);
		encap_one(pair.ctx_out, pair.out, &p[i]);
		m[i] = &p[i].mbuf;
	}
	pkt_data(&p[0])[60] ^= 1;
	assert_int_equal(ipsec_pcpu_decap_burst(pair.ctx_in, pair.in, m, 6, drop), 4);
	assert_int_equal(drop[4], IPSEC_PCPU_DROP_INTEGRITY);
	assert_int_equal(drop[5], IPSEC_PCPU_DROP_EXPIRED);
	pkt_inner(&p[0], 4, 100, 0, false);
	encap_one(pair.ctx_out, pair.out, &p[0]);
	assert_int_equal(decap_one(pair.ctx_in, pair.in, &p[0].mbuf), IPSEC_PCPU_DROP_EXPIRED);
	free_pair(&pair);
}

/* -- refusals of encapsulation -- */

static int
encap_fails(struct pair *pair, struct rte_mbuf *m)
{
	uint64_t seq = pair->out->seq;
	uint8_t drop = 0xff;

	assert_int_equal(ipsec_pcpu_encap_burst(pair->ctx_out, pair->out, &m, 1, &drop), 0);
	assert_int_equal(pair->out->seq, seq);
	return drop;
}

static void
test_no_room(void **state)
{
	struct pair pair = plain_pair();
	struct pkt p;
	struct rte_mbuf *m = &p.mbuf;
	uint8_t drop;

	pkt_inner(&p, 4, 100, 0, false);
	p.mbuf.nb_segs = 2;
	assert_int_equal(encap_fails(&pair, m), IPSEC_PCPU_DROP_NO_ROOM);
	assert_int_equal(decap_one(pair.ctx_in, pair.in, m), IPSEC_PCPU_DROP_NO_ROOM);
	p.mbuf.nb_segs = 1;
	p.mbuf.data_off = IPSEC_PCPU_MAX_HEAD - 1;
	assert_int_equal(encap_fails(&pair, m), IPSEC_PCPU_DROP_NO_ROOM);
	pkt_inner(&p, 4, 100, 0, false);
	p.mbuf.buf_len = PKT_HEADROOM + 100 + IPSEC_PCPU_MAX_TAIL - 1;
	assert_int_equal(encap_fails(&pair, m), IPSEC_PCPU_DROP_NO_ROOM);
	p.mbuf.buf_len++;
	assert_int_equal(ipsec_pcpu_encap_burst(pair.ctx_out, pair.out, &m, 1, &drop), 1);
	free_pair(&pair);
}

/* In the least of room, and nothing outside it is written. */
static void
test_exact_room(void **state)
{
	static const uint8_t families[] = {AF_INET, AF_INET6};

	for (unsigned int f = 0; f < 2; f++) {
		for (uint16_t len = 40; len < 120; len++) {
			struct ipsec_pcpu_sa_params prm = make_params("aes256gcm16", families[f]);
			uint16_t size = IPSEC_PCPU_MAX_HEAD + len + IPSEC_PCPU_MAX_TAIL;
			uint8_t *buf = malloc(size), drop;
			struct rte_mbuf mbuf, *m = &mbuf;
			struct pair pair;

			use_udp(&prm);
			pair = make_pair(prm);
			memset(buf, 0, size);
			mbuf_set(m, buf, size, IPSEC_PCPU_MAX_HEAD, len);
			buf[IPSEC_PCPU_MAX_HEAD] = 0x60;
			assert_int_equal(ipsec_pcpu_encap_burst(
							 pair.ctx_out, pair.out, &m, 1, &drop),
					1);
			free(buf);
			free_pair(&pair);
		}
	}
}

static void
test_too_big(void **state)
{
	static uint8_t buf[UINT16_MAX];
	struct pair pair = plain_pair();
	struct rte_mbuf m;

	mbuf_set(&m, buf, UINT16_MAX, 0, UINT16_MAX);
	buf[0] = 0x45;
	assert_int_equal(encap_fails(&pair, &m), IPSEC_PCPU_DROP_TOO_BIG);
	mbuf_set(&m, buf, UINT16_MAX, 0, UINT16_MAX - 20 - 16 - 2 - 16 + 1);
	assert_int_equal(encap_fails(&pair, &m), IPSEC_PCPU_DROP_TOO_BIG);
	mbuf_set(&m, buf, UINT16_MAX, 0, UINT16_MAX - 20 - 16 - 2 - 16 - 3);
	assert_int_equal(encap_fails(&pair, &m), IPSEC_PCPU_DROP_NO_ROOM);
	free_pair(&pair);
}

/* Packets of the most that a buffer can hold. */
static void
test_big_round_trip(void **state)
{
	static const char *const names[] = {"aes128gcm16", "chacha20poly1305"};
	static uint8_t buf[UINT16_MAX], want[UINT16_MAX];
	uint16_t len = UINT16_MAX - IPSEC_PCPU_MAX_HEAD - IPSEC_PCPU_MAX_TAIL;

	for (unsigned int i = 0; i < RTE_DIM(names); i++) {
		struct ipsec_pcpu_sa_params prm = make_params(names[i], AF_INET6);
		struct rte_mbuf mbuf, *m = &mbuf;
		struct pair pair;
		uint8_t drop, *d = buf + IPSEC_PCPU_MAX_HEAD;

		use_udp(&prm);
		pair = make_pair(prm);
		for (uint32_t k = 0; k < len; k++)
			d[k] = (uint8_t)rnd();
		memcpy(d, (uint8_t[]){0x45, 0, len >> 8, len & 0xff}, 4);
		memcpy(want, d, len);
		mbuf_set(m, buf, UINT16_MAX, IPSEC_PCPU_MAX_HEAD, len);
		assert_int_equal(ipsec_pcpu_encap_burst(pair.ctx_out, pair.out, &m, 1, &drop), 1);
		check_udp(&prm, m, 40, m->data_len - 40);
		assert_int_equal(decap_one(pair.ctx_in, pair.in, m), -1);
		assert_int_equal(m->data_len, len);
		assert_memory_equal(buf + m->data_off, want, len);
		free_pair(&pair);
	}
}

static void
test_not_ip(void **state)
{
	struct pair pair = plain_pair();
	struct pkt p;

	for (unsigned int version = 0; version < 16; version++) {
		if (version == 4 || version == 6)
			continue;
		pkt_inner(&p, 4, 60, 0, false);
		pkt_data(&p)[0] = (uint8_t)(version << 4 | 5);
		assert_int_equal(encap_fails(&pair, &p.mbuf), IPSEC_PCPU_DROP_INNER);
	}
	pkt_inner(&p, 4, 20, 0, false);
	p.mbuf.data_len = 19;
	assert_int_equal(encap_fails(&pair, &p.mbuf), IPSEC_PCPU_DROP_INNER);
	pkt_inner(&p, 6, 40, 0, false);
	p.mbuf.data_len = 39;
	assert_int_equal(encap_fails(&pair, &p.mbuf), IPSEC_PCPU_DROP_INNER);
	free_pair(&pair);
}

/* Packets that cannot be sent take no sequence number, and those done keep their order. */
static void
test_mixed_burst(void **state)
{
	struct pair pair = plain_pair();
	struct pkt p[9];
	struct rte_mbuf *m[9];
	uint8_t drop[9];

	for (unsigned int i = 0; i < RTE_DIM(p); i++) {
		pkt_inner(&p[i], 4, 60 + i, 0, false);
		if (i % 3 == 1)
			p[i].mbuf.nb_segs = 2;
		m[i] = &p[i].mbuf;
	}
	assert_int_equal(ipsec_pcpu_encap_burst(pair.ctx_out, pair.out, m, 9, drop), 6);
	for (unsigned int i = 0, k = 0; i < RTE_DIM(p); i++) {
		if (i % 3 == 1)
			continue;
		assert_ptr_equal(m[k], &p[i].mbuf);
		check_clear(&pair.prm, &p[i], 60 + i, ++k);
	}
	for (unsigned int i = 6; i < 9; i++) {
		assert_ptr_equal(m[i], &p[3 * (i - 6) + 1].mbuf);
		assert_int_equal(drop[i], IPSEC_PCPU_DROP_NO_ROOM);
	}
	assert_int_equal(ipsec_pcpu_decap_burst(pair.ctx_in, pair.in, m, 6, drop), 6);
	free_pair(&pair);
}

/* -- ownership -- */

/** A burst that the SA's owner did not send: whether all of it was dropped. */
static bool
refuses_burst(struct ipsec_pcpu_ctx *ctx, struct ipsec_pcpu_sa *sa, bool encap)
{
	struct pkt p[2];
	struct rte_mbuf *m[2] = {&p[0].mbuf, &p[1].mbuf};
	uint8_t drop[2] = {0};
	uint16_t done;

	for (int i = 0; i < 2; i++)
		pkt_inner(&p[i], 4, 60, 0, false);
	done = encap ? ipsec_pcpu_encap_burst(ctx, sa, m, 2, drop)
		     : ipsec_pcpu_decap_burst(ctx, sa, m, 2, drop);
	return done == 0 && drop[0] == IPSEC_PCPU_DROP_NOT_OWNER &&
			drop[1] == IPSEC_PCPU_DROP_NOT_OWNER;
}

#ifdef IPSEC_PCPU_OWNER_ASSERTS
static void
assert_not_owner(struct ipsec_pcpu_ctx *ctx, struct ipsec_pcpu_sa *sa, bool encap)
{
	pid_t child = fork();
	int status = 0;

	if (child == 0) {
		signal(SIGABRT, SIG_DFL);
		refuses_burst(ctx, sa, encap);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}
#else
static void
assert_not_owner(struct ipsec_pcpu_ctx *ctx, struct ipsec_pcpu_sa *sa, bool encap)
{
	uint64_t before = drops(sa, IPSEC_PCPU_DROP_NOT_OWNER);

	assert_true(refuses_burst(ctx, sa, encap));
	assert_int_equal(drops(sa, IPSEC_PCPU_DROP_NOT_OWNER), before + 2);
}
#endif

static void
test_ownership(void **state)
{
	struct pair pair = plain_pair();
	static struct ipsec_pcpu_sa before;

	snapshot(pair.out, &before);
	assert_not_owner(pair.ctx_in, pair.out, true);
	assert_not_owner(pair.ctx_out, pair.in, false);
	/* The wrong direction would encrypt with the key of the peer's packets. */
	assert_not_owner(pair.ctx_in, pair.in, true);
	assert_not_owner(pair.ctx_out, pair.out, false);
	assert_unchanged(pair.out, &before);
	ipsec_pcpu_sa_own(pair.out, NULL);
	assert_not_owner(pair.ctx_out, pair.out, true);
	ipsec_pcpu_sa_own(pair.out, pair.ctx_in);
	assert_not_owner(pair.ctx_out, pair.out, true);
	free_pair(&pair);
}

/* An SA that moves keeps its numbers, its window and its counters. */
static void
test_move(void **state)
{
	struct pair pair = plain_pair();
	struct pkt p, q;

	pkt_inner(&p, 4, 60, 0, false);
	encap_one(pair.ctx_out, pair.out, &p);
	q = p;
	q.mbuf.buf_addr = q.buf;
	assert_int_equal(decap_one(pair.ctx_in, pair.in, &p.mbuf), -1);
	ipsec_pcpu_sa_own(pair.in, pair.ctx_out);
	assert_int_equal(decap_one(pair.ctx_out, pair.in, &q.mbuf), IPSEC_PCPU_DROP_REPLAYED);
	ipsec_pcpu_sa_own(pair.out, pair.ctx_in);
	pkt_inner(&p, 4, 60, 0, false);
	encap_one(pair.ctx_in, pair.out, &p);
	assert_int_equal(pair.out->seq, 2);
	assert_int_equal(pair.out->packets, 2);
	free_pair(&pair);
}

static void
test_count_drop(void **state)
{
	struct pair pair = plain_pair();

	ipsec_pcpu_sa_count_drop(pair.in, IPSEC_PCPU_DROP_SELECTOR, 3);
	ipsec_pcpu_sa_count_drop(pair.in, IPSEC_PCPU_DROP_SELECTOR, 4);
	assert_int_equal(drops(pair.in, IPSEC_PCPU_DROP_SELECTOR), 7);
	free_pair(&pair);
}

/* -- MTU -- */

/** The MTU's inner packet fits it, and one byte more does not. */
static void
check_inner_mtu(struct pair *pair, uint32_t mtu)
{
	uint32_t inner = ipsec_pcpu_sa_inner_mtu(&pair->prm, mtu);
	struct pkt p;

	assert_true(inner < mtu);
	pkt_inner(&p, 4, inner, 0, false);
	encap_one(pair->ctx_out, pair->out, &p);
	assert_true(p.mbuf.data_len <= mtu);
	pkt_inner(&p, 4, inner + 1, 0, false);
	encap_one(pair->ctx_out, pair->out, &p);
	assert_true(p.mbuf.data_len > mtu);
}

static void
test_inner_mtu(void **state)
{
	const struct ipsec_pcpu_algo *a;

	for (unsigned int i = 0; (a = ipsec_pcpu_algo_get(i)) != NULL; i++) {
		for (unsigned int k = 0; k < 4; k++) {
			struct ipsec_pcpu_sa_params prm =
					make_params(a->name, k & 1 ? AF_INET6 : AF_INET);
			struct pair pair;

			if (k & 2)
				use_udp(&prm);
			pair = make_pair(prm);
			for (uint32_t mtu = 200; mtu < 1700; mtu += 7)
				check_inner_mtu(&pair, mtu);
			assert_int_equal(ipsec_pcpu_sa_inner_mtu(&prm, 0), 0);
			assert_int_equal(ipsec_pcpu_sa_inner_mtu(&prm, 40), 0);
			free_pair(&pair);
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_round_trips),
			cmocka_unit_test(test_burst_sizes),
			cmocka_unit_test(test_mismatch),
			cmocka_unit_test(test_corrupt),
			cmocka_unit_test(test_truncate),
			cmocka_unit_test(test_random_bytes),
			cmocka_unit_test(test_duplicates_in_burst),
			cmocka_unit_test(test_forgery_before_original),
			cmocka_unit_test(test_window),
			cmocka_unit_test(test_padding),
			cmocka_unit_test(test_next_header),
			cmocka_unit_test(test_tfc_padding),
			cmocka_unit_test(test_inner_malformed),
			cmocka_unit_test(test_tos_encap),
			cmocka_unit_test(test_ecn_decap),
			cmocka_unit_test(test_df),
			cmocka_unit_test(test_outer_checksum),
			cmocka_unit_test(test_encap_property),
			cmocka_unit_test(test_long_outer_header),
			cmocka_unit_test(test_seq_overflow),
			cmocka_unit_test(test_seq_reserve),
			cmocka_unit_test(test_hard_packets),
			cmocka_unit_test(test_hard_bytes),
			cmocka_unit_test(test_hard_limit_inbound),
			cmocka_unit_test(test_no_room),
			cmocka_unit_test(test_exact_room),
			cmocka_unit_test(test_too_big),
			cmocka_unit_test(test_big_round_trip),
			cmocka_unit_test(test_not_ip),
			cmocka_unit_test(test_mixed_burst),
			cmocka_unit_test(test_ownership),
			cmocka_unit_test(test_move),
			cmocka_unit_test(test_count_drop),
			cmocka_unit_test(test_inner_mtu),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
