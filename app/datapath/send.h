/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef SEND_H
#define SEND_H

/*
 * The ways a packet leaves a worker's hands: transmit, hand-off, punt, drop.
 * HOT, inline; what frees or makes a system call stands in send.c, out of line.
 * All of it runs on the worker's own thread.
 */

#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_mbuf.h>

#include "worker.h"

/** Count and free one packet; a named drop. */
void gw_drop(struct gw_worker *w, struct rte_mbuf *m, enum gw_drop reason);

/** Count and free what an ESP burst dropped, by reason. */
void gw_drop_esp(struct gw_worker *w, struct rte_mbuf *pkts[], const uint8_t reason[], uint16_t n);

/** Hand the staged packets for a port to the driver, or to the worker that has a queue there. */
void gw_tx_flush(struct gw_worker *w, uint16_t port);

/** Put the staged packets for a worker on its ring. */
void gw_handoff_flush(struct gw_worker *w, uint16_t to);

/** Put the staged packets for control on its ring, and wake it. */
void gw_punt_flush(struct gw_worker *w);

/** The stage that ends was a burst of @p n on one SA, done or dropped: the SA's cycles, too. */
static inline void
gw_lap_sa(struct gw_worker *w, enum gw_stage stage, struct ipsec_pcpu_sa *sa, uint16_t n)
{
	uint64_t took = gw_lap(&w->cycles, stage);

	if (unlikely(took > 0))
		ipsec_pcpu_sa_count_cycles(sa, took, n);
}

/** The same for @p n packets, each with its SA: each has an equal share. */
static inline void
gw_lap_sas(struct gw_worker *w, enum gw_stage stage, struct ipsec_pcpu_sa *const sas[], uint16_t n)
{
	uint64_t took = gw_lap(&w->cycles, stage);

	if (likely(took == 0))
		return;
	for (uint16_t i = 0; i < n; i++) {
		uint64_t share = took / (n - i); /* so that all of them make up the whole */

		ipsec_pcpu_sa_count_cycles(sas[i], share, 1);
		took -= share;
	}
}

/** Stage a frame, Ethernet header on, for a port. */
static inline void
gw_tx(struct gw_worker *w, uint16_t port, struct rte_mbuf *m)
{
	struct gw_staged *s = &w->tx[port];

	s->pkts[s->n++] = m;
	if (unlikely(s->n == GW_BURST))
		gw_tx_flush(w, port);
}

/** Stage a packet for another worker. */
static inline void
gw_handoff(struct gw_worker *w, uint16_t to, struct rte_mbuf *m, struct gw_pkt p)
{
	struct gw_staged *s = &w->stage[to];

	*gw_pkt(m) = p;
	s->pkts[s->n++] = m;
	if (unlikely(s->n == GW_BURST))
		gw_handoff_flush(w, to);
}

/**
 * Stage a packet for control: for the kernel (GW_PKT_PUNT), or for want of a neighbour
 * (GW_PKT_RESOLVE).
 */
static inline void
gw_punt(struct gw_worker *w, struct rte_mbuf *m, enum gw_pkt_kind kind, uint8_t port)
{
	struct gw_staged *s = &w->punts;

	*gw_pkt(m) = (struct gw_pkt){.kind = kind, .port = port};
	s->pkts[s->n++] = m;
	if (unlikely(s->n == GW_BURST))
		gw_punt_flush(w);
}

static inline bool
gw_is_ip4(const struct rte_mbuf *m)
{
	return *rte_pktmbuf_mtod(m, const uint8_t *) >> 4 == 4;
}

/** An Ethernet header but for its type, as two words that overlap: bytes 0 to 7, and 6 to 13. */
struct gw_ether {
	uint64_t head;
	uint64_t tail; /* the type, its last two bytes, is 0 */
};

static inline struct gw_ether
gw_ether_of(const struct rte_ether_addr *dst, const struct rte_ether_addr *src)
{
	uint8_t b[2 * sizeof(uint64_t)] = {0};

	memcpy(b, dst, sizeof(*dst));
	memcpy(b + sizeof(*dst), src, sizeof(*src));
	return (struct gw_ether){gw_flow_load8(b), gw_flow_load8(b + sizeof(*dst))};
}

/** The type that belongs to a packet's IP version, where gw_ether's tail has it. */
static inline uint64_t
gw_ether_type(uint8_t first)
{
	return first & 0x20 ? (uint64_t)RTE_BE16(RTE_ETHER_TYPE_IPV6) << 48
			    : (uint64_t)RTE_BE16(RTE_ETHER_TYPE_IPV4) << 48;
}

/** Put an Ethernet header before an IP packet. There is headroom: classified packets had one. */
static inline void
gw_ether_prepend(struct rte_mbuf *m, struct gw_ether eth)
{
	uint8_t *p = rte_pktmbuf_mtod(m, uint8_t *);

	gw_flow_store8(p - 8, eth.tail | gw_ether_type(*p));
	gw_flow_store8(p - sizeof(struct rte_ether_hdr), eth.head);
	m->data_off -= sizeof(struct rte_ether_hdr);
	m->data_len += sizeof(struct rte_ether_hdr);
	m->pkt_len += sizeof(struct rte_ether_hdr);
}

/** Where nothing can be sent: no route, no MAC yet, blackhole. Out of line. */
void gw_send_slow(struct gw_worker *w, const struct gw_nexthop *nh, struct rte_mbuf *m);

/** Send a finished IP packet (size, TTL done) to a next hop. */
static inline void
gw_send(struct gw_worker *w, const struct gw_nexthop *nh, struct rte_mbuf *m)
{
	if (unlikely(nh->kind != GW_NH_ETHER)) {
		gw_send_slow(w, nh, m);
		return;
	}
	gw_ether_prepend(m, gw_ether_of(&nh->dst, &nh->src));
	gw_tx(w, nh->port, m);
}

/** gw_send() for packets that all go to the same next hop; in order. */
static inline void
gw_send_burst(struct gw_worker *w, const struct gw_nexthop *nh, struct rte_mbuf *pkts[], uint16_t n)
{
	struct gw_ether eth = gw_ether_of(&nh->dst, &nh->src);
	struct gw_staged *s = &w->tx[nh->port];
	unsigned int i = 0;

	if (unlikely(nh->kind != GW_NH_ETHER)) {
		for (; i < n; i++)
			gw_send_slow(w, nh, pkts[i]);
		return;
	}
	while (i < n) {
		unsigned int at = s->n;
		unsigned int room = RTE_MIN(n - i, GW_BURST - at);

		/* the count is stored once: else each packet waits for the one before */
		for (unsigned int end = i + room; i < end; i++) {
			gw_ether_prepend(pkts[i], eth);
			s->pkts[at++] = pkts[i];
		}
		s->n = at;
		if (at == GW_BURST)
			gw_tx_flush(w, nh->port);
	}
}

/** The next hop of an IP packet. */
static inline const struct gw_nexthop *
gw_route(const struct gw_worker *w, const struct rte_mbuf *m)
{
	const uint8_t *ip = rte_pktmbuf_mtod(m, const uint8_t *);

	if (likely(ip[0] >> 4 == 4))
		return gw_view_nexthop(w->view, AF_INET, ip + 16);
	return gw_view_nexthop(w->view, AF_INET6, ip + 24);
}

/**
 * Decrement the TTL, checksum corrected (RFC 1624), or the hop limit. False, nothing
 * changed: it is used up.
 */
static inline bool
gw_ttl_dec(struct rte_mbuf *m)
{
	uint8_t *p = rte_pktmbuf_mtod(m, uint8_t *);
	struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)p;
	uint32_t sum;

	if (unlikely(p[0] >> 4 != 4)) {
		if (p[7] <= 1)
			return false;
		p[7]--;
		return true;
	}
	if (unlikely(ip->time_to_live <= 1))
		return false;
	ip->time_to_live--;
	sum = (uint32_t)ip->hdr_checksum + rte_cpu_to_be_16(0x0100);
	ip->hdr_checksum = sum + (sum >> 16);
	return true;
}

/* What follows stands in forward.c, out of line: the slow path. */

/**
 * Forward a packet in clear: from its IP header on, from a port (icmp: our
 * addresses there) or out of a tunnel. TTL, size, route, send; ICMP errors to
 * the sender.
 */
void gw_forward(struct gw_worker *w, struct rte_mbuf *m, const struct gw_addr *icmp4,
		const struct gw_addr *icmp6);

/** Send an ICMP error about a packet, if the rate allows, and drop it by name. */
void gw_refuse(struct gw_worker *w, struct rte_mbuf *m, enum gw_icmp_error error, uint32_t arg,
		enum gw_drop reason, const struct gw_addr *icmp4, const struct gw_addr *icmp6);

/** Send a packet that was made here: by its policy through a tunnel, else by its route. */
void gw_originate(struct gw_worker *w, struct rte_mbuf *m);

/** A frame for the kernel, unless it should have come through a tunnel. */
void gw_punt_in_clear(struct gw_worker *w, struct rte_mbuf *m, uint8_t port);

/** A decrypted packet that is not the usual case: to us, into another tunnel, or by its route. */
void gw_from_tunnel(struct gw_worker *w, const struct gw_tunnel_view *tv, struct rte_mbuf *m);

/** What the kernel sends through a port: protected like any other, else sent as it is. */
void gw_from_kernel(struct gw_worker *w, struct rte_mbuf *m);

/** A fragment of a packet to us: to the reassembling worker; there: put it together and go on. */
void gw_fragment_in(struct gw_worker *w, struct rte_mbuf *m, uint8_t port);

/** A packet too large for the tunnel: fragments, or an ICMP error. @p icmp4, @p icmp6 as above. */
void gw_too_big(struct gw_worker *w, uint16_t tunnel, struct rte_mbuf *m,
		const struct gw_addr *icmp4, const struct gw_addr *icmp6);

/** Packets that go into no tunnel: by their verdict in clear, or nowhere. */
void gw_not_tunnelled(struct gw_worker *w, const struct gw_port_view *port,
		struct rte_mbuf *const pkts[], const struct gw_verdict verdict[], uint16_t n);

/** A packet found no SA of this worker's own: note it for IKE, if control wants to know. */
void gw_want(struct gw_worker *w, uint16_t tunnel, const struct rte_mbuf *m);

/** Packets for a tunnel without an own SA: to the worker that encrypts for us, or they wait. */
void gw_encap_elsewhere(struct gw_worker *w, uint16_t tunnel, struct rte_mbuf *pkts[], uint16_t n,
		bool handed);

/**
 * A port with fewer queues than workers: queue owner q also feeds workers q +
 * n_rxq, q + 2 n_rxq, ... Flow by flow, so that order within a flow is kept.
 *
 * @return
 *   How many stay here; @p pkts starts with them.
 */
uint16_t gw_spread(struct gw_worker *w, uint8_t port, struct rte_mbuf *pkts[], uint16_t n);

/** What another worker gave us; runs of a kind go on as a burst. */
void gw_handed_in(struct gw_worker *w, struct rte_mbuf *pkts[], uint16_t n);

/** All that control gave us. Returns how many packets. */
unsigned int gw_injected(struct gw_worker *w);

/** One segment out of several; false: impossible, dropped. */
bool gw_make_linear(struct gw_worker *w, struct rte_mbuf *m);

/** Lower the MSS of a TCP SYN to what fits a tunnel. */
void gw_mss_clamp_to(struct rte_mbuf *m, uint16_t inner_mtu);

/* outbound.c, inbound.c */

/** Clear packets from a port, from their IP header on. */
void gw_outbound(struct gw_worker *w, uint8_t port, struct rte_mbuf *pkts[], uint16_t n,
		bool handed);

/**
 * Encrypt packets of one tunnel, from their inner IP header on, TTL and size done, and send
 * them.
 */
void gw_encap(struct gw_worker *w, uint16_t tunnel, struct rte_mbuf *pkts[], uint16_t n,
		bool handed);

/** ESP packets from their outer IP header on; @p p says of all of them how they came. */
void gw_inbound(struct gw_worker *w, struct gw_pkt p, struct rte_mbuf *pkts[], uint16_t n);

/** Has it landed on another worker, which handed it to us, the owner of its SA? */
static inline bool
gw_is_foreign(const struct gw_worker *w, struct gw_pkt p)
{
	return p.hops > 0 && p.landed != w->id && p.landed != GW_NONE;
}

/** An ESP packet whose SA is not ours: to its owner, or it waits; e: NULL where it is not known. */
void gw_inbound_elsewhere(struct gw_worker *w, const struct ipsec_pcpu_sad_entry *e,
		struct gw_pkt p, struct rte_mbuf *m);

/** A decrypted packet that is not the usual case: is it of the tunnel? Then gw_from_tunnel(). */
void gw_decrypted(struct gw_worker *w, const struct gw_tunnel_view *tv, struct ipsec_pcpu_sa *sa,
		struct rte_mbuf *m);

/** The same as gw_inbound() for one in an mbuf of the large pool. In large.c: the slow path. */
void gw_inbound_large(struct gw_worker *w, struct gw_pkt p, struct rte_mbuf *m);

/* park.c */

/** Let a packet wait for the SA that it needs, which is on its way from worker to worker. */
void gw_park(struct gw_worker *w, struct gw_pkt p, struct rte_mbuf *m);

/** An SA has come, or is elsewhere: look at those that wait again, in order. */
void gw_unpark(struct gw_worker *w);

/** Drop all that still wait, at the end. */
void gw_park_empty(struct gw_worker *w);

#endif /* SEND_H */
