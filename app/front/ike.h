/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef IKE_H
#define IKE_H

/*
 * What the gateway and charon's plugin (ike/) say to each other.
 *
 * AF_UNIX, SOCK_SEQPACKET: the gateway listens, charon connects, one message is one packet and
 * one struct, by its type of a fixed length. charon asks, and the gateway answers each request
 * by IKE_REPLY with the request's id, in any order; what it says by itself (IKE_ACQUIRE,
 * IKE_EXPIRE, IKE_MAPPING) has id 0. Integers are the machine's, but for SPIs and ports, which
 * are in network order. A message of another length than its type's, or of no known type, ends
 * the connection.
 *
 * After IKE_HELLO charon says all that it has: IKE_POL_ADD for every policy, IKE_SA_ADD for
 * every inbound SA, and, where the epoch is that of the connection before, IKE_SA_KEEP for every
 * outbound one; then IKE_SYNC_END. So an IKE_SA_ADD or IKE_POL_ADD of what is there already is
 * no error and changes no counter, and what was not said until IKE_SYNC_END is gone. Keys of
 * outbound SAs are said once, when they are new: a gateway that was restarted does not get them,
 * as it would repeat IVs.
 *
 * This file alone is what the plugin (GPL) has of the gateway (BSD): no DPDK in it.
 *
 * Bytes that have no meaning (pad) are 0 from both sides, and a message where one is not is
 * refused by EINVAL: so they can be given a meaning later.
 */

#include <stddef.h>
#include <stdint.h>

#define IKE_VERSION 1 /* goes up with each change of this file */
#define IKE_SOCKET_PATH "/run/dpdk-pcpu-gw-ike.sock"
#define IKE_KEY_MAX 80 /* bytes, with the salt of an AEAD */
#define IKE_NAME_MAX 32 /* with its end */
#define IKE_CPU_NONE 0xffffffffu /* of the fallback */

enum ike_type {
	/* from charon, each answered */
	IKE_HELLO = 1, /* struct ike_hello */
	IKE_ALLOC_SPI, /* struct ike_alloc_spi */
	IKE_SA_ADD, /* struct ike_sa_add */
	IKE_SA_UPDATE, /* struct ike_sa_update */
	IKE_SA_KEEP, /* struct ike_sa_ref, like the two below */
	IKE_SA_DEL,
	IKE_SA_QUERY,
	IKE_POL_ADD, /* struct ike_policy, like the one below */
	IKE_POL_DEL,
	IKE_SYNC_END, /* struct ike_sync_end */
	IKE_FLUSH, /* struct ike_flush */
	/* from the gateway */
	IKE_REPLY = 64, /* struct ike_reply */
	IKE_ACQUIRE, /* struct ike_acquire */
	IKE_EXPIRE, /* struct ike_expire */
	IKE_MAPPING, /* struct ike_mapping */
};

struct ike_hdr {
	uint32_t type; /* enum ike_type */
	uint32_t id; /* charon's, any; in a reply the request's; in an event 0 */
};

struct ike_addr {
	uint8_t family; /* 4 or 6 */
	uint8_t pad;
	uint16_t port; /* of UDP; network order; 0: any, or none */
	uint8_t addr[16]; /* network order; of IPv4 the first 4, and 12 times 0 */
};

/* What an SA is known by: its source may change, and have another port in later messages. */
struct ike_sa_id {
	struct ike_addr dst; /* its port does not count */
	uint32_t spi; /* network order */
	uint8_t proto; /* of IP: 50 */
	uint8_t pad[7];
};

/* First message of a connection. The reply has epoch and workers; EPROTONOSUPPORT: a version
 * that the gateway does not speak, EBUSY: another charon is connected. */
struct ike_hello {
	struct ike_hdr hdr;
	uint32_t version; /* IKE_VERSION of charon's side */
	uint32_t pcpu; /* 0 or 1; 1: it can negotiate SAs for a CPU */
	uint64_t generation; /* a random number for each start of charon */
};

/* The reply has the SPI, which is taken until IKE_SA_DEL or for 165 s. */
struct ike_alloc_spi {
	struct ike_hdr hdr;
	struct ike_addr src; /* the peer */
	struct ike_addr dst; /* ours: the SPI is for packets to it */
	uint8_t proto; /* of IP: 50 */
	uint8_t pad[7];
};

enum ike_sa_flag {
	IKE_SA_INBOUND = 1, /* else outbound */
	IKE_SA_ENCAP = 2, /* in UDP, ports as in the addresses */
	IKE_SA_ESN = 4, /* 64-bit sequence numbers */
	IKE_SA_COPY_DF = 8, /* the inner packet's DF bit goes to the outer header */
	IKE_SA_COPY_ECN = 16, /* the gateway always does, as RFC 6040 says */
	IKE_SA_INITIATOR = 32, /* we began the exchange */
	IKE_SA_REPLAYED = 64, /* known from before, see above */
	IKE_SA_ANY_SPORT = 128, /* outbound: source port drawn by lot, the gateway may choose */
};

/* ENOTSUP: an algorithm, or a combination, that the gateway does not have; EEXIST: the SPI is
 * another one's. */
struct ike_sa_add {
	struct ike_hdr hdr;
	struct ike_sa_id sa;
	struct ike_addr src; /* of one family with sa.dst; inbound, port 0: from any port */
	uint32_t flags; /* enum ike_sa_flag */
	uint32_t reqid; /* the same for all SAs and policies of one CHILD_SA configuration */
	uint32_t cpu; /* IKE_CPU_NONE: the fallback; a hint */
	uint32_t if_id; /* children with equal selectors; 0: none */
	uint32_t replay_window; /* packets, inbound; 0: no replay protection */
	uint32_t copy_dscp; /* strongSwan's: 0 out only, 1 in only, 2 both, 3 none */
	uint16_t enc_alg; /* IKEv2's transform, 20: AES-GCM-16 */
	uint16_t int_alg; /* likewise, or strongSwan's above 1023; 1024: none */
	uint16_t enc_key_len; /* bytes, with the salt */
	uint16_t int_key_len; /* bytes; 0 with AEAD */
	uint8_t enc_key[IKE_KEY_MAX]; /* key, then salt, then 0; each side wipes it after use */
	uint8_t int_key[IKE_KEY_MAX]; /* likewise */
	uint32_t pad;
	/* limits that the gateway watches, 0: none; soft then hard, each reported once */
	uint64_t soft_bytes; /* of inner packets */
	uint64_t hard_bytes; /* likewise */
	uint64_t soft_packets; /* packets */
	uint64_t hard_packets; /* packets */
	/* those that charon watches itself, for the console, and for when it is gone; seconds from
	 * this message on */
	uint64_t soft_s;
	uint64_t hard_s;
	char name[IKE_NAME_MAX]; /* of the connection, for the console; may be empty */
};

/* Other addresses; the ports are those that the SA has from now on. ENOTSUP: it keeps those that
 * it has, and charon renews it. */
struct ike_sa_update {
	struct ike_hdr hdr;
	struct ike_sa_id sa; /* by what it is known until now */
	struct ike_addr new_src; /* the peer of an inbound SA */
	struct ike_addr new_dst; /* sa.dst from now on */
	uint32_t flags; /* IKE_SA_ENCAP or 0 */
	uint32_t pad;
};

/* IKE_SA_KEEP, IKE_SA_DEL and IKE_SA_QUERY; ENOENT: there is none. IKE_SA_DEL also gives back an
 * SPI that came to nothing. The reply to IKE_SA_QUERY has bytes, packets and idle_s. */
struct ike_sa_ref {
	struct ike_hdr hdr;
	struct ike_sa_id sa;
};

struct ike_ts {
	uint8_t family; /* 4 or 6 */
	uint8_t proto; /* 0: any */
	/* the machine's order; ICMP: type << 8 | code */
	uint16_t from_port; /* 0 with 65535: any */
	uint16_t to_port; /* the last that belongs to it */
	uint16_t pad;
	uint8_t from[16]; /* first address; like ike_addr.addr */
	uint8_t to[16]; /* last address */
};

enum ike_policy_dir {
	IKE_IN = 0,
	IKE_OUT = 1
};
enum ike_policy_type {
	IKE_PROTECT = 1,
	IKE_PASS = 2,
	IKE_DROP = 3
};
enum ike_policy_prio {
	IKE_PRIO_PASS = 0,
	IKE_PRIO_SA = 1,
	IKE_PRIO_TRAP = 2,
	IKE_PRIO_DROP = 3
};
enum ike_policy_flag {
	IKE_POLICY_PCPU = 1 /* each worker may want an SA of its own */
};

/* IKE_POL_ADD and IKE_POL_DEL. Each CHILD_SA has one for each direction and pair of selectors,
 * many are equal but for the SPI, and may be wholly equal: IKE_POL_DEL takes one of them away.
 * The addresses do not count for that; ENOENT: there is none. */
struct ike_policy {
	struct ike_hdr hdr;
	uint8_t dir; /* enum ike_policy_dir */
	uint8_t type; /* enum ike_policy_type */
	uint8_t prio; /* enum ike_policy_prio; lower wins */
	uint8_t flags; /* enum ike_policy_flag */
	uint32_t reqid; /* of the SAs that carry it */
	uint32_t spi; /* of the SA it came with; network order; 0: a trap */
	uint32_t if_id; /* as in ike_sa_add */
	uint32_t manual_prio; /* 0: by prio and selectors */
	uint32_t pad;
	struct ike_addr src; /* outer addresses of the SAs, in the direction of the packets */
	struct ike_addr dst;
	struct ike_ts src_ts; /* inner packets, likewise */
	struct ike_ts dst_ts;
};

/* All that charon has was said since IKE_HELLO. */
struct ike_sync_end {
	struct ike_hdr hdr;
};

enum ike_flush_what {
	IKE_FLUSH_SAS = 1,
	IKE_FLUSH_POLICIES = 2
};

/* Away with all that came from charon. */
struct ike_flush {
	struct ike_hdr hdr;
	uint32_t what; /* enum ike_flush_what, one or both */
	uint32_t pad;
};

/* The answer to a request. What its request does not ask for is 0. */
struct ike_reply {
	struct ike_hdr hdr;
	uint32_t status; /* 0, or an errno value, positive */
	uint32_t spi; /* IKE_ALLOC_SPI: network order */
	uint64_t epoch; /* IKE_HELLO: a random number for each start of the gateway, not 0 */
	uint32_t workers; /* IKE_HELLO: how many there are */
	uint32_t pad;
	uint64_t bytes; /* IKE_SA_QUERY: of inner packets; grows */
	uint64_t packets; /* IKE_SA_QUERY: grows */
	uint64_t idle_s; /* IKE_SA_QUERY: seconds since the last packet, if there was one */
};

/* A packet found no SA of its worker (cpu), or none at all (IKE_CPU_NONE). */
struct ike_acquire {
	struct ike_hdr hdr;
	uint32_t reqid; /* of the policy that the packet matched */
	uint32_t cpu; /* for ike_sa_add.cpu: of the worker, or one that is free; or IKE_CPU_NONE */
	struct ike_addr src; /* of the packet, with its ports */
	struct ike_addr dst; /* likewise */
	uint8_t proto; /* of IP, of the packet */
	uint8_t pad[7];
};

/* A limit of bytes, packets or sequence numbers is reached. */
struct ike_expire {
	struct ike_hdr hdr;
	struct ike_sa_id sa;
	uint32_t hard; /* 0: soft, it should be replaced; 1: it carries nothing any more */
	uint32_t pad;
};

/* Authentic packets of an inbound SA in UDP come from another address or port than it has, and
 * than was said last: a NAT between us has another mapping (RFC 7296 2.23). At most once a second
 * for an SA. Of an SA that takes packets from any port only if they came from IKE's own at first:
 * one of its own says nothing of IKE's. Never of one without a replay window, as whoever has
 * recorded a packet could move it. What follows from it is charon's matter: nothing changes here
 * before IKE_SA_UPDATE, or a new SA. */
struct ike_mapping {
	struct ike_hdr hdr;
	struct ike_sa_id sa;
	struct ike_addr remote; /* where they come from now */
	uint32_t pad;
};

/* Room for any message. */
union ike_any {
	struct ike_hdr hdr;
	struct ike_hello hello;
	struct ike_alloc_spi alloc_spi;
	struct ike_sa_add sa_add;
	struct ike_sa_update sa_update;
	struct ike_sa_ref sa_ref;
	struct ike_policy policy;
	struct ike_sync_end sync_end;
	struct ike_flush flush;
	struct ike_reply reply;
	struct ike_acquire acquire;
	struct ike_expire expire;
	struct ike_mapping mapping;
};

/* The length of a message; 0: there is no such type. */
static inline size_t
ike_msg_len(uint32_t type)
{
	switch (type) {
	case IKE_HELLO:
		return sizeof(struct ike_hello);
	case IKE_ALLOC_SPI:
		return sizeof(struct ike_alloc_spi);
	case IKE_SA_ADD:
		return sizeof(struct ike_sa_add);
	case IKE_SA_UPDATE:
		return sizeof(struct ike_sa_update);
	case IKE_SA_KEEP:
	case IKE_SA_DEL:
	case IKE_SA_QUERY:
		return sizeof(struct ike_sa_ref);
	case IKE_POL_ADD:
	case IKE_POL_DEL:
		return sizeof(struct ike_policy);
	case IKE_SYNC_END:
		return sizeof(struct ike_sync_end);
	case IKE_FLUSH:
		return sizeof(struct ike_flush);
	case IKE_REPLY:
		return sizeof(struct ike_reply);
	case IKE_ACQUIRE:
		return sizeof(struct ike_acquire);
	case IKE_EXPIRE:
		return sizeof(struct ike_expire);
	case IKE_MAPPING:
		return sizeof(struct ike_mapping);
	default:
		return 0;
	}
}

/* No hidden padding anywhere, and both ends agree, whatever compiled them. */
_Static_assert(sizeof(struct ike_hdr) == 8, "layout");
_Static_assert(sizeof(struct ike_addr) == 20, "layout");
_Static_assert(sizeof(struct ike_sa_id) == 32, "layout");
_Static_assert(sizeof(struct ike_hello) == 24, "layout");
_Static_assert(sizeof(struct ike_alloc_spi) == 56, "layout");
_Static_assert(sizeof(struct ike_sa_add) == 336, "layout");
_Static_assert(sizeof(struct ike_sa_update) == 88, "layout");
_Static_assert(sizeof(struct ike_sa_ref) == 40, "layout");
_Static_assert(sizeof(struct ike_ts) == 40, "layout");
_Static_assert(sizeof(struct ike_policy) == 152, "layout");
_Static_assert(sizeof(struct ike_sync_end) == 8, "layout");
_Static_assert(sizeof(struct ike_flush) == 16, "layout");
_Static_assert(sizeof(struct ike_reply) == 56, "layout");
_Static_assert(sizeof(struct ike_acquire) == 64, "layout");
_Static_assert(sizeof(struct ike_expire) == 48, "layout");
_Static_assert(sizeof(struct ike_mapping) == 64, "layout");

#endif /* IKE_H */
