/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * A device that hangs, or whose host changed under it, asks to be reset. The event
 * sets a flag; control takes the port from the workers and does here what is to be
 * done, again and again until it works. SAs know nothing of it: sequence numbers go on.
 */

#include "port_priv.h"

#include <errno.h>
#include <string.h>

#include <rte_ethdev.h>
#include <rte_time.h>

#define MAX_WAIT_S 30

bool
gw_port_reset_due(struct gw_port *port, uint64_t now_ns)
{
	struct gw_port_reset *r = &port->reset;

	if (gw_port_gone(port))
		return false;
	if (r->active)
		return now_ns >= r->next_ns;
	r->active = __atomic_load_n(&r->asked, __ATOMIC_RELAXED);
	return r->active;
}

int
gw_port_reset(struct gw_port *port, const struct gw_config_port *cfg, struct gw_error *err)
{
	int rc;

	gw_port_stop(port);
	/* all that was asked for until here is one reset; what comes from now on is another */
	__atomic_store_n(&port->reset.asked, false, __ATOMIC_RELAXED);
	rc = rte_eth_dev_reset(port->id);
	/* a driver that cannot do it: stopped, configured and started is as much as it has */
	if (rc < 0 && rc != -ENOTSUP) {
		gw_error_set(err, NULL, 0, "port \"%s\": %s is not reset: %s", port->name,
				port->driver, strerror(-rc));
		return rc;
	}
	rc = gw_port_configure(port, cfg, err);
	if (rc == 0)
		rc = gw_port_start(port, err);
	if (rc < 0)
		return rc;
	port->reset.active = false;
	port->reset.failed = 0;
	port->reset.done++;
	return 0;
}

unsigned int
gw_port_reset_failed(struct gw_port *port, uint64_t now_ns)
{
	struct gw_port_reset *r = &port->reset;
	unsigned int wait_s = r->failed < 5 ? 1u << r->failed : MAX_WAIT_S;

	r->failed++;
	r->next_ns = now_ns + (uint64_t)wait_s * NSEC_PER_SEC;
	return wait_s;
}
