/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef TEXT_H
#define TEXT_H

/*
 * A string that grows. Where memory runs out it keeps what it has and is marked
 * as failed, so that only the one who sends it has to look.
 */

#include <stdbool.h>
#include <stddef.h>

struct gw_text {
	char *s; /* ends with a 0; NULL while empty */
	size_t len;
	size_t cap;
	bool failed;
	bool secret; /* set by who puts keys into it: wiped when it moves, is emptied or freed */
};

void gw_text_add(struct gw_text *t, const char *s, size_t n);
void gw_text_puts(struct gw_text *t, const char *s);
void gw_text_printf(struct gw_text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/** n times the same character. */
void gw_text_fill(struct gw_text *t, char c, size_t n);

/** Its content; "" while empty. */
const char *gw_text_str(const struct gw_text *t);

/** Make it empty; its memory stays. */
void gw_text_clear(struct gw_text *t);

/** Free it; it is empty then and can be used again. */
void gw_text_fini(struct gw_text *t);

#endif /* TEXT_H */
