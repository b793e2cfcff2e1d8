/* SPDX-License-Identifier: BSD-3-Clause */

#include "msg.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../clock.h"
#include "send.h"

#define ANSWER_TIMEOUT_NS UINT64_C(5000000000)

static int
sad_add(struct gw_worker *w, const struct gw_msg *m)
{
	struct ipsec_pcpu_sad_entry e = {
			.spi = m->spi, .owner = m->owner, .user = m->tunnel, .sa = m->sa};
	int rc = ipsec_pcpu_sad_add(w->sad, &e);

	if (rc == 0 && m->sa != NULL)
		ipsec_pcpu_sa_own(m->sa, w->ctx);
	return rc;
}

static int
sad_set(struct gw_worker *w, const struct gw_msg *m)
{
	struct ipsec_pcpu_sad_entry e = {
			.spi = m->spi, .owner = m->owner, .user = m->tunnel, .sa = m->sa};
	const struct ipsec_pcpu_sad_entry *old = ipsec_pcpu_sad_lookup(w->sad, m->spi);

	if (old == NULL)
		return -ENOENT;
	if (old->sa != NULL)
		ipsec_pcpu_sa_own(old->sa, NULL);
	if (m->sa != NULL)
		ipsec_pcpu_sa_own(m->sa, w->ctx);
	return ipsec_pcpu_sad_set(w->sad, &e);
}

static void
own(struct ipsec_pcpu_sa *sa, const struct ipsec_pcpu_ctx *ctx)
{
	if (sa != NULL)
		ipsec_pcpu_sa_own(sa, ctx);
}

/** SAs that stood there until now are without an owner afterwards, unless named again. */
static void
sa_out(struct gw_worker *w, const struct gw_msg *m)
{
	struct gw_sa_out *out = &w->sa_out[m->tunnel];

	own(out->sa, NULL);
	own(out->fallback, NULL);
	own(m->sa, w->ctx);
	own(m->fallback, w->ctx);
	*out = (struct gw_sa_out){.sa = m->sa, .fallback = m->fallback, .owner = m->owner};
}

static void
sad_del(struct gw_worker *w, uint32_t spi)
{
	const struct ipsec_pcpu_sad_entry *e = ipsec_pcpu_sad_lookup(w->sad, spi);

	/* of one that was installed in part */
	if (e == NULL)
		return;
	own(e->sa, NULL);
	ipsec_pcpu_sad_del(w->sad, spi);
}

static void
forget(struct gw_worker *w, const struct gw_msg *m)
{
	for (unsigned int i = 0; i < m->n_gone; i++) {
		const struct gw_msg none = {.tunnel = m->gone[i].tunnel, .owner = GW_NONE};

		if (m->gone[i].spi != 0)
			sad_del(w, m->gone[i].spi);
		else
			sa_out(w, &none);
	}
}

/** Others have handed us packets for an SA that goes now: they are still its. */
static void
drain(struct gw_worker *w)
{
	gw_worker_drain(w);
	/* what was made of them is on its way before the next owner begins */
	gw_worker_flush(w);
}

/** Packets wait for an SA: is it where they can go? A worker that never ran has none. */
static void
unpark(struct gw_worker *w)
{
	if (!rte_ring_empty(w->parked))
		gw_unpark(w);
}

void
gw_msg_handle(struct gw_worker *w, struct gw_msg *m)
{
	const struct gw_view *old = w->view;

	m->result = 0;
	if (m->drain)
		drain(w);
	switch (m->type) {
	case GW_MSG_VIEW:
		w->view = m->view;
		gw_worker_forget_flows(w);
		m->view = old;
		break;
	case GW_MSG_SAD_ADD:
		m->result = sad_add(w, m);
		break;
	case GW_MSG_SAD_SET:
		m->result = sad_set(w, m);
		unpark(w);
		break;
	case GW_MSG_GONE:
		forget(w, m);
		unpark(w);
		break;
	case GW_MSG_SA_OUT:
		sa_out(w, m);
		unpark(w);
		break;
	case GW_MSG_SEQ_LIMIT:
		ipsec_pcpu_sa_set_seq_limit(m->sa, m->seq_limit);
		break;
	case GW_MSG_OBSERVE:
		m->result = (int)gw_observer_take(&w->observer, m->run, m->observed);
		break;
	case GW_MSG_NOP:
		break;
	case GW_MSG_RUN:
		w->run = m->run;
		break;
	case GW_MSG_EXIT:
		w->exit = true;
		break;
	}
}

void
gw_msg_poll(struct gw_worker *w)
{
	void *m;

	while (rte_ring_sc_dequeue(w->inbox, &m) == 0) {
		gw_msg_handle(w, m);
		rte_ring_sp_enqueue(w->outbox, m);
	}
}

/** Wait for the answer to @p m; answers to messages given up earlier are thrown away. */
static int
await(struct gw_worker *w, const struct gw_msg *m)
{
	uint64_t deadline = gw_now_ns() + ANSWER_TIMEOUT_NS;
	struct timespec nap = {.tv_nsec = 5000};
	void *answer;
	bool late;

	/* one look after the deadline: we may have been stopped ourselves */
	do {
		late = gw_now_ns() >= deadline;
		while (rte_ring_sc_dequeue(w->outbox, &answer) == 0) {
			if (answer == m)
				return 0;
			free(answer);
		}
		clock_nanosleep(CLOCK_MONOTONIC, 0, &nap, NULL);
	} while (!late);
	return -ETIMEDOUT;
}

bool
gw_msg_answered(struct gw_worker *w, struct gw_msg *posted)
{
	void *answer;

	while (rte_ring_sc_dequeue(w->outbox, &answer) == 0) {
		bool found = answer == posted;

		free(answer);
		if (found)
			return true;
	}
	return false;
}

int
gw_msg_post(struct gw_worker *w, const struct gw_msg *msg, struct gw_msg **posted)
{
	size_t gone = msg->n_gone * sizeof(*msg->gone);
	struct gw_msg *m = aligned_alloc(_Alignof(struct gw_msg),
			sizeof(*m) + RTE_ALIGN_CEIL(gone, _Alignof(struct gw_msg)));

	*posted = m;
	if (m == NULL)
		return -ENOMEM;
	*m = *msg;
	/* the worker may come to it when the caller has forgotten it */
	if (gone > 0)
		m->gone = memcpy(m + 1, msg->gone, gone);
	if (rte_ring_sp_enqueue(w->inbox, m) == 0)
		return 0;
	free(m);
	*posted = NULL;
	return -ENOBUFS; /* full of messages that were never answered */
}

int
gw_msg_await(struct gw_worker *w, struct gw_msg *posted, struct gw_msg *msg)
{
	int rc = await(w, posted);

	if (rc < 0)
		return rc; /* the worker may still come to it: it stays */
	posted->gone = msg->gone;
	*msg = *posted;
	free(posted);
	return msg->result;
}
