/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef STEER_FAKE_H
#define STEER_FAKE_H

/*
 * What the tests of app/steer/ share: a NIC with RSS that is played here (ethdev is ours),
 * rules that may do nothing, and SAs whose packets it spreads.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include <rte_ethdev.h>

#include "rss_util.h"
#include "steer/steer.h"

#define PORT_ID 5
#define N_WORKERS 16
#define MAX_SAS 1024
#define SECOND UINT64_C(1000000000)

/** The NIC, as it really is. */
static struct {
	uint8_t key[64];
	uint8_t key_size; /* as it says */
	uint64_t rss_hf;
	uint16_t reta_size;
	uint16_t reta[8192];
	uint16_t n_queues;

	int info_rc, hash_rc, query_rc, update_rc; /* -errno: refuses */
	bool deaf; /* takes what is written, and keeps what it had */
	bool slips; /* takes it but for one entry */
	bool garbles; /* makes another one of entry 3, whatever is written */
	bool lies; /* reads back what was written, and spreads as before */
	bool other_key; /* hashes with another one */
	bool no_hash; /* packets come without */
	enum gw_steer_esp_by esp; /* what is hashed of plain ESP; unknown: what stands there */
	unsigned int n_reads, n_writes, n_groups;
	uint16_t spread[8192]; /* lies: what it goes by */
} nic;

/** Rules: a method "flow" that is ours. */
static struct {
	int probe_rc, add_rc;
	bool works; /* rules do what they say */
	unsigned int n_probe, n_add, n_del, n_move, n_close;
} rules = {.probe_rc = -ENOTSUP};

static struct gw_port port;
static struct gw_steer_port sp;
static struct gw_steer_sa sa[MAX_SAS];
static uint64_t packets[MAX_SAS], foreign[MAX_SAS];
static struct gw_error err;

int
rte_eth_dev_info_get(uint16_t port_id, struct rte_eth_dev_info *info)
{
	assert_int_equal(port_id, PORT_ID);
	nic.n_reads++;
	memset(info, 0, sizeof(*info));
	info->hash_key_size = nic.key_size;
	info->reta_size = nic.reta_size;
	return nic.info_rc;
}

int
rte_eth_dev_rss_hash_conf_get(uint16_t port_id, struct rte_eth_rss_conf *conf)
{
	assert_int_equal(port_id, PORT_ID);
	nic.n_reads++;
	assert_true(conf->rss_key_len >= nic.key_size);
	if (nic.hash_rc == 0) {
		conf->rss_hf = nic.rss_hf;
		memcpy(conf->rss_key, nic.key, nic.key_size);
	}
	return nic.hash_rc;
}

/** All groups but those, and no entry behind the last. */
static uint64_t
whole_group(uint16_t reta_size)
{
	return reta_size >= 64 ? UINT64_MAX : (UINT64_C(1) << reta_size) - 1;
}

int
rte_eth_dev_rss_reta_query(uint16_t port_id, struct rte_eth_rss_reta_entry64 *group, uint16_t size)
{
	assert_int_equal(port_id, PORT_ID);
	assert_int_equal(size, nic.reta_size);
	nic.n_reads++;
	for (unsigned int i = 0; nic.query_rc == 0 && i < size; i++) {
		assert_true(group[i / 64].mask == whole_group(size));
		group[i / 64].reta[i % 64] = nic.reta[i];
	}
	return nic.query_rc;
}

int
rte_eth_dev_rss_reta_update(uint16_t port_id, struct rte_eth_rss_reta_entry64 *group, uint16_t size)
{
	bool changed = false;

	assert_int_equal(port_id, PORT_ID);
	assert_int_equal(size, nic.reta_size);
	nic.n_writes++;
	nic.n_groups = 0;
	if (nic.update_rc < 0)
		return nic.update_rc;
	for (unsigned int i = 0; i < size; i++) {
		uint16_t queue = group[i / 64].reta[i % 64];

		assert_true(group[i / 64].mask == 0 || group[i / 64].mask == whole_group(size));
		nic.n_groups += i % 64 == 0 && group[i / 64].mask != 0;
		if (group[i / 64].mask == 0 || nic.deaf)
			continue;
		assert_in_range(queue, 0, nic.n_queues - 1);
		if (nic.slips && nic.reta[i] != queue && !changed) {
			changed = true;
			continue;
		}
		nic.reta[i] = queue;
		if (!nic.lies)
			nic.spread[i] = queue;
	}
	if (nic.garbles)
		nic.reta[3] ^= 1;
	return 0;
}

static int
rules_probe(struct gw_steer_port *p, struct gw_error *why)
{
	assert_null(p->state);
	rules.n_probe++;
	if (rules.probe_rc < 0)
		gw_error_set(why, NULL, 0, "net_x takes no ESP rule: no rules here");
	else
		p->state = &rules;
	return rules.probe_rc;
}

static void
rules_close(struct gw_steer_port *p)
{
	assert_ptr_equal(p->state, &rules);
	rules.n_close++;
	p->state = NULL;
	for (unsigned int i = 0; i < p->n_sas; i++)
		p->sas[i]->rule = NULL;
}

static int
rules_add(struct gw_steer_port *p, struct gw_steer_sa *s)
{
	assert_ptr_equal(p->state, &rules);
	assert_null(s->rule);
	rules.n_add++;
	if (rules.add_rc == 0 && s->queue < p->port->n_rxq)
		s->rule = s;
	return s->rule != NULL ? 0 : -ENOSPC;
}

static void
rules_del(struct gw_steer_port *p, struct gw_steer_sa *s)
{
	assert_ptr_equal(p->state, &rules);
	rules.n_del++;
	s->rule = NULL;
}

static int
rules_move(struct gw_steer_port *p, struct gw_steer_sa *s)
{
	assert_ptr_equal(p->state, &rules);
	rules.n_move++;
	return 0;
}

static void
rules_describe(const struct gw_steer_port *p, const struct gw_steer_sa *s, char *out, size_t len)
{
	out[0] = '\0';
}

const struct gw_steer_ops gw_steer_flow = {
		.name = "flow",
		.what = "rules",
		.probe = rules_probe,
		.close = rules_close,
		.add = rules_add,
		.del = rules_del,
		.move = rules_move,
		.describe = rules_describe,
};

static int
no_probe(struct gw_steer_port *p, struct gw_error *why)
{
	gw_error_set(why, NULL, 0, "net_x is no TAP");
	return -ENOTSUP;
}

/* where it is listed, nothing of it but this is used here */
const struct gw_steer_ops gw_steer_tap = {.name = "tap", .what = "a TAP", .probe = no_probe};

/** A NIC that can all that is of use: a random key, queues dealt out in turn. */
static void
make_nic(uint16_t n_queues, uint16_t reta_size)
{
	memset(&nic, 0, sizeof(nic));
	random_bytes(nic.key, sizeof(nic.key));
	nic.key_size = IPSEC_PCPU_RSS_KEY_LEN;
	nic.rss_hf = RTE_ETH_RSS_NONFRAG_IPV4_UDP | RTE_ETH_RSS_NONFRAG_IPV6_UDP;
	nic.n_queues = n_queues;
	nic.reta_size = reta_size;
	for (unsigned int i = 0; i < RTE_DIM(nic.reta); i++)
		nic.reta[i] = nic.spread[i] = (uint16_t)(i % n_queues);
	memset(&rules, 0, sizeof(rules));
	rules.probe_rc = -ENOTSUP;
	port = (struct gw_port){.id = PORT_ID,
			.n_rxq = n_queues,
			.n_workers = n_queues,
			.name = "wan",
			.driver = "net_x",
			.started = true};
	memset(&sp, 0, sizeof(sp));
	memset(packets, 0, sizeof(packets));
	memset(foreign, 0, sizeof(foreign));
	memset(&err, 0, sizeof(err));
}

/** As strongSwan does it: a random source port each, to 4500. */
static void
set_up_sa(unsigned int i, uint16_t queue)
{
	sa[i] = (struct gw_steer_sa){.spi = 0xa1b20000 + i,
			.queue = queue,
			.tuple = {.family = (i & 1) != 0 ? AF_INET6 : AF_INET,
					.sport = (uint16_t)(49152 + random_below(16384)),
					.dport = 4500}};
	inet_pton(AF_INET6, "2001:db8::1", &sa[i].tuple.saddr);
	inet_pton(AF_INET6, "2001:db8::2", &sa[i].tuple.daddr);
}

static inline void
add_sas(unsigned int n, unsigned int n_workers)
{
	for (unsigned int i = 0; i < n; i++) {
		set_up_sa(i, (uint16_t)(i % n_workers));
		assert_int_equal(gw_steer_add(&sp, &sa[i]), 0);
	}
}

static uint32_t
real_hash(const struct gw_steer_sa *s)
{
	static const uint8_t other[IPSEC_PCPU_RSS_KEY_LEN] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
	const uint8_t *key = nic.other_key ? other : nic.key;

	if (s->tuple.dport != 0 || nic.esp == GW_STEER_ESP_UNKNOWN)
		return softrss(key, &s->tuple);
	return softrss_word(key, nic.esp == GW_STEER_ESP_ADDRS ? &s->tuple : NULL, s->spi);
}

/** Where an SA's packets really land. */
static uint16_t
lands(const struct gw_steer_sa *s)
{
	if (s->rule != NULL && rules.works)
		return s->queue;
	return nic.spread[real_hash(s) % nic.reta_size];
}

/** So many packets of an SA, and then it is judged. */
static bool
judge(struct gw_steer_sa *s, unsigned int n)
{
	unsigned int i = (unsigned int)(s - sa);

	packets[i] += n;
	foreign[i] += lands(s) != s->queue ? n : 0;
	return gw_steer_judge(&sp, s, packets[i], foreign[i], lands(s), &err);
}

/** The same where they land elsewhere, whatever the NIC was told. */
static inline bool
judge_odd(struct gw_steer_sa *s, unsigned int n)
{
	unsigned int i = (unsigned int)(s - sa);

	packets[i] += n;
	foreign[i] += n;
	return gw_steer_judge(&sp, s, packets[i], foreign[i], (uint16_t)((s->queue + 1) % 4), &err);
}

static inline unsigned int
n_right(void)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < sp.n_sas; i++)
		n += lands(sp.sas[i]) == sp.sas[i]->queue;
	return n;
}

/** What the control thread does with a plan. Returns how many SAs it moved. */
static unsigned int
carry_out(struct gw_steer_plan *plan, uint64_t now)
{
	unsigned int n = plan->n_follow;

	assert_int_equal(gw_steer_apply(&sp, plan, &err), 0);
	for (unsigned int i = 0; i < n; i++) {
		gw_steer_moved(&sp, plan->follow[i].sa, plan->follow[i].to);
		gw_steer_followed(&sp, plan->follow[i].sa, now);
	}
	gw_steer_plan_free(plan);
	return n;
}

static struct gw_steer_plan
plan_it(bool anew, uint64_t now)
{
	struct gw_steer_plan plan;

	assert_int_equal(gw_steer_plan(&sp, anew, now, &plan), 0);
	return plan;
}

static void
open_it(enum gw_steer_want want, const char *expected)
{
	err.text[0] = '\0';
	assert_int_equal(gw_steer_open(&sp, &port, want, &err), 0);
	assert_string_equal(sp.ops->name, expected);
	assert_string_equal(err.text, "");
}

static int
finish(void **state)
{
	gw_steer_close(&sp);
	assert_null(sp.ops);
	assert_null(sp.state);
	gw_steer_free(&sp);
	assert_null(sp.sas);
	return 0;
}

static inline const char *
why_not(const char *method)
{
	int i = gw_steer_method(method);

	assert_true(i >= 0);
	return sp.why_not[i];
}

/** A packet of an SA with the hash that the NIC makes of it. */
static inline bool
see(struct gw_steer_sa *s)
{
	struct gw_steer_seen seen = {.tuple = s->tuple, .has_hash = !nic.no_hash};

	seen.hash = real_hash(s);
	return gw_steer_saw(&sp, s, &seen, &err);
}

/** Make the table, so that SAs without conflicts are right. */
static inline void
steer_all(void)
{
	struct gw_steer_plan plan = plan_it(true, 1);

	carry_out(&plan, 1);
}

/** How many a plan would move. */
static inline unsigned int
n_follow(void)
{
	struct gw_steer_plan plan = plan_it(false, 1);
	unsigned int n = plan.n_follow;

	gw_steer_plan_free(&plan);
	return n;
}

/** Judged so often, and nothing is given up before the last time. */
static inline bool
judge_until(struct gw_steer_sa *s, unsigned int times)
{
	for (unsigned int i = 0; i + 1 < times; i++)
		assert_false(judge(s, 100));
	return judge(s, 100);
}

static inline void
misplace(struct gw_steer_sa *s)
{
	gw_steer_moved(&sp, s, (uint16_t)((nic.spread[real_hash(s) % nic.reta_size] + 1) % 4));
}

static inline void
judge_all(unsigned int n)
{
	for (unsigned int i = 0; i < sp.n_sas; i++)
		assert_false(judge(&sa[i], n));
}

#endif /* STEER_FAKE_H */
