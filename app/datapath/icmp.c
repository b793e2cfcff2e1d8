/* SPDX-License-Identifier: BSD-3-Clause */

#include <netinet/in.h>
#include <string.h>

#include <rte_byteorder.h>
#include <rte_icmp.h>
#include <rte_ip.h>
#include <rte_tcp.h>

#include "flow.h"
#include "icmp.h"

#define TTL 64
#define TOS_NETWORK_CONTROL 0xc0 /* precedence 6, as RFC 1812 4.3.2.5 asks for errors */
#define MAX_LEN4 576 /* of the message, RFC 1812 4.3.2.3 */
#define MAX_LEN6 1280 /* RFC 4443 2.4 (c) */
#define ICMP6_REDIRECT 137
#define TCP_OPT_END 0
#define TCP_OPT_NOP 1
#define TCP_OPT_MSS 2
#define TCP_OPT_MSS_LEN 4

/* ICMP and ICMPv6 have their type, code, checksum and four more bytes at the same places. */
struct icmp_hdr {
	uint8_t type;
	uint8_t code;
	rte_be16_t cksum;
	rte_be32_t arg;
};

struct icmp_kind {
	uint8_t type4, code4;
	uint8_t type6, code6;
};

static const struct icmp_kind kinds[] = {
		[GW_ICMP_TOO_BIG] = {3, 4, 2, 0},
		[GW_ICMP_TIME_EXCEEDED] = {11, 0, 3, 0},
		[GW_ICMP_NO_ROUTE] = {3, 0, 1, 0},
		[GW_ICMP_PROHIBITED] = {3, 13, 1, 1},
};

void
gw_icmp_limit_init(struct gw_icmp_limit *limit, unsigned int per_second, uint64_t tsc_hz)
{
	memset(limit, 0, sizeof(*limit));
	if (per_second == 0)
		return;
	limit->cost = RTE_MAX(tsc_hz / per_second, UINT64_C(1));
	limit->max = RTE_MAX(tsc_hz, limit->cost);
	limit->credit = limit->max;
}

bool
gw_icmp_limit_take(struct gw_icmp_limit *limit, uint64_t now)
{
	uint64_t passed = now > limit->last ? now - limit->last : 0;

	if (limit->cost == 0)
		return false;
	limit->credit += RTE_MIN(passed, limit->max - limit->credit);
	limit->last = now;
	if (limit->credit < limit->cost)
		return false;
	limit->credit -= limit->cost;
	return true;
}

/* An error, or a redirect: nothing is ever sent about these. */
static bool
is_icmp4_error(uint8_t type)
{
	return type == 3 || type == 4 || type == 5 || type == 11 || type == 12;
}

/* A source that is one host's address, and a destination that is one host's too. */
static bool
addresses4_ok(const struct rte_ipv4_hdr *ip)
{
	uint8_t src = rte_be_to_cpu_32(ip->src_addr) >> 24;
	uint8_t dst = rte_be_to_cpu_32(ip->dst_addr) >> 24;

	return src != 0 && src != 127 && src < 224 && dst < 224;
}

static bool
may_answer4(const struct rte_ipv4_hdr *ip, uint32_t len)
{
	uint32_t hlen = rte_ipv4_hdr_len(ip);

	if (hlen < sizeof(*ip) || hlen > len || !addresses4_ok(ip))
		return false;
	if (ip->fragment_offset & rte_cpu_to_be_16(RTE_IPV4_HDR_OFFSET_MASK))
		return false;
	if (ip->next_proto_id != IPPROTO_ICMP)
		return true;
	return len > hlen && !is_icmp4_error(((const uint8_t *)ip)[hlen]);
}

static bool
addresses6_ok(const struct rte_ipv6_hdr *ip, enum gw_icmp_error error)
{
	static const uint8_t none[15];
	const uint8_t *src = (const uint8_t *)ip + 8;
	const uint8_t *dst = src + 16;

	if (src[0] == 0xff || (memcmp(src, none, 15) == 0 && src[15] <= 1))
		return false;
	return dst[0] != 0xff || error == GW_ICMP_TOO_BIG; /* RFC 4443 2.4 (e.3) */
}

static bool
may_answer6(const struct rte_ipv6_hdr *ip, uint32_t len, enum gw_icmp_error error)
{
	const uint8_t *p = (const uint8_t *)ip;
	uint8_t proto;
	bool frag;
	uint32_t off;

	if (!addresses6_ok(ip, error))
		return false;
	off = gw_ip6_walk(ip, len, &proto, &frag);
	if (off == 0 || gw_ip6_is_ext(proto))
		return false; /* what it is does not show: it might be an error */
	if (frag && (p[off - 6] != 0 || (p[off - 5] & 0xf8) != 0))
		return false; /* not the first fragment */
	if (proto != IPPROTO_ICMPV6)
		return true;
	return off < len && p[off] >= 128 && p[off] != ICMP6_REDIRECT;
}

/* Bytes of the packet in its first segment, without padding behind it; 0: not well-formed. */
static uint32_t
packet_len(const struct rte_mbuf *m, uint8_t family)
{
	const struct rte_ipv4_hdr *ip4 = rte_pktmbuf_mtod(m, const struct rte_ipv4_hdr *);
	const struct rte_ipv6_hdr *ip6 = (const struct rte_ipv6_hdr *)ip4;
	uint32_t len = rte_pktmbuf_data_len(m);
	uint32_t said;

	if (family == AF_INET) {
		if (len < sizeof(*ip4) || ip4->version_ihl >> 4 != 4)
			return 0;
		said = rte_be_to_cpu_16(ip4->total_length);
		return said < sizeof(*ip4) ? 0 : RTE_MIN(len, said);
	}
	if (len < sizeof(*ip6) || ip4->version_ihl >> 4 != 6)
		return 0;
	said = rte_be_to_cpu_16(ip6->payload_len) + sizeof(*ip6);
	return RTE_MIN(len, said);
}

static void
fill_ip4(struct rte_ipv4_hdr *ip, uint16_t len, rte_be32_t src, rte_be32_t dst)
{
	memset(ip, 0, sizeof(*ip));
	ip->version_ihl = RTE_IPV4_VHL_DEF;
	ip->type_of_service = TOS_NETWORK_CONTROL;
	ip->total_length = rte_cpu_to_be_16(len);
	ip->fragment_offset = rte_cpu_to_be_16(RTE_IPV4_HDR_DF_FLAG); /* so the ID may be 0 */
	ip->time_to_live = TTL;
	ip->next_proto_id = IPPROTO_ICMP;
	ip->src_addr = src;
	ip->dst_addr = dst;
	ip->hdr_checksum = rte_ipv4_cksum(ip);
}

static void
fill_ip6(struct rte_ipv6_hdr *ip, uint16_t len, const uint8_t src[16], const uint8_t dst[16])
{
	ip->vtc_flow = rte_cpu_to_be_32(UINT32_C(6) << 28 | TOS_NETWORK_CONTROL << 20);
	ip->payload_len = rte_cpu_to_be_16(len - sizeof(*ip));
	ip->proto = IPPROTO_ICMPV6;
	ip->hop_limits = TTL;
	memcpy((uint8_t *)ip + 8, src, 16);
	memcpy((uint8_t *)ip + 24, dst, 16);
}

/* Headers, then as much of the packet as fits; data_len says how much that is. */
static struct rte_mbuf *
make(struct rte_mempool *pool, const struct rte_mbuf *about, uint32_t about_len, uint32_t l3_len,
		uint32_t max_len)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
	uint32_t room;
	uint32_t head = l3_len + sizeof(struct icmp_hdr);

	if (m == NULL)
		return NULL;
	/* It may have to go through a tunnel. */
	room = RTE_MAX(rte_pktmbuf_tailroom(m), IPSEC_PCPU_MAX_TAIL) - IPSEC_PCPU_MAX_TAIL;
	max_len = RTE_MIN(max_len, room);
	if (max_len < head) {
		rte_pktmbuf_free(m);
		return NULL;
	}
	about_len = RTE_MIN(about_len, max_len - head);
	m->data_len = m->pkt_len = head + about_len;
	m->port = about->port;
	memcpy(rte_pktmbuf_mtod_offset(m, void *, head), rte_pktmbuf_mtod(about, const void *),
			about_len);
	return m;
}

static struct rte_mbuf *
make4(struct rte_mempool *pool, const struct rte_mbuf *about, enum gw_icmp_error error,
		uint32_t arg, rte_be32_t src)
{
	const struct rte_ipv4_hdr *old = rte_pktmbuf_mtod(about, const struct rte_ipv4_hdr *);
	uint32_t len = packet_len(about, AF_INET);
	struct rte_ipv4_hdr *ip;
	struct icmp_hdr *icmp;
	struct rte_mbuf *m;

	if (len == 0 || !may_answer4(old, len))
		return NULL;
	m = make(pool, about, len, sizeof(*ip), MAX_LEN4);
	if (m == NULL)
		return NULL;
	ip = rte_pktmbuf_mtod(m, struct rte_ipv4_hdr *);
	fill_ip4(ip, m->data_len, src, old->src_addr);
	icmp = (struct icmp_hdr *)(ip + 1);
	icmp->type = kinds[error].type4;
	icmp->code = kinds[error].code4;
	icmp->arg = error == GW_ICMP_TOO_BIG ? rte_cpu_to_be_32(RTE_MIN(arg, 0xffffu)) : 0;
	icmp->cksum = 0;
	icmp->cksum = (uint16_t)~rte_raw_cksum(icmp, m->data_len - sizeof(*ip));
	return m;
}

static struct rte_mbuf *
make6(struct rte_mempool *pool, const struct rte_mbuf *about, enum gw_icmp_error error,
		uint32_t arg, const uint8_t src[16])
{
	const struct rte_ipv6_hdr *old = rte_pktmbuf_mtod(about, const struct rte_ipv6_hdr *);
	uint32_t len = packet_len(about, AF_INET6);
	struct rte_ipv6_hdr *ip;
	struct icmp_hdr *icmp;
	struct rte_mbuf *m;

	if (len == 0 || !may_answer6(old, len, error))
		return NULL;
	m = make(pool, about, len, sizeof(*ip), MAX_LEN6);
	if (m == NULL)
		return NULL;
	ip = rte_pktmbuf_mtod(m, struct rte_ipv6_hdr *);
	fill_ip6(ip, m->data_len, src, (const uint8_t *)old + 8);
	icmp = (struct icmp_hdr *)(ip + 1);
	icmp->type = kinds[error].type6;
	icmp->code = kinds[error].code6;
	icmp->arg = error == GW_ICMP_TOO_BIG ? rte_cpu_to_be_32(arg) : 0;
	icmp->cksum = 0;
	icmp->cksum = rte_ipv6_udptcp_cksum(ip, icmp);
	return m;
}

struct rte_mbuf *
gw_icmp_make(struct rte_mempool *pool, const struct rte_mbuf *about, enum gw_icmp_error error,
		uint32_t arg, const struct gw_addr *src)
{
	if (src->family == AF_INET)
		return make4(pool, about, error, arg, src->a.ip4);
	if (src->family == AF_INET6)
		return make6(pool, about, error, arg, src->a.ip6);
	return NULL;
}

/*
 * Put "mss" at "at" bytes into the TCP header where a larger value stands. RFC
 * 1624, equation 3; a value at an odd place adds to the sum with its bytes
 * changed over.
 */
static void
clamp_value(struct rte_tcp_hdr *tcp, uint32_t at, uint16_t mss)
{
	uint8_t *p = (uint8_t *)tcp + at;
	uint16_t old = p[0] << 8 | p[1];
	uint32_t sum;

	if (old <= mss)
		return;
	p[0] = mss >> 8;
	p[1] = mss & 0xff;
	if (at & 1) {
		old = rte_bswap16(old);
		mss = rte_bswap16(mss);
	}
	sum = (uint16_t)~rte_be_to_cpu_16(tcp->cksum) + (uint32_t)(uint16_t)~old + mss;
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	tcp->cksum = rte_cpu_to_be_16((uint16_t)~sum);
}

/* len: bytes of the TCP segment that are in the buffer. */
static void
clamp_tcp(struct rte_tcp_hdr *tcp, uint32_t len, uint16_t mss)
{
	const uint8_t *p = (const uint8_t *)tcp;
	uint32_t end;
	uint32_t step;

	if (len < sizeof(*tcp) || (tcp->tcp_flags & RTE_TCP_SYN_FLAG) == 0)
		return;
	end = (tcp->data_off >> 4) * 4;
	if (end > len)
		return;
	for (uint32_t at = sizeof(*tcp); at < end && p[at] != TCP_OPT_END; at += step) {
		step = 1;
		if (p[at] == TCP_OPT_NOP)
			continue;
		if (at + 2 > end || p[at + 1] < 2 || at + p[at + 1] > end)
			return;
		step = p[at + 1];
		if (p[at] == TCP_OPT_MSS && step == TCP_OPT_MSS_LEN)
			clamp_value(tcp, at + 2, mss);
	}
}

void
gw_mss_clamp(struct rte_mbuf *m, uint16_t mss_ip4, uint16_t mss_ip6)
{
	uint8_t *p = rte_pktmbuf_mtod(m, uint8_t *);
	uint8_t family = m->data_len > 0 && p[0] >> 4 == 6 ? AF_INET6 : AF_INET;
	uint32_t len = packet_len(m, family);
	const struct rte_ipv4_hdr *ip4 = (const struct rte_ipv4_hdr *)p;
	uint32_t off;
	uint8_t proto;
	bool frag = false;

	if (len == 0)
		return;
	if (family == AF_INET) {
		off = rte_ipv4_hdr_len(ip4);
		proto = ip4->next_proto_id;
		frag = rte_be_to_cpu_16(ip4->fragment_offset) & RTE_IPV4_HDR_OFFSET_MASK;
		if (off < sizeof(*ip4))
			return;
	} else {
		off = gw_ip6_walk((const struct rte_ipv6_hdr *)p, len, &proto, &frag);
		if (off == 0)
			return;
	}
	if (!frag && proto == IPPROTO_TCP && off < len)
		clamp_tcp((struct rte_tcp_hdr *)(p + off), len - off,
				family == AF_INET ? mss_ip4 : mss_ip6);
}
