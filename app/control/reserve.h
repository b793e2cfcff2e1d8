/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef RESERVE_H
#define RESERVE_H

/*
 * The state file: with static keys, a restart must not send a second packet
 * with the same key and IV. For each outbound key the file records a sequence
 * number ahead of use; a run starts behind it. For each inbound key it records
 * how far the peer had come, so that old packets stay old after a restart and
 * the upper half of an ESN is known; and where a peer was last told to begin
 * ("show peer-commands"), which is ahead of what has come where packets were lost.
 *
 * Written whole to a temporary file, fsynced, renamed, directory fsynced. One
 * process at a time: PATH.lock is locked. It is made when the file itself is on
 * the disk already and is never removed: where it stands alone, the file was
 * lost. Keys appear as the first 16 bytes of their SHA-256 only. Pure but for
 * file I/O. Control thread.
 */

#include <stdbool.h>
#include <stdint.h>

#include "config.h"

#define GW_RESERVE_ID_LEN 16

/** Of a run's first reservation: small, so that crash loops do not run ahead of the peer's ESN. */
#define GW_RESERVE_FIRST (UINT64_C(1) << 24)
/** Of the later ones. Without ESN: GW_RESERVE_32 always. */
#define GW_RESERVE_ESN (UINT64_C(1) << 30)
#define GW_RESERVE_32 (UINT64_C(1) << 20)

/**
 * How far the next peer begins behind the last: more than may have been lost since the last
 * packet that came. When some came since the numbers were told; when none did, so that often
 * telling them does not run ahead of the ESN; where it nearly does; and without ESN.
 */
#define GW_OFFER_CAME (UINT64_C(1) << 30)
#define GW_OFFER_IDLE (UINT64_C(1) << 26)
#define GW_OFFER_NEAR (UINT64_C(1) << 24)
#define GW_OFFER_32 (UINT64_C(1) << 24)

struct gw_reserve; /* the open file */

/** What a number is about: a key that we send with, or one that the peer sends with. */
enum gw_reserve_kind {
	GW_RESERVE_IN, /* highest seen */
	GW_RESERVE_OUT, /* end of the reservation */
	GW_RESERVE_PEER, /* behind what the peer was told to begin */
	GW_RESERVE_IKE, /* highest seen, with a key of IKE's; it goes with its SA */
};

/** What the file knows of one key. */
struct gw_reserve_key {
	uint8_t id[GW_RESERVE_ID_LEN];
	uint64_t seq;
	enum gw_reserve_kind kind;
	bool esn;
};

/**
 * Open and lock a state file; a first one is made. -EWOULDBLOCK: another
 * process has it. -EBADMSG: not a state file of ours, or damaged, or lost:
 * refuse to start, with a sentence. -EMEDIUMTYPE: it would be gone after a
 * reboot; @p volatile_ok: go on all the same.
 */
int gw_reserve_open(
		const char *path, bool volatile_ok, struct gw_reserve **res, struct gw_error *err);

/** Is this path in memory only (tmpfs, ramfs)? */
bool gw_reserve_is_volatile(const char *path);

/** One without a file: gw_reserve_commit() writes nothing. NULL: no memory. */
struct gw_reserve *gw_reserve_in_memory(void);

/**
 * The name of a key: SHA-256 over a label and the key, cut. Not of the salt or
 * the algorithm: with another ICV length the key stream is the same.
 */
void gw_reserve_id(struct ipsec_pcpu_ctx *ctx, const struct ipsec_pcpu_sa_params *prm,
		uint8_t id[GW_RESERVE_ID_LEN]);

/** A name of the whole key, salt and all. It is not that of the state file. */
void gw_reserve_key_id(struct ipsec_pcpu_ctx *ctx, const struct ipsec_pcpu_sa_params *prm,
		uint8_t id[GW_RESERVE_ID_LEN]);

/** What the file says of a key; 0 where it does not know it. */
uint64_t gw_reserve_get(const struct gw_reserve *res, const uint8_t id[GW_RESERVE_ID_LEN],
		enum gw_reserve_kind kind);

/**
 * Was this key used in a direction? Inbound, from its installation on, or once
 * a peer was told its numbers: it may have sent without our knowledge. Outbound,
 * once a number was reserved and not given back.
 */
bool gw_reserve_known(const struct gw_reserve *res, const uint8_t id[GW_RESERVE_ID_LEN], bool out);

/**
 * Set a number in memory; gw_reserve_commit() writes all of them. A number
 * only ever grows, but for an outbound one at gw_reserve_release().
 */
int gw_reserve_set(struct gw_reserve *res, const struct gw_reserve_key *key);

/** How many numbers of a kind there are. */
unsigned int gw_reserve_count(const struct gw_reserve *res, enum gw_reserve_kind kind);

/** Forget all numbers of a kind, in memory. 0 or -ENOMEM. */
int gw_reserve_forget(struct gw_reserve *res, enum gw_reserve_kind kind);

/**
 * Behind which number a peer is to begin with a key of ours for inbound, in
 * memory: behind all that came, @p received or noted, and all that was ever
 * offered. Never the same twice; 0 at first. -ERANGE: used up. -EDOM: with all
 * that was offered and never came, we could not follow. -EEXIST: we sent with
 * this key. -ENOMEM.
 */
int gw_reserve_offer(struct gw_reserve *res, const uint8_t id[GW_RESERVE_ID_LEN], bool esn,
		uint64_t received, uint64_t *start);

/** Clean shutdown: give back what was reserved and not used; @p seq was the last number sent. */
void gw_reserve_release(struct gw_reserve *res, const uint8_t id[GW_RESERVE_ID_LEN], uint64_t seq);

/**
 * Write and fsync. Only after 0 may sequence numbers up to the new ends be
 * used. On failure the file is as it was.
 */
int gw_reserve_commit(struct gw_reserve *res, struct gw_error *err);

/** Unlock and free; does not write. The lock file stays, for the next to take. NULL is allowed. */
void gw_reserve_close(struct gw_reserve *res);

#endif /* RESERVE_H */
