/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The choice of a method for a port, and the judgement of what it does. A method that does
 * not do what it says is given up for the next one; under the last one is the hand-off.
 */

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <rte_common.h>
#include <rte_string_fns.h>

#include "steer.h"

#define MIN_PACKETS 16 /* fewer say nothing yet */
#define QUIET_MAX 10 /* judgements without enough packets, and an SA is idle */
#define ASTRAY_STRIKES 2 /* one may be of packets that were under way when something changed */
#define ODD_SHARE 8 /* one in so many SAs with traffic may go astray, and the method is kept */
#define WRITES_TRIED 3 /* a device may be busy */
#define CHANGE 30 /* what a change adds to "restless": as many looks until it is forgotten */
#define SECOND_NS UINT64_C(1000000000)
#define PAUSE_MIN_NS (10 * SECOND_NS)
#define PAUSE_MAX_NS (320 * SECOND_NS)
#define LIST_STEP 64 /* SAs that the list grows by */

static int
soft_probe(struct gw_steer_port *sp, struct gw_error *why)
{
	return 0;
}

static void
soft_close(struct gw_steer_port *sp)
{
}

static int
soft_add(struct gw_steer_port *sp, struct gw_steer_sa *sa)
{
	return 0;
}

static void
soft_del(struct gw_steer_port *sp, struct gw_steer_sa *sa)
{
}

static void
soft_describe(const struct gw_steer_port *sp, const struct gw_steer_sa *sa, char *out, size_t len)
{
	if (len > 0)
		out[0] = '\0';
}

const struct gw_steer_ops gw_steer_soft = {
		.name = "soft",
		.what = "the NIC does as it likes, workers hand over to each other",
		.probe = soft_probe,
		.close = soft_close,
		.add = soft_add,
		.del = soft_del,
		.move = soft_add,
		.describe = soft_describe,
};

const struct gw_steer_ops *const gw_steer_methods[] = {
		&gw_steer_flow,
		&gw_steer_tap,
		&gw_steer_rss,
		&gw_steer_soft,
		NULL,
};

#define LAST_METHOD (RTE_DIM(gw_steer_methods) - 2u)

static_assert(RTE_DIM(gw_steer_methods) - 1 <= GW_MAX_STEER_METHODS, "why_not[] has room for all");

static const char *const want_names[] = {
		[GW_STEER_AUTO] = "auto",
		[GW_STEER_FLOW] = "flow",
		[GW_STEER_TAP] = "tap",
		[GW_STEER_RSS] = "rss",
		[GW_STEER_SOFT] = "soft",
};

int
gw_steer_method(const char *name)
{
	for (int i = 0; gw_steer_methods[i] != NULL; i++)
		if (strcmp(gw_steer_methods[i]->name, name) == 0)
			return i;
	return -1;
}

static bool
hashes_ports(const struct gw_steer_rss_state *rss, uint8_t family)
{
	return family == AF_INET ? rss->hashes_udp4 : family == AF_INET6 && rss->hashes_udp6;
}

/** What the key makes of a tuple; false: not to be known. */
static bool
hash_of(const struct gw_steer_rss_state *rss, const struct ipsec_pcpu_tuple *tuple, uint32_t *hash)
{
	if (!rss->has_key || !hashes_ports(rss, tuple->family) || tuple->sport == 0 ||
			tuple->dport == 0)
		return false;
	*hash = ipsec_pcpu_tuple_hash(rss->key, tuple);
	return true;
}

/** Where the table leads an SA; GW_NONE: not to be known. */
static uint16_t
queue_of(const struct gw_steer_port *sp, const struct gw_steer_sa *sa)
{
	if (!sa->has_hash || !sp->rss.has_reta)
		return GW_NONE;
	return sp->rss.reta[sa->hash & (sp->rss.reta_size - 1u)];
}

/** By its tuple or its SPI, where the NIC has not said. */
static void
rehash(const struct gw_steer_port *sp, struct gw_steer_sa *sa)
{
	if (!sa->nic_hash)
		sa->has_hash = hash_of(&sp->rss, &sa->tuple, &sa->hash) ||
				gw_steer_esp_hash(&sp->rss, &sa->tuple, sa->spi, &sa->hash);
}

static void
rehash_all(const struct gw_steer_port *sp)
{
	for (unsigned int i = 0; i < sp->n_sas; i++)
		rehash(sp, sp->sas[i]);
}

/** Something has changed: what was counted before says nothing any more. */
static void
unsettle(struct gw_steer_sa *sa)
{
	sa->state = GW_STEER_UNSEEN;
	sa->landed = GW_NONE;
	sa->strikes = 0;
	sa->fresh = true;
}

/** Give a method all SAs, if it can be had. 0, or -errno: why_not says why. */
static int
use(struct gw_steer_port *sp, unsigned int i)
{
	struct gw_error why = {.text = ""};
	int rc = gw_steer_methods[i]->probe(sp, &why);

	if (rc < 0) {
		rte_strlcpy(sp->why_not[i], why.text, sizeof(sp->why_not[i]));
		return rc;
	}
	sp->ops = gw_steer_methods[i];
	for (unsigned int n = 0; n < sp->n_sas; n++) {
		unsettle(sp->sas[n]);
		sp->sas[n]->retried = false;
		sp->ops->add(sp, sp->sas[n]); /* where it is refused, the hand-off serves it */
	}
	return 0;
}

/** The first from here on that can be had; the last one always can. */
static void
use_from(struct gw_steer_port *sp, unsigned int i)
{
	while (use(sp, i) < 0 && i < LAST_METHOD)
		i++;
}

static int
use_named(struct gw_steer_port *sp, struct gw_error *err)
{
	const char *name = want_names[sp->want];
	int i = gw_steer_method(name);
	int rc = i >= 0 ? use(sp, (unsigned int)i) : -ENOTSUP;

	if (rc == 0)
		return 0;
	gw_error_set(err, NULL, 0, "port \"%s\": steering = \"%s\": %s; \"auto\" takes what works",
			sp->port->name, name,
			i >= 0 ? sp->why_not[i] : "there is no such method here");
	use_from(sp, LAST_METHOD);
	return rc;
}

/** The method in use does not do what it said: another one. */
static void
give_up(struct gw_steer_port *sp, const char *why, struct gw_error *err)
{
	const struct gw_steer_ops *was = sp->ops;
	unsigned int i = (unsigned int)gw_steer_method(was->name);

	was->close(sp);
	rte_strlcpy(sp->why_not[i], why, sizeof(sp->why_not[i]));
	/* who names a method wants it or none */
	use_from(sp, sp->want == GW_STEER_AUTO && i < LAST_METHOD ? i + 1 : LAST_METHOD);
	gw_error_set(err, NULL, 0, "port \"%s\": %s; steering is \"%s\" now, no longer \"%s\"",
			sp->port->name, why, sp->ops->name, was->name);
}

int
gw_steer_open(struct gw_steer_port *sp, struct gw_port *port, enum gw_steer_want want,
		struct gw_error *err)
{
	sp->port = port;
	sp->want = want;
	memset(sp->why_not, 0, sizeof(sp->why_not));
	gw_steer_rss_read(sp);
	for (unsigned int i = 0; i < sp->n_sas; i++) {
		sp->sas[i]->nic_hash = false; /* a reset may have changed the key */
		rehash(sp, sp->sas[i]);
	}
	if (want != GW_STEER_AUTO)
		return use_named(sp, err);
	use_from(sp, 0);
	return 0;
}

void
gw_steer_close(struct gw_steer_port *sp)
{
	if (sp->ops == NULL)
		return;
	sp->ops->close(sp);
	sp->ops = NULL;
}

void
gw_steer_free(struct gw_steer_port *sp)
{
	free(sp->sas);
	memset(sp, 0, sizeof(*sp));
}

int
gw_steer_add(struct gw_steer_port *sp, struct gw_steer_sa *sa)
{
	struct gw_steer_sa **sas;

	if (sp->n_sas % LIST_STEP == 0) {
		sas = realloc(sp->sas, (sp->n_sas + LIST_STEP) * sizeof(sp->sas[0]));
		if (sas == NULL)
			return -ENOMEM;
		sp->sas = sas;
	}
	*sa = (struct gw_steer_sa){.spi = sa->spi, .tuple = sa->tuple, .queue = sa->queue};
	unsettle(sa);
	rehash(sp, sa);
	sp->sas[sp->n_sas++] = sa;
	if (sp->ops != NULL)
		sp->ops->add(sp, sa);
	return 0;
}

void
gw_steer_del(struct gw_steer_port *sp, struct gw_steer_sa *sa)
{
	unsigned int i = 0;

	while (i < sp->n_sas && sp->sas[i] != sa)
		i++;
	if (i == sp->n_sas)
		return;
	if (sp->ops != NULL)
		sp->ops->del(sp, sa);
	sp->sas[i] = sp->sas[--sp->n_sas];
}

void
gw_steer_moved(struct gw_steer_port *sp, struct gw_steer_sa *sa, uint16_t queue)
{
	sa->queue = queue;
	unsettle(sa);
	if (sp->ops != NULL)
		sp->ops->move(sp, sa);
}

static bool
same_addr(uint8_t family, const union ipsec_pcpu_addr *a, const union ipsec_pcpu_addr *b)
{
	return family == AF_INET ? a->ip4 == b->ip4 : memcmp(a->ip6, b->ip6, sizeof(a->ip6)) == 0;
}

/** What a method's rule may match, besides the SPI. */
static bool
same_rule(const struct ipsec_pcpu_tuple *a, const struct ipsec_pcpu_tuple *b)
{
	return a->family == b->family && a->dport == b->dport &&
			same_addr(a->family, &a->daddr, &b->daddr);
}

/** A port that was not known yet makes no difference to where packets landed. */
static bool
same_source(const struct ipsec_pcpu_tuple *a, const struct ipsec_pcpu_tuple *b)
{
	return (a->sport == b->sport || a->sport == 0) &&
			same_addr(a->family, &a->saddr, &b->saddr);
}

/** False: its source is another one than was known. */
static bool
take_tuple(struct gw_steer_port *sp, struct gw_steer_sa *sa, const struct ipsec_pcpu_tuple *tuple)
{
	bool rule = same_rule(&sa->tuple, tuple);
	bool same = rule && same_source(&sa->tuple, tuple);

	/* out with the old tuple, in with the new: it may be of another kind */
	if (!rule && sp->ops != NULL)
		sp->ops->del(sp, sa);
	sa->tuple = *tuple;
	if (!rule && sp->ops != NULL)
		sp->ops->add(sp, sa);
	if (same)
		return true;
	sa->nic_hash = false;
	unsettle(sa);
	return false;
}

/** A packet was seen; @p same: as the one before. */
static void
take_rest(struct gw_steer_sa *sa, bool same)
{
	if (sa->seen && !same)
		sa->restless = (uint8_t)RTE_MIN(sa->restless + CHANGE, UINT8_MAX);
	else if (sa->restless > 0)
		sa->restless--;
	sa->seen = true;
}

static void
distrust_key(struct gw_steer_port *sp)
{
	sp->rss.has_key = false;
	gw_steer_esp_forget(&sp->rss);
	gw_steer_rss_note(&sp->rss, "packets are not hashed with the key that was read");
	rehash_all(sp);
}

bool
gw_steer_saw(struct gw_steer_port *sp, struct gw_steer_sa *sa, const struct gw_steer_seen *seen,
		struct gw_error *err)
{
	bool same = take_tuple(sp, sa, &seen->tuple);
	uint32_t predicted;
	bool odd;

	same &= !sa->nic_hash || !seen->has_hash || sa->hash == seen->hash;
	take_rest(sa, same);
	rehash(sp, sa);
	if (!seen->has_hash)
		return true;
	odd = hash_of(&sp->rss, &seen->tuple, &predicted) && predicted != seen->hash;
	if (sa->has_hash && sa->hash != seen->hash)
		unsettle(sa);
	sa->has_hash = sa->nic_hash = true;
	sa->hash = seen->hash;
	if (gw_steer_esp_saw(&sp->rss, seen, sa->spi))
		rehash_all(sp);
	if (!odd)
		return true;
	gw_error_set(err, NULL, 0,
			"port \"%s\": SA 0x%08x: the NIC's hash is 0x%08x, by its key it would be 0x%08x; the key is not used to predict any more",
			sp->port->name, sa->spi, seen->hash, predicted);
	distrust_key(sp);
	return false;
}

/** Is it for the table that an SA is where it is? Without writing it, too, if by its SPI. */
static bool
is_by_table(const struct gw_steer_port *sp, const struct gw_steer_sa *sa)
{
	uint16_t queue;

	return sp->ops == &gw_steer_rss || gw_steer_esp_queue(sp, &sa->tuple, sa->spi, &queue);
}

/** It is made for its queue, and that must be its doing: its packets land there, or it lies. */
static bool
is_promised(const struct gw_steer_port *sp, const struct gw_steer_sa *sa)
{
	if (sa->rule != NULL)
		return true;
	/* an unseen tuple need not be that of its packets */
	return is_by_table(sp, sa) && (sa->seen || sa->nic_hash) && queue_of(sp, sa) == sa->queue;
}

/**
 * Does it fail with more than an odd SA or two? A peer with keys can make its packets such
 * that they land elsewhere (several source ports, IP options): that says nothing of all others.
 */
static bool
fails_widely(const struct gw_steer_port *sp)
{
	unsigned int n_astray = 0, n_verified = 0;

	for (unsigned int i = 0; i < sp->n_sas; i++) {
		const struct gw_steer_sa *sa = sp->sas[i];

		if (sa->weight == 0 || !is_promised(sp, sa))
			continue;
		n_astray += sa->state == GW_STEER_ASTRAY;
		n_verified += sa->state == GW_STEER_VERIFIED;
	}
	return n_astray * ODD_SHARE > n_astray + n_verified;
}

/**
 * It went astray. With a rule that says otherwise: once more, it may have been lost; then
 * the method is given up. With a table that says otherwise: given up.
 */
static bool
doubt(struct gw_steer_port *sp, struct gw_steer_sa *sa, struct gw_error *err)
{
	char why[160];

	if (sa->rule != NULL && !sa->retried) {
		unsettle(sa);
		sa->retried = true;
		sp->ops->move(sp, sa);
		return false;
	}
	if (!is_promised(sp, sa) || !fails_widely(sp))
		return false;
	if (sa->rule == NULL) {
		/* no SPI is chosen by it any more */
		sp->rss.lies = true;
		gw_steer_esp_forget(&sp->rss);
		rehash_all(sp);
	}
	if (sp->ops == &gw_steer_soft)
		return false;
	snprintf(why, sizeof(why),
			"%s for SA 0x%08x leads to queue %u, its packets land on queue %u",
			sa->rule != NULL ? "rule" : "table entry", sa->spi, sa->queue, sa->landed);
	give_up(sp, why, err);
	return true;
}

static void
take_counters(struct gw_steer_sa *sa, uint64_t packets, uint64_t foreign)
{
	sa->packets = packets;
	sa->foreign = foreign;
	sa->fresh = false;
}

static void
go_quiet(struct gw_steer_sa *sa)
{
	if (sa->quiet < QUIET_MAX && ++sa->quiet == QUIET_MAX)
		sa->weight = 0;
}

bool
gw_steer_judge(struct gw_steer_port *sp, struct gw_steer_sa *sa, uint64_t packets, uint64_t foreign,
		uint16_t landed, struct gw_error *err)
{
	uint64_t delta = packets - sa->packets, astray = foreign - sa->foreign;

	if (sa->fresh || packets < sa->packets || foreign < sa->foreign) {
		take_counters(sa, packets, foreign);
		return false;
	}
	if (delta < MIN_PACKETS) {
		go_quiet(sa);
		return false;
	}
	take_counters(sa, packets, foreign);
	sa->weight = (uint32_t)RTE_MIN(delta, (uint64_t)UINT32_MAX);
	sa->quiet = 0;
	/* without a queue there its owner gets all from others, as it is meant */
	if (sa->queue >= sp->port->n_rxq)
		return false;
	if (astray * 2 <= delta) {
		sa->strikes = 0;
		sa->state = GW_STEER_VERIFIED;
		sa->retried = false;
		return false;
	}
	sa->landed = landed;
	sa->strikes = (uint8_t)RTE_MIN(sa->strikes + 1, UINT8_MAX);
	if (sa->strikes < ASTRAY_STRIKES)
		return false;
	sa->state = GW_STEER_ASTRAY;
	return doubt(sp, sa, err);
}

int
gw_steer_apply(struct gw_steer_port *sp, const struct gw_steer_plan *plan, struct gw_error *err)
{
	uint16_t old[IPSEC_PCPU_MAX_RETA];
	char why[160];
	int rc;

	if (plan->changed == 0 || sp->ops == NULL || sp->ops->commit == NULL)
		return 0;
	memcpy(old, sp->rss.reta, sizeof(old));
	rc = sp->ops->commit(sp, plan->reta);
	if (rc < 0) {
		snprintf(why, sizeof(why), "the redirection table could not be written: %s",
				strerror(-rc));
		if (++sp->rss.refused < WRITES_TRIED)
			gw_error_set(err, NULL, 0, "port \"%s\": %s; it will be tried again",
					sp->port->name, why);
		else
			give_up(sp, why, err);
		return rc;
	}
	sp->rss.refused = 0;
	for (unsigned int i = 0; i < sp->n_sas; i++) {
		struct gw_steer_sa *sa = sp->sas[i];

		/* one without a hash may be concerned, for all that is known */
		if (!sa->has_hash || old[sa->hash & (sp->rss.reta_size - 1u)] != queue_of(sp, sa))
			unsettle(sa);
	}
	return 0;
}

/** It lived in peace for longer than its pause was: that counts as the first time. */
static bool
paused_long_ago(const struct gw_steer_sa *sa, uint64_t now_ns)
{
	return now_ns > sa->paused_until_ns && now_ns - sa->paused_until_ns > 2 * sa->pause_ns;
}

void
gw_steer_followed(struct gw_steer_port *sp, struct gw_steer_sa *sa, uint64_t now_ns)
{
	if (sa->pause_ns == 0 || paused_long_ago(sa, now_ns))
		sa->pause_ns = PAUSE_MIN_NS;
	else
		sa->pause_ns = RTE_MIN(2 * sa->pause_ns, PAUSE_MAX_NS);
	sa->paused_until_ns = now_ns + sa->pause_ns;
	sp->followed++;
}

static bool
not_to_be_known(const struct gw_steer_port *sp, const struct ipsec_pcpu_tuple *tuple,
		struct gw_error *why)
{
	const struct gw_steer_rss_state *rss = &sp->rss;
	const char *text = "";

	if (!rss->has_key || !rss->has_reta)
		text = rss->text[0] != '\0' ? rss->text : "the port is closed";
	else if (tuple->sport == 0 || tuple->dport == 0)
		text = "without ports it is not spread by them";
	else if (!hashes_ports(rss, tuple->family))
		text = tuple->family == AF_INET ? "the NIC does not hash UDP ports over IPv4"
						: "the NIC does not hash UDP ports over IPv6";
	if (why != NULL && text[0] != '\0')
		gw_error_set(why, NULL, 0, "%s", text);
	return text[0] != '\0';
}

bool
gw_steer_predict(const struct gw_steer_port *sp, const struct ipsec_pcpu_tuple *tuple,
		uint32_t *hash, uint16_t *queue, struct gw_error *why)
{
	if (not_to_be_known(sp, tuple, why) || !hash_of(&sp->rss, tuple, hash))
		return false;
	*queue = sp->rss.reta[*hash & (sp->rss.reta_size - 1u)];
	return true;
}
