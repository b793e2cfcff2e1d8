/* SPDX-License-Identifier: BSD-3-Clause */

/* Policy lookup against a plain walk through the rules; selectors of packets received. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <rte_acl.h>
#include <rte_cycles.h>
#include <rte_eal.h>

#include "datapath/policy_diff.h"

static uint64_t seed = 1;

static uint32_t
next_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed >> 16;
}

static const struct gw_port_range any = {0, UINT16_MAX};

static struct gw_prefix
prefix4(uint32_t addr, uint8_t len)
{
	struct gw_prefix p = {.addr.family = AF_INET, .len = len};

	p.addr.a.ip4 = rte_cpu_to_be_32(addr & (uint32_t)(UINT64_MAX << (32 - len)));
	return p;
}

/* 2001:db8:<net>::/len, the last byte "host". */
static struct gw_prefix
prefix6(uint16_t net, uint8_t host, uint8_t len)
{
	struct gw_prefix p = {.addr.family = AF_INET6, .len = len};
	uint8_t a[16] = {0x20, 0x01, 0x0d, 0xb8, net >> 8, net, [15] = host};

	for (unsigned int i = len; i < 128; i++)
		a[i / 8] &= ~(0x80 >> i % 8);
	memcpy(p.addr.a.ip6, a, 16);
	return p;
}

static struct gw_policy_rule
rule4(uint32_t local, uint8_t llen, uint32_t remote, uint8_t rlen, uint8_t proto,
		enum gw_action action)
{
	return (struct gw_policy_rule){
			.sel = {prefix4(local, llen), prefix4(remote, rlen), proto, any, any},
			.action = action,
	};
}

static struct gw_flow
flow4(uint32_t src, uint32_t dst, uint8_t proto, uint16_t sport, uint16_t dport)
{
	struct gw_flow f = {.proto = proto, .family = AF_INET};
	rte_be32_t s = rte_cpu_to_be_32(src), d = rte_cpu_to_be_32(dst);

	memcpy(f.src, &s, 4);
	memcpy(f.dst, &d, 4);
	f.sport = rte_cpu_to_be_16(sport);
	f.dport = rte_cpu_to_be_16(dport);
	return f;
}

static struct gw_flow
flow6(uint16_t snet, uint8_t shost, uint16_t dnet, uint8_t dhost, uint8_t proto, uint16_t sport,
		uint16_t dport)
{
	struct gw_prefix s = prefix6(snet, shost, 128), d = prefix6(dnet, dhost, 128);
	struct gw_flow f = {.proto = proto, .family = AF_INET6};

	memcpy(f.src, s.addr.a.ip6, 16);
	memcpy(f.dst, d.addr.a.ip6, 16);
	f.sport = rte_cpu_to_be_16(sport);
	f.dport = rte_cpu_to_be_16(dport);
	return f;
}

static struct gw_policy *
build(const struct gw_policy_rule *rules, unsigned int n, enum gw_action default_action)
{
	static unsigned int serial;
	struct gw_error err = {""};
	struct gw_policy *p;
	char name[16];

	snprintf(name, sizeof(name), "test%u", serial++);
	p = gw_policy_build(name, rules, n, default_action, SOCKET_ID_ANY, &err);
	if (p == NULL)
		print_error("%s\n", err.text);
	assert_non_null(p);
	return p;
}

static struct gw_verdict
look(const struct gw_policy *p, struct gw_flow f)
{
	const struct gw_flow *flow = &f;
	struct gw_verdict v;

	gw_policy_lookup(p, &flow, &v, 1);
	return v;
}

static bool
in_prefix(const struct gw_prefix *p, const uint8_t *addr)
{
	const uint8_t *want = (const uint8_t *)&p->addr.a;

	for (unsigned int i = 0; i < p->len; i++)
		if ((want[i / 8] ^ addr[i / 8]) & 0x80 >> i % 8)
			return false;
	return true;
}

static bool
ports_are(const struct gw_selector *s, uint16_t l, uint16_t r)
{
	return l >= s->local_ports.min && l <= s->local_ports.max && r >= s->remote_ports.min &&
			r <= s->remote_ports.max;
}

/* What the header of policy.h says, word for word. */
static bool
rule_matches(const struct gw_policy_rule *r, const struct gw_flow *f)
{
	bool hides = r->action != GW_ACTION_BYPASS; /* in doubt it applies */

	if (r->sel.local.addr.family != f->family || !in_prefix(&r->sel.local, f->src) ||
			!in_prefix(&r->sel.remote, f->dst))
		return false;
	if (r->sel.proto == 0)
		return true;
	if (f->proto == GW_PROTO_OPAQUE && f->family == AF_INET6 && hides)
		return true;
	if (r->sel.proto != f->proto)
		return false;
	if (f->sport == 0 && f->dport == 0 && hides)
		return true;
	return ports_are(&r->sel, rte_be_to_cpu_16(f->sport), rte_be_to_cpu_16(f->dport));
}

static uint16_t
naive(const struct gw_policy_rule *rules, unsigned int n, const struct gw_flow *f)
{
	for (unsigned int i = 0; i < n; i++)
		if (rule_matches(&rules[i], f))
			return i + 1;
	return 0;
}

static void
test_order_and_default(void **state)
{
	struct gw_policy_rule r[] = {
			rule4(0x0a010000, 16, 0x0a020300, 24, 0, GW_ACTION_DROP),
			rule4(0x0a010000, 16, 0x0a020000, 16, 0, GW_ACTION_TUNNEL),
			rule4(0x0a000000, 8, 0x0a000000, 8, 0, GW_ACTION_BYPASS),
	};
	struct gw_policy *p;
	struct gw_verdict v;

	r[1].tunnel = 77;
	p = build(r, 3, GW_ACTION_DROP);
	v = look(p, flow4(0x0a010001, 0x0a020301, 6, 1, 2));
	assert_int_equal(v.rule, 1);
	assert_int_equal(v.action, GW_ACTION_DROP);
	v = look(p, flow4(0x0a010001, 0x0a020401, 6, 1, 2));
	assert_int_equal(v.rule, 2);
	assert_int_equal(v.action, GW_ACTION_TUNNEL);
	assert_int_equal(v.tunnel, 77);
	v = look(p, flow4(0x0a050001, 0x0a020401, 1, 0, 0));
	assert_int_equal(v.rule, 3);
	assert_int_equal(v.action, GW_ACTION_BYPASS);
	v = look(p, flow4(0x0b050001, 0x0a020401, 1, 0, 0));
	assert_int_equal(v.rule, 0);
	assert_int_equal(v.action, GW_ACTION_DROP);
	assert_null(gw_policy_rule_get(p, 0));
	assert_null(gw_policy_rule_get(p, 4));
	assert_int_equal(gw_policy_rule_get(p, 2)->tunnel, 77);
	gw_policy_free(p);
	gw_policy_free(NULL);
}

static void
test_no_rules(void **state)
{
	struct gw_policy *p = build(NULL, 0, GW_ACTION_BYPASS);
	struct gw_flow none = {.family = 0};

	assert_int_equal(look(p, flow4(1, 2, 6, 1, 2)).action, GW_ACTION_BYPASS);
	assert_int_equal(look(p, flow6(1, 2, 3, 4, 6, 1, 2)).action, GW_ACTION_BYPASS);
	assert_int_equal(look(p, none).action, GW_ACTION_DROP);
	gw_policy_free(p);
}

static void
test_one_family(void **state)
{
	struct gw_policy_rule r = {.sel = {prefix6(1, 0, 48), prefix6(2, 0, 48), 0, any, any},
			.action = GW_ACTION_TUNNEL,
			.tunnel = 5};
	struct gw_policy *p = build(&r, 1, GW_ACTION_DROP);

	assert_int_equal(look(p, flow4(0, 0, 0, 0, 0)).rule, 0);
	assert_int_equal(look(p, flow6(1, 9, 2, 9, 58, 0, 0)).rule, 1);
	assert_int_equal(look(p, flow6(2, 9, 1, 9, 58, 0, 0)).rule, 0);
	gw_policy_free(p);
}

static void
test_default_route_selectors(void **state)
{
	struct gw_policy_rule r[2] = {rule4(0, 0, 0, 0, 0, GW_ACTION_TUNNEL)};
	struct gw_policy *p;

	r[1] = (struct gw_policy_rule){.sel = {prefix6(0, 0, 0), prefix6(0, 0, 0), 0, any, any},
			.action = GW_ACTION_TUNNEL};
	p = build(r, 2, GW_ACTION_DROP);
	assert_int_equal(look(p, flow4(0xffffffff, 0, 255, 0, 0)).rule, 1);
	assert_int_equal(look(p, flow6(0xffff, 1, 3, 4, 17, 65535, 65535)).rule, 2);
	gw_policy_free(p);
}

/* Rules 1 and 2 name ports; the rest is clear. Fragments have no ports. */
static void
test_fragments(void **state)
{
	struct gw_policy_rule r[] = {
			rule4(0x0a010000, 16, 0x0a020000, 16, IPPROTO_TCP, GW_ACTION_BYPASS),
			rule4(0x0a010000, 16, 0x0a020000, 16, IPPROTO_UDP, GW_ACTION_TUNNEL),
			rule4(0, 0, 0, 0, 0, GW_ACTION_BYPASS),
	};
	struct gw_policy *p;

	r[0].sel.remote_ports = (struct gw_port_range){443, 443};
	r[1].sel.local_ports = (struct gw_port_range){1000, 2000};
	p = build(r, 3, GW_ACTION_DROP);
	assert_int_equal(look(p, flow4(0x0a010001, 0x0a020001, 6, 5, 443)).rule, 1);
	assert_int_equal(look(p, flow4(0x0a010001, 0x0a020001, 6, 5, 444)).rule, 3);
	assert_int_equal(look(p, flow4(0x0a010001, 0x0a020001, 6, 0, 0)).rule, 3);
	assert_int_equal(look(p, flow4(0x0a010001, 0x0a020001, 17, 1000, 9)).rule, 2);
	assert_int_equal(look(p, flow4(0x0a010001, 0x0a020001, 17, 2000, 9)).rule, 2);
	assert_int_equal(look(p, flow4(0x0a010001, 0x0a020001, 17, 2001, 9)).rule, 3);
	assert_int_equal(look(p, flow4(0x0a010001, 0x0a020001, 17, 0x03e9, 9)).rule, 2);
	assert_int_equal(look(p, flow4(0x0a010001, 0x0a020001, 17, 0xe903, 9)).rule, 3);
	assert_int_equal(look(p, flow4(0x0a010001, 0x0a020001, 17, 0, 0)).rule, 2);
	assert_int_equal(look(p, flow4(0x0a010001, 0x0a030001, 17, 0, 0)).rule, 3);
	gw_policy_free(p);
}

static void
test_opaque(void **state)
{
	struct gw_policy_rule r[] = {
			{.sel = {prefix6(1, 0, 48), prefix6(2, 0, 48), IPPROTO_TCP, any, {80, 80}},
					.action = GW_ACTION_TUNNEL},
			{.sel = {prefix6(0, 0, 0), prefix6(0, 0, 0), 0, any, any},
					.action = GW_ACTION_BYPASS},
	};
	struct gw_policy *p = build(r, 2, GW_ACTION_DROP);

	assert_int_equal(look(p, flow6(1, 1, 2, 2, GW_PROTO_OPAQUE, 0, 0)).rule, 1);
	assert_int_equal(look(p, flow6(1, 1, 3, 2, GW_PROTO_OPAQUE, 0, 0)).rule, 2);
	assert_int_equal(look(p, flow6(1, 1, 2, 2, IPPROTO_UDP, 0, 0)).rule, 2);
	gw_policy_free(p);
}

static void
random_rule(struct gw_policy_rule *r)
{
	static const uint8_t protos[] = {0, 0, 1, 6, 17, 17, 58, 132};
	bool six = next_random() % 2;

	*r = (struct gw_policy_rule){.action = next_random() % 3, .tunnel = next_random()};
	if (six) {
		r->sel.local = prefix6(next_random() % 4, next_random() % 4, next_random() % 129);
		r->sel.remote = prefix6(next_random() % 4, next_random() % 4, next_random() % 129);
	} else {
		r->sel.local = prefix4(
				0x0a000000 | (next_random() & 0x00030303), next_random() % 33);
		r->sel.remote = prefix4(
				0x0a000000 | (next_random() & 0x00030303), next_random() % 33);
	}
	r->sel.proto = protos[next_random() % 8];
	r->sel.local_ports = r->sel.remote_ports = any;
	if (gw_flow_has_ports(r->sel.proto) && next_random() % 2) {
		uint16_t min = 1 + next_random() % 8;

		r->sel.local_ports = (struct gw_port_range){min, min + next_random() % 300};
	}
	if (gw_flow_has_ports(r->sel.proto) && next_random() % 2)
		r->sel.remote_ports = (struct gw_port_range){1 + next_random() % 4, 65535};
}

static void
random_flow(struct gw_flow *f)
{
	static const uint8_t protos[] = {0, 1, 6, 17, 58, 132, 255, 50};
	uint8_t proto = protos[next_random() % 8];
	uint16_t sport = 0, dport = 0;

	if (gw_flow_has_ports(proto) && next_random() % 4 != 0) {
		sport = next_random() % 400;
		dport = next_random() % 8;
	}
	if (next_random() % 2)
		*f = flow6(next_random() % 4, next_random() % 4, next_random() % 4,
				next_random() % 4, proto, sport, dport);
	else
		*f = flow4(0x0a000000 | (next_random() & 0x00030303),
				0x0a000000 | (next_random() & 0x00030303), proto, sport, dport);
}

/* Random rules, bursts of every size with the families mixed. */
static void
test_property(void **state)
{
	struct gw_policy_rule r[60];
	struct gw_flow f[GW_BURST];
	const struct gw_flow *flows[GW_BURST];
	struct gw_verdict v[GW_BURST];

	for (unsigned int round = 0; round < 25; round++) {
		unsigned int n = 1 + next_random() % 60;
		struct gw_policy *p;

		for (unsigned int i = 0; i < n; i++)
			random_rule(&r[i]);
		p = build(r, n, GW_ACTION_DROP);
		for (unsigned int burst = 0; burst < 400; burst++) {
			unsigned int k = 1 + burst % GW_BURST;

			for (unsigned int i = 0; i < k; i++) {
				random_flow(&f[i]);
				flows[i] = &f[i];
			}
			gw_policy_lookup(p, flows, v, k);
			for (unsigned int i = 0; i < k; i++) {
				uint16_t want = naive(r, n, &f[i]);

				assert_int_equal(v[i].rule, want);
				assert_int_equal(v[i].action,
						want == 0 ? GW_ACTION_DROP : r[want - 1].action);
				assert_int_equal(v[i].tunnel, want == 0 ? 0 : r[want - 1].tunnel);
			}
		}
		gw_policy_free(p);
	}
}

/* What addresses alone decide is decided as by the whole selector: IPv4, any protocol. */
static void
check_addrs4(const struct gw_selector *sel, const struct gw_flow *in, bool match)
{
	struct rte_ipv4_hdr ip = {.version_ihl = RTE_IPV4_VHL_DEF, .next_proto_id = in->proto};
	struct gw_sel_in compiled;

	if (in->family != AF_INET)
		return;
	memcpy(&ip.src_addr, in->src, sizeof(ip.src_addr));
	memcpy(&ip.dst_addr, in->dst, sizeof(ip.dst_addr));
	gw_sel_compile(&compiled, sel);
	assert_int_equal(gw_sel_match_addrs4(&compiled, (const uint8_t *)&ip),
			match && sel->proto == 0);
}

/* A packet that its sender's policy puts into a tunnel is let out of it at the other end. */
static void
test_sel_mirrors_policy(void **state)
{
	unsigned int matched = 0;

	for (unsigned int i = 0; i < 200000; i++) {
		struct gw_policy_rule r;
		struct gw_flow out, in;

		random_rule(&r);
		r.action = GW_ACTION_TUNNEL;
		random_flow(&out);
		if (out.family == AF_INET && out.proto == GW_PROTO_OPAQUE)
			continue; /* IPv4 shows its protocol always */
		gw_flow_reverse(&in, &out);
		assert_int_equal(gw_selector_match_in(&r.sel, &in), rule_matches(&r, &out));
		check_addrs4(&r.sel, &in, rule_matches(&r, &out));
		matched += rule_matches(&r, &out);
	}
	assert_true(matched > 1000);
}

/* Rules that come and go a few at a time */

#define MOST 150 /* rules */

static struct gw_policy_rule list[MOST];
static unsigned int n_list;

static void
insert_rule(const struct gw_policy_rule *r, unsigned int at)
{
	memmove(&list[at + 1], &list[at], (n_list - at) * sizeof(*list));
	list[at] = *r;
	n_list++;
}

static void
remove_rule(unsigned int at)
{
	n_list--;
	memmove(&list[at], &list[at + 1], (n_list - at) * sizeof(*list));
}

/* One comes, goes, leads elsewhere, or does something else. */
static void
change_list(void)
{
	unsigned int what = next_random() % 8, at = next_random() % (n_list + 1);
	struct gw_policy_rule r;

	random_rule(&r);
	if (what < 4 && n_list < MOST)
		insert_rule(&r, at);
	else if (at == n_list)
		return;
	else if (what < 6)
		remove_rule(at);
	else if (what == 6)
		list[at].tunnel = r.tunnel;
	else
		list[at].action = r.action;
}

static void
check_list(const struct gw_policy *p, unsigned int bursts)
{
	struct gw_flow f[GW_BURST];
	const struct gw_flow *flows[GW_BURST];
	struct gw_verdict v[GW_BURST];

	for (unsigned int burst = 0; burst < bursts; burst++) {
		unsigned int k = 1 + next_random() % GW_BURST;

		for (unsigned int i = 0; i < k; i++) {
			random_flow(&f[i]);
			if (next_random() % 32 == 0)
				f[i].family = 0;
			flows[i] = &f[i];
		}
		gw_policy_lookup(p, flows, v, k);
		for (unsigned int i = 0; i < k; i++) {
			uint16_t want = naive(list, n_list, &f[i]);

			assert_int_equal(v[i].rule, want);
			assert_int_equal(v[i].action,
					want == 0 ? GW_ACTION_DROP : list[want - 1].action);
			assert_int_equal(v[i].tunnel, want == 0 ? 0 : list[want - 1].tunnel);
			if (want != 0)
				assert_memory_equal(gw_policy_rule_get(p, want), &list[want - 1],
						sizeof(list[0]));
		}
	}
}

/* A chain of policies, each made of the one before, of which some are still in use. */
static void
test_amend_property(void **state)
{
	struct gw_policy *p[3] = {NULL};
	unsigned int amended = 0, built = 0;

	n_list = 0;
	for (unsigned int round = 0; round < 1500; round++) {
		struct gw_policy *next = NULL, **oldest = &p[next_random() % 3];

		for (unsigned int k = next_random() % 5; k > 0; k--)
			change_list();
		if (p[0] != NULL && round % 60 != 59)
			next = gw_policy_amend(p[0], list, n_list, SOCKET_ID_ANY);
		amended += next != NULL;
		built += next == NULL;
		if (next == NULL)
			next = build(list, n_list, GW_ACTION_DROP);
		if (oldest != &p[0]) {
			gw_policy_free(*oldest);
			*oldest = p[0];
		} else {
			gw_policy_free(p[0]);
		}
		p[0] = next;
		check_list(p[0], 20);
	}
	for (unsigned int i = 0; i < 3; i++)
		gw_policy_free(p[i]);
	print_message("# %u amended, %u built\n", amended, built);
	assert_true(amended > 500);
}

/* So many may stand beside a classifier, and no more. */
static void
test_amend_limit(void **state)
{
	struct gw_policy_rule wide = rule4(0, 0, 0, 0, 0, GW_ACTION_TUNNEL);
	struct gw_policy *p, *q;

	n_list = 0;
	p = build(NULL, 0, GW_ACTION_DROP);
	assert_false(gw_policy_is_amended(p));
	for (unsigned int i = 0; i < GW_POLICY_BESIDE; i++) {
		wide.sel.remote = prefix4(0x0b000000 + (i << 8), 24);
		insert_rule(&wide, i / 2);
	}
	q = gw_policy_amend(p, list, n_list, SOCKET_ID_ANY);
	assert_non_null(q);
	assert_true(gw_policy_is_amended(q));
	gw_policy_free(p);
	check_list(q, 50);
	wide.sel.remote = prefix4(0x0c000000, 24);
	insert_rule(&wide, 0);
	assert_null(gw_policy_amend(q, list, n_list, SOCKET_ID_ANY));
	/* built of all, and then each of them goes: none hides another */
	p = build(list, n_list, GW_ACTION_DROP);
	gw_policy_free(q);
	for (unsigned int i = 0; i < GW_POLICY_BESIDE; i++)
		remove_rule(0);
	q = gw_policy_amend(p, list, n_list, SOCKET_ID_ANY);
	assert_non_null(q);
	assert_true(gw_policy_is_amended(q));
	check_list(q, 50);
	remove_rule(0);
	assert_null(gw_policy_amend(q, list, n_list, SOCKET_ID_ANY));
	gw_policy_free(q);
	gw_policy_free(p);
}

/* One that stood before all others goes, and comes back. */
static void
test_amend_hidden(void **state)
{
	struct gw_policy_rule wide = rule4(0, 0, 0, 0, 0, GW_ACTION_DROP);
	struct gw_policy_rule host = rule4(0x0a010001, 32, 0, 0, 0, GW_ACTION_BYPASS);
	struct gw_policy *p, *q;

	n_list = 0;
	for (unsigned int i = 0; i < GW_POLICY_BESIDE; i++) {
		struct gw_policy_rule r = rule4(0x0a010000 + i, 32, 0, 0, 0, GW_ACTION_TUNNEL);

		r.tunnel = i;
		insert_rule(&r, i);
	}
	insert_rule(&host, 0);
	insert_rule(&wide, 0);
	p = build(list, n_list, GW_ACTION_DROP);
	assert_int_equal(look(p, flow4(0x0a010001, 1, 6, 1, 2)).rule, 1);
	remove_rule(0);
	/* it hides one more than may stand there */
	assert_null(gw_policy_amend(p, list, n_list, SOCKET_ID_ANY));
	remove_rule(0);
	q = gw_policy_amend(p, list, n_list, SOCKET_ID_ANY);
	assert_non_null(q);
	assert_int_equal(look(q, flow4(0x0a010001, 1, 6, 1, 2)).tunnel, 1);
	assert_int_equal(look(q, flow4(0x0a010002, 1, 6, 1, 2)).tunnel, 2);
	assert_int_equal(look(q, flow4(0x0a020002, 1, 6, 1, 2)).rule, 0);
	gw_policy_free(p);
	insert_rule(&host, 0);
	insert_rule(&wide, 0);
	p = gw_policy_amend(q, list, n_list, SOCKET_ID_ANY);
	assert_non_null(p);
	assert_false(gw_policy_is_amended(p));
	gw_policy_free(q);
	assert_int_equal(look(p, flow4(0x0a010001, 1, 6, 1, 2)).rule, 1);
	gw_policy_free(p);
	/* what could not be built is not taken either */
	p = build(NULL, 0, GW_ACTION_DROP);
	host.sel.local.len = 33;
	assert_null(gw_policy_amend(p, &host, 1, SOCKET_ID_ANY));
	gw_policy_free(p);
}

static void
assert_refused(const struct gw_policy_rule *r, const char *words)
{
	struct gw_error err = {""};

	assert_null(gw_policy_build("refused", r, 1, GW_ACTION_DROP, SOCKET_ID_ANY, &err));
	assert_non_null(strstr(err.text, words));
}

static void
test_refusals(void **state)
{
	struct gw_policy_rule r = rule4(0, 0, 0, 0, IPPROTO_ICMP, GW_ACTION_BYPASS);

	r.sel.local_ports = (struct gw_port_range){1, 2};
	assert_refused(&r, "ports need a protocol");
	r.sel.proto = IPPROTO_TCP;
	r.sel.local_ports = (struct gw_port_range){2, 1};
	assert_refused(&r, "not a range of ports");
	r.sel.local_ports = (struct gw_port_range){0, 1};
	assert_refused(&r, "not a range of ports");
	r.sel.local_ports = any;
	r.sel.local.len = 33;
	assert_refused(&r, "prefix length");
	r.sel.local = prefix6(1, 1, 64);
	assert_refused(&r, "one family");
}

/* A reload: the new policy is built while workers still read the old one. */
static void
test_same_name(void **state)
{
	const struct gw_policy_rule clear = rule4(0, 0, 0, 0, 0, GW_ACTION_BYPASS);
	const struct gw_policy_rule drop = rule4(0, 0, 0, 0, 0, GW_ACTION_DROP);
	const char *name = "a-name-that-is-longer-than-rte_acl-takes";
	struct gw_error err = {""};
	struct gw_policy *p, *q;

	p = gw_policy_build(name, &clear, 1, GW_ACTION_DROP, SOCKET_ID_ANY, &err);
	q = gw_policy_build(name, &drop, 1, GW_ACTION_DROP, SOCKET_ID_ANY, &err);
	assert_non_null(p);
	assert_non_null(q);
	assert_int_equal(look(p, flow4(1, 2, 6, 1, 2)).action, GW_ACTION_BYPASS);
	assert_int_equal(look(q, flow4(1, 2, 6, 1, 2)).action, GW_ACTION_DROP);
	gw_policy_free(p);
	assert_int_equal(look(q, flow4(1, 2, 6, 1, 2)).action, GW_ACTION_DROP);
	gw_policy_free(q);
}

/* As many as may be beside the classifier have come, before all others, or gone. */
static void
measure_amended(const struct gw_policy *p, const struct gw_policy_rule *r, unsigned int n,
		const struct gw_flow *const flows[])
{
	struct gw_policy_rule *more = calloc(n + GW_POLICY_BESIDE, sizeof(*more));
	struct gw_verdict v[GW_BURST];
	struct gw_policy *come, *gone = NULL;
	uint64_t start, cycles;
	double come_ms, gone_ms;

	memcpy(&more[GW_POLICY_BESIDE], r, n * sizeof(*more));
	for (unsigned int i = 0; i < GW_POLICY_BESIDE; i++)
		more[i] = rule4(0x0a000000 + i, 32, 0x0c000000, 24, 0, GW_ACTION_TUNNEL);
	start = rte_rdtsc();
	come = gw_policy_amend(p, more, n + GW_POLICY_BESIDE, SOCKET_ID_ANY);
	come_ms = (rte_rdtsc() - start) * 1e3 / rte_get_tsc_hz();
	start = rte_rdtsc();
	if (n > GW_POLICY_BESIDE)
		gone = gw_policy_amend(
				p, r + GW_POLICY_BESIDE, n - GW_POLICY_BESIDE, SOCKET_ID_ANY);
	gone_ms = (rte_rdtsc() - start) * 1e3 / rte_get_tsc_hz();
	assert_non_null(come);
	assert_true(gone != NULL || n <= GW_POLICY_BESIDE);
	start = rte_rdtsc();
	for (unsigned int i = 0; i < 20000; i++)
		gw_policy_lookup(come, flows, v, GW_BURST);
	cycles = (rte_rdtsc() - start) / (20000 * GW_BURST);
	print_message("#   %u more: %.2f ms, %lu cycles per packet; %u less: %.2f ms\n",
			GW_POLICY_BESIDE, come_ms, cycles, GW_POLICY_BESIDE, gone_ms);
	gw_policy_free(come);
	gw_policy_free(gone);
	free(more);
}

/* A gateway with many tunnels: build time, memory, cycles for each packet. */
static void
measure(unsigned int n, uint8_t family)
{
	struct gw_policy_rule *r = calloc(n, sizeof(*r));
	struct gw_flow f[GW_BURST];
	const struct gw_flow *flows[GW_BURST];
	struct gw_verdict v[GW_BURST];
	struct gw_policy *p;
	uint64_t start, cycles;
	double ms;

	for (unsigned int i = 0; i < n; i++) {
		r[i] = rule4(0x0a000000, 16, 0x0b000000 + (i << 8), 24, 0, GW_ACTION_TUNNEL);
		if (family == AF_INET6)
			r[i].sel = (struct gw_selector){
					prefix6(0xffff, 0, 48), prefix6(i, 0, 48), 0, any, any};
		r[i].tunnel = i;
	}
	start = rte_rdtsc();
	p = build(r, n, GW_ACTION_DROP);
	ms = (rte_rdtsc() - start) * 1e3 / rte_get_tsc_hz();
	for (unsigned int i = 0; i < GW_BURST; i++) {
		uint32_t t = next_random() % n;

		f[i] = family == AF_INET ? flow4(0x0a000001, 0x0b000001 + (t << 8), 6, 1, 2)
					 : flow6(0xffff, 1, t, 1, 6, 1, 2);
		flows[i] = &f[i];
	}
	gw_policy_lookup(p, flows, v, GW_BURST);
	start = rte_rdtsc();
	for (unsigned int i = 0; i < 20000; i++)
		gw_policy_lookup(p, flows, v, GW_BURST);
	cycles = (rte_rdtsc() - start) / (20000 * GW_BURST);
	for (unsigned int i = 0; i < GW_BURST; i++)
		assert_int_equal(v[i].rule, naive(r, n, &f[i]));
	print_message("# %u IPv%c rules: built in %.1f ms, %lu cycles per packet\n", n,
			family == AF_INET ? '4' : '6', ms, cycles);
	measure_amended(p, r, n, flows);
	gw_policy_free(p);
	free(r);
}

static void
test_measure(void **state)
{
	measure(1, AF_INET);
	measure(1000, AF_INET);
	measure(16000, AF_INET);
	measure(1, AF_INET6);
	measure(1000, AF_INET6);
	measure(16000, AF_INET6);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_order_and_default),
			cmocka_unit_test(test_no_rules),
			cmocka_unit_test(test_one_family),
			cmocka_unit_test(test_default_route_selectors),
			cmocka_unit_test(test_fragments),
			cmocka_unit_test(test_opaque),
			cmocka_unit_test(test_property),
			cmocka_unit_test(test_sel_mirrors_policy),
			cmocka_unit_test(test_amend_property),
			cmocka_unit_test(test_amend_limit),
			cmocka_unit_test(test_amend_hidden),
			cmocka_unit_test(test_refusals),
			cmocka_unit_test(test_same_name),
			cmocka_unit_test(test_measure),
	};
	int rc;

	if (rte_eal_init(argc, argv) < 0)
		return 1;
	rc = cmocka_run_group_tests(tests, NULL, NULL);
	rte_eal_cleanup();
	return rc;
}
