/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef METRICS_H
#define METRICS_H

/*
 * Metrics for Prometheus over HTTP, by libmicrohttpd without a thread of its own: control's loop
 * drives it, as it does all else, and each turn of it is short. What is said: metrics_table.c.
 */

#include "../control/control.h"

struct gw_metrics;

#ifdef GW_METRICS

/**
 * Listen where the configuration says so; *metrics is left as it is where it does not.
 *
 * @return
 *   0, or a negative errno value and @p err set: what to do about it.
 */
int gw_metrics_open(struct gw *gw, struct gw_metrics **metrics, struct gw_error *err);

/** NULL is allowed. Answers under way are cut off. */
void gw_metrics_close(struct gw_metrics *metrics);

#else

/* Built without: a configuration that wants metrics was refused. */
static inline int
gw_metrics_open(struct gw *gw, struct gw_metrics **metrics, struct gw_error *err)
{
	return 0;
}

static inline void
gw_metrics_close(struct gw_metrics *metrics)
{
}

#endif

#endif /* METRICS_H */
