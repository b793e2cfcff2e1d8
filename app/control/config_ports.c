/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * UDP source ports that are left to us. The peer's NIC decides by them which of its CPUs gets
 * the packets of an SA, so they are chosen once and stay for as long as the SA lives (R14).
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config_parse.h"

#define N_PORTS (GW_MAX_AUTO_SPORT - GW_MIN_AUTO_SPORT + 1)

/* What is known of one tunnel while its ports are chosen. */
struct chosen {
	struct gw_port_set taken;
	uint16_t of_pcpu[UINT16_MAX + 1]; /* source port; 0: none yet */
};

void
gw_port_set_add(struct gw_port_set *set, uint16_t port)
{
	set->bits[port / 64] |= UINT64_C(1) << (port % 64);
}

static bool
has(const struct gw_port_set *set, uint16_t port)
{
	return (set->bits[port / 64] >> (port % 64) & 1) != 0;
}

int
cfg_done_peer_rss(struct cfg_parse *p, const config_setting_t *s, void *elem)
{
	const struct gw_config_peer_rss *peer = elem;
	const struct ipsec_pcpu_rss *rss = &peer->rss;

	if (!rte_is_power_of_2(rss->reta_size))
		return cfg_fail(p, s, "peer_rss: reta_size %u is not a power of 2", rss->reta_size);
	if (rss->n_queues > rss->reta_size)
		return cfg_fail(p, s,
				"peer_rss: %u queues, but a table of %u entries leads to %u at most",
				rss->n_queues, rss->reta_size, rss->reta_size);
	return 0;
}

static void
outer_tuple(const struct ipsec_pcpu_sa_params *prm, struct ipsec_pcpu_tuple *tuple)
{
	*tuple = (struct ipsec_pcpu_tuple){
			.family = prm->family,
			.saddr = prm->saddr,
			.daddr = prm->daddr,
			.sport = prm->encap_sport,
			.dport = prm->encap_dport,
	};
}

bool
gw_config_peer_queue(const struct gw_config_tunnel *t, const struct ipsec_pcpu_sa_params *prm,
		uint16_t *queue)
{
	const struct ipsec_pcpu_rss *rss = &t->peer_rss.rss;
	struct ipsec_pcpu_tuple tuple;

	if (rss->n_queues == 0 || prm->dir != IPSEC_PCPU_OUT || prm->encap_dport == 0)
		return false;
	outer_tuple(prm, &tuple);
	*queue = ipsec_pcpu_rss_queue(rss, ipsec_pcpu_tuple_hash(rss->key, &tuple));
	return true;
}

/* Where the search begins: SPIs that follow each other begin far apart. */
static uint16_t
first_port(uint32_t spi)
{
	return GW_MIN_AUTO_SPORT + (spi * UINT32_C(2654435761) >> 16) % N_PORTS;
}

/* The next port from @p start on, going round, that would do; 0: none would. */
static uint16_t
next_port(const struct gw_config_tunnel *t, const struct ipsec_pcpu_sa_params *prm, uint32_t start)
{
	const struct ipsec_pcpu_rss *rss = &t->peer_rss.rss;
	struct ipsec_pcpu_range range = {start, GW_MIN_AUTO_SPORT, GW_MAX_AUTO_SPORT};
	struct ipsec_pcpu_tuple tuple;

	if (rss->n_queues == 0)
		return start <= GW_MAX_AUTO_SPORT ? start : GW_MIN_AUTO_SPORT;
	outer_tuple(prm, &tuple);
	return ipsec_pcpu_sport_find(rss, &tuple, prm->pcpu % rss->n_queues, &range);
}

static int
refuse(const struct gw_config_tunnel *t, const struct gw_config_sa *sa, unsigned int n_taken,
		struct gw_error *err)
{
	const struct ipsec_pcpu_rss *rss = &t->peer_rss.rss;
	char what[200] = "", why[200];

	if (rss->n_queues != 0)
		snprintf(what, sizeof(what),
				" that lands on queue %u of the peer (pcpu %u modulo %u queues)",
				sa->prm.pcpu % rss->n_queues, sa->prm.pcpu, rss->n_queues);
	if (n_taken > 0)
		snprintf(why, sizeof(why),
				"all %u are those of other SAs of the tunnel: remove some SAs",
				n_taken);
	else
		snprintf(why, sizeof(why),
				"with its RSS key source ports do not lead to all of its queues: give "
				"the peer another key (Linux: ethtool -X), or this SA a number as sport");
	gw_error_set(err, sa->file, sa->line,
			"tunnel \"%s\": SA 0x%08x out: sport \"auto\": no port from %d to %d is left%s: %s",
			t->name, sa->prm.spi, GW_MIN_AUTO_SPORT, GW_MAX_AUTO_SPORT, what, why);
	return -ENOSPC;
}

int
gw_config_choose_sport(const struct gw_config_tunnel *t, const struct gw_port_set *taken,
		struct gw_config_sa *sa, struct gw_error *err)
{
	uint16_t first, port;
	unsigned int n = 0;

	sa->auto_sport = true;
	if (sa->prm.pcpu == IPSEC_PCPU_ANY) {
		sa->prm.encap_sport = GW_ESP_PORT;
		return 0;
	}
	first = port = next_port(t, &sa->prm, first_port(sa->prm.spi));
	while (port != 0 && has(taken, port)) {
		n++;
		port = next_port(t, &sa->prm, (uint32_t)port + 1);
		if (port == first)
			port = 0; /* once round */
	}
	if (port == 0)
		return refuse(t, sa, n, err);
	sa->prm.encap_sport = port;
	return 0;
}

static void
note_port(struct chosen *c, const struct ipsec_pcpu_sa_params *prm)
{
	gw_port_set_add(&c->taken, prm->encap_sport);
	if (prm->pcpu <= UINT16_MAX)
		c->of_pcpu[prm->pcpu] = prm->encap_sport;
}

/* Numbers that the file gives are not to be given once more, wherever they stand in it. */
static void
note_given(const struct gw_config_tunnel *t, struct chosen *c)
{
	const struct gw_config_sa *sa;

	memset(c, 0, sizeof(*c));
	for (unsigned int i = 0; i < t->n_sas; i++) {
		sa = &t->sas[i];
		if (sa->prm.dir == IPSEC_PCPU_OUT && !sa->auto_sport && sa->prm.encap_sport != 0)
			note_port(c, &sa->prm);
	}
}

static int
choose_for_tunnel(struct gw_config_tunnel *t, struct chosen *c, struct gw_error *err)
{
	struct gw_config_sa *sa;
	int rc;

	note_given(t, c);
	for (unsigned int i = 0; i < t->n_sas; i++) {
		sa = &t->sas[i];
		if (!sa->auto_sport)
			continue;
		/* of two SAs for one worker the second is the successor of the first (R5) */
		if (sa->prm.pcpu <= UINT16_MAX && c->of_pcpu[sa->prm.pcpu] != 0) {
			sa->prm.encap_sport = c->of_pcpu[sa->prm.pcpu];
			continue;
		}
		rc = gw_config_choose_sport(t, &c->taken, sa, err);
		if (rc != 0)
			return rc;
		note_port(c, &sa->prm);
	}
	return 0;
}

int
cfg_choose_sports(struct gw_config *cfg, struct gw_error *err)
{
	struct chosen *c = NULL;
	int rc = 0;

	for (unsigned int i = 0; i < cfg->n_tunnels && rc == 0; i++) {
		struct gw_config_tunnel *t = &cfg->tunnels[i];

		for (unsigned int k = 0; k < t->n_sas; k++)
			t->auto_sports |= t->sas[k].auto_sport;
		if (!t->auto_sports)
			continue;
		if (c == NULL)
			c = malloc(sizeof(*c));
		rc = c != NULL ? choose_for_tunnel(t, c, err) : cfg_no_memory(err);
	}
	free(c);
	return rc;
}
