/* SPDX-License-Identifier: BSD-3-Clause */

/* The configuration as a whole. All that is looked up among all SAs is sorted, not searched. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "config_parse.h"

#define IPV6_MIN_MTU 1280
#define IKE_PORT 500

/* One of something that must be there once only, with who says so. */
struct item {
	const void *key;
	const struct gw_config_tunnel *tunnel; /* NULL: what is checked has none */
	const struct gw_config_sa *sa;
	unsigned int i; /* order in the file */
};

typedef int (*cmp_fn)(const struct item *a, const struct item *b);

static bool
is_any(const struct gw_port_range *r)
{
	return r->min == 0 && r->max == UINT16_MAX;
}

const char *
cfg_selector_problem(const struct gw_selector *sel)
{
	bool ports = !is_any(&sel->local_ports) || !is_any(&sel->remote_ports);

	if (sel->local.addr.family == 0 || sel->remote.addr.family == 0)
		return "neither local nor remote: say \"0.0.0.0/0\" or \"::/0\" for all";
	if (sel->local.addr.family != sel->remote.addr.family)
		return "local and remote are not of the same family";
	if (sel->proto == 1 && sel->local.addr.family == AF_INET6)
		return "proto \"icmp\" is IPv4's: write \"icmpv6\"";
	if (sel->proto == 58 && sel->local.addr.family == AF_INET)
		return "proto \"icmpv6\" is IPv6's: write \"icmp\"";
	if (ports && sel->proto != 6 && sel->proto != 17 && sel->proto != 132)
		return "ports go with proto \"tcp\", \"udp\" or \"sctp\" only";
	return NULL;
}

static bool
addr_usable(const struct gw_addr *a)
{
	static const uint8_t none[16];

	if (memcmp(&a->a, none, gw_addr_len(a->family)) == 0)
		return false;
	if (a->family == AF_INET) /* not multicast or class E: below 224.0.0.0 */
		return rte_be_to_cpu_32(a->a.ip4) >> 24 < 224;
	return a->a.ip6[0] != 0xff;
}

static const struct gw_config_port *
find_port(const struct gw_config *cfg, const char *name)
{
	for (unsigned int i = 0; i < cfg->n_ports; i++)
		if (strcmp(cfg->ports[i].name, name) == 0)
			return &cfg->ports[i];
	return NULL;
}

/* The port that has this address. */
static const struct gw_config_port *
find_addr(const struct gw_config *cfg, const struct gw_addr *addr)
{
	for (unsigned int i = 0; i < cfg->n_ports; i++)
		for (unsigned int j = 0; j < cfg->ports[i].n_addresses; j++)
			if (gw_addr_equal(&cfg->ports[i].addresses[j].addr, addr))
				return &cfg->ports[i];
	return NULL;
}

/* Is this address on a network of the port, or link-local? */
static bool
on_link(const struct gw_config_port *port, const struct gw_addr *addr)
{
	if (addr->family == AF_INET6 && addr->a.ip6[0] == 0xfe && (addr->a.ip6[1] & 0xc0) == 0x80)
		return true;
	for (unsigned int i = 0; i < port->n_addresses; i++)
		if (gw_prefix_has(&port->addresses[i], addr))
			return true;
	return false;
}

/* The port that has address j of port i before it; NULL: none has. */
static const struct gw_config_port *
addr_owner(const struct gw_config *cfg, unsigned int i, unsigned int j)
{
	const struct gw_addr *addr = &cfg->ports[i].addresses[j].addr;
	unsigned int n;

	for (unsigned int k = 0; k <= i; k++) {
		n = k < i ? cfg->ports[k].n_addresses : j;
		for (unsigned int l = 0; l < n; l++)
			if (gw_addr_equal(&cfg->ports[k].addresses[l].addr, addr))
				return &cfg->ports[k];
	}
	return NULL;
}

static int
check_port_addr(const struct gw_config *cfg, unsigned int i, unsigned int j, struct gw_error *err)
{
	const struct gw_config_port *port = &cfg->ports[i], *other;
	const struct gw_addr *addr = &port->addresses[j].addr;
	char text[GW_ADDR_STRLEN];

	gw_addr_text(addr, text);
	if (!addr_usable(addr)) {
		gw_error_set(err, port->file, port->line,
				"port \"%s\": %s cannot be the address of an interface", port->name,
				text);
		return -EINVAL;
	}
	if (addr->family == AF_INET6 && port->mtu < IPV6_MIN_MTU) {
		gw_error_set(err, port->file, port->line,
				"port \"%s\": mtu %u is too small for IPv6, which wants %u",
				port->name, port->mtu, IPV6_MIN_MTU);
		return -EINVAL;
	}
	other = addr_owner(cfg, i, j);
	if (other == NULL)
		return 0;
	gw_error_set(err, port->file, port->line,
			"port \"%s\": address %s is also that of port \"%s\"", port->name, text,
			other->name);
	return -EINVAL;
}

static int
check_port(const struct gw_config *cfg, unsigned int i, struct gw_error *err)
{
	const struct gw_config_port *port = &cfg->ports[i], *other;
	int rc = 0;

	/* names that every network namespace has, or that sysctl uses */
	if (strcmp(port->name, "lo") == 0 || strcmp(port->name, "all") == 0 ||
			strcmp(port->name, "default") == 0) {
		gw_error_set(err, port->file, port->line,
				"port \"%s\": the kernel uses this name itself", port->name);
		return -EINVAL;
	}
	for (other = cfg->ports; other < port; other++) {
		if (strcmp(other->name, port->name) != 0 &&
				strcmp(other->device, port->device) != 0)
			continue;
		gw_error_set(err, port->file, port->line,
				"port \"%s\": its %s is that of port \"%s\" on line %u", port->name,
				strcmp(other->name, port->name) == 0 ? "name" : "device",
				other->name, other->line);
		return -EINVAL;
	}
	for (unsigned int j = 0; j < port->n_addresses && rc == 0; j++)
		rc = check_port_addr(cfg, i, j, err);
	return rc;
}

static int
check_ports(const struct gw_config *cfg, struct gw_error *err)
{
	int rc = 0;

	if (cfg->n_ports > GW_MAX_PORTS) {
		gw_error_set(err, cfg->file, cfg->ports[GW_MAX_PORTS].line,
				"%u ports, at most %d are possible", cfg->n_ports, GW_MAX_PORTS);
		return -EINVAL;
	}
	for (unsigned int i = 0; i < cfg->n_ports && rc == 0; i++)
		rc = check_port(cfg, i, err);
	return rc;
}

/* What is wrong with a route; NULL: nothing. */
static const char *
route_problem(const struct gw_config *cfg, const struct gw_config_route *r)
{
	const struct gw_config_port *port = find_port(cfg, r->port);

	if (r->via.family == 0 && r->port[0] == '\0')
		return "neither via nor port: say where packets go";
	if (r->port[0] != '\0' && port == NULL)
		return "there is no port of that name";
	if (r->via.family == 0)
		return NULL;
	if (r->via.family != r->to.addr.family)
		return "to and via are not of the same family";
	if (!addr_usable(&r->via) || find_addr(cfg, &r->via) != NULL)
		return "via is not the address of another host";
	if (port != NULL)
		return on_link(port, &r->via) ? NULL : "via is on none of the port's networks";
	for (unsigned int i = 0; i < cfg->n_ports; i++)
		for (unsigned int j = 0; j < cfg->ports[i].n_addresses; j++)
			if (gw_prefix_has(&cfg->ports[i].addresses[j], &r->via))
				return NULL;
	return "via is on no port's network: say port";
}

static int
check_routes(const struct gw_config *cfg, struct gw_error *err)
{
	const struct gw_config_route *r;
	char to[GW_ADDR_STRLEN];
	const char *problem;

	for (unsigned int i = 0; i < cfg->n_routes; i++) {
		r = &cfg->routes[i];
		problem = route_problem(cfg, r);
		if (problem == NULL)
			continue;
		gw_error_set(err, r->file, r->line, "route to %s: %s", gw_prefix_text(&r->to, to),
				problem);
		return -EINVAL;
	}
	return 0;
}

/* What is wrong with a tunnel's addresses; NULL: nothing. */
static const char *
tunnel_problem(const struct gw_config *cfg, const struct gw_config_tunnel *t)
{
	if (t->local.family != t->remote.family)
		return "local and remote are not of the same family";
	if (find_addr(cfg, &t->local) == NULL)
		return "local is not an address of any port";
	if (find_addr(cfg, &t->remote) != NULL)
		return "remote is an address of our own";
	if (!addr_usable(&t->remote))
		return "remote is not the address of a host";
	return NULL;
}

static bool
key_is_zero(const struct ipsec_pcpu_sa_params *prm)
{
	uint8_t any = 0;

	for (int i = 0; i < prm->algo->key_len - prm->algo->salt_len; i++)
		any |= prm->key[i];
	return any == 0;
}

/* What is wrong with an SA by itself; NULL: nothing. */
static const char *
sa_problem(const struct gw_config_tunnel *t, const struct ipsec_pcpu_sa_params *prm)
{
	bool out = prm->dir == IPSEC_PCPU_OUT;
	struct gw_addr s = {prm->family, prm->saddr}, d = {prm->family, prm->daddr};
	const char *reason = "not possible";

	if (out && (prm->encap_sport == 0) != (prm->encap_dport == 0))
		return "sport and dport: both for UDP encapsulation, or neither";
	if (!out && prm->encap_sport != 0 && prm->encap_dport == 0)
		return "sport without dport: dport is our UDP port, 4500";
	if (!out && prm->encap_dport == IKE_PORT)
		return "dport 500 is IKE's, and no ESP is looked for there: it is 4500";
	if (ipsec_pcpu_sa_check(prm, &reason) != 0)
		return reason;
	if (!gw_addr_equal(&s, out ? &t->local : &t->remote) ||
			!gw_addr_equal(&d, out ? &t->remote : &t->local))
		return "outer addresses are not those of the tunnel";
	return key_is_zero(prm) ? "the key is all zeros" : NULL;
}

static int
refuse_sa(const struct gw_config_tunnel *t, const struct gw_config_sa *sa, const char *problem,
		struct gw_error *err)
{
	gw_error_set(err, sa->file, sa->line, "tunnel \"%s\": SA 0x%08x %s: %s", t->name,
			sa->prm.spi, sa->prm.dir == IPSEC_PCPU_OUT ? "out" : "in", problem);
	return -EINVAL;
}

static int
refuse_twice(const struct item *first, const struct item *second, const char *what,
		struct gw_error *err)
{
	bool other_file = first->sa->file != NULL && first->sa->file != second->sa->file;
	char text[400], where[200] = "";

	if (first->sa->line > 0)
		snprintf(where, sizeof(where), " on line %u%s%s", first->sa->line,
				other_file ? " of " : "", other_file ? first->sa->file : "");
	snprintf(text, sizeof(text), "%s SA 0x%08x %s of tunnel \"%s\"%s", what, first->sa->prm.spi,
			first->sa->prm.dir == IPSEC_PCPU_OUT ? "out" : "in", first->tunnel->name,
			where);
	return refuse_sa(second->tunnel, second->sa, text, err);
}

#define SAME_KEY "its key is also that of"
#define SAME_SPI_IN "its SPI is also that of"
#define SAME_SPI_OUT "its SPI and peer are also those of"
#define SAME_PORTS "per-CPU SAs want a source port each, and its UDP ports are also those of"

/*
 * By the bytes of the key, but not the salt, and whatever the algorithm: with
 * AES-GCM, ICV lengths share the key stream.
 */
static int
cmp_key(const struct item *a, const struct item *b)
{
	const struct ipsec_pcpu_sa_params *pa = &a->sa->prm, *pb = &b->sa->prm;
	int la = pa->algo->key_len - pa->algo->salt_len;
	int lb = pb->algo->key_len - pb->algo->salt_len;

	return la != lb ? la - lb : memcmp(pa->key, pb->key, la);
}

/* Inbound SPIs are ours: one for each SA. Outbound ones are each peer's. */
static int
cmp_spi(const struct item *a, const struct item *b)
{
	const struct ipsec_pcpu_sa_params *pa = &a->sa->prm, *pb = &b->sa->prm;

	if (pa->dir != pb->dir)
		return pa->dir < pb->dir ? -1 : 1;
	if (pa->spi != pb->spi)
		return pa->spi < pb->spi ? -1 : 1;
	if (pa->dir == IPSEC_PCPU_IN)
		return 0;
	if (pa->family != pb->family)
		return pa->family - pb->family;
	return memcmp(&pa->daddr, &pb->daddr, gw_addr_len(pa->family));
}

static int
cmp_name(const struct item *a, const struct item *b)
{
	return strcmp(a->key, b->key);
}

bool
gw_config_same_ports(const struct ipsec_pcpu_sa_params *a, const struct ipsec_pcpu_sa_params *b)
{
	return a->dir == IPSEC_PCPU_OUT && b->dir == IPSEC_PCPU_OUT && a->pcpu != IPSEC_PCPU_ANY &&
			b->pcpu != IPSEC_PCPU_ANY && a->pcpu != b->pcpu && a->encap_sport != 0 &&
			a->encap_sport == b->encap_sport && a->encap_dport == b->encap_dport;
}

/* By tunnel and ports. Fallback SAs are not among those compared. */
static int
cmp_ports(const struct item *a, const struct item *b)
{
	const struct ipsec_pcpu_sa_params *pa = &a->sa->prm, *pb = &b->sa->prm;

	if (a->tunnel != b->tunnel)
		return a->tunnel < b->tunnel ? -1 : 1;
	if (pa->encap_sport != pb->encap_sport)
		return pa->encap_sport - pb->encap_sport;
	return pa->encap_dport - pb->encap_dport;
}

static int
cmp_prefix(const struct gw_prefix *a, const struct gw_prefix *b)
{
	if (a->addr.family != b->addr.family)
		return a->addr.family - b->addr.family;
	if (a->len != b->len)
		return a->len - b->len;
	return memcmp(&a->addr.a, &b->addr.a, gw_addr_len(a->addr.family));
}

static int
cmp_range(const struct gw_port_range *a, const struct gw_port_range *b)
{
	return a->min != b->min ? a->min - b->min : a->max - b->max;
}

static int
cmp_selector(const struct item *a, const struct item *b)
{
	const struct gw_selector *sa = a->key, *sb = b->key;
	int rc = cmp_prefix(&sa->local, &sb->local);

	if (rc == 0)
		rc = cmp_prefix(&sa->remote, &sb->remote);
	if (rc == 0)
		rc = sa->proto - sb->proto;
	if (rc == 0)
		rc = cmp_range(&sa->local_ports, &sb->local_ports);
	return rc != 0 ? rc : cmp_range(&sa->remote_ports, &sb->remote_ports);
}

static int
cmp_item(const void *a, const void *b, void *cmp)
{
	const struct item *x = a, *y = b;
	int rc = (*(cmp_fn *)cmp)(x, y);

	return rc != 0 ? rc : x->i < y->i ? -1 : x->i > y->i;
}

/* Sort; the index of the first that equals the one before it, or 0. */
static unsigned int
find_twice(struct item *items, unsigned int n, cmp_fn cmp)
{
	qsort_r(items, n, sizeof(items[0]), cmp_item, &cmp);
	for (unsigned int i = 1; i < n; i++)
		if (cmp(&items[i - 1], &items[i]) == 0)
			return i;
	return 0;
}

/* Source ports of per-CPU SAs. Leaves other items out, and in another order. */
static int
check_same_ports(struct item *items, unsigned int n, struct gw_error *err)
{
	const struct ipsec_pcpu_sa_params *prm;
	unsigned int m = 0;

	for (unsigned int i = 0; i < n; i++) {
		prm = &items[i].sa->prm;
		if (prm->dir == IPSEC_PCPU_OUT && prm->pcpu != IPSEC_PCPU_ANY &&
				prm->encap_sport != 0)
			items[m++] = items[i];
	}
	find_twice(items, m, cmp_ports);
	for (unsigned int i = 1; i < m; i++)
		if (items[i - 1].tunnel == items[i].tunnel &&
				gw_config_same_ports(&items[i - 1].sa->prm, &items[i].sa->prm))
			return refuse_twice(&items[i - 1], &items[i], SAME_PORTS, err);
	return 0;
}

static int
check_twice(struct item *items, unsigned int n, struct gw_error *err)
{
	unsigned int i = find_twice(items, n, cmp_key);

	if (i > 0)
		return refuse_twice(&items[i - 1], &items[i], SAME_KEY, err);
	i = find_twice(items, n, cmp_spi);
	if (i == 0)
		return 0;
	if (items[i].sa->prm.dir == IPSEC_PCPU_IN)
		return refuse_twice(&items[i - 1], &items[i], SAME_SPI_IN, err);
	return refuse_twice(&items[i - 1], &items[i], SAME_SPI_OUT, err);
}

/* Static keys without a memory of what was sent. */
static int
check_state(const struct gw_config *cfg, const struct gw_config_sa *sa, struct gw_error *err)
{
	if (sa->prm.dir != IPSEC_PCPU_OUT || cfg->state_file != NULL || cfg->allow_iv_reuse)
		return 0;
	gw_error_set(err, sa->file, sa->line,
			"SAs with static keys need a state file, or a restart uses IVs again; add: "
			"state_file = \"/var/lib/dpdk-pcpu-gw/state\";");
	return -EINVAL;
}

static int
check_tunnel_sas(const struct gw_config *cfg, const struct gw_config_tunnel *t, struct item *items,
		unsigned int *n, unsigned int *n_in, struct gw_error *err)
{
	const struct gw_config_sa *sa;
	const char *problem;

	for (unsigned int i = 0; i < t->n_sas; i++) {
		sa = &t->sas[i];
		problem = sa_problem(t, &sa->prm);
		if (problem != NULL)
			return refuse_sa(t, sa, problem, err);
		if (check_state(cfg, sa, err) != 0)
			return -EINVAL;
		*n_in += sa->prm.dir == IPSEC_PCPU_IN;
		if (*n_in > cfg->max_sas)
			return refuse_sa(t, sa, "more inbound SAs than max_sas", err);
		items[*n] = (struct item){.tunnel = t, .sa = sa, .i = *n};
		(*n)++;
	}
	return 0;
}

static int
check_sas(const struct gw_config *cfg, struct gw_error *err)
{
	unsigned int n = 0, n_in = 0;
	size_t room = 1;
	struct item *items;
	int rc = 0;

	for (unsigned int i = 0; i < cfg->n_tunnels; i++)
		room += cfg->tunnels[i].n_sas;
	items = calloc(room, sizeof(items[0]));
	if (items == NULL)
		return cfg_no_memory(err);
	for (unsigned int i = 0; i < cfg->n_tunnels && rc == 0; i++)
		rc = check_tunnel_sas(cfg, &cfg->tunnels[i], items, &n, &n_in, err);
	if (rc == 0)
		rc = check_twice(items, n, err);
	if (rc == 0)
		rc = check_same_ports(items, n, err);
	free(items);
	return rc;
}

static int
cmp_to_name(const void *name, const void *item)
{
	return strcmp(name, ((const struct item *)item)->key);
}

static int
check_policies(const struct gw_config *cfg, const struct item *names, bool *used,
		struct gw_error *err)
{
	const struct gw_config_policy *pol;
	const struct item *it;
	const char *problem;

	for (unsigned int i = 0; i < cfg->n_policies; i++) {
		pol = &cfg->policies[i];
		problem = cfg_selector_problem(&pol->sel);
		if (problem != NULL) {
			gw_error_set(err, pol->file, pol->line, "policy: %s", problem);
			return -EINVAL;
		}
		if (pol->action != GW_ACTION_TUNNEL)
			continue;
		it = bsearch(pol->tunnel, names, cfg->n_tunnels, sizeof(names[0]), cmp_to_name);
		if (it == NULL) {
			gw_error_set(err, pol->file, pol->line, "policy: there is no tunnel \"%s\"",
					pol->tunnel);
			return -EINVAL;
		}
		used[it->tunnel - cfg->tunnels] = true;
	}
	return 0;
}

static int
check_tunnel(const struct gw_config *cfg, const struct gw_config_tunnel *t, bool used,
		struct gw_error *err)
{
	const char *problem = tunnel_problem(cfg, t);

	if (problem == NULL && t->n_selectors == 0 && !used)
		problem = "it has no selectors, and no policy sends packets to it";
	for (unsigned int i = 0; i < t->n_selectors && problem == NULL; i++)
		problem = cfg_selector_problem(&t->selectors[i]);
	if (problem == NULL)
		return 0;
	gw_error_set(err, t->file, t->line, "tunnel \"%s\": %s", t->name, problem);
	return -EINVAL;
}

static int
check_tunnels(const struct gw_config *cfg, struct item *names, bool *used, struct gw_error *err)
{
	unsigned int i;
	int rc;

	for (i = 0; i < cfg->n_tunnels; i++)
		names[i] = (struct item){cfg->tunnels[i].name, &cfg->tunnels[i], NULL, i};
	i = find_twice(names, cfg->n_tunnels, cmp_name);
	if (i > 0) {
		gw_error_set(err, names[i].tunnel->file, names[i].tunnel->line,
				"tunnel \"%s\": its name is that of the tunnel on line %u",
				names[i].tunnel->name, names[i - 1].tunnel->line);
		return -EINVAL;
	}
	rc = check_policies(cfg, names, used, err);
	for (i = 0; i < cfg->n_tunnels && rc == 0; i++)
		rc = check_tunnel(cfg, &cfg->tunnels[i], used[i], err);
	return rc;
}

static int
refuse_selector(const struct item *first, const struct item *second, struct gw_error *err)
{
	const struct gw_selector *sel = second->key;
	char local[GW_ADDR_STRLEN], remote[GW_ADDR_STRLEN];

	gw_error_set(err, second->tunnel->file, second->tunnel->line,
			"tunnel \"%s\": its selector %s to %s is also that of tunnel \"%s\" on line "
			"%u: the first wins, the second never matches",
			second->tunnel->name, gw_prefix_text(&sel->local, local),
			gw_prefix_text(&sel->remote, remote), first->tunnel->name,
			first->tunnel->line);
	return -EINVAL;
}

/*
 * A selector that another tunnel has before: no packet gets to it. But where a
 * policy sends packets into the tunnel, it still says what may come out of it.
 */
static int
check_selectors(const struct gw_config *cfg, const bool *used, struct gw_error *err)
{
	unsigned int n = 0;
	struct item *items;
	size_t room = 1;
	int rc = 0;

	for (unsigned int i = 0; i < cfg->n_tunnels; i++)
		room += cfg->tunnels[i].n_selectors;
	items = calloc(room, sizeof(items[0]));
	if (items == NULL)
		return cfg_no_memory(err);
	for (unsigned int k = 0; k < cfg->n_tunnels; k++) {
		const struct gw_config_tunnel *t = &cfg->tunnels[k];

		for (unsigned int i = 0; i < t->n_selectors; i++, n++)
			items[n] = (struct item){&t->selectors[i], t, NULL, n};
	}
	find_twice(items, n, cmp_selector);
	for (unsigned int i = 1; i < n && rc == 0; i++)
		if (items[i - 1].tunnel != items[i].tunnel &&
				!used[items[i].tunnel - cfg->tunnels] &&
				cmp_selector(&items[i - 1], &items[i]) == 0)
			rc = refuse_selector(&items[i - 1], &items[i], err);
	free(items);
	return rc;
}

static int
check_tunnels_policies(const struct gw_config *cfg, struct gw_error *err)
{
	struct item *names = calloc(cfg->n_tunnels + 1, sizeof(names[0]));
	bool *used = calloc(cfg->n_tunnels + 1, sizeof(used[0]));
	int rc;

	if (names == NULL || used == NULL)
		rc = cfg_no_memory(err);
	else
		rc = check_tunnels(cfg, names, used, err);
	if (rc == 0)
		rc = check_selectors(cfg, used, err);
	free(names);
	free(used);
	return rc;
}

int
gw_config_check(const struct gw_config *cfg, struct gw_error *err)
{
	int rc;

	if (cfg->n_tunnels > GW_MAX_TUNNELS) {
		gw_error_set(err, cfg->tunnels[GW_MAX_TUNNELS].file,
				cfg->tunnels[GW_MAX_TUNNELS].line,
				"%u tunnels, at most %d are possible", cfg->n_tunnels,
				GW_MAX_TUNNELS);
		return -EINVAL;
	}
	rc = check_ports(cfg, err);
	if (rc == 0)
		rc = check_routes(cfg, err);
	if (rc == 0)
		rc = check_tunnels_policies(cfg, err);
	if (rc == 0)
		rc = check_sas(cfg, err);
	return rc;
}

static const char *
clash(const struct item *a, const struct item *b)
{
	if (cmp_key(a, b) == 0)
		return SAME_KEY;
	if (a->tunnel == b->tunnel && gw_config_same_ports(&a->sa->prm, &b->sa->prm))
		return SAME_PORTS;
	if (cmp_spi(a, b) != 0)
		return NULL;
	return b->sa->prm.dir == IPSEC_PCPU_IN ? SAME_SPI_IN : SAME_SPI_OUT;
}

int
gw_config_check_sa(const struct gw_config *cfg, const struct gw_config_tunnel *tunnel,
		const struct gw_config_sa *sa, struct gw_error *err)
{
	struct item new = {.tunnel = tunnel, .sa = sa}, old;
	const char *problem = sa_problem(tunnel, &sa->prm);

	if (problem != NULL)
		return refuse_sa(tunnel, sa, problem, err);
	for (unsigned int i = 0; i < cfg->n_tunnels; i++) {
		old.tunnel = &cfg->tunnels[i];
		for (unsigned int j = 0; j < old.tunnel->n_sas; j++) {
			old.sa = &old.tunnel->sas[j];
			problem = old.sa != sa ? clash(&old, &new) : NULL;
			if (problem != NULL)
				return refuse_twice(&old, &new, problem, err);
		}
	}
	return 0;
}
