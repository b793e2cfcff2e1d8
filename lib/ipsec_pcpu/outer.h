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
#define OUTER_DF RTE_BE16(RTE_IPV4_HDR_DF_FLAG) /* it is in the first byte: 0x40 */

/** What encapsulation takes from the inner header; whole registers, for speed. */
struct inner {
	uint32_t version; /* 4 or 6; 0: no IP header */
	uint32_t tos; /* TOS or traffic class */
	uint32_t df; /* OUTER_DF or 0; always set for IPv6: its routers do not fragment */
};

/** Read it. @p len bytes are there. */
static inline struct inner
inner_read(const uint8_t *p, uint32_t len)
{
	uint32_t version = p[0] >> 4;
	uint16_t frag;

	if (likely(version == 4 && len >= sizeof(struct rte_ipv4_hdr))) {
		memcpy(&frag, p + 6, sizeof(frag));
		return (struct inner){4, p[1], frag & OUTER_DF};
	}
	if (likely(version == 6 && len >= sizeof(struct rte_ipv6_hdr)))
		return (struct inner){6, (uint8_t)(p[0] << 4 | p[1] >> 4), OUTER_DF};
	return (struct inner){0, 0, 0};
}

/* Of any alignment, in the order of memory. */

static inline uint64_t
load8(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static inline void
store8(uint8_t *p, uint64_t v)
{
	memcpy(p, &v, sizeof(v));
}

/** Make a sum of 16-bit words a checksum. */
static inline uint16_t
outer_fold(uint32_t sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

/* What outer_write4() puts into each 8 bytes of the template, as they lie in memory. */
#if RTE_BYTE_ORDER == RTE_BIG_ENDIAN
#error "outer_write4() is written for little-endian machines, as intel-ipsec-mb is"
#endif
#define OUTER_TOS_SHIFT 8
#define OUTER_TOTAL_SHIFT 16
#define OUTER_ID_SHIFT 32
#define OUTER_FRAG_SHIFT 48
#define OUTER_CKSUM_SHIFT 16

/**
 * Outer IPv4 header of a packet of @p total bytes, with a UDP header behind it where @p udp
 * says so. The ID matters only where routers may fragment (RFC 6864): then it is the sequence
 * number's low half. Whole words, each stored once; the last one may reach into the place of the
 * ESP header, which is written later.
 */
static inline void
outer_write4(const struct ipsec_pcpu_sa *sa, uint8_t *p, uint16_t total, struct inner in,
		uint64_t seq, bool udp)
{
	uint64_t tos = (in.tos & sa->tos_mask) | sa->tos_fixed;
	uint64_t frag = (in.df & sa->df_mask) | sa->df_fixed;
	uint64_t id = frag != 0 ? 0 : rte_cpu_to_be_16((uint16_t)seq);
	uint64_t be_total = rte_cpu_to_be_16(total);
	uint64_t sum = sa->outer_sum + (tos << 8) + be_total + id + frag;

	store8(p,
			load8(sa->outer) | tos << OUTER_TOS_SHIFT | be_total << OUTER_TOTAL_SHIFT |
					id << OUTER_ID_SHIFT | frag << OUTER_FRAG_SHIFT);
	store8(p + 8, load8(sa->outer + 8) | (uint64_t)outer_fold(sum) << OUTER_CKSUM_SHIFT);
	store8(p + 16, load8(sa->outer + 16));
	if (udp) /* its length, and no checksum (RFC 3948 2.1) */
		store8(p + 24, rte_cpu_to_be_16(total - sizeof(struct rte_ipv4_hdr)));
}

/** Outer IPv6 header of a packet of @p total bytes. */
static inline void
outer_write6(const struct ipsec_pcpu_sa *sa, uint8_t *p, uint16_t total, struct inner in, bool udp)
{
	struct rte_ipv6_hdr *ip = (struct rte_ipv6_hdr *)p;
	uint32_t tos = (in.tos & sa->tos_mask) | sa->tos_fixed;

	memcpy(p, sa->outer, SA_MAX_OUTER);
	ip->vtc_flow |= rte_cpu_to_be_32(tos << RTE_IPV6_HDR_TC_SHIFT);
	ip->payload_len = rte_cpu_to_be_16(total - sizeof(*ip));
	if (udp)
		((struct rte_udp_hdr *)(ip + 1))->dgram_len = ip->payload_len;
}

/**
 * Leave the checksum of UDP over IPv6 (RFC 8200 8.1) to a port, or to ipsec_pcpu_udp_cksum(): in
 * its place the sum over the pseudo-header, which such ports want. Over IPv4 the
 * checksum is 0, as RFC 3948 2.1 says.
 */
static inline void
outer_leave_udp6(const struct ipsec_pcpu_sa *sa, struct rte_mbuf *m)
{
	struct rte_udp_hdr *udp = rte_pktmbuf_mtod_offset(
			m, struct rte_udp_hdr *, sizeof(struct rte_ipv6_hdr));

	udp->dgram_cksum = (uint16_t)~outer_fold(sa->outer_sum + udp->dgram_len);
	m->ol_flags |= IPSEC_PCPU_TX_UDP_CKSUM;
}

/** Outer headers of a packet of @p total bytes. */
static inline void
outer_write(const struct ipsec_pcpu_sa *sa, uint8_t *p, uint16_t total, struct inner in,
		uint64_t seq)
{
	if (likely(sa->version == 4))
		outer_write4(sa, p, total, in, seq, sa->udp_len != 0);
	else
		outer_write6(sa, p, total, in, sa->udp_len != 0);
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
