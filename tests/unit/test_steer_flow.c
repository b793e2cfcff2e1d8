/* SPDX-License-Identifier: BSD-3-Clause */

/* app/steer/steer_flow.c against drivers that are played here: rte_flow is ours. */

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_flow.h>

#include "steer/steer.h"

#define PORT_ID 3
#define N_QUEUES 4
#define MAX_RULES 64

RTE_DEFINE_PER_LCORE(int, _rte_errno);

/** A rule as it came: no more than what steer_flow.c may use. */
struct rte_flow {
	bool used;
	uint8_t family;
	bool udp;
	bool has_port; /* matched */
	bool has_daddr;
	uint16_t dport;
	uint8_t daddr[16];
	uint32_t spi;
	uint16_t queue;
};

/** The driver. */
static struct {
	/* which rules it takes */
	int no_rules; /* a positive errno: none at all, with this */
	bool no_ip6, no_udp, no_plain;
	bool no_port, wants_port; /* UDP's */
	bool no_daddr, wants_daddr;
	bool silent; /* refuses without a message */
	int one_per_match; /* a positive errno: what a second rule with one match gets */
	unsigned int room; /* rules */
	unsigned int fail_creates; /* so many fail */
	int dev_capa_rc;
	uint64_t dev_capa;
	bool forgot; /* rules are gone: it knows none any more */

	struct rte_flow rule[MAX_RULES];
	unsigned int n_rules, most_rules;
	unsigned int n_validate, n_create, n_destroy;
} drv;

static struct gw_port port;
static struct gw_steer_port sp;
static struct gw_steer_sa sa[8];
static struct gw_steer_sa *sas[8];
static struct gw_error why;

static int
refuse(struct rte_flow_error *err, int rc, const char *message)
{
	assert_non_null(err);
	err->message = drv.silent ? NULL : message;
	rte_errno = rc;
	return -rc;
}

static bool
all_bytes(const void *p, size_t len, uint8_t byte)
{
	const uint8_t *b = p;

	for (size_t i = 0; i < len; i++)
		if (b[i] != byte)
			return false;
	return true;
}

/** Both or none; and nothing of a mask but these bytes of it, all ones. */
static bool
check_item(const struct rte_flow_item *item, size_t size, size_t at, size_t len)
{
	const uint8_t *mask = item->mask;

	assert_null(item->last);
	assert_true((item->spec == NULL) == (item->mask == NULL));
	if (mask == NULL)
		return false;
	assert_true(all_bytes(mask, at, 0));
	assert_true(all_bytes(mask + at, len, 0xff));
	assert_true(all_bytes(mask + at + len, size - at - len, 0));
	return true;
}

static const struct rte_flow_item *
read_ip(const struct rte_flow_item *item, struct rte_flow *r)
{
	if (item->type == RTE_FLOW_ITEM_TYPE_IPV4) {
		size_t at = offsetof(struct rte_flow_item_ipv4, hdr.dst_addr);

		r->family = AF_INET;
		r->has_daddr = check_item(item, sizeof(struct rte_flow_item_ipv4), at, 4);
		if (r->has_daddr)
			memcpy(r->daddr, (const uint8_t *)item->spec + at, 4);
	} else {
		size_t at = offsetof(struct rte_flow_item_ipv6, hdr.dst_addr);

		assert_int_equal(item->type, RTE_FLOW_ITEM_TYPE_IPV6);
		r->family = AF_INET6;
		r->has_daddr = check_item(item, sizeof(struct rte_flow_item_ipv6), at, 16);
		if (r->has_daddr)
			memcpy(r->daddr, (const uint8_t *)item->spec + at, 16);
	}
	return item + 1;
}

/** Bytes of the wire, one by one: the order is what is tested. */
static const struct rte_flow_item *
read_udp(const struct rte_flow_item *item, struct rte_flow *r)
{
	const uint8_t *b;

	if (item->type != RTE_FLOW_ITEM_TYPE_UDP)
		return item;
	r->udp = true;
	r->has_port = check_item(item, sizeof(struct rte_flow_item_udp),
			offsetof(struct rte_udp_hdr, dst_port), 2);
	b = item->spec;
	if (r->has_port)
		r->dport = (uint16_t)(b[2] << 8 | b[3]);
	return item + 1;
}

static const struct rte_flow_item *
read_esp(const struct rte_flow_item *item, struct rte_flow *r)
{
	const uint8_t *b = item->spec;

	assert_int_equal(item->type, RTE_FLOW_ITEM_TYPE_ESP);
	assert_true(check_item(item, sizeof(struct rte_flow_item_esp), 0, 4));
	r->spi = (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
	return item + 1;
}

static void
read_rule(uint16_t id, const struct rte_flow_attr *attr, const struct rte_flow_item *item,
		const struct rte_flow_action *action, struct rte_flow *r)
{
	struct rte_flow_attr ingress = {.ingress = 1};

	memset(r, 0, sizeof(*r));
	assert_int_equal(id, PORT_ID);
	assert_memory_equal(attr, &ingress, sizeof(ingress));
	assert_int_equal(item->type, RTE_FLOW_ITEM_TYPE_ETH);
	assert_false(check_item(item, sizeof(struct rte_flow_item_eth), 0, 0));
	item = read_esp(read_udp(read_ip(item + 1, r), r), r);
	assert_int_equal(item->type, RTE_FLOW_ITEM_TYPE_END);
	assert_int_equal(action[0].type, RTE_FLOW_ACTION_TYPE_QUEUE);
	r->queue = ((const struct rte_flow_action_queue *)action[0].conf)->index;
	assert_in_range(r->queue, 0, N_QUEUES - 1);
	assert_int_equal(action[1].type, RTE_FLOW_ACTION_TYPE_END);
}

/** What the driver can do, whatever it holds. */
static int
check_rule(const struct rte_flow *r, struct rte_flow_error *err)
{
	if (drv.no_rules != 0)
		return refuse(err, drv.no_rules, "no rules here");
	if (drv.no_ip6 && r->family == AF_INET6)
		return refuse(err, ENOTSUP, "no IPv6");
	if ((drv.no_udp && r->udp) || (drv.no_plain && !r->udp))
		return refuse(err, ENOTSUP, r->udp ? "no ESP in UDP" : "no plain ESP");
	if ((drv.no_port && r->has_port) || (drv.wants_port && r->udp && !r->has_port))
		return refuse(err, EINVAL, r->has_port ? "bad input set: port" : "needs the port");
	if ((drv.no_daddr && r->has_daddr) || (drv.wants_daddr && !r->has_daddr))
		return refuse(err, EINVAL, r->has_daddr ? "bad input set: addr" : "needs it");
	return 0;
}

static bool
same_match(const struct rte_flow *a, const struct rte_flow *b)
{
	return a->family == b->family && a->udp == b->udp && a->spi == b->spi &&
			a->dport == b->dport && memcmp(a->daddr, b->daddr, sizeof(a->daddr)) == 0;
}

/* rte_flow and ethdev, as far as it is used */

int
rte_flow_validate(uint16_t port_id, const struct rte_flow_attr *attr,
		const struct rte_flow_item pattern[], const struct rte_flow_action actions[],
		struct rte_flow_error *error)
{
	struct rte_flow r;

	drv.n_validate++;
	read_rule(port_id, attr, pattern, actions, &r);
	return check_rule(&r, error);
}

struct rte_flow *
rte_flow_create(uint16_t port_id, const struct rte_flow_attr *attr,
		const struct rte_flow_item pattern[], const struct rte_flow_action actions[],
		struct rte_flow_error *error)
{
	struct rte_flow r, *at = NULL;

	drv.n_create++;
	read_rule(port_id, attr, pattern, actions, &r);
	if (check_rule(&r, error) < 0)
		return NULL;
	if (drv.fail_creates > 0) {
		drv.fail_creates--;
		refuse(error, EIO, "firmware");
		return NULL;
	}
	for (unsigned int i = 0; i < MAX_RULES; i++) {
		if (!drv.rule[i].used)
			at = at == NULL ? &drv.rule[i] : at;
		else if (drv.one_per_match != 0 && same_match(&drv.rule[i], &r)) {
			refuse(error, drv.one_per_match, "rule exists");
			return NULL;
		}
	}
	if (drv.n_rules >= drv.room) {
		refuse(error, ENOSPC, "table full");
		return NULL;
	}
	*at = r;
	at->used = true;
	drv.n_rules++;
	drv.most_rules = RTE_MAX(drv.most_rules, drv.n_rules);
	return at;
}

int
rte_flow_destroy(uint16_t port_id, struct rte_flow *flow, struct rte_flow_error *error)
{
	assert_int_equal(port_id, PORT_ID);
	drv.n_destroy++;
	if (drv.forgot)
		return refuse(error, ENOENT, "no such rule");
	assert_non_null(flow);
	assert_true(flow->used);
	flow->used = false;
	drv.n_rules--;
	return 0;
}

int
rte_eth_dev_info_get(uint16_t port_id, struct rte_eth_dev_info *dev_info)
{
	assert_int_equal(port_id, PORT_ID);
	memset(dev_info, 0, sizeof(*dev_info));
	dev_info->dev_capa = drv.dev_capa;
	return drv.dev_capa_rc;
}

/* Tests */

static void
init_sa(unsigned int i, uint8_t family, uint16_t dport)
{
	sas[i] = &sa[i];
	sa[i] = (struct gw_steer_sa){.spi = 0xa1b2c300 + i,
			.queue = (uint16_t)(i % N_QUEUES),
			.tuple = {.family = family, .dport = dport}};
	if (family == AF_INET)
		inet_pton(AF_INET, "192.0.2.7", &sa[i].tuple.daddr);
	else
		inet_pton(AF_INET6, "2001:db8::7", &sa[i].tuple.daddr);
}

static int
setup(void **state)
{
	memset(&drv, 0, sizeof(drv));
	drv.room = MAX_RULES;
	port = (struct gw_port){
			.id = PORT_ID, .n_rxq = N_QUEUES, .driver = "net_x", .started = true};
	sp = (struct gw_steer_port){.port = &port, .ops = &gw_steer_flow, .sas = sas, .n_sas = 8};
	for (unsigned int i = 0; i < 8; i++)
		init_sa(i, (i & 1) != 0 ? AF_INET6 : AF_INET, (i & 2) != 0 ? 4500 : 0);
	memset(&why, 0, sizeof(why));
	return 0;
}

static int
probe(void)
{
	int rc = gw_steer_flow.probe(&sp, &why);

	/* it asks, and makes nothing */
	assert_int_equal(drv.n_create, 0);
	assert_int_equal(drv.n_rules, 0);
	assert_true((rc == 0) == (sp.state != NULL));
	assert_true((rc < 0) == (why.text[0] != '\0'));
	return rc;
}

static void
close_all(void)
{
	gw_steer_flow.close(&sp);
	assert_null(sp.state);
	for (unsigned int i = 0; i < sp.n_sas; i++)
		assert_null(sas[i]->rule);
	gw_steer_flow.close(&sp); /* once more does no harm */
}

/** The one rule for an SA; NULL: none. */
static const struct rte_flow *
rule_of(const struct gw_steer_sa *s)
{
	const struct rte_flow *found = NULL;

	for (unsigned int i = 0; i < MAX_RULES; i++)
		if (drv.rule[i].used && drv.rule[i].spi == s->spi) {
			assert_null(found);
			found = &drv.rule[i];
		}
	return found;
}

static void
check_sa(const struct gw_steer_sa *s, bool has_port, bool has_daddr)
{
	const struct rte_flow *r = rule_of(s);
	size_t len = s->tuple.family == AF_INET ? 4 : 16;

	assert_non_null(r);
	assert_int_equal(r->family, s->tuple.family);
	assert_int_equal(r->udp, s->tuple.dport != 0);
	assert_int_equal(r->has_port, has_port && r->udp);
	assert_int_equal(r->dport, r->has_port ? s->tuple.dport : 0);
	assert_int_equal(r->has_daddr, has_daddr);
	if (has_daddr)
		assert_memory_equal(r->daddr, &s->tuple.daddr, len);
	assert_int_equal(r->queue, s->queue);
}

static void
check_text(const struct gw_steer_sa *s, const char *expected)
{
	char text[160] = "old";

	gw_steer_flow.describe(&sp, s, text, sizeof(text));
	assert_string_equal(text, expected);
}

/** All kinds of SAs with a driver that takes one shape. */
static void
run_shape(bool has_port, bool has_daddr)
{
	assert_int_equal(probe(), 0);
	for (unsigned int i = 0; i < 8; i++) {
		assert_int_equal(gw_steer_flow.add(&sp, &sa[i]), 0);
		check_sa(&sa[i], has_port, has_daddr);
		if (i == 3)
			drv.n_validate = 0;
	}
	assert_int_equal(drv.n_validate, 0); /* the second of a kind: it is known */
	for (unsigned int i = 0; i < 8; i++) {
		sa[i].queue = (uint16_t)((sa[i].queue + 1) % N_QUEUES);
		assert_int_equal(gw_steer_flow.move(&sp, &sa[i]), 0);
		check_sa(&sa[i], has_port, has_daddr);
	}
	assert_int_equal(drv.n_rules, 8);
	gw_steer_flow.del(&sp, &sa[2]);
	assert_null(sa[2].rule);
	assert_null(rule_of(&sa[2]));
	gw_steer_flow.del(&sp, &sa[2]);
	check_text(&sa[2], "");
	assert_int_equal(drv.n_rules, 7);
}

static void
test_any(void **state)
{
	run_shape(true, false);
	check_text(&sa[0], "rule: ESP SPI 0xa1b2c300 -> queue 1");
	check_text(&sa[3], "rule: UDP port 4500, ESP SPI 0xa1b2c303 -> queue 0");
	close_all();
	assert_int_equal(drv.n_rules, 0);
}

static void
test_no_port(void **state)
{
	drv.no_port = drv.no_daddr = true;
	run_shape(false, false);
	check_text(&sa[3], "rule: UDP, ESP SPI 0xa1b2c303 -> queue 0");
	close_all();
	assert_int_equal(drv.n_rules, 0);
}

static void
test_port(void **state)
{
	drv.wants_port = drv.no_daddr = true;
	run_shape(true, false);
	close_all();
	assert_int_equal(drv.n_rules, 0);
}

static void
test_port_daddr(void **state)
{
	drv.wants_port = drv.wants_daddr = true;
	run_shape(true, true);
	check_text(&sa[0], "rule: to 192.0.2.7, ESP SPI 0xa1b2c300 -> queue 1");
	check_text(&sa[7], "rule: to 2001:db8::7, UDP port 4500, ESP SPI 0xa1b2c307 -> queue 0");
	close_all();
	assert_int_equal(drv.n_rules, 0);
}

static void
test_daddr(void **state)
{
	drv.no_port = drv.wants_daddr = true;
	run_shape(false, true);
	close_all();
	assert_int_equal(drv.n_rules, 0);
}

/** One kind is enough for the port; SAs of the others are refused one by one. */
static void
test_kinds(void **state)
{
	drv.no_udp = drv.no_ip6 = true;
	assert_int_equal(probe(), 0);
	assert_int_equal(gw_steer_flow.add(&sp, &sa[0]), 0);
	for (unsigned int i = 1; i < 4; i++) {
		assert_int_equal(gw_steer_flow.add(&sp, &sa[i]), -ENOTSUP);
		assert_null(sa[i].rule);
		check_text(&sa[i], "");
	}
	assert_int_equal(drv.n_rules, 1);
	close_all();
	assert_int_equal(drv.n_rules, 0);

	setup(NULL);
	drv.no_plain = true;
	assert_int_equal(probe(), 0);
	assert_int_equal(gw_steer_flow.add(&sp, &sa[0]), -ENOTSUP);
	assert_int_equal(gw_steer_flow.add(&sp, &sa[2]), 0);
	close_all();
}

static void
test_refused(void **state)
{
	drv.no_rules = ENOSYS;
	assert_int_equal(probe(), -ENOSYS);
	assert_string_equal(why.text, "net_x takes no ESP rule: no rules here");
	drv.silent = true;
	assert_int_equal(probe(), -ENOSYS);
	assert_string_equal(why.text, "net_x takes no ESP rule: Function not implemented");

	setup(NULL);
	drv.no_udp = drv.no_plain = true;
	assert_int_equal(probe(), -ENOTSUP);
	assert_string_equal(why.text, "net_x takes no ESP rule: no plain ESP");

	setup(NULL);
	port.n_rxq = 1;
	assert_true(probe() < 0);
	assert_string_equal(why.text, "the port has one queue");
	assert_int_equal(drv.n_validate, 0);
}

static void
test_full(void **state)
{
	drv.room = 2;
	assert_int_equal(probe(), 0);
	assert_int_equal(gw_steer_flow.add(&sp, &sa[0]), 0);
	assert_int_equal(gw_steer_flow.add(&sp, &sa[2]), 0);
	assert_int_equal(gw_steer_flow.add(&sp, &sa[4]), -ENOSPC);
	assert_null(sa[4].rule);
	/* a move finds no room for two: the old one goes first */
	sa[0].queue = 3;
	assert_int_equal(gw_steer_flow.move(&sp, &sa[0]), 0);
	check_sa(&sa[0], true, false);
	assert_int_equal(drv.n_rules, 2);
	/* and later, with room again, does not */
	drv.room = 3;
	sa[0].queue = 2;
	assert_int_equal(gw_steer_flow.move(&sp, &sa[0]), 0);
	check_sa(&sa[0], true, false);
	assert_int_equal(drv.most_rules, 3);
	/* the one without a rule gets it by a move, too */
	assert_int_equal(gw_steer_flow.move(&sp, &sa[4]), 0);
	check_sa(&sa[4], true, false);
	close_all();
	assert_int_equal(drv.n_rules, 0);
}

static void
run_one_per_match(int rc)
{
	drv.one_per_match = rc;
	assert_int_equal(probe(), 0);
	assert_int_equal(gw_steer_flow.add(&sp, &sa[0]), 0);
	for (uint16_t q = 1; q < N_QUEUES; q++) {
		sa[0].queue = q;
		assert_int_equal(gw_steer_flow.move(&sp, &sa[0]), 0);
		check_sa(&sa[0], true, false);
	}
	/* add; refused, then made anew; made anew; made anew */
	assert_int_equal(drv.n_create, 1 + 2 + 1 + 1);
	assert_int_equal(drv.most_rules, 1);
	/* another SA of the same match is refused */
	sa[4].spi = sa[0].spi;
	assert_int_equal(gw_steer_flow.add(&sp, &sa[4]), -rc);
	close_all();
	assert_int_equal(drv.n_rules, 0);
}

static void
test_one_per_match(void **state)
{
	run_one_per_match(EEXIST);
	setup(NULL);
	run_one_per_match(EINVAL);
}

/** Two at a time: never is the SA without a rule. */
static void
test_move_overlaps(void **state)
{
	assert_int_equal(probe(), 0);
	assert_int_equal(gw_steer_flow.add(&sp, &sa[0]), 0);
	sa[0].queue = 1;
	assert_int_equal(gw_steer_flow.move(&sp, &sa[0]), 0);
	assert_int_equal(drv.most_rules, 2);
	assert_int_equal(drv.n_destroy, 1);
	close_all();
}

static void
test_move_fails(void **state)
{
	assert_int_equal(probe(), 0);
	assert_int_equal(gw_steer_flow.add(&sp, &sa[1]), 0);
	/* with room for none and for one: what was comes back */
	sa[1].queue = 2;
	drv.fail_creates = 2;
	assert_int_equal(gw_steer_flow.move(&sp, &sa[1]), -EIO);
	assert_non_null(sa[1].rule);
	assert_int_equal(rule_of(&sa[1])->queue, 1);
	check_text(&sa[1], "rule: ESP SPI 0xa1b2c301 -> queue 1");
	/* not even that: then it says so */
	drv.fail_creates = 3;
	assert_int_equal(gw_steer_flow.move(&sp, &sa[1]), -EIO);
	assert_null(sa[1].rule);
	assert_null(rule_of(&sa[1]));
	assert_int_equal(drv.n_rules, 0);
	close_all();
}

static void
test_queue_range(void **state)
{
	assert_int_equal(probe(), 0);
	sa[0].queue = N_QUEUES;
	assert_int_equal(gw_steer_flow.add(&sp, &sa[0]), -ERANGE);
	sa[0].queue = 0;
	assert_int_equal(gw_steer_flow.add(&sp, &sa[0]), 0);
	sa[0].queue = N_QUEUES;
	assert_int_equal(gw_steer_flow.move(&sp, &sa[0]), -ERANGE);
	assert_int_equal(rule_of(&sa[0])->queue, 0);
	close_all();
}

/** What the driver destroys by itself, when the port stops. */
static void
test_rules_gone(void **state)
{
	assert_int_equal(probe(), 0);
	assert_int_equal(gw_steer_flow.add(&sp, &sa[0]), 0);
	drv.forgot = true;
	close_all();
	assert_int_equal(drv.n_destroy, 1);

	/* stopped: the handle is not to be touched */
	setup(NULL);
	assert_int_equal(probe(), 0);
	assert_int_equal(gw_steer_flow.add(&sp, &sa[0]), 0);
	port.started = false;
	close_all();
	assert_int_equal(drv.n_destroy, 0);

	/* but where the driver keeps rules they are there still */
	setup(NULL);
	assert_int_equal(probe(), 0);
	assert_int_equal(gw_steer_flow.add(&sp, &sa[0]), 0);
	port.started = false;
	drv.dev_capa = RTE_ETH_DEV_CAPA_FLOW_RULE_KEEP;
	close_all();
	assert_int_equal(drv.n_destroy, 1);
	assert_int_equal(drv.n_rules, 0);

	/* unplugged */
	setup(NULL);
	assert_int_equal(probe(), 0);
	assert_int_equal(gw_steer_flow.add(&sp, &sa[0]), 0);
	port.gone = true;
	close_all();
	assert_int_equal(drv.n_destroy, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test_setup(test_any, setup),
			cmocka_unit_test_setup(test_no_port, setup),
			cmocka_unit_test_setup(test_port, setup),
			cmocka_unit_test_setup(test_port_daddr, setup),
			cmocka_unit_test_setup(test_daddr, setup),
			cmocka_unit_test_setup(test_kinds, setup),
			cmocka_unit_test_setup(test_refused, setup),
			cmocka_unit_test_setup(test_full, setup),
			cmocka_unit_test_setup(test_one_per_match, setup),
			cmocka_unit_test_setup(test_move_overlaps, setup),
			cmocka_unit_test_setup(test_move_fails, setup),
			cmocka_unit_test_setup(test_queue_range, setup),
			cmocka_unit_test_setup(test_rules_gone, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
