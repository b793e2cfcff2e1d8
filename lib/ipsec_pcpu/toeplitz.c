/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The Toeplitz hash of RSS: for each bit of the input that is set, the 32 bits
 * of the key that start at the same place are added (exclusive or).
 */

#include <string.h>
#include <sys/socket.h>

#include "ipsec_pcpu_steer.h"

uint32_t
ipsec_pcpu_toeplitz(const uint8_t *key, const uint8_t *data, size_t len)
{
	uint32_t hash = 0;

	for (size_t i = 0; i < len; i++) {
		uint64_t k = (uint64_t)key[i] << 32 | (uint32_t)key[i + 1] << 24 |
				key[i + 2] << 16 | key[i + 3] << 8 | key[i + 4];

		for (unsigned int bit = 0; bit < 8; bit++)
			if (data[i] & 0x80 >> bit)
				hash ^= (uint32_t)(k >> (8 - bit));
	}
	return hash;
}

uint32_t
ipsec_pcpu_tuple_hash(const uint8_t *key, const struct ipsec_pcpu_tuple *tuple)
{
	size_t addr_len = tuple->family == AF_INET ? sizeof(tuple->saddr.ip4) : 16;
	rte_be16_t sport = rte_cpu_to_be_16(tuple->sport);
	rte_be16_t dport = rte_cpu_to_be_16(tuple->dport);
	uint8_t data[16 + 16 + 2 + 2];

	memcpy(data, &tuple->saddr, addr_len);
	memcpy(data + addr_len, &tuple->daddr, addr_len);
	memcpy(data + 2 * addr_len, &sport, sizeof(sport));
	memcpy(data + 2 * addr_len + sizeof(sport), &dport, sizeof(dport));
	return ipsec_pcpu_toeplitz(key, data, 2 * addr_len + sizeof(sport) + sizeof(dport));
}
