/* SPDX-License-Identifier: BSD-3-Clause */

/* What the workers' lcores run besides the gateway, and the clocks of their threads. */

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <intel-ipsec-mb.h>

#include <rte_ethdev.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <rte_malloc.h>

#include "bench.h"

#define RAW_BUFFERS GW_BURST
/** As in an mbuf: where ESP's payload starts, and room for more than the largest packet. */
#define RAW_STRIDE 2496

static clockid_t clocks[RTE_MAX_LCORE];

static int
note_clock(void *arg)
{
	return pthread_getcpuclockid(pthread_self(), arg);
}

int
bench_clocks_init(void)
{
	unsigned int lcore;

	RTE_LCORE_FOREACH_WORKER(lcore) {
		if (rte_eal_remote_launch(note_clock, &clocks[lcore], lcore) < 0 ||
				rte_eal_wait_lcore(lcore) != 0)
			return -EIO;
	}
	return 0;
}

unsigned int
bench_lcore(unsigned int worker)
{
	unsigned int lcore;

	RTE_LCORE_FOREACH_WORKER(lcore)
		if (worker-- == 0)
			return lcore;
	return RTE_MAX_LCORE;
}

static uint64_t
clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return ts.tv_sec * UINT64_C(1000000000) + ts.tv_nsec;
}

uint64_t
bench_cpu_ns(unsigned int lcore)
{
	return clock_ns(clocks[lcore]);
}

uint64_t
bench_wall_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

void
bench_sleep_ms(unsigned int ms)
{
	const struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};

	clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, NULL);
}

static void
count(struct bench_count *c, uint64_t n)
{
	__atomic_store_n(&c->packets, c->packets + n, __ATOMIC_RELAXED);
}

int
bench_io_main(void *arg)
{
	struct bench_io *io = arg;
	struct rte_mbuf *pkts[GW_BURST];

	while (!__atomic_load_n(&io->stop, __ATOMIC_RELAXED)) {
		uint16_t n = rte_eth_rx_burst(io->in, io->queue, pkts, GW_BURST);
		uint16_t sent = rte_eth_tx_burst(io->out, io->queue, pkts, n);

		rte_pktmbuf_free_bulk(pkts + sent, n - sent);
		count(&io->count, sent);
	}
	return 0;
}

/* The cipher alone: the one-shot call of intel-ipsec-mb */

struct raw_state {
	IMB_MGR *mgr;
	struct gcm_key_data key __rte_cache_aligned;
	struct gcm_context_data ctx __rte_cache_aligned;
	aes_gcm_enc_dec_t crypt;
	uint8_t *buf;
	uint32_t len[RAW_BUFFERS];
};

bool
bench_raw_has(const struct ipsec_pcpu_algo *algo)
{
	return strncmp(algo->name, "aes", 3) == 0 && strstr(algo->name, "gcm") != NULL;
}

static void
raw_cipher(struct raw_state *s, const struct bench_raw *raw)
{
	static const uint8_t key[32] = {1, 2, 3};
	unsigned int bits = (raw->algo->key_len - raw->algo->salt_len) * 8;
	bool enc = raw->dir == IPSEC_PCPU_OUT;

	if (bits == 128) {
		IMB_AES128_GCM_PRE(s->mgr, key, &s->key);
		s->crypt = enc ? s->mgr->gcm128_enc : s->mgr->gcm128_dec;
	} else if (bits == 192) {
		IMB_AES192_GCM_PRE(s->mgr, key, &s->key);
		s->crypt = enc ? s->mgr->gcm192_enc : s->mgr->gcm192_dec;
	} else {
		IMB_AES256_GCM_PRE(s->mgr, key, &s->key);
		s->crypt = enc ? s->mgr->gcm256_enc : s->mgr->gcm256_dec;
	}
}

static struct raw_state *
raw_new(const struct bench_raw *raw)
{
	struct raw_state *s = rte_zmalloc("raw", sizeof(*s), RTE_CACHE_LINE_SIZE);

	if (s == NULL)
		return NULL;
	s->mgr = alloc_mb_mgr(0);
	s->buf = rte_zmalloc("raw", RAW_BUFFERS * RAW_STRIDE, RTE_CACHE_LINE_SIZE);
	if (s->mgr == NULL || s->buf == NULL)
		return NULL; /* the bench ends */
	init_mb_mgr_auto(s->mgr, NULL);
	raw_cipher(s, raw);
	return s;
}

static void
raw_free(struct raw_state *s)
{
	free_mb_mgr(s->mgr);
	rte_free(s->buf);
	rte_free(s);
}

int
bench_raw_main(void *arg)
{
	struct bench_raw *raw = arg;
	struct raw_state *s = raw_new(raw);
	uint8_t iv[12] = {0}, aad[16] = {0}, tag[16];
	unsigned int at = 0;

	if (s == NULL)
		return -ENOMEM;
	while (!__atomic_load_n(&raw->stop, __ATOMIC_RELAXED)) {
		/* the next 32 of the sequence; the trailer of ESP is part of the text */
		for (unsigned int i = 0; i < RAW_BUFFERS; i++)
			s->len[i] = RTE_ALIGN_CEIL(bench_inner_len(raw->size, at + i) + 2, 4u);
		at = (at + RAW_BUFFERS) % 12;
		for (unsigned int i = 0; i < RAW_BUFFERS; i++) {
			uint8_t *p = s->buf + i * RAW_STRIDE + 128;

			s->crypt(&s->key, &s->ctx, p, p, s->len[i], iv, aad, 12,
					raw->dir == IPSEC_PCPU_OUT ? p + s->len[i] : tag,
					raw->algo->icv_len);
		}
		count(&raw->count, RAW_BUFFERS);
	}
	raw_free(s);
	return 0;
}
