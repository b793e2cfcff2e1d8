/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What charon has and what messages have of it.
 */

/**
 * @defgroup kernel_pcpu_msg kernel_pcpu_msg
 * @{ @ingroup kernel_pcpu
 */

#ifndef KERNEL_PCPU_MSG_H_
#define KERNEL_PCPU_MSG_H_

#include <library.h>
#include <networking/host.h>
#include <selectors/traffic_selector.h>

#include "ike.h"

/**
 * Fill in an address with its port.
 *
 * @param addr		address in a message
 * @param host		what it is to be
 */
void kernel_pcpu_put_addr(struct ike_addr *addr, host_t *host);

/**
 * Is an address in a message one?
 *
 * @param addr		address in a message
 * @return			FALSE if it is of no known family
 */
bool kernel_pcpu_is_addr(struct ike_addr *addr);

/**
 * Create a host of an address.
 *
 * @param addr		address in a message, that is one
 * @return			host, with its port
 */
host_t *kernel_pcpu_get_host(struct ike_addr *addr);

/**
 * Fill in a selector.
 *
 * @param to		selector in a message
 * @param ts		what it is to be
 * @return			FALSE if it is none of addresses
 */
bool kernel_pcpu_put_ts(struct ike_ts *to, traffic_selector_t *ts);

/**
 * Create a selector of a packet's address and port.
 *
 * @param addr		address in a message, that is one
 * @param proto		IP protocol of the packet
 * @return			selector of that alone
 */
traffic_selector_t *kernel_pcpu_get_ts(struct ike_addr *addr, uint8_t proto);

/**
 * Is it the connection that failed, not the request?
 *
 * @param status	how a request ended
 * @return			TRUE if the gateway may not even have got it
 */
bool kernel_pcpu_is_broken(int status);

/**
 * What charon is to know of a request's end.
 *
 * @param status	how a request ended
 * @return			in charon's words
 */
status_t kernel_pcpu_to_status(int status);

#endif /** KERNEL_PCPU_MSG_H_ @}*/
