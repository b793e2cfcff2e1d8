/* SPDX-License-Identifier: BSD-3-Clause */

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "table.h"

#define REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */

struct cell {
	bool none;
	union {
		char *text;
		uint64_t num;
		int64_t diff;
		double real;
		bool yes;
	};
};

struct column {
	char *key;
	char *heading;
	enum gw_kind kind;
};

struct gw_table {
	struct gw_table *next;
	struct gw_doc *doc;
	char *key;
	char *title; /* NULL: none */
	bool facts;
	struct column *col;
	unsigned int n_cols;
	struct cell *cell;
	size_t n_cells;
	size_t cap;
};

struct gw_doc {
	struct gw_table *first;
	struct gw_table **end;
	bool failed; /* memory ran out */
	struct gw_table sink; /* what callers fill in then */
};

struct gw_doc *
gw_doc_new(void)
{
	struct gw_doc *doc = calloc(1, sizeof(*doc));

	if (doc == NULL)
		return NULL;
	doc->end = &doc->first;
	doc->sink.doc = doc;
	return doc;
}

static void
table_fini(struct gw_table *t)
{
	for (size_t i = 0; i < t->n_cells; i++)
		if (!t->cell[i].none && t->col[i % t->n_cols].kind == GW_KIND_TEXT)
			free(t->cell[i].text);
	for (unsigned int i = 0; i < t->n_cols; i++) {
		free(t->col[i].key);
		free(t->col[i].heading);
	}
	free(t->cell);
	free(t->col);
	free(t->key);
	free(t->title);
}

void
gw_doc_free(struct gw_doc *doc)
{
	struct gw_table *t;

	if (doc == NULL)
		return;
	while ((t = doc->first) != NULL) {
		doc->first = t->next;
		table_fini(t);
		free(t);
	}
	table_fini(&doc->sink);
	free(doc);
}

static struct gw_table *
table_new(struct gw_doc *doc, const char *key, const char *title, bool facts)
{
	struct gw_table *t = calloc(1, sizeof(*t));

	if (t == NULL) {
		doc->failed = true;
		return &doc->sink;
	}
	t->doc = doc;
	t->facts = facts;
	t->key = strdup(key);
	t->title = title != NULL ? strdup(title) : NULL;
	if (t->key == NULL || (title != NULL && t->title == NULL))
		doc->failed = true;
	*doc->end = t;
	doc->end = &t->next;
	return t;
}

struct gw_table *
gw_doc_table(struct gw_doc *doc, const char *key, const char *title,
		const struct gw_column *columns, unsigned int n)
{
	struct gw_table *t = table_new(doc, key, title, false);

	for (unsigned int i = 0; i < n; i++)
		gw_table_column(t, columns[i].key, columns[i].heading, columns[i].kind);
	return t;
}

struct gw_table *
gw_doc_facts(struct gw_doc *doc, const char *key, const char *title)
{
	return table_new(doc, key, title, true);
}

void
gw_table_column(struct gw_table *t, const char *key, const char *heading, enum gw_kind kind)
{
	struct column *col;

	if (t->doc->failed)
		return;
	col = realloc(t->col, (t->n_cols + 1) * sizeof(*col));
	if (col == NULL) {
		t->doc->failed = true;
		return;
	}
	t->col = col;
	col += t->n_cols++;
	col->kind = kind;
	col->key = strdup(key);
	col->heading = strdup(heading);
	if (col->key == NULL || col->heading == NULL)
		t->doc->failed = true;
}

void
gw_fact(struct gw_table *facts, const char *key, const char *heading, enum gw_kind kind)
{
	gw_table_column(facts, key, heading, kind);
}

/* The next cell, to be filled in; NULL where memory ran out. */
static struct cell *
cell_new(struct gw_table *t)
{
	size_t cap = t->cap != 0 ? t->cap * 2 : 64;
	struct cell *cell;

	if (t->doc->failed || t->n_cols == 0)
		return NULL;
	if (t->n_cells == t->cap) {
		cell = realloc(t->cell, cap * sizeof(*cell));
		if (cell == NULL) {
			t->doc->failed = true;
			return NULL;
		}
		t->cell = cell;
		t->cap = cap;
	}
	cell = &t->cell[t->n_cells++];
	memset(cell, 0, sizeof(*cell));
	return cell;
}

void
gw_cell_text(struct gw_table *t, const char *s)
{
	struct cell *cell = cell_new(t);

	if (cell == NULL)
		return;
	cell->none = s == NULL;
	if (s == NULL)
		return;
	cell->text = strdup(s);
	if (cell->text == NULL)
		t->doc->failed = true;
}

void
gw_cell_fmt(struct gw_table *t, const char *fmt, ...)
{
	struct cell *cell = cell_new(t);
	va_list ap;

	if (cell == NULL)
		return;
	va_start(ap, fmt);
	if (vasprintf(&cell->text, fmt, ap) < 0) {
		cell->text = NULL;
		t->doc->failed = true;
	}
	va_end(ap);
}

void
gw_cell_num(struct gw_table *t, uint64_t v)
{
	struct cell *cell = cell_new(t);

	if (cell != NULL)
		cell->num = v;
}

void
gw_cell_diff(struct gw_table *t, int64_t v)
{
	struct cell *cell = cell_new(t);

	if (cell != NULL)
		cell->diff = v;
}

void
gw_cell_real(struct gw_table *t, double v)
{
	struct cell *cell = cell_new(t);

	if (cell == NULL)
		return;
	cell->none = !isfinite(v);
	cell->real = v;
}

void
gw_cell_bool(struct gw_table *t, bool v)
{
	struct cell *cell = cell_new(t);

	if (cell != NULL)
		cell->yes = v;
}

void
gw_cell_none(struct gw_table *t)
{
	struct cell *cell = cell_new(t);

	if (cell != NULL)
		cell->none = true;
}

unsigned int
gw_table_rows(const struct gw_table *t)
{
	return t->n_cols != 0 ? t->n_cells / t->n_cols : 0;
}

/* Bytes of the UTF-8 character at @p s; 0 where it is none. No overlong ones, no surrogates. */
static unsigned int
utf8_len(const char *s)
{
	const uint8_t *p = (const uint8_t *)s;
	uint32_t c = p[0];
	unsigned int n;

	if (c < 0x80)
		return 1;
	n = c >= 0xf0 && c < 0xf5 ? 4 : c >= 0xe0 && c < 0xf0 ? 3 : c >= 0xc2 && c < 0xe0 ? 2 : 0;
	if (n == 0)
		return 0;
	c &= 0x7f >> n;
	for (unsigned int i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3f);
	}
	if ((n == 3 && (c < 0x800 || (c >= 0xd800 && c < 0xe000))) ||
			(n == 4 && (c < 0x10000 || c > 0x10ffff)))
		return 0;
	return n;
}

void
gw_json_string(struct gw_text *out, const char *s)
{
	gw_text_puts(out, "\"");
	while (*s != '\0') {
		unsigned int n = utf8_len(s);
		uint8_t c = *s;

		if (n == 0)
			gw_text_puts(out, REPLACEMENT);
		else if (c == '"' || c == '\\')
			gw_text_printf(out, "\\%c", c);
		else if (c < 0x20 || c == 0x7f)
			gw_text_printf(out, "\\u%04x", c);
		else
			gw_text_add(out, s, n);
		s += n != 0 ? n : 1;
	}
	gw_text_puts(out, "\"");
}

/* For a terminal: nothing in a name may move its cursor or change its colours. */
static void
put_plain(struct gw_text *out, const char *s)
{
	while (*s != '\0') {
		unsigned int n = utf8_len(s);
		uint8_t c = *s;

		if (n == 0 || (n == 2 && c == 0xc2 && (uint8_t)s[1] < 0xa0))
			gw_text_puts(out, REPLACEMENT);
		else if (c < 0x20 || c == 0x7f)
			gw_text_puts(out, "?");
		else
			gw_text_add(out, s, n);
		s += n != 0 ? n : 1;
	}
}

/* Characters, not bytes. */
static size_t
width(const char *s)
{
	size_t n = 0;

	for (; *s != '\0'; s++)
		n += ((uint8_t)*s & 0xc0) != 0x80;
	return n;
}

static void
cell_plain(struct gw_text *out, const struct cell *c, enum gw_kind kind)
{
	if (c->none) {
		gw_text_puts(out, kind == GW_KIND_PCPU ? "any" : "-");
		return;
	}
	switch (kind) {
	case GW_KIND_TEXT:
		put_plain(out, c->text);
		break;
	case GW_KIND_COUNT:
	case GW_KIND_BYTES:
	case GW_KIND_PCPU:
		gw_text_printf(out, "%" PRIu64, c->num);
		break;
	case GW_KIND_DIFF:
		gw_text_printf(out, "%" PRId64, c->diff);
		break;
	case GW_KIND_PPS:
		gw_text_printf(out, "%.3f", c->real / 1e6);
		break;
	case GW_KIND_BPS:
		gw_text_printf(out, "%.3f", c->real / 1e9);
		break;
	case GW_KIND_SECONDS:
	case GW_KIND_PERCENT:
	case GW_KIND_CYCLES:
		gw_text_printf(out, "%.1f", c->real);
		break;
	case GW_KIND_BOOL:
		gw_text_puts(out, c->yes ? "yes" : "no");
		break;
	case GW_KIND_SPI:
		gw_text_printf(out, "0x%08" PRIx64, c->num);
		break;
	}
}

static void
cell_json(struct gw_text *out, const struct cell *c, enum gw_kind kind)
{
	if (c->none) {
		gw_text_puts(out, "null");
		return;
	}
	switch (kind) {
	case GW_KIND_TEXT:
		gw_json_string(out, c->text);
		break;
	case GW_KIND_COUNT:
	case GW_KIND_BYTES:
	case GW_KIND_PCPU:
	case GW_KIND_SPI:
		gw_text_printf(out, "%" PRIu64, c->num);
		break;
	case GW_KIND_DIFF:
		gw_text_printf(out, "%" PRId64, c->diff);
		break;
	case GW_KIND_PPS:
	case GW_KIND_BPS:
	case GW_KIND_SECONDS:
	case GW_KIND_PERCENT:
	case GW_KIND_CYCLES:
		gw_text_printf(out, "%.3f", c->real);
		break;
	case GW_KIND_BOOL:
		gw_text_puts(out, c->yes ? "true" : "false");
		break;
	}
}

static bool
right_aligned(enum gw_kind kind)
{
	return kind != GW_KIND_TEXT && kind != GW_KIND_BOOL && kind != GW_KIND_SPI;
}

/* One field of a line; no spaces stand at the end of the last. */
static void
put_field(struct gw_text *out, const char *s, size_t w, bool right, bool last)
{
	size_t n = width(s);
	size_t pad = n < w ? w - n : 0;

	if (right)
		gw_text_fill(out, ' ', pad);
	gw_text_puts(out, s);
	if (!last) {
		gw_text_fill(out, ' ', (right ? 0 : pad) + 2);
		return;
	}
	while (out->len > 0 && out->s[out->len - 1] == ' ')
		out->s[--out->len] = '\0';
	gw_text_puts(out, "\n");
}

static void
table_plain(const struct gw_table *t, size_t *w, struct gw_text *cell, struct gw_text *out)
{
	for (unsigned int c = 0; c < t->n_cols; c++)
		w[c] = width(t->col[c].heading);
	for (size_t i = 0; i < t->n_cells; i++) {
		size_t *max = &w[i % t->n_cols];
		size_t n;

		gw_text_clear(cell);
		cell_plain(cell, &t->cell[i], t->col[i % t->n_cols].kind);
		n = width(gw_text_str(cell));
		if (n > *max)
			*max = n;
	}
	for (unsigned int c = 0; c < t->n_cols; c++)
		put_field(out, t->col[c].heading, w[c], right_aligned(t->col[c].kind),
				c + 1 == t->n_cols);
	for (size_t i = 0; i < t->n_cells; i++) {
		unsigned int c = i % t->n_cols;

		gw_text_clear(cell);
		cell_plain(cell, &t->cell[i], t->col[c].kind);
		put_field(out, gw_text_str(cell), w[c], right_aligned(t->col[c].kind),
				c + 1 == t->n_cols);
	}
	if (t->n_cells == 0)
		gw_text_puts(out, "(none)\n");
}

static const char *
unit(enum gw_kind kind)
{
	switch (kind) {
	case GW_KIND_PPS:
		return " Mpps";
	case GW_KIND_BPS:
		return " Gbit/s";
	case GW_KIND_SECONDS:
		return " s";
	case GW_KIND_PERCENT:
		return " %";
	default:
		return "";
	}
}

static void
facts_plain(const struct gw_table *t, struct gw_text *out)
{
	size_t w = 0;

	for (unsigned int c = 0; c < t->n_cols; c++)
		if (width(t->col[c].heading) > w)
			w = width(t->col[c].heading);
	for (size_t c = 0; c < t->n_cells; c++) {
		put_field(out, t->col[c].heading, w, false, false);
		cell_plain(out, &t->cell[c], t->col[c].kind);
		gw_text_puts(out, t->cell[c].none ? "" : unit(t->col[c].kind));
		gw_text_puts(out, "\n");
	}
}

static void
doc_plain(const struct gw_doc *doc, size_t *w, struct gw_text *cell, struct gw_text *out)
{
	for (const struct gw_table *t = doc->first; t != NULL; t = t->next) {
		if (t != doc->first)
			gw_text_puts(out, "\n");
		if (t->title != NULL)
			gw_text_printf(out, "%s\n", t->title);
		if (t->facts)
			facts_plain(t, out);
		else
			table_plain(t, w, cell, out);
	}
}

static void
row_json(const struct gw_table *t, size_t first, struct gw_text *out)
{
	gw_text_puts(out, "{");
	for (unsigned int c = 0; c < t->n_cols && first + c < t->n_cells; c++) {
		gw_text_puts(out, c != 0 ? "," : "");
		gw_json_string(out, t->col[c].key);
		gw_text_puts(out, ":");
		cell_json(out, &t->cell[first + c], t->col[c].kind);
	}
	gw_text_puts(out, "}");
}

static void
table_json(const struct gw_table *t, struct gw_text *out)
{
	if (t->facts) {
		row_json(t, 0, out);
		return;
	}
	gw_text_puts(out, "[");
	for (size_t i = 0; i < t->n_cells; i += t->n_cols) {
		gw_text_puts(out, i != 0 ? ",\n" : "\n");
		row_json(t, i, out);
	}
	gw_text_puts(out, "]");
}

static void
doc_json(const struct gw_doc *doc, struct gw_text *out)
{
	bool several = doc->first != NULL && doc->first->next != NULL;

	gw_text_puts(out, several ? "{" : "");
	for (const struct gw_table *t = doc->first; t != NULL; t = t->next) {
		if (several) {
			gw_text_puts(out, t != doc->first ? ",\n" : "");
			gw_json_string(out, t->key);
			gw_text_puts(out, ":");
		}
		table_json(t, out);
	}
	gw_text_puts(out, several ? "}\n" : "\n");
}

int
gw_doc_render(const struct gw_doc *doc, bool json, struct gw_text *out)
{
	struct gw_text cell = {0};
	size_t at = out->len, *w;
	unsigned int n = 1;

	if (doc->failed)
		return -ENOMEM;
	for (const struct gw_table *t = doc->first; t != NULL; t = t->next)
		n = t->n_cols > n ? t->n_cols : n;
	w = calloc(n, sizeof(*w));
	if (w == NULL)
		return -ENOMEM;
	if (json)
		doc_json(doc, out);
	else
		doc_plain(doc, w, &cell, out);
	free(w);
	if (cell.failed || out->failed) {
		gw_text_fini(&cell);
		out->len = at;
		return -ENOMEM;
	}
	gw_text_fini(&cell);
	return 0;
}
