/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * charon's SAs, here and in the gateway.
 */

/**
 * @defgroup kernel_pcpu_sas kernel_pcpu_sas
 * @{ @ingroup kernel_pcpu
 */

#ifndef KERNEL_PCPU_SAS_H_
#define KERNEL_PCPU_SAS_H_

#include <library.h>
#include <kernel/kernel_ipsec.h>

#include "kernel_pcpu_socket.h"

typedef struct kernel_pcpu_sas_t kernel_pcpu_sas_t;
typedef struct kernel_pcpu_sa_state_t kernel_pcpu_sa_state_t;

/**
 * How it is with an SA.
 */
struct kernel_pcpu_sa_state_t {

	/**
	 * Number of its own, not 0
	 */
	u_int instance;

	/**
	 * TRUE if the gateway does not have it, and it waits to be rekeyed
	 */
	bool stale;

	/**
	 * Destination by which charon finds its CHILD_SA, to be destroyed
	 */
	host_t *ike_dst;
};

/**
 * SAs. Each is known by its destination, SPI and protocol: in later calls the
 * source may have another port than in the first.
 */
struct kernel_pcpu_sas_t {

	/**
	 * As kernel_ipsec_t.add_sa().
	 */
	status_t (*add)(kernel_pcpu_sas_t *this, kernel_ipsec_sa_id_t *id,
					kernel_ipsec_add_sa_t *data);

	/**
	 * As kernel_ipsec_t.update_sa(). An SA that cannot be moved, for whatever
	 * reason, is NOT_SUPPORTED, upon which charon rekeys it: at all else older
	 * versions (5.9.8) go on as if it had been moved.
	 */
	status_t (*update)(kernel_pcpu_sas_t *this, kernel_ipsec_sa_id_t *id,
					   kernel_ipsec_update_sa_t *data);

	/**
	 * As kernel_ipsec_t.query_sa().
	 */
	status_t (*query)(kernel_pcpu_sas_t *this, kernel_ipsec_sa_id_t *id,
					  uint64_t *bytes, uint64_t *packets, time_t *time);

	/**
	 * As kernel_ipsec_t.del_sa().
	 */
	status_t (*del)(kernel_pcpu_sas_t *this, kernel_ipsec_sa_id_t *id);

	/**
	 * Forget all, here; between begin() and end().
	 */
	void (*clear)(kernel_pcpu_sas_t *this);

	/**
	 * Tell all to a gateway that is there (again).
	 *
	 * @param restarted	TRUE if it is not the process of the last connection
	 * @param synced	counts, to be added to
	 * @return			FALSE if the connection broke
	 */
	bool (*sync)(kernel_pcpu_sas_t *this, bool restarted,
				 kernel_pcpu_synced_t *synced);

	/**
	 * Tell inbound SAs again that the gateway refused; between begin() and end().
	 *
	 * @param synced	counts of those that it took and of those that it refuses
	 *					still, to be added to
	 * @return			FALSE if the connection broke
	 */
	bool (*retry)(kernel_pcpu_sas_t *this, kernel_pcpu_synced_t *synced);

	/**
	 * How it is with an SA. Asks the gateway nothing.
	 *
	 * @param id		destination, SPI and protocol
	 * @param state		receives the state
	 * @return			FALSE if there is no such SA
	 */
	bool (*get_state)(kernel_pcpu_sas_t *this, kernel_ipsec_sa_id_t *id,
					  kernel_pcpu_sa_state_t *state);

	/**
	 * Forget all and destroy this; nobody calls it any more.
	 */
	void (*destroy)(kernel_pcpu_sas_t *this);
};

/**
 * Create it, without any SAs.
 *
 * @param socket	connection to the gateway
 * @return			kernel_pcpu_sas_t instance
 */
kernel_pcpu_sas_t *kernel_pcpu_sas_create(kernel_pcpu_socket_t *socket);

#endif /** KERNEL_PCPU_SAS_H_ @}*/
