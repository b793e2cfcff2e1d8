/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * An SA of charon's, as the gateway gets it.
 */

/**
 * @defgroup kernel_pcpu_sa kernel_pcpu_sa
 * @{ @ingroup kernel_pcpu
 */

#ifndef KERNEL_PCPU_SA_H_
#define KERNEL_PCPU_SA_H_

#include <time.h>

#include <library.h>
#include <kernel/kernel_ipsec.h>

#include "ike.h"

typedef struct kernel_pcpu_sa_t kernel_pcpu_sa_t;

/**
 * An SA
 */
struct kernel_pcpu_sa_t {

	/**
	 * As the gateway gets it; of an outbound SA the keys are wiped
	 */
	struct ike_sa_add msg;

	/**
	 * Monotonic time from which on its lifetimes in seconds count
	 */
	time_t since;

	/**
	 * What it is known by: destination, of its own, SPI and protocol
	 */
	kernel_ipsec_sa_id_t id;

	/**
	 * Destination by which charon finds its CHILD_SA: that of the IKE_SA, even
	 * where the SA could not be moved to it
	 */
	host_t *ike_dst;

	/**
	 * Number of its own
	 */
	u_int instance;

	/**
	 * TRUE if the gateway does not have it, and waits for it to be rekeyed
	 */
	bool stale;

	/**
	 * TRUE if it is inbound, and the gateway did not take it when all was told
	 * again
	 */
	bool refused;

	/**
	 * Counted by earlier gateways
	 */
	uint64_t bytes_before, packets_before;

	/**
	 * Counted in all when last asked
	 */
	uint64_t bytes, packets;

	/**
	 * Monotonic time of its last use, 0 if there was none
	 */
	time_t used;
};

/**
 * Create an SA as charon describes it. Logs why if there can be none.
 *
 * @param id		what it is known by
 * @param data		all else
 * @return			SA, NULL if it is of a kind that the gateway does not have
 */
kernel_pcpu_sa_t *kernel_pcpu_sa_create(kernel_ipsec_sa_id_t *id,
										kernel_ipsec_add_sa_t *data);

/**
 * Reduce lifetimes in seconds to what is left of them: to a gateway that is new
 * they begin when it hears of the SA.
 *
 * @param sa		SA
 * @return			FALSE if nothing is left of the hard one; nothing changes then
 */
bool kernel_pcpu_sa_age(kernel_pcpu_sa_t *sa);

/**
 * Destroy an SA, and its keys.
 *
 * @param sa		SA
 */
void kernel_pcpu_sa_destroy(kernel_pcpu_sa_t *sa);

#endif /** KERNEL_PCPU_SA_H_ @}*/
