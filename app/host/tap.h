/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef TAP_H
#define TAP_H

/*
 * The kernel's view of a port: one TAP with the port's name, MAC, MTU and
 * addresses. What the workers punt is written to it; what the kernel sends
 * through it goes out of the port. Plain /dev/net/tun, control thread.
 */

#include <stdint.h>

#include <rte_ether.h>
#include <rte_mbuf.h>

#include "../control/config.h"

struct gw_tap {
	int fd; /* non-blocking; -1: none */
	unsigned int ifindex;
	char name[GW_NAME_LEN];
	uint64_t written; /* frames given to the kernel */
	uint64_t write_fails; /* full, down or dead */
	uint64_t read;
	void *user; /* for the caller: untouched by gw_tap_open() */
};

/**
 * Make the TAP, set MAC and MTU, take it up. Addresses are netlink.h's to add.
 * IPv6 router solicitations and the like of the kernel are left as they are.
 */
int gw_tap_open(struct gw_tap *tap, const char *name, const struct rte_ether_addr *mac,
		uint16_t mtu, struct gw_error *err);
void gw_tap_close(struct gw_tap *tap);

/**
 * Write an Ethernet frame (segments allowed). The mbuf stays the caller's. 0, or -errno:
 * counted.
 */
int gw_tap_write(struct gw_tap *tap, const struct rte_mbuf *m);

/**
 * Read one frame into a new mbuf of @p pool. NULL, and errno: EAGAIN nothing
 * there; ENOMEM no mbuf: the frame is read and lost; EMSGSIZE it was cut: lost;
 * any other: the interface is gone (EBADFD where somebody removed it), so take
 * the fd out of epoll, or it is reported for ever.
 */
struct rte_mbuf *gw_tap_read(struct gw_tap *tap, struct rte_mempool *pool);

#endif /* TAP_H */
