/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Making, checking and reading SAs and contexts: all that happens once for an
 * SA or on another thread's request, not for each packet.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <rte_ip.h>
#include <rte_prefetch.h>
#include <rte_udp.h>

#include "outer.h"
#include "sa.h"

#define MAX_DSCP 63
#define MAX_FLOW_LABEL 0xfffff

static bool
algo_is_ours(const struct ipsec_pcpu_algo *algo)
{
	const struct ipsec_pcpu_algo *a;

	for (unsigned int i = 0; (a = ipsec_pcpu_algo_get(i)) != NULL; i++)
		if (a == algo)
			return true;
	return false;
}

static bool
addr_is_unset(uint8_t family, const union ipsec_pcpu_addr *addr)
{
	static const union ipsec_pcpu_addr unset;

	if (family == AF_INET)
		return addr->ip4 == 0;
	return memcmp(addr->ip6, unset.ip6, sizeof(unset.ip6)) == 0;
}

static const char *
check_inbound(const struct ipsec_pcpu_sa_params *prm)
{
	if (prm->replay_window > IPSEC_PCPU_MAX_REPLAY_WINDOW)
		return "replay_window must be 4096 packets or less";
	if (prm->replay_window % REPLAY_WORD_BITS != 0)
		return "replay_window must be a multiple of 64 packets";
	return NULL;
}

static const char *
check_outbound(const struct ipsec_pcpu_sa_params *prm)
{
	if (addr_is_unset(prm->family, &prm->saddr))
		return "the outer source address is not set";
	if (addr_is_unset(prm->family, &prm->daddr))
		return "the outer destination address is not set";
	if (prm->ttl == 0)
		return "the outer TTL must be 1 or more";
	if (prm->dscp < IPSEC_PCPU_DSCP_COPY || prm->dscp > MAX_DSCP)
		return "the outer DSCP must be 0 to 63, or copied from the inner packet";
	if (prm->df != IPSEC_PCPU_DF_COPY && prm->df != IPSEC_PCPU_DF_SET &&
			prm->df != IPSEC_PCPU_DF_CLEAR)
		return "the outer DF bit must be copied, set or cleared";
	if (prm->flow_label > MAX_FLOW_LABEL)
		return "the outer flow label has 20 bits";
	if (prm->seq_limit != 0 && prm->seq_limit < prm->seq)
		return "seq_limit lies before the last sequence number that was sent";
	return NULL;
}

static const char *
check(const struct ipsec_pcpu_sa_params *prm)
{
	if (prm->dir != IPSEC_PCPU_IN && prm->dir != IPSEC_PCPU_OUT)
		return "an SA is either inbound or outbound";
	if (prm->spi < IPSEC_PCPU_MIN_SPI)
		return "the SPI must be 256 or more: lower ones are reserved (RFC 4303)";
	if (prm->algo == NULL)
		return "there is no algorithm";
	if (!algo_is_ours(prm->algo))
		return "the algorithm is not one of the library's table";
	if (prm->family != AF_INET && prm->family != AF_INET6)
		return "the outer addresses must be IPv4 or IPv6";
	if ((prm->encap_sport == 0) != (prm->encap_dport == 0))
		return "UDP encapsulation needs both ports, encap_sport and encap_dport";
	if (!prm->esn && prm->seq > UINT32_MAX)
		return "a sequence number above 2^32 - 1 needs extended ones (esn)";
	return prm->dir == IPSEC_PCPU_IN ? check_inbound(prm) : check_outbound(prm);
}

int
ipsec_pcpu_sa_check(const struct ipsec_pcpu_sa_params *prm, const char **reason)
{
	const char *why = check(prm);

	if (why == NULL)
		return 0;
	if (reason != NULL)
		*reason = why;
	return -EINVAL;
}

static uint8_t
params_udp_len(const struct ipsec_pcpu_sa_params *prm)
{
	return prm->encap_dport != 0 ? sizeof(struct rte_udp_hdr) : 0;
}

static uint8_t
params_l3_len(const struct ipsec_pcpu_sa_params *prm)
{
	return prm->family == AF_INET ? sizeof(struct rte_ipv4_hdr) : sizeof(struct rte_ipv6_hdr);
}

uint32_t
ipsec_pcpu_sa_inner_mtu(const struct ipsec_pcpu_sa_params *prm, uint32_t mtu)
{
	uint32_t head = params_l3_len(prm) + params_udp_len(prm) + 8 + prm->algo->iv_len;
	uint32_t text;

	if (mtu < head + prm->algo->icv_len)
		return 0;
	text = RTE_ALIGN_FLOOR(mtu - head - prm->algo->icv_len, (uint32_t)prm->algo->align);
	return text > 2 ? text - 2 : 0; /* pad length and next header */
}

size_t
ipsec_pcpu_sa_size(void)
{
	return sizeof(struct ipsec_pcpu_sa);
}

/** Sum of 16-bit words, for the checksum of each packet to start from. */
static uint32_t
sum_words(const uint8_t *p, size_t len)
{
	uint32_t sum = 0;
	uint16_t word;

	for (size_t i = 0; i < len; i += sizeof(word)) {
		memcpy(&word, p + i, sizeof(word));
		sum += word;
	}
	return sum;
}

/** Of what the checksum of the outer headers starts from: all that is the same in each packet. */
static uint32_t
template_sum(const struct ipsec_pcpu_sa *sa)
{
	const size_t addrs = offsetof(struct rte_ipv6_hdr, src_addr);

	if (sa->version == 4)
		return sum_words(sa->outer, sizeof(struct rte_ipv4_hdr));
	return sum_words(sa->outer + addrs, sizeof(struct rte_ipv6_hdr) - addrs) +
			RTE_BE16(IPPROTO_UDP);
}

static void
template_udp(struct rte_udp_hdr *udp, const struct ipsec_pcpu_sa_params *prm)
{
	udp->src_port = rte_cpu_to_be_16(prm->encap_sport);
	udp->dst_port = rte_cpu_to_be_16(prm->encap_dport);
}

static void
template_ip4(struct rte_ipv4_hdr *ip, const struct ipsec_pcpu_sa_params *prm, uint8_t proto)
{
	ip->version_ihl = RTE_IPV4_VHL_DEF;
	ip->time_to_live = prm->ttl;
	ip->next_proto_id = proto;
	ip->src_addr = prm->saddr.ip4;
	ip->dst_addr = prm->daddr.ip4;
}

static void
template_ip6(struct rte_ipv6_hdr *ip, const struct ipsec_pcpu_sa_params *prm, uint8_t proto)
{
	ip->vtc_flow = rte_cpu_to_be_32(UINT32_C(6) << 28 | prm->flow_label);
	ip->proto = proto;
	ip->hop_limits = prm->ttl;
	/* an array up to DPDK 24.07, a structure since */
	memcpy(&ip->src_addr, prm->saddr.ip6, sizeof(ip->src_addr));
	memcpy(&ip->dst_addr, prm->daddr.ip6, sizeof(ip->dst_addr));
}

static void
sa_init_outbound(struct ipsec_pcpu_sa *sa, const struct ipsec_pcpu_sa_params *prm)
{
	uint8_t l3_len = params_l3_len(prm);
	uint8_t proto = sa->udp_len != 0 ? IPPROTO_UDP : IPPROTO_ESP;

	if (sa->version == 4)
		template_ip4((struct rte_ipv4_hdr *)sa->outer, prm, proto);
	else
		template_ip6((struct rte_ipv6_hdr *)sa->outer, prm, proto);
	if (sa->udp_len != 0)
		template_udp((struct rte_udp_hdr *)(sa->outer + l3_len), prm);
	sa->outer_sum = template_sum(sa);
	sa->tx_offload = rte_mbuf_tx_offload(0, l3_len, sa->udp_len, 0, 0, 0, 0);
	sa->tos_mask = OUTER_ECN_MASK;
	if (prm->dscp == IPSEC_PCPU_DSCP_COPY)
		sa->tos_mask |= OUTER_DSCP_MASK;
	else
		sa->tos_fixed = (uint8_t)(prm->dscp << 2);
	if (prm->df == IPSEC_PCPU_DF_COPY)
		sa->df_mask = OUTER_DF;
	else if (prm->df == IPSEC_PCPU_DF_SET)
		sa->df_fixed = OUTER_DF;
	ipsec_pcpu_sa_set_seq_limit(sa, prm->seq_limit);
}

int
ipsec_pcpu_sa_init(struct ipsec_pcpu_ctx *ctx, struct ipsec_pcpu_sa *sa,
		const struct ipsec_pcpu_sa_params *prm)
{
	const struct ipsec_pcpu_algo *algo = prm->algo;

	if (check(prm) != NULL)
		return -EINVAL;
	memset(sa, 0, sizeof(*sa));
	sa->aead = aead_get(algo);
	sa->dir = prm->dir;
	sa->spi = rte_cpu_to_be_32(prm->spi);
	memcpy(&sa->salt, prm->key + algo->key_len - algo->salt_len, sizeof(sa->salt));
	sa->esn = prm->esn;
	sa->aad_len = prm->esn ? 12 : 8;
	sa->icv_len = algo->icv_len;
	sa->pad_mask = algo->align - 1;
	sa->version = prm->family == AF_INET ? 4 : 6;
	sa->udp_len = params_udp_len(prm);
	sa->outer_len = params_l3_len(prm) + sa->udp_len;
	sa->seq = prm->seq;
	sa->landed = IPSEC_PCPU_ANY;
	sa->hard_packets = prm->hard_packets != 0 ? prm->hard_packets : UINT64_MAX;
	sa->hard_bytes = prm->hard_bytes != 0 ? prm->hard_bytes : UINT64_MAX;
	if (prm->dir == IPSEC_PCPU_OUT)
		sa_init_outbound(sa, prm);
	else
		replay_init(&sa->replay, sa->seen, prm->replay_window, prm->seq);
	sa->aead->expand(ctx, sa, prm->key);
	return 0;
}

void
ipsec_pcpu_sa_fini(struct ipsec_pcpu_sa *sa)
{
	explicit_bzero(sa, sizeof(*sa));
}

void
ipsec_pcpu_sa_own(struct ipsec_pcpu_sa *sa, const struct ipsec_pcpu_ctx *ctx)
{
	__atomic_store_n(&sa->owner, ctx, __ATOMIC_RELAXED);
}

void
ipsec_pcpu_sa_prefetch(const struct ipsec_pcpu_sa *sa)
{
	const uint8_t *key = (const uint8_t *)&sa->key;

	rte_prefetch0(sa);
	rte_prefetch0(sa->outer);
	rte_prefetch0(&sa->seq);
	/* round keys, and of GCM the hash key's powers that small packets take: the last */
	for (size_t at = 0; at < 4 * RTE_CACHE_LINE_SIZE; at += RTE_CACHE_LINE_SIZE)
		rte_prefetch0(key + at);
	rte_prefetch0(key + sizeof(sa->key) - 1);
	rte_prefetch0(key + sizeof(sa->key) - 1 - RTE_CACHE_LINE_SIZE);
}

void
ipsec_pcpu_sa_set_seq_limit(struct ipsec_pcpu_sa *sa, uint64_t seq_limit)
{
	uint64_t end = sa->esn ? UINT64_MAX : UINT32_MAX;

	sa->seq_end = seq_limit != 0 ? RTE_MIN(end, seq_limit) : end;
}

void
ipsec_pcpu_sa_count_drop(struct ipsec_pcpu_sa *sa, enum ipsec_pcpu_drop reason, uint16_t n)
{
	counter_add(&sa->drops[reason], n);
}

void
ipsec_pcpu_sa_count_foreign(struct ipsec_pcpu_sa *sa, uint16_t n, uint32_t landed)
{
	counter_add(&sa->foreign, n);
	__atomic_store_n(&sa->landed, landed, __ATOMIC_RELAXED);
}

void
ipsec_pcpu_sa_count_cycles(struct ipsec_pcpu_sa *sa, uint64_t cycles, uint16_t n)
{
	counter_add(&sa->cycles, cycles);
	counter_add(&sa->timed, n);
}

/** Sequence numbers that the top has passed and no packet came with. */
static uint64_t
lost(const struct ipsec_pcpu_sa *sa, uint64_t top)
{
	uint64_t accepted = __atomic_load_n(&sa->replay.accepted, __ATOMIC_RELAXED);
	uint64_t passed = top - sa->seq;

	/* without a window, duplicates are accepted too */
	return passed > accepted ? passed - accepted : 0;
}

void
ipsec_pcpu_sa_stats(const struct ipsec_pcpu_sa *sa, struct ipsec_pcpu_sa_stats *stats)
{
	const uint64_t *seq = sa->dir == IPSEC_PCPU_OUT ? &sa->seq : &sa->replay.top;

	stats->packets = __atomic_load_n(&sa->packets, __ATOMIC_RELAXED);
	stats->bytes = __atomic_load_n(&sa->bytes, __ATOMIC_RELAXED);
	stats->seq = __atomic_load_n(seq, __ATOMIC_RELAXED);
	stats->lost = sa->dir == IPSEC_PCPU_IN ? lost(sa, stats->seq) : 0;
	stats->displaced = __atomic_load_n(&sa->replay.displaced, __ATOMIC_RELAXED);
	stats->foreign = __atomic_load_n(&sa->foreign, __ATOMIC_RELAXED);
	stats->landed = __atomic_load_n(&sa->landed, __ATOMIC_RELAXED);
	stats->cycles = __atomic_load_n(&sa->cycles, __ATOMIC_RELAXED);
	stats->timed = __atomic_load_n(&sa->timed, __ATOMIC_RELAXED);
	for (unsigned int i = 0; i < IPSEC_PCPU_N_DROPS; i++)
		stats->drops[i] = __atomic_load_n(&sa->drops[i], __ATOMIC_RELAXED);
}

__attribute__((cold)) void
burst_drop_all(struct ipsec_pcpu_ctx *ctx, struct ipsec_pcpu_sa *sa, struct rte_mbuf *const pkts[],
		uint16_t n, enum ipsec_pcpu_drop reason)
{
	for (uint16_t i = 0; i < n; i++)
		burst_drop(ctx, sa, pkts[i], i, reason);
}

__attribute__((cold)) void
burst_assert_owner(void)
{
#ifdef IPSEC_PCPU_OWNER_ASSERTS
	abort();
#endif
}

__attribute__((cold)) void
burst_drop_foreign(struct ipsec_pcpu_ctx *ctx, struct ipsec_pcpu_sa *sa,
		struct rte_mbuf *const pkts[], uint16_t n)
{
	burst_assert_owner();
	/* The owner never writes this counter, so it loses none of its own counts. */
	burst_drop_all(ctx, sa, pkts, n, IPSEC_PCPU_DROP_NOT_OWNER);
}

__attribute__((cold)) void
burst_append(const struct ipsec_pcpu_ctx *ctx, struct rte_mbuf *pkts[], uint16_t done,
		uint8_t from[], uint8_t drop[])
{
	memcpy(pkts + done, ctx->dropped, ctx->n_dropped * sizeof(pkts[0]));
	memcpy(drop + done, ctx->reason, ctx->n_dropped);
	if (from != NULL)
		memcpy(from + done, ctx->dropped_from, ctx->n_dropped);
}
