/* SPDX-License-Identifier: BSD-3-Clause */

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

/* realloc() would leave a copy of a secret where it was. */
static char *
grow(struct gw_text *t, size_t cap)
{
	char *s;

	if (!t->secret || t->s == NULL)
		return realloc(t->s, cap);
	s = malloc(cap);
	if (s == NULL)
		return NULL;
	memcpy(s, t->s, t->len + 1);
	explicit_bzero(t->s, t->cap);
	free(t->s);
	return s;
}

static bool
reserve(struct gw_text *t, size_t n)
{
	size_t cap = t->cap != 0 ? t->cap : 256;
	char *s;

	if (t->failed)
		return false;
	while (cap < t->len + n + 1)
		cap *= 2;
	if (cap == t->cap)
		return true;
	s = grow(t, cap);
	if (s == NULL) {
		t->failed = true;
		return false;
	}
	t->s = s;
	t->cap = cap;
	return true;
}

void
gw_text_add(struct gw_text *t, const char *s, size_t n)
{
	if (!reserve(t, n))
		return;
	memcpy(t->s + t->len, s, n);
	t->len += n;
	t->s[t->len] = '\0';
}

void
gw_text_puts(struct gw_text *t, const char *s)
{
	gw_text_add(t, s, strlen(s));
}

void
gw_text_printf(struct gw_text *t, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0 || !reserve(t, n))
		return;
	va_start(ap, fmt);
	vsnprintf(t->s + t->len, n + 1, fmt, ap);
	va_end(ap);
	t->len += n;
}

void
gw_text_fill(struct gw_text *t, char c, size_t n)
{
	if (!reserve(t, n))
		return;
	memset(t->s + t->len, c, n);
	t->len += n;
	t->s[t->len] = '\0';
}

const char *
gw_text_str(const struct gw_text *t)
{
	return t->s != NULL ? t->s : "";
}

void
gw_text_clear(struct gw_text *t)
{
	t->len = 0;
	if (t->s != NULL && t->secret)
		explicit_bzero(t->s, t->cap);
	else if (t->s != NULL)
		t->s[0] = '\0';
}

void
gw_text_fini(struct gw_text *t)
{
	if (t->s != NULL && t->secret)
		explicit_bzero(t->s, t->cap);
	free(t->s);
	memset(t, 0, sizeof(*t));
}
