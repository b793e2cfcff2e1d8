/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The families of metrics: groups, and a row for each family. To add one: a row, and where nobody
 * copies its value yet, a line in metrics_snapshot.c. A counter, drop or count of IKE comes of
 * itself.
 */

#include "../compat.h"

#include "metrics_text.h"

#ifndef GW_VERSION
#define GW_VERSION "unknown"
#endif

#define DIRECTIONS 2
#define DROPS ((unsigned int)GW_N_DROPS + (unsigned int)IPSEC_PCPU_N_DROPS)

static void
number_label(struct gw_text *out, const char *name, uint64_t v)
{
	gw_text_puts(out, name);
	gw_text_add(out, "=\"", 2);
	gw_metrics_number(out, v);
	gw_text_add(out, "\"", 1);
}

static const char *
direction(unsigned int dir)
{
	return dir == IPSEC_PCPU_IN ? "in" : "out";
}

/* The gateway */

static unsigned int
one(const struct gw_snapshot *s)
{
	return 1;
}

static const void *
gateway(const struct gw_snapshot *s, unsigned int i)
{
	return &s->gw;
}

static void
build_labels(const struct gw_snapshot *s, unsigned int i, struct gw_text *out)
{
	uint32_t mb = ipsec_pcpu_crypto_version();
	char text[32];

	snprintf(text, sizeof(text), "%u.%u.%u", mb >> 16, mb >> 8 & 0xff, mb & 0xff);
	gw_metrics_label(out, "version", GW_VERSION);
	gw_metrics_label(out, "dpdk", rte_version());
	gw_metrics_label(out, "ipsec_mb", text);
}

static const void *
build(const struct gw_snapshot *s, unsigned int i)
{
	static const uint32_t value = 1;

	return &value;
}

static unsigned int
tunnels(const struct gw_snapshot *s)
{
	return s->n_tunnels;
}

static const void *
snapshot(const struct gw_snapshot *s, unsigned int i)
{
	return s;
}

static const struct gw_metric_group of_gateway = {"pcpu_gw_", "", one, gateway, NULL};
static const struct gw_metric_group of_build = {
		"pcpu_gw_", "version, dpdk, ipsec_mb", one, build, build_labels};
static const struct gw_metric_group of_all = {"pcpu_gw_", "", one, snapshot, NULL};

/* Workers */

static unsigned int
workers(const struct gw_snapshot *s)
{
	return s->n_workers;
}

static const void *
worker(const struct gw_snapshot *s, unsigned int i)
{
	return &s->worker[i];
}

static const void *
timed_worker(const struct gw_snapshot *s, unsigned int i)
{
	return s->worker[i].cycles > 0 ? &s->worker[i] : NULL;
}

static void
worker_labels(const struct gw_snapshot *s, unsigned int i, struct gw_text *out)
{
	number_label(out, "worker", i);
}

static unsigned int
worker_dirs(const struct gw_snapshot *s)
{
	return s->n_workers * DIRECTIONS;
}

static const void *
worker_dir(const struct gw_snapshot *s, unsigned int i)
{
	return &s->worker[i / DIRECTIONS].sas[i % DIRECTIONS];
}

static void
worker_dir_labels(const struct gw_snapshot *s, unsigned int i, struct gw_text *out)
{
	number_label(out, "worker", i / DIRECTIONS);
	gw_metrics_label(out, "direction", direction(i % DIRECTIONS));
}

static unsigned int
drops(const struct gw_snapshot *s)
{
	return s->n_workers * DROPS;
}

static const void *
drop(const struct gw_snapshot *s, unsigned int i)
{
	const struct gw_counters *c = &s->worker[i / DROPS].c;
	unsigned int d = i % DROPS;

	return d < GW_N_DROPS ? &c->drop[d] : &c->esp_drop[d - GW_N_DROPS];
}

static void
drop_labels(const struct gw_snapshot *s, unsigned int i, struct gw_text *out)
{
	unsigned int d = i % DROPS;
	bool esp = d >= GW_N_DROPS;

	number_label(out, "worker", i / DROPS);
	gw_metrics_label(out, "group", esp ? "esp" : "gw");
	gw_metrics_label(out, "reason",
			esp ? ipsec_pcpu_drop_info[d - GW_N_DROPS].name : gw_drop_info[d].name);
}

static const struct gw_metric_group of_worker = {
		"pcpu_gw_worker_", "worker", workers, worker, worker_labels};
static const struct gw_metric_group of_timed_worker = {
		"pcpu_gw_worker_", "worker", workers, timed_worker, worker_labels};
static const struct gw_metric_group of_worker_dir = {
		"pcpu_gw_worker_", "worker, direction", worker_dirs, worker_dir, worker_dir_labels};
static const struct gw_metric_group of_drop = {
		"pcpu_gw_", "worker, group, reason", drops, drop, drop_labels};

/* Ports, and pools of buffers */

static unsigned int
ports(const struct gw_snapshot *s)
{
	return s->n_ports;
}

static const void *
port(const struct gw_snapshot *s, unsigned int i)
{
	return &s->port[i];
}

static void
port_labels(const struct gw_snapshot *s, unsigned int i, struct gw_text *out)
{
	gw_metrics_label(out, "port", s->port[i].name);
}

static const void *
steering(const struct gw_snapshot *s, unsigned int i)
{
	return s->port[i].method != NULL ? build(s, i) : NULL;
}

static void
steering_labels(const struct gw_snapshot *s, unsigned int i, struct gw_text *out)
{
	port_labels(s, i, out);
	gw_metrics_label(out, "method", s->port[i].method);
}

static unsigned int
allowances(const struct gw_snapshot *s)
{
	return s->n_allowances;
}

static const void *
allowance_count(const struct gw_snapshot *s, unsigned int i)
{
	return s->allowance[i].a.has_rate ? &s->allowance[i].a.value : NULL;
}

static const void *
allowance_level(const struct gw_snapshot *s, unsigned int i)
{
	return s->allowance[i].a.has_rate ? NULL : &s->allowance[i].a.value;
}

static void
allowance_labels(const struct gw_snapshot *s, unsigned int i, struct gw_text *out)
{
	gw_metrics_label(out, "port", s->allowance[i].port->name);
	gw_metrics_label(out, "name", s->allowance[i].a.name);
}

static unsigned int
pools(const struct gw_snapshot *s)
{
	return s->n_pools;
}

static const void *
pool(const struct gw_snapshot *s, unsigned int i)
{
	return &s->pool[i];
}

static void
pool_labels(const struct gw_snapshot *s, unsigned int i, struct gw_text *out)
{
	gw_metrics_label(out, "pool", s->pool[i].name);
}

static const struct gw_metric_group of_port = {"pcpu_gw_port_", "port", ports, port, port_labels};
static const struct gw_metric_group of_steering = {
		"pcpu_gw_port_", "port, method", ports, steering, steering_labels};
static const struct gw_metric_group of_allowance_count = {
		"pcpu_gw_port_", "port, name", allowances, allowance_count, allowance_labels};
static const struct gw_metric_group of_allowance_level = {
		"pcpu_gw_port_", "port, name", allowances, allowance_level, allowance_labels};
static const struct gw_metric_group of_pool = {"pcpu_gw_mbufs_", "pool", pools, pool, pool_labels};

/* Tunnels, IKE, SAs */

static const void *
tunnel(const struct gw_snapshot *s, unsigned int i)
{
	return &s->tunnel[i];
}

static void
tunnel_labels(const struct gw_snapshot *s, unsigned int i, struct gw_text *out)
{
	gw_metrics_label(out, "tunnel", s->tunnel[i].name);
}

static unsigned int
tunnel_dirs(const struct gw_snapshot *s)
{
	return s->n_tunnels * DIRECTIONS;
}

static const void *
tunnel_dir(const struct gw_snapshot *s, unsigned int i)
{
	return &s->tunnel[i / DIRECTIONS].sas[i % DIRECTIONS];
}

static void
tunnel_dir_labels(const struct gw_snapshot *s, unsigned int i, struct gw_text *out)
{
	tunnel_labels(s, i / DIRECTIONS, out);
	gw_metrics_label(out, "direction", direction(i % DIRECTIONS));
}

static unsigned int
has_ike(const struct gw_snapshot *s)
{
	return s->has_ike;
}

static const void *
ike(const struct gw_snapshot *s, unsigned int i)
{
	return &s->ike;
}

static unsigned int
sas(const struct gw_snapshot *s)
{
	return s->n_sas;
}

static const void *
sa(const struct gw_snapshot *s, unsigned int i)
{
	return &s->sa[i];
}

static const void *
sa_in(const struct gw_snapshot *s, unsigned int i)
{
	return s->sa[i].dir == IPSEC_PCPU_IN ? &s->sa[i] : NULL;
}

static const void *
sa_placed(const struct gw_snapshot *s, unsigned int i)
{
	return s->sa[i].worker < s->n_workers ? &s->sa[i] : NULL;
}

/* What an SA keeps for as long as it lives: its worker may change, so that is a value. */
static void
sa_labels(const struct gw_snapshot *s, unsigned int i, struct gw_text *out)
{
	static const char hex[] = "0123456789abcdef";
	const struct gw_snap_sa *x = &s->sa[i];
	char spi[] = "0x00000000";

	for (unsigned int d = 0; d < 8; d++)
		spi[2 + d] = hex[x->spi >> (28 - 4 * d) & 0xf];
	gw_metrics_label(out, "tunnel", s->tunnel[x->tunnel].name);
	gw_metrics_label(out, "spi", spi);
	gw_metrics_label(out, "direction", direction(x->dir));
	if (x->pcpu == IPSEC_PCPU_ANY) {
		gw_metrics_label(out, "pcpu", "any");
		return;
	}
	gw_text_add(out, ",", 1);
	number_label(out, "pcpu", x->pcpu);
}

#define SA_LABELS "tunnel, spi, direction, pcpu"
static const struct gw_metric_group of_tunnel = {
		"pcpu_gw_tunnel_", "tunnel", tunnels, tunnel, tunnel_labels};
static const struct gw_metric_group of_tunnel_dir = {
		"pcpu_gw_tunnel_", "tunnel, direction", tunnel_dirs, tunnel_dir, tunnel_dir_labels};
static const struct gw_metric_group of_ike = {"pcpu_gw_ike_", "", has_ike, ike, NULL};
static const struct gw_metric_group of_sa = {"pcpu_gw_sa_", SA_LABELS, sas, sa, sa_labels};
static const struct gw_metric_group of_sa_in = {"pcpu_gw_sa_", SA_LABELS, sas, sa_in, sa_labels};
static const struct gw_metric_group of_sa_placed = {
		"pcpu_gw_sa_", SA_LABELS, sas, sa_placed, sa_labels};

/* clang-format off */

#define FIELD(kind, type, field) GW_METRIC_##kind, offsetof(struct type, field)
#define COUNTER(group, name, kind, type, field, help) \
	{&group, name, GW_METRIC_COUNTER, FIELD(kind, type, field), help}
#define GAUGE(group, name, kind, type, field, help) \
	{&group, name, GW_METRIC_GAUGE, FIELD(kind, type, field), help}

const struct gw_metric gw_metrics[] = {
	{&of_build, "build", GW_METRIC_INFO, GW_METRIC_U32, 0, "the version that runs, and of what it is built"},
	GAUGE(of_gateway, "start_time_seconds", REAL, gw_snap_gateway, start_time,
		"when the gateway started, in seconds since 1970"),
	GAUGE(of_gateway, "forwarding", BOOL, gw_snap_gateway, forwarding,
		"1: workers poll the ports; 0: stopped on the console"),
	GAUGE(of_all, "tunnels", U32, gw_snapshot, n_tunnels,
		"tunnels, of the configuration and of IKE"),
	GAUGE(of_gateway, "held", U64, gw_snap_gateway, held, "packets that wait for a neighbour's MAC address"),
#define _(name, brief, what) COUNTER(of_gateway, #name, U64, gw_snap_gateway, name, what),
	GW_FOREACH_KERNEL_COUNT(_)
#undef _
	COUNTER(of_gateway, "netlink_overruns", U64, gw_snap_gateway, netlink_overruns,
		"how often the kernel's tables were read anew because changes were lost"),
	COUNTER(of_gateway, "netlink_reopens", U64, gw_snap_gateway, netlink_reopens,
		"how often the netlink socket was opened again"),
	GAUGE(of_gateway, "state_file_failures", U64, gw_snap_gateway, state_file_failures,
		"attempts to write the state file since the last that went well; in the end SAs stop sending"),
	GAUGE(of_gateway, "zombie_sas", U32, gw_snap_gateway, zombies,
		"SAs that are removed, and that a worker which does not answer may still have"),

	GAUGE(of_worker, "running", BOOL, gw_snap_worker, running, "1: its thread runs"),
	GAUGE(of_worker, "responding", BOOL, gw_snap_worker, responding,
		"1: it answers control; 0: it does not, its packets wait or are lost"),
	GAUGE(of_worker, "busy_ratio", REAL, gw_snap_worker, busy,
		"share of its time in rounds that found packets, of the last second; 1: saturated"),
	COUNTER(of_worker, "cpu_seconds", REAL, gw_snap_worker, cpu_seconds,
		"CPU time of its thread, as of the last second; one that never sleeps takes all"),
	GAUGE(of_timed_worker, "packet_cycles", REAL, gw_snap_worker, cycles,
		"TSC cycles for a packet, of what was timed in the last second; see show cycles"),
	{&of_worker_dir, "sas", GW_METRIC_GAUGE, GW_METRIC_U32, 0, "SAs that it owns"},
#define _(name, what) COUNTER(of_worker, #name, U64, gw_snap_worker, c.name, what),
	GW_FOREACH_COUNTER(_)
#undef _
	{&of_drop, "drops", GW_METRIC_COUNTER, GW_METRIC_U64, 0,
		"packets dropped, by reason: docs/counters.md says what to do about each"},

	GAUGE(of_port, "link_up", BOOL, gw_snap_port, link_up, "1: the port is in use and its link is up"),
	GAUGE(of_port, "usable", BOOL, gw_snap_port, usable,
		"0: it is stopped, gone or being reset; see show ports"),
#define _(name, what, field) COUNTER(of_port, #name, U64, gw_snap_port, info.name, what),
	GW_PORT_FOREACH_COUNT(_)
#undef _
	COUNTER(of_port, "punt_written", U64, gw_snap_port, punt_written,
		"frames given to the kernel by the port's TAP"),
	COUNTER(of_port, "punt_failed", U64, gw_snap_port, punt_failed,
		"frames that the kernel did not take"),
	COUNTER(of_port, "resets", U64, gw_snap_port, resets, "how often the device was started anew"),
	{&of_steering, "steering", GW_METRIC_INFO, GW_METRIC_U32, 0,
		"how inbound SAs get to their workers; see show steer"},
	COUNTER(of_port, "sas_followed", U64, gw_snap_port, followed,
		"SAs that were moved to the worker where their packets land"),
	GAUGE(of_port, "sas_astray", U32, gw_snap_port, astray,
		"SAs whose packets land on a worker that does not own them, and are handed over"),
	{&of_allowance_count, "allowance", GW_METRIC_COUNTER, GW_METRIC_U64, 0,
		"what AWS held back or did on an ENA, since the port was started; see docs/ena.md"},
	{&of_allowance_level, "allowance_level", GW_METRIC_GAUGE, GW_METRIC_U64, 0,
		"values of an ENA as they are now"},
	GAUGE(of_pool, "capacity", U32, gw_pool_info, size, "packet buffers in the pool"),
	GAUGE(of_pool, "free", U32, gw_pool_info, free,
		"of them, those that no packet, descriptor or ring has"),

	GAUGE(of_tunnel, "up", BOOL, gw_snap_tunnel, up, "1: administratively up"),
	GAUGE(of_tunnel, "resolved", BOOL, gw_snap_tunnel, resolved,
		"1: the next hop to the peer and its MAC address are known"),
	{&of_tunnel_dir, "sas", GW_METRIC_GAUGE, GW_METRIC_U32, 0, "SAs of the tunnel; 0 in a direction: nothing passes"},

	GAUGE(of_ike, "connected", BOOL, gw_ike_status, connected, "1: charon is connected"),
	GAUGE(of_ike, "in_sync", BOOL, gw_ike_status, in_sync, "1: charon has said all that it has"),
#define _(name, heading, what) GAUGE(of_ike, #name, U32, gw_ike_status, name, what),
	GW_IKE_FOREACH_NOW(_)
#undef _
#define _(name, what) COUNTER(of_ike, #name, U64, gw_ike_status, counts.name, what),
	GW_IKE_FOREACH_COUNT(_)
#undef _

	COUNTER(of_sa, "packets", U64, gw_snap_sa, packets, "packets encrypted or decrypted"),
	COUNTER(of_sa, "bytes", U64, gw_snap_sa, bytes, "bytes of inner packets"),
	COUNTER(of_sa, "drops", U64, gw_snap_sa, drops, "packets of this SA that were dropped"),
	COUNTER(of_sa, "window_drops", U64, gw_snap_sa, window_drops,
		"of drops: replayed, or left of the replay window"),
	GAUGE(of_sa_in, "lost", U64, gw_snap_sa, lost,
		"packets that never came, by their numbers; late ones are taken off again"),
	GAUGE(of_sa, "seq_left", U64, gw_snap_sa, seq_left,
		"sequence numbers left: at 0 an outbound SA stops"),
	GAUGE(of_sa, "age_seconds", REAL, gw_snap_sa, age, "for how long it has been there"),
	GAUGE(of_sa_placed, "worker", U32, gw_snap_sa, worker, "the worker that owns it"),

	COUNTER(of_gateway, "metrics_scrapes", U64, gw_snap_gateway, self.scrapes,
		"answers with metrics before this one"),
	COUNTER(of_gateway, "metrics_refused", U64, gw_snap_gateway, self.refused,
		"requests for something else, or too many at once"),
	COUNTER(of_gateway, "metrics_seconds", REAL, gw_snap_gateway, self.seconds,
		"time of the control thread that metrics took"),
	GAUGE(of_gateway, "metrics_longest_seconds", REAL, gw_snap_gateway, self.longest,
		"the longest time without a break: so long all else in the control thread waited"),
};

/* clang-format on */

const unsigned int gw_n_metrics = RTE_DIM(gw_metrics);
