/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Sequence numbers that survive a restart: outbound ones are reserved in the
 * state file ahead of use, so that no (key, IV) pair leaves twice; inbound ones
 * are noted, so that old packets stay old and the upper half of an ESN is known.
 * Of IKE's SAs the inbound ones are noted: charon brings them back to the next run.
 */

#include <errno.h>
#include <string.h>

#include "../log.h"
#include "control_priv.h"

/**
 * Inbound numbers are written down when one has grown by this much since, but at
 * most once a second, so that fast SAs do not keep the disk busy; at the latest
 * after ten. After a crash, what came since the last note is taken once more.
 */
#define NOTE_IN_PACKETS (UINT64_C(1) << 20)
#define NOTE_IN_MIN_NS UINT64_C(1000000000)
#define NOTE_IN_MAX_NS UINT64_C(10000000000)

/** How much to reserve: seconds of traffic, but little at the start of a run (see reserve.h). */
static uint64_t
chunk(const struct gw_sa *sa, bool first)
{
	uint64_t four_seconds = sa->pps * 4;

	if (!sa->prm.esn)
		return RTE_MAX(GW_RESERVE_32, four_seconds);
	return first ? GW_RESERVE_FIRST : GW_RESERVE_ESN;
}

static int
reserve(struct gw *gw, struct gw_sa *sa, uint64_t seq, enum gw_reserve_kind kind)
{
	struct gw_reserve_key key = {.seq = seq, .kind = kind, .esn = sa->prm.esn};

	memcpy(key.id, sa->reserve_id, sizeof(key.id));
	return gw_reserve_set(gw->reserve, &key);
}

/** A key used in both directions would meet its own IVs: the peer began at 1 as well. */
static int
refuse_direction(const struct gw *gw, const struct gw_sa *sa, struct gw_error *err)
{
	bool out = sa->prm.dir == IPSEC_PCPU_OUT;

	gw_error_set(err, NULL, 0,
			"tunnel \"%s\": SA 0x%08x %s: this key was used in the other direction, "
			"%s: make new keys at both ends",
			gw->tunnel[sa->tunnel].cfg->name, sa->prm.spi, out ? "out" : "in",
			out ? "by the peer" : "by this gateway");
	return -EEXIST;
}

int
gw_sa_reserve(struct gw *gw, struct gw_sa *sa, struct gw_error *err)
{
	uint64_t max = sa->prm.esn ? UINT64_MAX : UINT32_MAX;
	bool out = sa->prm.dir == IPSEC_PCPU_OUT;
	uint64_t known;
	uint64_t ahead;

	if (gw->reserve == NULL)
		return 0;
	if (gw_reserve_known(gw->reserve, sa->reserve_id, !out))
		return refuse_direction(gw, sa, err);
	gw_error_set(err, NULL, 0, "not enough memory for the state file's keys");
	known = gw_reserve_get(gw->reserve, sa->reserve_id, out ? GW_RESERVE_OUT : GW_RESERVE_IN);
	sa->prm.seq = RTE_MAX(sa->prm.seq, known);
	sa->prm.seq = RTE_MIN(sa->prm.seq, max);
	if (!out) /* from now on it is known as the peer's */
		return reserve(gw, sa, sa->prm.seq, GW_RESERVE_IN);
	ahead = chunk(sa, true);
	sa->reserved = sa->prm.seq + RTE_MIN(ahead, max - sa->prm.seq);
	sa->prm.seq_limit = sa->reserved;
	return reserve(gw, sa, sa->reserved, GW_RESERVE_OUT);
}

void
gw_sa_recall(struct gw *gw, struct gw_sa *sa)
{
	if (gw->reserve != NULL && sa->prm.dir == IPSEC_PCPU_IN)
		sa->prm.seq = RTE_MAX(sa->prm.seq,
				gw_reserve_get(gw->reserve, sa->reserve_id, GW_RESERVE_IKE));
}

static uint64_t
seq_of(const struct gw_sa *sa)
{
	struct ipsec_pcpu_sa_stats st;

	ipsec_pcpu_sa_stats(sa->sa, &st);
	return st.seq;
}

/** Does the reservation of an outbound SA run short? Then a longer one, in memory. */
static bool
extend(struct gw *gw, struct gw_sa *sa)
{
	uint64_t max = sa->prm.esn ? UINT64_MAX : UINT32_MAX;
	uint64_t seq = seq_of(sa);
	uint64_t want = chunk(sa, false);
	uint64_t left = sa->reserved - seq;

	if (sa->prm.dir != IPSEC_PCPU_OUT || sa->reserved == max || left >= chunk(sa, true) / 2)
		return false;
	want = seq + RTE_MIN(want, max - seq);
	return want > sa->reserved && reserve(gw, sa, want, GW_RESERVE_OUT) == 0;
}

/** What extend() wrote is on the disk now: let the worker have it. */
static void
grant(struct gw *gw, struct gw_sa *sa)
{
	uint64_t end = gw_reserve_get(gw->reserve, sa->reserve_id, GW_RESERVE_OUT);
	struct gw_msg m = {.type = GW_MSG_SEQ_LIMIT, .sa = sa->sa, .seq_limit = end};

	if (sa->prm.dir != IPSEC_PCPU_OUT || end <= sa->reserved)
		return;
	if (sa->worker == GW_NONE && gw->tunnel[sa->tunnel].unsettled)
		return; /* one that does not answer may have it still */
	if (sa->worker == GW_NONE)
		ipsec_pcpu_sa_set_seq_limit(sa->sa, end);
	else if (gw_tell(gw, sa->worker, &m) != 0)
		return;
	sa->reserved = end;
}

typedef bool sa_visit(struct gw *gw, struct gw_sa *sa);

/** Those of IKE, or those with static keys; how many said true. */
static unsigned int
visit_sas(struct gw *gw, bool ike, sa_visit *visit)
{
	unsigned int n = 0;

	for (unsigned int t = 0; t < gw->n_tunnels; t++)
		for (unsigned int i = 0; i < gw->tunnel[t].n_sas; i++)
			if ((gw->tunnel[t].ike != NULL) == ike)
				n += visit(gw, gw->tunnel[t].sas[i]);
	return n;
}

static unsigned int
for_each_sa(struct gw *gw, sa_visit *visit)
{
	return visit_sas(gw, false, visit);
}

static bool
visit_grant(struct gw *gw, struct gw_sa *sa)
{
	grant(gw, sa);
	return true;
}

/** How far an inbound SA has come since that was noted. */
static uint64_t
unnoted(const struct gw *gw, const struct gw_sa *sa)
{
	enum gw_reserve_kind kind = sa->ike != NULL ? GW_RESERVE_IKE : GW_RESERVE_IN;

	if (sa->prm.dir != IPSEC_PCPU_IN)
		return 0;
	return seq_of(sa) - gw_reserve_get(gw->reserve, sa->reserve_id, kind);
}

static bool
visit_note_in(struct gw *gw, struct gw_sa *sa)
{
	return unnoted(gw, sa) != 0 && reserve(gw, sa, seq_of(sa), GW_RESERVE_IN) == 0;
}

static bool
visit_note_ike(struct gw *gw, struct gw_sa *sa)
{
	return sa->prm.dir == IPSEC_PCPU_IN && reserve(gw, sa, seq_of(sa), GW_RESERVE_IKE) == 0;
}

static bool
visit_is_unnoted(struct gw *gw, struct gw_sa *sa)
{
	return unnoted(gw, sa) != 0;
}

static bool
visit_is_in(struct gw *gw, struct gw_sa *sa)
{
	return sa->prm.dir == IPSEC_PCPU_IN;
}

static bool
visit_in_far(struct gw *gw, struct gw_sa *sa)
{
	return unnoted(gw, sa) >= NOTE_IN_PACKETS;
}

/** Only SAs that there are; those of the run before are known until charon has said which are. */
static unsigned int
note_ike(struct gw *gw)
{
	bool others = gw->ike_known &&
			gw_reserve_count(gw->reserve, GW_RESERVE_IKE) !=
					visit_sas(gw, true, visit_is_in);

	if (!others && visit_sas(gw, true, visit_is_unnoted) == 0)
		return 0;
	if (others && gw_reserve_forget(gw->reserve, GW_RESERVE_IKE) < 0)
		return 0;
	return visit_sas(gw, true, visit_note_ike) + others;
}

/** Is it time to write inbound numbers, some time after the file was written last? */
static bool
notes_due(struct gw *gw, uint64_t since)
{
	if (since < NOTE_IN_MIN_NS)
		return false;
	return since >= NOTE_IN_MAX_NS || gw->reserve_failed > 0 ||
			for_each_sa(gw, visit_in_far) > 0 || visit_sas(gw, true, visit_in_far) > 0;
}

void
gw_reservations_tick(struct gw *gw)
{
	uint64_t now = gw_now_ns();
	struct gw_error err;
	unsigned int n;

	if (gw->reserve == NULL)
		return;
	n = for_each_sa(gw, extend);
	if (n == 0 && !notes_due(gw, now - gw->reserve_noted))
		return;
	n += for_each_sa(gw, visit_note_in) + note_ike(gw);
	gw->reserve_noted = now;
	if (n == 0 && gw->reserve_failed == 0)
		return;
	if (gw_reserve_commit(gw->reserve, &err) < 0) {
		if (gw->reserve_failed++ % 100 == 0)
			GW_LOG(ERR, "%s: SAs stop at the end of their reservation", err.text);
		return;
	}
	gw->reserve_failed = 0;
	for_each_sa(gw, visit_grant);
}

/** Without a state file: what peers were told, and what came from them, in memory. */
static struct gw_reserve *
offers(struct gw *gw)
{
	if (gw->offers == NULL)
		gw->offers = gw_reserve_in_memory();
	return gw->offers;
}

/** The key may come back with "sa add": what it has come to is not offered again. */
static void
remember_in(struct gw *gw, const struct gw_sa *sa)
{
	struct gw_reserve_key key = {.kind = GW_RESERVE_IN, .esn = sa->prm.esn, .seq = seq_of(sa)};

	if (sa->prm.dir != IPSEC_PCPU_IN || offers(gw) == NULL)
		return;
	memcpy(key.id, sa->reserve_id, sizeof(key.id));
	if (gw_reserve_set(gw->offers, &key) != 0)
		GW_LOG(WARNING, "no memory: how far SA 0x%08x has come is forgotten", sa->prm.spi);
}

void
gw_sa_release(struct gw *gw, struct gw_sa *sa)
{
	if (gw->reserve == NULL) {
		remember_in(gw, sa);
		return;
	}
	if (sa->prm.dir == IPSEC_PCPU_OUT)
		gw_reserve_release(gw->reserve, sa->reserve_id, seq_of(sa));
	else
		reserve(gw, sa, seq_of(sa), GW_RESERVE_IN);
}

static bool
visit_release(struct gw *gw, struct gw_sa *sa)
{
	gw_sa_release(gw, sa);
	return true;
}

void
gw_tunnels_release(struct gw *gw)
{
	struct gw_error err;

	if (gw->reserve == NULL)
		return;
	for_each_sa(gw, visit_release);
	note_ike(gw);
	if (gw_reserve_commit(gw->reserve, &err) < 0)
		GW_LOG(ERR, "%s: the next start goes on behind the last reservation", err.text);
}

int
gw_sa_offer(struct gw *gw, const struct gw_sa *sa, uint64_t *start)
{
	struct gw_reserve *res = gw->reserve;

	if (res == NULL)
		res = offers(gw);
	*start = 0;
	return res == NULL ? -ENOMEM
			   : gw_reserve_offer(res, sa->reserve_id, sa->prm.esn, seq_of(sa), start);
}

int
gw_offers_commit(struct gw *gw, struct gw_error *err)
{
	return gw->reserve == NULL ? 0 : gw_reserve_commit(gw->reserve, err);
}

/** Of the 32-bit sequence numbers: when to say that they come to an end (RFC 4303 3.3.3). */
#define SOFT_SEQ_32 (UINT32_MAX / 4 * UINT64_C(3))

enum sa_end {
	SA_END_SOFT,
	SA_END_OVERFLOW,
	SA_END_RESERVE,
	SA_END_EXPIRED,
};

static void
say(struct gw *gw, struct gw_sa *sa, enum sa_end end, const char *what)
{
	if ((sa->said >> end & 1) != 0)
		return;
	sa->said |= 1u << end;
	GW_LOG(WARNING, "tunnel %s: SA 0x%08x %s", gw->tunnel[sa->tunnel].cfg->name, sa->prm.spi,
			what);
}

static bool
visit_ends(struct gw *gw, struct gw_sa *sa)
{
	struct ipsec_pcpu_sa_stats st;

	ipsec_pcpu_sa_stats(sa->sa, &st);
	if (sa->prm.dir == IPSEC_PCPU_OUT && !sa->prm.esn && st.seq >= SOFT_SEQ_32)
		say(gw, sa, SA_END_SOFT,
				"has used 75 % of its sequence numbers: make a new one, with ESN");
	if (st.drops[IPSEC_PCPU_DROP_SEQ_OVERFLOW] != 0)
		say(gw, sa, SA_END_OVERFLOW,
				"has no sequence number left and drops: make a new one");
	if (st.drops[IPSEC_PCPU_DROP_SEQ_RESERVE] != 0)
		say(gw, sa, SA_END_RESERVE,
				"waited for the state file and dropped: is its disk slow?");
	if (st.drops[IPSEC_PCPU_DROP_EXPIRED] != 0)
		say(gw, sa, SA_END_EXPIRED,
				"has reached its hard lifetime and drops: make a new one");
	return true;
}

void
gw_sa_ends_tick(struct gw *gw)
{
	for_each_sa(gw, visit_ends);
}
