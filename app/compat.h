/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef COMPAT_H
#define COMPAT_H

/*
 * All that differs between the DPDK versions we build with (22.11 and later).
 * Include it first where one of these is used; no other file tests RTE_VERSION.
 */

/* rdline_new(), rdline_free(), rdline_get_opaque() are experimental in 22.11. */
#define ALLOW_EXPERIMENTAL_API

#include <stdint.h>
#include <string.h>

#include <rte_common.h>
#include <rte_eal.h>
#include <rte_version.h>

/** What we are built with: 2211. */
#define GW_DPDK_VERSION (RTE_VER_YEAR * 100 + RTE_VER_MONTH)

/**
 * Queue pairs that a device can be asked for, which says that it has @p max. net_tap sends
 * its queues' descriptors, two for each pair, to other processes in one message at start,
 * and writes behind its end where they are more than fit: 8 before DPDK 24.07.
 */
static inline uint16_t
gw_compat_queues(const char *driver, uint16_t max)
{
	return strcmp(driver, "net_tap") == 0 ? RTE_MIN(max, RTE_MP_MAX_FD_NUM / 2) : max;
}

#endif /* COMPAT_H */
