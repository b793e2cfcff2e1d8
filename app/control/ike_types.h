/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef IKE_TYPES_H
#define IKE_TYPES_H

/*
 * What an IKE daemon asks of the gateway, checked and in the host's byte order: the socket
 * (front/) makes these of its messages, control/ keeps them.
 */

#include <stdbool.h>
#include <stdint.h>

#include "config.h"

#define GW_IKE_CPU_NONE IPSEC_PCPU_ANY /* no CPU: the fallback */
#define GW_IKE_NAME_LEN 32 /* of a connection, with the final 0 */

/** What an SA is known by (RFC 4301 4.1); the protocol is always ESP. */
struct gw_ike_sa_key {
	struct gw_addr dst;
	uint32_t spi;
};

/** An SA to be made. */
struct gw_ike_new_sa {
	struct ipsec_pcpu_sa_params prm; /* with the key: to be wiped; pcpu is the hint */
	uint32_t reqid; /* SAs and policies of one CHILD_SA configuration have it in common */
	uint32_t if_id; /* tells children with equal selectors apart; 0: none */
	uint64_t soft_bytes; /* of inner packets; 0: no limit */
	uint64_t soft_packets; /* 0: no limit */
	uint64_t soft_s; /* the daemon's own limits, for the console; seconds, 0: none */
	uint64_t hard_s;
	bool initiator; /* the daemon began the exchange: the peer has its inbound SA already */
	bool replayed; /* said again after a HELLO, may be there already */
	bool choose_sport; /* outbound in UDP: its source port was drawn by lot, we may choose */
	bool any_sport; /* inbound in UDP: packets may come from any port, each SA's from its own */
	char name[GW_IKE_NAME_LEN]; /* of the connection; printable; may be "" */
};

/** An SA's new addresses. */
struct gw_ike_moved_sa {
	struct gw_ike_sa_key key; /* until now */
	struct gw_addr src;
	struct gw_addr dst;
	uint16_t sport; /* both 0: not in UDP; this alone: any, of an inbound SA */
	uint16_t dport;
};

/** Lower wins, but of SA and trap the more specific one, and SA where they are equally so. */
enum gw_ike_prio {
	GW_IKE_PRIO_PASS,
	GW_IKE_PRIO_SA,
	GW_IKE_PRIO_TRAP,
	GW_IKE_PRIO_DROP,
	GW_IKE_N_PRIOS
};

/** Members of a multiset: many may be equal. */
struct gw_ike_policy {
	struct gw_selector sel; /* from our side, whatever the direction */
	enum ipsec_pcpu_dir dir;
	enum gw_action action;
	enum gw_ike_prio prio;
	bool pcpu; /* each worker may want an SA of its own */
	uint32_t reqid;
	uint32_t spi; /* of the SA it came with; 0: a trap */
	uint32_t if_id;
	uint32_t manual_prio; /* 0: by prio and selectors */
	struct gw_addr local; /* outer addresses; family 0: any; no part of what it is known by */
	struct gw_addr remote;
};

#endif /* IKE_TYPES_H */
