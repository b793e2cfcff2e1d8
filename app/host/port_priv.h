/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef PORT_PRIV_H
#define PORT_PRIV_H

/* What the files port*.c have of each other. Control thread. */

#include "port.h"

/** Add to the port's note, behind "; ". */
void gw_port_note(struct gw_port *port, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/**
 * Configure a port that is stopped: queues, RSS, offloads, MTU; as many queue pairs as
 * port->n_workers, or as it has. Its note is made anew behind what probing left.
 */
int gw_port_configure(struct gw_port *port, const struct gw_config_port *cfg, struct gw_error *err);

#endif /* PORT_PRIV_H */
