/* SPDX-License-Identifier: BSD-3-Clause */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <linux/neighbour.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/ike.h"
#include "fake_gw.h"

#define SAS 4

char fake_verb[256];
bool fake_disk_full;
struct gw_explain fake_explain;

static struct {
	struct gw gw;
	struct gw_view view;
	struct gw_tunnel tunnel[2];
	struct gw_tunnel_view tunnel_view[2];
	struct gw_nexthop nh[2];
	struct gw_out out[2];
	struct gw_config_tunnel tunnel_cfg[2];
	struct gw_config_port port_cfg[2];
	struct gw_config_route route_cfg;
	struct gw_selector sel[2];
	struct gw_policy_rule rule[2];
	struct gw_sa sa[SAS];
	struct gw_sa *sas[SAS];
	struct gw_worker worker[2];
	struct gw_nl_neigh neigh[2];
	struct gw_nl_route route[2];
	struct gw_steer_port steer[2];
	struct gw_steer_sa steer_sa[2];
	struct gw_steer_sa *steer_sas[2];
} f;

static void
describe(const struct gw_steer_port *sp, const struct gw_steer_sa *sa, char *out, size_t len)
{
	snprintf(out, len, "rule for 0x%x", sa->spi);
}

static const struct gw_steer_ops steer_flow = {
		.name = "flow", .what = "a rule for each SA", .describe = describe};
static const struct gw_steer_ops steer_soft = {
		.name = "soft", .what = "the hand-off", .describe = describe};
const struct gw_steer_ops *const gw_steer_methods[] = {&steer_flow, &steer_soft, NULL};

static void
noted(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(fake_verb, sizeof(fake_verb), fmt, ap);
	va_end(ap);
}

static void
make_sas(void)
{
	for (unsigned int i = 0; i < SAS; i++) {
		struct gw_sa *sa = &f.sa[i];

		sa->prm.dir = i % 2 ? IPSEC_PCPU_OUT : IPSEC_PCPU_IN;
		sa->prm.spi = 0x1000 + i;
		sa->prm.pcpu = i < 2 ? IPSEC_PCPU_ANY : 0;
		sa->prm.algo = ipsec_pcpu_algo_find("aes128gcm16");
		memset(sa->reserve_id, i + 1, sizeof(sa->reserve_id));
		memset(sa->prm.key, 0x5a,
				sizeof(sa->prm.key)); /* to be found where it must not be */
		sa->prm.esn = true;
		sa->prm.replay_window = 1024;
		sa->prm.family = AF_INET;
		gw_addr_parse("192.0.2.1", &(struct gw_addr){0});
		sa->prm.encap_sport = i < 2 ? 4500 : 49152;
		sa->prm.encap_dport = 4500;
		sa->worker = 0;
		sa->pps = 1500000;
		sa->bps = 9.6e9;
		sa->cycles = i == 3 ? 87.5 : 0;
		f.sas[i] = sa;
	}
	f.out[0] = (struct gw_out){.own = &f.sa[3], .fallback = &f.sa[1], .owner = GW_NONE};
	f.out[1] = (struct gw_out){.owner = 0};
}

static void
make_tunnels(void)
{
	struct gw_addr local, remote;

	gw_addr_parse("192.0.2.1", &local);
	gw_addr_parse("192.0.2.2", &remote);
	gw_prefix_parse("10.1.0.0/16", &f.sel[0].local);
	gw_prefix_parse("10.2.0.0/16", &f.sel[0].remote);
	f.sel[0].local_ports.max = f.sel[0].remote_ports.max = UINT16_MAX;
	f.sel[1] = f.sel[0];
	f.sel[1].proto = IPPROTO_TCP;
	f.sel[1].remote_ports = (struct gw_port_range){80, 443};
	for (unsigned int i = 0; i < 2; i++) {
		strcpy(f.tunnel_cfg[i].name, i == 0 ? "paris" : "oslo");
		f.tunnel_cfg[i].local = local;
		f.tunnel_cfg[i].remote = remote;
		f.tunnel_cfg[i].selectors = f.sel;
		f.tunnel_cfg[i].n_selectors = 2;
		f.tunnel[i].cfg = &f.tunnel_cfg[i];
		f.tunnel[i].id = i;
		f.tunnel[i].up = i == 0;
		f.rule[i] = (struct gw_policy_rule){f.sel[i], GW_ACTION_TUNNEL, 0};
	}
	f.tunnel[0].sas = f.sas;
	f.tunnel[0].n_sas = SAS;
	f.tunnel[0].out = f.out;
	f.nh[1] = (struct gw_nexthop){
			.kind = GW_NH_ETHER, .port = 1, .mtu = 1500, .dst = {{2, 0, 0, 0, 0, 7}}};
	f.tunnel_view[0] = (struct gw_tunnel_view){.up = true, .inner_mtu = 1438, .nh = 1};
	f.view = (struct gw_view){.nh = f.nh, .n_nh = 2, .tunnel = f.tunnel_view, .n_tunnels = 2};
}

/** Two inbound SAs on the second port: one of a known hash, plain ESP. */
static void
make_steering(void)
{
	memset(f.steer, 0, sizeof(f.steer));
	f.steer[0].ops = f.steer[1].ops = &steer_soft;
	strcpy(f.steer[1].why_not[0], "net_null takes no ESP rule");
	f.steer[1].rss = (struct gw_steer_rss_state){
			.has_reta = true, .reta_size = 128, .reta = {[5] = 1}, .writes = 3};
	f.steer[1].n_sas = 2;
	f.steer[1].sas = f.steer_sas;
	for (unsigned int i = 0; i < 2; i++) {
		f.steer_sa[i] = (struct gw_steer_sa){.spi = f.sa[2 * i].prm.spi,
				.tuple.family = AF_INET,
				.tuple.sport = 50000,
				.tuple.dport = i == 0 ? 4500 : 0,
				.has_hash = i == 0,
				.hash = 0xabc00085,
				.state = i == 0 ? GW_STEER_VERIFIED : GW_STEER_ASTRAY};
		f.steer_sas[i] = &f.steer_sa[i];
		f.sa[2 * i].steer = &f.steer_sa[i];
		f.sa[2 * i].steer_port = 1;
	}
}

static void
make_ports(struct gw *gw)
{
	static char device[] = "net_null0,\"x\"", file[] = "gw.conf";

	for (unsigned int i = 0; i < 2; i++) {
		strcpy(f.port_cfg[i].name, i == 0 ? "lan" : "wan");
		f.port_cfg[i].device = device;
		f.port_cfg[i].file = file;
		f.port_cfg[i].line = 7;
		f.port_cfg[i].n_addresses = 1;
		f.port_cfg[i].steering = i == 0 ? GW_STEER_AUTO : GW_STEER_RSS;
		gw_prefix_parse("192.0.2.1/24", &f.port_cfg[i].addresses[0]);
		strcpy(gw->port[i].name, f.port_cfg[i].name);
		strcpy(gw->port[i].driver, "net_null");
		strcpy(gw->port[i].note, i == 0 ? "" : "1 queue for 2 workers: hand-off");
		gw->port[i].n_rxq = gw->port[i].n_txq = 2 - i;
		gw->port[i].started = true;
		gw->port[i].reset = (struct gw_port_reset){.active = i == 1, .done = i * 2};
		gw->tap[i].ifindex = 10 + i;
	}
	gw_prefix_parse("0.0.0.0/0", &f.route_cfg.to);
	gw->cfg.file = file;
	gw->cfg.ports = f.port_cfg;
	gw->cfg.n_ports = 2;
	gw->cfg.routes = &f.route_cfg;
	gw->cfg.n_routes = 1;
	gw->n_ports = 2;
}

static void
make_kernel(void)
{
	gw_addr_parse("192.0.2.2", &f.neigh[0].addr);
	gw_addr_parse("2001:db8::2", &f.neigh[1].addr);
	f.neigh[0].ifindex = 11;
	f.neigh[0].state = NUD_STALE;
	f.neigh[0].valid = true;
	f.neigh[1].state = NUD_FAILED;
	gw_prefix_parse("0.0.0.0/0", &f.route[0].dst);
	f.route[0].via = f.neigh[0].addr;
	f.route[0].ifindex = 11;
	f.route[0].protocol = 250;
	gw_prefix_parse("10.9.0.0/16", &f.route[1].dst);
	f.route[1].type = GW_NL_BLACKHOLE;
	f.route[1].protocol = 4;
}

struct gw *
fake_gw_new(void)
{
	struct gw *gw = &f.gw;

	memset(&f, 0, sizeof(f));
	fake_verb[0] = '\0';
	fake_disk_full = false;
	memset(&fake_explain, 0, sizeof(fake_explain));
	gw->loop = gw_loop_new();
	assert_non_null(gw->loop);
	make_ports(gw);
	make_sas();
	make_steering();
	make_tunnels();
	make_kernel();
	gw->tunnel = f.tunnel;
	gw->n_tunnels = 2;
	gw->rules = f.rule;
	gw->n_rules = 2;
	gw->view = &f.view;
	gw->nl = (struct gw_nl *)&f; /* opaque: ours to fake */
	gw->ike = (struct gw_ike *)&f; /* likewise */
	gw->n_workers = 2;
	for (unsigned int i = 0; i < 2; i++) {
		f.worker[i].lcore = i + 1;
		gw->worker[i].w = &f.worker[i];
		gw->worker[i].rx_pps = 2.5e6;
		gw->worker[i].cpu_percent = 75;
		gw->worker[i].busy_percent = 41.5;
	}
	/* the second worker has no figures */
	gw->worker[0].timed = 64;
	gw->worker[0].cycles = 130.25;
	gw->worker[0].stage_cycles[GW_STAGE_rx] = 20.25;
	gw->worker[0].stage_cycles[GW_STAGE_encap] = 110;
	gw->worker[0].stage_cycles[GW_STAGE_away] = 3;
	return gw;
}

void
fake_gw_free(struct gw *gw)
{
	gw_reserve_close(gw->offers);
	gw_loop_free(gw->loop);
}

void
gw_quit(struct gw *gw)
{
	noted("quit");
	gw_loop_stop(gw->loop);
}

int
gw_set_forwarding(struct gw *gw, bool on, struct gw_error *err)
{
	noted("forwarding %d", on);
	return 0;
}

int
gw_tunnel_set_up(struct gw *gw, const char *name, bool up, struct gw_error *err)
{
	noted("tunnel %s %d", name, up);
	return 0;
}

struct gw_tunnel *
gw_tunnel_find(struct gw *gw, const char *name)
{
	for (unsigned int i = 0; i < gw->n_tunnels; i++)
		if (strcmp(gw->tunnel[i].cfg->name, name) == 0)
			return &gw->tunnel[i];
	return NULL;
}

int
gw_sa_add(struct gw *gw, struct gw_tunnel *t, const struct gw_config_sa *sa, struct gw_error *err)
{
	noted("add %s %s %x %d %s %u>%u key %02x..%02x", t->cfg->name,
			sa->prm.dir == IPSEC_PCPU_IN ? "in" : "out", sa->prm.spi, (int)sa->prm.pcpu,
			sa->prm.algo->name, sa->prm.encap_sport, sa->prm.encap_dport,
			sa->prm.key[0], sa->prm.key[19]);
	return 0;
}

int
gw_sa_del(struct gw *gw, struct gw_tunnel *t, enum ipsec_pcpu_dir dir, uint32_t spi,
		struct gw_error *err)
{
	noted("del %s %s %x", t->cfg->name, dir == IPSEC_PCPU_IN ? "in" : "out", spi);
	gw_error_set(err, NULL, 0, "no such SA");
	return -ENOENT;
}

int
gw_sa_move(struct gw *gw, struct gw_tunnel *t, enum ipsec_pcpu_dir dir, uint32_t spi,
		uint16_t worker, struct gw_error *err)
{
	noted("move %s %s %x %u", t->cfg->name, dir == IPSEC_PCPU_IN ? "in" : "out", spi, worker);
	return 0;
}

const struct gw_steer_port *
gw_steering_port(const struct gw *gw, unsigned int port)
{
	return &f.steer[port];
}

int
gw_rebalance_plan(const struct gw *gw, unsigned int port, struct gw_rebalance *r)
{
	*r = (struct gw_rebalance){.changed = 7, .moved = port, .stay = 2};
	return 0;
}

int
gw_rebalance(struct gw *gw, struct gw_rebalance r[], struct gw_error *err)
{
	noted("rebalance");
	r[0] = r[1] = (struct gw_rebalance){.changed = 7, .moved = 1};
	return 0;
}

bool
gw_ike_status(const struct gw *gw, struct gw_ike_status *s)
{
	*s = (struct gw_ike_status){.connected = true,
			.in_sync = true,
			.since_s = 12.5,
			.generation = 0xabcdef,
			.tunnels = 1,
			.sas_in = 3,
			.pending = 2,
			.counts.acquires = 17};
	return gw->ike != NULL;
}

uint32_t
gw_ike_reqid(const struct gw_tunnel *t)
{
	return 5;
}

unsigned int
gw_ike_pendings(const struct gw *gw, struct gw_ike_pending *p, unsigned int max)
{
	for (unsigned int i = 0; i < RTE_MIN(max, 2u); i++)
		p[i] = (struct gw_ike_pending){.tunnel = "paris",
				.reqid = 5,
				.cpu = i == 0 ? IPSEC_PCPU_ANY : 1,
				.tries = 3,
				.asked_s = 3.5,
				.next_s = 4.25};
	return 2;
}

int
gw_port_promisc(struct gw *gw, const char *port, bool on, struct gw_error *err)
{
	noted("promisc %s %d", port, on);
	return 0;
}

void
gw_stats_clear(struct gw *gw)
{
	noted("clear");
}

void
gw_stats_worker(const struct gw *gw, unsigned int id, struct gw_counters *c)
{
	*c = (struct gw_counters){.rx = 100, .tx = 90, .loops = 1000, .idle_loops = 250};
	c->drop[GW_DROP_NO_SA] = 6;
	c->esp_drop[IPSEC_PCPU_DROP_INTEGRITY] = 3;
}

/* What was before the last clear is in it. */
void
gw_stats_read(const struct gw *gw, unsigned int id, struct gw_counters *c)
{
	uint64_t *v = (uint64_t *)c;

	for (unsigned int i = 0; i < sizeof(*c) / sizeof(*v); i++)
		v[i] = 1000 * (id + 1) + i;
}

void
gw_stats_read_sa(const struct gw_sa *sa, struct ipsec_pcpu_sa_stats *stats)
{
	gw_stats_sa(sa, stats);
	stats->packets += UINT64_C(1) << 60;
	stats->drops[IPSEC_PCPU_DROP_TOO_OLD] = 3;
	stats->drops[IPSEC_PCPU_DROP_INTEGRITY] = 5;
	stats->lost = 9;
}

bool
gw_pool_get(const struct gw *gw, unsigned int i, struct gw_pool_info *p)
{
	*p = (struct gw_pool_info){.name = "packets", .size = 8192, .free = 8000};
	return i == 0;
}

void
gw_stats_sum(const struct gw *gw, struct gw_counters *c)
{
	gw_stats_worker(gw, 0, c);
	c->rx *= 2;
	c->tx *= 2;
	c->drop[GW_DROP_NO_SA] *= 2;
	c->esp_drop[IPSEC_PCPU_DROP_INTEGRITY] *= 2;
}

void
gw_stats_sa(const struct gw_sa *sa, struct ipsec_pcpu_sa_stats *stats)
{
	*stats = (struct ipsec_pcpu_sa_stats){.packets = 5000, .bytes = 7000000, .seq = 5001};
	stats->drops[IPSEC_PCPU_DROP_REPLAYED] = 2;
}

/* As the real one without a state file. */
int
gw_sa_offer(struct gw *gw, const struct gw_sa *sa, uint64_t *start)
{
	if (gw->offers == NULL)
		gw->offers = gw_reserve_in_memory();
	return gw_reserve_offer(gw->offers, sa->reserve_id, sa->prm.esn, 5001, start);
}

int
gw_offers_commit(struct gw *gw, struct gw_error *err)
{
	if (!fake_disk_full)
		return 0;
	gw_error_set(err, NULL, 0, "state file s: cannot write it: No space left on device");
	return -ENOSPC;
}

void
gw_port_info(const struct gw_port *port, struct gw_port_info *info)
{
	*info = (struct gw_port_info){.link_up = true, .speed_mbps = 25000, .rx_packets = 200};
}

bool
gw_allowance_get(const struct gw *gw, unsigned int port, unsigned int i, struct gw_allowance *a)
{
	static const struct gw_allowance of_wan[] = {
			{.name = "bw_out_allowance_exceeded",
					.what = "too fast",
					.value = 70,
					.has_rate = true,
					.rate = 12.6},
			{.name = "ena_srd_mode", .what = "ENA Express", .value = 3},
	};

	if (port != 1 || i >= RTE_DIM(of_wan))
		return false;
	*a = of_wan[i];
	return true;
}

const struct gw_nl_route *
gw_nl_routes(struct gw_nl *nl, unsigned int *n)
{
	*n = 2;
	return f.route;
}

void
gw_nl_faults(const struct gw_nl *nl, uint64_t *overruns, uint64_t *reopens)
{
	*overruns = *reopens = 0;
}

const struct gw_nl_neigh *
gw_nl_neighs(struct gw_nl *nl, unsigned int *n)
{
	*n = 2;
	return f.neigh;
}

int
gw_explain(struct gw *gw, const struct gw_addr *src, const struct gw_addr *dst, uint8_t proto,
		uint16_t sport, uint16_t dport, struct gw_explain *ex, struct gw_error *err)
{
	noted("explain %u %u %u", proto, sport, dport);
	memset(ex, 0, sizeof(*ex));
	ex->verdict = (struct gw_verdict){.rule = 1, .action = GW_ACTION_TUNNEL};
	ex->rule = &f.rule[0];
	ex->tunnel = &f.tunnel[0];
	ex->nh = f.nh[1];
	ex->inner_mtu = 1438;
	ex->out[0].sa = &f.sa[3];
	ex->out[1].sa = &f.sa[1];
	for (unsigned int i = 0; i < 2; i++)
		ex->out[i].peer_known = gw_config_peer_queue(
				&f.tunnel_cfg[0], &ex->out[i].sa->prm, &ex->out[i].peer_queue);
	ex->clear_side.known = fake_explain.clear_side.known;
	ex->clear_side.hash = fake_explain.clear_side.hash;
	ex->clear_side.queue = fake_explain.clear_side.queue;
	ex->why = fake_explain.why;
	return 0;
}
