/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef MSG_H
#define MSG_H

/*
 * The only way into a worker. Control puts a pointer to a message on the
 * worker's inbox; the worker handles it between bursts and puts it on its
 * outbox with the result. While a worker does not run (before start, after
 * stop) control handles the message in its place.
 */

#include <stdint.h>

#include <ipsec_pcpu.h>

#include "view.h"

struct gw_observed;
struct gw_worker;

enum gw_msg_type {
	GW_MSG_VIEW, /* use this view; result: view is the one used until now */
	GW_MSG_SAD_ADD, /* an inbound SA: ours (sa set), or who owns it */
	/*
	 * an inbound SA that is known changes its owner: ours from now on (sa set), or owner's;
	 * our own number without the SA: packets wait
	 */
	GW_MSG_SAD_SET,
	GW_MSG_GONE, /* SAs are gone: forget all of gone, what is not known as well */
	GW_MSG_SA_OUT, /* outbound SAs of a tunnel: own (sa), fallback; who encrypts for us */
	GW_MSG_SEQ_LIMIT, /* new end of the reserved sequence numbers of an SA of ours */
	GW_MSG_OBSERVE, /* observed: what was noted, result: how many; run: note on, or no more */
	GW_MSG_NOP, /* nothing: to see whether the worker answers */
	GW_MSG_RUN, /* poll the ports, or not */
	GW_MSG_EXIT, /* leave the loop */
};

/** An inbound SA, or all outbound ones of a tunnel. */
struct gw_gone {
	uint32_t spi; /* 0: outbound */
	uint16_t tunnel;
};

/** In one message: while it handles that a worker takes no packets. */
#define GW_GONE_MAX 256

struct gw_msg {
	enum gw_msg_type type;
	int result; /* 0 or a negative errno value */
	const struct gw_view *view;
	struct ipsec_pcpu_sa *sa; /* NULL: none, or another's */
	struct ipsec_pcpu_sa *fallback; /* NULL: none, or another's */
	struct gw_observed *observed; /* of GW_OBSERVED_MAX; stays whatever comes */
	const struct gw_gone *gone; /* what is sent is a copy */
	uint64_t seq_limit;
	uint32_t spi;
	uint16_t n_gone;
	uint16_t tunnel;
	uint16_t owner; /* worker; GW_NONE: nobody */
	bool drain; /* first take, with the SAs as they are, what other workers have handed us */
	bool run;
} __rte_cache_aligned; /* the worker writes into it, and others read theirs meanwhile */

/**
 * Send a message; control. Several workers can be at it at a time, but nothing else is
 * posted to a worker before its answer was awaited: gw_tell() and gw_tell_each() do both.
 */
int gw_msg_post(struct gw_worker *w, const struct gw_msg *msg, struct gw_msg **posted);

/**
 * Wait for the answer; control.
 *
 * @return
 *   msg->result with the answer in @p msg, or -ETIMEDOUT: the worker did not
 *   answer in 5 seconds. It may still handle the message later.
 */
int gw_msg_await(struct gw_worker *w, struct gw_msg *posted, struct gw_msg *msg);

/**
 * Look for the answer to a message that was posted, without waiting for it. True: it was there,
 * and @p posted is freed.
 */
bool gw_msg_answered(struct gw_worker *w, struct gw_msg *posted);

/** Handle all that waits in the inbox. Worker. */
void gw_msg_poll(struct gw_worker *w);

/** Handle one message. Worker, or control while the worker does not run. */
void gw_msg_handle(struct gw_worker *w, struct gw_msg *msg);

#endif /* MSG_H */
