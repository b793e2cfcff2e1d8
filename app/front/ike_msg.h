/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef IKE_MSG_H
#define IKE_MSG_H

/* Messages of charon's plugin (ike.h), decoded and checked. Pure: no state, no log. */

#include "../control/ike_types.h"
#include "ike.h"

/** A request: what is in it needs no other look than whether it fits what there is. */
struct gw_ike_request {
	enum ike_type type;
	uint32_t id; /* for the reply */
	union {
		struct {
			uint64_t generation;
			bool pcpu; /* it can negotiate SAs for a CPU */
		} hello;
		struct {
			struct gw_addr src;
			struct gw_addr dst;
		} alloc_spi;
		struct gw_ike_new_sa new_sa; /* IKE_SA_ADD */
		struct gw_ike_moved_sa moved_sa; /* IKE_SA_UPDATE */
		struct gw_ike_sa_key key; /* IKE_SA_KEEP, IKE_SA_DEL, IKE_SA_QUERY */
		struct gw_ike_policy policy; /* IKE_POL_ADD, IKE_POL_DEL */
		struct {
			bool sas;
			bool policies;
		} flush;
	} u;
};

/**
 * Decode one packet.
 *
 * @param req
 *   All of it is set: to be wiped by gw_ike_request_wipe() after use, also after a failure.
 *   req->id is that of the message wherever there is a header.
 * @param why
 *   After a failure a sentence; never key material.
 * @return
 *   0, or a positive errno value for the reply. EBADMSG: no reply either, this is not our
 *   protocol, and the connection should end.
 */
int gw_ike_decode(const void *msg, size_t len, struct gw_ike_request *req, const char **why);

void gw_ike_request_wipe(struct gw_ike_request *req);

/** The library's algorithm for an encryption transform of IKEv2 with so long a key. */
int gw_ike_algo(uint16_t transform, size_t key_len, const struct ipsec_pcpu_algo **algo,
		const char **why);

/** Into the form of messages; @p port in host order. */
void gw_ike_put_addr(struct ike_addr *to, const struct gw_addr *addr, uint16_t port);
void gw_ike_put_key(struct ike_sa_id *to, const struct gw_ike_sa_key *key);

#endif /* IKE_MSG_H */
