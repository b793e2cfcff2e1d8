/* SPDX-License-Identifier: BSD-3-Clause */

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "metrics_text.h"

static const char *const type_name[] = {
		[GW_METRIC_COUNTER] = "counter",
		[GW_METRIC_GAUGE] = "gauge",
		[GW_METRIC_INFO] = "info",
};

void
gw_metrics_number(struct gw_text *out, uint64_t v)
{
	char digits[20];
	size_t at = sizeof(digits);

	do {
		digits[--at] = '0' + v % 10;
		v /= 10;
	} while (v != 0);
	gw_text_add(out, digits + at, sizeof(digits) - at);
}

/* A quote is escaped in labels, and in OpenMetrics in help as well. */
static void
put_escaped(struct gw_text *out, const char *s, bool quote)
{
	const char *special = quote ? "\\\n\"" : "\\\n";

	for (;;) {
		size_t n = strcspn(s, special);

		gw_text_add(out, s, n);
		s += n;
		if (*s == '\0')
			return;
		gw_text_add(out, "\\", 1);
		gw_text_add(out, *s == '\n' ? "n" : s, 1);
		s++;
	}
}

void
gw_metrics_label(struct gw_text *out, const char *name, const char *value)
{
	if (out->len > 0 && out->s[out->len - 1] != '{')
		gw_text_add(out, ",", 1);
	gw_text_puts(out, name);
	gw_text_add(out, "=\"", 2);
	put_escaped(out, value, true);
	gw_text_add(out, "\"", 1);
}

/* What the name ends with is its unit, as OpenMetrics wants it; NULL: it has none. */
static const char *
unit_of(const struct gw_metric *m)
{
	static const char *const units[] = {"bytes", "seconds", "ratio"};

	for (size_t i = 0; i < RTE_DIM(units); i++) {
		size_t n = strlen(m->name), u = strlen(units[i]);

		if (n > u && m->name[n - u - 1] == '_' && strcmp(m->name + n - u, units[i]) == 0)
			return units[i];
	}
	return NULL;
}

static const char *
suffix(const struct gw_metric *m)
{
	return m->type == GW_METRIC_COUNTER ? "_total" : m->type == GW_METRIC_INFO ? "_info" : "";
}

/* The older format knows no family: there the head names the samples, and an info is a gauge. */
static void
put_head(const struct gw_metrics_reader *r, const struct gw_metric *m, struct gw_text *out)
{
	const char *prefix = m->of->prefix, *more = r->openmetrics ? "" : suffix(m);
	const char *type = type_name[m->type];

	if (!r->openmetrics && m->type == GW_METRIC_INFO)
		type = type_name[GW_METRIC_GAUGE];
	gw_text_printf(out, "# TYPE %s%s%s %s\n", prefix, m->name, more, type);
	if (r->openmetrics && unit_of(m) != NULL)
		gw_text_printf(out, "# UNIT %s%s %s\n", prefix, m->name, unit_of(m));
	gw_text_printf(out, "# HELP %s%s%s ", prefix, m->name, more);
	put_escaped(out, m->help, r->openmetrics);
	gw_text_add(out, "\n", 1);
}

static void
put_value(const struct gw_metric *m, const void *object, struct gw_text *out)
{
	const void *v = (const char *)object + m->offset;
	char real[32];

	switch (m->value) {
	case GW_METRIC_U64:
		gw_metrics_number(out, *(const uint64_t *)v);
		break;
	case GW_METRIC_U32:
		gw_metrics_number(out, *(const uint32_t *)v);
		break;
	case GW_METRIC_REAL:
		/* not gw_text_printf(), which formats twice: each SA has one */
		snprintf(real, sizeof(real), "%.13g", *(const double *)v);
		gw_text_puts(out, real);
		break;
	case GW_METRIC_BOOL:
		gw_text_add(out, *(const bool *)v ? "1" : "0", 1);
		break;
	}
}

static void
put_row(const struct gw_metrics_reader *r, const struct gw_metric *m, struct gw_text *out)
{
	const void *object = m->of->object(r->s, r->row);

	if (object == NULL)
		return;
	gw_text_puts(out, m->of->prefix);
	gw_text_puts(out, m->name);
	gw_text_puts(out, suffix(m));
	if (m->of->labels != NULL) {
		gw_text_add(out, "{", 1);
		m->of->labels(r->s, r->row, out);
		gw_text_add(out, "}", 1);
	}
	gw_text_add(out, " ", 1);
	put_value(m, object, out);
	gw_text_add(out, "\n", 1);
}

/* The next line into r->line; or nothing, where a row has no value. */
static void
next_line(struct gw_metrics_reader *r)
{
	const struct gw_metric *m = &gw_metrics[r->metric];

	if (r->metric == gw_n_metrics) {
		if (r->openmetrics)
			gw_text_puts(&r->line, "# EOF\n");
		r->ended = true;
		return;
	}
	if (r->row == m->of->count(r->s)) {
		r->metric++;
		r->row = 0;
		return;
	}
	if (r->row == 0)
		put_head(r, m, &r->line);
	put_row(r, m, &r->line);
	r->row++;
}

ssize_t
gw_metrics_read(struct gw_metrics_reader *r, char *buf, size_t max)
{
	size_t n = 0;

	while (n < max) {
		size_t left = r->line.len - r->taken;

		if (left > max - n)
			left = max - n;
		if (left > 0)
			memcpy(buf + n, r->line.s + r->taken, left);
		n += left;
		r->taken += left;
		if (r->taken < r->line.len)
			break;
		gw_text_clear(&r->line);
		r->taken = 0;
		if (r->ended)
			break;
		next_line(r);
		if (r->line.failed)
			return -ENOMEM;
	}
	return n;
}

void
gw_metrics_reader_fini(struct gw_metrics_reader *r)
{
	gw_text_fini(&r->line);
}

/* Accept */

/* The parameter of a media range, which ends at @end: its value, or NULL. */
static const char *
parameter(const char *range, const char *end, const char *name)
{
	size_t n = strlen(name);

	for (const char *p = range; p < end; p++) {
		if (*p != ';')
			continue;
		for (p++; p < end && (*p == ' ' || *p == '\t'); p++)
			;
		if ((size_t)(end - p) > n && strncasecmp(p, name, n) == 0 && p[n] == '=')
			return p + n + 1;
		p--;
	}
	return NULL;
}

static bool
is_range(const char *range, const char *end, const char *type)
{
	size_t n = strcspn(range, ",; \t");

	return range + n <= end && n == strlen(type) && strncasecmp(range, type, n) == 0;
}

/* 0 to 1; what cannot be read as such is 0: not wanted. */
static double
quality(const char *range, const char *end)
{
	const char *q = parameter(range, end, "q");
	double v = 0, digit = 1;

	if (q == NULL)
		return 1;
	for (; q < end && (*q == '.' || (*q >= '0' && *q <= '9')); q++) {
		if (*q == '.') {
			digit = 0.1;
			continue;
		}
		v += (*q - '0') * digit;
		digit *= 0.1;
	}
	return v <= 1 ? v : 0;
}

static bool
version_is_ours(const char *range, const char *end)
{
	const char *v = parameter(range, end, "version");

	if (v == NULL)
		return true;
	v += *v == '"';
	return strncmp(v, "1.0.0", 5) == 0 || strncmp(v, "0.0.1", 5) == 0;
}

bool
gw_metrics_wants_openmetrics(const char *accept)
{
	double open = 0, text = 0;

	while (accept != NULL && *accept != '\0') {
		const char *end = accept + strcspn(accept, ",");
		double q;

		accept += strspn(accept, " \t");
		q = accept < end ? quality(accept, end) : 0;
		if (is_range(accept, end, "application/openmetrics-text") &&
				version_is_ours(accept, end))
			open = RTE_MAX(open, q);
		else if (is_range(accept, end, "text/plain"))
			text = RTE_MAX(text, q);
		accept = end + (*end == ',');
	}
	return open > 0 && open >= text;
}

/* docs/metrics.md */

void
gw_metrics_doc(FILE *out)
{
	fputs("| metric | type | labels | what it says |\n|---|---|---|---|\n", out);
	for (unsigned int i = 0; i < gw_n_metrics; i++) {
		const struct gw_metric *m = &gw_metrics[i];

		fprintf(out, "| `%s%s%s` | %s | %s | %s |\n", m->of->prefix, m->name, suffix(m),
				type_name[m->type], m->of->label_names, m->help);
	}
}
