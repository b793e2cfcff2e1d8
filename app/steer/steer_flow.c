/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * One rte_flow rule per inbound SA, its SPI to its queue. What a NIC makes of a rule is
 * not to be known from here: gw_steer_judge() looks where packets land.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_flow.h>

#include "steer.h"

/**
 * What a rule matches besides the SPI. Ethernet, IP and UDP stand in each without more
 * than that they are there, but for what is named here.
 */
struct shape {
	const char *name;
	bool udp_port;
	bool daddr;
};

/*
 * Tried in this order for each kind of SA; the first that the driver takes is used. What
 * is known of drivers is from their sources (22.11 to 24.11), not from hardware.
 */
static const struct shape shapes[] = {
		/* mlx5: without the port it takes 4500 for meant. The others: as they like */
		{"UDP port and SPI", true, false},
		/* iavf, ice: an ESP rule has addresses and SPI only; i40e: the SPI alone */
		{"SPI", false, false},
		/* no driver is known to insist on an address: for those that do */
		{"address, UDP port and SPI", true, true},
		{"address and SPI", false, true},
};

struct rule {
	TAILQ_ENTRY(rule) next;
	struct rte_flow *flow;
	const struct shape *shape;
	uint16_t queue; /* that it leads to */
};

TAILQ_HEAD(rule_list, rule);

struct flow_state {
	struct rule_list rules; /* all, so that none is left at close */
	const struct shape *shape[2][2]; /* [IPv6][in UDP]; NULL: not known yet */
	bool one_per_match; /* the driver refuses a second rule with the same match */
};

/** A rule as rte_flow takes it; items point into it. */
struct flow_rule {
	struct rte_flow_item_ipv4 ip4, ip4_mask;
	struct rte_flow_item_ipv6 ip6, ip6_mask;
	struct rte_flow_item_udp udp, udp_mask;
	struct rte_flow_item_esp esp, esp_mask;
	struct rte_flow_item items[5];
	struct rte_flow_action_queue queue;
	struct rte_flow_action actions[2];
};

static const struct rte_flow_attr ingress = {.ingress = 1};

static bool
is_ip6(const struct gw_steer_sa *sa)
{
	return sa->tuple.family == AF_INET6;
}

static bool
in_udp(const struct gw_steer_sa *sa)
{
	return sa->tuple.dport != 0;
}

static struct rte_flow_item
ip_item(struct flow_rule *fr, const struct shape *shape, const struct gw_steer_sa *sa)
{
	if (is_ip6(sa)) {
		memcpy(&fr->ip6.hdr.dst_addr, sa->tuple.daddr.ip6, 16);
		memset(&fr->ip6_mask.hdr.dst_addr, 0xff, 16);
		return (struct rte_flow_item){.type = RTE_FLOW_ITEM_TYPE_IPV6,
				.spec = shape->daddr ? &fr->ip6 : NULL,
				.mask = shape->daddr ? &fr->ip6_mask : NULL};
	}
	fr->ip4.hdr.dst_addr = sa->tuple.daddr.ip4;
	fr->ip4_mask.hdr.dst_addr = RTE_BE32(UINT32_MAX);
	return (struct rte_flow_item){.type = RTE_FLOW_ITEM_TYPE_IPV4,
			.spec = shape->daddr ? &fr->ip4 : NULL,
			.mask = shape->daddr ? &fr->ip4_mask : NULL};
}

static struct rte_flow_item
udp_item(struct flow_rule *fr, const struct shape *shape, const struct gw_steer_sa *sa)
{
	fr->udp.hdr.dst_port = rte_cpu_to_be_16(sa->tuple.dport);
	fr->udp_mask.hdr.dst_port = RTE_BE16(UINT16_MAX);
	return (struct rte_flow_item){.type = RTE_FLOW_ITEM_TYPE_UDP,
			.spec = shape->udp_port ? &fr->udp : NULL,
			.mask = shape->udp_port ? &fr->udp_mask : NULL};
}

/** The whole SPI: ice and iavf go on without it at any other mask, i40e refuses. */
static struct rte_flow_item
esp_item(struct flow_rule *fr, const struct gw_steer_sa *sa)
{
	fr->esp.hdr.spi = rte_cpu_to_be_32(sa->spi);
	fr->esp_mask.hdr.spi = RTE_BE32(UINT32_MAX);
	return (struct rte_flow_item){
			.type = RTE_FLOW_ITEM_TYPE_ESP, .spec = &fr->esp, .mask = &fr->esp_mask};
}

static void
make_rule(struct flow_rule *fr, const struct shape *shape, const struct gw_steer_sa *sa,
		uint16_t queue)
{
	unsigned int n = 0;

	memset(fr, 0, sizeof(*fr));
	fr->items[n++].type = RTE_FLOW_ITEM_TYPE_ETH;
	fr->items[n++] = ip_item(fr, shape, sa);
	if (in_udp(sa))
		fr->items[n++] = udp_item(fr, shape, sa);
	fr->items[n++] = esp_item(fr, sa);
	fr->items[n].type = RTE_FLOW_ITEM_TYPE_END;
	fr->queue.index = queue;
	fr->actions[0].type = RTE_FLOW_ACTION_TYPE_QUEUE;
	fr->actions[0].conf = &fr->queue;
	fr->actions[1].type = RTE_FLOW_ACTION_TYPE_END;
}

/** Can there be rules of this shape? 0, or -errno and what the driver says. */
static int
validate(uint16_t port, const struct shape *shape, const struct gw_steer_sa *sa,
		struct rte_flow_error *err)
{
	struct flow_rule fr;

	memset(err, 0, sizeof(*err));
	make_rule(&fr, shape, sa, sa->queue);
	return rte_flow_validate(port, &ingress, fr.items, fr.actions, err);
}

/** The first shape that the driver takes; NULL: none, @p rc and @p err are of the SPI alone. */
static const struct shape *
find_shape(uint16_t port, const struct gw_steer_sa *sa, int *rc, struct rte_flow_error *err)
{
	struct rte_flow_error e;
	int rv;

	*rc = 0;
	for (unsigned int i = 0; i < RTE_DIM(shapes); i++) {
		if (shapes[i].udp_port && !in_udp(sa))
			continue;
		rv = validate(port, &shapes[i], sa, &e);
		if (rv == 0)
			return &shapes[i];
		if (!shapes[i].udp_port && !shapes[i].daddr) {
			*rc = rv;
			*err = e;
		}
	}
	return NULL;
}

static int
flow_probe(struct gw_steer_port *sp, struct gw_error *why)
{
	const struct gw_port *port = sp->port;
	struct gw_steer_sa sample = {.spi = 0x12345678,
			.tuple = {.family = AF_INET,
					.daddr.ip4 = RTE_BE32(0xc0000201),
					.dport = 4500}};
	struct rte_flow_error err = {.message = NULL};
	struct flow_state *st;
	int rc;

	if (port->n_rxq < 2) {
		gw_error_set(why, NULL, 0, "the port has one queue");
		return -ENOTSUP;
	}
	sample.queue = port->n_rxq - 1;
	if (find_shape(port->id, &sample, &rc, &err) == NULL) {
		sample.tuple.dport = 0;
		if (find_shape(port->id, &sample, &rc, &err) == NULL) {
			gw_error_set(why, NULL, 0, "%s takes no ESP rule: %s", port->driver,
					err.message != NULL ? err.message : strerror(-rc));
			return rc;
		}
	}
	st = calloc(1, sizeof(*st));
	if (st == NULL) {
		gw_error_set(why, NULL, 0, "out of memory");
		return -ENOMEM;
	}
	TAILQ_INIT(&st->rules);
	sp->state = st;
	return 0;
}

/** The shape for SAs of this kind; NULL and @p rc: there is none. */
static const struct shape *
shape_for(struct flow_state *st, const struct gw_steer_port *sp, const struct gw_steer_sa *sa,
		int *rc)
{
	const struct shape **known = &st->shape[is_ip6(sa)][in_udp(sa)];
	struct rte_flow_error err = {.message = NULL};

	*rc = 0;
	if (*known == NULL)
		*known = find_shape(sp->port->id, sa, rc, &err);
	return *known;
}

static struct rte_flow *
create(const struct gw_steer_port *sp, const struct shape *shape, const struct gw_steer_sa *sa,
		uint16_t queue)
{
	struct rte_flow_error err = {.message = NULL};
	struct flow_rule fr;

	make_rule(&fr, shape, sa, queue);
	return rte_flow_create(sp->port->id, &ingress, fr.items, fr.actions, &err);
}

/** -errno of what has just failed; drivers forget to set it. */
static int
last_error(void)
{
	return rte_errno > 0 ? -rte_errno : -EIO;
}

/**
 * Stopping a port destroys its rules, if the driver does not say that it keeps them; an old
 * handle may then point to freed memory. Of a port that was started again since nobody can
 * tell: close before a stop.
 */
static bool
rules_gone(const struct gw_port *port)
{
	struct rte_eth_dev_info info;

	if (gw_port_gone(port))
		return true;
	if (port->started)
		return false;
	return rte_eth_dev_info_get(port->id, &info) < 0 ||
			(info.dev_capa & RTE_ETH_DEV_CAPA_FLOW_RULE_KEEP) == 0;
}

/** That the driver may not find it is all the same: then it is gone. */
static void
destroy(const struct gw_steer_port *sp, struct rte_flow *flow)
{
	struct rte_flow_error err;

	if (flow != NULL && !rules_gone(sp->port))
		rte_flow_destroy(sp->port->id, flow, &err);
}

static int
flow_add(struct gw_steer_port *sp, struct gw_steer_sa *sa)
{
	struct flow_state *st = sp->state;
	const struct shape *shape;
	struct rule *rule;
	int rc;

	if (sa->queue >= sp->port->n_rxq)
		return -ERANGE;
	shape = shape_for(st, sp, sa, &rc);
	if (shape == NULL)
		return rc;
	rule = calloc(1, sizeof(*rule));
	if (rule == NULL)
		return -ENOMEM;
	rule->flow = create(sp, shape, sa, sa->queue);
	if (rule->flow == NULL) {
		rc = last_error();
		free(rule);
		return rc;
	}
	rule->shape = shape;
	rule->queue = sa->queue;
	TAILQ_INSERT_TAIL(&st->rules, rule, next);
	sa->rule = rule;
	return 0;
}

static void
drop_rule(struct flow_state *st, struct gw_steer_sa *sa)
{
	struct rule *rule = sa->rule;

	TAILQ_REMOVE(&st->rules, rule, next);
	free(rule);
	sa->rule = NULL;
}

static void
flow_del(struct gw_steer_port *sp, struct gw_steer_sa *sa)
{
	struct rule *rule = sa->rule;

	if (rule == NULL)
		return;
	destroy(sp, rule->flow);
	drop_rule(sp->state, sa);
}

/** Where there is no room for two, or no two with one match: the SA is without for a moment. */
static int
replace(struct gw_steer_port *sp, struct gw_steer_sa *sa)
{
	struct rule *rule = sa->rule;
	int rc;

	destroy(sp, rule->flow);
	rule->flow = create(sp, rule->shape, sa, sa->queue);
	if (rule->flow != NULL) {
		rule->queue = sa->queue;
		return 0;
	}
	rc = last_error();
	rule->flow = create(sp, rule->shape, sa, rule->queue);
	if (rule->flow == NULL)
		drop_rule(sp->state, sa);
	return rc;
}

/**
 * The new rule before the old one goes, where the driver takes two with the same match. One
 * that does not is known by taking it once the old one is gone, and is not asked again: i40e
 * logs an error each time, and says EINVAL. A full table is another matter.
 */
static int
flow_move(struct gw_steer_port *sp, struct gw_steer_sa *sa)
{
	struct flow_state *st = sp->state;
	struct rule *rule = sa->rule;
	struct rte_flow *flow;
	int refusal, rc;

	if (rule == NULL)
		return flow_add(sp, sa);
	if (sa->queue >= sp->port->n_rxq)
		return -ERANGE;
	if (st->one_per_match)
		return replace(sp, sa);
	flow = create(sp, rule->shape, sa, sa->queue);
	if (flow == NULL) {
		refusal = last_error();
		rc = replace(sp, sa);
		st->one_per_match = rc == 0 && refusal != -ENOSPC && refusal != -ENOMEM;
		return rc;
	}
	destroy(sp, rule->flow);
	rule->flow = flow;
	rule->queue = sa->queue;
	return 0;
}

static void
flow_close(struct gw_steer_port *sp)
{
	struct flow_state *st = sp->state;
	struct rule *rule;

	if (st == NULL)
		return;
	while ((rule = TAILQ_FIRST(&st->rules)) != NULL) {
		TAILQ_REMOVE(&st->rules, rule, next);
		destroy(sp, rule->flow);
		free(rule);
	}
	for (unsigned int i = 0; i < sp->n_sas; i++)
		sp->sas[i]->rule = NULL;
	free(st);
	sp->state = NULL;
}

static void
flow_describe(const struct gw_steer_port *sp, const struct gw_steer_sa *sa, char *out, size_t len)
{
	const struct rule *rule = sa->rule;
	char port[32] = "", addr[INET6_ADDRSTRLEN] = "", to[INET6_ADDRSTRLEN + 8] = "";

	if (len > 0)
		out[0] = '\0';
	if (rule == NULL)
		return;
	if (rule->shape->daddr) {
		inet_ntop(sa->tuple.family, &sa->tuple.daddr, addr, sizeof(addr));
		snprintf(to, sizeof(to), "to %s, ", addr);
	}
	if (rule->shape->udp_port)
		snprintf(port, sizeof(port), "UDP port %u, ", sa->tuple.dport);
	else if (in_udp(sa))
		snprintf(port, sizeof(port), "UDP, ");
	snprintf(out, len, "rule: %s%sESP SPI 0x%08x -> queue %u", to, port, sa->spi, rule->queue);
}

const struct gw_steer_ops gw_steer_flow = {
		.name = "flow",
		.what = "the NIC has a rule for each SA, its SPI to its queue",
		.probe = flow_probe,
		.close = flow_close,
		.add = flow_add,
		.del = flow_del,
		.move = flow_move,
		.describe = flow_describe,
};
