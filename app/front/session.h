/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef SESSION_H
#define SESSION_H

/*
 * One who types: a terminal, or a client of the socket. Bytes in, bytes out,
 * never waited for. What a client of the socket says:
 *
 *   The first byte is the mode.
 *   'I': keys, as a terminal sends them; what comes back is for a terminal.
 *   'E': lines, each with a newline. For each comes its output, then a 0 byte,
 *        then '0' (done) or '1' (failed: "error: " and a sentence stands at the
 *        end of the output).
 *
 * A line is not looked at before the output of the one before has been sent, so
 * a client that does not read holds one answer in memory, and no more.
 */

#include <stdbool.h>

#include "commands.h"

#define GW_SESSION_KEYS 'I'
#define GW_SESSION_LINES 'E'

/** Output that may wait; a session with more is closed. One answer never comes near. */
#define GW_SESSION_MAX_OUTPUT (32u << 20)

struct gw_session;

/** It is over: free it. Nothing of it is used behind this call. */
typedef void gw_session_done(void *arg, struct gw_session *s);

/**
 * @param fd
 *   A socket, from now on the session's, non-blocking.
 */
int gw_session_socket(struct gw *gw, const struct gw_cmds *cmds, int fd, gw_session_done *done,
		void *arg, struct gw_session **session);

/** On stdin and stdout: keys where they are a terminal, else lines without an answer's end mark. */
int gw_session_terminal(struct gw *gw, const struct gw_cmds *cmds, gw_session_done *done, void *arg,
		struct gw_session **session);

/** Send what can be sent at once, restore the terminal or close the socket. NULL is allowed. */
void gw_session_free(struct gw_session *s);

/** Is it the terminal's? */
bool gw_session_is_terminal(const struct gw_session *s);

/** For how long its output has been waiting, seconds; 0: none waits. */
unsigned int gw_session_stuck(const struct gw_session *s);

#endif /* SESSION_H */
