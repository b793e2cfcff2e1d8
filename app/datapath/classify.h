/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef CLASSIFY_H
#define CLASSIFY_H

/*
 * What is this packet? HOT, inline. Any bytes at all may stand in it; what
 * comes out as clear or ESP has a checked IP header and no Ethernet padding.
 */

#include <netinet/in.h>

#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_mbuf.h>
#include <rte_udp.h>

#include "counters.h"
#include "flow.h"
#include "view.h"

enum gw_class {
	GW_CLASS_CLEAR, /* transit: look at the policy */
	GW_CLASS_ESP, /* ours: l3_len, l4_len set */
	GW_CLASS_PUNT,
	GW_CLASS_FRAGMENT, /* of a packet to us that may be ESP: put it together first */
	GW_CLASS_DROP, /* + enum gw_drop */
};

/** Bytes from the IP header on, of a packet that is one segment: hdr is that many bytes in. */
static inline void
cut_to(struct rte_mbuf *m, uint32_t len)
{
	m->data_len = len;
	m->pkt_len = len;
}

/** The lengths of a packet's headers, in one store: bit fields one by one wait for each other. */
static inline void
set_header_lens(struct rte_mbuf *m, uint32_t l2_len, uint32_t l3_len, uint32_t l4_len)
{
	m->tx_offload = rte_mbuf_tx_offload(l2_len, l3_len, l4_len, 0, 0, 0, 0);
}

/** The ones' complement sum of an IPv4 header without options. */
static inline uint16_t
ip4_sum(const struct rte_ipv4_hdr *ip)
{
	uint32_t w[5];
	uint64_t sum;

	memcpy(w, ip, sizeof(w));
	sum = (uint64_t)w[0] + w[1] + w[2] + w[3] + w[4];
	sum = (sum & UINT32_MAX) + (sum >> 32);
	sum = (sum & UINT16_MAX) + (sum >> 16 & UINT16_MAX) + (sum >> 32);
	return (sum & UINT16_MAX) + (sum >> 16);
}

static inline bool
ip4_checksum_holds(const struct rte_mbuf *m, const struct rte_ipv4_hdr *ip, uint32_t hlen)
{
	uint64_t good = m->ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK;

	if (good == RTE_MBUF_F_RX_IP_CKSUM_GOOD)
		return true;
	if (likely(hlen == sizeof(*ip)))
		return ip4_sum(ip) == 0xffff;
	return rte_raw_cksum(ip, hlen) == 0xffff;
}

/** ESP, in UDP or not, from the outer IP header on; which starts at @p ip. */
static inline int
classify_esp(struct rte_mbuf *m, const uint8_t *ip, uint32_t l3_len, uint32_t l4_len, uint32_t len,
		uint32_t l2_len)
{
	rte_be32_t spi;

	if (unlikely(len < l3_len + l4_len + 8))
		return GW_CLASS_DROP + GW_DROP_MALFORMED;
	memcpy(&spi, ip + l3_len + l4_len, sizeof(spi));
	if (unlikely(rte_be_to_cpu_32(spi) < IPSEC_PCPU_MIN_SPI))
		return GW_CLASS_DROP + GW_DROP_SPI_RESERVED;
	set_header_lens(m, l2_len, l3_len, l4_len);
	return GW_CLASS_ESP;
}

/** UDP to one of our addresses (RFC 3948 2: keepalive, IKE or ESP). */
static inline int
classify_udp(const struct gw_local *local, struct rte_mbuf *m, const uint8_t *ip, uint32_t l3_len,
		uint32_t len, uint32_t l2_len)
{
	const struct rte_udp_hdr *udp = (const struct rte_udp_hdr *)(ip + l3_len);
	const uint8_t *data = (const uint8_t *)(udp + 1);
	uint32_t udp_len;
	uint32_t marker;

	if (unlikely(len < l3_len + sizeof(*udp)))
		return GW_CLASS_DROP + GW_DROP_MALFORMED;
	if (!gw_local_takes_esp(local, rte_be_to_cpu_16(udp->dst_port)))
		return GW_CLASS_PUNT;
	udp_len = rte_be_to_cpu_16(udp->dgram_len);
	if (unlikely(udp_len < sizeof(*udp) || udp_len > len - l3_len))
		return GW_CLASS_DROP + GW_DROP_MALFORMED;
	if (udp_len == sizeof(*udp) + 1 && data[0] == 0xff)
		return GW_CLASS_DROP + GW_DROP_KEEPALIVE;
	if (udp_len < sizeof(*udp) + 4)
		return GW_CLASS_PUNT;
	memcpy(&marker, data, sizeof(marker));
	if (marker == 0)
		return GW_CLASS_PUNT;
	cut_to(m, l2_len + l3_len + udp_len);
	return classify_esp(m, ip, l3_len, sizeof(*udp), l3_len + udp_len, l2_len);
}

/** An IP packet to one of our addresses. */
static inline int
classify_ours(const struct gw_local *local, struct rte_mbuf *m, const uint8_t *ip, uint8_t proto,
		uint32_t l3_len, uint32_t len, uint32_t l2_len)
{
	if (proto == IPPROTO_UDP)
		return classify_udp(local, m, ip, l3_len, len, l2_len);
	if (proto == IPPROTO_ESP)
		return classify_esp(m, ip, l3_len, 0, len, l2_len);
	return GW_CLASS_PUNT;
}

/** To another's address, whose first byte this is. */
static inline int
classify4_other(uint8_t first)
{
	if (unlikely((uint8_t)(first - 1) >= 223 || first == 127)) {
		/* multicast, class E and broadcast are the kernel's; 0 and 127 nobody's */
		return first >= 224 ? GW_CLASS_PUNT : GW_CLASS_DROP + GW_DROP_MALFORMED;
	}
	return GW_CLASS_CLEAR;
}

static inline int
classify4(const struct gw_local *local, struct rte_mbuf *m, uint32_t l2_len)
{
	const struct rte_ipv4_hdr *ip =
			rte_pktmbuf_mtod_offset(m, const struct rte_ipv4_hdr *, l2_len);
	uint32_t room = m->data_len - l2_len;
	uint32_t hlen;
	uint32_t len;

	if (unlikely(room < sizeof(*ip) || ip->version_ihl >> 4 != 4))
		return GW_CLASS_DROP + GW_DROP_MALFORMED;
	hlen = (ip->version_ihl & 0xf) * 4u;
	len = rte_be_to_cpu_16(ip->total_length);
	if (unlikely(hlen < sizeof(*ip) || len < hlen || len > room))
		return GW_CLASS_DROP + GW_DROP_MALFORMED;
	if (unlikely(!ip4_checksum_holds(m, ip, hlen)))
		return GW_CLASS_DROP + GW_DROP_IP_CHECKSUM;
	cut_to(m, l2_len + len);
	set_header_lens(m, l2_len, hlen, 0);
	if (!gw_local_has4(local, ip->dst_addr)) {
		return classify4_other(*(const uint8_t *)&ip->dst_addr);
	}
	if (unlikely((ip->fragment_offset & rte_cpu_to_be_16(0x3fff)) != 0))
		return ip->next_proto_id == IPPROTO_UDP || ip->next_proto_id == IPPROTO_ESP
				? GW_CLASS_FRAGMENT
				: GW_CLASS_PUNT;
	return classify_ours(local, m, (const uint8_t *)ip, ip->next_proto_id, hlen, len, l2_len);
}

/** Behind extension headers: to us, or not for forwarding by us. */
static inline int
classify6_ours(const struct gw_local *local, struct rte_mbuf *m, const struct rte_ipv6_hdr *ip,
		uint32_t len, uint32_t l2_len)
{
	uint32_t off = sizeof(*ip);
	uint8_t proto = ip->proto;
	bool frag = false;

	if (unlikely(proto != IPPROTO_UDP && proto != IPPROTO_ESP)) {
		off = gw_ip6_walk(ip, len, &proto, &frag);
		if (off == 0)
			return GW_CLASS_PUNT;
	}
	if (unlikely(frag))
		return proto == IPPROTO_UDP || proto == IPPROTO_ESP ? GW_CLASS_FRAGMENT
								    : GW_CLASS_PUNT;
	if (unlikely(off > 511)) /* mbuf's l3_len has 9 bits */
		return GW_CLASS_PUNT;
	return classify_ours(local, m, (const uint8_t *)ip, proto, off, len, l2_len);
}

static inline int
classify6(const struct gw_local *local, struct rte_mbuf *m, uint32_t l2_len)
{
	const struct rte_ipv6_hdr *ip =
			rte_pktmbuf_mtod_offset(m, const struct rte_ipv6_hdr *, l2_len);
	const uint8_t *src = (const uint8_t *)ip + 8;
	const uint8_t *dst = (const uint8_t *)ip + 24;
	uint32_t room = m->data_len - l2_len;
	uint32_t len;

	if (unlikely(room < sizeof(*ip) || *(const uint8_t *)ip >> 4 != 6))
		return GW_CLASS_DROP + GW_DROP_MALFORMED;
	len = sizeof(*ip) + rte_be_to_cpu_16(ip->payload_len);
	if (unlikely(len > room))
		return GW_CLASS_DROP + GW_DROP_MALFORMED;
	cut_to(m, l2_len + len);
	set_header_lens(m, l2_len, sizeof(*ip), 0);
	if (gw_local_has6(local, dst))
		return classify6_ours(local, m, ip, len, l2_len);
	if (unlikely(dst[0] == 0xff || gw_ip6_is_link_local(dst) || gw_ip6_is_link_local(src)))
		return GW_CLASS_PUNT;
	return GW_CLASS_CLEAR;
}

/** An IP packet without Ethernet header: after reassembly. */
static inline int
classify_ip(const struct gw_local *local, struct rte_mbuf *m)
{
	if (*rte_pktmbuf_mtod(m, const uint8_t *) >> 4 == 4)
		return classify4(local, m, 0);
	return classify6(local, m, 0);
}

/**
 * A frame from a port: enum gw_class, or GW_CLASS_DROP + enum gw_drop.
 * l2_len, l3_len, l4_len are set. One segment.
 */
static inline int
classify_frame(const struct gw_local *local, const struct gw_port_view *port, struct rte_mbuf *m)
{
	const struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, const struct rte_ether_hdr *);

	if (unlikely(m->data_len < sizeof(*eth)))
		return GW_CLASS_DROP + GW_DROP_MALFORMED;
	set_header_lens(m, sizeof(*eth), 0, 0);
	if (unlikely(!rte_is_same_ether_addr(&eth->dst_addr, &port->mac)))
		return rte_is_multicast_ether_addr(&eth->dst_addr)
				? GW_CLASS_PUNT
				: GW_CLASS_DROP + GW_DROP_OTHER_MAC;
	if (likely(eth->ether_type == rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4)))
		return classify4(local, m, sizeof(*eth));
	if (eth->ether_type == rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV6))
		return classify6(local, m, sizeof(*eth));
	return GW_CLASS_PUNT;
}

#endif /* CLASSIFY_H */
