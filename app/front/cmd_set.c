/* SPDX-License-Identifier: BSD-3-Clause */

/* Commands that change what the gateway does: counters, ports, forwarding, tunnels. */

#include "commands.h"

int
gw_cmd_clear_stats(struct gw_cmd *cmd)
{
	gw_stats_clear(cmd->gw);
	return 0;
}

int
gw_cmd_set_promisc(struct gw_cmd *cmd)
{
	return gw_port_promisc(cmd->gw, gw_cmd_arg(cmd, "PORT"), gw_cmd_has(cmd, "on"), &cmd->err);
}

int
gw_cmd_start(struct gw_cmd *cmd)
{
	return gw_set_forwarding(cmd->gw, true, &cmd->err);
}

int
gw_cmd_stop(struct gw_cmd *cmd)
{
	return gw_set_forwarding(cmd->gw, false, &cmd->err);
}

int
gw_cmd_tunnel(struct gw_cmd *cmd)
{
	return gw_tunnel_set_up(cmd->gw, gw_cmd_arg(cmd, "NAME"), gw_cmd_has(cmd, "up"), &cmd->err);
}
