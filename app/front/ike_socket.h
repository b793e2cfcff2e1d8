/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef IKE_SOCKET_H
#define IKE_SOCKET_H

/*
 * The socket to which charon's plugin kernel-pcpu connects; what is said there: ike.h. Control
 * thread; each request is answered before the next one is read, and nothing is waited for.
 */

#include "../control/control.h"

struct gw_ike_socket;

/**
 * @param path
 *   NULL: no socket. Made with mode 0600; a stale one is replaced, a living one is an error.
 */
int gw_ike_socket_open(
		struct gw *gw, const char *path, struct gw_ike_socket **sock, struct gw_error *err);

/** NULL is allowed. Removes the socket. */
void gw_ike_socket_close(struct gw_ike_socket *sock);

#endif /* IKE_SOCKET_H */
