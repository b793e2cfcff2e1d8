/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef COMPAT_H
#define COMPAT_H

/*
 * All that differs between the DPDK versions we build with (22.11 and later).
 * Include it first where one of these is used; no other file tests RTE_VERSION.
 */

/* rdline_new(), rdline_free(), rdline_get_opaque() are experimental in 22.11. */
#define ALLOW_EXPERIMENTAL_API

#include <rte_version.h>

/** What we are built with: 2211. */
#define GW_DPDK_VERSION (RTE_VER_YEAR * 100 + RTE_VER_MONTH)

#endif /* COMPAT_H */
