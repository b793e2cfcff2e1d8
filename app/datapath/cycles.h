/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef CYCLES_H
#define CYCLES_H

/*
 * HOT. Where the cycles of a worker go, and the one place of the packet path that
 * reads the TSC. Cheap enough to stay on: of GW_CYCLES_EVERY rounds of the poll
 * loop one is timed, and in that one the TSC is read once at the end of each stage
 * of a burst, never for a packet. Elsewhere it is a branch that is not taken.
 *
 * What passes between two readings belongs to the stage that ends, so nothing of
 * a timed round is counted twice or left out. What a reading takes is taken off: it
 * may be 20 cycles or 50, and at small bursts it would be much of what is shown.
 */

#include <stdbool.h>
#include <stdint.h>

#include <rte_branch_prediction.h>
#include <rte_common.h>
#include <rte_cycles.h>

/** One round of so many is timed, on average. A power of 2. */
#define GW_CYCLES_EVERY 64

/* clang-format off */
/** The stages of a packet's way; idle and away, which are none, stand last. */
#define GW_FOREACH_STAGE(_) \
	_(rx, "receive: the driver; polls of ports that had nothing, up to one that had") \
	_(classify, "Ethernet, IP and UDP headers, checksums; what is for the kernel; fragments") \
	_(lookup, "inbound: from the SPI to the SA, or to the worker that owns it") \
	_(policy, "outbound: flow, policy, TTL, size, MSS; grouped by tunnel") \
	_(encap, "outbound: ESP and outer headers, encryption") \
	_(decap, "inbound: replay window, decryption, trailer") \
	_(forward, "inbound: selectors, route, TTL; either way: Ethernet header, staged for a port") \
	_(tx, "transmit: the driver") \
	_(handoff, "packets taken from other workers and given to them") \
	_(other, "all else in a round that had packets: empty polls, what control gave") \
	_(idle, "rounds that found nothing") \
	_(away, "a stage that took over 1 ms: the kernel ran something else; in no other stage")
/* clang-format on */

enum gw_stage {
#define _(name, what) GW_STAGE_##name,
	GW_FOREACH_STAGE(_)
#undef _
	GW_N_STAGES
};

/** Those that make up what a packet costs come first. */
#define GW_N_BUSY_STAGES GW_STAGE_idle

struct gw_stage_info {
	const char *name;
	const char *what;
};

extern const struct gw_stage_info gw_stage_info[GW_N_STAGES];

/** Of timed rounds. Plain stores by the worker, relaxed loads by control; an array of uint64_t. */
struct gw_cycle_counts {
	uint64_t rounds;
	uint64_t packets; /* that these rounds found */
	uint64_t stage[GW_N_STAGES]; /* TSC cycles */
};

struct gw_cycles {
	uint64_t mark; /* TSC, at the last end of a stage */
	uint64_t per_ms; /* TSC cycles of a millisecond; set before the worker starts, as is: */
	uint64_t per_read; /* what reading the TSC takes by itself; in no stage */
	uint32_t left; /* rounds up to the next that is timed */
	uint32_t random;
	bool timed; /* this round is */
	struct gw_cycle_counts counts;
};

/** A round begins. */
static inline void
gw_cycles_begin(struct gw_cycles *c)
{
	if (likely(c->left-- > 1))
		return;
	/* at random: nothing that comes every so many rounds is to be always or never timed */
	c->random = c->random * 1664525 + 1013904223;
	c->left = 1 + c->random / (UINT32_MAX / (2 * GW_CYCLES_EVERY - 1) + 1);
	c->timed = true;
	c->mark = rte_rdtsc();
}

/**
 * A stage ends.
 *
 * @return
 *   The cycles that it took; 0 where it was not timed, or the thread was away.
 */
static inline uint64_t
gw_lap(struct gw_cycles *c, enum gw_stage stage)
{
	uint64_t now, took;

	if (likely(!c->timed))
		return 0;
	now = rte_rdtsc();
	took = now - c->mark;
	c->mark = now;
	if (unlikely(took > c->per_ms)) {
		c->counts.stage[GW_STAGE_away] += took;
		return 0;
	}
	took -= RTE_MIN(took, c->per_read);
	c->counts.stage[stage] += took;
	return took;
}

/** A round ends that found @p packets. */
static inline void
gw_cycles_end(struct gw_cycles *c, unsigned int packets)
{
	if (likely(!c->timed))
		return;
	gw_lap(c, packets > 0 ? GW_STAGE_other : GW_STAGE_idle);
	c->counts.rounds++;
	c->counts.packets += packets;
	c->timed = false;
}

#endif /* CYCLES_H */
