/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The kernel's part: TAPs, the mirror of its tables, and packets that wait for
 * a neighbour. A dead TAP or netlink socket is a log line and a counter; the
 * rest goes on.
 */

#include <errno.h>
#include <linux/neighbour.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <rte_ip.h>

#include "../log.h"
#include "control_priv.h"
#include "ike.h"

/** Frames read from a TAP, packets taken from a punt ring, before others get their turn. */
#define BATCH 128

/** Held for one neighbour, and neighbours waited for. */
#define HELD_PACKETS 8
#define HELD_NEIGHBOURS 256
/** The kernel asks three times, a second apart. */
#define HELD_NS UINT64_C(3500000000)

/** The kernel's changes that come closer together than this share one rebuild of the tables. */
#define REBUILD_MS 10
/** Without memory for new tables, it is tried again. */
#define REBUILD_RETRY_MS 1000

/** Stale neighbours asked about in one go. */
#define CONFIRM_AT_ONCE 128

struct gw_held {
	unsigned int n;
	struct held_entry {
		struct gw_addr addr;
		unsigned int ifindex;
		uint64_t since;
		unsigned int n;
		struct rte_mbuf *pkts[HELD_PACKETS];
	} entry[HELD_NEIGHBOURS];
};

/** Give a packet to a worker. Which one does not matter: all can send on all ports. */
static void
inject(struct gw *gw, struct rte_mbuf *m, enum gw_pkt_kind kind, uint8_t port)
{
	struct gw_worker *w = gw->worker[port % gw->n_workers].w;

	*gw_pkt(m) = (struct gw_pkt){.kind = kind, .port = port};
	if (rte_ring_sp_enqueue(w->inject, m) == 0)
		return;
	gw->inject_full++;
	rte_pktmbuf_free(m);
}

static void
tap_is_gone(struct gw *gw, struct gw_tap *tap)
{
	GW_LOG(ERR,
			"port %s: its TAP is gone, and its addresses and routes with it; "
			"the other ports go on",
			tap->name);
	gw_loop_del(gw->loop, tap->fd);
}

static void
tap_readable(void *arg, uint32_t events)
{
	struct gw_tap *tap = arg;
	struct gw *gw = tap->user;

	for (unsigned int i = 0; i < BATCH; i++) {
		struct rte_mbuf *m = gw_tap_read(tap, gw->pool);

		if (m != NULL) {
			inject(gw, m, GW_PKT_FRAME, tap - gw->tap);
		} else if (errno == EAGAIN) {
			return;
		} else if (errno == ENOMEM || errno == EMSGSIZE) {
			gw->tap_lost++;
		} else {
			tap_is_gone(gw, tap);
			return;
		}
	}
}

static void
held_flush(struct gw *gw, struct held_entry *e)
{
	unsigned int port;

	for (port = 0; port < gw->n_ports - 1; port++)
		if (gw->tap[port].ifindex == e->ifindex)
			break;
	for (unsigned int i = 0; i < e->n; i++)
		inject(gw, e->pkts[i], GW_PKT_FORWARD, port);
	gw->held_now -= e->n;
	*e = gw->held->entry[--gw->held->n];
}

void
gw_held_release(struct gw *gw, bool all)
{
	uint64_t now = gw_now_ns();

	/* from the end: held_flush() fills the gap with the last one */
	for (unsigned int i = gw->held->n; i-- > 0;) {
		struct held_entry *e = &gw->held->entry[i];
		const struct gw_nl_neigh *n = gw_nl_neigh_find(gw->nl, e->ifindex, &e->addr);

		/* workers that do not know it yet would drop them */
		if (all || now - e->since > HELD_NS || (n != NULL && n->valid && !gw->view_stale))
			held_flush(gw, e);
	}
}

static struct held_entry *
held_find(struct gw *gw, unsigned int ifindex, const struct gw_addr *addr)
{
	struct held_entry *e;

	for (unsigned int i = 0; i < gw->held->n; i++) {
		e = &gw->held->entry[i];
		if (e->ifindex == ifindex && gw_addr_equal(&e->addr, addr))
			return e;
	}
	if (gw->held->n == HELD_NEIGHBOURS)
		return NULL;
	e = &gw->held->entry[gw->held->n++];
	*e = (struct held_entry){.addr = *addr, .ifindex = ifindex, .since = gw_now_ns()};
	return e;
}

static void
destination(const struct rte_mbuf *m, struct gw_addr *dst)
{
	const uint8_t *ip = rte_pktmbuf_mtod(m, const uint8_t *);

	memset(dst, 0, sizeof(*dst));
	dst->family = ip[0] >> 4 == 4 ? AF_INET : AF_INET6;
	memcpy(&dst->a, ip + (dst->family == AF_INET ? 16 : 24), gw_addr_len(dst->family));
}

/**
 * Hold a packet until its neighbour is known; one that cannot be held goes back and is
 * dropped by name.
 */
static void
resolve(struct gw *gw, struct rte_mbuf *m)
{
	const struct gw_nexthop *nh;
	struct held_entry *e = NULL;
	struct gw_addr dst;

	destination(m, &dst);
	nh = gw_view_route(gw->view, &dst);
	if (nh->kind == GW_NH_GLEAN || nh->kind == GW_NH_UNRESOLVED) {
		const struct gw_addr *addr = nh->kind == GW_NH_GLEAN ? &dst : &nh->via;
		unsigned int ifindex = gw->tap[nh->port].ifindex;

		e = held_find(gw, ifindex, addr);
		if (e != NULL && e->n == 0)
			gw_nl_neigh_use(gw->nl, ifindex, addr);
	}
	if (e == NULL || e->n == HELD_PACKETS) {
		inject(gw, m, GW_PKT_FORWARD, gw_pkt(m)->port);
		return;
	}
	e->pkts[e->n++] = m;
	gw->held_now++;
}

static void
punted(struct gw *gw, struct rte_mbuf *m)
{
	struct gw_pkt p = *gw_pkt(m);

	if (p.kind == GW_PKT_RESOLVE) {
		resolve(gw, m);
		return;
	}
	if (gw_tap_write(&gw->tap[p.port], m) == 0)
		gw->punt_written++;
	else
		gw->punt_failed++;
	rte_pktmbuf_free(m);
}

/** Up to BATCH of each worker; true if there may be more. */
static bool
drain_once(struct gw *gw)
{
	struct rte_mbuf *pkts[BATCH];
	bool more = false;

	for (unsigned int i = 0; i < gw->n_workers; i++) {
		unsigned int n = rte_ring_sc_dequeue_burst(
				gw->worker[i].w->punt, (void **)pkts, BATCH, NULL);

		for (unsigned int k = 0; k < n; k++)
			punted(gw, pkts[k]);
		more |= n == BATCH;
	}
	return more;
}

void
gw_punts_drain(struct gw *gw)
{
	/* bounded: a flood must not keep control from everything else */
	for (unsigned int i = 0; i < 8 && drain_once(gw); i++)
		;
}

static void
punt_readable(void *arg, uint32_t events)
{
	struct gw *gw = arg;
	uint64_t count;

	if (read(gw->punt_fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		GW_LOG(ERR, "eventfd: %s", strerror(errno));
	gw_punts_drain(gw);
	gw_ike_wants_poll(gw);
}

static gw_loop_cb rebuild_due;

static void
rebuild(struct gw *gw)
{
	struct gw_error err;

	if (gw_view_update(gw, &err) < 0) {
		GW_LOG(ERR, "routes not updated, again in a second: %s", err.text);
		gw->view_timer = gw_loop_once(gw->loop, REBUILD_RETRY_MS, rebuild_due, gw) == 0;
	}
	gw_held_release(gw, false);
}

static void
rebuild_due(void *arg, uint32_t events)
{
	struct gw *gw = arg;

	gw->view_timer = false;
	/* or a tunnel has changed meanwhile, and all is built */
	if (gw->view_stale)
		rebuild(gw);
	else
		gw_held_release(gw, false);
}

/**
 * A single change takes effect at once. After a rebuild there is a rest, so that a flood of
 * them (an attacker's ARP, a BGP table) leaves half of control's time to its other work.
 */
static void
tables_changed(struct gw *gw)
{
	uint64_t rest = RTE_MAX(gw->view_took, REBUILD_MS * UINT64_C(1000000));
	uint64_t passed = gw_now_ns() - gw->view_built;

	gw->view_stale = true;
	if (gw->view_timer)
		return;
	if (passed < rest)
		gw->view_timer = gw_loop_once(gw->loop, (rest - passed) / 1000000 + 1, rebuild_due,
						 gw) == 0;
	if (!gw->view_timer)
		rebuild(gw);
}

static void
nl_readable(void *arg, uint32_t events)
{
	struct gw *gw = arg;
	int before = gw_nl_fd(gw->nl);

	if (gw_nl_process(gw->nl))
		tables_changed(gw);
	if (gw_nl_fd(gw->nl) != before) {
		gw_loop_del(gw->loop, before);
		if (gw_nl_fd(gw->nl) >= 0)
			gw_loop_add(gw->loop, gw_nl_fd(gw->nl), EPOLLIN, nl_readable, gw);
	}
}

/**
 * Traffic that we forward does not tell the kernel that a neighbour is alive,
 * so all of them grow stale. Ask about some at a time: one that is gone, or has
 * another MAC now, is noticed.
 */
void
gw_neighbours_confirm(struct gw *gw)
{
	unsigned int n;
	const struct gw_nl_neigh *neigh = gw_nl_neighs(gw->nl, &n);
	unsigned int asked = 0;

	for (unsigned int i = 0; i < n && asked < CONFIRM_AT_ONCE; i++) {
		/* where the last call ended */
		const struct gw_nl_neigh *one = &neigh[(gw->confirm_next + i) % n];

		if ((one->state & NUD_STALE) == 0)
			continue;
		gw_nl_neigh_use(gw->nl, one->ifindex, &one->addr);
		if (++asked == CONFIRM_AT_ONCE)
			gw->confirm_next = (gw->confirm_next + i + 1) % n;
	}
}

static int
open_taps(struct gw *gw, struct gw_error *err)
{
	for (unsigned int i = 0; i < gw->n_ports; i++) {
		const struct gw_port *p = &gw->port[i];
		int rc = gw_tap_open(&gw->tap[i], p->name, &p->mac, p->mtu, err);

		if (rc < 0)
			return rc;
		gw->tap[i].user = gw;
		rc = gw_loop_add(gw->loop, gw->tap[i].fd, EPOLLIN, tap_readable, &gw->tap[i]);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int
set_addresses(struct gw *gw, struct gw_error *err)
{
	for (unsigned int i = 0; i < gw->n_ports; i++) {
		const struct gw_config_port *p = &gw->cfg.ports[i];

		for (unsigned int k = 0; k < p->n_addresses; k++) {
			int rc = gw_nl_addr_add(gw->nl, gw->tap[i].ifindex, &p->addresses[k], err);

			if (rc < 0)
				return rc;
		}
	}
	return 0;
}

static int
set_routes(struct gw *gw, struct gw_error *err)
{
	for (unsigned int i = 0; i < gw->cfg.n_routes; i++) {
		const struct gw_config_route *r = &gw->cfg.routes[i];
		const struct gw_port *p = r->port[0] == 0 ? NULL : gw_port_find(gw, r->port);
		unsigned int ifindex = p == NULL ? 0 : gw->tap[p - gw->port].ifindex;
		int rc = gw_nl_route_add(gw->nl, r, ifindex, err);

		if (rc < 0)
			return rc;
	}
	return 0;
}

int
gw_kernel_open(struct gw *gw, struct gw_error *err)
{
	unsigned int ifindex[GW_MAX_PORTS];
	int rc = open_taps(gw, err);

	if (rc < 0)
		return rc;
	for (unsigned int i = 0; i < gw->n_ports; i++)
		ifindex[i] = gw->tap[i].ifindex;
	rc = gw_nl_open(&gw->nl, ifindex, gw->n_ports, err);
	if (rc < 0)
		return rc;
	rc = set_addresses(gw, err);
	if (rc == 0)
		rc = set_routes(gw, err);
	if (rc < 0)
		return rc;
	gw_nl_process(gw->nl);
	gw->held = calloc(1, sizeof(*gw->held));
	if (gw->held == NULL)
		return -ENOMEM;
	rc = gw_loop_add(gw->loop, gw->punt_fd, EPOLLIN, punt_readable, gw);
	if (rc == 0)
		rc = gw_loop_add(gw->loop, gw_nl_fd(gw->nl), EPOLLIN, nl_readable, gw);
	return rc;
}

void
gw_kernel_close(struct gw *gw)
{
	for (unsigned int i = 0; gw->held != NULL && i < gw->held->n; i++)
		for (unsigned int k = 0; k < gw->held->entry[i].n; k++)
			rte_pktmbuf_free(gw->held->entry[i].pkts[k]);
	free(gw->held);
	gw->held = NULL;
	if (gw->nl != NULL)
		gw_nl_close(gw->nl);
	gw->nl = NULL;
	for (unsigned int i = 0; i < gw->n_ports; i++)
		if (gw->tap[i].fd >= 0)
			gw_tap_close(&gw->tap[i]);
}
