/* SPDX-License-Identifier: BSD-3-Clause */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "workers_ike.h"

#define SLOW 256 /* so much slower is time, unless it runs */

struct ike_events ike;
struct ike_pair ike_own[SITE_WORKERS], ike_fallback;
long ike_cpus;
bool ike_busy;
unsigned int ike_messages;

static uint32_t out_spis; /* that the peer has given out */

/* Time: control's alone, workers have their own */

static __thread bool is_control;
static bool runs;
static uint64_t began, ahead;

int __real_clock_gettime(clockid_t id, struct timespec *ts);
int __wrap_clock_gettime(clockid_t id, struct timespec *ts);

int
__wrap_clock_gettime(clockid_t id, struct timespec *ts)
{
	int rc = __real_clock_gettime(id, ts);
	uint64_t now;

	if (rc != 0 || id != CLOCK_MONOTONIC || !is_control)
		return rc;
	now = ts->tv_sec * IKE_S + ts->tv_nsec;
	if (!runs)
		now = began + (now - began) / SLOW;
	now += ahead;
	*ts = (struct timespec){.tv_sec = now / IKE_S, .tv_nsec = now % IKE_S};
	return 0;
}

void
ike_later(uint64_t ns)
{
	ahead += ns;
}

void
ike_clock_runs(void)
{
	runs = true;
}

static void
start_clock(void)
{
	runs = true;
	is_control = true;
	began = gw_now_ns() - ahead;
	runs = false;
}

/* A worker that does not answer */

static unsigned int stalled = UINT32_MAX;

void __real_gw_msg_poll(struct gw_worker *w);
void __wrap_gw_msg_poll(struct gw_worker *w);

void
__wrap_gw_msg_poll(struct gw_worker *w)
{
	if (__atomic_load_n(&stalled, __ATOMIC_ACQUIRE) != w->id)
		__real_gw_msg_poll(w);
}

int __real_gw_msg_await(struct gw_worker *w, struct gw_msg *posted, struct gw_msg *msg);
int __wrap_gw_msg_await(struct gw_worker *w, struct gw_msg *posted, struct gw_msg *msg);

/** In the midst of a verb: nothing else may happen here. */
static void
put_one(unsigned int queue)
{
	struct rte_mbuf *m;

	/* those under way are not collected meanwhile */
	if (rte_mempool_in_use_count(site.pool) > SITE_WINDOW)
		return;
	m = pkt_make(&site.log, site.pool, PKT_OUT, site_flow_on(queue), queue, 0);
	site_ether(&site.lan, m);
	assert_true(nic_put(&site.lan, queue, m));
}

int
__wrap_gw_msg_await(struct gw_worker *w, struct gw_msg *posted, struct gw_msg *msg)
{
	ike_messages++;
	if (ike_busy && site.running) {
		put_one(pkt_random() % SITE_WORKERS);
		put_one(w->id);
	}
	return w->id == stalled ? -ETIMEDOUT : __real_gw_msg_await(w, posted, msg);
}

void
ike_stall(unsigned int worker)
{
	struct gw_error err;

	/* it is between two rounds, and does not look at its messages any more */
	assert_int_equal(gw_set_forwarding(&site.gw, site.gw.forwarding, &err), 0);
	__atomic_store_n(&stalled, worker, __ATOMIC_RELEASE);
}

static bool
none_late(void)
{
	for (unsigned int w = 0; w < site.gw.n_workers; w++)
		if (gw_worker_is_late(&site.gw, w))
			return false;
	return true;
}

static void
end_stall(void)
{
	__atomic_store_n(&stalled, UINT32_MAX, __ATOMIC_RELEASE);
}

void
ike_unstall(void)
{
	end_stall();
	site_until(none_late, "a worker does not answer");
}

/* The machine */

long __real_sysconf(int name);
long __wrap_sysconf(int name);

long
__wrap_sysconf(int name)
{
	return name == _SC_NPROCESSORS_ONLN && ike_cpus != 0 ? ike_cpus : __real_sysconf(name);
}

/* Up and down */

static bool
on_acquire(void *arg, const struct gw_ike_acquire *a)
{
	assert_ptr_equal(arg, &ike);
	assert_true(a->cpu == IPSEC_PCPU_ANY || a->cpu < SITE_WORKERS);
	if (ike.refuse) {
		ike.refused++;
		return false;
	}
	if (ike.n < IKE_MAX_ACQUIRES)
		ike.acquire[ike.n] = *a;
	ike.n++;
	ike.asked[a->cpu == IPSEC_PCPU_ANY ? SITE_WORKERS : a->cpu]++;
	return true;
}

static bool
on_expire(void *arg, const struct gw_ike_sa_key *key, bool hard)
{
	assert_ptr_equal(arg, &ike);
	ike.soft += !hard;
	ike.hard += hard;
	return true;
}

static bool
on_mapping(void *arg, const struct gw_ike_sa_key *key, const struct gw_addr *remote, uint16_t port)
{
	assert_ptr_equal(arg, &ike);
	if (ike.refuse) {
		ike.refused++;
		return false;
	}
	ike.mappings++;
	ike.mapping.key = *key;
	ike.mapping.remote = *remote;
	ike.mapping.port = port;
	return true;
}

void
ike_start(void)
{
	ike_start_with(SITE_WORKERS);
}

void
ike_start_with(unsigned int workers)
{
	ike_start_many(workers, 32);
}

void
ike_start_many(unsigned int workers, unsigned int tunnels)
{
	const struct site_conf conf = {.workers = workers, .queues = workers, .ike = tunnels};

	start_clock();
	memset(&ike, 0, sizeof(ike));
	out_spis = 0;
	ike_cpus = 0;
	ike_busy = false;
	ike_fallback = ike_pair(PEER_FALLBACK, IPSEC_PCPU_ANY, true);
	for (unsigned int w = 0; w < SITE_WORKERS; w++)
		ike_own[w] = ike_pair(w, w, true);
	site_start(&conf);
}

int
ike_teardown(void **state)
{
	end_stall();
	ike_busy = false;
	return site_teardown(state);
}

static unsigned int wanted; /* acquires that site_until() waits for */

static bool
asked(void)
{
	return ike.n + ike.refused >= wanted;
}

void
ike_until_asked(unsigned int n)
{
	wanted = n;
	site_until(asked, "the gateway does not ask for SAs");
	/* and not for more */
	site_settle();
	for (unsigned int i = 0; i < 50; i++)
		site_turn();
	assert_int_equal(ike.n + ike.refused, n);
}

/* Connections */

static void
check(int rc, const struct gw_error *err)
{
	if (rc < 0)
		fail_msg("%s", err->text);
}

void
ike_hello(uint64_t generation)
{
	const struct gw_ike_events events = {on_acquire, on_expire, on_mapping, &ike};
	struct gw_error err;

	check(gw_ike_hello(&site.gw, generation, true, &events, &err), &err);
}

void
ike_sync_end(void)
{
	struct gw_error err;

	check(gw_ike_sync_end(&site.gw, &err), &err);
}

void
ike_gone(void)
{
	gw_ike_gone(&site.gw);
}

void
ike_connect(uint64_t generation)
{
	ike_hello(generation);
	ike_policies_add(IKE_REQID, GW_IKE_PRIO_TRAP, 0, 0);
	ike_sync_end();
}

/* Policies */

struct gw_ike_policy
ike_policy(uint32_t reqid, const char *local, const char *remote)
{
	struct gw_ike_policy p;

	/* whatever a compiler leaves between fields is no part of it */
	memset(&p, 0xa5, sizeof(p));
	p = (struct gw_ike_policy){.dir = IPSEC_PCPU_OUT,
			.action = GW_ACTION_TUNNEL,
			.prio = GW_IKE_PRIO_TRAP,
			.pcpu = true,
			.reqid = reqid};
	p.local = (struct gw_addr){AF_INET, {.ip4 = GW_ADDR}};
	p.remote = (struct gw_addr){AF_INET, {.ip4 = PEER_ADDR}};
	p.sel.local_ports.max = p.sel.remote_ports.max = UINT16_MAX;
	assert_int_equal(gw_prefix_parse(local, &p.sel.local), 0);
	assert_int_equal(gw_prefix_parse(remote, &p.sel.remote), 0);
	return p;
}

void
ike_policy_add(const struct gw_ike_policy *p)
{
	struct gw_error err;

	check(gw_ike_policy_add(&site.gw, p, &err), &err);
}

void
ike_policy_del(const struct gw_ike_policy *p)
{
	struct gw_error err;

	check(gw_ike_policy_del(&site.gw, p, &err), &err);
}

static void
each_policy(uint32_t reqid, enum gw_ike_prio prio, uint32_t in, uint32_t out,
		void (*fn)(const struct gw_ike_policy *p))
{
	for (unsigned int i = 0; i < 4; i++) {
		struct gw_ike_policy p = i % 2 == 0
				? ike_policy(reqid, "10.10.0.0/16", "10.20.0.0/16")
				: ike_policy(reqid, "fd00:10::/32", "fd00:20::/32");

		p.dir = i < 2 ? IPSEC_PCPU_OUT : IPSEC_PCPU_IN;
		p.prio = prio;
		p.spi = i < 2 ? out : in;
		fn(&p);
	}
}

void
ike_policies_add(uint32_t reqid, enum gw_ike_prio prio, uint32_t in, uint32_t out)
{
	each_policy(reqid, prio, in, out, ike_policy_add);
}

void
ike_policies_del(uint32_t reqid, enum gw_ike_prio prio, uint32_t in, uint32_t out)
{
	each_policy(reqid, prio, in, out, ike_policy_del);
}

/* SAs */

struct ike_pair
ike_pair(unsigned int number, uint32_t cpu, bool initiator)
{
	return (struct ike_pair){.number = number,
			.reqid = IKE_REQID,
			.cpu = cpu,
			.initiator = initiator,
			.sport = 49152 + number};
}

void
ike_sa_params(struct gw_ike_new_sa *sa, const struct ike_pair *p, enum ipsec_pcpu_dir dir)
{
	memset(sa, 0, sizeof(*sa));
	peer_sa_params(&sa->prm, dir, dir == IPSEC_PCPU_IN ? p->in : p->out, p->number);
	sa->prm.pcpu = p->cpu;
	if (sa->prm.encap_dport != 0)
		sa->prm.encap_sport = p->sport;
	sa->choose_sport = dir == IPSEC_PCPU_OUT && sa->prm.encap_dport != 0 && p->sport != 4500;
	sa->any_sport = dir == IPSEC_PCPU_IN && p->any_sport;
	sa->reqid = p->reqid;
	sa->initiator = p->initiator;
	snprintf(sa->name, sizeof(sa->name), "test");
}

struct gw_ike_sa_key
ike_key(enum ipsec_pcpu_dir dir, uint32_t spi)
{
	return (struct gw_ike_sa_key){
			{AF_INET, {.ip4 = dir == IPSEC_PCPU_IN ? GW_ADDR : PEER_ADDR}}, spi};
}

static void
add(const struct ike_pair *p, enum ipsec_pcpu_dir dir)
{
	struct gw_ike_new_sa sa;
	struct gw_error err;

	ike_sa_params(&sa, p, dir);
	peer_add(&site.peer, dir, sa.prm.spi, p->number);
	check(gw_ike_sa_add(&site.gw, &sa, &err), &err);
}

uint32_t
ike_alloc_spi(void)
{
	const struct gw_addr peer = {AF_INET, {.ip4 = PEER_ADDR}};
	const struct gw_addr local = {AF_INET, {.ip4 = GW_ADDR}};
	struct gw_error err;
	uint32_t spi = 0;

	check(gw_ike_alloc_spi(&site.gw, &peer, &local, &spi, &err), &err);
	return spi;
}

void
ike_add_in(struct ike_pair *p)
{
	p->in = ike_alloc_spi();
	p->out = 0xa0000000u | ++out_spis;
	add(p, IPSEC_PCPU_IN);
}

void
ike_add_out(struct ike_pair *p)
{
	add(p, IPSEC_PCPU_OUT);
}

void
ike_add(struct ike_pair *p)
{
	ike_add_in(p);
	ike_policies_add(p->reqid, GW_IKE_PRIO_SA, p->in, p->out);
	add(p, IPSEC_PCPU_OUT);
}

/** All that was sent by it has come, under consecutive numbers. */
static void
forget(uint32_t *spi)
{
	const struct peer_sa *s = peer_find(&site.peer, *spi);

	assert_non_null(s);
	if (s->dir == IPSEC_PCPU_IN && !site.peer.unordered)
		assert_int_equal(s->last_seq, s->packets);
	peer_del(&site.peer, *spi);
	*spi = 0;
}

void
ike_remove(enum ipsec_pcpu_dir dir, uint32_t spi)
{
	const struct gw_ike_sa_key key = ike_key(dir, spi);
	struct gw_error err;

	check(gw_ike_sa_del(&site.gw, &key, &err), &err);
}

static void
del(enum ipsec_pcpu_dir dir, uint32_t *spi)
{
	ike_remove(dir, *spi);
	site_settle();
	forget(spi);
}

void
ike_del_in(struct ike_pair *p)
{
	del(IPSEC_PCPU_IN, &p->in);
}

void
ike_del_out(struct ike_pair *p)
{
	del(IPSEC_PCPU_OUT, &p->out);
}

void
ike_del(struct ike_pair *p)
{
	ike_policies_del(p->reqid, GW_IKE_PRIO_SA, p->in, p->out);
	ike_del_out(p);
	ike_del_in(p);
}

void
ike_forget(struct ike_pair *p)
{
	site_settle();
	forget(&p->in);
	forget(&p->out);
}

void
ike_add_fallback(void)
{
	ike_add(&ike_fallback);
}

void
ike_add_own(void)
{
	for (unsigned int w = 0; w < SITE_WORKERS; w++)
		ike_add(&ike_own[w]);
}

struct gw_sa *
ike_sa(uint32_t spi)
{
	return gw_sa_find(&site.gw, spi);
}

uint32_t
ike_worker(uint32_t spi)
{
	const struct gw_sa *sa = ike_sa(spi);

	if (sa == NULL)
		fail_msg("there is no SA 0x%08x", spi);
	return sa->worker;
}

/* Traffic */

void
ike_send_out(unsigned int packets)
{
	for (unsigned int i = 0; i < packets; i++)
		for (unsigned int q = 0; q < SITE_WORKERS; q++)
			site_send_out(site_flow_on(q), q);
}

void
ike_traffic(unsigned int packets)
{
	for (unsigned int i = 0; i < packets; i++) {
		for (unsigned int q = 0; q < SITE_WORKERS; q++) {
			site_send_out(site_flow_on(q), q);
			if (ike_own[q].in != 0)
				site_send_in(site_flow_on(q), ike_own[q].in, q);
		}
	}
}

static bool
all_dropped(void)
{
	return site_sum(drop[GW_DROP_NO_OUT_SA]) == site.drop[GW_DROP_NO_OUT_SA];
}

void
ike_send_in_vain(unsigned int queue, unsigned int packets)
{
	for (unsigned int i = 0; i < packets; i++)
		site_send_out(site_flow_on(queue), queue);
	site.drop[GW_DROP_NO_OUT_SA] += packets;
	site_until(all_dropped, "packets are not dropped for want of an SA");
}

void
ike_send_forged(unsigned int flow, uint32_t spi, unsigned int queue)
{
	struct peer_sa *sa = peer_find(&site.peer, spi);
	struct rte_mbuf *m = pkt_make(&site.log, site.pool, PKT_IN, flow, queue, sa->pair);

	peer_seal(&site.peer, sa, m);
	*rte_pktmbuf_mtod_offset(m, uint8_t *, m->data_len - 1) ^= 1;
	site_ether(&site.wan, m);
	site_put(&site.wan, queue, m);
	site.esp_drop[IPSEC_PCPU_DROP_INTEGRITY]++;
}

void
ike_wait(void)
{
	const struct timespec nap = {.tv_nsec = 1000000};

	site_settle();
	for (unsigned int i = 0; i < 60; i++) {
		site_turn();
		nanosleep(&nap, NULL);
	}
}

void
ike_say_again(const struct ike_pair *p)
{
	const struct gw_ike_sa_key in = ike_key(IPSEC_PCPU_IN, p->in);
	const struct gw_ike_sa_key out = ike_key(IPSEC_PCPU_OUT, p->out);
	struct gw_ike_new_sa sa;
	struct gw_error err;

	ike_policies_add(p->reqid, GW_IKE_PRIO_SA, p->in, p->out);
	/* an inbound one may be said in full, to a gateway that might not have it */
	ike_sa_params(&sa, p, IPSEC_PCPU_IN);
	sa.replayed = true;
	if (p->number % 2 == 0)
		assert_int_equal(gw_ike_sa_add(&site.gw, &sa, &err), 0);
	else
		assert_int_equal(gw_ike_sa_keep(&site.gw, &in, &err), 0);
	ike_sa_params(&sa, p, IPSEC_PCPU_OUT);
	sa.replayed = true;
	assert_true(gw_ike_sa_add(&site.gw, &sa, &err) < 0);
	assert_int_equal(gw_ike_sa_keep(&site.gw, &out, &err), 0);
}

struct gw_ike_status
ike_status(void)
{
	struct gw_ike_status st;

	assert_true(gw_ike_status(&site.gw, &st));
	return st;
}

void
ike_look_again(void)
{
	gw_places_tick(&site.gw);
	gw_ike_tick(&site.gw);
}

void
ike_check_settled(void)
{
	ike_unstall();
	ike_look_again();
	for (unsigned int i = 0; i < site.gw.n_tunnels; i++)
		assert_false(site.gw.tunnel[i].unsettled);
	for (unsigned int w = 0; w < SITE_WORKERS; w++)
		assert_false(gw_worker_is_late(&site.gw, w));
}
