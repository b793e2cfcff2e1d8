/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * A frame from the wire, up to what comes out of the tunnel. The first byte of the input says how
 * the rest is read: as a frame of somebody who has no key, which must change nothing whatever it
 * is; or as plaintexts and sequence numbers of a peer who has it and is not kind. The peer's seal
 * is intel-ipsec-mb's own, not that of our encapsulation.
 */

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include <intel-ipsec-mb.h>

#include <ipsec_pcpu.h>

#include "check.h"
#include "datapath/classify.h"

#define HEAD 64 /* bytes before a frame, as there are in an mbuf */
#define OUTER4 20
#define ESP_LEN 16 /* SPI, sequence number, IV */
#define ICV_LEN 16
#define WINDOW 128

/** In the order of sas[]: kind of SA. */
enum {
	SA_PLAIN,
	SA_ESN,
	N_SAS
};

static const uint8_t mac[6] = {2, 0, 0, 0, 0, 1};
static const uint8_t our4[4] = {192, 0, 2, 1}, peer4[4] = {192, 0, 2, 2};
static const uint8_t our6[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = 1};
static const uint8_t key[20] = "sixteen bytes, and 4";

static struct ipsec_pcpu_ctx *ctx;
static struct ipsec_pcpu_sa *sas[N_SAS];
static struct gw_local local;
static struct gw_port_view port;
static IMB_MGR *mgr;
static struct gcm_key_data peer_key;

int LLVMFuzzerInitialize(int *argc, char ***argv);

static void *
lines(size_t size)
{
	void *p = aligned_alloc(RTE_CACHE_LINE_SIZE, RTE_ALIGN_CEIL(size, RTE_CACHE_LINE_SIZE));

	check(p != NULL);
	return p;
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	rte_be32_t ip4;

	(void)argc;
	(void)argv;
	ctx = lines(ipsec_pcpu_ctx_size());
	check(ipsec_pcpu_ctx_init(ctx) == 0);
	for (unsigned int i = 0; i < N_SAS; i++)
		sas[i] = lines(ipsec_pcpu_sa_size());
	memcpy(&ip4, our4, 4);
	local.ip4[gw_local_hash4(ip4)] = ip4;
	memcpy(local.ip6[gw_local_hash6(our6)], our6, 16);
	local.esp_udp[4500 / 64] |= UINT64_C(1) << 4500 % 64;
	memcpy(&port.mac, mac, 6);
	mgr = alloc_mb_mgr(0);
	check(mgr != NULL);
	init_mb_mgr_auto(mgr, NULL);
	IMB_AES128_GCM_PRE(mgr, key, &peer_key);
	return 0;
}

/** New ones, with empty windows. */
static void
make_sas(void)
{
	struct ipsec_pcpu_sa_params prm = {
			.dir = IPSEC_PCPU_IN,
			.algo = ipsec_pcpu_algo_find("aes128gcm16"),
			.family = AF_INET,
			.replay_window = WINDOW,
			.ttl = 64,
	};

	memcpy(prm.key, key, sizeof(key));
	memcpy(&prm.daddr.ip4, our4, 4);
	memcpy(&prm.saddr.ip4, peer4, 4);
	for (unsigned int i = 0; i < N_SAS; i++) {
		prm.spi = 0x100 + i;
		prm.esn = i == SA_ESN;
		check(ipsec_pcpu_sa_init(ctx, sas[i], &prm) == 0);
		ipsec_pcpu_sa_own(sas[i], ctx);
	}
}

/** An mbuf around a block of its own, whose end is the packet's, so that ASan sees it. */
static uint8_t *
frame_of(struct rte_mbuf *m, size_t len)
{
	uint8_t *block = malloc(HEAD + len);

	check(block != NULL);
	memset(block, 0, HEAD);
	memset(m, 0, sizeof(*m));
	m->buf_addr = block;
	m->data_off = HEAD;
	m->buf_len = HEAD + len;
	m->data_len = m->pkt_len = len;
	m->nb_segs = 1;
	m->refcnt = 1;
	return block + HEAD;
}

/**
 * What came out of the tunnel is what the stages behind it rely on, and what the peer put in:
 * @p len bytes of plaintext at @p text, the last two of which are the trailer (RFC 4303 2.4).
 */
static void
check_inner(const struct rte_mbuf *m, const uint8_t *text, uint32_t len)
{
	const uint8_t *p = rte_pktmbuf_mtod(m, const uint8_t *);
	struct gw_flow f;

	check(m->pkt_len == m->data_len && m->data_off >= HEAD);
	check(m->data_off + m->data_len <= m->buf_len);
	if (p[0] >> 4 == 4)
		check(m->data_len >= 20 && (p[0] & 0xf) >= 5 && (p[0] & 0xf) * 4 <= m->data_len &&
				(p[2] << 8 | p[3]) == m->data_len);
	else
		check(m->data_len >= 40 && p[0] >> 4 == 6 &&
				(p[4] << 8 | p[5]) + 40 == m->data_len);
	check(len >= 2 && m->data_len + text[len - 2] + 2u <= len);
	check(memcmp(p + 20, text + 20, m->data_len - 20) == 0); /* before it: ECN, checksum */
	gw_flow_parse(&f, p, m->data_len);
	check(f.family == (p[0] >> 4 == 4 ? AF_INET : AF_INET6));
}

static uint64_t
sum_drops(const struct ipsec_pcpu_sa_stats *stats)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < IPSEC_PCPU_N_DROPS; i++)
		sum += stats->drops[i];
	return sum;
}

/** One packet, with all that is known of it. Returns whether it was taken, and then cuts it. */
static bool
decap(struct ipsec_pcpu_sa *sa, struct rte_mbuf *m)
{
	struct ipsec_pcpu_sa_stats before, after;
	struct rte_mbuf *pkts[1] = {m};
	uint8_t drop[1];
	uint16_t n;

	ipsec_pcpu_sa_stats(sa, &before);
	n = ipsec_pcpu_decap_burst(ctx, sa, pkts, 1, drop);
	ipsec_pcpu_sa_stats(sa, &after);
	check(n <= 1 && pkts[0] == m);
	check(after.packets == before.packets + n);
	check(sum_drops(&after) == sum_drops(&before) + 1 - n);
	check(n == 1 ||
			(drop[0] < IPSEC_PCPU_N_DROPS &&
					after.drops[drop[0]] == before.drops[drop[0]] + 1));
	return n == 1;
}

/** To the SA that its SPI names, as the gateway finds it. */
static struct ipsec_pcpu_sa *
sa_of(const struct rte_mbuf *m)
{
	const uint8_t *esp = rte_pktmbuf_mtod(m, const uint8_t *) + m->l3_len + m->l4_len;
	uint32_t spi = rte_be_to_cpu_32(gw_flow_load4(esp));

	return spi >= 0x100 && spi - 0x100 < N_SAS ? sas[spi - 0x100] : NULL;
}

static void
from_anybody(const uint8_t *data, size_t size)
{
	struct ipsec_pcpu_sa_stats stats;
	struct gw_parsed parsed = {.len = 0};
	struct ipsec_pcpu_sa *sa;
	struct rte_mbuf m;
	int class;

	memcpy(frame_of(&m, size), data, size);
	class = classify_frame(&local, &port, &m, &parsed);
	check(class >= 0 && class < GW_CLASS_DROP + GW_N_DROPS);
	if (class == GW_CLASS_CLEAR || class == GW_CLASS_ESP || class == GW_CLASS_FRAGMENT) {
		check(parsed.l3_len >= 20 && parsed.l3_len <= parsed.len);
		check(parsed.len + sizeof(struct rte_ether_hdr) <= size);
		gw_take(&m, sizeof(struct rte_ether_hdr), parsed);
	}
	if (class == GW_CLASS_ESP) {
		check(m.l3_len + m.l4_len + ESP_MIN_LEN <= m.data_len);
		sa = sa_of(&m);
		if (sa != NULL) {
			check(!decap(sa, &m));
			ipsec_pcpu_sa_stats(sa, &stats);
			check(stats.seq == 0 && stats.packets == 0 && stats.bytes == 0);
		}
	}
	free(m.buf_addr);
}

/** An authentic packet with any plaintext, trailer and all, at frame_of()'s place. */
static void
seal(struct rte_mbuf *m, unsigned int which, uint64_t seq, const uint8_t *text, uint32_t len)
{
	uint8_t *p = frame_of(m, OUTER4 + ESP_LEN + len + ICV_LEN);
	uint8_t *esp = p + OUTER4, aad[12], nonce[12];
	rte_be32_t spi = rte_cpu_to_be_32(0x100 + which), low = rte_cpu_to_be_32(seq),
		   high = rte_cpu_to_be_32(seq >> 32);
	uint32_t aad_len = which == SA_ESN ? 12 : 8;
	struct gcm_context_data gcm;

	memset(p, 0, OUTER4);
	p[0] = 0x45;
	memcpy(esp, &spi, 4);
	memcpy(esp + 4, &low, 4);
	memcpy(esp + 8, &seq, 8);
	memcpy(nonce, key + 16, 4);
	memcpy(nonce + 4, esp + 8, 8);
	memcpy(aad, &spi, 4);
	memcpy(aad + 4, which == SA_ESN ? &high : &low, 4);
	memcpy(aad + 8, &low, 4);
	IMB_AES128_GCM_ENC(mgr, &peer_key, &gcm, esp + ESP_LEN, text, len, nonce, aad, aad_len,
			esp + ESP_LEN + len, ICV_LEN);
	m->l3_len = OUTER4;
}

/** How a packet stands in the input, before its plaintext. */
struct op {
	uint8_t which;
	uint8_t len;
	uint8_t step[2]; /* signed: how far from the last number */
};

static void
from_the_peer(const uint8_t *data, size_t size)
{
	struct ipsec_pcpu_sa_stats stats;
	uint64_t seq[N_SAS] = {0};
	struct rte_mbuf m;
	bool taken;
	struct op op;

	while (size > sizeof(op)) {
		memcpy(&op, data, sizeof(op));
		data += sizeof(op);
		size -= sizeof(op);
		op.len = RTE_MIN(op.len, size);
		op.which %= N_SAS;
		seq[op.which] += (int16_t)(op.step[0] | op.step[1] << 8);
		if (op.which == SA_PLAIN)
			seq[op.which] &= UINT32_MAX;
		/* below 0: of an ESN that the receiver can not guess */
		seal(&m, op.which, seq[op.which], data, op.len);
		taken = decap(sas[op.which], &m);
		if (taken)
			check_inner(&m, data, op.len);
		free(m.buf_addr);
		if (taken) {
			ipsec_pcpu_sa_stats(sas[op.which], &stats);
			check(stats.seq >= seq[op.which] && stats.seq - seq[op.which] < WINDOW);
			seal(&m, op.which, seq[op.which], data, op.len);
			check(!decap(sas[op.which], &m)); /* once */
			free(m.buf_addr);
		}
		data += op.len;
		size -= op.len;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1 || size > UINT16_MAX / 2)
		return 0;
	make_sas();
	if (data[0] & 1)
		from_the_peer(data + 1, size - 1);
	else
		from_anybody(data + 1, size - 1);
	for (unsigned int i = 0; i < N_SAS; i++)
		ipsec_pcpu_sa_fini(sas[i]);
	return 0;
}
