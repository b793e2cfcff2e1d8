/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef LOG_H
#define LOG_H

/* Cold code only: the packet path never logs. */

#include <rte_log.h>

/** Our log type; registered by gw_log_init(). */
extern int gw_logtype;

/** Register the log type. Main lcore, before any GW_LOG(). Also without EAL. */
void gw_log_init(void);

/** GW_LOG(NOTICE, "port %s: ...", name): one line, no newline, never key material. */
#define GW_LOG(level, fmt, ...) rte_log(RTE_LOG_##level, gw_logtype, "gw: " fmt "\n", ##__VA_ARGS__)

#endif /* LOG_H */
