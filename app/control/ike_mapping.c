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

/** A place in the network that a peer is at. */
struct place {
	struct gw_addr addr;
	uint16_t port; /* of UDP, host order */
};

static bool
is_same(const struct place *a, const struct place *b)
{
	return a->port == b->port && gw_addr_equal(&a->addr, &b->addr);
}

/**
 * May an SA be moved by its packets? Without a window one that somebody has recorded is authentic
 * once more: it must not move anything.
 */
static bool
is_movable(const struct gw_sa *sa)
{
	return sa->prm.dir == IPSEC_PCPU_IN && sa->prm.encap_dport != 0 &&
			sa->prm.replay_window != 0;
}

/**
 * Where an SA's packets are to come from. charon takes those of SAs for a CPU from any port, as
 * it does not know whether the peer gives each a port of its own: then it is IKE's place, to
 * which the SA goes that we send on. False: it is not known.
 */
static bool
place_of(const struct gw_sa *sa, struct place *own)
{
	if (!sa->ike->any_sport)
		*own = (struct place){{sa->prm.family, sa->prm.saddr}, sa->prm.encap_sport};
	else if (sa->pair != NULL)
		*own = (struct place){{sa->pair->prm.family, sa->pair->prm.daddr},
				sa->pair->prm.encap_dport};
	else
		return false;
	return true;
}

/**
 * Do packets of an SA share IKE's way, so that where they come from is where IKE is to be moved
 * to? Of one for any port the first packet tells, once and for all: if it has a port of its own,
 * it has a mapping of its own as well (per_cpu_sas = encap).
 */
static bool
shares_way(struct gw_sa *sa, const struct place *own, const struct place *from)
{
	if (!sa->ike->any_sport)
		return true;
	if (sa->ike->way == GW_IKE_WAY_UNKNOWN)
		sa->ike->way = is_same(own, from) ? GW_IKE_WAY_SHARED : GW_IKE_WAY_OWN;
	return sa->ike->way == GW_IKE_WAY_SHARED;
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
is_reachable(const struct place *p)
{
	const uint8_t *b = (const uint8_t *)&p->addr.a;

	if (p->port == 0)
		return false;
	if (p->addr.family == AF_INET)
		return b[0] != 0 && b[0] != 127 && b[0] < 224;
	/* beginning with 0: unspecified, loopback, IPv4 in IPv6 */
	return b[0] != 0 && b[0] != 0xff;
}

/** Is it another place than charon believes? */
static bool
is_news(const struct gw_ike_told *told, const struct place *own, const struct place *from)
{
	const struct place last = {told->addr, told->port};

	/*
	 * An SA that cannot be moved is put back by charon until it is renewed, and charon still
	 * is where it was told: so what was said counts, not only what the SA has.
	 */
	if (told->addr.family != 0 && !is_same(&last, from))
		return true;
	if (told->addr.family != 0 && !told->moved)
		return false;
	return !is_same(own, from);
}

static void
tell(struct gw *gw, struct gw_sa *sa, const struct place *from)
{
	struct gw_ike_sa_key key = gw_ike_key_of(&sa->prm);
	struct gw_ike_told *told = &sa->ike->told;
	const struct gw_ike_events *ev = &gw->ike->events;
	uint64_t now = gw_now_ns();

	if (told->addr.family != 0 && now - told->at < TOLD_NS)
		return; /* if it is still so then, a later packet will say it */
	if (!ev->mapping(ev->arg, &key, &from->addr, from->port))
		return;
	*told = (struct gw_ike_told){.addr = from->addr, .port = from->port, .at = now};
	gw->ike->counts.mappings++;
}

void
gw_ike_saw(struct gw *gw, struct gw_sa *sa, const struct ipsec_pcpu_tuple *outer)
{
	const struct place from = {{outer->family, outer->saddr}, outer->sport};
	struct place own;

	/* before charon has said all that it has it may not know the SA, or have it elsewhere */
	if (!gw->ike->in_sync || sa->ike->stale)
		return;
	if (!is_movable(sa) || !is_to(&sa->prm, outer) || !is_reachable(&from))
		return;
	if (!place_of(sa, &own) || !shares_way(sa, &own, &from))
		return;
	if (is_news(&sa->ike->told, &own, &from))
		tell(gw, sa, &from);
}
