/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef TAP_PROGRAM_H
#define TAP_PROGRAM_H

/*
 * The eBPF program that chooses a TAP's queue, and its map, ESP SPI to queue. Made by hand:
 * it is short, and so needs neither clang nor libbpf, at build or at run time.
 */

#include <stdbool.h>
#include <stdint.h>

#include <rte_byteorder.h>

/** SAs that fit into a map. */
#define GW_TAP_MAP_SIZE 65536

struct gw_tap_key {
	rte_be32_t spi;
	rte_be16_t dport; /* UDP's; 0: plain ESP */
	uint16_t zero;
};

/** An empty map: its file descriptor, or -errno. */
int gw_tap_map_create(void);

/** 0, or -errno: -EEXIST: the key is there already; -ENOSPC: the map is full. */
int gw_tap_map_add(int map, const struct gw_tap_key *key, uint32_t queue);

/** At any time each lookup finds the old queue or the new one. 0 or -errno. */
int gw_tap_map_change(int map, const struct gw_tap_key *key, uint32_t queue);
void gw_tap_map_del(int map, const struct gw_tap_key *key);

/**
 * The program, for a TAP of @p n_queues: a packet whose SPI and UDP port are in @p map goes
 * to the queue there, all others are spread by addresses and ports (or SPI).
 *
 * @return
 *   Its file descriptor, or -errno.
 */
int gw_tap_program_load(int map, unsigned int n_queues);

#endif /* TAP_PROGRAM_H */
