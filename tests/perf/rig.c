/* SPDX-License-Identifier: BSD-3-Clause */

/* The gateway as it is, brought up in this process from a configuration text. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <netlink/netlink.h>
#include <netlink/route/neighbour.h>

#include <rte_ethdev.h>

#include <control/control_priv.h>

#include "bench.h"

#define IN_DEVICE "net_null_in,size=64"
#define OUT_DEVICE "net_null_out,no-rx=1"

#define SMALL_MTU 1500
#define LARGE_MTU 9000
#define SMALL_FRAME 1434 /* which that MTU is for */

static void
put_key(FILE *f, const struct bench_cell *cell, unsigned int tunnel, unsigned int worker,
		enum ipsec_pcpu_dir dir)
{
	uint8_t key[IPSEC_PCPU_MAX_KEY];

	bench_key(cell->algo, tunnel, worker, dir, key);
	for (unsigned int i = 0; i < cell->algo->key_len; i++)
		fprintf(f, "%02x", key[i]);
}

static void
put_side(FILE *f, const struct bench_cell *cell, unsigned int tunnel, unsigned int worker,
		enum ipsec_pcpu_dir dir)
{
	fprintf(f, "\t\t%s = { spi = 0x%08x; ", dir == IPSEC_PCPU_OUT ? "out" : "in",
			bench_spi(tunnel, worker, dir));
	if (bench_tunnel_encap(cell, tunnel))
		fprintf(f, "sport = %u; dport = 4500; ", 49152 + worker);
	fprintf(f, "key = \"");
	put_key(f, cell, tunnel, worker, dir);
	fprintf(f, "\"; };\n");
}

static void
put_tunnel(FILE *f, const struct bench_cell *cell, unsigned int t)
{
	bool ip6 = bench_tunnel_ip6(cell, t);

	fprintf(f,
			"%s{ name = \"t%u\"; local = \"%s\"; remote = \"%s\"; algo = \"%s\"; "
			"replay_window = %u;\n"
			"\tselectors = ({ local = \"10.1.0.0/16\"; remote = \"10.%u.%u.0/24\"; });\n"
			"\tsas = (\n",
			t == 0 ? "" : ", ", t, ip6 ? "2001:db8::1" : "192.0.2.1",
			ip6 ? "2001:db8::2" : "192.0.2.2", cell->algo->name, cell->window,
			100 + t / 256, t % 256);
	for (unsigned int w = 0; w < cell->workers; w++) {
		fprintf(f, "\t%s{ pcpu = %u;\n", w == 0 ? "" : ", ", w);
		put_side(f, cell, t, w, IPSEC_PCPU_OUT);
		put_side(f, cell, t, w, IPSEC_PCPU_IN);
		fprintf(f, "\t}\n");
	}
	fprintf(f, "\t); }\n");
}

char *
bench_config_text(const struct bench_cell *cell)
{
	bool out = cell->dir == IPSEC_PCPU_OUT;
	unsigned int mtu = cell->size > SMALL_FRAME ? LARGE_MTU : SMALL_MTU;
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	if (f == NULL)
		return NULL;
	fprintf(f,
			"workers = %u; console = \"\"; allow_iv_reuse = true;\n"
			"ports = (\n"
			"\t{ name = \"lan\"; device = \"%s\"; mtu = %u; "
			"addresses = [\"10.1.0.1/16\"]; },\n"
			"\t{ name = \"wan\"; device = \"%s\"; mtu = %u; "
			"addresses = [\"192.0.2.1/24\", \"2001:db8::1/64\"]; } );\n"
			"tunnels = (\n",
			cell->workers, out ? IN_DEVICE : OUT_DEVICE, mtu,
			out ? OUT_DEVICE : IN_DEVICE, mtu);
	for (unsigned int t = 0; t < cell->tunnels; t++)
		put_tunnel(f, cell, t);
	fprintf(f, ");\n");
	fclose(f);
	return text;
}

/** A neighbour that the kernel never asks for. */
static int
add_neighbour(struct nl_sock *sk, unsigned int ifindex, const char *addr,
		const struct rte_ether_addr *mac)
{
	struct rtnl_neigh *n = rtnl_neigh_alloc();
	struct nl_addr *dst = NULL;
	struct nl_addr *lladdr = nl_addr_build(AF_LLC, mac, sizeof(*mac));
	int rc = -ENOMEM;

	if (n != NULL && lladdr != NULL && nl_addr_parse(addr, AF_UNSPEC, &dst) == 0) {
		rtnl_neigh_set_ifindex(n, ifindex);
		rtnl_neigh_set_dst(n, dst);
		rtnl_neigh_set_lladdr(n, lladdr);
		rtnl_neigh_set_state(n, rtnl_neigh_str2state("permanent"));
		rc = rtnl_neigh_add(sk, n, NLM_F_CREATE | NLM_F_REPLACE);
	}
	nl_addr_put(dst);
	nl_addr_put(lladdr);
	rtnl_neigh_put(n);
	return rc;
}

static int
add_neighbours(struct gw *gw)
{
	const struct rte_ether_addr peer = BENCH_PEER_MAC, host = BENCH_HOST_MAC;
	struct nl_sock *sk = nl_socket_alloc();
	int rc = sk == NULL ? -ENOMEM : nl_connect(sk, NETLINK_ROUTE);

	if (rc == 0)
		rc = add_neighbour(sk, gw->tap[0].ifindex, "10.1.0.10", &host);
	if (rc == 0)
		rc = add_neighbour(sk, gw->tap[1].ifindex, "192.0.2.2", &peer);
	if (rc == 0)
		rc = add_neighbour(sk, gw->tap[1].ifindex, "2001:db8::2", &peer);
	nl_socket_free(sk);
	return rc;
}

static bool
is_resolved(const struct gw *gw)
{
	struct gw_addr host = {.family = AF_INET};

	host.a.ip4 = RTE_BE32(RTE_IPV4(10, 1, 0, 10));
	for (unsigned int t = 0; t < gw->n_tunnels; t++)
		if (gw->view->nh[gw->view->tunnel[t].nh].kind != GW_NH_ETHER)
			return false;
	return gw_view_route(gw->view, &host)->kind == GW_NH_ETHER;
}

static void
on_tick(void *arg, uint32_t events)
{
	gw_quit(arg);
}

/** Let control hear of the neighbours, and settle. Nothing of it runs while we measure. */
static int
settle(struct gw *gw)
{
	if (gw_loop_timer(gw->loop, 20, on_tick, gw) < 0)
		return -ENOMEM;
	for (unsigned int i = 0; i < 100; i++) {
		gw_run(gw);
		if (i > 2 && is_resolved(gw))
			return 0;
	}
	return -ETIMEDOUT;
}

static int
start_traffic(struct bench_rig *rig, const struct bench_cell *cell)
{
	unsigned int in = cell->dir == IPSEC_PCPU_OUT ? 0 : 1;

	rig->in = rig->gw->port[in].id;
	rig->out = rig->gw->port[!in].id;
	rig->traffic = bench_traffic_new(cell, &rig->gw->port[in].mac);
	if (rig->traffic == NULL)
		return -ENOMEM;
	for (unsigned int w = 0; cell->window != 0 && w < cell->workers; w++) {
		struct gw_sa *sa = gw_sa_find(rig->gw, bench_spi(0, w, IPSEC_PCPU_IN));

		if (cell->dir == IPSEC_PCPU_IN)
			bench_traffic_set_sa(rig->traffic, w, sa->sa);
	}
	bench_traffic_attach(rig->traffic, rig->gw->pool, rig->in, rig->out);
	return 0;
}

static int
bring_up(struct bench_rig *rig, const struct bench_cell *cell, struct gw_error *err)
{
	char *text = bench_config_text(cell);
	struct gw_config cfg;
	int rc = -ENOMEM;

	if (text != NULL)
		rc = gw_config_parse(text, "bench", &cfg, err);
	free(text);
	if (rc == 0)
		rc = gw_init(rig->gw, &cfg, err);
	if (rc < 0)
		return rc;
	/* in the view with the neighbours */
	rig->gw->port[cell->dir == IPSEC_PCPU_OUT ? 1 : 0].udp_cksum = cell->udp_cksum;
	/* quiet until there is something to deliver */
	rc = gw_set_forwarding(rig->gw, false, err);
	if (rc == 0)
		rc = add_neighbours(rig->gw);
	if (rc == 0)
		rc = settle(rig->gw);
	if (rc == 0)
		rc = start_traffic(rig, cell);
	if (rc == 0)
		rc = gw_set_forwarding(rig->gw, true, err);
	if (rc == 0) {
		bench_sleep_ms(20);
		gw_stats_clear(rig->gw);
		return 0;
	}
	bench_rig_down(rig, NULL);
	return rc;
}

int
bench_rig_up(struct bench_rig *rig, const struct bench_cell *cell)
{
	struct gw_error err = {.text = ""};
	int rc;

	*rig = (struct bench_rig){.gw = calloc(1, sizeof(*rig->gw))};
	if (rig->gw == NULL)
		return -ENOMEM;
	rc = bring_up(rig, cell, &err);
	if (rc < 0) {
		fprintf(stderr, "bench: the gateway does not come up: %s (%s)\n", err.text,
				strerror(-rc));
		free(rig->gw);
	}
	return rc;
}

void
bench_rig_halt(struct bench_rig *rig)
{
	gw_workers_stop(rig->gw);
}

int
bench_rig_resume(struct bench_rig *rig)
{
	struct gw_error err;
	int rc;

	bench_traffic_rewind(rig->traffic);
	for (unsigned int i = 0; i < rig->gw->n_workers; i++)
		rig->gw->worker[i].w->exit = false;
	rc = gw_workers_launch(rig->gw, &err);
	return rc < 0 ? rc : gw_set_forwarding(rig->gw, true, &err);
}

static int64_t
balance(const struct gw_counters *c)
{
	int64_t left = c->rx + c->injected + c->created - c->tx - c->punted - c->absorbed;

	for (unsigned int i = 0; i < GW_N_DROPS; i++)
		left -= c->drop[i];
	for (unsigned int i = 0; i < IPSEC_PCPU_N_DROPS; i++)
		left -= c->esp_drop[i];
	return left;
}

void
bench_rig_down(struct bench_rig *rig, struct bench_result *r)
{
	struct gw_totals totals = {.mbufs_leaked = 0};

	/* since the beginning, not since the first packet that counts */
	for (unsigned int i = 0; i < rig->gw->n_workers; i++)
		memset(&rig->gw->worker[i].base, 0, sizeof(rig->gw->worker[i].base));
	gw_fini(rig->gw, &totals);
	bench_traffic_free(rig->traffic);
	if (r != NULL) {
		r->lost += balance(&totals.sum);
		r->leaked += totals.mbufs_leaked;
		free(rig->gw);
	}
}
