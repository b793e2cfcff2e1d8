/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef TABLE_H
#define TABLE_H

/*
 * What a show command has to say, filled in once and written as aligned text or
 * as JSON. A document has sections: tables (rows of cells under columns) and
 * facts (a list of keys and values). Pure.
 *
 * JSON: a table is an array of objects, facts are one object; a document of
 * several sections is an object of them by key. Numbers are raw there: packets
 * per second, bits per second; an SPI is a number.
 */

#include <stdbool.h>
#include <stdint.h>

#include "text.h"

enum gw_kind {
	GW_KIND_TEXT,
	GW_KIND_COUNT,
	GW_KIND_BYTES,
	GW_KIND_DIFF, /* signed */
	GW_KIND_PPS, /* packets per second; as text: Mpps */
	GW_KIND_BPS, /* bits per second; as text: Gbit/s */
	GW_KIND_SECONDS,
	GW_KIND_PERCENT,
	GW_KIND_CYCLES, /* of the TSC, for a packet */
	GW_KIND_BOOL, /* as text: yes, no */
	GW_KIND_SPI, /* as text: 0x and 8 digits */
	GW_KIND_PCPU, /* a number; none is as text: any */
};

struct gw_column {
	const char *key; /* in JSON */
	const char *heading; /* in text */
	enum gw_kind kind;
};

struct gw_doc;
struct gw_table;

struct gw_doc *gw_doc_new(void);
void gw_doc_free(struct gw_doc *doc);

/** A table; @p title stands above it in text, NULL: nothing. Never NULL, see gw_doc_render(). */
struct gw_table *gw_doc_table(struct gw_doc *doc, const char *key, const char *title,
		const struct gw_column *columns, unsigned int n);

/** Facts: gw_fact() names each, and a cell follows it. */
struct gw_table *gw_doc_facts(struct gw_doc *doc, const char *key, const char *title);

/** One more column; before the first cell. The strings are copied. */
void gw_table_column(struct gw_table *t, const char *key, const char *heading, enum gw_kind kind);
void gw_fact(struct gw_table *facts, const char *key, const char *heading, enum gw_kind kind);

/* Cells, from left to right and from row to row; each of its column's kind. */
void gw_cell_text(struct gw_table *t, const char *s); /* NULL: none */
void gw_cell_fmt(struct gw_table *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void gw_cell_num(struct gw_table *t, uint64_t v); /* COUNT, BYTES, SPI, PCPU */
void gw_cell_diff(struct gw_table *t, int64_t v);
void gw_cell_real(struct gw_table *t, double v); /* PPS, BPS, SECONDS, PERCENT, CYCLES */
void gw_cell_bool(struct gw_table *t, bool v);
void gw_cell_none(struct gw_table *t); /* "-", null */

unsigned int gw_table_rows(const struct gw_table *t);

/** Write it. -ENOMEM where memory ran out on the way: @p out is as it was. */
int gw_doc_render(const struct gw_doc *doc, bool json, struct gw_text *out);

/** A string with its quotes and escapes; what is not UTF-8 becomes U+FFFD. */
void gw_json_string(struct gw_text *out, const char *s);

#endif /* TABLE_H */
