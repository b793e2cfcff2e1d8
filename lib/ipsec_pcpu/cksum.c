/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * HOT. The checksum of UDP over IPv6, which goes over all that was encrypted (RFC 8200
 * 8.1). The compiler makes it for what vectors the CPU has: DPDK's own sum, as built for
 * all of them, takes several times as long.
 */

#include <string.h>

#include "outer.h"

#if defined(__x86_64__) && defined(__GNUC__)
#define BY_CPU __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define BY_CPU
#endif

/** Sum of 32-bit words in the order of memory; of at most 64 KB, so that it does not run over. */
uint64_t cksum_words(const uint8_t *p, uint32_t n);

BY_CPU uint64_t
cksum_words(const uint8_t *p, uint32_t n)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < n; i++) {
		uint32_t w;

		memcpy(&w, p + i * sizeof(w), sizeof(w));
		sum += w;
	}
	return sum;
}

/** Make that of a packet whose checksum field has the sum over the pseudo-header. */
static void
udp6_cksum(struct rte_mbuf *m)
{
	struct rte_udp_hdr *udp = rte_pktmbuf_mtod_offset(m, struct rte_udp_hdr *, m->l3_len);
	uint32_t len = rte_be_to_cpu_16(udp->dgram_len);
	const uint8_t *p = (const uint8_t *)udp;
	uint32_t rest = 0;
	uint64_t sum;
	uint16_t cksum;

	sum = cksum_words(p, len / sizeof(rest));
	memcpy(&rest, p + len / sizeof(rest) * sizeof(rest), len % sizeof(rest));
	sum += rest;
	sum = (sum & UINT32_MAX) + (sum >> 32);
	sum = (sum & UINT32_MAX) + (sum >> 32);
	cksum = outer_fold((uint32_t)sum);
	udp->dgram_cksum = cksum != 0 ? cksum : UINT16_MAX; /* 0 would say: none */
	m->ol_flags &= ~IPSEC_PCPU_TX_UDP_CKSUM;
}

void
ipsec_pcpu_udp_cksum(struct rte_mbuf *const pkts[], uint16_t n)
{
	for (uint16_t i = 0; i < n; i++)
		if (ipsec_pcpu_lacks_udp_cksum(pkts[i]))
			udp6_cksum(pkts[i]);
}
