/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The slow path of a worker: clear traffic that goes into no tunnel, ICMP
 * errors, fragments, and what the kernel sends. Worker's thread.
 */

#include <rte_cycles.h>

#include "classify.h"
#include "decide.h"
#include "frag.h"
#include "send.h"

/** Into a tunnel, one packet; @p forwarded: it comes from elsewhere, so its TTL counts. */
static void
into_tunnel(struct gw_worker *w, uint16_t tunnel, struct rte_mbuf *m, bool forwarded,
		const struct gw_addr *icmp4, const struct gw_addr *icmp6)
{
	const struct gw_tunnel_view *tv = &w->view->tunnel[tunnel];

	if (!tv->up) {
		gw_drop(w, m, GW_DROP_TUNNEL_DOWN);
		return;
	}
	if (forwarded && !gw_ttl_dec(m)) {
		gw_refuse(w, m, GW_ICMP_TIME_EXCEEDED, 0, GW_DROP_TTL, icmp4, icmp6);
		return;
	}
	if (w->view->mss_clamp)
		gw_mss_clamp_to(m, tv->inner_mtu);
	if (m->data_len > tv->inner_mtu)
		gw_too_big(w, tunnel, m, icmp4, icmp6);
	else
		gw_encap(w, tunnel, &m, 1, false);
}

void
gw_not_tunnelled(struct gw_worker *w, const struct gw_port_view *port,
		struct rte_mbuf *const pkts[], const struct gw_verdict verdict[], uint16_t n)
{
	for (uint16_t i = 0; i < n; i++) {
		struct rte_mbuf *m = pkts[i];
		const uint8_t *ip = rte_pktmbuf_mtod(m, const uint8_t *);
		struct gw_decision d;
		struct gw_flow flow;

		gw_flow_parse(&flow, ip, m->data_len);
		d = gw_decide(w->view, &flow, verdict[i], GW_FROM_PORT, ip, m->data_len);
		if (d.fate == GW_FATE_DROP) {
			gw_drop(w, m, d.drop);
		} else if (d.fate == GW_FATE_TUNNEL) {
			into_tunnel(w, d.tunnel, m, true, &port->icmp4, &port->icmp6);
		} else {
			w->counters.bypassed++;
			gw_forward(w, m, &port->icmp4, &port->icmp6);
		}
	}
}

/** Frames that are not IP and may pass to and from the kernel: no IP packet hides in them. */
static bool
is_link_control(rte_be16_t ether_type)
{
	uint16_t type = rte_be_to_cpu_16(ether_type);

	/* a length: IEEE 802.2, as of IS-IS and spanning tree; 802.1X */
	return type < 0x600 || type == RTE_ETHER_TYPE_ARP || type == RTE_ETHER_TYPE_LLDP ||
			type == 0x888e;
}

void
gw_punt_in_clear(struct gw_worker *w, struct rte_mbuf *m, uint8_t port)
{
	const struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, const struct rte_ether_hdr *);
	uint32_t len = m->data_len - sizeof(*eth);
	const uint8_t *ip = (const uint8_t *)(eth + 1);
	const struct gw_local *local = w->view->local;
	rte_be32_t dst;
	bool to_us = false;

	if (eth->ether_type == rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4) && len >= 20) {
		memcpy(&dst, ip + 16, sizeof(dst));
		to_us = gw_local_has4(local, dst);
	} else if (eth->ether_type == rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV6) && len >= 40) {
		to_us = gw_local_has6(local, ip + 24);
	} else if (!is_link_control(eth->ether_type)) {
		/* a tag of VLAN 0 is none to the kernel: the packet would be taken unlooked at */
		gw_drop(w, m, GW_DROP_ETHERTYPE);
		return;
	}
	if (to_us && !gw_may_come_in_clear(w->view, ip, len))
		gw_drop(w, m, GW_DROP_CLEAR);
	else
		gw_punt(w, m, GW_PKT_PUNT, port);
}

/** Our own address, out of a tunnel: the kernel takes it from the TAP of the port that has it. */
static void
to_kernel(struct gw_worker *w, uint8_t port, struct rte_mbuf *m)
{
	const struct rte_ether_addr *mac = &w->view->port[port].mac;

	gw_ether_prepend(m, gw_ether_of(mac, mac));
	gw_punt(w, m, GW_PKT_PUNT, port);
}

/** Inner fragments of a packet, sent one by one; the packet itself is freed. */
static bool
send_fragments(struct gw_worker *w, struct rte_mbuf *m, uint16_t mtu, const struct gw_nexthop *nh,
		uint16_t tunnel)
{
	struct rte_mbuf *frag[GW_MAX_FRAGS];
	int n = gw_frag4(m, mtu, w->pool, frag);

	if (n <= 0) {
		gw_drop(w, m, n == -ENOMEM || n == -ENOBUFS ? GW_DROP_NO_MBUF : GW_DROP_TOO_BIG);
		return false;
	}
	/* one packet became n */
	w->counters.created += n - 1;
	rte_pktmbuf_free(m);
	for (int i = 0; i < n; i++) {
		if (nh != NULL)
			gw_send(w, nh, frag[i]);
		else
			gw_encap(w, tunnel, &frag[i], 1, false);
	}
	return true;
}

static bool
may_fragment(const struct rte_mbuf *m)
{
	const struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod(m, const struct rte_ipv4_hdr *);

	return gw_is_ip4(m) && (ip->fragment_offset & rte_cpu_to_be_16(RTE_IPV4_HDR_DF_FLAG)) == 0;
}

void
gw_too_big(struct gw_worker *w, uint16_t tunnel, struct rte_mbuf *m, const struct gw_addr *icmp4,
		const struct gw_addr *icmp6)
{
	uint16_t mtu = w->view->tunnel[tunnel].inner_mtu;

	if (mtu == 0) {
		/* no route to the peer, or no SA from which to know the overhead */
		bool no_route = w->view->nh[w->view->tunnel[tunnel].nh].mtu == 0;

		if (!no_route)
			gw_want(w, tunnel, m);
		gw_drop(w, m, no_route ? GW_DROP_NO_ROUTE : GW_DROP_NO_OUT_SA);
		return;
	}
	if (may_fragment(m))
		send_fragments(w, m, mtu, NULL, tunnel);
	else
		gw_refuse(w, m, GW_ICMP_TOO_BIG, mtu, GW_DROP_TOO_BIG, icmp4, icmp6);
}

void
gw_forward(struct gw_worker *w, struct rte_mbuf *m, const struct gw_addr *icmp4,
		const struct gw_addr *icmp6)
{
	const struct gw_nexthop *nh = gw_route(w, m);

	if (nh->kind == GW_NH_LOCAL) {
		to_kernel(w, nh->port, m);
		return;
	}
	if (nh->kind == GW_NH_NONE || nh->kind == GW_NH_BLACKHOLE) {
		gw_refuse(w, m, GW_ICMP_NO_ROUTE, 0, GW_DROP_NO_ROUTE, icmp4, icmp6);
		return;
	}
	if (!gw_ttl_dec(m)) {
		gw_refuse(w, m, GW_ICMP_TIME_EXCEEDED, 0, GW_DROP_TTL, icmp4, icmp6);
		return;
	}
	if (m->data_len <= nh->mtu)
		gw_send(w, nh, m);
	else if (may_fragment(m))
		send_fragments(w, m, nh->mtu, nh, GW_NONE);
	else
		gw_refuse(w, m, GW_ICMP_TOO_BIG, nh->mtu, GW_DROP_TOO_BIG, icmp4, icmp6);
}

void
gw_refuse(struct gw_worker *w, struct rte_mbuf *m, enum gw_icmp_error error, uint32_t arg,
		enum gw_drop reason, const struct gw_addr *icmp4, const struct gw_addr *icmp6)
{
	const struct gw_addr *src = gw_is_ip4(m) ? icmp4 : icmp6;
	struct rte_mbuf *msg = NULL;

	if (src->family != 0 && gw_icmp_limit_take(&w->icmp_limit, rte_rdtsc()))
		msg = gw_icmp_make(w->pool, m, error, arg, src);
	gw_drop(w, m, reason);
	if (msg != NULL)
		gw_originate(w, msg);
}

static struct gw_decision
decide(struct gw_worker *w, const uint8_t *ip, uint32_t len, enum gw_origin origin)
{
	struct gw_flow flow;

	gw_flow_parse(&flow, ip, len);
	return gw_decide(w->view, &flow, gw_verdict_of(w->view, &flow), origin, ip, len);
}

void
gw_originate(struct gw_worker *w, struct rte_mbuf *m)
{
	static const struct gw_addr none;
	struct gw_decision d =
			decide(w, rte_pktmbuf_mtod(m, const uint8_t *), m->data_len, GW_FROM_HOST);
	const struct gw_nexthop *nh;

	w->counters.created++;
	if (d.fate == GW_FATE_DROP) {
		gw_drop(w, m, d.drop);
		return;
	}
	nh = gw_route(w, m);
	if (nh->kind == GW_NH_LOCAL)
		to_kernel(w, nh->port, m);
	else if (d.fate == GW_FATE_TUNNEL)
		into_tunnel(w, d.tunnel, m, false, &none, &none);
	else
		gw_send(w, nh, m);
}

/**
 * Selectors that overlap themselves (10/8 on both sides) want what comes out of
 * a tunnel back in it. It is meant for a host of our own links, if one is that.
 */
static bool
is_for_own_link(const struct gw_worker *w, uint16_t id, const struct rte_mbuf *m)
{
	const uint8_t *ip = rte_pktmbuf_mtod(m, const uint8_t *);
	bool ip4 = gw_is_ip4(m);
	uint8_t port;

	return gw_is_on_link(w->view, ip4 ? AF_INET : AF_INET6, ip + (ip4 ? 16 : 24), &port) &&
			port != w->view->nh[w->view->tunnel[id].nh].port;
}

void
gw_from_tunnel(struct gw_worker *w, const struct gw_tunnel_view *tv, struct rte_mbuf *m)
{
	struct gw_decision d = {.fate = GW_FATE_CLEAR};
	bool back;

	if (w->view->mss_clamp)
		gw_mss_clamp_to(m, tv->inner_mtu);
	if (tv->transit && gw_route(w, m)->kind != GW_NH_LOCAL)
		d = decide(w, rte_pktmbuf_mtod(m, const uint8_t *), m->data_len, GW_FROM_TUNNEL);
	back = d.fate == GW_FATE_TUNNEL && &w->view->tunnel[d.tunnel] == tv;
	if (d.fate == GW_FATE_DROP)
		gw_drop(w, m, d.drop);
	else if (d.fate == GW_FATE_TUNNEL && !(back && is_for_own_link(w, d.tunnel, m)))
		into_tunnel(w, d.tunnel, m, true, &tv->icmp4, &tv->icmp6);
	else
		gw_forward(w, m, &tv->icmp4, &tv->icmp6);
}

/** Is the source of a kernel's packet ours? If not, the kernel forwards it. */
static bool
is_from_us(const struct gw_worker *w, const uint8_t *ip)
{
	rte_be32_t src;

	if (ip[0] >> 4 == 6)
		return gw_local_has6(w->view->local, ip + 8);
	memcpy(&src, ip + 12, sizeof(src));
	return gw_local_has4(w->view->local, src);
}

/** A unicast IP packet of the kernel, from the Ethernet header on. */
static void
from_kernel(struct gw_worker *w, uint8_t port, struct rte_mbuf *m, struct gw_parsed parsed)
{
	const struct gw_port_view *p = &w->view->port[port];
	const uint8_t *ip =
			rte_pktmbuf_mtod_offset(m, const uint8_t *, sizeof(struct rte_ether_hdr));
	struct gw_decision d =
			decide(w, ip, parsed.len, is_from_us(w, ip) ? GW_FROM_HOST : GW_FROM_PORT);

	if (d.fate == GW_FATE_DROP) {
		gw_drop(w, m, d.drop);
	} else if (d.fate == GW_FATE_TUNNEL) {
		gw_take(m, sizeof(struct rte_ether_hdr), parsed);
		/* the kernel has done the TTL, as sender or as router */
		into_tunnel(w, d.tunnel, m, false, &p->icmp4, &p->icmp6);
	} else {
		gw_tx(w, port, m);
	}
}

void
gw_from_kernel(struct gw_worker *w, struct rte_mbuf *m)
{
	const struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, const struct rte_ether_hdr *);
	uint8_t port = gw_pkt(m)->port;
	int class = GW_CLASS_PUNT;
	struct gw_parsed p = {.len = 0};

	if (m->data_len < sizeof(*eth))
		class = GW_CLASS_DROP + GW_DROP_MALFORMED;
	else if (eth->ether_type == rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4))
		class = classify4(w->view->local, m, sizeof(*eth), &p);
	else if (eth->ether_type == rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV6))
		class = classify6(w->view->local, m, sizeof(*eth), &p);
	else if (!is_link_control(eth->ether_type))
		class = GW_CLASS_DROP + GW_DROP_ETHERTYPE;
	if (class >= GW_CLASS_DROP)
		gw_drop(w, m, class - GW_CLASS_DROP);
	else if (class == GW_CLASS_CLEAR)
		from_kernel(w, port, m, p);
	else
		gw_tx(w, port, m); /* multicast, link-local, link control */
}

unsigned int
gw_injected(struct gw_worker *w)
{
	struct rte_mbuf *pkts[GW_BURST];
	unsigned int n = rte_ring_sc_dequeue_burst(w->inject, (void **)pkts, GW_BURST, NULL);

	w->counters.injected += n;
	for (unsigned int i = 0; i < n; i++) {
		const struct gw_nexthop *nh;

		if (gw_pkt(pkts[i])->kind == GW_PKT_FRAME) {
			gw_from_kernel(w, pkts[i]);
			continue;
		}
		/* held for a neighbour, which is known now, or was given up */
		nh = gw_route(w, pkts[i]);
		if (nh->kind == GW_NH_GLEAN || nh->kind == GW_NH_UNRESOLVED)
			gw_drop(w, pkts[i], GW_DROP_NO_NEIGHBOUR);
		else
			gw_send(w, nh, pkts[i]);
	}
	return n;
}

/** A packet to us that was put together from fragments. */
static void
whole_again(struct gw_worker *w, struct rte_mbuf *m, uint8_t port)
{
	/* its fragments landed where they liked: that says nothing of the SA's packets */
	struct gw_pkt p = {.kind = GW_PKT_ESP, .port = port, .landed = GW_NONE};
	struct gw_parsed parsed = {.len = 0};
	int class = classify_ip(w->view->local, m, &parsed);

	if (class == GW_CLASS_ESP)
		gw_take(m, 0, parsed);
	if (class == GW_CLASS_ESP && m->pool == w->large) {
		p.kind = GW_PKT_ESP_LARGE;
		gw_inbound_large(w, p, m);
	} else if (class == GW_CLASS_ESP) {
		gw_inbound(w, p, &m, 1);
	} else if (class >= GW_CLASS_DROP) {
		gw_drop(w, m, class - GW_CLASS_DROP);
	} else if (!gw_may_come_in_clear(
				   w->view, rte_pktmbuf_mtod(m, const uint8_t *), m->data_len)) {
		gw_drop(w, m, GW_DROP_CLEAR);
	} else {
		to_kernel(w, port, m);
	}
}

void
gw_fragment_in(struct gw_worker *w, struct rte_mbuf *m, uint8_t port)
{
	if (w->id != w->reass_worker) {
		w->counters.handed_off_fragments++;
		gw_handoff(w, w->reass_worker, m,
				(struct gw_pkt){.kind = GW_PKT_FRAGMENT, .port = port});
		return;
	}
	m = gw_reass_add(w->reass, m, rte_rdtsc());
	if (m != NULL)
		whole_again(w, m, port);
}

void
gw_mss_clamp_to(struct rte_mbuf *m, uint16_t inner_mtu)
{
	if (inner_mtu > 60)
		gw_mss_clamp(m, inner_mtu - 40, inner_mtu - 60);
}
