/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Building what workers read: from the kernel's routes, neighbours and
 * addresses, and from the tunnels. Built whole on every change, sent to all
 * workers, the old one freed when all have answered. The policy changes
 * seldom, so its table is shared between views; and where it changes bit by bit,
 * as when charon installs a thousand traps, so is most of it (policy.h).
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <rte_common.h>
#include <rte_memory.h>

#include "../log.h"
#include "control_priv.h"
#include "routes.h"

/** The warning that there are too many neighbours, at most this often. */
#define WARN_NS UINT64_C(60000000000)
/** So long after their first change policies are built whole; and after that has failed. */
#define BESIDE_NS GW_NS_PER_S
#define AGAIN_NS (60 * GW_NS_PER_S)

/** A view under construction. */
struct build {
	struct gw *gw;
	struct gw_view *v;
};

static unsigned int
port_of(const struct gw *gw, unsigned int ifindex)
{
	unsigned int i;

	for (i = 0; i < gw->n_ports; i++)
		if (gw->tap[i].ifindex == ifindex)
			break;
	return i;
}

static void
warn_neighbours(struct gw *gw, uint32_t left_out)
{
	uint64_t now = gw_now_ns();

	if (left_out == 0 || (gw->neigh_warned != 0 && now - gw->neigh_warned < WARN_NS))
		return;
	gw->neigh_warned = now;
	GW_LOG(WARNING,
			"%u neighbours too many: what is for them is dropped. The gateway takes %u "
			"IPv4 and %u IPv6 neighbours; is someone flooding a port with ARP or ND?",
			left_out, GW_MAX_HOST_ROUTES4, GW_MAX_HOST_ROUTES6);
}

static int
build_routes(struct build *b)
{
	struct gw_routes_port ports[GW_MAX_PORTS];
	struct gw_routes r;
	int rc;

	for (unsigned int i = 0; i < b->gw->n_ports; i++)
		ports[i] = (struct gw_routes_port){.ifindex = b->gw->tap[i].ifindex,
				.mtu = b->gw->port[i].mtu,
				.mac = b->gw->port[i].mac};
	rc = gw_routes_build(&r, b->gw->nl, ports, b->gw->n_ports);
	b->v->fib4 = r.fib4;
	b->v->fib6 = r.fib6;
	b->v->nh = r.nh;
	b->v->n_nh = r.n_nh;
	warn_neighbours(b->gw, r.left_out);
	return rc;
}

/** Every UDP port at which an inbound SA expects its packets, and 4500 (RFC 3948). */
static void
esp_ports(const struct gw *gw, uint64_t to[65536 / 64])
{
	to[4500 / 64] |= UINT64_C(1) << 4500 % 64;
	for (unsigned int t = 0; t < gw->n_tunnels; t++) {
		for (unsigned int i = 0; i < gw->tunnel[t].n_sas; i++) {
			const struct ipsec_pcpu_sa_params *prm = &gw->tunnel[t].sas[i]->prm;

			if (prm->dir == IPSEC_PCPU_IN && prm->encap_dport != 0)
				to[prm->encap_dport / 64] |= UINT64_C(1) << prm->encap_dport % 64;
		}
	}
}

static int
build_local(struct build *b)
{
	struct gw_local *l = aligned_alloc(64, RTE_ALIGN_CEIL(sizeof(*l), 64));
	unsigned int n;
	const struct gw_nl_addr *a = gw_nl_addrs(b->gw->nl, &n);
	unsigned int taken = 0;

	if (l == NULL)
		return -ENOMEM;
	memset(l, 0, sizeof(*l));
	b->v->local = l;
	for (unsigned int i = 0; i < n; i++) {
		if (port_of(b->gw, a[i].ifindex) >= b->gw->n_ports)
			continue;
		if (++taken > GW_LOCAL_SLOTS / 2) {
			GW_LOG(WARNING, "more than %u addresses on our ports: the rest is not ours",
					GW_LOCAL_SLOTS / 2);
			break;
		}
		gw_local_add(l, &a[i].prefix.addr);
	}
	esp_ports(b->gw, l->esp_udp);
	return 0;
}

/** The first global address of a family on a port, for ICMP errors. */
static void
port_addr(const struct build *b, unsigned int port, struct gw_addr *a4, struct gw_addr *a6)
{
	unsigned int n;
	const struct gw_nl_addr *a = gw_nl_addrs(b->gw->nl, &n);

	for (unsigned int i = 0; i < n; i++) {
		const struct gw_addr *addr = &a[i].prefix.addr;

		if (port_of(b->gw, a[i].ifindex) != port)
			continue;
		if (addr->family == AF_INET && a4->family == 0)
			*a4 = *addr;
		if (addr->family == AF_INET6 && a6->family == 0 && addr->a.ip6[0] != 0xfe)
			*a6 = *addr;
	}
}

static void
build_ports(struct build *b)
{
	b->v->n_ports = b->gw->n_ports;
	for (unsigned int i = 0; i < b->gw->n_ports; i++) {
		const struct gw_port *p = &b->gw->port[i];
		struct gw_port_view *pv = &b->v->port[i];

		pv->mac = p->mac;
		pv->id = p->id;
		pv->n_rxq = p->n_rxq;
		pv->n_txq = p->n_txq;
		pv->mtu = p->mtu;
		pv->up = gw_port_usable(p);
		pv->udp_cksum = p->udp_cksum;
		port_addr(b, i, &pv->icmp4, &pv->icmp6);
	}
}

/** The smallest of what the outbound SAs of a tunnel can carry in packets of @p mtu. */
static uint16_t
inner_mtu(const struct gw_tunnel *t, uint16_t mtu)
{
	uint32_t least = UINT16_MAX;
	bool any = false;

	for (unsigned int i = 0; i < t->n_sas; i++) {
		const struct ipsec_pcpu_sa_params *prm = &t->sas[i]->prm;

		if (prm->dir != IPSEC_PCPU_OUT)
			continue;
		any = true;
		least = RTE_MIN(least, ipsec_pcpu_sa_inner_mtu(prm, mtu));
	}
	return any ? least : 0;
}

/**
 * One of our addresses inside the tunnel's selectors: ICMP errors from there go back through
 * it.
 */
static void
tunnel_addr(const struct gw *gw, const struct gw_tunnel *t, struct gw_tunnel_view *tv)
{
	unsigned int n;
	const struct gw_nl_addr *a = gw_nl_addrs(gw->nl, &n);

	for (unsigned int i = 0; i < n; i++) {
		const struct gw_addr *addr = &a[i].prefix.addr;
		struct gw_addr *to = addr->family == AF_INET ? &tv->icmp4 : &tv->icmp6;

		for (unsigned int s = 0; s < t->cfg->n_selectors && to->family == 0; s++)
			if (gw_prefix_has(&t->cfg->selectors[s].local, addr))
				*to = *addr;
	}
}

/** What workers with view @p v are to see of a tunnel. */
static struct gw_tunnel_view
tunnel_view(const struct gw *gw, const struct gw_view *v, const struct gw_tunnel *t)
{
	const struct gw_nexthop *nh = gw_view_route(v, &t->cfg->remote);
	struct gw_tunnel_view tv = {.up = t->up,
			.nh = nh - v->nh,
			.inner_mtu = nh->mtu == 0 ? 0 : inner_mtu(t, nh->mtu),
			.sel = t->sel,
			.n_sel = t->cfg->n_selectors,
			.transit = t->transit};

	tunnel_addr(gw, t, &tv);
	return tv;
}

static int
build_tunnels(struct build *b)
{
	/* for all that there may be: one that comes later may have SAs before it has a view */
	unsigned int n = gw_max_tunnels(&b->gw->cfg);
	struct gw_tunnel_view *tv = calloc(RTE_MAX(n, 1u), sizeof(*tv));

	if (tv == NULL)
		return -ENOMEM;
	b->v->tunnel = tv;
	b->v->n_tunnels = n;
	for (unsigned int i = 0; i < b->gw->n_tunnels; i++)
		tv[i] = tunnel_view(b->gw, b->v, &b->gw->tunnel[i]);
	return 0;
}

const struct gw_nexthop *
gw_view_route(const struct gw_view *view, const struct gw_addr *dst)
{
	return gw_view_nexthop(view, dst->family, &dst->a);
}

static void
free_view(struct gw_view *v)
{
	if (v == NULL)
		return;
	gw_fib_free((struct gw_fib *)(uintptr_t)v->fib4);
	gw_fib_free((struct gw_fib *)(uintptr_t)v->fib6);
	free((void *)(uintptr_t)v->nh);
	free((void *)(uintptr_t)v->tunnel);
	free((void *)(uintptr_t)v->local);
	free(v);
}

/**
 * Built anew only where policies have changed, which IKE alone does; and @p whole, or where more
 * have changed than may stand beside what was built last.
 */
static const struct gw_policy *
policy_of(struct gw *gw, bool whole, struct gw_error *err)
{
	const struct gw_policy *policy = NULL;

	if (gw->view != NULL && !gw->rules_changed && !whole)
		return gw->view->policy;
	if (gw->view != NULL && !whole)
		policy = gw_policy_amend(gw->view->policy, gw->rules, gw->n_rules, SOCKET_ID_ANY);
	if (policy != NULL)
		return policy;
	return gw_policy_build(
			"gw", gw->rules, gw->n_rules, gw->cfg.default_action, SOCKET_ID_ANY, err);
}

/** No worker has it any more; what is shared with @p now stays. */
static void
free_old(struct gw_view *old, const struct gw_view *now)
{
	if (old != NULL && old->policy != now->policy)
		gw_policy_free((struct gw_policy *)(uintptr_t)old->policy);
	free_view(old);
}

/** No worker has any but the newest. */
static void
drop_old(struct gw *gw)
{
	for (unsigned int i = 0; i < gw->n_old_views; i++)
		free_old(gw->old_view[i], i + 1 < gw->n_old_views ? gw->old_view[i + 1] : gw->view);
	for (unsigned int i = 0; i < gw->n_old_memory; i++)
		free(gw->old_memory[i]);
	gw->n_old_views = gw->n_old_memory = 0;
}

/** Room for one more, so that a view that is replaced can be kept. */
static int
make_room(struct gw *gw)
{
	struct gw_view **views =
			realloc(gw->old_view, (gw->n_old_views + 1) * sizeof(struct gw_view *));

	if (views == NULL)
		return -ENOMEM;
	gw->old_view = views;
	return 0;
}

void
gw_view_free_later(struct gw *gw, void *memory)
{
	void **all;

	if (gw->n_old_views == 0) {
		free(memory);
		return;
	}
	all = realloc(gw->old_memory, (gw->n_old_memory + 1) * sizeof(void *));
	if (all == NULL)
		return; /* lost, which is better than in use */
	gw->old_memory = all;
	gw->old_memory[gw->n_old_memory++] = memory;
}

void
gw_views_reap(struct gw *gw)
{
	struct gw_msg msg = {.type = GW_MSG_VIEW, .view = gw->view};

	/* one could not even be told of the newest */
	if (gw->n_old_views > 0 && gw_tell_all(gw, &msg) == 0)
		drop_old(gw);
}

static int
update(struct gw *gw, bool whole_policy, struct gw_error *err)
{
	size_t size = RTE_ALIGN_CEIL(sizeof(struct gw_view), RTE_CACHE_LINE_SIZE);
	struct build b = {.gw = gw, .v = aligned_alloc(RTE_CACHE_LINE_SIZE, size)};
	struct gw_msg msg = {.type = GW_MSG_VIEW, .view = b.v};
	struct gw_view *old = gw->view;
	uint64_t began = gw_now_ns();
	bool amended;

	gw_error_set(err, NULL, 0, "not enough memory for the tables of workers");
	gw->view_behind = true;
	if (b.v == NULL || make_room(gw) < 0) {
		free(b.v);
		return -ENOMEM;
	}
	memset(b.v, 0, size);
	b.v->mss_clamp = gw->cfg.mss_clamp;
	b.v->source_check = gw->cfg.source_check;
	b.v->both_ways = gw->both_ways;
	b.v->policy = policy_of(gw, whole_policy, err);
	if (b.v->policy == NULL || build_routes(&b) < 0 || build_local(&b) < 0 ||
			build_tunnels(&b) < 0) {
		if (old == NULL || old->policy != b.v->policy)
			gw_policy_free((struct gw_policy *)(uintptr_t)b.v->policy);
		free_view(b.v);
		return -ENOMEM;
	}
	build_ports(&b);
	amended = gw_policy_is_amended(b.v->policy) &&
			(old == NULL || !gw_policy_is_amended(old->policy));
	gw->view = b.v;
	gw->view_changes++;
	gw->rules_changed = false;
	if (old != NULL)
		gw->old_view[gw->n_old_views++] = old;
	if (gw_tell_all(gw, &msg) == 0)
		drop_old(gw);
	else if (gw->n_old_views == 1)
		GW_LOG(ERR,
				"a worker did not take new tables: the old ones stay in memory until it "
				"answers");
	gw->view_behind = gw->view_stale = false;
	gw->view_built = gw_now_ns();
	gw->view_took = gw->view_built - began;
	if (amended)
		gw->policy_due = gw->view_built + BESIDE_NS;
	err->text[0] = 0;
	return 0;
}

int
gw_view_update(struct gw *gw, struct gw_error *err)
{
	return update(gw, false, err);
}

void
gw_view_settle(struct gw *gw)
{
	bool behind = gw->view_behind;
	struct gw_error err;

	if (!gw_policy_is_amended(gw->view->policy) || gw_now_ns() < gw->policy_due)
		return;
	if (update(gw, true, &err) == 0)
		return;
	/* what workers have is as good, but for what it takes them to look at it */
	gw->view_behind = behind;
	gw->policy_due = gw_now_ns() + AGAIN_NS;
	GW_LOG(WARNING, "policies that changed stay beside the classifier: %s", err.text);
}

/** Do workers see of a tunnel what there is? */
static bool
is_current(const struct gw *gw, const struct gw_tunnel *t)
{
	const struct gw_tunnel_view *now = &gw->view->tunnel[t->id];
	struct gw_tunnel_view tv = tunnel_view(gw, gw->view, t);

	return tv.up == now->up && tv.nh == now->nh && tv.inner_mtu == now->inner_mtu &&
			tv.sel == now->sel && tv.n_sel == now->n_sel &&
			tv.transit == now->transit && gw_addr_equal(&tv.icmp4, &now->icmp4) &&
			gw_addr_equal(&tv.icmp6, &now->icmp6);
}

/** Do workers take ESP at the ports that there are SAs for? It looks at all SAs. */
static bool
has_esp_ports(const struct gw *gw)
{
	uint64_t ports[65536 / 64] = {0};

	esp_ports(gw, ports);
	return memcmp(ports, gw->view->local->esp_udp, sizeof(ports)) == 0;
}

int
gw_view_update_sas(struct gw *gw, struct gw_sa *const sas[], unsigned int n, struct gw_error *err)
{
	bool same = gw->view != NULL && !gw->view_behind && !gw->rules_changed;
	bool ports = false;

	for (unsigned int i = 0; i < n && same; i++) {
		uint16_t port = sas[i]->prm.encap_dport;

		/* they take it at 4500 in any case */
		ports |= sas[i]->prm.dir == IPSEC_PCPU_IN && port != 0 && port != 4500;
		same = (i > 0 && sas[i]->tunnel == sas[i - 1]->tunnel) ||
				is_current(gw, &gw->tunnel[sas[i]->tunnel]);
	}
	if (!same || (ports && !has_esp_ports(gw)))
		return gw_view_update(gw, err);
	err->text[0] = 0;
	return 0;
}

void
gw_view_free(struct gw *gw)
{
	if (gw->view == NULL)
		return;
	drop_old(gw);
	free(gw->old_view);
	free(gw->old_memory);
	gw->old_view = NULL;
	gw->old_memory = NULL;
	gw_policy_free((struct gw_policy *)(uintptr_t)gw->view->policy);
	free_view(gw->view);
	gw->view = NULL;
}
