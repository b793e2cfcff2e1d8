/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef ARGUMENT_H
#define ARGUMENT_H

/* The arguments that a command can have: a row for each name that a syntax may use. Pure. */

#include <stdint.h>
#include <stdio.h>

#include "command.h"

struct gw_argument {
	const char *name;
	const char *what; /* what it takes, for people */
	bool (*fits)(const char *s); /* NULL: it takes a living name */
	enum gw_cmd_names names; /* which */
};

/** NULL: there is none of this name. */
const struct gw_argument *gw_argument_find(const char *name, unsigned int len);

/** Number in decimal or 0x...; false where it is none or above max. */
bool gw_cmd_number(const char *s, uint64_t max, uint64_t *v);

/** IP protocol by name or number. */
bool gw_cmd_proto(const char *s, uint8_t *proto);

/** Its name, or the number; @p buf of 16. */
const char *gw_cmd_proto_text(uint8_t proto, char *buf);

/** What each argument takes, as rows of a Markdown table. */
void gw_argument_doc(FILE *out);

#endif /* ARGUMENT_H */
