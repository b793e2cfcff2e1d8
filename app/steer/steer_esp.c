/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Plain ESP on NICs that hash its SPI (RTE_ETH_RSS_ESP). Whether a NIC does, and whether it takes
 * the addresses in as well, flags and drivers say in too many ways: so it is learned from hashes
 * of authentic packets. Each is 32 bits that fit or do not; once those of two SPIs in a row have
 * fitted by the key that was read, SPIs can be chosen for a queue.
 */

#include <string.h>
#include <sys/socket.h>

#include "steer.h"

/* A packet with options or in fragments may be hashed otherwise: one in four may be such a one. */
#define DOUBT_STEP 3
#define DOUBT_MAX 8

static const struct gw_steer_esp *
known_of(const struct gw_steer_rss_state *rss, uint8_t family)
{
	return family == AF_INET ? &rss->esp4 : &rss->esp6;
}

static uint32_t
hash_by(const struct gw_steer_rss_state *rss, enum gw_steer_esp_by by,
		const struct ipsec_pcpu_tuple *tuple, uint32_t spi)
{
	return ipsec_pcpu_esp_hash(rss->key, by == GW_STEER_ESP_ADDRS ? tuple : NULL, spi);
}

bool
gw_steer_esp_hash(const struct gw_steer_rss_state *rss, const struct ipsec_pcpu_tuple *tuple,
		uint32_t spi, uint32_t *hash)
{
	enum gw_steer_esp_by by = known_of(rss, tuple->family)->by;

	if (!rss->has_key || tuple->dport != 0 || by == GW_STEER_ESP_UNKNOWN)
		return false;
	*hash = hash_by(rss, by, tuple, spi);
	return true;
}

static enum gw_steer_esp_by
what_fits(const struct gw_steer_rss_state *rss, const struct gw_steer_seen *seen, uint32_t spi)
{
	if (hash_by(rss, GW_STEER_ESP_SPI, &seen->tuple, spi) == seen->hash)
		return GW_STEER_ESP_SPI;
	if (hash_by(rss, GW_STEER_ESP_ADDRS, &seen->tuple, spi) == seen->hash)
		return GW_STEER_ESP_ADDRS;
	return GW_STEER_ESP_UNKNOWN;
}

/** It is known already, and this packet fits or does not. True: it is not known any more. */
static bool
doubt(struct gw_steer_esp *esp, bool fits)
{
	if (fits) {
		esp->doubt -= esp->doubt > 0;
		return false;
	}
	esp->doubt += DOUBT_STEP;
	if (esp->doubt <= DOUBT_MAX)
		return false;
	*esp = (struct gw_steer_esp){.by = GW_STEER_ESP_UNKNOWN};
	return true;
}

bool
gw_steer_esp_saw(struct gw_steer_rss_state *rss, const struct gw_steer_seen *seen, uint32_t spi)
{
	struct gw_steer_esp *esp = seen->tuple.family == AF_INET ? &rss->esp4 : &rss->esp6;
	enum gw_steer_esp_by by;

	if (!rss->has_key || rss->lies || !seen->has_hash || seen->tuple.dport != 0)
		return false;
	by = what_fits(rss, seen, spi);
	if (esp->by != GW_STEER_ESP_UNKNOWN)
		return doubt(esp, by == esp->by);
	if (by != GW_STEER_ESP_UNKNOWN && by == esp->maybe && spi != esp->spi)
		esp->by = by;
	esp->maybe = by;
	esp->spi = spi;
	return esp->by != GW_STEER_ESP_UNKNOWN;
}

void
gw_steer_esp_forget(struct gw_steer_rss_state *rss)
{
	memset(&rss->esp4, 0, sizeof(rss->esp4));
	memset(&rss->esp6, 0, sizeof(rss->esp6));
}

/**
 * Does RSS say where plain ESP goes, and is that to be its owner? With fewer queues than workers
 * it is the hand-off that spreads the load.
 */
static bool
is_by_rss(const struct gw_steer_port *sp)
{
	return (sp->ops == &gw_steer_rss || sp->ops == &gw_steer_soft) && sp->rss.has_key &&
			sp->rss.has_reta && !sp->rss.lies && sp->port->n_rxq >= sp->port->n_workers;
}

bool
gw_steer_esp_is_open(const struct gw_steer_port *sp, uint8_t family)
{
	return is_by_rss(sp) && known_of(&sp->rss, family)->by == GW_STEER_ESP_UNKNOWN;
}

bool
gw_steer_esp_queue(const struct gw_steer_port *sp, const struct ipsec_pcpu_tuple *tuple,
		uint32_t spi, uint16_t *queue)
{
	uint32_t hash;

	if (!is_by_rss(sp) || !gw_steer_esp_hash(&sp->rss, tuple, spi, &hash))
		return false;
	*queue = sp->rss.reta[hash & (sp->rss.reta_size - 1u)];
	return true;
}

uint32_t
gw_steer_esp_find(const struct gw_steer_port *sp, const struct ipsec_pcpu_tuple *tuple,
		uint16_t queue, const struct ipsec_pcpu_range *range)
{
	enum gw_steer_esp_by by = known_of(&sp->rss, tuple->family)->by;
	struct ipsec_pcpu_rss rss = {.reta_size = sp->rss.reta_size,
			.n_queues = sp->port->n_rxq,
			.reta = sp->rss.reta};

	if (!is_by_rss(sp) || tuple->dport != 0 || by == GW_STEER_ESP_UNKNOWN)
		return 0;
	memcpy(rss.key, sp->rss.key, sizeof(rss.key));
	return ipsec_pcpu_spi_find(&rss, by == GW_STEER_ESP_ADDRS ? tuple : NULL, queue, range);
}
