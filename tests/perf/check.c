/* SPDX-License-Identifier: BSD-3-Clause */

/* Was it the right thing that was measured? What the output port got, as the peer sees it. */

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_udp.h>

#include "traffic.h"

void
bench_traffic_capture(struct bench_traffic *t, unsigned int ms)
{
	for (unsigned int w = 0; w < t->cell.workers; w++) {
		t->captured[w].n = 0;
		__atomic_store_n(&t->sink[w].capture, &t->captured[w], __ATOMIC_RELEASE);
	}
	/* of a timed cell only the last one's packets are looked at */
	for (unsigned int w = t->cell.timed ? t->cell.workers - 1 : 0; w < t->cell.workers; w++) {
		struct capture *c = &t->captured[w];

		for (; ms > 0 && __atomic_load_n(&c->n, __ATOMIC_ACQUIRE) < TRAFFIC_CAPTURED; ms--)
			bench_sleep_ms(1);
		__atomic_store_n(&t->sink[w].capture, NULL, __ATOMIC_RELEASE);
	}
	/* a worker may be in the middle of it */
	bench_sleep_ms(2);
}

/** Where ESP starts in an IP packet; @p l4_len: of that, UDP. */
static uint16_t
esp_offset(const uint8_t *ip, uint16_t *l4_len)
{
	bool is6 = ip[0] >> 4 == 6;
	uint8_t proto = is6 ? ((const struct rte_ipv6_hdr *)ip)->proto
			    : ((const struct rte_ipv4_hdr *)ip)->next_proto_id;

	*l4_len = proto == IPPROTO_UDP ? sizeof(struct rte_udp_hdr) : 0;
	return (is6 ? sizeof(struct rte_ipv6_hdr) : sizeof(struct rte_ipv4_hdr)) + *l4_len;
}

/** A captured ESP packet as the peer takes it; false: it does not. */
static bool
peer_decrypts(struct bench_traffic *t, struct rte_mbuf *m)
{
	struct rte_mbuf *pkts[1] = {m};
	uint32_t tunnel, worker;
	uint16_t l4_len;
	rte_be32_t spi;
	uint8_t why[1];

	m->l3_len = esp_offset(rte_pktmbuf_mtod(m, const uint8_t *), &l4_len) - l4_len;
	m->l4_len = l4_len;
	memcpy(&spi, rte_pktmbuf_mtod_offset(m, uint8_t *, m->l3_len + m->l4_len), sizeof(spi));
	tunnel = rte_be_to_cpu_32(spi) >> 8 & 0xffff;
	worker = rte_be_to_cpu_32(spi) & 0xff;
	if (tunnel >= t->cell.tunnels || worker >= t->cell.workers)
		return false;
	return ipsec_pcpu_decap_burst(t->ctx, traffic_sa(t, tunnel, worker), pkts, 1, why) == 1;
}

/** Is it one of the packets that were put in, with its TTL one less? */
static bool
is_right(const struct bench_traffic *t, const struct rte_mbuf *m)
{
	const uint8_t *p = rte_pktmbuf_mtod(m, const uint8_t *);
	const struct packet *want;
	uint32_t name[2];

	if (m->data_len < sizeof(struct rte_ipv4_hdr) + sizeof(struct rte_udp_hdr) + sizeof(name))
		return false;
	memcpy(name, p + sizeof(struct rte_ipv4_hdr) + sizeof(struct rte_udp_hdr), sizeof(name));
	if (name[0] >= t->cell.workers || name[1] >= t->n_packets)
		return false;
	want = &t->packets[name[0] * t->n_packets + name[1]];
	return m->data_len == want->inner_len && memcmp(p, want->inner, want->inner_len) == 0;
}

static int
compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/** (SPI, sequence number) pairs that were captured more than once. */
static unsigned int
count_duplicates(const struct bench_traffic *t)
{
	const size_t l3 = TRAFFIC_HEADROOM + sizeof(struct rte_ether_hdr);
	uint64_t seen[BENCH_MAX_WORKERS * TRAFFIC_CAPTURED];
	unsigned int n = 0, found = 0;

	for (unsigned int w = 0; w < t->cell.workers; w++)
		for (unsigned int i = 0; i < t->captured[w].n; i++) {
			const uint8_t *ip = t->captured[w].data + i * (size_t)t->buf_len + l3;
			uint16_t l4_len, esp = esp_offset(ip, &l4_len);

			memcpy(&seen[n++], ip + esp, sizeof(seen[0]));
		}
	qsort(seen, n, sizeof(seen[0]), compare_u64);
	for (unsigned int i = 1; i < n; i++)
		found += seen[i] == seen[i - 1];
	return found;
}

void
bench_traffic_check(struct bench_traffic *t, struct bench_result *r)
{
	/* before packets are decrypted in place */
	if (t->cell.dir == IPSEC_PCPU_OUT)
		r->duplicates += count_duplicates(t);
	for (unsigned int w = 0; w < t->cell.workers; w++) {
		struct capture *c = &t->captured[w];

		for (unsigned int i = 0; i < c->n; i++) {
			const size_t l2 = sizeof(struct rte_ether_hdr);
			struct rte_mbuf m;

			traffic_wrap(&m, c->data + i * (size_t)t->buf_len, t->buf_len,
					TRAFFIC_HEADROOM + l2, c->len[i] - l2);
			if (t->cell.dir == IPSEC_PCPU_OUT && !peer_decrypts(t, &m))
				r->wrong++;
			else if (!is_right(t, &m))
				r->wrong++;
			r->checked++;
		}
	}
}
