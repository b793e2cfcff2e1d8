/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef TERM_H
#define TERM_H

/*
 * The terminal while a line is edited: no echo, each key at once, Ctrl-C as a
 * key. One per process; it becomes again what it was at gw_term_restore(), at
 * exit(), and when a signal ends the process.
 */

#include <stdbool.h>

/** 0 or -errno (-ENOTTY: not a terminal). */
int gw_term_raw(int fd);

/** Also where it is not raw. */
void gw_term_restore(void);

/** Let Ctrl-\ end the process: where the one who reads the keys may not answer. */
void gw_term_allow_quit(void);

#endif /* TERM_H */
