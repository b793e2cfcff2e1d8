/* SPDX-License-Identifier: BSD-3-Clause */

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "argument.h"
#include "command.h"

#define MAX_VARIANTS 8 /* of one row: each [...] doubles them */
#define MAX_NAMES_SHOWN 8

/* One position of a syntax: alternatives with | between them, inside the row's string. */
struct token {
	const char *s;
	unsigned int len;
};

/* A syntax with its optional parts chosen or left out. */
struct variant {
	const struct gw_command *row;
	unsigned int n;
	bool repeat; /* the last token, any number of times */
	struct token tok[GW_CMD_MAX_WORDS];
};

struct gw_cmds {
	const struct gw_command *rows;
	unsigned int n_rows;
	gw_cmd_names_fn *names;
	void *names_arg;
	unsigned int n;
	struct variant v[];
};

/* A line, split into words. */
struct line {
	unsigned int n;
	const char *word[GW_CMD_MAX_WORDS];
	bool open; /* the last word is being typed: nothing stands behind it */
};

/* How a word fits a token. */
enum fit {
	FIT_NO,
	FIT_ABBREVIATED,
	FIT_ARGUMENT,
	FIT_LITERAL,
};

static const char *
name_at(const struct gw_cmds *cmds, enum gw_cmd_names what, unsigned int i)
{
	return cmds->names != NULL ? cmds->names(cmds->names_arg, what, i) : NULL;
}

static bool
kind_fits(const struct gw_cmds *cmds, const struct gw_argument *kind, const char *word)
{
	const char *name;

	if (kind->fits != NULL)
		return kind->fits(word);
	for (unsigned int i = 0; (name = name_at(cmds, kind->names, i)) != NULL; i++)
		if (strcmp(name, word) == 0)
			return true;
	return false;
}

/* The next alternative of a token: *at starts as 0 and moves on. */
static bool
alternative(const struct token *tok, unsigned int *at, struct token *alt)
{
	const char *s = tok->s + *at;
	const char *bar;

	if (*at >= tok->len)
		return false;
	bar = memchr(s, '|', tok->len - *at);
	alt->s = s;
	alt->len = bar != NULL ? (unsigned int)(bar - s) : tok->len - *at;
	*at += alt->len + 1;
	return true;
}

static bool
is_argument(const struct token *alt)
{
	return isupper((unsigned char)alt->s[0]);
}

/* How well a word fits a token; *by is the alternative that it fits best. */
static enum fit
fit(const struct gw_cmds *cmds, const struct token *tok, const char *word, struct token *by)
{
	enum fit best = FIT_NO, f;
	unsigned int at = 0;
	struct token alt;
	size_t len = strlen(word);

	while (alternative(tok, &at, &alt)) {
		f = FIT_NO;
		if (is_argument(&alt))
			f = kind_fits(cmds, gw_argument_find(alt.s, alt.len), word) ? FIT_ARGUMENT
										    : FIT_NO;
		else if (len > 0 && len <= alt.len && memcmp(alt.s, word, len) == 0)
			f = len == alt.len ? FIT_LITERAL : FIT_ABBREVIATED;
		if (f > best) {
			best = f;
			*by = alt;
		}
	}
	return best;
}

static bool
token_ok(const struct token *tok)
{
	unsigned int at = 0;
	struct token alt;

	while (alternative(tok, &at, &alt)) {
		if (alt.len == 0)
			return false;
		if (is_argument(&alt)) {
			if (gw_argument_find(alt.s, alt.len) == NULL)
				return false;
			continue;
		}
		for (unsigned int i = 0; i < alt.len; i++)
			if (!islower((unsigned char)alt.s[i]) && alt.s[i] != '-' && alt.s[i] != '_')
				return false;
	}
	return tok->len > 0 && tok->s[tok->len - 1] != '|';
}

/*
 * Split a syntax into tokens, with the optional parts whose bit is set in
 * @choice, in order of appearance.
 *
 * @return how many optional parts it has, or -EINVAL.
 */
static int
split_syntax(const struct gw_command *row, unsigned int choice, struct variant *v)
{
	const char *s = row->syntax;
	unsigned int n_optional = 0;
	bool optional = false;

	memset(v, 0, sizeof(*v));
	v->row = row;
	while (*(s += strspn(s, " ")) != '\0') {
		struct token tok = {.s = s + (*s == '[')};
		bool closes;

		if (*s == '[' && optional)
			return -EINVAL;
		optional |= *s == '[';
		tok.len = strcspn(tok.s, " ]");
		s = tok.s + tok.len;
		closes = *s == ']';
		s += closes;
		if (tok.len > 3 && memcmp(tok.s + tok.len - 3, "...", 3) == 0) {
			tok.len -= 3;
			v->repeat = !optional || (choice >> n_optional & 1);
		}
		if (!token_ok(&tok) || v->n == GW_CMD_MAX_WORDS || (closes && !optional))
			return -EINVAL;
		if (!optional || (choice >> n_optional & 1))
			v->tok[v->n++] = tok;
		n_optional += closes;
		optional &= !closes;
	}
	return optional || v->n == 0 ? -EINVAL : (int)n_optional;
}

struct gw_cmds *
gw_cmds_new(const struct gw_command *rows, unsigned int n, gw_cmd_names_fn *names, void *names_arg,
		unsigned int *bad)
{
	struct gw_cmds *cmds = calloc(1, sizeof(*cmds) + n * MAX_VARIANTS * sizeof(cmds->v[0]));
	unsigned int i = 0;

	if (cmds == NULL)
		goto fail;
	cmds->rows = rows;
	cmds->n_rows = n;
	cmds->names = names;
	cmds->names_arg = names_arg;
	for (; i < n; i++) {
		int opt = split_syntax(&rows[i], 0, &cmds->v[cmds->n]);

		if (opt < 0 || 1u << opt > MAX_VARIANTS)
			goto fail;
		for (unsigned int choice = 0; choice < 1u << opt; choice++)
			split_syntax(&rows[i], choice, &cmds->v[cmds->n++]);
	}
	return cmds;
fail:
	if (bad != NULL)
		*bad = i;
	free(cmds);
	return NULL;
}

void
gw_cmds_free(struct gw_cmds *cmds)
{
	free(cmds);
}

/* Copy the next word to *to and move both on; "..." and "a"b"c" as in a shell. */
static int
split_word(const char **from, char **to)
{
	bool quoted = false;

	for (; **from != '\0' && (quoted || !isspace((unsigned char)**from)); ++*from) {
		if (**from == '"')
			quoted = !quoted;
		else
			*(*to)++ = **from;
	}
	*(*to)++ = '\0';
	return quoted ? -EINVAL : 0;
}

/* @buf has room for a line and the 0 behind each word. With @why NULL an open quote is let pass. */
static int
split_line(const char *s, char *buf, struct line *line, struct gw_text *why)
{
	memset(line, 0, sizeof(*line));
	if (strlen(s) > GW_CMD_MAX_LINE) {
		if (why != NULL)
			gw_text_printf(why, "the line is too long: at most %d characters",
					GW_CMD_MAX_LINE);
		return -EINVAL;
	}
	for (;;) {
		while (isspace((unsigned char)*s))
			s++;
		if (*s == '\0' || (*s == '#' && line->n == 0))
			return 0;
		if (line->n == GW_CMD_MAX_WORDS) {
			if (why != NULL)
				gw_text_printf(why, "too many words: at most %d", GW_CMD_MAX_WORDS);
			return -EINVAL;
		}
		line->word[line->n++] = buf;
		if (split_word(&s, &buf) != 0 && why != NULL) {
			gw_text_printf(why, "word %u: the closing \" is missing", line->n);
			return -EINVAL;
		}
		line->open = *s == '\0';
	}
}

static const struct token *
token_at(const struct variant *v, unsigned int i)
{
	if (i < v->n)
		return &v->tok[i];
	return v->repeat ? &v->tok[v->n - 1] : NULL;
}

/*
 * Of the variants alive, which fit word @i? Where some have it as it stands,
 * those for which it would be an abbreviation fall away: "show tunnel" is not
 * short for "show tunnels". How many are left; where none is, @alive is unchanged.
 */
static unsigned int
narrow(const struct gw_cmds *cmds, bool *alive, const char *word, unsigned int i)
{
	enum fit f[cmds->n], best = FIT_NO;
	unsigned int left = 0;
	struct token by;

	for (unsigned int k = 0; k < cmds->n; k++) {
		const struct token *tok = token_at(&cmds->v[k], i);

		f[k] = alive[k] && tok != NULL ? fit(cmds, tok, word, &by) : FIT_NO;
		if (f[k] > best)
			best = f[k];
	}
	if (best == FIT_NO)
		return 0;
	for (unsigned int k = 0; k < cmds->n; k++) {
		alive[k] = f[k] != FIT_NO && (best != FIT_LITERAL || f[k] == FIT_LITERAL);
		left += alive[k];
	}
	return left;
}

static void
put_alternative(const struct gw_cmds *cmds, const struct token *alt, struct gw_text *out)
{
	const struct gw_argument *kind;
	const char *name;

	gw_text_add(out, alt->s, alt->len);
	if (!is_argument(alt))
		return;
	kind = gw_argument_find(alt->s, alt->len);
	gw_text_printf(out, " (%s", kind->what);
	if (kind->fits == NULL) {
		for (unsigned int i = 0; (name = name_at(cmds, kind->names, i)) != NULL; i++) {
			if (i == MAX_NAMES_SHOWN) {
				gw_text_puts(out, ", ...");
				break;
			}
			gw_text_printf(out, "%s%s", i == 0 ? ": " : ", ", name);
		}
		if (name_at(cmds, kind->names, 0) == NULL)
			gw_text_puts(out, ": there is none");
	}
	gw_text_puts(out, ")");
}

/* Alternatives at one position, each once, over the variants alive. */
struct seen {
	unsigned int n;
	struct token alt[64];
};

static bool
seen_before(struct seen *seen, const struct token *alt)
{
	for (unsigned int i = 0; i < seen->n; i++)
		if (seen->alt[i].len == alt->len && memcmp(seen->alt[i].s, alt->s, alt->len) == 0)
			return true;
	if (seen->n < sizeof(seen->alt) / sizeof(seen->alt[0]))
		seen->alt[seen->n++] = *alt;
	return false;
}

/* All that could stand as word @i. */
static void
collect(const struct gw_cmds *cmds, const bool *alive, unsigned int i, struct seen *seen)
{
	struct token alt;

	seen->n = 0;
	for (unsigned int k = 0; k < cmds->n; k++) {
		const struct token *tok = alive[k] ? token_at(&cmds->v[k], i) : NULL;
		unsigned int at = 0;

		while (tok != NULL && alternative(tok, &at, &alt))
			seen_before(seen, &alt);
	}
}

static void
put_expected(const struct gw_cmds *cmds, const bool *alive, unsigned int i, struct gw_text *why)
{
	struct seen seen;

	collect(cmds, alive, i, &seen);
	gw_text_puts(why, seen.n > 1 ? "expected one of:" : "expected");
	for (unsigned int k = 0; k < seen.n; k++) {
		gw_text_puts(why, " ");
		put_alternative(cmds, &seen.alt[k], why);
	}
}

/* Word @i fits nowhere. */
static void
refuse_word(const struct gw_cmds *cmds, const bool *alive, const struct line *line, unsigned int i,
		struct gw_text *why)
{
	bool takes_more = false;
	unsigned int ends = cmds->n;

	for (unsigned int k = 0; k < cmds->n; k++) {
		if (!alive[k])
			continue;
		takes_more |= token_at(&cmds->v[k], i) != NULL;
		if (cmds->v[k].n == i && ends == cmds->n)
			ends = k;
	}
	gw_text_printf(why, "word %u: \"%s\"", i + 1, line->word[i]);
	if (!takes_more) {
		gw_text_printf(why, " is too much: %s", cmds->v[ends].row->syntax);
		return;
	}
	gw_text_puts(why, "? ");
	put_expected(cmds, alive, i, why);
	if (ends != cmds->n)
		gw_text_puts(why, ", or nothing");
}

/* The first word that rows take differently is the one that was too short. */
static void
refuse_ambiguous(const struct gw_cmds *cmds, const bool *alive, const struct line *line,
		struct gw_text *why)
{
	struct seen seen;
	unsigned int i;

	for (i = 0; i + 1 < line->n; i++) {
		collect(cmds, alive, i, &seen);
		if (seen.n > 1)
			break;
	}
	gw_text_printf(why, "word %u: \"%s\" is not clear: ", i + 1, line->word[i]);
	put_expected(cmds, alive, i, why);
}

/* The variant that a line is, given those that fit all its words; NULL: refused. */
static const struct variant *
choose(const struct gw_cmds *cmds, bool *alive, const struct line *line, struct gw_text *why)
{
	const struct variant *v = NULL;
	bool complete[cmds->n], several = false;

	for (unsigned int k = 0; k < cmds->n; k++) {
		complete[k] = alive[k] &&
				(cmds->v[k].n == line->n ||
						(cmds->v[k].repeat && cmds->v[k].n < line->n));
		if (!complete[k])
			continue;
		several |= v != NULL && v->row != cmds->v[k].row;
		v = v != NULL ? v : &cmds->v[k];
	}
	if (several) {
		refuse_ambiguous(cmds, complete, line, why);
		return NULL;
	}
	if (v == NULL) {
		gw_text_printf(why, "word %u is missing: ", line->n + 1);
		put_expected(cmds, alive, line->n, why);
	}
	return v;
}

/* Put each word with its meaning into cmd; texts of literals in full. */
static void
assign(const struct gw_cmds *cmds, const struct variant *v, const struct line *line, char *buf,
		struct gw_cmd *cmd)
{
	cmd->row = v->row;
	cmd->n_words = line->n;
	for (unsigned int i = 0; i < line->n; i++) {
		struct token by = {0};

		if (fit(cmds, token_at(v, i), line->word[i], &by) == FIT_ARGUMENT) {
			cmd->word[i].text = line->word[i];
			cmd->word[i].name = by.s;
			cmd->word[i].name_len = by.len;
			continue;
		}
		memcpy(buf, by.s, by.len);
		buf[by.len] = '\0';
		cmd->word[i].text = buf;
		cmd->word[i].name = NULL;
		buf += by.len + 1;
	}
}

int
gw_cmd_parse(const struct gw_cmds *cmds, const char *text, struct gw_cmd *cmd, struct gw_text *why)
{
	bool alive[cmds->n];
	const struct variant *v;
	struct line line;
	int rc;

	rc = split_line(text, cmd->buf, &line, why);
	if (rc != 0)
		return rc;
	if (line.n == 0)
		return -ENODATA;
	memset(alive, true, sizeof(alive));
	for (unsigned int i = 0; i < line.n; i++) {
		if (narrow(cmds, alive, line.word[i], i) == 0) {
			refuse_word(cmds, alive, &line, i, why);
			return -EINVAL;
		}
	}
	v = choose(cmds, alive, &line, why);
	if (v == NULL)
		return -EINVAL;
	assign(cmds, v, &line, cmd->full, cmd);
	return 0;
}

const char *
gw_cmd_arg(const struct gw_cmd *cmd, const char *name)
{
	for (unsigned int i = 0; i < cmd->n_words; i++)
		if (cmd->word[i].name != NULL && strlen(name) == cmd->word[i].name_len &&
				memcmp(name, cmd->word[i].name, cmd->word[i].name_len) == 0)
			return cmd->word[i].text;
	return NULL;
}

bool
gw_cmd_has(const struct gw_cmd *cmd, const char *literal)
{
	for (unsigned int i = 0; i < cmd->n_words; i++)
		if (cmd->word[i].name == NULL && strcmp(cmd->word[i].text, literal) == 0)
			return true;
	return false;
}

/* The variants that fit a line so far; its last word, being typed, is not looked at. */
static bool
narrow_line(const struct gw_cmds *cmds, const char *text, char *buf, struct line *line, bool *alive,
		const char **partial, unsigned int *at)
{
	if (split_line(text, buf, line, NULL) != 0)
		return false;
	*at = line->n - (line->open ? 1 : 0);
	*partial = line->open ? line->word[*at] : "";
	memset(alive, true, cmds->n);
	for (unsigned int i = 0; i < *at; i++)
		if (narrow(cmds, alive, line->word[i], i) == 0)
			return false;
	return true;
}

/* What a completion has found so far. */
struct found {
	const char *partial;
	unsigned int n; /* that begin with it */
	unsigned int common; /* length of what they have in common */
	char first[GW_CMD_MAX_LINE];
	struct gw_text *choices;
};

static void
found_one(struct found *f, const char *s, unsigned int len)
{
	size_t n = strlen(f->partial);

	if (len < n || len >= sizeof(f->first) || memcmp(s, f->partial, n) != 0)
		return;
	gw_text_printf(f->choices, "%.*s\n", (int)len, s);
	if (f->n++ == 0) {
		memcpy(f->first, s, len);
		f->first[len] = '\0';
		f->common = len;
		return;
	}
	for (n = 0; n < f->common && n < len && f->first[n] == s[n]; n++)
		;
	f->common = n;
}

void
gw_cmd_complete(const struct gw_cmds *cmds, const char *text, struct gw_cmd_completion *c)
{
	struct found f = {.choices = &c->choices};
	char buf[GW_CMD_MAX_LINE + GW_CMD_MAX_WORDS];
	bool alive[cmds->n], argument = false;
	struct line line;
	struct seen seen;
	unsigned int at;
	size_t n;

	memset(c, 0, sizeof(*c));
	if (!narrow_line(cmds, text, buf, &line, alive, &f.partial, &at))
		return;
	collect(cmds, alive, at, &seen);
	for (unsigned int i = 0; i < seen.n; i++) {
		const struct token *alt = &seen.alt[i];
		const struct gw_argument *kind =
				is_argument(alt) ? gw_argument_find(alt->s, alt->len) : NULL;
		const char *name;

		if (kind == NULL) {
			found_one(&f, alt->s, alt->len);
		} else if (kind->fits == NULL) {
			for (unsigned int k = 0; (name = name_at(cmds, kind->names, k)) != NULL;
					k++)
				found_one(&f, name, strlen(name));
		} else {
			/* cannot be completed, but it is good to know */
			argument = true;
			put_alternative(cmds, alt, &c->choices);
			gw_text_puts(&c->choices, "\n");
		}
	}
	n = strlen(f.partial);
	if (f.n == 0 || (argument && n == 0))
		return;
	snprintf(c->add, sizeof(c->add), "%.*s%s", (int)(f.common - n), f.first + n,
			f.n == 1 ? " " : "");
}

unsigned int
gw_cmd_help(const struct gw_cmds *cmds, const char *text, struct gw_text *out)
{
	char buf[GW_CMD_MAX_LINE + GW_CMD_MAX_WORDS];
	const struct gw_command *last = NULL;
	bool alive[cmds->n], all[cmds->n];
	const char *partial;
	struct line line;
	unsigned int at, n = 0;

	if (!narrow_line(cmds, text, buf, &line, alive, &partial, &at))
		return 0;
	memcpy(all, alive, sizeof(all));
	if (*partial != '\0' && narrow(cmds, alive, partial, at) == 0) {
		/* an argument half typed: those that take one there */
		for (unsigned int k = 0; k < cmds->n; k++)
			alive[k] = all[k] && token_at(&cmds->v[k], at) != NULL &&
					is_argument(token_at(&cmds->v[k], at));
	}
	for (unsigned int k = 0; k < cmds->n; k++) {
		if (!alive[k] || cmds->v[k].row == last)
			continue;
		last = cmds->v[k].row;
		gw_text_printf(out, "%-54s  %s\n", last->syntax, last->help);
		n++;
	}
	return n;
}
