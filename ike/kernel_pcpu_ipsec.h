/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * charon's interface to IPsec, by the gateway.
 */

/**
 * @defgroup kernel_pcpu_ipsec kernel_pcpu_ipsec
 * @{ @ingroup kernel_pcpu
 */

#ifndef KERNEL_PCPU_IPSEC_H_
#define KERNEL_PCPU_IPSEC_H_

#include <library.h>
#include <kernel/kernel_ipsec.h>

typedef struct kernel_pcpu_ipsec_t kernel_pcpu_ipsec_t;

/**
 * Implementation of the kernel ipsec interface that has its SAs and policies in
 * the gateway, over a socket.
 */
struct kernel_pcpu_ipsec_t {

	/**
	 * Implements kernel_ipsec_t interface
	 */
	kernel_ipsec_t interface;
};

/**
 * Create the interface; it connects to the gateway by and by.
 *
 * @return			kernel_pcpu_ipsec_t instance
 */
kernel_pcpu_ipsec_t *kernel_pcpu_ipsec_create();

#endif /** KERNEL_PCPU_IPSEC_H_ @}*/
