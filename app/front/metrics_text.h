/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef METRICS_TEXT_H
#define METRICS_TEXT_H

/*
 * The metrics as text, OpenMetrics 1.0 or Prometheus' older format, piece by piece. A family is a
 * row of gw_metrics[] (metrics_table.c); where the gateway has a table of its own (counters.h,
 * ike.h, ...), its rows are made of that. docs/metrics.md is printed from the same table.
 */

#include <stdio.h>

#include "metrics_snapshot.h"
#include "text.h"

enum gw_metric_type {
	GW_METRIC_COUNTER,
	GW_METRIC_GAUGE,
	GW_METRIC_INFO, /* its value is 1; what it says is in its labels */
};

enum gw_metric_value {
	GW_METRIC_U64,
	GW_METRIC_U32,
	GW_METRIC_REAL,
	GW_METRIC_BOOL,
};

/** What families are of: workers, ports, SAs. */
struct gw_metric_group {
	const char *prefix; /* of the families' names */
	const char *label_names; /* for the document; "": none */
	unsigned int (*count)(const struct gw_snapshot *s);
	/** What a value is in, gw_metric.offset bytes on; NULL: this one has no such value. */
	const void *(*object)(const struct gw_snapshot *s, unsigned int i);
	/** name="value",... to @p out; NULL: none. */
	void (*labels)(const struct gw_snapshot *s, unsigned int i, struct gw_text *out);
};

/** A family. */
struct gw_metric {
	const struct gw_metric_group *of;
	const char *name; /* behind the prefix; without _total and _info; its end is the unit */
	enum gw_metric_type type;
	enum gw_metric_value value;
	size_t offset;
	const char *help; /* a sentence of the user's, without a full stop */
};

extern const struct gw_metric gw_metrics[];
extern const unsigned int gw_n_metrics;

/** How far one reader has come. Zeroed, with s and openmetrics set: at the beginning. */
struct gw_metrics_reader {
	const struct gw_snapshot *s; /* stays as it is until the end */
	bool openmetrics;
	unsigned int metric; /* index; gw_n_metrics: all were written */
	unsigned int row; /* of its group; 0: its head, too */
	bool ended;
	struct gw_text line; /* written, and not all taken yet */
	size_t taken; /* of it */
};

/**
 * The next piece of the text; where the pieces end changes nothing of it.
 *
 * @return
 *   Bytes written to @p buf; 0: that was all; -ENOMEM.
 */
ssize_t gw_metrics_read(struct gw_metrics_reader *r, char *buf, size_t max);

/** Free what it holds; not the snapshot. */
void gw_metrics_reader_fini(struct gw_metrics_reader *r);

/** name="value", with what the format wants escaped; a comma where something stands before it. */
void gw_metrics_label(struct gw_text *out, const char *name, const char *value);

/** Decimal digits, faster than printf. */
void gw_metrics_number(struct gw_text *out, uint64_t v);

/**
 * Which format an Accept header wants. True: OpenMetrics; false: the older one, also where there is
 * no header (NULL), as old readers send none.
 */
bool gw_metrics_wants_openmetrics(const char *accept);

/** The table of docs/metrics.md. */
void gw_metrics_doc(FILE *out);

#endif /* METRICS_TEXT_H */
