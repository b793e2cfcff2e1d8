/* SPDX-License-Identifier: BSD-3-Clause */

/* Making, launching and stopping workers, and talking to them. */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <rte_cycles.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <rte_malloc.h>

#include "../datapath/frag.h"
#include "../datapath/send.h"
#include "../log.h"
#include "control_priv.h"

/** Datagrams in reassembly at a time. */
#define REASS_FLOWS 64
/**
 * Datagrams put together that are on their way to be decrypted and cut, or to the
 * kernel. At most 4 MB; at MTU 1500 it is 1.5 MB.
 */
#define LARGE_MBUFS 63
/** Packets a second and worker that may ask control for a neighbour. */
#define RESOLVE_RATE 256
/** Between two wake-ups of control by one worker. */
#define PUNT_INTERVAL_US 50
/**
 * Workers that a packet passes through at most, an ICMP error about it included:
 * the one that received it, reassembly, the SA's owner, the one it moved to, the one
 * that encrypts the error, that one's successor, the one with a transmit queue.
 */
#define MAX_HOPS 7

static struct rte_ring *
ring(const char *what, unsigned int a, unsigned int b, unsigned int size, int socket)
{
	char name[RTE_RING_NAMESIZE];

	snprintf(name, sizeof(name), "gw-%s-%u-%u", what, a, b);
	return rte_ring_create(name, size, socket, RING_F_SP_ENQ | RING_F_SC_DEQ | RING_F_EXACT_SZ);
}

/** What puts outer fragments together, and the buffers for what becomes large. */
static int
make_reassembly(struct gw *gw, struct gw_worker *w)
{
	gw->large = gw_port_large_pool_create(
			"gw_large", LARGE_MBUFS, gw_largest_mtu(&gw->cfg), w->numa_node);
	if (gw->large == NULL)
		return -ENOMEM;
	w->large = gw->large;
	w->reass = gw_reass_create(
			REASS_FLOWS, rte_get_tsc_hz(), w->numa_node, w->large, &w->counters);
	return w->reass == NULL ? -ENOMEM : 0;
}

/** Nothing is noted before control has said so: the two numbers differ. */
static int
make_wants(struct gw *gw, struct gw_worker *w)
{
	unsigned int n = gw_max_tunnels(&gw->cfg);

	w->want_from = rte_malloc_socket("gw_want_from", n * sizeof(*w->want_from),
			RTE_CACHE_LINE_SIZE, w->numa_node);
	w->want = rte_zmalloc_socket(
			"gw_want", n * sizeof(*w->want), RTE_CACHE_LINE_SIZE, w->numa_node);
	if (w->want_from == NULL || w->want == NULL)
		return -ENOMEM;
	for (unsigned int t = 0; t < n; t++)
		w->want_from[t] = UINT32_MAX;
	return 0;
}

static int
make_tables(struct gw *gw, struct gw_worker *w)
{
	int socket = w->numa_node;

	w->ctx = rte_zmalloc_socket("gw_ctx", ipsec_pcpu_ctx_size(), RTE_CACHE_LINE_SIZE, socket);
	w->sad = rte_zmalloc_socket("gw_sad", ipsec_pcpu_sad_size(gw->cfg.max_sas),
			RTE_CACHE_LINE_SIZE, socket);
	w->sa_out = rte_zmalloc_socket("gw_sa_out",
			RTE_MAX(gw_max_tunnels(&gw->cfg), 1u) * sizeof(*w->sa_out),
			RTE_CACHE_LINE_SIZE, socket);
	w->flow_cache = rte_zmalloc_socket("gw_flows", GW_FLOW_CACHE * sizeof(*w->flow_cache),
			RTE_CACHE_LINE_SIZE, socket);
	if (w->ctx == NULL || w->sad == NULL || w->sa_out == NULL || w->flow_cache == NULL)
		return -ENOMEM;
	ipsec_pcpu_sad_init(w->sad, gw->cfg.max_sas);
	for (unsigned int t = 0; t < gw_max_tunnels(&gw->cfg); t++)
		w->sa_out[t].owner = GW_NONE;
	if (gw->cfg.ike_socket != NULL && make_wants(gw, w) < 0)
		return -ENOMEM;
	if (w->id == w->reass_worker && make_reassembly(gw, w) < 0)
		return -ENOMEM;
	return ipsec_pcpu_ctx_init(w->ctx);
}

static int
make_rings(struct gw_worker *w)
{
	w->inbox = ring("inbox", w->id, 0, 64, w->numa_node);
	w->outbox = ring("outbox", w->id, 0, 128, w->numa_node);
	w->inject = ring("inject", w->id, 0, GW_INJECT_RING, w->numa_node);
	w->punt = ring("punt", w->id, 0, GW_PUNT_RING, w->numa_node);
	w->parked = ring("parked", w->id, 0, GW_PARK_RING, w->numa_node);
	return w->inbox == NULL || w->outbox == NULL || w->inject == NULL || w->punt == NULL ||
					w->parked == NULL
			? -ENOMEM
			: 0;
}

/** TSC cycles from one reading to the next: the least of some, as others are interrupted. */
static uint64_t
tsc_read_cycles(void)
{
	uint64_t least = UINT64_MAX;

	for (unsigned int i = 0; i < 64; i++) {
		uint64_t start = rte_rdtsc();

		least = RTE_MIN(least, rte_rdtsc() - start);
	}
	return least;
}

static int
make_worker(struct gw *gw, unsigned int id, unsigned int lcore)
{
	int socket = rte_lcore_to_socket_id(lcore);
	struct gw_worker *w =
			rte_zmalloc_socket("gw_worker", sizeof(*w), RTE_CACHE_LINE_SIZE, socket);
	uint64_t hz = rte_get_tsc_hz();

	gw->worker[id].w = w;
	if (w == NULL)
		return -ENOMEM;
	w->id = id;
	w->n_workers = gw->n_workers;
	w->lcore = lcore;
	w->numa_node = socket;
	w->idle_sleep_us = gw->cfg.idle_sleep_us;
	w->pool = gw->pool;
	w->punt_fd = gw->punt_fd;
	w->punt_interval = hz * PUNT_INTERVAL_US / US_PER_S;
	w->cycles.per_ms = hz / MS_PER_S;
	w->cycles.per_read = tsc_read_cycles();
	w->cycles.random = id;
	gw_icmp_limit_init(&w->icmp_limit, gw->cfg.icmp_rate, hz);
	gw_icmp_limit_init(&w->resolve_limit, RESOLVE_RATE, hz);
	if (make_rings(w) < 0)
		return -ENOMEM;
	return make_tables(gw, w);
}

/** One ring for each ordered pair of workers, on the receiver's node. */
static int
connect_workers(struct gw *gw)
{
	for (unsigned int from = 0; from < gw->n_workers; from++) {
		for (unsigned int to = 0; to < gw->n_workers; to++) {
			struct gw_worker *w = gw->worker[to].w;
			struct rte_ring *r;

			if (from == to)
				continue;
			r = ring("handoff", from, to, GW_HANDOFF_RING, w->numa_node);
			if (r == NULL)
				return -ENOMEM;
			w->handoff_in[from] = r;
			gw->worker[from].w->handoff_out[to] = r;
		}
	}
	return 0;
}

int
gw_workers_make(struct gw *gw, struct gw_error *err)
{
	unsigned int lcore;
	unsigned int id = 0;
	int rc = 0;

	RTE_LCORE_FOREACH_WORKER(lcore) {
		if (id == gw->n_workers)
			break;
		rc = make_worker(gw, id++, lcore);
		if (rc == -ENOTSUP) {
			gw_error_set(err, NULL, 0,
					"intel-ipsec-mb does not run on this CPU: it lacks AES-NI");
			return rc;
		}
		if (rc < 0)
			break;
	}
	if (rc == 0 && id == gw->n_workers && connect_workers(gw) == 0)
		return 0;
	gw_error_set(err, NULL, 0,
			"not enough memory for %u workers: give EAL more (-m, hugepages), "
			"or lower max_sas (%u)",
			gw->n_workers, gw->cfg.max_sas);
	return -ENOMEM;
}

int
gw_workers_launch(struct gw *gw, struct gw_error *err)
{
	for (unsigned int i = 0; i < gw->n_workers; i++) {
		struct gw_worker_ctl *c = &gw->worker[i];
		int rc = rte_eal_remote_launch(gw_worker_main, c->w, c->w->lcore);

		if (rc < 0) {
			gw_error_set(err, NULL, 0, "worker %u does not start on lcore %u: %s", i,
					c->w->lcore, strerror(-rc));
			return rc;
		}
		c->running = true;
	}
	return 0;
}

bool
gw_worker_is_late(struct gw *gw, unsigned int worker)
{
	struct gw_worker_ctl *c = &gw->worker[worker];

	if (c->late != NULL && gw_msg_answered(c->w, c->late))
		c->late = NULL;
	return c->late != NULL;
}

/**
 * A worker that does not answer is logged: what it has is not known. Whatever it answers
 * later, it has handled all that came before. One that was @p late already is not waited for
 * again: who asks for ten things would wait ten times.
 */
static int
await(struct gw *gw, unsigned int worker, struct gw_msg *posted, struct gw_msg *msg, bool late)
{
	struct gw_worker_ctl *c = &gw->worker[worker];
	int rc;

	if (late) {
		c->late = posted;
		return -ETIMEDOUT;
	}
	rc = gw_msg_await(c->w, posted, msg);

	if (rc == -ETIMEDOUT)
		GW_LOG(ERR, "worker %u (lcore %u) does not answer", worker, c->w->lcore);
	c->late = rc == -ETIMEDOUT ? posted : NULL;
	return rc;
}

int
gw_tell(struct gw *gw, unsigned int worker, struct gw_msg *msg)
{
	struct gw_worker_ctl *c = &gw->worker[worker];
	bool late = gw_worker_is_late(gw, worker);
	struct gw_msg *posted;
	int rc;

	if (!c->running) {
		gw_msg_handle(c->w, msg);
		return msg->result;
	}
	rc = gw_msg_post(c->w, msg, &posted);
	return rc < 0 ? rc : await(gw, worker, posted, msg, late);
}

int
gw_tell_each(struct gw *gw, struct gw_msg msg[], const bool to[])
{
	struct gw_msg *posted[GW_MAX_WORKERS] = {NULL};
	bool late[GW_MAX_WORKERS] = {false};
	int rc[GW_MAX_WORKERS] = {0};
	int worst = 0;

	/* all at once: it takes as long as the slowest, not as all of them */
	for (unsigned int i = 0; i < gw->n_workers; i++) {
		if (!to[i])
			continue;
		late[i] = gw_worker_is_late(gw, i);
		rc[i] = gw->worker[i].running ? gw_msg_post(gw->worker[i].w, &msg[i], &posted[i])
					      : gw_tell(gw, i, &msg[i]);
	}
	for (unsigned int i = 0; i < gw->n_workers; i++) {
		if (posted[i] != NULL)
			rc[i] = await(gw, i, posted[i], &msg[i], late[i]);
		if (to[i])
			msg[i].result = rc[i];
		/* the worst is one that has not answered */
		if (worst == 0 || rc[i] == -ETIMEDOUT)
			worst = rc[i];
	}
	return worst;
}

int
gw_tell_all(struct gw *gw, const struct gw_msg *msg)
{
	struct gw_msg m[GW_MAX_WORKERS];
	bool to[GW_MAX_WORKERS];

	for (unsigned int i = 0; i < gw->n_workers; i++) {
		m[i] = *msg;
		to[i] = true;
	}
	return gw_tell_each(gw, m, to);
}

/**
 * Nothing is between workers; one of them may still have a packet in its hands.
 * If rings are empty again after all have answered a message, the packet is at
 * its end, or one worker further.
 */
static bool
rings_empty(const struct gw *gw)
{
	for (unsigned int i = 0; i < gw->n_workers; i++) {
		const struct gw_worker *w = gw->worker[i].w;

		if (!rte_ring_empty(w->inject) || !rte_ring_empty(w->punt))
			return false;
		for (unsigned int j = 0; j < gw->n_workers; j++)
			if (w->handoff_in[j] != NULL && !rte_ring_empty(w->handoff_in[j]))
				return false;
	}
	return true;
}

/** Fragments whose rest will not come, packets whose SA will not: into the final counters. */
static void
give_up(struct gw_worker *w)
{
	if (w->reass != NULL)
		gw_reass_expire(w->reass, UINT64_MAX);
	gw_park_empty(w);
}

bool
gw_workers_stop(struct gw *gw)
{
	struct gw_msg halt = {.type = GW_MSG_RUN, .run = false};
	struct gw_msg leave = {.type = GW_MSG_EXIT};
	bool all = true;

	if (gw->n_workers == 0 || gw->worker[0].w == NULL || !gw->worker[0].running)
		return true;
	gw_tell_all(gw, &halt);
	/* what is between workers now gets to its end; half a second is thousands of rounds */
	for (unsigned int ms = 0, quiet = 0; ms < 500 && quiet < MAX_HOPS; ms++) {
		gw_punts_drain(gw);
		if (rings_empty(gw) && gw_tell_all(gw, &halt) == 0 && rings_empty(gw))
			quiet++;
		else
			quiet = 0;
		if (quiet == 0)
			usleep(1000);
	}
	for (unsigned int i = 0; i < gw->n_workers; i++) {
		struct gw_worker_ctl *c = &gw->worker[i];
		struct gw_msg m = leave;

		if (!c->running)
			continue;
		if (gw_tell(gw, i, &m) < 0) {
			all = false;
			continue;
		}
		rte_eal_wait_lcore(c->w->lcore);
		c->running = false;
		give_up(c->w);
	}
	gw_punts_drain(gw);
	return all;
}

static void
free_packets(struct rte_ring *r)
{
	void *m;

	while (r != NULL && rte_ring_sc_dequeue(r, &m) == 0)
		rte_pktmbuf_free(m);
}

static void
free_worker(struct gw *gw, struct gw_worker *w)
{
	for (unsigned int j = 0; j < gw->n_workers; j++) {
		free_packets(w->handoff_in[j]);
		rte_ring_free(w->handoff_in[j]);
	}
	free_packets(w->inject);
	free_packets(w->punt);
	free_packets(w->parked);
	rte_ring_free(w->inbox);
	rte_ring_free(w->outbox);
	rte_ring_free(w->inject);
	rte_ring_free(w->punt);
	rte_ring_free(w->parked);
	if (w->reass != NULL)
		gw_reass_free(w->reass);
	if (w->ctx != NULL)
		ipsec_pcpu_ctx_fini(w->ctx);
	rte_free(w->ctx);
	rte_free(w->sad);
	rte_free(w->sa_out);
	rte_free(w->want);
	rte_free(w->want_from);
	rte_free(w->flow_cache);
	rte_free(w);
}

void
gw_workers_free(struct gw *gw)
{
	for (unsigned int i = 0; i < gw->n_workers; i++) {
		if (gw->worker[i].w != NULL)
			free_worker(gw, gw->worker[i].w);
		gw->worker[i].w = NULL;
	}
}
