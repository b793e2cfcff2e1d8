/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * charon's policies, here and in the gateway.
 */

/**
 * @defgroup kernel_pcpu_policies kernel_pcpu_policies
 * @{ @ingroup kernel_pcpu
 */

#ifndef KERNEL_PCPU_POLICIES_H_
#define KERNEL_PCPU_POLICIES_H_

#include <library.h>
#include <kernel/kernel_ipsec.h>

#include "kernel_pcpu_socket.h"

typedef struct kernel_pcpu_policies_t kernel_pcpu_policies_t;

/**
 * Policies in the order of their installation. There is one for each CHILD_SA and
 * pair of selectors: many are equal but for the SPI.
 */
struct kernel_pcpu_policies_t {

	/**
	 * As kernel_ipsec_t.add_policy().
	 */
	status_t (*add)(kernel_pcpu_policies_t *this, kernel_ipsec_policy_id_t *id,
					kernel_ipsec_manage_policy_t *data);

	/**
	 * As kernel_ipsec_t.del_policy().
	 */
	status_t (*del)(kernel_pcpu_policies_t *this, kernel_ipsec_policy_id_t *id,
					kernel_ipsec_manage_policy_t *data);

	/**
	 * Forget all, here; between begin() and end().
	 */
	void (*clear)(kernel_pcpu_policies_t *this);

	/**
	 * Tell all to a gateway that is there (again).
	 *
	 * @param synced	counts, to be added to
	 * @return			FALSE if the connection broke
	 */
	bool (*sync)(kernel_pcpu_policies_t *this, kernel_pcpu_synced_t *synced);

	/**
	 * Tell those again that the gateway refused; between begin() and end().
	 *
	 * @param synced	counts of those that it took and of those that it refuses
	 *					still, to be added to
	 * @return			FALSE if the connection broke
	 */
	bool (*retry)(kernel_pcpu_policies_t *this, kernel_pcpu_synced_t *synced);

	/**
	 * Forget all and destroy this; nobody calls it any more.
	 */
	void (*destroy)(kernel_pcpu_policies_t *this);
};

/**
 * Create it, without any policies.
 *
 * @param socket	connection to the gateway
 * @return			kernel_pcpu_policies_t instance
 */
kernel_pcpu_policies_t *kernel_pcpu_policies_create(
												kernel_pcpu_socket_t *socket);

#endif /** KERNEL_PCPU_POLICIES_H_ @}*/
