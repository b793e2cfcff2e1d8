/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef CLOCK_H
#define CLOCK_H

#include <stdint.h>
#include <time.h>

#define GW_NS_PER_S UINT64_C(1000000000)

/** CLOCK_MONOTONIC in nanoseconds. */
static inline uint64_t
gw_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * GW_NS_PER_S + ts.tv_nsec;
}

#endif /* CLOCK_H */
