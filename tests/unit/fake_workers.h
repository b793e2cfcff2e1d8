/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef FAKE_WORKERS_H
#define FAKE_WORKERS_H

/*
 * Workers that are functions, for control/tunnel.c and place.c, and what else is linked
 * in place of EAL. One that does not answer handles its messages when it wakes up. After
 * each message that a worker has handled no SA may be with two of them.
 */

#include "control/control_priv.h"

#define FAKE_WORKERS 4
#define FAKE_SPIS 64

/** What a worker has; out and in as datapath/msg.c has them, of one tunnel. */
struct fake {
	struct gw_sa_out out;
	struct ipsec_pcpu_sad_entry in[FAKE_SPIS]; /* spi 0: free */
	bool asleep;
	int refuses; /* what it answers; 0: what it does */
	struct gw_msg waiting[64];
	struct gw_gone gone[64][FAKE_SPIS]; /* theirs */
	unsigned int n_waiting;
	unsigned int drains; /* messages that had it take what others had handed it */
};

extern struct fake worker[FAKE_WORKERS];

/** In order, what workers did: "0: set 2000 -> 1 drain"; for tests that look at the order. */
extern char fake_log[4096];

void fake_workers_reset(void);

/** Its entry for an SPI, or a free one for 0; NULL: none. */
struct ipsec_pcpu_sad_entry *fake_spi(struct fake *w, uint32_t spi);

/** Handle all that it has not answered. */
void fake_wake(struct fake *w);

/** How many workers have this SA, in any place. */
unsigned int fake_owners(const struct ipsec_pcpu_sa *sa);

#endif /* FAKE_WORKERS_H */
