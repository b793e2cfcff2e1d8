/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef WORKERS_PEER_H
#define WORKERS_PEER_H

/* The other gateway, on the library alone: SAs that mirror those of the gateway under test. */

#include <stdbool.h>
#include <stdint.h>

#include <ipsec_pcpu.h>

#include <rte_mbuf.h>

#define PEER_MAX_SAS 192
#define PEER_FALLBACK 99 /* as number of a pair */

/** The addresses 192.0.2.1 of the gateway, 192.0.2.2 of the peer. */
#define GW_ADDR RTE_BE32(0xc0000201)
#define PEER_ADDR RTE_BE32(0xc0000202)

struct peer_sa {
	uint32_t spi;
	unsigned int pair;
	struct ipsec_pcpu_sa *sa;
	enum ipsec_pcpu_dir dir; /* as the peer sees it */
	uint64_t packets;
	uint32_t last_seq; /* inbound: of the last packet */
	int queue; /* inbound: the gateway's transmit queue its packets came from; -1: none */
	uint16_t sport; /* inbound: of all its packets; 0: none came yet */
};

struct peer {
	struct ipsec_pcpu_ctx *ctx;
	struct peer_sa sa[PEER_MAX_SAS];
	unsigned int n;
	bool unordered; /* packets may overtake each other, and come from any queue */
};

/**
 * The UDP source ports of the gateway's inbound SAs. 0: 49152 and the number of the pair;
 * else random ones that follow from the SPI and this.
 */
extern uint32_t peer_ports;

/** SAs that are made from now on are plain ESP, without UDP. */
extern bool peer_plain;

/** 0: the peer sends from the ports that the gateway was told; else from these. */
extern uint32_t peer_own_ports;

/** The port of an SPI, by one of the two above. */
uint16_t peer_sport(uint32_t spi, uint32_t ports);

/** The parameters of an SA as the gateway has it; its key follows from the SPI. */
void peer_sa_params(struct ipsec_pcpu_sa_params *prm, enum ipsec_pcpu_dir dir, uint32_t spi,
		unsigned int pair);

void peer_open(struct peer *peer);
void peer_close(struct peer *peer);

/** The mirror of an SA that the gateway has in direction @p dir. */
struct peer_sa *peer_add(
		struct peer *peer, enum ipsec_pcpu_dir dir, uint32_t spi, unsigned int pair);

/** From now on a packet with this SPI is one that should not come. Others may move in memory. */
void peer_del(struct peer *peer, uint32_t spi);

/** NULL where there is none. */
struct peer_sa *peer_find(struct peer *peer, uint32_t spi);

/** Encrypt a packet for the gateway. */
void peer_seal(struct peer *peer, struct peer_sa *sa, struct rte_mbuf *m);

/**
 * Decrypt a packet from the gateway, from its outer IP header on, and assert
 * that it is right: its SA known, sequence numbers growing, authentic.
 *
 * @return
 *   NULL where it is no ESP packet to the peer; then it is as it was.
 */
struct peer_sa *peer_unseal(struct peer *peer, struct rte_mbuf *m, unsigned int queue);

#endif /* WORKERS_PEER_H */
