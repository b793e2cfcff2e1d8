/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * HOT. Clear packets: flow -> policy (whole burst) -> by tunnel -> own SA, else
 * the worker that encrypts for us -> encap -> next hop.
 */

#include "decide.h"
#include "send.h"

/** The packets of a burst whose verdict is not noted. */
struct misses {
	uint16_t n;
	uint8_t at[GW_BURST]; /* which, in the burst */
	struct gw_flow_entry *slot[GW_BURST]; /* where to note it; NULL: nowhere */
	struct gw_flow_key key[GW_BURST];
};

static void
miss(struct misses *misses, uint16_t at, struct gw_flow_entry *slot, const struct gw_flow_key *key)
{
	misses->at[misses->n] = at;
	misses->slot[misses->n] = slot;
	misses->key[misses->n++] = *key;
}

/** Does the last answer fit all packets of a burst? Of many flows the first packet tells. */
static inline bool
all_like_last(const struct gw_worker *w, struct rte_mbuf *const pkts[], uint16_t n, uint64_t tag)
{
	bool same = true;

	for (unsigned int i = 0; same && i < n; i++)
		same = gw_flow_key_is_of(&w->last_out.key,
				rte_pktmbuf_mtod(pkts[i], const uint8_t *), pkts[i]->data_len, tag);
	return same;
}

/** Ask the policy, for all of those together, and note what it says. */
static __attribute__((noinline)) void
ask_policy(struct gw_worker *w, uint8_t port, struct rte_mbuf *const pkts[],
		const struct misses *misses, struct gw_verdict v[])
{
	struct gw_flow flow[GW_BURST];
	const struct gw_flow *flows[GW_BURST];
	struct gw_verdict got[GW_BURST];

	for (uint16_t k = 0; k < misses->n; k++) {
		const struct rte_mbuf *m = pkts[misses->at[k]];

		gw_flow_parse(&flow[k], rte_pktmbuf_mtod(m, const void *), m->data_len);
		flows[k] = &flow[k];
	}
	gw_policy_lookup(w->view->policy, flows, got, misses->n);
	for (uint16_t k = 0; k < misses->n; k++) {
		struct gw_verdict *to = &v[misses->at[k]];

		*to = gw_verdict_on_port(w->view, &flow[k], got[k], port);
		if (likely(misses->slot[k] != NULL))
			gw_flow_cache_add(w->flow_cache, misses->slot[k], &misses->key[k], *to);
	}
}

/**
 * The verdicts of a burst: those of its flows that are noted, one look-up for all others.
 * What is noted is often not in the first cache; but the CPU is ahead by several packets.
 */
static void
look_up(struct gw_worker *w, uint8_t port, struct rte_mbuf *const pkts[], struct gw_verdict v[],
		uint16_t n)
{
	uint64_t tag = gw_flow_tag(port, w->view_no);
	struct gw_flow_entry *slot = NULL;
	struct misses misses;
	struct gw_flow_key key;

	misses.n = 0;
	for (uint16_t i = 0; i < n; i++) {
		const struct gw_verdict *known = NULL;

		slot = NULL;
		if (likely(gw_flow_key_read(&key, rte_pktmbuf_mtod(pkts[i], const uint8_t *),
				    pkts[i]->data_len, tag))) {
			slot = gw_flow_cache_slot(w->flow_cache, &key);
			known = gw_flow_cache_find(w->flow_cache, slot, &key);
		}
		if (likely(known != NULL))
			v[i] = *known;
		else
			miss(&misses, i, slot, &key);
	}
	if (unlikely(misses.n > 0))
		ask_policy(w, port, pkts, &misses, v);
	if (likely(slot != NULL))
		w->last_out = (struct gw_flow_entry){.key = key, .verdict = v[n - 1]};
}

/** Is the packet ready for its tunnel: tunnel up, TTL and size right? If not, it is dealt with. */
static inline bool
prepare(struct gw_worker *w, const struct gw_port_view *port, uint16_t tunnel, struct rte_mbuf *m)
{
	const struct gw_tunnel_view *tv = &w->view->tunnel[tunnel];

	if (unlikely(!tv->up)) {
		gw_drop(w, m, GW_DROP_TUNNEL_DOWN);
		return false;
	}
	if (unlikely(!gw_ttl_dec(m))) {
		gw_refuse(w, m, GW_ICMP_TIME_EXCEEDED, 0, GW_DROP_TTL, &port->icmp4, &port->icmp6);
		return false;
	}
	if (unlikely(w->view->mss_clamp))
		gw_mss_clamp_to(m, tv->inner_mtu);
	if (unlikely(m->data_len > tv->inner_mtu)) {
		gw_too_big(w, tunnel, m, &port->icmp4, &port->icmp6);
		return false;
	}
	return true;
}

/** The SA of a tunnel that we encrypt with; NULL: another worker has it. */
static inline struct ipsec_pcpu_sa *
own_sa(struct gw_worker *w, uint16_t tunnel, bool handed, const struct rte_mbuf *m)
{
	const struct gw_sa_out *out = &w->sa_out[tunnel];

	/* the fallback SA for workers without one of their own, us or those that hand off */
	if (unlikely((handed || out->sa == NULL) && out->fallback != NULL)) {
		if (!handed)
			gw_want(w, tunnel, m);
		return out->fallback;
	}
	return out->sa;
}

/** Count what was encrypted, and drop the rest: @p bytes: of all @p n packets before that. */
static inline void
count_encap(struct gw_worker *w, struct rte_mbuf *pkts[], uint16_t done, uint16_t n, uint64_t bytes,
		const uint8_t reason[])
{
	for (uint16_t i = done; unlikely(i < n); i++)
		bytes -= pkts[i]->data_len;
	if (unlikely(done < n))
		gw_drop_esp(w, pkts + done, reason + done, n - done);
	w->counters.encap += done;
	w->counters.encap_bytes += bytes;
}

static inline uint64_t
sum_bytes(struct rte_mbuf *const pkts[], uint16_t n)
{
	uint64_t bytes = 0;

	for (uint16_t i = 0; i < n; i++)
		bytes += pkts[i]->data_len;
	return bytes;
}

/** UDP over IPv6: its checksum is made by the port that they go to, or else here. */
static __attribute__((noinline)) void
udp_checksums(const struct gw_worker *w, const struct gw_nexthop *nh, struct rte_mbuf *pkts[],
		uint16_t n)
{
	if (nh->kind != GW_NH_ETHER || !w->view->port[nh->port].udp_cksum) {
		ipsec_pcpu_udp_cksum(pkts, n);
		return;
	}
	for (uint16_t i = 0; i < n; i++)
		pkts[i]->l2_len = sizeof(struct rte_ether_hdr); /* which gw_send_burst() adds */
}

void
gw_encap(struct gw_worker *w, uint16_t tunnel, struct rte_mbuf *pkts[], uint16_t n, bool handed)
{
	struct ipsec_pcpu_sa *sa = own_sa(w, tunnel, handed, pkts[0]);
	const struct gw_nexthop *nh;
	uint8_t reason[GW_BURST];
	uint64_t bytes;
	uint16_t done;

	if (unlikely(sa == NULL)) {
		gw_encap_elsewhere(w, tunnel, pkts, n, handed);
		gw_lap(&w->cycles, GW_STAGE_handoff);
		return;
	}
	bytes = sum_bytes(pkts, n);
	gw_lap(&w->cycles, GW_STAGE_policy);
	done = ipsec_pcpu_encap_burst(w->ctx, sa, pkts, n, reason);
	nh = &w->view->nh[w->view->tunnel[tunnel].nh];
	if (unlikely(done > 0 && ipsec_pcpu_lacks_udp_cksum(pkts[0])))
		udp_checksums(w, nh, pkts, done);
	gw_lap_sa(w, GW_STAGE_encap, sa, n);
	gw_send_burst(w, nh, pkts, done);
	count_encap(w, pkts, done, n, bytes, reason);
	gw_lap(&w->cycles, GW_STAGE_forward);
}

/** Send packets for the same router, of as many tunnels as you like. */
static inline void
send_run(struct gw_worker *w, const struct gw_nexthop *nh, struct rte_mbuf *pkts[], uint16_t n)
{
	uint64_t flags = 0;

	for (uint16_t i = 0; i < n; i++)
		flags |= pkts[i]->ol_flags;
	if (unlikely(flags & RTE_MBUF_F_TX_UDP_CKSUM))
		udp_checksums(w, nh, pkts, n);
	gw_send_burst(w, nh, pkts, n);
}

/** Send what was encrypted; packets in a row to the same router together. */
static inline void
send_mixed(struct gw_worker *w, struct rte_mbuf *pkts[], const uint8_t from[],
		const uint16_t tunnel[], uint16_t n)
{
	const struct gw_view *v = w->view;
	uint32_t nh = 0;
	uint16_t sent = 0;

	for (uint16_t i = 0; i < n; i++) {
		uint32_t next = v->tunnel[tunnel[from[i]]].nh;

		if (unlikely(next != nh)) {
			if (i > sent)
				send_run(w, &v->nh[nh], pkts + sent, i - sent);
			sent = i;
			nh = next;
		}
	}
	if (likely(n > sent))
		send_run(w, &v->nh[nh], pkts + sent, n - sent);
}

/** Packets whose SAs another worker has are dealt with; the SAs of the others, and their bytes. */
static inline uint16_t
find_sas(struct gw_worker *w, struct rte_mbuf *pkts[], uint16_t tunnel[], uint16_t n,
		struct ipsec_pcpu_sa *sa[], uint64_t *bytes)
{
	uint16_t own = 0;

	for (uint16_t i = 0; i < n; i++) {
		struct ipsec_pcpu_sa *found = own_sa(w, tunnel[i], false, pkts[i]);

		if (unlikely(found == NULL)) {
			gw_encap_elsewhere(w, tunnel[i], &pkts[i], 1, false);
			continue;
		}
		ipsec_pcpu_sa_prefetch(found);
		*bytes += pkts[i]->data_len;
		sa[own] = found;
		pkts[own] = pkts[i];
		tunnel[own++] = tunnel[i];
	}
	return own;
}

/** Encrypt packets for several tunnels, and send them. */
static void
encap_mixed(struct gw_worker *w, struct rte_mbuf *pkts[], uint16_t tunnel[], uint16_t n)
{
	struct ipsec_pcpu_sa *sa[GW_BURST];
	uint8_t reason[GW_BURST];
	uint8_t from[GW_BURST];
	uint64_t bytes = 0;
	uint16_t done;

	n = find_sas(w, pkts, tunnel, n, sa, &bytes);
	if (unlikely(n == 0))
		return;
	gw_lap(&w->cycles, GW_STAGE_policy);
	done = ipsec_pcpu_encap_mixed(w->ctx, sa, pkts, n, from, reason);
	gw_lap_sas(w, GW_STAGE_encap, sa, n);
	send_mixed(w, pkts, from, tunnel, done);
	count_encap(w, pkts, done, n, bytes, reason);
	gw_lap(&w->cycles, GW_STAGE_forward);
}

/** A burst that is all for one tunnel. */
static void
encap_all(struct gw_worker *w, const struct gw_port_view *port, uint16_t tunnel,
		struct rte_mbuf *pkts[], uint16_t n)
{
	uint16_t ready = 0;

	for (uint16_t i = 0; i < n; i++)
		if (likely(prepare(w, port, tunnel, pkts[i])))
			pkts[ready++] = pkts[i];
	if (likely(ready > 0))
		gw_encap(w, tunnel, pkts, ready, false);
}

/** Those that go into no tunnel are dealt with; which tunnels the others go into. */
static inline uint16_t
sort_out(struct gw_worker *w, const struct gw_port_view *port, struct rte_mbuf *pkts[],
		struct gw_verdict verdict[], uint16_t n, uint16_t tunnel[])
{
	struct rte_mbuf *other[GW_BURST];
	uint16_t n_tunnel = 0, n_other = 0;

	for (uint16_t i = 0; i < n; i++) {
		if (unlikely(verdict[i].action != GW_ACTION_TUNNEL)) {
			other[n_other] = pkts[i];
			verdict[n_other++] = verdict[i];
		} else if (likely(prepare(w, port, verdict[i].tunnel, pkts[i]))) {
			pkts[n_tunnel] = pkts[i];
			tunnel[n_tunnel++] = verdict[i].tunnel;
		}
	}
	if (unlikely(n_other > 0)) {
		gw_lap(&w->cycles, GW_STAGE_policy);
		gw_not_tunnelled(w, port, other, verdict, n_other);
		gw_lap(&w->cycles, GW_STAGE_forward);
	}
	return n_tunnel;
}

/** Is all of it for one tunnel? Often: many flows, one site. */
static inline bool
all_for_one(const uint16_t tunnel[], uint16_t n)
{
	uint16_t differ = 0;

	for (uint16_t i = 1; i < n; i++)
		differ |= tunnel[i] ^ tunnel[0];
	return differ == 0;
}

void
gw_outbound(struct gw_worker *w, uint8_t port_idx, struct rte_mbuf *pkts[], uint16_t n, bool handed)
{
	const struct gw_port_view *port = &w->view->port[port_idx];
	struct gw_verdict verdict[GW_BURST];
	uint16_t tunnel[GW_BURST];

	if (unlikely(port->n_rxq < w->n_workers && !handed)) {
		n = gw_spread(w, port_idx, pkts, n);
		if (n == 0)
			return;
	}
	if (likely(w->last_out.verdict.action == GW_ACTION_TUNNEL &&
			    all_like_last(w, pkts, n, gw_flow_tag(port_idx, w->view_no)))) {
		encap_all(w, port, w->last_out.verdict.tunnel, pkts, n);
		return;
	}
	look_up(w, port_idx, pkts, verdict, n);
	n = sort_out(w, port, pkts, verdict, n, tunnel);
	if (unlikely(n == 0))
		return;
	if (all_for_one(tunnel, n))
		gw_encap(w, tunnel[0], pkts, n, false);
	else
		encap_mixed(w, pkts, tunnel, n);
}
