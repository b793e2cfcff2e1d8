/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef COUNTERS_H
#define COUNTERS_H

/*
 * Counters of one worker. Plain stores by the worker, relaxed loads by control.
 * docs/counters.md, the console and the tests read these lists.
 *
 * For the gateway as a whole, when nothing is under way:
 *   rx + injected + created = tx + punted + absorbed + sum of all drops
 * For one worker, handed_in stands on the left, handed_off on the right.
 */

#include <stdint.h>

#include <ipsec_pcpu.h>

/* clang-format off */
#define GW_FOREACH_COUNTER(_) \
	_(rx, "packets received from ports") \
	_(rx_bytes, "their bytes, Ethernet header included") \
	_(injected, "packets from the kernel by the ports' TAPs, or that waited for a neighbour") \
	_(created, "packets made here: ICMP errors, fragments beyond a packet's first") \
	_(handed_in, "packets taken over from other workers") \
	_(tx, "packets sent to ports") \
	_(tx_bytes, "their bytes, Ethernet header included") \
	_(punted, "packets for the kernel (ARP, ND, IKE, all for us), or to wait for a neighbour") \
	_(handed_off, "packets given to another worker: wrong queue, or for its SA or queue") \
	_(absorbed, "outer fragments that became part of a packet, beyond its first") \
	_(esp_owned, "inbound ESP from a port that landed on the worker that owns its SA") \
	_(handed_off_esp, "of handed_off: inbound ESP whose SA another worker owns") \
	_(handed_off_fallback, "of handed_off: outbound packets for the owner of the fallback SA") \
	_(handed_off_spread, "of handed_off: for want of queues, clear packets and those to send") \
	_(handed_off_fragments, "of handed_off: outer fragments, to the worker that joins them") \
	_(handed_off_again, "of handed_off: for an SA that had changed its worker meanwhile") \
	_(parked, "packets that waited here for an SA that was changing its worker") \
	_(encap, "packets encrypted") \
	_(encap_bytes, "bytes of inner packets encrypted") \
	_(decap, "packets decrypted") \
	_(decap_bytes, "bytes of inner packets decrypted") \
	_(bypassed, "packets forwarded in clear") \
	_(loops, "rounds of the poll loop") \
	_(idle_loops, "of loops: found nothing to do") \
	_(sleeps, "times it slept for want of traffic")

/** Drop reasons of the gateway; those of ESP itself are IPSEC_PCPU_FOREACH_DROP. */
#define GW_FOREACH_DROP(_) \
	_(OTHER_MAC, other_mac, "Ethernet destination is not ours", \
			"normal on a port in promiscuous mode") \
	_(MALFORMED, malformed, "not a well-formed IP header", "look at the sender") \
	_(IP_CHECKSUM, ip_checksum, "IPv4 header checksum is wrong", \
			"broken hardware, or a virtual peer that leaves checksums: ethtool -K DEV tx off") \
	_(NOT_LINEAR, not_linear, "in several segments, and too large for one", \
			"make mtu of the port larger: buffers follow it") \
	_(TTL, ttl, "TTL or hop limit ran out", "a routing loop, or traceroute") \
	_(NO_POLICY, no_policy, "no policy matches, and the default is drop", \
			"add a selector to a tunnel or a bypass policy; see explain") \
	_(POLICY, policy, "a drop policy matches", "as configured; see show config") \
	_(CLEAR, clear, "arrived in clear, but belongs into a tunnel", \
			"the peer sends in clear what it should encrypt, or spoofed packets") \
	_(SPOOFED, spoofed, "the source is not routed to the port that it came from", \
			"spoofed, or routing is asymmetric: source_check = false") \
	_(ETHERTYPE, ethertype, "neither IP nor ARP, to or from the kernel", \
			"VLAN, PPPoE and MPLS are not supported: an IP packet could hide in them") \
	_(NO_SA, no_sa, "ESP with an SPI that no SA has", \
			"the peer still uses an old SA, or the SPIs of the two ends differ") \
	_(SPI_RESERVED, spi_reserved, "ESP with an SPI from 1 to 255", "not ESP at all; harmless") \
	_(NO_OUT_SA, no_out_sa, "the tunnel has no outbound SA", "add SAs; see show tunnel") \
	_(TUNNEL_DOWN, tunnel_down, "the tunnel is administratively down", "tunnel up NAME") \
	_(KEEPALIVE, keepalive, "NAT keepalive (one byte 0xff), swallowed", "nothing: normal") \
	_(TOO_BIG, too_big, \
			"larger than the path: ICMP error sent unless rate-limited; or than 16 fragments", \
			"normal for path MTU discovery; mss_clamp = true helps TCP") \
	_(NO_ROUTE, no_route, "no route to the destination", "ip route add ... on the port's TAP") \
	_(NO_NEIGHBOUR, no_neighbour, "the next hop's MAC address is not known", \
			"is it up? ip neigh; arping") \
	_(RING_FULL, ring_full, "a hand-off ring had no room", \
			"the other worker is overloaded: better steering, more workers") \
	_(MOVING, moving, "its SA was changing its worker: too many waited, or it did so twice", \
			"rare; often: a worker does not answer, see the log and show workers") \
	_(PUNT_FULL, punt_full, "the ring to the control thread had no room", \
			"too much traffic for the gateway itself; it does not affect transit") \
	_(TX_FULL, tx_full, "the port's transmit queue had no room", \
			"the port is slower than the traffic; tx_desc") \
	_(PORT_GONE, port_gone, "the port is stopped, gone or being reset", \
			"see the log; show ports") \
	_(NO_MBUF, no_mbuf, "no buffer left", \
			"mbufs = ... in the configuration; large packets in fragments: fewer at a time") \
	_(FRAG_LOST, frag_lost, "outer fragment whose others did not come within a second", \
			"fragments get lost on the way; the peer had better send none: DF, PMTU discovery") \
	_(FRAG_BAD, frag_bad, "outer fragments that overlap or contradict each other (RFC 5722)", \
			"look at the sender; more than 65,536 such packets a second mix up, too") \
	_(FRAG_LARGE, frag_large, "more than 16 outer fragments, or bytes than a buffer takes", \
			"the peer had better send smaller packets") \
	_(FRAG_FULL, frag_full, "outer fragment that gave way: too many packets in the making", \
			"a flood of fragments, or many get lost: see frag_lost") \
	_(FRAG_COPY, frag_copy, "second copy of an outer fragment that is there", \
			"harmless; something on the way sends packets twice")

/* clang-format on */

enum gw_drop {
#define _(id, name, what, remedy) GW_DROP_##id,
	GW_FOREACH_DROP(_)
#undef _
	GW_N_DROPS
};

struct gw_drop_info {
	const char *name;
	const char *what;
	const char *remedy;
};

extern const struct gw_drop_info gw_drop_info[GW_N_DROPS];

struct gw_counter_info {
	const char *name;
	const char *what;
};

enum gw_counter {
#define _(name, what) GW_COUNTER_##name,
	GW_FOREACH_COUNTER(_)
#undef _
	GW_N_COUNTERS
};

extern const struct gw_counter_info gw_counter_info[GW_N_COUNTERS];

/**
 * Every member is a uint64_t, in the order of enum gw_counter: control reads it as an array
 * too.
 */
struct gw_counters {
#define _(name, what) uint64_t name;
	GW_FOREACH_COUNTER(_)
#undef _
	uint64_t drop[GW_N_DROPS];
	uint64_t esp_drop[IPSEC_PCPU_N_DROPS];
};

#endif /* COUNTERS_H */
