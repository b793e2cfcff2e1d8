/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Selectors as a Linux peer has them: routes that lead to the policies. Any
 * route will do: what the machine has is left as it is.
 */

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "peer_priv.h"
#include "peer_script.h"

static int
by_local(const void *a, const void *b)
{
	const struct gw_prefix *x = &((const struct gw_peer_sel *)a)->sel->local;
	const struct gw_prefix *y = &((const struct gw_peer_sel *)b)->sel->local;
	int rc = x->addr.family - y->addr.family;

	if (rc == 0)
		rc = memcmp(&x->addr.a, &y->addr.a, gw_addr_len(x->addr.family));
	if (rc == 0)
		rc = x->len - y->len;
	if (rc != 0)
		return rc;
	/* as it was: the first that fits gives the source address */
	return ((const struct gw_peer_sel *)a)->index < ((const struct gw_peer_sel *)b)->index ? -1
											       : 1;
}

static bool
same_local(const struct gw_peer_sel *a, const struct gw_peer_sel *b)
{
	return a->sel->local.len == b->sel->local.len &&
			gw_addr_equal(&a->sel->local.addr, &b->sel->local.addr);
}

static int
digit(const struct gw_prefix *p)
{
	return p->addr.family == AF_INET6 ? 6 : 4;
}

/* A route to the outer address itself must stay the one it is. */
static bool
is_outer(const struct gw_peer_script *s, const struct gw_prefix *p)
{
	return p->len == gw_addr_len(p->addr.family) * 8 &&
			gw_addr_equal(&p->addr, &s->peer->tunnel->local);
}

/* A route, its source address, and all networks of the peer's that use it. */
static void
put_route(const struct gw_peer_script *s, const struct gw_peer_sel *sel, unsigned int n)
{
	const char *src = "-";
	char buf[GW_ADDR_STRLEN];

	for (unsigned int i = 0; i < n; i++)
		if (gw_prefix_has(&sel[i].sel->remote, &s->peer->tunnel->remote))
			src = s->them;
	gw_text_printf(s->out, "    peer_route -%d %s %s", digit(&sel->sel->local),
			gw_prefix_text(&sel->sel->local, buf), src);
	for (unsigned int i = 0; i < n; i++)
		gw_text_printf(s->out, " %s", gw_prefix_text(&sel[i].sel->remote, buf));
	gw_text_puts(s->out, "\n");
}

static void
put_unroute(const struct gw_peer_script *s, const struct gw_peer_sel *sel, unsigned int n)
{
	char buf[GW_ADDR_STRLEN];

	gw_text_printf(s->out, "    peer_unroute -%d %s\n", digit(&sel->sel->local),
			gw_prefix_text(&sel->sel->local, buf));
}

typedef void put(const struct gw_peer_script *s, const struct gw_peer_sel *sel, unsigned int n);

/* Once for each of our networks, with all selectors that have it. */
static int
for_each_local(const struct gw_peer_script *s, put *what)
{
	struct gw_peer_sel *sel = calloc(s->n_sel + 1, sizeof(*sel));
	unsigned int n;

	if (sel == NULL)
		return -ENOMEM;
	for (unsigned int i = 0; i < s->n_sel; i++)
		sel[i] = s->sel[i];
	qsort(sel, s->n_sel, sizeof(*sel), by_local);
	for (unsigned int i = 0; i < s->n_sel; i += n) {
		for (n = 1; i + n < s->n_sel && same_local(&sel[i], &sel[i + n]); n++)
			;
		if (!is_outer(s, &sel[i].sel->local))
			what(s, &sel[i], n);
	}
	free(sel);
	return 0;
}

/* Do networks that get a route hold the gateway's outer address, too? */
static bool
covers_outer(const struct gw_peer_script *s)
{
	for (unsigned int i = 0; i < s->n_sel; i++) {
		const struct gw_prefix *p = &s->sel[i].sel->local;

		if (p->len != 0 && !is_outer(s, p) && gw_prefix_has(p, &s->peer->tunnel->local))
			return true;
	}
	return false;
}

int
gw_peer_routes_put(const struct gw_peer_script *s)
{
	bool family[7] = {false};
	int v = s->peer->tunnel->local.family == AF_INET6 ? 6 : 4;

	if (covers_outer(s))
		gw_text_printf(s->out, peer_script_pin, s->us, v, s->us, v, s->us);
	if (for_each_local(s, put_route) != 0)
		return -ENOMEM;
	for (unsigned int i = 0; i < s->n_sel; i++)
		family[digit(&s->sel[i].sel->local)] = true;
	if (family[4])
		gw_text_puts(s->out, "    echo 1 >/proc/sys/net/ipv4/ip_forward\n");
	if (family[6])
		gw_text_puts(s->out, peer_script_forward6);
	return 0;
}

int
gw_peer_routes_down(const struct gw_peer_script *s)
{
	if (for_each_local(s, put_unroute) != 0)
		return -ENOMEM;
	if (covers_outer(s))
		gw_text_printf(s->out, "    peer_unroute -%d %s\n",
				s->peer->tunnel->local.family == AF_INET6 ? 6 : 4, s->us);
	return 0;
}
