/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef NL_REQUEST_H
#define NL_REQUEST_H

/* What we ask the kernel to change, on sockets of their own: answers do not mix with events. */

#include <netlink/socket.h>

#include "netlink.h"

struct nl_request {
	struct nl_sock *acked;
	struct nl_sock *hints; /* nobody waits for their answers */
	int kernel_errno; /* of the last refusal: libnl's codes lose most of them */
};

/** A connected rtnetlink socket; NULL where there is none to be had. */
struct nl_sock *nl_socket_open(void);

int nl_request_open(struct nl_request *req);
void nl_request_close(struct nl_request *req);

/* See gw_nl_addr_add(), gw_nl_route_add() and gw_nl_neigh_use(). */
int nl_request_addr(struct nl_request *req, unsigned int ifindex, const struct gw_prefix *prefix,
		struct gw_error *err);
int nl_request_route(struct nl_request *req, const struct gw_config_route *route,
		unsigned int ifindex, struct gw_error *err);
int nl_request_neigh(struct nl_request *req, unsigned int ifindex, const struct gw_addr *addr,
		bool known);

#endif /* NL_REQUEST_H */
