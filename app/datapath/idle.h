/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef IDLE_H
#define IDLE_H

/* What a worker does when there is nothing to do. Worker's thread. */

#include "worker.h"

/** Once, on the worker's thread: make short sleeps short. */
void gw_idle_init(struct gw_worker *w);

/**
 * Give the core away for a while: pause first, then sleep, longer each time up
 * to idle_sleep_us, which bounds the latency of the first packet.
 *
 * @param empty
 *   Rounds without a packet so far.
 */
void gw_idle(struct gw_worker *w, unsigned int empty);

/** Now and then: time out fragments. */
void gw_housekeeping(struct gw_worker *w);

#endif /* IDLE_H */
