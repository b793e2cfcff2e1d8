/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef CONFIG_PARSE_H
#define CONFIG_PARSE_H

/*
 * From text to struct gw_config, in steps: config_text.c reads the files,
 * libconfig makes a tree of them, config.c sets the fields of the structs
 * below by the key table of config_keys.c, config_build.c makes SAs of them,
 * config_check.c looks at the whole.
 */

#include <libconfig.h>

#include "config_text.h"

#define CFG_SPORT_AUTO (UINT16_MAX + 1)

/* What the file says of one SA. */
struct raw_side {
	struct cfg_where where; /* line 0: not given */
	uint32_t spi;
	uint32_t sport; /* or CFG_SPORT_AUTO */
	uint16_t dport;
	unsigned int key; /* 1 + index into cfg_text.keys; 0: none */
	char *key_file;
	struct cfg_where key_where;
};

/* Options of a tunnel that a pair of SAs may override. */
struct raw_opts {
	const struct ipsec_pcpu_algo *algo;
	uint64_t hard_bytes;
	uint64_t hard_packets;
	uint32_t replay_window;
	enum ipsec_pcpu_df df;
	bool esn;
	uint8_t ttl;
	int8_t dscp;
};

struct raw_pair {
	struct cfg_where where;
	struct raw_opts opts;
	uint32_t pcpu;
	struct raw_side out;
	struct raw_side in;
};

struct raw_tunnel {
	struct gw_config_tunnel t; /* but for its SAs */
	struct raw_opts opts;
	struct raw_pair *pairs;
	unsigned int n_pairs;
};

struct raw_config {
	struct gw_config cfg; /* but for its tunnels */
	struct raw_tunnel *tunnels;
	unsigned int n_tunnels;
};

struct cfg_parse {
	struct cfg_text text;
	struct raw_config raw;
	struct gw_error *err;
};

/** A group of settings; its keys are the rows of the key table that name it. */
enum cfg_section {
	CFG_TOP,
	CFG_PORT,
	CFG_ROUTE,
	CFG_TUNNEL,
	CFG_SELECTOR,
	CFG_PAIR,
	CFG_OUT,
	CFG_IN,
	CFG_PEER_RSS,
	CFG_POLICY,
	CFG_N_SECTIONS
};

struct cfg_section_info {
	const char *path; /* "tunnels[].sas[]" */
	const char *title; /* in docs/config.md */
	const char *help;
	const char *noun; /* of an element with a name: "tunnel" */
	size_t size; /* of an element's struct */
	size_t file; /* offsets of where it was said; CFG_NO_OFFSET: not kept */
	size_t line;
	/* before and after the fields are set; may be NULL */
	void (*init)(const void *parent, void *elem);
	int (*done)(struct cfg_parse *p, const config_setting_t *s, void *elem);
};

#define CFG_NO_OFFSET SIZE_MAX

enum cfg_type {
	CFG_BOOL,
	CFG_NUMBER, /* or one of the row's words */
	CFG_WORD, /* one of the row's words */
	CFG_NAME,
	CFG_STRING,
	CFG_PATH,
	CFG_ADDR,
	CFG_LISTEN,
	CFG_NET,
	CFG_PORT_ADDRS,
	CFG_PORTS,
	CFG_ALGO,
	CFG_KEY,
	CFG_RSS_KEY,
	CFG_LIST, /* of groups */
	CFG_GROUP,
	CFG_N_TYPES
};

struct cfg_word {
	const char *word;
	int64_t value;
};

/** One row of the key table. */
struct cfg_key {
	enum cfg_section section;
	const char *name;
	enum cfg_type type;
	int64_t min; /* of numbers */
	int64_t max;
	const char *def; /* as text; see below */
	const char *help;
	size_t offset; /* into the section's struct */
	size_t size; /* of the field */
	size_t count; /* CFG_LIST: offset of the number of elements */
	enum cfg_section sub; /* CFG_LIST, CFG_GROUP: of what */
	const struct cfg_word *words; /* ends with word NULL */
};

/** Instead of a default: must be given; empty; as in the tunnel. */
#define CFG_REQUIRED NULL
#define CFG_NONE ""
#define CFG_INHERIT "as the tunnel"

extern const struct cfg_key cfg_keys[];
extern const unsigned int cfg_n_keys;
extern const struct cfg_section_info cfg_sections[CFG_N_SECTIONS];

/** A value from the file, or, where setting is NULL, a default. */
struct cfg_value {
	const config_setting_t *setting;
	const char *string; /* NULL: it is a number */
	int64_t number;
};

/** What the type is called in messages and docs: "a number". */
extern const char *const cfg_type_name[CFG_N_TYPES];

/** Set a scalar field. 0, or -errno and p->err set. */
int cfg_set(struct cfg_parse *p, const struct cfg_key *k, const struct cfg_value *v, void *field);

/** Set a field from the default of its row. */
int cfg_set_default(struct cfg_parse *p, const struct cfg_key *k, void *field);

/** Refuse: file:line, the name of the tunnel or port around it, the sentence. Returns -EINVAL. */
int cfg_fail(struct cfg_parse *p, const config_setting_t *s, const char *fmt, ...)
		__attribute__((format(printf, 3, 4)));

/** Where a setting is. */
struct cfg_where cfg_where(const struct cfg_parse *p, const config_setting_t *s);

/** Complete a selector that has one side only; checks it too. */
int cfg_done_selector(struct cfg_parse *p, const config_setting_t *s, void *elem);
int cfg_done_policy(struct cfg_parse *p, const config_setting_t *s, void *elem);
int cfg_done_tunnel(struct cfg_parse *p, const config_setting_t *s, void *elem);
int cfg_done_pair(struct cfg_parse *p, const config_setting_t *s, void *elem);
int cfg_done_side(struct cfg_parse *p, const config_setting_t *s, void *elem);
int cfg_done_peer_rss(struct cfg_parse *p, const config_setting_t *s, void *elem);
void cfg_init_pair(const void *parent, void *elem);

/** What is wrong with a selector as such; NULL: nothing. */
const char *cfg_selector_problem(const struct gw_selector *sel);

/** Move p->raw to @p cfg, with SAs made of its pairs. */
int cfg_build(struct cfg_parse *p, struct gw_config *cfg);

/** Choose the source ports that the file leaves to us. Before the check, which sees numbers. */
int cfg_choose_sports(struct gw_config *cfg, struct gw_error *err);

/** Free what is left of p->raw. */
void cfg_raw_free(struct cfg_parse *p);

#endif /* CONFIG_PARSE_H */
