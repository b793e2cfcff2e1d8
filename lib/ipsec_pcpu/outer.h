/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef OUTER_H
#define OUTER_H

/*
 * HOT. The outer headers: a template made with the SA, copied and patched for
 * each packet; and what passes between inner and outer header: DSCP and ECN
 * (RFC 4301 5.1.2, RFC 6040), DF.
 */

#include <string.h>

#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_udp.h>

#include "sa.h"

#define OUTER_ECN_MASK 0x03
#define OUTER_DSCP_MASK 0xfc
#define OUTER_ECT1 0x01
#define OUTER_CE 0x03

/** What encapsulation takes from the inner header. */
struct inner {
	uint8_t proto; /* next header of ESP: 4 or 41 */
	uint8_t tos; /* TOS or traffic class */
	bool df; /* always so for IPv6: its routers do not fragment */
};

/** Read it; false where it is no IP header. @p len bytes are there. */
static inline bool
inner_read(const uint8_t *p, uint32_t len, struct inner *in)
{
	if (likely(len >= sizeof(struct rte_ipv4_hdr) && p[0] >> 4 == 4)) {
		in->proto = IPPROTO_IPIP;
		in->tos = p[1];
		in->df = p[6] & (RTE_IPV4_HDR_DF_FLAG >> 8);
		return true;
	}
	if (likely(len >= sizeof(struct rte_ipv6_hdr) && p[0] >> 4 == 6)) {
		in->proto = IPPROTO_IPV6;
		in->tos = (uint8_t)(p[0] << 4 | p[1] >> 4);
		in->df = true;
		return true;
	}
	return false;
}

/** Make a sum of 16-bit words a checksum. */
static inline uint16_t
outer_fold(uint32_t sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

/**
 * Outer IPv4 header of a packet of @p total bytes. The ID matters only where
 * routers may fragment (RFC 6864): then it is the sequence number's low half.
 */
static inline void
outer_write4(const struct ipsec_pcpu_sa *sa, uint8_t *p, uint16_t total, const struct inner *in,
		uint64_t seq)
{
	struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)p;
	uint8_t tos = (in->tos & sa->tos_mask) | sa->tos_fixed;
	bool df = sa->df_copy ? in->df : sa->df_set;
	uint16_t id = df ? 0 : rte_cpu_to_be_16((uint16_t)seq);
	uint16_t frag = df ? RTE_BE16(RTE_IPV4_HDR_DF_FLAG) : 0;

	/* Whole vectors; the ESP header is written over what is too much. */
	memcpy(p, sa->outer, 32);
	total = rte_cpu_to_be_16(total);
	ip->type_of_service = tos;
	ip->total_length = total;
	ip->packet_id = id;
	ip->fragment_offset = frag;
	ip->hdr_checksum = outer_fold(sa->outer_sum + rte_cpu_to_be_16(tos) + total + id + frag);
}

/** Outer IPv6 header of a packet of @p total bytes. */
static inline void
outer_write6(const struct ipsec_pcpu_sa *sa, uint8_t *p, uint16_t total, const struct inner *in)
{
	struct rte_ipv6_hdr *ip = (struct rte_ipv6_hdr *)p;
	uint32_t tos = (in->tos & sa->tos_mask) | sa->tos_fixed;

	memcpy(p, sa->outer, SA_MAX_OUTER);
	ip->vtc_flow |= rte_cpu_to_be_32(tos << RTE_IPV6_HDR_TC_SHIFT);
	ip->payload_len = rte_cpu_to_be_16(total - sizeof(*ip));
}

/** Outer headers of a packet of @p total bytes; UDP over IPv6 lacks its checksum. */
static inline void
outer_write(const struct ipsec_pcpu_sa *sa, uint8_t *p, uint16_t total, const struct inner *in,
		uint64_t seq)
{
	uint16_t l3_len = sa->outer_len - sa->udp_len;

	if (sa->version == 4)
		outer_write4(sa, p, total, in, seq);
	else
		outer_write6(sa, p, total, in);
	if (sa->udp_len != 0) {
		struct rte_udp_hdr *udp = (struct rte_udp_hdr *)(p + l3_len);

		udp->dgram_len = rte_cpu_to_be_16(total - l3_len);
	}
}

/**
 * UDP checksum over IPv6, once all is encrypted: RFC 8200 8.1 wants one there.
 * Over IPv4 it is 0, as RFC 3948 2.1 says.
 */
static inline void
outer_udp6_cksum(uint8_t *p)
{
	const struct rte_ipv6_hdr *ip = (const struct rte_ipv6_hdr *)p;
	struct rte_udp_hdr *udp = (struct rte_udp_hdr *)(p + sizeof(*ip));

	udp->dgram_cksum = rte_ipv6_udptcp_cksum(ip, udp);
}

/** TOS or traffic class of an outer header. */
static inline uint8_t
outer_tos(const uint8_t *p, uint8_t version)
{
	return version == 4 ? p[1] : (uint8_t)(p[0] << 4 | p[1] >> 4);
}

/** Put a mark into an inner IPv4 header, its checksum kept (RFC 1624). */
static inline void
inner_set_ecn4(uint8_t *p, uint8_t ecn)
{
	struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)p;
	uint8_t tos = (ip->type_of_service & OUTER_DSCP_MASK) | ecn;
	uint32_t sum = (uint16_t)~ip->hdr_checksum;

	sum += (uint16_t)~rte_cpu_to_be_16(ip->type_of_service);
	sum += rte_cpu_to_be_16(tos);
	ip->type_of_service = tos;
	ip->hdr_checksum = outer_fold(sum);
}

/**
 * Carry a congestion mark from the outer to the inner header as figure 4 of
 * RFC 6040 says: CE wins, ECT(1) beats ECT(0), all else leaves the inner one.
 * False: the packet must be dropped, its sender could not learn of it.
 */
static inline bool
ecn_decap(uint8_t outer, uint8_t *inner, uint8_t version)
{
	uint8_t old = outer_tos(inner, version) & OUTER_ECN_MASK;
	uint8_t ecn = outer & OUTER_ECN_MASK;

	if (likely(!(ecn & OUTER_ECT1)) || old == ecn || old == OUTER_CE)
		return true;
	if (old == 0)
		return ecn != OUTER_CE;
	if (version == 4)
		inner_set_ecn4(inner, ecn);
	else
		inner[1] = (uint8_t)((inner[1] & ~(OUTER_ECN_MASK << 4)) | ecn << 4);
	return true;
}

#endif /* OUTER_H */
