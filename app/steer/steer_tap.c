/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * An eBPF program on a TAP looks up each packet's SPI (TUNSETSTEERINGEBPF). It is given to
 * the device through one of net_tap's own file descriptors, found among those of this
 * process. That reaches the device in whatever network namespace it is by now. To open it
 * once more, by its name, would make one more queue of it, which takes packets as long as
 * it is there; or a new interface, where it has gone to another namespace.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <rte_ethdev.h>

#include "steer.h"
#include "tap_program.h"

#define DRIVER "net_tap"

struct rule {
	TAILQ_ENTRY(rule) next;
	struct gw_tap_key key; /* with which it is in the map */
	uint16_t queue;
};

TAILQ_HEAD(rule_list, rule);

struct tap_state {
	struct rule_list rules; /* all, so that none is left at close */
	int tap; /* a duplicate of net_tap's: an interface stays until it is closed, too */
	int map;
};

/** What a file descriptor says of its TAP. */
struct tap_fd {
	int fd;
	char name[IFNAMSIZ];
	struct rte_ether_addr mac; /* of the kernel's end */
	ino_t netns;
};

static ino_t
inode_of(int fd)
{
	struct stat st;

	return fd >= 0 && fstat(fd, &st) == 0 ? st.st_ino : 0;
}

static ino_t
own_netns(void)
{
	int fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	ino_t ino = inode_of(fd);

	if (fd >= 0)
		close(fd);
	return ino;
}

/** Where the TAP is; an old kernel cannot be asked: it is taken to be here. */
static ino_t
netns_of(int tap)
{
	int fd = ioctl(tap, TUNGETDEVNETNS);
	ino_t ino = inode_of(fd);

	if (fd < 0)
		return own_netns();
	close(fd);
	return ino;
}

/** False: not an attached queue of a TAP with several. The gateway's own TAPs have one. */
static bool
read_fd(int fd, struct tap_fd *tap)
{
	const int kind = IFF_TAP | IFF_MULTI_QUEUE;
	struct ifreq ifr;
	struct stat st;

	if (fstat(fd, &st) < 0 || !S_ISCHR(st.st_mode) || st.st_rdev != makedev(10, 200))
		return false;
	memset(&ifr, 0, sizeof(ifr));
	if (ioctl(fd, TUNGETIFF, &ifr) < 0 || (ifr.ifr_flags & kind) != kind)
		return false;
	tap->fd = fd;
	memcpy(tap->name, ifr.ifr_name, sizeof(tap->name));
	if (ioctl(fd, SIOCGIFHWADDR, &ifr) < 0)
		return false;
	memcpy(&tap->mac, ifr.ifr_hwaddr.sa_data, sizeof(tap->mac));
	tap->netns = netns_of(fd);
	return true;
}

static bool
same_device(const struct tap_fd *a, const struct tap_fd *b)
{
	return a->netns == b->netns && strcmp(a->name, b->name) == 0;
}

/** For the port's device among all TAPs of this process. */
struct search {
	char name[IFNAMSIZ]; /* "": not in our namespace */
	ino_t netns; /* ours */
	struct rte_ether_addr mac;
	struct tap_fd by_name, by_mac; /* fd -1: not found */
	bool ambiguous; /* several have this MAC */
};

static void
consider(struct search *s, const struct tap_fd *tap)
{
	if (tap->netns == s->netns && strcmp(tap->name, s->name) == 0)
		s->by_name = *tap;
	if (!rte_is_same_ether_addr(&tap->mac, &s->mac))
		return;
	if (s->by_mac.fd >= 0 && !same_device(&s->by_mac, tap))
		s->ambiguous = true;
	s->by_mac = *tap;
}

/**
 * By its name in our namespace; where it has left that, by its MAC, which is the port's as
 * long as nobody sets another. A duplicate, or -errno.
 */
static int
open_tap(const struct gw_port *port)
{
	struct search s = {.mac = port->mac, .by_name.fd = -1, .by_mac.fd = -1};
	struct rte_eth_dev_info info;
	struct tap_fd tap;
	struct dirent *entry;
	DIR *dir;
	int fd;

	s.netns = own_netns();
	if (rte_eth_dev_info_get(port->id, &info) < 0 ||
			if_indextoname(info.if_index, s.name) == NULL)
		s.name[0] = '\0';
	dir = opendir("/proc/self/fd");
	if (dir == NULL)
		return -errno;
	while ((entry = readdir(dir)) != NULL)
		if (entry->d_name[0] != '.' && read_fd(atoi(entry->d_name), &tap))
			consider(&s, &tap);
	closedir(dir);
	fd = s.by_name.fd >= 0 ? s.by_name.fd : s.ambiguous ? -1 : s.by_mac.fd;
	if (fd < 0)
		return -ENODEV;
	fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	return fd < 0 ? -errno : fd;
}

/** @p program: -1: none, the kernel spreads packets by itself again. */
static int
set_program(int tap, int program)
{
	return ioctl(tap, TUNSETSTEERINGEBPF, &program) < 0 ? -errno : 0;
}

/** The device holds the program, and the program the map. */
static int
attach(const struct tap_state *st, uint16_t n_queues, struct gw_error *why)
{
	int program = gw_tap_program_load(st->map, n_queues);
	int rc;

	if (program < 0) {
		gw_error_set(why, NULL, 0, "the kernel does not take the program: %s",
				strerror(-program));
		return program;
	}
	rc = set_program(st->tap, program);
	close(program);
	if (rc < 0)
		gw_error_set(why, NULL, 0, "the kernel's TAPs take no program: %s", strerror(-rc));
	return rc;
}

static int
open_state(struct tap_state *st, const struct gw_port *port, struct gw_error *why)
{
	TAILQ_INIT(&st->rules);
	st->map = -1;
	st->tap = open_tap(port);
	if (st->tap == -ENODEV) {
		gw_error_set(why, NULL, 0,
				"its interface is not in this network namespace, and no TAP of "
				"ours elsewhere has the port's MAC");
		return -ENODEV;
	}
	if (st->tap < 0) {
		gw_error_set(why, NULL, 0, "cannot find its interface: %s", strerror(-st->tap));
		return st->tap;
	}
	st->map = gw_tap_map_create();
	if (st->map < 0) {
		gw_error_set(why, NULL, 0, "the kernel makes no eBPF map: %s%s", strerror(-st->map),
				st->map == -EPERM ? ": run as root, or with CAP_BPF" : "");
		return st->map;
	}
	return attach(st, port->n_rxq, why);
}

static void
free_state(struct tap_state *st)
{
	struct rule *rule;

	while ((rule = TAILQ_FIRST(&st->rules)) != NULL) {
		TAILQ_REMOVE(&st->rules, rule, next);
		free(rule);
	}
	if (st->tap >= 0)
		close(st->tap);
	if (st->map >= 0)
		close(st->map);
	free(st);
}

static int
tap_probe(struct gw_steer_port *sp, struct gw_error *why)
{
	const struct gw_port *port = sp->port;
	struct tap_state *st;
	int rc;

	if (strcmp(port->driver, DRIVER) != 0) {
		gw_error_set(why, NULL, 0, "the driver is %s: only TAPs take such a program",
				port->driver);
		return -ENOTSUP;
	}
	if (port->n_rxq < 2) {
		gw_error_set(why, NULL, 0, "the port has one queue");
		return -ENOTSUP;
	}
	st = calloc(1, sizeof(*st));
	if (st == NULL) {
		gw_error_set(why, NULL, 0, "out of memory");
		return -ENOMEM;
	}
	rc = open_state(st, port, why);
	if (rc < 0) {
		free_state(st);
		return rc;
	}
	sp->state = st;
	return 0;
}

/** Where the interface is gone the program is so, too. */
static void
tap_close(struct gw_steer_port *sp)
{
	struct tap_state *st = sp->state;

	if (st == NULL)
		return;
	set_program(st->tap, -1);
	for (unsigned int i = 0; i < sp->n_sas; i++)
		sp->sas[i]->rule = NULL;
	free_state(st);
	sp->state = NULL;
}

static int
tap_add(struct gw_steer_port *sp, struct gw_steer_sa *sa)
{
	struct tap_state *st = sp->state;
	struct rule *rule;
	int rc;

	if (sa->queue >= sp->port->n_rxq)
		return -ERANGE;
	rule = calloc(1, sizeof(*rule));
	if (rule == NULL)
		return -ENOMEM;
	rule->key.spi = rte_cpu_to_be_32(sa->spi);
	rule->key.dport = rte_cpu_to_be_16(sa->tuple.dport);
	rule->queue = sa->queue;
	rc = gw_tap_map_add(st->map, &rule->key, rule->queue);
	if (rc < 0) {
		free(rule);
		return rc;
	}
	TAILQ_INSERT_TAIL(&st->rules, rule, next);
	sa->rule = rule;
	return 0;
}

static void
tap_del(struct gw_steer_port *sp, struct gw_steer_sa *sa)
{
	struct tap_state *st = sp->state;
	struct rule *rule = sa->rule;

	if (rule == NULL)
		return;
	gw_tap_map_del(st->map, &rule->key);
	TAILQ_REMOVE(&st->rules, rule, next);
	free(rule);
	sa->rule = NULL;
}

static int
tap_move(struct gw_steer_port *sp, struct gw_steer_sa *sa)
{
	struct tap_state *st = sp->state;
	struct rule *rule = sa->rule;
	int rc;

	if (rule == NULL)
		return tap_add(sp, sa);
	if (sa->queue >= sp->port->n_rxq)
		return -ERANGE;
	rc = gw_tap_map_change(st->map, &rule->key, sa->queue);
	if (rc == 0)
		rule->queue = sa->queue;
	return rc;
}

static void
tap_describe(const struct gw_steer_port *sp, const struct gw_steer_sa *sa, char *out, size_t len)
{
	const struct rule *rule = sa->rule;
	char port[32] = "";

	if (len > 0)
		out[0] = '\0';
	if (rule == NULL)
		return;
	if (rule->key.dport != 0)
		snprintf(port, sizeof(port), "UDP port %u, ", rte_be_to_cpu_16(rule->key.dport));
	snprintf(out, len, "program: %sESP SPI 0x%08x -> queue %u", port,
			rte_be_to_cpu_32(rule->key.spi), rule->queue);
}

const struct gw_steer_ops gw_steer_tap = {
		.name = "tap",
		.what = "an eBPF program on the TAP looks up each packet's SPI",
		.probe = tap_probe,
		.close = tap_close,
		.add = tap_add,
		.del = tap_del,
		.move = tap_move,
		.describe = tap_describe,
};
