/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What the gateway says by itself, and what a clock says: jobs that tell charon.
 */

/**
 * @defgroup kernel_pcpu_events kernel_pcpu_events
 * @{ @ingroup kernel_pcpu
 */

#ifndef KERNEL_PCPU_EVENTS_H_
#define KERNEL_PCPU_EVENTS_H_

#include "kernel_pcpu_sas.h"

typedef struct kernel_pcpu_expire_t kernel_pcpu_expire_t;

/**
 * The end of an SA.
 */
struct kernel_pcpu_expire_t {

	/**
	 * Whose SA it is
	 */
	kernel_pcpu_sas_t *sas;

	/**
	 * What it is known by; of a scheduled one the destination is its own
	 */
	kernel_ipsec_sa_id_t id;

	/**
	 * Number of the SA, 0 if any with that ID will do
	 */
	u_int instance;

	/**
	 * TRUE if it must not be used any more
	 */
	bool hard;

	/**
	 * TRUE to report it again as long as the SA waits to be rekeyed
	 */
	bool repeat;
};

/**
 * Have an expired SA reported, now or after a time.
 *
 * @param expire	what is to be reported, cloned
 * @param seconds	when, 0 for now
 */
void kernel_pcpu_schedule_expire(kernel_pcpu_expire_t *expire,
								 uint64_t seconds);

/**
 * Take an event of the gateway's. Does not block.
 *
 * @param sas		whose SAs it is about
 * @param msg		event
 */
void kernel_pcpu_take_event(kernel_pcpu_sas_t *sas, union ike_any *msg);

#endif /** KERNEL_PCPU_EVENTS_H_ @}*/
