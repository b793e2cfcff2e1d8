/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef IPSEC_PCPU_H
#define IPSEC_PCPU_H

/**
 * @file ipsec_pcpu.h
 *
 * ESP tunnel mode (RFC 4303) with one SA per CPU (RFC 9611).
 *
 * Ownership: an SA, an SAD and a context each belong to exactly one thread,
 * the owner. Functions marked "owner" are called by that thread only; those
 * marked "any thread" may be called by all. There are no locks and no atomic
 * read-modify-write operations.
 *
 * Memory: the caller provides it (see the _size() and _init() pairs), so it
 * decides the NUMA node. No function allocates, logs, reads a clock, or frees
 * an mbuf. rte_eal_init() is not needed.
 *
 * Byte order: host order, but for rte_be*_t.
 *
 * Errors: functions that return int return 0, or a negative errno value.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rte_branch_prediction.h>
#include <rte_byteorder.h>
#include <rte_common.h>
#include <rte_mbuf.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

#define IPSEC_PCPU_MAX_BURST 64
#define IPSEC_PCPU_MAX_KEY 36
#define IPSEC_PCPU_MAX_REPLAY_WINDOW 4096

/** Bytes that encapsulation may put before a packet: IPv6, UDP, ESP, IV. */
#define IPSEC_PCPU_MAX_HEAD (40 + 8 + 8 + 8)
/** Bytes that encapsulation may put after a packet: padding, trailer, ICV; whole words. */
#define IPSEC_PCPU_MAX_TAIL (16 + 2 + 16 + 14)

/** The value of @ref ipsec_pcpu_sa_params.pcpu for the fallback SA: any CPU. */
#define IPSEC_PCPU_ANY UINT32_MAX

/** Lowest SPI of an SA: 0 is never ESP, 1 to 255 are reserved (RFC 4303 2.1). */
#define IPSEC_PCPU_MIN_SPI 256

struct ipsec_pcpu_ctx; /**< Crypto state and scratch space of one thread. */
struct ipsec_pcpu_sa; /**< One SA: one SPI, one direction, one owner. */

enum ipsec_pcpu_dir {
	IPSEC_PCPU_IN,
	IPSEC_PCPU_OUT,
};

/** One row of the algorithm table. */
struct ipsec_pcpu_algo {
	const char *name; /**< Ours and strongSwan's: "aes128gcm16". */
	const char *xfrm_name; /**< Linux's: "rfc4106(gcm(aes))". */
	uint8_t key_len; /**< Bytes of keying material, with the salt. */
	uint8_t salt_len; /**< Bytes of it that are the salt, at its end. */
	uint8_t iv_len; /**< Bytes of IV in each packet. */
	uint8_t icv_len; /**< Bytes of ICV in each packet. */
	uint8_t align; /**< The ciphertext is padded to a multiple of this. */
	uint8_t family; /**< Private: which aead_*.c does the work. */
};

/**
 * Reasons to drop a packet: name, the Linux counter of the same meaning
 * (/proc/net/xfrm_stat), what happened, what to do about it.
 */
#define IPSEC_PCPU_FOREACH_DROP(_) \
	_(TOO_SHORT, "too_short", "XfrmInHdrError", "shorter than an ESP packet of this SA", \
			"look at the peer and at the path: something cuts packets") \
	_(REPLAYED, "replayed", "XfrmInStateSeqError", "sequence number seen before", \
			"duplicates on the path, or a replay attack; harmless") \
	_(TOO_OLD, "too_old", "XfrmInStateSeqError", "sequence number left of the replay window", \
			"heavy reordering: make replay_window larger") \
	_(INTEGRITY, "integrity", "XfrmInStateProtoError", "the ICV does not hold", \
			"key, salt, algorithm or ESN differ between the two ends, or forged packets") \
	_(PADDING, "padding", "XfrmInStateProtoError", \
			"authentic, but padding is not 1, 2, 3, ...", \
			"the peer's ESP implementation pads wrongly") \
	_(NEXT_HEADER, "next_header", "XfrmInStateModeError", \
			"authentic, but not an IPv4 or IPv6 packet inside", \
			"the peer uses another mode (transport, BEET): set it to tunnel mode") \
	_(INNER, "inner", "XfrmInHdrError", \
			"authentic, but the inner IP header is not well-formed", \
			"the peer sends broken packets into the tunnel") \
	_(DUMMY, "dummy", "-", "dummy packet (next header 59, RFC 4303 2.6)", \
			"nothing: the peer hides its traffic pattern") \
	_(ENCAP, "encap", "XfrmInStateMismatch", \
			"UDP encapsulated for a plain SA, or plain for an encapsulated one", \
			"set the encap ports at both ends, or at neither") \
	_(SELECTOR, "selector", "XfrmInTmplMismatch", \
			"authentic, but the inner addresses do not belong to the tunnel", \
			"compare the selectors of both ends") \
	_(ECN, "ecn", "-", "outer header marked CE, inner one not ECN-capable (RFC 6040 4.2)", \
			"a router on the path marks packets that are not ECN-capable") \
	_(NO_ROOM, "no_room", "XfrmOutError", "no room in the buffer, or not one segment", \
			"a bug, or a port whose mbufs are too small for its MTU") \
	_(TOO_BIG, "too_big", "XfrmOutError", "larger than an IP packet may be once encapsulated", \
			"lower the MTU of the clear side") \
	_(SEQ_OVERFLOW, "seq_overflow", "XfrmOutStateSeqError", "sequence numbers used up", \
			"make a new SA; use esn = true") \
	_(SEQ_RESERVE, "seq_reserve", "XfrmOutStateSeqError", \
			"end of the reserved sequence numbers", \
			"look at the state file: is its disk full, slow or read-only?") \
	_(EXPIRED, "expired", "XfrmOutStateExpired", "hard lifetime of the SA reached", \
			"make a new SA") \
	_(NOT_OWNER, "not_owner", "-", "the SA belongs to another thread", "a bug: report it") \
	_(CRYPTO, "crypto", "XfrmInStateProtoError", "the crypto library refused the packet", \
			"a bug, or an intel-ipsec-mb that does not fit this build: report it")

enum ipsec_pcpu_drop {
#define _(id, name, xfrm, what, remedy) IPSEC_PCPU_DROP_##id,
	IPSEC_PCPU_FOREACH_DROP(_)
#undef _
	IPSEC_PCPU_N_DROPS
};

/** One row of the table of drop reasons; see @ref IPSEC_PCPU_FOREACH_DROP. */
struct ipsec_pcpu_drop_info {
	const char *name;
	const char *xfrm_name;
	const char *what;
	const char *remedy;
};

/** The table of drop reasons, by enum ipsec_pcpu_drop. */
extern const struct ipsec_pcpu_drop_info ipsec_pcpu_drop_info[IPSEC_PCPU_N_DROPS];

/** What to put into the outer IPv4 header's DF bit. */
enum ipsec_pcpu_df {
	IPSEC_PCPU_DF_COPY, /**< The inner packet's; set for inner IPv6. */
	IPSEC_PCPU_DF_SET,
	IPSEC_PCPU_DF_CLEAR,
};

/** The value of @ref ipsec_pcpu_sa_params.dscp for: copy the inner packet's. */
#define IPSEC_PCPU_DSCP_COPY (-1)

/** An IPv4 or IPv6 address; @a family of the enclosing structure says which. */
union ipsec_pcpu_addr {
	rte_be32_t ip4;
	uint8_t ip6[16];
};

/** What an SA is made of. The names are those of struct xfrm_state. */
struct ipsec_pcpu_sa_params {
	enum ipsec_pcpu_dir dir;
	uint32_t spi; /**< 256 or more. */
	uint32_t pcpu; /**< Index of the owner, or IPSEC_PCPU_ANY. Not interpreted here. */

	const struct ipsec_pcpu_algo *algo;
	uint8_t key[IPSEC_PCPU_MAX_KEY]; /**< algo->key_len bytes: key, then salt. */

	bool esn; /**< 64-bit sequence numbers (RFC 4303 2.2.1). */
	uint32_t replay_window; /**< Packets, 0 to disable; a multiple of 64. Inbound only. */

	/**
	 * Outbound: the last sequence number that was sent under this key.
	 * Inbound: the highest that was received; all up to it count as seen.
	 * 0 for a fresh key.
	 */
	uint64_t seq;
	/** Outbound: the last sequence number that may be sent; 0: no limit but the counter's. */
	uint64_t seq_limit;

	uint8_t family; /**< Of the outer addresses: AF_INET or AF_INET6. */
	uint8_t ttl; /**< Outer TTL or hop limit, 1 to 255. Outbound only. */
	int8_t dscp; /**< Outer DSCP, 0 to 63, or IPSEC_PCPU_DSCP_COPY. Outbound only. */
	enum ipsec_pcpu_df df; /**< Outer DF. Outbound only. */
	uint32_t flow_label; /**< Outer IPv6 flow label, 20 bits. Outbound only. */
	union ipsec_pcpu_addr saddr;
	union ipsec_pcpu_addr daddr;
	uint16_t encap_sport; /**< UDP encapsulation (RFC 3948); both ports 0: none. */
	uint16_t encap_dport;

	uint64_t hard_packets; /**< Drop from this many packets on; 0: never. */
	uint64_t hard_bytes; /**< Drop from this many bytes of inner packets on; 0: never. */
};

/** Counters of one SA. The owner writes them; any thread may read them. */
struct ipsec_pcpu_sa_stats {
	uint64_t packets;
	uint64_t bytes; /**< Of inner packets, IP header included. */
	uint64_t seq; /**< Last sent, or highest authenticated. */
	uint64_t lost; /**< Inbound: numbers below seq that never came, too late ones included. */
	uint64_t displaced; /**< Inbound: the furthest behind seq that a packet was accepted. */
	uint64_t foreign; /**< Inbound: handed over from another thread; see @a landed. */
	uint32_t landed; /**< Inbound: which thread that was the last time; or IPSEC_PCPU_ANY. */
	uint64_t cycles; /**< What bursts took that the caller timed; the library reads no clock. */
	uint64_t timed; /**< Packets of these bursts, those dropped included. */
	uint64_t drops[IPSEC_PCPU_N_DROPS];
};

/**
 * Find an algorithm. Any thread.
 *
 * @param name
 *   Our name: "aes128gcm16".
 * @return
 *   The row of the table, or NULL where there is none of that name.
 */
const struct ipsec_pcpu_algo *ipsec_pcpu_algo_find(const char *name);

/** The algorithm table, row by row; NULL from the end on. Any thread. */
const struct ipsec_pcpu_algo *ipsec_pcpu_algo_get(unsigned int i);

/**
 * Say whether an SA can be made of these parameters. Any thread.
 *
 * @param prm
 *   The parameters.
 * @param reason
 *   Where to put, on -EINVAL, a sentence for the user (no key material in it).
 *   May be NULL.
 * @return
 *   - 0: they are valid.
 *   - -EINVAL: they are not.
 */
int ipsec_pcpu_sa_check(const struct ipsec_pcpu_sa_params *prm, const char **reason);

/**
 * The largest inner packet whose encapsulated form fits @p mtu. Any thread.
 *
 * @param prm
 *   The parameters of an SA, of either direction.
 * @param mtu
 *   Bytes of the outer IP packet.
 * @return
 *   Bytes of the inner IP packet; 0 where not even an empty one fits.
 */
uint32_t ipsec_pcpu_sa_inner_mtu(const struct ipsec_pcpu_sa_params *prm, uint32_t mtu);

/** Bytes to give ipsec_pcpu_sa_init(), on a cache line. Any thread. */
size_t ipsec_pcpu_sa_size(void);

/**
 * Make an SA: expand the key, build the template of the outer headers, clear
 * the replay window. It has no owner until one calls ipsec_pcpu_sa_own(); to
 * hand an SA over, pass its pointer through an rte_ring.
 *
 * @param ctx
 *   The calling thread's context.
 * @param sa
 *   Memory of ipsec_pcpu_sa_size() bytes, aligned to a cache line.
 * @param prm
 *   The parameters; not referred to after the return.
 * @return
 *   - 0: made.
 *   - -EINVAL: see ipsec_pcpu_sa_check().
 */
int ipsec_pcpu_sa_init(struct ipsec_pcpu_ctx *ctx, struct ipsec_pcpu_sa *sa,
		const struct ipsec_pcpu_sa_params *prm);

/** Wipe the key material. The SA has no owner any more, or the caller is it. */
void ipsec_pcpu_sa_fini(struct ipsec_pcpu_sa *sa);

/**
 * Take an SA over: from now on only the thread of @p ctx passes packets
 * through it. The SA has no owner, or @p ctx is NULL to give it up. A burst
 * with the context of another thread drops all as @ref
 * IPSEC_PCPU_DROP_NOT_OWNER, and aborts in a build with -Downer_asserts=true.
 */
void ipsec_pcpu_sa_own(struct ipsec_pcpu_sa *sa, const struct ipsec_pcpu_ctx *ctx);

/**
 * Fetch into the cache what a packet needs of an SA. For a burst of several SAs, some time before
 * it. Any thread.
 */
void ipsec_pcpu_sa_prefetch(const struct ipsec_pcpu_sa *sa);

/** Move the end of the reserved sequence numbers (see seq_limit). Owner. */
void ipsec_pcpu_sa_set_seq_limit(struct ipsec_pcpu_sa *sa, uint64_t seq_limit);

/** Count @p n packets that the caller drops for a reason found after decapsulation. Owner. */
void ipsec_pcpu_sa_count_drop(struct ipsec_pcpu_sa *sa, enum ipsec_pcpu_drop reason, uint16_t n);

/**
 * Note that @p n packets of a burst that decapsulated well had landed on thread number @p landed,
 * which is not the owner. Owner.
 */
void ipsec_pcpu_sa_count_foreign(struct ipsec_pcpu_sa *sa, uint16_t n, uint32_t landed);

/**
 * Note that a burst of @p n packets took @p cycles, of whatever clock the caller has. It may be
 * one burst of many: the ratio is what counts. Owner.
 */
void ipsec_pcpu_sa_count_cycles(struct ipsec_pcpu_sa *sa, uint64_t cycles, uint16_t n);

/** Read the counters. Any thread; each value is whole, but they are not one snapshot. */
void ipsec_pcpu_sa_stats(const struct ipsec_pcpu_sa *sa, struct ipsec_pcpu_sa_stats *stats);

/** The size of a context, on a cache line. Any thread. */
size_t ipsec_pcpu_ctx_size(void);

/**
 * Make a context, one for each thread that makes SAs or calls the burst
 * functions.
 *
 * @param ctx
 *   Memory of ipsec_pcpu_ctx_size() bytes, aligned to a cache line.
 * @return
 *   - 0: made.
 *   - -ENOTSUP: intel-ipsec-mb does not run on this CPU.
 */
int ipsec_pcpu_ctx_init(struct ipsec_pcpu_ctx *ctx);

/** Wipe what a context knows of keys. Owner. */
void ipsec_pcpu_ctx_fini(struct ipsec_pcpu_ctx *ctx);

/**
 * SHA-256 of @p len bytes, 32 bytes to @p digest: to name a key without
 * showing it. Owner of @p ctx.
 */
void ipsec_pcpu_sha256(struct ipsec_pcpu_ctx *ctx, const void *data, size_t len, uint8_t *digest);

/** The version of intel-ipsec-mb that is in use, as major << 16 | minor << 8 | patch. */
uint32_t ipsec_pcpu_crypto_version(void);

/** What an mbuf says whose UDP checksum, over IPv6, is to be made by the port. */
#define IPSEC_PCPU_TX_UDP_CKSUM (RTE_MBUF_F_TX_IPV6 | RTE_MBUF_F_TX_UDP_CKSUM)

/** Does an encapsulated packet still lack its UDP checksum? */
static inline bool
ipsec_pcpu_lacks_udp_cksum(const struct rte_mbuf *m)
{
	return (m->ol_flags & IPSEC_PCPU_TX_UDP_CKSUM) == IPSEC_PCPU_TX_UDP_CKSUM;
}

/**
 * Make the UDP checksums that encapsulation has left, of packets that start with their outer IP
 * header; others stay as they are. For ports without RTE_ETH_TX_OFFLOAD_UDP_CKSUM.
 * The thread that has the packets.
 */
void ipsec_pcpu_udp_cksum(struct rte_mbuf *const pkts[], uint16_t n);

/**
 * Encapsulate and encrypt. Owner of @p ctx and @p sa.
 *
 * Each packet starts with its inner IPv4 or IPv6 header (no Ethernet header),
 * has its checksums in place, is one segment that ends with the IP packet
 * (no Ethernet padding), and has IPSEC_PCPU_MAX_HEAD bytes before and
 * IPSEC_PCPU_MAX_TAIL after it. It ends up starting with its outer IP header,
 * l2_len 0, l3_len that of the outer IP header, l4_len that of UDP or 0.
 *
 * UDP over IPv6 lacks its checksum (RFC 8200 8.1), which most NICs make for nothing:
 * the mbuf says so as rte_ethdev wants it, but for l2_len. Where the port does not make it,
 * ipsec_pcpu_udp_cksum() does.
 *
 * @param ctx
 *   The calling thread's context.
 * @param sa
 *   An outbound SA.
 * @param pkts
 *   The packets; on return, those done, in their order, then those dropped.
 * @param n
 *   How many: 1 to IPSEC_PCPU_MAX_BURST.
 * @param drop
 *   For each i from the return value to @p n - 1 the reason (enum
 *   ipsec_pcpu_drop) why pkts[i] was dropped. Room for @p n values.
 * @return
 *   How many were done. The rest are counted in the SA by reason, and are the
 *   caller's to free.
 */
uint16_t ipsec_pcpu_encap_burst(struct ipsec_pcpu_ctx *ctx, struct ipsec_pcpu_sa *sa,
		struct rte_mbuf *pkts[], uint16_t n, uint8_t drop[]);

/**
 * Check, decrypt and decapsulate. Owner of @p ctx and @p sa.
 *
 * Each packet starts with its outer IP header, is one segment that ends with
 * the IP packet, with l3_len set to the outer IP header's (options and
 * extension headers included) and l4_len to 8 for UDP or 0. It ends up
 * starting with its inner IP header, cut to the length which that header
 * says, with l2_len 0 and l4_len 0, and l3_len 20 or more for IPv4, 40 for
 * IPv6. The inner header is well-formed: version, header length, total length;
 * its checksum and TTL are the caller's to look at. The replay window moves
 * only for packets whose ICV holds.
 *
 * Parameters and return value are those of ipsec_pcpu_encap_burst().
 */
uint16_t ipsec_pcpu_decap_burst(struct ipsec_pcpu_ctx *ctx, struct ipsec_pcpu_sa *sa,
		struct rte_mbuf *pkts[], uint16_t n, uint8_t drop[]);

/**
 * ipsec_pcpu_encap_burst() for packets each of which has an SA of its own: costs less than a call
 * for each SA, as one packet's cipher does not wait for what was just written of it, and no
 * loop has a length that the CPU cannot foresee.
 *
 * @param ctx
 *   The calling thread's context, the owner of all the SAs.
 * @param sas
 *   The SA of each packet; in any order, each as often as you like. The packets of an SA keep
 *   their order.
 * @param pkts
 *   The packets; on return, those done, in their order, then those dropped.
 * @param n
 *   How many: 1 to IPSEC_PCPU_MAX_BURST.
 * @param from
 *   Set: pkts[i] is the one that was given as number from[i], and has the SA sas[from[i]]. Room
 *   for @p n values.
 * @param drop
 *   As in ipsec_pcpu_encap_burst().
 * @return
 *   How many were done.
 */
uint16_t ipsec_pcpu_encap_mixed(struct ipsec_pcpu_ctx *ctx, struct ipsec_pcpu_sa *const sas[],
		struct rte_mbuf *pkts[], uint16_t n, uint8_t from[], uint8_t drop[]);

/** ipsec_pcpu_decap_burst() in the same way; see ipsec_pcpu_encap_mixed(). */
uint16_t ipsec_pcpu_decap_mixed(struct ipsec_pcpu_ctx *ctx, struct ipsec_pcpu_sa *const sas[],
		struct rte_mbuf *pkts[], uint16_t n, uint8_t from[], uint8_t drop[]);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif /* IPSEC_PCPU_H */
