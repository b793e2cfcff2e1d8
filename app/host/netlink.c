/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Own tables, changed message by message, and read anew as a whole only where
 * messages are not enough. Not libnl's caches: a full refill for each change is
 * seconds with BGP tables, and nl_cache_mngr neither says that it lost messages
 * nor keeps two routes that differ in their next hop apart.
 *
 * Read anew are
 * - everything after an overrun, on a new socket, or when an interface goes up
 *   or down: IPv4 routes then vanish without a message;
 * - the routes, when an address or a nexthop object goes, or an interface that
 *   is not ours but has routes goes down: likewise;
 * - the routes of a family, when a message is about one of several routes with
 *   the same prefix and metric: it does not say which comes first now.
 *
 * A dump marks what it sees with its number; what is not marked at its end is
 * gone. Messages that came meanwhile are read after it; they may tell what the
 * dump told already, but the last one about an object is right.
 */

#include "netlink.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <linux/rtnetlink.h>
#include <net/if.h>

#include <netlink/errno.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>

#include "../log.h"
#include "nl_parse.h"
#include "nl_request.h"

/** Asked for: some 50,000 route messages. */
#define RCVBUF (16 << 20)
/** Datagrams in one gw_nl_process(): a flood must not keep control from its other work. */
#define MAX_READS 8192
/** A dump that changed under the kernel's hands is asked for again this often at once. */
#define MAX_DUMPS 4
#define RETRY_MS 200

/** What can be read anew. */
enum dump {
	DUMP_ADDR,
	DUMP_ROUTE4,
	DUMP_ROUTE6,
	DUMP_NEIGH,
	N_DUMPS
};

#define BIT(d) (1u << (d))
#define DUMP_ALL (BIT(N_DUMPS) - 1)
#define DUMP_ROUTES (BIT(DUMP_ROUTE4) | BIT(DUMP_ROUTE6))

struct gw_nl {
	struct nl_sock *events;
	struct nl_sock *dumps;
	struct nl_request req;
	int epfd; /* the fd that others know: it stays when sockets are made anew */
	int timer; /* wakes us for a retry */
	unsigned int *ifindex;
	bool *up; /* IFF_UP, by place in ifindex */
	struct nl_watch watch;
	struct nl_table routes, neighs, addrs;
	uint32_t gen; /* of the dump that runs or ran last */
	bool dumping;
	unsigned int pending; /* BIT(enum dump) to be read anew */
	unsigned int again; /* and once more when the timer says so */
	bool changed;
	uint64_t overruns;
	uint64_t reopens;
	struct gw_nl_route *route_view;
	struct gw_nl_neigh *neigh_view;
	struct gw_nl_addr *addr_view;
	bool route_stale, neigh_stale, addr_stale; /* the view is older than the table */
};

/** Make the fd readable for a moment's retry. */
static void
set_timer(struct gw_nl *nl)
{
	const struct itimerspec its = {.it_value = {.tv_nsec = RETRY_MS * 1000000L}};

	timerfd_settime(nl->timer, 0, &its, NULL);
}

/**
 * Read anew after a message that the kernel sends before it removes routes: now,
 * and once more a little later, because a dump does not wait until it is done.
 */
static void
read_anew(struct gw_nl *nl, unsigned int what)
{
	nl->pending |= what;
	if (nl->again == 0)
		set_timer(nl);
	nl->again |= what;
}

/* -- messages to tables ------------------------------------------------- */

static bool
same_route(const struct gw_nl_route *a, const struct gw_nl_route *b)
{
	return a->type == b->type && a->ifindex == b->ifindex && a->protocol == b->protocol &&
			gw_addr_equal(&a->via, &b->via);
}

/** Find or make the item; without memory, all is read anew a little later. */
static struct nl_item *
put(struct gw_nl *nl, struct nl_table *t, const struct nl_item *new)
{
	struct nl_item *item = nl_table_put(t, &new->key);

	if (item == NULL)
		nl->pending = DUMP_ALL;
	else
		item->gen = nl->gen;
	return item;
}

static void
route_dumped(struct gw_nl *nl, const struct nl_item *new)
{
	struct nl_item *item = nl_table_find(&nl->routes, &new->key);
	bool shadows;

	/* the first of several is the one the kernel uses; but ours goes before elsewhere */
	shadows = item != NULL && item->gen == nl->gen;
	if (shadows) {
		item->shadows = true;
		if (item->route.type != GW_NL_FOREIGN || new->route.type == GW_NL_FOREIGN)
			return;
	}
	if (item == NULL || !same_route(&item->route, &new->route))
		nl->changed = nl->route_stale = true;
	item = put(nl, &nl->routes, new);
	if (item != NULL) {
		item->route = new->route;
		item->n_hops = new->n_hops;
		item->shadows = shadows;
	}
}

static void
route_new(struct gw_nl *nl, const struct nl_item *new, bool ours, bool replace)
{
	struct nl_item *item = nl_table_find(&nl->routes, &new->key);

	if (item == NULL && !ours)
		return;
	if (item != NULL && ours && same_route(&item->route, &new->route)) {
		item->n_hops = new->n_hops;
		return;
	}
	if (item != NULL && (item->shadows || !replace)) {
		nl->pending |= BIT(new->key.family == AF_INET ? DUMP_ROUTE4 : DUMP_ROUTE6);
		return;
	}
	nl->changed = nl->route_stale = true;
	if (!ours) {
		nl_table_del(&nl->routes, item);
		return;
	}
	item = put(nl, &nl->routes, new);
	if (item != NULL) {
		item->route = new->route;
		item->n_hops = new->n_hops;
	}
}

static void
route_gone(struct gw_nl *nl, const struct nl_item *old, bool ours)
{
	struct nl_item *item = nl_table_find(&nl->routes, &old->key);

	if (item == NULL)
		return;
	/* another number of hops: IPv6 says so when one of several goes */
	if (item->shadows || !ours || item->n_hops != old->n_hops ||
			!same_route(&item->route, &old->route)) {
		nl->pending |= BIT(old->key.family == AF_INET ? DUMP_ROUTE4 : DUMP_ROUTE6);
		return;
	}
	nl_table_del(&nl->routes, item);
	nl->changed = nl->route_stale = true;
}

static void
on_route(struct gw_nl *nl, struct nlmsghdr *h)
{
	struct nl_item new;
	enum nl_parsed parsed = nl_parse_route(h, &nl->watch, &new);

	if (parsed == NL_IGNORE)
		return;
	if (h->nlmsg_type == RTM_DELROUTE)
		route_gone(nl, &new, parsed == NL_ITEM);
	else if (!nl->dumping)
		route_new(nl, &new, parsed == NL_ITEM, (h->nlmsg_flags & NLM_F_REPLACE) != 0);
	else if (parsed == NL_ITEM)
		route_dumped(nl, &new);
}

static void
neigh_gone(struct gw_nl *nl, struct nl_item *item)
{
	nl->changed |= item->neigh.valid;
	nl->neigh_stale = true;
	nl_table_del(&nl->neighs, item);
}

static void
on_neigh(struct gw_nl *nl, struct nlmsghdr *h)
{
	struct nl_item new, *item;
	const struct gw_nl_neigh *a, *b;

	if (nl_parse_neigh(h, &nl->watch, &new) != NL_ITEM)
		return;
	item = nl_table_find(&nl->neighs, &new.key);
	if (h->nlmsg_type == RTM_DELNEIGH) {
		if (item != NULL)
			neigh_gone(nl, item);
		return;
	}
	item = put(nl, &nl->neighs, &new);
	if (item == NULL)
		return;
	a = &item->neigh;
	b = &new.neigh;
	/* a new item is zeroed: not valid */
	if (a->valid != b->valid || (b->valid && memcmp(a->mac, b->mac, sizeof(a->mac)) != 0))
		nl->changed = true;
	nl->neigh_stale = true;
	item->neigh = new.neigh;
}

static void
on_addr(struct gw_nl *nl, struct nlmsghdr *h)
{
	struct nl_item new, *item;
	enum nl_parsed parsed = nl_parse_addr(h, &nl->watch, &new);

	/* also one that is not ours may have been the source of a route, see below */
	if (parsed == NL_KEY && h->nlmsg_type == RTM_DELADDR && new.key.family == AF_INET)
		read_anew(nl, BIT(DUMP_ROUTE4));
	if (parsed != NL_ITEM)
		return;
	item = nl_table_find(&nl->addrs, &new.key);
	if (h->nlmsg_type == RTM_DELADDR) {
		if (item == NULL)
			return;
		nl_table_del(&nl->addrs, item);
		nl->changed = nl->addr_stale = true;
		/* routes that had it as their source are gone, without a message */
		read_anew(nl, DUMP_ROUTES);
		return;
	}
	if (item == NULL)
		nl->changed = nl->addr_stale = true;
	item = put(nl, &nl->addrs, &new);
	if (item != NULL)
		item->addr = new.addr;
}

static bool
has_foreign_route(const struct gw_nl *nl, unsigned int ifindex)
{
	for (uint32_t i = 0; i < nl->routes.n; i++) {
		const struct gw_nl_route *r = &nl->routes.item[i].route;

		if (r->type == GW_NL_FOREIGN && (r->ifindex == ifindex || r->ifindex == 0))
			return true;
	}
	return false;
}

static void
on_link(struct gw_nl *nl, struct nlmsghdr *h)
{
	const struct ifinfomsg *ifi = nlmsg_data(h);
	bool up = h->nlmsg_type == RTM_NEWLINK && (ifi->ifi_flags & IFF_UP) != 0;

	if (!nlmsg_valid_hdr(h, sizeof(*ifi)) || ifi->ifi_family != AF_UNSPEC)
		return;
	if (!nl_watched(&nl->watch, (unsigned int)ifi->ifi_index)) {
		if (!up && has_foreign_route(nl, (unsigned int)ifi->ifi_index))
			read_anew(nl, DUMP_ROUTES);
		return;
	}
	for (unsigned int i = 0; i < nl->watch.n; i++)
		if (nl->ifindex[i] == (unsigned int)ifi->ifi_index && nl->up[i] != up) {
			nl->up[i] = up;
			read_anew(nl, DUMP_ALL);
		}
}

static int
on_message(struct nl_msg *msg, void *arg)
{
	struct gw_nl *nl = arg;
	struct nlmsghdr *h = nlmsg_hdr(msg);

	/* of the kernel only */
	if (nlmsg_get_src(msg)->nl_pid != 0)
		return NL_OK;
	switch (h->nlmsg_type) {
	case RTM_NEWROUTE:
	case RTM_DELROUTE:
		on_route(nl, h);
		break;
	case RTM_NEWNEIGH:
	case RTM_DELNEIGH:
		on_neigh(nl, h);
		break;
	case RTM_NEWADDR:
	case RTM_DELADDR:
		on_addr(nl, h);
		break;
	case RTM_NEWLINK:
	case RTM_DELLINK:
		on_link(nl, h);
		break;
	case RTM_DELNEXTHOP:
		nl->pending |= DUMP_ROUTES;
		break;
	}
	return NL_OK;
}

/* -- sockets ------------------------------------------------------------ */

static int
subscribe(struct nl_sock *sk)
{
	static const int groups[] = {RTNLGRP_LINK, RTNLGRP_NEIGH, RTNLGRP_IPV4_IFADDR,
			RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV6_ROUTE};

	for (unsigned int i = 0; i < sizeof(groups) / sizeof(groups[0]); i++)
		if (nl_socket_add_membership(sk, groups[i]) < 0)
			return -EIO;
	/* kernels before 5.3 have no nexthop objects */
	nl_socket_add_membership(sk, RTNLGRP_NEXTHOP);
	return 0;
}

/** The sockets that follow the kernel; those of before are closed. */
static int
open_events(struct gw_nl *nl)
{
	struct epoll_event ev = {.events = EPOLLIN};
	const int size = RCVBUF;

	nl_socket_free(nl->events);
	nl_socket_free(nl->dumps);
	nl->events = nl_socket_open();
	nl->dumps = nl_socket_open();
	if (nl->events == NULL || nl->dumps == NULL || subscribe(nl->events) < 0)
		return -EIO;
	/* FORCE goes beyond rmem_max, and needs CAP_NET_ADMIN, which we have for the TAPs */
	if (setsockopt(nl_socket_get_fd(nl->events), SOL_SOCKET, SO_RCVBUFFORCE, &size,
			    sizeof(size)) < 0)
		nl_socket_set_buffer_size(nl->events, size, 0);
	nl_socket_disable_seq_check(nl->events);
	nl_socket_modify_cb(nl->events, NL_CB_VALID, NL_CB_CUSTOM, on_message, nl);
	nl_socket_modify_cb(nl->dumps, NL_CB_VALID, NL_CB_CUSTOM, on_message, nl);
	if (nl_socket_set_nonblocking(nl->events) < 0 ||
			epoll_ctl(nl->epfd, EPOLL_CTL_ADD, nl_socket_get_fd(nl->events), &ev) < 0)
		return -EIO;
	nl->pending = DUMP_ALL;
	return 0;
}

static void
reopen(struct gw_nl *nl)
{
	nl->reopens++;
	GW_LOG(WARNING, "netlink socket died, opened again (%" PRIu64 " times)", nl->reopens);
	if (open_events(nl) < 0) {
		nl_socket_free(nl->events);
		nl->events = NULL; /* try again when the timer says so */
	}
}

/* -- reading anew ------------------------------------------------------- */

static struct nl_table *
table_of(struct gw_nl *nl, enum dump what)
{
	switch (what) {
	case DUMP_ADDR:
		return &nl->addrs;
	case DUMP_NEIGH:
		return &nl->neighs;
	default:
		return &nl->routes;
	}
}

/** Remove what the dump did not see. From the end: the last item fills a gap. */
static void
sweep(struct gw_nl *nl, enum dump what)
{
	struct nl_table *t = table_of(nl, what);
	const uint8_t family = what == DUMP_ROUTE4 ? AF_INET : AF_INET6;

	for (uint32_t i = t->n; i-- > 0;) {
		struct nl_item *item = &t->item[i];

		if (item->gen == nl->gen)
			continue;
		if (what == DUMP_NEIGH) {
			neigh_gone(nl, item);
			continue;
		}
		if (what != DUMP_ADDR && item->key.family != family)
			continue;
		nl_table_del(t, item);
		nl->changed = true;
		nl->addr_stale |= what == DUMP_ADDR;
		nl->route_stale |= what != DUMP_ADDR;
	}
}

static int
ask(struct gw_nl *nl, enum dump what)
{
	struct rtmsg rtm = {.rtm_family = what == DUMP_ROUTE4 ? AF_INET : AF_INET6};
	struct ifaddrmsg ifa = {.ifa_family = AF_UNSPEC};
	struct ndmsg ndm = {.ndm_family = AF_UNSPEC};

	switch (what) {
	case DUMP_ADDR:
		return nl_send_simple(nl->dumps, RTM_GETADDR, NLM_F_DUMP, &ifa, sizeof(ifa));
	case DUMP_NEIGH:
		return nl_send_simple(nl->dumps, RTM_GETNEIGH, NLM_F_DUMP, &ndm, sizeof(ndm));
	default:
		return nl_send_simple(nl->dumps, RTM_GETROUTE, NLM_F_DUMP, &rtm, sizeof(rtm));
	}
}

/** Read one kind anew. What a torn dump did not see is kept. */
static int
dump(struct gw_nl *nl, enum dump what)
{
	int rc = -NLE_DUMP_INTR;

	nl->dumping = true;
	for (int i = 0; i < MAX_DUMPS && rc == -NLE_DUMP_INTR; i++) {
		nl->gen++;
		rc = ask(nl, what);
		if (rc >= 0)
			rc = nl_recvmsgs_default(nl->dumps);
	}
	nl->dumping = false;
	if (rc == 0)
		sweep(nl, what);
	return rc;
}

static void
dump_pending(struct gw_nl *nl)
{
	unsigned int failed = 0;

	for (int what = 0; what < N_DUMPS; what++) {
		if ((nl->pending & BIT(what)) == 0)
			continue;
		nl->pending &= ~BIT(what);
		if (dump(nl, what) < 0)
			failed |= BIT(what);
	}
	/* out of memory in a dump sets bits of its own */
	nl->pending |= failed;
	if (nl->pending != 0)
		set_timer(nl);
	if (failed != 0) {
		/* an answer may still be on its way: a new socket has none */
		nl_socket_free(nl->dumps);
		nl->dumps = nl_socket_open();
		if (nl->dumps != NULL)
			nl_socket_modify_cb(nl->dumps, NL_CB_VALID, NL_CB_CUSTOM, on_message, nl);
	}
}

/* -- the interface ------------------------------------------------------ */

static void
read_events(struct gw_nl *nl)
{
	for (int i = 0; i < MAX_READS && nl->events != NULL; i++) {
		int rc = nl_recvmsgs_default(nl->events);

		if (rc >= 0)
			continue;
		if (rc == -NLE_AGAIN)
			return;
		if (rc != -NLE_NOMEM) {
			reopen(nl);
			return;
		}
		/* ENOBUFS: the kernel had more to say than the socket holds */
		nl->overruns++;
		nl->pending = DUMP_ALL;
		if ((nl->overruns & (nl->overruns - 1)) == 0)
			GW_LOG(NOTICE, "netlink messages lost (%" PRIu64 " times), all read anew",
					nl->overruns);
	}
}

bool
gw_nl_process(struct gw_nl *nl)
{
	uint64_t expired;
	bool changed;

	if (read(nl->timer, &expired, sizeof(expired)) == sizeof(expired)) {
		nl->pending |= nl->again;
		nl->again = 0;
	}
	if (nl->events == NULL || nl->dumps == NULL)
		reopen(nl);
	read_events(nl);
	if (nl->events == NULL || nl->dumps == NULL)
		set_timer(nl);
	else if (nl->pending != 0)
		dump_pending(nl);
	changed = nl->changed;
	nl->changed = false;
	return changed;
}

static int
init(struct gw_nl *nl, const unsigned int *ifindex, unsigned int n)
{
	struct epoll_event ev = {.events = EPOLLIN};

	nl->epfd = epoll_create1(EPOLL_CLOEXEC);
	nl->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	nl->ifindex = calloc(n + 1, sizeof(*nl->ifindex));
	nl->up = calloc(n + 1, sizeof(*nl->up));
	if (nl->epfd < 0 || nl->timer < 0 || nl->ifindex == NULL || nl->up == NULL)
		return -ENOMEM;
	memcpy(nl->ifindex, ifindex, n * sizeof(*ifindex));
	for (unsigned int i = 0; i < n; i++)
		nl->up[i] = true;
	nl->watch = (struct nl_watch){nl->ifindex, n};
	if (epoll_ctl(nl->epfd, EPOLL_CTL_ADD, nl->timer, &ev) < 0)
		return -errno;
	if (nl_request_open(&nl->req) < 0)
		return -EIO;
	return open_events(nl);
}

int
gw_nl_open(struct gw_nl **nl_out, const unsigned int *ifindex, unsigned int n, struct gw_error *err)
{
	struct gw_nl *nl = calloc(1, sizeof(*nl));
	int rc = -ENOMEM;

	*nl_out = NULL;
	if (nl != NULL) {
		nl->epfd = nl->timer = -1;
		rc = init(nl, ifindex, n);
	}
	if (rc == 0) {
		dump_pending(nl);
		if (nl->pending != 0)
			rc = -EIO;
	}
	if (rc < 0) {
		gw_error_set(err, NULL, 0, "cannot read the kernel's routes over netlink: %s",
				strerror(-rc));
		gw_nl_close(nl);
		return rc;
	}
	*nl_out = nl;
	return 0;
}

void
gw_nl_close(struct gw_nl *nl)
{
	if (nl == NULL)
		return;
	nl_socket_free(nl->events);
	nl_socket_free(nl->dumps);
	nl_request_close(&nl->req);
	if (nl->epfd >= 0)
		close(nl->epfd);
	if (nl->timer >= 0)
		close(nl->timer);
	nl_table_free(&nl->routes);
	nl_table_free(&nl->neighs);
	nl_table_free(&nl->addrs);
	free(nl->route_view);
	free(nl->neigh_view);
	free(nl->addr_view);
	free(nl->ifindex);
	free(nl->up);
	free(nl);
}

int
gw_nl_fd(const struct gw_nl *nl)
{
	return nl->epfd;
}

void
gw_nl_faults(const struct gw_nl *nl, uint64_t *overruns, uint64_t *reopens)
{
	*overruns = nl->overruns;
	*reopens = nl->reopens;
}

/** The last one of a prefix wins. */
static int
by_preference(const void *a, const void *b)
{
	const struct gw_nl_route *x = a, *y = b;
	const bool x_foreign = x->type == GW_NL_FOREIGN, y_foreign = y->type == GW_NL_FOREIGN;

	if (x_foreign != y_foreign)
		return y_foreign - x_foreign;
	return (x->metric < y->metric) - (x->metric > y->metric);
}

/** Room for @p n items in a view, and one more: n may be 0. False: the old one is as it was. */
static bool
resize(void *view, uint32_t n, size_t size)
{
	void *old, *new;

	memcpy(&old, view, sizeof(old));
	new = realloc(old, ((size_t)n + 1) * size);
	if (new == NULL)
		return false;
	memcpy(view, &new, sizeof(new));
	return true;
}

/* What is given out are copies, made when asked for after a change. */

const struct gw_nl_route *
gw_nl_routes(struct gw_nl *nl, unsigned int *n)
{
	const uint32_t count = nl->routes.n;

	*n = 0;
	if (nl->route_stale) {
		if (!resize(&nl->route_view, count, sizeof(*nl->route_view)))
			return NULL;
		for (uint32_t i = 0; i < count; i++)
			nl->route_view[i] = nl->routes.item[i].route;
		qsort(nl->route_view, count, sizeof(*nl->route_view), by_preference);
		nl->route_stale = false;
	}
	*n = count;
	return nl->route_view;
}

const struct gw_nl_neigh *
gw_nl_neighs(struct gw_nl *nl, unsigned int *n)
{
	const uint32_t count = nl->neighs.n;

	*n = 0;
	if (nl->neigh_stale) {
		if (!resize(&nl->neigh_view, count, sizeof(*nl->neigh_view)))
			return NULL;
		for (uint32_t i = 0; i < count; i++)
			nl->neigh_view[i] = nl->neighs.item[i].neigh;
		nl->neigh_stale = false;
	}
	*n = count;
	return nl->neigh_view;
}

const struct gw_nl_addr *
gw_nl_addrs(struct gw_nl *nl, unsigned int *n)
{
	const uint32_t count = nl->addrs.n;

	*n = 0;
	if (nl->addr_stale) {
		if (!resize(&nl->addr_view, count, sizeof(*nl->addr_view)))
			return NULL;
		for (uint32_t i = 0; i < count; i++)
			nl->addr_view[i] = nl->addrs.item[i].addr;
		nl->addr_stale = false;
	}
	*n = count;
	return nl->addr_view;
}

const struct gw_nl_neigh *
gw_nl_neigh_find(struct gw_nl *nl, unsigned int ifindex, const struct gw_addr *addr)
{
	struct nl_key key = {.family = addr->family, .number = ifindex};
	struct nl_item *item;

	memcpy(key.addr, &addr->a, gw_addr_len(addr->family));
	item = nl_table_find(&nl->neighs, &key);
	return item == NULL ? NULL : &item->neigh;
}

int
gw_nl_addr_add(struct gw_nl *nl, unsigned int ifindex, const struct gw_prefix *prefix,
		struct gw_error *err)
{
	return nl_request_addr(&nl->req, ifindex, prefix, err);
}

int
gw_nl_route_add(struct gw_nl *nl, const struct gw_config_route *route, unsigned int ifindex,
		struct gw_error *err)
{
	return nl_request_route(&nl->req, route, ifindex, err);
}

int
gw_nl_neigh_use(struct gw_nl *nl, unsigned int ifindex, const struct gw_addr *addr)
{
	return nl_request_neigh(
			&nl->req, ifindex, addr, gw_nl_neigh_find(nl, ifindex, addr) != NULL);
}
