/* SPDX-License-Identifier: BSD-3-Clause */

/* Bringing the gateway up and down, its timers, and the verbs that belong to no other file. */

#include "control.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <rte_lcore.h>
#include <rte_malloc.h>

#include "../host/numa.h"
#include "../log.h"
#include "control_priv.h"
#include "ike.h"

#define RESERVE_MS 50
#define QUICK_MS 250
#define STATS_MS 1000
#define NEIGHBOUR_TICKS 30 /* of STATS_MS: how often neighbours in use are confirmed */

struct gw_port *
gw_port_find(struct gw *gw, const char *name)
{
	for (unsigned int i = 0; i < gw->n_ports; i++)
		if (strcmp(gw->port[i].name, name) == 0)
			return &gw->port[i];
	return NULL;
}

/* Timers and signals */

static void
on_signal(void *arg, uint32_t events)
{
	struct gw *gw = arg;
	struct signalfd_siginfo si;

	if (read(gw->signal_fd, &si, sizeof(si)) != sizeof(si))
		return;
	GW_LOG(NOTICE, "%s: stopping", si.ssi_signo == SIGINT ? "SIGINT" : "SIGTERM");
	gw_quit(gw);
}

/** Say what happened to ports, and give workers what is right now. */
static void
check_ports(struct gw *gw)
{
	struct gw_error err;
	bool changed = false;

	for (unsigned int i = 0; i < gw->n_ports; i++) {
		struct gw_port *p = &gw->port[i];
		struct gw_port_info info;

		if (gw_port_gone(p) && gw->view->port[i].up) {
			GW_LOG(ERR, "port %s is gone; the others go on", p->name);
		} else if (gw_port_link_event(p)) {
			gw_port_info(p, &info);
			GW_LOG(NOTICE, "port %s: link %s", p->name, info.link_up ? "up" : "down");
		}
		changed |= gw->view->port[i].up != gw_port_usable(p);
	}
	if (changed && gw_view_update(gw, &err) < 0)
		GW_LOG(ERR, "%s", err.text);
}

/**
 * With the view that workers have still saying "down": what was written to the device is
 * gone, the redirection table is its own default again, rules are no more.
 * gw_view_update() comes behind it, so no packet arrives before.
 */
static void
port_started_anew(struct gw *gw, unsigned int port)
{
	const struct gw_port *p = &gw->port[port];

	GW_LOG(NOTICE, "port %s: reset, started anew with %u queues", p->name, p->n_rxq);
	gw_ena_port_started(gw, port);
	gw_steering_resume(gw, port);
}

/** All workers have a view in which the port is down, and have answered since. */
static int
take_from_workers(struct gw *gw, unsigned int port, struct gw_error *err)
{
	int rc = gw->view->port[port].up ? gw_view_update(gw, err) : 0;

	/* a message behind the view: who answers it polls the port no more */
	return rc < 0 ? rc : gw_set_forwarding(gw, gw->forwarding, err);
}

static void
reset_port(struct gw *gw, unsigned int port)
{
	struct gw_port *p = &gw->port[port];
	struct gw_error err;
	int rc;

	if (p->reset.failed == 0)
		GW_LOG(WARNING, "port %s: %s asks for a reset; until then what is to leave there is dropped (port_gone)",
				p->name, p->driver);
	rc = take_from_workers(gw, port, &err);
	if (rc == 0) {
		gw_steering_suspend(gw, port);
		rc = gw_port_reset(p, &gw->cfg.ports[port], &err);
	}
	if (rc < 0)
		GW_LOG(ERR, "port %s: the reset failed, next attempt in %u s: %s", p->name,
				gw_port_reset_failed(p, gw_now_ns()), err.text);
	else
		port_started_anew(gw, port);
}

static void
reset_ports(struct gw *gw)
{
	bool any = false;

	for (unsigned int i = 0; i < gw->n_ports; i++) {
		if (!gw_port_reset_due(&gw->port[i], gw_now_ns()))
			continue;
		reset_port(gw, i);
		any = true;
	}
	if (any)
		check_ports(gw);
}

static void
on_stats(void *arg, uint32_t events)
{
	struct gw *gw = arg;

	gw_stats_tick(gw);
	gw_places_tick(gw);
	gw_steering_tick(gw);
	gw_sa_ends_tick(gw);
	check_ports(gw);
	gw_ena_tick(gw);
	if (++gw->ticks % NEIGHBOUR_TICKS == 0)
		gw_neighbours_confirm(gw);
}

static void
on_reserve(void *arg, uint32_t events)
{
	gw_reservations_tick(arg);
}

static void
on_quick(void *arg, uint32_t events)
{
	gw_held_release(arg, false);
	reset_ports(arg);
	gw_ike_tick(arg);
}

static int
open_loop(struct gw *gw, struct gw_error *err)
{
	sigset_t set;

	gw_error_set(err, NULL, 0, "the event loop cannot be made");
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	gw->loop = gw_loop_new();
	gw->punt_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	gw->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (gw->loop == NULL || gw->punt_fd < 0 || gw->signal_fd < 0)
		return -ENOMEM;
	if (gw_loop_add(gw->loop, gw->signal_fd, EPOLLIN, on_signal, gw) < 0)
		return -ENOMEM;
	return 0;
}

static int
start_timers(struct gw *gw, struct gw_error *err)
{
	gw_error_set(err, NULL, 0, "timers cannot be made");
	if (gw_loop_timer(gw->loop, STATS_MS, on_stats, gw) < 0 ||
			gw_loop_timer(gw->loop, QUICK_MS, on_quick, gw) < 0)
		return -ENOMEM;
	if (gw->reserve != NULL && gw_loop_timer(gw->loop, RESERVE_MS, on_reserve, gw) < 0)
		return -ENOMEM;
	return 0;
}

/* Up */

static int
count_workers(struct gw *gw, struct gw_error *err)
{
	unsigned int have = rte_lcore_count() - 1;
	unsigned int want = gw->cfg.workers == 0 ? have : gw->cfg.workers;

	if (have == 0) {
		gw_error_set(err, NULL, 0,
				"no lcore for workers: the main lcore only controls. Give EAL "
				"at least two, e.g. -l 0-2, or --lcores '(0-2)@(0-1)' on two CPUs");
		return -EINVAL;
	}
	if (want > have) {
		gw_error_set(err, gw->cfg.file, 0,
				"workers = %u, but EAL has %u worker lcores (-l or "
				"--lcores; one more is for the main lcore)",
				want, have);
		return -EINVAL;
	}
	if (want > GW_MAX_WORKERS) {
		gw_error_set(err, gw->cfg.file, 0, "%u workers, at most %u: set workers = %u", want,
				GW_MAX_WORKERS, GW_MAX_WORKERS);
		return -EINVAL;
	}
	gw->n_workers = want;
	return 0;
}

/** The node of all ports; SOCKET_ID_ANY where they differ or have none. */
static int
probe_ports(struct gw *gw, int *node, struct gw_error *err)
{
	for (unsigned int i = 0; i < gw->cfg.n_ports; i++) {
		int rc = gw_port_probe(&gw->port[i], &gw->cfg.ports[i], err);

		if (rc < 0)
			return rc;
		gw->n_ports = i + 1;
		if (i == 0)
			*node = gw->port[i].numa_node;
		else if (*node != gw->port[i].numa_node)
			*node = SOCKET_ID_ANY;
	}
	return 0;
}

uint16_t
gw_largest_mtu(const struct gw_config *cfg)
{
	uint16_t mtu = 0;

	for (unsigned int i = 0; i < cfg->n_ports; i++)
		mtu = RTE_MAX(mtu, cfg->ports[i].mtu);
	return mtu;
}

/** May ESP in UDP go out over IPv6? IKE may bring it where a port has such an address. */
static bool
may_send_udp6(const struct gw_config *cfg)
{
	for (unsigned int t = 0; t < cfg->n_tunnels; t++)
		for (unsigned int i = 0; i < cfg->tunnels[t].n_sas; i++)
			if (cfg->tunnels[t].remote.family == AF_INET6 &&
					cfg->tunnels[t].sas[i].prm.encap_dport != 0)
				return true;
	for (unsigned int p = 0; p < cfg->n_ports && cfg->ike_socket != NULL; p++)
		for (unsigned int i = 0; i < cfg->ports[p].n_addresses; i++)
			if (cfg->ports[p].addresses[i].addr.family == AF_INET6)
				return true;
	return false;
}

static int
open_ports(struct gw *gw, struct gw_error *err)
{
	const bool udp6 = may_send_udp6(&gw->cfg);
	unsigned int n = gw->cfg.mbufs;
	int node = SOCKET_ID_ANY;
	int rc = probe_ports(gw, &node, err);

	if (rc < 0)
		return rc;
	if (n == 0)
		n = gw_port_pool_need(&gw->cfg, gw->n_workers);
	gw->pool = gw_port_pool_create("gw_pool", n, gw_largest_mtu(&gw->cfg), node, err);
	if (gw->pool == NULL)
		return -ENOMEM;
	for (unsigned int i = 0; i < gw->n_ports; i++) {
		gw->port[i].wants_udp_cksum = udp6;
		rc = gw_port_open(&gw->port[i], &gw->cfg.ports[i], gw->n_workers, gw->pool, err);
		if (rc < 0)
			return rc;
		if (gw->port[i].note[0] != 0)
			GW_LOG(NOTICE, "port %s: %s", gw->port[i].name, gw->port[i].note);
	}
	return 0;
}

/** Where packets would cross between NUMA nodes. */
static int
check_numa(const struct gw *gw, struct gw_error *err)
{
	unsigned int lcores[GW_MAX_WORKERS];

	for (unsigned int i = 0; i < gw->n_workers; i++)
		lcores[i] = gw->worker[i].w->lcore;
	return gw_numa_check(gw->port, gw->n_ports, lcores, gw->n_workers, gw->cfg.numa, err);
}

static int
start_ports(struct gw *gw, struct gw_error *err)
{
	for (unsigned int i = 0; i < gw->n_ports; i++) {
		int rc = gw_port_start(&gw->port[i], err);

		if (rc < 0)
			return rc;
		gw_ena_port_started(gw, i);
	}
	return 0;
}

static int
make_ctx(struct gw *gw, struct gw_error *err)
{
	gw->ctx = rte_zmalloc("gw_ctx", ipsec_pcpu_ctx_size(), RTE_CACHE_LINE_SIZE);
	if (gw->ctx == NULL) {
		gw_error_set(err, NULL, 0, "no memory: give EAL more (-m, hugepages)");
		return -ENOMEM;
	}
	if (ipsec_pcpu_ctx_init(gw->ctx) < 0) {
		gw_error_set(err, NULL, 0,
				"intel-ipsec-mb does not run on this CPU: it lacks AES-NI");
		return -ENOTSUP;
	}
	if (gw->n_workers > 2 && ipsec_pcpu_crypto_version() < 0x10400)
		GW_LOG(WARNING,
				"intel-ipsec-mb below 1.4 writes a shared variable on every call: "
				"it does not scale to %u workers; build with 1.4 or later",
				gw->n_workers);
	return 0;
}

static int
open_reserve(struct gw *gw, struct gw_error *err)
{
	if (gw->cfg.state_file != NULL) {
		if (gw->cfg.allow_iv_reuse && gw_reserve_is_volatile(gw->cfg.state_file))
			GW_LOG(WARNING,
					"allow_iv_reuse: state file %s is in memory: after a reboot "
					"(key, IV) pairs are used again. Tests only",
					gw->cfg.state_file);
		return gw_reserve_open(
				gw->cfg.state_file, gw->cfg.allow_iv_reuse, &gw->reserve, err);
	}
	if (gw->cfg.allow_iv_reuse)
		GW_LOG(WARNING,
				"allow_iv_reuse: a restart sends new packets under used (key, IV) "
				"pairs, which breaks AES-GCM and ChaCha20-Poly1305. Tests only");
	return 0;
}

static int
bring_up(struct gw *gw, struct gw_error *err)
{
	int rc = count_workers(gw, err);

	if (rc == 0)
		rc = open_loop(gw, err);
	if (rc == 0)
		rc = gw_pkt_init();
	if (rc == 0)
		rc = make_ctx(gw, err);
	if (rc == 0)
		rc = open_reserve(gw, err);
	if (rc == 0)
		rc = open_ports(gw, err);
	if (rc == 0)
		rc = gw_workers_make(gw, err);
	if (rc == 0)
		rc = check_numa(gw, err); /* before anything is told to the kernel */
	if (rc == 0)
		rc = gw_kernel_open(gw, err);
	if (rc == 0)
		rc = gw_tunnels_make(gw, err);
	if (rc == 0)
		rc = gw_ike_open(gw, err);
	if (rc == 0)
		rc = gw_rules_make(gw);
	if (rc == 0)
		rc = gw_ena_open(gw, err);
	if (rc == 0)
		rc = start_ports(gw, err);
	if (rc == 0)
		rc = gw_view_update(gw, err);
	if (rc == 0)
		rc = gw_steering_start(gw, err);
	if (rc == 0)
		rc = gw_workers_launch(gw, err);
	if (rc == 0)
		rc = start_timers(gw, err);
	if (rc == 0)
		rc = gw_set_forwarding(gw, true, err);
	return rc;
}

int
gw_init(struct gw *gw, struct gw_config *cfg, struct gw_error *err)
{
	int rc;

	memset(gw, 0, sizeof(*gw));
	gw->cfg = *cfg;
	memset(cfg, 0, sizeof(*cfg));
	gw->punt_fd = gw->signal_fd = -1;
	for (unsigned int i = 0; i < GW_MAX_PORTS; i++)
		gw->tap[i].fd = -1;
	gw->started = gw->tick_ns = gw->reserve_noted = gw_now_ns();
	gw_error_set(err, NULL, 0, "not enough memory: give EAL more (-m, hugepages)");
	rc = bring_up(gw, err);
	if (rc < 0)
		gw_fini(gw, NULL);
	return rc;
}

void
gw_run(struct gw *gw)
{
	gw_loop_run(gw->loop);
}

void
gw_quit(struct gw *gw)
{
	gw_loop_stop(gw->loop);
}

/* Down */

static void
close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void
close_ports(struct gw *gw)
{
	for (unsigned int i = 0; i < gw->n_ports; i++)
		gw_port_stop(&gw->port[i]);
	for (unsigned int i = 0; i < gw->n_ports; i++)
		gw_port_close(&gw->port[i]);
}

void
gw_fini(struct gw *gw, struct gw_totals *totals)
{
	if (!gw_workers_stop(gw)) {
		/* it may still send: the state file and all memory stay as they are */
		GW_LOG(CRIT, "a worker does not stop: leaving at once");
		_exit(EXIT_FAILURE);
	}
	if (totals != NULL)
		gw_stats_sum(gw, &totals->sum);
	gw_tunnels_release(gw);
	gw_steering_stop(gw);
	gw_ike_free(gw);
	gw_tunnels_free(gw);
	gw_view_free(gw);
	gw_kernel_close(gw);
	gw_workers_free(gw);
	close_ports(gw);
	gw_ena_close(gw);
	if (totals != NULL)
		totals->mbufs_leaked = rte_mempool_in_use_count(gw->pool) +
				rte_mempool_in_use_count(gw->large);
	rte_mempool_free(gw->pool);
	rte_mempool_free(gw->large);
	gw_reserve_close(gw->reserve);
	gw_reserve_close(gw->offers);
	if (gw->ctx != NULL)
		ipsec_pcpu_ctx_fini(gw->ctx);
	rte_free(gw->ctx);
	free(gw->rules);
	gw_loop_free(gw->loop);
	close_fd(&gw->punt_fd);
	close_fd(&gw->signal_fd);
	gw_config_free(&gw->cfg);
	memset(gw, 0, sizeof(*gw));
}

/* Verbs */

int
gw_set_forwarding(struct gw *gw, bool on, struct gw_error *err)
{
	const struct gw_msg m = {.type = GW_MSG_RUN, .run = on};
	int rc = gw_tell_all(gw, &m);

	if (rc < 0)
		gw_error_set(err, NULL, 0, "a worker does not answer: %s", strerror(-rc));
	else
		gw->forwarding = on;
	return rc;
}

int
gw_port_promisc(struct gw *gw, const char *port, bool on, struct gw_error *err)
{
	struct gw_port *p = gw_port_find(gw, port);

	if (p == NULL) {
		gw_error_set(err, NULL, 0, "there is no port \"%s\"; show ports lists them", port);
		return -ENOENT;
	}
	return gw_port_set_promisc(p, on, err);
}
