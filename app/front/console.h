/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef CONSOLE_H
#define CONSOLE_H

/*
 * The console: on the terminal (-i), and on a private UNIX socket for
 * "dpdk-pcpu-gw --attach" and scripts. Commands are rows of one table
 * (commands.c); line editing, history and completion are rte_cmdline's.
 * Control thread; a client that does not read is closed, never waited for.
 */

#include <stdio.h>

#include "../control/control.h"

struct gw_console;

/**
 * @param socket_path
 *   NULL: no socket. Made with mode 0600; a stale one is replaced, a living one
 *   is an error.
 * @param interactive
 *   Also on stdin and stdout.
 */
int gw_console_open(struct gw *gw, const char *socket_path, bool interactive,
		struct gw_console **con, struct gw_error *err);

/** NULL is allowed. Restores the terminal, removes the socket. */
void gw_console_close(struct gw_console *con);

/**
 * The other end: "--attach". With commands: run each, print its output, return
 * 0, or 1 where one failed. Without: a terminal session.
 */
int gw_attach(const char *socket_path, const char *const *commands);

/** The command table as Markdown, for docs/console.md. */
void gw_console_doc(FILE *out);

/** Counters and drop reasons as Markdown, for docs/counters.md. */
void gw_counters_doc(FILE *out);

#endif /* CONSOLE_H */
