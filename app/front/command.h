/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef COMMAND_H
#define COMMAND_H

/*
 * From a line to a row of the command table. Pure: the table, and the names of
 * tunnels and ports, come from the caller.
 *
 * A syntax is a list of words: lower case is meant literally, UPPER CASE is an
 * argument (its name says what it takes, see the list in command.c), a|b is
 * one of them, [a b] may be left out as a whole, and a last WORD... repeats.
 * Literal words can be abbreviated for as long as that is clear. A refusal says
 * which word it is about and what was expected there.
 */

#include <stdbool.h>

#include "../control/config.h"
#include "text.h"

#define GW_CMD_MAX_WORDS 16
/** Longest line. rdline cuts off longer ones at 512 without a word: we refuse before. */
#define GW_CMD_MAX_LINE 500

struct gw;
struct gw_cmd;

/** 0, or a negative errno value and cmd->err set. */
typedef int gw_cmd_fn(struct gw_cmd *cmd);

struct gw_command {
	const char *syntax;
	gw_cmd_fn *fn;
	const char *help; /* one line */
};

/** Which living names an argument takes. */
enum gw_cmd_names {
	GW_CMD_TUNNELS,
	GW_CMD_PORTS,
};

/** The i-th name; NULL from the end on. */
typedef const char *gw_cmd_names_fn(void *arg, enum gw_cmd_names what, unsigned int i);

/** A parsed line. */
struct gw_cmd {
	const struct gw_command *row;
	unsigned int n_words;
	struct {
		const char *text; /* as typed; a literal in full */
		const char *name; /* of an argument, in the syntax (no 0 behind); NULL: a literal */
		unsigned int name_len;
	} word[GW_CMD_MAX_WORDS];
	char buf[GW_CMD_MAX_LINE + GW_CMD_MAX_WORDS]; /* where the texts are: words as typed, */
	char full[GW_CMD_MAX_LINE]; /* and literals in full */

	/* for the handler */
	const struct gw_cmds *cmds;
	struct gw *gw;
	struct gw_text *out;
	struct gw_error err;
	bool own_terminal; /* not a socket */
	bool leave; /* set by it: this console is done */
};

struct gw_cmds; /* the table, split into words */

/**
 * @param rows
 *   Kept, not copied.
 * @return
 *   NULL where a row is not well-formed (or no memory): *bad is its number then.
 */
struct gw_cmds *gw_cmds_new(const struct gw_command *rows, unsigned int n, gw_cmd_names_fn *names,
		void *names_arg, unsigned int *bad);
void gw_cmds_free(struct gw_cmds *cmds);

/**
 * Parse a line. 0: cmd filled. -ENODATA: it is empty or a comment (#).
 * -EINVAL: @p why has a sentence.
 */
int gw_cmd_parse(const struct gw_cmds *cmds, const char *line, struct gw_cmd *cmd,
		struct gw_text *why);

/** The text of an argument, by its name in the syntax; NULL: left out. */
const char *gw_cmd_arg(const struct gw_cmd *cmd, const char *name);

/** Is this literal word in the line? */
bool gw_cmd_has(const struct gw_cmd *cmd, const char *literal);

/** What could stand at the end of an unfinished line, for TAB. */
struct gw_cmd_completion {
	char add[GW_CMD_MAX_LINE]; /* what is sure: to be put at the cursor; "" */
	struct gw_text choices; /* what may stand there, a line each; to be freed */
};

void gw_cmd_complete(const struct gw_cmds *cmds, const char *line, struct gw_cmd_completion *c);

/** Rows that begin with the words of a line, as "syntax  help" lines. Returns how many. */
unsigned int gw_cmd_help(const struct gw_cmds *cmds, const char *line, struct gw_text *out);

#endif /* COMMAND_H */
