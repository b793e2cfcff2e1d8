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

void
outer_udp6_cksum(uint8_t *p)
{
	const struct rte_ipv6_hdr *ip = (const struct rte_ipv6_hdr *)p;
	struct rte_udp_hdr *udp = (struct rte_udp_hdr *)(p + sizeof(*ip));
	const uint8_t *addrs = p + offsetof(struct rte_ipv6_hdr, src_addr);
	uint32_t len = p + sizeof(*ip) + rte_be_to_cpu_16(udp->dgram_len) - addrs;
	uint32_t rest = 0;
	uint64_t sum;
	uint16_t cksum;

	/* the addresses stand before the UDP header: one sum of both; its own field is 0 */
	sum = cksum_words(addrs, len / sizeof(rest));
	memcpy(&rest, addrs + len / sizeof(rest) * sizeof(rest), len % sizeof(rest));
	sum += rest;
	/* the rest of the pseudo-header: length and protocol */
	sum += udp->dgram_len;
	sum += RTE_BE16(IPPROTO_UDP);
	sum = (sum & UINT32_MAX) + (sum >> 32);
	sum = (sum & UINT32_MAX) + (sum >> 32);
	cksum = outer_fold((uint32_t)sum);
	udp->dgram_cksum = cksum != 0 ? cksum : UINT16_MAX; /* 0 would say: none */
}
