/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef CLASSIFY_H
#define CLASSIFY_H

/*
 * What is this packet? HOT, inline. Any bytes at all may stand in it; what
 * comes out as clear or ESP has a checked IP header and no Ethernet padding.
 */

#include <assert.h>
#include <netinet/in.h>
#include <stddef.h>

#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_mbuf.h>
#include <rte_udp.h>

#include "counters.h"
#include "flow.h"
#include "view.h"

enum gw_class {
	GW_CLASS_CLEAR, /* transit: look at the policy */
	GW_CLASS_ESP, /* ours */
	GW_CLASS_PUNT,
	GW_CLASS_FRAGMENT, /* of a packet to us that may be ESP: put it together first */
	GW_CLASS_DROP, /* + enum gw_drop */
};

#define ESP_MIN_LEN 8 /* SPI and sequence number: what tells whose it is */

/** What was found out of a packet that is clear, ESP or a fragment. */
struct gw_parsed {
	uint32_t len; /* bytes from the IP header on, without padding of the link */
	uint32_t l3_len;
	uint32_t l4_len; /* of UDP before ESP, or 0 */
};

/**
 * Make a packet what the following stages want: from its IP header on, which is @p l2_len bytes
 * in, without padding, its lengths in the mbuf. One store each: bit fields one by one, or one
 * correction after the other, wait for each other.
 */
static inline void
gw_take(struct rte_mbuf *m, uint32_t l2_len, struct gw_parsed parsed)
{
	m->data_off += l2_len;
	m->data_len = parsed.len;
	m->pkt_len = parsed.len;
	m->tx_offload = rte_mbuf_tx_offload(0, parsed.l3_len, parsed.l4_len, 0, 0, 0, 0);
}

/*
 * A header without options holds where the sum of its words is a multiple of 2^16 - 1 (it is not
 * 0, as the version is not). Of an odd number a multiple is found without a division: times
 * the inverse modulo 2^64 it is small, and nothing else is.
 */
#define IP4_SUM_MODULUS UINT64_C(0xffff)
#define IP4_SUM_INVERSE UINT64_C(0xfffefffefffeffff)

static inline bool
ip4_sum_holds(const struct rte_ipv4_hdr *ip)
{
	uint32_t w[5];
	uint64_t sum;

	memcpy(w, ip, sizeof(w));
	sum = (uint64_t)w[0] + w[1] + w[2] + w[3] + w[4];
	return sum * IP4_SUM_INVERSE <= UINT64_MAX / IP4_SUM_MODULUS;
}

static inline bool
ip4_checksum_holds(const struct rte_mbuf *m, const struct rte_ipv4_hdr *ip, uint32_t hlen)
{
	uint64_t good = m->ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK;

	if (good == RTE_MBUF_F_RX_IP_CKSUM_GOOD)
		return true;
	if (likely(hlen == sizeof(*ip)))
		return ip4_sum_holds(ip);
	return rte_raw_cksum(ip, hlen) == 0xffff;
}

/** SPI 1 to 255 are reserved, 0 is not ESP at all (RFC 4303 2.1). */
static inline bool
is_spi(const uint8_t *p)
{
	return rte_be_to_cpu_32(gw_flow_load4(p)) >= IPSEC_PCPU_MIN_SPI;
}

/** ESP in IP, whose header starts at @p ip. */
static inline int
classify_esp(const uint8_t *ip, const struct gw_parsed *p)
{
	if (unlikely(p->len < p->l3_len + ESP_MIN_LEN))
		return GW_CLASS_DROP + GW_DROP_MALFORMED;
	if (unlikely(!is_spi(ip + p->l3_len)))
		return GW_CLASS_DROP + GW_DROP_SPI_RESERVED;
	return GW_CLASS_ESP;
}

/** UDP on a port that takes ESP, but too short for ESP, or without an SPI. */
static __attribute__((cold, noinline)) int
classify_udp_other(const struct rte_udp_hdr *udp, uint32_t room)
{
	const uint8_t *data = (const uint8_t *)(udp + 1);
	uint32_t len = rte_be_to_cpu_16(udp->dgram_len);

	if (len < sizeof(*udp) || len > room)
		return GW_CLASS_DROP + GW_DROP_MALFORMED;
	if (len == sizeof(*udp) + 1 && data[0] == 0xff)
		return GW_CLASS_DROP + GW_DROP_KEEPALIVE;
	if (len < sizeof(*udp) + 4 || gw_flow_load4(data) == 0)
		return GW_CLASS_PUNT;
	if (len < sizeof(*udp) + ESP_MIN_LEN)
		return GW_CLASS_DROP + GW_DROP_MALFORMED;
	return GW_CLASS_DROP + GW_DROP_SPI_RESERVED;
}

/** UDP to one of our addresses (RFC 3948 2: keepalive, IKE or ESP). */
static inline int
classify_udp(const struct gw_local *local, const uint8_t *ip, struct gw_parsed *p)
{
	const struct rte_udp_hdr *udp = (const struct rte_udp_hdr *)(ip + p->l3_len);
	uint32_t room = p->len - p->l3_len;
	uint32_t len;

	if (unlikely(room < sizeof(*udp)))
		return GW_CLASS_DROP + GW_DROP_MALFORMED;
	if (!gw_local_takes_esp(local, rte_be_to_cpu_16(udp->dst_port)))
		return GW_CLASS_PUNT;
	len = rte_be_to_cpu_16(udp->dgram_len);
	if (unlikely(len < sizeof(*udp) + ESP_MIN_LEN || len > room ||
			    !is_spi((const uint8_t *)(udp + 1))))
		return classify_udp_other(udp, room);
	p->len = p->l3_len + len;
	p->l4_len = sizeof(*udp);
	return GW_CLASS_ESP;
}

/** An IP packet to one of our addresses. */
static inline int
classify_ours(const struct gw_local *local, const uint8_t *ip, uint8_t proto, struct gw_parsed *p)
{
	if (likely(proto == IPPROTO_UDP))
		return classify_udp(local, ip, p);
	if (proto == IPPROTO_ESP)
		return classify_esp(ip, p);
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

/** An IPv4 packet, @p l2_len bytes in. */
static inline int
classify4(const struct gw_local *local, const struct rte_mbuf *m, uint32_t l2_len,
		struct gw_parsed *p)
{
	const struct rte_ipv4_hdr *ip =
			rte_pktmbuf_mtod_offset(m, const struct rte_ipv4_hdr *, l2_len);
	uint32_t room = m->data_len - l2_len;

	if (unlikely(room < sizeof(*ip) || ip->version_ihl >> 4 != 4))
		return GW_CLASS_DROP + GW_DROP_MALFORMED;
	*p = (struct gw_parsed){.len = rte_be_to_cpu_16(ip->total_length),
			.l3_len = (ip->version_ihl & 0xf) * 4u};
	if (unlikely(p->l3_len < sizeof(*ip) || p->len < p->l3_len || p->len > room))
		return GW_CLASS_DROP + GW_DROP_MALFORMED;
	if (unlikely(!ip4_checksum_holds(m, ip, p->l3_len)))
		return GW_CLASS_DROP + GW_DROP_IP_CHECKSUM;
	if (!gw_local_has4(local, ip->dst_addr))
		return classify4_other(*(const uint8_t *)&ip->dst_addr);
	if (unlikely((ip->fragment_offset & rte_cpu_to_be_16(0x3fff)) != 0))
		return ip->next_proto_id == IPPROTO_UDP || ip->next_proto_id == IPPROTO_ESP
				? GW_CLASS_FRAGMENT
				: GW_CLASS_PUNT;
	return classify_ours(local, (const uint8_t *)ip, ip->next_proto_id, p);
}

/** Behind extension headers: to us, or not for forwarding by us. */
static inline int
classify6_ours(const struct gw_local *local, const struct rte_ipv6_hdr *ip, struct gw_parsed *p)
{
	uint8_t proto = ip->proto;
	bool frag = false;

	if (unlikely(proto != IPPROTO_UDP && proto != IPPROTO_ESP)) {
		uint32_t off = gw_ip6_walk(ip, p->len, &proto, &frag);

		if (off == 0)
			return GW_CLASS_PUNT;
		if (!frag)
			p->l3_len = off;
	}
	if (unlikely(frag))
		return proto == IPPROTO_UDP || proto == IPPROTO_ESP ? GW_CLASS_FRAGMENT
								    : GW_CLASS_PUNT;
	if (unlikely(p->l3_len > 511)) /* mbuf's l3_len has 9 bits */
		return GW_CLASS_PUNT;
	return classify_ours(local, (const uint8_t *)ip, proto, p);
}

/** An IPv6 packet, @p l2_len bytes in. */
static inline int
classify6(const struct gw_local *local, const struct rte_mbuf *m, uint32_t l2_len,
		struct gw_parsed *p)
{
	const struct rte_ipv6_hdr *ip =
			rte_pktmbuf_mtod_offset(m, const struct rte_ipv6_hdr *, l2_len);
	const uint8_t *src = (const uint8_t *)ip + 8;
	const uint8_t *dst = (const uint8_t *)ip + 24;
	uint32_t room = m->data_len - l2_len;

	if (unlikely(room < sizeof(*ip) || *(const uint8_t *)ip >> 4 != 6))
		return GW_CLASS_DROP + GW_DROP_MALFORMED;
	*p = (struct gw_parsed){.len = sizeof(*ip) + rte_be_to_cpu_16(ip->payload_len),
			.l3_len = sizeof(*ip)};
	if (unlikely(p->len > room))
		return GW_CLASS_DROP + GW_DROP_MALFORMED;
	if (gw_local_has6(local, dst))
		return classify6_ours(local, ip, p);
	if (unlikely(dst[0] == 0xff || gw_ip6_is_link_local(dst) || gw_ip6_is_link_local(src)))
		return GW_CLASS_PUNT;
	return GW_CLASS_CLEAR;
}

/** An IP packet without Ethernet header: after reassembly. */
static inline int
classify_ip(const struct gw_local *local, const struct rte_mbuf *m, struct gw_parsed *p)
{
	if (*rte_pktmbuf_mtod(m, const uint8_t *) >> 4 == 4)
		return classify4(local, m, 0, p);
	return classify6(local, m, 0, p);
}

/** Is it to this address? Both are read with the 2 bytes behind them, which do not count. */
static inline bool
is_to_mac(const struct rte_ether_hdr *eth, const struct gw_port_view *port)
{
	static_assert(offsetof(struct gw_port_view, mac) + sizeof(uint64_t) <= sizeof(*port), "");

	return (gw_flow_load8(eth) ^ gw_flow_load8(&port->mac)) << 16 == 0;
}

/**
 * A frame from a port: enum gw_class, or GW_CLASS_DROP + enum gw_drop. @p p is set
 * for a clear packet, ESP and a fragment. One segment.
 */
static inline int
classify_frame(const struct gw_local *local, const struct gw_port_view *port,
		const struct rte_mbuf *m, struct gw_parsed *p)
{
	const struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, const struct rte_ether_hdr *);

	if (unlikely(m->data_len < sizeof(*eth)))
		return GW_CLASS_DROP + GW_DROP_MALFORMED;
	if (unlikely(!is_to_mac(eth, port)))
		return rte_is_multicast_ether_addr(&eth->dst_addr)
				? GW_CLASS_PUNT
				: GW_CLASS_DROP + GW_DROP_OTHER_MAC;
	if (likely(eth->ether_type == rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4)))
		return classify4(local, m, sizeof(*eth), p);
	if (eth->ether_type == rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV6))
		return classify6(local, m, sizeof(*eth), p);
	return GW_CLASS_PUNT;
}

#endif /* CLASSIFY_H */
