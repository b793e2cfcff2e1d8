/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef CONFIG_TEXT_H
#define CONFIG_TEXT_H

/*
 * The text of the configuration, before libconfig sees it. Four things are
 * done here because libconfig 1.5 (Debian 12) cannot do them:
 *
 * - Keys are taken out: key = "<hex>" becomes key = "@<index>", so that key
 *   material is in no buffer or tree that is freed without being wiped.
 * - @include: absolute paths, the mode of each file that holds keys, and a
 *   directory or an absent file as an error (flex's answer is exit()).
 * - Where each line comes from, over all files.
 * - Numbers above 2^31 - 1: libconfig cuts them off without a word.
 */

#include "../rss_key.h"
#include "config.h"

struct cfg_where {
	const char *file;
	unsigned int line;
};

/** A key in the making: hex digits in, bytes out. */
struct cfg_hexkey {
	uint8_t bytes[GW_RSS_KEY_LEN]; /* the longest key that there is */
	unsigned int digits; /* seen in all; those beyond the room are only counted */
	bool colons; /* between digits, as ethtool(8) prints RSS keys */
	bool bad; /* something else than hex digits and white space */
};

_Static_assert(IPSEC_PCPU_MAX_KEY <= GW_RSS_KEY_LEN, "no room for the key of an SA");

struct cfg_text {
	char *text; /* for libconfig */
	size_t len;
	size_t room;
	struct cfg_where *lines; /* where each line of it comes from */
	unsigned int n_lines;
	unsigned int lines_room;
	struct cfg_hexkey *keys; /* those taken out, by their index */
	unsigned int n_keys;
	unsigned int keys_room;
	char **files; /* names; [0] is the main one */
	unsigned int n_files;
	bool no_wait; /* regular files only: a pipe may have nobody at its other end */
};

/** Read a file with all that it includes. 0, or a negative errno and @p err set. */
int cfg_text_load(struct cfg_text *t, const char *path, bool no_wait, struct gw_error *err);

/** The same of a string, which includes nothing. */
int cfg_text_set(struct cfg_text *t, const char *text, const char *name, struct gw_error *err);

/** Wipe and free. */
void cfg_text_free(struct cfg_text *t);

/** One more character of a key. */
void cfg_hexkey_add(struct cfg_hexkey *k, char c);

/** The key for @p algo to @p out; or -EINVAL and a sentence without key material. */
int cfg_hexkey_get(const struct cfg_hexkey *k, const struct ipsec_pcpu_algo *algo, uint8_t *out,
		struct gw_error *err);

/** The same of an RSS key. */
int cfg_hexkey_rss(const struct cfg_hexkey *k, uint8_t out[GW_RSS_KEY_LEN], struct gw_error *err);

/** Stands where a key does, and is none. */
#define CFG_OUR_KEY "ours"

/** @p path as seen from the directory of the file @p from; malloc()ed, NULL: no memory. */
char *cfg_path(const char *from, const char *path);

/** Say -ENOMEM. */
int cfg_no_memory(struct gw_error *err);

/**
 * Text of a user for an error message: at most 60 characters, printable, and
 * nothing in it that could be a key: no 8 hex digits in a row, also with white
 * space between them, or more than 32 as 00:01:02. Into @p buf of CFG_SHOW_LEN; returns buf.
 */
#define CFG_SHOW_LEN 80
const char *cfg_show(const char *text, char *buf);

#endif /* CONFIG_TEXT_H */
