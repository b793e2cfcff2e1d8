/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Selectors as a Linux peer has them: policies. All in the peer's view: its
 * traffic leaves from our remote to our local side.
 */

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include <rte_jhash.h>

#include "peer_priv.h"
#include "peer_script.h"

#define MAX_EXPANDED 64 /* policies of one selector and direction */
#define MAX_POLICIES 6144 /* of a script */
#define SLOTS \
	16384 /* a power of 2: MAX_POLICIES, one selector's more, and a socket's for each SA */
#define IKE_PORT 500
#define IKE_NAT_PORT 4500

/*
 * Linux takes the policy with the lowest number; the gateway the first that fits,
 * its "policies" before selectors, both as in the file. So each has a number by
 * its place there, and what it is not to draw into the tunnel the one before.
 */
#define PRIORITY_OUTER 10000u
#define PRIORITY_FIRST 20000u

enum level {
	LEVEL_OUTER, /* the tunnel's own packets, in clear */
	LEVEL_HOME, /* the peer's LAN, in clear */
	LEVEL_SELECTOR,
};

enum dir {
	DIR_IN,
	DIR_FWD,
	DIR_OUT, /* last: it starts the traffic */
};

static const char *const dir_names[] = {"in", "fwd", "out"};

struct policy {
	enum dir dir;
	enum level level;
	uint32_t index; /* see struct gw_peer_sel */
	struct gw_prefix src, dst;
	uint8_t proto; /* 0: any */
	uint8_t type; /* of ICMPv6; 0: any */
	uint16_t sport, dport; /* 0: any */
};

struct gw_peer_policies {
	struct policy *p;
	unsigned int n, cap;
	bool failed; /* no memory */
	uint16_t slot[SLOTS]; /* open addressing: 1 + the place in p; 0: free */
};

int
gw_peer_selectors(struct gw_peer_script *s)
{
	const struct gw_config *cfg = s->peer->cfg;
	const struct gw_config_tunnel *t = s->peer->tunnel;
	uint32_t index = cfg->n_policies;

	s->sel = calloc(t->n_selectors + cfg->n_policies + 1, sizeof(s->sel[0]));
	if (s->sel == NULL)
		return -ENOMEM;
	for (unsigned int i = 0; i < cfg->n_policies; i++) {
		const struct gw_config_policy *p = &cfg->policies[i];

		if (p->action == GW_ACTION_TUNNEL && strcmp(p->tunnel, t->name) == 0)
			s->sel[s->n_sel++] = (struct gw_peer_sel){&p->sel, i};
	}
	for (unsigned int i = 0; i < cfg->n_tunnels && strcmp(cfg->tunnels[i].name, t->name) != 0;
			i++)
		index += cfg->tunnels[i].n_selectors;
	for (unsigned int i = 0; i < t->n_selectors; i++)
		s->sel[s->n_sel++] = (struct gw_peer_sel){&t->selectors[i], index + i};
	return 0;
}

static bool
same_prefix(const struct gw_prefix *a, const struct gw_prefix *b)
{
	return a->len == b->len && gw_addr_equal(&a->addr, &b->addr);
}

/* Are the peer's networks part of ours, as with local = 0.0.0.0/0? */
static bool
is_around(const struct gw_selector *sel)
{
	return sel->local.len < sel->remote.len && gw_prefix_has(&sel->local, &sel->remote.addr);
}

static bool
equal(const struct policy *a, const struct policy *b)
{
	return a->dir == b->dir && same_prefix(&a->src, &b->src) && same_prefix(&a->dst, &b->dst) &&
			a->proto == b->proto && a->type == b->type && a->sport == b->sport &&
			a->dport == b->dport;
}

/* Where it is, or would go. */
static uint16_t *
find(struct gw_peer_policies *pol, const struct policy *one)
{
	const uint32_t rest[] = {one->dir, one->src.len, one->dst.len, one->proto, one->type,
			one->sport, one->dport};
	uint32_t h = rte_jhash_32b(rest, RTE_DIM(rest), 0);

	h = rte_jhash(&one->src.addr.a, gw_addr_len(one->src.addr.family), h);
	h = rte_jhash(&one->dst.addr.a, gw_addr_len(one->dst.addr.family), h);
	for (;; h++)
		if (pol->slot[h % SLOTS] == 0 || equal(&pol->p[pol->slot[h % SLOTS] - 1], one))
			return &pol->slot[h % SLOTS];
}

/* The kernel has one policy for each selector: the first one counts. */
static void
add(struct gw_peer_policies *pol, const struct policy *one)
{
	uint16_t *slot = find(pol, one);
	struct policy *p;

	if (*slot != 0)
		return;
	if (pol->n == SLOTS - 1) {
		pol->failed = true;
		return;
	}
	if (pol->n == pol->cap) {
		p = realloc(pol->p, (pol->cap * 2 + 16) * sizeof(*p));
		if (p == NULL) {
			pol->failed = true;
			return;
		}
		pol->p = p;
		pol->cap = pol->cap * 2 + 16;
	}
	pol->p[pol->n++] = *one;
	*slot = pol->n;
}

static bool
any_port(const struct gw_port_range *r)
{
	return r->min == 0;
}

static unsigned int
count_ports(const struct gw_port_range *r)
{
	return any_port(r) ? 1 : r->max - r->min + 1u;
}

static int
refuse_ports(const struct gw_peer_script *s, const struct gw_selector *sel, struct gw_error *err)
{
	char local[GW_ADDR_STRLEN], remote[GW_ADDR_STRLEN];

	gw_error_set(err, NULL, 0,
			"tunnel \"%s\": selector %s -> %s has ports %u-%u -> %u-%u: a policy of "
			"Linux's takes one port or all, and this would be more than %d policies: "
			"let the selector have all ports, at both ends",
			s->peer->tunnel->name, gw_prefix_text(&sel->local, local),
			gw_prefix_text(&sel->remote, remote), sel->local_ports.min,
			sel->local_ports.max, sel->remote_ports.min, sel->remote_ports.max,
			MAX_EXPANDED);
	return -EINVAL;
}

static int
add_selector(struct gw_peer_script *s, const struct gw_peer_sel *from, struct gw_error *err)
{
	const struct gw_selector *sel = from->sel;
	unsigned int n_local = count_ports(&sel->local_ports);
	unsigned int n_remote = count_ports(&sel->remote_ports);

	if ((uint64_t)n_local * n_remote > MAX_EXPANDED)
		return refuse_ports(s, sel, err);
	s->ports |= !any_port(&sel->local_ports) || !any_port(&sel->remote_ports);
	for (unsigned int i = 0; i < n_local * n_remote; i++) {
		uint16_t lport = any_port(&sel->local_ports) ? 0
							     : sel->local_ports.min + i / n_remote;
		uint16_t rport = any_port(&sel->remote_ports)
				? 0
				: sel->remote_ports.min + i % n_remote;
		struct policy p = {DIR_OUT, LEVEL_SELECTOR, from->index, sel->remote, sel->local,
				sel->proto, 0, rport, lport};

		add(s->policies, &p);
		p = (struct policy){DIR_IN, LEVEL_SELECTOR, from->index, sel->local, sel->remote,
				sel->proto, 0, lport, rport};
		add(s->policies, &p);
		p.dir = DIR_FWD;
		add(s->policies, &p);
	}
	return 0;
}

static uint32_t
home_of(const struct gw_selector *sel, const struct gw_prefix *remote, uint32_t index,
		uint32_t least)
{
	return index < least && is_around(sel) && same_prefix(&sel->remote, remote) ? index : least;
}

/*
 * The place of a LAN in clear: before the first that would draw it into any tunnel
 * of this peer. All these tunnels share it, and whichever is up first adds it.
 */
static uint32_t
home_index(const struct gw_peer *peer, const struct gw_peer_sel *from)
{
	const struct gw_config *cfg = peer->cfg;
	uint32_t least = from->index, index = cfg->n_policies;

	for (unsigned int i = 0; i < cfg->n_policies; i++)
		if (cfg->policies[i].action == GW_ACTION_TUNNEL)
			least = home_of(&cfg->policies[i].sel, &from->sel->remote, i, least);
	for (unsigned int i = 0; i < cfg->n_tunnels; i++) {
		const struct gw_config_tunnel *t = &cfg->tunnels[i];

		for (unsigned int k = 0; k < t->n_selectors; k++, index++)
			if (gw_addr_equal(&t->remote, &peer->tunnel->remote))
				least = home_of(&t->selectors[k], &from->sel->remote, index, least);
	}
	return least;
}

/* What of the peer's LAN a selector around it would draw into the tunnel. */
static void
add_home(struct gw_peer_script *s, const struct gw_peer_sel *from)
{
	/* what hosts of a link say to each other: neighbours, groups, routers */
	static const char *const link[] = {
			"fe80::/10", "ff02::/16", "224.0.0.0/24", "255.255.255.255/32"};
	const struct gw_selector *sel = from->sel;
	struct policy p = {DIR_OUT, LEVEL_HOME, 0, sel->remote, sel->remote, 0, 0, 0, 0};

	if (*find(s->policies, &p) != 0)
		return;
	p.index = home_index(s->peer, from);
	for (p.dir = DIR_IN; p.dir <= DIR_OUT; p.dir++)
		add(s->policies, &p);
	for (size_t i = 0; i < RTE_DIM(link); i++) {
		gw_prefix_parse(link[i], &p.dst);
		if (p.dst.len < sel->local.len || !gw_prefix_has(&sel->local, &p.dst.addr))
			continue;
		p.dir = DIR_OUT;
		p.src = sel->remote;
		add(s->policies, &p);
		if (i == 0) { /* the only ones that are a source, too */
			p.dir = DIR_IN;
			p.src = p.dst;
			p.dst = sel->remote;
			add(s->policies, &p);
		}
	}
}

static void
host(const struct gw_addr *addr, struct gw_prefix *p)
{
	p->addr = *addr;
	p->len = gw_addr_len(addr->family) * 8;
}

static void
add_outer(struct gw_peer_policies *pol, enum dir dir, const struct gw_prefix *src,
		const struct gw_prefix *dst, uint8_t proto, uint16_t dport)
{
	struct policy p = {dir, LEVEL_OUTER, 0, *src, *dst, proto, 0, 0, dport};

	add(pol, &p);
}

/*
 * The outer packets where they fit a selector themselves: the kernel asks the
 * policy of ESP in UDP when it arrives, before it is decapsulated.
 */
static void
add_tunnel(struct gw_peer_script *s)
{
	struct gw_prefix us, them;

	host(&s->peer->tunnel->local, &us);
	host(&s->peer->tunnel->remote, &them);
	for (unsigned int i = 0; i < s->peer->n_sas; i++) {
		const struct ipsec_pcpu_sa_params *prm = s->peer->sas[i].prm;

		if (prm->dir == IPSEC_PCPU_OUT && prm->encap_dport != 0)
			add_outer(s->policies, DIR_IN, &us, &them, IPPROTO_UDP, prm->encap_dport);
	}
	add_outer(s->policies, DIR_IN, &us, &them, IPPROTO_UDP, IKE_PORT);
	add_outer(s->policies, DIR_IN, &us, &them, IPPROTO_UDP, IKE_NAT_PORT);
	add_outer(s->policies, DIR_OUT, &them, &us, IPPROTO_UDP, IKE_PORT);
	add_outer(s->policies, DIR_OUT, &them, &us, IPPROTO_UDP, IKE_NAT_PORT);
	add_outer(s->policies, DIR_IN, &us, &them, IPPROTO_ESP, 0);
	add_outer(s->policies, DIR_OUT, &them, &us, IPPROTO_ESP, 0);
}

/*
 * ICMPv6 that never leaves a link: multicast listeners, which switches go by, and
 * neighbour discovery. Without them no outer packet gets away.
 */
static void
add_link(struct gw_peer_script *s)
{
	static const uint8_t types[] = {130, 131, 132, 133, 134, 135, 136, 137, 143};
	struct policy p = {.level = LEVEL_OUTER, .proto = IPPROTO_ICMPV6};

	p.src.addr.family = p.dst.addr.family = AF_INET6;
	for (size_t i = 0; i < RTE_DIM(types); i++) {
		p.type = types[i];
		p.dir = DIR_IN;
		add(s->policies, &p);
		p.dir = DIR_OUT;
		add(s->policies, &p);
	}
}

static int
add_all(struct gw_peer_script *s, struct gw_error *err)
{
	const struct gw_config_tunnel *t = s->peer->tunnel;
	bool tunnel = false, link = false;
	int rc = 0;

	for (unsigned int i = 0; i < s->n_sel; i++) {
		const struct gw_selector *sel = s->sel[i].sel;
		bool us = gw_prefix_has(&sel->local, &t->local);
		bool them = gw_prefix_has(&sel->remote, &t->remote);
		bool any = sel->local.len == 0 || sel->remote.len == 0;

		tunnel |= us && them;
		link |= sel->local.addr.family == AF_INET6 && (us || them || any);
	}
	if (tunnel)
		add_tunnel(s);
	if (link)
		add_link(s);
	for (unsigned int i = 0; rc == 0 && s->policies->n <= MAX_POLICIES && i < s->n_sel; i++) {
		rc = add_selector(s, &s->sel[i], err);
		if (is_around(s->sel[i].sel))
			add_home(s, &s->sel[i]);
	}
	return rc;
}

int
gw_peer_policies_make(struct gw_peer_script *s, struct gw_error *err)
{
	const struct gw_peer_policies *pol;
	int rc = 0;

	s->policies = calloc(1, sizeof(*s->policies));
	if (s->policies != NULL)
		rc = add_all(s, err);
	pol = s->policies;
	if (rc == 0 && (pol == NULL || pol->failed)) {
		gw_error_set(err, NULL, 0, "no memory");
		rc = -ENOMEM;
	} else if (rc == 0 && pol->n > MAX_POLICIES) {
		gw_error_set(err, NULL, 0,
				"tunnel \"%s\": its selectors are %u policies or more, a script has %d "
				"at most: take larger networks, or all ports",
				s->peer->tunnel->name, pol->n, MAX_POLICIES);
		rc = -E2BIG;
	} else if (rc == 0 && pol->n == 0) {
		gw_error_set(err, NULL, 0,
				"tunnel \"%s\" has no selector: nothing would go into it",
				s->peer->tunnel->name);
		rc = -ENOENT;
	}
	return rc;
}

void
gw_peer_policies_free(struct gw_peer_policies *pol)
{
	if (pol != NULL)
		free(pol->p);
	free(pol);
}

static uint32_t
priority(const struct policy *p)
{
	if (p->level == LEVEL_OUTER)
		return PRIORITY_OUTER;
	return PRIORITY_FIRST + 2 * p->index + (p->level == LEVEL_SELECTOR);
}

static void
put_policy(const struct gw_peer_script *s, const struct policy *p)
{
	char a[GW_ADDR_STRLEN], b[GW_ADDR_STRLEN];

	gw_text_printf(s->out, "    echo \"xfrm policy add dir %s src %s dst %s", dir_names[p->dir],
			gw_prefix_text(&p->src, a), gw_prefix_text(&p->dst, b));
	if (p->proto != 0)
		gw_text_printf(s->out, " proto %u", p->proto);
	if (p->type != 0)
		gw_text_printf(s->out, " type %u", p->type);
	if (p->sport != 0)
		gw_text_printf(s->out, " sport %u", p->sport);
	if (p->dport != 0)
		gw_text_printf(s->out, " dport %u", p->dport);
	gw_text_printf(s->out, " priority %u", priority(p));
	if (p->level == LEVEL_SELECTOR)
		gw_text_printf(s->out, " tmpl src %s dst %s proto esp reqid %u mode tunnel",
				p->dir == DIR_OUT ? s->them : s->us,
				p->dir == DIR_OUT ? s->us : s->them, s->reqid);
	gw_text_puts(s->out, "\"\n");
}

void
gw_peer_policies_put(const struct gw_peer_script *s, bool clear)
{
	const struct gw_peer_policies *pol = s->policies;

	for (enum dir dir = DIR_IN; dir <= DIR_OUT; dir++)
		for (unsigned int i = 0; i < pol->n; i++)
			if (pol->p[i].dir == dir && (pol->p[i].level != LEVEL_SELECTOR) == clear)
				put_policy(s, &pol->p[i]);
}

static bool
overlap(const struct gw_prefix *a, const struct gw_prefix *b)
{
	return gw_prefix_has(a->len < b->len ? a : b, a->len < b->len ? &b->addr : &a->addr);
}

/* Does the gateway let something of the tunnel's pass in clear? */
static bool
has_exception(const struct gw_peer_script *s)
{
	const struct gw_config *cfg = s->peer->cfg;

	for (unsigned int k = 0; k < cfg->n_policies; k++) {
		const struct gw_config_policy *p = &cfg->policies[k];

		for (unsigned int i = 0; p->action == GW_ACTION_BYPASS && i < s->n_sel; i++)
			if (overlap(&p->sel.local, &s->sel[i].sel->local) &&
					overlap(&p->sel.remote, &s->sel[i].sel->remote))
				return true;
	}
	return false;
}

static void
put_same(const struct gw_peer_script *s)
{
	char buf[GW_ADDR_STRLEN];

	for (unsigned int i = 0; i < s->n_sel; i++) {
		const struct gw_selector *sel = s->sel[i].sel;

		if (!same_prefix(&sel->local, &sel->remote))
			continue;
		gw_prefix_text(&sel->local, buf);
		gw_text_printf(s->out,
				"    # %s is at both ends: all of it goes into the tunnel. Give the "
				"networks of\n    # this machine's links policies without tmpl and of a "
				"lower priority number.\n",
				buf);
		if (sel->local.len == 0)
			gw_text_printf(s->out,
					"    peer_say \"%s <-> %s: everything but the tunnel's own packets "
					"goes into it now\"\n",
					buf, buf);
	}
}

void
gw_peer_policies_notes(const struct gw_peer_script *s)
{
	gw_text_puts(s->out,
			"    # No \"flag 0x4\" (CPU_ACQUIRE): without a key manager it drops packets of\n"
			"    # CPUs without an SA of their own, although there is one for all.\n");
	put_same(s);
	if (s->ports)
		gw_text_puts(s->out, peer_script_ports);
	if (has_exception(s))
		gw_text_puts(s->out,
				"    # The gateway's configuration has bypass policies within these "
				"selectors: what\n    # is to pass in clear here, too, wants policies "
				"without tmpl.\n");
}
