/* SPDX-License-Identifier: BSD-3-Clause */

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <rte_acl.h>
#include <rte_common.h>
#include <rte_debug.h>
#include <rte_errno.h>
#include <rte_malloc.h>

#include "policy_diff.h"

/* The verdicts' numbers are 16 bits, 0 is the default. */
#define MAX_RULES (UINT16_MAX - 1)
/* A rule, its twin for fragments, its twin for packets of unknown protocol. */
#define MAX_TWINS 3
/* Small classifiers are fast; the large one is for many nested prefixes with port ranges. */
#define ACL_BYTES (32u << 20)
#define ACL_MAX_BYTES (128u << 20)
#define MAX_FIELDS 11

/** What librte_acl has made of a list of rules. Policies share it; control counts them. */
struct classifier {
	struct rte_acl_ctx *acl4; /* NULL: no rules of this family */
	struct rte_acl_ctx *acl6;
	struct gw_policy_rule *rules;
	unsigned int n;
	unsigned int users;
};

/** A rule that is looked at beside the classifier. */
struct beside {
	struct gw_sel_in sel; /* its sides the other way round: of packets that go out */
	struct gw_verdict verdict;
	bool clear; /* it lets pass: where a packet does not show all, it does not apply */
};

struct gw_policy {
	/* read for every burst */
	struct rte_acl_ctx *acl4; /* the classifier's */
	struct rte_acl_ctx *acl6;
	struct gw_verdict *verdicts; /* by number in the classifier; [0] is the default */
	struct beside *beside; /* in order */
	unsigned int n_beside;

	bool amended; /* the classifier is that of other rules */
	struct classifier *classifier;
	struct gw_policy_rule *rules;
	unsigned int n;
};

RTE_ACL_RULE_DEF(acl_rule, MAX_FIELDS);

static_assert(sizeof(struct gw_flow) == 40, "the key of the classifier");

/* clang-format off */
#define FIELD(i, t, s, in, off) \
	{ \
		.type = RTE_ACL_FIELD_TYPE_##t, .size = (s), .field_index = (i), \
		.input_index = (in), .offset = (off), \
	}
#define FLOW(member) offsetof(struct gw_flow, member)

/* Fields of an input index stand in the same group of 4 bytes: the ports share one. */
static const struct rte_acl_field_def fields4[] = {
	FIELD(0, BITMASK, 1, 0, FLOW(proto)),
	FIELD(1, MASK, 4, 1, FLOW(src)),
	FIELD(2, MASK, 4, 2, FLOW(dst)),
	FIELD(3, RANGE, 2, 3, FLOW(sport)),
	FIELD(4, RANGE, 2, 3, FLOW(dport)),
};

static const struct rte_acl_field_def fields6[] = {
	FIELD(0, BITMASK, 1, 0, FLOW(proto)),
	FIELD(1, MASK, 4, 1, FLOW(src)),
	FIELD(2, MASK, 4, 2, FLOW(src) + 4),
	FIELD(3, MASK, 4, 3, FLOW(src) + 8),
	FIELD(4, MASK, 4, 4, FLOW(src) + 12),
	FIELD(5, MASK, 4, 5, FLOW(dst)),
	FIELD(6, MASK, 4, 6, FLOW(dst) + 4),
	FIELD(7, MASK, 4, 7, FLOW(dst) + 8),
	FIELD(8, MASK, 4, 8, FLOW(dst) + 12),
	FIELD(9, RANGE, 2, 9, FLOW(sport)),
	FIELD(10, RANGE, 2, 9, FLOW(dport)),
};
/* clang-format on */

static_assert(RTE_DIM(fields6) == MAX_FIELDS, "room in struct acl_rule");

static bool
has_ports(const struct gw_selector *s)
{
	return s->local_ports.min != 0 || s->local_ports.max != UINT16_MAX ||
			s->remote_ports.min != 0 || s->remote_ports.max != UINT16_MAX;
}

/* One field for each 4 bytes of the address, in host order as rte_acl wants it. */
static struct rte_acl_field *
put_prefix(struct rte_acl_field *f, const struct gw_prefix *p)
{
	const uint8_t *a = (const uint8_t *)&p->addr.a;
	unsigned int left = p->len;

	for (size_t i = 0; i < gw_addr_len(p->addr.family); i += 4, f++) {
		unsigned int bits = RTE_MIN(left, 32u);
		rte_be32_t word;

		memcpy(&word, a + i, 4);
		f->value.u32 = rte_be_to_cpu_32(word) & (uint32_t)(UINT64_MAX << (32 - bits));
		f->mask_range.u32 = bits;
		left -= bits;
	}
	return f;
}

static struct rte_acl_field *
put_range(struct rte_acl_field *f, uint16_t min, uint16_t max)
{
	f->value.u16 = min;
	f->mask_range.u16 = max;
	return f + 1;
}

/* The rule as it stands, number "num" from 1 of "n": the first has the highest priority. */
static void
put_rule(struct acl_rule *r, const struct gw_selector *s, unsigned int num, unsigned int n)
{
	struct rte_acl_field *f = r->field;

	memset(r, 0, sizeof(*r));
	r->data.category_mask = 1;
	r->data.priority = n - num + RTE_ACL_MIN_PRIORITY;
	r->data.userdata = num;
	f->value.u8 = s->proto;
	f->mask_range.u8 = s->proto == 0 ? 0 : UINT8_MAX;
	f = put_prefix(f + 1, &s->local);
	f = put_prefix(f, &s->remote);
	f = put_range(f, s->local_ports.min, s->local_ports.max);
	put_range(f, s->remote_ports.min, s->remote_ports.max);
}

/*
 * A rule and its twins. A twin has its rule's priority and number, so it does
 * not matter which of them is found. Returns how many.
 */
static unsigned int
put_rules(struct acl_rule *out, const struct gw_policy_rule *rule, unsigned int num, unsigned int n)
{
	struct gw_selector twin = rule->sel;
	unsigned int count = 0;

	put_rule(&out[count++], &rule->sel, num, n);
	if (rule->action == GW_ACTION_BYPASS || rule->sel.proto == 0)
		return count;
	twin.local_ports = twin.remote_ports = (struct gw_port_range){0, 0};
	if (has_ports(&rule->sel))
		put_rule(&out[count++], &twin, num, n);
	if (rule->sel.local.addr.family == AF_INET6) {
		twin.proto = GW_PROTO_OPAQUE;
		put_rule(&out[count++], &twin, num, n);
	}
	return count;
}

/* Port 0 stands for "has none": no range but that of all ports may include it. */
static bool
range_ok(const struct gw_port_range *r)
{
	return r->min == 0 ? r->max == UINT16_MAX : r->min <= r->max;
}

static int
check_rule(const struct gw_policy_rule *rule, unsigned int num, struct gw_error *err)
{
	const struct gw_selector *s = &rule->sel;
	uint8_t family = s->local.addr.family;
	const char *what = NULL;

	if ((family != AF_INET && family != AF_INET6) || s->remote.addr.family != family)
		what = "local and remote are not prefixes of one family";
	else if (s->local.len > gw_addr_len(family) * 8 || s->remote.len > gw_addr_len(family) * 8)
		what = "prefix length is out of range";
	else if (!range_ok(&s->local_ports) || !range_ok(&s->remote_ports))
		what = "not a range of ports (1-65535, or 0-65535 for any)";
	else if (has_ports(s) && !gw_flow_has_ports(s->proto))
		what = "ports need a protocol that has them";
	if (what == NULL)
		return 0;
	snprintf(err->text, sizeof(err->text), "policy rule %u: %s", num, what);
	return -EINVAL;
}

static struct acl_rule *
make_rules(const struct classifier *c, uint8_t family, uint32_t *count)
{
	struct acl_rule *acl = malloc((size_t)c->n * MAX_TWINS * sizeof(*acl) + 1);

	*count = 0;
	if (acl == NULL)
		return NULL;
	for (unsigned int i = 0; i < c->n; i++)
		if (c->rules[i].sel.local.addr.family == family)
			*count += put_rules(&acl[*count], &c->rules[i], i + 1, c->n);
	return acl;
}

/*
 * rte_acl_create() returns the old one where the name is taken, as if it were
 * ours; and the old policy lives until all workers have the new one. So no name
 * is used twice.
 */
static struct rte_acl_ctx *
create_acl(const char *name, uint8_t family, uint32_t count, int socket)
{
	static unsigned int serial; /* control thread only */
	char full[RTE_ACL_NAMESIZE];
	struct rte_acl_param prm = {
			.name = full,
			.socket_id = socket,
			.rule_size = RTE_ACL_RULE_SZ(MAX_FIELDS),
			.max_rule_num = count,
	};

	snprintf(full, sizeof(full), "%.16s-%c-%u", name, family == AF_INET ? '4' : '6', serial++);
	return rte_acl_create(&prm);
}

static int
build_acl(struct rte_acl_ctx *ctx, uint8_t family, const struct acl_rule *rules, uint32_t count)
{
	struct rte_acl_config cfg = {.num_categories = 1, .max_size = ACL_BYTES};
	int rc;

	if (family == AF_INET) {
		cfg.num_fields = RTE_DIM(fields4);
		memcpy(cfg.defs, fields4, sizeof(fields4));
	} else {
		cfg.num_fields = RTE_DIM(fields6);
		memcpy(cfg.defs, fields6, sizeof(fields6));
	}
	rc = rte_acl_add_rules(ctx, (const struct rte_acl_rule *)rules, count);
	if (rc < 0)
		return rc;
	rc = rte_acl_build(ctx, &cfg);
	if (rc != -ERANGE)
		return rc;
	cfg.max_size = ACL_MAX_BYTES;
	return rte_acl_build(ctx, &cfg);
}

/* The classifier of one family; *out stays NULL where it has no rules. */
static int
build_family(const struct classifier *c, const char *name, uint8_t family, int socket,
		struct rte_acl_ctx **out, struct gw_error *err)
{
	uint32_t count;
	struct acl_rule *rules = make_rules(c, family, &count);
	int rc = 0;

	*out = NULL;
	if (rules == NULL) {
		rc = -ENOMEM;
	} else if (count > 0) {
		*out = create_acl(name, family, count, socket);
		rc = *out == NULL ? -rte_errno : build_acl(*out, family, rules, count);
	}
	free(rules);
	if (rc < 0)
		snprintf(err->text, sizeof(err->text),
				"cannot build the classifier for %u IPv%c policy rules: %s", count,
				family == AF_INET ? '4' : '6',
				rc == -ERANGE ? "they nest too much, or have too many port ranges"
					      : strerror(-rc));
	return rc;
}

static struct gw_policy_rule *
copy_rules(const struct gw_policy_rule *rules, unsigned int n)
{
	struct gw_policy_rule *copy = malloc((size_t)n * sizeof(*rules) + 1);

	if (copy != NULL && n > 0)
		memcpy(copy, rules, (size_t)n * sizeof(*rules));
	return copy;
}

static void
no_memory(unsigned int n, struct gw_error *err)
{
	snprintf(err->text, sizeof(err->text), "no memory for %u policy rules", n);
}

/** One user less. */
static void
put_classifier(struct classifier *c)
{
	if (--c->users > 0)
		return;
	rte_acl_free(c->acl4);
	rte_acl_free(c->acl6);
	free(c->rules);
	free(c);
}

/** For one user, who builds it. */
static struct classifier *
build_classifier(const char *name, const struct gw_policy_rule *rules, unsigned int n, int socket,
		struct gw_error *err)
{
	struct classifier *c = calloc(1, sizeof(*c));

	if (c == NULL) {
		no_memory(n, err);
		return NULL;
	}
	c->users = 1;
	c->n = n;
	c->rules = copy_rules(rules, n);
	if (c->rules == NULL) {
		no_memory(n, err);
		goto fail;
	}
	if (build_family(c, name, AF_INET, socket, &c->acl4, err) < 0 ||
			build_family(c, name, AF_INET6, socket, &c->acl6, err) < 0)
		goto fail;
	return c;
fail:
	put_classifier(c);
	return NULL;
}

static struct gw_verdict
verdict_of(const struct gw_policy_rule *rules, unsigned int num)
{
	return (struct gw_verdict){.rule = num,
			.tunnel = rules[num - 1].tunnel,
			.action = rules[num - 1].action};
}

/** A policy that uses a classifier, which says of all packets that no rule matches. */
static struct gw_policy *
new_policy(struct classifier *c, const struct gw_policy_rule *rules, unsigned int n,
		struct gw_verdict other, int socket)
{
	struct gw_policy *policy = rte_zmalloc_socket(
			"gw_policy", sizeof(*policy), RTE_CACHE_LINE_SIZE, socket);

	if (policy == NULL)
		return NULL;
	policy->rules = copy_rules(rules, n);
	policy->n = n;
	policy->verdicts = rte_zmalloc_socket("gw_policy", (c->n + 1) * sizeof(*policy->verdicts),
			RTE_CACHE_LINE_SIZE, socket);
	policy->acl4 = c->acl4;
	policy->acl6 = c->acl6;
	policy->classifier = c;
	c->users++;
	if (policy->rules == NULL || policy->verdicts == NULL) {
		gw_policy_free(policy);
		return NULL;
	}
	for (unsigned int num = 0; num <= c->n; num++)
		policy->verdicts[num] = other;
	return policy;
}

struct gw_policy *
gw_policy_build(const char *name, const struct gw_policy_rule *rules, unsigned int n,
		enum gw_action default_action, int socket, struct gw_error *err)
{
	struct gw_policy *policy;
	struct classifier *c;

	if (n > MAX_RULES) {
		snprintf(err->text, sizeof(err->text), "%u policy rules are too many: at most %u",
				n, MAX_RULES);
		return NULL;
	}
	for (unsigned int i = 0; i < n; i++)
		if (check_rule(&rules[i], i + 1, err) < 0)
			return NULL;
	c = build_classifier(name, rules, n, socket, err);
	if (c == NULL)
		return NULL;
	policy = new_policy(c, rules, n, (struct gw_verdict){.action = default_action}, socket);
	put_classifier(c);
	if (policy == NULL) {
		no_memory(n, err);
		return NULL;
	}
	for (unsigned int num = 1; num <= n; num++)
		policy->verdicts[num] = verdict_of(rules, num);
	return policy;
}

static int
put_beside(struct gw_policy *policy, const struct gw_policy_diff *diff, int socket)
{
	struct beside *b = rte_zmalloc_socket("gw_policy", (diff->n_beside + 1) * sizeof(*b),
			RTE_CACHE_LINE_SIZE, socket);

	if (b == NULL)
		return -ENOMEM;
	policy->beside = b;
	policy->n_beside = diff->n_beside;
	for (unsigned int num = 1; num <= policy->n; num++) {
		const struct gw_selector *sel = &policy->rules[num - 1].sel;
		struct gw_selector turned = {.local = sel->remote,
				.remote = sel->local,
				.proto = sel->proto,
				.local_ports = sel->remote_ports,
				.remote_ports = sel->local_ports};

		if (!diff->beside[num])
			continue;
		gw_sel_compile(&b->sel, &turned);
		b->verdict = verdict_of(policy->rules, num);
		b->clear = policy->rules[num - 1].action == GW_ACTION_BYPASS;
		b++;
	}
	return 0;
}

static struct gw_policy *
amend(const struct gw_policy *old, const struct gw_policy_diff *diff,
		const struct gw_policy_rule *rules, unsigned int n, int socket)
{
	struct classifier *c = old->classifier;
	struct gw_policy *policy = new_policy(c, rules, n, old->verdicts[0], socket);

	if (policy == NULL)
		return NULL;
	policy->amended = diff->n_gone + diff->n_beside > 0;
	for (unsigned int num = 1; num <= c->n; num++)
		if (diff->now[num] != 0)
			policy->verdicts[num] = verdict_of(rules, diff->now[num]);
	if (put_beside(policy, diff, socket) < 0) {
		gw_policy_free(policy);
		return NULL;
	}
	return policy;
}

struct gw_policy *
gw_policy_amend(const struct gw_policy *old, const struct gw_policy_rule *rules, unsigned int n,
		int socket)
{
	struct gw_policy *policy = NULL;
	struct gw_policy_diff diff;
	struct gw_error ignored;

	if (n > MAX_RULES)
		return NULL;
	for (unsigned int i = 0; i < n; i++)
		if (check_rule(&rules[i], i + 1, &ignored) < 0)
			return NULL;
	if (gw_policy_diff(&diff, old->classifier->rules, old->classifier->n, rules, n) == 0)
		policy = amend(old, &diff, rules, n, socket);
	gw_policy_diff_free(&diff);
	return policy;
}

bool
gw_policy_is_amended(const struct gw_policy *policy)
{
	return policy->amended;
}

void
gw_policy_free(struct gw_policy *policy)
{
	if (policy == NULL)
		return;
	put_classifier(policy->classifier);
	rte_free(policy->verdicts);
	rte_free(policy->beside);
	free(policy->rules);
	rte_free(policy);
}

/* Numbers of the rules; 0 for all where the family has none. */
static inline void
classify(const struct rte_acl_ctx *acl, const uint8_t *keys[], uint32_t nums[], unsigned int n)
{
	if (acl == NULL)
		memset(nums, 0, n * sizeof(*nums));
	else
		rte_acl_classify(acl, keys, nums, n, 1);
}

/** As put_rules() has it for the classifier: what a fragment or an opaque packet does not show. */
static bool
applies(const struct beside *b, const struct gw_flow *f)
{
	const struct gw_sel_in *sel = &b->sel;

	if (sel->family != f->family || !gw_sel_addr_match(f->src, sel->src, sel->src_mask) ||
			!gw_sel_addr_match(f->dst, sel->dst, sel->dst_mask))
		return false;
	if (sel->proto == 0)
		return true;
	if (!b->clear && f->proto == GW_PROTO_OPAQUE && f->family == AF_INET6)
		return true;
	if (sel->proto != f->proto)
		return false;
	if (!b->clear && f->sport == 0 && f->dport == 0)
		return true;
	return gw_sel_port_match(&sel->sports, f->sport) &&
			gw_sel_port_match(&sel->dports, f->dport);
}

/** The first that applies, if it stands before what the classifier has found. */
static void
look_beside(const struct gw_policy *policy, const struct gw_flow *f, struct gw_verdict *v)
{
	for (unsigned int i = 0; i < policy->n_beside; i++) {
		const struct beside *b = &policy->beside[i];

		if (v->rule != 0 && b->verdict.rule > v->rule)
			return;
		if (applies(b, f)) {
			*v = b->verdict;
			return;
		}
	}
}

void
gw_policy_lookup(const struct gw_policy *policy, const struct gw_flow *const flows[],
		struct gw_verdict verdicts[], unsigned int n)
{
	const uint8_t *keys[2][GW_BURST];
	uint32_t nums[2][GW_BURST];
	unsigned int count[2] = {0, 0};
	unsigned int at[2] = {0, 0};

	RTE_ASSERT(n <= GW_BURST);
	for (unsigned int i = 0; i < n; i++) {
		unsigned int six = flows[i]->family == AF_INET6;

		keys[six][count[six]++] = (const uint8_t *)flows[i];
	}
	if (count[0] > 0)
		classify(policy->acl4, keys[0], nums[0], count[0]);
	if (count[1] > 0)
		classify(policy->acl6, keys[1], nums[1], count[1]);
	for (unsigned int i = 0; i < n; i++) {
		unsigned int six = flows[i]->family == AF_INET6;

		verdicts[i] = policy->verdicts[nums[six][at[six]++]];
		if (unlikely(flows[i]->family == 0))
			verdicts[i] = (struct gw_verdict){.action = GW_ACTION_DROP};
	}
	for (unsigned int i = 0; unlikely(policy->n_beside > 0) && i < n; i++)
		look_beside(policy, flows[i], &verdicts[i]);
}

const struct gw_policy_rule *
gw_policy_rule_get(const struct gw_policy *policy, uint16_t rule)
{
	return rule == 0 || rule > policy->n ? NULL : &policy->rules[rule - 1];
}

static void
compile_prefix(const struct gw_prefix *p, uint64_t want[2], uint64_t mask[2])
{
	uint8_t bytes[16] = {0};
	uint8_t addr[16] = {0};

	memcpy(addr, &p->addr.a, gw_addr_len(p->addr.family));
	for (unsigned int i = 0; i < p->len; i++)
		bytes[i / 8] |= 0x80 >> i % 8;
	memcpy(mask, bytes, sizeof(bytes));
	memcpy(want, addr, sizeof(addr));
	want[0] &= mask[0];
	want[1] &= mask[1];
}

void
gw_sel_compile(struct gw_sel_in *in, const struct gw_selector *sel)
{
	memset(in, 0, sizeof(*in));
	compile_prefix(&sel->remote, in->src, in->src_mask);
	compile_prefix(&sel->local, in->dst, in->dst_mask);
	in->sports = sel->remote_ports;
	in->dports = sel->local_ports;
	in->proto = sel->proto;
	in->family = sel->local.addr.family;
	if (in->family == AF_INET && in->proto == 0) {
		in->addrs4 = in->src[0] | in->dst[0] << 32;
		in->addrs4_mask = in->src_mask[0] | in->dst_mask[0] << 32;
	} else {
		in->addrs4 = 1; /* outside of the mask, which is 0 */
	}
}

bool
gw_selector_match_in(const struct gw_selector *sel, const struct gw_flow *f)
{
	struct gw_sel_in in;

	gw_sel_compile(&in, sel);
	return gw_sel_match(&in, f);
}
