/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef RND_H
#define RND_H

#include <stdint.h>

/** A small generator of our own: the same numbers on every machine. */
static inline uint64_t
rnd(void)
{
	static uint64_t state = 0x9e3779b97f4a7c15;

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state * UINT64_C(0x2545f4914f6cdd1d);
}

#endif /* RND_H */
