/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef STEER_H
#define STEER_H

/*
 * Which queue an inbound SA's packets land on. Methods, tried per port in the
 * order of gw_steer_methods[]; whether one does what it says is judged by where
 * packets land (gw_steer_judge()), never by return codes. Under all of them is the
 * hand-off between workers. Control thread only.
 *
 * Worker n polls queue n, so "queue" and "worker" are the same number here.
 */

#include <stdbool.h>
#include <stdint.h>

#include <ipsec_pcpu_steer.h>

#include "../control/config.h"
#include "../datapath/view.h"
#include "../host/port.h"

struct gw_steer_port;

/** What is known of where an SA's packets land. */
enum gw_steer_state {
	GW_STEER_UNSEEN, /* too few packets since it was added, or since something was changed */
	GW_STEER_VERIFIED, /* most of them landed on their owner */
	GW_STEER_ASTRAY, /* most of them did not, twice in a row */
};

/** An inbound SA on a port. Whoever adds it owns the memory, which stays until it is deleted. */
struct gw_steer_sa {
	uint32_t spi;
	/* outer, as its packets come in; sport 0: not known yet; dport 0: plain ESP */
	struct ipsec_pcpu_tuple tuple;
	uint16_t queue; /* that its packets are to land on: its owner's */

	/* from here on written by steer/ only */
	bool has_hash;
	bool seen; /* its tuple is that of a packet that was authentic */
	bool nic_hash; /* has_hash: and it is the NIC's own, not what the key makes of the tuple */
	uint32_t hash; /* has_hash: what RSS makes of its packets */
	void *rule; /* the method's own; NULL: none */
	enum gw_steer_state state;
	uint16_t landed; /* where most of those that went astray landed; GW_NONE: nowhere yet */
	uint8_t strikes; /* judged astray, in a row */
	bool fresh; /* what it counts is not to be compared with what was before */
	bool retried; /* its rule was made anew once, for want of effect */
	uint8_t restless; /* grows with each change of its source or hash, fades as it stays */
	uint8_t quiet; /* judgements in a row without enough packets */
	uint32_t weight; /* packets between the last two judgements; 0: idle */
	uint64_t packets; /* counters at the last judgement */
	uint64_t foreign;
	uint64_t pause_ns; /* length of the last pause; 0: it never followed its packets */
	uint64_t paused_until_ns; /* not moved again before; CLOCK_MONOTONIC */
};

/** Above it, a table made for an SA today would be of no use to it tomorrow. */
#define GW_STEER_RESTLESS 90

/** An authentic packet of an SA, as the worker saw it. */
struct gw_steer_seen {
	struct ipsec_pcpu_tuple tuple; /* dport 0: plain ESP */
	bool has_hash;
	uint32_t hash; /* has_hash: by the NIC */
};

/** What a NIC hashes of plain ESP. No flag says it for sure: authentic packets do. */
enum gw_steer_esp_by {
	GW_STEER_ESP_UNKNOWN, /* neither of these, or too few packets were seen */
	GW_STEER_ESP_SPI, /* the SPI alone */
	GW_STEER_ESP_ADDRS, /* addresses and SPI */
};

/** What is known of it, for one family of addresses. */
struct gw_steer_esp {
	enum gw_steer_esp_by by;
	enum gw_steer_esp_by maybe; /* what the last packet fitted */
	uint32_t spi; /* its SPI */
	uint8_t doubt; /* grows with each packet that does not fit, fades with those that do */
};

/** How a port spreads packets by RSS, as far as it can be read. */
struct gw_steer_rss_state {
	bool has_key; /* key predicts: no packet has shown otherwise */
	bool has_reta;
	bool writable; /* and what is written can be read back */
	bool hashes_udp4, hashes_udp6; /* with the ports */
	uint8_t key[IPSEC_PCPU_RSS_KEY_LEN];
	uint16_t reta_size; /* has_reta; a power of 2 */
	uint16_t reta[IPSEC_PCPU_MAX_RETA]; /* as it is on the NIC */
	uint16_t home[IPSEC_PCPU_MAX_RETA]; /* as it was when the port was started */
	unsigned int refused; /* writes that failed, in a row */
	unsigned int writes; /* how often it was written since the port was started */
	bool lies; /* packets land elsewhere than the table says */
	struct gw_steer_esp esp4, esp6; /* learned since the port was started */
	char text[160]; /* what cannot be done, and why; "": all can */
};

/**
 * A method. To add one: steer_<name>.c with its ops, and a line in
 * gw_steer_methods[].
 */
struct gw_steer_ops {
	const char *name; /* the word in the configuration */
	const char *what; /* one sentence for the user */
	/**
	 * Can it be done on this port, which is started? Makes sp->state.
	 * 0, or -errno and @p why: one sentence, no full stop. Must leave no trace
	 * on the port then.
	 */
	int (*probe)(struct gw_steer_port *sp, struct gw_error *why);
	/** Undo all: rules, programs, sp->state. SAs' rules are gone after it. */
	void (*close)(struct gw_steer_port *sp);
	/** Steer an SA that is new to sa->queue. 0 or -errno. */
	int (*add)(struct gw_steer_port *sp, struct gw_steer_sa *sa);
	void (*del)(struct gw_steer_port *sp, struct gw_steer_sa *sa);
	/** sa->queue has changed: the old rule holds until the new one does. 0 or -errno. */
	int (*move)(struct gw_steer_port *sp, struct gw_steer_sa *sa);
	/**
	 * After a number of add, del and move: make it so. @p reta: the redirection table
	 * that is wanted, sp->rss.reta_size entries. NULL: nothing to do. 0 or -errno.
	 */
	int (*commit)(struct gw_steer_port *sp, const uint16_t reta[]);
	/** What the method does for this SA, to @p out; "" where it does nothing. */
	void (*describe)(const struct gw_steer_port *sp, const struct gw_steer_sa *sa, char *out,
			size_t len);
};

/** In the order in which "auto" tries them; ends with NULL. The last one always works. */
extern const struct gw_steer_ops *const gw_steer_methods[];

extern const struct gw_steer_ops gw_steer_flow; /* rte_flow rules */
extern const struct gw_steer_ops gw_steer_tap; /* an eBPF program on a TAP */
extern const struct gw_steer_ops gw_steer_rss; /* RSS: key, ports, redirection table */
extern const struct gw_steer_ops gw_steer_soft; /* the hand-off alone */

#define GW_MAX_STEER_METHODS 8

struct gw_steer_port {
	struct gw_port *port;
	enum gw_steer_want want; /* as gw_steer_open() was told */
	const struct gw_steer_ops *ops; /* in use; NULL: closed */
	void *state; /* the method's own */
	/* by method: why it is not used; "" where it is, or was not tried */
	char why_not[GW_MAX_STEER_METHODS][160];
	struct gw_steer_rss_state rss; /* whatever the method */
	struct gw_steer_sa **sas;
	unsigned int n_sas;
	unsigned int followed; /* SAs that were moved to where their packets land */
};

/** The method of this name in gw_steer_methods[]; -1: none. */
int gw_steer_method(const char *name);

/**
 * Choose a method for a port that is started, or was started anew: the one that is
 * named, or the first that can be done.
 *
 * @param sp
 *   Zeroed, or gw_steer_close()d: then its SAs are steered anew.
 * @return
 *   0, or -errno and @p err set: the method that is named cannot be had. "soft" is in
 *   use then.
 */
int gw_steer_open(struct gw_steer_port *sp, struct gw_port *port, enum gw_steer_want want,
		struct gw_error *err);

/** Undo all on the port. SAs stay listed, for gw_steer_open(); gw_steer_free() after it. */
void gw_steer_close(struct gw_steer_port *sp);
void gw_steer_free(struct gw_steer_port *sp);

/**
 * An SA has come: steered as far as the method can, else the hand-off serves it.
 * Takes effect with gw_steer_apply() where the method is "rss". 0, or -ENOMEM: not listed.
 */
int gw_steer_add(struct gw_steer_port *sp, struct gw_steer_sa *sa);
void gw_steer_del(struct gw_steer_port *sp, struct gw_steer_sa *sa);

/** Its owner has changed: steer it to @p queue. */
void gw_steer_moved(struct gw_steer_port *sp, struct gw_steer_sa *sa, uint16_t queue);

/**
 * An authentic packet of an SA was seen. Returns false, and @p err says what is odd about
 * it, where its hash is not what the key says: the key is not used to predict any more.
 */
bool gw_steer_saw(struct gw_steer_port *sp, struct gw_steer_sa *sa,
		const struct gw_steer_seen *seen, struct gw_error *err);

/**
 * Judge by where packets landed, about once a second.
 *
 * @param packets, foreign
 *   Counters of the SA: authentic packets, and those of them that landed elsewhere.
 * @param landed
 *   Where the last of those landed.
 * @return
 *   True, and @p err says why: the method does not do what it said, another one is in
 *   use now. All SAs were given to it.
 */
bool gw_steer_judge(struct gw_steer_port *sp, struct gw_steer_sa *sa, uint64_t packets,
		uint64_t foreign, uint16_t landed, struct gw_error *err);

/** SAs that one plan moves at most, unless made anew. */
#define GW_STEER_MAX_FOLLOW 16

/** What is to be done; pure: nothing of it is done. */
struct gw_steer_plan {
	uint16_t reta[IPSEC_PCPU_MAX_RETA]; /* as it is to be */
	unsigned int changed; /* entries of it that are not as they are */
	unsigned int conflicts; /* entries that SAs of more than one owner fall on */
	unsigned int stay; /* SAs that land elsewhere and had better not be moved there */
	unsigned int n_follow;
	/* SAs whose owner is to be the worker where their packets land */
	struct {
		struct gw_steer_sa *sa;
		uint16_t to;
	} * follow; /* sp->n_sas of them fit */
};

/**
 * Plan: the redirection table, where it can be written; what cannot land on its owner by
 * it is to be owned by where it lands, but not so that one worker gets all.
 *
 * @param anew
 *   On demand: all that is known counts, no pause is kept, no SA has precedence for
 *   being right already.
 * @return
 *   0 or -ENOMEM. gw_steer_plan_free() afterwards.
 */
int gw_steer_plan(const struct gw_steer_port *sp, bool anew, uint64_t now_ns,
		struct gw_steer_plan *plan);
void gw_steer_plan_free(struct gw_steer_plan *plan);

/**
 * Do the method's part of a plan: the table. The moves are the caller's, who calls
 * gw_steer_moved() and gw_steer_followed() for each. 0, or -errno, @p err set: it is to be
 * tried again, or has failed so often that another method is in use now.
 */
int gw_steer_apply(
		struct gw_steer_port *sp, const struct gw_steer_plan *plan, struct gw_error *err);

/** An SA was moved for a plan: it is left alone for a while, longer each time. */
void gw_steer_followed(struct gw_steer_port *sp, struct gw_steer_sa *sa, uint64_t now_ns);

/**
 * Where RSS puts a TCP or UDP packet. False: not to be known, and @p why (may be NULL) says
 * why not.
 */
bool gw_steer_predict(const struct gw_steer_port *sp, const struct ipsec_pcpu_tuple *tuple,
		uint32_t *hash, uint16_t *queue, struct gw_error *why);

/* steer_esp.c: plain ESP */

/** What RSS makes of a packet with this SPI; false: not to be known. */
bool gw_steer_esp_hash(const struct gw_steer_rss_state *rss, const struct ipsec_pcpu_tuple *tuple,
		uint32_t spi, uint32_t *hash);

/** An authentic packet came with a hash by the NIC. True: other hashes are known now. */
bool gw_steer_esp_saw(
		struct gw_steer_rss_state *rss, const struct gw_steer_seen *seen, uint32_t spi);

/** All that was learned of it is of no use. */
void gw_steer_esp_forget(struct gw_steer_rss_state *rss);

/** Could it become known, but is not? Then looking at packets is worth while. */
bool gw_steer_esp_is_open(const struct gw_steer_port *sp, uint8_t family);

/**
 * The queue that plain ESP with this SPI lands on. False: not to be known, or another method
 * than RSS leads it to where its owner is.
 */
bool gw_steer_esp_queue(const struct gw_steer_port *sp, const struct ipsec_pcpu_tuple *tuple,
		uint32_t spi, uint16_t *queue);

/** The first SPI of a range whose packets land on @p queue; 0: none, or not to be known. */
uint32_t gw_steer_esp_find(const struct gw_steer_port *sp, const struct ipsec_pcpu_tuple *tuple,
		uint16_t queue, const struct ipsec_pcpu_range *range);

/* steer_rss.c: for steer.c, and tests */

/** Read key, table and hash types of a port that is started; try whether it can be written. */
void gw_steer_rss_read(struct gw_steer_port *sp);

/** One more thing that cannot be done: to rss->text. */
void gw_steer_rss_note(struct gw_steer_rss_state *rss, const char *fmt, ...)
		__attribute__((format(printf, 2, 3)));

#endif /* STEER_H */
