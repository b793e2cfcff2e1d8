/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Peers behind a NAT that has given them another address or port (RFC 7296 2.23, RFC 3948): what
 * workers have noted of authentic packets is compared with what an SA has, and charon is told. It
 * decides; here nothing is changed, whatever a packet says.
 */

#include <netinet/in.h>
#include <string.h>

#include "ike_priv.h"

/** Of one SA charon is told at most so often. */
#define TOLD_NS GW_NS_PER_S

/**
 * Is it an SA whose packets are to come from one place? One for any port (per_cpu_sas = encap)
 * says nothing of IKE's own. Without a window a packet that somebody has recorded is authentic
 * once more: it must not move anything.
 */
static bool
is_bound(const struct gw_sa *sa)
{
	return sa->prm.dir == IPSEC_PCPU_IN && sa->prm.encap_dport != 0 && !sa->ike->any_sport &&
			sa->prm.replay_window != 0;
}

/** Did the packet come to where the SA's are to go? It was found by its SPI alone. */
static bool
is_to(const struct ipsec_pcpu_sa_params *prm, const struct ipsec_pcpu_tuple *outer)
{
	struct gw_addr own = {prm->family, prm->daddr}, dst = {outer->family, outer->daddr};

	return gw_addr_equal(&own, &dst) && prm->encap_dport == outer->dport;
}

/** Can packets be sent there? The source of the packet itself nobody has looked at. */
static bool
is_reachable(const struct gw_addr *addr, uint16_t port)
{
	const uint8_t *b = (const uint8_t *)&addr->a;

	if (port == 0)
		return false;
	if (addr->family == AF_INET)
		return b[0] != 0 && b[0] != 127 && b[0] < 224;
	/* beginning with 0: unspecified, loopback, IPv4 in IPv6 */
	return b[0] != 0 && b[0] != 0xff;
}

/** Is it another place than charon believes? */
static bool
is_news(const struct gw_sa *sa, const struct gw_addr *addr, uint16_t port)
{
	const struct ipsec_pcpu_sa_params *prm = &sa->prm;
	const struct gw_ike_told *told = &sa->ike->told;
	struct gw_addr own = {prm->family, prm->saddr};

	/*
	 * An SA that cannot be moved is put back by charon until it is renewed, and charon still
	 * is where it was told: so what was said counts, not only what the SA has.
	 */
	if (told->addr.family != 0 && (!gw_addr_equal(&told->addr, addr) || told->port != port))
		return true;
	if (told->addr.family != 0 && !told->moved)
		return false;
	return !gw_addr_equal(&own, addr) || prm->encap_sport != port;
}

static void
tell(struct gw *gw, struct gw_sa *sa, const struct gw_addr *addr, uint16_t port)
{
	struct gw_ike_sa_key key = gw_ike_key_of(&sa->prm);
	struct gw_ike_told *told = &sa->ike->told;
	const struct gw_ike_events *ev = &gw->ike->events;
	uint64_t now = gw_now_ns();

	if (told->addr.family != 0 && now - told->at < TOLD_NS)
		return; /* if it is still so then, a later packet will say it */
	if (!ev->mapping(ev->arg, &key, addr, port))
		return;
	*told = (struct gw_ike_told){.addr = *addr, .port = port, .at = now};
	gw->ike->counts.mappings++;
}

void
gw_ike_saw(struct gw *gw, struct gw_sa *sa, const struct ipsec_pcpu_tuple *outer)
{
	struct gw_addr from = {outer->family, outer->saddr};

	/* before charon has said all that it has it may not know the SA, or have it elsewhere */
	if (!gw->ike->in_sync || sa->ike->stale)
		return;
	if (!is_bound(sa) || !is_to(&sa->prm, outer) || !is_reachable(&from, outer->sport))
		return;
	if (is_news(sa, &from, outer->sport))
		tell(gw, sa, &from, outer->sport);
}
