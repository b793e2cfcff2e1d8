/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef REPLAY_H
#define REPLAY_H

/*
 * HOT. Anti-replay window as in RFC 6479: a ring of words, no shifting. And
 * the high half of extended sequence numbers, RFC 4303 appendix A2.
 */

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "ipsec_pcpu.h"

#define REPLAY_WORD_BITS 64
#define REPLAY_MAX_WORDS 128 /* a power of 2, above 4096 / REPLAY_WORD_BITS */

/*
 * Without a window, the high half is that which puts the packet nearest to the
 * top: no other guess tolerates more disorder.
 */
#define REPLAY_ESN_WINDOW (UINT32_C(1) << 31)

/** The part that is read and written for each packet; the words are apart. */
struct replay {
	uint64_t top; /* highest sequence number that was authenticated */
	uint32_t window; /* packets; 0: no check */
	uint32_t mask; /* words in use - 1; they are a power of 2 above window / 64 */
	uint64_t accepted; /* packets noted */
	uint64_t displaced; /* of those behind the top, how far the furthest was */
};

/** Start with everything up to @p seq seen. */
static inline void
replay_init(struct replay *r, uint64_t *seen, uint32_t window, uint64_t seq)
{
	uint32_t words = 1;

	while (words <= window / REPLAY_WORD_BITS)
		words *= 2;
	r->top = seq;
	r->window = window;
	r->mask = words - 1;
	r->accepted = 0;
	r->displaced = 0;
	memset(seen, 0xff, words * sizeof(seen[0]));
	/* The bits above the top, in its own word, are still to come. */
	seen[seq / REPLAY_WORD_BITS & r->mask] =
			UINT64_MAX >> (REPLAY_WORD_BITS - 1 - seq % REPLAY_WORD_BITS);
}

/** 0: new; -EALREADY: seen; -ERANGE: left of the window. Changes nothing. */
static inline int
replay_check(const struct replay *r, const uint64_t *seen, uint64_t seq)
{
	if (r->window == 0 || likely(seq > r->top))
		return 0;
	if (seq == 0 || r->top - seq >= r->window)
		return -ERANGE;
	if (seen[seq / REPLAY_WORD_BITS & r->mask] >> seq % REPLAY_WORD_BITS & 1)
		return -EALREADY;
	return 0;
}

/**
 * Note a sequence number whose packet's ICV holds and that replay_check()
 * passed. Without a window the top still moves: replay_esn() needs it.
 */
static inline void
replay_advance(struct replay *r, uint64_t *seen, uint64_t seq)
{
	uint64_t w = seq / REPLAY_WORD_BITS;

	if (seq > r->top) {
		uint64_t gap = w - r->top / REPLAY_WORD_BITS;

		for (uint64_t i = 0; i < gap && i <= r->mask; i++)
			seen[(w - i) & r->mask] = 0;
		r->top = seq;
	} else if (r->top - seq > r->displaced) {
		r->displaced = r->top - seq;
	}
	r->accepted++;
	seen[w & r->mask] |= UINT64_C(1) << seq % REPLAY_WORD_BITS;
}

/**
 * The 64-bit sequence number of a packet that carries only @p lo (RFC 4303,
 * A2.1): of the 2^32 numbers from the window's left edge on, the one with that low half. Where
 * the window reaches below 0, before the first 2^32 are through, they begin at 0: such a packet
 * counts as far ahead, and its ICV decides.
 */
static inline uint64_t
replay_esn(const struct replay *r, uint32_t lo)
{
	uint64_t below = (r->window != 0 ? r->window : REPLAY_ESN_WINDOW) - 1;
	uint64_t left = r->top > below ? r->top - below : 0;

	return left + (uint32_t)(lo - (uint32_t)left);
}

#endif /* REPLAY_H */
