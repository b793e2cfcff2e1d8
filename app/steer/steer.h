/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef STEER_H
#define STEER_H

/*
 * Which queue an inbound SA's packets land on. Methods, tried per port in the
 * order of gw_steer_methods[]; whether one does what it says is judged by where
 * packets land (gw_steer_judge()), never by return codes. Under all of them is the
 * hand-off between workers. Control thread only.
 *
 * Worker n polls queue n, so "queue" and "worker" are the same number here.
 */

#include <stdbool.h>
#include <stdint.h>

#include <ipsec_pcpu_steer.h>

#include "../control/config.h"
#include "../host/port.h"

struct gw_steer_port;

/** An inbound SA on a port. */
struct gw_steer_sa {
	uint32_t spi;
	struct ipsec_pcpu_tuple tuple; /* outer, as its packets come in; dport 0: plain ESP */
	uint16_t queue; /* that its packets are to land on */
	bool has_hash;
	uint32_t hash; /* has_hash: what RSS makes of its packets */
	void *rule; /* the method's own; NULL: none */
};

/**
 * A method. To add one: steer_<name>.c with its ops, and a line in
 * gw_steer_methods[].
 */
struct gw_steer_ops {
	const char *name; /* the word in the configuration */
	const char *what; /* one sentence for the user */
	/**
	 * Can it be done on this port, which is started? Makes sp->state.
	 * 0, or -errno and @p why: one sentence, no full stop. Must leave no trace
	 * on the port then.
	 */
	int (*probe)(struct gw_steer_port *sp, struct gw_error *why);
	/** Undo all: rules, programs, sp->state. SAs' rules are gone after it. */
	void (*close)(struct gw_steer_port *sp);
	/** Steer an SA that is new to sa->queue. 0 or -errno. */
	int (*add)(struct gw_steer_port *sp, struct gw_steer_sa *sa);
	void (*del)(struct gw_steer_port *sp, struct gw_steer_sa *sa);
	/** sa->queue has changed: the old rule holds until the new one does. 0 or -errno. */
	int (*move)(struct gw_steer_port *sp, struct gw_steer_sa *sa);
	/** After a number of add, del and move: make it so. NULL: nothing to do. 0 or -errno. */
	int (*commit)(struct gw_steer_port *sp);
	/** What the method does for this SA, to @p out; "" where it does nothing. */
	void (*describe)(const struct gw_steer_port *sp, const struct gw_steer_sa *sa, char *out,
			size_t len);
};

/** In the order in which "auto" tries them; ends with NULL. The last one always works. */
extern const struct gw_steer_ops *const gw_steer_methods[];

extern const struct gw_steer_ops gw_steer_flow; /* rte_flow rules */
extern const struct gw_steer_ops gw_steer_tap; /* an eBPF program on a TAP */
extern const struct gw_steer_ops gw_steer_rss; /* RSS: key, ports, redirection table */
extern const struct gw_steer_ops gw_steer_soft; /* the hand-off alone */

#define GW_MAX_STEER_METHODS 8

struct gw_steer_port {
	struct gw_port *port;
	const struct gw_steer_ops *ops; /* in use */
	void *state; /* the method's own */
	/* by method: why it is not used; "" where it is, or was not tried */
	char why_not[GW_MAX_STEER_METHODS][160];
	struct gw_steer_sa **sas;
	unsigned int n_sas;
};

#endif /* STEER_H */
