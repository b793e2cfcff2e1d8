/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef UNIX_SOCKET_H
#define UNIX_SOCKET_H

/* A private UNIX socket that listens at a path: of the console, and of IKE. Control thread. */

#include <stdbool.h>
#include <sys/stat.h>
#include <sys/un.h>

struct gw_unix_socket {
	int fd; /* -1: none */
	struct sockaddr_un addr;
	struct stat st; /* of the socket we made: only that one is removed at the end */
};

/** 0 or -ENAMETOOLONG. */
int gw_unix_set_path(struct gw_unix_socket *s, const char *path);

/**
 * Remove a socket file that nobody listens on: it is left from a crash.
 *
 * @param type
 *   Of the socket: SOCK_STREAM, SOCK_SEQPACKET.
 * @return
 *   0, also where there is none; -EEXIST: that is no socket; -EADDRINUSE: somebody listens.
 */
int gw_unix_clear_path(const struct gw_unix_socket *s, int type);

/** Make the socket, with mode 0600 from its first moment on. 0 or a negative errno value. */
int gw_unix_bind(struct gw_unix_socket *s, int type);

/** After gw_unix_bind(). 0 or a negative errno value. */
int gw_unix_listen(struct gw_unix_socket *s, int backlog);

/** Close it, and remove its file if it is ours still; also one that was never opened. */
void gw_unix_close(struct gw_unix_socket *s);

/** Is at the other end of a connection root, or the user of this process? */
bool gw_unix_is_ours(int fd);

#endif /* UNIX_SOCKET_H */
