/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Selectors as a Linux peer has them: policies, and routes that lead to them.
 * All in the peer's view: its traffic leaves from our remote to our local side.
 */

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "peer_commands.h"

#define MAX_EXPANDED 64 /* policies of one selector and direction */
#define MAX_POLICIES 6144 /* of a script: each is compared with all before it */
#define TYPE_NS 135 /* ICMPv6: neighbour solicitation */
#define TYPE_NA 136
#define IKE_PORT 500
#define IKE_NAT_PORT 4500

/*
 * Linux takes the policy with the lowest number. A block of numbers for each
 * level, and in it one for each tunnel, so that all of a tunnel are removed by it.
 */
#define LEVEL_SIZE 20000u

enum level {
	LEVEL_OUTER = 1, /* the tunnel's own packets, in clear */
	LEVEL_SELECTOR,
	LEVEL_HOME, /* the peer's LAN, in clear */
	LEVEL_AROUND, /* selectors that hold this LAN on both sides */
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
	struct gw_prefix src, dst;
	uint8_t proto; /* 0: any */
	uint8_t type; /* of ICMPv6; 0: any */
	uint16_t sport, dport; /* 0: any */
};

struct gw_peer_policies {
	struct policy *p;
	unsigned int n, cap;
	bool failed; /* no memory */
};

int
gw_peer_selectors(struct gw_peer *peer)
{
	const struct gw_config_tunnel *t = peer->tunnel;

	peer->n_sel = 0;
	peer->sel = calloc(t->n_selectors + peer->cfg->n_policies + 1, sizeof(peer->sel[0]));
	if (peer->sel == NULL)
		return -ENOMEM;
	for (unsigned int i = 0; i < t->n_selectors; i++)
		peer->sel[peer->n_sel++] = &t->selectors[i];
	for (unsigned int i = 0; i < peer->cfg->n_policies; i++) {
		const struct gw_config_policy *p = &peer->cfg->policies[i];

		if (p->action == GW_ACTION_TUNNEL && strcmp(p->tunnel, t->name) == 0)
			peer->sel[peer->n_sel++] = &p->sel;
	}
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

/* The kernel has one policy for each selector: the first one counts. */
static void
add(struct gw_peer_policies *pol, const struct policy *one)
{
	struct policy *p;

	for (unsigned int i = 0; i < pol->n; i++)
		if (equal(&pol->p[i], one))
			return;
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
}

static void
add_clear(struct gw_peer_policies *pol, enum level level, enum dir dir, const struct gw_prefix *src,
		const struct gw_prefix *dst, uint8_t proto)
{
	struct policy p = {.dir = dir, .level = level, .src = *src, .dst = *dst, .proto = proto};

	add(pol, &p);
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
refuse_ports(const struct gw_peer *peer, const struct gw_selector *sel, struct gw_error *err)
{
	char local[GW_ADDR_STRLEN], remote[GW_ADDR_STRLEN];

	gw_error_set(err, NULL, 0,
			"tunnel \"%s\": selector %s -> %s has ports %u-%u -> %u-%u: a policy of "
			"Linux's takes one port or all, and this would be more than %d policies: "
			"let the selector have all ports, at both ends",
			peer->tunnel->name, gw_prefix_text(&sel->local, local),
			gw_prefix_text(&sel->remote, remote), sel->local_ports.min,
			sel->local_ports.max, sel->remote_ports.min, sel->remote_ports.max,
			MAX_EXPANDED);
	return -EINVAL;
}

static int
add_selector(const struct gw_peer *peer, const struct gw_selector *sel,
		struct gw_peer_policies *pol, struct gw_error *err)
{
	enum level level = is_around(sel) ? LEVEL_AROUND : LEVEL_SELECTOR;
	unsigned int n_local = count_ports(&sel->local_ports);
	unsigned int n_remote = count_ports(&sel->remote_ports);

	if ((uint64_t)n_local * n_remote > MAX_EXPANDED)
		return refuse_ports(peer, sel, err);
	for (unsigned int i = 0; i < n_local * n_remote; i++) {
		uint16_t lport = any_port(&sel->local_ports) ? 0
							     : sel->local_ports.min + i / n_remote;
		uint16_t rport = any_port(&sel->remote_ports)
				? 0
				: sel->remote_ports.min + i % n_remote;
		struct policy p = {DIR_OUT, level, sel->remote, sel->local, sel->proto, 0, rport,
				lport};

		add(pol, &p);
		p = (struct policy){DIR_IN, level, sel->local, sel->remote, sel->proto, 0, lport,
				rport};
		add(pol, &p);
		p.dir = DIR_FWD;
		add(pol, &p);
	}
	return 0;
}

/* What of the peer's LAN a selector around it would draw into the tunnel. */
static void
add_home(const struct gw_selector *sel, struct gw_peer_policies *pol)
{
	/* what hosts of a link say to each other: neighbours, groups, routers */
	static const char *const link[] = {
			"fe80::/10", "ff02::/16", "224.0.0.0/24", "255.255.255.255/32"};
	struct gw_prefix to;

	add_clear(pol, LEVEL_HOME, DIR_OUT, &sel->remote, &sel->remote, 0);
	add_clear(pol, LEVEL_HOME, DIR_IN, &sel->remote, &sel->remote, 0);
	add_clear(pol, LEVEL_HOME, DIR_FWD, &sel->remote, &sel->remote, 0);
	for (size_t i = 0; i < RTE_DIM(link); i++) {
		gw_prefix_parse(link[i], &to);
		if (to.len < sel->local.len || !gw_prefix_has(&sel->local, &to.addr))
			continue;
		add_clear(pol, LEVEL_HOME, DIR_OUT, &sel->remote, &to, 0);
		if (i == 0) /* the only ones that are a source, too */
			add_clear(pol, LEVEL_HOME, DIR_IN, &to, &sel->remote, 0);
	}
}

static void
host(const struct gw_addr *addr, struct gw_prefix *p)
{
	p->addr = *addr;
	p->len = gw_addr_len(addr->family) * 8;
}

static void
add_udp(struct gw_peer_policies *pol, enum dir dir, const struct gw_prefix *src,
		const struct gw_prefix *dst, uint16_t dport)
{
	struct policy p = {dir, LEVEL_OUTER, *src, *dst, IPPROTO_UDP, 0, 0, dport};

	add(pol, &p);
}

/*
 * The outer packets where they fit a selector themselves: the kernel asks the
 * policy of ESP in UDP when it arrives, before it is decapsulated.
 */
static void
add_outer(const struct gw_peer *peer, struct gw_peer_policies *pol)
{
	static const uint8_t types[] = {TYPE_NS, TYPE_NA};
	struct gw_prefix us, them;

	host(&peer->tunnel->local, &us);
	host(&peer->tunnel->remote, &them);
	for (unsigned int i = 0; i < peer->n_sas; i++)
		if (peer->sas[i].prm->dir == IPSEC_PCPU_OUT && peer->sas[i].prm->encap_dport != 0)
			add_udp(pol, DIR_IN, &us, &them, peer->sas[i].prm->encap_dport);
	add_udp(pol, DIR_IN, &us, &them, IKE_PORT);
	add_udp(pol, DIR_IN, &us, &them, IKE_NAT_PORT);
	add_udp(pol, DIR_OUT, &them, &us, IKE_PORT);
	add_udp(pol, DIR_OUT, &them, &us, IKE_NAT_PORT);
	add_clear(pol, LEVEL_OUTER, DIR_IN, &us, &them, IPPROTO_ESP);
	add_clear(pol, LEVEL_OUTER, DIR_OUT, &them, &us, IPPROTO_ESP);
	for (size_t i = 0; us.addr.family == AF_INET6 && i < RTE_DIM(types); i++) {
		struct policy p = {DIR_IN, LEVEL_OUTER, us, them, IPPROTO_ICMPV6, types[i], 0, 0};

		add(pol, &p);
		p = (struct policy){DIR_OUT, LEVEL_OUTER, them, us, IPPROTO_ICMPV6, types[i], 0, 0};
		add(pol, &p);
	}
}

int
gw_peer_policies_make(
		const struct gw_peer *peer, struct gw_peer_policies **made, struct gw_error *err)
{
	struct gw_peer_policies *pol = calloc(1, sizeof(*pol));
	int rc = 0;

	for (unsigned int i = 0;
			rc == 0 && pol != NULL && pol->n <= MAX_POLICIES && i < peer->n_sel; i++) {
		const struct gw_selector *sel = peer->sel[i];

		if (gw_prefix_has(&sel->local, &peer->tunnel->local) &&
				gw_prefix_has(&sel->remote, &peer->tunnel->remote))
			add_outer(peer, pol);
		rc = add_selector(peer, sel, pol, err);
		if (is_around(sel))
			add_home(sel, pol);
	}
	if (rc == 0 && (pol == NULL || pol->failed)) {
		gw_error_set(err, NULL, 0, "no memory");
		rc = -ENOMEM;
	} else if (rc == 0 && pol->n > MAX_POLICIES) {
		gw_error_set(err, NULL, 0,
				"tunnel \"%s\": its selectors are %u policies or more, a script has %d "
				"at most: take larger networks, or all ports",
				peer->tunnel->name, pol->n, MAX_POLICIES);
		rc = -E2BIG;
	} else if (rc == 0 && pol->n == 0) {
		gw_error_set(err, NULL, 0,
				"tunnel \"%s\" has no selector: nothing would go into it",
				peer->tunnel->name);
		rc = -ENOENT;
	}
	if (rc != 0) {
		gw_peer_policies_free(pol);
		return rc;
	}
	*made = pol;
	return 0;
}

void
gw_peer_policies_free(struct gw_peer_policies *pol)
{
	if (pol != NULL)
		free(pol->p);
	free(pol);
}

static unsigned int
priority(const struct gw_peer *peer, enum level level)
{
	return level * LEVEL_SIZE + peer->reqid;
}

static void
put_policy(const struct gw_peer *peer, const struct policy *p, struct gw_text *out)
{
	const struct gw_config_tunnel *t = peer->tunnel;
	char a[GW_ADDR_STRLEN], b[GW_ADDR_STRLEN];
	bool clear = p->level == LEVEL_OUTER || p->level == LEVEL_HOME;

	/* two tunnels may want the same thing in clear */
	gw_text_printf(out, "xfrm policy %s dir %s src %s dst %s", clear ? "update" : "add",
			dir_names[p->dir], gw_prefix_text(&p->src, a), gw_prefix_text(&p->dst, b));
	if (p->proto != 0)
		gw_text_printf(out, " proto %u", p->proto);
	if (p->type != 0)
		gw_text_printf(out, " type %u", p->type);
	if (p->sport != 0)
		gw_text_printf(out, " sport %u", p->sport);
	if (p->dport != 0)
		gw_text_printf(out, " dport %u", p->dport);
	gw_text_printf(out, " priority %u", priority(peer, p->level));
	if (!clear)
		gw_text_printf(out, " tmpl src %s dst %s proto esp reqid %u mode tunnel",
				gw_addr_text(p->dir == DIR_OUT ? &t->remote : &t->local, a),
				gw_addr_text(p->dir == DIR_OUT ? &t->local : &t->remote, b),
				peer->reqid);
	gw_text_puts(out, "\n");
}

void
gw_peer_policies_put(
		const struct gw_peer *peer, const struct gw_peer_policies *pol, struct gw_text *out)
{
	for (enum level level = LEVEL_OUTER; level <= LEVEL_AROUND; level++)
		for (enum dir dir = DIR_IN; dir <= DIR_OUT; dir++)
			for (unsigned int i = 0; i < pol->n; i++)
				if (pol->p[i].dir == dir && pol->p[i].level == level)
					put_policy(peer, &pol->p[i], out);
}

static bool
overlap(const struct gw_prefix *a, const struct gw_prefix *b)
{
	return gw_prefix_has(a->len < b->len ? a : b, a->len < b->len ? &b->addr : &a->addr);
}

/* Does the gateway let something of the tunnel's pass in clear? */
static bool
has_exception(const struct gw_peer *peer)
{
	for (unsigned int k = 0; k < peer->cfg->n_policies; k++) {
		const struct gw_config_policy *p = &peer->cfg->policies[k];

		for (unsigned int i = 0; i < peer->n_sel; i++)
			if (p->action == GW_ACTION_BYPASS &&
					overlap(&p->sel.local, &peer->sel[i]->local) &&
					overlap(&p->sel.remote, &peer->sel[i]->remote))
				return true;
	}
	return false;
}

void
gw_peer_policies_notes(const struct gw_peer *peer, struct gw_text *out)
{
	char buf[GW_ADDR_STRLEN];

	gw_text_puts(out,
			"    # No \"flag 0x4\" (CPU_ACQUIRE): without a key manager it drops packets of\n"
			"    # CPUs without an SA of their own, although there is one for all.\n");
	for (unsigned int i = 0; i < peer->n_sel; i++)
		if (same_prefix(&peer->sel[i]->local, &peer->sel[i]->remote))
			gw_text_printf(out,
					"    # %s is at both ends: all of it goes into the tunnel. Give "
					"the networks of\n    # this machine's links policies without "
					"tmpl and of a lower priority number.\n",
					gw_prefix_text(&peer->sel[i]->local, buf));
	if (has_exception(peer))
		gw_text_puts(out,
				"    # The gateway's configuration has bypass policies within these "
				"selectors: what\n    # is to pass in clear here, too, wants policies "
				"without tmpl.\n");
}

void
gw_peer_policies_down(const struct gw_peer *peer, struct gw_text *out)
{
	for (enum level level = LEVEL_OUTER; level <= LEVEL_AROUND; level++)
		gw_text_printf(out, "    ip xfrm policy deleteall priority %u\n",
				priority(peer, level));
}

/*
 * Does the i-th selector want a route that none before it wanted? A route to the
 * outer address itself must stay the one it is.
 */
static bool
wants_route(const struct gw_peer *peer, unsigned int i)
{
	struct gw_prefix us;

	for (unsigned int k = 0; k < i; k++)
		if (same_prefix(&peer->sel[k]->local, &peer->sel[i]->local))
			return false;
	host(&peer->tunnel->local, &us);
	return !same_prefix(&peer->sel[i]->local, &us);
}

static int
digit(const struct gw_prefix *p)
{
	return p->addr.family == AF_INET6 ? 6 : 4;
}

static const char pin[] =
		"    # These networks hold the gateway's outer address: its own route stays.\n"
		"    peer_via=$(ip -o route get %s | sed -n 's/.* via \\([^ ]*\\) .*/\\1/p')\n"
		"    [ -z \"$peer_via\" ] || ip route replace %s via \"$peer_via\" dev \"$peer_dev\"\n";

/* A route, and all networks of the peer's that use it. */
static void
put_route(const struct gw_peer *peer, const struct gw_prefix *local, struct gw_text *out)
{
	char buf[GW_ADDR_STRLEN];

	gw_text_printf(out, "    peer_route -%d %s", digit(local), gw_prefix_text(local, buf));
	for (unsigned int i = 0; i < peer->n_sel; i++)
		if (same_prefix(&peer->sel[i]->local, local))
			gw_text_printf(out, " %s", gw_prefix_text(&peer->sel[i]->remote, buf));
	gw_text_puts(out, "\n");
}

/* Do networks that get a route hold the gateway's outer address, too? */
static bool
covers_outer(const struct gw_peer *peer)
{
	for (unsigned int i = 0; i < peer->n_sel; i++)
		if (peer->sel[i]->local.len != 0 && wants_route(peer, i) &&
				gw_prefix_has(&peer->sel[i]->local, &peer->tunnel->local))
			return true;
	return false;
}

void
gw_peer_routes_put(const struct gw_peer *peer, struct gw_text *out)
{
	bool family[7] = {false};
	char us[GW_ADDR_STRLEN];

	gw_addr_text(&peer->tunnel->local, us);
	if (covers_outer(peer))
		gw_text_printf(out, pin, us, us);
	for (unsigned int i = 0; i < peer->n_sel; i++) {
		family[digit(&peer->sel[i]->local)] = true;
		if (wants_route(peer, i))
			put_route(peer, &peer->sel[i]->local, out);
	}
	if (family[4])
		gw_text_puts(out, "    echo 1 >/proc/sys/net/ipv4/ip_forward\n");
	if (family[6])
		gw_text_puts(out,
				"    # A router takes no advertisements of others unless told to.\n"
				"    for peer_ra in /proc/sys/net/ipv6/conf/*/accept_ra; do\n"
				"        [ \"$(cat \"$peer_ra\")\" != 1 ] || echo 2 >\"$peer_ra\"\n"
				"    done\n"
				"    echo 1 >/proc/sys/net/ipv6/conf/all/forwarding\n");
}

void
gw_peer_routes_down(const struct gw_peer *peer, struct gw_text *out)
{
	char buf[GW_ADDR_STRLEN];

	for (unsigned int i = 0; i < peer->n_sel; i++)
		if (wants_route(peer, i))
			gw_text_printf(out, "    ip -%d route del %s proto 250 2>/dev/null\n",
					digit(&peer->sel[i]->local),
					gw_prefix_text(&peer->sel[i]->local, buf));
}
