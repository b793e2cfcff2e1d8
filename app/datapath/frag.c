/* SPDX-License-Identifier: BSD-3-Clause */

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include <rte_byteorder.h>
#include <rte_ip.h>
#include <rte_jhash.h>
#include <rte_malloc.h>
#include <rte_random.h>

#include <ipsec_pcpu.h>

#include "counters.h"
#include "flow.h"
#include "frag.h"

#define MAX_IP4_HDR 60
#define OPT_END 0
#define OPT_NOP 1
#define OPT_COPIED 0x80
#define WAYS 8 /* datagrams of one bucket */
#define CE 3 /* ECN: congestion experienced */
#define TAKEN (-1) /* a fragment or datagram; else enum gw_drop says why not */

/* ---- fragmentation */

struct cut {
	struct rte_mempool *pool;
	const uint8_t *payload;
	uint32_t len; /* of it */
	uint16_t base; /* offset of the payload in the datagram, in units of 8 bytes */
	uint16_t more; /* MF flag of the packet itself */
};

/* The header of fragments beyond the first: with the options only that want it (RFC 791 3.1). */
static uint32_t
copied_header(uint8_t *to, const uint8_t *from, uint32_t hlen)
{
	uint32_t n = sizeof(struct rte_ipv4_hdr);
	uint32_t len;

	memcpy(to, from, n);
	for (uint32_t at = n; at < hlen && from[at] != OPT_END; at += len) {
		len = 1;
		if (from[at] == OPT_NOP)
			continue;
		if (at + 2 > hlen || from[at + 1] < 2 || at + from[at + 1] > hlen)
			break;
		len = from[at + 1];
		if ((from[at] & OPT_COPIED) == 0)
			continue;
		memcpy(to + n, from + at, len);
		n += len;
	}
	while (n % 4 != 0)
		to[n++] = OPT_END;
	((struct rte_ipv4_hdr *)to)->version_ihl = 4 << 4 | n / 4;
	return n;
}

static struct rte_mbuf *
make_fragment(const struct cut *c, const uint8_t *hdr, uint32_t hlen, uint32_t off, uint32_t len)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(c->pool);
	uint16_t more = off + len < c->len ? RTE_IPV4_HDR_MF_FLAG : c->more;
	struct rte_ipv4_hdr *ip;

	if (m == NULL)
		return NULL;
	m->data_len = m->pkt_len = hlen + len;
	ip = rte_pktmbuf_mtod(m, struct rte_ipv4_hdr *);
	memcpy(ip, hdr, hlen);
	memcpy((uint8_t *)ip + hlen, c->payload + off, len);
	ip->total_length = rte_cpu_to_be_16(hlen + len);
	ip->fragment_offset = rte_cpu_to_be_16((c->base + off / 8) | more);
	ip->hdr_checksum = 0;
	ip->hdr_checksum = rte_ipv4_cksum(ip);
	return m;
}

/* What a buffer of the pool takes with room around it for ESP, and the MTU, allow. */
static uint32_t
fragment_limit(struct rte_mempool *pool, uint16_t mtu)
{
	uint32_t around = RTE_PKTMBUF_HEADROOM + IPSEC_PCPU_MAX_TAIL;
	uint32_t room = rte_pktmbuf_data_room_size(pool);

	return room < around ? 0 : RTE_MIN(room - around, mtu);
}

/* Sets up the cut; returns the length of the header, or a negative errno value. */
static int
start_cut(struct cut *c, const struct rte_mbuf *m)
{
	const struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod(m, const struct rte_ipv4_hdr *);
	uint32_t hlen, total;
	uint16_t frag;

	if (rte_pktmbuf_data_len(m) < sizeof(*ip))
		return -EINVAL;
	hlen = rte_ipv4_hdr_len(ip);
	total = rte_be_to_cpu_16(ip->total_length);
	frag = rte_be_to_cpu_16(ip->fragment_offset);
	if (hlen < sizeof(*ip) || total <= hlen || total > rte_pktmbuf_data_len(m))
		return -EINVAL;
	c->payload = (const uint8_t *)ip + hlen;
	c->len = total - hlen;
	c->base = frag & RTE_IPV4_HDR_OFFSET_MASK;
	c->more = frag & RTE_IPV4_HDR_MF_FLAG;
	if (c->base * 8 + c->len > UINT16_MAX || (c->more != 0 && c->len % 8 != 0))
		return -EINVAL;
	return frag & RTE_IPV4_HDR_DF_FLAG ? -EMSGSIZE : (int)hlen;
}

int
gw_frag4(struct rte_mbuf *m, uint16_t mtu, struct rte_mempool *pool, struct rte_mbuf *out[])
{
	struct cut c = {.pool = pool};
	uint32_t limit = fragment_limit(pool, mtu);
	int rc = start_cut(&c, m);
	const uint8_t *hdr = rte_pktmbuf_mtod(m, const uint8_t *);
	uint8_t later[MAX_IP4_HDR];
	uint32_t hlen = rc, later_len, len;
	int n = 0;

	if (rc < 0)
		return rc;
	if (limit < hlen + 8)
		return -EMSGSIZE;
	later_len = copied_header(later, hdr, hlen);
	for (uint32_t off = 0; off < c.len; off += len, n++) {
		len = c.len - off;
		if (len > limit - hlen)
			len = RTE_ALIGN_FLOOR(limit - hlen, 8u);
		rc = -EMSGSIZE;
		if (n == GW_MAX_FRAGS)
			goto fail;
		out[n] = make_fragment(&c, hdr, hlen, off, len);
		rc = -ENOBUFS;
		if (out[n] == NULL)
			goto fail;
		out[n]->port = m->port;
		hdr = later;
		hlen = later_len;
	}
	return n;
fail:
	rte_pktmbuf_free_bulk(out, n);
	return rc;
}

/* ---- reassembly */

struct key {
	uint8_t src[16];
	uint8_t dst[16];
	uint32_t id;
	uint8_t family; /* 0: the slot is free */
	uint8_t proto; /* IPv4 only */
	uint8_t pad[2];
};

struct piece {
	struct rte_mbuf *m;
	uint32_t off; /* in the datagram */
	uint32_t len;
	uint16_t hlen; /* of what stands before the data: IPv6 with the fragment header */
	uint16_t next_at; /* IPv6: where the number of the fragment header stands */
	bool last;
};

struct datagram {
	struct key key;
	uint64_t start; /* TSC */
	uint32_t total; /* bytes, once the last piece is there; else 0 */
	uint32_t have;
	uint8_t n; /* pieces, by offset */
	uint8_t ecn; /* bit set of those seen */
	bool refused; /* swallows what still comes of it */
	uint8_t why; /* enum gw_drop, if refused */
	struct piece piece[GW_MAX_FRAGS];
};

struct gw_reass {
	uint64_t timeout; /* TSC cycles */
	uint64_t next_expire; /* TSC */
	struct rte_mempool *large;
	struct gw_counters *count; /* the worker's */
	uint64_t held;
	uint32_t mask; /* buckets - 1 */
	uint32_t seed;
	struct datagram slot[];
};

struct gw_reass *
gw_reass_create(unsigned int flows, uint64_t tsc_hz, int socket, struct rte_mempool *large,
		struct gw_counters *count)
{
	uint32_t buckets = rte_align32prevpow2(RTE_MAX(flows / WAYS, 1u));
	struct gw_reass *r;

	r = rte_zmalloc_socket("gw_reass", sizeof(*r) + (size_t)buckets * WAYS * sizeof(r->slot[0]),
			RTE_CACHE_LINE_SIZE, socket);
	if (r == NULL)
		return NULL;
	r->timeout = tsc_hz;
	r->large = large;
	r->count = count;
	r->mask = buckets - 1;
	r->seed = rte_rand(); /* nobody outside knows which datagrams share a bucket */
	return r;
}

static void
drop(struct gw_reass *r, struct rte_mbuf *m, enum gw_drop why)
{
	rte_pktmbuf_free(m);
	r->count->drop[why]++;
}

static void
drop_pieces(struct gw_reass *r, struct datagram *d, enum gw_drop why)
{
	for (unsigned int i = 0; i < d->n; i++)
		drop(r, d->piece[i].m, why);
	r->held -= d->n;
	d->n = 0;
}

static void
forget(struct gw_reass *r, struct datagram *d, enum gw_drop why)
{
	drop_pieces(r, d, why);
	d->key.family = 0;
}

void
gw_reass_free(struct gw_reass *r)
{
	if (r == NULL)
		return;
	for (uint32_t i = 0; i < (r->mask + 1) * WAYS; i++)
		forget(r, &r->slot[i], GW_DROP_FRAG_LOST);
	rte_free(r);
}

void
gw_reass_expire(struct gw_reass *r, uint64_t now)
{
	if (now < r->next_expire)
		return;
	for (uint32_t i = 0; i < (r->mask + 1) * WAYS; i++) {
		struct datagram *d = &r->slot[i];

		if (d->key.family != 0 && now - d->start >= r->timeout)
			forget(r, d, GW_DROP_FRAG_LOST);
	}
	r->next_expire = now + r->timeout / 4;
}

uint64_t
gw_reass_held(const struct gw_reass *r)
{
	return r->held;
}

/* The datagram of this key; a new one in place of the oldest of its bucket if there is none. */
static struct datagram *
find(struct gw_reass *r, const struct key *key, uint64_t now)
{
	struct datagram *bucket =
			&r->slot[(size_t)WAYS * (rte_jhash(key, sizeof(*key), r->seed) & r->mask)];
	struct datagram *victim = bucket;

	for (struct datagram *d = bucket; d < bucket + WAYS; d++) {
		if (d->key.family != 0 && now - d->start >= r->timeout)
			forget(r, d, GW_DROP_FRAG_LOST);
		if (memcmp(&d->key, key, sizeof(*key)) == 0)
			return d;
		if (victim->key.family != 0 && (d->key.family == 0 || d->start < victim->start))
			victim = d;
	}
	forget(r, victim, GW_DROP_FRAG_FULL);
	memset(victim, 0, offsetof(struct datagram, piece));
	victim->key = *key;
	victim->start = now;
	return victim;
}

static int
parse4(struct rte_mbuf *m, struct key *key, struct piece *p)
{
	const struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod(m, const struct rte_ipv4_hdr *);
	uint16_t frag = rte_be_to_cpu_16(ip->fragment_offset);
	uint32_t total = rte_be_to_cpu_16(ip->total_length);

	p->hlen = rte_ipv4_hdr_len(ip);
	if (p->hlen < sizeof(*ip) || total < p->hlen || total > m->data_len)
		return -EINVAL;
	p->off = (frag & RTE_IPV4_HDR_OFFSET_MASK) * 8;
	p->len = total - p->hlen;
	p->last = (frag & RTE_IPV4_HDR_MF_FLAG) == 0;
	key->family = AF_INET;
	key->proto = ip->next_proto_id;
	key->id = ip->packet_id;
	memcpy(key->src, &ip->src_addr, 4);
	memcpy(key->dst, &ip->dst_addr, 4);
	return 0;
}

/* Where the number of the next header stands that says: fragment header. 0: there is none. */
static uint32_t
find_frag6(const uint8_t *p, uint32_t len, uint32_t *frag_at)
{
	uint32_t next_at = 6;
	uint32_t off = sizeof(struct rte_ipv6_hdr);

	for (unsigned int i = 0; i < 8 && gw_ip6_is_ext(p[next_at]) && off + 8 <= len; i++) {
		*frag_at = off;
		if (p[next_at] == IPPROTO_FRAGMENT)
			return next_at;
		next_at = off;
		off += (p[off + 1] + 1u) * 8;
	}
	return 0;
}

static int
parse6(struct rte_mbuf *m, struct key *key, struct piece *p)
{
	const uint8_t *b = rte_pktmbuf_mtod(m, const uint8_t *);
	const struct rte_ipv6_hdr *ip = (const struct rte_ipv6_hdr *)b;
	uint32_t total, at = 0;
	uint16_t frag;

	if (m->data_len < sizeof(*ip))
		return -EINVAL;
	total = rte_be_to_cpu_16(ip->payload_len) + sizeof(*ip);
	if (total > m->data_len)
		return -EINVAL;
	p->next_at = find_frag6(b, total, &at);
	if (p->next_at == 0)
		return -EINVAL;
	frag = b[at + 2] << 8 | b[at + 3];
	p->hlen = at + 8;
	p->off = frag & 0xfff8;
	p->len = total - p->hlen;
	p->last = (frag & 1) == 0;
	key->family = AF_INET6;
	memcpy(&key->id, b + at + 4, 4);
	memcpy(key->src, b + 8, 16);
	memcpy(key->dst, b + 24, 16);
	return 0;
}

static int
parse(struct rte_mbuf *m, struct key *key, struct piece *p)
{
	int rc;

	memset(key, 0, sizeof(*key));
	memset(p, 0, sizeof(*p));
	p->m = m;
	if (m->data_len < sizeof(struct rte_ipv4_hdr))
		return -EINVAL;
	switch (*rte_pktmbuf_mtod(m, const uint8_t *) >> 4) {
	case 4:
		rc = parse4(m, key, p);
		break;
	case 6:
		rc = parse6(m, key, p);
		break;
	default:
		return -EINVAL;
	}
	if (rc < 0 || p->len == 0 || (!p->last && p->len % 8 != 0))
		return -EINVAL;
	return 0;
}

static uint8_t
get_ecn(const struct rte_mbuf *m)
{
	const uint8_t *b = rte_pktmbuf_mtod(m, const uint8_t *);

	return b[0] >> 4 == 4 ? b[1] & 3 : b[1] >> 4 & 3;
}

/* Does it agree with all that is known of the datagram's length? Learns it from the last piece. */
static bool
length_agrees(struct datagram *d, const struct piece *p)
{
	const struct piece *top = d->n == 0 ? NULL : &d->piece[d->n - 1];
	uint32_t end = p->off + p->len;

	if (end > UINT16_MAX)
		return false; /* more than an IP packet can be */
	if (d->total != 0)
		return p->last ? end == d->total : end <= d->total;
	if (p->last && top != NULL && top->off + top->len > end)
		return false;
	if (p->last)
		d->total = end;
	return true;
}

/* Takes the piece, or says why not: an enum gw_drop. FRAG_COPY leaves the datagram as it was. */
static int
insert(struct datagram *d, const struct piece *p)
{
	unsigned int i = d->n;

	while (i > 0 && d->piece[i - 1].off >= p->off)
		i--;
	if (i < d->n && d->piece[i].off == p->off && d->piece[i].len == p->len &&
			d->piece[i].last == p->last)
		return GW_DROP_FRAG_COPY;
	if (i > 0 && d->piece[i - 1].off + d->piece[i - 1].len > p->off)
		return GW_DROP_FRAG_BAD;
	if (i < d->n && p->off + p->len > d->piece[i].off)
		return GW_DROP_FRAG_BAD;
	if (!length_agrees(d, p))
		return GW_DROP_FRAG_BAD;
	if (d->n == GW_MAX_FRAGS)
		return GW_DROP_FRAG_LARGE;
	memmove(&d->piece[i + 1], &d->piece[i], (d->n - i) * sizeof(*p));
	d->piece[i] = *p;
	d->n++;
	d->have += p->len;
	d->ecn |= 1 << get_ecn(p->m);
	return TAKEN;
}

/* The header of a datagram made whole: "len" bytes of data behind p's headers. */
static void
whole4(const struct piece *p, uint32_t len, bool ce)
{
	struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod(p->m, struct rte_ipv4_hdr *);

	if (ce)
		ip->type_of_service |= CE;
	ip->fragment_offset &= rte_cpu_to_be_16(RTE_IPV4_HDR_DF_FLAG);
	ip->total_length = rte_cpu_to_be_16(p->hlen + len);
	ip->hdr_checksum = 0;
	ip->hdr_checksum = rte_ipv4_cksum(ip);
}

/* The same; takes the fragment header out, so that the packet starts 8 bytes later. */
static void
whole6(const struct piece *p, uint32_t len, bool ce)
{
	uint8_t *b = rte_pktmbuf_mtod(p->m, uint8_t *);
	struct rte_ipv6_hdr *ip;

	b[p->next_at] = b[p->hlen - 8];
	memmove(b + 8, b, p->hlen - 8);
	ip = (struct rte_ipv6_hdr *)rte_pktmbuf_adj(p->m, 8);
	if (ce)
		ip->vtc_flow |= rte_cpu_to_be_32(CE << 20);
	ip->payload_len = rte_cpu_to_be_16(p->hlen - 8 - sizeof(*ip) + len);
}

static void
make_whole(const struct piece *p, uint32_t len, bool ce)
{
	p->m->data_len = p->m->pkt_len = p->hlen + len;
	p->m->packet_type = 0;
	p->m->ol_flags &= ~RTE_MBUF_F_RX_L4_CKSUM_MASK; /* it was said of a fragment */
	if (*rte_pktmbuf_mtod(p->m, const uint8_t *) >> 4 == 4)
		whole4(p, len, ce);
	else
		whole6(p, len, ce);
}

/* Can the rest be put behind what the first fragment's mbuf holds? */
static bool
fits_first(const struct datagram *d)
{
	const struct rte_mbuf *m = d->piece[0].m;

	return d->piece[0].hlen + d->total <= (uint32_t)m->buf_len - m->data_off &&
			RTE_MBUF_DIRECT(m) && rte_mbuf_refcnt_read(m) == 1;
}

/*
 * The mbuf for the whole, with the headers of the first piece in it; its own where
 * that is large enough. TAKEN, or an enum gw_drop.
 */
static int
room_for(const struct gw_reass *r, const struct datagram *d, struct piece *whole)
{
	struct piece first = d->piece[0];
	uint32_t end = first.hlen + d->total;

	*whole = first;
	/* RFC 3168 5.3: no mixing of "congested" and "does not know of ECN" */
	if ((d->ecn & (1 << CE | 1)) == (1 << CE | 1))
		return GW_DROP_FRAG_BAD;
	if (fits_first(d))
		return TAKEN;
	if (r->large != NULL && end + RTE_PKTMBUF_HEADROOM > rte_pktmbuf_data_room_size(r->large))
		return GW_DROP_FRAG_LARGE;
	whole->m = r->large == NULL ? NULL : rte_pktmbuf_alloc(r->large);
	if (whole->m == NULL)
		return GW_DROP_NO_MBUF;
	whole->m->port = first.m->port;
	memcpy(rte_pktmbuf_mtod(whole->m, void *), rte_pktmbuf_mtod(first.m, const void *),
			first.hlen + first.len);
	return TAKEN;
}

/* Put the pieces into the whole's mbuf, behind the first, which is there. Frees all others. */
static struct rte_mbuf *
join(struct gw_reass *r, struct datagram *d, const struct piece *whole)
{
	uint8_t *data = rte_pktmbuf_mtod_offset(whole->m, uint8_t *, whole->hlen);

	for (unsigned int i = 0; i < d->n; i++) {
		const struct piece *p = &d->piece[i];

		if (i > 0)
			memcpy(data + p->off, rte_pktmbuf_mtod_offset(p->m, uint8_t *, p->hlen),
					p->len);
		if (p->m != whole->m)
			rte_pktmbuf_free(p->m);
	}
	make_whole(whole, d->total, d->ecn & 1 << CE);
	/* n came, one goes on */
	r->count->absorbed += d->n - 1;
	r->held -= d->n;
	d->n = 0;
	d->key.family = 0;
	return whole->m;
}

/* From here on no piece of it is taken, until it times out. */
static void
refuse(struct gw_reass *r, struct datagram *d, enum gw_drop why)
{
	drop_pieces(r, d, why);
	d->refused = true;
	d->why = why;
}

/* TAKEN, or why not: an enum gw_drop. */
static int
take_in(struct gw_reass *r, struct datagram *d, const struct piece *p)
{
	int rc = d->refused ? d->why : insert(d, p);

	if (rc == TAKEN) {
		r->held++;
		return TAKEN;
	}
	drop(r, p->m, rc);
	if (!d->refused && rc != GW_DROP_FRAG_COPY)
		refuse(r, d, rc);
	return rc;
}

struct rte_mbuf *
gw_reass_add(struct gw_reass *r, struct rte_mbuf *m, uint64_t now)
{
	struct piece p, whole;
	struct datagram *d;
	struct key key;
	int rc;

	if (rte_pktmbuf_linearize(m) < 0) {
		drop(r, m, GW_DROP_NOT_LINEAR);
		return NULL;
	}
	if (parse(m, &key, &p) < 0) {
		drop(r, m, GW_DROP_MALFORMED);
		return NULL;
	}
	if (p.off == 0 && p.last) { /* an atomic fragment stands alone, RFC 6946 */
		make_whole(&p, p.len, false);
		return m;
	}
	d = find(r, &key, now);
	if (take_in(r, d, &p) != TAKEN || d->total == 0 || d->have != d->total)
		return NULL;
	rc = room_for(r, d, &whole);
	if (rc == TAKEN)
		return join(r, d, &whole);
	refuse(r, d, rc);
	return NULL;
}
