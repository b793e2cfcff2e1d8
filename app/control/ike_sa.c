/* SPDX-License-Identifier: BSD-3-Clause */

/* SAs of IKE: how they come, what they do, how they end. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../log.h"
#include "ike_priv.h"

/** How long an SA is held back at most, and how often is looked. */
#define HELD_NS GW_NS_PER_S
#define HELD_MS 20
/** How late charon may be in ending an SA that is too old. */
#define CHARON_S 3
/** Lines of SAs at their end, in one round. */
#define MAX_ENDS_LOGGED 10

/* Finding */

/** Has it this SPI's destination, and is it of IKE? */
static bool
is_id(const struct gw_sa *sa, const struct gw_ike_sa_key *id)
{
	struct gw_ike_sa_key key = gw_ike_key_of(&sa->prm);

	return sa->ike != NULL && gw_addr_equal(&key.dst, &id->dst);
}

static struct gw_sa *
find_sa(struct gw *gw, const struct gw_ike_sa_key *id)
{
	struct gw_sa *sa = gw_sa_index_spi(&gw->sa_index, id->spi);

	while (sa != NULL && !is_id(sa, id))
		sa = gw_sa_index_next(sa);
	return sa;
}

static int
no_sa(const struct gw_ike_sa_key *id, struct gw_error *err)
{
	char dst[GW_ADDR_STRLEN];

	gw_error_set(err, NULL, 0, "there is no SA 0x%08x to %s", id->spi,
			gw_addr_text(&id->dst, dst));
	return -ENOENT;
}

/* Adding */

/* Outbound keys of this run: a second SA with one would begin at 1 again, whatever charon says. */

static uint64_t
key_name(struct gw *gw, const struct ipsec_pcpu_sa_params *prm)
{
	uint8_t id[GW_RESERVE_ID_LEN];
	uint64_t name;

	gw_reserve_id(gw->ctx, prm, id);
	memcpy(&name, id, sizeof(name));
	return name;
}

static bool
key_was_used(struct gw *gw, const struct ipsec_pcpu_sa_params *prm)
{
	unsigned int n = RTE_MIN(gw->ike->n_keys, (unsigned int)GW_IKE_MAX_KEYS);
	uint64_t name = key_name(gw, prm);

	for (unsigned int i = 0; i < n; i++)
		if (gw->ike->key[i] == name)
			return true;
	return false;
}

static void
remember_key(struct gw *gw, const struct ipsec_pcpu_sa_params *prm)
{
	if (prm->dir == IPSEC_PCPU_OUT)
		gw->ike->key[gw->ike->n_keys++ % GW_IKE_MAX_KEYS] = key_name(gw, prm);
}

static int
check(struct gw *gw, const struct gw_ike_new_sa *sa, struct gw_error *err)
{
	const char *why = NULL;
	int rc = 0;

	if (ipsec_pcpu_sa_check(&sa->prm, &why) != 0)
		rc = -EINVAL;
	else if (sa->prm.dir == IPSEC_PCPU_OUT && sa->replayed)
		why = "was in use before: it would repeat IVs", rc = -EINVAL;
	else if (sa->prm.dir == IPSEC_PCPU_IN && gw_inbound_has(gw, sa->prm.spi))
		why = "its SPI is that of another inbound SA", rc = -EEXIST;
	else if (gw_sa_key_is_used(gw, &sa->prm))
		why = "its key is that of another SA", rc = -EEXIST;
	else if (sa->prm.dir == IPSEC_PCPU_OUT && key_was_used(gw, &sa->prm))
		why = "its key was used before: it would repeat IVs", rc = -EEXIST;
	if (rc < 0)
		gw_error_set(err, NULL, 0, "SA 0x%08x %s: %s", sa->prm.spi,
				sa->prm.dir == IPSEC_PCPU_IN ? "in" : "out", why);
	return rc;
}

static struct gw_sa *
newest(const struct gw_tunnel *t)
{
	return t->sas[t->n_sas - 1];
}

/** @p but: one that does not count; NULL: none. */
static bool
any_usable(const struct gw_tunnel *t, const struct gw_sa *but)
{
	for (unsigned int i = 0; i < t->n_sas; i++)
		if (t->sas[i] != but && gw_sa_is_usable(t->sas[i]))
			return true;
	return false;
}

/**
 * Let those go that are held back and need not be any more; true: there are others.
 *
 * @param going
 *   An SA that is about to be removed; NULL: none.
 */
static bool
release_held(struct gw *gw, struct gw_tunnel *t, const struct gw_sa *going)
{
	bool usable = any_usable(t, going), any = false, changed = false;
	uint64_t now = gw_now_ns();

	for (unsigned int i = 0; i < t->n_sas; i++) {
		struct gw_sa *sa = t->sas[i];
		struct ipsec_pcpu_sa_stats st = {0};

		if (sa->held == 0)
			continue;
		if (sa->pair != NULL)
			ipsec_pcpu_sa_stats(sa->pair->sa, &st);
		if (usable && st.packets == 0 && now < sa->held) {
			any = true;
			continue;
		}
		sa->held = 0;
		changed = true;
	}
	if (changed && gw_place_outbound(gw, t) < 0)
		GW_LOG(WARNING, "tunnel %s: a worker does not answer", t->cfg->name);
	return any;
}

static void
on_held(void *arg, uint32_t events)
{
	struct gw *gw = arg;
	bool any = false;

	gw->ike->hold_timer = false;
	if (gw_any_late(gw))
		return; /* gw_ike_sas_tick() looks after them when it is back */
	GW_IKE_FOREACH_TUNNEL(gw, t)
		any |= release_held(gw, t, NULL);
	if (any && gw_loop_once(gw->loop, HELD_MS, on_held, gw) == 0)
		gw->ike->hold_timer = true;
}

/**
 * What the peer has asked for it can receive only once our answer is there, which is to leave
 * yet. While there is another SA to send on, this one waits until the peer has used its pair.
 * Not where it renews another: then charon itself has waited.
 */
static void
hold_back(struct gw *gw, const struct gw_tunnel *t, struct gw_config_sa *csa,
		const struct gw_ike_new_sa *sa, uint64_t *held)
{
	*held = 0;
	if (csa->prm.dir != IPSEC_PCPU_OUT || sa->initiator || !any_usable(t, NULL))
		return;
	if (gw_ike_count(t, IPSEC_PCPU_OUT, csa->prm.pcpu) > 0)
		return;
	if (!gw->ike->hold_timer && gw_loop_once(gw->loop, HELD_MS, on_held, gw) != 0)
		return;
	gw->ike->hold_timer = true;
	*held = gw_now_ns() + HELD_NS;
}

static void
set_ends(struct gw_tunnel *t, const struct ipsec_pcpu_sa_params *prm)
{
	struct gw_addr src = {prm->family, prm->saddr}, dst = {prm->family, prm->daddr};

	if (prm->dir == IPSEC_PCPU_OUT)
		gw_ike_tunnel_ends(t, &src, &dst);
	else if (t->cfg->remote.family == 0)
		gw_ike_tunnel_ends(t, &dst, &src);
}

/** It is in the list: what follows from it. */
static void
added(struct gw *gw, struct gw_tunnel *t, struct gw_sa *sa)
{
	struct gw_sa *in = gw_ike_unpaired(t, sa->ike->cpu, sa->ike->initiator);

	gw_ike_note_renewed(t, sa);
	if (sa->prm.dir == IPSEC_PCPU_IN) {
		gw_ike_spi_free(gw->ike, sa->prm.spi);
		return;
	}
	if (in != NULL) {
		sa->pair = in;
		in->pair = sa;
		in->ike->paired = true;
	}
	sa->ike->paired = true;
	gw_ike_acquired(gw, t, sa);
}

static int
install(struct gw *gw, struct gw_tunnel *t, const struct gw_ike_new_sa *sa,
		struct gw_config_sa *csa, struct gw_error *err)
{
	struct gw_sa_ike *info = malloc(sizeof(*info));
	uint64_t held;
	int rc;

	if (info == NULL) {
		gw_error_set(err, NULL, 0, "no memory");
		return -ENOMEM;
	}
	*info = (struct gw_sa_ike){.cpu = sa->prm.pcpu,
			.initiator = sa->initiator,
			/* the one made with it was the last gateway's, and does not come */
			.paired = sa->prm.dir == IPSEC_PCPU_IN && sa->replayed,
			.any_sport = sa->any_sport,
			.soft_bytes = sa->soft_bytes,
			.soft_packets = sa->soft_packets,
			.soft_s = sa->soft_s,
			.hard_s = sa->hard_s};
	memcpy(info->name, sa->name, sizeof(info->name));
	info->by_spi = gw_ike_spi_lands(gw, &csa->prm, &info->spi_worker);
	hold_back(gw, t, csa, sa, &held);
	remember_key(gw, &csa->prm);
	rc = gw_sa_install(gw, t, csa, info, held, err);
	if (rc == -ETIMEDOUT) {
		/* it is there, and gets to that worker */
		GW_LOG(WARNING, "%s", err->text);
		rc = 0;
	}
	return rc;
}

static int
add_to(struct gw *gw, struct gw_tunnel *t, const struct gw_ike_new_sa *sa, struct gw_error *err)
{
	struct gw_addr local = t->cfg->local, remote = t->cfg->remote;
	struct gw_config_sa csa = {.prm = sa->prm};
	int rc = 0;

	set_ends(t, &sa->prm);
	csa.prm.pcpu = gw_ike_choose_worker(gw, t, sa);
	if (sa->choose_sport && sa->prm.dir == IPSEC_PCPU_OUT && sa->prm.encap_dport != 0)
		rc = gw_ike_choose_sport(t, &csa, err);
	if (rc == 0)
		rc = install(gw, t, sa, &csa, err);
	explicit_bzero(&csa, sizeof(csa));
	if (rc < 0) {
		gw_ike_tunnel_ends(t, &local, &remote);
		return rc;
	}
	added(gw, t, newest(t));
	gw->ike->counts.sas_added++;
	return 0;
}

int
gw_ike_sa_add(struct gw *gw, const struct gw_ike_new_sa *sa, struct gw_error *err)
{
	struct gw_ike_sa_key id = gw_ike_key_of(&sa->prm);
	struct gw_sa *there = find_sa(gw, &id);
	struct gw_tunnel *t;
	int rc;

	if (there != NULL && sa->replayed && sa->prm.dir == IPSEC_PCPU_IN &&
			there->prm.dir == IPSEC_PCPU_IN)
		return gw_ike_sa_keep(gw, &id, err);
	if (there != NULL) {
		gw_error_set(err, NULL, 0, "there is an SA 0x%08x already", sa->prm.spi);
		return -EEXIST;
	}
	rc = check(gw, sa, err);
	if (rc < 0)
		return rc;
	t = gw_ike_tunnel_get(gw, sa->reqid, sa->if_id, err);
	if (t == NULL)
		return -ENOSPC;
	rc = add_to(gw, t, sa, err);
	if (rc < 0)
		gw_ike_tunnel_put(gw, t);
	return rc;
}

int
gw_ike_sa_keep(struct gw *gw, const struct gw_ike_sa_key *id, struct gw_error *err)
{
	struct gw_sa *sa = find_sa(gw, id);

	if (sa == NULL || sa->ike->stale)
		return no_sa(id, err);
	gw->ike->counts.sas_replayed += sa->ike->unsaid;
	sa->ike->unsaid = false;
	return 0;
}

/* The end of an SA */

int
gw_ike_sa_take(struct gw *gw, struct gw_tunnel *t, struct gw_sa *sa, struct gw_error *err)
{
	int rc = gw_sa_may_take(gw, err);

	if (rc < 0)
		return rc;
	if (sa->prm.dir == IPSEC_PCPU_OUT) {
		release_held(gw, t, sa);
		gw_ike_lost(gw, t, sa);
	}
	if (!sa->ike->stale)
		gw_ike_fill_gap(gw, t, sa);
	t->ike->loses = true;
	return gw_sa_take(gw, t, sa, err);
}

void
gw_ike_sas_forget(struct gw *gw)
{
	struct gw_error err;

	if (gw_sas_forget(gw, &err) < 0)
		GW_LOG(WARNING, "IKE: %s", err.text);
	GW_IKE_FOREACH_TUNNEL(gw, t) {
		if (!t->ike->loses)
			continue;
		t->ike->loses = false;
		if (gw_ike_tunnel_put(gw, t))
			continue;
		gw_ike_tunnel_ends_refresh(t);
		gw_ike_arm(gw, t);
	}
}

int
gw_ike_sa_del(struct gw *gw, const struct gw_ike_sa_key *id, struct gw_error *err)
{
	struct gw_sa *sa = find_sa(gw, id);
	int rc;

	if (sa == NULL)
		return gw_ike_spi_free(gw->ike, id->spi) ? 0 : no_sa(id, err);
	rc = gw_ike_sa_take(gw, &gw->tunnel[sa->tunnel], sa, err);
	if (rc < 0)
		return rc;
	gw_ike_sas_forget(gw);
	gw->ike->counts.sas_deleted++;
	return 0;
}

/* MOBIKE */

/** Has it the peer's port? An outbound one's source port stays: it is ours to choose. */
static bool
has_sport(const struct gw_sa *sa, const struct gw_ike_moved_sa *to)
{
	if (sa->prm.dir == IPSEC_PCPU_OUT || to->dport == 0)
		return true;
	return sa->ike->any_sport ? to->sport == 0 : to->sport == sa->prm.encap_sport;
}

static bool
is_there(const struct gw_sa *sa, const struct gw_ike_moved_sa *to)
{
	const struct ipsec_pcpu_sa_params *prm = &sa->prm;
	struct gw_addr src = {prm->family, prm->saddr}, dst = {prm->family, prm->daddr};

	return gw_addr_equal(&src, &to->src) && gw_addr_equal(&dst, &to->dst) &&
			prm->encap_dport == to->dport && has_sport(sa, to);
}

int
gw_ike_sa_update(struct gw *gw, const struct gw_ike_moved_sa *to, struct gw_error *err)
{
	struct gw_sa *sa = find_sa(gw, &to->key);
	bool other_port;

	if (sa == NULL)
		return no_sa(&to->key, err);
	if (is_there(sa, to))
		return 0;
	if (sa->prm.dir == IPSEC_PCPU_OUT || !gw_addr_equal(&to->dst, &to->key.dst) ||
			(sa->prm.encap_dport == 0) != (to->dport == 0)) {
		gw_error_set(err, NULL, 0,
				"SA 0x%08x keeps its outer addresses: a new one has to take its place",
				to->key.spi);
		return -ENOTSUP;
	}
	other_port = to->dport != sa->prm.encap_dport;
	sa->prm.saddr = to->src.a;
	sa->prm.encap_sport = to->sport != 0 ? to->sport : to->dport;
	sa->prm.encap_dport = to->dport;
	sa->ike->any_sport = to->dport != 0 && to->sport == 0;
	sa->ike->told.moved = true;
	return other_port ? gw_view_update(gw, err) : gw_view_update_sas(gw, &sa, 1, err);
}

/* What SAs have done */

static void
note_use(struct gw_sa *sa, const struct ipsec_pcpu_sa_stats *st, uint64_t now)
{
	if (st->packets == sa->ike->packets)
		return;
	sa->ike->packets = st->packets;
	sa->ike->used = now;
}

int
gw_ike_sa_query(struct gw *gw, const struct gw_ike_sa_key *id, uint64_t *bytes, uint64_t *packets,
		uint64_t *idle_s, struct gw_error *err)
{
	struct gw_sa *sa = find_sa(gw, id);
	struct ipsec_pcpu_sa_stats st;
	uint64_t now = gw_now_ns();

	if (sa == NULL)
		return no_sa(id, err);
	ipsec_pcpu_sa_stats(sa->sa, &st);
	note_use(sa, &st, now);
	*bytes = st.bytes;
	*packets = st.packets;
	*idle_s = sa->ike->used == 0 ? 0 : (now - sa->ike->used) / GW_NS_PER_S;
	return 0;
}

static bool
reached(uint64_t value, uint64_t limit)
{
	return limit != 0 && value >= limit;
}

static bool
is_soft(const struct gw_sa *sa, const struct ipsec_pcpu_sa_stats *st)
{
	return reached(st->bytes, sa->ike->soft_bytes) ||
			reached(st->packets, sa->ike->soft_packets) ||
			(!sa->prm.esn && st->seq >= GW_SOFT_SEQ_32);
}

static bool
is_hard(const struct gw_sa *sa, const struct ipsec_pcpu_sa_stats *st)
{
	return reached(st->bytes, sa->prm.hard_bytes) ||
			reached(st->packets, sa->prm.hard_packets) ||
			st->drops[IPSEC_PCPU_DROP_EXPIRED] != 0 ||
			st->drops[IPSEC_PCPU_DROP_SEQ_OVERFLOW] != 0;
}

/** SAs come to their ends together, by thousands in the worst case. */
static void
log_end(struct gw *gw, const struct gw_sa *sa, const char *what)
{
	if (gw->ike->ends_logged++ < MAX_ENDS_LOGGED)
		GW_LOG(WARNING, "tunnel %s (%s): SA 0x%08x %s", gw->tunnel[sa->tunnel].cfg->name,
				sa->ike->name, sa->prm.spi, what);
}

/** Each end is said once, as soon as charon is there to hear it. */
static void
report(struct gw *gw, struct gw_sa *sa, const struct ipsec_pcpu_sa_stats *st)
{
	struct gw_ike_sa_key id = gw_ike_key_of(&sa->prm);
	const struct gw_ike_events *ev = &gw->ike->events;

	if (!gw->ike->in_sync || sa->ike->stale)
		return;
	if (!sa->ike->soft_said && is_soft(sa, st) && ev->expire(ev->arg, &id, false)) {
		sa->ike->soft_said = true;
		gw->ike->counts.expires_soft++;
	}
	if (!sa->ike->hard_said && is_hard(sa, st) && ev->expire(ev->arg, &id, true)) {
		sa->ike->hard_said = true;
		gw->ike->counts.expires_hard++;
		log_end(gw, sa, "has reached its hard limit: charon is told");
	}
}

/** What SAs at their end would drop others carry from now on, if there are any. */
static void
take_out_all(struct gw *gw, struct gw_tunnel *t)
{
	bool any = false;

	for (unsigned int i = 0; i < t->n_sas; i++) {
		struct gw_sa *sa = t->sas[i];
		struct ipsec_pcpu_sa_stats st;

		if (sa->ended || sa->prm.dir != IPSEC_PCPU_OUT || !any_usable(t, sa))
			continue;
		ipsec_pcpu_sa_stats(sa->sa, &st);
		sa->ended = is_hard(sa, &st);
		any |= sa->ended;
	}
	if (any && gw_place_outbound(gw, t) < 0)
		GW_LOG(WARNING, "tunnel %s: a worker does not answer", t->cfg->name);
}

/** charon ends what is too old by itself; where it is gone for good, or hangs, somebody has to. */
static bool
outlived(const struct gw *gw, const struct gw_sa *sa, uint64_t now)
{
	uint64_t late_s = gw->ike->connected && !sa->ike->stale ? CHARON_S : 0;
	uint64_t age_s = (now - sa->created) / GW_NS_PER_S;

	return sa->ike->hard_s != 0 && age_s >= late_s && age_s - late_s >= sa->ike->hard_s;
}

static void
tick(struct gw *gw, struct gw_tunnel *t, uint64_t now)
{
	struct gw_error err;

	take_out_all(gw, t);
	release_held(gw, t, NULL);
	for (unsigned int i = t->n_sas; i-- > 0;) {
		struct gw_sa *sa = t->sas[i];
		struct ipsec_pcpu_sa_stats st;

		ipsec_pcpu_sa_stats(sa->sa, &st);
		note_use(sa, &st, now);
		report(gw, sa, &st);
		if (!outlived(gw, sa, now))
			continue;
		log_end(gw, sa, "is removed: it is at the end of its lifetime");
		if (gw_ike_sa_take(gw, t, sa, &err) < 0)
			GW_LOG(ERR, "tunnel %s: %s", t->cfg->name, err.text);
	}
}

void
gw_ike_sas_tick(struct gw *gw)
{
	uint64_t now = gw_now_ns();

	gw->ike->ends_logged = 0;
	GW_IKE_FOREACH_TUNNEL(gw, t)
		tick(gw, t, now);
	if (gw->ike->ends_logged > MAX_ENDS_LOGGED)
		GW_LOG(WARNING, "IKE: %u more SAs at their end",
				gw->ike->ends_logged - MAX_ENDS_LOGGED);
	gw_ike_sas_forget(gw);
}
