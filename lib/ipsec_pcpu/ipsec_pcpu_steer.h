/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef IPSEC_PCPU_STEER_H
#define IPSEC_PCPU_STEER_H

/**
 * @file ipsec_pcpu_steer.h
 *
 * Which queue will this tuple land on? The Toeplitz hash of RSS. Pure; any
 * thread.
 */

#include <stddef.h>
#include <stdint.h>

#include <rte_byteorder.h>

#include <ipsec_pcpu.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

#define IPSEC_PCPU_RSS_KEY_LEN 40

/** What RSS hashes of a TCP or UDP packet, in the order in which it does. */
struct ipsec_pcpu_tuple {
	uint8_t family; /**< AF_INET or AF_INET6. */
	union ipsec_pcpu_addr saddr;
	union ipsec_pcpu_addr daddr;
	uint16_t sport;
	uint16_t dport;
};

/**
 * Toeplitz hash.
 *
 * @param key
 *   At least @p len + 4 bytes.
 * @param data
 *   @p len bytes in wire order.
 */
uint32_t ipsec_pcpu_toeplitz(const uint8_t *key, const uint8_t *data, size_t len);

/**
 * The RSS hash of a tuple with addresses and ports (hash types
 * NONFRAG_IPV4_UDP, NONFRAG_IPV6_UDP and the like for TCP).
 *
 * @param key
 *   IPSEC_PCPU_RSS_KEY_LEN bytes.
 */
uint32_t ipsec_pcpu_tuple_hash(const uint8_t *key, const struct ipsec_pcpu_tuple *tuple);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif /* IPSEC_PCPU_STEER_H */
