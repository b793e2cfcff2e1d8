/* SPDX-License-Identifier: BSD-3-Clause */

/* What an ENA port needs while it runs: its watchdog, and what can be told of its state. */

#include "ena_tweaks.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include <rte_timer.h>

/** The BAR with the device's own memory, into which LLQ writes headers. */
#define ENA_MEM_BAR 2

int
ena_watchdog_init(void)
{
	int rc = rte_timer_subsystem_init();

	return rc == -EALREADY ? 0 : rc;
}

void
ena_watchdog_tick(void)
{
	rte_timer_manage();
}

void
ena_watchdog_fini(void)
{
	rte_timer_subsystem_finalize();
}

/*
 * A device that takes no key lets all calls succeed and hashes with one of its
 * own. What tells is that there is none to read.
 */
const char *
ena_rss_key_note(uint16_t port_id, const uint8_t key[ENA_RSS_KEY_LEN])
{
	uint8_t has[ENA_RSS_KEY_LEN] = {0};
	struct rte_eth_rss_conf conf = {.rss_key = has, .rss_key_len = sizeof(has)};

	if (rte_eth_dev_rss_hash_conf_get(port_id, &conf) < 0)
		return "takes no RSS key, it makes its own at each start";
	if (memcmp(has, key, sizeof(has)) != 0)
		return "has another RSS key than it was given";
	return NULL;
}

/* Write combining */

/** The line of a BAR: "0xSTART 0xEND 0xFLAGS". */
static bool
read_bar(FILE *resource, unsigned int bar, uint64_t *start, uint64_t *end)
{
	char line[128];

	for (unsigned int i = 0; fgets(line, sizeof(line), resource) != NULL; i++)
		if (i == bar)
			return sscanf(line, "%" SCNx64 " %" SCNx64, start, end) == 2 && *start != 0;
	return false;
}

/** The first "0xA-0xB" of a line, B being behind its end. */
static bool
find_range(const char *line, uint64_t *start, uint64_t *end)
{
	const char *at = strstr(line, "0x");

	return at != NULL && sscanf(at, "%" SCNx64 "-%" SCNx64, start, end) == 2;
}

enum ena_wc
ena_wc_check(FILE *resource, FILE *memtypes)
{
	uint64_t bar = 0, bar_end = 0, start, end;
	enum ena_wc found = ENA_WC_UNKNOWN;
	char line[256];

	if (!read_bar(resource, ENA_MEM_BAR, &bar, &bar_end))
		return ENA_WC_NO_BAR;
	while (fgets(line, sizeof(line), memtypes) != NULL) {
		if (!find_range(line, &start, &end) || start > bar_end || end <= bar)
			continue;
		if (strstr(line, "write-combining") != NULL)
			return ENA_WC_YES;
		found = ENA_WC_NO;
	}
	return found;
}

const char *
ena_wc_advice(enum ena_wc wc)
{
	switch (wc) {
	case ENA_WC_NO:
		return "its memory is mapped without write combining, so low latency queues are slow: load igb_uio with wc_activate=1, or a vfio-pci that maps it so (docs/ena.md)";
	case ENA_WC_NO_BAR:
		return "has no memory for low latency queues: expect less than the instance's packet rate; newer instance types have it (docs/ena.md)";
	default:
		return NULL;
	}
}
