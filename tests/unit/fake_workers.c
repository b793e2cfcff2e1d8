/* SPDX-License-Identifier: BSD-3-Clause */

#include "fake_workers.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <rte_log.h>
#include <rte_malloc.h>

#include "log.h"

struct fake worker[FAKE_WORKERS];
char fake_log[4096];

int gw_logtype;

int
rte_log(uint32_t level, uint32_t type, const char *format, ...)
{
	return 0;
}

void *
rte_zmalloc_socket(const char *type, size_t size, unsigned int align, int node)
{
	void *p = aligned_alloc(align, RTE_ALIGN_CEIL(size, align));

	return p != NULL ? memset(p, 0, size) : NULL;
}

void
rte_free(void *p)
{
	free(p);
}

void
gw_sel_compile(struct gw_sel_in *in, const struct gw_selector *sel)
{
}

int
gw_view_update(struct gw *g, struct gw_error *err)
{
	return 0;
}

int
gw_view_update_sas(struct gw *g, struct gw_sa *const sas[], unsigned int n, struct gw_error *err)
{
	return 0;
}

void
gw_views_reap(struct gw *g)
{
}

void
gw_steering_add(struct gw *g, struct gw_sa *sa)
{
}

void
gw_steering_del(struct gw *g, struct gw_sa *sa)
{
}

void
gw_steering_moved(struct gw *g, struct gw_sa *sa)
{
}

void
fake_workers_reset(void)
{
	memset(worker, 0, sizeof(worker));
	fake_log[0] = '\0';
}

struct ipsec_pcpu_sad_entry *
fake_spi(struct fake *w, uint32_t spi)
{
	for (unsigned int i = 0; i < FAKE_SPIS; i++)
		if (w->in[i].spi == spi)
			return &w->in[i];
	return NULL;
}

static bool
has(const struct fake *w, const struct ipsec_pcpu_sa *sa)
{
	if (w->out.sa == sa || w->out.fallback == sa)
		return true;
	for (unsigned int i = 0; i < FAKE_SPIS; i++)
		if (w->in[i].spi != 0 && w->in[i].sa == sa)
			return true;
	return false;
}

unsigned int
fake_owners(const struct ipsec_pcpu_sa *sa)
{
	unsigned int n = 0;

	for (unsigned int w = 0; w < FAKE_WORKERS; w++)
		n += has(&worker[w], sa);
	return n;
}

/** It has just got these. */
static void
check_owners(const struct gw_msg *m)
{
	if (m->sa != NULL)
		assert_int_equal(fake_owners(m->sa), 1);
	if (m->fallback != NULL)
		assert_int_equal(fake_owners(m->fallback), 1);
}

static void
note(const struct fake *w, const struct gw_msg *m)
{
	size_t at = strlen(fake_log);

	if (m->type == GW_MSG_SA_OUT)
		snprintf(fake_log + at, sizeof(fake_log) - at, "%u: out %s%s-> %d%s\n",
				(unsigned int)(w - worker), m->sa != NULL ? "own " : "",
				m->fallback != NULL ? "fallback " : "",
				m->owner == GW_NONE ? -1 : m->owner, m->drain ? " drain" : "");
	else if (m->type == GW_MSG_SAD_SET)
		snprintf(fake_log + at, sizeof(fake_log) - at, "%u: set %x %s-> %u%s\n",
				(unsigned int)(w - worker), m->spi, m->sa != NULL ? "sa " : "",
				m->owner, m->drain ? " drain" : "");
}

static void
forget(struct fake *w, const struct gw_gone *gone)
{
	struct ipsec_pcpu_sad_entry *e = gone->spi != 0 ? fake_spi(w, gone->spi) : NULL;

	if (gone->spi == 0)
		w->out = (struct gw_sa_out){.owner = GW_NONE};
	else if (e != NULL)
		e->spi = 0;
}

static int
handle(struct fake *w, const struct gw_msg *m)
{
	struct ipsec_pcpu_sad_entry *e = m->spi != 0 ? fake_spi(w, m->spi) : NULL;
	const struct ipsec_pcpu_sad_entry entry = {
			.spi = m->spi, .owner = m->owner, .user = m->tunnel, .sa = m->sa};

	note(w, m);
	w->drains += m->drain;
	switch (m->type) {
	case GW_MSG_SA_OUT:
		w->out = (struct gw_sa_out){m->sa, m->fallback, m->owner};
		check_owners(m);
		return 0;
	case GW_MSG_SAD_ADD:
		if (e != NULL)
			return -EEXIST;
		*fake_spi(w, 0) = entry;
		check_owners(m);
		return 0;
	case GW_MSG_SAD_SET:
		if (e == NULL)
			return -ENOENT;
		*e = entry;
		check_owners(m);
		return 0;
	case GW_MSG_GONE:
		for (unsigned int i = 0; i < m->n_gone; i++)
			forget(w, &m->gone[i]);
		return 0;
	case GW_MSG_SEQ_LIMIT:
		ipsec_pcpu_sa_set_seq_limit(m->sa, m->seq_limit);
		return 0;
	default:
		return -ENOTSUP;
	}
}

int
gw_tell(struct gw *g, unsigned int id, struct gw_msg *msg)
{
	struct fake *w = &worker[id];

	if (w->refuses != 0)
		return w->refuses;
	if (!w->asleep)
		return handle(w, msg);
	assert_true(w->n_waiting < RTE_DIM(w->waiting) && msg->n_gone <= FAKE_SPIS);
	w->waiting[w->n_waiting] = *msg;
	if (msg->n_gone > 0)
		w->waiting[w->n_waiting].gone = memcpy(
				w->gone[w->n_waiting], msg->gone, msg->n_gone * sizeof(*msg->gone));
	w->n_waiting++;
	return -ETIMEDOUT;
}

int
gw_tell_each(struct gw *g, struct gw_msg msg[], const bool to[])
{
	int worst = 0;

	for (unsigned int i = 0; i < g->n_workers; i++) {
		int rc = to[i] ? gw_tell(g, i, &msg[i]) : 0;

		if (to[i])
			msg[i].result = rc;
		if (worst == 0 || rc == -ETIMEDOUT)
			worst = rc;
	}
	return worst;
}

bool
gw_worker_is_late(struct gw *g, unsigned int id)
{
	return worker[id].n_waiting > 0;
}

void
fake_wake(struct fake *w)
{
	for (unsigned int i = 0; i < w->n_waiting; i++)
		handle(w, &w->waiting[i]);
	w->n_waiting = 0;
	w->asleep = false;
}
