/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef COMMANDS_H
#define COMMANDS_H

/*
 * The command table (commands.c) and the handlers it names. A handler looks at
 * the gateway and calls verbs through control.h only, writes what it has to say
 * to cmd->out, and on failure a sentence to cmd->err.
 */

#include "../control/control.h"
#include "argument.h"
#include "command.h"
#include "table.h"

extern const struct gw_command gw_commands[];
extern const unsigned int gw_n_commands;

/** The table with the living names of a gateway, which may be NULL: no names. */
struct gw_cmds *gw_commands_new(struct gw *gw);

/**
 * Run one line; its output, or "error: " and a sentence, goes to @p out.
 *
 * @param own_terminal
 *   Of the gateway itself, not a socket.
 * @param leave
 *   Set where the console is to end.
 * @return
 *   0, also for an empty line, or a negative errno value.
 */
int gw_commands_run(const struct gw_cmds *cmds, struct gw *gw, const char *line, bool own_terminal,
		struct gw_text *out, bool *leave);

/** Write a document as the line asked for, and free it. NULL: there was no memory for it. */
int gw_cmd_show(struct gw_cmd *cmd, struct gw_doc *doc);

/** The tunnel that the line names, if its SAs are not IKE's; NULL: the command's error is set. */
struct gw_tunnel *gw_cmd_static_tunnel(struct gw_cmd *cmd);

/** Is @p cmd to answer as JSON? */
bool gw_cmd_json(const struct gw_cmd *cmd);

/** "10.1.0.0/16 -> 10.2.0.0/16 tcp ports 0-65535 -> 80" into @p buf of GW_SELECTOR_STRLEN. */
#define GW_SELECTOR_STRLEN 224
const char *gw_selector_text(const struct gw_selector *sel, char *buf);

/** The name of the port of one of the kernel's interfaces; "-": of none. */
const char *gw_ifindex_port(const struct gw *gw, unsigned int ifindex);

/** "ether", "unresolved" ...: what is known of a next hop, as words. */
const char *gw_nexthop_kind(uint8_t kind);

/** Cycles for a packet; none where that is not known. */
void gw_cell_cycles(struct gw_table *t, double cycles);

/** "02:00:00:00:00:01" into @p buf of 18. */
const char *gw_mac_text(const uint8_t mac[6], char *buf);

/* show */
gw_cmd_fn gw_cmd_show_config;
gw_cmd_fn gw_cmd_show_ports;
gw_cmd_fn gw_cmd_show_allowances;
gw_cmd_fn gw_cmd_show_workers;
gw_cmd_fn gw_cmd_show_tunnels;
gw_cmd_fn gw_cmd_show_tunnel;
gw_cmd_fn gw_cmd_show_sa;
gw_cmd_fn gw_cmd_show_drops;
gw_cmd_fn gw_cmd_show_stats;
gw_cmd_fn gw_cmd_show_cycles;
gw_cmd_fn gw_cmd_show_steer;
gw_cmd_fn gw_cmd_show_ike;
gw_cmd_fn gw_cmd_show_neighbours;
gw_cmd_fn gw_cmd_show_routes;
gw_cmd_fn gw_cmd_show_version;
gw_cmd_fn gw_cmd_show_peer;
gw_cmd_fn gw_cmd_explain;

/* change */
gw_cmd_fn gw_cmd_clear_stats;
gw_cmd_fn gw_cmd_set_promisc;
gw_cmd_fn gw_cmd_start;
gw_cmd_fn gw_cmd_stop;
gw_cmd_fn gw_cmd_tunnel;
gw_cmd_fn gw_cmd_steer_rebalance;
gw_cmd_fn gw_cmd_sa_add;
gw_cmd_fn gw_cmd_sa_move;
gw_cmd_fn gw_cmd_sa_del;

/* the console itself */
gw_cmd_fn gw_cmd_help_words;
gw_cmd_fn gw_cmd_exit;
gw_cmd_fn gw_cmd_quit;

#endif /* COMMANDS_H */
