/* SPDX-License-Identifier: BSD-3-Clause */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"

const struct gw_command gw_commands[] = {
		{"help [WORD...]", gw_cmd_help_words,
				"all commands, or those that begin with these words"},
		{"show config [json]", gw_cmd_show_config,
				"the configuration in use, without keys"},
		{"show ports [json]", gw_cmd_show_ports,
				"ports: device, link, MAC, queues, counts, what is special"},
		{"show allowances [json]", gw_cmd_show_allowances,
				"what AWS held back of an ENA port's traffic, and ENA Express"},
		{"show workers [json]", gw_cmd_show_workers,
				"workers: lcore, queues, rates, SAs, hand-off, how busy"},
		{"show tunnels [json]", gw_cmd_show_tunnels, "all tunnels, one line each"},
		{"show tunnel NAME [json]", gw_cmd_show_tunnel,
				"a tunnel: selectors, next hop, inner MTU; each SA on its worker"},
		{"show sa [SPI] [json]", gw_cmd_show_sa,
				"all SAs, or those with this SPI and what they dropped"},
		{"show drops [all] [json]", gw_cmd_show_drops,
				"why packets were dropped, and what to do about it; all: those at 0 too"},
		{"show stats [json]", gw_cmd_show_stats,
				"counters by worker, and whether they balance"},
		{"show cycles [json]", gw_cmd_show_cycles,
				"what a packet costs, stage by stage, on each worker, now"},
		{"show steer [json]", gw_cmd_show_steer,
				"where packets land, by which method, and what a rebalance would do"},
		{"show ike [json]", gw_cmd_show_ike,
				"charon's connection, what it has asked for, acquires that wait for SAs"},
		{"show neighbours [json]", gw_cmd_show_neighbours,
				"MAC addresses, as the kernel knows them"},
		{"show routes [json]", gw_cmd_show_routes,
				"routes through the ports, as the kernel has them"},
		{"show peer-commands TUNNEL [cpus CPUS] [with keys]", gw_cmd_show_peer,
				"a sh script that makes a Linux machine the other end of a tunnel"},
		{"show version [json]", gw_cmd_show_version, "versions, process, how long it runs"},
		{"explain SRC DST PROTO [SPORT DPORT] [json]", gw_cmd_explain,
				"what would happen to such a packet, and why"},
		{"clear stats", gw_cmd_clear_stats, "let all counters that are shown start from 0"},
		{"set promisc PORT on|off", gw_cmd_set_promisc,
				"take in what is for other MAC addresses, or not"},
		{"start", gw_cmd_start, "forward packets"},
		{"stop", gw_cmd_stop, "stop forwarding; tunnels and SAs stay"},
		{"tunnel up|down NAME", gw_cmd_tunnel, "take a tunnel up or down; its SAs stay"},
		{"steer rebalance [json]", gw_cmd_steer_rebalance,
				"bring packets and the workers that own their SAs together, now"},
		{"sa add TUNNEL in|out SPI PCPU|any KEYFILE [SPORT DPORT]", gw_cmd_sa_add,
				"add an SA: algorithm, ESN and window as the tunnel's others; UDP ports: encapsulated"},
		{"sa move TUNNEL in|out SPI WORKER", gw_cmd_sa_move,
				"bring an SA to another worker; an outbound one changes places with its SA"},
		{"sa del TUNNEL in|out SPI", gw_cmd_sa_del, "remove an SA and wipe its key"},
		{"exit", gw_cmd_exit, "leave this console; the gateway goes on (Ctrl-D, too)"},
		{"quit", gw_cmd_quit, "end the gateway: drain, print totals, wipe keys"},
};

const unsigned int gw_n_commands = sizeof(gw_commands) / sizeof(gw_commands[0]);

static const char *
living_names(void *arg, enum gw_cmd_names what, unsigned int i)
{
	const struct gw *gw = arg;

	if (gw == NULL)
		return NULL;
	if (what == GW_CMD_PORTS)
		return i < gw->n_ports ? gw->port[i].name : NULL;
	/* NULL ends the list: free places of IKE's are passed over */
	for (unsigned int t = 0; t < gw->n_tunnels; t++)
		if (gw->tunnel[t].cfg->name[0] != '\0' && i-- == 0)
			return gw->tunnel[t].cfg->name;
	return NULL;
}

struct gw_cmds *
gw_commands_new(struct gw *gw)
{
	return gw_cmds_new(gw_commands, gw_n_commands, living_names, gw, NULL);
}

int
gw_commands_run(const struct gw_cmds *cmds, struct gw *gw, const char *line, bool own_terminal,
		struct gw_text *out, bool *leave)
{
	struct gw_text why = {0};
	struct gw_cmd cmd;
	int rc;

	memset(&cmd, 0, sizeof(cmd));
	cmd.cmds = cmds;
	cmd.gw = gw;
	cmd.out = out;
	cmd.own_terminal = own_terminal;
	rc = gw_cmd_parse(cmds, line, &cmd, &why);
	if (rc == -EINVAL)
		gw_text_printf(out, "error: %s\n", gw_text_str(&why));
	gw_text_fini(&why);
	if (rc != 0)
		return rc == -ENODATA ? 0 : rc;
	rc = cmd.row->fn(&cmd);
	if (rc != 0)
		gw_text_printf(out, "error: %s\n",
				cmd.err.text[0] != '\0' ? cmd.err.text : strerror(-rc));
	*leave |= cmd.leave;
	return rc;
}

bool
gw_cmd_json(const struct gw_cmd *cmd)
{
	return gw_cmd_has(cmd, "json");
}

int
gw_cmd_show(struct gw_cmd *cmd, struct gw_doc *doc)
{
	int rc = doc != NULL ? gw_doc_render(doc, gw_cmd_json(cmd), cmd->out) : -ENOMEM;

	gw_doc_free(doc);
	return rc;
}

int
gw_cmd_help_words(struct gw_cmd *cmd)
{
	struct gw_text line = {0};
	unsigned int n;

	for (unsigned int i = 1; i < cmd->n_words; i++)
		gw_text_printf(&line, "%s%s", i > 1 ? " " : "", cmd->word[i].text);
	n = gw_cmd_help(cmd->cmds, gw_text_str(&line), cmd->out);
	if (n == 0)
		gw_error_set(&cmd->err, NULL, 0, "no command begins with \"%s\"; help lists all",
				gw_text_str(&line));
	else if (cmd->n_words == 1)
		gw_text_puts(cmd->out,
				"\nWords can be abbreviated; TAB completes, ? explains, "
				"json at the end is for programs.\n");
	gw_text_fini(&line);
	return n != 0 ? 0 : -ENOENT;
}

int
gw_cmd_exit(struct gw_cmd *cmd)
{
	if (cmd->own_terminal) {
		gw_error_set(&cmd->err, NULL, 0,
				"this is the gateway's own terminal: quit ends the gateway");
		return -EPERM;
	}
	cmd->leave = true;
	return 0;
}

int
gw_cmd_quit(struct gw_cmd *cmd)
{
	cmd->leave = true;
	gw_quit(cmd->gw);
	return 0;
}
