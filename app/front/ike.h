/* SPDX-License-Identifier: BSD-3-Clause
 *
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
 */

#ifndef IKE_H
#define IKE_H

#include <stddef.h>
#include <stdint.h>

#define IKE_VERSION 1 /* goes up with each change of this file */
#define IKE_SOCKET_PATH "/run/dpdk-pcpu-gw/ike.sock"
#define IKE_KEY_MAX 80 /* bytes, with the salt of an AEAD */
#define IKE_NAME_MAX 32 /* with its end */
#define IKE_CPU_NONE 0xffffffffu /* of the fallback */

enum ike_type {
	IKE_HELLO = 1,
	IKE_ALLOC_SPI,
	IKE_SA_ADD,
	IKE_SA_UPDATE,
	IKE_SA_KEEP,
	IKE_SA_DEL,
	IKE_SA_QUERY,
	IKE_POL_ADD,
	IKE_POL_DEL,
	IKE_SYNC_END,
	IKE_FLUSH,
	/* from the gateway */
	IKE_REPLY = 64,
	IKE_ACQUIRE,
	IKE_EXPIRE,
	IKE_MAPPING,
};

struct ike_hdr {
	uint32_t type;
	uint32_t id;
};

struct ike_addr {
	uint8_t family; /* 4 or 6 */
	uint8_t pad;
	uint16_t port; /* network order; 0: any, or none */
	uint8_t addr[16];
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
	uint32_t version;
	uint32_t pcpu; /* 1: it can negotiate SAs for a CPU */
	uint64_t generation; /* a random number for each start of charon */
};

/* The reply has the SPI, which is taken until IKE_SA_DEL or for 165 s. */
struct ike_alloc_spi {
	struct ike_hdr hdr;
	struct ike_addr src;
	struct ike_addr dst;
	uint8_t proto;
	uint8_t pad[7];
};

enum ike_sa_flag {
	IKE_SA_INBOUND = 1,
	IKE_SA_ENCAP = 2, /* in UDP, ports as in the addresses */
	IKE_SA_ESN = 4,
	IKE_SA_COPY_DF = 8,
	IKE_SA_COPY_ECN = 16,
	IKE_SA_INITIATOR = 32, /* we began the exchange */
	IKE_SA_REPLAYED = 64, /* known from before, see above */
};

/* ENOTSUP: an algorithm, or a combination, that the gateway does not have; EEXIST: the SPI is
 * another one's. */
struct ike_sa_add {
	struct ike_hdr hdr;
	struct ike_sa_id sa;
	struct ike_addr src;
	uint32_t flags;
	uint32_t reqid;
	uint32_t cpu; /* IKE_CPU_NONE: the fallback; a hint */
	uint32_t if_id; /* children with equal selectors; 0: none */
	uint32_t replay_window; /* packets */
	uint32_t copy_dscp; /* strongSwan's: 0 out only, 1 in only, 2 both, 3 none */
	uint16_t enc_alg; /* IKEv2's transform, 20: AES-GCM-16 */
	uint16_t int_alg; /* likewise, or strongSwan's above 1023; 1024: none */
	uint16_t enc_key_len; /* bytes, with the salt */
	uint16_t int_key_len;
	uint8_t enc_key[IKE_KEY_MAX];
	uint8_t int_key[IKE_KEY_MAX];
	uint32_t pad;
	/* limits that the gateway watches, 0: none; soft then hard, each reported once */
	uint64_t soft_bytes;
	uint64_t hard_bytes;
	uint64_t soft_packets;
	uint64_t hard_packets;
	/* those that charon watches itself, for the console; seconds */
	uint64_t soft_s;
	uint64_t hard_s;
	char name[IKE_NAME_MAX]; /* of the connection, for the console; may be empty */
};

/* Other addresses; the ports are those that the SA has from now on. */
struct ike_sa_update {
	struct ike_hdr hdr;
	struct ike_sa_id sa;
	struct ike_addr new_src;
	struct ike_addr new_dst;
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
	uint16_t from_port;
	uint16_t to_port;
	uint16_t pad;
	uint8_t from[16];
	uint8_t to[16];
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
	uint8_t dir;
	uint8_t type;
	uint8_t prio;
	uint8_t flags;
	uint32_t reqid;
	uint32_t spi; /* network order; 0: a trap */
	uint32_t if_id;
	uint32_t manual_prio; /* 0: by prio and selectors */
	uint32_t pad;
	struct ike_addr src; /* of the SAs */
	struct ike_addr dst;
	struct ike_ts src_ts;
	struct ike_ts dst_ts;
};

struct ike_sync_end {
	struct ike_hdr hdr;
};

enum ike_flush_what {
	IKE_FLUSH_SAS = 1,
	IKE_FLUSH_POLICIES = 2
};

struct ike_flush {
	struct ike_hdr hdr;
	uint32_t what;
	uint32_t pad;
};

struct ike_reply {
	struct ike_hdr hdr;
	uint32_t status; /* 0, or an errno value */
	uint32_t spi;
	uint64_t epoch; /* a random number for each start of the gateway, not 0 */
	uint32_t workers;
	uint32_t pad;
	uint64_t bytes;
	uint64_t packets;
	uint64_t idle_s; /* since the last packet, if there was one */
};

/* A packet found no SA of its worker (cpu), or none at all (IKE_CPU_NONE). */
struct ike_acquire {
	struct ike_hdr hdr;
	uint32_t reqid;
	uint32_t cpu;
	struct ike_addr src; /* of the packet, with its ports */
	struct ike_addr dst;
	uint8_t proto;
	uint8_t pad[7];
};

/* A limit of bytes, packets or sequence numbers is reached. */
struct ike_expire {
	struct ike_hdr hdr;
	struct ike_sa_id sa;
	uint32_t hard; /* 1: it carries nothing any more */
	uint32_t pad;
};

/* Authentic packets of an inbound SA come from another address or port. */
struct ike_mapping {
	struct ike_hdr hdr;
	struct ike_sa_id sa;
	struct ike_addr remote;
	uint32_t pad;
};

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

_Static_assert(sizeof(struct ike_addr) == 20 && sizeof(struct ike_sa_id) == 32, "no padding");
_Static_assert(sizeof(struct ike_ts) == 40 && sizeof(struct ike_policy) == 152, "no padding");
_Static_assert(sizeof(struct ike_sa_add) == 336, "no padding");

#endif
