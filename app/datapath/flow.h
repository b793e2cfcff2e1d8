/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef FLOW_H
#define FLOW_H

/* What a policy looks at of a packet. HOT, inline. */

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <rte_branch_prediction.h>
#include <rte_byteorder.h>
#include <rte_ip.h>

/**
 * The protocol of a packet that does not show it: its chain of IPv6 extension
 * headers is cut short, too long, or goes on behind a fragment header. (255 is
 * reserved by IANA; RFC 4301 calls such a selector OPAQUE.)
 */
#define GW_PROTO_OPAQUE 255

/**
 * The layout is that of the classifier's keys: one byte, then groups of four.
 * Ports are 0 where a packet has none, and in every fragment, the first one
 * too, so that all fragments of a packet get the same answer.
 */
struct gw_flow {
	uint8_t proto;
	uint8_t family; /* AF_INET, AF_INET6, 0: no IP header; not part of the key */
	uint8_t pad[2];
	uint8_t src[16]; /* wire order; IPv4: the first 4, the rest 0 */
	uint8_t dst[16];
	rte_be16_t sport;
	rte_be16_t dport;
};

/*
 * A flow is written and read in the same words: a load of bytes that several
 * stores have just written waits until those have left the store buffer.
 */
static inline uint64_t
gw_flow_load8(const void *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static inline uint32_t
gw_flow_load4(const void *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static inline void
gw_flow_store8(void *p, uint64_t v)
{
	memcpy(p, &v, sizeof(v));
}

static inline bool
gw_flow_equal(const struct gw_flow *a, const struct gw_flow *b)
{
	uint64_t diff = gw_flow_load4(a) ^ gw_flow_load4(b);

	diff |= gw_flow_load4(&a->sport) ^ gw_flow_load4(&b->sport);
	diff |= gw_flow_load8(a->src) ^ gw_flow_load8(b->src);
	diff |= gw_flow_load8(a->src + 8) ^ gw_flow_load8(b->src + 8);
	diff |= gw_flow_load8(a->dst) ^ gw_flow_load8(b->dst);
	diff |= gw_flow_load8(a->dst + 8) ^ gw_flow_load8(b->dst + 8);
	return diff == 0;
}

/** The flow of the answer: source and destination change places. */
static inline void
gw_flow_reverse(struct gw_flow *r, const struct gw_flow *f)
{
	r->proto = f->proto;
	r->family = f->family;
	r->pad[0] = r->pad[1] = 0;
	memcpy(r->src, f->dst, sizeof(r->src));
	memcpy(r->dst, f->src, sizeof(r->dst));
	r->sport = f->dport;
	r->dport = f->sport;
}

static inline bool
gw_flow_has_ports(uint8_t proto)
{
	return proto == IPPROTO_TCP || proto == IPPROTO_UDP || proto == IPPROTO_SCTP ||
			proto == IPPROTO_UDPLITE || proto == IPPROTO_DCCP;
}

static inline void
gw_flow_parse4(struct gw_flow *f, const struct rte_ipv4_hdr *ip, uint32_t len)
{
	uint32_t head;
	uint32_t hlen;
	uint32_t ports = 0;

	if (unlikely(len < sizeof(*ip))) {
		memset(f, 0, sizeof(*f));
		return;
	}
	hlen = rte_ipv4_hdr_len(ip);
	if ((ip->fragment_offset & rte_cpu_to_be_16(0x3fff)) == 0 &&
			gw_flow_has_ports(ip->next_proto_id) && len >= hlen + 4)
		ports = gw_flow_load4((const uint8_t *)ip + hlen);
	head = rte_cpu_to_le_32(ip->next_proto_id | AF_INET << 8);
	memcpy(f, &head, sizeof(head));
	gw_flow_store8(f->src, rte_cpu_to_le_64(rte_le_to_cpu_32(ip->src_addr)));
	gw_flow_store8(f->src + 8, 0);
	gw_flow_store8(f->dst, rte_cpu_to_le_64(rte_le_to_cpu_32(ip->dst_addr)));
	gw_flow_store8(f->dst + 8, 0);
	memcpy(&f->sport, &ports, sizeof(ports));
}

static inline bool
gw_ip6_is_ext(uint8_t proto)
{
	return proto == IPPROTO_HOPOPTS || proto == IPPROTO_ROUTING || proto == IPPROTO_DSTOPTS ||
			proto == IPPROTO_FRAGMENT;
}

/**
 * Walk the extension headers of an IPv6 packet, at most 8 of them and none
 * behind a fragment header.
 *
 * @param len
 *   Bytes of the packet from @p ip on; at least the fixed header.
 * @param proto
 *   The header behind those walked over; after a fragment header it may be one
 *   more extension header. Not set where 0 is returned.
 * @param frag
 *   Set where one of them is a fragment header (an atomic fragment, RFC 6946,
 *   is a fragment like any other here).
 * @return
 *   The offset of that header from @p ip, @p len at most; 0 where the chain is
 *   cut short or too long.
 */
static inline uint32_t
gw_ip6_walk(const struct rte_ipv6_hdr *ip, uint32_t len, uint8_t *proto, bool *frag)
{
	const uint8_t *p = (const uint8_t *)ip;
	uint32_t off = sizeof(*ip);
	uint8_t next = ip->proto;

	*frag = false;
	for (unsigned int i = 0; i < 8 && gw_ip6_is_ext(next); i++) {
		if (off + 8 > len)
			return 0;
		if (next == IPPROTO_FRAGMENT) {
			*frag = true;
			*proto = p[off];
			return off + 8;
		}
		next = p[off];
		off += (p[off + 1] + 1u) * 8;
	}
	if (off > len || gw_ip6_is_ext(next))
		return 0;
	*proto = next;
	return off;
}

static inline void
gw_flow_parse6(struct gw_flow *f, const struct rte_ipv6_hdr *ip, uint32_t len)
{
	uint32_t off = sizeof(*ip);
	bool frag = false;

	memset(f, 0, sizeof(*f));
	if (unlikely(len < sizeof(*ip)))
		return;
	f->family = AF_INET6;
	memcpy(f->src, (const uint8_t *)ip + 8, 16);
	memcpy(f->dst, (const uint8_t *)ip + 24, 16);
	f->proto = ip->proto;
	if (unlikely(gw_ip6_is_ext(ip->proto))) {
		off = gw_ip6_walk(ip, len, &f->proto, &frag);
		if (off == 0 || gw_ip6_is_ext(f->proto))
			f->proto = GW_PROTO_OPAQUE;
	}
	if (!frag && gw_flow_has_ports(f->proto) && off + 4 <= len)
		memcpy(&f->sport, (const uint8_t *)ip + off, 4);
}

/**
 * Read the flow of a packet. Safe for any bytes and any length; who lets it
 * pass has checked the IP header before.
 *
 * @param ip
 *   The IP header.
 * @param len
 *   Bytes of the packet from there on, without padding of the link.
 */
static inline void
gw_flow_parse(struct gw_flow *f, const void *ip, uint32_t len)
{
	if (len > 0 && *(const uint8_t *)ip >> 4 == 4)
		gw_flow_parse4(f, ip, len);
	else if (len > 0 && *(const uint8_t *)ip >> 4 == 6)
		gw_flow_parse6(f, ip, len);
	else
		memset(f, 0, sizeof(*f));
}

/** fe80::/10 (RFC 4291 2.5.6). */
static inline bool
gw_ip6_is_link_local(const uint8_t *a)
{
	return a[0] == 0xfe && (a[1] & 0xc0) == 0x80;
}

/** 32 bits that spread flows well; not RSS's hash. */
static inline uint32_t
gw_flow_hash(const struct gw_flow *f)
{
	uint64_t a[4];
	uint32_t ports;

	memcpy(a, f->src, sizeof(a)); /* src and dst */
	memcpy(&ports, &f->sport, sizeof(ports));
	a[0] = (a[0] ^ f->proto) * UINT64_C(0x9e3779b97f4a7c15);
	a[1] = (a[1] ^ ports) * UINT64_C(0xc2b2ae3d27d4eb4f);
	a[2] = (a[2] ^ a[0] >> 29) * UINT64_C(0x165667b19e3779f9);
	a[3] = (a[3] ^ a[1] >> 31) * UINT64_C(0x9e3779b97f4a7c15);
	a[0] ^= a[1] ^ a[2] ^ a[3];
	return (a[0] * UINT64_C(0xd6e8feb86659fd93)) >> 32;
}

#endif /* FLOW_H */
